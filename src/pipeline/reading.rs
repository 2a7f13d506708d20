//! Reading a post: everything about it that needs no model. The same for the stream, the command line and
//! the API.

use crate::campaign::CampaignMatcher;
use crate::domain::{
    Campaign, EntityId, Mention, Origin, Post, ScoredPost, Sentiment, Timestamp, event_time,
};
use crate::model::context::entity_context;
use crate::model::{MOST_PASSAGES, Model, Passage, Scored, Tokenizer, combine};
use crate::text::{self, Found, Matcher};
use std::collections::{HashMap, HashSet};
use std::ops::Range;
use std::sync::Arc;

/// At most so many different contexts of a post are scored for its entities; further entities take the
/// sentiment of the whole post.
const MAX_CONTEXTS: usize = 32;

/// Turns posts into readings.
pub struct Reader {
    matcher: Arc<Matcher>,
    campaigns: CampaignMatcher,
    tokenizer: Tokenizer,
    /// Whether the model tells the sentiment of entities.
    knows_entities: bool,
    /// Languages that are scored.
    languages: HashSet<String>,
}

/// Where and when a post came in.
#[derive(Debug, Clone, PartialEq)]
pub struct Receipt {
    /// Identity of the record.
    pub origin: Origin,
    /// Of a record replayed from the dead letters: where it came from first.
    pub first_origin: Option<Origin>,
    /// Source for a post that names none.
    pub source: String,
    /// Timestamp of the record; none where it has none.
    pub recorded_at: Option<Timestamp>,
    /// When it was taken from the broker.
    pub received_at: Timestamp,
}

/// A post that has been read: all of it but the probabilities.
#[derive(Debug, Clone, PartialEq)]
pub struct Reading {
    post: ScoredPost,
    /// What is to be scored; empty when it is not scored.
    texts: Vec<Passage>,
    /// How many of the texts, from the first, are the post itself; the others are contexts of entities.
    own: usize,
    /// For each mention: what its sentiment is made of.
    sources: Vec<SentimentSource>,
}

#[derive(Debug, Clone, PartialEq)]
enum SentimentSource {
    /// One of the texts as a whole.
    Text(usize),
    /// An entity that the post's own texts name under this number.
    Entity(usize),
    /// The members of a list: ordinals of their mentions.
    Members(Vec<usize>),
}

impl Reader {
    /// A reader for a model, and for the configured campaigns and languages. With a model that knows entities the post
    /// itself is scored, in passages where it is long; with another one also the sentences that name an entity.
    pub fn new(
        matcher: Arc<Matcher>,
        campaigns: &[Campaign],
        model: &Model,
        languages: &[String],
    ) -> Self {
        let languages = languages
            .iter()
            .map(|language| language.to_lowercase())
            .collect();
        Self {
            matcher,
            campaigns: CampaignMatcher::new(campaigns),
            tokenizer: model.tokenizer(),
            knows_entities: model.knows_entities(),
            languages,
        }
    }

    /// Reads a post: normalises, detects the language, matches entities and campaigns, signs, tokenises.
    pub fn read(&self, post: Post, receipt: Receipt) -> Reading {
        let title = text::normalise(post.title.as_deref().unwrap_or_default());
        let body = text::normalise(post.text.as_deref().unwrap_or_default());
        let whole = match (title.is_empty(), body.is_empty()) {
            (false, false) => format!("{title}\n{body}"),
            (false, true) => title.clone(),
            _ => body.clone(),
        };
        let lang = text::language(post.lang.as_deref(), &whole);
        // A text too short to tell is scored: a cashtag and three words are the rule, not the exception.
        let scored = lang.is_empty() || self.languages.contains(&lang);
        let found = self.matcher.find_with(&whole, &post.entities);
        let mut texts = match scored {
            false => Vec::new(),
            true if self.knows_entities => {
                let spans: Vec<_> = found.iter().map(|one| one.spans.clone()).collect();
                self.tokenizer.passages(&whole, &spans, MOST_PASSAGES)
            }
            true => vec![self.tokenizer.encode(&whole).into()],
        };
        let own = texts.len();
        let (mentions, sources) = self.mentions(found, &whole, scored, &mut texts);
        let campaigns = self.campaigns.find(&post, &whole);
        let source = post.source.unwrap_or(receipt.source);
        let recorded_at = receipt
            .recorded_at
            .unwrap_or(receipt.received_at)
            .min(receipt.received_at);
        let scored_post = ScoredPost {
            id: post.id.unwrap_or_else(|| {
                let first = receipt.first_origin.as_ref();
                first.unwrap_or(&receipt.origin).to_string()
            }),
            first_origin: receipt.first_origin,
            origin: receipt.origin,
            channel: post.channel.unwrap_or_else(|| source.clone()),
            source,
            published_at: post.published_at.unwrap_or(recorded_at),
            recorded_at,
            event_time: event_time(post.published_at, recorded_at),
            received_at: receipt.received_at,
            scored_at: receipt.received_at,
            title,
            text: body,
            url: post.url,
            lang,
            author: post.author,
            engagement: post.engagement,
            tags: post.tags,
            status: post.status,
            replaces: post.replaces,
            backfill: post.backfill,
            signature: text::signature(&whole),
            model: String::new(),
            sentiment: None,
            campaigns,
            mentions,
        };
        Reading {
            post: scored_post,
            texts,
            own,
            sources,
        }
    }

