//! How a database is brought to the schema.
//!
//! Migrations are numbered, applied in order, each noted in the table `migrations` when it is done; a statement may be
//! made again after a crash in the middle. None drops data.
//!
//! The caller sees to it that no plan is open: altering a view's query changes how its blocks are told apart, so a block
//! inserted before and repeated after would be there twice. STORE prepares before it reads anything, and where
//! several run, `squall migrate` is for the time when none does. Where nothing is to be done, nothing is altered.
//!
//! Against two at once: `CREATE TABLE migrating` succeeds for one only. Its comment tells who it is, and is renewed before
//! each statement and every [`RENEWED`]; a lock that was not renewed for [`STALE`] is moved away under a name made of its
//! own id, which also succeeds for one only.

use super::client::Session;
use super::error::{already_there, not_there, unavailable};
use super::schema::{Kept, Place, TABLES, VIEWS, quoted};
use crate::store::{StoreError, StoreResult};
use std::time::Duration;

/// Statements of each migration, in order. Only ever append: those of released versions stay as they were.
const MIGRATIONS: &[fn(&Place) -> Vec<String>] = &[first, second];

/// Version of the schema that this squall knows.
pub const VERSION: i64 = MIGRATIONS.len() as i64;

/// How often whoever migrates says that it lives.
const RENEWED: Duration = Duration::from_secs(5);
/// Who has not said so for this long has died.
const STALE: Duration = Duration::from_secs(30);
/// The same on a cluster, whose servers make one statement after the other: no statement takes half as long.
const STALE_ON_CLUSTER: Duration = Duration::from_secs(600);

/// All tables and views of version 1.
fn first(place: &Place) -> Vec<String> {
    let tables = TABLES.iter().map(|table| place.create_table(table));
    let views = VIEWS.iter().map(|view| place.create_view(view));
    tables.chain(views).collect()
}

/// Version 2: the audit. A database made by version 1 of this program has it from the beginning.
fn second(place: &Place) -> Vec<String> {
    let tables = TABLES.iter().filter(|table| table.name == "audit");
    let views = VIEWS
        .iter()
        .filter(|view| view.name == "audit_to_positions");
    let tables = tables.map(|table| place.create_table(table));
    tables
        .chain(views.map(|view| place.create_view(view)))
        .collect()
}

/// Version of the schema that is there; 0 where there is none.
pub async fn version(session: &Session) -> StoreResult<i64> {
    let sql = "SELECT count() FROM system.tables WHERE database = ? AND name = 'migrations'";
    let there: u64 = session
        .one(session.outside(sql).bind(&session.database))
        .await?;
    if there == 0 {
        return Ok(0);
    }
    session
        .one(session.query("SELECT max(toInt64(version)) FROM migrations"))
        .await
}

/// Brings the schema up to date and tells what it did, a line each; none where nothing was to be done.
///
/// # Errors
/// [`StoreError::Newer`] for a schema of a newer squall; [`StoreError::Unavailable`] while another one migrates.
pub async fn migrate(session: &Session) -> StoreResult<Vec<String>> {
    if version(session).await? == VERSION && outdated(session).await?.is_empty() {
        return Ok(Vec::new());
    }
    // Only where it is missing: a user may be allowed to make tables and no database.
    let sql = "SELECT count() FROM system.databases WHERE name = ?";
    let there: u64 = session
        .one(session.outside(sql).bind(&session.database))
        .await?;
    if there == 0 {
        session.ddl(&session.tables.create_database()).await?;
    }
    let lock = Lock::take(session).await?;
    let done = tokio::select! {
        done = steps(session, &lock) => done,
        lost = lock.keep() => Err(lost),
    };
    // Also after a failure: whoever is next tries again, from the statement that failed.
    let released = lock.release().await;
    let done = done?;
    released?;
    Ok(done)
}

