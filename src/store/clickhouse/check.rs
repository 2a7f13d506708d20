//! Whether the tables are as squall made them.

use super::client::Session;
use super::error::unusable;
use super::schema::{Engine, TABLES, Table, VIEWS};
use crate::store::{StoreError, StoreResult};
use std::collections::HashMap;

/// A column as the server has it.
struct Found {
    kind: String,
    has_default: bool,
}

/// Compares tables, columns, settings and views with what is expected.
///
/// Columns that were added and have a default are somebody's own business.
///
/// # Errors
/// [`StoreError::Unusable`] with the first difference, its table and column, and the remedy.
pub async fn check(session: &Session) -> StoreResult<()> {
    let sql = "SELECT name, engine, engine_full, formatQuerySingleLine(if(as_select = '', 'SELECT 1', as_select))
        FROM system.tables WHERE database = ?";
    let tables: Vec<(String, String, String, String)> = session
        .all(session.outside(sql).bind(&session.database))
        .await?;
    let tables: HashMap<&str, _> = tables
        .iter()
        .map(|(name, engine, full, query)| (name.as_str(), (engine, full, query)))
        .collect();

    let sql = "SELECT table, name, type, toUInt8(default_kind != '') FROM system.columns WHERE database = ?";
    let rows: Vec<(String, String, String, u8)> = session
        .all(session.outside(sql).bind(&session.database))
        .await?;
    let mut columns: HashMap<String, HashMap<String, Found>> = HashMap::new();
    for (table, column, kind, has_default) in rows {
        let has_default = has_default == 1;
        columns
            .entry(table)
            .or_default()
            .insert(column, Found { kind, has_default });
    }

    let wrong = |name: &str, problem: String| -> StoreResult<()> {
        Err(unusable(&session.place, format!("table {name}: {problem}")))
    };
    for table in TABLES {
        let Some((engine, full, _)) = tables.get(table.name) else {
            return wrong(
                table.name,
                "it is missing: restore it from a backup, or name another database".into(),
            );
        };
        let expected = engine_name(table.engine, session.tables.replicated);
        if **engine != expected {
            return wrong(
                table.name,
                format!(
                    "its engine is {engine}, not {expected}: check clickhouse.cluster, or name another database"
                ),
            );
        }
        for (setting, least) in session.tables.windows() {
            if number(full, setting) < least {
                return wrong(
                    table.name,
                    format!(
                        "{setting} is below {least}, so that repeated blocks would be stored twice: ALTER TABLE {}.{} MODIFY SETTING {setting} = {least}",
                        session.tables.database, table.name
                    ),
                );
            }
        }
        if let Some(problem) = difference(table, columns.get(table.name)) {
            return wrong(table.name, problem);
        }
    }

    let expected: Vec<String> = VIEWS.iter().map(|v| session.tables.query(v)).collect();
    let sql = "SELECT arrayMap(query -> formatQuerySingleLine(query), ?)";
    let expected: Vec<String> = session.one(session.outside(sql).bind(expected)).await?;
    for (view, expected) in VIEWS.iter().zip(expected) {
        let problem = match tables.get(view.name) {
            None => "it is missing, so that rows would be left out",
            Some((_, _, query)) if **query != expected => "its query was altered",
            Some(_) => continue,
        };
        return Err(unusable(
            &session.place,
            format!(
                "view {}: {problem}: stop squall, restore it ({}), and start again",
                view.name,
                session.tables.create_view(view).replace('\n', " ")
            ),
        ));
    }
    Ok(())
}

fn difference(table: &Table, found: Option<&HashMap<String, Found>>) -> Option<String> {
    for (name, kind, _) in table.columns {
        match found.and_then(|found| found.get(*name)) {
            None => {
                return Some(format!(
                    "column {name} is missing: ALTER TABLE … ADD COLUMN {name} {kind}"
                ));
            }
            Some(found) if found.kind != *kind => {
                return Some(format!(
                    "column {name} is {}, not {kind}: ALTER TABLE … MODIFY COLUMN {name} {kind}",
                    found.kind
                ));
            }
            Some(_) => {}
        }
    }
    let own = |name: &str| table.columns.iter().any(|column| column.0 == name);
    let stranger = found?
        .iter()
        .find(|(name, found)| !own(name) && !found.has_default)?;
    Some(format!(
        "column {} is not squall's and has no default: give it one, or drop it",
        stranger.0
    ))
}

fn engine_name(engine: Engine, replicated: bool) -> String {
    let engine = match engine {
        Engine::Plain => "MergeTree",
        Engine::Replacing(_) => "ReplacingMergeTree",
        Engine::Aggregating => "AggregatingMergeTree",
    };
    match replicated {
        true => format!("Replicated{engine}"),
        false => engine.to_owned(),
    }
}

/// The value of a setting in a table's engine as it is written out; 0 where it is not.
fn number(engine: &str, setting: &str) -> u64 {
    let value = engine
        .split_once(&format!(" {setting} = "))
        .map_or("", |(_, rest)| rest);
    let digits = value.find(|c: char| !c.is_ascii_digit());
    value[..digits.unwrap_or(value.len())]
        .parse()
        .unwrap_or_default()
}

/// Which error tells that the schema is older than this squall, or not there, and may not be brought up to date here.
pub fn not_migrated(session: &Session, found: i64, known: i64) -> StoreError {
    super::error::unavailable(
        &session.place,
        match found {
            0 => "has no tables yet: run `squall migrate`, or set clickhouse.migrate".to_owned(),
            _ => format!(
                "its schema has version {found}, this squall needs {known}: run `squall migrate`, or set clickhouse.migrate"
            ),
        },
    )
}

/// The error of a schema that must wait.
pub fn plan_open(session: &Session, found: i64, known: i64) -> StoreError {
    unusable(
        &session.place,
        format!(
            "its schema has version {found}, this squall needs {known}, but blocks are planned: run the squall of before until it has stored them, and stop it with SIGTERM"
        ),
    )
}
