//! Grouping: alerts on several members of one list that open within a short time are told together, in one message that
//! names them all. Knows no clock.
//!
//! The first ones are told alone and at once, since nobody knows what follows. From the `from`-th on, those that open
//! within `within` of one another become one group of their list. Its first message goes out at once and names the earlier
//! ones too; what happens after it is gathered for `wait`. The group's last message says that all its alerts are over.

use super::kept;
use super::rules::KEEP;
use crate::domain::{AlertKind, AlertMessage, EntityId, Timestamp, hash};
use crate::notify::{Group, Member, Notice};
use crate::state::Change;
use serde::{Deserialize, Serialize};
use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::time::Duration;

/// More alerts of one list are not remembered for its group; they are told alone.
const MOST: usize = 500;

/// When alerts are told together.
#[derive(Debug, Clone, Copy)]
pub(super) struct Grouping {
    /// From so many on; 0 is never.
    pub from: usize,
    /// Of alerts that opened within this.
    pub within: Duration,
    /// Between two messages of one group.
    pub wait: Duration,
}

#[cfg(test)]
impl Grouping {
    /// As by default.
    pub const FOR_TESTS: Self = Self {
        from: 3,
        within: Duration::from_secs(900),
        wait: Duration::from_secs(10),
    };
}

/// `group/<list>`: alerts on the members of a list that were told to somebody.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
pub(super) struct KeptGroup {
    members: BTreeMap<Arc<str>, Heard>,
    /// Set once the list has a group.
    together: Option<Together>,
}

/// An alert of a list.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
struct Heard {
    /// As its latest message has it.
    latest: Member,
    opened_at: Timestamp,
    /// Whether the group's messages stand for its own.
    grouped: bool,
}

/// What a group has told.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
struct Together {
    id: String,
    /// Of the next message.
    revision: u32,
    /// Endpoints that its messages go to.
    endpoints: BTreeSet<Arc<str>>,
    /// When the next message is to go out; none when there is nothing to tell.
    due: Option<Timestamp>,
    sent_at: Option<Timestamp>,
}

/// All lists of which something is open.
#[derive(Debug)]
pub(super) struct Groups {
    grouping: Grouping,
    lists: BTreeMap<EntityId, KeptGroup>,
}

impl Groups {
    /// As the state remembers them.
    pub fn restore(
        lists: BTreeMap<EntityId, KeptGroup>,
        grouping: Grouping,
        now: Timestamp,
    ) -> Self {
        let mut lists = lists;
        for group in lists.values_mut() {
            let members = &mut group.members;
            members.retain(|_, heard| now.since(heard.latest.at) < KEEP);
        }
        lists.retain(|_, group| !group.members.is_empty());
        Self { grouping, lists }
    }

    /// Takes in a message on an entity that is on `lists`, and tells the list whose group speaks for it, if one does. `sent`
    /// is whether it would be sent by itself otherwise, to `wanting`. What is to be remembered is added to `changes`.
    pub fn hear(
        &mut self,
        message: &AlertMessage,
        lists: &[EntityId],
        wanting: &BTreeSet<Arc<str>>,
        sent: bool,
        now: Timestamp,
        changes: &mut Vec<Change>,
    ) -> Option<EntityId> {
        let grouping = self.grouping;
        let opens = message.kind == AlertKind::Opened && sent && grouping.from > 0;
        let mut speaker = None;
        for list in lists {
            let known = self
                .lists
                .get(list)
                .is_some_and(|group| group.members.contains_key(message.alert_id.as_str()));
            if !known && !opens {
                continue;
            }
            let group = self.lists.entry(list.clone()).or_default();
            let grouped = if known {
                group.heard_again(message, sent, grouping, now)
            } else {
                let may_join = speaker.is_none();
                group.opened(message, list, wanting, may_join, grouping, now)
            };
            if grouped {
                speaker = Some(list.clone());
            }
            changes.push(self.keep(list));
        }
        speaker
    }

