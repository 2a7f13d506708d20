//! `squall bench model`: how many texts a second, tokenisation included.

use crate::config::Config;
use crate::connect::{Lines, MAX_LINE_BYTES};
use crate::domain::Post;
use crate::model::{Model, Tokens};
use anyhow::{Context as _, bail};
use std::io::Write as _;
use std::path::PathBuf;
use std::process::Command;
use std::time::Instant;

/// Measure scoring.
#[derive(Debug, clap::Args)]
pub(super) struct ModelBench {
    /// JSON Lines file of posts
    #[arg(long, value_name = "FILE")]
    input: PathBuf,
    /// Folder of the model; the configured one without it
    #[arg(long, value_name = "DIR")]
    model: Option<String>,
    /// At most so many texts of the file
    #[arg(long, value_name = "N", default_value_t = 2000)]
    limit: usize,
    /// Rounds after the first, which does not count; their median is printed
    #[arg(long, value_name = "N", default_value_t = 3)]
    rounds: usize,
    /// Command of a peer, run afterwards; its output must have `N texts/s`, and the ratio is printed
    #[arg(long, value_name = "COMMAND")]
    peer: Option<String>,
}

/// Measures and prints.
pub(super) fn run(args: &ModelBench, config: &Config) -> anyhow::Result<()> {
    let mut config = config.model.clone();
    if let Some(model) = &args.model {
        config.source.clone_from(model);
    }
    let texts = texts(args)?;
    let model = Model::open(&config)?;
    let tokenizer = model.tokenizer();
    let mut seconds = Vec::new();
    let mut tokens = 0;
    for round in 0..=args.rounds.max(1) {
        let begun = Instant::now();
        tokens = 0;
        for chunk in texts.chunks(256) {
            let encoded = tokenizer.encode_all(chunk);
            tokens += encoded.iter().map(Tokens::len).sum::<usize>();
            model.classify(&encoded)?;
        }
        if round > 0 {
            seconds.push(begun.elapsed().as_secs_f64());
        }
    }
    seconds.sort_by(f64::total_cmp);
    let median = seconds[seconds.len() / 2];
    let rate = texts.len() as f64 / median;
    let mut out = std::io::stdout().lock();
    writeln!(out, "{}", super::machine())?;
    writeln!(
        out,
        "squall {} ({}): {rate:.1} texts/s, {:.0} tokens/s",
        model.name(),
        model.arithmetic(),
        tokens as f64 / median
    )?;
    out.flush()?;
    if let Some(peer) = &args.peer {
        let output = Command::new("sh")
            .args(["-c", peer])
            .output()
            .context("--peer: cannot be run")?;
        let text = String::from_utf8_lossy(&output.stdout);
        let Some(theirs) = texts_per_second(&text) else {
            bail!(
                "--peer: its output has no 'N texts/s':\n{text}{}",
                String::from_utf8_lossy(&output.stderr)
            );
        };
        write!(out, "{text}")?;
        writeln!(out, "ratio: {:.2}", rate / theirs)?;
    }
    Ok(())
}

fn texts(args: &ModelBench) -> anyhow::Result<Vec<String>> {
    let mut texts = Vec::new();
    for line in Lines::open(&args.input, MAX_LINE_BYTES)? {
        let line = line?;
        let post = Post::decode(&line.bytes, MAX_LINE_BYTES)
            .with_context(|| format!("{} line {}", args.input.display(), line.number))?;
        texts.push(post.full_text());
        if texts.len() == args.limit {
            break;
        }
    }
    if texts.is_empty() {
        bail!("{}: has no posts", args.input.display());
    }
    Ok(texts)
}

/// The last number before `texts/s`.
fn texts_per_second(output: &str) -> Option<f64> {
    let before = output.rsplit_once("texts/s")?.0;
    before.split_whitespace().next_back()?.parse().ok()
}
