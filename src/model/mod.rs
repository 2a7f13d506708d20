//! The model: texts in, sentiment out.
//!
//! [`Model`] is the narrow face of everything in here: a Hugging Face folder with a BERT sequence classifier
//! (Devlin et al., 2018, arXiv:1810.04805) is opened, checked, and asked for the sentiment of batches of texts.

mod batches;
pub mod context;
mod encoder;
mod error;
mod folder;
mod hub;
#[cfg(test)]
mod testing;
mod tokenizer;
mod workers;

pub use error::ModelError;
pub use tokenizer::{Tokenizer, Tokens};

use crate::config::ModelConfig;
use crate::domain::Sentiment;
use candle_core::{DType, Device};
use candle_nn::VarBuilder;
use encoder::Encoder;
use folder::Folder;
use std::path::PathBuf;

/// A text whose logits are computed when a model is opened: damaged weights show there, not in production.
const PROBE: &str = "Acme cuts its outlook after a weak quarter";

/// A sentiment classifier, ready to score. It can be shared between threads.
pub struct Model {
    name: String,
    tokenizer: Tokenizer,
    encoder: Encoder,
    vocab_size: usize,
    max_positions: usize,
}

impl Model {
    /// Opens the model that `config.source` names: a folder, or `hub:owner/name`, which is downloaded unless
    /// it is in `config.cache_dir` already. Takes a second or so; the weights are held in f32.
    ///
    /// # Errors
    /// What is missing or does not fit, with file and remedy; only those of the hub may be retryable.
    pub fn open(config: &ModelConfig) -> Result<Self, ModelError> {
        let (path, name) = match config.source.strip_prefix("hub:") {
            Some(repository) => (hub::fetch(repository, config)?, last_part(repository)),
            None => (PathBuf::from(&config.source), last_part(&config.source)),
        };
        let folder = Folder::read(&path)?;
        let classifier = folder.classifier()?;
        let bert = &classifier.bert;
        let unfit = |file, problem| ModelError::Unfit {
            path: folder.file(file),
            problem,
        };
        let tensors = VarBuilder::from_slice_safetensors(&folder.weights, DType::F32, &Device::Cpu)
            .map_err(|e| {
                unfit(
                    2,
                    format!("{e}: not a whole safetensors file, fetch the model again"),
                )
            })?;
        let encoder = Encoder::load(tensors, bert, classifier.rows).map_err(|e| {
            unfit(2, format!("{e}: the weights are not those of a BERT sequence classifier of config.json's shape, fetch the model again"))
        })?;
        let model = Self {
            name: format!("{name}@{}", folder.fingerprint()),
            tokenizer: Tokenizer::from_bytes(
                &folder.file(1),
                &folder.tokenizer,
                bert.vocab_size,
                config.max_tokens.min(bert.max_position_embeddings),
            )?,
            encoder,
            vocab_size: bert.vocab_size,
            max_positions: bert.max_position_embeddings,
        };
        model.logits(&[model.tokenizer.encode(PROBE)])?;
        Ok(model)
    }

    /// Name of the folder or repository, `@`, and the first 8 hexadecimal digits of SHA-256 over config,
    /// tokenizer and weights: models that score differently are named differently.
    pub fn name(&self) -> &str {
        &self.name
    }

    /// The tokenizer, for use on any thread.
    pub fn tokenizer(&self) -> Tokenizer {
        self.tokenizer.clone()
    }

    /// Sentiment of each text, in the order of the texts: the softmax of its [`Model::logits`].
    ///
    /// # Errors
    /// As for [`Model::logits`].
    pub fn classify(&self, texts: &[Tokens]) -> Result<Vec<Sentiment>, ModelError> {
        Ok(self.logits(texts)?.into_iter().map(softmax).collect())
    }

