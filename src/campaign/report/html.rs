//! The report as a page that needs no other file.

use super::chart::chart;
use super::text::{FIGURES, figures, grouped, minute, percent, period, signed};
use super::{CampaignReport, MeanSentiment, Reach};
use maud::{DOCTYPE, Markup, PreEscaped, html};

const STYLE: &str = "
:root { color-scheme: light dark; --ink: #1b1f24; --soft: #5b6570; --line: #d5dae0; --paper: #fff; --bar: #2a6fb8; }
@media (prefers-color-scheme: dark) {
  :root { --ink: #e6e9ed; --soft: #a0a9b4; --line: #3a424c; --paper: #15181c; --bar: #6aa9ea; }
}
@media print {
  :root { --ink: #000; --soft: #444; --line: #bbb; --paper: #fff; --bar: #2a6fb8; }
  main { max-width: none; padding: 0; }
  table { font-size: .65rem; }
  tr, figure, dl div { break-inside: avoid; }
}
* { box-sizing: border-box; }
body { margin: 0; background: var(--paper); color: var(--ink); font: 16px/1.5 system-ui, sans-serif; }
main { max-width: 70rem; margin: 0 auto; padding: 1.5rem 1rem; }
h1 { margin: 0; font-size: 1.6rem; overflow-wrap: anywhere; }
h2 { margin: 2rem 0 .5rem; font-size: 1.15rem; }
p, figcaption, dt, th { color: var(--soft); }
.tiles { display: grid; grid-template-columns: repeat(auto-fit, minmax(11rem, 1fr)); gap: 1rem; margin: 1.5rem 0; }
.tiles div { border-top: 2px solid var(--line); padding-top: .4rem; }
.tiles dd { margin: 0; font-size: 1.35rem; font-variant-numeric: tabular-nums; }
.tiles small { display: block; font-size: .8rem; color: var(--soft); }
figure { margin: 0; }
svg { width: 100%; height: 11rem; display: block; border: solid var(--line); border-width: 1px 0; }
rect { fill: var(--bar); }
.axis { display: flex; justify-content: space-between; gap: 1rem; font-size: .8rem; color: var(--soft); }
.scroll { overflow-x: auto; }
table { border-collapse: collapse; width: 100%; font-size: .9rem; font-variant-numeric: tabular-nums; }
th, td { padding: .35rem .6rem; border-bottom: 1px solid var(--line); text-align: right; vertical-align: top; }
td { white-space: nowrap; }
td:last-child { white-space: normal; min-width: 6.5rem; }
th { font-weight: 600; }
tbody th { color: var(--ink); font-weight: 400; }
.name { text-align: left; white-space: normal; min-width: 9rem; overflow-wrap: anywhere; }
tbody tr.total > * { font-weight: 600; }
.definitions dd { margin: 0 0 .6rem; }
";

/// The whole page.
pub fn page(report: &CampaignReport) -> String {
    let subject = &report.subject;
    let page = html! {
        (DOCTYPE)
        html lang="en" {
            head {
                meta charset="utf-8";
                meta name="viewport" content="width=device-width, initial-scale=1";
                meta http-equiv="Content-Security-Policy" content="default-src 'none'; style-src 'unsafe-inline'";
                title { "Reach of " (subject.name) }
                style { (PreEscaped(STYLE)) }
            }
            body {
                main {
                    h1 { "Reach of " (subject.name) }
                    p { "Campaign " (subject.campaign) ", " (period(report)) ". Made " (minute(subject.made_at)) " UTC." }
                    (tiles(&report.total))
                    (chart(report))
                    (channels(report))
                    (hours(report))
                    (definitions(report))
                }
            }
        }
    };
    page.into_string() + "\n"
}

fn tiles(total: &Reach) -> Markup {
    let parts: Vec<String> = [
        (total.likes, "likes"),
        (total.shares, "shares"),
        (total.comments, "comments"),
    ]
    .iter()
    .filter_map(|(count, name)| count.map(|count| format!("{} {name}", grouped(Some(count)))))
    .collect();
    let tile = |name: &str, value: String, note: String| {
        html! { div { dt { (name) } dd { (value) small { (note) } } } }
    };
    html! {
        dl.tiles {
            (tile("Posts", grouped(Some(total.posts)), String::new()))
            (tile("Contributors", grouped(Some(total.contributors)), "distinct authors".into()))
            (tile("Potential audience", grouped(Some(total.potential_audience)), "overlaps not removed".into()))
            (tile(
                "Observed impressions",
                grouped(total.observed_impressions),
                format!("from {} of the posts", percent(total.share_with_impressions)),
            ))
            (tile("Engagements", grouped(total.engagements), parts.join(", ")))
            (tile("Engagement rate", percent(total.engagement_rate), "of observed impressions".into()))
            @if let Some(sentiment) = total.sentiment {
                (tile(
                    "Mean sentiment",
                    signed(sentiment.mean),
                    interval(&sentiment) + &format!("{} scored posts", grouped(Some(sentiment.scored_posts))),
                ))
            }
        }
    }
}

fn interval(sentiment: &MeanSentiment) -> String {
    sentiment.interval.map_or_else(String::new, |interval| {
        format!(
            "95 % interval {} to {}, ",
            signed(interval.low),
            signed(interval.high)
        )
    })
}

fn channels(report: &CampaignReport) -> Markup {
    html! {
        h2 { "Channels" }
        div.scroll {
            table {
                (head(&["Channel"], &["Share of voice"]))
                tbody {
                    tr.total { th.name scope="row" { "All channels" } td { "100 %" } (cells(&report.total)) }
                    @for channel in &report.channels {
                        tr {
                            th.name scope="row" { (channel.channel) }
                            td { (percent(Some(channel.share_of_voice))) }
                            (cells(&channel.reach))
                        }
                    }
                }
            }
        }
    }
}

fn hours(report: &CampaignReport) -> Markup {
    html! {
        h2 { "Hours (UTC)" }
        div.scroll {
            table {
                (head(&["Hour", "Channel"], &[]))
                tbody {
                    @for hour in &report.hours {
                        tr {
                            th.name scope="row" { (minute(hour.hour)) }
                            td.name { (hour.channel) }
                            (cells(&hour.reach))
                        }
                    }
                }
            }
        }
    }
}

fn definitions(report: &CampaignReport) -> Markup {
    html! {
        h2 { "Definitions (" (report.definitions.version) ")" }
        dl.definitions {
            @for definition in report.definitions.terms {
                div { dt { (definition.term) } dd { (definition.meaning) } }
            }
        }
    }
}

fn head(names: &[&str], more: &[&str]) -> Markup {
    html! {
        thead {
            tr {
                @for name in names { th.name scope="col" { (name) } }
                @for column in more.iter().chain(&FIGURES) { th scope="col" { (column) } }
            }
        }
    }
}

fn cells(reach: &Reach) -> Markup {
    html! { @for figure in figures(reach) { td { (figure) } } }
}
