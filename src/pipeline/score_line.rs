//! A scored post as `squall score` and `POST /v1/score` write it.

use crate::domain::{EntityId, Label, ScoredPost, Sentiment};
use serde::Serialize;

/// One line of output. A post in a language the model does not know has no label and no probabilities.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct ScoreLine<'a> {
    id: &'a str,
    label: Option<Label>,
    #[serde(flatten)]
    sentiment: Option<Sentiment>,
    score: Option<f32>,
    uncertain: Option<bool>,
    entities: Vec<EntityLine<'a>>,
    lang: &'a str,
    model: &'a str,
}

/// One entity in it.
#[derive(Debug, Clone, PartialEq, Serialize)]
struct EntityLine<'a> {
    id: &'a EntityId,
    label: Option<Label>,
    #[serde(flatten)]
    sentiment: Option<Sentiment>,
    score: Option<f32>,
    uncertain: Option<bool>,
    relevance: f32,
}

impl<'a> ScoreLine<'a> {
    /// The line of a post.
    pub fn of(post: &'a ScoredPost) -> Self {
        let entities = post.mentions.iter().map(|mention| EntityLine {
            id: &mention.entity,
            label: mention.sentiment.map(|s| s.label()),
            sentiment: mention.sentiment,
            score: mention.sentiment.map(|s| s.score()),
            uncertain: mention.sentiment.map(|s| s.is_uncertain()),
            relevance: mention.relevance,
        });
        Self {
            id: &post.id,
            label: post.sentiment.map(|s| s.label()),
            sentiment: post.sentiment,
            score: post.sentiment.map(|s| s.score()),
            uncertain: post.sentiment.map(|s| s.is_uncertain()),
            entities: entities.collect(),
            lang: &post.lang,
            model: &post.model,
        }
    }
}
