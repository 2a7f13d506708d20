//! The role against the broker in this process, as an external one.

use super::*;
use crate::broker::{Connection, EmbeddedBroker, PartitionReader, topics};
use crate::config::{self, Config};
use crate::detect::snapshot;
use crate::domain::{
    EntityId, MentionCluster, MentionEvent, Origin, Progress, Sentiment, SourcePartition,
    SourceState,
};
use crate::pipeline::{Stopper, stopping};
use crate::state::{Change, StateError, StateResult, TopicState};
use futures::future::BoxFuture;
use std::collections::BTreeSet;
use std::sync::Mutex;
use std::sync::atomic::{AtomicBool, Ordering};
use tokio::task::JoinHandle;

struct Desk {
    connection: Connection,
    producer: Producer,
    config: Config,
    _broker: EmbeddedBroker,
    _folder: tempfile::TempDir,
}

/// A process that runs the role.
struct Process {
    stopper: Stopper,
    health: Health,
    running: JoinHandle<Result<(), RoleError>>,
}

fn sentiment(negative: bool) -> Sentiment {
    let (negative, neutral) = if negative { (0.9, 0.05) } else { (0.05, 0.9) };
    Sentiment {
        negative,
        neutral,
        positive: 0.05,
    }
}

impl Desk {
    fn new() -> Self {
        let folder = tempfile::tempdir().unwrap();
        let mut config = config::load(None, std::iter::empty()).unwrap();
        config.run.data_dir = folder.path().to_owned();
        config.kafka.partitions = 2;
        config.detect.checkpoint_interval = Duration::from_millis(200);
        let broker = EmbeddedBroker::start(&config).unwrap();
        config.kafka.brokers = broker.address().to_owned();
        let connection = Connection::open(&config).unwrap();
        Self {
            producer: Producer::new(&connection).unwrap(),
            connection,
            config,
            _broker: broker,
            _folder: folder,
        }
    }

    fn state(&self) -> TopicState {
        TopicState::detect(self.connection.clone(), self.producer.clone())
    }

    fn start(&self, state: Arc<dyn State>) -> Process {
        let (stopper, stopping) = stopping();
        let health = Health::default();
        let detect = Detect {
            producer: Producer::new(&self.connection).unwrap(),
            emitter: Emitter::new(&self.connection),
            config: self.config.detect.clone(),
            calendar: Arc::new(Calendar::bundled()),
            state,
            checkpoint_bytes: usize::MAX,
            on_alert: Arc::new(|_| ()),
            metrics: Metrics::new(),
            health: health.clone(),
        };
        let consumer =
            Consumer::start(&self.connection, "detect", &[topics::MENTIONS], 64).unwrap();
        Process {
            stopper,
            health,
            running: tokio::spawn(run(detect, consumer, stopping)),
        }
    }

    /// Writes mentions of posts `from` to `to`, ten minutes apart and one in four negative, each with its progress. After
    /// the first 200 they come every three seconds and all are negative, so that alerts open.
    async fn write(&self, from: i64, to: i64) {
        let source = |partition| SourcePartition {
            epoch: "1".into(),
            topic: "news".into(),
            partition,
        };
        let start = Timestamp::from_millis(1_800_000_000_000);
        let mut records = Vec::new();
        for n in from..to {
            let seconds = if n < 200 {
                n * 600
            } else {
                200 * 600 + (n - 200) * 3
            };
            let at = start + Duration::from_secs(seconds as u64);
            let entity = EntityId::from(["ACME", "GLOBEX", "INITECH"][n as usize % 3]);
            let partition = topics::of_entity(entity.as_str(), 2);
            let mention = MentionEvent {
                origin: Origin {
                    source: source(0),
                    offset: n,
                },
                ordinal: 0,
                entity,
                post_id: format!("post-{n}"),
                source: "news".into(),
                channel: "news".into(),
                lang: "en".into(),
                author: Some(format!("author-{n}")),
                event_time: at,
                received_at: at,
                sentiment: Some(sentiment(n >= 200 || n % 4 == 0)),
                relevance: 1.0,
                signature: (n as u64).wrapping_mul(0x9e37_79b9_7f4a_7c15),
                title: format!("Headline {n}"),
                url: None,
                backfill: false,
                model: "model".into(),
            };
            records.push((partition, DetectionRecord::Mention(mention)));
            let progress = Progress {
                partition: source(0),
                offset: Some(n),
                event_time: Some(at),
                state: SourceState::Active,
                at,
            };
            records.extend((0..2).map(|p| (p, DetectionRecord::Progress(progress.clone()))));
        }
        let outgoing = records.iter().map(|(partition, record)| Outgoing {
            topic: topics::MENTIONS.into(),
            partition: Some(*partition),
            key: Vec::new(),
            payload: serde_json::to_vec(record).unwrap(),
            headers: Vec::new(),
            timestamp: None,
        });
        for acknowledged in send_all(&self.producer, outgoing.collect()).await.unwrap() {
            acknowledged.await.unwrap();
        }
    }

