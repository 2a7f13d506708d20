//! Charts as inline SVG, styled by classes. Pure.
//!
//! The plot of a chart is one `<svg>` stretched to its box, one unit wide a step and 100 high, so it fits
//! any screen; its labels stand in neighbours that are not stretched. Steps without data are gaps. No
//! attribute is ever written from a number that is not finite.

use super::{ticks, words};
use crate::domain::{PictureStep, Timestamp};
use maud::{Markup, html};
use std::fmt::Write;
use std::time::Duration;

/// Height of a plot in CSS pixels, as `squall.css` has it.
const HEIGHT: f64 = 150.0;
/// Most steps of an axis; what lies behind is not drawn.
const MAX_STEPS: u128 = 2000;

/// The time axis of a chart.
#[derive(Debug, Clone, Copy)]
pub struct Axis {
    /// Its beginning.
    pub from: Timestamp,
    /// Its end.
    pub to: Timestamp,
    /// Length of one step.
    pub step: Duration,
}

/// One step of a chart of counts.
#[derive(Debug, Clone)]
pub struct Bar {
    /// Start of the step.
    pub start: Timestamp,
    /// Height of the bar.
    pub total: u64,
    /// The part of it that is negative.
    pub negative: u64,
    /// Shown when pointed at.
    pub hint: String,
}

/// One step of a chart of scores.
#[derive(Debug, Clone)]
pub struct Point {
    /// Start of the step.
    pub start: Timestamp,
    /// In [-1, 1].
    pub score: f64,
    /// Shown when pointed at.
    pub hint: String,
}

impl Axis {
    fn steps(&self) -> usize {
        let step = self.step.as_millis().max(1);
        (self.to.since(self.from).as_millis().div_ceil(step)).clamp(1, MAX_STEPS) as usize
    }

    /// Which step an instant lies in.
    fn place(&self, instant: Timestamp) -> Option<usize> {
        if instant < self.from {
            return None;
        }
        let place = instant.since(self.from).as_millis() / self.step.as_millis().max(1);
        (place < self.steps() as u128).then_some(place as usize)
    }
}

/// Counts a step as bars, their negative part marked.
pub fn bar_chart(axis: &Axis, title: &str, bars: &[Bar]) -> Markup {
    let bars = placed(axis, bars, |bar| bar.start);
    let highest = bars.iter().map(|(_, bar)| bar.total).max().unwrap_or(0);
    let ticks = ticks::counts(highest);
    let top = ticks.last().copied().unwrap_or(1).max(1);
    let height = |count: u64| 100.0 * count as f64 / top as f64;
    let plot = html! {
        @for tick in &ticks { (gridline(axis, 100.0 - height(*tick), *tick == 0)) }
        @for (place, bar) in &bars { (bar_of(*place, height(bar.total), height(bar.negative.min(bar.total)))) }
        @for (place, bar) in &bars { (hint(*place, &bar.hint)) }
    };
    let labels = ticks
        .iter()
        .map(|tick| (100.0 - height(*tick), words::count(*tick)));
    frame(axis, title, &plot, labels.collect())
}

