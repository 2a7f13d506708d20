//! DETECT's judgement: which posts are copies, which windows are improbable, which alerts follow.
//!
//! [`Detector`] judges the entities of one partition of `squall.mentions`, from the records of that partition in their
//! order and from nothing else, so that the same records always give the same decisions:
//!
//! ```text
//!  mention ─► volume: how much is there to hear? ─► copies: whose story? ─► minutes: count it
//!          ─► horizons: how much better does a burst explain it than the baseline? ─► alerts
//!  progress ─► watermark ─► minutes that are over teach the baseline, alerts resolve
//!  retraction ─► copies: which stories? ─► minutes: take them out ─► alerts
//! ```
//!
//! What it has learnt can be saved and restored: see [`Detector::checkpoint`].
//!
//! Pure: no clock, no I/O. [`SeriesDetector`] is the same test over a plain series of counts.

/// What holds for all entities now, borrowed field by field.
macro_rules! moment {
    ($detector:expr) => {
        $crate::detect::entity::Moment {
            config: &$detector.config,
            rules: &$detector.rules,
            calendar: &$detector.calendar,
            volume: &$detector.volume,
            watermark: $detector.watermark.value(),
        }
    };
}

/// Gives memory of vectors or queues back where more than half of it lies idle: most entities are quiet most of the time.
macro_rules! give_back {
    ($($kept:expr),+) => {$(
        let needed = $kept.len() + 1;
        if $kept.capacity() >= 2 * needed {
            $kept.shrink_to(needed);
        }
    )+};
}

mod alerts;
mod baseline;
mod calendar;
mod calibration;
mod checkpoint;
mod copies;
mod entity;
mod evidence;
mod explain;
mod horizons;
mod likelihood;
mod minutes;
mod rules;
mod series;
pub mod snapshot;
mod steady;
mod test;
mod volume;
mod watermark;

pub use calendar::{BUNDLED as BUNDLED_CALENDAR, Calendar};
pub use checkpoint::Restored;
pub use series::{SeriesDetector, SeriesPoint};
pub use snapshot::Checkpoint;
pub use test::upper_tail;

use crate::config::DetectConfig;
use crate::domain::{
    AlertKind, AlertMessage, DetectionRecord, EntityId, Label, MentionCluster, MentionEvent,
    Position, Progress, Retraction, SourcePartition, Timestamp,
};
use copies::{Posts, Saved, Told, post_identity};
use entity::Entity;
use rules::Rule;
use snapshot::EntityTally;
use std::collections::hash_map::Entry;
use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::sync::Arc;
use volume::Volume;
use watermark::Watermark;

/// What follows from a record.
#[expect(clippy::large_enum_variant, reason = "each is moved once and sent")]
#[derive(Debug, Clone, PartialEq)]
pub enum Decision {
    /// An alert opens, worsens, resolves or is retracted.
    Alert(AlertMessage),
    /// A mention belongs to this story.
    Cluster(MentionCluster),
}

/// What a detector has seen and holds.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Counts {
    /// Mentions accepted.
    pub mentions: u64,
    /// Mentions and retractions dropped because they were seen before.
    pub repeats: u64,
    /// Accepted mentions that were copies of a known story.
    pub copies: u64,
    /// Stories not judged because their minute was over long before.
    pub late: u64,
    /// Retractions accepted.
    pub retractions: u64,
    /// Entities' stories, of those in their look-back, to which a retracted post belonged.
    pub taken_back: u64,
    /// Entities held.
    pub entities: usize,
    /// Alerts open.
    pub open_alerts: usize,
}

/// Judges the entities of one partition of `squall.mentions`.
#[derive(Debug)]
pub struct Detector {
    config: DetectConfig,
    rules: Vec<Rule>,
    calendar: Arc<Calendar>,
    /// How far each source partition was seen.
    seen: HashMap<SourcePartition, Seen>,
    watermark: Watermark,
    volume: Volume,
    /// The first watermark: since then an entity never mentioned was watched too.
    watched_since: Option<Timestamp>,
    entities: HashMap<EntityId, Entity>,
    /// Log offset of the last record applied or skipped; -1 before the first.
    as_of: i64,
    /// Log offset up to which the detector's own record is saved.
    saved: i64,
    /// Entities that differ from what is saved, and some more.
    changed: Vec<EntityId>,
    /// Keys of segments that no entity named when it was restored.
    outdated: Vec<String>,
    /// Entities no longer known, until everything that is saved says so.
    forgotten: BTreeMap<EntityId, Forgotten>,
    /// What the forgotten ones came to.
    forgotten_tally: EntityTally,
    /// Every entity once, by when it is looked at even if nothing happens; sooner than needed does no harm.
    due: BTreeSet<(Timestamp, EntityId)>,
    posts: Posts,
    counts: Counts,
}

