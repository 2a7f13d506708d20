//! A post as it comes in, and the decoder that accepts or rejects it.

use super::{CampaignId, EntityId, Timestamp};
use serde::{Deserialize, Serialize};

/// One item that came in: a headline, an article, a tweet.
///
/// The contract: one of `title` and `text` is there; everything else has a default; unknown fields are ignored.
/// Title and text together are bounded by `score.max_text_bytes`; `id`, `source`, `channel`, `lang`, `url`,
/// `author.id` and `replaces` have at most 2048 bytes each; `entities`, `campaigns` and `tags` at most 64
/// each, of at most 256 bytes. A post within these bounds whose scored form would still outgrow
/// a Kafka record goes to the dead letters as `too_large`, which text of up to 64 KiB does only when it names
/// hundreds of entities.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
pub struct Post {
    /// The sender's id; without one the origin of the record is the id.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub id: Option<String>,
    /// Where it comes from; without one the topic's configured source.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub source: Option<String>,
    /// Channel within the source (an agency, a network, a blog).
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub channel: Option<String>,
    /// Claimed time of publication; without one the record's timestamp.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub published_at: Option<Timestamp>,
    /// Headline.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub title: Option<String>,
    /// Body.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub text: Option<String>,
    /// ISO 639-1 code of the language, where the sender knows it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub lang: Option<String>,
    /// Where it can be read.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub url: Option<String>,
    /// Who wrote it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub author: Option<Author>,
    /// How it was received so far.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub engagement: Option<Engagement>,
    /// Entities the sender knows it names; added to those matched.
    #[serde(
        default,
        skip_serializing_if = "Vec::is_empty",
        deserialize_with = "null_is_default"
    )]
    pub entities: Vec<EntityId>,
    /// Campaigns the sender knows it belongs to; added to those matched.
    #[serde(
        default,
        skip_serializing_if = "Vec::is_empty",
        deserialize_with = "null_is_default"
    )]
    pub campaigns: Vec<CampaignId>,
    /// Free tags; hashtags among them count for campaigns.
    #[serde(
        default,
        skip_serializing_if = "Vec::is_empty",
        deserialize_with = "null_is_default"
    )]
    pub tags: Vec<String>,
    /// Live, or what it does to the post named in `replaces`.
    #[serde(default, deserialize_with = "null_is_default")]
    pub status: PostStatus,
    /// Id of the earlier post that this one corrects or retracts.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub replaces: Option<String>,
    /// History loaded later: stored, never alerts.
    #[serde(default, deserialize_with = "null_is_default")]
    pub backfill: bool,
}

/// Bytes of each other text than title and text.
const MAX_FIELD_BYTES: usize = 2048;
/// Entities, campaigns, tags given with a post.
const MAX_LIST: usize = 64;
/// Bytes of each of them.
const MAX_ITEM_BYTES: usize = 256;

/// Author of a post.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
pub struct Author {
    /// The sender's id of the author.
    pub id: String,
    /// Followers at the time of the post.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub followers: Option<u64>,
}

/// Engagement counts that were observed with the post. A count not given is unknown, not zero.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Engagement {
    /// Times it was shown.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub impressions: Option<u64>,
    /// Likes.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub likes: Option<u64>,
    /// Shares or reposts.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub shares: Option<u64>,
    /// Comments.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub comments: Option<u64>,
}

/// What a post is in relation to an earlier one.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum PostStatus {
    /// A post of its own.
    #[default]
    Live,
    /// Replaces the earlier post; its evidence counts instead.
    Corrected,
    /// Takes the earlier post back; it brings no evidence itself.
    Retracted,
}

