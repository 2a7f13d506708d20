//! SQLite: the embedded store, one file and nothing to install.
//!
//! One connection writes, a few read beside it (write-ahead log), all on tokio's threads for blocking work.

mod aggregates;
mod campaigns;
mod error;
mod inspect;
mod letters;
mod positions;
mod read;
mod records;
mod schema;
#[cfg(test)]
mod tests;
mod write;

use crate::lock::lock;
pub use inspect::{SqliteFacts, inspect};

use super::{
    AlertQuery, AlertRow, AuditRow, Block, CampaignFigures, CampaignTotals, DeadLetterQuery,
    DeadLetterRow, EntityTimeline, EntityTotals, Inserted, PostQuery, Store, StoreError,
    StoreResult, StoredPosition, TimelinePoint,
};
use crate::domain::{CampaignId, EntityId, Origin, ScoredPost, SourcePartition, Timestamp};
use error::{explain, unavailable, unfit, unusable};
use futures::future::BoxFuture;
use rusqlite::{Connection, OpenFlags, Transaction, TransactionBehavior};
use std::collections::HashSet;
use std::fs;
use std::ops::Range;
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex};
use std::time::Duration;
use tokio::sync::Semaphore;

/// Reads at once; further ones wait.
const READERS: usize = 4;
/// How long a write waits for another process that writes.
const BUSY_TIMEOUT: Duration = Duration::from_secs(5);

/// The store in a SQLite database.
pub struct SqliteStore {
    shared: Arc<Shared>,
    reading: Arc<Semaphore>,
}

/// What jobs on other threads need.
struct Shared {
    path: PathBuf,
    writer: Mutex<Connection>,
    /// Idle readers, at most [`READERS`].
    readers: Mutex<Vec<Connection>>,
}

impl SqliteStore {
    /// Opens the database, or makes it, readable by its owner only, with the folders above it.
    ///
    /// # Errors
    /// [`StoreError`] with the file and the remedy: it cannot be reached or written, is no database of squall,
    /// or one of a newer squall.
    pub fn open(path: &Path) -> StoreResult<Self> {
        Ok(Self::migrate(path)?.0)
    }

    /// The same, and the versions of the schema that were made by it: none where all were there.
    ///
    /// # Errors
    /// Those of [`open`](Self::open).
    pub fn migrate(path: &Path) -> StoreResult<(Self, Range<usize>)> {
        // Absolute, since SQLite takes a relative path that begins with "file:" for an address with options.
        let path = &std::path::absolute(path)
            .map_err(|e| unavailable(path, format!("{e}: check store.path")))?;
        create(path)?;
        let mut writer =
            connect(path, OpenFlags::SQLITE_OPEN_READ_WRITE).map_err(|e| explain(path, &e))?;
        // First, since it leaves what is not ours untouched.
        let versions = schema::migrate(&mut writer).map_err(|e| unfit(path, e))?;
        if !log_ahead(&writer).map_err(|e| explain(path, &e))? {
            return Err(unusable(
                path,
                "its file system allows no write-ahead log: set store.path to a file on a local disk",
            ));
        }
        let shared = Shared {
            path: path.clone(),
            writer: Mutex::new(writer),
            readers: Mutex::default(),
        };
        let store = Self {
            shared: Arc::new(shared),
            reading: Arc::new(Semaphore::new(READERS)),
        };
        Ok((store, versions))
    }

    /// Runs a job of several queries on one state of the database.
    fn read<T: Send + 'static>(
        &self,
        job: impl FnOnce(&Transaction<'_>) -> rusqlite::Result<T> + Send + 'static,
    ) -> BoxFuture<'_, StoreResult<T>> {
        Box::pin(async move {
            let permit = self.reading.clone().acquire_owned().await;
            let shared = self.shared.clone();
            blocking(move || {
                let _permit = permit;
                shared.read(job).map_err(|e| explain(&shared.path, &e))
            })
            .await
        })
    }
}

