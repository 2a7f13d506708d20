//! Normalisation: what comes in as HTML or plain text becomes one line of clean text.

use unicode_normalization::UnicodeNormalization;

/// Makes one line of plain text: HTML entities decoded (once), HTML tags and comments removed, control
/// characters dropped, runs of whitespace collapsed to one blank, trimmed, Unicode NFC.
///
/// Only what truly looks like HTML is removed: `<3`, `5 < 6 > 2` and `<$10` stay. Tags that break a line
/// (`<p>`, `<br>`, …) become a blank, others nothing. Text that holds no entities is left unchanged by a
/// second pass. Takes linear time and never fails, whatever the input.
pub fn normalise(text: &str) -> String {
    let composed: String = text.nfc().collect();
    let mut line = Line::with_capacity(composed.len());
    let mut rest = composed.as_str();
    while let Some(next) = rest.chars().next() {
        if next == '&'
            && let Some((decoded, length)) = decode_entity(rest)
        {
            line.push(decoded);
            rest = &rest[length..];
        } else {
            line.push(next);
            rest = &rest[next.len_utf8()..];
        }
    }
    // A removed tag may have brought a letter and its accent together.
    line.finish().nfc().collect()
}

/// The output so far. Tags are taken out of it at the `>` that ends them, so what their removal brings
/// together is seen too, and no second pass is needed.
struct Line {
    text: String,
    /// Where each `<` stands that may still begin a tag.
    open: Vec<usize>,
    /// Where the first open comment begins.
    comment: Option<usize>,
}

impl Line {
    fn with_capacity(bytes: usize) -> Self {
        Self {
            text: String::with_capacity(bytes),
            open: Vec::new(),
            comment: None,
        }
    }

    fn push(&mut self, next: char) {
        match next {
            _ if next.is_whitespace() => self.blank(),
            _ if is_dropped(next) => {}
            '<' => {
                self.open.push(self.text.len());
                self.text.push(next);
            }
            '>' => self.close(),
            _ => {
                self.text.push(next);
                if next == '-' && self.comment.is_none() && self.text.ends_with("<!--") {
                    self.comment = Some(self.text.len() - 4);
                }
            }
        }
    }

    fn blank(&mut self) {
        if !self.text.is_empty() && !self.text.ends_with(' ') {
            self.text.push(' ');
        }
    }

    /// At a `>`: drops the comment or tag it ends, or keeps it as a character.
    fn close(&mut self) {
        if let Some(start) = self.comment
            && self.text[start + 4..].ends_with("--")
        {
            self.text.truncate(start);
            self.comment = None;
            while self.open.last().is_some_and(|&at| at >= start) {
                self.open.pop();
            }
        } else if let Some(&start) = self.open.last()
            && let Some(breaks) = tag(&self.text[start + 1..])
        {
            self.open.pop();
            self.text.truncate(start);
            if breaks {
                self.blank();
            }
        } else {
            self.open.clear();
            self.text.push('>');
        }
    }

    fn finish(mut self) -> String {
        self.text.truncate(self.text.trim_end().len());
        self.text
    }
}

/// Control characters, and format characters that only hide inside words (soft hyphen, zero-width blank,
/// byte order mark, bidirectional marks). The joiners stay: emoji and some scripts need them.
fn is_dropped(character: char) -> bool {
    character.is_control()
        || matches!(character, '\u{ad}' | '\u{200b}' | '\u{200e}' | '\u{200f}' | '\u{202a}'..='\u{202e}'
            | '\u{2060}'..='\u{2069}' | '\u{feff}')
}

/// Whether what stands between `<` and `>` is an HTML tag, and if so whether it breaks the line.
fn tag(inside: &str) -> Option<bool> {
    let body = inside.strip_prefix('/').unwrap_or(inside);
    let is_name = |c: char| c.is_ascii_alphanumeric() || c == '!';
    let (name, rest) = body.split_at(body.find(|c| !is_name(c)).unwrap_or(body.len()));
    let attributes = rest.strip_suffix('/').unwrap_or(rest).trim();
    let is_proper = attributes.is_empty() || rest.starts_with(' ') && attributes.contains('=');
    let is_among = |tags: &[&str]| tags.iter().any(|tag| tag.eq_ignore_ascii_case(name));
    if is_among(&["!doctype"]) || is_proper && is_among(BREAKING_TAGS) {
        Some(true)
    } else {
        (is_proper && is_among(INLINE_TAGS)).then_some(false)
    }
}

