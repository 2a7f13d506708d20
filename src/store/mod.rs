//! The store: rows and aggregates, written by STORE in blocks, read by API and reports.
//!
//! [`Store`] is a seam: [`sqlite`] implements it for the embedded default, [`clickhouse`] for production. Both pass the
//! tests in `contract`.

pub mod clickhouse;
#[cfg(test)]
pub(crate) mod contract;
pub mod sqlite;

pub use crate::campaign::figures::{CampaignFigures, CampaignTotals, SentimentSums};

use crate::domain::{
    AlertMessage, CampaignId, ControlAct, DeadLetter, Delivery, EntityId, Label, MentionCluster,
    Origin, ScoredPost, Sentiment, Settled, SourcePartition, Timestamp,
};
use futures::future::BoxFuture;
use serde::Serialize;
use std::collections::{HashMap, HashSet};
use std::time::Duration;

/// Records of one partition of one of squall's topics, in offset order. STORE has planned it (see
/// `pipeline::store`): whoever stores it again stores the very same rows, under the same [token](Self::token).
#[derive(Debug, Clone, PartialEq)]
pub struct Block {
    /// The partition they were read from (of `squall.scored`, `squall.alerts`, …).
    pub partition: SourcePartition,
    /// Offset of the first record the block covers.
    pub start: i64,
    /// Offset behind the last one.
    pub end: i64,
    /// The rows, free of repeats.
    pub rows: Rows,
    /// Offset of each row in the partition, as many as there are rows, rising.
    pub offsets: Vec<i64>,
}

impl Block {
    /// Names the block for ever: `epoch:topic:partition:start:end`.
    pub fn token(&self) -> String {
        format!("{}:{}:{}", self.partition, self.start, self.end)
    }

    /// Whether each row has an offset of its own, as whoever reads positions relies on.
    fn check(&self) -> StoreResult<()> {
        let (rows, offsets) = (self.rows.count(), self.offsets.len());
        if rows == offsets {
            return Ok(());
        }
        let token = self.token();
        Err(StoreError::Query(format!(
            "block {token} has {rows} rows and {offsets} offsets"
        )))
    }
}

/// Rows of a block; each topic has its own kind.
#[derive(Debug, Clone, PartialEq)]
pub enum Rows {
    /// `posts`, and by them `mentions`, `entity_minutes`, `campaign_hours`.
    Posts(Vec<ScoredPost>),
    /// `mention_clusters`.
    Clusters(Vec<MentionCluster>),
    /// `alerts`, one row a message.
    Alerts(Vec<AlertMessage>),
    /// `deliveries`.
    Deliveries(Vec<Delivery>),
    /// `dead_letters`.
    DeadLetters(Vec<DeadLetter>),
    /// `feedback`, acknowledgements of `alerts`, what became of `dead_letters`.
    Control(Vec<ControlAct>),
}

impl Rows {
    /// Number of records.
    pub fn count(&self) -> usize {
        match self {
            Self::Posts(rows) => rows.len(),
            Self::Clusters(rows) => rows.len(),
            Self::Alerts(rows) => rows.len(),
            Self::Deliveries(rows) => rows.len(),
            Self::DeadLetters(rows) => rows.len(),
            Self::Control(rows) => rows.len(),
        }
    }
}

/// Where a partition of squall's topics stands in the store.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct StoredPosition {
    /// Offset behind the last row stored, or behind the last block where the store knows its end; 0 when there is none.
    /// What is below it is stored, but for a block that was planned and not ended.
    pub end: i64,
    /// For each source partition whose posts or dead letters came through this partition: highest offset stored.
    /// STORE leaves out what comes at or below it.
    pub sources: HashMap<SourcePartition, i64>,
}

/// What a block added.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Inserted {
    /// Rows of the block's main table; 0 when the store knows that it had the block before.
    pub rows: usize,
}

