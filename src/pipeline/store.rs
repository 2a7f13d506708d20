//! STORE: squall's own topics into the store, in blocks, each stored at once or not at all.

use super::emit::{Emitter, send_all};
use super::score::dead_letter;
use super::{RoleError, Stopping, report_consumer};
use crate::broker::{Assignment, Commits, Consumer, Event, Producer, Record, topics};
use crate::config::StoreConfig;
use crate::domain::{SourcePartition, Timestamp};
use crate::store::{Block, Rows, Store as Database};
use crate::telemetry::Metrics;
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
    /// Stores a block and marks it as done. While the database is away the block waits here and everything
    /// behind it in Kafka.
    async fn flush(
        &self,
        key: &Partition,
        buffer: Buffer,
        commits: &Commits,
    ) -> Result<(), RoleError> {
        let (topic, partition) = key;
        let (Some(first), Some(last)) = (buffer.records.first(), buffer.records.last()) else {
            return Ok(());
        };
        let block = Block {
            partition: SourcePartition {
                epoch: self.emitter.epoch.clone(),
                topic: topic.clone(),
                partition: *partition,
            },
            start: first.offset,
            end: last.offset + 1,
            rows: self.rows(topic, &buffer.records).await?,
        };
        let mut pause = RETRY.0;
        let inserted = loop {
            match self.database.insert(&block).await {
                Ok(inserted) => break inserted,
                Err(error) if error.is_retryable() => {
                    tracing::error!(%error, block = %block.partition, "a block cannot be stored: trying again");
                    self.metrics
                        .blocked_seconds
                        .with(["database"])
                        .inc_by(pause.as_secs_f64());
                    tokio::time::sleep(pause).await;
                    pause = (pause * 2).min(RETRY.1);
                }
                Err(error) => return Err(error.into()),
            }
        };
        self.count(&block, inserted);
        commits.done(topic, *partition, buffer.assignment, block.end);
        Ok(())
    }

    fn count(&self, block: &Block, inserted: crate::store::Inserted) {
        self.metrics
            .store_rows
            .with([table(&block.rows)])
            .inc_by(inserted.rows as u64);
        self.metrics
            .repeats_dropped
            .with(["store"])
            .inc_by(inserted.repeats as u64);
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
                    for one in send_all(&self.producer, vec![self.emitter.dead(&letter)]).await? {
                        one.await?;
                    }
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
