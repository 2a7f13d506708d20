//! One entity: its stories, minutes and alert, and what a mention or a retraction does to them.

use super::alerts::{Alert, Ground, Told, Verdict};
use super::baseline::{Baseline, Stretch};
use super::calendar::Calendar;
use super::calibration::Calibration;
use super::copies::{Counted, SEGMENT, Stories, StoryNumber};
use super::evidence::Negatives;
use super::explain;
use super::horizons::{Finding, Judgement, View};
use super::minutes::{HOUR, Minutes, SETTLES_AFTER};
use super::rules::{self, Rule};
use super::snapshot::{
    EntitySnapshot, EntityTally, KnownSnapshot, Packed, SegmentSnapshot, StoryRow,
};
use super::volume::{Mix, Volume, minute_of, start_of};
use crate::config::DetectConfig;
use crate::domain::{
    AlertMessage, EntityId, Label, MentionEvent, Retraction, Sentiment, SpikeWindow, Timestamp,
};
use std::sync::Arc;
use std::time::Duration;

/// An entity that nobody mentioned for so long is forgotten, baseline and all.
const FORGOTTEN_AFTER: Duration = Duration::from_secs(30 * 24 * 3600);

/// It learns at least so often, while it is known how much there was to hear.
const LEARNS_EVERY: Duration = Duration::from_secs(24 * 3600);

/// Minutes back to which an entity learns at once.
const LEARNS_BACK: i64 = 49 * 60;

/// Mentions after which what a source had to say of it counts by a factor e less.
const MIX_MEMORY: f32 = 200.0;

/// Time in which the stories of one author are capped.
const AUTHOR_TIME: Duration = Duration::from_secs(60 * HOUR as u64);

