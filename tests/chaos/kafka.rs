//! The harness's own view of the broker: what was written, and what each group has committed.

use crate::broker::SOURCES;
use crate::setup::{GROUP, PARTITIONS};
use rdkafka::ClientConfig;
use rdkafka::consumer::{BaseConsumer, Consumer as _};
use rdkafka::error::KafkaResult;
use rdkafka::message::Message as _;
use rdkafka::topic_partition_list::{Offset, TopicPartitionList, TopicPartitionListElem};
use squall::broker::topics;
use std::collections::HashMap;
use std::fmt::{self, Write as _};
use std::path::Path;
use std::time::Duration;

const TIMEOUT: Duration = Duration::from_secs(10);

/// A record of one of squall's own topics.
pub struct Record {
    pub partition: i32,
    pub offset: i64,
    pub key: Vec<u8>,
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
            key: message.key().unwrap_or_default().to_vec(),
            payload: message.payload().map(<[u8]>::to_vec),
        });
        if left.get(&message.partition()) <= Some(&(message.offset() + 1)) {
            left.remove(&message.partition());
        }
    }
    records.sort_by_key(|record| (record.partition, record.offset));
    Ok((records, expired))
}

/// Writes everything that is in squall's topics into files of a folder, and what each group has committed. Blocking.
pub fn dump(broker: &str, folder: &Path) -> anyhow::Result<()> {
    for (topic, partitions) in topics::own(PARTITIONS) {
        let mut text = String::new();
        for record in read(broker, topic, partitions)?.0 {
            let (key, payload) = (record.key, record.payload.unwrap_or_default());
            let (key, payload) = (
                String::from_utf8_lossy(&key),
                String::from_utf8_lossy(&payload),
            );
            writeln!(
                text,
                "{}:{} {key} {payload}",
                record.partition, record.offset
            )?;
        }
        std::fs::write(folder.join(format!("{topic}.txt")), text)?;
    }
    let mut text = String::new();
    for (role, topics) in stages() {
        for line in committed(broker, role, &ends(broker, &topics)?)? {
            writeln!(text, "{line} {}", line.metadata)?;
        }
    }
    Ok(std::fs::write(folder.join("committed.txt"), text)?)
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

/// What a role's group has not committed of what is there. Blocking.
pub fn behind(broker: &str, role: &str, ends: &Ends) -> KafkaResult<Vec<Committed>> {
    let mut behind = committed(broker, role, ends)?;
    behind.retain(|one| one.offset < one.end);
    Ok(behind)
}

/// What a role's group has committed of a partition.
#[derive(Debug, Clone)]
pub struct Committed {
    role: String,
    topic: String,
    partition: i32,
    /// 0 when there is nothing.
    offset: i64,
    end: i64,
    metadata: String,
}

impl fmt::Display for Committed {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self {
            role,
            topic,
            partition,
            offset,
            end,
            metadata,
        } = self;
        write!(
            f,
            "{role} {topic}:{partition} at {offset} of {end} {metadata:?}"
        )
    }
}

fn committed(broker: &str, role: &str, ends: &Ends) -> KafkaResult<Vec<Committed>> {
    let client = client(broker, &format!("{GROUP}-{role}"))?;
    let mut asked = TopicPartitionList::new();
    for (topic, partition) in ends.keys() {
        asked.add_partition(topic, *partition);
    }
    let answer = client.committed_offsets(asked, TIMEOUT)?;
    let committed = |element: &TopicPartitionListElem<'_>| {
        let key = (element.topic().to_owned(), element.partition());
        Committed {
            role: role.to_owned(),
            offset: match element.offset() {
                Offset::Offset(offset) => offset,
                _ => 0,
            },
            end: ends.get(&key).copied().unwrap_or(0),
            metadata: element.metadata().to_owned(),
            topic: key.0,
            partition: key.1,
        }
    };
    Ok(answer.elements().iter().map(committed).collect())
}
