//! What the poll thread and the role know together of the partitions that are ours, and the callbacks of
//! the client that keep it up to date. All callbacks run on the poll thread.

use super::{Assigned, Assignment, BrokerError, CALL_TIMEOUT, CommitError, Event, Partition, Stop};
use crate::faults;
use crate::lock::lock;
use rdkafka::client::ClientContext;
use rdkafka::config::RDKafkaLogLevel;
use rdkafka::consumer::{BaseConsumer, CommitMode, Consumer as _, ConsumerContext, Rebalance};
use rdkafka::error::{KafkaError, KafkaResult};
use rdkafka::topic_partition_list::{Offset, TopicPartitionList, TopicPartitionListElem};
use std::collections::{HashMap, VecDeque};
use std::ops::Range;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex};
use tokio::sync::oneshot;

/// How often the group's offsets are asked for before the consumer gives up.
const COMMITTED_ATTEMPTS: u32 = 10;

#[derive(Debug, Default)]
pub(super) struct Books {
    partitions: Mutex<HashMap<Partition, Owned>>,
    next_assignment: AtomicU64,
    /// Rebalances since the poll thread looked last.
    rebalances: Mutex<VecDeque<Event>>,
    pub(super) stop: Mutex<Option<Stop>>,
    pub(super) close: AtomicBool,
    /// Whether the group has formed with this member, even if it got no partition.
    pub(super) joined: AtomicBool,
    /// Whether reading is paused because the channel is full, or has ended.
    pub(super) paused: AtomicBool,
    /// Whether a partition may be read that should not be, or the other way round.
    pub(super) pauses_changed: AtomicBool,
    pub(super) blocked_micros: AtomicU64,
    /// Commits that someone waits for.
    pub(super) requests: Mutex<Requests>,
}

/// Commits that someone waits for. After the poll thread has ended there is nobody to make them.
#[derive(Debug, Default)]
pub(super) struct Requests {
    waiting: Vec<Request>,
    ended: bool,
}

impl Requests {
    /// Has a commit made soon. After the end it is dropped, which tells who waits.
    pub(super) fn push(&mut self, request: Request) {
        if !self.ended {
            self.waiting.push(request);
        }
    }

    /// No commit is made any more.
    pub(super) fn end(&mut self) {
        self.ended = true;
        self.waiting.clear();
    }
}

/// A commit with metadata, and who waits for it.
#[derive(Debug)]
pub(super) struct Request {
    pub(super) key: Partition,
    pub(super) assignment: Assignment,
    pub(super) offset: i64,
    pub(super) metadata: String,
    pub(super) answer: oneshot::Sender<Result<(), CommitError>>,
}

/// One partition that is ours.
#[derive(Debug, Clone, Default)]
pub(super) struct Owned {
    pub(super) assignment: Assignment,
    /// What was committed when it became ours.
    pub(super) begun_at: Option<i64>,
    /// First offset that could be read when it became ours, where that is known.
    low: Option<i64>,
    /// Offset behind the last record delivered.
    pub(super) delivered: Option<i64>,
    /// Offset to be committed next.
    done: Option<i64>,
    committed: Option<i64>,
    statistics: Option<Statistics>,
    /// Whether whoever takes its records wants no more for now.
    held: bool,
    /// Whether the client has paused it.
    pub(super) paused: bool,
}

/// What the client's own statistics say of a partition.
#[derive(Debug, Clone, Copy)]
struct Statistics {
    low: i64,
    /// Offset behind the last record that can be read.
    end: i64,
    /// Next offset to be fetched; records before it are delivered or queued in the client.
    next: i64,
    queued: i64,
}

impl Owned {
    /// Offsets before `offset`, the next record's, that should have come and have expired. Gaps that are none of
    /// ours (a compacted topic, control records of transactions) do not count.
    pub(super) fn expired(&self, offset: i64) -> Option<Range<i64>> {
        let expected = self.delivered.or(self.begun_at)?;
        let told = self.statistics.map(|statistics| statistics.low);
        let end = told.max(self.low)?.min(offset);
        (expected < end).then_some(expected..end)
    }

