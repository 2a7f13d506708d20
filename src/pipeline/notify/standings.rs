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

    /// Notes an answer. Returns the change to be remembered, if any, and why the endpoint is disabled by it.
    pub fn note(
        &mut self,
        name: &str,
        answer: &Answer,
        now: Timestamp,
    ) -> (Option<Change>, Option<Disabled>) {
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
        let newly = next
            .disabled
            .clone()
            .filter(|_| standing.disabled.is_none());
        let change = kept::put(kept::endpoint(&name), &next);
        self.all.insert(name, next);
        (Some(change), newly)
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
        assert_eq!(
            all.note("desk", &failed(), at(119)),
            (None, None),
            "nothing new"
        );
        assert!(all.note("desk", &Answer::Well, at(119)).0.is_some());
        assert!(all.note("desk", &failed(), at(120)).1.is_none());
        let (change, disabled) = all.note("desk", &failed(), at(240));
        let disabled = disabled.unwrap();
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
    fn gone_is_remembered_until_the_address_changes() {
        let mut all = restore("x", BTreeMap::new());
        let (change, disabled) = all.note("desk", &Answer::Gone("status 410".into()), at(1));
        assert_eq!(disabled.unwrap().outcome, Outcome::Gone);
        let kept: Standing = serde_json::from_slice(&change.unwrap().value.unwrap()).unwrap();
        let found = BTreeMap::from([("desk".into(), kept)]);
        assert!(restore("x", found.clone()).disabled("desk").is_some());
        assert!(restore("y", found).disabled("desk").is_none());
    }
}
