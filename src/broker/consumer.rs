//! A consumer: one thread polls, commits and serves rebalances; records go out through a bounded channel.
//!
//! When the channel is full the thread pauses all partitions and goes on polling, so that the group keeps
//! its member and memory stays bounded. All commits come from this thread, and each is tagged with the
//! assignment under which the record was read: a commit that outlived its assignment is dropped.

use super::{BrokerError, Connection};
use crate::domain::Timestamp;
use rdkafka::client::ClientContext;
use rdkafka::config::RDKafkaLogLevel;
use rdkafka::consumer::{BaseConsumer, CommitMode, Consumer as _, ConsumerContext, Rebalance};
use rdkafka::error::KafkaError;
use rdkafka::message::{BorrowedMessage, Headers as _, Message as _};
use rdkafka::topic_partition_list::{Offset, TopicPartitionList};
use rdkafka::types::RDKafkaErrorCode;
use std::collections::{HashMap, VecDeque};
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};
use tokio::sync::mpsc;

/// How often finished offsets are committed.
const COMMIT_INTERVAL: Duration = Duration::from_millis(100);
/// Longest wait for a record before the thread looks after its other duties.
const POLL: Duration = Duration::from_millis(50);
/// How long the thread waits for the channel before it polls again.
const WAIT_FOR_CHANNEL: Duration = Duration::from_millis(20);
const CALL_TIMEOUT: Duration = Duration::from_secs(5);

type Partition = (Arc<str>, i32);

/// One ownership of a partition by this consumer; a partition that comes back has another number.
pub type Assignment = u64;

/// One record as it was read.
#[derive(Debug, Clone, PartialEq)]
pub struct Record {
    /// Topic.
    pub topic: Arc<str>,
    /// Partition.
    pub partition: i32,
    /// Offset.
    pub offset: i64,
    /// Record timestamp, where the producer or the broker set one.
    pub timestamp: Option<Timestamp>,
    /// Key.
    pub key: Option<Vec<u8>>,
    /// Bytes; empty for a record without any.
    pub payload: Vec<u8>,
    /// Headers.
    pub headers: Vec<(String, Vec<u8>)>,
    /// Ownership under which it was read.
    pub assignment: Assignment,
}

/// What the poll thread tells, in order.
#[derive(Debug)]
pub enum Event {
    /// Partitions are read from now on, each under its own assignment number.
    Assigned(Vec<(Arc<str>, i32, Assignment)>),
    /// Partitions are no longer ours: nothing further comes of them.
    Revoked(Vec<(Arc<str>, i32)>),
    /// A record.
    Record(Record),
    /// The consumer was stopped: no record follows.
    Stopped,
    /// The consumer cannot go on.
    Failed(BrokerError),
}

/// When a stopped consumer delivers its last record.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Stop {
    /// At once.
    Now,
    /// When everything is delivered that was in its partitions when it was stopped: for a broker that dies
    /// with the process.
    AtEnd,
}

/// A consumer of a role's group.
#[derive(Debug)]
pub struct Consumer {
    events: mpsc::Receiver<Event>,
    shared: Arc<Shared>,
    thread: Option<JoinHandle<()>>,
}

/// Marks offsets as done. Cheap to clone.
#[derive(Debug, Clone)]
pub struct Commits(Arc<Shared>);

/// End offsets of the partitions, as far as the client knows them, and whether reading is paused.
#[derive(Debug, Clone)]
pub struct Lag(Arc<Shared>);

