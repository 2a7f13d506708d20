//! `squall alerts`: alerts as they stand, what people do about them, and their deliveries.

use super::dead_letters::printable;
use super::{UsageError, report};
use crate::app;
use crate::broker::{Connection, Producer};
use crate::config::{Config, duration};
use crate::domain::{ControlAct, EntityId, Silence, Timestamp};
use crate::pipeline::Emitter;
use crate::store::{AlertQuery, AlertRow};
use anyhow::Context as _;
use std::io::Write;
use std::time::Duration;

/// How long the broker, or the API, may take.
const TIMEOUT: Duration = Duration::from_secs(20);

/// Look at alerts; acknowledge and silence them; try endpoints, see what is pending
///
/// `list` and `show` read the store. `ack`, `silence`, `unsilence` and `enable` write to Kafka (with the embedded broker a
/// `squall run` must run), so that they work without the store. `deliveries` asks the HTTP API of the process that delivers,
/// with api.token. `test` sends a sample from here.
#[derive(Debug, clap::Args)]
pub(super) struct Alerts {
    #[command(subcommand)]
    act: Act,
}

#[derive(Debug, clap::Subcommand)]
enum Act {
    /// Show alerts, the latest first
    List {
        /// Only those on this entity
        #[arg(long, value_name = "ID")]
        entity: Option<String>,
        /// At most so many
        #[arg(long, value_name = "N", default_value_t = 50)]
        limit: usize,
        /// One JSON object a line
        #[arg(long)]
        json: bool,
    },
    /// Show one alert with its deliveries, as JSON
    Show {
        /// Its id
        alert: String,
    },
    /// Say that somebody has seen an alert: it is heard of again when it is worse, or over
    Ack {
        /// Its id
        alert: String,
        #[command(flatten)]
        by: By,
    },
    /// Let nobody hear of some alerts for a while
    Silence {
        /// Alerts on this entity
        #[arg(long, value_name = "ID")]
        entity: Option<String>,
        /// Alerts on this list and its members
        #[arg(long, value_name = "ID")]
        list: Option<String>,
        /// Alerts by this rule
        #[arg(long, value_name = "NAME")]
        rule: Option<String>,
        /// For how long, as 2h or 90m
        #[arg(long = "for", value_name = "DURATION", value_parser = duration::parse)]
        length: Duration,
        /// Why
        #[arg(long)]
        reason: String,
        #[command(flatten)]
        by: By,
    },
    /// End a silence before its time
    Unsilence {
        /// Its id
        silence: String,
        #[command(flatten)]
        by: By,
    },
    /// Send to an endpoint again that was disabled
    Enable {
        /// Its name
        endpoint: String,
        #[command(flatten)]
        by: By,
    },
    /// Send a sample to an endpoint, once, and tell what came of it
    Test {
        /// Its name
        endpoint: String,
    },
    /// Show deliveries that have not ended, as JSON: pending, and held because of quiet hours
    Deliveries {
        /// Only those to this endpoint
        #[arg(long, value_name = "NAME")]
        endpoint: Option<String>,
        /// Where the API is [default: http://<api.listen>]
        #[arg(long, value_name = "URL")]
        api: Option<String>,
    },
}

#[derive(Debug, clap::Args)]
struct By {
    /// Who does it [default: $USER]
    #[arg(long, value_name = "NAME")]
    by: Option<String>,
}

impl By {
    fn name(self) -> Result<String, UsageError> {
        let name = self.by.or_else(|| std::env::var("USER").ok());
        name.filter(|name| !name.is_empty())
            .ok_or_else(|| UsageError("--by: is needed where $USER is not set: say who".into()))
    }
}

/// Runs the command.
pub(super) async fn run(args: Alerts, config: Config) -> anyhow::Result<()> {
    let at = Timestamp::now();
    let act = match args.act {
        Act::List {
            entity,
            limit,
            json,
        } => return list(&config, entity, limit, json).await,
        Act::Show { alert } => return show(&config, alert).await,
        Act::Test { endpoint } => return test(&config, &endpoint).await,
        Act::Deliveries { endpoint, api } => {
            return deliveries(&config, endpoint, api).await;
        }
        Act::Ack { alert, by } => ControlAct::Acknowledge {
            alert_id: alert,
            by: by.name()?,
            at,
        },
        Act::Silence {
            entity,
            list,
            rule,
            length,
            reason,
            by,
        } => {
            let id = |text: Option<String>| text.map(|text| EntityId::from(text.as_str()));
            let silence = Silence {
                id: Silence::new_id(),
                entity: id(entity),
                list: id(list),
                rule,
                from: at,
                until: at + length,
                reason,
            };
            let longest = config.notify.max_silence;
            silence.check(longest, at).map_err(UsageError)?;
            writeln!(std::io::stdout(), "{}", silence.id)?;
            ControlAct::Silence {
                silence,
                by: by.name()?,
                at,
            }
        }
        Act::Unsilence { silence, by } => ControlAct::Unsilence {
            id: silence,
            by: by.name()?,
            at,
        },
        Act::Enable { endpoint, by } => {
            known(&config, &endpoint)?;
            ControlAct::Enable {
                endpoint,
                by: by.name()?,
                at,
            }
        }
    };
    write(config, act).await
}

fn known(config: &Config, endpoint: &str) -> Result<(), UsageError> {
    let names: Vec<&str> = config
        .endpoints
        .iter()
        .map(|one| one.name.as_str())
        .collect();
    match names.contains(&endpoint) {
        true => Ok(()),
        false => Err(UsageError(format!(
            "there is no endpoint '{endpoint}': configured are {}",
            names.join(", ")
        ))),
    }
}

