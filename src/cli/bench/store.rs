//! `squall bench store`: how fast scored posts become rows, and how soon.
//!
//! Catching up: posts that were scored before are read from a broker in this process and stored by STORE, as after an
//! outage. The delay: posts come at a steady rate. Each into SQLite and, where `clickhouse.url` is set, into a new
//! database of that server.

use super::super::files::TemporaryFolder;
use super::histogram::{END_TO_END, buckets_since, upper_bound};
use super::serving;
use crate::app::Role;
use crate::broker::{Connection, EmbeddedBroker, Outgoing, Producer};
use crate::config::{Config, Secret};
use crate::domain::{
    Author, Engagement, Mention, Origin, PostStatus, ScoredPost, Sentiment, SourcePartition,
    Timestamp,
};
use crate::pipeline::{Emitter, send_all};
use anyhow::{Context as _, bail};
use std::collections::BTreeSet;
use std::io::Write as _;
use std::sync::Arc;
use std::time::{Duration, Instant};

/// Partitions of `squall.scored`.
const PARTITIONS: i32 = 4;
/// Posts written to the broker at once; what is acknowledged is forgotten.
const WRITTEN_AT_ONCE: usize = 2000;
/// How long catching up may take.
const PATIENCE: Duration = Duration::from_secs(600);

/// Measure storing.
#[derive(Debug, clap::Args)]
pub(super) struct StoreBench {
    /// Scored posts to catch up with, each with 0 to 3 mentions; the broker in this process holds about 150,000
    #[arg(long, value_name = "N", default_value_t = 100_000)]
    posts: usize,
    /// Posts a second for the delay
    #[arg(long, value_name = "N", default_value_t = 500)]
    rate: usize,
    /// Seconds for the delay
    #[arg(long, value_name = "N", default_value_t = 30)]
    seconds: usize,
}

/// Measures and prints.
pub(super) async fn run(args: StoreBench, config: Config) -> anyhow::Result<()> {
    println(&super::machine())?;
    let mut sqlite = config.clone();
    sqlite.clickhouse.url.clear();
    one("SQLite", &args, sqlite).await?;
    if config.clickhouse.url.is_empty() {
        return println("ClickHouse: not measured, as clickhouse.url is empty");
    }
    let mut clickhouse = config;
    clickhouse.clickhouse.database = format!("squall_bench_{}", Timestamp::now().millis());
    clickhouse.clickhouse.migrate = true;
    let database = clickhouse.clickhouse.database.clone();
    one("ClickHouse", &args, clickhouse).await?;
    println(&format!("database {database} can be dropped"))
}

