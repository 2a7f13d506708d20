use super::super::tests::at;
use super::*;

/// Posts a minute about each of forty entities from two sources, as a function of the minute.
fn play(
    volume: &mut Volume,
    minutes: std::ops::Range<i64>,
    posts: impl Fn(i64, usize, &str) -> i64,
) {
    let calendar = Calendar::bundled();
    for minute in minutes {
        for entity in 0..40 {
            let id = EntityId::from(&*format!("E{entity}"));
            for source in ["news", "social"] {
                for _ in 0..posts(minute, entity, source) {
                    volume.hear(&id, source, at(minute * 60 + 1));
                }
            }
        }
        volume.close(at((minute + 1) * 60), &calendar);
    }
}

fn first() -> i64 {
    minute_of(at(0))
}

fn heard(volume: &Volume, source: usize, from: i64, to: i64) -> f64 {
    let mut mix = Mix::default();
    mix[source] = 1.0;
    let cell = Calendar::bundled().common_cell(at(from * 60));
    volume.heard(&mix, first() + from, first() + to, cell) / volume.sources[source].rhythm(cell)
}

fn judged(volume: &Volume, source: usize, minute: i64) -> f64 {
    let mut mix = Mix::default();
    mix[source] = 1.0;
    let cell = Calendar::bundled().common_cell(at(minute * 60));
    volume.judged(&mix, first() + minute, cell) / volume.sources[source].rhythm(cell)
}

#[test]
fn a_source_that_doubles_is_heard_twice_and_the_other_once() {
    let mut volume = Volume::default();
    play(&mut volume, 0..180, |minute, _, source| {
        1 + i64::from(source == "social" && minute >= 150)
    });
    assert!((heard(&volume, 0, 155, 175) / 20.0 - 1.0).abs() < 0.1);
    assert!(heard(&volume, 1, 151, 161) / 10.0 > 1.5);
    assert!(judged(&volume, 1, 152) > 1.6 && judged(&volume, 0, 152) < 1.1);
}

#[test]
fn a_crisis_of_one_is_no_volume() {
    let mut volume = Volume::default();
    play(&mut volume, 0..180, |minute, entity, _| {
        if entity == 3 && minute >= 150 { 400 } else { 1 }
    });
    assert!(judged(&volume, 1, 155) < 1.1, "{}", judged(&volume, 1, 155));
    assert!((heard(&volume, 1, 150, 170) / 20.0 - 1.0).abs() < 0.1);
}

#[test]
fn an_outage_is_missing_and_not_zero() {
    let mut volume = Volume::default();
    play(&mut volume, 0..240, |minute, _, source| {
        i64::from(source == "news" || !(120..180).contains(&minute))
    });
    assert!(
        heard(&volume, 1, 122, 178) < 3.0,
        "{}",
        heard(&volume, 1, 122, 178)
    );
    assert!((heard(&volume, 0, 122, 178) / 56.0 - 1.0).abs() < 0.1);
    // It makes nobody suspicious, then or afterwards.
    assert!(judged(&volume, 1, 150) >= 1.0 && judged(&volume, 1, 185) < 1.3);
}

#[test]
fn minutes_nobody_watched_are_not_heard() {
    let mut volume = Volume::default();
    play(&mut volume, 0..120, |_, _, _| 1);
    play(&mut volume, 300..360, |_, _, _| 1);
    assert_eq!(heard(&volume, 0, 130, 290), 0.0);
    assert!(heard(&volume, 0, 310, 350) > 35.0);
    volume.interrupt();
    play(&mut volume, 380..400, |_, _, _| 1);
    assert_eq!(heard(&volume, 0, 362, 378), 0.0);
}

#[test]
fn is_the_same_after_it_was_saved() {
    let mut volume = Volume::default();
    play(&mut volume, 0..200, |minute, entity, source| {
        (minute + entity as i64 + i64::from(source == "news")) % 3
    });
    for n in 0..20 {
        volume.hear(&"E1".into(), &format!("source {n}"), at(12_100 + n * 60));
        volume.score((n % 3 == 0).then_some(0.8));
    }
    let saved = serde_json::to_string(&volume.save()).unwrap();
    assert_eq!(
        Volume::restore(serde_json::from_str(&saved).unwrap()),
        volume
    );
    assert_eq!(volume.sources.len(), SOURCES);
}
