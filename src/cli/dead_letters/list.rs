//! `squall dead-letters list`: a table for people, JSON Lines for programs.

use super::pages::Pages;
use super::{List, counted, printable};
use crate::domain::{Settled, Timestamp};
use crate::store::{DeadLetterQuery, DeadLetterRow, Store};
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD as BASE64;
use serde::Serialize;
use std::io::Write;

/// Characters of the detail that the table shows.
const DETAIL: usize = 120;

/// Writes what the query finds.
pub(super) async fn run(
    list: &List,
    query: DeadLetterQuery,
    store: &dyn Store,
    out: &mut dyn Write,
) -> anyhow::Result<()> {
    let settled = query.settled;
    let mut pages = Pages::new(store, query, list.limit);
    let mut table = Vec::new();
    let mut count = 0;
    loop {
        let rows = pages.next().await?;
        if rows.is_empty() {
            break;
        }
        count += rows.len();
        for row in &rows {
            if list.json {
                serde_json::to_writer(&mut *out, &Line::of(row))?;
                out.write_all(b"\n")?;
            } else {
                table.push(cells(row, settled));
            }
        }
    }
    if list.json {
        return Ok(());
    }
    if count == 0 {
        tracing::info!("no dead letter{}", if settled { "" } else { " is open" });
        return Ok(());
    }
    write_table(&table, settled, out)?;
    if count == list.limit {
        let limit = counted(count);
        tracing::info!("the latest {limit}: there may be more, see --limit");
    }
    Ok(())
}

/// A letter as one JSON object. What is text is written as text, anything else as base64 in `…_base64`.
#[derive(Serialize)]
struct Line<'a> {
    origin: String,
    reason: &'a str,
    detail: &'a str,
    recorded_at: Timestamp,
    rejected_at: Timestamp,
    #[serde(skip_serializing_if = "Option::is_none")]
    key: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    key_base64: Option<String>,
    headers: Vec<Header<'a>>,
    #[serde(skip_serializing_if = "Option::is_none")]
    payload: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    payload_base64: Option<String>,
    settled: Option<SettledLine<'a>>,
}

#[derive(Serialize)]
struct Header<'a> {
    name: &'a str,
    #[serde(skip_serializing_if = "Option::is_none")]
    value: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    value_base64: Option<String>,
}

#[derive(Serialize)]
struct SettledLine<'a> {
    #[serde(rename = "as")]
    settled: Settled,
    by: &'a str,
    at: Timestamp,
}

impl<'a> Line<'a> {
    fn of(row: &'a DeadLetterRow) -> Self {
        let letter = &row.letter;
        let (key, key_base64) = letter.key.as_deref().map_or((None, None), text);
        let (payload, payload_base64) = text(&letter.payload);
        let headers = letter.headers.iter().map(|(name, value)| {
            let (value, value_base64) = text(value);
            Header {
                name,
                value,
                value_base64,
            }
        });
        Self {
            origin: letter.origin.to_string(),
            reason: &letter.reason,
            detail: &letter.detail,
            recorded_at: letter.recorded_at,
            rejected_at: letter.rejected_at,
            key,
            key_base64,
            headers: headers.collect(),
            payload,
            payload_base64,
            settled: row.settled.as_ref().map(|(settled, by, at)| SettledLine {
                settled: *settled,
                by,
                at: *at,
            }),
        }
    }
}

/// Base64 as text where it holds UTF-8, and else as it is.
fn text(base64: &str) -> (Option<String>, Option<String>) {
    let bytes = BASE64.decode(base64).ok();
    match bytes.and_then(|bytes| String::from_utf8(bytes).ok()) {
        Some(text) => (Some(text), None),
        None => (None, Some(base64.to_owned())),
    }
}

type Cells = [String; 5];

