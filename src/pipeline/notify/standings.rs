//! How each endpoint has been doing: since when it fails, and whether it is disabled. Knows no clock.

use super::kept;
use crate::domain::{Outcome, Timestamp};
use crate::state::Change;
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

/// `endpoint/<name>`
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
pub struct Standing {
    /// Fingerprint of its address: at another one it begins anew.
    pub address: String,
    /// Since its first failure after the last success.
    pub failing_since: Option<Timestamp>,
    /// Nothing is sent to it.
    pub disabled: Option<Disabled>,
}

/// Why nothing is sent to an endpoint.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Disabled {
    /// Since when.
    pub at: Timestamp,
    /// `gone` or `disabled`: how its deliveries end.
    pub outcome: Outcome,
    /// What to tell people.
    pub reason: String,
}

impl Disabled {
    /// What to do about it.
    pub fn remedy(&self, endpoint: &str) -> String {
        match self.outcome {
            Outcome::Gone => format!(
                "give it the receiver's new url, or, when the old one takes messages again, send anew by: squall alerts enable {endpoint}"
            ),
            _ => format!(
                "mend the receiver or correct its url, then send anew by: squall alerts enable {endpoint}"
            ),
        }
    }
}

/// What an attempt says of its endpoint.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Answer {
    /// It has taken the message.
    Well,
    /// It has not, and why.
    Failed(String),
    /// It wants no more.
    Gone(String),
    /// Nothing: it was not tried.
    Untried,
}

/// What people are told once when an endpoint begins to do otherwise than before.
#[derive(Debug, Clone, PartialEq)]
pub(super) enum Turn {
    /// It fails, and how: the first time after a success.
    Failing(String),
    /// It takes messages again.
    Well,
    /// Nothing more is sent to it.
    Disabled(Disabled),
}

/// All endpoints that are configured.
#[derive(Debug)]
pub(super) struct Standings {
    all: BTreeMap<Arc<str>, Standing>,
    disable_after: Duration,
}

