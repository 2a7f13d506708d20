//! Asking the database, or the broker, until it answers: what is read meanwhile waits in memory, the rest in Kafka.

use crate::broker::CommitError;
use crate::store::StoreResult;
use crate::telemetry::{Health, Metrics};
use std::time::Duration;
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;

/// Pause before another attempt, doubled up to the second value.
const PAUSE: (Duration, Duration) = (Duration::from_millis(200), Duration::from_secs(10));
/// The same for what will not mend itself: someone must do something.
const LONG_PAUSE: (Duration, Duration) = (Duration::from_secs(5), Duration::from_secs(30));
/// Pause before a commit is made again.
const COMMIT_PAUSE: (Duration, Duration) = (Duration::from_millis(50), Duration::from_secs(2));
/// A database that is back so soon is no trouble.
const NO_TROUBLE: Duration = Duration::from_secs(3);

/// The partition was given up: because it is someone else's, or because squall is to end while the database is away.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct GivenUp;

/// How long to try, and who is told of trouble.
#[derive(Clone)]
pub struct Patience {
    /// What asks, as it stands in problems.
    pub what: String,
    /// When to stop trying: nothing that was begun is left undone by it but what a plan brings back.
    pub ending: CancellationToken,
    /// Where trouble is told.
    pub health: Health,
    /// Counters.
    pub metrics: Metrics,
}

impl Patience {
    /// Asks the database until it answers. Errors that will not mend themselves are asked again too: the table may
    /// be mended, the password be set, the disk be cleared.
    ///
    /// # Errors
    /// [`GivenUp`] when it should end and the last attempt has failed.
    pub async fn until<T, F>(&self, attempt: impl Fn() -> F) -> Result<T, GivenUp>
    where
        F: Future<Output = StoreResult<T>>,
    {
        let begun = Instant::now();
        let mut pause = Duration::ZERO;
        let mut in_trouble = false;
        loop {
            let error = match attempt().await {
                Ok(answer) => {
                    if in_trouble {
                        tracing::info!(what = self.what, "the database answers again");
                        self.well();
                    }
                    return Ok(answer);
                }
                Err(error) => error,
            };
            let retryable = error.is_retryable();
            let (shortest, longest) = if retryable { PAUSE } else { LONG_PAUSE };
            pause = (pause * 2).clamp(shortest, longest);
            if in_trouble || !retryable || begun.elapsed() >= NO_TROUBLE {
                in_trouble = true;
                self.trouble(&error.to_string());
            }
            tracing::error!(what = self.what, %error, "the database cannot store or answer: trying again");
            let paused = Instant::now();
            let ended = self
                .ending
                .run_until_cancelled(tokio::time::sleep(pause))
                .await;
            let waited = paused.elapsed().as_secs_f64();
            self.metrics
                .blocked_seconds
                .with(["database"])
                .inc_by(waited);
            if ended.is_none() {
                return Err(GivenUp);
            }
        }
    }

    /// Makes a commit until the broker has taken it.
    ///
    /// # Errors
    /// [`GivenUp`] when the partition is no longer ours, or it should end.
    pub async fn commit<F>(&self, attempt: impl Fn() -> F) -> Result<(), GivenUp>
    where
        F: Future<Output = Result<(), CommitError>>,
    {
        let mut pause = COMMIT_PAUSE.0;
        loop {
            match attempt().await {
                Ok(()) => return Ok(()),
                Err(CommitError::Gone) => return Err(GivenUp),
                Err(CommitError::Unanswered(problem)) => {
                    tracing::warn!(
                        what = self.what,
                        problem,
                        "an offset was not committed: trying again"
                    );
                }
            }
            let paused = tokio::time::sleep(pause);
            if self.ending.run_until_cancelled(paused).await.is_none() {
                return Err(GivenUp);
            }
            pause = (pause * 2).min(COMMIT_PAUSE.1);
        }
    }

    /// Says that nothing more can be done without someone's help, and waits for the end.
    pub async fn give_up(&self, problem: &str) -> GivenUp {
        tracing::error!(what = self.what, "{problem}");
        self.trouble(problem);
        self.ending.cancelled().await;
        self.well();
        GivenUp
    }

    fn trouble(&self, problem: &str) {
        self.health.trouble(&self.what, problem);
        self.metrics.role_blocked.with([&self.what]).set(1);
    }

    fn well(&self) {
        self.health.well(&self.what);
        self.metrics.role_blocked.with([&self.what]).set(0);
    }
}
