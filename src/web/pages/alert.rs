//! Alerts: as a card on the front page, as a line in a list, as a page of their own; and their acknowledgement.

use super::parts;
use crate::domain::{AlertKind, Explanation, Outcome, Timestamp};
use crate::store::AlertRow;
use crate::web::access::Identity;
use crate::web::api::{find_alert, is_open};
use crate::web::overview::overview;
use crate::web::parameters::Parameters;
use crate::web::server::{Shared, Squall};
use crate::web::{Problem, charts, ingest, session, words};
use axum::Extension;
use axum::extract::{Path, State};
use axum::http::HeaderMap;
use axum::response::{Html, IntoResponse, Redirect, Response};
use maud::{Markup, html};
use std::time::Duration;

/// Stories on a card; its page has them all.
const STORIES: usize = 3;
/// Cookie that remembers who acknowledges on this browser.
const WHO: &str = "squall_by";

/// `GET /alerts/{id}`
pub async fn alert(
    State(shared): Squall,
    Path(id): Path<String>,
    headers: HeaderMap,
    mut parameters: Parameters,
) -> Result<Html<String>, Problem> {
    let sent = parameters.text("sent")?.is_some();
    let overview = overview(&shared).await?;
    let alert = find_alert(&shared, &id).await?;
    let latest = &alert.latest;
    let now = overview.as_of.unwrap_or_default();
    let name = entity_name(&shared, &alert);
    let main = html! {
        nav class="trail" aria-label="Trail" { a href="/" { "Overview" } " / Alert" }
        article class=(class(&alert)) {
            header {
                (parts::severity(latest.severity))
                (parts::ended(latest.kind))
                h1 { a href=(entity_path(&alert)) { (name) } }
                (when(&alert, now))
            }
            (figures(&alert, usize::MAX))
            @if sent && alert.acknowledged.is_none() { p class="note" role="status" { "The acknowledgement was sent. It shows here once it is stored." } }
            (acknowledgement(&alert, now, &headers, "page"))
        }
        @if let Some(explanation) = &latest.explanation { (explained(explanation)) }
        section aria-labelledby="details-title" {
            h2 id="details-title" { "Details" }
            dl class="details" {
                div { dt { "Window" } dd { (words::moment(latest.window.start)) " to " (words::clock(latest.window.end)) } }
                div { dt { "Rule" } dd { (latest.rule) } }
                div { dt { "Probability" } dd { (format!("{:.2e}", latest.p_value)) } }
                div { dt { "Mentions" } dd { (latest.observed.mentions) ", expected " (words::rate(latest.expected.mentions)) } }
                div { dt { "Messages" } dd { (latest.revision + 1) ", the last: " (latest.kind.name()) " at " (words::moment(latest.at)) } }
                div { dt { "Model" } dd { (latest.model) } }
                div { dt { "Alert" } dd { code { (latest.alert_id) } } }
            }
            h3 { "Deliveries" }
            @if alert.deliveries.is_empty() { p class="empty" { "None has ended." } }
            @else {
                ul class="deliveries" {
                    @for delivery in &alert.deliveries {
                        li {
                            b { (delivery.endpoint) } ": " (delivery.outcome.name()) " after "
                            (delivery.attempts) @if delivery.attempts == 1 { " attempt" } @else { " attempts" }
                            ", " (words::moment(delivery.ended_at))
                            @if let Some(status) = delivery.status { ", status " (status) }
                            @if !delivery.error.is_empty() { ": " (delivery.error) }
                        }
                    }
                }
            }
        }
    };
    let state = match latest.kind {
        AlertKind::Opened | AlertKind::Updated => latest.severity.name(),
        kind => kind.name(),
    };
    let title = format!("{name}: {state}");
    Ok(super::page(&shared, &overview, &title, &main))
}

