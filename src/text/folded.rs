//! Folding: the form in which texts and names are compared.

use std::ops::Range;
use unicode_normalization::char::decompose_canonical;

/// A text folded, with the way back to the text it was made from.
pub(super) struct Folded {
    /// The folded text.
    pub text: String,
    /// For each byte of the folded text, and for its end, where its character begins in the original.
    origins: Vec<usize>,
}

impl Folded {
    pub(super) fn new(original: &str) -> Self {
        let mut text = String::with_capacity(original.len());
        let mut origins = Vec::with_capacity(original.len() + 1);
        for (origin, character) in original.char_indices() {
            text.push(fold_character(character));
            origins.resize(text.len(), origin);
        }
        origins.push(original.len());
        Self { text, origins }
    }

    /// The range of the original that a range of the folded text was made from.
    pub(super) fn original(&self, folded: Range<usize>) -> Range<usize> {
        self.origins[folded.start]..self.origins[folded.end]
    }
}

/// Folds a text: lower case, without accents, straight quotes. Character by character, one for one.
pub(super) fn fold(text: &str) -> String {
    text.chars().map(fold_character).collect()
}

fn fold_character(character: char) -> char {
    match character {
        _ if character.is_ascii() => character.to_ascii_lowercase(),
        '’' | '‘' | 'ʼ' | '`' => '\'',
        '‐' | '‑' => '-',
        'ø' | 'Ø' => 'o',
        '\u{a0}' => ' ',
        _ => {
            let mut base = None;
            decompose_canonical(character, |part| base = base.or(Some(part)));
            let base = base.unwrap_or(character);
            base.to_lowercase().next().unwrap_or(base)
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn case_accents_and_quotes_are_folded() {
        assert_eq!(
            fold("L’ORÉAL Ørsted Møller–Mærsk"),
            "l'oreal orsted moller–mærsk"
        );
    }

    proptest! {
        #[test]
        fn ranges_lead_back_to_the_original(text in any::<String>()) {
            let folded = Folded::new(&text);
            prop_assert_eq!(&folded.text, &fold(&text));
            prop_assert_eq!(folded.text.chars().count(), text.chars().count());
            prop_assert_eq!(folded.original(0..folded.text.len()), 0..text.len());
            for ((start, character), (origin, original)) in folded.text.char_indices().zip(text.char_indices()) {
                let range = folded.original(start..start + character.len_utf8());
                prop_assert_eq!(range, origin..origin + original.len_utf8());
            }
        }
    }
}
