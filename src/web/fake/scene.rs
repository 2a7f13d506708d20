//! A morning of made-up companies: calm, one crisis with many reposts, a campaign, a feed that failed for a
//! while, and a post that tries to break the page.

use super::FakeStore;
use crate::domain::*;
use crate::store::AlertRow;
use std::sync::Mutex;
use std::time::Duration;

/// 2026-11-23T09:27:31Z: event time of the latest post.
pub const NOW: i64 = 1_795_426_051_000;

const COMPANIES: [(&str, &str, &str, u64); 22] = [
    ("HLVN", "Halvorsen Batteries", "Industrials", 30),
    ("NRDC", "Nordic Container Line", "Transport", 24),
    ("ORLA", "Orla Retail Group", "Consumer", 38),
    ("TESS", "Tessellate Software", "Technology", 55),
    ("BRKW", "Brackwater Bank", "Financials", 44),
    ("QNTR", "Quintara Pharma", "Health care", 33),
    ("VLTA", "Voltaic Motors", "Automobiles", 60),
    ("GRML", "Greymantle Mining", "Materials", 14),
    ("SOLC", "Solacea Energy", "Utilities", 20),
    ("PKFR", "Peak & Farrow", "Consumer", 9),
    (
        "CBLT",
        "Cobalt Harbour Holdings International",
        "Financials",
        12,
    ),
    ("MNRV", "Minerva Semiconductors", "Technology", 48),
    ("AERO", "Aerodyne Systems", "Aerospace", 16),
    ("FJRD", "Fjord Seafood", "Consumer", 8),
    ("LMNT", "Lumont Media", "Media", 18),
    ("KSTR", "Kestrel Airways", "Transport", 26),
    ("BIOX", "Bioxenta", "Health care", 11),
    ("TRRA", "Terranova Foods", "Consumer", 13),
    ("EUR/XAU", "Euro against gold", "", 6),
    ("DRFT", "Driftwood Hotels", "Leisure", 7),
    ("ZNTH", "Zenith Telecom", "Telecom", 21),
    ("MY-BANKS", "Banks I hold", "", 10),
];

const GOOD: [&str; 5] = [
    "{} raises its outlook after a strong quarter",
    "{} wins a five-year supply contract",
    "Analysts lift their price targets for {}",
    "{} opens a new plant ahead of schedule",
    "Love what {} is doing with the new range #springlaunch",
];
const PLAIN: [&str; 5] = [
    "{} to present at the autumn investor day",
    "{} names a new head of procurement",
    "What we know about {} before Thursday's report",
    "Trading in {} shares in line with the market",
    "{} publishes its annual report",
];
const BAD: [&str; 5] = [
    "{} misses expectations, shares slip",
    "Complaints about {} are piling up again",
    "{} warns of higher costs in the coming quarter",
    "Regulator asks {} for documents",
    "Is anyone else having trouble with {} today?",
];
const CRISIS: [&str; 6] = [
    "Halvorsen Batteries halts deliveries after a fire at its largest plant",
    "BREAKING: Halvorsen recalls 40,000 battery packs",
    "Halvorsen recall widens, two carmakers stop orders",
    "RT Halvorsen packs catching fire, video from the plant",
    "Short seller publishes report on Halvorsen's safety tests",
    "Halvorsen shares suspended",
];

pub fn entity(id: &EntityId) -> Option<Entity> {
    let (id, name, sector, _) = COMPANIES
        .into_iter()
        .find(|(known, ..)| *known == id.as_str())?;
    Some(Entity {
        id: id.into(),
        name: name.into(),
        aliases: Vec::new(),
        sector: sector.into(),
        kind: match id {
            "MY-BANKS" => EntityKind::List,
            "EUR/XAU" => EntityKind::Currency,
            _ => EntityKind::Company,
        },
        context: Vec::new(),
    })
}

/// A small generator of numbers, so that every run shows the same.
struct Dice(u64);

impl Dice {
    fn below(&mut self, bound: u64) -> u64 {
        self.0 = self
            .0
            .wrapping_mul(6_364_136_223_846_793_005)
            .wrapping_add(1_442_695_040_888_963_407);
        (self.0 >> 33) % bound
    }

    fn pick<T: Copy>(&mut self, of: &[T]) -> T {
        of[self.below(of.len() as u64) as usize]
    }
}

