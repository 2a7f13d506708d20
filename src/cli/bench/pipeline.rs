//! `squall bench pipeline`: the whole service in this process, posts at a steady rate, bursts that tip
//! alerts, and a receiver on loopback.

use super::super::files::TemporaryFolder;
use super::{receiver, serving};
use crate::app::{Role, Started};
use crate::broker::{Outgoing, Producer};
use crate::config::{Config, EMBEDDED, TopicConfig};
use crate::domain::Timestamp;
use crate::lock::lock;
use crate::telemetry::Metrics;
use crate::text::Dictionary;
use rand::rngs::StdRng;
use rand::{RngExt as _, SeedableRng as _};
use std::collections::{BTreeMap, HashMap};
use std::io::Write;
use std::net::IpAddr;
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

/// Topic the posts are sent to.
const TOPIC: &str = "social";
/// Companies of the bench; each has one burst at most.
const COMPANIES: usize = 100;
/// Negative stories of a burst, each by another author …
const BURST: usize = 10;
/// … and the time between two of them.
const STORY_EVERY: Duration = Duration::from_millis(200);
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
    // Each alert is told by itself.
    config.notify.group_from = 0;
    config.routes.clear();
    config.quiet_hours.clear();
    let told = Arc::new(Mutex::new(Told::default()));
    let telling = told.clone();
    let endpoint = receiver("bench", move |body| lock(&telling).came(body)).await?;
    config.endpoints = vec![endpoint];
    let dictionary = Dictionary::from_csv(companies().as_bytes(), "the bench's companies")
        .map_err(|errors| anyhow::anyhow!("{errors:?}"))?;
    let work = |started| feed(&args, started, &told);
    let (metrics, sent) = serving(config, Role::all(), Some(dictionary), work).await?;
    let mut out = std::io::stdout().lock();
    writeln!(out, "{}, seed: {}", super::machine(), args.seed)?;
    writeln!(out, "{sent}")?;
    let mut told = lock(&told);
    report(&metrics, &mut told, &mut out)
}

/// What the receiver was told of.
#[derive(Default)]
struct Told {
    /// When the burst of a company began of which nothing was told yet, by its id.
    begun: HashMap<String, Instant>,
    bursts: usize,
    /// Seconds from the beginning of a burst until the alert on it came.
    delays: Vec<f64>,
    deliveries: usize,
}

impl Told {
    fn came(&mut self, body: &[u8]) {
        self.deliveries += 1;
        let body: serde_json::Value = serde_json::from_slice(body).unwrap_or_default();
        let company = body["data"]["entity"]["id"].as_str().unwrap_or_default();
        if body["type"] == "sentiment.spike.opened"
            && let Some(begun) = self.begun.remove(company)
        {
            self.delays.push(begun.elapsed().as_secs_f64());
        }
    }
}

/// Companies without a sector: they are on no list, so that no alert is muted by that on a list.
fn companies() -> String {
    let lines = (0..COMPANIES).map(|n| format!("ZQ{n:03},Zanquor {n:03} Works,,,company\n"));
    std::iter::once("id,name,aliases,sector,kind\n".to_owned())
        .chain(lines)
        .collect()
}

/// Neutral chatter at the rate, and in its place the stories of bursts, each about another company, that begin in regular
/// steps. Says what was sent.
async fn feed(
    args: &PipelineBench,
    started: Started,
    told: &Mutex<Told>,
) -> anyhow::Result<String> {
    tokio::time::sleep(WARM_UP).await;
    let partitions = started.connection.partitions(TOPIC);
    let mut feed = Feed {
        producer: Producer::new(&started.connection)?,
        partitions: partitions.max(1),
        random: StdRng::seed_from_u64(args.seed),
    };
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
    let rate = args.rate.max(1);
    let total = rate * args.seconds.max(1);
    let mut stories = stories(rate, total);
    let mut sent = 0;
    let mut tick = tokio::time::interval(Duration::from_secs_f64(1.0 / rate as f64));
    let begun = Instant::now();
    for n in 0..total {
        tick.tick().await;
        for (company, step) in stories.remove(&n).unwrap_or_default() {
            if step == 0 {
                let mut told = lock(told);
                told.begun.insert(format!("ZQ{company:03}"), Instant::now());
                told.bursts += 1;
            }
            feed.post(sent, bad_news(company, step)).await?;
            sent += 1;
        }
        // Several stories may have been due: then as much chatter less.
        if sent <= n {
            let company = feed.random.random_range(0..COMPANIES);
            let text =
                format!("$ZQ{company:03} will hold its annual meeting number {n} in the town hall");
            feed.post(sent, text).await?;
            sent += 1;
        }
    }
    let seconds = begun.elapsed().as_secs_f64();
    // What is under way arrives before the drain begins.
    tokio::time::sleep(Duration::from_secs(3)).await;
    let rate = sent as f64 / seconds;
    Ok(format!(
        "sent: {sent} posts in {seconds:.1} s, {rate:.0} a second"
    ))
}

