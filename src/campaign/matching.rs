//! Which campaigns a post belongs to: by hashtag, link, phrase or author.

use crate::domain::{Campaign, CampaignId, Post};
use std::collections::{BTreeSet, HashMap};

/// Finds the campaigns of posts. A post belongs to a campaign that any of the campaign's marks names.
#[derive(Debug, Default)]
pub struct CampaignMatcher {
    /// Campaigns by a mark that is looked up whole.
    marks: HashMap<(Mark, String), Vec<CampaignId>>,
    /// Folded phrases, each with its campaign.
    phrases: Vec<(String, CampaignId)>,
}

/// What a post is recognised by. Hashtags and links are folded, hashtags without `#`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
enum Mark {
    Hashtag,
    UtmCampaign,
    Author,
}

impl CampaignMatcher {
    /// Prepares the marks of all campaigns; empty ones match nothing.
    pub fn new(campaigns: &[Campaign]) -> Self {
        let mut matcher = Self::default();
        for campaign in campaigns {
            let mut add = |mark: Mark, value: String| {
                if !value.is_empty() {
                    let campaigns = matcher.marks.entry((mark, value)).or_default();
                    campaigns.push(campaign.id.clone());
                }
            };
            for hashtag in &campaign.hashtags {
                add(
                    Mark::Hashtag,
                    fold(hashtag).trim_start_matches('#').to_owned(),
                );
            }
            for value in &campaign.utm_campaigns {
                add(Mark::UtmCampaign, fold(value));
            }
            for author in &campaign.authors {
                add(Mark::Author, author.clone());
            }
            for phrase in campaign.phrases.iter().map(|phrase| fold(phrase)) {
                if !phrase.is_empty() {
                    matcher.phrases.push((phrase, campaign.id.clone()));
                }
            }
        }
        matcher
    }

    /// Ids of the campaigns that `post`, whose normalised text is `text`, belongs to: each once, in order of
    /// the id. Those the sender gave are among them, also where none such is configured.
    ///
    /// Hashtags count whole, in the text and among the post's tags (there with their `#`); `utm_campaign` in
    /// links of the text and in the post's address; phrases as whole words. Case matters for authors only.
    pub fn find(&self, post: &Post, text: &str) -> Vec<CampaignId> {
        let mut found: BTreeSet<CampaignId> = post.campaigns.iter().cloned().collect();
        let mut add = |mark: Mark, value: &str| {
            let campaigns = self.marks.get(&(mark, value.to_owned()));
            found.extend(campaigns.into_iter().flatten().cloned());
        };
        let folded = fold(text);
        for token in folded.split(' ') {
            utm_campaigns(token).for_each(|value| add(Mark::UtmCampaign, &value));
            hashtags(token).for_each(|hashtag| add(Mark::Hashtag, hashtag));
        }
        if let Some(url) = &post.url {
            utm_campaigns(&fold(url)).for_each(|value| add(Mark::UtmCampaign, &value));
        }
        for tag in &post.tags {
            hashtags(&fold(tag)).for_each(|hashtag| add(Mark::Hashtag, hashtag));
        }
        if let Some(author) = &post.author {
            add(Mark::Author, &author.id);
        }
        for (phrase, id) in &self.phrases {
            if contains_words(&folded, phrase) {
                found.insert(id.clone());
            }
        }
        found.into_iter().collect()
    }
}

/// Lower case, whitespace collapsed: texts come normalised, configured words may not.
fn fold(text: &str) -> String {
    let words: Vec<&str> = text.split_whitespace().collect();
    words.join(" ").to_lowercase()
}

fn is_word(character: char) -> bool {
    character.is_alphanumeric() || character == '_'
}

/// Hashtags of a token, without `#`; a link has a fragment, no hashtag.
fn hashtags(token: &str) -> impl Iterator<Item = &str> {
    let text = if token.contains("://") { "" } else { token };
    text.match_indices('#')
        .filter(|(at, _)| !text[..*at].ends_with(is_word))
        .map(|(at, _)| {
            text[at + 1..]
                .split(|c| !is_word(c))
                .next()
                .unwrap_or_default()
        })
}

/// Values of `utm_campaign` in a folded link, decoded.
fn utm_campaigns(token: &str) -> impl Iterator<Item = String> {
    token
        .trim_end_matches(['.', ',', ')', ']', '"', '\'', '”', '’', '!', ':', '…'])
        .split(['?', '&', '#', ';'])
        .filter_map(|parameter| parameter.strip_prefix("utm_campaign="))
        .map(|value| fold(&percent_decode(value)))
}

