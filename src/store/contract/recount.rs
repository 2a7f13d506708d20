//! The aggregates against a plain recount of the posts.

use super::*;
use proptest::prelude::*;
use proptest::test_runner::{Config, TestRunner};
use std::cell::Cell;

const ENTITIES: [&str; 4] = ["ACME", "BETA", "CORP", "TECH"];
const CAMPAIGNS: [&str; 2] = ["spring", "autumn"];
const HOUR: Duration = Duration::from_secs(3600);

/// Posts in order of release, each of one of two source partitions; and lengths of blocks, each with how many
/// offsets before each row were left out of it, and whether it comes twice.
#[derive(Debug)]
struct Story {
    posts: Vec<ScoredPost>,
    blocks: Vec<(usize, i64, bool)>,
    range: (Timestamp, Timestamp),
}

fn sentiment() -> impl Strategy<Value = Option<Sentiment>> {
    prop::option::of((0u8..=10, 0u8..=10).prop_map(|(one, two)| {
        let negative = f32::from(one) / 10.0;
        let neutral = (1.0 - negative) * f32::from(two) / 10.0;
        Sentiment {
            negative,
            neutral,
            positive: 1.0 - negative - neutral,
        }
    }))
}

fn any_post() -> impl Strategy<Value = ScoredPost> {
    let text = (0usize..3, 0i32..2, 0u64..5 * 3600);
    let author = prop::option::of((0u8..4, prop::option::of(0u64..1000)));
    let count = || prop::option::of(0u64..1000);
    let engagement = prop::option::of((count(), count(), count(), count()));
    let mentions = prop::collection::vec((0..ENTITIES.len(), sentiment()), 0..4);
    let campaigns = prop::collection::vec(0..CAMPAIGNS.len(), 0..3);
    (text, author, engagement, sentiment(), mentions, campaigns).prop_map(
        |((channel, source, seconds), author, engagement, sentiment, mentions, campaigns)| {
            let mut made = post(0);
            made.origin.source.partition = source;
            made.event_time = at("2026-11-23T09:30:00Z") + Duration::from_secs(seconds);
            made.channel = ["forum", "blog", "search"][channel].into();
            made.author = author.map(|(id, followers)| Author {
                id: id.to_string(),
                followers,
            });
            made.engagement = engagement.map(|(impressions, likes, shares, comments)| Engagement {
                impressions,
                likes,
                shares,
                comments,
            });
            made.sentiment = sentiment;
            made.mentions = mentions
                .into_iter()
                .enumerate()
                .map(|(ordinal, (entity, sentiment))| {
                    mention(ordinal as u32, ENTITIES[entity], sentiment)
                })
                .collect();
            made.campaigns = campaigns.into_iter().map(|c| CAMPAIGNS[c].into()).collect();
            made
        },
    )
}

fn stories() -> impl Strategy<Value = Story> {
    let blocks = prop::collection::vec((1usize..9, 0i64..4, any::<bool>()), 1..40);
    let posts = prop::collection::vec(any_post(), 1..30);
    (posts, blocks, 0u64..6 * 3600, 0u64..6 * 3600).prop_map(|(mut posts, blocks, from, length)| {
        let mut offsets = [10, 20];
        for post in &mut posts {
            let offset = &mut offsets[post.origin.source.partition as usize];
            post.origin.offset = *offset;
            *offset += 1;
        }
        let from = at("2026-11-23T09:00:00Z") + Duration::from_secs(from);
        let range = (from, from + Duration::from_secs(length));
        Story {
            posts,
            blocks,
            range,
        }
    })
}

/// All blocks of a story, each with how often it comes; the last takes what the lengths leave over.
fn blocks(story: &Story) -> Vec<(Block, usize)> {
    let mut blocks = Vec::new();
    let mut posts = story.posts.as_slice();
    let mut start = 0;
    let rest = (usize::MAX, 0, false);
    for (length, left_out, twice) in story.blocks.iter().copied().chain([rest]) {
        let (some, further) = posts.split_at(length.min(posts.len()));
        posts = further;
        let step = left_out + 1;
        let offsets: Vec<i64> = (1..=some.len() as i64)
            .map(|n| start + n * step - 1)
            .collect();
        let end = start + some.len() as i64 * step;
        let block = Block {
            partition: partition("squall.scored", 0),
            start,
            end,
            rows: Rows::Posts(some.to_vec()),
            offsets,
        };
        blocks.push((block, if twice { 2 } else { 1 }));
        start = end;
    }
    blocks
}

