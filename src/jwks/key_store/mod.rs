//! `KeyStore`: key sets that survive a restart.

mod changes;
mod file;
mod record;
mod removal;

use std::fmt;
use std::future::{Future, ready};
use std::pin::Pin;
use std::sync::Arc;

use bytes::Bytes;

use crate::jwks::key_store_error::KeyStoreError;

pub use self::file::FileKeyStore;
pub(super) use self::record::{Record, RecordName, StoredKeys};
pub(crate) use self::removal::TenantRecords;

/// Stores the last key set of each issuer, so that a process that starts while an issuer does not respond has keys.
///
/// [`FileKeyStore`] stores them in a directory. Set a store with
/// [`ValidatorBuilder::with_key_store`](crate::ValidatorBuilder::with_key_store).
///
/// A store is used in the background only. No request waits for a save. If loading fails or takes longer than 500 ms, keys come
/// from the first fetch. A request at start then waits up to 500 ms longer for its 503.
///
/// An implementation maps a name to bytes. It needs no check of the bytes. A save counts as failed after 500 ms, and is dropped
/// after a minute if another one is due; until then it may complete. An implementation that has to block uses a thread for
/// that. A record is text (JSON), contains public keys only, and is seldom longer than a few kilobytes.
///
/// # Security
///
/// The store is as trusted as the network connection to the issuer: anyone who can write to it can add keys, and then sign
/// tokens that are accepted until the first fetch has succeeded. Do not share it with less trusted programs; a cache server that
/// other services write to is not suitable.
///
/// Loaded keys are checked like fetched ones. They are stale from the start, so they are fetched at once, and they expire
/// [`max_stale`](crate::jwks::RefreshPolicy::with_max_stale) after the issuer confirmed them, also across restarts. Only the wall
/// clock measures that time while no process runs; a record with a time in the future is not used. Revocations
/// ([`revoke_kid`](crate::jwks::KeySource::revoke_kid)) are not stored.
pub trait KeyStore: fmt::Debug + Send + Sync + 'static {
    /// Returns the record that was saved last under `name`; `None` if there is none.
    ///
    /// `name` has at most 64 ASCII letters, digits, `-` and `_`, and is a valid file name. Do not read more than `max_bytes`
    /// bytes: return [`KeyStoreError::TooLarge`] instead.
    fn load(&self, name: &str, max_bytes: usize) -> KeyStoreFuture<Option<Bytes>>;

    /// Saves a record under `name` and replaces the earlier one, as a whole or not at all. It is not called again by one key
    /// source before the future has completed or was dropped; two sources of one issuer may call it at the same time.
    fn save(&self, name: &str, record: Bytes) -> KeyStoreFuture<()>;

    /// Removes the record under `name`, if there is one. A save of this name that was called earlier must not restore it.
    ///
    /// It is called for a [tenant](crate::config::Tenants) that this process knows and whose resolver returns `None`, and for each call of
    /// [`TenantList::remove`](crate::TenantList::remove): the next tenant with this name may be another customer, with other keys. It is
    /// never called because of a token with an unknown `iss`. One removal runs at a time, and is dropped after a minute.
    ///
    /// The default returns [`KeyStoreError::RemoveUnsupported`]. The process that removed a tenant does not load its record before
    /// the keys in it have expired, even if the removal fails. Another process, or the same one after a restart, may load it.
    fn remove(&self, name: &str) -> KeyStoreFuture<()> {
        let _unused = name;
        Box::pin(ready(Err(KeyStoreError::RemoveUnsupported)))
    }
}

/// The future of the methods of [`KeyStore`].
pub type KeyStoreFuture<T> = Pin<Box<dyn Future<Output = Result<T, KeyStoreError>> + Send>>;

impl<S: KeyStore + ?Sized> KeyStore for Arc<S> {
    fn load(&self, name: &str, max_bytes: usize) -> KeyStoreFuture<Option<Bytes>> {
        (**self).load(name, max_bytes)
    }

    fn save(&self, name: &str, record: Bytes) -> KeyStoreFuture<()> {
        (**self).save(name, record)
    }

    fn remove(&self, name: &str) -> KeyStoreFuture<()> {
        (**self).remove(name)
    }
}
