//! `squall score`.

use super::files;
use crate::app;
use crate::config::Config;
use crate::connect::{Lines, MAX_LINE_BYTES};
use crate::domain::{Post, Timestamp};
use crate::model::{Cache, Model, Passage};
use crate::pipeline::{Reader, Reading, Receipt, ScoreLine};
use crate::text::Dictionary;
use anyhow::bail;
use std::io::Write;
use std::path::PathBuf;
use std::sync::mpsc::{Receiver, SyncSender, sync_channel};

/// Lines read, scored and written together.
const CHUNK: usize = 256;

/// Score posts from a file: JSON Lines in, one line of JSON each out, in order.
#[derive(Debug, clap::Args)]
pub(super) struct Score {
    /// Folder of the model, or hub:owner/name; the configured one without it
    #[arg(long, value_name = "DIR")]
    model: Option<String>,
    /// JSON Lines file of posts; `-` is standard input
    #[arg(long, value_name = "FILE", default_value = "-")]
    input: PathBuf,
    /// Where results go; `-` is standard output
    #[arg(long, value_name = "FILE", default_value = "-")]
    output: PathBuf,
    /// Dictionary of entities (CSV); the configured one without it
    #[arg(long, value_name = "FILE")]
    entities: Option<String>,
    /// Lines are plain texts, not JSON
    #[arg(long)]
    text: bool,
    /// Score every text anew, also one that came before
    #[arg(long)]
    no_cache: bool,
}

/// One line of input: read, or why not.
type Read = Result<Box<Reading>, LineError>;

/// A line that is no post.
struct LineError {
    number: u64,
    problem: String,
}

/// Scores the file. Lines that are no posts give a line with `error`, and exit status 1 at the end.
pub(super) fn run(args: &Score, mut config: Config) -> anyhow::Result<()> {
    if let Some(model) = &args.model {
        config.model.source.clone_from(model);
    }
    if let Some(entities) = &args.entities {
        config.entities.dictionary.clone_from(entities);
    }
    let lines = Lines::open(&args.input, MAX_LINE_BYTES)?;
    let mut output = files::create(&args.output, &args.input)?;
    let dictionary: Dictionary = app::dictionary(&config)?;
    let matcher = app::matcher(&config, &dictionary)?;
    let model = Model::open(&config.model)?;
    let reader = app::reader(&config, matcher, &model);
    let place = args.input.display().to_string();
    let plain = args.text;
    let limit = config.score.max_text_bytes;

    // Reading a chunk goes on while the one before is scored.
    let (sender, chunks) = sync_channel(2);
    let reading_place = place.clone();
    let reading = std::thread::Builder::new()
        .name("read".into())
        .spawn(move || read(lines, &reader, &reading_place, plain, limit, &sender))?;
    let cache = match args.no_cache {
        true => Cache::new(0),
        false => Cache::new(config.score.cache_bytes),
    };
    let bad = write_all(&chunks, &model, cache, &place, &mut *output)?;
    output.flush()?;
    reading
        .join()
        .map_err(|_| anyhow::anyhow!("{place}: reading has failed"))??;
    if bad > 0 {
        bail!("{place}: {bad} lines are no posts: see their 'error' in the output");
    }
    Ok(())
}

/// The reading thread.
fn read(
    lines: Lines,
    reader: &Reader,
    place: &str,
    plain: bool,
    limit: usize,
    sender: &SyncSender<Vec<Read>>,
) -> anyhow::Result<()> {
    let mut chunk = Vec::with_capacity(CHUNK);
    for line in lines {
        let line = line?;
        let post = match plain {
            true => plain_post(&line.bytes),
            false => Post::decode(&line.bytes, limit).map_err(|error| error.to_string()),
        };
        chunk.push(match post {
            Ok(post) => Ok(Box::new(reader.read(post, receipt(place, line.number)))),
            Err(problem) => Err(LineError {
                number: line.number,
                problem,
            }),
        });
        if chunk.len() == CHUNK && sender.send(std::mem::take(&mut chunk)).is_err() {
            return Ok(());
        }
    }
    let _ = sender.send(chunk);
    Ok(())
}

fn plain_post(bytes: &[u8]) -> Result<Post, String> {
    let text = String::from_utf8_lossy(bytes).into_owned();
    Ok(Post {
        text: Some(text),
        ..Post::default()
    })
}

fn receipt(place: &str, number: u64) -> Receipt {
    Receipt {
        origin: files::line_origin(place, number),
        first_origin: None,
        source: "file".into(),
        recorded_at: None,
        received_at: Timestamp::now(),
    }
}

/// Scores and writes chunk by chunk; returns the number of lines that are no posts.
fn write_all(
    chunks: &Receiver<Vec<Read>>,
    model: &Model,
    mut cache: Cache,
    place: &str,
    output: &mut dyn Write,
) -> anyhow::Result<usize> {
    let mut bad = 0;
    for chunk in chunks {
        let texts: Vec<Passage> = chunk
            .iter()
            .flatten()
            .flat_map(|r| r.texts().iter().cloned())
            .collect();
        let (scored, _) = cache.score(&texts, |texts| model.score(texts))?;
        let mut scored = scored.into_iter();
        for read in chunk {
            match read {
                Ok(reading) => {
                    let own: Vec<_> = scored.by_ref().take(reading.texts().len()).collect();
                    let post = reading.finish(&own, model.name(), Timestamp::now());
                    serde_json::to_writer(&mut *output, &ScoreLine::of(&post))?;
                }
                Err(LineError { number, problem }) => {
                    bad += 1;
                    tracing::warn!("{place} line {number}: {problem}");
                    serde_json::to_writer(
                        &mut *output,
                        &serde_json::json!({ "id": null, "error": problem }),
                    )?;
                }
            }
            output.write_all(b"\n")?;
        }
    }
    Ok(bad)
}
