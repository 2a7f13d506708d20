//! Says why: what was seen and expected in each horizon, and the picture of the last hour.

use super::horizons::{Finding, Judgement, View};
use super::minutes::HOUR;
use super::rules::Rule;
use super::test::upper_tail;
use super::volume::start_of;
use crate::domain::{Explanation, HorizonFact, PictureStep};

/// Minutes of a step of the picture, and its steps.
const STEP: i64 = 5;
const STEPS: i64 = HOUR / STEP;

/// A step has more negative stories than its high mark with this probability.
const ABOVE_HIGH: f64 = 1e-3;

/// Days of a minute.
const DAY: f64 = 1440.0;

/// What an explanation is made of.
pub(super) struct Asked<'a> {
    pub view: View<'a>,
    pub judgement: &'a Judgement,
    /// The stretch the message tells of.
    pub finding: &'a Finding,
    pub rule: &'a Rule,
    /// See [`super::calibration`].
    pub ln_used: f64,
    pub concert: bool,
}

/// The explanation of a message.
pub(super) fn explanation(asked: &Asked) -> Explanation {
    let Asked {
        view,
        judgement,
        finding,
        rule,
        ln_used,
        concert,
    } = asked;
    let fact = |finding: &Finding| HorizonFact {
        minutes: finding.length as u32,
        window: finding.window(),
        observed: (finding.tally.mentions, finding.tally.negative),
        expected: (finding.usual.mentions, finding.usual.negative()),
        e_value: finding.ln_evidence.exp(),
    };
    let explanation = Explanation {
        e_value: rule.ln_e_value(judgement.ln_minutes).exp(),
        once_in_days: (judgement.ln_minutes - ln_used).exp() / DAY,
        budget: rule.budget,
        effect: finding.effect(),
        horizons: judgement.findings.iter().map(fact).collect(),
        concert: *concert,
        scheduled: view
            .calendar
            .event(view.entity, start_of(finding.to - 1))
            .map(str::to_owned),
        picture: picture(view, finding.to),
    };
    explanation.rounded()
}

/// The last hour before a minute.
fn picture(view: &View, to: i64) -> Vec<PictureStep> {
    let pooled = view.volume.share();
    let from = to - STEP * STEPS;
    let steps = (0..STEPS).map(|step| from + step * STEP);
    let of = |from: i64| {
        let cell = view.calendar.cell(view.entity, start_of(from));
        let exposure: f64 = (from..from + STEP)
            .map(|minute| view.volume.judged(view.mix, minute, cell))
            .sum();
        let usual = view
            .baseline
            .expectation(1, cell, view.baseline.rate(cell) * exposure, pooled);
        let tally = view.minutes.sum(from, from + STEP);
        PictureStep {
            start: start_of(from),
            mentions: tally.mentions,
            negative: tally.negative,
            expected: usual.negative(),
            high: high(usual.negative(), usual.dispersion),
        }
    };
    steps.map(of).collect()
}

/// The count that is exceeded with probability [`ABOVE_HIGH`]: doubled until it is, then halved in between.
fn high(mean: f64, dispersion: f64) -> f64 {
    let rare = |count: u64| upper_tail(count, mean, dispersion) <= ABOVE_HIGH;
    let mut above = 1;
    while !rare(above) && above < 1 << 40 {
        above *= 2;
    }
    let mut below = above / 2;
    while above - below > 1 {
        let middle = below + (above - below) / 2;
        if rare(middle) {
            above = middle;
        } else {
            below = middle;
        }
    }
    above.saturating_sub(1) as f64
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_high_mark_is_the_quantile() {
        for (mean, dispersion) in [(0.01, 0.5), (1.0, 0.1), (40.0, 0.5), (1e5, 2.0)] {
            let high = high(mean, dispersion) as u64;
            assert!(upper_tail(high + 1, mean, dispersion) <= ABOVE_HIGH);
            assert!(upper_tail(high, mean, dispersion) > ABOVE_HIGH || high == 0);
        }
    }
}