    /// Records not yet done. 0 when everything there is was delivered and is committed; so control records of
    /// transactions, which are never delivered, do not count.
    fn remaining(&self) -> Option<i64> {
        let Statistics {
            low,
            end,
            next,
            queued,
        } = self.statistics?;
        let committed = self.committed.or(self.begun_at);
        let empty = end <= low;
        let read = next >= end && queued == 0;
        let all_done = self
            .delivered
            .is_none_or(|delivered| committed >= Some(delivered));
        if empty || (read && all_done) {
            return Some(0);
        }
        Some((end - committed.unwrap_or(0).max(low)).max(1))
    }
}

impl Books {
    /// Changes what is known of a partition, if it is ours.
    pub(super) fn with<R>(
        &self,
        key: &Partition,
        change: impl FnOnce(&mut Owned) -> R,
    ) -> Option<R> {
        lock(&self.partitions).get_mut(key).map(change)
    }

    pub(super) fn ours(&self) -> HashMap<Partition, Owned> {
        lock(&self.partitions).clone()
    }

    pub(super) fn take_rebalances(&self) -> VecDeque<Event> {
        std::mem::take(&mut lock(&self.rebalances))
    }

    /// Everything before `next` is done, if the assignment under which it was read still holds.
    pub(super) fn done(&self, key: &Partition, assignment: Assignment, next: i64) {
        self.with(key, |owned| {
            if owned.assignment == assignment {
                owned.done = owned.done.max(Some(next));
            }
        });
    }

    /// No more records of the partition, or again, if the assignment still holds.
    pub(super) fn hold(&self, key: &Partition, assignment: Assignment, held: bool) {
        self.with(key, |owned| {
            if owned.assignment == assignment {
                owned.held = held;
            }
        });
        self.pauses_changed.store(true, Ordering::Release);
    }

    /// Partitions that the client should pause, or read again, which it does not do so far.
    pub(super) fn to_change(&self, paused: bool) -> Vec<Partition> {
        let all = self.paused.load(Ordering::Relaxed);
        let partitions = lock(&self.partitions);
        let wrong = partitions
            .iter()
            .filter(|(_, owned)| owned.paused != paused && (all || owned.held) == paused);
        wrong.map(|(key, _)| key.clone()).collect()
    }

    pub(super) fn remaining(&self, key: &Partition) -> Option<i64> {
        self.with(key, |owned| owned.remaining()).flatten()
    }

    /// Commits what is done in the chosen partitions, and waits for the answer: that of a commit that is not waited for
    /// never comes, since the client passes answers on to a callback that its Rust side does not set.
    pub(super) fn commit(
        &self,
        client: &BaseConsumer<Context>,
        chosen: impl Fn(&Partition) -> bool,
    ) {
        let mut list = TopicPartitionList::new();
        let mut under_way = Vec::new();
        for (key, owned) in lock(&self.partitions)
            .iter_mut()
            .filter(|(key, _)| chosen(key))
        {
            if let Some(next) = owned.done.take()
                && list
                    .add_partition_offset(&key.0, key.1, Offset::Offset(next))
                    .is_ok()
            {
                under_way.push((key.clone(), next));
            }
        }
        if under_way.is_empty() {
            return;
        }
        faults::reach("commit.sending");
        self.answered(&client.commit(&list, CommitMode::Sync), &under_way);
    }

    /// Makes the commits that someone waits for, all that there are in one call. A refused call says nothing of
    /// which of them was made; each is then asked for again.
    pub(super) fn serve_requests(&self, client: &BaseConsumer<Context>) {
        let requests = std::mem::take(&mut lock(&self.requests).waiting);
        let mut list = TopicPartitionList::new();
        let mut under_way = Vec::new();
        for request in requests {
            let holds = self.with(&request.key, |owned| owned.assignment == request.assignment);
            if holds != Some(true) {
                let _ = request.answer.send(Err(CommitError::Gone));
                continue;
            }
            let (topic, partition) = &request.key;
            let mut element = list.add_partition(topic, *partition);
            element.set_metadata(&request.metadata);
            match element.set_offset(Offset::Offset(request.offset)) {
                Ok(()) => under_way.push(request),
                Err(error) => {
                    let _ = request
                        .answer
                        .send(Err(CommitError::Unanswered(error.to_string())));
                }
            }
        }
        if under_way.is_empty() {
            return;
        }
        faults::reach("commit.sending");
        let result = client.commit(&list, CommitMode::Sync);
        for request in under_way {
            let answer = match &result {
                Ok(()) => {
                    self.with(&request.key, |owned| owned.committed = Some(request.offset));
                    Ok(())
                }
                Err(error) => Err(CommitError::Unanswered(error.to_string())),
            };
            let _ = request.answer.send(answer);
        }
    }

