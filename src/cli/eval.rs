//! `squall eval`: how well a model agrees with labelled texts.

use crate::config::{Config, ModelConfig};
use crate::domain::Label;
use crate::model::context::entity_context;
use crate::model::{Model, Tokens};
use crate::text;
use crate::train::evaluation::{Agreement, EntityScores, Judged, Report, Scores};
use crate::train::examples::{self, Example, occurrences};
use anyhow::Context;
use indicatif::ProgressBar;
use std::fs::File;
use std::io::{self, BufReader, Write};
use std::path::PathBuf;

/// Texts classified between two steps of the progress bar.
const STEP: usize = 256;

/// Compare the model with labelled texts.
///
/// The data is JSON Lines: {"text", "label"}, or {"text", "entities": [{"name", "label"}]}; labels are negative,
/// neutral and positive.
#[derive(Debug, clap::Args)]
pub struct Eval {
    /// File with the labelled texts; - is standard input
    #[arg(long, value_name = "FILE")]
    data: PathBuf,
    /// Model folder, or hub:owner/name, in place of the configured one
    #[arg(long, value_name = "DIR")]
    model: Option<String>,
    /// Print one JSON object in place of the table
    #[arg(long)]
    json: bool,
}

/// Runs it. The report goes to stdout, everything else to stderr.
///
/// # Errors
/// When the data or the model cannot be read.
pub fn run(args: &Eval, config: &Config) -> anyhow::Result<()> {
    let examples = read(args)?;
    let source = args.model.as_ref().unwrap_or(&config.model.source);
    let model = Model::open(&ModelConfig {
        source: source.clone(),
        ..config.model.clone()
    })?;
    let report = evaluate(&model, &examples)?;
    let mut out = io::stdout().lock();
    if args.json {
        writeln!(out, "{}", serde_json::to_string(&report)?)?;
    } else {
        write!(out, "{report}")?;
    }
    Ok(())
}

fn read(args: &Eval) -> anyhow::Result<Vec<Example>> {
    let name = args.data.to_string_lossy();
    if name == "-" {
        return Ok(examples::read(io::stdin().lock(), "standard input")?);
    }
    let file = File::open(&args.data).with_context(|| name.to_string())?;
    Ok(examples::read(BufReader::new(file), &name)?)
}

fn evaluate(model: &Model, examples: &[Example]) -> anyhow::Result<Report> {
    let tokenizer = model.tokenizer();
    let labelled = examples.iter().filter_map(|e| Some((e, e.label?)));
    let documents: Vec<_> = labelled
        .map(|(example, label)| (label, tokenizer.encode(&example.text)))
        .collect();

    let mut not_found = Vec::new();
    let mut entities = Vec::new();
    let mut conflicting = Vec::new();
    for example in examples {
        let sentences = text::sentences(&example.text);
        for entity in &example.entities {
            let places = occurrences(&example.text, &entity.name);
            if places.is_empty() {
                not_found.push((example.line, &entity.name));
            }
            let context = entity_context(&example.text, &places, &sentences);
            entities.push((entity.label, tokenizer.encode(&context)));
            conflicting.push(example.is_conflicting());
        }
    }
    if let Some((line, name)) = not_found.first() {
        tracing::warn!(
            "names_not_found: {} (the first: '{name}' in line {line}); the whole text stood for the entity",
            not_found.len()
        );
    }

    let progress = ProgressBar::new((documents.len() + entities.len()) as u64);
    let documents = judge(model, documents, &progress)?;
    let entities = judge(model, entities, &progress)?;
    progress.finish_and_clear();

    let disagreeing: Vec<Judged> = entities
        .iter()
        .zip(conflicting)
        .filter_map(|(judged, conflicting)| conflicting.then_some(*judged))
        .collect();
    Ok(Report {
        model: model.name().to_owned(),
        documents: Scores::of(&documents),
        entities: Scores::of(&entities).map(|all| EntityScores {
            all,
            conflicting: Agreement::of(&disagreeing),
        }),
    })
}

fn judge(
    model: &Model,
    texts: Vec<(Label, Tokens)>,
    progress: &ProgressBar,
) -> anyhow::Result<Vec<Judged>> {
    let (labels, tokens): (Vec<Label>, Vec<Tokens>) = texts.into_iter().unzip();
    let mut sentiments = Vec::with_capacity(tokens.len());
    for tokens in tokens.chunks(STEP) {
        sentiments.extend(model.classify(tokens)?);
        progress.inc(tokens.len() as u64);
    }
    Ok(labels.into_iter().zip(sentiments).collect())
}
