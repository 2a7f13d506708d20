//! The negative stories of an entity's windows: how many sources speak, and what they say.

use super::copies::{Counted, Stories, StoryNumber, identity};
use crate::domain::{Evidence, MentionEvent, SpikeWindow, Timestamp};
use std::cmp::Ordering;
use std::collections::{BTreeSet, VecDeque};

/// Negative stories kept per entity; beyond it the oldest go first.
const KEPT: usize = 512;

/// Stories shown in an alert.
const SHOWN: usize = 5;

/// Negative stories that may be judged, in order of arrival.
#[derive(Debug, Default)]
pub(super) struct Negatives(VecDeque<Negative>);

#[derive(Debug)]
struct Negative {
    story: StoryNumber,
    counted: Counted,
    /// Identity of its author, or of its source where there is no author.
    voice: u64,
    post_id: Box<str>,
    title: Box<str>,
    url: Option<Box<str>>,
}

impl Negatives {
    pub fn push(&mut self, story: StoryNumber, counted: Counted, mention: &MentionEvent) {
        if self.0.len() >= KEPT {
            self.0.pop_front();
        }
        let voice = match &mention.author {
            Some(author) => identity(&["author", &mention.source, author]),
            None => identity(&["source", &mention.source]),
        };
        self.0.push_back(Negative {
            story,
            counted,
            voice,
            post_id: mention.post_id.as_str().into(),
            title: mention.title.as_str().into(),
            url: mention.url.as_deref().map(Into::into),
        });
    }

    pub fn take_back(&mut self, story: StoryNumber) {
        self.0.retain(|negative| negative.story != story);
    }

    pub fn forget_before(&mut self, start: Option<Timestamp>) {
        match start {
            Some(start) => self.0.retain(|n| n.counted.event_time >= start),
            None => self.0.clear(),
        }
    }

    /// Distinct authors (sources, where there is no author) in a window of the `length`th length.
    pub fn sources(&self, length: usize, window: SpikeWindow) -> u32 {
        let voices: BTreeSet<u64> = self.within(length, window).map(|n| n.voice).collect();
        voices.len() as u32
    }

    /// The most negative stories in a window of the `length`th length, the worst first.
    pub fn evidence(&self, length: usize, window: SpikeWindow, stories: &Stories) -> Vec<Evidence> {
        let score = |negative: &Negative| negative.counted.score.unwrap_or(0.0);
        let mut worst: Vec<&Negative> = self.within(length, window).collect();
        worst.sort_by(|a, b| match score(a).total_cmp(&score(b)) {
            Ordering::Equal => a.story.cmp(&b.story),
            unequal => unequal,
        });
        worst
            .into_iter()
            .take(SHOWN)
            .map(|negative| Evidence {
                post_id: negative.post_id.to_string(),
                title: negative.title.to_string(),
                url: negative.url.as_deref().map(str::to_owned),
                score: score(negative),
                copies: stories.get(negative.story).map_or(0, |story| story.copies),
            })
            .collect()
    }

    fn within(&self, length: usize, window: SpikeWindow) -> impl Iterator<Item = &Negative> {
        self.0.iter().filter(move |negative| {
            let at = negative.counted.event_time;
            negative.counted.was_in_time_for(length) && window.start <= at && at < window.end
        })
    }
}
