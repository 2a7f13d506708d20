//! Posts: as a row of `posts`, and how they are found.

use super::client::Session;
use super::values::{self, Probabilities, sentiment, time};
use crate::domain::{
    Author, CampaignId, Engagement, EntityId, Mention, Origin, PostStatus, ScoredPost,
    SourcePartition, Timestamp,
};
use crate::store::{Block, MAX_ROWS, PostQuery, StoreResult};
use clickhouse::Row;
use serde::{Deserialize, Serialize};
use std::collections::HashSet;

/// Origins that are looked for with one query.
const ORIGINS: usize = 1000;

/// A row of `posts`, but for what the server fills in.
#[derive(Row, Serialize, Deserialize)]
pub struct PostRow {
    epoch: String,
    topic: String,
    partition: i32,
    offset: i64,
    log_epoch: String,
    log_topic: String,
    log_partition: i32,
    log_offset: i64,
    published_at: i64,
    event_time: i64,
    received_at: i64,
    scored_at: i64,
    recorded_at: i64,
    id: String,
    first_origin: String,
    source: String,
    channel: String,
    title: String,
    text: String,
    url: Option<String>,
    lang: String,
    author: Option<String>,
    followers: Option<u64>,
    impressions: Option<u64>,
    likes: Option<u64>,
    shares: Option<u64>,
    comments: Option<u64>,
    tags: Vec<String>,
    campaigns: Vec<String>,
    status: i8,
    replaces: Option<String>,
    backfill: bool,
    signature: u64,
    model: String,
    p_negative: Option<f32>,
    p_neutral: Option<f32>,
    p_positive: Option<f32>,
    mention_ordinal: Vec<u32>,
    mention_entity: Vec<String>,
    mention_p_negative: Vec<Option<f32>>,
    mention_p_neutral: Vec<Option<f32>>,
    mention_p_positive: Vec<Option<f32>>,
    mention_relevance: Vec<f32>,
}

impl PostRow {
    /// The row of a post that stands at an offset of a block's partition.
    pub fn new(block: &Block, log_offset: i64, post: &ScoredPost) -> Self {
        let engagement = post.engagement.unwrap_or_default();
        let author = post.author.as_ref();
        let whole = Probabilities::of(post.sentiment);
        let mentions = &post.mentions;
        let each = |mention: &Mention| Probabilities::of(mention.sentiment);
        let first_origin = post.first_origin.as_ref();
        Self {
            epoch: post.origin.source.epoch.to_string(),
            topic: post.origin.source.topic.to_string(),
            partition: post.origin.source.partition,
            offset: post.origin.offset,
            log_epoch: block.partition.epoch.to_string(),
            log_topic: block.partition.topic.to_string(),
            log_partition: block.partition.partition,
            log_offset,
            published_at: values::millis(post.published_at),
            event_time: values::millis(post.event_time),
            received_at: values::millis(post.received_at),
            scored_at: values::millis(post.scored_at),
            recorded_at: values::millis(post.recorded_at),
            id: post.id.clone(),
            first_origin: first_origin.map(Origin::to_string).unwrap_or_default(),
            source: post.source.clone(),
            channel: post.channel.clone(),
            title: post.title.clone(),
            text: post.text.clone(),
            url: post.url.clone(),
            lang: post.lang.clone(),
            author: author.map(|author| author.id.clone()),
            followers: author.and_then(|author| author.followers),
            impressions: engagement.impressions,
            likes: engagement.likes,
            shares: engagement.shares,
            comments: engagement.comments,
            tags: post.tags.clone(),
            campaigns: post.campaigns.iter().map(CampaignId::to_string).collect(),
            status: status_number(post.status),
            replaces: post.replaces.clone(),
            backfill: post.backfill,
            signature: post.signature,
            model: post.model.clone(),
            p_negative: whole.negative,
            p_neutral: whole.neutral,
            p_positive: whole.positive,
            mention_ordinal: mentions.iter().map(|mention| mention.ordinal).collect(),
            mention_entity: mentions.iter().map(|m| m.entity.to_string()).collect(),
            mention_p_negative: mentions.iter().map(|m| each(m).negative).collect(),
            mention_p_neutral: mentions.iter().map(|m| each(m).neutral).collect(),
            mention_p_positive: mentions.iter().map(|m| each(m).positive).collect(),
            mention_relevance: mentions.iter().map(|m| number(m.relevance)).collect(),
        }
    }
}

