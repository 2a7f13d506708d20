//! What stands directly around a name.

use super::evidence::{Clues, Style};
use super::folded::fold;
use super::names::{is_legal_form, is_ordinary};
use super::vocabulary::{
    ALIKE, CALENDAR, MAKERS, MARKET, MOVES, NOUNS, NUMBERS, ROLES, STATES, TIED, TITLES, VERBS,
};
use crate::domain::EntityKind;
use std::ops::Range;

/// A name and what stands directly around it.
pub(super) struct Place<'t> {
    /// Where the name begins.
    pub start: usize,
    name: &'t str,
    style: Style,
    /// It is the first word of its sentence, or follows a colon, dash or opening quote.
    pub begins: bool,
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
    /// The word after it, where only blanks are between.
    pub next: Option<&'t str>,
    /// The word after that.
    second: Option<&'t str>,
    /// A hyphen ties it to the word before.
    tied_before: bool,
    /// The word that a hyphen ties to it.
    tied_after: Option<&'t str>,
}

impl<'t> Place<'t> {
    /// The place of the name at `range`, in a sentence of this style that begins at `sentence`.
    pub(super) fn new(text: &'t str, sentence: usize, range: &Range<usize>, style: Style) -> Self {
        let before = &text[sentence..range.start];
        let mut after = &text[range.end..];
        let possessive = without_possessive(after);
        after = possessive.unwrap_or(after);
        let previous = previous_word(before);
        let (next, rest) = next_word(after);
        let change = after.trim_start().strip_prefix(['+', '-', '−']);
        Self {
            start: range.start,
            name: &text[range.clone()],
            style,
            begins: begins(before),
            previous,
            previous_begins: previous
                .is_some_and(|word| begins(&before[..before.trim_end().len() - word.len()])),
            possessive: possessive.is_some(),
            colon: after.starts_with(':') || after.starts_with(" :"),
            change: change.is_some_and(is_number),
            next,
            second: next_word(rest).0,
            tied_before: before
                .strip_suffix('-')
                .is_some_and(|tied| tied.ends_with(char::is_alphanumeric)),
            tied_after: after
                .strip_prefix('-')
                .map(first_word)
                .filter(|word| !word.is_empty()),
        }
    }

    /// Whether what stands beside it shows that something else is meant.
    pub(super) fn is_denied(&self, clues: &Clues) -> bool {
        let next = self.next.filter(|_| !self.possessive);
        let against = |word: &str| clues.against.iter().any(|against| against == word);
        let against_after = |word: &str| clues.against_after.iter().any(|against| against == word);
        if self.tied_before
            || is(self.tied_after, |word| !TIED.contains(word))
            || is(self.previous, against)
            || is(next, against)
            || is(next, against_after)
        {
            return true;
        }
        match clues.kind {
            EntityKind::Company | EntityKind::Fund => {
                is(self.previous, |word| TITLES.contains(word))
                    || self.style == Style::Plain
                        && (self.previous_is_name(clues)
                            || next.is_some_and(|word| is_proper(word, clues)))
            }
            EntityKind::Currency => {
                let counts = |word: &str| {
                    is_number(word) || word.split('-').any(|part| NUMBERS.contains(part))
                };
                is(self.previous, counts) || is(next, is_number)
            }
            EntityKind::Commodity => {
                is(next, |word| MAKERS.contains(word) || is_legal_form(word))
                    || self.name.starts_with(char::is_uppercase)
                        && self.has_own_capital()
                        && self.previous_is_name(clues)
            }
            EntityKind::Index | EntityKind::List => false,
        }
    }

    /// Whether its capital, if it has one, is owed to its being a name, or it is marked as one otherwise.
    pub(super) fn has_own_capital(&self) -> bool {
        self.style == Style::Plain && !self.begins || self.possessive || self.colon
    }

    /// Whether the words beside it are those beside a company.
    pub(super) fn is_subject(&self) -> bool {
        let does = |verb: &str| VERBS.contains(verb);
        let does_or_has = |word: &str| does(word) || NOUNS.contains(word);
        let infinitive =
            |word: &str| does(word) || does(&format!("{word}s")) || does(&format!("{word}es"));
        let will = is(self.next, |word| matches!(word, "to" | "set"))
            && is(self.second, |word| infinitive(word) || word == "to");
        let moves =
            is(self.next, |word| matches!(word, "up" | "down")) && is(self.second, is_number);
        let has_role = is(self.previous, |word| ROLES.contains(word));
        is(self.next, does_or_has)
            || will
            || moves
            || self.change
            || has_role
            || self.tied_after.is_some()
    }

