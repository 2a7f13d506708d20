//! API: the page for people, the HTTP API for programs, health and metrics; rendered here, nothing to build.
//!
//! [`serve`] is all there is to call. What is not read from the [`Store`] (scoring, producing, control
//! acts, reports) comes in through [`Web`] as calls, because it is the business of other roles.
//!
//! `server` routes; `guard`, `access` and `session` decide who may; `api`, `ingest`, `events` answer programs; `pages` answer
//! people from what `overview` gathered, with `charts` and `words`.

mod access;
mod alerting;
mod api;
mod assets;
mod charts;
mod events;
#[cfg(test)]
mod fake;
mod guard;
mod ingest;
mod overview;
mod pages;
mod parameters;
mod problem;
mod server;
mod session;
mod surprise;
#[cfg(test)]
mod tests;
mod ticks;
mod words;

pub use problem::Problem;
pub use server::serve;

use crate::config::{ApiConfig, TokenConfig, TopicConfig};
use crate::domain::{Campaign, CampaignId, ControlAct, Entity, EntityId, Origin, Post, Timestamp};
use crate::pipeline::notify::Board;
use crate::store::Store;
use futures::future::BoxFuture;
use std::sync::Arc;
use std::time::Duration;

/// What another role does for the API. A [`Problem`] it returns is shown to the client as it is.
pub type Call<Argument, Answer> =
    Arc<dyn Fn(Argument) -> BoxFuture<'static, Result<Answer, Problem>> + Send + Sync>;

/// Looks up an entity or list by its id.
pub type Dictionary = Arc<dyn Fn(&EntityId) -> Option<Entity> + Send + Sync>;

/// What the API is made of.
pub struct Web {
    /// Where everything shown is read from.
    pub store: Arc<dyn Store>,
    /// The dictionary, lists included: names, sectors, kinds.
    pub entities: Dictionary,
    /// The configured campaigns.
    pub campaigns: Vec<Campaign>,
    /// Topics that take posts; the first is the default.
    pub topics: Vec<TopicConfig>,
    /// `score.max_text_bytes`.
    pub max_text_bytes: usize,
    /// Where it listens, and who may use it.
    pub config: ApiConfig,
    /// Who may use it, by token.
    pub tokens: Vec<TokenConfig>,
    /// Scores posts: one JSON object each, in order, as `squall score` writes them. None where this
    /// process has no model.
    pub score: Option<Call<Vec<Post>, Vec<serde_json::Value>>>,
    /// Produces posts to their topic and answers once the broker has them all: one origin each, in order.
    pub produce: Call<Submission, Vec<Origin>>,
    /// Writes to `squall.control`.
    pub control: Call<ControlAct, ()>,
    /// To ask NOTIFY; none where it runs in another process.
    pub board: Option<Board>,
    /// Sends a sample to an endpoint, once; what went wrong, or nothing.
    pub test: Call<String, String>,
    /// `notify.max_silence`.
    pub max_silence: Duration,
    /// Renders the report of a campaign.
    pub report: Call<ReportRequest, Report>,
    /// The metrics in the text format of Prometheus.
    pub metrics: Arc<dyn Fn() -> String + Send + Sync>,
    /// Why this process is not ready to work, one short sentence each; empty when it is.
    pub ready: Arc<dyn Fn() -> Vec<String> + Send + Sync>,
}

/// Posts that were sent to the API, each checked by [`Post::decode`].
#[derive(Debug, Clone, PartialEq)]
pub struct Submission {
    /// The topic, one of the configured.
    pub topic: String,
    /// The posts as they came, bytes of one JSON object each.
    pub posts: Vec<Vec<u8>>,
}

/// Which report of a campaign.
#[derive(Debug, Clone, PartialEq)]
pub struct ReportRequest {
    /// The campaign; it need not be configured any more.
    pub campaign: CampaignId,
    /// First instant inside.
    pub from: Timestamp,
    /// First instant behind it.
    pub to: Timestamp,
    /// `html`, `json`, `csv` or `markdown`.
    pub format: &'static str,
}

/// A report, ready to be sent.
#[derive(Debug, Clone, PartialEq)]
pub struct Report {
    /// Its media type.
    pub content_type: &'static str,
    /// Its text.
    pub body: String,
}
