//! One partition of one of squall's own topics under one assignment: block after block into the store.
//!
//! ```text
//! take over: finish the planned block, if there is one ─► ask the store where the partition stands
//! then:      gather ─► commit the plan with the start ─► insert ─► commit the end ─► gather …
//! ```
//! Records come while a block is stored, so that the next one is there: up to a block's bytes, and none while the database
//! does not take this one. The rest stays in Kafka.
//!
//! The order is the promise. Until the plan is committed the store holds nothing of the block. From then on whoever has
//! the partition builds the same block and inserts it under the same token, until the end is committed.

use super::gather::{Arrived, Gathered, Seen, Taken};
use super::inflow::Inflow;
use super::patience::{GivenUp, Patience};
use super::plan::Plan;
use super::{Shared, table};
use crate::broker::{Assigned, Commits, Record};
use crate::domain::{SourcePartition, Timestamp};
use crate::faults;
use crate::pipeline::RoleError;
use crate::pipeline::dead_letter::dead_letter;
use crate::pipeline::emit::send_and_wait;
use crate::store::{Block, Rows};
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;
use tokio::sync::mpsc;
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;

/// A plan that has waited so long is not inserted again before the store was asked whether it has its rows: the
/// database may have forgotten the token.
const TOKEN_IS_KNOWN: Duration = Duration::from_secs(900);

/// One partition under one assignment.
pub struct Lane {
    /// What all lanes share.
    pub shared: Arc<Shared>,
    /// The partition.
    pub own: SourcePartition,
    /// How it became ours.
    pub assigned: Assigned,
    /// Its records, in order.
    pub records: mpsc::UnboundedReceiver<Arrived>,
    /// How much of them waits.
    pub inflow: Arc<Inflow>,
    /// Where offsets are committed.
    pub commits: Commits,
    /// How long to try.
    pub patience: Patience,
    /// Cancelled when the partition is revoked: nothing more is begun.
    pub revoked: CancellationToken,
}

/// Counts a lane as busy until it is dropped.
struct Busy<'a>(&'a AtomicUsize);

impl<'a> Busy<'a> {
    fn new(count: &'a AtomicUsize) -> Self {
        count.fetch_add(1, Ordering::Relaxed);
        Self(count)
    }
}

impl Drop for Busy<'_> {
    fn drop(&mut self) {
        self.0.fetch_sub(1, Ordering::Relaxed);
    }
}

/// Why a lane ends before its records do.
enum End {
    GivenUp,
    Failed(RoleError),
}

impl From<GivenUp> for End {
    fn from(_: GivenUp) -> Self {
        Self::GivenUp
    }
}

/// The next record of a lane; none when there will be none.
async fn receive(
    records: &mut mpsc::UnboundedReceiver<Arrived>,
    inflow: &Inflow,
    shared: &Shared,
) -> Option<Arrived> {
    let arrived = records.recv().await?;
    inflow.taken(arrived.record.payload.len(), shared.flush_bytes());
    Some(arrived)
}

impl Lane {
    /// Stores what comes, until nothing more does or the partition is revoked.
    ///
    /// # Errors
    /// When the producer of dead letters fails for good.
    pub async fn run(mut self) -> Result<(), RoleError> {
        match self.work().await {
            Ok(()) | Err(End::GivenUp) => Ok(()),
            Err(End::Failed(error)) => Err(error),
        }
    }

    async fn work(&mut self) -> Result<(), End> {
        let mut next = self.take_over().await?;
        let database = self.shared.database.clone();
        let position = self.patience.until(|| database.position(&self.own)).await?;
        let unplanned = faults::is_broken("plan");
        if self.assigned.committed.is_none() && position.end > 0 && !unplanned {
            let problem = format!(
                "{}: the store holds rows up to offset {}, but the consumer group has no offset: if the topic was recreated, \
                 give kafka.epoch another name; if only the group's offsets are lost, set them to {} for this partition",
                self.own, position.end, position.end
            );
            return Err(self.give_up(&problem).await);
        }
        let mut seen = Seen::new(&position);
        while let Some(first) = self.next(next.take()).await {
            let end = first.record.offset + 1;
            if end <= position.end && !faults::is_broken("repeats") {
                // It is stored: an offset was set back, or a late commit of a former owner has lowered it.
                self.shared.metrics.repeats_dropped.with(["store"]).inc();
                if end == position.end {
                    self.commit(end, String::new()).await?;
                }
                continue;
            }
            let shared = self.shared.clone();
            let _busy = Busy::new(&shared.busy);
            let gathered = self.gather(first, &mut seen).await?;
            self.store(gathered).await?;
        }
        Ok(())
    }

