//! SCORE: posts in; scored posts, mentions, progress and dead letters out, in source order.
//!
//! ```text
//! consumer ─► take in ─► read (own thread) ─► encoder (own thread) ─► release in order ─► acknowledge, commit
//! ```
//! One semaphore bounds what is in flight, by records and bytes, so no channel between the stages can grow.
//! A record that was taken in holds a [`Slot`] until its result is there; a slot that is dropped unfilled, since
//! a thread has ended, ends the role.

use super::acknowledge::{Pending, Ticket, acknowledge};
use super::dead_letter::{MAX_RECORD, dead_letter, origin};
use super::emit::{Emitter, send_all};
use super::encoder::{Encoder, EncoderEnded};
use super::order::Order;
use super::progress::ProgressBoard;
use super::reading::{Reader, Receipt};
use super::{RoleError, Stopping, replayed, report_consumer, report_expired};
use crate::broker::{Assignment, Consumer, Event, Outgoing, Producer, Record};
use crate::config::ScoreConfig;
use crate::domain::{DeadLetter, Origin, Post, Progress, ScoredPost, SourcePartition, Timestamp};
use crate::lock::lock;
use crate::telemetry::Metrics;
use std::collections::HashMap;
use std::sync::{Arc, Mutex};
use tokio::sync::{Semaphore, mpsc};
use tokio::task::JoinHandle;
use tokio::time::{Interval, MissedTickBehavior};

/// What may be in flight: units of 1 KiB, each record counting 4 besides its bytes.
const IN_FLIGHT: usize = 16 * 1024;
/// Records that can be in flight at most, which bounds every channel.
const RECORDS: usize = IN_FLIGHT / 4;

/// A source partition under one assignment.
type Lane = (Arc<str>, i32, Assignment);

/// What SCORE works with.
pub struct Score {
    /// Reads posts.
    pub reader: Arc<Reader>,
    /// Scores texts.
    pub encoder: Encoder,
    /// Writes what comes of them.
    pub producer: Producer,
    /// Where records go.
    pub emitter: Emitter,
    /// `[score]`.
    pub config: ScoreConfig,
    /// Source of posts that name none, by topic.
    pub sources: HashMap<String, String>,
    /// Counters.
    pub metrics: Metrics,
}

/// What came of one record.
enum Output {
    /// The post, and the record it came in.
    Scored(Box<ScoredPost>, Record),
    Rejected(Box<DeadLetter>),
}

struct Finished {
    ticket: Ticket,
    output: Output,
}

/// What the threads tell the release.
type Told = Result<Finished, RoleError>;

/// A record's place in the order of release, which everything behind it waits for.
struct Slot {
    ticket: Option<Ticket>,
    to_release: mpsc::Sender<Told>,
}

impl Slot {
    fn new(ticket: Ticket, to_release: &mpsc::Sender<Told>) -> Self {
        Self {
            ticket: Some(ticket),
            to_release: to_release.clone(),
        }
    }

    /// The channel holds everything that can be in flight, so this does not block; after the role has ended
    /// nobody wants the result.
    fn fill(mut self, output: Output) {
        if let Some(ticket) = self.ticket.take() {
            let _ = self
                .to_release
                .blocking_send(Ok(Finished { ticket, output }));
        }
    }
}

impl Drop for Slot {
    fn drop(&mut self) {
        if self.ticket.is_some() {
            let lost = RoleError::stage(
                "score",
                "a post was left without a result: the encoder or the reading thread has ended, the log says why",
            );
            let _ = self.to_release.try_send(Err(lost));
        }
    }
}

