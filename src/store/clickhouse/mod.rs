//! ClickHouse: the store of production.
//!
//! Exactly once rests on the server leaving out a block that it has: each block is one insert with a token of its own
//! ([`Block::token`](super::Block::token)), into one table; what its views fill is told apart by the same
//! token. So after an answer that never came, the same block is inserted again, and adds what is missing. For that
//! - every table, views' targets too, remembers its tokens ([`schema::DEDUPLICATION_WINDOW`]);
//! - a view's query is never altered between a try and its repetition: see [`migrate`](ClickHouseStore::migrate);
//! - a block is one block for the server, however long: see [`client`];
//! - it goes to the same tables: with `clickhouse.cluster` they are replicated, but not distributed. Every process of squall
//!   has to write to one shard (`clickhouse.url` names servers of it, by a balancer if need be), since tokens are a shard's
//!   own. Further shards are for further groups of squall, with topics of their own.
//!
//! Opening reaches nobody; [`prepare`](super::Store::prepare) does.

mod alerts;
mod campaigns;
mod check;
mod client;
mod error;
mod insert;
mod inspect;
mod letters;
mod migrate;
mod positions;
mod posts;
mod records;
mod row_counts;
pub mod schema;
mod sums;
#[cfg(test)]
pub mod testing;
#[cfg(test)]
mod tests;
mod values;

pub use inspect::{ClickHouseFacts, Disk, Replica, Setting};

use super::{
    AlertQuery, AlertRow, AuditRow, Block, CampaignFigures, CampaignTotals, DeadLetterQuery,
    DeadLetterRow, EntityTimeline, EntityTotals, Inserted, PostQuery, Store, StoreError,
    StoreResult, StoredPosition, TimelinePoint,
};
use crate::config::ClickHouseConfig;
use crate::domain::{CampaignId, EntityId, Origin, ScoredPost, SourcePartition, Timestamp};
use client::Session;
use futures::future::BoxFuture;
use std::collections::HashSet;
use std::time::Duration;

/// The store in a database of a ClickHouse server.
pub struct ClickHouseStore {
    session: Session,
    /// `clickhouse.migrate`.
    migrate: bool,
}

impl ClickHouseStore {
    /// Makes the store of a configuration. Reaches nobody.
    ///
    /// # Errors
    /// An address that is none; a machine without root certificates.
    pub fn new(config: &ClickHouseConfig) -> StoreResult<Self> {
        Ok(Self {
            session: Session::new(config)?,
            migrate: config.migrate,
        })
    }

    /// Whether tables that are there would be altered by [`migrate`](Self::migrate).
    ///
    /// # Errors
    /// A server that cannot be reached.
    pub async fn is_outdated(&self) -> StoreResult<bool> {
        let found = migrate::version(&self.session).await?;
        Ok(0 < found && found < migrate::VERSION)
    }

    /// Brings the schema up to date, whatever `clickhouse.migrate` says, and tells what it did, a line each.
    ///
    /// Only to be called with no plan open: see [`mod@migrate`].
    ///
    /// # Errors
    /// A server that cannot be reached, a user who may not, a schema of a newer squall, another process that migrates.
    pub async fn migrate(&self) -> StoreResult<Vec<String>> {
        let done = migrate::migrate(&self.session).await?;
        check::check(&self.session).await?;
        Ok(done)
    }
}

