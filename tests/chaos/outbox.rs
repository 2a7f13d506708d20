//! The outbox under kills: many deliveries pending, two endpoints down, one slow, one healthy, and the process is killed in
//! the middle, three times. Afterwards none is lost; an endpoint that takes what it is sent got none twice but for what was
//! in flight; attempts and due times go on.
//!
//! ```text
//! cargo test --test chaos -- --outbox N [--seed S]
//! ```

use crate::broker::Broker;
use crate::process::Process;
use crate::setup;
use anyhow::{Context as _, ensure};
use axum::Router;
use axum::extract::{Path as Segment, State};
use axum::http::{HeaderMap, StatusCode};
use axum::routing::post;
use rand::rngs::StdRng;
use rand::{RngExt as _, SeedableRng as _};
use squall::broker::{Connection, Producer};
use squall::config;
use squall::domain::{AlertKind, AlertMessage, Severity, Timestamp};
use squall::notify::{Notice, sample};
use squall::pipeline::Emitter;
use std::collections::HashMap;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};
use tokio::task::JoinSet;

/// Takes everything; answers late; is down at first, in two ways.
const ENDPOINTS: [&str; 4] = ["healthy", "slow", "refusing", "failing"];
/// `notify.in_flight`, shared by the four.
const PLACES: usize = 64;
/// The wait between attempts; each is up to a tenth shorter or longer.
const WAIT: Duration = Duration::from_secs(3);
const SLOW: Duration = Duration::from_millis(50);
const PATIENCE: Duration = Duration::from_secs(180);
const KILLS: usize = 3;

/// What came to an endpoint under one id: when, and whether it was taken.
type Came = HashMap<(String, String), Vec<(Instant, bool)>>;

#[derive(Clone, Default)]
struct Receivers {
    came: Arc<Mutex<Came>>,
    /// The healthy and the slow one take what they get.
    open: Arc<AtomicBool>,
    /// The others do too.
    well: Arc<AtomicBool>,
}

impl Receivers {
    async fn take(
        State(receivers): State<Self>,
        Segment(endpoint): Segment<String>,
        headers: HeaderMap,
    ) -> StatusCode {
        let switch = match endpoint.as_str() {
            "healthy" | "slow" => &receivers.open,
            _ => &receivers.well,
        };
        if endpoint == "slow" {
            tokio::time::sleep(SLOW).await;
        }
        let taken = switch.load(Ordering::SeqCst);
        let id = headers.get("webhook-id").and_then(|id| id.to_str().ok());
        let key = (endpoint, id.unwrap_or_default().to_owned());
        let mut came = receivers.came.lock().expect("nobody panics with it");
        came.entry(key).or_default().push((Instant::now(), taken));
        match taken {
            true => StatusCode::NO_CONTENT,
            false => StatusCode::SERVICE_UNAVAILABLE,
        }
    }

    /// Messages that an endpoint has taken.
    fn taken(&self, endpoint: &str) -> usize {
        let came = self.came.lock().expect("nobody panics with it");
        let of = came.iter().filter(|((name, _), _)| name == endpoint);
        of.filter(|(_, times)| times.iter().any(|(_, taken)| *taken))
            .count()
    }
}

/// Makes one run of so many deliveries.
pub async fn run(
    folder: &Path,
    program: &Path,
    model: &Path,
    deliveries: usize,
    seed: u64,
) -> anyhow::Result<()> {
    let alerts = deliveries.div_ceil(ENDPOINTS.len());
    let receivers = Receivers::default();
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await?;
    let address = listener.local_addr()?;
    let app = Router::new()
        .route("/{endpoint}", post(Receivers::take))
        .with_state(receivers.clone());
    tokio::spawn(async move { axum::serve(listener, app).await });
    let broker = Broker::start()?;
    let setup = Setup::write(
        folder,
        program,
        model,
        &broker.address,
        &format!("http://{address}"),
    )?;
    let mut random = StdRng::seed_from_u64(seed);

    let mut process = setup.start().await?;
    write_alerts(&setup.config, alerts).await?;
    let pending = setup
        .wait("everything is pending", || {
            setup.pending() == alerts * ENDPOINTS.len()
        })
        .await?;
    println!("outbox: {deliveries} deliveries pending after {pending:.1?}");
    let mut killed_at = Vec::new();
    for kill in 0..KILLS {
        receivers.open.store(true, Ordering::SeqCst);
        let before = receivers.taken("healthy");
        let more = random.random_range(alerts / 20..=alerts / (2 * KILLS));
        setup
            .wait("some have arrived", || {
                receivers.taken("healthy") >= (before + more).min(alerts)
            })
            .await?;
        killed_at.push((Instant::now(), Timestamp::now()));
        process.kill();
        println!(
            "outbox: kill {}: the healthy endpoint had {}",
            kill + 1,
            receivers.taken("healthy")
        );
        process = setup.start().await?;
    }
    receivers.well.store(true, Ordering::SeqCst);
    let took = setup
        .wait("all have arrived", || {
            ENDPOINTS.iter().all(|name| receivers.taken(name) == alerts)
        })
        .await?;
    println!("outbox: all arrived {took:.1?} after the last kill");
    let delivered = "select count(*) from deliveries where outcome = 'delivered'";
    setup
        .wait("all outcomes are stored", || {
            setup.count(delivered) >= alerts * ENDPOINTS.len()
        })
        .await?;
    ensure!(process.ended().is_none(), "it has ended by itself");
    process.signal("-TERM");
    let status = process.ended_by(Instant::now() + PATIENCE).await;
    let status = status.context("it does not end")?;
    ensure!(status.success(), "{status}: see {}", setup.log.display());
    check(&setup, &receivers, alerts, &killed_at)
}

