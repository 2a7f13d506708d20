//! What NOTIFY knows of open alerts, and what people have asked of it: silences, acknowledgements. Decides whether a
//! message is sent. Knows no clock.
//!
//! An alert that was told to an endpoint is ended there too, whatever was silenced or muted since; one that was told to
//! nobody ends unheard.

use super::kept::{self, Verdict};
use crate::config::duration;
use crate::domain::{
    AlertKind, AlertMessage, ControlAct, EntityId, Outcome, Severity, Silence, Timestamp,
};
use crate::state::Change;
use serde::{Deserialize, Serialize};
use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::sync::Arc;
use std::time::Duration;

/// So long an open alert is remembered of which nothing more is heard.
pub(super) const KEEP: Duration = Duration::from_secs(30 * 86_400);

/// Posts of an alert that are remembered.
const MOST_POSTS: usize = 50;

/// `alert/<alert id>`: an alert that is open.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub(super) struct OpenAlert {
    pub entity: EntityId,
    pub severity: Severity,
    /// Lists that its entity is on.
    #[serde(default)]
    pub lists: Vec<EntityId>,
    /// Ids of the posts that its latest message gave as evidence; of a member of lists also those of earlier ones.
    #[serde(default)]
    pub evidence: BTreeSet<String>,
    /// When its latest message was read.
    pub heard_at: Timestamp,
    /// Endpoints that a message of it was sent to, or is to be.
    pub told: BTreeSet<Arc<str>>,
    /// The severity at which somebody has acknowledged it, and who.
    pub acknowledged: Option<(Severity, String)>,
}

/// `silence/<id>`
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct KeptSilence {
    /// What is silenced.
    #[serde(flatten)]
    pub silence: Silence,
    /// Who.
    pub by: String,
}

/// What is to become of a message.
#[derive(Debug, PartialEq)]
pub(super) struct Judged {
    /// Whom it is for.
    pub endpoints: BTreeSet<Arc<str>>,
    /// Why it is not sent.
    pub verdict: Option<Verdict>,
    /// What is to be remembered.
    pub changes: Vec<Change>,
}

/// Open alerts and silences.
#[derive(Debug, Default)]
pub(super) struct Rules {
    alerts: HashMap<Arc<str>, OpenAlert>,
    /// By the entity itself, and by each list that it is on.
    by_entity: HashMap<EntityId, BTreeSet<Arc<str>>>,
    silences: BTreeMap<String, KeptSilence>,
    max_silence: Duration,
}

impl Rules {
    /// As the state remembers them.
    pub fn restore(
        alerts: HashMap<Arc<str>, OpenAlert>,
        silences: Vec<KeptSilence>,
        max_silence: Duration,
        now: Timestamp,
    ) -> Self {
        let silences = silences
            .into_iter()
            .map(|kept| (kept.silence.id.clone(), kept));
        let mut rules = Self {
            silences: silences.collect(),
            max_silence,
            ..Self::default()
        };
        for (id, alert) in alerts {
            if now.since(alert.heard_at) < KEEP {
                rules.remember(&id, alert);
            }
        }
        rules
    }

    /// Judges a message on an entity that is on `lists`; `wanting` are the endpoints that its route names.
    pub fn judge(
        &mut self,
        message: &AlertMessage,
        lists: &[EntityId],
        wanting: BTreeSet<Arc<str>>,
        now: Timestamp,
    ) -> Judged {
        let id: Arc<str> = message.alert_id.as_str().into();
        let known = self.alerts.get(&id).cloned();
        let ending = !message.kind.is_open();
        let told = known
            .as_ref()
            .map(|alert| alert.told.clone())
            .unwrap_or_default();
        let (endpoints, verdict) = if ending && !told.is_empty() {
            (told.clone(), None)
        } else {
            let verdict = self.verdict(message, lists, known.as_ref(), now);
            (wanting, verdict)
        };
        let change = if ending {
            self.forget(&id);
            known.map(|_| kept::remove(kept::alert(&id)))
        } else {
            let sent = match verdict {
                None => endpoints.clone(),
                Some(_) => BTreeSet::new(),
            };
            let alert = OpenAlert {
                entity: message.entity.clone(),
                severity: message.severity,
                lists: lists.to_vec(),
                // What a list is about may change; of a member all is its own.
                evidence: evidence(message, known.as_ref().filter(|_| !lists.is_empty())),
                heard_at: now,
                told: told.union(&sent).cloned().collect(),
                acknowledged: known.and_then(|alert| alert.acknowledged),
            };
            let change = kept::put(kept::alert(&id), &alert);
            self.remember(&id, alert);
            Some(change)
        };
        Judged {
            endpoints,
            verdict,
            changes: change.into_iter().collect(),
        }
    }

