//! One run: everything is started, a stream goes in while things go wrong, they stop going wrong, the rest is worked
//! through, and what is there then is checked.

use crate::check;
use crate::kafka;
use crate::plan::{ACTIVE, Act, Plan};
use crate::posts::Feed;
use crate::proxy::Fault;
use crate::report::Outcome;
use crate::stage::{Place, Stage};
use std::time::{Duration, Instant};

/// Steps of the stream, and how often one comes.
const STEPS: usize = 110;
const STEP: Duration = Duration::from_millis(70);
/// How often the driver looks after its processes.
const LOOK: Duration = Duration::from_millis(30);
/// How long the rest may stand still when nothing goes wrong any more; a busy machine is slow, but goes on.
const REST: Duration = Duration::from_secs(60);
/// How long it may take in all.
const MOST: Duration = Duration::from_secs(600);

/// Runs the plan of a seed.
pub async fn run(place: &Place<'_>, seed: u64) -> Outcome {
    let begun = Instant::now();
    let mut outcome = Outcome::new(seed);
    if let Err(problem) = attempt(place, seed, &mut outcome).await {
        outcome
            .failures
            .push(format!("the run itself: {problem:#}"));
    }
    outcome.seconds = begun.elapsed().as_secs_f64();
    outcome
}

async fn attempt(place: &Place<'_>, seed: u64, outcome: &mut Outcome) -> anyhow::Result<()> {
    let mut stage = Stage::new(place).await?;
    let played = play(&mut stage, seed, outcome).await;
    outcome.broker_ended = !stage.broker_lives();
    played
}

async fn play(stage: &mut Stage<'_>, seed: u64, outcome: &mut Outcome) -> anyhow::Result<()> {
    let mut plan = Plan::new(seed);
    let mut feed = Feed::new(seed, STEPS);
    for slot in 0..2 {
        stage.start(slot, &plan.faults())?;
    }
    disturb(stage, &mut plan, &mut feed).await?;
    settle(stage).await?;
    end(stage, "", outcome).await
}

/// What every run ends with: the rest is worked through, the processes are told to end, everything is checked.
/// `faults` are those of processes that are started meanwhile.
pub async fn end(stage: &mut Stage<'_>, faults: &str, outcome: &mut Outcome) -> anyhow::Result<()> {
    let behind = work_through(stage, faults).await?;
    if behind.is_empty() {
        outcome.failures.extend(stage.end_all().await);
    } else {
        outcome
            .failures
            .push(format!("not worked through: {}", behind.join(", ")));
    }
    let checked = check::check(stage, outcome).await;
    if (checked.is_err() || !outcome.is_ok()) && stage.broker_lives() {
        let (broker, folder) = (stage.setup.broker.clone(), stage.setup.folder.clone());
        tokio::task::spawn_blocking(move || kafka::dump(&broker, &folder)).await??;
    }
    checked
}

/// The stream goes in, and things go wrong.
async fn disturb(stage: &mut Stage<'_>, plan: &mut Plan, feed: &mut Feed) -> anyhow::Result<()> {
    let begun = Instant::now();
    let mut acts = std::mem::take(&mut plan.acts).into_iter().peekable();
    let mut steps = 0;
    let mut store_back = None;
    while begun.elapsed() < ACTIVE || acts.peek().is_some() || steps < STEPS {
        let now = Instant::now();
        while steps < STEPS && begun.elapsed() >= STEP * steps as u32 {
            stage.send(feed)?;
            steps += 1;
        }
        while let Some((_, act)) = acts.next_if(|(at, _)| *at <= begun.elapsed()) {
            match act {
                Act::Kill(slot) => stage.kill(slot),
                Act::End(slot) => stage.terminate(slot),
                Act::Pause(slot, how_long) => stage.pause(slot, now + how_long),
                Act::Add => stage.add(&plan.faults())?,
                Act::Remove => stage.remove(),
                Act::Requests(fault, few) => stage.proxy.set(fault, few),
                Act::StopStore(how_long) => {
                    stage.proxy.stop();
                    store_back = store_back.max(Some(now + how_long));
                }
            }
        }
        if store_back.is_some_and(|at| at <= now) {
            stage.proxy.go_on().await?;
            store_back = None;
        }
        stage.look_after(|| (plan.faults(), plan.away()))?;
        tokio::time::sleep(LOOK).await;
    }
    Ok(())
}

/// Nothing goes wrong any more: two processes, a database and receivers that answer. What was armed in a process that
/// lives may still kill it; the next one has no faults.
async fn settle(stage: &mut Stage<'_>) -> anyhow::Result<()> {
    stage.proxy.set(Fault::None, 0);
    stage.proxy.go_on().await?;
    stage.receiver.be_well();
    stage.remove();
    stage.go_on_now();
    Ok(())
}

/// Waits until every role has committed everything that was there when those before it had. Returns what is behind
/// when nothing moves for too long.
pub async fn work_through(stage: &mut Stage<'_>, faults: &str) -> anyhow::Result<Vec<String>> {
    let until = Instant::now() + MOST;
    let mut moved = (Instant::now(), Vec::new());
    stage.written().await?;
    for (role, topics) in kafka::stages() {
        let broker = stage.setup.broker.clone();
        let ends = tokio::task::spawn_blocking(move || kafka::ends(&broker, &topics)).await??;
        loop {
            stage.look_after(|| (faults.to_owned(), Duration::ZERO))?;
            let (broker, asked) = (stage.setup.broker.clone(), ends.clone());
            let behind =
                tokio::task::spawn_blocking(move || kafka::behind(&broker, role, &asked)).await??;
            if behind.is_empty() {
                break;
            }
            let behind: Vec<String> = behind.iter().map(ToString::to_string).collect();
            if behind != moved.1 {
                moved = (Instant::now(), behind);
            }
            if moved.0.elapsed() > REST || Instant::now() > until {
                return Ok(moved.1);
            }
            tokio::time::sleep(LOOK * 4).await;
        }
    }
    Ok(Vec::new())
}
