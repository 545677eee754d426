//! `Decision`: the result of a validation that does not wait.

use std::num::NonZeroU64;

use crate::claims::Claims;
use crate::jwks::WantedKey;
use crate::keys::KeyTable;
use crate::rejection::Rejection;
use crate::telemetry::Validation;
use crate::token::Header;
use crate::validator::routing::{Route, RouteSerial};

/// The result of a validation that does not wait.
pub(crate) enum Decision<C> {
    /// The token is accepted or rejected.
    Made(Result<Claims<C>, Rejection>),
    /// The token's key is not available; the caller has to wait for it.
    Pending(PendingKey),
}

/// The key that a pending decision needs. A waiting request stores nothing else of the parsed token.
pub(crate) struct PendingKey {
    pub(super) route: RouteSerial,
    pub(super) key: WantedKey,
}

/// The result of waiting for keys.
pub(crate) struct AwaitedKeys<'v> {
    /// The keys of the issuer, and their epoch.
    pub(super) keys: Result<(KeyTable, u64), Rejection>,
    /// The telemetry of this validation, which lasts until the decision.
    pub(super) validation: Validation<'v>,
}

impl PendingKey {
    pub(super) fn new(route: Route<'_>, header: &Header, failed_epoch: Option<NonZeroU64>) -> Self {
        Self { route: route.serial, key: WantedKey::new(header, failed_epoch) }
    }
}
