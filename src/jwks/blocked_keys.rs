//! `BlockedKeys`: the keys of an issuer that verify no token, although the issuer publishes them.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use crate::jwks::deny_list::DenyList;
use crate::jwks::history::History;
use crate::jwks::operation::CompromisedKeys;
use crate::keys::Thumbprint;

/// The keys that the application has revoked, and those whose private keys were published. Several sources of one issuer share them,
/// one after the other. A clone shares them.
#[derive(Clone, Debug, Default)]
pub(crate) struct BlockedKeys(Arc<Lists>);

#[derive(Debug, Default)]
struct Lists {
    denied: Mutex<DenyList>,
    compromised: Mutex<Arc<CompromisedKeys>>,
}

/// What is left of blocked keys that no source uses.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum TrimResult {
    /// A source uses them.
    InUse,
    /// The application has revoked keys.
    Denied,
    /// So many private keys were published, and no key was revoked.
    Compromised(usize),
}

impl BlockedKeys {
    pub(super) fn denied(&self) -> MutexGuard<'_, DenyList> {
        self.0.denied.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Returns the keys whose private keys were published.
    pub(super) fn compromised(&self) -> Arc<CompromisedKeys> {
        Arc::clone(&self.lock_compromised())
    }

    /// Records the keys of one document whose private keys were published. Returns all of them.
    pub(super) fn record_compromised(&self, keys: impl IntoIterator<Item = Thumbprint>) -> Arc<CompromisedKeys> {
        let mut compromised = self.lock_compromised();
        Arc::make_mut(&mut compromised).record(keys);
        Arc::clone(&compromised)
    }

    /// Returns what must stay in memory. If no source uses the keys, drops the rest.
    pub(crate) fn trim(&self) -> TrimResult {
        if Arc::strong_count(&self.0) > 1 {
            return TrimResult::InUse;
        }
        let mut denied = self.denied();
        denied.history = History::default();
        if denied.is_empty() { TrimResult::Compromised(self.lock_compromised().len()) } else { TrimResult::Denied }
    }

    #[cfg(test)]
    pub(crate) fn compromise(&self, keys: impl IntoIterator<Item = Thumbprint>) {
        drop(self.record_compromised(keys));
    }

    #[cfg(test)]
    pub(crate) fn compromised_count(&self) -> usize {
        self.lock_compromised().len()
    }

    fn lock_compromised(&self) -> MutexGuard<'_, Arc<CompromisedKeys>> {
        self.0.compromised.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
