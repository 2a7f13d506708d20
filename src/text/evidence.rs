//! Whether a name that means other things too is meant as an entity's where it stands.

use super::folded::fold;
use super::names::is_legal_form;
use super::place::Place;
use super::vocabulary::{LISTED, MARKET, Words};
use crate::domain::{Entity, EntityKind};
use std::ops::Range;

/// What an entity's kind and context words say, folded.
#[derive(Debug, Clone)]
pub(super) struct Clues {
    /// What it is.
    pub kind: EntityKind,
    /// Near the name: the entity is meant.
    pub near: Vec<String>,
    /// Directly before or after it: something else is meant.
    pub against: Vec<String>,
    /// The same, directly after it.
    pub against_after: Vec<String>,
}

/// What is known of a name from the rest of the text.
#[derive(Debug, Clone, Copy)]
pub(super) struct Known {
    /// The text names the entity beyond doubt elsewhere.
    pub certain: bool,
    /// It stands beside another name in an enumeration: `Ford and GM`.
    pub enumerated: bool,
    /// Other entities are called so too.
    pub shared: bool,
}

impl Clues {
    pub(super) fn new(entity: &Entity) -> Self {
        let mut clues = Self {
            kind: entity.kind,
            near: Vec::new(),
            against: Vec::new(),
            against_after: Vec::new(),
        };
        for word in &entity.context {
            let word = fold(word);
            if let Some(after) = word.strip_prefix("!* ") {
                clues.against_after.push(after.to_owned());
            } else if let Some(beside) = word.strip_prefix('!') {
                clues.against.push(beside.to_owned());
            } else {
                clues.near.push(word);
            }
        }
        clues
    }

    fn is_company(&self) -> bool {
        matches!(self.kind, EntityKind::Company | EntityKind::Fund)
    }
}

/// A text, its sentences and how they are written.
pub(super) struct Surroundings<'t> {
    text: &'t str,
    sentences: Vec<(Range<usize>, Style)>,
}

/// Furthest that context words are looked for, in bytes to either side: bounds the work per name.
const REACH: usize = 300;

impl<'t> Surroundings<'t> {
    pub(super) fn new(text: &'t str) -> Self {
        let styled = |range: Range<usize>| (range.clone(), Style::of(&text[range]));
        let sentences = super::sentences(text).into_iter().map(styled).collect();
        Self { text, sentences }
    }

    /// How strong the evidence is that the name at `range` means the entity of `clues`; none when it is too
    /// weak.
    ///
    /// - What stands directly beside it may deny it: a word against it, a number beside a currency, a makers'
    ///   word after a commodity, or a name of which it is only a part (`Harrison Ford`, `Orange County`).
    /// - A legal form after it, or certainty, decides for it.
    /// - Otherwise a context word of the entity in the same or a neighbouring sentence, or in the first line.
    /// - Or, if it is a company's alone, the company it keeps: words of what companies do or have directly
    ///   beside it, another company in an enumeration, or, where its capital is owed to nothing else, any
    ///   word of the market near it. In headlines and at the beginning of a sentence a capital is no evidence.
    /// - Or, if it is an index, a currency or a commodity, that it moves (`gold slips`); and one that has no
    ///   context words needs none.
    pub(super) fn strength(
        &self,
        range: &Range<usize>,
        clues: &Clues,
        known: Known,
    ) -> Option<u32> {
        let at = self.sentence_at(range);
        let (sentence, style) = &self.sentences[at];
        let place = Place::new(self.text, sentence.start, range, *style);
        if place.is_denied(clues) {
            return None;
        }
        if clues.is_company() && place.next.is_some_and(is_legal_form) || known.certain {
            return Some(100);
        }
        let window = self.window(at, range);
        let near = clues
            .near
            .iter()
            .filter(|word| has_word(&window, word))
            .count();
        if near > 0 {
            return Some(near as u32 + 1);
        }
        let keeps_company = || place.is_subject() || self.is_about_companies(at, &place, &window);
        let enough = if clues.is_company() {
            !known.shared && (known.enumerated || keeps_company())
        } else {
            known.enumerated || place.moves() || clues.near.is_empty()
        };
        enough.then_some(1)
    }

