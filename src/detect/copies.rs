//! Stories: posts that say the same, grouped per entity, so that a repost is no new evidence.

use crate::domain::{EntityId, MentionEvent, Origin, Timestamp};
use crate::text::{COPY_DISTANCE, distance};
use sha2::{Digest, Sha256};
use std::collections::{BTreeMap, VecDeque};
use std::time::Duration;

/// Stories kept per entity; beyond it the oldest go first. A lookup is one pass over their signatures.
const STORIES_PER_ENTITY: usize = 4096;

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
    /// Further posts.
    pub copies: u32,
    /// What it adds to windows; none when it came too late or was taken back.
    pub counted: Option<Counted>,
    /// The post that took it back. That very post, if it tells the story again, takes its place.
    pub retracted_by: Option<Origin>,
    last_told: Timestamp,
}

/// What a story adds to the windows of its entity.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(super) struct Counted {
    pub event_time: Timestamp,
    /// None when it was not scored.
    pub score: Option<f32>,
    pub negative: bool,
    pub backfill: bool,
    /// Bit `n` is set when it was in time for the windows of the `n`th length.
    pub lengths: u32,
}

impl Counted {
    /// Whether it was counted in its window of the `length`th length.
    pub fn was_in_time_for(&self, length: usize) -> bool {
        self.lengths & 1 << length != 0
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
}

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
        if story.retracted_by.as_ref() == Some(&mention.origin) {
            story.retracted_by = None;
            story.post = post;
            return (number, Told::Again);
        }
        story.copies = story.copies.saturating_add(1);
        (number, Told::Copy)
    }

    fn near(&self, signature: u64, horizon: Timestamp) -> Option<StoryNumber> {
        let stories = self.signatures.iter().zip(&self.stories);
        let index = stories.into_iter().rposition(|(known, story)| {
            distance(*known, signature) <= COPY_DISTANCE && story.last_told >= horizon
        })?;
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
            copies: 0,
            counted: None,
            retracted_by: None,
            last_told: mention.event_time,
        });
        self.first + self.stories.len() as u64 - 1
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
}

/// Which stories a post belongs to, for posts sent again and for posts taken back.
#[derive(Debug, Default)]
pub(super) struct Posts {
    stories: BTreeMap<(u64, EntityId), (StoryNumber, Timestamp)>,
    order: VecDeque<(Timestamp, u64, EntityId)>,
}

impl Posts {
    pub fn story(&self, post: u64, entity: &EntityId) -> Option<StoryNumber> {
        self.stories
            .get(&(post, entity.clone()))
            .map(|(number, _)| *number)
    }

    /// All stories the post belongs to, in the order of the entities.
    pub fn stories(&self, post: u64) -> Vec<(EntityId, StoryNumber)> {
        self.stories
            .range((post, EntityId::from(""))..)
            .take_while(|((of, _), _)| *of == post)
            .map(|((_, entity), (number, _))| (entity.clone(), *number))
            .collect()
    }

    pub fn insert(&mut self, post: u64, entity: &EntityId, number: StoryNumber, at: Timestamp) {
        self.stories.insert((post, entity.clone()), (number, at));
        self.order.push_back((at, post, entity.clone()));
    }

    /// Forgets the oldest while there are too many, or they are older than `horizon`. Returns what went
    /// for lack of room: its story, and older ones of that entity, should go too.
    pub fn forget(&mut self, horizon: Option<Timestamp>) -> Vec<(EntityId, StoryNumber)> {
        let mut crowded_out = Vec::new();
        while let Some((at, _, _)) = self.order.front() {
            let crowded = self.order.len() > POSTS;
            if !crowded && horizon.is_none_or(|horizon| *at >= horizon) {
                break;
            }
            let Some((at, post, entity)) = self.order.pop_front() else {
                break;
            };
            let key = (post, entity);
            // A post sent again stands in the queue again, further back.
            if let Some((number, last_told)) = self.stories.get(&key).copied()
                && last_told == at
            {
                self.stories.remove(&key);
                if crowded {
                    crowded_out.push((key.1, number));
                }
            }
        }
        crowded_out
    }
}

