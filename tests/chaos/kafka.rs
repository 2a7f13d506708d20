//! The harness's own view of the broker: what was written, and what each group has committed.

use crate::broker::SOURCES;
use crate::setup::GROUP;
use rdkafka::ClientConfig;
use rdkafka::consumer::{BaseConsumer, Consumer as _};
use rdkafka::error::KafkaResult;
use rdkafka::message::Message as _;
use rdkafka::topic_partition_list::{Offset, TopicPartitionList};
use squall::broker::topics;
use std::collections::HashMap;
use std::time::Duration;

const TIMEOUT: Duration = Duration::from_secs(10);

/// A record of one of squall's own topics.
pub struct Record {
    pub partition: i32,
    pub offset: i64,
    /// None for a key that was removed.
    pub payload: Option<Vec<u8>>,
}

fn client(broker: &str, group: &str) -> KafkaResult<BaseConsumer> {
    ClientConfig::new()
        .set("bootstrap.servers", broker)
        .set("group.id", group)
        .set("enable.auto.commit", "false")
        .set("enable.partition.eof", "true")
        .set("fetch.wait.max.ms", "20")
        .create()
}

/// Everything in a topic, by partition in order, and whether records at its beginning have expired. Blocking.
pub fn read(broker: &str, topic: &str, partitions: i32) -> KafkaResult<(Vec<Record>, bool)> {
    let client = client(broker, "chaos-reader")?;
    let mut list = TopicPartitionList::new();
    let mut left = HashMap::new();
    let mut expired = false;
    for partition in 0..partitions {
        let (low, high) = client.fetch_watermarks(topic, partition, TIMEOUT)?;
        expired |= low > 0;
        list.add_partition_offset(topic, partition, Offset::Beginning)?;
        if high > low {
            left.insert(partition, high);
        }
    }
    client.assign(&list)?;
    let mut records = Vec::new();
    while !left.is_empty() {
        let Some(Ok(message)) = client.poll(Duration::from_secs(1)) else {
            continue;
        };
        records.push(Record {
            partition: message.partition(),
            offset: message.offset(),
            payload: message.payload().map(<[u8]>::to_vec),
        });
        if left.get(&message.partition()) <= Some(&(message.offset() + 1)) {
            left.remove(&message.partition());
        }
    }
    records.sort_by_key(|record| (record.partition, record.offset));
    Ok((records, expired))
}

/// A role and the topics it must have worked through, in the order of the data.
pub fn stages() -> Vec<(&'static str, Vec<&'static str>)> {
    vec![
        ("score", SOURCES.to_vec()),
        ("detect", vec![topics::MENTIONS]),
        ("notify", vec![topics::ALERTS]),
        ("store", topics::STORED.to_vec()),
    ]
}

/// What is behind: for each partition of the topics its end, where that is above 0.
pub type Ends = HashMap<(String, i32), i64>;

/// Ends of topics. Blocking.
pub fn ends(broker: &str, topics: &[&str]) -> KafkaResult<Ends> {
    let client = client(broker, "chaos-reader")?;
    let metadata = client.fetch_metadata(None, TIMEOUT)?;
    let mut ends = Ends::new();
    for topic in metadata
        .topics()
        .iter()
        .filter(|topic| topics.contains(&topic.name()))
    {
        for partition in 0..topic.partitions().len() as i32 {
            let (_, high) = client.fetch_watermarks(topic.name(), partition, TIMEOUT)?;
            if high > 0 {
                ends.insert((topic.name().to_owned(), partition), high);
            }
        }
    }
    Ok(ends)
}

/// What a role's group has not committed of what is there: partition, committed, end. Blocking.
pub fn behind(broker: &str, role: &str, ends: &Ends) -> KafkaResult<Vec<String>> {
    let client = client(broker, &format!("{GROUP}-{role}"))?;
    let mut asked = TopicPartitionList::new();
    for (topic, partition) in ends.keys() {
        asked.add_partition(topic, *partition);
    }
    let answer = client.committed_offsets(asked, TIMEOUT)?;
    let mut behind = Vec::new();
    for element in answer.elements() {
        let key = (element.topic().to_owned(), element.partition());
        let committed = match element.offset() {
            Offset::Offset(offset) => offset,
            _ => 0,
        };
        let end = ends.get(&key).copied().unwrap_or(0);
        if committed < end {
            behind.push(format!(
                "{role} {}:{} at {committed} of {end}",
                key.0, key.1
            ));
        }
    }
    Ok(behind)
}
