//! Event time: how far every source partition has come.

use super::snapshot::{PlaceSnapshot, WatermarkSnapshot};
use crate::domain::{Progress, SourcePartition, SourceState, Timestamp};
use std::collections::BTreeMap;
use std::time::Duration;

/// Up to which event time everything has been seen, give or take `lateness`. Never goes back.
///
/// The slowest partition that has more to read holds it, but never further than `max_hold` behind the foremost,
/// and not at all once its own progress has ceased for `max_hold`. When none has more to read, it moves on with SCORE's
/// clock, from the highest event time there was: a replayed history moves from its own time.
#[derive(Debug)]
pub(super) struct Watermark {
    lateness: Duration,
    max_hold: Duration,
    partitions: BTreeMap<SourcePartition, Place>,
    /// While no partition has more to read: event time reached, and SCORE's clock then.
    idle: Option<(Timestamp, Timestamp)>,
    value: Option<Timestamp>,
}

/// The latest that is known of a source partition.
#[derive(Debug)]
struct Place {
    /// Highest offset named.
    offset: Option<i64>,
    event_time: Option<Timestamp>,
    state: SourceState,
    /// Latest of SCORE's clock.
    at: Timestamp,
}

impl Watermark {
    pub fn new(lateness: Duration, max_hold: Duration) -> Self {
        Self {
            lateness,
            max_hold,
            partitions: BTreeMap::new(),
            idle: None,
            value: None,
        }
    }

    pub fn save(&self) -> WatermarkSnapshot {
        let place = |(partition, place): (&SourcePartition, &Place)| {
            let place = PlaceSnapshot {
                offset: place.offset,
                event_time: place.event_time.map(Into::into),
                state: place.state,
                at: place.at.into(),
            };
            (partition.clone(), place)
        };
        WatermarkSnapshot {
            value: self.value.map(Into::into),
            idle: self.idle.map(|(reached, at)| (reached.into(), at.into())),
            partitions: self.partitions.iter().map(place).collect(),
        }
    }

    /// As it was saved. In another epoch source partitions begin anew: only the value stays.
    pub fn restore(&mut self, saved: WatermarkSnapshot, same_epoch: bool) {
        self.value = saved.value.map(Into::into);
        if !same_epoch {
            return;
        }
        self.idle = saved.idle.map(|(reached, at)| (reached.into(), at.into()));
        let place = |(partition, place): (SourcePartition, PlaceSnapshot)| {
            let place = Place {
                offset: place.offset,
                event_time: place.event_time.map(Into::into),
                state: place.state,
                at: place.at.into(),
            };
            (partition, place)
        };
        self.partitions = saved.partitions.into_iter().map(place).collect();
    }

    /// None before the first event time.
    pub fn value(&self) -> Option<Timestamp> {
        self.value
    }

    /// Takes in a progress record; returns the watermark when it moved.
    ///
    /// A record that is beyond what was seen of its partition neither by SCORE's clock nor by offset is a repeat and
    /// changes nothing. Either is enough: a new owner names no offset before it has released a post, and its clock
    /// may be behind that of the one before.
    pub fn advance(&mut self, progress: &Progress) -> Option<Timestamp> {
        let place = self
            .partitions
            .entry(progress.partition.clone())
            .or_insert(Place {
                offset: None,
                event_time: None,
                state: SourceState::Active,
                at: Timestamp::from_millis(i64::MIN),
            });
        if progress.at <= place.at && progress.offset <= place.offset {
            return None;
        }
        place.offset = place.offset.max(progress.offset);
        place.event_time = place.event_time.max(progress.event_time);
        place.state = progress.state;
        place.at = place.at.max(progress.at);

        let reached = Some(self.reached(progress.at)? - self.lateness);
        if reached <= self.value {
            return None;
        }
        self.value = reached;
        reached
    }

