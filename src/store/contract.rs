//! What every store must do, written against [`Store`] so that each implementation passes the same tests:
//! `contract_tests!(fresh)` makes one test of each function here. Where stores differ, [`Subject`] says how.

use super::*;
use crate::domain::{
    AlertKind, Author, Engagement, Evidence, Expected, Mention, Observed, Origin, Outcome,
    PostStatus, Severity, SpikeWindow, message_id,
};
use std::collections::{BTreeMap, BTreeSet};

mod blocks;
mod letters;
mod recount;
mod rows;
mod sums;

pub use blocks::*;
pub use letters::*;
pub use recount::*;
pub use rows::*;
pub use sums::*;

/// Makes a new, empty database; none, and a message, where that cannot be had.
pub type Fresh = fn() -> Option<Subject>;

/// A database under test, and what it cannot hold.
pub struct Subject {
    /// Opens it, the same at each call.
    pub open: Box<dyn Fn() -> Box<dyn Store> + Send + Sync>,
    /// Makes another one.
    pub fresh: Fresh,
    /// Earliest and latest time of a post that reads back unchanged.
    pub times: (Timestamp, Timestamp),
    /// Earliest and latest minute and hour that aggregates know; what lies beyond is counted there.
    pub steps: (Timestamp, Timestamp),
    /// Whether an insert tells that the block was there before.
    pub tells_repeats: bool,
    /// Cases of a test of many.
    pub cases: u32,
}

impl Subject {
    /// Opens and prepares it.
    pub async fn open(&self) -> Box<dyn Store> {
        let store = (self.open)();
        store.prepare(false).await.unwrap();
        store
    }

    /// Inserts a block for the first time.
    async fn insert(&self, store: &dyn Store, block: &Block) {
        let inserted = store.insert(block).await.unwrap();
        assert_eq!(inserted.rows, block.rows.count());
    }

    /// Inserts a block that is there.
    async fn insert_again(&self, store: &dyn Store, block: &Block) {
        let rows = store.insert(block).await.unwrap().rows;
        assert!(rows == 0 || !self.tells_repeats, "{rows} rows");
    }
}

macro_rules! contract_tests {
    ($fresh:expr) => {
        $crate::store::contract::contract_tests!($fresh;
            a_block_that_was_stored_adds_nothing,
            positions_tell_the_highest_offsets,
            a_new_epoch_is_no_repeat,
            positions_and_rows_outlive_the_process,
            rows_of_a_range_are_counted,
            an_epoch_belongs_to_one_cluster,
            a_block_of_any_kind_is_stored_once,
            rows_without_offsets_are_refused,
            what_is_not_there_is_empty,
            dead_letters_are_found_by_what_is_asked,
            a_dead_letter_is_settled_by_the_last_act,
            every_act_is_audited,
            replays_are_known_by_their_first_origin,
            posts_read_back_as_they_were_stored,
            posts_are_found_by_what_is_asked,
            limits_are_kept_in_bounds,
            an_alert_is_shown_with_its_latest_message,
            clusters_and_feedback_are_counted,
            times_of_1970_and_9999_are_found,
            no_number_from_outside_poisons_the_sums,
            steps_of_a_timeline_are_whole_minutes,
            timelines_of_all_entities_count_from_their_beginning,
            aggregates_equal_a_recount_of_the_rows,
        );
    };
    ($fresh:expr; $($name:ident,)*) => {
        $(#[test]
        fn $name() {
            let fresh: $crate::store::contract::Fresh = $fresh;
            if let Some(subject) = fresh() {
                $crate::store::contract::run($crate::store::contract::$name(&subject));
            }
        })*
    };
}
pub(crate) use contract_tests;

/// Runs one test's future.
pub fn run<T>(test: impl Future<Output = T>) -> T {
    tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .unwrap()
        .block_on(test)
}

pub fn partition(topic: &str, partition: i32) -> SourcePartition {
    SourcePartition {
        epoch: "e1".into(),
        topic: topic.into(),
        partition,
    }
}

pub fn at(text: &str) -> Timestamp {
    text.parse().unwrap()
}