/// Why bytes are not a post. `reason` of each is a metric label and a column of the dead letters.
#[derive(Debug, Clone, PartialEq, thiserror::Error)]
pub enum DecodeError {
    /// Not UTF-8.
    #[error("not UTF-8 at byte {0}: send the post as UTF-8 JSON")]
    NotUtf8(usize),
    /// Not JSON, or JSON that is no object.
    #[error("not a JSON object: {0}")]
    NotJson(String),
    /// A field of the wrong type.
    #[error("field '{field}': {problem}")]
    WrongType {
        /// Path of the field.
        field: String,
        /// What is wrong with it.
        problem: String,
    },
    /// Neither title nor text.
    #[error("neither 'title' nor 'text' holds any text: send one of them")]
    NoText,
    /// Title and text together over the limit.
    #[error(
        "title and text have {bytes} bytes, over the limit of {limit}: shorten them or raise score.max_text_bytes"
    )]
    TooLong {
        /// Bytes of title and text.
        bytes: usize,
        /// The configured limit.
        limit: usize,
    },
    /// Another field over its limit.
    #[error("field '{field}': {size} {unit}, over the limit of {limit}: shorten it")]
    TooLarge {
        /// Path of the field.
        field: &'static str,
        /// Its size.
        size: usize,
        /// What is counted.
        unit: &'static str,
        /// The fixed limit.
        limit: usize,
    },
    /// A correction or retraction that names no earlier post.
    #[error("status is corrected or retracted, but 'replaces' does not name the earlier post")]
    NothingReplaced,
}

impl DecodeError {
    /// Short fixed word for metrics and the dead letters.
    pub fn reason(&self) -> &'static str {
        match self {
            Self::NotUtf8(_) => "not_utf8",
            Self::NotJson(_) => "not_json",
            Self::WrongType { .. } => "wrong_type",
            Self::NoText => "no_text",
            Self::TooLong { .. } => "too_long",
            Self::TooLarge { .. } => "too_large",
            Self::NothingReplaced => "nothing_replaced",
        }
    }
}

impl Post {
    /// Reads a post from the bytes of a record, unwrapping a CloudEvents 1.0 envelope in structured mode
    /// (an object with `specversion` and `data`).
    ///
    /// `max_text_bytes` bounds title and text together.
    ///
    /// # Errors
    /// [`DecodeError`] says why the bytes are no post. No input panics.
    pub fn decode(bytes: &[u8], max_text_bytes: usize) -> Result<Self, DecodeError> {
        let text = std::str::from_utf8(bytes).map_err(|e| DecodeError::NotUtf8(e.valid_up_to()))?;
        let post = match Self::parse::<Envelope>(text) {
            Ok(Envelope {
                specversion: Some(_),
                data: Some(data),
            }) => Self::parse(data.get())?,
            _ => Self::parse::<Self>(text)?,
        };
        post.check(max_text_bytes)?;
        Ok(post)
    }

    /// Title and text as one, a line break between them: what is scored and matched.
    pub fn full_text(&self) -> String {
        match (&self.title, &self.text) {
            (Some(title), Some(text)) => format!("{title}\n{text}"),
            (Some(one), None) | (None, Some(one)) => one.clone(),
            (None, None) => String::new(),
        }
    }

    fn check(&self, max_text_bytes: usize) -> Result<(), DecodeError> {
        let parts = [self.title.as_deref(), self.text.as_deref()];
        if parts.iter().flatten().all(|part| part.trim().is_empty()) {
            return Err(DecodeError::NoText);
        }
        let bytes = parts.iter().flatten().map(|part| part.len()).sum();
        if bytes > max_text_bytes {
            return Err(DecodeError::TooLong {
                bytes,
                limit: max_text_bytes,
            });
        }
        self.check_sizes()?;
        if self.status != PostStatus::Live && self.replaces.is_none() {
            return Err(DecodeError::NothingReplaced);
        }
        Ok(())
    }

