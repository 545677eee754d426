//! `EventHook`: the application's callback for events.

use std::fmt;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Arc;

/// The application's callback for events of type `E`. It is foreign code, so no lock is held during a call.
pub(crate) struct EventHook<E>(Arc<dyn Fn(&E) + Send + Sync>);

impl<E> EventHook<E> {
    pub(crate) fn new(hook: impl Fn(&E) + Send + Sync + 'static) -> Self {
        Self(Arc::new(hook))
    }

    /// Calls the hook; returns false if it panics. Only the hook itself can observe the state that a panic leaves behind.
    pub(crate) fn call(&self, event: &E) -> bool {
        catch_unwind(AssertUnwindSafe(|| (self.0)(event))).is_ok()
    }
}

impl<E> Clone for EventHook<E> {
    fn clone(&self) -> Self {
        Self(Arc::clone(&self.0))
    }
}

/// Compares allocations, since closures cannot be compared: a hook equals its own clones only.
impl<E> PartialEq for EventHook<E> {
    fn eq(&self, other: &Self) -> bool {
        Arc::ptr_eq(&self.0, &other.0)
    }
}

impl<E> Eq for EventHook<E> {}

impl<E> fmt::Debug for EventHook<E> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("EventHook")
    }
}
