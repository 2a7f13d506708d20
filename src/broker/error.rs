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
    /// The client refused a setting. Its value may be secret and is not shown.
    #[error("kafka.client.{key}: {problem}: see librdkafka's list of settings")]
    Settings {
        /// The setting; empty where the client names none.
        key: String,
        /// What the client says.
        problem: String,
    },
    /// The cluster does not let this client in, or not read.
    #[error(
        "kafka group {group}: {source}: grant READ on the source topics, READ and WRITE on squall.*, and READ on the group, or check kafka.client"
    )]
    Refused {
        /// The consumer group.
        group: String,
        /// What the client says.
        source: KafkaError,
    },
    /// A partition begins again below what was committed.
    #[error(
        "kafka {partition}: begins again at {offset}, but {committed} was committed: the topic was recreated: give kafka.epoch another name, so that its posts are not taken for repeats"
    )]
    Recreated {
        /// `topic:partition`.
        partition: String,
        /// Offset of the first record read.
        offset: i64,
        /// Offset committed before.
        committed: i64,
    },
    /// A source topic does not exist.
    #[error("kafka topic {0}: does not exist: correct its name under [[topics]], or create it")]
    NoTopic(String),
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
    /// The embedded broker has no room, and its readers make none.
    #[error(
        "embedded broker: {place}: takes nothing, because what is in it is not read: look at the log of `squall run`"
    )]
    NoRoom {
        /// The topic.
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
    /// A refused setting, without its value.
    pub(super) fn settings(error: &KafkaError) -> Self {
        match error {
            KafkaError::ClientConfig(_, description, key, _) => Self::Settings {
                key: key.clone(),
                problem: description.clone(),
            },
            other => Self::Settings {
                key: String::new(),
                problem: other.to_string(),
            },
        }
    }
}
