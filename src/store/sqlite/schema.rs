//! The tables, and how a database is brought to them.

use rusqlite::{Connection, TransactionBehavior};
use std::ops::Range;

/// "squl": marks a database as squall's.
const APPLICATION_ID: i64 = 0x7371_756c;

/// Migrations in order; `user_version` is the number of those applied. Only ever append.
const MIGRATIONS: &[&str] = &[TABLES, LOG_AND_LETTERS, AUDIT];

/// Why a database cannot be brought to the schema.
pub enum Unfit {
    /// Made by a newer squall: the version found, and the newest known.
    Newer(i64, i64),
    /// Tables of another program are in it.
    Foreign,
    /// SQLite says no.
    Sql(rusqlite::Error),
}

impl From<rusqlite::Error> for Unfit {
    fn from(error: rusqlite::Error) -> Self {
        Self::Sql(error)
    }
}

/// Creates the tables, or brings older ones up to date. Safe with several processes at once.
///
/// Tells the versions that were made; none where all were there.
pub fn migrate(connection: &mut Connection) -> Result<Range<usize>, Unfit> {
    let known = MIGRATIONS.len();
    if version(connection)? == known {
        return Ok(known..known);
    }
    let transaction = connection.transaction_with_behavior(TransactionBehavior::Immediate)?;
    let found = version(&transaction)?;
    for migration in &MIGRATIONS[found..] {
        transaction.execute_batch(migration)?;
    }
    transaction.pragma_update(None, "application_id", APPLICATION_ID)?;
    transaction.pragma_update(None, "user_version", known as i64)?;
    transaction.commit()?;
    Ok(found..known)
}

/// Number of migrations that were applied.
pub fn version(connection: &Connection) -> Result<usize, Unfit> {
    let pragma = |name| connection.pragma_query_value(None, name, |row| row.get::<_, i64>(0));
    let tables: i64 =
        connection.query_row("SELECT COUNT(*) FROM sqlite_schema", (), |row| row.get(0))?;
    if tables > 0 && pragma("application_id")? != APPLICATION_ID {
        return Err(Unfit::Foreign);
    }
    let found = pragma("user_version")?;
    usize::try_from(found)
        .ok()
        .filter(|found| *found <= MIGRATIONS.len())
        .ok_or(Unfit::Newer(found, MIGRATIONS.len() as i64))
}

/// Number of migrations there are.
pub fn newest() -> usize {
    MIGRATIONS.len()
}

/// Version 1. Times are milliseconds since the Unix epoch, UTC; minutes and hours are the times at which they
/// begin. `posts` to `dead_letters` are the tables of the contract, what follows are squall's own.
///
/// What is clustered by time stays cheap to append to, however large it grows: a block touches the latest
/// pages only. The one index that does not is `posts_by_id`, where ids are random.
pub(super) const TABLES: &str = "
CREATE TABLE posts (
    post INTEGER PRIMARY KEY, -- in order of storing
    epoch TEXT NOT NULL, topic TEXT NOT NULL, partition INTEGER NOT NULL, offset INTEGER NOT NULL,
    published_at INTEGER NOT NULL, event_time INTEGER NOT NULL, received_at INTEGER NOT NULL,
    scored_at INTEGER NOT NULL, model TEXT NOT NULL, recorded_at INTEGER NOT NULL,
    id TEXT NOT NULL, source TEXT NOT NULL, channel TEXT NOT NULL,
    title TEXT NOT NULL, text TEXT NOT NULL, url TEXT, lang TEXT NOT NULL,
    author TEXT, followers INTEGER,
    impressions INTEGER, likes INTEGER, shares INTEGER, comments INTEGER,
    tags TEXT NOT NULL, campaigns TEXT NOT NULL, -- JSON arrays
    status TEXT NOT NULL, replaces TEXT, backfill INTEGER NOT NULL, signature INTEGER NOT NULL,
    p_negative REAL, p_neutral REAL, p_positive REAL
) STRICT;
-- the latest posts, and the latest event time
CREATE INDEX posts_by_time ON posts (event_time);
-- a post by its sender's id
CREATE INDEX posts_by_id ON posts (id);

-- clustered by post, so that a post is read with its mentions in one place
CREATE TABLE mentions (
    post INTEGER NOT NULL, ordinal INTEGER NOT NULL, entity TEXT NOT NULL,
    epoch TEXT NOT NULL, topic TEXT NOT NULL, partition INTEGER NOT NULL, offset INTEGER NOT NULL,
    published_at INTEGER NOT NULL, event_time INTEGER NOT NULL, received_at INTEGER NOT NULL,
    scored_at INTEGER NOT NULL, model TEXT NOT NULL,
    relevance REAL, p_negative REAL, p_neutral REAL, p_positive REAL,
    PRIMARY KEY (post, ordinal)
) STRICT, WITHOUT ROWID;
-- the latest posts of an entity
CREATE INDEX mentions_by_entity ON mentions (entity, event_time);

