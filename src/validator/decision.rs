//! `Decision`: the result of a validation that does not wait.

use std::num::NonZeroU64;
use std::sync::Arc;

use crate::claims::Claims;
use crate::dpop::{NonceAge, RecordingFuture, VerifiedProof};
use crate::jwks::{KeyEpoch, WantedKey};
use crate::keys::KeyTable;
use crate::rejection::Rejection;
use crate::telemetry::Validation;
use crate::token::Header;
use crate::validator::find::{FindError, PendingTenant};
use crate::validator::possession::BoundToken;
use crate::validator::routing::RouteId;
use crate::validator::token_cache::entry::EntryLifetime;
use crate::validator::token_cache::proof::KeyProof;

/// The result of a validation that does not wait.
pub(crate) enum Decision<C> {
    /// The token is accepted or rejected.
    Made(Result<Validated<C>, Rejection>),
    /// The caller has to wait.
    Pending(Pending<C>),
}

/// A valid token of a request.
pub(crate) struct Validated<C> {
    pub(crate) claims: Claims<C>,
    /// The nonce of the proof, if nonces are required.
    pub(crate) nonce: Option<NonceAge>,
}

/// What a pending decision waits for.
pub(crate) enum Pending<C> {
    /// The issuer must be looked up.
    Tenant(Box<PendingTenant>),
    /// The token's key is not available.
    Key(PendingKey),
    /// The token must be introspected.
    Answer(Box<PendingAnswer<C>>),
    /// The replay store does not respond at once.
    Record(Box<PendingRecord<C>>),
}

/// A new token that passed every check up to replay.
pub(super) struct Checked<C> {
    pub(super) claims: Claims<C>,
    pub(super) proof: Option<VerifiedProof>,
    pub(super) route: RouteId,
    pub(super) new_entry: NewEntry,
}

/// A request that needs an answer about its token.
pub(crate) struct PendingAnswer<C> {
    /// The index of the issuer whose server introspects the token.
    pub(super) issuer: usize,
    /// The checked token; `None` for an opaque one.
    pub(super) signed: Option<Checked<C>>,
}

/// A request whose token and proof are valid, if the proof was not used before.
pub(crate) struct PendingRecord<C> {
    pub(super) claims: Claims<C>,
    pub(super) route: RouteId,
    pub(super) proof: VerifiedProof,
    pub(super) recording: RecordingFuture,
    pub(super) new_entry: Option<NewEntry>,
}

/// A token that was not found in the token cache: what its entry contains besides the claims and the route.
///
/// It is not the entry itself: an entry has its weight, which is counted while it exists, and its claims do not contain what this
/// request has proven. So it is created only for a token that passes the last check.
pub(crate) struct NewEntry {
    pub(super) proof: KeyProof,
    /// `None` if the token is not stored.
    pub(super) lifetime: Option<EntryLifetime>,
    pub(super) bound: Option<Arc<BoundToken>>,
}

/// The key that a pending decision needs. A waiting request stores nothing else of the parsed token.
pub(crate) struct PendingKey {
    pub(super) route: RouteId,
    pub(super) key: WantedKey,
}

/// The result of waiting for keys.
pub(crate) struct AwaitedKeys<'v> {
    /// The keys of the issuer, and their epoch.
    pub(super) keys: Result<(KeyTable, KeyEpoch), Rejection>,
    /// The telemetry of this validation, which lasts until the decision.
    pub(super) validation: Validation<'v>,
}

impl<C> From<FindError> for Decision<C> {
    fn from(error: FindError) -> Self {
        match error {
            FindError::Rejected(rejection) => Self::Made(Err(rejection)),
            FindError::Unresolved(pending) => Self::Pending(Pending::Tenant(Box::new(pending))),
        }
    }
}

impl<C> PendingAnswer<C> {
    pub(super) fn opaque(issuer: usize) -> Self {
        Self { issuer, signed: None }
    }

    pub(super) fn signed(issuer: usize, checked: Checked<C>) -> Self {
        Self { issuer, signed: Some(checked) }
    }
}

impl PendingKey {
    pub(super) fn new(route: RouteId, header: &Header, failed_epoch: Option<NonZeroU64>) -> Self {
        Self { route, key: WantedKey::new(header, failed_epoch) }
    }
}
