//! Reading rows.

use crate::domain::{
    Author, CampaignId, Delivery, Engagement, EntityId, Mention, Origin, ScoredPost, Sentiment,
    SourcePartition, Timestamp,
};
use crate::store::{AlertQuery, AlertRow, COUNTED, MAX_ROWS, PostQuery};
use rusqlite::types::Type;
use rusqlite::{OptionalExtension, Result, Row, ToSql, Transaction, params_from_iter};
use serde::de::DeserializeOwned;
use std::sync::Arc;

/// See [`crate::store::Store::version`].
pub fn version(transaction: &Transaction<'_>) -> Result<i64> {
    transaction
        .prepare_cached("SELECT number FROM version")?
        .query_row((), |row| row.get(0))
}

/// Highest event time of the posts.
pub fn latest(transaction: &Transaction<'_>) -> Result<Option<Timestamp>> {
    transaction
        .prepare_cached("SELECT MAX(event_time) FROM posts")?
        .query_row((), |row| {
            Ok(row.get::<_, Option<i64>>(0)?.map(Timestamp::from_millis))
        })
}

/// Number of the last post stored: they are numbered without gaps, and none is removed.
pub fn post_count(transaction: &Transaction<'_>) -> Result<u64> {
    transaction
        .prepare_cached("SELECT coalesce(MAX(post), 0) FROM posts")?
        .query_row((), |row| count(row, 0))
}

/// Rows of the tables of the contract.
pub fn row_counts(transaction: &Transaction<'_>) -> Result<Vec<(&'static str, u64)>> {
    let counted = |table| {
        let sql = format!("SELECT COUNT(*) FROM {table}");
        Ok((table, transaction.query_row(&sql, (), |row| count(row, 0))?))
    };
    COUNTED.into_iter().map(counted).collect()
}

/// Posts, latest event time first, later stored first where times are the same.
pub fn posts(transaction: &Transaction<'_>, query: &PostQuery) -> Result<Vec<ScoredPost>> {
    let before = query.before.map(Timestamp::millis);
    let mut parameters: Vec<&dyn ToSql> = Vec::new();
    let mut conditions = Vec::new();
    let mut given = |condition, parameter| {
        conditions.push(condition);
        parameters.push(parameter);
    };
    // The first of id, entity and campaign that is given is found by its index; the others are checked.
    let mut table = "posts";
    if let Some(id) = &query.id {
        given("id = ?", id as &dyn ToSql);
    }
    if let Some(entity) = &query.entity {
        if query.id.is_none() {
            table = "mentions";
            given("entity = ?", &entity.0);
        } else {
            given(
                "EXISTS (SELECT 1 FROM mentions AS m WHERE m.entity = ? AND m.event_time = found.event_time
                 AND m.post = found.post)",
                &entity.0,
            );
        }
    }
    if let Some(campaign) = &query.campaign {
        if query.id.is_none() && query.entity.is_none() {
            table = "campaign_posts";
            given("campaign = ?", &campaign.0);
        } else {
            given(
                "EXISTS (SELECT 1 FROM campaign_posts AS c WHERE c.campaign = ? AND c.event_time = found.event_time
                 AND c.post = found.post)",
                &campaign.0,
            );
        }
    }
    if let Some(before) = &before {
        given("event_time < ?", before);
    }
    let limit = limit(query.limit);
    parameters.push(&limit);

    let filter = filter(&conditions);
    let rows: Vec<i64> = transaction
        .prepare_cached(&format!(
            "SELECT DISTINCT post, event_time FROM {table} AS found {filter} ORDER BY event_time DESC, post DESC LIMIT ?"
        ))?
        .query_map(params_from_iter(parameters), |row| row.get(0))?
        .collect::<Result<_>>()?;
    rows.into_iter().map(|row| post(transaction, row)).collect()
}

fn post(transaction: &Transaction<'_>, row: i64) -> Result<ScoredPost> {
    let mentions = transaction
        .prepare_cached(
            "SELECT ordinal, entity, relevance, p_negative, p_neutral, p_positive FROM mentions
             WHERE post = ? ORDER BY ordinal",
        )?
        .query_map([row], |row| {
            Ok(Mention {
                ordinal: row.get(0)?,
                entity: EntityId(row.get(1)?),
                relevance: row.get::<_, Option<f32>>(2)?.unwrap_or_default(),
                sentiment: sentiment(row, 3)?,
            })
        })?
        .collect::<Result<_>>()?;
    transaction
        .prepare_cached(
            "SELECT epoch, topic, partition, offset, published_at, event_time, received_at, scored_at, model,
             recorded_at, id, source, channel, title, text, url, lang, author, followers, impressions, likes, shares,
             comments, tags, campaigns, status, replaces, backfill, signature, p_negative, p_neutral, p_positive,
             first_origin FROM posts WHERE post = ?",
        )?
        .query_row([row], |row| {
            let author: Option<String> = row.get(17)?;
            let followers = known_count(row, 18)?;
            let engagement = Engagement {
                impressions: known_count(row, 19)?,
                likes: known_count(row, 20)?,
                shares: known_count(row, 21)?,
                comments: known_count(row, 22)?,
            };
            Ok(ScoredPost {
                first_origin: row
                    .get::<_, Option<String>>(32)?
                    .and_then(|text| text.parse().ok()),
                origin: Origin {
                    source: source_partition(row, 0)?,
                    offset: row.get(3)?,
                },
                published_at: time(row, 4)?,
                event_time: time(row, 5)?,
                received_at: time(row, 6)?,
                scored_at: time(row, 7)?,
                model: row.get(8)?,
                recorded_at: time(row, 9)?,
                id: row.get(10)?,
                source: row.get(11)?,
                channel: row.get(12)?,
                title: row.get(13)?,
                text: row.get(14)?,
                url: row.get(15)?,
                lang: row.get(16)?,
                author: author.map(|id| Author { id, followers }),
                engagement: (engagement != Engagement::default()).then_some(engagement),
                tags: json(row, 23)?,
                campaigns: json::<Vec<CampaignId>>(row, 24)?,
                status: word(row, 25)?,
                replaces: row.get(26)?,
                backfill: row.get(27)?,
                signature: row.get::<_, i64>(28)? as u64,
                sentiment: sentiment(row, 29)?,
                mentions,
            })
        })
}

