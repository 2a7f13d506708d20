//! The one way a mutex is locked.

use std::sync::{Mutex, MutexGuard, PoisonError};

/// The lock, also after a thread that held it has panicked: what these locks guard is whole at every step.
pub(crate) fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}
