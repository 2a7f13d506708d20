//! Sending a body to an endpoint, and what follows of the answer.

use super::cause::cause;
use super::endpoint::Endpoint;
use super::guard::Guard;
use super::retry;
use crate::config::{EndpointConfig, NotifyConfig, duration};
use crate::domain::{Outcome, Timestamp};
use reqwest::header::{
    CONTENT_ENCODING, CONTENT_TYPE, HeaderMap, HeaderName, RETRY_AFTER, USER_AGENT,
};
use reqwest::{Client, ClientBuilder, Response, StatusCode, Url, redirect};
use std::sync::Arc;
use std::time::Duration;

/// So much of the body of a failed answer is read, in bytes …
const READ_BYTES: usize = 4096;
/// … and so much of it is kept, in characters.
const KEPT_CHARS: usize = 200;
/// Shorter parts of an address are no secrets, in bytes.
const SECRET_LENGTH: usize = 8;

/// Delivers alert messages to the configured endpoints. Cheap to clone.
#[derive(Debug, Clone)]
pub struct Notifier {
    config: NotifyConfig,
    endpoints: Vec<Arc<Endpoint>>,
    guard: Guard,
    client: Client,
}

/// How one attempt went.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Attempt {
    /// HTTP status of the answer, where there was one.
    pub status: Option<u16>,
    /// What went wrong; empty after success.
    pub error: String,
    /// What follows of it.
    pub next: Next,
}

/// What follows of an attempt.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Next {
    /// The delivery has ended.
    End(Outcome),
    /// Another attempt, after so long.
    Again(Duration),
}

impl Attempt {
    /// One that was taken.
    pub fn delivered(status: Option<u16>) -> Self {
        Self {
            status,
            error: String::new(),
            next: Next::End(Outcome::Delivered),
        }
    }
}

/// Why one request failed.
#[derive(Debug)]
struct Failure {
    status: Option<StatusCode>,
    problem: String,
    retry_after: Option<Duration>,
}

impl Notifier {
    /// Checks the endpoints and makes the HTTP client. Nothing is sent yet.
    ///
    /// # Errors
    /// All that is wrong with the endpoints, each with the remedy; no secret is shown.
    pub fn new(config: &NotifyConfig, endpoints: &[EndpointConfig]) -> Result<Self, Vec<String>> {
        let mut problems = Vec::new();
        let mut checked = Vec::new();
        for endpoint in endpoints {
            match Endpoint::new(endpoint) {
                Ok(endpoint) => checked.push(Arc::new(endpoint)),
                Err(found) => problems.extend(found),
            }
        }
        if !problems.is_empty() {
            return Err(problems);
        }
        let guard = Guard::new(&config.allow);
        let client = client(config, &guard, &checked).map_err(|problem| vec![problem])?;
        Ok(Self {
            config: config.clone(),
            endpoints: checked,
            guard,
            client,
        })
    }

    /// The endpoints, in the order of the configuration.
    pub fn endpoints(&self) -> &[Arc<Endpoint>] {
        &self.endpoints
    }

    /// What may be connected to.
    pub fn guard(&self) -> &Guard {
        &self.guard
    }

    /// The endpoint of that name, if it is configured.
    pub fn endpoint(&self, name: &str) -> Option<&Arc<Endpoint>> {
        let mut all = self.endpoints.iter();
        all.find(|endpoint| endpoint.name() == name)
    }

    /// Sends `body` to `endpoint` once, as the delivery of the message `id`, of which `before` attempts have failed.
    ///
    /// 2xx ends the delivery, as do 410 Gone and the last of the configured attempts. Every other status (redirects
    /// are not followed), no answer in time and a failed connection are failures, after which it is to be sent
    /// again. All attempts carry the message's id; each has its own timestamp and signature. When it is dropped
    /// before it has ended, the message was perhaps delivered, and must be sent again.
    pub async fn attempt(
        &self,
        endpoint: &Endpoint,
        id: &str,
        body: &[u8],
        before: u32,
    ) -> Attempt {
        match self.request(endpoint, id, body).await {
            Ok(status) => Attempt::delivered(Some(status.as_u16())),
            Err(failure) => {
                let next = match failure.status {
                    Some(StatusCode::GONE) => Next::End(Outcome::Gone),
                    _ => self.after_failure(before, failure.retry_after),
                };
                Attempt {
                    status: failure.status.map(|status| status.as_u16()),
                    error: failure.problem,
                    next,
                }
            }
        }
    }

    /// What follows when an attempt has failed after `before` others: another after a while, or the end.
    pub fn after_failure(&self, before: u32, retry_after: Option<Duration>) -> Next {
        let made = before.saturating_add(1);
        if made >= self.config.attempts {
            return Next::End(Outcome::Failed);
        }
        let wait = retry::wait(&self.config, made, retry_after, rand::random());
        Next::Again(wait)
    }

