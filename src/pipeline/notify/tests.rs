//! The role with a broker, receivers, and a state that can fail.

use crate::domain::{
    AlertKind, AlertMessage, Expected, Observed, Severity, SpikeWindow, Timestamp,
};

/// A message of an alert, without evidence.
pub(super) fn alert(alert_id: &str, revision: u32, at: Timestamp) -> AlertMessage {
    AlertMessage {
        id: format!("msg_{alert_id}_{revision}"),
        alert_id: alert_id.into(),
        kind: match revision {
            0 => AlertKind::Opened,
            _ => AlertKind::Updated,
        },
        revision,
        at,
        received_at: Some(at),
        rule: "negative-spike".into(),
        entity: "ACME".into(),
        severity: Severity::Critical,
        window: SpikeWindow { start: at, end: at },
        observed: Observed {
            mentions: 9,
            negative: 8,
            sources: 7,
            mean_score: -0.5,
        },
        expected: Expected {
            mentions: 1.0,
            negative: 0.5,
        },
        p_value: 1e-9,
        evidence: Vec::new(),
        model: "m".into(),
    }
}
