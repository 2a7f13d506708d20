//! Stories: posts that say the same, grouped per entity, so that a repost is no new evidence.

use super::snapshot::{CountedRow, SegmentSnapshot, StoryRow};
use crate::domain::{EntityId, MentionEvent, Origin, Timestamp};
use crate::text::{COPY_DISTANCE, distance};
use sha2::{Digest, Sha256};
use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::time::Duration;

/// Stories kept per entity; beyond it the oldest go first. A lookup is one pass over their signatures.
const STORIES_PER_ENTITY: usize = 4096;

/// Stories saved together. Fewer in tests, so that few stories fill some.
pub(super) const SEGMENT: u64 = if cfg!(test) { 4 } else { 64 };

/// Posts remembered of each story besides the one it counts for; the latest stay.
const POSTS_PER_STORY: usize = 31;

/// Posts remembered per detector, over all entities: what bounds its memory in a flood.
const POSTS: usize = 250_000;

/// Identity of a few texts together: the first 8 bytes of SHA-256 over them, each ended by a zero byte.
pub(super) fn identity(parts: &[&str]) -> u64 {
    let mut digest = Sha256::new();
    for part in parts {
        digest.update(part.as_bytes());
        digest.update([0]);
    }
    digest
        .finalize()
        .iter()
        .take(8)
        .fold(0, |id, byte| id << 8 | u64::from(*byte))
}

/// Identity of a post as its sender names it.
pub(super) fn post_identity(source: &str, post_id: &str) -> u64 {
    identity(&[source, post_id])
}

/// Which of an entity's stories, counted from its first one.
pub(super) type StoryNumber = u64;

/// One story of one entity.
#[derive(Debug)]
pub(super) struct Story {
    /// Origin of its first post, as text.
    pub cluster: Box<str>,
    /// Identity of the post it counts for.
    pub post: u64,
    /// When that was told last.
    post_told: Timestamp,
    /// The latest of its further posts, and when each was told last.
    posts: Vec<(u64, Timestamp)>,
    /// Further posts.
    pub copies: u32,
    /// What it adds to its minute; none when it came too late or was taken back.
    pub counted: Option<Counted>,
    /// The post that took it back. That very post, if it tells the story again, takes its place.
    pub retracted_by: Option<Box<Origin>>,
    last_told: Timestamp,
}

/// What a story adds to the minutes of its entity.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(super) struct Counted {
    pub event_time: Timestamp,
    /// None when it was not scored.
    pub score: Option<f32>,
    pub negative: bool,
    pub backfill: bool,
    /// Evidence: how much it counts, and how much of that is negative.
    pub weight: f32,
    pub bad: f32,
}

impl Counted {
    pub fn save(&self) -> CountedRow {
        let flags = u8::from(self.negative) | u8::from(self.backfill) << 1;
        (
            self.event_time.into(),
            self.score,
            flags,
            self.weight,
            self.bad,
        )
    }

    pub fn restore((event_time, score, flags, weight, bad): CountedRow) -> Self {
        Self {
            event_time: event_time.into(),
            score,
            negative: flags & 1 != 0,
            backfill: flags & 2 != 0,
            weight,
            bad,
        }
    }
}

/// The stories of one entity within the look-back, oldest first.
#[derive(Debug, Default)]
pub(super) struct Stories {
    /// Number of the oldest story kept.
    first: StoryNumber,
    signatures: VecDeque<u64>,
    stories: VecDeque<Story>,
    last_told: Option<Timestamp>,
    /// Segments that differ from what is saved, or may.
    changed: BTreeSet<u64>,
    /// Full segments that are saved: version, and log offset up to which it is true.
    saved: Saved,
}

/// Segments that are saved, by number.
pub(super) type Saved = BTreeMap<u64, (u8, i64)>;

/// What a mention is to its story.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Told {
    /// Its first.
    New,
    /// The same once more.
    Copy,
    /// What the post that took the story back tells in its place.
    Again,
}

impl Stories {
    /// Number of stories kept.
    pub fn len(&self) -> usize {
        self.stories.len()
    }

    pub fn get(&self, number: StoryNumber) -> Option<&Story> {
        self.stories
            .get(usize::try_from(number.checked_sub(self.first)?).ok()?)
    }

