//! A Hugging Face folder with a BERT sequence classifier, read and checked.

use super::calibration::Scaling;
use super::{Calibration, ModelError};
use crate::domain::{Label, hexadecimal};
use serde::{Deserialize, Serialize};
use sha2::{Digest, Sha256};
use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

/// The three files of a model.
pub(crate) const FILES: [&str; 3] = ["config.json", "tokenizer.json", "model.safetensors"];

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
    /// Warner et al., 2024, arXiv:2412.13663.
    Modernbert,
}

impl Family {
    /// By the name in `config.json`.
    fn named(model_type: &str) -> Option<Self> {
        match model_type {
            "bert" => Some(Self::Bert),
            "roberta" | "xlm-roberta" => Some(Self::Roberta),
            "distilbert" => Some(Self::Distilbert),
            "modernbert" => Some(Self::Modernbert),
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
    #[serde(default, alias = "activation", alias = "hidden_activation")]
    pub(super) hidden_act: Activation,
    pub(super) max_position_embeddings: usize,
    /// 0 where the family has no token types.
    #[serde(default)]
    pub(super) type_vocab_size: usize,
    #[serde(default = "usual_epsilon")]
    pub(super) layer_norm_eps: f64,
    #[serde(default)]
    pad_token_id: Option<usize>,
    /// Of each layer, from the first; only some of the heads and units may be left.
    #[serde(skip)]
    pub(super) layers: Vec<LayerShape>,
    /// Without meaning in the other families.
    #[serde(skip)]
    pub(super) modern: Modern,
}

/// What only ModernBERT has.
#[derive(Debug, Default)]
pub(super) struct Modern {
    /// Every so manyth layer, from the first, attends to the whole text.
    every: usize,
    /// Tokens that the other layers see, half of them on either side.
    local_attention: usize,
    /// Base of the rotations of layers that see the whole text, and of the others.
    pub(super) thetas: [f64; 2],
    /// Whether the head sees the mean of all tokens in place of the first.
    pub(super) means: bool,
}

impl Modern {
    /// Tokens on either side that the other layers see.
    pub(super) fn window(&self) -> usize {
        self.local_attention / 2
    }

    /// Whether a layer sees the whole text.
    pub(super) fn is_global(&self, layer: usize) -> bool {
        layer.is_multiple_of(self.every)
    }

    /// Reads `config.json`, also as transformers 5 writes it, with the bases in `rope_parameters`.
    fn parse(json: &[u8]) -> Result<(Self, f64), String> {
        let fields: ModernFields = serde_json::from_slice(json)
            .map_err(|e| format!("{e}: squall cannot compute this kind of modernbert"))?;
        let base = |kind: &str, own: Option<f64>, usual: f64| {
            let listed = fields.rope_parameters.get(kind);
            let listed = listed.and_then(|one| one.get("rope_theta")?.as_f64());
            listed.or(own).unwrap_or(usual)
        };
        let global = base("full_attention", fields.global_rope_theta, 160_000.0);
        let local = base("sliding_attention", fields.local_rope_theta, 10_000.0);
        let means = match &*fields.classifier_pooling {
            "cls" => false,
            "mean" => true,
            other => {
                return Err(format!(
                    "classifier_pooling is '{other}', squall knows cls and mean: choose another model"
                ));
            }
        };
        if fields.classifier_activation != Activation::Gelu
            || fields.global_attn_every_n_layers == 0
            || ![global, local]
                .iter()
                .all(|base| base.is_finite() && *base > 0.0)
        {
            return Err(format!(
                "{fields:?}: squall cannot compute this kind of modernbert"
            ));
        }
        let modern = Self {
            every: fields.global_attn_every_n_layers,
            local_attention: fields.local_attention,
            thetas: [global, local],
            means,
        };
        Ok((modern, fields.norm_eps))
    }
}

#[derive(Debug, Deserialize)]
struct ModernFields {
    #[serde(default = "three")]
    global_attn_every_n_layers: usize,
    #[serde(default = "usual_window")]
    local_attention: usize,
    global_rope_theta: Option<f64>,
    local_rope_theta: Option<f64>,
    #[serde(default)]
    rope_parameters: BTreeMap<String, serde_json::Value>,
    #[serde(default = "cls")]
    classifier_pooling: String,
    #[serde(default)]
    classifier_activation: Activation,
    #[serde(default = "modern_epsilon")]
    norm_eps: f64,
}

fn three() -> usize {
    3
}

fn usual_window() -> usize {
    128
}

fn cls() -> String {
    "cls".into()
}

fn modern_epsilon() -> f64 {
    1e-5
}

/// What `squall optimize` left of a layer: `config.json`, key `squall.layers`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct LayerShape {
    /// Heads of attention, each `hidden_size / num_attention_heads` wide.
    pub heads: usize,
    /// Units of the feed-forward part.
    pub inner: usize,
}

/// More layers than any encoder has.
const MOST_LAYERS: usize = 1000;

/// The layers that `config.json` lists; without a list all are whole.
///
/// # Errors
/// When the list does not fit the encoder.
pub(crate) fn layers(
    listed: Option<Vec<LayerShape>>,
    number: usize,
    whole: LayerShape,
) -> Result<Vec<LayerShape>, String> {
    if number > MOST_LAYERS {
        return Err(format!(
            "num_hidden_layers is {number}, squall takes {MOST_LAYERS} at most: fetch the model again"
        ));
    }
    let Some(layers) = listed else {
        return Ok(vec![whole; number]);
    };
    if layers.len() != number {
        return Err(format!(
            "squall.layers has {} layers, num_hidden_layers is {number}: make the model again with `squall optimize`",
            layers.len()
        ));
    }
    let fits = |layer: &LayerShape| {
        (1..=whole.heads).contains(&layer.heads) && (1..=whole.inner).contains(&layer.inner)
    };
    match layers.iter().find(|layer| !fits(layer)) {
        Some(layer) => Err(format!(
            "squall.layers has {layer:?}, at most {whole:?} can be: make the model again with `squall optimize`"
        )),
        None => Ok(layers),
    }
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
            Family::Bert | Family::Distilbert | Family::Modernbert => 0,
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

/// What squall adds to the file.
#[derive(Default, Deserialize)]
struct Own {
    #[serde(flatten)]
    calibration: Calibration,
    layers: Option<Vec<LayerShape>>,
}

#[derive(Deserialize)]
struct WithOwn {
    #[serde(default)]
    squall: Own,
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
            "model_type is '{}', squall knows bert, roberta, xlm-roberta, distilbert and modernbert: choose a sequence classifier of these",
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
    if family == Family::Modernbert {
        let (modern, epsilon) = Modern::parse(json)?;
        shape.layer_norm_eps = epsilon;
        shape.modern = modern;
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
    let WithOwn { squall: own } = serde_json::from_slice(json).map_err(fetch)?;
    if !own.calibration.is_usable() {
        return Err(format!(
            "squall is {:?}: temperatures must be above 0, sharpness from 0 to {}: train the model again",
            own.calibration,
            Scaling::SHARPEST
        ));
    }
    let whole = LayerShape {
        heads,
        inner: shape.intermediate_size,
    };
    shape.layers = layers(own.layers, shape.num_hidden_layers, whole)?;
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
        calibration: own.calibration,
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
