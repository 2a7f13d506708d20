//! The spike test over a plain series of counts.
//!
//! A row is as improbable as the more probable of two: its own count, and the sum of it and the two before. So a single
//! count that stands alone has to be huge, and what goes on need not be.

use super::steady::{Baseline, Expectation};
use super::test::ln_bound;
use crate::domain::Timestamp;
use std::collections::VecDeque;
use std::f64::consts::LN_10;
use std::time::Duration;

/// What a row is taken to stand for. It only sets how many rows the baseline remembers: about 2,880.
const ROW: Duration = Duration::from_secs(5 * 60);

/// A row fires at this probability or below: its anomaly score is ½ there.
const FIRES_AT: f64 = 6e-3;

/// A row teaches no more than its expected count and this many standard deviations: counts of posts have long tails,
/// which are to be learned, and ends to them, which are not.
const ROW_TEACHES: f64 = 20.0;

/// Rows after which a spike holds off others by a factor e less.
const HOLD_OFF: f64 = 216.0;

/// Rows that are summed.
const SUMMED: usize = 3;

/// What gets through the hold-off is so much more improbable (in powers of ten) than the spike that fired.
const OUTDOES: f64 = 1.6;

/// What is held off keeps this share of its anomaly score, so that it stays below ½.
const HELD_OFF: f64 = 0.25;

/// Greater counts are taken for this: sums of squares must stay finite.
const GREATEST: f64 = 1e12;

/// One row, judged from the rows before it.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct SeriesPoint {
    /// How anomalous, 0 to 1: ½ at a probability of 0.006, less while an earlier spike holds it off.
    pub anomaly_score: f64,
    /// The count expected; 0 before the first row.
    pub expected: f64,
    /// Whether an event begins here: its further rows do not fire again, unless they outdo it clearly.
    pub fired: bool,
}

/// Judges the rows of a series one after the other, in constant memory.
///
/// Rows stand for equally long intervals; a gap between them is no news. How improbable each count is, is bounded (Chernoff) under the
/// baseline of the rows before it.
#[derive(Debug)]
pub struct SeriesDetector {
    /// Of rows, and of sums of rows.
    rows: Baseline,
    sums: Baseline,
    /// The latest counts.
    counts: VecDeque<f64>,
    latest: Option<Timestamp>,
    /// Improbability of the greatest spike so far, in powers of ten; fades.
    spike: f64,
}

impl Default for SeriesDetector {
    fn default() -> Self {
        Self::new()
    }
}

impl SeriesDetector {
    /// A detector that has seen nothing.
    pub fn new() -> Self {
        Self {
            rows: Baseline::new(ROW),
            sums: Baseline::new(ROW),
            counts: VecDeque::new(),
            latest: None,
            spike: 0.0,
        }
    }

