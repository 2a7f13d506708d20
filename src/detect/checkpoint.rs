//! Saving a detector and restoring it, so that no mention counts twice or not at all.
//!
//! A checkpoint at a log offset saves every entity that has changed since the one before, each with that offset
//! (`as_of`), and then the detector's own record with the same. Whoever takes over reads the log from where the group has
//! committed, which is never behind the last complete checkpoint. The detector ignores, for itself, what is at or below
//! its own `as_of`, and an entity what is at or below its own: after a crash in the middle of a checkpoint some entities
//! are ahead of the detector, and wait until it has caught up.
//!
//! An entity that is forgotten is saved as such with an `as_of` first, and removed at a later checkpoint, when the
//! detector's own record is known to be as far.
//!
//! All offsets are those of one epoch. In another, the log and every source partition begin anew: offsets and positions are
//! void; what was learnt stays. One thing is only nearly exact: when a flood has pushed posts out of memory and squall dies
//! in the middle of a checkpoint, others may have been pushed out afterwards than without that.

use super::entity::Entity;
use super::snapshot::{
    Change, Checkpoint, DETECTOR, DetectorSnapshot, EntitySnapshot, EntityTally, FORMAT,
    KnownSnapshot, SegmentSnapshot, Written, entity_key, entity_of, read, segment_key, segment_of,
    write,
};
use super::volume::Volume;
use super::{Detector, Forgotten, Seen, schedule};
use crate::config::DetectConfig;
use crate::domain::{EntityId, SourcePartition};
use std::collections::{BTreeMap, HashMap};
use std::sync::Arc;

/// A detector as it was saved.
#[derive(Debug)]
pub struct Restored {
    /// The detector.
    pub detector: Detector,
    /// What could not be restored and begins anew, by key and reason.
    pub problems: Vec<String>,
}

impl Detector {
    /// Everything that has changed since the checkpoint before, which must have been written by then. None when
    /// nothing was applied since. `epoch` names the life of the log that the records were read from.
    pub fn checkpoint(&mut self, epoch: &Arc<str>) -> Option<Checkpoint> {
        if self.as_of <= self.saved {
            return None;
        }
        let as_of = self.as_of;
        let horizon = moment!(self).horizon();
        let mut entities: Vec<Change> = Vec::new();
        let mut outdated: Vec<Change> = Vec::new();
        for id in std::mem::take(&mut self.changed) {
            let Some(entity) = self.entities.get_mut(&id).filter(|entity| entity.changed) else {
                continue;
            };
            entity.changed = false;
            entity.earlier = entity.earlier.filter(|(at, _)| *at > self.saved);
            let (segments, unused) = entity.stories.save(as_of, horizon);
            for (segment, version, snapshot) in segments {
                entities.push((segment_key(&id, segment, version), Some(write(&snapshot))));
            }
            let snapshot = entity.save(epoch, as_of, horizon);
            entities.push((entity_key(&id), Some(write(&snapshot))));
            outdated.extend(unused.into_iter().flat_map(|segment| without(&id, segment)));
        }
        for (id, forgotten) in &mut self.forgotten {
            if forgotten.as_of.is_some() {
                continue;
            }
            let earlier = Some((forgotten.at, forgotten.tally));
            let snapshot = EntitySnapshot::of(epoch, as_of, EntityTally::default(), earlier, None);
            entities.push((entity_key(id), Some(write(&snapshot))));
            let segments = std::mem::take(&mut forgotten.segments);
            outdated.extend(
                segments
                    .into_keys()
                    .flat_map(|segment| without(id, segment)),
            );
        }
        for key in std::mem::take(&mut self.outdated) {
            if !self.is_saved(&key) {
                outdated.push((key, None));
            }
        }
        let saved = self.saved;
        self.forgotten.retain(|id, forgotten| {
            let known = forgotten.as_of.is_some_and(|as_of| as_of <= saved);
            if known {
                outdated.push((entity_key(id), None));
            }
            forgotten.as_of.get_or_insert(as_of);
            !known
        });
        self.saved = as_of;
        let own = (DETECTOR.to_owned(), Some(write(&self.save(epoch))));
        Some(Checkpoint {
            as_of,
            entities,
            detector: std::iter::once(own).chain(outdated).collect(),
        })
    }