fn cells(row: &DeadLetterRow, settled: bool) -> Cells {
    let letter = &row.letter;
    let mut detail: String = letter.detail.chars().take(DETAIL).collect();
    if detail.len() < letter.detail.len() {
        detail.push('…');
    }
    let done = match &row.settled {
        Some((done, by, _)) => format!("{} by {}", done.name(), printable(by)),
        None if settled => "open".to_owned(),
        None => String::new(),
    };
    [
        letter.rejected_at.to_string(),
        printable(&letter.reason),
        printable(&letter.origin.to_string()),
        done,
        printable(&detail),
    ]
}

/// Columns as wide as their widest cell; the last as it comes.
fn write_table(rows: &[Cells], settled: bool, out: &mut dyn Write) -> std::io::Result<()> {
    let head = ["REJECTED", "REASON", "ORIGIN", "SETTLED", "DETAIL"].map(str::to_owned);
    let shown: Vec<usize> = (0..head.len()).filter(|&n| settled || n != 3).collect();
    let rows: Vec<&Cells> = std::iter::once(&head).chain(rows).collect();
    let width = |column: usize| rows.iter().map(|row| row[column].chars().count()).max();
    let widths: Vec<usize> = (0..head.len()).map(|n| width(n).unwrap_or(0)).collect();
    for row in rows {
        let mut line = String::new();
        for &column in &shown {
            line.push_str(&format!("{:<1$}  ", row[column], widths[column]));
        }
        writeln!(out, "{}", line.trim_end())?;
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::super::pages::tests::{letter, store};
    use super::super::{Filters, List};
    use super::*;

    async fn listed(json: bool, letters: Vec<crate::domain::DeadLetter>) -> String {
        let folder = tempfile::tempdir().unwrap();
        let store = store(folder.path(), letters).await;
        let filters = Filters {
            reason: None,
            topic: None,
            origin: None,
            from: None,
            to: None,
            all: false,
        };
        let query = filters.query().unwrap();
        let list = List {
            filters,
            limit: 100,
            json,
        };
        let mut out = Vec::new();
        run(&list, query, &store, &mut out).await.unwrap();
        String::from_utf8(out).unwrap()
    }

    #[tokio::test]
    async fn programs_get_everything_text_as_text_and_bytes_as_base64() {
        let mut bytes = letter(2, 2);
        bytes.payload = BASE64.encode([0xff, 0xfe]);
        bytes.key = Some(BASE64.encode("key"));
        let text = listed(true, vec![letter(1, 1), bytes]).await;
        let lines: Vec<serde_json::Value> = text
            .lines()
            .map(|line| serde_json::from_str(line).unwrap())
            .collect();
        assert_eq!(
            lines[1],
            serde_json::json!({
                "origin": "e:news:0:1", "reason": "too_long", "detail": "expected value at line 1 column 1",
                "recorded_at": "1970-01-01T00:16:40.001Z", "rejected_at": "1970-01-01T00:33:21.000Z",
                "headers": [{"name": "trace", "value_base64": "/w=="}], "payload": "letter 1", "settled": null
            })
        );
        assert_eq!(lines[0]["payload_base64"], "//4=");
        assert_eq!(lines[0]["key"], "key");
    }

    #[tokio::test]
    async fn people_get_a_table_that_nobody_else_steers() {
        let mut hostile = letter(2, 2);
        hostile.detail = format!("\u{1b}[31m{}", "x".repeat(500));
        let text = listed(false, vec![letter(1, 1), hostile]).await;
        let lines: Vec<&str> = text.lines().collect();
        assert_eq!(lines.len(), 3);
        assert!(
            lines[0].starts_with("REJECTED                  REASON    ORIGIN      DETAIL"),
            "{text}"
        );
        assert!(
            lines[1].contains("e:news:0:2  \\u{1b}[31mx") && lines[1].ends_with('…'),
            "{text}"
        );
        assert!(
            lines[2].contains("too_long  e:news:0:1  expected value"),
            "{text}"
        );
        assert_eq!(listed(false, Vec::new()).await, "");
    }
}