fn check(
    setup: &Setup,
    receivers: &Receivers,
    alerts: usize,
    killed_at: &[(Instant, Timestamp)],
) -> anyhow::Result<()> {
    let came = receivers.came.lock().expect("nobody panics with it");
    let in_flight = PLACES / ENDPOINTS.len() * KILLS;
    for endpoint in ENDPOINTS {
        let of = || {
            came.iter()
                .filter(|((name, _), _)| name == endpoint)
                .map(|(_, times)| times)
        };
        let twice: usize = of()
            .map(|times| times.iter().filter(|(_, taken)| *taken).count() - 1)
            .sum();
        println!("outbox: {endpoint}: {alerts} messages, {twice} of them once more");
        ensure!(
            of().count() == alerts,
            "{endpoint}: a message is lost, or was never sent"
        );
        ensure!(
            twice <= in_flight,
            "{endpoint}: {twice} came twice, {in_flight} could have been in flight"
        );
        // Two attempts of one message come no sooner than the wait, but for those that a kill has cut off.
        let shortest = WAIT.mul_f64(0.85);
        let early = of()
            .flat_map(|times| times.windows(2))
            .filter(|pair| pair[1].0 - pair[0].0 < shortest)
            .filter(|pair| {
                !killed_at
                    .iter()
                    .any(|(at, _)| pair[0].0 <= *at && *at <= pair[1].0)
            })
            .count();
        ensure!(
            early == 0,
            "{endpoint}: {early} attempts were made before they were due"
        );
        let cut_off = of()
            .flat_map(|times| times.windows(2))
            .filter(|pair| pair[1].0 - pair[0].0 < shortest)
            .count();
        ensure!(
            cut_off <= in_flight,
            "{endpoint}: {cut_off} due times are forgotten"
        );
    }
    // What had failed before the first kill is remembered, but for what was in flight then.
    let attempted = came
        .iter()
        .filter(|((name, _), _)| name == "refusing" || name == "failing")
        .filter(|(_, times)| times[0].0 < killed_at[0].0)
        .count();
    let first = killed_at[0].1.millis();
    let remembered = format!(
        "select count(*) from deliveries where endpoint in ('refusing', 'failing') and first_attempt_at < {first} and attempts > 1"
    );
    let remembered = setup.count(&remembered);
    println!(
        "outbox: {remembered} of {attempted} attempts that failed before the first kill are remembered"
    );
    ensure!(
        attempted > 0 && remembered + 2 * PLACES / ENDPOINTS.len() >= attempted,
        "attempts of {} deliveries are forgotten",
        attempted - remembered
    );
    let doubled = "select count(*) from (select 1 from deliveries group by message_id, endpoint having count(*) > 1)";
    let doubled = setup.count(doubled);
    ensure!(
        doubled <= in_flight * ENDPOINTS.len(),
        "{doubled} deliveries ended twice"
    );
    Ok(())
}

/// A configuration, and the processes that read it.
struct Setup {
    config: PathBuf,
    data: PathBuf,
    program: PathBuf,
    log: PathBuf,
    api: Mutex<String>,
}