    /// All records of a topic, by partition and offset.
    async fn read(&self, topic: &'static str) -> Vec<(i32, i64, Vec<u8>)> {
        let mut all = Vec::new();
        for partition in 0..self.connection.partitions(topic) {
            let last = Outgoing {
                topic: topic.into(),
                partition: Some(partition),
                key: "the end".into(),
                payload: Vec::new(),
                headers: Vec::new(),
                timestamp: None,
            };
            let (_, last) = self.producer.send(last).await.unwrap().await.unwrap();
            let connection = self.connection.clone();
            let read = move || {
                let mut records = Vec::new();
                let mut reader =
                    PartitionReader::open(&connection, "detect", topic, partition).unwrap();
                let read = reader.read_through(last, |entry| {
                    if !entry.payload.is_empty() {
                        records.push((partition, entry.offset, entry.payload.to_vec()));
                    }
                    Ok::<_, crate::broker::BrokerError>(())
                });
                read.unwrap();
                records
            };
            all.extend(tokio::task::spawn_blocking(read).await.unwrap());
        }
        all
    }

    /// Compares what was written, and what is kept, with what detectors decide that read the log at once.
    async fn check(&self) {
        let mut detectors = HashMap::new();
        let mut expected: (Vec<AlertMessage>, Vec<MentionCluster>) = Default::default();
        for (partition, offset, payload) in self.read(topics::MENTIONS).await {
            let record: DetectionRecord = serde_json::from_slice(&payload).unwrap();
            let detector = detectors
                .entry(partition)
                .or_insert_with(|| Detector::new(&self.config.detect));
            for decision in detector.apply(offset, &record) {
                match decision {
                    Decision::Alert(alert) => expected.0.push(alert),
                    Decision::Cluster(cluster) => expected.1.push(cluster),
                }
            }
        }
        assert!(expected.0.len() >= 6, "{:?}", expected.0);
        let text = |record: Vec<u8>| String::from_utf8(record).unwrap();
        let alerts = expected
            .0
            .iter()
            .map(|alert| text(serde_json::to_vec(alert).unwrap()));
        let clusters = expected
            .1
            .iter()
            .map(|cluster| text(serde_json::to_vec(cluster).unwrap()));
        let expected: [(&str, BTreeSet<String>); 2] = [
            (topics::ALERTS, alerts.collect()),
            (topics::CLUSTERS, clusters.collect()),
        ];
        for (topic, expected) in expected {
            let read = self.read(topic).await;
            let told: BTreeSet<String> = read
                .into_iter()
                .map(|(_, _, record)| text(record))
                .collect();
            let lost: Vec<_> = expected.difference(&told).collect();
            let other: Vec<_> = told.difference(&expected).collect();
            let nothing: Vec<&String> = Vec::new();
            assert_eq!(
                (lost, other),
                (nothing.clone(), nothing),
                "lost and other records of {topic}"
            );
        }
        for (partition, detector) in detectors {
            let state = self.state().load(partition).await.unwrap();
            let kept: u64 = snapshot::mentions(&state).unwrap().values().sum();
            assert_eq!(kept, detector.counts().mentions);
            let restored = Detector::restore(&self.config.detect, "1", state);
            assert_eq!(restored.problems, [] as [String; 0]);
            assert_eq!(restored.detector.counts(), detector.counts());
        }
    }
}

