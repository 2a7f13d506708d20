//! How much of the bound on false alarms an entity uses up, so that the rest can be spent on finding more.
//!
//! The e-detector of [`super::horizons`] reaches a level `u` at most once in `u` minutes, on average; mostly it does so far
//! less often (counts are whole numbers, some evidence is required, what is not known is allowed for), and where the
//! model does not fit it does so more often. So it is counted: from a level `u` a martingale goes on to reach `A` with
//! probability `u / A` at most (Ville), and it jumps beyond the one about as far as beyond the other (Siegmund,
//! *Sequential Analysis*, 1985, chapter 8). With `N` excursions above `u` in `T` minutes, alerts at `A` come at most
//! `N u / (T A)` times a minute: the threshold is multiplied by `N u / T`.
//!
//! A crisis is an excursion too, but one among hundreds.

/// The level that is watched: about seven hours.
const LN_LEVEL: f64 = 6.0;

/// It has ended when it was below the level for so many minutes.
const APART: i64 = 60;

/// Days after which what was counted weighs by a factor e less.
const MEMORY: f64 = 90.0;

/// Minutes the bound is worth while nothing has been counted.
const PRIOR: f64 = 400.0;

/// What was counted.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(super) struct Calibration {
    sum: f64,
    minutes: f64,
    /// What the last excursion counts, when the next begins: not against itself.
    last: f64,
    /// The last minute above the level.
    above: i64,
}

impl Default for Calibration {
    fn default() -> Self {
        Self {
            sum: 0.0,
            minutes: 0.0,
            last: 0.0,
            above: i64::MIN / 2,
        }
    }
}

impl Calibration {
    /// So many minutes went by that were heard.
    pub fn pass(&mut self, minutes: f64) {
        let keep = (-minutes / (MEMORY * 1440.0)).exp();
        self.sum *= keep;
        self.last *= keep;
        self.minutes = self.minutes * keep + minutes;
    }

    /// The e-detector stands there in a minute, with the evidence that an alert requires.
    pub fn see(&mut self, minute: i64, ln_minutes: f64) {
        if ln_minutes < LN_LEVEL {
            return;
        }
        if minute > self.above.saturating_add(APART) {
            self.sum += self.last;
            self.last = LN_LEVEL.exp();
        }
        self.above = self.above.max(minute);
    }

    /// Logarithm of the share of the bound that is used; above 0 where the model does not fit.
    pub fn ln_used(&self) -> f64 {
        ((self.sum + PRIOR) / (self.minutes + PRIOR)).ln()
    }

    pub fn save(&self) -> [f64; 4] {
        [self.sum, self.minutes, self.last, self.above as f64]
    }

    pub fn restore(saved: &[f64]) -> Self {
        match saved {
            [sum, minutes, last, above] if *sum >= 0.0 && *minutes >= 0.0 => Self {
                sum: *sum,
                minutes: *minutes,
                last: *last,
                above: *above as i64,
            },
            _ => Self::default(),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_bound_holds_until_more_is_known() {
        let mut calibration = Calibration::default();
        assert_eq!(calibration.ln_used(), 0.0);
        calibration.pass(28.0 * 1440.0);
        assert!((-4.8..-4.4).contains(&calibration.ln_used()));
        // A model that does not fit: above the level every other hour, and twice within the hour.
        for time in 0..90 * 12 {
            calibration.pass(120.0);
            calibration.see(time * 120, 9.0);
            calibration.see(time * 120 + 30, 9.0);
        }
        assert!(
            (0.9..1.15).contains(&calibration.ln_used()),
            "{}",
            calibration.ln_used()
        );
        assert_eq!(Calibration::restore(&calibration.save()), calibration);
    }
}