    /// One request. A body is read only when the answer is a failure, and only its beginning.
    async fn request(
        &self,
        endpoint: &Endpoint,
        id: &str,
        body: &[u8],
    ) -> Result<StatusCode, Failure> {
        self.guard
            .permit_host(endpoint.url())
            .map_err(|problem| Failure {
                status: None,
                problem: format!("cannot connect: {problem}"),
                retry_after: None,
            })?;
        let timestamp = Timestamp::now().millis().div_euclid(1000);
        let response = self
            .client
            .post(endpoint.url().clone())
            .header(USER_AGENT, concat!("squall/", env!("CARGO_PKG_VERSION")))
            .header(CONTENT_TYPE, "application/json")
            .headers(headers(endpoint.headers(id, timestamp, body)))
            .body(body.to_vec())
            .send()
            .await
            .map_err(|error| Failure {
                status: None,
                problem: explain(error, self.config.timeout),
                retry_after: None,
            })?;
        let status = response.status();
        if status.is_success() {
            return Ok(status);
        }
        let retry_after = response
            .headers()
            .get(RETRY_AFTER)
            .and_then(|value| value.to_str().ok())
            .and_then(|value| retry::retry_after(value, Timestamp::now()));
        let said = if status.is_redirection() {
            "redirects are not followed, configure the final address".to_owned()
        } else {
            hide(&beginning(response).await, endpoint.url())
        };
        Err(Failure {
            status: Some(status),
            problem: format!("status {status}: {said}"),
            retry_after,
        })
    }
}

fn headers(all: Vec<(&'static str, String)>) -> HeaderMap {
    // Ids are of squall's own making or came through its checks: what is no header value is left out.
    all.into_iter()
        .filter_map(|(name, value)| Some((HeaderName::from_static(name), value.parse().ok()?)))
        .collect()
}

/// The client of these endpoints. The system's certificates are needed only where one is reached over TLS.
fn client(
    config: &NotifyConfig,
    guard: &Guard,
    endpoints: &[Arc<Endpoint>],
) -> Result<Client, String> {
    let mut builder = builder(config, guard);
    if !endpoints
        .iter()
        .any(|endpoint| endpoint.url().scheme() == "https")
    {
        builder = builder.tls_certs_only([]);
    }
    builder.build().map_err(|error| {
        format!(
            "notify: cannot prepare TLS: {}: install the system's CA certificates",
            cause(&error)
        )
    })
}

/// No redirects, no proxy from the environment, one timeout from connecting to the end of the answer; names are resolved
/// by the guard.
fn builder(config: &NotifyConfig, guard: &Guard) -> ClientBuilder {
    Client::builder()
        .redirect(redirect::Policy::none())
        .no_proxy()
        .dns_resolver(guard.clone())
        .timeout(config.timeout)
}

/// What went wrong with a request that got no answer. Never shows the URL.
fn explain(error: reqwest::Error, timeout: Duration) -> String {
    let error = error.without_url();
    if error.is_timeout() {
        format!("no answer within {}", duration::format(timeout))
    } else if error.is_connect() {
        format!("cannot connect: {}", cause(&error))
    } else {
        format!("request failed: {}", cause(&error))
    }
}

/// The beginning of a body as one line of text: what arrived before the timeout. One that is encoded, which squall
/// never asks for, is not read: it could be a bomb, and undone it would only say what the status says.
async fn beginning(mut response: Response) -> String {
    if response.headers().contains_key(CONTENT_ENCODING) {
        return "its body is compressed, and is not read".to_owned();
    }
    let mut bytes = Vec::new();
    while bytes.len() < READ_BYTES
        && let Ok(Some(chunk)) = response.chunk().await
    {
        bytes.extend_from_slice(&chunk[..chunk.len().min(READ_BYTES - bytes.len())]);
    }
    let text: String = String::from_utf8_lossy(&bytes)
        .split(|c: char| c.is_whitespace() || c.is_control())
        .filter(|word| !word.is_empty())
        .collect::<Vec<_>>()
        .join(" ");
    if text.is_empty() {
        "no reason given".to_owned()
    } else {
        text
    }
}

/// What a receiver says, cut, without the parts of its address that may be secrets: some repeat it in what they say.
fn hide(said: &str, url: &Url) -> String {
    let mut said = said.to_owned();
    let segments = url.path().split('/');
    for part in segments.chain(url.query().unwrap_or_default().split(['&', '='])) {
        if part.len() >= SECRET_LENGTH {
            said = said.replace(part, "…");
        }
    }
    said.chars().take(KEPT_CHARS).collect()
}

#[cfg(test)]
mod tests;
