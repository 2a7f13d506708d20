//! Where partitions stand, and whose epochs they are of.

use super::read::{count, source_partition};
use crate::domain::SourcePartition;
use crate::store::{LOGGED, StoredPosition};
use rusqlite::{OptionalExtension, Result, Transaction, params};

/// Where a partition of squall's topics stands.
pub fn position(
    transaction: &Transaction<'_>,
    partition: &SourcePartition,
) -> Result<StoredPosition> {
    let key = params![partition.epoch, partition.topic, partition.partition];
    let end = transaction
        .prepare_cached(
            "SELECT ends FROM positions WHERE epoch = ? AND topic = ? AND partition = ?",
        )?
        .query_row(key, |row| row.get(0))
        .optional()?;
    let sources = transaction
        .prepare_cached(
            "SELECT source_epoch, source_topic, source_partition, offset FROM source_positions
             WHERE epoch = ? AND topic = ? AND partition = ?",
        )?
        .query_map(key, |row| Ok((source_partition(row, 0)?, row.get(3)?)))?
        .collect::<Result<_>>()?;
    Ok(StoredPosition {
        end: end.unwrap_or(0),
        sources,
    })
}

/// Rows of a partition with an offset in `start..end`; of rows that were there before, or replaced by later ones, some.
pub fn rows_between(
    transaction: &Transaction<'_>,
    partition: &SourcePartition,
    start: i64,
    end: i64,
) -> Result<u64> {
    let mut rows = 0;
    for table in LOGGED {
        rows += transaction
            .prepare_cached(&format!(
                "SELECT COUNT(*) FROM {table} WHERE log = (SELECT log FROM logs
                 WHERE epoch = ? AND topic = ? AND partition = ?) AND log_offset >= ? AND log_offset < ?"
            ))?
            .query_row(
                params![
                    partition.epoch,
                    partition.topic,
                    partition.partition,
                    start,
                    end
                ],
                |row| count(row, 0),
            )?;
    }
    Ok(rows)
}

/// Notes the cluster of an epoch, if none is noted, and tells the one that is.
pub fn claim_epoch(transaction: &Transaction<'_>, epoch: &str, cluster: &str) -> Result<String> {
    transaction.execute(
        "INSERT OR IGNORE INTO epochs VALUES (?, ?)",
        params![epoch, cluster],
    )?;
    transaction.query_row(
        "SELECT cluster FROM epochs WHERE epoch = ?",
        [epoch],
        |row| row.get(0),
    )
}
