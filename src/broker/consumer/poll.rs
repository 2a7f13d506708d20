//! The poll thread: the only one that talks to the client.

use super::books::{Books, Context};
use super::{Assigned, BrokerError, CALL_TIMEOUT, Event, Expired, Partition, Record, Stop};
use crate::domain::Timestamp;
use crate::lock::lock;
use rdkafka::consumer::{BaseConsumer, Consumer as _};
use rdkafka::error::{KafkaError, RDKafkaErrorCode};
use rdkafka::message::{BorrowedMessage, Headers as _, Message as _};
use rdkafka::topic_partition_list::TopicPartitionList;
use std::collections::{HashMap, VecDeque};
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::{Duration, Instant};
use tokio::sync::mpsc;

/// How often finished offsets are committed.
const COMMIT_INTERVAL: Duration = Duration::from_millis(100);
/// Longest wait for a record before the thread looks after its other duties.
const POLL: Duration = Duration::from_millis(50);
/// How long the thread waits for the channel before it polls again, and how often it looks.
const WAIT_FOR_CHANNEL: Duration = Duration::from_millis(20);
const LOOK_AT_CHANNEL: Duration = Duration::from_millis(1);

pub(super) struct Poll {
    group: String,
    client: BaseConsumer<Context>,
    books: Arc<Books>,
    sender: mpsc::Sender<Event>,
    /// Events that did not fit into the channel yet; a handful at most.
    waiting: VecDeque<Event>,
    /// Offsets up to which a consumer stopped at the end still delivers.
    targets: Option<HashMap<Partition, i64>>,
    stopped: bool,
    commit_at: Instant,
}

impl Poll {
    pub(super) fn new(
        group: String,
        client: BaseConsumer<Context>,
        books: Arc<Books>,
        sender: mpsc::Sender<Event>,
    ) -> Self {
        Self {
            group,
            client,
            books,
            sender,
            waiting: VecDeque::new(),
            targets: None,
            stopped: false,
            commit_at: Instant::now(),
        }
    }

    pub(super) fn run(mut self) {
        while !self.books.close.load(Ordering::Acquire) {
            if self.commit_at.elapsed() >= COMMIT_INTERVAL {
                self.commit_at = Instant::now();
                self.books.commit(&self.client, |_| true);
            }
            self.books.serve_requests(&self.client);
            self.look_after_stop();
            if !self.hand_over() {
                break;
            }
            self.look_after_pauses();
            let timeout = if self.waiting.is_empty() {
                POLL
            } else {
                Duration::ZERO
            };
            let polled = self
                .client
                .poll(timeout)
                .map(|r| r.map(|message| self.record(&message)));
            self.take_rebalances();
            match polled {
                Some(Ok(events)) => self.waiting.extend(events),
                Some(Err(error)) => self.failed(error),
                None => {}
            }
        }
        self.books.serve_requests(&self.client);
        lock(&self.books.requests).end();
        self.books.commit(&self.client, |_| true);
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
        let has_room = self.sender.capacity() * 2 >= self.sender.max_capacity();
        if has_room && !self.stopped && self.books.paused.load(Ordering::Relaxed) {
            self.pause_all(false);
        }
        true
    }

    fn wait_for_channel(&mut self) {
        let begun = Instant::now();
        while self.sender.capacity() == 0 && begun.elapsed() < WAIT_FOR_CHANNEL {
            std::thread::sleep(LOOK_AT_CHANNEL);
        }
        if self.sender.capacity() == 0 && !self.books.paused.load(Ordering::Relaxed) {
            self.pause_all(true);
        }
        let micros = begun.elapsed().as_micros() as u64;
        self.books
            .blocked_micros
            .fetch_add(micros, Ordering::Relaxed);
    }

    /// Nothing is read of any partition from now on, or again.
    fn pause_all(&self, paused: bool) {
        self.books.paused.store(paused, Ordering::Relaxed);
        self.books.pauses_changed.store(true, Ordering::Release);
    }

    /// Has the client pause, and read again, what it should: partitions that came lately as well.
    fn look_after_pauses(&self) {
        if !self.books.pauses_changed.swap(false, Ordering::AcqRel) {
            return;
        }
        for paused in [true, false] {
            let partitions = self.books.to_change(paused);
            if partitions.is_empty() {
                continue;
            }
            let mut list = TopicPartitionList::new();
            for (topic, partition) in &partitions {
                list.add_partition(topic, *partition);
            }
            let result = if paused {
                self.client.pause(&list)
            } else {
                self.client.resume(&list)
            };
            if let Err(error) = result {
                tracing::warn!(%error, paused, "partitions could not be paused or resumed");
                self.books.pauses_changed.store(true, Ordering::Release);
                continue;
            }
            for key in &partitions {
                self.books.with(key, |owned| owned.paused = paused);
            }
        }
    }

