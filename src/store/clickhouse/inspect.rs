//! What `squall doctor` wants to know of a server. Nothing is changed.

use super::client::Session;
use super::schema::{TABLES, VIEWS};
use super::{ClickHouseStore, check, migrate};
use crate::domain::Timestamp;
use crate::store::{StoreError, StoreResult};
use std::collections::BTreeMap;

/// Settings of the user's profile that are looked at.
const SETTINGS: [&str; 8] = [
    "readonly",
    "async_insert",
    "insert_deduplicate",
    "deduplicate_insert",
    "deduplicate_blocks_in_dependent_materialized_views",
    "materialized_views_ignore_errors",
    "parallel_view_processing",
    "max_partitions_per_insert_block",
];

/// A server and the database on it, as they stand.
#[derive(Debug)]
pub struct ClickHouseFacts {
    /// Both, as errors name them.
    pub place: String,
    /// Version of the server.
    pub server: String,
    /// Who is asking.
    pub user: String,
    /// How far the server's clock is ahead of this machine's, in milliseconds.
    pub clock_ahead: i64,
    /// Version of the schema that is there; 0 where there is none.
    pub schema: i64,
    /// Version of the schema that this squall knows.
    pub newest: i64,
    /// Whether tables, windows and views are as squall made them; none where there are none, or others.
    pub tables: Option<StoreResult<()>>,
    /// What the user may not do, and how the server says so; none where it was not tried.
    pub refused: Option<Vec<(String, StoreError)>>,
    /// Of the user's profile, as far as the server knows them.
    pub settings: StoreResult<BTreeMap<String, Setting>>,
    /// Where the server keeps its data.
    pub disks: StoreResult<Vec<Disk>>,
    /// Whether the server knows the configured cluster; none where none is configured.
    pub in_cluster: Option<StoreResult<bool>>,
    /// Replicated tables of the database.
    pub replicas: StoreResult<Vec<Replica>>,
}

/// A setting of the user's profile.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Setting {
    /// Its value.
    pub value: String,
    /// Whether the profile forbids to change it.
    pub is_fixed: bool,
}

/// A disk of the server.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Disk {
    /// Its name.
    pub name: String,
    /// Bytes that may still be written.
    pub free: u64,
    /// Bytes in all.
    pub total: u64,
}

/// A replicated table on the server that was asked.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Replica {
    /// Name of the table.
    pub table: String,
    /// Whether it takes no inserts, since Keeper cannot be reached.
    pub is_readonly: bool,
    /// Seconds it is behind the others.
    pub delay: u64,
}

impl ClickHouseStore {
    /// Looks at everything. `cluster` is the configured one; empty for a single server.
    ///
    /// # Errors
    /// The server cannot be reached, or does not let the user in.
    pub async fn inspect(&self, cluster: &str) -> StoreResult<ClickHouseFacts> {
        let session = &self.session;
        let sql = "SELECT version(), currentUser(), toUnixTimestamp64Milli(now64(3))";
        let asked = Timestamp::now().millis();
        let (server, user, now): (String, String, i64) = session.one(session.outside(sql)).await?;
        let answered = Timestamp::now().millis();
        let schema = migrate::version(session).await?;
        let known = schema == migrate::VERSION;
        Ok(ClickHouseFacts {
            place: session.place.clone(),
            server,
            user,
            clock_ahead: now - (asked + answered) / 2,
            schema,
            newest: migrate::VERSION,
            tables: match known {
                true => Some(check::check(session).await),
                false => None,
            },
            refused: match known {
                true => Some(refused(session, self.migrate).await),
                false => None,
            },
            settings: settings(session).await,
            disks: disks(session).await,
            in_cluster: match cluster {
                "" => None,
                cluster => Some(in_cluster(session, cluster).await),
            },
            replicas: replicas(session).await,
        })
    }
}

/// Tries what STORE and API do with each table, on no row, and what migrations do, on a table that is there.
async fn refused(session: &Session, migrates: bool) -> Vec<(String, StoreError)> {
    let database = &session.tables.database;
    let mut tried = Vec::new();
    for table in TABLES {
        let name = table.name;
        tried.push((
            format!("read {name}"),
            format!("SELECT 1 FROM {database}.{name} LIMIT 0"),
        ));
        if VIEWS.iter().all(|view| view.target != name) {
            tried.push((
                format!("write {name}"),
                format!("INSERT INTO {database}.{name} SELECT * FROM {database}.{name} WHERE 0"),
            ));
        }
    }
    if migrates {
        tried.push((
            "create tables, for clickhouse.migrate".to_owned(),
            format!(
                "CREATE TABLE IF NOT EXISTS {database}.migrations{} (version UInt32) ENGINE = Memory",
                session.tables.on_cluster
            ),
        ));
    }
    let mut refused = Vec::new();
    for (what, sql) in tried {
        if let Err(error) = session.ddl(&sql).await {
            refused.push((what, error));
        }
    }
    refused
}

async fn settings(session: &Session) -> StoreResult<BTreeMap<String, Setting>> {
    let sql = "SELECT name, value, toUInt8(readonly) FROM system.settings WHERE name IN ?";
    let rows: Vec<(String, String, u8)> = session
        .all(session.outside(sql).bind(SETTINGS.as_slice()))
        .await?;
    let setting = |(name, value, is_fixed)| {
        let is_fixed = is_fixed == 1;
        (name, Setting { value, is_fixed })
    };
    Ok(rows.into_iter().map(setting).collect())
}

async fn disks(session: &Session) -> StoreResult<Vec<Disk>> {
    let sql = "SELECT name, unreserved_space, total_space FROM system.disks";
    let rows: Vec<(String, u64, u64)> = session.all(session.outside(sql)).await?;
    let disk = |(name, free, total)| Disk { name, free, total };
    Ok(rows.into_iter().map(disk).collect())
}

async fn in_cluster(session: &Session, cluster: &str) -> StoreResult<bool> {
    let sql = "SELECT count() FROM system.clusters WHERE cluster = ?";
    let count: u64 = session.one(session.outside(sql).bind(cluster)).await?;
    Ok(count > 0)
}

async fn replicas(session: &Session) -> StoreResult<Vec<Replica>> {
    let sql = "SELECT table, toUInt8(is_readonly), toUInt64(absolute_delay) FROM system.replicas WHERE database = ?";
    let rows: Vec<(String, u8, u64)> = session
        .all(session.outside(sql).bind(&session.database))
        .await?;
    let replica = |(table, is_readonly, delay)| Replica {
        table,
        is_readonly: is_readonly == 1,
        delay,
    };
    Ok(rows.into_iter().map(replica).collect())
}