/// Why the store could not do what was asked.
#[derive(Debug, thiserror::Error)]
pub enum StoreError {
    /// The database cannot be opened or written for now.
    #[error("store {place}: {problem}")]
    Unavailable {
        /// File or address.
        place: String,
        /// What went wrong, with the remedy where there is one.
        problem: String,
    },
    /// The database was made by a newer squall.
    #[error(
        "store {place} has schema version {found}, this squall knows {known}: use the newer squall, or another store.path or clickhouse.database"
    )]
    Newer {
        /// File or address.
        place: String,
        /// Version found.
        found: i64,
        /// Newest version known.
        known: i64,
    },
    /// The database cannot be used as it is, and trying again does not help.
    #[error("store {place}: {problem}")]
    Unusable {
        /// File or address.
        place: String,
        /// What is wrong with it, with the remedy where there is one.
        problem: String,
    },
    /// A block covers records that are stored and records that are not: it is not the one that was planned.
    #[error(
        "block {partition}:{start}..{end} begins before {stored}, where the store stands: two services write under one kafka.epoch, or its offsets were set back"
    )]
    Overlap {
        /// Partition of the block.
        partition: SourcePartition,
        /// Its first offset.
        start: i64,
        /// Offset behind its last one.
        end: i64,
        /// Where the store stands.
        stored: i64,
    },
    /// The epoch belongs to another Kafka cluster.
    #[error(
        "kafka.epoch '{epoch}' was stored from cluster {stored}, this is cluster {own}: give each cluster an epoch of its own"
    )]
    Epoch {
        /// The epoch.
        epoch: String,
        /// Cluster it was first stored from.
        stored: String,
        /// Cluster at hand.
        own: String,
    },
    /// A query failed.
    #[error("store query failed: {0}")]
    Query(String),
}

impl StoreError {
    /// Whether the same call may succeed later.
    pub fn is_retryable(&self) -> bool {
        matches!(self, Self::Unavailable { .. })
    }
}

/// Result of the store.
pub type StoreResult<T> = Result<T, StoreError>;

/// Most rows that one query of posts or alerts answers with.
pub const MAX_ROWS: usize = 1000;

/// Tables whose rows have an offset in one of squall's topics.
const LOGGED: [&str; 9] = [
    "posts",
    "mention_clusters",
    "alerts",
    "deliveries",
    "dead_letters",
    "feedback",
    "acknowledgements",
    "dead_letter_acts",
    "audit",
];

/// Tables that [`Store::row_counts`] tells of.
const COUNTED: [&str; 9] = [
    "posts",
    "mentions",
    "mention_clusters",
    "entity_minutes",
    "alerts",
    "deliveries",
    "campaign_hours",
    "feedback",
    "dead_letters",
];

/// What STORE writes and API reads. All times are UTC; intervals are half-open `[from, to)`.
pub trait Store: Send + Sync {
    /// Reaches the database, brings its schema up to date (where that is allowed) and checks it. STORE calls it
    /// until it succeeds, before it reads anything; cheap when nothing has changed. While a plan is open
    /// (`plan_open`) no table is altered: a block that is stored again after that could be there twice.
    fn prepare(&self, plan_open: bool) -> BoxFuture<'_, StoreResult<()>>;

