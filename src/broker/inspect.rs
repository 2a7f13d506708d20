//! What `squall doctor` wants to know of a cluster. Nothing is changed, no group is joined.

use super::{BrokerError, Connection, topics};
use rdkafka::TopicPartitionList;
use rdkafka::admin::{AdminClient, AdminOptions, ConfigResource, ResourceSpecifier};
use rdkafka::client::DefaultClientContext;
use rdkafka::consumer::{BaseConsumer, Consumer as _};
use rdkafka::topic_partition_list::Offset;
use std::collections::BTreeMap;
use std::time::Duration;

/// How long one question may take.
const ASK: Duration = Duration::from_secs(10);

/// Settings by name, or why they could not be asked for.
pub type Settings = Result<BTreeMap<String, String>, String>;

/// A cluster as it stands.
#[derive(Debug, Clone)]
pub struct ClusterFacts {
    /// Brokers that are there.
    pub brokers: usize,
    /// The source topics and squall's own, `__consumer_offsets` too, as far as they exist.
    pub topics: Vec<TopicFacts>,
    /// Settings of one broker.
    pub settings: Settings,
}

/// A topic as it stands.
#[derive(Debug, Clone)]
pub struct TopicFacts {
    /// Its name.
    pub name: String,
    /// Its partitions.
    pub partitions: i32,
    /// Copies of the partition that has the fewest.
    pub replicas: usize,
    /// Copies up to date of the partition that has the fewest.
    pub in_sync: usize,
    /// Its settings.
    pub settings: Settings,
}

/// How far the group of a role is in a partition.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct GroupFacts {
    /// The role.
    pub role: &'static str,
    /// Topic.
    pub topic: String,
    /// Partition.
    pub partition: i32,
    /// Next offset the group will read; none before its first commit.
    pub committed: Option<i64>,
    /// First offset that is there.
    pub low: i64,
    /// Offset behind the last one.
    pub high: i64,
}

impl Connection {
    /// Brokers, topics and their settings.
    ///
    /// # Errors
    /// [`BrokerError::Unreachable`].
    pub async fn facts(&self) -> Result<ClusterFacts, BrokerError> {
        let asking = self.clone();
        let (ids, mut topics) = tokio::task::spawn_blocking(move || asking.metadata())
            .await
            .map_err(|error| BrokerError::Embedded(error.to_string()))??;
        let names: Vec<&str> = topics.iter().map(|topic| topic.name.as_str()).collect();
        let of_topics = self.settings_of_topics(&names).await;
        for topic in &mut topics {
            topic.settings = match &of_topics {
                Ok(all) => all
                    .get(&topic.name)
                    .cloned()
                    .unwrap_or_else(|| Err("the broker told nothing of it".into())),
                Err(problem) => Err(problem.clone()),
            };
        }
        let settings = match ids.first() {
            Some(id) => self.settings_of_broker(*id).await,
            None => Err("the cluster names no broker".into()),
        };
        Ok(ClusterFacts {
            brokers: ids.len(),
            topics,
            settings,
        })
    }