    pub fn get_mut(&mut self, number: StoryNumber) -> Option<&mut Story> {
        self.changed.insert(number / SEGMENT);
        self.stories
            .get_mut(usize::try_from(number.checked_sub(self.first)?).ok()?)
    }

    /// Files a mention under its story: that of an earlier post with the same id (`known`), or the newest with a near
    /// signature in the look-back, or a new one. `post` is the identity of its post.
    pub fn tell(
        &mut self,
        mention: &MentionEvent,
        post: u64,
        known: Option<StoryNumber>,
        look_back: Duration,
    ) -> (StoryNumber, Told) {
        let at = mention.event_time;
        self.last_told = self.last_told.max(Some(at));
        let number = known
            .filter(|number| *number >= self.first)
            .or_else(|| self.near(mention.signature, at - look_back));
        let Some((number, story)) = number.and_then(|n| Some((n, self.get_mut(n)?))) else {
            return (self.begin(mention, post), Told::New);
        };
        story.last_told = story.last_told.max(at);
        if story.retracted_by.as_deref() == Some(&mention.origin) {
            story.retracted_by = None;
            story.take_place(post, at);
            return (number, Told::Again);
        }
        story.copies = story.copies.saturating_add(1);
        (number, Told::Copy)
    }

    /// The newest story with a near signature that was told since an instant. Signatures lie side by side: of the stories
    /// only those that are near are looked at.
    fn near(&self, signature: u64, since: Timestamp) -> Option<StoryNumber> {
        let signatures = self.signatures.iter().enumerate().rev();
        let mut near =
            signatures.filter(|(_, known)| distance(**known, signature) <= COPY_DISTANCE);
        let told = |index: usize| {
            self.stories
                .get(index)
                .is_some_and(|story| story.last_told >= since)
        };
        let (index, _) = near.find(|(index, _)| told(*index))?;
        Some(self.first + index as u64)
    }

    fn begin(&mut self, mention: &MentionEvent, post: u64) -> StoryNumber {
        if self.stories.len() >= STORIES_PER_ENTITY {
            self.forget_oldest();
        }
        self.signatures.push_back(mention.signature);
        self.stories.push_back(Story {
            cluster: mention.origin.to_string().into(),
            post,
            post_told: mention.event_time,
            posts: Vec::new(),
            copies: 0,
            counted: None,
            retracted_by: None,
            last_told: mention.event_time,
        });
        let number = self.next() - 1;
        self.changed.insert(number / SEGMENT);
        number
    }

    /// Number of the next story.
    fn next(&self) -> StoryNumber {
        self.first + self.stories.len() as u64
    }

    /// Notes that a post belongs to a story, and returns those for which there is no room any more.
    pub fn note(&mut self, number: StoryNumber, post: u64, at: Timestamp) -> Vec<u64> {
        self.get_mut(number)
            .map(|story| story.note(post, at))
            .unwrap_or_default()
    }

    /// A post belongs to another story now.
    pub fn drop_post(&mut self, number: StoryNumber, post: u64) {
        if let Some(story) = self.get_mut(number) {
            story.posts.retain(|(other, _)| *other != post);
        }
    }

    /// Posts and their stories, with when each was told last.
    pub fn posts(&self) -> impl Iterator<Item = (u64, StoryNumber, Timestamp)> {
        (self.first..)
            .zip(&self.stories)
            .flat_map(|(number, story)| {
                let further = story
                    .posts
                    .iter()
                    .map(move |(post, at)| (*post, number, *at));
                std::iter::once((story.post, number, story.post_told)).chain(further)
            })
    }

    /// Latest event time of any of them; none when there is none.
    pub fn last_told(&self) -> Option<Timestamp> {
        self.last_told.filter(|_| !self.stories.is_empty())
    }

    /// Forgets the oldest stories as long as they were last told before `horizon`.
    pub fn forget_before(&mut self, horizon: Timestamp) {
        while self.stories.front().is_some_and(|s| s.last_told < horizon) {
            self.forget_oldest();
        }
        give_back!(self.stories, self.signatures);
    }

    /// Forgets this story and all before it.
    pub fn forget_through(&mut self, number: StoryNumber) {
        while self.first <= number && !self.stories.is_empty() {
            self.forget_oldest();
        }
    }

    fn forget_oldest(&mut self) {
        self.signatures.pop_front();
        self.stories.pop_front();
        self.first += 1;
    }

