//! `squall migrate`: brings the tables of the configured store up to date.

use crate::config::Config;
use crate::store::clickhouse::ClickHouseStore;
use crate::store::sqlite::SqliteStore;
use std::io::Write as _;

/// Runs the command. What was done goes to standard output, a line each. Nothing may write to the store meanwhile: see
/// `store::clickhouse`.
///
/// # Errors
/// The store cannot be reached, must not be altered, or is one of a newer squall.
pub async fn run(config: &Config) -> anyhow::Result<()> {
    let done = if config.clickhouse.url.is_empty() {
        let (_, versions) = SqliteStore::migrate(&config.run.data_dir.join(&config.store.path))?;
        versions
            .map(|version| format!("version {}", version + 1))
            .collect()
    } else {
        ClickHouseStore::new(&config.clickhouse)?.migrate().await?
    };
    let mut out = std::io::stdout().lock();
    for line in &done {
        writeln!(out, "{line}")?;
    }
    if done.is_empty() {
        writeln!(out, "nothing to do: the tables are up to date")?;
    }
    Ok(())
}
