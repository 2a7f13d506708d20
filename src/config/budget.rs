//! How many alerts someone accepts: `0.1/month`, `1/day`.

use serde::{Deserialize, Deserializer, Serialize, Serializer};
use std::fmt;
use std::str::FromStr;

/// Alerts accepted per quiet entity (or list) in some time.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Budget {
    alerts: f64,
    every: Period,
}

#[derive(Debug, Clone, Copy, PartialEq)]
enum Period {
    Day,
    Week,
    Month,
    Year,
}

const PERIODS: [(&str, Period, f64); 4] = [
    ("day", Period::Day, 30.0),
    ("week", Period::Week, 30.0 / 7.0),
    ("month", Period::Month, 1.0),
    ("year", Period::Year, 30.0 / 365.0),
];

impl Budget {
    /// In a month of 30 days.
    pub fn per_month(self) -> f64 {
        let month = PERIODS.iter().find(|(_, period, _)| *period == self.every);
        self.alerts * month.map_or(1.0, |(_, _, times)| *times)
    }
}

impl FromStr for Budget {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let wrong = || {
            format!(
                "'{text}' is no budget: write alerts per entity and time, as 0.1/month or 1/day"
            )
        };
        let (alerts, every) = text.split_once('/').ok_or_else(wrong)?;
        let alerts: f64 = alerts.trim().parse().map_err(|_| wrong())?;
        let period = PERIODS
            .iter()
            .find(|(name, ..)| *name == every.trim())
            .ok_or_else(wrong)?;
        if !(alerts > 0.0 && alerts <= 1e6) {
            return Err(wrong());
        }
        Ok(Self {
            alerts,
            every: period.1,
        })
    }
}

impl fmt::Display for Budget {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let every = PERIODS.iter().find(|(_, period, _)| *period == self.every);
        write!(
            f,
            "{}/{}",
            self.alerts,
            every.map_or("month", |(name, ..)| name)
        )
    }
}

impl Serialize for Budget {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

impl<'de> Deserialize<'de> for Budget {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let text = std::borrow::Cow::<str>::deserialize(deserializer)?;
        text.parse().map_err(serde::de::Error::custom)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn is_read_and_written() {
        for (text, month) in [("0.1/month", 0.1), ("1/day", 30.0), (" 7 / week ", 30.0)] {
            let budget: Budget = text.parse().unwrap();
            assert!((budget.per_month() - month).abs() < 1e-9);
            assert_eq!(budget.to_string().parse::<Budget>().unwrap(), budget);
        }
        for wrong in [
            "",
            "1",
            "x/day",
            "1/hour",
            "0/day",
            "-1/day",
            "NaN/day",
            "inf/month",
        ] {
            assert!(
                wrong
                    .parse::<Budget>()
                    .unwrap_err()
                    .contains("is no budget")
            );
        }
    }
}
