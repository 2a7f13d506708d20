//! The records of squall's own topics, one type a topic (see `broker::topics`). JSON on the wire.

use super::{
    Author, CampaignId, Engagement, EntityId, Mention, Origin, Position, PostStatus, Sentiment,
    SourcePartition, Timestamp,
};
use serde::{Deserialize, Serialize};

/// `squall.scored`: one post, scored, with all its mentions inside.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct ScoredPost {
    /// Where the post came from.
    pub origin: Origin,
    /// Of a post replayed from the dead letters: where it came from first. Of two with the same one is stored.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub first_origin: Option<Origin>,
    /// The sender's id, or the (first) origin written out.
    pub id: String,
    /// Source of the post.
    pub source: String,
    /// Channel within the source; the source where none was given.
    pub channel: String,
    /// What the post claims; the record's timestamp where it claims nothing.
    pub published_at: Timestamp,
    /// Timestamp of the record, never later than `received_at`: what storage is partitioned by.
    pub recorded_at: Timestamp,
    /// See [`super::event_time`].
    pub event_time: Timestamp,
    /// When SCORE took it from the broker.
    pub received_at: Timestamp,
    /// When its probabilities were there.
    pub scored_at: Timestamp,
    /// Headline, normalised; empty where there is none.
    pub title: String,
    /// Body, normalised; empty where there is none.
    pub text: String,
    /// Where it can be read.
    pub url: Option<String>,
    /// ISO 639-1 code, given or detected; empty where neither was possible.
    pub lang: String,
    /// Who wrote it.
    pub author: Option<Author>,
    /// Counts that came with it.
    pub engagement: Option<Engagement>,
    /// Tags that came with it.
    pub tags: Vec<String>,
    /// Live, corrected or retracted.
    pub status: PostStatus,
    /// Id of the earlier post it replaces.
    pub replaces: Option<String>,
    /// History loaded later.
    pub backfill: bool,
    /// Copy signature of the normalised text: near texts differ in few bits.
    pub signature: u64,
    /// Name of the model that scored it; empty for a post that was not scored.
    pub model: String,
    /// Sentiment of the whole; none when the language is not supported.
    pub sentiment: Option<Sentiment>,
    /// Campaigns it belongs to.
    pub campaigns: Vec<CampaignId>,
    /// Entities it names, lists included, by ordinal.
    pub mentions: Vec<Mention>,
}

/// `squall.mentions`: what DETECT sees, in the order in which SCORE released it.
#[expect(
    clippy::large_enum_variant,
    reason = "the large one is what most of them are"
)]
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(tag = "kind", rename_all = "lowercase")]
pub enum DetectionRecord {
    /// One mention; goes to the partition of its entity.
    Mention(MentionEvent),
    /// How far a source partition is; goes to every partition.
    Progress(Progress),
    /// An earlier post is taken back; goes to every partition.
    Retraction(Retraction),
}

/// One mention with what detection needs of its post.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct MentionEvent {
    /// Post of the mention.
    pub origin: Origin,
    /// Ordinal of the mention in the post.
    pub ordinal: u32,
    /// The entity named.
    pub entity: EntityId,
    /// The sender's id of the post, or its origin.
    pub post_id: String,
    /// Source of the post.
    pub source: String,
    /// Channel within the source; empty in records of an earlier version.
    #[serde(default)]
    pub channel: String,
    /// ISO 639-1 code; empty where it is not known.
    #[serde(default)]
    pub lang: String,
    /// Author of the post.
    pub author: Option<String>,
    /// See [`super::event_time`].
    pub event_time: Timestamp,
    /// When SCORE took it from the broker.
    pub received_at: Timestamp,
    /// Sentiment of the mention; none when the post could not be scored.
    pub sentiment: Option<Sentiment>,
    /// How much the post is about the entity, 0 to 1.
    pub relevance: f32,
    /// Copy signature of the post.
    pub signature: u64,
    /// Headline, or the beginning of the text: at most 160 characters.
    pub title: String,
    /// Where it can be read.
    pub url: Option<String>,
    /// History loaded later: never alerts.
    pub backfill: bool,
    /// Name of the model that scored it.
    pub model: String,
}

impl MentionEvent {
    /// Its position in the source partition.
    pub fn position(&self) -> Position {
        Position {
            offset: self.origin.offset,
            ordinal: self.ordinal,
        }
    }
}

/// How far SCORE has released a source partition. Everything up to `offset` has been released before it.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Progress {
    /// The source partition.
    pub partition: SourcePartition,
    /// Offset of the last post released; none before the first.
    pub offset: Option<i64>,
    /// Highest event time released; none before the first post.
    pub event_time: Option<Timestamp>,
    /// Whether more is there to be read.
    pub state: SourceState,
    /// SCORE's clock when it wrote this.
    pub at: Timestamp,
}

