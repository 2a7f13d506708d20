//! A proxy between squall and ClickHouse that lets inserts go wrong in the ways a network and a server do.

use axum::Router;
use axum::body::{Body, Bytes, to_bytes};
use axum::extract::{Request, State};
use axum::http::{Method, StatusCode, Uri};
use axum::response::{IntoResponse as _, Response};
use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;
use tokio::net::TcpListener;
use tokio::task::JoinHandle;

/// What happens to requests.
#[derive(Debug, Clone, Copy, PartialEq)]
pub enum Fault {
    /// They pass.
    None,
    /// Inserts are made, and never answered.
    Unanswered,
    /// Inserts are held back so long and made then, whoever still waits for them.
    Late(Duration),
    /// Inserts are refused with an error, and not made.
    Failed,
    /// Nothing is answered, nor made.
    Silent,
    /// Every second request fails, also those that only read.
    Flaky,
}

impl Fault {
    fn name(self) -> &'static str {
        match self {
            Self::None => "none",
            Self::Unanswered => "insert unanswered",
            Self::Late(_) => "insert late",
            Self::Failed => "insert failed",
            Self::Silent => "silent",
            Self::Flaky => "flaky",
        }
    }
}

/// Passes requests on until it is dropped.
pub struct Proxy {
    shared: Arc<Shared>,
    server: Option<JoinHandle<()>>,
    host: String,
}

struct Shared {
    target: String,
    client: reqwest::Client,
    state: Mutex<Now>,
}

struct Now {
    fault: Fault,
    /// Which inserts it is about: those whose statement names this.
    only: &'static str,
    /// How many more requests it hits.
    left: u32,
    requests: u64,
    /// How many requests each fault has hit.
    hits: BTreeMap<&'static str, u64>,
}

impl Proxy {
    /// Starts one before `target`, the address of a database.
    pub async fn start(target: &str) -> std::io::Result<Self> {
        let shared = Arc::new(Shared {
            target: target.trim_end_matches('/').to_owned(),
            client: reqwest::Client::builder()
                .no_proxy()
                .pool_idle_timeout(Duration::from_secs(5))
                .tls_certs_only([])
                .build()
                .map_err(std::io::Error::other)?,
            state: Mutex::new(Now {
                fault: Fault::None,
                only: "",
                left: 0,
                requests: 0,
                hits: BTreeMap::new(),
            }),
        });
        let listener = TcpListener::bind("127.0.0.1:0").await?;
        let host = listener.local_addr()?.to_string();
        let server = Some(serve(listener, shared.clone()));
        Ok(Self {
            shared,
            server,
            host,
        })
    }

    /// `http://host:port`.
    pub fn address(&self) -> String {
        format!("http://{}", self.host)
    }

    /// From now on this happens, to at most so many requests.
    pub fn set(&self, fault: Fault, left: u32) {
        self.set_for("", fault, left);
    }

    /// As [`set`](Self::set), but only to inserts whose statement names this.
    pub fn set_for(&self, only: &'static str, fault: Fault, left: u32) {
        let mut now = self.shared.lock();
        now.fault = fault;
        now.only = only;
        now.left = left;
    }

    /// How many requests of the fault's number are still to be hit.
    pub fn left(&self) -> u32 {
        self.shared.lock().left
    }

    /// Takes no connections any more: the database is stopped.
    pub fn stop(&mut self) {
        if let Some(server) = self.server.take() {
            server.abort();
            *self.shared.lock().hits.entry("stopped").or_default() += 1;
        }
    }

    /// Takes connections again, on the same port.
    pub async fn go_on(&mut self) -> std::io::Result<()> {
        if self.server.is_some() {
            return Ok(());
        }
        let mut attempts = 0;
        let listener = loop {
            match TcpListener::bind(&self.host).await {
                Ok(listener) => break listener,
                // Someone's connection may have been given the port meanwhile.
                Err(_) if attempts < 100 => {
                    attempts += 1;
                    tokio::time::sleep(Duration::from_millis(100)).await;
                }
                Err(error) => return Err(error),
            }
        };
        self.server = Some(serve(listener, self.shared.clone()));
        Ok(())
    }

    /// How many requests each fault has hit.
    pub fn hits(&self) -> BTreeMap<&'static str, u64> {
        self.shared.lock().hits.clone()
    }
}

impl Drop for Proxy {
    fn drop(&mut self) {
        if let Some(server) = &self.server {
            server.abort();
        }
    }
}

