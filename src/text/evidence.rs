//! Whether a name that means other things too is meant as an entity's where it stands.

use super::folded::fold;
use super::names::{is_legal_form, is_ordinary};
use super::vocabulary::{ALIKE, CALENDAR, MARKET, NOUNS, NUMBERS, ROLES, TIED, TITLES, VERBS};
use crate::domain::{Entity, EntityKind};
use std::ops::Range;

/// What an entity's context words say, folded.
#[derive(Debug, Clone, Default)]
pub(super) struct Clues {
    kind: Option<EntityKind>,
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

/// A text, its sentences and how they are written.
pub(super) struct Surroundings<'t> {
    text: &'t str,
    sentences: Vec<(Range<usize>, Style)>,
}

/// Furthest that context words are looked for, in bytes to either side: bounds the work per name.
const REACH: usize = 300;

impl Clues {
    pub(super) fn new(entity: &Entity) -> Self {
        let mut clues = Self {
            kind: Some(entity.kind),
            ..Self::default()
        };
        for word in entity.context.iter().map(|word| fold(word)) {
            match word
                .strip_prefix('!')
                .map(|word| word.strip_prefix("* ").ok_or(word))
            {
                None => clues.near.push(word),
                Some(Ok(after)) => clues.against_after.push(after.to_owned()),
                Some(Err(beside)) => clues.against.push(beside.to_owned()),
            }
        }
        clues
    }
}

impl<'t> Surroundings<'t> {
    pub(super) fn new(text: &'t str) -> Self {
        let sentences = super::sentences(text).into_iter();
        let styled = |range: Range<usize>| (range.clone(), Style::of(&text[range]));
        Self {
            text,
            sentences: sentences.map(styled).collect(),
        }
    }

    /// How strong the evidence is that the name at `range` means the entity of `clues`; none when it is too
    /// weak.
    ///
    /// - A word that speaks against it directly beside it, a number beside a currency, or a name of which it
    ///   is only a part (`Harrison Ford`, `Orange County`) decide against it.
    /// - A legal form after it, or certainty, decides for it.
    /// - Otherwise it takes a context word of the entity in the same or a neighbouring sentence. For a
    ///   company, in a plain sentence, a word of the market does as well; where the capital may be owed to the
    ///   sentence's beginning or to a headline, only what companies do or have does, directly after it.
    pub(super) fn strength(
        &self,
        range: &Range<usize>,
        clues: &Clues,
        known: Known,
    ) -> Option<u32> {
        let place = Place::new(self, range);
        let is_company = matches!(clues.kind, Some(EntityKind::Company | EntityKind::Fund));
        if place.is_denied(clues, is_company) {
            return None;
        }
        if is_company && place.next.is_some_and(is_legal_form) || known.certain {
            return Some(100);
        }
        let window = self.window(range);
        let near = clues
            .near
            .iter()
            .filter(|word| has_word(&window, word))
            .count() as u32;
        if near > 0 {
            return Some(near + 1);
        }
        let is_plain = place.style == Style::Plain && !place.begins;
        let may_be_subject = is_plain || place.possessive || place.colon;
        let is_subject =
            known.enumerated || place.is_subject() || may_be_subject && has_market_word(&window);
        (is_company && !known.shared && is_subject).then_some(1)
    }

    /// Sentence of a range, its neighbours and the text's first line, folded, without what stands at the range.
    fn window(&self, range: &Range<usize>) -> String {
        let at = self.sentence(range);
        let first = self.sentences[at.saturating_sub(1)].0.start;
        let last = self.sentences[(at + 1).min(self.sentences.len() - 1)].0.end;
        let mut start = first.max(range.start.saturating_sub(REACH));
        let mut end = last.min(range.end + REACH);
        while !self.text.is_char_boundary(start) {
            start += 1;
        }
        while !self.text.is_char_boundary(end) {
            end -= 1;
        }
        let name = &self.text[range.clone()];
        // A name of several words may hold its context word: "gold prices".
        let name = if name.contains(' ') { name } else { "\u{0}" };
        let (before, after) = (
            &self.text[start..range.start],
            &self.text[range.end..end.max(range.end)],
        );
        let title = self.text[..start].lines().next().unwrap_or_default();
        let title = title.get(..REACH).unwrap_or(title);
        fold(&format!("{title}\n{before}{name}{after}"))
    }

    fn sentence(&self, range: &Range<usize>) -> usize {
        let after = self
            .sentences
            .partition_point(|(sentence, _)| sentence.start <= range.start);
        after.saturating_sub(1)
    }
}

/// What stands directly around a name.
struct Place<'t> {
    style: Style,
    /// It is the first word of its sentence, or follows a colon, dash or opening quote.
    begins: bool,
    /// The word before it, where only a blank is between.
    previous: Option<&'t str>,
    /// The previous word begins the sentence.
    previous_begins: bool,
    /// `'s` follows.
    possessive: bool,
    /// The words after it, as far as only blanks are between.
    next: Option<&'t str>,
    second: Option<&'t str>,
    /// A colon follows.
    colon: bool,
    /// What is tied to it by a hyphen.
    tied_before: bool,
    tied_after: Option<&'t str>,
}