    fn verdict(
        &self,
        message: &AlertMessage,
        lists: &[EntityId],
        known: Option<&OpenAlert>,
        now: Timestamp,
    ) -> Option<Verdict> {
        let verdict = |outcome, reason| Some(Verdict { outcome, reason });
        let mut silences = self.silences.values();
        if let Some(KeptSilence { silence, by }) = silences.find(|kept| {
            kept.silence
                .covers(&message.entity, lists, &message.rule, now)
        }) {
            let reason = format!(
                "silenced by {by} until {}: {}",
                silence.until, silence.reason
            );
            return verdict(Outcome::Silenced, reason);
        }
        if let Some(told) = self.tells_of(message, lists, known) {
            let reason = format!("muted: an alert on {} is open and tells of it", told.entity);
            return verdict(Outcome::Muted, reason);
        }
        let known = known?;
        if let Some((severity, by)) = &known.acknowledged
            && message.kind == AlertKind::Updated
            && message.severity <= *severity
        {
            return verdict(Outcome::Acknowledged, format!("acknowledged by {by}"));
        }
        if !message.kind.is_open() {
            return verdict(
                Outcome::Muted,
                "no message of this alert was sent before".into(),
            );
        }
        None
    }

    /// An open alert that people know of, is at least as bad and makes this message needless. For a member that is an alert on
    /// a list of its own which is about more than this member; for a list an alert on the one member that it is about.
    fn tells_of(
        &self,
        message: &AlertMessage,
        lists: &[EntityId],
        before: Option<&OpenAlert>,
    ) -> Option<&OpenAlert> {
        let latest = evidence(message, None);
        let own = evidence(message, before);
        let known =
            |alert: &&OpenAlert| alert.severity >= message.severity && !alert.told.is_empty();
        let open = |entity: &EntityId| {
            let open = self.by_entity.get(entity).into_iter().flatten();
            open.filter_map(|id| self.alerts.get(id)).filter(known)
        };
        let mut of_lists = lists
            .iter()
            .flat_map(|list| open(list).filter(move |alert| alert.entity == *list));
        let mut of_members = open(&message.entity).filter(|alert| {
            alert.entity != message.entity && share(&latest, &alert.evidence) > 0.5
        });
        of_lists
            .find(|alert| share(&alert.evidence, &own) < 0.25)
            .or_else(|| of_members.next())
    }

    /// Takes an act in; returns what is to be remembered.
    pub fn act(&mut self, act: &ControlAct, now: Timestamp) -> Vec<Change> {
        let mut changes = Vec::new();
        match act {
            ControlAct::Acknowledge { alert_id, by, .. } => {
                if let Some((id, alert)) = self.alerts.get_key_value(alert_id.as_str()) {
                    let mut alert = alert.clone();
                    alert.acknowledged = Some((alert.severity, by.clone()));
                    changes.push(kept::put(kept::alert(id), &alert));
                    self.alerts.insert(id.clone(), alert);
                }
            }
            ControlAct::Silence { silence, by, .. } => {
                let mut silence = silence.clone();
                let longest = silence.from + self.max_silence;
                if silence.until > longest {
                    tracing::warn!(silence = silence.id, until = %silence.until,
                        "a silence is longer than notify.max_silence ({}): it ends at {longest}",
                        duration::format(self.max_silence));
                    silence.until = longest;
                }
                let kept = KeptSilence {
                    silence,
                    by: by.clone(),
                };
                let id = kept.silence.id.clone();
                changes.push(kept::put(kept::silence(&id), &kept));
                self.silences.insert(id, kept);
            }
            ControlAct::Unsilence { id, .. } if self.silences.remove(id).is_some() => {
                changes.push(kept::remove(kept::silence(id)));
            }
            _ => {}
        }
        // What is over is cleared away with whatever comes next.
        self.silences.retain(|id, kept| {
            let over = kept.silence.until <= now;
            if over {
                changes.push(kept::remove(kept::silence(id)));
            }
            !over
        });
        changes
    }

