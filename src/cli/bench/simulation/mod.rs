//! Made-up streams of which the truth is known: how often detection alerts where nothing happens, what it finds, and how fast it is.

pub mod null;
pub mod oracle;
pub mod power;
pub mod speed;
pub mod world;
