//! The check of the client of a token.

use crate::claims::error::ClaimErrorReason;
use crate::claims::lookup;
use crate::token::{Claim, Payload, unquote};

/// The clients whose tokens are accepted.
#[derive(Clone, Debug, Default)]
pub(crate) struct ClientRule {
    /// If empty, the tokens of every client are accepted.
    pub(crate) accepted: Box<[Box<str>]>,
    /// The claim with the id of the client; `None` for `client_id`, or `azp` if there is no `client_id`.
    pub(crate) claim: Option<Box<str>>,
}

impl ClientRule {
    /// Returns the JSON text of the claim with the id of the client.
    pub(crate) fn raw<'p>(&self, payload: &'p Payload) -> Option<&'p str> {
        match &self.claim {
            Some(claim) => lookup::raw(payload, claim),
            None => payload.raw(Claim::ClientId).or(payload.raw(Claim::Azp)),
        }
    }

    /// Returns whether a token has the claim that names its client. `azp` is not one: it may also be in an ID token.
    pub(super) fn is_named(&self, payload: &Payload) -> bool {
        match &self.claim {
            Some(claim) => lookup::raw(payload, claim).is_some(),
            None => payload.raw(Claim::ClientId).is_some(),
        }
    }

    /// Checks that the token was issued to an accepted client.
    pub(super) fn evaluate(&self, payload: &Payload) -> Result<(), ClaimErrorReason> {
        if self.accepted.is_empty() {
            return Ok(());
        }
        // A claim of the wrong type is not replaced by another claim.
        match self.raw(payload).map(unquote) {
            None => Err(ClaimErrorReason::Missing),
            Some(None) => Err(ClaimErrorReason::Malformed),
            Some(Some(client)) if self.accepted.iter().any(|accepted| **accepted == *client) => Ok(()),
            Some(Some(_)) => Err(ClaimErrorReason::Mismatch),
        }
    }
}