async fn one(name: &str, args: &StoreBench, mut config: Config) -> anyhow::Result<()> {
    let folder = TemporaryFolder::new("bench")?;
    config.run.data_dir = folder.path().to_owned();
    config.kafka.partitions = PARTITIONS;
    config.kafka.client.clear();
    let opening = config.clone();
    let broker = tokio::task::spawn_blocking(move || EmbeddedBroker::start(&opening)).await??;
    // As a broker of its own: its records are all written before they are read.
    config.kafka.brokers = broker.address().to_owned();
    // An empty fetch on this broker waits for the whole time.
    let wait = ("fetch.wait.max.ms".to_owned(), Secret::new("10"));
    config.kafka.client.extend([wait]);
    let connecting = config.clone();
    let connection = tokio::task::spawn_blocking(move || Connection::open(&connecting)).await??;
    let mut writer = Writer::new(&connection)?;

    writer.write(args.posts).await?;
    let begun = Instant::now();
    let (metrics, (rate, seconds)) = serving(config.clone(), store(), None, |started| async move {
        let rows = started.metrics.store_rows.with(["posts"]);
        // The first block is not counted: before it the consumer group forms.
        let mut first = None;
        while rows.get() < args.posts as u64 {
            if rows.get() > 0 && first.is_none() {
                first = Some((Instant::now(), rows.get()));
            }
            if begun.elapsed() > PATIENCE {
                bail!(
                    "{name}: only {} of {} posts were stored",
                    rows.get(),
                    args.posts
                );
            }
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
        let (since, before) = first.context("all in one block: give more --posts")?;
        let seconds = since.elapsed().as_secs_f64();
        Ok(((args.posts as u64 - before) as f64 / seconds, seconds))
    })
    .await?;
    let blocks = metrics.store_block_rows.get_sample_count();
    let mentions = writer.mentions as f64 / args.posts as f64;
    println(&format!(
        "{name}, catching up: {rate:.0} posts/s, {:.0} rows/s of posts and mentions ({:.0} posts an insert, all but the first in {seconds:.1} s)",
        rate * (1.0 + mentions),
        args.posts as f64 / blocks.max(1) as f64,
    ))?;

    let (rate, total) = (args.rate.max(1), args.rate.max(1) * args.seconds.max(1));
    let (metrics, before) = serving(config, store(), None, |started| async move {
        let rows = started.metrics.store_rows.with(["posts"]);
        // One that is not counted: when it is stored, the consumer group has formed.
        writer.write(1).await?;
        while rows.get() == 0 {
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
        let before = started.metrics.render();
        let mut tick = tokio::time::interval(Duration::from_millis(20));
        let begun = Instant::now();
        let mut written = 0;
        while written < total {
            tick.tick().await;
            let due = ((begun.elapsed().as_secs_f64() * rate as f64) as usize).min(total);
            writer.write(due - written).await?;
            written = due;
        }
        while rows.get() <= total as u64 && begun.elapsed() < PATIENCE {
            tokio::time::sleep(Duration::from_millis(50)).await;
        }
        Ok(before)
    })
    .await?;
    let buckets = buckets_since(&before, &metrics.render(), END_TO_END);
    let shown = [50, 90, 99, 100].map(|p| format!("p{p} ≤ {}", upper_bound(&buckets, p)));
    println(&format!(
        "{name}, scored to stored at {rate} posts/s: {} (n = {total})",
        shown.join(", ")
    ))
}

fn store() -> BTreeSet<Role> {
    BTreeSet::from([Role::Store])
}

/// Writes scored posts, as SCORE does, without scoring any.
struct Writer {
    producer: Producer,
    emitter: Emitter,
    epoch: Arc<str>,
    next: i64,
    /// Mentions written so far.
    mentions: usize,
}

impl Writer {
    fn new(connection: &Connection) -> anyhow::Result<Self> {
        Ok(Self {
            producer: Producer::new(connection)?,
            emitter: Emitter::new(connection),
            epoch: connection.epoch().clone(),
            next: 0,
            mentions: 0,
        })
    }

    /// Writes so many posts and waits for the broker.
    async fn write(&mut self, posts: usize) -> anyhow::Result<()> {
        for begin in (0..posts).step_by(WRITTEN_AT_ONCE) {
            let mut records: Vec<Outgoing> = Vec::new();
            for _ in begin..posts.min(begin + WRITTEN_AT_ONCE) {
                let post = self.post();
                self.mentions += post.mentions.len();
                // Only what STORE reads of it.
                records.extend(self.emitter.scored(&post).into_iter().take(1));
            }
            let written = send_all(&self.producer, records).await?;
            futures::future::try_join_all(written).await?;
        }
        Ok(())
    }

    fn post(&mut self) -> ScoredPost {
        let number = self.next;
        self.next += 1;
        let now = Timestamp::now();
        let share = (number % 97) as f32 / 97.0;
        let sentiment = Sentiment {
            negative: share,
            neutral: (1.0 - share) / 2.0,
            positive: (1.0 - share) / 2.0,
        };
        let mention = |ordinal: i64| Mention {
            ordinal: ordinal as u32,
            entity: format!("COMPANY-{}", (number * 7 + ordinal * 131) % 1000)
                .as_str()
                .into(),
            sentiment: Some(sentiment),
            relevance: 1.0 - share / 2.0,
        };
        ScoredPost {
            origin: Origin {
                source: SourcePartition {
                    epoch: self.epoch.clone(),
                    topic: "social".into(),
                    partition: (number % i64::from(PARTITIONS)) as i32,
                },
                offset: number / i64::from(PARTITIONS),
            },
            first_origin: None,
            id: format!("post-{number}"),
            source: "social".into(),
            channel: ["forum", "blog", "news"][number as usize % 3].into(),
            published_at: now,
            recorded_at: now,
            event_time: now,
            received_at: now,
            scored_at: now,
            title: format!(
                "Company {} publishes its report number {number}",
                number % 1000
            ),
            text: format!(
                "The numbers for quarter {} were {}. Analysts had expected {} million; the shares moved by {share:.3} percent.",
                number % 4,
                number * 7919 % 1_000_003,
                number * 104_729 % 9_973
            ),
            url: Some(format!("https://news.example/{number}")),
            lang: "en".into(),
            author: Some(Author {
                id: format!("author-{}", number * 31 % 5000),
                followers: Some(number as u64 % 10_000),
            }),
            engagement: Some(Engagement {
                impressions: Some(number as u64 % 1000),
                likes: Some(number as u64 % 50),
                shares: None,
                comments: None,
            }),
            tags: vec!["#report".into()],
            status: PostStatus::Live,
            replaces: None,
            backfill: false,
            signature: (number as u64).wrapping_mul(0x9e37_79b9_7f4a_7c15),
            model: "bench".into(),
            sentiment: Some(sentiment),
            campaigns: if number % 5 == 0 {
                vec!["spring".into()]
            } else {
                Vec::new()
            },
            mentions: (0..number % 4).map(mention).collect(),
        }
    }
}

fn println(line: &str) -> anyhow::Result<()> {
    Ok(writeln!(std::io::stdout().lock(), "{line}")?)
}