CREATE TABLE mention_clusters (
    epoch TEXT NOT NULL, topic TEXT NOT NULL, partition INTEGER NOT NULL, offset INTEGER NOT NULL,
    ordinal INTEGER NOT NULL, entity TEXT NOT NULL, event_time INTEGER NOT NULL,
    cluster TEXT NOT NULL, novelty REAL,
    PRIMARY KEY (epoch, topic, partition, offset, ordinal)
) STRICT, WITHOUT ROWID;

-- clustered by time for the ranking of all entities
CREATE TABLE entity_minutes (
    minute INTEGER NOT NULL, entity TEXT NOT NULL,
    mentions INTEGER NOT NULL, scored INTEGER NOT NULL, negative INTEGER NOT NULL, positive INTEGER NOT NULL,
    sum_negative REAL NOT NULL, sum_neutral REAL NOT NULL, sum_positive REAL NOT NULL,
    PRIMARY KEY (minute, entity)
) STRICT, WITHOUT ROWID;
-- the timeline of one
CREATE INDEX entity_minutes_by_entity ON entity_minutes (entity, minute);

CREATE TABLE alerts (
    id TEXT PRIMARY KEY, alert_id TEXT NOT NULL, revision INTEGER NOT NULL, kind TEXT NOT NULL,
    at INTEGER NOT NULL, rule TEXT NOT NULL, entity TEXT NOT NULL, severity TEXT NOT NULL,
    message TEXT NOT NULL -- the whole, JSON
) STRICT;
-- the latest message of an alert
CREATE INDEX alerts_by_alert ON alerts (alert_id, revision);
-- the latest alerts, of all and of one entity
CREATE INDEX alerts_by_time ON alerts (at);
CREATE INDEX alerts_by_entity ON alerts (entity, at);

CREATE TABLE deliveries (
    message_id TEXT NOT NULL, alert_id TEXT NOT NULL, endpoint TEXT NOT NULL, outcome TEXT NOT NULL,
    attempts INTEGER NOT NULL, status INTEGER, error TEXT NOT NULL,
    first_attempt_at INTEGER NOT NULL, ended_at INTEGER NOT NULL,
    UNIQUE (alert_id, message_id, endpoint, ended_at) -- also finds those of an alert
) STRICT;

-- clustered by time for the list of all campaigns
CREATE TABLE campaign_hours (
    hour INTEGER NOT NULL, campaign TEXT NOT NULL, channel TEXT NOT NULL,
    posts INTEGER NOT NULL, posts_with_impressions INTEGER NOT NULL, impressions INTEGER NOT NULL,
    engagements_with_impressions INTEGER NOT NULL, likes INTEGER, shares INTEGER, comments INTEGER,
    scored INTEGER NOT NULL, sum_negative REAL NOT NULL, sum_neutral REAL NOT NULL, sum_positive REAL NOT NULL,
    PRIMARY KEY (hour, campaign, channel)
) STRICT, WITHOUT ROWID;
-- the report of one
CREATE INDEX campaign_hours_by_campaign ON campaign_hours (campaign, hour);

CREATE TABLE feedback (
    post_id TEXT NOT NULL, entity TEXT, label TEXT NOT NULL, comment TEXT, by TEXT NOT NULL, at INTEGER NOT NULL
) STRICT;

CREATE TABLE dead_letters (
    epoch TEXT NOT NULL, topic TEXT NOT NULL, partition INTEGER NOT NULL, offset INTEGER NOT NULL,
    recorded_at INTEGER NOT NULL, rejected_at INTEGER NOT NULL, reason TEXT NOT NULL, detail TEXT NOT NULL,
    key TEXT, payload TEXT NOT NULL, headers TEXT NOT NULL -- JSON, values base64 as are key and payload
) STRICT;

-- distinct authors of a campaign, exact over any range of hours; followers are the highest seen in the cell
CREATE TABLE campaign_contributors (
    campaign TEXT NOT NULL, hour INTEGER NOT NULL, channel TEXT NOT NULL, author TEXT NOT NULL,
    followers INTEGER NOT NULL,
    PRIMARY KEY (campaign, hour, channel, author)
) STRICT, WITHOUT ROWID;

-- the latest posts of a campaign
CREATE TABLE campaign_posts (
    campaign TEXT NOT NULL, event_time INTEGER NOT NULL, post INTEGER NOT NULL,
    PRIMARY KEY (campaign, event_time, post)
) STRICT, WITHOUT ROWID;