#[rustfmt::skip]
const BREAKING_TAGS: &[&str] = &[
    "address", "article", "aside", "blockquote", "body", "br", "button", "center", "dd", "div",
    "dl", "dt", "fieldset", "figcaption", "figure", "footer", "form", "h1", "h2", "h3", "h4",
    "h5", "h6", "head", "header", "hr", "html", "iframe", "img", "input", "legend", "li", "link",
    "main", "meta", "nav", "ol", "option", "p", "pre", "script", "section", "select", "style",
    "table", "tbody", "td", "textarea", "tfoot", "th", "thead", "title", "tr", "ul", "video",
];

#[rustfmt::skip]
const INLINE_TAGS: &[&str] = &[
    "a", "abbr", "acronym", "b", "bdi", "bdo", "big", "cite", "code", "data", "del", "dfn", "em",
    "font", "i", "ins", "kbd", "label", "mark", "q", "s", "samp", "small", "span", "strike",
    "strong", "sub", "sup", "time", "tt", "u", "var", "wbr",
];

/// Longest entity that is looked for, in bytes: bounds the look-ahead at each `&`.
const LONGEST_ENTITY: usize = 12;

/// The character that the entity at the beginning of `text` stands for, and the entity's length in bytes.
/// An entity that is unknown or no character is none: it stays as it is.
fn decode_entity(text: &str) -> Option<(char, usize)> {
    let end = text
        .bytes()
        .take(LONGEST_ENTITY)
        .position(|byte| byte == b';')?;
    let name = &text[1..end];
    let decoded = if let Some(number) = name.strip_prefix('#') {
        let code = match number.strip_prefix(['x', 'X']) {
            Some(digits) => parse_digits(digits, 16)?,
            None => parse_digits(number, 10)?,
        };
        match code {
            0x80..=0x9f => WINDOWS_1252.chars().nth(code as usize - 0x80)?,
            _ => char::from_u32(code)?,
        }
    } else {
        NAMED.iter().find(|(known, _)| *known == name)?.1
    };
    Some((decoded, end + 1))
}

/// Like `u32::from_str_radix`, but without a sign.
fn parse_digits(digits: &str, radix: u32) -> Option<u32> {
    (!digits.starts_with('+')).then(|| u32::from_str_radix(digits, radix).ok())?
}

/// What browsers show for `&#128;` to `&#159;`: the characters of Windows-1252 (WHATWG HTML, "numeric
/// character reference end state").
const WINDOWS_1252: &str = "€\u{81}‚ƒ„…†‡ˆ‰Š‹Œ\u{8d}Ž\u{8f}\u{90}‘’“”•–—˜™š›œ\u{9d}žŸ";