async fn steps(session: &Session, lock: &Lock<'_>) -> StoreResult<Vec<String>> {
    let place = &session.tables;
    session.ddl(&migrations_table(place)).await?;
    let found = version(session).await?;
    if found > VERSION {
        return Err(StoreError::Newer {
            place: session.place.clone(),
            found,
            known: VERSION,
        });
    }
    let mut done = Vec::new();
    for (number, migration) in (1..).zip(MIGRATIONS).skip(found as usize) {
        let statements = migration(place);
        for statement in &statements {
            lock.renew().await?;
            session.ddl(statement).await?;
        }
        let sql = format!(
            "INSERT INTO {}.migrations (version, squall) VALUES ({number}, '{}')",
            place.database,
            env!("CARGO_PKG_VERSION")
        );
        session.ddl(&sql).await?;
        done.push(format!("version {number}: {} statements", statements.len()));
    }
    for (table, kept) in outdated(session).await? {
        lock.renew().await?;
        let ttl = place.ttl(kept).unwrap_or_default();
        session
            .ddl(&format!(
                "ALTER TABLE {}.{table}{} MODIFY TTL {ttl}",
                place.database, place.on_cluster
            ))
            .await?;
        done.push(format!(
            "{table}: rows are kept for {}s",
            place.keep.as_secs()
        ));
    }
    Ok(done)
}

/// Tables that are there and keep their rows for another time than configured.
pub async fn outdated(session: &Session) -> StoreResult<Vec<(&'static str, Kept)>> {
    let sql = "SELECT name, engine_full FROM system.tables WHERE database = ?";
    let found: Vec<(String, String)> = session
        .all(session.outside(sql).bind(&session.database))
        .await?;
    let expected = format!("toIntervalSecond({})", session.tables.keep.as_secs());
    let outdated = |name: &str| {
        found
            .iter()
            .any(|(found, engine)| found == name && !engine.contains(&expected))
    };
    let tables = TABLES
        .iter()
        .filter(|table| table.kept != Kept::Always && outdated(table.name));
    Ok(tables.map(|table| (table.name, table.kept)).collect())
}

/// The table that tells which migrations were applied. Not a migration itself.
fn migrations_table(place: &Place) -> String {
    let engine = match place.replicated {
        true => "ReplicatedMergeTree",
        false => "MergeTree",
    };
    format!(
        "CREATE TABLE IF NOT EXISTS {}.migrations{} (version UInt32, applied_at DateTime('UTC') DEFAULT now(), squall String)
ENGINE = {engine} ORDER BY version",
        place.database, place.on_cluster
    )
}

/// The right to migrate.
struct Lock<'a> {
    session: &'a Session,
    owner: String,
    /// A stale lock that was moved out of the way.
    stale: Option<String>,
}

impl<'a> Lock<'a> {
    async fn take(session: &'a Session) -> StoreResult<Self> {
        let host = std::fs::read_to_string("/proc/sys/kernel/hostname");
        let mut lock = Self {
            session,
            owner: format!(
                "process {} on {}",
                std::process::id(),
                host.as_deref().map_or("an unknown host", str::trim)
            ),
            stale: None,
        };
        // The second try is for a lock that was stale.
        for _ in 0..2 {
            let comment = lock.comment().await?;
            let place = &session.tables;
            let create = format!(
                "CREATE TABLE {}.migrating{} (nothing UInt8) ENGINE = Memory COMMENT {comment}",
                place.database, place.on_cluster
            );
            match session.ddl(&create).await {
                Ok(()) => return Ok(lock),
                Err(error) if already_there(&error) => lock.move_stale_away().await?,
                Err(error) => return Err(error),
            }
        }
        Err(unavailable(
            &session.place,
            "another process began to migrate it: wait for that to end".to_owned(),
        ))
    }

    /// Says that the owner is alive.
    ///
    /// # Errors
    /// It was taken for dead, and another one migrates.
    async fn renew(&self) -> StoreResult<()> {
        match self.holder().await? {
            Some(holder) if holder.owner == self.owner => {}
            _ => {
                return Err(unavailable(
                    &self.session.place,
                    "its migration took so long that another process took over".to_owned(),
                ));
            }
        }
        let comment = self.comment().await?;
        let place = &self.session.tables;
        let sql = format!(
            "ALTER TABLE {}.migrating{} MODIFY COMMENT {comment}",
            place.database, place.on_cluster
        );
        self.session.ddl(&sql).await
    }

    /// Renews it until that fails, and says why.
    async fn keep(&self) -> StoreError {
        loop {
            tokio::time::sleep(RENEWED).await;
            if let Err(error) = self.renew().await {
                return error;
            }
        }
    }

