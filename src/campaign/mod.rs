//! Campaigns: which posts belong to which.

mod matching;

pub use matching::CampaignMatcher;
