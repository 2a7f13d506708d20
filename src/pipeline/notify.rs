//! NOTIFY: alert messages in; one delivery per endpoint and message out. Messages of one alert reach an
//! endpoint in order; different alerts do not wait for one another.

use super::dead_letter::dead_letter;
use super::emit::{Emitter, send_and_wait};
use super::{RoleError, Stopping, report_consumer, report_expired};
use crate::broker::{Acknowledged, BrokerError, Commits, Consumer, Event, Producer, Record, Stop};
use crate::domain::{AlertKind, AlertMessage, Delivery, EntityId, Outcome, Timestamp};
use crate::notify::{Endpoint, Notifier, alert_body};
use crate::telemetry::Metrics;
use std::collections::{HashMap, HashSet, VecDeque};
use std::sync::Arc;
use std::time::Duration;
use tokio::sync::{OwnedSemaphorePermit, Semaphore, mpsc, watch};
use tokio::task::JoinHandle;
use tokio_util::sync::CancellationToken;

/// Alerts too old to be delivered that are remembered, so that what follows of them is not delivered either.
const SILENCED: usize = 10_000;

/// Name shown for an entity.
pub type EntityName = Arc<dyn Fn(&EntityId) -> Option<String> + Send + Sync>;

/// What NOTIFY works with.
#[derive(Clone)]
pub struct Notify {
    /// Sends to the endpoints.
    pub notifier: Notifier,
    /// Writes how deliveries ended.
    pub producer: Producer,
    /// Where that goes.
    pub emitter: Emitter,
    /// Alert messages under way at once.
    pub in_flight: usize,
    /// Older alerts are not delivered.
    pub max_alert_age: Duration,
    /// Names for the payload.
    pub entity_name: EntityName,
    /// Address of the page, for links.
    pub link_base: String,
    /// Counters.
    pub metrics: Metrics,
}

/// One message under way: its record, and the deliveries that must end before it is done.
struct UnderWay {
    record: Record,
    deliveries: Vec<JoinHandle<Option<Result<Acknowledged, BrokerError>>>>,
    _permit: Option<OwnedSemaphorePermit>,
}

/// Runs until the consumer has stopped and what is under way has ended, or `give_up` comes. What has not
/// ended then is not committed: with a real Kafka it is delivered after the next start, under the same id.
///
/// # Errors
/// [`RoleError`] when the broker fails for good, or when alerts were given up that the embedded broker takes
/// with it.
pub async fn run(
    notify: Notify,
    mut consumer: Consumer,
    mut stopping: Stopping,
    give_up: CancellationToken,
) -> Result<(), RoleError> {
    let lag = consumer.lag();
    let in_flight = Arc::new(Semaphore::new(notify.in_flight));
    let (to_finish, under_way) = mpsc::channel(notify.in_flight);
    let mut finishing = tokio::spawn(finish(under_way, consumer.commits()));
    let mut lanes = Lanes::default();
    let mut silenced = Silenced::default();
    let mut tick = tokio::time::interval(Duration::from_secs(1));
    let mut dies_with_us = false;
    loop {
        tokio::select! {
            ended = &mut finishing => {
                return Err(RoleError::ended("notify: deliveries", ended.map(|ended| ended.map(drop))));
            }
            stop = stopping.requested() => {
                dies_with_us = stop == Stop::AtEnd;
                consumer.stop(stop);
            }
            _ = tick.tick() => report_consumer(&notify.metrics, "notify", &lag),
            event = consumer.next() => match event {
                Some(Event::Record(record)) => {
                    let waiting = in_flight.clone().acquire_owned();
                    // Given up: nothing is begun any more, and what is not begun counts as not delivered.
                    let permit = give_up.run_until_cancelled(waiting).await.and_then(Result::ok);
                    let deliveries = match permit {
                        Some(_) => notify.start(&record, &mut lanes, &mut silenced, &give_up).await?,
                        None => vec![tokio::spawn(std::future::ready(None))],
                    };
                    let message = UnderWay { record, deliveries, _permit: permit };
                    if to_finish.send(message).await.is_err() {
                        return Err(RoleError::stage("notify", "its deliveries have ended"));
                    }
                }
                Some(Event::Assigned(_) | Event::Revoked(_)) => {}
                Some(Event::Expired(expired)) => report_expired(&notify.metrics, &expired),
                Some(Event::Failed(error)) => return Err(error.into()),
                Some(Event::Stopped) => break,
                None => return Err(RoleError::stage("notify", "the poll thread has ended")),
            },
        }
    }
    drop(to_finish);
    let given_up = finishing
        .await
        .map_err(|error| RoleError::stage("notify: deliveries", error))??;
    consumer.close().await;
    if given_up > 0 && dies_with_us {
        return Err(RoleError::Stage(format!(
            "{given_up} alert messages were not delivered before run.drain_deadline, and are lost with the embedded broker"
        )));
    }
    if given_up > 0 {
        tracing::warn!(
            given_up,
            "alert messages were not delivered: they are after the next start"
        );
    }
    Ok(())
}

/// Commits messages in the order in which they came, each when its deliveries have ended and how they ended
/// is written; none behind the first that was given up. Returns how many were.
async fn finish(
    mut under_way: mpsc::Receiver<UnderWay>,
    commits: Commits,
) -> Result<usize, RoleError> {
    let mut given_up = 0;
    while let Some(message) = under_way.recv().await {
        let mut complete = true;
        for delivery in message.deliveries {
            match delivery
                .await
                .map_err(|error| RoleError::stage("notify: a delivery", error))?
            {
                Some(acknowledged) => {
                    acknowledged?.await?;
                }
                None => complete = false,
            }
        }
        given_up += usize::from(!complete);
        if given_up == 0 {
            let record = message.record;
            commits.done(
                &record.topic,
                record.partition,
                record.assignment,
                record.offset + 1,
            );
        }
    }
    Ok(given_up)
}

