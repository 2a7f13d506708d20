//! What a model is trained on and judged by: files read, checked against each other, corrected and tokenised.

mod corrections;
mod merge;

use super::error::TrainError;
use super::examples::{self, Example};
use super::network::Target;
use crate::domain::{Label, hexadecimal};
use crate::model::{Passage, Tokenizer};
use crate::text::{self, occurrences};
use corrections::Corrections;
use merge::Merged;
use serde::Serialize;
use sha2::{Digest, Sha256};
use std::collections::HashSet;
use std::io::BufReader;
use std::path::{Path, PathBuf};

/// A file to learn from.
#[derive(Debug, Clone, PartialEq)]
pub struct Source {
    /// Where it is.
    pub path: PathBuf,
    /// How much its texts count.
    pub weight: f32,
    /// Whether some of its texts are held back for calibration: those of files that are like what will be scored.
    pub calibrates: bool,
}

/// How data is made ready.
#[derive(Debug, Clone)]
pub struct Options {
    /// Weight of each class, in the order of [`Label::ALL`].
    pub class_weights: [f32; 3],
    /// Weight of entities in texts whose entities disagree.
    pub conflicting_weight: f32,
    /// Share of the texts of calibrating files that is held back.
    pub calibration_share: f64,
}

/// A text to learn from.
#[derive(Debug, Clone, PartialEq)]
pub struct Lesson {
    /// What the encoder sees: the beginning of the text.
    pub passage: Passage,
    /// What its document is.
    pub document: Option<Target>,
    /// What its entities are, by their place in the passage.
    pub entities: Vec<(usize, Target)>,
}

/// A text to judge a model by.
#[derive(Debug, Clone, PartialEq)]
pub struct Question {
    /// What the encoder sees: the beginning of the text.
    pub passage: Passage,
    /// Label of the document.
    pub document: Option<Label>,
    /// Labels of the entities, and their place in the passage; none where the passage does not name them.
    pub entities: Vec<(Label, Option<usize>)>,
}

/// A file that was read.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct FileNote {
    /// Its path.
    pub path: PathBuf,
    /// SHA-256 of its bytes, in hexadecimal.
    pub sha256: String,
    /// Number of texts.
    pub texts: usize,
}

/// What was found, to be told and kept beside the model.
#[derive(Debug, Clone, Default, PartialEq, Serialize)]
pub struct Notes {
    /// Files of training texts.
    pub train: Vec<FileNote>,
    /// Files the model is judged by.
    pub dev: Vec<FileNote>,
    /// Labels changed by the corrections.
    pub corrected: usize,
    /// Corrections that fit no label of the training texts.
    pub corrections_unused: usize,
    /// Training texts dropped, as a dev file has them.
    pub in_dev: usize,
    /// Labels dropped, as the same text has them already.
    pub repeated: usize,
    /// Labels dropped, as the same text has another one elsewhere.
    pub contradictory: usize,
    /// Entities dropped, as their text does not have them.
    pub not_found: usize,
    /// Entities dropped, as their names lie behind the end of what the encoder sees.
    pub cut_off: usize,
    /// Texts whose document takes the label on which their entities agree.
    pub derived: usize,
    /// Texts learnt from.
    pub lessons: usize,
    /// Texts held back for calibration.
    pub calibration: usize,
}

/// All of it.
#[derive(Debug, Clone)]
pub struct Data {
    /// What to learn from.
    pub lessons: Vec<Lesson>,
    /// Held back from training, to fit the calibration.
    pub calibration: Vec<Question>,
    /// What to be judged by.
    pub dev: Vec<Question>,
    /// What was found.
    pub notes: Notes,
}

/// Reads everything.
///
/// # Errors
/// When a file is bad, or nothing is left to learn from or to be judged by.
pub fn load(
    train: &[Source],
    dev: &[PathBuf],
    corrections: Option<&Path>,
    tokenizer: &Tokenizer,
    options: &Options,
) -> Result<Data, TrainError> {
    let mut notes = Notes::default();
    let mut dev_keys = HashSet::new();
    let mut questions = Vec::new();
    for path in dev {
        let (examples, note) = read(path)?;
        notes.dev.push(note);
        for example in examples {
            dev_keys.insert(key(&text::normalise(&example.text)));
            questions.push(question(&example, tokenizer));
        }
    }
    let mut corrections =
        corrections.map_or_else(|| Ok(Corrections::default()), Corrections::read)?;
    let mut merged = Merged::default();
    for (number, source) in train.iter().enumerate() {
        let (examples, note) = read(&source.path)?;
        notes.train.push(note);
        for mut example in examples {
            notes.corrected += corrections.apply(&mut example);
            let text = text::normalise(&example.text);
            let key = key(&text);
            if dev_keys.contains(&key) {
                notes.in_dev += 1;
            } else {
                merged.add(key, text, &example, number);
            }
        }
    }
    notes.corrections_unused = corrections.unused();
    notes.repeated = merged.repeated;
    notes.contradictory = merged.contradictory();
    let mut data = Data {
        lessons: Vec::new(),
        calibration: Vec::new(),
        dev: questions,
        notes,
    };
    for one in merged.examples() {
        let source = &train[one.source];
        if source.calibrates && share(&one.key) < options.calibration_share {
            data.calibration.push(question(&one.example, tokenizer));
        } else if let Some(lesson) =
            lesson(&one.example, source, tokenizer, options, &mut data.notes)
        {
            data.lessons.push(lesson);
        }
    }
    data.notes.lessons = data.lessons.len();
    data.notes.calibration = data.calibration.len();
    if data.lessons.is_empty() {
        return Err(TrainError::Unfit(format!(
            "nothing is left to learn from: {}",
            data.notes.dropped()
        )));
    }
    Ok(data)
}

