//! Talking to the server: which settings go with a call, how long it may take.

use super::error::{explain, lost, unusable};
use super::schema::Place;
use crate::config::ClickHouseConfig;
use crate::faults;
use crate::store::{StoreError, StoreResult};
use clickhouse::query::Query;
use clickhouse::{Client, Compression, RowOwned, RowRead, RowWrite};
use reqwest::Url;
use std::panic::catch_unwind;
use std::time::Duration;
use tokio::sync::OnceCell;

/// DDL on a cluster waits for every server of it.
const DDL_TIMEOUT: Duration = Duration::from_secs(300);
/// Lists of keys are part of a query's text.
const LONGEST_QUERY: u64 = 16 << 20;
/// More rows than any block has, so that the server makes one block of all that one insert brings. It gives a token's
/// blocks numbers: cut elsewhere the second time, they would not be the same.
const ONE_BLOCK: u64 = 2_000_000;

/// What every insert needs for its token to hold, in its table and all that views fill from it.
const ONCE: [(&str, &str); 9] = [
    // Collects inserts of several clients otherwise, and is the default since 26.2.
    ("async_insert", "0"),
    ("insert_deduplicate", "1"),
    ("deduplicate_blocks_in_dependent_materialized_views", "1"),
    // A view that fails fails the insert, which is then made again.
    ("materialized_views_ignore_errors", "0"),
    ("parallel_view_processing", "0"),
    ("max_insert_threads", "1"),
    ("min_insert_block_size_bytes", "0"),
    ("min_insert_block_size_rows_for_materialized_views", "0"),
    ("min_insert_block_size_bytes_for_materialized_views", "0"),
];
/// The same of settings that only newer servers know; they refuse a name they do not know.
const ONCE_WHERE_KNOWN: [(&str, &str); 2] = [
    ("deduplicate_insert", "enable"),
    ("max_insert_block_size_bytes", "0"),
];

/// A server, and how it is asked.
pub struct Session {
    /// For rows: in the database.
    client: Client,
    /// For what is done before there is a database.
    outside: Client,
    /// Where the tables lie.
    pub tables: Place,
    /// Name of the database.
    pub database: String,
    /// How errors name the server and its database.
    pub place: String,
    timeout: Duration,
    /// Those of [`ONCE_WHERE_KNOWN`] that this server knows.
    known: OnceCell<Vec<String>>,
}

impl Session {
    /// Reaches nobody.
    ///
    /// Rows are compressed (LZ4) on the way, but not to this very machine, where it gains nothing.
    pub fn new(config: &ClickHouseConfig) -> StoreResult<Self> {
        let place = format!("{}/{}", config.url.trim_end_matches('/'), config.database);
        let url = Url::parse(&config.url).map_err(|e| {
            unusable(
                &config.url,
                format!("not an address: {e}: write clickhouse.url as http://host:8123"),
            )
        })?;
        let compression = match is_loopback(&url) {
            true => Compression::None,
            false => Compression::Lz4,
        };
        // The client reads the system's certificates as it is made, and panics where there are none.
        let client = catch_unwind(Client::default).map_err(|_| {
            unusable(
                &place,
                "no root certificates on this machine: install ca-certificates".to_owned(),
            )
        })?;
        let seconds = config.timeout.as_secs().max(1);
        let outside = client
            .with_url(&config.url)
            .with_user(&config.user)
            .with_password(config.password.expose())
            .with_product_info("squall", env!("CARGO_PKG_VERSION"))
            .with_compression(compression)
            .with_setting("max_execution_time", seconds.to_string())
            .with_setting("max_query_size", LONGEST_QUERY.to_string());
        Ok(Self {
            client: outside.clone().with_database(&config.database),
            outside,
            tables: Place::new(config),
            database: config.database.clone(),
            place,
            timeout: config.timeout,
            known: OnceCell::new(),
        })
    }

    /// A query in the database. Values are bound, never written into its text.
    pub fn query(&self, sql: &str) -> Query {
        self.client.query(sql)
    }

    /// A query that needs no database.
    pub fn outside(&self, sql: &str) -> Query {
        self.outside.query(sql)
    }

    /// All rows of an answer.
    pub async fn all<T: RowOwned + RowRead>(&self, query: Query) -> StoreResult<Vec<T>> {
        self.within(self.timeout, query.fetch_all()).await
    }

