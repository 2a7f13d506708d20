//! Gathering records of a partition into the rows of a block.

use super::plan::{LeftOut, MAX_TEXT, Plan};
use crate::broker::{Record, topics};
use crate::domain::{Origin, SourcePartition, Timestamp};
use crate::faults;
use crate::store::{Block, Rows, StoredPosition};
use serde::de::DeserializeOwned;
use std::collections::{HashMap, HashSet};
use tokio::sync::OwnedSemaphorePermit;

/// Ranges left out of one block at most; fewer where they are so wide that the plan's text would grow too long.
const MAX_RANGES: usize = 400;
/// Bytes of a plan besides its ranges.
const PLAN_HEAD: usize = 80;

/// A record and its share of the memory.
pub struct Arrived {
    /// The record.
    pub record: Record,
    /// Given back when the block it is in is stored.
    pub permit: OwnedSemaphorePermit,
}

/// What became of a record.
#[derive(Debug, PartialEq)]
pub enum Taken {
    /// It is a row.
    Row,
    /// It is a repeat, and left out.
    Repeat,
    /// It cannot be read, and is left out: the record, and what is wrong with it.
    Unreadable(Box<Record>, String),
}

/// How far each source partition is in the store or in the block.
#[derive(Debug, Default)]
pub struct Seen(HashMap<SourcePartition, i64>);

impl Seen {
    /// As the store has it.
    pub fn new(position: &StoredPosition) -> Self {
        Self(position.sources.clone())
    }

    /// Whether a record of this origin was here before. If not, it is from now on.
    fn repeats(&mut self, origin: &Origin) -> bool {
        let highest = self.0.entry(origin.source.clone()).or_insert(i64::MIN);
        if origin.offset <= *highest {
            return !faults::is_broken("repeats");
        }
        *highest = origin.offset;
        false
    }
}

/// Rows that will be a block.
pub struct Gathered {
    /// Offset of the first record.
    pub start: i64,
    /// Offset behind the last one.
    pub end: i64,
    /// The rows.
    pub rows: Rows,
    offsets: Vec<i64>,
    left_out: LeftOut,
    /// Rows that may turn out to be stored already, because their first origin is.
    replays: usize,
    /// Bytes of the records.
    pub bytes: usize,
    permit: Option<OwnedSemaphorePermit>,
}

impl Gathered {
    /// Nothing yet, of a topic from an offset on.
    pub fn new(topic: &str, start: i64) -> Self {
        Self {
            start,
            end: start,
            rows: no_rows(topic),
            offsets: Vec::new(),
            left_out: LeftOut::default(),
            replays: 0,
            bytes: 0,
            permit: None,
        }
    }

    /// Takes the next record in: a row, unless it is a repeat or cannot be read.
    pub fn take(&mut self, arrived: Arrived, seen: &mut Seen) -> Taken {
        let record = self.count(arrived);
        let payload = &record.payload;
        let read = match &mut self.rows {
            Rows::Posts(rows) => take(payload, rows, |post| seen.repeats(&post.origin)),
            Rows::DeadLetters(rows) => take(payload, rows, |letter| seen.repeats(&letter.origin)),
            Rows::Clusters(rows) => take(payload, rows, |_| false),
            Rows::Alerts(rows) => take(payload, rows, |_| false),
            Rows::Deliveries(rows) => take(payload, rows, |_| false),
            Rows::Control(rows) => take(payload, rows, |_| false),
        };
        match read {
            Ok(true) => {
                self.offsets.push(record.offset);
                if let Rows::Posts(rows) = &self.rows
                    && rows.last().is_some_and(|post| post.first_origin.is_some())
                {
                    self.replays += 1;
                }
                Taken::Row
            }
            Ok(false) => {
                self.left_out.add(record.offset);
                Taken::Repeat
            }
            Err(error) => {
                self.left_out.add(record.offset);
                Taken::Unreadable(Box::new(record), error.to_string())
            }
        }
    }

