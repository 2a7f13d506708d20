//! A campaign that goes well, on search, social, blogs and in the news.

use super::stage::{Said, Stage};
use super::{CAMPAIGN, MINUTES, SOCIAL};
use crate::domain::{Author, Engagement, Label, Post};

/// The account of the company that runs it.
pub(super) const ACCOUNT: &str = "strideholm";
const ADVERTISER: &str = "STHM";
const FOLLOWERS: u64 = 184_000;

/// Plays it.
pub(super) fn play(stage: &mut Stage) {
    let company = stage.company(ADVERTISER);
    let mut said: Vec<Said> = Vec::new();
    for minute in 10..MINUTES {
        said.extend(runners(stage, minute, company));
        if minute % 4 == 1 {
            advertisement(stage, minute, company);
        }
        if minute % 8 == 2 {
            said.push(brand(stage, minute, company));
        }
        if minute % 15 == 5 {
            let (at, text) = (stage.within(minute), stage.line("campaign/blog", company));
            let (title, text) = text.split_once(" | ").unwrap_or(("", &text));
            stage.titled(at, "blog", title, text);
        }
        if minute % 25 == 15 {
            let (at, agency) = (stage.within(minute), stage.agency());
            let text = stage.line("campaign/news", company);
            stage.article(at, agency, &text);
        }
        if !said.is_empty() && stage.dice.chance(35) {
            let one = stage.dice.pick(&said).clone();
            let at = stage.within(minute + 1);
            stage.repeat(at, &one);
        }
    }
}

/// What people say in a minute; returns what others like to repeat. It builds up and then keeps a level.
fn runners(stage: &mut Stage, minute: u64, company: usize) -> Vec<Said> {
    let mut said = Vec::new();
    let scenes = [
        ("campaign/fan", Label::Positive, minute.min(62) * 24),
        ("campaign/plain", Label::Neutral, 160),
        ("campaign/market", Label::Positive, 110),
        ("campaign/complaint", Label::Negative, 25),
    ];
    for (section, mood, thousandths) in scenes {
        for _ in 0..stage.dice.count(thousandths) {
            let (text, person) = (stage.line(section, company), stage.person(false));
            let at = stage.within(minute);
            let words = stage.say(at, person, mood, company, &text);
            if mood == Label::Positive {
                said.push(words);
            }
        }
    }
    said
}

/// The company's own account posts.
fn brand(stage: &mut Stage, minute: u64, company: usize) -> Said {
    let text = stage.line("campaign/brand", company);
    let post = Post {
        text: Some(text.clone()),
        engagement: Some(stage.engagement(FOLLOWERS)),
        ..own(Some(FOLLOWERS))
    };
    let at = stage.within(minute);
    stage.send(SOCIAL, at, post);
    Said {
        handle: ACCOUNT.to_owned(),
        text,
    }
}

/// An advertisement beside search results, with the times it was shown.
fn advertisement(stage: &mut Stage, minute: u64, company: usize) {
    let text = stage.line("campaign/ad", company);
    let (title, text) = text.split_once(" | ").unwrap_or(("", &text));
    let post = Post {
        channel: Some("search".to_owned()),
        title: Some(title.to_owned()),
        text: Some(text.to_owned()),
        campaigns: vec![CAMPAIGN.into()],
        engagement: Some(Engagement {
            impressions: Some(stage.dice.between(1_500, 42_000)),
            ..Engagement::default()
        }),
        ..own(None)
    };
    let at = stage.within(minute);
    stage.send(SOCIAL, at, post);
}

/// What all posts of the company have in common.
fn own(followers: Option<u64>) -> Post {
    Post {
        lang: Some("en".to_owned()),
        author: Some(Author {
            id: ACCOUNT.to_owned(),
            followers,
        }),
        entities: vec![ADVERTISER.into()],
        ..Post::default()
    }
}
