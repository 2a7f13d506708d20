//! The minutes of one entity: what was told in each, as far back as the longest horizon and what a message tells reach.

use super::copies::Counted;
use super::horizons::LONGEST;
use super::snapshot::{MinuteRow, Packed};
use super::volume::minute_of;
use crate::domain::{Observed, Timestamp};

/// Minutes kept at most. Only the newest are, when event time runs far ahead of the watermark.
const KEPT: usize = (LONGEST + SETTLES_AFTER + 1) as usize;

/// Minutes kept at least: messages draw the last hour, and an author's stories are capped in it.
pub(super) const HOUR: i64 = 60;

/// Minutes behind the watermark after which a minute teaches, and takes nothing more: until then late posts count.
pub(super) const SETTLES_AFTER: i64 = 15;

/// Sums over the stories of a minute or of several. Those marked as backfill stand apart: they teach, and are not judged.
#[derive(Debug, Clone, Copy, Default, PartialEq)]
pub(super) struct Tally {
    pub mentions: u32,
    pub negative: u32,
    scored: u32,
    score_sum: f64,
    /// Evidence: weighted mentions, and weighted negative ones.
    pub weight: f64,
    pub bad: f64,
    /// The same of backfill.
    backfill: [f64; 2],
    /// So improbable that it must not become usual.
    pub flagged: bool,
}

impl Tally {
    fn count(&mut self, story: &Counted, sign: f64) {
        let (weight, bad) = (f64::from(story.weight), f64::from(story.bad));
        if story.backfill {
            self.backfill[0] += sign * weight;
            self.backfill[1] += sign * bad;
            return;
        }
        let step = |count: &mut u32| {
            *count = if sign > 0.0 {
                count.saturating_add(1)
            } else {
                count.saturating_sub(1)
            };
        };
        step(&mut self.mentions);
        if story.negative {
            step(&mut self.negative);
        }
        if let Some(score) = story.score {
            step(&mut self.scored);
            self.score_sum += sign * f64::from(score);
        }
        self.weight = (self.weight + sign * weight).max(0.0);
        self.bad = (self.bad + sign * bad).max(0.0);
    }

    /// Another minute besides.
    pub fn add(&mut self, other: &Self) {
        self.mentions = self.mentions.saturating_add(other.mentions);
        self.negative = self.negative.saturating_add(other.negative);
        self.scored = self.scored.saturating_add(other.scored);
        self.score_sum += other.score_sum;
        self.weight += other.weight;
        self.bad += other.bad;
    }

    /// What a minute teaches: weighted mentions, and negative ones.
    pub fn taught(&self) -> (f64, f64) {
        (
            self.weight + self.backfill[0].max(0.0),
            self.bad + self.backfill[1].max(0.0),
        )
    }

    /// What a message tells of it; the sources are counted elsewhere.
    pub fn observed(&self, sources: u32) -> Observed {
        Observed {
            mentions: self.mentions,
            negative: self.negative,
            sources,
            mean_score: (self.score_sum / f64::from(self.scored.max(1))) as f32,
        }
    }
}

/// The minutes with stories, by when they begin.
#[derive(Debug, Clone, Default, PartialEq)]
pub(super) struct Minutes {
    kept: Vec<(i64, Tally)>,
    /// The first minute that has not taught yet.
    pub untaught: Option<i64>,
}

impl Minutes {
    /// Those of an entity that was watched in vain from a minute on.
    pub fn watched_since(minute: Option<i64>) -> Self {
        Self {
            kept: Vec::new(),
            untaught: minute,
        }
    }

    /// Counts a story in its minute; false when that has taught already.
    pub fn add(&mut self, story: &Counted) -> bool {
        let minute = minute_of(story.event_time);
        if self.untaught.is_some_and(|untaught| minute < untaught) {
            return false;
        }
        let index = self.find(minute).unwrap_or_else(|index| {
            self.kept.insert(index, (minute, Tally::default()));
            index
        });
        self.kept[index].1.count(story, 1.0);
        if self.kept.len() > KEPT {
            self.kept.remove(0);
        }
        true
    }

    /// Takes a story out of its minute, if that is still there.
    pub fn take_back(&mut self, story: &Counted) {
        if let Ok(index) = self.find(minute_of(story.event_time)) {
            self.kept[index].1.count(story, -1.0);
        }
    }

    /// The minute's sums; nothing when it has none, or is gone.
    #[cfg(test)]
    pub fn at(&self, minute: i64) -> Tally {
        self.find(minute)
            .map_or_else(|_| Tally::default(), |index| self.kept[index].1)
    }

    /// The sums of the minutes `from` to before `to`.
    pub fn sum(&self, from: i64, to: i64) -> Tally {
        let mut sum = Tally::default();
        self.within(from, to).for_each(|(_, tally)| sum.add(tally));
        sum
    }

    /// Minutes with stories from one to before another, oldest first.
    pub fn within(&self, from: i64, to: i64) -> impl DoubleEndedIterator<Item = &(i64, Tally)> {
        let begin = self.kept.partition_point(|(minute, _)| *minute < from);
        let end = self.kept.partition_point(|(minute, _)| *minute < to);
        self.kept[begin..end.max(begin)].iter()
    }

    /// Starts of the minutes with stories.
    pub fn starts(&self) -> impl Iterator<Item = i64> {
        self.kept.iter().map(|(minute, _)| *minute)
    }

