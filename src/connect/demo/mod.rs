//! The replayed stream of `squall demo`: two hours of market chatter about companies, people and places that do not
//! exist, written for it.
//!
//! A quiet day with its rhythm; a rumour that becomes a crisis for [`CRISIS_ENTITY`]; an outage at [`OUTAGE_ENTITY`]
//! that is one story told many times; the campaign [`CAMPAIGN`], which goes well; late, foreign, misdated, corrected,
//! retracted and malformed messages. Texts are in `*.txt`, the cast in `*.csv`; one file a scene.

mod calm;
mod cast;
mod crisis;
mod dice;
mod fill;
mod marketing;
mod odd;
mod script;
mod stage;

use crate::domain::{Campaign, EntityId, EntityList, Timestamp};
use std::time::Duration;

/// The company of the crisis: an alert is expected for it.
pub const CRISIS_ENTITY: &str = "VSKN";
/// A company with bad news that is one story told many times: no alert is expected for it.
pub const OUTAGE_ENTITY: &str = odd::OUTAGE_ENTITY;
/// The campaign.
pub const CAMPAIGN: &str = "run-the-dawn";
/// Messages that are no posts.
pub const MALFORMED: usize = 7;

const NEWS: &str = "news";
const SOCIAL: &str = "social";
const MINUTES: u64 = 120;
const CRISIS_MINUTE: u64 = 75;
const LENGTH: Duration = Duration::from_secs(MINUTES * 60);

/// One message of the stream.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct DemoPost {
    /// When it is sent, in stream time.
    pub at: Timestamp,
    /// `news` or `social`.
    pub topic: &'static str,
    /// JSON of a post, but for [`MALFORMED`] of them.
    pub payload: Vec<u8>,
}

/// The two hours before `end`, in the order of `at`. The same for every `end`, but for times and the ids that hold them.
pub fn stream(end: Timestamp) -> Vec<DemoPost> {
    let mut stage = stage::Stage::new(end - LENGTH);
    calm::play(&mut stage);
    crisis::play(&mut stage);
    marketing::play(&mut stage);
    odd::play(&mut stage);
    stage.into_posts()
}

/// The entity dictionary of the stream, in the format of every dictionary. `Teapot` in it is also an ordinary word.
pub fn dictionary_csv() -> &'static str {
    include_str!("entities.csv")
}

/// Two sectors and a portfolio.
pub fn lists() -> Vec<EntityList> {
    let list = |id, name: &str, members: &[&str]| EntityList {
        id: EntityId::from(id),
        name: name.to_owned(),
        entities: members.iter().map(|&member| member.into()).collect(),
    };
    vec![
        list(
            "BATTERY-CHAIN",
            "Battery chain",
            &["KLMR", "VSKN", "TRNH", "QLLN", "SOLQ"],
        ),
        list(
            "AVERIAN-FINANCE",
            "Averian finance",
            &["MNDK", "WRFD", "CSTV", "FRPM"],
        ),
        list(
            "INCOME",
            "Income portfolio",
            &["DUNM", "SKFJ", "FENM", "TEPT", "IRWK"],
        ),
    ]
}