/// Sums as a person would take them.
fn recount<'a>(posts: impl Iterator<Item = &'a ScoredPost>) -> CampaignTotals {
    let mut totals = CampaignTotals::default();
    let mut followers = BTreeMap::<&str, u64>::new();
    let add = |sum: &mut Option<u64>, count: Option<u64>| {
        if let Some(count) = count {
            *sum = Some(sum.unwrap_or(0) + count);
        }
    };
    for post in posts {
        totals.posts += 1;
        if let Some(author) = &post.author {
            let highest = followers.entry(&author.id).or_default();
            *highest = (*highest).max(author.followers.unwrap_or(0));
        }
        let counts = post.engagement.unwrap_or_default();
        if let Some(impressions) = counts.impressions {
            totals.posts_with_impressions += 1;
            totals.impressions += impressions;
            for count in [counts.likes, counts.shares, counts.comments] {
                totals.engagements_with_impressions += count.unwrap_or(0);
            }
        }
        add(&mut totals.engagement.likes, counts.likes);
        add(&mut totals.engagement.shares, counts.shares);
        add(&mut totals.engagement.comments, counts.comments);
        if let Some(sentiment) = &post.sentiment {
            totals.scored += 1;
            totals.sums.negative += f64::from(sentiment.negative);
            totals.sums.neutral += f64::from(sentiment.neutral);
            totals.sums.positive += f64::from(sentiment.positive);
        }
    }
    totals.contributors = followers.len() as u64;
    totals.potential_audience = followers.values().sum();
    totals
}

fn recount_mentions<'a>(mentions: impl Iterator<Item = &'a Mention>) -> MentionTotals {
    let mut totals = MentionTotals::default();
    for mention in mentions {
        totals.mentions += 1;
        let Some(sentiment) = mention.sentiment else {
            continue;
        };
        totals.scored += 1;
        totals.negative += u64::from(sentiment.label() == Label::Negative);
        totals.positive += u64::from(sentiment.label() == Label::Positive);
        totals.sum_negative += f64::from(sentiment.negative);
        totals.sum_neutral += f64::from(sentiment.neutral);
        totals.sum_positive += f64::from(sentiment.positive);
    }
    totals
}

/// Rounds sums, which may be taken in any order.
fn rounded(mut totals: CampaignTotals) -> CampaignTotals {
    let sums = &mut totals.sums;
    for sum in [&mut sums.negative, &mut sums.neutral, &mut sums.positive] {
        *sum = (*sum * 1e4).round();
    }
    totals
}

fn rounded_mentions(mut totals: MentionTotals) -> MentionTotals {
    for sum in [
        &mut totals.sum_negative,
        &mut totals.sum_neutral,
        &mut totals.sum_positive,
    ] {
        *sum = (*sum * 1e4).round();
    }
    totals
}

