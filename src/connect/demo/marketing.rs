//! A campaign that goes well, on search, social, blogs and in the news.

use super::stage::{Said, Stage};
use super::{CAMPAIGN, MINUTES, SOCIAL};
use crate::domain::{Author, Engagement, Label, Post};

/// The company that runs it, and its account.
pub(super) const ADVERTISER: &str = "STHM";
pub(super) const ACCOUNT: &str = "strideholm";
const FOLLOWERS: u64 = 184_000;

/// Plays it.
pub(super) fn play(stage: &mut Stage) {
    let company = stage.company(ADVERTISER);
    let mut said: Vec<Said> = Vec::new();
    for minute in 10..MINUTES {
        // It builds up to the middle and then keeps a level.
        let swell = minute.min(62);
        let scenes = [
            ("campaign/fan", Label::Positive, swell * 24),
            ("campaign/plain", Label::Neutral, 160),
            ("campaign/market", Label::Positive, 110),
            ("campaign/complaint", Label::Negative, 25),
        ];
        for (section, mood, thousandths) in scenes {
            for _ in 0..stage.dice.count(thousandths) {
                let (text, person) = (line(stage, section, "social", company), stage.person(false));
                let at = stage.within(minute);
                let words = stage.say(at, person, mood, company, &text);
                if mood == Label::Positive {
                    said.push(words);
                }
            }
        }
        if minute % 8 == 2 {
            let text = line(stage, "campaign/brand", "social", company);
            let at = stage.within(minute);
            own(stage, at, None, None, &text);
            said.push(Said {
                handle: ACCOUNT.to_owned(),
                text,
            });
        }
        if minute % 4 == 1 {
            let text = line(stage, "campaign/ad", "search", company);
            let (title, text) = text.split_once(" | ").unwrap_or(("", &text));
            let at = stage.within(minute);
            own(stage, at, Some("search"), Some(title), text);
        }
        if minute % 15 == 5 {
            let text = line(stage, "campaign/blog", "blog", company);
            let (title, text) = text.split_once(" | ").unwrap_or(("", &text));
            let at = stage.within(minute);
            stage.titled(at, "blog", title, text);
        }
        if minute % 25 == 15 {
            let (text, agency) = (stage.line("campaign/news", company), stage.agency());
            let at = stage.within(minute);
            stage.article(at, company, agency, &text);
        }
        if !said.is_empty() && stage.dice.chance(35) {
            let one = stage.dice.pick(&said).clone();
            let at = stage.within(minute + 1);
            stage.repeat(at, &one);
        }
    }
}

/// A frame, its link tagged with the channel it is spread on.
fn line(stage: &mut Stage, section: &str, channel: &str, company: usize) -> String {
    stage.line(section, company).replace(
        "{go}",
        &format!(
            "https://strideholm.example/dawnrunner?utm_source={channel}&utm_campaign={CAMPAIGN}"
        ),
    )
}

/// A post of the company itself; on the search channel an advertisement with the times it was shown.
fn own(stage: &mut Stage, at: u64, channel: Option<&str>, title: Option<&str>, text: &str) {
    let (followers, engagement) = match channel {
        Some(_) => {
            let impressions = Some(stage.dice.between(1_500, 42_000));
            (
                None,
                Engagement {
                    impressions,
                    ..Engagement::default()
                },
            )
        }
        None => (Some(FOLLOWERS), stage.engagement(FOLLOWERS)),
    };
    let post = Post {
        channel: channel.map(str::to_owned),
        title: title.map(str::to_owned),
        text: Some(text.to_owned()),
        lang: Some("en".to_owned()),
        author: Some(Author {
            id: ACCOUNT.to_owned(),
            followers,
        }),
        engagement: Some(engagement),
        campaigns: channel.map(|_| CAMPAIGN.into()).into_iter().collect(),
        entities: vec![ADVERTISER.into()],
        ..Post::default()
    };
    stage.send(SOCIAL, at, post);
}
