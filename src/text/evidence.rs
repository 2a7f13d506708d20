//! Whether a name that means other things too is meant as an entity's where it stands.

use super::folded::fold;
use super::names::{is_legal_form, is_ordinary};
use super::vocabulary::{
    ALIKE, CALENDAR, LISTED, MAKERS, MARKET, MOVES, NOUNS, NUMBERS, ROLES, STATES, TIED, TITLES,
    VERBS,
};
use crate::domain::{Entity, EntityKind};
use std::ops::Range;

/// What an entity's kind and context words say, folded.
#[derive(Debug, Clone)]
pub(super) struct Clues {
    kind: EntityKind,
    /// Near the name: the entity is meant.
    near: Vec<String>,
    /// Directly before or after it: something else is meant.
    against: Vec<String>,
    /// Directly after it.
    against_after: Vec<String>,
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
        let place = Place::new(self.text, &self.sentences[at], range);
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
            .count() as u32;
        let enough = if clues.is_company() {
            let among_companies = known.enumerated
                || place.is_subject()
                || self.is_about_companies(at, &place, &window);
            !known.shared && among_companies
        } else {
            known.enumerated || place.moves() || clues.near.is_empty()
        };
        if near > 0 {
            Some(near + 1)
        } else {
            enough.then_some(1)
        }
    }

    /// Whether what is said near a name is said of companies; where it begins a sentence, which gives it a
    /// capital whatever it means, with more certainty.
    fn is_about_companies(&self, at: usize, place: &Place, window: &str) -> bool {
        let (sentence, style) = &self.sentences[at];
        if *style == Style::Plain && !place.begins || place.possessive || place.colon {
            return has_any(window, &MARKET) || window.contains('%');
        }
        place.begins
            && (has_any(
                &fold(&self.text[self.reach(sentence, place.start)]),
                &LISTED,
            ) || place.next.is_some_and(|word| word.ends_with("ing"))
                && has_any(window, &MARKET))
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
enum Style {
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

/// A name and what stands directly around it.
struct Place<'t> {
    start: usize,
    name: &'t str,
    style: Style,
    /// It is the first word of its sentence, or follows a colon, dash or opening quote.
    begins: bool,
    /// The word before it, where only a blank is between.
    previous: Option<&'t str>,
    /// The previous word begins the sentence.
    previous_begins: bool,
    /// `'s` follows.
    possessive: bool,
    /// A colon follows.
    colon: bool,
    /// A signed number follows: `Acme +3%`.
    change: bool,
    /// The two words after it, as far as only blanks are between.
    next: Option<&'t str>,
    second: Option<&'t str>,
    /// A hyphen ties it to the word before.
    tied_before: bool,
    /// The word that a hyphen ties to it.
    tied_after: Option<&'t str>,
}

impl<'t> Place<'t> {
    fn new(text: &'t str, (sentence, style): &(Range<usize>, Style), range: &Range<usize>) -> Self {
        let before = &text[sentence.start.min(range.start)..range.start];
        let mut after = &text[range.end..];
        let possessive = ["'s", "’s", "'S", "’S"]
            .into_iter()
            .find_map(|s| after.strip_prefix(s));
        after = possessive.unwrap_or(after);
        let previous = previous_word(before);
        let (next, rest) = next_word(after);
        let signed = after.trim_start().strip_prefix(['+', '-', '−']);
        Self {
            start: range.start,
            name: &text[range.clone()],
            style: *style,
            begins: begins(before),
            previous,
            previous_begins: previous
                .is_some_and(|word| begins(&before[..before.trim_end().len() - word.len()])),
            possessive: possessive.is_some(),
            colon: after.starts_with(':') || after.starts_with(" :"),
            change: signed.is_some_and(|number| number.starts_with(|c: char| c.is_ascii_digit())),
            next,
            second: next_word(rest).0,
            tied_before: before
                .strip_suffix('-')
                .is_some_and(|word| word.ends_with(char::is_alphanumeric)),
            tied_after: after
                .strip_prefix('-')
                .map(first_word)
                .filter(|word| !word.is_empty()),
        }
    }

    /// Whether what stands beside it shows that something else is meant.
    fn is_denied(&self, clues: &Clues) -> bool {
        let next = self.next.filter(|_| !self.possessive);
        let is = |word: Option<&str>, test: &dyn Fn(&str) -> bool| {
            word.is_some_and(|word| test(&fold(word)))
        };
        if self.tied_before
            || is(self.tied_after, &|word| !TIED.contains(word))
            || is(self.previous, &|word| {
                clues.against.iter().any(|against| against == word)
            })
            || is(next, &|word| {
                [&clues.against, &clues.against_after]
                    .into_iter()
                    .flatten()
                    .any(|against| against == word)
            })
        {
            return true;
        }
        match clues.kind {
            EntityKind::Currency => {
                let is_number = |word: &str| word.starts_with(|c: char| c.is_numeric());
                let counts = |word: &str| {
                    is_number(word) || word.split('-').any(|part| NUMBERS.contains(part))
                };
                is(self.previous, &counts) || is(next, &is_number)
            }
            EntityKind::Commodity => {
                let capital = self.name.starts_with(char::is_uppercase)
                    && self.style == Style::Plain
                    && !self.begins;
                is(next, &|word| MAKERS.contains(word) || is_legal_form(word))
                    || capital && self.previous_is_name(clues)
            }
            EntityKind::Index | EntityKind::List => false,
            EntityKind::Company | EntityKind::Fund => {
                is(self.previous, &|word| TITLES.contains(word))
                    || self.style == Style::Plain
                        && (self.previous_is_name(clues)
                            || next.is_some_and(|word| is_proper(word, clues)))
            }
        }
    }

    /// Whether the word before it makes a longer name of it: `Harrison Ford`.
    fn previous_is_name(&self, clues: &Clues) -> bool {
        self.previous.is_some_and(|word| {
            let possessive = word.ends_with("'s") || word.ends_with("’s");
            let opening = self.previous_begins && is_ordinary(&fold(word));
            !possessive && !opening && is_proper(word, clues)
        })
    }

    /// Whether the words beside it are those beside a company.
    fn is_subject(&self) -> bool {
        let next = self.next.map(fold).unwrap_or_default();
        let second = self.second.map(fold).unwrap_or_default();
        let does = |verb: &str| VERBS.contains(verb);
        let to_do = matches!(next.as_str(), "to" | "set" | "may" | "must" | "would")
            && (does(&second)
                || does(&format!("{second}s"))
                || does(&format!("{second}es"))
                || second == "to");
        let moves =
            matches!(next.as_str(), "up" | "down") && second.starts_with(|c: char| c.is_numeric());
        let role = self
            .previous
            .is_some_and(|word| ROLES.contains(&fold(word)));
        does(&next)
            || NOUNS.contains(&next)
            || to_do
            || moves
            || self.change
            || role
            || self.tied_after.is_some()
    }

    /// Whether it is said to move, where to, or how it stands.
    fn moves(&self) -> bool {
        let is = |word: Option<&str>, test: &dyn Fn(&str) -> bool| {
            word.is_some_and(|word| test(&fold(word)))
        };
        let to_level = is(self.next, &|word| word == "to")
            && is(self.second, &|word| word.starts_with(char::is_numeric));
        self.change
            || to_level
            || is(self.next, &|word| MOVES.contains(word))
            || is(self.previous, &|word| STATES.contains(word))
    }
}

/// Whether a word in a plain sentence is a name: it has a capital, which nothing else explains.
fn is_proper(word: &str, clues: &Clues) -> bool {
    let folded = fold(word);
    word.starts_with(char::is_uppercase)
        && word.contains(char::is_lowercase)
        && ![&VERBS, &NOUNS, &MARKET, &CALENDAR]
            .iter()
            .any(|words| words.contains(&folded))
        && !is_legal_form(word)
        && !clues
            .near
            .iter()
            .any(|near| near.split(' ').any(|part| part == folded))
}

/// Whether what follows `before` has a capital for standing there.
fn begins(before: &str) -> bool {
    let before = before.trim_end();
    !before.contains(char::is_alphanumeric)
        || before.ends_with([
            ':', '–', '—', '|', '“', '"', '‘', '\'', '•', '-', '/', '►', '*',
        ])
}

/// The word at the end of `before`, where only blanks follow it.
fn previous_word(before: &str) -> Option<&str> {
    let trimmed = before.strip_suffix(' ')?.trim_end();
    let word = trimmed.rsplit([' ', '\n', '(', '“', '"', '‘']).next()?;
    word.ends_with(char::is_alphanumeric).then_some(word)
}

/// The word at the beginning of `after`, where only blanks stand before it, and what follows the word.
fn next_word(after: &str) -> (Option<&str>, &str) {
    let Some(rest) = after.strip_prefix(' ').map(str::trim_start) else {
        return (None, "");
    };
    let end = rest.find(char::is_whitespace).unwrap_or(rest.len());
    let bare = rest[..end].trim_end_matches(|c: char| !c.is_alphanumeric());
    let word = bare
        .strip_suffix("'s")
        .or_else(|| bare.strip_suffix("’s"))
        .unwrap_or(bare);
    let follows = if bare.len() == end { &rest[end..] } else { "" };
    (
        word.starts_with(char::is_alphanumeric).then_some(word),
        follows,
    )
}

fn first_word(text: &str) -> &str {
    text.split(|c: char| !c.is_alphanumeric())
        .next()
        .unwrap_or_default()
}

/// Whether `text` has `word`, a word or phrase, whole; both folded.
fn has_word(text: &str, word: &str) -> bool {
    text.match_indices(word).any(|(at, _)| {
        !text[..at].ends_with(char::is_alphanumeric)
            && !text[at + word.len()..].starts_with(char::is_alphanumeric)
    })
}

/// Whether any word of a folded text is among `words`.
fn has_any(text: &str, words: &super::vocabulary::Words) -> bool {
    text.split(|c: char| !(c.is_alphanumeric() || c == '\''))
        .any(|word| words.contains(word))
}

/// Whether what follows a name by a hyphen makes it something that only resembles it: `Apple-like`.
pub(super) fn is_likeness(after: &str) -> bool {
    after
        .strip_prefix('-')
        .is_some_and(|tied| ALIKE.contains(&fold(first_word(tied))))
}
