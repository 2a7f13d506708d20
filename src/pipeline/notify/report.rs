//! What NOTIFY tells of itself: metrics, health, and what it leaves behind.

use super::Role;
use super::outbox::{MOST_PENDING, Outbox};
use crate::domain::Timestamp;
use crate::pipeline::{RoleError, report_consumer};
use std::collections::HashMap;
use std::time::Duration;

/// Under this name too many pending deliveries stand in the health.
const NAME: &str = "notify";

impl Role {
    /// Shows what is pending.
    pub(super) fn report(&self) {
        let notify = &self.notify;
        report_consumer(&notify.metrics, "notify", &self.lag);
        let now = Timestamp::now();
        let configured = notify.notifier.endpoints().iter();
        let mut all: HashMap<&str, (usize, Duration)> = configured
            .map(|endpoint| (endpoint.name(), Default::default()))
            .collect();
        for (_, outbox) in self.outboxes.values() {
            for (endpoint, waiting, due) in outbox.waiting() {
                let (pending, overdue) = all.entry(endpoint).or_default();
                *pending += waiting;
                *overdue = (*overdue).max(due.map_or(Duration::ZERO, |due| now.since(due)));
            }
        }
        for (endpoint, (pending, overdue)) in &all {
            let metrics = &notify.metrics;
            metrics
                .deliveries_pending
                .with([endpoint])
                .set(*pending as i64);
            let overdue = overdue.as_secs_f64();
            metrics
                .delivery_overdue_seconds
                .with([endpoint])
                .set(overdue);
        }
        for (endpoint, standing) in self.outboxes.values().flat_map(|(_, o)| o.standings()) {
            let disabled = notify.metrics.endpoint_disabled.with([endpoint]);
            disabled.set(i64::from(standing.disabled.is_some()));
        }
        if self.has_room() {
            self.blocked(None);
        } else if let Some((endpoint, (pending, _))) = all.iter().max_by_key(|(_, (n, _))| *n) {
            let problem = format!(
                "as many deliveries are pending as are kept ({MOST_PENDING}, or 64 MiB of messages): further alerts wait in Kafka; most of them, {pending}, are for the endpoint '{endpoint}': see why it does not take them"
            );
            self.blocked(Some(problem));
        }
    }

    fn blocked(&self, problem: Option<String>) {
        let (health, blocked) = (&self.notify.health, &self.notify.metrics.role_blocked);
        blocked.with([NAME]).set(i64::from(problem.is_some()));
        match problem {
            Some(problem) => health.trouble(NAME, problem),
            None => health.well(NAME),
        }
    }

    /// Tells what is left behind.
    pub(super) fn leave(&self, dies_with_us: bool) -> Result<(), RoleError> {
        self.blocked(None);
        let sum = |of: fn(&Outbox) -> usize| -> usize {
            self.outboxes.values().map(|(_, outbox)| of(outbox)).sum()
        };
        let pending = sum(Outbox::pending);
        if pending > 0 {
            tracing::warn!(
                pending,
                "deliveries have not ended: they go on after the next start"
            );
        }
        let unsaved = self.unkept + sum(Outbox::unsaved_records);
        if unsaved > 0 && dies_with_us {
            return Err(RoleError::Stage(format!(
                "what NOTIFY remembers could not be written before run.drain_deadline: {unsaved} alert messages are lost with the embedded broker"
            )));
        }
        if unsaved > 0 {
            tracing::warn!(
                unsaved,
                "alert messages could not be saved: they are read again after the next start"
            );
        }
        Ok(())
    }
}
