//! What a model says of its own probabilities: `config.json`, key `squall`.

use super::softmax;
use crate::domain::Sentiment;
use serde::{Deserialize, Serialize};

/// Temperatures that logits are divided by before the softmax (Guo et al., 2017, arXiv:1706.04599), fitted on texts
/// held back from training.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
#[serde(default)]
pub struct Calibration {
    /// Of the document's logits; above 0.
    pub document_temperature: f32,
    /// Of the entities' logits; above 0.
    pub entity_temperature: f32,
}

impl Default for Calibration {
    /// Logits as they are.
    fn default() -> Self {
        Self {
            document_temperature: 1.0,
            entity_temperature: 1.0,
        }
    }
}

impl Calibration {
    /// Whether both temperatures can be divided by.
    pub fn is_usable(&self) -> bool {
        [self.document_temperature, self.entity_temperature]
            .iter()
            .all(|temperature| temperature.is_finite() && *temperature > 0.0)
    }
}

/// Probabilities of logits (negative, neutral, positive) at a temperature.
pub fn sentiment(logits: [f32; 3], temperature: f32) -> Sentiment {
    softmax(logits.map(|logit| logit / temperature))
}
