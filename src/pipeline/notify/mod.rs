//! NOTIFY: alert messages in; one delivery per endpoint and message out. What is pending is kept in the state, so that
//! an endpoint that is down holds nothing up, and nothing is lost when the process dies.
//!
//! A message that is read becomes one pending delivery for each endpoint that wants it ([`outbox`]). When that is
//! durable, its offset is committed and the deliveries are attempted as they are due ([`schedule`]), each until it has
//! ended ([`attempt`]). How it ended is written to `squall.deliveries`; when the broker has that, the delivery is
//! forgotten. Whoever takes the partition over begins with what the state remembers.

mod acts;
mod alive;
mod attempt;
mod board;
mod groups;
mod kept;
#[cfg(test)]
mod memory;
mod outbox;
mod pending;
mod remembered;
mod report;
mod rules;
mod saving;
mod schedule;
#[cfg(test)]
mod simulation;
mod standings;
#[cfg(test)]
mod tests;

use super::dead_letter::dead_letter;
use super::emit::{Emitter, send_and_wait};
use super::{RoleError, Stopping, report_expired};
use crate::broker::{
    Assigned, Assignment, BrokerError, Commits, Connection, Consumer, Event, Lag, Producer, Record,
    Stop,
};
use crate::config::NotifyConfig;
use crate::domain::{AlertMessage, ControlAct, EntityId, Timestamp};
use crate::faults;
use crate::notify::{Endpoint, Notifier, Routing, Subject, retry};
use crate::state::State;
use crate::telemetry::{Health, Metrics};
pub use board::{Board, EndpointView, PendingDelivery, Questions, View, board};
pub use rules::KeptSilence;
pub use standings::{Disabled, Standing};

use acts::Acts;
use attempt::Attempted;
use futures::StreamExt as _;
use futures::future::BoxFuture;
use futures::stream::FuturesUnordered;
use groups::Grouping;
use outbox::{Accepted, Known, Limits, Outbox, Route};
use saving::Saving;
use schedule::Key;
use serde_json::value::RawValue;
use std::collections::HashMap;
use std::sync::Arc;
use std::time::Duration;
use tokio::task::JoinSet;
use tokio_util::sync::CancellationToken;

/// Longer alert messages are no alert of ours, and might not fit into the state.
const MAX_MESSAGE: usize = 512 << 10;

/// Lists that an entity is on.
pub type EntityLists = Arc<dyn Fn(&EntityId) -> Vec<EntityId> + Send + Sync>;

/// Name shown for an entity.
pub type EntityName = Arc<dyn Fn(&EntityId) -> Option<String> + Send + Sync>;

/// What NOTIFY works with.
#[derive(Clone)]
pub struct Notify {
    /// Sends to the endpoints.
    pub notifier: Notifier,
    /// Keeps what is pending.
    pub state: Arc<dyn State>,
    /// Writes to the topics that are endpoints.
    pub outside: Producer,
    /// Writes how deliveries ended.
    pub producer: Producer,
    /// Where that goes.
    pub emitter: Emitter,
    /// `[notify]`.
    pub config: NotifyConfig,
    /// Older alerts are not delivered.
    pub max_alert_age: Duration,
    /// Who gets what, and when.
    pub routing: Routing,
    /// To read what people do.
    pub connection: Connection,
    /// Lists for routes, silences and muting.
    pub entity_lists: EntityLists,
    /// Names for the payload.
    pub entity_name: EntityName,
    /// Address of the page, for links.
    pub link_base: String,
    /// What keeps alerts from being delivered.
    pub health: Health,
    /// Counters.
    pub metrics: Metrics,
}

/// Runs until the consumer has stopped, what was read is saved, and no attempt is in flight. What is pending then goes on
/// after the next start, or in the process that takes over.
///
/// Stopped at once, it begins no further attempt; stopped at the end, it attempts everything once more that is due when
/// the last message has been read. `give_up` cuts off the attempts that have no answer yet.
///
/// # Errors
/// [`RoleError`] when the broker fails for good, or when messages could not be saved that the embedded broker takes
/// with it.
pub async fn run(
    notify: Notify,
    consumer: Consumer,
    questions: Questions,
    stopping: Stopping,
    give_up: CancellationToken,
) -> Result<(), RoleError> {
    let role = Role {
        questions,
        commits: consumer.commits(),
        lag: consumer.lag(),
        notify: Arc::new(notify),
        give_up,
        outboxes: HashMap::new(),
        acts: None,
        next_alive: alive::NextAlive::new(),
        loads: FuturesUnordered::new(),
        writes: FuturesUnordered::new(),
        attempts: JoinSet::new(),
        begin_until: None,
        tell_all: false,
        given_up: false,
        unkept: 0,
    };
    role.run(consumer, stopping).await
}

