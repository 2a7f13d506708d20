//! DETECT: mentions in; stories and alerts out. One [`Detector`] a partition; what it decides depends on the
//! records of its partition only.
//!
//! What a detector has learnt lives in memory: when its partition is revoked, or the process ends, it is gone, and
//! whoever takes over begins with empty baselines and without the alerts that were open.

use super::acknowledge::{Pending, Ticket, acknowledge};
use super::dead_letter::dead_letter;
use super::emit::{Emitter, send_all};
use super::{RoleError, Stopping, report_consumer, report_expired};
use crate::broker::{Consumer, Event, Outgoing, Producer, Record};
use crate::config::DetectConfig;
use crate::detect::{Decision, Detector};
use crate::domain::{AlertMessage, DetectionRecord, Timestamp};
use crate::telemetry::Metrics;
use std::collections::HashMap;
use std::sync::Arc;
use std::time::Duration;
use tokio::sync::mpsc;

/// Records whose acknowledgements may be under way.
const IN_FLIGHT: usize = 4096;

/// What DETECT works with.
pub struct Detect {
    /// Writes what it decides.
    pub producer: Producer,
    /// Where that goes.
    pub emitter: Emitter,
    /// `[detect]`.
    pub config: DetectConfig,
    /// Called with each alert message: the demo prints them.
    pub on_alert: Arc<dyn Fn(&AlertMessage) + Send + Sync>,
    /// Counters.
    pub metrics: Metrics,
}

/// Runs until the consumer has stopped and everything decided is acknowledged.
///
/// # Errors
/// [`RoleError`] when the broker fails for good.
pub async fn run(
    detect: Detect,
    mut consumer: Consumer,
    mut stopping: Stopping,
) -> Result<(), RoleError> {
    let lag = consumer.lag();
    let (to_acknowledge, pending) = mpsc::channel::<Pending>(IN_FLIGHT);
    let acknowledging = tokio::spawn(acknowledge(pending, consumer.commits()));
    let mut detectors: HashMap<i32, Detector> = HashMap::new();
    let mut tick = tokio::time::interval(Duration::from_secs(1));
    loop {
        tokio::select! {
            stop = stopping.requested() => consumer.stop(stop),
            _ = tick.tick() => {
                detect.report(&detectors);
                report_consumer(&detect.metrics, "detect", &lag);
            }
            event = consumer.next() => match event {
                Some(Event::Record(record)) => {
                    let detector =
                        detectors.entry(record.partition).or_insert_with(|| Detector::new(&detect.config));
                    let decided = detect.decide(detector, &record);
                    let acknowledged = send_all(&detect.producer, decided).await?;
                    if to_acknowledge.send((Ticket::of(&record, None), acknowledged)).await.is_err() {
                        return Err(RoleError::ended("detect: acknowledging", acknowledging.await));
                    }
                }
                Some(Event::Revoked(partitions)) => {
                    for (_, partition) in partitions {
                        detectors.remove(&partition);
                    }
                }
                Some(Event::Assigned(_)) => {}
                Some(Event::Expired(expired)) => report_expired(&detect.metrics, &expired),
                Some(Event::Failed(error)) => return Err(error.into()),
                Some(Event::Stopped) => break,
                None => return Err(RoleError::stage("detect", "the poll thread has ended")),
            },
        }
    }
    drop(to_acknowledge);
    acknowledging
        .await
        .map_err(|error| RoleError::stage("detect: acknowledging", error))??;
    consumer.close().await;
    Ok(())
}

impl Detect {
    fn decide(&self, detector: &mut Detector, record: &Record) -> Vec<Outgoing> {
        let event: DetectionRecord = match serde_json::from_slice(&record.payload) {
            Ok(event) => event,
            Err(error) => {
                tracing::error!(partition = record.partition, offset = record.offset, %error,
                    "a mention cannot be read: it goes to the dead letters");
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
        let decisions = detector.apply(&event);
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
    fn report(&self, detectors: &HashMap<i32, Detector>) {
        if let Some(watermark) = detectors.values().filter_map(Detector::watermark).min() {
            self.metrics
                .watermark_lag_seconds
                .set(Timestamp::now().since(watermark).as_secs_f64());
        }
    }
}
