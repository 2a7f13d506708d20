//! A consumer: one thread polls, commits and serves rebalances; records go out through a bounded channel.
//!
//! When the channel is full the thread pauses all partitions and goes on polling, so that the group keeps
//! its member and memory stays bounded; a single partition is paused when whoever takes its records wants so. All
//! commits come from this thread, and each is tagged with the assignment under which the record was read: a commit
//! that outlived its assignment is dropped.

mod books;
mod poll;

use super::client::SESSION_TIMEOUT_MS;
use super::{BrokerError, Connection};
use crate::domain::Timestamp;
use crate::lock::lock;
use books::{Books, Context, Request};
use poll::Poll;
use rdkafka::consumer::{BaseConsumer, Consumer as _};
use std::ops::Range;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::thread::JoinHandle;
use std::time::Duration;
use tokio::sync::{mpsc, oneshot};

/// How long one question to the broker may take.
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

/// A partition that is ours from now on.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Assigned {
    /// Topic.
    pub topic: Arc<str>,
    /// Partition.
    pub partition: i32,
    /// Number of this ownership.
    pub assignment: Assignment,
    /// What the group has committed, where reading begins; none when it never has.
    pub committed: Option<i64>,
    /// What was committed with that offset; empty when there is nothing.
    pub metadata: String,
    /// First offset that can still be read, where the broker told: what is below it has expired.
    pub low: Option<i64>,
}

/// Records of a partition that expired before they were read.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Expired {
    /// Topic.
    pub topic: Arc<str>,
    /// Partition.
    pub partition: i32,
    /// Their offsets.
    pub offsets: Range<i64>,
}

/// Why an offset was not committed.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum CommitError {
    /// The partition belongs to someone else by now: what was begun must be given up.
    #[error("the partition is no longer ours")]
    Gone,
    /// Unknown whether the broker has it: the same must be committed again.
    #[error("{0}")]
    Unanswered(String),
}

/// What the poll thread tells, in order.
#[derive(Debug)]
pub enum Event {
    /// Partitions are read from now on, each under its own assignment number.
    Assigned(Vec<Assigned>),
    /// Partitions are no longer ours: nothing further comes of them.
    Revoked(Vec<(Arc<str>, i32)>),
    /// A record.
    Record(Record),
    /// What should have been the next records has expired; reading goes on behind it.
    Expired(Expired),
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
    books: Arc<Books>,
    thread: Option<JoinHandle<()>>,
}

/// Marks offsets as done. Cheap to clone.
#[derive(Debug, Clone)]
pub struct Commits(Arc<Books>);

/// End offsets of the partitions, as far as the client knows them, and whether reading is paused.
#[derive(Debug, Clone)]
pub struct Lag(Arc<Books>);

impl Consumer {
    /// Joins the role's group and begins to read. `capacity` bounds the records in the channel.
    ///
    /// # Errors
    /// [`BrokerError::Settings`] when the client refuses its settings.
    pub fn start(
        connection: &Connection,
        role: &str,
        topics: &[&str],
        capacity: usize,
    ) -> Result<Self, BrokerError> {
        let books = Arc::new(Books::default());
        let group = connection.group(role);
        let mut defaults = vec![
            ("group.id", group.as_str()),
            ("enable.auto.commit", "false"),
            ("enable.auto.offset.store", "false"),
            ("auto.offset.reset", "earliest"),
            ("partition.assignment.strategy", "cooperative-sticky"),
            ("session.timeout.ms", SESSION_TIMEOUT_MS),
            ("heartbeat.interval.ms", "1000"),
            ("queued.max.messages.kbytes", "4096"),
            // How long a full queue is left alone after it has room again: the default, a second, would be most of it.
            ("fetch.queue.backoff.ms", "10"),
            ("statistics.interval.ms", "500"),
        ];
        if connection.embedded {
            // An empty fetch on the embedded broker waits this whole time.
            defaults.push(("fetch.wait.max.ms", "10"));
        }
        let client: BaseConsumer<Context> = connection
            .settings(&defaults)
            .create_with_context(Context(books.clone()))
            .map_err(|error| BrokerError::settings(&error))?;
        client
            .subscribe(topics)
            .map_err(|source| BrokerError::Call {
                place: group.clone(),
                source,
            })?;
        let (sender, events) = mpsc::channel(capacity);
        let poll = Poll::new(group, client, books.clone(), sender);
        let thread = std::thread::Builder::new()
            .name(format!("poll-{role}"))
            .spawn(move || poll.run())
            .map_err(|error| BrokerError::Embedded(format!("cannot start a thread: {error}")))?;
        Ok(Self {
            events,
            books,
            thread: Some(thread),
        })
    }

    /// The next event; none after the thread has ended.
    pub async fn next(&mut self) -> Option<Event> {
        self.events.recv().await
    }

    /// Where offsets are marked as done.
    pub fn commits(&self) -> Commits {
        Commits(self.books.clone())
    }

    /// What is known of the ends of the partitions.
    pub fn lag(&self) -> Lag {
        Lag(self.books.clone())
    }

    /// Asks the thread to stop reading; [`Event::Stopped`] follows the last record.
    pub fn stop(&self, stop: Stop) {
        *lock(&self.books.stop) = Some(stop);
    }

    /// Commits what is done, leaves the group and ends the thread.
    pub async fn close(mut self) {
        self.books.close.store(true, Ordering::Release);
        self.events.close();
        if let Some(thread) = self.thread.take() {
            let _ = tokio::task::spawn_blocking(move || thread.join()).await;
        }
    }
}

impl Drop for Consumer {
    fn drop(&mut self) {
        self.books.close.store(true, Ordering::Release);
    }
}

impl Commits {
    /// Commits an offset with metadata (under 4 KiB) and waits for the broker's answer. For partitions whose
    /// commits are all made this way, one after the other: so none can overtake another. The poll thread makes
    /// it, and only while the assignment holds.
    ///
    /// # Errors
    /// [`CommitError::Gone`] when the assignment is over; else the commit may or may not have been made.
    pub async fn commit(
        &self,
        (topic, partition): (&Arc<str>, i32),
        assignment: Assignment,
        offset: i64,
        metadata: String,
    ) -> Result<(), CommitError> {
        let (answer, answered) = oneshot::channel();
        lock(&self.0.requests).push(Request {
            key: (topic.clone(), partition),
            assignment,
            offset,
            metadata,
            answer,
        });
        answered.await.unwrap_or(Err(CommitError::Gone))
    }

    /// Everything of the partition before `next` is done. Committed within a moment, unless the assignment
    /// is over.
    pub fn done(&self, topic: &Arc<str>, partition: i32, assignment: Assignment, next: i64) {
        self.0.done(&(topic.clone(), partition), assignment, next);
    }

    /// Reads no more of the partition, or goes on where it stopped, while the assignment holds. Records that are in the
    /// channel by then still come.
    pub fn hold(&self, topic: &Arc<str>, partition: i32, assignment: Assignment, held: bool) {
        self.0.hold(&(topic.clone(), partition), assignment, held);
    }

    /// Whether the partition is still ours under this assignment. Known before [`Event::Revoked`] is read.
    pub fn holds(&self, topic: &Arc<str>, partition: i32, assignment: Assignment) -> bool {
        let key = (topic.clone(), partition);
        self.0.with(&key, |owned| owned.assignment) == Some(assignment)
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
        let ours = self.0.ours().into_keys();
        let remaining = ours.filter_map(|key| {
            let remaining = self.0.remaining(&key)?;
            Some((key.0, key.1, remaining))
        });
        remaining.collect()
    }
}
