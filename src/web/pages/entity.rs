//! One entity: its figures now, its hours as charts and as a table, its alerts, its latest posts.

use super::{alert, parts};
use crate::domain::{EntityId, ScoredPost, Sentiment};
use crate::store::{AlertQuery, PostQuery, TimelinePoint};
use crate::web::api::{minute_after, unknown_entity};
use crate::web::charts::{self, Axis};
use crate::web::overview::{overview, row};
use crate::web::parameters::Parameters;
use crate::web::server::Squall;
use crate::web::{Problem, words};
use axum::extract::{Path, State};
use axum::response::Html;
use maud::{Markup, html};
use std::time::Duration;

/// Hours that can be looked at, and minutes a step for each.
const SPANS: [(u64, u64); 3] = [(2, 1), (6, 5), (24, 15)];
/// Posts a page.
const POSTS: usize = 30;

/// `GET /entities/{id}?hours&before`
pub async fn entity(
    State(shared): Squall,
    Path(id): Path<String>,
    mut parameters: Parameters,
) -> Result<Html<String>, Problem> {
    let (hours, minutes) = span(parameters.text("hours")?.as_deref());
    let before = parameters.time("before")?;
    let overview = overview(&shared).await?;
    let now = overview.as_of.unwrap_or_default();
    let step = Duration::from_secs(60 * minutes);
    let to = (minute_after(now) - Duration::from_millis(1)).floor(step) + step;
    let axis = Axis {
        from: to - Duration::from_secs(3600 * hours),
        to,
        step,
    };
    let entity = EntityId::from(id.as_str());
    let store = &shared.web.store;
    let query = PostQuery {
        entity: Some(entity.clone()),
        before,
        limit: POSTS,
        ..PostQuery::default()
    };
    let posts = store.posts(&query).await?;
    let known = (shared.web.entities)(&entity).is_some();
    if !known && before.is_none() && posts.is_empty() {
        return Err(unknown_entity(&id));
    }
    let points = store
        .timeline(&entity, axis.from, axis.to, axis.step)
        .await?;
    let query = AlertQuery {
        entity: Some(entity.clone()),
        limit: 20,
        ..AlertQuery::default()
    };
    let alerts = store.alerts(&query).await?;
    let ranked = overview.entities.iter().find(|row| row.id == entity);
    let row = ranked
        .cloned()
        .unwrap_or_else(|| row(&shared, entity.clone()));
    let path = format!("/entities/{}", words::segment(&id));
    let main = html! {
        nav class="trail" aria-label="Trail" { a href="/" { "Overview" } " / Entity" }
        div class="page-head" {
            h1 { (row.name) }
            p class="sub" { (row.id) @if !row.sector.is_empty() { " · " (row.sector) } }
        }
        dl class="figures" {
            div { dt { "Mentions, 15 min" } dd { (words::count(row.recent.mentions)) } }
            div { dt { "Negative" } dd { (words::count(row.recent.negative)) " " @if let Some(expected) = row.expected { small { (words::rate(expected)) " expected" } } } }
            div { dt { "By chance" } dd { (parts::chance(&row)) } }
            div { dt { "Mean score" } dd { (parts::mean(&row.recent)) } }
        }
        section aria-labelledby="time-title" {
            div class="section-head" {
                h2 id="time-title" { "The last " (hours) " hours" }
                nav aria-label="Length of time" class="choices" {
                    @for (choice, _) in SPANS {
                        a href={ (path) "?hours=" (choice) } aria-current=[(choice == hours).then_some("true")] { (choice) " h" }
                    }
                }
            }
            (timeline(&axis, &points, minutes))
        }
        @if !alerts.is_empty() {
            section aria-labelledby="alerts-title" {
                h2 id="alerts-title" { "Alerts" }
                (alert::list(&shared, &alerts, now))
            }
        }
        section aria-labelledby="posts-title" {
            h2 id="posts-title" { @if before.is_some() { "Earlier posts" } @else { "Latest posts" } }
            @if posts.is_empty() { p class="empty" { "No posts." } }
            (parts::posts(&posts, now, |post| sentiment(post, &entity)))
            @if let Some(last) = posts.last().filter(|_| posts.len() == POSTS) {
                p { a href={ (path) "?hours=" (hours) "&before=" (words::segment(&last.event_time.to_string())) "#posts-title" } { "Earlier posts" } }
            }
        }
    };
    Ok(super::page(&shared, &overview, &row.name, &main))
}

fn span(hours: Option<&str>) -> (u64, u64) {
    let wanted = hours.and_then(|hours| hours.parse().ok());
    SPANS
        .into_iter()
        .find(|(hours, _)| Some(*hours) == wanted)
        .unwrap_or(SPANS[1])
}

fn sentiment(post: &ScoredPost, entity: &EntityId) -> Option<Sentiment> {
    let mention = post
        .mentions
        .iter()
        .find(|mention| mention.entity == *entity)?;
    mention.sentiment
}

fn timeline(axis: &Axis, points: &[TimelinePoint], minutes: u64) -> Markup {
    let each = match minutes {
        1 => "minute".to_owned(),
        minutes => format!("{minutes} minutes"),
    };
    let volume = format!("Mentions per {each}, negative ones marked");
    let score = format!("Mean score per {each}");
    html! {
        div class="charts" {
            figure {
                figcaption { "Mentions per " (each) span class="key" { span class="key-bar" {} "all" span class="key-bar negative" {} "negative" } }
                (charts::bar_chart(axis, &volume, &parts::bars(axis, points)))
            }
            figure {
                figcaption { (score) }
                (charts::score_chart(axis, &score, &parts::scores(axis, points)))
            }
        }
        details id="table" {
            summary { "The same as a table" }
            table class="data" {
                caption class="unseen" { "Mentions and mean score per " (each) ", latest first" }
                thead { tr { th scope="col" { "From" } th scope="col" class="number" { "Mentions" } th scope="col" class="number" { "Negative" } th scope="col" class="number" { "Positive" } th scope="col" class="number" { "Mean score" } } }
                tbody {
                    @for point in points.iter().rev() {
                        tr {
                            th scope="row" { (parts::time_or_day(point.start, axis.to)) }
                            td class="number" { (words::count(point.totals.mentions)) }
                            td class="number" { (words::count(point.totals.negative)) }
                            td class="number" { (words::count(point.totals.positive)) }
                            td class="number" { (parts::mean(&point.totals)) }
                        }
                    }
                }
            }
        }
    }
}
