//! `squall bench pipeline`: the whole service in this process, posts at a steady rate, bursts that tip
//! alerts, and a receiver on loopback.

use super::super::files::TemporaryFolder;
use crate::app::{self, Role, Run, Started};
use crate::broker::{Outgoing, Producer};
use crate::config::{Config, EMBEDDED, EndpointConfig, Secret, TopicConfig};
use crate::domain::Timestamp;
use crate::telemetry::Metrics;
use crate::text::Dictionary;
use anyhow::Context as _;
use axum::routing::post;
use rand::rngs::StdRng;
use rand::{RngExt as _, SeedableRng as _};
use std::collections::BTreeMap;
use std::io::Write;
use std::net::IpAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;
use tokio::sync::oneshot;
use tokio_util::sync::CancellationToken;

/// Topic the posts are sent to.
const TOPIC: &str = "social";
/// Companies of the bench; each has one burst.
const COMPANIES: usize = 100;
/// Negative stories of a burst, each by another author.
const BURST: usize = 10;
/// Consumer groups of the embedded broker need a few seconds to form.
const WARM_UP: Duration = Duration::from_secs(6);

/// Quiet history before, so that what is usual is known.
const QUIET_MINUTES: u64 = 180;

/// Measure the way from a post to its row and to its alert.
#[derive(Debug, clap::Args)]
pub(super) struct PipelineBench {
    /// Posts a second
    #[arg(long, value_name = "N", default_value_t = 60)]
    rate: usize,
    /// Seconds
    #[arg(long, value_name = "N", default_value_t = 60)]
    seconds: usize,
    /// What the spread over companies and partitions is drawn from: the same seed sends the same posts
    #[arg(long, value_name = "N", default_value_t = 1)]
    seed: u64,
}

/// Measures and prints.
pub(super) async fn run(args: PipelineBench, mut config: Config) -> anyhow::Result<()> {
    let folder = TemporaryFolder::new("bench")?;
    config.run.data_dir = folder.path().to_owned();
    config.kafka.brokers = EMBEDDED.into();
    config.clickhouse.url.clear();
    config.kafka.client.clear();
    config.topics = vec![TopicConfig {
        name: TOPIC.into(),
        source: TOPIC.into(),
    }];
    config.api.listen = ([127, 0, 0, 1], 0).into();
    config.notify.allow = vec![IpAddr::from([127, 0, 0, 1]).into()];
    let received = Arc::new(AtomicU64::new(0));
    config.endpoints = vec![endpoint(receiver(received.clone()).await?)];
    let dictionary = Dictionary::from_csv(companies().as_bytes(), "the bench's companies")
        .map_err(|errors| anyhow::anyhow!("{errors:?}"))?;
    let seed = args.seed;
    let shutdown = CancellationToken::new();
    let (started, start) = oneshot::channel();
    let feeding = tokio::spawn({
        let shutdown = shutdown.clone();
        async move {
            let started: Started = start.await.context("the service did not start")?;
            let fed = feed(&args, &started).await;
            shutdown.cancel();
            fed.map(|()| started.metrics)
        }
    });
    app::run(
        config,
        Run {
            roles: Role::all(),
            dictionary: Some(dictionary),
            on_alert: Arc::new(|_| ()),
            on_start: Box::new(move |service| drop(started.send(service))),
            shutdown,
        },
    )
    .await?;
    let metrics = feeding.await??;
    let mut out = std::io::stdout().lock();
    writeln!(out, "{}, seed: {seed}", super::machine())?;
    report(&metrics, received.load(Ordering::Relaxed), &mut out)
}

/// A receiver that answers 204 at once; returns its address.
async fn receiver(received: Arc<AtomicU64>) -> anyhow::Result<String> {
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await?;
    let address = listener.local_addr()?;
    let count = move || async move {
        received.fetch_add(1, Ordering::Relaxed);
        axum::http::StatusCode::NO_CONTENT
    };
    tokio::spawn(async move {
        axum::serve(listener, axum::Router::new().route("/", post(count))).await
    });
    Ok(format!("http://{address}/"))
}

fn endpoint(url: String) -> EndpointConfig {
    // Not a secret: a fixed key for a receiver that checks nothing.
    let secret = Secret::new("whsec_AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA=");
    EndpointConfig::new("bench", url, vec![secret])
}

fn companies() -> String {
    let lines =
        (0..COMPANIES).map(|n| format!("ZQ{n:03},Zanquor {n:03} Works,,Industrials,company\n"));
    std::iter::once("id,name,aliases,sector,kind\n".to_owned())
        .chain(lines)
        .collect()
}

