//! `ArcSwapOption` and `ArcSwap` under the control of the model checker.

use std::sync::Arc;

use loom::sync::{Mutex, MutexGuard};

/// Contains the value itself, since a model has no reference counts to save.
pub(crate) type Guard<T> = T;

/// An `ArcSwapOption` with the operations that the tables use. Like the original, it synchronizes a load with the store whose
/// value it returns.
#[derive(Debug)]
pub(crate) struct ArcSwapOption<T>(Mutex<Option<Arc<T>>>);

impl<T> ArcSwapOption<T> {
    pub(crate) fn load(&self) -> Option<Arc<T>> {
        self.current().clone()
    }

    #[allow(dead_code, reason = "one of the models does not call it")]
    pub(crate) fn store(&self, value: Option<Arc<T>>) {
        drop(self.swap(value));
    }

    pub(crate) fn swap(&self, value: Option<Arc<T>>) -> Option<Arc<T>> {
        std::mem::replace(&mut self.current(), value)
    }

    /// Returns the value before the call.
    #[allow(dead_code, reason = "one of the models does not call it")]
    pub(crate) fn compare_and_swap(&self, expected: &Option<Arc<T>>, value: Option<Arc<T>>) -> Option<Arc<T>> {
        let mut current = self.current();
        let address = |value: &Option<Arc<T>>| value.as_ref().map(Arc::as_ptr);
        if address(&current) == address(expected) { std::mem::replace(&mut current, value) } else { current.clone() }
    }

    fn current(&self) -> MutexGuard<'_, Option<Arc<T>>> {
        self.0.lock().unwrap_or_else(|_| unreachable!("no thread panics"))
    }
}

impl<T> Default for ArcSwapOption<T> {
    fn default() -> Self {
        Self(Mutex::new(None))
    }
}

/// An `ArcSwap` with the operations of the store of used proofs.
#[allow(dead_code, reason = "one of the models does not use it")]
#[derive(Debug)]
pub(crate) struct ArcSwap<T>(ArcSwapOption<T>);

#[allow(dead_code, reason = "one of the models does not use it")]
impl<T> ArcSwap<T> {
    pub(crate) fn load(&self) -> Arc<T> {
        self.0.load().unwrap_or_else(|| unreachable!("it always has a value"))
    }

    /// Replaces the value by the result of a function, which is called again if another thread has replaced it meanwhile.
    pub(crate) fn rcu(&self, mut update: impl FnMut(&Arc<T>) -> T) {
        loop {
            let current = Some(self.load());
            let next = current.as_ref().map(&mut update).map(Arc::new);
            let found = self.0.compare_and_swap(&current, next);
            if found.as_ref().map(Arc::as_ptr) == current.as_ref().map(Arc::as_ptr) {
                return;
            }
        }
    }
}

impl<T: Default> Default for ArcSwap<T> {
    fn default() -> Self {
        Self(ArcSwapOption(Mutex::new(Some(Arc::default()))))
    }
}