    /// Notes that rows of `epoch` come from the Kafka cluster of this id.
    ///
    /// # Errors
    /// [`StoreError::Epoch`] when they came from another one before.
    fn claim_epoch<'a>(
        &'a self,
        epoch: &'a str,
        cluster: &'a str,
    ) -> BoxFuture<'a, StoreResult<()>>;

    /// Stores a block under its token, rows and aggregates. After any failure, and after a crash in the middle, the
    /// same block is stored again by the same or another process; it completes what is missing and adds nothing
    /// twice. Blocks of a partition come in order and never overlap.
    ///
    /// Aggregates count every post as it was posted: a correction or retraction is a row of its own and takes
    /// nothing back. An alert message, a cluster's mention and a delivery have keys of their own, so that they
    /// are there once although they come again in another block; of two clusters of one mention the later counts.
    ///
    /// # Errors
    /// [`StoreError::Overlap`], where the store can tell, for a block that begins before the stored end and ends
    /// behind it.
    fn insert<'a>(&'a self, block: &'a Block) -> BoxFuture<'a, StoreResult<Inserted>>;

    /// Where a partition of squall's own topics stands.
    fn position<'a>(
        &'a self,
        partition: &'a SourcePartition,
    ) -> BoxFuture<'a, StoreResult<StoredPosition>>;

    /// Rows of a partition that are stored with an offset in `start..end`: tells whether a block of long ago arrived.
    fn rows_between<'a>(
        &'a self,
        partition: &'a SourcePartition,
        start: i64,
        end: i64,
    ) -> BoxFuture<'a, StoreResult<u64>>;

    /// Which of these are the first origins of posts that are stored: replays of them are repeats.
    fn replayed<'a>(&'a self, origins: &'a [Origin])
    -> BoxFuture<'a, StoreResult<HashSet<Origin>>>;

    /// Dead letters, latest rejected first.
    fn dead_letters<'a>(
        &'a self,
        query: &'a DeadLetterQuery,
    ) -> BoxFuture<'a, StoreResult<Vec<DeadLetterRow>>>;

    /// A number that changes whenever anything was stored: pages redraw when it does.
    fn version(&self) -> BoxFuture<'_, StoreResult<i64>>;

    /// Highest event time stored, the page's "now"; none when there is no post. No claim of a post moves it far: see
    /// [`event_time`](crate::domain::event_time).
    fn latest(&self) -> BoxFuture<'_, StoreResult<Option<Timestamp>>>;

    /// Per entity with at least one mention in `[from, to)`, widened to whole minutes: its totals, most
    /// mentions first.
    fn entities(
        &self,
        from: Timestamp,
        to: Timestamp,
    ) -> BoxFuture<'_, StoreResult<Vec<EntityTotals>>>;

    /// Totals of one entity in `[from, to)`, widened to whole minutes, in steps of `step` (rounded up to whole
    /// minutes and counted from the Unix epoch); steps without mentions are left out.
    fn timeline<'a>(
        &'a self,
        entity: &'a EntityId,
        from: Timestamp,
        to: Timestamp,
        step: Duration,
    ) -> BoxFuture<'a, StoreResult<Vec<TimelinePoint>>>;

    /// All that [`timeline`](Self::timeline) would say of every entity, in one read and by id, but in steps counted
    /// from `from`, widened to its minute: the last one ends where `to` does if they fit.
    fn timelines(
        &self,
        from: Timestamp,
        to: Timestamp,
        step: Duration,
    ) -> BoxFuture<'_, StoreResult<Vec<EntityTimeline>>>;

    /// Posts, latest event time first. An engagement without any count reads back as none.
    fn posts<'a>(&'a self, query: &'a PostQuery) -> BoxFuture<'a, StoreResult<Vec<ScoredPost>>>;

    /// Alerts, each with its latest message, latest message first.
    fn alerts<'a>(&'a self, query: &'a AlertQuery) -> BoxFuture<'a, StoreResult<Vec<AlertRow>>>;

    /// Campaigns with at least one post in `[from, to)`, widened to whole hours, most posts first; contributors
    /// are distinct over all that time.
    fn campaigns(
        &self,
        from: Timestamp,
        to: Timestamp,
    ) -> BoxFuture<'_, StoreResult<Vec<(CampaignId, CampaignTotals)>>>;

    /// Figures of one campaign in `[from, to)`, widened to whole hours: over all, per channel, and per hour and
    /// channel. All zero for a campaign without posts. Counts are exact up to 2^53 and saturate there.
    fn campaign<'a>(
        &'a self,
        id: &'a CampaignId,
        from: Timestamp,
        to: Timestamp,
    ) -> BoxFuture<'a, StoreResult<CampaignFigures>>;

    /// Posts stored so far, at a cost that does not grow with them.
    fn post_count(&self) -> BoxFuture<'_, StoreResult<u64>>;

    /// What people have done, latest first; at most `limit` acts, 1 to [`MAX_ROWS`].
    fn audit(&self, limit: usize) -> BoxFuture<'_, StoreResult<Vec<AuditRow>>>;

    /// Rows in each table, each counted: for tests, doctor and the operations page.
    fn row_counts(&self) -> BoxFuture<'_, StoreResult<Vec<(&'static str, u64)>>>;
}

/// Sums over an entity's mentions.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct EntityTotals {
    /// The entity.
    pub entity: EntityId,
    /// Its sums.
    #[serde(flatten)]
    pub totals: MentionTotals,
}