    pub(super) fn save(&self, epoch: &Arc<str>) -> DetectorSnapshot {
        let seen = |(partition, seen): (&SourcePartition, &Seen)| {
            (partition.clone(), seen.mention, seen.retraction)
        };
        let mut all_seen: Vec<_> = self.seen.iter().map(seen).collect();
        all_seen.sort_unstable();
        DetectorSnapshot {
            epoch: epoch.clone(),
            as_of: self.as_of,
            mentions: self.counts.mentions,
            repeats: self.counts.repeats,
            retractions: self.counts.retractions,
            forgotten: self.forgotten_by_now(),
            seen: all_seen,
            watermark: self.watermark.save(),
            watched_since: self.watched_since.map(|since| (since.into(), 0)),
            volume: self.volume.save(),
        }
    }

    /// What entities came to that are forgotten as far as the records applied: one restored as forgotten may have been
    /// so only by a record that is still to come again.
    fn forgotten_by_now(&self) -> EntityTally {
        let forgotten = self.forgotten.values().map(|one| (one.at, one.tally));
        let known = self.entities.values().filter_map(|entity| entity.earlier);
        let mut tally = self.forgotten_tally;
        for (_, ahead) in forgotten.chain(known).filter(|(at, _)| *at > self.as_of) {
            tally -= ahead;
        }
        tally
    }

    /// A detector as a state holds it, for records of an epoch.
    pub fn restore(
        config: &DetectConfig,
        epoch: &str,
        state: HashMap<String, Vec<u8>>,
    ) -> Restored {
        Self::new(config).with(epoch, state)
    }

    /// The same for a detector that has seen nothing.
    pub fn with(self, epoch: &str, mut state: HashMap<String, Vec<u8>>) -> Restored {
        let mut problems = Vec::new();
        let mut earlier_version = 0;
        let mut detector = self;
        let own = state.remove(DETECTOR).and_then(|value| {
            let own = read::<DetectorSnapshot>(DETECTOR, &value);
            own.map_err(|problem| problems.push(problem)).ok()
        });
        let of_own = own.as_ref().map(|own| (own.epoch.clone(), own.as_of));
        // Whether anything was saved in this epoch, and whether in another.
        let (mut now, mut before) = (false, false);
        let mut in_epoch = |saved: &str| match saved == epoch {
            true => now = true,
            false => before = true,
        };
        if let Some(own) = own {
            in_epoch(&own.epoch);
            detector.restore_own(own, epoch);
        }
        let ids: Vec<EntityId> = state.keys().filter_map(|key| entity_of(key)).collect();
        for id in ids {
            let key = entity_key(&id);
            let Some(value) = state.remove(&key) else {
                continue;
            };
            if read::<Written>(&key, &value).is_ok_and(|written| written.format < FORMAT) {
                earlier_version += 1;
                continue;
            }
            let restored = read::<EntitySnapshot>(&key, &value).and_then(|snapshot| {
                in_epoch(&snapshot.epoch);
                detector.restore_entity(&id, snapshot, epoch, of_own.as_ref(), &state)
            });
            problems.extend(restored.err());
        }
        for key in state.into_keys() {
            match segment_of(&key) {
                Some(_) if detector.is_saved(&key) => {}
                Some(_) => detector.outdated.push(key),
                None => problems.push(format!("{key}: unknown")),
            }
        }
        problems.sort_unstable();
        detector.index();
        let own_is_before = of_own.map_or(before, |(saved, _)| &*saved != epoch);
        if own_is_before {
            detector.volume.interrupt();
        }
        if earlier_version > 0 {
            problems.push(format!(
                "{earlier_version} entities were saved by an earlier version, which learnt other things of them"
            ));
        }
        Restored { detector, problems }
    }

    /// Whether a segment belongs to what is saved, in either version.
    fn is_saved(&self, key: &str) -> bool {
        segment_of(key).is_some_and(|(id, segment)| {
            let entity = self.entities.get(&id);
            entity.is_some_and(|entity| entity.stories.has_saved(segment))
        })
    }

