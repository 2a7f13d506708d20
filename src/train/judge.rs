//! How well weights in training answer questions, and which temperatures make their probabilities honest.

use super::data::Question;
use super::evaluation::{Agreement, EntityScores, Judged, Report, Scores};
use super::network::{self, Batch, Shape};
use crate::domain::Label;
use crate::model::calibration::sentiment;
use crate::model::{Calibration, workers};
use candle_core::{Result, Tensor};

/// Tokens scored together, if no single text is longer.
const TOKENS: usize = 1024;

/// A label given by people, and logits: negative, neutral, positive.
pub type Answered = (Label, [f32; 3]);

/// Answers to questions, in their order.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Answers {
    /// Of documents.
    pub documents: Vec<Answered>,
    /// Of entities.
    pub entities: Vec<Answered>,
    /// Of each entity: whether others of its text have another label.
    pub conflicting: Vec<bool>,
}

/// Answers every question. An entity that its passage does not name has the logits of the document.
///
/// # Errors
/// When the weights do not have the shape.
pub fn answer(shape: &Shape, weights: &[Tensor], questions: &[Question]) -> Result<Answers> {
    let mut groups: Vec<&[Question]> = Vec::new();
    let mut rest = questions;
    while !rest.is_empty() {
        let mut tokens = 0;
        let fits = |question: &&Question| {
            tokens += question.passage.tokens.len();
            tokens <= TOKENS
        };
        let count = rest.iter().take_while(fits).count().max(1);
        let (group, others) = rest.split_at(count);
        groups.push(group);
        rest = others;
    }
    let computed = workers::map(&groups, |group| {
        let mut batch = Batch::default();
        group
            .iter()
            .for_each(|question| batch.add(&question.passage));
        network::logits(shape, weights, &batch)
    });
    let mut answers = Answers::default();
    for (group, computed) in groups.iter().zip(computed) {
        let (documents, entities) = computed?;
        let mut entities = entities.chunks(1).map(|one| one[0]);
        for (question, document) in group.iter().zip(documents) {
            let own: Vec<[f32; 3]> = entities
                .by_ref()
                .take(question.passage.entities.len())
                .collect();
            answers
                .documents
                .extend(question.document.map(|label| (label, document)));
            let disagree = question
                .entities
                .windows(2)
                .any(|pair| pair[0].0 != pair[1].0);
            for (label, place) in &question.entities {
                let logits = place.map_or(document, |place| own[place]);
                answers.entities.push((*label, logits));
                answers.conflicting.push(disagree);
            }
        }
    }
    Ok(answers)
}

impl Answers {
    /// How good they are.
    pub fn report(&self, model: &str, calibration: &Calibration) -> Report {
        let judged = |answers: &[Answered], temperature| -> Vec<Judged> {
            let one = |(label, logits): &Answered| (*label, sentiment(*logits, temperature));
            answers.iter().map(one).collect()
        };
        let entities = judged(&self.entities, calibration.entity_temperature);
        let disagreeing: Vec<Judged> = entities
            .iter()
            .zip(&self.conflicting)
            .filter_map(|(judged, conflicting)| conflicting.then_some(*judged))
            .collect();
        Report {
            model: model.to_owned(),
            documents: Scores::of(&judged(&self.documents, calibration.document_temperature)),
            entities: Scores::of(&entities).map(|all| EntityScores {
                all,
                conflicting: Agreement::of(&disagreeing),
            }),
        }
    }

    /// The temperatures under which these answers are most probable; 1 where there are fewer than 50.
    pub fn temperatures(&self) -> Calibration {
        Calibration {
            document_temperature: temperature(&self.documents),
            entity_temperature: temperature(&self.entities),
        }
    }
}

/// What early stopping goes by: the mean macro-F1 of documents and entities, of those there are.
pub fn merit(report: &Report) -> f64 {
    let documents = report.documents.as_ref().map(|scores| scores.macro_f1);
    let entities = report.entities.as_ref().map(|scores| scores.all.macro_f1);
    let both: Vec<f64> = documents.into_iter().chain(entities).collect();
    both.iter().sum::<f64>() / both.len().max(1) as f64
}

/// Fewer answers tell nothing of a temperature.
const FEWEST: usize = 50;

fn temperature(answers: &[Answered]) -> f32 {
    if answers.len() < FEWEST {
        return 1.0;
    }
    let surprise = |log_temperature: f64| -> f64 {
        let temperature = log_temperature.exp();
        let one = |(label, logits): &Answered| {
            let logits = logits.map(|logit| f64::from(logit) / temperature);
            let highest = logits.into_iter().fold(f64::MIN, f64::max);
            let sum: f64 = logits.iter().map(|logit| (logit - highest).exp()).sum();
            sum.ln() + highest - logits[*label as usize]
        };
        answers.iter().map(one).sum()
    };
    // The surprise has one minimum over the temperature, so halving a bracket by thirds finds it.
    let (mut low, mut high) = ((0.05f64).ln(), (20f64).ln());
    for _ in 0..60 {
        let (left, right) = (low + (high - low) / 3.0, high - (high - low) / 3.0);
        if surprise(left) < surprise(right) {
            high = right;
        } else {
            low = left;
        }
    }
    ((low + high) / 2.0).exp() as f32
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_temperature_makes_boasts_honest() {
        // 80 % of the answers are right; the logits claim 98 %.
        let answers: Vec<Answered> = (0..1000)
            .map(|i| {
                let label = if i % 10 < 8 {
                    Label::Positive
                } else {
                    Label::ALL[i % 2]
                };
                (label, [0.0, 0.0, 4.6])
            })
            .collect();
        let temperature = temperature(&answers);
        let honest = sentiment([0.0, 0.0, 4.6], temperature);
        assert!(
            (honest.positive - 0.8).abs() < 0.01,
            "{honest:?} at {temperature}"
        );
        assert_eq!(super::temperature(&answers[..10]), 1.0);
    }

    #[test]
    fn merit_is_the_mean_of_what_there_is() {
        let right = (Label::Negative, [5.0, 0.0, 0.0]);
        let wrong = (Label::Negative, [0.0, 5.0, 0.0]);
        let mut answers = Answers {
            documents: vec![right],
            ..Answers::default()
        };
        let calibration = Calibration::default();
        assert_eq!(merit(&answers.report("m", &calibration)), 1.0);
        answers.entities = vec![wrong, right];
        answers.conflicting = vec![true, false];
        let report = answers.report("m", &calibration);
        assert_eq!(report.entities.as_ref().unwrap().conflicting.unwrap().n, 1);
        assert!(merit(&report) < 1.0);
    }
}
