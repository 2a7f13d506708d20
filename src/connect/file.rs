//! Lines of a file, as they are: one post each, good or bad.

use std::fs::File;
use std::io::{self, BufRead, BufReader, Read};
use std::path::Path;

/// The longest line that is read whole, in bytes, where nothing else is wanted.
pub const MAX_LINE_BYTES: usize = 1 << 20;

/// The byte order mark that some programs write before UTF-8.
const BYTE_ORDER_MARK: &[u8] = b"\xef\xbb\xbf";

/// Why a file could not be read.
#[derive(Debug, thiserror::Error)]
pub enum FileError {
    /// It could not be opened.
    #[error("{place}: {source}: check the path and its permissions")]
    Open {
        /// The path.
        place: String,
        /// What the system says.
        source: io::Error,
    },
    /// Reading failed in the middle.
    #[error("{place}, line {line}: {source}")]
    Read {
        /// The path, or `standard input`.
        place: String,
        /// Number of the line that could not be read.
        line: u64,
        /// What the system says.
        source: io::Error,
    },
}

/// One line that is not empty.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Line {
    /// Its number in the file, from 1; empty lines count.
    pub number: u64,
    /// Its bytes, without the line ending.
    pub bytes: Vec<u8>,
    /// Whether it was longer than the limit: then `bytes` is its beginning, up to the limit.
    pub cut: bool,
}

/// The lines of a file, one after the other, in memory bounded by the longest line allowed. Reading blocks.
///
/// Lines end with `\n` or `\r\n`, the last one perhaps with neither. Empty lines, and those of blanks only, are
/// skipped; so is a byte order mark at the beginning. After an error there are no more lines.
pub struct Lines {
    reader: Box<dyn BufRead + Send>,
    place: String,
    limit: usize,
    number: u64,
    bytes_read: u64,
    failed: bool,
}

impl Lines {
    /// Opens a file, or standard input where the path is `-`. Lines over `limit` bytes are cut.
    ///
    /// # Errors
    /// [`FileError::Open`], with the path.
    pub fn open(path: &Path, limit: usize) -> Result<Self, FileError> {
        if path == Path::new("-") {
            let input = BufReader::new(io::stdin());
            return Ok(Self::new(input, "standard input", limit));
        }
        let place = path.display().to_string();
        match File::open(path) {
            Ok(file) => Ok(Self::new(BufReader::new(file), &place, limit)),
            Err(source) => Err(FileError::Open { place, source }),
        }
    }

    /// The lines of any reader; `place` names it in errors.
    pub fn new(reader: impl BufRead + Send + 'static, place: &str, limit: usize) -> Self {
        Self {
            reader: Box::new(reader),
            place: place.to_owned(),
            limit,
            number: 0,
            bytes_read: 0,
            failed: false,
        }
    }

    /// Bytes read so far, line endings and skipped lines too: progress against the size of the file.
    pub fn bytes_read(&self) -> u64 {
        self.bytes_read
    }

    /// The next line, empty or not; none at the end.
    fn read(&mut self) -> io::Result<Option<Line>> {
        // Room for a byte order mark, the longest line and its ending: what does not end within it is too long.
        let room = self.limit.saturating_add(BYTE_ORDER_MARK.len() + 2);
        let mut bytes = Vec::new();
        let read = Read::by_ref(&mut self.reader)
            .take(room as u64)
            .read_until(b'\n', &mut bytes)?;
        if read == 0 {
            return Ok(None);
        }
        self.bytes_read += read as u64;
        if let Some(line) = bytes.strip_suffix(b"\n") {
            let line = line.strip_suffix(b"\r").unwrap_or(line);
            bytes.truncate(line.len());
        } else if read == room {
            self.bytes_read += self.reader.skip_until(b'\n')? as u64;
        }
        self.number += 1;
        if self.number == 1 && bytes.starts_with(BYTE_ORDER_MARK) {
            bytes.drain(..BYTE_ORDER_MARK.len());
        }
        let cut = bytes.len() > self.limit;
        bytes.truncate(self.limit);
        Ok(Some(Line {
            number: self.number,
            bytes,
            cut,
        }))
    }
}

impl Iterator for Lines {
    type Item = Result<Line, FileError>;