    /// Marks what must not become usual.
    pub fn flag(&mut self, from: i64, to: i64) {
        for (minute, tally) in &mut self.kept {
            tally.flagged |= (from..to).contains(minute);
        }
    }

    /// Forgets minutes before one.
    pub fn forget_before(&mut self, minute: i64) {
        self.kept.retain(|(start, _)| *start >= minute);
        give_back!(self.kept);
    }

    /// When the oldest minute begins.
    pub fn earliest(&self) -> Option<Timestamp> {
        self.kept
            .first()
            .map(|(minute, _)| super::volume::start_of(*minute))
    }

    fn find(&self, minute: i64) -> Result<usize, usize> {
        self.kept.binary_search_by_key(&minute, |(start, _)| *start)
    }

    pub fn save(&self) -> Vec<MinuteRow> {
        let row = |(minute, tally): &(i64, Tally)| MinuteRow {
            minute: *minute,
            counts: (tally.mentions, tally.negative, tally.scored, tally.flagged),
            sums: Packed(vec![
                tally.score_sum,
                tally.weight,
                tally.bad,
                tally.backfill[0],
                tally.backfill[1],
            ]),
        };
        self.kept.iter().map(row).collect()
    }

    pub fn restore(untaught: Option<i64>, rows: Vec<MinuteRow>) -> Self {
        let tally = |row: MinuteRow| {
            let sum = |index: usize| row.sums.0.get(index).copied().unwrap_or(0.0);
            let (mentions, negative, scored, flagged) = row.counts;
            let tally = Tally {
                mentions,
                negative,
                scored,
                score_sum: sum(0),
                weight: sum(1),
                bad: sum(2),
                backfill: [sum(3), sum(4)],
                flagged,
            };
            (row.minute, tally)
        };
        Self {
            kept: rows.into_iter().map(tally).collect(),
            untaught,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::super::tests::at;
    use super::*;
    use proptest::prelude::*;

    fn story(seconds: i64, score: f32) -> Counted {
        Counted {
            event_time: at(seconds),
            score: Some(score),
            negative: score < 0.0,
            backfill: false,
            weight: 1.0,
            bad: (-score).max(0.0),
        }
    }

    fn with(stories: &[Counted]) -> Minutes {
        let mut minutes = Minutes::default();
        for story in stories {
            assert!(minutes.add(story));
        }
        minutes
    }

    #[test]
    fn minutes_that_have_taught_take_no_more() {
        let mut minutes = with(&[story(30, -0.5), story(90, -0.5)]);
        minutes.untaught = Some(minute_of(at(60)));
        assert!(!minutes.add(&story(59, -0.5)) && minutes.add(&story(60, -0.5)));
        assert_eq!(minutes.at(minute_of(at(60))).negative, 2);
        assert_eq!(
            minutes.sum(minute_of(at(0)), minute_of(at(120))).negative,
            3
        );
    }

    #[test]
    fn event_time_that_runs_away_keeps_the_newest() {
        let mut minutes = Minutes::default();
        for minute in 0..10_000 {
            minutes.add(&story(minute * 60, -0.5));
        }
        assert!(minutes.starts().count() <= KEPT);
        assert_eq!(minutes.at(minute_of(at(9_999 * 60))).negative, 1);
    }

    proptest! {
        #[test]
        fn the_order_of_arrival_does_not_matter(
            (ordered, shuffled) in prop::collection::vec((0i64..600, -1.0f32..1.0), 1..40)
                .prop_flat_map(|stories| (Just(stories.clone()), Just(stories).prop_shuffle())),
        ) {
            let count = |stories: &[(i64, f32)]| {
                let minutes = with(&stories.iter().map(|(s, score)| story(*s, *score)).collect::<Vec<_>>());
                let of = |minute| {
                    let tally = minutes.at(minute);
                    (minute, tally.mentions, tally.negative, (tally.weight * 1e3).round(), (tally.bad * 1e3).round())
                };
                minutes.starts().map(of).collect::<Vec<_>>()
            };
            prop_assert_eq!(count(&ordered), count(&shuffled));
        }

        #[test]
        fn what_is_taken_back_leaves_no_trace(
            stays in prop::collection::vec((0i64..300, -1.0f32..1.0, any::<bool>()), 0..20),
            goes in prop::collection::vec((0i64..300, -1.0f32..1.0, any::<bool>()), 0..20),
        ) {
            let make = |(seconds, score, backfill): &(i64, f32, bool)| Counted { backfill: *backfill, ..story(*seconds, *score) };
            let (stays, goes): (Vec<_>, Vec<_>) = (stays.iter().map(make).collect(), goes.iter().map(make).collect());
            let without = with(&stays);
            let mut minutes = with(&[stays, goes.clone()].concat());
            goes.iter().for_each(|story| minutes.take_back(story));
            for minute in (0..5).map(|minute| minute_of(at(minute * 60))) {
                let (tally, expected) = (minutes.at(minute), without.at(minute));
                prop_assert_eq!((tally.mentions, tally.negative), (expected.mentions, expected.negative));
                prop_assert!((tally.taught().0 - expected.taught().0).abs() < 1e-5);
                prop_assert!((tally.taught().1 - expected.taught().1).abs() < 1e-5);
            }
        }
    }
}
