//! The worlds: entities whose mentions come by a known law, minute by minute.

use crate::config::DetectConfig;
use crate::detect::{Decision, Detector};
use crate::domain::{
    AlertKind, DetectionRecord, EntityId, MentionEvent, Origin, Progress, Sentiment,
    SourcePartition, SourceState, Timestamp,
};
use rand::{RngExt as _, SeedableRng as _, rngs::StdRng};
use std::collections::HashMap;
use std::time::{Duration, Instant};

/// Monday, 2027-01-04.
const START: i64 = 1_799_020_800_000;

/// How mentions come.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Law {
    /// Negative binomial in each minute, with a level that also differs from hour to hour and drifts over months.
    Bunched,
    /// Every mention sets off others, four in ten of them one, within minutes.
    Cascades,
    /// Bunched, and twice a month a source fails for hours.
    Outages,
    /// Bunched, and every month one of the sources doubles or halves for good.
    SourceMix,
}

/// All laws, with the words for them.
pub const LAWS: [(Law, &str); 4] = [
    (Law::Bunched, "negative binomial, season, drift"),
    (Law::Cascades, "self-exciting cascades"),
    (Law::Outages, "outages of feeds"),
    (Law::SourceMix, "changes of the sources"),
];

/// The truth about one entity.
#[derive(Debug, Clone)]
pub struct Truth {
    pub id: EntityId,
    /// Mentions a minute, on the average of the week.
    pub rate: f64,
    /// Share that is negative.
    pub share: f64,
    /// Squared coefficient of variation of a minute's rate.
    pub dispersion: f64,
    /// What remains to be set off.
    excited: f64,
    drift: f64,
    hourly: f64,
    daily_share: f64,
}

impl Truth {
    /// The entity of a number, with a share and a dispersion by chance.
    pub fn drawn(number: usize, rate: f64, rng: &mut StdRng) -> Self {
        let (share, dispersion) = (0.05 + 0.3 * rng.random::<f64>(), 0.8 * rng.random::<f64>());
        Self::new(format!("E{number}"), rate, share, dispersion)
    }

    pub fn new(id: String, rate: f64, share: f64, dispersion: f64) -> Self {
        Self {
            id: id.as_str().into(),
            rate,
            share,
            dispersion,
            excited: 0.0,
            drift: 0.0,
            hourly: 1.0,
            daily_share: 1.0,
        }
    }
}

/// A stream under way, and the detector that reads it.
pub struct World {
    pub entities: Vec<Truth>,
    pub law: Law,
    /// Whether level and share wander by themselves; without, only season and dispersion vary.
    pub wanders: bool,
    pub minute: i64,
    detector: Detector,
    /// What was saved of it at the last fork.
    saved: HashMap<String, Vec<u8>>,
    rng: StdRng,
    offset: i64,
    levels: [f64; SOURCES.len()],
    failed_until: [i64; SOURCES.len()],
    /// Mentions so far.
    pub mentions: u64,
    /// Time spent in the detector so far.
    pub busy: Duration,
}

const SOURCES: [&str; 3] = ["news", "social", "forum"];

impl World {
    pub fn new(config: &DetectConfig, law: Law, entities: Vec<Truth>, rng: StdRng) -> Self {
        Self {
            entities,
            law,
            wanders: true,
            minute: 0,
            detector: Detector::new(config),
            saved: HashMap::new(),
            rng,
            offset: 0,
            levels: [1.0; SOURCES.len()],
            failed_until: [0; SOURCES.len()],
            mentions: 0,
            busy: Duration::ZERO,
        }
    }

