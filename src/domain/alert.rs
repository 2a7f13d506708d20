//! Alerts: what opens, is updated, and resolves or is retracted.

use super::{EntityId, Explanation, Timestamp, round};
use serde::{Deserialize, Serialize};
use sha2::{Digest, Sha256};

/// `squall.alerts`: one message in the life of an alert. Messages of one alert share `alert_id`; each has
/// its own id, so that receivers which drop repeats still get updates.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct AlertMessage {
    /// See [`message_id`].
    pub id: String,
    /// See [`alert_id`].
    pub alert_id: String,
    /// What happened to the alert.
    pub kind: AlertKind,
    /// 0 for the opening, then one more with each message of the alert.
    pub revision: u32,
    /// Event time at which it was decided.
    pub at: Timestamp,
    /// When SCORE received the mention that decided it; none when a closing window did.
    pub received_at: Option<Timestamp>,
    /// Name of the rule.
    pub rule: String,
    /// The entity.
    pub entity: EntityId,
    /// How bad it is.
    pub severity: Severity,
    /// The window that was judged.
    pub window: SpikeWindow,
    /// What was seen in it.
    pub observed: Observed,
    /// What the entity's own baseline expects in it.
    pub expected: Expected,
    /// Bounds the probability of as much evidence by chance, although every mention is looked at: 1 / e-value.
    pub p_value: f64,
    /// The most negative stories, at most 5.
    pub evidence: Vec<Evidence>,
    /// Model that scored the evidence.
    pub model: String,
    /// Why; none of messages of an earlier version.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub explanation: Option<Explanation>,
}

impl AlertMessage {
    /// Rounds what was computed to four digits, so that a message is the same before and after it was written.
    pub fn rounded(mut self) -> Self {
        self.p_value = round(self.p_value).max(1e-300);
        self.expected.mentions = round(self.expected.mentions);
        self.expected.negative = round(self.expected.negative);
        self.explanation = self.explanation.map(Explanation::rounded);
        self
    }
}

/// What happened to an alert.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum AlertKind {
    /// A spike began.
    Opened,
    /// It worsened by a step.
    Updated,
    /// It is over.
    Resolved,
    /// Its evidence was taken back.
    Retracted,
}

/// How bad a spike is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Severity {
    /// Improbable, small.
    Warning,
    /// Improbable and large.
    Critical,
}

/// A half-open interval of event time.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct SpikeWindow {
    /// First instant inside.
    pub start: Timestamp,
    /// First instant behind it.
    pub end: Timestamp,
}

/// What was seen in a window. Copies of one story count once.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
pub struct Observed {
    /// Mentions.
    pub mentions: u32,
    /// Negative ones among them.
    pub negative: u32,
    /// Distinct authors, or sources where there is no author, of the negative ones.
    pub sources: u32,
    /// Mean score of the scored mentions.
    pub mean_score: f32,
}

/// What the baseline expects in a window of the same length.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
pub struct Expected {
    /// Mentions.
    pub mentions: f64,
    /// Negative ones among them.
    pub negative: f64,
}

/// One story that speaks for the alert.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Evidence {
    /// Id of its first post.
    pub post_id: String,
    /// Headline of that post.
    pub title: String,
    /// Where it can be read.
    pub url: Option<String>,
    /// Score of that post for the entity.
    pub score: f32,
    /// Further posts of the same story.
    pub copies: u32,
}

impl AlertKind {
    /// The event type on the wire.
    pub fn event_type(self) -> &'static str {
        match self {
            Self::Opened => "sentiment.spike.opened",
            Self::Updated => "sentiment.spike.updated",
            Self::Resolved => "sentiment.spike.resolved",
            Self::Retracted => "sentiment.spike.retracted",
        }
    }

    /// Whether the alert goes on.
    pub fn is_open(self) -> bool {
        matches!(self, Self::Opened | Self::Updated)
    }

    /// The word shown to people.
    pub fn name(self) -> &'static str {
        match self {
            Self::Opened => "opened",
            Self::Updated => "updated",
            Self::Resolved => "resolved",
            Self::Retracted => "retracted",
        }
    }
}

impl Severity {
    /// The word used everywhere.
    pub fn name(self) -> &'static str {
        match self {
            Self::Warning => "warning",
            Self::Critical => "critical",
        }
    }
}

/// Id of an alert: a hash of what opened it, so that a second run over the same records gives the same id.
pub fn alert_id(rule: &str, entity: &EntityId, opened_by: &super::Origin) -> String {
    hash(&["alert", rule, entity.as_str(), &opened_by.to_string()])
}

/// Id of one message of an alert: `webhook-id`, and what makes a delivery repeatable.
pub fn message_id(alert_id: &str, kind: AlertKind, revision: u32) -> String {
    format!(
        "msg_{}",
        hash(&[alert_id, kind.event_type(), &revision.to_string()])
    )
}

/// First 24 hexadecimal digits of SHA-256 over the parts, each ended by a zero byte.
pub fn hash(parts: &[&str]) -> String {
    let mut digest = Sha256::new();
    for part in parts {
        digest.update(part.as_bytes());
        digest.update([0]);
    }
    hexadecimal(&digest.finalize()[..12])
}

/// Two lower case digits a byte.
pub fn hexadecimal(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_message_of_an_alert_has_its_own_id() {
        let opened = message_id("a", AlertKind::Opened, 0);
        assert_eq!(opened, message_id("a", AlertKind::Opened, 0));
        assert_ne!(opened, message_id("a", AlertKind::Updated, 0));
        assert_ne!(opened, message_id("a", AlertKind::Opened, 1));
        assert_ne!(opened, message_id("b", AlertKind::Opened, 0));
    }
}
