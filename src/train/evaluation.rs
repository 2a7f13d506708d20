//! How well predictions agree with labels given by people.

use crate::domain::{Label, Sentiment};
use serde::Serialize;
use std::fmt;

/// Bins of the expected calibration error.
const BINS: usize = 15;

/// How good a model is, for documents and for entities; a part is missing where the data has no such labels.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Report {
    /// Name of the model.
    pub model: String,
    /// Texts as a whole.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub documents: Option<Scores>,
    /// Entities in texts.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub entities: Option<EntityScores>,
}

/// How good predictions are.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Scores {
    /// Number of labels.
    pub n: usize,
    /// Share of predictions with the right label.
    pub accuracy: f64,
    /// Mean F1 of the classes that were given or predicted at least once.
    pub macro_f1: f64,
    /// Expected calibration error (Naeini et al., 2015) of the highest probability, over bins of equal mass
    /// (Nguyen and O'Connor, 2015): the predictions, ordered by it, are cut into 15 bins whose sizes differ by at
    /// most one; the mean over all predictions of |share of right labels - mean probability| of their bin.
    pub ece: f64,
    /// Each class.
    pub classes: Classes,
    /// How often a class (row) was predicted as another (column), in the order of [`Label::ALL`].
    pub confusion: [[usize; 3]; 3],
    /// How far the figures would move with other texts of the kind, where that was asked.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub intervals: Option<Intervals>,
}

/// Intervals that hold a figure with 95 % confidence: its 2.5th and 97.5th percentile over resampled data.
#[derive(Debug, Clone, Copy, PartialEq, Serialize)]
pub struct Intervals {
    /// Of the accuracy.
    pub accuracy: [f64; 2],
    /// Of the macro-F1.
    pub macro_f1: [f64; 2],
    /// Of the calibration error.
    pub ece: [f64; 2],
}

/// One value for each class.
#[derive(Debug, Clone, Copy, PartialEq, Serialize)]
pub struct Classes {
    /// Bad news.
    pub negative: ClassScores,
    /// Neither.
    pub neutral: ClassScores,
    /// Good news.
    pub positive: ClassScores,
}

/// How good the predictions of one class are; a ratio of nothing to nothing is 0.
#[derive(Debug, Clone, Copy, PartialEq, Serialize)]
pub struct ClassScores {
    /// Share of those predicted as this class that are of it.
    pub precision: f64,
    /// Share of those of this class that were predicted as it.
    pub recall: f64,
    /// Harmonic mean of the two.
    pub f1: f64,
    /// Number of labels of this class.
    pub support: usize,
}

/// [`Scores`] of entities.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct EntityScores {
    /// Over all entities.
    #[serde(flatten)]
    pub all: Scores,
    /// Over the entities of texts whose entities have different labels.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub conflicting: Option<Agreement>,
}

/// A share of right labels.
#[derive(Debug, Clone, Copy, PartialEq, Serialize)]
pub struct Agreement {
    /// Number of labels.
    pub n: usize,
    /// Share of predictions with the right label.
    pub accuracy: f64,
}

/// A label given by people, and what the model says.
pub type Judged = (Label, Sentiment);

impl Scores {
    /// Of at least one prediction.
    pub fn of(judged: &[Judged]) -> Option<Self> {
        let accuracy = Agreement::of(judged)?.accuracy;
        let mut confusion = [[0; 3]; 3];
        for (gold, predicted) in judged {
            confusion[*gold as usize][predicted.label() as usize] += 1;
        }
        let classes = [0, 1, 2].map(|class| ClassScores::of(&confusion, class));
        let occurring: Vec<f64> = (0..3)
            .filter(|&class| {
                (0..3).any(|other| confusion[class][other] + confusion[other][class] > 0)
            })
            .map(|class| classes[class].f1)
            .collect();
        let [negative, neutral, positive] = classes;
        Some(Self {
            n: judged.len(),
            accuracy,
            macro_f1: occurring.iter().sum::<f64>() / occurring.len() as f64,
            ece: calibration_error(judged),
            classes: Classes {
                negative,
                neutral,
                positive,
            },
            confusion,
            intervals: None,
        })
    }
}

