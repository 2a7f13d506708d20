//! The test: how improbable so many events are when so many are expected and they come in bunches.
//!
//! Counts follow a negative binomial (gamma-Poisson) distribution with mean `m` and size `r = 1 / dispersion`, so that
//! the variance is `m + dispersion * m²`. Its upper tail is a regularised incomplete beta function,
//! `P(X ≥ k) = I_q(k, r)` with `q = m / (m + r)` (DLMF 8.17.24), here the probability of exactly `k` times a
//! continued fraction (DLMF 8.17.22), both kept as logarithms so that tails far below 1e-300 keep their order.

use std::f64::consts::TAU;

/// Sizes beyond which the distribution is Poisson, or a rare single burst, for every purpose here.
const SIZES: (f64, f64) = (1e-8, 1e10);

/// Counts and means beyond this are judged by the Chernoff bound: the fraction would need too many steps.
const EXACT_BELOW: f64 = 1e7;

/// Fewer events than this are none.
const FEWEST: f64 = 1e-9;

/// Probability of at least `observed` events where `mean` are expected, with variance `mean + dispersion * mean²`.
///
/// In [0, 1] for every input: what is not a number, or expects endlessly many, is no surprise (1); below about
/// 1e-308 the result is 0. Relative error below 1e-8 up to ten million events, beyond that an upper bound.
pub fn upper_tail(observed: u64, mean: f64, dispersion: f64) -> f64 {
    ln_upper_tail(observed as f64, mean, dispersion).exp()
}

/// Natural logarithm of [`upper_tail`], also between whole numbers: at most 0, never NaN.
pub(super) fn ln_upper_tail(observed: f64, mean: f64, dispersion: f64) -> f64 {
    let unknown = observed.is_nan() || mean.is_nan() || dispersion.is_nan();
    if unknown || observed < FEWEST || mean == f64::INFINITY {
        return 0.0;
    }
    if mean <= 0.0 || observed == f64::INFINITY {
        return f64::NEG_INFINITY;
    }
    let size = (1.0 / dispersion.max(0.0)).clamp(SIZES.0, SIZES.1);
    if observed.max(mean) > EXACT_BELOW {
        return if observed > mean {
            -deviance(observed, mean, size).max(0.0)
        } else {
            0.0
        };
    }
    let of_exactly = ln_mass(observed, mean, size);
    let q = mean / (mean + size);
    if q < (observed + 1.0) / (observed + size + 2.0) {
        (of_exactly + beta_fraction(observed, size, q).ln()).min(0.0)
    } else {
        let below = of_exactly.exp() * observed / size
            * beta_fraction(size, observed, size / (mean + size));
        (-below.clamp(0.0, 1.0 - f64::EPSILON)).ln_1p()
    }
}

/// Logarithm of Chernoff's bound on [`upper_tail`]: at most 0, never NaN. It falls evenly where few events are expected.
pub(super) fn ln_bound(observed: f64, mean: f64, dispersion: f64) -> f64 {
    let usable = observed.is_finite() && mean.is_finite() && mean > 0.0 && observed > mean;
    if !usable || dispersion.is_nan() {
        return 0.0;
    }
    let size = (1.0 / dispersion.max(0.0)).clamp(SIZES.0, SIZES.1);
    -deviance(observed, mean, size).max(0.0)
}

/// Logarithm of the probability of exactly `k` events, by the saddle point (C. Loader, "Fast and accurate
/// computation of binomial probabilities", 2000): no large logarithms are subtracted from each other.
fn ln_mass(k: f64, mean: f64, size: f64) -> f64 {
    -deviance(k, mean, size) - 0.5 * ((k / size).ln_1p() + (TAU * k).ln())
        + stirling_error(size + k)
        - stirling_error(size)
        - stirling_error(k)
}

/// Rate of large deviations: `exp(-deviance)` bounds the tail beyond the mean from above (Chernoff).
fn deviance(k: f64, mean: f64, size: f64) -> f64 {
    let beyond = k - mean;
    k * (size * beyond / (mean * (k + size))).ln_1p() - size * (beyond / (mean + size)).ln_1p()
}

/// `ln Γ(x) - ((x - ½) ln x - x + ½ ln 2π)`: Stirling's series, reached by recurrence from below 15.
fn stirling_error(mut x: f64) -> f64 {
    let mut shift = 0.0;
    while x < 15.0 {
        shift += (x + 0.5) * (1.0 / x).ln_1p() - 1.0;
        x += 1.0;
    }
    let square = x * x;
    shift
        + (1.0 / 12.0 - (1.0 / 360.0 - (1.0 / 1260.0 - 1.0 / 1680.0 / square) / square) / square)
            / x
}