    async fn release(&self) -> StoreResult<()> {
        let holder = self.holder().await?;
        let own = holder.filter(|holder| holder.owner == self.owner);
        let names = own.map(|_| "migrating").into_iter();
        let place = &self.session.tables;
        for name in names.chain(self.stale.as_deref()) {
            let (database, on_cluster) = (&place.database, &place.on_cluster);
            let sql = format!("DROP TABLE IF EXISTS {database}.{name}{on_cluster}");
            self.session.ddl(&sql).await?;
        }
        Ok(())
    }

    /// Owner, and the server's time in seconds: `process 7 on host, 1763888040`.
    async fn comment(&self) -> StoreResult<String> {
        let now: u32 = self.session.one(self.session.outside(NOW)).await?;
        Ok(quoted(&format!("{}, {now}", self.owner), '\''))
    }

    async fn holder(&self) -> StoreResult<Option<Holder>> {
        let sql = "SELECT toString(uuid), comment, toUInt32(now()) FROM system.tables
            WHERE database = ? AND name = 'migrating'";
        let query = self.session.outside(sql).bind(&self.session.database);
        let found: Option<(String, String, u32)> = self.session.optional(query).await?;
        Ok(found.map(|(id, comment, now)| {
            let (owner, renewed) = comment.rsplit_once(", ").unwrap_or((&comment, "0"));
            let silent = u64::from(now).saturating_sub(renewed.parse().unwrap_or_default());
            Holder {
                id,
                owner: owner.to_owned(),
                silent: Duration::from_secs(silent),
            }
        }))
    }

    /// # Errors
    /// The lock is not stale: who holds it, and since when.
    async fn move_stale_away(&mut self) -> StoreResult<()> {
        let Some(holder) = self.holder().await? else {
            return Ok(()); // released meanwhile
        };
        let Holder { id, owner, silent } = holder;
        let stale = match self.session.tables.replicated {
            true => STALE_ON_CLUSTER,
            false => STALE,
        };
        if silent < stale {
            return Err(unavailable(
                &self.session.place,
                format!(
                    "{owner} is migrating it, last heard of {silent:?} ago: wait for that to end"
                ),
            ));
        }
        tracing::warn!("the migration of {owner} has died: taking over");
        let away = format!("migrating_{}", id.replace('-', "_"));
        let place = &self.session.tables;
        let (database, on_cluster) = (&place.database, &place.on_cluster);
        let sql = format!("RENAME TABLE {database}.migrating TO {database}.{away}{on_cluster}");
        match self.session.ddl(&sql).await {
            Ok(()) => self.stale = Some(away),
            // Somebody else was quicker. Whose lock it is now, who gets it sees.
            Err(error) if already_there(&error) || not_there(&error) => {}
            Err(error) => return Err(error),
        }
        Ok(())
    }
}

/// Who holds the lock.
struct Holder {
    /// Of the lock, new with each.
    id: String,
    owner: String,
    /// Since it was renewed.
    silent: Duration,
}

const NOW: &str = "SELECT toUInt32(now())";

#[cfg(test)]
mod tests {
    use super::*;
    use crate::store::clickhouse::testing::Database;
    use crate::store::contract::run;

    /// No cluster is to be had in tests: what would be sent to one is at least understood.
    #[test]
    fn statements_for_a_cluster_are_understood_by_the_server() {
        let Some(mut database) = Database::fresh() else {
            return;
        };
        database.config.cluster = "squall".into();
        let place = Place::new(&database.config);
        let session = Session::new(&database.config).unwrap();
        let statements = [place.create_database(), migrations_table(&place)];
        for statement in statements.into_iter().chain(first(&place)) {
            let query = session.outside("SELECT formatQuerySingleLine(?)");
            let formatted: String = run(session.one(query.bind(&statement))).unwrap();
            assert!(formatted.contains("ON CLUSTER squall"), "{formatted}");
            if formatted.contains("CREATE TABLE") {
                assert!(formatted.contains("ENGINE = Replicated"), "{formatted}");
            }
            let windows = formatted.matches("replicated_deduplication_window").count();
            let is_ours = formatted.contains("ORDER BY") && !formatted.contains("migrations");
            assert_eq!(windows, if is_ours { 2 } else { 0 }, "{formatted}");
        }
    }
}
