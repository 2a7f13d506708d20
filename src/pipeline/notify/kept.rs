//! What stands in the state, by key.
//!
//! | Key | Value |
//! | --- | --- |
//! | `message/<id>` | [`Message`]: the alert message, and the endpoints it goes to |
//! | `delivery/<id>/<endpoint>` | [`Progress`] of one delivery, after its first failed attempt, or its end |
//! | `done/<id>` | when the last delivery of a message ended |
//! | `silenced/<alert id>` | when an alert came whose opening was too old |
//! | `alert/<alert id>` | [`OpenAlert`]: an alert that is open |
//! | `silence/<id>` | [`KeptSilence`] |
//! | `group/<list>` | [`KeptGroup`]: alerts on the members of a list, told alone or together |
//! | `control` | [`Position`] up to which acts were taken in |
//! | `endpoint/<name>` | [`Standing`]: since when it fails, whether it is disabled |
//!
//! A message is one key, so that its deliveries come into being all together or not at all, although a crash may leave
//! only a beginning of what was written at once. The last delivery's end writes `done/…` first, then removes the rest.

use super::groups::KeptGroup;
use super::rules::{KeptSilence, OpenAlert};
use super::standings::Standing;
use crate::domain::{EntityId, Outcome, Timestamp};
use crate::notify::Notice;
use crate::state::Change;
use serde::{Deserialize, Serialize};
use serde_json::value::RawValue;
use std::collections::{BTreeMap, HashMap};
use std::sync::Arc;

/// `message/<id>`
#[derive(Debug, Clone, Serialize, Deserialize)]
pub(super) struct Message {
    /// Position in the order in which messages came; the numbers of this state never go back while one is pending.
    pub number: u64,
    /// When it was read: its deliveries are due from then on.
    pub accepted_at: Timestamp,
    /// Names of the endpoints that want it.
    pub endpoints: Vec<Arc<str>>,
    /// Its deliveries end so, without an attempt.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub verdict: Option<Verdict>,
    /// Deliveries that are not due before this.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub held: BTreeMap<Arc<str>, Timestamp>,
    /// What there was before `verdict`: [`Outcome::TooOld`].
    #[serde(default, skip_serializing)]
    too_old: bool,
    /// The [`Notice`]: a message of an alert as it stood in `squall.alerts`.
    pub alert: Box<RawValue>,
}

/// How deliveries end that are not attempted.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Verdict {
    pub outcome: Outcome,
    /// What to tell people.
    pub reason: String,
}

impl Message {
    /// One whose deliveries are attempted, or end by a verdict.
    pub fn new(
        number: u64,
        accepted_at: Timestamp,
        endpoints: Vec<Arc<str>>,
        verdict: Option<Verdict>,
        held: BTreeMap<Arc<str>, Timestamp>,
        alert: Box<RawValue>,
    ) -> Self {
        Self {
            number,
            accepted_at,
            endpoints,
            verdict,
            held,
            too_old: false,
            alert,
        }
    }
}

impl Verdict {
    /// Of a message that its group's stands for.
    pub fn grouped(list: &EntityId) -> Self {
        Self {
            outcome: Outcome::Grouped,
            reason: format!("told with others of {list}, in the message of their group"),
        }
    }

    /// Of a message that comes too late.
    pub fn too_old() -> Self {
        Self {
            outcome: Outcome::TooOld,
            reason: "older than detect.max_alert_age".into(),
        }
    }
}

/// `delivery/<id>/<endpoint>`
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub(super) struct Progress {
    /// Attempts that have failed.
    pub attempts: u32,
    /// When the next may be made.
    pub due: Timestamp,
    /// When the first was made.
    pub first_attempt_at: Option<Timestamp>,
    /// Whether it has ended, while others of the message have not.
    pub ended: bool,
}

/// Key of a message.
pub(super) fn message(id: &str) -> String {
    format!("message/{id}")
}

/// Key of a delivery.
pub(super) fn delivery(id: &str, endpoint: &str) -> String {
    format!("delivery/{id}/{endpoint}")
}