/// Alerts with their latest message.
pub fn alerts(transaction: &Transaction<'_>, query: &AlertQuery) -> Result<Vec<AlertRow>> {
    let mut parameters: Vec<&dyn ToSql> = Vec::new();
    let mut conditions = vec![
        "NOT EXISTS (SELECT 1 FROM alerts AS later WHERE later.alert_id = alerts.alert_id
         AND (later.revision, later.rowid) > (alerts.revision, alerts.rowid))",
    ];
    if let Some(entity) = &query.entity {
        conditions.push("entity = ?");
        parameters.push(&entity.0);
    }
    if let Some(alert_id) = &query.alert_id {
        conditions.push("alert_id = ?");
        parameters.push(alert_id);
    }
    let limit = limit(query.limit);
    parameters.push(&limit);

    let filter = filter(&conditions);
    transaction
        .prepare_cached(&format!(
            "SELECT message, alert_id, (SELECT at FROM alerts AS first WHERE first.alert_id = alerts.alert_id
             ORDER BY revision, rowid LIMIT 1) FROM alerts {filter} ORDER BY at DESC, rowid DESC LIMIT ?"
        ))?
        .query_map(params_from_iter(parameters), |row| {
            let alert_id: String = row.get(1)?;
            Ok(AlertRow {
                latest: json(row, 0)?,
                opened_at: time(row, 2)?,
                acknowledged: acknowledged(transaction, &alert_id)?,
                deliveries: deliveries(transaction, &alert_id)?,
            })
        })?
        .collect()
}

fn acknowledged(
    transaction: &Transaction<'_>,
    alert_id: &str,
) -> Result<Option<(String, Timestamp)>> {
    transaction
        .prepare_cached("SELECT by, at FROM acknowledgements WHERE alert_id = ?")?
        .query_row([alert_id], |row| Ok((row.get(0)?, time(row, 1)?)))
        .optional()
}

fn deliveries(transaction: &Transaction<'_>, alert_id: &str) -> Result<Vec<Delivery>> {
    transaction
        .prepare_cached(
            "SELECT message_id, alert_id, endpoint, outcome, attempts, status, error, first_attempt_at, ended_at
             FROM deliveries WHERE alert_id = ? ORDER BY ended_at, rowid",
        )?
        .query_map([alert_id], |row| {
            Ok(Delivery {
                message_id: row.get(0)?,
                alert_id: row.get(1)?,
                endpoint: row.get(2)?,
                outcome: word(row, 3)?,
                attempts: row.get(4)?,
                status: row.get(5)?,
                error: row.get(6)?,
                first_attempt_at: time(row, 7)?,
                ended_at: time(row, 8)?,
            })
        })?
        .collect()
}

/// `WHERE` all of these hold.
pub fn filter(conditions: &[&str]) -> String {
    if conditions.is_empty() {
        return String::new();
    }
    format!("WHERE {}", conditions.join(" AND "))
}

/// A limit within bounds.
pub fn limit(limit: usize) -> i64 {
    limit.clamp(1, MAX_ROWS) as i64
}

/// Reads a time.
pub fn time(row: &Row<'_>, column: usize) -> Result<Timestamp> {
    row.get(column).map(Timestamp::from_millis)
}

/// Reads a count.
pub fn count(row: &Row<'_>, column: usize) -> Result<u64> {
    row.get::<_, i64>(column).map(|count| count.max(0) as u64)
}

/// Reads a count that may be unknown.
pub fn known_count(row: &Row<'_>, column: usize) -> Result<Option<u64>> {
    let known: Option<i64> = row.get(column)?;
    Ok(known.map(|count| count.max(0) as u64))
}

/// Reads epoch, topic and partition from three columns.
pub fn source_partition(row: &Row<'_>, column: usize) -> Result<SourcePartition> {
    Ok(SourcePartition {
        epoch: row.get::<_, Arc<str>>(column)?,
        topic: row.get::<_, Arc<str>>(column + 1)?,
        partition: row.get(column + 2)?,
    })
}

/// Reads the probabilities from three columns.
fn sentiment(row: &Row<'_>, column: usize) -> Result<Option<Sentiment>> {
    let negative: Option<f32> = row.get(column)?;
    let neutral: Option<f32> = row.get(column + 1)?;
    let positive: Option<f32> = row.get(column + 2)?;
    Ok(negative
        .zip(neutral)
        .zip(positive)
        .map(|((negative, neutral), positive)| Sentiment {
            negative,
            neutral,
            positive,
        }))
}

/// Reads JSON from a column.
pub fn json<T: DeserializeOwned>(row: &Row<'_>, column: usize) -> Result<T> {
    serde_json::from_str(row.get_ref(column)?.as_str()?)
        .map_err(|e| rusqlite::Error::FromSqlConversionFailure(column, Type::Text, e.into()))
}

/// Reads the word of an enumeration from a column.
pub fn word<T: DeserializeOwned>(row: &Row<'_>, column: usize) -> Result<T> {
    T::deserialize(serde_json::Value::String(row.get(column)?))
        .map_err(|e| rusqlite::Error::FromSqlConversionFailure(column, Type::Text, e.into()))
}
