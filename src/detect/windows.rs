//! Tumbling event-time windows of one entity and one length, and the baselines their closing teaches.

use super::baseline::{Baseline, Expectation};
use super::copies::Counted;
use super::snapshot::{Exact, TallyRow, WindowsSnapshot};
use crate::domain::{Expected, Observed, SpikeWindow, Timestamp};
use std::time::Duration;

/// Windows open at once. Only the newest are kept when event time runs far ahead of the watermark.
const OPEN_WINDOWS: usize = 240;

/// A surprising window teaches no more than its expected count and this many standard deviations.
const SURPRISE_TEACHES: f64 = 3.0;

/// Sums over the stories of one window. Those marked as backfill stand apart: they teach, and are not judged.
#[derive(Debug, Clone, Copy, Default, PartialEq)]
pub(super) struct Tally {
    pub mentions: u32,
    pub negative: u32,
    scored: u32,
    score_sum: f64,
    backfill_mentions: u32,
    backfill_negative: u32,
}

impl Tally {
    fn add(&mut self, story: &Counted) {
        if story.backfill {
            self.backfill_mentions += 1;
            self.backfill_negative += u32::from(story.negative);
            return;
        }
        self.mentions += 1;
        self.negative += u32::from(story.negative);
        if let Some(score) = story.score {
            self.scored += 1;
            self.score_sum += f64::from(score);
        }
    }

    fn take_back(&mut self, story: &Counted) {
        if story.backfill {
            self.backfill_mentions -= 1;
            self.backfill_negative -= u32::from(story.negative);
            return;
        }
        self.mentions -= 1;
        self.negative -= u32::from(story.negative);
        if let Some(score) = story.score {
            self.scored -= 1;
            self.score_sum -= f64::from(score);
        }
    }

    fn save(&self, start: Timestamp) -> TallyRow {
        let sum = Exact(self.score_sum);
        let backfill = (self.backfill_mentions, self.backfill_negative);
        (
            start.into(),
            self.mentions,
            self.negative,
            self.scored,
            sum,
            backfill.0,
            backfill.1,
        )
    }

    fn restore(row: TallyRow) -> (Timestamp, Self) {
        let (start, mentions, negative, scored, score_sum, backfill_mentions, backfill_negative) =
            row;
        let tally = Self {
            mentions,
            negative,
            scored,
            score_sum: score_sum.0,
            backfill_mentions,
            backfill_negative,
        };
        (start.into(), tally)
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

/// What a window usually holds.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(super) struct Usual {
    pub mentions: Expectation,
    pub negative: Expectation,
}

impl Usual {
    pub fn expected(&self) -> Expected {
        Expected {
            mentions: self.mentions.mean,
            negative: self.negative.mean,
        }
    }
}

/// When a window that closes is too surprising to teach its whole count.
#[derive(Debug, Clone, Copy)]
pub(super) struct Surprise {
    /// At or below this probability.
    pub p_value: f64,
    /// But not with fewer negative stories.
    pub min_negative: u32,
    /// Always, because an alert is open.
    pub alert_open: bool,
}

/// The windows of one length.
#[derive(Debug)]
pub(super) struct Windows {
    length: Duration,
    /// Windows with at least one story, by start: the open ones, and the one that is kept.
    windows: Vec<(Timestamp, Tally)>,
    /// Start of a window that stays readable after it has closed.
    kept: Option<Timestamp>,
    /// Event time up to which windows are closed.
    closed: Option<Timestamp>,
    /// Silence up to `closed`.
    silence: Duration,
    mentions: Baseline,
    negative: Baseline,
}

impl Windows {
    /// Windows of an entity that was watched in vain since an instant, where there is one; `silence` is the sum of
    /// all silences up to then.
    pub fn new(length: Duration, watched_since: Option<Timestamp>, silence: Duration) -> Self {
        let length = length.max(Duration::from_millis(1));
        Self {
            length,
            windows: Vec::new(),
            kept: None,
            closed: watched_since.map(|since| since.floor(length)),
            silence,
            mentions: Baseline::new(length),
            negative: Baseline::new(length),
        }
    }

    pub fn save(&self) -> WindowsSnapshot {
        WindowsSnapshot {
            length_ms: self.length_ms(),
            closed: self.closed.map(Into::into),
            kept: self.kept.map(Into::into),
            silence_ms: self.silence.as_millis() as u64,
            mentions: self.mentions.save(),
            negative: self.negative.save(),
            open: self
                .windows
                .iter()
                .map(|(start, tally)| tally.save(*start))
                .collect(),
        }
    }

