//! Tickers that a text marks as such: `$AAPL`, `(NYSE: GPS)`, `NASDAQ:AAPL`, `(AAPL.O)`.

use super::folded::fold;
use super::names::is_ordinary;
use std::ops::Range;

/// A ticker marked in a text.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Marked {
    /// Its bytes in the text: with the `$` or the exchange, without parentheses.
    pub range: Range<usize>,
    /// What it may be called in the dictionary, the likeliest first, in capitals.
    pub symbols: Vec<String>,
}

/// All tickers marked in `text`, in order; most are of no known entity.
///
/// A cashtag may be in any case, its first character must be a letter (`$5` and `$1B` are amounts). In
/// parentheses and after the name of an exchange only capitals count. Without an exchange, parentheses hold
/// at least three letters; an ordinary word that is the initials of what stands before, as in
/// `liquefied natural gas (LNG)`, is no ticker.
pub(super) fn marked(text: &str) -> Vec<Marked> {
    let mut found = Vec::new();
    for (at, mark) in text.match_indices(['$', ':', '(']) {
        match mark {
            "$" => found.extend(cashtag(text, at)),
            ":" => found.extend(listed(text, at)),
            _ => in_parentheses(text, at, &mut found),
        }
    }
    found.sort_by_key(|marked| marked.range.start);
    found.dedup_by(|later, earlier| later.range.start < earlier.range.end);
    found
}

/// Length of the symbol at the beginning of `text`: letters and digits, perhaps with a class or exchange.
fn symbol_length(text: &str) -> usize {
    let word = |text: &str| {
        text.bytes()
            .take_while(|b| b.is_ascii_alphanumeric() || *b == b'&')
            .count()
    };
    let base = word(text);
    let rest = &text[base..];
    let suffix = rest.strip_prefix(['.', '-', '/']).map_or(0, word);
    let length = if base > 0 && (1..=4).contains(&suffix) {
        base + 1 + suffix
    } else {
        base
    };
    let ended = !text[length..].starts_with(|c: char| c.is_alphanumeric() || c == '_');
    if ended { length } else { 0 }
}

fn cashtag(text: &str, dollar: usize) -> Option<Marked> {
    let start = dollar + 1;
    let length = symbol_length(&text[start..]);
    let amount = text[..dollar].ends_with(|c: char| c.is_alphanumeric() || c == '$');
    if amount || !text[start..].starts_with(|c: char| c.is_ascii_alphabetic()) {
        return None;
    }
    let symbol = text[start..start + length].to_uppercase();
    let mut symbols = vec![symbol.replace('/', "."), symbol.replace(['/', '-'], ".")];
    // A short suffix makes another security of it: `$SAN.MC` is not the SAN of New York.
    let mut end = start + length;
    if let Some((base, suffix)) = symbol.split_once(['.', '-', '/'])
        && (suffix.len() > 3 || symbol.contains("-USD"))
    {
        end = start + base.len();
        symbols.push(base.to_owned());
    }
    symbols.dedup();
    (length > 0).then_some(Marked {
        range: dollar..end,
        symbols,
    })
}

/// `NYSE: GPS`, at its colon.
fn listed(text: &str, colon: usize) -> Option<Marked> {
    let before = &text[..colon];
    let exchange = &before[before
        .trim_end_matches(|c: char| c.is_ascii_alphabetic())
        .len()..];
    let (_, suffix) = EXCHANGES
        .iter()
        .find(|(name, _)| name.eq_ignore_ascii_case(exchange))?;
    let after = &text[colon + 1..];
    let start = text.len() - after.strip_prefix(' ').unwrap_or(after).len();
    let length = symbol_length(&text[start..]);
    let symbol = &text[start..start + length];
    let is_symbol = length > 0 && !symbol.contains(|c: char| c.is_ascii_lowercase());
    is_symbol.then(|| Marked {
        range: colon - exchange.len()..start + length,
        symbols: vec![format!("{symbol}{suffix}")],
    })
}

/// Exchanges as they are named before tickers, and what ids of their companies end with.
#[rustfmt::skip]
const EXCHANGES: &[(&str, &str)] = &[
    ("NYSE", ""), ("NASDAQ", ""), ("NASDAQGS", ""), ("NYSEAMERICAN", ""), ("NYSEARCA", ""),
    ("AMEX", ""), ("CBOE", ""), ("NSE", ""), ("LON", ".L"), ("LSE", ".L"), ("EPA", ".PA"),
    ("ETR", ".DE"), ("FRA", ".DE"), ("XETRA", ".DE"), ("AMS", ".AS"), ("BIT", ".MI"),
    ("BME", ".MC"), ("STO", ".ST"), ("SWX", ".SW"), ("CPH", ".CO"), ("TSX", ".TO"),
    ("TSE", ".TO"), ("ASX", ".AX"), ("HKG", ".HK"), ("TYO", ".T"),
];

