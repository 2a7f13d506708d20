//! Sums over a campaign's posts: what the store keeps by hour and channel, and reports are made of.

use crate::domain::{Engagement, ScoredPost, Sentiment, Timestamp};
use serde::Serialize;

/// Sums over a campaign's posts.
#[derive(Debug, Clone, Copy, Default, PartialEq, Serialize)]
pub struct CampaignTotals {
    /// Posts.
    pub posts: u64,
    /// Distinct authors.
    pub contributors: u64,
    /// Sum of the contributors' followers (each at their highest), audiences that overlap not removed.
    pub potential_audience: u64,
    /// Posts that came with an impression count.
    pub posts_with_impressions: u64,
    /// Sum of observed impressions.
    pub impressions: u64,
    /// Likes, shares and comments of the posts that came with an impression count: what can be divided by
    /// `impressions`.
    pub engagements_with_impressions: u64,
    /// Sums of likes, shares and comments over all posts, each none when no post came with it; `impressions`
    /// in here is always none.
    pub engagement: Engagement,
    /// Posts with a sentiment.
    pub scored: u64,
    /// Sums of the probabilities over the scored posts.
    pub sums: SentimentSums,
}

/// Sums of the probabilities.
#[derive(Debug, Clone, Copy, Default, PartialEq, Serialize)]
pub struct SentimentSums {
    /// Of p_negative.
    pub negative: f64,
    /// Of p_neutral.
    pub neutral: f64,
    /// Of p_positive.
    pub positive: f64,
}

/// Figures of a campaign, from which its report is made. Contributors are distinct within each cell, so
/// neither channels nor hours add up to the total.
#[derive(Debug, Clone, Default, PartialEq, Serialize)]
pub struct CampaignFigures {
    /// Over all channels and hours.
    pub total: CampaignTotals,
    /// By channel, most posts first.
    pub channels: Vec<(String, CampaignTotals)>,
    /// By hour and channel, in order of time.
    pub hours: Vec<(Timestamp, String, CampaignTotals)>,
}

impl SentimentSums {
    /// Adds one sentiment.
    pub fn add(&mut self, sentiment: &Sentiment) {
        self.negative += f64::from(sentiment.negative);
        self.neutral += f64::from(sentiment.neutral);
        self.positive += f64::from(sentiment.positive);
    }
}

impl CampaignTotals {
    /// Adds what one post brings, except to contributors and audience, which must be counted distinct.
    pub fn add_post(&mut self, post: &ScoredPost) {
        let mut one = Self {
            posts: 1,
            ..Self::default()
        };
        if let Some(engagement) = post.engagement {
            one.engagement = Engagement {
                impressions: None,
                ..engagement
            };
            if let Some(impressions) = engagement.impressions {
                one.posts_with_impressions = 1;
                one.impressions = impressions;
                one.engagements_with_impressions = engagements(&engagement).unwrap_or(0);
            }
        }
        if let Some(sentiment) = post.sentiment.as_ref().filter(|s| s.is_finite()) {
            one.scored = 1;
            one.sums.add(sentiment);
        }
        self.add(&one);
    }

    /// Adds the sums of other posts, except contributors and audience. Counts saturate.
    pub fn add(&mut self, other: &Self) {
        self.posts += other.posts;
        self.posts_with_impressions += other.posts_with_impressions;
        self.impressions = self.impressions.saturating_add(other.impressions);
        self.engagements_with_impressions = self
            .engagements_with_impressions
            .saturating_add(other.engagements_with_impressions);
        self.engagement.likes = add_known(self.engagement.likes, other.engagement.likes);
        self.engagement.shares = add_known(self.engagement.shares, other.engagement.shares);
        self.engagement.comments = add_known(self.engagement.comments, other.engagement.comments);
        self.scored += other.scored;
        self.sums.negative += other.sums.negative;
        self.sums.neutral += other.sums.neutral;
        self.sums.positive += other.sums.positive;
    }
}

/// Likes, shares and comments together; none when none of them is known.
pub fn engagements(engagement: &Engagement) -> Option<u64> {
    add_known(
        add_known(engagement.likes, engagement.shares),
        engagement.comments,
    )
}

/// The sum of what is known: a count that is not given is unknown, not zero.
fn add_known(one: Option<u64>, other: Option<u64>) -> Option<u64> {
    match (one, other) {
        (Some(one), Some(other)) => Some(one.saturating_add(other)),
        (one, other) => one.or(other),
    }
}
