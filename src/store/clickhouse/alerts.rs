//! Alerts as they stand: the latest message of each, who has seen it, how its deliveries ended.

use super::client::Session;
use super::values::{from_json, time};
use crate::domain::{AlertMessage, Delivery, Outcome, Timestamp};
use crate::store::{AlertQuery, AlertRow, MAX_ROWS, StoreError, StoreResult};
use clickhouse::Row;
use serde::Deserialize;
use std::collections::HashMap;

/// Which message of an alert is the latest, and when the first was decided.
#[derive(Row, Deserialize)]
struct Standing {
    alert_id: String,
    /// Revision and id.
    last: (u32, String),
    opened_at: i64,
}

/// Alerts with their latest message, latest message first.
pub async fn alerts(session: &Session, query: &AlertQuery) -> StoreResult<Vec<AlertRow>> {
    // Which ones, without reading any message: those of others may be many and long.
    let conditions = [
        query.entity.as_ref().map(|_| "AND entity = ?"),
        query.alert_id.as_ref().map(|_| "AND alert_id = ?"),
    ];
    let conditions: String = conditions.into_iter().flatten().collect();
    let sql = format!(
        "SELECT alert_id, max((row.revision, row.id)) AS last, argMin(row.at, (row.revision, row.id)) AS opened_at
         FROM alerts AS row FINAL WHERE 1 {conditions} GROUP BY alert_id
         ORDER BY argMax(row.at, (row.revision, row.id)) DESC, alert_id DESC LIMIT ?"
    );
    let mut asked = session.query(&sql);
    if let Some(entity) = &query.entity {
        asked = asked.bind(entity.as_str());
    }
    if let Some(alert_id) = &query.alert_id {
        asked = asked.bind(alert_id);
    }
    let limit = query.limit.clamp(1, MAX_ROWS) as u64;
    let found: Vec<Standing> = session.all(asked.bind(limit)).await?;
    if found.is_empty() {
        return Ok(Vec::new());
    }

    let ids: Vec<&str> = found.iter().map(|alert| alert.alert_id.as_str()).collect();
    let keys: Vec<(&str, u32, &str)> = found
        .iter()
        .map(|alert| (alert.alert_id.as_str(), alert.last.0, alert.last.1.as_str()))
        .collect();
    let sql = "SELECT alert_id, message FROM alerts FINAL WHERE (alert_id, revision, id) IN ?";
    let messages: Vec<(String, String)> = session.all(session.query(sql).bind(keys)).await?;
    let mut messages: HashMap<String, String> = messages.into_iter().collect();
    let mut acknowledged = acknowledged(session, &ids).await?;
    let mut deliveries = deliveries(session, &ids).await?;

    let mut alerts = Vec::new();
    for alert in &found {
        let alert_id = &alert.alert_id;
        // One that expired between the two queries is left out.
        let Some(message) = messages.remove(alert_id) else {
            continue;
        };
        let latest: AlertMessage =
            from_json(&message).map_err(|e| StoreError::Query(e.to_string()))?;
        alerts.push(AlertRow {
            opened_at: time(alert.opened_at),
            latest,
            acknowledged: acknowledged.remove(alert_id),
            deliveries: deliveries.remove(alert_id).unwrap_or_default(),
        });
    }
    Ok(alerts)
}

/// Who was first to acknowledge each.
async fn acknowledged(
    session: &Session,
    ids: &[&str],
) -> StoreResult<HashMap<String, (String, Timestamp)>> {
    let sql = "SELECT alert_id, by, at FROM acknowledgements FINAL
        WHERE alert_id IN ? ORDER BY alert_id, at, by LIMIT 1 BY alert_id";
    let rows: Vec<(String, String, i64)> = session.all(session.query(sql).bind(ids)).await?;
    Ok(rows
        .into_iter()
        .map(|(alert_id, by, at)| (alert_id, (by, time(at))))
        .collect())
}

#[derive(Row, Deserialize)]
struct Found {
    message_id: String,
    alert_id: String,
    endpoint: String,
    outcome: String,
    attempts: u32,
    status: Option<u16>,
    error: String,
    first_attempt_at: i64,
    ended_at: i64,
}

async fn deliveries(
    session: &Session,
    ids: &[&str],
) -> StoreResult<HashMap<String, Vec<Delivery>>> {
    let sql =
        "SELECT ?fields FROM deliveries FINAL WHERE alert_id IN ? ORDER BY ended_at, log_offset";
    let rows: Vec<Found> = session.all(session.query(sql).bind(ids)).await?;
    let mut deliveries: HashMap<String, Vec<Delivery>> = HashMap::new();
    for row in rows {
        deliveries
            .entry(row.alert_id.clone())
            .or_default()
            .push(Delivery {
                message_id: row.message_id,
                alert_id: row.alert_id,
                endpoint: row.endpoint,
                outcome: outcome(&row.outcome)?,
                attempts: row.attempts,
                status: row.status,
                error: row.error,
                first_attempt_at: time(row.first_attempt_at),
                ended_at: time(row.ended_at),
            });
    }
    Ok(deliveries)
}

fn outcome(name: &str) -> StoreResult<Outcome> {
    from_json(&format!("\"{name}\"")).map_err(|e| StoreError::Query(e.to_string()))
}
