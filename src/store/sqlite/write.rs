//! Writing a block, inside a transaction of the caller.

use super::aggregates::Aggregates;
use crate::domain::{
    AlertMessage, CampaignId, ControlAct, DeadLetter, Delivery, MentionCluster, Origin, PostStatus,
    ScoredPost, Sentiment,
};
use crate::store::{Block, Inserted, Rows, StoredPosition};
use rusqlite::{Result, Transaction, params};
use std::collections::BTreeSet;

/// Writes rows, aggregates and the block's token. `stored` is where its partition stands.
pub fn block(
    transaction: &Transaction<'_>,
    block: &Block,
    mut stored: StoredPosition,
) -> Result<Inserted> {
    let mut rows = 0;
    match &block.rows {
        Rows::Posts(posts) => {
            let mut aggregates = Aggregates::default();
            for post in posts {
                if is_new(&mut stored, &post.origin) {
                    insert_post(transaction, post)?;
                    aggregates.add(post);
                    rows += 1;
                }
            }
            aggregates.write(transaction)?;
        }
        Rows::DeadLetters(letters) => {
            for letter in letters {
                if is_new(&mut stored, &letter.origin) {
                    rows += dead_letter(transaction, letter)?;
                }
            }
        }
        Rows::Clusters(clusters) => {
            for row in clusters {
                rows += cluster(transaction, row)?;
            }
        }
        Rows::Alerts(messages) => {
            for message in messages {
                rows += alert(transaction, message)?;
            }
        }
        Rows::Deliveries(deliveries) => {
            for row in deliveries {
                rows += delivery(transaction, row)?;
            }
        }
        Rows::Control(acts) => {
            for act in acts {
                rows += control(transaction, act)?;
            }
        }
    }
    token(transaction, block, &stored)?;
    if rows > 0 {
        transaction.execute("UPDATE version SET number = number + 1", ())?;
    }
    Ok(Inserted { rows })
}

/// Whether the record was not stored before; if so its source partition now stands at it.
fn is_new(stored: &mut StoredPosition, origin: &Origin) -> bool {
    match stored.sources.get_mut(&origin.source) {
        Some(highest) if origin.offset <= *highest => false,
        Some(highest) => {
            *highest = origin.offset;
            true
        }
        None => {
            stored.sources.insert(origin.source.clone(), origin.offset);
            true
        }
    }
}

fn insert_post(transaction: &Transaction<'_>, post: &ScoredPost) -> Result<()> {
    let source = &post.origin.source;
    let author = post.author.as_ref();
    let engagement = post.engagement.unwrap_or_default();
    let sentiment = finite(post.sentiment);
    transaction
        .prepare_cached(
            "INSERT INTO posts (epoch, topic, partition, offset, published_at, event_time, received_at, scored_at,
             model, recorded_at, id, source, channel, title, text, url, lang, author, followers, impressions, likes,
             shares, comments, tags, campaigns, status, replaces, backfill, signature,
             p_negative, p_neutral, p_positive)
             VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?)",
        )?
        .execute(params![
            source.epoch,
            source.topic,
            source.partition,
            post.origin.offset,
            post.published_at.millis(),
            post.event_time.millis(),
            post.received_at.millis(),
            post.scored_at.millis(),
            post.model,
            post.recorded_at.millis(),
            post.id,
            post.source,
            post.channel,
            post.title,
            post.text,
            post.url,
            post.lang,
            author.map(|author| &author.id),
            author.and_then(|author| author.followers).map(integer),
            engagement.impressions.map(integer),
            engagement.likes.map(integer),
            engagement.shares.map(integer),
            engagement.comments.map(integer),
            json(&post.tags)?,
            json(&post.campaigns)?,
            status_name(post.status),
            post.replaces,
            post.backfill,
            post.signature as i64,
            sentiment.map(|s| s.negative),
            sentiment.map(|s| s.neutral),
            sentiment.map(|s| s.positive),
        ])?;
    let row = transaction.last_insert_rowid();

    let mut mentions = transaction.prepare_cached(
        "INSERT INTO mentions (post, ordinal, entity, epoch, topic, partition, offset, published_at, event_time,
         received_at, scored_at, model, relevance, p_negative, p_neutral, p_positive)
         VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?)",
    )?;
    for mention in &post.mentions {
        let sentiment = finite(mention.sentiment);
        mentions.execute(params![
            row,
            mention.ordinal,
            mention.entity.as_str(),
            source.epoch,
            source.topic,
            source.partition,
            post.origin.offset,
            post.published_at.millis(),
            post.event_time.millis(),
            post.received_at.millis(),
            post.scored_at.millis(),
            post.model,
            mention.relevance,
            sentiment.map(|s| s.negative),
            sentiment.map(|s| s.neutral),
            sentiment.map(|s| s.positive),
        ])?;
    }

    let mut campaigns = transaction.prepare_cached(
        "INSERT INTO campaign_posts (campaign, event_time, post) VALUES (?, ?, ?)",
    )?;
    for campaign in campaigns_of(post) {
        campaigns.execute(params![campaign.as_str(), post.event_time.millis(), row])?;
    }
    Ok(())
}

