//! DETECT: mentions in; stories and alerts out. One [`Detector`] a partition; what it decides depends on the
//! records of its partition only.
//!
//! What a detector has learnt is kept in a [`State`]: loaded when its partition is assigned, saved at checkpoints. An
//! offset is committed only with a checkpoint, after everything decided up to it has been acknowledged: so whoever takes
//! over decides again what may not have left, the same messages under the same ids, and counts nothing twice. A checkpoint
//! is collected between two records and written while the next ones are worked on, up to [`IN_FLIGHT`] of them.

mod saving;

use super::dead_letter::dead_letter;
use super::emit::{Emitter, send_all};
use super::{RoleError, Stopping, report_consumer, report_expired};
use crate::broker::{
    Assigned, Assignment, Commits, Consumer, Event, Outgoing, Producer, Record, Stop,
};
use crate::config::DetectConfig;
use crate::detect::{Calendar, Decision, Detector};
use crate::domain::{AlertMessage, DetectionRecord, Timestamp};
use crate::faults;
use crate::state::State;
use crate::telemetry::{Health, Metrics};
use saving::{Keeper, Save, Step, Trouble};
use std::collections::HashMap;
use std::sync::Arc;
use std::time::Duration;
use tokio::sync::{mpsc, oneshot, watch};
use tokio::task::JoinSet;
use tokio::time::Instant;

/// Records whose acknowledgements may be under way, or which wait for a checkpoint to be written.
const IN_FLIGHT: usize = 4096;
/// What a record takes besides its key and bytes: as the embedded broker's room counts it.
const RECORD_BYTES: usize = 70;

/// What DETECT works with.
pub struct Detect {
    /// Writes what it decides.
    pub producer: Producer,
    /// Where that goes.
    pub emitter: Emitter,
    /// `[detect]`.
    pub config: DetectConfig,
    /// When exchanges are open.
    pub calendar: Arc<Calendar>,
    /// Keeps what was learnt.
    pub state: Arc<dyn State>,
    /// A checkpoint is also due after so many bytes of a partition.
    pub checkpoint_bytes: usize,
    /// Called with each alert message: the demo prints them.
    pub on_alert: Arc<dyn Fn(&AlertMessage) + Send + Sync>,
    /// Counters.
    pub metrics: Metrics,
    /// Where it says what keeps it from working.
    pub health: Health,
}

/// A partition that is ours.
struct Ours {
    topic: Arc<str>,
    assignment: Assignment,
    detector: Detector,
    /// Bytes read since the last checkpoint.
    bytes: usize,
    /// When the next one is due.
    due: Instant,
    /// Whether one is being written.
    saving: watch::Receiver<bool>,
}

type Partitions = HashMap<i32, Ours>;

/// Runs until the consumer has stopped and everything decided is acknowledged and saved.
///
/// # Errors
/// [`RoleError`] when the broker fails for good.
pub async fn run(
    detect: Detect,
    mut consumer: Consumer,
    mut stopping: Stopping,
) -> Result<(), RoleError> {
    let (commits, lag) = (consumer.commits(), consumer.lag());
    let (steps, to_keep) = mpsc::channel::<Step>(IN_FLIGHT);
    let keeper = Keeper {
        state: detect.state.clone(),
        commits: commits.clone(),
        health: detect.health.clone(),
        metrics: detect.metrics.clone(),
    };
    // Ends with this function, however that ends.
    let mut keeping = JoinSet::new();
    keeping.spawn(keeper.run(to_keep));
    let mut partitions = Partitions::new();
    let mut tick = tokio::time::interval(Duration::from_secs(1));
    loop {
        let due = partitions.values().filter_map(Ours::due).min();
        tokio::select! {
            stop = stopping.requested() => consumer.stop(stop),
            Some(ended) = keeping.join_next() => {
                return Err(RoleError::ended("detect: keeping", ended));
            }
            () = sleep_until(due) => {
                let now = Instant::now();
                for (partition, ours) in &mut partitions {
                    if ours.due().is_some_and(|due| due <= now) {
                        detect.checkpoint(*partition, ours, &steps).await;
                    }
                }
            }
            _ = tick.tick() => {
                detect.report(&partitions);
                report_consumer(&detect.metrics, "detect", &lag);
            }
            event = consumer.next() => match event {
                Some(Event::Record(record)) => {
                    let Some(ours) = partitions.get_mut(&record.partition) else { continue };
                    detect.work(&record, ours, &steps).await?;
                }
                Some(Event::Revoked(revoked)) => {
                    for (_, partition) in revoked {
                        partitions.remove(&partition);
                    }
                }
                Some(Event::Assigned(assigned)) => {
                    // What was under way of an earlier assignment has ended first.
                    let (done, ended) = oneshot::channel();
                    drop(steps.send(Step::Barrier(done)).await);
                    drop(ended.await);
                    for one in assigned {
                        let taken = detect.take_over(&one, &commits, &consumer, &mut stopping).await;
                        partitions.extend(taken.map(|ours| (one.partition, ours)));
                    }
                }
                Some(Event::Expired(expired)) => report_expired(&detect.metrics, &expired),
                Some(Event::Failed(error)) => return Err(error.into()),
                Some(Event::Stopped) => break,
                None => return Err(RoleError::stage("detect", "the poll thread has ended")),
            },
        }
    }
    for (partition, ours) in &mut partitions {
        detect.checkpoint(*partition, ours, &steps).await;
    }
    drop(steps);
    if let Some(ended) = keeping.join_next().await {
        ended.map_err(|error| RoleError::stage("detect: keeping", error))??;
    }
    consumer.close().await;
    Ok(())
}

