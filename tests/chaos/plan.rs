//! What goes wrong in one run, and when: all of it follows from the seed.

use crate::proxy::Fault;
use crate::setup::SESSION;
use rand::rngs::StdRng;
use rand::{RngExt as _, SeedableRng as _};
use std::time::Duration;

/// How long things go wrong.
pub const ACTIVE: Duration = Duration::from_millis(8500);
/// Before that the group forms.
const FIRST: Duration = Duration::from_millis(1500);

/// Something the driver does.
#[derive(Debug, Clone, PartialEq)]
pub enum Act {
    /// `kill -9`.
    Kill(usize),
    /// SIGTERM: it drains and ends; another starts in its place.
    End(usize),
    /// SIGSTOP for so long: the group takes it for dead, and it goes on as if nothing were.
    Pause(usize, Duration),
    /// A third process joins.
    Add,
    /// It leaves.
    Remove,
    /// So many requests go wrong.
    Requests(Fault, u32),
    /// The database is stopped for so long.
    StopStore(Duration),
}

/// What goes wrong in a run.
pub struct Plan {
    rng: StdRng,
    /// What the driver does, by time.
    pub acts: Vec<(Duration, Act)>,
}

/// A point, how often it comes about, and how rarely it is chosen.
const KILLS: [(&str, u32, u32); 13] = [
    ("score.produced", 500, 3),
    ("store.planning", 25, 2),
    ("store.planned", 25, 4),
    ("store.inserted", 25, 4),
    ("store.committed", 25, 4),
    ("commit.sending", 25, 2),
    ("detect.decided", 500, 3),
    ("detect.saving", 8, 3),
    ("detect.saved", 8, 3),
    ("notify.saved", 4, 3),
    ("notify.sending", 4, 3),
    ("notify.delivered", 4, 3),
    ("notify.written", 4, 3),
];

impl Plan {
    /// The plan of a seed.
    pub fn new(seed: u64) -> Self {
        let mut rng = StdRng::seed_from_u64(seed);
        let mut acts = Vec::new();
        for _ in 0..rng.random_range(2..6) {
            let at = moment(&mut rng);
            let process = rng.random_range(0..2);
            let longer = SESSION + Duration::from_millis(rng.random_range(300..1500));
            match rng.random_range(0..100) {
                0..30 => acts.push((at, Act::Kill(process))),
                30..45 => acts.push((at, Act::End(process))),
                45..70 => acts.push((at, Act::Pause(process, longer))),
                _ => {
                    acts.push((at, Act::Add));
                    let after = Duration::from_millis(rng.random_range(1500..4000));
                    acts.push((at + after, Act::Remove));
                }
            }
        }
        for _ in 0..rng.random_range(1..5) {
            let at = moment(&mut rng);
            let few = rng.random_range(1..6);
            let late = Duration::from_millis(rng.random_range(500..4500));
            acts.push(match rng.random_range(0..100) {
                0..25 => (at, Act::Requests(Fault::Unanswered, few)),
                25..50 => (at, Act::Requests(Fault::Late(late), few)),
                50..65 => (at, Act::Requests(Fault::Failed, few)),
                65..75 => (at, Act::Requests(Fault::Silent, few)),
                75..85 => (at, Act::Requests(Fault::Flaky, 10)),
                _ => (
                    at,
                    Act::StopStore(Duration::from_millis(rng.random_range(500..2500))),
                ),
            });
        }
        acts.sort_by_key(|(at, _)| *at);
        Self { rng, acts }
    }

    /// `SQUALL_FAULTS` of a process that starts.
    pub fn faults(&mut self) -> String {
        let mut faults = Vec::new();
        if self.rng.random_bool(0.5) {
            let total: u32 = KILLS.iter().map(|(_, _, weight)| weight).sum();
            let mut left = self.rng.random_range(0..total);
            for (point, often, weight) in KILLS {
                if left < weight {
                    let count = self.rng.random_range(1..=often);
                    faults.push(format!("kill={point}@{count}"));
                    break;
                }
                left -= weight;
            }
        }
        if self.rng.random_bool(0.2) {
            let count = self.rng.random_range(1..20);
            let delay = SESSION.as_millis() as u64 + self.rng.random_range(0..2500);
            faults.push(format!("delay=commit.sending@{count}:{delay}ms"));
        }
        faults.join(";")
    }

    /// How long a process that has died stays away.
    pub fn away(&mut self) -> Duration {
        Duration::from_millis(self.rng.random_range(0..900))
    }
}

fn moment(rng: &mut StdRng) -> Duration {
    Duration::from_millis(rng.random_range(FIRST.as_millis() as u64..ACTIVE.as_millis() as u64))
}
