//! STORE: squall's own topics into the store, in blocks, each stored at once or not at all.

use super::dead_letter::dead_letter;
use super::emit::{Emitter, send_and_wait};
use super::{RoleError, Stopping, report_consumer};
use crate::broker::{Assignment, Commits, Consumer, Event, Producer, Record, topics};
use crate::config::StoreConfig;
use crate::domain::{SourcePartition, Timestamp};
use crate::store::{Block, Rows, Store as Database, StoreError, StoreResult};
use crate::telemetry::Metrics;
use futures::future::BoxFuture;
use serde::de::DeserializeOwned;
use std::collections::HashMap;
use std::sync::Arc;
use std::time::Duration;
use tokio::time::Instant;

/// A block is also written when its records have so many bytes.
const FLUSH_BYTES: usize = 8 << 20;
/// Pause before a failed block is tried again; doubled up to the second value.
const RETRY: (Duration, Duration) = (Duration::from_millis(200), Duration::from_secs(10));

/// What STORE works with.
pub struct Store {
    /// Where rows go.
    pub database: Arc<dyn Database>,
    /// For records that cannot be read.
    pub producer: Producer,
    /// Where those go.
    pub emitter: Emitter,
    /// `[store]`.
    pub config: StoreConfig,
    /// Counters.
    pub metrics: Metrics,
}

/// Records of one partition that are not stored yet.
struct Buffer {
    assignment: Assignment,
    records: Vec<Record>,
    bytes: usize,
    flush_at: Instant,
}

type Partition = (Arc<str>, i32);
/// Where each partition stood in the store when its first record came, and under which assignment that was.
type Stood = HashMap<Partition, (Assignment, i64)>;

/// Runs until the consumer has stopped and everything read is stored.
///
/// # Errors
/// [`RoleError`] when the broker or the store fails for good.
pub async fn run(
    store: Store,
    mut consumer: Consumer,
    mut stopping: Stopping,
) -> Result<(), RoleError> {
    let commits = consumer.commits();
    let lag = consumer.lag();
    let mut buffers: HashMap<Partition, Buffer> = HashMap::new();
    let mut stood = Stood::new();
    let mut tick = tokio::time::interval(Duration::from_secs(1));
    loop {
        let due = buffers.values().map(|buffer| buffer.flush_at).min();
        tokio::select! {
            stop = stopping.requested() => consumer.stop(stop),
            () = sleep_until(due) => {
                let now = Instant::now();
                let late: Vec<Partition> =
                    buffers.iter().filter(|(_, b)| b.flush_at <= now).map(|(key, _)| key.clone()).collect();
                for key in late {
                    if let Some(buffer) = buffers.remove(&key) {
                        store.flush(&key, buffer, &commits).await?;
                    }
                }
            }
            _ = tick.tick() => report_consumer(&store.metrics, "store", &lag),
            event = consumer.next() => match event {
                Some(Event::Record(record)) => {
                    let key = (record.topic.clone(), record.partition);
                    if store.is_repeat(&mut stood, &key, &record).await? {
                        store.metrics.repeats_dropped.with(["store"]).inc();
                        commits.done(&key.0, key.1, record.assignment, record.offset + 1);
                        continue;
                    }
                    let buffer = buffers.entry(key.clone()).or_insert_with(|| Buffer {
                        assignment: record.assignment,
                        records: Vec::new(),
                        bytes: 0,
                        flush_at: Instant::now() + store.config.flush_interval,
                    });
                    buffer.bytes += record.payload.len();
                    buffer.records.push(record);
                    let full = buffer.records.len() >= store.config.flush_rows || buffer.bytes >= FLUSH_BYTES;
                    if full && let Some(buffer) = buffers.remove(&key) {
                        store.flush(&key, buffer, &commits).await?;
                    }
                }
                Some(Event::Revoked(partitions)) => {
                    // Whoever takes over begins at what is committed: nothing of these is.
                    for key in partitions {
                        buffers.remove(&key);
                    }
                }
                Some(Event::Assigned(_)) => {}
                Some(Event::Failed(error)) => return Err(error.into()),
                Some(Event::Stopped) => break,
                None => return Err(RoleError::stage("store", "the poll thread has ended")),
            },
        }
    }
    for (key, buffer) in buffers {
        store.flush(&key, buffer, &commits).await?;
    }
    consumer.close().await;
    Ok(())
}

async fn sleep_until(due: Option<Instant>) {
    match due {
        Some(due) => tokio::time::sleep_until(due).await,
        None => std::future::pending().await,
    }
}

