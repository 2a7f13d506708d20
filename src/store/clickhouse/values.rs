//! Values as columns hold them.

use crate::domain::{Sentiment, Timestamp};
use serde::de::DeserializeOwned;
use serde::{Serialize, de};
use std::time::Duration;

/// What DateTime64 holds: 1900-01-01 to the end of 2299.
pub const EARLIEST: i64 = -2_208_988_800_000;
/// See [`EARLIEST`].
pub const LATEST: i64 = 10_413_791_999_999;

/// The last second that DateTime holds, in 2106.
const LAST_SECOND: i64 = u32::MAX as i64;

/// A time of DateTime64, moved to its range.
pub fn millis(time: Timestamp) -> i64 {
    time.millis().clamp(EARLIEST, LATEST)
}

/// A time out of DateTime64.
pub fn time(millis: i64) -> Timestamp {
    Timestamp::from_millis(millis)
}

/// A time out of DateTime.
pub fn second(seconds: u32) -> Timestamp {
    Timestamp::from_millis(i64::from(seconds) * 1000)
}

/// First and last start of those steps (whole minutes or hours) that begin before `to` and, widened to a whole one, not
/// before `from`; in seconds of DateTime, whose edges hold all that is beyond them.
pub fn steps(from: Timestamp, to: Timestamp, step: Duration) -> (u32, u32) {
    let length = (step.as_secs() as i64).max(1);
    let within = |time: Timestamp| {
        let seconds = time.floor(step).millis().div_euclid(1000);
        seconds.clamp(0, LAST_SECOND / length * length) as u32
    };
    let last = to - Duration::from_millis(1);
    // The wrong way round there are none: the last lies before the first.
    if last.floor(step) < from.floor(step) {
        return (1, 0);
    }
    (within(from), within(last))
}

/// A sentiment in three columns; all empty where one of them is no number.
#[derive(Debug, Clone, Copy, Default)]
pub struct Probabilities {
    /// p_negative.
    pub negative: Option<f32>,
    /// p_neutral.
    pub neutral: Option<f32>,
    /// p_positive.
    pub positive: Option<f32>,
}

impl Probabilities {
    /// Of a sentiment, if there is one.
    pub fn of(sentiment: Option<Sentiment>) -> Self {
        let Some(sentiment) = sentiment.filter(Sentiment::is_finite) else {
            return Self::default();
        };
        Self {
            negative: Some(sentiment.negative),
            neutral: Some(sentiment.neutral),
            positive: Some(sentiment.positive),
        }
    }
}

/// A sentiment out of three columns.
pub fn sentiment(
    negative: Option<f32>,
    neutral: Option<f32>,
    positive: Option<f32>,
) -> Option<Sentiment> {
    Some(Sentiment {
        negative: negative?,
        neutral: neutral?,
        positive: positive?,
    })
}

/// JSON for a column.
pub fn json(value: &impl Serialize) -> String {
    // Types of ours, whose keys are texts: they always can be written.
    serde_json::to_string(value).unwrap_or_default()
}

/// JSON out of a column.
pub fn from_json<T: DeserializeOwned>(text: &str) -> Result<T, clickhouse::error::Error> {
    serde_json::from_str(text).map_err(de::Error::custom)
}

/// A count out of a sum of floating-point numbers: exact up to 2^53, where it ends.
pub fn count(sum: f64) -> u64 {
    sum.clamp(0.0, (1u64 << 53) as f64) as u64
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn steps_are_those_that_begin_before_the_end() {
        let minute = Duration::from_secs(60);
        let at = |millis| Timestamp::from_millis(millis);
        assert_eq!(steps(at(30_000), at(120_000), minute), (0, 60));
        assert_eq!(steps(at(30_000), at(120_001), minute), (0, 120));
        assert_eq!(steps(at(120_000), at(60_000), minute), (1, 0));
        // What lies beyond the edges is at them.
        assert_eq!(steps(at(i64::MIN), at(1), minute), (0, 0));
        assert_eq!(
            steps(at(LATEST - 1), at(LATEST), minute),
            (4_294_967_280, 4_294_967_280)
        );
        assert_eq!(
            steps(at(i64::MIN), at(i64::MAX), 60 * minute),
            (0, 4_294_965_600)
        );
    }
}