    /// How far each role's group is in `sources` and squall's own topics. Blocking.
    ///
    /// # Errors
    /// [`BrokerError::Call`] with the group or the partition.
    pub fn groups(&self, sources: &[&str]) -> Result<Vec<GroupFacts>, BrokerError> {
        let own = topics::own(1).map(|(name, _)| name);
        let of_role = |role: &'static str| {
            let read = sources.iter().chain(&own);
            let read = read.filter(move |topic| topics::readers(topic).contains(&role));
            (role, read.copied().collect::<Vec<_>>())
        };
        let mut facts = Vec::new();
        for (role, topics) in ["score", "store", "detect", "notify"].map(of_role) {
            facts.extend(self.group_of(role, &topics)?);
        }
        Ok(facts)
    }

    fn group_of(
        &self,
        role: &'static str,
        topics: &[&str],
    ) -> Result<Vec<GroupFacts>, BrokerError> {
        let group = self.group(role);
        let client: BaseConsumer = self
            .settings(&[("group.id", &group), ("enable.auto.commit", "false")])
            .create()
            .map_err(|error| BrokerError::settings(&error))?;
        let mut list = TopicPartitionList::new();
        for topic in topics {
            for partition in 0..self.partitions(topic) {
                list.add_partition(topic, partition);
            }
        }
        if list.count() == 0 {
            return Ok(Vec::new());
        }
        let call = |place: String| move |source| BrokerError::Call { place, source };
        let answer = client
            .committed_offsets(list, ASK)
            .map_err(call(format!("group {group}")))?;
        let mut facts = Vec::new();
        for one in answer.elements() {
            let (topic, partition) = (one.topic(), one.partition());
            let (low, high) = client
                .fetch_watermarks(topic, partition, ASK)
                .map_err(call(format!("{topic}:{partition}")))?;
            let committed = match one.offset() {
                Offset::Offset(offset) => Some(offset),
                _ => None,
            };
            facts.push(GroupFacts {
                role,
                topic: topic.to_owned(),
                partition,
                committed,
                low,
                high,
            });
        }
        // A list that outlives the client hangs.
        drop(answer);
        Ok(facts)
    }

    /// Ids of the brokers, and the topics, without their settings.
    fn metadata(&self) -> Result<(Vec<i32>, Vec<TopicFacts>), BrokerError> {
        let client: BaseConsumer = self
            .settings(&[])
            .create()
            .map_err(|error| BrokerError::settings(&error))?;
        let metadata =
            client
                .fetch_metadata(None, ASK)
                .map_err(|error| BrokerError::Unreachable {
                    brokers: self.brokers.clone(),
                    problem: error.to_string(),
                })?;
        let ids = metadata.brokers().iter().map(|broker| broker.id());
        let topics = metadata.topics().iter().map(|topic| {
            let partitions = topic.partitions();
            let fewest = |count: &dyn Fn(usize) -> usize| (0..partitions.len()).map(count).min();
            TopicFacts {
                name: topic.name().to_owned(),
                partitions: partitions.len() as i32,
                replicas: fewest(&|n| partitions[n].replicas().len()).unwrap_or(0),
                in_sync: fewest(&|n| partitions[n].isr().len()).unwrap_or(0),
                settings: Err(String::new()),
            }
        });
        Ok((ids.collect(), topics.collect()))
    }

    async fn settings_of_topics(
        &self,
        topics: &[&str],
    ) -> Result<BTreeMap<String, Settings>, String> {
        let asked: Vec<_> = topics
            .iter()
            .map(|name| ResourceSpecifier::Topic(name))
            .collect();
        // The answers come in the order of the questions.
        let answers = self.describe(&asked).await?;
        let named = topics.iter().map(|name| (*name).to_owned()).zip(answers);
        Ok(named.collect())
    }

    async fn settings_of_broker(&self, id: i32) -> Settings {
        let answers = self.describe(&[ResourceSpecifier::Broker(id)]).await?;
        let first = answers.into_iter().next();
        first.unwrap_or_else(|| Err("the broker told nothing of itself".into()))
    }

    async fn describe(&self, asked: &[ResourceSpecifier<'_>]) -> Result<Vec<Settings>, String> {
        if self.embedded {
            return Err("the embedded broker has no settings to ask for".into());
        }
        if asked.is_empty() {
            return Ok(Vec::new());
        }
        let admin: AdminClient<DefaultClientContext> = self
            .settings(&[])
            .create()
            .map_err(|error| BrokerError::settings(&error).to_string())?;
        let options = AdminOptions::new().request_timeout(Some(ASK));
        let answers = admin
            .describe_configs(asked, &options)
            .await
            .map_err(|error| error.to_string())?;
        let told = |answer: ConfigResource| {
            let entries = answer.entries.into_iter();
            entries
                .filter_map(|entry| Some((entry.name, entry.value?)))
                .collect()
        };
        let answers = answers.into_iter();
        Ok(answers
            .map(|answer| answer.map(told).map_err(|code| code.to_string()))
            .collect())
    }
}