/// Runs until the consumer has stopped and everything read is committed.
///
/// # Errors
/// [`RoleError`] when the broker fails for good.
pub async fn run(score: Score, consumer: Consumer, stopping: Stopping) -> Result<(), RoleError> {
    let Score {
        reader,
        encoder,
        producer,
        emitter,
        config,
        sources,
        metrics,
    } = score;
    let lag = consumer.lag();
    let state = Arc::new(Mutex::new(State::default()));
    let (to_read, records) = mpsc::channel(RECORDS);
    let (to_release, mut told) = mpsc::channel::<Told>(RECORDS);
    let (to_acknowledge, pending) = mpsc::channel::<Pending>(RECORDS);

    let mut acknowledging = tokio::spawn(acknowledge(pending, consumer.commits()));
    let stage = ReadStage {
        reader,
        encoder,
        sources,
        max_text_bytes: config.max_text_bytes,
        epoch: emitter.epoch.clone(),
        metrics: metrics.clone(),
    };
    std::thread::Builder::new()
        .name("read".into())
        .spawn(move || stage.run(records, &to_release))
        .map_err(|error| RoleError::stage("score", error))?;
    let mut intake = Abort(tokio::spawn(take_in(
        consumer,
        stopping,
        to_read,
        state.clone(),
        emitter.epoch.clone(),
        metrics.clone(),
    )));
    let mut tick = tokio::time::interval(config.progress_interval);
    tick.set_missed_tick_behavior(MissedTickBehavior::Delay);

    loop {
        tokio::select! {
            biased;
            ended = &mut acknowledging => return Err(RoleError::ended("score: acknowledging", ended)),
            next = next(&mut tick, &mut told) => match next {
                Next::Tick => {
                    let remaining = |source: &SourcePartition| lag.remaining(&source.topic, source.partition);
                    let progress = lock(&state).board.report(Timestamp::now(), remaining, lag.is_paused());
                    report(&producer, &emitter, &progress).await?;
                    report_consumer(&metrics, "score", &lag);
                }
                Next::Told(told) => {
                    let ready = lock(&state).finish(told?);
                    for Finished { ticket, output } in ready {
                        let records = output.records(&emitter, &metrics);
                        let acknowledged = send_all(&producer, records).await?;
                        let now = Timestamp::now();
                        let progress = lock(&state).board.released(&output.origin(), output.event_time(), now);
                        report(&producer, &emitter, progress.as_slice()).await?;
                        if to_acknowledge.send((ticket, acknowledged)).await.is_err() {
                            return Err(RoleError::ended("score: acknowledging", acknowledging.await));
                        }
                    }
                }
                // The reading thread and the encoder hang up when the intake has.
                Next::End => break,
            }
        }
    }
    drop(to_acknowledge);
    acknowledging
        .await
        .map_err(|error| RoleError::stage("score: acknowledging", error))??;
    let consumer = (&mut intake.0)
        .await
        .map_err(|error| RoleError::stage("score: intake", error))??;
    consumer.close().await;
    Ok(())
}

/// Ends a task when it is dropped: a role that fails reads no further. Without the intake the reading thread
/// ends, and the consumer leaves its group.
struct Abort<T>(JoinHandle<T>);

impl<T> Drop for Abort<T> {
    fn drop(&mut self) {
        self.0.abort();
    }
}

/// What the release does next.
enum Next<T> {
    Tick,
    Told(T),
    End,
}

/// The timer goes first: under load there is always something told.
async fn next<T>(tick: &mut Interval, told: &mut mpsc::Receiver<T>) -> Next<T> {
    tokio::select! {
        biased;
        _ = tick.tick() => Next::Tick,
        told = told.recv() => told.map_or(Next::End, Next::Told),
    }
}

/// Writes progress. Nothing waits for its acknowledgement: what follows in the same partition comes after it.
async fn report(
    producer: &Producer,
    emitter: &Emitter,
    progress: &[Progress],
) -> Result<(), RoleError> {
    for acknowledged in send_all(producer, emitter.progress(progress)).await? {
        tokio::spawn(acknowledged);
    }
    Ok(())
}

/// What the intake and the release share.
#[derive(Default)]
struct State {
    order: Order<Lane, Finished>,
    board: ProgressBoard,
}

impl State {
    fn finish(&mut self, done: Finished) -> Vec<Finished> {
        let ticket = &done.ticket;
        let lane = (ticket.topic.clone(), ticket.partition, ticket.assignment);
        self.order.finish(&lane, ticket.offset, done)
    }

    fn revoked(&mut self, partitions: &[(Arc<str>, i32)]) {
        let over = |topic: &Arc<str>, partition: i32| {
            partitions
                .iter()
                .any(|(t, p)| t == topic && *p == partition)
        };
        self.order
            .close(|(topic, partition, _)| over(topic, *partition));
        self.board
            .revoked(|source| over(&source.topic, source.partition));
    }
}

/// Takes records in as long as there is room for them. Returns the consumer, still open, when it has
/// stopped.
async fn take_in(
    mut consumer: Consumer,
    mut stopping: Stopping,
    to_read: mpsc::Sender<(Record, Ticket)>,
    state: Arc<Mutex<State>>,
    epoch: Arc<str>,
    metrics: Metrics,
) -> Result<Consumer, RoleError> {
    let in_flight = Arc::new(Semaphore::new(IN_FLIGHT));
    loop {
        let event = tokio::select! {
            stop = stopping.requested() => {
                consumer.stop(stop);
                continue;
            }
            event = consumer.next() => event,
        };
        match event {
            Some(Event::Record(record)) => {
                let units = (4 + record.payload.len() / 1024).min(IN_FLIGHT) as u32;
                let permit = in_flight.clone().acquire_many_owned(units).await.ok();
                let ticket = Ticket::of(&record, permit);
                let lane = (record.topic.clone(), record.partition, record.assignment);
                lock(&state).order.open(lane, record.offset);
                if to_read.send((record, ticket)).await.is_err() {
                    return Err(RoleError::stage("score", "the reading thread has ended"));
                }
            }
            Some(Event::Assigned(partitions)) => {
                let mut state = lock(&state);
                for one in partitions {
                    state.board.assigned(SourcePartition {
                        epoch: epoch.clone(),
                        topic: one.topic,
                        partition: one.partition,
                    });
                }
            }
            Some(Event::Revoked(partitions)) => lock(&state).revoked(&partitions),
            Some(Event::Expired(expired)) => report_expired(&metrics, &expired),
            Some(Event::Failed(error)) => return Err(error.into()),
            Some(Event::Stopped) => return Ok(consumer),
            None => return Err(RoleError::stage("score", "the poll thread has ended")),
        }
    }
}

