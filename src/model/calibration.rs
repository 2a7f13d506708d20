//! What a model says of its own probabilities: `config.json`, key `squall`.

use super::softmax;
use crate::domain::Sentiment;
use serde::{Deserialize, Serialize};
use std::fmt;

/// How the logits of each head are scaled before the softmax, fitted on texts held back from training.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
#[serde(default)]
pub struct Calibration {
    /// Of the document's logits; above 0.
    pub document_temperature: f32,
    /// Of the document's logits; 0 or more.
    pub document_sharpness: f32,
    /// Of the entities' logits; above 0.
    pub entity_temperature: f32,
    /// Of the entities' logits; 0 or more.
    pub entity_sharpness: f32,
}

impl Default for Calibration {
    /// Logits as they are.
    fn default() -> Self {
        let Scaling {
            temperature,
            sharpness,
        } = Scaling::NONE;
        Self {
            document_temperature: temperature,
            document_sharpness: sharpness,
            entity_temperature: temperature,
            entity_sharpness: sharpness,
        }
    }
}

impl Calibration {
    /// That of two heads.
    pub fn of(document: Scaling, entity: Scaling) -> Self {
        Self {
            document_temperature: document.temperature,
            document_sharpness: document.sharpness,
            entity_temperature: entity.temperature,
            entity_sharpness: entity.sharpness,
        }
    }

    /// Of the document's logits.
    pub fn document(&self) -> Scaling {
        Scaling {
            temperature: self.document_temperature,
            sharpness: self.document_sharpness,
        }
    }

    /// Of the entities' logits.
    pub fn entity(&self) -> Scaling {
        Scaling {
            temperature: self.entity_temperature,
            sharpness: self.entity_sharpness,
        }
    }

    /// Whether both heads can be scaled so.
    pub fn is_usable(&self) -> bool {
        [self.document(), self.entity()].iter().all(|scaling| {
            scaling.temperature.is_finite()
                && scaling.temperature > 0.0
                && (0.0..=Scaling::SHARPEST).contains(&scaling.sharpness)
        })
    }
}

impl fmt::Display for Calibration {
    fn fmt(&self, f: &mut fmt::Formatter) -> fmt::Result {
        write!(
            f,
            "temperature {:.3} and sharpness {:.2} for documents, {:.3} and {:.2} for entities",
            self.document_temperature,
            self.document_sharpness,
            self.entity_temperature,
            self.entity_sharpness
        )
    }
}

/// A logit that is `gap` below the highest comes to be `gap ^ (1 + sharpness) / temperature` below it.
///
/// Without sharpness that is a temperature (Guo et al., 2017, arXiv:1706.04599). With it close decisions become closer and
/// clear ones clearer, which a model needs that bounds its logits while it is right nearly always where they are
/// furthest apart. Temperatures that depend on the logits are those of Tomani et al., 2022 (arXiv:2102.12182), who let a network find
/// them. The order of the classes stays.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Scaling {
    /// Above 0.
    pub temperature: f32,
    /// From 0 to [`Scaling::SHARPEST`].
    pub sharpness: f32,
}

impl Scaling {
    /// Logits stay as they are.
    pub const NONE: Self = Self {
        temperature: 1.0,
        sharpness: 0.0,
    };
    /// The most that is taken for a calibration.
    pub const SHARPEST: f32 = 3.0;

    /// The scaled logits.
    pub fn apply(self, logits: [f32; 3]) -> [f32; 3] {
        if self.sharpness == 0.0 {
            return logits.map(|logit| logit / self.temperature);
        }
        let highest = logits.into_iter().fold(f32::MIN, f32::max);
        let below = |logit: f32| (highest - logit).powf(1.0 + self.sharpness);
        logits.map(|logit| (highest - below(logit)) / self.temperature)
    }
}

/// Probabilities of scaled logits (negative, neutral, positive).
pub fn sentiment(logits: [f32; 3], scaling: Scaling) -> Sentiment {
    softmax(scaling.apply(logits))
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    proptest! {
        #[test]
        fn scaling_keeps_the_order_and_goes_by_the_gaps(
            logits in prop::array::uniform3(-8f32..8.0), temperature in 0.1f32..5.0, sharpness in 0f32..2.0
        ) {
            let scaling = Scaling { temperature, sharpness };
            let scaled = scaling.apply(logits);
            let mut order = [0, 1, 2];
            order.sort_by(|&a, &b| logits[b].total_cmp(&logits[a]));
            prop_assert!(scaled[order[0]] >= scaled[order[1]] && scaled[order[1]] >= scaled[order[2]]);
            for other in &order[1..] {
                let gap = logits[order[0]] - logits[*other];
                let expected = gap.powf(1.0 + sharpness) / temperature;
                let got = scaled[order[0]] - scaled[*other];
                prop_assert!((got - expected).abs() <= 1e-3 * (1.0 + expected), "{got} {expected}");
            }
        }
    }

    #[test]
    fn equal_logits_are_equally_likely() {
        for sharpness in [0.0, 0.5] {
            let scaling = Scaling {
                temperature: 2.0,
                sharpness,
            };
            let even = sentiment([3.0; 3], scaling);
            assert!((even.negative - 1.0 / 3.0).abs() < 1e-6, "{even:?}");
        }
    }
}