#[derive(Debug, Default)]
struct Shared {
    assignments: Mutex<HashMap<Partition, Assignment>>,
    next_assignment: AtomicU64,
    /// Next offset to be read by whoever follows, by partition.
    done: Mutex<HashMap<Partition, (Assignment, i64)>>,
    committed: Mutex<HashMap<Partition, i64>>,
    /// End offset and committed offset (below 0: none) as the client's statistics give them.
    ends: Mutex<HashMap<Partition, (i64, i64)>>,
    /// Rebalances since the thread looked last.
    rebalances: Mutex<VecDeque<Event>>,
    stop: Mutex<Option<Stop>>,
    close: AtomicBool,
    /// Whether the group has formed with this member, even if it got no partition.
    joined: AtomicBool,
    paused: AtomicBool,
    blocked_micros: AtomicU64,
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

impl Consumer {
    /// Joins the role's group and begins to read. `capacity` bounds the records in the channel.
    ///
    /// Must be called inside a tokio runtime.
    ///
    /// # Errors
    /// [`BrokerError::Settings`] when the client refuses its settings.
    pub fn start(
        connection: &Connection,
        role: &str,
        topics: &[&str],
        capacity: usize,
    ) -> Result<Self, BrokerError> {
        let shared = Arc::new(Shared::default());
        let mut settings = connection.settings();
        settings
            .set("group.id", connection.group(role))
            .set("enable.auto.commit", "false")
            .set("enable.auto.offset.store", "false")
            .set("auto.offset.reset", "earliest")
            .set("partition.assignment.strategy", "cooperative-sticky")
            .set("session.timeout.ms", "10000")
            .set("heartbeat.interval.ms", "1000")
            .set("queued.max.messages.kbytes", "4096")
            .set("statistics.interval.ms", "500");
        if connection.embedded {
            // An empty fetch on the embedded broker waits this whole time.
            settings
                .set("fetch.wait.max.ms", "10")
                .set("fetch.queue.backoff.ms", "10");
        }
        for (key, value) in &connection.kafka.client {
            settings.set(key, value.expose());
        }
        let client: BaseConsumer<Context> = settings
            .create_with_context(Context(shared.clone()))
            .map_err(BrokerError::Settings)?;
        client
            .subscribe(topics)
            .map_err(|source| BrokerError::Call {
                place: connection.group(role),
                source,
            })?;
        let (sender, events) = mpsc::channel(capacity);
        let runtime = tokio::runtime::Handle::current();
        let poll = Poll {
            client,
            shared: shared.clone(),
            sender,
            runtime,
            waiting: VecDeque::new(),
            next: HashMap::new(),
            targets: None,
            paused: false,
            stopped: false,
            commit_at: Instant::now(),
        };
        let thread = std::thread::Builder::new()
            .name(format!("poll-{role}"))
            .spawn(move || poll.run())
            .map_err(|error| BrokerError::Embedded(format!("cannot start a thread: {error}")))?;
        Ok(Self {
            events,
            shared,
            thread: Some(thread),
        })
    }

    /// The next event; none after the thread has ended.
    pub async fn next(&mut self) -> Option<Event> {
        self.events.recv().await
    }

    /// Where offsets are marked as done.
    pub fn commits(&self) -> Commits {
        Commits(self.shared.clone())
    }

    /// What is known of the ends of the partitions.
    pub fn lag(&self) -> Lag {
        Lag(self.shared.clone())
    }

    /// Asks the thread to stop reading; [`Event::Stopped`] follows the last record.
    pub fn stop(&self, stop: Stop) {
        *lock(&self.shared.stop) = Some(stop);
    }

    /// Commits what is done, leaves the group and ends the thread.
    pub async fn close(mut self) {
        self.shared.close.store(true, Ordering::Release);
        self.events.close();
        if let Some(thread) = self.thread.take() {
            let _ = tokio::task::spawn_blocking(move || thread.join()).await;
        }
    }
}

impl Drop for Consumer {
    fn drop(&mut self) {
        self.shared.close.store(true, Ordering::Release);
    }
}

impl Commits {
    /// Everything of the partition before `next` is done. Committed within a moment, unless the assignment
    /// is over.
    pub fn done(&self, topic: &Arc<str>, partition: i32, assignment: Assignment, next: i64) {
        lock(&self.0.done).insert((topic.clone(), partition), (assignment, next));
    }
}

impl Lag {
    /// Records of a partition that are not yet committed; none before the first answer of the broker.
    pub fn remaining(&self, topic: &Arc<str>, partition: i32) -> Option<i64> {
        self.0.remaining(&(topic.clone(), partition))
    }

