//! Corrections of labels, by the hash of the text: the texts themselves need not be passed on.

use super::{TrainError, hexadecimal};
use crate::domain::Label;
use crate::train::examples::Example;
use serde::Deserialize;
use sha2::{Digest, Sha256};
use std::collections::HashMap;
use std::path::Path;

/// What a label should be.
struct Correction {
    label: Label,
    was: Label,
    used: bool,
}

/// All of a file, by hash of the exact text and entity.
#[derive(Default)]
pub(super) struct Corrections(HashMap<(String, Option<String>), Correction>);

#[derive(Deserialize)]
struct Line {
    sha256: String,
    entity: Option<String>,
    label: Label,
    was: Label,
}

impl Corrections {
    /// Reads JSON Lines `{"sha256", "entity", "label", "was"}`; other keys are ignored.
    pub(super) fn read(path: &Path) -> Result<Self, TrainError> {
        let content = std::fs::read_to_string(path).map_err(TrainError::file(path))?;
        let mut corrections = HashMap::new();
        for (number, line) in (1..).zip(content.lines()) {
            if line.trim().is_empty() {
                continue;
            }
            let line: Line = serde_json::from_str(line).map_err(|problem| {
                TrainError::Unfit(format!(
                    "{}:{number}: {problem}: write it as {{\"sha256\": …, \"entity\": …, \"label\": …, \"was\": …}}",
                    path.display()
                ))
            })?;
            let correction = Correction {
                label: line.label,
                was: line.was,
                used: false,
            };
            corrections.insert((line.sha256, line.entity), correction);
        }
        Ok(Self(corrections))
    }

    /// Corrects an example; returns the number of labels changed. One that is not what the correction says it was
    /// stays.
    pub(super) fn apply(&mut self, example: &mut Example) -> usize {
        if self.0.is_empty() {
            return 0;
        }
        let hash = hexadecimal(&Sha256::digest(&example.text));
        let mut changed = 0;
        let mut correct = |entity: Option<String>, label: &mut Label| {
            if let Some(correction) = self.0.get_mut(&(hash.clone(), entity))
                && correction.was == *label
            {
                *label = correction.label;
                correction.used = true;
                changed += 1;
            }
        };
        if let Some(label) = &mut example.label {
            correct(None, label);
        }
        for entity in &mut example.entities {
            correct(Some(entity.name.clone()), &mut entity.label);
        }
        changed
    }

    /// Corrections that fitted nothing.
    pub(super) fn unused(&self) -> usize {
        self.0.values().filter(|one| !one.used).count()
    }
}
