//! The routes, what stands around all of them, and how serving begins and ends.

use super::overview::Cache;
use super::{Problem, Web, alerting, api, assets, events, guard, ingest, pages, session};
use axum::Router;
use axum::extract::{DefaultBodyLimit, Request, State};
use axum::middleware::{self, Next};
use axum::response::{IntoResponse, Response};
use axum::routing::{delete, get, post};
use std::io;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;
use tokio::net::TcpListener;
use tokio::sync::watch;
use tokio_util::sync::CancellationToken;

/// Largest body of a request, in bytes.
const MAX_BODY: usize = 4 << 20;
/// How long an answer may take.
const TIMEOUT: Duration = Duration::from_secs(30);

/// What every handler sees.
pub(super) struct Shared {
    pub web: Web,
    /// What the overview is drawn from, gathered once a version of the store.
    pub cache: Cache,
    /// Latest version of the store that the poller saw; event streams subscribe to it.
    pub versions: watch::Sender<Option<i64>>,
    pub shutdown: CancellationToken,
}

/// Handlers get it by `State`.
pub(super) type Squall = State<Arc<Shared>>;

/// Serves until `shutdown`, then ends event streams, answers what is under way, and returns.
///
/// # Errors
/// What the listener reports.
pub async fn serve(listener: TcpListener, web: Web, shutdown: CancellationToken) -> io::Result<()> {
    let shared = Arc::new(Shared {
        web,
        cache: Cache::default(),
        versions: watch::Sender::new(None),
        shutdown: shutdown.clone(),
    });
    let poller = tokio::spawn(events::poll(shared.clone()));
    let app = router(shared).into_make_service_with_connect_info::<SocketAddr>();
    let served = axum::serve(listener, app)
        .with_graceful_shutdown(shutdown.cancelled_owned())
        .await;
    poller.abort();
    served
}

/// Every route. `openapi.json` describes those for programs; a test holds the two together.
fn router(shared: Arc<Shared>) -> Router {
    Router::new()
        .route("/healthz", get(api::health))
        .route("/readyz", get(api::ready))
        .route("/metrics", get(api::metrics))
        .route("/openapi.json", get(api::openapi))
        .route("/v1/score", post(ingest::score))
        .route("/v1/posts", get(api::posts).post(ingest::posts))
        .route("/v1/entities", get(api::entities))
        .route("/v1/entities/{id}/timeline", get(api::timeline))
        .route("/v1/alerts", get(api::alerts))
        .route("/v1/alerts/{id}", get(alerting::alert))
        .route("/v1/alerts/{id}/ack", post(ingest::acknowledge))
        .route("/v1/deliveries", get(alerting::deliveries))
        .route("/v1/endpoints", get(alerting::endpoints))
        .route("/v1/endpoints/{name}/test", post(alerting::test))
        .route("/v1/endpoints/{name}/enable", post(alerting::enable))
        .route(
            "/v1/silences",
            get(alerting::silences).post(alerting::silence),
        )
        .route("/v1/silences/{id}", delete(alerting::unsilence))
        .route("/v1/audit", get(alerting::audit))
        .route("/v1/feedback", post(ingest::feedback))
        .route("/v1/campaigns/{id}/report", get(api::report))
        .route("/v1/events", get(events::stream))
        .route("/", get(pages::home))
        .route("/entities/{id}", get(pages::entity))
        .route("/alerts/{id}", get(pages::alert))
        .route("/alerts/{id}/ack", post(pages::acknowledge))
        .route("/campaigns/{id}", get(pages::campaign))
        .route("/login", get(pages::login).post(session::log_in))
        .route("/logout", post(session::log_out))
        .route("/assets/{name}", get(assets::serve))
        .fallback(async || Problem::not_found("there is nothing at this address"))
        .layer(DefaultBodyLimit::max(MAX_BODY))
        .layer(middleware::from_fn_with_state(shared.clone(), guard::admit))
        .layer(middleware::from_fn(in_time))
        .layer(middleware::from_fn(guard::finish))
        .with_state(shared)
}

async fn in_time(request: Request, next: Next) -> Response {
    tokio::time::timeout(TIMEOUT, next.run(request))
        .await
        .unwrap_or_else(|_| {
            Problem::unavailable("the answer took too long: ask for less, or try again in a moment")
                .into_response()
        })
}
