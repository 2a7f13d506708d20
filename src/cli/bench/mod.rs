//! `squall bench`.

mod detect;
mod model;
mod pipeline;
mod simulation;
mod store;

use crate::config::Config;
use clap::Subcommand;

/// Measure speed. Run it on an otherwise idle machine, with the program built optimised.
#[derive(Debug, clap::Args)]
pub(super) struct Bench {
    #[command(subcommand)]
    what: What,
}

/// What is measured.
#[derive(Debug, Subcommand)]
enum What {
    /// Detection on made-up streams: false alarms by volume, bursts found
    Detect(detect::DetectBench),
    /// Texts and tokens a second of scoring a file
    Model(model::ModelBench),
    /// The whole way, embedded: from received to stored, and to the first delivery of an alert
    Pipeline(pipeline::PipelineBench),
    /// Scored posts into the store: how fast after an outage, and how soon at a steady rate
    Store(store::StoreBench),
}

/// The middle one; NaN of none.
fn median(mut numbers: Vec<f64>) -> f64 {
    numbers.sort_by(f64::total_cmp);
    numbers.get(numbers.len() / 2).copied().unwrap_or(f64::NAN)
}

/// What a figure depends on besides the program.
fn machine() -> String {
    let cores = std::thread::available_parallelism().map_or("?".into(), |cores| cores.to_string());
    let profile = if cfg!(debug_assertions) {
        ", not built with --release"
    } else {
        ""
    };
    format!("cores: {cores}{profile}")
}

/// Measures.
pub(super) async fn run(args: Bench, config: Config) -> anyhow::Result<()> {
    match args.what {
        What::Detect(args) => {
            tokio::task::spawn_blocking(move || detect::run(&args, &config.detect)).await?
        }
        What::Model(args) => {
            tokio::task::spawn_blocking(move || model::run(&args, &config)).await?
        }
        What::Pipeline(args) => pipeline::run(args, config).await,
        What::Store(args) => store::run(args, config).await,
    }
}
