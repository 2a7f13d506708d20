//! The only place that builds adapters and joins them to roles.
//!
//! [`run`] is the service: it checks everything that can be checked before anything is read, starts the
//! roles asked for, and drains them in the order of the data when it is told to end.

mod api;
mod roles;
mod running;
mod states;

pub use api::send_sample;
pub use roles::Role;
use running::Running;
use states::States;

use crate::broker::{BrokerError, Connection, EmbeddedBroker, Producer, Stop};
use crate::cli::UsageError;
use crate::config::{Config, DetectConfig, EMBEDDED};
use crate::detect::Calendar;
use crate::domain::AlertMessage;
use crate::model::Model;
use crate::notify::{Notifier, Routing};
use crate::pipeline::notify::{Board, Questions, board};
use crate::pipeline::{Emitter, Encoder, Reader};
use crate::store::Store;
use crate::store::clickhouse::ClickHouseStore;
use crate::store::sqlite::SqliteStore;
use crate::telemetry::{Health, Metrics};
use crate::text::{Dictionary, Matcher};
use anyhow::Context as _;
use std::collections::BTreeSet;
use std::net::SocketAddr;
use std::sync::{Arc, Mutex};
use std::time::Duration;
use tokio::net::TcpListener;
use tokio::task::JoinHandle;
use tokio_util::sync::CancellationToken;

/// Work that may wait before the encoder; each is one post.
const ENCODER_QUEUE: usize = 1024;
/// How long the broker may take for what comes through the API; whoever sent it is told.
const INTAKE_TIMEOUT: Duration = Duration::from_secs(20);
/// How long open HTTP connections may take to end.
const CLOSE_CONNECTIONS: Duration = Duration::from_secs(2);

/// Called with each alert message DETECT decides.
pub type OnAlert = Arc<dyn Fn(&AlertMessage) + Send + Sync>;

/// What a run of the service is made of besides its configuration.
pub struct Run {
    /// Roles this process takes.
    pub roles: BTreeSet<Role>,
    /// Replaces the configured dictionary: the demo brings its own.
    pub dictionary: Option<Dictionary>,
    /// Called with each alert message DETECT decides.
    pub on_alert: OnAlert,
    /// Called once when all roles have started.
    pub on_start: Box<dyn FnOnce(Started) + Send>,
    /// Ends the service: it drains and returns.
    pub shutdown: CancellationToken,
}

/// A service that has started.
#[derive(Debug, Clone)]
pub struct Started {
    /// Where the page and the API listen, if this process has them.
    pub address: Option<SocketAddr>,
    /// How to reach the broker.
    pub connection: Connection,
    /// Its metrics.
    pub metrics: Metrics,
}

/// Everything the roles share.
struct Parts {
    config: Config,
    connection: Connection,
    producer: Producer,
    /// For what comes through the API.
    intake: Producer,
    emitter: Emitter,
    metrics: Metrics,
    health: Health,
    matcher: Arc<Matcher>,
    calendar: Arc<Calendar>,
    store: Option<Arc<dyn Store>>,
    states: States,
    scoring: Option<(Arc<Reader>, Encoder)>,
    notifier: Notifier,
    routing: Routing,
    /// To ask NOTIFY, where it runs here.
    board: Option<Board>,
    /// What NOTIFY is asked: taken when it starts.
    questions: Mutex<Option<Questions>>,
    link_base: String,
}

/// Opens the dictionary the configuration names.
///
/// # Errors
/// All that is wrong with the file.
pub fn dictionary(config: &Config) -> anyhow::Result<Dictionary> {
    let path = &config.entities.dictionary;
    if path == "bundled" {
        return Ok(Dictionary::bundled());
    }
    let file = std::fs::File::open(path)
        .with_context(|| format!("entities.dictionary: cannot open {path}: check the path"))?;
    Dictionary::from_csv(file, path).map_err(|errors| all("entities.dictionary", &errors))
}

