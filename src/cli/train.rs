//! `squall train`: makes a model from labelled texts.

use super::UsageError;
use crate::train::data::{Options, Source};
use crate::train::{Event, Method, Outcome, Rates, Run, Storage, is_unfinished};
use anyhow::Context as _;
use candle_core::Device;
use indicatif::{ProgressBar, ProgressStyle};
use std::path::{Path, PathBuf};

/// Most tokens of a text in training, unless told otherwise.
pub(super) const MAX_TOKENS: usize = 128;

/// Share of the texts that is held back to fit the calibration, unless told otherwise.
pub(super) const CALIBRATION_SHARE: f64 = 0.05;

/// Fine-tune a BERT encoder for the sentiment of documents and of the entities they name.
///
/// Data is that of `squall eval`: {"text", "label"}, {"text", "entities": [{"name", "label"}]}, or both. Texts that a dev
/// file has are dropped from training, and so are labels that contradict each other. A run that was killed goes on
/// where it was when the same command is given again. docs/training.md tells more.
#[derive(Debug, clap::Args)]
pub(super) struct Train {
    /// Files to learn from; a file's texts count WEIGHT times as much, 1 without it
    #[arg(long, required = true, num_args = 1.., value_name = "FILE[:WEIGHT]")]
    train: Vec<String>,
    /// More files to learn from, of other kinds of text than what will be scored: calibration leaves them out
    #[arg(long, num_args = 1.., value_name = "FILE[:WEIGHT]")]
    extra: Vec<String>,
    /// Files the model is judged by; the best by mean macro-F1 is kept
    #[arg(long, required = true, num_args = 1.., value_name = "FILE")]
    dev: Vec<PathBuf>,
    /// Corrections of labels, by the hash of the text
    #[arg(long, value_name = "FILE")]
    corrections: Option<PathBuf>,
    /// Folder of the encoder to begin with: config.json, tokenizer.json, model.safetensors
    #[arg(long, value_name = "DIR")]
    base: PathBuf,
    /// Folder of the model to make
    #[arg(long, value_name = "DIR")]
    out: PathBuf,
    /// Learn narrow matrices of this rank beside the encoder's weights (LoRA), not the weights themselves
    #[arg(long, value_name = "RANK")]
    lora: Option<usize>,
    /// Times every text is seen; 0.5 is every other one, once
    #[arg(long, default_value_t = 4.0, value_name = "N")]
    epochs: f64,
    /// Texts a step
    #[arg(long, default_value_t = 32, value_name = "N")]
    batch: usize,
    /// Most tokens of a text in training; the model itself reads longer ones
    #[arg(long, default_value_t = MAX_TOKENS, value_name = "N")]
    max_tokens: usize,
    /// Learning rate of the encoder at its highest; 0.0005 is usual with --lora
    #[arg(long, default_value_t = 8e-5, value_name = "RATE")]
    learning_rate: f32,
    /// Learning rate of the heads at its highest
    #[arg(long, default_value_t = 3e-4, value_name = "RATE")]
    head_learning_rate: f32,
    /// Share of the steps in which the learning rate rises; then it falls to 0
    #[arg(long, default_value_t = 0.06, value_name = "SHARE")]
    warm_up: f64,
    /// Weight decay of AdamW
    #[arg(long, default_value_t = 0.01, value_name = "RATE")]
    weight_decay: f32,
    /// Norm to which a longer gradient is shortened
    #[arg(long, default_value_t = 1.0, value_name = "NORM")]
    clip: f32,
    /// Share of values dropped
    #[arg(long, default_value_t = 0.1, value_name = "SHARE")]
    dropout: f32,
    /// Share of a label's probability that is spread over all classes
    #[arg(long, default_value_t = 0.05, value_name = "SHARE")]
    label_smoothing: f32,
    /// How much it counts that two passes over a text, each with other values dropped, agree (R-Drop); twice the time. 0 makes one pass
    #[arg(long, default_value_t = 0.0, value_name = "N")]
    consistency: f32,
    /// Weights of negative, neutral and positive labels
    #[arg(
        long,
        default_value = "1,1,1",
        value_delimiter = ',',
        value_name = "N,N,N"
    )]
    class_weights: Vec<f32>,
    /// Weight of the entities of a text that disagree
    #[arg(long, default_value_t = 2.0, value_name = "N")]
    conflicting_weight: f32,
    /// Share of the --train texts that is held back, to fit the calibration
    #[arg(long, default_value_t = CALIBRATION_SHARE, value_name = "SHARE")]
    calibration_share: f64,
    /// Decides the order of the texts, what is dropped, and how new weights begin
    #[arg(long, default_value_t = 1, value_name = "N")]
    seed: u64,
    /// Times an epoch that the model is judged
    #[arg(long, default_value_t = 2, value_name = "N")]
    judgements: usize,
    /// Judgements without a better one after which training ends
    #[arg(long, default_value_t = 6, value_name = "N")]
    patience: usize,
    /// Steps between checkpoints
    #[arg(long, default_value_t = 200, value_name = "N")]
    checkpoint_every: usize,
    /// Write the model in f16: half as large, the same figures to three digits
    #[arg(long)]
    half: bool,
    /// Compute on this GPU, if squall was built for one
    #[arg(long, value_name = "NUMBER")]
    gpu: Option<usize>,
}

