//! What detection finds of bursts, and how soon.

use super::super::median;
use super::oracle::{BURST, Case};
use super::world::{Law, Truth, World};
use crate::config::DetectConfig;
use rand::{RngExt as _, SeedableRng as _, rngs::StdRng};

/// Days before the first burst, and in which bursts are tried.
const WARM_UP_DAYS: i64 = 28;
const DAYS: i64 = 7;

/// Entities of a case, all alike.
const ENTITIES: usize = 6;

/// Of how many bursts one is found within its length, and after how many minutes in the middle. Each is tried in a world
/// that forks from one in which nothing happens, so that none teaches anything about the next.
pub fn power(config: &DetectConfig, case: Case, bursts: usize, seed: u64) -> (f64, f64) {
    let mut rng = StdRng::seed_from_u64(seed);
    let truth = |n: usize| Truth::new(format!("E{n}"), case.rate, case.share, case.dispersion);
    let entities: Vec<Truth> = (0..ENTITIES).map(truth).collect();
    let mut world = World::new(
        config,
        Law::Bunched,
        entities,
        StdRng::seed_from_u64(seed + 1),
    );
    world.wanders = false;
    let forks = bursts.div_ceil(ENTITIES).max(1);
    let mut delays = Vec::new();
    let every = DAYS * 1440 / forks as i64;
    let mut next = WARM_UP_DAYS * 1440;
    for fork in 0..forks {
        let begin = next + rng.random_range(0..every.max(1));
        next += every;
        while world.minute < begin {
            world.pass(|_| 1.0);
        }
        let mut bursting = world.fork(config, seed + 2 + fork as u64);
        let mut found = [false; ENTITIES];
        for minute in 1..=BURST {
            for index in bursting.pass(|_| case.effect) {
                if !std::mem::replace(&mut found[index], true) {
                    delays.push(minute as f64);
                }
            }
        }
    }
    (
        delays.len() as f64 / (forks * ENTITIES) as f64,
        median(delays),
    )
}
