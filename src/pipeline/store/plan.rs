//! Plans: which records of a partition a block holds, as it stands in the metadata of the block's first offset.
//!
//! A plan says all that is needed to build the block again, whatever the database holds by then and whichever process
//! does it: the offsets from start to end, but for those left out.

use crate::domain::Timestamp;
use std::fmt::{self, Write as _};
use std::ops::Range;

/// Bytes of offset metadata that Kafka takes by default (`offset.metadata.max.bytes`).
pub const MAX_TEXT: usize = 4096;
/// First word of a plan's text.
const KIND: &str = "squall-plan-1";

/// A block that is to be stored.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Plan {
    /// Offset behind its last record. Where it begins is the offset the plan was committed for.
    pub end: i64,
    /// Rows it holds.
    pub rows: usize,
    /// When it was made.
    pub made_at: Timestamp,
    /// Records in between that are no rows of it.
    pub left_out: LeftOut,
}

/// Offsets left out of a block, as ranges in rising order.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct LeftOut(Vec<Range<i64>>);

/// Why metadata is no plan of this squall.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum PlanError {
    /// Another version made it.
    #[error(
        "'{0}' was planned by another version of squall: run that one until it has stored its blocks"
    )]
    Version(String),
    /// It is damaged.
    #[error("'{0}' is no plan")]
    Unreadable(String),
}

impl LeftOut {
    /// Leaves an offset out.
    pub fn add(&mut self, offset: i64) {
        let index = self.0.partition_point(|range| range.end < offset);
        match self.0.get_mut(index) {
            Some(range) if range.contains(&offset) => {}
            Some(range) if range.end == offset => {
                range.end += 1;
                let end = range.end;
                if self.0.get(index + 1).is_some_and(|next| next.start == end) {
                    self.0[index].end = self.0[index + 1].end;
                    self.0.remove(index + 1);
                }
            }
            Some(range) if range.start == offset + 1 => range.start = offset,
            _ => self.0.insert(index, offset..offset + 1),
        }
    }

    /// Whether an offset is left out.
    pub fn contains(&self, offset: i64) -> bool {
        let index = self.0.partition_point(|range| range.end <= offset);
        self.0
            .get(index)
            .is_some_and(|range| range.contains(&offset))
    }

    /// Number of ranges.
    pub fn ranges(&self) -> usize {
        self.0.len()
    }
}

impl Plan {
    /// The text to be committed with `start`: offsets are counted from there.
    pub fn text(&self, start: i64) -> String {
        let mut text = format!(
            "{KIND} {} {} {} ",
            self.end,
            self.rows,
            self.made_at.millis()
        );
        for (index, range) in self.left_out.0.iter().enumerate() {
            let (first, last) = (range.start - start, range.end - 1 - start);
            let comma = if index == 0 { "" } else { "," };
            // Writing into a string cannot fail.
            let _ = match first == last {
                true => write!(text, "{comma}{first}"),
                false => write!(text, "{comma}{first}-{last}"),
            };
        }
        text
    }

    /// Reads what was committed with `start`. None where there is no plan.
    ///
    /// # Errors
    /// [`PlanError`] for what is neither empty nor a plan of this version.
    pub fn read(start: i64, metadata: &str) -> Result<Option<Self>, PlanError> {
        if metadata.is_empty() {
            return Ok(None);
        }
        let kind = metadata.split(' ').next().unwrap_or_default();
        if kind != KIND && kind.starts_with("squall-plan-") {
            return Err(PlanError::Version(metadata.to_owned()));
        }
        match Self::parse(start, metadata) {
            Some(plan) => Ok(Some(plan)),
            None => Err(PlanError::Unreadable(metadata.to_owned())),
        }
    }

    fn parse(start: i64, metadata: &str) -> Option<Self> {
        let mut words = metadata.split(' ');
        if words.next() != Some(KIND) {
            return None;
        }
        let end: i64 = words.next()?.parse().ok()?;
        let rows = words.next()?.parse().ok()?;
        let made_at = Timestamp::from_millis(words.next()?.parse().ok()?);
        let mut left_out = Vec::new();
        for range in words.next()?.split(',').filter(|range| !range.is_empty()) {
            let (first, last) = range.split_once('-').unwrap_or((range, range));
            let first = start.checked_add(first.parse().ok()?)?;
            let behind = start.checked_add(last.parse().ok()?)?.checked_add(1)?;
            let rises = left_out.last().is_none_or(|l: &Range<i64>| l.end < first);
            if first >= behind || !rises {
                return None;
            }
            left_out.push(first..behind);
        }
        let within = left_out.last().is_none_or(|last| last.end <= end);
        (words.next().is_none() && start < end && within).then_some(Self {
            end,
            rows,
            made_at,
            left_out: LeftOut(left_out),
        })
    }
}

impl fmt::Display for Plan {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "up to {} with {} rows", self.end, self.rows)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;
    use std::collections::BTreeSet;

    #[test]
    fn neighbours_grow_together() {
        let mut left_out = LeftOut::default();
        for offset in [5, 7, 6, 6, 4, 9] {
            left_out.add(offset);
        }
        assert_eq!(left_out.0, [4..8, 9..10]);
        let plan = Plan {
            end: 12,
            rows: 3,
            made_at: Timestamp::from_millis(77),
            left_out,
        };
        assert_eq!(plan.text(4), "squall-plan-1 12 3 77 0-3,5");
    }

    #[test]
    fn what_is_no_plan_is_told_from_none() {
        assert_eq!(Plan::read(0, ""), Ok(None));
        assert!(matches!(
            Plan::read(0, "squall-plan-2 x"),
            Err(PlanError::Version(_))
        ));
        for damaged in [
            "hello",
            "squall-plan-1 12",
            "squall-plan-1 12 3 77",
            "squall-plan-1 12 3 77 5-3",
            "squall-plan-1 12 3 77 3,3",
            "squall-plan-1 12 3 77 40",
            "squall-plan-1 12 3 77  x",
            "squall-plan-1 9223372036854775807 3 77 9223372036854775807",
        ] {
            assert!(
                matches!(Plan::read(10, damaged), Err(PlanError::Unreadable(_))),
                "{damaged}"
            );
        }
        assert!(Plan::read(12, "squall-plan-1 12 3 77 ").is_err(), "empty");
    }

    proptest! {
        #[test]
        fn a_plan_reads_back(
            start in 0i64..1_000_000_000,
            length in 1i64..200,
            left_out in prop::collection::vec(0i64..200, 0..80),
            millis in any::<i64>(),
        ) {
            let offsets: BTreeSet<i64> = left_out.iter().map(|o| start + o % length).collect();
            let mut plan = Plan {
                end: start + length,
                rows: length as usize,
                made_at: Timestamp::from_millis(millis),
                left_out: LeftOut::default(),
            };
            left_out.iter().for_each(|o| plan.left_out.add(start + o % length));
            for offset in start - 2..start + length + 2 {
                prop_assert_eq!(plan.left_out.contains(offset), offsets.contains(&offset));
            }
            prop_assert_eq!(Plan::read(start, &plan.text(start)), Ok(Some(plan)));
        }

        #[test]
        fn no_text_makes_it_panic(start in any::<i64>(), text in "(squall-plan-1 )?[-0-9, ]{0,40}") {
            let _ = Plan::read(start, &text);
        }
    }
}