/// Neutral chatter at the rate, and a burst about another company in regular steps.
async fn feed(args: &PipelineBench, started: &Started) -> anyhow::Result<()> {
    tokio::time::sleep(WARM_UP).await;
    let partitions = started.connection.partitions(TOPIC);
    let mut feed = Feed {
        producer: Producer::new(&started.connection)?,
        partitions: partitions.max(1),
        random: StdRng::seed_from_u64(args.seed),
    };
    let total = args.rate.max(1) * args.seconds.max(1);
    let burst_every = (total / COMPANIES).max(BURST + 1);
    for minute in 0..QUIET_MINUTES {
        let at = Timestamp::now() - Duration::from_secs((QUIET_MINUTES - minute) * 60);
        let text = format!(
            "$ZQ{:03} opens office number {minute}",
            minute as usize % COMPANIES
        );
        feed.send(&serde_json::json!({ "text": text, "published_at": at }))
            .await?;
    }
    tokio::time::sleep(WARM_UP).await;
    let mut tick = tokio::time::interval(Duration::from_secs_f64(1.0 / args.rate.max(1) as f64));
    for n in 0..total {
        tick.tick().await;
        let text = match (n / burst_every, n % burst_every) {
            (burst, step) if step < BURST && burst < COMPANIES => bad_news(burst, step),
            _ => format!(
                "$ZQ{:03} will hold its annual meeting number {n} in the town hall",
                feed.random.random_range(0..COMPANIES)
            ),
        };
        let author = format!("author-{n}");
        feed.send(&serde_json::json!({ "text": text, "author": { "id": author } }))
            .await?;
    }
    // What is under way arrives before the drain begins.
    tokio::time::sleep(Duration::from_secs(3)).await;
    Ok(())
}

/// Sends posts, the same ones to the same partitions at each run with one seed.
struct Feed {
    producer: Producer,
    partitions: i32,
    random: StdRng,
}

impl Feed {
    async fn send(&mut self, post: &serde_json::Value) -> anyhow::Result<()> {
        let record = Outgoing {
            topic: TOPIC.into(),
            partition: Some(self.random.random_range(0..self.partitions)),
            key: Vec::new(),
            payload: serde_json::to_vec(post)?,
            headers: Vec::new(),
            timestamp: None,
        };
        tokio::spawn(self.producer.send(record).await?);
        Ok(())
    }
}

fn bad_news(company: usize, step: usize) -> String {
    const NEWS: [&str; BURST] = [
        "shares plunge 30% after the company files for bankruptcy",
        "slashes its dividend and cuts the outlook, stock sinks",
        "hit by fraud probe, chief executive resigns at once",
        "recalls 40,000 pumps after a fatal accident, shares tumble",
        "misses estimates badly, losses widen, analysts downgrade to sell",
        "defaults on its bonds, lenders walk away from talks",
        "warns of a severe cash shortage, stock crashes to a record low",
        "announces mass layoffs as sales collapse",
        "downgraded to junk on mounting losses",
        "auditor quits over accounting irregularities, shares fall sharply",
    ];
    format!("$ZQ{company:03} {}", NEWS[step % BURST])
}

fn report(metrics: &Metrics, deliveries: u64, out: &mut impl Write) -> anyhow::Result<()> {
    let text = metrics.render();
    for (name, what) in [
        ("squall_end_to_end_seconds", "received to stored"),
        (
            "squall_alert_seconds",
            "received to first delivery of an alert",
        ),
    ] {
        let buckets = buckets(&text, name);
        let count = buckets.last().map_or(0, |(_, count)| *count);
        let shown: Vec<String> = [50, 90, 99]
            .iter()
            .map(|p| format!("p{p} ≤ {}", upper_bound(&buckets, *p)))
            .collect();
        writeln!(out, "{what}: {} (n = {count})", shown.join(", "))?;
    }
    writeln!(out, "deliveries received: {deliveries}")?;
    Ok(())
}

/// Cumulative counts by upper bound, as Prometheus writes them.
pub(super) fn buckets(text: &str, name: &str) -> Vec<(String, u64)> {
    let prefix = format!("{name}_bucket{{le=\"");
    let lines = text
        .lines()
        .filter_map(|line| line.strip_prefix(&prefix)?.split_once("\"} "));
    let parsed: BTreeMap<usize, (String, u64)> = lines
        .enumerate()
        .filter_map(|(at, (bound, count))| Some((at, (bound.to_owned(), count.parse().ok()?))))
        .collect();
    parsed.into_values().collect()
}

/// Bound of the bucket that holds the percentile.
pub(super) fn upper_bound(buckets: &[(String, u64)], percentile: u64) -> String {
    let total = buckets.last().map_or(0, |(_, count)| *count);
    let bucket = buckets
        .iter()
        .find(|(_, count)| total > 0 && count * 100 >= total * percentile);
    bucket.map_or("?".into(), |(bound, _)| format!("{bound} s"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_reader_that_has_gone_is_an_error_and_no_panic() {
        let (reader, mut writer) = std::io::pipe().unwrap();
        drop(reader);
        let error = report(&Metrics::new(), 0, &mut writer).unwrap_err();
        let io = error.downcast_ref::<std::io::Error>().unwrap();
        assert_eq!(io.kind(), std::io::ErrorKind::BrokenPipe);
    }
}
