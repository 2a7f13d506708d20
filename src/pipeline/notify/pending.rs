//! One message of the outbox: its deliveries, and what is known of each.

use super::kept::{self, Message, Progress};
use crate::domain::Timestamp;
use std::collections::{BTreeMap, HashMap};
use std::sync::Arc;

/// A message with deliveries that have not ended.
#[derive(Debug)]
pub(super) struct Pending {
    pub id: Arc<str>,
    pub alert_id: Arc<str>,
    pub message: Message,
    /// Its deliveries that have not ended.
    pub deliveries: BTreeMap<Arc<str>, Progress>,
    /// Endpoints whose delivery has a key of its own.
    pub kept: Vec<Arc<str>>,
}

impl Pending {
    /// Nothing has been attempted yet.
    pub fn new(id: Arc<str>, alert_id: Arc<str>, message: Message) -> Self {
        let progress = Progress {
            attempts: 0,
            due: message.accepted_at,
            first_attempt_at: None,
            ended: false,
        };
        let due = |name: &Arc<str>| {
            let held = message.held.get(name).copied();
            held.map_or(message.accepted_at, |held| held.max(message.accepted_at))
        };
        let of_each = |name: &Arc<str>| {
            let progress = Progress {
                due: due(name),
                ..progress.clone()
            };
            (name.clone(), progress)
        };
        Self {
            id,
            alert_id,
            deliveries: message.endpoints.iter().map(of_each).collect(),
            kept: Vec::new(),
            message,
        }
    }

    /// Takes what is known of its deliveries. None is due later than `latest`.
    pub fn restore(&mut self, found: &mut HashMap<String, Progress>, latest: Timestamp) {
        for endpoint in &self.message.endpoints {
            let Some(mut progress) = found.remove(&kept::delivery(&self.id, endpoint)) else {
                continue;
            };
            self.kept.push(endpoint.clone());
            if progress.ended {
                self.deliveries.remove(endpoint);
            } else {
                progress.due = progress.due.min(latest);
                self.deliveries.insert(endpoint.clone(), progress);
            }
        }
    }

    /// Bytes of the message.
    pub fn bytes(&self) -> usize {
        self.message.alert.get().len()
    }

    /// Notes that a delivery has a key of its own.
    pub fn keep(&mut self, endpoint: &Arc<str>) {
        if !self.kept.contains(endpoint) {
            self.kept.push(endpoint.clone());
        }
    }
}
