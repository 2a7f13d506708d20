//! The reach report of a campaign: what is printed, apart from how.
//!
//! What each figure means is part of the report ([`DEFINITIONS`]): figures of one version compare with each
//! other, and a change of meaning is a new version.

mod chart;
mod html;
mod text;

use super::figures::{CampaignFigures, CampaignTotals, engagements};
use crate::domain::{Campaign, CampaignId, Timestamp};
use serde::Serialize;
use std::time::Duration;

const HOUR: Duration = Duration::from_secs(3600);

/// Fewer scored posts than this get no interval: its normal approximation does not hold.
const MIN_SCORED: u64 = 30;

/// What is reported on.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Subject {
    /// The campaign.
    pub campaign: CampaignId,
    /// Its name, shown to people.
    pub name: String,
    /// Beginning of the period; none for that of the first post.
    pub from: Option<Timestamp>,
    /// End of the period, itself outside; none for that of the last post.
    pub to: Option<Timestamp>,
    /// When the report was made.
    pub made_at: Timestamp,
}

impl Subject {
    /// With the configured name of the campaign, or its id where it is not configured (any more).
    pub fn new(
        campaign: CampaignId,
        configured: &[Campaign],
        from: Option<Timestamp>,
        to: Option<Timestamp>,
        made_at: Timestamp,
    ) -> Self {
        let known = configured.iter().find(|known| known.id == campaign);
        let name = known.map_or_else(|| campaign.to_string(), |known| known.name.clone());
        Self {
            campaign,
            name,
            from,
            to,
            made_at,
        }
    }
}

/// The reach report of a campaign.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct CampaignReport {
    /// What is reported on; the period is that of the figures, in whole hours, none without posts.
    #[serde(flatten)]
    pub subject: Subject,
    /// Over all channels and hours.
    pub total: Reach,
    /// By channel, most posts first.
    pub channels: Vec<ChannelReach>,
    /// By hour and channel, in order of time; hours without posts are left out.
    pub hours: Vec<HourReach>,
    /// What the figures mean.
    pub definitions: &'static Definitions,
}

/// Figures of one channel.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct ChannelReach {
    /// The channel.
    pub channel: String,
    /// Its share of the campaign's posts, 0 to 1.
    pub share_of_voice: f64,
    /// Its figures.
    #[serde(flatten)]
    pub reach: Reach,
}

/// Figures of one channel in one hour.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct HourReach {
    /// Beginning of the hour.
    pub hour: Timestamp,
    /// The channel.
    pub channel: String,
    /// Its figures.
    #[serde(flatten)]
    pub reach: Reach,
}

/// The figures of a line of the report; [`DEFINITIONS`] says what each means.
#[derive(Debug, Clone, Copy, PartialEq, Serialize)]
pub struct Reach {
    /// Posts.
    pub posts: u64,
    /// Distinct authors.
    pub contributors: u64,
    /// Sum of the contributors' followers.
    pub potential_audience: u64,
    /// Posts that came with an impression count.
    pub posts_with_impressions: u64,
    /// These as a share of the posts, 0 to 1; none without posts.
    pub share_with_impressions: Option<f64>,
    /// Sum of observed impressions; none where no post came with them.
    pub observed_impressions: Option<u64>,
    /// Likes; none where no post came with them.
    pub likes: Option<u64>,
    /// Shares, likewise.
    pub shares: Option<u64>,
    /// Comments, likewise.
    pub comments: Option<u64>,
    /// The three together.
    pub engagements: Option<u64>,
    /// Engagements per observed impression, both of the posts with impressions only.
    pub engagement_rate: Option<f64>,
    /// Mean sentiment; none without scored posts.
    pub sentiment: Option<MeanSentiment>,
}

/// A mean of scores.
#[derive(Debug, Clone, Copy, PartialEq, Serialize)]
pub struct MeanSentiment {
    /// Posts it is a mean of.
    pub scored_posts: u64,
    /// The mean, -1 to 1.
    pub mean: f64,
    /// Approximate 95 % interval of the mean; none where there are too few posts.
    pub interval: Option<Interval>,
}

/// From `low` to `high`.
#[derive(Debug, Clone, Copy, PartialEq, Serialize)]
pub struct Interval {
    /// Lower end.
    pub low: f64,
    /// Upper end.
    pub high: f64,
}

/// What the figures mean.
#[derive(Debug, PartialEq, Serialize)]
pub struct Definitions {
    /// Name of this set of meanings.
    pub version: &'static str,
    /// One a figure.
    pub terms: &'static [Definition],
}

/// What one figure means.
#[derive(Debug, PartialEq, Serialize)]
pub struct Definition {
    /// The figure.
    pub term: &'static str,
    /// What it means.
    pub meaning: &'static str,
}