/// One ownership of a partition.
#[derive(Debug, Clone, PartialEq, Eq)]
struct Ours {
    topic: Arc<str>,
    partition: i32,
    assignment: Assignment,
}

struct Role {
    /// What the API wants to know.
    questions: Questions,
    notify: Arc<Notify>,
    commits: Commits,
    lag: Lag,
    give_up: CancellationToken,
    /// Of each partition that is ours. `squall.alerts` has one.
    outboxes: HashMap<i32, (Ours, Outbox)>,
    /// When endpoints are told that squall is alive.
    next_alive: alive::NextAlive,
    /// What people do, for the outbox that is ours.
    acts: Option<(Ours, Acts)>,
    loads: FuturesUnordered<BoxFuture<'static, (Ours, Option<Outbox>)>>,
    writes: FuturesUnordered<BoxFuture<'static, (Ours, bool)>>,
    attempts: JoinSet<(Ours, Key, Result<Attempted, BrokerError>)>,
    /// Deliveries that are due later are not attempted any more: the role is stopping.
    begin_until: Option<Timestamp>,
    /// The last record was read of a broker that ends with this process: groups wait for nothing further.
    tell_all: bool,
    /// The state was given up: nothing further is written.
    given_up: bool,
    /// Messages read since then, without a place to keep them.
    unkept: usize,
}

impl Role {
    async fn run(
        mut self,
        mut consumer: Consumer,
        mut stopping: Stopping,
    ) -> Result<(), RoleError> {
        let mut tick = tokio::time::interval(Duration::from_secs(1));
        let mut stopped = false;
        let mut dies_with_us = false;
        loop {
            self.begin();
            if stopped && self.is_idle() {
                break;
            }
            let may_read = !stopped && self.loads.is_empty() && (dies_with_us || self.has_room());
            let next_due = self.next_due();
            tokio::select! {
                stop = stopping.requested() => {
                    dies_with_us = stop == Stop::AtEnd;
                    if stop == Stop::Now {
                        self.begin_until = Some(Timestamp::EPOCH);
                    }
                    consumer.stop(stop);
                }
                () = self.give_up.cancelled(), if self.begin_until != Some(Timestamp::EPOCH) => {
                    self.begin_until = Some(Timestamp::EPOCH);
                }
                _ = tick.tick() => {
                    self.report();
                    if !stopped {
                        self.tell_alive();
                    }
                }
                Some((ours, outbox)) = self.loads.next() => match outbox {
                    Some(outbox) => {
                        let from = outbox.acts_from(&self.notify.emitter.epoch);
                        let acts = Acts::read(self.notify.connection.clone(), from);
                        self.acts = Some((ours.clone(), acts));
                        self.outboxes.insert(ours.partition, (ours, outbox));
                    }
                    None => self.given_up = self.give_up.is_cancelled(),
                },
                Some((ours, saved)) = self.writes.next() => self.saved(&ours, saved),
                Some(attempted) = self.attempts.join_next() => {
                    let attempted = attempted.map_err(|error| RoleError::stage("notify: a delivery", error))?;
                    self.attempted(attempted)?;
                }
                Some((ours, next, act)) = next_act(&mut self.acts), if !stopped => {
                    let epoch = self.notify.emitter.epoch.clone();
                    if let Some((_, outbox)) = self.current(&ours) {
                        outbox.act(&act, &epoch, next, Timestamp::now());
                    }
                }
                (most, asking) = self.questions.next() => {
                    if let Some((_, outbox)) = self.outboxes.values().next() {
                        // Whoever has asked may have gone.
                        let _ = asking.send(board::view(outbox, most, Timestamp::now()));
                    }
                }
                () = sleep_until(next_due) => {}
                event = consumer.next(), if may_read => match event {
                    Some(Event::Record(record)) => self.read(record).await?,
                    Some(Event::Assigned(partitions)) => self.assigned(partitions),
                    Some(Event::Revoked(partitions)) => {
                        for (_, partition) in partitions {
                            self.outboxes.remove(&partition);
                        }
                    }
                    Some(Event::Expired(expired)) => report_expired(&self.notify.metrics, &expired),
                    Some(Event::Failed(error)) => return Err(error.into()),
                    Some(Event::Stopped) => {
                        stopped = true;
                        self.tell_all = dies_with_us;
                        self.begin_until.get_or_insert(Timestamp::now());
                    }
                    None => return Err(RoleError::stage("notify", "the poll thread has ended")),
                },
            }
        }
        self.report();
        consumer.close().await;
        self.leave(dies_with_us)
    }

