//! The tables, and how their DDL is written. What is said of order and partition keys stands beside each.
//!
//! Times are UTC. DateTime64 holds 1900 to 2299, DateTime 1970 to 2106: what lies outside is moved to the edge.

mod columns;
mod tables;
mod views;

pub use tables::TABLES;
pub use views::VIEWS;

use crate::config::ClickHouseConfig;
use std::time::Duration;

/// Blocks a second into one table: 16 partitions of `squall.scored`, each flushed every second.
const BLOCKS_A_SECOND: u64 = 16;
/// Months that a block touches, at a turn of the month. Each counts as a block of its own.
const MONTHS_A_BLOCK: u64 = 2;
/// Others go on inserting for so long before a block whose insert ended ambiguously is inserted again: until Kafka gives
/// its partition to another process (`max.poll.interval.ms`, 5 minutes), several times over.
const REPEATED_WITHIN: u64 = 1800;
/// Tokens that each table remembers. A server without any insert forgets none, however long it is away.
///
/// Each is an entry in the server's memory, or a node in Keeper: the reason for not taking ten times as many.
pub const DEDUPLICATION_WINDOW: u64 = BLOCKS_A_SECOND * MONTHS_A_BLOCK * REPEATED_WITHIN;
/// Keeper also forgets by age, inserts or not, so this has to outlast any outage: a week. Servers have
/// an hour by default.
pub const DEDUPLICATION_SECONDS: u64 = 7 * 86_400;

/// Rows past their time are taken out of a part at most this often, since each time rewrites it.
const EXPIRE_EVERY: Duration = Duration::from_secs(7 * 86_400);

/// A column: name, type as the server writes it, and what else is said of it.
pub type Column = (&'static str, &'static str, &'static str);

/// How a table treats rows with the same key.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Engine {
    /// Keeps all.
    Plain,
    /// Keeps the one inserted last, or that with the highest value in a column. Read with FINAL.
    Replacing(&'static str),
    /// Adds them up.
    Aggregating,
}

/// When rows go.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Kept {
    /// With the partition of their `stored_month`, `clickhouse.keep` after its end: no row goes too early, and
    /// nothing is rewritten.
    ByMonth,
    /// One by one, `clickhouse.keep` after `stored_at`: for tables without a bounded time of their own. They have
    /// one partition, so that a token never depends on when a block is inserted.
    BySelf,
    /// Never.
    Always,
}

/// A table.
#[derive(Debug)]
pub struct Table {
    /// Its name.
    pub name: &'static str,
    /// Its columns.
    pub columns: &'static [Column],
    /// Its skipping indexes.
    pub indexes: &'static [&'static str],
    /// What becomes of rows with the same key.
    pub engine: Engine,
    /// Order and primary key.
    pub order: &'static str,
    /// When rows go.
    pub kept: Kept,
}

/// A materialized view: inserts what its query makes of every block inserted into another table.
#[derive(Debug)]
pub struct View {
    /// Its name.
    pub name: &'static str,
    /// Table it fills.
    pub target: &'static str,
    /// Its query; `{database}` stands for the quoted name.
    pub query: &'static str,
}

/// Where the tables lie, as DDL says it.
#[derive(Debug, Clone)]
pub struct Place {
    /// Quoted name of the database.
    pub database: String,
    /// ` ON CLUSTER '…'`, or nothing.
    pub on_cluster: String,
    /// Whether engines are replicated.
    pub replicated: bool,
    /// How long rows are kept.
    pub keep: Duration,
}

impl Place {
    /// The place of a configuration. Names are checked when it is loaded, and quoted all the same.
    pub fn new(config: &ClickHouseConfig) -> Self {
        let cluster = config.cluster.as_str();
        Self {
            database: quoted(&config.database, '`'),
            on_cluster: match cluster {
                "" => String::new(),
                name => format!(" ON CLUSTER {}", quoted(name, '\'')),
            },
            replicated: !cluster.is_empty(),
            keep: config.keep,
        }
    }

    /// `CREATE DATABASE`.
    pub fn create_database(&self) -> String {
        let Self {
            database,
            on_cluster,
            ..
        } = self;
        format!("CREATE DATABASE IF NOT EXISTS {database}{on_cluster}")
    }

