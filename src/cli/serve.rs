//! `squall run`.

use super::signals;
use crate::app::{self, Role, Run};
use crate::config::{Config, EMBEDDED};
use std::collections::BTreeSet;
use std::sync::Arc;

/// Runs the service until a signal.
pub(super) async fn run(roles: BTreeSet<Role>, config: Config) -> anyhow::Result<()> {
    let roles = if roles.is_empty() { Role::all() } else { roles };
    let embedded = config.kafka.brokers == EMBEDDED;
    let named: Vec<&str> = roles.iter().map(|role| role.name()).collect();
    let named = named.join(", ");
    let run = Run {
        roles,
        dictionary: None,
        on_alert: Arc::new(|alert| {
            tracing::info!(entity = %alert.entity, kind = alert.kind.name(), severity = alert.severity.name(),
                alert = %alert.alert_id, p_value = alert.p_value, "alert");
        }),
        on_start: Box::new(move |started| {
            tracing::info!(roles = named, embedded, epoch = %started.connection.epoch(), "squall runs");
            if let Some(address) = started.address {
                tracing::info!("page and API at http://{address}");
            }
        }),
        shutdown: signals::shutdown()?,
    };
    app::run(config, run).await
}
