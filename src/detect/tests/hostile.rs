//! Input that nobody means: it has a result, and that is a calm one.

use super::*;

fn is_sane(desk: &Desk) {
    for message in &desk.alerts {
        let explanation = message.explanation.as_ref();
        let numbers = explanation.map(|e| [e.e_value, e.once_in_days, e.effect]);
        for number in numbers
            .into_iter()
            .flatten()
            .chain([message.p_value, message.expected.mentions])
        {
            assert!(number.is_finite() && number >= 0.0, "{message:?}");
        }
    }
}

#[test]
fn a_count_that_jumps_by_a_million_opens_one_alert() {
    let mut desk = Desk::after_a_calm_day();
    // A story a second is told by many; what a minute can hold is what its counters can.
    for n in 0..3_000i64 {
        desk.tells(n / 50, |told| told.title = String::new());
    }
    let usual = crate::detect::likelihood::Expectation {
        mentions: 1e-3,
        dispersion: 2.0,
        share: 0.1,
        firmness: 20.0,
    };
    assert!(usual.ln_evidence(1e6, 9e5).is_finite());
    desk.passes(2 * HOUR);
    is_sane(&desk);
    assert_eq!(
        desk.kinds().iter().filter(|kind| **kind == Opened).count(),
        1
    );
    assert_eq!(desk.kinds().last(), Some(&Resolved));
    // What it was is forgotten: the next burst is one too.
    for n in 0..30 {
        desk.tells(3 * HOUR + n * 20, |_| {});
    }
    assert_eq!(
        desk.kinds().iter().filter(|kind| **kind == Opened).count(),
        2
    );
}

#[test]
fn clocks_that_go_back_disorder_and_repeats_open_nothing() {
    let mut desk = Desk::after_a_calm_day();
    for n in 0..600i64 {
        let hour = [0, -5, 3, -70, 1][n as usize % 5];
        desk.tells(hour * HOUR + n % 60, |told| {
            told.sentiment = sentiment(if n % 97 == 0 { 0.9 } else { 0.1 });
        });
        desk.passes((n % 7 - 3) * HOUR);
    }
    is_sane(&desk);
    assert_eq!(desk.alerts, []);
}

#[test]
fn an_entity_mentioned_once_a_year_never_alerts_and_is_forgotten_in_between() {
    let mut desk = Desk::new();
    let year = 365 * 24 * HOUR;
    for n in 0..5 {
        for day in 0..365 {
            desk.passes(n * year + day * 24 * HOUR);
        }
        assert_eq!(desk.detector.counts().entities, 0);
        desk.tells(n * year + 364 * 24 * HOUR, |_| {});
    }
    assert_eq!(desk.alerts, []);
}

#[test]
fn nothing_or_the_same_for_ever_opens_nothing() {
    let mut desk = Desk::new();
    for minute in 0..3 * 24 * 60 {
        desk.passes(minute * MINUTE);
    }
    for minute in 3 * 24 * 60..5 * 24 * 60 {
        desk.tells(minute * MINUTE, |told| told.relevance = f32::NAN);
        desk.passes(minute * MINUTE);
    }
    assert_eq!(desk.alerts, []);
}

#[test]
fn volume_without_more_negativity_and_one_author_in_many_posts_open_nothing() {
    let mut desk = Desk::new();
    for minute in 0..2 * 24 * 60 {
        desk.tells(minute * MINUTE, |told| {
            told.sentiment = sentiment(if minute % 5 == 0 { 0.9 } else { 0.1 })
        });
        desk.passes(minute * MINUTE);
    }
    let now = 2 * 24 * HOUR;
    for n in 0..900i64 {
        desk.tells(now + n, |told| {
            told.sentiment = sentiment(if n % 5 == 0 { 0.9 } else { 0.1 })
        });
    }
    assert_eq!(desk.alerts, []);
    desk.detector.rules[0].min_sources = 1;
    for n in 0..200 {
        desk.tells(now + HOUR + n, |told| {
            told.author = Some(format!("one of {}", n % 2))
        });
    }
    assert_eq!(desk.alerts, []);
}

#[test]
fn with_a_short_horizon_an_author_is_capped_and_a_picture_drawn_for_an_hour_too() {
    let mut desk = Desk::new();
    desk.detector.rules[0].horizons = vec![5];
    desk.detector.rules[0].min_sources = 1;
    desk.watches_a_calm_day();
    for minute in 0..=50 {
        desk.passes(minute * MINUTE);
        if [0, 6, 12].contains(&minute) {
            desk.tells(minute * MINUTE, |told| told.author = Some("one".into()));
        }
    }
    for n in 0..20 {
        desk.tells(50 * MINUTE + n, |told| told.author = Some("one".into()));
    }
    assert_eq!(desk.alerts, []);
    desk.passes(51 * MINUTE);
    for n in 0..10 {
        desk.tells(51 * MINUTE + n, |_| {});
    }
    let picture = &desk.alerts[0].explanation.as_ref().unwrap().picture;
    let early: u32 = picture[..6].iter().map(|step| step.negative).sum();
    assert_eq!(early, 3);
}

#[test]
fn posting_in_concert_is_marked() {
    let mut desk = Desk::after_a_calm_day();
    for n in 0..12 {
        desk.tells(n, |told| told.author = Some(format!("fan{n:04}")));
    }
    assert!(desk.alerts[0].explanation.as_ref().unwrap().concert);
    let mut desk = Desk::after_a_calm_day();
    for (n, name) in (0..).zip([
        "ann", "bob", "carla", "dan", "emil", "fritz", "gwen", "hans", "ina", "jo", "kim", "lea",
    ]) {
        desk.tells(n, |told| told.author = Some(name.into()));
    }
    assert!(!desk.alerts[0].explanation.as_ref().unwrap().concert);
}

#[test]
fn what_is_hardly_about_it_or_hardly_credible_counts_hardly() {
    let burst = |change: fn(&mut MentionEvent)| {
        let mut desk = Desk::after_a_calm_day();
        for n in 0..14 {
            desk.tells(n, change);
        }
        desk.alerts.len()
    };
    assert!(burst(|_| {}) > 0);
    assert_eq!(burst(|told| told.relevance = 0.05), 0);
    let mut desk = Desk::after_a_calm_day();
    desk.detector.config.credibility.insert("news".into(), 0.05);
    for n in 0..14 {
        desk.tells(n, |_| {});
    }
    assert_eq!(desk.alerts, []);
}
