//! How much better a burst explains what is seen than the usual does: likelihood ratios, and their sum over time.
//!
//! In a stretch of time `m` mentions are expected, of which the share `q` is negative. A burst that multiplies the
//! negative ones by `k` makes of that `m (1 + (k - 1) q)` mentions with the share `k q / (1 + (k - 1) q)`. What is
//! seen, `n` mentions and `x` negative ones, answers two questions at once, and the likelihood ratio is the product:
//!
//! - More mentions than expected? Counts are negative binomial (a gamma rate, constant over the stretch).
//! - More negative than this volume would bring? Given `n`, `x` is beta-binomial.
//!
//! A surge of volume with its usual share speaks against a burst: `ln(1 + (k - 1) q) > q ln k`, and what it says by
//! itself is bounded.
//!
//! Under the usual, the ratio of a stretch with a fixed beginning is a martingale in its growing end (it is the density
//! of one path law in terms of another), hence an e-process. [`super::horizons`] adds those of all beginnings up: that is
//! the e-detector of Shiryaev and Roberts (Shin, Ramdas, Rinaldo, "E-detectors: a nonparametric framework for sequential
//! change detection", 2024, after Pollak 1985), whose mean time to a false alarm is at least its threshold,
//! however often one looks.

/// By how much a burst may multiply negative mentions, and how much weight each has.
pub(super) const EFFECTS: [(f64, f64); 6] = [
    (2.0, 0.15),
    (3.0, 0.25),
    (5.0, 0.25),
    (10.0, 0.2),
    (30.0, 0.1),
    (100.0, 0.05),
];

/// Volume surges for many reasons, and the law of what is usual has room for it: with this probability a stretch has so
/// many times the mentions that are expected, with the usual share. So volume alone is never much evidence.
const SURGES: [(f64, f64); 4] = [(2.0, 5e-5), (8.0, 5e-5), (32.0, 5e-5), (128.0, 5e-5)];

/// How much wider the counts of a surge are spread.
const SURGE_DISPERSION: f64 = 0.5;

/// What is usual in a stretch of time.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(super) struct Expectation {
    /// Mentions, weighted; above 0.
    pub mentions: f64,
    /// Squared coefficient of variation of their rate; at least 0.
    pub dispersion: f64,
    /// Share of them that is negative, in (0, 1).
    pub share: f64,
    /// How firm the share is: the pseudo-count of the beta distribution it is drawn from; above 0.
    pub firmness: f64,
}

impl Expectation {
    /// Negative mentions.
    pub fn negative(&self) -> f64 {
        self.mentions * self.share
    }

    /// Logarithm of the likelihood ratio of a burst of any of the [`EFFECTS`]: never NaN, finite for finite counts.
    pub fn ln_evidence(&self, mentions: f64, negative: f64) -> f64 {
        let (n, x) = (mentions.max(0.0), negative.clamp(0.0, mentions.max(0.0)));
        if !(n.is_finite() && x > 0.0) {
            return f64::NEG_INFINITY;
        }
        let m = self.mentions.clamp(1e-9, 1e12);
        let size = 1.0 / self.dispersion.clamp(1e-9, 1e6);
        let q = self.share.clamp(1e-6, 1.0 - 1e-6);
        let firm = self.firmness.clamp(1e-2, 1e9);
        let usual = ln_rising(q * firm, x) + ln_rising((1.0 - q) * firm, n - x);
        let ln_volume = |m: f64, size: f64| {
            ln_rising(size, n) + n * (m / (m + size)).ln() - size * (m / size).ln_1p()
        };
        let mut usual_volumes = [0.0; 1 + SURGES.len()];
        usual_volumes[0] = ln_volume(m, size);
        let wider = 1.0 / (1.0 / size + SURGE_DISPERSION);
        for (ln_mass, (times, weight)) in usual_volumes[1..].iter_mut().zip(SURGES) {
            *ln_mass = weight.ln() + ln_volume(times * m, wider);
        }
        let usual = usual + ln_sum(&usual_volumes) - usual_volumes[0];
        let mut ratios = [f64::NEG_INFINITY; EFFECTS.len()];
        for (ratio, (k, weight)) in ratios.iter_mut().zip(EFFECTS) {
            let grown = 1.0 + (k - 1.0) * q;
            let volume = n * grown.ln() - (n + size) * ((grown - 1.0) * m / (size + m)).ln_1p();
            let share = (k * q / grown).clamp(1e-6, 1.0 - 1e-6);
            let of_share = ln_rising(share * firm, x) + ln_rising((1.0 - share) * firm, n - x);
            *ratio = weight.ln() + volume + of_share - usual;
        }
        ln_sum(&ratios)
    }
}

/// `ln(exp(a) + exp(b) + …)`; NaN counts as nothing.
pub(super) fn ln_sum(terms: &[f64]) -> f64 {
    let greatest = terms.iter().copied().fold(f64::NEG_INFINITY, f64::max);
    if greatest.is_infinite() {
        return greatest;
    }
    let sum: f64 = terms
        .iter()
        .map(|term| (term - greatest).exp())
        .filter(|term| !term.is_nan())
        .sum();
    greatest + sum.ln()
}

