//! `squall backtest`: what detection says of a past stream, and what another configuration would have said.

mod judge;

use super::files;
use crate::app;
use crate::config::{self, Config};
use crate::connect::{FileError, Line, Lines, MAX_LINE_BYTES};
use crate::domain::{DetectionRecord, Post, Progress, ScoredPost, SourceState, Timestamp};
use crate::model::{Model, Passage};
use crate::pipeline::{Reader, Reading, Receipt, detected};
use anyhow::Context as _;
use judge::Judge;
use serde::de::DeserializeOwned;
use std::io::Write;
use std::path::PathBuf;

/// Posts scored together.
const CHUNK: usize = 256;

/// Replay a stream through detection: alert messages as JSON Lines on standard output, alerts a day and rule on standard
/// error.
///
/// A line of the input is a record of `squall.mentions` (one partition of it, in its order: the alerts are then, byte for byte, those
/// of the live run), a record of `squall.scored`, or a post, which is scored first. Posts are taken in the order of the file.
#[derive(Debug, clap::Args)]
pub(super) struct Backtest {
    /// JSON Lines file; `-` is standard input
    #[arg(long, value_name = "FILE", default_value = "-")]
    input: PathBuf,
    /// Only what happened at this time or later is told; what came before still teaches
    #[arg(long, value_name = "TIME")]
    from: Option<Timestamp>,
    /// Only what happened before this time is read
    #[arg(long, value_name = "TIME")]
    to: Option<Timestamp>,
    /// Only what squall had received by this time is read: what was known then, late posts and corrections left out
    #[arg(long, value_name = "TIME")]
    as_of: Option<Timestamp>,
    /// Another configuration: what it would have sent is told besides
    #[arg(long, value_name = "FILE")]
    proposed: Option<PathBuf>,
}

/// Runs the command.
pub(super) fn run(args: &Backtest, config: &Config) -> anyhow::Result<()> {
    let proposed = match &args.proposed {
        Some(path) => Some(config::load(Some(path), std::iter::empty())?),
        None => None,
    };
    let mut output = std::io::BufWriter::new(std::io::stdout().lock());
    let mut notes = std::io::stderr().lock();
    replay(args, config, proposed.as_ref(), &mut output, &mut notes)
}

/// Writes alert messages to one output and what they come to to the other.
fn replay(
    args: &Backtest,
    config: &Config,
    proposed: Option<&Config>,
    output: &mut dyn Write,
    notes: &mut dyn Write,
) -> anyhow::Result<()> {
    let mut live = Judge::new(config, args.from)?;
    let mut proposed = match proposed {
        Some(config) => Some(Judge::new(config, args.from)?),
        None => None,
    };
    let mut judge = |record: &DetectionRecord| -> anyhow::Result<()> {
        let too_late = args.to.is_some_and(|to| happened(record) >= Some(to));
        if too_late || args.as_of.is_some_and(|as_of| known(record) > as_of) {
            return Ok(());
        }
        if let Some(proposed) = &mut proposed {
            proposed.apply(record);
        }
        for message in live.apply(record) {
            serde_json::to_writer(&mut *output, &message)?;
            output.write_all(b"\n")?;
        }
        Ok(())
    };
    read(args, config, &mut judge)?;
    output.flush()?;
    live.summary("as configured", notes)?;
    if let Some(proposed) = &proposed {
        proposed.summary("as proposed", notes)?;
        live.only(proposed, "-", notes)?;
        proposed.only(&live, "+", notes)?;
    }
    Ok(())
}

/// When squall had it. A correction is known when its post came, which is not before that says it was published.
fn known(record: &DetectionRecord) -> Timestamp {
    match record {
        DetectionRecord::Mention(mention) => mention.received_at,
        DetectionRecord::Progress(progress) => progress.at,
        DetectionRecord::Retraction(retraction) => retraction.event_time,
    }
}

