//! What a real feed also brings: an outage that is one story told many times, other languages, impossible dates, a
//! correction, and messages that are no posts at all.

use super::stage::Stage;
use super::{NEWS, SOCIAL};
use crate::domain::{Label, Post, PostStatus, Timestamp};

/// The company of the outage: bad news, but one story.
pub(super) const OUTAGE_ENTITY: &str = "CRLN";
const OUTAGE_MINUTE: u64 = 44;

/// Plays all of it.
pub(super) fn play(stage: &mut Stage) {
    outage(stage);
    languages(stage);
    dates(stage);
    correction(stage);
    malformed(stage);
}

/// One article and two complaints; the headline is repeated by many.
fn outage(stage: &mut Stage) {
    let company = stage.company(OUTAGE_ENTITY);
    let (text, agency) = (stage.line("odd/outage", company), stage.agency());
    let at = stage.within(OUTAGE_MINUTE);
    let headline = stage.article(at, agency, &text).headline();
    for _ in 0..34 {
        let later = at + stage.dice.between(10_000, 600_000);
        stage.repeat(later, &headline);
    }
    for _ in 0..2 {
        let text = stage.line("odd/stranded", company);
        let (at, person) = (stage.within(OUTAGE_MINUTE + 2), stage.person(false));
        stage.say(at, person, Label::Negative, company, &text);
    }
}

/// Posts in languages that are stored, but not scored. Half of them do not say which language it is.
fn languages(stage: &mut Stage) {
    for language in ["de", "fr", "es"] {
        for n in 0..5 {
            let company = stage.dice.below(stage.companies.len() as u64) as usize;
            let text = stage.line(&format!("odd/{language}"), company);
            let post = Post {
                text: Some(text),
                lang: (n % 2 == 0).then(|| language.to_owned()),
                ..Post::default()
            };
            let minute = stage.dice.between(3, 110);
            let at = stage.within(minute);
            stage.send(SOCIAL, at, post);
        }
    }
}

/// A post from 2099 and one from 1970.
fn dates(stage: &mut Stage) {
    let company = stage.company("ILVR");
    for (minute, claim) in [(33, 4_070_908_800_000), (58, 0)] {
        let post = Post {
            text: Some(stage.line("social/chatter", company)),
            published_at: Some(Timestamp::from_millis(claim)),
            lang: Some("en".to_owned()),
            ..Post::default()
        };
        let at = stage.within(minute);
        stage.send(SOCIAL, at, post);
    }
}

/// An article with a wrong figure, and the right one a little later.
fn correction(stage: &mut Stage) {
    let company = stage.company("SKFJ");
    let (text, agency) = (stage.line("odd/wrong", company), stage.agency());
    let at = stage.within(26);
    let wrong = stage.article(at, agency, &text);
    let text = stage.line("odd/right", company);
    let at = stage.within(31);
    stage.replacement(at, wrong, PostStatus::Corrected, &text);
}

/// Seven messages that are rejected, each for a reason of its own.
fn malformed(stage: &mut Stage) {
    let long = format!(
        r#"{{"title":"Minutes of the meeting","text":"{}"}}"#,
        "and so on ".repeat(6_600)
    );
    let messages: [(&str, &[u8]); 7] = [
        (NEWS, b"Larkmoor 100 little changed at midday"),
        (SOCIAL, br#"{"id":"social-cut","text":"Watching Kestrane into the cl"#),
        (SOCIAL, br#"{"id":"social-type","text":"Nice chart of $TRNH","author":{"id":"tapereader","followers":"many"}}"#),
        (NEWS, b"{\"title\":\"Caf\xe9 chain opens in Tolla\"}"),
        (SOCIAL, br##"{"id":"social-empty","author":{"id":"quiet_otter","followers":51},"tags":["#markets"]}"##),
        (NEWS, long.as_bytes()),
        (NEWS, br#"{"title":"CORRECTED: Mondrake sets record date for dividend","status":"corrected"}"#),
    ];
    for (minute, (topic, payload)) in (8..).step_by(15).zip(messages) {
        let at = stage.within(minute);
        stage.send_bytes(topic, at, payload.to_vec());
    }
}
