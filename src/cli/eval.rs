//! `squall eval`: how well a model agrees with labelled texts.

use crate::config::{Config, ModelConfig};
use crate::model::Model;
use crate::train::evaluation::Report;
use crate::train::examples::{self, Example};
use crate::train::predict::{Prediction, Predictions, predict};
use crate::train::resampling::{compare, intervals};
use crate::train::suite;
use anyhow::Context;
use indicatif::ProgressBar;
use std::fs::File;
use std::io::{self, BufReader, Write};
use std::path::PathBuf;

/// Compare the model with labelled texts.
///
/// The data is JSON Lines: {"text", "label"}, or {"text", "entities": [{"name", "label"}]}; labels are negative,
/// neutral and positive. Texts are read as posts are: normalised, long ones in passages. A model that knows entities
/// gives each its own sentiment; with another one an entity has that of the sentences that name it. Every text counts,
/// whatever its language.
#[derive(Debug, clap::Args)]
pub struct Eval {
    /// File with the labelled texts; - is standard input
    #[arg(long, value_name = "FILE")]
    data: PathBuf,
    /// Model folder, or hub:owner/name, in place of the configured one
    #[arg(long, value_name = "DIR")]
    model: Option<String>,
    /// Another model, to compare with on the same texts
    #[arg(long, value_name = "DIR")]
    against: Option<String>,
    /// Show so many of the firmest wrong predictions
    #[arg(long, default_value_t = 0, value_name = "N")]
    errors: usize,
    /// The data is a behavioural suite: show results by the "type" of its lines
    #[arg(long)]
    suite: bool,
    /// Print one JSON object in place of the tables
    #[arg(long)]
    json: bool,
}

/// Runs it. The report goes to stdout, everything else to stderr.
///
/// # Errors
/// When the data or a model cannot be read.
pub fn run(args: &Eval, config: &Config) -> anyhow::Result<()> {
    let examples = read(args)?;
    let open = |source: &str| {
        Model::open(&ModelConfig {
            source: source.to_owned(),
            ..config.model.clone()
        })
    };
    let model = open(args.model.as_ref().unwrap_or(&config.model.source))?;
    let predictions = ask(&model, &examples)?;
    let report = report(&model, &examples, &predictions);
    let cases = args.suite.then(|| suite::results(&examples, &predictions));
    let comparisons = match &args.against {
        Some(other) => {
            let other = open(other)?;
            let others = ask(&other, &examples)?;
            let name = other.name();
            let documents = compare(&predictions.documents, &others.documents, name);
            let entities = compare(&predictions.entities, &others.entities, name);
            [("documents", documents), ("entities", entities)]
        }
        None => [("documents", None), ("entities", None)],
    };
    let wrong = wrong(&predictions, args.errors);

    let mut out = io::stdout().lock();
    if args.json {
        let mut json = serde_json::to_value(&report)?;
        for (part, comparison) in &comparisons {
            if comparison.is_some() {
                json[part]["comparison"] = serde_json::to_value(comparison)?;
            }
        }
        if let Some(cases) = &cases {
            json["suite"] = serde_json::to_value(cases)?;
        }
        if args.errors > 0 {
            let errors = wrong.iter().map(|one| error(one, &examples));
            json["errors"] = errors.collect();
        }
        writeln!(out, "{json}")?;
        return Ok(());
    }
    write!(out, "{report}")?;
    if let Some(cases) = &cases {
        write!(out, "\n{cases}")?;
    }
    for (part, comparison) in &comparisons {
        if let Some(one) = comparison {
            let [low, high] = one.interval;
            writeln!(
                out,
                "\n{part} against {}: accuracy {:+.4} ({low:+.4} to {high:+.4}); right here only {}, right there only {}",
                one.against, one.difference, one.only_this, one.only_other
            )?;
        }
    }
    for one in wrong {
        let example = &examples[one.example];
        let name = one
            .entity
            .map_or("", |entity| &example.entities[entity].name);
        let says = one.sentiment;
        writeln!(
            out,
            "\nline {} is {}, not {} ({:.2} / {:.2} / {:.2}) {name}\n  {}",
            example.line,
            one.label,
            says.label(),
            says.negative,
            says.neutral,
            says.positive,
            example.text
        )?;
    }
    Ok(())
}

/// The wrong predictions the model is surest of, the surest first.
fn wrong(predictions: &Predictions, most: usize) -> Vec<Prediction> {
    let all = predictions.documents.iter().chain(&predictions.entities);
    let mut wrong: Vec<Prediction> = all.filter(|one| !one.is_right()).copied().collect();
    let sureness = |one: &Prediction| one.sentiment.probability(one.sentiment.label());
    wrong.sort_by(|a, b| sureness(b).total_cmp(&sureness(a)));
    wrong.truncate(most);
    wrong
}

fn error(one: &Prediction, examples: &[Example]) -> serde_json::Value {
    let example = &examples[one.example];
    serde_json::json!({
        "line": example.line,
        "text": example.text,
        "entity": one.entity.map(|entity| &example.entities[entity].name),
        "label": one.label,
        "predicted": one.sentiment.label(),
        "sentiment": one.sentiment,
    })
}

fn read(args: &Eval) -> anyhow::Result<Vec<Example>> {
    let name = args.data.to_string_lossy();
    if name == "-" {
        return Ok(examples::read(io::stdin().lock(), "standard input")?);
    }
    let file = File::open(&args.data).with_context(|| name.to_string())?;
    Ok(examples::read(BufReader::new(file), &name)?)
}

fn ask(model: &Model, examples: &[Example]) -> anyhow::Result<Predictions> {
    let progress = ProgressBar::new(examples.len() as u64);
    let predictions = predict(model, examples, |texts| progress.inc(texts as u64))?;
    progress.finish_and_clear();
    if let Some((line, name)) = predictions.not_found.first() {
        tracing::warn!(
            "names_not_found: {} (the first: '{name}' in line {line}); the whole text stood for the entity",
            predictions.not_found.len()
        );
    }
    Ok(predictions)
}

/// The figures with their intervals.
fn report(model: &Model, examples: &[Example], predictions: &Predictions) -> Report {
    let mut report = predictions.report(model.name(), examples);
    if let Some(scores) = &mut report.documents {
        scores.intervals = intervals(&predictions.documents);
    }
    if let Some(scores) = &mut report.entities {
        scores.all.intervals = intervals(&predictions.entities);
    }
    report
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::domain::{Label, Sentiment};

    fn prediction(label: Label, negative: f32) -> Prediction {
        Prediction {
            example: 0,
            entity: None,
            label,
            sentiment: Sentiment {
                negative,
                neutral: 1.0 - negative,
                positive: 0.0,
            },
        }
    }

    #[test]
    fn the_firmest_errors_come_first() {
        let predictions = Predictions {
            documents: vec![
                prediction(Label::Neutral, 0.6),
                prediction(Label::Negative, 0.9),
                prediction(Label::Positive, 0.8),
            ],
            ..Predictions::default()
        };
        let wrong = wrong(&predictions, 1);
        assert_eq!(wrong, [prediction(Label::Positive, 0.8)]);
        assert_eq!(super::wrong(&predictions, 9).len(), 2);
    }
}
