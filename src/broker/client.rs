//! Settings common to every Kafka client, and the first contact with the cluster.

use super::{BrokerError, EmbeddedBroker, topics};
use crate::config::{Config, EMBEDDED, KafkaConfig};
use rdkafka::ClientConfig;
use rdkafka::admin::{AdminClient, AdminOptions, NewTopic, TopicReplication};
use rdkafka::client::DefaultClientContext;
use rdkafka::consumer::{BaseConsumer, Consumer as _};
use rdkafka::topic_partition_list::{Offset, TopicPartitionList, TopicPartitionListElem};
use rdkafka::types::RDKafkaErrorCode;
use std::collections::HashMap;
use std::sync::Arc;
use std::time::Duration;

/// A consumer that was silent for so long is taken for dead, unless `kafka.client` says otherwise.
pub(super) const SESSION_TIMEOUT_MS: &str = "10000";

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
    /// The cluster's own id.
    cluster: Arc<str>,
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
            cluster: "".into(),
            partitions: Arc::new(HashMap::new()),
        };
        connection.refresh()?;
        Ok(connection)
    }

    /// Asks the cluster for its topics.
    fn refresh(&mut self) -> Result<(), BrokerError> {
        let client: BaseConsumer = self
            .settings(&[])
            .create()
            .map_err(|error| BrokerError::settings(&error))?;
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
        // Kafka before 0.10 has none: then nothing is compared.
        let cluster = client.client().fetch_cluster_id(FIRST_CONTACT);
        self.cluster = cluster.unwrap_or_default().into();
        Ok(())
    }

    /// Offsets a role's group has committed for the partitions of these topics, each with its metadata. Blocking.
    ///
    /// # Errors
    /// [`BrokerError::Call`] when the broker does not tell within 10 s.
    pub fn committed_metadata(
        &self,
        role: &str,
        topics: &[&str],
    ) -> Result<Vec<(i64, String)>, BrokerError> {
        let group = self.group(role);
        let client: BaseConsumer = self
            .settings(&[("group.id", &group), ("enable.auto.commit", "false")])
            .create()
            .map_err(|error| BrokerError::settings(&error))?;
        let mut asked = TopicPartitionList::new();
        for topic in topics {
            for partition in 0..self.partitions(topic) {
                asked.add_partition(topic, partition);
            }
        }
        let answer = client
            .committed_offsets(asked, FIRST_CONTACT)
            .map_err(|source| BrokerError::Call {
                place: group,
                source,
            })?;
        let offset = |element: &TopicPartitionListElem<'_>| match element.offset() {
            Offset::Offset(offset) => Some((offset, element.metadata().to_owned())),
            _ => None,
        };
        // The list must be gone before the client is: librdkafka would wait for it.
        let committed = answer.elements().iter().filter_map(offset).collect();
        drop(answer);
        Ok(committed)
    }

    /// Id of the Kafka cluster; empty where it has none.
    pub fn cluster(&self) -> &str {
        &self.cluster
    }

    /// Whether the broker is the one inside a squall process.
    pub fn is_embedded(&self) -> bool {
        self.embedded
    }

    /// Creates squall's own topics where they are missing. A source topic that is missing is an error: a
    /// mistyped name must not become a silent monitor.
    ///
    /// # Errors
    /// [`BrokerError::NoTopic`], or [`BrokerError::Topic`] when the cluster refuses to create one.
    pub async fn create_topics(&mut self, config: &Config) -> Result<(), BrokerError> {
        if let Some(missing) = config
            .topics
            .iter()
            .find(|topic| self.partitions(&topic.name) == 0)
        {
            return Err(BrokerError::NoTopic(missing.name.clone()));
        }
        let own = topics::own(self.kafka.partitions);
        let missing: Vec<NewTopic<'_>> = own
            .iter()
            .filter(|(name, _)| self.partitions(name) == 0)
            .map(|(name, count)| {
                let count = match *name {
                    // The state of each partition of mentions that were there before.
                    topics::DETECT_STATE => self.partitions(topics::MENTIONS).max(*count),
                    _ => *count,
                };
                let topic = NewTopic::new(name, count, TopicReplication::Fixed(-1));
                let settings = topics::settings(name).iter();
                settings.fold(topic, |topic, (key, value)| topic.set(key, value))
            })
            .collect();
        if missing.is_empty() {
            return Ok(());
        }
        let names = missing
            .iter()
            .map(|topic| topic.name)
            .collect::<Vec<_>>()
            .join(", ");
        let admin: AdminClient<DefaultClientContext> = self
            .settings(&[])
            .create()
            .map_err(|error| BrokerError::settings(&error))?;
        let options = AdminOptions::new().operation_timeout(Some(FIRST_CONTACT));
        let results = admin
            .create_topics(&missing, &options)
            .await
            .map_err(|error| BrokerError::Topic {
                topic: names.clone(),
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
        tracing::info!(topics = names, "created");
        self.wait_for_topics().await
    }

    /// A topic just created shows up in the cluster's metadata a little later.
    async fn wait_for_topics(&mut self) -> Result<(), BrokerError> {
        for _ in 0..50 {
            let mut asking = self.clone();
            let asked = tokio::task::spawn_blocking(move || asking.refresh().map(|()| asking));
            *self = asked
                .await
                .map_err(|error| BrokerError::Embedded(error.to_string()))??;
            if topics::own(1)
                .iter()
                .all(|(name, _)| self.partitions(name) > 0)
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

    /// After so long without a word a consumer is taken for dead (`session.timeout.ms`).
    pub fn session_timeout(&self) -> Duration {
        let settings = self.settings(&[("session.timeout.ms", SESSION_TIMEOUT_MS)]);
        let millis = settings
            .get("session.timeout.ms")
            .and_then(|ms| ms.parse().ok());
        // What is no number was refused by the consumer's client.
        Duration::from_millis(millis.unwrap_or_default())
    }

    /// Settings of a client: squall's defaults, over them the user's own. Those that correctness rests on the
    /// configuration does not let through.
    pub(super) fn settings(&self, defaults: &[(&str, &str)]) -> ClientConfig {
        let mut settings = ClientConfig::new();
        settings
            .set("client.id", "squall")
            .set("topic.metadata.refresh.interval.ms", "60000")
            .set("allow.auto.create.topics", "false")
            // OpenSSL is built in and knows no system folder: look for the system's certificates.
            .set("ssl.ca.location", "probe");
        for (key, value) in defaults {
            settings.set(*key, *value);
        }
        for (key, value) in &self.kafka.client {
            settings.set(key, value.expose());
        }
        settings.set("bootstrap.servers", &self.brokers);
        settings
    }
}
