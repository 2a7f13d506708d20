//! Ids that are remembered for a while: messages that are done, alerts that are silenced.

use super::kept;
use crate::domain::Timestamp;
use crate::state::Change;
use std::collections::{HashMap, VecDeque};
use std::sync::Arc;
use std::time::Duration;

/// So long an id is remembered …
const KEEP: Duration = Duration::from_secs(48 * 3600);
/// … and so many at most.
const MOST: usize = 100_000;
/// Ids forgotten with one that is added: what has expired goes bit by bit.
const FORGET_AT_ONCE: usize = 16;

/// Ids with the time since when they are remembered, the oldest first to go.
#[derive(Debug)]
pub(super) struct Remembered {
    prefix: &'static str,
    since: HashMap<Arc<str>, Timestamp>,
    order: VecDeque<Arc<str>>,
}

impl Remembered {
    /// What was remembered under keys that begin with `prefix`.
    pub fn restore(prefix: &'static str, mut found: Vec<(Timestamp, Arc<str>)>) -> Self {
        found.sort();
        Self {
            prefix,
            order: found.iter().map(|(_, id)| id.clone()).collect(),
            since: found.into_iter().map(|(at, id)| (id, at)).collect(),
        }
    }

    pub fn contains(&self, id: &str) -> bool {
        self.since.contains_key(id)
    }

    /// Remembers an id. Returns the change for it, and those for what is forgotten instead.
    pub fn insert(&mut self, id: &Arc<str>, now: Timestamp) -> Vec<Change> {
        if self.contains(id) {
            return Vec::new();
        }
        self.since.insert(id.clone(), now);
        self.order.push_back(id.clone());
        let mut changes = vec![kept::put(self.key(id), &now)];
        while changes.len() <= FORGET_AT_ONCE
            && let Some(oldest) = self.order.front()
            && (self.order.len() > MOST
                || self
                    .since
                    .get(oldest)
                    .is_none_or(|at| now.since(*at) > KEEP))
        {
            changes.push(kept::remove(self.key(oldest)));
            self.since.remove(oldest);
            self.order.pop_front();
        }
        changes
    }

    fn key(&self, id: &str) -> String {
        format!("{}{id}", self.prefix)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(hours: u64) -> Timestamp {
        Timestamp::EPOCH + Duration::from_secs(hours * 3600)
    }

    fn keys(changes: &[Change]) -> Vec<(&str, bool)> {
        let keys = changes.iter();
        keys.map(|change| (change.key.as_str(), change.value.is_some()))
            .collect()
    }

    #[test]
    fn what_is_old_is_forgotten_in_the_order_of_time() {
        let found = vec![
            (at(3), "c".into()),
            (at(1), "a".into()),
            (at(2), "b".into()),
        ];
        let mut done = Remembered::restore("done/", found);
        assert!(done.contains("a") && !done.contains("d"));
        let changes = done.insert(&"d".into(), at(50));
        assert_eq!(keys(&changes), [("done/d", true), ("done/a", false)]);
        assert!(!done.contains("a") && done.contains("b") && done.contains("d"));
        assert!(done.insert(&"d".into(), at(51)).is_empty(), "known");
        let changes = done.insert(&"e".into(), at(60));
        let expected = [("done/e", true), ("done/b", false), ("done/c", false)];
        assert_eq!(keys(&changes), expected);
    }

    #[test]
    fn there_are_never_more_than_so_many() {
        let found = (0..MOST).map(|n| (at(0), format!("{n:06}").into()));
        let mut done = Remembered::restore("done/", found.collect());
        let changes = done.insert(&"new".into(), at(1));
        assert_eq!(keys(&changes), [("done/new", true), ("done/000000", false)]);
        assert_eq!(done.order.len(), MOST);
        assert_eq!(done.since.len(), MOST);
    }
}
