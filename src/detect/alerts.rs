//! The life of an entity's alert: it opens, worsens, and resolves or is retracted. One at a time.

use super::baseline::Expectation;
use super::snapshot::{AlertSnapshot, Exact, OpenSnapshot};
use super::windows::Usual;
use crate::config::DetectConfig;
use crate::domain::{
    AlertKind, AlertMessage, EntityId, Evidence, MentionEvent, Observed, Severity, SpikeWindow,
    Timestamp, alert_id, message_id,
};

/// One window, judged.
#[derive(Debug, Clone)]
pub(super) struct Finding {
    /// Which of the configured lengths.
    pub length: usize,
    pub window: SpikeWindow,
    /// Its sources are counted only where `p_value` is low enough for an alert.
    pub observed: Observed,
    /// What it was judged by.
    pub usual: Usual,
    pub p_value: f64,
}

impl Finding {
    /// Whether it is reason enough for an alert.
    pub fn is_spike(&self, config: &DetectConfig) -> bool {
        self.p_value <= config.p_value
            && self.observed.negative >= config.min_negative
            && self.observed.sources >= config.min_sources
    }

    fn ground(&self) -> Option<Ground> {
        Some(Ground {
            length: self.length,
            start: self.window.start,
            usual: self.usual,
        })
    }

    fn severity(&self, config: &DetectConfig) -> Severity {
        if self.p_value <= config.critical_p_value {
            Severity::Critical
        } else {
            Severity::Warning
        }
    }
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
    /// The window it stands on: that of its last message about a spike. None when windows of that length are no
    /// longer judged.
    ground: Option<Ground>,
    last: AlertMessage,
    /// End of the last improbable window.
    improbable_until: Timestamp,
}

/// A window as it was judged.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(super) struct Ground {
    /// Which of the configured lengths.
    pub length: usize,
    pub start: Timestamp,
    /// What it was judged by.
    pub usual: Usual,
}

/// Whether `now` is at or below the given power of `last`: each step needs more than the one before, so that
/// a crisis that goes on tells of itself ever less often. Probabilities below the smallest number count as it.
fn worsened(now: f64, last: f64, power: f64) -> bool {
    let ln = |p: f64| p.max(f64::MIN_POSITIVE).ln();
    ln(now) <= power * ln(last)
}

impl Alert {
    /// `lengths` are those of the entity's windows, in milliseconds.
    pub fn save(&self, lengths: &[u64]) -> AlertSnapshot {
        let open = match self {
            Self::Quiet { not_before } => return AlertSnapshot::Quiet(not_before.map(Into::into)),
            Self::Open(open) => open,
        };
        let ground = |ground: Ground| {
            let Usual { mentions, negative } = ground.usual;
            let numbers = [
                mentions.mean,
                mentions.dispersion,
                negative.mean,
                negative.dispersion,
            ];
            let length = lengths.get(ground.length).copied()?;
            Some((length, ground.start.into(), numbers.map(Exact)))
        };
        let (last, expected) = (open.last.clone(), open.last.expected);
        AlertSnapshot::Open(Box::new(OpenSnapshot {
            exact: (
                Exact(last.p_value),
                Exact(expected.mentions),
                Exact(expected.negative),
            ),
            last,
            improbable_until: open.improbable_until.into(),
            ground: open.ground.and_then(ground),
        }))
    }

    pub fn restore(saved: AlertSnapshot, lengths: &[u64]) -> Self {
        let mut open = match saved {
            AlertSnapshot::Quiet(not_before) => {
                let not_before = not_before.map(Into::into);
                return Self::Quiet { not_before };
            }
            AlertSnapshot::Open(open) => open,
        };
        open.last.p_value = open.exact.0.0;
        open.last.expected.mentions = open.exact.1.0;
        open.last.expected.negative = open.exact.2.0;
        let ground = open.ground.and_then(|(length, start, [a, b, c, d])| {
            let expectation = |mean: Exact, dispersion: Exact| Expectation {
                mean: mean.0,
                dispersion: dispersion.0,
            };
            Some(Ground {
                length: lengths.iter().position(|known| *known == length)?,
                start: start.into(),
                usual: Usual {
                    mentions: expectation(a, b),
                    negative: expectation(c, d),
                },
            })
        });
        Self::Open(Box::new(OpenAlert {
            ground,
            last: open.last,
            improbable_until: open.improbable_until.into(),
        }))
    }

    /// Takes in what a negative mention made of the windows it lies in. `evidence` is asked for only when a message
    /// is due.
    pub fn judge(
        &mut self,
        entity: &EntityId,
        mention: &MentionEvent,
        findings: &[Finding],
        config: &DetectConfig,
        evidence: impl FnOnce(&Finding) -> Vec<Evidence>,
    ) -> Option<AlertMessage> {
        let improbable_until = findings
            .iter()
            .filter(|finding| finding.p_value <= config.resolve_p_value)
            .map(|finding| finding.window.end)
            .max();
        let spike = findings
            .iter()
            .filter(|finding| finding.is_spike(config))
            .min_by(|a, b| a.p_value.total_cmp(&b.p_value));
        match self {
            Self::Quiet { not_before } => {
                let spike = spike.filter(|_| Some(mention.event_time) >= *not_before)?;
                let alert_id = alert_id(&config.rule, entity, &mention.origin);
                let opened = AlertMessage {
                    id: message_id(&alert_id, AlertKind::Opened, 0),
                    alert_id,
                    kind: AlertKind::Opened,
                    revision: 0,
                    at: mention.event_time,
                    received_at: Some(mention.received_at),
                    rule: config.rule.clone(),
                    entity: entity.clone(),
                    severity: spike.severity(config),
                    window: spike.window,
                    observed: spike.observed,
                    expected: spike.usual.expected(),
                    p_value: spike.p_value,
                    evidence: evidence(spike),
                    model: mention.model.clone(),
                };
                *self = Self::Open(Box::new(OpenAlert {
                    ground: spike.ground(),
                    last: opened.clone(),
                    improbable_until: improbable_until.max(Some(spike.window.end))?,
                }));
                Some(opened)
            }
            Self::Open(open) => {
                open.improbable_until = open.improbable_until.max(improbable_until?);
                let spike = spike.filter(|spike| {
                    worsened(spike.p_value, open.last.p_value, config.update_power)
                        || spike.severity(config) > open.last.severity
                })?;
                let updated = AlertMessage {
                    received_at: Some(mention.received_at),
                    severity: spike.severity(config).max(open.last.severity),
                    model: mention.model.clone(),
                    ..open.next(AlertKind::Updated, mention.event_time)
                };
                open.last = telling_of(spike, evidence(spike), updated);
                open.ground = spike.ground();
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

    /// Retracts an open alert of whose ground only `left` is left.
    pub fn retract(
        &mut self,
        at: Timestamp,
        left: &Finding,
        evidence: Vec<Evidence>,
    ) -> Option<AlertMessage> {
        let Self::Open(open) = self else {
            return None;
        };
        let retracted = telling_of(left, evidence, open.next(AlertKind::Retracted, at));
        *self = Self::Quiet { not_before: None };
        Some(retracted)
    }
}

impl OpenAlert {
    /// The window it stands on.
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

fn telling_of(finding: &Finding, evidence: Vec<Evidence>, message: AlertMessage) -> AlertMessage {
    AlertMessage {
        window: finding.window,
        observed: finding.observed,
        expected: finding.usual.expected(),
        p_value: finding.p_value,
        evidence,
        ..message
    }
}
