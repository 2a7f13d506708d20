//! Round numbers and round times for the axes of charts. Pure.

use super::words;
use crate::domain::Timestamp;
use std::time::Duration;

/// Zero and about four round numbers, the last at or above `highest`.
pub fn counts(highest: u64) -> Vec<u64> {
    let rough = (highest.max(1)).div_ceil(4);
    let magnitude = 10u64.pow(rough.ilog10());
    let step = [1, 2, 5, 10]
        .iter()
        .map(|factor| magnitude.saturating_mul(*factor))
        .find(|step| *step >= rough)
        .unwrap_or(rough);
    (0..=highest.max(1).div_ceil(step))
        .map(|i| step.saturating_mul(i))
        .collect()
}

/// Steps between times, in minutes.
const MINUTES: [u64; 15] = [
    1, 2, 5, 10, 15, 30, 60, 120, 180, 360, 720, 1440, 2880, 10_080, 43_200,
];
const DAY: Duration = Duration::from_secs(24 * 3600);

/// About `most` round times in the `length` after `from`, never more than one above: where they lie, 0 to 1,
/// and how they are written.
pub fn times(from: Timestamp, length: Duration, most: u32) -> Vec<(f64, String)> {
    let at_least = length / most.max(1);
    let every = MINUTES
        .into_iter()
        .map(|minutes| Duration::from_secs(60 * minutes))
        .find(|every| *every >= at_least)
        .unwrap_or(at_least);
    let first = from.floor(every);
    let ticks = (0..most + 2).map(|i| first + every * i);
    let inside = ticks.filter(|tick| *tick >= from && *tick <= from + length);
    let mut ticks: Vec<(f64, String)> = inside
        .map(|tick| {
            let part = tick.since(from).as_secs_f64() / length.as_secs_f64().max(1e-3);
            let midnight = tick.floor(DAY) == tick;
            (
                part,
                if midnight {
                    words::day(tick)
                } else {
                    words::clock(tick)
                },
            )
        })
        .collect();
    ticks.dedup();
    ticks.truncate(most as usize + 1);
    ticks
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn ticks_are_round_and_reach_the_top() {
        assert_eq!(counts(0), [0, 1]);
        assert_eq!(counts(3), [0, 1, 2, 3]);
        assert_eq!(counts(41), [0, 20, 40, 60]);
        assert_eq!(counts(400), [0, 100, 200, 300, 400]);
    }

    #[test]
    fn hours_are_marked_and_midnight_is_a_date() {
        let from: Timestamp = "2026-11-22T22:30:00Z".parse().unwrap();
        let labels: Vec<_> = times(from, Duration::from_secs(4 * 3600), 7)
            .into_iter()
            .map(|(_, label)| label)
            .collect();
        assert_eq!(labels, ["23:00", "11-23", "01:00", "02:00"]);
    }

    proptest! {
        #[test]
        fn ticks_are_few_ascend_and_cover(highest in 0u64..u64::MAX / 16) {
            let ticks = counts(highest);
            prop_assert!(ticks.len() <= 6 && ticks.windows(2).all(|pair| pair[0] < pair[1]), "{:?}", ticks);
            prop_assert!(*ticks.last().unwrap() >= highest.max(1));
        }

        #[test]
        fn times_are_few_ascend_and_lie_inside(from in -62_135_596_800_000i64..253_402_207_200_000, minutes in 1u64..10_000, steps in 1u64..2000) {
            let ticks = times(Timestamp::from_millis(from), Duration::from_secs(60 * minutes * steps), 7);
            prop_assert!(ticks.len() <= 8 && ticks.windows(2).all(|pair| pair[0].0 < pair[1].0), "{:?}", ticks);
            prop_assert!(ticks.iter().all(|(part, _)| (0.0..=1.0).contains(part)));
        }
    }
}
