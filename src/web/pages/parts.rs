//! Parts that several pages show.

use crate::domain::{AlertKind, PostStatus, ScoredPost, Sentiment, Severity, Timestamp};
use crate::store::{MentionTotals, TimelinePoint};
use crate::web::charts::{Axis, Bar, Point};
use crate::web::overview::Row;
use crate::web::words;
use maud::{Markup, html};

pub fn logo() -> Markup {
    html! {
        svg class="logo" viewBox="0 0 24 24" aria-hidden="true" {
            path d="M2 9h11.5a3 3 0 1 0-2.6-4.5M2 13h16.5a3 3 0 1 1-2.6 4.5M2 17h8a2.5 2.5 0 1 1-2.2 3.7" {}
        }
    }
}

/// Severity as a shape and a word, so that nobody needs the colour.
pub fn severity(severity: Severity) -> Markup {
    let (shape, word) = match severity {
        Severity::Critical => (
            "M7.6 1.5h8.8l6.1 6.1v8.8l-6.1 6.1H7.6l-6.1-6.1V7.6z",
            "Critical",
        ),
        Severity::Warning => ("M12 2 23 21.5H1z", "Warning"),
    };
    html! {
        span class={ "severity " (severity.name()) } {
            svg viewBox="0 0 24 24" aria-hidden="true" {
                path class="shape" d=(shape) {}
                path class="mark" d=(if severity == Severity::Critical { "M12 6v7.5M12 17v.5" } else { "M12 9v6M12 18v.3" }) {}
            }
            (word)
        }
    }
}

/// What became of an alert, where it is over.
pub fn ending(kind: AlertKind) -> &'static str {
    match kind {
        AlertKind::Opened | AlertKind::Updated => "open",
        AlertKind::Resolved => "resolved",
        AlertKind::Retracted => "retracted: its evidence was taken back",
    }
}

/// The end of an alert as a word of its own.
pub fn ended(kind: AlertKind) -> Markup {
    let word = match kind {
        AlertKind::Opened | AlertKind::Updated => return html! {},
        AlertKind::Resolved => "Resolved",
        AlertKind::Retracted => "Retracted",
    };
    html! { span class="end" { (word) } }
}

/// How rarely chance does as much, where there is something to compare with.
pub fn chance(row: &Row) -> String {
    row.expected
        .map_or_else(|| "–".into(), |_| words::chance(row.p_value))
}

/// A score, coloured by its side.
pub fn score(score: f64) -> Markup {
    html! { span class={ "score " (side(score)) } { (words::score(score)) } }
}

/// The mean of totals, or a dash.
pub fn mean(totals: &MentionTotals) -> Markup {
    match totals.mean_score() {
        Some(mean) => score(mean),
        None => html! { span class="score" { "–" } },
    }
}

fn side(score: f64) -> &'static str {
    match score {
        _ if score <= -0.1 => "negative",
        _ if score >= 0.1 => "positive",
        _ => "neutral",
    }
}

pub fn time(instant: Timestamp) -> Markup {
    html! { time datetime=(instant) title={ (words::moment(instant)) " UTC" } { (words::clock(instant)) } }
}

/// With its day where that is not the day of `now`.
pub fn time_or_day(instant: Timestamp, now: Timestamp) -> Markup {
    if words::day(instant) == words::day(now) {
        return time(instant);
    }
    html! { time datetime=(instant) { (words::moment(instant)) } }
}

/// A text that leads to where it came from, if that is a web page.
pub fn outside(text: &str, url: Option<&str>) -> Markup {
    match url.and_then(words::web_address) {
        Some(url) => html! { a href=(url) rel="noopener noreferrer nofollow" { (text) } },
        None => html! { (text) },
    }
}

/// Posts, each with the sentiment that `sentiment` picks.
pub fn posts(
    posts: &[ScoredPost],
    now: Timestamp,
    sentiment: impl Fn(&ScoredPost) -> Option<Sentiment>,
) -> Markup {
    html! {
        ol class="posts" {
            @for post in posts {
                @let sentiment = sentiment(post);
                @let headline = if post.title.is_empty() { words::shortened(&post.text, 200) } else { words::shortened(&post.title, 200) };
                li id={ "post-" (post.origin) } {
                    div class="post-score" {
                        @match sentiment {
                            Some(sentiment) => { (score(sentiment.score().into())) span class="label" { (sentiment.label()) } }
                            None => { span class="score" title={ "language " (post.lang) } { "not scored" } }
                        }
                    }
                    div {
                        p class="headline" { (outside(&headline, post.url.as_deref())) }
                        @if !post.title.is_empty() && !post.text.is_empty() { p class="excerpt" { (words::shortened(&post.text, 240)) } }
                        p class="origin" {
                            (time_or_day(post.event_time, now)) " · " (post.source)
                            @if post.channel != post.source { " · " (post.channel) }
                            @if let Some(author) = &post.author {
                                " · " (author.id)
                                @if let Some(followers) = author.followers { " (" (words::count(followers)) " followers)" }
                            }
                            @match post.status {
                                PostStatus::Live => {}
                                PostStatus::Corrected => { " · " b { "correction" } }
                                PostStatus::Retracted => { " · " b { "retraction" } }
                            }
                        }
                    }
                }
            }
        }
    }
}

/// Volume of a timeline as bars.
pub fn bars(axis: &Axis, points: &[TimelinePoint]) -> Vec<Bar> {
    points
        .iter()
        .map(|point| Bar {
            start: point.start,
            total: point.totals.mentions,
            negative: point.totals.negative,
            hint: hint(axis, point),
        })
        .collect()
}

/// Mean scores of a timeline.
pub fn scores(axis: &Axis, points: &[TimelinePoint]) -> Vec<Point> {
    points
        .iter()
        .filter_map(|point| {
            Some(Point {
                start: point.start,
                score: point.totals.mean_score()?,
                hint: hint(axis, point),
            })
        })
        .collect()
}

fn hint(axis: &Axis, point: &TimelinePoint) -> String {
    let totals = &point.totals;
    format!(
        "{}–{}: {} mentions, {} negative, mean score {}",
        words::clock(point.start),
        words::clock(point.start + axis.step),
        words::count(totals.mentions),
        words::count(totals.negative),
        totals.mean_score().map_or_else(|| "–".into(), words::score),
    )
}
