//! How far SCORE has released each source partition: what the watermark of DETECT is made of.

use crate::domain::{Origin, Progress, SourcePartition, SourceState, Timestamp};
use std::collections::BTreeMap;
use std::time::Duration;

/// Progress of the source partitions that are ours.
#[derive(Debug, Default)]
pub(super) struct ProgressBoard {
    partitions: BTreeMap<SourcePartition, Reached>,
}

#[derive(Debug, Default, Clone)]
struct Reached {
    offset: Option<i64>,
    event_time: Option<Timestamp>,
    /// Event time at the last step reported.
    step: Option<Timestamp>,
    /// The last report on the timer.
    reported: Option<Progress>,
}

/// Event time that may pass without a report: in a replay, hours pass between two ticks of the clock, and
/// DETECT learns what is usual from how the watermark moves.
const STEP: Duration = Duration::from_secs(60);

/// What has not changed is reported so often: DETECT sees that the partition has an owner, and while all are at
/// their end its watermark moves on with the clock of these reports, so that windows close late by at most this.
const HEARTBEAT: Duration = Duration::from_secs(5);

impl ProgressBoard {
    /// A partition is ours now.
    pub(super) fn assigned(&mut self, partition: SourcePartition) {
        self.partitions.insert(partition, Reached::default());
    }

    /// Partitions are no longer ours.
    pub(super) fn revoked(&mut self, over: impl Fn(&SourcePartition) -> bool) {
        self.partitions.retain(|partition, _| !over(partition));
    }

    /// A record was released; `event_time` is none for one that was rejected. Returns a report when event
    /// time has moved on by more than a step.
    pub(super) fn released(
        &mut self,
        origin: &Origin,
        event_time: Option<Timestamp>,
        at: Timestamp,
    ) -> Option<Progress> {
        let reached = self.partitions.get_mut(&origin.source)?;
        reached.offset = reached.offset.max(Some(origin.offset));
        reached.event_time = reached.event_time.max(event_time);
        if reached.event_time < reached.step.map(|step| step + STEP) || event_time.is_none() {
            return None;
        }
        reached.step = reached.event_time;
        Some(Progress {
            partition: origin.source.clone(),
            offset: reached.offset,
            event_time: reached.event_time,
            state: SourceState::Active,
            at,
        })
    }

    /// One record for each partition that has something new to tell, or has told nothing for a heartbeat.
    /// `remaining` gives the records not yet done, where that is known.
    pub(super) fn report(
        &mut self,
        at: Timestamp,
        remaining: impl Fn(&SourcePartition) -> Option<i64>,
        paused: bool,
    ) -> Vec<Progress> {
        let mut due = Vec::new();
        for (partition, reached) in &mut self.partitions {
            let state = match remaining(partition) {
                Some(0) => SourceState::AtEnd,
                _ if paused => SourceState::Paused,
                _ => SourceState::Active,
            };
            let progress = Progress {
                partition: partition.clone(),
                offset: reached.offset,
                event_time: reached.event_time,
                state,
                at,
            };
            if reached
                .reported
                .as_ref()
                .is_none_or(|before| is_news(before, &progress))
            {
                reached.reported = Some(progress.clone());
                due.push(progress);
            }
        }
        due
    }
}

fn is_news(before: &Progress, now: &Progress) -> bool {
    let told = |progress: &Progress| (progress.offset, progress.event_time, progress.state);
    told(before) != told(now) || now.at.since(before.at) >= HEARTBEAT
}

#[cfg(test)]
mod tests {
    use super::*;

    fn source(partition: i32) -> SourcePartition {
        SourcePartition {
            epoch: "1".into(),
            topic: "news".into(),
            partition,
        }
    }

    fn release(
        board: &mut ProgressBoard,
        partition: i32,
        offset: i64,
        seconds: i64,
    ) -> Option<Progress> {
        let origin = Origin {
            source: source(partition),
            offset,
        };
        board.released(
            &origin,
            Some(Timestamp::from_millis(seconds * 1000)),
            Timestamp::EPOCH,
        )
    }

    #[test]
    fn only_released_records_of_our_partitions_count() {
        let mut board = ProgressBoard::default();
        board.assigned(source(0));
        release(&mut board, 0, 7, 5);
        release(&mut board, 0, 8, 0);
        release(&mut board, 1, 9, 5);
        let report = board.report(Timestamp::EPOCH, |_| Some(0), true);
        assert_eq!(report.len(), 1, "partition 1 is not ours");
        assert_eq!(
            (report[0].offset, report[0].event_time),
            (Some(8), Some(Timestamp::from_millis(5000)))
        );
        assert_eq!(report[0].state, SourceState::AtEnd);
        assert_eq!(
            board.report(Timestamp::EPOCH, |_| Some(1), true)[0].state,
            SourceState::Paused
        );
        assert_eq!(
            board.report(Timestamp::EPOCH, |_| None, false)[0].state,
            SourceState::Active
        );
        board.revoked(|_| true);
        assert!(board.report(Timestamp::EPOCH, |_| None, false).is_empty());
    }

    #[test]
    fn what_has_not_changed_is_reported_at_the_heartbeat_only() {
        let mut board = ProgressBoard::default();
        board.assigned(source(0));
        board.assigned(source(1));
        let mut reported = |millis: i64, release_at: i64| {
            if millis == release_at {
                release(&mut board, 1, 7, 1);
            }
            let report = board.report(Timestamp::from_millis(millis), |_| Some(0), false);
            report.len()
        };
        let counts: Vec<usize> = (0..=20).map(|tick| reported(tick * 500, 3000)).collect();
        // Both at first and at each heartbeat; the second also when it has released something, from where its
        // next heartbeat counts.
        assert_eq!(
            counts,
            [
                2, 0, 0, 0, 0, 0, 1, 0, 0, 0, 1, 0, 0, 0, 0, 0, 1, 0, 0, 0, 1
            ]
        );
        assert_eq!(
            board
                .report(Timestamp::from_millis(10_500), |_| Some(1), false)
                .len(),
            2,
            "a state that changes is told at once"
        );
    }

    #[test]
    fn event_time_that_moves_on_is_reported_at_every_step() {
        let mut board = ProgressBoard::default();
        board.assigned(source(0));
        let reported: Vec<i64> = (0..=300)
            .step_by(20)
            .filter(|seconds| release(&mut board, 0, *seconds, *seconds).is_some())
            .collect();
        assert_eq!(reported, [0, 60, 120, 180, 240, 300]);
        assert_eq!(
            release(&mut board, 0, 400, 10),
            None,
            "a late post moves nothing"
        );
        assert!(release(&mut board, 1, 1, 1000).is_none(), "not ours");
    }
}
