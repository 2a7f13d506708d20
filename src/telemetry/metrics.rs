//! Every metric squall exposes, with its name, labels and buckets.
//!
//! Names follow the conventions of Prometheus: base units, `_total` on counters. Labels hold only what comes from
//! the configuration, from fixed lists in the code, or is bounded here: nothing in a post makes series without
//! limit.

use prometheus::core::{Collector, MetricVec, MetricVecBuilder};
use prometheus::{
    CounterVec, Gauge, GaugeVec, Histogram, HistogramOpts, IntCounter, IntCounterVec, IntGaugeVec,
    Opts, Registry, TextEncoder,
};

/// Tokens of a batch, padding included: 16 to 16,384.
const TOKENS: &[f64] = &[
    16.0, 32.0, 64.0, 128.0, 256.0, 512.0, 1024.0, 2048.0, 4096.0, 8192.0, 16_384.0,
];

/// Rows of a block of the store.
const BLOCK_ROWS: &[f64] = &[
    1.0, 10.0, 100.0, 1000.0, 5000.0, 10_000.0, 20_000.0, 50_000.0, 100_000.0,
];

/// Seconds of one run of the encoder: a single short text to a full batch on a slow processor.
const INFERENCE_SECONDS: &[f64] = &[
    0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0,
];

/// Seconds on the way through squall: finest around the second that is promised, up to an hour's outage.
const LATENCY_SECONDS: &[f64] = &[
    0.01, 0.025, 0.05, 0.1, 0.2, 0.3, 0.5, 0.75, 1.0, 1.5, 2.5, 5.0, 10.0, 30.0, 60.0, 300.0,
    900.0, 3600.0,
];

/// All metrics, with a registry of their own. Cheap to clone; clones count together.
#[derive(Debug, Clone)]
pub struct Metrics {
    registry: Registry,
    /// Posts taken from the broker, by topic.
    pub posts_consumed: Family<IntCounterVec, 1>,
    /// Posts sent to the dead letters, by reason ([`crate::domain::DecodeError::reason`]).
    pub posts_rejected: Family<IntCounterVec, 1>,
    posts_unsupported_language: Family<IntCounterVec, 1>,
    /// Entities found in posts.
    pub mentions_matched: IntCounter,
    /// Mentions that came after their window had closed.
    pub mentions_late: IntCounter,
    /// Records dropped because they were seen before, by role.
    pub repeats_dropped: Family<IntCounterVec, 1>,
    /// Tokens of each batch given to the encoder.
    pub batch_tokens: Histogram,
    /// Seconds the encoder took for each batch.
    pub inference_seconds: Histogram,
    /// Seconds from receiving a post to storing it.
    pub end_to_end_seconds: Histogram,
    /// Seconds from receiving the mention that decided an alert message to its first delivery.
    pub alert_seconds: Histogram,
    /// Records not yet done, by role, topic and partition.
    pub consumer_lag: Family<IntGaugeVec, 3>,
    /// Seconds the watermark is behind the clock.
    pub watermark_lag_seconds: Gauge,
    /// Seconds a stage has waited for the next one to take its output, by stage.
    pub blocked_seconds: Family<CounterVec, 1>,
    /// Alert messages, by rule and severity.
    pub alerts: Family<IntCounterVec, 2>,
    /// Deliveries that ended, by endpoint and outcome ([`crate::domain::Outcome::name`]).
    pub deliveries: Family<IntCounterVec, 2>,
    /// Deliveries that have not ended, by endpoint.
    pub deliveries_pending: Family<IntGaugeVec, 1>,
    /// Seconds by which the delivery that has waited longest for its next attempt is overdue, by endpoint.
    pub delivery_overdue_seconds: Family<GaugeVec, 1>,
    /// 1 while an endpoint is disabled, by endpoint.
    pub endpoint_disabled: Family<IntGaugeVec, 1>,
    /// Seconds from a checkpoint of DETECT to what it saves being kept.
    pub checkpoint_seconds: Histogram,
    /// Entities restored when DETECT took partitions over.
    pub entities_restored: IntCounter,
    /// Times that a role could not read or write its state, by role.
    pub state_errors: Family<IntCounterVec, 1>,
    /// Rows written to the store, by table.
    pub store_rows: Family<IntCounterVec, 1>,
    /// Rows of each block.
    pub store_block_rows: Histogram,
    /// Seconds since the oldest block was planned that is not stored yet.
    pub store_plan_age_seconds: Gauge,
    /// Records that expired before they were read, by topic.
    pub records_expired: Family<IntCounterVec, 1>,
    /// 1 while something cannot go on, by what.
    pub role_blocked: Family<IntGaugeVec, 1>,
}

