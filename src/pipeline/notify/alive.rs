//! The dead man's switch: `squall.alive` at its time to each endpoint that wants it, by the process that has the outbox. It is
//! not kept and not tried again: what counts is that it goes on coming.

use super::Role;
use crate::domain::Timestamp;
use crate::notify::{Alive, Notice};
use std::collections::HashMap;

/// When each endpoint is told next, by name.
pub(super) type NextAlive = HashMap<String, Timestamp>;

impl Role {
    /// Tells those whose time has come.
    pub(super) fn tell_alive(&mut self) {
        let Some((_, outbox)) = self.outboxes.values().next() else {
            return;
        };
        let now = Timestamp::now();
        let notice = Notice::Alive(Alive {
            at: now,
            pending: outbox.pending(),
            problems: self.notify.health.problems(),
        });
        for endpoint in self.notify.notifier.endpoints() {
            let Some(every) = endpoint.alive() else {
                continue;
            };
            let next = self
                .next_alive
                .entry(endpoint.name().to_owned())
                .or_insert(now);
            if *next > now {
                continue;
            }
            *next = now + every;
            let (notify, endpoint, notice) =
                (self.notify.clone(), endpoint.clone(), notice.clone());
            tokio::spawn(async move {
                // No other attempt follows.
                let attempt = notify.send(&endpoint, &notice, u32::MAX).await;
                if !attempt.error.is_empty() {
                    tracing::warn!(
                        endpoint = endpoint.name(),
                        error = attempt.error,
                        "squall.alive was not taken"
                    );
                }
            });
        }
    }
}