/// The continued fraction of `I_x(a, b)`, evaluated by the modified method of Lentz. It converges in about
/// `sqrt(max(a, b))` steps where `x < (a + 1) / (a + b + 2)`, for which the caller sees.
fn beta_fraction(a: f64, b: f64, x: f64) -> f64 {
    const TINY: f64 = 1e-300;
    let away_from_zero = |value: f64| if value.abs() < TINY { TINY } else { value };
    let mut c = 1.0;
    let mut d = 1.0 / away_from_zero(1.0 - (a + b) * x / (a + 1.0));
    let mut value = d;
    for step in 1..20_000 {
        let m = f64::from(step);
        let even = m * (b - m) * x / ((a + 2.0 * m - 1.0) * (a + 2.0 * m));
        let odd = -(a + m) * (a + b + m) * x / ((a + 2.0 * m) * (a + 2.0 * m + 1.0));
        let before = value;
        for term in [even, odd] {
            d = 1.0 / away_from_zero(1.0 + term * d);
            c = away_from_zero(1.0 + term / c);
            value *= c * d;
        }
        if (value - before).abs() <= value.abs() * 1e-15 {
            break;
        }
    }
    value.max(TINY)
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    /// The tail as a plain sum of probabilities, each from the one before it.
    fn summed(k: u64, mean: f64, dispersion: f64) -> f64 {
        let size = 1.0 / dispersion;
        let q = mean / (mean + size);
        let mut ln_term = -size * (mean / size).ln_1p();
        let mut tail = 0.0;
        for n in 0.. {
            if n >= k {
                tail += ln_term.exp();
                if n as f64 > mean && ln_term.exp() < tail * 1e-17 || ln_term < -745.0 {
                    break;
                }
            }
            ln_term += (q * (size + n as f64) / (n as f64 + 1.0)).ln();
        }
        tail
    }

    #[test]
    fn agrees_with_figures_known_elsewhere() {
        // A geometric distribution (size 1): P(X ≥ k) = q^k.
        assert!((upper_tail(5, 1.0, 1.0) / 0.5f64.powi(5) - 1.0).abs() < 1e-12);
        assert!((upper_tail(900, 1.0, 1.0) / 0.5f64.powi(900) - 1.0).abs() < 1e-11);
        // A Poisson distribution with mean 1: P(X ≥ 1) = 1 - 1/e, P(X ≥ 2) = 1 - 2/e.
        assert!((upper_tail(1, 1.0, 0.0) - (1.0 - 1.0 / 1f64.exp())).abs() < 1e-9);
        assert!((upper_tail(2, 1.0, 0.0) - (1.0 - 2.0 / 1f64.exp())).abs() < 1e-9);
    }

    #[test]
    fn the_far_tail_keeps_its_order() {
        let mut before = 0.0;
        for k in (0..3000).step_by(7) {
            let tail = ln_upper_tail(f64::from(k), 0.3, 0.5);
            assert!(tail < before || k == 0, "at {k}: {tail} after {before}");
            before = tail;
        }
        assert!(before < -1000.0);
    }

    proptest! {
        #[test]
        fn agrees_with_plain_summation(k in 0u64..400, ln_mean in -9.0f64..5.0, ln_dispersion in -6.0f64..4.0) {
            let (mean, dispersion) = (ln_mean.exp(), ln_dispersion.exp());
            let expected = summed(k, mean, dispersion);
            let found = upper_tail(k, mean, dispersion);
            prop_assume!(expected > 1e-300);
            prop_assert!((found / expected - 1.0).abs() < 1e-8, "{found:e} for {expected:e}");
        }

        #[test]
        fn is_a_probability_for_every_input(k in any::<u64>(), mean in any::<f64>(), dispersion in any::<f64>()) {
            let tail = upper_tail(k, mean, dispersion);
            prop_assert!((0.0..=1.0).contains(&tail), "{tail}");
        }

        #[test]
        fn its_logarithm_is_one_between_whole_numbers_too(k in any::<f64>(), mean in any::<f64>(), dispersion in 0.0f64..9.0) {
            prop_assert!(ln_upper_tail(k, mean, dispersion) <= 0.0);
            prop_assert!(ln_upper_tail(k.abs().recip(), mean.abs(), dispersion) <= 0.0);
        }

        #[test]
        fn more_events_are_never_less_surprising(k in 1u64..20_000_000, ln_mean in -30.0f64..20.0, ln_dispersion in -30.0f64..12.0) {
            let (mean, dispersion) = (ln_mean.exp(), ln_dispersion.exp());
            let (at, beyond) = (upper_tail(k, mean, dispersion), upper_tail(k + k / 8 + 1, mean, dispersion));
            // Around the mean of huge counts the bound is coarser than the exact value next to it.
            prop_assert!(beyond <= at * (1.0 + 1e-6) || k as f64 * 1.2 > EXACT_BELOW, "{beyond:e} beyond {at:e}");
        }
    }
}
