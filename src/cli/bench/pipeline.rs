//! `squall bench pipeline`: the whole service in this process, posts at a steady rate, bursts that tip
//! alerts, and a receiver on loopback.

use super::super::files::TemporaryFolder;
use super::histogram::{END_TO_END, buckets, buckets_since, upper_bound};
use super::{receiver, serving};
use crate::app::{Role, Started};
use crate::broker::{Outgoing, Producer};
use crate::config::{Config, EMBEDDED, TopicConfig};
use crate::domain::Timestamp;
use crate::lock::lock;
use crate::text::Dictionary;
use anyhow::Context as _;
use rand::rngs::StdRng;
use rand::{RngExt as _, SeedableRng as _};
use std::collections::{BTreeMap, HashMap};
use std::io::Write;
use std::net::IpAddr;
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

/// Topic of the stories about the watched companies, and that of the stream beside them.
const TOPICS: [&str; 2] = ["news", "social"];
/// Their places in `TOPICS`.
const NEWS: usize = 0;
const SOCIAL: usize = 1;
/// Companies that were watched for a while; each has one burst at most.
const WATCHED: usize = 100;
/// Companies the stream is about.
const OTHERS: usize = 400;
/// Negative stories of a burst, each by another author …
const BURST: usize = 10;
/// … and the time between two of them.
const STORY_EVERY: Duration = Duration::from_millis(200);
/// Time between the beginnings of two bursts: more at once would be a change of the source's volume.
const BURST_EVERY: Duration = Duration::from_secs(3);
/// Consumer groups of the embedded broker need a few seconds to form.
const WARM_UP: Duration = Duration::from_secs(6);
/// How long the watched companies were known before …
const HISTORY: Duration = Duration::from_secs(14 * 24 * 3600);
/// … each with a story an hour, one in eight of which is bad.
const HISTORY_STORIES: usize = 14 * 24 * WATCHED;
/// The history is read in seconds; an hour means that something hangs.
const HISTORY_READ: Duration = Duration::from_secs(3600);

/// Measure the way from a post to its row and to its alert.
///
/// First two weeks of stories are sent that teach what is usual; they are not measured. Then posts at a steady rate
/// about companies nobody watched, and among them bursts about those that were.
#[derive(Debug, clap::Args)]
pub(super) struct PipelineBench {
    /// Posts a second
    #[arg(long, value_name = "N", default_value_t = 500)]
    rate: usize,
    /// Seconds; a burst begins every three
    #[arg(long, value_name = "N", default_value_t = 300)]
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
    config.topics = TOPICS
        .map(|topic| TopicConfig {
            name: topic.into(),
            source: topic.into(),
        })
        .into();
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
    let (metrics, fed) = serving(config, Role::all(), Some(dictionary), work).await?;
    let mut out = std::io::stdout().lock();
    writeln!(out, "{}, seed: {}", super::machine(), args.seed)?;
    writeln!(
        out,
        "sent: {HISTORY_STORIES} stories of history, then {} posts in {:.1} s, {:.0} a second",
        fed.posts,
        fed.seconds,
        fed.posts as f64 / fed.seconds
    )?;
    let mut told = lock(&told);
    report(&fed.before, &metrics.render(), &mut told, &mut out)
}

/// What was sent once the history was read.
struct Fed {
    posts: usize,
    seconds: f64,
    /// The metrics as they were before.
    before: String,
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
    let watched = (0..WATCHED).map(|n| format!("ZQ{n:03},Zanquor {n:03} Works,,,company\n"));
    let others = (0..OTHERS).map(|n| format!("YQ{n:03},Yanquor {n:03} Works,,,company\n"));
    std::iter::once("id,name,aliases,sector,kind\n".to_owned())
        .chain(watched)
        .chain(others)
        .collect()
}

/// History, then chatter at the rate, and in its place the stories of bursts, each about another company.
async fn feed(args: &PipelineBench, started: Started, told: &Mutex<Told>) -> anyhow::Result<Fed> {
    tokio::time::sleep(WARM_UP).await;
    let mut feed = Feed {
        producer: Producer::new(&started.connection)?,
        partitions: TOPICS.map(|topic| started.connection.partitions(topic).max(1)),
        random: StdRng::seed_from_u64(args.seed),
    };
    feed.history().await?;
    let read = async {
        while stored(&started.metrics.render()) < HISTORY_STORIES as u64 {
            tokio::time::sleep(Duration::from_millis(200)).await;
        }
    };
    tokio::time::timeout(HISTORY_READ, read)
        .await
        .context("the history was not stored in an hour")?;
    tokio::time::sleep(WARM_UP).await;
    let before = started.metrics.render();
    let rate = args.rate.max(1);
    let total = rate * args.seconds.max(1);
    let mut stories = stories(rate, total);
    let mut posts = 0;
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
            feed.post(NEWS, posts, bad_news(company, step)).await?;
            posts += 1;
        }
        // Several stories may have been due: then as much chatter less.
        if posts <= n {
            let company = feed.random.random_range(0..OTHERS);
            let text =
                format!("$YQ{company:03} will hold its annual meeting number {n} in the town hall");
            feed.post(SOCIAL, posts, text).await?;
            posts += 1;
        }
    }
    let seconds = begun.elapsed().as_secs_f64();
    // What is under way arrives before the drain begins.
    tokio::time::sleep(Duration::from_secs(3)).await;
    Ok(Fed {
        posts,
        seconds,
        before,
    })
}

