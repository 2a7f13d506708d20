//! What the server's errors mean to those who wait for the store.

use crate::store::StoreError;
use clickhouse::error::Error;
use std::error::Error as _;
use std::time::Duration;

/// Longest piece of the server's own words.
const LONGEST: usize = 400;

/// What is told of one of the server's error codes.
enum Meaning {
    /// The same call may succeed later.
    Later(&'static str),
    /// Somebody has to do something.
    Never(&'static str),
}
use Meaning::{Later, Never};

/// A store's error from the client's, with the server and the remedy.
pub fn explain(place: &str, error: &Error) -> StoreError {
    match error {
        Error::BadResponse(answer) => refused(place, answer),
        Error::TimedOut => unavailable(place, "no answer in time: check the server's load".into()),
        Error::Network(_) | Error::Other(_) => unavailable(
            place,
            format!(
                "cannot be reached: {}: check clickhouse.url, and that the server runs",
                innermost(error)
            ),
        ),
        Error::SchemaMismatch(text) => unusable(
            place,
            format!(
                "a table is not as squall made it: {}: undo what was altered",
                beginning(text)
            ),
        ),
        Error::Compression(_) | Error::Decompression(_) | Error::InvalidColumnsHeader(_) => {
            unavailable(
                place,
                format!(
                    "answers, but not as ClickHouse does: {error}: check that clickhouse.url is its HTTP port"
                ),
            )
        }
        other => StoreError::Query(other.to_string()),
    }
}

/// The call was given up.
pub fn lost(place: &str, timeout: Duration) -> StoreError {
    unavailable(
        place,
        format!(
            "no answer within {timeout:?}: check the server's load, or raise clickhouse.timeout"
        ),
    )
}

/// Trying again may help.
pub fn unavailable(place: &str, problem: String) -> StoreError {
    StoreError::Unavailable {
        place: place.to_owned(),
        problem,
    }
}

/// Trying again does not help.
pub fn unusable(place: &str, problem: String) -> StoreError {
    StoreError::Unusable {
        place: place.to_owned(),
        problem,
    }
}

/// Whether the server says that a table is already there.
pub fn already_there(error: &StoreError) -> bool {
    matches!(error, StoreError::Query(text) if code(text) == Some(57))
}

/// Whether the server says that a table is not there.
pub fn not_there(error: &StoreError) -> bool {
    matches!(error, StoreError::Unusable { problem, .. } if code(problem) == Some(60))
}

fn refused(place: &str, answer: &str) -> StoreError {
    let Some(code) = code(answer) else {
        return unavailable(
            place,
            format!(
                "answers '{}': check that clickhouse.url is ClickHouse's HTTP port",
                beginning(answer)
            ),
        );
    };
    let said = beginning(answer);
    match meaning(code, answer) {
        Some(Later(remedy)) => unavailable(place, format!("{said}: {remedy}")),
        Some(Never(remedy)) => unusable(place, format!("{said}: {remedy}")),
        None => StoreError::Query(said),
    }
}

fn meaning(code: u32, answer: &str) -> Option<Meaning> {
    if answer.contains("No space left on device") {
        return Some(Later("free some space on the server's disk"));
    }
    Some(match code {
        243 => Later("free some space on the server's disk"),
        // The same code, but no retry ever has fewer.
        252 if answer.contains("single INSERT block") => Never(
            "raise max_partitions_per_insert_block for clickhouse.user (record timestamps and SCORE's clock are far apart)",
        ),
        252 => Later("the server merges too slowly: look at its disk and its merges"),
        241 | 173 => Later("free memory on the server, or raise its limits"),
        159 | 160 | 209 | 394 | 735 => {
            Later("it took too long: check the server's load, or raise clickhouse.timeout")
        }
        202 | 203 | 439 => Later("the server is busy: raise its max_concurrent_queries"),
        201 => Later("the user's quota is used up: wait, or raise it"),
        // Replicas and Keeper.
        225 | 242 | 999 => {
            Later("the replica cannot write: check ClickHouse Keeper and its connection to it")
        }
        285 | 286 | 289 | 319 => {
            Later("too few replicas answer: check the servers of clickhouse.cluster")
        }
        210 | 236 | 279 | 499 | 1000 => Later("check the server and its network"),
        // Files.
        33 | 74 | 75 | 76 | 88 | 95 | 425 => Later("check the server's disk and its log"),
        // Who may do what.
        192..=194 | 516 => Never("check clickhouse.user and clickhouse.password"),
        291 | 497 => Never("grant it to clickhouse.user"),
        164 | 452 => Never(
            "the user's profile forbids it: give clickhouse.user a profile that is not readonly and may change settings",
        ),
        115 => Never("update the server: it lacks a setting that makes inserts repeatable"),
        170 => Never("check clickhouse.cluster against remote_servers of the server"),
        // What is there.
        81 => Never(
            "create the database, or let squall: grant CREATE DATABASE to clickhouse.user and run `squall migrate`",
        ),
        60 => Never("run `squall migrate`"),
        16 | 47 | 53 | 70 | 349 => Never("a table is not as squall made it: undo what was altered"),
        _ => return None,
    })
}

/// The number in `Code: 516. DB::Exception: …`.
fn code(answer: &str) -> Option<u32> {
    let (_, rest) = answer.split_once("Code: ")?;
    let digits = rest.find(|c: char| !c.is_ascii_digit());
    rest[..digits.unwrap_or(rest.len())].parse().ok()
}

/// The first line, without the server's version, and not too much of it.
fn beginning(answer: &str) -> String {
    let line = answer.lines().next().unwrap_or_default();
    let line = line.split(" (version ").next().unwrap_or_default();
    let line = line.replace("DB::Exception: ", "");
    let line = line.trim().trim_end_matches('.');
    match line.char_indices().nth(LONGEST) {
        Some((end, _)) => format!("{}…", &line[..end]),
        None => line.to_owned(),
    }
}

fn innermost(error: &Error) -> String {
    let mut source = error.source();
    let mut said = error.to_string();
    while let Some(inner) = source {
        said = inner.to_string();
        source = inner.source();
    }
    said
}

#[cfg(test)]
mod tests {
    use super::*;

    fn told(answer: &str) -> StoreError {
        explain("http://db:8123/squall", &Error::BadResponse(answer.into()))
    }

    #[test]
    fn what_passes_can_be_tried_again_and_what_does_not_names_the_remedy() {
        let cases = [
            (
                "Code: 252. DB::Exception: Too many parts (300). Merges are processing significantly slower than inserts. (TOO_MANY_PARTS) (version 25.8.1)",
                true,
                "merges",
            ),
            (
                "Code: 252. DB::Exception: Too many partitions for single INSERT block (more than 100). (TOO_MANY_PARTS)",
                false,
                "max_partitions_per_insert_block",
            ),
            (
                "Code: 241. DB::Exception: (total) memory limit exceeded",
                true,
                "memory",
            ),
            (
                "Code: 242. DB::Exception: Table is in readonly mode (replica path: /x)",
                true,
                "Keeper",
            ),
            (
                "Code: 1001. DB::Exception: std::__1::__fs::filesystem::filesystem_error: No space left on device",
                true,
                "disk",
            ),
            (
                "Code: 516. DB::Exception: squall: Authentication failed: password is incorrect, or there is no user with such name. (AUTHENTICATION_FAILED)",
                false,
                "clickhouse.password",
            ),
            (
                "Code: 497. DB::Exception: squall: Not enough privileges. To execute this query, it's necessary to have the grant CREATE DATABASE ON squall.*",
                false,
                "grant",
            ),
            (
                "Code: 164. DB::Exception: Cannot execute query in readonly mode.",
                false,
                "profile",
            ),
            ("<html>502 Bad Gateway</html>", true, "clickhouse.url"),
        ];
        for (answer, retryable, remedy) in cases {
            let error = told(answer);
            assert_eq!(error.is_retryable(), retryable, "{error}");
            let text = error.to_string();
            assert!(text.starts_with("store http://db:8123/squall: "), "{text}");
            let last = text.rsplit(": ").next().unwrap();
            assert!(last.contains(remedy), "{text}");
            assert!(!text.contains("(version"), "{text}");
        }
        // A query of ours that the server does not understand helps nobody to try again.
        assert!(!told("Code: 62. DB::Exception: Syntax error").is_retryable());
    }

    #[test]
    fn no_answer_is_too_long_or_breaks_a_character() {
        let text = told(&format!("Code: 241. DB::Exception: {}", "ü".repeat(5000))).to_string();
        assert!(text.chars().count() < 600);
        let _ = told("");
        let _ = told("Code: ");
        let _ = told("Code: 99999999999999999999");
    }
}