    /// Messages of the groups that are due by `until`, made at `now`; what is to be remembered with each.
    pub fn tell(
        &mut self,
        now: Timestamp,
        until: Timestamp,
    ) -> Vec<(Notice, BTreeSet<Arc<str>>, Change)> {
        let due: Vec<EntityId> = self
            .lists
            .iter()
            .filter(|(_, group)| group.due().is_some_and(|due| due <= until))
            .map(|(list, _)| list.clone())
            .collect();
        let told = due.into_iter().filter_map(|list| {
            let (notice, endpoints) = self.lists.get_mut(&list)?.told(&list, now)?;
            Some((notice, endpoints, self.keep(&list)))
        });
        told.collect()
    }

    /// When the next message of a group is due.
    pub fn next_due(&self) -> Option<Timestamp> {
        self.lists.values().filter_map(KeptGroup::due).min()
    }

    /// Remembers a list, or forgets it where nothing of it is open or to be told.
    fn keep(&mut self, list: &EntityId) -> Change {
        let key = kept::group(list);
        match self.lists.get(list) {
            Some(group) if !group.is_over() => kept::put(key, group),
            _ => {
                self.lists.remove(list);
                kept::remove(key)
            }
        }
    }
}

impl KeptGroup {
    fn due(&self) -> Option<Timestamp> {
        self.together.as_ref()?.due
    }

    fn open(&self) -> impl Iterator<Item = &Heard> {
        self.members
            .values()
            .filter(|heard| heard.latest.kind.is_open())
    }

    fn is_over(&self) -> bool {
        self.open().next().is_none() && self.due().is_none()
    }

    /// A further message of a known alert; whether the group speaks for it.
    fn heard_again(
        &mut self,
        message: &AlertMessage,
        sent: bool,
        grouping: Grouping,
        now: Timestamp,
    ) -> bool {
        let Some(heard) = self.members.get_mut(message.alert_id.as_str()) else {
            return false;
        };
        heard.latest = message.into();
        let grouped = heard.grouped;
        let ended = !message.kind.is_open();
        if self.together.is_none() {
            if ended {
                self.members.remove(message.alert_id.as_str());
            }
            return false;
        }
        // What somebody silenced or acknowledged is told with what comes next; an end always is.
        if (grouped && sent) || ended {
            self.is_to_be_told(grouping, now);
        }
        grouped && (sent || ended)
    }

    /// An alert opens; whether the group speaks for it.
    fn opened(
        &mut self,
        message: &AlertMessage,
        list: &EntityId,
        wanting: &BTreeSet<Arc<str>>,
        may_join: bool,
        grouping: Grouping,
        now: Timestamp,
    ) -> bool {
        if self.members.len() >= MOST {
            return false;
        }
        let entities: BTreeSet<&EntityId> = self
            .open()
            .filter(|heard| {
                now.since(heard.opened_at) <= grouping.within
                    && heard.latest.entity != message.entity
            })
            .map(|heard| &heard.latest.entity)
            .collect();
        let grouped = may_join && entities.len() + 1 >= grouping.from;
        let heard = Heard {
            latest: message.into(),
            opened_at: now,
            grouped,
        };
        self.members.insert(message.alert_id.as_str().into(), heard);
        if grouped {
            let together = self.together.get_or_insert_with(|| Together {
                id: format!(
                    "group-{}",
                    hash(&["group", list.as_str(), &message.alert_id])
                ),
                revision: 0,
                endpoints: BTreeSet::new(),
                due: None,
                sent_at: None,
            });
            together.endpoints.extend(wanting.iter().cloned());
            self.is_to_be_told(grouping, now);
        }
        grouped
    }

    fn is_to_be_told(&mut self, grouping: Grouping, now: Timestamp) {
        if let Some(together) = &mut self.together {
            let soonest = together
                .sent_at
                .map_or(now, |sent| now.max(sent + grouping.wait));
            together.due = Some(together.due.map_or(soonest, |due| due.min(soonest)));
        }
    }

