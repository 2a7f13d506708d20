//! One way to judge a stream, what it told, and how that differs from another way.

use crate::app;
use crate::config::Config;
use crate::detect::{Decision, Detector};
use crate::domain::{AlertKind, AlertMessage, DetectionRecord, EntityId, Timestamp};
use std::collections::BTreeMap;
use std::io::Write;
use std::sync::Arc;

/// A detector under one configuration, and the alerts it raised.
pub(super) struct Judge {
    detector: Detector,
    next: i64,
    /// Nothing that happened before is told.
    from: Option<Timestamp>,
    raised: Vec<Raised>,
    /// Alerts that are open, by their ids: where they stand in `raised`.
    open: BTreeMap<String, usize>,
}

/// One alert.
struct Raised {
    rule: String,
    entity: EntityId,
    opened: Timestamp,
    /// None while it is open.
    ended: Option<Timestamp>,
}

impl Judge {
    /// One that has seen nothing.
    ///
    /// # Errors
    /// A calendar that cannot be read.
    pub fn new(config: &Config, from: Option<Timestamp>) -> anyhow::Result<Self> {
        let calendar = Arc::new(app::calendar(&config.detect)?);
        Ok(Self {
            detector: Detector::with_calendar(&config.detect, calendar),
            next: 0,
            from,
            raised: Vec::new(),
            open: BTreeMap::new(),
        })
    }

    /// The messages that follow from a record.
    pub fn apply(&mut self, record: &DetectionRecord) -> Vec<AlertMessage> {
        let decisions = self.detector.apply(self.next, record);
        self.next += 1;
        let mut told = Vec::new();
        for decision in decisions {
            let Decision::Alert(message) = decision else {
                continue;
            };
            if Some(message.at) < self.from {
                continue;
            }
            self.note(&message);
            told.push(message);
        }
        told
    }

    fn note(&mut self, message: &AlertMessage) {
        match message.kind {
            AlertKind::Opened => {
                self.open
                    .insert(message.alert_id.clone(), self.raised.len());
                self.raised.push(Raised {
                    rule: message.rule.clone(),
                    entity: message.entity.clone(),
                    opened: message.at,
                    ended: None,
                });
            }
            AlertKind::Updated => {}
            AlertKind::Resolved | AlertKind::Retracted => {
                if let Some(index) = self.open.remove(&message.alert_id) {
                    self.raised[index].ended = Some(message.at);
                }
            }
        }
    }

    /// Writes how many alerts were opened, by day and rule.
    pub fn summary(&self, title: &str, out: &mut dyn Write) -> std::io::Result<()> {
        writeln!(out, "{title}: {} alerts opened", self.raised.len())?;
        let mut days: BTreeMap<(String, &str), usize> = BTreeMap::new();
        for one in &self.raised {
            let day = one.opened.to_string().chars().take(10).collect();
            *days.entry((day, &one.rule)).or_default() += 1;
        }
        for ((day, rule), opened) in days {
            writeln!(out, "  {day}  {rule}  {opened}")?;
        }
        Ok(())
    }

    /// Writes the alerts about times in which the other had none about the same entity.
    pub fn only(&self, other: &Self, sign: &str, out: &mut dyn Write) -> std::io::Result<()> {
        let mut theirs: BTreeMap<&EntityId, Vec<&Raised>> = BTreeMap::new();
        for one in &other.raised {
            theirs.entry(&one.entity).or_default().push(one);
        }
        for one in &self.raised {
            let others = theirs.get(&one.entity).map_or(&[][..], Vec::as_slice);
            if !others.iter().any(|other| other.overlaps(one)) {
                writeln!(out, "{sign} {} {} {}", one.opened, one.rule, one.entity)?;
            }
        }
        Ok(())
    }
}

impl Raised {
    fn overlaps(&self, other: &Self) -> bool {
        let begins_in = |one: &Self, other: &Self| {
            one.opened <= other.opened && one.ended.is_none_or(|ended| other.opened <= ended)
        };
        begins_in(self, other) || begins_in(other, self)
    }
}
