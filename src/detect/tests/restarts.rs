//! A detector that is interrupted, saved and restored decides what one that never stopped decides.

use super::properties::{any_record, excitable, in_order};
use super::*;
use crate::detect::snapshot::{self, Change};
use proptest::prelude::*;
use proptest::sample::Index;
use std::sync::Arc;

const DAY: i64 = 24 * HOUR;

fn epoch() -> Arc<str> {
    "e".into()
}

/// What is kept of a detector, and what was decided, as far as the broker has it.
#[derive(Default)]
struct Kept {
    state: HashMap<String, Vec<u8>>,
    /// Offset from which a new owner reads.
    committed: usize,
}

impl Kept {
    fn put(&mut self, changes: impl IntoIterator<Item = Change>) {
        for (key, value) in changes {
            match value {
                Some(value) => drop(self.state.insert(key, value)),
                None => drop(self.state.remove(&key)),
            }
        }
    }

    fn restore(&self, config: &DetectConfig, epoch: &str) -> Detector {
        let restored = Detector::restore(config, epoch, self.state.clone());
        assert_eq!(restored.problems, [] as [String; 0]);
        restored.detector
    }

    /// A whole checkpoint.
    fn save(&mut self, detector: &mut Detector) {
        if let Some(checkpoint) = detector.checkpoint(&epoch()) {
            self.put(checkpoint.entities.into_iter().chain(checkpoint.detector));
        }
    }
}

/// Everything a detector knows, however it came to be.
fn all_of(detector: &Detector) -> Vec<String> {
    let horizon = moment!(detector).horizon();
    let own = detector.save(&epoch());
    let mut all = vec![format!("{own:?}")];
    let entities: BTreeMap<_, _> = detector.entities.iter().collect();
    for (id, entity) in entities {
        let mut saved = entity.save(&epoch(), 0, horizon);
        saved.earlier = None;
        let known = saved.known.as_mut().unwrap();
        known.segments.clear();
        known.stories = entity.stories.all(horizon);
        all.push(format!("{id}: {saved:?}"));
    }
    all.push(format!("{:?}", detector.due));
    all
}

#[derive(Debug, Clone)]
enum Happening {
    /// So many records are read.
    Read(usize),
    /// A checkpoint; its commit may fail.
    Checkpoint(bool),
    /// The process dies; what is not acknowledged may be lost.
    Crash,
    /// It dies in a checkpoint, of which a part is written.
    CrashInCheckpoint(Index),
}

fn any_happening() -> impl Strategy<Value = Happening> {
    prop_oneof![
        6 => (1..60usize).prop_map(Happening::Read),
        4 => any::<bool>().prop_map(Happening::Checkpoint),
        1 => Just(Happening::Crash),
        3 => any::<Index>().prop_map(Happening::CrashInCheckpoint),
    ]
}

/// Records some of which come days after those before, so that stories and whole entities are forgotten.
fn any_records(most: usize) -> impl Strategy<Value = Vec<DetectionRecord>> {
    let leap = prop_oneof![30 => Just(0i64), 1 => 1..3i64, 1 => 31..40i64];
    prop::collection::vec((any_record(), leap), 0..most).prop_map(|records| {
        let mut days = 0;
        let moved = records.into_iter().map(|(mut record, leap)| {
            days += leap;
            let moved = Duration::from_secs((days * DAY) as u64);
            match &mut record {
                DetectionRecord::Mention(told) => {
                    told.event_time = told.event_time + moved;
                    if told.origin.offset % 3 == 0 {
                        told.entity =
                            EntityId::from(&*format!("SELDOM-{}", told.origin.offset % 5));
                    }
                }
                DetectionRecord::Progress(progress) => {
                    progress.event_time = progress.event_time.map(|at| at + moved);
                    progress.at = progress.at + moved;
                }
                DetectionRecord::Retraction(taken) => taken.event_time = taken.event_time + moved,
            }
            record
        });
        in_order(moved.collect())
    })
}

