//! What a detector remembers over a restart, as it is written: one record for the detector itself, one for each
//! entity, and one for each full segment of an entity's stories.
//!
//! | Key | Holds |
//! | --- | --- |
//! | `detector` | how far everything was seen, the watermark, the volume of sources, counts |
//! | `entity:<id>` | minutes, baseline, alert, and the stories of the open segment |
//! | `stories:<id>:<segment>:<version>` | further stories, 64 each |
//!
//! A segment that changes is written under its other version, and counts from the moment in which the entity's own
//! record names that: so an entity changes as a whole, although its parts are written one after the other.
//!
//! JSON, so that fields may be added. Numbers that are computed with are written as their bits, because an alert that
//! goes on after a restart must not differ in the last digit from one that was never interrupted.

use crate::domain::{
    AlertMessage, EntityId, Origin, Position, SourcePartition, SourceState, Timestamp,
};
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD_NO_PAD as BASE64;
use serde::{Deserialize, Deserializer, Serialize, Serializer};
use std::collections::HashMap;
use std::sync::Arc;

/// Key of the detector's own record.
pub(super) const DETECTOR: &str = "detector";
const ENTITY: &str = "entity:";
const STORIES: &str = "stories:";

/// No snapshot is larger, so that Kafka takes it.
pub const MAX_SNAPSHOT: usize = 900_000;

/// A key's new value; none removes it.
pub type Change = (String, Option<Vec<u8>>);

/// Everything that has changed since the checkpoint before, to be written in this order: `entities`, then `detector`.
#[derive(Debug, Clone, PartialEq)]
pub struct Checkpoint {
    /// Log offset up to which all of it is true.
    pub as_of: i64,
    /// Entities.
    pub entities: Vec<Change>,
    /// The detector's own record, and what nobody needs once that is written.
    pub detector: Vec<Change>,
}

/// Accepted mentions of each entity in a state, whoever wrote it.
///
/// # Errors
/// The first key whose value cannot be read.
pub fn mentions(state: &HashMap<String, Vec<u8>>) -> Result<HashMap<EntityId, u64>, String> {
    let entities = state
        .iter()
        .filter_map(|(key, value)| Some((key, entity_of(key)?, value)));
    entities
        .map(|(key, id, value)| {
            let snapshot: Mentions = read(key, value)?;
            Ok((id, snapshot.mentions))
        })
        .collect()
}

#[derive(Deserialize)]
struct Mentions {
    mentions: u64,
}

pub(super) fn entity_key(id: &EntityId) -> String {
    format!("{ENTITY}{id}")
}

pub(super) fn entity_of(key: &str) -> Option<EntityId> {
    key.strip_prefix(ENTITY).map(EntityId::from)
}

pub(super) fn segment_key(id: &EntityId, segment: u64, version: u8) -> String {
    format!("{STORIES}{id}:{segment}:{version}")
}

/// The entity and the number of a segment.
pub(super) fn segment_of(key: &str) -> Option<(EntityId, u64)> {
    let mut parts = key.strip_prefix(STORIES)?.rsplitn(3, ':');
    let (_, segment, id) = (parts.next()?, parts.next()?, parts.next()?);
    Some((EntityId::from(id), segment.parse().ok()?))
}

pub(super) fn write(value: &impl Serialize) -> Vec<u8> {
    // Nothing here can fail to serialise: all keys are text, all numbers finite or bits.
    serde_json::to_vec(value).unwrap_or_default()
}

/// Reads a value; an error names its key.
pub(super) fn read<'a, T: Deserialize<'a>>(key: &str, value: &'a [u8]) -> Result<T, String> {
    serde_json::from_slice(value).map_err(|error| format!("{key}: {error}"))
}

/// A number by its bits.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(super) struct Exact(pub f64);

impl Serialize for Exact {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_u64(self.0.to_bits())
    }
}

impl<'de> Deserialize<'de> for Exact {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        u64::deserialize(deserializer).map(|bits| Self(f64::from_bits(bits)))
    }
}

/// An instant as milliseconds since the Unix epoch.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub(super) struct Millis(i64);

impl From<Timestamp> for Millis {
    fn from(at: Timestamp) -> Self {
        Self(at.millis())
    }
}

impl From<Millis> for Timestamp {
    fn from(at: Millis) -> Self {
        Self::from_millis(at.0)
    }
}

/// What an entity's mentions have come to.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct EntityTally {
    pub mentions: u64,
    #[serde(default)]
    pub copies: u64,
    #[serde(default)]
    pub late: u64,
    #[serde(default)]
    pub taken_back: u64,
}

impl std::ops::AddAssign for EntityTally {
    fn add_assign(&mut self, other: Self) {
        self.mentions += other.mentions;
        self.copies += other.copies;
        self.late += other.late;
        self.taken_back += other.taken_back;
    }
}

