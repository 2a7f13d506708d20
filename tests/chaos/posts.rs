//! The stream of one run: numbered posts about ten companies over some hours of event time, calm at first, with spikes
//! of bad news later; some name several entities, repeat an id, correct or retract, are malformed, or arrive in
//! records of long ago.

use crate::broker::SOURCES;
use crate::model::{NEGATIVE, POSITIVE};
use crate::setup::PARTITIONS;
use rand::rngs::StdRng;
use rand::{RngExt as _, SeedableRng as _};
use serde_json::{Value, json};
use squall::domain::Timestamp;
use std::collections::BTreeSet;
use std::time::Duration;

/// The dictionary: what the posts are about.
pub const DICTIONARY: &str = "id,name,aliases,sector,kind\n\
    ALDR,Aldurin Works,,Metals,company\nBRSK,Braskell Foods,,Food,company\nCVNT,Covantis Rail,,Transport,company\n\
    DRMN,Dormund Steel,,Metals,company\nELVR,Elverra Air,,Transport,company\nFNTR,Fantoril Bakeries,,Food,company\n\
    GRVL,Gravelund Mines,,Metals,company\nHSPR,Hesperel Ships,,Transport,company\nJNTH,Junthal Dairy,,Food,company\n\
    KRST,Krostan Alloys,,Metals,company\n";
/// Ids of the dictionary.
const ENTITIES: [&str; 10] = [
    "ALDR", "BRSK", "CVNT", "DRMN", "ELVR", "FNTR", "GRVL", "HSPR", "JNTH", "KRST",
];
const CAMPAIGNS: [&str; 2] = ["spring", "autumn"];
/// Event time that passes with one step.
const STEP: Duration = Duration::from_secs(120);
/// Steps before the first spike: what is usual must be known.
const CALM: usize = 40;
/// How many steps a spike goes on.
const SPIKE: usize = 3;

/// A record to be written, and what must become of it.
#[derive(Debug)]
pub struct Outgoing {
    pub topic: &'static str,
    pub partition: i32,
    pub timestamp: Timestamp,
    pub payload: Vec<u8>,
    pub meant: Meant,
}

/// What must become of a record.
#[derive(Debug, Clone, PartialEq)]
pub enum Meant {
    /// A row of `posts` with this id (none: the origin) that mentions these entities, besides their lists.
    Post {
        id: Option<String>,
        entities: BTreeSet<String>,
    },
    /// A row of `dead_letters`.
    DeadLetter,
}

