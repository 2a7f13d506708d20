//! What is sent to endpoints: messages of alerts, and what squall says of itself.

use crate::domain::{AlertMessage, Timestamp, hash};
use serde::{Deserialize, Serialize};

/// One message to endpoints. As JSON a message of an alert is the [`AlertMessage`]; the others name themselves in `notice`.
#[derive(Debug, Clone, PartialEq)]
pub enum Notice {
    /// A message of an alert.
    Alert(Box<AlertMessage>),
    /// An endpoint was disabled.
    EndpointDisabled(EndpointDisabled),
}

/// An endpoint to which nothing is sent any more.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct EndpointDisabled {
    /// Its configured name.
    pub endpoint: String,
    /// When.
    pub at: Timestamp,
    /// Why.
    pub reason: String,
}

#[derive(Serialize, Deserialize)]
#[serde(tag = "notice", rename_all = "snake_case")]
enum Tagged {
    EndpointDisabled(EndpointDisabled),
}

impl Notice {
    /// Reads what [`Notice::write`] has written, or an [`AlertMessage`].
    ///
    /// # Errors
    /// What is wrong with the JSON.
    pub fn read(text: &str) -> serde_json::Result<Self> {
        #[derive(Deserialize)]
        struct Peek {
            notice: Option<serde::de::IgnoredAny>,
        }
        if serde_json::from_str::<Peek>(text)?.notice.is_none() {
            return Ok(Self::Alert(serde_json::from_str(text)?));
        }
        Ok(match serde_json::from_str(text)? {
            Tagged::EndpointDisabled(one) => Self::EndpointDisabled(one),
        })
    }

    /// As JSON.
    pub fn write(&self) -> String {
        let written = match self {
            Self::Alert(message) => serde_json::to_string(message),
            Self::EndpointDisabled(one) => {
                serde_json::to_string(&Tagged::EndpointDisabled(one.clone()))
            }
        };
        // String keys and finite numbers only: writing them into memory cannot fail.
        written.unwrap_or_default()
    }

    /// Its own id, the receiver's `webhook-id`.
    pub fn id(&self) -> String {
        match self {
            Self::Alert(message) => message.id.clone(),
            Self::EndpointDisabled(one) => format!(
                "msg_{}",
                hash(&["endpoint", &one.endpoint, &one.at.to_string()])
            ),
        }
    }

    /// What it is about: messages of one subject come in order.
    pub fn subject(&self) -> String {
        match self {
            Self::Alert(message) => message.alert_id.clone(),
            Self::EndpointDisabled(one) => format!("endpoint:{}", one.endpoint),
        }
    }

    /// The event type on the wire.
    pub fn event_type(&self) -> &'static str {
        match self {
            Self::Alert(message) => message.kind.event_type(),
            Self::EndpointDisabled(_) => "squall.endpoint.disabled",
        }
    }

    /// When it was decided.
    pub fn at(&self) -> Timestamp {
        match self {
            Self::Alert(message) => message.at,
            Self::EndpointDisabled(one) => one.at,
        }
    }
}
