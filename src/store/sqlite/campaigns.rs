//! Reading the figures of campaigns.

use super::aggregates::HOUR;
use super::read::{count, known_count};
use crate::campaign::figures::{CampaignFigures, CampaignTotals, SentimentSums};
use crate::domain::{CampaignId, Engagement, Timestamp};
use rusqlite::{Result, Row, Transaction, params};
use std::collections::{BTreeMap, HashMap};

const CELL: &str = "posts, posts_with_impressions, impressions, engagements_with_impressions, likes, shares, comments,
    scored, sum_negative, sum_neutral, sum_positive";

/// Campaigns with posts in `[from, to)` and their totals, most posts first.
pub fn all(
    transaction: &Transaction<'_>,
    from: Timestamp,
    to: Timestamp,
) -> Result<Vec<(CampaignId, CampaignTotals)>> {
    let range = [from.floor(HOUR).millis(), to.millis()];
    let mut statement = transaction.prepare_cached(&format!(
        "SELECT {CELL}, campaign FROM campaign_hours WHERE hour >= ? AND hour < ?"
    ))?;
    let mut rows = statement.query(range)?;
    let mut campaigns = BTreeMap::<CampaignId, CampaignTotals>::new();
    while let Some(row) = rows.next()? {
        let id = CampaignId::from(row.get_ref(11)?.as_str()?);
        campaigns.entry(id).or_default().add(&cell(row)?);
    }
    for (id, totals) in &mut campaigns {
        (totals.contributors, totals.potential_audience) = contributors(transaction, id, range)?;
    }
    Ok(most_posts_first(campaigns))
}

/// Figures of one campaign in `[from, to)`.
pub fn figures(
    transaction: &Transaction<'_>,
    id: &CampaignId,
    from: Timestamp,
    to: Timestamp,
) -> Result<CampaignFigures> {
    let range = [from.floor(HOUR).millis(), to.millis()];
    let mut total = CampaignTotals::default();
    let mut channels = BTreeMap::<String, CampaignTotals>::new();
    let mut hours = Vec::new();

    let mut by_cell = contributors_by_cell(transaction, id, range)?;
    let mut statement = transaction.prepare_cached(&format!(
        "SELECT {CELL}, hour, channel FROM campaign_hours WHERE campaign = ? AND hour >= ? AND hour < ?
         ORDER BY hour, channel"
    ))?;
    let mut rows = statement.query(params![id.as_str(), range[0], range[1]])?;
    while let Some(row) = rows.next()? {
        let key: (i64, String) = (row.get(11)?, row.get(12)?);
        let mut totals = cell(row)?;
        total.add(&totals);
        channels.entry(key.1.clone()).or_default().add(&totals);
        if let Some(distinct) = by_cell.remove(&key) {
            (totals.contributors, totals.potential_audience) = distinct;
        }
        hours.push((Timestamp::from_millis(key.0), key.1, totals));
    }

    let mut by_channel = contributors_by_channel(transaction, id, range)?;
    for (channel, totals) in &mut channels {
        if let Some(distinct) = by_channel.remove(channel) {
            (totals.contributors, totals.potential_audience) = distinct;
        }
    }
    (total.contributors, total.potential_audience) = contributors(transaction, id, range)?;
    Ok(CampaignFigures {
        total,
        channels: most_posts_first(channels),
        hours,
    })
}

/// Distinct authors, and the sum of their highest followers.
type Distinct = (u64, u64);

fn contributors(
    transaction: &Transaction<'_>,
    id: &CampaignId,
    range: [i64; 2],
) -> Result<Distinct> {
    transaction
        .prepare_cached(
            "SELECT COUNT(*), TOTAL(highest) FROM (SELECT MAX(followers) AS highest FROM campaign_contributors
             WHERE campaign = ? AND hour >= ? AND hour < ? GROUP BY author)",
        )?
        .query_row(params![id.as_str(), range[0], range[1]], distinct)
}

fn contributors_by_channel(
    transaction: &Transaction<'_>,
    id: &CampaignId,
    range: [i64; 2],
) -> Result<HashMap<String, Distinct>> {
    transaction
        .prepare_cached(
            "SELECT COUNT(*), TOTAL(highest), channel FROM (SELECT channel, MAX(followers) AS highest
             FROM campaign_contributors WHERE campaign = ? AND hour >= ? AND hour < ? GROUP BY channel, author)
             GROUP BY channel",
        )?
        .query_map(params![id.as_str(), range[0], range[1]], |row| {
            Ok((row.get(2)?, distinct(row)?))
        })?
        .collect()
}

fn contributors_by_cell(
    transaction: &Transaction<'_>,
    id: &CampaignId,
    range: [i64; 2],
) -> Result<HashMap<(i64, String), Distinct>> {
    transaction
        .prepare_cached(
            "SELECT COUNT(*), TOTAL(followers), hour, channel FROM campaign_contributors
             WHERE campaign = ? AND hour >= ? AND hour < ? GROUP BY hour, channel",
        )?
        .query_map(params![id.as_str(), range[0], range[1]], |row| {
            Ok(((row.get(2)?, row.get(3)?), distinct(row)?))
        })?
        .collect()
}

fn distinct(row: &Row<'_>) -> Result<Distinct> {
    // TOTAL is a floating-point sum: exact up to 2^53, and it cannot overflow.
    Ok((count(row, 0)?, row.get::<_, f64>(1)? as u64))
}

/// Reads the columns of [`CELL`].
fn cell(row: &Row<'_>) -> Result<CampaignTotals> {
    Ok(CampaignTotals {
        posts: count(row, 0)?,
        posts_with_impressions: count(row, 1)?,
        impressions: count(row, 2)?,
        engagements_with_impressions: count(row, 3)?,
        engagement: Engagement {
            impressions: None,
            likes: known_count(row, 4)?,
            shares: known_count(row, 5)?,
            comments: known_count(row, 6)?,
        },
        scored: count(row, 7)?,
        sums: SentimentSums {
            negative: row.get(8)?,
            neutral: row.get(9)?,
            positive: row.get(10)?,
        },
        ..CampaignTotals::default()
    })
}

fn most_posts_first<K>(totals: BTreeMap<K, CampaignTotals>) -> Vec<(K, CampaignTotals)> {
    let mut list: Vec<_> = totals.into_iter().collect();
    list.sort_by_key(|(_, totals)| std::cmp::Reverse(totals.posts));
    list
}
