//! Which entities a text names, and where.

use super::Dictionary;
use super::dictionary::SECTOR_PREFIX;
use super::evidence::{Clues, Known, Surroundings, is_likeness};
use super::folded::{Folded, fold};
use super::names::{Form, Name, names, tickers};
use super::tickers::marked;
use crate::domain::{Entity, EntityId, EntityKind, EntityList};
use aho_corasick::AhoCorasick;
use std::collections::{BTreeMap, HashMap};
use std::ops::Range;

/// Finds the entities of a dictionary, and the lists they are on, in texts.
#[derive(Debug)]
pub struct Matcher {
    /// Those of the dictionary, then sectors, then the configured lists.
    entities: Vec<Entity>,
    positions: HashMap<EntityId, usize>,
    /// For each entity of the dictionary the lists it is on.
    lists: Vec<Vec<EntityId>>,
    clues: Vec<Clues>,
    tickers: HashMap<String, usize>,
    automaton: AhoCorasick,
    /// For each pattern of the automaton the names it stands for.
    patterns: Vec<Vec<(usize, Name)>>,
}

/// An entity found in a text.
#[derive(Debug, Clone, PartialEq)]
pub struct Found {
    /// The entity, or the list.
    pub entity: EntityId,
    /// Where it is named, as byte ranges of the text, in order. For a list, where its members are. Empty
    /// for an entity that only the sender names.
    pub spans: Vec<Range<usize>>,
    /// It is named in the first line: the title, where there is one.
    pub in_title: bool,
    /// How much the text is about it, 0 to 1: see [`Matcher::find`].
    pub relevance: f32,
}

/// Why no matcher can be made.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum MatcherError {
    /// A list names an entity that is not in the dictionary.
    #[error(
        "list '{list}': '{member}' is no id of the entity dictionary: correct it, or add it to the dictionary"
    )]
    UnknownMember {
        /// The list.
        list: EntityId,
        /// The id it names.
        member: EntityId,
    },
    /// A list has the id of an entity or of another list.
    #[error(
        "list '{0}': there is an entity or list with this id already: give the list another id"
    )]
    TakenId(EntityId),
    /// The names cannot be compiled.
    #[error("entity dictionary: its names cannot be compiled: {0}: use a smaller dictionary")]
    TooLarge(String),
}

impl Matcher {
    /// Prepares the names of all entities. Sectors become lists with ids such as `sector:Energy`, beside the
    /// configured ones.
    ///
    /// # Errors
    /// All that is wrong with the lists.
    pub fn new(dictionary: &Dictionary, lists: &[EntityList]) -> Result<Self, Vec<MatcherError>> {
        let mut entities = dictionary.entities().to_vec();
        let mut positions: HashMap<EntityId, usize> = entities
            .iter()
            .enumerate()
            .map(|(position, entity)| (entity.id.clone(), position))
            .collect();
        let mut on_lists = vec![Vec::new(); entities.len()];
        let mut errors = Vec::new();
        for list in sectors(dictionary).iter().chain(lists) {
            if positions.contains_key(&list.id) {
                errors.push(MatcherError::TakenId(list.id.clone()));
                continue;
            }
            for member in &list.entities {
                if dictionary.get(member).is_none() {
                    let (list, member) = (list.id.clone(), member.clone());
                    errors.push(MatcherError::UnknownMember { list, member });
                } else if !on_lists[positions[member]].contains(&list.id) {
                    on_lists[positions[member]].push(list.id.clone());
                }
            }
            positions.insert(list.id.clone(), entities.len());
            entities.push(list_entity(list));
        }
        let members = dictionary.entities();
        let patterns = patterns(members);
        let automaton = AhoCorasick::new(patterns.keys())
            .map_err(|error| errors.push(MatcherError::TooLarge(error.to_string())));
        let Ok(automaton) = automaton else {
            return Err(errors);
        };
        if !errors.is_empty() {
            return Err(errors);
        }
        Ok(Self {
            clues: members.iter().map(Clues::new).collect(),
            tickers: ticker_positions(members),
            patterns: patterns.into_values().collect(),
            lists: on_lists,
            entities,
            positions,
            automaton,
        })
    }

    /// The entity or list with this id.
    pub fn entity(&self, id: &EntityId) -> Option<&Entity> {
        self.positions
            .get(id)
            .map(|&position| &self.entities[position])
    }

    /// All entities of the dictionary, then the lists: sectors, then configured ones.
    pub fn entities(&self) -> &[Entity] {
        &self.entities
    }

