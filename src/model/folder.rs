//! A Hugging Face folder with a BERT sequence classifier, read and checked.

use super::{Calibration, ModelError};
use crate::domain::{Label, hexadecimal};
use serde::Deserialize;
use sha2::{Digest, Sha256};
use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

/// The three files of a model.
pub(super) const FILES: [&str; 3] = ["config.json", "tokenizer.json", "model.safetensors"];

/// A model as it is on disk.
pub(super) struct Folder {
    pub(super) config: File,
    pub(super) tokenizer: File,
    pub(super) weights: File,
}

/// A file and what is in it.
pub(super) struct File {
    path: PathBuf,
    pub(super) bytes: Vec<u8>,
}

impl Folder {
    /// Reads the three files into memory. Mapping the weights would save their size while a model is opened, at
    /// the price of undefined behaviour when another process changes the file.
    pub(super) fn read(path: &Path) -> Result<Self, ModelError> {
        std::fs::read_dir(path).map_err(|problem| ModelError::Unreadable {
            path: path.to_owned(),
            problem,
        })?;
        let [config, tokenizer, weights] = FILES.map(|file| File::read(path.join(file)));
        Ok(Self {
            config: config?,
            tokenizer: tokenizer?,
            weights: weights?,
        })
    }

    /// First 8 hexadecimal digits of SHA-256 over config, tokenizer and weights, in this order, and the precision.
    pub(super) fn fingerprint(&self, precision: &str) -> String {
        let mut digest = Sha256::new();
        for file in [&self.config, &self.tokenizer, &self.weights] {
            digest.update(&file.bytes);
        }
        digest.update(precision);
        hexadecimal(&digest.finalize()[..4])
    }
}

impl File {
    pub(super) fn read(path: PathBuf) -> Result<Self, ModelError> {
        match std::fs::read(&path) {
            Ok(bytes) => Ok(Self { path, bytes }),
            Err(problem) => Err(ModelError::Unreadable { path, problem }),
        }
    }

    /// An error about this file.
    pub(super) fn unfit(&self, problem: String) -> ModelError {
        ModelError::Unfit {
            path: self.path.clone(),
            problem,
        }
    }
}

/// A kind of encoder that squall can compute.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Family {
    /// Devlin et al., 2018, arXiv:1810.04805.
    Bert,
    /// RoBERTa (Liu et al., 2019, arXiv:1907.11692) and XLM-R (Conneau et al., 2019, arXiv:1911.02116).
    Roberta,
    /// Sanh et al., 2019, arXiv:1910.01108.
    Distilbert,
}

impl Family {
    /// By the name in `config.json`.
    fn named(model_type: &str) -> Option<Self> {
        match model_type {
            "bert" => Some(Self::Bert),
            "roberta" | "xlm-roberta" => Some(Self::Roberta),
            "distilbert" => Some(Self::Distilbert),
            _ => None,
        }
    }
}

/// Shape of an encoder, under the names that `config.json` has in one family or another.
#[derive(Debug, Deserialize)]
pub(super) struct Shape {
    #[serde(skip, default = "bert")]
    pub(super) family: Family,
    pub(super) vocab_size: usize,
    #[serde(alias = "dim")]
    pub(super) hidden_size: usize,
    #[serde(alias = "n_layers")]
    pub(super) num_hidden_layers: usize,
    #[serde(alias = "n_heads")]
    pub(super) num_attention_heads: usize,
    #[serde(alias = "hidden_dim")]
    pub(super) intermediate_size: usize,
    #[serde(default, alias = "activation")]
    pub(super) hidden_act: Activation,
    pub(super) max_position_embeddings: usize,
    /// 0 where the family has no token types.
    #[serde(default)]
    pub(super) type_vocab_size: usize,
    #[serde(default = "usual_epsilon")]
    pub(super) layer_norm_eps: f64,
    #[serde(default)]
    pad_token_id: Option<usize>,
}

fn bert() -> Family {
    Family::Bert
}

fn usual_epsilon() -> f64 {
    1e-12
}

impl Shape {
    /// Row of the position embeddings that a text's first token has: RoBERTa begins behind that of padding.
    pub(super) fn first_position(&self) -> usize {
        match self.family {
            Family::Roberta => self.pad_token_id.unwrap_or(1).saturating_add(1),
            Family::Bert | Family::Distilbert => 0,
        }
    }