    /// The one row of an answer that always has one.
    pub async fn one<T: RowOwned + RowRead>(&self, query: Query) -> StoreResult<T> {
        self.within(self.timeout, query.fetch_one()).await
    }

    /// The row of an answer, if there is one.
    pub async fn optional<T: RowOwned + RowRead>(&self, query: Query) -> StoreResult<Option<T>> {
        self.within(self.timeout, query.fetch_optional()).await
    }

    /// A statement on the schema. It may take longer than other calls.
    pub async fn ddl(&self, sql: &str) -> StoreResult<()> {
        let timeout = self.timeout.max(DDL_TIMEOUT);
        // `?` is no place for a value here.
        let query = self
            .outside
            .query_raw(sql)
            .with_setting("max_execution_time", timeout.as_secs().to_string());
        self.within(timeout, query.execute()).await
    }

    /// One insert of rows under a token: all of them, or after an error perhaps some in some tables, which the same
    /// insert completes.
    pub async fn insert<T: RowOwned + RowWrite + Send>(
        &self,
        table: &str,
        token: &str,
        mut rows: Box<dyn Iterator<Item = T> + Send + '_>,
    ) -> StoreResult<()> {
        let Some(first) = rows.next() else {
            return Ok(());
        };
        let mut client = self.client.clone();
        for (name, value) in ONCE {
            client.set_setting(name, value);
        }
        for (name, value) in ONCE_WHERE_KNOWN {
            if self.knows(name).await? {
                client.set_setting(name, value);
            }
        }
        for name in ["max_insert_block_size", "min_insert_block_size_rows"] {
            client.set_setting(name, ONE_BLOCK.to_string());
        }
        if self.tables.replicated {
            // The majority of the replicas has it, so that whoever is asked next can wait for it: see `settled`.
            client.set_setting("insert_quorum", "auto");
            let milliseconds = self.timeout.as_millis();
            client.set_setting("insert_quorum_timeout", milliseconds.to_string());
        }
        client.set_setting("insert_deduplication_token", token);
        if faults::is_broken("token") {
            client.set_setting("insert_deduplication_token", "");
            client.set_setting("insert_deduplicate", "0");
            if self.knows("deduplicate_insert").await? {
                client.set_setting("deduplicate_insert", "disable");
            }
        }
        let writing = async {
            let mut insert = client.insert::<T>(table).await?;
            insert.write(&first).await?;
            for row in rows {
                insert.write(&row).await?;
            }
            insert.end().await
        };
        self.within(self.timeout, writing).await
    }

    /// Waits, on a cluster, until the server that is asked has everything that was stored in a table through any other.
    ///
    /// `select_sequential_consistency` would do the same, but only where inserts exclude each other
    /// (`insert_quorum_parallel=0`), and STORE's partitions insert side by side.
    pub async fn settled(&self, table: &str) -> StoreResult<()> {
        if !self.tables.replicated {
            return Ok(());
        }
        let database = &self.tables.database;
        let sql = format!("SYSTEM SYNC REPLICA {database}.{table} LIGHTWEIGHT");
        self.within(self.timeout, self.client.query_raw(&sql).execute())
            .await
    }

    /// Whether this server knows a setting of [`ONCE_WHERE_KNOWN`]; asked once.
    async fn knows(&self, setting: &str) -> StoreResult<bool> {
        let ask = || {
            let names = ONCE_WHERE_KNOWN.map(|(name, _)| name);
            let sql = "SELECT name FROM system.settings WHERE name IN ?";
            self.all(self.outside(sql).bind(names.as_slice()))
        };
        let known: &Vec<String> = self.known.get_or_try_init(ask).await?;
        Ok(known.iter().any(|known| known == setting))
    }

    async fn within<T>(
        &self,
        timeout: Duration,
        call: impl Future<Output = clickhouse::error::Result<T>>,
    ) -> StoreResult<T> {
        match tokio::time::timeout(timeout, call).await {
            Ok(answer) => answer.map_err(|error| self.explain(&error)),
            Err(_) => Err(lost(&self.place, timeout)),
        }
    }

    fn explain(&self, error: &clickhouse::error::Error) -> StoreError {
        explain(&self.place, error)
    }
}

fn is_loopback(url: &Url) -> bool {
    match url.host_str().unwrap_or_default() {
        "localhost" | "[::1]" => true,
        host => host.starts_with("127."),
    }
}