/// `(AAPL)`, `(AAPL, MSFT)`, `(AAPL.O)`, at its opening parenthesis.
fn in_parentheses(text: &str, open: usize, found: &mut Vec<Marked>) {
    const LONGEST: usize = 60;
    let inside = &text[open + 1..];
    let Some(length) = inside
        .bytes()
        .take(LONGEST)
        .position(|byte| matches!(byte, b')' | b'('))
    else {
        return;
    };
    let mut start = open + 1;
    for part in inside[..length].split([',', ';', ' ', '/']) {
        let range = start..start + part.len();
        start = range.end + 1;
        let american = [".OQ", ".O", ".N"]
            .iter()
            .find_map(|suffix| part.strip_suffix(suffix));
        let capitals = part.bytes().filter(u8::is_ascii_uppercase).count();
        let is_symbol = !part.is_empty()
            && symbol_length(part) == part.len()
            && part.starts_with(|c: char| c.is_ascii_uppercase());
        let is_word = || is_ordinary(&fold(part)) && is_initials(part, &text[..open]);
        if is_symbol
            && !part.contains(|c: char| c.is_ascii_lowercase())
            && (american.is_some() || capitals >= 3 && !is_word())
        {
            found.push(Marked {
                range,
                symbols: vec![american.unwrap_or(part).to_owned()],
            });
        }
    }
}

/// Whether the last words before it begin with a symbol's letters.
fn is_initials(symbol: &str, before: &str) -> bool {
    let mut words = before.split_whitespace().rev();
    symbol.chars().rev().all(|letter| {
        words.next().is_some_and(|word| {
            word.chars()
                .next()
                .is_some_and(|first| first.eq_ignore_ascii_case(&letter))
        })
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn found(text: &str) -> Vec<(&str, String)> {
        let marked = marked(text).into_iter();
        marked
            .map(|marked| (&text[marked.range], marked.symbols.join(" ")))
            .collect()
    }

    fn check(text: &str, expected: &[(&str, &str)]) {
        let expected: Vec<(&str, String)> = expected
            .iter()
            .map(|(at, symbols)| (*at, (*symbols).into()))
            .collect();
        assert_eq!(found(text), expected, "{text}");
    }

    #[test]
    fn cashtags_begin_with_a_letter() {
        check("$AAPL, $tsla: up", &[("$AAPL", "AAPL"), ("$tsla", "TSLA")]);
        check(
            "$BRK.B $BRK-B $brk/b",
            &[
                ("$BRK.B", "BRK.B"),
                ("$BRK-B", "BRK-B BRK.B"),
                ("$brk/b", "BRK.B"),
            ],
        );
        check(
            "$BTC-USD $AAPL.",
            &[("$BTC", "BTC-USD BTC.USD BTC"), ("$AAPL", "AAPL")],
        );
        check("$5 $1B $-3 US$AAPL A$AP $ $$X $AAPL_x $é", &[]);
    }

    #[test]
    fn listings_are_read_with_their_exchange() {
        check(
            "Gap (NYSE: GPS) and NASDAQ:AAPL",
            &[("NYSE: GPS", "GPS"), ("NASDAQ:AAPL", "AAPL")],
        );
        check(
            "(LON:RR) Nasdaq: AMGN",
            &[("LON:RR", "RR.L"), ("Nasdaq: AMGN", "AMGN")],
        );
        check("Nasdaq: tech falls. Note: ALL (NYSE:) (NYSE: x)", &[]);
    }

    #[test]
    fn parentheses_hold_capitals() {
        check(
            "(AAPL) (AAPL, MSFT) (GM.N)",
            &[
                ("AAPL", "AAPL"),
                ("AAPL", "AAPL"),
                ("MSFT", "MSFT"),
                ("GM.N", "GM"),
            ],
        );
        check("insurers fell (ALL)", &[("ALL", "ALL")]);
        check(
            "liquefied natural gas (LNG), IT (IT), (and more) (3M) ()",
            &[],
        );
    }

    proptest! {
        #[test]
        fn ranges_lie_in_the_text(text in "([$:(), .A/-]|NYSE|GPS|é|\\PC){0,40}") {
            for marked in marked(&text) {
                prop_assert!(text.get(marked.range).is_some_and(|symbol| !symbol.is_empty()));
            }
        }
    }
}
