//! Writing what is not a post. What has a key and comes again is left as it is, or replaced: see
//! [`insert`](crate::store::Store::insert).

use super::write::{LogPosition, json};
use crate::domain::{AlertMessage, ControlAct, DeadLetter, Delivery, MentionCluster};
use rusqlite::{Result, Transaction, params};

/// A dead letter.
pub fn dead_letter(
    transaction: &Transaction<'_>,
    (log, log_offset): LogPosition,
    letter: &DeadLetter,
) -> Result<usize> {
    let source = &letter.origin.source;
    transaction
        .prepare_cached("INSERT INTO dead_letters VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?)")?
        .execute(params![
            source.epoch,
            source.topic,
            source.partition,
            letter.origin.offset,
            letter.recorded_at.millis(),
            letter.rejected_at.millis(),
            letter.reason,
            letter.detail,
            letter.key,
            letter.payload,
            json(&letter.headers)?,
            log,
            log_offset,
        ])
}

/// The cluster of a mention; the later counts.
pub fn cluster(
    transaction: &Transaction<'_>,
    (log, log_offset): LogPosition,
    row: &MentionCluster,
) -> Result<usize> {
    let source = &row.origin.source;
    transaction
        .prepare_cached(
            "INSERT OR REPLACE INTO mention_clusters VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?)",
        )?
        .execute(params![
            source.epoch,
            source.topic,
            source.partition,
            row.origin.offset,
            row.ordinal,
            row.entity.as_str(),
            row.event_time.millis(),
            row.cluster,
            row.novelty,
            log,
            log_offset,
        ])
}

/// A message of an alert.
pub fn alert(
    transaction: &Transaction<'_>,
    (log, log_offset): LogPosition,
    message: &AlertMessage,
) -> Result<usize> {
    transaction
        .prepare_cached("INSERT OR IGNORE INTO alerts VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?)")?
        .execute(params![
            message.id,
            message.alert_id,
            message.revision,
            message.kind.name(),
            message.at.millis(),
            message.rule,
            message.entity.as_str(),
            message.severity.name(),
            json(message)?,
            log,
            log_offset,
        ])
}

/// How a delivery ended.
pub fn delivery(
    transaction: &Transaction<'_>,
    (log, log_offset): LogPosition,
    row: &Delivery,
) -> Result<usize> {
    transaction
        .prepare_cached(
            "INSERT OR IGNORE INTO deliveries VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?)",
        )?
        .execute(params![
            row.message_id,
            row.alert_id,
            row.endpoint,
            row.outcome.name(),
            row.attempts,
            row.status,
            row.error,
            row.first_attempt_at.millis(),
            row.ended_at.millis(),
            log,
            log_offset,
        ])
}

/// An act of somebody.
pub fn control(
    transaction: &Transaction<'_>,
    (log, log_offset): LogPosition,
    act: &ControlAct,
) -> Result<usize> {
    let ((by, at), (name, subject)) = (act.by(), act.subject());
    // Counted once, where it is a row of its own.
    let counted = (!act.has_a_table()).then_some((log, log_offset));
    let audited = transaction
        .prepare_cached("INSERT INTO audit VALUES (?, ?, ?, ?, ?, ?, ?)")?
        .execute(params![
            at.millis(),
            by,
            name,
            subject,
            json(act)?,
            counted.map(|(log, _)| log),
            counted.map(|(_, offset)| offset),
        ])?;
    match act {
        ControlAct::Silence { .. }
        | ControlAct::Unsilence { .. }
        | ControlAct::Enable { .. }
        | ControlAct::Test { .. } => Ok(audited),
        ControlAct::Acknowledge { alert_id, by, at } => transaction
            .prepare_cached(
                "INSERT INTO acknowledgements VALUES (?, ?, ?, ?, ?)
                 ON CONFLICT DO UPDATE SET by = excluded.by, at = excluded.at, log = excluded.log,
                 log_offset = excluded.log_offset WHERE excluded.at < at",
            )?
            .execute(params![alert_id, by, at.millis(), log, log_offset]),
        ControlAct::Feedback {
            post_id,
            entity,
            label,
            comment,
            by,
            at,
        } => transaction
            .prepare_cached("INSERT INTO feedback VALUES (?, ?, ?, ?, ?, ?, ?, ?)")?
            .execute(params![
                post_id,
                entity.as_ref().map(|entity| entity.as_str()),
                label.name(),
                comment,
                by,
                at.millis(),
                log,
                log_offset,
            ]),
        ControlAct::DeadLetter {
            origin,
            settled,
            by,
            at,
        } => transaction
            .prepare_cached(
                "INSERT INTO dead_letter_acts VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?)
                 ON CONFLICT DO UPDATE SET settled = excluded.settled, by = excluded.by, at = excluded.at,
                 log = excluded.log, log_offset = excluded.log_offset WHERE excluded.at >= at",
            )?
            .execute(params![
                origin.source.epoch,
                origin.source.topic,
                origin.source.partition,
                origin.offset,
                settled.name(),
                by,
                at.millis(),
                log,
                log_offset,
            ]),
    }
}