#[derive(Debug, Default)]
struct Seen {
    mention: Option<Position>,
    /// Offset of the post that takes an earlier one back.
    retraction: Option<i64>,
}

#[derive(Debug)]
struct Forgotten {
    /// Log offset of the record at which it was.
    at: i64,
    /// What it came to.
    tally: EntityTally,
    /// Its segments that are saved.
    segments: Saved,
    /// Log offset up to which it is saved as forgotten; mentions up to there are ignored.
    as_of: Option<i64>,
}

impl Detector {
    /// A detector that has seen nothing, with the calendar that is compiled in.
    pub fn new(config: &DetectConfig) -> Self {
        let mut calendar = Calendar::bundled();
        calendar.prefer(&config.exchange);
        Self::with_calendar(config, Arc::new(calendar))
    }

    /// A detector that has seen nothing.
    pub fn with_calendar(config: &DetectConfig, calendar: Arc<Calendar>) -> Self {
        Self {
            rules: rules::rules(config),
            calendar,
            config: config.clone(),
            seen: HashMap::new(),
            watermark: Watermark::new(config.lateness, config.max_hold),
            volume: Volume::default(),
            watched_since: None,
            entities: HashMap::new(),
            as_of: -1,
            saved: -1,
            changed: Vec::new(),
            outdated: Vec::new(),
            forgotten: BTreeMap::new(),
            forgotten_tally: EntityTally::default(),
            due: BTreeSet::new(),
            posts: Posts::default(),
            counts: Counts::default(),
        }
    }

    /// Applies the record at a log offset, in their order; returns what follows from it. A repeat has no effect, nor
    /// has a record that was applied before what is known was saved.
    pub fn apply(&mut self, offset: i64, record: &DetectionRecord) -> Vec<Decision> {
        if offset <= self.as_of {
            return Vec::new();
        }
        self.as_of = offset;
        match record {
            DetectionRecord::Mention(mention) => self.mention(mention),
            DetectionRecord::Progress(progress) => self.progress(progress),
            DetectionRecord::Retraction(retraction) => self.retraction(retraction),
        }
    }

    /// Goes on behind a record that cannot be read.
    pub fn skip(&mut self, offset: i64) {
        self.as_of = self.as_of.max(offset);
    }

    /// Log offset of the last record applied or skipped.
    pub fn as_of(&self) -> Option<i64> {
        (self.as_of >= 0).then_some(self.as_of)
    }

    /// Event time up to which everything has been seen: windows that end there are closed. None before the
    /// first progress record that names an event time; never goes back.
    pub fn watermark(&self) -> Option<Timestamp> {
        self.watermark.value()
    }

    /// What has been seen and is held.
    pub fn counts(&self) -> Counts {
        Counts {
            entities: self.entities.len(),
            ..self.counts
        }
    }

    fn mention(&mut self, mention: &MentionEvent) -> Vec<Decision> {
        let seen = self.seen.entry(mention.origin.source.clone()).or_default();
        if Some(mention.position()) <= seen.mention {
            self.counts.repeats += 1;
            return Vec::new();
        }
        seen.mention = Some(mention.position());
        self.counts.mentions += 1;
        self.forget_posts();

        let at = mention.event_time;
        let source = self.volume.hear(&mention.entity, &mention.source, at);
        if let Some(sentiment) = &mention.sentiment {
            let negative = sentiment.label() == Label::Negative;
            self.volume
                .score(negative.then_some(f64::from(sentiment.negative)));
        }
        let (_, id) = rules::judged_by(&self.rules, mention);
        let id = &id;
        let now = moment!(self);
        let forgotten = self.forgotten.get(id).and_then(|forgotten| forgotten.as_of);
        let saved = self.entities.get(id).map(|entity| entity.as_of);
        if saved.max(forgotten) >= Some(self.as_of) {
            return Vec::new();
        }
        let entity = match self.entities.entry(id.clone()) {
            Entry::Occupied(known) => known.into_mut(),
            Entry::Vacant(free) => {
                let mut entity = Entity::new(id.clone(), at, self.watched_since, now);
                if let Some(forgotten) = self.forgotten.remove(id) {
                    let earlier = (forgotten.at, forgotten.tally);
                    entity.earlier = (forgotten.at > self.saved).then_some(earlier);
                    entity.stories.inherit(forgotten.segments);
                }
                free.insert(entity)
            }
        };
        entity.tally.mentions += 1;
        entity.hear(source);
        entity.settle(now);
        let horizon = now.horizon();
        let post = post_identity(&mention.source, &mention.post_id);
        let known = self.posts.story(post, id, horizon);
        let (number, told) = entity
            .stories
            .tell(mention, post, known, now.config.copy_lookback);
        if let Some(other) = self.posts.insert(post, id, number, at) {
            entity.stories.drop_post(other, post);
        }
        for gone in entity.stories.note(number, post, at) {
            self.posts.remove(gone, id);
        }

        let mut decisions = Vec::new();
        if let Some(story) = entity.stories.get(number) {
            decisions.push(Decision::Cluster(MentionCluster {
                origin: mention.origin.clone(),
                ordinal: mention.ordinal,
                entity: mention.entity.clone(),
                event_time: at,
                cluster: story.cluster.to_string(),
                novelty: if told == Told::New { 1.0 } else { 0.0 },
            }));
        }
        if told == Told::Copy {
            entity.tally.copies += 1;
            self.counts.copies += 1;
        } else if !entity.count(number, mention, now) {
            entity.tally.late += 1;
            self.counts.late += 1;
        } else if let Some(message) = entity.judge(number, mention, now) {
            decisions.push(self.counts.alert(message));
        }
        schedule(&mut self.due, &mut self.changed, entity, now.config);
        decisions
    }

