//! Notices of every kind, on which formats are tried when the program starts, and that `squall alerts test` sends.

use crate::domain::{
    AlertKind, AlertMessage, Evidence, Expected, Observed, Severity, SpikeWindow, Timestamp,
    message_id,
};
use crate::notify::{Alive, EndpointDisabled, Group, Notice};
use std::time::Duration;

/// One of each kind and severity, about an entity that does not exist.
pub fn samples() -> Vec<Notice> {
    let at = Timestamp::EPOCH + Duration::from_secs(1_795_338_901);
    let kinds = [
        (AlertKind::Opened, Severity::Warning),
        (AlertKind::Updated, Severity::Critical),
        (AlertKind::Resolved, Severity::Critical),
        (AlertKind::Retracted, Severity::Warning),
    ];
    let messages = (0..).zip(kinds);
    let messages: Vec<AlertMessage> = messages
        .map(|(revision, (kind, severity))| message(kind, revision, severity, at))
        .collect();
    let group = |revision, of: &[&AlertMessage]| {
        Notice::Group(Group {
            group_id: "sample".into(),
            revision,
            at,
            list: "sector:Sample".into(),
            members: of.iter().map(|message| (*message).into()).collect(),
        })
    };
    let groups = [
        group(0, &[&messages[0], &messages[1]]),
        group(1, &[&messages[2], &messages[3]]),
    ];
    let disabled = Notice::EndpointDisabled(EndpointDisabled {
        endpoint: "sample".into(),
        at,
        reason: "it has answered 410 Gone: nothing more is sent to it".into(),
    });
    let alerts = messages
        .into_iter()
        .map(|message| Notice::Alert(Box::new(message)));
    let alive = Notice::Alive(Alive {
        at,
        pending: 0,
        problems: vec!["store: the database is away".into()],
    });
    alerts.chain(groups).chain([disabled, alive]).collect()
}

/// A message about an entity that does not exist.
pub fn message(kind: AlertKind, revision: u32, severity: Severity, at: Timestamp) -> AlertMessage {
    let minute = Duration::from_secs(60);
    AlertMessage {
        id: message_id("sample", kind, revision),
        alert_id: "sample".into(),
        kind,
        revision,
        at,
        received_at: None,
        rule: "negative-spike".into(),
        entity: "SAMPLE".into(),
        severity,
        window: SpikeWindow {
            start: at.floor(minute),
            end: at.floor(minute) + minute,
        },
        observed: Observed {
            mentions: 41,
            negative: 33,
            sources: 19,
            mean_score: -0.71,
        },
        expected: Expected {
            mentions: 9.2,
            negative: 1.4,
        },
        p_value: 1.2e-11,
        evidence: vec![Evidence {
            post_id: "sample-1".into(),
            title: "A sample \"quoted\" <headline> & more".into(),
            url: None,
            score: -0.96,
            copies: 7,
        }],
        model: "sample".into(),
        explanation: None,
    }
}

/// What is sent to try an endpoint: an alert that is over, so that nobody is woken up, under an id of its own.
pub fn sample(at: Timestamp) -> Notice {
    let mut message = message(AlertKind::Resolved, 0, Severity::Warning, at);
    message.alert_id = format!("sample-{}", at.millis());
    message.id = message_id(&message.alert_id, message.kind, message.revision);
    Notice::Alert(Box::new(message))
}
