//! Connectors: what brings posts in.

pub mod demo;
