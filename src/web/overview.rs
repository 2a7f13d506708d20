//! What the front page is drawn from: gathered from the store once a version, however many look at it.

use super::api::{is_open, minute_after};
use super::server::Shared;
use super::{Problem, surprise};
use crate::domain::{CampaignId, EntityId, Timestamp};
use crate::store::{AlertQuery, AlertRow, CampaignTotals, MentionTotals, Store, TimelinePoint};
use futures::future::try_join_all;
use std::collections::HashMap;
use std::sync::Arc;
use std::time::Duration;
use tokio::sync::Mutex;

/// What counts as now.
pub const RECENT: Duration = Duration::from_secs(15 * 60);
/// What it is compared with, and what sparklines show.
pub const HISTORY: Duration = Duration::from_secs(6 * 3600);
/// One bar of a sparkline.
pub const SPARK_STEP: Duration = Duration::from_secs(15 * 60);
/// Alerts that are looked at; the page folds those that are over.
const ALERTS: usize = 500;

/// Everything on the front page but the sparklines.
pub struct Overview {
    /// Version of the store it was gathered at.
    pub version: i64,
    /// Highest event time; none while the store is empty.
    pub as_of: Option<Timestamp>,
    /// Posts stored.
    pub posts: u64,
    /// Entities mentioned lately or in the hours before, the most surprising first.
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
    /// Sums over [`RECENT`].
    pub recent: MentionTotals,
    /// Negative mentions expected in it.
    pub expected: f64,
    /// Probability of at least so many negative ones.
    pub p_value: f64,
}

/// The overview of the latest version, and the timelines read at that version.
#[derive(Default)]
pub struct Cache(Mutex<Option<Gathered>>);

struct Gathered {
    overview: Arc<Overview>,
    timelines: HashMap<EntityId, Arc<[TimelinePoint]>>,
}

impl Overview {
    /// The interval of sparklines, its end the end of the stream's present minute.
    pub fn span(&self) -> (Timestamp, Timestamp) {
        let end = minute_after(self.as_of.unwrap_or_default());
        // Whole steps, so that a bar does not change its extent with every minute.
        let end = (end - Duration::from_millis(1)).floor(SPARK_STEP) + SPARK_STEP;
        (end - HISTORY, end)
    }
}

/// The overview as the store stands now.
pub async fn overview(shared: &Shared) -> Result<Arc<Overview>, Problem> {
    let mut cache = shared.cache.0.lock().await;
    let version = shared.web.store.version().await?;
    if let Some(gathered) = cache.as_ref()
        && gathered.overview.version == version
    {
        return Ok(gathered.overview.clone());
    }
    let overview = Arc::new(gather(shared, version).await?);
    *cache = Some(Gathered {
        overview: overview.clone(),
        timelines: HashMap::new(),
    });
    Ok(overview)
}

/// Timelines over [`Overview::span`] of the entities that a page shows.
pub async fn sparklines(
    shared: &Shared,
    overview: &Overview,
    ids: impl Iterator<Item = &EntityId>,
) -> Result<HashMap<EntityId, Arc<[TimelinePoint]>>, Problem> {
    let mut cache = shared.cache.0.lock().await;
    let known = cache
        .as_mut()
        .filter(|gathered| gathered.overview.version == overview.version)
        .map(|gathered| &mut gathered.timelines);
    let mut nothing = HashMap::new();
    let known = known.unwrap_or(&mut nothing);
    let (from, to) = overview.span();
    let ids: Vec<&EntityId> = ids.collect();
    let missing = ids.iter().filter(|id| !known.contains_key(**id));
    let read = try_join_all(missing.map(async |id| {
        let points = shared.web.store.timeline(id, from, to, SPARK_STEP).await?;
        Ok::<_, Problem>(((*id).clone(), Arc::from(points)))
    }))
    .await?;
    known.extend(read);
    Ok(ids
        .into_iter()
        .filter_map(|id| Some((id.clone(), known.get(id)?.clone())))
        .collect())
}

async fn gather(shared: &Shared, version: i64) -> Result<Overview, Problem> {
    let store = shared.web.store.as_ref();
    let as_of = store.latest().await?;
    let counts = store.row_counts().await?;
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
            let end = minute_after(as_of);
            let since = end - super::api::CAMPAIGN_RANGE;
            (rank(shared, end).await?, store.campaigns(since, end).await?)
        }
    };
    Ok(Overview {
        version,
        as_of,
        posts: counts
            .iter()
            .find_map(|(table, rows)| (*table == "posts").then_some(*rows))
            .unwrap_or_default(),
        entities,
        open,
        over,
        campaigns,
    })
}

/// Entities of the last hours, the most surprising quarter of an hour first.
async fn rank(shared: &Shared, end: Timestamp) -> Result<Vec<Row>, Problem> {
    let store = shared.web.store.as_ref();
    let begin = end - RECENT;
    let recent = store.entities(begin, end).await?;
    let history = store.entities(begin - HISTORY, begin).await?;
    let most_mentioned: Vec<&EntityId> = history.iter().take(5).map(|e| &e.entity).collect();
    let length = history_length(store, &most_mentioned, begin).await?;
    let mut sums: HashMap<EntityId, [MentionTotals; 2]> = HashMap::new();
    for (place, totals) in [recent, history].into_iter().enumerate() {
        for each in totals {
            sums.entry(each.entity).or_default()[place] = each.totals;
        }
    }
    let mut rows: Vec<Row> = sums
        .into_iter()
        .map(|(id, [recent, history])| {
            let expected = surprise::expected(&history, length, RECENT);
            Row {
                p_value: surprise::p_value(recent.negative, expected),
                expected,
                recent,
                ..row(shared, id)
            }
        })
        .collect();
    rows.sort_by(|a, b| {
        a.p_value
            .total_cmp(&b.p_value)
            .then(b.recent.mentions.cmp(&a.recent.mentions))
            .then(a.id.cmp(&b.id))
    });
    Ok(rows)
}

/// How much of [`HISTORY`] there is: since the first mention of the most mentioned entities, which is as
/// good as since the stream began.
async fn history_length(
    store: &dyn Store,
    entities: &[&EntityId],
    end: Timestamp,
) -> Result<Duration, Problem> {
    let step = Duration::from_secs(15 * 60);
    let timelines = try_join_all(
        entities
            .iter()
            .map(|entity| store.timeline(entity, end - HISTORY, end, step)),
    )
    .await?;
    let first = timelines
        .iter()
        .filter_map(|points| points.first())
        .map(|point| point.start)
        .min();
    Ok(first.map_or(HISTORY, |first| end.since(first).min(HISTORY)))
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
        recent: MentionTotals::default(),
        expected: 0.0,
        p_value: 1.0,
    }
}
