//! Copy signatures: near texts have signatures that differ in few bits.

/// Texts whose signatures differ in at most so many bits are copies of one story.
///
/// A repost that only adds `RT @user:`, links, mentions, hashtags at the end, or changes case and punctuation
/// has distance 0. Some bits are left for small edits: a word added, left out or corrected in a sentence.
pub const COPY_DISTANCE: u32 = 8;

/// Copy signature of a text: SimHash over its words and pairs of neighbouring words (Charikar, "Similarity
/// estimation techniques from rounding algorithms", 2002), without what reposts add: links, mentions, `RT`,
/// hashtags at the end, case and punctuation.
///
/// Under six words a single one makes the story, and their few features would vote by chance; the
/// signature is then a plain hash of the words, near to nothing but itself. The value depends on the text
/// alone, never on the platform or the release: it is stored.
pub fn signature(text: &str) -> u64 {
    let folded = text.to_lowercase();
    let words = words(&folded);
    if words.len() < 6 {
        // Of a text that is all links or hashtags, these are the story.
        let whole = if words.is_empty() {
            folded.trim().to_owned()
        } else {
            words.join(" ")
        };
        return hash(&whole);
    }
    let mut votes = [0i32; 64];
    let pairs = words.windows(2).map(|pair| hash(&pair.join(" ")));
    for feature in words.iter().map(|word| hash(word)).chain(pairs) {
        for (bit, vote) in votes.iter_mut().enumerate() {
            *vote += if feature >> bit & 1 == 1 { 1 } else { -1 };
        }
    }
    votes.iter().enumerate().fold(0, |signature, (bit, &vote)| {
        signature | u64::from(vote > 0) << bit
    })
}

/// Bits in which two signatures differ, 0 to 64: see [`COPY_DISTANCE`].
pub fn distance(one: u64, other: u64) -> u32 {
    (one ^ other).count_ones()
}

/// The words that count, of text in lower case.
fn words(text: &str) -> Vec<&str> {
    let mut tokens: Vec<&str> = text
        .split_whitespace()
        .filter(|token| !token.contains("://") && !token.starts_with("www.") && !is_mention(token))
        .skip_while(|token| *token == "rt")
        .collect();
    while tokens
        .last()
        .is_some_and(|token| token.starts_with('#') || !token.contains(char::is_alphanumeric))
    {
        tokens.pop();
    }
    tokens
        .into_iter()
        .flat_map(|token| {
            token.split(|c: char| !(c.is_alphanumeric() || matches!(c, '.' | '%' | '$')))
        })
        .map(|word| word.trim_matches('.'))
        .filter(|word| word.contains(char::is_alphanumeric))
        .collect()
}

/// Whether a token is a user's handle: `@acme`, `.@acme`, `@acme:`.
fn is_mention(token: &str) -> bool {
    token
        .trim_start_matches(|c: char| c.is_ascii_punctuation() && c != '@')
        .starts_with('@')
}

/// FNV-1a with the finaliser of MurmurHash3, so that every bit depends on every byte.
fn hash(text: &str) -> u64 {
    let mut hash = text.bytes().fold(0xcbf2_9ce4_8422_2325u64, |hash, byte| {
        (hash ^ u64::from(byte)).wrapping_mul(0x0100_0000_01b3)
    });
    for factor in [0xff51_afd7_ed55_8ccd, 0xc4ce_b9fe_1a85_ec53] {
        hash = (hash ^ hash >> 33).wrapping_mul(factor);
    }
    hash ^ hash >> 33
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::text::test_data;
    use proptest::prelude::*;
    use rand::SeedableRng as _;
    use rand::rngs::StdRng;

    fn apart(one: &str, other: &str) -> u32 {
        distance(signature(one), signature(other))
    }

    const STORY: &str =
        "Acme recalls 40,000 batteries after three fires, shares fall 12% in early trade";

    #[test]
    fn small_edits_stay_copies() {
        for edited in [
            "ACME RECALLS 40,000 BATTERIES AFTER THREE FIRES; SHARES FALL 12% IN EARLY TRADE!",
            "Acme recalls 40,000 batteries after three fires, shares fall 12% in early trade - source",
        ] {
            assert!(
                apart(STORY, edited) <= COPY_DISTANCE,
                "{}: {edited}",
                apart(STORY, edited)
            );
        }
    }

    #[test]
    fn another_story_is_no_copy() {
        for other in [
            "Acme hires 40 engineers after a record year, shares rise 12% in late trade",
            "Globex recalls cars",
            "",
        ] {
            assert!(
                apart(STORY, other) > COPY_DISTANCE,
                "{}: {other}",
                apart(STORY, other)
            );
        }
        assert!(apart("$ACME: Broker cuts to Hold", "$ACME: Broker cuts to Sell") > COPY_DISTANCE);
        assert!(apart("https://x.y/1", "https://x.y/2") > COPY_DISTANCE);
    }

    #[test]
    fn the_value_never_changes() {
        assert_eq!(signature(STORY), 4374689315314126260);
        assert_eq!(signature("Acme fell"), 3429236623148811738);
    }

    /// The share of pairs of different texts that would be taken for copies.
    #[test]
    fn different_texts_are_hardly_ever_taken_for_copies() {
        let Some(texts) = test_data::texts("data/sentiment/tweets-dev.jsonl") else {
            return;
        };
        let signatures: Vec<u64> = texts.iter().map(|text| signature(text)).collect();
        let mut histogram = [0u64; 65];
        for (position, &one) in signatures.iter().enumerate() {
            for &other in &signatures[position + 1..] {
                histogram[distance(one, other) as usize] += 1;
            }
        }
        println!("pairs by distance: {histogram:?}");
        let pairs: u64 = histogram.iter().sum();
        let near: u64 = histogram[..=COPY_DISTANCE as usize].iter().sum();
        println!("{near} of {pairs} pairs within {COPY_DISTANCE}");
        // 26 of the 28 pairs are the same story, judged by eye; the other two differ in little but the name.
        assert!(near * 50_000 < pairs, "{near} of {pairs}");
    }

    proptest! {
        #[test]
        fn a_repost_is_a_copy(
            words in prop::collection::vec("[a-z]{2,9}|[0-9]{1,3}%", 1..30),
            user in "[a-z_0-9]{3,12}",
            tags in prop::collection::vec("#[a-z]{2,10}", 0..4),
            link in "[a-zA-Z0-9]{6,10}",
        ) {
            // Of a text that is nothing but the mark of a repost nothing is left.
            prop_assume!(words.iter().any(|word| word != "rt"));
            let story = words.join(" ");
            let repost = format!("RT @{user}: {} https://t.co/{link} {}", story.to_uppercase(), tags.join(" "));
            prop_assert_eq!(apart(&story, &repost), 0);
        }
    }

    /// Chance decides where the words of a text point: a few texts in a thousand lie near the border.
    #[test]
    fn one_word_more_in_a_long_text_is_a_copy() {
        let mut rng = StdRng::seed_from_u64(7);
        let mut letters = |length: usize| -> String {
            let letter = |_| char::from(rng.random_range(b'a'..=b'z'));
            (0..length).map(letter).collect()
        };
        let copies = (0..1000).filter(|_| {
            let words: Vec<String> = (0..75).map(|word| letters(3 + word % 7)).collect();
            let story = words.join(" ");
            apart(&story, &format!("{story} {}", letters(10))) <= COPY_DISTANCE
        });
        let copies = copies.count();
        assert!(copies >= 980, "{copies} of 1000");
    }
}
