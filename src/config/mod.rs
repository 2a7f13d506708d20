//! Configuration: the documented `squall.toml` is compiled in and holds the defaults.

mod check;
mod clickhouse_keys;
mod client_keys;
pub mod duration;
mod environment;
mod load;
pub mod network;
mod secret;
mod sections;

pub use load::{ConfigErrors, load};
pub use secret::Secret;
pub use sections::*;

/// The documented default file, as compiled in.
pub const DEFAULTS: &str = include_str!("squall.toml");

/// Value of `kafka.brokers` and prefix-free marker for the broker inside the process.
pub const EMBEDDED: &str = "embedded";
