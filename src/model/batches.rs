//! Cutting a batch into sub-batches of like length, so that little is computed on padding.

/// Most texts in a sub-batch: larger ones are no faster, and leave less to share among the cores.
const MOST_TEXTS: usize = 16;

/// Most tokens in a sub-batch, padding included: bounds the memory of a forward pass. A longer text is a
/// sub-batch of its own.
const MOST_TOKENS: usize = 512;

/// Indices of `lengths`, longest first, cut where the length has fallen to less than 4/5 of the sub-batch's
/// longest (a growth of 25 % seen from below), and at the two bounds above. Every index is in exactly one.
pub(super) fn by_length(lengths: &[usize]) -> Vec<Vec<usize>> {
    let mut order: Vec<usize> = (0..lengths.len()).collect();
    order.sort_by_key(|&text| std::cmp::Reverse(lengths[text]));
    let mut batches: Vec<Vec<usize>> = Vec::new();
    for text in order {
        match batches.last_mut() {
            Some(batch) if joins(batch, lengths, text) => batch.push(text),
            _ => batches.push(vec![text]),
        }
    }
    batches
}

fn joins(batch: &[usize], lengths: &[usize], text: usize) -> bool {
    let longest = lengths[batch[0]];
    batch.len() < MOST_TEXTS
        && (batch.len() + 1) * longest <= MOST_TOKENS
        && lengths[text] * 5 >= longest * 4
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    proptest! {
        #[test]
        fn every_text_is_in_one_batch_and_little_of_it_is_padding(
            lengths in prop::collection::vec(1usize..600, 0..200)
        ) {
            let batches = by_length(&lengths);
            let mut seen: Vec<usize> = batches.iter().flatten().copied().collect();
            seen.sort_unstable();
            prop_assert_eq!(seen, (0..lengths.len()).collect::<Vec<_>>());
            for batch in &batches {
                let longest = batch.iter().map(|&text| lengths[text]).max().unwrap();
                let shortest = batch.iter().map(|&text| lengths[text]).min().unwrap();
                prop_assert!(shortest * 5 >= longest * 4);
                prop_assert!(batch.len() == 1 || batch.len() * longest <= MOST_TOKENS);
                prop_assert!(batch.len() <= MOST_TEXTS);
            }
        }
    }

    #[test]
    fn texts_of_one_length_share_a_batch() {
        assert_eq!(by_length(&[7; MOST_TEXTS]).len(), 1);
        assert_eq!(by_length(&[]).len(), 0);
    }
}
