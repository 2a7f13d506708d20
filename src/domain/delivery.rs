//! Deliveries: one alert message to one endpoint, and how it ended.

use super::Timestamp;
use serde::{Deserialize, Serialize};

/// `squall.deliveries`: how the delivery of one alert message to one endpoint ended.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Delivery {
    /// Id of the alert message, the receiver's `webhook-id`.
    pub message_id: String,
    /// The alert.
    pub alert_id: String,
    /// Configured name of the endpoint.
    pub endpoint: String,
    /// How it ended.
    pub outcome: Outcome,
    /// Attempts made.
    pub attempts: u32,
    /// HTTP status of the last answer, where there was one.
    pub status: Option<u16>,
    /// What went wrong in the last attempt; empty after success.
    pub error: String,
    /// When the first attempt began.
    pub first_attempt_at: Timestamp,
    /// When it ended.
    pub ended_at: Timestamp,
}

/// How a delivery ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Outcome {
    /// The receiver answered 2xx.
    Delivered,
    /// Every attempt failed.
    Failed,
    /// The receiver answered 410 Gone: no further attempt is made.
    Gone,
    /// The alert was older than `detect.max_alert_age`: no attempt was made.
    #[serde(rename = "too_old")]
    TooOld,
    /// The endpoint has failed for days and is disabled: no further attempt is made.
    Disabled,
    /// The endpoint's template could not write this message: no attempt was made.
    Unwritable,
    /// Somebody has silenced it.
    Silenced,
    /// An alert on a list that its entity is on is open, or nothing of it was sent before.
    Muted,
    /// It is not worse than when somebody acknowledged it.
    Acknowledged,
    /// The message of a group that it belongs to tells of it.
    Grouped,
}

impl Outcome {
    /// Whether the receiver should have got it and did not.
    pub fn is_failure(self) -> bool {
        match self {
            Self::Failed | Self::Gone | Self::TooOld | Self::Disabled | Self::Unwritable => true,
            Self::Delivered | Self::Silenced | Self::Muted | Self::Acknowledged | Self::Grouped => {
                false
            }
        }
    }

    /// The word used in metrics and tables.
    pub fn name(self) -> &'static str {
        match self {
            Self::Delivered => "delivered",
            Self::Failed => "failed",
            Self::Gone => "gone",
            Self::TooOld => "too_old",
            Self::Disabled => "disabled",
            Self::Unwritable => "unwritable",
            Self::Silenced => "silenced",
            Self::Muted => "muted",
            Self::Acknowledged => "acknowledged",
            Self::Grouped => "grouped",
        }
    }
}
