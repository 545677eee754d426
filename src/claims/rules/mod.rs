//! The checks of a claims set, as an ordered table.

mod organization;

use std::ops::ControlFlow;
use std::sync::Arc;
use std::time::Duration;

pub use self::organization::Organization;
pub(crate) use self::organization::OrganizationRule;
use crate::claims::confirmation::Confirmation;
use crate::claims::dates;
use crate::claims::error::{ClaimError, ClaimErrorReason};
use crate::claims::required;
use crate::claims::values::Audience;
use crate::clock::Timestamp;
use crate::token::{Claim, Header, Member, Payload, TokenType};

/// The rules of an API for a claims set.
#[derive(Clone, Debug)]
pub(crate) struct Rules {
    /// The audiences of the API. `aud` must contain at least one of them.
    pub(crate) audiences: Box<[Box<str>]>,
    /// The tolerated clock skew.
    pub(crate) leeway: Duration,
    /// The accepted values of `typ`.
    pub(crate) profile: Profile,
    /// The required claims besides `iss`, `aud` and `exp`.
    pub(crate) required: Box<[Arc<str>]>,
    /// The maximum time since `iat`.
    pub(crate) max_age: Option<Duration>,
    /// The treatment of `cnf`.
    pub(crate) confirmation: ConfirmationRule,
    /// The clients whose tokens are accepted. If empty, the tokens of every client are.
    pub(crate) clients: Box<[Box<str>]>,
    /// The organizations whose tokens are accepted.
    pub(crate) organizations: OrganizationRule,
}

/// The types of token that an API accepts, by the header's `typ`.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum Profile {
    /// Accepts no `typ`, `JWT` or `at+jwt`, as common servers issue them. Rejects every other type.
    #[default]
    Any,
    /// Accepts only `JWT`, which Auth0 issues by default. A `nonce` marks an ID token.
    Auth0,
    /// Accepts only `at+jwt`, with `sub`, `client_id`, `iat` and `jti` required (RFC 9068 §2.2, §4).
    Rfc9068,
}

/// The treatment of a token with a `cnf` claim.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum ConfirmationRule {
    /// The token is rejected, because the request has no proof of possession.
    Rejected,
    /// The token is accepted as if it were not bound to a key.
    Ignored,
    /// The claim is well-formed. The validator checks that the request proves possession of the key.
    Proven,
}

/// The input of the checks.
#[derive(Clone, Copy)]
pub(crate) struct CheckInput<'e> {
    pub(crate) header: &'e Header,
    pub(crate) payload: &'e Payload,
    /// The configured issuer whose keys verify the token.
    pub(crate) issuer: &'e str,
    pub(crate) now: Timestamp,
}

