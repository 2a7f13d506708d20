//! How a notice is written for its receiver: the format `standard`, those of Slack, PagerDuty and Alertmanager, or a
//! template of the user's own.

mod alertmanager;
mod pagerduty;
mod sample;
mod slack;
mod template;

pub use sample::{sample, samples};

use super::notice::{Group, Member, Notice};
use super::payload::{MAX_BODY_BYTES, notice_body};
use crate::config::{EndpointConfig, FormatConfig, Secret};
use crate::domain::{AlertKind, EntityId};
use template::Template;

/// What the texts are made of besides the notice.
#[derive(Clone, Copy)]
pub struct Facts<'a> {
    /// Looks up the name shown for an entity.
    pub entity_name: &'a (dyn Fn(&EntityId) -> Option<String> + Send + Sync),
    /// Address of the page.
    pub link_base: &'a str,
}

/// Writes bodies. Debug shows no routing key.
#[derive(Debug)]
pub enum Format {
    /// As the contract has it.
    Standard,
    /// An incoming webhook of Slack.
    Slack,
    /// Events API v2, with the integration's routing key.
    PagerDuty(Secret),
    /// `POST /api/v2/alerts`.
    Alertmanager,
    /// Of the user's own.
    Template(Box<Template>),
}

impl Format {
    /// The format of an endpoint, tried on a sample of every kind of notice.
    ///
    /// # Errors
    /// What is missing, or wrong with the template, with the remedy.
    pub fn new(config: &EndpointConfig) -> Result<Self, String> {
        let format = match config.format {
            FormatConfig::Standard => Self::Standard,
            FormatConfig::Slack => Self::Slack,
            FormatConfig::Alertmanager => Self::Alertmanager,
            FormatConfig::PagerDuty if config.routing_key.is_empty() => {
                return Err("format pagerduty needs routing_key: take it from the Events API v2 integration of the service".into());
            }
            FormatConfig::PagerDuty => Self::PagerDuty(config.routing_key.clone()),
            FormatConfig::Template => match &config.template {
                Some(path) => Self::Template(Box::new(Template::open(path)?)),
                None => return Err("format template needs template: name its file".into()),
            },
        };
        let facts = Facts {
            entity_name: &|_| None,
            link_base: "http://127.0.0.1:8080",
        };
        for sample in samples() {
            format
                .write(&sample, facts)
                .map_err(|problem| format!("on a sample of {}: {problem}", sample.event_type()))?;
        }
        Ok(format)
    }

    /// The body of a notice, JSON under [`MAX_BODY_BYTES`].
    ///
    /// # Errors
    /// What is wrong with the template, or with what it has written.
    pub fn write(&self, notice: &Notice, facts: Facts<'_>) -> Result<Vec<u8>, String> {
        let body = match self {
            Self::Standard => notice_body(notice, facts.entity_name, facts.link_base),
            Self::Slack => slack::body(notice, facts).to_string().into_bytes(),
            Self::PagerDuty(key) => pagerduty::body(notice, facts, key).to_string().into_bytes(),
            Self::Alertmanager => alertmanager::body(notice, facts).to_string().into_bytes(),
            Self::Template(template) => template.body(notice, facts)?,
        };
        if body.len() >= MAX_BODY_BYTES {
            return Err(format!(
                "the body has {} bytes, {MAX_BODY_BYTES} are too many: shorten it",
                body.len()
            ));
        }
        Ok(body)
    }
}

/// Name of an entity as people know it.
fn name(id: &EntityId, facts: Facts<'_>) -> String {
    (facts.entity_name)(id).unwrap_or_else(|| id.to_string())
}

/// Where a notice can be read in full.
fn link(notice: &Notice, facts: Facts<'_>) -> String {
    let base = facts.link_base.trim_end_matches('/');
    match notice {
        Notice::Alert(message) => shortened(&format!("{base}/alerts/{}", message.alert_id), 1000),
        _ => format!("{base}/"),
    }
}

/// One line that says what has happened.
fn summary(notice: &Notice, facts: Facts<'_>) -> String {
    let line = match notice {
        Notice::Alert(message) => alert_summary(&Member::from(&**message), facts),
        Notice::Group(group) => group_summary(group, facts),
        Notice::EndpointDisabled(one) => format!(
            "squall sends nothing more to endpoint '{}': {}",
            one.endpoint, one.reason
        ),
        Notice::Alive(one) if one.problems.is_empty() => "squall is alive".into(),
        Notice::Alive(one) => format!("squall is alive, but: {}", one.problems.join("; ")),
    };
    shortened(&line, 900)
}

/// One line that says what has happened to an entity.
fn alert_summary(alert: &Member, facts: Facts<'_>) -> String {
    let what = match alert.kind {
        AlertKind::Opened => "negative spike",
        AlertKind::Updated => "negative spike has worsened",
        AlertKind::Resolved => "negative spike is over",
        AlertKind::Retracted => "alert taken back, its evidence was corrected",
    };
    format!(
        "{}: {what}, {} negative mentions by {} sources, {:.1} expected ({})",
        shortened(&name(&alert.entity, facts), 200),
        alert.observed.negative,
        alert.observed.sources,
        alert.expected.negative,
        alert.severity.name(),
    )
}

/// `10 of Banks: negative spikes: A, B, … (critical)`.
fn group_summary(group: &Group, facts: Facts<'_>) -> String {
    let list = name(&group.list, facts);
    let open: Vec<_> = group
        .members
        .iter()
        .filter(|member| member.kind.is_open())
        .collect();
    if open.is_empty() {
        return format!(
            "{list}: all {} negative spikes are over",
            group.members.len()
        );
    }
    let names: Vec<String> = open
        .iter()
        .map(|member| name(&member.entity, facts))
        .collect();
    format!(
        "{list}: {} negative spikes together: {} ({})",
        open.len(),
        names.join(", "),
        group.severity().name()
    )
}

/// The text, or its beginning and `…`.
fn shortened(text: &str, chars: usize) -> String {
    match text.char_indices().nth(chars) {
        Some((end, _)) => format!("{}…", &text[..end]),
        None => text.to_owned(),
    }
}

#[cfg(test)]
mod tests;
