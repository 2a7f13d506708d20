//! The data folder: it can be written, and has room.

use super::finding::Finding;
use crate::config::{Config, EMBEDDED};
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

const SUBJECT: &str = "data folder";

const MEGABYTE: u64 = 1 << 20;
/// About 150,000 posts in SQLite.
const TIGHT: u64 = 100 * MEGABYTE;
/// About three million.
const SOON_FULL: u64 = 2048 * MEGABYTE;

/// What is known of the folder.
struct Facts {
    folder: PathBuf,
    /// Whether it is there already.
    exists: bool,
    /// Why nothing can be written there.
    refused: Option<String>,
    /// Bytes free on its disk.
    free: Option<u64>,
}

/// Whether `run.data_dir`, or the nearest folder above it that exists, can be written, and its free space.
pub(super) fn check(config: &Config) -> Vec<Finding> {
    let kept = config.kafka.brokers == EMBEDDED || config.clickhouse.url.is_empty();
    judge(&look_at(&config.run.data_dir), kept)
}

fn look_at(folder: &Path) -> Facts {
    let folder = std::path::absolute(folder).unwrap_or_else(|_| folder.to_owned());
    let there = folder.ancestors().find(|above| above.exists());
    let there = there.unwrap_or(&folder).to_owned();
    Facts {
        exists: folder.is_dir(),
        refused: write_probe(&there).err().map(|error| error.to_string()),
        free: free_bytes(&there),
        folder,
    }
}

/// Makes an empty file and removes it.
fn write_probe(folder: &Path) -> std::io::Result<()> {
    let probe = folder.join(format!(".squall-doctor-{:016x}", rand::random::<u64>()));
    let mut options = std::fs::OpenOptions::new();
    options.write(true).create_new(true).open(&probe)?;
    std::fs::remove_file(&probe)
}

/// What `df` (POSIX) says is available; none where it cannot be run.
fn free_bytes(folder: &Path) -> Option<u64> {
    let output = Command::new("df")
        .args(["-P", "-k"])
        .arg(folder)
        .stdin(Stdio::null())
        .stderr(Stdio::null())
        .output()
        .ok()?;
    available(&String::from_utf8_lossy(&output.stdout))
}

/// The column "Available" of the last line, which follows the capacity's percentage backwards.
fn available(df: &str) -> Option<u64> {
    let words: Vec<&str> = df.lines().nth(1)?.split_whitespace().collect();
    let capacity = words.iter().position(|word| word.ends_with('%'))?;
    let kilobytes: u64 = words.get(capacity.checked_sub(1)?)?.parse().ok()?;
    kilobytes.checked_mul(1024)
}

/// `kept`: whether rows are kept there, or only models and small files.
fn judge(facts: &Facts, kept: bool) -> Vec<Finding> {
    let folder = facts.folder.display();
    let mut findings = Vec::new();
    findings.push(match (&facts.refused, facts.exists) {
        (Some(problem), _) => Finding::error(
            SUBJECT,
            format!("{folder} cannot be written ({problem})"),
            "set run.data_dir to a folder that squall's user may write",
        ),
        (None, true) => Finding::ok(SUBJECT, format!("{folder} can be written")),
        (None, false) => Finding::ok(SUBJECT, format!("{folder} is made at the first start")),
    });
    let megabytes = facts.free.map(|free| free / MEGABYTE);
    let Some((free, megabytes)) = facts.free.zip(megabytes) else {
        findings.push(Finding::not_checked(
            SUBJECT,
            "free space, because `df` cannot be run here",
        ));
        return findings;
    };
    let message = format!("{megabytes} MB are free on its disk");
    findings.push(match kept {
        true if free < TIGHT => Finding::error(
            SUBJECT,
            message,
            "free some: rows cannot be stored without it",
        ),
        true if free < SOON_FULL => Finding::warning(
            SUBJECT,
            message,
            "free some, or set run.data_dir to a larger disk: a million posts take about 640 MB",
        ),
        _ => Finding::ok(SUBJECT, message),
    });
    findings
}

#[cfg(test)]
mod tests {
    use super::super::finding::Level;
    use super::*;

    fn levels(refused: Option<&str>, free: Option<u64>, kept: bool) -> Vec<Level> {
        let facts = Facts {
            folder: "/data".into(),
            exists: true,
            refused: refused.map(str::to_owned),
            free,
        };
        let findings = judge(&facts, kept);
        findings.iter().map(|finding| finding.level).collect()
    }

    #[test]
    fn a_folder_that_cannot_be_written_or_is_full_is_an_error() {
        let plenty = Some(100 << 30);
        assert_eq!(levels(None, plenty, true), [Level::Ok, Level::Ok]);
        assert_eq!(
            levels(Some("denied"), plenty, true),
            [Level::Error, Level::Ok]
        );
        assert_eq!(levels(None, Some(1 << 20), true), [Level::Ok, Level::Error]);
        assert_eq!(
            levels(None, Some(1 << 30), true),
            [Level::Ok, Level::Warning]
        );
        assert_eq!(levels(None, Some(1 << 20), false), [Level::Ok, Level::Ok]);
        assert_eq!(levels(None, None, true), [Level::Ok, Level::NotChecked]);
    }

    #[test]
    fn the_answer_of_df_is_read() {
        let df = "Filesystem     1024-blocks     Used Available Capacity Mounted on\n/dev/my disk     264212084 29699872  65586016      32% /a b%\n";
        assert_eq!(available(df), Some(65_586_016 * 1024));
        for wrong in ["", "Filesystem\n", "head\nnothing here", "head\n32%"] {
            assert_eq!(available(wrong), None, "{wrong:?}");
        }
    }

    #[test]
    fn looking_at_a_folder_leaves_nothing_behind() {
        let folder = tempfile::tempdir().unwrap();
        let facts = look_at(&folder.path().join("not/yet/there"));
        assert!(!facts.exists && facts.refused.is_none());
        assert!(facts.free.is_none_or(|free| free > 0));
        assert_eq!(std::fs::read_dir(folder.path()).unwrap().count(), 0);
        let file = folder.path().join("file");
        std::fs::write(&file, "").unwrap();
        assert!(look_at(&file.join("below")).refused.is_some());
    }
}
