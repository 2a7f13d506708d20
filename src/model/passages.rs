//! Passages: the pieces of a text that the encoder sees at once, with the tokens of the entities named there.

use super::tokenizer::{BYTES_PER_TOKEN, beginning};
use super::{Tokenizer, Tokens};
use crate::domain::Sentiment;
use std::ops::Range;

/// Passages of a text that are scored; what is behind them is left out. With 512 tokens each, some 2,500 words.
pub const MOST_PASSAGES: usize = 8;

/// A piece of a text, and where it names entities.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Passage {
    /// Its tokens, special tokens included.
    pub tokens: Tokens,
    /// Each entity that it names: the entity's number among those of the text, in rising order, and the places of the
    /// tokens that name it, at least one.
    pub entities: Vec<(usize, Vec<usize>)>,
}

/// What a model says of a passage.
#[derive(Debug, Clone, PartialEq)]
pub struct Scored {
    /// Sentiment of the passage as a whole.
    pub document: Sentiment,
    /// Sentiment of each entity it names, in the order of [`Passage::entities`].
    pub entities: Vec<Sentiment>,
}

/// Sentiment of a text and of its `entities` entities, from those of its passages: means of the probabilities, weighted
/// by the passage's tokens for the text, by the tokens that name it for an entity. An entity that no passage names has
/// none. The text has none without passages.
pub fn combine(
    passages: &[Passage],
    scored: &[Scored],
    entities: usize,
) -> (Option<Sentiment>, Vec<Option<Sentiment>>) {
    let mut document = Mean::default();
    let mut by_entity = vec![Mean::default(); entities];
    for (passage, scored) in passages.iter().zip(scored) {
        document.add(scored.document, passage.tokens.len() as f32);
        for ((entity, tokens), sentiment) in passage.entities.iter().zip(&scored.entities) {
            if let Some(mean) = by_entity.get_mut(*entity) {
                mean.add(*sentiment, tokens.len() as f32);
            }
        }
    }
    let by_entity = by_entity.into_iter().map(Mean::value).collect();
    (document.value(), by_entity)
}

/// A weighted mean of sentiments.
#[derive(Debug, Clone, Copy, Default)]
struct Mean {
    sums: [f32; 3],
    weight: f32,
}

impl Mean {
    fn add(&mut self, sentiment: Sentiment, weight: f32) {
        let all = [sentiment.negative, sentiment.neutral, sentiment.positive];
        for (sum, probability) in self.sums.iter_mut().zip(all) {
            *sum += weight * probability;
        }
        self.weight += weight;
    }

    fn value(self) -> Option<Sentiment> {
        let [negative, neutral, positive] = self.sums.map(|sum| sum / self.weight);
        (self.weight > 0.0).then_some(Sentiment {
            negative,
            neutral,
            positive,
        })
    }
}

impl Passage {
    /// Places of the tokens whose last hidden states are needed, in rising order: the first, and those of names.
    pub(super) fn wanted(&self) -> Vec<usize> {
        let names = self.entities.iter().flat_map(|(_, tokens)| tokens);
        let mut wanted: Vec<usize> = std::iter::once(0).chain(names.copied()).collect();
        wanted.sort_unstable();
        wanted.dedup();
        wanted
    }

    /// What the entities' head reads, a row of twice `width` for each entity, appended to `out`: the mean over the
    /// tokens of its name, and the first token. `hidden` holds the rows of `wanted`.
    pub(super) fn entity_vectors(
        &self,
        wanted: &[usize],
        hidden: &[f32],
        width: usize,
        out: &mut Vec<f32>,
    ) {
        for (_, tokens) in &self.entities {
            let start = out.len();
            out.resize(start + width, 0.0);
            for token in tokens {
                let Ok(row) = wanted.binary_search(token) else {
                    continue;
                };
                let row = &hidden[row * width..][..width];
                for (mean, value) in out[start..].iter_mut().zip(row) {
                    *mean += value / tokens.len() as f32;
                }
            }
            out.extend_from_slice(&hidden[..width]);
        }
    }
}

impl From<Tokens> for Passage {
    /// A passage that names nobody.
    fn from(tokens: Tokens) -> Self {
        Self {
            tokens,
            entities: Vec::new(),
        }
    }
}

/// A token of a text: its id, and the bytes it stands for.
type Placed = (u32, Range<usize>);

impl Tokenizer {
    /// Cuts a text into at most `most` passages, each as long as the model reads at once, and each begun an eighth of
    /// that before the last one's end; what is behind the last passage is left out. `entities` holds, for each entity,
    /// the ranges of bytes that name it.
    ///
    /// Always at least one passage. Takes time in proportion to `most`, not to the text. A text that the tokenizer
    /// refuses counts as empty.
    pub fn passages(
        &self,
        text: &str,
        entities: &[Vec<Range<usize>>],
        most: usize,
    ) -> Vec<Passage> {
        let room = self.max_tokens - self.empty.len();
        let bytes = self
            .max_tokens
            .saturating_mul(most.max(1))
            .saturating_mul(BYTES_PER_TOKEN);
        let tokens = self.place(beginning(text, bytes));
        let mut passages = Vec::new();
        let mut start = 0;
        loop {
            let end = tokens.len().min(start + room);
            passages.push(self.passage(&tokens[start..end], entities));
            if end == tokens.len() || passages.len() >= most {
                return passages;
            }
            start = end - room / 8;
        }
    }

