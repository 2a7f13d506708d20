//! How sure figures are: the bootstrap (Efron, 1979), over texts, since entities of one text are not independent.

use super::evaluation::{Intervals, Judged, Scores};
use super::predict::Prediction;
use rand::{RngExt as _, SeedableRng as _, rngs::StdRng};
use serde::Serialize;

/// Times the data is drawn anew.
const DRAWS: usize = 500;

/// Two models on the same texts.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Comparison {
    /// Name of the other model.
    pub against: String,
    /// Labels that only this model gets right.
    pub only_this: usize,
    /// Labels that only the other gets right.
    pub only_other: usize,
    /// Accuracy of this model less that of the other.
    pub difference: f64,
    /// Interval that holds the difference with 95 % confidence.
    pub interval: [f64; 2],
}

/// Intervals of the figures of predictions; none without any.
pub fn intervals(predictions: &[Prediction]) -> Option<Intervals> {
    let draws: Vec<Scores> = draws(predictions)
        .filter_map(|drawn| {
            let judged: Vec<Judged> = drawn
                .iter()
                .map(|&index| (predictions[index].label, predictions[index].sentiment))
                .collect();
            Scores::of(&judged)
        })
        .collect();
    let of = |figure: fn(&Scores) -> f64| percentiles(draws.iter().map(figure).collect());
    Some(Intervals {
        accuracy: of(|scores| scores.accuracy)?,
        macro_f1: of(|scores| scores.macro_f1)?,
        ece: of(|scores| scores.ece)?,
    })
}

/// Compares predictions of two models for the same labels; none without any.
pub fn compare(these: &[Prediction], others: &[Prediction], against: &str) -> Option<Comparison> {
    let gain =
        |index: usize| i32::from(these[index].is_right()) - i32::from(others[index].is_right());
    let mean = |indices: &[usize]| {
        let sum: i32 = indices.iter().map(|&index| gain(index)).sum();
        f64::from(sum) / indices.len().max(1) as f64
    };
    let all: Vec<usize> = (0..these.len().min(others.len())).collect();
    Some(Comparison {
        against: against.to_owned(),
        only_this: all.iter().filter(|&&index| gain(index) > 0).count(),
        only_other: all.iter().filter(|&&index| gain(index) < 0).count(),
        difference: mean(&all),
        interval: percentiles(
            draws(&these[..all.len()])
                .map(|drawn| mean(&drawn))
                .collect(),
        )?,
    })
}

/// Indices of predictions, drawn with replacement text by text; always the same draws.
fn draws(predictions: &[Prediction]) -> impl Iterator<Item = Vec<usize>> {
    let mut texts: Vec<Vec<usize>> = Vec::new();
    let mut last = None;
    for (index, prediction) in predictions.iter().enumerate() {
        match texts.last_mut() {
            Some(text) if last == Some(prediction.example) => text.push(index),
            _ => texts.push(vec![index]),
        }
        last = Some(prediction.example);
    }
    let mut generator = StdRng::seed_from_u64(0);
    let count = if texts.is_empty() { 0 } else { DRAWS };
    (0..count).map(move |_| {
        let draw = (0..texts.len()).map(|_| generator.random_range(0..texts.len()));
        let drawn: Vec<usize> = draw.collect();
        drawn
            .into_iter()
            .flat_map(|text| texts[text].iter().copied())
            .collect()
    })
}

fn percentiles(mut values: Vec<f64>) -> Option<[f64; 2]> {
    values.sort_by(f64::total_cmp);
    let at = |share: f64| {
        values
            .get((share * (values.len().checked_sub(1)?) as f64).round() as usize)
            .copied()
    };
    Some([at(0.025)?, at(0.975)?])
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::domain::{Label, Sentiment};

    fn prediction(example: usize, right: bool) -> Prediction {
        let label = if right {
            Label::Negative
        } else {
            Label::Positive
        };
        Prediction {
            example,
            entity: None,
            label,
            sentiment: Sentiment {
                negative: 0.8,
                neutral: 0.1,
                positive: 0.1,
            },
        }
    }

    #[test]
    fn intervals_are_as_wide_as_theory_says() {
        let predictions: Vec<Prediction> = (0..1000).map(|i| prediction(i, i % 5 > 0)).collect();
        let [low, high] = intervals(&predictions).unwrap().accuracy;
        // 1.96 sqrt(0.8 * 0.2 / 1000) = 0.0248.
        assert!(
            (low - 0.775).abs() < 0.006 && (high - 0.825).abs() < 0.006,
            "{low} {high}"
        );
        assert_eq!(intervals(&predictions), intervals(&predictions));
        assert_eq!(intervals(&[]), None);
    }

    #[test]
    fn entities_of_one_text_are_drawn_together() {
        let apart: Vec<Prediction> = (0..400).map(|i| prediction(i, i % 2 == 0)).collect();
        let together: Vec<Prediction> = (0..400)
            .map(|i| prediction(i / 4, i / 4 % 2 == 0))
            .collect();
        let width = |predictions: &[Prediction]| {
            let [low, high] = intervals(predictions).unwrap().accuracy;
            high - low
        };
        assert!(width(&together) > 1.6 * width(&apart));
    }

    #[test]
    fn a_comparison_counts_what_only_one_gets_right() {
        let these: Vec<Prediction> = (0..100).map(|i| prediction(i, i < 90)).collect();
        let others: Vec<Prediction> = (0..100)
            .map(|i| prediction(i, (5..80).contains(&i)))
            .collect();
        let comparison = compare(&these, &others, "m").unwrap();
        assert_eq!((comparison.only_this, comparison.only_other), (15, 0));
        assert!((comparison.difference - 0.15).abs() < 1e-9);
        assert!(comparison.interval[0] > 0.05 && comparison.interval[1] < 0.25);
        assert_eq!(compare(&[], &[], "m"), None);
    }
}