/// Runs the records through detectors that are interrupted; everything they decide must be in `expected`, by offset,
/// and everything expected is decided by one of them and acknowledged.
fn interrupted(
    records: &[DetectionRecord],
    happenings: &[Happening],
    expected: &[Vec<Decision>],
) -> Result<Detector, TestCaseError> {
    let config = excitable();
    let mut kept = Kept::default();
    let mut detector = kept.restore(&config, "e");
    let mut next = 0;
    let mut acknowledged: Vec<Vec<Decision>> = vec![Vec::new(); records.len()];
    let mut under_way: Vec<(usize, Decision)> = Vec::new();
    for happening in happenings.iter().chain([
        &Happening::Read(records.len()),
        &Happening::Checkpoint(true),
    ]) {
        match happening {
            Happening::Read(count) => {
                for _ in 0..*count {
                    let Some(record) = records.get(next) else {
                        break;
                    };
                    for decision in detector.apply(next as i64, record) {
                        prop_assert!(expected[next].contains(&decision), "{decision:?} at {next}");
                        under_way.push((next, decision));
                    }
                    next += 1;
                }
            }
            Happening::Crash => {
                under_way.clear();
                detector = kept.restore(&config, "e");
                next = kept.committed;
            }
            Happening::Checkpoint(_) | Happening::CrashInCheckpoint(_) => {
                for (at, decision) in under_way.drain(..) {
                    acknowledged[at].push(decision);
                }
                let Some(checkpoint) = detector.checkpoint(&epoch()) else {
                    continue;
                };
                let changes: Vec<Change> = checkpoint
                    .entities
                    .into_iter()
                    .chain(checkpoint.detector)
                    .collect();
                for (key, value) in &changes {
                    let bytes = value.as_ref().map_or(0, Vec::len);
                    prop_assert!(bytes <= snapshot::MAX_SNAPSHOT, "{key}: {bytes}");
                }
                match happening {
                    Happening::CrashInCheckpoint(written) => {
                        let written = written.index(changes.len() + 1);
                        kept.put(changes.into_iter().take(written));
                        detector = kept.restore(&config, "e");
                        next = kept.committed;
                    }
                    Happening::Checkpoint(committed) => {
                        kept.put(changes);
                        if *committed {
                            kept.committed = checkpoint.as_of as usize + 1;
                        }
                    }
                    _ => {}
                }
            }
        }
    }
    for (at, expected) in expected.iter().enumerate() {
        for decision in expected {
            prop_assert!(
                acknowledged[at].contains(decision),
                "lost at {at}: {decision:?}"
            );
        }
    }
    // And what is saved is what is known.
    let restored = kept.restore(&config, "e");
    prop_assert_eq!(all_of(&restored), all_of(&detector));
    prop_assert_eq!(restored.counts(), detector.counts());
    Ok(detector)
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(ProptestConfig::default().cases * 2))]
    #[test]
    fn crashes_double_nothing_and_lose_nothing(
        records in any_records(300),
        happenings in prop::collection::vec(any_happening(), 0..40),
    ) {
        let mut whole = Detector::new(&excitable());
        let decided: Vec<Vec<Decision>> =
            (0..).zip(&records).map(|(offset, record)| whole.apply(offset, record)).collect();
        let detector = interrupted(&records, &happenings, &decided)?;
        prop_assert_eq!(detector.counts(), whole.counts());
        prop_assert_eq!(all_of(&detector), all_of(&whole));
    }
}

