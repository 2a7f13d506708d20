//! The model: texts in, sentiment out.
//!
//! [`Model`] is the narrow face of everything in here: a Hugging Face folder with a sequence classifier of
//! BERT's family is opened, checked, and asked for the sentiment of batches of texts.

mod batches;
mod cache;
mod classifier;
pub mod context;
mod encoder;
mod error;
mod folder;
mod hub;
mod kernels;
mod roofline;
#[cfg(test)]
mod testing;
mod tokenizer;
mod workers;

pub use cache::{Cache, Lookups};
pub use error::ModelError;
pub use roofline::multiplications_per_second;
pub use tokenizer::{Tokenizer, Tokens};

use crate::config::ModelConfig;
use crate::domain::Sentiment;
use classifier::Classifier;
use encoder::{Encoder, Request, Tensors};
use folder::{Description, Folder};
use kernels::Format;
use std::path::PathBuf;

/// A text whose logits are computed when a model is opened: damaged weights show there, not in production.
const PROBE: &str = "Acme cuts its outlook after a weak quarter";

/// A sentiment classifier, ready to score. It can be shared between threads.
pub struct Model {
    name: String,
    tokenizer: Tokenizer,
    encoder: Encoder,
    classifier: Classifier,
    /// Of logits.
    probabilities: fn([f32; 3]) -> Sentiment,
    vocab_size: usize,
    max_positions: usize,
}

impl Model {
    /// Opens the model that `config.source` names: a folder, or `hub:owner/name`, which is downloaded unless
    /// it is in `config.cache_dir` already. Takes a second or so; the weights are packed for
    /// the products of `config.precision`.
    ///
    /// # Errors
    /// What is missing or does not fit, with file and remedy; only those of the hub may be retryable.
    pub fn open(config: &ModelConfig) -> Result<Self, ModelError> {
        let (path, name) = match config.source.strip_prefix("hub:") {
            Some(repository) => (hub::fetch(repository, config)?, last_part(repository)),
            None => (PathBuf::from(&config.source), last_part(&config.source)),
        };
        let folder = Folder::read(&path)?;
        let description = Description::read(&folder.config)?;
        let shape = &description.shape;
        let (vocab_size, max_positions) = (shape.vocab_size, shape.longest());
        let max_tokens = config.max_tokens.min(max_positions);
        let tensors = Tensors::of(&folder.weights)?;
        // Another precision gives other scores, so it is another model.
        let format = Format::of(config.precision);
        let unfit = |problem| folder.weights.unfit(problem);
        let model = Self {
            name: format!("{name}@{}", folder.fingerprint(format.name())),
            tokenizer: Tokenizer::read(&folder.tokenizer, vocab_size, max_tokens)?,
            encoder: Encoder::take(&tensors, shape, format).map_err(unfit)?,
            classifier: Classifier::take(&tensors, &description).map_err(unfit)?,
            probabilities: match description.multi_label {
                true => sigmoids,
                false => softmax,
            },
            vocab_size,
            max_positions,
        };
        model.logits(&[model.tokenizer.encode(PROBE)])?;
        Ok(model)
    }

    /// Name of the folder or repository, `@`, and the first 8 hexadecimal digits of SHA-256 over config,
    /// tokenizer, weights and precision: a model that gives other scores has another name.
    pub fn name(&self) -> &str {
        &self.name
    }

    /// What it computes with, for people: precision and instructions.
    pub fn arithmetic(&self) -> String {
        let (format, level) = (self.encoder.format(), self.encoder.level());
        format!("{}, {}", format.name(), level.name())
    }

    /// Multiplications, each with its addition, that a token takes in the encoder's matrix products, where only the first token of a
    /// text is asked for.
    pub fn multiplications_per_token(&self) -> f64 {
        self.encoder.multiplications_per_token()
    }

    /// The tokenizer, for use on any thread.
    pub fn tokenizer(&self) -> Tokenizer {
        self.tokenizer.clone()
    }

    /// Sentiment of each text, in the order of the texts: the softmax of its [`Model::logits`], or, of a
    /// model with several labels a text, their sigmoids.
    ///
    /// # Errors
    /// As for [`Model::logits`].
    pub fn classify(&self, texts: &[Tokens]) -> Result<Vec<Sentiment>, ModelError> {
        Ok(self
            .logits(texts)?
            .into_iter()
            .map(self.probabilities)
            .collect())
    }

    /// Logits of each text, in the order of the texts: negative, neutral, positive, whatever the model's own
    /// order. Texts of any lengths may be mixed: nothing is padded.
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
        let parts = batches::by_tokens(&lengths);
        let computed = workers::map(&parts, |part| {
            let texts = texts[part.clone()].iter();
            let requests: Vec<Request> = texts.map(|text| Request::whole(&text.0)).collect();
            let hidden = self.encoder.hidden(&requests);
            self.classifier.logits(self.encoder.level(), &hidden)
        });
        let logits: Vec<[f32; 3]> = computed.into_iter().flatten().collect();
        let finite = |logits: &[f32; 3]| logits.iter().all(|logit| logit.is_finite());
        if let Some(text) = logits.iter().position(|logits| !finite(logits)) {
            return Err(ModelError::NotFinite {
                model: model(),
                text,
                logits: logits[text],
            });
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

/// A probability for each label by itself.
fn sigmoids(logits: [f32; 3]) -> Sentiment {
    let [negative, neutral, positive] = logits.map(|logit| 1.0 / (1.0 + (-logit).exp()));
    Sentiment {
        negative,
        neutral,
        positive,
    }
}

#[cfg(test)]
mod tests;
