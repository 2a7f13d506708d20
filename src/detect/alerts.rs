//! The life of an entity's alert: it opens, worsens, and resolves or is retracted. One at a time.

use super::horizons::Finding;
use super::likelihood::Expectation;
use super::minutes::Tally;
use super::rules::Rule;
use super::snapshot::{AlertSnapshot, Exact, GroundSnapshot, OpenSnapshot};
use crate::config::DetectConfig;
use crate::domain::{
    AlertKind, AlertMessage, EntityId, Evidence, Expected, Explanation, MentionEvent, SpikeWindow,
    Timestamp, alert_id, message_id,
};

/// What a negative mention made of the minutes it lies in.
#[derive(Debug, Clone)]
pub(super) struct Verdict {
    /// Logarithm of the minutes one waits for as much by chance.
    pub ln_minutes: f64,
    /// Event time up to which it is improbable, where it is.
    pub improbable_until: Option<Timestamp>,
    /// The stretch that is reason enough for an alert.
    pub spike: Option<Finding>,
}

/// What a message tells besides.
#[derive(Debug, Clone, Default)]
pub(super) struct Told {
    /// Distinct sources that speak in the window.
    pub sources: u32,
    pub evidence: Vec<Evidence>,
    pub explanation: Option<Explanation>,
    pub p_value: f64,
}

/// Where an entity is in the life of its alerts.
#[derive(Debug)]
pub(super) enum Alert {
    /// None is open, and none may open before that event time.
    Quiet { not_before: Option<Timestamp> },
    /// One is open.
    Open(Box<OpenAlert>),
}

/// An open alert.
#[derive(Debug)]
pub(super) struct OpenAlert {
    /// The stretch it stands on: that of its last message about a spike.
    ground: Option<Ground>,
    last: AlertMessage,
    /// Of that message.
    ln_minutes: f64,
    /// End of the last improbable minute.
    improbable_until: Timestamp,
}

/// A stretch as it was judged.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(super) struct Ground {
    /// The first minute, and the one behind the last.
    pub from: i64,
    pub to: i64,
    /// What was usual in it.
    pub usual: Expectation,
    /// Logarithm of how much more all stretches said than this one.
    pub ln_others: f64,
}

impl Alert {
    pub fn save(&self) -> AlertSnapshot {
        let open = match self {
            Self::Quiet { not_before } => return AlertSnapshot::Quiet(not_before.map(Into::into)),
            Self::Open(open) => open,
        };
        let ground = |ground: Ground| {
            let usual = ground.usual;
            let numbers = [
                usual.mentions,
                usual.dispersion,
                usual.share,
                usual.firmness,
            ];
            GroundSnapshot {
                minutes: (ground.from, ground.to),
                usual: numbers.map(Exact),
                ln_others: Exact(ground.ln_others),
            }
        };
        AlertSnapshot::Open(Box::new(OpenSnapshot {
            last: open.last.clone(),
            ln_minutes: Exact(open.ln_minutes),
            improbable_until: open.improbable_until.into(),
            ground: open.ground.map(ground),
        }))
    }

    pub fn restore(saved: AlertSnapshot) -> Self {
        let open = match saved {
            AlertSnapshot::Quiet(not_before) => {
                let not_before = not_before.map(Into::into);
                return Self::Quiet { not_before };
            }
            AlertSnapshot::Open(open) => open,
        };
        let ground = |saved: GroundSnapshot| {
            let [mentions, dispersion, share, firmness] = saved.usual.map(|number| number.0);
            Ground {
                from: saved.minutes.0,
                to: saved.minutes.1,
                usual: Expectation {
                    mentions,
                    dispersion,
                    share,
                    firmness,
                },
                ln_others: saved.ln_others.0,
            }
        };
        Self::Open(Box::new(OpenAlert {
            ground: open.ground.map(ground),
            last: open.last.rounded(),
            ln_minutes: open.ln_minutes.0,
            improbable_until: open.improbable_until.into(),
        }))
    }

