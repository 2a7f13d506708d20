//! What squall tells about itself: metrics for Prometheus, and the log.

mod health;
mod log;
mod metrics;

pub use health::Health;
pub use log::{LogFormat, init};
pub use metrics::{Family, Metrics};
