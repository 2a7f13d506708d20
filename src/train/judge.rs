//! How well weights in training answer questions, and what makes their probabilities honest.

use super::data::Question;
use super::evaluation::{Agreement, EntityScores, Judged, Report, Scores};
use super::network::{self, Batch, Shape};
use crate::domain::Label;
use crate::model::calibration::sentiment;
use crate::model::{Calibration, Scaling, workers};
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
        let judged = |answers: &[Answered], scaling| -> Vec<Judged> {
            let one = |(label, logits): &Answered| (*label, sentiment(*logits, scaling));
            answers.iter().map(one).collect()
        };
        let entities = judged(&self.entities, calibration.entity());
        let disagreeing: Vec<Judged> = entities
            .iter()
            .zip(&self.conflicting)
            .filter_map(|(judged, conflicting)| conflicting.then_some(*judged))
            .collect();
        Report {
            model: model.to_owned(),
            documents: Scores::of(&judged(&self.documents, calibration.document())),
            entities: Scores::of(&entities).map(|all| EntityScores {
                all,
                conflicting: Agreement::of(&disagreeing),
            }),
        }
    }

    /// The temperatures of documents and of entities under which these answers are most probable; 1 where there are fewer than 50.
    pub fn temperatures(&self) -> [f32; 2] {
        [&self.documents, &self.entities].map(|answers| temperature(answers, 0.0))
    }

    /// How logits are to be scaled so that these answers are most probable; not at all where there are fewer than 50.
    pub fn calibration(&self) -> Calibration {
        Calibration::of(scaling(&self.documents), scaling(&self.entities))
    }
}

/// What early stopping goes by: the mean macro-F1 of documents and entities, of those there are.
pub fn merit(report: &Report) -> f64 {
    let documents = report.documents.as_ref().map(|scores| scores.macro_f1);
    let entities = report.entities.as_ref().map(|scores| scores.all.macro_f1);
    let both: Vec<f64> = documents.into_iter().chain(entities).collect();
    both.iter().sum::<f64>() / both.len().max(1) as f64
}

/// Fewer answers tell nothing of how sure one may be.
const FEWEST: usize = 50;
/// How far apart values of sharpness are that are tried.
const SHARPNESS: f32 = 0.05;

/// What sharpness is taken to deviate from 0 before answers are seen: texts of another kind than these are not made less sure for little.
const DEVIATION: f64 = 0.5;

/// The most probable scaling, given these answers.
fn scaling(answers: &[Answered]) -> Scaling {
    if answers.len() < FEWEST {
        return Scaling::NONE;
    }
    let tried = (0..=(Scaling::SHARPEST / SHARPNESS) as usize).map(|step| {
        let sharpness = step as f32 * SHARPNESS;
        let temperature = temperature(answers, sharpness);
        let scaling = Scaling {
            temperature,
            sharpness,
        };
        let improbable = (f64::from(sharpness) / DEVIATION).powi(2) / 2.0;
        (surprise(answers, scaling) + improbable, scaling)
    });
    tried
        .min_by(|a, b| a.0.total_cmp(&b.0))
        .map_or(Scaling::NONE, |(_, best)| best)
}

/// The best temperature at a sharpness. The surprise has one minimum over it, so cutting a bracket by thirds finds it.
fn temperature(answers: &[Answered], sharpness: f32) -> f32 {
    if answers.len() < FEWEST {
        return 1.0;
    }
    let at = |ln_temperature: f64| Scaling {
        temperature: ln_temperature.exp() as f32,
        sharpness,
    };
    let (mut low, mut high) = ((0.05f64).ln(), (200f64).ln());
    for _ in 0..40 {
        let (left, right) = (low + (high - low) / 3.0, high - (high - low) / 3.0);
        if surprise(answers, at(left)) < surprise(answers, at(right)) {
            high = right;
        } else {
            low = left;
        }
    }
    at((low + high) / 2.0).temperature
}

/// Minus the logarithm of the answers' probability.
fn surprise(answers: &[Answered], scaling: Scaling) -> f64 {
    let one = |(label, logits): &Answered| {
        let logits = scaling.apply(*logits).map(f64::from);
        let highest = logits.into_iter().fold(f64::MIN, f64::max);
        let sum: f64 = logits.iter().map(|logit| (logit - highest).exp()).sum();
        sum.ln() + highest - logits[*label as usize]
    };
    answers.iter().map(one).sum()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn scaling_makes_boasts_honest() {
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
        let fitted = scaling(&answers);
        let honest = sentiment([0.0, 0.0, 4.6], fitted);
        assert!(
            (honest.positive - 0.8).abs() < 0.01,
            "{honest:?} at {fitted:?}"
        );
        assert_eq!(scaling(&answers[..10]), Scaling::NONE);
    }

    #[test]
    fn doubtful_and_firm_answers_are_both_made_honest() {
        // A margin of 1 is right in 60 %, one of 2 in 97 %: no temperature gives both.
        let answers: Vec<Answered> = (0..2000)
            .map(|i| {
                let (margin, of_hundred) = if i % 2 == 0 { (1.0, 60) } else { (2.0, 97) };
                let right = i / 2 % 100 < of_hundred;
                let label = if right {
                    Label::Positive
                } else {
                    Label::Neutral
                };
                (label, [-9.0, 0.0, margin])
            })
            .collect();
        let fitted = scaling(&answers);
        for (margin, honest) in [(1.0, 0.60), (2.0, 0.97)] {
            let said = sentiment([-9.0, 0.0, margin], fitted).positive;
            assert!((said - honest).abs() < 0.08, "{said} {honest} {fitted:?}");
        }
        let plain = Scaling {
            temperature: temperature(&answers, 0.0),
            sharpness: 0.0,
        };
        let doubtful = sentiment([-9.0, 0.0, 1.0], plain).positive;
        assert!(doubtful > 0.70, "{doubtful}");
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
