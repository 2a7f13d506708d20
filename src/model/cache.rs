//! Scores of texts that came before: reposts are most of a social stream.

use super::Tokens;
use crate::domain::Sentiment;
use sha2::{Digest, Sha256};
use std::collections::HashMap;

/// Bytes that an entry takes, at most: key, sentiment, and the table's spare room.
const ENTRY: usize = 80;

/// First half of SHA-256 over a text's tokens: nobody can make two texts that share a score.
type Key = [u8; 16];

/// Sentiments of one model by the tokens of a text, which are its normalised form as the model sees it. Of bounded
/// size: what has not been asked for the longest goes first, roughly.
///
/// There are two tables. New entries, and those asked for again, go to the young one; when it is full it becomes the old one,
/// and what was still in that is forgotten.
#[derive(Debug)]
pub struct Cache {
    young: HashMap<Key, Sentiment>,
    old: HashMap<Key, Sentiment>,
    /// Entries of each table.
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
            most: bytes / ENTRY / 2,
        }
    }

    /// Sentiments of `texts`, in their order; `classify` is asked for those that are not known, each once.
    ///
    /// # Errors
    /// Those of `classify`; nothing is remembered then.
    pub fn classify<E>(
        &mut self,
        texts: &[Tokens],
        classify: impl FnOnce(&[Tokens]) -> Result<Vec<Sentiment>, E>,
    ) -> Result<(Vec<Sentiment>, Lookups), E> {
        if self.most == 0 {
            let misses = texts.len();
            return Ok((classify(texts)?, Lookups { hits: 0, misses }));
        }
        let keys: Vec<Key> = texts.iter().map(key).collect();
        let mut computed: HashMap<Key, Option<Sentiment>> = HashMap::new();
        let mut unknown = Vec::new();
        for (key, text) in keys.iter().zip(texts) {
            computed.entry(*key).or_insert_with(|| {
                let known = self.young.get(key).or_else(|| self.old.get(key)).copied();
                if known.is_none() {
                    unknown.push((*key, text.clone()));
                }
                known
            });
        }
        let misses = unknown.len();
        if misses > 0 {
            let (keys, texts): (Vec<Key>, Vec<Tokens>) = unknown.into_iter().unzip();
            for (key, sentiment) in keys.into_iter().zip(classify(&texts)?) {
                computed.insert(key, Some(sentiment));
            }
        }
        for (key, sentiment) in &computed {
            if let Some(sentiment) = sentiment {
                self.remember(*key, *sentiment);
            }
        }
        let sentiments = keys.iter().filter_map(|key| computed[key]).collect();
        let hits = texts.len() - misses;
        Ok((sentiments, Lookups { hits, misses }))
    }

    fn remember(&mut self, key: Key, sentiment: Sentiment) {
        if self.young.len() >= self.most && !self.young.contains_key(&key) {
            self.old = std::mem::take(&mut self.young);
        }
        self.young.insert(key, sentiment);
    }
}

fn key(text: &Tokens) -> Key {
    let mut digest = Sha256::new();
    for token in &text.0 {
        digest.update(token.to_le_bytes());
    }
    let digest: [u8; 32] = digest.finalize().into();
    std::array::from_fn(|byte| digest[byte])
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn sentiment(text: &Tokens) -> Sentiment {
        Sentiment {
            negative: text.0[0] as f32,
            neutral: 0.0,
            positive: 0.0,
        }
    }

    fn compute(texts: &[Tokens]) -> Result<Vec<Sentiment>, String> {
        Ok(texts.iter().map(sentiment).collect())
    }

    proptest! {
        #[test]
        fn a_cache_changes_no_score_and_stays_small(
            calls in prop::collection::vec(prop::collection::vec(0u32..30, 0..20), 0..20), entries in 0usize..20
        ) {
            let mut cache = Cache::new(2 * entries * ENTRY);
            for call in calls {
                let texts: Vec<Tokens> = call.iter().map(|&token| Tokens(vec![token, 1])).collect();
                let mut asked = 0;
                let (got, lookups) = cache.classify(&texts, |texts| {
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
        let texts = [1, 2, 1].map(|token| Tokens(vec![token]));
        let (_, lookups) = cache.classify(&texts, compute).unwrap();
        assert_eq!(lookups, Lookups { hits: 1, misses: 2 });
        let nothing = |_: &[Tokens]| Err("asked again");
        let (got, lookups) = cache.classify(&texts, nothing).unwrap();
        assert_eq!(lookups, Lookups { hits: 3, misses: 0 });
        assert_eq!(got[1].negative, 2.0);
    }

    #[test]
    fn an_error_is_passed_on_and_nothing_is_remembered() {
        let mut cache = Cache::new(100 * ENTRY);
        let texts = [Tokens(vec![1])];
        assert_eq!(cache.classify(&texts, |_| Err("broken")), Err("broken"));
        let (_, lookups) = cache.classify(&texts, compute).unwrap();
        assert_eq!(lookups.misses, 1);
    }
}
