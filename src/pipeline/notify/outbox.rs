//! The deliveries of one partition of `squall.alerts`: what is pending, what is known, and what of it is to be
//! remembered. Knows neither clock nor I/O.
//!
//! Whatever happens becomes changes of the state, which are written in the order in which they came, several at once,
//! one write after the other ([`Outbox::write`], [`Outbox::saved`]). Only what is written counts: then a message's
//! deliveries are begun and its offset is committed, then a failed delivery is tried again, then the next message of
//! an alert follows one that has ended. An attempt keeps its place until then, so that a crash repeats at most as
//! many attempts as there are places.

use super::board::PendingDelivery;
use super::groups::{Grouping, Groups};
use super::kept::{self, Found, Message, Verdict};
use super::pending::Pending;
use super::remembered::Remembered;
use super::rules::{KeptSilence, Rules};
use super::schedule::{Key, Schedule};
use super::standings::{Answer, Disabled, Standing, Standings, Turn};
use crate::domain::{AlertKind, AlertMessage, ControlAct, EntityId, Severity, Timestamp};
use crate::notify::{EndpointDisabled, Limit, Notice};
use crate::state::Change;
use serde_json::value::RawValue;
use std::collections::{BTreeMap, BTreeSet, HashMap, VecDeque};
use std::sync::Arc;
use std::time::Duration;

/// With so many deliveries pending, or so many bytes of messages, no further message is read.
pub(super) const MOST_PENDING: usize = 50_000;
const MOST_BYTES: usize = 64 << 20;
/// A write takes no more in once it has so many changes, or so many bytes.
const CHANGES_OF_A_WRITE: usize = 1000;
const BYTES_OF_A_WRITE: usize = 4 << 20;

/// How many attempts there may be at once, and when they follow one another.
#[derive(Debug, Clone)]
pub(super) struct Limits {
    /// Attempts at once.
    pub places: usize,
    /// Endpoints that share them.
    pub endpoints: Vec<Known>,
    /// Longest wait for the next attempt: what was saved by a clock that went wrong waits no longer either.
    pub longest_wait: Duration,
    /// An endpoint that fails for so long is disabled.
    pub disable_after: Duration,
    /// No silence is longer.
    pub max_silence: Duration,
    /// When alerts are told together.
    pub grouping: Grouping,
}

/// Where a message belongs.
pub(super) struct Route<'a> {
    /// Lists that its entity is on.
    pub lists: &'a [EntityId],
    /// Endpoints that want it.
    pub wanting: BTreeSet<Arc<str>>,
    /// Until when one of them is not to be bothered with something of this severity.
    pub held: &'a dyn Fn(&str, Severity) -> Option<Timestamp>,
}

/// A configured endpoint.
#[derive(Debug, Clone)]
pub(super) struct Known {
    pub name: Arc<str>,
    /// Fingerprint of its address.
    pub address: String,
    pub limit: Limit,
}

/// Pending deliveries by message, and what is known of those that have ended.
#[derive(Debug)]
pub(super) struct Outbox {
    messages: HashMap<u64, Pending>,
    numbers: HashMap<Arc<str>, u64>,
    next_number: u64,
    done: Remembered,
    silenced: Remembered,
    schedule: Schedule,
    standings: Standings,
    rules: Rules,
    groups: Groups,
    control: Option<kept::Position>,
    pending: usize,
    bytes: usize,
    unsaved: VecDeque<Unsaved>,
    /// How many of `unsaved` are being written.
    writing: usize,
}

/// One delivery to be attempted.
#[derive(Debug, Clone)]
pub(super) struct Job {
    pub key: Key,
    /// The alert message, as it came.
    pub alert: Box<RawValue>,
    /// It ends so, without an attempt.
    pub verdict: Option<Verdict>,
    /// Attempts that have failed.
    pub attempts: u32,
    pub first_attempt_at: Option<Timestamp>,
}

