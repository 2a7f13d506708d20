//! Reading and writing the state, again and again while that fails.

use crate::state::{Change, State};
use crate::telemetry::{Health, Metrics};
use std::collections::HashMap;
use std::sync::Arc;
use std::time::Duration;
use tokio_util::sync::CancellationToken;

/// Pause before the state is asked again; doubled up to the second value.
const RETRY: (Duration, Duration) = (Duration::from_millis(200), Duration::from_secs(10));
/// Under this name a state that does not work stands in the health.
const NAME: &str = "notify's state";

/// The state of one partition, while it is ours.
pub(super) struct Saving<H> {
    pub state: Arc<dyn State>,
    pub partition: i32,
    /// Whether it is still ours.
    pub holds: H,
    pub health: Health,
    pub metrics: Metrics,
    /// After this a failure is final.
    pub give_up: CancellationToken,
}

impl<H: Fn() -> bool> Saving<H> {
    /// Takes the partition over. None when it is no longer ours, or was given up.
    pub async fn load(self) -> Option<HashMap<String, Vec<u8>>> {
        self.patiently("be read", || self.state.load(self.partition))
            .await
    }

    /// Writes changes; whether they are durable. They are not when the partition is no longer ours, or was given up.
    pub async fn save(self, changes: Vec<Change>) -> bool {
        if changes.is_empty() {
            return true;
        }
        self.patiently("be written", || {
            self.state.put(self.partition, changes.clone())
        })
        .await
        .is_some()
    }

    async fn patiently<T, F>(&self, what: &str, work: impl Fn() -> F) -> Option<T>
    where
        F: Future<Output = crate::state::StateResult<T>>,
    {
        let mut pause = RETRY.0;
        let mut in_trouble = false;
        let result = loop {
            if !(self.holds)() {
                break None;
            }
            match work().await {
                Ok(value) => break Some(value),
                Err(error) => {
                    tracing::error!(%error, again_in = ?pause, "what NOTIFY remembers cannot {what}");
                    let problem =
                        format!("cannot {what}, so new alerts are not delivered: {error}");
                    self.health.trouble(NAME, problem);
                    self.metrics.role_blocked.with([NAME]).set(1);
                    in_trouble = true;
                }
            }
            let slept = self.give_up.run_until_cancelled(tokio::time::sleep(pause));
            if slept.await.is_none() {
                break None;
            }
            pause = (pause * 2).min(RETRY.1);
        };
        if in_trouble {
            self.health.well(NAME);
            self.metrics.role_blocked.with([NAME]).set(0);
        }
        result
    }
}