    /// The next record; none when there will be none, or the partition is no longer ours.
    async fn next(&mut self, waiting: Option<Arrived>) -> Option<Arrived> {
        if waiting.is_some() {
            return waiting;
        }
        tokio::select! {
            biased;
            () = self.revoked.cancelled() => None,
            arrived = receive(&mut self.records, &self.inflow, &self.shared) => arrived,
        }
    }

    /// Says that nothing more can be done for the partition, and waits for its end. Nothing more is read of it.
    async fn give_up(&self, problem: &str) -> End {
        self.inflow.away(true, self.shared.flush_bytes());
        self.patience.give_up(problem).await.into()
    }

    /// Gathers records until there are enough, or the first has waited long enough.
    async fn gather(&mut self, first: Arrived, seen: &mut Seen) -> Result<Gathered, End> {
        let mut gathered = Gathered::new(&self.own.topic, first.record.offset);
        let flush_at = Instant::now() + self.shared.config.flush_interval;
        let mut next = Some(first);
        while let Some(arrived) = next.take() {
            self.take(&mut gathered, arrived, seen).await?;
            let full = gathered.rows.count() >= self.shared.config.flush_rows
                || gathered.bytes >= self.shared.flush_bytes()
                || gathered.plan_is_full();
            if !full {
                next = tokio::select! {
                    arrived = receive(&mut self.records, &self.inflow, &self.shared) => arrived,
                    () = tokio::time::sleep_until(flush_at) => None,
                };
            }
        }
        Ok(gathered)
    }

    async fn take(
        &self,
        gathered: &mut Gathered,
        arrived: Arrived,
        seen: &mut Seen,
    ) -> Result<(), End> {
        match gathered.take(arrived, seen) {
            Taken::Row => Ok(()),
            Taken::Repeat => {
                self.shared.metrics.repeats_dropped.with(["store"]).inc();
                Ok(())
            }
            Taken::Unreadable(record, problem) => self.bury(&record, &problem).await,
        }
    }

    /// One of squall's own records that cannot be read goes to the dead letters as it is.
    async fn bury(&self, record: &Record, problem: &str) -> Result<(), End> {
        tracing::error!(topic = %record.topic, partition = record.partition, offset = record.offset, problem,
            "a record of squall's own cannot be read: it goes to the dead letters");
        let emitter = &self.shared.emitter;
        let letter = dead_letter(&emitter.epoch, record, "unreadable", problem);
        match send_and_wait(&self.shared.producer, vec![emitter.dead(&letter)]).await {
            Ok(_) => Ok(()),
            Err(error) => Err(End::Failed(error.into())),
        }
    }

    /// Plans, inserts, ends.
    async fn store(&self, mut gathered: Gathered) -> Result<(), End> {
        let origins = gathered.first_origins();
        if !origins.is_empty() {
            let database = &self.shared.database;
            let stored = self.patience.until(|| database.replayed(&origins)).await?;
            let repeats = gathered.leave_out_replays(stored) as u64;
            let counter = self.shared.metrics.repeats_dropped.with(["store"]);
            counter.inc_by(repeats);
        }
        let (start, end) = (gathered.start, gathered.end);
        if gathered.rows.count() > 0 {
            let plan = gathered.plan(Timestamp::now());
            faults::reach("store.planning");
            if !faults::is_broken("plan") {
                self.commit(start, plan.text(start)).await?;
            }
            faults::reach("store.planned");
            self.insert(gathered, plan.made_at).await?;
        }
        self.commit(end, String::new()).await?;
        faults::reach("store.committed");
        Ok(())
    }

    async fn insert(&self, gathered: Gathered, planned_at: Timestamp) -> Result<(), End> {
        let (block, _memory) = gathered.into_block(self.own.clone());
        let database = &self.shared.database;
        let _open = self.shared.plans.open(planned_at);
        let attempt = || async {
            let inserted = database.insert(&block).await;
            self.inflow
                .away(inserted.is_err(), self.shared.flush_bytes());
            inserted
        };
        let inserted = self.patience.until(attempt).await?;
        faults::reach("store.inserted");
        self.count(&block, inserted.rows);
        Ok(())
    }

