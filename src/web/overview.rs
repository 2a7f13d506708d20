//! What the front page is drawn from: gathered from the store once a version, however many look at it.

use super::api::{is_open, minute_after};
use super::server::Shared;
use super::{Problem, surprise};
use crate::domain::{CampaignId, EntityId, Severity, Timestamp};
use crate::store::{
    AlertQuery, AlertRow, CampaignTotals, EntityTimeline, MentionTotals, TimelinePoint,
};
use std::collections::HashMap;
use std::sync::Arc;
use std::time::Duration;
use tokio::sync::Mutex;

/// What counts as now, and one bar of a sparkline.
pub const QUARTER: Duration = Duration::from_secs(15 * 60);
/// Quarters before it that it is compared with: six hours.
const HISTORY: usize = 24;
/// Alerts that are looked at; the page folds those that are over.
const ALERTS: usize = 500;

/// Everything on the front page.
pub struct Overview {
    /// Version of the store it was gathered at.
    pub version: i64,
    /// Highest event time; none while the store is empty.
    pub as_of: Option<Timestamp>,
    /// Posts stored.
    pub posts: u64,
    /// Entities with an open alert, in the order of the alerts; then those mentioned lately or in the hours before,
    /// the most surprising first.
    pub entities: Vec<Row>,
    /// Open alerts: critical first, then those nobody has acknowledged, then the latest.
    pub open: Vec<AlertRow>,
    /// Alerts that are over, latest first.
    pub over: Vec<AlertRow>,
    /// Campaigns with posts in the last 30 days.
    pub campaigns: Vec<(CampaignId, CampaignTotals)>,
}

/// One entity in the ranking.
#[derive(Debug, Clone, PartialEq)]
pub struct Row {
    /// The entity.
    pub id: EntityId,
    /// Its name; the id where the dictionary does not know it.
    pub name: String,
    /// Its sector, or its kind where it has none.
    pub sector: String,
    /// Severity and id of its open alert.
    pub alert: Option<(Severity, String)>,
    /// Sums over the last [`QUARTER`].
    pub recent: MentionTotals,
    /// Negative mentions expected in it; none while there is no quarter of an hour to compare it with.
    pub expected: Option<f64>,
    /// Probability of at least so many negative ones; 1 where nothing is expected.
    pub p_value: f64,
    /// Its quarters over [`Overview::span`], the last one the sums of `recent`.
    pub points: Vec<TimelinePoint>,
}

/// The overview of the latest version.
#[derive(Default)]
pub struct Cache(Mutex<Option<Arc<Overview>>>);

impl Overview {
    /// The six hours that are compared and the quarter of an hour that is judged, which ends with the stream's
    /// present minute.
    pub fn span(&self) -> (Timestamp, Timestamp) {
        span(self.as_of.unwrap_or_default())
    }
}

fn span(now: Timestamp) -> (Timestamp, Timestamp) {
    let end = minute_after(now);
    (end - QUARTER * (HISTORY as u32 + 1), end)
}

/// The overview as the store stands now.
pub async fn overview(shared: &Shared) -> Result<Arc<Overview>, Problem> {
    let mut cache = shared.cache.0.lock().await;
    let version = shared.web.store.version().await?;
    if let Some(overview) = cache.as_ref()
        && overview.version == version
    {
        return Ok(overview.clone());
    }
    let overview = Arc::new(gather(shared, version).await?);
    *cache = Some(overview.clone());
    Ok(overview)
}

async fn gather(shared: &Shared, version: i64) -> Result<Overview, Problem> {
    let store = shared.web.store.as_ref();
    let as_of = store.latest().await?;
    let posts = store.post_count().await?;
    let query = AlertQuery {
        limit: ALERTS,
        ..AlertQuery::default()
    };
    let alerts = store.alerts(&query).await?;
    let (mut open, over): (Vec<_>, Vec<_>) = alerts
        .into_iter()
        .partition(|alert| is_open(alert.latest.kind));
    open.sort_by_key(|alert| {
        (
            std::cmp::Reverse(alert.latest.severity),
            alert.acknowledged.is_some(),
            std::cmp::Reverse(alert.opened_at),
        )
    });
    let (entities, campaigns) = match as_of {
        None => Default::default(),
        Some(as_of) => {
            let (from, to) = span(as_of);
            let timelines = store.timelines(from, to, QUARTER).await?;
            let since = to - super::api::CAMPAIGN_RANGE;
            (
                rank(shared, from, timelines, &open),
                store.campaigns(since, to).await?,
            )
        }
    };
    Ok(Overview {
        version,
        as_of,
        posts,
        entities,
        open,
        over,
        campaigns,
    })
}

