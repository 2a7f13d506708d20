//! Made-up streams of which the truth is known: how often detection alerts where nothing happens, and what it finds.

pub mod null;
pub mod oracle;
pub mod power;
pub mod world;
