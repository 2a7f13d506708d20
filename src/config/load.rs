//! Reads the configuration: defaults, then the user's file, then the environment. All errors are found
//! before any is reported.

use super::environment::from_environment;
use super::{Config, DEFAULTS, DetectConfig, Secret, check};
use serde::de::DeserializeOwned;
use std::fmt;
use std::path::Path;
use toml::{Table, Value};

/// Everything that is wrong with a configuration, each line naming the key and the remedy.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ConfigErrors(pub Vec<String>);

impl fmt::Display for ConfigErrors {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let count = self.0.len();
        write!(
            f,
            "{count} error{} in the configuration",
            if count == 1 { "" } else { "s" }
        )?;
        self.0.iter().try_for_each(|error| write!(f, "\n  {error}"))
    }
}

impl std::error::Error for ConfigErrors {}

/// Sections that are lists of tables; the default file has examples of most of them in comments only.
const LISTS: [&str; 8] = [
    "topics",
    "lists",
    "campaigns",
    "rules",
    "endpoints",
    "routes",
    "quiet_hours",
    "tokens",
];

/// Table whose keys are the Kafka client's, not squall's.
pub(super) const FREE: &str = "kafka.client";

/// Table whose keys are sources, and its values numbers.
const SOURCES: &str = "detect.credibility";

/// Loads and checks the configuration. Without a file the defaults count; `environment` is usually
/// `std::env::vars()`, of which `SQUALL_SECTION__KEY` is used.
///
/// # Errors
/// Every unknown key, wrong type and impossible combination at once.
pub fn load(
    file: Option<&Path>,
    environment: impl Iterator<Item = (String, String)>,
) -> Result<Config, ConfigErrors> {
    let mut errors = Vec::new();
    let mut table: Table = parse(DEFAULTS, "the compiled-in defaults").map_err(one)?;
    let defaults = table.clone();
    if let Some(path) = file {
        let place = path.display().to_string();
        let text = std::fs::read_to_string(path).map_err(|e| {
            one(format!(
                "{place}: cannot be read: {e}: check the path given with --config"
            ))
        })?;
        let user = parse(&text, &place).map_err(one)?;
        overlay(&mut table, user, &defaults, "", &mut errors);
    }
    for (name, value) in environment {
        match from_environment(&name, &value, &defaults) {
            Some(Ok(user)) => overlay(&mut table, user, &defaults, "", &mut errors),
            Some(Err(problem)) => errors.push(problem),
            None => {}
        }
    }
    let config = build(&table, &mut errors);
    match config {
        Some(mut config) if errors.is_empty() => {
            resolve_secrets(&mut config, &mut errors);
            check::check(&config, &mut errors);
            if errors.is_empty() {
                Ok(config)
            } else {
                Err(ConfigErrors(errors))
            }
        }
        _ => Err(ConfigErrors(errors)),
    }
}

fn one(error: String) -> ConfigErrors {
    ConfigErrors(vec![error])
}

fn parse(text: &str, place: &str) -> Result<Table, String> {
    text.parse::<Table>().map_err(|error| {
        let at = error.span().map_or(0, |span| span.start);
        let (line, column) = position(text, at);
        format!(
            "{place}, line {line}, column {column}: {}",
            error.message().replace('\n', ", ")
        )
    })
}

/// Line and column, both from 1, of a byte. The text itself is never shown: it may hold a secret.
fn position(text: &str, at: usize) -> (usize, usize) {
    let before = text.get(..at).unwrap_or(text);
    let line = before.rsplit('\n').next().unwrap_or_default();
    (before.matches('\n').count() + 1, line.chars().count() + 1)
}