/// What holds for all entities of a detector at the moment.
#[derive(Debug, Clone, Copy)]
pub(super) struct Moment<'a> {
    pub config: &'a DetectConfig,
    pub rules: &'a [Rule],
    pub calendar: &'a Calendar,
    pub volume: &'a Volume,
    pub watermark: Option<Timestamp>,
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
    /// What it is called in here.
    pub id: EntityId,
    /// The entity, and which rule judges it.
    name: EntityId,
    rule: usize,
    pub stories: Stories,
    minutes: Minutes,
    baseline: Baseline,
    calibration: Calibration,
    mix: Mix,
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
    /// An entity mentioned for the first time, which was watched in vain since `watched_since`.
    pub fn new(
        id: EntityId,
        first_seen: Timestamp,
        watched_since: Option<Timestamp>,
        now: Moment,
    ) -> Self {
        let (rule, name) = rules::named(now.rules, &id);
        Self {
            id,
            name,
            rule,
            stories: Stories::default(),
            minutes: Minutes::watched_since(
                watched_since.map(|since| minute_of(since) - SETTLES_AFTER),
            ),
            baseline: Baseline::new(&now.rules[rule].horizons),
            calibration: Calibration::default(),
            mix: Mix::default(),
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
        let (first_story, last_told, segments, stories) = self.stories.open(horizon);
        let known = KnownSnapshot {
            last_seen: self.last_seen.into(),
            due: self.due.map(Into::into),
            untaught: self.minutes.untaught,
            minutes: self.minutes.save(),
            baseline: self.baseline.save(),
            calibration: Packed(self.calibration.save().to_vec()),
            mix: Packed(self.mix.to_vec()),
            alert: self.alert.save(),
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

    /// An entity as it was saved, with the segments its record names. Horizons that are new know nothing yet of how
    /// uneven counts are.
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
        let (rule, name) = rules::named(now.rules, &id);
        let mut mix = Mix::default();
        mix.iter_mut()
            .zip(known.mix.0)
            .for_each(|(weight, saved)| *weight = saved);
        Ok(Self {
            id,
            name,
            rule,
            stories: Stories::restore(known.first_story, last_told, saved, rows)?,
            minutes: Minutes::restore(known.untaught, known.minutes),
            baseline: Baseline::restore(known.baseline, &now.rules[rule].horizons)?,
            calibration: Calibration::restore(&known.calibration.0),
            mix,
            negatives: Negatives::restore(known.negatives),
            alert: Alert::restore(known.alert),
            last_seen: known.last_seen.into(),
            due: known.due.map(Into::into),
            tally,
            earlier: None,
            as_of: -1,
            changed: false,
        })
    }

    /// Whether an alert is open.
    pub fn has_open_alert(&self) -> bool {
        matches!(self.alert, Alert::Open(_))
    }

    /// When it should be looked at even if nothing happens: to resolve an alert, to learn, to drop old stories, to be
    /// forgotten.
    pub fn next_due(&self, config: &DetectConfig) -> Timestamp {
        if let Some(resolves_at) = self.alert.resolves_at(config) {
            return resolves_at;
        }
        let learns = self
            .minutes
            .untaught
            .map(|minute| start_of(minute) + LEARNS_EVERY);
        let drops = self
            .stories
            .last_told()
            .map(|told| told + config.copy_lookback + Duration::from_millis(1));
        let forgotten = Some(self.forgotten_at());
        [learns, drops, forgotten]
            .into_iter()
            .flatten()
            .min()
            .unwrap_or(self.last_seen)
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

    /// Brings it up to the watermark: minutes teach, old ones and old stories go.
    pub fn settle(&mut self, now: Moment) {
        let Some(watermark) = now.watermark else {
            return;
        };
        self.stories
            .forget_before(watermark - now.config.copy_lookback);
        let minute = minute_of(watermark);
        let untaught = *self.minutes.untaught.get_or_insert(minute - SETTLES_AFTER);
        if minute - SETTLES_AFTER <= untaught {
            return;
        }
        self.learn(minute - SETTLES_AFTER, now);
        let ground = match &self.alert {
            Alert::Open(open) => open.stands_on(),
            Alert::Quiet { .. } => None,
        };
        // A post may be late by as much as minutes take to settle, and is judged by those before it; so is what is left of
        // an alert's ground when a post is taken back.
        let judged = ground.map_or(minute, |ground| ground.to.min(minute));
        let reach = now.rules[self.rule].longest_horizon().max(HOUR);
        self.minutes.forget_before(judged - SETTLES_AFTER - reach);
        self.negatives.forget_before(self.minutes.earliest());
    }

    /// Learns from all minutes before one that have not taught yet.
    fn learn(&mut self, until: i64, now: Moment) {
        let Some(untaught) = self.minutes.untaught.replace(until) else {
            return;
        };
        let pooled = now.volume.share();
        let open = self.has_open_alert();
        let mut from = untaught.max(until - LEARNS_BACK);
        while from < until {
            let to = until.min((from.div_euclid(60) + 1) * 60);
            let cell = now.calendar.cell(&self.name, start_of(from));
            let stretch = |from: i64, to: i64| Stretch {
                minute: from,
                minutes: to - from,
                cell,
                exposure: now.volume.heard(&self.mix, from, to, cell),
                mentions: 0.0,
                negative: 0.0,
                flagged: open,
            };
            let heard = now.volume.heard(&self.mix, from, to, cell);
            self.calibration.pass(heard.min((to - from) as f64));
            let announced = now.calendar.event(&self.name, start_of(from)).is_some();
            let mut empty = from;
            for (minute, tally) in self.minutes.within(from, to).filter(|_| !announced) {
                if empty < *minute {
                    self.baseline.teach(&stretch(empty, *minute), pooled);
                }
                let (mentions, negative) = tally.taught();
                let told = Stretch {
                    mentions,
                    negative,
                    flagged: open || tally.flagged,
                    ..stretch(*minute, minute + 1)
                };
                self.baseline.teach(&told, pooled);
                empty = minute + 1;
            }
            if empty < to && !announced {
                self.baseline.teach(&stretch(empty, to), pooled);
            }
            from = to;
        }
    }

    /// Resolves an open alert whose time has come.
    pub fn resolve(&mut self, watermark: Timestamp, config: &DetectConfig) -> Option<AlertMessage> {
        self.alert.resolve(watermark, config)
    }

    /// Counts a story's first mention in its minute; false when it came too late.
    pub fn count(&mut self, number: StoryNumber, mention: &MentionEvent, now: Moment) -> bool {
        let sentiment = mention.sentiment.filter(is_finite);
        let negative = sentiment.is_some_and(|sentiment| sentiment.label() == Label::Negative);
        let weight = sentiment.map_or(0.0, |_| self.weight(mention, negative, now));
        let probability = sentiment
            .filter(|_| negative)
            .map_or(0.0, |sentiment| sentiment.negative);
        let counted = Counted {
            event_time: mention.event_time,
            score: sentiment.map(|sentiment| sentiment.score().clamp(-1.0, 1.0)),
            negative,
            backfill: mention.backfill,
            weight,
            bad: weight * probability.clamp(0.0, 1.0) / now.volume.unit() as f32,
        };
        self.last_seen = self.last_seen.max(mention.event_time);
        if !self.minutes.add(&counted) {
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

    /// How much a story counts: by relevance and by how credible its source is; not at all beyond the author's cap.
    fn weight(&self, mention: &MentionEvent, negative: bool, now: Moment) -> f32 {
        let credible = now
            .config
            .credibility
            .get(&mention.source)
            .copied()
            .unwrap_or(1.0);
        let relevant = if mention.relevance.is_finite() {
            mention.relevance.clamp(0.0, 1.0)
        } else {
            0.0
        };
        let since = mention.event_time - AUTHOR_TIME;
        let cap = now.config.author_cap as usize;
        if negative && mention.author.is_some() && self.negatives.told_by(mention, since) >= cap {
            return 0.0;
        }
        relevant * credible as f32
    }

    /// A mention came from a source.
    pub fn hear(&mut self, source: usize) {
        for weight in &mut self.mix {
            *weight *= 1.0 - 1.0 / MIX_MEMORY;
        }
        if let Some(weight) = self.mix.get_mut(source) {
            *weight += 1.0;
        }
    }

    fn view<'a>(&'a self, now: Moment<'a>) -> View<'a> {
        View {
            entity: &self.name,
            minutes: &self.minutes,
            baseline: &self.baseline,
            mix: &self.mix,
            volume: now.volume,
            calendar: now.calendar,
        }
    }

    /// Judges the minutes up to that of a story: nothing but a negative one can open an alert or worsen it.
    pub fn judge(
        &mut self,
        number: StoryNumber,
        mention: &MentionEvent,
        now: Moment,
    ) -> Option<AlertMessage> {
        let counted = self.stories.get(number)?.counted?;
        if !counted.negative || counted.backfill {
            return None;
        }
        let rule = &now.rules[self.rule];
        let minute = minute_of(counted.event_time);
        if !self.has_open_alert() {
            // Too few to open one, whatever they mean.
            let from = minute + 1 - rule.longest_horizon();
            if self.minutes.sum(from, minute + 1).negative < rule.min_negative {
                return None;
            }
        }
        let judgement = self.view(now).judge(minute, &rule.horizons);
        let enough = judgement
            .findings
            .iter()
            .any(|finding| finding.tally.negative >= rule.min_negative);
        if enough && !self.has_open_alert() {
            self.calibration.see(minute, judgement.ln_minutes);
        }
        let improbable = rule.ln_e_value(judgement.ln_minutes) >= now.config.resolve_e_value.ln();
        let verdict = Verdict {
            ln_minutes: judgement.ln_minutes,
            improbable_until: improbable.then(|| start_of(minute + 1)),
            spike: self.spike(&judgement, rule),
        };
        if let Some(best) = judgement.best().filter(|_| improbable) {
            self.minutes.flag(best.from, best.to);
        }
        let mut alert = std::mem::replace(&mut self.alert, Alert::Quiet { not_before: None });
        let told = |finding: &Finding| {
            let window = finding.window();
            Told {
                sources: self.negatives.sources(window),
                evidence: self.negatives.evidence(window, &self.stories),
                explanation: Some(explain::explanation(&explain::Asked {
                    view: self.view(now),
                    judgement: &judgement,
                    finding,
                    rule,
                    ln_used: self.calibration.ln_used(),
                    concert: self.negatives.in_concert(window),
                })),
                p_value: rule.p_value(judgement.ln_minutes),
            }
        };
        let message = alert.judge(&self.name, mention, &verdict, rule, now.config, told);
        self.alert = alert;
        message
    }

    /// Logarithm of the e-detector from which on an alert opens.
    fn ln_threshold(&self, rule: &Rule) -> f64 {
        rule.ln_threshold() + self.calibration.ln_used()
    }

    /// What is reason enough for an alert: the most telling stretch of which enough is told, by enough sources.
    fn spike(&self, judgement: &Judgement, rule: &Rule) -> Option<Finding> {
        if judgement.ln_minutes < self.ln_threshold(rule) {
            return None;
        }
        let enough = |finding: &&Finding| {
            finding.tally.negative >= rule.min_negative
                && self.negatives.speak(finding.window(), rule.min_sources)
        };
        let findings = judgement.findings.iter().filter(enough);
        findings
            .max_by(|a, b| a.ln_evidence.total_cmp(&b.ln_evidence))
            .copied()
    }

    /// Takes back what a post told. The first post of a story takes the story's evidence with it, a copy only itself.
    /// An open alert that no longer has a spike to stand on is retracted.
    pub fn retract(
        &mut self,
        number: StoryNumber,
        post: u64,
        retraction: &Retraction,
        now: Moment,
    ) -> Option<AlertMessage> {
        let story = self.stories.get_mut(number)?;
        if story.post != post {
            story.copies = story.copies.saturating_sub(1);
            return None;
        }
        story.retracted_by = Some(Box::new(retraction.origin.clone()));
        let counted = story.counted.take()?;
        self.minutes.take_back(&counted);
        self.negatives.take_back(number);

        let Alert::Open(open) = &mut self.alert else {
            return None;
        };
        open.forget(&retraction.post_id);
        // The ground is judged as it was: what was learned since then does not take an alert back.
        let ground = open.stands_on()?;
        let rule = &now.rules[self.rule];
        let tally = self.minutes.sum(ground.from, ground.to);
        let window = SpikeWindow {
            start: start_of(ground.from),
            end: start_of(ground.to),
        };
        let Ground {
            usual, ln_others, ..
        } = ground;
        let ln_minutes = usual.ln_evidence(tally.weight, tally.bad) + ln_others;
        let stands = ln_minutes >= self.ln_threshold(rule)
            && tally.negative >= rule.min_negative
            && self.negatives.speak(window, rule.min_sources);
        if stands || self.has_spike(now) {
            return None;
        }
        let told = Told {
            sources: self.negatives.sources(window),
            evidence: self.negatives.evidence(window, &self.stories),
            explanation: None,
            p_value: rule.p_value(ln_minutes),
        };
        self.alert
            .retract(retraction.event_time, window, &tally, told)
    }

    /// Whether there is a spike at the end of any minute that is kept.
    fn has_spike(&self, now: Moment) -> bool {
        let rule = &now.rules[self.rule];
        let view = self.view(now);
        self.minutes.starts().any(|minute| {
            self.spike(&view.judge(minute, &rule.horizons), rule)
                .is_some()
        })
    }
}

fn is_finite(sentiment: &Sentiment) -> bool {
    [sentiment.negative, sentiment.neutral, sentiment.positive]
        .iter()
        .all(|probability| probability.is_finite())
}
