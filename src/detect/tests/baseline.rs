use super::*;
use proptest::prelude::*;

const HORIZONS: [i64; 4] = [1, 5, 15, 60];
const POOLED: f64 = 0.15;

fn minute(minute: i64, mentions: f64, negative: f64) -> Stretch {
    Stretch {
        minute,
        minutes: 1,
        cell: minute.div_euclid(60).rem_euclid(CELLS as i64) as usize,
        exposure: 1.0,
        mentions,
        negative,
        flagged: false,
    }
}

fn empty(from: i64, minutes: i64) -> Stretch {
    Stretch {
        minutes,
        exposure: minutes as f64,
        ..minute(from, 0.0, 0.0)
    }
}

/// Teaches a count a minute from the first minute on.
fn taught(counts: impl IntoIterator<Item = f64>) -> Baseline {
    let mut baseline = Baseline::new(&HORIZONS);
    for (at, count) in (0..).zip(counts) {
        baseline.teach(&minute(at, count, 0.2 * count), POOLED);
    }
    baseline
}

#[test]
fn a_new_entity_surprises_nobody() {
    let of = |baseline: &Baseline, mentions: f64| {
        let usual = baseline.expectation(0, 0, baseline.rate(0), POOLED);
        usual.ln_evidence(mentions, mentions * 0.3)
    };
    assert!(of(&Baseline::new(&HORIZONS), 300.0) < 5.0);
    // One busy minute does not make the next one a surprise, busier still.
    assert!(of(&taught([30.0]), 90.0) < 5.0);
}

#[test]
fn level_share_and_spread_are_learned() {
    let days = 14 * 1440;
    let steady = taught((0..days).map(|n| [2.0, 6.0, 4.0, 4.0][n % 4]));
    let usual = steady.expectation(0, 0, steady.rate(0), POOLED);
    assert!((usual.mentions - 4.0).abs() < 0.2, "{usual:?}");
    assert!((usual.share - 0.2).abs() < 0.01, "{usual:?}");
    assert!(usual.dispersion < 0.2, "{usual:?}");
    // Mean 4 and variance 16 is a dispersion of 0.75.
    let bunched = taught((0..days).map(|n| [0.0, 8.0][n % 2]));
    let usual = bunched.expectation(0, 0, bunched.rate(0), POOLED);
    assert!((0.7..1.0).contains(&usual.dispersion), "{usual:?}");
    // In longer windows it evens out.
    assert!(bunched.expectation(3, 0, 240.0, POOLED).dispersion < 0.2);
}

#[test]
fn hours_differ_when_they_have_differed() {
    let rate = |n: i64| {
        if n.div_euclid(60).rem_euclid(24) == 10 {
            6.0
        } else {
            1.0
        }
    };
    let baseline = taught((0..28 * 1440).map(rate));
    let (busy, quiet) = (baseline.rate(10), baseline.rate(3));
    assert!(
        (4.5..7.0).contains(&busy) && (0.8..1.2).contains(&quiet),
        "{busy} {quiet}"
    );
}

#[test]
fn a_slow_drift_is_followed_and_what_was_flagged_forgotten() {
    let drifting = taught((0..60 * 1440).map(|n| 1.0 + n as f64 / (60.0 * 1440.0)));
    let now = drifting.rate(0);
    assert!((1.75..2.05).contains(&now), "{now}");

    let mut baseline = taught((0..10 * 1440).map(|_| 1.0));
    let before = baseline.rate(0);
    for n in 0..60 {
        let flagged = Stretch {
            flagged: true,
            ..minute(14_400 + n, 500.0, 400.0)
        };
        baseline.teach(&flagged, POOLED);
    }
    assert!(
        baseline.rate(50) < before * 1.3,
        "{} after {before}",
        baseline.rate(50)
    );
    // Yet a level that stays is learned in the end.
    for n in 60..40 * 1440 {
        let flagged = Stretch {
            flagged: true,
            ..minute(14_400 + n, 50.0, 10.0)
        };
        baseline.teach(&flagged, POOLED);
    }
    assert!(baseline.rate(50) > 10.0, "{}", baseline.rate(50));
}

#[test]
fn what_was_not_heard_teaches_nothing() {
    let mut baseline = taught((0..1440).map(|_| 1.0));
    let before = baseline.rate(0);
    let unheard = Stretch {
        exposure: 0.0,
        ..empty(1440, 60)
    };
    baseline.teach(&unheard, POOLED);
    assert!((baseline.rate(0) / before - 1.0).abs() < 0.01);
    for hour in 0..48 {
        baseline.teach(&empty(1500 + hour * 60, 60), POOLED);
    }
    assert!(
        baseline.rate(70) < before * 0.7,
        "{} {}",
        baseline.rate(70),
        baseline.rate(0)
    );
}

proptest! {
    #[test]
    fn empty_minutes_at_once_are_empty_minutes_one_by_one(
        counts in prop::collection::vec(0u32..50, 5..40),
        // Within the hour, as the caller has it.
        passed in 1i64..20,
    ) {
        let counts: Vec<f64> = counts.into_iter().map(f64::from).collect();
        let (mut at_once, mut singly) = (taught(counts.clone()), taught(counts.clone()));
        let from = counts.len() as i64;
        at_once.teach(&empty(from, passed), POOLED);
        for n in 0..passed {
            singly.teach(&empty(from + n, 1), POOLED);
        }
        // The weight of a minute depends on what is expected in it, which falls a little with each.
        prop_assert!((at_once.rate(0) / singly.rate(0) - 1.0).abs() < 0.3);
    }

    #[test]
    fn always_gives_a_usable_expectation(
        stretches in prop::collection::vec((any::<i32>(), 1i64..2000, any::<f64>(), any::<f64>(), any::<f64>(), any::<bool>()), 0..40),
    ) {
        let mut baseline = Baseline::new(&HORIZONS);
        for (from, minutes, exposure, mentions, negative, flagged) in stretches {
            let finite = |number: f64, most: f64| if number.is_finite() { number.abs().min(most) } else { 0.0 };
            let mentions = finite(mentions, 1e6);
            let stretch = Stretch {
                minutes,
                exposure: finite(exposure, 1e5),
                mentions,
                negative: finite(negative, mentions),
                flagged,
                ..minute(from.into(), 0.0, 0.0)
            };
            baseline.teach(&stretch, POOLED);
            for (horizon, cell) in [(0, 0), (3, 167), (9, 30)] {
                let usual = baseline.expectation(horizon, cell, baseline.rate(cell), POOLED);
                prop_assert!(usual.mentions > 0.0 && usual.mentions.is_finite(), "{usual:?}");
                prop_assert!(usual.dispersion >= 0.0 && usual.dispersion.is_finite(), "{usual:?}");
                prop_assert!(usual.share > 0.0 && usual.share < 1.0, "{usual:?}");
                prop_assert!(usual.firmness > 0.0, "{usual:?}");
            }
        }
        let saved = serde_json::to_string(&baseline.save()).unwrap();
        let restored = Baseline::restore(serde_json::from_str(&saved).unwrap(), &HORIZONS).unwrap();
        prop_assert_eq!(restored, baseline);
    }
}