/// A metric with `N` labels; `V` is a vector of the prometheus crate.
#[derive(Debug, Clone)]
pub struct Family<V, const N: usize>(V);

impl<B: MetricVecBuilder, const N: usize> Family<MetricVec<B>, N> {
    /// The metric with these label values, in the order in which the labels are declared.
    pub fn with(&self, values: [&str; N]) -> B::M {
        self.0.with_label_values(&values)
    }
}

impl Default for Metrics {
    fn default() -> Self {
        Self::new()
    }
}

impl Metrics {
    /// Media type of what [`Metrics::render`] gives.
    pub const MEDIA_TYPE: &str = prometheus::TEXT_FORMAT;

    /// All metrics at zero.
    pub fn new() -> Self {
        let all = Declare(Registry::new());
        let build_info = all.gauges(
            "squall_build_info",
            "Always 1; the label names the version.",
            ["version"],
        );
        build_info.with([env!("CARGO_PKG_VERSION")]).set(1);
        Self {
            posts_consumed: all.counters(
                "squall_posts_consumed_total",
                "Posts taken from the broker.",
                ["topic"],
            ),
            posts_rejected: all.counters(
                "squall_posts_rejected_total",
                "Posts sent to the dead letters.",
                ["reason"],
            ),
            posts_unsupported_language: all.counters(
                "squall_posts_unsupported_language_total",
                "Posts stored, but not scored, because the model does not know their language.",
                ["lang"],
            ),
            mentions_matched: all.add(IntCounter::new(
                "squall_mentions_matched_total",
                "Entities found in posts.",
            )),
            mentions_late: all.add(IntCounter::new(
                "squall_mentions_late_total",
                "Mentions that came after their window had closed.",
            )),
            repeats_dropped: all.counters(
                "squall_repeats_dropped_total",
                "Records dropped because they were seen before.",
                ["role"],
            ),
            batch_tokens: all.histogram(
                "squall_batch_tokens",
                "Tokens of each batch given to the encoder.",
                TOKENS,
            ),
            inference_seconds: all.histogram(
                "squall_inference_seconds",
                "Time the encoder took for each batch.",
                INFERENCE_SECONDS,
            ),
            end_to_end_seconds: all.histogram(
                "squall_end_to_end_seconds",
                "Time from receiving a post to storing it.",
                LATENCY_SECONDS,
            ),
            alert_seconds: all.histogram(
                "squall_alert_seconds",
                "Time from receiving the mention that decided an alert message to its first delivery.",
                LATENCY_SECONDS,
            ),
            consumer_lag: all.gauges(
                "squall_consumer_lag",
                "Records not yet done.",
                ["role", "topic", "partition"],
            ),
            watermark_lag_seconds: all.add(Gauge::new(
                "squall_watermark_lag_seconds",
                "Time by which the watermark is behind the clock.",
            )),
            blocked_seconds: all.seconds(
                "squall_blocked_seconds_total",
                "Time a stage has waited for the next one to take its output.",
                ["stage"],
            ),
            alerts: all.counters(
                "squall_alerts_total",
                "Alert messages.",
                ["rule", "severity"],
            ),
            deliveries: all.counters(
                "squall_deliveries_total",
                "Deliveries that ended.",
                ["endpoint", "outcome"],
            ),
            deliveries_pending: all.gauges(
                "squall_deliveries_pending",
                "Deliveries that have not ended.",
                ["endpoint"],
            ),
            delivery_overdue_seconds: all.levels(
                "squall_delivery_overdue_seconds",
                "Time by which the delivery that has waited longest for its next attempt is overdue.",
                ["endpoint"],
            ),
            endpoint_disabled: all.gauges(
                "squall_endpoint_disabled",
                "1 while nothing is sent to an endpoint, because it is gone or has failed for days.",
                ["endpoint"],
            ),
            checkpoint_seconds: all.histogram(
                "squall_checkpoint_seconds",
                "Time from a checkpoint of what was learnt to its being kept.",
                LATENCY_SECONDS,
            ),
            entities_restored: all.add(IntCounter::new(
                "squall_entities_restored_total",
                "Entities restored when partitions were taken over.",
            )),
            state_errors: all.counters(
                "squall_state_errors_total",
                "Times that state could not be read or written.",
                ["role"],
            ),
            store_rows: all.counters(
                "squall_store_rows_total",
                "Rows written to the store.",
                ["table"],
            ),
            store_block_rows: all.histogram(
                "squall_store_block_rows",
                "Rows of each block written to the store.",
                BLOCK_ROWS,
            ),
            store_plan_age_seconds: all.add(Gauge::new(
                "squall_store_plan_age_seconds",
                "Time since the oldest block was planned that is not stored yet.",
            )),
            records_expired: all.counters(
                "squall_records_expired_total",
                "Records that expired in Kafka before they were read, and are lost.",
                ["topic"],
            ),
            role_blocked: all.gauges(
                "squall_role_blocked",
                "1 while a role or one of its partitions cannot go on.",
                ["what"],
            ),
            registry: all.0,
        }
    }

