//! What must hold after a run.

mod aggregates;
mod alerts;
mod detection;
mod sources;

use crate::database::Database;
use crate::report::Outcome;
use crate::stage::Stage;
use std::collections::BTreeMap;

/// Differences of one kind that are shown.
const SHOWN: usize = 4;

/// Checks everything and notes what is wrong, and the run's figures.
pub async fn check(stage: &mut Stage<'_>, outcome: &mut Outcome) -> anyhow::Result<()> {
    note_faults(stage, outcome);
    sources::check(stage, outcome).await?;
    aggregates::check(stage.database, outcome).await?;
    let expected = detection::check(stage, outcome).await?;
    alerts::check(stage, &expected, outcome).await
}

/// What has hit the processes and requests of the run.
fn note_faults(stage: &Stage<'_>, outcome: &mut Outcome) {
    let hits = &mut outcome.hits;
    for (what, count) in &stage.done {
        hits.insert(format!("process {what}"), *count);
    }
    for (fault, count) in stage.proxy.hits() {
        hits.insert(format!("store {fault}"), count);
    }
    for fault in stage.setup.faults() {
        *hits.entry(fault).or_default() += 1;
    }
    outcome.ended.extend(stage.ended.iter().cloned());
}

/// Rows of two queries, as many of each.
async fn compare(
    database: &Database,
    what: &str,
    (found, expected): (&str, &str),
    outcome: &mut Outcome,
) -> anyhow::Result<usize> {
    let (found, expected) = (database.rows(found).await?, database.rows(expected).await?);
    let rows = found.len();
    differences(what, counted(found), counted(expected), outcome);
    Ok(rows)
}

/// How often each row is there.
fn counted(rows: Vec<Vec<String>>) -> BTreeMap<String, i64> {
    let mut counts = BTreeMap::new();
    for row in rows {
        let cells: Vec<String> = row.into_iter().map(rounded).collect();
        *counts.entry(cells.join(" ")).or_default() += 1;
    }
    counts
}

/// Sums of fractions depend a little on their order: three digits behind the point count.
fn rounded(cell: String) -> String {
    match cell.parse::<f64>() {
        Ok(number) if cell.contains(['.', 'e']) => {
            let digits = format!("{number:.3}");
            digits
                .trim_end_matches('0')
                .trim_end_matches('.')
                .to_owned()
        }
        _ => cell,
    }
}

/// Notes what is in one count and not in the other.
fn differences(
    what: &str,
    found: BTreeMap<String, i64>,
    mut expected: BTreeMap<String, i64>,
    outcome: &mut Outcome,
) {
    let mut wrong = Vec::new();
    for (row, count) in found {
        let wanted = expected.remove(&row).unwrap_or(0);
        if count != wanted {
            wrong.push(format!("[{row}] is there {count} times, not {wanted}"));
        }
    }
    wrong.extend(
        expected
            .into_iter()
            .map(|(row, wanted)| format!("[{row}] is missing ({wanted})")),
    );
    note(what, wrong, outcome);
}

/// Notes what is wrong, the first of it in full.
fn note(what: &str, wrong: Vec<String>, outcome: &mut Outcome) {
    if !wrong.is_empty() {
        let shown = wrong[..wrong.len().min(SHOWN)].join("; ");
        outcome
            .failures
            .push(format!("{what}: {} wrong: {shown}", wrong.len()));
    }
}
