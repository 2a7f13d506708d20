//! The layers of the crate: each module may use those of lower layers, never those of higher ones, and
//! adapters never use each other. Read off the `crate::` paths of every source file.

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};

/// Modules by layer, lowest first.
const LAYERS: [&[&str]; 7] = [
    &["domain", "faults", "lock"],
    &["config", "telemetry"],
    &["text", "detect", "campaign"],
    &["model", "broker", "store", "state", "notify", "connect"],
    &["pipeline", "train"],
    &["web"],
    &["cli", "app"],
];

/// Modules that must know neither runtime, nor clock, nor files or network.
const PURE: [&str; 4] = ["domain", "text", "detect", "campaign"];
const IMPURE: [&str; 8] = [
    "tokio::",
    "std::fs",
    "std::net",
    "std::thread",
    "rdkafka",
    "rusqlite",
    "SystemTime::now",
    "Instant::now",
];

fn layer(module: &str) -> Option<usize> {
    LAYERS.iter().position(|modules| modules.contains(&module))
}

/// Whether a module of the first name may use one of the second.
fn may_use(module: &str, other: &str) -> bool {
    match (layer(module), layer(other)) {
        (Some(own), Some(used)) => {
            let adapters = own == 3 && used == 3;
            // The one exception: what is remembered is kept in topics of the broker.
            let state_in_topics = (module, other) == ("state", "broker");
            module == other || used < own || (used == own && !adapters) || state_in_topics
        }
        _ => false,
    }
}

fn source_files(folder: &Path) -> Vec<PathBuf> {
    let mut files = Vec::new();
    for entry in std::fs::read_dir(folder).unwrap() {
        let path = entry.unwrap().path();
        if path.is_dir() {
            files.extend(source_files(&path));
        } else if path.extension().is_some_and(|extension| extension == "rs") {
            files.push(path);
        }
    }
    files
}

/// Modules named after `crate::` in a text, also in groups: `use crate::{config::X, domain};`.
fn used_modules(text: &str) -> BTreeSet<String> {
    let mut used = BTreeSet::new();
    for (at, _) in text.match_indices("crate::") {
        let rest = &text[at + "crate::".len()..];
        match rest.strip_prefix('{') {
            None => {
                used.insert(word(rest));
            }
            Some(group) => {
                let mut depth = 0;
                let mut begins = true;
                for (index, c) in group.char_indices() {
                    if begins && !c.is_whitespace() {
                        used.insert(word(&group[index..]));
                        begins = false;
                    }
                    match c {
                        '{' => depth += 1,
                        '}' if depth == 0 => break,
                        '}' => depth -= 1,
                        ',' if depth == 0 => begins = true,
                        _ => {}
                    }
                }
            }
        }
    }
    used.retain(|module| {
        !module.is_empty() && module.chars().next().is_some_and(char::is_lowercase)
    });
    used
}

fn word(text: &str) -> String {
    text.chars()
        .take_while(|c| c.is_alphanumeric() || *c == '_')
        .collect()
}

#[test]
fn no_module_uses_one_above_it() {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("src");
    let mut errors = Vec::new();
    let mut seen = BTreeSet::new();
    for file in source_files(&root) {
        let inner = file.strip_prefix(&root).unwrap();
        let module = inner
            .components()
            .next()
            .unwrap()
            .as_os_str()
            .to_str()
            .unwrap()
            .trim_end_matches(".rs");
        if ["main", "lib"].contains(&module) {
            continue;
        }
        seen.insert(module.to_owned());
        let text = std::fs::read_to_string(&file).unwrap();
        if layer(module).is_none() {
            errors.push(format!(
                "{}: '{module}' has no layer: add it to LAYERS",
                inner.display()
            ));
            continue;
        }
        for other in used_modules(&text) {
            if !may_use(module, &other) {
                errors.push(format!(
                    "{}: {module} must not use {other}",
                    inner.display()
                ));
            }
        }
        let tests_begin = text.find("#[cfg(test)]").unwrap_or(text.len());
        let is_test = inner.components().any(|part| {
            part.as_os_str()
                .to_str()
                .is_some_and(|p| p.starts_with("tests"))
        });
        if PURE.contains(&module) && !is_test {
            for word in IMPURE
                .iter()
                .filter(|word| text[..tests_begin].contains(**word))
            {
                errors.push(format!(
                    "{}: {module} is pure, but names {word}",
                    inner.display()
                ));
            }
        }
    }
    assert!(
        seen.len() >= 10,
        "only {seen:?} found: is this the crate's root?"
    );
    assert!(
        errors.is_empty(),
        "forbidden uses:\n  {}",
        errors.join("\n  ")
    );
}

#[test]
fn the_rule_itself() {
    assert!(may_use("broker", "config"));
    assert!(may_use("store", "detect"));
    assert!(may_use("app", "cli") && may_use("cli", "app"));
    assert!(!may_use("domain", "config"));
    assert!(!may_use("broker", "store"), "adapters never use each other");
    assert!(may_use("state", "broker") && !may_use("broker", "state"));
    assert!(!may_use("detect", "store"));
    assert!(!may_use("web", "cli"));
    let text = "use crate::{domain::{Post, time}, config}; let x = crate::store::open(); pub(crate) fn f() {}";
    let used: Vec<String> = used_modules(text).into_iter().collect();
    assert_eq!(used, ["config", "domain", "store"]);
}
