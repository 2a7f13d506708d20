use super::*;
use crate::config::DetectConfig;
use crate::detect::{Decision, Detector};
use crate::domain::{AlertMessage, MentionEvent, Origin, Retraction, Sentiment, SourcePartition};
use std::collections::{BTreeSet, HashMap};
use std::time::Duration;

const START: i64 = 1_800_000_000_000;
const DAYS: i64 = 3;

fn at(seconds: i64) -> Timestamp {
    Timestamp::from_millis(START + seconds * 1000)
}

fn source() -> SourcePartition {
    SourcePartition {
        epoch: "1".into(),
        topic: "news".into(),
        partition: 0,
    }
}

fn mention(offset: i64, seconds: i64, entity: &str, negative: bool) -> DetectionRecord {
    let p = if negative { 0.9 } else { 0.05 };
    DetectionRecord::Mention(MentionEvent {
        origin: Origin {
            source: source(),
            offset,
        },
        ordinal: 0,
        entity: entity.into(),
        post_id: format!("post-{offset}"),
        source: "news".into(),
        channel: "wire".into(),
        lang: "en".into(),
        author: Some(format!("author-{offset}")),
        event_time: at(seconds),
        received_at: at(seconds + 2),
        sentiment: Some(Sentiment {
            negative: p,
            neutral: 0.95 - p,
            positive: 0.05,
        }),
        relevance: 1.0,
        signature: (offset as u64).wrapping_mul(0x9e37_79b9_7f4a_7c15),
        title: format!("Headline {offset}"),
        url: None,
        backfill: false,
        model: "model".into(),
    })
}

fn progress(offset: i64, seconds: i64) -> DetectionRecord {
    DetectionRecord::Progress(Progress {
        partition: source(),
        offset: Some(offset),
        event_time: Some(at(seconds)),
        state: SourceState::Active,
        at: at(seconds + 2),
    })
}

/// Calm days, one in five mentions negative; then forty negative ones of ACME within minutes, after which it is calm for
/// an hour; GLOBEX has ten of them later, of which the posts are taken back.
fn stream() -> Vec<DetectionRecord> {
    let burst = DAYS * 86_400;
    let mut told: Vec<(i64, &str, bool)> = (0..DAYS * 144)
        .flat_map(|n| [(n, "ACME"), (n, "GLOBEX")])
        .map(|(n, entity)| (n * 600, entity, n % 5 == 0))
        .collect();
    told.extend((0..40).map(|n| (burst + n * 6, "ACME", true)));
    told.extend((0..40).map(|n| (burst + 3_600 + n * 6, "GLOBEX", true)));
    let mut records = Vec::new();
    for (offset, (seconds, entity, negative)) in (0..).zip(told) {
        records.push(mention(offset, seconds, entity, negative));
        records.push(progress(offset, seconds));
    }
    let last = DAYS * 288 + 80;
    for (n, offset) in (last - 40..last).enumerate() {
        records.push(DetectionRecord::Retraction(Retraction {
            origin: Origin {
                source: source(),
                offset: last + n as i64,
            },
            source: "news".into(),
            post_id: format!("post-{offset}"),
            event_time: at(burst + 4_000 + n as i64),
        }));
    }
    records.push(progress(last + 40, burst + 10 * 3600));
    records
}

/// The messages of a process that is killed every so many records and leaves off where it was saved last; what is sent
/// twice is counted once.
fn live(records: &[DetectionRecord], config: &DetectConfig, killed_every: usize) -> Vec<u8> {
    let mut state: HashMap<String, Vec<u8>> = HashMap::new();
    let mut sent = BTreeSet::new();
    let mut lines = Vec::new();
    let (mut committed, mut reached) = (0, 0);
    while reached < records.len() {
        let mut detector = Detector::restore(config, "1", state.clone()).detector;
        let end = records.len().min(committed + killed_every);
        for (n, record) in (committed..).zip(&records[committed..end]) {
            for decision in detector.apply(n as i64, record) {
                let Decision::Alert(message) = decision else {
                    continue;
                };
                if sent.insert(message.id.clone()) {
                    serde_json::to_writer(&mut lines, &message).unwrap();
                    lines.push(b'\n');
                }
            }
            // Saved two thirds of the way: the rest is done again.
            if n == committed + killed_every * 2 / 3 {
                for (key, value) in detector
                    .checkpoint(&"1".into())
                    .into_iter()
                    .flat_map(|saved| saved.entities.into_iter().chain(saved.detector))
                {
                    match value {
                        Some(value) => drop(state.insert(key, value)),
                        None => drop(state.remove(&key)),
                    }
                }
            }
        }
        reached = end;
        committed += killed_every * 2 / 3 + 1;
    }
    lines
}