/// How much of what matters random records and happenings lead to.
#[test]
fn random_crashes_meet_what_is_hard() {
    use proptest::strategy::ValueTree;
    let mut runner = proptest::test_runner::TestRunner::deterministic();
    let (mut forgotten, mut ahead, mut segments, mut open) = (0, 0, 0, 0);
    for _ in 0..64 {
        let records = any_records(300).new_tree(&mut runner).unwrap().current();
        let (mut detector, mut kept) = (Detector::new(&excitable()), Kept::default());
        for (offset, record) in (0..).zip(&records) {
            detector.apply(offset, record);
            if offset % 50 == 49 {
                let checkpoint = detector.checkpoint(&epoch()).unwrap();
                let half = checkpoint.entities.len() / 2;
                kept.put(checkpoint.entities[..half].to_vec());
                let restored = kept.restore(&excitable(), "e");
                kept.put(checkpoint.entities.into_iter().chain(checkpoint.detector));
                ahead += restored
                    .entities
                    .values()
                    .filter(|e| e.as_of > restored.as_of)
                    .count();
                forgotten += restored.forgotten.len();
                segments += kept
                    .state
                    .keys()
                    .filter(|key| key.starts_with("stories:"))
                    .count();
                open += restored.counts().open_alerts;
            }
        }
    }
    println!("{forgotten} forgotten, {ahead} ahead, {segments} segments, {open} open alerts");
    assert!(forgotten > 20 && ahead > 100 && segments > 100 && open > 20);
}

#[test]
fn in_another_epoch_what_was_learnt_stays_and_positions_do_not() {
    let mut desk = Desk::after_a_calm_day();
    let stories = super::barely_open(&mut desk);
    let opened = desk.alerts[0].clone();
    let mut kept = Kept::default();
    kept.save(&mut desk.detector);
    let before = desk.detector.watermark();
    let mentions = desk.detector.counts().mentions;

    desk.detector = kept.restore(&default_config(), "another");
    assert_eq!(desk.detector.as_of(), None);
    assert_eq!(desk.detector.watermark(), before);
    assert_eq!(desk.detector.counts().open_alerts, 1);
    assert_eq!(desk.detector.counts().mentions, mentions);
    // Offsets begin anew: the same place is another post.
    desk.offset = 0;
    desk.tells(30, |told| told.origin.source.epoch = "another".into());
    assert_eq!(desk.detector.counts().mentions, mentions + 1);
    desk.passes(40 * MINUTE);
    let resolved = desk.alerts.last().unwrap();
    assert_eq!(
        (resolved.kind, &resolved.alert_id),
        (Resolved, &opened.alert_id)
    );
    assert_eq!(
        snapshot::mentions(&kept.state).unwrap()[&EntityId::from("ACME")],
        mentions
    );
    assert!(stories.len() as u64 <= mentions);
}

#[test]
fn an_hour_without_squall_teaches_nothing() {
    let usual = |desk: &mut Desk, seconds: i64| {
        desk.offset += 1;
        desk.passes(seconds);
        desk.tells(seconds, |_| {});
        let saved = desk.detector.entities[&EntityId::from("ACME")].save(&epoch(), 0, None);
        saved.known.unwrap().baseline.numbers.0[2]
    };
    let mut desk = Desk::after_a_calm_day();
    let mut kept = Kept::default();
    let before = usual(&mut desk, 60);
    kept.save(&mut desk.detector);
    let mut away = Desk::new();
    away.detector = kept.restore(&default_config(), "another");
    away.offset = 1000;
    let watched = usual(&mut desk, 50 * MINUTE);
    let unwatched = usual(&mut away, 50 * MINUTE);
    // But for the quarter of an hour before, which had not taught yet.
    assert!(watched > before + 15.0, "{before:?} {watched:?}");
    assert!(unwatched < watched - 10.0, "{watched:?} {unwatched:?}");
}

#[test]
fn horizons_of_other_lengths_come_and_go() {
    let minutes = |lengths: &[u64]| DetectConfig {
        horizons: lengths
            .iter()
            .map(|m| Duration::from_secs(m * 60))
            .collect(),
        ..default_config()
    };
    for lengths in [&[15, 1][..], &[1], &[30, 15], &[2]] {
        let mut desk = Desk::after_a_calm_day();
        super::barely_open(&mut desk);
        let mut kept = Kept::default();
        kept.save(&mut desk.detector);
        let config = minutes(lengths);
        let mut other = Desk::new();
        other.detector = kept.restore(&config, "e");
        other.offset = desk.offset;
        for n in 0..20 {
            other.tells(20 + n, |_| {});
        }
        other.takes_back(50, other.offset - 3);
        other.passes(50 * MINUTE);
        let last = other.alerts.last().unwrap();
        assert_eq!(last.kind, Resolved, "{lengths:?}");
        assert_eq!(last.alert_id, desk.alerts[0].alert_id, "{lengths:?}");
        // And back again.
        kept.save(&mut other.detector);
        kept.restore(&default_config(), "e");
    }
}