fn happened(record: &DetectionRecord) -> Option<Timestamp> {
    match record {
        DetectionRecord::Mention(mention) => Some(mention.event_time),
        DetectionRecord::Progress(progress) => progress.event_time,
        DetectionRecord::Retraction(retraction) => Some(retraction.event_time),
    }
}

/// Reads the input; what it is its first line says.
fn read(
    args: &Backtest,
    config: &Config,
    judge: &mut dyn FnMut(&DetectionRecord) -> anyhow::Result<()>,
) -> anyhow::Result<()> {
    let place = args.input.display().to_string();
    let mut lines = Lines::open(&args.input, MAX_LINE_BYTES)?.peekable();
    let first = match lines.peek() {
        Some(Ok(line)) => line.bytes.clone(),
        Some(Err(_)) | None => Vec::new(),
    };
    if serde_json::from_slice::<DetectionRecord>(&first).is_ok() {
        return each(lines, &place, |record| judge(&record));
    }
    if serde_json::from_slice::<ScoredPost>(&first).is_ok() {
        return each(lines, &place, |post| tell(&post, judge));
    }
    let dictionary = app::dictionary(config)?;
    let model = Model::open(&config.model)?;
    let reader = app::reader(config, app::matcher(config, &dictionary)?, &model);
    let mut chunk: Vec<Reading> = Vec::new();
    for line in lines {
        let line = line?;
        match Post::decode(&line.bytes, config.score.max_text_bytes) {
            Ok(post) => chunk.push(reading(&reader, post, &place, line.number)),
            Err(problem) => tracing::warn!("{place}, line {}: {problem}", line.number),
        }
        if chunk.len() == CHUNK {
            score(&mut chunk, &model, judge)?;
        }
    }
    score(&mut chunk, &model, judge)
}

/// Decodes lines and takes each.
fn each<T: DeserializeOwned>(
    lines: impl Iterator<Item = Result<Line, FileError>>,
    place: &str,
    mut take: impl FnMut(T) -> anyhow::Result<()>,
) -> anyhow::Result<()> {
    for line in lines {
        let Line { number, bytes, .. } = line?;
        let wrong = || format!("{place}, line {number}: is not what the first line is");
        take(serde_json::from_slice(&bytes).with_context(wrong)?)?;
    }
    Ok(())
}

fn reading(reader: &Reader, post: Post, place: &str, number: u64) -> Reading {
    let source = post.source.clone().unwrap_or_else(|| "file".into());
    let claimed = post.published_at;
    let receipt = Receipt {
        origin: files::line_origin(place, number),
        first_origin: None,
        source,
        recorded_at: claimed,
        received_at: claimed.unwrap_or_else(Timestamp::now),
    };
    reader.read(post, receipt)
}

fn score(
    chunk: &mut Vec<Reading>,
    model: &Model,
    judge: &mut dyn FnMut(&DetectionRecord) -> anyhow::Result<()>,
) -> anyhow::Result<()> {
    let texts: Vec<Passage> = chunk
        .iter()
        .flat_map(|r| r.texts().iter().cloned())
        .collect();
    let mut scored = model.score(&texts)?.into_iter();
    for reading in chunk.drain(..) {
        let own: Vec<_> = scored.by_ref().take(reading.texts().len()).collect();
        let at = reading.post().received_at;
        tell(&reading.finish(&own, model.name(), at), judge)?;
    }
    Ok(())
}

/// A post, and that its source was read up to it.
fn tell(
    post: &ScoredPost,
    judge: &mut dyn FnMut(&DetectionRecord) -> anyhow::Result<()>,
) -> anyhow::Result<()> {
    for record in detected(post) {
        judge(&record)?;
    }
    judge(&DetectionRecord::Progress(Progress {
        partition: post.origin.source.clone(),
        offset: Some(post.origin.offset),
        event_time: Some(post.event_time),
        state: SourceState::Active,
        at: post.received_at,
    }))
}

#[cfg(test)]
mod tests;
