//! One struct a section of `squall.toml`. What each key means stands in that file, which is compiled in
//! and holds the defaults; here are only the types.

use super::{Secret, duration, network};
use crate::domain::{Campaign, EntityList, Severity};
use ipnet::IpNet;
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::path::PathBuf;
use std::time::Duration;

/// The whole configuration, checked.
#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
#[expect(missing_docs, reason = "the keys are documented in squall.toml")]
pub struct Config {
    pub run: RunConfig,
    pub kafka: KafkaConfig,
    pub topics: Vec<TopicConfig>,
    pub score: ScoreConfig,
    pub model: ModelConfig,
    pub entities: EntitiesConfig,
    #[serde(default)]
    pub lists: Vec<EntityList>,
    #[serde(default)]
    pub campaigns: Vec<Campaign>,
    pub store: StoreConfig,
    pub clickhouse: ClickHouseConfig,
    pub detect: DetectConfig,
    pub notify: NotifyConfig,
    #[serde(default)]
    pub endpoints: Vec<EndpointConfig>,
    pub api: ApiConfig,
}

/// `[run]`
#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
#[expect(missing_docs, reason = "the keys are documented in squall.toml")]
pub struct RunConfig {
    pub data_dir: PathBuf,
    #[serde(with = "duration")]
    pub drain_deadline: Duration,
}

/// `[kafka]`
#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
#[expect(missing_docs, reason = "the keys are documented in squall.toml")]
pub struct KafkaConfig {
    pub brokers: String,
    pub epoch: String,
    pub group: String,
    pub partitions: i32,
    #[serde(default)]
    pub client: BTreeMap<String, Secret>,
}

/// `[[topics]]`
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
#[expect(missing_docs, reason = "the keys are documented in squall.toml")]
pub struct TopicConfig {
    pub name: String,
    pub source: String,
}

/// `[score]`
#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
#[expect(missing_docs, reason = "the keys are documented in squall.toml")]
pub struct ScoreConfig {
    pub languages: Vec<String>,
    pub max_text_bytes: usize,
    pub batch_tokens: usize,
    #[serde(with = "duration")]
    pub batch_linger: Duration,
    #[serde(with = "duration")]
    pub progress_interval: Duration,
}

/// `[model]`
#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
#[expect(missing_docs, reason = "the keys are documented in squall.toml")]
pub struct ModelConfig {
    pub source: String,
    pub cache_dir: PathBuf,
    pub hub: String,
    pub max_tokens: usize,
}

/// `[entities]`
#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
#[expect(missing_docs, reason = "the keys are documented in squall.toml")]
pub struct EntitiesConfig {
    pub dictionary: String,
}

/// `[store]`
#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
#[expect(missing_docs, reason = "the keys are documented in squall.toml")]
pub struct StoreConfig {
    pub path: PathBuf,
    pub flush_rows: usize,
    #[serde(with = "duration")]
    pub flush_interval: Duration,
}

/// `[clickhouse]`
#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
#[expect(missing_docs, reason = "the keys are documented in squall.toml")]
pub struct ClickHouseConfig {
    pub url: String,
    pub database: String,
    pub user: String,
    pub password: Secret,
    pub cluster: String,
    #[serde(with = "duration")]
    pub keep: Duration,
    pub migrate: bool,
    #[serde(with = "duration")]
    pub timeout: Duration,
}

/// `[detect]`
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
#[expect(missing_docs, reason = "the keys are documented in squall.toml")]
pub struct DetectConfig {
    pub rule: String,
    #[serde(with = "duration::list")]
    pub windows: Vec<Duration>,
    pub p_value: f64,
    pub min_negative: u32,
    pub min_sources: u32,
    pub critical_p_value: f64,
    pub update_power: f64,
    pub resolve_p_value: f64,
    #[serde(with = "duration")]
    pub resolve_after: Duration,
    #[serde(with = "duration")]
    pub cool_down: Duration,
    #[serde(with = "duration")]
    pub copy_lookback: Duration,
    #[serde(with = "duration")]
    pub lateness: Duration,
    #[serde(with = "duration")]
    pub max_hold: Duration,
    #[serde(with = "duration")]
    pub checkpoint_interval: Duration,
    #[serde(with = "duration")]
    pub max_alert_age: Duration,
}

/// `[notify]`
#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
#[expect(missing_docs, reason = "the keys are documented in squall.toml")]
pub struct NotifyConfig {
    #[serde(with = "duration")]
    pub timeout: Duration,
    pub attempts: u32,
    #[serde(with = "duration::list")]
    pub retry_waits: Vec<Duration>,
    #[serde(with = "duration")]
    pub disable_after: Duration,
    pub in_flight: usize,
    #[serde(with = "network")]
    pub allow: Vec<IpNet>,
}

/// `[[endpoints]]`
#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
#[expect(missing_docs, reason = "the keys are documented in squall.toml")]
pub struct EndpointConfig {
    pub name: String,
    pub url: Secret,
    pub secrets: Vec<Secret>,
    #[serde(default = "lowest")]
    pub min_severity: Severity,
    #[serde(default)]
    pub in_flight: Option<usize>,
    #[serde(default)]
    pub per_second: Option<f64>,
}

impl EndpointConfig {
    /// An endpoint of which only this is configured.
    pub fn new(name: &str, url: impl Into<String>, secrets: Vec<Secret>) -> Self {
        Self {
            name: name.into(),
            url: Secret::new(url),
            secrets,
            min_severity: lowest(),
            in_flight: None,
            per_second: None,
        }
    }
}

/// `[api]`
#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
#[expect(missing_docs, reason = "the keys are documented in squall.toml")]
pub struct ApiConfig {
    pub listen: SocketAddr,
    pub token: Secret,
    pub public_url: String,
}

fn lowest() -> Severity {
    Severity::Warning
}