/// Puts the user's values over the defaults. A key the defaults do not have, or a value of another type,
/// is an error.
fn overlay(base: &mut Table, user: Table, defaults: &Table, path: &str, errors: &mut Vec<String>) {
    for (key, value) in user {
        let full = if path.is_empty() {
            key.clone()
        } else {
            format!("{path}.{key}")
        };
        let is_list = path.is_empty() && LISTS.contains(&key.as_str());
        match (defaults.get(&key), value) {
            (_, Value::Float(number)) if path == SOURCES => {
                base.insert(key, Value::Float(number));
            }
            (_, Value::Integer(number)) if path == SOURCES => {
                base.insert(key, Value::Float(number as f64));
            }
            (_, other) if path == SOURCES => {
                errors.push(format!(
                    "{full}: is {}, must be a number from 0 to 1",
                    kind(&other)
                ));
            }
            (_, Value::Table(_) | Value::Array(_)) if path == FREE => {
                errors.push(format!("{full}: must be a string, a number or a boolean"));
            }
            (_, Value::String(text)) if path == FREE => {
                base.insert(key, Value::String(text));
            }
            (_, value) if path == FREE => {
                base.insert(key, Value::String(value.to_string()));
            }
            (_, Value::Array(items)) if is_list => {
                base.insert(key, Value::Array(items));
            }
            (_, other) if is_list => errors.push(format!(
                "{full}: is {}, must be a list of tables: write [[{full}]]",
                kind(&other)
            )),
            (Some(Value::Table(known)), Value::Table(inner)) => {
                if let Some(Value::Table(target)) = base.get_mut(&key) {
                    overlay(target, inner, known, &full, errors);
                }
            }
            (Some(Value::Float(_)), Value::Integer(number)) => {
                base.insert(key, Value::Float(number as f64));
            }
            (Some(known), value) if known.same_type(&value) => {
                base.insert(key, value);
            }
            (Some(known), value) => errors.push(format!(
                "{full}: is {}, must be {}: write it like {full} = {known}",
                kind(&value),
                kind(known)
            )),
            (None, _) => errors.push(unknown_key(&full, &key, defaults, path.is_empty())),
        }
    }
}

/// Type of a value in words.
fn kind(value: &Value) -> &'static str {
    match value {
        Value::String(_) => "a string",
        Value::Integer(_) => "a number",
        Value::Float(_) => "a number",
        Value::Boolean(_) => "true or false",
        Value::Datetime(_) => "a date",
        Value::Array(_) => "a list",
        Value::Table(_) => "a table",
    }
}

fn unknown_key(full: &str, key: &str, defaults: &Table, top: bool) -> String {
    let lists = LISTS.iter().copied().filter(|_| top);
    let nearest = defaults
        .keys()
        .map(String::as_str)
        .chain(lists)
        .map(|known| (distance(key, known), known))
        .min()
        .filter(|(distance, known)| *distance <= 1 + known.len() / 3);
    match nearest {
        Some((_, known)) => format!("{full}: unknown key: did you mean '{known}'?"),
        None => {
            let known: Vec<&str> = defaults.keys().map(String::as_str).collect();
            format!("{full}: unknown key: known here are {}", known.join(", "))
        }
    }
}

/// Levenshtein distance in characters.
fn distance(a: &str, b: &str) -> usize {
    let b: Vec<char> = b.chars().collect();
    let mut row: Vec<usize> = (0..=b.len()).collect();
    for (i, x) in a.chars().enumerate() {
        let mut diagonal = row[0];
        row[0] = i + 1;
        for (j, y) in b.iter().enumerate() {
            let above = row[j + 1];
            row[j + 1] = (diagonal + usize::from(x != *y))
                .min(above + 1)
                .min(row[j] + 1);
            diagonal = above;
        }
    }
    row[b.len()]
}

/// Deserialises section by section, so that one bad section does not hide another.
fn build(table: &Table, errors: &mut Vec<String>) -> Option<Config> {
    let run = section(table, "run", errors);
    let kafka = section(table, "kafka", errors);
    let topics = list(table, "topics", errors);
    let score = section(table, "score", errors);
    let model = section(table, "model", errors);
    let entities = section(table, "entities", errors);
    let lists = list(table, "lists", errors);
    let campaigns = list(table, "campaigns", errors);
    let store = section(table, "store", errors);
    let clickhouse = section(table, "clickhouse", errors);
    let detect = section::<DetectConfig>(table, "detect", errors);
    let rules = list(table, "rules", errors);
    let detect = detect
        .zip(rules)
        .map(|(detect, rules)| DetectConfig { rules, ..detect });
    let notify = section(table, "notify", errors);
    let endpoints = list(table, "endpoints", errors);
    let routes = list(table, "routes", errors);
    let quiet_hours = list(table, "quiet_hours", errors);
    let tokens = list(table, "tokens", errors);
    let api = section(table, "api", errors);
    Some(Config {
        run: run?,
        kafka: kafka?,
        topics: topics?,
        score: score?,
        model: model?,
        entities: entities?,
        lists: lists?,
        campaigns: campaigns?,
        store: store?,
        clickhouse: clickhouse?,
        detect: detect?,
        notify: notify?,
        endpoints: endpoints?,
        routes: routes?,
        quiet_hours: quiet_hours?,
        tokens: tokens?,
        api: api?,
    })
}

