//! Crashes at random: the outbox against a log, a state that fails, and receivers that are down. Whatever dies when,
//! nothing is lost, what is doubled was in flight, the order of each alert is kept, and attempts never go back.

use super::groups::Grouping;
use super::kept;
use super::memory::apply;
use super::outbox::{Job, Known, Limits, Outbox, Route};
use super::standings::Answer;
use crate::domain::{AlertMessage, Timestamp};
use crate::state::Change;
use proptest::prelude::*;
use serde_json::value::RawValue;
use std::collections::{HashMap, HashSet};
use std::sync::Arc;
use std::time::Duration;

const PLACES: usize = 4;
const ENDPOINTS: [&str; 2] = ["desk", "down"];
const MAX_AGE: Duration = Duration::from_secs(3600);
const NOW: Timestamp = Timestamp::EPOCH;

/// One message of the log: alert, revision.
type Sent = (u8, u32);

#[derive(Debug, Clone)]
enum Step {
    /// Reads so many records.
    Read(u8),
    /// Writes begin, and end well.
    Save,
    /// A write fails when so many of its changes are in the state, and is tried again.
    SaveTwice(u8),
    /// A write begins and is not answered; the process dies when so many of its changes are in the state.
    CrashWriting(u8),
    /// Attempts begin.
    Begin,
    /// An attempt in flight is answered; whether it was taken.
    Answer(u8, bool),
    /// The receiver got it, and the process dies before, or after, its outcome is written.
    CrashDelivering(u8, bool),
    /// Time passes, in seconds.
    Wait(u8),
    /// The process dies.
    Crash,
}

struct World {
    log: Vec<Sent>,
    // What survives a crash.
    committed: usize,
    state: HashMap<String, Vec<u8>>,
    outcomes: HashSet<(Sent, String)>,
    /// What each receiver got.
    received: HashMap<&'static str, Vec<Sent>>,
    /// How often a request that had arrived was cut off by a crash before it was forgotten.
    cut_off: HashMap<(Sent, String), usize>,
    /// Failed attempts of each delivery: in all, and those the state must know of.
    failed: HashMap<(Sent, String), u32>,
    known_failed: HashMap<(Sent, String), u32>,
    now: Timestamp,
    heals: bool,
    // What does not.
    read: usize,
    outbox: Outbox,
    in_flight: Vec<Job>,
    /// Delivered, not yet forgotten.
    unsaved_ends: Vec<(Sent, String)>,
    unsaved_failures: Vec<(Sent, String)>,
}

fn limits() -> Limits {
    Limits {
        places: PLACES,
        endpoints: ENDPOINTS.map(Known::for_tests).into(),
        longest_wait: Duration::from_secs(60),
        disable_after: Duration::from_secs(86_400),
        max_silence: Duration::from_secs(3600),
        grouping: Grouping::FOR_TESTS,
    }
}

fn alert((alert, revision): Sent) -> AlertMessage {
    super::tests::alert(&format!("a{alert}"), revision, NOW)
}

fn sent_of(job: &Job) -> Sent {
    let message: AlertMessage = serde_json::from_str(job.alert.get()).unwrap();
    (message.alert_id[1..].parse().unwrap(), message.revision)
}

impl World {
    fn new(log: Vec<Sent>) -> Self {
        Self {
            log,
            committed: 0,
            state: HashMap::new(),
            outcomes: HashSet::new(),
            received: HashMap::new(),
            cut_off: HashMap::new(),
            failed: HashMap::new(),
            known_failed: HashMap::new(),
            now: NOW,
            heals: false,
            read: 0,
            outbox: Outbox::restore(HashMap::new(), limits(), NOW),
            in_flight: Vec::new(),
            unsaved_ends: Vec::new(),
            unsaved_failures: Vec::new(),
        }
    }

    fn crash(&mut self) {
        for end in self.unsaved_ends.drain(..) {
            *self.cut_off.entry(end).or_default() += 1;
        }
        self.unsaved_failures.clear();
        self.in_flight.clear();
        self.read = self.committed;
        self.outbox = Outbox::restore(self.state.clone(), limits(), self.now);
    }

