//! The proof that nothing is lost and nothing doubled, whatever dies when: real processes, a broker in a process of
//! its own, ClickHouse's engine behind HTTP, webhooks; a seeded driver that kills, pauses, adds and removes processes and
//! lets inserts go wrong; and a check of everything afterwards.
//!
//! ```text
//! cargo test --test chaos -- [--runs N] [--seed S] [--parallel P]
//! cargo test --test chaos -- --outbox DELIVERIES [--runs N] [--seed S]
//! ```
//! Without `--runs` it is a test: twenty runs, and three of a build with a promise switched off, in which the check must
//! find the damage.

mod broker;
mod check;
mod database;
mod driver;
mod kafka;
mod model;
mod options;
mod outbox;
mod plan;
mod posts;
mod process;
mod proxy;
mod receiver;
mod report;
mod scenarios;
mod setup;
mod stage;

use database::Server;
use options::Options;
use report::{Outcome, Totals};
use scenarios::Scenario;
use stage::Place;
use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Instant;

fn main() -> ExitCode {
    if std::env::args().nth(1).as_deref() == Some(broker::HOST) {
        return ended(broker::host().map_err(|error| anyhow::anyhow!("{error}")));
    }
    let options = match Options::read(std::env::args().skip(1)) {
        Ok(Some(options)) => options,
        Ok(None) => return ExitCode::SUCCESS,
        Err(problem) => return ended(Err(anyhow::anyhow!("{problem}"))),
    };
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .worker_threads(2)
        .enable_all()
        .build();
    match runtime
        .map_err(anyhow::Error::new)
        .and_then(|runtime| runtime.block_on(all(options)))
    {
        Ok(true) => ExitCode::SUCCESS,
        Ok(false) => ExitCode::FAILURE,
        Err(error) => ended(Err(error)),
    }
}

fn ended(result: anyhow::Result<()>) -> ExitCode {
    match result {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("chaos: {error:#}");
            ExitCode::FAILURE
        }
    }
}

/// How often a run is made before the broker's end counts as a failure.
const ATTEMPTS: usize = 3;

/// Deliveries in the outbox that the test kills.
const OUTBOX_OF_TEST: usize = 400;

/// One thing to be done.
#[derive(Debug, Clone, Copy)]
enum Job {
    /// A run with this seed.
    Run(u64),
    /// A build with a promise switched off.
    Broken(Scenario),
}

/// What all workers share.
struct Shared {
    folder: PathBuf,
    program: PathBuf,
    model: PathBuf,
    jobs: Vec<Job>,
    next: AtomicUsize,
    totals: Mutex<Totals>,
    /// Damages that the check has not found.
    missed: Mutex<Vec<Scenario>>,
}