impl Notify {
    /// Starts the deliveries of a message.
    async fn start(
        &self,
        record: &Record,
        lanes: &mut Lanes,
        silenced: &mut Silenced,
        give_up: &CancellationToken,
    ) -> Result<Vec<JoinHandle<Option<Result<Acknowledged, BrokerError>>>>, RoleError> {
        let message: AlertMessage = match serde_json::from_slice(&record.payload) {
            Ok(message) => message,
            Err(error) => {
                let letter = dead_letter(
                    &self.emitter.epoch,
                    record,
                    "unreadable",
                    &error.to_string(),
                );
                send_and_wait(&self.producer, vec![self.emitter.dead(&letter)]).await?;
                return Ok(Vec::new());
            }
        };
        let wanting = self
            .notifier
            .endpoints()
            .iter()
            .filter(|endpoint| endpoint.wants(message.severity));
        if silenced.covers(&message, self.max_alert_age) {
            tracing::warn!(alert = %message.alert_id, entity = %message.entity,
                "older than detect.max_alert_age: stored, not delivered");
            let marked = wanting.map(|endpoint| {
                let delivery = too_old(&message, endpoint.name());
                self.metrics
                    .deliveries
                    .with([&delivery.endpoint, delivery.outcome.name()])
                    .inc();
                let notify = self.clone();
                tokio::spawn(async move {
                    Some(
                        notify
                            .producer
                            .send(notify.emitter.delivery(&delivery))
                            .await,
                    )
                })
            });
            return Ok(marked.collect());
        }
        let body: Arc<[u8]> = alert_body(&message, &*self.entity_name, &self.link_base).into();
        let message = Arc::new(message);
        let wanting = self
            .notifier
            .endpoints()
            .iter()
            .filter(|endpoint| endpoint.wants(message.severity));
        let deliveries = wanting.map(|endpoint| {
            let (before, after) = lanes.next(endpoint.name(), &message);
            let job = self.clone().deliver(
                endpoint.clone(),
                message.clone(),
                body.clone(),
                give_up.clone(),
                before,
            );
            tokio::spawn(async move {
                let ended = job.await;
                drop(after);
                ended
            })
        });
        Ok(deliveries.collect())
    }

    /// Waits for the alert's message before, delivers, and writes how it ended.
    async fn deliver(
        self,
        endpoint: Arc<Endpoint>,
        message: Arc<AlertMessage>,
        body: Arc<[u8]>,
        give_up: CancellationToken,
        before: Option<watch::Receiver<()>>,
    ) -> Option<Result<Acknowledged, BrokerError>> {
        if let Some(mut before) = before {
            // Changes never come: the other end is dropped when that delivery has ended.
            while before.changed().await.is_ok() {}
        }
        let Some(delivery) = self
            .notifier
            .deliver(&endpoint, &message, &body, &give_up)
            .await
        else {
            tracing::error!(endpoint = endpoint.name(), alert = %message.alert_id, message = %message.id,
                "an alert was not delivered before the end of the drain");
            return None;
        };
        self.count(&delivery, &message);
        Some(self.producer.send(self.emitter.delivery(&delivery)).await)
    }

    fn count(&self, delivery: &Delivery, message: &AlertMessage) {
        self.metrics
            .deliveries
            .with([&delivery.endpoint, delivery.outcome.name()])
            .inc();
        if delivery.outcome == Outcome::Delivered {
            if let Some(received) = message.received_at {
                self.metrics
                    .alert_seconds
                    .observe(delivery.ended_at.since(received).as_secs_f64());
            }
        } else {
            tracing::warn!(endpoint = %delivery.endpoint, message = %delivery.message_id, error = %delivery.error,
                attempts = delivery.attempts, "an alert could not be delivered");
        }
    }
}

/// How the delivery of an alert ends that is too old.
fn too_old(message: &AlertMessage, endpoint: &str) -> Delivery {
    let now = Timestamp::now();
    Delivery {
        message_id: message.id.clone(),
        alert_id: message.alert_id.clone(),
        endpoint: endpoint.to_owned(),
        outcome: Outcome::TooOld,
        attempts: 0,
        status: None,
        error: "older than detect.max_alert_age".to_owned(),
        first_attempt_at: now,
        ended_at: now,
    }
}

/// For each endpoint and alert: ends when its last delivery has.
#[derive(Default)]
struct Lanes(HashMap<(String, String), watch::Receiver<()>>);

impl Lanes {
    /// What to wait for before this delivery, and what to drop after it.
    fn next(
        &mut self,
        endpoint: &str,
        message: &AlertMessage,
    ) -> (Option<watch::Receiver<()>>, watch::Sender<()>) {
        self.0.retain(|_, last| last.has_changed().is_ok());
        let (after, next) = watch::channel(());
        let before = self
            .0
            .insert((endpoint.to_owned(), message.alert_id.clone()), next);
        (before, after)
    }
}

/// Alerts whose opening was too old to be delivered.
#[derive(Default)]
struct Silenced {
    alerts: HashSet<String>,
    order: VecDeque<String>,
}

impl Silenced {
    fn covers(&mut self, message: &AlertMessage, max_age: Duration) -> bool {
        let too_old = Timestamp::now().since(message.at) > max_age;
        if message.kind == AlertKind::Opened
            && too_old
            && self.alerts.insert(message.alert_id.clone())
        {
            self.order.push_back(message.alert_id.clone());
            if self.order.len() > SILENCED
                && let Some(oldest) = self.order.pop_front()
            {
                self.alerts.remove(&oldest);
            }
        }
        self.alerts.contains(&message.alert_id)
    }
}
