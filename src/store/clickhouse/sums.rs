//! Sums over mentions, out of `entity_minutes`.

use super::client::Session;
use super::values::{second, steps};
use crate::domain::{EntityId, Timestamp};
use crate::store::{EntityTimeline, EntityTotals, MentionTotals, StoreResult, TimelinePoint};
use clickhouse::Row;
use serde::Deserialize;
use std::time::Duration;

const MINUTE: Duration = Duration::from_secs(60);

/// What is summed up; the names of the sums would else hide those of the columns.
const SUMS: &str = "sum(m.mentions) AS mentions, sum(m.scored) AS scored, sum(m.negative) AS negative,
    sum(m.positive) AS positive, sum(m.sum_negative) AS sum_negative, sum(m.sum_neutral) AS sum_neutral,
    sum(m.sum_positive) AS sum_positive
    FROM entity_minutes AS m
    WHERE m.minute >= toDateTime(?, 'UTC') AND m.minute <= toDateTime(?, 'UTC')";

/// One row: the sums of an entity, in a step where steps are asked for.
#[derive(Row, Deserialize)]
struct Found {
    entity: String,
    start: i64,
    mentions: u64,
    scored: u64,
    negative: u64,
    positive: u64,
    sum_negative: f64,
    sum_neutral: f64,
    sum_positive: f64,
}

impl Found {
    fn totals(&self) -> MentionTotals {
        MentionTotals {
            mentions: self.mentions,
            scored: self.scored,
            negative: self.negative,
            positive: self.positive,
            sum_negative: self.sum_negative,
            sum_neutral: self.sum_neutral,
            sum_positive: self.sum_positive,
        }
    }

    fn point(&self) -> TimelinePoint {
        TimelinePoint {
            start: Timestamp::from_millis(self.start.saturating_mul(1000)),
            totals: self.totals(),
        }
    }
}

/// Per entity its totals, most mentions first.
pub async fn entities(
    session: &Session,
    from: Timestamp,
    to: Timestamp,
) -> StoreResult<Vec<EntityTotals>> {
    let (first, last) = steps(from, to, MINUTE);
    let sql = format!(
        "SELECT entity, toInt64(0) AS start, {SUMS} GROUP BY entity ORDER BY mentions DESC, entity"
    );
    let rows: Vec<Found> = session
        .all(session.query(&sql).bind(first).bind(last))
        .await?;
    let totals = rows.into_iter().map(|row| EntityTotals {
        entity: EntityId::from(row.entity.as_str()),
        totals: row.totals(),
    });
    Ok(totals.collect())
}

/// Totals of one entity, by steps from the Unix epoch.
pub async fn timeline(
    session: &Session,
    entity: &EntityId,
    from: Timestamp,
    to: Timestamp,
    step: Duration,
) -> StoreResult<Vec<TimelinePoint>> {
    let (first, last) = steps(from, to, MINUTE);
    let sql = format!(
        "SELECT entity, intDiv(toInt64(m.minute), ?) * ? AS start, {SUMS} AND entity = ?
         GROUP BY entity, start ORDER BY start"
    );
    let step = whole_minutes(step);
    let query = session.query(&sql).bind(step).bind(step);
    let query = query.bind(first).bind(last).bind(entity.as_str());
    let rows: Vec<Found> = session.all(query).await?;
    Ok(rows.iter().map(Found::point).collect())
}

/// Totals of every entity, by steps from `from`.
pub async fn timelines(
    session: &Session,
    from: Timestamp,
    to: Timestamp,
    step: Duration,
) -> StoreResult<Vec<EntityTimeline>> {
    let (first, last) = steps(from, to, MINUTE);
    // Steps count from `from` also where that lies before all that a minute can be.
    let origin = from.floor(MINUTE).millis().div_euclid(1000);
    let origin = origin.min(second(first).millis() / 1000);
    let sql = format!(
        "SELECT entity, intDiv(toInt64(m.minute) - ?, ?) * ? + ? AS start, {SUMS}
         GROUP BY entity, start ORDER BY entity, start"
    );
    let step = whole_minutes(step);
    let query = session.query(&sql).bind(origin).bind(step).bind(step);
    let rows: Vec<Found> = session
        .all(query.bind(origin).bind(first).bind(last))
        .await?;
    let mut timelines: Vec<EntityTimeline> = Vec::new();
    for row in rows {
        match timelines.last_mut() {
            Some(last) if last.entity.as_str() == row.entity => last.points.push(row.point()),
            _ => timelines.push(EntityTimeline {
                entity: row.entity.as_str().into(),
                points: vec![row.point()],
            }),
        }
    }
    Ok(timelines)
}

/// A step in seconds, rounded up to whole minutes.
fn whole_minutes(step: Duration) -> i64 {
    let minutes = step.as_millis().div_ceil(MINUTE.as_millis());
    minutes.clamp(1, 1 << 32) as i64 * MINUTE.as_secs() as i64
}