    /// Whether the group has formed with this member, even if it got no partition.
    pub fn has_joined(&self) -> bool {
        self.0.joined.load(Ordering::Relaxed)
    }

    /// Whether reading is paused because what follows cannot keep up.
    pub fn is_paused(&self) -> bool {
        self.0.paused.load(Ordering::Relaxed)
    }

    /// Time spent waiting for what follows since the last call.
    pub fn take_blocked(&self) -> Duration {
        Duration::from_micros(self.0.blocked_micros.swap(0, Ordering::Relaxed))
    }

    /// Records not yet committed, by partition of those that are ours.
    pub fn by_partition(&self) -> Vec<(Arc<str>, i32, i64)> {
        let ours: Vec<Partition> = lock(&self.0.assignments).keys().cloned().collect();
        let remaining = ours.into_iter().filter_map(|key| {
            let remaining = self.0.remaining(&key)?;
            Some((key.0, key.1, remaining))
        });
        remaining.collect()
    }
}

/// The poll thread.
struct Poll {
    client: BaseConsumer<Context>,
    shared: Arc<Shared>,
    sender: mpsc::Sender<Event>,
    runtime: tokio::runtime::Handle,
    /// Events that did not fit into the channel yet; a handful at most.
    waiting: VecDeque<Event>,
    /// Offset behind the last record delivered.
    next: HashMap<Partition, i64>,
    /// Offsets up to which a consumer stopped at the end still delivers.
    targets: Option<HashMap<Partition, i64>>,
    paused: bool,
    stopped: bool,
    commit_at: Instant,
}

impl Poll {
    fn run(mut self) {
        while !self.shared.close.load(Ordering::Acquire) {
            self.commit_when_due();
            self.look_after_stop();
            if !self.hand_over() {
                break;
            }
            let timeout = if self.waiting.is_empty() {
                POLL
            } else {
                Duration::ZERO
            };
            let polled = self
                .client
                .poll(timeout)
                .map(|result| result.map(|message| self.record(&message)));
            self.waiting.extend(lock(&self.shared.rebalances).drain(..));
            match polled {
                Some(Ok(Some(record))) => {
                    self.next
                        .insert((record.topic.clone(), record.partition), record.offset + 1);
                    self.waiting.push_back(Event::Record(record));
                }
                Some(Err(error)) => self.failed(error),
                Some(Ok(None)) | None => {}
            }
        }
        self.commit(CommitMode::Sync);
        self.client.unsubscribe();
    }

    /// Passes on what waits. False when nobody listens any more.
    fn hand_over(&mut self) -> bool {
        while let Some(event) = self.waiting.pop_front() {
            match self.sender.try_send(event) {
                Ok(()) => {}
                Err(mpsc::error::TrySendError::Closed(_)) => return false,
                Err(mpsc::error::TrySendError::Full(event)) => {
                    self.waiting.push_front(event);
                    self.wait_for_channel();
                    return true;
                }
            }
        }
        if self.paused && !self.stopped && self.sender.capacity() * 2 >= self.sender.max_capacity()
        {
            self.set_paused(false);
        }
        true
    }

    fn wait_for_channel(&mut self) {
        let begun = Instant::now();
        let room = self.runtime.block_on(async {
            tokio::time::timeout(WAIT_FOR_CHANNEL, self.sender.reserve())
                .await
                .is_ok()
        });
        if !room {
            self.set_paused(true);
        }
        let micros = begun.elapsed().as_micros() as u64;
        self.shared
            .blocked_micros
            .fetch_add(micros, Ordering::Relaxed);
    }

    /// Pauses or resumes every partition that is ours. Also called again after an assignment.
    fn set_paused(&mut self, paused: bool) {
        let mut list = TopicPartitionList::new();
        for (topic, partition) in lock(&self.shared.assignments).keys() {
            list.add_partition(topic, *partition);
        }
        let result = if paused {
            self.client.pause(&list)
        } else {
            self.client.resume(&list)
        };
        match result {
            Ok(()) => self.paused = paused,
            Err(error) => {
                tracing::warn!(%error, paused, "partitions could not be paused or resumed")
            }
        }
        self.shared.paused.store(paused, Ordering::Relaxed);
    }

