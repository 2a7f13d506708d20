//! Sentiment: three probabilities, and what follows from them.

use serde::{Deserialize, Serialize};
use std::fmt;

/// Probabilities of the three classes, from the view of someone who holds the entity's shares or debt.
/// They sum to 1 up to rounding.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
pub struct Sentiment {
    /// Probability that the text is bad news.
    #[serde(rename = "p_negative")]
    pub negative: f32,
    /// Probability that it is neither.
    #[serde(rename = "p_neutral")]
    pub neutral: f32,
    /// Probability that it is good news.
    #[serde(rename = "p_positive")]
    pub positive: f32,
}

/// Two probabilities that are less than this apart leave the label open.
pub const UNCERTAIN: f32 = 0.2;

/// The most probable class.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Label {
    /// Bad news.
    Negative,
    /// Neither, or not about the entity's worth.
    Neutral,
    /// Good news.
    Positive,
}

impl Sentiment {
    /// positive - negative, in [-1, 1].
    pub fn score(&self) -> f32 {
        self.positive - self.negative
    }

    /// Whether the two most probable classes are less than [`UNCERTAIN`] apart: nobody should rely on the label.
    pub fn is_uncertain(&self) -> bool {
        let mut all = [self.negative, self.neutral, self.positive];
        all.sort_by(f32::total_cmp);
        all[2] - all[1] < UNCERTAIN
    }

    /// The probability of a class.
    pub fn probability(&self, label: Label) -> f32 {
        match label {
            Label::Negative => self.negative,
            Label::Neutral => self.neutral,
            Label::Positive => self.positive,
        }
    }

    /// Whether all three are numbers: what sums may be made of.
    pub fn is_finite(&self) -> bool {
        [self.negative, self.neutral, self.positive]
            .iter()
            .all(|probability| probability.is_finite())
    }

    /// The most probable class; a tie goes to negative, then neutral: the risk is named.
    pub fn label(&self) -> Label {
        if self.negative >= self.neutral && self.negative >= self.positive {
            Label::Negative
        } else if self.neutral >= self.positive {
            Label::Neutral
        } else {
            Label::Positive
        }
    }
}

impl Label {
    /// All labels, in the order of the probabilities.
    pub const ALL: [Self; 3] = [Self::Negative, Self::Neutral, Self::Positive];

    /// The word used in every file and message.
    pub fn name(self) -> &'static str {
        match self {
            Self::Negative => "negative",
            Self::Neutral => "neutral",
            Self::Positive => "positive",
        }
    }
}

impl fmt::Display for Label {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(self.name())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_close_call_is_uncertain() {
        let sentiment = |negative, neutral, positive| Sentiment {
            negative,
            neutral,
            positive,
        };
        assert!(sentiment(0.5, 0.1, 0.4).is_uncertain());
        assert!(!sentiment(0.6, 0.1, 0.3).is_uncertain());
        assert_eq!(sentiment(0.5, 0.1, 0.4).probability(Label::Positive), 0.4);
    }
}
