//! `squall demo`.

use super::files::TemporaryFolder;
use super::signals;
use crate::app::{self, Role, Run, Started};
use crate::broker::{Outgoing, Producer};
use crate::config::{Config, EMBEDDED, TopicConfig};
use crate::connect::{Pace, demo};
use crate::domain::{AlertMessage, EntityId, Timestamp};
use crate::text::Dictionary;
use anyhow::Context as _;
use indicatif::{ProgressBar, ProgressStyle};
use std::collections::HashMap;
use std::io::Write as _;
use std::sync::Arc;
use std::time::{Duration, Instant};
use tokio::sync::oneshot;

/// Two hours in a minute.
const SPEED: f64 = 120.0;
/// At this speed one partition may be many minutes of stream time ahead of another: DETECT waits for it.
const MAX_HOLD: Duration = Duration::from_secs(3600);
/// How long `--once` may work on what is left when the stream has been sent.
const WORK_THROUGH: Duration = Duration::from_secs(280);
/// How long Ctrl-C waits for what is in flight: nothing of it is kept.
const LEAVE: Duration = Duration::from_secs(1);

/// Show everything on a replayed stream of two hours of market chatter about companies that do not exist:
/// calm, a rumour that becomes a crisis, a campaign that goes well. Nothing is kept.
#[derive(Debug, clap::Args)]
pub(super) struct Demo {
    /// End when the stream has been worked through
    #[arg(long)]
    once: bool,
}

/// Runs the demo until it is stopped, or with `--once` until the stream has been worked through.
pub(super) async fn run(args: Demo, mut config: Config) -> anyhow::Result<()> {
    let folder = TemporaryFolder::new("demo")?;
    config.run.data_dir = folder.path().to_owned();
    config.run.drain_deadline = if args.once { WORK_THROUGH } else { LEAVE };
    stage(&mut config);
    let dictionary =
        Dictionary::from_csv(demo::dictionary_csv().as_bytes(), "the demo's dictionary")
            .map_err(|errors| anyhow::anyhow!("{errors:?}"))?;
    let names = dictionary
        .entities()
        .iter()
        .map(|e| (e.id.clone(), e.name.clone()))
        .collect();

    let bar = bar();
    let asked = signals::shutdown()?;
    // Also cancelled when a role fails, which ends the feeding.
    let shutdown = asked.child_token();
    let (started, start) = oneshot::channel();
    let feeding = tokio::spawn({
        let (bar, asked, shutdown, once) =
            (bar.clone(), asked.clone(), shutdown.clone(), args.once);
        async move {
            let Ok(started) = start.await else {
                return Ok(());
            };
            let fed = shutdown.run_until_cancelled(feed(&started, &bar)).await;
            if once {
                asked.cancel();
            } else if fed.is_some() {
                say(&bar, "the stream has ended; the page stays until Ctrl-C");
            }
            fed.unwrap_or(Ok(()))
        }
    });
    let service = app::run(
        config,
        Run {
            roles: Role::all(),
            dictionary: Some(dictionary),
            on_alert: Arc::new(alert_printer(bar.clone(), names)),
            on_start: Box::new(move |service| {
                let _ = started.send(service);
            }),
            shutdown,
        },
    )
    .await;
    bar.finish_and_clear();
    if !args.once && asked.is_cancelled() {
        // Whoever leaves in the middle leaves the rest of the stream behind.
        return Ok(());
    }
    // A service that never started hangs up, and the feeding ends with it.
    service.and(feeding.await?)
}

/// Replaces what the user has configured by what the stream is about. Nothing leaves this machine: alerts about
/// companies that do not exist are no business of the user's endpoints.
fn stage(config: &mut Config) {
    config.kafka.brokers = EMBEDDED.into();
    config.kafka.client.clear();
    config.kafka.partitions = 2;
    config.clickhouse.url.clear();
    config.topics = ["news", "social"]
        .map(|name| TopicConfig {
            name: name.into(),
            source: name.into(),
        })
        .into();
    config.lists = demo::lists();
    config.campaigns = demo::campaigns();
    config.endpoints.clear();
    config.detect.max_hold = MAX_HOLD;
}

/// Sends the stream at [`SPEED`].
async fn feed(started: &Started, bar: &ProgressBar) -> anyhow::Result<()> {
    if let Some(address) = started.address {
        say(bar, &format!("page: http://{address}"));
    }
    let posts = demo::stream(Timestamp::now());
    bar.set_length(posts.len() as u64);
    let producer = Producer::new(&started.connection)?;
    let mut pace = Pace::speed(SPEED).map_err(anyhow::Error::msg)?;
    let begun = Instant::now();
    let mut last = None;
    for post in posts {
        tokio::time::sleep(pace.wait(Some(post.at), begun.elapsed())).await;
        let record = Outgoing {
            topic: post.topic.into(),
            partition: None,
            key: Vec::new(),
            payload: post.payload,
            headers: Vec::new(),
            timestamp: Some(post.at),
        };
        let acknowledged = producer.send(record).await?;
        last = Some(tokio::spawn(acknowledged));
        bar.inc(1);
    }
    if let Some(last) = last {
        last.await?.context("the embedded broker has failed")?;
    }
    Ok(())
}

/// Prints each alert message as one line.
fn alert_printer(
    bar: ProgressBar,
    names: HashMap<EntityId, String>,
) -> impl Fn(&AlertMessage) + Send + Sync {
    move |alert| {
        let time = alert.at.to_string();
        let name = names
            .get(&alert.entity)
            .map_or(alert.entity.as_str(), String::as_str);
        let observed = &alert.observed;
        say(
            &bar,
            &format!(
                "{}  {:<9} {:<8}  {name} ({}): {} negative stories of {} sources, {:.1} expected, p = {:.0e}",
                time.get(11..19).unwrap_or(&time),
                alert.kind.name(),
                alert.severity.name(),
                alert.entity,
                observed.negative,
                observed.sources,
                alert.expected.negative,
                alert.p_value,
            ),
        );
    }
}

/// Writes a line to standard output, above the bar. A reader that has gone is no error.
fn say(bar: &ProgressBar, line: &str) {
    bar.suspend(|| {
        let _ = writeln!(std::io::stdout(), "{line}");
    });
}

fn bar() -> ProgressBar {
    let bar = ProgressBar::new(1);
    match ProgressStyle::with_template("{bar:40} {pos}/{len} posts {eta}") {
        Ok(style) => bar.with_style(style),
        Err(_) => bar,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::{EndpointConfig, load};

    #[test]
    fn the_demo_sends_nothing_to_the_users_endpoints_and_brokers() {
        let mut config = load(None, std::iter::empty()).unwrap();
        config.kafka.brokers = "host:9092".into();
        let desk = EndpointConfig::new("desk", "https://example.com", Vec::new());
        config.endpoints.push(desk);
        stage(&mut config);
        assert!(config.endpoints.is_empty());
        assert_eq!(config.kafka.brokers, EMBEDDED);
    }
}
