//! The test that knows the truth: rate, season, dispersion, share, effect and length of the burst. Nothing that has to
//! learn can do better; how near detection comes is its power.

use super::super::median;
use super::world::{gamma, poisson, season};
use rand::{RngExt as _, rngs::StdRng};
use std::collections::VecDeque;

/// Minutes a burst lasts.
pub const BURST: usize = 10;

/// The truth about an entity and its bursts.
#[derive(Debug, Clone, Copy)]
pub struct Case {
    pub rate: f64,
    pub dispersion: f64,
    pub share: f64,
    pub effect: f64,
}

/// The likelihood ratio of a burst that began in any of the last [`BURST`] minutes.
#[derive(Debug)]
pub struct Oracle {
    case: Case,
    ratios: VecDeque<f64>,
}

impl Oracle {
    pub fn new(case: Case) -> Self {
        Self {
            case,
            ratios: VecDeque::new(),
        }
    }

    /// Takes in a minute; returns the logarithm of the sum over all beginnings.
    pub fn pass(&mut self, minute: i64, negative: u32, rest: u32) -> f64 {
        let Case {
            rate,
            dispersion,
            share,
            effect,
        } = self.case;
        let m = rate * season(minute);
        let (n, x) = (f64::from(negative + rest), f64::from(negative));
        let grown = (effect - 1.0) * share * m;
        let size = 1.0 / dispersion.max(1e-9);
        self.ratios
            .push_back(x * effect.ln() - (n + size) * (grown / (size + m)).ln_1p());
        if self.ratios.len() > BURST {
            self.ratios.pop_front();
        }
        let mut sum = 0.0;
        let mut product = 0.0;
        for ratio in self.ratios.iter().rev() {
            product += ratio;
            sum += f64::exp(product);
        }
        sum.ln()
    }
}

/// The threshold at which it opens so many alerts in a month of nothing: each holds off others for an hour.
pub fn threshold(case: Case, budget: f64, minutes: i64, rng: &mut StdRng) -> f64 {
    let mut oracle = Oracle::new(case);
    let mut peaks: Vec<f64> = Vec::new();
    let mut peak = f64::NEG_INFINITY;
    for minute in 0..minutes {
        let m = case.rate * season(minute) * gamma(rng, case.dispersion);
        let (negative, rest) = (
            poisson(rng, m * case.share),
            poisson(rng, m * (1.0 - case.share)),
        );
        peak = peak.max(oracle.pass(minute, negative, rest));
        if minute % 60 == 59 {
            peaks.push(peak);
            peak = f64::NEG_INFINITY;
        }
    }
    peaks.sort_by(|a, b| b.total_cmp(a));
    let allowed = budget * minutes as f64 / 43_200.0;
    peaks.get(allowed.round() as usize).copied().unwrap_or(0.0)
}

/// Of how many bursts it finds one within its length, and after how many minutes in the middle.
pub fn power(case: Case, threshold: f64, bursts: usize, rng: &mut StdRng) -> (f64, f64) {
    let mut delays = Vec::new();
    for _ in 0..bursts {
        let mut oracle = Oracle::new(case);
        let begin = rng.random_range(100..10_080);
        for minute in begin - BURST as i64..begin + BURST as i64 {
            let m = case.rate * season(minute) * gamma(rng, case.dispersion);
            let effect = if minute >= begin { case.effect } else { 1.0 };
            let (negative, rest) = (
                poisson(rng, m * case.share * effect),
                poisson(rng, m * (1.0 - case.share)),
            );
            if oracle.pass(minute, negative, rest) >= threshold && minute >= begin {
                delays.push((minute - begin + 1) as f64);
                break;
            }
        }
    }
    (delays.len() as f64 / bursts as f64, median(delays))
}
