//! The model: it opens, and knows bad news from good.

use super::finding::Finding;
use crate::config::Config;
use crate::domain::{Label, Sentiment};
use crate::model::{Model, ModelError};

const SUBJECT: &str = "model";

/// Two sentences on which no model of sentiment errs, and what they are.
const SENTENCES: [(&str, Label); 2] = [
    (
        "Acme files for bankruptcy after massive losses and fraud",
        Label::Negative,
    ),
    (
        "Acme reports record profit and raises its outlook",
        Label::Positive,
    ),
];

/// Opens the configured model and has it classify two sentences.
pub(super) async fn check(config: &Config) -> Vec<Finding> {
    let source = config.model.source.clone();
    let opening = config.model.clone();
    let asked = tokio::task::spawn_blocking(move || {
        let model = Model::open(&opening)?;
        let tokenizer = model.tokenizer();
        let texts = SENTENCES.map(|(text, _)| tokenizer.encode(text));
        let sentiments = model.classify(&texts)?;
        Ok::<_, ModelError>((model.name().to_owned(), sentiments))
    });
    match asked.await {
        Ok(Ok((name, sentiments))) => vec![judge(&name, &sentiments)],
        Ok(Err(error)) => vec![Finding::failed(
            SUBJECT,
            format!("model.source {source}: {error}"),
        )],
        Err(error) => vec![Finding::failed(
            SUBJECT,
            format!("model.source {source}: {error}"),
        )],
    }
}

fn judge(name: &str, sentiments: &[Sentiment]) -> Finding {
    let wrong = SENTENCES
        .iter()
        .zip(sentiments)
        .find(|((_, label), sentiment)| sentiment.label() != *label);
    match wrong {
        None => Finding::ok(
            SUBJECT,
            format!("{name} opens, and knows bad news from good"),
        ),
        Some(((text, label), sentiment)) => Finding::warning(
            SUBJECT,
            format!(
                "{name} takes '{text}' for {}, not {}",
                sentiment.label().name(),
                label.name()
            ),
            "check id2label in its config.json, and measure it with `squall eval`",
        ),
    }
}

#[cfg(test)]
mod tests {
    use super::super::finding::Level;
    use super::*;

    #[test]
    fn a_model_that_errs_on_the_plainest_news_is_named() {
        let sentiment = |negative, positive| Sentiment {
            negative,
            neutral: 0.1,
            positive,
        };
        let right = [sentiment(0.8, 0.1), sentiment(0.1, 0.8)];
        assert_eq!(judge("m", &right).level, Level::Ok);
        let swapped = [sentiment(0.1, 0.8), sentiment(0.8, 0.1)];
        let finding = judge("m", &swapped);
        assert_eq!(finding.level, Level::Warning);
        assert!(
            finding.message.contains("for positive, not negative"),
            "{finding}"
        );
    }
}
