//! What is usual for an entity: how many mentions a minute, in which hours of the week, how many of them negative, and
//! how unevenly they come. Learned from minutes that are over, by sums that fade.
//!
//! - Level: a gamma posterior of the rate, in mentions a minute of *exposure*. Exposure is time in which its sources
//!   were heard, weighted by how much they had to say (see [`super::volume`]).
//! - Rhythm: how much an hour of the week differs, a ratio drawn towards 1 while it has been seen little.
//! - Share: how many are negative, a beta posterior drawn towards the share of all entities.
//! - Spread: for each horizon, by how much counts vary more than a Poisson process, and negative ones more than
//!   coin tosses; by the method of moments, drawn towards what is common while there is little evidence.
//!
//! Hours with many mentions count for less than their number: they share what makes the hour special.

use super::calendar::CELLS;
use super::likelihood::Expectation;
use super::snapshot::{BaselineSnapshot, Packed};

/// Hours after which what was learned counts by a factor e less: level, rhythm, share, spread.
const LEVEL_MEMORY: f64 = 7.0 * 24.0;
const RHYTHM_MEMORY: f64 = 35.0 * 24.0;
const SHARE_MEMORY: f64 = 21.0 * 24.0;
const SPREAD_MEMORY: f64 = 21.0 * 24.0;

/// The prior of the level: events it is worth, and minutes. Few of both, so that the rate may be almost anything.
const PRIOR_EVENTS: f64 = 0.05;
const PRIOR_MINUTES: f64 = 0.01;

/// Mentions the share of all entities is worth.
const PRIOR_MENTIONS: f64 = 10.0;

/// Events an hour of the week is taken to have confirmed before it has any.
const PRIOR_RHYTHM: f64 = 4.0;

/// Events from which on an entity has a rhythm of its own.
const RHYTHM_FROM: f64 = 30.0;

/// Dispersion of counts and of shares before an entity has shown its own, and the pairs of events that is worth.
const COMMON_DISPERSION: f64 = 1.0;
const COMMON_PAIRS: f64 = 3.0;
const COMMON_CONTAGION: f64 = 0.01;
const COMMON_SHARE_PAIRS: f64 = 5.0;

/// Stories come in small bunches even where nothing happens: variance beyond the mean, as a share of the mean.
const BUNCHING: f64 = 0.2;

/// What was flagged teaches no more than what was expected and so many standard deviations.
const FLAGGED_TEACHES: f64 = 3.0;

/// Minutes of one kind of hour, and what was seen in them.
#[derive(Debug, Clone, Copy)]
pub(super) struct Stretch {
    /// The first, in minutes since the Unix epoch.
    pub minute: i64,
    pub minutes: i64,
    pub cell: usize,
    /// Minutes heard, weighted by how much there was to hear.
    pub exposure: f64,
    /// Weighted mentions, and negative ones among them.
    pub mentions: f64,
    pub negative: f64,
    /// An alert was open, or should have been.
    pub flagged: bool,
}

/// What is known of one entity.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct Baseline {
    events: f64,
    minutes: f64,
    negative: f64,
    of: f64,
    /// For each kind of hour: events, and those expected without it.
    rhythm: Option<Box<[[f32; 2]; CELLS]>>,
    spreads: Vec<Spread>,
    /// The hour up to which sums have faded.
    hour: Option<i64>,
}

/// How uneven the counts in windows of one length are.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct Spread {
    /// Length in minutes.
    pub length: i64,
    /// Of the window that is being filled: its number, and expected, seen, seen negative.
    pub window: i64,
    pub filling: [f64; 3],
    /// Excess of squared deviations, and squared expectations; the same of the shares.
    pub sums: [f64; 4],
}

impl Baseline {
    /// For horizons of so many minutes.
    pub fn new(horizons: &[i64]) -> Self {
        Self {
            events: 0.0,
            minutes: 0.0,
            negative: 0.0,
            of: 0.0,
            rhythm: None,
            spreads: horizons.iter().map(|length| Spread::new(*length)).collect(),
            hour: None,
        }
    }

    /// Weighted mentions expected in a minute of exposure.
    pub fn rate(&self, cell: usize) -> f64 {
        (PRIOR_EVENTS + self.events) / (PRIOR_MINUTES + self.minutes) * self.rhythm(cell).0
    }

    /// How much the hour differs, and the events that say so.
    fn rhythm(&self, cell: usize) -> (f64, f64) {
        let Some([events, expected]) = self.rhythm.as_ref().and_then(|all| all.get(cell)) else {
            return (1.0, PRIOR_RHYTHM);
        };
        let (events, expected) = (f64::from(*events), f64::from(*expected));
        (
            (events + PRIOR_RHYTHM) / (expected + PRIOR_RHYTHM),
            expected + PRIOR_RHYTHM,
        )
    }

    /// Share of mentions that is negative, where that of all entities is `pooled`; and the mentions that say so.
    pub fn share(&self, pooled: f64) -> (f64, f64) {
        let of = self.of + PRIOR_MENTIONS;
        ((self.negative + PRIOR_MENTIONS * pooled) / of, of)
    }

