//! A Hugging Face folder with a BERT sequence classifier, read and checked.

use super::ModelError;
use crate::domain::Label;
use candle_transformers::models::bert;
use serde::Deserialize;
use sha2::{Digest, Sha256};
use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

/// The three files of a model.
pub(super) const FILES: [&str; 3] = ["config.json", "tokenizer.json", "model.safetensors"];

/// The files of a model, as they are on disk.
pub(super) struct Folder {
    path: PathBuf,
    pub(super) config: Vec<u8>,
    pub(super) tokenizer: Vec<u8>,
    pub(super) weights: Vec<u8>,
}

impl Folder {
    /// Reads the three files into memory. Mapping the weights would save their size during loading, at the
    /// price of undefined behaviour when another process changes the file.
    pub(super) fn read(path: &Path) -> Result<Self, ModelError> {
        let read = |file: &str| {
            let path = path.join(file);
            std::fs::read(&path).map_err(|source| ModelError::Unreadable { path, source })
        };
        if let Err(source) = std::fs::read_dir(path) {
            return Err(ModelError::Unreadable {
                path: path.to_owned(),
                source,
            });
        }
        let [config, tokenizer, weights] = FILES;
        Ok(Self {
            path: path.to_owned(),
            config: read(config)?,
            tokenizer: read(tokenizer)?,
            weights: read(weights)?,
        })
    }

    /// Path of one of [`FILES`], for messages.
    pub(super) fn file(&self, index: usize) -> PathBuf {
        self.path.join(FILES[index])
    }

    /// First 8 hexadecimal digits of SHA-256 over config, tokenizer and weights, in this order.
    pub(super) fn fingerprint(&self) -> String {
        let mut digest = Sha256::new();
        for bytes in [&self.config, &self.tokenizer, &self.weights] {
            digest.update(bytes);
        }
        let digest = digest.finalize();
        digest[..4]
            .iter()
            .map(|byte| format!("{byte:02x}"))
            .collect()
    }

    /// Reads and checks `config.json`.
    pub(super) fn classifier(&self) -> Result<Classifier, ModelError> {
        parse(&self.config).map_err(|problem| ModelError::Unfit {
            path: self.file(0),
            problem,
        })
    }
}

/// What `config.json` says of the model.
#[derive(Debug)]
pub(super) struct Classifier {
    /// Shape of the encoder.
    pub(super) bert: bert::Config,
    /// Row of the classifier that holds each label, in the order of [`Label::ALL`].
    pub(super) rows: [usize; 3],
}

#[derive(Deserialize)]
struct Kind {
    model_type: String,
}

#[derive(Deserialize)]
struct Labels {
    id2label: BTreeMap<String, String>,
}

fn parse(json: &[u8]) -> Result<Classifier, String> {
    let fetch = |e: serde_json::Error| format!("{e}: fetch the model again");
    let kind: Kind = serde_json::from_slice(json).map_err(fetch)?;
    if kind.model_type != "bert" {
        return Err(format!(
            "model_type is '{}', squall knows 'bert': choose a BERT sequence classifier",
            kind.model_type
        ));
    }
    let bert: bert::Config = serde_json::from_slice(json)
        .map_err(|e| format!("{e}: squall cannot compute this kind of BERT"))?;
    let heads = bert.num_attention_heads;
    if heads == 0 || bert.hidden_size == 0 || bert.hidden_size % heads != 0 {
        return Err(format!(
            "hidden_size {} cannot be shared among num_attention_heads {heads}: fetch the model again",
            bert.hidden_size
        ));
    }
    let labels: Labels = serde_json::from_slice(json).map_err(|e| {
        format!("{e}: name the classes there, {{\"0\": \"negative\", \"1\": \"neutral\", \"2\": \"positive\"}}")
    })?;
    Ok(Classifier {
        bert,
        rows: rows(&labels.id2label)?,
    })
}

/// Where each label stands; the names may come in any order and case.
fn rows(id2label: &BTreeMap<String, String>) -> Result<[usize; 3], String> {
    let row = |label: Label| {
        let (id, _) = id2label
            .iter()
            .find(|(_, name)| name.eq_ignore_ascii_case(label.name()))?;
        id.parse().ok().filter(|&row: &usize| row < 3)
    };
    match Label::ALL.map(row) {
        [Some(negative), Some(neutral), Some(positive)]
            if id2label.len() == 3
                && negative != neutral
                && neutral != positive
                && positive != negative =>
        {
            Ok([negative, neutral, positive])
        }
        _ => Err(format!(
            "id2label is {id2label:?}: it must give 0, 1 and 2 the names negative, neutral and positive, in the order the model was trained with"
        )),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn labels(names: &[(&str, &str)]) -> BTreeMap<String, String> {
        names
            .iter()
            .map(|&(id, name)| (id.to_owned(), name.to_owned()))
            .collect()
    }

    #[test]
    fn labels_are_found_in_any_order_and_case() {
        let finbert = labels(&[("0", "Positive"), ("1", "NEGATIVE"), ("2", "neutral")]);
        assert_eq!(rows(&finbert), Ok([1, 2, 0]));
    }

    #[test]
    fn labels_that_are_not_the_three_are_refused() {
        for names in [
            &[("0", "LABEL_0"), ("1", "LABEL_1"), ("2", "LABEL_2")][..],
            &[("0", "negative"), ("1", "positive")],
            &[("0", "negative"), ("1", "neutral"), ("3", "positive")],
            &[("0", "negative"), ("00", "neutral"), ("2", "positive")],
            &[
                ("0", "negative"),
                ("1", "neutral"),
                ("2", "positive"),
                ("3", "mixed"),
            ],
        ] {
            let message = rows(&labels(names)).unwrap_err();
            assert!(message.contains(names[0].1), "{message}");
        }
    }

    #[test]
    fn a_model_of_another_kind_is_named() {
        let message = parse(br#"{"model_type": "roberta"}"#).unwrap_err();
        assert!(message.contains("'roberta'"), "{message}");
        assert!(parse(br#"{"model_type": "bert"}"#).is_err());
        assert!(parse(b"{").is_err());
    }

    proptest! {
        #[test]
        fn no_bytes_make_it_panic(bytes in prop::collection::vec(any::<u8>(), 0..200)) {
            let _ = parse(&bytes);
        }
    }
}
