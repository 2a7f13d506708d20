//! One entity: its stories, windows and alert, and what a mention or a retraction does to them.

use super::alerts::{Alert, Finding, Ground};
use super::copies::{Counted, SEGMENT, Stories, StoryNumber};
use super::evidence::Negatives;
use super::snapshot::{EntitySnapshot, EntityTally, KnownSnapshot, SegmentSnapshot, StoryRow};
use super::windows::{Surprise, Usual, Windows};
use crate::config::DetectConfig;
use crate::domain::{
    AlertMessage, EntityId, Label, MentionEvent, Retraction, Sentiment, Timestamp,
};
use std::sync::Arc;
use std::time::Duration;

/// An entity that nobody mentioned for so long is forgotten, baseline and all.
const FORGOTTEN_AFTER: Duration = Duration::from_secs(30 * 24 * 3600);

/// Lengths of windows that are judged; further ones are ignored.
const LENGTHS: usize = 32;

/// What holds for all entities of a detector at the moment.
#[derive(Debug, Clone, Copy)]
pub(super) struct Moment<'a> {
    pub config: &'a DetectConfig,
    pub watermark: Option<Timestamp>,
    /// Sum of all silences.
    pub silence: Duration,
}

impl Moment<'_> {
    /// Where the look-back begins.
    pub fn horizon(&self) -> Option<Timestamp> {
        self.watermark
            .map(|watermark| watermark - self.config.copy_lookback)
    }
}

/// What detection knows of one entity.
#[derive(Debug)]
pub(super) struct Entity {
    pub id: EntityId,
    pub stories: Stories,
    /// One for each configured length.
    windows: Vec<Windows>,
    negatives: Negatives,
    alert: Alert,
    last_seen: Timestamp,
    /// When it is looked at next even if nothing happens, as the detector's queue has it.
    pub due: Option<Timestamp>,
    /// What its mentions have come to.
    pub tally: EntityTally,
    /// What an earlier life came to that was forgotten at this log offset, until the detector's own record has it.
    pub earlier: Option<(i64, EntityTally)>,
    /// Log offset up to which it was saved when it was restored: what it ignores.
    pub as_of: i64,
    /// Whether it differs from what is saved.
    pub changed: bool,
}

impl Entity {
    /// An entity mentioned for the first time, which was watched in vain since `watched_since` (with the sum of all
    /// silences then).
    pub fn new(
        id: EntityId,
        first_seen: Timestamp,
        watched_since: Option<(Timestamp, Duration)>,
        config: &DetectConfig,
    ) -> Self {
        let (since, silence) = watched_since.unzip();
        let windows = |length: &Duration| Windows::new(*length, since, silence.unwrap_or_default());
        Self {
            id,
            stories: Stories::default(),
            windows: config.windows.iter().take(LENGTHS).map(windows).collect(),
            negatives: Negatives::default(),
            alert: Alert::Quiet { not_before: None },
            last_seen: first_seen,
            due: None,
            tally: EntityTally::default(),
            earlier: None,
            as_of: -1,
            changed: false,
        }
    }

    /// Its own record. `segments` are those that are saved.
    pub fn save(&self, epoch: &Arc<str>, as_of: i64, horizon: Option<Timestamp>) -> EntitySnapshot {
        let lengths: Vec<u64> = self.windows.iter().map(Windows::length_ms).collect();
        let (first_story, last_told, segments, stories) = self.stories.open(horizon);
        let known = KnownSnapshot {
            last_seen: self.last_seen.into(),
            due: self.due.map(Into::into),
            windows: self.windows.iter().map(Windows::save).collect(),
            alert: self.alert.save(&lengths),
            negatives: self.negatives.save(),
            first_story,
            last_told: last_told.map(Into::into),
            segments: segments
                .iter()
                .map(|(n, (version, as_of))| (*n, *version, *as_of))
                .collect(),
            stories,
        };
        EntitySnapshot::of(epoch, as_of, self.tally, self.earlier, Some(known))
    }

