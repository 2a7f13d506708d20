//! Which entities a text names, and where.

use super::Dictionary;
use super::candidates::{Lexicon, longest};
use super::dictionary::SECTOR_PREFIX;
use super::evidence::Clues;
use super::names::{Form, Name, names};
use super::occurrences::{as_written, in_any_case};
use super::resolution::Resolution;
use crate::domain::{Entity, EntityId, EntityKind, EntityList};
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
    lexicon: Lexicon,
}

/// Entities given by a post's sender that are looked for in the text; a post that lists more takes no longer for it.
const MOST_VOUCHED: usize = 20;

/// An entity found in a text.
#[derive(Debug, Clone, PartialEq)]
pub struct Found {
    /// The entity, or the list.
    pub entity: EntityId,
    /// Where it is named, as byte ranges of the text, in order. For a list, where its members are. Empty
    /// for an entity that only the sender names, and for a list of which the text names no member.
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
        let lexicon = Lexicon::new(dictionary.entities())
            .map_err(|error| errors.push(MatcherError::TooLarge(error.to_string())));
        match lexicon {
            Ok(lexicon) if errors.is_empty() => Ok(Self {
                clues: dictionary.entities().iter().map(Clues::new).collect(),
                lexicon,
                lists: on_lists,
                entities,
                positions,
            }),
            _ => Err(errors),
        }
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
    /// does not name for certain are added behind the others, with relevance 1. As the sender vouches for them, they are named
    /// wherever one of their names stands as a whole word, without evidence. Ids unknown to the dictionary are added too, and
    /// are their own names.
    pub fn find_with(&self, text: &str, given: &[EntityId]) -> Vec<Found> {
        let mut found = self.mentions(text);
        let title_end = title_end(text);
        for (number, id) in given.iter().enumerate() {
            if !found.iter().any(|mention| mention.entity == *id) {
                let spans = match number < MOST_VOUCHED {
                    true => self.vouched(text, id),
                    false => Vec::new(),
                };
                found.push(Found {
                    in_title: spans.first().is_some_and(|span| span.start < title_end),
                    spans,
                    relevance: 1.0,
                    ..Found::nowhere(id)
                });
            }
        }
        found.extend(self.touched_lists(&found));
        found
    }

    /// Where a text may name an entity that it is known to be about, in order.
    fn vouched(&self, text: &str, id: &EntityId) -> Vec<Range<usize>> {
        // The id of no entity is its own name: in capitals only as a ticker, in any case as a word.
        let any_case = |name: &Name| name.form == Form::Free;
        let names: Vec<(String, bool)> = match self.entity(id) {
            Some(entity) if entity.kind == EntityKind::List => Vec::new(),
            Some(entity) => names(entity)
                .into_iter()
                .map(|name| (name.written.clone(), any_case(&name)))
                .collect(),
            None => vec![(id.to_string(), id.as_str().chars().any(char::is_lowercase))],
        };
        let is_word = |span: &Range<usize>| {
            let beside = [
                text[..span.start].chars().next_back(),
                text[span.end..].chars().next(),
            ];
            !span.is_empty() && !beside.into_iter().flatten().any(char::is_alphanumeric)
        };
        let mut places: Vec<(Range<usize>, ())> = Vec::new();
        for (name, any_case) in names {
            let of_name = match any_case {
                true => in_any_case(text, &name),
                false => as_written(text, &name),
            };
            places.extend(of_name.into_iter().filter(is_word).map(|span| (span, ())));
        }
        longest(places).into_iter().map(|(span, ())| span).collect()
    }

