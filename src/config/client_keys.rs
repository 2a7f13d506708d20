//! What `kafka.client` may not say: settings that squall makes itself, because its promises rest on them.

use super::{Config, KafkaConfig};
use std::time::Duration;

/// Kafka's default `max.poll.interval.ms`: a drain must be shorter, or the group takes the partitions away.
const MAX_POLL_INTERVAL: Duration = Duration::from_secs(300);

/// Key, and why it cannot be set.
const OWN: [(&str, &str); 14] = [
    (
        "bootstrap.servers",
        "the brokers are named in one place: use kafka.brokers",
    ),
    (
        "metadata.broker.list",
        "the brokers are named in one place: use kafka.brokers",
    ),
    ("group.id", "each role has its own group: use kafka.group"),
    (
        "group.instance.id",
        "roles and processes would push each other out of their groups",
    ),
    (
        "enable.auto.commit",
        "an offset is committed only when all that came of the record is kept",
    ),
    (
        "enable.auto.offset.store",
        "an offset is committed only when all that came of the record is kept",
    ),
    (
        "auto.offset.reset",
        "a new group begins at the beginning, or posts would be passed over",
    ),
    (
        "enable.partition.eof",
        "the end of a partition would be taken for an error",
    ),
    (
        "partition.assignment.strategy",
        "all processes of a group must share partitions in the same way",
    ),
    (
        "enable.idempotence",
        "the order of each partition rests on it",
    ),
    (
        "transactional.id",
        "the producer writes outside of transactions",
    ),
    (
        "message.timeout.ms",
        "a record given up would be a gap in its partition",
    ),
    (
        "delivery.timeout.ms",
        "a record given up would be a gap in its partition",
    ),
    ("statistics.interval.ms", "lag is read from the statistics"),
];

/// Settings that are refused, and a drain longer than the group waits. No value is shown.
pub(super) fn problems(config: &Config) -> Vec<String> {
    let set = |key: &str| config.kafka.client.contains_key(key);
    let mut problems: Vec<String> = OWN
        .iter()
        .filter(|(key, _)| set(key))
        .map(|(key, reason)| format!("kafka.client.{key}: is set by squall: {reason}"))
        .collect();
    match max_poll_interval(&config.kafka) {
        Ok(interval) if config.run.drain_deadline < interval => {}
        Ok(interval) => problems.push(format!(
            "run.drain_deadline: must be shorter than Kafka's max.poll.interval.ms, which is {}: shorten it, or raise that in kafka.client",
            interval.as_millis()
        )),
        Err(problem) => problems.push(problem),
    }
    problems
}

/// `max.poll.interval.ms` as it counts.
fn max_poll_interval(kafka: &KafkaConfig) -> Result<Duration, String> {
    const KEY: &str = "max.poll.interval.ms";
    match kafka.client.get(KEY) {
        None => Ok(MAX_POLL_INTERVAL),
        Some(text) => text
            .expose()
            .parse()
            .map(Duration::from_millis)
            .map_err(|_| format!("kafka.client.{KEY}: is no number of milliseconds")),
    }
}

#[cfg(test)]
mod tests {
    use super::super::Secret;
    use super::super::check::tests::errors;
    use super::*;

    #[test]
    fn what_squall_rests_on_is_not_left_to_the_client_settings() {
        let set = |key: &'static str, value: &'static str| {
            errors(move |c| {
                c.kafka.brokers = "host:9092".into();
                c.kafka.client.insert(key.into(), Secret::new(value));
            })
        };
        for key in [
            "group.id",
            "enable.auto.commit",
            "enable.auto.offset.store",
            "enable.idempotence",
            "message.timeout.ms",
            "statistics.interval.ms",
            "bootstrap.servers",
            "partition.assignment.strategy",
            "auto.offset.reset",
            "enable.partition.eof",
        ] {
            let errors = set(key, "hush");
            assert_eq!(errors.len(), 1, "{errors:?}");
            assert!(
                errors[0].starts_with(&format!("kafka.client.{key}: is set by squall: ")),
                "{errors:?}"
            );
        }
        assert!(set("bootstrap.servers", "x")[0].contains("use kafka.brokers"));
        assert!(set("security.protocol", "SSL").is_empty());
    }

    #[test]
    fn a_drain_is_shorter_than_the_poll_interval_that_counts() {
        let set = |interval: &'static str, seconds| {
            errors(move |c| {
                c.kafka.brokers = "host:9092".into();
                c.kafka
                    .client
                    .insert("max.poll.interval.ms".into(), Secret::new(interval));
                c.run.drain_deadline = Duration::from_secs(seconds);
            })
        };
        assert!(set("21000", 20).is_empty());
        assert!(set("20000", 20)[0].starts_with("run.drain_deadline"));
        assert!(set("600000", 500).is_empty());
        assert!(
            errors(|c| c.run.drain_deadline = Duration::from_secs(300))[0]
                .starts_with("run.drain_deadline")
        );
        let wrong = set("hush", 20);
        assert!(
            wrong[0].starts_with("kafka.client.max.poll.interval.ms") && !wrong[0].contains("hush"),
            "{wrong:?}"
        );
    }
}