    /// Whether what is said near a name is said of companies; with more certainty where it begins a sentence,
    /// which gives it a capital whatever it means.
    fn is_about_companies(&self, at: usize, place: &Place, window: &str) -> bool {
        let of_market = || has_any(window, &MARKET) || window.contains('%');
        if place.has_own_capital() {
            return of_market();
        }
        let sentence = self.reach(&self.sentences[at].0, place.start);
        let does = place.next.is_some_and(|word| word.ends_with("ing"));
        place.begins && (has_any(&fold(&self.text[sentence]), &LISTED) || does && of_market())
    }

    /// The sentence that a range lies in.
    fn sentence_at(&self, range: &Range<usize>) -> usize {
        let until = self
            .sentences
            .partition_point(|(sentence, _)| sentence.start <= range.start);
        until.saturating_sub(1)
    }

    /// What of `range` lies within reach of a place, whole characters only.
    fn reach(&self, range: &Range<usize>, place: usize) -> Range<usize> {
        let mut start = range.start.max(place.saturating_sub(REACH));
        let mut end = range.end.min(place + REACH);
        while !self.text.is_char_boundary(start) {
            start += 1;
        }
        while !self.text.is_char_boundary(end) {
            end -= 1;
        }
        start..end
    }

    /// First line, sentence and its neighbours, folded, without what stands at the range itself unless that
    /// is several words: `gold prices` holds its own context.
    fn window(&self, at: usize, range: &Range<usize>) -> String {
        let first = self.sentences[at.saturating_sub(1)].0.start;
        let last = self.sentences[(at + 1).min(self.sentences.len() - 1)].0.end;
        let reach = self.reach(&(first..last), range.start);
        let line = self.text[..reach.start].lines().next().unwrap_or_default();
        let title = self.reach(&(0..line.len()), 0);
        let name = &self.text[range.clone()];
        let name = if name.contains(' ') { name } else { "\n" };
        let after = &self.text[range.end..reach.end.max(range.end)];
        let parts = [
            &self.text[title],
            "\n",
            &self.text[reach.start..range.start],
            name,
            after,
        ];
        fold(&parts.concat())
    }
}

/// How a sentence is written, which says what a capital is worth in it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Style {
    /// Names have capitals, other words have none.
    Plain,
    /// All long words have one: a headline.
    Title,
    /// Nothing but capitals.
    Capitals,
}

impl Style {
    fn of(sentence: &str) -> Self {
        let letters = sentence.chars().filter(|c| c.is_alphabetic()).count();
        let capitals = sentence.chars().filter(|c| c.is_uppercase()).count();
        let mut words = sentence
            .split(|c: char| !(c.is_alphanumeric() || matches!(c, '\'' | '’' | '$' | '#' | '@')))
            .filter(|word| word.starts_with(char::is_alphabetic));
        if capitals * 10 >= letters * 9 && words.clone().count() >= 3 {
            return Self::Capitals;
        }
        words.next();
        // Short words have no capital in many headlines.
        let (mut long, mut capitalised) = (0, 0);
        for word in words.filter(|word| word.chars().count() >= 4) {
            long += 1;
            capitalised += usize::from(word.starts_with(char::is_uppercase));
        }
        if long >= 2 && capitalised * 10 >= long * 7 {
            Self::Title
        } else {
            Self::Plain
        }
    }
}

/// Whether `text` has `word`, a word or phrase, whole; both folded.
fn has_word(text: &str, word: &str) -> bool {
    text.match_indices(word).any(|(at, _)| {
        !text[..at].ends_with(char::is_alphanumeric)
            && !text[at + word.len()..].starts_with(char::is_alphanumeric)
    })
}

/// Whether any word of a folded text is among `words`.
fn has_any(text: &str, words: &Words) -> bool {
    text.split(|c: char| !c.is_alphanumeric())
        .any(|word| words.contains(word))
}
