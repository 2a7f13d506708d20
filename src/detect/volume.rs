//! How much there was to hear: the volume of each source, as the offset against which entities are judged.
//!
//! A source says more by day than by night, doubles when a feed is added behind it, and falls silent when it fails. None
//! of this is news about an entity. So exposure is counted in minutes weighted by two factors for each source: what the
//! hour of the week usually brings (its *rhythm*, which is also the pooled prior of every entity's rhythm), and how the
//! volume now compares to that (its *level*). Minutes in which nobody listened weigh nothing: missing is not zero.
//!
//! The level must not follow one entity's crisis. Entities are dealt into [`GROUPS`]; the quarter of the expected volume
//! in the groups that are up most, and that in those down most, is left out. With few groups it stays near 1.

use super::calendar::{CELLS, Calendar};
use super::snapshot::{Packed, SourceSnapshot, VolumeSnapshot};
use crate::domain::{EntityId, Timestamp};
use std::collections::VecDeque;

/// Groups of entities.
const GROUPS: usize = 16;

/// Sources told apart; further ones count as one.
const SOURCES: usize = 8;

/// Closed minutes whose levels are kept, and hours.
const MINUTES: usize = 90;
const HOURS: usize = 50;

/// Open minutes kept: event time may run so far ahead of the watermark.
const AHEAD: usize = 120;

/// Posts in a minute that the usual level is worth.
const FIRMNESS: f64 = 20.0;

/// A source that should have sent so many posts and has sent none is missing.
const MISSED: f64 = 12.0;

/// Negative mentions that weigh 1 which the unit of evidence is worth before there are any.
const UNIT_PRIOR: f64 = 10.0;

/// A gap longer than this in what is closed was watched by nobody, in minutes.
const GAP: i64 = 60;

/// Minutes after which recent volume counts by a factor e less, and what that is worth for an hour of the week.
const RECENT: f64 = 30.0;
const RECENT_MINUTES: f64 = 20.0;

/// Days after which volume counts by a factor e less for the rhythm.
const RHYTHM_DAYS: f64 = 28.0;

/// Of one entity: which sources speak of it, and how much.
pub(super) type Mix = [f32; SOURCES];

/// The volume of all sources.
#[derive(Debug, Clone, Default, PartialEq)]
pub(super) struct Volume {
    sources: Vec<Source>,
    /// The first minute that is not closed.
    next: Option<i64>,
    /// Negative mentions and all that were scored.
    negative: f64,
    of: f64,
    /// Of the negative ones, the sums of how probably each is, and of the squares of that.
    probability: [f64; 2],
}

#[derive(Debug, Clone, PartialEq)]
struct Source {
    name: Box<str>,
    /// The minute it was heard first.
    since: i64,
    /// Open minutes, from `Volume::next` on or later.
    open: VecDeque<(i64, [u32; GROUPS])>,
    /// Levels of closed minutes, the last at the end; NaN is not kept: 0 where nobody listened.
    levels: VecDeque<(i64, f32)>,
    /// For each hour the sum of levels.
    hours: VecDeque<(i64, f32)>,
    /// For each kind of hour posts and minutes, and the sums of both.
    rhythm: Vec<[f32; 2]>,
    week: [f64; 2],
    /// Long-run posts of each group.
    groups: [f64; GROUPS],
    recent: f64,
    /// Posts expected since the last one.
    missed: f64,
}

impl Volume {
    /// A mention was heard. Returns the number of its source.
    pub fn hear(&mut self, entity: &EntityId, source: &str, at: Timestamp) -> usize {
        let minute = minute_of(at);
        let index = match self.sources.iter().position(|one| &*one.name == source) {
            Some(known) => known,
            None if self.sources.len() < SOURCES => {
                self.sources.push(Source::new(source, minute));
                self.sources.len() - 1
            }
            None => SOURCES - 1,
        };
        if Some(minute) >= self.next {
            self.sources[index].count(minute, group(entity));
        }
        index
    }

    /// A mention was scored, and is negative with that probability, if it is.
    pub fn score(&mut self, negative: Option<f64>) {
        const KEEP: f64 = 1.0 - 1e-5;
        self.negative = self.negative * KEEP + f64::from(negative.is_some());
        self.of = self.of * KEEP + 1.0;
        let p = negative
            .filter(|p| p.is_finite())
            .unwrap_or(0.0)
            .clamp(0.0, 1.0);
        let [sum, squares] = self.probability;
        self.probability = [sum * KEEP + p, squares * KEEP + p * p];
    }

