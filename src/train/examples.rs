//! Labelled texts, JSON Lines.

use crate::domain::Label;
use serde::Deserialize;
use std::io::BufRead;

/// A labelled text: for the document as a whole, for entities it names, or both.
#[derive(Debug, Clone, PartialEq)]
pub struct Example {
    /// Line in the file, from 1.
    pub line: usize,
    /// The text.
    pub text: String,
    /// Label of the whole.
    pub label: Option<Label>,
    /// Labels of entities; may be empty where `label` is there.
    pub entities: Vec<EntityLabel>,
    /// What kind of case it is, where a suite tells.
    pub kind: Option<String>,
}

/// The label of one entity.
#[derive(Debug, Clone, PartialEq, Deserialize)]
pub struct EntityLabel {
    /// The name by which the text calls it.
    pub name: String,
    /// Its label.
    pub label: Label,
}

impl Example {
    /// Whether entities of the text have different labels.
    pub fn is_conflicting(&self) -> bool {
        self.entities
            .windows(2)
            .any(|pair| pair[0].label != pair[1].label)
    }
}

/// What is wrong with a file of examples.
#[derive(Debug, thiserror::Error)]
pub enum ExampleError {
    /// The file cannot be read.
    #[error("{file}: {problem}")]
    Read {
        /// The file.
        file: String,
        /// What the system said.
        problem: std::io::Error,
    },
    /// A line is not an example.
    #[error(
        "{file}:{line}: {problem}: write it as {{\"text\": …, \"label\": \"negative\"}} or {{\"text\": …, \"entities\": [{{\"name\": …, \"label\": …}}]}}"
    )]
    Line {
        /// The file.
        file: String,
        /// Its line, from 1.
        line: usize,
        /// What is wrong with it.
        problem: String,
    },
    /// There is no line.
    #[error("{file}: no examples in it")]
    Empty {
        /// The file.
        file: String,
    },
}

#[derive(Deserialize)]
struct Line {
    text: String,
    label: Option<Label>,
    entities: Option<Vec<EntityLabel>>,
    #[serde(rename = "type")]
    kind: Option<serde_json::Value>,
}

/// Reads lines `{"text","label"}` or `{"text","entities":[{"name","label"}]}`, both with a `"type"` if they like; other
/// keys are ignored, and so are
/// empty lines. `file` is the name for messages.
///
/// # Errors
/// At the first bad line, named.
pub fn read(reader: impl BufRead, file: &str) -> Result<Vec<Example>, ExampleError> {
    let mut examples = Vec::new();
    for (line, content) in (1..).zip(reader.split(b'\n')) {
        let content = content.map_err(|problem| ExampleError::Read {
            file: file.to_owned(),
            problem,
        })?;
        if content.trim_ascii().is_empty() {
            continue;
        }
        let example = parse(line, &content).map_err(|problem| ExampleError::Line {
            file: file.to_owned(),
            line,
            problem,
        })?;
        examples.push(example);
    }
    if examples.is_empty() {
        return Err(ExampleError::Empty {
            file: file.to_owned(),
        });
    }
    Ok(examples)
}

fn parse(line: usize, content: &[u8]) -> Result<Example, String> {
    let Line {
        text,
        label,
        entities,
        kind,
    } = serde_json::from_slice(content).map_err(|e| e.to_string())?;
    let entities = entities.unwrap_or_default();
    if label.is_none() && entities.is_empty() {
        return Err("neither label nor entities".into());
    }
    if entities.iter().any(|entity| entity.name.is_empty()) {
        return Err("an entity without a name".into());
    }
    Ok(Example {
        line,
        text,
        label,
        entities,
        kind: kind.and_then(|kind| Some(kind.as_str()?.to_owned())),
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn read_text(text: &[u8]) -> Result<Vec<Example>, String> {
        read(text, "f.jsonl").map_err(|e| e.to_string())
    }

    #[test]
    fn both_kinds_of_line_are_read() {
        let examples = read_text(
            b"{\"text\": \"a\", \"label\": \"negative\", \"more\": 1}\r\n\n{\"text\": \"b\", \"entities\": [{\"name\": \"b\", \"label\": \"neutral\"}, {\"name\": \"c\", \"label\": \"positive\"}]}",
        )
        .unwrap();
        assert_eq!(examples[0].label, Some(Label::Negative));
        assert!(!examples[0].is_conflicting());
        assert_eq!((examples[1].line, examples[1].label), (3, None));
        assert!(examples[1].is_conflicting());
    }

    #[test]
    fn a_bad_line_is_named() {
        let good = "{\"text\": \"a\", \"label\": \"neutral\"}\n";
        for bad in [
            "{\"text\": \"a\"}",
            "{\"text\": \"a\", \"entities\": []}",
            "{\"text\": \"a\", \"label\": \"mixed\"}",
            "{\"text\": 1, \"label\": \"neutral\"}",
            "{\"text\": \"a\", \"entities\": [{\"name\": \"\", \"label\": \"neutral\"}]}",
            "text",
        ] {
            let message = read_text(format!("{good}{bad}\n").as_bytes()).unwrap_err();
            assert!(message.starts_with("f.jsonl:2: "), "{message}");
        }
        assert!(read_text(b"{\"text\": \"\xff\", \"label\": \"neutral\"}").is_err());
        assert!(read_text(b"\n").unwrap_err().contains("no examples"));
    }

    proptest! {
        #[test]
        fn no_bytes_make_it_panic(bytes in prop::collection::vec(any::<u8>(), 0..100)) {
            let _ = read_text(&bytes);
        }
    }
}
