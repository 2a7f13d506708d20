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
        let tensors =
            VarBuilder::from_slice_safetensors(&folder.weights, DType::F32, &Device::Cpu).map_err(
                |e| unfit(2, format!("{e}: not a whole safetensors file, fetch the model again")),
            )?;
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
        let mut logits = vec![[f32::NAN; 3]; texts.len()];
        for batch in batches::by_length(&lengths) {
            let ids: Vec<&[u32]> = batch.iter().map(|&text| &texts[text].0[..]).collect();
            let computed = self.encoder.logits(&ids).map_err(|source| ModelError::Compute {
                model: model(),
                source,
            })?;
            for (&text, computed) in batch.iter().zip(computed) {
                logits[text] = computed;
            }
        }
        match logits.iter().position(|row| !row.iter().all(|x| x.is_finite())) {
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
    use crate::domain::Label;
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
    #[ignore]
    fn speed() {
        let model = bundled();
        let data = std::fs::read_to_string("/work/shared/data/sentiment/tweets-dev.jsonl").unwrap();
        let texts: Vec<Tokens> = data.lines().take(2000)
            .map(|line| serde_json::from_str::<Value>(line).unwrap())
            .map(|line| model.tokenizer().encode(line["text"].as_str().unwrap())).collect();
        let tokens: usize = texts.iter().map(Tokens::len).sum();
        for chunk in [2000, 64] {
            let start = std::time::Instant::now();
            let mut right = 0;
            for part in texts.chunks(chunk) { right += model.classify(part).unwrap().iter().filter(|s| s.label() == Label::Negative).count(); }
            let s = start.elapsed().as_secs_f64();
            println!("chunk {chunk}: {:.0} texts/s {:.0} tokens/s, {right}", 2000.0 / s, tokens as f64 / s);
        }
        println!("{}", std::fs::read_to_string("/proc/self/status").unwrap().lines().filter(|l| l.starts_with("VmHWM") || l.starts_with("VmRSS")).collect::<Vec<_>>().join(" "));
    }
}