impl std::ops::SubAssign for EntityTally {
    fn sub_assign(&mut self, other: Self) {
        self.mentions -= other.mentions;
        self.copies -= other.copies;
        self.late -= other.late;
        self.taken_back -= other.taken_back;
    }
}

/// The detector's own record.
#[derive(Debug, Serialize, Deserialize)]
pub(super) struct DetectorSnapshot {
    pub epoch: Arc<str>,
    pub as_of: i64,
    pub mentions: u64,
    pub repeats: u64,
    pub retractions: u64,
    /// What entities came to that are forgotten.
    pub forgotten: EntityTally,
    pub seen: Vec<(SourcePartition, Option<Position>, Option<i64>)>,
    pub watermark: WatermarkSnapshot,
    /// The instant, and a number that means nothing any more.
    pub watched_since: Option<(Millis, u64)>,
    #[serde(default)]
    pub volume: VolumeSnapshot,
}

#[derive(Debug, Default, Serialize, Deserialize)]
pub(super) struct WatermarkSnapshot {
    pub value: Option<Millis>,
    pub idle: Option<(Millis, Millis)>,
    pub partitions: Vec<(SourcePartition, PlaceSnapshot)>,
}

#[derive(Debug, Serialize, Deserialize)]
pub(super) struct PlaceSnapshot {
    pub offset: Option<i64>,
    pub event_time: Option<Millis>,
    pub state: SourceState,
    pub at: Millis,
}

/// One entity.
#[derive(Debug, PartialEq, Serialize, Deserialize)]
pub(super) struct EntitySnapshot {
    pub epoch: Arc<str>,
    pub as_of: i64,
    pub mentions: u64,
    #[serde(default)]
    pub copies: u64,
    #[serde(default)]
    pub late: u64,
    #[serde(default)]
    pub taken_back: u64,
    /// It was forgotten at this log offset, and what it had come to until then: counts unless the detector's own record
    /// is true up to there.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub earlier: Option<(i64, EntityTally)>,
    /// What version of squall wrote it, see [`FORMAT`].
    #[serde(default)]
    pub format: u8,
    /// None of one that is forgotten.
    pub known: Option<KnownSnapshot>,
}

/// What an entity is known by: 1 since baselines are learnt by hour and weekday.
pub(super) const FORMAT: u8 = 1;

/// The part of an entity's record that every version can read.
#[derive(Debug, Deserialize)]
pub(super) struct Written {
    #[serde(default)]
    pub format: u8,
    #[expect(
        dead_code,
        reason = "every version wrote it: what has none is no entity"
    )]
    as_of: i64,
}

impl EntitySnapshot {
    pub fn of(
        epoch: &Arc<str>,
        as_of: i64,
        tally: EntityTally,
        earlier: Option<(i64, EntityTally)>,
        known: Option<KnownSnapshot>,
    ) -> Self {
        Self {
            epoch: epoch.clone(),
            as_of,
            mentions: tally.mentions,
            copies: tally.copies,
            late: tally.late,
            taken_back: tally.taken_back,
            earlier,
            format: FORMAT,
            known,
        }
    }

    pub fn tally(&self) -> EntityTally {
        EntityTally {
            mentions: self.mentions,
            copies: self.copies,
            late: self.late,
            taken_back: self.taken_back,
        }
    }
}

#[derive(Debug, PartialEq, Serialize, Deserialize)]
pub(super) struct KnownSnapshot {
    pub last_seen: Millis,
    pub due: Option<Millis>,
    /// The first minute that has not taught, and those that are kept.
    pub untaught: Option<i64>,
    pub minutes: Vec<MinuteRow>,
    pub baseline: BaselineSnapshot,
    /// See [`super::calibration`].
    pub calibration: Packed<f64>,
    /// How much each source speaks of it.
    pub mix: Packed<f32>,
    pub alert: AlertSnapshot,
    pub negatives: Vec<NegativeRow>,
    /// Number of the oldest story kept.
    pub first_story: u64,
    pub last_told: Option<Millis>,
    /// Full segments: number, version, and log offset up to which it is true.
    pub segments: Vec<(u64, u8, i64)>,
    /// Stories behind them.
    pub stories: Vec<StoryRow>,
}

/// A full segment.
#[derive(Debug, Serialize, Deserialize)]
pub(super) struct SegmentSnapshot {
    pub as_of: i64,
    /// Number of the first story in it.
    pub first_story: u64,
    pub stories: Vec<StoryRow>,
}

/// Event time, score, whether it is negative (1) and backfill (2), weight, weight that is negative.
pub(super) type CountedRow = (Millis, Option<f32>, u8, f32, f32);

