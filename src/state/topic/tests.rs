//! Against the broker in this process, as an external one: it keeps 5 MB a partition and compacts nothing.

use super::super::contract::{changes, check, values};
use super::*;
use crate::broker::EmbeddedBroker;
use crate::config::{self, Config};
use proptest::prelude::*;
use std::collections::VecDeque;

struct Desk {
    _broker: EmbeddedBroker,
    config: Config,
    _folder: tempfile::TempDir,
}

impl Desk {
    fn new() -> Self {
        let folder = tempfile::tempdir().unwrap();
        let mut config = config::load(None, std::iter::empty()).unwrap();
        config.run.data_dir = folder.path().to_owned();
        config.kafka.partitions = 2;
        let broker = EmbeddedBroker::start(&config).unwrap();
        config.kafka.brokers = broker.address().to_owned();
        Self {
            _broker: broker,
            config,
            _folder: folder,
        }
    }

    /// As a process of its own has it.
    fn state(&self) -> TopicState {
        let connection = Connection::open(&self.config).unwrap();
        let producer = Producer::new(&connection).unwrap();
        TopicState::detect(connection, producer)
    }
}

fn name(state: &TopicState) -> Box<str> {
    let slot = state.slot(0);
    let owned = slot.try_lock().unwrap();
    owned.as_ref().unwrap().takeover.name.clone()
}

/// Writes a record as it stands in the topic.
async fn write(state: &TopicState, key: String, payload: &[u8]) -> i64 {
    let mut writing = Writing::default();
    state
        .send(0, &mut writing, key, payload.to_vec())
        .await
        .unwrap();
    state.written(0, writing).await.unwrap()
}