    fn mentions(&self, text: &str) -> Vec<Found> {
        let spans = self.spans(text);
        let total: usize = spans.values().map(Vec::len).sum();
        let title_end = title_end(text);
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
        let candidates = self.lexicon.candidates(text);
        let mut spans: BTreeMap<usize, Vec<Range<usize>>> = BTreeMap::new();
        for (position, range) in
            Resolution::new(&self.entities, &self.clues, text, candidates).resolve()
        {
            spans.entry(position).or_default().push(range);
        }
        spans
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

/// Where the first line ends: the title, where there is one.
fn title_end(text: &str) -> usize {
    text.find('\n').unwrap_or(text.len())
}

/// In order of the first span, then of the id; those without spans last.
fn in_order(found: impl Iterator<Item = Found>) -> Vec<Found> {
    let mut found: Vec<Found> = found.collect();
    let start = |found: &Found| found.spans.first().map_or(usize::MAX, |span| span.start);
    found.sort_by(|a, b| (start(a), &a.entity).cmp(&(start(b), &b.entity)));
    found
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

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;
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

    fn dictionary() -> Dictionary {
        let csv = "id,name,aliases,sector,kind,context\n\
                   ACME,Acme Corp,Acme,Industrials,company,\n\
                   GLBX,Globex Inc,Globex,Industrials,company,\n\
                   GBANK,Globex Bank,,Financials,company,\n\
                   SUN,Sun Inc,,Energy,company,solar|!light|!* rises\n\
                   MOON,Moon Ltd,,,company,lunar\n\
                   MOONX,Moon Index,Moon,,index,points\n\
                   TIN,tin,,,commodity,\n";
        Dictionary::from_csv(csv.as_bytes(), "test.csv").unwrap()
    }

    fn list(id: &str, entities: &[&str]) -> EntityList {
        EntityList {
            id: id.into(),
            name: id.to_lowercase(),
            entities: entities.iter().map(|id| EntityId::from(*id)).collect(),
        }
    }

    fn small() -> Matcher {
        Matcher::new(&dictionary(), &[list("MINE", &["GLBX", "ACME", "ACME"])]).unwrap()
    }

    fn named(text: &str) -> String {
        ids(&small(), text).join(" ")
    }

    #[test]
    fn names_are_matched_whole_and_the_longest_wins() {
        for (text, expected) in [
            ("Acme and Globex merge", "ACME GLBX"),
            ("globex bank is not GLOBEX", "GBANK GLBX"),
            ("Acme's, “Globex”’s (ACME)", "ACME GLBX"),
            ("acme is too short for lower case", ""),
            ("Acmes Globexes Acme.com https://acme.com/Globex", ""),
            ("Acme-backed, post-Globex", "ACME GLBX"),
            ("Acme-like, Globex-style", ""),
            ("$acme $GLBX $5 $1B $ACMEX", "ACME GLBX"),
            ("(ACME) NYSE: GLBX (LON: ACME)", "ACME GLBX"),
        ] {
            assert_eq!(named(text), expected, "{text}");
        }
    }

    #[test]
    fn ambiguous_names_need_evidence() {
        for (text, expected) in [
            ("The sun shines", ""),
            ("Sun shines on the crowd", ""),
            ("Sun falls on the crowd", "SUN"),
            ("Sun rises on strong earnings", ""),
            ("Sun Inc shines", "SUN"),
            ("We love Sun and its dividend", "SUN"),
            ("Sun light, and solar power", ""),
            (
                "Solar power is the future. Sun agrees. Nobody else does",
                "SUN",
            ),
            ("Sun it is: $SUN", "SUN"),
            ("SUN SHINES ON CROWD", ""),
            ("SUN FALLS ON CROWD", "SUN"),
            ("Harrison Sun said he sold his shares", ""),
            ("The Moon gained 40 points", "MOONX"),
            ("Moon sends a lunar probe", "MOON"),
            ("Moon falls", "MOONX"),
            ("Tin cans, tin makers", "TIN"),
        ] {
            assert_eq!(named(text), expected, "{text}");
        }
    }

    #[test]
    fn lists_stand_behind_what_they_hold() {
        let text = "Globex leaves\nAcme and Globex part, Globex says";
        let found = small().find(text);
        let order: Vec<&str> = found.iter().map(|found| found.entity.as_str()).collect();
        assert_eq!(order, ["GLBX", "ACME", "MINE", "sector:Industrials"]);
        let [globex, acme, mine, sector] = &found[..] else {
            panic!("{found:?}")
        };
        assert_eq!(
            globex
                .spans
                .iter()
                .map(|span| &text[span.clone()])
                .collect::<Vec<_>>(),
            ["Globex"; 3]
        );
        assert!(globex.in_title && !acme.in_title && mine.in_title);
        assert_eq!((mine.spans.len(), mine.relevance), (4, globex.relevance));
        assert_eq!(mine.spans, sector.spans);
        // 0.4 for the title, 0.2 for the beginning, 3 of 4 spans, three times.
        assert!((globex.relevance - (0.4 + 0.2 + 0.3 * 0.75 + 0.1)).abs() < 1e-6);
        assert!(acme.relevance < globex.relevance);
    }

    #[test]
    fn what_the_sender_names_is_added() {
        let given = ["ACME", "NEW", "MINE"].map(EntityId::from);
        let found = small().find_with("Globex and Acme", &given);
        let seen: Vec<_> = found
            .iter()
            .map(|found| (found.entity.as_str(), found.spans.len()))
            .collect();
        assert_eq!(
            seen,
            [
                ("GLBX", 1),
                ("ACME", 1),
                ("NEW", 0),
                ("MINE", 0),
                ("sector:Industrials", 2)
            ]
        );
        assert_eq!(small().find_with("", &given[..1]).len(), 3);
    }

    #[test]
    fn what_the_sender_names_needs_no_evidence() {
        let spans = |text: &str, id: &str| -> Vec<String> {
            let found = small().find_with(text, &[id.into()]);
            let found = found
                .iter()
                .find(|found| found.entity == id.into())
                .unwrap();
            assert_eq!(
                found.in_title,
                found.spans.first().is_some_and(|span| span.start < 9)
            );
            found
                .spans
                .iter()
                .map(|span| text[span.clone()].to_owned())
                .collect()
        };
        // Unknown ids: a word in any case, but whole; capitals only as they are.
        assert_eq!(
            spans("Zenitherm\nsues zenith, ZENITH", "Zenith"),
            ["zenith", "ZENITH"]
        );
        assert_eq!(spans("all new\n\nNEW falls, new high", "NEW"), ["NEW"]);
        assert_eq!(spans("nothing\n\nof it", "Zenith"), [""; 0]);
        // A list is named by its members.
        assert_eq!(spans("not mine\n\nGlobex and Acme", "MINE"), [""; 0]);
    }

    #[test]
    fn entities_and_lists_are_looked_up() {
        let matcher = small();
        assert_eq!(matcher.entity(&"ACME".into()).unwrap().name, "Acme Corp");
        assert_eq!(
            matcher.entity(&"MINE".into()).unwrap().kind,
            EntityKind::List
        );
        assert_eq!(
            matcher.entity(&"sector:Energy".into()).unwrap().name,
            "Energy"
        );
        assert_eq!(
            matcher.lists_of(&"ACME".into()),
            ["sector:Industrials", "MINE"].map(EntityId::from)
        );
        assert!(
            matcher.lists_of(&"TIN".into()).is_empty()
                && matcher.lists_of(&"MINE".into()).is_empty()
        );
    }

    #[test]
    fn all_that_is_wrong_with_lists_is_told() {
        let lists = [
            list("A", &["ACME", "NOPE"]),
            list("ACME", &[]),
            list("sector:Energy", &[]),
            list("A", &[]),
        ];
        let errors = Matcher::new(&dictionary(), &lists).unwrap_err();
        let shown: Vec<String> = errors.iter().map(ToString::to_string).collect();
        assert_eq!(
            shown,
            [
                "list 'A': 'NOPE' is no id of the entity dictionary: correct it, or add it to the dictionary",
                "list 'ACME': there is an entity or list with this id already: give the list another id",
                "list 'sector:Energy': there is an entity or list with this id already: give the list another id",
                "list 'A': there is an entity or list with this id already: give the list another id",
            ]
        );
    }

    #[test]
    fn no_name_of_the_bundled_dictionary_means_two_without_context() {
        let dictionary = Dictionary::bundled();
        let mut owners: HashMap<String, &Entity> = HashMap::new();
        for entity in dictionary.entities() {
            let names: BTreeSet<String> = crate::text::names::names(entity)
                .iter()
                .map(|name| crate::text::folded::fold(&name.written))
                .collect();
            for name in names {
                if let Some(other) = owners.insert(name.clone(), entity) {
                    let both = !entity.context.is_empty() && !other.context.is_empty();
                    assert!(both, "'{name}' is {} and {}", other.id, entity.id);
                }
            }
        }
    }

    #[test]
    fn hostile_text_is_worked_through() {
        let matcher = matcher();
        for unit in [
            "Apple ",
            "$",
            "(",
            ":",
            "$AAPL",
            "(AAPL",
            "NYSE:",
            "gold and ",
            "Apple, ",
            "-",
            "A",
            "Apple.\n",
            "the Dow ",
        ] {
            matcher.find(&unit.repeat(65_536 / unit.len()));
        }
    }

    proptest! {
        #[test]
        fn spans_lie_in_the_text_in_order(text in "(Acme|acme|\\$ACME|[ .,:'\\-()\n]|Sun|Moon|Globex|Inc|shares|points|é|\\PC){0,40}") {
            let matcher = small();
            for found in matcher.find(&text) {
                prop_assert!((0.0..=1.0).contains(&found.relevance));
                prop_assert!(found.spans.iter().all(|span| text.get(span.clone()).is_some_and(|name| !name.is_empty())));
                prop_assert!(found.spans.is_sorted_by_key(|span| span.start));
            }
        }
    }
}