fn sentiment(dice: &mut Dice, label: Label) -> Sentiment {
    let most = 0.55 + dice.below(43) as f32 / 100.0;
    let (rest, other) = ((1.0 - most) * 0.8, (1.0 - most) * 0.2);
    match label {
        Label::Negative => Sentiment {
            negative: most,
            neutral: rest,
            positive: other,
        },
        Label::Neutral => Sentiment {
            negative: rest / 2.0,
            neutral: most,
            positive: other + rest / 2.0,
        },
        Label::Positive => Sentiment {
            negative: other,
            neutral: rest,
            positive: most,
        },
    }
}

fn post(
    number: i64,
    at: Timestamp,
    title: &str,
    id: &str,
    dice: &mut Dice,
    label: Label,
) -> ScoredPost {
    let sentiment = sentiment(dice, label);
    let social = dice.below(3) > 0;
    let channel = if social {
        dice.pick(&["chirper", "forum", "video"])
    } else {
        dice.pick(&["wire", "gazette", "blog"])
    };
    let scored = dice.below(40) > 0;
    ScoredPost {
        first_origin: None,
        origin: Origin {
            source: SourcePartition {
                epoch: "1".into(),
                topic: "news".into(),
                partition: 0,
            },
            offset: number,
        },
        id: format!("p{number}"),
        source: if social { "social" } else { "news" }.into(),
        channel: channel.into(),
        published_at: at,
        recorded_at: at,
        event_time: at,
        received_at: at + Duration::from_millis(300),
        scored_at: at + Duration::from_millis(340),
        title: title.into(),
        text: if social {
            String::new()
        } else {
            "Further details were not known at first. The company did not answer a request for comment before the market opened.".into()
        },
        url: Some(format!("https://example.com/{number}")),
        lang: if scored { "en" } else { "sv" }.into(),
        author: social.then(|| Author {
            id: format!("@user{}", dice.below(300)),
            followers: Some(dice.below(20_000)),
        }),
        engagement: (dice.below(2) == 0).then(|| Engagement {
            impressions: Some(dice.below(5000)),
            likes: Some(dice.below(200)),
            shares: Some(dice.below(40)),
            comments: None,
        }),
        tags: Vec::new(),
        status: PostStatus::Live,
        replaces: None,
        backfill: false,
        signature: 0,
        model: "squall-mini".into(),
        sentiment: scored.then_some(sentiment),
        campaigns: if title.contains("#springlaunch") {
            vec!["spring".into()]
        } else {
            Vec::new()
        },
        mentions: vec![Mention {
            ordinal: 0,
            entity: id.into(),
            sentiment: scored.then_some(sentiment),
            relevance: 0.9,
        }],
    }
}

pub fn scene() -> FakeStore {
    let now = Timestamp::from_millis(NOW);
    let mut dice = Dice(7);
    let mut posts = Vec::new();
    for minute in 0..390u64 {
        let begin = now.floor(Duration::from_secs(60)) - Duration::from_secs(60 * (389 - minute));
        if (130..150).contains(&minute) {
            continue; // the feed failed
        }
        for (id, name, _, rate) in COMPANIES {
            if dice.below(100) >= rate.min(95) * (60 + minute / 6) / 100 {
                continue;
            }
            let mood = dice.below(10);
            let (label, titles) = match mood {
                0..=1 => (Label::Negative, BAD),
                2..=6 => (Label::Neutral, PLAIN),
                _ => (Label::Positive, GOOD),
            };
            let title = dice.pick(&titles).replace("{}", name);
            let at = (begin + Duration::from_millis(dice.below(60_000))).min(now);
            posts.push(post(posts.len() as i64, at, &title, id, &mut dice, label));
        }
        let crisis = minute.saturating_sub(374) * 2;
        for _ in 0..crisis.min(19) {
            let at = (begin + Duration::from_millis(dice.below(60_000))).min(now);
            posts.push(post(
                posts.len() as i64,
                at,
                dice.pick(&CRISIS),
                "HLVN",
                &mut dice,
                Label::Negative,
            ));
        }
        if minute > 380 && dice.below(2) == 0 {
            let at = (begin + Duration::from_millis(dice.below(60_000))).min(now);
            let title = "Nordic Container Line vessel aground, canal blocked in both directions";
            posts.push(post(
                posts.len() as i64,
                at,
                title,
                "NRDC",
                &mut dice,
                Label::Negative,
            ));
        }
    }
    let mut hostile = post(
        posts.len() as i64,
        now,
        "<script>alert(1)</script> \"><img src=x onerror=alert(2)>",
        "HLVN",
        &mut dice,
        Label::Negative,
    );
    hostile.id = "hostile".into();
    hostile.url = Some("javascript:alert(3)".into());
    hostile.channel = "<b>bold</b>".into();
    hostile.text = "</p><script>alert(4)</script>".into();
    posts.push(hostile);
    FakeStore {
        posts: Mutex::new(posts),
        alerts: Mutex::new(alerts()),
        version: Mutex::new(1),
        ..FakeStore::default()
    }
}