/// Trains. Progress goes to stderr, the figures of the model to stdout.
pub(super) fn run(args: &Train) -> anyhow::Result<()> {
    let run = args.run()?;
    refuse_finished(&run.out)?;
    let bar = ProgressBar::no_length();
    bar.set_style(ProgressStyle::with_template(
        "{bar:30} {pos}/{len} steps  {elapsed} gone, {eta} to go  {msg}",
    )?);
    let mut loss = None;
    let outcome = run.go(&mut |event| show(event, &bar, &mut loss))?;
    bar.finish_and_clear();
    let Outcome {
        best_step,
        steps,
        seconds,
        calibration,
        report,
    } = &outcome;
    println!("{report}");
    println!("best at step {best_step} of {steps}, {seconds:.0} s; {calibration}");
    println!("written to {}", run.out.display());
    Ok(())
}

fn show(event: &Event, bar: &ProgressBar, loss: &mut Option<f32>) {
    match event {
        Event::Ready {
            notes,
            learnt,
            steps,
            begun,
        } => {
            bar.set_length(*steps as u64);
            bar.set_position(*begun as u64);
            bar.reset_eta();
            tracing::info!(
                "{} texts to learn from, {} held back for calibration; {}; {learnt} weights learnt",
                notes.lessons,
                notes.calibration,
                notes.dropped()
            );
            if *begun > 0 {
                tracing::info!("going on after step {begun} of {steps}");
            }
        }
        Event::Step { step, loss: one } => {
            let smooth = loss.map_or(*one, |before| 0.98 * before + 0.02 * one);
            *loss = Some(smooth);
            bar.set_position(*step as u64);
            bar.set_message(format!("loss {smooth:.4}"));
        }
        Event::Judged {
            judgement,
            report,
            best,
        } => {
            let documents = report.documents.as_ref().map_or(String::new(), |scores| {
                format!(
                    "  documents {:.4} / {:.4}",
                    scores.accuracy, scores.macro_f1
                )
            });
            let entities = report.entities.as_ref().map_or(String::new(), |scores| {
                let conflicting = scores.conflicting.map_or(String::new(), |one| {
                    format!(", disagreeing {:.4}", one.accuracy)
                });
                format!(
                    "  entities {:.4} / {:.4}{conflicting}",
                    scores.all.accuracy, scores.all.macro_f1
                )
            });
            bar.suspend(|| {
                tracing::info!(
                    "step {}: loss {:.4}{documents}{entities} (accuracy / macro-F1){}",
                    judgement.step,
                    judgement.loss,
                    if *best { ", the best so far" } else { "" }
                );
            });
        }
    }
}

/// A model that is there is not written over.
pub(super) fn refuse_finished(out: &Path) -> anyhow::Result<()> {
    if out.join("model.safetensors").exists() && !is_unfinished(out) {
        anyhow::bail!(UsageError(format!(
            "--out: {} holds a model already: choose another folder",
            out.display()
        )));
    }
    Ok(())
}

