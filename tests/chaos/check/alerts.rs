//! Each alert message that had to be decided is in `alerts` once, and reached each endpoint under its one id.

use super::{differences, note};
use crate::report::Outcome;
use crate::setup::ENDPOINTS;
use crate::stage::Stage;
use squall::domain::{AlertKind, AlertMessage, message_id};
use std::collections::{BTreeMap, HashMap};

pub(super) async fn check(
    stage: &Stage<'_>,
    expected: &[AlertMessage],
    outcome: &mut Outcome,
) -> anyhow::Result<()> {
    let stored = stored(stage).await?;
    outcome.alerts = stored.len();
    let as_counts = |messages: &[AlertMessage]| {
        let line = |m: &AlertMessage| {
            let said = (m.revision, m.kind, &m.entity, &m.severity, m.observed);
            format!("{} of {}: {said:?}", m.id, m.alert_id)
        };
        let mut counts = BTreeMap::new();
        for message in messages {
            *counts.entry(line(message)).or_default() += 1;
        }
        counts
    };
    differences("alerts", as_counts(&stored), as_counts(expected), outcome);
    note("alert ids", inconsistent(&stored), outcome);
    deliveries(stage, &stored, outcome).await
}

async fn stored(stage: &Stage<'_>) -> anyhow::Result<Vec<AlertMessage>> {
    // JSON in a column of text: backslashes are doubled in TSV, so it is sent in base64.
    let rows = stage
        .database
        .rows("SELECT base64Encode(message) FROM alerts FINAL")
        .await?;
    let read = |row: Vec<String>| -> anyhow::Result<AlertMessage> {
        use base64::Engine as _;
        let bytes = base64::engine::general_purpose::STANDARD.decode(&row[0])?;
        Ok(serde_json::from_slice(&bytes)?)
    };
    rows.into_iter().map(read).collect()
}

/// Messages whose id does not follow from their alert, and alerts whose messages are not one life: opened, numbered
/// without a gap, at most one end.
fn inconsistent(messages: &[AlertMessage]) -> Vec<String> {
    let mut wrong = Vec::new();
    let mut lives: BTreeMap<&str, Vec<&AlertMessage>> = BTreeMap::new();
    for message in messages {
        if message.id != message_id(&message.alert_id, message.kind, message.revision) {
            wrong.push(format!("{} is not the id of its message", message.id));
        }
        lives.entry(&message.alert_id).or_default().push(message);
    }
    for (alert, mut life) in lives {
        life.sort_by_key(|message| message.revision);
        let numbered = life
            .iter()
            .zip(0..)
            .all(|(message, number)| message.revision == number);
        let opened = life
            .iter()
            .filter(|message| message.kind == AlertKind::Opened)
            .count();
        let ends = |message: &&&AlertMessage| {
            matches!(message.kind, AlertKind::Resolved | AlertKind::Retracted)
        };
        let last_only = life.iter().rev().skip(1).filter(ends).count() == 0;
        if !numbered || opened != 1 || life[0].kind != AlertKind::Opened || !last_only {
            let kinds: Vec<_> = life
                .iter()
                .map(|message| (message.revision, message.kind))
                .collect();
            wrong.push(format!("alert {alert} is {kinds:?}"));
        }
    }
    wrong
}

/// Every message at every endpoint, none that is not stored, and the store knows of it. What was muted under a list is
/// noted as that for all endpoints, and came to none.
async fn deliveries(
    stage: &Stage<'_>,
    stored: &[AlertMessage],
    outcome: &mut Outcome,
) -> anyhow::Result<()> {
    let mut wrong = Vec::new();
    let mut received = stage.receiver.received();
    let rows = stage.database.rows(
        "SELECT DISTINCT message_id, endpoint, outcome FROM deliveries FINAL WHERE outcome IN ('delivered', 'muted')",
    );
    let mut noted = HashMap::new();
    for row in rows.await? {
        let outcomes = noted.entry((row[1].clone(), row[0].clone()));
        outcomes.or_insert_with(Vec::new).push(row[2].clone());
    }
    for message in stored {
        let muted = |endpoint: &&str| {
            let key = ((*endpoint).to_owned(), message.id.clone());
            noted
                .get(&key)
                .is_some_and(|outcomes| *outcomes == ["muted"])
        };
        if ENDPOINTS.iter().all(muted) {
            outcome.muted += 1;
            for endpoint in ENDPOINTS {
                let key = (endpoint.to_owned(), message.id.clone());
                noted.remove(&key);
                if received.remove(&key).is_some() {
                    wrong.push(format!("{} was muted, and came to {endpoint}", message.id));
                }
            }
            continue;
        }
        for endpoint in ENDPOINTS {
            let key = (endpoint.to_owned(), message.id.clone());
            if noted
                .remove(&key)
                .is_none_or(|outcomes| outcomes != ["delivered"])
            {
                wrong.push(format!("{} to {endpoint} is not in deliveries", message.id));
            }
            let Some(came) = received.remove(&key).filter(|came| came.accepted > 0) else {
                wrong.push(format!("{} has not reached {endpoint}", message.id));
                continue;
            };
            outcome.delivered += 1;
            outcome.redelivered += came.accepted as usize - 1;
            let said = (
                message.alert_id.clone(),
                message.kind.event_type().to_owned(),
            );
            if came.bodies.keys().any(|body| *body != said) {
                wrong.push(format!(
                    "{} came as {:?}, not {said:?}",
                    message.id, came.bodies
                ));
            }
        }
    }
    wrong.extend(
        received
            .into_keys()
            .map(|key| format!("{key:?} was received, but is no stored message")),
    );
    wrong.extend(
        noted
            .into_keys()
            .map(|key| format!("{key:?} is in deliveries, but is no stored message")),
    );
    // Only what dies in the middle of a delivery may deliver again.
    let undisturbed = outcome
        .hits
        .keys()
        .all(|hit| !hit.starts_with("process") && !hit.starts_with("kill"));
    if undisturbed && outcome.redelivered > 0 {
        wrong.push(format!(
            "{} repeated, though no process was disturbed",
            outcome.redelivered
        ));
    }
    note("deliveries", wrong, outcome);
    Ok(())
}
