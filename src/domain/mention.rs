//! Mentions: one entity in one post.

use super::{EntityId, Origin, Sentiment, Timestamp};
use serde::{Deserialize, Serialize};

/// One entity in one post, with its own sentiment.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Mention {
    /// Position among the post's mentions, from 0.
    pub ordinal: u32,
    /// The entity named.
    pub entity: EntityId,
    /// Sentiment of what the post says of this entity; none when the post could not be scored.
    pub sentiment: Option<Sentiment>,
    /// How much the post is about the entity, 0 to 1.
    pub relevance: f32,
}

/// Which story a mention belongs to: written by DETECT into `mention_clusters`.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct MentionCluster {
    /// Post of the mention.
    pub origin: Origin,
    /// Ordinal of the mention in the post.
    pub ordinal: u32,
    /// Entity of the mention.
    pub entity: EntityId,
    /// Event time of the mention.
    pub event_time: Timestamp,
    /// Id of the story within the entity: the origin of its first post.
    pub cluster: String,
    /// 1 when nothing like it was seen in the look-back, 0 for a copy.
    pub novelty: f32,
}
