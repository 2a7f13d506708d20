//! The topics: they are there, as many partitions as belong together, and they keep records long enough.

use super::counted;
use super::finding::{Finding, Level};
use super::kafka::number;
use crate::broker::topics::{self, DETECT_STATE};
use crate::broker::{ClusterFacts, TopicFacts};
use crate::config::{Config, duration};
use std::collections::BTreeMap;
use std::time::Duration;

const SUBJECT: &str = "topics";
const HOUR: Duration = Duration::from_secs(3600);

/// Records of squall's own topics wait for the database so long. Below it an outage of a long weekend loses rows …
const KEPT_OWN: Duration = HOUR.saturating_mul(72);
/// … and of posts for SCORE.
const KEPT_SOURCE: Duration = HOUR.saturating_mul(24);
/// Below this any restart could lose some.
const KEPT_LEAST: Duration = HOUR;
/// SCORE and the dead letters write records of up to 950,000 bytes.
const LARGEST_RECORD: u64 = 1_000_000;

/// Topics that are made with as many partitions as each other.
const EQUAL: [(&str, &str); 2] = [
    (topics::SCORED, topics::DEAD),
    (topics::MENTIONS, topics::CLUSTERS),
];

/// All that is to be said of the source topics and of squall's own.
pub(super) fn judge(config: &Config, facts: &ClusterFacts, embedded: bool) -> Vec<Finding> {
    let by_name: BTreeMap<&str, &TopicFacts> = facts
        .topics
        .iter()
        .map(|topic| (topic.name.as_str(), topic))
        .collect();
    let mut findings = Vec::new();
    for topic in &config.topics {
        match by_name.get(topic.name.as_str()) {
            None => findings.push(Finding::error(
                SUBJECT,
                format!("source topic {} does not exist", topic.name),
                "correct its name under [[topics]], or create it",
            )),
            Some(facts) if !embedded => findings.extend(judge_settings(facts, Kind::Source)),
            Some(_) => {}
        }
    }
    let own = topics::own(config.kafka.partitions);
    let missing: Vec<&str> = own
        .iter()
        .map(|(name, _)| *name)
        .filter(|name| !by_name.contains_key(name))
        .collect();
    if !missing.is_empty() {
        findings.push(Finding::warning(
            SUBJECT,
            format!("{} do not exist yet", missing.join(", ")),
            "the next start of `squall run` makes them; where its user may not, make them yourself",
        ));
    }
    findings.extend(judge_partitions(&by_name));
    if !embedded {
        for topic in facts
            .topics
            .iter()
            .filter(|topic| topic.name.starts_with("squall."))
        {
            findings.extend(judge_settings(topic, Kind::of_own(&topic.name)));
        }
    }
    for topic in facts
        .topics
        .iter()
        .filter(|topic| is_source_or_own(config, &topic.name))
    {
        findings.extend(judge_copies(topic, facts.brokers));
    }
    if findings.iter().all(Finding::is_fine) {
        findings.push(Finding::ok(
            SUBJECT,
            format!(
                "{} and squall's own are as they should be",
                counted(config.topics.len(), "source topic")
            ),
        ));
    }
    findings
}

fn is_source_or_own(config: &Config, name: &str) -> bool {
    name.starts_with("squall.") || config.topics.iter().any(|topic| topic.name == name)
}

