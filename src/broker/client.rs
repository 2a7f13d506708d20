//! Settings common to every Kafka client, and the first contact with the cluster.

use super::{BrokerError, EmbeddedBroker, topics};
use crate::config::{Config, EMBEDDED, KafkaConfig};
use rdkafka::ClientConfig;
use rdkafka::admin::{AdminClient, AdminOptions, NewTopic, TopicReplication};
use rdkafka::client::DefaultClientContext;
use rdkafka::consumer::{BaseConsumer, Consumer as _};
use rdkafka::types::RDKafkaErrorCode;
use std::collections::HashMap;
use std::sync::Arc;
use std::time::Duration;

/// How long the first contact may take.
const FIRST_CONTACT: Duration = Duration::from_secs(10);

/// How to reach one Kafka cluster, and what is known of it.
#[derive(Debug, Clone)]
pub struct Connection {
    pub(super) brokers: String,
    pub(super) kafka: KafkaConfig,
    /// Whether the broker is the embedded one, which trims what is not read in time.
    pub(super) embedded: bool,
    epoch: Arc<str>,
    partitions: Arc<HashMap<String, i32>>,
}

impl Connection {
    /// Reaches the configured brokers. Blocking.
    ///
    /// With `kafka.brokers = "embedded"` it is the broker that `squall run` has started for this data folder.
    ///
    /// # Errors
    /// [`BrokerError::Unreachable`] or [`BrokerError::NotRunning`] after at most 10 s.
    pub fn open(config: &Config) -> Result<Self, BrokerError> {
        let kafka = config.kafka.clone();
        if kafka.brokers == EMBEDDED {
            let (brokers, epoch) = EmbeddedBroker::find(&config.run.data_dir)?;
            return Self::reach(brokers, epoch, kafka, true).map_err(|error| match error {
                BrokerError::Unreachable { .. } => {
                    EmbeddedBroker::not_running(&config.run.data_dir)
                }
                other => other,
            });
        }
        Self::reach(kafka.brokers.clone(), kafka.epoch.clone(), kafka, false)
    }

    /// Reaches an embedded broker of this process. Blocking.
    pub fn to_embedded(broker: &EmbeddedBroker, config: &Config) -> Result<Self, BrokerError> {
        Self::reach(
            broker.address().to_owned(),
            broker.epoch().to_owned(),
            config.kafka.clone(),
            true,
        )
    }

    fn reach(
        brokers: String,
        epoch: String,
        kafka: KafkaConfig,
        embedded: bool,
    ) -> Result<Self, BrokerError> {
        let mut connection = Self {
            brokers,
            kafka,
            embedded,
            epoch: epoch.into(),
            partitions: Arc::new(HashMap::new()),
        };
        connection.refresh()?;
        Ok(connection)
    }

    /// Asks the cluster for its topics.
    fn refresh(&mut self) -> Result<(), BrokerError> {
        let client: BaseConsumer = self.settings().create().map_err(BrokerError::Settings)?;
        let metadata = client
            .fetch_metadata(None, FIRST_CONTACT)
            .map_err(|error| BrokerError::Unreachable {
                brokers: self.brokers.clone(),
                problem: error.to_string(),
            })?;
        let partitions = metadata
            .topics()
            .iter()
            .map(|t| (t.name().to_owned(), t.partitions().len() as i32));
        self.partitions = Arc::new(partitions.collect());
        Ok(())
    }

    /// Creates squall's own topics, and the source topics, where they are missing.
    ///
    /// # Errors
    /// [`BrokerError::Topic`] when the cluster refuses.
    pub async fn create_topics(&mut self, config: &Config) -> Result<(), BrokerError> {
        let sources = config
            .topics
            .iter()
            .map(|topic| (topic.name.as_str(), self.kafka.partitions));
        let missing: Vec<NewTopic<'_>> = topics::own(self.kafka.partitions)
            .into_iter()
            .chain(sources)
            .filter(|(name, _)| self.partitions(name) == 0)
            .map(|(name, count)| NewTopic::new(name, count, TopicReplication::Fixed(-1)))
            .collect();
        if missing.is_empty() {
            return Ok(());
        }
        let admin: AdminClient<DefaultClientContext> =
            self.settings().create().map_err(BrokerError::Settings)?;
        let options = AdminOptions::new().operation_timeout(Some(FIRST_CONTACT));
        let results = admin
            .create_topics(&missing, &options)
            .await
            .map_err(|error| BrokerError::Topic {
                topic: missing
                    .iter()
                    .map(|t| t.name)
                    .collect::<Vec<_>>()
                    .join(", "),
                problem: error.to_string(),
            })?;
        for result in results {
            if let Err((topic, code)) = result
                && code != RDKafkaErrorCode::TopicAlreadyExists
            {
                return Err(BrokerError::Topic {
                    topic,
                    problem: code.to_string(),
                });
            }
        }
        self.wait_for_topics(config).await
    }

    /// A topic just created shows up in the cluster's metadata a little later.
    async fn wait_for_topics(&mut self, config: &Config) -> Result<(), BrokerError> {
        for _ in 0..50 {
            self.refresh()?;
            let sources = config.topics.iter().map(|topic| topic.name.as_str());
            let own = topics::own(1);
            if own
                .iter()
                .map(|(name, _)| *name)
                .chain(sources)
                .all(|name| self.partitions(name) > 0)
            {
                return Ok(());
            }
            tokio::time::sleep(Duration::from_millis(200)).await;
        }
        Err(BrokerError::Topic {
            topic: "squall.*".into(),
            problem: "created, but never listed".into(),
        })
    }

    /// Partitions of a topic; 0 when it does not exist.
    pub fn partitions(&self, topic: &str) -> i32 {
        self.partitions.get(topic).copied().unwrap_or(0)
    }

    /// Name of the cluster's life.
    pub fn epoch(&self) -> &Arc<str> {
        &self.epoch
    }

    /// Group of a role.
    pub(super) fn group(&self, role: &str) -> String {
        format!("{}-{role}", self.kafka.group)
    }

    /// Settings of every client; the user's own come last and win.
    pub(super) fn settings(&self) -> ClientConfig {
        let mut settings = ClientConfig::new();
        settings
            .set("bootstrap.servers", &self.brokers)
            .set("client.id", "squall")
            .set("topic.metadata.refresh.interval.ms", "60000")
            .set("allow.auto.create.topics", "false");
        for (key, value) in &self.kafka.client {
            settings.set(key, value.expose());
        }
        settings
    }
}