/// The calendar that the configuration names, with its exchange first.
///
/// # Errors
/// A file that cannot be read, and an exchange that it has not.
pub fn calendar(config: &DetectConfig) -> anyhow::Result<Calendar> {
    let path = &config.calendar;
    let mut calendar = match path.as_str() {
        "bundled" => Calendar::bundled(),
        path => {
            let text = std::fs::read_to_string(path).with_context(|| {
                format!("detect.calendar: cannot read {path}: check the path, or write \"bundled\"")
            })?;
            Calendar::parse(&text)
                .map_err(|problem| anyhow::anyhow!("detect.calendar: {path}: {problem}"))?
        }
    };
    anyhow::ensure!(
        calendar.prefer(&config.exchange),
        "detect.exchange: '{}' is not in the calendar {path}: write one that is",
        config.exchange
    );
    Ok(calendar)
}

/// Everything that is wrong with one thing, a line each.
fn all(what: &str, errors: &[impl std::fmt::Display]) -> anyhow::Error {
    let lines: String = errors.iter().map(|error| format!("\n  {error}")).collect();
    anyhow::anyhow!("{what}:{lines}")
}

/// Checks the endpoints and makes what sends to them.
///
/// # Errors
/// All that is wrong with the endpoints.
pub fn notifier(config: &Config) -> anyhow::Result<Notifier> {
    Notifier::new(&config.notify, &config.endpoints).map_err(|errors| all("endpoints", &errors))
}

/// Opens the store of the configuration: ClickHouse where `clickhouse.url` names a server, which is not reached yet.
///
/// # Errors
/// When it cannot be opened, with its place and the remedy.
pub fn open_store(config: &Config) -> anyhow::Result<Arc<dyn Store>> {
    if !config.clickhouse.url.is_empty() {
        return Ok(Arc::new(ClickHouseStore::new(&config.clickhouse)?));
    }
    Ok(Arc::new(SqliteStore::open(
        &config.run.data_dir.join(&config.store.path),
    )?))
}

/// Makes the reader of posts: matcher, campaigns, tokenizer.
///
/// # Errors
/// A list that names an entity the dictionary does not have.
pub fn reader(config: &Config, matcher: Arc<Matcher>, model: &Model) -> Reader {
    Reader::new(matcher, &config.campaigns, model, &config.score.languages)
}

/// Makes the matcher of entities from a dictionary and the configured lists.
///
/// # Errors
/// A list that names an entity the dictionary does not have.
pub fn matcher(config: &Config, dictionary: &Dictionary) -> anyhow::Result<Arc<Matcher>> {
    let matcher =
        Matcher::new(dictionary, &config.lists).map_err(|errors| all("lists", &errors))?;
    Ok(Arc::new(matcher))
}

