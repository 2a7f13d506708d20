//! `squall dead-letters`: what could not be processed, looked at, sent again, or done with.

mod list;
mod pages;
mod settle;

use super::{UsageError, report};
use crate::config::Config;
use crate::domain::{Origin, Settled, Timestamp};
use crate::store::DeadLetterQuery;

/// Look at posts that could not be processed; send them again, or drop them
///
/// Such a post is kept as it came, with the reason: a dead letter. `list` shows them. `replay` sends them to their
/// topic again, once the reason is gone: a replayed post counts once, with its first time, however often it is
/// replayed. `drop` marks those that nobody wants. A letter that was replayed or dropped is settled: it is kept, and
/// left out here unless --all asks for it. With the embedded broker, replay and drop need a `squall run` that runs.
#[derive(Debug, clap::Args)]
pub(super) struct DeadLetters {
    #[command(subcommand)]
    act: Act,
}

#[derive(Debug, clap::Subcommand)]
enum Act {
    /// Show dead letters, the latest rejected first: a table, or with --json everything of each
    List(List),
    /// Send dead letters to their topics again, and mark them as replayed
    Replay(Settle),
    /// Mark dead letters as dropped: nobody wants them
    Drop(Settle),
}

/// Which letters.
#[derive(Debug, clap::Args)]
struct Filters {
    /// Only those rejected for this reason, as `list` shows it: not_json, too_long, …
    #[arg(long, value_name = "REASON")]
    reason: Option<String>,
    /// Only those of records of this topic
    #[arg(long, value_name = "TOPIC")]
    topic: Option<String>,
    /// Only the one of this record, epoch:topic:partition:offset as `list` shows it
    #[arg(long, value_name = "ORIGIN")]
    origin: Option<Origin>,
    /// Only those rejected at this time or later, as 2026-11-23T09:00:00Z
    #[arg(long, value_name = "TIME")]
    from: Option<Timestamp>,
    /// Only those rejected before this time
    #[arg(long, value_name = "TIME")]
    to: Option<Timestamp>,
    /// Also those that are settled: replayed or dropped before
    #[arg(long)]
    all: bool,
}

#[derive(Debug, clap::Args)]
struct List {
    #[command(flatten)]
    filters: Filters,
    /// At most so many, the latest rejected
    #[arg(long, value_name = "N", default_value_t = 100)]
    limit: usize,
    /// One JSON object a line, with payload and headers, in place of the table
    #[arg(long)]
    json: bool,
}

#[derive(Debug, clap::Args)]
struct Settle {
    #[command(flatten)]
    filters: Filters,
    /// At most so many, the latest rejected
    #[arg(long, value_name = "N")]
    limit: Option<usize>,
    /// No filter: every letter. Without it one of --reason, --topic, --origin, --from, --to is needed
    #[arg(long, conflicts_with_all = ["reason", "topic", "origin", "from", "to"])]
    every: bool,
    /// Do it without asking. Nobody is asked either where standard input is not a terminal
    #[arg(long, short)]
    yes: bool,
    /// Who does it, kept with the letters [default: $USER]
    #[arg(long, value_name = "NAME")]
    by: Option<String>,
}

impl Filters {
    fn is_empty(&self) -> bool {
        let times = self.from.is_none() && self.to.is_none();
        self.reason.is_none() && self.topic.is_none() && self.origin.is_none() && times
    }

    /// The query; its limit is that of a page, see [`pages`].
    fn query(&self) -> Result<DeadLetterQuery, UsageError> {
        if let (Some(from), Some(to)) = (self.from, self.to)
            && from >= to
        {
            return Err(UsageError(format!(
                "the time from {from} to {to} is empty: --to must be later than --from"
            )));
        }
        Ok(DeadLetterQuery {
            reason: self.reason.clone(),
            topic: self.topic.clone(),
            origin: self.origin.clone(),
            from: self.from,
            to: self.to,
            settled: self.all,
            limit: pages::PAGE,
        })
    }
}