/// What became of a message that was read.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Accepted {
    /// Its deliveries begin when it is saved.
    New,
    /// Its deliveries end without an attempt.
    Unsent(Verdict),
    /// No endpoint wants it.
    Unwanted,
    /// It was there before.
    Known,
}

#[derive(Debug)]
struct Unsaved {
    changes: Vec<Change>,
    then: Then,
}

/// What follows when changes are written.
#[derive(Debug)]
enum Then {
    /// The record before this offset is done, and a new message's deliveries begin.
    Read(i64, Option<u64>),
    Again(Key),
    Ended(Key),
    /// A message of squall's own begins.
    Begin(u64),
    Nothing,
}

impl Outbox {
    /// From what the state remembers. What a crash has left behind is cleared away with the next write.
    pub fn restore(entries: HashMap<String, Vec<u8>>, limits: Limits, now: Timestamp) -> Self {
        let mut found = Found::sort(entries);
        let mut outbox = Self {
            messages: HashMap::new(),
            numbers: HashMap::new(),
            next_number: 0,
            done: Remembered::restore("done/", found.done),
            silenced: Remembered::restore("silenced/", found.silenced),
            schedule: Schedule::new(limits.places, &limits.endpoints),
            standings: Standings::restore(
                limits
                    .endpoints
                    .iter()
                    .map(|known| (&known.name, known.address.as_str())),
                found.endpoints,
                limits.disable_after,
            ),
            rules: Rules::restore(found.alerts, found.silences, limits.max_silence, now),
            groups: Groups::restore(found.groups, limits.grouping, now),
            control: found.control,
            pending: 0,
            bytes: 0,
            unsaved: VecDeque::new(),
            writing: 0,
        };
        let mut clear = Vec::new();
        found.messages.sort_by_key(|(_, message)| message.number);
        for (alert, mut message) in found.messages {
            let id: Arc<str> = alert.id().into();
            if outbox.done.contains(&id) {
                clear.push(kept::remove(kept::message(&id)));
                continue;
            }
            message.number = message.number.max(outbox.next_number);
            let mut pending = Pending::new(id, alert.subject().into(), message);
            pending.restore(&mut found.deliveries, now + limits.longest_wait);
            let number = outbox.insert(pending);
            outbox.schedule(number);
        }
        clear.extend(found.deliveries.into_keys().map(kept::remove));
        if !clear.is_empty() {
            outbox.push(clear, Then::Nothing);
        }
        outbox
    }

    /// Takes a message in that was read; `next` is the offset behind its record.
    pub fn accept(
        &mut self,
        message: &AlertMessage,
        alert: Box<RawValue>,
        route: Route<'_>,
        max_age: Duration,
        next: i64,
        now: Timestamp,
    ) -> Accepted {
        if self.numbers.contains_key(&*message.id) || self.done.contains(&message.id) {
            self.skip(next);
            return Accepted::Known;
        }
        let alert_id: Arc<str> = message.alert_id.as_str().into();
        let mut changes = Vec::new();
        if message.kind == AlertKind::Opened && now.since(message.at) > max_age {
            changes = self.silenced.insert(&alert_id, now);
        }
        let (endpoints, verdict) = match self.silenced.contains(&alert_id) {
            true => (route.wanting, Some(Verdict::too_old())),
            false => {
                let judged = self.rules.judge(message, route.lists, route.wanting, now);
                changes.extend(judged.changes);
                let (to, verdict) = (judged.endpoints, judged.verdict);
                let sent = verdict.is_none() && !to.is_empty();
                let speaker = self
                    .groups
                    .hear(message, route.lists, &to, sent, now, &mut changes);
                let grouped = speaker.map(|list| Verdict::grouped(&list));
                (to, grouped.or(verdict))
            }
        };
        if endpoints.is_empty() {
            self.push(changes, Then::Read(next, None));
            return Accepted::Unwanted;
        }
        let accepted = match &verdict {
            None => Accepted::New,
            Some(verdict) => Accepted::Unsent(verdict.clone()),
        };
        let held = match verdict {
            Some(_) => BTreeMap::new(),
            None => {
                let held = endpoints
                    .iter()
                    .filter_map(|name| Some((name.clone(), (route.held)(name, message.severity)?)));
                held.collect()
            }
        };
        let endpoints = endpoints.into_iter().collect();
        let kept = Message::new(self.next_number, now, endpoints, verdict, held, alert);
        let pending = Pending::new(message.id.as_str().into(), alert_id, kept);
        changes.push(kept::put(kept::message(&pending.id), &pending.message));
        let number = self.insert(pending);
        self.push(changes, Then::Read(next, Some(number)));
        accepted
    }

