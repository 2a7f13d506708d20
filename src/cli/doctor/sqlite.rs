//! The embedded store: its file can be opened, and is of this squall.

use super::finding::Finding;
use crate::config::Config;
use crate::store::StoreResult;
use crate::store::sqlite::{SqliteFacts, inspect};
use std::path::Path;

const SUBJECT: &str = "store";

/// Looks at the database, where SQLite is the store and the file is there.
pub(super) fn check(config: &Config) -> Vec<Finding> {
    if !config.clickhouse.url.is_empty() {
        return Vec::new();
    }
    let path = config.run.data_dir.join(&config.store.path);
    let facts = path.exists().then(|| inspect(&path));
    vec![judge(&path, facts)]
}

fn judge(path: &Path, facts: Option<StoreResult<SqliteFacts>>) -> Finding {
    let place = format!("SQLite {}", path.display());
    match facts {
        None => Finding::ok(SUBJECT, format!("{place} is made at the first start")),
        Some(Err(error)) => Finding::failed(SUBJECT, error),
        Some(Ok(facts)) if facts.version < facts.newest => Finding::ok(
            SUBJECT,
            format!(
                "{place} can be read; the next start brings its schema from version {} to {}",
                facts.version, facts.newest
            ),
        ),
        Some(Ok(facts)) => Finding::ok(
            SUBJECT,
            format!(
                "{place} can be read, schema version {}, {} MB",
                facts.version,
                facts.bytes.div_ceil(1 << 20)
            ),
        ),
    }
}

#[cfg(test)]
mod tests {
    use super::super::finding::Level;
    use super::*;
    use crate::store::sqlite::SqliteStore;

    #[test]
    fn a_database_is_looked_at_and_none_is_made() {
        let folder = tempfile::tempdir().unwrap();
        let mut config = crate::config::load(None, std::iter::empty()).unwrap();
        config.run.data_dir = folder.path().into();
        assert_eq!(check(&config)[0].level, Level::Ok);
        assert_eq!(std::fs::read_dir(folder.path()).unwrap().count(), 0);

        let path = folder.path().join(&config.store.path);
        drop(SqliteStore::open(&path).unwrap());
        let finding = &check(&config)[0];
        assert_eq!(finding.level, Level::Ok);
        assert!(finding.message.contains("schema version"), "{finding}");

        std::fs::write(&path, "this is no database at all, only some text").unwrap();
        let finding = &check(&config)[0];
        assert_eq!(finding.level, Level::Error);
        assert!(finding.to_string().contains("squall.db"), "{finding}");
    }

    #[test]
    fn a_database_of_another_program_is_an_error_and_left_alone() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("other.db");
        let other = rusqlite::Connection::open(&path).unwrap();
        other.execute_batch("CREATE TABLE mine (a)").unwrap();
        drop(other);
        let before = std::fs::read(&path).unwrap();
        let finding = judge(&path, Some(inspect(&path)));
        assert_eq!(finding.level, Level::Error);
        assert_eq!(std::fs::read(&path).unwrap(), before);
    }
}