/// Runs the service until `shutdown`, a signal's work, or a role that cannot go on.
///
/// # Errors
/// What kept it from starting, or the role that failed.
pub async fn run(config: Config, run: Run) -> anyhow::Result<()> {
    let Run {
        roles,
        dictionary: own_dictionary,
        on_alert,
        on_start,
        shutdown,
    } = run;
    let embedded = config.kafka.brokers == EMBEDDED;
    if embedded && roles != Role::all() {
        return Err(UsageError(
            "--roles: the embedded broker lives in one process and needs all roles: leave --roles out, or set kafka.brokers"
                .into(),
        )
        .into());
    }
    let dictionary = match own_dictionary {
        Some(dictionary) => dictionary,
        None => dictionary(&config)?,
    };
    let matcher = matcher(&config, &dictionary)?;
    let notifier = notifier(&config)?;
    let routing = Routing::new(&config).map_err(|errors| all("routes", &errors))?;
    let listener = match roles.contains(&Role::Api) {
        true => Some(listen(config.api.listen).await?),
        false => None,
    };
    let metrics = Metrics::new();
    let scoring = match roles.contains(&Role::Score) || roles.contains(&Role::Api) {
        true => Some(start_encoder(&config, &matcher, &metrics).await?),
        false => None,
    };
    let store: Option<Arc<dyn Store>> =
        match roles.contains(&Role::Store) || roles.contains(&Role::Api) {
            true => Some(open_store(&config)?),
            false => None,
        };
    let states = States::open(&config)?;
    let (broker, connection) = connect(&config).await?;
    let address = listener.as_ref().map(TcpListener::local_addr).transpose()?;
    let producer = Producer::new(&connection)?;
    let calendar = Arc::new(calendar(&config.detect)?);
    let (board, questions) = board();
    let parts = Arc::new(Parts {
        producer,
        intake: Producer::with_timeout(&connection, INTAKE_TIMEOUT)?,
        emitter: Emitter::new(&connection),
        link_base: link_base(&config, address),
        connection,
        metrics,
        health: Health::default(),
        calendar,
        matcher,
        store,
        states,
        scoring,
        notifier,
        routing,
        board: roles.contains(&Role::Notify).then_some(board),
        questions: Mutex::new(Some(questions)),
        config,
    });

    let give_up = CancellationToken::new();
    let mut running = Running::default();
    for role in [Role::Score, Role::Detect, Role::Notify, Role::Store] {
        if roles.contains(&role) {
            roles::start(role, &parts, &on_alert, &give_up, &mut running)?;
        }
    }
    let closing = CancellationToken::new();
    let mut serving = listener.map(|listener| {
        tokio::spawn(api::serve(
            listener,
            parts.clone(),
            running.joining.clone(),
            closing.clone(),
            shutdown.clone(),
        ))
    });
    on_start(Started {
        address,
        connection: parts.connection.clone(),
        metrics: parts.metrics.clone(),
    });

    let failed = tokio::select! {
        () = shutdown.cancelled() => None,
        failure = running.failure() => Some(failure),
        failure = ended_early(&mut serving) => Some(failure),
    };
    // Also after a failure: what else looks at this token stops taking things in.
    shutdown.cancel();
    let stop = if embedded { Stop::AtEnd } else { Stop::Now };
    let drained = running
        .drain(stop, parts.config.run.drain_deadline, &give_up)
        .await;
    closing.cancel();
    if let Some(serving) = serving {
        let _ = tokio::time::timeout(CLOSE_CONNECTIONS, serving).await;
    }
    // The clients go before the broker they talk to.
    drop(parts);
    drop(broker);
    match failed {
        Some(failure) => Err(failure),
        None => drained,
    }
}

/// Waits until the page's server ends by itself, which it should not.
async fn ended_early(serving: &mut Option<JoinHandle<std::io::Result<()>>>) -> anyhow::Error {
    let Some(task) = serving else {
        return std::future::pending().await;
    };
    let ended = task.await;
    *serving = None;
    match ended {
        Ok(Err(error)) => anyhow::Error::new(error).context("role api cannot go on"),
        Ok(Ok(())) => anyhow::anyhow!("role api has ended unasked"),
        Err(error) => anyhow::anyhow!("role api has failed: {error}"),
    }
}

/// Takes the address before anything else is begun, so that a port in use is found at once.
async fn listen(address: SocketAddr) -> anyhow::Result<TcpListener> {
    TcpListener::bind(address).await.with_context(|| {
        format!("api.listen: cannot listen on {address}: end what uses it, or set another port")
    })
}

async fn start_encoder(
    config: &Config,
    matcher: &Arc<Matcher>,
    metrics: &Metrics,
) -> anyhow::Result<(Arc<Reader>, Encoder)> {
    let opening = config.model.clone();
    let model = tokio::task::spawn_blocking(move || Model::open(&opening)).await??;
    let reader = Arc::new(reader(config, matcher.clone(), &model));
    let encoder = Encoder::start(model, &config.score, ENCODER_QUEUE, metrics.clone())?;
    Ok((reader, encoder))
}

/// Starts the embedded broker, or reaches the configured one and creates what is missing there.
async fn connect(config: &Config) -> anyhow::Result<(Option<EmbeddedBroker>, Connection)> {
    let opening = config.clone();
    let (broker, mut connection) = tokio::task::spawn_blocking(move || {
        if opening.kafka.brokers != EMBEDDED {
            return Ok((None, Connection::open(&opening)?));
        }
        let broker = EmbeddedBroker::start(&opening)?;
        let connection = Connection::to_embedded(&broker, &opening)?;
        Ok::<_, BrokerError>((Some(broker), connection))
    })
    .await??;
    connection.create_topics(config).await?;
    Ok((broker, connection))
}

fn link_base(config: &Config, address: Option<SocketAddr>) -> String {
    match config.api.public_url.trim_end_matches('/') {
        "" => format!("http://{}", address.unwrap_or(config.api.listen)),
        url => url.to_owned(),
    }
}