/// The reading thread: everything about a post that needs no model.
struct ReadStage {
    reader: Arc<Reader>,
    encoder: Encoder,
    sources: HashMap<String, String>,
    max_text_bytes: usize,
    epoch: Arc<str>,
    metrics: Metrics,
}

impl ReadStage {
    fn run(self, mut records: mpsc::Receiver<(Record, Ticket)>, to_release: &mpsc::Sender<Told>) {
        while let Some((record, ticket)) = records.blocking_recv() {
            // The role has failed: nobody wants what is still in the channel.
            if to_release.is_closed() {
                return;
            }
            let slot = Slot::new(ticket, to_release);
            self.metrics.posts_consumed.with([&record.topic]).inc();
            match Post::decode(&record.payload, self.max_text_bytes) {
                Ok(post) => {
                    if self.read(post, record, slot).is_err() {
                        return;
                    }
                }
                Err(error) => {
                    let letter =
                        dead_letter(&self.epoch, &record, error.reason(), &error.to_string());
                    slot.fill(Output::Rejected(Box::new(letter)));
                }
            }
        }
    }

    /// Fills the slot, or sees to it that the encoder does.
    fn read(&self, post: Post, record: Record, slot: Slot) -> Result<(), EncoderEnded> {
        let receipt = receipt(&self.epoch, &self.sources, &record);
        let reading = self.reader.read(post, receipt);
        if reading.texts().is_empty() {
            self.metrics
                .count_unsupported_language(&reading.post().lang);
            let post = reading.finish(&[], "", Timestamp::now());
            slot.fill(Output::Scored(Box::new(post), record));
            return Ok(());
        }
        let texts = reading.texts().to_vec();
        let urgent = reading.is_watched();
        let model = self.encoder.model().clone();
        let epoch = self.epoch.clone();
        self.encoder.submit(
            texts,
            urgent,
            Box::new(move |result| {
                let output = match result {
                    Ok(sentiments) => {
                        let post = reading.finish(&sentiments, &model, Timestamp::now());
                        Output::Scored(Box::new(post), record)
                    }
                    Err(detail) => {
                        Output::Rejected(Box::new(dead_letter(&epoch, &record, "model", &detail)))
                    }
                };
                slot.fill(output);
            }),
        )
    }
}

/// Where and when a record came in; of a replay of a dead letter also where it came from first, and when that was.
fn receipt(epoch: &Arc<str>, sources: &HashMap<String, String>, record: &Record) -> Receipt {
    let origin = origin(epoch, record);
    let first = replayed::first(&origin, &record.headers);
    let recorded_at = first.as_ref().and_then(|first| first.recorded_at);
    Receipt {
        origin,
        first_origin: first.map(|first| first.origin),
        source: sources
            .get(&*record.topic)
            .cloned()
            .unwrap_or_else(|| record.topic.to_string()),
        recorded_at: recorded_at.or(record.timestamp),
        received_at: Timestamp::now(),
    }
}

impl Output {
    fn origin(&self) -> Origin {
        match self {
            Self::Scored(post, _) => post.origin.clone(),
            Self::Rejected(letter) => letter.origin.clone(),
        }
    }

    fn event_time(&self) -> Option<Timestamp> {
        match self {
            Self::Scored(post, _) => Some(post.event_time),
            Self::Rejected(_) => None,
        }
    }

    /// What is to be written. A post of which a record would be too large goes to the dead letters.
    fn records(&self, emitter: &Emitter, metrics: &Metrics) -> Vec<Outgoing> {
        let rejected = |letter: &DeadLetter| {
            metrics.posts_rejected.with([&letter.reason]).inc();
            vec![emitter.dead(letter)]
        };
        let (post, record) = match self {
            Self::Scored(post, record) => (post, record),
            Self::Rejected(letter) => return rejected(letter),
        };
        let records = emitter.scored(post);
        let largest = records.iter().map(|one| one.payload.len()).max();
        if let Some(bytes) = largest.filter(|bytes| *bytes > MAX_RECORD) {
            let detail = format!(
                "a record of the scored post has {bytes} bytes, over the limit of {MAX_RECORD}: shorten the post"
            );
            return rejected(&dead_letter(&emitter.epoch, record, "too_large", &detail));
        }
        metrics.mentions_matched.inc_by(post.mentions.len() as u64);
        records
    }
}

