//! The broker: it answers, its settings keep what squall commits, its brokers are enough.

use super::finding::Finding;
use super::{groups, topics};
use crate::broker::{BrokerError, ClusterFacts, Connection, Settings};
use crate::config::{Config, EMBEDDED};
use std::collections::BTreeMap;

const SUBJECT: &str = "kafka";

/// A plan of STORE is kept as the metadata of an offset, and has up to so many bytes.
const LONGEST_PLAN: u64 = 4096;
/// A consumer group whose offsets are forgotten begins again at the beginning.
const OFFSETS_KEPT: u64 = 7 * 24 * 60;

/// The broker, its topics and squall's groups.
pub(super) async fn check(config: &Config) -> Vec<Finding> {
    let opening = config.clone();
    let opened = tokio::task::spawn_blocking(move || Connection::open(&opening)).await;
    let connection = match opened {
        Ok(Ok(connection)) => connection,
        Ok(Err(error @ BrokerError::NotRunning { .. })) => return vec![not_running(&error)],
        Ok(Err(error)) => return vec![Finding::failed(SUBJECT, error)],
        Err(error) => return vec![Finding::failed(SUBJECT, error)],
    };
    let facts = match connection.facts().await {
        Ok(facts) => facts,
        Err(error) => return vec![Finding::failed(SUBJECT, error)],
    };
    let embedded = connection.is_embedded();
    let mut findings = judge(&facts, embedded);
    findings.extend(topics::judge(config, &facts, embedded));
    findings.extend(groups::check(config, connection).await);
    findings
}

/// Nothing is wrong with an embedded broker that does not run.
fn not_running(error: &BrokerError) -> Finding {
    Finding::not_checked(SUBJECT, format!("{error}"))
}

fn judge(facts: &ClusterFacts, embedded: bool) -> Vec<Finding> {
    if embedded {
        return vec![
            Finding::ok(
                SUBJECT,
                format!("the broker of `squall run` answers ({EMBEDDED})"),
            ),
            Finding::not_checked(
                SUBJECT,
                "settings, retention and copies: the embedded broker has none; what is queued in it is lost with its process",
            ),
        ];
    }
    let mut findings = vec![match facts.brokers {
        1 => Finding::warning(
            SUBJECT,
            "one broker answers, and its disk holds the only copy of every record",
            "run three brokers where records must survive one of them",
        ),
        brokers => Finding::ok(SUBJECT, format!("{brokers} brokers answer")),
    }];
    findings.extend(judge_settings(&facts.settings));
    findings.extend(judge_offsets_topic(facts));
    findings.push(Finding::not_checked(
        "clock",
        "that of the brokers: they tell it only of a record that is written to them",
    ));
    findings
}

/// Settings of a broker on which committed plans and offsets rest.
fn judge_settings(settings: &Settings) -> Vec<Finding> {
    let settings = match settings {
        Ok(settings) => settings,
        Err(problem) => {
            return vec![Finding::not_checked(
                SUBJECT,
                format!(
                    "settings of the broker ({problem}): squall's user needs DESCRIBE_CONFIGS on the cluster to read them"
                ),
            )];
        }
    };
    let (metadata, minutes) = (
        number::<u64>(settings, "offset.metadata.max.bytes"),
        number::<u64>(settings, "offsets.retention.minutes"),
    );
    let metadata = match metadata {
        None => unknown("offset.metadata.max.bytes"),
        Some(bytes) if bytes < LONGEST_PLAN => Finding::error(
            SUBJECT,
            format!(
                "offset.metadata.max.bytes is {bytes}: STORE's plans would be refused, and nothing stored"
            ),
            format!("set it to {LONGEST_PLAN} (Kafka's default) or more on every broker"),
        ),
        Some(bytes) => Finding::ok(SUBJECT, format!("offset.metadata.max.bytes is {bytes}")),
    };
    let minutes = match minutes {
        None => unknown("offsets.retention.minutes"),
        Some(minutes) if minutes < OFFSETS_KEPT => Finding::warning(
            SUBJECT,
            format!(
                "offsets.retention.minutes is {minutes}: when squall is away for longer, its offsets and plans are forgotten, and rows may be stored twice"
            ),
            format!("set it to {OFFSETS_KEPT} (7 days, Kafka's default) or more on every broker"),
        ),
        Some(minutes) => Finding::ok(SUBJECT, format!("offsets.retention.minutes is {minutes}")),
    };
    vec![metadata, minutes]
}

