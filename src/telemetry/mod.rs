//! What squall tells about itself: metrics for Prometheus, and the log.

mod log;
mod metrics;

pub use log::{LogFormat, init};
pub use metrics::{Family, Metrics};
