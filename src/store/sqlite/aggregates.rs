//! The aggregates: `entity_minutes`, and of campaigns `campaign_hours` and their contributors. Summed up in memory
//! over a block, then added to what is stored, so that a block touches each row once.

use super::read::count;
use super::write::{campaigns_of, integer};
use crate::campaign::figures::CampaignTotals;
use crate::domain::{EntityId, ScoredPost, Timestamp};
use crate::store::{EntityTimeline, EntityTotals, MentionTotals, TimelinePoint};
use rusqlite::{Result, Row, Transaction, params};
use std::collections::BTreeMap;
use std::time::Duration;

const MINUTE: Duration = Duration::from_secs(60);
/// A step of the campaign aggregates.
pub const HOUR: Duration = Duration::from_secs(3600);

/// Counts saturate here, so that sums of counts from outside neither overflow nor lose precision.
const MAX_COUNT: u64 = 1 << 53;

/// What a block adds, by the keys of the tables.
#[derive(Default)]
pub struct Aggregates<'a> {
    minutes: BTreeMap<(Timestamp, &'a str), MentionTotals>,
    hours: BTreeMap<(Timestamp, &'a str, &'a str), CampaignTotals>,
    /// Campaign, hour, channel, author; highest followers.
    contributors: BTreeMap<(&'a str, Timestamp, &'a str, &'a str), u64>,
}

impl<'a> Aggregates<'a> {
    /// Adds a post with its mentions.
    pub fn add(&mut self, post: &'a ScoredPost) {
        let minute = post.event_time.floor(MINUTE);
        for mention in &post.mentions {
            self.minutes
                .entry((minute, mention.entity.as_str()))
                .or_default()
                .add(mention.sentiment.as_ref());
        }
        let hour = post.event_time.floor(HOUR);
        for campaign in campaigns_of(post) {
            self.hours
                .entry((hour, campaign.as_str(), &post.channel))
                .or_default()
                .add_post(post);
            if let Some(author) = &post.author {
                let followers = self
                    .contributors
                    .entry((campaign.as_str(), hour, &post.channel, &author.id))
                    .or_default();
                *followers = author.followers.unwrap_or(0).max(*followers);
            }
        }
    }

    /// Adds the sums to what is stored.
    pub fn write(&self, transaction: &Transaction<'_>) -> Result<()> {
        let mut minutes = transaction.prepare_cached(
            "INSERT INTO entity_minutes VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?) ON CONFLICT DO UPDATE SET
             mentions = mentions + excluded.mentions, scored = scored + excluded.scored,
             negative = negative + excluded.negative, positive = positive + excluded.positive,
             sum_negative = sum_negative + excluded.sum_negative, sum_neutral = sum_neutral + excluded.sum_neutral,
             sum_positive = sum_positive + excluded.sum_positive",
        )?;
        for ((minute, entity), totals) in &self.minutes {
            minutes.execute(params![
                minute.millis(),
                entity,
                integer(totals.mentions),
                integer(totals.scored),
                integer(totals.negative),
                integer(totals.positive),
                totals.sum_negative,
                totals.sum_neutral,
                totals.sum_positive,
            ])?;
        }

        let mut hours = transaction.prepare_cached(
            "INSERT INTO campaign_hours VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9, ?10, ?11, ?12, ?13, ?14)
             ON CONFLICT DO UPDATE SET posts = posts + excluded.posts,
             posts_with_impressions = posts_with_impressions + excluded.posts_with_impressions,
             impressions = min(impressions + excluded.impressions, ?15),
             engagements_with_impressions = min(engagements_with_impressions + excluded.engagements_with_impressions, ?15),
             likes = min(coalesce(likes + excluded.likes, likes, excluded.likes), ?15),
             shares = min(coalesce(shares + excluded.shares, shares, excluded.shares), ?15),
             comments = min(coalesce(comments + excluded.comments, comments, excluded.comments), ?15),
             scored = scored + excluded.scored, sum_negative = sum_negative + excluded.sum_negative,
             sum_neutral = sum_neutral + excluded.sum_neutral, sum_positive = sum_positive + excluded.sum_positive",
        )?;
        for ((hour, campaign, channel), totals) in &self.hours {
            hours.execute(params![
                hour.millis(),
                campaign,
                channel,
                integer(totals.posts),
                integer(totals.posts_with_impressions),
                bounded(totals.impressions),
                bounded(totals.engagements_with_impressions),
                totals.engagement.likes.map(bounded),
                totals.engagement.shares.map(bounded),
                totals.engagement.comments.map(bounded),
                integer(totals.scored),
                totals.sums.negative,
                totals.sums.neutral,
                totals.sums.positive,
                integer(MAX_COUNT),
            ])?;
        }

        let mut contributors = transaction.prepare_cached(
            "INSERT INTO campaign_contributors VALUES (?, ?, ?, ?, ?)
             ON CONFLICT DO UPDATE SET followers = max(followers, excluded.followers)",
        )?;
        for ((campaign, hour, channel, author), followers) in &self.contributors {
            contributors.execute(params![
                campaign,
                hour.millis(),
                channel,
                author,
                bounded(*followers)
            ])?;
        }
        Ok(())
    }
}

/// Per entity its totals in `[from, to)`, most mentions first.
pub fn entities(
    transaction: &Transaction<'_>,
    from: Timestamp,
    to: Timestamp,
) -> Result<Vec<EntityTotals>> {
    transaction
        .prepare_cached(
            "SELECT SUM(mentions), SUM(scored), SUM(negative), SUM(positive), SUM(sum_negative), SUM(sum_neutral),
             SUM(sum_positive), entity FROM entity_minutes WHERE minute >= ? AND minute < ?
             GROUP BY entity ORDER BY 1 DESC, entity",
        )?
        .query_map(params![from.floor(MINUTE).millis(), to.millis()], |row| {
            Ok(EntityTotals {
                entity: EntityId::from(row.get_ref(7)?.as_str()?),
                totals: mention_totals(row)?,
            })
        })?
        .collect()
}

/// Totals of one entity in `[from, to)`, by steps.
pub fn timeline(
    transaction: &Transaction<'_>,
    entity: &EntityId,
    from: Timestamp,
    to: Timestamp,
    step: Duration,
) -> Result<Vec<TimelinePoint>> {
    let step = whole_minutes(step);
    transaction
        .prepare_cached(
            "SELECT SUM(mentions), SUM(scored), SUM(negative), SUM(positive), SUM(sum_negative), SUM(sum_neutral),
             SUM(sum_positive), minute - ((minute % ?4) + ?4) % ?4 AS start
             FROM entity_minutes WHERE entity = ?1 AND minute >= ?2 AND minute < ?3 GROUP BY start ORDER BY start",
        )?
        .query_map(
            params![entity.as_str(), from.floor(MINUTE).millis(), to.millis(), step],
            |row| {
                Ok(TimelinePoint {
                    start: Timestamp::from_millis(row.get(7)?),
                    totals: mention_totals(row)?,
                })
            },
        )?
        .collect()
}

/// Totals of every entity in `[from, to)`, by steps counted from `from`.
pub fn timelines(
    transaction: &Transaction<'_>,
    from: Timestamp,
    to: Timestamp,
    step: Duration,
) -> Result<Vec<EntityTimeline>> {
    let mut timelines: Vec<EntityTimeline> = Vec::new();
    let mut statement = transaction.prepare_cached(
        "SELECT SUM(mentions), SUM(scored), SUM(negative), SUM(positive), SUM(sum_negative), SUM(sum_neutral),
         SUM(sum_positive), entity, minute - (minute - ?1) % ?3 AS start
         FROM entity_minutes WHERE minute >= ?1 AND minute < ?2 GROUP BY entity, start ORDER BY entity, start",
    )?;
    let mut rows = statement.query(params![
        from.floor(MINUTE).millis(),
        to.millis(),
        whole_minutes(step)
    ])?;
    while let Some(row) = rows.next()? {
        let entity = row.get_ref(7)?.as_str()?;
        let point = TimelinePoint {
            start: Timestamp::from_millis(row.get(8)?),
            totals: mention_totals(row)?,
        };
        match timelines.last_mut() {
            Some(last) if last.entity.as_str() == entity => last.points.push(point),
            _ => timelines.push(EntityTimeline {
                entity: entity.into(),
                points: vec![point],
            }),
        }
    }
    Ok(timelines)
}

/// A step in milliseconds, rounded up to whole minutes.
fn whole_minutes(step: Duration) -> i64 {
    let minutes = step.as_millis().div_ceil(MINUTE.as_millis());
    minutes.clamp(1, 1 << 32) as i64 * MINUTE.as_millis() as i64
}

fn mention_totals(row: &Row<'_>) -> Result<MentionTotals> {
    Ok(MentionTotals {
        mentions: count(row, 0)?,
        scored: count(row, 1)?,
        negative: count(row, 2)?,
        positive: count(row, 3)?,
        sum_negative: row.get(4)?,
        sum_neutral: row.get(5)?,
        sum_positive: row.get(6)?,
    })
}

fn bounded(count: u64) -> i64 {
    integer(count.min(MAX_COUNT))
}
