//! What every scene uses: fills frames, writes posts, keeps the clock.
//!
//! Times are milliseconds from the start of the stream.

use super::cast::{Company, Person, companies, crowd};
use super::dice::Dice;
use super::script::Script;
use super::{DemoPost, LENGTH, NEWS, SOCIAL};
use crate::domain::{Author, Engagement, Label, Post, PostStatus, Timestamp};
use std::time::Duration;

/// Milliseconds of a minute.
pub(super) const MINUTE: u64 = 60_000;
const SEED: u64 = 0x5eed_0f5c_0a11;
const PEOPLE: usize = 1_500;

/// The stage on which the scenes are played.
pub(super) struct Stage {
    pub dice: Dice,
    pub script: Script,
    pub companies: Vec<Company>,
    pub people: Vec<Person>,
    start: Timestamp,
    posts: Vec<DemoPost>,
}

/// Something said that others may repeat.
#[derive(Clone)]
pub(super) struct Said {
    pub handle: String,
    pub text: String,
}

/// An article that was sent.
pub(super) struct Article {
    pub id: String,
    pub agency: String,
    pub title: String,
}

impl Article {
    /// Its headline, as the agency's own account posts it.
    pub fn headline(&self) -> Said {
        Said {
            handle: self.agency.replace(' ', ""),
            text: self.title.clone(),
        }
    }
}

impl Stage {
    /// An empty stage for a stream that begins at `start`.
    pub fn new(start: Timestamp) -> Self {
        let (mut dice, script) = (Dice::new(SEED), Script::read());
        let people = crowd(PEOPLE, &script, &mut dice);
        Self {
            dice,
            script,
            companies: companies(),
            people,
            start,
            posts: Vec::new(),
        }
    }

    /// All posts, in the order in which they are sent.
    pub fn into_posts(mut self) -> Vec<DemoPost> {
        self.posts.sort_by_key(|post| post.at);
        self.posts
    }

    /// Some instant within a minute.
    pub fn within(&mut self, minute: u64) -> u64 {
        minute * MINUTE + self.dice.below(MINUTE)
    }

    /// The instant a number of milliseconds after the start.
    fn instant(&self, at: u64) -> Timestamp {
        self.start + Duration::from_millis(at)
    }

    /// Index of the company with this id.
    pub fn company(&self, id: &str) -> usize {
        let found = self.companies.iter().position(|company| company.id == id);
        found.expect("scenes name companies of the cast")
    }

    /// Someone at random: a few speak often when `regulars` is set, else all alike.
    pub fn person(&mut self, regulars: bool) -> usize {
        let all = self.people.len() as u64;
        let bound = match regulars {
            true => self.dice.between(1, all),
            false => all,
        };
        self.dice.below(bound) as usize
    }

    /// The text with up to two more sentences of the section.
    pub fn enlarged(&mut self, mut text: String, section: &str, company: usize) -> String {
        for _ in 0..self.dice.below(3) {
            text = format!("{text} {}", self.line(section, company));
        }
        text
    }

    /// Sends an article, `headline | body`, by the agency.
    pub fn article(&mut self, at: u64, agency: &str, text: &str) -> Article {
        let (title, body) = text.split_once(" | ").unwrap_or((text, ""));
        let body = match self.dice.chance(12) {
            true => format!("<p>{}</p>", escaped(body)),
            false => body.to_owned(),
        };
        let host = agency.to_lowercase().replace(' ', "");
        let article = Article {
            id: format!("{host}-{}", self.serial()),
            agency: agency.to_owned(),
            title: title.to_owned(),
        };
        let post = Post {
            id: Some(article.id.clone()),
            channel: Some(agency.to_owned()),
            title: Some(title.to_owned()),
            text: Some(body),
            url: Some(format!("https://{host}.example/markets/{}", slug(title))),
            lang: Some("en".to_owned()),
            author: self.dice.chance(50).then(|| Author {
                id: self.word("reporter").to_owned(),
                followers: None,
            }),
            ..Post::default()
        };
        self.send(NEWS, at, post);
        article
    }

    /// Sends an article, `headline | body`, that corrects or retracts an earlier one of the same agency.
    pub fn replacement(&mut self, at: u64, earlier: Article, status: PostStatus, text: &str) {
        let (title, body) = text.split_once(" | ").unwrap_or((text, ""));
        let post = Post {
            id: Some(format!("{}-again", earlier.id)),
            channel: Some(earlier.agency),
            title: Some(title.to_owned()),
            text: Some(body.to_owned()),
            lang: Some("en".to_owned()),
            status,
            replaces: Some(earlier.id),
            ..Post::default()
        };
        self.send(NEWS, at, post);
    }

    /// Someone posts about the company, in a voice of their own.
    pub fn say(&mut self, at: u64, person: usize, mood: Label, company: usize, text: &str) -> Said {
        let speaker = &self.people[person];
        let (emoji, hashtags, handle) = (speaker.emoji, speaker.hashtags, speaker.handle.clone());
        let mut text = text.to_owned();
        if speaker.casual {
            text = text.trim_end_matches('.').to_owned();
        }
        if hashtags {
            let id = &self.companies[company].id;
            if !text.contains(id.as_str()) {
                text = format!("{text} ${id}");
            }
            text = format!("{text} {}", self.word("hashtag"));
        }
        if emoji {
            let face = match mood {
                Label::Negative => "gloomy",
                Label::Neutral => "plain",
                Label::Positive => "happy",
            };
            text = format!("{text} {}", self.word(face));
        }
        if self.dice.chance(22) {
            text = format!("{text} {}", self.link());
        }
        self.social(at, person, &text);
        Said { handle, text }
    }

