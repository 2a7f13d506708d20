//! State in a SQLite file, for the embedded broker: one process, nothing to install.

use super::{Change, State, StateError, StateResult};
use crate::lock::lock;
use futures::future::BoxFuture;
use rusqlite::{Connection, ErrorCode, OpenFlags, params};
use std::collections::HashMap;
use std::fs;
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex};
use std::time::Duration;

/// "sqst": marks a file as squall's state.
const APPLICATION_ID: i64 = 0x7371_7374;
/// Schema at hand.
const VERSION: i64 = 1;
/// How long another process that is about to end may still hold the file.
const BUSY_TIMEOUT: Duration = Duration::from_secs(2);

/// One table for all roles: each has a space of its own.
const TABLE: &str = "
CREATE TABLE state (
    space TEXT NOT NULL, partition INTEGER NOT NULL, key TEXT NOT NULL, value BLOB NOT NULL,
    PRIMARY KEY (space, partition, key)
) STRICT, WITHOUT ROWID;
";

/// The state of one role in a file. Whoever has loaded a partition last owns it; what others put there is dropped.
#[derive(Debug)]
pub struct SqliteState {
    file: Arc<File>,
    space: &'static str,
    /// Which takeover of each partition was ours.
    taken: Mutex<HashMap<i32, u64>>,
}

#[derive(Debug)]
struct File {
    path: PathBuf,
    connection: Mutex<Connection>,
    /// Number of times each partition was taken over. In memory, since no other process can hold the file.
    takeovers: Mutex<HashMap<(&'static str, i32), u64>>,
}

impl SqliteState {
    /// Opens the file, or makes it, readable by its owner only, for the role `space`; [`SqliteState::of`] gives the
    /// other roles theirs. No second process can open it meanwhile.
    ///
    /// # Errors
    /// [`StateError`] with the file and the remedy.
    pub fn open(path: &Path, space: &'static str) -> StateResult<Self> {
        // Absolute, since SQLite takes a relative path that begins with "file:" for an address with options.
        let path = std::path::absolute(path).map_err(|e| unreachable_file(path, &e))?;
        if let Some(folder) = path.parent() {
            fs::create_dir_all(folder).map_err(|e| unreachable_file(&path, &e))?;
        }
        fs::OpenOptions::new()
            .append(true)
            .create(true)
            .mode(0o600)
            .open(&path)
            .map_err(|e| unreachable_file(&path, &e))?;
        let flags = OpenFlags::SQLITE_OPEN_READ_WRITE | OpenFlags::SQLITE_OPEN_NO_MUTEX;
        let connection = Connection::open_with_flags(&path, flags)
            .and_then(prepare)
            .map_err(|e| explain(&path, &e))?;
        match version(&connection).map_err(|e| explain(&path, &e))? {
            VERSION => {}
            0 => {
                let problem = "a database of another program: move it away";
                return Err(failed(&path, problem.to_owned()));
            }
            found => {
                let problem = format!(
                    "has version {found}, this squall knows {VERSION}: use the newer squall, or move the file away to begin anew"
                );
                return Err(failed(&path, problem));
            }
        }
        let file = File {
            path,
            connection: Mutex::new(connection),
            takeovers: Mutex::default(),
        };
        Ok(Self {
            file: Arc::new(file),
            space,
            taken: Mutex::default(),
        })
    }

    /// The state of another role in the same file.
    pub fn of(&self, space: &'static str) -> Self {
        Self {
            file: self.file.clone(),
            space,
            taken: Mutex::default(),
        }
    }
}

impl State for SqliteState {
    fn load(&self, partition: i32) -> BoxFuture<'_, StateResult<HashMap<String, Vec<u8>>>> {
        Box::pin(async move {
            let (file, space) = (self.file.clone(), self.space);
            let (takeover, values) = blocking(self, move || file.load(space, partition)).await?;
            lock(&self.taken).insert(partition, takeover);
            Ok(values)
        })
    }

    fn put(&self, partition: i32, changes: Vec<Change>) -> BoxFuture<'_, StateResult<()>> {
        Box::pin(async move {
            let Some(takeover) = lock(&self.taken).get(&partition).copied() else {
                let problem = format!("partition {partition} was not loaded before it was written");
                return Err(failed(&self.file.path, problem));
            };
            let (file, space) = (self.file.clone(), self.space);
            blocking(self, move || file.put(space, partition, takeover, &changes)).await
        })
    }
}

impl File {
    fn load(
        &self,
        space: &'static str,
        partition: i32,
    ) -> StateResult<(u64, HashMap<String, Vec<u8>>)> {
        let connection = lock(&self.connection);
        let takeover = {
            let mut takeovers = lock(&self.takeovers);
            let takeover = takeovers.entry((space, partition)).or_default();
            *takeover += 1;
            *takeover
        };
        let read = || -> rusqlite::Result<HashMap<String, Vec<u8>>> {
            let mut query = connection.prepare_cached(
                "SELECT key, value FROM state WHERE space = ?1 AND partition = ?2",
            )?;
            query
                .query_map(params![space, partition], |row| {
                    Ok((row.get(0)?, row.get(1)?))
                })?
                .collect()
        };
        let values = read().map_err(|e| explain(&self.path, &e))?;
        Ok((takeover, values))
    }

