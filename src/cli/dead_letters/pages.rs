//! Dead letters page by page: any number of them, little of them in memory.

use crate::domain::{Origin, Timestamp};
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
    /// Letters of the last page's last millisecond, with which the next page begins.
    seen: (Option<Timestamp>, HashSet<Origin>),
}

impl<'a> Pages<'a> {
    /// At most `limit` letters in pages of `query.limit`.
    pub(super) fn new(store: &'a dyn Store, query: DeadLetterQuery, limit: usize) -> Self {
        Self {
            store,
            query,
            left: limit,
            seen: (None, HashSet::new()),
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
            let last_millisecond: Vec<Origin> = rows
                .iter()
                .filter(|row| row.letter.rejected_at == oldest)
                .map(|row| row.letter.origin.clone())
                .collect();
            rows.retain(|row| !self.seen.1.contains(&row.letter.origin));
            if self.seen.0 != Some(oldest) {
                self.seen = (Some(oldest), HashSet::new());
            }
            self.seen.1.extend(last_millisecond);
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

#[cfg(test)]
pub(super) mod tests {
    use super::*;
    use crate::domain::{DeadLetter, SourcePartition};
    use crate::store::sqlite::SqliteStore;
    use crate::store::{Block, Rows};
    use base64::Engine as _;
    use base64::engine::general_purpose::STANDARD as BASE64;

    /// A letter of `news:0`, rejected at a second.
    pub fn letter(offset: i64, second: i64) -> DeadLetter {
        DeadLetter {
            origin: format!("e:news:0:{offset}").parse().unwrap(),
            recorded_at: Timestamp::from_millis(1_000_000 + offset),
            rejected_at: Timestamp::from_millis(2_000_000 + second * 1000),
            reason: if offset % 2 == 0 {
                "not_json"
            } else {
                "too_long"
            }
            .into(),
            detail: "expected value at line 1 column 1".into(),
            key: None,
            payload: BASE64.encode(format!("letter {offset}")),
            headers: vec![("trace".into(), BASE64.encode([0xff]))],
        }
    }

    /// A store with these letters in it, in a folder.
    pub async fn store(folder: &std::path::Path, letters: Vec<DeadLetter>) -> SqliteStore {
        let store = SqliteStore::open(&folder.join("squall.db")).unwrap();
        let count = letters.len() as i64;
        let block = Block {
            partition: SourcePartition {
                epoch: "e".into(),
                topic: "squall.dead".into(),
                partition: 0,
            },
            start: 0,
            end: count,
            rows: Rows::DeadLetters(letters),
            offsets: (0..count).collect(),
        };
        store.insert(&block).await.unwrap();
        store
    }

    async fn offsets(store: &SqliteStore, page: usize, limit: usize) -> Vec<i64> {
        let query = DeadLetterQuery {
            limit: page,
            ..DeadLetterQuery::default()
        };
        let mut pages = Pages::new(store, query, limit);
        let mut all = Vec::new();
        loop {
            let rows = pages.next().await.unwrap();
            if rows.is_empty() {
                break;
            }
            all.extend(rows.iter().map(|row| row.letter.origin.offset));
        }
        all
    }

    #[tokio::test]
    async fn pages_give_every_letter_once_whatever_their_size() {
        let folder = tempfile::tempdir().unwrap();
        // Seven letters each second.
        let letters = (0..100).map(|offset| letter(offset, offset / 7)).collect();
        let store = store(folder.path(), letters).await;
        for page in [1, 2, 3, 7, 8, 99, 100, 101] {
            let mut found = offsets(&store, page, usize::MAX).await;
            assert_eq!(found[0] / 7, 14, "the latest first");
            found.sort_unstable();
            assert_eq!(found, (0..100).collect::<Vec<_>>(), "pages of {page}");
            assert_eq!(offsets(&store, page, 10).await.len(), 10);
        }
        assert!(offsets(&store, 10, 0).await.is_empty());
    }
}