fn backtest(
    records: &[DetectionRecord],
    args: &[&str],
    proposed: Option<&str>,
) -> (Vec<u8>, String) {
    let folder = tempfile::tempdir().unwrap();
    let input = folder.path().join("mentions.jsonl");
    let lines: Vec<String> = records
        .iter()
        .map(|record| serde_json::to_string(record).unwrap())
        .collect();
    std::fs::write(&input, lines.join("\n")).unwrap();
    let time = |name: &str| {
        let place = args.iter().position(|arg| *arg == name)?;
        Some(args[place + 1].parse().unwrap())
    };
    let args = Backtest {
        input,
        from: time("--from"),
        to: time("--to"),
        as_of: time("--as-of"),
        proposed: None,
    };
    let proposed = proposed.map(|text| {
        let path = folder.path().join("proposed.toml");
        std::fs::write(&path, text).unwrap();
        config::load(Some(&path), std::iter::empty()).unwrap()
    });
    let config = config::load(None, std::iter::empty()).unwrap();
    let (mut output, mut notes) = (Vec::new(), Vec::new());
    replay(&args, &config, proposed.as_ref(), &mut output, &mut notes).unwrap();
    (output, String::from_utf8(notes).unwrap())
}

fn messages(output: &[u8]) -> Vec<(String, String)> {
    let lines = output
        .split(|byte| *byte == b'\n')
        .filter(|line| !line.is_empty());
    lines
        .map(|line| serde_json::from_slice::<AlertMessage>(line).unwrap())
        .map(|message| (message.entity.to_string(), format!("{:?}", message.kind)))
        .collect()
}

#[test]
fn gives_the_alerts_of_a_live_run_again_byte_for_byte_after_kills_too() {
    let records = stream();
    let config = config::load(None, std::iter::empty()).unwrap();
    let (again, notes) = backtest(&records, &[], None);
    let kinds = messages(&again);
    for kind in ["Opened", "Resolved"] {
        assert!(kinds.contains(&("ACME".into(), kind.into())), "{kinds:?}");
    }
    for kind in ["Opened", "Retracted"] {
        assert!(kinds.contains(&("GLOBEX".into(), kind.into())), "{kinds:?}");
    }
    assert!(
        notes.starts_with("as configured: 2 alerts opened\n"),
        "{notes}"
    );
    for killed_every in [7, 100, usize::MAX / 4] {
        let sent = live(&records, &config.detect, killed_every);
        assert!(sent == again, "killed every {killed_every} records");
    }
}

#[test]
fn tells_what_a_proposed_rule_would_have_sent_against_what_was_sent() {
    let records = stream();
    let proposal = "[detect]\nmin_negative = 1000\n[[rules]]\nname = \"acme\"\nentities = [\"ACME\"]\nmin_negative = 5\n";
    let (_, notes) = backtest(&records, &[], Some(proposal));
    assert!(notes.contains("as proposed: 1 alerts opened\n"), "{notes}");
    assert!(notes.contains("  acme  1\n"), "{notes}");
    let differences: Vec<&str> = notes
        .lines()
        .filter(|line| line.starts_with(['+', '-']))
        .collect();
    // That of ACME has another name and is the same event; that of GLOBEX would not have been sent.
    assert_eq!(differences.len(), 1, "{notes}");
    assert!(differences[0].starts_with("- ") && differences[0].ends_with(" negative-spike GLOBEX"));
}

#[test]
fn what_squall_did_not_have_yet_is_not_read() {
    let records = stream();
    let (whole, _) = backtest(&records, &[], None);
    // Every record came two seconds after it happened.
    let burst = DAYS * 86_400;
    let known = at(burst + 1_800).to_string();
    let (then, _) = backtest(&records, &["--as-of", &known], None);
    let kinds = messages(&then);
    assert!(
        !kinds.is_empty() && kinds.iter().all(|(entity, _)| entity == "ACME"),
        "{kinds:?}"
    );
    assert!(whole.starts_with(&then));
    // What happened before and came later is not known either.
    let late = at(burst + 239).to_string();
    let half = |args: &[&str]| {
        let mut late = records.clone();
        for record in &mut late {
            if let DetectionRecord::Mention(mention) = record
                && mention.event_time >= at(burst)
            {
                mention.received_at = mention.event_time + Duration::from_secs(7_200);
            }
        }
        messages(&backtest(&late, args, None).0)
    };
    assert_eq!(half(&["--as-of", &late]), []);
    assert!(!half(&["--to", &late]).is_empty());
}

#[test]
fn what_came_before_teaches_and_is_not_told() {
    let records = stream();
    let burst = DAYS * 86_400;
    let from = at(burst + 3_000).to_string();
    let (told, notes) = backtest(&records, &["--from", &from], None);
    assert!(messages(&told).iter().all(|(entity, _)| entity == "GLOBEX"));
    assert!(
        notes.starts_with("as configured: 1 alerts opened\n"),
        "{notes}"
    );
}
