//! From an entity of the dictionary to the forms in which texts name it.

use super::folded::fold;
use crate::domain::Entity;
use std::collections::HashSet;
use std::sync::LazyLock;

/// One way in which texts write an entity.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Name {
    /// As the dictionary writes it.
    pub written: String,
    /// What it takes to count.
    pub form: Form,
}

/// What it takes for a name found in a text to mean the entity.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Form {
    /// Nothing: it means nothing else.
    Free,
    /// The dictionary's capitals.
    Cased,
    /// The dictionary's capitals, and evidence in the text around it.
    Ambiguous,
}

/// Words that mean something else than an entity, or more than one: a name made only of such words is
/// ambiguous, and a ticker that is one counts only as a cashtag or in parentheses.
static ORDINARY: LazyLock<HashSet<&str>> = LazyLock::new(|| {
    include_str!("ordinary_words.txt")
        .split_whitespace()
        .collect()
});

/// Whether a folded name is made only of ordinary words.
pub(super) fn is_ordinary(folded: &str) -> bool {
    let known = |word: &str| ORDINARY.contains(word.trim_matches(|c: char| !c.is_alphanumeric()));
    folded
        .split(' ')
        .all(|word| known(word) || word.split('-').all(known))
}

/// The names of an entity that are looked for as words: its forms, and its id where that is a ticker of at
/// least three letters that is no ordinary word.
///
/// A form made of ordinary words is ambiguous if it is one word, or if the entity has context words. Where
/// an entity with context words has no form made of ordinary words, its one-word forms are ambiguous.
pub(super) fn names(entity: &Entity) -> Vec<Name> {
    let forms = forms(entity);
    let has_context = entity.context.iter().any(|word| !word.starts_with('!'));
    let any_ordinary = forms.iter().any(|form| is_ordinary(&fold(form)));
    let is_ambiguous = |form: &str| {
        let one_word = !form.contains(' ');
        if any_ordinary {
            is_ordinary(&fold(form)) && (one_word || has_context)
        } else {
            one_word && has_context
        }
    };
    let name = |written: &str, form| Name {
        written: written.to_owned(),
        form,
    };
    let mut names: Vec<Name> = forms
        .into_iter()
        .map(|form| {
            name(
                form,
                if is_ambiguous(form) {
                    Form::Ambiguous
                } else {
                    unambiguous(form)
                },
            )
        })
        .collect();
    let id = entity.id.as_str();
    let is_known = |name: &Name| name.form == Form::Ambiguous && fold(&name.written) == fold(id);
    if id.len() >= 3 && is_ticker(id) && !is_ordinary(&fold(id)) && !names.iter().any(is_known) {
        names.push(name(id, Form::Cased));
    }
    names
}

/// Name and aliases, and the name without its legal form, articles left out; not what stands among the
/// aliases as `!Name`.
fn forms(entity: &Entity) -> Vec<&str> {
    let name = entity.name.strip_prefix("The ").unwrap_or(&entity.name);
    let aliases = entity.aliases.iter().map(String::as_str);
    let (marked, aliases): (Vec<&str>, Vec<&str>) =
        aliases.partition(|alias| alias.starts_with(['$', '!']));
    let mut forms = aliases;
    forms.extend([name, without_legal_form(name)]);
    forms.sort_unstable();
    forms.dedup();
    let is_excluded = |form: &str| {
        marked
            .iter()
            .any(|marked| marked.strip_prefix('!') == Some(form))
    };
    forms.retain(|form| form.chars().count() > 1 && !is_excluded(form));
    forms
}

/// Short names, and names of ordinary words written with capitals, need their capitals to count.
fn unambiguous(written: &str) -> Form {
    let letters = written.chars().filter(|c| c.is_alphabetic()).count();
    let has_upper = written.contains(char::is_uppercase);
    let has_lower = written.contains(char::is_lowercase);
    let is_short = letters < 5 || letters == 5 && !has_lower;
    if is_short || has_upper && is_ordinary(&fold(written)) {
        Form::Cased
    } else {
        Form::Free
    }
}

/// Tickers of an entity, in capitals: its id and aliases where they have that form, and aliases `$XYZ`.
pub(super) fn tickers(entity: &Entity) -> impl Iterator<Item = String> {
    let marked = entity
        .aliases
        .iter()
        .filter_map(|alias| alias.strip_prefix('$'));
    let bare = entity
        .aliases
        .iter()
        .map(String::as_str)
        .chain([entity.id.as_str()])
        .filter(|id| is_ticker(id));
    marked.chain(bare).map(str::to_uppercase)
}