impl From<PostRow> for ScoredPost {
    fn from(row: PostRow) -> Self {
        let engagement = Engagement {
            impressions: row.impressions,
            likes: row.likes,
            shares: row.shares,
            comments: row.comments,
        };
        let entities = row.mention_ordinal.into_iter().zip(&row.mention_entity);
        let mentions = entities.enumerate().map(|(index, (ordinal, entity))| {
            let at = |list: &[Option<f32>]| list.get(index).copied().flatten();
            Mention {
                ordinal,
                entity: EntityId::from(entity.as_str()),
                sentiment: sentiment(
                    at(&row.mention_p_negative),
                    at(&row.mention_p_neutral),
                    at(&row.mention_p_positive),
                ),
                relevance: row.mention_relevance.get(index).copied().unwrap_or(0.0),
            }
        });
        Self {
            mentions: mentions.collect(),
            origin: Origin {
                source: SourcePartition {
                    epoch: row.epoch.into(),
                    topic: row.topic.into(),
                    partition: row.partition,
                },
                offset: row.offset,
            },
            first_origin: row.first_origin.parse().ok(),
            published_at: time(row.published_at),
            event_time: time(row.event_time),
            received_at: time(row.received_at),
            scored_at: time(row.scored_at),
            recorded_at: time(row.recorded_at),
            id: row.id,
            source: row.source,
            channel: row.channel,
            title: row.title,
            text: row.text,
            url: row.url,
            lang: row.lang,
            author: row.author.map(|id| Author {
                id,
                followers: row.followers,
            }),
            engagement: (engagement != Engagement::default()).then_some(engagement),
            tags: row.tags,
            status: status_of(row.status),
            replaces: row.replaces,
            backfill: row.backfill,
            signature: row.signature,
            model: row.model,
            sentiment: sentiment(row.p_negative, row.p_neutral, row.p_positive),
            campaigns: row.campaigns.iter().map(|id| id.as_str().into()).collect(),
        }
    }
}

/// The key of `posts`, the other way round, so that it is read from its end.
const LATEST: &str =
    "ORDER BY event_time DESC, epoch DESC, topic DESC, partition DESC, offset DESC LIMIT ?";

/// Posts, latest event time first.
pub async fn posts(session: &Session, query: &PostQuery) -> StoreResult<Vec<ScoredPost>> {
    let limit = query.limit.clamp(1, MAX_ROWS) as u64;
    let before = query.before.map(values::millis);
    let until = before.map_or(
        "",
        |_| "AND event_time < fromUnixTimestamp64Milli(?, 'UTC')",
    );
    let rows: Vec<PostRow> = match (&query.entity, &query.id, &query.campaign) {
        // `mentions` is ordered for it.
        (Some(entity), None, None) => {
            let sql = format!(
                "SELECT ?fields FROM posts WHERE (event_time, epoch, topic, partition, offset) IN (
                    SELECT DISTINCT event_time, epoch, topic, partition, offset FROM mentions
                    WHERE entity = ? {until} {LATEST}
                 ) {LATEST}"
            );
            let mut asked = session.query(&sql).bind(entity.as_str());
            if let Some(before) = before {
                asked = asked.bind(before);
            }
            session.all(asked.bind(limit).bind(limit)).await?
        }
        (entity, id, campaign) => {
            let conditions = [
                entity.as_ref().map(|_| "AND has(mention_entity, ?)"),
                id.as_ref().map(|_| "AND id = ?"),
                campaign.as_ref().map(|_| "AND has(campaigns, ?)"),
            ];
            let conditions: String = conditions.into_iter().flatten().collect();
            let sql = format!("SELECT ?fields FROM posts WHERE 1 {conditions} {until} {LATEST}");
            let values = [
                entity.as_ref().map(EntityId::as_str),
                id.as_deref(),
                campaign.as_ref().map(CampaignId::as_str),
            ];
            let mut asked = session.query(&sql);
            for value in values.into_iter().flatten() {
                asked = asked.bind(value);
            }
            if let Some(before) = before {
                asked = asked.bind(before);
            }
            session.all(asked.bind(limit)).await?
        }
    };
    Ok(rows.into_iter().map(ScoredPost::from).collect())
}

/// Highest event time.
pub async fn latest(session: &Session) -> StoreResult<Option<Timestamp>> {
    let sql = "SELECT event_time FROM posts ORDER BY event_time DESC LIMIT 1";
    let latest: Option<i64> = session.optional(session.query(sql)).await?;
    Ok(latest.map(time))
}

/// Number of posts, which the server has counted.
pub async fn count(session: &Session) -> StoreResult<u64> {
    session
        .one(session.query("SELECT count() FROM posts"))
        .await
}

/// Which of these are first origins of posts.
pub async fn replayed(session: &Session, origins: &[Origin]) -> StoreResult<HashSet<Origin>> {
    let mut found = HashSet::new();
    if origins.is_empty() {
        return Ok(found);
    }
    session.settled("posts").await?;
    for some in origins.chunks(ORIGINS) {
        let texts: Vec<String> = some.iter().map(Origin::to_string).collect();
        let sql = "SELECT DISTINCT first_origin FROM posts WHERE first_origin IN ?";
        let rows: Vec<String> = session.all(session.query(sql).bind(texts)).await?;
        found.extend(rows.iter().filter_map(|text| text.parse().ok()));
    }
    Ok(found)
}

/// Numbers of the column's enumeration.
fn status_number(status: PostStatus) -> i8 {
    match status {
        PostStatus::Live => 1,
        PostStatus::Corrected => 2,
        PostStatus::Retracted => 3,
    }
}

fn status_of(number: i8) -> PostStatus {
    match number {
        2 => PostStatus::Corrected,
        3 => PostStatus::Retracted,
        _ => PostStatus::Live,
    }
}

/// What is no number is no relevance.
fn number(relevance: f32) -> f32 {
    if relevance.is_finite() {
        relevance
    } else {
        0.0
    }
}
