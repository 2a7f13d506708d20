//! What every store must do, written against [`Store`] so that each implementation passes the same tests:
//! `contract_tests!(fresh)` makes one test of each function here.

use super::*;
use crate::domain::{
    AlertKind, Author, Engagement, Evidence, Expected, Mention, Observed, Origin, Outcome,
    PostStatus, Severity, SpikeWindow, message_id,
};
use std::collections::{BTreeMap, BTreeSet};

mod recount;

pub use recount::aggregates_equal_a_recount_of_the_rows;

/// Opens one database, the same at each call.
pub type Open = Box<dyn Fn() -> Box<dyn Store>>;
/// Makes a new, empty database.
pub type Fresh = fn() -> Open;

macro_rules! contract_tests {
    ($fresh:expr) => {
        $crate::store::contract::contract_tests!($fresh;
            a_block_that_was_stored_adds_nothing,
            posts_at_or_below_the_highest_offset_are_repeats,
            dead_letters_are_stored_once,
            a_block_that_cannot_be_divided_is_refused,
            a_new_epoch_is_no_repeat,
            positions_and_rows_outlive_the_process,
            posts_read_back_as_they_were_stored,
            posts_are_found_by_what_is_asked,
            limits_are_kept_in_bounds,
            an_alert_is_shown_with_its_latest_message,
            clusters_and_feedback_are_counted,
            times_of_1970_and_9999_are_found,
            no_number_from_outside_poisons_the_sums,
            steps_of_a_timeline_are_whole_minutes,
            what_is_not_there_is_empty,
            aggregates_equal_a_recount_of_the_rows,
        );
    };
    ($fresh:expr; $($name:ident,)*) => {
        $(#[test]
        fn $name() {
            $crate::store::contract::$name($fresh);
        })*
    };
}
pub(crate) use contract_tests;

/// Runs one test's future.
pub fn run<T>(test: impl Future<Output = T>) -> T {
    tokio::runtime::Builder::new_current_thread()
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
        rows,
    }
}

fn all_time() -> (Timestamp, Timestamp) {
    (
        Timestamp::from_millis(i64::MIN),
        Timestamp::from_millis(i64::MAX),
    )
}