/// The campaign of the stream.
pub fn campaigns() -> Vec<Campaign> {
    vec![Campaign {
        id: CAMPAIGN.into(),
        name: "Run the Dawn".to_owned(),
        hashtags: vec!["#RunTheDawn".to_owned()],
        utm_campaigns: vec![CAMPAIGN.to_owned()],
        phrases: vec!["Run the Dawn".to_owned()],
        authors: vec![marketing::ACCOUNT.to_owned()],
    }]
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::domain::{Post, PostStatus};
    use std::collections::{BTreeMap, HashSet};

    const LIMIT: usize = 64 * 1024;

    fn end() -> Timestamp {
        "2026-11-23T16:00:00Z".parse().unwrap()
    }

    /// The posts that can be read, with the minute at which each is sent.
    fn posts() -> Vec<(u64, Post)> {
        let start = end() - LENGTH;
        stream(end())
            .iter()
            .filter_map(|sent| {
                let post = Post::decode(&sent.payload, LIMIT).ok()?;
                Some((sent.at.since(start).as_secs() / 60, post))
            })
            .collect()
    }

    fn names_crisis_entity(post: &Post) -> bool {
        let text = post.full_text();
        text.contains("Veskarn") || text.contains(CRISIS_ENTITY)
    }

    #[test]
    fn the_stream_is_the_same_for_every_end_but_for_times() {
        assert_eq!(stream(end()), stream(end()));
        let later = Duration::from_secs(86_400);
        let shifted = stream(end() + later);
        let texts = |posts: &[DemoPost]| -> Vec<Option<String>> {
            posts
                .iter()
                .map(|sent| Some(Post::decode(&sent.payload, LIMIT).ok()?.full_text()))
                .collect()
        };
        assert_eq!(texts(&stream(end())), texts(&shifted));
        assert!(
            stream(end())
                .iter()
                .zip(&shifted)
                .all(|(one, other)| one.at + later == other.at && one.topic == other.topic)
        );
    }

    #[test]
    fn it_is_in_order_within_its_two_hours_and_of_the_right_size() {
        let stream = stream(end());
        assert!(stream.is_sorted_by_key(|sent| sent.at));
        assert!(stream[0].at >= end() - LENGTH && stream[stream.len() - 1].at < end());
        assert!((3_500..=4_500).contains(&stream.len()), "{}", stream.len());
        let news = stream.iter().filter(|sent| sent.topic == NEWS).count();
        assert!((200..=500).contains(&news), "{news}");
        assert!(
            stream
                .iter()
                .all(|sent| [NEWS, SOCIAL].contains(&sent.topic))
        );
    }

    #[test]
    fn exactly_the_malformed_are_rejected_each_for_its_own_reason() {
        let errors: Vec<_> = stream(end())
            .iter()
            .filter_map(|sent| Post::decode(&sent.payload, LIMIT).err())
            .collect();
        let reasons: Vec<_> = errors.iter().map(|error| error.reason()).collect();
        let expected = [
            "not_json",
            "not_json",
            "wrong_type",
            "not_utf8",
            "no_text",
            "too_long",
            "nothing_replaced",
        ];
        assert_eq!(reasons, expected);
        let messages: HashSet<_> = errors.iter().map(ToString::to_string).collect();
        assert_eq!(messages.len(), MALFORMED);
    }

    #[test]
    fn every_slot_is_filled_and_ids_differ() {
        let mut ids = HashSet::new();
        for (_, post) in posts() {
            let text = post.full_text();
            assert!(!text.contains(['{', '}', '|']), "{text}");
            assert!(post.id.is_none_or(|id| ids.insert(id)), "{text}");
        }
    }

    #[test]
    fn texts_that_are_no_reposts_are_mostly_distinct() {
        let texts: Vec<_> = posts()
            .iter()
            .map(|(_, post)| post.full_text())
            .filter(|text| !text.starts_with("RT @"))
            .collect();
        let distinct = texts.iter().collect::<HashSet<_>>().len();
        assert!(
            distinct * 10 > texts.len() * 9,
            "{distinct} of {}",
            texts.len()
        );
    }

    #[test]
    fn the_crisis_begins_small_and_grows_to_many_authors() {
        let mut authors: BTreeMap<u64, HashSet<String>> = BTreeMap::new();
        let mut small = true;
        for (minute, post) in posts().iter().filter(|(_, post)| names_crisis_entity(post)) {
            let author = post.author.clone().unwrap_or_default();
            if (CRISIS_MINUTE..CRISIS_MINUTE + 3).contains(minute) {
                small &= author.followers.is_some_and(|followers| followers <= 300);
            }
            authors.entry(minute / 15).or_default().insert(author.id);
        }
        assert!(small, "the rumour is of small accounts");
        let per_quarter: Vec<usize> = authors.values().map(HashSet::len).collect();
        assert_eq!(per_quarter.len(), 8);
        assert!(per_quarter[..5].iter().all(|&n| n < 40), "{per_quarter:?}");
        assert!(per_quarter[5] > 200, "{per_quarter:?}");
    }

    #[test]
    fn the_campaign_runs_on_several_channels_and_is_seen() {
        let campaign: Vec<Post> = posts()
            .into_iter()
            .map(|(_, post)| post)
            .filter(|post| {
                let text = post.full_text();
                text.contains("#RunTheDawn") || text.contains(CAMPAIGN)
            })
            .collect();
        assert!(campaign.len() > 150, "{}", campaign.len());
        let channels: HashSet<_> = campaign.iter().map(|post| &post.channel).collect();
        for channel in [None, Some("search".to_owned()), Some("blog".to_owned())] {
            assert!(channels.contains(&channel), "{channel:?}");
        }
        let seen = campaign.iter().filter(|post| post.engagement.is_some());
        assert!(seen.count() * 3 > campaign.len());
    }

    #[test]
    fn a_few_posts_are_late_misdated_foreign_wrapped_corrected_or_retracted() {
        let start = end() - LENGTH;
        let ids: HashSet<String> = posts().into_iter().filter_map(|(_, p)| p.id).collect();
        let mut found: BTreeMap<&str, usize> = BTreeMap::new();
        for (minute, post) in posts() {
            let mut count =
                |what, holds: bool| *found.entry(what).or_default() += usize::from(holds);
            let sent = start + Duration::from_secs(minute * 60);
            let published = post.published_at.unwrap();
            let age = sent.since(published).as_secs() / 60;
            count("late", (19..=40).contains(&age));
            count("from 1970", published == Timestamp::EPOCH);
            count("from 2099", published > end());
            count(
                "foreign",
                post.lang.as_deref().is_some_and(|lang| lang != "en"),
            );
            count("with entities", post.full_text().contains("&amp;"));
            count("with tags", post.full_text().contains("<p>"));
            let replaces = post.replaces.is_some_and(|id| ids.contains(&id));
            count(
                "corrected",
                post.status == PostStatus::Corrected && replaces,
            );
            count(
                "retracted",
                post.status == PostStatus::Retracted && replaces,
            );
        }
        let wrapped = stream(end())
            .iter()
            .filter(|sent| sent.payload.windows(11).any(|part| part == b"specversion"))
            .count();
        for what in ["from 1970", "from 2099", "corrected", "retracted"] {
            assert_eq!(found[what], 1, "{what}");
        }
        assert_eq!(found["foreign"], 9);
        for (what, count) in [
            ("late", found["late"]),
            ("with entities", found["with entities"]),
            ("with tags", found["with tags"]),
            ("wrapped", wrapped),
        ] {
            assert!((5..100).contains(&count), "{what}: {count}");
        }
    }

    #[test]
    fn lists_name_entities_of_the_dictionary() {
        let known: HashSet<&str> = dictionary_csv()
            .lines()
            .filter_map(|line| line.split(',').next())
            .collect();
        for list in lists() {
            assert!(list.entities.iter().all(|id| known.contains(id.as_str())));
            assert!(!known.contains(list.id.as_str()));
        }
    }
}
