//! Passages: the pieces of a text that the encoder sees at once, with the tokens of the entities named there.

use super::tokenizer::{BYTES_PER_TOKEN, beginning};
use super::{Tokenizer, Tokens};
use std::ops::Range;

/// A piece of a text, and where it names entities.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Passage {
    /// Its tokens, special tokens included.
    pub tokens: Tokens,
    /// Each entity that it names: the entity's number among those of the text, in rising order, and the places of the
    /// tokens that name it, at least one.
    pub entities: Vec<(usize, Vec<usize>)>,
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
    fn a_huge_text_takes_time_by_what_is_read() {
        let text = "acme ".repeat(2_000_000);
        let passages = tokenizer(32).passages(&text, &[vec![0..4]], 3);
        assert_eq!(passages.len(), 3);
        assert_eq!(passages[0].entities, [(0, vec![1])]);
    }
}
