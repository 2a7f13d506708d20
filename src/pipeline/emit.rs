//! What each result becomes on squall's own topics.

use crate::broker::{Acknowledged, BrokerError, Connection, Outgoing, Producer, topics};
use crate::domain::{
    AlertMessage, ControlAct, DeadLetter, Delivery, DetectionRecord, MentionCluster, MentionEvent,
    PostStatus, Progress, Retraction, ScoredPost,
};
use serde::Serialize;
use std::sync::Arc;

/// Longest title carried with a mention, in characters.
const TITLE: usize = 160;

/// Knows the partitions of squall's topics and turns results into records.
#[derive(Debug, Clone)]
pub struct Emitter {
    /// Name of the Kafka cluster's life.
    pub epoch: Arc<str>,
    scored: i32,
    mentions: i32,
    clusters: i32,
    dead: i32,
}

impl Emitter {
    /// For the topics of a cluster.
    pub fn new(connection: &Connection) -> Self {
        Self {
            epoch: connection.epoch().clone(),
            scored: connection.partitions(topics::SCORED),
            mentions: connection.partitions(topics::MENTIONS),
            clusters: connection.partitions(topics::CLUSTERS),
            dead: connection.partitions(topics::DEAD),
        }
    }

    /// A scored post: itself, what it takes back, and its mentions. A live post takes nothing back, whatever it
    /// names; a retracted one brings no evidence.
    pub fn scored(&self, post: &ScoredPost) -> Vec<Outgoing> {
        let source = &post.origin.source;
        let mut records = vec![record(
            topics::SCORED,
            topics::of_source(source, self.scored),
            source.to_string(),
            post,
        )];
        for event in detected(post) {
            match &event {
                DetectionRecord::Mention(mention) => {
                    let key = mention.entity.to_string();
                    let partition = topics::of_entity(&key, self.mentions);
                    records.push(record(topics::MENTIONS, partition, key, &event));
                }
                _ => records.extend(
                    (0..self.mentions).map(|p| record(topics::MENTIONS, p, String::new(), &event)),
                ),
            }
        }
        records
    }

    /// Progress, to every partition of the mentions.
    pub fn progress(&self, progress: &[Progress]) -> Vec<Outgoing> {
        let to_all = |one: &Progress| {
            let one = DetectionRecord::Progress(one.clone());
            (0..self.mentions)
                .map(move |p| record(topics::MENTIONS, p, String::new(), &one))
                .collect::<Vec<_>>()
        };
        progress.iter().flat_map(to_all).collect()
    }

    /// A dead letter.
    pub fn dead(&self, letter: &DeadLetter) -> Outgoing {
        let source = &letter.origin.source;
        record(
            topics::DEAD,
            topics::of_source(source, self.dead),
            source.to_string(),
            letter,
        )
    }

    /// The story of a mention.
    pub fn cluster(&self, cluster: &MentionCluster) -> Outgoing {
        let partition = topics::of_entity(cluster.entity.as_str(), self.clusters);
        record(
            topics::CLUSTERS,
            partition,
            cluster.entity.to_string(),
            cluster,
        )
    }

    /// An alert message.
    pub fn alert(&self, message: &AlertMessage) -> Outgoing {
        record(topics::ALERTS, 0, message.entity.to_string(), message)
    }

    /// How a delivery ended.
    pub fn delivery(&self, delivery: &Delivery) -> Outgoing {
        record(topics::DELIVERIES, 0, delivery.endpoint.clone(), delivery)
    }

    /// What someone did.
    pub fn control(&self, act: &ControlAct) -> Outgoing {
        record(topics::CONTROL, 0, String::new(), act)
    }
}

/// What DETECT is told of a scored post: what it takes back, then its mentions.
pub fn detected(post: &ScoredPost) -> Vec<DetectionRecord> {
    let mut events = Vec::new();
    if post.status != PostStatus::Live
        && let Some(earlier) = &post.replaces
    {
        events.push(DetectionRecord::Retraction(Retraction {
            origin: post.origin.clone(),
            source: post.source.clone(),
            post_id: earlier.clone(),
            event_time: post.event_time,
        }));
    }
    if post.status != PostStatus::Retracted {
        let mentions = post.mentions.iter();
        events.extend(mentions.map(|one| DetectionRecord::Mention(mention_event(post, one))));
    }
    events
}

/// Hands records to the producer, in order.
///
/// # Errors
/// What the producer says.
pub async fn send_all(
    producer: &Producer,
    records: Vec<Outgoing>,
) -> Result<Vec<Acknowledged>, BrokerError> {
    let mut acknowledged = Vec::with_capacity(records.len());
    for record in records {
        acknowledged.push(producer.send(record).await?);
    }
    Ok(acknowledged)
}

/// Hands records to the producer and waits until the broker has each; returns their partitions and offsets.
///
/// # Errors
/// What the producer says.
pub async fn send_and_wait(
    producer: &Producer,
    records: Vec<Outgoing>,
) -> Result<Vec<(i32, i64)>, BrokerError> {
    futures::future::try_join_all(send_all(producer, records).await?).await
}

fn mention_event(post: &ScoredPost, mention: &crate::domain::Mention) -> MentionEvent {
    let title = if post.title.is_empty() {
        &post.text
    } else {
        &post.title
    };
    MentionEvent {
        origin: post.origin.clone(),
        ordinal: mention.ordinal,
        entity: mention.entity.clone(),
        post_id: post.id.clone(),
        source: post.source.clone(),
        channel: post.channel.clone(),
        lang: post.lang.clone(),
        author: post.author.as_ref().map(|author| author.id.clone()),
        event_time: post.event_time,
        received_at: post.received_at,
        sentiment: mention.sentiment,
        relevance: mention.relevance,
        signature: post.signature,
        title: title.chars().take(TITLE).collect(),
        url: post.url.clone(),
        backfill: post.backfill,
        model: post.model.clone(),
    }
}

fn record(topic: &str, partition: i32, key: String, value: &impl Serialize) -> Outgoing {
    // These types have string keys and finite numbers only: writing them into memory cannot fail.
    let payload = serde_json::to_vec(value).unwrap_or_default();
    Outgoing {
        topic: topic.into(),
        partition: Some(partition),
        key: key.into_bytes(),
        payload,
        headers: Vec::new(),
        timestamp: None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::store::contract::post;

    impl Emitter {
        /// For three partitions of mentions, and one of everything else.
        pub(crate) fn for_tests() -> Self {
            Self {
                epoch: "e".into(),
                scored: 1,
                mentions: 3,
                clusters: 1,
                dead: 1,
            }
        }
    }

    #[test]
    fn only_a_correction_or_retraction_takes_the_earlier_post_back() {
        let counts = |status| {
            let post = ScoredPost {
                status,
                replaces: Some("earlier".into()),
                ..post(1)
            };
            let kinds = Emitter::for_tests().scored(&post);
            let count = |kind: &str| {
                let is =
                    |record: &&Outgoing| String::from_utf8_lossy(&record.payload).contains(kind);
                kinds.iter().filter(is).count()
            };
            (
                count(r#""kind":"retraction""#),
                count(r#""kind":"mention""#),
            )
        };
        assert_eq!(counts(PostStatus::Live), (0, 2));
        assert_eq!(counts(PostStatus::Corrected), (3, 2));
        assert_eq!(counts(PostStatus::Retracted), (3, 0));
    }
}