    /// An entity as it was saved, with the segments its record names. Windows of lengths that are no longer configured
    /// go; those of new lengths begin at the watermark.
    ///
    /// # Errors
    /// What does not fit together.
    pub fn restore(
        id: EntityId,
        tally: EntityTally,
        known: KnownSnapshot,
        segments: Vec<SegmentSnapshot>,
        now: Moment,
    ) -> Result<Self, String> {
        let configured: Vec<u64> = now
            .config
            .windows
            .iter()
            .take(LENGTHS)
            .map(|length| length.as_millis().max(1) as u64)
            .collect();
        let place = |length: u64| configured.iter().position(|known| *known == length);
        let lengths: Vec<Option<usize>> = known
            .windows
            .iter()
            .map(|windows| place(windows.length_ms))
            .collect();
        let mut saved: Vec<_> = known.windows.into_iter().collect();
        let windows = configured.iter().map(|length| {
            match saved
                .iter()
                .position(|windows| windows.length_ms == *length)
            {
                Some(index) => Windows::restore(saved.swap_remove(index)),
                None => Windows::new(Duration::from_millis(*length), now.watermark, now.silence),
            }
        });
        let windows = windows.collect();

        let mut rows: Vec<(StoryNumber, StoryRow)> = Vec::new();
        let mut next = known.first_story / SEGMENT * SEGMENT;
        for segment in segments {
            next = segment.first_story;
            rows.extend((next..).zip(segment.stories));
            next = (next / SEGMENT + 1) * SEGMENT;
        }
        rows.extend((next.max(known.first_story)..).zip(known.stories));
        let saved = known
            .segments
            .iter()
            .map(|(n, version, as_of)| (*n, (*version, *as_of)))
            .collect();
        let last_told = known.last_told.map(Into::into);
        Ok(Self {
            id,
            stories: Stories::restore(known.first_story, last_told, saved, rows, &lengths)?,
            windows,
            negatives: Negatives::restore(known.negatives, &lengths),
            alert: Alert::restore(known.alert, &configured),
            last_seen: known.last_seen.into(),
            due: known.due.map(Into::into),
            tally,
            earlier: None,
            as_of: -1,
            changed: false,
        })
    }

    /// The latest that it has seen, and the silence up to then.
    pub fn seen(&self) -> (Timestamp, Duration) {
        let silence = self.windows.iter().map(Windows::silence).max();
        (self.last_seen, silence.unwrap_or_default())
    }

    /// Whether an alert is open.
    pub fn has_open_alert(&self) -> bool {
        matches!(self.alert, Alert::Open(_))
    }

    /// When it should be looked at even if nothing happens: to resolve an alert, to drop old stories, to be
    /// forgotten.
    pub fn next_due(&self, config: &DetectConfig) -> Timestamp {
        if let Some(resolves_at) = self.alert.resolves_at(config) {
            return resolves_at;
        }
        match self.stories.last_told() {
            Some(told) => told + config.copy_lookback + Duration::from_millis(1),
            None => self.forgotten_at(),
        }
    }

    /// Whether nothing is left that a new entity would not have too.
    pub fn is_forgotten(&self, watermark: Timestamp) -> bool {
        !self.has_open_alert() && self.stories.len() == 0 && self.forgotten_at() <= watermark
    }

    fn forgotten_at(&self) -> Timestamp {
        let cool = match self.alert {
            Alert::Quiet { not_before } => not_before,
            Alert::Open(_) => None,
        };
        cool.max(Some(self.last_seen + FORGOTTEN_AFTER))
            .unwrap_or(self.last_seen)
    }

    /// Brings it up to the watermark: windows close, old stories go.
    pub fn settle(&mut self, now: Moment) {
        let Some(watermark) = now.watermark else {
            return;
        };
        let surprise = self.surprise(now.config);
        let mut closed = false;
        for windows in &mut self.windows {
            closed |= windows.close(watermark, now.silence, surprise);
        }
        if closed {
            let earliest = self.windows.iter().flat_map(Windows::starts).min();
            self.negatives.forget_before(earliest);
        }
        self.stories
            .forget_before(watermark - now.config.copy_lookback);
    }

    /// Resolves an open alert whose time has come.
    pub fn resolve(&mut self, watermark: Timestamp, config: &DetectConfig) -> Option<AlertMessage> {
        let resolved = self.alert.resolve(watermark, config)?;
        self.keep_ground();
        Some(resolved)
    }

    /// Counts a story's first mention in the windows; false when it came too late for all of them.
    pub fn count(
        &mut self,
        number: StoryNumber,
        mention: &MentionEvent,
        config: &DetectConfig,
    ) -> bool {
        let sentiment = mention.sentiment.filter(is_finite);
        let mut counted = Counted {
            event_time: mention.event_time,
            score: sentiment.map(|sentiment| sentiment.score().clamp(-1.0, 1.0)),
            negative: sentiment.is_some_and(|sentiment| sentiment.label() == Label::Negative),
            backfill: mention.backfill,
            lengths: 0,
        };
        self.last_seen = self.last_seen.max(mention.event_time);
        let surprise = self.surprise(config);
        for (length, windows) in self.windows.iter_mut().enumerate() {
            if windows.add(&counted, surprise) {
                counted.lengths |= 1 << length;
            }
        }
        if counted.lengths == 0 {
            return false;
        }
        if counted.negative && !counted.backfill {
            self.negatives.push(number, counted, mention);
        }
        if let Some(story) = self.stories.get_mut(number) {
            story.counted = Some(counted);
        }
        true
    }

