//! Which language a post is written in.

use whatlang::{Detector, Lang};

/// ISO 639-1 code of the language of `text`, or an empty string where it is not known.
///
/// A code `given` with the post wins: `en-US`, `EN` and `eng` all become `en`; codes that name no language
/// (`und`, `zxx`, an empty one) count as not given. Otherwise the language is detected from the words
/// (links, cashtags, hashtags and handles left out), and only a confident result is given.
///
/// **Unknown is to be treated as supported**: short posts made of tickers and numbers carry too little to be
/// sure of, and must be scored, not thrown away. Only a code that is known and not among
/// `score.languages` is a reason not to score.
pub fn language(given: Option<&str>, text: &str) -> String {
    given
        .and_then(known_code)
        .or_else(|| detect(text).map(str::to_owned))
        .unwrap_or_default()
}

/// A language tag's two-letter code; none for what is no language.
fn known_code(tag: &str) -> Option<String> {
    let primary = tag.trim().split(['-', '_']).next()?.to_ascii_lowercase();
    let letters = primary.bytes().all(|byte| byte.is_ascii_lowercase());
    match primary.len() {
        2 if letters => Some(primary),
        3 if letters => Lang::from_code(&primary)
            .and_then(two_letters)
            .map(str::to_owned),
        _ => None,
    }
}

/// Fewest function words that make a guess in a Latin script believable. Trigrams alone take one short
/// English headline in twenty for French or Danish.
const FEWEST_FUNCTION_WORDS: usize = 2;

/// Confidence with which a guess is English even without a function word.
const CONFIDENCE: f64 = 0.5;

/// The statistical guess, which must be borne out by function words where the script is Latin: two of the
/// guessed language, and more of them than of English.
fn detect(text: &str) -> Option<&'static str> {
    let words = words_only(text);
    let allowed = LANGUAGES.iter().map(|language| language.0).collect();
    let guess = Detector::with_allowlist(allowed).detect(&words)?;
    let &(_, code, function_words) = LANGUAGES.iter().find(|l| l.0 == guess.lang())?;
    if function_words.is_empty() {
        return Some(code);
    }
    let found = count(&words, function_words);
    if guess.lang() == Lang::Eng {
        let believable = found > 0 || guess.confidence() >= CONFIDENCE;
        return believable.then_some(code);
    }
    let english = count(&words, ENGLISH);
    if found >= FEWEST_FUNCTION_WORDS && found > english {
        Some(code)
    } else {
        (english >= FEWEST_FUNCTION_WORDS).then_some("en")
    }
}

/// The lower-cased words, without what looks the same in every language: links, cashtags, handles.
fn words_only(text: &str) -> String {
    let is_word = |token: &&str| !token.contains("://") && !token.contains(['$', '#', '@', '…']);
    let words: Vec<_> = text.split_whitespace().filter(is_word).collect();
    words.join(" ").to_lowercase()
}

/// How many words of `text` are among the blank-separated `function_words`.
fn count(text: &str, function_words: &str) -> usize {
    text.split(|c: char| !c.is_alphabetic())
        .filter(|word| !word.is_empty() && function_words.split(' ').any(|known| known == *word))
        .count()
}

fn two_letters(lang: Lang) -> Option<&'static str> {
    LANGUAGES.iter().find(|l| l.0 == lang).map(|l| l.1)
}

const ENGLISH: &str = "the of and to for is with after by from has its says said be are that as was will this it how why what you your more than over new up at on";