    /// Someone repeats what was said, more or less word for word.
    pub fn repeat(&mut self, at: u64, said: &Said) {
        let person = self.person(false);
        let own = match said.text.rsplit_once(" https://t.example/") {
            Some((own, _)) => own.to_owned(),
            None => said.text.clone(),
        };
        let text = match self.dice.below(10) {
            0..6 => format!("RT @{}: {}", said.handle, said.text),
            6..8 => format!("{own} {}", self.link()),
            8 => format!("{own} via @{}", said.handle),
            _ => format!("RT @{}: {}", said.handle, cut(&own, 110)),
        };
        self.social(at, person, &text);
    }

    /// The name of some news agency.
    pub fn agency(&mut self) -> &'static str {
        self.script.deal("words/agency", &mut self.dice)
    }

    /// Sends a post with a title, in a forum or on a blog.
    pub fn titled(&mut self, at: u64, channel: &str, title: &str, text: &str) {
        let person = self.person(false);
        let speaker = &self.people[person];
        let (handle, followers) = (speaker.handle.clone(), speaker.followers);
        let id = format!("{channel}-{}", self.serial());
        let post = Post {
            url: Some(format!(
                "https://{channel}.example/{handle}/{}",
                slug(title)
            )),
            id: Some(id),
            channel: Some(channel.to_owned()),
            title: Some(title.to_owned()),
            text: Some(text.to_owned()),
            lang: Some("en".to_owned()),
            engagement: self.dice.chance(70).then(|| self.engagement(followers)),
            author: Some(Author {
                id: handle,
                followers: Some(followers),
            }),
            ..Post::default()
        };
        self.send(SOCIAL, at, post);
    }

    /// Sends a social post as it is.
    pub fn social(&mut self, at: u64, person: usize, text: &str) {
        let speaker = &self.people[person];
        let (handle, followers) = (speaker.handle.clone(), speaker.followers);
        let id = format!("social-{}", self.serial());
        let text = match text.contains('&') && self.dice.chance(60) {
            true => escaped(text),
            false => text.to_owned(),
        };
        let tags = match self.dice.chance(50) {
            true => hashtags(&text),
            false => Vec::new(),
        };
        let post = Post {
            url: Some(format!("https://social.example/{handle}/{id}")),
            id: Some(id),
            lang: self.dice.chance(80).then(|| "en".to_owned()),
            text: Some(text),
            tags,
            engagement: self.dice.chance(35).then(|| self.engagement(followers)),
            author: Some(Author {
                id: handle,
                followers: Some(followers),
            }),
            ..Post::default()
        };
        self.send(SOCIAL, at, post);
    }

    /// How a post of someone with so many followers was received.
    pub fn engagement(&mut self, followers: u64) -> Engagement {
        let impressions = 5 + followers * self.dice.between(3, 40) / 100;
        let likes = impressions * self.dice.between(2, 30) / 1000;
        Engagement {
            impressions: Some(impressions),
            likes: Some(likes),
            shares: Some(likes * self.dice.between(2, 35) / 100),
            comments: Some(likes * self.dice.between(1, 20) / 100),
        }
    }

    /// Sends a post. Without a time of publication it is a few seconds old; one of a hundred social posts is late
    /// by 20 to 40 minutes. A few articles come as CloudEvents.
    pub fn send(&mut self, topic: &'static str, at: u64, mut post: Post) {
        let age = match topic == SOCIAL && self.dice.chance(1) {
            true => self.dice.between(20 * MINUTE, 40 * MINUTE),
            false => self.dice.between(200, 9_000),
        };
        let published = self.instant(at) - Duration::from_millis(age);
        post.published_at.get_or_insert(published);
        let wrapped = topic == NEWS && self.dice.chance(6);
        let payload = match wrapped {
            true => serde_json::to_vec(&serde_json::json!({
                "specversion": "1.0", "type": "example.news.article", "source": "/feeds/markets",
                "id": post.id, "datacontenttype": "application/json", "data": post,
            })),
            false => serde_json::to_vec(&post),
        };
        self.send_bytes(topic, at, payload.unwrap_or_default());
    }

    /// Sends bytes as they are. What would come after the end is not sent.
    pub fn send_bytes(&mut self, topic: &'static str, at: u64, payload: Vec<u8>) {
        let at = self.instant(at);
        if at.since(self.start) < LENGTH {
            self.posts.push(DemoPost { at, topic, payload });
        }
    }

    /// Differs for every post, and for every start: a second demo repeats no id.
    fn serial(&self) -> String {
        format!("{:x}-{}", self.start.millis() / 1000, self.posts.len())
    }

    fn link(&mut self) -> String {
        format!("https://t.example/{:07x}", self.dice.below(1 << 28))
    }
}

fn escaped(text: &str) -> String {
    text.replace('&', "&amp;")
        .replace('<', "&lt;")
        .replace('>', "&gt;")
        .replace('"', "&quot;")
}

fn cut(text: &str, length: usize) -> String {
    match text.char_indices().nth(length) {
        Some((end, _)) => format!("{}…", &text[..end]),
        None => text.to_owned(),
    }
}

fn hashtags(text: &str) -> Vec<String> {
    text.split_whitespace()
        .map(|word| word.trim_end_matches(['.', ',', '!', '?']))
        .filter(|word| word.starts_with('#') && word.len() > 1)
        .map(str::to_owned)
        .collect()
}

fn slug(title: &str) -> String {
    title
        .to_lowercase()
        .split(|c: char| !c.is_ascii_alphanumeric())
        .filter(|word| !word.is_empty())
        .collect::<Vec<_>>()
        .join("-")
}