    /// Bounds everything but title and text, so that no post makes records that outgrow Kafka's limit or
    /// takes the matcher long.
    fn check_sizes(&self) -> Result<(), DecodeError> {
        let fields = [
            ("id", self.id.as_deref()),
            ("source", self.source.as_deref()),
            ("channel", self.channel.as_deref()),
            ("lang", self.lang.as_deref()),
            ("url", self.url.as_deref()),
            ("author.id", self.author.as_ref().map(|a| a.id.as_str())),
            ("replaces", self.replaces.as_deref()),
        ];
        for (field, value) in fields {
            within(field, value.map_or(0, str::len), "bytes", MAX_FIELD_BYTES)?;
        }
        let lists: [(&'static str, Vec<usize>); 3] = [
            ("entities", lengths(&self.entities, EntityId::as_str)),
            ("campaigns", lengths(&self.campaigns, CampaignId::as_str)),
            ("tags", lengths(&self.tags, String::as_str)),
        ];
        for (field, lengths) in lists {
            within(field, lengths.len(), "items", MAX_LIST)?;
            let longest = lengths.into_iter().max().unwrap_or_default();
            within(field, longest, "bytes in one item", MAX_ITEM_BYTES)?;
        }
        Ok(())
    }

    fn parse<'de, T: Deserialize<'de>>(text: &'de str) -> Result<T, DecodeError> {
        if !text.trim_start().starts_with('{') {
            return Err(DecodeError::NotJson("it does not begin with '{'".into()));
        }
        let mut reader = serde_json::Deserializer::from_str(text);
        let value = serde_path_to_error::deserialize(&mut reader).map_err(|error| {
            let field = error.path().to_string();
            let inner = error.into_inner();
            match inner.classify() {
                serde_json::error::Category::Data => DecodeError::WrongType {
                    field,
                    problem: inner.to_string(),
                },
                _ => DecodeError::NotJson(inner.to_string()),
            }
        })?;
        reader
            .end()
            .map_err(|error| DecodeError::NotJson(error.to_string()))?;
        Ok(value)
    }
}

fn lengths<T>(items: &[T], text: impl Fn(&T) -> &str) -> Vec<usize> {
    items.iter().map(|item| text(item).len()).collect()
}

fn within(
    field: &'static str,
    size: usize,
    unit: &'static str,
    limit: usize,
) -> Result<(), DecodeError> {
    if size > limit {
        return Err(DecodeError::TooLarge {
            field,
            size,
            unit,
            limit,
        });
    }
    Ok(())
}

/// The two fields that make an object a CloudEvents envelope.
#[derive(Deserialize)]
struct Envelope<'a> {
    specversion: Option<String>,
    #[serde(borrow)]
    data: Option<&'a serde_json::value::RawValue>,
}

