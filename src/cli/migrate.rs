//! `squall migrate`: brings the tables of the configured store up to date.

use crate::broker::Connection;
use crate::config::Config;
use crate::pipeline::store::is_plan_open;
use crate::store::clickhouse::ClickHouseStore;
use crate::store::sqlite::SqliteStore;
use anyhow::bail;
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
        let store = ClickHouseStore::new(&config.clickhouse)?;
        if store.is_outdated().await? && plan_open(config.clone()).await? {
            bail!(
                "blocks are planned that are not stored yet, and would be there twice: run the squall of before until it has stored them, and stop it with SIGTERM"
            );
        }
        store.migrate().await?
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

async fn plan_open(config: Config) -> anyhow::Result<bool> {
    let asking = move || is_plan_open(&Connection::open(&config)?);
    Ok(tokio::task::spawn_blocking(asking).await??)
}
