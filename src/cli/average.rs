//! `squall average`: the mean of several models.

use super::train::{is_positive, refuse_finished, source, storage};
use super::{UsageError, train};
use crate::train::Average;
use crate::train::data::{Options, Source};
use std::path::PathBuf;

/// Average models that were trained from the same one
///
/// The mean of the weights of models trained with other seeds or data is mostly better than each of them. Its
/// calibration is fitted anew, on what training holds back of the --train files.
#[derive(Debug, clap::Args)]
pub(super) struct AverageModels {
    /// Folders of the models
    #[arg(long, required = true, num_args = 2.., value_name = "DIR")]
    models: Vec<PathBuf>,
    /// The files they were trained on
    #[arg(long, required = true, num_args = 1.., value_name = "FILE")]
    train: Vec<String>,
    /// Files the mean is judged by
    #[arg(long, required = true, num_args = 1.., value_name = "FILE")]
    dev: Vec<PathBuf>,
    /// Corrections of labels, by the hash of the text
    #[arg(long, value_name = "FILE")]
    corrections: Option<PathBuf>,
    /// Share of the texts of --train files that training held back
    #[arg(long, default_value_t = train::CALIBRATION_SHARE, value_name = "SHARE")]
    calibration_share: f64,
    /// How many false alarms a missed piece of bad news is taken to cost: the odds of bad news are multiplied by it
    #[arg(long, default_value_t = 1.0, value_name = "N")]
    missed_costs: f64,
    /// Folder of the model to make
    #[arg(long, value_name = "DIR")]
    out: PathBuf,
    /// Write the model in f16: half as large, the same figures to three digits
    #[arg(long)]
    half: bool,
}

/// Averages, and prints the figures.
pub(super) fn run(args: &AverageModels) -> anyhow::Result<()> {
    if !(0.0..=0.5).contains(&args.calibration_share) {
        return Err(UsageError("--calibration-share: is not from 0 to 0.5".into()).into());
    }
    if !is_positive(args.missed_costs as f32) {
        return Err(UsageError("--missed-costs: is not a number above 0".into()).into());
    }
    refuse_finished(&args.out)?;
    let train = args.train.iter().map(|file| source(file, true));
    let average = Average {
        models: args.models.clone(),
        train: train.collect::<anyhow::Result<Vec<Source>>>()?,
        dev: args.dev.clone(),
        corrections: args.corrections.clone(),
        data: Options {
            class_weights: [1.0; 3],
            conflicting_weight: 1.0,
            calibration_share: args.calibration_share,
        },
        missed_costs: args.missed_costs,
        max_tokens: train::MAX_TOKENS,
        out: args.out.clone(),
        storage: storage(args.half),
    };
    let (calibration, report) = average.go()?;
    println!("{report}");
    println!("{calibration}");
    println!("written to {}", args.out.display());
    Ok(())
}
