//! SIGINT and SIGTERM: the first drains, the second ends at once.

use tokio::signal::unix::{SignalKind, signal};
use tokio_util::sync::CancellationToken;

/// A token that the first signal cancels.
///
/// # Errors
/// When the signals cannot be listened to.
pub(super) fn shutdown() -> std::io::Result<CancellationToken> {
    let token = CancellationToken::new();
    let mut interrupt = signal(SignalKind::interrupt())?;
    let mut terminate = signal(SignalKind::terminate())?;
    let cancelled = token.clone();
    tokio::spawn(async move {
        for last in [false, true] {
            let code = tokio::select! {
                _ = interrupt.recv() => 130,
                _ = terminate.recv() => 143,
            };
            if last {
                tracing::warn!("ended at once: what was in flight is not committed");
                std::process::exit(code);
            }
            tracing::info!("draining; a second signal ends at once");
            cancelled.cancel();
        }
    });
    Ok(token)
}