fn section<T: DeserializeOwned>(table: &Table, name: &str, errors: &mut Vec<String>) -> Option<T> {
    let value = table
        .get(name)
        .cloned()
        .unwrap_or_else(|| Value::Table(Table::new()));
    read(value, name, errors)
}

fn list<T: DeserializeOwned>(
    table: &Table,
    name: &str,
    errors: &mut Vec<String>,
) -> Option<Vec<T>> {
    let items = match table.get(name) {
        Some(Value::Array(items)) => items.as_slice(),
        _ => &[],
    };
    let read: Vec<Option<T>> = items
        .iter()
        .enumerate()
        .map(|(index, item)| read(item.clone(), &format!("{name}[{index}]"), errors))
        .collect();
    read.into_iter().collect()
}

fn read<T: DeserializeOwned>(value: Value, place: &str, errors: &mut Vec<String>) -> Option<T> {
    serde_path_to_error::deserialize(value)
        .map_err(|error| {
            let inner = error.path().to_string();
            let dot = if inner == "." {
                String::new()
            } else {
                format!(".{inner}")
            };
            errors.push(format!("{place}{dot}: {}", without_value(error.inner())));
        })
        .ok()
}

/// What is wrong, without the value, which may be a secret in the wrong place.
fn without_value(error: &toml::de::Error) -> String {
    let message = error.message();
    let quotes_value = ["invalid type", "invalid value", "unknown variant"]
        .iter()
        .any(|beginning| message.starts_with(beginning));
    match message.rsplit_once(", expected ") {
        Some((_, expected)) if quotes_value => format!("must be {expected}"),
        _ => message.to_owned(),
    }
}