/// Negative mentions a step as bars, a line at what was expected, and one that few steps exceed.
pub fn against_chart(title: &str, picture: &[PictureStep]) -> Markup {
    let (Some(first), Some(last)) = (picture.first(), picture.last()) else {
        return html! {};
    };
    let step = Duration::from_secs(300);
    let axis = Axis {
        from: first.start,
        to: last.start + step,
        step,
    };
    let steps = placed(&axis, picture, |step| step.start);
    let greatest = |step: &PictureStep| f64::from(step.negative).max(step.high.min(1e9));
    let highest = steps
        .iter()
        .map(|(_, step)| greatest(step))
        .fold(1.0, f64::max);
    let ticks = ticks::counts(highest.ceil() as u64);
    let top = ticks.last().copied().unwrap_or(1).max(1) as f64;
    let level = |count: f64| 100.0 - 100.0 * (count / top).clamp(0.0, 1.0);
    let path = |of: fn(&PictureStep) -> f64| {
        steps.iter().fold(String::new(), |mut path, (place, step)| {
            let (level, word) = (
                short(level(of(step))),
                if path.is_empty() { 'M' } else { 'L' },
            );
            let _ = write!(path, "{word}{place} {level}H{}", place + 1);
            path
        })
    };
    let plot = html! {
        @for tick in &ticks { (gridline(&axis, level(*tick as f64), *tick == 0)) }
        @for (place, step) in &steps { (bar_of(*place, 0.0, 100.0 - level(f64::from(step.negative)))) }
        path class="line" d=(path(|step| step.expected)) {}
        path class="line" stroke-dasharray="4 3" d=(path(|step| step.high)) {}
        @for (place, step) in &steps {
            (hint(*place, &format!("{} negative of {}, {} expected", step.negative, step.mentions, words::rate(step.expected))))
        }
    };
    let labels = ticks
        .iter()
        .map(|tick| (level(*tick as f64), words::count(*tick)));
    frame(&axis, title, &plot, labels.collect())
}

/// Mean scores a step as a line about zero, the ground between coloured by its side.
pub fn score_chart(axis: &Axis, title: &str, points: &[Point]) -> Markup {
    let points = scored(axis, points);
    let plot = html! {
        @for level in [0.0, 50.0, 100.0] { (gridline(axis, level, level == 50.0)) }
        (grounds(axis, &points))
        path class="line" d=(line(&points)) {}
        path class="line dots" d=(dots(&points)) {}
        @for (place, point) in &points { (hint(*place, &point.hint)) }
    };
    let labels = vec![
        (0.0, "+1".to_owned()),
        (50.0, "0".to_owned()),
        (100.0, "−1".to_owned()),
    ];
    frame(axis, title, &plot, labels)
}

/// Volume and score of one entity at a glance: no labels, the table around it tells the rest.
pub fn sparkline(axis: &Axis, title: &str, bars: &[Bar], points: &[Point]) -> Markup {
    let bars = placed(axis, bars, |bar| bar.start);
    let highest = bars
        .iter()
        .map(|(_, bar)| bar.total)
        .max()
        .unwrap_or(0)
        .max(1);
    let height = |count: u64| 100.0 * count as f64 / highest as f64;
    html! {
        span class="spark" {
            svg viewBox=(view(axis, 100)) preserveAspectRatio="none" role="img" aria-label=(title) {
                @for (place, bar) in &bars { (bar_of(*place, height(bar.total), height(bar.negative.min(bar.total)))) }
            }
            svg viewBox=(view(axis, 100)) preserveAspectRatio="none" aria-hidden="true" {
                (gridline(axis, 50.0, true))
                @for (place, point) in scored(axis, points) { (score_bar(place, point.score.clamp(-1.0, 1.0))) }
            }
        }
    }
}

/// A number in [0, 1] as a bar.
pub fn meter(part: f64, class: &str) -> Markup {
    let part = if part.is_finite() {
        part.clamp(0.0, 1.0)
    } else {
        0.0
    };
    html! {
        svg class="meter" viewBox="0 0 100 4" preserveAspectRatio="none" aria-hidden="true" {
            rect class="meter-ground" width="100" height="4" {}
            rect class=(class) width=(short(100.0 * part)) height="4" {}
        }
    }
}

fn frame(axis: &Axis, title: &str, plot: &Markup, labels: Vec<(f64, String)>) -> Markup {
    html! {
        div class="chart" {
            svg class="chart-scale" aria-hidden="true" {
                @for (level, label) in &labels {
                    text x="100%" y=(short(level * HEIGHT / 100.0 + 4.0)) text-anchor="end" { (label) }
                }
            }
            svg class="chart-plot" viewBox=(view(axis, 100)) preserveAspectRatio="none" role="img" aria-label=(title) { (plot) }
            svg class="chart-times" aria-hidden="true" {
                @for (part, label) in ticks::times(axis.from, axis.step * axis.steps() as u32, 6) {
                    text x=(format!("{}%", short(100.0 * part))) y="18" text-anchor="middle" { (label) }
                }
            }
        }
    }
}