impl Notes {
    /// What was dropped and changed, for people.
    pub fn dropped(&self) -> String {
        let counts = [
            (self.corrected, "labels corrected"),
            (
                self.corrections_unused,
                "corrections of texts that are not here",
            ),
            (self.in_dev, "texts dropped that a dev file has"),
            (
                self.repeated,
                "labels dropped that the same text has already",
            ),
            (
                self.contradictory,
                "labels dropped that contradict another of the same text",
            ),
            (
                self.not_found,
                "entities dropped that their text does not have",
            ),
            (
                self.cut_off,
                "entities dropped that are named behind the end of what is read",
            ),
        ];
        let told: Vec<String> = counts
            .iter()
            .filter(|(count, _)| *count > 0)
            .map(|(count, what)| format!("{count} {what}"))
            .collect();
        if told.is_empty() {
            "nothing was dropped".into()
        } else {
            told.join(", ")
        }
    }
}

/// The questions of files that judge, in their order.
///
/// # Errors
/// When a file is bad.
pub fn questions(files: &[PathBuf], tokenizer: &Tokenizer) -> Result<Vec<Question>, TrainError> {
    let mut questions = Vec::new();
    for path in files {
        let (examples, _) = read(path)?;
        questions.extend(examples.iter().map(|example| question(example, tokenizer)));
    }
    Ok(questions)
}

/// The examples of a file, and what it is.
pub(super) fn read(path: &Path) -> Result<(Vec<Example>, FileNote), TrainError> {
    let bytes = std::fs::read(path).map_err(TrainError::file(path))?;
    let examples = examples::read(BufReader::new(&bytes[..]), &path.display().to_string())?;
    let note = FileNote {
        path: path.to_owned(),
        sha256: hexadecimal(&Sha256::digest(&bytes)),
        texts: examples.len(),
    };
    Ok((examples, note))
}

/// What two texts share that count as the same: the words, in lower case, without links and punctuation.
fn key(text: &str) -> String {
    text.to_lowercase()
        .split_whitespace()
        .filter(|word| !word.starts_with("http://") && !word.starts_with("https://"))
        .flat_map(|word| word.split(|c: char| c.is_ascii_punctuation() && c != '$' && c != '%'))
        .filter(|word| !word.is_empty())
        .collect::<Vec<_>>()
        .join(" ")
}

/// Where a text stands between 0 and 1, whatever the order of the files.
fn share(key: &str) -> f64 {
    let digest = Sha256::digest(key);
    let number = u32::from_be_bytes([digest[0], digest[1], digest[2], digest[3]]);
    f64::from(number) / f64::from(u32::MAX)
}

/// The passage of an example, and where in the text its entities are named.
fn passage(example: &Example, tokenizer: &Tokenizer) -> (Passage, Vec<bool>) {
    let text = text::normalise(&example.text);
    let spans: Vec<_> = example
        .entities
        .iter()
        .map(|entity| match text::normalise(&entity.name) {
            name if name.is_empty() => Vec::new(),
            name => occurrences(&text, &name),
        })
        .collect();
    let found = spans.iter().map(|spans| !spans.is_empty()).collect();
    let passage = tokenizer.passages(&text, &spans, 1).swap_remove(0);
    (passage, found)
}

fn question(example: &Example, tokenizer: &Tokenizer) -> Question {
    let (passage, _) = passage(example, tokenizer);
    let labels = example.entities.iter().enumerate();
    let entities = labels
        .map(|(number, entity)| {
            let place = passage
                .entities
                .iter()
                .position(|(named, _)| *named == number);
            (entity.label, place)
        })
        .collect();
    Question {
        document: example.label,
        entities,
        passage,
    }
}

fn lesson(
    example: &Example,
    source: &Source,
    tokenizer: &Tokenizer,
    options: &Options,
    notes: &mut Notes,
) -> Option<Lesson> {
    let (passage, found) = passage(example, tokenizer);
    let weight = |label: Label, factor: f32| Target {
        label,
        weight: source.weight * options.class_weights[label as usize] * factor,
    };
    let conflict = match example.is_conflicting() {
        true => options.conflicting_weight,
        false => 1.0,
    };
    let mut entities = Vec::new();
    for (place, (number, _)) in passage.entities.iter().enumerate() {
        entities.push((place, weight(example.entities[*number].label, conflict)));
    }
    let missing = found.iter().filter(|found| !**found).count();
    notes.not_found += missing;
    notes.cut_off += found.len() - missing - entities.len();
    let document = example.label.or_else(|| {
        let agreed = example
            .entities
            .first()
            .filter(|_| !example.is_conflicting())?;
        notes.derived += 1;
        Some(agreed.label)
    });
    let document = document.map(|label| weight(label, 1.0));
    (document.is_some() || !entities.is_empty()).then_some(Lesson {
        passage,
        document,
        entities,
    })
}

#[cfg(test)]
mod tests;
