//! How surprising an entity's last quarter of an hour is, measured by its own quarter hours before.
//!
//! This ranks a list for people; alerts are decided by DETECT with its own baseline.

use crate::detect::upper_tail;

/// Dispersion assumed for every entity: the rate of negative mentions varies by about its half.
const DISPERSION: f64 = 0.25;

/// Negative mentions to expect in a quarter of an hour, from those in each of the quarters `before` it; none
/// without any.
///
/// A crisis must not become usual while it lasts, so this is a mean in which no quarter counts for more than two
/// standard deviations above the median (the idea of Huber's M-estimator, 1964). The median alone would be 0 for
/// all whom a quarter seldom finds in bad news, and make every single one of theirs a surprise. Half a mention is
/// added to the sum (Jeffreys' prior of a rate), so that nothing is ever impossible.
pub fn expected(before: &[u64]) -> Option<f64> {
    let rate = median(before)? + 0.5;
    let highest = rate + 2.0 * (rate + DISPERSION * rate * rate).sqrt();
    let sum: f64 = before
        .iter()
        .map(|negative| (*negative as f64).min(highest))
        .sum();
    Some((sum + 0.5) / before.len() as f64)
}

/// Probability of at least `observed` negative mentions where `expected` are usual.
pub fn p_value(observed: u64, expected: f64) -> f64 {
    upper_tail(observed, expected, DISPERSION)
}

/// The lower of the middle counts; none without any.
pub fn median(counts: &[u64]) -> Option<f64> {
    let mut sorted = counts.to_vec();
    sorted.sort_unstable();
    let middle = sorted.len().checked_sub(1)? / 2;
    Some(sorted[middle] as f64)
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn more_negatives_and_a_quieter_past_surprise_more() {
        let p = |observed, before: u64| p_value(observed, expected(&[before; 24]).unwrap());
        assert!(p(20, 1) < p(10, 1));
        assert!(p(10, 1) < p(10, 4));
        assert!(p(0, 0) == 1.0 && p(1, 0) < 0.1);
        assert_eq!(expected(&[]), None);
    }

    #[test]
    fn a_crisis_does_not_become_usual_while_it_lasts() {
        let calm = [2, 1, 3, 2, 0, 2];
        let usual = expected(&calm).unwrap();
        // Half an hour in, of an hour and a half of calm.
        let during = expected(&[&calm[..], &[60, 140]].concat()).unwrap();
        assert!(during < 2.0 * usual, "{during} against {usual}");
        assert!(p_value(40, during) < 1e-6);
        let mean = 210.0 / 8.0;
        assert!(p_value(40, mean) > 0.1, "the plain mean would hide it");
        // As many hours of it as of calm are another usual.
        assert!(expected(&[0, 40, 40, 40]).unwrap() > 25.0);
    }

    #[test]
    fn what_happens_now_and_then_is_expected_now_and_then() {
        let before: Vec<u64> = (0..24).map(|n| u64::from(n % 3 == 0)).collect();
        let expected = expected(&before).unwrap();
        assert!((0.3..0.4).contains(&expected), "{expected}");
        assert!(p_value(1, expected) > 0.1);
    }

    proptest! {
        #[test]
        fn expectations_lie_between_the_counts(before in proptest::collection::vec(any::<u64>(), 1..30)) {
            let expected = expected(&before).unwrap();
            let (lowest, highest) = (before.iter().min().unwrap(), before.iter().max().unwrap());
            prop_assert!(expected > *lowest as f64 * 0.999 && expected <= *highest as f64 + 0.5);
        }
    }
}