/// Sums over mentions; means are sums divided by `scored`.
#[derive(Debug, Clone, Copy, Default, PartialEq, Serialize)]
pub struct MentionTotals {
    /// Mentions, also those not scored.
    pub mentions: u64,
    /// Mentions with a sentiment.
    pub scored: u64,
    /// Mentions whose label is negative.
    pub negative: u64,
    /// Mentions whose label is positive.
    pub positive: u64,
    /// Sum of p_negative.
    pub sum_negative: f64,
    /// Sum of p_neutral.
    pub sum_neutral: f64,
    /// Sum of p_positive.
    pub sum_positive: f64,
}

impl MentionTotals {
    /// Adds one mention. Probabilities that are no numbers count as not scored.
    pub fn add(&mut self, sentiment: Option<&Sentiment>) {
        self.mentions += 1;
        let Some(sentiment) = sentiment.filter(|sentiment| sentiment.is_finite()) else {
            return;
        };
        self.scored += 1;
        match sentiment.label() {
            Label::Negative => self.negative += 1,
            Label::Neutral => {}
            Label::Positive => self.positive += 1,
        }
        self.sum_negative += f64::from(sentiment.negative);
        self.sum_neutral += f64::from(sentiment.neutral);
        self.sum_positive += f64::from(sentiment.positive);
    }

    /// Mean score in [-1, 1]; none without scored mentions.
    pub fn mean_score(&self) -> Option<f64> {
        (self.scored > 0).then(|| (self.sum_positive - self.sum_negative) / self.scored as f64)
    }
}

/// One step of a timeline.
#[derive(Debug, Clone, Copy, PartialEq, Serialize)]
pub struct TimelinePoint {
    /// Start of the step.
    pub start: Timestamp,
    /// Sums over the step.
    #[serde(flatten)]
    pub totals: MentionTotals,
}

/// The steps of one entity.
#[derive(Debug, Clone, PartialEq)]
pub struct EntityTimeline {
    /// The entity.
    pub entity: EntityId,
    /// Its steps, in order of time.
    pub points: Vec<TimelinePoint>,
}

/// Which posts.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct PostQuery {
    /// Only those that mention it.
    pub entity: Option<EntityId>,
    /// Only those of the campaign.
    pub campaign: Option<CampaignId>,
    /// Only those with this id.
    pub id: Option<String>,
    /// Only those before this event time.
    pub before: Option<Timestamp>,
    /// At most so many, 1 to [`MAX_ROWS`].
    pub limit: usize,
}

/// Which alerts.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct AlertQuery {
    /// Only those of the entity.
    pub entity: Option<EntityId>,
    /// Only this alert.
    pub alert_id: Option<String>,
    /// At most so many, 1 to [`MAX_ROWS`].
    pub limit: usize,
}

/// One act of somebody, as it was.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct AuditRow {
    /// When.
    pub at: Timestamp,
    /// Who.
    pub by: String,
    /// What, see [`ControlAct::subject`].
    pub act: String,
    /// To what.
    pub subject: String,
    /// The whole act, JSON.
    pub detail: String,
}

/// Which dead letters.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct DeadLetterQuery {
    /// Only those rejected for this reason.
    pub reason: Option<String>,
    /// Only those of records of this topic.
    pub topic: Option<String>,
    /// Only those of this record.
    pub origin: Option<Origin>,
    /// Only those rejected at or after.
    pub from: Option<Timestamp>,
    /// Only those rejected before.
    pub to: Option<Timestamp>,
    /// Also those that were replayed or dropped.
    pub settled: bool,
    /// At most so many, 1 to [`MAX_ROWS`].
    pub limit: usize,
}

/// A dead letter as it stands.
#[derive(Debug, Clone, PartialEq)]
pub struct DeadLetterRow {
    /// The letter.
    pub letter: DeadLetter,
    /// What was done with it last, by whom and when.
    pub settled: Option<(Settled, String, Timestamp)>,
}

/// An alert as it stands.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct AlertRow {
    /// Event time of its opening.
    pub opened_at: Timestamp,
    /// Its latest message.
    pub latest: AlertMessage,
    /// Who acknowledged it, and when.
    pub acknowledged: Option<(String, Timestamp)>,
    /// How its deliveries ended.
    pub deliveries: Vec<Delivery>,
}