/// Does all that the options ask for. False when something failed.
async fn all(options: Options) -> anyhow::Result<bool> {
    let begun = Instant::now();
    let folder = std::env::temp_dir().join(format!("squall-chaos-{}", std::process::id()));
    std::fs::create_dir_all(&folder)?;
    let model = folder.join("model");
    model::write(&model).map_err(|error| anyhow::anyhow!("the model: {error}"))?;
    if let Some(deliveries) = options.outbox {
        let program = setup::copy_program(&folder)?;
        for seed in (0..options.runs.max(1)).map(|n| options.seed + n) {
            let place = folder.join(format!("outbox-{seed}"));
            outbox::run(&place, &program, &model, deliveries, seed).await?;
            println!("outbox: seed {seed}: well");
            std::fs::remove_dir_all(&place)?;
        }
        std::fs::remove_dir_all(&folder)?;
        return Ok(true);
    }
    let broken = Scenario::ALL
        .iter()
        .copied()
        .filter(|scenario| options.wants(*scenario));
    let runs = (0..options.runs).map(|n| Job::Run(options.seed + n));
    let shared = Arc::new(Shared {
        program: setup::copy_program(&folder)?,
        folder,
        model,
        jobs: broken.map(Job::Broken).chain(runs).collect(),
        next: AtomicUsize::new(0),
        totals: Mutex::default(),
        missed: Mutex::default(),
    });
    let mut workers = Vec::new();
    for worker in 0..options.parallel.min(shared.jobs.len()) {
        let Some(server) = Server::start(&shared.folder.join(format!("clickhouse-{worker}")))?
        else {
            let _ = std::fs::remove_dir_all(&shared.folder);
            return Ok(true);
        };
        workers.push(tokio::spawn(work(shared.clone(), server)));
    }
    for worker in workers {
        worker.await??;
    }
    let totals = std::mem::take(&mut *shared.totals.lock().expect("no worker has panicked"));
    let missed = std::mem::take(&mut *shared.missed.lock().expect("no worker has panicked"));
    totals.print(begun.elapsed());
    for outcome in &totals.failed {
        let seed = outcome.seed;
        println!(
            "{outcome}\n    its logs are in {}; again: make chaos RUNS=1 SEED={seed}",
            shared.folder.join(format!("seed-{seed}")).display()
        );
    }
    for scenario in &missed {
        println!("broken={} was not noticed", scenario.promise());
    }
    if options.is_test() {
        let place = shared.folder.join("outbox");
        let (program, model) = (&shared.program, &shared.model);
        outbox::run(&place, program, model, OUTBOX_OF_TEST, options.seed).await?;
    }
    let well = totals.failed.is_empty() && missed.is_empty();
    if well {
        std::fs::remove_dir_all(&shared.folder)?;
    }
    Ok(well)
}

/// Takes one job after the other.
async fn work(shared: Arc<Shared>, server: Server) -> anyhow::Result<()> {
    while let Some(job) = shared.jobs.get(shared.next.fetch_add(1, Ordering::Relaxed)) {
        let mut attempts = 1;
        while !perform(&shared, &server, *job, attempts == ATTEMPTS).await? {
            attempts += 1;
        }
    }
    Ok(())
}

/// Does one job. False when it says nothing, because the broker has ended by itself; the `last` attempt counts all the same.
async fn perform(shared: &Shared, server: &Server, job: Job, last: bool) -> anyhow::Result<bool> {
    let name = match job {
        Job::Run(seed) => format!("seed-{seed}"),
        Job::Broken(scenario) => format!("broken-{}", scenario.promise()),
    };
    let folder = shared.folder.join(&name);
    let database = server.database(&format!(
        "chaos_{}_{}",
        std::process::id(),
        name.replace('-', "_")
    ))?;
    let place = Place {
        folder: &folder,
        program: &shared.program,
        model: &shared.model,
        database: &database,
    };
    let mut judged = true;
    let keep = match job {
        Job::Run(seed) => {
            let outcome = driver::run(&place, seed).await;
            judged = last || !outcome.broker_ended;
            let keep = judged && !outcome.is_ok();
            if judged {
                finish(shared, &folder, outcome)?;
            } else {
                println!("seed {seed}: librdkafka's mock broker has failed: the run is made again");
                shared.totals.lock().expect("no worker has panicked").again += 1;
            }
            keep
        }
        Job::Broken(scenario) => {
            let outcome = scenarios::run(&place, scenario).await;
            println!("broken={}: {outcome}", scenario.promise());
            let noticed = outcome.doubled > 0;
            if !noticed {
                let mut missed = shared.missed.lock().expect("no worker has panicked");
                missed.push(scenario);
            }
            !noticed
        }
    };
    database.drop().await?;
    if !keep {
        std::fs::remove_dir_all(&folder)?;
    }
    Ok(judged)
}

/// Tells what came of a run and counts it; what is to be read after a failure is kept with its logs.
fn finish(shared: &Shared, folder: &Path, outcome: Outcome) -> std::io::Result<()> {
    println!("{outcome}");
    if !outcome.is_ok() {
        std::fs::write(folder.join("outcome.txt"), outcome.to_string())?;
    }
    shared
        .totals
        .lock()
        .expect("no worker has panicked")
        .add(outcome);
    Ok(())
}
