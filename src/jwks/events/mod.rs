//! `KeyEvent`: what happens to a key source, told to the log and to the application by one hand.

mod notifier;

use std::sync::Arc;
use std::time::Duration;

use crate::jwks::error::RefreshError;
use crate::jwks::refresh::RefreshCause;
use crate::keys::SkipReason;
use crate::telemetry::{self, Refreshed};

pub(crate) use self::notifier::EventHook;
pub(super) use self::notifier::Notifier;

/// Something that happened to the keys of an issuer: see
/// [`RefreshPolicy::with_event_hook`](crate::jwks::RefreshPolicy::with_event_hook).
///
/// As in the log there are fixed names, counts and times in it: no key, no key id and nothing of a token.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct KeyEvent {
    issuer: Arc<str>,
    kind: KeyEventKind,
}

impl KeyEvent {
    fn new(issuer: &Arc<str>, kind: KeyEventKind) -> Self {
        Self { issuer: Arc::clone(issuer), kind }
    }

    /// Whose keys: the issuer as the configuration spells it, the first of its `iss` values.
    #[must_use]
    pub fn issuer(&self) -> &str {
        &self.issuer
    }

    /// What happened.
    #[must_use]
    pub fn kind(&self) -> KeyEventKind {
        self.kind
    }
}

/// What happened to the keys of an issuer.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum KeyEventKind {
    /// The first keys are there.
    InitialLoad {
        /// How many of them can verify tokens.
        usable: usize,
        /// How many are passed over.
        skipped: usize,
    },
    /// A set came.
    Refreshed {
        /// Why it was fetched.
        cause: RefreshCause,
        /// Whether it differs from the one before, in its keys or their ids.
        changed: bool,
        /// The epoch of the keys in use: it moves whenever they change.
        epoch: u64,
        /// How many keys are new.
        added: usize,
        /// How many are gone.
        removed: usize,
        /// How many can verify tokens.
        usable: usize,
        /// How many are passed over.
        skipped: usize,
    },
    /// The server confirmed the set at hand (304).
    NotModified {
        /// Why it was asked.
        cause: RefreshCause,
    },
    /// A fetch brought no keys; those at hand stay in use.
    RefreshFailed {
        /// Of what it failed; [`RefreshError::name`] is the `class` of the log.
        error: RefreshError,
        /// How many fetches in a row have failed.
        consecutive: u32,
        /// The time to the next.
        next_in: Duration,
    },
    /// The keys are past their period, since refreshing fails, and stay in use for a while.
    StaleEntered {
        /// For how long, if nothing brings others.
        remaining: Duration,
    },
    /// Stale or expired keys were confirmed or replaced.
    StaleRecovered,
    /// The keys are no longer used: they are too old, or the private half of the last one of them has been published.
    /// Requests are refused with 503.
    Expired,
    /// Tokens named unknown key ids, since this was last told.
    UnknownKid {
        /// What came of it.
        action: UnknownKidAction,
        /// How many requests it were.
        requests: u64,
    },
    /// One key of a set is skipped; reported once for a set, and not at every poll.
    KeySkipped {
        /// Where the key stands in the set, from 0.
        position: usize,
        /// Why.
        reason: SkipReason,
        /// Whether the set is refused as a whole: the fetch has failed, and [`RefreshFailed`](Self::RefreshFailed) says of
        /// what.
        set_refused: bool,
    },
    /// Key ids stand for other key material than before: an issuer's mistake, or a restored backup.
    KeyMaterialChanged {
        /// How many.
        replaced: usize,
    },
    /// The issuer publishes a private key, with which whoever reads the set can sign; reported once for a set, also if the
    /// set is refused as a whole. Its public half is no longer in use: not from this set, nor from an earlier or a later
    /// one of this source.
    PrivateKeyPublished {
        /// Whether its public half still verifies, because the policy
        /// [wants it](crate::jwks::RefreshPolicy::dangerous_accept_private_keys).
        in_use: bool,
    },
    /// A set without usable keys came, and counts as a failed fetch.
    EmptySet,
    /// The discovery document names another `jwks_uri` than before.
    DiscoveryChanged,
    /// The discovery document could not be read again; the last `jwks_uri` stays in use.
    DiscoveryFailed {
        /// Why.
        error: RefreshError,
    },
    /// Somebody called [`KeySource::reload`](crate::jwks::KeySource::reload).
    Reload,
    /// The source has ended; nothing comes after this.
    Closed,
}

impl KeyEventKind {
    /// A short fixed name, fit for a log line or a metric's label.
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
            // Each request has its own line, among its other lines.
            Self::UnknownKid { .. } => {}
            Self::KeySkipped { position, reason, set_refused } => {
                telemetry::jwks_key_skipped(issuer, position, reason.name(), set_refused);
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

/// What came of a token's unknown key id.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum UnknownKidAction {
    /// It caused a fetch.
    Fetched,
    /// It waited for the fetch that was in flight.
    Joined,
    /// A set that came meanwhile has it.
    Renewed,
    /// It came too soon after the last fetch for another: one follows at the end of the cool-down.
    Cooldown,
    /// Fetching fails, and the pause between failures rules.
    Backoff,
    /// Nobody could fetch, or too many waited.
    Unavailable,
}

impl UnknownKidAction {
    const ALL: [Self; 6] =
        [Self::Fetched, Self::Joined, Self::Renewed, Self::Cooldown, Self::Backoff, Self::Unavailable];

    /// A short fixed name: the label `action` of the metric `jwks_unknown_kid_total`.
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
