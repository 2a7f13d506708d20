//! wip
use crate::domain::*;
pub(super) fn at(seconds: i64) -> Timestamp {
    Timestamp::from_millis(1_800_000_000_000 + seconds * 1000)
}
pub(super) fn mention(offset: i64, seconds: i64, entity: &str) -> MentionEvent {
    MentionEvent {
        origin: Origin {
            source: SourcePartition {
                epoch: "e".into(),
                topic: "news".into(),
                partition: 0,
            },
            offset,
        },
        ordinal: 0,
        entity: entity.into(),
        post_id: format!("post-{offset}"),
        source: "news".into(),
        author: Some(format!("author-{offset}")),
        event_time: at(seconds),
        received_at: at(seconds),
        sentiment: Some(Sentiment {
            negative: 0.9,
            neutral: 0.08,
            positive: 0.02,
        }),
        relevance: 1.0,
        signature: super::copies::identity(&[&offset.to_string()]),
        title: format!("Headline {offset}"),
        url: None,
        backfill: false,
        model: "model".into(),
    }
}