    /// `CREATE TABLE`. With a cluster the table is replicated: under the server's default path, which needs its
    /// macros `{shard}` and `{replica}`.
    pub fn create_table(&self, table: &Table) -> String {
        let Self {
            database,
            on_cluster,
            ..
        } = self;
        let columns = table
            .columns
            .iter()
            .map(|(name, kind, more)| format!("    {name} {kind} {more}").trim_end().to_owned());
        let indexes = table
            .indexes
            .iter()
            .map(|index| format!("    INDEX {index}"));
        let columns = columns.chain(indexes).collect::<Vec<_>>().join(",\n");
        let partition = match table.kept {
            Kept::ByMonth => "\nPARTITION BY stored_month",
            Kept::BySelf | Kept::Always => "",
        };
        let ttl = self.ttl(table.kept).map(|ttl| format!("\nTTL {ttl}"));
        format!(
            "CREATE TABLE IF NOT EXISTS {database}.{}{on_cluster} (\n{columns}\n) ENGINE = {}{partition}\nORDER BY ({}){}\nSETTINGS {}",
            table.name,
            self.engine(table.engine),
            table.order,
            ttl.unwrap_or_default(),
            self.settings(table.kept)
        )
    }

    /// `CREATE MATERIALIZED VIEW`.
    pub fn create_view(&self, view: &View) -> String {
        let Self {
            database,
            on_cluster,
            ..
        } = self;
        format!(
            "CREATE MATERIALIZED VIEW IF NOT EXISTS {database}.{}{on_cluster} TO {database}.{} AS\n{}",
            view.name,
            view.target,
            self.query(view)
        )
    }

    /// The query of a view.
    pub fn query(&self, view: &View) -> String {
        view.query.replace("{database}", &self.database)
    }

    /// The expression after which rows of a table go.
    pub fn ttl(&self, kept: Kept) -> Option<String> {
        let seconds = self.keep.as_secs();
        match kept {
            Kept::ByMonth => Some(format!(
                "toDateTime(stored_month, 'UTC') + toIntervalMonth(1) + toIntervalSecond({seconds})"
            )),
            Kept::BySelf => Some(format!("stored_at + toIntervalSecond({seconds})")),
            Kept::Always => None,
        }
    }

    /// The settings that deduplication rests on: of every table, since a target of a view without a window of its own
    /// takes a repeated block.
    pub fn windows(&self) -> Vec<(&'static str, u64)> {
        if self.replicated {
            return vec![
                ("replicated_deduplication_window", DEDUPLICATION_WINDOW),
                (
                    "replicated_deduplication_window_seconds",
                    DEDUPLICATION_SECONDS,
                ),
            ];
        }
        vec![("non_replicated_deduplication_window", DEDUPLICATION_WINDOW)]
    }

    fn engine(&self, engine: Engine) -> String {
        let replicated = if self.replicated { "Replicated" } else { "" };
        match engine {
            Engine::Plain => format!("{replicated}MergeTree"),
            Engine::Replacing(version) => format!("{replicated}ReplacingMergeTree({version})"),
            Engine::Aggregating => format!("{replicated}AggregatingMergeTree"),
        }
    }

    fn settings(&self, kept: Kept) -> String {
        let mut settings = self.windows();
        if !self.replicated {
            // Kafka's offset is committed after the block: one that a power cut took back would be a gap for ever. A cluster
            // has other replicas for that.
            settings.extend([("fsync_after_insert", 1), ("fsync_part_directory", 1)]);
        }
        match kept {
            Kept::ByMonth => settings.push(("ttl_only_drop_parts", 1)),
            Kept::BySelf => settings.push(("merge_with_ttl_timeout", EXPIRE_EVERY.as_secs())),
            Kept::Always => {}
        }
        let settings = settings
            .iter()
            .map(|(name, value)| format!("{name} = {value}"));
        settings.collect::<Vec<_>>().join(", ")
    }
}

/// A name or text in quotes of a kind.
pub fn quoted(text: &str, quote: char) -> String {
    let mut quoted = String::from(quote);
    for character in text.chars() {
        if character == quote || character == '\\' {
            quoted.push('\\');
        }
        quoted.push(character);
    }
    quoted.push(quote);
    quoted
}