    /// Mentions without sentiment, and where each one's sentiment comes from.
    fn mentions(
        &self,
        found: Vec<Found>,
        whole: &str,
        scored: bool,
        texts: &mut Vec<Passage>,
    ) -> (Vec<Mention>, Vec<SentimentSource>) {
        let sentences = text::sentences(whole);
        let mut contexts: HashMap<String, usize> = HashMap::from([(whole.to_owned(), 0)]);
        let mut members: HashMap<EntityId, Vec<usize>> = HashMap::new();
        let mut mentions = Vec::with_capacity(found.len());
        let mut sources = Vec::with_capacity(found.len());
        for (ordinal, one) in found.into_iter().enumerate() {
            let source = match members.remove(&one.entity) {
                Some(ordinals) => SentimentSource::Members(ordinals),
                None => {
                    for list in self.matcher.lists_of(&one.entity) {
                        members.entry(list.clone()).or_default().push(ordinal);
                    }
                    if self.knows_entities {
                        SentimentSource::Entity(ordinal)
                    } else if scored {
                        let text =
                            self.context(whole, &one.spans, &sentences, &mut contexts, texts);
                        SentimentSource::Text(text)
                    } else {
                        SentimentSource::Text(0)
                    }
                }
            };
            mentions.push(Mention {
                ordinal: ordinal as u32,
                entity: one.entity,
                sentiment: None,
                relevance: one.relevance,
            });
            sources.push(source);
        }
        (mentions, sources)
    }

    /// Index of the text that tells an entity's sentiment: the sentences that name it.
    fn context(
        &self,
        whole: &str,
        spans: &[Range<usize>],
        sentences: &[Range<usize>],
        contexts: &mut HashMap<String, usize>,
        texts: &mut Vec<Passage>,
    ) -> usize {
        if spans.is_empty() || sentences.len() <= 1 {
            return 0;
        }
        let context = entity_context(whole, spans, sentences);
        if contexts.len() > MAX_CONTEXTS && !contexts.contains_key(&context) {
            return 0;
        }
        *contexts.entry(context).or_insert_with_key(|context| {
            texts.push(self.tokenizer.encode(context).into());
            texts.len() - 1
        })
    }
}

impl Reading {
    /// What is to be scored; empty when the language is not supported.
    pub fn texts(&self) -> &[Passage] {
        &self.texts
    }

    /// Whether it names an entity of a configured list; such posts are scored first.
    pub fn is_watched(&self) -> bool {
        let mut mentions = self.post.mentions.iter().zip(&self.sources);
        mentions.any(|(mention, source)| {
            let list = matches!(source, SentimentSource::Members(_));
            list && !text::is_sector(&mention.entity)
        })
    }

    /// The post as far as it is known without its probabilities.
    pub fn post(&self) -> &ScoredPost {
        &self.post
    }