    /// All that are remembered.
    pub fn silences(&self) -> impl Iterator<Item = &KeptSilence> {
        self.silences.values()
    }

    fn remember(&mut self, id: &Arc<str>, alert: OpenAlert) {
        for entity in alert.lists.iter().chain([&alert.entity]) {
            let ids = self.by_entity.entry(entity.clone()).or_default();
            ids.insert(id.clone());
        }
        self.alerts.insert(id.clone(), alert);
    }

    fn forget(&mut self, id: &Arc<str>) {
        let Some(alert) = self.alerts.remove(id) else {
            return;
        };
        for entity in alert.lists.iter().chain([&alert.entity]) {
            if let Some(ids) = self.by_entity.get_mut(entity) {
                ids.remove(id);
                if ids.is_empty() {
                    self.by_entity.remove(entity);
                }
            }
        }
    }
}

/// The posts of a message, and of those before it where there is room.
fn evidence(message: &AlertMessage, before: Option<&OpenAlert>) -> BTreeSet<String> {
    let posts = message.evidence.iter();
    let before = before
        .into_iter()
        .flat_map(|alert| &alert.evidence)
        .take(MOST_POSTS);
    let latest = posts.map(|evidence| evidence.post_id.clone());
    latest.chain(before.cloned()).collect()
}

/// Which part of the posts is among the others.
fn share(posts: &BTreeSet<String>, others: &BTreeSet<String>) -> f64 {
    posts.intersection(others).count() as f64 / posts.len().max(1) as f64
}

#[cfg(test)]
mod tests {
    use super::super::tests::alert;
    use super::*;
    use crate::domain::Evidence;

    fn at(seconds: u64) -> Timestamp {
        Timestamp::EPOCH + Duration::from_secs(seconds)
    }

    fn rules() -> Rules {
        Rules::restore(HashMap::new(), Vec::new(), Duration::from_secs(3600), at(0))
    }

    fn message(id: &str, entity: &str, kind: AlertKind, severity: Severity) -> AlertMessage {
        AlertMessage {
            kind,
            severity,
            entity: entity.into(),
            ..alert(id, 1, at(0))
        }
    }

    /// The outcome without an attempt, or whom it is sent to.
    fn judged(rules: &mut Rules, message: &AlertMessage, lists: &[&str], now: u64) -> String {
        let lists: Vec<EntityId> = lists.iter().map(|id| (*id).into()).collect();
        let judged = rules.judge(message, &lists, BTreeSet::from(["desk".into()]), at(now));
        match judged.verdict {
            Some(verdict) => verdict.outcome.name().to_owned(),
            None => judged.endpoints.into_iter().collect::<Vec<_>>().join(" "),
        }
    }

    use AlertKind::{Opened, Resolved, Updated};
    use Severity::{Critical, Warning};

    #[test]
    fn members_are_muted_under_an_open_alert_of_their_list_unless_they_are_worse() {
        let mut rules = rules();
        let mut judge = |id: &str, entity: &str, kind, severity, lists: &[&str]| {
            judged(&mut rules, &message(id, entity, kind, severity), lists, 1)
        };
        assert_eq!(judge("a", "JPM", Opened, Warning, &["BANKS"]), "desk");
        assert_eq!(judge("list", "BANKS", Opened, Warning, &[]), "desk");
        assert_eq!(judge("b", "BAC", Opened, Warning, &["BANKS"]), "muted");
        assert_eq!(
            judge("c", "C", Opened, Critical, &["BANKS"]),
            "desk",
            "worse than its list"
        );
        assert_eq!(judge("b", "BAC", Updated, Warning, &["BANKS"]), "muted");
        assert_eq!(
            judge("a", "JPM", Resolved, Warning, &["BANKS"]),
            "desk",
            "it was told before"
        );
        assert_eq!(judge("b", "BAC", Resolved, Warning, &["BANKS"]), "muted");
        assert_eq!(judge("list", "BANKS", Resolved, Warning, &[]), "desk");
        assert_eq!(judge("d", "WFC", Opened, Warning, &["BANKS"]), "desk");
    }