/// Makes the stream, step by step.
pub struct Feed {
    rng: StdRng,
    begun: Timestamp,
    step: usize,
    number: usize,
    /// Source and id of posts that later ones may repeat or correct.
    known: Vec<(&'static str, String)>,
    /// The entity in trouble, and for how many steps.
    spike: Option<(&'static str, usize)>,
}

impl Feed {
    /// The stream of a seed, which ends about now if it is `steps` long.
    pub fn new(seed: u64, steps: usize) -> Self {
        let past = STEP.saturating_mul(steps as u32);
        Self {
            rng: StdRng::seed_from_u64(seed ^ 0x706f_7374),
            begun: (Timestamp::now() - past).floor(Duration::from_secs(3600)),
            step: 0,
            number: 0,
            known: Vec::new(),
            spike: None,
        }
    }

    /// Records of the next step: about ten, twice as many in a spike.
    pub fn next(&mut self) -> Vec<Outgoing> {
        self.step += 1;
        let mut records = Vec::new();
        for _ in 0..self.rng.random_range(6..14) {
            records.push(self.ordinary());
        }
        if self.spike.is_none() && self.step > CALM && self.rng.random_bool(0.15) {
            self.spike = Some((self.entity(), SPIKE));
        }
        if let Some((entity, left)) = self.spike.take() {
            for _ in 0..self.rng.random_range(6..14) {
                records.push(self.bad_news(entity));
            }
            self.spike = (left > 1).then_some((entity, left - 1));
        }
        records
    }

    fn ordinary(&mut self) -> Outgoing {
        if self.rng.random_bool(0.04) {
            return self.malformed();
        }
        let mut entities = BTreeSet::new();
        for _ in 0..[0, 1, 1, 1, 2, 3, 4][self.rng.random_range(0..7)] {
            entities.insert(self.entity().to_owned());
        }
        let mood = ["", "", "", "", POSITIVE, NEGATIVE][self.rng.random_range(0..6)];
        let mut post = self.post(mood, &entities);
        let mut timestamp = Timestamp::now();
        let source = SOURCES[self.rng.random_range(0..SOURCES.len())];
        match self.rng.random_range(0..100) {
            // A language that is not scored.
            0..10 => post["lang"] = "de".into(),
            // A retry upstream.
            10..16 => {
                if let Some(id) = self.earlier(source) {
                    post["id"] = id.into();
                }
            }
            16..20 => {
                if let Some(id) = self.earlier(source) {
                    post["replaces"] = id.into();
                    post["status"] = ["corrected", "retracted"][self.rng.random_range(0..2)].into();
                }
            }
            // Records of long ago, so that one block touches several partitions of a table.
            20..24 => {
                let days = self.rng.random_range(20..120);
                timestamp = timestamp - Duration::from_secs(days * 86_400);
            }
            24..28 => post["backfill"] = true.into(),
            28..34 => {
                post.as_object_mut().map(|post| post.remove("id"));
            }
            _ => {}
        }
        if self.rng.random_bool(0.15) {
            let campaign = CAMPAIGNS[self.rng.random_range(0..CAMPAIGNS.len())];
            post["campaigns"] = json!([campaign]);
            post["engagement"] = json!({"impressions": self.rng.random_range(0..5000), "likes": 3});
        }
        self.record(source, timestamp, &post, entities)
    }

    fn bad_news(&mut self, entity: &'static str) -> Outgoing {
        let entities = BTreeSet::from([entity.to_owned()]);
        let post = self.post(NEGATIVE, &entities);
        let source = SOURCES[self.rng.random_range(0..SOURCES.len())];
        self.record(source, Timestamp::now(), &post, entities)
    }

    fn malformed(&mut self) -> Outgoing {
        let bytes: [&[u8]; 4] = [
            b"not json",
            b"{\"text\": 5}",
            b"{\"id\": \"nothing\"}",
            b"{\"text\": \"\xff\xfe\"}",
        ];
        Outgoing {
            topic: SOURCES[self.rng.random_range(0..SOURCES.len())],
            partition: self.rng.random_range(0..PARTITIONS),
            timestamp: Timestamp::now(),
            payload: bytes[self.rng.random_range(0..bytes.len())].to_vec(),
            meant: Meant::DeadLetter,
        }
    }

    /// A post whose text is like no other, so that it is a story of its own.
    fn post(&mut self, mood: &str, entities: &BTreeSet<String>) -> Value {
        self.number += 1;
        let mut words: Vec<String> = (0..10).map(|_| self.word()).collect();
        let place = self.rng.random_range(0..words.len());
        words.insert(place, mood.to_owned());
        let within = self.rng.random_range(0..STEP.as_millis() as u64);
        let at = self.begun + STEP.saturating_mul(self.step as u32) + Duration::from_millis(within);
        let channel = ["wire", "forum", "blog"][self.rng.random_range(0..3)];
        json!({
            "id": format!("p{}", self.number),
            "title": format!("Number {}", self.number),
            "text": words.join(" "),
            "lang": "en",
            "published_at": at,
            "channel": channel,
            "author": {"id": format!("a{}", self.rng.random_range(0..40)), "followers": 100},
            "entities": entities,
        })
    }

    fn record(
        &mut self,
        topic: &'static str,
        timestamp: Timestamp,
        post: &Value,
        entities: BTreeSet<String>,
    ) -> Outgoing {
        let id = post["id"].as_str().map(str::to_owned);
        if let Some(id) = &id {
            self.known.push((topic, id.clone()));
        }
        Outgoing {
            topic,
            partition: self.rng.random_range(0..PARTITIONS),
            timestamp,
            payload: post.to_string().into_bytes(),
            meant: Meant::Post { id, entities },
        }
    }

    /// Id of one of the last posts of the source.
    fn earlier(&mut self, source: &str) -> Option<String> {
        let last = self
            .known
            .iter()
            .rev()
            .filter(|(other, _)| *other == source);
        let last: Vec<&String> = last.take(20).map(|(_, id)| id).collect();
        let index = self.rng.random_range(0..last.len().max(1));
        last.get(index).map(|id| (*id).clone())
    }

    fn entity(&mut self) -> &'static str {
        ENTITIES[self.rng.random_range(0..ENTITIES.len())]
    }

    fn word(&mut self) -> String {
        let syllable = |rng: &mut StdRng| {
            let consonant = b"bdfgklmnprstvz"[rng.random_range(0..14)];
            let vowel = b"aeiou"[rng.random_range(0..5)];
            [char::from(consonant), char::from(vowel)]
        };
        (0..3).flat_map(|_| syllable(&mut self.rng)).collect()
    }
}