    /// Ids of the lists an entity is on: sector first.
    pub fn lists_of(&self, id: &EntityId) -> &[EntityId] {
        let position = self.positions.get(id);
        position
            .and_then(|&position| self.lists.get(position))
            .map_or(&[], Vec::as_slice)
    }

    /// Entities that `text` names, in order of their first span, then the lists these are on. `text` is
    /// normalised, its first line being the title where it has several.
    ///
    /// Names are matched as whole words, the longest where several overlap, in any case if they are long and
    /// mean nothing else; cashtags (`$AAPL`), tickers in parentheses or after an exchange, and bare tickers of
    /// three letters and more that are no words, count too. A name that means other things as well counts only
    /// with evidence around it. Names inside links do not count.
    ///
    /// Relevance is 0.4 if named in the first line, + 0.2 × how early it comes (1 at the beginning, 0 at
    /// the end), + 0.3 × its share of all spans of entities, + 0.1 × its repeats (full at three spans). A list
    /// has the spans of its members and the highest of their relevances.
    pub fn find(&self, text: &str) -> Vec<Found> {
        self.find_with(text, &[])
    }

    /// Like [`Matcher::find`], with the entities that the post's sender says it names: those that the text
    /// does not name are added behind the others, without spans and with relevance 1. Ids unknown to the
    /// dictionary are added too.
    pub fn find_with(&self, text: &str, given: &[EntityId]) -> Vec<Found> {
        let mut found = self.mentions(text);
        for id in given {
            if !found.iter().any(|mention| mention.entity == *id) {
                found.push(Found {
                    relevance: 1.0,
                    ..Found::nowhere(id)
                });
            }
        }
        found.extend(self.touched_lists(&found));
        found
    }

    fn mentions(&self, text: &str) -> Vec<Found> {
        let spans = self.spans(text);
        let total: usize = spans.values().map(Vec::len).sum();
        let title_end = text.find('\n').unwrap_or(text.len());
        let mention = |(position, spans): (usize, Vec<Range<usize>>)| {
            let first = spans[0].start;
            let in_title = first < title_end;
            let early = 1.0 - first as f32 / text.len() as f32;
            let share = spans.len() as f32 / total as f32;
            let repeats = (spans.len().min(3) - 1) as f32 / 2.0;
            Found {
                entity: self.entities[position].id.clone(),
                spans,
                in_title,
                relevance: 0.4 * f32::from(in_title) + 0.2 * early + 0.3 * share + 0.1 * repeats,
            }
        };
        in_order(spans.into_iter().map(mention))
    }

    /// The lists that mentions touch, each once.
    fn touched_lists(&self, mentions: &[Found]) -> Vec<Found> {
        let mut lists: BTreeMap<&EntityId, Found> = BTreeMap::new();
        for mention in mentions {
            for id in self.lists_of(&mention.entity) {
                let list = lists.entry(id).or_insert_with(|| Found::nowhere(id));
                list.spans.extend(mention.spans.iter().cloned());
                list.in_title |= mention.in_title;
                list.relevance = list.relevance.max(mention.relevance);
            }
        }
        for list in lists.values_mut() {
            list.spans.sort_by_key(|span| span.start);
        }
        let given = |id: &EntityId| mentions.iter().any(|mention| mention.entity == *id);
        in_order(
            lists
                .into_iter()
                .filter(|(id, _)| !given(id))
                .map(|(_, list)| list),
        )
    }

    /// Where the text names which entity, by the entity's position; spans in order.
    fn spans(&self, text: &str) -> BTreeMap<usize, Vec<Range<usize>>> {
        let mut spans: BTreeMap<usize, Vec<Range<usize>>> = BTreeMap::new();
        let mut doubtful = Vec::new();
        let candidates = longest(self.candidates(text));
        for (index, (range, candidate)) in candidates.iter().enumerate() {
            match candidate {
                Candidate::Nothing => {}
                Candidate::Sure(position) => {
                    spans.entry(*position).or_default().push(range.clone())
                }
                Candidate::Doubtful(positions) => {
                    let enumerated = self.is_enumerated(text, &candidates, index);
                    doubtful.push((range.clone(), positions, enumerated));
                }
            }
        }
        if doubtful.is_empty() {
            return spans;
        }
        let surroundings = Surroundings::new(text);
        // Once more for those that were too weak alone: what the text is known to name, it names again.
        for _ in 0..2 {
            doubtful.retain(|(range, positions, enumerated)| {
                let strength = |&position: &usize| {
                    let known = Known {
                        certain: spans.contains_key(&position),
                        enumerated: *enumerated,
                        shared: positions.len() > 1,
                    };
                    let strength = surroundings.strength(range, &self.clues[position], known)?;
                    Some((strength, std::cmp::Reverse(position)))
                };
                let strongest = positions.iter().filter_map(strength).max();
                if let Some((_, std::cmp::Reverse(position))) = strongest {
                    spans.entry(position).or_default().push(range.clone());
                }
                strongest.is_none()
            });
        }
        for spans in spans.values_mut() {
            spans.sort_by_key(|span| span.start);
        }
        spans
    }

