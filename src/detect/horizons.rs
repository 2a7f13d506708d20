//! All horizons at once, at each mention: one number that says how long one waits for as much by chance.
//!
//! A horizon of `h` minutes holds the stretches that begin every so many minutes, at least twelve at once, and are at most `h`
//! long; each has its e-process, see [`super::likelihood`]. Their sum, weighted so that each minute adds one new e-process of
//! weight 1 in all, is a Shiryaev-Roberts e-detector: under the usual, it reaches `A` at the earliest after `A` minutes
//! on average, for any `A`, although it is looked at with every mention. So an alert that opens at `A` = (minutes of a
//! month) / budget opens at most budget times a month.

use super::baseline::Baseline;
use super::calendar::Calendar;
use super::likelihood::{Expectation, Laws, ln_sum};
use super::minutes::{Minutes, Tally};
use super::volume::{Mix, Volume, start_of};
use crate::domain::{EntityId, SpikeWindow};

/// Stretches of a horizon under way at once, at least, where it is so many minutes long.
const BEGINNINGS: i64 = 12;

/// Horizons judged; further ones are ignored.
pub(super) const HORIZONS: usize = 8;

/// Longest horizon, in minutes.
pub(super) const LONGEST: i64 = 240;

/// What an entity is judged by.
#[derive(Debug, Clone, Copy)]
pub(super) struct View<'a> {
    pub entity: &'a EntityId,
    pub minutes: &'a Minutes,
    pub baseline: &'a Baseline,
    pub mix: &'a Mix,
    pub volume: &'a Volume,
    pub calendar: &'a Calendar,
}

/// The most telling stretch of one horizon.
#[derive(Debug, Clone, Copy)]
pub(super) struct Finding {
    /// Length of the horizon in minutes.
    pub length: i64,
    /// The first minute, and the one behind the last.
    pub from: i64,
    pub to: i64,
    pub tally: Tally,
    pub usual: Expectation,
    /// Logarithm of its likelihood ratio.
    pub ln_evidence: f64,
}

impl Finding {
    pub fn window(&self) -> SpikeWindow {
        SpikeWindow {
            start: start_of(self.from),
            end: start_of(self.to),
        }
    }

    /// How many times as many negative mentions as are expected.
    pub fn effect(&self) -> f64 {
        self.tally.bad / self.usual.negative().max(1e-9)
    }
}

/// A moment, judged.
#[derive(Debug, Clone)]
pub(super) struct Judgement {
    /// Logarithm of the e-detector: of the minutes one waits for as much by chance.
    pub ln_minutes: f64,
    /// The most telling stretch of each horizon.
    pub findings: Vec<Finding>,
}

impl Judgement {
    /// The most telling of all.
    pub fn best(&self) -> Option<&Finding> {
        self.findings
            .iter()
            .max_by(|a, b| a.ln_evidence.total_cmp(&b.ln_evidence))
    }
}

/// Minutes between the beginnings of a horizon: a power of two, so that longer horizons share those of shorter ones.
fn step(length: i64) -> i64 {
    1 << (length / BEGINNINGS).max(1).ilog2()
}

/// The logarithm of what an e-detector is to be divided by to be an e-value at one fixed moment: the mean of the e-processes
/// under way, which is about the mean of the horizons.
pub(super) fn ln_under_way(horizons: &[i64]) -> f64 {
    let sum: i64 = horizons.iter().sum();
    (sum as f64 / horizons.len().max(1) as f64).max(1.0).ln()
}

impl View<'_> {
    /// Judges the stretches that end with a minute.
    pub fn judge(&self, minute: i64, horizons: &[i64]) -> Judgement {
        let longest = horizons
            .iter()
            .copied()
            .max()
            .unwrap_or(1)
            .clamp(1, LONGEST);
        let to = minute + 1;
        let pooled = self.volume.share();
        let cell_of = |minute: i64| self.calendar.cell(self.entity, start_of(minute));
        let last = cell_of(minute);
        let (mut cell, mut hour) = (last, minute.div_euclid(60));
        let mut rate = self.baseline.rate(cell);
        let mut told = self.minutes.within(to - longest, to).rev().peekable();
        let (mut tally, mut expected) = (Tally::default(), 0.0);
        let mut findings: Vec<Option<Finding>> = vec![None; horizons.len()];
        let mut terms = Vec::with_capacity(horizons.len() * 2 * BEGINNINGS as usize);
        let mut laws = None;
        for from in (to - longest..to).rev() {
            if from.div_euclid(60) != hour {
                hour = from.div_euclid(60);
                cell = cell_of(from);
                rate = self.baseline.rate(cell);
            }
            expected += rate * self.volume.judged(self.mix, from, cell);
            if let Some((_, more)) = told.next_if(|(minute, _)| *minute == from) {
                tally.add(more);
            }
            let holds = |length: &i64| to - from <= *length && from.rem_euclid(step(*length)) == 0;
            let weight: i64 = horizons.iter().filter(|l| holds(l)).map(|l| step(*l)).sum();
            let shortest = horizons.iter().position(|length| to - from <= *length);
            let Some(shortest) = shortest.filter(|_| weight > 0) else {
                continue;
            };
            let usual = self.baseline.expectation(shortest, last, expected, pooled);
            let laws = laws.get_or_insert_with(|| Laws::of(&usual));
            let ln_evidence = laws.ln_evidence(&usual, tally.weight, tally.bad);
            terms.push(ln_evidence + (weight as f64).ln());
            let of_horizons = findings.iter_mut().zip(horizons);
            for (finding, length) in of_horizons.filter(|(_, length)| holds(length)) {
                if finding.is_none_or(|best| ln_evidence > best.ln_evidence) {
                    *finding = Some(Finding {
                        length: *length,
                        from,
                        to,
                        tally,
                        usual,
                        ln_evidence,
                    });
                }
            }
        }
        Judgement {
            ln_minutes: ln_sum(&terms) - (horizons.len().max(1) as f64).ln(),
            findings: findings.into_iter().flatten().collect(),
        }
    }
}
