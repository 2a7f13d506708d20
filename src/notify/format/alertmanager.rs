//! Prometheus Alertmanager's API v2, `POST /api/v2/alerts`: <https://prometheus.io/docs/alerting/latest/clients/>.
//!
//! Alertmanager takes an alert for over when nobody repeats it; squall says each thing once. So what is open carries an end
//! far ahead, and what is over the end that it had. Severity is a label: an alert that becomes critical is another one to
//! Alertmanager, and the warning before it is ended with the same message.

use super::{Facts, alert_summary, link, name, summary};
use crate::domain::{AlertKind, EntityId, Severity, Timestamp};
use crate::notify::{Member, Notice};
use serde_json::{Value, json};
use std::time::Duration;

/// An open alert that is never ended, because squall is gone, ends by itself.
const OPEN_FOR: Duration = Duration::from_secs(24 * 3600);
/// Members of a group that are written; more would outgrow a body.
const MOST: usize = 20;

/// An array of alerts.
pub fn body(notice: &Notice, facts: Facts<'_>) -> Value {
    match notice {
        Notice::Alert(message) => {
            let member = Member::from(&**message);
            Value::Array(alerts(&member, message.window.start, notice, facts))
        }
        Notice::Group(group) => {
            let members = group.members.iter().take(MOST);
            let all = members.flat_map(|member| alerts(member, member.at, notice, facts));
            Value::Array(all.collect())
        }
        // Not sent in this format.
        Notice::Alive(_) => json!([]),
        Notice::EndpointDisabled(one) => json!([{
            "labels": {"alertname": "squall_endpoint_disabled", "endpoint": one.endpoint, "severity": "critical"},
            "annotations": {"summary": summary(notice, facts)},
            "startsAt": one.at,
            "endsAt": one.at + OPEN_FOR,
            "generatorURL": link(notice, facts),
        }]),
    }
}

/// The alert, and the warning it was before where it has become critical.
fn alerts(member: &Member, starts: Timestamp, notice: &Notice, facts: Facts<'_>) -> Vec<Value> {
    let open = member.kind.is_open();
    let ends = match open {
        true => member.at + OPEN_FOR,
        // An end before its start is refused.
        false => member.at.max(starts + Duration::from_millis(1)),
    };
    let one = |severity: Severity, ends: Timestamp| {
        json!({
            "labels": labels(member, severity),
            "annotations": {
                "summary": alert_summary(member, facts),
                "entity_name": super::shortened(&name(&member.entity, facts), 200),
                "negative": member.observed.negative.to_string(),
                "expected": format!("{:.1}", member.expected.negative),
            },
            "startsAt": starts,
            "endsAt": ends,
            "generatorURL": link(notice, facts),
        })
    };
    let mut all = vec![one(member.severity, ends)];
    if member.severity == Severity::Critical && member.kind != AlertKind::Opened {
        all.push(one(
            Severity::Warning,
            member.at.max(starts + Duration::from_millis(1)),
        ));
    }
    all
}

fn labels(member: &Member, severity: Severity) -> Value {
    let short = |id: &EntityId| super::shortened(id.as_str(), 200);
    json!({
        "alertname": super::shortened(&member.rule, 200),
        "alert_id": super::shortened(&member.alert_id, 200),
        "entity": short(&member.entity),
        "severity": severity.name(),
        "service": "squall",
    })
}
