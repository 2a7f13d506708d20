//! A state in memory that fails when it is told to.

use crate::lock::lock;
use crate::state::{Change, State, StateError, StateResult};
use futures::future::BoxFuture;
use std::collections::HashMap;
use std::sync::Mutex;
use std::sync::atomic::{AtomicBool, Ordering};

#[derive(Default)]
pub struct Memory {
    pub entries: Mutex<HashMap<String, Vec<u8>>>,
    pub broken: AtomicBool,
}

impl Memory {
    fn work(&self) -> StateResult<()> {
        match self.broken.load(Ordering::SeqCst) {
            false => Ok(()),
            true => Err(StateError {
                place: "memory".into(),
                problem: "broken".into(),
            }),
        }
    }

    /// How many keys begin so.
    pub fn count(&self, prefix: &str) -> usize {
        let entries = lock(&self.entries);
        entries.keys().filter(|key| key.starts_with(prefix)).count()
    }
}

/// Writes changes into a map.
pub fn apply(entries: &mut HashMap<String, Vec<u8>>, changes: Vec<Change>) {
    for Change { key, value } in changes {
        match value {
            Some(value) => drop(entries.insert(key, value)),
            None => drop(entries.remove(&key)),
        }
    }
}

impl State for Memory {
    fn load(&self, _: i32) -> BoxFuture<'_, StateResult<HashMap<String, Vec<u8>>>> {
        Box::pin(async {
            self.work()?;
            Ok(lock(&self.entries).clone())
        })
    }

    fn put(&self, _: i32, changes: Vec<Change>) -> BoxFuture<'_, StateResult<()>> {
        Box::pin(async {
            self.work()?;
            apply(&mut lock(&self.entries), changes);
            Ok(())
        })
    }
}