    fn record(&self, message: &BorrowedMessage<'_>) -> Option<Record> {
        let topic: Arc<str> = message.topic().into();
        let key = (topic.clone(), message.partition());
        // Not ours any more: it was fetched before a rebalance.
        let assignment = *lock(&self.shared.assignments).get(&key)?;
        let headers = message.headers().map(|headers| {
            headers
                .iter()
                .map(|h| (h.key.to_owned(), h.value.unwrap_or_default().to_vec()))
                .collect()
        });
        Some(Record {
            topic,
            partition: message.partition(),
            offset: message.offset(),
            timestamp: message.timestamp().to_millis().map(Timestamp::from_millis),
            key: message.key().map(<[u8]>::to_vec),
            payload: message.payload().unwrap_or_default().to_vec(),
            headers: headers.unwrap_or_default(),
            assignment,
        })
    }

    fn failed(&mut self, error: KafkaError) {
        match error {
            KafkaError::MessageConsumptionFatal(_) => {
                self.waiting.push_back(Event::Failed(BrokerError::Fatal {
                    place: "consumer".into(),
                    source: error,
                }))
            }
            error => tracing::warn!(%error, "consumer: the client goes on by itself"),
        }
    }

    fn look_after_stop(&mut self) {
        let Some(stop) = *lock(&self.shared.stop) else {
            return;
        };
        // What the embedded broker holds is read to its end, so the group must have formed first.
        let joined = self.shared.joined.load(Ordering::Relaxed);
        if self.stopped || (stop == Stop::AtEnd && !joined) {
            return;
        }
        if self.targets.is_none() {
            let targets = if stop == Stop::AtEnd {
                self.ends()
            } else {
                HashMap::new()
            };
            self.targets = Some(targets);
        }
        let ours = lock(&self.shared.assignments).clone();
        let reached = self.targets.iter().flatten().all(|(key, end)| {
            !ours.contains_key(key) || self.next.get(key).is_some_and(|next| next >= end)
        });
        if reached {
            self.set_paused(true);
            self.stopped = true;
            self.waiting.push_back(Event::Stopped);
        }
    }

    /// End offsets of the partitions that have something left; also notes where reading stands in them.
    fn ends(&mut self) -> HashMap<Partition, i64> {
        let ours: Vec<Partition> = lock(&self.shared.assignments).keys().cloned().collect();
        let mut targets = HashMap::new();
        for (topic, partition) in ours {
            let key = (topic.clone(), partition);
            match self
                .client
                .fetch_watermarks(&topic, partition, CALL_TIMEOUT)
            {
                Ok((low, high)) => {
                    let begun = self.next.contains_key(&key);
                    let position = if begun {
                        high
                    } else {
                        self.committed(&key).unwrap_or(low)
                    };
                    if begun || position < high {
                        targets.insert(key, high);
                    }
                }
                Err(error) => {
                    tracing::warn!(%error, %topic, partition, "its end is unknown: not waited for")
                }
            }
        }
        targets
    }

    fn committed(&self, (topic, partition): &Partition) -> Option<i64> {
        let mut list = TopicPartitionList::new();
        list.add_partition(topic, *partition);
        let answer = self.client.committed_offsets(list, CALL_TIMEOUT).ok()?;
        match answer.elements().first()?.offset() {
            Offset::Offset(offset) => Some(offset),
            _ => None,
        }
    }

    fn commit_when_due(&mut self) {
        if self.commit_at.elapsed() >= COMMIT_INTERVAL {
            self.commit_at = Instant::now();
            self.commit(CommitMode::Async);
        }
    }

    fn commit(&self, mode: CommitMode) {
        if let Some(list) = self.shared.take_done(|_| true)
            && let Err(error) = self.client.commit(&list, mode)
        {
            tracing::warn!(%error, "offsets could not be committed: their records may come again");
        }
    }
}

impl Shared {
    fn remaining(&self, key: &Partition) -> Option<i64> {
        let (end, committed_before) = lock(&self.ends).get(key).copied()?;
        let committed = lock(&self.committed)
            .get(key)
            .copied()
            .unwrap_or(committed_before);
        Some((end - committed.max(0)).max(0))
    }

