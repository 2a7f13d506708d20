//! An endpoint: where alerts go, checked.

use super::format::{Facts, Format};
use super::notice::Notice;
use super::sign::{SigningKey, signatures};
use crate::config::{EndpointConfig, FormatConfig};
use crate::domain::{Severity, hexadecimal};
use reqwest::Url;
use sha2::{Digest, Sha256};
use std::fmt;
use std::time::Duration;

/// A receiver of alerts. Neither Debug nor any message shows its keys, or more of its URL than scheme, host and
/// port: path and query of a webhook address are often secrets themselves.
pub struct Endpoint {
    name: String,
    url: Url,
    keys: Vec<SigningKey>,
    min_severity: Severity,
    limit: Limit,
    format: Format,
    alive: Option<Duration>,
}

/// How much is sent to an endpoint at once, beside its share of all places.
#[derive(Debug, Clone, Copy, Default, PartialEq)]
pub struct Limit {
    /// Attempts under way.
    pub in_flight: Option<usize>,
    /// Attempts begun a second.
    pub per_second: Option<f64>,
}

impl Endpoint {
    /// Checks a configured endpoint.
    ///
    /// # Errors
    /// All that is wrong with it, each with the remedy.
    pub(super) fn new(config: &EndpointConfig) -> Result<Self, Vec<String>> {
        let mut problems = Vec::new();
        let url = parse_url(config.url.expose())
            .map_err(|problem| problems.push(format!("url {problem}")))
            .ok();
        let format = Format::new(config)
            .map_err(|problem| problems.push(problem))
            .ok();
        if config.secrets.is_empty() && config.format == FormatConfig::Standard {
            problems.push("secrets is empty: deliveries are signed, give one".to_owned());
        }
        let mut keys = Vec::new();
        for (index, secret) in config.secrets.iter().enumerate() {
            match SigningKey::parse(secret) {
                Ok(key) => keys.push(key),
                Err(problem) => problems.push(format!("secrets[{index}]: {problem}")),
            }
        }
        match (url, format) {
            (Some(url), Some(format)) if problems.is_empty() => Ok(Self {
                format,
                alive: config.alive,
                name: config.name.clone(),
                url,
                keys,
                min_severity: config.min_severity,
                limit: Limit {
                    in_flight: config.in_flight,
                    per_second: config.per_second,
                },
            }),
            _ => Err(problems
                .into_iter()
                .map(|problem| format!("endpoints '{}': {problem}", config.name))
                .collect()),
        }
    }

    /// Its configured name.
    pub fn name(&self) -> &str {
        &self.name
    }

    /// Whether alerts of this severity go to it.
    pub fn wants(&self, severity: Severity) -> bool {
        severity >= self.min_severity
    }

    /// How much may be sent to it at once.
    pub fn limit(&self) -> Limit {
        self.limit
    }

    /// The body of a notice in its format.
    ///
    /// # Errors
    /// What is wrong with the template.
    pub fn write(&self, notice: &Notice, facts: Facts<'_>) -> Result<Vec<u8>, String> {
        self.format.write(notice, facts)
    }

    /// The topic it is, where it is one of Kafka's.
    pub fn topic(&self) -> Option<&str> {
        (self.url.scheme() == "kafka").then(|| self.url.path())
    }

    /// How often it is told that squall is alive.
    pub fn alive(&self) -> Option<Duration> {
        self.alive
    }

    /// Tells its address from another, and not what it is: 16 hexadecimal digits of a hash.
    pub fn fingerprint(&self) -> String {
        hexadecimal(&Sha256::digest(self.url.as_str())[..8])
    }

    pub(super) fn url(&self) -> &Url {
        &self.url
    }

    /// Scheme, host and port: what of the URL may be shown.
    pub fn place(&self) -> String {
        if let Some(topic) = self.topic() {
            return format!("kafka:{topic}");
        }
        self.url.origin().ascii_serialization()
    }

