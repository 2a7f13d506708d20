//! What a model says of labelled texts, read as SCORE reads posts.

use super::evaluation::{Agreement, EntityScores, Judged, Report, Scores};
use super::examples::Example;
use crate::domain::{Label, Sentiment};
use crate::model::context::entity_context;
use crate::model::{MOST_PASSAGES, Model, ModelError, Passage, combine};
use crate::text::{self, occurrences};

/// Texts scored between two steps of progress.
const STEP: usize = 256;

/// What a model says where people gave a label.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Prediction {
    /// Number of the example.
    pub example: usize,
    /// Number of the entity in it; none for the document.
    pub entity: Option<usize>,
    /// The label given.
    pub label: Label,
    /// What the model says.
    pub sentiment: Sentiment,
}

/// All of a file, in its order.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Predictions {
    /// Of texts as a whole.
    pub documents: Vec<Prediction>,
    /// Of entities.
    pub entities: Vec<Prediction>,
    /// Line and name of entities that their text does not have: they have the sentiment of the text.
    pub not_found: Vec<(usize, String)>,
}

impl Prediction {
    /// Whether the model says what people said.
    pub fn is_right(&self) -> bool {
        self.label == self.sentiment.label()
    }
}

impl Predictions {
    /// How good they are, as those of a model of this name on these examples.
    pub fn report(&self, model: &str, examples: &[Example]) -> Report {
        let judged = |one: &Prediction| (one.label, one.sentiment);
        let all = |predictions: &[Prediction]| -> Vec<Judged> {
            predictions.iter().map(judged).collect()
        };
        let disagreeing: Vec<Judged> = self
            .entities
            .iter()
            .filter(|one| examples[one.example].is_conflicting())
            .map(judged)
            .collect();
        Report {
            model: model.to_owned(),
            documents: Scores::of(&all(&self.documents)),
            entities: Scores::of(&all(&self.entities)).map(|all| EntityScores {
                all,
                conflicting: Agreement::of(&disagreeing),
            }),
        }
    }
}

/// Scores every example. `tell` hears how many texts were scored.
///
/// # Errors
/// When the model fails.
pub fn predict(
    model: &Model,
    examples: &[Example],
    tell: impl Fn(usize),
) -> Result<Predictions, ModelError> {
    let mut predictions = Predictions::default();
    for (step, chunk) in examples.chunks(STEP).enumerate() {
        let asked: Vec<Asked> = chunk.iter().map(|one| Asked::of(one, model)).collect();
        let passages: Vec<Passage> = asked
            .iter()
            .flat_map(|one| one.passages.iter().chain(&one.contexts).cloned())
            .collect();
        let scored = model.score(&passages)?;
        let mut rest = &scored[..];
        for (number, (example, asked)) in chunk.iter().zip(&asked).enumerate() {
            let (own, others) = rest.split_at(asked.passages.len());
            let (contexts, others) = others.split_at(asked.contexts.len());
            rest = others;
            let (document, entities) = combine(&asked.passages, own, example.entities.len());
            let Some(document) = document else {
                continue;
            };
            let prediction = |entity, label, sentiment| Prediction {
                example: step * STEP + number,
                entity,
                label,
                sentiment,
            };
            let whole = example.label.map(|label| prediction(None, label, document));
            predictions.documents.extend(whole);
            for (entity, given) in example.entities.iter().enumerate() {
                let by_context = contexts.get(entity).map(|one| one.document);
                let sentiment = by_context.or(entities[entity]).unwrap_or(document);
                predictions
                    .entities
                    .push(prediction(Some(entity), given.label, sentiment));
            }
            let names = asked.not_found.iter();
            predictions
                .not_found
                .extend(names.map(|name| (example.line, name.clone())));
        }
        tell(chunk.len());
    }
    Ok(predictions)
}

/// What the model reads for an example: what SCORE would make of a post with these entities.
struct Asked {
    /// The text; with a model that knows entities also where it names them.
    passages: Vec<Passage>,
    /// With another model: the sentences that name each entity.
    contexts: Vec<Passage>,
    not_found: Vec<String>,
}

impl Asked {
    fn of(example: &Example, model: &Model) -> Self {
        let tokenizer = model.tokenizer();
        let text = text::normalise(&example.text);
        let mut not_found = Vec::new();
        let mut spans = Vec::with_capacity(example.entities.len());
        for entity in &example.entities {
            let places = match text::normalise(&entity.name) {
                name if name.is_empty() => Vec::new(),
                name => occurrences(&text, &name),
            };
            if places.is_empty() {
                not_found.push(entity.name.clone());
            }
            spans.push(places);
        }
        if model.knows_entities() {
            return Self {
                passages: tokenizer.passages(&text, &spans, MOST_PASSAGES),
                contexts: Vec::new(),
                not_found,
            };
        }
        let sentences = text::sentences(&text);
        let context = |places: &Vec<_>| {
            tokenizer
                .encode(&entity_context(&text, places, &sentences))
                .into()
        };
        Self {
            passages: vec![tokenizer.encode(&text).into()],
            contexts: spans.iter().map(context).collect(),
            not_found,
        }
    }
}
