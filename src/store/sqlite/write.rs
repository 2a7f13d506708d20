//! Writing a block, inside a transaction of the caller.

use super::aggregates::Aggregates;
use super::records;
use crate::domain::{CampaignId, Origin, PostStatus, ScoredPost, Sentiment, SourcePartition};
use crate::store::{Block, Inserted, Rows};
use rusqlite::{Result, Transaction, params};
use std::collections::{BTreeMap, BTreeSet};

/// Writes rows, aggregates and where the block's partition stands now.
pub fn block(transaction: &Transaction<'_>, block: &Block) -> Result<Inserted> {
    let log = log(transaction, &block.partition)?;
    let at = block.offsets.iter().map(|offset| (log, *offset));
    let mut rows = 0;
    match &block.rows {
        Rows::Posts(posts) => {
            let mut aggregates = Aggregates::default();
            for (at, post) in at.zip(posts) {
                insert_post(transaction, at, post)?;
                aggregates.add(post);
                rows += 1;
            }
            aggregates.write(transaction)?;
        }
        Rows::DeadLetters(letters) => {
            for (at, letter) in at.zip(letters) {
                rows += records::dead_letter(transaction, at, letter)?;
            }
        }
        Rows::Clusters(clusters) => {
            for (at, row) in at.zip(clusters) {
                rows += records::cluster(transaction, at, row)?;
            }
        }
        Rows::Alerts(messages) => {
            for (at, message) in at.zip(messages) {
                rows += records::alert(transaction, at, message)?;
            }
        }
        Rows::Deliveries(deliveries) => {
            for (at, row) in at.zip(deliveries) {
                rows += records::delivery(transaction, at, row)?;
            }
        }
        Rows::Control(acts) => {
            for (at, act) in at.zip(acts) {
                rows += records::control(transaction, at, act)?;
            }
        }
    }
    positions(transaction, block)?;
    if rows > 0 {
        transaction.execute("UPDATE version SET number = number + 1", ())?;
    }
    Ok(Inserted { rows })
}

/// Number of a partition's log, and a record's offset in it.
pub type LogPosition = (i64, i64);

/// The number under which rows name a partition of squall's topics.
fn log(transaction: &Transaction<'_>, partition: &SourcePartition) -> Result<i64> {
    let key = params![partition.epoch, partition.topic, partition.partition];
    transaction
        .prepare_cached("INSERT OR IGNORE INTO logs (epoch, topic, partition) VALUES (?, ?, ?)")?
        .execute(key)?;
    transaction
        .prepare_cached("SELECT log FROM logs WHERE epoch = ? AND topic = ? AND partition = ?")?
        .query_row(key, |row| row.get(0))
}

fn insert_post(
    transaction: &Transaction<'_>,
    (log, log_offset): LogPosition,
    post: &ScoredPost,
) -> Result<()> {
    let source = &post.origin.source;
    let author = post.author.as_ref();
    let engagement = post.engagement.unwrap_or_default();
    let sentiment = finite(post.sentiment);
    transaction
        .prepare_cached(
            "INSERT INTO posts (epoch, topic, partition, offset, published_at, event_time, received_at, scored_at,
             model, recorded_at, id, source, channel, title, text, url, lang, author, followers, impressions, likes,
             shares, comments, tags, campaigns, status, replaces, backfill, signature,
             p_negative, p_neutral, p_positive, log, log_offset, first_origin)
             VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?)",
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
            log,
            log_offset,
            post.first_origin.as_ref().map(Origin::to_string),
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

/// The partition stands at the block's end, and each source partition at the highest offset that came through it.
fn positions(transaction: &Transaction<'_>, block: &Block) -> Result<()> {
    let own = &block.partition;
    transaction
        .prepare_cached("INSERT OR REPLACE INTO positions VALUES (?, ?, ?, ?)")?
        .execute(params![own.epoch, own.topic, own.partition, block.end])?;
    let origins: Vec<&Origin> = match &block.rows {
        Rows::Posts(posts) => posts.iter().map(|post| &post.origin).collect(),
        Rows::DeadLetters(letters) => letters.iter().map(|letter| &letter.origin).collect(),
        Rows::Clusters(_) | Rows::Alerts(_) | Rows::Deliveries(_) | Rows::Control(_) => Vec::new(),
    };
    let mut highest = BTreeMap::<&SourcePartition, i64>::new();
    for origin in origins {
        let offset = highest.entry(&origin.source).or_insert(origin.offset);
        *offset = origin.offset.max(*offset);
    }
    let mut sources = transaction.prepare_cached(
        "INSERT INTO source_positions VALUES (?, ?, ?, ?, ?, ?, ?)
         ON CONFLICT DO UPDATE SET offset = max(offset, excluded.offset)",
    )?;
    for (source, offset) in highest {
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

/// JSON for a column.
pub fn json(value: &impl serde::Serialize) -> Result<String> {
    serde_json::to_string(value).map_err(|e| rusqlite::Error::ToSqlConversionFailure(e.into()))
}