/// Runs the command.
pub(super) async fn run(args: DeadLetters, config: Config) -> anyhow::Result<()> {
    match &args.act {
        Act::List(list) => {
            let query = list.filters.query()?;
            let store = report::store(&config)?;
            list::run(list, query, &*store, &mut std::io::stdout().lock()).await
        }
        Act::Replay(settle) => self::settle(settle, Settled::Replayed, config).await,
        Act::Drop(settle) => self::settle(settle, Settled::Dropped, config).await,
    }
}

async fn settle(args: &Settle, settled: Settled, config: Config) -> anyhow::Result<()> {
    if args.filters.is_empty() && !args.every {
        return Err(UsageError(
            "which letters: give --reason, --topic, --origin, --from or --to, or --every for all of them"
                .into(),
        )
        .into());
    }
    let query = args.filters.query()?;
    let by = args.by.clone().or_else(|| std::env::var("USER").ok());
    let Some(by) = by.filter(|by| !by.is_empty()) else {
        return Err(UsageError(
            "--by: is needed where $USER is not set: say who settles the letters".into(),
        )
        .into());
    };
    let store = report::store(&config)?;
    settle::run(
        settle::Settling {
            settled,
            by,
            query,
            limit: args.limit,
            ask: !args.yes,
        },
        &*store,
        config,
    )
    .await
}

/// A text of anyone, fit to be printed on a terminal: no control characters.
pub(super) fn printable(text: &str) -> String {
    let mut shown = String::with_capacity(text.len());
    for c in text.chars() {
        match c.is_control() {
            true => shown.extend(c.escape_default()),
            false => shown.push(c),
        }
    }
    shown
}

/// `1 dead letter`, `2 dead letters`.
fn counted(count: usize) -> String {
    format!("{count} dead letter{}", if count == 1 { "" } else { "s" })
}

#[cfg(test)]
mod tests {
    use super::*;
    use clap::Parser;

    #[derive(Debug, Parser)]
    struct Command {
        #[command(flatten)]
        letters: DeadLetters,
    }

    fn parse(arguments: &[&str]) -> Result<DeadLetters, clap::Error> {
        let arguments = ["dead-letters"].iter().chain(arguments);
        Command::try_parse_from(arguments).map(|command| command.letters)
    }

    async fn error(arguments: &[&str]) -> String {
        let config = crate::config::load(None, std::iter::empty()).unwrap();
        let error = run(parse(arguments).unwrap(), config).await.unwrap_err();
        assert!(error.is::<UsageError>(), "{error}");
        error.to_string()
    }

    #[tokio::test]
    async fn what_could_hit_every_letter_is_not_taken_for_an_oversight() {
        for act in ["replay", "drop"] {
            assert!(error(&[act, "--yes"]).await.contains("--every"));
            assert!(error(&[act, "--all"]).await.contains("--every"));
            assert!(parse(&[act, "--every", "--reason", "not_json"]).is_err());
        }
        let empty = ["list", "--from", "2026-11-24", "--to", "2026-11-23"];
        assert!(error(&empty).await.contains("--to must be later"));
    }

    #[test]
    fn filters_are_what_they_look_like() {
        let listing = parse(&[
            "list",
            "--origin",
            "e:news:0:5",
            "--reason",
            "too_long",
            "--all",
        ]);
        let Act::List(list) = listing.unwrap().act else {
            panic!("not a list");
        };
        let query = list.filters.query().unwrap();
        assert_eq!(query.origin.unwrap().to_string(), "e:news:0:5");
        assert!(query.settled && query.topic.is_none());
        for wrong in [
            &["list", "--origin", "news/5"][..],
            &["list", "--from", "yesterday"],
            &["list", "--limit", "many"],
            &[],
        ] {
            assert!(parse(wrong).is_err(), "{wrong:?}");
        }
    }

    #[test]
    fn what_anyone_wrote_cannot_steer_a_terminal() {
        let shown = printable("a\u{1b}[2J\u{9b}31m\r\nb ü 🌪");
        assert_eq!(shown, "a\\u{1b}[2J\\u{9b}31m\\r\\nb ü 🌪");
    }
}