    /// Takes in what a negative mention made of the minutes it lies in. `tell` is asked only when a message is due.
    pub fn judge(
        &mut self,
        entity: &EntityId,
        mention: &MentionEvent,
        verdict: &Verdict,
        rule: &Rule,
        config: &DetectConfig,
        tell: impl FnOnce(&Finding) -> Told,
    ) -> Option<AlertMessage> {
        let ln_minutes = verdict.ln_minutes;
        let severity = |finding: &Finding| rule.severity(ln_minutes, finding.effect());
        match self {
            Self::Quiet { not_before } => {
                let finding = verdict.spike.as_ref()?;
                if Some(mention.event_time) < *not_before {
                    return None;
                }
                let told = tell(finding);
                let alert_id = alert_id(&rule.name, entity, &mention.origin);
                let opened = AlertMessage {
                    id: message_id(&alert_id, AlertKind::Opened, 0),
                    alert_id,
                    kind: AlertKind::Opened,
                    revision: 0,
                    at: mention.event_time,
                    received_at: Some(mention.received_at),
                    rule: rule.name.clone(),
                    entity: entity.clone(),
                    severity: severity(finding),
                    window: finding.window(),
                    observed: finding.tally.observed(told.sources),
                    expected: expected(&finding.usual),
                    p_value: told.p_value,
                    evidence: told.evidence,
                    model: mention.model.clone(),
                    explanation: told.explanation,
                }
                .rounded();
                let until = verdict.improbable_until.max(Some(finding.window().end))?;
                *self = Self::Open(Box::new(OpenAlert {
                    ground: Some(Ground::of(finding, ln_minutes)),
                    last: opened.clone(),
                    ln_minutes,
                    improbable_until: until,
                }));
                Some(opened)
            }
            Self::Open(open) => {
                open.improbable_until = open.improbable_until.max(verdict.improbable_until?);
                let finding = verdict.spike.as_ref()?;
                let severity = severity(finding);
                // Each step needs more than the one before, so that a crisis that goes on tells of itself ever less often.
                let worsened = ln_minutes >= config.update_power * open.ln_minutes;
                if !worsened && severity <= open.last.severity {
                    return None;
                }
                let told = tell(finding);
                let updated = AlertMessage {
                    received_at: Some(mention.received_at),
                    severity: severity.max(open.last.severity),
                    model: mention.model.clone(),
                    window: finding.window(),
                    observed: finding.tally.observed(told.sources),
                    expected: expected(&finding.usual),
                    ..open.next(AlertKind::Updated, mention.event_time)
                };
                open.last = telling(updated, told);
                open.ln_minutes = ln_minutes;
                open.ground = Some(Ground::of(finding, ln_minutes));
                Some(open.last.clone())
            }
        }
    }

    /// Event time at which an open alert resolves, if nothing else happens.
    pub fn resolves_at(&self, config: &DetectConfig) -> Option<Timestamp> {
        match self {
            Self::Quiet { .. } => None,
            Self::Open(open) => Some(open.improbable_until + config.resolve_after),
        }
    }

    /// Resolves an open alert whose time has come. The message tells of the window of the one before it.
    pub fn resolve(&mut self, watermark: Timestamp, config: &DetectConfig) -> Option<AlertMessage> {
        let at = self.resolves_at(config).filter(|at| *at <= watermark)?;
        let Self::Open(open) = self else {
            return None;
        };
        let resolved = open.next(AlertKind::Resolved, at);
        *self = Self::Quiet {
            not_before: Some(at + config.cool_down),
        };
        Some(resolved)
    }

    /// Retracts an open alert of whose ground only so much is left.
    pub fn retract(
        &mut self,
        at: Timestamp,
        window: SpikeWindow,
        tally: &Tally,
        told: Told,
    ) -> Option<AlertMessage> {
        let Self::Open(open) = self else {
            return None;
        };
        let retracted = AlertMessage {
            window,
            observed: tally.observed(told.sources),
            ..open.next(AlertKind::Retracted, at)
        };
        *self = Self::Quiet { not_before: None };
        Some(telling(retracted, told))
    }
}

impl Ground {
    fn of(finding: &Finding, ln_minutes: f64) -> Self {
        Self {
            from: finding.from,
            to: finding.to,
            usual: finding.usual,
            ln_others: ln_minutes - finding.ln_evidence,
        }
    }
}

impl OpenAlert {
    /// The stretch it stands on.
    pub fn stands_on(&self) -> Option<Ground> {
        self.ground
    }

    /// Leaves a post that was taken back out of further messages.
    pub fn forget(&mut self, post_id: &str) {
        self.last.evidence.retain(|story| story.post_id != post_id);
    }

    /// The message after the last, telling of the same window until told otherwise.
    fn next(&self, kind: AlertKind, at: Timestamp) -> AlertMessage {
        let revision = self.last.revision + 1;
        AlertMessage {
            id: message_id(&self.last.alert_id, kind, revision),
            kind,
            revision,
            at,
            received_at: None,
            ..self.last.clone()
        }
    }
}

fn expected(usual: &Expectation) -> Expected {
    Expected {
        mentions: usual.mentions,
        negative: usual.negative(),
    }
}

fn telling(message: AlertMessage, told: Told) -> AlertMessage {
    let whole = AlertMessage {
        evidence: told.evidence,
        explanation: told.explanation,
        p_value: told.p_value,
        ..message
    };
    whole.rounded()
}