    fn next(&mut self) -> Option<Self::Item> {
        while !self.failed {
            match self.read() {
                Ok(Some(line)) if !line.cut && line.bytes.trim_ascii().is_empty() => {}
                Ok(line) => return line.map(Ok),
                Err(source) => {
                    self.failed = true;
                    return Some(Err(FileError::Read {
                        place: self.place.clone(),
                        line: self.number + 1,
                        source,
                    }));
                }
            }
        }
        None
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn lines(bytes: &[u8], limit: usize) -> Vec<Line> {
        // A small buffer, so that lines and their endings lie across its edge.
        let reader = BufReader::with_capacity(3, io::Cursor::new(bytes.to_vec()));
        Lines::new(reader, "test", limit)
            .map(Result::unwrap)
            .collect()
    }

    fn whole(number: u64, text: &str) -> Line {
        Line {
            number,
            bytes: text.into(),
            cut: false,
        }
    }

    #[test]
    fn reads_every_line_ending_and_skips_what_is_empty() {
        let text = b"\xef\xbb\xbfone\n\r\n  \ntwo\r\nth\rree\r\n\xff\xfe\n\nlast";
        let mut expected = vec![whole(1, "one"), whole(4, "two"), whole(5, "th\rree")];
        expected.push(Line {
            bytes: vec![0xff, 0xfe],
            ..whole(6, "")
        });
        expected.push(whole(8, "last"));
        assert_eq!(lines(text, 100), expected);
        assert_eq!(lines(b"", 100), []);
        assert_eq!(lines(b"\xef\xbb\xbf", 100), []);
    }

    #[test]
    fn a_line_over_the_limit_is_cut_and_the_next_ones_are_whole() {
        for ending in ["\n", "\r\n"] {
            let text = ["12345", "123456", "12345678901234567890", "abc"].join(ending);
            let read = lines(text.as_bytes(), 5);
            let cut = |number| Line {
                cut: true,
                ..whole(number, "12345")
            };
            assert_eq!(read, [whole(1, "12345"), cut(2), cut(3), whole(4, "abc")]);
        }
    }

    #[test]
    fn counts_all_bytes() {
        let text = "one\r\n\n\nmuch longer than the limit\nend";
        let mut lines = Lines::new(io::Cursor::new(text), "test", 5);
        assert_eq!(lines.by_ref().count(), 3);
        assert_eq!(lines.bytes_read(), text.len() as u64);
    }

    #[test]
    fn an_error_names_place_and_line_and_ends_the_lines() {
        struct Broken;
        impl Read for Broken {
            fn read(&mut self, _: &mut [u8]) -> io::Result<usize> {
                Err(io::Error::other("disk on fire"))
            }
        }
        let reader = BufReader::new(io::Cursor::new("one\n").chain(Broken));
        let mut lines = Lines::new(reader, "posts.jsonl", 100);
        assert_eq!(lines.next().unwrap().unwrap(), whole(1, "one"));
        let error = lines.next().unwrap().unwrap_err();
        assert_eq!(error.to_string(), "posts.jsonl, line 2: disk on fire");
        assert!(lines.next().is_none());
    }

    #[test]
    fn a_missing_file_and_a_folder_are_named() {
        let folder = tempfile::tempdir().unwrap();
        let missing = folder.path().join("none.jsonl");
        let error = Lines::open(&missing, 100).err().unwrap().to_string();
        assert!(error.contains("none.jsonl"), "{error}");
        let error = Lines::open(folder.path(), 100)
            .and_then(|mut lines| lines.next().unwrap())
            .unwrap_err()
            .to_string();
        assert!(
            error.starts_with(&*folder.path().to_string_lossy()),
            "{error}"
        );
    }

    proptest! {
        /// Against the plain definition, on the whole text at once.
        #[test]
        fn agrees_with_splitting_the_whole(text in "[a\r\n ]{0,60}", mark in any::<bool>(), limit in 1..8usize) {
            let expected: Vec<Line> = text
                .split_inclusive('\n')
                .map(|line| line.strip_suffix('\n').map_or(line, |line| line.strip_suffix('\r').unwrap_or(line)))
                .enumerate()
                .filter(|(_, line)| line.len() > limit || !line.trim_ascii().is_empty())
                .map(|(index, line)| Line {
                    cut: line.len() > limit,
                    ..whole(index as u64 + 1, &line[..line.len().min(limit)])
                })
                .collect();
            let mark = if mark { BYTE_ORDER_MARK } else { b"" };
            prop_assert_eq!(lines(&[mark, text.as_bytes()].concat(), limit), expected);
        }
    }
}