impl Store {
    /// Whether a record is in the store already: one that comes again, because it was stored and the commit
    /// of its offset was lost. What comes again need not be cut into the same blocks.
    async fn is_repeat(
        &self,
        stood: &mut Stood,
        key: &Partition,
        record: &Record,
    ) -> Result<bool, RoleError> {
        let end = match stood.get(key) {
            Some((assignment, end)) if *assignment == record.assignment => *end,
            _ => {
                let own = self.own(key);
                let position = self.patiently(|| self.database.position(&own)).await?;
                stood.insert(key.clone(), (record.assignment, position.end));
                position.end
            }
        };
        Ok(record.offset < end)
    }

    /// Stores what is buffered and marks it as done.
    async fn flush(
        &self,
        key: &Partition,
        buffer: Buffer,
        commits: &Commits,
    ) -> Result<(), RoleError> {
        let Some(last) = buffer.records.last() else {
            return Ok(());
        };
        let end = last.offset + 1;
        self.insert(key, buffer.records).await?;
        commits.done(&key.0, key.1, buffer.assignment, end);
        Ok(())
    }

    /// Stores records of one partition as a block, without those that another process has stored meanwhile.
    async fn insert(&self, key: &Partition, mut records: Vec<Record>) -> Result<(), RoleError> {
        while let (Some(first), Some(last)) = (records.first(), records.last()) {
            let block = Block {
                partition: self.own(key),
                start: first.offset,
                end: last.offset + 1,
                rows: self.rows(&key.0, &records).await?,
                offsets: records.iter().map(|record| record.offset).collect(),
            };
            match self.patiently(|| self.database.insert(&block)).await {
                Ok(inserted) => {
                    self.count(&block, inserted);
                    break;
                }
                Err(StoreError::Overlap { stored, .. }) if stored > block.start => {
                    let before = records.len();
                    records.retain(|record| record.offset >= stored);
                    self.metrics
                        .repeats_dropped
                        .with(["store"])
                        .inc_by((before - records.len()) as u64);
                }
                Err(error) => return Err(error.into()),
            }
        }
        Ok(())
    }

    /// Tries until the database is there. Meanwhile what is read waits here and everything behind it in Kafka.
    async fn patiently<'a, T>(
        &self,
        attempt: impl Fn() -> BoxFuture<'a, StoreResult<T>>,
    ) -> StoreResult<T> {
        let mut pause = RETRY.0;
        loop {
            match attempt().await {
                Err(error) if error.is_retryable() => {
                    tracing::error!(%error, "the database does not answer: trying again");
                    self.metrics
                        .blocked_seconds
                        .with(["database"])
                        .inc_by(pause.as_secs_f64());
                    tokio::time::sleep(pause).await;
                    pause = (pause * 2).min(RETRY.1);
                }
                answer => return answer,
            }
        }
    }

    /// Identity of one of squall's own partitions.
    fn own(&self, (topic, partition): &Partition) -> SourcePartition {
        SourcePartition {
            epoch: self.emitter.epoch.clone(),
            topic: topic.clone(),
            partition: *partition,
        }
    }

    fn count(&self, block: &Block, inserted: crate::store::Inserted) {
        self.metrics
            .store_rows
            .with([table(&block.rows)])
            .inc_by(inserted.rows as u64);
        self.metrics
            .repeats_dropped
            .with(["store"])
            .inc_by(block.rows.count().saturating_sub(inserted.rows) as u64);
        if let Rows::Posts(posts) = &block.rows {
            let now = Timestamp::now();
            for post in posts {
                self.metrics
                    .end_to_end_seconds
                    .observe(now.since(post.received_at).as_secs_f64());
            }
        }
    }

    async fn rows(&self, topic: &str, records: &[Record]) -> Result<Rows, RoleError> {
        Ok(match topic {
            topics::CLUSTERS => Rows::Clusters(self.read(records).await?),
            topics::ALERTS => Rows::Alerts(self.read(records).await?),
            topics::DELIVERIES => Rows::Deliveries(self.read(records).await?),
            topics::DEAD => Rows::DeadLetters(self.read(records).await?),
            topics::CONTROL => Rows::Control(self.read(records).await?),
            _ => Rows::Posts(self.read(records).await?),
        })
    }

    /// Reads records of one type. One that cannot be read goes to the dead letters as it is.
    async fn read<T: DeserializeOwned>(&self, records: &[Record]) -> Result<Vec<T>, RoleError> {
        let mut rows = Vec::with_capacity(records.len());
        for record in records {
            match serde_json::from_slice(&record.payload) {
                Ok(row) => rows.push(row),
                Err(error) => {
                    tracing::error!(topic = %record.topic, partition = record.partition, offset = record.offset, %error,
                        "a record of squall's own cannot be read: it goes to the dead letters");
                    let letter = dead_letter(
                        &self.emitter.epoch,
                        record,
                        "unreadable",
                        &error.to_string(),
                    );
                    send_and_wait(&self.producer, vec![self.emitter.dead(&letter)]).await?;
                }
            }
        }
        Ok(rows)
    }
}

