//! The result of a validation that does not wait: a decision, or the key that the decision is pending on.

use crate::claims::Claims;
use crate::keys::KeyTable;
use crate::rejection::Rejection;
use crate::telemetry::Validation;
use crate::token::{Algorithm, Header};
use crate::validator::routing::Route;

/// The result of a validation that does not wait.
pub(crate) enum Decision<C> {
    /// It is accepted or refused.
    Made(Result<Claims<C>, Rejection>),
    /// Its key is not at hand.
    Pending(PendingKey),
}

/// The key that a decision is pending on: all that is kept of a token while its key is waited for.
pub(crate) struct PendingKey {
    /// The place of the issuer's route.
    pub(super) route: usize,
    pub(super) kid: Option<Box<str>>,
    pub(super) algorithm: Algorithm,
}

/// The result of waiting for a key.
pub(crate) struct Waited<'v> {
    /// The keys of the issuer, and their epoch.
    pub(super) keys: Result<(KeyTable, u64), Rejection>,
    /// The validation, which lasts until the decision.
    pub(super) validation: Validation<'v>,
}

impl PendingKey {
    pub(super) fn new(route: Route<'_>, header: &Header) -> Self {
        Self { route: route.index, kid: header.kid().map(Box::from), algorithm: header.algorithm() }
    }
}
