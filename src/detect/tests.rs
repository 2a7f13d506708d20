//! The detector as a whole: what a stream of records leads to.

mod hostile;
mod properties;
mod restarts;
mod simulation;

use super::*;
use crate::domain::{Origin, Sentiment, Severity, SourceState};
use std::time::Duration;

const MINUTE: i64 = 60;
const HOUR: i64 = 3600;

/// Seconds after a full hour in 2027.
pub(super) fn at(seconds: i64) -> Timestamp {
    Timestamp::from_millis(1_800_000_000_000 + seconds * 1000)
}

pub(super) fn source(partition: i32) -> SourcePartition {
    SourcePartition {
        epoch: "e".into(),
        topic: "news".into(),
        partition,
    }
}

fn sentiment(negative: f32) -> Option<Sentiment> {
    Some(Sentiment {
        negative,
        neutral: (1.0 - negative) / 2.0,
        positive: (1.0 - negative) / 2.0,
    })
}

/// A negative story of its own author.
pub(super) fn mention(offset: i64, seconds: i64, entity: &str) -> MentionEvent {
    MentionEvent {
        origin: Origin {
            source: source(0),
            offset,
        },
        ordinal: 0,
        entity: entity.into(),
        post_id: format!("post-{offset}"),
        source: "news".into(),
        channel: "news".into(),
        lang: "en".into(),
        author: Some(format!("author-{offset}")),
        event_time: at(seconds),
        received_at: at(seconds + 1),
        sentiment: sentiment(0.9),
        relevance: 1.0,
        signature: copies::identity(&[&offset.to_string()]),
        title: format!("Headline {offset}"),
        url: None,
        backfill: false,
        model: "model".into(),
    }
}

fn default_config() -> DetectConfig {
    let mut all: toml::Table = toml::from_str(include_str!("../config/squall.toml")).unwrap();
    all.remove("detect").unwrap().try_into().unwrap()
}

/// A detector with one source partition, whose progress follows each mention, and everything it decided.
struct Desk {
    detector: Detector,
    offset: i64,
    alerts: Vec<AlertMessage>,
    clusters: Vec<MentionCluster>,
}

impl Desk {
    fn new() -> Self {
        Self {
            detector: Detector::new(&default_config()),
            offset: 0,
            alerts: Vec::new(),
            clusters: Vec::new(),
        }
    }

    /// One that has watched ACME for a calm day: a story an hour, every third a negative one.
    fn after_a_calm_day() -> Self {
        let mut desk = Self::new();
        desk.watches_a_calm_day();
        desk
    }

    fn watches_a_calm_day(&mut self) {
        for hour in -24..0 {
            self.passes(hour * HOUR);
            let calm = sentiment(if hour % 3 == 0 { 0.9 } else { 0.1 });
            self.tells(hour * HOUR, |told| told.sentiment = calm);
        }
        self.passes(0);
        assert_eq!(self.alerts, []);
    }

    fn apply(&mut self, record: DetectionRecord) {
        let next = self.detector.as_of().map_or(0, |applied| applied + 1);
        for decision in self.detector.apply(next, &record) {
            match decision {
                Decision::Alert(message) => self.alerts.push(message),
                Decision::Cluster(cluster) => self.clusters.push(cluster),
            }
        }
    }

    /// The source is read up to that event time.
    fn passes(&mut self, seconds: i64) {
        let record = DetectionRecord::Progress(Progress {
            partition: source(0),
            offset: Some(self.offset),
            event_time: Some(at(seconds)),
            state: SourceState::Active,
            at: at(seconds),
        });
        self.apply(record);
    }

    /// A new negative story of ACME, as changed; returns its offset.
    fn tells(&mut self, seconds: i64, change: impl FnOnce(&mut MentionEvent)) -> i64 {
        self.offset += 1;
        let mut told = mention(self.offset, seconds, "ACME");
        change(&mut told);
        self.apply(DetectionRecord::Mention(told));
        self.offset
    }

    fn takes_back(&mut self, seconds: i64, offset: i64) {
        self.offset += 1;
        self.apply(DetectionRecord::Retraction(Retraction {
            origin: Origin {
                source: source(0),
                offset: self.offset,
            },
            source: "news".into(),
            post_id: format!("post-{offset}"),
            event_time: at(seconds),
        }));
    }

    fn kinds(&self) -> Vec<AlertKind> {
        self.alerts.iter().map(|message| message.kind).collect()
    }
}

use AlertKind::{Opened, Resolved, Retracted, Updated};

