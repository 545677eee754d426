//! `KeyEvent`: the events of a key source, for the log and for the event hook.

use std::fmt;

mod notifier;

use std::sync::Arc;
use std::time::Duration;

use crate::jwks::cause::RefreshCause;
use crate::jwks::error::RefreshError;
use crate::jwks::key_store_error::{KeyStoreError, KeyStoreOperation};
use crate::keys::SkipReason;
use crate::telemetry::{self, Refreshed};

pub(super) use self::notifier::Notifier;

/// An event of an issuer's keys: see [`RefreshPolicy::with_event_hook`](crate::jwks::RefreshPolicy::with_event_hook).
///
/// Like the log, an event contains only fixed names, counts and durations: no key, no `kid` and no part of a token.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct KeyEvent {
    issuer: Arc<str>,
    kind: KeyEventKind,
}

impl KeyEvent {
    fn new(issuer: &Arc<str>, kind: KeyEventKind) -> Self {
        Self { issuer: Arc::clone(issuer), kind }
    }

    /// Returns the first configured `iss` value of the issuer.
    #[must_use]
    pub fn issuer(&self) -> &str {
        &self.issuer
    }

    /// Returns the kind of the event.
    #[must_use]
    pub fn kind(&self) -> KeyEventKind {
        self.kind
    }
}

/// The kind of a [`KeyEvent`].
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum KeyEventKind {
    /// The first key set was loaded. This is not sent if stored or initial keys were in use before.
    #[non_exhaustive]
    InitialLoad {
        /// The number of keys that can verify tokens.
        usable: usize,
        /// The number of skipped keys.
        skipped: usize,
    },
    /// A later key set was loaded.
    #[non_exhaustive]
    Refreshed {
        /// The cause of the fetch.
        cause: RefreshCause,
        /// Whether the key set differs from the previous one, in its keys or their kids.
        changed: bool,
        /// The epoch of the keys in use; it increases whenever they change.
        epoch: u64,
        /// The number of new keys.
        added: usize,
        /// The number of removed keys.
        removed: usize,
        /// The number of keys that can verify tokens.
        usable: usize,
        /// The number of skipped keys.
        skipped: usize,
    },
    /// The server confirmed the current key set (304).
    #[non_exhaustive]
    NotModified {
        /// The cause of the fetch.
        cause: RefreshCause,
    },
    /// A fetch failed. The current keys stay in use, except those whose private keys the response contains.
    #[non_exhaustive]
    RefreshFailed {
        /// Why the fetch failed. The log has its [`name`](RefreshError::name) in the field `class`.
        error: RefreshError,
        /// The number of consecutive failed fetches.
        consecutive: u32,
        /// The time to the next attempt.
        next_in: Duration,
    },
    /// The keys are stale because no refresh has succeeded in time. They stay in use until they expire.
    #[non_exhaustive]
    StaleEntered {
        /// The time until the keys expire, if no refresh succeeds before.
        remaining: Duration,
    },
    /// Stale or expired keys were confirmed or replaced. This is not sent if the first fetch replaces stored or initial keys.
    StaleRecovered,
    /// The keys are no longer used, and requests are rejected with 503. The keys are too old, or the issuer has published a
    /// private key by mistake, and there is no other usable key.
    Expired,
    /// Requests had tokens with unknown kids since the last event of this kind.
    #[non_exhaustive]
    UnknownKid {
        /// What was done for these requests.
        action: UnknownKidAction,
        /// The number of requests.
        requests: u64,
    },
    /// One key of a key set is skipped. This is reported once per key set, not at every fetch. Of a document that is not a key
    /// set, or has too many keys, only private keys are reported.
    #[non_exhaustive]
    KeySkipped {
        /// The position of the key in the key set, from 0. For a private key elsewhere in the document, its position in the
        /// array that contains it, or 0.
        position: usize,
        /// The reason.
        reason: SkipReason,
        /// Whether the whole key set is rejected. The fetch then counts as failed, and the event
        /// [`RefreshFailed`](Self::RefreshFailed) has the error.
        set_rejected: bool,
    },
    /// A new key set has other keys than before for the same kids. The cause can be a mistake of the issuer or a restored
    /// backup.
    #[non_exhaustive]
    KeyMaterialChanged {
        /// The number of kids.
        replaced: usize,
    },
    /// The issuer publishes a private key, with which everyone who reads the key set can sign tokens. This is reported once per
    /// key set, even if the whole key set is rejected. By default, the public key is no longer used, whether it comes from this
    /// key set or from an earlier or later one of this source.
    #[non_exhaustive]
    PrivateKeyPublished {
        /// Whether the public key is still used, because the policy [allows
        /// it](crate::jwks::RefreshPolicy::dangerous_accept_private_keys).
        in_use: bool,
    },
    /// A fetch returned a key set without usable keys. It is rejected, and the fetch counts as failed.
    EmptySet,
    /// The discovery document names another `jwks_uri` than before.
    DiscoveryChanged,
    /// The discovery document could not be read again; the last `jwks_uri` stays in use.
    #[non_exhaustive]
    DiscoveryFailed {
        /// The error.
        error: RefreshError,
    },
    /// Stored keys are used until the first fetch has succeeded.
    #[non_exhaustive]
    StoredKeysLoaded {
        /// The number of keys that can verify tokens.
        usable: usize,
        /// The time since the issuer confirmed them.
        age: Duration,
    },
    /// The key store failed, or its keys are not used.
    #[non_exhaustive]
    KeyStoreFailed {
        /// What it was used for.
        operation: KeyStoreOperation,
        /// The error; [`KeyStoreError::name`] is the `class` of the log.
        error: KeyStoreError,
    },
    /// The application called [`KeySource::reload`](crate::jwks::KeySource::reload).
    Reload,
    /// The source was closed; this is its last event.
    Closed,
}