    /// The three headers of Standard Webhooks; without the signature where it has no key.
    pub fn headers(&self, id: &str, timestamp: i64, body: &[u8]) -> Vec<(&'static str, String)> {
        let mut headers = vec![
            ("webhook-id", id.to_owned()),
            ("webhook-timestamp", timestamp.to_string()),
        ];
        if !self.keys.is_empty() {
            let signed = signatures(&self.keys, id, timestamp, body);
            headers.push(("webhook-signature", signed));
        }
        headers
    }
}

impl fmt::Debug for Endpoint {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Endpoint")
            .field("name", &self.name)
            .field("place", &self.place())
            .field("min_severity", &self.min_severity)
            .finish_non_exhaustive()
    }
}

/// The URL, or what is wrong with it, without showing it.
fn parse_url(text: &str) -> Result<Url, String> {
    let url = Url::parse(text)
        .map_err(|e| format!("is not a URL ({e}): write it as https://host/path"))?;
    if url.scheme() == "kafka" {
        let topic = url.path();
        let known = |c: char| c.is_ascii_alphanumeric() || matches!(c, '.' | '_' | '-');
        let is_topic = !topic.is_empty() && topic.len() <= 249 && topic.chars().all(known);
        if !is_topic || topic.starts_with("squall.") {
            return Err("names no topic that can be written to: write it as kafka:alerts".into());
        }
        return Ok(url);
    }
    if !matches!(url.scheme(), "http" | "https") {
        return Err(format!(
            "has the scheme {}: only http, https and kafka are sent to",
            url.scheme()
        ));
    }
    if !url.username().is_empty() || url.password().is_some() {
        return Err(
            "holds a user name or password: leave them out, the signature proves who sends"
                .to_owned(),
        );
    }
    Ok(url)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::Secret;

    const SECRET: &str = "whsec_AAECAwQFBgcICQoLDA0ODxAREhMUFRYXGBkaGxwdHh8=";

    fn config(url: &str) -> EndpointConfig {
        EndpointConfig::new("desk", url, vec![Secret::new(SECRET)])
    }

    #[test]
    fn takes_http_and_https_addresses_and_nothing_else() {
        for url in ["http://127.0.0.1:9/x", "https://example.com/hook?token=t"] {
            assert!(Endpoint::new(&config(url)).is_ok(), "{url}");
        }
        for url in [
            "",
            "example.com/hook",
            "ftp://example.com/",
            "file:///etc/passwd",
            "https://",
            "https://user@example.com/",
            "https://user:hush@example.com/",
        ] {
            let problems = Endpoint::new(&config(url)).unwrap_err();
            assert!(
                problems.len() == 1 && problems[0].starts_with("endpoints 'desk': url "),
                "{problems:?}"
            );
            assert!(!problems[0].contains("hush"), "{problems:?}");
        }
    }

    #[test]
    fn names_all_that_is_wrong_at_once() {
        let problems = Endpoint::new(&EndpointConfig {
            secrets: vec![Secret::new(SECRET), Secret::new("hush")],
            ..config("nowhere")
        })
        .unwrap_err();
        assert_eq!(problems.len(), 2, "{problems:?}");
        assert!(problems[1].contains("secrets[1]"), "{problems:?}");
        assert!(!problems.concat().contains("hush"), "{problems:?}");

        let unsigned = EndpointConfig {
            secrets: Vec::new(),
            ..config("https://example.com")
        };
        assert!(Endpoint::new(&unsigned).unwrap_err()[0].contains("secrets is empty"));
    }

    #[test]
    fn shows_neither_path_nor_query_nor_keys() {
        let endpoint = Endpoint::new(&config("https://example.com:444/T0/B1?token=hush")).unwrap();
        let shown = format!("{endpoint:?}");
        assert!(shown.contains("https://example.com:444"), "{shown}");
        for secret in ["T0", "hush", "AAEC"] {
            assert!(!shown.contains(secret), "{shown}");
        }
    }

    #[test]
    fn wants_what_is_severe_enough() {
        let mut config = config("https://example.com");
        config.min_severity = Severity::Critical;
        let endpoint = Endpoint::new(&config).unwrap();
        assert!(endpoint.wants(Severity::Critical));
        assert!(!endpoint.wants(Severity::Warning));
    }
}