/// The campaigns of a post, each once.
pub fn campaigns_of(post: &ScoredPost) -> BTreeSet<&CampaignId> {
    post.campaigns.iter().collect()
}

fn dead_letter(transaction: &Transaction<'_>, letter: &DeadLetter) -> Result<usize> {
    let source = &letter.origin.source;
    transaction
        .prepare_cached("INSERT INTO dead_letters VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?)")?
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
        ])
}

fn cluster(transaction: &Transaction<'_>, row: &MentionCluster) -> Result<usize> {
    let source = &row.origin.source;
    transaction
        .prepare_cached(
            "INSERT OR REPLACE INTO mention_clusters VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?)",
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
        ])
}

fn alert(transaction: &Transaction<'_>, message: &AlertMessage) -> Result<usize> {
    transaction
        .prepare_cached("INSERT OR IGNORE INTO alerts VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?)")?
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
        ])
}

fn delivery(transaction: &Transaction<'_>, row: &Delivery) -> Result<usize> {
    transaction
        .prepare_cached("INSERT OR IGNORE INTO deliveries VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?)")?
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
        ])
}

fn control(transaction: &Transaction<'_>, act: &ControlAct) -> Result<usize> {
    match act {
        ControlAct::Acknowledge { alert_id, by, at } => transaction
            .prepare_cached(
                "INSERT INTO acknowledgements VALUES (?, ?, ?)
                 ON CONFLICT DO UPDATE SET by = excluded.by, at = excluded.at WHERE excluded.at < at",
            )?
            .execute(params![alert_id, by, at.millis()]),
        ControlAct::Feedback {
            post_id,
            entity,
            label,
            comment,
            by,
            at,
        } => transaction
            .prepare_cached("INSERT INTO feedback VALUES (?, ?, ?, ?, ?, ?)")?
            .execute(params![
                post_id,
                entity.as_ref().map(|entity| entity.as_str()),
                label.name(),
                comment,
                by,
                at.millis(),
            ]),
        ControlAct::DeadLetter { .. } => Ok(0),
    }
}

fn token(transaction: &Transaction<'_>, block: &Block, stored: &StoredPosition) -> Result<()> {
    let own = &block.partition;
    transaction
        .prepare_cached("INSERT OR REPLACE INTO positions VALUES (?, ?, ?, ?)")?
        .execute(params![own.epoch, own.topic, own.partition, block.end])?;
    let mut sources = transaction
        .prepare_cached("INSERT OR REPLACE INTO source_positions VALUES (?, ?, ?, ?, ?, ?, ?)")?;
    for (source, offset) in &stored.sources {
        sources.execute(params![
            own.epoch,
            own.topic,
            own.partition,
            source.epoch,
            source.topic,
            source.partition,
            offset,
        ])?;
    }
    Ok(())
}

/// A sentiment of numbers; none otherwise.
fn finite(sentiment: Option<Sentiment>) -> Option<Sentiment> {
    sentiment.filter(Sentiment::is_finite)
}

/// SQLite's integers end at 2^63.
pub fn integer(count: u64) -> i64 {
    i64::try_from(count).unwrap_or(i64::MAX)
}

fn status_name(status: PostStatus) -> &'static str {
    match status {
        PostStatus::Live => "live",
        PostStatus::Corrected => "corrected",
        PostStatus::Retracted => "retracted",
    }
}

fn json(value: &impl serde::Serialize) -> Result<String> {
    serde_json::to_string(value).map_err(|e| rusqlite::Error::ToSqlConversionFailure(e.into()))
}