    /// Lets the messages of groups go out that are due at `until`.
    pub fn tell_groups(
        &mut self,
        until: Timestamp,
        held: &dyn Fn(&str, Severity) -> Option<Timestamp>,
        now: Timestamp,
    ) {
        for (notice, endpoints, change) in self.groups.tell(now, until) {
            let severity = notice.severity();
            let waits = endpoints
                .iter()
                .filter_map(|name| Some((name.clone(), held(name, severity)?)));
            let waits = waits.collect();
            self.send(&notice, endpoints.into_iter().collect(), waits, now);
            self.push(vec![change], Then::Nothing);
        }
    }

    /// Takes in what somebody has done; `next` is the offset behind it, in this life of the cluster.
    pub fn act(&mut self, act: &ControlAct, epoch: &Arc<str>, next: i64, now: Timestamp) {
        let mut changes = self.rules.act(act, now);
        if let ControlAct::Enable { endpoint, .. } = act {
            changes.extend(self.standings.enable(endpoint));
        }
        if changes.is_empty() {
            return;
        }
        let position = kept::Position {
            epoch: epoch.clone(),
            next,
        };
        changes.push(kept::put(kept::CONTROL.into(), &position));
        self.control = Some(position);
        self.push(changes, Then::Nothing);
    }

    /// Offset from which acts are to be read; none for the beginning.
    pub fn acts_from(&self, epoch: &str) -> Option<i64> {
        let position = self.control.as_ref()?;
        (*position.epoch == *epoch).then_some(position.next)
    }

    /// A record that brings no message is done when those before it are.
    pub fn skip(&mut self, next: i64) {
        self.push(Vec::new(), Then::Read(next, None));
    }

    /// A delivery to be attempted now; it takes a place.
    pub fn next(&mut self, now: Timestamp) -> Option<Job> {
        let key = self.schedule.next(now)?;
        let pending = self.messages.get(&key.number)?;
        let progress = pending.deliveries.get(&key.endpoint)?;
        let disabled = self
            .standings
            .disabled(&key.endpoint)
            .map(|disabled| Verdict {
                outcome: disabled.outcome,
                reason: format!("not tried: {}", disabled.reason),
            });
        Some(Job {
            alert: pending.message.alert.clone(),
            verdict: pending.message.verdict.clone().or(disabled),
            attempts: progress.attempts,
            first_attempt_at: progress.first_attempt_at,
            key,
        })
    }

    /// When there is a delivery to be attempted next.
    pub fn next_due(&self) -> Option<Timestamp> {
        let group = self.groups.next_due();
        self.schedule.next_due().into_iter().chain(group).min()
    }

    /// An attempt has failed, and another follows.
    pub fn failed(
        &mut self,
        key: Key,
        first_attempt_at: Timestamp,
        due: Timestamp,
        answer: &Answer,
        now: Timestamp,
    ) {
        self.note(&key.endpoint, answer, now);
        let Some(pending) = self.messages.get_mut(&key.number) else {
            return;
        };
        let Some(progress) = pending.deliveries.get_mut(&key.endpoint) else {
            return;
        };
        progress.attempts = progress.attempts.saturating_add(1);
        progress.first_attempt_at = Some(first_attempt_at);
        progress.due = due;
        let change = kept::put(kept::delivery(&pending.id, &key.endpoint), progress);
        pending.keep(&key.endpoint);
        self.push(vec![change], Then::Again(key));
    }

