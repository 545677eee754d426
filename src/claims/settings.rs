//! `ClaimsSettings`: the settings of an API on which the meaning of claims depends.

use std::time::Duration;

use crate::claims::implied_scopes::ImpliedScopes;
use crate::claims::lookup;
use crate::defaults;
use crate::token::{Claim, Payload};

/// The settings of an API on which the meaning of claims depends.
#[derive(Clone, Debug)]
pub(crate) struct ClaimsSettings {
    pub(crate) implied_scopes: ImpliedScopes,
    pub(crate) client_claim: ClientClaim,
    /// The tolerated clock skew for the age of an authentication.
    pub(crate) leeway: Duration,
}

impl Default for ClaimsSettings {
    fn default() -> Self {
        Self {
            implied_scopes: ImpliedScopes::default(),
            client_claim: ClientClaim::default(),
            leeway: defaults::LEEWAY,
        }
    }
}

/// The claim with the id of the client; `None` for `client_id`, or `azp` if there is no `client_id`.
#[derive(Clone, Debug, Default)]
pub(crate) struct ClientClaim(pub(crate) Option<Box<str>>);

impl ClientClaim {
    pub(super) fn is_configured(&self) -> bool {
        self.0.is_some()
    }

    /// Returns the JSON text of the claim.
    pub(crate) fn raw<'p>(&self, payload: &'p Payload) -> Option<&'p str> {
        match &self.0 {
            Some(claim) => lookup::raw(payload, claim),
            // A `client_id` of the wrong type is not replaced by `azp`.
            None => payload.raw(Claim::ClientId).or(payload.raw(Claim::Azp)),
        }
    }

    /// Returns the name of the claim.
    pub(super) fn name(&self) -> &str {
        self.0.as_deref().unwrap_or(Claim::ClientId.name())
    }

    /// Returns whether a token has the claim that names its client. `azp` is not one: it may also be in an ID token.
    pub(super) fn is_in(&self, payload: &Payload) -> bool {
        lookup::raw(payload, self.name()).is_some()
    }
}