    /// Starts what can be started: writes, and attempts. What is no longer ours is dropped first.
    fn begin(&mut self) {
        let now = Timestamp::now();
        let due = self.begin_until.map_or(now, |until| until.min(now));
        let commits = &self.commits;
        self.outboxes.retain(|_, (ours, _)| ours.holds(commits));
        for (ours, outbox) in self.outboxes.values_mut() {
            // What this process takes with it is told before it goes.
            let until = match self.tell_all {
                true => Timestamp::from_millis(i64::MAX),
                false => due,
            };
            let routing = &self.notify.routing;
            outbox.tell_groups(
                until,
                &|name, severity| routing.held(name, severity, now),
                now,
            );
            if let Some(changes) = outbox.write() {
                let saving = saving(&self.notify, commits, &self.give_up, ours);
                let ours = ours.clone();
                self.writes
                    .push(Box::pin(async move { (ours, saving.save(changes).await) }));
            }
            while let Some(job) = outbox.next(due) {
                let (notify, ours, commits) = (self.notify.clone(), ours.clone(), commits.clone());
                let give_up = self.give_up.clone();
                self.attempts.spawn(async move {
                    let attempted = notify
                        .attempt(&job, || ours.holds(&commits), &give_up)
                        .await;
                    (ours, job.key, attempted)
                });
            }
        }
    }

    /// Whether nothing is under way, nor to be begun.
    fn is_idle(&self) -> bool {
        self.loads.is_empty()
            && self.writes.is_empty()
            && self.attempts.is_empty()
            && (self.given_up || self.outboxes.values().all(|(_, outbox)| outbox.is_saved()))
    }

    fn has_room(&self) -> bool {
        self.outboxes.values().all(|(_, outbox)| outbox.has_room())
    }

    /// When something can be begun that nothing else will wake us for.
    fn next_due(&self) -> Option<Timestamp> {
        let outboxes = self.outboxes.values();
        let next = outboxes.filter_map(|(_, outbox)| outbox.next_due()).min()?;
        let begins = self.begin_until.is_none_or(|until| next <= until);
        begins.then_some(next)
    }

    fn assigned(&mut self, partitions: Vec<Assigned>) {
        for assigned in partitions {
            let ours = Ours {
                topic: assigned.topic,
                partition: assigned.partition,
                assignment: assigned.assignment,
            };
            let limits = limits(&self.notify);
            let saving = saving(&self.notify, &self.commits, &self.give_up, &ours);
            self.loads.push(Box::pin(async move {
                let entries = saving.load().await;
                let outbox =
                    entries.map(|entries| Outbox::restore(entries, limits, Timestamp::now()));
                if let Some(pending) = outbox.as_ref().map(Outbox::pending).filter(|n| *n > 0) {
                    tracing::info!(pending, "deliveries were pending: they go on");
                }
                (ours, outbox)
            }));
        }
    }

    /// Takes a message in.
    async fn read(&mut self, record: Record) -> Result<(), RoleError> {
        let notify = self.notify.clone();
        let Some((_, outbox)) = self
            .outboxes
            .get_mut(&record.partition)
            .filter(|(ours, _)| ours.assignment == record.assignment)
        else {
            self.unkept += usize::from(self.given_up);
            return Ok(());
        };
        let next = record.offset + 1;
        let (message, alert) = match parse(&record.payload) {
            Ok(parsed) => parsed,
            Err(problem) => {
                let letter = dead_letter(&notify.emitter.epoch, &record, "unreadable", &problem);
                send_and_wait(&notify.producer, vec![notify.emitter.dead(&letter)]).await?;
                outbox.skip(next);
                return Ok(());
            }
        };
        let now = Timestamp::now();
        let lists = (notify.entity_lists)(&message.entity);
        let subject = Subject {
            entity: &message.entity,
            lists: &lists,
            rule: &message.rule,
            severity: message.severity,
        };
        let route = Route {
            lists: &lists,
            wanting: notify.routing.wanting(subject, now),
            held: &|endpoint, severity| notify.routing.held(endpoint, severity, now),
        };
        let max_age = notify.max_alert_age;
        match outbox.accept(&message, alert, route, max_age, next, now) {
            Accepted::Known => notify.metrics.repeats_dropped.with(["notify"]).inc(),
            Accepted::Unsent(verdict) => {
                tracing::info!(alert = message.alert_id, entity = %message.entity,
                    outcome = verdict.outcome.name(), "not delivered: {}", verdict.reason);
            }
            Accepted::New | Accepted::Unwanted => {}
        }
        Ok(())
    }

