//! The report as CSV and Markdown.

use super::{CampaignReport, MeanSentiment, Reach};
use crate::domain::Timestamp;
use std::fmt::Display;

const CSV_HEADER: &str = "definitions,campaign,scope,hour,channel,posts,contributors,potential_audience,\
posts_with_impressions,observed_impressions,likes,shares,comments,engagements,engagement_rate,scored_posts,\
mean_sentiment,sentiment_low,sentiment_high,share_of_voice";

/// One line for the total, one for each channel, one for each channel in an hour; cells that do not apply or are
/// not known are empty.
pub fn csv(report: &CampaignReport) -> String {
    let mut lines = vec![CSV_HEADER.to_owned()];
    let mut line =
        |scope: &str, hour: Option<Timestamp>, channel: &str, reach, share: Option<f64>| {
            lines.push(format!(
                "{},{},{scope},{},{},{},{}",
                report.definitions.version,
                csv_text(report.subject.campaign.as_str()),
                known(hour),
                csv_text(channel),
                csv_figures(reach),
                known(share),
            ));
        };
    line("total", None, "", &report.total, None);
    for channel in &report.channels {
        let share = Some(channel.share_of_voice);
        line("channel", None, &channel.channel, &channel.reach, share);
    }
    for hour in &report.hours {
        line("hour", Some(hour.hour), &hour.channel, &hour.reach, None);
    }
    lines.join("\n") + "\n"
}

fn csv_figures(reach: &Reach) -> String {
    let sentiment = reach.sentiment;
    let interval = sentiment.and_then(|sentiment| sentiment.interval);
    [
        reach.posts.to_string(),
        reach.contributors.to_string(),
        reach.potential_audience.to_string(),
        reach.posts_with_impressions.to_string(),
        known(reach.observed_impressions),
        known(reach.likes),
        known(reach.shares),
        known(reach.comments),
        known(reach.engagements),
        known(reach.engagement_rate),
        sentiment
            .map_or(0, |sentiment| sentiment.scored_posts)
            .to_string(),
        known(sentiment.map(|sentiment| sentiment.mean)),
        known(interval.map(|interval| interval.low)),
        known(interval.map(|interval| interval.high)),
    ]
    .join(",")
}

fn known(value: Option<impl Display>) -> String {
    value.map_or_else(String::new, |value| value.to_string())
}

/// A quoted cell. A text that a spreadsheet would take for a formula gets an apostrophe before it.
fn csv_text(text: &str) -> String {
    let formula = text.starts_with(['=', '+', '-', '@', '\t', '\r', '\n', '＝', '＋', '－', '＠']);
    let guard = if formula { "'" } else { "" };
    format!("\"{guard}{}\"", text.replace('"', "\"\""))
}

/// Tables, and the definitions.
pub fn markdown(report: &CampaignReport) -> String {
    let subject = &report.subject;
    let mut page = format!(
        "# Reach of {}\n\nCampaign {}, {}. Made {}.\n\n",
        markdown_text(&subject.name),
        markdown_text(subject.campaign.as_str()),
        period(report),
        minute(subject.made_at),
    );
    let mut table = |keys: &[&str], rows: &mut dyn Iterator<Item = (Vec<String>, &Reach)>| {
        let columns: Vec<_> = keys.iter().chain(&FIGURES).copied().collect();
        let rule = "---|".repeat(keys.len()) + &"---:|".repeat(FIGURES.len());
        page += &format!("| {} |\n|{rule}\n", columns.join(" | "));
        for (mut cells, reach) in rows {
            cells.extend(figures(reach));
            page += &format!("| {} |\n", cells.join(" | "));
        }
        page += "\n";
    };
    let total = (
        vec!["**All channels**".into(), "100 %".into()],
        &report.total,
    );
    let channels = report.channels.iter().map(|channel| {
        let keys = vec![
            markdown_text(&channel.channel),
            percent(Some(channel.share_of_voice)),
        ];
        (keys, &channel.reach)
    });
    table(
        &["Channel", "Share of voice"],
        &mut std::iter::once(total).chain(channels),
    );
    let mut hours = report.hours.iter().map(|hour| {
        let keys = vec![minute(hour.hour), markdown_text(&hour.channel)];
        (keys, &hour.reach)
    });
    table(&["Hour (UTC)", "Channel"], &mut hours);

    page += &format!("## Definitions ({})\n\n", report.definitions.version);
    for definition in report.definitions.terms {
        page += &format!("- **{}**: {}\n", definition.term, definition.meaning);
    }
    page
}

/// A text of which nothing is markup, on one line.
fn markdown_text(text: &str) -> String {
    let mut safe = String::with_capacity(text.len());
    for character in text.chars() {
        if character.is_control() {
            safe.push(' ');
            continue;
        }
        if character.is_ascii_punctuation() && !matches!(character, '\'' | ',' | '/' | '"') {
            safe.push('\\');
        }
        safe.push(character);
    }
    safe
}

/// Headings of [`figures`].
pub const FIGURES: [&str; 8] = [
    "Posts",
    "Contributors",
    "Potential audience",
    "Observed impressions",
    "Posts with impressions",
    "Engagements",
    "Engagement rate",
    "Mean sentiment",
];

/// The figures of a line as people read them.
pub fn figures(reach: &Reach) -> [String; 8] {
    [
        grouped(Some(reach.posts)),
        grouped(Some(reach.contributors)),
        grouped(Some(reach.potential_audience)),
        grouped(reach.observed_impressions),
        percent(reach.share_with_impressions),
        grouped(reach.engagements),
        percent(reach.engagement_rate),
        reach.sentiment.map_or_else(|| UNKNOWN.into(), sentiment),
    ]
}

/// Stands where there is no figure.
const UNKNOWN: &str = "–";

fn sentiment(sentiment: MeanSentiment) -> String {
    let mean = signed(sentiment.mean);
    match sentiment.interval {
        Some(interval) => format!(
            "{mean} ({} to {})",
            signed(interval.low),
            signed(interval.high)
        ),
        None => mean,
    }
}

/// +0.30.
pub fn signed(score: f64) -> String {
    format!("{score:+.2}")
}

/// 12.3 %.
pub fn percent(share: Option<f64>) -> String {
    share.map_or_else(|| UNKNOWN.into(), |share| format!("{:.1} %", share * 100.0))
}

/// 1,234,567.
pub fn grouped(count: Option<u64>) -> String {
    let Some(count) = count else {
        return UNKNOWN.into();
    };
    let digits = count.to_string();
    let mut text = String::new();
    for (at, digit) in digits.chars().enumerate() {
        if at > 0 && (digits.len() - at).is_multiple_of(3) {
            text.push(',');
        }
        text.push(digit);
    }
    text
}

/// The period in words.
pub fn period(report: &CampaignReport) -> String {
    let bound = |time: Option<Timestamp>| time.map(minute);
    match (bound(report.subject.from), bound(report.subject.to)) {
        (Some(from), Some(to)) => format!("{from} to {to} UTC"),
        (Some(from), None) => format!("from {from} UTC"),
        (None, Some(to)) => format!("until {to} UTC"),
        (None, None) => "no posts".into(),
    }
}

/// 2026-11-23 09:14.
pub fn minute(time: Timestamp) -> String {
    let mut text = time.to_string().replace('T', " ");
    text.truncate("2026-11-23 09:14".len());
    text
}