    /// Tokens of the longest text.
    pub(super) fn longest(&self) -> usize {
        self.max_position_embeddings
            .saturating_sub(self.first_position())
    }
}

/// What stands between the two products of a feed-forward part.
#[derive(Debug, Default, Clone, Copy, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "lowercase")]
pub(super) enum Activation {
    /// The Gaussian error linear unit.
    #[default]
    Gelu,
    /// The rectified linear unit.
    Relu,
}

/// What `config.json` says of the model.
#[derive(Debug)]
pub(super) struct Description {
    /// Shape of the encoder.
    pub(super) shape: Shape,
    /// Row of the classifier that holds each label, in the order of [`Label::ALL`].
    pub(super) rows: [usize; 3],
    /// What makes its probabilities honest.
    pub(super) calibration: Calibration,
    /// Whether each label has a probability of its own (a sigmoid), in place of all sharing one (the softmax).
    pub(super) multi_label: bool,
}

impl Description {
    /// Reads and checks `config.json`.
    pub(super) fn read(config: &File) -> Result<Self, ModelError> {
        parse(&config.bytes).map_err(|problem| config.unfit(problem))
    }
}

#[derive(Deserialize)]
struct Kind {
    model_type: String,
}

#[derive(Deserialize)]
struct Own {
    #[serde(default)]
    squall: Calibration,
}

#[derive(Deserialize)]
struct Labels {
    id2label: BTreeMap<String, String>,
    problem_type: Option<String>,
}

fn parse(json: &[u8]) -> Result<Description, String> {
    let fetch = |e: serde_json::Error| format!("{e}: fetch the model again");
    let kind: Kind = serde_json::from_slice(json).map_err(fetch)?;
    let Some(family) = Family::named(&kind.model_type) else {
        return Err(format!(
            "model_type is '{}', squall knows bert, roberta, xlm-roberta and distilbert: choose a sequence classifier of these",
            kind.model_type
        ));
    };
    let mut shape: Shape = serde_json::from_slice(json).map_err(|e| {
        format!(
            "{e}: squall cannot compute this kind of {}",
            kind.model_type
        )
    })?;
    shape.family = family;
    if family == Family::Distilbert {
        shape.type_vocab_size = 0;
    }
    let heads = shape.num_attention_heads;
    if heads == 0 || shape.hidden_size == 0 || !shape.hidden_size.is_multiple_of(heads) {
        return Err(format!(
            "hidden_size {} cannot be shared among num_attention_heads {heads}: fetch the model again",
            shape.hidden_size
        ));
    }
    let labels: Labels = serde_json::from_slice(json).map_err(|e| {
        format!("{e}: name the classes there, {{\"0\": \"negative\", \"1\": \"neutral\", \"2\": \"positive\"}}")
    })?;
    let own: Own = serde_json::from_slice(json).map_err(fetch)?;
    if !own.squall.is_usable() {
        return Err(format!(
            "squall is {:?}: temperatures must be above 0: train the model again",
            own.squall
        ));
    }
    let multi_label = match labels.problem_type.as_deref() {
        None | Some("single_label_classification") => false,
        Some("multi_label_classification") => true,
        Some(other) => {
            return Err(format!(
                "problem_type is '{other}', squall needs a classification: choose a model with the labels negative, neutral and positive"
            ));
        }
    };
    Ok(Description {
        shape,
        multi_label,
        rows: rows(&labels.id2label)?,
        calibration: own.squall,
    })
}

/// Where each label stands; the names may come in any order and case.
fn rows(id2label: &BTreeMap<String, String>) -> Result<[usize; 3], String> {
    let row = |label: Label| {
        (0..3).find(|row: &usize| {
            let name = id2label.get(&row.to_string());
            name.is_some_and(|name| name.eq_ignore_ascii_case(label.name()))
        })
    };
    match Label::ALL.map(row) {
        [Some(negative), Some(neutral), Some(positive)] if id2label.len() == 3 => {
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
        let message = parse(br#"{"model_type": "gpt2"}"#).unwrap_err();
        assert!(message.contains("'gpt2'"), "{message}");
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
