//! How far SCORE has released each source partition: what the watermark of DETECT is made of.

use crate::domain::{Origin, Progress, SourcePartition, SourceState, Timestamp};
use std::collections::BTreeMap;

/// Progress of the source partitions that are ours.
#[derive(Debug, Default)]
pub(super) struct ProgressBoard {
    partitions: BTreeMap<SourcePartition, Reached>,
}

#[derive(Debug, Default, Clone, Copy)]
struct Reached {
    offset: Option<i64>,
    event_time: Option<Timestamp>,
}

impl ProgressBoard {
    /// A partition is ours now.
    pub(super) fn assigned(&mut self, partition: SourcePartition) {
        self.partitions.insert(partition, Reached::default());
    }

    /// Partitions are no longer ours.
    pub(super) fn revoked(&mut self, over: impl Fn(&SourcePartition) -> bool) {
        self.partitions.retain(|partition, _| !over(partition));
    }

    /// A record was released; `event_time` is none for one that was rejected.
    pub(super) fn released(&mut self, origin: &Origin, event_time: Option<Timestamp>) {
        if let Some(reached) = self.partitions.get_mut(&origin.source) {
            reached.offset = reached.offset.max(Some(origin.offset));
            reached.event_time = reached.event_time.max(event_time);
        }
    }

    /// One record a partition. `remaining` gives the records not yet done, where that is known.
    pub(super) fn report(
        &self,
        at: Timestamp,
        remaining: impl Fn(&SourcePartition) -> Option<i64>,
        paused: bool,
    ) -> Vec<Progress> {
        let progress = self.partitions.iter().map(|(partition, reached)| {
            let state = match remaining(partition) {
                Some(0) => SourceState::AtEnd,
                _ if paused => SourceState::Paused,
                _ => SourceState::Active,
            };
            Progress {
                partition: partition.clone(),
                offset: reached.offset,
                event_time: reached.event_time,
                state,
                at,
            }
        });
        progress.collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_released_records_of_our_partitions_count() {
        let source = |partition| SourcePartition {
            epoch: "1".into(),
            topic: "news".into(),
            partition,
        };
        let mut board = ProgressBoard::default();
        board.assigned(source(0));
        let time = Timestamp::from_millis(5);
        board.released(
            &Origin {
                source: source(0),
                offset: 7,
            },
            Some(time),
        );
        board.released(
            &Origin {
                source: source(0),
                offset: 8,
            },
            Some(Timestamp::EPOCH),
        );
        board.released(
            &Origin {
                source: source(1),
                offset: 9,
            },
            Some(time),
        );
        let report = board.report(time, |_| Some(0), true);
        assert_eq!(report.len(), 1);
        assert_eq!(
            (report[0].offset, report[0].event_time),
            (Some(8), Some(time))
        );
        assert_eq!(report[0].state, SourceState::AtEnd);
        assert_eq!(
            board.report(time, |_| Some(1), true)[0].state,
            SourceState::Paused
        );
        assert_eq!(
            board.report(time, |_| None, false)[0].state,
            SourceState::Active
        );
        board.revoked(|_| true);
        assert!(board.report(time, |_| None, false).is_empty());
    }
}
