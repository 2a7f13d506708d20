//! What is read out of a post's text, as pure functions: clean text, language, sentences, the entities it
//! names, and a signature by which copies are known.

mod candidates;
mod dictionary;
mod evidence;
mod folded;
mod language;
mod matcher;
mod names;
mod normalise;
mod occurrences;
mod place;
mod resolution;
mod sentences;
mod signature;
mod tickers;
mod vocabulary;

pub use dictionary::{Dictionary, DictionaryError, is_sector};
pub use language::language;
pub use matcher::{Found, Matcher, MatcherError};
pub use normalise::normalise;
pub use occurrences::occurrences;
pub use sentences::sentences;
pub use signature::{COPY_DISTANCE, distance, signature};

#[cfg(test)]
mod test_data {
    //! Labelled texts kept beside the project; tests that want them print a message where they are absent.

    use std::path::{Path, PathBuf};

    /// The `text` of each line of a JSON Lines file in the shared folder.
    pub fn texts(path: &str) -> Option<Vec<String>> {
        let Some(file) = find(path) else {
            eprintln!(
                "skipped: {path} is not there; set SQUALL_SHARED to the folder that holds it"
            );
            return None;
        };
        let lines = std::fs::read_to_string(file).unwrap();
        let text = |line: &str| {
            let object: serde_json::Value = serde_json::from_str(line).unwrap();
            object["text"].as_str().unwrap().to_owned()
        };
        Some(lines.lines().map(text).collect())
    }

    fn find(path: &str) -> Option<PathBuf> {
        let beside = Path::new(env!("CARGO_MANIFEST_DIR"))
            .ancestors()
            .skip(1)
            .map(|folder| folder.join("shared"));
        std::env::var_os("SQUALL_SHARED")
            .map(PathBuf::from)
            .into_iter()
            .chain(beside)
            .map(|folder| folder.join(path))
            .find(|file| file.is_file())
    }
}