impl ClassScores {
    fn of(confusion: &[[usize; 3]; 3], class: usize) -> Self {
        let right = confusion[class][class];
        let support: usize = confusion[class].iter().sum();
        let predicted: usize = confusion.iter().map(|row| row[class]).sum();
        Self {
            precision: ratio(right, predicted),
            recall: ratio(right, support),
            f1: ratio(2 * right, predicted + support),
            support,
        }
    }
}

impl Agreement {
    /// Of at least one prediction.
    pub fn of(judged: &[Judged]) -> Option<Self> {
        let right = judged.iter().filter(|judged| is_right(judged)).count();
        (!judged.is_empty()).then(|| Self {
            n: judged.len(),
            accuracy: ratio(right, judged.len()),
        })
    }
}

fn is_right((gold, predicted): &Judged) -> bool {
    *gold == predicted.label()
}

fn ratio(part: usize, whole: usize) -> f64 {
    if whole == 0 {
        0.0
    } else {
        part as f64 / whole as f64
    }
}

fn calibration_error(judged: &[Judged]) -> f64 {
    let mut ordered: Vec<(f64, bool)> = judged
        .iter()
        .map(|judged| {
            let Sentiment {
                negative,
                neutral,
                positive,
            } = judged.1;
            let confidence = negative.max(neutral).max(positive);
            (f64::from(confidence), is_right(judged))
        })
        .collect();
    ordered.sort_by(|a, b| a.0.total_cmp(&b.0));
    let gap = |bin: usize| {
        let bin = &ordered[bin * ordered.len() / BINS..(bin + 1) * ordered.len() / BINS];
        let surplus: f64 = bin
            .iter()
            .map(|&(confidence, right)| confidence - f64::from(u8::from(right)))
            .sum();
        surplus.abs()
    };
    (0..BINS).map(gap).sum::<f64>() / ordered.len() as f64
}

impl fmt::Display for Report {
    /// A table for people.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        writeln!(f, "model {}", self.model)?;
        if let Some(documents) = &self.documents {
            write!(f, "\ndocuments\n{documents}")?;
        }
        if let Some(entities) = &self.entities {
            write!(f, "\nentities\n{}", entities.all)?;
            if let Some(Agreement { n, accuracy }) = entities.conflicting {
                writeln!(
                    f,
                    "  of texts whose entities disagree: n {n}  accuracy {accuracy:.4}"
                )?;
            }
        }
        Ok(())
    }
}

