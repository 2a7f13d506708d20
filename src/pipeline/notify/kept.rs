//! What stands in the state, by key.
//!
//! | Key | Value |
//! | --- | --- |
//! | `message/<id>` | [`Message`]: the alert message, and the endpoints it goes to |
//! | `delivery/<id>/<endpoint>` | [`Progress`] of one delivery, after its first failed attempt, or its end |
//! | `done/<id>` | when the last delivery of a message ended |
//! | `silenced/<alert id>` | when an alert came whose opening was too old |
//!
//! A message is one key, so that its deliveries come into being all together or not at all, although a crash may leave
//! only a beginning of what was written at once. The last delivery's end writes `done/…` first, then removes the rest.

use crate::domain::Timestamp;
use crate::state::Change;
use serde::{Deserialize, Serialize};
use serde_json::value::RawValue;
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
    /// Too old to be delivered: its deliveries end without an attempt.
    pub too_old: bool,
    /// The [`crate::domain::AlertMessage`], as it stood in `squall.alerts`.
    pub alert: Box<RawValue>,
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