    /// A world that goes on from here by itself; `seed` is that of its chance.
    pub fn fork(&mut self, config: &DetectConfig, seed: u64) -> Self {
        if let Some(checkpoint) = self.detector.checkpoint(&"e".into()) {
            for (key, value) in checkpoint.entities.into_iter().chain(checkpoint.detector) {
                match value {
                    Some(value) => drop(self.saved.insert(key, value)),
                    None => drop(self.saved.remove(&key)),
                }
            }
        }
        Self {
            entities: self.entities.clone(),
            detector: Detector::restore(config, "e", self.saved.clone()).detector,
            rng: StdRng::seed_from_u64(seed),
            saved: HashMap::new(),
            ..*self
        }
    }

    /// Lets a minute pass in which negative mentions of an entity come so many times as often. Returns the entities about
    /// which an alert was opened.
    pub fn pass(&mut self, effect: impl Fn(usize) -> f64) -> Vec<usize> {
        let minute = self.minute;
        self.minute += 1;
        self.happen();
        let season = season(minute);
        let mut told: Vec<(usize, usize, bool)> = Vec::new();
        for index in 0..self.entities.len() {
            let truth = &self.entities[index];
            let bunch = gamma(&mut self.rng, truth.dispersion);
            let (drift, hourly) = (truth.drift.exp(), truth.hourly);
            let share = (truth.share * truth.daily_share).min(0.95);
            let level: f64 = self.levels.iter().sum::<f64>() / SOURCES.len() as f64;
            let own = truth.rate * season * drift * hourly * bunch * level;
            let own = if self.law == Law::Cascades {
                0.6 * own + truth.excited
            } else {
                own
            };
            let negative = poisson(&mut self.rng, own * share * effect(index));
            let rest = poisson(&mut self.rng, own * (1.0 - share));
            if self.law == Law::Cascades {
                // Four in ten set off another, a third of what is left of it each minute.
                let excited = &mut self.entities[index].excited;
                *excited = *excited * (2.0 / 3.0) + 0.4 * f64::from(negative + rest) / 3.0;
            }
            for n in 0..negative + rest {
                let source = self.source();
                if self.failed_until[source] <= minute {
                    told.push((index, source, n < negative));
                }
            }
        }
        let mut opened = Vec::new();
        let count = told.len().max(1) as u64;
        // In any order within the minute.
        for at in (1..told.len()).rev() {
            let other = self.rng.random_range(0..=at);
            told.swap(at, other);
        }
        for (n, (index, source, negative)) in (0u64..).zip(told) {
            let at = instant(minute) + Duration::from_millis(n * 60_000 / count);
            opened.extend(self.tell(index, source, negative, at).then_some(index));
        }
        self.progress(instant(minute + 1));
        opened
    }

    fn source(&mut self) -> usize {
        let mut place = self.rng.random::<f64>() * self.levels.iter().sum::<f64>();
        for (source, level) in self.levels.iter().enumerate() {
            place -= level;
            if place < 0.0 {
                return source;
            }
        }
        0
    }

    /// What changes by itself.
    fn happen(&mut self) {
        let minute = self.minute;
        if self.wanders && minute % 60 == 0 {
            for truth in &mut self.entities {
                truth.hourly = gamma(&mut self.rng, 0.05);
            }
        }
        if self.wanders && minute % 1440 == 0 {
            for truth in &mut self.entities {
                // A factor of about 1.5 in three months.
                truth.drift += 0.04 * normal(&mut self.rng);
                truth.daily_share = gamma(&mut self.rng, 0.01);
            }
        }
        if self.law == Law::Outages && self.rng.random::<f64>() < 2.0 / 43_200.0 {
            let source = self.rng.random_range(0..SOURCES.len());
            self.failed_until[source] = minute + self.rng.random_range(30..600);
        }
        if self.law == Law::SourceMix && minute % 43_200 == 20_000 {
            let source = self.rng.random_range(0..SOURCES.len());
            let level = &mut self.levels[source];
            *level = if *level > 0.9 {
                *level / 2.0
            } else {
                *level * 2.0
            };
        }
    }

