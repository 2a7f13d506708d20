//! Campaigns: marketing efforts whose reach is reported.

use serde::{Deserialize, Serialize};
use std::fmt;
use std::sync::Arc;

/// Id of a campaign.
#[derive(Debug, Clone, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(transparent)]
pub struct CampaignId(pub Arc<str>);

/// A campaign and how its posts are recognised. A post that any of the four names belongs to it.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Campaign {
    /// Id, as in reports and in a post's `campaigns`.
    pub id: CampaignId,
    /// Name shown to people.
    pub name: String,
    /// Hashtags, with or without `#`; case does not matter.
    #[serde(default)]
    pub hashtags: Vec<String>,
    /// Values of `utm_campaign` in links.
    #[serde(default)]
    pub utm_campaigns: Vec<String>,
    /// Phrases, matched as whole words; case does not matter.
    #[serde(default)]
    pub phrases: Vec<String>,
    /// Author ids.
    #[serde(default)]
    pub authors: Vec<String>,
}

impl CampaignId {
    /// The id as text.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl From<&str> for CampaignId {
    fn from(id: &str) -> Self {
        Self(id.into())
    }
}

impl fmt::Display for CampaignId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(&self.0)
    }
}
