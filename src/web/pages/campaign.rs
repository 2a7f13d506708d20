//! One campaign: its reach and sentiment, by hour and by channel, and its posts.

use super::parts;
use crate::domain::{CampaignId, Timestamp};
use crate::store::{CampaignTotals, PostQuery, SentimentSums};
use crate::web::api::{CAMPAIGN_RANGE, minute_after};
use crate::web::charts::{self, Axis, Bar, Point};
use crate::web::overview::overview;
use crate::web::server::Squall;
use crate::web::{Problem, Web, words};
use axum::extract::{Path, State};
use axum::response::Html;
use maud::{Markup, html};
use std::collections::BTreeMap;
use std::time::Duration;

const HOUR: Duration = Duration::from_secs(3600);
/// Shortest time that charts show.
const SHORTEST: u32 = 6;

/// `GET /campaigns/{id}`
pub async fn campaign(
    State(shared): Squall,
    Path(id): Path<String>,
) -> Result<Html<String>, Problem> {
    let overview = overview(&shared).await?;
    let now = overview.as_of.unwrap_or_default();
    let id = CampaignId::from(id.as_str());
    let to = (minute_after(now) - Duration::from_millis(1)).floor(HOUR) + HOUR;
    let figures = shared
        .web
        .store
        .campaign(&id, to - CAMPAIGN_RANGE, to)
        .await?;
    let configured = shared.web.campaigns.iter().find(|each| each.id == id);
    if configured.is_none() && figures.total.posts == 0 {
        return Err(Problem::not_found(format!(
            "campaign '{id}' is not configured, and no post belongs to it: check the id"
        )));
    }
    let query = PostQuery {
        campaign: Some(id.clone()),
        limit: 20,
        ..PostQuery::default()
    };
    let posts = shared.web.store.posts(&query).await?;
    let total = &figures.total;
    let name = name(&shared.web, &id);
    let report = format!(
        "/v1/campaigns/{}/report?format=",
        words::segment(id.as_str())
    );
    let main = html! {
        nav class="trail" aria-label="Trail" { a href="/" { "Overview" } " / Campaign" }
        div class="page-head" {
            h1 { (name) }
            p class="sub" {
                (id)
                @if let Some(campaign) = configured {
                    @for word in campaign.hashtags.iter().chain(&campaign.phrases).chain(&campaign.utm_campaigns).chain(&campaign.authors) { " · " (word) }
                }
            }
            p class="choices" {
                "Report: "
                @for (format, word) in [("html", "HTML"), ("csv", "CSV"), ("json", "JSON"), ("markdown", "Markdown")] {
                    a href={ (report) (format) } { (word) }
                }
            }
        }
        dl class="figures" {
            div { dt { "Posts" } dd { (words::count(total.posts)) } }
            div { dt { "Contributors" } dd { (contributors(total)) } }
            div { dt { "Potential audience" } dd { (audience(total)) } }
            div { dt { "Impressions observed" } dd { (impressions(total)) } }
            div { dt { "Engagement" } dd { (words::count(engagement(total))) } }
            div { dt { "Mean score" } dd { (mean(total)) } }
        }
        p class="note" {
            "The last 30 days. The potential audience sums the contributors’ followers; people who follow several count several times. "
            "Impressions are those observed, given with " (words::count(total.posts_with_impressions)) " of " (words::count(total.posts)) " posts."
        }
        @if !figures.hours.is_empty() { (hours(&figures.hours, to)) }
        @if !figures.channels.is_empty() { (channels(&figures.channels)) }
        section aria-labelledby="posts-title" {
            h2 id="posts-title" { "Latest posts" }
            @if posts.is_empty() { p class="empty" { "No posts." } }
            (parts::posts(&posts, now, |post| post.sentiment))
        }
    };
    Ok(super::page(&shared, &overview, &name, &main))
}

