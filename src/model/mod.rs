//! The model: texts in, sentiment out.
//!
//! [`Model`] is the narrow face of everything in here: a Hugging Face folder with a sequence classifier of
//! BERT's family is opened, checked, and asked for the sentiment of batches of texts.

mod batches;
mod cache;
pub mod calibration;
mod classifier;
mod computer;
pub mod context;
mod encoder;
mod error;
mod folder;
mod hub;
mod kernels;
mod passages;
mod roofline;
#[cfg(test)]
pub(crate) mod testing;
mod tokenizer;
pub(crate) mod weights;
pub(crate) mod workers;

pub use cache::{Cache, Lookups};
pub use calibration::{Calibration, Scaling};
pub use error::ModelError;
pub use folder::LayerShape;
pub(crate) use folder::{FILES, layers};
pub use passages::{MOST_PASSAGES, Passage, Scored, combine};
pub use roofline::multiplications_per_second;
pub use tokenizer::{Tokenizer, Tokens};

use crate::config::{ModelConfig, Precision};
use crate::domain::Sentiment;
use classifier::Classifier;
use computer::Computer;
use encoder::Request;
use folder::{Description, Folder};
use std::path::PathBuf;
use weights::Weights;

/// A text whose logits are computed when a model is opened: damaged weights show there, not in production.
const PROBE: &str = "Acme cuts its outlook after a weak quarter";

