//! Names of squall's own topics, who reads each, and which partition a record goes to.

use crate::domain::SourcePartition;

/// Scored posts; the source partition fixes the partition.
pub const SCORED: &str = "squall.scored";
/// Mentions, progress and retractions; the entity fixes the partition.
pub const MENTIONS: &str = "squall.mentions";
/// Which story each mention belongs to; partitioned like the mentions.
pub const CLUSTERS: &str = "squall.clusters";
/// Alert messages, in one partition.
pub const ALERTS: &str = "squall.alerts";
/// How deliveries ended, in one partition.
pub const DELIVERIES: &str = "squall.deliveries";
/// What could not be processed; partitioned like the scored posts.
pub const DEAD: &str = "squall.dead";
/// Acknowledgements and feedback, in one partition.
pub const CONTROL: &str = "squall.control";
/// What DETECT remembers of each partition of the mentions, in the partition of the same number.
pub const DETECT_STATE: &str = "squall.detect-state";
/// What NOTIFY remembers, in one partition like the alerts.
pub const NOTIFY_STATE: &str = "squall.notify-state";

/// Topics STORE reads.
pub const STORED: [&str; 6] = [SCORED, CLUSTERS, ALERTS, DELIVERIES, DEAD, CONTROL];

/// All of squall's own topics with their number of partitions.
pub fn own(partitions: i32) -> [(&'static str, i32); 9] {
    [
        (SCORED, partitions),
        (MENTIONS, partitions),
        (CLUSTERS, partitions),
        (ALERTS, 1),
        (DELIVERIES, 1),
        (DEAD, partitions),
        (CONTROL, 1),
        (DETECT_STATE, partitions),
        (NOTIFY_STATE, 1),
    ]
}

/// Settings with which a topic is created, beyond the cluster's own.
///
/// State is compacted: of each key the latest record stays. Segments are small, so that compaction gets at what is
/// outdated; what was written in the last minutes is left alone, so that a reader on its way through the partition
/// finds what was there when it began; removals are kept for an hour, longer than any reader takes.
pub fn settings(topic: &str) -> &'static [(&'static str, &'static str)] {
    match topic {
        DETECT_STATE | NOTIFY_STATE => &[
            ("cleanup.policy", "compact"),
            ("segment.bytes", "33554432"),
            ("min.cleanable.dirty.ratio", "0.1"),
            ("min.compaction.lag.ms", "300000"),
            ("delete.retention.ms", "3600000"),
        ],
        _ => &[],
    }
}

/// Roles whose consumer groups read a topic; state has none.
pub fn readers(topic: &str) -> &'static [&'static str] {
    match topic {
        MENTIONS => &["detect"],
        ALERTS => &["store", "notify"],
        SCORED | CLUSTERS | DELIVERIES | DEAD | CONTROL => &["store"],
        DETECT_STATE | NOTIFY_STATE => &[],
        _ => &["score"],
    }
}

/// Partition of an entity's records among `count`. Stable: FNV-1a, 64 bits, over the id.
pub fn of_entity(entity: &str, count: i32) -> i32 {
    of_key(entity.as_bytes(), count)
}

/// Partition of a key among `count`.
pub(super) fn of_key(key: &[u8], count: i32) -> i32 {
    modulo(fnv1a(key), count)
}

/// Partition of `squall.scored` and `squall.dead` that a source partition's records go to: neighbours go
/// to different ones.
pub fn of_source(source: &SourcePartition, count: i32) -> i32 {
    modulo(
        fnv1a(source.topic.as_bytes()).wrapping_add(source.partition as u64),
        count,
    )
}

fn modulo(hash: u64, count: i32) -> i32 {
    (hash % u64::from(count.max(1) as u32)) as i32
}

/// Fowler-Noll-Vo hash 1a, 64 bits.
fn fnv1a(bytes: &[u8]) -> u64 {
    bytes.iter().fold(0xcbf2_9ce4_8422_2325, |hash, byte| {
        (hash ^ u64::from(*byte)).wrapping_mul(0x0100_0000_01b3)
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn fnv1a_gives_its_published_vectors() {
        assert_eq!(fnv1a(b""), 0xcbf2_9ce4_8422_2325);
        assert_eq!(fnv1a(b"a"), 0xaf63_dc4c_8601_ec8c);
        assert_eq!(fnv1a(b"foobar"), 0x8594_4171_f739_67e8);
    }

    #[test]
    fn every_own_topic_has_a_reader() {
        for (topic, _) in own(4) {
            assert!(
                !readers(topic).contains(&"score"),
                "{topic} is squall's own, not a source"
            );
        }
        assert!(STORED.iter().all(|topic| readers(topic).contains(&"store")));
    }
}
