//! Campaigns: marketing efforts, the figures of their reach, and the report made of them. Pure.

pub mod figures;
pub mod report;