    /// A delivery has ended, and its outcome is written.
    pub fn ended(&mut self, key: Key, answer: &Answer, now: Timestamp) {
        self.note(&key.endpoint, answer, now);
        let Some(pending) = self.messages.get_mut(&key.number) else {
            return;
        };
        let Some(mut progress) = pending.deliveries.remove(&key.endpoint) else {
            return;
        };
        self.pending -= 1;
        if !pending.deliveries.is_empty() {
            progress.ended = true;
            let change = kept::put(kept::delivery(&pending.id, &key.endpoint), &progress);
            pending.keep(&key.endpoint);
            self.push(vec![change], Then::Ended(key));
            return;
        }
        if let Some(pending) = self.messages.remove(&key.number) {
            self.numbers.remove(&pending.id);
            self.bytes -= pending.bytes();
            let mut changes = self.done.insert(&pending.id, now);
            changes.push(kept::remove(kept::message(&pending.id)));
            let kept = pending.kept.iter();
            changes.extend(kept.map(|name| kept::remove(kept::delivery(&pending.id, name))));
            self.push(changes, Then::Ended(key));
        }
    }

    /// Remembers how an endpoint has answered; one that is disabled by it is told to the others.
    fn note(&mut self, endpoint: &Arc<str>, answer: &Answer, now: Timestamp) {
        let (change, turn) = self.standings.note(endpoint, answer, now);
        let Some(change) = change else {
            return;
        };
        self.push(vec![change], Then::Nothing);
        let disabled = match turn {
            Some(Turn::Disabled(disabled)) => disabled,
            Some(Turn::Failing(error)) => {
                tracing::warn!(%endpoint, error, "endpoint fails: what is for it is tried again");
                return;
            }
            Some(Turn::Well) => {
                tracing::info!(%endpoint, "endpoint takes messages again");
                return;
            }
            None => return,
        };
        let remedy = disabled.remedy(endpoint);
        let Disabled { at, reason, .. } = disabled;
        tracing::error!(%endpoint, "endpoint disabled: {reason}: {remedy}");
        let endpoint = endpoint.to_string();
        let notice = Notice::EndpointDisabled(EndpointDisabled {
            endpoint,
            at,
            reason,
        });
        let others = self.standings.enabled().cloned().collect();
        self.send(&notice, others, BTreeMap::new(), now);
    }

    /// Takes in a message of squall's own; `held` are endpoints that are not to get it before.
    fn send(
        &mut self,
        notice: &Notice,
        endpoints: Vec<Arc<str>>,
        held: BTreeMap<Arc<str>, Timestamp>,
        now: Timestamp,
    ) {
        let id: Arc<str> = notice.id().into();
        let Ok(alert) = RawValue::from_string(notice.write()) else {
            return;
        };
        if endpoints.is_empty() || self.numbers.contains_key(&id) || self.done.contains(&id) {
            return;
        }
        let kept = Message::new(self.next_number, now, endpoints, None, held, alert);
        let pending = Pending::new(id, notice.subject().into(), kept);
        let change = kept::put(kept::message(&pending.id), &pending.message);
        let number = self.insert(pending);
        self.push(vec![change], Then::Begin(number));
    }

    /// Deliveries that have not ended, in the order in which their messages came.
    pub fn pending_deliveries(&self, now: Timestamp) -> impl Iterator<Item = PendingDelivery> {
        let mut numbers: Vec<&u64> = self.messages.keys().collect();
        numbers.sort_unstable();
        let messages = numbers
            .into_iter()
            .filter_map(|number| self.messages.get(number));
        messages.flat_map(move |pending| {
            pending.deliveries.iter().map(move |(endpoint, progress)| {
                let held = progress.attempts == 0 && progress.due > now;
                PendingDelivery {
                    message_id: pending.id.clone(),
                    alert_id: pending.alert_id.clone(),
                    endpoint: endpoint.clone(),
                    state: if held { "held" } else { "pending" },
                    attempts: progress.attempts,
                    due: progress.due,
                    first_attempt_at: progress.first_attempt_at,
                    accepted_at: pending.message.accepted_at,
                }
            })
        })
    }