#[test]
fn what_an_earlier_version_learnt_begins_anew_and_nothing_counts_twice() {
    let mut desk = Desk::after_a_calm_day();
    let mut kept = Kept::default();
    kept.save(&mut desk.detector);
    let earlier = |value: &[u8]| {
        let mut value: serde_json::Value = serde_json::from_slice(value).unwrap();
        let fields = value.as_object_mut().unwrap();
        fields.remove("format");
        fields.remove("volume");
        fields.insert("known".into(), serde_json::json!({"windows": []}));
        serde_json::to_vec(&value).unwrap()
    };
    for key in ["entity:ACME", "detector"] {
        let value = earlier(&kept.state[key]);
        kept.state.insert(key.into(), value);
    }
    let restored = Detector::restore(&default_config(), "e", kept.state.clone());
    assert_eq!(restored.problems.len(), 1, "{:?}", restored.problems);
    assert!(restored.problems[0].contains("1 entities were saved by an earlier version"));
    assert_eq!(restored.detector.as_of(), desk.detector.as_of());
    assert_eq!(restored.detector.watermark(), desk.detector.watermark());
}

#[test]
fn what_cannot_be_read_begins_anew_and_is_named() {
    let mut desk = Desk::after_a_calm_day();
    for n in 0..10 {
        desk.tells(n, |told| told.entity = "GLOBEX".into());
        desk.tells(n, |told| told.entity = "sector:Oil: big".into());
    }
    let mut kept = Kept::default();
    kept.save(&mut desk.detector);
    let whole = kept.state.clone();
    assert!(
        whole.contains_key("stories:sector:Oil: big:1:0"),
        "{:?}",
        whole.keys()
    );
    for (key, value) in [
        ("entity:ACME", Some("{}")),
        ("entity:ACME", Some("")),
        ("stories:GLOBEX:0:0", Some("[1")),
        ("stories:GLOBEX:1:0", None),
        ("detector", Some("5")),
        ("what is this", Some("5")),
    ] {
        let mut state = whole.clone();
        match value {
            Some(value) => drop(state.insert(key.into(), value.into())),
            None => drop(state.remove(key)),
        }
        let Restored {
            mut detector,
            problems,
        } = Detector::restore(&default_config(), "e", state);
        assert_eq!(problems.len(), 1, "{problems:?}");
        assert!(problems[0].starts_with(key), "{problems:?}");
        let entity = if key.contains("GLOBEX") {
            "GLOBEX"
        } else {
            "ACME"
        };
        detector.apply(1_000, &DetectionRecord::Mention(mention(1_000, 50, entity)));
        assert!(detector.entities.contains_key(&EntityId::from(entity)));
    }
}

/// The largest an entity can be, all at once.
#[test]
fn no_snapshot_outgrows_what_kafka_takes() {
    let config = DetectConfig {
        copy_lookback: Duration::from_secs(400 * 24 * 3600),
        ..excitable()
    };
    let mut detector = Detector::new(&config);
    let mut offset = 0;
    let long = |n: i64, what: &str| format!("{what}{n:0>2040}\u{1}");
    for n in 0..9_000i64 {
        // Ahead of the watermark, so that no window closes; some stories with many copies.
        offset += 1;
        let mut told = mention(n, 90 * (n / 20), "ACME");
        told.post_id = long(n, "id");
        told.url = Some(long(n, "\u{1}\u{2}"));
        told.title = "\u{1}".repeat(160);
        told.origin.source.epoch = "e".repeat(200).into();
        told.origin.source.topic = "t".repeat(249).into();
        told.signature = copies::identity(&[&(n / 2).to_string()]);
        detector.apply(offset, &DetectionRecord::Mention(told));
    }
    assert_eq!(detector.counts().open_alerts, 1);
    let checkpoint = detector.checkpoint(&epoch()).unwrap();
    let sizes = checkpoint
        .entities
        .iter()
        .map(|(key, value)| (value.as_ref().unwrap().len(), key));
    let largest = sizes.max().unwrap();
    println!("{largest:?}, {} records", checkpoint.entities.len());
    assert!(
        largest.0 > 200_000 && largest.0 < snapshot::MAX_SNAPSHOT,
        "{largest:?}"
    );
}