    /// Logits of each text, in the order of the texts: negative, neutral, positive, whatever the model's own
    /// order. Texts of any lengths may be mixed; they are computed in sub-batches of like length.
    ///
    /// # Errors
    /// When tokens are not of this model's tokenizer, and when a logit is not a finite number.
    pub fn logits(&self, texts: &[Tokens]) -> Result<Vec<[f32; 3]>, ModelError> {
        let model = || self.name.clone();
        if let Some(text) = texts.iter().position(|text| !self.knows(text)) {
            return Err(ModelError::ForeignTokens {
                model: model(),
                text,
            });
        }
        let lengths: Vec<usize> = texts.iter().map(Tokens::len).collect();
        let batches = batches::by_length(&lengths);
        let computed = workers::map(&batches, |batch| {
            let batch: Vec<&[u32]> = batch.iter().map(|&text| &texts[text].0[..]).collect();
            self.encoder.logits(&batch)
        });
        let mut logits = vec![[f32::NAN; 3]; texts.len()];
        for (batch, computed) in batches.iter().zip(computed) {
            let computed = computed.map_err(|source| ModelError::Compute {
                model: model(),
                source,
            })?;
            for (&text, computed) in batch.iter().zip(computed) {
                logits[text] = computed;
            }
        }
        match logits
            .iter()
            .position(|row| !row.iter().all(|x| x.is_finite()))
        {
            Some(text) => Err(ModelError::NotFinite {
                model: model(),
                text,
                logits: logits[text],
            }),
            None => Ok(logits),
        }
    }

    fn knows(&self, text: &Tokens) -> bool {
        let known = |&id: &u32| (id as usize) < self.vocab_size;
        (1..=self.max_positions).contains(&text.len()) && text.0.iter().all(known)
    }
}

/// Last part of a path or of `owner/name`.
fn last_part(path: &str) -> String {
    let whole = std::path::absolute(path).unwrap_or_else(|_| PathBuf::from(path));
    let last = whole.file_name().unwrap_or(whole.as_os_str());
    last.to_string_lossy().into_owned()
}

