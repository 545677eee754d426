//! The check of the client of a token.

use crate::claims::error::ClaimErrorReason;
use crate::claims::settings::ClientClaim;
use crate::token::{Payload, unquote};

/// The clients whose tokens are accepted.
#[derive(Clone, Debug, Default)]
pub(crate) struct ClientRule {
    /// If empty, the tokens of every client are accepted.
    pub(crate) accepted: Box<[Box<str>]>,
    pub(crate) claim: ClientClaim,
}

impl ClientRule {
    /// Checks that the token was issued to an accepted client.
    pub(super) fn evaluate(&self, payload: &Payload) -> Result<(), ClaimErrorReason> {
        if self.accepted.is_empty() {
            return Ok(());
        }
        // A claim of the wrong type is not replaced by another claim.
        match self.claim.raw(payload).map(unquote) {
            None => Err(ClaimErrorReason::Missing),
            Some(None) => Err(ClaimErrorReason::Malformed),
            Some(Some(client)) if self.accepted.iter().any(|accepted| **accepted == *client) => Ok(()),
            Some(Some(_)) => Err(ClaimErrorReason::Mismatch),
        }
    }
}