    /// Passes rebalances on. Partitions that came while reading is paused are paused as well.
    fn take_rebalances(&mut self) {
        let rebalances = self.books.take_rebalances();
        if !rebalances.is_empty() {
            self.books.pauses_changed.store(true, Ordering::Release);
        }
        for event in &rebalances {
            self.tell(event);
        }
        self.waiting.extend(rebalances);
    }

    /// Notes which partitions came and went: what stands still is then found by whose it was.
    fn tell(&self, event: &Event) {
        let group = self.group.as_str();
        match event {
            Event::Assigned(assigned) if !assigned.is_empty() => {
                let of = |one: &Assigned| {
                    let from = one
                        .committed
                        .map_or("its beginning".into(), |at| at.to_string());
                    format!("{}:{} from {from}", one.topic, one.partition)
                };
                let partitions = assigned.iter().map(of).collect::<Vec<_>>().join(", ");
                tracing::info!(group, partitions, "partitions are ours");
            }
            Event::Revoked(revoked) if !revoked.is_empty() => {
                let of = |(topic, partition): &Partition| format!("{topic}:{partition}");
                let partitions = revoked.iter().map(of).collect::<Vec<_>>().join(", ");
                tracing::info!(group, partitions, "partitions are no longer ours");
            }
            _ => {}
        }
    }

    /// Passes a record on, and what should have come before it. Nothing of a partition that is not ours.
    fn record(&self, message: &BorrowedMessage<'_>) -> Vec<Event> {
        let topic: Arc<str> = message.topic().into();
        let key = (topic, message.partition());
        let offset = message.offset();
        let owned = self.books.with(&key, |owned| {
            let before = owned.clone();
            owned.delivered = Some(offset + 1);
            before
        });
        let Some(owned) = owned else {
            return Vec::new();
        };
        if let (None, Some(committed)) = (owned.delivered, owned.begun_at)
            && offset < committed
        {
            return vec![Event::Failed(BrokerError::Recreated {
                partition: format!("{}:{}", key.0, key.1),
                offset,
                committed,
            })];
        }
        let headers = message.headers().map(|headers| {
            headers
                .iter()
                .map(|h| (h.key.to_owned(), h.value.unwrap_or_default().to_vec()))
                .collect()
        });
        let expired = owned.expired(offset).map(|offsets| {
            Event::Expired(Expired {
                topic: key.0.clone(),
                partition: key.1,
                offsets,
            })
        });
        let record = Event::Record(Record {
            topic: key.0,
            partition: key.1,
            offset,
            timestamp: message.timestamp().to_millis().map(Timestamp::from_millis),
            key: message.key().map(<[u8]>::to_vec),
            payload: message.payload().unwrap_or_default().to_vec(),
            headers: headers.unwrap_or_default(),
            assignment: owned.assignment,
        });
        expired.into_iter().chain([record]).collect()
    }

    /// What will not mend itself ends the role; the client goes on after everything else.
    fn failed(&mut self, source: KafkaError) {
        let refused = matches!(
            source.rdkafka_error_code(),
            Some(
                RDKafkaErrorCode::TopicAuthorizationFailed
                    | RDKafkaErrorCode::GroupAuthorizationFailed
                    | RDKafkaErrorCode::ClusterAuthorizationFailed
                    | RDKafkaErrorCode::SaslAuthenticationFailed
                    | RDKafkaErrorCode::Authentication
            )
        );
        let place = self.group.clone();
        match source {
            _ if refused => self.waiting.push_back(Event::Failed(BrokerError::Refused {
                group: place,
                source,
            })),
            KafkaError::MessageConsumptionFatal(_) => {
                self.waiting
                    .push_back(Event::Failed(BrokerError::Fatal { place, source }));
            }
            error => {
                tracing::warn!(group = place, %error, "consumer: the client goes on by itself")
            }
        }
    }

    fn look_after_stop(&mut self) {
        let Some(stop) = *lock(&self.books.stop) else {
            return;
        };
        // What the embedded broker holds is read to its end, so the group must have formed first.
        let joined = self.books.joined.load(Ordering::Relaxed);
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
        let ours = self.books.ours();
        let reached = self.targets.iter().flatten().all(|(key, end)| {
            ours.get(key)
                .is_none_or(|owned| owned.delivered >= Some(*end))
        });
        if reached {
            self.pause_all(true);
            self.stopped = true;
            self.waiting.push_back(Event::Stopped);
        }
    }

    /// End offsets of the partitions that have something left to deliver.
    fn ends(&self) -> HashMap<Partition, i64> {
        let mut targets = HashMap::new();
        for (key, owned) in self.books.ours() {
            match self.client.fetch_watermarks(&key.0, key.1, CALL_TIMEOUT) {
                Ok((low, high)) => {
                    if owned.delivered.or(owned.begun_at).unwrap_or(low) < high {
                        targets.insert(key, high);
                    }
                }
                Err(error) => {
                    tracing::warn!(%error, topic = %key.0, partition = key.1, "its end is unknown: not waited for");
                }
            }
        }
        targets
    }
}