impl<'t> Place<'t> {
    fn new(surroundings: &Surroundings<'t>, range: &Range<usize>) -> Self {
        let (sentence, style) = &surroundings.sentences[surroundings.sentence(range)];
        let text = surroundings.text;
        let before = &text[sentence.start.min(range.start)..range.start];
        let mut after = &text[range.end..];
        let possessive = ["'s", "’s", "'S", "’S"]
            .into_iter()
            .find_map(|s| after.strip_prefix(s));
        after = possessive.unwrap_or(after);
        let previous = previous_word(before);
        let (next, rest) = next_word(after);
        let begins = |before: &str| {
            let before = before.trim_end();
            !before.contains(char::is_alphanumeric)
                || before.ends_with([':', '–', '—', '|', '“', '"', '‘', '•', '-'])
        };
        Self {
            style: *style,
            begins: begins(before),
            previous,
            previous_begins: previous
                .is_some_and(|word| begins(&before[..before.trim_end().len() - word.len()])),
            possessive: possessive.is_some(),
            next,
            second: next_word(rest).0,
            colon: after.starts_with(':'),
            tied_before: before.ends_with('-') && !before.ends_with(" -"),
            tied_after: after.strip_prefix('-').map(|tied| {
                tied.split(|c: char| !c.is_alphanumeric())
                    .next()
                    .unwrap_or_default()
            }),
        }
    }

    fn is_denied(&self, clues: &Clues, is_company: bool) -> bool {
        let against =
            |word: Option<&str>| word.is_some_and(|word| clues.against.contains(&fold(word)));
        let tied = self
            .tied_after
            .is_some_and(|word| !TIED.contains(&fold(word)));
        let next = self.next.filter(|_| !self.possessive);
        let against_after = next.is_some_and(|word| clues.against_after.contains(&fold(word)));
        if self.tied_before || tied || against(self.previous) || against(next) || against_after {
            return true;
        }
        if is_company {
            let titled = self
                .previous
                .is_some_and(|word| TITLES.contains(&fold(word)));
            titled || self.style == Style::Plain && self.is_part_of_a_name(clues, next)
        } else {
            let counted = |word: Option<&str>| {
                word.is_some_and(|word| {
                    word.starts_with(|c: char| c.is_numeric()) || NUMBERS.contains(&fold(word))
                })
            };
            clues.kind == Some(EntityKind::Currency)
                && (counted(self.previous)
                    || self
                        .next
                        .is_some_and(|word| word.starts_with(|c: char| c.is_numeric())))
        }
    }

    /// Whether a capitalised word directly beside it makes another name of it.
    fn is_part_of_a_name(&self, clues: &Clues, next: Option<&str>) -> bool {
        let is_proper = |word: &str| {
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
        };
        let before = self.previous.filter(|word| {
            let possessive = word.ends_with("'s") || word.ends_with("’s");
            let opening = self.previous_begins && is_ordinary(&fold(word));
            !possessive && !opening
        });
        before.is_some_and(is_proper) || next.is_some_and(is_proper)
    }

    /// Whether the words beside it are those beside a company.
    fn is_subject(&self) -> bool {
        let next = self.next.map(fold).unwrap_or_default();
        let does = |verb: &str| VERBS.contains(verb);
        let will = next == "to"
            && self.second.map(fold).is_some_and(|verb| {
                does(&format!("{verb}s")) || does(&format!("{verb}es")) || does(&verb)
            });
        does(&next)
            || will
            || NOUNS.contains(&next)
            || self.tied_after.is_some()
            || self
                .previous
                .is_some_and(|word| ROLES.contains(&fold(word)))
    }
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

/// The word at the end of `before`, where only blanks follow it.
fn previous_word(before: &str) -> Option<&str> {
    let trimmed = before.strip_suffix(' ')?.trim_end();
    let word = trimmed.rsplit([' ', '\n', '(', '“', '"', '‘']).next()?;
    word.ends_with(|c: char| c.is_alphanumeric() || c == '%')
        .then_some(word)
}

/// The word at the beginning of `after`, where only blanks stand before it, and what follows the word.
fn next_word(after: &str) -> (Option<&str>, &str) {
    let Some(rest) = after.strip_prefix(' ').map(str::trim_start) else {
        return (None, "");
    };
    let end = rest.find(char::is_whitespace).unwrap_or(rest.len());
    let bare = rest[..end].trim_end_matches(|c: char| !(c.is_alphanumeric() || c == '%'));
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

/// Whether `text` has `word`, a word or phrase, whole; both folded.
fn has_word(text: &str, word: &str) -> bool {
    text.match_indices(word).any(|(at, _)| {
        !text[..at].ends_with(char::is_alphanumeric)
            && !text[at + word.len()..].starts_with(char::is_alphanumeric)
    })
}

fn has_market_word(window: &str) -> bool {
    window.contains('%')
        || window
            .split(|c: char| !(c.is_alphanumeric() || c == '\''))
            .any(|word| MARKET.contains(word))
}

/// Whether a name at the end of `before` the hyphen only names a likeness: `Apple-like`.
pub(super) fn is_likeness(after: &str) -> bool {
    after.strip_prefix('-').is_some_and(|tied| {
        ALIKE.contains(&fold(
            tied.split(|c: char| !c.is_alphanumeric())
                .next()
                .unwrap_or_default(),
        ))
    })
}