impl KeyEventKind {
    /// Returns a stable snake_case name, for a log line or a metric label.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::InitialLoad { .. } => "initial_load",
            Self::Refreshed { .. } => "refreshed",
            Self::NotModified { .. } => "not_modified",
            Self::RefreshFailed { .. } => "refresh_failed",
            Self::StaleEntered { .. } => "stale_entered",
            Self::StaleRecovered => "stale_recovered",
            Self::Expired => "expired",
            Self::UnknownKid { .. } => "unknown_kid",
            Self::KeySkipped { .. } => "key_skipped",
            Self::KeyMaterialChanged { .. } => "key_material_changed",
            Self::PrivateKeyPublished { .. } => "private_key_published",
            Self::EmptySet => "empty_set",
            Self::DiscoveryChanged => "discovery_changed",
            Self::DiscoveryFailed { .. } => "discovery_failed",
            Self::StoredKeysLoaded { .. } => "stored_keys_loaded",
            Self::KeyStoreFailed { .. } => "key_store_failed",
            Self::Reload => "reload",
            Self::Closed => "closed",
        }
    }

    fn log(self, issuer: &str) {
        match self {
            Self::InitialLoad { usable, skipped } => telemetry::jwks_initial_load(issuer, usable, skipped),
            Self::Refreshed { cause, changed: false, .. } => telemetry::jwks_unchanged(issuer, cause.name()),
            Self::Refreshed { cause, changed: true, epoch, added, removed, usable, skipped } => {
                let set = Refreshed { epoch, added, removed, usable, skipped };
                telemetry::jwks_refreshed(issuer, cause.name(), set);
            }
            Self::NotModified { cause } => telemetry::jwks_not_modified(issuer, cause.name()),
            Self::RefreshFailed { error, consecutive, next_in } => {
                telemetry::jwks_refresh_failed(issuer, error.name(), consecutive, next_in);
            }
            Self::StaleEntered { remaining } => telemetry::jwks_stale_entered(issuer, remaining),
            Self::StaleRecovered => telemetry::jwks_stale_recovered(issuer),
            Self::Expired => telemetry::jwks_expired(issuer),
            // Each request logs its own line.
            Self::UnknownKid { .. } => {}
            Self::KeySkipped { position, reason, set_rejected } => {
                telemetry::jwks_key_skipped(issuer, position, reason.name(), set_rejected);
            }
            Self::KeyMaterialChanged { replaced } => telemetry::jwks_key_material_changed(issuer, replaced),
            Self::PrivateKeyPublished { in_use: false } => telemetry::jwks_private_key_published(issuer),
            Self::PrivateKeyPublished { in_use: true } => telemetry::jwks_private_key_published_and_used(issuer),
            Self::EmptySet => telemetry::jwks_empty_set(issuer),
            Self::DiscoveryChanged => telemetry::jwks_discovery_changed(issuer),
            Self::DiscoveryFailed { error } => telemetry::jwks_discovery_failed(issuer, error.name()),
            Self::StoredKeysLoaded { usable, age } => telemetry::jwks_stored_keys_loaded(issuer, usable, age),
            Self::KeyStoreFailed { operation, error } => {
                telemetry::jwks_key_store_failed(issuer, operation.name(), error.name());
            }
            Self::Reload => telemetry::jwks_reload(issuer),
            Self::Closed => telemetry::jwks_closed(issuer),
        }
    }
}

impl fmt::Display for KeyEventKind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

/// What was done for a request whose token has an unknown `kid`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum UnknownKidAction {
    /// The request started a fetch.
    Fetched,
    /// The request waited for a fetch that was in flight already.
    Joined,
    /// The request needed no fetch, because a newer key set with the key had been loaded meanwhile.
    Renewed,
    /// The request arrived during the cool-down. A follow-up fetch is scheduled for the end of the cool-down.
    Cooldown,
    /// The request started no fetch, because an earlier one has not found its `kid`. The next fetch looks for it again, at the
    /// latest after the [longest cool-down](crate::jwks::RefreshPolicy::with_unknown_kid_cooldown_max).
    Absent,
    /// The request arrived during the backoff after a failed fetch, so it started no fetch.
    Backoff,
    /// The fetch had not ended when the request stopped waiting, after
    /// [`with_unknown_kid_wait`](crate::jwks::RefreshPolicy::with_unknown_kid_wait) or
    /// [`with_cold_wait`](crate::jwks::RefreshPolicy::with_cold_wait). The fetch continues, and its key set serves the next request.
    TimedOut,
    /// The request could not wait for a fetch: no tokio runtime was available, or too many requests waited.
    Unavailable,
}

impl UnknownKidAction {
    const ALL: [Self; 8] = [
        Self::Fetched,
        Self::Joined,
        Self::Renewed,
        Self::Cooldown,
        Self::Absent,
        Self::Backoff,
        Self::TimedOut,
        Self::Unavailable,
    ];

    /// Returns a stable snake_case name: the label `action` of the metric `jwks_unknown_kid_total`.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Fetched => "fetched",
            Self::Joined => "joined",
            Self::Renewed => "renewed",
            Self::Cooldown => "cooldown",
            Self::Absent => "absent",
            Self::Backoff => "backoff",
            Self::TimedOut => "timed_out",
            Self::Unavailable => "unavailable",
        }
    }
}

impl fmt::Display for UnknownKidAction {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}