    fn put(&mut self, changes: Vec<Change>) {
        let attempts = |state: &HashMap<String, Vec<u8>>, key: &str| {
            let value = state.get(key)?;
            Some(
                serde_json::from_slice::<kept::Progress>(value)
                    .unwrap()
                    .attempts,
            )
        };
        for change in &changes {
            if change.key.starts_with("delivery/") {
                let before = attempts(&self.state, &change.key);
                apply(&mut self.state, vec![change.clone()]);
                let after = attempts(&self.state, &change.key);
                assert!(after.is_none() || after >= before, "{change:?}");
            } else {
                apply(&mut self.state, vec![change.clone()]);
            }
        }
    }

    fn saved(&mut self) {
        if let Some(next) = self.outbox.saved() {
            assert!(next as usize >= self.committed, "commits never go back");
            self.committed = next as usize;
        }
    }

    fn save(&mut self) {
        while let Some(changes) = self.outbox.write() {
            self.put(changes);
            self.saved();
        }
        self.unsaved_ends.clear();
        for key in self.unsaved_failures.drain(..) {
            *self.known_failed.entry(key).or_default() += 1;
        }
    }

    fn read(&mut self) {
        let Some(sent) = self.log.get(self.read).copied() else {
            return;
        };
        self.read += 1;
        let message = alert(sent);
        let raw = RawValue::from_string(serde_json::to_string(&message).unwrap()).unwrap();
        let route = Route {
            lists: &[],
            wanting: ENDPOINTS.map(Arc::from).into(),
            held: &|_, _| None,
        };
        self.outbox
            .accept(&message, raw, route, MAX_AGE, self.read as i64, self.now);
    }

    fn begin(&mut self) {
        while let Some(job) = self.outbox.next(self.now) {
            let sent = sent_of(&job);
            let key = kept::message(&alert(sent).id);
            assert!(self.state.contains_key(&key), "begun before it was saved");
            let key = (sent, job.key.endpoint.to_string());
            let of = |failed: &HashMap<_, u32>| failed.get(&key).copied().unwrap_or_default();
            assert!(
                job.attempts >= of(&self.known_failed),
                "an attempt is forgotten"
            );
            assert!(job.attempts <= of(&self.failed));
            self.in_flight.push(job);
        }
        assert!(self.in_flight.len() <= PLACES);
        for endpoint in ENDPOINTS {
            let of = |job: &&Job| &*job.key.endpoint == endpoint;
            let jobs: Vec<&Job> = self.in_flight.iter().filter(of).collect();
            assert!(jobs.len() <= PLACES / ENDPOINTS.len());
            let alerts: HashSet<&str> = jobs.iter().map(|job| &*job.key.alert).collect();
            assert_eq!(
                alerts.len(),
                jobs.len(),
                "one message of an alert at a time"
            );
        }
    }

    /// The receiver has an attempt in flight.
    fn receive(&mut self, which: u8) -> Option<(Job, Sent, String)> {
        if self.in_flight.is_empty() {
            return None;
        }
        let job = self
            .in_flight
            .remove(usize::from(which) % self.in_flight.len());
        let sent = sent_of(&job);
        let endpoint = job.key.endpoint.to_string();
        Some((job, sent, endpoint))
    }

    fn take(&mut self, sent: Sent, endpoint: &str) {
        let name = ENDPOINTS
            .into_iter()
            .find(|name| *name == endpoint)
            .unwrap();
        self.received.entry(name).or_default().push(sent);
    }

    fn step(&mut self, step: Step) {
        match step {
            Step::Read(count) => (0..count).for_each(|_| self.read()),
            Step::Save => self.save(),
            Step::SaveTwice(kept) => {
                if let Some(changes) = self.outbox.write() {
                    let kept = usize::from(kept) % (changes.len() + 1);
                    self.put(changes[..kept].to_vec());
                    self.put(changes);
                    self.saved();
                }
                self.save();
            }
            Step::CrashWriting(kept) => {
                if let Some(mut changes) = self.outbox.write() {
                    changes.truncate(usize::from(kept) % (changes.len() + 1));
                    self.put(changes);
                }
                self.crash();
            }
            Step::Begin => self.begin(),
            Step::Answer(which, taken) => {
                let Some((job, sent, endpoint)) = self.receive(which) else {
                    return;
                };
                if taken && (self.heals || endpoint != "down") {
                    self.take(sent, &endpoint);
                    self.outcomes.insert((sent, endpoint.clone()));
                    self.unsaved_ends.push((sent, endpoint));
                    self.outbox.ended(job.key, &Answer::Well, self.now);
                } else {
                    let due = self.now + Duration::from_secs(u64::from(which));
                    let key = (sent, endpoint);
                    *self.failed.entry(key.clone()).or_default() += 1;
                    self.unsaved_failures.push(key);
                    let answer = Answer::Failed("no".into());
                    self.outbox
                        .failed(job.key, self.now, due, &answer, self.now);
                }
            }
            Step::CrashDelivering(which, written) => {
                if let Some((_, sent, endpoint)) = self.receive(which) {
                    self.take(sent, &endpoint);
                    if written {
                        self.outcomes.insert((sent, endpoint.clone()));
                    }
                    self.unsaved_ends.push((sent, endpoint));
                }
                self.crash();
            }
            Step::Wait(seconds) => self.now = self.now + Duration::from_secs(seconds.into()),
            Step::Crash => self.crash(),
        }
    }

