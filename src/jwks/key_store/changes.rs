//! `Changes`: the order of the saves and removals in one directory.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::SystemTime;

/// The saves and removals that have not ended. Each runs on a separate thread, so an earlier one may be slower than a later one.
#[derive(Debug)]
pub(super) struct Changes {
    by_name: Mutex<HashMap<Box<str>, Unfinished>>,
    /// When the directory was cleaned last. Locked while a file is changed.
    cleaned_at: Mutex<Option<SystemTime>>,
}

/// The changes of one name. Its entry is dropped with the last of them.
#[derive(Debug, Default)]
struct Unfinished {
    count: usize,
    /// The number of the last change that was started.
    started: u64,
    /// The highest number of a change that was made.
    made: u64,
}

/// A save or removal that has not ended.
pub(super) struct Change {
    changes: Arc<Changes>,
    name: Box<str>,
    number: u64,
}

impl Changes {
    pub(super) fn new(cleaned_at: Option<SystemTime>) -> Self {
        Self { by_name: Mutex::default(), cleaned_at: Mutex::new(cleaned_at) }
    }

    pub(super) fn start(self: &Arc<Self>, name: &str) -> Change {
        let mut by_name = self.by_name();
        let unfinished = by_name.entry(Box::from(name)).or_default();
        unfinished.count = unfinished.count.saturating_add(1);
        unfinished.started = unfinished.started.saturating_add(1);
        Change { changes: Arc::clone(self), name: Box::from(name), number: unfinished.started }
    }

    fn by_name(&self) -> MutexGuard<'_, HashMap<Box<str>, Unfinished>> {
        self.by_name.lock().unwrap_or_else(PoisonError::into_inner)
    }

    #[cfg(test)]
    pub(super) fn unfinished(&self) -> usize {
        self.by_name().len()
    }
}

impl Change {
    pub(super) fn name(&self) -> &str {
        &self.name
    }

    /// Calls `make`, unless a later change of the same name was made already. No other change is made at the same time. The argument is
    /// the time at which the directory was cleaned last.
    pub(super) fn apply<E>(&self, make: impl FnOnce(&mut Option<SystemTime>) -> Result<(), E>) -> Result<(), E> {
        let mut cleaned_at = self.changes.cleaned_at.lock().unwrap_or_else(PoisonError::into_inner);
        let is_outdated = self.changes.by_name().get(&self.name).is_some_and(|latest| latest.made > self.number);
        if is_outdated {
            return Ok(());
        }
        make(&mut cleaned_at)?;
        if let Some(unfinished) = self.changes.by_name().get_mut(&self.name) {
            unfinished.made = self.number;
        }
        Ok(())
    }
}

impl Drop for Change {
    fn drop(&mut self) {
        let mut by_name = self.changes.by_name();
        if let Some(unfinished) = by_name.get_mut(&self.name) {
            unfinished.count = unfinished.count.saturating_sub(1);
            if unfinished.count == 0 {
                by_name.remove(&self.name);
            }
        }
    }
}