    /// The message that is due. A group that is over tells that once, and begins anew with what opens then.
    fn told(&mut self, list: &EntityId, now: Timestamp) -> Option<(Notice, BTreeSet<Arc<str>>)> {
        let together = self.together.as_mut()?;
        together.due = None;
        together.sent_at = Some(now);
        let revision = together.revision;
        together.revision += 1;
        let notice = Notice::Group(Group {
            group_id: together.id.clone(),
            revision,
            at: now,
            list: list.clone(),
            members: self
                .members
                .values()
                .map(|heard| heard.latest.clone())
                .collect(),
        });
        let endpoints = together.endpoints.clone();
        if self.open().next().is_none() {
            *self = Self::default();
        }
        Some((notice, endpoints))
    }
}

#[cfg(test)]
mod tests {
    use super::super::tests::alert;
    use super::*;
    use crate::domain::Severity;
    use AlertKind::{Opened, Resolved, Updated};

    fn at(seconds: u64) -> Timestamp {
        Timestamp::EPOCH + Duration::from_secs(seconds)
    }

    /// Groups, and what a state would hold of them.
    struct Bench {
        groups: Groups,
        state: BTreeMap<String, Vec<u8>>,
    }

    impl Bench {
        fn new() -> Self {
            Self {
                groups: Groups::restore(BTreeMap::new(), Grouping::FOR_TESTS, at(0)),
                state: BTreeMap::new(),
            }
        }

        fn save(&mut self, changes: Vec<Change>) {
            for change in changes {
                match change.value {
                    Some(value) => drop(self.state.insert(change.key, value)),
                    None => drop(self.state.remove(&change.key)),
                }
            }
        }

        /// Whether BANKS' group speaks for a message on one of its members.
        fn hear(&mut self, entity: &str, kind: AlertKind, now: u64) -> bool {
            self.hear_of(entity, kind, &["BANKS"], true, now).is_some()
        }

        fn hear_of(
            &mut self,
            entity: &str,
            kind: AlertKind,
            lists: &[&str],
            sent: bool,
            now: u64,
        ) -> Option<EntityId> {
            let lists: Vec<EntityId> = lists.iter().map(|id| (*id).into()).collect();
            let message = AlertMessage {
                kind,
                entity: entity.into(),
                severity: Severity::Warning,
                ..alert(entity, 0, at(now))
            };
            let mut changes = Vec::new();
            let wanting = BTreeSet::from(["desk".into()]);
            let speaker = self
                .groups
                .hear(&message, &lists, &wanting, sent, at(now), &mut changes);
            self.save(changes);
            speaker
        }

        /// What is told at `now`: `kind of group: entities with what has become of them`.
        fn told(&mut self, now: u64) -> Vec<String> {
            let told = self.groups.tell(at(now), at(now));
            let mut lines = Vec::new();
            for (notice, endpoints, change) in told {
                let Notice::Group(group) = notice else {
                    panic!("{notice:?}")
                };
                assert_eq!(endpoints, BTreeSet::from(["desk".into()]));
                let members: Vec<String> = group
                    .members
                    .iter()
                    .map(|member| format!("{} {:?}", member.entity, member.kind))
                    .collect();
                lines.push(format!(
                    "{:?} {}: {}",
                    group.kind(),
                    group.revision,
                    members.join(", ")
                ));
                self.save(vec![change]);
            }
            lines
        }

        fn restart(&mut self, now: u64) {
            let lists = self.state.iter().map(|(key, value)| {
                let list = key.strip_prefix("group/").unwrap();
                (list.into(), serde_json::from_slice(value).unwrap())
            });
            self.groups = Groups::restore(lists.collect(), Grouping::FOR_TESTS, at(now));
        }
    }