fn view(axis: &Axis, height: u32) -> String {
    format!("0 0 {} {height}", axis.steps())
}

fn gridline(axis: &Axis, level: f64, zero: bool) -> Markup {
    let class = if zero { "zero" } else { "grid" };
    html! { line class=(class) x1="0" x2=(axis.steps()) y1=(short(level)) y2=(short(level)) {} }
}

fn bar_of(place: usize, total: f64, negative: f64) -> Markup {
    let x = short(place as f64 + 0.1);
    html! {
        @if total > negative { rect class="bar" x=(x) width="0.8" y=(short(100.0 - total)) height=(short(total - negative)) {} }
        @if negative > 0.0 {
            rect class="bar negative" x=(x) width="0.8" y=(short(100.0 - negative)) height=(short(negative)) {}
        }
    }
}

fn score_bar(place: usize, score: f64) -> Markup {
    let (side, top) = if score < 0.0 {
        ("negative", 50.0)
    } else {
        ("positive", 50.0 - 50.0 * score)
    };
    html! { rect class={ "bar " (side) } x=(short(place as f64 + 0.1)) width="0.8" y=(short(top)) height=(short(50.0 * score.abs())) {} }
}

fn hint(place: usize, text: &str) -> Markup {
    html! { rect class="hint" x=(place) width="1" y="0" height="100" { title { (text) } } }
}

/// The ground between the line and zero: the upper half of the plot shows what is positive of it, the
/// lower half what is negative. A nested `<svg>` clips what leaves it.
fn grounds(axis: &Axis, points: &[(usize, &Point)]) -> Markup {
    let ground = ground(points);
    let steps = axis.steps();
    html! {
        svg x="0" y="0" width=(steps) height="50" viewBox=(format!("0 0 {steps} 50")) preserveAspectRatio="none" {
            path class="ground positive" d=(ground) {}
        }
        svg x="0" y="50" width=(steps) height="50" viewBox=(format!("0 50 {steps} 50")) preserveAspectRatio="none" {
            path class="ground negative" d=(ground) {}
        }
    }
}

/// What can be drawn, with its place, in order of time.
fn placed<'a, T>(
    axis: &Axis,
    items: &'a [T],
    start: impl Fn(&T) -> Timestamp,
) -> Vec<(usize, &'a T)> {
    let mut placed: Vec<_> = items
        .iter()
        .filter_map(|item| Some((axis.place(start(item))?, item)))
        .collect();
    placed.sort_by_key(|(place, _)| *place);
    placed.dedup_by_key(|(place, _)| *place);
    placed
}

fn scored<'a>(axis: &Axis, points: &'a [Point]) -> Vec<(usize, &'a Point)> {
    let mut points = placed(axis, points, |point| point.start);
    points.retain(|(_, point)| point.score.is_finite());
    points
}

fn level(point: &Point) -> String {
    short(50.0 - 50.0 * point.score.clamp(-1.0, 1.0))
}

/// Runs of neighbouring steps.
fn runs<'a, 'b>(
    points: &'a [(usize, &'b Point)],
) -> impl Iterator<Item = &'a [(usize, &'b Point)]> {
    points.chunk_by(|(place, _), (next, _)| *next == place + 1)
}

/// A line through each run of two and more.
fn line(points: &[(usize, &Point)]) -> String {
    let mut path = String::new();
    for run in runs(points).filter(|run| run.len() > 1) {
        for (i, (place, point)) in run.iter().enumerate() {
            let letter = if i == 0 { 'M' } else { 'L' };
            let _ = write!(path, "{letter}{place}.5 {}", level(point));
        }
    }
    path
}

