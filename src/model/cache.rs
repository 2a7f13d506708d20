//! Scores of texts that came before: reposts are most of a social stream.

use super::{Passage, Scored};
use sha2::{Digest, Sha256};
use std::collections::HashMap;

/// Bytes that an entry takes, at most, besides the sentiments of entities: key, sentiment, and the table's spare room.
const ENTRY: usize = 128;

/// First half of SHA-256 over a text's tokens and where they name entities: nobody can make two texts that share a score.
type Key = [u8; 16];

/// What one model says of passages, by their tokens, which are the normalised text as the model sees it. Of bounded
/// size: what has not been asked for the longest goes first, roughly.
///
/// There are two tables. New entries, and those asked for again, go to the young one; when it is full it becomes the old one,
/// and what was still in that is forgotten.
#[derive(Debug)]
pub struct Cache {
    young: HashMap<Key, Scored>,
    old: HashMap<Key, Scored>,
    /// Bytes of the young table.
    bytes: usize,
    /// Most bytes of each table.
    most: usize,
}

/// How many texts were known, and how many had to be computed.
#[derive(Debug, Default, Clone, Copy, PartialEq, Eq)]
pub struct Lookups {
    /// Known, from earlier calls or from the same.
    pub hits: usize,
    /// Computed.
    pub misses: usize,
}

impl Cache {
    /// An empty cache that takes `bytes` at most; with 0 it remembers nothing.
    pub fn new(bytes: usize) -> Self {
        Self {
            young: HashMap::new(),
            old: HashMap::new(),
            bytes: 0,
            most: bytes / 2,
        }
    }

    /// What is said of `texts`, in their order; `score` is asked for those that are not known, each once.
    ///
    /// # Errors
    /// Those of `score`; nothing is remembered then.
    pub fn score<E>(
        &mut self,
        texts: &[Passage],
        score: impl FnOnce(&[Passage]) -> Result<Vec<Scored>, E>,
    ) -> Result<(Vec<Scored>, Lookups), E> {
        if self.most == 0 {
            let misses = texts.len();
            return Ok((score(texts)?, Lookups { hits: 0, misses }));
        }
        let keys: Vec<Key> = texts.iter().map(key).collect();
        let mut computed: HashMap<Key, Option<Scored>> = HashMap::new();
        let mut unknown = Vec::new();
        for (key, text) in keys.iter().zip(texts) {
            computed.entry(*key).or_insert_with(|| {
                let known = self.young.get(key).or_else(|| self.old.get(key)).cloned();
                if known.is_none() {
                    unknown.push((*key, text.clone()));
                }
                known
            });
        }
        let misses = unknown.len();
        if misses > 0 {
            let (keys, texts): (Vec<Key>, Vec<Passage>) = unknown.into_iter().unzip();
            for (key, scored) in keys.into_iter().zip(score(&texts)?) {
                computed.insert(key, Some(scored));
            }
        }
        for (key, scored) in &computed {
            if let Some(scored) = scored {
                self.remember(*key, scored);
            }
        }
        let scored = keys.iter().filter_map(|key| computed[key].clone());
        let hits = texts.len() - misses;
        Ok((scored.collect(), Lookups { hits, misses }))
    }

    fn remember(&mut self, key: Key, scored: &Scored) {
        if self.young.contains_key(&key) {
            return;
        }
        let bytes = ENTRY + size_of_val(&scored.entities[..]);
        if self.bytes + bytes > self.most {
            self.old = std::mem::take(&mut self.young);
            self.bytes = 0;
        }
        self.bytes += bytes;
        self.young.insert(key, scored.clone());
    }
}

fn key(text: &Passage) -> Key {
    let mut digest = Sha256::new();
    let mut add = |number: usize| digest.update((number as u64).to_le_bytes());
    add(text.tokens.len());
    text.tokens.0.iter().for_each(|&token| add(token as usize));
    // Numbers of entities tell texts apart, not what is said of them: only how their names group matters.
    for (_, places) in &text.entities {
        add(places.len());
        places.iter().for_each(|&place| add(place));
    }
    let digest: [u8; 32] = digest.finalize().into();
    std::array::from_fn(|byte| digest[byte])
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::domain::Sentiment;
    use crate::model::Tokens;
    use proptest::prelude::*;

    /// Says of everything what its first token is.
    fn scored(text: &Passage) -> Scored {
        let document = Sentiment {
            negative: text.tokens.0[0] as f32,
            neutral: 0.0,
            positive: 0.0,
        };
        Scored {
            document,
            entities: text.entities.iter().map(|_| document).collect(),
        }
    }

    fn compute(texts: &[Passage]) -> Result<Vec<Scored>, String> {
        Ok(texts.iter().map(scored).collect())
    }

    fn passage(tokens: &[u32]) -> Passage {
        Passage::from(Tokens(tokens.to_vec()))
    }

    proptest! {
        #[test]
        fn a_cache_changes_no_score_and_stays_small(
            calls in prop::collection::vec(prop::collection::vec(0u32..30, 0..20), 0..20), entries in 0usize..20
        ) {
            let mut cache = Cache::new(2 * entries * ENTRY);
            for call in calls {
                let texts: Vec<Passage> = call.iter().map(|&token| passage(&[token, 1])).collect();
                let mut asked = 0;
                let (got, lookups) = cache.score(&texts, |texts| {
                    asked = texts.len();
                    compute(texts)
                }).unwrap();
                prop_assert_eq!(got, compute(&texts).unwrap());
                prop_assert_eq!(lookups, Lookups { hits: texts.len() - asked, misses: asked });
                prop_assert!(cache.young.len() <= entries && cache.old.len() <= entries);
            }
        }
    }

    #[test]
    fn what_is_known_is_not_computed_again() {
        let mut cache = Cache::new(100 * ENTRY);
        let texts = [1, 2, 1].map(|token| passage(&[token]));
        let (_, lookups) = cache.score(&texts, compute).unwrap();
        assert_eq!(lookups, Lookups { hits: 1, misses: 2 });
        let nothing = |_: &[Passage]| Err("asked again");
        let (got, lookups) = cache.score(&texts, nothing).unwrap();
        assert_eq!(lookups, Lookups { hits: 3, misses: 0 });
        assert_eq!(got[1].document.negative, 2.0);
    }

    #[test]
    fn the_same_text_with_other_entities_is_another() {
        let mut cache = Cache::new(100 * ENTRY);
        let named = |entities: Vec<(usize, Vec<usize>)>| Passage {
            entities,
            ..passage(&[7, 8, 9])
        };
        let texts = [
            named(vec![]),
            named(vec![(0, vec![1])]),
            named(vec![(0, vec![1, 2])]),
            named(vec![(0, vec![1]), (1, vec![2])]),
            // The second entity of a text, where its first is in another passage.
            named(vec![(1, vec![1])]),
        ];
        let (got, lookups) = cache.score(&texts, compute).unwrap();
        assert_eq!(lookups, Lookups { hits: 1, misses: 4 });
        assert_eq!(got, compute(&texts).unwrap());
    }

    #[test]
    fn an_error_is_passed_on_and_nothing_is_remembered() {
        let mut cache = Cache::new(100 * ENTRY);
        let texts = [passage(&[1])];
        assert_eq!(cache.score(&texts, |_| Err("broken")), Err("broken"));
        let (_, lookups) = cache.score(&texts, compute).unwrap();
        assert_eq!(lookups.misses, 1);
    }
}