    /// An alert whose evidence is these posts.
    fn of(message: AlertMessage, posts: &[&str]) -> AlertMessage {
        let evidence = posts.iter().map(|post| Evidence {
            post_id: (*post).into(),
            title: String::new(),
            url: None,
            score: -0.9,
            copies: 0,
        });
        AlertMessage {
            evidence: evidence.collect(),
            ..message
        }
    }

    #[test]
    fn of_one_story_the_company_is_told_of_and_not_its_sector() {
        let posts = ["p1", "p2", "p3"];
        let member = |kind| of(message("a", "BA", kind, Warning), &posts);
        let list = |kind, posts: &[&str]| of(message("list", "SECTOR", kind, Warning), posts);
        let mut rules = rules();
        assert_eq!(judged(&mut rules, &member(Opened), &["SECTOR"], 1), "desk");
        assert_eq!(judged(&mut rules, &list(Opened, &posts), &[], 1), "muted");
        // Others join in: now it is about more.
        let more = ["q0", "q1", "q2", "q3"];
        assert_eq!(judged(&mut rules, &list(Updated, &more), &[], 2), "desk");
        assert_eq!(
            judged(&mut rules, &member(Updated), &["SECTOR"], 3),
            "muted"
        );
        assert_eq!(
            judged(&mut rules, &member(Resolved), &["SECTOR"], 4),
            "desk"
        );
        // The list came first: the company is told of all the same.
        let mut rules = self::rules();
        assert_eq!(judged(&mut rules, &list(Opened, &posts), &[], 1), "desk");
        assert_eq!(judged(&mut rules, &member(Opened), &["SECTOR"], 1), "desk");
        assert_eq!(judged(&mut rules, &list(Updated, &posts), &[], 2), "muted");
        assert_eq!(judged(&mut rules, &list(Resolved, &posts), &[], 3), "desk");
    }

    #[test]
    fn what_is_acknowledged_is_heard_of_again_when_it_is_worse_or_over() {
        let mut rules = rules();
        let send = |rules: &mut Rules, kind, severity| {
            judged(rules, &message("a", "BA", kind, severity), &[], 1)
        };
        assert_eq!(send(&mut rules, Opened, Warning), "desk");
        let act = ControlAct::Acknowledge {
            alert_id: "a".into(),
            by: "ann".into(),
            at: at(1),
        };
        assert_eq!(rules.act(&act, at(1)).len(), 1);
        assert_eq!(send(&mut rules, Updated, Warning), "acknowledged");
        assert_eq!(send(&mut rules, Updated, Critical), "desk");
        assert_eq!(send(&mut rules, Resolved, Critical), "desk");
        assert!(rules.act(&act, at(2)).is_empty(), "it is over");
    }

    #[test]
    fn a_silence_ends_and_one_without_end_is_bounded() {
        let mut rules = rules();
        let silence = ControlAct::Silence {
            silence: Silence {
                id: "s1".into(),
                entity: Some("BA".into()),
                list: None,
                rule: None,
                from: at(0),
                until: at(1_000_000_000),
                reason: "earnings day".into(),
            },
            by: "ann".into(),
            at: at(0),
        };
        assert_eq!(rules.act(&silence, at(0)).len(), 1);
        let opened = message("a", "BA", Opened, Critical);
        assert_eq!(judged(&mut rules, &opened, &[], 10), "silenced");
        assert_eq!(
            judged(&mut rules, &message("a", "BA", Resolved, Critical), &[], 20),
            "silenced"
        );
        assert_eq!(
            judged(&mut rules, &message("b", "GE", Opened, Critical), &[], 10),
            "desk"
        );
        assert_eq!(
            judged(&mut rules, &opened, &[], 3600),
            "desk",
            "notify.max_silence is an hour"
        );
        let end = ControlAct::Unsilence {
            id: "s1".into(),
            by: "ann".into(),
            at: at(4000),
        };
        assert_eq!(rules.act(&end, at(4000)).len(), 1);
        assert!(rules.silences.is_empty());
    }
}