/// Undoes the encoding of a query's value (WHATWG URL, `application/x-www-form-urlencoded`); what is not
/// properly encoded stays.
fn percent_decode(value: &str) -> String {
    let mut bytes = Vec::with_capacity(value.len());
    let mut rest = value.as_bytes();
    while let [first, after @ ..] = rest {
        let encoded = after
            .get(..2)
            .filter(|digits| *first == b'%' && digits.iter().all(u8::is_ascii_hexdigit));
        let decoded = encoded
            .and_then(|digits| u8::from_str_radix(std::str::from_utf8(digits).ok()?, 16).ok());
        bytes.push(match first {
            b'+' => b' ',
            other => decoded.unwrap_or(*other),
        });
        rest = if decoded.is_some() {
            &after[2..]
        } else {
            after
        };
    }
    String::from_utf8_lossy(&bytes).into_owned()
}

/// Whether `text` contains `phrase` as whole words; both folded.
fn contains_words(text: &str, phrase: &str) -> bool {
    text.match_indices(phrase).any(|(at, _)| {
        let inside = |next: Option<char>, edge: Option<char>| {
            next.is_some_and(is_word) && edge.is_some_and(is_word)
        };
        !inside(text[..at].chars().next_back(), phrase.chars().next())
            && !inside(
                text[at + phrase.len()..].chars().next(),
                phrase.chars().next_back(),
            )
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::domain::Author;
    use proptest::prelude::*;

    fn campaign(id: &str) -> Campaign {
        Campaign {
            id: id.into(),
            name: id.to_uppercase(),
            hashtags: Vec::new(),
            utm_campaigns: Vec::new(),
            phrases: Vec::new(),
            authors: Vec::new(),
        }
    }

    fn matcher() -> CampaignMatcher {
        CampaignMatcher::new(&[
            Campaign {
                hashtags: vec!["#SpringLaunch".into(), "été".into(), "#".into()],
                utm_campaigns: vec!["spring 2026".into(), "größe".into()],
                phrases: vec!["Spring  launch".into(), "c++".into(), " ".into()],
                authors: vec!["u123".into()],
                ..campaign("spring")
            },
            Campaign {
                hashtags: vec!["springlaunch".into()],
                ..campaign("autumn")
            },
        ])
    }

    fn found(post: &Post, text: &str) -> Vec<String> {
        let ids = matcher().find(post, text);
        ids.iter().map(ToString::to_string).collect()
    }

    fn in_text(text: &str) -> bool {
        found(&Post::default(), text).contains(&"spring".into())
    }

    #[test]
    fn hashtags_count_whole_and_in_any_case() {
        assert!(in_text("Look: #springLAUNCH!"));
        assert!(in_text("(#ÉTÉ) is here"));
        assert!(!in_text("#one#springlaunch"));
        assert!(!in_text(
            "#springlaunch2 #springlaunch_now #spring springlaunch"
        ));
        assert!(!in_text("see https://x.y/page#springlaunch"));
        assert!(!in_text("# alone"));
    }

    #[test]
    fn links_count_by_their_utm_campaign() {
        assert!(in_text(
            "https://x.y/?a=1&utm_campaign=Spring%202026#top now"
        ));
        assert!(in_text("(see x.y/p?utm_campaign=spring+2026)."));
        assert!(in_text("https://x.y/?utm_campaign=gr%C3%B6%C3%9Fe"));
        assert!(!in_text("https://x.y/?utm_campaign=spring"));
        assert!(!in_text("https://x.y/?my_utm_campaign=spring+2026"));
        for broken in ["%", "%2", "%zz", "%C3", "%+1", "é%"] {
            assert!(!in_text(&format!("https://x.y/?utm_campaign={broken}")));
        }
    }

    #[test]
    fn phrases_count_as_whole_words() {
        assert!(in_text("Our SPRING launch, today"));
        assert!(in_text("spring-launching the spring launch"));
        assert!(in_text("learn C++ now"));
        assert!(!in_text("offspring launch"));
        assert!(!in_text("spring launches"));
        assert!(!in_text("spring, launch"));
    }

    #[test]
    fn address_tags_author_and_given_ids_count() {
        let url = Some("https://x.y/?UTM_Campaign=spring%202026".into());
        assert_eq!(
            found(
                &Post {
                    url,
                    ..Post::default()
                },
                ""
            ),
            ["spring"]
        );
        let tags = vec!["#SpringLaunch".into(), "#springlaunch".into()];
        assert_eq!(
            found(
                &Post {
                    tags,
                    ..Post::default()
                },
                ""
            ),
            ["autumn", "spring"]
        );
        let author = |id: &str| Post {
            author: Some(Author {
                id: id.into(),
                followers: None,
            }),
            ..Post::default()
        };
        assert_eq!(found(&author("u123"), ""), ["spring"]);
        assert!(found(&author("U123"), "").is_empty());
        let campaigns = vec!["winter".into(), "spring".into(), "winter".into()];
        assert_eq!(
            found(
                &Post {
                    campaigns,
                    ..Post::default()
                },
                "spring launch"
            ),
            ["spring", "winter"]
        );
    }

    proptest! {
        #[test]
        fn any_text_is_searched(text in "([#%&?=+ é]|utm_campaign=|spring|\\PC){0,40}") {
            let post = Post { url: Some(text.clone()), tags: vec![text.clone()], ..Post::default() };
            found(&post, &text);
        }
    }
}
