//! What a mention costs detection with all its horizons, of entities about which all is usual and of one in a crisis:
//! `cargo bench --bench detection`. `squall bench detect --what speed` measures the memory of many entities.

use criterion::{Criterion, Throughput, criterion_group, criterion_main};
use rand::{RngExt as _, SeedableRng as _, rngs::StdRng};
use squall::config::{self, DetectConfig};
use squall::detect::Detector;
use squall::domain::{
    DetectionRecord, MentionEvent, Origin, Progress, Sentiment, SourcePartition, SourceState,
    Timestamp,
};
use std::time::{Duration, Instant};

const ENTITIES: u32 = 200;

/// Milliseconds from one mention to the next: each entity is mentioned 30 times an hour.
const APART: i64 = 600;

/// Mentions that teach before anything is measured: two days.
const TAUGHT: u64 = 2 * 24 * 30 * 200;

/// Mentions of entities by turns, one in five negative, and a record of progress each minute.
struct Stream {
    detector: Detector,
    rng: StdRng,
    /// The next offset, of the source and of the log.
    offset: i64,
    at: Timestamp,
    /// The entity of which alone, and badly, is spoken.
    crisis: Option<u32>,
}

impl Stream {
    fn taught() -> Self {
        let mut stream = Self {
            detector: Detector::new(&detection()),
            rng: StdRng::seed_from_u64(1),
            offset: 0,
            at: Timestamp::from_millis(1_799_020_800_000),
            crisis: None,
        };
        stream.time(TAUGHT);
        stream
    }

    /// Time that so many mentions take, with what follows from the time that passes between them.
    fn time(&mut self, mentions: u64) -> Duration {
        let mut busy = Duration::ZERO;
        for _ in 0..mentions {
            let minute = self.at.millis() / 60_000;
            self.at = Timestamp::from_millis(self.at.millis() + APART);
            self.offset += 1;
            if self.at.millis() / 60_000 != minute {
                let progress = self.progress();
                busy += self.apply(&progress);
                self.offset += 1;
            }
            let mention = self.mention();
            busy += self.apply(&mention);
        }
        busy
    }

    fn apply(&mut self, record: &DetectionRecord) -> Duration {
        let begun = Instant::now();
        std::hint::black_box(self.detector.apply(self.offset, record));
        begun.elapsed()
    }

    fn mention(&mut self) -> DetectionRecord {
        let entity = self
            .crisis
            .unwrap_or_else(|| self.rng.random_range(0..ENTITIES));
        let negative = self.crisis.is_some() || self.rng.random_range(0..5) == 0;
        let p = if negative { 0.9 } else { 0.05 };
        DetectionRecord::Mention(MentionEvent {
            origin: Origin {
                source: partition(),
                offset: self.offset,
            },
            ordinal: 0,
            entity: format!("E{entity}").as_str().into(),
            post_id: self.offset.to_string(),
            source: "news".into(),
            channel: String::new(),
            lang: "en".into(),
            author: Some(self.offset.to_string()),
            event_time: self.at,
            received_at: self.at,
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
        })
    }

    fn progress(&self) -> DetectionRecord {
        DetectionRecord::Progress(Progress {
            partition: partition(),
            offset: Some(self.offset),
            event_time: Some(self.at),
            state: SourceState::Active,
            at: self.at,
        })
    }
}

/// The documented defaults.
fn detection() -> DetectConfig {
    let config = config::load(None, std::iter::empty());
    config.expect("the defaults are valid").detect
}

fn partition() -> SourcePartition {
    SourcePartition {
        epoch: "e".into(),
        topic: "t".into(),
        partition: 0,
    }
}

fn mentions(criterion: &mut Criterion) {
    let mut group = criterion.benchmark_group("a mention, all horizons");
    group.throughput(Throughput::Elements(1));
    let mut stream = Stream::taught();
    group.bench_function("of 200 entities, all usual", |bench| {
        bench.iter_custom(|mentions| stream.time(mentions));
    });
    let mut stream = Stream::taught();
    stream.crisis = Some(7);
    group.bench_function("of one entity in a crisis, 100 a minute", |bench| {
        bench.iter_custom(|mentions| stream.time(mentions));
    });
    group.finish();
}

criterion_group!(benches, mentions);
criterion_main!(benches);
