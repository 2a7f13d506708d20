//! What can go wrong with Kafka.

use rdkafka::error::KafkaError;

/// An error of the broker or its client.
#[derive(Debug, thiserror::Error)]
pub enum BrokerError {
    /// No broker answered.
    #[error(
        "kafka {brokers}: no broker answers: {problem}: check kafka.brokers, the network, and kafka.client for TLS and SASL"
    )]
    Unreachable {
        /// Addresses tried.
        brokers: String,
        /// What the client says.
        problem: String,
    },
    /// The client refused its settings.
    #[error("kafka.client: {0}: see librdkafka's list of settings")]
    Settings(KafkaError),
    /// A topic could not be created.
    #[error("kafka topic {topic}: cannot be created: {problem}: create it, or allow squall to")]
    Topic {
        /// Name of the topic.
        topic: String,
        /// What the broker says.
        problem: String,
    },
    /// The embedded broker did not start.
    #[error("embedded broker: cannot start: {0}")]
    Embedded(String),
    /// No embedded broker runs for this data folder.
    #[error(
        "embedded broker: none runs for {place}: start `squall run` with the same configuration first, or set kafka.brokers"
    )]
    NotRunning {
        /// File in which its address would stand.
        place: String,
    },
    /// The producer or consumer cannot go on.
    #[error("kafka: {place}: {source}: the process must be restarted")]
    Fatal {
        /// Topic or group.
        place: String,
        /// What the client says.
        source: KafkaError,
    },
    /// Any other call failed.
    #[error("kafka: {place}: {source}")]
    Call {
        /// Topic, group or partition.
        place: String,
        /// What the client says.
        source: KafkaError,
    },
}

impl BrokerError {
    /// Whether trying again may help.
    pub fn is_retryable(&self) -> bool {
        matches!(self, Self::Unreachable { .. } | Self::Call { .. })
    }
}
