//! What of a text speaks of an entity: the sentences that name it.

use std::ops::Range;

/// The sentences that one of `spans` (the places where an entity is named) lies in or touches, in their order,
/// joined by a space. `sentences` are those of the text, in order; all ranges are in bytes.
///
/// The whole text where no sentence is touched, as when there are no spans.
pub fn entity_context(text: &str, spans: &[Range<usize>], sentences: &[Range<usize>]) -> String {
    let names = |sentence: &&Range<usize>| {
        spans
            .iter()
            .any(|span| span.start < sentence.end && sentence.start < span.end)
    };
    let naming: Vec<&str> = sentences
        .iter()
        .filter(names)
        .filter_map(|sentence| text.get(sentence.clone()))
        .map(str::trim)
        .collect();
    if naming.is_empty() {
        text.to_owned()
    } else {
        naming.join(" ")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const TEXT: &str = "Acme falls. Borealis rises! Acme and Cobalt merge.";
    const SENTENCES: [Range<usize>; 3] = [0..12, 12..28, 28..50];

    fn spans(name: &str) -> Vec<Range<usize>> {
        TEXT.match_indices(name)
            .map(|(start, name)| start..start + name.len())
            .collect()
    }

    #[test]
    fn every_sentence_that_names_the_entity_counts_and_no_other() {
        let context = |name| entity_context(TEXT, &spans(name), &SENTENCES);
        assert_eq!(context("Borealis"), "Borealis rises!");
        assert_eq!(context("Acme"), "Acme falls. Acme and Cobalt merge.");
    }

    #[test]
    fn a_name_across_two_sentences_takes_both() {
        assert_eq!(
            entity_context(TEXT, &[6..20], &SENTENCES),
            "Acme falls. Borealis rises!"
        );
    }

    #[test]
    fn without_a_sentence_the_whole_text_counts() {
        assert_eq!(entity_context(TEXT, &[], &SENTENCES), TEXT);
        assert_eq!(entity_context(TEXT, &spans("Acme"), &[]), TEXT);
        assert_eq!(entity_context("é", &[0..2], &[1..2]), "é");
    }
}
