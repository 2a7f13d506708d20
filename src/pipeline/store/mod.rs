//! STORE: squall's own topics into the store, exactly once.
//!
//! One [`Lane`](lane::Lane) for each partition; ARCHITECTURE.md argues why what they do neither loses nor doubles a row.

mod gather;
mod inflow;
mod lane;
mod patience;
mod plan;

use super::emit::Emitter;
use super::{RoleError, Stopping, report_consumer, report_expired};
use crate::broker::{
    Assigned, BrokerError, Commits, Connection, Consumer, Event, Producer, Stop, topics,
};
use crate::config::StoreConfig;
use crate::domain::{SourcePartition, Timestamp};
use crate::lock::lock;
use crate::store::{Rows, Store as Database};
use crate::telemetry::{Health, Metrics};
use gather::Arrived;
use inflow::Inflow;
use lane::Lane;
use patience::{GivenUp, Patience};
use plan::Plan;
use std::collections::{BTreeMap, HashMap};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;
use tokio::sync::{Semaphore, mpsc};
use tokio::task::JoinSet;
use tokio_util::sync::CancellationToken;

/// What may wait for the store: units of 1 KiB, each record counting one besides its bytes.
const MEMORY: usize = 192 * 1024;
/// A block is also written when its records have so many bytes, whatever else there is room for.
const BLOCK_BYTES: usize = 16 << 20;
/// The same with the embedded broker, whose writers wait until what they wrote is stored.
const EMBEDDED_BLOCK_BYTES: usize = 256 << 10;
/// Least bytes of a block, however many partitions share the memory.
const LEAST_BLOCK_BYTES: usize = 128 << 10;

/// What STORE works with.
pub struct Store {
    /// Where rows go.
    pub database: Arc<dyn Database>,
    /// How the broker is reached.
    pub connection: Connection,
    /// For records that cannot be read.
    pub producer: Producer,
    /// Where those go.
    pub emitter: Emitter,
    /// `[store]`.
    pub config: StoreConfig,
    /// Where trouble is told.
    pub health: Health,
    /// Counters.
    pub metrics: Metrics,
}

/// What all lanes share.
struct Shared {
    database: Arc<dyn Database>,
    producer: Producer,
    emitter: Emitter,
    config: StoreConfig,
    metrics: Metrics,
    plans: OpenPlans,
    /// Lanes that are gathering or storing.
    busy: AtomicUsize,
    most_bytes: usize,
}

impl Shared {
    /// Bytes at which a block is full: all busy lanes together fill half of the memory.
    fn flush_bytes(&self) -> usize {
        let share = MEMORY * 1024 / 2 / self.busy.load(Ordering::Relaxed).max(1);
        share.clamp(LEAST_BLOCK_BYTES, self.most_bytes)
    }
}

/// The dispatcher's end of a lane.
struct Running {
    records: mpsc::UnboundedSender<Arrived>,
    inflow: Arc<Inflow>,
    revoked: CancellationToken,
    ending: CancellationToken,
}

/// Runs until the consumer has stopped and everything read is stored; when squall is to end at once and the database
/// is away, what is read and not stored stays in Kafka.
///
/// # Errors
/// [`RoleError`] when the broker fails for good.
pub async fn run(
    store: Store,
    mut consumer: Consumer,
    mut stopping: Stopping,
) -> Result<(), RoleError> {
    let ending = CancellationToken::new();
    let patience = Patience {
        what: "store".to_owned(),
        ending: ending.clone(),
        health: store.health.clone(),
        metrics: store.metrics.clone(),
    };
    let prepared = {
        let mut preparing = std::pin::pin!(prepare(&store, &patience));
        loop {
            tokio::select! {
                prepared = &mut preparing => break prepared?,
                stop = stopping.requested() => to_stop(stop, &consumer, &ending),
            }
        }
    };
    if prepared.is_err() {
        consumer.close().await;
        return Ok(());
    }
    let lag = consumer.lag();
    let memory = Arc::new(Semaphore::new(MEMORY));
    let embedded = store.connection.is_embedded();
    let shared = Arc::new(Shared {
        database: store.database,
        producer: store.producer,
        emitter: store.emitter,
        config: store.config,
        metrics: store.metrics,
        plans: OpenPlans::default(),
        busy: AtomicUsize::new(0),
        most_bytes: if embedded {
            EMBEDDED_BLOCK_BYTES
        } else {
            BLOCK_BYTES
        },
    });
    let mut lanes: HashMap<(Arc<str>, i32), Running> = HashMap::new();
    let mut tasks: JoinSet<Result<(), RoleError>> = JoinSet::new();
    let mut tick = tokio::time::interval(Duration::from_secs(1));
    loop {
        tokio::select! {
            stop = stopping.requested() => to_stop(stop, &consumer, &ending),
            _ = tick.tick() => {
                report_consumer(&shared.metrics, "store", &lag);
                shared.metrics.store_plan_age_seconds.set(shared.plans.age(Timestamp::now()));
            }
            Some(ended) = tasks.join_next() => {
                ended.map_err(|error| RoleError::stage("store", error))??;
            }
            event = consumer.next() => match event {
                Some(Event::Record(record)) => {
                    let Some(lane) = lanes.get(&(record.topic.clone(), record.partition)) else {
                        continue;
                    };
                    let units = (1 + record.payload.len() / 1024).min(MEMORY) as u32;
                    let permit = loop {
                        tokio::select! {
                            biased;
                            stop = stopping.requested() => to_stop(stop, &consumer, &ending),
                            permit = memory.clone().acquire_many_owned(units) => break permit,
                        }
                    };
                    // The semaphore is never closed.
                    let Ok(permit) = permit else { continue };
                    lane.inflow.sent(record.payload.len(), shared.flush_bytes());
                    // A lane that has given its partition up wants no more of it.
                    let _ = lane.records.send(Arrived { record, permit });
                }
                Some(Event::Assigned(partitions)) => {
                    for assigned in partitions {
                        let key = (assigned.topic.clone(), assigned.partition);
                        let (sender, records) = mpsc::unbounded_channel();
                        let (revoked, trying) = (CancellationToken::new(), ending.child_token());
                        let inflow = Arc::new(inflow(consumer.commits(), &assigned));
                        let running = Running { records: sender, inflow: inflow.clone(), revoked: revoked.clone(), ending: trying.clone() };
                        let lane = Lane {
                            own: own(&shared.emitter, &assigned),
                            patience: Patience {
                                what: format!("store {}:{}", assigned.topic, assigned.partition),
                                ending: trying,
                                ..patience.clone()
                            },
                            shared: shared.clone(),
                            assigned,
                            records,
                            inflow,
                            commits: consumer.commits(),
                            revoked,
                        };
                        lanes.insert(key, running);
                        tasks.spawn(lane.run());
                    }
                }
                Some(Event::Revoked(partitions)) => {
                    // Whoever takes over finds the plan of what is under way.
                    for lane in partitions.iter().filter_map(|key| lanes.remove(key)) {
                        lane.revoked.cancel();
                        lane.ending.cancel();
                    }
                }
                Some(Event::Expired(expired)) => report_expired(&shared.metrics, &expired),
                Some(Event::Failed(error)) => return Err(error.into()),
                Some(Event::Stopped) => break,
                None => return Err(RoleError::stage("store", "the poll thread has ended")),
            },
        }
    }
    // The lanes end when they have stored what they hold.
    drop(lanes);
    while let Some(ended) = tasks.join_next().await {
        ended.map_err(|error| RoleError::stage("store", error))??;
    }
    consumer.close().await;
    Ok(())
}

