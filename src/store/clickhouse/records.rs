//! Rows of the tables that are not made of posts, as they are inserted.

use super::values::{json, millis};
use crate::domain::{AlertMessage, ControlAct, DeadLetter, Delivery, EntityId, MentionCluster};
use crate::store::Block;
use clickhouse::Row;
use serde::Serialize;

/// A row of `alerts`.
#[derive(Row, Serialize)]
pub struct AlertRow {
    log_epoch: String,
    log_topic: String,
    log_partition: i32,
    log_offset: i64,
    id: String,
    alert_id: String,
    revision: u32,
    kind: &'static str,
    at: i64,
    rule: String,
    entity: String,
    severity: &'static str,
    message: String,
}

impl AlertRow {
    /// Of a message at an offset of a block's partition.
    pub fn new(block: &Block, log_offset: i64, message: &AlertMessage) -> Self {
        let (log_epoch, log_topic, log_partition) = log(block);
        Self {
            log_epoch,
            log_topic,
            log_partition,
            log_offset,
            id: message.id.clone(),
            alert_id: message.alert_id.clone(),
            revision: message.revision,
            kind: message.kind.name(),
            at: millis(message.at),
            rule: message.rule.clone(),
            entity: message.entity.to_string(),
            severity: message.severity.name(),
            message: json(message),
        }
    }
}

/// A row of `deliveries`.
#[derive(Row, Serialize)]
pub struct DeliveryRow {
    log_epoch: String,
    log_topic: String,
    log_partition: i32,
    log_offset: i64,
    message_id: String,
    alert_id: String,
    endpoint: String,
    outcome: &'static str,
    attempts: u32,
    status: Option<u16>,
    error: String,
    first_attempt_at: i64,
    ended_at: i64,
}

impl DeliveryRow {
    /// Of a delivery at an offset of a block's partition.
    pub fn new(block: &Block, log_offset: i64, delivery: &Delivery) -> Self {
        let (log_epoch, log_topic, log_partition) = log(block);
        Self {
            log_epoch,
            log_topic,
            log_partition,
            log_offset,
            message_id: delivery.message_id.clone(),
            alert_id: delivery.alert_id.clone(),
            endpoint: delivery.endpoint.clone(),
            outcome: delivery.outcome.name(),
            attempts: delivery.attempts,
            status: delivery.status,
            error: delivery.error.clone(),
            first_attempt_at: millis(delivery.first_attempt_at),
            ended_at: millis(delivery.ended_at),
        }
    }
}

/// A row of `mention_clusters`.
#[derive(Row, Serialize)]
pub struct ClusterRow {
    log_epoch: String,
    log_topic: String,
    log_partition: i32,
    log_offset: i64,
    epoch: String,
    topic: String,
    partition: i32,
    offset: i64,
    ordinal: u32,
    entity: String,
    event_time: i64,
    cluster: String,
    novelty: f32,
}

impl ClusterRow {
    /// Of a cluster at an offset of a block's partition.
    pub fn new(block: &Block, log_offset: i64, row: &MentionCluster) -> Self {
        let (log_epoch, log_topic, log_partition) = log(block);
        Self {
            log_epoch,
            log_topic,
            log_partition,
            log_offset,
            epoch: row.origin.source.epoch.to_string(),
            topic: row.origin.source.topic.to_string(),
            partition: row.origin.source.partition,
            offset: row.origin.offset,
            ordinal: row.ordinal,
            entity: row.entity.to_string(),
            event_time: millis(row.event_time),
            cluster: row.cluster.clone(),
            novelty: row.novelty,
        }
    }
}

/// A row of `dead_letters`.
#[derive(Row, Serialize)]
pub struct DeadLetterRow {
    log_epoch: String,
    log_topic: String,
    log_partition: i32,
    log_offset: i64,
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
}

impl DeadLetterRow {
    /// Of a letter at an offset of a block's partition.
    pub fn new(block: &Block, log_offset: i64, letter: &DeadLetter) -> Self {
        let (log_epoch, log_topic, log_partition) = log(block);
        Self {
            log_epoch,
            log_topic,
            log_partition,
            log_offset,
            epoch: letter.origin.source.epoch.to_string(),
            topic: letter.origin.source.topic.to_string(),
            partition: letter.origin.source.partition,
            offset: letter.origin.offset,
            recorded_at: millis(letter.recorded_at),
            rejected_at: millis(letter.rejected_at),
            reason: letter.reason.clone(),
            detail: letter.detail.clone(),
            key: letter.key.clone(),
            payload: letter.payload.clone(),
            headers: json(&letter.headers),
        }
    }
}

