//! Sentences of a text, for sentiment and context by sentence.

use std::ops::Range;

/// Byte ranges of the sentences of `text`, in order, without the whitespace around them.
///
/// A sentence ends at a line break (so a title above its text is one), and at `.`, `!`, `?` or `…` with any
/// closing quotes and brackets, when whitespace and then no lower-case letter follows. A dot ends no sentence
/// within a number or a ticker, after a title or other abbreviation (`St.`, `vs.`), after a single capital
/// (`J. P. Morgan`), and after `Inc.`, `U.S.` and the like only when the next word is one that begins sentences.
pub fn sentences(text: &str) -> Vec<Range<usize>> {
    let mut found = Vec::new();
    let mut start = 0;
    let mut characters = text.char_indices().peekable();
    while let Some((at, character)) = characters.next() {
        if character == '\n' {
            push(text, start..at, &mut found);
            start = at + 1;
        } else if is_terminator(character) {
            let mut end = at + character.len_utf8();
            while let Some(&(next, closing)) = characters.peek()
                && (is_terminator(closing)
                    || matches!(closing, '"' | '\'' | '”' | '’' | '»' | ')' | ']'))
            {
                end = next + closing.len_utf8();
                characters.next();
            }
            let only_a_dot = character == '.' && end == at + 1;
            if begins_sentence(&text[end..])
                && !(only_a_dot && is_abbreviation(&text[start..at], &text[end..]))
            {
                push(text, start..end, &mut found);
                start = end;
            }
        }
    }
    push(text, start..text.len(), &mut found);
    found
}

fn push(text: &str, range: Range<usize>, found: &mut Vec<Range<usize>>) {
    let sentence = &text[range.clone()];
    let start = range.start + sentence.len() - sentence.trim_start().len();
    let end = start + sentence.trim().len();
    if start < end {
        found.push(start..end);
    }
}

fn is_terminator(character: char) -> bool {
    matches!(character, '.' | '!' | '?' | '…')
}

/// Whether a sentence may begin here: after whitespace, with anything but a lower-case letter.
fn begins_sentence(rest: &str) -> bool {
    let next = rest.trim_start();
    next.len() < rest.len() && !next.starts_with(char::is_lowercase)
}

/// Whether the dot between `before` and `after` belongs to an abbreviation.
fn is_abbreviation(before: &str, after: &str) -> bool {
    let is_part = |c: char| c.is_alphanumeric() || matches!(c, '.' | '&');
    let Some(word) = before
        .rsplit(|c| !is_part(c))
        .next()
        .filter(|word| !word.is_empty())
    else {
        return false;
    };
    let next = after
        .trim_start()
        .split(|c: char| !c.is_alphanumeric())
        .next()
        .unwrap_or_default();
    if word.chars().count() == 1 {
        return word.chars().all(char::is_uppercase) && word != "I";
    }
    let lower = word.to_lowercase();
    if NUMBERING.contains(&lower.as_str()) {
        return next.starts_with(|c: char| c.is_numeric());
    }
    ALWAYS.contains(&lower.as_str())
        || ((OFTEN.contains(&lower.as_str()) || is_initialism(word)) && !STARTERS.contains(&next))
}

/// Whether a word is made of single letters and dots: `U.S`, `J.P`, `a.m`.
fn is_initialism(word: &str) -> bool {
    word.contains('.') && word.split('.').all(|part| part.chars().count() <= 1)
}

/// Abbreviations that never end a sentence.
const ALWAYS: &[&str] = &[
    "mr", "mrs", "ms", "dr", "prof", "gov", "sen", "rep", "gen", "col", "lt", "sgt", "capt", "st",
    "mt", "ft", "vs", "approx", "dept", "est", "e.g", "i.e", "cf",
];

/// Abbreviations before numbers; elsewhere they are words.
const NUMBERING: &[&str] = &["no", "nos", "art", "sec", "fig", "p", "pp", "vol"];

