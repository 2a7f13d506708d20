//! Results of a behavioural suite by type of case (Ribeiro et al., 2020, arXiv:2005.04118).

use super::examples::Example;
use super::predict::{Prediction, Predictions};
use crate::domain::Label;
use serde::Serialize;
use std::collections::BTreeMap;
use std::fmt;

/// What a risk desk asks of a model.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Suite {
    /// Cases.
    pub n: usize,
    /// Share that is right.
    pub accuracy: f64,
    /// Share of negative cases that is seen as negative.
    pub bad_news_seen: f64,
    /// Share of neutral cases that is taken for negative.
    pub neutral_taken_for_negative: f64,
    /// Share of positive cases that is seen as positive.
    pub good_news_seen: f64,
    /// Each type of case, by name.
    pub types: BTreeMap<String, Cases>,
}

/// Cases of one type.
#[derive(Debug, Clone, Copy, Default, PartialEq, Serialize)]
pub struct Cases {
    /// Their number.
    pub n: usize,
    /// How many are right.
    pub right: usize,
}

/// Counts the documents of a suite; cases without a type are of type `other`.
pub fn results(examples: &[Example], predictions: &Predictions) -> Suite {
    let all = &predictions.documents;
    let of = |label: Label| all.iter().filter(move |one| one.label == label);
    let seen = |label: Label| share(of(label), Prediction::is_right);
    let mut types: BTreeMap<String, Cases> = BTreeMap::new();
    for one in all {
        let kind = examples[one.example].kind.as_deref().unwrap_or("other");
        let cases = types.entry(kind.to_owned()).or_default();
        cases.n += 1;
        cases.right += usize::from(one.is_right());
    }
    Suite {
        n: all.len(),
        accuracy: share(all.iter(), Prediction::is_right),
        bad_news_seen: seen(Label::Negative),
        neutral_taken_for_negative: share(of(Label::Neutral), |one| {
            one.sentiment.label() == Label::Negative
        }),
        good_news_seen: seen(Label::Positive),
        types,
    }
}

fn share<'p>(
    predictions: impl Iterator<Item = &'p Prediction>,
    counts: impl Fn(&Prediction) -> bool,
) -> f64 {
    let (mut n, mut counted) = (0usize, 0usize);
    for one in predictions {
        n += 1;
        counted += usize::from(counts(one));
    }
    counted as f64 / n.max(1) as f64
}

impl fmt::Display for Suite {
    /// A table for people, the worst type first.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        writeln!(
            f,
            "suite\n  n {}  right {:.4}  bad news seen {:.4}  good news seen {:.4}  neutral taken for negative {:.4}",
            self.n,
            self.accuracy,
            self.bad_news_seen,
            self.good_news_seen,
            self.neutral_taken_for_negative
        )?;
        let share = |cases: &Cases| cases.right as f64 / cases.n.max(1) as f64;
        let mut types: Vec<_> = self.types.iter().collect();
        types.sort_by(|a, b| share(a.1).total_cmp(&share(b.1)));
        for (kind, cases) in types {
            writeln!(
                f,
                "  {kind:24}{:>5} of {:>4}{:>9.4}",
                cases.right,
                cases.n,
                share(cases)
            )?;
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::domain::Sentiment;
    use crate::train::examples;

    #[test]
    fn cases_are_counted_by_type_and_label() {
        let lines = br#"{"text": "a", "label": "negative", "type": "default"}
{"text": "b", "label": "negative", "type": "default"}
{"text": "c", "label": "neutral"}"#;
        let examples = examples::read(&lines[..], "f").unwrap();
        let says = |example: usize, negative: f32| Prediction {
            example,
            entity: None,
            label: examples[example].label.unwrap(),
            sentiment: Sentiment {
                negative,
                neutral: 1.0 - negative,
                positive: 0.0,
            },
        };
        let predictions = Predictions {
            documents: vec![says(0, 0.9), says(1, 0.1), says(2, 0.7)],
            ..Predictions::default()
        };
        let suite = results(&examples, &predictions);
        assert_eq!(
            (suite.n, suite.bad_news_seen, suite.good_news_seen),
            (3, 0.5, 0.0)
        );
        assert_eq!(suite.neutral_taken_for_negative, 1.0);
        assert_eq!(suite.types["default"], Cases { n: 2, right: 1 });
        assert_eq!(suite.types["other"], Cases { n: 1, right: 0 });
        assert!(suite.to_string().contains("bad news seen 0.5000"));
    }
}