fn resolve_secrets(config: &mut Config, errors: &mut Vec<String>) {
    let mut resolve = |place: String, secret: &mut Secret| {
        if let Err(problem) = secret.resolve() {
            errors.push(format!("{place}: {problem}"));
        }
    };
    resolve("api.token".into(), &mut config.api.token);
    for (index, token) in config.tokens.iter_mut().enumerate() {
        resolve(format!("tokens[{index}].hash"), &mut token.hash);
    }
    resolve(
        "clickhouse.password".into(),
        &mut config.clickhouse.password,
    );
    for (key, secret) in &mut config.kafka.client {
        resolve(format!("{FREE}.{key}"), secret);
    }
    for (index, endpoint) in config.endpoints.iter_mut().enumerate() {
        resolve(format!("endpoints[{index}].url"), &mut endpoint.url);
        let key = format!("endpoints[{index}].routing_key");
        resolve(key, &mut endpoint.routing_key);
        for secret in &mut endpoint.secrets {
            resolve(format!("endpoints[{index}].secrets"), secret);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn load_text(text: &str) -> Result<Config, ConfigErrors> {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("squall.toml");
        std::fs::write(&path, text).unwrap();
        load(Some(&path), std::iter::empty())
    }

    fn errors(text: &str) -> String {
        load_text(text).expect_err("must be refused").to_string()
    }

    #[test]
    fn the_defaults_load() {
        let config = load(None, std::iter::empty()).unwrap();
        assert_eq!(config.kafka.brokers, super::super::EMBEDDED);
        assert_eq!(config.topics.len(), 2);
    }

    #[test]
    fn all_errors_come_at_once_each_with_its_key() {
        let text = errors(
            r#"
            [api]
            lisen = "127.0.0.1:1"
            [score]
            batch_tokens = "many"
            [store]
            flush_interval = "soon"
            [[endpoints]]
            name = "desk"
            [colour]
            red = 1
            "#,
        );
        assert!(
            text.contains("api.lisen: unknown key: did you mean 'listen'?"),
            "{text}"
        );
        assert!(
            text.contains("score.batch_tokens: is a string, must be a number"),
            "{text}"
        );
        assert!(
            text.contains("store.flush_interval: 'soon' is not a duration"),
            "{text}"
        );
        assert!(text.contains("endpoints[0]: missing field `url`"), "{text}");
        assert!(text.contains("colour: unknown key"), "{text}");
    }

    #[test]
    fn a_secret_in_the_wrong_place_is_not_shown() {
        for (text, place) in [
            (
                "[[endpoints]]\nname = \"desk\"\nurl = \"https://x\"\nsecrets = \"hush, expected\"",
                "endpoints[0].secrets: must be a sequence",
            ),
            ("endpoints = [\"hush\"]", "endpoints[0]: must be"),
            (
                "[[endpoints]]\nname = \"desk\"\nurl = \"https://x\"\nsecrets = []\nmin_severity = \"hush\"",
                "endpoints[0].min_severity: must be `warning` or `critical`",
            ),
            ("[kafka]\nclient = \"hush\"", "kafka.client: is a string"),
            (
                "[kafka.client]\n\"sasl.password\" = [\"hush\"]",
                "kafka.client.sasl.password: must be",
            ),
            ("[api]\ntoken = [\"hush\"]", "api.token: is a list"),
        ] {
            let shown = errors(text);
            assert!(shown.contains(place), "{shown}");
            assert!(!shown.contains("hush"), "{shown}");
        }
    }

    #[test]
    fn syntax_errors_name_file_and_line() {
        for (wrong, place) in [
            ("[api\nlisten = 1", "squall.toml, line 1, column 5: "),
            ("[api]\ntoken = hush", "squall.toml, line 2, column 9: "),
            (
                "[api]\ntoken = \"hush\nlisten",
                "squall.toml, line 3, column ",
            ),
            ("[api]\ntoken = \"hush\" hush", "line 2, column "),
            ("[api]\n\"é\" = 'hush\\q", "line 2, column "),
            (
                "[api]\ntoken = \"hush\"\ntoken = \"hush\"",
                "line 3, column 1: ",
            ),
        ] {
            let text = errors(wrong);
            assert!(text.contains(place), "{text}");
            assert!(!text.contains("hush"), "{text}");
        }
        let missing = load(Some(Path::new("/no/such/file.toml")), std::iter::empty()).unwrap_err();
        assert!(
            missing.to_string().contains("/no/such/file.toml"),
            "{missing}"
        );
    }

    #[test]
    fn the_address_of_an_endpoint_is_a_secret() {
        let folder = tempfile::tempdir().unwrap();
        let file = folder.path().join("url");
        std::fs::write(&file, "https://example.com/hush\n").unwrap();
        let config = load_text(&format!(
            "[[endpoints]]\nname = \"desk\"\nurl = \"file:{}\"\nsecrets = []",
            file.display()
        ))
        .unwrap();
        assert_eq!(config.endpoints[0].url.expose(), "https://example.com/hush");
        let shown = format!("{config:?}{}", toml::to_string(&config).unwrap());
        assert!(!shown.contains("hush"), "{shown}");
        let missing = errors(
            "[[endpoints]]\nname = \"desk\"\nurl = \"env:SQUALL_NO_SUCH_VARIABLE\"\nsecrets = []",
        );
        assert!(missing.contains("endpoints[0].url: environment variable SQUALL_NO_SUCH_VARIABLE"));
    }

    #[test]
    fn kafka_client_settings_pass_through_and_stay_secret() {
        let config =
            load_text("[kafka]\nbrokers = \"host:9092\"\n[kafka.client]\n\"sasl.password\" = \"hush\"\n\"ssl.verify\" = true")
                .unwrap();
        assert_eq!(config.kafka.client["sasl.password"].expose(), "hush");
        assert_eq!(config.kafka.client["ssl.verify"].expose(), "true");
        assert!(!format!("{config:?}").contains("hush"));
    }
}
