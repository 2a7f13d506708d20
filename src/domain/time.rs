//! Instants, and the rule that turns a claimed publication time into event time.

use serde::{Deserialize, Deserializer, Serialize, Serializer};
use std::fmt;
use std::str::FromStr;
use std::time::Duration;

/// An instant in milliseconds since the Unix epoch, UTC. Written as RFC 3339 with milliseconds.
///
/// Arithmetic saturates; every value from year 1 to 9999 prints and reads back unchanged.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Default)]
pub struct Timestamp(i64);

/// Milliseconds of 0001-01-01, and of an instant in the last days of 9999 that is a valid time at any offset.
const EARLIEST: i64 = -62_135_596_800_000;
const LATEST: i64 = 253_402_000_000_000;

/// How far a post may claim to be ahead of the record that carried it.
const CLAIM_AHEAD: Duration = Duration::from_secs(5);

impl Timestamp {
    /// The Unix epoch.
    pub const EPOCH: Self = Self(0);

    /// From milliseconds since the Unix epoch, clamped to the years 1 to 9999.
    pub fn from_millis(millis: i64) -> Self {
        Self(millis.clamp(EARLIEST, LATEST))
    }

    /// Milliseconds since the Unix epoch.
    pub fn millis(self) -> i64 {
        self.0
    }

    /// The machine's clock. Only roles and adapters call this: pure code is handed its time.
    pub fn now() -> Self {
        Self::from_millis(jiff::Timestamp::now().as_millisecond())
    }

    /// The start of the interval of length `step` (counted from the Unix epoch) this instant lies in.
    pub fn floor(self, step: Duration) -> Self {
        let step = (step.as_millis() as i64).max(1);
        Self(self.0 - self.0.rem_euclid(step))
    }

    /// The time from `earlier` to this, zero when `earlier` is later.
    pub fn since(self, earlier: Self) -> Duration {
        Duration::from_millis(self.0.saturating_sub(earlier.0).max(0) as u64)
    }
}

impl std::ops::Add<Duration> for Timestamp {
    type Output = Self;
    fn add(self, duration: Duration) -> Self {
        Self::from_millis(self.0.saturating_add(duration.as_millis() as i64))
    }
}

impl std::ops::Sub<Duration> for Timestamp {
    type Output = Self;
    fn sub(self, duration: Duration) -> Self {
        Self::from_millis(self.0.saturating_sub(duration.as_millis() as i64))
    }
}

impl fmt::Display for Timestamp {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match jiff::Timestamp::from_millisecond(self.0) {
            Ok(instant) => write!(f, "{instant:.3}"),
            Err(_) => write!(f, "{}ms", self.0),
        }
    }
}

impl FromStr for Timestamp {
    type Err = String;

    /// Reads RFC 3339 with any offset; a time without an offset is taken as UTC.
    fn from_str(text: &str) -> Result<Self, String> {
        if let Ok(instant) = text.parse::<jiff::Timestamp>() {
            return Ok(Self::from_millis(instant.as_millisecond()));
        }
        text.parse::<jiff::civil::DateTime>()
            .ok()
            .and_then(|civil| jiff::tz::TimeZone::UTC.to_timestamp(civil).ok())
            .map(|instant| Self::from_millis(instant.as_millisecond()))
            .ok_or_else(|| format!("'{text}' is not a time: write it as 2026-11-23T09:14:00Z"))
    }
}

impl Serialize for Timestamp {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

impl<'de> Deserialize<'de> for Timestamp {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let text = std::borrow::Cow::<str>::deserialize(deserializer)?;
        text.parse().map_err(serde::de::Error::custom)
    }
}

/// Event time of a post: what it claims, but never more than 5 s ahead of the record that carried it.
///
/// `claimed` is the post's `published_at`; without one the record's own timestamp counts.
pub fn event_time(claimed: Option<Timestamp>, record: Timestamp) -> Timestamp {
    claimed.map_or(record, |claimed| claimed.min(record + CLAIM_AHEAD))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn reads_what_it_writes() {
        for millis in [0, 1, -1, 1_763_888_040_123, EARLIEST, LATEST] {
            let instant = Timestamp::from_millis(millis);
            assert_eq!(instant.to_string().parse(), Ok(instant), "{instant}");
        }
        assert_eq!(
            "2026-11-23T10:14:00+01:00".parse::<Timestamp>(),
            "2026-11-23T09:14:00Z".parse::<Timestamp>()
        );
        assert!("yesterday".parse::<Timestamp>().is_err());
    }

    #[test]
    fn a_claim_from_the_future_is_capped_and_one_from_the_past_kept() {
        let record: Timestamp = "2026-11-23T09:14:00Z".parse().unwrap();
        let far: Timestamp = "2099-01-01T00:00:00Z".parse().unwrap();
        assert_eq!(
            event_time(Some(far), record),
            record + Duration::from_secs(5)
        );
        assert_eq!(event_time(Some(Timestamp::EPOCH), record), Timestamp::EPOCH);
        assert_eq!(event_time(None, record), record);
    }

    #[test]
    fn floors_before_the_epoch_too() {
        let minute = Duration::from_secs(60);
        assert_eq!(Timestamp::from_millis(-1).floor(minute).millis(), -60_000);
        assert_eq!(
            Timestamp::from_millis(61_000).floor(minute).millis(),
            60_000
        );
    }
}
