//! `squall bench deliver`: how many alert messages NOTIFY delivers a second, to receivers that answer at once.
//!
//! The messages stand in a broker of this process before NOTIFY begins, as after an outage; its state is in topics of that
//! broker, as in production. A delivery counts when its outcome is written.

use super::super::files::TemporaryFolder;
use super::{receiver, serving};
use crate::app::Role;
use crate::broker::{Connection, EmbeddedBroker, Producer};
use crate::config::{Config, Secret};
use crate::domain::{AlertMessage, Timestamp};
use crate::notify::{Notice, sample};
use crate::pipeline::{Emitter, send_all};
use anyhow::{Context as _, bail, ensure};
use std::collections::BTreeSet;
use std::io::Write as _;
use std::net::IpAddr;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, OnceLock};
use std::time::{Duration, Instant};

/// Endpoints that want each message.
const ENDPOINTS: usize = 4;
/// How long it may take.
const PATIENCE: Duration = Duration::from_secs(600);

/// Measure delivering.
#[derive(Debug, clap::Args)]
pub(super) struct DeliverBench {
    /// Alert messages, each of an alert of its own and for 4 endpoints; the broker in this process holds about 5 MB of them
    #[arg(long, value_name = "N", default_value_t = 2000)]
    alerts: usize,
}

/// Measures and prints.
pub(super) async fn run(args: DeliverBench, mut config: Config) -> anyhow::Result<()> {
    let folder = TemporaryFolder::new("bench")?;
    config.run.data_dir = folder.path().to_owned();
    config.kafka.client.clear();
    let opening = config.clone();
    let broker = tokio::task::spawn_blocking(move || EmbeddedBroker::start(&opening)).await??;
    // As a broker of its own: it outlives NOTIFY, whose state is in its topics.
    config.kafka.brokers = broker.address().to_owned();
    // An empty fetch on this broker waits for the whole time.
    let wait = ("fetch.wait.max.ms".to_owned(), Secret::new("10"));
    config.kafka.client.extend([wait]);
    config.routes.clear();
    config.quiet_hours.clear();
    config.notify.group_from = 0;
    config.notify.allow = vec![IpAddr::from([127, 0, 0, 1]).into()];
    let (received, first) = (Arc::new(AtomicUsize::new(0)), Arc::new(OnceLock::new()));
    config.endpoints.clear();
    for number in 0..ENDPOINTS {
        let (received, first) = (received.clone(), first.clone());
        let count = move |_: &[u8]| {
            first.get_or_init(Instant::now);
            received.fetch_add(1, Ordering::Relaxed);
        };
        let endpoint = receiver(&format!("bench-{number}"), count).await?;
        config.endpoints.push(endpoint);
    }
    let connecting = config.clone();
    let connection = tokio::task::spawn_blocking(move || Connection::open(&connecting)).await??;
    write(&connection, args.alerts).await?;

    let total = args.alerts * ENDPOINTS;
    let names: Vec<String> = config
        .endpoints
        .iter()
        .map(|one| one.name.clone())
        .collect();
    let roles = BTreeSet::from([Role::Notify]);
    let (_, ended) = serving(config, roles, None, |started| async move {
        let delivered = || -> usize {
            let of = |name: &String| started.metrics.deliveries.with([name, "delivered"]).get();
            names.iter().map(of).sum::<u64>() as usize
        };
        let begun = Instant::now();
        while delivered() < total {
            if begun.elapsed() > PATIENCE {
                bail!("only {} of {total} deliveries were made", delivered());
            }
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
        Ok(Instant::now())
    })
    .await?;
    // Before the first has come the consumer group forms.
    let first = first
        .get()
        .context("nothing to deliver: give more --alerts")?;
    let seconds = (ended - *first).as_secs_f64();
    let received = received.load(Ordering::Relaxed);
    ensure!(received >= total, "{received} of {total} have arrived");
    let mut out = std::io::stdout().lock();
    writeln!(out, "{}", super::machine())?;
    writeln!(
        out,
        "delivered to {ENDPOINTS} receivers: {:.0} a second (n = {total}, from the first to the last {seconds:.2} s)",
        total as f64 / seconds
    )?;
    Ok(())
}

/// Writes messages, as DETECT does.
async fn write(connection: &Connection, alerts: usize) -> anyhow::Result<()> {
    let now = Timestamp::now();
    let Notice::Alert(sample) = sample(now) else {
        bail!("a sample is no alert");
    };
    let emitter = Emitter::new(connection);
    let alert = |number: usize| AlertMessage {
        id: format!("msg_{number}"),
        alert_id: format!("alert-{number}"),
        entity: format!("COMPANY-{number}").as_str().into(),
        received_at: Some(now),
        ..(*sample).clone()
    };
    let records = (0..alerts).map(|number| emitter.alert(&alert(number)));
    let producer = Producer::new(connection)?;
    let written = send_all(&producer, records.collect()).await?;
    futures::future::try_join_all(written).await?;
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test(flavor = "multi_thread")]
    async fn what_is_written_is_delivered_to_every_receiver() {
        let config = crate::config::load(None, std::iter::empty()).unwrap();
        run(DeliverBench { alerts: 25 }, config).await.unwrap();
    }
}