/// One check of the table.
pub(crate) struct Check {
    pub(crate) name: &'static str,
    /// Whether it also runs before the signature is verified. There it can only reject a token, never accept it.
    pub(crate) cheap: bool,
    evaluate: fn(&Rules, CheckInput<'_>) -> Result<(), ClaimError>,
}

/// The checks in the order in which they run. The first failure is reported.
pub(crate) const CHECKS: &[Check] = &[
    Check { name: "typ", cheap: false, evaluate: token_type },
    Check { name: "iss", cheap: false, evaluate: issuer },
    Check { name: "aud", cheap: true, evaluate: audience },
    Check { name: "exp", cheap: true, evaluate: expiry },
    Check { name: "nbf", cheap: false, evaluate: not_before },
    Check { name: "iat", cheap: false, evaluate: issued_at },
    Check { name: "sub", cheap: false, evaluate: subject },
    Check { name: "jti", cheap: false, evaluate: jwt_id },
    Check { name: "required claims", cheap: false, evaluate: required_claims },
    Check { name: "cnf", cheap: false, evaluate: confirmation },
    Check { name: "ID token", cheap: false, evaluate: id_token },
    Check { name: "client", cheap: false, evaluate: client },
    Check { name: "organization", cheap: false, evaluate: organization },
];

impl Rules {
    /// Runs every check in order and passes each outcome to `sink`, until `sink` breaks.
    pub(crate) fn evaluate(
        &self,
        input: CheckInput<'_>,
        sink: &mut dyn FnMut(&'static Check, Result<(), ClaimError>) -> ControlFlow<()>,
    ) {
        for check in CHECKS {
            if sink(check, (check.evaluate)(self, input)).is_break() {
                return;
            }
        }
    }

    /// Runs the checks in order and returns the first failure.
    pub(crate) fn check(&self, input: CheckInput<'_>) -> Result<(), ClaimError> {
        let mut result = Ok(());
        self.evaluate(input, &mut |_, outcome| {
            result = outcome;
            if result.is_err() { ControlFlow::Break(()) } else { ControlFlow::Continue(()) }
        });
        result
    }

    /// Runs only the checks that may reject a token before the signature is verified.
    pub(crate) fn check_unverified(&self, input: CheckInput<'_>) -> Result<(), ClaimError> {
        CHECKS.iter().filter(|check| check.cheap).try_for_each(|check| (check.evaluate)(self, input))
    }

    /// Returns whether the claims mark an ID token, by the same check that rejects one.
    pub(crate) fn is_marked_as_id_token(&self, input: CheckInput<'_>) -> bool {
        id_token(self, input).is_err()
    }

    /// Returns the time until which a currently valid claims set stays valid, without leeway, for the token cache.
    ///
    /// Two dates limit it: `exp`, and `iat` if a maximum age is configured. An `nbf` in the past stays in the past.
    pub(crate) fn valid_until(&self, payload: &Payload) -> Option<Timestamp> {
        let expiry = dates::date(payload, Claim::Exp).ok()?;
        match self.max_age {
            None => Some(expiry),
            Some(max_age) => Some(expiry.min(dates::date(payload, Claim::Iat).ok()?.saturating_add(max_age))),
        }
    }
}

fn token_type(rules: &Rules, input: CheckInput<'_>) -> Result<(), ClaimError> {
    let token_type = input.header.token_type();
    let is_accepted = match rules.profile {
        Profile::Any => matches!(token_type, TokenType::Undeclared | TokenType::Jwt | TokenType::AccessToken),
        Profile::Auth0 => token_type == TokenType::Jwt,
        // RFC 9068 §4: anything but at+jwt is rejected.
        Profile::Rfc9068 => token_type == TokenType::AccessToken,
    };
    if is_accepted { Ok(()) } else { Err(ClaimError::TokenType) }
}

fn issuer(_: &Rules, input: CheckInput<'_>) -> Result<(), ClaimError> {
    match input.payload.text(Claim::Iss) {
        Member::Absent => Err(ClaimError::Issuer(ClaimErrorReason::Missing)),
        Member::Malformed => Err(ClaimError::Issuer(ClaimErrorReason::Malformed)),
        // RFC 9068 §4: exact match. RFC 7519 §7.3: no normalization.
        Member::Is(issuer) if issuer != input.issuer => Err(ClaimError::Issuer(ClaimErrorReason::Mismatch)),
        Member::Is(_) => Ok(()),
    }
}

fn audience(rules: &Rules, input: CheckInput<'_>) -> Result<(), ClaimError> {
    match Audience::contains_any(input.payload, &rules.audiences) {
        // Cognito writes no `aud`: a configured client is accepted instead, except with RFC 9068, which requires `aud` (§2.2).
        Member::Absent
            if rules.profile != Profile::Rfc9068
                && !rules.clients.is_empty()
                && is_access_token_of_a_client(input.payload) =>
        {
            client(rules, input)
        }
        Member::Absent => Err(ClaimError::Audience(ClaimErrorReason::Missing)),
        Member::Malformed => Err(ClaimError::Audience(ClaimErrorReason::Malformed)),
        Member::Is(true) => Ok(()),
        Member::Is(false) => Err(ClaimError::Audience(ClaimErrorReason::Mismatch)),
    }
}

fn expiry(rules: &Rules, input: CheckInput<'_>) -> Result<(), ClaimError> {
    match dates::date(input.payload, Claim::Exp) {
        Member::Absent => Err(ClaimError::Expiry(ClaimErrorReason::Missing)),
        Member::Malformed => Err(ClaimError::Expiry(ClaimErrorReason::Malformed)),
        // RFC 7519 §4.1.4: the token is expired on or after `exp`.
        Member::Is(expiry) if input.now < expiry.saturating_add(rules.leeway) => Ok(()),
        Member::Is(_) => Err(ClaimError::Expired),
    }
}

fn not_before(rules: &Rules, input: CheckInput<'_>) -> Result<(), ClaimError> {
    match dates::date(input.payload, Claim::Nbf) {
        Member::Absent => Ok(()),
        Member::Malformed => Err(ClaimError::NotBefore),
        Member::Is(start) if start <= input.now.saturating_add(rules.leeway) => Ok(()),
        Member::Is(_) => Err(ClaimError::NotYetValid),
    }
}

/// Rejects a future `iat` only if a maximum age is configured: by itself it is allowed (RFC 7519 erratum 7720).
fn issued_at(rules: &Rules, input: CheckInput<'_>) -> Result<(), ClaimError> {
    let Some(max_age) = rules.max_age else {
        // Without a maximum age, any number is accepted, because some servers write milliseconds.
        let is_number = input.payload.raw(Claim::Iat).is_none_or(dates::is_number);
        return if is_number { Ok(()) } else { Err(ClaimError::IssuedAt(ClaimErrorReason::Malformed)) };
    };
    let issued = match dates::date(input.payload, Claim::Iat) {
        Member::Absent => return Err(ClaimError::IssuedAt(ClaimErrorReason::Missing)),
        Member::Malformed => return Err(ClaimError::IssuedAt(ClaimErrorReason::Malformed)),
        Member::Is(issued) => issued,
    };
    if issued > input.now.saturating_add(rules.leeway) {
        return Err(ClaimError::IssuedInFuture);
    }
    if input.now < issued.saturating_add(max_age).saturating_add(rules.leeway) {
        Ok(())
    } else {
        Err(ClaimError::TooOld)
    }
}

/// Rejects a `sub` that is not a string (RFC 7519 §4.1.2): the accessor would return `None` for it.
fn subject(_: &Rules, input: CheckInput<'_>) -> Result<(), ClaimError> {
    match input.payload.text(Claim::Sub) {
        Member::Malformed => Err(ClaimError::Subject),
        Member::Absent | Member::Is(_) => Ok(()),
    }
}

/// Rejects a `jti` that is not a string: a denylist of `jti` values would not find the token.
fn jwt_id(_: &Rules, input: CheckInput<'_>) -> Result<(), ClaimError> {
    match input.payload.text(Claim::Jti) {
        Member::Malformed => Err(ClaimError::JwtId),
        Member::Absent | Member::Is(_) => Ok(()),
    }
}

fn required_claims(rules: &Rules, input: CheckInput<'_>) -> Result<(), ClaimError> {
    let profile: &[Claim] = match rules.profile {
        Profile::Any | Profile::Auth0 => &[],
        // RFC 9068 §2.2.
        Profile::Rfc9068 => &[Claim::Sub, Claim::ClientId, Claim::Iat, Claim::Jti],
    };
    for claim in profile {
        required::check(input.payload, claim.name())
            .map_err(|reason| ClaimError::Required { claim: Arc::from(claim.name()), reason })?;
    }
    rules.required.iter().try_for_each(|claim| {
        required::check(input.payload, claim)
            .map_err(|reason| ClaimError::Required { claim: Arc::clone(claim), reason })
    })
}

fn confirmation(rules: &Rules, input: CheckInput<'_>) -> Result<(), ClaimError> {
    match (rules.confirmation, input.payload.raw(Claim::Cnf)) {
        (ConfirmationRule::Rejected, Some(_)) => Err(ClaimError::Confirmation),
        (ConfirmationRule::Proven, Some(cnf)) if Confirmation::parse(cnf).is_none() => {
            Err(ClaimError::MalformedConfirmation)
        }
        (ConfirmationRule::Ignored | ConfirmationRule::Proven, _) | (ConfirmationRule::Rejected, None) => Ok(()),
    }
}

/// Rejects ID tokens by their claims. The main defense is `aud` (RFC 8725 §3.9).
fn id_token(rules: &Rules, input: CheckInput<'_>) -> Result<(), ClaimError> {
    let payload = input.payload;
    let equals = |claim, text| payload.text(claim) == Member::Is(text);
    let markers = [
        (Claim::AtHash, payload.raw(Claim::AtHash).is_some()),
        (Claim::CHash, payload.raw(Claim::CHash).is_some()),
        (Claim::TokenUse, equals(Claim::TokenUse, "id")),
        (Claim::Typ, equals(Claim::Typ, "ID")),
        // Keycloak puts `nonce` into access tokens, so it marks an ID token only for servers that do not.
        (Claim::Nonce, rules.profile == Profile::Auth0 && payload.raw(Claim::Nonce).is_some()),
    ];
    match markers.iter().find(|(_, is_set)| *is_set) {
        None => Ok(()),
        Some((claim, _)) => Err(ClaimError::IdToken { marker: claim.name() }),
    }
}

fn is_access_token_of_a_client(payload: &Payload) -> bool {
    payload.text(Claim::TokenUse) == Member::Is("access") && payload.raw(Claim::ClientId).is_some()
}

/// Checks `client_id`, else `azp`, as [`Claims::client_id`](crate::claims::Claims::client_id) returns it.
fn client(rules: &Rules, input: CheckInput<'_>) -> Result<(), ClaimError> {
    if rules.clients.is_empty() {
        return Ok(());
    }
    let client = match input.payload.text(Claim::ClientId) {
        Member::Absent => input.payload.text(Claim::Azp),
        client => client,
    };
    match client {
        Member::Absent => Err(ClaimError::Client(ClaimErrorReason::Missing)),
        Member::Malformed => Err(ClaimError::Client(ClaimErrorReason::Malformed)),
        Member::Is(client) if rules.clients.iter().any(|accepted| **accepted == *client) => Ok(()),
        Member::Is(_) => Err(ClaimError::Client(ClaimErrorReason::Mismatch)),
    }
}

fn organization(rules: &Rules, input: CheckInput<'_>) -> Result<(), ClaimError> {
    rules.organizations.evaluate(input.payload).map_err(ClaimError::Organization)
}

#[cfg(test)]
mod tests;
