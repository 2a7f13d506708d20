//! One struct a section of `squall.toml`. What each key means stands in that file, which is compiled in
//! and holds the defaults; here are only the types.

use super::{Budget, RuleConfig, Secret, duration, network};
use crate::domain::{Campaign, EntityId, EntityList, Severity};
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
    #[serde(default)]
    pub routes: Vec<RouteConfig>,
    #[serde(default)]
    pub quiet_hours: Vec<QuietConfig>,
    #[serde(default)]
    pub tokens: Vec<TokenConfig>,
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
    pub cache_bytes: usize,
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
    pub precision: Precision,
    pub devices: Vec<String>,
}

/// How the numbers of the model's matrix products are held.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Precision {
    /// Eight bits, scaled: the fastest.
    Int8,
    /// Sixteen bits, with more digits and less range than `Bf16`.
    F16,
    /// Sixteen bits, the upper half of an f32.
    Bf16,
    /// All of them.
    F32,
}

impl Precision {
    /// Its name in the configuration.
    pub fn name(self) -> &'static str {
        match self {
            Self::Int8 => "int8",
            Self::F16 => "f16",
            Self::Bf16 => "bf16",
            Self::F32 => "f32",
        }
    }
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
    pub horizons: Vec<Duration>,
    pub budget: Budget,
    pub min_negative: u32,
    pub min_sources: u32,
    pub critical_rarity: f64,
    pub critical_effect: f64,
    pub update_power: f64,
    pub resolve_e_value: f64,
    #[serde(with = "duration")]
    pub resolve_after: Duration,
    #[serde(with = "duration")]
    pub cool_down: Duration,
    #[serde(with = "duration")]
    pub copy_lookback: Duration,
    pub author_cap: u32,
    pub calendar: String,
    pub exchange: String,
    #[serde(with = "duration")]
    pub lateness: Duration,
    #[serde(with = "duration")]
    pub max_hold: Duration,
    #[serde(with = "duration")]
    pub checkpoint_interval: Duration,
    #[serde(with = "duration")]
    pub max_alert_age: Duration,
    #[serde(default)]
    pub credibility: BTreeMap<String, f64>,
    #[serde(default)]
    pub rules: Vec<RuleConfig>,
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
    #[serde(with = "duration")]
    pub max_silence: Duration,
    pub group_from: usize,
    #[serde(with = "duration")]
    pub group_within: Duration,
    #[serde(with = "duration")]
    pub group_wait: Duration,
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
    #[serde(default)]
    pub secrets: Vec<Secret>,
    #[serde(default = "lowest")]
    pub min_severity: Severity,
    #[serde(default)]
    pub format: FormatConfig,
    #[serde(default)]
    pub template: Option<PathBuf>,
    #[serde(default)]
    pub routing_key: Secret,
    #[serde(default)]
    pub in_flight: Option<usize>,
    #[serde(default)]
    pub per_second: Option<f64>,
    #[serde(
        default,
        with = "duration::option",
        skip_serializing_if = "Option::is_none"
    )]
    pub alive: Option<Duration>,
}

/// `[[routes]]`: what its endpoints get.
#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
#[expect(missing_docs, reason = "the keys are documented in squall.toml")]
pub struct RouteConfig {
    pub endpoints: Vec<String>,
    #[serde(default)]
    pub entities: Vec<EntityId>,
    #[serde(default)]
    pub lists: Vec<EntityId>,
    #[serde(default)]
    pub rules: Vec<String>,
    #[serde(default = "lowest")]
    pub min_severity: Severity,
    #[serde(default)]
    pub hours: Option<HoursConfig>,
}

/// `[[quiet_hours]]`: when its endpoints hear only of what is critical.
#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
#[expect(missing_docs, reason = "the keys are documented in squall.toml")]
pub struct QuietConfig {
    pub endpoints: Vec<String>,
    pub hours: HoursConfig,
    #[serde(default)]
    pub escalate_to: Vec<String>,
}

/// Hours of the week: `{ from = "22:00", to = "07:00", zone = "Europe/Berlin", days = ["mon"] }`.
#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
#[expect(missing_docs, reason = "the keys are documented in squall.toml")]
pub struct HoursConfig {
    pub from: String,
    pub to: String,
    pub zone: String,
    #[serde(default)]
    pub days: Vec<String>,
}

/// `endpoints.format`
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
#[expect(missing_docs, reason = "the formats are documented in squall.toml")]
pub enum FormatConfig {
    #[default]
    Standard,
    Slack,
    PagerDuty,
    Alertmanager,
    Template,
}

impl EndpointConfig {
    /// The topic it names, where it is one of Kafka's: `kafka:alerts`.
    pub fn topic(&self) -> Option<&str> {
        self.url.expose().strip_prefix("kafka:")
    }

    /// An endpoint of which only this is configured.
    pub fn new(name: &str, url: impl Into<String>, secrets: Vec<Secret>) -> Self {
        Self {
            name: name.into(),
            url: Secret::new(url),
            secrets,
            min_severity: lowest(),
            format: FormatConfig::Standard,
            template: None,
            routing_key: Secret::default(),
            in_flight: None,
            per_second: None,
            alive: None,
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
    pub identity_header: String,
    pub identity_role: Access,
    #[serde(with = "network")]
    pub trusted_proxies: Vec<IpNet>,
}

/// `[[tokens]]`: who may use the API.
#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
#[expect(missing_docs, reason = "the keys are documented in squall.toml")]
pub struct TokenConfig {
    pub name: String,
    pub role: Access,
    pub hash: Secret,
}

impl TokenConfig {
    /// The SHA-256 of the token; none where the configuration holds no such thing.
    pub fn digest(&self) -> Option<[u8; 32]> {
        let hex = self.hash.expose().strip_prefix("sha256:")?;
        let mut digest = [0; 32];
        if hex.len() != 64 || !hex.is_ascii() {
            return None;
        }
        for (at, byte) in digest.iter_mut().enumerate() {
            *byte = u8::from_str_radix(hex.get(2 * at..2 * at + 2)?, 16).ok()?;
        }
        Some(digest)
    }
}

/// What someone may do with the API.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, clap::ValueEnum)]
#[serde(rename_all = "lowercase")]
pub enum Access {
    /// Reads.
    Viewer,
    /// Reads, acknowledges, silences, gives feedback, sees the audit.
    Analyst,
    /// Reads, scores, gives feedback.
    Marketer,
    /// Everything.
    Admin,
}

impl Access {
    /// The word used everywhere.
    pub fn name(self) -> &'static str {
        match self {
            Self::Viewer => "viewer",
            Self::Analyst => "analyst",
            Self::Marketer => "marketer",
            Self::Admin => "admin",
        }
    }
}

fn lowest() -> Severity {
    Severity::Warning
}
