//! `squall optimize`: makes a model smaller and faster under a bound on what it may lose.

use super::UsageError;
use super::train::{refuse_finished, source};
use crate::config::Config;
use crate::train::{Optimisation, Recovery, Step};
use std::path::PathBuf;

/// Make a model smaller and faster
///
/// Weights in eight bits first; then, while the bound holds, layers, heads of attention and feed-forward units are left out, those that
/// do least, with some training after each step if --train is given. Prints every step and writes the smallest model that
/// holds the bound. docs/engine.md tells more.
#[derive(Debug, clap::Args)]
pub(super) struct Optimize {
    /// Folder of the model
    #[arg(long, value_name = "DIR")]
    model: PathBuf,
    /// Labelled texts that tell what does least, and what is lost
    #[arg(long, required = true, num_args = 1.., value_name = "FILE")]
    dev: Vec<PathBuf>,
    /// Behavioural suite: no case may be lost in it, nor any bad news
    #[arg(long, value_name = "FILE")]
    suite: Option<PathBuf>,
    /// Folder of the model to make
    #[arg(long, value_name = "DIR")]
    out: PathBuf,
    /// By how much macro-F1 of documents and of entities may fall, each
    #[arg(long, default_value_t = 0.005, value_name = "F1")]
    max_drop: f64,
    /// Share of the encoder's multiplications that each step leaves out
    #[arg(long, default_value_t = 0.1, value_name = "SHARE")]
    step: f64,
    /// Files to learn from after each step; a file's texts count WEIGHT times as much, 1 without it
    #[arg(long, num_args = 1.., value_name = "FILE[:WEIGHT]")]
    train: Vec<String>,
    /// Corrections of labels, by the hash of the text
    #[arg(long, value_name = "FILE", requires = "train")]
    corrections: Option<PathBuf>,
    /// Times every text is seen after each step
    #[arg(long, default_value_t = 0.5, value_name = "N", requires = "train")]
    epochs: f64,
    /// Learning rate of the encoder at its highest
    #[arg(long, default_value_t = 4e-5, value_name = "RATE", requires = "train")]
    learning_rate: f32,
    /// Decides the order of the texts and what is dropped
    #[arg(long, default_value_t = 1, value_name = "N", requires = "train")]
    seed: u64,
}

/// Optimises. The steps go to stdout as they are made.
pub(super) fn run(args: &Optimize, config: &Config) -> anyhow::Result<()> {
    let optimisation = args.optimisation(config)?;
    refuse_finished(&args.out)?;
    let mut first = None;
    let steps = optimisation.go(&mut |step| {
        let whole = *first.get_or_insert_with(|| {
            print_head();
            step.multiplications
        });
        print_step(step, whole);
    })?;
    let kept = steps.iter().rev().find(|step| step.holds);
    if let Some(kept) = kept {
        println!("\n{}: written to {}", kept.what, args.out.display());
    }
    Ok(())
}

fn print_head() {
    println!(
        "{:24}{:>10}{:>10}{:>10}{:>10}{:>9}{:>10}{:>10}",
        "", "documents", "entities", "suite", "bad news", "MB", "texts/s", "products"
    );
}

/// A line of the table: macro-F1 of documents and entities, shares of the suite, size, speed, and products beside the whole model's.
fn print_step(step: &Step, whole: usize) {
    let figure = |figure: Option<f64>| figure.map_or_else(|| "-".into(), |one| format!("{one:.4}"));
    let report = &step.report;
    let suite = step.suite.as_ref();
    println!(
        "{:24}{:>10}{:>10}{:>10}{:>10}{:>9.1}{:>10.0}{:>9.0}%  {}",
        step.what,
        figure(report.documents.as_ref().map(|scores| scores.macro_f1)),
        figure(report.entities.as_ref().map(|scores| scores.all.macro_f1)),
        figure(suite.map(|suite| suite.accuracy)),
        figure(suite.map(|suite| suite.bad_news_seen)),
        step.bytes as f64 / 1e6,
        step.texts_per_second,
        step.multiplications as f64 / whole as f64 * 100.0,
        if step.holds { "" } else { "loses too much" },
    );
}

impl Optimize {
    fn optimisation(&self, config: &Config) -> anyhow::Result<Optimisation> {
        for (option, value, allowed) in [
            ("--max-drop", self.max_drop, 0.0..=1.0),
            ("--step", self.step, 0.01..=0.9),
            ("--epochs", self.epochs, 0.01..=1000.0),
            ("--learning-rate", f64::from(self.learning_rate), 1e-9..=1.0),
        ] {
            if !allowed.contains(&value) {
                let (least, most) = allowed.into_inner();
                let problem = format!("{option}: {value} is not from {least} to {most}");
                return Err(UsageError(problem).into());
            }
        }
        let train = self.train.iter().map(|file| source(file, true));
        let train = train.collect::<anyhow::Result<Vec<_>>>()?;
        Ok(Optimisation {
            model: self.model.clone(),
            dev: self.dev.clone(),
            suite: self.suite.clone(),
            out: self.out.clone(),
            max_drop: self.max_drop,
            share: self.step,
            recovery: (!train.is_empty()).then(|| Recovery {
                train,
                corrections: self.corrections.clone(),
                epochs: self.epochs,
                rate: self.learning_rate,
                seed: self.seed,
            }),
            settings: config.model.clone(),
        })
    }
}
