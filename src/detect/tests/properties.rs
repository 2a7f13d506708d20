//! What holds for any records, hostile ones among them.

use super::*;
use proptest::prelude::*;
use std::collections::BTreeMap;

/// Any records: some alike, some hostile, from three source partitions in any order.
pub(super) fn any_record() -> impl Strategy<Value = DetectionRecord> {
    let seconds = prop_oneof![
        20 => -600i64..4 * HOUR,
        1 => any::<i64>().prop_map(|s| s / 2000),
    ];
    let probability = prop_oneof![10 => 0.0f32..1.0, 10 => Just(0.9), 1 => any::<f32>()];
    let mention = (
        0..3i32,
        0..400i64,
        seconds.clone(),
        0..3usize,
        probability,
        0..5u8,
        any::<u8>(),
    )
        .prop_map(
            |(partition, offset, seconds, entity, negative, author, story)| {
                let mut told = mention(offset, 0, ["ACME", "GLOBEX", "INITECH"][entity]);
                told.origin.source = source(partition);
                told.event_time =
                    Timestamp::from_millis(at(0).millis().saturating_add(seconds * 1000));
                told.sentiment = sentiment(negative);
                told.author = (author > 0).then(|| format!("author-{author}"));
                told.signature = copies::identity(&[&story.to_string()]);
                told.post_id = format!("post-{}", offset % 100);
                DetectionRecord::Mention(told)
            },
        );
    let state = prop_oneof![
        Just(SourceState::Active),
        Just(SourceState::AtEnd),
        Just(SourceState::Paused)
    ];
    let progress = (0..3i32, 0..400i64, seconds.clone(), state, 0..8 * HOUR).prop_map(
        |(partition, offset, seconds, state, clock)| {
            DetectionRecord::Progress(Progress {
                partition: source(partition),
                offset: Some(offset),
                event_time: Some(at(seconds.min(8 * HOUR))),
                state,
                at: at(clock),
            })
        },
    );
    let retraction = (0..3i32, 0..400i64, 0..100i64, seconds).prop_map(
        |(partition, offset, replaced, seconds)| {
            DetectionRecord::Retraction(Retraction {
                origin: Origin {
                    source: source(partition),
                    offset,
                },
                source: "news".into(),
                post_id: format!("post-{replaced}"),
                event_time: at(seconds),
            })
        },
    );
    prop_oneof![16 => mention, 2 => progress, 3 => retraction]
}

/// Sets the offsets so that each source partition is in order, as SCORE releases it.
pub(super) fn in_order(mut records: Vec<DetectionRecord>) -> Vec<DetectionRecord> {
    let mut next: BTreeMap<SourcePartition, i64> = BTreeMap::new();
    for record in &mut records {
        match record {
            DetectionRecord::Mention(told) => {
                let offset = next.entry(told.origin.source.clone()).or_default();
                *offset += 1;
                told.origin.offset = *offset;
            }
            DetectionRecord::Retraction(taken) => {
                let offset = next.entry(taken.origin.source.clone()).or_default();
                *offset += 1;
                taken.origin.offset = *offset;
            }
            DetectionRecord::Progress(progress) => {
                progress.offset = Some(*next.entry(progress.partition.clone()).or_default());
            }
        }
    }
    records
}

/// Thresholds so low that random records open, resolve and retract alerts all the time.
pub(super) fn excitable() -> DetectConfig {
    DetectConfig {
        budget: "1000000/month".parse().unwrap(),
        critical_rarity: 2.0,
        critical_effect: 1.5,
        update_power: 1.1,
        min_negative: 2,
        min_sources: 2,
        resolve_e_value: 1.0,
        resolve_after: Duration::from_secs(300),
        cool_down: Duration::from_secs(60),
        ..default_config()
    }
}

fn decide(records: &[DetectionRecord]) -> Vec<Decision> {
    let mut detector = Detector::new(&excitable());
    (0..)
        .zip(records)
        .flat_map(|(n, r)| detector.apply(n, r))
        .collect()
}

fn alerts(decisions: &[Decision]) -> impl Iterator<Item = &AlertMessage> {
    decisions.iter().filter_map(|decision| match decision {
        Decision::Alert(message) => Some(message),
        Decision::Cluster(_) => None,
    })
}

proptest! {
    #[test]
    fn every_alert_lives_one_orderly_life(records in prop::collection::vec(any_record(), 0..400)) {
        let mut detector = Detector::new(&excitable());
        let mut open: BTreeMap<EntityId, (String, u32)> = BTreeMap::new();
        let mut ids = BTreeSet::new();
        let mut watermark = None;
        for (offset, record) in (0..).zip(in_order(records)) {
            let decisions = detector.apply(offset, &record);
            prop_assert!(detector.watermark() >= watermark);
            watermark = detector.watermark();
            for message in alerts(&decisions) {
                prop_assert!(ids.insert(message.id.clone()), "message id used twice");
                prop_assert!(message.p_value > 0.0 && message.p_value <= 1.0);
                prop_assert!(message.observed.mean_score.is_finite());
                match (message.kind, open.remove(&message.entity)) {
                    (Opened, None) => {
                        prop_assert_eq!(message.revision, 0);
                        open.insert(message.entity.clone(), (message.alert_id.clone(), 0));
                    }
                    (Updated, Some(before)) => {
                        let now = (message.alert_id.clone(), message.revision);
                        prop_assert_eq!(&now, &(before.0, before.1 + 1));
                        open.insert(message.entity.clone(), now);
                    }
                    (Resolved | Retracted, Some(before)) => {
                        prop_assert_eq!(&message.alert_id, &before.0);
                        prop_assert_eq!(message.revision, before.1 + 1);
                    }
                    (kind, before) => prop_assert!(false, "{kind:?} after {before:?}"),
                }
            }
            prop_assert_eq!(detector.counts().open_alerts, open.len());
        }
    }

    #[test]
    fn repeats_change_nothing(
        records in prop::collection::vec((any_record(), any::<bool>(), any::<prop::sample::Index>()), 0..300),
    ) {
        let (records, repeats): (Vec<_>, Vec<_>) = records.into_iter().map(|(r, repeat, index)| (r, (repeat, index))).unzip();
        let records = in_order(records);
        let mut repeated = Vec::new();
        for (n, (record, (repeat, index))) in records.iter().zip(repeats).enumerate() {
            repeated.push(record.clone());
            if repeat {
                // The end of what was sent so far once more, as after a restart.
                repeated.extend_from_slice(&records[n - index.index(n + 1).min(10)..=n]);
            }
        }
        prop_assert_eq!(decide(&repeated), decide(&records));
    }
}

#[test]
fn random_records_exercise_the_whole_life_of_alerts() {
    use proptest::strategy::ValueTree;
    let mut runner = proptest::test_runner::TestRunner::deterministic();
    let mut seen: BTreeMap<&str, usize> = BTreeMap::new();
    for _ in 0..64 {
        let records = prop::collection::vec(any_record(), 400);
        let records = in_order(records.new_tree(&mut runner).unwrap().current());
        for message in alerts(&decide(&records)) {
            *seen.entry(message.kind.name()).or_default() += 1;
        }
    }
    println!("{seen:?}");
    for kind in [Opened, Updated, Resolved, Retracted] {
        assert!(seen.get(kind.name()).is_some_and(|n| *n >= 10), "{seen:?}");
    }
}
