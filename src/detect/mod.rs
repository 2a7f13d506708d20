//! DETECT's judgement: which posts are copies, which windows are improbable, which alerts follow.
//!
//! [`Detector`] judges the entities of one partition of `squall.mentions`, from the records of that partition in their
//! order and from nothing else, so that the same records always give the same decisions:
//!
//! ```text
//!  mention ─► copies: whose story? ─► windows: count it ─► baseline, test: how improbable? ─► alerts
//!  progress ─► watermark ─► windows close and teach their baselines, alerts resolve
//!  retraction ─► copies: which stories? ─► windows: take them out ─► alerts
//! ```
//!
//! Pure: no clock, no I/O. [`SeriesDetector`] is the same test over a plain series of counts.

mod alerts;
mod baseline;
mod copies;
mod entity;
mod evidence;
mod series;
mod test;
mod watermark;
mod windows;

pub use series::{SeriesDetector, SeriesPoint};
pub use test::upper_tail;

use crate::config::DetectConfig;
use crate::domain::{
    AlertKind, AlertMessage, DetectionRecord, EntityId, MentionCluster, MentionEvent, Position,
    Progress, Retraction, SourcePartition, Timestamp,
};
use copies::{Posts, Told, post_identity};
use entity::{Entity, Moment};
use std::collections::{BTreeSet, HashMap};
use std::time::Duration;
use watermark::{Silence, Watermark};

/// What follows from a record.
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
    /// Stories not judged because all their windows had closed.
    pub late: u64,
    /// Retractions of posts that some entity here had in its look-back.
    pub retractions: u64,
    /// Retractions of posts not known here.
    pub unknown_retractions: u64,
    /// Entities held.
    pub entities: usize,
    /// Alerts open.
    pub open_alerts: usize,
}

/// Judges the entities of one partition of `squall.mentions`.
#[derive(Debug)]
pub struct Detector {
    config: DetectConfig,
    /// How far each source partition was seen.
    seen: HashMap<SourcePartition, Seen>,
    watermark: Watermark,
    silence: Silence,
    /// The first watermark, and the silence before it: since then an entity never mentioned was watched too.
    watched_since: Option<(Timestamp, Duration)>,
    entities: HashMap<EntityId, Entity>,
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

impl Detector {
    /// A detector that has seen nothing. At most 32 lengths of windows are judged.
    pub fn new(config: &DetectConfig) -> Self {
        Self {
            config: config.clone(),
            seen: HashMap::new(),
            watermark: Watermark::new(config.lateness, config.max_hold),
            silence: Silence::default(),
            watched_since: None,
            entities: HashMap::new(),
            due: BTreeSet::new(),
            posts: Posts::default(),
            counts: Counts::default(),
        }
    }

    /// Applies one record in log order; returns what follows from it. A repeat has no effect.
    pub fn apply(&mut self, record: &DetectionRecord) -> Vec<Decision> {
        match record {
            DetectionRecord::Mention(mention) => self.mention(mention),
            DetectionRecord::Progress(progress) => self.progress(progress),
            DetectionRecord::Retraction(retraction) => self.retraction(retraction),
        }
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
        self.silence.end(mention.event_time);
        self.forget_posts();

        let now = moment(&self.config, &self.watermark, &self.silence);
        let at = mention.event_time;
        let entity = self
            .entities
            .entry(mention.entity.clone())
            .or_insert_with_key(|id| Entity::new(id.clone(), at, self.watched_since, now.config));
        entity.settle(now);
        let post = post_identity(&mention.source, &mention.post_id);
        let known = self.posts.story(post, &mention.entity);
        let (number, told) = entity
            .stories
            .tell(mention, post, known, now.config.copy_lookback);
        self.posts.insert(post, &entity.id, number, at);

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
            self.counts.copies += 1;
        } else if !entity.count(number, mention, now.config) {
            self.counts.late += 1;
        } else if let Some(message) = entity.judge(number, mention, now.config) {
            decisions.push(self.counts.alert(message));
        }
        schedule(&mut self.due, entity, now.config);
        decisions
    }

    fn progress(&mut self, progress: &Progress) -> Vec<Decision> {
        if let Some(event_time) = progress.event_time {
            self.silence.end(event_time);
        }
        let Some(watermark) = self.watermark.advance(progress) else {
            return Vec::new();
        };
        self.silence.end(watermark);
        self.watched_since
            .get_or_insert((watermark, self.silence.total()));

        let mut due = Vec::new();
        while self.due.first().is_some_and(|(at, _)| *at <= watermark) {
            due.extend(self.due.pop_first().map(|(_, id)| id));
        }
        let now = moment(&self.config, &self.watermark, &self.silence);
        let mut decisions = Vec::new();
        for id in due {
            let Some(entity) = self.entities.get_mut(&id) else {
                continue;
            };
            entity.due = None;
            entity.settle(now);
            if let Some(message) = entity.resolve(watermark, now.config) {
                decisions.push(self.counts.alert(message));
            }
            if entity.is_forgotten(watermark) {
                self.entities.remove(&id);
            } else {
                schedule(&mut self.due, entity, now.config);
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

        let now = moment(&self.config, &self.watermark, &self.silence);
        let post = post_identity(&retraction.source, &retraction.post_id);
        let stories = self.posts.stories(post);
        if stories.is_empty() {
            self.counts.unknown_retractions += 1;
        } else {
            self.counts.retractions += 1;
        }
        let mut decisions = Vec::new();
        for (id, number) in stories {
            let Some(entity) = self.entities.get_mut(&id) else {
                continue;
            };
            entity.settle(now);
            if let Some(message) = entity.retract(number, post, retraction, now.config) {
                decisions.push(self.counts.alert(message));
            }
            schedule(&mut self.due, entity, now.config);
        }
        decisions
    }

    /// Drops posts behind the look-back, and what there is no room for.
    fn forget_posts(&mut self) {
        let horizon = self
            .watermark
            .value()
            .map(|watermark| watermark - self.config.copy_lookback);
        for (id, number) in self.posts.forget(horizon) {
            if let Some(entity) = self.entities.get_mut(&id) {
                entity.stories.forget_through(number);
            }
        }
    }
}

fn moment<'a>(config: &'a DetectConfig, watermark: &Watermark, silence: &Silence) -> Moment<'a> {
    Moment {
        config,
        watermark: watermark.value(),
        silence: silence.total(),
    }
}

/// Sees that the entity is looked at when it is due, or sooner.
fn schedule(due: &mut BTreeSet<(Timestamp, EntityId)>, entity: &mut Entity, config: &DetectConfig) {
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