#[rustfmt::skip]
const NAMED: &[(&str, char)] = &[
    ("amp", '&'), ("lt", '<'), ("gt", '>'), ("quot", '"'), ("apos", '\''), ("nbsp", '\u{a0}'),
    ("ndash", '–'), ("mdash", '—'), ("lsquo", '‘'), ("rsquo", '’'), ("sbquo", '‚'),
    ("ldquo", '“'), ("rdquo", '”'), ("bdquo", '„'), ("laquo", '«'), ("raquo", '»'),
    ("hellip", '…'), ("bull", '•'), ("middot", '·'), ("prime", '′'), ("ensp", '\u{2002}'),
    ("emsp", '\u{2003}'), ("thinsp", '\u{2009}'), ("shy", '\u{ad}'), ("zwj", '\u{200d}'),
    ("zwnj", '\u{200c}'), ("euro", '€'), ("pound", '£'), ("yen", '¥'), ("cent", '¢'),
    ("curren", '¤'), ("copy", '©'), ("reg", '®'), ("trade", '™'), ("sect", '§'), ("para", '¶'),
    ("dagger", '†'), ("deg", '°'), ("plusmn", '±'), ("times", '×'), ("divide", '÷'),
    ("frac12", '½'), ("frac14", '¼'), ("frac34", '¾'), ("sup1", '¹'), ("sup2", '²'),
    ("sup3", '³'), ("micro", 'µ'), ("permil", '‰'), ("ne", '≠'), ("le", '≤'), ("ge", '≥'),
    ("asymp", '≈'), ("larr", '←'), ("uarr", '↑'), ("rarr", '→'), ("darr", '↓'), ("iexcl", '¡'),
    ("iquest", '¿'), ("ordf", 'ª'), ("ordm", 'º'), ("agrave", 'à'), ("aacute", 'á'),
    ("acirc", 'â'), ("atilde", 'ã'), ("auml", 'ä'), ("aring", 'å'), ("aelig", 'æ'),
    ("ccedil", 'ç'), ("egrave", 'è'), ("eacute", 'é'), ("ecirc", 'ê'), ("euml", 'ë'),
    ("igrave", 'ì'), ("iacute", 'í'), ("icirc", 'î'), ("iuml", 'ï'), ("ntilde", 'ñ'),
    ("ograve", 'ò'), ("oacute", 'ó'), ("ocirc", 'ô'), ("otilde", 'õ'), ("ouml", 'ö'),
    ("oslash", 'ø'), ("ugrave", 'ù'), ("uacute", 'ú'), ("ucirc", 'û'), ("uuml", 'ü'),
    ("szlig", 'ß'), ("Agrave", 'À'), ("Aacute", 'Á'), ("Acirc", 'Â'), ("Auml", 'Ä'),
    ("Aring", 'Å'), ("AElig", 'Æ'), ("Ccedil", 'Ç'), ("Egrave", 'È'), ("Eacute", 'É'),
    ("Ecirc", 'Ê'), ("Ntilde", 'Ñ'), ("Ouml", 'Ö'), ("Oslash", 'Ø'), ("Uuml", 'Ü'),
];

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn html_becomes_plain_text() {
        for (raw, clean) in [
            ("<p>Acme <b>fell</b></p><p>5%</p>", "Acme fell 5%"),
            ("<b>A</b>cme", "Acme"),
            ("one<br/>two<BR />three", "one two three"),
            (
                r#"<a href="https://x.y/?a=1&amp;b=2" title='t'>Acme</a>"#,
                "Acme",
            ),
            ("a<!-- hidden <b>words</b> -- > -->b", "ab"),
            ("<!DOCTYPE html><html><body>Acme</body></html>", "Acme"),
            (
                "AT&amp;T &quot;up&quot; &#39;5%&#x27; &euro;3&nbsp;bn",
                "AT&T \"up\" '5%' €3 bn",
            ),
            ("it&#146;s &#8217;", "it’s ’"),
            ("&lt;p&gt;escaped&lt;/p&gt;", "escaped"),
            ("  a\t\r\n\u{a0}b \u{2028} c ", "a b c"),
            (
                "nu\u{0}ll, so\u{ad}ft, ze\u{200b}ro, \u{feff}bom",
                "null, soft, zero, bom",
            ),
            ("Nestle\u{301}", "Nestlé"),
            ("e<i></i>\u{301}", "é"),
            ("<<b>b>x", "x"),
        ] {
            assert_eq!(normalise(raw), clean, "{raw}");
        }
    }

    #[test]
    fn what_only_resembles_html_stays() {
        for text in [
            "I <3 Acme",
            "5 < 6 > 2",
            "<$10 a share",
            "a<b and c>d",
            "<ACME> halted",
            "x <- y -> z",
            "R&D, AT&T; Q&A",
            "&#999999999;",
            "&#xD800;",
            "&#+65;",
            "&#;&;&&;",
            "&unknown;",
            "unfinished <!-- comment",
            "unfinished <a href=",
        ] {
            assert_eq!(normalise(text), text);
        }
    }

    #[test]
    fn entities_are_decoded_once() {
        assert_eq!(normalise("&amp;amp;lt;"), "&amp;lt;");
    }

    #[test]
    fn hostile_input_is_worked_through() {
        // Quadratic work on these would take minutes.
        for unit in [
            "<", "&", ">", "<b ", "<!--", "<!-- -->", "&#", "-", "<b", "<b>", "<<b>b>", "a=\"<",
        ] {
            normalise(&unit.repeat(300_000));
        }
    }

    proptest! {
        #[test]
        fn a_second_pass_changes_nothing(text in "([<>/=!-]|b|p|br| |a|\u{301}|\u{338}|\n|é|--|<!--|\\PC){0,40}") {
            prop_assume!(!text.contains('&'));
            let once = normalise(&text);
            prop_assert_eq!(normalise(&once), once);
        }

        #[test]
        fn any_text_becomes_one_clean_line(text in any::<String>()) {
            let line = normalise(&text);
            prop_assert_eq!(line.trim(), &line);
            prop_assert!(!line.contains("  "));
            prop_assert!(!line.chars().any(is_dropped));
        }
    }
}