/// Probabilities from logits in the order negative, neutral, positive.
fn softmax(logits: [f32; 3]) -> Sentiment {
    let highest = logits.into_iter().fold(f32::MIN, f32::max);
    let [negative, neutral, positive] = logits.map(|logit| (logit - highest).exp());
    let sum = negative + neutral + positive;
    Sentiment {
        negative: negative / sum,
        neutral: neutral / sum,
        positive: positive / sum,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::Value;

    /// The model that comes with the project.
    fn bundled() -> Model {
        let folder = concat!(env!("CARGO_MANIFEST_DIR"), "/models/squall-mini");
        Model::open(&testing::model_config(folder)).unwrap()
    }

    #[test]
    fn logits_agree_with_the_reference_implementation() {
        let model = bundled();
        let reference = include_str!("../../tests/data/model_reference.jsonl");
        let lines: Vec<Value> = reference
            .lines()
            .map(|line| serde_json::from_str(line).unwrap())
            .collect();
        let texts: Vec<Tokens> = lines
            .iter()
            .map(|line| model.tokenizer().encode(line["text"].as_str().unwrap()))
            .collect();
        let logits = model.logits(&texts).unwrap();
        let mut largest = 0f64;
        for ((line, tokens), logits) in lines.iter().zip(&texts).zip(&logits) {
            assert_eq!(line["ids"], serde_json::json!(tokens.0), "{line}");
            for (expected, &logit) in line["logits"].as_array().unwrap().iter().zip(logits) {
                largest = largest.max((expected.as_f64().unwrap() - f64::from(logit)).abs());
            }
        }
        assert_eq!(lines.len(), 24);
        println!("largest difference {largest:.2e}");
        assert!(largest <= 1e-3, "{largest}");
    }

    #[test]
    fn the_company_of_other_texts_does_not_change_a_text() {
        let model = bundled();
        let texts: Vec<Tokens> = [
            "Borealis Bank beats forecasts, raises dividend",
            "a",
            &"Acme cuts its outlook. ".repeat(200),
            "Acme cuts its outlook, and its dividend",
        ]
        .map(|text| model.tokenizer().encode(text))
        .into();
        let together = model.logits(&texts).unwrap();
        for (text, together) in texts.iter().zip(together) {
            let alone = model.logits(std::slice::from_ref(text)).unwrap()[0];
            for (alone, together) in alone.iter().zip(together) {
                assert!((alone - together).abs() < 1e-4, "{alone} {together}");
            }
        }
        assert!(model.classify(&[]).unwrap().is_empty());
    }

    #[test]
    fn a_long_text_is_cut_and_a_strange_one_read() {
        let model = bundled();
        let long = "é🚀 profit".repeat(100_000);
        for text in [&long[..], "", " \n\t", "\u{10ffff}\0\u{202e}", "[SEP][PAD]"] {
            let tokens = model.tokenizer().encode(text);
            assert!((2..=512).contains(&tokens.len()), "{}", tokens.len());
            let sum = model.classify(&[tokens]).unwrap()[0];
            assert!((sum.negative + sum.neutral + sum.positive - 1.0).abs() < 1e-5);
        }
        assert_eq!(model.tokenizer().encode(&long).len(), 512);
    }

    fn tiny(dtype: DType) -> tempfile::TempDir {
        let folder = tempfile::tempdir().unwrap();
        testing::write(folder.path(), dtype);
        folder
    }

    fn open(folder: &tempfile::TempDir) -> Result<Model, ModelError> {
        Model::open(&testing::model_config(folder.path().to_string_lossy()))
    }

    fn refusal(folder: &tempfile::TempDir) -> String {
        let error = open(folder).err().expect("a model that must be refused");
        assert!(!error.is_retryable(), "{error}");
        error.to_string()
    }

    fn edit(folder: &tempfile::TempDir, file: &str, change: impl FnOnce(&mut Value)) {
        let path = folder.path().join(file);
        let mut value: Value = serde_json::from_slice(&std::fs::read(&path).unwrap()).unwrap();
        change(&mut value);
        std::fs::write(path, value.to_string()).unwrap();
    }

    #[test]
    fn halves_on_disk_are_computed_in_f32() {
        let text = |model: &Model| {
            let tokens = model.tokenizer().encode("Acme beats its outlook");
            model.logits(&[tokens]).unwrap()[0]
        };
        let weights = testing::weights();
        let full = tiny(DType::F32);
        testing::write_weights(full.path(), weights.clone(), DType::F32);
        let expected = text(&open(&full).unwrap());
        for (dtype, tolerance) in [(DType::F16, 0.01), (DType::BF16, 0.1)] {
            let half = tiny(dtype);
            testing::write_weights(half.path(), weights.clone(), dtype);
            for (half, full) in text(&open(&half).unwrap()).iter().zip(expected) {
                assert!((half - full).abs() < tolerance, "{dtype:?} {half} {full}");
            }
        }
    }

    #[test]
    fn labels_in_another_order_move_the_logits() {
        let folder = tiny(DType::F32);
        let logits = |folder| {
            let model = open(folder).unwrap();
            model
                .logits(&[model.tokenizer().encode("a profit")])
                .unwrap()[0]
        };
        let [negative, neutral, positive] = logits(&folder);
        edit(&folder, "config.json", |config| {
            config["id2label"] =
                serde_json::json!({"0": "Positive", "1": "negative", "2": "NEUTRAL"});
        });
        assert_eq!(logits(&folder), [neutral, positive, negative]);
    }

    #[test]
    fn the_name_tells_models_apart() {
        let folder = tiny(DType::F32);
        let before = open(&folder).unwrap().name().to_owned();
        let base = folder.path().file_name().unwrap().to_string_lossy();
        let (name, fingerprint) = before.rsplit_once('@').unwrap();
        assert_eq!((name, fingerprint.len()), (&*base, 8));
        testing::write_weights(folder.path(), testing::weights(), DType::F32);
        assert_ne!(open(&folder).unwrap().name(), before);
    }

    #[test]
    fn what_is_missing_or_broken_is_named() {
        let missing = Model::open(&testing::model_config("no/such/folder"));
        let message = missing.err().unwrap().to_string();
        assert!(message.starts_with("no/such/folder: "), "{message}");

        for file in folder::FILES {
            let folder = tiny(DType::F32);
            let path = folder.path().join(file);
            let bytes = std::fs::read(&path).unwrap();
            for length in [0, 5, bytes.len() / 2, bytes.len() - 1] {
                std::fs::write(&path, &bytes[..length]).unwrap();
                let message = refusal(&folder);
                assert!(message.contains(file), "{message}");
            }
            std::fs::remove_file(&path).unwrap();
            let message = refusal(&folder);
            assert!(message.contains(file), "{message}");
        }
    }

    #[test]
    fn weights_that_do_not_fit_the_configuration_are_named() {
        let folder = tiny(DType::F32);
        for (name, tensor) in testing::weights() {
            let mut without = testing::weights();
            without.remove(&name);
            testing::write_weights(folder.path(), without.clone(), DType::F32);
            let message = refusal(&folder);
            assert!(message.contains(&name), "{message}");
            without.insert(
                name.clone(),
                tensor.flatten_all().unwrap().repeat(2).unwrap(),
            );
            testing::write_weights(folder.path(), without, DType::F32);
            let message = refusal(&folder);
            assert!(message.contains(&name), "{message}");
        }
    }

    #[test]
    fn impossible_configurations_are_refused() {
        for (key, value, expected) in [
            (
                "num_attention_heads",
                serde_json::json!(0),
                "num_attention_heads",
            ),
            (
                "num_attention_heads",
                serde_json::json!(3),
                "num_attention_heads",
            ),
            ("num_hidden_layers", serde_json::json!(2), "layer.1"),
            (
                "model_type",
                serde_json::json!("distilbert"),
                "'distilbert'",
            ),
            ("hidden_act", serde_json::json!("silu"), "silu"),
            ("hidden_size", serde_json::json!("8"), "config.json"),
            ("vocab_size", serde_json::json!(5), "word_embeddings"),
            ("id2label", serde_json::json!({"0": "LABEL_0"}), "LABEL_0"),
        ] {
            let folder = tiny(DType::F32);
            edit(&folder, "config.json", |config| config[key] = value);
            let message = refusal(&folder);
            assert!(message.contains(expected), "{message}");
        }
    }

    #[test]
    fn a_tokenizer_of_another_model_is_refused() {
        let folder = tiny(DType::F32);
        edit(&folder, "tokenizer.json", |tokenizer| {
            tokenizer["model"]["vocab"]["zebra"] = 999.into();
        });
        let message = refusal(&folder);
        assert!(
            message.contains("tokenizer does not fit the model"),
            "{message}"
        );
        edit(&folder, "tokenizer.json", |tokenizer| {
            *tokenizer = testing::tokenizer();
            tokenizer["post_processor"] = Value::Null;
        });
        let message = refusal(&folder);
        assert!(message.contains("special tokens"), "{message}");
    }

    #[test]
    fn damaged_weights_are_found_when_the_model_is_opened() {
        let folder = tiny(DType::F32);
        let mut weights = testing::weights();
        let pooler = weights.get_mut("bert.pooler.dense.bias").unwrap();
        *pooler = (pooler.zeros_like().unwrap() * f64::NAN).unwrap();
        testing::write_weights(folder.path(), weights, DType::F32);
        let message = refusal(&folder);
        assert!(message.contains("damaged"), "{message}");
    }

    #[test]
    fn tokens_of_another_tokenizer_are_refused() {
        let model = open(&tiny(DType::F32)).unwrap();
        let good = model.tokenizer().encode("acme");
        for bad in [vec![], vec![12], vec![1; 33]] {
            let error = model.classify(&[good.clone(), Tokens(bad)]).unwrap_err();
            assert!(
                matches!(error, ModelError::ForeignTokens { text: 1, .. }),
                "{error}"
            );
        }
    }

    proptest::proptest! {
        #[test]
        fn probabilities_sum_to_one(a in -1e30f32..1e30, b in -100f32..100.0, c in -1f32..1.0) {
            let sentiment = softmax([a, b, c]);
            let sum = sentiment.negative + sentiment.neutral + sentiment.positive;
            proptest::prop_assert!((sum - 1.0).abs() < 1e-5);
        }
    }
}
