//! What `squall doctor` wants to know of a database. Nothing is changed or made.

use super::error::{explain, unfit};
use super::{connect, schema};
use crate::store::StoreResult;
use rusqlite::OpenFlags;
use std::path::Path;

/// A database as it stands.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SqliteFacts {
    /// Version of its schema.
    pub version: usize,
    /// Version that this squall brings it to.
    pub newest: usize,
    /// Bytes of its file.
    pub bytes: u64,
}

/// Opens a database for reading. Blocking.
///
/// # Errors
/// [`StoreError`](crate::store::StoreError): it cannot be opened, is none of squall's, or one of a newer squall.
pub fn inspect(path: &Path) -> StoreResult<SqliteFacts> {
    let reader = connect(path, OpenFlags::SQLITE_OPEN_READ_ONLY).map_err(|e| explain(path, &e))?;
    let version = schema::version(&reader).map_err(|e| unfit(path, e))?;
    Ok(SqliteFacts {
        version,
        newest: schema::newest(),
        bytes: std::fs::metadata(path).map_or(0, |metadata| metadata.len()),
    })
}