impl Store for ClickHouseStore {
    fn prepare(&self, plan_open: bool) -> BoxFuture<'_, StoreResult<()>> {
        Box::pin(async move {
            let found = migrate::version(&self.session).await?;
            if found > migrate::VERSION {
                return Err(StoreError::Newer {
                    place: self.session.place.clone(),
                    found,
                    known: migrate::VERSION,
                });
            }
            if plan_open && 0 < found && found < migrate::VERSION {
                return Err(check::plan_open(&self.session, found, migrate::VERSION));
            }
            if self.migrate {
                for line in migrate::migrate(&self.session).await? {
                    tracing::info!("store {}: {line}", self.session.place);
                }
            } else if found < migrate::VERSION {
                return Err(check::not_migrated(&self.session, found, migrate::VERSION));
            }
            check::check(&self.session).await
        })
    }

    fn claim_epoch<'a>(
        &'a self,
        epoch: &'a str,
        cluster: &'a str,
    ) -> BoxFuture<'a, StoreResult<()>> {
        Box::pin(positions::claim_epoch(&self.session, epoch, cluster))
    }

    fn insert<'a>(&'a self, block: &'a Block) -> BoxFuture<'a, StoreResult<Inserted>> {
        Box::pin(insert::insert(&self.session, block))
    }

    fn position<'a>(
        &'a self,
        partition: &'a SourcePartition,
    ) -> BoxFuture<'a, StoreResult<StoredPosition>> {
        Box::pin(positions::position(&self.session, partition))
    }

    fn rows_between<'a>(
        &'a self,
        partition: &'a SourcePartition,
        start: i64,
        end: i64,
    ) -> BoxFuture<'a, StoreResult<u64>> {
        Box::pin(positions::rows_between(
            &self.session,
            partition,
            start,
            end,
        ))
    }

    fn replayed<'a>(
        &'a self,
        origins: &'a [Origin],
    ) -> BoxFuture<'a, StoreResult<HashSet<Origin>>> {
        Box::pin(posts::replayed(&self.session, origins))
    }

    fn dead_letters<'a>(
        &'a self,
        query: &'a DeadLetterQuery,
    ) -> BoxFuture<'a, StoreResult<Vec<DeadLetterRow>>> {
        Box::pin(letters::dead_letters(&self.session, query))
    }

    fn audit(&self, limit: usize) -> BoxFuture<'_, StoreResult<Vec<AuditRow>>> {
        Box::pin(letters::audit(&self.session, limit))
    }

    fn version(&self) -> BoxFuture<'_, StoreResult<i64>> {
        Box::pin(positions::version(&self.session))
    }

    fn latest(&self) -> BoxFuture<'_, StoreResult<Option<Timestamp>>> {
        Box::pin(posts::latest(&self.session))
    }

    fn entities(
        &self,
        from: Timestamp,
        to: Timestamp,
    ) -> BoxFuture<'_, StoreResult<Vec<EntityTotals>>> {
        Box::pin(sums::entities(&self.session, from, to))
    }

    fn timeline<'a>(
        &'a self,
        entity: &'a EntityId,
        from: Timestamp,
        to: Timestamp,
        step: Duration,
    ) -> BoxFuture<'a, StoreResult<Vec<TimelinePoint>>> {
        Box::pin(sums::timeline(&self.session, entity, from, to, step))
    }

    fn timelines(
        &self,
        from: Timestamp,
        to: Timestamp,
        step: Duration,
    ) -> BoxFuture<'_, StoreResult<Vec<EntityTimeline>>> {
        Box::pin(sums::timelines(&self.session, from, to, step))
    }

    fn posts<'a>(&'a self, query: &'a PostQuery) -> BoxFuture<'a, StoreResult<Vec<ScoredPost>>> {
        Box::pin(posts::posts(&self.session, query))
    }

    fn alerts<'a>(&'a self, query: &'a AlertQuery) -> BoxFuture<'a, StoreResult<Vec<AlertRow>>> {
        Box::pin(alerts::alerts(&self.session, query))
    }

    fn campaigns(
        &self,
        from: Timestamp,
        to: Timestamp,
    ) -> BoxFuture<'_, StoreResult<Vec<(CampaignId, CampaignTotals)>>> {
        Box::pin(campaigns::all(&self.session, from, to))
    }

    fn campaign<'a>(
        &'a self,
        id: &'a CampaignId,
        from: Timestamp,
        to: Timestamp,
    ) -> BoxFuture<'a, StoreResult<CampaignFigures>> {
        Box::pin(campaigns::figures(&self.session, id, from, to))
    }

    fn post_count(&self) -> BoxFuture<'_, StoreResult<u64>> {
        Box::pin(posts::count(&self.session))
    }

    fn row_counts(&self) -> BoxFuture<'_, StoreResult<Vec<(&'static str, u64)>>> {
        Box::pin(row_counts::row_counts(&self.session))
    }
}