-- who was first to acknowledge an alert; apart from alerts, since it may come before them
CREATE TABLE acknowledgements (
    alert_id TEXT PRIMARY KEY, by TEXT NOT NULL, at INTEGER NOT NULL
) STRICT, WITHOUT ROWID;

-- the token of the last block of each partition: it ends here
CREATE TABLE positions (
    epoch TEXT NOT NULL, topic TEXT NOT NULL, partition INTEGER NOT NULL, ends INTEGER NOT NULL,
    PRIMARY KEY (epoch, topic, partition)
) STRICT, WITHOUT ROWID;

-- highest offset stored of each source partition, by the partition it came through
CREATE TABLE source_positions (
    epoch TEXT NOT NULL, topic TEXT NOT NULL, partition INTEGER NOT NULL,
    source_epoch TEXT NOT NULL, source_topic TEXT NOT NULL, source_partition INTEGER NOT NULL,
    offset INTEGER NOT NULL,
    PRIMARY KEY (epoch, topic, partition, source_epoch, source_topic, source_partition)
) STRICT, WITHOUT ROWID;

-- one row: grows by one with every block that added rows
CREATE TABLE version (number INTEGER NOT NULL) STRICT;
INSERT INTO version VALUES (0);
";

/// Version 2: each row tells which record of squall's log it came of; what becomes of dead letters; whose an epoch is. Rows
/// of version 1 have no log.
const LOG_AND_LETTERS: &str = "
-- partitions of squall's topics, by a short number
CREATE TABLE logs (
    log INTEGER PRIMARY KEY, epoch TEXT NOT NULL, topic TEXT NOT NULL, partition INTEGER NOT NULL,
    UNIQUE (epoch, topic, partition)
) STRICT;

ALTER TABLE posts ADD COLUMN log INTEGER;
ALTER TABLE posts ADD COLUMN log_offset INTEGER;
ALTER TABLE posts ADD COLUMN first_origin TEXT;
ALTER TABLE mention_clusters ADD COLUMN log INTEGER;
ALTER TABLE mention_clusters ADD COLUMN log_offset INTEGER;
ALTER TABLE alerts ADD COLUMN log INTEGER;
ALTER TABLE alerts ADD COLUMN log_offset INTEGER;
ALTER TABLE deliveries ADD COLUMN log INTEGER;
ALTER TABLE deliveries ADD COLUMN log_offset INTEGER;
ALTER TABLE feedback ADD COLUMN log INTEGER;
ALTER TABLE feedback ADD COLUMN log_offset INTEGER;
ALTER TABLE dead_letters ADD COLUMN log INTEGER;
ALTER TABLE dead_letters ADD COLUMN log_offset INTEGER;
ALTER TABLE acknowledgements ADD COLUMN log INTEGER;
ALTER TABLE acknowledgements ADD COLUMN log_offset INTEGER;
-- whether a block is there
CREATE INDEX posts_by_log ON posts (log, log_offset);
CREATE INDEX mention_clusters_by_log ON mention_clusters (log, log_offset);
-- whether a replay is one of a post that is there
CREATE INDEX posts_by_first_origin ON posts (first_origin) WHERE first_origin IS NOT NULL;
-- the latest
CREATE INDEX dead_letters_by_time ON dead_letters (rejected_at);

-- what was done with a dead letter last
CREATE TABLE dead_letter_acts (
    epoch TEXT NOT NULL, topic TEXT NOT NULL, partition INTEGER NOT NULL, offset INTEGER NOT NULL,
    settled TEXT NOT NULL, by TEXT NOT NULL, at INTEGER NOT NULL, log INTEGER, log_offset INTEGER,
    PRIMARY KEY (epoch, topic, partition, offset)
) STRICT, WITHOUT ROWID;

-- the Kafka cluster that an epoch belongs to
CREATE TABLE epochs (epoch TEXT PRIMARY KEY, cluster TEXT NOT NULL) STRICT, WITHOUT ROWID;
";

/// Version 3: what people have done, which nobody changes afterwards. Acts that are rows of another table as well have no
/// log here, so that each is counted once.
const AUDIT: &str = "
CREATE TABLE audit (
    at INTEGER NOT NULL, by TEXT NOT NULL, act TEXT NOT NULL, subject TEXT NOT NULL,
    detail TEXT NOT NULL, -- the whole, JSON
    log INTEGER, log_offset INTEGER
) STRICT;
CREATE INDEX audit_by_time ON audit (at);
CREATE TRIGGER audit_is_not_changed BEFORE UPDATE ON audit BEGIN SELECT RAISE(ABORT, 'the audit is append-only'); END;
CREATE TRIGGER audit_is_not_deleted BEFORE DELETE ON audit BEGIN SELECT RAISE(ABORT, 'the audit is append-only'); END;
";