    /// What the probability of a negative mention is divided by to be its evidence: in this unit the sum of many is as
    /// uneven as a count, so that what is counted by halves still speaks for whole mentions.
    pub fn unit(&self) -> f64 {
        let [sum, squares] = self.probability;
        ((squares + UNIT_PRIOR) / (sum + UNIT_PRIOR)).clamp(0.3, 1.0)
    }

    /// The share of all scored mentions that is negative; 15 % before any was.
    pub fn share(&self) -> f64 {
        ((self.negative + 3.0) / (self.of + 20.0)).clamp(0.01, 0.9)
    }

    /// Closes the minutes that end at or before the watermark.
    pub fn close(&mut self, watermark: Timestamp, calendar: &Calendar) {
        let until = minute_of(watermark);
        let next = self.next.unwrap_or(until);
        if until > next + GAP {
            // Nobody watched, but for what came with the last records.
            for source in &mut self.sources {
                source.open.retain(|(minute, _)| *minute >= until);
                source.missed = 0.0;
            }
        } else {
            for minute in next..until {
                let cell = calendar.common_cell(start_of(minute));
                for source in &mut self.sources {
                    source.close(minute, cell);
                }
            }
        }
        self.next = Some(until.max(next));
    }

    /// Nobody watches until the next record: offsets and clocks begin anew.
    pub fn interrupt(&mut self) {
        self.next = None;
        for source in &mut self.sources {
            source.open.clear();
            source.missed = 0.0;
        }
    }

    /// Exposure of an entity in minutes of one kind of hour that are over, `from` to before `to`.
    pub fn heard(&self, mix: &Mix, from: i64, to: i64, cell: usize) -> f64 {
        self.weighted(mix, |source| source.heard(from, to) * source.rhythm(cell))
    }

    /// Exposure in a minute that is judged, over or not. A source of which less is heard than usual makes nobody
    /// suspicious.
    pub fn judged(&self, mix: &Mix, minute: i64, cell: usize) -> f64 {
        let next = self.next.unwrap_or(i64::MAX);
        self.weighted(mix, |source| {
            source.level(minute, next, cell).max(1.0) * source.rhythm(cell)
        })
    }

    fn weighted(&self, mix: &Mix, of: impl Fn(&Source) -> f64) -> f64 {
        let (mut sum, mut weights) = (0.0, 0.0);
        for (source, weight) in self
            .sources
            .iter()
            .zip(mix)
            .filter(|(_, weight)| **weight > 0.0)
        {
            sum += f64::from(*weight) * of(source);
            weights += f64::from(*weight);
        }
        if weights > 0.0 { sum / weights } else { 0.0 }
    }

    pub fn save(&self) -> VolumeSnapshot {
        VolumeSnapshot {
            next: self.next,
            scored: Packed([[self.negative, self.of], self.probability].concat()),
            sources: self.sources.iter().map(Source::save).collect(),
        }
    }

    pub fn restore(saved: VolumeSnapshot) -> Self {
        let scored = |index: usize| saved.scored.0.get(index).copied().unwrap_or(0.0);
        Self {
            next: saved.next,
            negative: scored(0),
            of: scored(1),
            probability: [scored(2), scored(3)],
            sources: saved
                .sources
                .into_iter()
                .take(SOURCES)
                .map(Source::restore)
                .collect(),
        }
    }
}

impl Source {
    fn new(name: &str, since: i64) -> Self {
        Self {
            name: name.into(),
            since,
            open: VecDeque::new(),
            levels: VecDeque::new(),
            hours: VecDeque::new(),
            rhythm: vec![[0.0; 2]; CELLS],
            week: [0.0; 2],
            groups: [0.0; GROUPS],
            recent: 0.0,
            missed: 0.0,
        }
    }

    fn count(&mut self, minute: i64, group: usize) {
        let place = self.open.iter().rposition(|(known, _)| *known <= minute);
        let at = match place {
            Some(index) if self.open[index].0 == minute => index,
            place => {
                let index = place.map_or(0, |index| index + 1);
                self.open.insert(index, (minute, [0; GROUPS]));
                if self.open.len() > AHEAD {
                    self.open.pop_front();
                    index - usize::from(index > 0)
                } else {
                    index
                }
            }
        };
        self.open[at].1[group] += 1;
    }