/// Abbreviations that may end a sentence.
const OFTEN: &[&str] = &[
    "inc", "corp", "co", "ltd", "llc", "plc", "bros", "cos", "jr", "sr", "etc", "jan", "feb",
    "mar", "apr", "jun", "jul", "aug", "sep", "sept", "oct", "nov", "dec", "mon", "tue", "tues",
    "wed", "thu", "thurs", "fri", "calif", "fla", "mass", "ave", "blvd", "adj", "avg", "bn", "mln",
    "mn",
];

/// Words with which sentences begin, and names hardly ever go on.
const STARTERS: &[&str] = &[
    "A",
    "An",
    "The",
    "This",
    "That",
    "These",
    "Those",
    "It",
    "Its",
    "He",
    "She",
    "We",
    "They",
    "I",
    "You",
    "In",
    "On",
    "At",
    "As",
    "But",
    "And",
    "If",
    "When",
    "While",
    "After",
    "Before",
    "However",
    "Analysts",
    "Shares",
    "There",
    "His",
    "Her",
    "Our",
    "Their",
    "For",
    "By",
    "With",
    "Meanwhile",
    "Separately",
    "Also",
    "Earlier",
    "Last",
    "Now",
    "No",
    "Not",
    "What",
    "Why",
    "How",
    "Who",
];

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn split(text: &str) -> Vec<&str> {
        sentences(text)
            .into_iter()
            .map(|range| &text[range])
            .collect()
    }

    #[test]
    fn plain_sentences_are_split() {
        assert_eq!(
            split("Acme fell. Globex rose!  Why? Nobody knows… Perhaps later."),
            [
                "Acme fell.",
                "Globex rose!",
                "Why?",
                "Nobody knows…",
                "Perhaps later."
            ]
        );
        assert_eq!(
            split("“Acme fell.” Globex (a rival) rose 5%.) 40 jobs go?! $ACME halted"),
            [
                "“Acme fell.”",
                "Globex (a rival) rose 5%.)",
                "40 jobs go?!",
                "$ACME halted"
            ]
        );
    }

    #[test]
    fn a_line_break_ends_a_sentence() {
        assert_eq!(
            split("Acme recalls batteries\nThe company said so on Monday.\n\n Done"),
            [
                "Acme recalls batteries",
                "The company said so on Monday.",
                "Done"
            ]
        );
    }

    #[test]
    fn these_are_one_sentence() {
        for text in [
            "Acme Inc. Chief Executive Ann Lee resigned",
            "Acme Corp. said it would close",
            "Shares of J.P. Morgan and Brown & Co. Bank fell 2.5% to $3.10 on Jan. 5",
            "U.S. Treasury yields rose, St. Louis Fed says",
            "The No. 1 carmaker beats Mr. Lee's firm vs. 4 rivals",
            "BRK.B and amazon.com rose e.g. Monday",
            "Analysts... expected more... of it",
            "It opens at 9 a.m. Eastern time",
            "up .5 percent",
        ] {
            assert_eq!(split(text), [text]);
        }
    }

    #[test]
    fn an_abbreviation_may_end_a_sentence() {
        assert_eq!(
            split("She left Acme Inc. The company did not comment."),
            ["She left Acme Inc.", "The company did not comment."]
        );
        assert_eq!(
            split("Exports to the U.S. However, they fell. Did he know? No. Never."),
            [
                "Exports to the U.S.",
                "However, they fell.",
                "Did he know?",
                "No.",
                "Never."
            ]
        );
    }

    #[test]
    fn long_text_takes_linear_time() {
        // Quadratic work on these would take minutes.
        for unit in [". ", "a.", "A. ", "…", ".\n", "x", "Inc. ", ".\""] {
            sentences(&unit.repeat(200_000));
        }
    }

    proptest! {
        #[test]
        fn sentences_cover_all_but_whitespace(text in "([.!?…\n \"A]|Inc|the|U\\.S|é|\\PC){0,60}") {
            let mut end = 0;
            for range in sentences(&text) {
                prop_assert!(text[end..range.start].trim().is_empty());
                prop_assert_eq!(text[range.clone()].trim(), &text[range.clone()]);
                prop_assert!(!range.is_empty());
                end = range.end;
            }
            prop_assert!(text[end..].trim().is_empty());
        }
    }
}