    /// Counts a post whose language (ISO 639-1, empty where unknown) the model does not know. Whatever is no such
    /// code counts as `other`: senders name the language, and could name any.
    pub fn count_unsupported_language(&self, lang: &str) {
        let label = match lang.as_bytes() {
            [] => "unknown",
            [b'a'..=b'z', b'a'..=b'z'] => lang,
            _ => "other",
        };
        self.posts_unsupported_language.with([label]).inc();
    }

    /// All metrics in Prometheus' text format.
    pub fn render(&self) -> String {
        TextEncoder::new()
            .encode_to_string(&self.registry.gather())
            .unwrap_or_else(|error| format!("# {error}\n"))
    }
}

/// Makes metrics and registers them. Names and labels are constants of this file, so that nothing here can fail
/// unless two are declared alike, which every test of this file would show.
struct Declare(Registry);

impl Declare {
    fn add<C: Collector + Clone + 'static>(&self, metric: prometheus::Result<C>) -> C {
        let metric = metric.expect("names are valid");
        self.0
            .register(Box::new(metric.clone()))
            .expect("names differ");
        metric
    }

    fn counters<const N: usize>(
        &self,
        name: &str,
        help: &str,
        labels: [&str; N],
    ) -> Family<IntCounterVec, N> {
        Family(self.add(IntCounterVec::new(Opts::new(name, help), &labels)))
    }

    fn seconds<const N: usize>(
        &self,
        name: &str,
        help: &str,
        labels: [&str; N],
    ) -> Family<CounterVec, N> {
        Family(self.add(CounterVec::new(Opts::new(name, help), &labels)))
    }

    fn gauges<const N: usize>(
        &self,
        name: &str,
        help: &str,
        labels: [&str; N],
    ) -> Family<IntGaugeVec, N> {
        Family(self.add(IntGaugeVec::new(Opts::new(name, help), &labels)))
    }

    fn levels<const N: usize>(
        &self,
        name: &str,
        help: &str,
        labels: [&str; N],
    ) -> Family<GaugeVec, N> {
        Family(self.add(GaugeVec::new(Opts::new(name, help), &labels)))
    }

    fn histogram(&self, name: &str, help: &str, buckets: &[f64]) -> Histogram {
        let options = HistogramOpts::new(name, help).buckets(buckets.to_vec());
        self.add(Histogram::with_opts(options))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// What others rely on: names and labels in the text that Prometheus reads.
    #[test]
    fn every_metric_is_rendered_by_its_contracted_name_and_labels() {
        let metrics = Metrics::new();
        metrics.posts_consumed.with(["news"]).inc_by(3);
        metrics.posts_rejected.with(["not_json"]).inc();
        metrics.count_unsupported_language("de");
        metrics.mentions_matched.inc();
        metrics.mentions_late.inc();
        metrics.repeats_dropped.with(["store"]).inc();
        metrics.batch_tokens.observe(300.0);
        metrics.inference_seconds.observe(0.003);
        metrics.end_to_end_seconds.observe(0.4);
        metrics.alert_seconds.observe(0.6);
        metrics.consumer_lag.with(["score", "news", "0"]).set(7);
        metrics.watermark_lag_seconds.set(1.5);
        metrics.blocked_seconds.with(["score"]).inc_by(0.25);
        metrics.alerts.with(["negative-spike", "critical"]).inc();
        metrics.deliveries.with(["desk", "delivered"]).inc();
        metrics.deliveries_pending.with(["desk"]).set(4);
        metrics.delivery_overdue_seconds.with(["desk"]).set(2.5);
        metrics.endpoint_disabled.with(["desk"]).set(1);
        metrics.store_rows.with(["posts"]).inc_by(2);
        metrics.store_block_rows.observe(700.0);
        metrics.store_plan_age_seconds.set(2.0);
        metrics.records_expired.with(["news"]).inc_by(9);
        metrics.role_blocked.with(["store"]).set(1);
        metrics.checkpoint_seconds.observe(0.02);
        metrics.entities_restored.inc_by(9);
        metrics.state_errors.with(["detect"]).inc();

        let text = metrics.render();
        for line in [
            "squall_posts_consumed_total{topic=\"news\"} 3",
            "squall_posts_rejected_total{reason=\"not_json\"} 1",
            "squall_posts_unsupported_language_total{lang=\"de\"} 1",
            "squall_mentions_matched_total 1",
            "squall_mentions_late_total 1",
            "squall_repeats_dropped_total{role=\"store\"} 1",
            "squall_batch_tokens_bucket{le=\"256\"} 0",
            "squall_batch_tokens_bucket{le=\"512\"} 1",
            "squall_inference_seconds_sum 0.003",
            "squall_end_to_end_seconds_bucket{le=\"0.5\"} 1",
            "squall_alert_seconds_bucket{le=\"0.5\"} 0",
            "squall_alert_seconds_bucket{le=\"1\"} 1",
            "squall_consumer_lag{partition=\"0\",role=\"score\",topic=\"news\"} 7",
            "squall_watermark_lag_seconds 1.5",
            "squall_blocked_seconds_total{stage=\"score\"} 0.25",
            "squall_alerts_total{rule=\"negative-spike\",severity=\"critical\"} 1",
            "squall_deliveries_total{endpoint=\"desk\",outcome=\"delivered\"} 1",
            "squall_deliveries_pending{endpoint=\"desk\"} 4",
            "squall_delivery_overdue_seconds{endpoint=\"desk\"} 2.5",
            "squall_endpoint_disabled{endpoint=\"desk\"} 1",
            "squall_store_rows_total{table=\"posts\"} 2",
            "squall_store_block_rows_bucket{le=\"1000\"} 1",
            "squall_store_plan_age_seconds 2",
            "squall_records_expired_total{topic=\"news\"} 9",
            "squall_role_blocked{what=\"store\"} 1",
            "squall_checkpoint_seconds_bucket{le=\"0.01\"} 0",
            "squall_checkpoint_seconds_bucket{le=\"0.025\"} 1",
            "squall_entities_restored_total 9",
            "squall_state_errors_total{role=\"detect\"} 1",
            concat!(
                "squall_build_info{version=\"",
                env!("CARGO_PKG_VERSION"),
                "\"} 1"
            ),
        ] {
            assert!(
                text.lines().any(|found| found == line),
                "{line} is not in\n{text}"
            );
        }
    }

    #[test]
    fn clones_count_together_and_registries_apart() {
        let metrics = Metrics::new();
        metrics.clone().mentions_matched.inc();
        assert_eq!(metrics.mentions_matched.get(), 1);
        assert_eq!(Metrics::new().mentions_matched.get(), 0);
    }

    #[test]
    fn languages_make_a_bounded_number_of_series() {
        let metrics = Metrics::new();
        for lang in ["", "fr", "FR", "en-US", "f\n", "\"}", "日本", "xxx"] {
            metrics.count_unsupported_language(lang);
        }
        let text = metrics.render();
        let series: Vec<_> = text
            .lines()
            .filter(|line| line.starts_with("squall_posts_unsupported_language_total{"))
            .collect();
        assert_eq!(
            series,
            [
                "squall_posts_unsupported_language_total{lang=\"fr\"} 1",
                "squall_posts_unsupported_language_total{lang=\"other\"} 6",
                "squall_posts_unsupported_language_total{lang=\"unknown\"} 1",
            ]
        );
    }
}