/// Why it was sent: how rare it is, the horizons, and the last hour against what was expected.
fn explained(explanation: &Explanation) -> Markup {
    html! {
        section aria-labelledby="why-title" {
            h2 id="why-title" { "Why" }
            p {
                "By chance as much is seen once in " b { (words::rate(explanation.once_in_days)) } " days at the most; the budget is "
                b { (words::rate(explanation.budget)) } " alerts a month. There were " b { (words::rate(explanation.effect)) }
                " times the negative mentions expected."
                @if let Some(tag) = &explanation.scheduled { " Announced for this time: " (tag) "." }
                @if explanation.concert { " Most come from accounts whose names differ in their digits only." }
            }
            @if !explanation.picture.is_empty() {
                (charts::against_chart("Negative mentions of the last hour, every five minutes, and what was expected", &explanation.picture))
            }
            table class="facts" {
                thead { tr { th scope="col" { "Horizon" } th scope="col" { "Negative" } th scope="col" { "Expected" } th scope="col" { "Likelihood ratio" } } }
                tbody {
                    @for fact in &explanation.horizons {
                        tr {
                            th scope="row" { (fact.minutes) " min" }
                            td { (fact.observed.1) " of " (fact.observed.0) }
                            td { (words::rate(fact.expected.1)) " of " (words::rate(fact.expected.0)) }
                            td { (format!("{:.1e}", fact.e_value)) }
                        }
                    }
                }
            }
        }
    }
}

/// An open alert on the front page.
pub fn card(shared: &Shared, alert: &AlertRow, now: Timestamp, headers: &HeaderMap) -> Markup {
    let id = &alert.latest.alert_id;
    html! {
        article id={ "alert-" (id) } class=(class(alert)) aria-labelledby={ "alert-name-" (id) } {
            header {
                (parts::severity(alert.latest.severity))
                (parts::ended(alert.latest.kind))
                h3 id={ "alert-name-" (id) } { a href=(alert_path(alert)) { (entity_name(shared, alert)) } }
                (when(alert, now))
            }
            (figures(alert, STORIES))
            (acknowledgement(alert, now, headers, "card"))
        }
    }
}

/// Alerts, one line each.
pub fn list(shared: &Shared, alerts: &[AlertRow], now: Timestamp) -> Markup {
    html! {
        ul class="alert-list" {
            @for alert in alerts {
                li id={ "alert-" (alert.latest.alert_id) } class=[(!is_open(alert.latest.kind)).then_some("ended")] {
                    (parts::severity(alert.latest.severity)) " "
                    a href=(alert_path(alert)) { (entity_name(shared, alert)) } " "
                    span class="sub" {
                        @if is_open(alert.latest.kind) { "since " (parts::time_or_day(alert.opened_at, now)) }
                        @else { (parts::time_or_day(alert.opened_at, now)) " to " (parts::time_or_day(alert.latest.at, now)) }
                        ", " (parts::ending(alert.latest.kind))
                        @if let Some((by, _)) = &alert.acknowledged { ", acknowledged by " (by) }
                    }
                }
            }
        }
    }
}

/// Of an article: red or amber only while the alert is open.
fn class(alert: &AlertRow) -> String {
    let class = match is_open(alert.latest.kind) {
        true => alert.latest.severity.name(),
        false => "ended",
    };
    format!("alert {class}")
}

fn when(alert: &AlertRow, now: Timestamp) -> Markup {
    let latest = &alert.latest;
    html! {
        p class="when" {
            @if is_open(latest.kind) {
                "since " (parts::time_or_day(alert.opened_at, now)) " UTC, "
                (words::length(now.since(alert.opened_at)))
            } @else {
                (parts::time_or_day(alert.opened_at, now)) " to " (parts::time_or_day(latest.at, now)) " UTC, "
                (words::length(latest.at.since(alert.opened_at)))
            }
        }
    }
}

