//! How often an alert is opened about entities of which there is no news.

use super::world::{Law, Truth, World};
use crate::config::DetectConfig;
use rand::{RngExt as _, SeedableRng as _, rngs::StdRng};

/// Minutes of a month, and days before alerts count.
const MONTH: f64 = 43_200.0;
const WARM_UP_DAYS: i64 = 28;

/// Classes of volume, of as many entities each: the deciles.
pub const DECILES: usize = 10;

/// What was measured.
#[derive(Debug, Clone, Default)]
pub struct Measured {
    /// For each decile of volume, the quietest first: alerts opened, and entity-months.
    pub deciles: Vec<(u32, f64)>,
    /// Mentions in all.
    pub mentions: u64,
}

impl Measured {
    /// Alerts opened, and entity-months.
    pub fn all(&self) -> (u32, f64) {
        let add = |sum: (u32, f64), of: &(u32, f64)| (sum.0 + of.0, sum.1 + of.1);
        self.deciles.iter().fold((0, 0.0), add)
    }
}

/// Mentions a minute in the decile's middle: from one in two days to two a minute. Deciles do not overlap.
pub fn rate(decile: usize) -> f64 {
    0.0003 * (2.0f64 / 0.0003).powf(decile as f64 / (DECILES - 1) as f64)
}

/// Simulates so many entities, evenly dealt over the deciles, for so many days.
pub fn measure(config: &DetectConfig, law: Law, entities: usize, days: i64, seed: u64) -> Measured {
    let mut rng = StdRng::seed_from_u64(seed);
    let truths: Vec<Truth> = (0..entities)
        .map(|n| {
            let rate = rate(n % DECILES) * (0.7 + 0.6 * rng.random::<f64>());
            Truth::drawn(n, rate, &mut rng)
        })
        .collect();
    let mut world = World::new(config, law, truths, rng);
    let mut deciles = vec![(0, 0.0); DECILES];
    for minute in 0..days * 1440 {
        for index in world.pass(|_| 1.0) {
            if minute >= WARM_UP_DAYS * 1440 {
                deciles[index % DECILES].0 += 1;
            }
        }
    }
    let months = (days - WARM_UP_DAYS).max(0) as f64 * 1440.0 / MONTH;
    for n in 0..entities {
        deciles[n % DECILES].1 += months;
    }
    Measured {
        deciles,
        mentions: world.mentions,
    }
}

/// The upper 95 % bound of a Poisson mean of which so many events were seen (one-sided, exact, by bisection).
pub fn upper_bound(events: u32) -> f64 {
    let below = |mean: f64| {
        let (mut term, mut sum) = ((-mean).exp(), 0.0);
        for n in 0..=events {
            sum += term;
            term *= mean / f64::from(n + 1);
        }
        sum
    };
    let (mut low, mut high) = (f64::from(events), 2.0 * f64::from(events) + 10.0);
    for _ in 0..60 {
        let middle = (low + high) / 2.0;
        if below(middle) > 0.05 {
            low = middle
        } else {
            high = middle
        }
    }
    high
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_bound_is_the_known_one() {
        assert!((upper_bound(0) - 2.996).abs() < 1e-3);
        assert!((upper_bound(10) - 16.96).abs() < 1e-2);
    }
}