impl Shared {
    fn read<T>(
        &self,
        job: impl FnOnce(&Transaction<'_>) -> rusqlite::Result<T>,
    ) -> rusqlite::Result<T> {
        let idle = lock(&self.readers).pop();
        let mut reader = match idle {
            Some(reader) => reader,
            None => connect(&self.path, OpenFlags::SQLITE_OPEN_READ_ONLY)?,
        };
        let answer = job(&reader.transaction()?);
        lock(&self.readers).push(reader);
        answer
    }

    fn claim_epoch(&self, epoch: &str, own: &str) -> StoreResult<()> {
        let explain = |e| explain(&self.path, &e);
        let mut writer = lock(&self.writer);
        let transaction = writer
            .transaction_with_behavior(TransactionBehavior::Immediate)
            .map_err(explain)?;
        let stored = positions::claim_epoch(&transaction, epoch, own).map_err(explain)?;
        transaction.commit().map_err(explain)?;
        if stored != own {
            return Err(StoreError::Epoch {
                epoch: epoch.to_owned(),
                stored,
                own: own.to_owned(),
            });
        }
        Ok(())
    }

    fn insert(&self, block: &Block) -> StoreResult<Inserted> {
        block.check()?;
        let explain = |e| explain(&self.path, &e);
        let mut writer = lock(&self.writer);
        let transaction = writer
            .transaction_with_behavior(TransactionBehavior::Immediate)
            .map_err(explain)?;
        let stored = positions::position(&transaction, &block.partition).map_err(explain)?;
        if block.end <= stored.end {
            return Ok(Inserted { rows: 0 });
        }
        if block.start < stored.end {
            return Err(StoreError::Overlap {
                partition: block.partition.clone(),
                start: block.start,
                end: block.end,
                stored: stored.end,
            });
        }
        let inserted = write::block(&transaction, block).map_err(explain)?;
        transaction.commit().map_err(explain)?;
        Ok(inserted)
    }
}

impl Store for SqliteStore {
    fn prepare(&self, _: bool) -> BoxFuture<'_, StoreResult<()>> {
        Box::pin(async { Ok(()) })
    }

    fn claim_epoch<'a>(
        &'a self,
        epoch: &'a str,
        cluster: &'a str,
    ) -> BoxFuture<'a, StoreResult<()>> {
        Box::pin(async move {
            let shared = self.shared.clone();
            let (epoch, cluster) = (epoch.to_owned(), cluster.to_owned());
            blocking(move || shared.claim_epoch(&epoch, &cluster)).await
        })
    }

    fn rows_between<'a>(
        &'a self,
        partition: &'a SourcePartition,
        start: i64,
        end: i64,
    ) -> BoxFuture<'a, StoreResult<u64>> {
        let partition = partition.clone();
        self.read(move |t| positions::rows_between(t, &partition, start, end))
    }

    fn replayed<'a>(
        &'a self,
        origins: &'a [Origin],
    ) -> BoxFuture<'a, StoreResult<HashSet<Origin>>> {
        let origins = origins.to_vec();
        self.read(move |t| letters::replayed(t, &origins))
    }

    fn dead_letters<'a>(
        &'a self,
        query: &'a DeadLetterQuery,
    ) -> BoxFuture<'a, StoreResult<Vec<DeadLetterRow>>> {
        let query = query.clone();
        self.read(move |t| letters::dead_letters(t, &query))
    }

    fn audit(&self, limit: usize) -> BoxFuture<'_, StoreResult<Vec<AuditRow>>> {
        self.read(move |t| letters::audit(t, limit))
    }

    fn insert<'a>(&'a self, block: &'a Block) -> BoxFuture<'a, StoreResult<Inserted>> {
        Box::pin(async move {
            let shared = self.shared.clone();
            // A copy, which the thread may keep when this future is given up: the block is then stored all the same.
            let block = block.clone();
            blocking(move || shared.insert(&block)).await
        })
    }

    fn position<'a>(
        &'a self,
        partition: &'a SourcePartition,
    ) -> BoxFuture<'a, StoreResult<StoredPosition>> {
        let partition = partition.clone();
        self.read(move |t| positions::position(t, &partition))
    }

    fn version(&self) -> BoxFuture<'_, StoreResult<i64>> {
        self.read(read::version)
    }

    fn latest(&self) -> BoxFuture<'_, StoreResult<Option<Timestamp>>> {
        self.read(read::latest)
    }

    fn entities(
        &self,
        from: Timestamp,
        to: Timestamp,
    ) -> BoxFuture<'_, StoreResult<Vec<EntityTotals>>> {
        self.read(move |t| aggregates::entities(t, from, to))
    }

    fn timeline<'a>(
        &'a self,
        entity: &'a EntityId,
        from: Timestamp,
        to: Timestamp,
        step: Duration,
    ) -> BoxFuture<'a, StoreResult<Vec<TimelinePoint>>> {
        let entity = entity.clone();
        self.read(move |t| aggregates::timeline(t, &entity, from, to, step))
    }

    fn timelines(
        &self,
        from: Timestamp,
        to: Timestamp,
        step: Duration,
    ) -> BoxFuture<'_, StoreResult<Vec<EntityTimeline>>> {
        self.read(move |t| aggregates::timelines(t, from, to, step))
    }

    fn posts<'a>(&'a self, query: &'a PostQuery) -> BoxFuture<'a, StoreResult<Vec<ScoredPost>>> {
        let query = query.clone();
        self.read(move |t| read::posts(t, &query))
    }

    fn alerts<'a>(&'a self, query: &'a AlertQuery) -> BoxFuture<'a, StoreResult<Vec<AlertRow>>> {
        let query = query.clone();
        self.read(move |t| read::alerts(t, &query))
    }

    fn campaigns(
        &self,
        from: Timestamp,
        to: Timestamp,
    ) -> BoxFuture<'_, StoreResult<Vec<(CampaignId, CampaignTotals)>>> {
        self.read(move |t| campaigns::all(t, from, to))
    }

    fn campaign<'a>(
        &'a self,
        id: &'a CampaignId,
        from: Timestamp,
        to: Timestamp,
    ) -> BoxFuture<'a, StoreResult<CampaignFigures>> {
        let id = id.clone();
        self.read(move |t| campaigns::figures(t, &id, from, to))
    }

    fn post_count(&self) -> BoxFuture<'_, StoreResult<u64>> {
        self.read(read::post_count)
    }

    fn row_counts(&self) -> BoxFuture<'_, StoreResult<Vec<(&'static str, u64)>>> {
        self.read(read::row_counts)
    }
}

