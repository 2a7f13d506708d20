//! Rows in each table of the contract.

use super::client::Session;
use super::schema::{Engine, TABLES};
use crate::store::{COUNTED, StoreResult};

/// Rows by table. Of those with the same key, where they are one, one counts: what has not been merged yet is no row more.
pub async fn row_counts(session: &Session) -> StoreResult<Vec<(&'static str, u64)>> {
    let mut counts = Vec::new();
    for name in COUNTED {
        let one_a_key = TABLES
            .iter()
            .any(|table| table.name == name && table.engine != Engine::Plain);
        let last = if one_a_key { " FINAL" } else { "" };
        let sql = format!("SELECT count() FROM {name}{last}");
        counts.push((name, session.one(session.query(&sql)).await?));
    }
    Ok(counts)
}
