//! The front page: what keeps alerts from arriving, alerts, then entities by surprise, then campaigns.

use super::{alert, endpoints, parts};
use crate::store::TimelinePoint;
use crate::web::Problem;
use crate::web::charts::{self, Axis};
use crate::web::overview::{Overview, QUARTER, Row, overview};
use crate::web::parameters::Parameters;
use crate::web::server::{Shared, Squall};
use crate::web::words;
use axum::extract::State;
use axum::http::HeaderMap;
use axum::response::Html;
use maud::{Markup, html};

/// Entities shown unless all are asked for.
const SHOWN: usize = 40;
/// Entities shown at most.
const ALL: usize = 400;
/// Alerts that are over, shown when unfolded.
const OVER: usize = 50;

/// `GET /?q&show`: `q` filters entities by name, id and sector; `show=all` lists them all.
pub async fn home(
    State(shared): Squall,
    headers: HeaderMap,
    mut parameters: Parameters,
) -> Result<Html<String>, Problem> {
    let filter = parameters.text("q")?.unwrap_or_default();
    let most = match parameters.text("show")?.as_deref() {
        Some("all") => ALL,
        _ => SHOWN,
    };
    let overview = overview(&shared).await?;
    let found: Vec<&Row> = overview
        .entities
        .iter()
        .filter(|row| matches(row, &filter))
        .collect();
    let rows = &found[..found.len().min(most)];
    let main = html! {
        h1 class="unseen" { "Overview" }
        (endpoints::disabled(&shared).await)
        (alerts(&shared, &overview, &headers))
        section id="entities" aria-labelledby="entities-title" {
            div class="section-head" {
                h2 id="entities-title" { "Entities" }
                p class="note" { "Open alerts first, then the most unusual: the last 15 minutes against the 6 hours before. “By chance”: how often so many negative mentions would come about anyway." }
                form class="filter" role="search" action="/#entities" {
                    label class="unseen" for="q" { "Filter by name, id or sector" }
                    input id="q" name="q" type="search" value=(filter) placeholder="Name, id or sector" autocomplete="off" data-filter;
                    button { "Filter" }
                }
            }
            @if rows.is_empty() {
                p class="empty" {
                    @if overview.as_of.is_none() { "No posts yet. Send some to a topic, or to " code { "POST /v1/posts" } "." }
                    @else if filter.is_empty() { "No entity was mentioned in the last hours." }
                    @else { "No entity of the last hours fits “" (filter) "”." }
                }
            } @else {
                (entities(&overview, rows))
            }
            @if found.len() > rows.len() {
                p { a href={ "/?show=all&q=" (words::segment(&filter)) "#entities" } { "Show all " (found.len()) } }
            }
        }
        (campaigns(&shared, &overview))
    };
    Ok(super::page(&shared, &overview, "Overview", &main))
}

fn matches(row: &Row, filter: &str) -> bool {
    let filter = filter.trim().to_lowercase();
    [row.name.as_str(), row.id.as_str(), row.sector.as_str()]
        .iter()
        .any(|text| text.to_lowercase().contains(&filter))
}

fn alerts(shared: &Shared, overview: &Overview, headers: &HeaderMap) -> Markup {
    let now = overview.as_of.unwrap_or_default();
    html! {
        section id="alerts" aria-labelledby="alerts-title" {
            div class="section-head" { h2 id="alerts-title" { "Alerts" } }
            @if overview.open.is_empty() {
                p class="empty" { "No open alerts." }
            } @else {
                div class="alerts" {
                    @for alert in &overview.open { (alert::card(shared, alert, now, headers)) }
                }
            }
            @if !overview.over.is_empty() {
                details id="over" class="over" {
                    summary { (overview.over.len()) " over" }
                    (alert::list(shared, &overview.over[..overview.over.len().min(OVER)], now))
                }
            }
        }
    }
}

fn entities(overview: &Overview, rows: &[&Row]) -> Markup {
    let (from, to) = overview.span();
    let axis = Axis {
        from,
        to,
        step: QUARTER,
    };
    html! {
        table class="cards entities" role="table" {
            caption class="unseen" { "Entities, those with an open alert and then the most unusual first" }
            thead role="rowgroup" {
                tr role="row" {
                    th scope="col" role="columnheader" { "Entity" }
                    th scope="col" role="columnheader" { "By chance" }
                    th scope="col" role="columnheader" class="number" { "Mentions" }
                    th scope="col" role="columnheader" class="number" { "Negative" }
                    th scope="col" role="columnheader" class="number" { "Expected" }
                    th scope="col" role="columnheader" class="number" { "Mean score" }
                    th scope="col" role="columnheader" { "Volume and score, 6 hours" }
                }
            }
            tbody role="rowgroup" {
                @for row in rows { (entity(&axis, row)) }
            }
        }
    }
}