    /// Offsets to commit, among the partitions chosen; those of an assignment that is over are dropped.
    fn take_done(&self, chosen: impl Fn(&Partition) -> bool) -> Option<TopicPartitionList> {
        let assignments = lock(&self.assignments);
        let mut list = TopicPartitionList::new();
        lock(&self.done).retain(|key, (assignment, next)| {
            if !chosen(key) {
                return true;
            }
            if assignments.get(key) == Some(assignment)
                && list
                    .add_partition_offset(&key.0, key.1, Offset::Offset(*next))
                    .is_ok()
            {
                lock(&self.committed).insert(key.clone(), *next);
            }
            false
        });
        (list.count() > 0).then_some(list)
    }
}

/// Callbacks of the client; all run on the poll thread.
struct Context(Arc<Shared>);

impl ClientContext for Context {
    fn log(&self, level: RDKafkaLogLevel, facility: &str, message: &str) {
        match level {
            RDKafkaLogLevel::Emerg
            | RDKafkaLogLevel::Alert
            | RDKafkaLogLevel::Critical
            | RDKafkaLogLevel::Error => {
                tracing::error!(target: "librdkafka", facility, "{message}");
            }
            RDKafkaLogLevel::Warning => tracing::warn!(target: "librdkafka", facility, "{message}"),
            _ => tracing::debug!(target: "librdkafka", facility, "{message}"),
        }
    }

    fn stats(&self, statistics: rdkafka::Statistics) {
        let mut ends = lock(&self.0.ends);
        for (name, topic) in statistics.topics {
            let name: Arc<str> = name.into();
            for (id, partition) in topic.partitions {
                if id >= 0 && partition.hi_offset >= 0 {
                    ends.insert(
                        (name.clone(), id),
                        (partition.hi_offset, partition.committed_offset),
                    );
                }
            }
        }
    }

    fn error(&self, error: KafkaError, reason: &str) {
        let down = error.rdkafka_error_code() == Some(RDKafkaErrorCode::AllBrokersDown);
        tracing::warn!(%error, reason, down, "kafka client");
    }
}

impl ConsumerContext for Context {
    fn pre_rebalance(&self, client: &BaseConsumer<Self>, rebalance: &Rebalance<'_>) {
        let Rebalance::Revoke(list) = rebalance else {
            return;
        };
        let revoked = partitions(list);
        if let Some(done) = self.0.take_done(|key| revoked.contains(key))
            && let Err(error) = client.commit(&done, CommitMode::Sync)
        {
            tracing::warn!(%error, "offsets could not be committed before a rebalance: their records come again");
        }
        lock(&self.0.assignments).retain(|key, _| !revoked.contains(key));
        lock(&self.0.ends).retain(|key, _| !revoked.contains(key));
        lock(&self.0.committed).retain(|key, _| !revoked.contains(key));
        lock(&self.0.rebalances).push_back(Event::Revoked(revoked));
    }

    fn post_rebalance(&self, _: &BaseConsumer<Self>, rebalance: &Rebalance<'_>) {
        let Rebalance::Assign(list) = rebalance else {
            return;
        };
        self.0.joined.store(true, Ordering::Relaxed);
        let mut assignments = lock(&self.0.assignments);
        let assigned = partitions(list).into_iter().map(|(topic, partition)| {
            let number = self.0.next_assignment.fetch_add(1, Ordering::Relaxed);
            assignments.insert((topic.clone(), partition), number);
            (topic, partition, number)
        });
        let assigned = assigned.collect();
        lock(&self.0.rebalances).push_back(Event::Assigned(assigned));
    }
}

fn partitions(list: &TopicPartitionList) -> Vec<Partition> {
    list.elements()
        .iter()
        .map(|element| (element.topic().into(), element.partition()))
        .collect()
}
