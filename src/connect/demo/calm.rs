//! The quiet day: chatter and news about every company, with a rhythm, in clumps, mostly neutral.

use super::stage::{MINUTE, Stage};
use super::{CRISIS_ENTITY, CRISIS_MINUTE, MINUTES};
use crate::domain::Label;

/// Posts of a company in a minute, in thousandths, for each unit of its rate.
const VOLUME: u64 = 22;
/// Rate of talk about the economy as a whole.
const MACRO_RATE: u64 = 42;
/// Percent of the usual volume at minutes of the day: the opening, a lull, the close.
const RHYTHM: [(u64, u64); 7] = [
    (0, 55),
    (12, 150),
    (35, 95),
    (65, 60),
    (90, 95),
    (108, 145),
    (120, 65),
];
/// Percent of the usual volume of a company for some minutes: talk comes in clumps.
const CLUMPS: [u64; 8] = [30, 50, 70, 90, 100, 110, 170, 260];
const CLUMP_MINUTES: u64 = 6;

const MOODS: [(Label, u64); 3] = [
    (Label::Neutral, 83),
    (Label::Positive, 13),
    (Label::Negative, 4),
];
const NEUTRAL: [(&str, u64); 8] = [
    ("social/chatter", 30),
    ("social/question", 14),
    ("social/joke", 12),
    ("social/results", 9),
    ("social/rating", 8),
    ("social/business", 11),
    ("sector", 12),
    ("social/forum", 4),
];

/// Plays it over the whole stream.
pub(super) fn play(stage: &mut Stage) {
    for company in 0..stage.companies.len() {
        let mut clump = 100;
        for minute in 0..quiet_minutes(stage, company) {
            if minute % CLUMP_MINUTES == company as u64 % CLUMP_MINUTES {
                clump = *stage.dice.pick(&CLUMPS);
            }
            let rate = stage.companies[company].rate * VOLUME * rhythm(minute) * clump / 10_000;
            for _ in 0..stage.dice.count(rate) {
                let at = stage.within(minute);
                one(stage, at, company);
            }
        }
    }
    for minute in 0..MINUTES {
        for _ in 0..stage.dice.count(MACRO_RATE * VOLUME * rhythm(minute) / 100) {
            let at = stage.within(minute);
            economy(stage, at);
        }
    }
}

/// Nobody chats about a company in crisis.
fn quiet_minutes(stage: &Stage, company: usize) -> u64 {
    match stage.companies[company].id == CRISIS_ENTITY {
        true => CRISIS_MINUTE,
        false => MINUTES,
    }
}

/// One post about a company, or an article and what it sets off.
fn one(stage: &mut Stage, at: u64, company: usize) {
    let mood = stage.dice.weigh(&MOODS);
    if stage.dice.chance(9) {
        news(stage, at, company, mood);
        return;
    }
    let section = match mood {
        Label::Negative => "social/bad".to_owned(),
        Label::Positive => "social/good".to_owned(),
        Label::Neutral => match stage.dice.weigh(&NEUTRAL) {
            "sector" => format!("social/{}", stage.companies[company].sector),
            section => section.to_owned(),
        },
    };
    let mut text = stage.line(&section, company);
    if let Some((title, body)) = text.split_once(" | ") {
        stage.titled(at, "forum", title, body);
        return;
    }
    if mood == Label::Neutral && stage.dice.chance(20) {
        text = format!("{text} {}", stage.line("social/tail", company));
    }
    let person = stage.person(true);
    let said = stage.say(at, person, mood, company, &text);
    if stage.dice.chance(4) {
        let later = at + stage.dice.between(20_000, 400_000);
        stage.repeat(later, &said);
    }
}

fn news(stage: &mut Stage, at: u64, company: usize, mood: Label) {
    let (section, reaction, echoes) = match mood {
        Label::Negative => ("news/bad", "social/reaction bad", 1),
        Label::Neutral => ("news/neutral", "social/reaction neutral", 3),
        Label::Positive => ("news/good", "social/reaction good", 4),
    };
    let text = stage.line(section, company);
    let (text, agency) = (
        stage.enlarged(text, "news/background", company),
        stage.agency(),
    );
    let headline = stage.article(at, agency, &text).headline();
    for _ in 0..stage.dice.between(0, echoes) {
        let later = at + stage.dice.between(15_000, 900_000);
        if later >= quiet_minutes(stage, company) * MINUTE {
            continue;
        }
        if stage.dice.chance(50) {
            stage.repeat(later, &headline);
        } else {
            let (text, person) = (stage.line(reaction, company), stage.person(true));
            stage.say(later, person, mood, company, &text);
        }
    }
}

/// One post about the economy.
fn economy(stage: &mut Stage, at: u64) {
    let anyone = stage.dice.below(stage.companies.len() as u64) as usize;
    if stage.dice.chance(15) {
        let (text, agency) = (stage.line("news/macro", anyone), stage.agency());
        stage.article(at, agency, &text);
    } else {
        let (text, person) = (stage.line("social/macro", anyone), stage.person(true));
        stage.social(at, person, &text);
    }
}

/// Percent of the usual volume in a minute, between the points of [`RHYTHM`] along a straight line.
fn rhythm(minute: u64) -> u64 {
    RHYTHM
        .windows(2)
        .find(|pair| minute < pair[1].0)
        .map_or(RHYTHM[RHYTHM.len() - 1].1, |pair| {
            let ((from, low), (to, high)) = (pair[0], pair[1]);
            (low * (to - minute) + high * (minute - from)) / (to - from)
        })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_rhythm_goes_through_its_points() {
        assert_eq!(rhythm(0), 55);
        assert_eq!(rhythm(12), 150);
        assert_eq!(rhythm(6), 102);
        assert_eq!(rhythm(500), 65);
    }
}
