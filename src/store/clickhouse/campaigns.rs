//! Figures of campaigns, out of `campaign_hours` and `campaign_contributors`.

use super::client::Session;
use super::values::{count, second, steps};
use crate::campaign::figures::{CampaignFigures, CampaignTotals, SentimentSums};
use crate::domain::{CampaignId, Engagement, Timestamp};
use crate::store::StoreResult;
use clickhouse::Row;
use serde::Deserialize;
use std::collections::HashMap;
use std::time::Duration;

const HOUR: Duration = Duration::from_secs(3600);

/// What is summed up of `campaign_hours AS c`. Contributors are distinct over all that falls into a row.
const SUMS: &str = "sum(c.posts) AS posts, sum(c.posts_with_impressions) AS posts_with_impressions,
    sum(c.impressions) AS impressions, sum(c.engagements_with_impressions) AS engagements_with_impressions,
    sum(c.likes) AS likes, sum(c.shares) AS shares, sum(c.comments) AS comments, sum(c.scored) AS scored,
    sum(c.sum_negative) AS sum_negative, sum(c.sum_neutral) AS sum_neutral, sum(c.sum_positive) AS sum_positive,
    uniqCombined64Merge(c.contributors) AS contributors";
const WITHIN: &str = "hour >= toDateTime(?, 'UTC') AND hour <= toDateTime(?, 'UTC')";

/// One row: the sums of a campaign, a channel, or a channel in an hour.
#[derive(Row, Deserialize)]
struct Found {
    campaign: String,
    channel: String,
    start: u32,
    posts: u64,
    posts_with_impressions: u64,
    impressions: f64,
    engagements_with_impressions: f64,
    likes: Option<f64>,
    shares: Option<f64>,
    comments: Option<f64>,
    scored: u64,
    sum_negative: f64,
    sum_neutral: f64,
    sum_positive: f64,
    contributors: u64,
}

impl Found {
    fn totals(&self, audience: Option<&u64>) -> CampaignTotals {
        CampaignTotals {
            posts: self.posts,
            contributors: self.contributors,
            potential_audience: audience.copied().unwrap_or(0),
            posts_with_impressions: self.posts_with_impressions,
            impressions: count(self.impressions),
            engagements_with_impressions: count(self.engagements_with_impressions),
            engagement: Engagement {
                impressions: None,
                likes: self.likes.map(count),
                shares: self.shares.map(count),
                comments: self.comments.map(count),
            },
            scored: self.scored,
            sums: SentimentSums {
                negative: self.sum_negative,
                neutral: self.sum_neutral,
                positive: self.sum_positive,
            },
        }
    }
}

/// Campaigns with posts and their totals, most posts first.
pub async fn all(
    session: &Session,
    from: Timestamp,
    to: Timestamp,
) -> StoreResult<Vec<(CampaignId, CampaignTotals)>> {
    let (first, last) = steps(from, to, HOUR);
    let sql = format!(
        "SELECT campaign, '' AS channel, toUInt32(0) AS start, {SUMS} FROM campaign_hours AS c
         WHERE {WITHIN} GROUP BY campaign ORDER BY posts DESC, campaign"
    );
    let query = session.query(&sql).bind(first).bind(last);
    let rows: Vec<Found> = session.all(query).await?;
    let sql = format!(
        "SELECT campaign, sum(toFloat64(highest)) FROM
            (SELECT campaign, author, max(a.followers) AS highest FROM campaign_contributors AS a
             WHERE {WITHIN} GROUP BY campaign, author)
         GROUP BY campaign"
    );
    let query = session.query(&sql).bind(first).bind(last);
    let audiences: Vec<(String, f64)> = session.all(query).await?;
    let audiences: HashMap<String, u64> = audiences
        .into_iter()
        .map(|(campaign, sum)| (campaign, count(sum)))
        .collect();
    let campaigns = rows.iter().map(|row| {
        let id = CampaignId::from(row.campaign.as_str());
        (id, row.totals(audiences.get(&row.campaign)))
    });
    Ok(campaigns.collect())
}

/// Figures of one campaign.
pub async fn figures(
    session: &Session,
    id: &CampaignId,
    from: Timestamp,
    to: Timestamp,
) -> StoreResult<CampaignFigures> {
    let scope = Scope {
        session,
        id,
        hours: steps(from, to, HOUR),
    };
    let total = scope
        .cells("'' AS channel, toUInt32(0) AS start", "")
        .await?;
    let audience = scope.audiences("''", "toUInt32(0)").await?;
    let channels = scope
        .cells("channel, toUInt32(0) AS start", ", channel")
        .await?;
    let channel_audiences = scope.audiences("channel", "toUInt32(0)").await?;
    let cells = scope
        .cells("channel, toUInt32(hour) AS start", ", channel, hour")
        .await?;
    let cell_audiences = scope.audiences("channel", "toUInt32(hour)").await?;

    let with = |row: &Found, audiences: &Audiences| {
        row.totals(audiences.get(&(row.channel.clone(), row.start)))
    };
    let mut channels: Vec<_> = channels
        .iter()
        .map(|row| (row.channel.clone(), with(row, &channel_audiences)))
        .collect();
    channels.sort_by(|(one, a), (other, b)| b.posts.cmp(&a.posts).then_with(|| one.cmp(other)));
    let mut hours: Vec<_> = cells
        .iter()
        .map(|row| {
            let totals = with(row, &cell_audiences);
            (second(row.start), row.channel.clone(), totals)
        })
        .collect();
    hours.sort_by(|(hour, channel, _), (other, another, _)| (hour, channel).cmp(&(other, another)));
    Ok(CampaignFigures {
        total: total
            .first()
            .map_or_else(CampaignTotals::default, |row| with(row, &audience)),
        channels,
        hours,
    })
}

/// Sums of followers by channel and hour, both empty where not asked for.
type Audiences = HashMap<(String, u32), u64>;

/// What one report is made of.
struct Scope<'a> {
    session: &'a Session,
    id: &'a CampaignId,
    hours: (u32, u32),
}

impl Scope<'_> {
    /// Sums over all that have the same of some columns of `campaign_hours AS c`.
    async fn cells(&self, columns: &str, keys: &str) -> StoreResult<Vec<Found>> {
        let sql = format!(
            "SELECT campaign, {columns}, {SUMS} FROM campaign_hours AS c
             WHERE campaign = ? AND {WITHIN} GROUP BY campaign{keys}"
        );
        let query = self.session.query(&sql).bind(self.id.as_str());
        self.session
            .all(query.bind(self.hours.0).bind(self.hours.1))
            .await
    }

    /// Each author once for each value of two columns of `campaign_contributors AS a`, with the most followers there.
    async fn audiences(&self, channel: &str, start: &str) -> StoreResult<Audiences> {
        let sql = format!(
            "SELECT of_channel, of_start, sum(toFloat64(highest)) FROM
                (SELECT {channel} AS of_channel, {start} AS of_start, author, max(a.followers) AS highest
                 FROM campaign_contributors AS a
                 WHERE campaign = ? AND {WITHIN} GROUP BY of_channel, of_start, author)
             GROUP BY of_channel, of_start"
        );
        let query = self.session.query(&sql).bind(self.id.as_str());
        let rows: Vec<(String, u32, f64)> = self
            .session
            .all(query.bind(self.hours.0).bind(self.hours.1))
            .await?;
        Ok(rows
            .into_iter()
            .map(|(channel, hour, sum)| ((channel, hour), count(sum)))
            .collect())
    }
}
