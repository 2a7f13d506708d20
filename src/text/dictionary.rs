//! The entity dictionary: what is watched, read from CSV.

use super::normalise;
use crate::domain::{Entity, EntityId, EntityKind};
use std::collections::HashMap;
use std::io::Read;

/// Ids that begin so name the lists of sectors.
pub(super) const SECTOR_PREFIX: &str = "sector:";

/// Whether an id is that of a sector's list, which squall makes of the dictionary.
pub fn is_sector(id: &EntityId) -> bool {
    id.as_str().starts_with(SECTOR_PREFIX)
}

const REQUIRED: [&str; 5] = ["id", "name", "aliases", "sector", "kind"];
const OPTIONAL: [&str; 6] = [
    "isin",
    "exchange",
    "parent",
    "context",
    "valid_from",
    "valid_to",
];

/// The entities that are looked for, in the order of their file.
#[derive(Debug, Clone, PartialEq)]
pub struct Dictionary {
    entities: Vec<Entity>,
    positions: HashMap<EntityId, usize>,
}

/// One thing wrong with a dictionary. Displays with file and line first and the remedy last.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{file} line {line}: {problem}")]
pub struct DictionaryError {
    /// Name of the file, as it was given.
    pub file: String,
    /// Line in it, from 1.
    pub line: u64,
    /// What is wrong, and what to do.
    pub problem: String,
}

impl Dictionary {
    /// The dictionary compiled in: large listed companies of the world, stock indices, currencies,
    /// commodities and funds.
    pub fn bundled() -> Self {
        let csv = include_str!("entities.csv");
        Self::from_csv(csv.as_bytes(), "entities.csv").expect("a test reads the bundled dictionary")
    }

    /// Reads CSV with a header: `id,name,aliases,sector,kind`, and optionally `isin`, `exchange`, `parent`,
    /// `context`, `valid_from`, `valid_to`, in any order. `file` is how errors name it.
    ///
    /// - `aliases` and `context` are separated by `|`. The name without its legal form is matched too. An
    ///   alias `$XYZ` is a further ticker, matched only as a cashtag or in parentheses; `!Xyz` is no name, although
    ///   it is left of the name without its legal form.
    /// - `kind` is company, index, currency, commodity or fund.
    /// - `context` holds words or phrases near which an ambiguous name counts. One that begins with `!` says
    ///   the contrary: directly before or after an ambiguous name it shows that something else is meant; with
    ///   `!* ` only directly after it.
    /// - `isin`, `exchange`, `parent`, `valid_from` and `valid_to` are checked, and not used so far.
    ///
    /// # Errors
    /// All that is wrong, in order of the lines.
    pub fn from_csv(reader: impl Read, file: &str) -> Result<Self, Vec<DictionaryError>> {
        let mut reading = Reading::new(file);
        reading.read(reader);
        if reading.errors.is_empty() {
            Ok(reading.dictionary)
        } else {
            reading.errors.sort_by_key(|error| error.line);
            Err(reading.errors)
        }
    }

    /// The entity with this id.
    pub fn get(&self, id: &EntityId) -> Option<&Entity> {
        self.positions
            .get(id)
            .map(|&position| &self.entities[position])
    }

    /// All entities, in the order of the file.
    pub fn entities(&self) -> &[Entity] {
        &self.entities
    }
}

/// A dictionary under way, with what was found wrong so far.
struct Reading<'a> {
    file: &'a str,
    dictionary: Dictionary,
    /// Line of each id.
    lines: HashMap<EntityId, u64>,
    /// Parents named, with their lines: they may stand further down.
    parents: Vec<(EntityId, u64)>,
    errors: Vec<DictionaryError>,
}

/// One row: the text in a named column, empty where the file has no such column.
type Row<'a> = &'a dyn Fn(&str) -> String;

impl<'a> Reading<'a> {
    fn new(file: &'a str) -> Self {
        Self {
            file,
            dictionary: Dictionary {
                entities: Vec::new(),
                positions: HashMap::new(),
            },
            lines: HashMap::new(),
            parents: Vec::new(),
            errors: Vec::new(),
        }
    }