    /// Makes what follows from the entities.
    fn index(&mut self) {
        let mut tally = self.forgotten_tally;
        for (id, entity) in &mut self.entities {
            tally += entity.tally;
            let mut posts: Vec<_> = entity.stories.posts().collect();
            // Of a post filed under several stories the one that was told last counts.
            posts.sort_unstable_by_key(|(_, number, at)| (*at, *number));
            for (post, number, at) in posts {
                self.posts.insert(post, id, number, at);
            }
            match entity.due {
                Some(at) => drop(self.due.insert((at, id.clone()))),
                None => schedule(&mut self.due, &mut self.changed, entity, &self.config),
            }
        }
        self.counts.copies = tally.copies;
        self.counts.late = tally.late;
        self.counts.taken_back = tally.taken_back;
    }

    fn restore_own(&mut self, own: DetectorSnapshot, epoch: &str) {
        let same_epoch = &*own.epoch == epoch;
        if same_epoch {
            self.as_of = own.as_of;
            self.saved = own.as_of;
            let seen = own
                .seen
                .into_iter()
                .map(|(partition, mention, retraction)| {
                    (
                        partition,
                        Seen {
                            mention,
                            retraction,
                        },
                    )
                });
            self.seen = seen.collect();
        }
        self.counts.mentions = own.mentions;
        self.counts.repeats = own.repeats;
        self.counts.retractions = own.retractions;
        self.forgotten_tally = own.forgotten;
        self.watermark.restore(own.watermark, same_epoch);
        self.volume = Volume::restore(own.volume);
        self.watched_since = own.watched_since.map(|(since, _)| since.into());
    }

    /// `own` is the epoch and the offset of the detector's own record, where there is one.
    fn restore_entity(
        &mut self,
        id: &EntityId,
        snapshot: EntitySnapshot,
        epoch: &str,
        own: Option<&(Arc<str>, i64)>,
        state: &HashMap<String, Vec<u8>>,
    ) -> Result<(), String> {
        let same_epoch = &*snapshot.epoch == epoch;
        let as_of = if same_epoch { snapshot.as_of } else { -1 };
        // What it came to in an earlier life stands in the detector's own record, unless that is of before.
        let own_is_before = match own {
            Some((own, as_of)) if *own == snapshot.epoch => {
                snapshot.earlier.is_some_and(|(at, _)| at > *as_of)
            }
            Some(_) => same_epoch,
            None => true,
        };
        let earlier = snapshot.earlier.filter(|_| own_is_before);
        let tally = snapshot.tally();
        match snapshot.known {
            Some(known) => {
                let segments = segments(id, &known, state)?;
                let now = moment!(self);
                let mut entity = Entity::restore(id.clone(), tally, known, segments, now)
                    .map_err(|problem| format!("{}: {problem}", entity_key(id)))?;
                entity.as_of = as_of;
                entity.earlier = earlier.filter(|_| same_epoch);
                self.counts.open_alerts += usize::from(entity.has_open_alert());
                self.entities.insert(id.clone(), entity);
            }
            None => {
                let forgotten = Forgotten {
                    at: earlier.map_or(-1, |(at, _)| at),
                    tally: earlier.map(|(_, tally)| tally).unwrap_or_default(),
                    segments: BTreeMap::new(),
                    as_of: Some(as_of),
                };
                self.forgotten.insert(id.clone(), forgotten);
            }
        }
        if let Some((_, tally)) = earlier {
            self.forgotten_tally += tally;
        }
        Ok(())
    }
}

/// The segments that an entity's record names.
fn segments(
    id: &EntityId,
    known: &KnownSnapshot,
    state: &HashMap<String, Vec<u8>>,
) -> Result<Vec<SegmentSnapshot>, String> {
    let segments = known.segments.iter().map(|(segment, version, as_of)| {
        let key = segment_key(id, *segment, *version);
        let value = state.get(&key).ok_or_else(|| format!("{key}: missing"))?;
        let snapshot: SegmentSnapshot = read(&key, value)?;
        match snapshot.as_of == *as_of {
            true => Ok(snapshot),
            false => Err(format!("{key}: is of {}, not of {as_of}", snapshot.as_of)),
        }
    });
    segments.collect()
}

/// Removes a segment in both versions.
fn without(id: &EntityId, segment: u64) -> [Change; 2] {
    [0, 1].map(|version| (segment_key(id, segment, version), None))
}