    pub fn restore(saved: WindowsSnapshot) -> Self {
        let length = Duration::from_millis(saved.length_ms.max(1));
        Self {
            length,
            windows: saved.open.into_iter().map(Tally::restore).collect(),
            kept: saved.kept.map(Into::into),
            closed: saved.closed.map(Into::into),
            silence: Duration::from_millis(saved.silence_ms),
            mentions: Baseline::restore(length, saved.mentions),
            negative: Baseline::restore(length, saved.negative),
        }
    }

    pub fn length_ms(&self) -> u64 {
        self.length.as_millis() as u64
    }

    /// Silence up to where windows are closed.
    pub fn silence(&self) -> Duration {
        self.silence
    }

    /// The window an instant lies in.
    pub fn at(&self, instant: Timestamp) -> SpikeWindow {
        let start = instant.floor(self.length);
        SpikeWindow {
            start,
            end: start + self.length,
        }
    }

    /// Counts a story in its window; false when that is closed.
    pub fn add(&mut self, story: &Counted, surprise: Surprise) -> bool {
        let start = story.event_time.floor(self.length);
        if self.closed.is_some_and(|closed| start < closed) {
            return false;
        }
        let index = self.find(start).unwrap_or_else(|index| {
            self.windows.insert(index, (start, Tally::default()));
            index
        });
        self.windows[index].1.add(story);
        if self.windows.len() > OPEN_WINDOWS {
            // The oldest may be the one that is kept: behind the second there is always one less.
            self.close(self.windows[2].0, self.silence, surprise);
        }
        true
    }

    /// Takes a story out of its window, if it is still there.
    pub fn take_back(&mut self, story: &Counted) {
        let start = story.event_time.floor(self.length);
        if let Ok(index) = self.find(start) {
            self.windows[index].1.take_back(story);
        }
    }

    /// Keeps the window that starts there readable until told otherwise.
    pub fn keep(&mut self, start: Option<Timestamp>) {
        self.kept = start;
    }

    /// What is in the window that starts there; nothing when it has gone.
    pub fn tally(&self, start: Timestamp) -> Tally {
        self.find(start)
            .map_or_else(|_| Tally::default(), |index| self.windows[index].1)
    }

    /// Windows with stories, by start.
    pub fn starts(&self) -> impl Iterator<Item = Timestamp> {
        self.windows.iter().map(|(start, _)| *start)
    }

    /// What is usual in a window.
    pub fn usual(&self) -> Usual {
        Usual {
            mentions: self.mentions.expect(),
            negative: self.negative.expect(),
        }
    }

    /// Closes what ends at or before `watermark` and teaches the baselines, empty windows included unless nobody
    /// watched: `silence` is the sum of all silences so far. False when there is none to close.
    pub fn close(&mut self, watermark: Timestamp, silence: Duration, surprise: Surprise) -> bool {
        let until = watermark.floor(self.length);
        if self.closed.is_some_and(|closed| until <= closed) {
            return false;
        }
        let mut taught = 0;
        let closing = |start: Timestamp| start < until && Some(start) >= self.closed;
        for (_, tally) in self.windows.iter().filter(|(start, _)| closing(*start)) {
            taught += 1;
            let negative = tally.negative + tally.backfill_negative;
            let surprising = surprise.alert_open
                || negative >= surprise.min_negative
                    && self.negative.expect().upper_tail(negative) <= surprise.p_value;
            let mentions = tally.mentions + tally.backfill_mentions;
            teach(&mut self.mentions, mentions, surprising);
            teach(&mut self.negative, negative, surprising);
        }
        if let Some(closed) = self.closed {
            let watched = until
                .since(closed)
                .saturating_sub(silence.saturating_sub(self.silence));
            let passed = (watched.as_millis() / self.length.as_millis()) as u64;
            let empty = passed.saturating_sub(taught);
            self.mentions.teach_empty(empty);
            self.negative.teach_empty(empty);
        }
        self.windows
            .retain(|(start, _)| *start >= until || Some(*start) == self.kept);
        self.closed = Some(until);
        self.silence = silence;
        true
    }

    /// Index of the window that starts there, or where it would stand.
    fn find(&self, start: Timestamp) -> Result<usize, usize> {
        self.windows
            .binary_search_by_key(&start, |(start, _)| *start)
    }
}

/// A surprising window teaches only so much, so that a spike does not become the measure of the next one; yet a
/// level that stays is learned in the end.
fn teach(baseline: &mut Baseline, count: u32, surprising: bool) {
    let cap = if surprising {
        baseline.expect().above(SURPRISE_TEACHES)
    } else {
        f64::INFINITY
    };
    baseline.teach(f64::from(count).min(cap));
}

#[cfg(test)]
mod tests {
    use super::super::tests::at;
    use super::*;
    use proptest::prelude::*;

