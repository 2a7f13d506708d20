//! What in a text may name an entity.

use super::folded::{Folded, fold};
use super::names::{Form, Name, names, tickers};
use super::place::is_likeness;
use super::tickers::marked;
use crate::domain::Entity;
use aho_corasick::AhoCorasick;
use std::cmp::Reverse;
use std::collections::{BTreeMap, HashMap};
use std::ops::Range;

/// The names and tickers of all entities, ready to be found. Entities go by their position.
#[derive(Debug)]
pub(super) struct Lexicon {
    automaton: AhoCorasick,
    /// For each pattern of the automaton the names it stands for.
    patterns: Vec<Vec<(usize, Name)>>,
    tickers: HashMap<String, usize>,
}

/// What a part of a text may name.
pub(super) enum Candidate {
    /// Whatever it looks like, no entity.
    Nothing,
    /// The entity at this position.
    Sure(usize),
    /// One of these, if there is evidence for it.
    Doubtful(Vec<usize>),
}

impl Lexicon {
    /// # Errors
    /// Names too many or too long for the automaton.
    pub(super) fn new(entities: &[Entity]) -> Result<Self, aho_corasick::BuildError> {
        let patterns = patterns(entities);
        Ok(Self {
            automaton: AhoCorasick::new(patterns.keys())?,
            patterns: patterns.into_values().collect(),
            tickers: ticker_positions(entities),
        })
    }

    /// What in `text` may name an entity, in order, none overlapping.
    pub(super) fn candidates(&self, text: &str) -> Vec<(Range<usize>, Candidate)> {
        let links = links(text);
        let in_link = |range: &Range<usize>| {
            let after = links.partition_point(|link| link.start <= range.start);
            after > 0 && range.start < links[after - 1].end
        };
        let mut candidates = self.marked_tickers(text);
        self.add_names(text, &mut candidates);
        candidates.retain(|(range, _)| !in_link(range));
        longest(candidates)
    }

    fn marked_tickers(&self, text: &str) -> Vec<(Range<usize>, Candidate)> {
        let candidate = |range: Range<usize>, symbols: Vec<String>| {
            let known = symbols.iter().find_map(|symbol| self.tickers.get(symbol));
            match known {
                Some(&position) => Some((range, Candidate::Sure(position))),
                // Neither its symbol nor its exchange is a name.
                None if text[range.clone()].contains(['$', ':']) => {
                    Some((range, Candidate::Nothing))
                }
                None => None,
            }
        };
        let marked = marked(text).into_iter();
        marked
            .filter_map(|marked| candidate(marked.range, marked.symbols))
            .collect()
    }

    fn add_names(&self, text: &str, candidates: &mut Vec<(Range<usize>, Candidate)>) {
        let folded = Folded::new(text);
        for hit in self.automaton.find_overlapping_iter(&folded.text) {
            if !is_whole(&folded.text, hit.range()) {
                continue;
            }
            let range = folded.original(hit.range());
            let written = &text[range.clone()];
            let mut sure = None;
            let mut doubtful = Vec::new();
            for (position, name) in &self.patterns[hit.pattern()] {
                match name.form {
                    Form::Free => sure = sure.or(Some(*position)),
                    Form::Cased | Form::Ambiguous if !has_capitals(&name.written, written) => {}
                    Form::Cased => sure = sure.or(Some(*position)),
                    Form::Ambiguous => doubtful.push(*position),
                }
            }
            match sure {
                Some(_) if is_likeness(&text[range.end..]) => {}
                Some(position) => candidates.push((range, Candidate::Sure(position))),
                None if doubtful.is_empty() => {}
                None => candidates.push((range, Candidate::Doubtful(doubtful))),
            }
        }
    }
}

/// Of candidates that overlap, the leftmost; of those that begin together, the longest.
pub(super) fn longest<T>(mut candidates: Vec<(Range<usize>, T)>) -> Vec<(Range<usize>, T)> {
    candidates.sort_by_key(|(range, _)| (range.start, Reverse(range.end)));
    let mut end = 0;
    candidates.retain(|(range, _)| {
        let free = range.start >= end;
        end = if free { range.end } else { end };
        free
    });
    candidates
}

