//! What SQLite's errors mean to those who wait for the store.

use super::schema::Unfit;
use crate::store::StoreError;
use rusqlite::ErrorCode;
use std::path::Path;

/// A store's error from SQLite's, with the file and the remedy.
pub fn explain(path: &Path, error: &rusqlite::Error) -> StoreError {
    let Some(code) = error.sqlite_error_code() else {
        return StoreError::Query(error.to_string());
    };
    let remedy = match code {
        ErrorCode::DiskFull => "free some space on its disk",
        ErrorCode::DatabaseBusy
        | ErrorCode::DatabaseLocked
        | ErrorCode::FileLockingProtocolFailed => {
            "another process holds it: wait for that to end, or stop it"
        }
        ErrorCode::CannotOpen | ErrorCode::PermissionDenied => {
            "check store.path and the permissions of its folder"
        }
        ErrorCode::SystemIoFailure => "check its disk and the system's log",
        ErrorCode::OutOfMemory => "free some memory",
        ErrorCode::NotADatabase => {
            return unusable(
                path,
                "not a SQLite database: set store.path to another file",
            );
        }
        ErrorCode::DatabaseCorrupt => {
            return unusable(
                path,
                "damaged: restore it from a backup, or move it away to begin a new one",
            );
        }
        ErrorCode::ReadOnly => {
            return unusable(
                path,
                "cannot be written: give this user write permission on the file and its folder, and start again",
            );
        }
        _ => return StoreError::Query(error.to_string()),
    };
    unavailable(path, format!("{error}: {remedy}"))
}

/// The same for a database that cannot be brought to the schema.
pub fn unfit(path: &Path, unfit: Unfit) -> StoreError {
    match unfit {
        Unfit::Newer(found, known) => StoreError::Newer {
            place: path.display().to_string(),
            found,
            known,
        },
        Unfit::Foreign => unusable(
            path,
            "a database of another program: set store.path to another file",
        ),
        Unfit::Sql(error) => explain(path, &error),
    }
}

/// Trying again may help.
pub fn unavailable(path: &Path, problem: String) -> StoreError {
    StoreError::Unavailable {
        place: path.display().to_string(),
        problem,
    }
}

/// Trying again does not help.
pub fn unusable(path: &Path, problem: &str) -> StoreError {
    StoreError::Unusable {
        place: path.display().to_string(),
        problem: problem.to_owned(),
    }
}
