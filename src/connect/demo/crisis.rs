//! The crisis of one company: a rumour, reports, a flood of posts and reposts, a denial, partial recovery.

use super::stage::{MINUTE, Said, Stage};
use super::{CRISIS_ENTITY, CRISIS_MINUTE, MINUTES};
use crate::domain::{Label, PostStatus};

/// Different negative posts in each minute from [`FLOOD_MINUTE`] on; there are as many reposts.
const FLOOD: [u64; 41] = [
    4, 9, 14, 19, 22, 24, 25, 24, 23, 22, 20, 18, 16, 15, 13, 12, 10, 9, 8, 7, 6, 6, 5, 5, 4, 4, 3,
    3, 3, 2, 2, 2, 1, 2, 1, 1, 1, 1, 1, 0, 1,
];
const FLOOD_MINUTE: u64 = 79;
/// The agency that has a story it must take back.
const HASTY_AGENCY: &str = "Tidewater Markets";

/// Plays it.
pub(super) fn play(stage: &mut Stage) {
    let company = stage.company(CRISIS_ENTITY);
    rumour(stage, company);
    let headlines = reports(stage, company);
    flood(stage, company, &headlines);
    talk(stage, company);
    retraction(stage, company);
}

/// Two small accounts, then a few more.
fn rumour(stage: &mut Stage, company: usize) {
    for (minute, posts) in [(0, 2), (1, 1), (2, 2), (3, 3)] {
        for _ in 0..posts {
            let at = stage.within(CRISIS_MINUTE + minute);
            let mut person = stage.person(false);
            while stage.people[person].followers > 300 {
                person = stage.person(false);
            }
            let text = stage.line("crisis/rumour", company);
            stage.say(at, person, Label::Negative, company, &text);
        }
    }
}

/// The news, each by one agency and soon by others; returns the headlines with the minutes they came.
fn reports(stage: &mut Stage, company: usize) -> Vec<(u64, Said)> {
    let mut headlines = Vec::new();
    for line in stage.script.section("crisis/news").to_vec() {
        let Some((Ok(minute), text)) = line
            .split_once(" | ")
            .map(|(minute, text)| (minute.parse(), text))
        else {
            continue;
        };
        let text = stage.fill(text, company);
        let text = stage.enlarged(text, "crisis/background", company);
        let (at, agency) = (minute * MINUTE, stage.agency());
        headlines.push((minute, stage.article(at, agency, &text).headline()));
        for _ in 0..stage.dice.below(3) {
            let (later, other) = (at + stage.dice.between(20_000, 150_000), stage.agency());
            stage.article(later, other, &text);
        }
    }
    headlines
}

/// Very many posts, and reposts of them and of the headlines.
fn flood(stage: &mut Stage, company: usize, headlines: &[(u64, Said)]) {
    let mut said: Vec<Said> = Vec::new();
    for (minute, posts) in (FLOOD_MINUTE..).zip(FLOOD) {
        for _ in 0..posts {
            let section = match minute {
                ..84 => stage
                    .dice
                    .weigh(&[("crisis/probe", 70), ("crisis/anger", 30)]),
                84..90 => stage.dice.weigh(&[
                    ("crisis/plunge", 60),
                    ("crisis/probe", 18),
                    ("crisis/anger", 22),
                ]),
                _ => stage.dice.weigh(&[
                    ("crisis/default", 48),
                    ("crisis/plunge", 24),
                    ("crisis/anger", 28),
                ]),
            };
            let mut text = stage.line(section, company);
            if stage.dice.chance(30) {
                text = format!("{text} {}", stage.line("crisis/aside", company));
            }
            let (at, person) = (stage.within(minute), stage.person(false));
            said.push(stage.say(at, person, Label::Negative, company, &text));
        }
        said.extend(
            headlines
                .iter()
                .filter(|(sent, _)| *sent == minute)
                .map(|(_, headline)| headline.clone()),
        );
        said.drain(..said.len().saturating_sub(60));
        for _ in 0..posts {
            // A good half repeats one of the few posts that everybody repeats.
            let loud = if stage.dice.chance(55) { 4 } else { 60 };
            let one = stage.dice.pick(&said[..loud.min(said.len())]).clone();
            let at = stage.within(minute + 1);
            stage.repeat(at, &one);
        }
    }
}

/// Questions, then the company's denial, then better news.
fn talk(stage: &mut Stage, company: usize) {
    let scenes = [
        ("crisis/wonder", Label::Neutral, FLOOD_MINUTE + 1..98, 2_600),
        ("crisis/denial", Label::Neutral, 98..110, 3_600),
        ("crisis/recovery", Label::Positive, 104..115, 3_200),
        ("crisis/recovery late", Label::Positive, 115..MINUTES, 3_200),
    ];
    for (section, mood, minutes, thousandths) in scenes {
        for minute in minutes {
            for _ in 0..stage.dice.count(thousandths) {
                let text = stage.line(section, company);
                let (at, person) = (stage.within(minute), stage.person(false));
                let said = stage.say(at, person, mood, company, &text);
                if stage.dice.chance(25) {
                    let later = at + stage.dice.between(5_000, 120_000);
                    stage.repeat(later, &said);
                }
            }
        }
    }
}

/// One agency goes too far, and takes its story back.
fn retraction(stage: &mut Stage, company: usize) {
    let text = stage.line("crisis/hasty", company);
    let at = stage.within(95);
    let hasty = stage.article(at, HASTY_AGENCY, &text);
    let text = stage.line("crisis/taken back", company);
    let at = stage.within(102);
    stage.replacement(at, hasty, PostStatus::Retracted, &text);
}