#[cfg(test)]
mod tests {
    use super::super::tests::{at, mention};
    use super::*;

    const DAY: Duration = Duration::from_secs(24 * 3600);

    fn tell(
        stories: &mut Stories,
        signature: u64,
        known: Option<u64>,
        seconds: i64,
    ) -> (StoryNumber, Told) {
        let mention = MentionEvent {
            signature,
            ..mention(seconds, seconds, "ACME")
        };
        stories.tell(&mention, 7, known, DAY)
    }

    #[test]
    fn near_texts_are_copies_and_far_ones_are_not() {
        let mut stories = Stories::default();
        let near = u64::MAX >> COPY_DISTANCE;
        assert_eq!(tell(&mut stories, u64::MAX, None, 0), (0, Told::New));
        assert_eq!(tell(&mut stories, near, None, 1), (0, Told::Copy));
        assert_eq!(tell(&mut stories, near >> 1, None, 2), (1, Told::New));
        // The same post again, whatever its text.
        assert_eq!(tell(&mut stories, 0, Some(0), 3), (0, Told::Copy));
        assert_eq!(stories.get(0).unwrap().copies, 2);
    }

    #[test]
    fn only_the_post_that_takes_a_story_back_tells_it_again() {
        let mut stories = Stories::default();
        tell(&mut stories, 0, None, 0);
        stories.get_mut(0).unwrap().retracted_by = Some(mention(5, 0, "ACME").origin);
        assert_eq!(tell(&mut stories, 0, None, 4), (0, Told::Copy));
        assert_eq!(tell(&mut stories, 0, None, 5), (0, Told::Again));
        assert_eq!(tell(&mut stories, 0, None, 6), (0, Told::Copy));
    }

    #[test]
    fn a_story_is_known_as_long_as_it_is_told() {
        let mut stories = Stories::default();
        tell(&mut stories, 0, None, 0);
        assert_eq!(tell(&mut stories, 1, None, 80_000), (0, Told::Copy));
        assert_eq!(tell(&mut stories, 1, None, 160_000), (0, Told::Copy));
        assert_eq!(tell(&mut stories, 1, None, 250_000), (1, Told::New));
        stories.forget_before(at(160_001));
        assert_eq!((stories.len(), stories.last_told()), (1, Some(at(250_000))));
    }

    #[test]
    fn stories_of_an_entity_are_bounded_and_the_oldest_go_first() {
        let mut stories = Stories::default();
        // An identity is as good a random number as any.
        let signature = |n: usize| identity(&[&n.to_string()]);
        for n in 0..STORIES_PER_ENTITY + 10 {
            tell(&mut stories, signature(n), None, 0);
        }
        assert_eq!(stories.len(), STORIES_PER_ENTITY);
        assert!(stories.get(9).is_none());
        assert_eq!(
            tell(&mut stories, signature(10), Some(9), 0),
            (10, Told::Copy)
        );
        stories.forget_through(u64::MAX);
        assert_eq!(stories.len(), 0);
    }

    #[test]
    fn posts_are_found_by_their_id_until_they_are_old() {
        let mut posts = Posts::default();
        let (acme, globex) = (EntityId::from("ACME"), EntityId::from("GLOBEX"));
        posts.insert(7, &globex, 1, at(0));
        posts.insert(7, &acme, 2, at(0));
        posts.insert(8, &acme, 3, at(5));
        posts.insert(7, &acme, 4, at(9));
        assert_eq!(posts.stories(7), [(acme.clone(), 4), (globex.clone(), 1)]);
        assert!(posts.forget(Some(at(6))).is_empty());
        assert_eq!(posts.stories(7), [(acme.clone(), 4)]);
        assert_eq!(posts.story(8, &acme), None);
    }

    #[test]
    fn a_flood_of_posts_pushes_the_oldest_out() {
        let mut posts = Posts::default();
        let acme = EntityId::from("ACME");
        for n in 0..POSTS as u64 + 2 {
            posts.insert(n, &acme, n, at(0));
        }
        assert_eq!(posts.forget(None), [(acme.clone(), 0), (acme.clone(), 1)]);
        assert_eq!(posts.stories.len(), POSTS);
    }
}