/// The meanings used by this squall.
pub const DEFINITIONS: &Definitions = &Definitions {
    version: "reach-1",
    terms: &[
        Definition {
            term: "Posts",
            meaning: "Posts that belong to the campaign, by the hour (UTC) of their event time. Corrections and \
                      retractions are posts of their own and take nothing back.",
        },
        Definition {
            term: "Contributors",
            meaning: "Distinct author ids. Posts without an author add none. Distinct within each line, so \
                      neither channels nor hours add up to the total.",
        },
        Definition {
            term: "Potential audience",
            meaning: "Sum of the contributors' followers, each at the highest count seen in the line. Unknown \
                      counts add nothing; whoever follows several contributors is counted several times.",
        },
        Definition {
            term: "Observed impressions",
            meaning: "Sum of the impression counts that came with the posts. Nothing is modelled or \
                      extrapolated: posts without a count add nothing, and the share of posts with one stands beside it.",
        },
        Definition {
            term: "Engagements",
            meaning: "Likes, shares and comments that came with the posts. Unknown counts add nothing.",
        },
        Definition {
            term: "Engagement rate",
            meaning: "Engagements of the posts with an impression count, divided by their impressions.",
        },
        Definition {
            term: "Mean sentiment",
            meaning: "Mean over the scored posts of p_positive - p_negative, from -1 to 1.",
        },
        Definition {
            term: "95 % interval",
            meaning: "Mean ± 1.96 √((P + N - (P - N)²) / n), with P and N the means of p_positive and p_negative \
                      over n scored posts: each post is taken as one independent draw of positive, neutral or \
                      negative. Approximate: for independent posts it is wider than the spread of their scores \
                      asks for; where posts repeat each other it is too narrow. Left out below 30 scored posts.",
        },
        Definition {
            term: "Share of voice",
            meaning: "The channel's posts divided by all posts of the campaign.",
        },
    ],
};

/// How a report is written.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Format {
    /// A page that needs no other file, for screen and print.
    Html,
    /// One object.
    Json,
    /// One line each for the total, a channel, and a channel in an hour.
    Csv,
    /// Tables.
    Markdown,
}

impl Format {
    /// All formats.
    pub const ALL: [Self; 4] = [Self::Html, Self::Json, Self::Csv, Self::Markdown];

    /// The word by which it is asked for.
    pub fn name(self) -> &'static str {
        match self {
            Self::Html => "html",
            Self::Json => "json",
            Self::Csv => "csv",
            Self::Markdown => "markdown",
        }
    }

    /// Its media type, for HTTP.
    pub fn media_type(self) -> &'static str {
        match self {
            Self::Html => "text/html; charset=utf-8",
            Self::Json => "application/json",
            Self::Csv => "text/csv; charset=utf-8",
            Self::Markdown => "text/markdown; charset=utf-8",
        }
    }
}

impl std::str::FromStr for Format {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        Self::ALL
            .into_iter()
            .find(|format| format.name() == text)
            .ok_or_else(|| format!("'{text}' is no format: use html, json, csv or markdown"))
    }
}

impl CampaignReport {
    /// Makes the report of `figures`, which were asked for with the period of `subject`.
    pub fn new(mut subject: Subject, figures: &CampaignFigures) -> Self {
        let hours = || figures.hours.iter().map(|(hour, _, _)| *hour);
        subject.from = subject.from.map(|from| from.floor(HOUR)).or(hours().min());
        subject.to = match subject.to {
            Some(to) if to.floor(HOUR) == to => Some(to),
            Some(to) => Some(to.floor(HOUR) + HOUR),
            None => hours().max().map(|last| last + HOUR),
        };
        let posts = figures.total.posts;
        let channel = |(channel, totals): &(String, CampaignTotals)| ChannelReach {
            channel: channel.clone(),
            share_of_voice: ratio(totals.posts, posts).unwrap_or(0.0),
            reach: Reach::new(totals),
        };
        let hour = |(hour, channel, totals): &(Timestamp, String, CampaignTotals)| HourReach {
            hour: *hour,
            channel: channel.clone(),
            reach: Reach::new(totals),
        };
        Self {
            subject,
            total: Reach::new(&figures.total),
            channels: figures.channels.iter().map(channel).collect(),
            hours: figures.hours.iter().map(hour).collect(),
            definitions: DEFINITIONS,
        }
    }

    /// Writes it, with a line break at the end.
    pub fn render(&self, format: Format) -> String {
        match format {
            Format::Html => html::page(self),
            Format::Json => {
                serde_json::to_string(self).expect("all keys of a report are texts") + "\n"
            }
            Format::Csv => text::csv(self),
            Format::Markdown => text::markdown(self),
        }
    }
}

impl Reach {
    fn new(totals: &CampaignTotals) -> Self {
        let observed = totals.posts_with_impressions > 0;
        Self {
            posts: totals.posts,
            contributors: totals.contributors,
            potential_audience: totals.potential_audience,
            posts_with_impressions: totals.posts_with_impressions,
            share_with_impressions: ratio(totals.posts_with_impressions, totals.posts),
            observed_impressions: observed.then_some(totals.impressions),
            likes: totals.engagement.likes,
            shares: totals.engagement.shares,
            comments: totals.engagement.comments,
            engagements: engagements(&totals.engagement),
            engagement_rate: ratio(totals.engagements_with_impressions, totals.impressions),
            sentiment: MeanSentiment::new(totals),
        }
    }
}

impl MeanSentiment {
    fn new(totals: &CampaignTotals) -> Option<Self> {
        if totals.scored == 0 {
            return None;
        }
        let n = totals.scored as f64;
        let (positive, negative) = (totals.sums.positive / n, totals.sums.negative / n);
        let mean = positive - negative;
        // Variance of one draw from the labels -1, 0, 1; rounding may bring it below zero.
        let variance = (positive + negative - mean * mean).max(0.0);
        let half = 1.96 * (variance / n).sqrt();
        Some(Self {
            scored_posts: totals.scored,
            mean,
            interval: (totals.scored >= MIN_SCORED).then(|| Interval {
                low: (mean - half).max(-1.0),
                high: (mean + half).min(1.0),
            }),
        })
    }
}

fn ratio(part: u64, whole: u64) -> Option<f64> {
    (whole > 0).then(|| part as f64 / whole as f64)
}

#[cfg(test)]
mod tests;