    /// A commit was answered. What failed is committed again with the next one, unless more is done by then.
    fn answered(&self, result: &KafkaResult<()>, under_way: &[(Partition, i64)]) {
        if let Err(error) = result {
            tracing::warn!(%error, "offsets were not committed: they are tried again");
        }
        for (key, next) in under_way {
            self.with(key, |owned| match result {
                Ok(()) => owned.committed = owned.committed.max(Some(*next)),
                Err(_) => owned.done = owned.done.max(Some(*next)),
            });
        }
    }
}

/// Callbacks of the client.
pub(super) struct Context(pub(super) Arc<Books>);

impl ClientContext for Context {
    fn log(&self, level: RDKafkaLogLevel, facility: &str, message: &str) {
        match level {
            RDKafkaLogLevel::Emerg
            | RDKafkaLogLevel::Alert
            | RDKafkaLogLevel::Critical
            | RDKafkaLogLevel::Error => {
                tracing::error!(target: "librdkafka", facility, "{message}")
            }
            RDKafkaLogLevel::Warning => tracing::warn!(target: "librdkafka", facility, "{message}"),
            _ => tracing::debug!(target: "librdkafka", facility, "{message}"),
        }
    }

    fn stats(&self, statistics: rdkafka::Statistics) {
        for (name, topic) in statistics.topics {
            let name: Arc<str> = name.into();
            for (id, partition) in topic.partitions {
                let end = if partition.ls_offset >= 0 {
                    partition.ls_offset
                } else {
                    partition.hi_offset
                };
                if end >= 0 {
                    let statistics = Statistics {
                        low: partition.lo_offset.max(0),
                        end,
                        next: partition.next_offset,
                        queued: partition.fetchq_cnt,
                    };
                    self.0.with(&(name.clone(), id), |owned| {
                        owned.statistics = Some(statistics)
                    });
                }
            }
        }
    }

    fn error(&self, error: KafkaError, reason: &str) {
        tracing::warn!(%error, reason, "kafka client");
    }
}

impl ConsumerContext for Context {
    fn pre_rebalance(&self, client: &BaseConsumer<Self>, rebalance: &Rebalance<'_>) {
        let Rebalance::Revoke(list) = rebalance else {
            return;
        };
        let revoked = partitions(list);
        if client.assignment_lost() {
            // The group has gone on without us: a commit would be refused.
            self.0.joined.store(false, Ordering::Relaxed);
        } else {
            self.0.commit(client, |key| revoked.contains(key));
        }
        lock(&self.0.partitions).retain(|key, _| !revoked.contains(key));
        lock(&self.0.rebalances).push_back(Event::Revoked(revoked));
    }

    fn post_rebalance(&self, client: &BaseConsumer<Self>, rebalance: &Rebalance<'_>) {
        let Rebalance::Assign(list) = rebalance else {
            return;
        };
        self.0.joined.store(true, Ordering::Relaxed);
        // A pause outlives an assignment in librdkafka: a partition that was paused when it was taken away
        // would stay so.
        if let Err(error) = client.resume(list) {
            tracing::warn!(%error, "new partitions could not be resumed");
        }
        let committed = match patiently_committed(client, list) {
            Ok(committed) => committed,
            // Where reading begins, and under which plan, must be known.
            Err(source) => {
                let place = "offsets of the group".to_owned();
                let failed = Event::Failed(BrokerError::Call { place, source });
                lock(&self.0.rebalances).push_back(failed);
                return;
            }
        };
        let assigned = partitions(list).into_iter().map(|key| {
            let assignment = self.0.next_assignment.fetch_add(1, Ordering::Relaxed);
            let (committed, metadata) = committed.get(&key).cloned().unzip();
            let low = committed.and_then(|_| low(client, &key));
            let owned = Owned {
                assignment,
                begun_at: committed,
                low,
                ..Owned::default()
            };
            lock(&self.0.partitions).insert(key.clone(), owned);
            Assigned {
                topic: key.0,
                partition: key.1,
                assignment,
                committed,
                metadata: metadata.unwrap_or_default(),
                low,
            }
        });
        let assigned = assigned.collect();
        lock(&self.0.rebalances).push_back(Event::Assigned(assigned));
    }
}

