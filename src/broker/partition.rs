//! A reader of one partition from its beginning, outside any group: for state that is kept in a topic.

use super::{BrokerError, Connection};
use rdkafka::consumer::{BaseConsumer, Consumer as _};
use rdkafka::error::RDKafkaErrorCode;
use rdkafka::message::Message as _;
use rdkafka::topic_partition_list::{Offset, TopicPartitionList};
use std::time::{Duration, Instant};

/// How long the broker may be silent before reading counts as failed.
const PATIENCE: Duration = Duration::from_secs(20);
/// Longest single wait for a record.
const POLL: Duration = Duration::from_millis(100);

/// One record as it stands in the partition.
#[derive(Debug, Clone, Copy)]
pub struct Entry<'a> {
    /// Offset.
    pub offset: i64,
    /// Key; empty where there is none.
    pub key: &'a [u8],
    /// Bytes; empty for a record without any.
    pub payload: &'a [u8],
}

/// Reads one partition in order, each record once. All calls block.
pub struct PartitionReader {
    client: BaseConsumer,
    brokers: String,
    place: String,
    /// Offset behind the last record passed on.
    next: i64,
}

impl PartitionReader {
    /// Begins at the beginning of a partition. The role's group is named to the broker, as it may use that, but never
    /// joined.
    ///
    /// # Errors
    /// [`BrokerError`] when the client refuses its settings.
    pub fn open(
        connection: &Connection,
        role: &str,
        topic: &str,
        partition: i32,
    ) -> Result<Self, BrokerError> {
        Self::open_at(connection, role, topic, partition, None)
    }

    /// The same from an offset on, or from the beginning where what is there has gone.
    ///
    /// # Errors
    /// As [`PartitionReader::open`].
    pub fn open_at(
        connection: &Connection,
        role: &str,
        topic: &str,
        partition: i32,
        offset: Option<i64>,
    ) -> Result<Self, BrokerError> {
        let client: BaseConsumer = connection
            .settings(&[
                ("group.id", &connection.group(role)),
                ("enable.auto.commit", "false"),
                ("enable.auto.offset.store", "false"),
                ("auto.offset.reset", "earliest"),
                ("queued.max.messages.kbytes", "8192"),
                ("fetch.wait.max.ms", "100"),
                ("fetch.queue.backoff.ms", "5"),
            ])
            .create()
            .map_err(|error| BrokerError::settings(&error))?;
        let place = format!("{topic}:{partition}");
        let mut list = TopicPartitionList::new();
        let assigned = list
            .add_partition_offset(
                topic,
                partition,
                offset.map_or(Offset::Beginning, Offset::Offset),
            )
            .and_then(|()| client.assign(&list));
        // A list that outlives the client would keep it from ending.
        drop(list);
        assigned.map_err(|source| BrokerError::Call {
            place: place.clone(),
            source,
        })?;
        Ok(Self {
            client,
            brokers: connection.brokers.clone(),
            place,
            next: 0,
        })
    }

    /// Passes on the next record, if one comes within 100 ms.
    ///
    /// # Errors
    /// [`BrokerError`] when the broker refuses.
    pub fn poll(&mut self, take: impl FnOnce(Entry<'_>)) -> Result<(), BrokerError> {
        match self.client.poll(POLL) {
            Some(Ok(message)) => {
                self.next = message.offset() + 1;
                take(Entry {
                    offset: message.offset(),
                    key: message.key().unwrap_or_default(),
                    payload: message.payload().unwrap_or_default(),
                });
                Ok(())
            }
            Some(Err(source)) if is_final(source.rdkafka_error_code()) => {
                let place = self.place.clone();
                Err(BrokerError::Call { place, source })
            }
            // The client goes on by itself.
            Some(Err(_)) | None => Ok(()),
        }
    }

    /// Passes on every record that was not passed on before, up to the one at `last`, which the broker must have
    /// acknowledged: so the end is known, whatever the broker says of its watermarks.
    ///
    /// # Errors
    /// What `take` says, or [`BrokerError`] when the broker refuses or nothing comes for 20 s.
    pub fn read_through<E: From<BrokerError>>(
        &mut self,
        last: i64,
        mut take: impl FnMut(Entry<'_>) -> Result<(), E>,
    ) -> Result<(), E> {
        let mut heard = Instant::now();
        while self.next <= last {
            match self.client.poll(POLL) {
                Some(Ok(message)) => {
                    heard = Instant::now();
                    self.next = message.offset() + 1;
                    take(Entry {
                        offset: message.offset(),
                        key: message.key().unwrap_or_default(),
                        payload: message.payload().unwrap_or_default(),
                    })?;
                }
                Some(Err(source)) if is_final(source.rdkafka_error_code()) => {
                    let place = self.place.clone();
                    return Err(BrokerError::Call { place, source }.into());
                }
                // The client goes on by itself.
                Some(Err(error)) => {
                    tracing::debug!(place = self.place, %error, "reading state")
                }
                None => {}
            }
            if heard.elapsed() > PATIENCE {
                let problem = format!("{} was not read up to offset {last}", self.place);
                return Err(BrokerError::Unreachable {
                    brokers: self.brokers.clone(),
                    problem,
                }
                .into());
            }
        }
        Ok(())
    }
}

impl std::fmt::Debug for PartitionReader {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("PartitionReader")
            .field("place", &self.place)
            .field("next", &self.next)
            .finish_non_exhaustive()
    }
}

fn is_final(code: Option<RDKafkaErrorCode>) -> bool {
    use RDKafkaErrorCode as Code;
    matches!(
        code,
        Some(
            Code::UnknownTopicOrPartition
                | Code::UnknownPartition
                | Code::UnknownTopic
                | Code::TopicAuthorizationFailed
                | Code::ClusterAuthorizationFailed
                | Code::SaslAuthenticationFailed
                | Code::Authentication
                | Code::Fatal
        )
    )
}
