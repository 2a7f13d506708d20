//! Models: how good they are, and how they are made.

pub mod evaluation;
pub mod examples;