#[test]
fn a_burst_opens_worsens_and_resolves_one_alert() {
    let mut desk = Desk::after_a_calm_day();
    // 30 negative stories in 10 minutes.
    for n in 0..30 {
        desk.passes(n * 20);
        desk.tells(n * 20, |_| {});
    }
    let opened = desk.alerts[0].clone();
    assert_eq!(opened.kind, Opened);
    assert!(opened.at <= at(3 * MINUTE), "{}", opened.at);
    assert_eq!(opened.received_at, Some(opened.at + Duration::from_secs(1)));
    assert!(opened.observed.negative >= 5 && opened.observed.sources >= 5);
    assert!(opened.p_value <= 1e-3 && opened.expected.negative < 1.0);
    assert_eq!(opened.evidence.len(), 5);
    let explanation = opened.explanation.as_ref().unwrap();
    assert!(
        explanation.once_in_days >= 300.0 && explanation.budget == 0.1,
        "{explanation:?}"
    );
    assert_eq!(explanation.horizons.len(), 4);
    assert_eq!(explanation.picture.len(), 12);
    assert!((explanation.e_value * opened.p_value - 1.0).abs() < 1e-2);
    assert!(desk.kinds()[1..].iter().all(|kind| *kind == Updated));
    assert_eq!(desk.alerts.last().unwrap().severity, Severity::Critical);

    desk.passes(25 * MINUTE);
    assert_ne!(desk.kinds().last(), Some(&Resolved));
    desk.passes(26 * MINUTE);
    let resolved = desk.alerts.last().unwrap();
    assert_eq!(resolved.kind, Resolved);
    // The last improbable minute ended at 10 min, and nothing was improbable for 15 more.
    assert_eq!(resolved.at, at(25 * MINUTE));
    assert_eq!(resolved.received_at, None);
    assert_eq!(desk.detector.counts().open_alerts, 0);
    for (revision, message) in desk.alerts.iter().enumerate() {
        assert_eq!(message.revision, revision as u32);
        assert_eq!(message.alert_id, opened.alert_id);
    }
}

#[test]
fn an_alert_that_resolved_is_followed_by_none_until_it_has_cooled_down() {
    let mut desk = Desk::after_a_calm_day();
    let mut burst = |from: i64| {
        let before = desk.alerts.len();
        for n in 0..12 {
            desk.tells(from + n, |_| {});
        }
        desk.passes(from + 40 * MINUTE);
        desk.kinds()[before..].to_vec()
    };
    // Resolved at 16 min, cool until 46 min.
    assert_eq!(burst(0).last(), Some(&Resolved));
    assert_eq!(burst(40 * MINUTE), []);
    assert_eq!(burst(90 * MINUTE)[0], Opened);
}

#[test]
fn neither_copies_nor_one_voice_nor_good_news_nor_backfill_alert() {
    let mut desk = Desk::after_a_calm_day();
    let story = desk.tells(0, |told| told.signature = 0);
    for n in 0..100 {
        desk.tells(n, |told| told.signature = 1 << (n % 7));
    }
    for n in 0..30 {
        desk.tells(n, |told| told.author = Some("one voice".into()));
        desk.tells(n, |told| told.sentiment = sentiment(0.1));
        desk.tells(n, |told| told.sentiment = None);
        desk.tells(n, |told| told.backfill = true);
    }
    assert_eq!(desk.alerts, []);
    let copies = &desk.clusters[desk.clusters.len() - 220..][..100];
    assert!(copies.iter().all(|copy| copy.novelty == 0.0));
    assert!(
        copies
            .iter()
            .all(|copy| copy.cluster == format!("e:news:0:{story}"))
    );
    assert_eq!(desk.detector.counts().copies, 100);
    // One voice does not drown the others, and everything that was live is told.
    let mut desk = Desk::after_a_calm_day();
    for n in 0..30 {
        desk.tells(n, |told| told.author = Some("one voice".into()));
    }
    let mut voices = 0;
    while desk.alerts.is_empty() && voices < 30 {
        voices += 1;
        desk.tells(30, |_| {});
    }
    assert_eq!(desk.kinds(), [Opened]);
    let observed = desk.alerts[0].observed;
    assert_eq!(
        (observed.mentions, observed.negative),
        (30 + voices, 30 + voices)
    );
    assert_eq!(observed.sources, 1 + voices);
}

#[test]
fn evidence_is_the_most_negative_with_its_copies() {
    let mut desk = Desk::after_a_calm_day();
    for n in 0..20 {
        let worst = desk.tells(n, |told| {
            told.sentiment = sentiment(0.8 + 0.005 * n as f32);
            told.signature = copies::identity(&["story", &n.to_string()]);
        });
        desk.tells(n, |told| {
            told.signature = copies::identity(&["story", &n.to_string()])
        });
        if let Some(message) = desk.alerts.last().filter(|m| m.at == at(n)) {
            let post_ids: Vec<_> = message.evidence.iter().map(|e| e.post_id.clone()).collect();
            let expected: Vec<_> = (0..5).map(|k| format!("post-{}", worst - 2 * k)).collect();
            assert_eq!(post_ids, expected);
            assert_eq!(message.evidence[0].copies, 0);
            assert!(message.evidence[1..].iter().all(|e| e.copies == 1));
        }
    }
    assert!(!desk.alerts.is_empty());
}