async fn check(subject: &Subject, story: &Story) {
    let store = &*subject.open().await;
    for (block, times) in blocks(story) {
        subject.insert(store, &block).await;
        for _ in 1..times {
            subject.insert_again(store, &block).await;
        }
        let stored = store.position(&block.partition).await.unwrap();
        assert_eq!(stored.end, block.end);
    }
    let rows = story.posts.len() as u64;
    assert_eq!(rows_of(store, "posts").await, rows);
    assert_eq!(store.post_count().await.unwrap(), rows);

    let (from, to) = story.range;
    let minute = Duration::from_secs(60);
    let within = |step: Duration| {
        story
            .posts
            .iter()
            .filter(move |post| post.event_time.floor(step) >= from.floor(step))
            .filter(move |post| post.event_time.floor(step) < to)
    };

    let entities = store.entities(from, to).await.unwrap();
    let named: BTreeSet<&EntityId> = within(minute)
        .flat_map(|post| &post.mentions)
        .map(|mention| &mention.entity)
        .collect();
    assert_eq!(entities.len(), named.len());
    assert!(entities.is_sorted_by(|a, b| a.totals.mentions >= b.totals.mentions));
    for entity in entities {
        let mentions = |post: &'_ ScoredPost| -> Vec<Mention> {
            let of_entity = |mention: &&Mention| mention.entity == entity.entity;
            post.mentions.iter().filter(of_entity).cloned().collect()
        };
        let counted: Vec<Mention> = within(minute).flat_map(mentions).collect();
        let totals = rounded_mentions(recount_mentions(counted.iter()));
        assert_eq!(rounded_mentions(entity.totals), totals);

        let step = 7 * minute;
        let points = store
            .timeline(&entity.entity, from, to, step)
            .await
            .unwrap();
        assert!(points.is_sorted_by(|a, b| a.start < b.start));
        let sum: u64 = points.iter().map(|point| point.totals.mentions).sum();
        assert_eq!(sum, totals.mentions);
        for point in points {
            let counted: Vec<Mention> = within(minute)
                .filter(|post| post.event_time.floor(step) == point.start)
                .flat_map(mentions)
                .collect();
            let totals = rounded_mentions(recount_mentions(counted.iter()));
            assert_eq!(rounded_mentions(point.totals), totals);
        }
    }

    // Seven hours hold all that there is.
    let timelines = store.timelines(from, to, 7 * HOUR).await.unwrap();
    let totals = store.entities(from, to).await.unwrap();
    assert_eq!(timelines.len(), totals.len());
    for timeline in timelines {
        let of_entity = totals
            .iter()
            .find(|totals| totals.entity == timeline.entity);
        let [point] = timeline.points[..] else {
            panic!("one step");
        };
        assert_eq!(point.start, from.floor(minute));
        assert_eq!(
            rounded_mentions(point.totals),
            rounded_mentions(of_entity.unwrap().totals)
        );
    }

    let campaigns = store.campaigns(from, to).await.unwrap();
    assert!(campaigns.is_sorted_by(|a, b| a.1.posts >= b.1.posts));
    for id in CAMPAIGNS.map(CampaignId::from) {
        let posts: Vec<_> = within(HOUR)
            .filter(|post| post.campaigns.contains(&id))
            .collect();
        let total = rounded(recount(posts.iter().copied()));
        let listed = campaigns.iter().find(|(listed, _)| *listed == id);
        assert_eq!(listed.is_some(), !posts.is_empty());
        if let Some((_, listed)) = listed {
            assert_eq!(rounded(*listed), total);
        }
        let figures = store.campaign(&id, from, to).await.unwrap();
        assert_eq!(rounded(figures.total), total);
        let mut channels = 0;
        for (channel, totals) in figures.channels {
            let of_channel = posts.iter().filter(|post| post.channel == channel);
            assert_eq!(rounded(totals), rounded(recount(of_channel.copied())));
            channels += totals.posts;
        }
        assert_eq!(channels, total.posts);
        assert!(figures.hours.is_sorted_by_key(|hour| hour.0));
        let mut hours = 0;
        for (hour, channel, totals) in figures.hours {
            let of_cell = posts
                .iter()
                .filter(|post| post.channel == channel && post.event_time.floor(HOUR) == hour);
            assert_eq!(rounded(totals), rounded(recount(of_cell.copied())));
            hours += totals.posts;
        }
        assert_eq!(hours, total.posts);
    }
}

/// Whatever blocks there were, and however often they came.
pub async fn aggregates_equal_a_recount_of_the_rows(subject: &Subject) {
    let fresh = subject.fresh;
    let cases = subject.cases;
    // The runner is not asynchronous: it gets a thread of its own, where each case can run to its end.
    let test = move || {
        let counted = Cell::new(0);
        TestRunner::new(Config::with_cases(cases))
            .run(&stories(), |story| {
                counted.set(counted.get() + 1);
                run(check(&fresh().unwrap(), &story));
                Ok(())
            })
            .unwrap();
        assert!(counted.get() >= cases);
    };
    std::thread::spawn(test).join().unwrap();
}
