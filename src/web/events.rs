//! Server-Sent Events: tell open pages that the store has changed.

use super::server::{Shared, Squall};
use axum::extract::State;
use axum::response::sse::{Event, KeepAlive, Sse};
use futures::{Stream, StreamExt};
use std::convert::Infallible;
use std::sync::Arc;
use std::time::Duration;
use tokio::time::MissedTickBehavior;
use tokio_stream::wrappers::WatchStream;

/// How often the store is asked for its version: once for all listeners.
const INTERVAL: Duration = Duration::from_secs(1);

/// Asks the store for its version while anyone listens, until shutdown.
pub async fn poll(shared: Arc<Shared>) {
    let mut ticks = tokio::time::interval(INTERVAL);
    ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
    let polling = async {
        loop {
            ticks.tick().await;
            if shared.versions.receiver_count() == 0 {
                continue;
            }
            match shared.web.store.version().await {
                Ok(version) => {
                    shared
                        .versions
                        .send_if_modified(|known| known.replace(version) != Some(version));
                }
                Err(error) => tracing::debug!(%error, "cannot tell pages what the store holds"),
            }
        }
    };
    shared.shutdown.run_until_cancelled(polling).await;
}

/// `GET /v1/events`: `data: {"version":n}` with the version as it is, and again whenever it changes.
pub async fn stream(
    State(shared): Squall,
) -> Sse<impl Stream<Item = Result<Event, Infallible>> + use<>> {
    let versions = WatchStream::new(shared.versions.subscribe())
        .filter_map(async |version| {
            version.map(|version| Ok(Event::default().data(format!("{{\"version\":{version}}}"))))
        })
        .take_until(shared.shutdown.clone().cancelled_owned());
    Sse::new(versions).keep_alive(KeepAlive::new().interval(Duration::from_secs(15)))
}