#[tokio::test(flavor = "multi_thread")]
async fn keeps_the_contract() {
    let desk = Desk::new();
    check(&desk.state(), &desk.state()).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn what_a_former_owner_has_under_way_comes_late_and_counts_for_nothing() {
    let desk = Desk::new();
    let (former, owner) = (desk.state(), desk.state());
    former.load(0).await.unwrap();
    former
        .put(0, changes(&[("a", Some("1")), ("b", Some("1"))]))
        .await
        .unwrap();
    let kept = owner.load(0).await.unwrap();
    for (key, payload) in [("a", "1late"), ("b", ""), ("c", "1late"), ("", "0")] {
        write(
            &former,
            format!("{}/{key}", name(&former)),
            payload.as_bytes(),
        )
        .await;
    }
    assert_eq!(desk.state().load(0).await.unwrap(), kept);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_takeover_that_was_cut_short_leaves_the_state_as_it_was() {
    let desk = Desk::new();
    let owner = desk.state();
    owner.load(0).await.unwrap();
    owner
        .put(0, changes(&[("a", Some("1")), ("b", Some("1"))]))
        .await
        .unwrap();
    let cut = "0123456789abcdef";
    write(&owner, cut.into(), b"claim").await;
    write(&owner, format!("{cut}/a"), b"1half").await;
    let kept = desk.state().load(0).await.unwrap();
    assert_eq!(kept, values(&[("a", "1"), ("b", "1")]));
}

#[tokio::test(flavor = "multi_thread")]
async fn the_owner_notices_a_claim_that_came_too_late_and_takes_over_once_more() {
    let desk = Desk::new();
    let (mut owner, stranger) = (desk.state(), desk.state());
    owner.load(0).await.unwrap();
    owner.put(0, changes(&[("a", Some("1"))])).await.unwrap();
    stranger.load(0).await.unwrap();
    for _ in 0..2 {
        let error = owner
            .put(0, changes(&[("a", Some("2"))]))
            .await
            .unwrap_err()
            .to_string();
        assert!(
            error.contains("squall.detect-state:0: another process"),
            "{error}"
        );
    }
    owner.outwait = Duration::ZERO;
    owner.put(0, changes(&[("a", Some("3"))])).await.unwrap();
    assert!(stranger.put(0, changes(&[("a", Some("4"))])).await.is_err());
    assert_eq!(desk.state().load(0).await.unwrap(), values(&[("a", "3")]));
}

#[tokio::test(flavor = "multi_thread")]
async fn what_cannot_be_read_is_named_by_its_place() {
    for (key, payload) in [
        ("someone else's", "x"),
        ("0123456789abcdef/a", "?"),
        ("0123456789abcdef/", "?"),
    ] {
        let desk = Desk::new();
        let state = desk.state();
        write(&state, key.into(), payload.as_bytes()).await;
        let error = state.load(0).await.unwrap_err().to_string();
        assert!(
            error.contains("squall.detect-state:0: offset 0: "),
            "{error}"
        );
    }
    let desk = Desk::new();
    let error = desk.state().load(2).await.unwrap_err().to_string();
    assert!(
        error.contains("as many partitions as squall.mentions"),
        "{error}"
    );
}

/// How long a takeover takes: `cargo test --lib state::topic -- --ignored --nocapture speed`, with the address of a broker
/// in SQUALL_TEST_KAFKA that keeps more than 5 MB.
#[tokio::test(flavor = "multi_thread")]
#[ignore = "prints a figure, asserts nothing"]
async fn speed() {
    let mut config = config::load(None, std::iter::empty()).unwrap();
    config.kafka.brokers = std::env::var("SQUALL_TEST_KAFKA").unwrap();
    config.topics.clear();
    let mut connection = Connection::open(&config).unwrap();
    connection.create_topics(&config).await.unwrap();
    let state = || TopicState::detect(connection.clone(), Producer::new(&connection).unwrap());
    let owner = state();
    owner.load(0).await.unwrap();
    let many = (0..10_000).map(|n| Change {
        key: format!("entity:{n}"),
        value: Some(
            (0..4000)
                .map(|_| b'0' + rand::random::<u8>() % 10)
                .collect(),
        ),
    });
    let begun = Instant::now();
    owner.put(0, many.collect()).await.unwrap();
    println!("10,000 values of 4 kB: put in {:?}", begun.elapsed());
    for _ in 0..3 {
        let begun = Instant::now();
        assert_eq!(state().load(0).await.unwrap().len(), 10_000);
        println!("taken over in {:?}", begun.elapsed());
    }
}

/// A partition with compaction, and processes that own it in turn or believe they do.
/// A takeover, and the records it has still to write.
type UnderWay = (Takeover, VecDeque<(String, Vec<u8>)>);

#[derive(Default)]
struct Model {
    log: Vec<(i64, String, Vec<u8>)>,
    next: i64,
    /// Takeovers by process, once completed.
    owners: [Option<Takeover>; 3],
    /// What is left to be written of a takeover under way.
    under_way: [Option<UnderWay>; 3],
    /// Offset of the latest claim.
    claimed: i64,
    /// What must be there: what the latest completed takeover holds.
    holder: Option<Takeover>,
    expected: HashMap<String, Vec<u8>>,
}

#[derive(Debug, Clone)]
enum Step {
    /// A process takes over, as far as so many records.
    Load(usize, usize),
    /// It goes on by so many.
    Resume(usize, usize),
    Put(usize, u8, Option<u8>),
    /// Of each key only the last record stays, and of removals nothing.
    Compact,
}

impl Model {
    fn write(&mut self, key: String, payload: Vec<u8>) -> i64 {
        self.log.push((self.next, key, payload));
        self.next += 1;
        self.next - 1
    }

    fn load(&mut self, process: usize, cut: usize) -> Result<(), TestCaseError> {
        let name: Box<str> = format!("{:016x}", self.next).into();
        let claim = self.write(name.to_string(), b"claim".to_vec());
        let takeover = Takeover { name, claim };
        let mut log = Log::default();
        for (offset, key, payload) in &self.log {
            let entry = Entry {
                offset: *offset,
                key: key.as_bytes(),
                payload,
            };
            log.take(entry).unwrap();
        }
        let (state, outdated) = log.resolve(&takeover);
        prop_assert_eq!(&state, &self.expected);
        let copies = state
            .iter()
            .map(|(key, value)| (takeover.key(key), with_format(value)));
        let complete = (takeover.key(""), claim.to_string().into_bytes());
        let removals = outdated.into_iter().map(|key| (key, Vec::new()));
        let records = copies.chain([complete]).chain(removals).collect();
        self.owners[process] = None;
        self.under_way[process] = Some((takeover, records));
        self.claimed = claim;
        self.resume(process, cut);
        Ok(())
    }

    fn resume(&mut self, process: usize, records: usize) {
        for _ in 0..records {
            let Some((takeover, left)) = &mut self.under_way[process] else {
                return;
            };
            let takeover = takeover.clone();
            let Some((key, payload)) = left.pop_front() else {
                self.under_way[process] = None;
                return;
            };
            if key == takeover.key("") {
                self.owners[process] = Some(takeover.clone());
                if self
                    .holder
                    .as_ref()
                    .is_none_or(|holder| holder.claim < takeover.claim)
                {
                    self.holder = Some(takeover);
                }
            }
            self.write(key, payload);
        }
    }

    fn step(&mut self, step: Step) -> Result<(), TestCaseError> {
        match step {
            Step::Load(process, cut) => self.load(process, cut)?,
            Step::Resume(process, records) => self.resume(process, records),
            Step::Put(process, key, value) => {
                let Some(takeover) = self.owners[process].clone() else {
                    return Ok(());
                };
                let holds = self.holder.as_ref() == Some(&takeover);
                if holds && self.claimed > takeover.claim {
                    // It would notice: such a write may count or not, and is written again.
                    return Ok(());
                }
                let (key, value) = (format!("k{key}"), value.map(|value| vec![value]));
                let payload = value
                    .as_ref()
                    .map(|value| with_format(value))
                    .unwrap_or_default();
                self.write(takeover.key(&key), payload);
                if holds {
                    match value {
                        Some(value) => drop(self.expected.insert(key, value)),
                        None => drop(self.expected.remove(&key)),
                    }
                }
            }
            Step::Compact => {
                let last: HashMap<_, _> = self
                    .log
                    .iter()
                    .map(|(offset, key, _)| (key.clone(), *offset))
                    .collect();
                self.log
                    .retain(|(offset, key, payload)| last[key] == *offset && !payload.is_empty());
            }
        }
        Ok(())
    }
}

proptest! {
    #[test]
    fn whatever_former_owners_write_and_compaction_drops_the_state_is_that_of_the_latest(
        steps in prop::collection::vec(prop_oneof![
            3 => (0..3usize, prop_oneof![Just(usize::MAX), 0..12usize]).prop_map(|(p, cut)| Step::Load(p, cut)),
            3 => (0..3usize, 0..12usize).prop_map(|(p, records)| Step::Resume(p, records)),
            12 => (0..3usize, 0..4u8, any::<Option<u8>>()).prop_map(|(p, key, value)| Step::Put(p, key, value)),
            2 => Just(Step::Compact),
        ], 0..120),
    ) {
        let mut model = Model::default();
        for step in steps {
            model.step(step)?;
        }
        model.load(0, usize::MAX)?;
        // Nothing is left but the state, its claim and its completion.
        model.step(Step::Compact)?;
        let owner = model.owners[0].clone().unwrap();
        prop_assert!(model.log.iter().all(|(_, key, _)| key.starts_with(&*owner.name)));
        prop_assert_eq!(model.log.len(), model.expected.len() + 2);
    }
}
