//! The endpoints: where alerts go. They are connected to and sent nothing.

use super::finding::Finding;
use crate::app;
use crate::config::Config;
use crate::notify::Endpoint;
use futures::future::join_all;
use std::net::SocketAddr;
use std::time::Duration;

const SUBJECT: &str = "endpoints";
/// How long each step of reaching one may take.
const LIMIT: Duration = Duration::from_secs(3);

/// Whether each endpoint can be reached from here.
pub(super) async fn check(config: &Config) -> Vec<Finding> {
    let notifier = match app::notifier(config) {
        Ok(notifier) => notifier,
        Err(error) => return vec![Finding::failed(SUBJECT, format!("{error:#}"))],
    };
    if notifier.endpoints().is_empty() {
        return vec![judge_none()];
    }
    let to_reach = notifier
        .endpoints()
        .iter()
        .filter(|one| one.topic().is_none());
    let reached = to_reach.map(|endpoint| async {
        let reached = endpoint.reach(notifier.guard(), LIMIT).await;
        judge(endpoint, reached)
    });
    join_all(reached).await
}

fn judge_none() -> Finding {
    Finding::warning(
        SUBJECT,
        "none is configured, so that alerts stand on the page and in the store, and reach nobody",
        "add [[endpoints]] with name, url and secrets",
    )
}

fn judge(endpoint: &Endpoint, reached: Result<SocketAddr, String>) -> Finding {
    let name = format!("'{}' at {}", endpoint.name(), endpoint.place());
    let plain = endpoint.place().starts_with("http:");
    match reached {
        Ok(address) if plain && !address.ip().is_loopback() => Finding::warning(
            SUBJECT,
            format!("{name} is reached, but over plain http: anyone on the way can read alerts"),
            "use https where the receiver can",
        ),
        Ok(_) => Finding::ok(SUBJECT, format!("{name} is reached")),
        Err(problem) => Finding::failed(SUBJECT, format!("{name}: {problem}")),
    }
}

#[cfg(test)]
mod tests {
    use super::super::finding::Level;
    use super::*;
    use crate::config::{self, EndpointConfig, Secret};

    fn judged(url: &str, reached: Result<&str, &str>) -> Finding {
        let mut config = config::load(None, std::iter::empty()).unwrap();
        let secret = Secret::new("whsec_AAECAwQFBgcICQoLDA0ODxAREhMUFRYXGBkaGxwdHh8=");
        config.endpoints = vec![EndpointConfig::new("desk", url, vec![secret])];
        let notifier = app::notifier(&config).unwrap();
        let reached = reached
            .map(|address| address.parse().unwrap())
            .map_err(str::to_owned);
        judge(&notifier.endpoints()[0], reached)
    }

    #[test]
    fn an_endpoint_that_cannot_be_reached_is_an_error_and_its_secret_never_shown() {
        let finding = judged("https://example.com/hush", Err("cannot connect: start it"));
        assert_eq!(finding.level, Level::Error);
        assert!(!finding.to_string().contains("hush"));
        assert_eq!(
            judged("https://example.com/x", Ok("192.0.2.1:443")).level,
            Level::Ok
        );
        assert_eq!(
            judged("http://localhost:1/x", Ok("127.0.0.1:1")).level,
            Level::Ok
        );
        assert_eq!(
            judged("http://example.com/x", Ok("192.0.2.1:80")).level,
            Level::Warning
        );
        assert_eq!(judge_none().level, Level::Warning);
    }
}