/// A row of `feedback`.
#[derive(Row, Serialize)]
pub struct FeedbackRow {
    log_epoch: String,
    log_topic: String,
    log_partition: i32,
    log_offset: i64,
    post_id: String,
    entity: Option<String>,
    label: &'static str,
    comment: Option<String>,
    by: String,
    at: i64,
}

impl FeedbackRow {
    /// Of an act at an offset of a block's partition; none of another act.
    pub fn new(block: &Block, log_offset: i64, act: &ControlAct) -> Option<Self> {
        let (log_epoch, log_topic, log_partition) = log(block);
        let ControlAct::Feedback {
            post_id,
            entity,
            label,
            comment,
            by,
            at,
        } = act
        else {
            return None;
        };
        Some(Self {
            log_epoch,
            log_topic,
            log_partition,
            log_offset,
            post_id: post_id.clone(),
            entity: entity.as_ref().map(EntityId::to_string),
            label: label.name(),
            comment: comment.clone(),
            by: by.clone(),
            at: millis(*at),
        })
    }
}

/// A row of `acknowledgements`.
#[derive(Row, Serialize)]
pub struct AcknowledgementRow {
    log_epoch: String,
    log_topic: String,
    log_partition: i32,
    log_offset: i64,
    alert_id: String,
    by: String,
    at: i64,
}

impl AcknowledgementRow {
    /// Of an act at an offset of a block's partition; none of another act.
    pub fn new(block: &Block, log_offset: i64, act: &ControlAct) -> Option<Self> {
        let (log_epoch, log_topic, log_partition) = log(block);
        let ControlAct::Acknowledge { alert_id, by, at } = act else {
            return None;
        };
        Some(Self {
            log_epoch,
            log_topic,
            log_partition,
            log_offset,
            alert_id: alert_id.clone(),
            by: by.clone(),
            at: millis(*at),
        })
    }
}

/// A row of `dead_letter_acts`.
#[derive(Row, Serialize)]
pub struct DeadLetterActRow {
    log_epoch: String,
    log_topic: String,
    log_partition: i32,
    log_offset: i64,
    epoch: String,
    topic: String,
    partition: i32,
    offset: i64,
    settled: &'static str,
    by: String,
    at: i64,
}

impl DeadLetterActRow {
    /// Of an act at an offset of a block's partition; none of another act.
    pub fn new(block: &Block, log_offset: i64, act: &ControlAct) -> Option<Self> {
        let (log_epoch, log_topic, log_partition) = log(block);
        let ControlAct::DeadLetter {
            origin,
            settled,
            by,
            at,
        } = act
        else {
            return None;
        };
        Some(Self {
            log_epoch,
            log_topic,
            log_partition,
            log_offset,
            epoch: origin.source.epoch.to_string(),
            topic: origin.source.topic.to_string(),
            partition: origin.source.partition,
            offset: origin.offset,
            settled: settled.name(),
            by: by.clone(),
            at: millis(*at),
        })
    }
}

/// A row of `audit`.
#[derive(Row, Serialize)]
pub struct AuditRow {
    log_epoch: String,
    log_topic: String,
    log_partition: i32,
    log_offset: i64,
    at: i64,
    by: String,
    act: &'static str,
    subject: String,
    detail: String,
}

impl AuditRow {
    /// Of an act at an offset of a block's partition: every act is one.
    pub fn new(block: &Block, log_offset: i64, act: &ControlAct) -> Option<Self> {
        let (log_epoch, log_topic, log_partition) = log(block);
        let ((by, at), (name, subject)) = (act.by(), act.subject());
        let log_offset = match act.has_a_table() {
            true => -1,
            false => log_offset,
        };
        Some(Self {
            log_epoch,
            log_topic,
            log_partition,
            log_offset,
            at: millis(at),
            by: by.to_owned(),
            act: name,
            subject,
            detail: json(act),
        })
    }
}

/// Epoch, topic and partition of squall's log that a block was read from.
fn log(block: &Block) -> (String, String, i32) {
    let partition = &block.partition;
    (
        partition.epoch.to_string(),
        partition.topic.to_string(),
        partition.partition,
    )
}
