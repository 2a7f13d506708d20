//! Files that commands write: outputs and folders for a while.

use super::UsageError;
use crate::domain::{Origin, SourcePartition};
use anyhow::Context as _;
use std::fs::{DirBuilder, File, metadata};
use std::io::{self, Write};
use std::os::unix::fs::{DirBuilderExt as _, MetadataExt as _};
use std::path::{Path, PathBuf};

/// Origin of a post that is a line of a file: `file:PATH:0:LINE`.
pub(super) fn line_origin(place: &str, number: u64) -> Origin {
    Origin {
        source: SourcePartition {
            epoch: "file".into(),
            topic: place.into(),
            partition: 0,
        },
        offset: number as i64,
    }
}

/// Opens an output; `-` is standard output.
///
/// # Errors
/// When it cannot be written, or is the input, which opening it would empty.
pub(super) fn create(output: &Path, input: &Path) -> anyhow::Result<Box<dyn Write>> {
    if output == Path::new("-") {
        return Ok(Box::new(io::BufWriter::new(io::stdout())));
    }
    let place = output.display();
    if is_same_file(output, input) {
        return Err(UsageError(format!(
            "--output: {place} is the input: write to another file"
        ))
        .into());
    }
    let file = File::create(output).with_context(|| {
        format!("--output: cannot write {place}: check that its folder exists and is writable")
    })?;
    Ok(Box::new(io::BufWriter::new(file)))
}

/// Whether two paths lead to one regular file, by links too.
fn is_same_file(one: &Path, other: &Path) -> bool {
    match (metadata(one), metadata(other)) {
        (Ok(one), Ok(other)) => {
            one.is_file() && (one.dev(), one.ino()) == (other.dev(), other.ino())
        }
        _ => false,
    }
}

/// A folder of its own for what is not kept, removed with everything in it when dropped.
pub(super) struct TemporaryFolder(PathBuf);

impl TemporaryFolder {
    /// Makes one, readable by this user only.
    ///
    /// # Errors
    /// When it cannot be made, with its place.
    pub(super) fn new(command: &str) -> anyhow::Result<Self> {
        let name = format!("squall-{command}-{:016x}", rand::random::<u64>());
        let path = std::env::temp_dir().join(name);
        DirBuilder::new()
            .mode(0o700)
            .create(&path)
            .with_context(|| {
                format!(
                    "cannot create {}: set TMPDIR to a writable folder",
                    path.display()
                )
            })?;
        Ok(Self(path))
    }

    /// Where it is.
    pub(super) fn path(&self) -> &Path {
        &self.0
    }
}

impl Drop for TemporaryFolder {
    fn drop(&mut self) {
        let _ = std::fs::remove_dir_all(&self.0);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_input_is_not_overwritten_by_any_of_its_names() {
        let folder = tempfile::tempdir().unwrap();
        let input = folder.path().join("posts.jsonl");
        std::fs::write(&input, "a post").unwrap();
        let (hard, soft) = (folder.path().join("hard"), folder.path().join("soft"));
        std::fs::hard_link(&input, &hard).unwrap();
        std::os::unix::fs::symlink(&input, &soft).unwrap();
        for output in [&input, &hard, &soft] {
            let error = create(output, &input).err().unwrap();
            assert!(error.is::<UsageError>() && error.to_string().contains("is the input"));
        }
        assert_eq!(std::fs::read_to_string(&input).unwrap(), "a post");
        assert!(create(&folder.path().join("other"), &input).is_ok());
        assert!(create(Path::new("/dev/null"), Path::new("/dev/null")).is_ok());
    }

    #[test]
    fn a_temporary_folder_goes_with_what_is_in_it() {
        let folder = TemporaryFolder::new("test").unwrap();
        let path = folder.path().to_owned();
        std::fs::write(path.join("file"), "x").unwrap();
        drop(folder);
        assert!(!path.exists());
    }
}