/// A post as SCORE leaves it that knows English only.
pub fn scored(given: &Post) -> ScoredPost {
    let mut scored = post(
        0,
        Timestamp::from_millis(NOW),
        "",
        "HLVN",
        &mut Dice(7),
        Label::Negative,
    );
    scored.id = given
        .id
        .clone()
        .unwrap_or_else(|| scored.origin.to_string());
    scored.lang = given.lang.clone().unwrap_or_else(|| "en".into());
    if scored.lang != "en" {
        scored.sentiment = None;
        scored.mentions[0].sentiment = None;
        scored.model.clear();
    }
    scored
}

/// A post of a stream that goes on.
pub fn live(number: u64, at: Timestamp) -> ScoredPost {
    let mut dice = Dice(number);
    dice.below(2);
    let (id, name, ..) = COMPANIES[dice.below(22) as usize];
    let title = format!("Live {number}: {}", PLAIN[0].replace("{}", name));
    let label = dice.pick(&Label::ALL);
    post(1_000_000 + number as i64, at, &title, id, &mut dice, label)
}

fn alerts() -> Vec<AlertRow> {
    let alert = |id: &str,
                 entity: &str,
                 kind,
                 severity,
                 ago: u64,
                 over: u64,
                 negative,
                 expected,
                 p_value,
                 evidence: &[&str]| {
        let now = Timestamp::from_millis(NOW);
        let opened_at = now - Duration::from_secs(60 * ago);
        let at = now - Duration::from_secs(60 * over);
        let window = at.floor(Duration::from_secs(60));
        AlertRow {
            opened_at,
            latest: AlertMessage {
                id: message_id(id, kind, 1),
                alert_id: id.into(),
                kind,
                revision: 1,
                at,
                received_at: None,
                rule: "negative-spike".into(),
                entity: entity.into(),
                severity,
                window: SpikeWindow {
                    start: window,
                    end: window + Duration::from_secs(60),
                },
                observed: Observed {
                    mentions: negative + 3,
                    negative,
                    sources: negative * 2 / 3,
                    mean_score: -0.71,
                },
                expected: Expected {
                    mentions: expected * 4.0,
                    negative: expected,
                },
                p_value,
                evidence: evidence
                    .iter()
                    .zip(0u16..)
                    .map(|(title, i)| Evidence {
                        post_id: format!("e{i}"),
                        title: (*title).into(),
                        url: Some(if title.contains('<') {
                            "javascript:alert(5)".into()
                        } else {
                            format!("https://example.com/e{i}")
                        }),
                        score: -0.96 + f32::from(i) / 50.0,
                        copies: u32::from((4 - i.min(4)) * 3 / 2),
                    })
                    .collect(),
                model: "squall-mini".into(),
                explanation: None,
            },
            acknowledged: None,
            deliveries: vec![Delivery {
                message_id: message_id(id, kind, 1),
                alert_id: id.into(),
                endpoint: "desk".into(),
                outcome: Outcome::Delivered,
                attempts: 1,
                status: Some(204),
                error: String::new(),
                first_attempt_at: at,
                ended_at: at,
            }],
        }
    };
    let mut alerts = vec![
        alert(
            "c0ffee01",
            "HLVN",
            AlertKind::Updated,
            Severity::Critical,
            12,
            1,
            33,
            1.4,
            1.2e-11,
            &CRISIS[..4],
        ),
        alert(
            "c0ffee02",
            "NRDC",
            AlertKind::Opened,
            Severity::Warning,
            6,
            6,
            6,
            0.4,
            4e-7,
            &[
                "Nordic Container Line vessel aground, canal blocked in both directions",
                "<script>alert('evidence')</script>",
            ],
        ),
        alert(
            "c0ffee03",
            "BRKW",
            AlertKind::Resolved,
            Severity::Warning,
            260,
            221,
            7,
            0.6,
            2e-7,
            &["Regulator asks Brackwater Bank for documents"],
        ),
        alert(
            "c0ffee04",
            "KSTR",
            AlertKind::Retracted,
            Severity::Critical,
            1800,
            1790,
            1,
            0.5,
            0.4,
            &["Kestrel Airways grounds its fleet"],
        ),
    ];
    alerts[1].acknowledged = Some((
        "Kim".into(),
        Timestamp::from_millis(NOW) - Duration::from_secs(180),
    ));
    alerts[2].deliveries[0].outcome = Outcome::Failed;
    alerts[2].deliveries[0].error = "connection refused".into();
    alerts
}