impl Standings {
    /// Of the endpoints in `known` (name, fingerprint of the address), as the state remembers them.
    pub fn restore<'a>(
        known: impl Iterator<Item = (&'a Arc<str>, &'a str)>,
        mut found: BTreeMap<Arc<str>, Standing>,
        disable_after: Duration,
    ) -> Self {
        let all = known.map(|(name, address)| {
            let before = found
                .remove(name)
                .filter(|before| before.address == address);
            let standing = before.unwrap_or_else(|| Standing {
                address: address.to_owned(),
                ..Standing::default()
            });
            (name.clone(), standing)
        });
        Self {
            all: all.collect(),
            disable_after,
        }
    }

    /// Whether, and why, nothing is sent to it.
    pub fn disabled(&self, name: &str) -> Option<&Disabled> {
        self.all.get(name)?.disabled.as_ref()
    }

    /// Those to which something is sent.
    pub fn enabled(&self) -> impl Iterator<Item = &Arc<str>> {
        let enabled = self.all.iter().filter(|(_, one)| one.disabled.is_none());
        enabled.map(|(name, _)| name)
    }

    /// Each by name.
    pub fn all(&self) -> impl Iterator<Item = (&Arc<str>, &Standing)> {
        self.all.iter()
    }

    /// Notes an answer. Returns the change to be remembered and the turn it is, if any.
    pub fn note(
        &mut self,
        name: &str,
        answer: &Answer,
        now: Timestamp,
    ) -> (Option<Change>, Option<Turn>) {
        let Some((name, standing)) = self
            .all
            .get_key_value(name)
            .map(|(name, one)| (name.clone(), one.clone()))
        else {
            return (None, None);
        };
        let mut next = standing.clone();
        let mut disable = |outcome, reason| {
            next.disabled.get_or_insert(Disabled {
                at: now,
                outcome,
                reason,
            });
        };
        match answer {
            Answer::Untried => {}
            Answer::Well => {
                next.failing_since = None;
                next.disabled = None;
            }
            Answer::Gone(error) => disable(
                Outcome::Gone,
                format!("it has answered 410 Gone: nothing more is sent to it ({error})"),
            ),
            Answer::Failed(error) => {
                let since = standing.failing_since.unwrap_or(now);
                if now.since(since) >= self.disable_after {
                    let words = crate::config::duration::format(self.disable_after);
                    disable(
                        Outcome::Disabled,
                        format!(
                            "it has failed since {since}, longer than notify.disable_after ({words}), at last with: {error}"
                        ),
                    );
                }
                next.failing_since = Some(since);
            }
        }
        if next == standing {
            return (None, None);
        }
        let newly = next.disabled.clone();
        let newly = newly.filter(|_| standing.disabled.is_none());
        let turn = newly.map(Turn::Disabled).or_else(|| match answer {
            Answer::Well => Some(Turn::Well),
            Answer::Failed(error) => Some(Turn::Failing(error.clone())),
            _ => None,
        });
        let change = kept::put(kept::endpoint(&name), &next);
        self.all.insert(name, next);
        (Some(change), turn)
    }

    /// Begins anew with an endpoint, as if it had never failed.
    pub fn enable(&mut self, name: &str) -> Option<Change> {
        self.note(name, &Answer::Well, Timestamp::EPOCH).0
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const DAY: Duration = Duration::from_secs(86_400);

    fn at(hours: u64) -> Timestamp {
        Timestamp::EPOCH + Duration::from_secs(hours * 3600)
    }

    fn failed() -> Answer {
        Answer::Failed("status 500".into())
    }

    fn restore(address: &str, found: BTreeMap<Arc<str>, Standing>) -> Standings {
        let desk: Arc<str> = "desk".into();
        Standings::restore([(&desk, address)].into_iter(), found, 5 * DAY)
    }

    #[test]
    fn five_days_of_failures_disable_and_one_success_begins_anew() {
        let mut all = restore("x", BTreeMap::new());
        assert!(all.note("desk", &failed(), at(0)).0.is_some());
        assert!(all.note("desk", &Answer::Well, at(119)).0.is_some());
        assert!(!matches!(
            all.note("desk", &failed(), at(120)).1,
            Some(Turn::Disabled(_))
        ));
        let (change, Some(Turn::Disabled(disabled))) = all.note("desk", &failed(), at(240)) else {
            panic!("five days have passed");
        };
        assert!(change.is_some() && disabled.outcome == Outcome::Disabled);
        assert!(disabled.reason.contains("120h") && disabled.reason.contains("status 500"));
        assert_eq!(all.enabled().count(), 0);
        assert!(
            all.note("desk", &failed(), at(241)).1.is_none(),
            "told once"
        );
        assert!(all.enable("desk").is_some() && all.disabled("desk").is_none());
        assert_eq!(all.note("nobody", &failed(), at(0)), (None, None));
    }

    #[test]
    fn failures_in_a_row_are_told_once_and_so_is_their_end() {
        let mut all = restore("x", BTreeMap::new());
        let first = all.note("desk", &failed(), at(0)).1;
        assert_eq!(first, Some(Turn::Failing("status 500".into())));
        for hour in 1..100 {
            let again = Answer::Failed(format!("status {}", 500 + hour % 4));
            assert_eq!(all.note("desk", &again, at(hour)), (None, None));
        }
        assert_eq!(all.note("desk", &Answer::Well, at(100)).1, Some(Turn::Well));
        assert_eq!(all.note("desk", &Answer::Well, at(101)), (None, None));
        assert!(all.note("desk", &failed(), at(102)).1.is_some());
    }

    #[test]
    fn gone_is_remembered_until_the_address_changes() {
        let mut all = restore("x", BTreeMap::new());
        let (change, disabled) = all.note("desk", &Answer::Gone("status 410".into()), at(1));
        assert!(matches!(disabled, Some(Turn::Disabled(one)) if one.outcome == Outcome::Gone));
        let kept: Standing = serde_json::from_slice(&change.unwrap().value.unwrap()).unwrap();
        let found = BTreeMap::from([("desk".into(), kept)]);
        assert!(restore("x", found.clone()).disabled("desk").is_some());
        assert!(restore("y", found).disabled("desk").is_none());
    }
}