/// Writes an act to `squall.control`.
async fn write(config: Config, act: ControlAct) -> anyhow::Result<()> {
    let connection = tokio::task::spawn_blocking(move || Connection::open(&config)).await??;
    let producer = Producer::with_timeout(&connection, TIMEOUT)?;
    let record = Emitter::new(&connection).control(&act);
    let written = tokio::time::timeout(TIMEOUT, async { producer.send(record).await?.await });
    written.await.context("the broker does not answer")??;
    Ok(())
}

async fn find(config: &Config, query: AlertQuery) -> anyhow::Result<Vec<AlertRow>> {
    Ok(report::store(config)?.alerts(&query).await?)
}

async fn list(
    config: &Config,
    entity: Option<String>,
    limit: usize,
    json: bool,
) -> anyhow::Result<()> {
    let query = AlertQuery {
        entity: entity.map(|id| EntityId::from(id.as_str())),
        alert_id: None,
        limit,
    };
    let alerts = find(config, query).await?;
    let mut out = std::io::stdout().lock();
    for alert in &alerts {
        match json {
            true => writeln!(out, "{}", serde_json::to_string(alert)?)?,
            false => writeln!(out, "{}", line(alert))?,
        }
    }
    Ok(())
}

/// One alert in one line.
fn line(alert: &AlertRow) -> String {
    let latest = &alert.latest;
    let seen = match &alert.acknowledged {
        Some((by, _)) => format!(", acknowledged by {}", printable(by)),
        None => String::new(),
    };
    format!(
        "{}  {}  {:<9} {:<8}  {:<12} {} negative, {:.1} expected{seen}",
        alert.opened_at,
        printable(&latest.alert_id),
        latest.kind.name(),
        latest.severity.name(),
        printable(latest.entity.as_str()),
        latest.observed.negative,
        latest.expected.negative,
    )
}

async fn show(config: &Config, alert: String) -> anyhow::Result<()> {
    let query = AlertQuery {
        alert_id: Some(alert.clone()),
        limit: 1,
        ..AlertQuery::default()
    };
    let alerts = find(config, query).await?;
    let found = alerts
        .first()
        .with_context(|| format!("there is no alert '{alert}'"))?;
    writeln!(
        std::io::stdout(),
        "{}",
        serde_json::to_string_pretty(found)?
    )?;
    Ok(())
}

async fn test(config: &Config, name: &str) -> anyhow::Result<()> {
    known(config, name)?;
    let notifier = app::notifier(config)?;
    let endpoint = notifier
        .endpoint(name)
        .context("the endpoint is not there")?;
    let said = app::send_sample(&notifier, endpoint, &|_| None, "http://127.0.0.1:8080").await;
    if !said.is_empty() {
        anyhow::bail!("'{name}' at {}: {}", endpoint.place(), printable(&said));
    }
    writeln!(
        std::io::stdout(),
        "delivered to '{name}' at {}",
        endpoint.place()
    )?;
    Ok(())
}

async fn deliveries(
    config: &Config,
    endpoint: Option<String>,
    api: Option<String>,
) -> anyhow::Result<()> {
    let base = api.unwrap_or_else(|| format!("http://{}", config.api.listen));
    let mut url = reqwest::Url::parse(&base)
        .and_then(|url| url.join("/v1/deliveries"))
        .map_err(|error| {
            UsageError(format!(
                "--api: {base}: {error}: write it as http://host:8080"
            ))
        })?;
    if let Some(endpoint) = endpoint {
        url.query_pairs_mut().append_pair("endpoint", &endpoint);
    }
    url.query_pairs_mut().append_pair("limit", "500");
    let client = reqwest::Client::builder()
        .timeout(TIMEOUT)
        .no_proxy()
        .build()?;
    let mut request = client.get(url);
    if !config.api.token.is_empty() {
        request = request.bearer_auth(config.api.token.expose());
    }
    let answer = request.send().await.map_err(reqwest::Error::without_url);
    let answer = answer.with_context(|| {
        format!("the API at {base} does not answer: start squall run, or give --api")
    })?;
    let status = answer.status();
    let body = answer.text().await?;
    if !status.is_success() {
        anyhow::bail!("the API at {base} says {status}: {}", printable(&body));
    }
    writeln!(std::io::stdout(), "{body}")?;
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;
    use clap::Parser;

    #[derive(Debug, Parser)]
    struct Command {
        #[command(flatten)]
        alerts: Alerts,
    }

    async fn refused(arguments: &[&str]) -> String {
        let mut all = vec!["alerts"];
        all.extend(arguments);
        let alerts = Command::try_parse_from(all).unwrap().alerts;
        let config = crate::config::load(None, std::iter::empty()).unwrap();
        let error = run(alerts, config).await.unwrap_err();
        assert!(error.is::<UsageError>(), "{error}");
        error.to_string()
    }

    #[tokio::test]
    async fn what_cannot_be_meant_is_wrong_usage() {
        let everything = ["silence", "--for", "2h", "--reason", "x", "--by", "ann"];
        assert!(refused(&everything).await.contains("name an entity"));
        let long = [
            "silence", "--entity", "BA", "--for", "9000h", "--reason", "x", "--by", "ann",
        ];
        assert!(refused(&long).await.contains("720 hours"));
        assert!(refused(&["test", "nobody"]).await.contains("'nobody'"));
        assert!(
            refused(&["deliveries", "--api", "nowhere"])
                .await
                .contains("--api")
        );
        let endless = ["alerts", "silence", "--entity", "BA", "--reason", "x"];
        assert!(
            Command::try_parse_from(endless).is_err(),
            "a silence has an end"
        );
    }
}