    /// Leaves the next record out.
    fn leave_out(&mut self, arrived: Arrived) {
        let record = self.count(arrived);
        self.left_out.add(record.offset);
    }

    /// Takes a record of a planned block in: a row, unless the plan leaves it out.
    ///
    /// # Errors
    /// What is wrong with a record that could be read when the block was planned.
    pub fn take_planned(&mut self, arrived: Arrived, plan: &Plan) -> Result<(), String> {
        let offset = arrived.record.offset;
        if plan.left_out.contains(offset) {
            self.leave_out(arrived);
            return Ok(());
        }
        match self.take(arrived, &mut Seen::default()) {
            Taken::Unreadable(_, problem) => Err(problem),
            Taken::Row | Taken::Repeat => Ok(()),
        }
    }

    fn count(&mut self, Arrived { record, permit }: Arrived) -> Record {
        self.end = record.offset + 1;
        self.bytes += record.payload.len();
        match &mut self.permit {
            Some(own) => own.merge(permit),
            none => *none = Some(permit),
        }
        record
    }

    /// Whether its plan could grow too long with one record more.
    pub fn plan_is_full(&self) -> bool {
        let ranges = self.left_out.ranges() + self.replays;
        let widest = 2 + 2 * (self.end - self.start).to_string().len();
        ranges >= MAX_RANGES || PLAN_HEAD + (ranges + 2) * widest > MAX_TEXT
    }

    /// First origins of its rows, each row's that has one.
    pub fn first_origins(&self) -> Vec<Origin> {
        match &self.rows {
            Rows::Posts(posts) if self.replays > 0 => posts
                .iter()
                .filter_map(|post| post.first_origin.clone())
                .collect(),
            _ => Vec::new(),
        }
    }

    /// Leaves out the replays of posts that are stored, and all but the first of one origin. Returns how many.
    pub fn leave_out_replays(&mut self, mut stored: HashSet<Origin>) -> usize {
        let Rows::Posts(posts) = &mut self.rows else {
            return 0;
        };
        let before = posts.len();
        let mut offsets = self.offsets.iter();
        let mut kept = Vec::with_capacity(before);
        let left_out = &mut self.left_out;
        posts.retain(|post| {
            let Some(offset) = offsets.next() else {
                return true;
            };
            let first = post.first_origin.as_ref();
            let keep = first.is_none_or(|first| stored.insert(first.clone()));
            match keep {
                true => kept.push(*offset),
                false => left_out.add(*offset),
            }
            keep
        });
        self.offsets = kept;
        self.replays = 0;
        before - self.offsets.len()
    }

    /// The plan of its block.
    pub fn plan(&self, made_at: Timestamp) -> Plan {
        Plan {
            end: self.end,
            rows: self.rows.count(),
            made_at,
            left_out: self.left_out.clone(),
        }
    }

    /// The block, and the memory it holds.
    pub fn into_block(self, partition: SourcePartition) -> (Block, Option<OwnedSemaphorePermit>) {
        let block = Block {
            partition,
            start: self.start,
            end: self.end,
            rows: self.rows,
            offsets: self.offsets,
        };
        (block, self.permit)
    }
}

/// Adds a record to the rows; false when it is a repeat.
fn take<T: DeserializeOwned>(
    payload: &[u8],
    rows: &mut Vec<T>,
    repeats: impl FnOnce(&T) -> bool,
) -> serde_json::Result<bool> {
    let row = serde_json::from_slice(payload)?;
    let is_new = !repeats(&row);
    if is_new {
        rows.push(row);
    }
    Ok(is_new)
}

/// The kind of rows a topic has.
fn no_rows(topic: &str) -> Rows {
    match topic {
        topics::CLUSTERS => Rows::Clusters(Vec::new()),
        topics::ALERTS => Rows::Alerts(Vec::new()),
        topics::DELIVERIES => Rows::Deliveries(Vec::new()),
        topics::DEAD => Rows::DeadLetters(Vec::new()),
        topics::CONTROL => Rows::Control(Vec::new()),
        _ => Rows::Posts(Vec::new()),
    }
}
