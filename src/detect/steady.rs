//! What a plain series usually has in a row: mean and dispersion, learned from the rows before.
//!
//! A gamma-Poisson model with forgetting. The rate of an entity has a gamma prior that knows next to nothing (so that a
//! new entity, busy or quiet, surprises nobody until it has been watched for a few minutes); closed windows add to
//! shape and exposure, and what they added fades over [`MEMORY`]. How much more the counts vary than a Poisson
//! process is estimated by the method of moments, drawn towards [`USUAL_DISPERSION`] while there is little evidence.
//! The prediction is the negative binomial distribution that has both uncertainties.

use std::time::Duration;

/// Time after which a window counts by a factor e less.
const MEMORY: Duration = Duration::from_secs(10 * 24 * 3600);

/// Shape of the prior: events it is worth. Small, so that the rate may be almost anything.
const PRIOR_EVENTS: f64 = 0.05;

/// Exposure of the prior: with its shape, a mean of 5 events a minute and a tail that reaches the thousands.
const PRIOR_EXPOSURE: Duration = Duration::from_millis(600);

/// Dispersion (squared coefficient of variation of the rate) before an entity has shown its own: the rhythm of day and
/// night, and of busy and quiet days.
const USUAL_DISPERSION: f64 = 2.0;

/// How many expected pairs of events in a window the usual dispersion is worth.
const USUAL_WEIGHT: f64 = 3.0;

/// Stories come in small bunches even where nothing happens: variance beyond the mean, as a share of the mean.
const BUNCHING: f64 = 1.0;

/// A negative binomial expectation: variance is `mean + dispersion * mean²`.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(super) struct Expectation {
    pub mean: f64,
    pub dispersion: f64,
}

impl Expectation {
    /// The count so many standard deviations above the mean; at least 1.
    pub fn above(&self, deviations: f64) -> f64 {
        let variance = self.mean + self.dispersion * self.mean * self.mean;
        (self.mean + deviations * variance.sqrt()).max(1.0)
    }
}

/// The counts of one kind in windows of one length, as sums that fade.
#[derive(Debug, Clone, Copy)]
pub(super) struct Baseline {
    /// What one window's passing leaves of the sums.
    keep: f64,
    /// Exposure of the prior in windows.
    prior: f64,
    windows: f64,
    events: f64,
    /// Ordered pairs of events within a window: x (x - 1).
    pairs: f64,
}

impl Baseline {
    pub fn new(window: Duration) -> Self {
        let window = window.as_secs_f64().max(1e-3);
        Self {
            keep: (-window / MEMORY.as_secs_f64()).exp(),
            prior: PRIOR_EXPOSURE.as_secs_f64() / window,
            windows: 0.0,
            events: 0.0,
            pairs: 0.0,
        }
    }

    /// Learns from a closed window.
    pub fn teach(&mut self, count: f64) {
        self.windows = self.windows * self.keep + 1.0;
        self.events = self.events * self.keep + count;
        self.pairs = self.pairs * self.keep + count * (count - 1.0).max(0.0);
    }

    /// What the next window should hold.
    pub fn expect(&self) -> Expectation {
        let shape = PRIOR_EVENTS + self.events;
        let mean = shape / (self.prior + self.windows);
        Expectation {
            mean,
            dispersion: self.own_dispersion()
                + (1.0 + self.own_dispersion() * mean) / shape
                + BUNCHING / mean,
        }
    }

    /// Excess of pairs over what a steady rate would give, relative to it. One window alone says nothing.
    fn own_dispersion(&self) -> f64 {
        let weight = self.windows.max(1.0);
        let excess = self.pairs - self.events * (self.events - 1.0) / weight;
        let steady_pairs = (weight - 1.0) * (self.events / weight).powi(2);
        ((excess + USUAL_WEIGHT * USUAL_DISPERSION) / (steady_pairs + USUAL_WEIGHT)).max(0.0)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    const MINUTE: Duration = Duration::from_secs(60);

    fn taught(counts: impl IntoIterator<Item = u32>) -> Baseline {
        let mut baseline = Baseline::new(MINUTE);
        for count in counts {
            baseline.teach(f64::from(count));
        }
        baseline
    }

    #[test]
    fn mean_and_dispersion_are_learned() {
        // Mean 4; first steady, then the same mean with variance 16 (dispersion 0.75, and what stories always come in bunches).
        let steady = taught((0..2000).map(|n| [2, 6, 4, 4][n % 4])).expect();
        assert!((steady.mean - 4.0).abs() < 0.1, "{steady:?}");
        assert!(steady.dispersion < 0.3, "{steady:?}");
        let bunched = taught((0..2000).map(|n| [0, 8][n % 2])).expect();
        assert!((bunched.mean - 4.0).abs() < 0.1, "{bunched:?}");
        assert!((bunched.dispersion - 1.0).abs() < 0.1, "{bunched:?}");
    }

    proptest! {
        #[test]
        fn always_gives_a_usable_expectation(
            counts in prop::collection::vec(any::<u32>(), 0..20),
        ) {
            let mut baseline = Baseline::new(MINUTE);
            for count in counts {
                baseline.teach(f64::from(count));
                let expected = baseline.expect();
                prop_assert!(expected.mean > 0.0 && expected.mean.is_finite(), "{expected:?}");
                prop_assert!(expected.dispersion >= 0.0, "{expected:?}");
            }
        }
    }
}