    fn put(
        &self,
        space: &'static str,
        partition: i32,
        takeover: u64,
        changes: &[Change],
    ) -> StateResult<()> {
        let mut connection = lock(&self.connection);
        if lock(&self.takeovers).get(&(space, partition)) != Some(&takeover) {
            tracing::warn!(
                space,
                partition,
                "a former owner of the state wrote: dropped"
            );
            return Ok(());
        }
        let mut write = || {
            let transaction = connection.transaction()?;
            {
                let mut set = transaction.prepare_cached(
                    "INSERT OR REPLACE INTO state (space, partition, key, value) VALUES (?1, ?2, ?3, ?4)",
                )?;
                let mut remove = transaction.prepare_cached(
                    "DELETE FROM state WHERE space = ?1 AND partition = ?2 AND key = ?3",
                )?;
                for Change { key, value } in changes {
                    match value {
                        Some(value) => set.execute(params![space, partition, key, value])?,
                        None => remove.execute(params![space, partition, key])?,
                    };
                }
            }
            transaction.commit()
        };
        write().map_err(|e| explain(&self.path, &e))
    }
}

/// Takes the file for this process alone, with a write-ahead log that is synced at every commit.
fn prepare(mut connection: Connection) -> rusqlite::Result<Connection> {
    connection.busy_timeout(BUSY_TIMEOUT)?;
    connection.pragma_update(None, "locking_mode", "exclusive")?;
    connection.pragma_update_and_check(None, "journal_mode", "wal", |_| Ok(()))?;
    connection.pragma_update(None, "synchronous", "full")?;
    connection.pragma_update(None, "journal_size_limit", 16 << 20)?;
    let transaction = connection.transaction()?;
    let tables: i64 =
        transaction.query_row("SELECT COUNT(*) FROM sqlite_schema", (), |row| row.get(0))?;
    if tables == 0 {
        transaction.execute_batch(TABLE)?;
        transaction.pragma_update(None, "application_id", APPLICATION_ID)?;
        transaction.pragma_update(None, "user_version", VERSION)?;
    }
    // Also where there was nothing to do: the lock is held from here on.
    transaction.commit()?;
    Ok(connection)
}

/// Version of the schema; 0 when the file is another program's.
fn version(connection: &Connection) -> rusqlite::Result<i64> {
    let pragma = |name| connection.pragma_query_value(None, name, |row| row.get::<_, i64>(0));
    match pragma("application_id")? {
        APPLICATION_ID => pragma("user_version"),
        _ => Ok(0),
    }
}

fn explain(path: &Path, error: &rusqlite::Error) -> StateError {
    let remedy = match error.sqlite_error_code() {
        Some(ErrorCode::DatabaseBusy | ErrorCode::DatabaseLocked) => {
            "another squall runs with this run.data_dir: end it, or give this one another folder"
        }
        Some(ErrorCode::DiskFull) => "free some space on its disk",
        Some(ErrorCode::NotADatabase | ErrorCode::DatabaseCorrupt) => {
            "damaged: restore it from a backup, or move it away to begin anew"
        }
        Some(ErrorCode::ReadOnly | ErrorCode::CannotOpen | ErrorCode::PermissionDenied) => {
            "check run.data_dir and the permissions of its files"
        }
        _ => "check run.data_dir and its disk",
    };
    failed(path, format!("{error}: {remedy}"))
}

fn unreachable_file(path: &Path, error: &std::io::Error) -> StateError {
    failed(
        path,
        format!("{error}: check run.data_dir and the permissions of its folder"),
    )
}

fn failed(path: &Path, problem: String) -> StateError {
    StateError {
        place: path.display().to_string(),
        problem,
    }
}

/// Runs a job on a thread that may wait.
async fn blocking<T: Send + 'static>(
    state: &SqliteState,
    job: impl FnOnce() -> StateResult<T> + Send + 'static,
) -> StateResult<T> {
    tokio::task::spawn_blocking(job)
        .await
        .unwrap_or_else(|e| Err(failed(&state.file.path, e.to_string())))
}

#[cfg(test)]
mod tests {
    use super::super::contract::{changes, check, values};
    use super::*;

    #[tokio::test]
    async fn keeps_the_contract() {
        let folder = tempfile::tempdir().unwrap();
        let first = SqliteState::open(&folder.path().join("state.db"), "detect").unwrap();
        let again = first.of("detect");
        check(&first, &again).await;
    }

    #[tokio::test]
    async fn it_is_there_after_a_restart_and_each_role_has_its_own() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("new/state.db");
        let detect = SqliteState::open(&path, "detect").unwrap();
        let notify = detect.of("notify");
        detect.load(0).await.unwrap();
        notify.load(0).await.unwrap();
        detect.put(0, changes(&[("a", Some("1"))])).await.unwrap();
        notify.put(0, changes(&[("a", Some("2"))])).await.unwrap();
        drop((detect, notify));
        let notify = SqliteState::open(&path, "notify").unwrap();
        assert_eq!(notify.load(0).await.unwrap(), values(&[("a", "2")]));
        assert_eq!(
            notify.of("detect").load(0).await.unwrap(),
            values(&[("a", "1")])
        );
    }

    #[tokio::test]
    async fn a_second_process_and_foreign_files_are_refused_with_a_remedy() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("state.db");
        let _held = SqliteState::open(&path, "detect").unwrap();
        let error = SqliteState::open(&path, "detect").unwrap_err().to_string();
        assert!(
            error.contains("state.db") && error.contains("another squall runs"),
            "{error}"
        );

        let other = folder.path().join("other.db");
        let foreign = Connection::open(&other).unwrap();
        foreign.execute_batch("CREATE TABLE t (x)").unwrap();
        drop(foreign);
        let error = SqliteState::open(&other, "detect").unwrap_err().to_string();
        assert!(error.contains("another program"), "{error}");

        let text = folder.path().join("text.db");
        fs::write(&text, "no database at all, and long enough to be looked at").unwrap();
        let error = SqliteState::open(&text, "detect").unwrap_err().to_string();
        assert!(
            error.contains("text.db") && error.contains("move it away"),
            "{error}"
        );
    }
}