impl fmt::Display for Scores {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        writeln!(
            f,
            "  n {}  accuracy {:.4}  macro-F1 {:.4}  calibration error {:.4}",
            self.n, self.accuracy, self.macro_f1, self.ece
        )?;
        if let Some(intervals) = &self.intervals {
            let show = |[low, high]: [f64; 2]| format!("{low:.4} to {high:.4}");
            writeln!(
                f,
                "  95 %: accuracy {}  macro-F1 {}  calibration error {}",
                show(intervals.accuracy),
                show(intervals.macro_f1),
                show(intervals.ece)
            )?;
        }
        writeln!(
            f,
            "  {:9}{:>10}{:>8}{:>8}{:>9}   predicted {:>8}{:>9}{:>10}",
            "class", "precision", "recall", "F1", "support", "negative", "neutral", "positive"
        )?;
        let Classes {
            negative,
            neutral,
            positive,
        } = self.classes;
        for ((label, class), row) in Label::ALL
            .iter()
            .zip([negative, neutral, positive])
            .zip(self.confusion)
        {
            writeln!(
                f,
                "  {label:9}{:>10.4}{:>8.4}{:>8.4}{:>9}             {:>8}{:>9}{:>10}",
                class.precision, class.recall, class.f1, class.support, row[0], row[1], row[2]
            )?;
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use Label::{Negative, Neutral, Positive};
    use proptest::prelude::*;

    /// A prediction of a label with a probability; the rest is shared by the others.
    fn sentiment(label: Label, probability: f32) -> Sentiment {
        let p = |of| {
            if of == label {
                probability
            } else {
                (1.0 - probability) / 2.0
            }
        };
        Sentiment {
            negative: p(Negative),
            neutral: p(Neutral),
            positive: p(Positive),
        }
    }

    fn sample() -> Vec<Judged> {
        [
            (Negative, Negative),
            (Negative, Negative),
            (Negative, Neutral),
            (Neutral, Neutral),
            (Neutral, Positive),
            (Positive, Positive),
        ]
        .map(|(gold, predicted)| (gold, sentiment(predicted, 0.75)))
        .into()
    }

    #[test]
    fn scores_are_those_counted_by_hand() {
        let scores = Scores::of(&sample()).unwrap();
        assert_eq!(scores.n, 6);
        assert!((scores.accuracy - 4.0 / 6.0).abs() < 1e-12);
        assert_eq!(scores.confusion, [[2, 1, 0], [0, 1, 1], [0, 0, 1]]);
        let Classes {
            negative, neutral, ..
        } = scores.classes;
        assert_eq!((negative.precision, negative.support), (1.0, 3));
        assert!((negative.recall - 2.0 / 3.0).abs() < 1e-12);
        assert!((negative.f1 - 0.8).abs() < 1e-12);
        assert_eq!((neutral.precision, neutral.recall), (0.5, 0.5));
        assert!((scores.macro_f1 - (0.8 + 0.5 + 2.0 / 3.0) / 3.0).abs() < 1e-12);
        // Six predictions in bins of their own: four right at 0.75, two wrong.
        assert!((scores.ece - (4.0 * 0.25 + 2.0 * 0.75) / 6.0).abs() < 1e-6);
    }

    #[test]
    fn a_class_that_never_occurs_does_not_lower_the_mean() {
        let judged = [
            (Positive, sentiment(Positive, 1.0)),
            (Negative, sentiment(Negative, 1.0)),
        ];
        let scores = Scores::of(&judged).unwrap();
        assert_eq!((scores.macro_f1, scores.classes.neutral.f1), (1.0, 0.0));
    }

    #[test]
    fn honest_probabilities_are_calibrated_and_boasts_are_not() {
        let judged = |probability| -> Vec<Judged> {
            (0..300)
                .map(|i| {
                    let gold = if i % 4 == 0 { Neutral } else { Positive };
                    (gold, sentiment(Positive, probability))
                })
                .collect()
        };
        assert!(Scores::of(&judged(0.75)).unwrap().ece < 0.01);
        assert!((Scores::of(&judged(0.95)).unwrap().ece - 0.2).abs() < 0.01);
    }

    #[test]
    fn the_report_has_the_shape_others_rely_on() {
        let all = Scores::of(&sample()).unwrap();
        let mut report = Report {
            model: "m".into(),
            documents: Scores::of(&[]),
            entities: Some(EntityScores {
                all,
                conflicting: Agreement::of(&sample()[..4]),
            }),
        };
        let json = serde_json::to_value(&report).unwrap();
        let keys = |value: &serde_json::Value| -> Vec<String> {
            value.as_object().unwrap().keys().cloned().collect()
        };
        assert_eq!(keys(&json), ["entities", "model"]);
        let entities = &json["entities"];
        let expected = [
            "accuracy",
            "classes",
            "conflicting",
            "confusion",
            "ece",
            "macro_f1",
            "n",
        ];
        assert_eq!(keys(entities), expected);
        assert_eq!(
            keys(&entities["classes"]),
            ["negative", "neutral", "positive"]
        );
        assert_eq!(
            entities["conflicting"],
            serde_json::json!({"n": 4, "accuracy": 0.75})
        );

        let table = report.to_string();
        assert!(table.contains("accuracy 0.6667") && table.contains("n 4  accuracy 0.7500"));
        report.entities = None;
        assert!(!report.to_string().contains("entities"));
    }

    proptest! {
        #[test]
        fn scores_lie_between_0_and_1(
            judged in prop::collection::vec((0usize..3, 0usize..3, 0.34f32..1.0), 1..80)
        ) {
            let judged: Vec<Judged> = judged
                .into_iter()
                .map(|(gold, predicted, p)| (Label::ALL[gold], sentiment(Label::ALL[predicted], p)))
                .collect();
            let scores = Scores::of(&judged).unwrap();
            for value in [scores.accuracy, scores.macro_f1, scores.ece] {
                prop_assert!((0.0..=1.0).contains(&value), "{value}");
            }
            let confused: usize = scores.confusion.iter().flatten().sum();
            prop_assert_eq!(confused, judged.len());
        }
    }
}