/// The languages told apart, those in which much financial news is written, each with frequent function
/// words where its script is Latin (none that is an English word too). Rarer languages would only take
/// short English posts away.
#[rustfmt::skip]
const LANGUAGES: &[(Lang, &str, &str)] = &[
    (Lang::Eng, "en", ENGLISH),
    (Lang::Deu, "de", "der die das und den dem ein eine einen ist im mit auf für von zu nach bei sich nicht auch wird aus als wegen"),
    (Lang::Fra, "fr", "le la les des du de un une et est en pour son sa ses dans par sur au aux avec qui que ne pas après"),
    (Lang::Spa, "es", "el la los las de del un una es en para su por con que se al lo tras más como"),
    (Lang::Ita, "it", "il lo la gli le di del della dei un una per con che si da al nel non più sono"),
    (Lang::Por, "pt", "os de da das um uma em para por com que se ao na não mais após pelo"),
    (Lang::Nld, "nl", "de het een en van op voor met dat te zijn naar bij niet ook uit na om aan"),
    (Lang::Swe, "sv", "och att en ett det som på är av för med den till inte har efter vid om från"),
    (Lang::Dan, "da", "og en et det som på er af med den til ikke har efter ved om fra"),
    (Lang::Nob, "nb", "og en et det som på er av med den til ikke har etter ved om fra"),
    (Lang::Fin, "fi", "ja ei se että oli joka sen mutta kun myös ovat sekä vuoden mukaan yhtiö tai"),
    (Lang::Pol, "pl", "na się jest nie że dla od przez po za oraz"),
    (Lang::Ces, "cs", "na se je že ze pro za od po které byl"),
    (Lang::Hun, "hu", "az és egy hogy nem meg volt van szerint után mint"),
    (Lang::Ron, "ro", "și în de la cu un din pentru nu este care mai după"),
    (Lang::Tur, "tr", "ve bir bu için ile da de olarak daha çok en sonra olan"),
    (Lang::Ind, "id", "yang dan di ke dari untuk dengan pada ini itu dalam akan tidak"),
    (Lang::Vie, "vi", "và của là có được cho trong với các một không những người đã"),
    (Lang::Ell, "el", ""),
    (Lang::Rus, "ru", ""),
    (Lang::Ukr, "uk", ""),
    (Lang::Heb, "he", ""),
    (Lang::Ara, "ar", ""),
    (Lang::Hin, "hi", ""),
    (Lang::Tha, "th", ""),
    (Lang::Cmn, "zh", ""),
    (Lang::Jpn, "ja", ""),
    (Lang::Kor, "ko", ""),
];

#[cfg(test)]
mod tests {
    use super::*;
    use crate::text::test_data;

    #[test]
    fn a_given_code_wins() {
        let german = "Der Vorstand hat die Dividende nach einem schwachen Quartal gestrichen";
        for (given, expected) in [
            (Some("en-US"), "en"),
            (Some("EN"), "en"),
            (Some("pt_BR"), "pt"),
            (Some("eng"), "en"),
            (Some("und"), "de"),
            (Some("zxx"), "de"),
            (Some(""), "de"),
            (Some("x-klingon"), "de"),
            (None, "de"),
        ] {
            assert_eq!(language(given, german), expected, "{given:?}");
        }
    }

    #[test]
    fn languages_are_told_apart() {
        for (text, expected) in [
            (
                "The company said it would cut its dividend after a weak quarter",
                "en",
            ),
            (
                "L'entreprise a annoncé que son bénéfice avait baissé au troisième trimestre",
                "fr",
            ),
            (
                "La empresa anunció que recortará el dividendo tras un trimestre débil",
                "es",
            ),
            (
                "Het bedrijf verlaagt het dividend na een zwak kwartaal",
                "nl",
            ),
            ("Компания сократила дивиденды после слабого квартала", "ru"),
            ("公司宣布在疲弱的季度之后削减股息", "zh"),
            ("同社は低調な四半期の後、配当を減らすと発表した", "ja"),
        ] {
            assert_eq!(language(None, text), expected, "{text}");
        }
    }

    #[test]
    fn too_little_text_is_unknown_not_foreign() {
        for text in [
            "",
            "$AAPL $TSLA 🚀🚀",
            "$TAP: Barclays cuts to Equal Weight",
            "https://example.com/une-page-en-francais",
            "DAX +1.2%",
        ] {
            let found = language(None, text);
            assert!(found.is_empty() || found == "en", "{text}: {found}");
        }
    }

    /// Wrong for an English text is another language; unknown is right, it is scored.
    #[test]
    fn hardly_an_english_post_is_taken_for_a_foreign_one() {
        let Some(texts) = test_data::texts("data/sentiment/tweets-dev.jsonl") else {
            return;
        };
        let foreign: Vec<_> = texts
            .iter()
            .map(|text| (language(None, text), text))
            .filter(|(code, _)| !code.is_empty() && code != "en")
            .collect();
        // Texts with English function words are English; the few without were judged by eye.
        let refused = foreign
            .iter()
            .filter(|(_, text)| count(&words_only(text), ENGLISH) > 0)
            .inspect(|(code, text)| println!("refused as {code}: {text}"))
            .count();
        println!(
            "{} of {} foreign, {refused} of them English",
            foreign.len(),
            texts.len()
        );
        assert!(
            refused * 1000 < texts.len() * 3,
            "{refused} of {}",
            texts.len()
        );
        assert!(foreign.len() * 1000 < texts.len() * 10, "{}", foreign.len());
    }
}
