//! Dead letters page by page: any number of them, little of them in memory.

use crate::domain::Origin;
use crate::store::{DeadLetterQuery, DeadLetterRow, MAX_ROWS, Store, StoreResult};
use std::collections::HashSet;
use std::time::Duration;

/// Letters of a page. A letter has up to half a megabyte.
pub(super) const PAGE: usize = 100;

/// Letters that a query asks for, latest rejected first, each once, although others are settled meanwhile.
pub(super) struct Pages<'a> {
    store: &'a dyn Store,
    query: DeadLetterQuery,
    /// How many more are wanted.
    left: usize,
    /// Of the last page, those of its last millisecond: the next page begins with it.
    seen: HashSet<Origin>,
}

impl<'a> Pages<'a> {
    /// At most `limit` letters in pages of `query.limit`.
    pub(super) fn new(store: &'a dyn Store, query: DeadLetterQuery, limit: usize) -> Self {
        Self {
            store,
            query,
            left: limit,
            seen: HashSet::new(),
        }
    }

    /// The next page; empty behind the last one.
    pub(super) async fn next(&mut self) -> StoreResult<Vec<DeadLetterRow>> {
        if self.left == 0 {
            return Ok(Vec::new());
        }
        loop {
            let mut rows = self.store.dead_letters(&self.query).await?;
            let full = rows.len() >= self.query.limit;
            let Some(oldest) = rows.last().map(|row| row.letter.rejected_at) else {
                self.left = 0;
                return Ok(rows);
            };
            let last_millisecond = rows
                .iter()
                .filter(|row| row.letter.rejected_at == oldest)
                .map(|row| row.letter.origin.clone())
                .collect();
            rows.retain(|row| !self.seen.contains(&row.letter.origin));
            self.seen = last_millisecond;
            self.query.to = Some(oldest + Duration::from_millis(1));
            if rows.is_empty() && full {
                // More letters than a page holds were rejected in one millisecond.
                if self.query.limit < MAX_ROWS {
                    self.query.limit = (self.query.limit * 4).min(MAX_ROWS);
                    continue;
                }
                tracing::warn!(
                    "more than {MAX_ROWS} letters were rejected in the millisecond {oldest}: those behind them are not reached: settle these first"
                );
            }
            rows.truncate(self.left);
            self.left = if full { self.left - rows.len() } else { 0 };
            return Ok(rows);
        }
    }
}