/// `ln Γ(a + n) - ln Γ(a)`, for `a` above 0 and `n` at least 0.
fn ln_rising(a: f64, n: f64) -> f64 {
    if n == 0.0 {
        return 0.0;
    }
    if n.fract() == 0.0 && n <= 12.0 {
        let mut product = 1.0;
        for step in 0..n as u32 {
            product *= a + f64::from(step);
        }
        return product.ln();
    }
    // Stirling's series for both, so that no large logarithms are subtracted from each other.
    let (low, low_shift) = raised(a);
    let (high, high_shift) = raised(a + n);
    let beyond = high - low;
    low.ln() * beyond + (high - 0.5) * (beyond / low).ln_1p() - beyond + stirling(high)
        - stirling(low)
        - high_shift
        + low_shift
}

/// An argument of at least 8, and the logarithm by which Γ grew on the way.
fn raised(mut x: f64) -> (f64, f64) {
    let mut product = 1.0;
    while x < 8.0 {
        product *= x;
        x += 1.0;
    }
    (x, if product == 1.0 { 0.0 } else { product.ln() })
}

/// The rest of Stirling's series, for `x` of at least 8: good to 1e-10.
fn stirling(x: f64) -> f64 {
    let square = x * x;
    (1.0 / 12.0 - (1.0 / 360.0 - (1.0 / 1260.0 - 1.0 / 1680.0 / square) / square) / square) / x
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn usual(mentions: f64, share: f64) -> Expectation {
        Expectation {
            mentions,
            dispersion: 0.3,
            share,
            firmness: 50.0,
        }
    }

    #[test]
    fn rising_factorials_are_what_plain_products_give() {
        for a in [1e-3, 0.4, 3.0, 57.3, 1e4] {
            for n in [1, 5, 13, 40, 200] {
                let plain: f64 = (0..n).map(|i| (a + f64::from(i)).ln()).sum();
                let found = ln_rising(a, f64::from(n));
                assert!(
                    (found - plain).abs() < 1e-8 * plain.abs().max(1.0),
                    "{a} {n}: {found} {plain}"
                );
            }
        }
    }

    #[test]
    fn the_ratio_has_mean_one_when_all_is_usual() {
        // Over all (n, x) under the usual law, whose masses are summed up here.
        let usual = usual(1.5, 0.3);
        let size = 1.0 / usual.dispersion;
        let (mut mean, mut mass) = (0.0, 0.0);
        for n in 0..120 {
            let n = f64::from(n);
            let ln_n =
                ln_rising(size, n) - ln_rising(1.0, n) - size * (usual.mentions / size).ln_1p()
                    + n * (usual.mentions / (usual.mentions + size)).ln();
            for x in 0..=n as u32 {
                let x = f64::from(x);
                let choose = ln_rising(1.0, n) - ln_rising(1.0, x) - ln_rising(1.0, n - x);
                let share = ln_rising(15.0, x) + ln_rising(35.0, n - x) - ln_rising(50.0, n);
                let p = (ln_n + choose + share).exp();
                let ratio = match x {
                    0.0 => {
                        // Not asked for where nothing is negative: the density itself.
                        let of = |(k, weight): (f64, f64)| {
                            let grown = 1.0 + (k - 1.0) * usual.share;
                            let q = k * usual.share / grown;
                            let volume = n * grown.ln()
                                - (n + size)
                                    * ((grown - 1.0) * usual.mentions / (size + usual.mentions))
                                        .ln_1p();
                            weight
                                * (volume + ln_rising((1.0 - q) * 50.0, n) - ln_rising(35.0, n))
                                    .exp()
                        };
                        EFFECTS.into_iter().map(of).sum()
                    }
                    _ => usual.ln_evidence(n, x).exp(),
                };
                mean += p * ratio;
                mass += p;
            }
        }
        assert!((mass - 1.0).abs() < 1e-6, "{mass}");
        assert!(mean > 0.8 && mean < 1.0 + 1e-6, "{mean}");
    }

    #[test]
    fn volume_alone_is_no_burst_and_negativity_is() {
        let usual = usual(10.0, 0.2);
        assert!(usual.ln_evidence(300.0, 60.0) < 10.0);
        assert!(usual.ln_evidence(30_000.0, 6_000.0) < 10.0);
        assert!(usual.ln_evidence(40.0, 32.0) > 12.0);
        assert!(usual.ln_evidence(12.0, 3.0) < 1.0);
    }

    proptest! {
        #[test]
        fn is_never_nan(n in any::<f64>(), x in any::<f64>(), m in any::<f64>(), d in any::<f64>(), q in any::<f64>(), f in any::<f64>()) {
            let usual = Expectation { mentions: m, dispersion: d, share: q, firmness: f };
            if [m, d, q, f].iter().all(|v| !v.is_nan()) {
                prop_assert!(!usual.ln_evidence(n, x).is_nan());
            }
        }

        #[test]
        fn more_negative_ones_of_as_many_never_speak_less_for_a_burst(n in 1u32..500, x in 1u32..400, m in 0.01f64..500.0, q in 0.01f64..0.9) {
            prop_assume!(x < n);
            let usual = usual(m, q);
            let (n, x) = (f64::from(n), f64::from(x));
            prop_assert!(usual.ln_evidence(n, x + 1.0) >= usual.ln_evidence(n, x) - 1e-9);
        }
    }
}