fn entity(axis: &Axis, row: &Row) -> Markup {
    let points = &row.points[..];
    let surprise = -row.p_value.max(1e-300).log10();
    html! {
        tr role="row" id={ "entity-" (row.id) } {
            th scope="row" role="rowheader" {
                a href={ "/entities/" (words::segment(row.id.as_str())) } { (row.name) }
                @if let Some((severity, alert)) = &row.alert {
                    " " a class="flag" href={ "/alerts/" (words::segment(alert)) } { (parts::severity(*severity)) span class="unseen" { " alert, open" } }
                }
                span class="sub" { (row.id) @if !row.sector.is_empty() { " · " (row.sector) } }
            }
            td role="cell" data-label="By chance" class="chance" {
                span { (parts::chance(row)) }
                (charts::meter(surprise / 12.0, if surprise >= 6.0 { "high" } else { "low" }))
            }
            td role="cell" data-label="Mentions" class="number" { (words::count(row.recent.mentions)) }
            td role="cell" data-label="Negative" class="number" {
                (words::count(row.recent.negative))
                @if row.recent.negative > 0 { " " span class="sub" { (words::share(row.recent.negative, row.recent.mentions)) } }
            }
            td role="cell" data-label="Expected" class="number" { (words::rate(row.expected.unwrap_or(f64::NAN))) }
            td role="cell" data-label="Score" class="number" { (parts::mean(&row.recent)) }
            td role="cell" class="trend" {
                (charts::sparkline(axis, &trend(points), &parts::bars(axis, points), &parts::scores(axis, points)))
            }
        }
    }
}

fn trend(points: &[TimelinePoint]) -> String {
    let sum = |count: fn(&TimelinePoint) -> u64| words::count(points.iter().map(count).sum());
    format!(
        "{} mentions in 6 hours, {} of them negative",
        sum(|point| point.totals.mentions),
        sum(|point| point.totals.negative)
    )
}

fn campaigns(shared: &Shared, overview: &Overview) -> Markup {
    html! {
        section id="campaigns" aria-labelledby="campaigns-title" {
            div class="section-head" {
                h2 id="campaigns-title" { "Campaigns" }
                p class="note" { "The last 30 days." }
            }
            @if overview.campaigns.is_empty() {
                p class="empty" {
                    @if shared.web.campaigns.is_empty() { "No campaigns are configured: see " code { "[[campaigns]]" } "." }
                    @else { "No post of a campaign yet." }
                }
            } @else {
                table class="cards" role="table" {
                    caption class="unseen" { "Campaigns, most posts first" }
                    thead role="rowgroup" {
                        tr role="row" {
                            th scope="col" role="columnheader" { "Campaign" }
                            th scope="col" role="columnheader" class="number" { "Posts" }
                            th scope="col" role="columnheader" class="number" { "Contributors" }
                            th scope="col" role="columnheader" class="number" { "Potential audience" }
                            th scope="col" role="columnheader" class="number" { "Impressions observed" }
                            th scope="col" role="columnheader" class="number" { "Engagement" }
                            th scope="col" role="columnheader" class="number" { "Mean score" }
                            th scope="col" role="columnheader" { "Report" }
                        }
                    }
                    tbody role="rowgroup" {
                        @for (id, totals) in &overview.campaigns {
                            @let path = words::segment(id.as_str());
                            tr role="row" id={ "campaign-" (id) } {
                                th scope="row" role="rowheader" {
                                    a href={ "/campaigns/" (path) } { (super::campaign::name(&shared.web, id)) }
                                    span class="sub" { (id) }
                                }
                                td role="cell" class="number" data-label="Posts" { (words::count(totals.posts)) }
                                td role="cell" class="number" data-label="Contributors" { (super::campaign::contributors(totals)) }
                                td role="cell" class="number" data-label="Potential audience" { (super::campaign::audience(totals)) }
                                td role="cell" class="number" data-label="Impressions observed" { (super::campaign::impressions(totals)) }
                                td role="cell" class="number" data-label="Engagement" { (words::count(super::campaign::engagement(totals))) }
                                td role="cell" class="number" data-label="Mean score" { (super::campaign::mean(totals)) }
                                td role="cell" data-label="Report" { a href={ "/v1/campaigns/" (path) "/report?format=html" } aria-label={ "Report of " (super::campaign::name(&shared.web, id)) } { "Report" } }
                            }
                        }
                    }
                }
            }
        }
    }
}
