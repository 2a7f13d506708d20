//! What everything else speaks of: plain data, no I/O, no clock. One file a word of the field.
//!
//! Types that travel between roles ([`ScoredPost`], [`DetectionRecord`], [`AlertMessage`], …) are the
//! records of squall's own topics: they serialise to JSON and are read back by the role that follows.

mod alert;
mod campaign;
mod delivery;
mod entity;
mod explanation;
mod mention;
mod origin;
mod post;
mod records;
mod sentiment;
mod silence;
mod time;

pub use alert::{
    AlertKind, AlertMessage, Evidence, Expected, Observed, Severity, SpikeWindow, alert_id, hash,
    hexadecimal, message_id,
};
pub use campaign::{Campaign, CampaignId};
pub use delivery::{Delivery, Outcome};
pub use entity::{Entity, EntityId, EntityKind, EntityList};
pub use explanation::{Explanation, HorizonFact, PictureStep, round};
pub use mention::{Mention, MentionCluster};
pub use origin::{Origin, Position, SourcePartition};
pub use post::{Author, DecodeError, Engagement, Post, PostStatus};
pub use records::{
    ControlAct, DeadLetter, DetectionRecord, MentionEvent, Progress, Retraction, ScoredPost,
    Settled, SourceState,
};
pub use sentiment::{Label, Sentiment};
pub use silence::Silence;
pub use time::{Timestamp, event_time};