fn table(rows: &Rows) -> &'static str {
    match rows {
        Rows::Posts(_) => "posts",
        Rows::Clusters(_) => "mention_clusters",
        Rows::Alerts(_) => "alerts",
        Rows::Deliveries(_) => "deliveries",
        Rows::DeadLetters(_) => "dead_letters",
        Rows::Control(_) => "feedback",
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::broker::{Connection, EmbeddedBroker, Stop};
    use crate::domain::{MentionCluster, Origin};
    use crate::store::sqlite::SqliteStore;

    /// A role with a real store, which holds the clusters of offsets 0 to 4, and its broker.
    struct Bench {
        broker: EmbeddedBroker,
        connection: Connection,
        database: Arc<SqliteStore>,
        _folder: tempfile::TempDir,
    }

    impl Bench {
        async fn new() -> Self {
            let folder = tempfile::tempdir().unwrap();
            let mut config = crate::config::load(None, std::iter::empty()).unwrap();
            config.run.data_dir = folder.path().into();
            config.kafka.partitions = 1;
            let broker = EmbeddedBroker::start(&config).unwrap();
            let connection = Connection::to_embedded(&broker, &config).unwrap();
            let database = Arc::new(SqliteStore::open(&folder.path().join("squall.db")).unwrap());
            let bench = Self {
                broker,
                connection,
                database,
                _folder: folder,
            };
            let before = bench.role().insert(&clusters(), records(0..5)).await;
            before.unwrap();
            bench
        }

        fn role(&self) -> Store {
            assert!(!self.broker.address().is_empty());
            Store {
                database: self.database.clone(),
                producer: Producer::new(&self.connection).unwrap(),
                emitter: Emitter::new(&self.connection),
                config: crate::config::load(None, std::iter::empty()).unwrap().store,
                metrics: Metrics::new(),
            }
        }

        async fn rows(&self) -> u64 {
            let counts = self.database.row_counts().await.unwrap();
            let own = |(name, _): &&(&str, u64)| *name == "mention_clusters";
            counts.iter().find(own).unwrap().1
        }
    }

    fn clusters() -> Partition {
        (topics::CLUSTERS.into(), 0)
    }

    fn cluster(offset: i64) -> MentionCluster {
        MentionCluster {
            origin: Origin {
                source: SourcePartition {
                    epoch: "e".into(),
                    topic: "news".into(),
                    partition: 0,
                },
                offset,
            },
            ordinal: 0,
            entity: "ACME".into(),
            event_time: Timestamp::EPOCH,
            cluster: "c".into(),
            novelty: 1.0,
        }
    }

    fn records(offsets: std::ops::Range<i64>) -> Vec<Record> {
        let record = |offset| Record {
            topic: topics::CLUSTERS.into(),
            partition: 0,
            offset,
            timestamp: None,
            key: None,
            payload: serde_json::to_vec(&cluster(offset)).unwrap(),
            headers: Vec::new(),
            assignment: 0,
        };
        offsets.map(record).collect()
    }

    #[tokio::test(flavor = "multi_thread")]
    async fn what_another_has_stored_meanwhile_is_left_out_of_a_block() {
        let bench = Bench::new().await;
        let role = bench.role();
        role.insert(&clusters(), records(0..8)).await.unwrap();
        assert_eq!(bench.rows().await, 8);
        assert_eq!(role.metrics.repeats_dropped.with(["store"]).get(), 5);
    }

    #[tokio::test(flavor = "multi_thread")]
    async fn records_that_come_again_in_other_blocks_do_not_end_the_role() {
        let bench = Bench::new().await;
        let role = bench.role();
        let again = (0..8).map(|offset| role.emitter.cluster(&cluster(offset)));
        let written = send_and_wait(&role.producer, again.collect()).await;
        assert_eq!(
            written.unwrap(),
            (0..8).map(|offset| (0, offset)).collect::<Vec<_>>()
        );
        let repeats = role.metrics.repeats_dropped.with(["store"]);
        let consumer = Consumer::start(&bench.connection, "store", &topics::STORED, 64).unwrap();
        let (stopper, stopping) = super::super::stopping();
        stopper.stop(Stop::AtEnd);
        run(role, consumer, stopping).await.unwrap();
        assert_eq!(bench.rows().await, 8);
        assert_eq!(repeats.get(), 5);
    }
}
