//! False alarms in a simulated month.

use super::*;
use rand::{RngExt, SeedableRng, rngs::StdRng};

/// A month of entities that are only ever busy by chance: negative stories a minute follow a geometric
/// distribution (dispersion 1), their rate doubles by day and halves by night.
#[test]
fn a_quiet_month_gives_few_alerts() {
    let mut rng = StdRng::seed_from_u64(2);
    let rates: Vec<f64> = [(70, 0.005), (25, 0.05), (5, 0.5)]
        .iter()
        .flat_map(|(entities, rate)| std::iter::repeat_n(*rate, *entities))
        .collect();
    let mut desk = Desk::new();
    for minute in 0..30 * 24 * 60 {
        let day = 1.25 - 0.75 * (f64::from(minute) / 1440.0 * std::f64::consts::TAU).cos();
        for (n, rate) in rates.iter().enumerate() {
            while rng.random::<f64>() < 1.0 - 1.0 / (1.0 + rate * day) {
                let second = i64::from(minute) * 60 + rng.random_range(0..60);
                desk.tells(second, |told| {
                    told.entity = EntityId::from(&*format!("E{n}"))
                });
            }
        }
        desk.passes(i64::from(minute + 1) * 60);
    }
    let opened = desk.kinds().iter().filter(|kind| **kind == Opened).count();
    let counts = desk.detector.counts();
    println!(
        "{opened} alerts in a month of {} entities, {counts:?}",
        rates.len()
    );
    assert_eq!(counts.late, 0);
    assert!(opened <= 5, "{opened} alerts");
}
