//! squall's consumer groups: how far each is, and whether what it has to read is still there.

use super::counted;
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
    let mut by_role: BTreeMap<&str, BTreeMap<&str, Vec<&GroupFacts>>> = BTreeMap::new();
    for one in facts {
        let topics = by_role.entry(one.role).or_default();
        topics.entry(&one.topic).or_default().push(one);
    }
    let mut findings = Vec::new();
    for (role, topics) in by_role {
        let group = format!("{prefix}-{role}");
        let all = || topics.values().flatten();
        findings.push(match all().all(|one| one.committed.is_none()) {
            true => Finding::ok(SUBJECT, format!("{group} has not begun to read")),
            false => {
                let lag = all().map(|one| one.remaining()).sum();
                Finding::ok(
                    SUBJECT,
                    format!("{group} has {} to read", counted(lag, "record")),
                )
            }
        });
        for (topic, facts) in &topics {
            findings.extend(judge_lost(&group, topic, facts));
            findings.extend(judge_ahead(&group, topic, facts));
        }
    }
    findings
}

/// Retention was quicker than the group.
fn judge_lost(group: &str, topic: &str, facts: &[&GroupFacts]) -> Option<Finding> {
    let lost = facts.iter().map(|one| one.lost()).sum();
    let partitions = partitions(facts, |one| one.lost() > 0)?;
    Some(Finding::error(
        SUBJECT,
        format!(
            "retention removed {} of {topic} before {group} read them ({partitions})",
            counted(lost, "record")
        ),
        "raise retention.ms of the topic, and send what is lost again from where it came from",
    ))
}

/// The group has read more than there is.
fn judge_ahead(group: &str, topic: &str, facts: &[&GroupFacts]) -> Option<Finding> {
    let partitions = partitions(facts, |one| one.committed > Some(one.high))?;
    Some(Finding::error(
        SUBJECT,
        format!(
            "{group} has read further than {topic} goes ({partitions}): the topic was made anew, or a broker took over that lacks its last records"
        ),
        "give kafka.epoch another name, and set the group's offsets of this topic to the beginning: kafka-consumer-groups --reset-offsets --to-earliest",
    ))
}

/// `partition 3`, `partitions 0, 2`: those of which something holds; none where it holds of none.
fn partitions(facts: &[&GroupFacts], holds: impl Fn(&GroupFacts) -> bool) -> Option<String> {
    let found = facts.iter().filter(|one| holds(one));
    let found: Vec<String> = found.map(|one| one.partition.to_string()).collect();
    match found.len() {
        0 => None,
        1 => Some(format!("partition {}", found[0])),
        _ => Some(format!("partitions {}", found.join(", "))),
    }
}

impl GroupFacts {
    /// Records that are there and not yet read.
    fn remaining(&self) -> usize {
        let next = self.committed.unwrap_or(self.low).max(self.low);
        usize::try_from(self.high - next).unwrap_or(0)
    }

    /// Records that were removed before they were read.
    fn lost(&self) -> usize {
        let missing = self.committed.map_or(0, |next| self.low - next);
        usize::try_from(missing).unwrap_or(0)
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
        assert_eq!(good[0].message, "squall-store has 7 records to read");
        let lost = judged(Some(5), 8, 12);
        assert_eq!(lost[0].message, "squall-store has 4 records to read");
        assert_eq!(lost[1].level, Level::Error);
        assert!(
            lost[1]
                .message
                .starts_with("retention removed 3 records of squall.scored")
        );
        assert!(lost[1].message.ends_with("(partition 3)"), "{lost:?}");
        let anew = judged(Some(13), 0, 12);
        assert_eq!(anew[1].level, Level::Error);
        assert!(anew[1].to_string().contains("kafka.epoch"), "{anew:?}");
        assert_eq!(judged(Some(12), 0, 12).len(), 1, "at the end");
        let mut other = facts("store", Some(1), 2, 12);
        other.partition = 0;
        let both = judge("squall", &[other, facts("store", Some(5), 8, 12)]);
        assert_eq!(both.len(), 2, "one finding a topic");
        assert!(both[1].message.contains("4 records") && both[1].message.contains("0, 3"));
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
