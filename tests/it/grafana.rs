//! Grafana's dashboards, and their queries as Grafana would send them to ClickHouse.
//!
//! [`Sent::query`] does what the dashboard and the plugin grafana-clickhouse-datasource (4.x) do to `rawSql`, in
//! their order: `$__conditionalAll`, then variables, then the macros that stand for times. What it does not know makes
//! it panic.

use serde_json::Value;
use std::collections::BTreeMap;

/// Type of the plugin's data source.
pub const CLICKHOUSE: &str = "grafana-clickhouse-datasource";
/// Type of Prometheus' data source.
pub const PROMETHEUS: &str = "prometheus";

/// All dashboards of the repository, by file name.
pub fn dashboards() -> Vec<(String, Value)> {
    let folder = concat!(env!("CARGO_MANIFEST_DIR"), "/dashboards");
    let mut all: Vec<_> = std::fs::read_dir(folder)
        .unwrap()
        .map(|entry| {
            let path = entry.unwrap().path();
            let text = std::fs::read_to_string(&path).unwrap();
            let name = path.file_name().unwrap().to_string_lossy().into_owned();
            (name, serde_json::from_str(&text).unwrap())
        })
        .collect();
    all.sort_by(|one, other| one.0.cmp(&other.0));
    all
}

/// A list in a dashboard.
pub fn list<'a>(value: &'a Value, pointer: &str) -> &'a [Value] {
    value
        .pointer(pointer)
        .and_then(Value::as_array)
        .unwrap_or_else(|| panic!("no list at {pointer}"))
}

/// A text in a dashboard.
pub fn text<'a>(value: &'a Value, pointer: &str) -> &'a str {
    value
        .pointer(pointer)
        .and_then(Value::as_str)
        .unwrap_or_else(|| panic!("no text at {pointer} of {value}"))
}

/// What a variable is set to.
#[derive(Debug, Clone)]
pub enum Choice {
    /// All of several.
    All,
    /// Some of them, or the one of a variable that has one.
    Some(Vec<String>),
}

/// A state of a dashboard: the time shown, in seconds since the Unix epoch, the step, and the variables.
#[derive(Debug, Clone)]
pub struct Sent {
    pub from: i64,
    pub to: i64,
    pub step: u64,
    pub variables: BTreeMap<String, Choice>,
}

impl Sent {
    /// The SQL that reaches ClickHouse.
    pub fn query(&self, raw: &str) -> String {
        let sql = self.times(&self.chosen(&self.conditions(raw)));
        assert!(!sql.contains('$'), "not expanded: {sql}");
        sql
    }

    /// `$__conditionalAll(condition, $variable)` is the condition, or `1=1` when all are chosen.
    fn conditions(&self, raw: &str) -> String {
        let name = "$__conditionalAll";
        let mut sql = raw.to_owned();
        while let Some(at) = sql.rfind(name) {
            let (arguments, length) = arguments(&sql[at + name.len()..]).expect("arguments");
            let [condition, variable] = &arguments[..] else {
                panic!("{name} takes a condition and a variable: {sql}");
            };
            let chosen = &self.variables[variable.trim().trim_start_matches('$')];
            let phrase = match chosen {
                Choice::All => "1=1",
                Choice::Some(_) => condition,
            };
            sql = format!("{}{phrase}{}", &sql[..at], &sql[at + name.len() + length..]);
        }
        sql
    }

    /// `${variable}` and `${variable:sqlstring}`.
    fn chosen(&self, raw: &str) -> String {
        let mut sql = String::new();
        let mut rest = raw;
        while let Some((before, behind)) = rest.split_once("${") {
            let (reference, after) = behind.split_once('}').expect("a closing brace");
            let (name, format) = reference.split_once(':').unwrap_or((reference, ""));
            let Some(Choice::Some(values)) = self.variables.get(name) else {
                panic!("{name} is not set to anything that could stand in a query: {raw}");
            };
            let values: Vec<String> = match format {
                "sqlstring" => values
                    .iter()
                    .map(|value| format!("'{}'", value.replace('\'', "''")))
                    .collect(),
                "" if values.len() == 1 => values.clone(),
                _ => panic!("{reference} would not be one value"),
            };
            sql += before;
            sql += &values.join(",");
            rest = after;
        }
        sql + rest
    }

