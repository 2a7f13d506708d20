//! PagerDuty's Events API v2: <https://developer.pagerduty.com/docs/send-alert-event>.

use super::{Facts, link, name, summary};
use crate::config::Secret;
use crate::domain::Severity;
use crate::notify::Notice;
use serde_json::{Value, json};

/// One event: an incident is opened and updated by `trigger`, and ended by `resolve`, under the alert's id.
pub fn body(notice: &Notice, facts: Facts<'_>, routing_key: &Secret) -> Value {
    let (open, class, component, details) = match notice {
        Notice::Alert(message) => (
            message.kind.is_open(),
            message.rule.clone(),
            name(&message.entity, facts),
            json!({
                "window": message.window, "observed": message.observed, "expected": message.expected,
                "p_value": message.p_value, "model": super::shortened(&message.model, 200),
                "stories": message.evidence.iter().take(3).map(|one| super::shortened(&one.title, 200)).collect::<Vec<_>>(),
            }),
        ),
        Notice::Group(group) => (
            group.kind().is_open(),
            "group".into(),
            name(&group.list, facts),
            json!({
                "alerts": group.members.len(),
                "entities": group.members.iter().take(50).map(|one| super::shortened(one.entity.as_str(), 100)).collect::<Vec<_>>(),
            }),
        ),
        Notice::EndpointDisabled(one) => (
            true,
            "squall".into(),
            one.endpoint.clone(),
            json!({"reason": super::shortened(&one.reason, 500)}),
        ),
        // Not sent in this format.
        Notice::Alive(_) => (false, "squall".into(), "squall".into(), Value::Null),
    };
    let dedup_key = super::shortened(&notice.subject(), 200);
    if !open {
        return json!({"routing_key": routing_key.expose(), "event_action": "resolve", "dedup_key": dedup_key});
    }
    let severity = match notice.severity() {
        Severity::Warning => "warning",
        Severity::Critical => "critical",
    };
    json!({
        "routing_key": routing_key.expose(),
        "event_action": "trigger",
        "dedup_key": dedup_key,
        "client": "squall",
        "client_url": link(notice, facts),
        "payload": {
            "summary": summary(notice, facts),
            "source": "squall",
            "severity": severity,
            "timestamp": notice.at(),
            "class": super::shortened(&class, 200),
            "component": super::shortened(&component, 200),
            "custom_details": details,
        },
    })
}
