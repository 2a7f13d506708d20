//! How surprising an entity's last quarter of an hour is, measured by its own hours before.
//!
//! This ranks a list for people; alerts are decided by DETECT with its own baseline.

use crate::detect::upper_tail;
use crate::store::MentionTotals;
use std::time::Duration;

/// Dispersion assumed for every entity: the rate of negative mentions varies by about its half.
const DISPERSION: f64 = 0.25;

/// Negative mentions expected in `recent`, from those of the `history` before it. Half a mention is added
/// to the history (Jeffreys' prior of a rate), so that nothing is ever impossible.
pub fn expected(history: &MentionTotals, history_length: Duration, recent: Duration) -> f64 {
    let part = recent.as_secs_f64() / history_length.as_secs_f64().max(recent.as_secs_f64());
    (history.negative as f64 + 0.5) * part
}

/// Probability of at least `observed` negative mentions where `expected` are usual.
pub fn p_value(observed: u64, expected: f64) -> f64 {
    upper_tail(observed, expected, DISPERSION)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn more_negatives_and_a_quieter_past_surprise_more() {
        let history = |negative| MentionTotals {
            negative,
            ..MentionTotals::default()
        };
        let quarter = Duration::from_secs(900);
        let hours = Duration::from_secs(6 * 3600);
        let p = |observed, before| p_value(observed, expected(&history(before), hours, quarter));
        assert!(p(20, 10) < p(10, 10));
        assert!(p(10, 10) < p(10, 100));
        assert!(p(0, 0) == 1.0 && p(1, 0) < 0.1);
    }
}