/// Whether a text has the form of a ticker: capitals and digits, the first a capital, perhaps with a class or
/// exchange: `AAPL`, `BRK.B`, `BAJAJ-AUTO`.
fn is_ticker(text: &str) -> bool {
    text.len() <= 12
        && text.starts_with(|c: char| c.is_ascii_uppercase())
        && text
            .chars()
            .all(|c| c.is_ascii_uppercase() || c.is_ascii_digit() || matches!(c, '.' | '-' | '&'))
}

/// Legal forms that end a company's name and are left out in common speech.
#[rustfmt::skip]
const LEGAL_FORMS: &[&str] = &[
    "inc", "incorporated", "corp", "corporation", "co", "ltd", "limited", "plc", "p.l.c", "llc",
    "se", "ag", "sa", "s.a", "s.p.a", "nv", "n.v", "asa", "oyj", "a/s", "pjsc",
];

/// The name without its legal form: `Gap, Inc.` becomes `Gap`.
fn without_legal_form(name: &str) -> &str {
    let mut short = name;
    while let Some((rest, last)) = short.rsplit_once(' ')
        && is_legal_form(last)
    {
        short = rest.trim_end_matches(['&', ' ', ',']);
    }
    short
}

/// Whether a word is a legal form, whatever its case and with or without its dot.
pub(super) fn is_legal_form(word: &str) -> bool {
    let word = word.trim_matches([',', '.']).to_lowercase();
    LEGAL_FORMS.contains(&word.as_str())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::domain::EntityKind;

    fn entity(id: &str, name: &str, aliases: &[&str], context: &[&str]) -> Entity {
        Entity {
            id: id.into(),
            name: name.into(),
            aliases: aliases.iter().map(ToString::to_string).collect(),
            sector: String::new(),
            kind: EntityKind::Company,
            context: context.iter().map(ToString::to_string).collect(),
        }
    }

    fn forms(entity: &Entity) -> Vec<(String, Form)> {
        names(entity)
            .into_iter()
            .map(|name| (name.written, name.form))
            .collect()
    }

    #[test]
    fn legal_forms_are_left_out() {
        for (name, short) in [
            ("Apple Inc.", "Apple"),
            ("Gap, Inc.", "Gap"),
            ("Best Buy Co., Inc.", "Best Buy"),
            ("Eni S.p.A.", "Eni"),
            ("Merck & Co., Inc.", "Merck"),
            ("Southern Company", "Southern Company"),
            ("Inc.", "Inc."),
        ] {
            assert_eq!(without_legal_form(name), short);
        }
    }

    #[test]
    fn only_ordinary_words_are_ambiguous() {
        assert_eq!(
            forms(&entity(
                "META",
                "Meta Platforms, Inc.",
                &["Meta", "Facebook", "$FB"],
                &["Zuckerberg"]
            )),
            [
                ("Facebook".into(), Form::Free),
                ("Meta".into(), Form::Ambiguous),
                ("Meta Platforms".into(), Form::Free),
                ("Meta Platforms, Inc.".into(), Form::Free),
            ]
        );
        assert_eq!(
            forms(&entity("BBY", "Best Buy", &[], &["electronics"])),
            [
                ("Best Buy".into(), Form::Ambiguous),
                ("BBY".into(), Form::Cased)
            ]
        );
        assert_eq!(
            forms(&entity("DG", "Dollar General", &[], &[])),
            [("Dollar General".into(), Form::Cased)]
        );
    }

    #[test]
    fn context_words_make_one_word_names_ambiguous_where_none_is_ordinary() {
        assert_eq!(
            forms(&entity(
                "ZQX",
                "Zephyrus Works",
                &["Zephyrus"],
                &["engines"]
            )),
            [
                ("Zephyrus".into(), Form::Ambiguous),
                ("Zephyrus Works".into(), Form::Free),
                ("ZQX".into(), Form::Cased),
            ]
        );
        assert_eq!(
            forms(&entity("AQME", "Aqme Corp", &[], &[])),
            [
                ("Aqme".into(), Form::Cased),
                ("Aqme Corp".into(), Form::Free),
                ("AQME".into(), Form::Cased)
            ]
        );
    }

    #[test]
    fn tickers_that_are_words_are_no_names() {
        let tickers_of = |entity: &Entity| tickers(entity).collect::<Vec<_>>();
        let gap = entity("GAP", "The Gap, Inc.", &["$GPS"], &["denim"]);
        assert_eq!(tickers_of(&gap), ["GPS", "GAP"]);
        assert!(
            forms(&gap)
                .iter()
                .all(|(written, _)| written != "GAP" && written != "$GPS")
        );
        assert_eq!(
            tickers_of(&entity("7203.T", "Toyota", &["TM"], &[])),
            ["TM"]
        );
    }
}
