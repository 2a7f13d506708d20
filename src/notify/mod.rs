//! Notification: alert messages become signed webhook deliveries ([Standard Webhooks 1.0.0]).
//!
//! [`Endpoint::write`] writes the body, [`Notifier::attempt`] sends it once to one [`Endpoint`] and tells what follows.
//! Which message goes where, in which order, and when it is sent again, is the caller's.
//!
//! [Standard Webhooks 1.0.0]: https://github.com/standard-webhooks/standard-webhooks/blob/main/spec/standard-webhooks.md

mod cause;
mod deliver;
mod endpoint;
mod format;
mod guard;
mod notice;
mod payload;
mod reach;
pub mod retry;
mod routing;
mod sign;

pub use deliver::{Attempt, Next, Notifier};
pub use endpoint::{Endpoint, Limit};
pub use format::{Facts, sample, samples};
pub use guard::Guard;
pub use notice::{Alive, EndpointDisabled, Group, Member, Notice};
pub use payload::{MAX_BODY_BYTES, alert_body, notice_body};
pub use routing::{Routing, Subject};
