//! Posts over time as bars, an SVG inside the page.

use super::text::{grouped, minute};
use super::{CampaignReport, HOUR};
use crate::domain::Timestamp;
use maud::{Markup, html};
use std::collections::BTreeMap;
use std::time::Duration;

/// Bars at most; hours are joined where there would be more.
const MAX_BARS: u64 = 240;
/// Steps that people count in, in hours.
const STEPS: [u64; 7] = [1, 2, 3, 6, 12, 24, 168];

const WIDTH: f64 = 720.0;
const HEIGHT: f64 = 160.0;

/// Posts by steps of time; steps without posts are left out.
#[derive(Debug, PartialEq)]
pub struct Bars {
    /// Length of a step.
    pub step: Duration,
    /// Beginning of each step and its posts.
    pub posts: BTreeMap<Timestamp, u64>,
}

/// Posts of all channels, in steps so long that the whole time has at most [`MAX_BARS`] of them.
pub fn bars(report: &CampaignReport) -> Bars {
    let first = report
        .hours
        .first()
        .map_or(Timestamp::EPOCH, |hour| hour.hour);
    let last = report.hours.last().map_or(first, |hour| hour.hour);
    let hours = last.since(first).as_secs() / HOUR.as_secs() + 1;
    let fits = |step: &u64| hours.div_ceil(*step) < MAX_BARS;
    let step = STEPS.into_iter().find(fits);
    let step = HOUR * step.unwrap_or(hours.div_ceil(MAX_BARS - 1)) as u32;
    let mut posts = BTreeMap::new();
    for hour in &report.hours {
        *posts.entry(hour.hour.floor(step)).or_default() += hour.reach.posts;
    }
    Bars { step, posts }
}

/// The chart with its caption.
pub fn chart(report: &CampaignReport) -> Markup {
    let Bars { step, posts } = bars(report);
    let (Some((first, _)), Some((last, _))) = (posts.first_key_value(), posts.last_key_value())
    else {
        return html! {};
    };
    let (first, last) = (*first, *last);
    let highest = posts.values().copied().max().unwrap_or(1);
    let steps = last.since(first).as_secs_f64() / step.as_secs_f64() + 1.0;
    // A few bars stay slim, and stand to the left.
    let width = (WIDTH / steps).min(40.0);
    let bar = |start: Timestamp, count: u64| {
        let x = start.since(first).as_secs_f64() / step.as_secs_f64() * width;
        let height = (count as f64 / highest as f64 * HEIGHT).max(1.0);
        html! {
            rect x=(format!("{x:.2}")) y=(format!("{:.2}", HEIGHT - height))
                width=(format!("{:.2}", (width * 0.86).max(0.5))) height=(format!("{height:.2}")) {
                title { (minute(start)) ": " (grouped(Some(count))) " posts" }
            }
        }
    };
    let caption = format!("Posts per {}", step_name(step));
    let summary = format!(
        "{caption}, {} to {} UTC, at most {}",
        minute(first),
        minute(last),
        grouped(Some(highest))
    );
    html! {
        figure {
            figcaption { (caption) ", highest " (grouped(Some(highest))) }
            svg viewBox=(format!("0 0 {WIDTH} {HEIGHT}")) preserveAspectRatio="none" role="img" aria-label=(summary) {
                @for (start, count) in &posts { (bar(*start, *count)) }
            }
            div.axis {
                span { (minute(first)) }
                @if last > first { span { "last " (minute(last)) " UTC" } }
            }
        }
    }
}

fn step_name(step: Duration) -> String {
    match step.as_secs() / HOUR.as_secs() {
        1 => "hour".into(),
        24 => "day".into(),
        168 => "week".into(),
        hours => format!("{hours} hours"),
    }
}