/// A burst that has just opened an alert: the offsets of its stories.
fn barely_open(desk: &mut Desk) -> Vec<i64> {
    let mut stories = Vec::new();
    while desk.alerts.is_empty() {
        stories.push(desk.tells(stories.len() as i64, |_| {}));
    }
    stories
}

#[test]
fn an_alert_that_loses_its_ground_is_retracted() {
    let mut desk = Desk::after_a_calm_day();
    let stories = barely_open(&mut desk);
    // Still so when the window of the alert has closed and taught.
    desk.passes(5 * MINUTE);
    desk.takes_back(5 * MINUTE, stories[0]);
    assert_eq!(desk.kinds(), [Opened, Retracted]);
    let retracted = &desk.alerts[1];
    assert_eq!(retracted.observed.negative as usize, stories.len() - 1);
    assert!(
        retracted
            .evidence
            .iter()
            .all(|e| e.post_id != format!("post-{}", stories[0]))
    );
    assert_eq!((retracted.revision, retracted.at), (1, at(5 * MINUTE)));
    assert_eq!(desk.detector.counts().open_alerts, 0);
}

#[test]
fn taking_back_what_carries_nothing_leaves_an_alert_alone() {
    let mut desk = Desk::after_a_calm_day();
    let good_news = desk.tells(0, |told| told.sentiment = sentiment(0.0));
    let stories = barely_open(&mut desk);
    let copy = desk.tells(20, |told| {
        told.signature = copies::identity(&[&stories[0].to_string()]);
    });
    for offset in [good_news, copy, 9_999] {
        desk.takes_back(21, offset);
    }
    assert_eq!(desk.kinds(), [Opened]);
    assert_eq!(desk.detector.counts().retractions, 3);
    assert_eq!(desk.detector.counts().taken_back, 2);
}

#[test]
fn a_correction_takes_the_place_of_the_story_it_takes_back() {
    let mut desk = Desk::after_a_calm_day();
    let stories = barely_open(&mut desk);
    let signature = copies::identity(&[&stories[0].to_string()]);
    desk.takes_back(30, stories[0]);
    assert_eq!(desk.kinds(), [Opened, Retracted]);
    // A repost of what was taken back is no evidence, the corrected story from the same post is.
    desk.tells(31, |told| told.signature = signature);
    assert_eq!(desk.kinds(), [Opened, Retracted]);
    desk.takes_back(32, stories[1]);
    let correcting = desk.offset;
    let mut corrected = mention(correcting, 33, "ACME");
    corrected.signature = copies::identity(&[&stories[1].to_string()]);
    desk.apply(DetectionRecord::Mention(corrected));
    assert_eq!(desk.kinds(), [Opened, Retracted]);
    let mut more = 0;
    while desk.alerts.len() < 3 && more < 3 {
        more += 1;
        desk.tells(34, |_| {});
    }
    assert_eq!(desk.kinds(), [Opened, Retracted, Opened]);
    assert_eq!(
        desk.alerts[2].observed.negative as usize,
        stories.len() - 1 + more
    );
    assert_ne!(desk.alerts[2].alert_id, desk.alerts[0].alert_id);
}

#[test]
fn late_posts_and_posts_of_1970_are_counted_and_filed_but_not_judged() {
    let mut desk = Desk::after_a_calm_day();
    for n in 0..30 {
        desk.tells(-2 * HOUR + n, |_| {});
        desk.tells(0, |told| told.event_time = Timestamp::EPOCH);
    }
    assert_eq!(desk.alerts, []);
    assert_eq!(desk.detector.counts().late, 60);
    assert_eq!(desk.clusters.len(), 24 + 60);
    assert!(desk.clusters.iter().all(|cluster| cluster.novelty == 1.0));
}

#[test]
fn a_post_of_1970_at_the_start_neither_teaches_nor_holds() {
    let mut desk = Desk::new();
    desk.tells(0, |told| told.event_time = Timestamp::EPOCH);
    let record = DetectionRecord::Progress(Progress {
        partition: source(0),
        offset: Some(1),
        event_time: Some(Timestamp::EPOCH),
        state: SourceState::AtEnd,
        at: at(0),
    });
    desk.apply(record);
    desk.passes(1);
    assert!(desk.detector.watermark() > Some(at(-60)));
    // Had the years since 1970 been taught as empty, five stories would be a sensation.
    for n in 0..10 {
        desk.tells(2 + n, |_| {});
    }
    assert_eq!(desk.alerts, []);
}

#[test]
fn what_nobody_mentions_is_forgotten() {
    let mut desk = Desk::new();
    desk.passes(0);
    for n in 0..100 {
        desk.tells(n, |told| told.entity = EntityId::from(&*format!("E{n}")));
    }
    desk.passes(25 * HOUR);
    assert_eq!(desk.detector.counts().entities, 100);
    desk.passes(31 * 24 * HOUR);
    assert_eq!(desk.detector.counts().entities, 0);
    assert!(desk.detector.due.is_empty());
}