fn hours(hours: &[(Timestamp, String, CampaignTotals)], to: Timestamp) -> Markup {
    let mut sums: BTreeMap<Timestamp, (u64, u64, SentimentSums)> = BTreeMap::new();
    for (hour, _, totals) in hours {
        let (posts, scored, sentiment) = sums.entry(*hour).or_default();
        *posts += totals.posts;
        *scored += totals.scored;
        sentiment.negative += totals.sums.negative;
        sentiment.positive += totals.sums.positive;
    }
    let first = sums.keys().next().copied().unwrap_or(to);
    let axis = Axis {
        from: first.min(to - HOUR * SHORTEST),
        to,
        step: HOUR,
    };
    let mut bars = Vec::new();
    let mut points = Vec::new();
    for (hour, (posts, scored, sentiment)) in sums {
        let score = score(scored, &sentiment);
        let hint = format!(
            "{}, {} posts, mean score {}",
            words::moment(hour),
            words::count(posts),
            score.map_or_else(|| "–".into(), words::score)
        );
        if let Some(score) = score {
            points.push(Point {
                start: hour,
                score,
                hint: hint.clone(),
            });
        }
        bars.push(Bar {
            start: hour,
            total: posts,
            negative: 0,
            hint,
        });
    }
    html! {
        section aria-labelledby="hours-title" {
            h2 id="hours-title" { "By hour" }
            div class="charts" {
                figure { figcaption { "Posts per hour" } (charts::bar_chart(&axis, "Posts per hour", &bars)) }
                figure { figcaption { "Mean score per hour" } (charts::score_chart(&axis, "Mean score per hour", &points)) }
            }
        }
    }
}

fn channels(channels: &[(String, CampaignTotals)]) -> Markup {
    html! {
        section aria-labelledby="channels-title" {
            h2 id="channels-title" { "By channel" }
            table class="cards" role="table" {
                caption class="unseen" { "Channels, most posts first" }
                thead role="rowgroup" {
                    tr role="row" {
                        th scope="col" role="columnheader" { "Channel" }
                        th scope="col" role="columnheader" class="number" { "Posts" }
                        th scope="col" role="columnheader" class="number" { "Contributors" }
                        th scope="col" role="columnheader" class="number" { "Potential audience" }
                        th scope="col" role="columnheader" class="number" { "Impressions observed" }
                        th scope="col" role="columnheader" class="number" { "Engagement" }
                        th scope="col" role="columnheader" class="number" { "Mean score" }
                    }
                }
                tbody role="rowgroup" {
                    @for (channel, totals) in channels {
                        tr role="row" {
                            th scope="row" role="rowheader" { (channel) }
                            td role="cell" class="number" data-label="Posts" { (words::count(totals.posts)) }
                            td role="cell" class="number" data-label="Contributors" { (contributors(totals)) }
                            td role="cell" class="number" data-label="Potential audience" { (audience(totals)) }
                            td role="cell" class="number" data-label="Impressions observed" { (impressions(totals)) }
                            td role="cell" class="number" data-label="Engagement" { (words::count(engagement(totals))) }
                            td role="cell" class="number" data-label="Mean score" { (mean(totals)) }
                        }
                    }
                }
            }
        }
    }
}

/// Name of a campaign; the id where it is not configured any more.
pub fn name(web: &Web, id: &CampaignId) -> String {
    let configured = web.campaigns.iter().find(|campaign| campaign.id == *id);
    configured.map_or_else(|| id.to_string(), |campaign| campaign.name.clone())
}

/// Distinct authors; a dash where no post names any.
pub fn contributors(totals: &CampaignTotals) -> String {
    known(totals.contributors, totals.contributors)
}

/// Followers of the contributors; a dash where no post names any.
pub fn audience(totals: &CampaignTotals) -> String {
    known(totals.contributors, totals.potential_audience)
}

/// Likes, shares and comments.
pub fn engagement(totals: &CampaignTotals) -> u64 {
    let counts = &totals.engagement;
    [counts.likes, counts.shares, counts.comments]
        .into_iter()
        .flatten()
        .sum()
}

/// Observed impressions; a dash where no post came with any.
pub fn impressions(totals: &CampaignTotals) -> String {
    known(totals.posts_with_impressions, totals.impressions)
}

/// A sum over `of` known items; a dash where none is known.
fn known(of: u64, sum: u64) -> String {
    if of == 0 {
        "–".into()
    } else {
        words::count(sum)
    }
}

/// Mean score of the scored posts.
pub fn mean(totals: &CampaignTotals) -> Markup {
    match score(totals.scored, &totals.sums) {
        Some(mean) => parts::score(mean),
        None => html! { "–" },
    }
}

fn score(scored: u64, sums: &SentimentSums) -> Option<f64> {
    (scored > 0).then(|| (sums.positive - sums.negative) / scored as f64)
}
