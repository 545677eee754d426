//! `KeyRing`: the keys of one trusted issuer, static or fetched.

use std::num::NonZeroU64;
use std::sync::Arc;
use std::time::Duration;

use crate::jwks::error::KeysUnavailable;
use crate::jwks::key_epoch::{KeyEpoch, RingSerial};
use crate::jwks::secrets::SecretSource;
use crate::jwks::snapshot::Snapshot;
use crate::jwks::source::{KeySource, View};
use crate::keys::{Found, KeyTable};
use crate::token::{Algorithm, CertificateHashes, Header, KeyId};

/// The keys of one issuer. A clone shares fetched keys.
#[derive(Clone)]
pub(crate) struct KeyRing {
    serial: RingSerial,
    keys: Keys,
}

/// The keys of one issuer, by where they come from.
#[derive(Clone)]
enum Keys {
    /// Configured at start: secrets or public keys.
    Static(KeyTable),
    /// Secrets that the application can replace at run time.
    SecretSource(SecretSource),
    /// Keys that are fetched and refreshed in the background.
    Remote(KeySource),
}

/// The key that a token needs.
pub(crate) struct WantedKey {
    kid: Option<Box<str>>,
    certificate: Option<Box<CertificateHashes>>,
    algorithm: Algorithm,
    /// The epoch of the keys that do not verify the token; `None` if they do not include its key.
    failed_epoch: Option<NonZeroU64>,
}

/// Why there is no key for a token.
#[derive(Clone, Copy, Debug)]
pub(crate) enum KeyWaitError {
    /// No key of the issuer is usable.
    Unavailable(KeysUnavailable),
    /// No key verifies the token, and the issuer has not published another one for it.
    NotReplaced,
}

impl WantedKey {
    pub(crate) fn new(header: &Header, failed_epoch: Option<NonZeroU64>) -> Self {
        let KeyId { kid, certificate } = header.key_id();
        let certificate = certificate.map(|certificate| Box::new(certificate.clone()));
        Self { kid: kid.map(Box::from), certificate, algorithm: header.algorithm(), failed_epoch }
    }

    fn id(&self) -> KeyId<'_> {
        KeyId { kid: self.kid.as_deref(), certificate: self.certificate.as_deref() }
    }

    fn find<'k>(&self, table: &'k KeyTable) -> Found<'k> {
        table.find(self.id(), self.algorithm)
    }

    fn has_other_candidate(&self, table: &KeyTable, earlier: &KeyTable) -> bool {
        table.has_other_candidate(earlier, self.id(), self.algorithm)
    }
}

impl KeyRing {
    /// Creates a ring of secrets or public keys that are configured at start.
    pub(crate) fn fixed(keys: KeyTable) -> Self {
        Self::new(Keys::Static(keys))
    }

    /// Creates a ring of secrets that the application can replace.
    pub(crate) fn secrets(source: SecretSource) -> Self {
        Self::new(Keys::SecretSource(source))
    }

    /// Creates a ring of keys that are fetched.
    pub(crate) fn fetched(source: KeySource) -> Self {
        Self::new(Keys::Remote(source))
    }

    fn new(keys: Keys) -> Self {
        Self { serial: RingSerial::next(), keys }
    }

    /// Calls `read` with the current keys and their epoch. Returns `None` if no keys are usable.
    pub(crate) fn with_usable_keys<T>(&self, read: impl FnOnce(&KeyTable, KeyEpoch) -> T) -> Option<T> {
        match &self.keys {
            Keys::Static(keys) => Some(read(keys, self.epoch(STATIC_EPOCH))),
            Keys::SecretSource(secrets) => Some(read(&secrets.table(), self.epoch(STATIC_EPOCH))),
            Keys::Remote(source) => match source.snapshot() {
                View::Usable(snapshot) => Some(read(&snapshot.table, self.epoch(snapshot.epoch))),
                View::Unavailable => None,
            },
        }
    }

    fn epoch(&self, number: u64) -> KeyEpoch {
        KeyEpoch { ring: self.serial, number }
    }

    /// Returns whether a fetch may find an unknown key.
    pub(crate) fn may_fetch(&self) -> bool {
        self.source().is_some()
    }