    /// The macros that the plugin expands.
    fn times(&self, raw: &str) -> String {
        let mut sql = String::new();
        let mut rest = raw;
        while let Some((before, behind)) = rest.split_once("$__") {
            let end = behind
                .find(|c: char| !c.is_alphanumeric() && c != '_')
                .unwrap_or(behind.len());
            let (name, behind) = behind.split_at(end);
            sql += before;
            rest = behind;
            if let Some(instant) = self.instant(name) {
                sql += &instant;
                continue;
            }
            let (arguments, length) = arguments(behind).unwrap_or_default();
            let [column] = &arguments[..] else {
                panic!("$__{name} takes one argument: {raw}");
            };
            sql += &self.of_column(name, column);
            rest = &behind[length..];
        }
        sql + rest
    }

    fn instant(&self, name: &str) -> Option<String> {
        let seconds = |at: i64| format!("toDateTime({at})");
        let milliseconds = |at: i64| format!("fromUnixTimestamp64Milli({at}000)");
        Some(match name {
            "fromTime" => seconds(self.from),
            "toTime" => seconds(self.to),
            "fromTime_ms" => milliseconds(self.from),
            "toTime_ms" => milliseconds(self.to),
            "interval_s" => self.step.max(1).to_string(),
            _ => return None,
        })
    }

    fn of_column(&self, name: &str, column: &str) -> String {
        let between = |from, to| {
            let (from, to) = (self.instant(from).unwrap(), self.instant(to).unwrap());
            format!("{column} >= {from} AND {column} <= {to}")
        };
        match name {
            "timeFilter" => between("fromTime", "toTime"),
            "timeFilter_ms" => between("fromTime_ms", "toTime_ms"),
            "timeInterval" => format!(
                "toStartOfInterval(toDateTime({column}), INTERVAL {} second)",
                self.step.max(1)
            ),
            _ => panic!("$__{name} is no macro that this knows"),
        }
    }
}

/// What stands between the parenthesis that `text` begins with and its partner, split at commas, and how long all of
/// it is.
fn arguments(text: &str) -> Option<(Vec<String>, usize)> {
    let mut found = vec![String::new()];
    let mut depth = 0;
    for (at, character) in text.char_indices() {
        match character {
            '(' => depth += 1,
            ')' => depth -= 1,
            _ => {}
        }
        match (character, depth) {
            (_, 0) => return (at > 0).then_some((found, at + 1)),
            ('(', 1) => {}
            (',', 1) => found.push(String::new()),
            (character, _) => found.last_mut()?.push(character),
        }
    }
    None
}

fn sent() -> Sent {
    let some = |values: &[&str]| Choice::Some(values.iter().map(|v| (*v).to_owned()).collect());
    Sent {
        from: 1_415_792_726,
        to: 1_447_328_726,
        step: 20,
        variables: [
            ("one", some(&["O'Hara"])),
            ("some", some(&["a", "b"])),
            ("all", Choice::All),
        ]
        .map(|(name, choice)| (name.to_owned(), choice))
        .into(),
    }
}

#[test]
fn macros_expand_as_the_plugin_documents_them() {
    for (raw, expected) in [
        (
            "$__timeFilter(t)",
            "t >= toDateTime(1415792726) AND t <= toDateTime(1447328726)",
        ),
        (
            "$__timeFilter_ms(t)",
            "t >= fromUnixTimestamp64Milli(1415792726000) AND t <= fromUnixTimestamp64Milli(1447328726000)",
        ),
        (
            "a($__fromTime, $__toTime)",
            "a(toDateTime(1415792726), toDateTime(1447328726))",
        ),
        (
            "$__timeInterval(m.t)",
            "toStartOfInterval(toDateTime(m.t), INTERVAL 20 second)",
        ),
        ("x / $__interval_s", "x / 20"),
        ("x = ${one:sqlstring}", "x = 'O''Hara'"),
        ("INTERVAL ${one} SECOND", "INTERVAL O'Hara SECOND"),
        (
            "$__conditionalAll(x IN (${some:sqlstring}), $some) AND $__conditionalAll(y IN (${all:sqlstring}), $all)",
            "x IN ('a','b') AND 1=1",
        ),
    ] {
        assert_eq!(sent().query(raw), expected, "{raw}");
    }
}

#[test]
#[should_panic(expected = "no macro")]
fn an_unknown_macro_is_an_error() {
    sent().query("$__timeRange(t)");
}
