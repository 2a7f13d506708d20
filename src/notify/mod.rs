//! Notification: alert messages become signed webhook deliveries ([Standard Webhooks 1.0.0]).
//!
//! [`alert_body`] writes the body, [`Notifier::deliver`] sends it to one [`Endpoint`] until it is taken or given
//! up. Which message goes where, and in which order, is the caller's: a delivery returns when it has ended, so
//! whoever awaits one before the next keeps the messages of an alert in order.
//!
//! [Standard Webhooks 1.0.0]: https://github.com/standard-webhooks/standard-webhooks/blob/main/spec/standard-webhooks.md

mod deliver;
mod endpoint;
mod payload;
mod reach;
mod retry;
mod sign;

pub use deliver::Notifier;
pub use endpoint::Endpoint;
pub use payload::{MAX_BODY_BYTES, alert_body};