    fn error(&mut self, line: u64, problem: impl Into<String>) {
        self.errors.push(DictionaryError {
            file: self.file.to_owned(),
            line,
            problem: problem.into(),
        });
    }

    fn read(&mut self, reader: impl Read) {
        let mut csv = csv::ReaderBuilder::new().flexible(true).from_reader(reader);
        let header = match csv.headers() {
            Ok(header) => header.clone(),
            Err(error) => return self.unreadable(&error),
        };
        let columns: Vec<String> = header
            .iter()
            .map(|name| name.trim().trim_start_matches('\u{feff}').to_owned())
            .collect();
        if !self.columns(&columns) {
            return;
        }
        for record in csv.records() {
            let record = match record {
                Ok(record) => record,
                Err(error) => {
                    self.unreadable(&error);
                    if error.is_io_error() {
                        return;
                    }
                    continue;
                }
            };
            let line = record.position().map_or(0, csv::Position::line);
            if record.len() == columns.len() {
                self.entity(line, &|column| {
                    let position = columns.iter().position(|name| name == column);
                    normalise(position.map_or("", |position| &record[position]))
                });
            } else {
                let (found, expected) = (record.len(), columns.len());
                self.error(
                    line,
                    format!("{found} fields where the header has {expected}: put fields that hold a comma in quotes"),
                );
            }
        }
        for (parent, line) in std::mem::take(&mut self.parents) {
            if self.dictionary.get(&parent).is_none() {
                self.error(
                    line,
                    format!(
                        "parent '{parent}' is no id of this file: add it, or leave parent empty"
                    ),
                );
            }
        }
    }

    fn unreadable(&mut self, error: &csv::Error) {
        let line = error.position().map_or(1, csv::Position::line);
        self.error(
            line,
            format!("cannot be read: {error}: save it as CSV in UTF-8"),
        );
    }

    /// Checks the header; without its required columns no row can be read.
    fn columns(&mut self, columns: &[String]) -> bool {
        let known = || REQUIRED.iter().chain(&OPTIONAL);
        for (position, column) in columns.iter().enumerate() {
            if !known().any(|name| name == column) {
                let known: Vec<&str> = known().copied().collect();
                self.error(
                    1,
                    format!(
                        "unknown column '{column}': the columns are {}",
                        known.join(", ")
                    ),
                );
            } else if columns[..position].contains(column) {
                self.error(1, format!("column '{column}' is there twice: remove one"));
            }
        }
        let missing: Vec<&str> = REQUIRED
            .into_iter()
            .filter(|name| !columns.iter().any(|column| column == name))
            .collect();
        if !missing.is_empty() {
            self.error(
                1,
                format!(
                    "no column {}: the first line must be {}",
                    missing.join(", "),
                    REQUIRED.join(",")
                ),
            );
        }
        missing.is_empty()
    }

    fn entity(&mut self, line: u64, row: Row) {
        let id = EntityId::from(row("id").as_str());
        let name = row("name");
        if id.as_str().is_empty() {
            self.error(line, "no id: give each entity one, its ticker say");
        } else if id.as_str().starts_with(SECTOR_PREFIX) {
            self.error(line, format!("id '{id}': ids that begin with '{SECTOR_PREFIX}' are those of sectors, choose another"));
        } else if let Some(first) = self.lines.get(&id) {
            self.error(
                line,
                format!(
                    "id '{id}' stands in line {first} already: remove one, or give it another id"
                ),
            );
        }
        if name.is_empty() {
            self.error(line, format!("entity '{id}' has no name: give it one"));
        }
        let aliases = parts(&row("aliases"));
        for short in aliases
            .iter()
            .chain([&name])
            .filter(|alias| alias.chars().count() == 1)
        {
            self.error(line, format!("alias '{short}' of '{id}' has one character and would match everywhere: remove it"));
        }
        let kind = kind(&row("kind"));
        if let Err(problem) = &kind {
            self.error(line, problem);
        }
        self.dates(line, row);
        let parent = row("parent");
        if !parent.is_empty() {
            self.parents.push((parent.as_str().into(), line));
        }
        self.lines.entry(id.clone()).or_insert(line);
        let entities = &mut self.dictionary.entities;
        self.dictionary.positions.insert(id.clone(), entities.len());
        entities.push(Entity {
            id,
            name,
            aliases,
            sector: row("sector"),
            kind: kind.unwrap_or(EntityKind::Company),
            context: parts(&row("context")),
        });
    }

