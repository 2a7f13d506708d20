//! `squall bench`.

mod deliver;
mod detect;
mod histogram;
mod model;
mod pipeline;
mod simulation;
mod store;

use crate::app::{self, Role, Run, Started};
use crate::config::{Config, EndpointConfig, Secret};
use crate::telemetry::Metrics;
use crate::text::Dictionary;
use anyhow::Context as _;
use axum::body::Bytes;
use axum::http::StatusCode;
use axum::routing::post;
use clap::Subcommand;
use std::collections::BTreeSet;
use std::sync::Arc;
use tokio::sync::oneshot;
use tokio_util::sync::CancellationToken;

/// Measure speed. Run it on an otherwise idle machine, with the program built optimised.
#[derive(Debug, clap::Args)]
pub(super) struct Bench {
    #[command(subcommand)]
    what: What,
}

/// What is measured.
#[derive(Debug, Subcommand)]
enum What {
    /// Alerts to receivers that are fast: deliveries a second
    Deliver(deliver::DeliverBench),
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

/// Runs roles while `work` lasts; gives their metrics and what the work says.
async fn serving<T, F>(
    config: Config,
    roles: BTreeSet<Role>,
    dictionary: Option<Dictionary>,
    work: impl FnOnce(Started) -> F,
) -> anyhow::Result<(Metrics, T)>
where
    F: Future<Output = anyhow::Result<T>>,
{
    let shutdown = CancellationToken::new();
    let (started, start) = oneshot::channel();
    let service = app::run(
        config,
        Run {
            roles,
            dictionary,
            on_alert: Arc::new(|_| ()),
            on_start: Box::new(move |service| drop(started.send(service))),
            shutdown: shutdown.clone(),
        },
    );
    let working = async {
        let started: Started = start.await.context("the service did not start")?;
        let metrics = started.metrics.clone();
        let answer = work(started).await;
        shutdown.cancel();
        answer.map(|answer| (metrics, answer))
    };
    let (served, worked) = tokio::join!(service, working);
    served?;
    worked
}

/// An endpoint whose receiver, on loopback, shows `take` each body and answers 204 at once.
async fn receiver(
    name: &str,
    take: impl Fn(&[u8]) + Clone + Send + Sync + 'static,
) -> anyhow::Result<EndpointConfig> {
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await?;
    let address = listener.local_addr()?;
    let taken = move |body: Bytes| async move {
        take(&body);
        StatusCode::NO_CONTENT
    };
    tokio::spawn(async move {
        axum::serve(listener, axum::Router::new().route("/", post(taken))).await
    });
    // Not a secret: a fixed key for a receiver that checks nothing.
    let secret = Secret::new("whsec_AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA=");
    let url = format!("http://{address}/");
    Ok(EndpointConfig::new(name, &url, vec![secret]))
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

/// Memory of this process in RAM; none where the system does not say so in Linux's way.
fn resident_bytes() -> Option<u64> {
    let status = std::fs::read_to_string("/proc/self/status").ok()?;
    let line = status
        .lines()
        .find_map(|line| line.strip_prefix("VmRSS:"))?;
    let kib: u64 = line.split_whitespace().next()?.parse().ok()?;
    Some(kib * 1024)
}

/// Measures.
pub(super) async fn run(args: Bench, config: Config) -> anyhow::Result<()> {
    match args.what {
        What::Deliver(args) => deliver::run(args, config).await,
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
