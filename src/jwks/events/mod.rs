//! `KeyEvent`: the events of a key source, for the log and for the event hook.

use std::fmt;

mod notifier;

use std::sync::Arc;
use std::time::Duration;

use crate::jwks::cause::RefreshCause;
use crate::jwks::error::RefreshError;
use crate::keys::SkipReason;
use crate::telemetry::{self, Refreshed};

pub(crate) use self::notifier::EventHook;
pub(super) use self::notifier::Notifier;

/// An event of an issuer's keys: see [`RefreshPolicy::with_event_hook`](crate::jwks::RefreshPolicy::with_event_hook).
///
/// Like the log it contains fixed names, counts and durations only: no key, no `kid` and no part of a token.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct KeyEvent {
    issuer: Arc<str>,
    kind: KeyEventKind,
}

impl KeyEvent {
    fn new(issuer: &Arc<str>, kind: KeyEventKind) -> Self {
        Self { issuer: Arc::clone(issuer), kind }
    }

    /// Returns the issuer as configured; the first of its `iss` values if it has several.
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
    /// The first key set was loaded.
    InitialLoad {
        /// The number of keys that can verify tokens.
        usable: usize,
        /// The number of skipped keys.
        skipped: usize,
    },
    /// A key set was loaded.
    Refreshed {
        /// The cause of the fetch.
        cause: RefreshCause,
        /// Whether it differs from the previous one, in its keys or their kids.
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
    NotModified {
        /// The cause of the fetch.
        cause: RefreshCause,
    },
    /// A fetch failed. The current keys stay in use, except those whose private keys the response contains.
    RefreshFailed {
        /// Why it failed; [`RefreshError::name`] is the `class` of the log.
        error: RefreshError,
        /// The number of consecutive failed fetches.
        consecutive: u32,
        /// The time to the next attempt.
        next_in: Duration,
    },
    /// The keys are stale because no refresh has succeeded in time. They stay in use until they expire.
    StaleEntered {
        /// The time until they expire, if no refresh succeeds before.
        remaining: Duration,
    },
    /// Stale or expired keys were confirmed or replaced.
    StaleRecovered,
    /// The keys are no longer used: they are too old, or the private key of the last one has been published. Requests are
    /// rejected with 503.
    Expired,
    /// Tokens had unknown kids since the last event of this kind.
    UnknownKid {
        /// The action for these requests.
        action: UnknownKidAction,
        /// The number of requests.
        requests: u64,
    },
    /// One key of a key set is skipped; reported once per key set, not at every poll.
    KeySkipped {
        /// The position of the key in the key set, from 0. For a private key elsewhere in the document, its position in the
        /// array that contains it, or 0.
        position: usize,
        /// The reason.
        reason: SkipReason,
        /// Whether the whole key set is rejected. The fetch has then failed, and [`RefreshFailed`](Self::RefreshFailed) has
        /// the error.
        set_rejected: bool,
    },
    /// Kids identify other key material than before: an issuer's mistake, or a restored backup.
    KeyMaterialChanged {
        /// The number of kids.
        replaced: usize,
    },
    /// The issuer publishes a private key, with which everyone who reads the key set can sign tokens. Reported once per key
    /// set, also if the whole key set is rejected. Its public key is no longer used, neither from this key set nor from an
    /// earlier or later one of this source.
    PrivateKeyPublished {
        /// Whether its public key is still used, because the policy [allows
        /// it](crate::jwks::RefreshPolicy::dangerous_accept_private_keys).
        in_use: bool,
    },
    /// A fetch returned a key set without usable keys. It is rejected, and the fetch counts as failed.
    EmptySet,
    /// The discovery document names another `jwks_uri` than before.
    DiscoveryChanged,
    /// The discovery document could not be read again; the last `jwks_uri` stays in use.
    DiscoveryFailed {
        /// The error.
        error: RefreshError,
    },
    /// The application called [`KeySource::reload`](crate::jwks::KeySource::reload).
    Reload,
    /// The source was closed; this is its last event.
    Closed,
}

impl KeyEventKind {
    /// Returns a short fixed name, suitable for a log line or a metric label.
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

/// How a token's unknown `kid` was processed.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum UnknownKidAction {
    /// It started a fetch.
    Fetched,
    /// It waited for the fetch that was in flight.
    Joined,
    /// A key set that was published meanwhile has the key.
    Renewed,
    /// It arrived during the cool-down; a follow-up fetch is scheduled for its end.
    Cooldown,
    /// It arrived during the backoff after a failed fetch, so no fetch was started.
    Backoff,
    /// No driver could fetch, too many requests waited, or the request had already waited `cold_wait` for the first keys.
    Unavailable,
}

impl UnknownKidAction {
    const ALL: [Self; 6] =
        [Self::Fetched, Self::Joined, Self::Renewed, Self::Cooldown, Self::Backoff, Self::Unavailable];

    /// Returns a short fixed name: the label `action` of the metric `jwks_unknown_kid_total`.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Fetched => "fetched",
            Self::Joined => "joined",
            Self::Renewed => "renewed",
            Self::Cooldown => "cooldown",
            Self::Backoff => "backoff",
            Self::Unavailable => "unavailable",
        }
    }
}

impl fmt::Display for UnknownKidAction {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}