/// Holds the partition while enough of it waits.
fn inflow(commits: Commits, assigned: &Assigned) -> Inflow {
    let (topic, partition) = (assigned.topic.clone(), assigned.partition);
    let assignment = assigned.assignment;
    Inflow::new(move |held| commits.hold(&topic, partition, assignment, held))
}

fn to_stop(stop: Stop, consumer: &Consumer, ending: &CancellationToken) {
    consumer.stop(stop);
    if stop == Stop::Now {
        ending.cancel();
    }
}

/// Waits for the database, brings its schema up to date, and sees that the epoch is this cluster's.
async fn prepare(store: &Store, patience: &Patience) -> Result<Result<(), GivenUp>, RoleError> {
    let connection = store.connection.clone();
    let plan_open = tokio::task::spawn_blocking(move || is_plan_open(&connection))
        .await
        .map_err(|error| RoleError::stage("store", error))??;
    let database = &store.database;
    if let Err(given_up) = patience.until(|| database.prepare(plan_open)).await {
        return Ok(Err(given_up));
    }
    let (epoch, cluster) = (&store.emitter.epoch, store.connection.cluster());
    Ok(patience
        .until(|| database.claim_epoch(epoch, cluster))
        .await)
}

/// Whether a block was planned that is not stored yet, as far as the consumer group knows. Blocking.
///
/// # Errors
/// When the broker does not tell.
pub fn is_plan_open(connection: &Connection) -> Result<bool, BrokerError> {
    let committed = connection.committed_metadata("store", &topics::STORED)?;
    let is_plan =
        |(start, metadata): &(i64, String)| !matches!(Plan::read(*start, metadata), Ok(None));
    Ok(committed.iter().any(is_plan))
}

/// Identity of one of squall's own partitions.
fn own(emitter: &Emitter, assigned: &Assigned) -> SourcePartition {
    SourcePartition {
        epoch: emitter.epoch.clone(),
        topic: assigned.topic.clone(),
        partition: assigned.partition,
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

/// Plans that are not ended yet, by when they were made.
#[derive(Default)]
struct OpenPlans(Mutex<BTreeMap<Timestamp, usize>>);

/// Keeps a plan open until it is dropped.
struct OpenPlan<'a>(&'a OpenPlans, Timestamp);

impl OpenPlans {
    fn open(&self, made_at: Timestamp) -> OpenPlan<'_> {
        *lock(&self.0).entry(made_at).or_default() += 1;
        OpenPlan(self, made_at)
    }

    /// Seconds since the oldest was made; 0 when there is none.
    fn age(&self, now: Timestamp) -> f64 {
        let oldest = lock(&self.0).keys().next().copied();
        oldest.map_or(0.0, |made_at| now.since(made_at).as_secs_f64())
    }
}

impl Drop for OpenPlan<'_> {
    fn drop(&mut self) {
        let mut plans = lock(&self.0.0);
        if let Some(count) = plans.get_mut(&self.1) {
            *count -= 1;
            if *count == 0 {
                plans.remove(&self.1);
            }
        }
    }
}

#[cfg(test)]
mod tests;
