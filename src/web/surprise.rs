//! How surprising an entity's last quarter of an hour is, measured by its own hours before.
//!
//! This ranks a list for people; alerts are decided by DETECT with its own baseline.

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

// TODO on merge: call detect::upper_tail instead.
/// P(X ≥ observed) of a negative binomial with variance mean + dispersion · mean².
fn upper_tail(observed: u64, mean: f64, dispersion: f64) -> f64 {
    if observed == 0 || !mean.is_finite() {
        return 1.0;
    }
    let size = 1.0 / dispersion;
    let odds = mean / (mean + size);
    let mut ln_term = -size * (1.0 + mean / size).ln();
    for k in 0..observed.min(1_000_000) {
        ln_term += ((k as f64 + size) / (k as f64 + 1.0) * odds).ln();
    }
    let (mut term, mut sum, mut k) = (1.0, 0.0, observed as f64);
    while term > sum * 1e-12 && k < observed as f64 + 1e5 {
        sum += term;
        term *= (k + size) / (k + 1.0) * odds;
        k += 1.0;
    }
    (ln_term.exp() * sum).clamp(0.0, 1.0)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_tail_agrees_with_a_direct_sum() {
        // With dispersion 1 the distribution is geometric: P(X ≥ k) = (mean / (1 + mean))^k.
        for (observed, mean) in [(1u64, 0.5f64), (10, 2.0), (60, 1.4)] {
            let exact = (mean / (1.0 + mean)).powi(observed as i32);
            let tail = upper_tail(observed, mean, 1.0);
            assert!((tail / exact - 1.0).abs() < 1e-6, "{tail} {exact}");
        }
        assert_eq!(upper_tail(0, 3.0, 0.25), 1.0);
    }

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