/// A sentiment classifier, ready to score. It can be shared between threads.
pub struct Model {
    name: String,
    precision: Precision,
    tokenizer: Tokenizer,
    encoder: Computer,
    document: Classifier,
    /// None in a model that knows only documents.
    entity: Option<Classifier>,
    calibration: Calibration,
    /// Whether the document's head sees the mean of a text's tokens, not the first.
    means: bool,
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
        let weights = Weights::of(&folder.weights)?;
        let unfit = |problem| folder.weights.unfit(problem);
        let model = Self {
            // Another precision gives other scores, so it is another model.
            name: format!("{name}@{}", folder.fingerprint(config.precision.name())),
            precision: config.precision,
            tokenizer: Tokenizer::read(&folder.tokenizer, vocab_size, max_tokens)?,
            encoder: Computer::take(&weights, shape, config, unfit)?,
            document: Classifier::document(&weights, &description).map_err(unfit)?,
            entity: Classifier::entity(&weights, &description).map_err(unfit)?,
            calibration: description.calibration,
            means: shape.modern.means,
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

    /// What it computes with, for people: precision, and instructions or GPUs.
    pub fn arithmetic(&self) -> String {
        format!("{}, {}", self.precision.name(), self.encoder.name())
    }

    /// Multiplications, each with its addition, that a token takes in the encoder's matrix products, where only the first token of a
    /// text is asked for; not counted on GPUs.
    pub fn multiplications_per_token(&self) -> Option<f64> {
        self.encoder.multiplications_per_token()
    }

    /// The tokenizer, for use on any thread.
    pub fn tokenizer(&self) -> Tokenizer {
        self.tokenizer.clone()
    }

    /// Whether it tells the sentiment of each entity of a text. One that does not gives them that of the document.
    pub fn knows_entities(&self) -> bool {
        self.entity.is_some()
    }

    /// Sentiment of each text, in the order of the texts: the softmax of its [`Model::logits`], calibrated, or, of a
    /// model with several labels a text, their sigmoids.
    ///
    /// # Errors
    /// As for [`Model::logits`].
    pub fn classify(&self, texts: &[Tokens]) -> Result<Vec<Sentiment>, ModelError> {
        let scaling = self.calibration.document();
        let logits = self.logits(texts)?.into_iter();
        Ok(logits
            .map(|logits| self.sentiment(logits, scaling))
            .collect())
    }

    /// Sentiment of each passage and of the entities it names, in one pass, calibrated.
    ///
    /// # Errors
    /// As for [`Model::logits`].
    pub fn score(&self, passages: &[Passage]) -> Result<Vec<Scored>, ModelError> {
        let document = self.calibration.document();
        let entity = match self.entity {
            Some(_) => self.calibration.entity(),
            None => document,
        };
        let logits = self.passage_logits(passages)?.into_iter();
        let scored = logits.map(|logits| Scored {
            document: self.sentiment(logits.document, document),
            entities: logits
                .entities
                .into_iter()
                .map(|logits| self.sentiment(logits, entity))
                .collect(),
        });
        Ok(scored.collect())
    }

    /// Logits of each text, in the order of the texts: negative, neutral, positive, whatever the model's own
    /// order. Texts of any lengths may be mixed: nothing is padded.
    ///
    /// # Errors
    /// When tokens are not of this model's tokenizer, when a logit is not a finite number, and what a GPU says.
    pub fn logits(&self, texts: &[Tokens]) -> Result<Vec<[f32; 3]>, ModelError> {
        let passages: Vec<Passage> = texts.iter().cloned().map(Passage::from).collect();
        let logits = self.passage_logits(&passages)?;
        Ok(logits.into_iter().map(|logits| logits.document).collect())
    }

    fn passage_logits(&self, passages: &[Passage]) -> Result<Vec<Logits>, ModelError> {
        if let Some(text) = passages.iter().position(|passage| !self.knows(passage)) {
            return Err(ModelError::ForeignTokens {
                model: self.name.clone(),
                text,
            });
        }
        let lengths: Vec<usize> = passages
            .iter()
            .map(|passage| passage.tokens.len())
            .collect();
        let parts = self.encoder.parts(&lengths).into_iter();
        let parts: Vec<_> = parts.enumerate().collect();
        let computed = workers::map(&parts, |(number, part)| {
            self.compute(*number, &passages[part.clone()])
        });
        let mut logits: Vec<Logits> = Vec::with_capacity(passages.len());
        for part in computed {
            logits.extend(part?);
        }
        for (text, one) in logits.iter().enumerate() {
            let mut all = std::iter::once(&one.document).chain(&one.entities);
            if let Some(bad) = all.find(|logits| !logits.iter().all(|logit| logit.is_finite())) {
                return Err(ModelError::NotFinite {
                    model: self.name.clone(),
                    text,
                    logits: *bad,
                });
            }
        }
        Ok(logits)
    }

    /// One forward pass, of the part of a batch that has this number.
    fn compute(&self, part: usize, passages: &[Passage]) -> Result<Vec<Logits>, ModelError> {
        let wanted: Vec<Vec<usize>> = passages
            .iter()
            .map(|passage| match self.entity {
                Some(_) => passage.wanted(),
                None if self.means => (0..passage.tokens.len()).collect(),
                None => vec![0],
            })
            .collect();
        let requests: Vec<Request> = passages
            .iter()
            .zip(&wanted)
            .map(|(passage, wanted)| Request {
                tokens: &passage.tokens.0,
                wanted,
            })
            .collect();
        let hidden = self.encoder.hidden(part, &requests);
        let hidden = hidden.map_err(|problem| ModelError::Device {
            model: self.name.clone(),
            problem,
        })?;
        let width = hidden.len() / wanted.iter().map(Vec::len).sum::<usize>().max(1);
        let (mut documents, mut entities) = (Vec::new(), Vec::new());
        let mut rest = &hidden[..];
        for (passage, wanted) in passages.iter().zip(&wanted) {
            let (own, others) = rest.split_at(wanted.len() * width);
            rest = others;
            match self.means && self.entity.is_none() {
                true => documents.extend(mean(own, width)),
                false => documents.extend_from_slice(&own[..width]),
            }
            if self.entity.is_some() {
                passage.entity_vectors(wanted, own, width, &mut entities);
            }
        }
        let level = self.encoder.level();
        let documents = self.document.logits(level, &documents);
        let mut entities = match &self.entity {
            Some(entity) if !entities.is_empty() => entity.logits(level, &entities),
            _ => Vec::new(),
        }
        .into_iter();
        let one = |(passage, document): (&Passage, [f32; 3])| Logits {
            document,
            entities: passage
                .entities
                .iter()
                .map(|_| entities.next().unwrap_or(document))
                .collect(),
        };
        Ok(passages.iter().zip(documents).map(one).collect())
    }

    fn sentiment(&self, logits: [f32; 3], scaling: Scaling) -> Sentiment {
        (self.probabilities)(scaling.apply(logits))
    }

    fn knows(&self, passage: &Passage) -> bool {
        let tokens = &passage.tokens;
        let known = |&id: &u32| (id as usize) < self.vocab_size;
        let within = |(_, named): &(usize, Vec<usize>)| {
            !named.is_empty() && named.iter().all(|&token| token < tokens.len())
        };
        (1..=self.max_positions).contains(&tokens.len())
            && tokens.0.iter().all(known)
            && passage.entities.iter().all(within)
    }
}

/// The mean of rows.
fn mean(rows: &[f32], width: usize) -> impl Iterator<Item = f32> {
    let count = (rows.len() / width) as f32;
    (0..width).map(move |column| rows[column..].iter().step_by(width).sum::<f32>() / count)
}

/// Logits of a passage: negative, neutral, positive.
struct Logits {
    document: [f32; 3],
    /// Of its entities, in their order.
    entities: Vec<[f32; 3]>,
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