    /// Saves what has changed: full segments, each with its number and version, and the numbers of those that nobody
    /// needs any more. Posts told before `horizon` are left out.
    pub fn save(
        &mut self,
        as_of: i64,
        horizon: Option<Timestamp>,
    ) -> (Vec<(u64, u8, SegmentSnapshot)>, Vec<u64>) {
        let full = self.first / SEGMENT..self.next() / SEGMENT;
        let outdated: Vec<u64> = self
            .saved
            .keys()
            .filter(|segment| !full.contains(segment))
            .copied()
            .collect();
        for segment in &outdated {
            self.saved.remove(segment);
        }
        let mut written = Vec::new();
        for segment in full {
            let before = self.saved.get(&segment);
            if before.is_some() && !self.changed.contains(&segment) {
                continue;
            }
            let version = before.map_or(0, |(version, _)| 1 - (version & 1));
            let first_story = self.first.max(segment * SEGMENT);
            let snapshot = SegmentSnapshot {
                as_of,
                first_story,
                stories: self.rows(first_story, (segment + 1) * SEGMENT, horizon),
            };
            self.saved.insert(segment, (version, as_of));
            written.push((segment, version, snapshot));
        }
        self.changed.clear();
        (written, outdated)
    }

    /// What the entity's own record says of its stories: the oldest, when any was told last, the segments saved, and
    /// the stories behind them.
    pub fn open(
        &self,
        horizon: Option<Timestamp>,
    ) -> (StoryNumber, Option<Timestamp>, &Saved, Vec<StoryRow>) {
        let rows = self.rows(self.next() / SEGMENT * SEGMENT, self.next(), horizon);
        (self.first, self.last_told, &self.saved, rows)
    }

    /// All stories.
    #[cfg(test)]
    pub fn all(&self, horizon: Option<Timestamp>) -> Vec<StoryRow> {
        self.rows(self.first, self.next(), horizon)
    }

    fn rows(
        &self,
        from: StoryNumber,
        to: StoryNumber,
        horizon: Option<Timestamp>,
    ) -> Vec<StoryRow> {
        let index = |number: StoryNumber| (number.max(self.first) - self.first) as usize;
        let range = index(from)..index(to.min(self.next()));
        let signatures = self.signatures.range(range.clone());
        let rows = signatures.zip(self.stories.range(range));
        rows.map(|(signature, story)| story.save(*signature, horizon))
            .collect()
    }

    /// Takes the segments of an earlier life over, which are all to be written anew.
    pub fn inherit(&mut self, saved: Saved) {
        self.changed.extend(saved.keys());
        self.saved = saved;
    }

    /// Whether a segment is saved.
    pub fn has_saved(&self, segment: u64) -> bool {
        self.saved.contains_key(&segment)
    }

    /// The segments that are saved.
    pub fn into_saved(self) -> Saved {
        self.saved
    }

    /// Stories as they were saved, from the story `first` on, the rows of the segments before the others.
    pub fn restore(
        first: StoryNumber,
        last_told: Option<Timestamp>,
        saved: Saved,
        rows: Vec<(StoryNumber, StoryRow)>,
    ) -> Result<Self, String> {
        let mut stories = Self {
            first,
            last_told,
            saved,
            ..Self::default()
        };
        for (number, row) in rows.into_iter().filter(|(number, _)| *number >= first) {
            if number != stories.next() {
                return Err(format!("story {} is missing", stories.next()));
            }
            stories.signatures.push_back(row.0);
            stories.stories.push_back(Story::restore(row));
        }
        Ok(stories)
    }
}

impl Story {
    /// Another post counts for it.
    fn take_place(&mut self, post: u64, at: Timestamp) {
        if self.post != post {
            let known = self.posts.iter().find(|(other, _)| *other == post);
            let told = known.map_or(at, |(_, told)| at.max(*told));
            self.posts.retain(|(other, _)| *other != post);
            self.posts.push((self.post, self.post_told));
            (self.post, self.post_told) = (post, told);
        }
    }

    fn note(&mut self, post: u64, at: Timestamp) -> Vec<u64> {
        if self.post == post {
            self.post_told = self.post_told.max(at);
        } else {
            match self.posts.iter_mut().find(|(other, _)| *other == post) {
                Some((_, told)) => *told = at.max(*told),
                None => self.posts.push((post, at)),
            }
        }
        if self.posts.len() <= POSTS_PER_STORY {
            return Vec::new();
        }
        self.posts.sort_unstable_by_key(|(post, at)| (*at, *post));
        let oldest = self.posts.drain(..self.posts.len() - POSTS_PER_STORY);
        oldest.map(|(post, _)| post).collect()
    }