    /// Judges the windows a story was counted in: nothing but a negative one can open an alert or worsen it.
    pub fn judge(
        &mut self,
        number: StoryNumber,
        mention: &MentionEvent,
        config: &DetectConfig,
    ) -> Option<AlertMessage> {
        let counted = self.stories.get(number)?.counted?;
        if !counted.negative || counted.backfill {
            return None;
        }
        let findings: Vec<Finding> = (0..self.windows.len())
            .filter(|length| counted.was_in_time_for(*length))
            .map(|length| {
                let usual = self.windows[length].usual();
                self.finding(length, counted.event_time, usual, config)
            })
            .collect();
        let (negatives, stories) = (&self.negatives, &self.stories);
        let message = self
            .alert
            .judge(&self.id, mention, &findings, config, |finding| {
                negatives.evidence(finding.length, finding.window, stories)
            })?;
        self.keep_ground();
        Some(message)
    }

    /// Takes back what a post told. The first post of a story takes the story's evidence with it, a copy only itself.
    /// An open alert that no longer has a spike to stand on is retracted.
    pub fn retract(
        &mut self,
        number: StoryNumber,
        post: u64,
        retraction: &Retraction,
        config: &DetectConfig,
    ) -> Option<AlertMessage> {
        let story = self.stories.get_mut(number)?;
        if story.post != post {
            story.copies = story.copies.saturating_sub(1);
            return None;
        }
        story.retracted_by = Some(retraction.origin.clone());
        let counted = story.counted.take()?;
        for (length, windows) in self.windows.iter_mut().enumerate() {
            if counted.was_in_time_for(length) {
                windows.take_back(&counted);
            }
        }
        self.negatives.take_back(number);

        let Alert::Open(open) = &mut self.alert else {
            return None;
        };
        open.forget(&retraction.post_id);
        // The ground is judged as it was: what was learned since then does not take an alert back.
        let Ground {
            length,
            start,
            usual,
        } = open.stands_on()?;
        let ground = self.finding(length, start, usual, config);
        if ground.is_spike(config) || self.has_spike(config) {
            return None;
        }
        let evidence = self
            .negatives
            .evidence(length, ground.window, &self.stories);
        let retracted = self.alert.retract(retraction.event_time, &ground, evidence);
        self.keep_ground();
        retracted
    }

    /// Whether any window is a spike now.
    fn has_spike(&self, config: &DetectConfig) -> bool {
        self.windows.iter().enumerate().any(|(length, windows)| {
            let usual = windows.usual();
            windows
                .starts()
                .any(|start| self.finding(length, start, usual, config).is_spike(config))
        })
    }

    /// Judges the window of the `length`th length around an instant by what is usual in it.
    fn finding(
        &self,
        length: usize,
        instant: Timestamp,
        usual: Usual,
        config: &DetectConfig,
    ) -> Finding {
        let windows = &self.windows[length];
        let window = windows.at(instant);
        let tally = windows.tally(window.start);
        let p_value = usual.negative.upper_tail(tally.negative);
        let sources = if p_value <= config.p_value {
            self.negatives.sources(length, window)
        } else {
            0
        };
        Finding {
            length,
            window,
            observed: tally.observed(sources),
            usual,
            p_value,
        }
    }

    /// Tells the windows which one an open alert stands on.
    fn keep_ground(&mut self) {
        let ground = match &self.alert {
            Alert::Open(open) => open.stands_on(),
            Alert::Quiet { .. } => None,
        };
        for (index, windows) in self.windows.iter_mut().enumerate() {
            windows.keep(
                ground
                    .filter(|ground| ground.length == index)
                    .map(|ground| ground.start),
            );
        }
    }

    fn surprise(&self, config: &DetectConfig) -> Surprise {
        Surprise {
            p_value: config.p_value,
            min_negative: config.min_negative,
            alert_open: self.has_open_alert(),
        }
    }
}

fn is_finite(sentiment: &Sentiment) -> bool {
    [sentiment.negative, sentiment.neutral, sentiment.positive]
        .iter()
        .all(|probability| probability.is_finite())
}
