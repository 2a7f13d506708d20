//! Dead letters, and what became of them.

use super::client::Session;
use super::values::{from_json, millis, time};
use crate::domain::{DeadLetter, Origin, Settled, SourcePartition, Timestamp};
use crate::store::{AuditRow, DeadLetterQuery, DeadLetterRow, MAX_ROWS, StoreError, StoreResult};
use clickhouse::Row;
use serde::Deserialize;

#[derive(Row, Deserialize)]
struct Found {
    epoch: String,
    topic: String,
    partition: i32,
    offset: i64,
    recorded_at: i64,
    rejected_at: i64,
    reason: String,
    detail: String,
    key: Option<String>,
    payload: String,
    headers: String,
    /// Empty where nothing was done with it.
    settled: String,
    by: String,
    at: i64,
}

/// Dead letters, latest rejected first.
pub async fn dead_letters(
    session: &Session,
    query: &DeadLetterQuery,
) -> StoreResult<Vec<DeadLetterRow>> {
    let conditions = [
        query.reason.as_ref().map(|_| "AND reason = ?"),
        query.topic.as_ref().map(|_| "AND topic = ?"),
        query
            .origin
            .as_ref()
            .map(|_| "AND (epoch, topic, partition, offset) = (?, ?, ?, ?)"),
        query
            .from
            .map(|_| "AND rejected_at >= fromUnixTimestamp64Milli(?, 'UTC')"),
        query
            .to
            .map(|_| "AND rejected_at < fromUnixTimestamp64Milli(?, 'UTC')"),
        (!query.settled).then_some("AND settled = ''"),
    ];
    let conditions: Vec<&str> = conditions.into_iter().flatten().collect();
    // Of a letter without an act the columns of acts are empty.
    let sql = format!(
        "SELECT ?fields FROM (
            SELECT letter.*, toString(act.last.1) AS settled, act.last.2 AS by, act.last.3 AS at
            FROM dead_letters AS letter
            LEFT JOIN (
                SELECT epoch, topic, partition, offset,
                    argMax((row.settled, row.by, row.at), (row.at, row.log_offset)) AS last
                FROM dead_letter_acts AS row FINAL GROUP BY epoch, topic, partition, offset
            ) AS act USING (epoch, topic, partition, offset)
         ) WHERE 1 {} ORDER BY rejected_at DESC, epoch DESC, topic DESC, partition DESC, offset DESC LIMIT ?",
        conditions.join(" ")
    );
    let mut asked = session.query(&sql);
    for text in [&query.reason, &query.topic].into_iter().flatten() {
        asked = asked.bind(text);
    }
    if let Some(origin) = &query.origin {
        let source = &origin.source;
        asked = asked
            .bind(&*source.epoch)
            .bind(&*source.topic)
            .bind(source.partition)
            .bind(origin.offset);
    }
    for bound in [query.from, query.to].into_iter().flatten() {
        asked = asked.bind(millis(bound));
    }
    let limit = query.limit.clamp(1, MAX_ROWS) as u64;
    let rows: Vec<Found> = session.all(asked.bind(limit)).await?;
    rows.into_iter()
        .map(|row| letter(row).map_err(|e| StoreError::Query(e.to_string())))
        .collect()
}

fn letter(row: Found) -> Result<DeadLetterRow, clickhouse::error::Error> {
    Ok(DeadLetterRow {
        settled: settled(&row),
        letter: DeadLetter {
            headers: from_json(&row.headers)?,
            origin: Origin {
                source: SourcePartition {
                    epoch: row.epoch.into(),
                    topic: row.topic.into(),
                    partition: row.partition,
                },
                offset: row.offset,
            },
            recorded_at: time(row.recorded_at),
            rejected_at: time(row.rejected_at),
            reason: row.reason,
            detail: row.detail,
            key: row.key,
            payload: row.payload,
        },
    })
}

fn settled(row: &Found) -> Option<(Settled, String, Timestamp)> {
    let settled = match row.settled.as_str() {
        "" => return None,
        "replayed" => Settled::Replayed,
        _ => Settled::Dropped,
    };
    Some((settled, row.by.clone(), time(row.at)))
}

#[derive(Row, Deserialize)]
struct FoundAct {
    at: i64,
    by: String,
    act: String,
    subject: String,
    detail: String,
}

/// What people have done, latest first.
pub async fn audit(session: &Session, limit: usize) -> StoreResult<Vec<AuditRow>> {
    let sql = "SELECT ?fields FROM audit ORDER BY at DESC, log_offset DESC LIMIT ?";
    let limit = limit.clamp(1, MAX_ROWS) as u64;
    let found: Vec<FoundAct> = session.all(session.query(sql).bind(limit)).await?;
    let row = |act: FoundAct| AuditRow {
        at: time(act.at),
        by: act.by,
        act: act.act,
        subject: act.subject,
        detail: act.detail,
    };
    Ok(found.into_iter().map(row).collect())
}