    /// Silences that are remembered.
    pub fn silences(&self) -> impl Iterator<Item = &KeptSilence> {
        self.rules.silences()
    }

    /// How each endpoint is doing.
    pub fn standings(&self) -> impl Iterator<Item = (&Arc<str>, &Standing)> {
        self.standings.all()
    }

    /// What is to be written next, once the write before is.
    pub fn write(&mut self) -> Option<Vec<Change>> {
        if self.writing > 0 || self.unsaved.is_empty() {
            return None;
        }
        let mut changes = Vec::new();
        let mut bytes = 0;
        for unsaved in &mut self.unsaved {
            if changes.len() >= CHANGES_OF_A_WRITE || bytes >= BYTES_OF_A_WRITE {
                break;
            }
            let values = unsaved.changes.iter();
            bytes += values
                .map(|one| one.value.as_ref().map_or(0, Vec::len))
                .sum::<usize>();
            changes.append(&mut unsaved.changes);
            self.writing += 1;
        }
        Some(changes)
    }

    /// The write is durable. Returns the offset to be committed, if records are done with it.
    pub fn saved(&mut self) -> Option<i64> {
        let mut done = None;
        for _ in 0..std::mem::take(&mut self.writing) {
            match self.unsaved.pop_front()?.then {
                Then::Read(next, number) => {
                    done = done.max(Some(next));
                    if let Some(number) = number {
                        self.schedule(number);
                    }
                }
                Then::Again(key) => {
                    let pending = self.messages.get(&key.number);
                    let progress =
                        pending.and_then(|pending| pending.deliveries.get(&key.endpoint));
                    if let Some(due) = progress.map(|progress| progress.due) {
                        self.schedule.again(&key, due);
                    }
                }
                Then::Ended(key) => self.schedule.end(&key),
                Then::Begin(number) => self.schedule(number),
                Then::Nothing => {}
            }
        }
        done
    }

    /// Whether further messages may be read.
    pub fn has_room(&self) -> bool {
        self.pending < MOST_PENDING && self.bytes < MOST_BYTES
    }

    /// Deliveries that have not ended.
    pub fn pending(&self) -> usize {
        self.pending
    }

    /// Records read, but not yet done.
    pub fn unsaved_records(&self) -> usize {
        let records = self.unsaved.iter();
        records
            .filter(|unsaved| matches!(unsaved.then, Then::Read(..)))
            .count()
    }

    /// Whether everything is written.
    pub fn is_saved(&self) -> bool {
        self.unsaved.is_empty()
    }

    /// See [`Schedule::waiting`].
    pub fn waiting(&self) -> impl Iterator<Item = (&str, usize, Option<Timestamp>)> {
        self.schedule.waiting()
    }

    fn insert(&mut self, pending: Pending) -> u64 {
        let number = pending.message.number;
        self.next_number = self.next_number.max(number + 1);
        self.numbers.insert(pending.id.clone(), number);
        self.pending += pending.deliveries.len();
        self.bytes += pending.bytes();
        self.messages.insert(number, pending);
        number
    }

    /// Lets the deliveries of a message be attempted.
    fn schedule(&mut self, number: u64) {
        let Some(pending) = self.messages.get(&number) else {
            return;
        };
        for (endpoint, progress) in &pending.deliveries {
            let key = Key {
                endpoint: endpoint.clone(),
                alert: pending.alert_id.clone(),
                number,
            };
            self.schedule.add(&key, progress.due);
        }
    }

    fn push(&mut self, changes: Vec<Change>, then: Then) {
        self.unsaved.push_back(Unsaved { changes, then });
    }
}

#[cfg(test)]
mod tests;