    /// Judges a row and learns from it. A row that is not later than all before it is judged, but teaches
    /// nothing; one whose value is no number is neither. Negative values count as 0.
    pub fn judge(&mut self, at: Timestamp, value: f64) -> SeriesPoint {
        let (usual, usual_sum) = (self.rows.expect(), self.sums.expect());
        let expected = self.latest.map_or(0.0, |_| usual.mean);
        if value.is_nan() {
            return SeriesPoint {
                anomaly_score: 0.0,
                expected,
                fired: false,
            };
        }
        let count = value.clamp(0.0, GREATEST);
        let sum = self.counts.iter().sum::<f64>() + count;
        let of = |count: f64, usual: &Expectation| {
            (0.0 - ln_bound(count, usual.mean, usual.dispersion)) / LN_10
        };
        let improbability = of(count, &usual).min(of(sum, &usual_sum));
        self.spike *= (-1.0 / HOLD_OFF).exp();
        let held_off = improbability <= OUTDOES * self.spike;
        self.spike = self.spike.max(improbability);
        if Some(at) > self.latest {
            self.latest = Some(at);
            self.rows.teach(count.min(usual.above(ROW_TEACHES)));
            self.sums.teach(sum.min(usual_sum.above(ROW_TEACHES)));
            self.counts.push_back(count);
            if self.counts.len() >= SUMMED {
                self.counts.pop_front();
            }
        }
        let score = improbability / (improbability - FIRES_AT.log10());
        SeriesPoint {
            anomaly_score: if held_off { HELD_OFF * score } else { score },
            expected,
            fired: !held_off && score >= 0.5,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::super::tests::at;
    use super::*;
    use proptest::prelude::*;

    fn judge(values: impl IntoIterator<Item = f64>) -> Vec<SeriesPoint> {
        let mut detector = SeriesDetector::new();
        let rows = values.into_iter().zip(0..);
        rows.map(|(value, row)| detector.judge(at(row * 300), value))
            .collect()
    }

    fn fired(points: &[SeriesPoint]) -> Vec<usize> {
        (0..points.len()).filter(|n| points[*n].fired).collect()
    }

    #[test]
    fn an_event_fires_once_at_its_beginning() {
        let calm = (0..500).map(|n| f64::from(8 + n * 7 % 5));
        let event = [12.0, 150.0, 160.0, 120.0, 80.0, 50.0, 30.0];
        let points = judge(calm.clone().chain(event).chain(calm));
        assert_eq!(fired(&points), [501]);
        assert!((points[499].expected - 10.0).abs() < 0.5);
    }

    #[test]
    fn zeros_and_a_single_value_are_no_event() {
        assert!(fired(&judge([0.0; 1000])).is_empty());
        let single = judge([1000.0]);
        assert!(!single[0].fired);
        assert_eq!(single[0].expected, 0.0);
    }

    #[test]
    fn repeated_and_unordered_rows_teach_nothing() {
        let mut detector = SeriesDetector::new();
        for row in 0..100 {
            detector.judge(at(row), 10.0);
        }
        let before = detector.judge(at(5), 400.0).expected;
        for row in 0..100 {
            assert_eq!(detector.judge(at(row), 400.0).expected, before);
        }
    }

    /// The folder of the labelled series, when it is there.
    fn labelled_series() -> Option<std::path::PathBuf> {
        let beside = std::path::Path::new(env!("CARGO_MANIFEST_DIR")).join("../shared");
        let shared = std::env::var_os("SQUALL_SHARED").map_or(beside, Into::into);
        Some(shared.join("data/bursts")).filter(|folder| folder.is_dir())
    }

    #[test]
    fn labelled_events_of_real_series_fire_and_little_else() {
        let Some(folder) = labelled_series() else {
            println!("skipped: set SQUALL_SHARED to the folder with data/bursts");
            return;
        };
        let labels = std::fs::read_to_string(folder.join("labels.json")).unwrap();
        let labels: std::collections::BTreeMap<String, Vec<[Timestamp; 2]>> =
            serde_json::from_str(&labels).unwrap();
        let (mut events, mut found, mut false_alarms) = (0, 0, 0);
        for (name, windows) in labels {
            let mut detector = SeriesDetector::new();
            let mut fired = Vec::new();
            let mut rows = csv::Reader::from_path(folder.join(name)).unwrap();
            for (row, record) in rows.deserialize().enumerate() {
                let (at, value): (Timestamp, f64) = record.unwrap();
                if detector.judge(at, value).fired && row >= 750 {
                    fired.push(at);
                }
            }
            let inside = |at: &Timestamp, [from, to]: &[Timestamp; 2]| from <= at && at <= to;
            events += windows.len();
            found += windows
                .iter()
                .filter(|window| fired.iter().any(|at| inside(at, window)))
                .count();
            false_alarms += fired
                .iter()
                .filter(|at| !windows.iter().any(|window| inside(at, window)))
                .count();
        }
        println!("{found} of {events} events, {false_alarms} false alarms");
        assert!(found >= 15 && false_alarms <= 35, "{found}, {false_alarms}");
    }

    proptest! {
        #[test]
        fn every_input_has_a_result(
            rows in prop::collection::vec((any::<i64>(), prop_oneof![any::<f64>(), 0.0f64..100.0, Just(f64::INFINITY), Just(f64::MAX)]), 0..400),
        ) {
            let mut detector = SeriesDetector::new();
            for (millis, value) in rows {
                let point = detector.judge(Timestamp::from_millis(millis), value);
                prop_assert!((0.0..=1.0).contains(&point.anomaly_score), "{point:?}");
                prop_assert!(point.expected.is_finite() && point.expected >= 0.0, "{point:?}");
            }
        }

        #[test]
        fn a_row_is_judged_by_what_came_before_it_only(
            values in prop::collection::vec(0.0f64..100.0, 1..60),
            cut in any::<prop::sample::Index>(),
        ) {
            let cut = cut.index(values.len());
            let whole = judge(values.clone());
            prop_assert_eq!(&judge(values[..cut].to_vec())[..], &whole[..cut]);
        }
    }
}
