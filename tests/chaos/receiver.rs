//! The receiver of webhooks: notes every delivery, and answers some of them badly.

use axum::Router;
use axum::extract::{Path, State};
use axum::http::{HeaderMap, StatusCode};
use axum::routing::post;
use serde_json::Value;
use std::collections::{BTreeMap, HashMap};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;
use tokio::net::TcpListener;
use tokio::task::JoinHandle;

/// Longer than `notify.timeout`: squall has given the attempt up when the answer comes.
const SLOW: Duration = Duration::from_millis(1300);

/// Endpoint and webhook-id.
pub type Key = (String, String);

/// What came under one id at one endpoint.
#[derive(Debug, Clone, Default)]
pub struct Received {
    /// Answered with 2xx in time.
    pub accepted: u32,
    /// Answered too late or with an error: squall must try again.
    pub refused: u32,
    /// `data.alert_id` and `type` of each body.
    pub bodies: BTreeMap<(String, String), u32>,
}

/// Notes what comes until it is dropped.
pub struct Receiver {
    notes: Arc<Notes>,
    server: JoinHandle<()>,
    /// `http://host:port`.
    pub address: String,
}

#[derive(Default)]
struct Notes {
    received: Mutex<HashMap<Key, Received>>,
    /// Answer everything well.
    well: AtomicBool,
}

impl Receiver {
    /// Starts one.
    pub async fn start() -> std::io::Result<Self> {
        let listener = TcpListener::bind("127.0.0.1:0").await?;
        let address = format!("http://{}", listener.local_addr()?);
        let notes = Arc::new(Notes::default());
        let router = Router::new()
            .route("/{endpoint}", post(receive))
            .with_state(notes.clone());
        let server = tokio::spawn(async move {
            let _ = axum::serve(listener, router).await;
        });
        Ok(Self {
            notes,
            server,
            address,
        })
    }

    /// From now on everything is answered well.
    pub fn be_well(&self) {
        self.notes.well.store(true, Ordering::Relaxed);
    }

    /// What has come so far.
    pub fn received(&self) -> HashMap<Key, Received> {
        self.notes.lock().clone()
    }
}

impl Drop for Receiver {
    fn drop(&mut self) {
        self.server.abort();
    }
}

impl Notes {
    fn lock(&self) -> std::sync::MutexGuard<'_, HashMap<Key, Received>> {
        self.received.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Of the first attempts of a message about every eighth is answered with an error, and every sixteenth too late; which
/// ones follows from the id. Never a second time, so that the test ends.
async fn receive(
    State(notes): State<Arc<Notes>>,
    Path(endpoint): Path<String>,
    headers: HeaderMap,
    body: String,
) -> StatusCode {
    let text = |name: &str| {
        let value = headers.get(name).and_then(|value| value.to_str().ok());
        value.unwrap_or_default().to_owned()
    };
    let id = text("webhook-id");
    let body: Value = serde_json::from_str(&body).unwrap_or_default();
    let field = |value: &Value| value.as_str().unwrap_or_default().to_owned();
    let said = (field(&body["data"]["alert_id"]), field(&body["type"]));
    let mood = endpoint
        .bytes()
        .chain(id.bytes())
        .fold(0u8, |sum, byte| sum.wrapping_mul(31).wrapping_add(byte))
        % 16;
    let first = {
        let mut received = notes.lock();
        let entry = received.entry((endpoint, id)).or_default();
        *entry.bodies.entry(said).or_default() += 1;
        let first = entry.accepted + entry.refused == 0 && !notes.well.load(Ordering::Relaxed);
        if first && mood < 3 {
            entry.refused += 1;
        } else {
            entry.accepted += 1;
        }
        first
    };
    match mood {
        0 | 1 if first => StatusCode::INTERNAL_SERVER_ERROR,
        2 if first => {
            tokio::time::sleep(SLOW).await;
            StatusCode::OK
        }
        _ => StatusCode::NO_CONTENT,
    }
}