    /// Squared coefficient of variation of the rate in an hour, as far as it is known.
    fn unsure(&self, cell: usize) -> f64 {
        1.0 / (PRIOR_EVENTS + self.events) + 1.0 / self.rhythm(cell).1
    }

    /// Whether anything has been learned.
    pub fn is_taught(&self) -> bool {
        self.minutes > 0.0
    }

    /// What is usual in a stretch of the `horizon`th length or shorter, in which `mentions` are expected.
    pub fn expectation(
        &self,
        horizon: usize,
        cell: usize,
        mentions: f64,
        pooled: f64,
    ) -> Expectation {
        let mentions = mentions.max(1e-9);
        let (share, of) = self.share(pooled);
        let (dispersion, contagion) = match self.spreads.get(horizon) {
            Some(spread) => (spread.dispersion(), spread.contagion()),
            None => (COMMON_DISPERSION, COMMON_CONTAGION),
        };
        let unsure = self.unsure(cell);
        Expectation {
            mentions,
            dispersion: dispersion + BUNCHING / mentions + unsure * (1.0 + dispersion),
            share,
            firmness: 1.0 / (contagion + 1.0 / of),
        }
    }

    /// Learns from minutes that are over, in their order.
    pub fn teach(&mut self, stretch: &Stretch, pooled: f64) {
        self.fade_to(stretch.minute.div_euclid(60));
        let exposure = stretch.exposure.max(0.0);
        let expected = exposure * self.rate(stretch.cell);
        let share = self.share(pooled).0;
        let (mut mentions, mut negative) = (stretch.mentions.max(0.0), stretch.negative.max(0.0));
        if stretch.flagged {
            let usual = self.expectation(0, stretch.cell, expected, pooled);
            let most = |mean: f64, dispersion: f64| {
                (mean + FLAGGED_TEACHES * (mean + dispersion * mean * mean).sqrt()).max(1.0)
            };
            mentions = mentions.min(most(expected, usual.dispersion.min(10.0)));
            negative = negative
                .min(most(mentions * share, 1.0 / usual.firmness))
                .min(mentions);
        }
        if exposure <= 0.0 && mentions <= 0.0 {
            return;
        }
        if self.is_taught() {
            let unsure = self.unsure(stretch.cell);
            for spread in &mut self.spreads {
                spread.pass(stretch, [expected, mentions, negative], share, unsure);
            }
        }
        // Of an hour in which 60 times this is expected, what varies from hour to hour is one observation.
        let hourly = 60.0 * expected / stretch.minutes.max(1) as f64;
        let slow = self
            .spreads
            .last()
            .map_or(COMMON_DISPERSION, Spread::dispersion);
        let weight = 1.0 / (1.0 + slow.min(COMMON_DISPERSION) * hourly);
        let weight = if self.is_taught() { weight } else { 1.0 };
        let rhythm = self.rhythm(stretch.cell).0;
        if let Some([events, usual]) = self
            .rhythm
            .as_mut()
            .and_then(|all| all.get_mut(stretch.cell))
        {
            *events += (weight * mentions) as f32;
            *usual += (weight * expected / rhythm) as f32;
        }
        self.events += weight * mentions;
        self.minutes += weight * exposure * rhythm;
        let slow = self
            .spreads
            .last()
            .map_or(COMMON_CONTAGION, Spread::contagion);
        let weight = 1.0 / (1.0 + slow * (60.0 * mentions / stretch.minutes.max(1) as f64));
        self.negative += weight * negative;
        self.of += weight * mentions;
        if self.rhythm.is_none() && self.events > RHYTHM_FROM {
            self.rhythm = Some(Box::new([[0.0; 2]; CELLS]));
        }
    }

    fn fade_to(&mut self, hour: i64) {
        let passed = hour - *self.hour.get_or_insert(hour);
        if passed <= 0 {
            return;
        }
        self.hour = Some(hour);
        let keep = |memory: f64| (-(passed as f64) / memory).exp();
        self.events *= keep(LEVEL_MEMORY);
        self.minutes *= keep(LEVEL_MEMORY);
        self.negative *= keep(SHARE_MEMORY);
        self.of *= keep(SHARE_MEMORY);
        let kept = keep(SPREAD_MEMORY);
        for spread in &mut self.spreads {
            spread.sums = spread.sums.map(|sum| sum * kept);
        }
        // The rhythm fades once a day, which is soon enough.
        let days = hour.div_euclid(24) - (hour - passed).div_euclid(24);
        if let Some(all) = self.rhythm.as_mut().filter(|_| days > 0) {
            let kept = (-(days as f64) * 24.0 / RHYTHM_MEMORY).exp() as f32;
            for [events, expected] in all.iter_mut() {
                *events *= kept;
                *expected *= kept;
            }
        }
    }