    fn dates(&mut self, line: u64, row: Row) {
        let mut date = |column: &str| {
            let text = row(column);
            let wrong = !text.is_empty() && !is_date(&text);
            if wrong {
                self.error(
                    line,
                    format!("{column} '{text}' is no date: write it as 2026-11-23"),
                );
            }
            (!wrong && !text.is_empty()).then_some(text)
        };
        if let (Some(from), Some(to)) = (date("valid_from"), date("valid_to"))
            && to < from
        {
            self.error(
                line,
                format!("valid_to {to} lies before valid_from {from}: exchange them"),
            );
        }
    }
}

/// The parts between `|`, empty ones left out.
fn parts(field: &str) -> Vec<String> {
    let parts = field
        .split('|')
        .map(str::trim)
        .filter(|part| !part.is_empty());
    parts.map(str::to_owned).collect()
}

/// What a line of the dictionary may be; lists come from the configuration.
const KINDS: [EntityKind; 5] = [
    EntityKind::Company,
    EntityKind::Index,
    EntityKind::Currency,
    EntityKind::Commodity,
    EntityKind::Fund,
];

fn kind(word: &str) -> Result<EntityKind, String> {
    KINDS
        .into_iter()
        .find(|kind| kind.name() == word)
        .ok_or_else(|| {
            let known = KINDS.map(EntityKind::name).join(", ");
            format!("unknown kind '{word}': it must be one of {known}")
        })
}

