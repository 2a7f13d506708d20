//! Cutting a batch into parts, one for a thread or a GPU at a time.

use std::ops::Range;

/// Tokens of a part: enough that its products are as fast as they get, few enough that a part's numbers stay in the
/// processor's second cache and that a batch can be shared evenly. A longer text is a part of its own.
const TOKENS: usize = 140;

/// Ranges of `lengths`, each of texts that follow one another and have `TOKENS` tokens at most. Every text is in exactly
/// one.
pub(super) fn by_tokens(lengths: &[usize]) -> Vec<Range<usize>> {
    let mut parts: Vec<Range<usize>> = Vec::new();
    let mut tokens = 0;
    for (text, length) in lengths.iter().enumerate() {
        tokens += length;
        match parts.last_mut() {
            Some(part) if tokens <= TOKENS => part.end = text + 1,
            _ => {
                parts.push(text..text + 1);
                tokens = *length;
            }
        }
    }
    parts
}

/// As many ranges as there are GPUs at most, none empty, each with about the same number of tokens.
pub(super) fn shares(lengths: &[usize], gpus: usize) -> Vec<Range<usize>> {
    let total: usize = lengths.iter().sum();
    let mut shares = Vec::new();
    let (mut begin, mut tokens) = (0, 0);
    for (text, length) in lengths.iter().enumerate() {
        tokens += length;
        if tokens * gpus >= total * (shares.len() + 1) || text + 1 == lengths.len() {
            shares.push(begin..text + 1);
            begin = text + 1;
        }
    }
    shares
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    proptest! {
        #[test]
        fn every_text_is_in_one_part_and_none_is_too_large(
            lengths in prop::collection::vec(1usize..600, 0..200)
        ) {
            let parts = by_tokens(&lengths);
            let seen: Vec<usize> = parts.iter().cloned().flatten().collect();
            prop_assert_eq!(seen, (0..lengths.len()).collect::<Vec<_>>());
            for part in parts {
                prop_assert!(part.len() == 1 || lengths[part].iter().sum::<usize>() <= TOKENS);
            }
        }
    }

    #[test]
    fn gpus_get_about_the_same_number_of_tokens() {
        assert_eq!(shares(&[10; 8], 2), [0..4, 4..8]);
        assert_eq!(shares(&[30, 1, 1, 30], 2), [0..2, 2..4]);
        assert_eq!(shares(&[5], 4).len(), 1);
        assert_eq!(shares(&[1, 100, 1], 3), [0..2, 2..3]);
        assert!(shares(&[], 2).is_empty());
    }

    #[test]
    fn short_texts_share_a_part() {
        assert_eq!(by_tokens(&[7; TOKENS / 7]).len(), 1);
        assert!(by_tokens(&[]).is_empty());
    }
}
