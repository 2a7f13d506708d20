//! `squall eval`: how well a model agrees with labelled texts.

use crate::config::{Config, ModelConfig};
use crate::domain::Label;
use crate::model::Model;
use crate::model::context::entity_context;
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
/// neutral and positive. Texts are read as posts are: normalised, and an entity has the sentiment of the sentences
/// that name it. Every text counts, whatever its language.
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

/// What is scored, and its labels: the same texts that SCORE would make of a post with these entities.
#[derive(Debug, Default, PartialEq)]
struct Texts {
    documents: Vec<(Label, String)>,
    entities: Vec<(Label, String)>,
    /// Of each entity: whether others of the same text have another label.
    conflicting: Vec<bool>,
    /// Line and name of entities that their text does not have.
    not_found: Vec<(usize, String)>,
}

impl Texts {
    fn of(examples: &[Example]) -> Self {
        let mut texts = Self::default();
        for example in examples {
            let text = text::normalise(&example.text);
            let sentences = text::sentences(&text);
            for entity in &example.entities {
                let places = match text::normalise(&entity.name) {
                    name if name.is_empty() => Vec::new(),
                    name => occurrences(&text, &name),
                };
                if places.is_empty() {
                    texts.not_found.push((example.line, entity.name.clone()));
                }
                let context = entity_context(&text, &places, &sentences);
                texts.entities.push((entity.label, context));
                texts.conflicting.push(example.is_conflicting());
            }
            if let Some(label) = example.label {
                texts.documents.push((label, text));
            }
        }
        texts
    }
}

fn evaluate(model: &Model, examples: &[Example]) -> anyhow::Result<Report> {
    let Texts {
        documents,
        entities,
        conflicting,
        not_found,
    } = Texts::of(examples);
    if let Some((line, name)) = not_found.first() {
        tracing::warn!(
            "names_not_found: {} (the first: '{name}' in line {line}); the whole text stood for the entity",
            not_found.len()
        );
    }

    let progress = ProgressBar::new((documents.len() + entities.len()) as u64);
    let documents = judge(model, &documents, &progress)?;
    let entities = judge(model, &entities, &progress)?;
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
    texts: &[(Label, String)],
    progress: &ProgressBar,
) -> anyhow::Result<Vec<Judged>> {
    let tokenizer = model.tokenizer();
    let mut judged = Vec::with_capacity(texts.len());
    for step in texts.chunks(STEP) {
        let texts: Vec<&str> = step.iter().map(|(_, text)| &text[..]).collect();
        let tokens = tokenizer.encode_all(&texts);
        let labels = step.iter().map(|(label, _)| *label);
        judged.extend(labels.zip(model.classify(&tokens)?));
        progress.inc(step.len() as u64);
    }
    Ok(judged)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn texts_are_read_as_score_reads_them() {
        let lines = br#"{"text": "<p>AT&amp;T  falls.</p> Acme rises.", "label": "neutral", "entities": [{"name": "AT&amp;T", "label": "negative"}, {"name": "Borealis", "label": "positive"}]}"#;
        let texts = Texts::of(&examples::read(&lines[..], "f").unwrap());
        let whole = "AT&T falls. Acme rises.".to_owned();
        assert_eq!(texts.documents, [(Label::Neutral, whole.clone())]);
        assert_eq!(
            texts.entities,
            [
                (Label::Negative, "AT&T falls.".to_owned()),
                (Label::Positive, whole)
            ]
        );
        assert_eq!(texts.conflicting, [true, true]);
        assert_eq!(texts.not_found, [(1, "Borealis".to_owned())]);
    }
}