    /// Puts in what the model says of [`Reading::texts`], in the same order. A list's sentiment is the mean of
    /// its members', weighted by relevance; an entity that no passage names has that of the post.
    pub fn finish(self, scored: &[Scored], model: &str, scored_at: Timestamp) -> ScoredPost {
        let mut post = self.post;
        post.scored_at = scored_at;
        let (Some(passages), Some(own)) = (self.texts.get(..self.own), scored.get(..self.own))
        else {
            return post;
        };
        let (Some(whole), entities) = combine(passages, own, self.sources.len()) else {
            return post;
        };
        post.sentiment = Some(whole);
        post.model = model.to_owned();
        for (index, source) in self.sources.iter().enumerate() {
            let sentiment = match source {
                SentimentSource::Text(text) => scored.get(*text).map_or(whole, |one| one.document),
                SentimentSource::Entity(number) => entities[*number].unwrap_or(whole),
                SentimentSource::Members(ordinals) => {
                    mean(ordinals.iter().map(|o| &post.mentions[*o])).unwrap_or(whole)
                }
            };
            post.mentions[index].sentiment = Some(sentiment);
        }
        post
    }
}

/// Mean sentiment weighted by relevance; none without weight.
fn mean<'a>(mentions: impl Iterator<Item = &'a Mention>) -> Option<Sentiment> {
    let mut sum = Sentiment {
        negative: 0.0,
        neutral: 0.0,
        positive: 0.0,
    };
    let mut weight = 0.0;
    for mention in mentions {
        if let Some(sentiment) = mention.sentiment {
            sum.negative += mention.relevance * sentiment.negative;
            sum.neutral += mention.relevance * sentiment.neutral;
            sum.positive += mention.relevance * sentiment.positive;
            weight += mention.relevance;
        }
    }
    (weight > 0.0).then(|| Sentiment {
        negative: sum.negative / weight,
        neutral: sum.neutral / weight,
        positive: sum.positive / weight,
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config;
    use crate::domain::EntityList;
    use crate::model::Model;
    use crate::text::Dictionary;

    #[test]
    fn the_default_id_of_a_replay_is_its_first_origin() {
        let config = config::load(None, std::iter::empty()).unwrap();
        let model = Model::open(&config.model).unwrap();
        let matcher = Arc::new(Matcher::new(&Dictionary::bundled(), &[]).unwrap());
        let reader = Reader::new(matcher, &[], &model, &config.score.languages);
        let read = |id: Option<&str>, first: Option<&str>| {
            let post = Post {
                id: id.map(str::to_owned),
                text: Some("Acme opens a branch".into()),
                ..Post::default()
            };
            let receipt = Receipt {
                origin: "later:news:0:0".parse().unwrap(),
                first_origin: first.map(|first| first.parse().unwrap()),
                source: "news".into(),
                recorded_at: Some(Timestamp::from_millis(5_000)),
                received_at: Timestamp::from_millis(90_000),
            };
            reader.read(post, receipt).post
        };
        let replay = read(None, Some("e:news:0:7"));
        assert_eq!(replay.id, "e:news:0:7");
        assert_eq!(replay.first_origin, Some("e:news:0:7".parse().unwrap()));
        assert_eq!(replay.origin, "later:news:0:0".parse().unwrap());
        assert_eq!(replay.recorded_at, Timestamp::from_millis(5_000));
        assert_eq!(replay.event_time, replay.recorded_at);
        assert_eq!(read(None, None).id, "later:news:0:0");
        assert_eq!(read(Some("its-own"), Some("e:news:0:7")).id, "its-own");
    }
    #[test]
    fn posts_about_a_configured_list_are_watched() {
        let config = config::load(None, std::iter::empty()).unwrap();
        let model = Model::open(&config.model).unwrap();
        let list = EntityList {
            id: "MINE".into(),
            name: "Mine".into(),
            entities: vec!["AAPL".into()],
        };
        let matcher = Arc::new(Matcher::new(&Dictionary::bundled(), &[list]).unwrap());
        let reader = Reader::new(matcher, &[], &model, &config.score.languages);
        let watched = |text: &str| {
            let post = Post {
                text: Some(text.into()),
                ..Post::default()
            };
            let receipt = Receipt {
                origin: "e:news:0:0".parse().unwrap(),
                first_origin: None,
                source: "news".into(),
                recorded_at: None,
                received_at: Timestamp::from_millis(0),
            };
            let reading = reader.read(post, receipt);
            assert!(!reading.post().mentions.is_empty(), "{text}");
            reading.is_watched()
        };
        assert!(watched("$AAPL cuts its outlook"));
        assert!(
            !watched("$MSFT cuts its outlook"),
            "a sector is no watch list"
        );
    }
}