/// A dot for each step that stands alone.
fn dots(points: &[(usize, &Point)]) -> String {
    let mut path = String::new();
    for run in runs(points).filter(|run| run.len() == 1) {
        let _ = write!(path, "M{}.5 {}h0", run[0].0, level(run[0].1));
    }
    path
}

fn ground(points: &[(usize, &Point)]) -> String {
    let mut path = String::new();
    for run in runs(points) {
        let (first, last) = (run[0].0, run[run.len() - 1].0);
        let _ = write!(path, "M{first}.5 50");
        for (place, point) in run {
            let _ = write!(path, "L{place}.5 {}", level(point));
        }
        let _ = write!(path, "L{last}.5 50Z");
    }
    path
}

/// A finite number with two decimals at most.
fn short(number: f64) -> String {
    let number = if number.is_finite() { number } else { 0.0 };
    let text = format!("{number:.2}");
    let text = text.trim_end_matches('0').trim_end_matches('.');
    if text == "-0" {
        "0".into()
    } else {
        text.into()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn axis(from: i64, minutes: u64, steps: u64) -> Axis {
        let from = Timestamp::from_millis(from);
        let step = Duration::from_secs(60 * minutes);
        Axis {
            from,
            to: from + step * steps as u32,
            step,
        }
    }

    fn point(axis: &Axis, place: u32, score: f64) -> Point {
        Point {
            start: axis.from + axis.step * place,
            score,
            hint: String::new(),
        }
    }

    #[test]
    fn a_step_without_data_breaks_the_line() {
        let axis = axis(0, 5, 10);
        let points = [0, 1, 3].map(|place| point(&axis, place, 0.0));
        assert_eq!(line(&scored(&axis, &points)), "M0.5 50L1.5 50");
        assert_eq!(dots(&scored(&axis, &points)), "M3.5 50h0");
        assert_eq!(
            ground(&scored(&axis, &points)),
            "M0.5 50L0.5 50L1.5 50L1.5 50ZM3.5 50L3.5 50L3.5 50Z"
        );
    }

    #[test]
    fn hints_and_titles_are_escaped() {
        let axis = axis(0, 5, 10);
        let bar = Bar {
            start: axis.from,
            total: 1,
            negative: 0,
            hint: "<script>".into(),
        };
        let svg = bar_chart(&axis, "\"<b>", &[bar]).into_string();
        assert!(!svg.contains("<script>") && !svg.contains("<b>"), "{svg}");
    }

    proptest! {
        #[test]
        fn whatever_the_data_every_number_is_finite(
            from in any::<i64>(),
            minutes in 0u64..100_000,
            steps in 0u64..3000,
            data in proptest::collection::vec((any::<i64>(), any::<u64>(), any::<u64>(), any::<f64>()), 0..30),
        ) {
            let axis = axis(from, minutes, steps);
            let start = |time: i64| Timestamp::from_millis(axis.from.millis().saturating_add(time % 10_000_000_000));
            let bars: Vec<Bar> = data
                .iter()
                .map(|(time, total, negative, _)| Bar { start: start(*time), total: *total, negative: *negative, hint: String::new() })
                .collect();
            let points: Vec<Point> = data
                .iter()
                .map(|(time, _, _, score)| Point { start: start(*time), score: *score, hint: String::new() })
                .collect();
            for svg in [
                bar_chart(&axis, "", &bars),
                score_chart(&axis, "", &points),
                sparkline(&axis, "", &bars, &points),
                meter(data.first().map_or(f64::NAN, |each| each.3), ""),
            ] {
                let svg = svg.into_string();
                prop_assert!(!svg.contains("NaN") && !svg.contains("inf"), "{}", svg);
                prop_assert!(!svg.contains("height=\"-") && !svg.contains("width=\"-"), "{}", svg);
            }
        }
    }
}