/// What was seen against what was expected, and at most so many of the stories that speak for it.
fn figures(alert: &AlertRow, stories: usize) -> Markup {
    let latest = &alert.latest;
    let (observed, expected) = (&latest.observed, &latest.expected);
    let most = expected.negative.max(observed.negative.into());
    let retracted = latest.kind == AlertKind::Retracted;
    html! {
        @if retracted { p { "Posts that this alert stood on were taken back. What is left:" } }
        div class="against" {
            p {
                b class="big" { (words::count(observed.negative.into())) }
                @if observed.negative == 1 { " negative mention in " } @else { " negative mentions in " }
                (words::length(latest.window.end.since(latest.window.start)))
            }
            (charts::meter(f64::from(observed.negative) / most, if retracted { "low" } else { "high" }))
            p { b { (words::rate(expected.negative)) } " expected" }
            (charts::meter(expected.negative / most, "low"))
        }
        dl class="figures" {
            div { dt { "By chance" } dd { (words::chance(latest.p_value)) } }
            div { dt { "Sources" } dd { (words::count(observed.sources.into())) } }
            div { dt { "Mentions" } dd { (words::count(observed.mentions.into())) } }
            div { dt { "Mean score" } dd { (parts::score(observed.mean_score.into())) } }
        }
        @if !latest.evidence.is_empty() {
            p class="label" { "Evidence" }
            ol class="evidence" aria-label="Evidence" {
                @for story in latest.evidence.iter().take(stories) {
                    li {
                        (parts::score(story.score.into()))
                        span {
                            (parts::outside(&story.title, story.url.as_deref()))
                            @match story.copies {
                                0 => {}
                                1 => { " " span class="copies" { "1 copy" } }
                                copies => { " " span class="copies" { (copies) " copies" } }
                            }
                        }
                    }
                }
            }
        }
    }
}

fn acknowledgement(alert: &AlertRow, now: Timestamp, headers: &HeaderMap, place: &str) -> Markup {
    let id = &alert.latest.alert_id;
    let delivered = alert
        .deliveries
        .iter()
        .filter(|delivery| delivery.outcome == Outcome::Delivered)
        .map(|delivery| delivery.endpoint.as_str())
        .collect::<std::collections::BTreeSet<_>>();
    let failed = alert
        .deliveries
        .iter()
        .any(|delivery| delivery.outcome.is_failure());
    html! {
        footer {
            @if let Some((by, at)) = &alert.acknowledged {
                p class="acknowledged" { "Acknowledged by " b { (by) } " at " (parts::time_or_day(*at, now)) }
            } @else if is_open(alert.latest.kind) {
                form method="post" action={ (alert_path(alert)) "/ack" } class="acknowledge" {
                    label class="unseen" for={ "by-" (id) } { "Your name" }
                    input id={ "by-" (id) } name="by" value=(who(headers)) placeholder="Your name" autocomplete="username" required maxlength="80";
                    input type="hidden" name="from" value=(place);
                    button { "Acknowledge" }
                }
            }
            p class="sub" {
                @if !delivered.is_empty() { "Delivered to " (delivered.into_iter().collect::<Vec<_>>().join(", ")) ". " }
                @if failed { a href=(alert_path(alert)) { "A delivery failed." } }
            }
        }
    }
}

fn who(headers: &HeaderMap) -> String {
    session::cookie(headers, WHO)
        .and_then(|value| session::form(&format!("by={value}")).ok())
        .map(|fields| session::field(&fields, "by").to_owned())
        .unwrap_or_default()
}

/// `POST /alerts/{id}/ack`, from the form: acknowledges, waits a moment for it to be stored, and goes back.
pub async fn acknowledge(
    State(shared): Squall,
    Path(id): Path<String>,
    Extension(identity): Extension<Identity>,
    body: String,
) -> Result<Response, Problem> {
    let fields = session::form(&body)?;
    let by = ingest::who(&identity, Some(session::field(&fields, "by")))?;
    ingest::acknowledge_alert(&shared, &id, &by).await?;
    let mut stored = false;
    for _ in 0..20 {
        stored = find_alert(&shared, &id).await?.acknowledged.is_some();
        if stored {
            break;
        }
        tokio::time::sleep(Duration::from_millis(100)).await;
    }
    let path = words::segment(&id);
    let back = match session::field(&fields, "from") {
        _ if !stored => format!("/alerts/{path}?sent=1"),
        "card" => format!("/#alert-{path}"),
        _ => format!("/alerts/{path}"),
    };
    let year = 365 * 24 * 3600;
    let who = session::set_cookie(&shared.web, WHO, &words::segment(by.trim()), year);
    Ok((who, Redirect::to(&back)).into_response())
}

fn entity_name(shared: &Shared, alert: &AlertRow) -> String {
    let id = &alert.latest.entity;
    (shared.web.entities)(id).map_or_else(|| id.to_string(), |entity| entity.name)
}

fn entity_path(alert: &AlertRow) -> String {
    format!("/entities/{}", words::segment(alert.latest.entity.as_str()))
}

fn alert_path(alert: &AlertRow) -> String {
    format!("/alerts/{}", words::segment(&alert.latest.alert_id))
}
