//! What is sent to endpoints: messages of alerts, one message for several alerts, and what squall says of itself.

use crate::domain::{
    AlertKind, AlertMessage, EntityId, Expected, Observed, Severity, Timestamp, hash,
};
use serde::{Deserialize, Serialize};

/// One message to endpoints. As JSON a message of an alert is the [`AlertMessage`]; the others name themselves in `notice`.
#[derive(Debug, Clone, PartialEq)]
pub enum Notice {
    /// A message of an alert.
    Alert(Box<AlertMessage>),
    /// Several alerts in one message.
    Group(Group),
    /// An endpoint was disabled.
    EndpointDisabled(EndpointDisabled),
    /// squall is alive: when this stops coming, it is not.
    Alive(Alive),
}

/// Alerts on members of one list that came together.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Group {
    /// What all messages of the group share.
    pub group_id: String,
    /// 0 for its first message, then one more with each.
    pub revision: u32,
    /// When this message was made.
    pub at: Timestamp,
    /// The list.
    pub list: EntityId,
    /// All alerts of the group, each as its latest message has it.
    pub members: Vec<Member>,
}

/// One alert of a group.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[expect(missing_docs, reason = "as in AlertMessage")]
pub struct Member {
    pub alert_id: String,
    pub kind: AlertKind,
    pub at: Timestamp,
    pub rule: String,
    pub entity: EntityId,
    pub severity: Severity,
    pub observed: Observed,
    pub expected: Expected,
    pub p_value: f64,
}

/// That squall is alive, and what keeps it from working.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Alive {
    /// When.
    pub at: Timestamp,
    /// Deliveries that have not ended.
    pub pending: usize,
    /// What does not work in the process that delivers, one line each.
    pub problems: Vec<String>,
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
    Group(Group),
    EndpointDisabled(EndpointDisabled),
    Alive(Alive),
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
            Tagged::Group(group) => Self::Group(group),
            Tagged::EndpointDisabled(one) => Self::EndpointDisabled(one),
            Tagged::Alive(one) => Self::Alive(one),
        })
    }

    /// As JSON.
    pub fn write(&self) -> String {
        let written = match self {
            Self::Alert(message) => serde_json::to_string(message),
            Self::Group(group) => serde_json::to_string(&Tagged::Group(group.clone())),
            Self::EndpointDisabled(one) => {
                serde_json::to_string(&Tagged::EndpointDisabled(one.clone()))
            }
            Self::Alive(one) => serde_json::to_string(&Tagged::Alive(one.clone())),
        };
        // String keys and finite numbers only: writing them into memory cannot fail.
        written.unwrap_or_default()
    }

    /// Its own id, the receiver's `webhook-id`.
    pub fn id(&self) -> String {
        match self {
            Self::Alert(message) => message.id.clone(),
            Self::Group(group) => {
                crate::domain::message_id(&group.group_id, group.kind(), group.revision)
            }
            Self::EndpointDisabled(one) => format!(
                "msg_{}",
                hash(&["endpoint", &one.endpoint, &one.at.to_string()])
            ),
            Self::Alive(one) => format!("msg_{}", hash(&["alive", &one.at.to_string()])),
        }
    }

    /// What it is about: messages of one subject come in order.
    pub fn subject(&self) -> String {
        match self {
            Self::Alert(message) => message.alert_id.clone(),
            Self::Group(group) => group.group_id.clone(),
            Self::EndpointDisabled(one) => format!("endpoint:{}", one.endpoint),
            Self::Alive(_) => "alive".into(),
        }
    }

    /// How bad it is; of a group the worst that is open.
    pub fn severity(&self) -> Severity {
        match self {
            Self::Alert(message) => message.severity,
            Self::Group(group) => group.severity(),
            Self::EndpointDisabled(_) => Severity::Critical,
            Self::Alive(_) => Severity::Warning,
        }
    }

    /// The event type on the wire.
    pub fn event_type(&self) -> &'static str {
        match self {
            Self::Alert(message) => message.kind.event_type(),
            Self::Group(group) => match group.kind() {
                AlertKind::Opened => "sentiment.group.opened",
                AlertKind::Updated => "sentiment.group.updated",
                AlertKind::Resolved | AlertKind::Retracted => "sentiment.group.resolved",
            },
            Self::EndpointDisabled(_) => "squall.endpoint.disabled",
            Self::Alive(_) => "squall.alive",
        }
    }

    /// When it was decided.
    pub fn at(&self) -> Timestamp {
        match self {
            Self::Alert(message) => message.at,
            Self::Group(group) => group.at,
            Self::EndpointDisabled(one) => one.at,
            Self::Alive(one) => one.at,
        }
    }
}

impl Group {
    /// What this message says of the group: opened at first, resolved when all its alerts have ended.
    pub fn kind(&self) -> AlertKind {
        match self.members.iter().any(|member| member.kind.is_open()) {
            false => AlertKind::Resolved,
            true if self.revision == 0 => AlertKind::Opened,
            true => AlertKind::Updated,
        }
    }

    /// The worst of the alerts that are open, or of all where none is.
    pub fn severity(&self) -> Severity {
        let open = self.members.iter().filter(|member| member.kind.is_open());
        let all = self.members.iter().map(|member| member.severity).max();
        let worst = open.map(|member| member.severity).max().or(all);
        worst.unwrap_or(Severity::Warning)
    }
}

impl From<&AlertMessage> for Member {
    fn from(message: &AlertMessage) -> Self {
        Self {
            alert_id: message.alert_id.clone(),
            kind: message.kind,
            at: message.at,
            rule: message.rule.clone(),
            entity: message.entity.clone(),
            severity: message.severity,
            observed: message.observed,
            expected: message.expected,
            p_value: message.p_value,
        }
    }
}