    /// Whether a candidate stands beside another company's name, with only a comma or an "and" between.
    fn is_enumerated(
        &self,
        text: &str,
        candidates: &[(Range<usize>, Candidate)],
        index: usize,
    ) -> bool {
        let is_company = |candidate: &Candidate| {
            let positions = match candidate {
                Candidate::Nothing => &[][..],
                Candidate::Sure(position) => std::slice::from_ref(position),
                Candidate::Doubtful(positions) => positions,
            };
            positions
                .iter()
                .any(|&position| self.entities[position].kind == EntityKind::Company)
        };
        let beside = |one: usize, other: usize| {
            let (Some((before, one)), Some((after, other))) =
                (candidates.get(one), candidates.get(other))
            else {
                return false;
            };
            let between = &text[before.end..after.start];
            is_company(one)
                && is_company(other)
                && [", ", " and ", ", and ", " & ", "/", " AND "].contains(&between)
        };
        beside(index, index + 1) || index > 0 && beside(index - 1, index)
    }

    /// All that may name an entity, overlapping, in any order.
    fn candidates(&self, text: &str) -> Vec<(Range<usize>, Candidate)> {
        let links = links(text);
        let in_link = |range: &Range<usize>| {
            let after = links.partition_point(|link| link.start <= range.start);
            after > 0 && range.start < links[after - 1].end
        };
        let mut candidates = Vec::new();
        for marked in marked(text) {
            let known = marked
                .symbols
                .iter()
                .find_map(|symbol| self.tickers.get(symbol));
            let candidate = match known {
                Some(&position) => Candidate::Sure(position),
                // Neither its symbol nor its exchange is a name.
                None if text[marked.range.clone()].contains(['$', ':']) => Candidate::Nothing,
                None => continue,
            };
            candidates.push((marked.range, candidate));
        }
        let folded = Folded::new(text);
        for hit in self.automaton.find_overlapping_iter(&folded.text) {
            if !is_whole(&folded.text, hit.range()) {
                continue;
            }
            let range = folded.original(hit.range());
            let written = &text[range.clone()];
            let mut doubtful = Vec::new();
            let mut sure = None;
            for (position, name) in &self.patterns[hit.pattern()] {
                match name.form {
                    Form::Free => sure = sure.or(Some(*position)),
                    Form::Cased | Form::Ambiguous if !has_capitals(&name.written, written) => {}
                    Form::Cased => sure = sure.or(Some(*position)),
                    Form::Ambiguous => doubtful.push(*position),
                }
            }
            if let Some(position) = sure {
                if !is_likeness(&text[range.end..]) {
                    candidates.push((range, Candidate::Sure(position)));
                }
            } else if !doubtful.is_empty() {
                candidates.push((range, Candidate::Doubtful(doubtful)));
            }
        }
        candidates.retain(|(range, _)| !in_link(range));
        candidates
    }
}

impl Found {
    fn nowhere(entity: &EntityId) -> Self {
        Self {
            entity: entity.clone(),
            spans: Vec::new(),
            in_title: false,
            relevance: 0.0,
        }
    }
}

/// What a part of a text may name.
enum Candidate {
    /// Whatever it looks like, no entity.
    Nothing,
    /// The entity at this position.
    Sure(usize),
    /// One of these, if there is evidence for it.
    Doubtful(Vec<usize>),
}

/// In order of the first span, then of the id; those without spans last.
fn in_order(found: impl Iterator<Item = Found>) -> Vec<Found> {
    let mut found: Vec<Found> = found.collect();
    let start = |found: &Found| found.spans.first().map_or(usize::MAX, |span| span.start);
    found.sort_by(|a, b| (start(a), &a.entity).cmp(&(start(b), &b.entity)));
    found
}

/// Of candidates that overlap, the leftmost; of those that begin together, the longest.
fn longest(mut candidates: Vec<(Range<usize>, Candidate)>) -> Vec<(Range<usize>, Candidate)> {
    candidates.sort_by_key(|(range, _)| (range.start, std::cmp::Reverse(range.end)));
    let mut end = 0;
    candidates.retain(|(range, _)| {
        let free = range.start >= end;
        end = if free { range.end } else { end };
        free
    });
    candidates
}

