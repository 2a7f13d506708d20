//! What was decided is acknowledged, then what was learnt is saved, then its offset is committed: in this order.

use crate::broker::{Acknowledged, Assignment, BrokerError, Commits};
use crate::detect::Checkpoint;
use crate::faults;
use crate::state::{Change, State, StateResult};
use crate::telemetry::{Health, Metrics};
use futures::future::BoxFuture;
use std::sync::Arc;
use std::time::Duration;
use tokio::sync::{mpsc, oneshot, watch};
use tokio::time::Instant;

/// Pause before state is read or written again; doubled up to the second value.
const RETRY: (Duration, Duration) = (Duration::from_millis(200), Duration::from_secs(10));
/// After so long a call that has not ended is trouble too.
const PATIENCE: Duration = Duration::from_secs(10);

/// What the keeper does, one after the other.
pub(super) enum Step {
    /// Waits until the broker has what was decided.
    Decided(Vec<Acknowledged>),
    /// Saves a checkpoint and commits its offset.
    Save(Save),
    /// Says that everything before has ended.
    Barrier(oneshot::Sender<()>),
}

/// A checkpoint to be saved.
pub(super) struct Save {
    pub topic: Arc<str>,
    pub partition: i32,
    pub assignment: Assignment,
    pub checkpoint: Checkpoint,
    pub begun: Instant,
    /// Set to false when it has ended.
    pub saving: watch::Sender<bool>,
}

/// Acknowledges, saves, commits.
pub(super) struct Keeper {
    pub state: Arc<dyn State>,
    pub commits: Commits,
    pub health: Health,
    pub metrics: Metrics,
}

impl Keeper {
    /// Takes steps until there are no more.
    ///
    /// # Errors
    /// A record that the producer could not write: the role must end, nothing behind it is saved or committed.
    pub async fn run(self, mut steps: mpsc::Receiver<Step>) -> Result<(), BrokerError> {
        while let Some(step) = steps.recv().await {
            match step {
                Step::Decided(acknowledged) => {
                    for one in acknowledged {
                        one.await?;
                    }
                }
                Step::Save(save) => self.save(save).await,
                Step::Barrier(done) => drop(done.send(())),
            }
        }
        Ok(())
    }

    async fn save(&self, save: Save) {
        let Save {
            topic,
            partition,
            assignment,
            checkpoint,
            begun,
            saving,
        } = save;
        let holds = || self.commits.holds(&topic, partition, assignment);
        let put = |changes: &[Change]| self.state.put(partition, changes.to_vec());
        let entities = changes(checkpoint.entities);
        let detector = changes(checkpoint.detector);
        let trouble = Trouble::new(partition, &self.health, &self.metrics);
        let saved = async {
            if !entities.is_empty() {
                trouble.until_done(holds, || put(&entities)).await?;
            }
            faults::reach("detect.saving");
            trouble.until_done(holds, || put(&detector)).await?;
            faults::reach("detect.saved");
            Some(())
        };
        if saved.await.is_some() {
            let next = checkpoint.as_of + 1;
            self.commits.done(&topic, partition, assignment, next);
            self.metrics
                .checkpoint_seconds
                .observe(begun.elapsed().as_secs_f64());
        }
        saving.send_replace(false);
    }
}

fn changes(changes: Vec<crate::detect::snapshot::Change>) -> Vec<Change> {
    changes
        .into_iter()
        .map(|(key, value)| Change { key, value })
        .collect()
}

/// Tells what keeps a partition's state from being read or written.
pub(super) struct Trouble<'a> {
    what: String,
    health: &'a Health,
    metrics: &'a Metrics,
}

impl<'a> Trouble<'a> {
    pub fn new(partition: i32, health: &'a Health, metrics: &'a Metrics) -> Self {
        Self {
            what: format!("detect: state of partition {partition}"),
            health,
            metrics,
        }
    }

    /// Reads or writes until that succeeds. None when the partition is no longer ours.
    pub async fn until_done<'b, T>(
        &self,
        holds: impl Fn() -> bool,
        attempt: impl Fn() -> BoxFuture<'b, StateResult<T>>,
    ) -> Option<T> {
        let mut pause = RETRY.0;
        let mut done = None;
        while done.is_none() && holds() {
            let mut under_way = attempt();
            let ended = loop {
                tokio::select! {
                    ended = &mut under_way => break ended,
                    () = tokio::time::sleep(PATIENCE) => {
                        let problem = "takes long to be read or written: is the broker away?";
                        self.health.trouble(&self.what, problem);
                    }
                }
                if !holds() {
                    self.health.well(&self.what);
                    return None;
                }
            };
            match ended {
                Ok(value) => done = Some(value),
                Err(error) => {
                    tracing::error!(%error, "what was learnt is not kept yet: trying again");
                    self.health.trouble(&self.what, error.to_string());
                    self.metrics.state_errors.with(["detect"]).inc();
                    tokio::time::sleep(pause).await;
                    pause = (pause * 2).min(RETRY.1);
                }
            }
        }
        self.health.well(&self.what);
        done
    }
}