    fn save(&self, signature: u64, horizon: Option<Timestamp>) -> StoryRow {
        let mut posts: Vec<(u64, Timestamp)> = self.posts.clone();
        posts.retain(|(_, at)| Some(*at) >= horizon);
        posts.sort_unstable();
        StoryRow(
            signature,
            self.cluster.clone(),
            (self.post, self.post_told.into()),
            self.copies,
            self.last_told.into(),
            self.counted.as_ref().map(Counted::save),
            self.retracted_by.as_deref().cloned(),
            posts
                .into_iter()
                .map(|(post, at)| (post, at.into()))
                .collect(),
        )
    }

    fn restore(row: StoryRow) -> Self {
        let StoryRow(
            _,
            cluster,
            (post, post_told),
            copies,
            last_told,
            counted,
            retracted_by,
            posts,
        ) = row;
        Self {
            cluster,
            post,
            post_told: post_told.into(),
            posts: posts
                .into_iter()
                .map(|(post, at)| (post, at.into()))
                .collect(),
            copies,
            counted: counted.map(Counted::restore),
            retracted_by: retracted_by.map(Box::new),
            last_told: last_told.into(),
        }
    }
}

/// Which stories a post belongs to, for posts sent again and for posts taken back. Made of the stories; a post told
/// before the look-back is as good as unknown, whether it is still here or not.
#[derive(Debug, Default)]
pub(super) struct Posts {
    stories: BTreeMap<(u64, EntityId), (StoryNumber, Timestamp)>,
    /// The same, by when each was told last.
    order: BTreeSet<(Timestamp, u64, EntityId)>,
}

impl Posts {
    pub fn story(
        &self,
        post: u64,
        entity: &EntityId,
        horizon: Option<Timestamp>,
    ) -> Option<StoryNumber> {
        let (number, at) = self.stories.get(&(post, entity.clone()))?;
        (Some(*at) >= horizon).then_some(*number)
    }

    /// All stories the post belongs to, in the order of the entities.
    pub fn stories(&self, post: u64, horizon: Option<Timestamp>) -> Vec<(EntityId, StoryNumber)> {
        self.stories
            .range((post, EntityId::from(""))..)
            .take_while(|((of, _), _)| *of == post)
            .filter(|(_, (_, at))| Some(*at) >= horizon)
            .map(|((_, entity), (number, _))| (entity.clone(), *number))
            .collect()
    }

    /// Files a post; returns the other story it was filed under before.
    pub fn insert(
        &mut self,
        post: u64,
        entity: &EntityId,
        number: StoryNumber,
        at: Timestamp,
    ) -> Option<StoryNumber> {
        let key = (post, entity.clone());
        let before = self.stories.get(&key).copied();
        let told = match before {
            Some((same, told)) if same == number => told.max(at),
            _ => at,
        };
        if let Some((_, told)) = before {
            self.order.remove(&(told, post, entity.clone()));
        }
        self.order.insert((told, post, entity.clone()));
        self.stories.insert(key, (number, told));
        before
            .map(|(other, _)| other)
            .filter(|other| *other != number)
    }

    pub fn remove(&mut self, post: u64, entity: &EntityId) {
        if let Some((_, at)) = self.stories.remove(&(post, entity.clone())) {
            self.order.remove(&(at, post, entity.clone()));
        }
    }

    /// Forgets the oldest while there are too many, or they are older than `horizon`. Returns what went
    /// for lack of room: its story, and older ones of that entity, should go too.
    pub fn forget(&mut self, horizon: Option<Timestamp>) -> Vec<(EntityId, StoryNumber)> {
        let mut crowded_out = Vec::new();
        while let Some((at, post, entity)) = self.order.pop_first() {
            let crowded = self.order.len() >= POSTS;
            if !crowded && horizon.is_none_or(|horizon| at >= horizon) {
                self.order.insert((at, post, entity));
                break;
            }
            let key = (post, entity);
            if let Some((number, _)) = self.stories.remove(&key)
                && crowded
            {
                crowded_out.push((key.1, number));
            }
        }
        crowded_out
    }
}

#[cfg(test)]
mod tests;
