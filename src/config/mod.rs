//! Configuration: the documented `squall.toml` is compiled in and holds the defaults.

pub mod duration;
mod secret;
mod sections;

pub use secret::Secret;
pub use sections::*;