/// Makes the folders and an empty file that only its owner may read; SQLite gives its other files the same mode.
fn create(path: &Path) -> StoreResult<()> {
    let remedy = "check store.path and the permissions of its folder";
    if let Some(folder) = path.parent() {
        fs::create_dir_all(folder).map_err(|e| {
            let folder = folder.display();
            unavailable(
                path,
                format!("cannot make the folder {folder}: {e}: {remedy}"),
            )
        })?;
    }
    fs::OpenOptions::new()
        .append(true)
        .create(true)
        .mode(0o600)
        .open(path)
        .map_err(|e| unavailable(path, format!("{e}: {remedy}")))?;
    Ok(())
}

fn connect(path: &Path, access: OpenFlags) -> rusqlite::Result<Connection> {
    let connection = Connection::open_with_flags(path, access | OpenFlags::SQLITE_OPEN_NO_MUTEX)?;
    connection.busy_timeout(BUSY_TIMEOUT)?;
    connection.set_prepared_statement_cache_capacity(64);
    Ok(connection)
}

/// Turns the write-ahead log on; false where the file system cannot.
///
/// Every commit is synced (`FULL`): Kafka's offset is committed after the block, so a block that a power cut takes
/// back would be a gap for ever. With blocks of half a second that costs next to nothing.
fn log_ahead(writer: &Connection) -> rusqlite::Result<bool> {
    let mode: String =
        writer.pragma_update_and_check(None, "journal_mode", "wal", |row| row.get(0))?;
    writer.pragma_update(None, "synchronous", "full")?;
    // 16 MB of pages, enough for the end of each index, where a block writes.
    writer.pragma_update(None, "cache_size", -16_000)?;
    // Pages are moved from the log to the database at 16 MiB: several blocks share the pages they touched.
    writer.pragma_update(None, "wal_autocheckpoint", 4096)?;
    writer.pragma_update(None, "journal_size_limit", 64 << 20)?;
    Ok(mode == "wal")
}

/// Runs a job on a thread that may wait.
async fn blocking<T: Send + 'static>(
    job: impl FnOnce() -> StoreResult<T> + Send + 'static,
) -> StoreResult<T> {
    tokio::task::spawn_blocking(job)
        .await
        .unwrap_or_else(|e| Err(StoreError::Query(e.to_string())))
}
