//! `squall bench model`: how fast texts are scored, tokenisation included, and what the processor could do at most.

mod report;

use crate::config::{Config, Devices, ModelConfig, Precision};
use crate::connect::{Lines, MAX_LINE_BYTES};
use crate::domain::{Label, Post};
use crate::model::{Model, Tokens, multiplications_per_second};
use anyhow::{Context as _, bail};
use report::{Length, Row};
use std::io::Write as _;
use std::path::PathBuf;
use std::process::Command;
use std::time::Instant;

/// Texts encoded and scored together.
const CHUNK: usize = 256;

/// Single texts whose time is taken.
const SINGLE: usize = 500;

/// Tokens of the texts that show what length costs.
const LENGTHS: [usize; 5] = [32, 64, 128, 256, 512];

/// Measure scoring: throughput and agreement of each precision, a single text's time, what length costs.
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
    /// The configured precision only
    #[arg(long)]
    quick: bool,
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
    let mut out = std::io::stdout().lock();
    writeln!(out, "{}", super::machine())?;

    // The configured precision first, and by itself: its memory is what counts.
    let model = Model::open(&config)?;
    let (first, labels) = throughput(&model, config.precision, &texts, args.rounds)?;
    let resident = super::resident_bytes();
    let single = single(&model, &texts)?;
    let lengths = lengths(&model)?;
    let rate = first.texts_per_second;
    let mut rows = vec![first];
    let mut all_labels = vec![labels];
    drop(model);
    let least = match Devices::of(&config).map_err(anyhow::Error::msg)? {
        Devices::Processor => Precision::Int8,
        Devices::Gpus(_) => Precision::F16,
    };
    let others = [least, Precision::Bf16, Precision::F32];
    for precision in others
        .into_iter()
        .filter(|other| !args.quick && *other != config.precision)
    {
        let other = Model::open(&ModelConfig {
            precision,
            ..config.clone()
        })?;
        let (row, labels) = throughput(&other, precision, &texts, args.rounds)?;
        rows.push(row);
        all_labels.push(labels);
    }
    if let Some(full) = rows.iter().position(|row| row.precision == Precision::F32) {
        for (row, labels) in rows.iter_mut().zip(&all_labels) {
            let same = labels.iter().zip(&all_labels[full]).filter(|(a, b)| a == b);
            row.agreement = Some(same.count() as f64 / texts.len() as f64);
        }
    }
    report::print(&mut out, &rows, &single, &lengths, resident)?;
    out.flush()?;
    if let Some(peer) = &args.peer {
        let theirs = run_peer(peer, &mut out)?;
        for row in &rows {
            writeln!(
                out,
                "ratio of {} to the peer: {:.2}",
                row.precision.name(),
                row.texts_per_second / theirs
            )?;
        }
        writeln!(out, "ratio: {:.2}", rate / theirs)?;
    }
    Ok(())
}

/// Texts and tokens a second, and each text's label.
fn throughput(
    model: &Model,
    precision: Precision,
    texts: &[String],
    rounds: usize,
) -> anyhow::Result<(Row, Vec<Label>)> {
    let mut seconds = Vec::new();
    let (mut tokens, mut labels) = (0, Vec::new());
    for round in 0..=rounds.max(1) {
        (tokens, labels) = (0, Vec::with_capacity(texts.len()));
        let begun = Instant::now();
        for chunk in texts.chunks(CHUNK) {
            let encoded = model.tokenizer().encode_all(chunk);
            tokens += encoded.iter().map(Tokens::len).sum::<usize>();
            labels.extend(
                model
                    .classify(&encoded)?
                    .iter()
                    .map(|sentiment| sentiment.label()),
            );
        }
        if round > 0 {
            seconds.push(begun.elapsed().as_secs_f64());
        }
    }
    let median = super::median(seconds);
    let tokens_per_second = tokens as f64 / median;
    let reached = model
        .multiplications_per_token()
        .map(|of_a_token| tokens_per_second * of_a_token);
    let row = Row {
        model: format!("{} ({})", model.name(), model.arithmetic()),
        precision,
        texts_per_second: texts.len() as f64 / median,
        tokens_per_second,
        agreement: None,
        multiplications: reached.zip(multiplications_per_second(precision)),
    };
    Ok((row, labels))
}

/// Milliseconds that each of the first texts takes by itself, from text to sentiment, in ascending order.
fn single(model: &Model, texts: &[String]) -> anyhow::Result<Vec<f64>> {
    let mut milliseconds = Vec::new();
    for text in texts.iter().take(SINGLE) {
        let begun = Instant::now();
        model.classify(&[model.tokenizer().encode(text)])?;
        milliseconds.push(begun.elapsed().as_secs_f64() * 1e3);
    }
    milliseconds.sort_by(f64::total_cmp);
    Ok(milliseconds)
}

/// What a token costs in texts of some lengths, as far as the model takes them.
fn lengths(model: &Model) -> anyhow::Result<Vec<Length>> {
    let long = model
        .tokenizer()
        .encode(&"acme cuts its outlook ".repeat(500))
        .0;
    let mut lengths = Vec::new();
    for tokens in LENGTHS.into_iter().filter(|tokens| *tokens <= long.len()) {
        let texts = vec![Tokens(long[..tokens].to_vec()); 8192 / tokens];
        let begun = Instant::now();
        model.classify(&texts)?;
        let seconds = begun.elapsed().as_secs_f64();
        lengths.push(Length {
            tokens,
            tokens_per_second: (texts.len() * tokens) as f64 / seconds,
        });
    }
    Ok(lengths)
}

fn run_peer(peer: &str, out: &mut impl std::io::Write) -> anyhow::Result<f64> {
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
    Ok(theirs)
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