fn null_is_default<'de, D, T>(deserializer: D) -> Result<T, D::Error>
where
    D: serde::Deserializer<'de>,
    T: Default + Deserialize<'de>,
{
    Ok(Option::deserialize(deserializer)?.unwrap_or_default())
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    const LIMIT: usize = 64 * 1024;

    fn reason(bytes: &[u8]) -> &'static str {
        Post::decode(bytes, LIMIT).map_or_else(|error| error.reason(), |_| "accepted")
    }

    #[test]
    fn the_post_of_the_contract_is_read_whole() {
        let post = Post::decode(
            br##"{"id": "reuters-8812", "source": "news", "channel": "reuters", "published_at": "2026-11-23T09:14:00Z",
            "title": "Acme recalls 40,000 batteries", "text": "More follows.", "lang": "en", "url": "https://example.com/1",
            "author": {"id": "u123", "followers": 5200}, "engagement": {"impressions": 900, "likes": 4, "shares": 2, "comments": 1},
            "entities": ["ACME"], "campaigns": [], "tags": ["#recall"], "status": "live", "replaces": null, "backfill": false,
            "something_new": {"is": "ignored"}}"##,
            LIMIT,
        )
        .unwrap();
        assert_eq!(post.id.as_deref(), Some("reuters-8812"));
        assert_eq!(post.entities, [EntityId::from("ACME")]);
        assert_eq!(post.author.unwrap().followers, Some(5200));
        assert_eq!(post.engagement.unwrap().impressions, Some(900));
    }

    #[test]
    fn a_cloud_event_is_unwrapped() {
        let bytes =
            br#"{"specversion":"1.0","type":"t","source":"/s","id":"1","data":{"title":"Hello"}}"#;
        assert_eq!(
            Post::decode(bytes, LIMIT).unwrap().title.as_deref(),
            Some("Hello")
        );
    }

    #[test]
    fn each_rejection_has_its_reason() {
        assert_eq!(reason(b"\xff{}"), "not_utf8");
        assert_eq!(reason(b"not json"), "not_json");
        assert_eq!(reason(b"[1]"), "not_json");
        assert_eq!(reason(b"{\"text\": \"cut"), "not_json");
        assert_eq!(reason(br#"{"text":"a"} trailing"#), "not_json");
        assert_eq!(reason(br#"{"text":"\ud800"}"#), "not_json");
        assert_eq!(reason(br#"{"text": 5}"#), "wrong_type");
        assert_eq!(
            reason(br#"{"text":"a","author":{"id":"x","followers":-1}}"#),
            "wrong_type"
        );
        assert_eq!(
            reason(br#"{"text":"a","published_at":"soon"}"#),
            "wrong_type"
        );
        assert_eq!(reason(br#"{"id":"1"}"#), "no_text");
        assert_eq!(reason(br#"{"text":" \n"}"#), "no_text");
        assert_eq!(
            reason(br#"{"text":"a","status":"retracted"}"#),
            "nothing_replaced"
        );
        let long = serde_json::json!({"text": "x".repeat(LIMIT + 1)}).to_string();
        assert_eq!(reason(long.as_bytes()), "too_long");
        assert_eq!(
            reason(br#"{"text":"a","tags":null,"status":null}"#),
            "accepted"
        );
    }

    #[test]
    fn every_other_field_is_bounded_too() {
        let with = |field: &str, value: serde_json::Value| {
            let mut post = serde_json::json!({"text": "a"});
            post[field] = value;
            Post::decode(post.to_string().as_bytes(), LIMIT).map(drop)
        };
        for field in ["id", "source", "channel", "lang", "url", "replaces"] {
            assert_eq!(with(field, "x".repeat(2048).into()), Ok(()));
            let error = with(field, "x".repeat(2049).into()).unwrap_err();
            assert_eq!(error.reason(), "too_large");
            assert!(error.to_string().contains(field), "{error}");
        }
        let author = |bytes| with("author", serde_json::json!({"id": "x".repeat(bytes)}));
        assert_eq!(author(2048), Ok(()));
        assert_eq!(author(2049).unwrap_err().reason(), "too_large");
        for field in ["entities", "campaigns", "tags"] {
            assert_eq!(with(field, vec!["x".repeat(256); 64].into()), Ok(()));
            let many = with(field, vec!["x"; 65].into()).unwrap_err();
            let long = with(field, vec!["x".repeat(257)].into()).unwrap_err();
            assert_eq!((many.reason(), long.reason()), ("too_large", "too_large"));
        }
    }

    #[test]
    fn the_field_of_a_wrong_type_is_named() {
        let error = Post::decode(br#"{"text":"a","author":{"id":7}}"#, LIMIT).unwrap_err();
        assert!(error.to_string().contains("author.id"), "{error}");
    }

    proptest! {
        #[test]
        fn no_bytes_panic(bytes in proptest::collection::vec(any::<u8>(), 0..400)) {
            let _ = Post::decode(&bytes, LIMIT);
        }

        #[test]
        fn nearly_right_json_does_not_panic(text in r#"\{("(text|title|author|status|tags|published_at|data|specversion)": ?("[a-z\\u0-9:\-]{0,30}"|-?[0-9]{1,22}|null|\{\}|\[\]),?){0,6}\}?"#) {
            let _ = Post::decode(text.as_bytes(), LIMIT);
        }

        #[test]
        fn what_is_written_is_read_back(text in "\\PC{1,80}", followers in any::<u64>(), millis in -62_135_596_800_000i64..253_402_000_000_000) {
            let post = Post {
                text: Some(format!("x{text}")),
                published_at: Some(Timestamp::from_millis(millis)),
                author: Some(Author { id: text, followers: Some(followers) }),
                ..Post::default()
            };
            let bytes = serde_json::to_vec(&post).unwrap();
            prop_assert_eq!(Post::decode(&bytes, LIMIT), Ok(post));
        }
    }
}
