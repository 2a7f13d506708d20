//! Training texts that occur more than once.

use crate::domain::Label;
use crate::train::examples::{EntityLabel, Example};
use std::collections::HashMap;

/// Each text once, in the order in which it first came.
#[derive(Default)]
pub(super) struct Merged {
    texts: Vec<Text>,
    by_key: HashMap<String, usize>,
    /// Labels left out, as the text had them.
    pub(super) repeated: usize,
}

struct Text {
    key: String,
    text: String,
    line: usize,
    source: usize,
    document: Option<Told>,
    entities: Vec<(String, Told)>,
}

/// A label as one or several examples tell it.
#[derive(Clone, Copy)]
struct Told {
    label: Label,
    /// How many tell it.
    times: usize,
    contradicted: bool,
}

/// A text with the labels that stayed.
pub(super) struct One {
    pub(super) key: String,
    pub(super) source: usize,
    pub(super) example: Example,
}

impl Merged {
    /// Adds an example whose normalised text is given.
    pub(super) fn add(&mut self, key: String, text: String, example: &Example, source: usize) {
        let index = *self.by_key.entry(key.clone()).or_insert_with(|| {
            self.texts.push(Text {
                key,
                text,
                line: example.line,
                source,
                document: None,
                entities: Vec::new(),
            });
            self.texts.len() - 1
        });
        let known = &mut self.texts[index];
        if let Some(label) = example.label {
            match &mut known.document {
                Some(told) => self.repeated += told.hear(label),
                none => *none = Some(Told::new(label)),
            }
        }
        for EntityLabel { name, label } in &example.entities {
            match known.entities.iter_mut().find(|(known, _)| known == name) {
                Some((_, told)) => self.repeated += told.hear(*label),
                None => known.entities.push((name.clone(), Told::new(*label))),
            }
        }
    }

    /// Labels that contradict each other, each telling of one counted.
    pub(super) fn contradictory(&self) -> usize {
        let told = |text: &Text| {
            let entities = text.entities.iter().map(|(_, told)| *told);
            text.document
                .into_iter()
                .chain(entities)
                .collect::<Vec<_>>()
        };
        let all = self.texts.iter().flat_map(told);
        all.filter(|told| told.contradicted)
            .map(|told| told.times)
            .sum()
    }

    /// The texts with the labels nobody contradicts.
    pub(super) fn examples(self) -> impl Iterator<Item = One> {
        self.texts.into_iter().map(|text| One {
            key: text.key,
            source: text.source,
            example: Example {
                line: text.line,
                text: text.text,
                label: text.document.and_then(Told::label),
                kind: None,
                entities: text
                    .entities
                    .into_iter()
                    .filter_map(|(name, told)| {
                        let label = told.label()?;
                        Some(EntityLabel { name, label })
                    })
                    .collect(),
            },
        })
    }
}

impl Told {
    fn new(label: Label) -> Self {
        Self {
            label,
            times: 1,
            contradicted: false,
        }
    }

    /// Returns 1 for a mere repetition.
    fn hear(&mut self, label: Label) -> usize {
        self.times += 1;
        if label != self.label {
            self.contradicted = true;
        }
        usize::from(!self.contradicted)
    }

    fn label(self) -> Option<Label> {
        (!self.contradicted).then_some(self.label)
    }
}
