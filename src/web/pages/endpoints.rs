//! The endpoints that nothing is sent to, above the alerts that they miss.

use crate::web::server::Shared;
use crate::web::words;
use maud::{Markup, html};
use std::time::Duration;

/// How long NOTIFY may take to say how its endpoints are doing, before the page is shown without it.
const PATIENCE: Duration = Duration::from_secs(1);

/// Nothing, where all are sent to, or NOTIFY runs in another process.
pub async fn disabled(shared: &Shared) -> Markup {
    let Some(board) = &shared.web.board else {
        return html! {};
    };
    let Ok(Some(view)) = tokio::time::timeout(PATIENCE, board.ask(0)).await else {
        return html! {};
    };
    let all = view.endpoints.iter();
    let disabled: Vec<_> = all
        .filter_map(|one| Some((&one.name, one.standing.disabled.as_ref()?)))
        .collect();
    html! {
        @if !disabled.is_empty() {
            section id="endpoints" aria-labelledby="endpoints-title" {
                div class="section-head" {
                    h2 id="endpoints-title" { "Alerts do not arrive" }
                    p class="note" { "Nothing is sent to these endpoints." }
                }
                @for (name, disabled) in disabled {
                    div class="alert critical" {
                        p { b { (name) } " is disabled since " time datetime=(disabled.at) { (words::moment(disabled.at)) } " UTC: " (disabled.reason) "." }
                        p class="note" { (disabled.remedy(name)) "." }
                    }
                }
            }
        }
    }
}
