//! Faults on purpose, for `make chaos`. In builds without debug assertions nothing of this is left.
//!
//! A process stops itself with SIGKILL where `SQUALL_FAULTS` says: `kill=store.inserted@3` at the third time it reaches
//! that point. `broken=token` switches a promise off, to show that the chaos test notices.

/// Where a process can be made to die.
pub const POINTS: [&str; 0] = [];

/// The process has come to a point.
pub fn reach(_point: &'static str) {}

/// Whether a promise is switched off.
pub fn is_broken(_promise: &'static str) -> bool {
    false
}
