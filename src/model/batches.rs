//! Cutting a batch into parts, one for a thread at a time.

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
    fn short_texts_share_a_part() {
        assert_eq!(by_tokens(&[7; TOKENS / 7]).len(), 1);
        assert!(by_tokens(&[]).is_empty());
    }
}
