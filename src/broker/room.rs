//! Room in the embedded broker: it drops the oldest records of a partition at about 5 MB or 100,000
//! records, read or not. So whoever writes to it first waits until the readers have committed enough.
//!
//! Each writer keeps at most [`BYTES`] and [`RECORDS`] per partition that its readers have not committed;
//! three writers of one partition (a replay, the HTTP API, a role) fit.

use super::{BrokerError, Connection, topics};
use crate::lock::lock;
use rdkafka::TopicPartitionList;
use rdkafka::consumer::{BaseConsumer, Consumer as _};
use rdkafka::topic_partition_list::Offset;
use std::collections::{HashMap, VecDeque};
use std::sync::{Arc, Mutex};
use std::time::Duration;

const BYTES: usize = 1_300_000;
const RECORDS: usize = 20_000;
/// How often the readers' commits are asked for while there is no room.
const ASK_AGAIN: Duration = Duration::from_millis(10);
const ASK_TIMEOUT: Duration = Duration::from_secs(5);

type Key = (Arc<str>, i32);

/// What one producer has written and its readers have not yet committed.
pub(super) struct Room {
    readers: HashMap<&'static str, Arc<BaseConsumer>>,
    written: Mutex<HashMap<Key, Written>>,
}

#[derive(Default)]
struct Written {
    /// Records and bytes in all: under way, and acknowledged but not committed by every reader.
    records: usize,
    bytes: usize,
    /// Acknowledged records by offset.
    acknowledged: VecDeque<(i64, usize)>,
}

impl Written {
    fn has_room(&self, bytes: usize) -> bool {
        self.records == 0 || (self.records < RECORDS && self.bytes + bytes <= BYTES)
    }

    fn forget_below(&mut self, committed: i64) {
        while self
            .acknowledged
            .front()
            .is_some_and(|(offset, _)| *offset < committed)
        {
            let (_, bytes) = self.acknowledged.pop_front().unwrap_or_default();
            self.records -= 1;
            self.bytes -= bytes;
        }
    }
}

impl Room {
    pub(super) fn new(connection: &Connection) -> Result<Self, BrokerError> {
        let roles = ["score", "store", "detect", "notify"];
        let readers = roles.into_iter().map(|role| {
            let group = connection.group(role);
            let client: BaseConsumer = connection
                .settings(&[("group.id", &group), ("enable.auto.commit", "false")])
                .create()
                .map_err(|error| BrokerError::settings(&error))?;
            Ok((role, Arc::new(client)))
        });
        Ok(Self {
            readers: readers.collect::<Result<_, _>>()?,
            written: Mutex::default(),
        })
    }

    /// Waits until `bytes` more fit, and counts them.
    pub(super) async fn take(&self, topic: &Arc<str>, partition: i32, bytes: usize) {
        let key = (topic.clone(), partition);
        loop {
            {
                let mut written = lock(&self.written);
                let lane = written.entry(key.clone()).or_default();
                if lane.has_room(bytes) {
                    lane.records += 1;
                    lane.bytes += bytes;
                    return;
                }
            }
            let committed = match self.committed(topic, partition).await {
                Ok(committed) => committed,
                // A hiccup of the broker in this process: there is no room until it answers.
                Err(error) => {
                    tracing::warn!(%error, "the embedded broker does not answer: asking again");
                    0
                }
            };
            let mut made_room = false;
            {
                let mut written = lock(&self.written);
                if let Some(lane) = written.get_mut(&key) {
                    lane.forget_below(committed);
                    made_room = lane.has_room(bytes);
                }
            }
            if !made_room {
                tokio::time::sleep(ASK_AGAIN).await;
            }
        }
    }

    /// Gives counted bytes back that the broker did not take.
    pub(super) fn give_back(&self, topic: &Arc<str>, partition: i32, bytes: usize) {
        let mut written = lock(&self.written);
        if let Some(lane) = written.get_mut(&(topic.clone(), partition)) {
            lane.records = lane.records.saturating_sub(1);
            lane.bytes = lane.bytes.saturating_sub(bytes);
        }
    }

    /// Notes the offset under which counted bytes were acknowledged.
    pub(super) fn acknowledged(&self, topic: &Arc<str>, partition: i32, offset: i64, bytes: usize) {
        let mut written = lock(&self.written);
        let lane = written.entry((topic.clone(), partition)).or_default();
        lane.acknowledged.push_back((offset, bytes));
    }

    /// Lowest offset committed by every group that reads the topic.
    async fn committed(&self, topic: &Arc<str>, partition: i32) -> Result<i64, BrokerError> {
        let groups: Vec<Arc<BaseConsumer>> = topics::readers(topic)
            .iter()
            .filter_map(|role| self.readers.get(role).cloned())
            .collect();
        let topic = topic.clone();
        let asked = tokio::task::spawn_blocking(move || {
            let mut lowest = i64::MAX;
            for group in groups {
                let mut list = TopicPartitionList::new();
                list.add_partition(&topic, partition);
                let answer = group
                    .committed_offsets(list, ASK_TIMEOUT)
                    .map_err(|source| BrokerError::Call {
                        place: format!("{topic}:{partition}"),
                        source,
                    })?;
                let offset = answer.elements().first().map(|element| element.offset());
                lowest = lowest.min(match offset {
                    Some(Offset::Offset(offset)) => offset,
                    _ => 0,
                });
            }
            Ok(lowest)
        });
        asked.await.unwrap_or(Ok(0))
    }
}