/// Company and number of the stories that are due with each post: at most a quarter of all posts.
fn stories(rate: usize, total: usize) -> BTreeMap<usize, Vec<(usize, usize)>> {
    let bursts = (total / (4 * BURST)).clamp(1, COMPANIES);
    let stride = ((rate as f64 * STORY_EVERY.as_secs_f64()) as usize).max(1);
    let every = (total.saturating_sub(BURST * stride) / bursts).max(1);
    let mut stories: BTreeMap<usize, Vec<(usize, usize)>> = BTreeMap::new();
    for burst in 0..bursts {
        for step in 0..BURST {
            let due = burst * every + step * stride;
            stories.entry(due).or_default().push((burst, step));
        }
    }
    stories
}

/// Sends posts, the same ones to the same partitions at each run with one seed.
struct Feed {
    producer: Producer,
    partitions: i32,
    random: StdRng,
}

impl Feed {
    async fn post(&mut self, number: usize, text: String) -> anyhow::Result<()> {
        let author = format!("author-{number}");
        self.send(&serde_json::json!({ "text": text, "author": { "id": author } }))
            .await
    }

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

fn report(metrics: &Metrics, told: &mut Told, out: &mut impl Write) -> anyhow::Result<()> {
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
    let (delays, bursts) = (&mut told.delays, told.bursts);
    delays.sort_by(f64::total_cmp);
    let shown = [50, 90, 99].map(|p| format!("p{p} {:.2} s", percentile(delays, p)));
    writeln!(
        out,
        "onset of a burst ({BURST} stories, {STORY_EVERY:?} apart) to the delivery of its alert: {} (n = {} of {bursts} bursts)",
        shown.join(", "),
        delays.len()
    )?;
    writeln!(out, "deliveries received: {}", told.deliveries)?;
    Ok(())
}

/// The smallest that so many per cent are at or below; NaN of none.
fn percentile(sorted: &[f64], percent: usize) -> f64 {
    let rank = (sorted.len() * percent).div_ceil(100);
    sorted
        .get(rank.saturating_sub(1))
        .copied()
        .unwrap_or(f64::NAN)
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
    fn a_percentile_is_one_of_the_values() {
        let values: Vec<f64> = (1..=200).map(f64::from).collect();
        assert_eq!(
            [50, 99, 100].map(|p| percentile(&values, p)),
            [100.0, 198.0, 200.0]
        );
        assert_eq!(percentile(&[7.0], 1), 7.0);
        assert!(percentile(&[], 50).is_nan());
    }

    #[test]
    fn every_burst_has_all_its_stories_within_the_time() {
        for (rate, seconds, bursts) in [(500, 60, 100), (60, 60, 90), (20, 30, 15)] {
            let total = rate * seconds;
            let stories = stories(rate, total);
            let count: usize = stories.values().map(Vec::len).sum();
            assert_eq!(count, bursts * BURST);
            assert!(stories.keys().all(|due| *due < total));
        }
    }

    #[test]
    fn only_the_first_alert_on_a_burst_ends_its_delay() {
        let mut told = Told::default();
        told.begun.insert("ZQ001".into(), Instant::now());
        let alert = |kind: &str, id: &str| {
            serde_json::json!({"type": kind, "data": {"entity": {"id": id}}}).to_string()
        };
        told.came(alert("sentiment.spike.opened", "ZQ002").as_bytes());
        told.came(b"no JSON");
        assert!(told.delays.is_empty());
        told.came(alert("sentiment.spike.opened", "ZQ001").as_bytes());
        told.came(alert("sentiment.spike.opened", "ZQ001").as_bytes());
        assert_eq!((told.delays.len(), told.deliveries), (1, 4));
    }

    #[test]
    fn a_reader_that_has_gone_is_an_error_and_no_panic() {
        let (reader, mut writer) = std::io::pipe().unwrap();
        drop(reader);
        let error = report(&Metrics::new(), &mut Told::default(), &mut writer).unwrap_err();
        let io = error.downcast_ref::<std::io::Error>().unwrap();
        assert_eq!(io.kind(), std::io::ErrorKind::BrokenPipe);
    }
}