    /// The tokens of a text without special ones.
    fn place(&self, text: &str) -> Vec<Placed> {
        let Ok(encoding) = self.inner.encode(text, false) else {
            return Vec::new();
        };
        let offsets = encoding
            .get_offsets()
            .iter()
            .map(|&(start, end)| start..end);
        encoding.get_ids().iter().copied().zip(offsets).collect()
    }

    fn passage(&self, tokens: &[Placed], entities: &[Vec<Range<usize>>]) -> Passage {
        // The special token at the beginning, and those at the end.
        let (first, last) = self.empty.0.split_at(1);
        let ids = first
            .iter()
            .copied()
            .chain(tokens.iter().map(|(id, _)| *id))
            .chain(last.iter().copied());
        let named = entities.iter().enumerate().filter_map(|(entity, spans)| {
            let names = |range: &Range<usize>| {
                spans
                    .iter()
                    .any(|span| span.start < range.end && range.start < span.end)
            };
            let tokens: Vec<usize> = tokens
                .iter()
                .enumerate()
                .filter(|(_, (_, range))| names(range))
                .map(|(place, _)| place + 1)
                .collect();
            (!tokens.is_empty()).then_some((entity, tokens))
        });
        Passage {
            tokens: Tokens(ids.collect()),
            entities: named.collect(),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::super::testing;
    use super::*;

    /// An entity that is named once.
    fn one(name: Range<usize>) -> Vec<Range<usize>> {
        vec![name]
    }

    fn tokenizer(max_tokens: usize) -> Tokenizer {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("tokenizer.json");
        std::fs::write(&path, testing::tokenizer().to_string()).unwrap();
        Tokenizer::open(&path, 12, max_tokens).unwrap()
    }

    fn spans(text: &str, names: &[&str]) -> Vec<Vec<Range<usize>>> {
        names
            .iter()
            .map(|name| {
                let found = text.match_indices(name);
                found.map(|(start, _)| start..start + name.len()).collect()
            })
            .collect()
    }

    #[test]
    fn a_short_text_is_one_passage_with_the_tokens_of_encode() {
        let tokenizer = tokenizer(32);
        for text in ["Acme cuts its outlook", "", "🚀🚀", "a\u{0}b"] {
            let passages = tokenizer.passages(text, &[], 4);
            assert_eq!(passages, [Passage::from(tokenizer.encode(text))]);
        }
    }

    #[test]
    fn names_are_found_among_the_tokens() {
        let text = "Acmes profit beats Acme";
        // [CLS] acme ##s profit beats acme [SEP]
        let passages = tokenizer(32).passages(text, &spans(text, &["Acme", "none", "beats A"]), 4);
        assert_eq!(passages[0].tokens.len(), 7);
        assert_eq!(passages[0].entities, [(0, vec![1, 5]), (2, vec![4, 5])]);
    }

    #[test]
    fn a_long_text_is_cut_into_overlapping_passages() {
        let text = "a ".repeat(40) + "acme " + &"a ".repeat(40) + "acme";
        let spans = spans(&text, &["acme"]);
        let passages = tokenizer(18).passages(&text, &spans, 100);
        // 82 tokens, 16 a passage, each begun 2 before the end of the last.
        assert_eq!(passages.len(), 6);
        assert!(passages.iter().all(|passage| passage.tokens.len() <= 18));
        let naming: Vec<usize> = (0..6)
            .filter(|&one| !passages[one].entities.is_empty())
            .collect();
        assert_eq!(naming, [2, 5]);
        let few = tokenizer(18).passages(&text, &spans, 2);
        assert_eq!(few, passages[..2]);
    }

    #[test]
    fn passages_count_by_their_tokens_and_entities_by_their_names() {
        let sentiment = |negative: f32| Sentiment {
            negative,
            neutral: 1.0 - negative,
            positive: 0.0,
        };
        let passage = |tokens: usize, entities| Passage {
            tokens: Tokens(vec![1; tokens]),
            entities,
        };
        let passages = [
            passage(30, vec![(0, vec![1, 2, 3])]),
            passage(10, vec![(0, vec![4]), (2, vec![5])]),
        ];
        let scored = [
            Scored {
                document: sentiment(1.0),
                entities: vec![sentiment(0.8)],
            },
            Scored {
                document: sentiment(0.0),
                entities: vec![sentiment(0.0), sentiment(0.4)],
            },
        ];
        let (document, entities) = combine(&passages, &scored, 3);
        assert!((document.unwrap().negative - 0.75).abs() < 1e-6);
        assert!((entities[0].unwrap().negative - 0.6).abs() < 1e-6);
        assert_eq!(entities[1], None);
        assert!((entities[2].unwrap().negative - 0.4).abs() < 1e-6);
        assert_eq!(combine(&[], &[], 1), (None, vec![None]));
    }

    #[test]
    fn a_huge_text_takes_time_by_what_is_read() {
        let text = "acme ".repeat(2_000_000);
        let passages = tokenizer(32).passages(&text, &[one(0..4)], 3);
        assert_eq!(passages.len(), 3);
        assert_eq!(passages[0].entities, [(0, vec![1])]);
    }
}