    /// Posts expected in a minute of that kind of hour.
    fn expected(&self, cell: usize) -> f64 {
        let [posts, minutes] = self.rhythm.get(cell).copied().unwrap_or_default();
        (f64::from(posts) + RECENT_MINUTES * self.recent) / (f64::from(minutes) + RECENT_MINUTES)
    }

    /// The same, relative to the whole week as far as it was seen.
    fn rhythm(&self, cell: usize) -> f64 {
        let [posts, minutes] = self.week;
        let seen = self.rhythm.get(cell).map_or(0.0, |of| f64::from(of[1])) + RECENT_MINUTES;
        let usual = posts / minutes.max(1.0) * seen;
        ((self.expected(cell) * seen + FIRMNESS) / (usual + FIRMNESS)).clamp(0.05, 20.0)
    }

    fn close(&mut self, minute: i64, cell: usize) {
        let mut counts = [0; GROUPS];
        while let Some((known, of)) = self
            .open
            .front()
            .copied()
            .filter(|(known, _)| *known <= minute)
        {
            if known == minute {
                counts = of;
            }
            self.open.pop_front();
        }
        if minute < self.since {
            return;
        }
        let posts = f64::from(counts.iter().sum::<u32>());
        let expected = self.expected(cell);
        self.missed = if posts > 0.0 {
            0.0
        } else {
            self.missed + expected
        };
        let missing = self.missed > MISSED;
        let known = self.level_of(&counts, expected);
        let level = if missing { 0.0 } else { known.unwrap_or(1.0) };
        self.levels.push_back((minute, level as f32));
        if self.levels.len() > MINUTES {
            self.levels.pop_front();
        }
        let hour = minute.div_euclid(60);
        match self.hours.back_mut().filter(|(known, _)| *known == hour) {
            Some((_, sum)) => *sum += level as f32,
            None => self.hours.push_back((hour, level as f32)),
        }
        if self.hours.len() > HOURS {
            self.hours.pop_front();
        }
        if missing {
            return;
        }
        // A crisis of one entity is no volume that is to be expected again.
        let all: f64 = self.groups.iter().sum();
        let most = |sum: f64| {
            known.map_or(f64::INFINITY, |level| {
                3.0 * (level * expected * sum / all + 1.0)
            })
        };
        for (sum, count) in self.groups.iter_mut().zip(counts) {
            *sum = *sum * (1.0 - 1e-5) + f64::from(count).min(most(*sum));
        }
        let posts = known.map_or(posts, |level| level * expected);
        self.recent += (posts - self.recent) / (RECENT.min((minute - self.since + 1) as f64));
        if let Some([of, minutes]) = self.rhythm.get_mut(cell) {
            let kept = (-1.0 / (RHYTHM_DAYS / 7.0 * 60.0)).exp() as f32;
            (*of, *minutes) = (*of * kept + posts as f32, *minutes * kept + 1.0);
        }
        self.sum_up();
    }

    fn sum_up(&mut self) {
        let add = |sum: [f64; 2], cell: &[f32; 2]| {
            [sum[0] + f64::from(cell[0]), sum[1] + f64::from(cell[1])]
        };
        self.week = self.rhythm.iter().fold([0.0; 2], add);
    }

    /// How many posts there are for one that was expected, by the groups in the middle; none with too little to go by.
    fn level_of(&self, counts: &[u32; GROUPS], expected: f64) -> Option<f64> {
        let all: f64 = self.groups.iter().sum();
        let known = self.groups.iter().filter(|sum| **sum > 0.005 * all).count();
        if all < 200.0 || known < GROUPS / 2 || expected < 1.0 {
            return None;
        }
        let mut groups: Vec<(f64, f64)> = counts
            .iter()
            .zip(self.groups)
            .map(|(count, sum)| (f64::from(*count), expected * sum / all))
            .collect();
        let a_group = FIRMNESS / GROUPS as f64;
        let ratio = |(count, expected): &(f64, f64)| (count + a_group) / (expected + a_group);
        groups.sort_by(|a, b| ratio(a).total_cmp(&ratio(b)));
        let (mut seen, mut usual, mut passed) = (0.0, 0.0, 0.0);
        for (count, of) in groups {
            let middle = (passed + of / 2.0) / expected;
            passed += of;
            if (0.25..=0.75).contains(&middle) {
                seen += count;
                usual += of;
            }
        }
        let firmness = FIRMNESS / 2.0;
        Some(((seen + firmness) / (usual + firmness)).clamp(0.0, 50.0))
    }