/// Posts that have been stored.
fn stored(metrics: &str) -> u64 {
    let buckets = buckets(metrics, END_TO_END);
    buckets.last().map_or(0, |(_, count)| *count)
}

/// Company and number of the stories that are due with each post.
fn stories(rate: usize, total: usize) -> BTreeMap<usize, Vec<(usize, usize)>> {
    let posts_in = |time: Duration| ((rate as f64 * time.as_secs_f64()) as usize).max(1);
    let (stride, every) = (posts_in(STORY_EVERY), posts_in(BURST_EVERY));
    let room = total.saturating_sub((BURST - 1) * stride);
    let bursts = room.div_ceil(every).min(WATCHED);
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
    /// Of each topic.
    partitions: [i32; TOPICS.len()],
    random: StdRng,
}

impl Feed {
    async fn history(&mut self) -> anyhow::Result<()> {
        let begin = Timestamp::now() - HISTORY;
        for n in 0..HISTORY_STORIES {
            let at = begin + HISTORY.mul_f64(n as f64 / HISTORY_STORIES as f64);
            let company = self.random.random_range(0..WATCHED);
            let text = match self.random.random_range(0..8) {
                0 => format!("$ZQ{company:03} loses order number {n} to a rival"),
                _ => format!("$ZQ{company:03} opens office number {n}"),
            };
            let author = format!("writer-{n}");
            self.send(NEWS, &serde_json::json!({ "text": text, "published_at": at, "author": { "id": author } }))
                .await?;
        }
        Ok(())
    }

    async fn post(&mut self, topic: usize, number: usize, text: String) -> anyhow::Result<()> {
        let author = format!("author-{number}");
        self.send(
            topic,
            &serde_json::json!({ "text": text, "author": { "id": author } }),
        )
        .await
    }

    async fn send(&mut self, topic: usize, post: &serde_json::Value) -> anyhow::Result<()> {
        let record = Outgoing {
            topic: TOPICS[topic].into(),
            partition: Some(self.random.random_range(0..self.partitions[topic])),
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

/// What the metrics say more than they said before the first measured post.
fn report(before: &str, after: &str, told: &mut Told, out: &mut impl Write) -> anyhow::Result<()> {
    for (name, what) in [
        (END_TO_END, "received to stored"),
        (
            "squall_alert_seconds",
            "received to first delivery of an alert",
        ),
    ] {
        let buckets = buckets_since(before, after, name);
        let count = buckets.last().map_or(0, |(_, count)| *count);
        let shown: Vec<String> = [50, 90, 99]
            .iter()
            .map(|p| format!("p{p} ≤ {}", upper_bound(&buckets, *p)))
            .collect();
        writeln!(out, "{what}: {} (n = {count})", shown.join(", "))?;
    }
    let (delays, bursts) = (&mut told.delays, told.bursts);
    delays.sort_by(f64::total_cmp);
    let shown = [50, 90, 99].map(|p| match percentile(delays, p) {
        Some(delay) => format!("p{p} {delay:.2} s"),
        None => format!("p{p} ?"),
    });
    writeln!(
        out,
        "onset of a burst ({BURST} stories, {STORY_EVERY:?} apart) to the delivery of its alert: {} (n = {} of {bursts} bursts)",
        shown.join(", "),
        delays.len()
    )?;
    writeln!(out, "deliveries received: {}", told.deliveries)?;
    Ok(())
}

/// The smallest that so many per cent are at or below.
fn percentile(sorted: &[f64], percent: usize) -> Option<f64> {
    let rank = (sorted.len() * percent).div_ceil(100);
    sorted.get(rank.saturating_sub(1)).copied()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::telemetry::Metrics;

    #[test]
    fn a_percentile_is_one_of_the_values() {
        let values: Vec<f64> = (1..=200).map(f64::from).collect();
        assert_eq!(
            [50, 99, 100].map(|p| percentile(&values, p)),
            [100.0, 198.0, 200.0].map(Some)
        );
        assert_eq!(percentile(&[7.0], 1), Some(7.0));
        assert_eq!(percentile(&[], 50), None);
    }

    #[test]
    fn every_burst_has_all_its_stories_within_the_time() {
        for (rate, seconds, bursts) in [(500, 300, 100), (60, 60, 20), (20, 30, 10), (1, 1, 0)] {
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
        let metrics = Metrics::new().render();
        let error = report(&metrics, &metrics, &mut Told::default(), &mut writer).unwrap_err();
        let io = error.downcast_ref::<std::io::Error>().unwrap();
        assert_eq!(io.kind(), std::io::ErrorKind::BrokenPipe);
    }
}
