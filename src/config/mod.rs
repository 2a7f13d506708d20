//! Configuration: the documented `squall.toml` is compiled in and holds the defaults.

mod budget;
mod check;
mod clickhouse_keys;
mod client_keys;
mod devices;
pub mod duration;
mod environment;
mod load;
pub mod network;
mod rules;
mod secret;
mod sections;

pub use budget::Budget;
pub use devices::Devices;
pub use load::{ConfigErrors, load};
pub use rules::RuleConfig;
pub use secret::Secret;
pub use sections::*;

/// The documented default file, as compiled in.
pub const DEFAULTS: &str = include_str!("squall.toml");

/// Value of `kafka.brokers` and prefix-free marker for the broker inside the process.
pub const EMBEDDED: &str = "embedded";