    fn tell(&mut self, index: usize, source: usize, negative: bool, at: Timestamp) -> bool {
        self.offset += 1;
        self.mentions += 1;
        let p = if negative { 0.9 } else { 0.05 };
        let mention = MentionEvent {
            origin: Origin {
                source: partition(),
                offset: self.offset,
            },
            ordinal: 0,
            entity: self.entities[index].id.clone(),
            post_id: self.offset.to_string(),
            source: SOURCES[source].into(),
            channel: String::new(),
            lang: "en".into(),
            author: Some(self.offset.to_string()),
            event_time: at,
            received_at: at,
            sentiment: Some(Sentiment {
                negative: p,
                neutral: 0.95 - p,
                positive: 0.05,
            }),
            relevance: 1.0,
            signature: self.rng.random(),
            title: String::new(),
            url: None,
            backfill: false,
            model: String::new(),
        };
        self.apply(&DetectionRecord::Mention(mention))
    }

    fn progress(&mut self, at: Timestamp) {
        let progress = Progress {
            partition: partition(),
            offset: Some(self.offset),
            event_time: Some(at),
            state: SourceState::Active,
            at,
        };
        self.apply(&DetectionRecord::Progress(progress));
    }

    /// Whether an alert was opened.
    fn apply(&mut self, record: &DetectionRecord) -> bool {
        let next = self.detector.as_of().map_or(0, |applied| applied + 1);
        let opens = |decision: &Decision| matches!(decision, Decision::Alert(message) if message.kind == AlertKind::Opened);
        let begun = Instant::now();
        let decisions = self.detector.apply(next, record);
        self.busy += begun.elapsed();
        decisions.iter().any(opens)
    }
}

/// How much an hour of the week brings of the average: twice as much in the session, little at night and at weekends.
pub fn season(minute: i64) -> f64 {
    let (day, hour) = (minute / 1440 % 7, minute / 60 % 24);
    let of_day: f64 = match hour {
        14..=21 => 2.2,
        11..=13 | 22..=23 => 1.0,
        _ => 0.4,
    };
    if day >= 5 {
        0.35 * of_day
    } else {
        1.2 * of_day
    }
}

fn instant(minute: i64) -> Timestamp {
    Timestamp::from_millis(START + minute * 60_000)
}

fn partition() -> SourcePartition {
    SourcePartition {
        epoch: "e".into(),
        topic: "t".into(),
        partition: 0,
    }
}

/// A factor of mean 1 with that squared coefficient of variation (Marsaglia and Tsang, 2000).
pub fn gamma(rng: &mut StdRng, dispersion: f64) -> f64 {
    if dispersion <= 0.0 {
        return 1.0;
    }
    let shape = 1.0 / dispersion;
    let (boosted, boost) = match shape < 1.0 {
        true => (shape + 1.0, rng.random::<f64>().powf(1.0 / shape)),
        false => (shape, 1.0),
    };
    let d = boosted - 1.0 / 3.0;
    let c = 1.0 / (9.0 * d).sqrt();
    loop {
        let x = normal(rng);
        let v = (1.0 + c * x).powi(3);
        if v > 0.0 && rng.random::<f64>().ln() < 0.5 * x * x + d - d * v + d * v.ln() {
            return boost * d * v / shape;
        }
    }
}

fn normal(rng: &mut StdRng) -> f64 {
    let (u, v): (f64, f64) = (rng.random::<f64>().max(1e-300), rng.random());
    (-2.0 * u.ln()).sqrt() * (std::f64::consts::TAU * v).cos()
}

/// A Poisson count: by multiplying uniforms, in pieces of mean 30 at most.
pub fn poisson(rng: &mut StdRng, mut mean: f64) -> u32 {
    let mut count = 0;
    while mean > 0.0 {
        let limit = (-mean.min(30.0)).exp();
        let mut product: f64 = rng.random();
        while product > limit {
            count += 1;
            product *= rng.random::<f64>();
        }
        mean -= 30.0;
    }
    count
}
