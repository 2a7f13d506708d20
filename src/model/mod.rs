//! The model: texts in, sentiment out.
//!
//! [`Model`] is the narrow face of everything in here: a Hugging Face folder with a BERT sequence classifier
//! (Devlin et al., 2018, arXiv:1810.04805) is opened, checked, and asked for the sentiment of batches of texts.

mod batches;
pub mod calibration;
pub mod context;
mod encoder;
mod error;
mod folder;
mod hub;
mod passages;
#[cfg(test)]
pub(crate) mod testing;
mod tokenizer;
pub(crate) mod workers;

pub use calibration::Calibration;
pub use error::ModelError;
pub use passages::Passage;
pub use tokenizer::{Tokenizer, Tokens};

use crate::config::ModelConfig;
use crate::domain::Sentiment;
use encoder::Encoder;
use folder::{Classifier, Folder};
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
        let classifier = Classifier::read(&folder.config)?;
        let (vocab_size, max_positions) = (
            classifier.bert.vocab_size,
            classifier.bert.max_position_embeddings,
        );
        let max_tokens = config.max_tokens.min(max_positions);
        let model = Self {
            name: format!("{name}@{}", folder.fingerprint()),
            tokenizer: Tokenizer::read(&folder.tokenizer, vocab_size, max_tokens)?,
            encoder: Encoder::read(&folder.weights, &classifier)?,
            vocab_size,
            max_positions,
        };
        model.logits(&[model.tokenizer.encode(PROBE)])?;
        Ok(model)
    }

    /// Name of the folder or repository, `@`, and the first 8 hexadecimal digits of SHA-256 over config,
    /// tokenizer and weights: a changed model has another name.
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
        let mut logits = vec![[0.0; 3]; texts.len()];
        for (batch, computed) in batches.iter().zip(computed) {
            let computed = computed.map_err(|problem| ModelError::Compute {
                model: model(),
                problem,
            })?;
            for (&text, computed) in batch.iter().zip(computed) {
                if !computed.iter().all(|logit| logit.is_finite()) {
                    return Err(ModelError::NotFinite {
                        model: model(),
                        text,
                        logits: computed,
                    });
                }
                logits[text] = computed;
            }
        }
        Ok(logits)
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
mod tests;
