//! The types of `src/dpop/replay/sync.rs`, under the control of the model checker.

#[path = "arc_swap.rs"]
mod arc_swap;

pub(super) use std::sync::Arc;

pub(super) use loom::sync::atomic::{AtomicU64, AtomicUsize, Ordering};

pub(super) use self::arc_swap::{ArcSwapOption, Guard};

/// A `OnceLock` with the operations that the table uses. Like the original, it synchronizes a read with the write of the value.
///
/// The value is never freed, since a reference to it may outlive the lock in a model.
#[derive(Debug)]
pub(super) struct OnceLock<T: 'static>(loom::sync::Mutex<Option<&'static T>>);

impl<T> OnceLock<T> {
    pub(super) fn get(&self) -> Option<&'static T> {
        *self.0.lock().unwrap_or_else(|_| unreachable!("no thread panics"))
    }

    pub(super) fn set(&self, value: T) -> Result<(), T> {
        let mut current = self.0.lock().unwrap_or_else(|_| unreachable!("no thread panics"));
        if current.is_some() {
            return Err(value);
        }
        *current = Some(Box::leak(Box::new(value)));
        Ok(())
    }
}

impl<T> Default for OnceLock<T> {
    fn default() -> Self {
        Self(loom::sync::Mutex::new(None))
    }
}