#[derive(Debug, PartialEq, Serialize, Deserialize)]
pub(super) struct StoryRow(
    /// Signature.
    pub u64,
    /// Cluster.
    pub Box<str>,
    /// Post it counts for, and when that was told last.
    pub (u64, Millis),
    /// Further posts.
    pub u32,
    /// Told last.
    pub Millis,
    pub Option<CountedRow>,
    /// Retracted by.
    pub Option<Origin>,
    /// The latest of the further posts, and when each was told last.
    pub Vec<(u64, Millis)>,
);

/// Story, counted, voice, stem of the voice's name, post id, title, address.
#[derive(Debug, PartialEq, Serialize, Deserialize)]
pub(super) struct NegativeRow(
    pub u64,
    pub CountedRow,
    pub u64,
    pub u64,
    pub Box<str>,
    pub Box<str>,
    pub Option<Box<str>>,
);

/// Numbers by their bits: base64 of their bytes, the lowest first.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct Packed<T>(pub Vec<T>);

/// A number that can be packed.
pub(super) trait Packable: Copy {
    const BYTES: usize;
    fn pack(self, into: &mut Vec<u8>);
    fn unpack(bytes: &[u8]) -> Self;
}

macro_rules! packable {
    ($number:ty, $bytes:literal) => {
        impl Packable for $number {
            const BYTES: usize = $bytes;
            fn pack(self, into: &mut Vec<u8>) {
                into.extend(self.to_le_bytes());
            }
            fn unpack(bytes: &[u8]) -> Self {
                bytes.try_into().map_or(0.0, Self::from_le_bytes)
            }
        }
    };
}

packable!(f32, 4);
packable!(f64, 8);

impl<T: Packable> Serialize for Packed<T> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let mut bytes = Vec::with_capacity(self.0.len() * T::BYTES);
        self.0.iter().for_each(|number| number.pack(&mut bytes));
        serializer.serialize_str(&BASE64.encode(bytes))
    }
}

impl<'de, T: Packable> Deserialize<'de> for Packed<T> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let text = std::borrow::Cow::<str>::deserialize(deserializer)?;
        let bytes = BASE64
            .decode(text.as_bytes())
            .map_err(serde::de::Error::custom)?;
        Ok(Self(bytes.chunks_exact(T::BYTES).map(T::unpack).collect()))
    }
}

/// What is usual for an entity; see [`super::baseline`].
#[derive(Debug, PartialEq, Serialize, Deserialize)]
pub(super) struct BaselineSnapshot {
    pub numbers: Packed<f64>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub rhythm: Option<Packed<f32>>,
}

/// One minute of an entity.
#[derive(Debug, PartialEq, Serialize, Deserialize)]
pub(super) struct MinuteRow {
    pub minute: i64,
    /// Mentions, negative, scored, whether it is flagged.
    pub counts: (u32, u32, u32, bool),
    /// Sum of scores, weight, negative weight, the same of backfill.
    pub sums: Packed<f64>,
}

/// How much there was to hear; see [`super::volume`].
#[derive(Debug, PartialEq, Serialize, Deserialize)]
pub(super) struct VolumeSnapshot {
    pub next: Option<i64>,
    pub scored: Packed<f64>,
    pub sources: Vec<SourceSnapshot>,
}

impl Default for VolumeSnapshot {
    fn default() -> Self {
        Self {
            next: None,
            scored: Packed(Vec::new()),
            sources: Vec::new(),
        }
    }
}

#[derive(Debug, PartialEq, Serialize, Deserialize)]
pub(super) struct SourceSnapshot {
    pub name: Box<str>,
    pub since: i64,
    pub open: Vec<(i64, Vec<u32>)>,
    pub levels: Vec<i64>,
    pub level: Packed<f32>,
    pub hours: Vec<i64>,
    pub hour: Packed<f32>,
    pub rhythm: Packed<f32>,
    pub numbers: Packed<f64>,
}

#[derive(Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub(super) enum AlertSnapshot {
    Quiet(Option<Millis>),
    Open(Box<OpenSnapshot>),
}

#[derive(Debug, PartialEq, Serialize, Deserialize)]
pub(super) struct OpenSnapshot {
    pub last: AlertMessage,
    /// Logarithm of the minutes one waits for as much by chance, at the last message about a spike.
    pub ln_minutes: Exact,
    pub improbable_until: Millis,
    pub ground: Option<GroundSnapshot>,
}

/// The stretch an alert stands on: first minute and the one behind the last, what is usual in it, and what else spoke.
#[derive(Debug, PartialEq, Serialize, Deserialize)]
pub(super) struct GroundSnapshot {
    pub minutes: (i64, i64),
    pub usual: [Exact; 4],
    pub ln_others: Exact,
}