/// `control`
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Position {
    /// Life of the cluster.
    pub epoch: Arc<str>,
    /// Offset behind the last act.
    pub next: i64,
}

/// Key of [`Position`].
pub(super) const CONTROL: &str = "control";

/// Key of an open alert.
pub(super) fn alert(id: &str) -> String {
    format!("alert/{id}")
}

/// Key of a list's group.
pub(super) fn group(list: &EntityId) -> String {
    format!("group/{list}")
}

/// Key of a silence.
pub(super) fn silence(id: &str) -> String {
    format!("silence/{id}")
}

/// Key of an endpoint.
pub(super) fn endpoint(name: &str) -> String {
    format!("endpoint/{name}")
}

/// A change that remembers a value.
pub(super) fn put(key: String, value: &impl Serialize) -> Change {
    // These types have string keys and finite numbers only: writing them into memory cannot fail.
    let value = Some(serde_json::to_vec(value).unwrap_or_default());
    Change { key, value }
}

/// A change that forgets a key.
pub(super) fn remove(key: String) -> Change {
    Change { key, value: None }
}

/// What the state remembers, sorted by kind.
#[derive(Default)]
pub(super) struct Found {
    /// Each with what it carries.
    pub messages: Vec<(Notice, Message)>,
    /// By key.
    pub deliveries: HashMap<String, Progress>,
    pub done: Vec<(Timestamp, Arc<str>)>,
    pub silenced: Vec<(Timestamp, Arc<str>)>,
    pub endpoints: BTreeMap<Arc<str>, Standing>,
    pub alerts: HashMap<Arc<str>, OpenAlert>,
    pub silences: Vec<KeptSilence>,
    pub groups: BTreeMap<EntityId, KeptGroup>,
    pub control: Option<Position>,
}

impl Found {
    /// What cannot be read is left in the state, for a version that can.
    pub fn sort(entries: HashMap<String, Vec<u8>>) -> Self {
        let mut found = Self::default();
        let mut unreadable = Vec::new();
        for (key, value) in entries {
            let read = if key.starts_with("message/") {
                read_message(&value).map(|message| found.messages.push(message))
            } else if key.starts_with("delivery/") {
                serde_json::from_slice(&value).map(|progress| {
                    found.deliveries.insert(key.clone(), progress);
                })
            } else if let Some(id) = key.strip_prefix("done/") {
                serde_json::from_slice(&value).map(|at| found.done.push((at, id.into())))
            } else if let Some(id) = key.strip_prefix("silenced/") {
                serde_json::from_slice(&value).map(|at| found.silenced.push((at, id.into())))
            } else if let Some(name) = key.strip_prefix("endpoint/") {
                serde_json::from_slice(&value)
                    .map(|one| drop(found.endpoints.insert(name.into(), one)))
            } else if let Some(id) = key.strip_prefix("alert/") {
                serde_json::from_slice(&value).map(|one| drop(found.alerts.insert(id.into(), one)))
            } else if let Some(list) = key.strip_prefix("group/") {
                serde_json::from_slice(&value)
                    .map(|one| drop(found.groups.insert(list.into(), one)))
            } else if key.starts_with("silence/") {
                serde_json::from_slice(&value).map(|one| found.silences.push(one))
            } else if key == CONTROL {
                serde_json::from_slice(&value).map(|one| found.control = Some(one))
            } else {
                tracing::warn!(key, "the state of NOTIFY has a key of another version");
                Ok(())
            };
            if let Err(error) = read {
                tracing::error!(key, %error, "an entry of the state of NOTIFY cannot be read: it is left alone");
                unreadable.extend(key.strip_prefix("message/").map(|id| delivery(id, "")));
            }
        }
        let of_unreadable = |key: &str| unreadable.iter().any(|prefix| key.starts_with(prefix));
        found.deliveries.retain(|key, _| !of_unreadable(key));
        found
    }
}

fn read_message(value: &[u8]) -> serde_json::Result<(Notice, Message)> {
    let mut message: Message = serde_json::from_slice(value)?;
    if message.too_old {
        message.verdict = Some(Verdict::too_old());
    }
    Ok((Notice::read(message.alert.get())?, message))
}