    async fn commit(&self, offset: i64, metadata: String) -> Result<(), End> {
        let key = (&self.assigned.topic, self.assigned.partition);
        let assignment = self.assigned.assignment;
        let attempt = || {
            self.commits
                .commit(key, assignment, offset, metadata.clone())
        };
        Ok(self.patience.commit(attempt).await?)
    }

    /// Finishes the block that was planned and not ended. Returns the first record behind it, if it has come.
    async fn take_over(&mut self) -> Result<Option<Arrived>, End> {
        let Some(start) = self.assigned.committed else {
            return Ok(None);
        };
        let plan = match Plan::read(start, &self.assigned.metadata) {
            Ok(Some(plan)) if !faults::is_broken("plan") => plan,
            Ok(_) => return Ok(None),
            Err(error) => {
                let problem = format!("{}: offset {start}: {error}", self.own);
                return Err(self.give_up(&problem).await);
            }
        };
        tracing::info!(partition = %self.own, start, %plan, "a block was planned and not ended: storing it");
        let (gathered, next) = self.gather_planned(start, &plan).await?;
        let whole = gathered.rows.count() == plan.rows;
        let aged = Timestamp::now().since(plan.made_at) > TOKEN_IS_KNOWN;
        if !whole || aged {
            let database = &self.shared.database;
            let rows = || database.rows_between(&self.own, start, plan.end);
            let stored = self.patience.until(rows).await?;
            if stored == plan.rows as u64 {
                tracing::warn!(partition = %self.own, start, %plan, "all its rows are in the store");
                self.commit(plan.end, String::new()).await?;
                return Ok(next);
            }
            if !whole || stored > 0 {
                let problem = self.incomplete(start, &plan, gathered.rows.count(), stored);
                return Err(self.give_up(&problem).await);
            }
        }
        self.insert(gathered, plan.made_at).await?;
        self.commit(plan.end, String::new()).await?;
        Ok(next)
    }

    /// Builds the planned block again.
    async fn gather_planned(
        &mut self,
        start: i64,
        plan: &Plan,
    ) -> Result<(Gathered, Option<Arrived>), End> {
        let mut gathered = Gathered::new(&self.own.topic, start);
        let expired = self.assigned.low.is_some_and(|low| low >= plan.end);
        while !expired && gathered.end < plan.end {
            let Some(arrived) = self.next(None).await else {
                return Err(End::GivenUp);
            };
            let offset = arrived.record.offset;
            if offset >= plan.end {
                gathered.end = plan.end;
                return Ok((gathered, Some(arrived)));
            }
            if let Err(problem) = gathered.take_planned(arrived, plan) {
                let problem = format!(
                    "{}: offset {offset} was planned for the store and cannot be read: {problem}: run the version of \
                     squall that wrote it until it has stored its blocks",
                    self.own
                );
                return Err(self.give_up(&problem).await);
            }
        }
        gathered.end = plan.end;
        Ok((gathered, None))
    }

    fn incomplete(&self, start: i64, plan: &Plan, left: usize, stored: u64) -> String {
        let lost = (plan.rows as u64).saturating_sub(stored.max(left as u64));
        let expired = self.shared.metrics.records_expired.with([&self.own.topic]);
        expired.inc_by(lost);
        format!(
            "{}: of the {} rows planned from offset {start} to {} only {stored} are in the store and {left} in Kafka: raise the \
             retention of {}; to go on without the others, stop squall and set the group's offset of this partition to {}",
            self.own, plan.rows, plan.end, self.own.topic, plan.end
        )
    }

    fn count(&self, block: &Block, rows: usize) {
        let metrics = &self.shared.metrics;
        let table = table(&block.rows);
        metrics.store_rows.with([table]).inc_by(rows as u64);
        metrics.store_block_rows.observe(block.rows.count() as f64);
        if let Rows::Posts(posts) = &block.rows {
            let now = Timestamp::now();
            for post in posts {
                metrics
                    .end_to_end_seconds
                    .observe(now.since(post.received_at).as_secs_f64());
            }
        }
    }
}