    pub fn save(&self) -> BaselineSnapshot {
        let spreads = self.spreads.iter().flat_map(|spread| {
            let whole = [spread.length as f64, spread.window as f64];
            whole.into_iter().chain(spread.filling).chain(spread.sums)
        });
        let sums = [self.events, self.minutes, self.negative, self.of];
        let hour = self.hour.map_or(f64::NAN, |hour| hour as f64);
        BaselineSnapshot {
            numbers: Packed(std::iter::once(hour).chain(sums).chain(spreads).collect()),
            rhythm: self
                .rhythm
                .as_ref()
                .map(|all| Packed(all.iter().flatten().copied().collect())),
        }
    }

    /// A baseline as it was saved, for other horizons too: those that are new know nothing.
    ///
    /// # Errors
    /// What does not fit together.
    pub fn restore(saved: BaselineSnapshot, horizons: &[i64]) -> Result<Self, String> {
        let [hour, events, minutes, negative, of, spreads @ ..] = &saved.numbers.0[..] else {
            return Err("a baseline is too short".to_owned());
        };
        if [events, minutes, negative, of]
            .iter()
            .any(|sum| !(sum.is_finite() && **sum >= 0.0))
        {
            return Err("a baseline holds what is no number".to_owned());
        }
        let known: Vec<Spread> = spreads.chunks_exact(9).map(Spread::restore).collect();
        let of_length = |length: &i64| {
            let same = known.iter().find(|spread| spread.length == *length);
            same.cloned().unwrap_or_else(|| Spread::new(*length))
        };
        let rhythm = match saved.rhythm {
            None => None,
            Some(packed) if packed.0.len() == 2 * CELLS => {
                let mut all = Box::new([[0.0; 2]; CELLS]);
                for (pair, saved) in all.iter_mut().zip(packed.0.chunks_exact(2)) {
                    pair.copy_from_slice(saved);
                }
                Some(all)
            }
            Some(_) => return Err("a rhythm has not as many hours as the week".to_owned()),
        };
        Ok(Self {
            events: *events,
            minutes: *minutes,
            negative: *negative,
            of: *of,
            rhythm,
            spreads: horizons.iter().map(of_length).collect(),
            hour: (!hour.is_nan()).then_some(*hour as i64),
        })
    }
}

impl Spread {
    fn new(length: i64) -> Self {
        Self {
            length: length.max(1),
            window: i64::MIN,
            filling: [0.0; 3],
            sums: [0.0; 4],
        }
    }

    fn restore(saved: &[f64]) -> Self {
        let number = |index: usize| saved.get(index).copied().unwrap_or(0.0);
        Self {
            length: (number(0) as i64).max(1),
            window: number(1) as i64,
            filling: [2, 3, 4].map(number),
            sums: [5, 6, 7, 8].map(number),
        }
    }

    fn dispersion(&self) -> f64 {
        let [excess, squares, ..] = self.sums;
        ((excess + COMMON_PAIRS * COMMON_DISPERSION) / (squares + COMMON_PAIRS)).clamp(0.0, 100.0)
    }

    fn contagion(&self) -> f64 {
        let [.., excess, squares] = self.sums;
        ((excess + COMMON_SHARE_PAIRS * COMMON_CONTAGION) / (squares + COMMON_SHARE_PAIRS))
            .clamp(1e-4, 1.0)
    }

    /// Minutes pass, in which so many mentions were expected, seen, and seen negative. How unsure the expectation is
    /// explains part of what they differ by.
    fn pass(&mut self, stretch: &Stretch, seen: [f64; 3], share: f64, unsure: f64) {
        let end = stretch.minute + stretch.minutes.max(1);
        let mut minute = stretch.minute;
        let a_minute = seen.map(|sum| sum / (end - minute) as f64);
        while minute < end {
            let window = minute.div_euclid(self.length);
            if window != self.window {
                self.close(1.0, share, unsure);
                self.window = window;
            }
            let whole = (end - minute) / self.length;
            if whole > 1 && minute == window * self.length {
                // All but the last of many equal windows at once.
                self.filling = a_minute.map(|sum| sum * self.length as f64);
                self.close((whole - 1) as f64, share, unsure);
                minute += (whole - 1) * self.length;
                continue;
            }
            let until = end.min((window + 1) * self.length);
            for (sum, more) in self.filling.iter_mut().zip(a_minute) {
                *sum += more * (until - minute) as f64;
            }
            minute = until;
        }
    }

    fn close(&mut self, windows: f64, share: f64, unsure: f64) {
        let [expected, seen, negative] = std::mem::take(&mut self.filling);
        if expected <= 0.0 {
            return;
        }
        let binomial = share * (1.0 - share);
        let deviations = [
            (seen - expected).powi(2) - expected - unsure * expected * expected,
            expected * expected,
            (negative - share * seen).powi(2) - binomial * seen,
            binomial * seen * (seen - 1.0).max(0.0),
        ];
        for (sum, more) in self.sums.iter_mut().zip(deviations) {
            *sum += windows * more;
        }
    }
}

#[cfg(test)]
#[path = "tests/baseline.rs"]
mod tests;
