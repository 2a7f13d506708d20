//! squall's consumer groups: how far each is, and whether what it has to read is still there.

use super::finding::Finding;
use crate::broker::{Connection, GroupFacts};
use crate::config::Config;
use std::collections::BTreeMap;

const SUBJECT: &str = "groups";

/// Asks for the offsets of every group and judges them.
pub(super) async fn check(config: &Config, connection: Connection) -> Vec<Finding> {
    let sources: Vec<String> = config
        .topics
        .iter()
        .map(|topic| topic.name.clone())
        .collect();
    let asked = tokio::task::spawn_blocking(move || {
        let sources: Vec<&str> = sources.iter().map(String::as_str).collect();
        connection.groups(&sources)
    });
    match asked.await {
        Ok(Ok(facts)) => judge(&config.kafka.group, &facts),
        Ok(Err(error)) => vec![Finding::failed(SUBJECT, error)],
        Err(error) => vec![Finding::failed(SUBJECT, error)],
    }
}

/// Each group's lag, and each of its topics where something is wrong.
fn judge(prefix: &str, facts: &[GroupFacts]) -> Vec<Finding> {
    let mut by_role: BTreeMap<&str, Vec<&GroupFacts>> = BTreeMap::new();
    for one in facts {
        by_role.entry(one.role).or_default().push(one);
    }
    let mut findings = Vec::new();
    for (role, facts) in by_role {
        let group = format!("{prefix}-{role}");
        if facts.iter().all(|one| one.committed.is_none()) {
            findings.push(Finding::ok(
                SUBJECT,
                format!("{group} has not begun to read"),
            ));
            continue;
        }
        let lag: i64 = facts.iter().map(|one| one.remaining()).sum();
        findings.push(Finding::ok(
            SUBJECT,
            format!("{group} has {lag} records to read"),
        ));
        findings.extend(facts.iter().filter_map(|one| judge_one(&group, one)));
    }
    findings
}

/// What is wrong with a group in a partition.
fn judge_one(group: &str, facts: &GroupFacts) -> Option<Finding> {
    let GroupFacts {
        topic,
        partition,
        low,
        high,
        ..
    } = facts;
    let committed = facts.committed?;
    if committed < *low {
        return Some(Finding::error(
            SUBJECT,
            format!(
                "{group} stands at {committed} in {topic}:{partition}, which begins at {low}: retention removed {} records before they were read",
                low - committed
            ),
            "raise retention.ms of the topic, and send what is lost again from where it came from",
        ));
    }
    (committed > *high).then(|| {
        Finding::error(
            SUBJECT,
            format!(
                "{group} stands at {committed} in {topic}:{partition}, which ends at {high}: the topic was made anew"
            ),
            "give kafka.epoch another name, and set the group's offsets to the beginning with kafka-consumer-groups --reset-offsets --to-earliest",
        )
    })
}

impl GroupFacts {
    /// Records that are there and not yet read.
    fn remaining(&self) -> i64 {
        let next = self.committed.unwrap_or(self.low).max(self.low);
        (self.high - next).max(0)
    }
}

#[cfg(test)]
mod tests {
    use super::super::finding::Level;
    use super::*;

    fn facts(role: &'static str, committed: Option<i64>, low: i64, high: i64) -> GroupFacts {
        GroupFacts {
            role,
            topic: "squall.scored".into(),
            partition: 3,
            committed,
            low,
            high,
        }
    }

    #[test]
    fn records_lost_to_retention_and_a_topic_made_anew_are_errors() {
        let judged =
            |committed, low, high| judge("squall", &[facts("store", committed, low, high)]);
        let good = judged(Some(5), 0, 12);
        assert_eq!(good.len(), 1);
        assert!(
            good[0].message.contains("squall-store has 7 records"),
            "{good:?}"
        );
        let lost = judged(Some(5), 8, 12);
        assert_eq!(lost[1].level, Level::Error);
        assert!(lost[1].message.contains("removed 3 records"), "{lost:?}");
        assert!(lost[0].message.contains("has 4 records"), "{lost:?}");
        let anew = judged(Some(13), 0, 12);
        assert_eq!(anew[1].level, Level::Error);
        assert!(anew[1].to_string().contains("kafka.epoch"), "{anew:?}");
        assert_eq!(judged(Some(12), 0, 12).len(), 1, "at the end");
    }

    #[test]
    fn a_group_that_never_read_is_fine_and_one_that_lacks_a_partition_counts_it_whole() {
        let judged = judge("squall", &[facts("detect", None, 8, 12)]);
        assert_eq!(judged[0].level, Level::Ok);
        assert!(judged[0].message.contains("not begun"));
        let both = [facts("store", None, 8, 12), facts("store", Some(2), 0, 3)];
        let judged = judge("squall", &both);
        assert_eq!(judged.len(), 1);
        assert!(judged[0].message.contains("has 5 records"), "{judged:?}");
    }
}