/// A post of the topic `social`: two entities, one campaign, everything given.
pub fn post(offset: i64) -> ScoredPost {
    let event_time = at("2026-11-23T09:14:00Z") + Duration::from_secs(offset as u64);
    ScoredPost {
        origin: Origin {
            source: partition("social", 0),
            offset,
        },
        first_origin: None,
        id: format!("post-{offset}"),
        source: "social".into(),
        channel: "forum".into(),
        published_at: event_time + Duration::from_secs(90),
        recorded_at: event_time,
        event_time,
        received_at: event_time + Duration::from_millis(20),
        scored_at: event_time + Duration::from_millis(31),
        title: "Acme recalls 40,000 batteries".into(),
        text: "More follows.".into(),
        url: Some("https://example.com/1".into()),
        lang: "en".into(),
        author: Some(Author {
            id: format!("author-{}", offset % 3),
            followers: Some(100),
        }),
        engagement: Some(Engagement {
            impressions: Some(900),
            likes: Some(4),
            shares: None,
            comments: Some(1),
        }),
        tags: vec!["#recall".into()],
        status: PostStatus::Live,
        replaces: None,
        backfill: false,
        signature: u64::MAX - 5,
        model: "squall-mini".into(),
        sentiment: Some(NEGATIVE),
        campaigns: vec!["spring".into()],
        mentions: vec![mention(0, "ACME", Some(NEGATIVE)), mention(1, "TECH", None)],
    }
}

/// A post with 1.5 mentions on average, unlike its neighbours in author, entities and campaign: for measurements.
pub fn varied_post(n: i64) -> ScoredPost {
    let mut post = post(n);
    post.event_time = post.event_time + Duration::from_millis(n as u64 * 50);
    post.id = format!("{:016x}", n.wrapping_mul(0x9E37_79B9_7F4A_7C15u64 as i64));
    post.author.as_mut().unwrap().id = format!("u{}", n * 7919 % 20_000);
    post.text =
        "Cramer says the quarter was fine, the guidance was not, and the shares know it. ".into();
    post.campaigns.truncate((n % 10 == 0) as usize);
    post.mentions[0].entity = format!("E{}", n * 31 % 500).as_str().into();
    post.mentions[1].entity = format!("L{}", n % 11).as_str().into();
    post.mentions.truncate(1 + (n % 2) as usize);
    post
}

pub const NEGATIVE: Sentiment = Sentiment {
    negative: 0.75,
    neutral: 0.125,
    positive: 0.125,
};

pub fn mention(ordinal: u32, entity: &str, sentiment: Option<Sentiment>) -> Mention {
    Mention {
        ordinal,
        entity: entity.into(),
        sentiment,
        relevance: 0.5,
    }
}

/// A block of `squall.scored` that covers as many offsets as it has posts.
pub fn posts_block(start: i64, posts: Vec<ScoredPost>) -> Block {
    block("squall.scored", start, posts.len(), Rows::Posts(posts))
}

fn block(topic: &str, start: i64, length: usize, rows: Rows) -> Block {
    Block {
        partition: partition(topic, 0),
        start,
        end: start + length as i64,
        offsets: (start..start + rows.count() as i64).collect(),
        rows,
    }
}

fn all_time() -> (Timestamp, Timestamp) {
    (
        Timestamp::from_millis(i64::MIN),
        Timestamp::from_millis(i64::MAX),
    )
}

async fn rows_of(store: &dyn Store, table: &str) -> u64 {
    let counts = store.row_counts().await.unwrap();
    counts.iter().find(|(name, _)| *name == table).unwrap().1
}

async fn all_posts(store: &dyn Store) -> Vec<ScoredPost> {
    let query = PostQuery {
        limit: MAX_ROWS,
        ..PostQuery::default()
    };
    store.posts(&query).await.unwrap()
}

/// Everything that can be read of the aggregates.
async fn sums(store: &dyn Store) -> (Vec<EntityTotals>, CampaignFigures, i64) {
    let (from, to) = all_time();
    (
        store.entities(from, to).await.unwrap(),
        store.campaign(&"spring".into(), from, to).await.unwrap(),
        store.version().await.unwrap(),
    )
}
