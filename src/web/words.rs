//! How figures, times and links are written for people. Pure; all times UTC.

use crate::domain::Timestamp;
use std::time::Duration;

/// A whole number with separators: `40,212`.
pub fn count(number: u64) -> String {
    let digits = number.to_string();
    let mut text = String::with_capacity(digits.len() + digits.len() / 3);
    for (i, digit) in digits.chars().enumerate() {
        if i > 0 && (digits.len() - i).is_multiple_of(3) {
            text.push(',');
        }
        text.push(digit);
    }
    text
}

/// A mean or expected count: one decimal below ten, none above.
pub fn rate(number: f64) -> String {
    if !number.is_finite() {
        "–".into()
    } else if number < 9.95 {
        format!("{number:.1}")
    } else {
        count(number.round() as u64)
    }
}

/// A score in [-1, 1] with its sign: `−0.71`.
pub fn score(score: f64) -> String {
    if !score.is_finite() {
        return "–".into();
    }
    let text = format!("{:.2}", score.abs());
    match text.as_str() {
        "0.00" => text,
        _ if score < 0.0 => format!("−{text}"),
        _ => format!("+{text}"),
    }
}

/// A part of a whole in per cent; a dash where there is no whole.
pub fn share(part: u64, whole: u64) -> String {
    if whole == 0 {
        return "–".into();
    }
    format!("{:.0} %", 100.0 * part as f64 / whole as f64)
}

/// How rarely chance alone would do as much: `1 in 83 billion`; `usual` above one in ten.
pub fn chance(p_value: f64) -> String {
    if !p_value.is_finite() || p_value >= 0.1 {
        return "usual".into();
    }
    // No model of counts is to be trusted further out.
    if p_value < 1e-15 {
        return "under 1 in 10¹⁵".into();
    }
    let odds = 1.0 / p_value;
    const NAMES: [(f64, &str); 4] = [
        (1e12, " trillion"),
        (1e9, " billion"),
        (1e6, " million"),
        (1.0, ""),
    ];
    // Two digits are all that such a figure is good for.
    let magnitude = 10f64.powf(odds.log10().floor() - 1.0);
    let odds = (odds / magnitude).round() * magnitude;
    let (unit, name) = NAMES
        .into_iter()
        .find(|(unit, _)| odds >= unit * 0.999)
        .unwrap_or((1.0, ""));
    let amount = odds / unit;
    if amount < 9.95 && !name.is_empty() && (amount - amount.round()).abs() > 0.05 {
        format!("1 in {amount:.1}{name}")
    } else {
        format!("1 in {}{name}", count(amount.round() as u64))
    }
}

/// A length of time to the minute, or to the second below one: `2 h 5 min`.
pub fn length(duration: Duration) -> String {
    let seconds = duration.as_secs();
    let (days, hours, minutes) = (seconds / 86_400, seconds / 3600 % 24, seconds / 60 % 60);
    let parts = match (days, hours, minutes) {
        (0, 0, 0) => return format!("{seconds} s"),
        (0, 0, minutes) => [(minutes, "min"), (0, "")],
        (0, hours, minutes) => [(hours, "h"), (minutes, "min")],
        (days, hours, _) => [(days, "d"), (hours, "h")],
    };
    parts
        .iter()
        .filter(|(amount, _)| *amount > 0)
        .map(|(amount, unit)| format!("{amount} {unit}"))
        .collect::<Vec<_>>()
        .join(" ")
}

/// `09:15`
pub fn clock(instant: Timestamp) -> String {
    written(instant, "%H:%M")
}

/// `11-23`
pub fn day(instant: Timestamp) -> String {
    written(instant, "%m-%d")
}

/// `2026-11-23 09:15`
pub fn moment(instant: Timestamp) -> String {
    written(instant, "%Y-%m-%d %H:%M")
}

/// `2026-11-23 09:15:04`
pub fn moment_to_the_second(instant: Timestamp) -> String {
    written(instant, "%Y-%m-%d %H:%M:%S")
}

fn written(instant: Timestamp, format: &str) -> String {
    jiff::Timestamp::from_millisecond(instant.millis())
        .map(|instant| instant.strftime(format).to_string())
        .unwrap_or_else(|_| instant.to_string())
}

