//! Dead letters and what became of them; posts that replayed ones became.

use super::read::{filter, json, limit, source_partition, time, word};
use crate::domain::{DeadLetter, Origin};
use crate::store::{AuditRow, DeadLetterQuery, DeadLetterRow};
use rusqlite::{OptionalExtension, Result, ToSql, Transaction, params_from_iter};
use std::collections::HashSet;

/// Which of these are first origins of posts.
pub fn replayed(transaction: &Transaction<'_>, origins: &[Origin]) -> Result<HashSet<Origin>> {
    let mut statement =
        transaction.prepare_cached("SELECT 1 FROM posts WHERE first_origin = ? LIMIT 1")?;
    let mut found = HashSet::new();
    for origin in origins {
        let there = statement
            .query_row([origin.to_string()], |_| Ok(()))
            .optional()?;
        if there.is_some() {
            found.insert(origin.clone());
        }
    }
    Ok(found)
}

/// Dead letters, latest rejected first.
pub fn dead_letters(
    transaction: &Transaction<'_>,
    query: &DeadLetterQuery,
) -> Result<Vec<DeadLetterRow>> {
    let bounds = [query.from, query.to].map(|bound| bound.map(|time| time.millis()));
    let mut parameters: Vec<&dyn ToSql> = Vec::new();
    let mut conditions = Vec::new();
    if let Some(reason) = &query.reason {
        conditions.push("reason = ?");
        parameters.push(reason);
    }
    if let Some(topic) = &query.topic {
        conditions.push("letter.topic = ?");
        parameters.push(topic);
    }
    if let Some(origin) = &query.origin {
        conditions
            .push("(letter.epoch, letter.topic, letter.partition, letter.offset) = (?, ?, ?, ?)");
        let source = &origin.source;
        let key: [&dyn ToSql; 4] = [
            &source.epoch,
            &source.topic,
            &source.partition,
            &origin.offset,
        ];
        parameters.extend(key);
    }
    for (condition, bound) in ["rejected_at >= ?", "rejected_at < ?"].iter().zip(&bounds) {
        if let Some(bound) = bound {
            conditions.push(condition);
            parameters.push(bound);
        }
    }
    if !query.settled {
        conditions.push("settled IS NULL");
    }
    let limit = limit(query.limit);
    parameters.push(&limit);

    let filter = filter(&conditions);
    transaction
        .prepare_cached(&format!(
            "SELECT letter.epoch, letter.topic, letter.partition, letter.offset, recorded_at, rejected_at, reason,
             detail, key, payload, headers, settled, by, at
             FROM dead_letters AS letter LEFT JOIN dead_letter_acts AS act
             ON (act.epoch, act.topic, act.partition, act.offset)
             = (letter.epoch, letter.topic, letter.partition, letter.offset)
             {filter} ORDER BY rejected_at DESC, letter.rowid DESC LIMIT ?"
        ))?
        .query_map(params_from_iter(parameters), |row| {
            let settled = match row.get::<_, Option<String>>(11)? {
                Some(_) => Some((word(row, 11)?, row.get(12)?, time(row, 13)?)),
                None => None,
            };
            Ok(DeadLetterRow {
                letter: DeadLetter {
                    origin: Origin {
                        source: source_partition(row, 0)?,
                        offset: row.get(3)?,
                    },
                    recorded_at: time(row, 4)?,
                    rejected_at: time(row, 5)?,
                    reason: row.get(6)?,
                    detail: row.get(7)?,
                    key: row.get(8)?,
                    payload: row.get(9)?,
                    headers: json(row, 10)?,
                },
                settled,
            })
        })?
        .collect()
}

/// What people have done, latest first.
pub fn audit(transaction: &Transaction<'_>, most: usize) -> Result<Vec<AuditRow>> {
    transaction
        .prepare_cached(
            "SELECT at, by, act, subject, detail FROM audit ORDER BY at DESC, rowid DESC LIMIT ?",
        )?
        .query_map([limit(most)], |row| {
            Ok(AuditRow {
                at: time(row, 0)?,
                by: row.get(1)?,
                act: row.get(2)?,
                subject: row.get(3)?,
                detail: row.get(4)?,
            })
        })?
        .collect()
}