#[cfg(test)]
mod tests {
    use super::super::dead_letter::tests::record;
    use super::*;
    use crate::broker::topics;
    use crate::store::contract::post;

    #[test]
    fn a_post_whose_scored_form_is_too_large_becomes_a_dead_letter() {
        let (emitter, metrics) = (Emitter::for_tests(), Metrics::new());
        let written = |text: String| {
            let post = ScoredPost { text, ..post(1) };
            let output = Output::Scored(Box::new(post), record(b"{}".to_vec()));
            output.records(&emitter, &metrics)
        };
        assert_eq!(&*written("x".repeat(900_000))[0].topic, topics::SCORED);
        let records = written("\u{1}".repeat(200_000));
        assert_eq!(records.len(), 1);
        assert_eq!(&*records[0].topic, topics::DEAD);
        let letter: DeadLetter = serde_json::from_slice(&records[0].payload).unwrap();
        assert_eq!(letter.reason, "too_large");
        assert_eq!(metrics.posts_rejected.with(["too_large"]).get(), 1);
    }

    #[test]
    fn a_replay_is_received_as_what_it_was_first_and_other_headers_change_nothing() {
        let (epoch, sources) = ("e".into(), HashMap::from([("social".into(), "X".into())]));
        let mut again = record(b"{}".to_vec());
        again.offset = 9;
        again.timestamp = Some(Timestamp::from_millis(9_000));
        let own = receipt(&epoch, &sources, &again);
        assert_eq!((own.first_origin, &*own.source), (None, "X"));
        assert_eq!(own.recorded_at, Some(Timestamp::from_millis(9_000)));
        let set = |record: &mut Record, origin: &str, timestamp: &str| {
            record.headers = vec![
                (replayed::ORIGIN.into(), origin.into()),
                (replayed::TIMESTAMP.into(), timestamp.into()),
            ];
        };
        set(&mut again, "e:social:0:4", "4000");
        let told = receipt(&epoch, &sources, &again);
        assert_eq!(told.origin.offset, 9);
        assert_eq!(told.first_origin, Some("e:social:0:4".parse().unwrap()));
        assert_eq!(told.recorded_at, Some(Timestamp::from_millis(4_000)));
        set(&mut again, "e:social:0:10", "4000");
        let forged = receipt(&epoch, &sources, &again);
        assert_eq!(forged.first_origin, None);
        assert_eq!(forged.recorded_at, Some(Timestamp::from_millis(9_000)));
    }

    #[test]
    fn a_slot_dropped_unfilled_is_noticed_and_a_filled_one_says_nothing_more() {
        let (to_release, mut told) = mpsc::channel(4);
        let slot = || Slot::new(Ticket::of(&record(Vec::new()), None), &to_release);
        let letter = dead_letter(&"e".into(), &record(Vec::new()), "model", "");
        slot().fill(Output::Rejected(Box::new(letter)));
        assert!(told.try_recv().unwrap().is_ok());
        assert!(told.try_recv().is_err());
        // As when the encoder ends with work in its queue.
        let slot = slot();
        let reply: super::super::encoder::Reply = Box::new(move |_| drop(slot));
        drop(reply);
        assert!(told.try_recv().unwrap().is_err());
    }

    #[tokio::test]
    async fn results_without_pause_do_not_hold_the_timer_up() {
        let (sender, mut told) = mpsc::channel(2);
        sender.try_send(1).unwrap();
        sender.try_send(2).unwrap();
        let due = tokio::time::Instant::now() - std::time::Duration::from_secs(1);
        let mut tick = tokio::time::interval_at(due, std::time::Duration::from_secs(3600));
        assert!(matches!(next(&mut tick, &mut told).await, Next::Tick));
        assert!(matches!(next(&mut tick, &mut told).await, Next::Told(1)));
        drop(sender);
        assert!(matches!(next(&mut tick, &mut told).await, Next::Told(2)));
        assert!(matches!(next(&mut tick, &mut told).await, Next::End));
    }

    #[tokio::test]
    async fn a_task_ends_with_its_guard() {
        let (held, mut gone) = mpsc::channel::<()>(1);
        let guard = Abort(tokio::spawn(async move {
            let _held = held;
            std::future::pending::<()>().await;
        }));
        tokio::task::yield_now().await;
        drop(guard);
        assert_eq!(gone.recv().await, None);
    }
}