impl Train {
    fn run(&self) -> anyhow::Result<Run> {
        let class_weights = <[f32; 3]>::try_from(&self.class_weights[..])
            .ok()
            .filter(|weights| weights.iter().all(|weight| is_positive(*weight)))
            .ok_or_else(|| UsageError("--class-weights: give three positive numbers".into()))?;
        for (option, value, most) in [
            ("--dropout", f64::from(self.dropout), 0.9),
            ("--label-smoothing", f64::from(self.label_smoothing), 0.9),
            ("--calibration-share", self.calibration_share, 0.5),
            ("--warm-up", self.warm_up, 1.0),
        ] {
            if !(0.0..=most).contains(&value) {
                return Err(
                    UsageError(format!("{option}: {value} is not from 0 to {most}")).into(),
                );
            }
        }
        for (option, value) in [
            ("--epochs", self.epochs as f32),
            ("--learning-rate", self.learning_rate),
            ("--head-learning-rate", self.head_learning_rate),
            ("--clip", self.clip),
            ("--conflicting-weight", self.conflicting_weight),
        ] {
            if !is_positive(value) {
                return Err(UsageError(format!("{option}: {value} is not above 0")).into());
            }
        }
        if !(self.consistency.is_finite() && self.consistency >= 0.0) {
            return Err(UsageError("--consistency: is not a number from 0 up".into()).into());
        }
        for (option, value) in [
            ("--batch", self.batch),
            ("--patience", self.patience),
            ("--checkpoint-every", self.checkpoint_every),
            ("--lora", self.lora.unwrap_or(1)),
        ] {
            if value == 0 {
                return Err(UsageError(format!("{option}: must be at least 1")).into());
            }
        }
        let sources = |files: &[String], calibrates| -> anyhow::Result<Vec<Source>> {
            files.iter().map(|file| source(file, calibrates)).collect()
        };
        let mut train = sources(&self.train, true)?;
        train.extend(sources(&self.extra, false)?);
        Ok(Run {
            train,
            dev: self.dev.clone(),
            corrections: self.corrections.clone(),
            base: self.base.clone(),
            out: self.out.clone(),
            data: Options {
                class_weights,
                conflicting_weight: self.conflicting_weight,
                calibration_share: self.calibration_share,
            },
            method: self.lora.map_or(Method::Full, |rank| Method::Lora { rank }),
            epochs: self.epochs,
            batch: self.batch,
            max_tokens: self.max_tokens,
            rates: Rates {
                encoder: self.learning_rate,
                heads: self.head_learning_rate,
                decay: self.weight_decay,
                longest_gradient: self.clip,
            },
            warm_up: self.warm_up,
            dropout: self.dropout,
            smoothing: self.label_smoothing,
            consistency: self.consistency,
            seed: self.seed,
            judgements: self.judgements,
            patience: self.patience,
            checkpoint_every: self.checkpoint_every,
            storage: storage(self.half),
            device: match self.gpu {
                Some(number) => Device::new_cuda(number).context("--gpu")?,
                None => Device::Cpu,
            },
        })
    }
}

/// How weights are written, by `--half`.
pub(super) fn storage(half: bool) -> Storage {
    match half {
        true => Storage::Half,
        false => Storage::Full,
    }
}

pub(super) fn is_positive(value: f32) -> bool {
    value.is_finite() && value > 0.0
}

/// A file with its weight; a colon that no number follows belongs to the name.
pub(super) fn source(argument: &str, calibrates: bool) -> anyhow::Result<Source> {
    let weighted = argument
        .rsplit_once(':')
        .and_then(|(path, weight)| Some((path, weight.parse::<f32>().ok()?)));
    let (path, weight) = weighted.unwrap_or((argument, 1.0));
    if !is_positive(weight) {
        return Err(UsageError(format!("{argument}: a weight must be above 0")).into());
    }
    Ok(Source {
        path: path.into(),
        weight,
        calibrates,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_weight_may_follow_a_file() {
        let read = |argument| source(argument, true).map(|source| (source.path, source.weight));
        assert_eq!(read("a.jsonl").unwrap(), ("a.jsonl".into(), 1.0));
        assert_eq!(read("a:b.jsonl:0.5").unwrap(), ("a:b.jsonl".into(), 0.5));
        assert_eq!(read("a:b.jsonl").unwrap(), ("a:b.jsonl".into(), 1.0));
        for bad in ["a:0", "a:-1", "a:NaN", "a:inf"] {
            assert!(read(bad).unwrap_err().is::<UsageError>());
        }
    }
}
