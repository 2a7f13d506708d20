//! The aggregates against a plain recount of the posts.

use super::*;
use proptest::prelude::*;
use proptest::test_runner::{Config, TestRunner};
use std::cell::Cell;

const ENTITIES: [&str; 4] = ["ACME", "BETA", "CORP", "TECH"];
const CAMPAIGNS: [&str; 2] = ["spring", "autumn"];
const HOUR: Duration = Duration::from_secs(3600);

/// Posts in order of release, each of one of two source partitions; how far the release goes back after each
/// (a restart of SCORE); and lengths of blocks, each with how far it reaches back and whether it comes twice.
#[derive(Debug)]
struct Story {
    posts: Vec<ScoredPost>,
    back: Vec<usize>,
    blocks: Vec<(usize, usize, bool)>,
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
    let back = prop::collection::vec(prop_oneof![4 => Just(0usize), 1 => 1usize..8], 30);
    let blocks = prop::collection::vec((1usize..9, 0usize..4, any::<bool>()), 1..40);
    let posts = prop::collection::vec(any_post(), 1..30);
    (posts, back, blocks, 0u64..6 * 3600, 0u64..6 * 3600).prop_map(
        |(mut posts, back, blocks, from, length)| {
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
                back,
                blocks,
                range,
            }
        },
    )
}

/// All blocks of a story; the last takes what the lengths leave over.
fn blocks(story: &Story) -> Vec<Block> {
    let mut stream = Vec::new();
    for (at, back) in (0..story.posts.len()).zip(&story.back) {
        stream.push(at);
        stream.extend(at.saturating_sub(*back)..if *back > 0 { at + 1 } else { at });
    }
    let mut blocks = Vec::new();
    let mut end = 0;
    for (length, reach_back, twice) in &story.blocks {
        let start = end.max(*reach_back) - reach_back;
        end = stream.len().min(end + length);
        let rows = stream[start..end].iter().map(|at| story.posts[*at].clone());
        let block = posts_block(start as i64, rows.collect());
        blocks.extend(vec![block; if *twice { 2 } else { 1 }]);
    }
    let rest = stream[end..].iter().map(|at| story.posts[*at].clone());
    blocks.push(posts_block(end as i64, rest.collect()));
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

async fn check(store: &dyn Store, story: &Story) {
    let mut rows = 0;
    for block in blocks(story) {
        rows += store.insert(&block).await.unwrap().rows;
    }
    assert_eq!(rows, story.posts.len());
    assert_eq!(rows_of(store, "posts").await, rows as u64);
    assert_eq!(store.post_count().await.unwrap(), rows as u64);

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

/// Whatever blocks, repeats and restarts there were.
pub fn aggregates_equal_a_recount_of_the_rows(fresh: Fresh) {
    let cases = Cell::new(0);
    TestRunner::new(Config::with_cases(48))
        .run(&stories(), |story| {
            cases.set(cases.get() + 1);
            let open = fresh();
            run(check(&*open(), &story));
            Ok(())
        })
        .unwrap();
    assert!(cases.get() >= 48);
}