/// Folded names, each with the entities it may mean. A name that several share is ambiguous for all.
fn patterns(entities: &[Entity]) -> BTreeMap<String, Vec<(usize, Name)>> {
    let mut patterns: BTreeMap<String, Vec<(usize, Name)>> = BTreeMap::new();
    for (position, entity) in entities.iter().enumerate() {
        for name in names(entity) {
            patterns
                .entry(fold(&name.written))
                .or_default()
                .push((position, name));
        }
    }
    for meanings in patterns.values_mut() {
        if meanings
            .iter()
            .any(|(position, _)| *position != meanings[0].0)
        {
            for (_, name) in meanings {
                name.form = Form::Ambiguous;
            }
        }
    }
    patterns
}

/// The entity of each ticker; of a ticker that several have, that whose id it is, then the first.
fn ticker_positions(entities: &[Entity]) -> HashMap<String, usize> {
    let mut positions = HashMap::new();
    for (position, entity) in entities.iter().enumerate() {
        positions.insert(entity.id.as_str().to_uppercase(), position);
    }
    for (position, entity) in entities.iter().enumerate() {
        for ticker in tickers(entity) {
            positions.entry(ticker).or_insert(position);
        }
    }
    positions
}

/// Links in a text, in order: what stands in them names nothing.
fn links(text: &str) -> Vec<Range<usize>> {
    let mut links = Vec::new();
    let mut start = 0;
    for token in text.split([' ', '\n']) {
        if token.contains("://") || token.starts_with("www.") {
            links.push(start..start + token.len());
        }
        start += token.len() + 1;
    }
    links
}

/// Whether a range of a folded text is made of whole words: no letter, digit, dot of a domain or sign of a
/// cashtag goes on with it. A possessive may follow, and a hyphen.
fn is_whole(text: &str, range: Range<usize>) -> bool {
    let is_part = |c: char| c.is_alphanumeric() || c == '_';
    let (before, after) = (&text[..range.start], &text[range.end..]);
    let name = &text[range];
    let begins_inside = name.starts_with(is_part)
        && (before.ends_with(|c| is_part(c) || c == '$')
            || before
                .strip_suffix('.')
                .is_some_and(|rest| rest.ends_with(is_part)));
    let ends_inside = name.ends_with(is_part)
        && (after.starts_with(|c| is_part(c) || c == '@')
            || after
                .strip_prefix('.')
                .is_some_and(|rest| rest.starts_with(is_part)));
    !begins_inside && !ends_inside
}

/// Whether a name in a text has the capitals of the dictionary: of a short word in capitals all of them, of
/// others those that begin words.
fn has_capitals(written: &str, found: &str) -> bool {
    if !written.contains(char::is_uppercase) || written == found {
        return true;
    }
    if !written.contains(char::is_lowercase) && written.chars().count() <= 5 {
        return !found.contains(char::is_lowercase);
    }
    let words = |text: &str| {
        text.split([' ', '-'])
            .map(str::to_owned)
            .collect::<Vec<_>>()
    };
    words(written)
        .iter()
        .zip(words(found))
        .all(|(written, found)| {
            !written.contains(char::is_uppercase)
                || found
                    .chars()
                    .find(|c| c.is_alphabetic())
                    .is_none_or(char::is_uppercase)
        })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn words_are_whole() {
        for (text, expected) in [
            ("acme", true),
            ("acme's, (acme)", true),
            ("#acme @acme acme-backed", true),
            ("acmes", false),
            ("macme", false),
            ("acme_x", false),
            ("acme.com", false),
            ("www.acme", false),
            ("a@acme.org", false),
            ("acme@x.org", false),
            ("$acme", false),
            ("éacme", false),
            ("ends with acme.", true),
        ] {
            let at = text.find("acme").unwrap();
            assert_eq!(is_whole(text, at..at + 4), expected, "{text}");
        }
    }

    #[test]
    fn capitals_are_those_of_the_dictionary() {
        for (written, found, expected) in [
            ("Apple", "Apple", true),
            ("Apple", "APPLE", true),
            ("Apple", "apple", false),
            ("Best Buy", "Best buy", false),
            ("eBay", "Ebay", true),
            ("eBay", "ebay", false),
            ("IBM", "Ibm", false),
            ("gold", "GOLD", true),
            ("Bank of America", "BANK OF AMERICA", true),
            ("Rolls-Royce", "rolls-Royce", false),
        ] {
            assert_eq!(has_capitals(written, found), expected, "{written} {found}");
        }
    }
}
