//! How long a mention takes, and how much memory an entity.

use super::null;
use super::world::{Law, Truth, World};
use crate::cli::bench::resident_bytes;
use crate::config::DetectConfig;
use rand::{SeedableRng as _, rngs::StdRng};
use std::time::Duration;

/// Entities here are mentioned so many times less often than those of the quiet worlds: of 100,000 the most are quiet.
const QUIETER: f64 = 16.0;

/// What was measured.
#[derive(Debug, Clone, Copy)]
pub struct Measured {
    pub mentions: u64,
    /// In the detector, with what it does as time passes.
    pub busy: Duration,
    /// Bytes resident at the end beyond those at the beginning; none where the system does not say.
    pub bytes: Option<u64>,
}

/// Simulates so many entities for so many days.
pub fn measure(config: &DetectConfig, entities: usize, days: i64, seed: u64) -> Measured {
    let mut rng = StdRng::seed_from_u64(seed);
    let truths: Vec<Truth> = (0..entities)
        .map(|n| {
            let rate = null::rate(n % null::DECILES) / QUIETER;
            Truth::drawn(n, rate, &mut rng)
        })
        .collect();
    let mut world = World::new(config, Law::Bunched, truths, rng);
    let before = resident_bytes();
    for _ in 0..days * 1440 {
        world.pass(|_| 1.0);
    }
    let grown = |before: u64| Some(resident_bytes()?.saturating_sub(before));
    Measured {
        mentions: world.mentions,
        busy: world.busy,
        bytes: before.and_then(grown),
    }
}
