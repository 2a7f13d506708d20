//! Where a record came from: the identity on which order and exactly-once rest.

use serde::{Deserialize, Serialize};
use std::fmt;
use std::str::FromStr;
use std::sync::Arc;

/// One partition of one topic in one life of a Kafka cluster.
///
/// The epoch names that life, so that a recreated topic or a restarted embedded broker, whose offsets
/// begin again at 0, never looks like a repeat.
#[derive(Debug, Clone, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
pub struct SourcePartition {
    /// Name of the Kafka cluster's life.
    pub epoch: Arc<str>,
    /// Topic the post was read from.
    pub topic: Arc<str>,
    /// Partition of that topic.
    pub partition: i32,
}

/// Identity of a post as squall received it. Displays as `epoch:topic:partition:offset`.
#[derive(Debug, Clone, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
pub struct Origin {
    /// Source partition of the record.
    #[serde(flatten)]
    pub source: SourcePartition,
    /// Offset within that partition.
    pub offset: i64,
}

/// How far a source partition has been seen: the offset of a post and the ordinal of a mention in it.
/// A record at or below the highest position seen is a repeat.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
pub struct Position {
    /// Offset in the source partition.
    pub offset: i64,
    /// Ordinal of the mention in the post, from 0.
    pub ordinal: u32,
}

impl fmt::Display for SourcePartition {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}:{}:{}", self.epoch, self.topic, self.partition)
    }
}

impl fmt::Display for Origin {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}:{}", self.source, self.offset)
    }
}

impl FromStr for Origin {
    type Err = String;

    /// Reads what it displays as.
    fn from_str(text: &str) -> Result<Self, String> {
        let parse = || {
            let (epoch, rest) = text.split_once(':')?;
            let (rest, offset) = rest.rsplit_once(':')?;
            let (topic, partition) = rest.rsplit_once(':')?;
            let origin = Self {
                source: SourcePartition {
                    epoch: epoch.into(),
                    topic: topic.into(),
                    partition: partition.parse().ok()?,
                },
                offset: offset.parse().ok()?,
            };
            let complete = !epoch.is_empty() && !topic.is_empty();
            (complete && origin.source.partition >= 0 && origin.offset >= 0).then_some(origin)
        };
        parse().ok_or_else(|| {
            format!("'{text}' is not an origin: write it as epoch:topic:partition:offset")
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_origin_reads_back_and_anything_else_is_refused() {
        for text in [
            "prod-1:news:0:0",
            "embedded-0f:a.b-c_d:12:9223372036854775807",
        ] {
            assert_eq!(text.parse::<Origin>().unwrap().to_string(), text);
        }
        for text in [
            "",
            ":",
            ":::",
            "e:t:0",
            "e:t:0:",
            "e::0:1",
            ":t:0:1",
            "e:t:x:1",
            "e:t:-1:1",
            "e:t:0:-1",
            "e:t:0:9223372036854775808",
            "e:t:0:1 ",
        ] {
            assert!(text.parse::<Origin>().is_err(), "{text}");
        }
    }
}
