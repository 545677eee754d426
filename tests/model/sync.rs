//! The types of `src/validator/token_cache/sync.rs`, under the control of the model checker.

pub(super) use std::sync::{Arc, PoisonError};

pub(super) use loom::sync::atomic::{AtomicU8, AtomicU16, Ordering};
pub(super) use loom::sync::{Mutex, MutexGuard};

/// Contains the value itself, since a model has no reference counts to save.
pub(super) type Guard<T> = T;

/// An `ArcSwapOption` with the operations that the table uses. Like the original, it synchronizes a load with the store whose
/// value it returns.
#[derive(Debug)]
pub(super) struct ArcSwapOption<T>(Mutex<Option<Arc<T>>>);

impl<T> ArcSwapOption<T> {
    pub(super) fn load(&self) -> Option<Arc<T>> {
        self.0.lock().unwrap_or_else(|_| unreachable!("no thread panics")).clone()
    }

    pub(super) fn swap(&self, value: Option<Arc<T>>) -> Option<Arc<T>> {
        let mut current = self.0.lock().unwrap_or_else(|_| unreachable!("no thread panics"));
        std::mem::replace(&mut current, value)
    }
}

impl<T> Default for ArcSwapOption<T> {
    fn default() -> Self {
        Self(Mutex::new(None))
    }
}