fn inserted(rows: usize, repeats: usize) -> Inserted {
    Inserted { rows, repeats }
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

pub fn a_block_that_was_stored_adds_nothing(fresh: Fresh) {
    run(async {
        let open = fresh();
        let store = open();
        let block = posts_block(0, (0..5).map(post).collect());
        assert_eq!(store.insert(&block).await.unwrap(), inserted(5, 0));
        let before = sums(&*store).await;
        assert_eq!(store.insert(&block).await.unwrap(), inserted(0, 5));
        let part = posts_block(1, (1..3).map(post).collect());
        assert_eq!(store.insert(&part).await.unwrap(), inserted(0, 2));
        assert_eq!(sums(&*store).await, before);
        assert_eq!(rows_of(&*store, "posts").await, 5);
        assert_eq!(rows_of(&*store, "mentions").await, 10);
    });
}

pub fn posts_at_or_below_the_highest_offset_are_repeats(fresh: Fresh) {
    run(async {
        let open = fresh();
        let store = open();
        let in_block = posts_block(0, [0, 1, 1, 0, 4, 3].map(post).to_vec());
        assert_eq!(store.insert(&in_block).await.unwrap(), inserted(3, 3));
        // Begins before the stored end, ends behind it.
        let overlapping = posts_block(2, [1, 0, 4, 3, 4, 5].map(post).to_vec());
        assert_eq!(store.insert(&overlapping).await.unwrap(), inserted(1, 5));

        let mut elsewhere = post(2);
        elsewhere.origin.source.partition = 1;
        let mixed = posts_block(8, vec![post(5), elsewhere]);
        assert_eq!(store.insert(&mixed).await.unwrap(), inserted(1, 1));

        let mut offsets: Vec<_> = all_posts(&*store)
            .await
            .iter()
            .map(|post| (post.origin.source.partition, post.origin.offset))
            .collect();
        offsets.sort_unstable();
        assert_eq!(offsets, [(0, 0), (0, 1), (0, 4), (0, 5), (1, 2)]);
        let position = store.position(&partition("squall.scored", 0)).await;
        assert_eq!(
            position.unwrap(),
            StoredPosition {
                end: 10,
                sources: [(partition("social", 0), 5), (partition("social", 1), 2)].into(),
            }
        );
        // What came through one partition says nothing of another.
        let mut through_another = posts_block(0, vec![post(0)]);
        through_another.partition.partition = 1;
        assert_eq!(
            store.insert(&through_another).await.unwrap(),
            inserted(1, 0)
        );
    });
}

pub fn dead_letters_are_stored_once(fresh: Fresh) {
    run(async {
        let open = fresh();
        let store = open();
        let letter = |offset| DeadLetter {
            origin: post(offset).origin,
            recorded_at: post(offset).recorded_at,
            rejected_at: post(offset).received_at,
            reason: "not_json".into(),
            detail: "it does not begin with '{'".into(),
            key: None,
            payload: "bm90IGpzb24=".into(),
            headers: vec![("trace".into(), "MQ==".into())],
        };
        let letters = |start, offsets: &[i64]| {
            let rows = offsets.iter().copied().map(letter).collect();
            block("squall.dead", start, offsets.len(), Rows::DeadLetters(rows))
        };
        assert_eq!(
            store.insert(&letters(0, &[7, 8])).await.unwrap(),
            inserted(2, 0)
        );
        assert_eq!(
            store.insert(&letters(1, &[8, 7, 8, 9])).await.unwrap(),
            inserted(1, 3)
        );
        assert_eq!(rows_of(&*store, "dead_letters").await, 3);
    });
}

pub fn a_block_that_cannot_be_divided_is_refused(fresh: Fresh) {
    run(async {
        let open = fresh();
        let store = open();
        let acts = |start, count| {
            let act = ControlAct::Feedback {
                post_id: "p".into(),
                entity: None,
                label: Label::Neutral,
                comment: None,
                by: "ann".into(),
                at: Timestamp::EPOCH,
            };
            block(
                "squall.control",
                start,
                count,
                Rows::Control(vec![act; count]),
            )
        };
        assert_eq!(store.insert(&acts(0, 3)).await.unwrap(), inserted(3, 0));
        let error = store.insert(&acts(2, 3)).await.unwrap_err();
        assert!(
            error
                .to_string()
                .contains("squall.control:0:2..5 begins before 3"),
            "{error}"
        );
        assert!(!error.is_retryable());
        assert_eq!(rows_of(&*store, "feedback").await, 3);
        // A gap is none of the store's business.
        assert_eq!(store.insert(&acts(9, 1)).await.unwrap(), inserted(1, 0));
    });
}

pub fn a_new_epoch_is_no_repeat(fresh: Fresh) {
    run(async {
        let open = fresh();
        let store = open();
        let first = posts_block(0, vec![post(0), post(1)]);
        let mut second = first.clone();
        second.partition.epoch = "e2".into();
        let Rows::Posts(posts) = &mut second.rows else {
            unreachable!()
        };
        for post in posts {
            post.origin.source.epoch = "e2".into();
        }
        assert_eq!(store.insert(&first).await.unwrap(), inserted(2, 0));
        assert_eq!(store.insert(&second).await.unwrap(), inserted(2, 0));
        assert_eq!(all_posts(&*store).await.len(), 4);
    });
}

pub fn positions_and_rows_outlive_the_process(fresh: Fresh) {
    run(async {
        let open = fresh();
        let block = posts_block(40, vec![post(3), post(9)]);
        let before = {
            let store = open();
            store.insert(&block).await.unwrap();
            sums(&*store).await
        };
        let store = open();
        assert_eq!(sums(&*store).await, before);
        assert_eq!(
            store.position(&block.partition).await.unwrap(),
            StoredPosition {
                end: 42,
                sources: [(partition("social", 0), 9)].into(),
            }
        );
        assert_eq!(store.insert(&block).await.unwrap(), inserted(0, 2));
        let next = posts_block(42, vec![post(9), post(10)]);
        assert_eq!(store.insert(&next).await.unwrap(), inserted(1, 1));
    });
}

pub fn posts_read_back_as_they_were_stored(fresh: Fresh) {
    run(async {
        let open = fresh();
        let store = open();
        let mut bare = post(1);
        bare.author = None;
        bare.engagement = None;
        bare.url = None;
        bare.sentiment = None;
        bare.lang.clear();
        bare.model.clear();
        bare.mentions.clear();
        bare.campaigns.clear();
        bare.tags.clear();
        let mut correction = post(2);
        correction.status = PostStatus::Corrected;
        correction.replaces = Some("post-0".into());
        correction.backfill = true;
        let mut retraction = post(3);
        retraction.status = PostStatus::Retracted;
        retraction.replaces = Some("post-0".into());
        let mut hostile = post(4);
        hostile.text = format!("'); DROP TABLE posts; --\0{}", "🌪️ü".repeat(9000));
        hostile.id = "\0\"' OR 1=1; --".into();
        hostile.channel = "|<script>\u{202e}".into();
        hostile.tags = vec![String::new(), "\u{0}\",".into()];
        hostile.campaigns = vec!["'; DROP TABLE campaign_hours; --\0".into()];
        hostile.mentions = vec![mention(7, "\0 '); DELETE FROM posts; --", Some(NEGATIVE))];

        let posts = vec![post(0), bare, correction, retraction, hostile.clone()];
        store.insert(&posts_block(0, posts.clone())).await.unwrap();
        let mut read = all_posts(&*store).await;
        read.reverse();
        assert_eq!(read, posts);

        for query in [
            PostQuery {
                id: Some(hostile.id.clone()),
                ..PostQuery::default()
            },
            PostQuery {
                entity: Some(hostile.mentions[0].entity.clone()),
                ..PostQuery::default()
            },
            PostQuery {
                campaign: Some(hostile.campaigns[0].clone()),
                ..PostQuery::default()
            },
        ] {
            let found = store.posts(&query).await.unwrap();
            assert_eq!(found, [hostile.clone()], "{query:?}");
        }
        let (from, to) = all_time();
        let figures = store.campaign(&hostile.campaigns[0], from, to).await;
        assert_eq!(figures.unwrap().channels[0].0, hostile.channel);
    });
}

pub fn posts_are_found_by_what_is_asked(fresh: Fresh) {
    run(async {
        let open = fresh();
        let store = open();
        let mut posts: Vec<_> = (0..6).map(post).collect();
        posts[1].mentions = vec![mention(0, "OTHER", None)];
        posts[2].campaigns.clear();
        posts[3].id = "post-0".into();
        // The same entity twice is still one post.
        posts[4].mentions.push(mention(2, "ACME", None));
        // Late: stored last, but not the latest.
        posts[5].event_time = posts[0].event_time;
        store.insert(&posts_block(0, posts.clone())).await.unwrap();

        let ask = async |query: PostQuery| -> Vec<i64> {
            let found = store.posts(&query).await.unwrap();
            found.iter().map(|post| post.origin.offset).collect()
        };
        let any = || PostQuery {
            limit: 100,
            ..PostQuery::default()
        };
        let entity = Some(EntityId::from("ACME"));
        let campaign = Some(CampaignId::from("spring"));
        let id = Some("post-0".to_owned());
        let before = Some(posts[3].event_time);

        assert_eq!(ask(any()).await, [4, 3, 2, 1, 5, 0]);
        let query = PostQuery { limit: 2, ..any() };
        assert_eq!(ask(query).await, [4, 3]);
        let query = PostQuery { before, ..any() };
        assert_eq!(ask(query).await, [2, 1, 5, 0]);
        let query = PostQuery {
            entity: entity.clone(),
            ..any()
        };
        assert_eq!(ask(query.clone()).await, [4, 3, 2, 5, 0]);
        assert_eq!(ask(PostQuery { limit: 2, ..query }).await, [4, 3]);
        let query = PostQuery {
            campaign: campaign.clone(),
            ..any()
        };
        assert_eq!(ask(query).await, [4, 3, 1, 5, 0]);
        let query = PostQuery {
            entity: entity.clone(),
            campaign: campaign.clone(),
            before,
            ..any()
        };
        assert_eq!(ask(query).await, [5, 0]);
        let query = PostQuery { id, ..any() };
        assert_eq!(ask(query.clone()).await, [3, 0]);
        let query = PostQuery {
            entity,
            campaign,
            before,
            ..query
        };
        assert_eq!(ask(query).await, [0]);
    });
}

pub fn limits_are_kept_in_bounds(fresh: Fresh) {
    run(async {
        let open = fresh();
        let store = open();
        let posts: Vec<_> = (0..MAX_ROWS as i64 + 5).map(post).collect();
        store.insert(&posts_block(0, posts)).await.unwrap();
        for (limit, found) in [(0, 1), (1, 1), (usize::MAX, MAX_ROWS)] {
            let query = PostQuery {
                limit,
                ..PostQuery::default()
            };
            assert_eq!(store.posts(&query).await.unwrap().len(), found, "{limit}");
        }
    });
}

fn alert(alert_id: &str, kind: AlertKind, revision: u32, seconds: u64) -> AlertMessage {
    let start = at("2026-11-23T09:14:00Z");
    AlertMessage {
        id: message_id(alert_id, kind, revision),
        alert_id: alert_id.into(),
        kind,
        revision,
        at: start + Duration::from_secs(seconds),
        received_at: None,
        rule: "negative-spike".into(),
        entity: alert_id.to_uppercase().as_str().into(),
        severity: Severity::Critical,
        window: SpikeWindow {
            start,
            end: start + Duration::from_secs(60),
        },
        observed: Observed {
            mentions: 41,
            negative: 33,
            sources: 19,
            mean_score: -0.75,
        },
        expected: Expected {
            mentions: 9.25,
            negative: 1.5,
        },
        p_value: 1e-11,
        evidence: vec![Evidence {
            post_id: "p'1".into(),
            title: "Acme \0 recalls".into(),
            url: None,
            score: -0.5,
            copies: 7,
        }],
        model: "squall-mini".into(),
    }
}

pub fn an_alert_is_shown_with_its_latest_message(fresh: Fresh) {
    run(async {
        let open = fresh();
        let store = open();
        let messages = vec![
            alert("acme", AlertKind::Opened, 0, 0),
            alert("beta", AlertKind::Opened, 0, 10),
            alert("acme", AlertKind::Updated, 1, 20),
        ];
        let delivery = Delivery {
            message_id: messages[0].id.clone(),
            alert_id: "acme".into(),
            endpoint: "desk".into(),
            outcome: Outcome::Failed,
            attempts: 3,
            status: Some(503),
            error: "503 Service Unavailable".into(),
            first_attempt_at: messages[0].at,
            ended_at: messages[2].at,
        };
        let acknowledge = |by: &str, seconds| ControlAct::Acknowledge {
            alert_id: "acme".into(),
            by: by.into(),
            at: at("2026-11-23T10:00:00Z") + Duration::from_secs(seconds),
        };
        // An acknowledgement may be stored before the alert; the first by its own time counts.
        let acts = vec![
            acknowledge("ben", 9),
            acknowledge("ann", 5),
            acknowledge("cat", 7),
        ];
        let blocks = [
            block("squall.control", 0, 3, Rows::Control(acts)),
            block("squall.alerts", 0, 3, Rows::Alerts(messages.clone())),
            block(
                "squall.deliveries",
                0,
                1,
                Rows::Deliveries(vec![delivery.clone()]),
            ),
            // Sent again under new offsets, after a restart of who wrote them.
            block("squall.alerts", 3, 3, Rows::Alerts(messages.clone())),
            block(
                "squall.deliveries",
                1,
                1,
                Rows::Deliveries(vec![delivery.clone()]),
            ),
        ];
        for block in &blocks {
            store.insert(block).await.unwrap();
        }

        let any = AlertQuery {
            limit: 10,
            ..AlertQuery::default()
        };
        let rows = store.alerts(&any).await.unwrap();
        let acme = AlertRow {
            opened_at: messages[0].at,
            latest: messages[2].clone(),
            acknowledged: Some(("ann".into(), at("2026-11-23T10:00:05Z"))),
            deliveries: vec![delivery],
        };
        let beta = AlertRow {
            opened_at: messages[1].at,
            latest: messages[1].clone(),
            acknowledged: None,
            deliveries: Vec::new(),
        };
        assert_eq!(rows, [acme.clone(), beta.clone()]);
        let one = AlertQuery {
            limit: 0,
            ..AlertQuery::default()
        };
        assert_eq!(store.alerts(&one).await.unwrap(), [acme.clone()]);
        let by_entity = AlertQuery {
            entity: Some("BETA".into()),
            ..any.clone()
        };
        assert_eq!(store.alerts(&by_entity).await.unwrap(), [beta]);
        let by_id = AlertQuery {
            alert_id: Some("acme".into()),
            ..any
        };
        assert_eq!(store.alerts(&by_id).await.unwrap(), [acme]);
    });
}

pub fn clusters_and_feedback_are_counted(fresh: Fresh) {
    run(async {
        let open = fresh();
        let store = open();
        let cluster = |ordinal, novelty| MentionCluster {
            origin: post(1).origin,
            ordinal,
            entity: "ACME".into(),
            event_time: post(1).event_time,
            cluster: "e1:social:0:0".into(),
            novelty,
        };
        let rows = Rows::Clusters(vec![cluster(0, 1.0), cluster(1, 0.0)]);
        let first = block("squall.clusters", 0, 2, rows);
        store.insert(&first).await.unwrap();
        let again = block(
            "squall.clusters",
            2,
            1,
            Rows::Clusters(vec![cluster(0, 0.5)]),
        );
        store.insert(&again).await.unwrap();
        assert_eq!(rows_of(&*store, "mention_clusters").await, 2);
        assert_eq!(rows_of(&*store, "feedback").await, 0);
    });
}

pub fn times_of_1970_and_9999_are_found(fresh: Fresh) {
    run(async {
        let open = fresh();
        let store = open();
        let (earliest, latest) = all_time();
        let times = [
            earliest,
            at("1970-01-01T00:00:00Z"),
            at("2026-11-23T09:14:00Z"),
            latest,
        ];
        let mut posts: Vec<_> = (0..4).map(post).collect();
        for (post, time) in posts.iter_mut().zip(times) {
            post.event_time = time;
            post.published_at = time;
        }
        store.insert(&posts_block(0, posts.clone())).await.unwrap();
        posts.reverse();
        assert_eq!(all_posts(&*store).await, posts);
        assert_eq!(store.latest().await.unwrap(), Some(latest));

        let acme = EntityId::from("ACME");
        let hour = Duration::from_secs(3600);
        for time in times {
            let to = time + Duration::from_millis(1);
            // Nothing begins at the last instant, so the interval that ends there holds the minute before it.
            let points = store.timeline(&acme, time, to, hour).await.unwrap();
            assert_eq!(points.len(), 1, "{time}");
            assert_eq!(points[0].start, time.floor(hour));
            assert_eq!(store.entities(time, to).await.unwrap().len(), 2, "{time}");
            let figures = store.campaign(&"spring".into(), time, to).await.unwrap();
            assert_eq!(figures.total.posts, 1, "{time}");
            assert_eq!(figures.hours[0].0, time.floor(hour));
        }
        let points = store.timeline(&acme, earliest, latest, hour).await.unwrap();
        assert_eq!(points.len(), 4);
    });
}

pub fn no_number_from_outside_poisons_the_sums(fresh: Fresh) {
    run(async {
        let open = fresh();
        let store = open();
        let mut posts: Vec<_> = (0..4).map(post).collect();
        let broken = Sentiment {
            negative: f32::NAN,
            neutral: f32::INFINITY,
            positive: 0.0,
        };
        posts[0].sentiment = Some(broken);
        posts[0].mentions = vec![mention(0, "ACME", Some(broken))];
        posts[0].mentions[0].relevance = f32::NAN;
        for (post, followers) in posts.iter_mut().zip([u64::MAX, 7, u64::MAX, 1]) {
            post.author.as_mut().unwrap().followers = Some(followers);
            post.engagement = Some(Engagement {
                impressions: Some(u64::MAX),
                likes: Some(u64::MAX),
                shares: Some(u64::MAX),
                comments: None,
            });
        }
        // Two blocks, so that sums meet what is stored.
        let second = posts.split_off(2);
        store.insert(&posts_block(0, posts)).await.unwrap();
        store.insert(&posts_block(2, second)).await.unwrap();

        let (from, to) = all_time();
        let entities = store.entities(from, to).await.unwrap();
        let acme = &entities[0];
        assert_eq!((acme.entity.as_str(), acme.totals.mentions), ("ACME", 4));
        assert_eq!(acme.totals.scored, 3);
        assert_eq!(acme.totals.mean_score(), Some(-0.625));
        let figures = store.campaign(&"spring".into(), from, to).await.unwrap();
        let total = figures.total;
        assert_eq!((total.posts, total.scored, total.contributors), (4, 3, 3));
        assert_eq!(total.sums.negative, 2.25);
        assert!(total.impressions >= 1 << 53);
        assert!(total.potential_audience >= 1 << 53);
        assert!(total.engagement.likes >= Some(1 << 53));
        assert_eq!(total.engagement.comments, None);
        assert_eq!(all_posts(&*store).await.len(), 4);
    });
}

pub fn steps_of_a_timeline_are_whole_minutes(fresh: Fresh) {
    run(async {
        let open = fresh();
        let store = open();
        let start = at("2026-11-23T09:00:00Z");
        let mut posts: Vec<_> = (0..4).map(post).collect();
        for (post, seconds) in posts.iter_mut().zip([0, 59, 61, 3600]) {
            post.event_time = start + Duration::from_secs(seconds);
        }
        store.insert(&posts_block(0, posts)).await.unwrap();
        let acme = EntityId::from("ACME");
        let steps = async |from: u64, to: u64, step: Duration| -> Vec<(u64, u64)> {
            let (from, to) = (
                start + Duration::from_secs(from),
                start + Duration::from_secs(to),
            );
            let points = store.timeline(&acme, from, to, step).await.unwrap();
            let told =
                |point: &TimelinePoint| (point.start.since(start).as_secs(), point.totals.mentions);
            points.iter().map(told).collect()
        };
        let minute = Duration::from_secs(60);
        assert_eq!(steps(0, 3601, minute).await, [(0, 2), (60, 1), (3600, 1)]);
        assert_eq!(steps(0, 3600, minute).await, [(0, 2), (60, 1)]);
        // Bounds widen to whole minutes, steps are rounded up to them.
        assert_eq!(steps(30, 61, Duration::ZERO).await, [(0, 2), (60, 1)]);
        assert_eq!(steps(61, 90, minute).await, [(60, 1)]);
        let step = Duration::from_secs(61);
        assert_eq!(steps(0, 3600, step).await, [(0, 3)]);
        assert_eq!(steps(0, 7200, Duration::MAX).await.len(), 1);
    });
}

pub fn what_is_not_there_is_empty(fresh: Fresh) {
    run(async {
        let open = fresh();
        let store = open();
        let (from, to) = all_time();
        let own = partition("squall.scored", 0);
        assert_eq!(store.latest().await.unwrap(), None);
        assert_eq!(
            store.position(&own).await.unwrap(),
            StoredPosition::default()
        );
        let empty = store.version().await.unwrap();
        let nothing = store.insert(&posts_block(0, Vec::new())).await.unwrap();
        assert_eq!(nothing, Inserted::default());
        assert_eq!(store.version().await.unwrap(), empty);

        store.insert(&posts_block(0, vec![post(0)])).await.unwrap();
        assert_ne!(store.version().await.unwrap(), empty);
        let figures = store.campaign(&"nobody's".into(), from, to).await;
        assert_eq!(figures.unwrap(), CampaignFigures::default());
        // The wrong way round.
        assert_eq!(store.entities(to, from).await.unwrap(), []);
        assert_eq!(store.campaigns(to, from).await.unwrap(), []);
        let absent = PostQuery {
            id: Some("post".into()),
            ..PostQuery::default()
        };
        assert_eq!(store.posts(&absent).await.unwrap(), []);
        assert_eq!(store.alerts(&AlertQuery::default()).await.unwrap(), []);
    });
}