/// How large entities are and how long saving and restoring takes: `cargo test --lib detect:: -- --ignored --nocapture
/// saving`.
#[test]
#[ignore = "prints figures, asserts nothing"]
fn saving() {
    use rand::{RngExt, SeedableRng, rngs::StdRng};
    let mut rng = StdRng::seed_from_u64(3);
    let ids: Vec<String> = (0..10_000).map(|n| format!("E{n}")).collect();
    let mut detector = Detector::new(&default_config());
    let mut kept = Kept::default();
    let mut offset = 0;
    let mut apply = |detector: &mut Detector, n: i64, rng: &mut StdRng| {
        // Some are mentioned often, most seldom; 1 a second.
        let entity = (rng.random::<f64>().powi(3) * ids.len() as f64) as usize;
        let mut told = mention(n, n, &ids[entity]);
        told.origin.source.epoch = "embedded-0123456789abcdef".into();
        told.url = Some(format!(
            "https://example.com/news/2026/11/24/a-headline-of-some-length-{n}"
        ));
        told.title =
            format!("Headline {n} of a length that is quite usual for headlines of the press");
        told.sentiment = sentiment(rng.random());
        let progress = Progress {
            partition: source(0),
            offset: Some(n),
            event_time: Some(told.event_time),
            state: SourceState::Active,
            at: told.event_time,
        };
        offset += 2;
        detector.apply(offset, &DetectionRecord::Mention(told));
        detector.apply(offset + 1, &DetectionRecord::Progress(progress));
    };
    for n in 0..200_000 {
        apply(&mut detector, n, &mut rng);
    }
    let begun = std::time::Instant::now();
    kept.save(&mut detector);
    println!(
        "first checkpoint: {:?}, {:?}",
        begun.elapsed(),
        detector.counts()
    );
    let bytes = |prefix: &str| {
        let of = kept.state.iter().filter(|(key, _)| key.starts_with(prefix));
        let sizes: Vec<usize> = of.map(|(_, value)| value.len()).collect();
        let sum: usize = sizes.iter().sum();
        println!(
            "{prefix}: {} records, {sum} bytes, mean {}, largest {:?}",
            sizes.len(),
            sum / sizes.len().max(1),
            sizes.iter().max()
        );
    };
    bytes("entity:");
    bytes("stories:");
    bytes("detector");
    let mut n = 200_000;
    for mentions in [50, 600, 5_000] {
        for _ in 0..3 {
            for _ in 0..mentions {
                apply(&mut detector, n, &mut rng);
                n += 1;
            }
            let begun = std::time::Instant::now();
            let checkpoint = detector.checkpoint(&epoch()).unwrap();
            let took = begun.elapsed();
            let sum: usize = checkpoint
                .entities
                .iter()
                .map(|(_, value)| value.as_ref().map_or(0, Vec::len))
                .sum();
            println!(
                "checkpoint after {mentions} mentions: {took:?}, {} records, {sum} bytes",
                checkpoint.entities.len()
            );
            kept.put(checkpoint.entities.into_iter().chain(checkpoint.detector));
        }
    }
    let begun = std::time::Instant::now();
    let restored = kept.restore(&default_config(), "e");
    println!("restored {:?} in {:?}", restored.counts(), begun.elapsed());
}
