//! Where partitions stand, and whose epochs they are of.

use super::client::Session;
use crate::domain::SourcePartition;
use crate::store::{LOGGED, StoreError, StoreResult, StoredPosition};
use clickhouse::Row;
use serde::Serialize;

/// Where a partition of squall's topics stands.
pub async fn position(
    session: &Session,
    partition: &SourcePartition,
) -> StoreResult<StoredPosition> {
    session.settled("positions").await?;
    let sql = "SELECT source_epoch, source_topic, source_partition, max(p.log_offset), max(p.source_offset)
        FROM positions AS p WHERE log_epoch = ? AND log_topic = ? AND log_partition = ?
        GROUP BY source_epoch, source_topic, source_partition";
    let query = session
        .query(sql)
        .bind(&*partition.epoch)
        .bind(&*partition.topic)
        .bind(partition.partition);
    let rows: Vec<(String, String, i32, i64, i64)> = session.all(query).await?;
    let mut stored = StoredPosition::default();
    for (epoch, topic, partition, log_offset, source_offset) in rows {
        stored.end = stored.end.max(log_offset.saturating_add(1));
        if partition >= 0 {
            let source = SourcePartition {
                epoch: epoch.into(),
                topic: topic.into(),
                partition,
            };
            stored.sources.insert(source, source_offset);
        }
    }
    Ok(stored)
}

/// Rows of a partition stored with an offset in `start..end`; of rows that were replaced by later ones, some.
pub async fn rows_between(
    session: &Session,
    partition: &SourcePartition,
    start: i64,
    end: i64,
) -> StoreResult<u64> {
    let mut rows = 0;
    for table in LOGGED {
        session.settled(table).await?;
        let sql = format!(
            "SELECT count() FROM {table} WHERE log_epoch = ? AND log_topic = ? AND log_partition = ?
             AND log_offset >= ? AND log_offset < ?"
        );
        let query = session
            .query(&sql)
            .bind(&*partition.epoch)
            .bind(&*partition.topic)
            .bind(partition.partition)
            .bind(start)
            .bind(end);
        let counted: u64 = session.one(query).await?;
        rows += counted;
    }
    Ok(rows)
}

/// Changes whenever a block of any topic was stored for the first time: each moves its partition's position. Only
/// a block whose insert ended in the middle may complete unnoticed.
///
/// Read from a table of few rows, since parts and their numbers are not everybody's to see.
pub async fn version(session: &Session) -> StoreResult<i64> {
    let sql = "SELECT toInt64(sum(ends)) FROM
        (SELECT max(p.log_offset) + 1 AS ends FROM positions AS p GROUP BY log_epoch, log_topic, log_partition)";
    session.one(session.query(sql)).await
}

#[derive(Row, Serialize)]
struct EpochRow {
    epoch: String,
    cluster: String,
}

/// Notes which cluster an epoch belongs to. Of two that claim it at once the one noted first has it, and both see that.
///
/// # Errors
/// [`StoreError::Epoch`] for any other cluster.
pub async fn claim_epoch(session: &Session, epoch: &str, own: &str) -> StoreResult<()> {
    if holder(session, epoch).await?.is_none() {
        let row = EpochRow {
            epoch: epoch.to_owned(),
            cluster: own.to_owned(),
        };
        let token = format!("{epoch}:{own}");
        let row = Box::new(std::iter::once(row));
        session.insert("epochs", &token, row).await?;
    }
    match holder(session, epoch).await? {
        Some(stored) if stored != own => Err(StoreError::Epoch {
            epoch: epoch.to_owned(),
            stored,
            own: own.to_owned(),
        }),
        _ => Ok(()),
    }
}

async fn holder(session: &Session, epoch: &str) -> StoreResult<Option<String>> {
    session.settled("epochs").await?;
    let sql = "SELECT cluster FROM epochs WHERE epoch = ? ORDER BY claimed_at, cluster LIMIT 1";
    session.optional(session.query(sql).bind(epoch)).await
}