/// Asks a few times.
fn patiently_committed(
    client: &BaseConsumer<Context>,
    list: &TopicPartitionList,
) -> KafkaResult<HashMap<Partition, (i64, String)>> {
    let mut attempts = 0;
    loop {
        match committed(client, list) {
            Err(error) if attempts < COMMITTED_ATTEMPTS => {
                tracing::warn!(%error, "what the group has committed is unknown: asking again");
                attempts += 1;
            }
            answer => return answer,
        }
    }
}

/// What the group has committed for the partitions of a list: offsets, and the metadata with them.
fn committed(
    client: &BaseConsumer<Context>,
    list: &TopicPartitionList,
) -> KafkaResult<HashMap<Partition, (i64, String)>> {
    let mut asked = TopicPartitionList::new();
    for (topic, partition) in partitions(list) {
        asked.add_partition(&topic, partition);
    }
    let answer = client.committed_offsets(asked, CALL_TIMEOUT)?;
    let offset = |element: &TopicPartitionListElem<'_>| match element.offset() {
        Offset::Offset(offset) => {
            let key = (element.topic().into(), element.partition());
            Some((key, (offset, element.metadata().to_owned())))
        }
        _ => None,
    };
    Ok(answer.elements().iter().filter_map(offset).collect())
}

/// First offset of a partition that can still be read.
fn low(client: &BaseConsumer<Context>, (topic, partition): &Partition) -> Option<i64> {
    match client.fetch_watermarks(topic, *partition, CALL_TIMEOUT) {
        Ok((low, _)) => Some(low),
        Err(error) => {
            tracing::warn!(%error, topic = %topic, partition, "its beginning is unknown");
            None
        }
    }
}

fn partitions(list: &TopicPartitionList) -> Vec<Partition> {
    list.elements()
        .iter()
        .map(|element| (element.topic().into(), element.partition()))
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn owned(
        statistics: (i64, i64, i64, i64),
        committed: Option<i64>,
        delivered: Option<i64>,
    ) -> Owned {
        let (low, end, next, queued) = statistics;
        let statistics = Some(Statistics {
            low,
            end,
            next,
            queued,
        });
        Owned {
            statistics,
            begun_at: committed,
            delivered,
            ..Owned::default()
        }
    }

    #[test]
    fn nothing_remains_once_all_that_can_be_read_is_done() {
        assert_eq!(
            Owned::default().remaining(),
            None,
            "unknown before the first statistics"
        );
        assert_eq!(
            owned((0, 0, -1001, 0), None, None).remaining(),
            Some(0),
            "empty"
        );
        assert_eq!(
            owned((0, 10, 10, 0), Some(10), None).remaining(),
            Some(0),
            "restarted at the end"
        );
        assert_eq!(
            owned((0, 10, 10, 0), Some(9), Some(9)).remaining(),
            Some(0),
            "a control record at the end"
        );
        assert_eq!(
            owned((0, 10, 10, 0), Some(4), Some(10)).remaining(),
            Some(6),
            "delivered, not done"
        );
        assert_eq!(
            owned((0, 10, 10, 2), Some(8), Some(8)).remaining(),
            Some(2),
            "queued in the client"
        );
        assert_eq!(
            owned((900, 1000, 900, 0), None, None).remaining(),
            Some(100),
            "what has expired is no lag"
        );
    }

    #[test]
    fn a_commit_that_failed_is_tried_again_and_one_of_an_old_assignment_is_dropped() {
        let books = Books::default();
        let key: Partition = ("t".into(), 0);
        let ours = Owned {
            assignment: 7,
            ..Owned::default()
        };
        lock(&books.partitions).insert(key.clone(), ours);
        let under_way = [(key.clone(), 5)];
        books.answered(&Err(KafkaError::Canceled), &under_way);
        assert_eq!(books.ours()[&key].done, Some(5));
        assert_eq!(books.ours()[&key].committed, None);
        books.done(&key, 6, 9);
        assert_eq!(books.ours()[&key].done, Some(5), "assignment 6 is over");
        books.done(&key, 7, 9);
        assert_eq!(books.ours()[&key].done, Some(9));
        books.answered(&Ok(()), &under_way);
        assert_eq!(books.ours()[&key].committed, Some(5));
    }
}
