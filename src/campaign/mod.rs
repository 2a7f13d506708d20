//! Campaigns: which posts belong to which, the figures of their reach, and the report made of them. Pure.

pub mod figures;
mod matching;
pub mod report;

pub use matching::CampaignMatcher;