    /// Everything works again, until nothing is left to be done.
    fn work_through(&mut self) {
        self.heals = true;
        for _ in 0..100_000 {
            self.step(Step::Read(255));
            self.step(Step::Save);
            self.step(Step::Begin);
            self.step(Step::Answer(0, true));
            self.step(Step::Wait(1));
            self.step(Step::Save);
            if self.read == self.log.len() && self.outbox.pending() == 0 {
                return;
            }
        }
        panic!("{} deliveries never end", self.outbox.pending());
    }

    fn check(&self) {
        let all: HashSet<Sent> = self.log.iter().copied().collect();
        assert_eq!(self.committed, self.log.len());
        for endpoint in ENDPOINTS {
            let received = self.received.get(endpoint).cloned().unwrap_or_default();
            let mut latest: HashMap<u8, u32> = HashMap::new();
            for (alert, revision) in &received {
                let before = latest.insert(*alert, *revision);
                assert!(
                    before <= Some(*revision),
                    "{endpoint}: alert {alert} goes back: {received:?}"
                );
            }
            for sent in &all {
                let key = (*sent, endpoint.to_owned());
                assert!(self.outcomes.contains(&key), "{key:?} is lost");
                let times = received.iter().filter(|one| *one == sent).count();
                let cut_off = self.cut_off.get(&key).copied().unwrap_or_default();
                assert!(
                    (1..=1 + cut_off).contains(&times),
                    "{key:?} came {times} times"
                );
            }
        }
        let left: Vec<&String> = self
            .state
            .keys()
            .filter(|key| {
                !["done/", "endpoint/", "alert/"]
                    .iter()
                    .any(|kind| key.starts_with(kind))
            })
            .collect();
        assert!(left.is_empty(), "{left:?}");
        let done = self.state.keys().filter(|key| key.starts_with("done/"));
        assert_eq!(done.count(), all.len());
    }
}

fn step() -> impl Strategy<Value = Step> {
    prop_oneof![
        3 => (1u8..5).prop_map(Step::Read),
        4 => Just(Step::Save),
        1 => any::<u8>().prop_map(Step::SaveTwice),
        1 => any::<u8>().prop_map(Step::CrashWriting),
        4 => Just(Step::Begin),
        6 => (any::<u8>(), any::<bool>()).prop_map(|(which, taken)| Step::Answer(which, taken)),
        1 => (any::<u8>(), any::<bool>()).prop_map(|(which, written)| Step::CrashDelivering(which, written)),
        2 => (1u8..60).prop_map(Step::Wait),
        1 => Just(Step::Crash),
    ]
}

/// Alerts whose messages come in order, some of them twice, as after a crash of whoever wrote them.
fn log() -> impl Strategy<Value = Vec<Sent>> {
    proptest::collection::vec((0u8..4, 0u8..4), 1..40).prop_map(|choices| {
        let mut log: Vec<Sent> = Vec::new();
        for (alert, repeat) in choices {
            let of = log.iter().filter(|(other, _)| *other == alert);
            let next = of.map(|(_, revision)| revision + 1).max().unwrap_or(0);
            match (repeat, next) {
                (0, 1..) => log.push((alert, next - 1)),
                _ => log.push((alert, next)),
            }
        }
        log
    })
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(1024))]

    #[test]
    fn whatever_dies_when_every_message_arrives_in_order_and_once_but_for_what_was_in_flight(
        log in log(),
        steps in proptest::collection::vec(step(), 0..200),
    ) {
        let mut world = World::new(log);
        for step in steps {
            world.step(step);
        }
        world.work_through();
        world.check();
    }
}