    #[test]
    fn from_the_third_on_members_of_a_list_are_told_together() {
        let mut bench = Bench::new();
        assert!(!bench.hear("A", Opened, 0) && !bench.hear("B", Opened, 1));
        assert!(bench.told(1).is_empty());
        assert!(bench.hear("C", Opened, 2));
        // At once, and the earlier ones are named.
        assert_eq!(bench.told(2), ["Opened 0: A Opened, B Opened, C Opened"]);
        // What follows is gathered.
        assert!(bench.hear("D", Opened, 3) && bench.hear("E", Opened, 4));
        assert_eq!(
            (bench.told(11), bench.groups.next_due()),
            (vec![], Some(at(12)))
        );
        bench.restart(11);
        assert_eq!(
            bench.told(12),
            ["Updated 1: A Opened, B Opened, C Opened, D Opened, E Opened"]
        );
        // What was told alone speaks for itself.
        assert!(!bench.hear("A", Updated, 13));
        assert!(bench.told(30).is_empty());
        assert!(bench.hear("C", Updated, 31));
        assert_eq!(
            bench.told(31),
            ["Updated 2: A Updated, B Opened, C Updated, D Opened, E Opened"]
        );
    }

    #[test]
    fn a_group_ends_once_and_the_next_begins_anew() {
        let mut bench = Bench::new();
        for (now, entity) in (0..).zip(["A", "B", "C"]) {
            bench.hear(entity, Opened, now);
        }
        bench.told(2);
        assert!(!bench.hear("A", Resolved, 20), "told of by itself");
        assert!(bench.hear("C", Resolved, 20));
        assert_eq!(
            bench.told(20),
            ["Updated 1: A Resolved, B Opened, C Resolved"]
        );
        assert!(!bench.hear("B", Resolved, 40));
        bench.restart(40);
        assert_eq!(
            bench.told(40),
            ["Resolved 2: A Resolved, B Resolved, C Resolved"]
        );
        assert!(bench.state.is_empty() && bench.groups.lists.is_empty());
        assert!(!bench.hear("A", Opened, 50) && bench.told(99).is_empty());
    }

    #[test]
    fn only_what_opens_within_the_time_on_other_entities_counts() {
        let mut bench = Bench::new();
        assert!(!bench.hear("A", Opened, 0) && !bench.hear("B", Opened, 500));
        assert!(!bench.hear("C", Opened, 1000), "A is too long ago");
        assert!(bench.hear("D", Opened, 1100), "B and C are not");
        let mut bench = Bench::new();
        assert!(!bench.hear("A", Opened, 0) && !bench.hear("B", Opened, 1));
        bench.hear("B", Resolved, 2);
        assert!(!bench.hear("C", Opened, 3), "B is over");
        assert!(bench.state.len() == 1);
    }

    #[test]
    fn of_several_lists_one_speaks_and_what_is_silenced_joins_none() {
        let mut bench = Bench::new();
        for entity in ["A", "B"] {
            bench.hear_of(entity, Opened, &["BANKS", "EUROPE"], true, 0);
        }
        assert_eq!(bench.hear_of("S", Opened, &["BANKS"], false, 1), None);
        let speaker = bench.hear_of("C", Opened, &["BANKS", "EUROPE"], true, 1);
        assert_eq!(speaker, Some("BANKS".into()));
        assert_eq!(bench.told(1), ["Opened 0: A Opened, B Opened, C Opened"]);
        // Acknowledged: nothing is told, but the end is.
        assert_eq!(
            bench.hear_of("C", Updated, &["BANKS", "EUROPE"], false, 20),
            None
        );
        assert!(bench.told(20).is_empty());
        let speaker = bench.hear_of("C", Resolved, &["BANKS", "EUROPE"], true, 30);
        assert_eq!(speaker, Some("BANKS".into()));
        assert_eq!(
            bench.told(30),
            ["Updated 1: A Opened, B Opened, C Resolved"]
        );
    }
}