    /// Returns whether a fetch may find another key for a token that no key verifies.
    pub(crate) fn may_be_replaced(&self) -> bool {
        self.source().is_some_and(KeySource::may_be_replaced)
    }

    /// Waits until keys are usable. If they do not include the token's key, waits for a fetch that may find it. If no key of an
    /// epoch verifies the token, waits for a fetch that may find another key. No signature is checked twice with the same keys.
    #[expect(
        clippy::manual_async_fn,
        reason = "an `async fn` takes memory for its arguments twice, in each waiting request"
    )]
    pub(crate) fn wait_for_key<'a>(
        &'a self,
        key: &'a WantedKey,
    ) -> impl Future<Output = Result<(KeyTable, KeyEpoch), KeyWaitError>> + Send + 'a {
        async move {
            let source = match &self.keys {
                Keys::Static(keys) => return Ok((keys.clone(), self.epoch(STATIC_EPOCH))),
                Keys::SecretSource(secrets) => {
                    return Ok((KeyTable::clone(&secrets.table()), self.epoch(STATIC_EPOCH)));
                }
                Keys::Remote(source) => source,
            };
            let (snapshot, since) = match usable(source) {
                Some(snapshot) => (snapshot, None),
                None => {
                    let since = source.now();
                    (source.ready_snapshot().await.map_err(KeyWaitError::Unavailable)?, Some(since))
                }
            };
            let newest = match key.failed_epoch {
                None => {
                    let has_key = |table: &KeyTable| !matches!(key.find(table), Found::Unknown);
                    if has_key(&snapshot.table) {
                        snapshot
                    } else {
                        let newer = source.newer_keys(snapshot.epoch, since, key.id().text(), has_key).await;
                        newer.map_err(KeyWaitError::Unavailable)?.unwrap_or(snapshot)
                    }
                }
                // The keys have changed since the signature was checked.
                Some(epoch) if snapshot.epoch > epoch.get() => snapshot,
                Some(epoch) => {
                    let is_replaced = |table: &KeyTable| key.has_other_candidate(table, &snapshot.table);
                    let newer = source.replaced_keys(epoch.get(), is_replaced).await;
                    match newer.map_err(KeyWaitError::Unavailable)? {
                        Some(newer) => newer,
                        None if matches!(key.find(&snapshot.table), Found::Keys(_)) => {
                            return Err(KeyWaitError::NotReplaced);
                        }
                        // The keys have no candidate, and the token is rejected for the same reason as before.
                        None => snapshot,
                    }
                }
            };
            Ok((newest.table.clone(), self.epoch(newest.epoch)))
        }
    }

    /// Returns the error for a request that finds no usable keys and does not wait.
    pub(crate) fn unavailable(&self) -> KeyWaitError {
        match &self.keys {
            // Static keys are always usable.
            Keys::Static(_) | Keys::SecretSource(_) => KeyWaitError::NotReplaced,
            Keys::Remote(source) => KeyWaitError::Unavailable(source.unavailable()),
        }
    }

    /// Returns how long ago the issuer confirmed its keys; `None` for keys that are not fetched.
    pub(crate) fn age(&self) -> Option<Duration> {
        self.source().and_then(KeySource::age)
    }

    /// Returns whether tokens can be verified now.
    pub(crate) fn is_ready(&self) -> bool {
        match &self.keys {
            Keys::Static(_) | Keys::SecretSource(_) => true,
            Keys::Remote(source) => source.status().is_ready(),
        }
    }

    /// Returns the source, if the keys are fetched.
    pub(crate) fn source(&self) -> Option<&KeySource> {
        match &self.keys {
            Keys::Static(_) | Keys::SecretSource(_) => None,
            Keys::Remote(source) => Some(source),
        }
    }
}

/// Returns the current keys, if they are usable.
fn usable(source: &KeySource) -> Option<Arc<Snapshot>> {
    match source.snapshot() {
        View::Usable(snapshot) => Some(Arc::clone(&snapshot)),
        View::Unavailable => None,
    }
}

/// The epoch of keys that are not fetched.
const STATIC_EPOCH: u64 = 0;