    fn saved(&mut self, ours: &Ours, saved: bool) {
        let Some((_, outbox)) = self.current(ours) else {
            return;
        };
        if !saved {
            self.given_up = self.give_up.is_cancelled();
        } else if let Some(next) = outbox.saved() {
            faults::reach("notify.saved");
            self.commits
                .done(&ours.topic, ours.partition, ours.assignment, next);
        }
    }

    fn attempted(
        &mut self,
        (ours, key, attempted): (Ours, Key, Result<Attempted, BrokerError>),
    ) -> Result<(), RoleError> {
        let attempted = attempted?;
        if let Some((_, outbox)) = self.current(&ours) {
            match attempted {
                Attempted::Ended(answer) => outbox.ended(key, &answer, Timestamp::now()),
                Attempted::Failed {
                    first_attempt_at,
                    due,
                    answer,
                } => outbox.failed(key, first_attempt_at, due, &answer, Timestamp::now()),
                Attempted::Dropped => {}
            }
        }
        Ok(())
    }

    fn current(&mut self, ours: &Ours) -> Option<&mut (Ours, Outbox)> {
        let current = self.outboxes.get_mut(&ours.partition);
        current.filter(|(current, _)| current == ours)
    }
}

impl Ours {
    fn holds(&self, commits: &Commits) -> bool {
        commits.holds(&self.topic, self.partition, self.assignment)
    }
}

fn limits(notify: &Notify) -> Limits {
    let known = |endpoint: &Arc<Endpoint>| Known {
        name: endpoint.name().into(),
        address: endpoint.fingerprint(),
        limit: endpoint.limit(),
    };
    Limits {
        places: notify.config.in_flight,
        endpoints: notify.notifier.endpoints().iter().map(known).collect(),
        longest_wait: retry::longest(&notify.config),
        disable_after: notify.config.disable_after,
        max_silence: notify.config.max_silence,
        grouping: Grouping {
            from: notify.config.group_from,
            within: notify.config.group_within,
            wait: notify.config.group_wait,
        },
    }
}

/// The state of a partition, while it is ours.
fn saving(
    notify: &Notify,
    commits: &Commits,
    give_up: &CancellationToken,
    ours: &Ours,
) -> Saving<impl Fn() -> bool + use<>> {
    let (ours, commits) = (ours.clone(), commits.clone());
    Saving {
        state: notify.state.clone(),
        partition: ours.partition,
        holds: move || ours.holds(&commits),
        health: notify.health.clone(),
        metrics: notify.metrics.clone(),
        give_up: give_up.clone(),
    }
}

/// The next act, whose outbox it is for, and the offset behind it; none when reading has ended.
async fn next_act(acts: &mut Option<(Ours, Acts)>) -> Option<(Ours, i64, ControlAct)> {
    match acts {
        Some((ours, acts)) => {
            let (next, act) = acts.next().await?;
            Some((ours.clone(), next, act))
        }
        None => std::future::pending().await,
    }
}

/// Reads an alert message, or says why it is none.
fn parse(payload: &[u8]) -> Result<(AlertMessage, Box<RawValue>), String> {
    if payload.len() > MAX_MESSAGE {
        return Err(format!("{} bytes are too many for an alert", payload.len()));
    }
    let message = serde_json::from_slice(payload).map_err(|error| error.to_string())?;
    let alert = serde_json::from_slice(payload).map_err(|error| error.to_string())?;
    Ok((message, alert))
}

/// Sleeps until an instant of the machine's clock, which may be set meanwhile: a minute at a time.
async fn sleep_until(due: Option<Timestamp>) {
    match due {
        Some(due) => {
            tokio::time::sleep(due.since(Timestamp::now()).min(Duration::from_secs(60))).await
        }
        None => std::future::pending().await,
    }
}
