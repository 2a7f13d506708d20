//! Durations as people write them: `500ms`, `20s`, `15m`, `24h`.

use serde::{Deserialize, Deserializer, Serializer, de::Error};
use std::time::Duration;

/// Reads one.
pub fn parse(text: &str) -> Result<Duration, String> {
    text.parse::<jiff::SignedDuration>()
        .ok()
        .and_then(|signed| Duration::try_from(signed).ok())
        .ok_or_else(|| format!("'{text}' is not a duration: write it as 500ms, 20s, 15m or 24h"))
}

/// Writes one in the shortest exact unit.
pub fn format(duration: Duration) -> String {
    let millis = duration.as_millis();
    match millis {
        0 => "0s".into(),
        _ if millis.is_multiple_of(3_600_000) => format!("{}h", millis / 3_600_000),
        _ if millis.is_multiple_of(60_000) => format!("{}m", millis / 60_000),
        _ if millis.is_multiple_of(1000) => format!("{}s", millis / 1000),
        _ => format!("{millis}ms"),
    }
}

/// For `#[serde(with = …)]`.
pub fn serialize<S: Serializer>(duration: &Duration, serializer: S) -> Result<S::Ok, S::Error> {
    serializer.serialize_str(&format(*duration))
}

/// For `#[serde(with = …)]`.
pub fn deserialize<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Duration, D::Error> {
    let text = String::deserialize(deserializer)?;
    parse(&text).map_err(D::Error::custom)
}

/// The same for a list of durations.
pub mod list {
    use super::{Duration, Error as _, format, parse};
    use serde::{Deserialize, Deserializer, Serializer};

    /// For `#[serde(with = …)]`.
    pub fn serialize<S: Serializer>(list: &[Duration], serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_seq(list.iter().map(|duration| format(*duration)))
    }

    /// For `#[serde(with = …)]`.
    pub fn deserialize<'de, D: Deserializer<'de>>(
        deserializer: D,
    ) -> Result<Vec<Duration>, D::Error> {
        let texts = Vec::<String>::deserialize(deserializer)?;
        texts
            .iter()
            .map(|text| parse(text))
            .collect::<Result<_, _>>()
            .map_err(D::Error::custom)
    }
}

/// The same for a list that may not be there.
pub mod optional_list {
    use super::{Duration, list};
    use serde::{Deserializer, Serializer};

    /// For `#[serde(with = …)]`.
    pub fn serialize<S: Serializer>(
        found: &Option<Vec<Duration>>,
        serializer: S,
    ) -> Result<S::Ok, S::Error> {
        list::serialize(found.as_deref().unwrap_or_default(), serializer)
    }

    /// For `#[serde(with = …)]`.
    pub fn deserialize<'de, D: Deserializer<'de>>(
        deserializer: D,
    ) -> Result<Option<Vec<Duration>>, D::Error> {
        list::deserialize(deserializer).map(Some)
    }
}

/// The same for one that may be left out.
pub mod option {
    use super::{Duration, Error as _, format, parse};
    use serde::{Deserialize, Deserializer, Serializer};

    /// For `#[serde(with = …)]`.
    pub fn serialize<S: Serializer>(
        duration: &Option<Duration>,
        serializer: S,
    ) -> Result<S::Ok, S::Error> {
        match duration {
            Some(duration) => serializer.serialize_some(&format(*duration)),
            None => serializer.serialize_none(),
        }
    }

    /// For `#[serde(with = …)]`.
    pub fn deserialize<'de, D: Deserializer<'de>>(
        deserializer: D,
    ) -> Result<Option<Duration>, D::Error> {
        let text = Option::<String>::deserialize(deserializer)?;
        let read = text.map(|text| parse(&text)).transpose();
        read.map_err(D::Error::custom)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn reads_what_it_writes() {
        for text in ["500ms", "20s", "15m", "24h", "0s"] {
            assert_eq!(format(parse(text).unwrap()), text);
        }
        assert!(parse("-5s").is_err());
        assert!(parse("soon").is_err());
    }
}