/// Whether a text has the form of a day, `2026-11-23`.
fn is_date(text: &str) -> bool {
    text.parse::<jiff::civil::Date>().is_ok() && text.len() == 10
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;
    use std::collections::HashSet;

    const SECTORS: [&str; 11] = [
        "Communication Services",
        "Consumer Discretionary",
        "Consumer Staples",
        "Energy",
        "Financials",
        "Health Care",
        "Industrials",
        "Information Technology",
        "Materials",
        "Real Estate",
        "Utilities",
    ];

    fn errors(csv: &str) -> Vec<String> {
        let errors = Dictionary::from_csv(csv.as_bytes(), "my.csv").unwrap_err();
        errors.iter().map(ToString::to_string).collect()
    }

    #[test]
    fn reads_every_column_in_any_order() {
        let csv = "kind,name,id,context,aliases,sector,isin,exchange,parent,valid_from,valid_to\n\
                   company,\"Acme, Inc.\",ACME,rockets | !dynamite,Acme|| $ACM ,Industrials,,XNYS,TOON,2020-01-02,\n\
                   fund,Toon Fund,TOON,,,,,,,,\n";
        let dictionary = Dictionary::from_csv(csv.as_bytes(), "my.csv").unwrap();
        assert_eq!(
            dictionary.get(&"ACME".into()),
            Some(&Entity {
                id: "ACME".into(),
                name: "Acme, Inc.".into(),
                aliases: vec!["Acme".into(), "$ACM".into()],
                sector: "Industrials".into(),
                kind: EntityKind::Company,
                context: vec!["rockets".into(), "!dynamite".into()],
            })
        );
        assert_eq!(dictionary.entities()[1].kind, EntityKind::Fund);
        assert_eq!(dictionary.get(&"acme".into()), None);
    }

    #[test]
    fn all_errors_are_told_at_once() {
        assert_eq!(
            errors(
                "id,name,aliases,sector,kind,parent,valid_from,valid_to\n\
                 ACME,Acme,A,,company,,,\n\
                 ACME,Acme Two,,,firm,,,\n\
                 ,Nobody,,,company,,,\n\
                 EMPTY,,,,company,,,\n\
                 sector:X,Ex,,,list,NOPE,,\n\
                 OLD,Old Co,,,company,,2020-01-02,2019-13-01\n\
                 OLDER,Older Co,,,company,,2020-01-02,2019-01-01\n\
                 SHORT,Short Co\n",
            ),
            [
                "my.csv line 2: alias 'A' of 'ACME' has one character and would match everywhere: remove it",
                "my.csv line 3: id 'ACME' stands in line 2 already: remove one, or give it another id",
                "my.csv line 3: unknown kind 'firm': it must be one of company, index, currency, commodity, fund",
                "my.csv line 4: no id: give each entity one, its ticker say",
                "my.csv line 5: entity 'EMPTY' has no name: give it one",
                "my.csv line 6: id 'sector:X': ids that begin with 'sector:' are those of sectors, choose another",
                "my.csv line 6: unknown kind 'list': it must be one of company, index, currency, commodity, fund",
                "my.csv line 6: parent 'NOPE' is no id of this file: add it, or leave parent empty",
                "my.csv line 7: valid_to '2019-13-01' is no date: write it as 2026-11-23",
                "my.csv line 8: valid_to 2019-01-01 lies before valid_from 2020-01-02: exchange them",
                "my.csv line 9: 2 fields where the header has 8: put fields that hold a comma in quotes",
            ]
        );
    }

    #[test]
    fn a_wrong_header_names_the_columns() {
        assert_eq!(
            errors("id,name,kind,ticker,id\nA,B,company,,\n"),
            [
                "my.csv line 1: unknown column 'ticker': the columns are id, name, aliases, sector, kind, isin, \
                 exchange, parent, context, valid_from, valid_to",
                "my.csv line 1: column 'id' is there twice: remove one",
                "my.csv line 1: no column aliases, sector: the first line must be id,name,aliases,sector,kind",
            ]
        );
        assert!(errors("")[0].contains("no column id"));
    }

    #[test]
    fn what_is_not_utf8_is_an_error_with_its_line() {
        let csv = b"id,name,aliases,sector,kind\nA,Acme,,,company\nB,\xff\xfe,,,company\n";
        let errors = Dictionary::from_csv(&csv[..], "my.csv").unwrap_err();
        assert_eq!((errors.len(), errors[0].line), (1, 3), "{errors:?}");
    }

    #[test]
    fn the_bundled_dictionary_is_sound() {
        let dictionary = Dictionary::bundled();
        let count = |kind| {
            dictionary
                .entities()
                .iter()
                .filter(|entity| entity.kind == kind)
                .count()
        };
        assert!(dictionary.entities().len() >= 550);
        assert!(count(EntityKind::Company) >= 430);
        assert!(count(EntityKind::Index) >= 25);
        assert!(count(EntityKind::Currency) >= 30);
        assert!(count(EntityKind::Commodity) >= 25);
        assert!(count(EntityKind::Fund) >= 10);
        for entity in dictionary.entities() {
            let sector = entity.sector.as_str();
            let known = if entity.kind == EntityKind::Company {
                SECTORS.contains(&sector)
            } else {
                sector.is_empty()
            };
            assert!(known, "{}: sector '{sector}'", entity.id);
            let names: HashSet<&String> = entity.aliases.iter().chain([&entity.name]).collect();
            assert_eq!(
                names.len(),
                entity.aliases.len() + 1,
                "{}: an alias twice",
                entity.id
            );
        }
    }

    proptest! {
        #[test]
        fn any_file_is_read_or_refused(bytes in any::<Vec<u8>>(), text in "([\",|\n]|id,name,aliases,sector,kind\n|company|\\PC){0,40}") {
            let _ = Dictionary::from_csv(&bytes[..], "any");
            let _ = Dictionary::from_csv(format!("id,name,aliases,sector,kind\n{text}").as_bytes(), "any");
        }
    }
}
