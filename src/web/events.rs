//! Server-Sent Events: tell open pages that the store has changed.

use super::server::Squall;
use crate::store::Store;
use axum::extract::State;
use axum::response::sse::{Event, KeepAlive, Sse};
use futures::{Stream, StreamExt};
use std::convert::Infallible;
use std::sync::Arc;
use std::time::Duration;
use tokio::sync::watch;
use tokio_stream::wrappers::WatchStream;
use tokio_util::sync::CancellationToken;

/// How often the store is asked for its version: once for all listeners.
const INTERVAL: Duration = Duration::from_secs(1);

/// Asks the store for its version while anyone listens, until `shutdown`. The receiver that was made with
/// the channel is not counted as a listener.
pub async fn poll(
    store: Arc<dyn Store>,
    versions: watch::Sender<Option<i64>>,
    shutdown: CancellationToken,
) {
    let mut ticks = tokio::time::interval(INTERVAL);
    ticks.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
    let polling = async {
        loop {
            ticks.tick().await;
            if versions.receiver_count() < 2 {
                continue;
            }
            match store.version().await {
                Ok(version) => {
                    versions.send_if_modified(|known| known.replace(version) != Some(version));
                }
                Err(error) => tracing::debug!(%error, "cannot tell pages what the store holds"),
            }
        }
    };
    shutdown.run_until_cancelled(polling).await;
}

/// `GET /v1/events`: `data: {"version":n}` with the version as it is, and again whenever it changes.
pub async fn stream(
    State(shared): Squall,
) -> Sse<impl Stream<Item = Result<Event, Infallible>> + use<>> {
    let versions = WatchStream::new(shared.versions.clone())
        .filter_map(async |version| {
            version.map(|version| Ok(Event::default().data(format!("{{\"version\":{version}}}"))))
        })
        .take_until(shared.shutdown.clone().cancelled_owned());
    Sse::new(versions).keep_alive(KeepAlive::new().interval(Duration::from_secs(15)))
}
