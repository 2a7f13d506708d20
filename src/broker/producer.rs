//! The producer: idempotent, in order within a partition, and it never gives up. What it cannot send
//! stays in Kafka on the reading side, because the source offset is committed only after the
//! acknowledgement.

use super::room::Room;
use super::{BrokerError, Connection};
use crate::domain::Timestamp;
use futures::future::BoxFuture;
use rdkafka::error::{KafkaError, RDKafkaErrorCode};
use rdkafka::message::{Header, OwnedHeaders};
use rdkafka::producer::future_producer::DeliveryFuture;
use rdkafka::producer::{FutureProducer, FutureRecord};
use std::sync::Arc;
use std::time::Duration;

/// Pause while the client's own queue is full.
const QUEUE_FULL: Duration = Duration::from_millis(5);

/// One record to be written.
#[derive(Debug, Clone, PartialEq)]
pub struct Outgoing {
    /// Topic.
    pub topic: Arc<str>,
    /// Partition; none lets the client spread records, by key where there is one.
    pub partition: Option<i32>,
    /// Key; may be empty.
    pub key: Vec<u8>,
    /// Bytes; empty for a record without any, which in a compacted topic removes its key.
    pub payload: Vec<u8>,
    /// Headers.
    pub headers: Vec<(String, Vec<u8>)>,
    /// Record timestamp; none takes the time of sending.
    pub timestamp: Option<Timestamp>,
}

/// Resolves when the broker has the record: its partition and offset.
pub type Acknowledged = BoxFuture<'static, Result<(i32, i64), BrokerError>>;

/// Writes records. Cheap to clone.
#[derive(Clone)]
pub struct Producer {
    client: FutureProducer,
    room: Option<Arc<Room>>,
    partitions: Connection,
}

impl Producer {
    /// Makes a producer that never gives up a record.
    ///
    /// # Errors
    /// [`BrokerError::Settings`] when the client refuses its settings.
    pub fn new(connection: &Connection) -> Result<Self, BrokerError> {
        Self::with_timeout(connection, Duration::ZERO)
    }

    /// Makes a producer that gives a record up after `timeout`, for callers who are told and can try again;
    /// zero never does.
    ///
    /// # Errors
    /// [`BrokerError::Settings`] when the client refuses its settings.
    pub fn with_timeout(connection: &Connection, timeout: Duration) -> Result<Self, BrokerError> {
        let client = connection
            .settings(&[
                ("enable.idempotence", "true"),
                ("message.timeout.ms", &timeout.as_millis().to_string()),
                ("linger.ms", "2"),
                ("compression.type", "lz4"),
                ("queue.buffering.max.kbytes", "32768"),
            ])
            .create()
            .map_err(|error| BrokerError::settings(&error))?;
        let room = if connection.embedded {
            Some(Arc::new(Room::new(connection)?))
        } else {
            None
        };
        Ok(Self {
            client,
            room,
            partitions: connection.clone(),
        })
    }

    /// Makes a producer for topics that no role reads, with a timeout as in [`Producer::with_timeout`]: nobody would make
    /// room in the embedded broker, which drops its oldest records there.
    ///
    /// # Errors
    /// [`BrokerError::Settings`] when the client refuses its settings.
    pub fn to_outside(connection: &Connection, timeout: Duration) -> Result<Self, BrokerError> {
        let producer = Self::with_timeout(connection, timeout)?;
        Ok(Self {
            room: None,
            ..producer
        })
    }

    /// Hands a record to the client, waiting for room where there is none. Records of one partition arrive in
    /// the order of these calls; the future that comes back resolves when the broker has it.
    ///
    /// # Errors
    /// [`BrokerError`] when the topic does not exist or the client has failed for good.
    pub async fn send(&self, record: Outgoing) -> Result<Acknowledged, BrokerError> {
        let Outgoing {
            topic,
            partition,
            key,
            payload,
            headers,
            timestamp,
        } = record;
        let of_headers: usize = headers.iter().map(|(k, v)| k.len() + v.len() + 10).sum();
        let bytes = payload.len() + key.len() + of_headers + 70;
        // The embedded broker needs room in a definite partition.
        let partition = match (&self.room, partition) {
            (Some(_), None) => Some(self.spread(&key, &topic)),
            (_, partition) => partition,
        };
        let room = self.room.clone().zip(partition);
        if let Some((room, partition)) = &room {
            room.take(&topic, *partition, bytes).await;
        }
        let outgoing = Outgoing {
            topic: topic.clone(),
            partition,
            key,
            payload,
            headers,
            timestamp,
        };
        let delivery = match self.enqueue(&outgoing).await {
            Ok(delivery) => delivery,
            Err(error) => {
                if let Some((room, partition)) = &room {
                    room.give_back(&topic, *partition, bytes);
                }
                return Err(error);
            }
        };
        Ok(Box::pin(async move {
            let source = match delivery.await {
                Ok(Ok(at)) => {
                    if let Some((room, partition)) = room {
                        room.acknowledged(&topic, partition, at.offset, bytes);
                    }
                    return Ok((at.partition, at.offset));
                }
                Ok(Err((source, _))) => source,
                Err(_) => KafkaError::Canceled,
            };
            if let Some((room, partition)) = room {
                room.give_back(&topic, partition, bytes);
            }
            Err(failed(&topic, source))
        }))
    }

    /// Hands a record to the client, waiting while its own queue is full.
    async fn enqueue(&self, record: &Outgoing) -> Result<DeliveryFuture, BrokerError> {
        loop {
            let mut outgoing = FutureRecord::<[u8], [u8]>::to(&record.topic);
            outgoing.payload = (!record.payload.is_empty()).then_some(&record.payload);
            outgoing.partition = record.partition;
            outgoing.timestamp = record.timestamp.map(Timestamp::millis);
            outgoing.key = (!record.key.is_empty()).then_some(record.key.as_slice());
            outgoing.headers = headers(&record.headers);
            match self.client.send_result(outgoing) {
                Ok(delivery) => return Ok(delivery),
                Err((KafkaError::MessageProduction(RDKafkaErrorCode::QueueFull), _)) => {
                    tokio::time::sleep(QUEUE_FULL).await;
                }
                Err((source, _)) => return Err(failed(&record.topic, source)),
            }
        }
    }

    fn spread(&self, key: &[u8], topic: &str) -> i32 {
        let count = self.partitions.partitions(topic).max(1);
        if key.is_empty() {
            rand::random_range(0..count)
        } else {
            super::topics::of_key(key, count)
        }
    }
}

impl std::fmt::Debug for Producer {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Producer")
            .field("embedded", &self.room.is_some())
            .finish_non_exhaustive()
    }
}

fn headers(headers: &[(String, Vec<u8>)]) -> Option<OwnedHeaders> {
    if headers.is_empty() {
        return None;
    }
    let start = OwnedHeaders::new_with_capacity(headers.len());
    let add = |all: OwnedHeaders, (key, value): &(String, Vec<u8>)| {
        all.insert(Header {
            key,
            value: Some(value),
        })
    };
    Some(headers.iter().fold(start, add))
}

fn failed(place: &str, source: KafkaError) -> BrokerError {
    let place = place.to_owned();
    match source.rdkafka_error_code() {
        Some(
            RDKafkaErrorCode::Fatal
            | RDKafkaErrorCode::PurgeQueue
            | RDKafkaErrorCode::PurgeInflight,
        ) => BrokerError::Fatal { place, source },
        _ => BrokerError::Call { place, source },
    }
}