fn unknown(setting: &str) -> Finding {
    Finding::not_checked(SUBJECT, format!("{setting}: the broker does not tell it"))
}

/// Kafka's own topic of committed offsets has as many copies as there can be, up to 3.
fn judge_offsets_topic(facts: &ClusterFacts) -> Option<Finding> {
    let topic = facts
        .topics
        .iter()
        .find(|topic| topic.name == "__consumer_offsets")?;
    let wanted = facts.brokers.min(3);
    (topic.replicas < wanted).then(|| {
        Finding::warning(
            SUBJECT,
            format!(
                "__consumer_offsets has {} of {wanted} possible copies: with a broker's disk the offsets and plans on it are lost",
                topic.replicas
            ),
            "raise its replication factor with kafka-reassign-partitions, and offsets.topic.replication.factor",
        )
    })
}

/// A setting that is a number.
pub(super) fn number<T: std::str::FromStr>(
    settings: &BTreeMap<String, String>,
    name: &str,
) -> Option<T> {
    settings.get(name)?.trim().parse().ok()
}

#[cfg(test)]
mod tests {
    use super::super::finding::Level;
    use super::*;
    use crate::broker::TopicFacts;

    fn settings(pairs: &[(&str, &str)]) -> Settings {
        let pairs = pairs.iter();
        Ok(pairs
            .map(|(k, v)| ((*k).to_owned(), (*v).to_owned()))
            .collect())
    }

    fn levels(findings: &[Finding]) -> Vec<Level> {
        findings.iter().map(|finding| finding.level).collect()
    }

    #[test]
    fn what_committed_plans_rest_on_is_judged() {
        let good = settings(&[
            ("offset.metadata.max.bytes", "4096"),
            ("offsets.retention.minutes", "10080"),
        ]);
        assert_eq!(levels(&judge_settings(&good)), [Level::Ok, Level::Ok]);
        let bad = settings(&[
            ("offset.metadata.max.bytes", "1024"),
            ("offsets.retention.minutes", "60"),
        ]);
        assert_eq!(
            levels(&judge_settings(&bad)),
            [Level::Error, Level::Warning]
        );
        let odd = settings(&[("offset.metadata.max.bytes", "many")]);
        assert_eq!(
            levels(&judge_settings(&odd)),
            [Level::NotChecked, Level::NotChecked]
        );
        let refused = Err("ClusterAuthorizationFailed".to_owned());
        assert_eq!(levels(&judge_settings(&refused)), [Level::NotChecked]);
    }

    #[test]
    fn one_broker_and_a_single_copy_of_the_offsets_are_warned_of() {
        let facts = |brokers, replicas| ClusterFacts {
            brokers,
            topics: vec![TopicFacts {
                name: "__consumer_offsets".into(),
                partitions: 50,
                replicas,
                in_sync: replicas,
                settings: Err(String::new()),
            }],
            settings: Err("x".into()),
        };
        let judged = |brokers, replicas| levels(&judge(&facts(brokers, replicas), false));
        let (fine, unchecked, warned) = (Level::Ok, Level::NotChecked, Level::Warning);
        assert_eq!(judged(3, 3), [fine, unchecked, unchecked]);
        assert_eq!(judged(3, 1), [fine, unchecked, warned, unchecked]);
        assert_eq!(judged(1, 1), [warned, unchecked, unchecked]);
        assert_eq!(
            levels(&judge(&facts(1, 1), true)),
            [Level::Ok, Level::NotChecked]
        );
    }
}