/// Entities of the last hours: those with an open alert, then the most surprising quarter of an hour.
fn rank(
    shared: &Shared,
    from: Timestamp,
    timelines: Vec<EntityTimeline>,
    open: &[AlertRow],
) -> Vec<Row> {
    let history = complete_quarters(from, &timelines);
    let mut rows: HashMap<EntityId, Row> = HashMap::new();
    for EntityTimeline { entity, points } in timelines {
        let mut quarters = [MentionTotals::default(); HISTORY + 1];
        for point in &points {
            quarters[place(from, point)] = point.totals;
        }
        let recent = quarters[HISTORY];
        let before = quarters[history.clone()]
            .iter()
            .map(|quarter| quarter.negative);
        let expected = surprise::expected(&before.collect::<Vec<_>>());
        let row = Row {
            recent,
            expected,
            p_value: expected.map_or(1.0, |expected| surprise::p_value(recent.negative, expected)),
            points,
            ..row(shared, entity.clone())
        };
        rows.insert(entity, row);
    }
    let mut first = Vec::new();
    for alert in open {
        let latest = &alert.latest;
        // Of two alerts of one entity the first, which is the graver, stands for both.
        if first.iter().any(|row: &Row| row.id == latest.entity) {
            continue;
        }
        let row = rows.remove(&latest.entity);
        first.push(Row {
            alert: Some((latest.severity, latest.alert_id.clone())),
            ..row.unwrap_or_else(|| self::row(shared, latest.entity.clone()))
        });
    }
    let mut others: Vec<Row> = rows.into_values().collect();
    others.sort_by(|a, b| {
        a.p_value
            .total_cmp(&b.p_value)
            .then(b.recent.mentions.cmp(&a.recent.mentions))
            .then(a.id.cmp(&b.id))
    });
    first.extend(others);
    first
}

/// The quarters before the last one in which a missing mention means that there was none: those behind the one in
/// which the stream began, which is seen in part. It began where first there was a tenth of what is usual, of all
/// entities together: a few posts that come late by hours are no stream.
fn complete_quarters(from: Timestamp, timelines: &[EntityTimeline]) -> std::ops::Range<usize> {
    let mut mentions = [0u64; HISTORY + 1];
    for point in timelines.iter().flat_map(|timeline| &timeline.points) {
        mentions[place(from, point)] += point.totals.mentions;
    }
    let filled: Vec<u64> = mentions
        .into_iter()
        .filter(|mentions| *mentions > 0)
        .collect();
    let usual = surprise::median(&filled).unwrap_or_default();
    let began = mentions
        .iter()
        .position(|mentions| *mentions as f64 >= usual / 10.0 && *mentions > 0);
    began.map_or(HISTORY, |began| began + 1).min(HISTORY)..HISTORY
}

/// Which quarter of the span a point is.
fn place(from: Timestamp, point: &TimelinePoint) -> usize {
    let place = point.start.since(from).as_millis() / QUARTER.as_millis();
    (place as usize).min(HISTORY)
}

/// The row of an entity that nothing mentioned lately.
pub fn row(shared: &Shared, id: EntityId) -> Row {
    let known = (shared.web.entities)(&id);
    Row {
        name: known
            .as_ref()
            .map_or_else(|| id.to_string(), |entity| entity.name.clone()),
        sector: known.map_or_else(String::new, |entity| match entity.sector.as_str() {
            "" => entity.kind.name().to_owned(),
            _ => entity.sector,
        }),
        id,
        alert: None,
        recent: MentionTotals::default(),
        expected: None,
        p_value: 1.0,
        points: Vec::new(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn timelines(mentions: &[u64]) -> Vec<EntityTimeline> {
        let point = |(place, mentions): (usize, &u64)| TimelinePoint {
            start: Timestamp::EPOCH + QUARTER * place as u32,
            totals: MentionTotals {
                mentions: *mentions,
                ..MentionTotals::default()
            },
        };
        let points = mentions
            .iter()
            .enumerate()
            .filter(|(_, mentions)| **mentions > 0);
        vec![EntityTimeline {
            entity: "ACME".into(),
            points: points.map(point).collect(),
        }]
    }

    #[test]
    fn the_past_begins_with_the_stream() {
        let quarters = |mentions: &[u64]| complete_quarters(Timestamp::EPOCH, &timelines(mentions));
        assert_eq!(quarters(&[]), 24..24);
        assert_eq!(quarters(&[5; 25]), 1..24);
        let mut mentions = [0; 25];
        mentions[24] = 9;
        assert_eq!(quarters(&mentions), 24..24);
        mentions[20..].copy_from_slice(&[80, 400, 0, 300, 9000]);
        assert_eq!(quarters(&mentions), 21..24);
        // Posts that come late by hours, dated before the stream began.
        mentions[3] = 2;
        mentions[16] = 7;
        assert_eq!(quarters(&mentions), 21..24);
    }
}