    /// Whether it is said to move, where to, or how it stands.
    pub(super) fn moves(&self) -> bool {
        self.change
            || is(self.next, |word| MOVES.contains(word))
            || is(self.next, |word| word == "to") && is(self.second, is_number)
            || is(self.previous, |word| STATES.contains(word))
    }

    /// Whether the word before it makes a longer name of it: `Harrison Ford`.
    fn previous_is_name(&self, clues: &Clues) -> bool {
        self.previous.is_some_and(|word| {
            let opening = self.previous_begins && is_ordinary(&fold(word));
            !opening && !word.ends_with("'s") && !word.ends_with("’s") && is_proper(word, clues)
        })
    }
}

/// Whether there is a word, and it passes a test when folded.
fn is(word: Option<&str>, test: impl Fn(&str) -> bool) -> bool {
    word.is_some_and(|word| test(&fold(word)))
}

fn is_number(word: &str) -> bool {
    word.starts_with(|c: char| c.is_numeric())
}

/// Whether a word in a plain sentence is a name: it has a capital, which nothing else explains.
fn is_proper(word: &str, clues: &Clues) -> bool {
    let folded = fold(word);
    let is_known = [&VERBS, &NOUNS, &MARKET, &CALENDAR]
        .iter()
        .any(|words| words.contains(&folded));
    let is_context = || {
        clues
            .near
            .iter()
            .any(|near| near.split(' ').any(|part| part == folded))
    };
    word.starts_with(char::is_uppercase)
        && word.contains(char::is_lowercase)
        && !is_known
        && !is_legal_form(word)
        && !is_context()
}

/// Whether what follows `before` has a capital for standing there.
fn begins(before: &str) -> bool {
    const OPENING: [char; 13] = [
        ':', '–', '—', '|', '“', '"', '‘', '\'', '•', '-', '/', '►', '*',
    ];
    let before = before.trim_end();
    !before.contains(char::is_alphanumeric) || before.ends_with(OPENING)
}

/// The word at the end of `before`, where only blanks follow it.
fn previous_word(before: &str) -> Option<&str> {
    let trimmed = before.strip_suffix(' ')?.trim_end();
    let word = trimmed.rsplit([' ', '\n', '(', '“', '"', '‘']).next()?;
    word.ends_with(char::is_alphanumeric).then_some(word)
}

/// The word at the beginning of `after`, where only blanks stand before it, without a possessive ending; and
/// what follows it, unless punctuation is between.
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

/// What follows a possessive ending.
fn without_possessive(after: &str) -> Option<&str> {
    ["'s", "’s", "'S", "’S"]
        .into_iter()
        .find_map(|ending| after.strip_prefix(ending))
}

/// Whether what follows a name by a hyphen makes it something that only resembles it: `Apple-like`.
pub(super) fn is_likeness(after: &str) -> bool {
    is(after.strip_prefix('-').map(first_word), |word| {
        ALIKE.contains(word)
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn place(text: &str) -> Place<'_> {
        let at = text.find("Ford").unwrap();
        Place::new(text, 0, &(at..at + 4), Style::Plain)
    }

    #[test]
    fn the_words_beside_it_are_read() {
        let at = place("We hear that Ford recalls cars");
        assert_eq!(
            (at.previous, at.next, at.second),
            (Some("that"), Some("recalls"), Some("cars"))
        );
        let at = place("(see) Ford’s new plant.");
        assert_eq!(
            (at.previous, at.next, at.possessive),
            (None, Some("new"), true)
        );
        let at = place("Toyota, Ford, GM");
        assert_eq!((at.previous, at.next, at.begins), (None, None, false));
        let at = place("Breaking: Ford (F) +3%");
        assert_eq!((at.next, at.begins, at.change), (None, true, false));
        assert!(
            place("x Ford +3%").change && place("Ford: why").colon && place("ex-Ford").tied_before
        );
        assert_eq!(place("Ford-backed Argo").tied_after, Some("backed"));
    }

    #[test]
    fn companies_do_things() {
        for text in [
            "Ford recalls",
            "Ford to recall cars",
            "Ford set to close",
            "Ford up 3%",
            "rival Ford",
            "Ford CEO",
            "Ford-owned",
        ] {
            assert!(place(text).is_subject(), "{text}");
        }
        for text in [
            "Ford",
            "Ford to the rescue",
            "a Ford up there",
            "Ford, recalls",
        ] {
            assert!(!place(text).is_subject(), "{text}");
        }
    }
}
