//! Pages for people: rendered here, whole without a script; `squall.js` only renews them.

mod alert;
mod campaign;
mod endpoints;
mod entity;
mod home;
mod parts;

pub use alert::{acknowledge, alert};
pub use campaign::campaign;
pub use entity::entity;
pub use home::home;

use super::overview::Overview;
use super::parameters::Parameters;
use super::server::{Shared, Squall};
use super::{Problem, assets, session, words};
use axum::extract::State;
use axum::response::{Html, IntoResponse, Redirect, Response};
use maud::{DOCTYPE, Markup, html};

/// A page of the running monitor: bar on top, `main` below.
fn page(shared: &Shared, overview: &Overview, title: &str, main: &Markup) -> Html<String> {
    let title = match overview.open.len() {
        0 => title.to_owned(),
        open => format!("({open}) {title}"),
    };
    let bar = html! {
        @if let Some(as_of) = overview.as_of {
            p class="as-of" { span class="wide" { "as of " } time datetime=(as_of) { (words::moment_to_the_second(as_of)) } " UTC" }
        }
        p class="live" id="live" data-keep { "reload to update" }
        ul class="counts" {
            li { b { (words::count(overview.posts)) } " posts" }
            li class="wide" { b { (words::count(overview.entities.len() as u64)) } " entities" }
            li { a href="/#alerts" { b { (overview.open.len()) } (if overview.open.len() == 1 { " open alert" } else { " open alerts" }) } }
        }
        @if crate::web::access::is_guarded(&shared.web) {
            form method="post" action="/logout" { button class="quiet" { "Log out" } }
        }
    };
    let body = html! {
        // Changes only when an alert opens or ends, so a screen reader speaks only then.
        p id="announcement" class="unseen" role="status" aria-live="polite" { (announcement(overview)) }
        main id="main" tabindex="-1" { (main) }
        footer { p { "All times UTC. Scores run from −1, bad news for who holds the entity's shares or debt, to +1, good news." } }
    };
    shell(&title, Some(overview.version), &bar, &body)
}

fn announcement(overview: &Overview) -> String {
    let newest = overview.open.iter().max_by_key(|alert| alert.opened_at);
    match newest {
        None => "No open alerts.".into(),
        Some(newest) => format!(
            "{} open, the newest: {}, {}, since {} UTC.",
            match overview.open.len() {
                1 => "1 alert".to_owned(),
                open => format!("{open} alerts"),
            },
            newest.latest.entity,
            newest.latest.severity.name(),
            words::clock(newest.opened_at),
        ),
    }
}

fn shell(title: &str, version: Option<i64>, bar: &Markup, body: &Markup) -> Html<String> {
    Html(
        html! {
            (DOCTYPE)
            html lang="en" {
                head {
                    meta charset="utf-8";
                    meta name="viewport" content="width=device-width, initial-scale=1";
                    meta name="color-scheme" content="light dark";
                    title { (title) " · squall" }
                    link rel="icon" type="image/svg+xml" href=(assets::address("squall.svg"));
                    link rel="stylesheet" href=(assets::address("squall.css"));
                    @if version.is_some() { script src=(assets::address("squall.js")) defer {} }
                }
                body data-version=[version] {
                    a class="skip" href="#main" { "Skip to content" }
                    header class="bar" {
                        a class="brand" href="/" { (parts::logo()) "squall" }
                        (bar)
                    }
                    (body)
                }
            }
        }
        .into_string(),
    )
}

/// What a browser shows instead of problem details.
pub fn error(problem: &Problem) -> Response {
    let body = html! {
        main id="main" class="narrow" {
            h1 { (problem.title()) }
            p { (problem.detail) }
            p { a href="/" { "To the overview" } }
        }
    };
    let page = shell(problem.title(), None, &html! {}, &body);
    (problem.status, page).into_response()
}

/// `GET /login`
pub async fn login(State(shared): Squall, mut parameters: Parameters) -> Result<Response, Problem> {
    let next = parameters.text("next")?.unwrap_or_default();
    let next = session::local(&next);
    if !crate::web::access::is_guarded(&shared.web) {
        return Ok(Redirect::to(next).into_response());
    }
    Ok(login_form(next, None).into_response())
}

/// Asks for the token, and says what was wrong with the last.
pub fn login_form(next: &str, wrong: Option<&str>) -> Html<String> {
    let body = html! {
        main id="main" class="narrow" {
            h1 { "Log in" }
            form method="post" action="/login" class="login" {
                label for="token" { "Token, as in " code { "api.token" } " or " code { "[[tokens]]" } " of squall's configuration" }
                input id="token" name="token" type="password" autocomplete="current-password" required autofocus
                    aria-describedby=[wrong.map(|_| "wrong")] aria-invalid=[wrong.map(|_| "true")];
                @if let Some(wrong) = wrong { p id="wrong" class="wrong" { (wrong) } }
                input type="hidden" name="next" value=(next);
                button { "Log in" }
            }
            // The cookie is not sent with a link from another site, a chat say; with one from here it is.
            p { a href=(next) { "Logged in already? Continue" } }
        }
    };
    shell("Log in", None, &html! {}, &body)
}
