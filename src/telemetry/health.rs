//! What keeps a role from working: it makes the service not ready, and stands in its metrics.

use crate::lock::lock;
use std::collections::BTreeMap;
use std::sync::{Arc, Mutex};

/// Problems by the name of what has them. Cheap to clone; all clones share.
#[derive(Debug, Clone, Default)]
pub struct Health(Arc<Mutex<BTreeMap<String, String>>>);

impl Health {
    /// Something cannot go on, and why.
    pub fn trouble(&self, what: &str, problem: impl Into<String>) {
        lock(&self.0).insert(what.to_owned(), problem.into());
    }

    /// It can again.
    pub fn well(&self, what: &str) {
        lock(&self.0).remove(what);
    }

    /// One line for each problem, by name.
    pub fn problems(&self) -> Vec<String> {
        let line = |(what, problem): (&String, &String)| format!("{what}: {problem}");
        lock(&self.0).iter().map(line).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_problem_stands_until_it_is_solved() {
        let health = Health::default();
        health.clone().trouble("store", "disk full");
        health.trouble("store", "wrong password");
        assert_eq!(health.problems(), ["store: wrong password"]);
        health.well("store");
        assert!(health.problems().is_empty());
    }
}