fn judge_partitions(by_name: &BTreeMap<&str, &TopicFacts>) -> Vec<Finding> {
    let count = |name: &str| by_name.get(name).map(|topic| topic.partitions);
    let mut findings = Vec::new();
    for (one, other) in EQUAL {
        if let (Some(n), Some(m)) = (count(one), count(other))
            && n != m
        {
            findings.push(Finding::warning(
                SUBJECT,
                format!(
                    "{one} has {n} partitions, {other} {m}: they were made with as many, so partitions were added since, and records of one source or entity stand in two of them, where a repeat is not known"
                ),
                "never add partitions to a topic of squall's while something waits in it or squall runs",
            ));
        }
    }
    if let (Some(mentions), Some(states)) = (count(topics::MENTIONS), count(DETECT_STATE))
        && states < mentions
    {
        findings.push(Finding::error(
            SUBJECT,
            format!(
                "{DETECT_STATE} has {states} partitions, {} {mentions}: DETECT cannot remember what it learned of the others",
                topics::MENTIONS
            ),
            format!("add partitions to {DETECT_STATE} until it has {mentions}"),
        ));
    }
    let single = topics::own(2).into_iter().filter(|(_, count)| *count == 1);
    for (name, _) in single {
        if let Some(partitions) = count(name).filter(|partitions| *partitions != 1) {
            findings.push(Finding::warning(
                SUBJECT,
                format!("{name} has {partitions} partitions, of which squall uses the first only"),
                "nothing is lost by it; make it with one partition the next time",
            ));
        }
    }
    findings
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Kind {
    /// Posts.
    Source,
    /// Records of squall's that are read once.
    Own,
    /// What a role remembers by key.
    State,
}

impl Kind {
    fn of_own(name: &str) -> Self {
        match topics::readers(name) {
            [] => Self::State,
            _ => Self::Own,
        }
    }
}

/// Cleanup, retention and the largest record of a topic. Nothing where all is well.
fn judge_settings(topic: &TopicFacts, kind: Kind) -> Vec<Finding> {
    let name = &topic.name;
    let settings = match &topic.settings {
        Ok(settings) => settings,
        Err(problem) => {
            return vec![Finding::not_checked(
                SUBJECT,
                format!(
                    "settings of {name} ({problem}): squall's user needs DESCRIBE_CONFIGS on it to read them"
                ),
            )];
        }
    };
    let mut findings = Vec::new();
    let text = |key: &str| settings.get(key).map(String::as_str);
    findings.extend(judge_cleanup(
        name,
        text("cleanup.policy").unwrap_or_default(),
        kind,
    ));
    if kind != Kind::State {
        findings.extend(judge_retention(name, settings, kind));
    }
    let largest: Option<u64> = number(settings, "max.message.bytes");
    if kind != Kind::Source
        && let Some(bytes) = largest.filter(|bytes| *bytes < LARGEST_RECORD)
    {
        findings.push(Finding::error(
            SUBJECT,
            format!("{name} takes records of {bytes} bytes at most (max.message.bytes): a larger one would stop its writer for ever"),
            format!("set max.message.bytes to {LARGEST_RECORD} or more"),
        ));
    }
    if text("unclean.leader.election.enable") == Some("true") {
        findings.push(Finding::warning(
            SUBJECT,
            format!("{name} may be led by a broker that lacks records (unclean.leader.election.enable): acknowledged records vanish then, and offsets come a second time"),
            "set unclean.leader.election.enable to false",
        ));
    }
    findings
}

/// State is compacted, and nothing else is.
fn judge_cleanup(name: &str, policy: &str, kind: Kind) -> Option<Finding> {
    let compacted = policy.contains("compact");
    let (level, lost, right) = match kind {
        Kind::State if policy.contains("delete") || !compacted => {
            let lost = "what a role remembers is forgotten with time";
            (Level::Error, lost, "compact")
        }
        Kind::Own if compacted => {
            let lost = "records that were not read yet are removed";
            (Level::Error, lost, "delete")
        }
        Kind::Source if compacted => {
            let lost = "posts with the key of a later one are removed";
            (Level::Warning, lost, "delete")
        }
        _ => return None,
    };
    Some(Finding::wrong(
        level,
        SUBJECT,
        format!("{name} has the cleanup.policy {policy}: {lost}"),
        format!("set cleanup.policy to {right}"),
    ))
}

/// How long what was not read yet stays.
fn judge_retention(name: &str, settings: &BTreeMap<String, String>, kind: Kind) -> Vec<Finding> {
    let mut findings = Vec::new();
    let enough = match kind {
        Kind::Source => KEPT_SOURCE,
        Kind::Own | Kind::State => KEPT_OWN,
    };
    // -1 is for ever.
    let millis: Option<i64> = number(settings, "retention.ms");
    let kept = millis
        .and_then(|millis| u64::try_from(millis).ok())
        .map(Duration::from_millis);
    if let Some(kept) = kept.filter(|kept| *kept < enough) {
        let level = match kept < KEPT_LEAST {
            true => Level::Error,
            false => Level::Warning,
        };
        findings.push(Finding::wrong(
            level,
            SUBJECT,
            format!(
                "{name} keeps records for {} (retention.ms): what is not read by then, because squall or its database is away, is lost",
                duration::format(kept)
            ),
            format!("set retention.ms to {} ({}) or more", enough.as_millis(), duration::format(enough)),
        ));
    }
    if let Some(bytes) = number::<i64>(settings, "retention.bytes").filter(|bytes| *bytes >= 0) {
        findings.push(Finding::warning(
            SUBJECT,
            format!("{name} keeps only {bytes} bytes a partition (retention.bytes), however short that is"),
            "set it to -1, or to what comes in during the longest outage",
        ));
    }
    findings
}

/// Copies of a topic, against the brokers there are and what a write needs.
fn judge_copies(topic: &TopicFacts, brokers: usize) -> Vec<Finding> {
    let TopicFacts {
        name,
        replicas,
        in_sync,
        ..
    } = topic;
    let settings = topic.settings.as_ref().ok();
    let needed = settings.and_then(|settings| number::<usize>(settings, "min.insync.replicas"));
    let mut findings = Vec::new();
    if *replicas == 1 && brokers > 1 {
        findings.push(Finding::warning(
            SUBJECT,
            format!("{name} has one copy: with the disk of its broker its records are lost"),
            "raise its replication factor to 3 (2 with two brokers) with kafka-reassign-partitions",
        ));
    }
    if in_sync < replicas {
        findings.push(Finding::warning(
            SUBJECT,
            format!("{name} has {in_sync} of {replicas} copies up to date"),
            "look after the broker that is behind",
        ));
    }
    let Some(needed) = needed else {
        return findings;
    };
    if needed > *in_sync {
        findings.push(Finding::error(
            SUBJECT,
            format!("{name} takes no record: {in_sync} copies are up to date, min.insync.replicas is {needed}"),
            "bring brokers back, or lower min.insync.replicas",
        ));
    } else if *replicas > 1 && needed == 1 {
        findings.push(Finding::warning(
            SUBJECT,
            format!("{name} acknowledges a record that one broker has (min.insync.replicas is 1): it is lost with that broker"),
            "set min.insync.replicas to 2",
        ));
    } else if *replicas > 1 && needed == *replicas {
        findings.push(Finding::warning(
            SUBJECT,
            format!("{name} takes no record while one broker is away (min.insync.replicas is {needed}, as many as copies)"),
            "set it one lower than the replication factor",
        ));
    }
    findings
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config;

    const GOOD: [(&str, &str); 6] = [
        ("cleanup.policy", "delete"),
        ("retention.ms", "604800000"),
        ("retention.bytes", "-1"),
        ("max.message.bytes", "1048588"),
        ("min.insync.replicas", "2"),
        ("unclean.leader.election.enable", "false"),
    ];

    fn topic(name: &str, partitions: i32, changed: &[(&str, &str)]) -> TopicFacts {
        let settings = GOOD.iter().chain(changed);
        TopicFacts {
            name: name.into(),
            partitions,
            replicas: 3,
            in_sync: 3,
            settings: Ok(settings
                .map(|(k, v)| ((*k).to_owned(), (*v).to_owned()))
                .collect()),
        }
    }

    fn cluster() -> ClusterFacts {
        let state = [("cleanup.policy", "compact"), ("retention.ms", "1")];
        let own = topics::own(4).map(|(name, count)| match Kind::of_own(name) {
            Kind::State => topic(name, count, &state),
            _ => topic(name, count, &[]),
        });
        let sources = ["news", "social"].map(|name| topic(name, 4, &[]));
        ClusterFacts {
            brokers: 3,
            topics: own.into_iter().chain(sources).collect(),
            settings: Err(String::new()),
        }
    }

    /// What is found besides that all is well.
    fn found(facts: &ClusterFacts, embedded: bool) -> Vec<(Level, String)> {
        let config = config::load(None, std::iter::empty()).unwrap();
        let findings = judge(&config, facts, embedded);
        let findings = findings
            .into_iter()
            .filter(|finding| finding.level != Level::Ok);
        findings
            .map(|finding| (finding.level, finding.to_string()))
            .collect()
    }

    fn change(name: &str, with: impl Fn(&mut TopicFacts)) -> Vec<(Level, String)> {
        let mut facts = cluster();
        let changed = facts.topics.iter_mut().find(|topic| topic.name == name);
        with(changed.unwrap());
        found(&facts, false)
    }

    fn set(name: &str, key: &str, value: &str) -> Vec<(Level, String)> {
        change(name, |topic| {
            let settings = topic.settings.as_mut().unwrap();
            settings.insert(key.into(), value.into());
        })
    }

    #[test]
    fn a_good_cluster_has_nothing_to_be_found() {
        assert_eq!(found(&cluster(), false), []);
        assert_eq!(found(&cluster(), true), []);
    }

    #[test]
    fn what_would_lose_records_is_named_with_its_topic() {
        for (name, key, value, level) in [
            ("squall.scored", "cleanup.policy", "compact", Level::Error),
            (
                "squall.scored",
                "cleanup.policy",
                "compact,delete",
                Level::Error,
            ),
            ("news", "cleanup.policy", "compact", Level::Warning),
            (DETECT_STATE, "cleanup.policy", "delete", Level::Error),
            (
                DETECT_STATE,
                "cleanup.policy",
                "compact,delete",
                Level::Error,
            ),
            ("squall.scored", "retention.ms", "60000", Level::Error),
            ("squall.scored", "retention.ms", "86400000", Level::Warning),
            ("news", "retention.ms", "43200000", Level::Warning),
            ("squall.dead", "retention.bytes", "1000000", Level::Warning),
            ("squall.scored", "max.message.bytes", "100000", Level::Error),
            ("squall.scored", "min.insync.replicas", "1", Level::Warning),
            ("squall.scored", "min.insync.replicas", "3", Level::Warning),
            ("squall.scored", "min.insync.replicas", "4", Level::Error),
            (
                "news",
                "unclean.leader.election.enable",
                "true",
                Level::Warning,
            ),
        ] {
            let found = set(name, key, value);
            assert_eq!(found.len(), 1, "{name} {key} {value}: {found:?}");
            assert_eq!(found[0].0, level, "{found:?}");
            assert!(found[0].1.contains(name), "{found:?}");
        }
        for (key, value) in [("retention.ms", "-1"), ("retention.ms", "86400000")] {
            assert_eq!(set("news", key, value), [], "{key} {value}");
        }
    }

    #[test]
    fn topics_that_are_missing_uneven_or_short_of_copies_are_named() {
        let uneven = change("squall.dead", |topic| topic.partitions = 8);
        assert_eq!(uneven[0].0, Level::Warning);
        assert!(uneven[0].1.contains("squall.dead 8"), "{uneven:?}");
        let behind = change(DETECT_STATE, |topic| topic.partitions = 2);
        assert_eq!(behind[0].0, Level::Error);
        assert_eq!(
            change("squall.alerts", |topic| topic.partitions = 2)[0].0,
            Level::Warning
        );
        assert_eq!(
            change("news", |topic| topic.in_sync = 2)[0].0,
            Level::Warning
        );
        assert_eq!(change("news", |topic| topic.in_sync = 1).len(), 2);
        let hidden = change("news", |topic| topic.settings = Err("refused".into()));
        assert_eq!(hidden[0].0, Level::NotChecked);

        let mut facts = cluster();
        facts
            .topics
            .retain(|topic| topic.name != "news" && topic.name != "squall.control");
        let found = found(&facts, false);
        assert_eq!(found.len(), 2);
        assert_eq!(found[0].0, Level::Error);
        assert!(found[1].1.contains("squall.control"), "{found:?}");
    }
}