fn serve(listener: TcpListener, shared: Arc<Shared>) -> JoinHandle<()> {
    let router = Router::new().fallback(pass).with_state(shared);
    tokio::spawn(async move {
        let _ = axum::serve(listener, router).await;
    })
}

impl Shared {
    fn lock(&self) -> MutexGuard<'_, Now> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// The fault that hits this request.
    fn fault(&self, insert: bool, statement: &str) -> Fault {
        let mut now = self.lock();
        now.requests += 1;
        let hits = now.left > 0
            && match now.fault {
                Fault::None => false,
                Fault::Silent => true,
                Fault::Flaky => now.requests.is_multiple_of(2),
                Fault::Unanswered | Fault::Late(_) | Fault::Failed => {
                    insert && statement.contains(now.only)
                }
            };
        if !hits {
            return Fault::None;
        }
        now.left -= 1;
        let fault = now.fault;
        *now.hits.entry(fault.name()).or_default() += 1;
        fault
    }

    async fn forward(
        &self,
        method: Method,
        uri: &Uri,
        headers: axum::http::HeaderMap,
        body: Bytes,
    ) -> Response {
        let url = format!("{}{uri}", self.target);
        let mut request = self.client.request(method, url).body(body);
        for (name, value) in &headers {
            // The length is known now, and the connection is our own.
            if !["host", "connection", "transfer-encoding", "content-length"]
                .contains(&name.as_str())
            {
                request = request.header(name, value);
            }
        }
        let answered = async {
            let response = request.send().await?;
            let (status, headers) = (response.status(), response.headers().clone());
            Ok::<_, reqwest::Error>((status, headers, response.bytes().await?))
        };
        match answered.await {
            Ok((status, headers, body)) => {
                let mut response = Response::new(Body::from(body));
                *response.status_mut() = status;
                for (name, value) in &headers {
                    if !["connection", "transfer-encoding", "content-length"]
                        .contains(&name.as_str())
                    {
                        response.headers_mut().append(name, value.clone());
                    }
                }
                response
            }
            Err(error) => (StatusCode::BAD_GATEWAY, error.to_string()).into_response(),
        }
    }
}

/// One request. What it asks for happens even when whoever asked has gone, as it does in a server. A connection serves
/// one request, so that a stopped database is at once not there.
async fn pass(State(shared): State<Arc<Shared>>, request: Request) -> Response {
    let work = tokio::spawn(async move { answer(&shared, request).await });
    let mut response = work
        .await
        .unwrap_or_else(|_| StatusCode::INTERNAL_SERVER_ERROR.into_response());
    let close = axum::http::HeaderValue::from_static("close");
    response
        .headers_mut()
        .insert(axum::http::header::CONNECTION, close);
    response
}

async fn answer(shared: &Shared, request: Request) -> Response {
    let (parts, body) = request.into_parts();
    // A body that breaks off is no statement.
    let Ok(body) = to_bytes(body, usize::MAX).await else {
        return StatusCode::BAD_REQUEST.into_response();
    };
    let statement = statement(&parts.uri, &body);
    let insert = statement
        .trim_start()
        .to_ascii_uppercase()
        .starts_with("INSERT");
    let fault = shared.fault(insert, &statement);
    let forward = || {
        shared.forward(
            parts.method.clone(),
            &parts.uri,
            parts.headers.clone(),
            body.clone(),
        )
    };
    match fault {
        Fault::None => forward().await,
        Fault::Unanswered => {
            forward().await;
            silence().await
        }
        Fault::Late(delay) => {
            tokio::time::sleep(delay).await;
            forward().await
        }
        Fault::Failed | Fault::Flaky => {
            let text = "Code: 241. DB::Exception: memory limit exceeded (a fault of the test)";
            (
                StatusCode::INTERNAL_SERVER_ERROR,
                [("x-clickhouse-exception-code", "241")],
                text,
            )
                .into_response()
        }
        Fault::Silent => silence().await,
    }
}

/// Longer than anyone waits.
async fn silence() -> Response {
    tokio::time::sleep(Duration::from_secs(60)).await;
    StatusCode::GATEWAY_TIMEOUT.into_response()
}

/// The SQL of a request: the parameter `query`, or the beginning of the body.
fn statement(uri: &Uri, body: &[u8]) -> String {
    let pairs = uri.query().unwrap_or_default().split('&');
    let query = pairs.filter_map(|pair| pair.strip_prefix("query=")).next();
    match query {
        Some(query) => query.replace('+', " ").replace("%20", " "),
        None => String::from_utf8_lossy(&body[..body.len().min(200)]).into_owned(),
    }
}
