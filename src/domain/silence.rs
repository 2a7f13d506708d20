//! Silences: what people do not want to hear of for a while.

use super::{EntityId, Timestamp};
use serde::{Deserialize, Serialize};
use std::time::Duration;

/// Alerts that are not delivered for a while. What it names must all fit; it names at least one thing.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Silence {
    /// Its id.
    pub id: String,
    /// Only alerts on this entity.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub entity: Option<EntityId>,
    /// Only alerts on this list, or on its members.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub list: Option<EntityId>,
    /// Only alerts by this rule.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub rule: Option<String>,
    /// First instant inside.
    pub from: Timestamp,
    /// First instant behind it.
    pub until: Timestamp,
    /// Why.
    pub reason: String,
}

impl Silence {
    /// An id that no other silence has.
    pub fn new_id() -> String {
        format!("{:016x}", rand::random::<u64>())
    }

    /// Whether it can be meant so.
    ///
    /// # Errors
    /// What is wrong with it, with the remedy.
    pub fn check(&self, longest: Duration, now: Timestamp) -> Result<(), String> {
        if self.entity.is_none() && self.list.is_none() && self.rule.is_none() {
            return Err("a silence of everything is none: name an entity, a list or a rule".into());
        }
        if self.until <= self.from || self.until <= now {
            return Err("a silence needs an end that is still to come: give until".into());
        }
        if self.until.since(self.from) > longest {
            return Err(format!(
                "a silence lasts at most {} hours (notify.max_silence): make it shorter, and again when it ends",
                longest.as_secs() / 3600
            ));
        }
        Ok(())
    }

    /// Whether it is meant for an alert on `entity`, which is on `lists`, by `rule`, at an instant.
    pub fn covers(
        &self,
        entity: &EntityId,
        lists: &[EntityId],
        rule: &str,
        now: Timestamp,
    ) -> bool {
        let names_any = self.entity.is_some() || self.list.is_some() || self.rule.is_some();
        names_any
            && self.from <= now
            && now < self.until
            && self.entity.as_ref().is_none_or(|one| one == entity)
            && self
                .list
                .as_ref()
                .is_none_or(|one| one == entity || lists.contains(one))
            && self.rule.as_deref().is_none_or(|one| one == rule)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(seconds: u64) -> Timestamp {
        Timestamp::EPOCH + Duration::from_secs(seconds)
    }

    #[test]
    fn what_it_names_must_all_fit_in_its_time() {
        let all = Silence {
            id: "s".into(),
            entity: None,
            list: Some("banks".into()),
            rule: Some("negative-spike".into()),
            from: at(10),
            until: at(20),
            reason: "earnings".into(),
        };
        let covers = |silence: &Silence, entity: &str, lists: &[&str], rule, seconds| {
            let lists: Vec<EntityId> = lists.iter().map(|id| (*id).into()).collect();
            silence.covers(&entity.into(), &lists, rule, at(seconds))
        };
        assert!(covers(
            &all,
            "JPM",
            &["sector:F", "banks"],
            "negative-spike",
            10
        ));
        assert!(
            covers(&all, "banks", &[], "negative-spike", 19),
            "the list itself"
        );
        assert!(!covers(&all, "JPM", &["banks"], "negative-spike", 20));
        assert!(!covers(&all, "JPM", &["banks"], "negative-spike", 9));
        assert!(!covers(&all, "JPM", &["banks"], "other", 15));
        assert!(!covers(&all, "BA", &["sector:F"], "negative-spike", 15));
        let nothing = Silence {
            list: None,
            rule: None,
            ..all
        };
        assert!(
            !covers(&nothing, "JPM", &["banks"], "negative-spike", 15),
            "never everything"
        );
        let day = Duration::from_secs(86_400);
        let problem = |silence: &Silence, now| silence.check(day, at(now)).unwrap_err();
        assert!(problem(&nothing, 15).contains("name an entity"));
        let banks = Silence {
            list: Some("banks".into()),
            ..nothing
        };
        assert!(banks.check(day, at(15)).is_ok());
        assert!(problem(&banks, 20).contains("still to come"));
        let endless = Silence {
            until: at(200_000),
            ..banks
        };
        assert!(problem(&endless, 15).contains("24 hours"));
    }
}