    /// The sum of levels.
    fn heard(&self, from: i64, to: i64) -> f64 {
        let first = self.levels.front().map_or(i64::MAX, |(minute, _)| *minute);
        if from >= first {
            let begin = self.levels.partition_point(|(minute, _)| *minute < from);
            let within = self
                .levels
                .range(begin..)
                .take_while(|(minute, _)| *minute < to);
            return within.map(|(_, level)| f64::from(*level)).sum();
        }
        let mut sum = 0.0;
        for hour in from.div_euclid(60)..=(to - 1).div_euclid(60) {
            let Ok(index) = self.hours.binary_search_by_key(&hour, |(known, _)| *known) else {
                continue;
            };
            let part = to.min((hour + 1) * 60) - from.max(hour * 60);
            sum += f64::from(self.hours[index].1) * part as f64 / 60.0;
        }
        sum
    }

    fn level(&self, minute: i64, next: i64, cell: usize) -> f64 {
        if minute < next {
            let place = self
                .levels
                .binary_search_by_key(&minute, |(known, _)| *known);
            return place.map_or(1.0, |index| f64::from(self.levels[index].1));
        }
        let open = self.open.iter().find(|(known, _)| *known == minute);
        let level = open.and_then(|(_, counts)| self.level_of(counts, self.expected(cell)));
        level.unwrap_or(1.0)
    }

    fn save(&self) -> SourceSnapshot {
        let numbers = [self.recent, self.missed].into_iter().chain(self.groups);
        SourceSnapshot {
            name: self.name.clone(),
            since: self.since,
            open: self
                .open
                .iter()
                .map(|(minute, counts)| (*minute, counts.to_vec()))
                .collect(),
            levels: self.levels.iter().map(|(minute, _)| *minute).collect(),
            level: Packed(self.levels.iter().map(|(_, level)| *level).collect()),
            hours: self.hours.iter().map(|(hour, _)| *hour).collect(),
            hour: Packed(self.hours.iter().map(|(_, sum)| *sum).collect()),
            rhythm: Packed(self.rhythm.iter().flatten().copied().collect()),
            numbers: Packed(numbers.collect()),
        }
    }

    fn restore(saved: SourceSnapshot) -> Self {
        let mut source = Self::new(&saved.name, saved.since);
        for (minute, counts) in saved.open {
            let mut of = [0; GROUPS];
            of.iter_mut()
                .zip(counts)
                .for_each(|(sum, count)| *sum = count);
            source.open.push_back((minute, of));
        }
        source.levels = saved.levels.into_iter().zip(saved.level.0).collect();
        source.hours = saved.hours.into_iter().zip(saved.hour.0).collect();
        for (cell, pair) in source.rhythm.iter_mut().zip(saved.rhythm.0.chunks_exact(2)) {
            cell.copy_from_slice(pair);
        }
        source.sum_up();
        let mut numbers = saved.numbers.0.into_iter();
        source.recent = numbers.next().unwrap_or(0.0);
        source.missed = numbers.next().unwrap_or(0.0);
        source
            .groups
            .iter_mut()
            .zip(numbers)
            .for_each(|(sum, saved)| *sum = saved);
        source
    }
}

/// Minutes since the Unix epoch.
pub(super) fn minute_of(at: Timestamp) -> i64 {
    at.millis().div_euclid(60_000)
}

/// When that minute begins.
pub(super) fn start_of(minute: i64) -> Timestamp {
    Timestamp::from_millis(minute.saturating_mul(60_000))
}

/// FNV-1a, folded.
fn group(entity: &EntityId) -> usize {
    let hash = entity
        .as_str()
        .bytes()
        .fold(0xcbf2_9ce4_8422_2325_u64, |hash, byte| {
            (hash ^ u64::from(byte)).wrapping_mul(0x0100_0000_01b3)
        });
    ((hash >> 32) ^ hash) as usize % GROUPS
}

#[cfg(test)]
#[path = "tests/volume.rs"]
mod tests;
