//! Kafka: one poll thread per consumer, an idempotent producer, squall's own topics, and the embedded broker.
//!
//! The same clients serve a real Kafka and the embedded broker; only the address differs.

mod client;
mod consumer;
mod embedded;
mod error;
mod inspect;
mod partition;
mod producer;
mod room;
pub mod topics;

pub use client::Connection;
pub use consumer::{
    Assigned, Assignment, CommitError, Commits, Consumer, Event, Expired, Lag, Record, Stop,
};
pub use embedded::EmbeddedBroker;
pub use error::BrokerError;
pub use inspect::{ClusterFacts, GroupFacts, Settings, TopicFacts};
pub use partition::{Entry, PartitionReader};
pub use producer::{Acknowledged, Outgoing, Producer};
