//! Source offsets are done only after everything that came of their records was acknowledged.

use crate::broker::{Acknowledged, Assignment, BrokerError, Commits, Record};
use crate::faults;
use std::sync::Arc;
use tokio::sync::{OwnedSemaphorePermit, mpsc};

/// A record of a source, as far as committing it goes.
#[derive(Debug)]
pub struct Ticket {
    /// Topic of the record.
    pub topic: Arc<str>,
    /// Partition of the record.
    pub partition: i32,
    /// Offset of the record.
    pub offset: i64,
    /// Assignment under which it was read.
    pub assignment: Assignment,
    /// Its share of what may be in flight; given back when it is done.
    pub _permit: Option<OwnedSemaphorePermit>,
}

impl Ticket {
    /// The ticket of a record.
    pub fn of(record: &Record, permit: Option<OwnedSemaphorePermit>) -> Self {
        Self {
            topic: record.topic.clone(),
            partition: record.partition,
            offset: record.offset,
            assignment: record.assignment,
            _permit: permit,
        }
    }
}

/// A record and what must be acknowledged before it is done.
pub type Pending = (Ticket, Vec<Acknowledged>);

/// Awaits acknowledgements in the order given and marks the records as done, until the sender hangs up.
///
/// # Errors
/// The first record that the producer could not write: the role must end, nothing behind it is committed.
pub async fn acknowledge(
    mut pending: mpsc::Receiver<Pending>,
    commits: Commits,
) -> Result<(), BrokerError> {
    while let Some((ticket, acknowledged)) = pending.recv().await {
        for one in acknowledged {
            one.await?;
        }
        faults::reach("score.produced");
        commits.done(
            &ticket.topic,
            ticket.partition,
            ticket.assignment,
            ticket.offset + 1,
        );
    }
    Ok(())
}