    fn progress(&mut self, progress: &Progress) -> Vec<Decision> {
        let Some(watermark) = self.watermark.advance(progress) else {
            return Vec::new();
        };
        self.volume.close(watermark, &self.calendar);
        self.watched_since.get_or_insert(watermark);

        let mut due = Vec::new();
        while self.due.first().is_some_and(|(at, _)| *at <= watermark) {
            due.extend(self.due.pop_first());
        }
        let now = moment!(self);
        let mut decisions = Vec::new();
        for (at, id) in due {
            let Some(entity) = self.entities.get_mut(&id) else {
                continue;
            };
            if entity.as_of >= self.as_of {
                self.due.insert((at, id));
                continue;
            }
            entity.due = None;
            entity.settle(now);
            if let Some(message) = entity.resolve(watermark, now.config) {
                decisions.push(self.counts.alert(message));
            }
            if !entity.is_forgotten(watermark) {
                schedule(&mut self.due, &mut self.changed, entity, now.config);
            } else if let Some(entity) = self.entities.remove(&id) {
                self.forgotten_tally += entity.tally;
                let mut tally = entity.tally;
                if let Some((_, earlier)) = entity.earlier.filter(|(at, _)| *at > self.saved) {
                    tally += earlier;
                }
                let forgotten = Forgotten {
                    at: self.as_of,
                    tally,
                    segments: entity.stories.into_saved(),
                    as_of: None,
                };
                self.forgotten.insert(id, forgotten);
            }
        }
        decisions
    }

    fn retraction(&mut self, retraction: &Retraction) -> Vec<Decision> {
        let seen = self
            .seen
            .entry(retraction.origin.source.clone())
            .or_default();
        if Some(retraction.origin.offset) <= seen.retraction {
            self.counts.repeats += 1;
            return Vec::new();
        }
        seen.retraction = Some(retraction.origin.offset);
        self.counts.retractions += 1;

        let now = moment!(self);
        let post = post_identity(&retraction.source, &retraction.post_id);
        let mut decisions = Vec::new();
        for (id, number) in self.posts.stories(post, now.horizon()) {
            let Some(entity) = self.entities.get_mut(&id) else {
                continue;
            };
            if entity.as_of >= self.as_of || entity.stories.get(number).is_none() {
                continue;
            }
            entity.tally.taken_back += 1;
            self.counts.taken_back += 1;
            entity.settle(now);
            if let Some(message) = entity.retract(number, post, retraction, now) {
                decisions.push(self.counts.alert(message));
            }
            schedule(&mut self.due, &mut self.changed, entity, now.config);
        }
        decisions
    }

    /// Drops posts behind the look-back, and what there is no room for.
    fn forget_posts(&mut self) {
        let now = moment!(self);
        for (id, number) in self.posts.forget(now.horizon()) {
            if let Some(entity) = self.entities.get_mut(&id)
                && entity.as_of < self.as_of
            {
                entity.stories.forget_through(number);
                schedule(&mut self.due, &mut self.changed, entity, now.config);
            }
        }
    }
}

/// Sees that an entity that has changed is saved, and looked at when it is due, or sooner.
fn schedule(
    due: &mut BTreeSet<(Timestamp, EntityId)>,
    changed: &mut Vec<EntityId>,
    entity: &mut Entity,
    config: &DetectConfig,
) {
    if !std::mem::replace(&mut entity.changed, true) {
        changed.push(entity.id.clone());
    }
    let next = entity.next_due(config);
    if entity.due.is_some_and(|at| at <= next) {
        return;
    }
    if let Some(at) = entity.due.replace(next) {
        due.remove(&(at, entity.id.clone()));
    }
    due.insert((next, entity.id.clone()));
}

impl Counts {
    fn alert(&mut self, message: AlertMessage) -> Decision {
        match message.kind {
            AlertKind::Opened => self.open_alerts += 1,
            AlertKind::Updated => {}
            AlertKind::Resolved | AlertKind::Retracted => self.open_alerts -= 1,
        }
        Decision::Alert(message)
    }
}

#[cfg(test)]
mod tests;
