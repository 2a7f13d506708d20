//! Why an alert was sent: what was seen and expected, and how long one waits for as much by chance.

use super::{SpikeWindow, Timestamp};
use serde::{Deserialize, Serialize};

/// What detection knew when it decided on a message.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Explanation {
    /// How much better a burst explains what is seen than the usual: an e-value, so that 1 / `e_value` is a p-value
    /// although every mention is looked at.
    pub e_value: f64,
    /// By chance as much is seen once in so many days, at the most often.
    pub once_in_days: f64,
    /// Alerts accepted per quiet entity in a month of 30 days.
    pub budget: f64,
    /// How many times as many negative mentions as expected, by their weights.
    pub effect: f64,
    /// The most telling stretch of each horizon, the shortest first.
    pub horizons: Vec<HorizonFact>,
    /// Most of the negative stories come from accounts whose names differ in their digits only.
    #[serde(default)]
    pub concert: bool,
    /// What was announced for this time.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub scheduled: Option<String>,
    /// The last hour in steps of five minutes, oldest first.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub picture: Vec<PictureStep>,
}

/// A horizon: the stretch in it that tells most.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct HorizonFact {
    /// Length in minutes.
    pub minutes: u32,
    /// The stretch.
    pub window: SpikeWindow,
    /// Stories seen in it, and negative ones among them.
    pub observed: (u32, u32),
    /// Weighted stories expected, and negative ones.
    pub expected: (f64, f64),
    /// Likelihood ratio of a burst.
    pub e_value: f64,
}

/// One step of the baseline picture.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
pub struct PictureStep {
    /// Its beginning.
    pub start: Timestamp,
    /// Stories seen, and negative ones among them.
    pub mentions: u32,
    /// Negative ones.
    pub negative: u32,
    /// Negative ones expected.
    pub expected: f64,
    /// Negative ones of which more are seen in one of a thousand such steps.
    pub high: f64,
}

impl Explanation {
    /// Rounds what is told to four digits: enough for people, and the same however it was computed.
    pub fn rounded(mut self) -> Self {
        for number in [
            &mut self.e_value,
            &mut self.once_in_days,
            &mut self.budget,
            &mut self.effect,
        ] {
            *number = round(*number);
        }
        for fact in &mut self.horizons {
            fact.expected = (round(fact.expected.0), round(fact.expected.1));
            fact.e_value = round(fact.e_value);
        }
        for step in &mut self.picture {
            step.expected = round(step.expected);
            step.high = round(step.high);
        }
        self
    }
}

/// To four significant digits, as JSON reads it back; within what a number can hold.
pub fn round(number: f64) -> f64 {
    let bounded = if number.is_nan() {
        0.0
    } else {
        number.clamp(-1e300, 1e300)
    };
    format!("{bounded:.3e}").parse().unwrap_or(0.0)
}