impl Ours {
    /// When a checkpoint is due; none when nothing was read since the last, or that is still being written.
    fn due(&self) -> Option<Instant> {
        (self.bytes > 0 && !*self.saving.borrow()).then_some(self.due)
    }
}

impl Detect {
    /// Loads what was learnt of a partition, as long as it takes. None when it is no longer ours, or everything stops.
    async fn take_over(
        &self,
        assigned: &Assigned,
        commits: &Commits,
        consumer: &Consumer,
        stopping: &mut Stopping,
    ) -> Option<Ours> {
        let Assigned {
            topic,
            partition,
            assignment,
            committed,
            ..
        } = assigned;
        let holds = || commits.holds(topic, *partition, *assignment);
        let trouble = Trouble::new(*partition, &self.health, &self.metrics);
        let loading = trouble.until_done(holds, || self.state.load(*partition));
        tokio::pin!(loading);
        let state = loop {
            tokio::select! {
                state = &mut loading => break state?,
                stop = stopping.requested() => {
                    consumer.stop(stop);
                    if stop == Stop::Now {
                        return None;
                    }
                }
            }
        };
        let epoch = &self.emitter.epoch;
        let anew = Detector::with_calendar(&self.config, self.calendar.clone());
        let restored = tokio::task::block_in_place(|| anew.with(epoch, state));
        for problem in restored.problems {
            tracing::error!(
                partition,
                problem,
                "what was learnt cannot be restored: this begins anew"
            );
        }
        let detector = restored.detector;
        let entities = detector.counts().entities;
        self.metrics.entities_restored.inc_by(entities as u64);
        let next = detector.as_of().map_or(0, |as_of| as_of + 1);
        if let Some(committed) = committed.filter(|committed| next < *committed) {
            tracing::warn!(
                partition,
                next,
                committed,
                "what was learnt is older than what was committed: the records between are missing in it"
            );
        }
        tracing::info!(partition, entities, next, "taken over");
        Some(Ours {
            topic: topic.clone(),
            assignment: *assignment,
            detector,
            bytes: 0,
            due: Instant::now() + self.config.checkpoint_interval,
            saving: watch::channel(false).1,
        })
    }

    /// Decides what follows from a record, and hands it to the broker.
    async fn work(
        &self,
        record: &Record,
        ours: &mut Ours,
        steps: &mpsc::Sender<Step>,
    ) -> Result<(), RoleError> {
        let decided = self.decide(&mut ours.detector, record);
        let some = !decided.is_empty();
        let acknowledged = send_all(&self.producer, decided).await?;
        if some {
            faults::reach("detect.decided");
            // The keeper has ended only if its error is about to be found.
            drop(steps.send(Step::Decided(acknowledged)).await);
        }
        ours.bytes += record.payload.len() + record.key.as_ref().map_or(0, Vec::len) + RECORD_BYTES;
        if ours.bytes >= self.checkpoint_bytes && !*ours.saving.borrow() {
            self.checkpoint(record.partition, ours, steps).await;
        }
        Ok(())
    }

    /// Has everything saved that was learnt since the last checkpoint.
    async fn checkpoint(&self, partition: i32, ours: &mut Ours, steps: &mpsc::Sender<Step>) {
        ours.bytes = 0;
        ours.due = Instant::now() + self.config.checkpoint_interval;
        let epoch = &self.emitter.epoch;
        let Some(checkpoint) = tokio::task::block_in_place(|| ours.detector.checkpoint(epoch))
        else {
            return;
        };
        let (saving, watched) = watch::channel(true);
        ours.saving = watched;
        let save = Save {
            topic: ours.topic.clone(),
            partition,
            assignment: ours.assignment,
            checkpoint,
            begun: Instant::now(),
            saving,
        };
        drop(steps.send(Step::Save(save)).await);
    }

    fn decide(&self, detector: &mut Detector, record: &Record) -> Vec<Outgoing> {
        if Some(record.offset) <= detector.as_of() {
            return Vec::new();
        }
        let event: DetectionRecord = match serde_json::from_slice(&record.payload) {
            Ok(event) => event,
            Err(error) => {
                tracing::error!(partition = record.partition, offset = record.offset, %error,
                    "a mention cannot be read: it goes to the dead letters");
                detector.skip(record.offset);
                let letter = dead_letter(
                    &self.emitter.epoch,
                    record,
                    "unreadable",
                    &error.to_string(),
                );
                return vec![self.emitter.dead(&letter)];
            }
        };
        let before = detector.counts();
        let decisions = detector.apply(record.offset, &event);
        let after = detector.counts();
        self.metrics.mentions_late.inc_by(after.late - before.late);
        self.metrics
            .repeats_dropped
            .with(["detect"])
            .inc_by(after.repeats - before.repeats);
        let decided = decisions.into_iter().map(|decision| match decision {
            Decision::Cluster(cluster) => self.emitter.cluster(&cluster),
            Decision::Alert(message) => {
                self.metrics
                    .alerts
                    .with([&message.rule, message.severity.name()])
                    .inc();
                (self.on_alert)(&message);
                self.emitter.alert(&message)
            }
        });
        decided.collect()
    }

    /// The watermark furthest behind.
    fn report(&self, partitions: &Partitions) {
        let watermarks = partitions
            .values()
            .filter_map(|ours| ours.detector.watermark());
        if let Some(watermark) = watermarks.min() {
            self.metrics
                .watermark_lag_seconds
                .set(Timestamp::now().since(watermark).as_secs_f64());
        }
    }
}

async fn sleep_until(due: Option<Instant>) {
    match due {
        Some(due) => tokio::time::sleep_until(due).await,
        None => std::future::pending().await,
    }
}

#[cfg(test)]
mod tests;