/// Whether a source partition has more to read.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum SourceState {
    /// There is more, or it is not known.
    Active,
    /// Everything was read: it is idle, and holds no watermark back.
    AtEnd,
    /// There is more, but squall has stopped reading to keep its memory bounded.
    Paused,
}

/// A correction or retraction: evidence of the earlier post no longer counts.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Retraction {
    /// Post that takes the earlier one back.
    pub origin: Origin,
    /// Source of both.
    pub source: String,
    /// Id of the earlier post.
    pub post_id: String,
    /// Event time of the correction.
    pub event_time: Timestamp,
}

/// `squall.dead`: what could not be processed, as it came; of a large record the beginning.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct DeadLetter {
    /// Where it came from.
    pub origin: Origin,
    /// Timestamp of the record.
    pub recorded_at: Timestamp,
    /// When it was rejected.
    pub rejected_at: Timestamp,
    /// Short fixed word, see [`super::DecodeError::reason`].
    pub reason: String,
    /// The message, and what was cut off where the record was too large to be kept whole.
    pub detail: String,
    /// Original key, base64.
    pub key: Option<String>,
    /// Original bytes, base64.
    pub payload: String,
    /// Original headers, values base64.
    pub headers: Vec<(String, String)>,
}

/// `squall.control`: what people do, so that it works without the database.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(tag = "act", rename_all = "lowercase")]
pub enum ControlAct {
    /// Someone has seen an alert.
    Acknowledge {
        /// The alert.
        alert_id: String,
        /// Who.
        by: String,
        /// When.
        at: Timestamp,
    },
    /// Someone says what the sentiment of a post should have been.
    Feedback {
        /// Id of the post.
        post_id: String,
        /// The entity it is about; none for the whole post.
        entity: Option<EntityId>,
        /// The right label.
        label: super::Label,
        /// Free comment.
        comment: Option<String>,
        /// Who.
        by: String,
        /// When.
        at: Timestamp,
    },
    /// A dead letter is done with: no list shows it as open any more.
    DeadLetter {
        /// Where the letter's record came from.
        origin: Origin,
        /// What was done with it.
        settled: Settled,
        /// Who.
        by: String,
        /// When.
        at: Timestamp,
    },
    /// Alerts that nobody is to hear of for a while.
    Silence {
        /// Which.
        silence: super::Silence,
        /// Who.
        by: String,
        /// When.
        at: Timestamp,
    },
    /// The end of a silence before its time.
    Unsilence {
        /// The silence.
        id: String,
        /// Who.
        by: String,
        /// When.
        at: Timestamp,
    },
    /// An endpoint that was disabled is sent to again.
    Enable {
        /// Its configured name.
        endpoint: String,
        /// Who.
        by: String,
        /// When.
        at: Timestamp,
    },
    /// A sample was sent to an endpoint.
    Test {
        /// Its configured name.
        endpoint: String,
        /// Who.
        by: String,
        /// When.
        at: Timestamp,
    },
}

impl ControlAct {
    /// Who did it, and when.
    pub fn by(&self) -> (&str, Timestamp) {
        match self {
            Self::Acknowledge { by, at, .. }
            | Self::Feedback { by, at, .. }
            | Self::DeadLetter { by, at, .. }
            | Self::Silence { by, at, .. }
            | Self::Unsilence { by, at, .. }
            | Self::Enable { by, at, .. }
            | Self::Test { by, at, .. } => (by, *at),
        }
    }

    /// Whether it is a row of a table of its own, besides the audit.
    pub fn has_a_table(&self) -> bool {
        match self {
            Self::Acknowledge { .. } | Self::Feedback { .. } | Self::DeadLetter { .. } => true,
            Self::Silence { .. }
            | Self::Unsilence { .. }
            | Self::Enable { .. }
            | Self::Test { .. } => false,
        }
    }

    /// What was done, as the audit names it, and to what.
    pub fn subject(&self) -> (&'static str, String) {
        match self {
            Self::Acknowledge { alert_id, .. } => ("acknowledge", alert_id.clone()),
            Self::Feedback { post_id, .. } => ("feedback", post_id.clone()),
            Self::DeadLetter { origin, .. } => ("dead-letter", origin.to_string()),
            Self::Silence { silence, .. } => ("silence", silence.id.clone()),
            Self::Unsilence { id, .. } => ("unsilence", id.clone()),
            Self::Enable { endpoint, .. } => ("enable", endpoint.clone()),
            Self::Test { endpoint, .. } => ("test", endpoint.clone()),
        }
    }
}

/// What was done with a dead letter.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Settled {
    /// Its record was written to its topic again.
    Replayed,
    /// Nobody wants it.
    Dropped,
}

impl Settled {
    /// The word used in tables and to people.
    pub fn name(self) -> &'static str {
        match self {
            Self::Replayed => "replayed",
            Self::Dropped => "dropped",
        }
    }
}
