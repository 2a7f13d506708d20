//! What a role must remember over a restart, by key: DETECT's entities, NOTIFY's deliveries.
//!
//! [`State`] is a seam: a compacted Kafka topic in production, SQLite when the broker is embedded. Each role has a
//! state of its own, divided like the topic it reads.

#[cfg(test)]
mod contract;
mod sqlite;
mod topic;

pub use sqlite::SqliteState;
pub use topic::TopicState;

use futures::future::BoxFuture;
use std::collections::HashMap;

/// One key's new value; none removes it. Keys are not empty.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Change {
    /// The key.
    pub key: String,
    /// What is remembered under it from now on.
    pub value: Option<Vec<u8>>,
}

/// Why state could not be read or written.
#[derive(Debug, thiserror::Error)]
#[error("state {place}: {problem}")]
pub struct StateError {
    /// Topic and partition, or file.
    pub place: String,
    /// What went wrong, with the remedy where there is one.
    pub problem: String,
}

/// Result of the state.
pub type StateResult<T> = Result<T, StateError>;

/// Keyed state of one role.
pub trait State: Send + Sync {
    /// Takes a partition over and reads everything that is remembered of it. Called when the partition is assigned,
    /// before anything of it is written. A former owner that goes on writing for a while, because it does not yet
    /// know, changes nothing of what is written here afterwards.
    fn load(&self, partition: i32) -> BoxFuture<'_, StateResult<HashMap<String, Vec<u8>>>>;

    /// Remembers changes, in their order; durable when it returns. A crash in the middle may leave a beginning
    /// of them.
    fn put(&self, partition: i32, changes: Vec<Change>) -> BoxFuture<'_, StateResult<()>>;
}