impl Process {
    async fn stop(self) {
        self.stopper.stop(Stop::AtEnd);
        self.running.await.unwrap().unwrap();
    }
}

async fn until(what: &str, holds: impl AsyncFn() -> bool) {
    for _ in 0..600 {
        if holds().await {
            return;
        }
        tokio::time::sleep(Duration::from_millis(100)).await;
    }
    panic!("waited in vain: {what}");
}

#[tokio::test(flavor = "multi_thread")]
async fn whoever_takes_over_goes_on_where_the_one_before_was() {
    let desk = Desk::new();
    desk.write(0, 290).await;
    let first = desk.start(Arc::new(desk.state()));
    until("alerts open", async || {
        !desk.read(topics::ALERTS).await.is_empty()
    })
    .await;
    // It dies with a part of what it has decided not saved.
    desk.write(290, 320).await;
    first.running.abort();
    let _ = first.running.await;
    let second = desk.start(Arc::new(desk.state()));
    desk.write(320, 350).await;
    // A third joins, and takes a partition from the second, which goes on with the other.
    let third = desk.start(Arc::new(desk.state()));
    desk.write(350, 460).await;
    tokio::time::sleep(Duration::from_secs(4)).await;
    second.stop().await;
    desk.write(460, 480).await;
    let all_told = async || {
        let read = desk.read(topics::CLUSTERS).await.into_iter();
        read.map(|(_, _, cluster)| cluster)
            .collect::<BTreeSet<_>>()
            .len()
            == 480
    };
    until(
        "the third has the partition of the second, and every mention",
        all_told,
    )
    .await;
    third.stop().await;
    desk.check().await;
}

/// A state that can be away.
struct Fickle {
    state: TopicState,
    away: AtomicBool,
    /// Keys put, in order.
    put: Mutex<Vec<String>>,
}

impl Fickle {
    fn reached(&self) -> StateResult<()> {
        match self.away.load(Ordering::Relaxed) {
            false => Ok(()),
            true => Err(StateError {
                place: "fickle".into(),
                problem: "away".into(),
            }),
        }
    }
}

impl State for Fickle {
    fn load(&self, partition: i32) -> BoxFuture<'_, StateResult<HashMap<String, Vec<u8>>>> {
        Box::pin(async move {
            self.reached()?;
            self.state.load(partition).await
        })
    }

    fn put(&self, partition: i32, changes: Vec<Change>) -> BoxFuture<'_, StateResult<()>> {
        Box::pin(async move {
            self.reached()?;
            let keys = changes.iter().map(|change| change.key.clone());
            self.put.lock().unwrap().extend(keys);
            self.state.put(partition, changes).await
        })
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn without_its_state_it_waits_says_so_and_commits_nothing() {
    let desk = Desk::new();
    let state = Arc::new(Fickle {
        state: desk.state(),
        away: AtomicBool::new(true),
        put: Mutex::default(),
    });
    desk.write(0, 290).await;
    let process = desk.start(state.clone());
    let in_trouble = async || {
        process
            .health
            .problems()
            .iter()
            .any(|line| line.contains("away"))
    };
    until("it says so", in_trouble).await;
    assert_eq!(
        desk.read(topics::CLUSTERS).await,
        [],
        "nothing is decided without it"
    );
    state.away.store(false, Ordering::Relaxed);
    until("it goes on", async || {
        !in_trouble().await && !desk.read(topics::ALERTS).await.is_empty()
    })
    .await;

    // Away while it works: nothing is committed until it is back.
    state.away.store(true, Ordering::Relaxed);
    state.put.lock().unwrap().clear();
    desk.write(290, 480).await;
    until("it says so again", in_trouble).await;
    assert!(state.put.lock().unwrap().is_empty());
    state.away.store(false, Ordering::Relaxed);
    process.stop().await;
    let put = state.put.lock().unwrap().clone();
    let last = |kind: &str| put.iter().rposition(|key| key.starts_with(kind));
    assert!(
        last("entity:").is_some() && last("entity:") < last("detector"),
        "{put:?}"
    );
    desk.check().await;
}
