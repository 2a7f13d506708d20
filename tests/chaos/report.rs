//! What came of a run, and of all of them.

use std::collections::BTreeMap;
use std::fmt;
use std::time::Duration;

/// What came of one run.
#[derive(Debug, Default)]
pub struct Outcome {
    pub seed: u64,
    /// What is not as it should be; empty when all is well.
    pub failures: Vec<String>,
    /// Whether the broker ended by itself: the run says nothing, and is made again.
    pub broker_ended: bool,
    pub seconds: f64,
    /// Records written to the sources.
    pub sent: usize,
    /// Rows of `posts`, `dead_letters`, `mentions`, and messages in `alerts`.
    pub posts: usize,
    pub dead_letters: usize,
    pub mentions: usize,
    pub alerts: usize,
    /// Records that had neither a row nor a dead letter, and those that had more than one.
    pub lost: usize,
    pub doubled: usize,
    /// Repeats in `squall.scored` and `squall.dead` that did not become rows.
    pub repeats: usize,
    /// Messages that reached an endpoint, and those that did again under the same id.
    pub delivered: usize,
    pub muted: usize,
    pub redelivered: usize,
    /// How often each point and fault was hit.
    pub hits: BTreeMap<String, u64>,
    /// Processes that ended by themselves.
    pub ended: Vec<String>,
}

impl Outcome {
    /// Of a run that has just begun.
    pub fn new(seed: u64) -> Self {
        Self {
            seed,
            ..Self::default()
        }
    }

    /// Whether all is as it should be.
    pub fn is_ok(&self) -> bool {
        self.failures.is_empty()
    }
}

impl fmt::Display for Outcome {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let verdict = if self.is_ok() { "ok" } else { "FAILED" };
        write!(
            f,
            "seed {}: {verdict} in {:.1} s; {} sent: {} posts, {} dead letters, {} mentions, {} repeats dropped; \
             {} alert messages, {} delivered, {} again, {} muted; faults: {}",
            self.seed,
            self.seconds,
            self.sent,
            self.posts,
            self.dead_letters,
            self.mentions,
            self.repeats,
            self.alerts,
            self.delivered,
            self.redelivered,
            self.muted,
            listed(&self.hits),
        )?;
        for ended in &self.ended {
            write!(f, "\n    ended by itself: {ended}")?;
        }
        for failure in &self.failures {
            write!(f, "\n    {failure}")?;
        }
        Ok(())
    }
}

fn listed(hits: &BTreeMap<String, u64>) -> String {
    let all: Vec<String> = hits
        .iter()
        .map(|(name, count)| format!("{name} {count}"))
        .collect();
    match all.is_empty() {
        true => "none".to_owned(),
        false => all.join(", "),
    }
}

/// What came of all runs.
#[derive(Debug, Default)]
pub struct Totals {
    runs: usize,
    /// Those that failed, to be told of once more at the end.
    pub failed: Vec<Outcome>,
    sent: usize,
    lost: usize,
    doubled: usize,
    repeats: usize,
    alerts: usize,
    redelivered: usize,
    ended: usize,
    /// Runs made again, because the broker had ended by itself.
    pub again: usize,
    hits: BTreeMap<String, u64>,
}

impl Totals {
    /// Counts one.
    pub fn add(&mut self, outcome: Outcome) {
        self.runs += 1;
        self.sent += outcome.sent;
        self.lost += outcome.lost;
        self.doubled += outcome.doubled;
        self.repeats += outcome.repeats;
        self.alerts += outcome.alerts;
        self.redelivered += outcome.redelivered;
        self.ended += outcome.ended.len();
        for (name, count) in &outcome.hits {
            *self.hits.entry(name.clone()).or_default() += count;
        }
        if !outcome.is_ok() {
            self.failed.push(outcome);
        }
    }

    /// The last lines.
    pub fn print(&self, duration: Duration) {
        println!(
            "{} runs in {:.0} s, {} failed; {} records sent, {} lost, {} doubled, {} repeats dropped; {} alert messages, \
             {} deliveries repeated under their id; {} processes ended by themselves; {} runs made again, because \
             librdkafka's mock broker had failed",
            self.runs,
            duration.as_secs_f64(),
            self.failed.len(),
            self.sent,
            self.lost,
            self.doubled,
            self.repeats,
            self.alerts,
            self.redelivered,
            self.ended,
            self.again,
        );
        for (name, count) in &self.hits {
            println!("    {count:6} x {name}");
        }
    }
}
