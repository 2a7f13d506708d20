//! Where a text has a name.

use std::ops::Range;

/// Every place where a text has a name, as written; where it has none, ignoring case. Ranges are in bytes.
pub fn occurrences(text: &str, name: &str) -> Vec<Range<usize>> {
    let exact = as_written(text, name);
    match exact.is_empty() {
        true => in_any_case(text, name),
        false => exact,
    }
}

/// Every place where a text has a name in its own case.
pub(super) fn as_written(text: &str, name: &str) -> Vec<Range<usize>> {
    let place = |(start, name): (usize, &str)| start..start + name.len();
    text.match_indices(name).map(place).collect()
}

/// Every place where a text has a name, whatever the case of either.
pub(super) fn in_any_case(text: &str, name: &str) -> Vec<Range<usize>> {
    let name: Vec<char> = name.chars().flat_map(char::to_lowercase).collect();
    text.char_indices()
        .filter_map(|(start, _)| Some(start..start + length_of_match(&text[start..], &name)?))
        .collect()
}

/// Bytes at the beginning of a text that read as `name`, which is in lower case.
fn length_of_match(text: &str, name: &[char]) -> Option<usize> {
    let mut rest = name;
    for (at, character) in text.char_indices() {
        if rest.is_empty() {
            return Some(at);
        }
        for lower in character.to_lowercase() {
            rest = rest.strip_prefix(&[lower])?;
        }
    }
    rest.is_empty().then_some(text.len())
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn names_are_found_as_written_before_case_is_ignored() {
        let found = |text, name| -> Vec<(usize, usize)> {
            let ranges = occurrences(text, name).into_iter();
            ranges.map(|range| (range.start, range.end)).collect()
        };
        assert_eq!(found("Gap, gap and GAP", "GAP"), [(13, 16)]);
        assert_eq!(found("Gap, gap", "GAP"), [(0, 3), (5, 8)]);
        assert_eq!(
            found("ÉCLAIR up, éclair down", "Éclair"),
            [(0, 7), (12, 19)]
        );
        assert_eq!(found("İx", "i̇X"), [(0, 3)]);
        assert_eq!(found("Acme", "Acme Corp"), []);
    }

    proptest! {
        #[test]
        fn occurrences_lie_between_characters(text in "[aAßẞİié ]{0,12}", name in "[aAßẞİi]{1,3}") {
            for range in occurrences(&text, &name) {
                prop_assert!(!text[range].is_empty());
            }
        }
    }
}
