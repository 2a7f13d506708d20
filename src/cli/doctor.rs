//! `squall doctor`: what would keep squall from working, or from keeping its promises, and the remedy of each.
//!
//! One file a subject. Each gathers facts and judges them in a plain function, which the tests call with made-up facts.

mod clickhouse;
mod clock;
mod configuration;
mod endpoints;
mod finding;
mod folder;
mod groups;
mod kafka;
mod model;
mod sqlite;
mod topics;

use crate::config::Config;
use anyhow::bail;
use finding::{Finding, Level};
use futures::future::BoxFuture;
use serde::Serialize;
use std::io::Write as _;

/// Check everything squall needs, and name the remedy of what is wrong
///
/// Configuration, model, endpoints, disk, store, broker, topics, consumer groups. Each line begins with ok, warning,
/// error or "not checked"; warnings and errors end with the remedy. A warning is about what works now, and will not when
/// something else fails. Nothing is changed, and no endpoint is sent anything. Exit status 1 when there is an error.
#[derive(Debug, clap::Args)]
pub(super) struct Doctor {
    /// One JSON object in place of the lines
    #[arg(long)]
    json: bool,
}

/// What `--json` writes.
#[derive(Serialize)]
struct Report {
    /// Whether there is no error.
    healthy: bool,
    errors: usize,
    warnings: usize,
    findings: Vec<Finding>,
}

/// Checks one subject after the other; what is known is printed at once.
pub(super) async fn run(
    args: Doctor,
    config: impl FnOnce() -> anyhow::Result<Config>,
) -> anyhow::Result<()> {
    let mut findings = Vec::new();
    let mut report = |found: Vec<Finding>| -> std::io::Result<()> {
        if !args.json {
            let mut out = std::io::stdout().lock();
            for finding in &found {
                writeln!(out, "{finding}")?;
            }
        }
        findings.extend(found);
        Ok(())
    };
    match config() {
        Err(error) => report(configuration::broken(&error))?,
        Ok(config) => {
            for check in checks(&config) {
                report(check.await)?;
            }
        }
    }
    let count = |level| {
        let found = findings.iter().filter(|finding| finding.level == level);
        found.count()
    };
    let (errors, warnings) = (count(Level::Error), count(Level::Warning));
    if args.json {
        let report = Report {
            healthy: errors == 0,
            errors,
            warnings,
            findings,
        };
        println!("{}", serde_json::to_string(&report)?);
    } else {
        let (ok, unchecked) = (count(Level::Ok), count(Level::NotChecked));
        println!(
            "{ok} ok, {}, {}, {unchecked} not checked",
            counted(warnings, "warning"),
            counted(errors, "error")
        );
    }
    if errors > 0 {
        bail!("doctor: {} to be mended", counted(errors, "error"));
    }
    Ok(())
}

/// `1 error`, `2 errors`.
fn counted(count: usize, what: &str) -> String {
    format!("{count} {what}{}", if count == 1 { "" } else { "s" })
}

/// All checks, none begun.
fn checks(config: &Config) -> Vec<BoxFuture<'_, Vec<Finding>>> {
    vec![
        Box::pin(async { configuration::check(config) }),
        Box::pin(model::check(config)),
        Box::pin(endpoints::check(config)),
        Box::pin(async { folder::check(config) }),
        Box::pin(async { sqlite::check(config) }),
        Box::pin(clickhouse::check(config)),
        Box::pin(kafka::check(config)),
    ]
}
