//! The negative stories of an entity's last minutes: how many sources speak, what they say, and whether in concert.

use super::copies::{Counted, Stories, StoryNumber, identity};
use super::snapshot::NegativeRow;
use crate::domain::{Evidence, MentionEvent, SpikeWindow, Timestamp};
use std::cmp::Ordering;
use std::collections::{BTreeMap, BTreeSet, VecDeque};

/// Negative stories kept per entity; beyond it the oldest go first.
const KEPT: usize = 512;

/// Their texts together, as they are written; beyond it the oldest go first too.
const KEPT_BYTES: usize = 150_000;

/// Stories shown in an alert.
const SHOWN: usize = 5;

/// So many authors with names alike speak in concert.
const CONCERT: usize = 4;

/// Negative stories that may be judged, in order of arrival.
#[derive(Debug, Default)]
pub(super) struct Negatives {
    kept: VecDeque<Negative>,
    bytes: usize,
}

#[derive(Debug)]
struct Negative {
    story: StoryNumber,
    counted: Counted,
    /// Identity of its author, or of its source where there is no author.
    voice: u64,
    /// Identity of the author's name up to its digits: `fan0017` and `fan0018` have the same. 0 without an author.
    stem: u64,
    post_id: Box<str>,
    title: Box<str>,
    url: Option<Box<str>>,
}

impl Negative {
    /// Bytes of its texts in JSON.
    fn bytes(&self) -> usize {
        let written = |text: &str| serde_json::to_string(text).map_or(0, |json| json.len());
        written(&self.post_id) + written(&self.title) + self.url.as_deref().map_or(0, written)
    }
}

impl Negatives {
    pub fn push(&mut self, story: StoryNumber, counted: Counted, mention: &MentionEvent) {
        let voice = voice_of(mention);
        self.keep(Negative {
            story,
            counted,
            voice,
            stem: mention.author.as_deref().map_or(0, stem),
            post_id: mention.post_id.as_str().into(),
            title: mention.title.as_str().into(),
            url: mention.url.as_deref().map(Into::into),
        });
    }

    fn keep(&mut self, negative: Negative) {
        self.bytes += negative.bytes();
        self.kept.push_back(negative);
        while self.kept.len() > KEPT || self.bytes > KEPT_BYTES {
            self.bytes -= self
                .kept
                .pop_front()
                .map_or(self.bytes, |oldest| oldest.bytes());
        }
    }

    pub fn take_back(&mut self, story: StoryNumber) {
        self.retain(|negative| negative.story != story);
    }

    pub fn forget_before(&mut self, start: Option<Timestamp>) {
        self.retain(|n| start.is_some_and(|start| n.counted.event_time >= start));
    }

    fn retain(&mut self, stays: impl Fn(&Negative) -> bool) {
        let bytes = &mut self.bytes;
        self.kept.retain(|negative| {
            let stays = stays(negative);
            if !stays {
                *bytes -= negative.bytes();
            }
            stays
        });
        give_back!(self.kept);
    }

    pub fn save(&self) -> Vec<NegativeRow> {
        let row = |n: &Negative| {
            let texts = (n.post_id.clone(), n.title.clone(), n.url.clone());
            NegativeRow(
                n.story,
                n.counted.save(),
                n.voice,
                n.stem,
                texts.0,
                texts.1,
                texts.2,
            )
        };
        self.kept.iter().map(row).collect()
    }

    pub fn restore(rows: Vec<NegativeRow>) -> Self {
        let mut restored = Self::default();
        for NegativeRow(story, counted, voice, stem, post_id, title, url) in rows {
            restored.keep(Negative {
                story,
                counted: Counted::restore(counted),
                voice,
                stem,
                post_id,
                title,
                url,
            });
        }
        restored
    }

    /// Stories that count of one author since an instant.
    pub fn told_by(&self, mention: &MentionEvent, since: Timestamp) -> usize {
        let voice = voice_of(mention);
        let told = |n: &&Negative| {
            n.voice == voice && n.counted.event_time >= since && n.counted.weight > 0.0
        };
        self.kept.iter().filter(told).count()
    }

    /// Distinct authors (sources, where there is no author) in a window.
    pub fn sources(&self, window: SpikeWindow) -> u32 {
        let mut voices: Vec<u64> = self.within(window).map(|n| n.voice).collect();
        voices.sort_unstable();
        voices.dedup();
        voices.len() as u32
    }

    /// Whether at least so many distinct authors (sources, where there is no author) speak in a window.
    pub fn speak(&self, window: SpikeWindow, sources: u32) -> bool {
        let mut voices = BTreeSet::new();
        sources == 0
            || self
                .within(window)
                .any(|n| voices.insert(n.voice) && voices.len() >= sources as usize)
    }

    /// Whether the authors in a window look like one: most have names that differ in their digits only.
    pub fn in_concert(&self, window: SpikeWindow) -> bool {
        let names: BTreeSet<(u64, u64)> = self
            .within(window)
            .filter(|n| n.stem != 0)
            .map(|n| (n.stem, n.voice))
            .collect();
        let mut alike: BTreeMap<u64, usize> = BTreeMap::new();
        names
            .iter()
            .for_each(|(stem, _)| *alike.entry(*stem).or_default() += 1);
        let most = alike.into_values().max().unwrap_or(0);
        most >= CONCERT && 2 * most >= names.len()
    }

    /// The most negative stories in a window, the worst first.
    pub fn evidence(&self, window: SpikeWindow, stories: &Stories) -> Vec<Evidence> {
        let score = |negative: &Negative| negative.counted.score.unwrap_or(0.0);
        let mut worst: Vec<&Negative> = self.within(window).collect();
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

    fn within(&self, window: SpikeWindow) -> impl Iterator<Item = &Negative> {
        self.kept.iter().filter(move |negative| {
            let at = negative.counted.event_time;
            window.start <= at && at < window.end
        })
    }
}

fn voice_of(mention: &MentionEvent) -> u64 {
    match &mention.author {
        Some(author) => identity(&["author", &mention.source, author]),
        None => identity(&["source", &mention.source]),
    }
}

/// Identity of a name up to its digits; 0 of one that has none, or nothing else.
fn stem(name: &str) -> u64 {
    let letters = name.trim_end_matches(|c: char| c.is_ascii_digit() || c == '_' || c == '-');
    if letters.is_empty() || letters.len() == name.len() {
        return 0;
    }
    identity(&[letters])
}