impl Setup {
    fn write(
        folder: &Path,
        program: &Path,
        model: &Path,
        broker: &str,
        receivers: &str,
    ) -> anyhow::Result<Self> {
        std::fs::create_dir_all(folder)?;
        let data = folder.join("data");
        let wait = WAIT.as_secs();
        let endpoints = ENDPOINTS.map(|name| setup::endpoint(name, &format!("{receivers}/{name}")));
        let text = format!(
            r#"
[run]
data_dir = {data:?}
drain_deadline = "10s"
{}
[model]
source = {model:?}
[api]
listen = "127.0.0.1:0"
[notify]
attempts = 1000
retry_waits = ["{wait}s"]
in_flight = {PLACES}
group_from = 0
allow = ["127.0.0.1"]
{}"#,
            setup::kafka(broker),
            endpoints.concat()
        );
        let config = folder.join("squall.toml");
        std::fs::write(&config, text)?;
        Ok(Self {
            config,
            data,
            program: program.to_owned(),
            log: folder.join("squall.log"),
            api: Mutex::default(),
        })
    }

    /// Starts a process and waits until its API answers.
    async fn start(&self) -> anyhow::Result<Process> {
        let begins = std::fs::metadata(&self.log).map_or(0, |log| log.len());
        let process = Process::run(&self.program, &self.config, &self.log, &[])?;
        self.wait("it has started", || {
            let log = std::fs::read(&self.log).unwrap_or_default();
            let log = String::from_utf8_lossy(log.get(begins as usize..).unwrap_or_default())
                .into_owned();
            let address = log
                .split_once("page and API at http://")
                .and_then(|(_, rest)| rest.split_once('\n'));
            if let Some((address, _)) = address {
                *self.api.lock().expect("nobody panics with it") = address.trim().to_owned();
            }
            address.is_some()
        })
        .await?;
        Ok(process)
    }

    async fn wait(&self, what: &str, holds: impl Fn() -> bool) -> anyhow::Result<Duration> {
        let begun = Instant::now();
        while !holds() {
            ensure!(
                begun.elapsed() < PATIENCE,
                "waited in vain: {what}; see {}",
                self.log.display()
            );
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
        Ok(begun.elapsed())
    }

    /// Deliveries pending, as the metrics tell.
    fn pending(&self) -> usize {
        use std::io::{Read as _, Write as _};
        let address = self.api.lock().expect("nobody panics with it").clone();
        let ask = || -> std::io::Result<String> {
            let mut stream = std::net::TcpStream::connect(&address)?;
            stream.set_read_timeout(Some(Duration::from_secs(5)))?;
            write!(
                stream,
                "GET /metrics HTTP/1.1\r\nHost: {address}\r\nConnection: close\r\n\r\n"
            )?;
            let mut answer = String::new();
            stream.read_to_string(&mut answer)?;
            Ok(answer)
        };
        let answer = ask().unwrap_or_default();
        let lines = answer
            .lines()
            .filter(|line| line.starts_with("squall_deliveries_pending{"));
        lines
            .filter_map(|line| line.rsplit(' ').next()?.parse::<usize>().ok())
            .sum()
    }

    fn count(&self, query: &str) -> usize {
        let path = self.data.join("squall.db");
        let flags = rusqlite::OpenFlags::SQLITE_OPEN_READ_ONLY;
        let counted = rusqlite::Connection::open_with_flags(path, flags)
            .and_then(|database| database.query_row(query, [], |row| row.get::<_, i64>(0)));
        counted.map_or(0, |count| count as usize)
    }
}

/// Writes alerts as DETECT does.
async fn write_alerts(config: &Path, count: usize) -> anyhow::Result<()> {
    let config = config::load(Some(config), std::iter::empty())?;
    let connection = tokio::task::spawn_blocking(move || Connection::open(&config)).await??;
    let emitter = Emitter::new(&connection);
    let producer = Producer::new(&connection)?;
    let mut writing = JoinSet::new();
    for number in 0..count {
        writing.spawn(producer.send(emitter.alert(&alert(number))).await?);
    }
    while let Some(written) = writing.join_next().await {
        written??;
    }
    Ok(())
}

fn alert(number: usize) -> AlertMessage {
    let now = Timestamp::now();
    let Notice::Alert(sample) = sample(now) else {
        unreachable!("a sample is an alert");
    };
    AlertMessage {
        id: format!("msg_{number}"),
        alert_id: format!("alert-{number}"),
        kind: AlertKind::Opened,
        received_at: Some(now),
        entity: "ZQNONE".into(),
        severity: Severity::Critical,
        ..*sample
    }
}