/// Sectors as lists of the entities that have them, in order of the name.
fn sectors(dictionary: &Dictionary) -> Vec<EntityList> {
    let mut sectors: BTreeMap<&str, Vec<EntityId>> = BTreeMap::new();
    for entity in dictionary
        .entities()
        .iter()
        .filter(|entity| !entity.sector.is_empty())
    {
        sectors
            .entry(&entity.sector)
            .or_default()
            .push(entity.id.clone());
    }
    let list = |(sector, entities): (&str, Vec<EntityId>)| EntityList {
        id: format!("{SECTOR_PREFIX}{sector}").as_str().into(),
        name: sector.to_owned(),
        entities,
    };
    sectors.into_iter().map(list).collect()
}

fn list_entity(list: &EntityList) -> Entity {
    Entity {
        id: list.id.clone(),
        name: list.name.clone(),
        aliases: Vec::new(),
        sector: String::new(),
        kind: EntityKind::List,
        context: Vec::new(),
    }
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
    use std::collections::BTreeSet;

    fn matcher() -> Matcher {
        Matcher::new(&Dictionary::bundled(), &[]).unwrap()
    }

    fn ids(matcher: &Matcher, text: &str) -> Vec<String> {
        let found = matcher.find(text).into_iter();
        found
            .filter(|found| matcher.entity(&found.entity).unwrap().kind != EntityKind::List)
            .map(|found| found.entity.to_string())
            .collect()
    }

    #[derive(Default)]
    struct Counts {
        right: usize,
        wrong: usize,
        missed: usize,
    }

    impl Counts {
        fn precision(&self) -> f64 {
            self.right as f64 / (self.right + self.wrong) as f64
        }
        fn recall(&self) -> f64 {
            self.right as f64 / (self.right + self.missed) as f64
        }
    }

    #[test]
    fn labelled_texts_are_matched() {
        #[derive(serde::Deserialize)]
        struct Labelled {
            text: String,
            entities: BTreeSet<String>,
            #[serde(default)]
            ambiguous: bool,
        }
        let matcher = matcher();
        let (mut all, mut ambiguous) = (Counts::default(), Counts::default());
        for line in include_str!("../../tests/data/entity_texts.jsonl").lines() {
            let labelled: Labelled = serde_json::from_str(line).unwrap();
            let found: BTreeSet<String> = ids(&matcher, &labelled.text).into_iter().collect();
            if found != labelled.entities {
                println!(
                    "{:?} found {found:?}, expected {:?}",
                    labelled.text, labelled.entities
                );
            }
            for counts in [Some(&mut all), labelled.ambiguous.then_some(&mut ambiguous)]
                .into_iter()
                .flatten()
            {
                counts.right += found.intersection(&labelled.entities).count();
                counts.wrong += found.difference(&labelled.entities).count();
                counts.missed += labelled.entities.difference(&found).count();
            }
        }
        for (name, counts) in [("all", all), ("ambiguous", ambiguous)] {
            let Counts {
                right,
                wrong,
                missed,
            } = counts;
            let (precision, recall) = (counts.precision(), counts.recall());
            println!(
                "{name}: {right} right, {wrong} wrong, {missed} missed: precision {precision:.4}, recall {recall:.4}"
            );
            assert!(
                precision >= 0.95 && recall >= 0.90,
                "{name}: precision {precision:.4}, recall {recall:.4}"
            );
        }
    }

    #[test]
    #[ignore]
    fn explore() {
        let matcher = matcher();
        let file = std::env::var("EXPLORE").unwrap();
        let texts = crate::text::test_data::texts(&file).unwrap();
        let start = std::time::Instant::now();
        let mut n = 0;
        for text in &texts {
            n += matcher.find(text).len();
        }
        println!(
            "{n} found, {} texts/s",
            texts.len() as f64 / start.elapsed().as_secs_f64()
        );
        for text in &texts {
            let spans = matcher.spans(text);
            for (range, candidate) in longest(matcher.candidates(text)) {
                let around = text.replace('\n', " / ");
                match candidate {
                    Candidate::Doubtful(positions) => {
                        let hit = positions
                            .iter()
                            .find(|p| spans.get(p).is_some_and(|s| s.contains(&range)));
                        println!(
                            "XX {} {} [{}] {around}",
                            if hit.is_some() { "YES" } else { "no" },
                            matcher.entities[*hit.unwrap_or(&positions[0])].id,
                            &text[range.clone()]
                        );
                    }
                    Candidate::Sure(p) => println!(
                        "XX SURE {} [{}] {around}",
                        matcher.entities[p].id,
                        &text[range.clone()]
                    ),
                    _ => {}
                }
            }
        }
    }
}
