//! The consuming roles under way: started together, ended in the order of the data.

use super::Role;
use crate::broker::{Lag, Stop};
use crate::config::duration;
use crate::pipeline::{RoleError, Stopper};
use anyhow::{anyhow, bail};
use std::collections::HashMap;
use std::time::Duration;
use tokio::task::{Id, JoinSet};
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;

/// When the drain has so much time left, what cannot be delivered is given up.
const GIVE_UP_BEFORE_DEADLINE: Duration = Duration::from_secs(2);

/// The roles under way.
#[derive(Default)]
pub(super) struct Running {
    tasks: JoinSet<Result<(), RoleError>>,
    names: HashMap<Id, Role>,
    /// Those not ended yet, in the order of the data.
    stoppers: Vec<(Role, Stopper)>,
    /// Tells of each role whether it has joined its consumer group.
    pub(super) joining: Vec<(Role, Lag)>,
}

impl Running {
    /// Starts a role behind those started before.
    pub(super) fn spawn(
        &mut self,
        role: Role,
        stopper: Stopper,
        work: impl Future<Output = Result<(), RoleError>> + Send + 'static,
    ) {
        let id = self.tasks.spawn(work).id();
        self.names.insert(id, role);
        self.stoppers.push((role, stopper));
    }

    /// Waits for the next role to end; none when all have.
    async fn next_ended(&mut self) -> Option<(Role, anyhow::Result<()>)> {
        let (id, result) = match self.tasks.join_next_with_id().await? {
            Ok((id, result)) => (id, result.map_err(anyhow::Error::new)),
            Err(error) => (error.id(), Err(anyhow!("it has failed: {error}"))),
        };
        let role = self.names.remove(&id)?;
        self.stoppers.retain(|(other, _)| *other != role);
        Some((
            role,
            result.map_err(|error| error.context(format!("role {role} cannot go on"))),
        ))
    }

    /// Waits until a role ends that nobody has stopped; never resolves when there are none.
    pub(super) async fn failure(&mut self) -> anyhow::Error {
        match self.next_ended().await {
            Some((_, Err(error))) => error,
            Some((role, Ok(()))) => anyhow!("role {role} has ended unasked"),
            None => std::future::pending().await,
        }
    }

    /// Stops the roles one after the other, in the order of the data, under one deadline. `give_up` is
    /// cancelled a little before it.
    pub(super) async fn drain(
        mut self,
        stop: Stop,
        deadline: Duration,
        give_up: &CancellationToken,
    ) -> anyhow::Result<()> {
        let until = Instant::now() + deadline;
        let give_up = give_up.clone();
        tokio::spawn(async move {
            tokio::time::sleep_until(until - GIVE_UP_BEFORE_DEADLINE.min(deadline / 2)).await;
            give_up.cancel();
        });
        let mut failed = None;
        while let Some((role, stopper)) = self.stoppers.first() {
            let role = *role;
            stopper.stop(stop);
            match tokio::time::timeout_at(until, self.next_ended()).await {
                Ok(Some((_, Err(error)))) => drop(failed.get_or_insert(error)),
                Ok(Some((_, Ok(())))) => {}
                Ok(None) => break,
                Err(_) => bail!(
                    "drain: role {role} still had work after run.drain_deadline ({}): {}",
                    duration::format(deadline),
                    match stop {
                        Stop::AtEnd => "what the embedded broker still held is lost",
                        Stop::Now => "it is in Kafka, and comes again after the next start",
                    }
                ),
            }
        }
        failed.map_or(Ok(()), Err)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::pipeline::stopping;
    use std::sync::Arc;
    use std::sync::Mutex;

    #[tokio::test]
    async fn when_one_role_fails_or_panics_the_others_are_still_drained_in_order() {
        let drained = Arc::new(Mutex::new(Vec::new()));
        let mut running = Running::default();
        for role in [Role::Score, Role::Detect, Role::Notify, Role::Store] {
            let (stopper, mut stopping) = stopping();
            let drained = drained.clone();
            running.spawn(role, stopper, async move {
                match role {
                    Role::Score => Err(RoleError::Stage("broken".into())),
                    Role::Notify => panic!("a bug"),
                    _ => {
                        stopping.requested().await;
                        drained.lock().unwrap().push(role);
                        Ok(())
                    }
                }
            });
        }
        running.failure().await;
        let give_up = CancellationToken::new();
        let result = running
            .drain(Stop::Now, Duration::from_secs(60), &give_up)
            .await;
        assert!(result.is_err(), "the second failure is told");
        assert_eq!(*drained.lock().unwrap(), [Role::Detect, Role::Store]);
    }

    #[tokio::test]
    async fn the_deadline_ends_a_drain_that_hangs() {
        let (stopper, _stopping) = stopping();
        let mut running = Running::default();
        running.spawn(Role::Store, stopper, std::future::pending());
        let give_up = CancellationToken::new();
        let result = running
            .drain(Stop::AtEnd, Duration::from_millis(50), &give_up)
            .await;
        assert!(result.unwrap_err().to_string().contains("role store"));
        assert!(give_up.is_cancelled());
    }
}
