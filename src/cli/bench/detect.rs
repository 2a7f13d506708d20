//! `squall bench detect`: the rate of false alarms, what is found of bursts, how fast and how large it is.

use super::simulation::{null, oracle, power, speed, world};
use crate::config::DetectConfig;
use clap::ValueEnum;
use rand::{SeedableRng as _, rngs::StdRng};
use std::io::Write as _;

/// Measure detection on made-up streams of which the truth is known.
#[derive(Debug, clap::Args)]
pub(super) struct DetectBench {
    /// What is measured
    #[arg(long, value_enum, default_value_t = What::Null)]
    what: What,
    /// Entities of each quiet world (200 without it), or those whose speed is measured (100,000)
    #[arg(long, value_name = "N")]
    entities: Option<usize>,
    /// Days of the quiet worlds (365 without it), the first 28 of which only teach, or of those whose speed is measured (2)
    #[arg(long, value_name = "N")]
    days: Option<i64>,
    /// Bursts tried in each case
    #[arg(long, default_value_t = 1200)]
    bursts: usize,
    /// Seed of chance
    #[arg(long, default_value_t = 1)]
    seed: u64,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
enum What {
    /// Alerts opened where nothing happens, by volume
    Null,
    /// Bursts found, beside the test that knows the truth
    Power,
    /// Time a mention takes, and memory of so many entities
    Speed,
}

/// Measures, with the budget of the configuration.
pub(super) fn run(args: &DetectBench, config: &DetectConfig) -> anyhow::Result<()> {
    match args.what {
        What::Null => quiet(args, config),
        What::Power => bursts(args, config),
        What::Speed => fast(args, config),
    }
}

/// Every world in a thread of its own: 200 entities over a year are some 45 million mentions in each.
fn quiet(args: &DetectBench, config: &DetectConfig) -> anyhow::Result<()> {
    let budget = config.budget.per_month();
    let mut out = std::io::stdout();
    std::thread::scope(|scope| {
        let worlds = world::LAWS.map(|(law, name)| {
            let (entities, days) = (args.entities.unwrap_or(200), args.days.unwrap_or(365));
            let measure = move || null::measure(config, law, entities, days, args.seed);
            (name, scope.spawn(measure))
        });
        for (name, world) in worlds {
            let Ok(measured) = world.join() else {
                anyhow::bail!("{name}: the simulation failed");
            };
            writeln!(out, "{name}: {} mentions", measured.mentions)?;
            for (decile, (opened, months)) in measured.deciles.iter().enumerate() {
                let volume = format!("{:.4} a minute", null::rate(decile));
                line(&mut out, &volume, (*opened, *months), budget)?;
            }
            line(&mut out, "all", measured.all(), budget)?;
        }
        Ok(())
    })
}

fn fast(args: &DetectBench, config: &DetectConfig) -> anyhow::Result<()> {
    let (entities, days) = (args.entities.unwrap_or(100_000), args.days.unwrap_or(2));
    let speed::Measured {
        mentions,
        busy,
        bytes,
    } = speed::measure(config, entities, days, args.seed);
    let micros = busy.as_secs_f64() * 1e6 / mentions.max(1) as f64;
    let memory = bytes.map_or("?".into(), |bytes| format!("{}", bytes / 1_000_000));
    writeln!(
        std::io::stdout(),
        "{entities} entities, {days} days, {mentions} mentions: {micros:.1} µs a mention with all horizons, {memory} MB of memory more than before"
    )?;
    Ok(())
}

fn line(
    out: &mut impl std::io::Write,
    what: &str,
    (opened, months): (u32, f64),
    budget: f64,
) -> std::io::Result<()> {
    let months = months.max(1e-9);
    let bound = null::upper_bound(opened) / months;
    writeln!(
        out,
        "  {what:<18} {opened:>5} alerts in {months:.0} entity-months: {:.4} a month, 95 % bound {bound:.4}, {:.2} of the budget",
        f64::from(opened) / months,
        bound / budget.max(1e-12),
    )
}

/// Months of nothing by which the threshold of the test that knows the truth is found.
const ORACLE_MINUTES: i64 = 4_320_000;

fn bursts(args: &DetectBench, config: &DetectConfig) -> anyhow::Result<()> {
    let mut out = std::io::stdout();
    writeln!(
        out,
        "mentions a minute, dispersion, effect: found (median delay) by the test that knows the truth, by detection"
    )?;
    for rate in [0.1, 1.0, 10.0] {
        for dispersion in [0.1, 0.5] {
            for effect in [2.0, 3.0, 5.0] {
                let case = oracle::Case {
                    rate,
                    dispersion,
                    share: 0.2,
                    effect,
                };
                let mut rng = StdRng::seed_from_u64(args.seed);
                let threshold =
                    oracle::threshold(case, config.budget.per_month(), ORACLE_MINUTES, &mut rng);
                let known = oracle::power(case, threshold, 4 * args.bursts, &mut rng);
                let found = power::power(config, case, args.bursts, args.seed);
                let told = |(found, minutes): (f64, f64)| match found > 0.0 {
                    true => format!("{found:.3} ({minutes} min)"),
                    false => "none".to_owned(),
                };
                let (known, found) = (told(known), told(found));
                writeln!(
                    out,
                    "{rate:>5} {dispersion:>4} {effect:>3}x: {known:<15} {found}"
                )?;
            }
        }
    }
    Ok(())
}