    const MINUTE: Duration = Duration::from_secs(60);
    const CALM: Surprise = Surprise {
        p_value: 0.0,
        min_negative: u32::MAX,
        alert_open: false,
    };

    fn story(seconds: i64, score: f32) -> Counted {
        Counted {
            event_time: at(seconds),
            score: Some(score),
            negative: score < 0.0,
            backfill: false,
            lengths: 1,
        }
    }

    fn with(stories: &[Counted]) -> Windows {
        let mut windows = Windows::new(MINUTE, Some(at(0)), Duration::ZERO);
        for story in stories {
            assert!(windows.add(story, CALM));
        }
        windows
    }

    #[test]
    fn closed_windows_take_no_more_and_open_ones_do() {
        let mut windows = with(&[story(30, -0.5), story(90, -0.5)]);
        windows.close(at(119), Duration::ZERO, CALM);
        assert!(!windows.add(&story(59, -0.5), CALM));
        assert!(windows.add(&story(60, -0.5), CALM));
        assert_eq!(windows.tally(at(60)).negative, 2);
        assert_eq!(windows.tally(at(0)), Tally::default());
    }

    #[test]
    fn a_window_asked_for_stays_readable_but_takes_and_teaches_no_more() {
        let mut windows = with(&[story(30, -0.5)]);
        windows.keep(Some(at(0)));
        windows.close(at(60), Duration::ZERO, CALM);
        let taught = windows.negative.expect();
        assert_eq!(windows.tally(at(0)).negative, 1);
        assert!(!windows.add(&story(31, -0.5), CALM));
        windows.close(at(60), Duration::ZERO, CALM);
        windows.keep(None);
        assert_eq!(windows.negative.expect(), taught);
        windows.close(at(120), Duration::ZERO, CALM);
        assert_eq!(windows.tally(at(0)), Tally::default());
        assert!(windows.negative.expect().mean < taught.mean);
    }

    #[test]
    fn silence_teaches_nothing_and_watched_emptiness_does() {
        let hour = Duration::from_secs(3600);
        let mut silent = with(&[story(30, -0.5)]);
        silent.close(at(60), Duration::ZERO, CALM);
        let mut watched = with(&[story(30, -0.5)]);
        watched.close(at(60), Duration::ZERO, CALM);
        let before = watched.negative.expect();
        silent.close(at(3660), hour, CALM);
        watched.close(at(3660), Duration::ZERO, CALM);
        assert_eq!(silent.negative.expect(), before);
        assert!(watched.negative.expect().mean < before.mean / 50.0);
    }

    #[test]
    fn a_surprising_window_teaches_a_capped_count() {
        let mut baseline = Baseline::new(MINUTE);
        for _ in 0..500 {
            teach(&mut baseline, 1, false);
        }
        let before = baseline.expect().mean;
        teach(&mut baseline, 10_000, true);
        assert!(baseline.expect().mean < before * 1.02);
        for _ in 0..10_000 {
            teach(&mut baseline, 10_000, true);
        }
        assert!(baseline.expect().mean > 1000.0);
    }

    #[test]
    fn event_time_that_runs_away_keeps_the_newest_windows() {
        let mut windows = Windows::new(MINUTE, None, Duration::ZERO);
        for minute in 0..10_000 {
            assert!(windows.add(&story(minute * 60, -0.5), CALM));
        }
        assert!(windows.starts().count() <= OPEN_WINDOWS);
        assert_eq!(windows.tally(at(9_999 * 60)).negative, 1);
    }

    proptest! {
        #[test]
        fn the_order_of_arrival_does_not_matter(
            (ordered, shuffled) in prop::collection::vec((0i64..600, -1.0f32..1.0), 1..40)
                .prop_flat_map(|stories| (Just(stories.clone()), Just(stories).prop_shuffle())),
        ) {
            let count = |stories: &[(i64, f32)]| {
                let mut windows = with(&stories.iter().map(|(s, score)| story(*s, *score)).collect::<Vec<_>>());
                let open: Vec<_> = windows.starts().map(|start| {
                    let tally = windows.tally(start);
                    (start, tally.mentions, tally.negative, (tally.observed(0).mean_score * 1e4).round())
                }).collect();
                windows.close(at(600), Duration::ZERO, CALM);
                (open, windows.usual())
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
            let mut windows = with(&[stays, goes.clone()].concat());
            for story in &goes {
                windows.take_back(story);
            }
            for start in (0..5).map(|minute| at(minute * 60)) {
                let (tally, expected) = (windows.tally(start), without.tally(start));
                prop_assert_eq!((tally.mentions, tally.negative), (expected.mentions, expected.negative));
                prop_assert!((tally.score_sum - expected.score_sum).abs() < 1e-5);
            }
        }
    }
}
