//! The roles, one file each: SCORE, STORE, DETECT, NOTIFY. Each is a consumer group of its own and a plain
//! function that runs until it is stopped; between them there is only Kafka.

mod acknowledge;
mod dead_letter;
pub mod detect;
mod emit;
mod encoder;
pub mod notify;
mod order;
mod progress;
mod reading;
pub mod replayed;
pub mod score;
mod score_line;
pub mod store;

pub use emit::{Emitter, detected, send_all};
pub use encoder::Encoder;
pub use reading::{Reader, Reading, Receipt};
pub use score_line::ScoreLine;

use crate::broker::{BrokerError, Expired, Lag, Stop};
use crate::store::StoreError;
use crate::telemetry::Metrics;
use tokio::sync::watch;
use tokio::task::JoinError;

/// Why a role ended before it was stopped.
#[derive(Debug, thiserror::Error)]
pub enum RoleError {
    /// The broker failed for good.
    #[error(transparent)]
    Broker(#[from] BrokerError),
    /// The store failed for good.
    #[error(transparent)]
    Store(#[from] StoreError),
    /// A part of the role ended without having been asked to.
    #[error("{0}")]
    Stage(String),
}

impl RoleError {
    fn stage(what: &str, problem: impl std::fmt::Display) -> Self {
        Self::Stage(format!("{what}: {problem}: the process must be restarted"))
    }

    /// A task that should have gone on has ended.
    fn ended<E: Into<Self>>(what: &str, ended: Result<Result<(), E>, JoinError>) -> Self {
        match ended {
            Ok(Ok(())) => Self::stage(what, "ended early"),
            Ok(Err(error)) => error.into(),
            Err(error) => Self::stage(what, error),
        }
    }
}

/// Tells a role when and how to stop. It resolves once.
#[derive(Debug, Clone)]
pub struct Stopping(watch::Receiver<Option<Stop>>);

/// The other end: stops every role that holds the [`Stopping`].
#[derive(Debug, Clone)]
pub struct Stopper(watch::Sender<Option<Stop>>);

/// Makes a pair.
pub fn stopping() -> (Stopper, Stopping) {
    let (sender, receiver) = watch::channel(None);
    (Stopper(sender), Stopping(receiver))
}

impl Stopper {
    /// Stops.
    pub fn stop(&self, stop: Stop) {
        self.0.send_replace(Some(stop));
    }
}

impl Stopping {
    /// Waits for the request; never resolves a second time.
    pub(crate) async fn requested(&mut self) -> Stop {
        while self.0.changed().await.is_ok() {
            if let Some(stop) = *self.0.borrow_and_update() {
                return stop;
            }
        }
        std::future::pending().await
    }
}

/// Shows a consumer's lag, and the time it waited for its role.
fn report_consumer(metrics: &Metrics, role: &str, lag: &Lag) {
    for (topic, partition, remaining) in lag.by_partition() {
        metrics
            .consumer_lag
            .with([role, &topic, &partition.to_string()])
            .set(remaining);
    }
    metrics
        .blocked_seconds
        .with([role])
        .inc_by(lag.take_blocked().as_secs_f64());
}

/// Records that expired before anyone read them are lost, and not silently.
fn report_expired(metrics: &Metrics, expired: &Expired) {
    let (topic, offsets) = (&expired.topic, &expired.offsets);
    let count = offsets.end.saturating_sub(offsets.start);
    tracing::error!(topic = %topic, partition = expired.partition, first = offsets.start, last = offsets.end - 1,
        "records expired before they were read: raise the retention of the topic");
    metrics.records_expired.with([topic]).inc_by(count as u64);
}
