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
        Laws::of(self).ln_evidence(self, mentions, negative)
    }
}

/// What does not depend on how many mentions are expected, as stretches with the same share and firmness have it in common.
#[derive(Debug)]
pub(super) struct Laws {
    /// Of the negative ones and the rest, where all is usual.
    usual: [Rising; 2],
    bursts: [Burst; EFFECTS.len()],
    surges: [Surge; SURGES.len()],
    /// The share and the firmness these were made of.
    of: (f64, f64),
}

/// A burst by one of the [`EFFECTS`].
#[derive(Debug)]
struct Burst {
    ln_weight: f64,
    /// How many times the volume there is in all.
    grown: f64,
    ln_grown: f64,
    /// Of the negative ones and the rest.
    share: [Rising; 2],
}

/// One of the [`SURGES`].
#[derive(Debug)]
struct Surge {
    times: f64,
    ln_times: f64,
    ln_weight: f64,
}

impl Laws {
    /// Those of this expectation.
    pub fn of(expected: &Expectation) -> Self {
        let q = expected.share.clamp(1e-6, 1.0 - 1e-6);
        let firm = expected.firmness.clamp(1e-2, 1e9);
        let law = |q: f64| [Rising::of(q * firm), Rising::of((1.0 - q) * firm)];
        let burst = |(k, weight): (f64, f64)| {
            let grown = 1.0 + (k - 1.0) * q;
            Burst {
                ln_weight: weight.ln(),
                grown,
                ln_grown: grown.ln(),
                share: law((k * q / grown).clamp(1e-6, 1.0 - 1e-6)),
            }
        };
        let surge = |(times, weight): (f64, f64)| Surge {
            times,
            ln_times: times.ln(),
            ln_weight: weight.ln(),
        };
        Self {
            usual: law(q),
            bursts: EFFECTS.map(burst),
            surges: SURGES.map(surge),
            of: (expected.share, expected.firmness),
        }
    }

    /// [`Expectation::ln_evidence`]. Made anew only where share or firmness is another one than before.
    pub fn ln_evidence(&mut self, expected: &Expectation, mentions: f64, negative: f64) -> f64 {
        if self.of != (expected.share, expected.firmness) {
            *self = Self::of(expected);
        }
        let (n, x) = (mentions.max(0.0), negative.clamp(0.0, mentions.max(0.0)));
        if !(n.is_finite() && x > 0.0) {
            return f64::NEG_INFINITY;
        }
        let m = expected.mentions.clamp(1e-9, 1e12);
        // Of the negative binomial law: the inverse of its dispersion.
        let size = 1.0 / expected.dispersion.clamp(1e-9, 1e6);
        let of_shares = |[bad, rest]: &[Rising; 2]| bad.ln(x) + rest.ln(n - x);
        let usual = of_shares(&self.usual) + self.ln_surges(m, size, n);
        let mut ratios = [f64::NEG_INFINITY; EFFECTS.len()];
        for (ratio, burst) in ratios.iter_mut().zip(&self.bursts) {
            let beyond = (burst.grown - 1.0) * m / (size + m);
            let volume = n * burst.ln_grown - (n + size) * ln_one_plus(beyond);
            *ratio = burst.ln_weight + volume + of_shares(&burst.share) - usual;
        }
        ln_sum(&ratios)
    }

    /// By how much the [`SURGES`] make `n` mentions likelier than they are where `m` are expected: a logarithm, at least 0.
    fn ln_surges(&self, m: f64, size: f64, n: f64) -> f64 {
        let ln_m = m.ln();
        // Of so many mentions where `times * m` are expected, without what all laws have in common.
        let ln_mass = |times: f64, ln_times: f64, size: f64, rising: f64| {
            rising + n * (ln_m + ln_times - size.ln()) - (n + size) * ln_one_plus(times * m / size)
        };
        let usual = ln_mass(1.0, 0.0, size, Rising::of(size).ln(n));
        let wider = 1.0 / (1.0 / size + SURGE_DISPERSION);
        let rising = Rising::of(wider).ln(n);
        let mut masses = [usual; 1 + SURGES.len()];
        for (mass, surge) in masses[1..].iter_mut().zip(&self.surges) {
            *mass = surge.ln_weight + ln_mass(surge.times, surge.ln_times, wider, rising);
        }
        ln_sum(&masses) - usual
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

/// `ln Γ(a + n) - ln Γ(a)` for many `n`: rising factorials of `a`, above 0.
#[derive(Debug, Clone, Copy)]
struct Rising {
    a: f64,
    /// `a`, raised to 8 at least.
    low: f64,
    ln_low: f64,
    /// The rest of Stirling's series for that, less the logarithm by which Γ grew on the way.
    rest: f64,
}

impl Rising {
    fn of(a: f64) -> Self {
        let (low, shift) = raised(a);
        Self {
            a,
            low,
            ln_low: low.ln(),
            rest: stirling(low) - shift,
        }
    }

    /// For `n` of at least 0.
    fn ln(&self, n: f64) -> f64 {
        if n == 0.0 {
            return 0.0;
        }
        if n <= 12.0 && n.fract() == 0.0 {
            let mut product = 1.0;
            for step in 0..n as u32 {
                product *= self.a + f64::from(step);
            }
            return product.ln();
        }
        // Stirling's series for both, so that no large logarithms are subtracted from each other.
        let (high, shift) = raised(self.a + n);
        let beyond = high - self.low;
        self.ln_low * beyond + (high - 0.5) * ln_one_plus(beyond / self.low) - beyond
            + stirling(high)
            - self.rest
            - shift
    }
}

/// `ln(1 + x)`; where nothing is lost by it, as the logarithm of the sum, which is faster.
fn ln_one_plus(x: f64) -> f64 {
    if x > 0.5 { (1.0 + x).ln() } else { x.ln_1p() }
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
                let found = Rising::of(a).ln(f64::from(n));
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
        let factorial = Rising::of(1.0);
        let (mut mean, mut mass) = (0.0, 0.0);
        for n in 0..120 {
            let n = f64::from(n);
            let ln_n =
                Rising::of(size).ln(n) - factorial.ln(n) - size * (usual.mentions / size).ln_1p()
                    + n * (usual.mentions / (usual.mentions + size)).ln();
            for x in 0..=n as u32 {
                let x = f64::from(x);
                let choose = factorial.ln(n) - factorial.ln(x) - factorial.ln(n - x);
                let share =
                    Rising::of(15.0).ln(x) + Rising::of(35.0).ln(n - x) - Rising::of(50.0).ln(n);
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
                                * (volume + Rising::of((1.0 - q) * 50.0).ln(n)
                                    - Rising::of(35.0).ln(n))
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
        fn laws_fit_themselves_to_another_share_and_firmness(
            (q, f) in (0.01f64..0.9, 0.5f64..500.0), (n, x) in (1.0f64..400.0, 0.1f64..400.0),
        ) {
            let mut laws = Laws::of(&usual(3.0, 0.3));
            let other = Expectation { firmness: f, ..usual(2.0, q) };
            prop_assert_eq!(laws.ln_evidence(&other, n, x), other.ln_evidence(n, x));
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