/// The address, if a link to it can only lead to a web page.
pub fn web_address(url: &str) -> Option<&str> {
    let scheme = url.split_once("://")?.0;
    (scheme.eq_ignore_ascii_case("http") || scheme.eq_ignore_ascii_case("https")).then_some(url)
}

/// Any text as one segment of a path or one value of a query (percent-encoding of RFC 3986).
pub fn segment(text: &str) -> String {
    let mut encoded = String::with_capacity(text.len());
    for byte in text.bytes() {
        match byte {
            b'A'..=b'Z' | b'a'..=b'z' | b'0'..=b'9' | b'-' | b'.' | b'_' | b'~' => {
                encoded.push(byte as char);
            }
            _ => encoded.push_str(&format!("%{byte:02X}")),
        }
    }
    encoded
}

/// The first `limit` characters, with an ellipsis where something was cut.
pub fn shortened(text: &str, limit: usize) -> String {
    match text.char_indices().nth(limit) {
        Some((end, _)) => format!("{}…", text[..end].trim_end()),
        None => text.to_owned(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn counts_have_separators() {
        let written: Vec<_> = [0, 12, 999, 1000, 40_212, 1_234_567]
            .map(count)
            .into_iter()
            .collect();
        assert_eq!(written, ["0", "12", "999", "1,000", "40,212", "1,234,567"]);
        assert_eq!(rate(1.44), "1.4");
        assert_eq!(rate(1234.4), "1,234");
        assert_eq!(rate(f64::NAN), "–");
    }

    #[test]
    fn scores_have_a_sign_and_never_a_negative_zero() {
        assert_eq!(score(-0.714), "−0.71");
        assert_eq!(score(0.3), "+0.30");
        assert_eq!(score(-0.001), "0.00");
        assert_eq!(share(33, 41), "80 %");
        assert_eq!(share(0, 0), "–");
    }

    #[test]
    fn chances_are_told_in_words() {
        for (p_value, words) in [
            (0.4, "usual"),
            (f64::NAN, "usual"),
            (0.05, "1 in 20"),
            (1e-3, "1 in 1,000"),
            (2.3e-5, "1 in 43,000"),
            (6.6e-7, "1 in 1.5 million"),
            (1e-6, "1 in 1 million"),
            (1.0001e-9, "1 in 1 billion"),
            (1.2e-11, "1 in 83 billion"),
            (1e-12, "1 in 1 trillion"),
            (3e-15, "1 in 330 trillion"),
            (1e-18, "under 1 in 10¹⁵"),
            (0.0, "under 1 in 10¹⁵"),
        ] {
            assert_eq!(chance(p_value), words, "{p_value}");
        }
    }

    #[test]
    fn lengths_have_two_units_at_most() {
        for (seconds, words) in [
            (0, "0 s"),
            (59, "59 s"),
            (60, "1 min"),
            (7500, "2 h 5 min"),
            (7200, "2 h"),
            (90_000, "1 d 1 h"),
        ] {
            assert_eq!(length(Duration::from_secs(seconds)), words);
        }
    }

    #[test]
    fn only_web_addresses_become_links() {
        assert!(web_address("https://example.com/a").is_some());
        assert!(web_address("HTTP://example.com").is_some());
        for url in [
            "javascript:alert(1)",
            " https://example.com",
            "java\nscript://x",
            "data:text/html,x",
            "//example.com",
            "",
        ] {
            assert_eq!(web_address(url), None, "{url:?}");
        }
    }

    proptest! {
        #[test]
        fn a_segment_holds_nothing_that_ends_it(text in "\\PC{0,20}") {
            prop_assert!(segment(&text).bytes().all(|byte| byte.is_ascii_alphanumeric() || b"-._~%".contains(&byte)));
        }

        #[test]
        fn shortening_never_splits_a_character(text in "\\PC{0,40}", limit in 0usize..50) {
            prop_assert!(shortened(&text, limit).chars().count() <= limit + 1);
        }

        #[test]
        fn no_chance_panics(p_value in any::<f64>()) {
            prop_assert!(!chance(p_value).contains("NaN"));
        }
    }
}