    fn reached(&mut self, now: Timestamp) -> Option<Timestamp> {
        let foremost = self
            .partitions
            .values()
            .filter_map(|p| p.event_time)
            .max()?;
        let latest = self.partitions.values().map(|p| p.at).max()?;
        let slowest = self
            .partitions
            .values()
            .filter(|p| p.state != SourceState::AtEnd && latest.since(p.at) <= self.max_hold)
            .filter_map(|p| p.event_time)
            .min();
        if let Some(slowest) = slowest {
            self.idle = None;
            return Some(slowest.max(foremost - self.max_hold));
        }
        let (reached, at) = match self.idle {
            // A clock that leaps says little: a single step is bounded like everything else that could run ahead.
            Some((reached, at)) => (reached + now.since(at).min(self.max_hold), at.max(now)),
            None => (foremost, now),
        };
        let reached = reached.max(foremost);
        self.idle = Some((reached, at));
        Some(reached)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    const LATENESS: Duration = Duration::from_secs(30);
    const MAX_HOLD: Duration = Duration::from_secs(600);

    fn at(seconds: i64) -> Timestamp {
        Timestamp::from_millis(1_700_000_000_000 + seconds * 1000)
    }

    fn progress(
        partition: i32,
        offset: i64,
        event: Option<Timestamp>,
        state: SourceState,
        clock: i64,
    ) -> Progress {
        Progress {
            partition: SourcePartition {
                epoch: "e".into(),
                topic: "news".into(),
                partition,
            },
            offset: Some(offset),
            event_time: event,
            state,
            at: at(1_000_000 + clock),
        }
    }

    fn watermark(records: &[Progress]) -> Option<Timestamp> {
        let mut watermark = Watermark::new(LATENESS, MAX_HOLD);
        for record in records {
            watermark.advance(record);
        }
        watermark.value()
    }

    use SourceState::{Active, AtEnd, Paused};

    #[test]
    fn the_slowest_partition_holds_it_but_only_so_far() {
        let near = [
            progress(0, 1, Some(at(0)), Active, 0),
            progress(1, 1, Some(at(300)), Active, 0),
        ];
        assert_eq!(watermark(&near), Some(at(0) - LATENESS));
        let hours_behind = [
            progress(0, 1, Some(at(-5 * 3600)), Active, 0),
            progress(1, 1, Some(at(300)), Active, 0),
        ];
        assert_eq!(
            watermark(&hours_behind),
            Some(at(300) - MAX_HOLD - LATENESS)
        );
    }

    #[test]
    fn partitions_at_end_or_without_posts_hold_nothing() {
        for idle in [
            progress(0, 1, Some(at(0)), AtEnd, 0),
            progress(0, 1, None, Active, 0),
        ] {
            let records = [idle, progress(1, 1, Some(at(300)), Paused, 0)];
            assert_eq!(watermark(&records), Some(at(300) - LATENESS));
        }
    }

    #[test]
    fn when_all_are_at_end_the_clock_moves_it_from_the_time_of_the_posts() {
        let records = [
            progress(0, 1, Some(at(0)), AtEnd, 0),
            progress(1, 1, Some(at(20)), AtEnd, 1),
            progress(0, 1, Some(at(0)), AtEnd, 41),
        ];
        // From 20 s after 40 more seconds of the clock; the clock itself is days ahead of the posts.
        assert_eq!(watermark(&records), Some(at(60) - LATENESS));
        // A clock that leaps a year moves it by no more than max_hold.
        let leap = progress(0, 1, Some(at(0)), AtEnd, 31_536_000);
        let records = [&records[..], &[leap]].concat();
        assert_eq!(watermark(&records), Some(at(60) + MAX_HOLD - LATENESS));
    }

    #[test]
    fn a_partition_whose_owner_is_gone_lets_go_in_the_end() {
        let mut records = vec![
            progress(0, 1, Some(at(0)), Active, 0),
            progress(1, 1, Some(at(60)), AtEnd, 0),
            progress(1, 1, Some(at(60)), AtEnd, 600),
        ];
        assert_eq!(watermark(&records), Some(at(0) - LATENESS));
        records.push(progress(1, 1, Some(at(60)), AtEnd, 601));
        assert_eq!(watermark(&records), Some(at(60) - LATENESS));
    }

    #[test]
    fn a_new_owner_is_heard_before_it_has_released_anything_and_whatever_its_clock() {
        let before = [
            progress(0, 100, Some(at(0)), Active, 0),
            progress(1, 1, Some(at(60)), Active, 0),
        ];
        assert_eq!(watermark(&before), Some(at(0) - LATENESS));
        let at_end = Progress {
            offset: None,
            ..progress(0, 0, None, AtEnd, 10)
        };
        let records = [&before[..], std::slice::from_ref(&at_end)].concat();
        assert_eq!(watermark(&records), Some(at(60) - LATENESS));

        let clock_behind = progress(0, 101, Some(at(30)), Active, -5);
        let records = [&before[..], &[clock_behind]].concat();
        assert_eq!(watermark(&records), Some(at(30) - LATENESS));

        // What the owner before had said does not count again.
        let records = [&before[..], &[at_end], &before[..1]].concat();
        assert_eq!(watermark(&records), Some(at(60) - LATENESS));
    }

    #[test]
    fn a_post_of_1970_pulls_nothing_back() {
        let records = [
            progress(0, 1, Some(at(0)), Active, 0),
            progress(0, 2, Some(Timestamp::EPOCH), Active, 1),
        ];
        assert_eq!(watermark(&records), Some(at(0) - LATENESS));
    }

    fn any_progress() -> impl Strategy<Value = Progress> {
        let event = prop_oneof![
            Just(None),
            (-40_000i64..40_000).prop_map(|s| Some(at(s))),
            any::<i64>().prop_map(|ms| Some(Timestamp::from_millis(ms))),
        ];
        let state = prop_oneof![Just(Active), Just(AtEnd), Just(Paused)];
        (0..3i32, 0..50i64, event, state, -1000..1_000_000i64).prop_map(
            |(partition, offset, event, state, clock)| {
                progress(partition, offset, event, state, clock)
            },
        )
    }

    proptest! {
        #[test]
        fn never_goes_back_and_repeats_change_nothing(
            records in prop::collection::vec((any_progress(), any::<prop::sample::Index>(), any::<bool>()), 1..60),
        ) {
            let (mut once, mut twice) = (Watermark::new(LATENESS, MAX_HOLD), Watermark::new(LATENESS, MAX_HOLD));
            let mut sent: Vec<&Progress> = Vec::new();
            let mut before = None;
            for (record, earlier, repeat) in &records {
                once.advance(record);
                twice.advance(record);
                sent.push(record);
                if *repeat {
                    twice.advance(sent[earlier.index(sent.len())]);
                }
                prop_assert!(once.value() >= before);
                prop_assert_eq!(once.value(), twice.value());
                before = once.value();
            }
        }
    }
}
