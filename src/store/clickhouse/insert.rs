//! Writing a block: one insert under its token into one table, and views do the rest.

use super::client::Session;
use super::posts::PostRow;
use super::records::{
    AcknowledgementRow, AlertRow, AuditRow, ClusterRow, DeadLetterActRow, DeadLetterRow,
    DeliveryRow, FeedbackRow,
};
use crate::store::{Block, Inserted, Rows, StoreResult};
use clickhouse::{RowOwned, RowWrite};

/// Stores a block. The server leaves out what it has under the block's token, table by table, so that the same block can be
/// inserted again after anything.
///
/// Whether it had the block is not told: the rows of the block are.
pub async fn insert(session: &Session, block: &Block) -> StoreResult<Inserted> {
    block.check()?;
    match &block.rows {
        Rows::Posts(posts) => {
            let row = |block: &_, offset, post: &_| Some(PostRow::new(block, offset, post));
            write(session, "posts", block, posts, row).await?;
        }
        Rows::Clusters(clusters) => {
            let row = |block: &_, offset, row: &_| Some(ClusterRow::new(block, offset, row));
            write(session, "mention_clusters", block, clusters, row).await?;
        }
        Rows::Alerts(messages) => {
            let row = |block: &_, offset, message: &_| Some(AlertRow::new(block, offset, message));
            write(session, "alerts", block, messages, row).await?;
        }
        Rows::Deliveries(deliveries) => {
            let row = |block: &_, offset, row: &_| Some(DeliveryRow::new(block, offset, row));
            write(session, "deliveries", block, deliveries, row).await?;
        }
        Rows::DeadLetters(letters) => {
            let row = |block: &_, offset, row: &_| Some(DeadLetterRow::new(block, offset, row));
            write(session, "dead_letters", block, letters, row).await?;
        }
        // One insert for each kind of act; the token is of a table.
        Rows::Control(acts) => {
            write(session, "feedback", block, acts, FeedbackRow::new).await?;
            let row = AcknowledgementRow::new;
            write(session, "acknowledgements", block, acts, row).await?;
            let row = DeadLetterActRow::new;
            write(session, "dead_letter_acts", block, acts, row).await?;
            write(session, "audit", block, acts, AuditRow::new).await?;
        }
    }
    Ok(Inserted {
        rows: block.rows.count(),
    })
}

/// Inserts those records of a block that are rows of a table.
async fn write<Record: Sync, T: RowOwned + RowWrite + Send>(
    session: &Session,
    table: &str,
    block: &Block,
    records: &[Record],
    row: fn(&Block, i64, &Record) -> Option<T>,
) -> StoreResult<()> {
    let rows = rows(block, records, row);
    session.insert(table, &block.token(), rows).await
}

fn rows<'a, Record: Sync, T: 'a>(
    block: &'a Block,
    records: &'a [Record],
    row: fn(&Block, i64, &Record) -> Option<T>,
) -> Box<dyn Iterator<Item = T> + Send + 'a> {
    let records = block.offsets.iter().zip(records);
    Box::new(records.filter_map(move |(offset, record)| row(block, *offset, record)))
}
