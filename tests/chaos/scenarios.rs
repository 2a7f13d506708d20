//! Builds with a promise switched off: each in a sequence that the promise is there for, so that without it something is
//! doubled. The check must find it; with the promise the same sequence is a run like any other.

use crate::driver;
use crate::posts::Feed;
use crate::proxy::Fault;
use crate::report::Outcome;
use crate::stage::{Place, Stage};
use anyhow::bail;
use std::time::{Duration, Instant};

/// The statement of inserts of posts has this in it.
const POSTS: &str = "posts";
const STEPS: usize = 20;
/// How long anything may take to come about.
const PATIENCE: Duration = Duration::from_secs(30);

/// A promise that is switched off.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Scenario {
    /// An insert that was made and not answered is made again.
    Token,
    /// A process dies while its insert is on the way; another takes over, with more to insert; then the first arrives.
    Plan,
    /// A process dies between producing and committing.
    Repeats,
}

impl Scenario {
    /// All.
    pub const ALL: [Self; 3] = [Self::Token, Self::Plan, Self::Repeats];

    /// What is switched off, as in `SQUALL_FAULTS`.
    pub fn promise(self) -> &'static str {
        match self {
            Self::Token => "token",
            Self::Plan => "plan",
            Self::Repeats => "repeats",
        }
    }
}

/// Runs the sequence with its promise switched off.
pub async fn run(place: &Place<'_>, scenario: Scenario) -> Outcome {
    let begun = Instant::now();
    let mut outcome = Outcome::new(0);
    let faults = format!("broken={}", scenario.promise());
    if let Err(problem) = sequence(place, scenario, &faults, &mut outcome).await {
        outcome
            .failures
            .push(format!("the run itself: {problem:#}"));
    }
    outcome.seconds = begun.elapsed().as_secs_f64();
    outcome
}

async fn sequence(
    place: &Place<'_>,
    scenario: Scenario,
    faults: &str,
    outcome: &mut Outcome,
) -> anyhow::Result<()> {
    let mut stage = Stage::new(place).await?;
    let mut feed = Feed::new(1, STEPS);
    match scenario {
        Scenario::Token => {
            stage.proxy.set_for(POSTS, Fault::Unanswered, 1);
            stage.start(0, faults)?;
            steps(&mut stage, &mut feed, STEPS)?;
            until("an insert is made and not answered", || {
                stage.proxy.left() == 0
            })
            .await?;
        }
        Scenario::Plan => {
            let late = Duration::from_secs(12);
            stage.proxy.set_for(POSTS, Fault::Late(late), 1);
            stage.start(0, faults)?;
            steps(&mut stage, &mut feed, 1)?;
            until("an insert is on the way", || stage.proxy.left() == 0).await?;
            stage.kill(0);
            let arrives = Instant::now() + late;
            steps(&mut stage, &mut feed, STEPS - 1)?;
            let behind = driver::work_through(&mut stage, faults).await?;
            if !behind.is_empty() {
                bail!("not worked through: {}", behind.join(", "));
            }
            tokio::time::sleep_until((arrives + Duration::from_secs(1)).into()).await;
        }
        Scenario::Repeats => {
            steps(&mut stage, &mut feed, STEPS)?;
            stage.start(0, &format!("{faults};kill=score.produced@100"))?;
        }
    }
    driver::end(&mut stage, faults, outcome).await
}

fn steps(stage: &mut Stage<'_>, feed: &mut Feed, count: usize) -> anyhow::Result<()> {
    (0..count).try_for_each(|_| stage.send(feed))
}

async fn until(what: &str, holds: impl Fn() -> bool) -> anyhow::Result<()> {
    let begun = Instant::now();
    while !holds() {
        if begun.elapsed() > PATIENCE {
            bail!("waited in vain: {what}");
        }
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
    Ok(())
}
