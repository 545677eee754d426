//! The ordered table of checks over a claims set.

mod organization;

use std::ops::ControlFlow;
use std::sync::Arc;
use std::time::Duration;

pub use self::organization::Organization;
pub(crate) use self::organization::OrganizationRule;
use crate::claims::dates;
use crate::claims::error::{ClaimError, ClaimErrorReason};
use crate::claims::required;
use crate::claims::values::Audience;
use crate::clock::Timestamp;
use crate::token::{self, Claim, Header, Member, Payload};

/// What an API demands of a claims set.
#[derive(Clone, Debug)]
pub(crate) struct Rules {
    /// At least one of them must stand in `aud`.
    pub(crate) audiences: Box<[Box<str>]>,
    /// Clock skew that is forgiven.
    pub(crate) leeway: Duration,
    /// Which `typ` is taken.
    pub(crate) profile: Profile,
    /// Claims that must be there beyond `iss`, `aud` and `exp`.
    pub(crate) required: Box<[Arc<str>]>,
    /// Longest time since `iat`.
    pub(crate) max_age: Option<Duration>,
    /// What a `cnf` claim does.
    pub(crate) confirmation: Confirmation,
    /// The clients whose tokens are taken; none: any.
    pub(crate) clients: Box<[Box<str>]>,
    /// The organizations whose tokens are taken.
    pub(crate) organizations: OrganizationRule,
}

/// Which kinds of token an API takes, by the header's `typ`.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum Profile {
    /// No `typ`, `JWT` or `at+jwt`: what the servers of the field issue. Every other type is refused.
    #[default]
    Any,
    /// `JWT`, as Auth0 issues by default; `nonce` marks an ID token.
    Auth0,
    /// `at+jwt`, with `sub`, `client_id`, `iat` and `jti` required (RFC 9068 §2.2, §4).
    Rfc9068,
}

/// What a `cnf` claim does.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Confirmation {
    /// A bound token is refused, since nothing proves possession.
    Refused,
    /// A bound token is taken as if it were not bound.
    Ignored,
}

/// What the checks look at.
#[derive(Clone, Copy)]
pub(crate) struct CheckInput<'e> {
    pub(crate) header: &'e Header,
    pub(crate) payload: &'e Payload,
    /// The configured issuer whose keys are asked.
    pub(crate) issuer: &'e str,
    pub(crate) now: Timestamp,
}

/// One row of the table.
pub(crate) struct Check {
    pub(crate) name: &'static str,
    /// Whether it may refuse, never admit, before the signature is looked at.
    pub(crate) cheap: bool,
    evaluate: fn(&Rules, CheckInput<'_>) -> Result<(), ClaimError>,
}

/// The checks in the order in which they are made. The first failure wins.
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
    /// Makes every check in order and hands each outcome to `sink`, until it breaks.
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

    /// Stops at the first failure.
    pub(crate) fn hold(&self, input: CheckInput<'_>) -> Result<(), ClaimError> {
        let mut verdict = Ok(());
        self.evaluate(input, &mut |_, outcome| {
            verdict = outcome;
            if verdict.is_err() { ControlFlow::Break(()) } else { ControlFlow::Continue(()) }
        });
        verdict
    }

    /// Makes only the checks that may refuse before the signature is looked at.
    pub(crate) fn check_unverified(&self, input: CheckInput<'_>) -> Result<(), ClaimError> {
        CHECKS.iter().filter(|check| check.cheap).try_for_each(|check| (check.evaluate)(self, input))
    }

    /// Says whether the claims mark an ID token, by the same check that rejects one.
    pub(crate) fn is_marked_as_id_token(&self, input: CheckInput<'_>) -> bool {
        id_token(self, input).is_err()
    }

    /// The moment up to which a claims set that holds now holds, for verdicts that are remembered; leeway is not counted.
    ///
    /// Only two dates end a validity: `exp`, and `iat` where the age counts. `nbf`, once passed, stays passed.
    pub(crate) fn valid_until(&self, payload: &Payload) -> Option<Timestamp> {
        let expiry = dates::date(payload, Claim::Exp).ok()?;
        match self.max_age {
            None => Some(expiry),
            Some(max_age) => Some(expiry.min(dates::date(payload, Claim::Iat).ok()?.saturating_add(max_age))),
        }
    }
}

fn token_type(rules: &Rules, input: CheckInput<'_>) -> Result<(), ClaimError> {
    let typ = input.header.typ();
    let is = |expected| typ.is_some_and(|typ| token::is_media_type(typ, expected));
    let taken = match rules.profile {
        Profile::Any => typ.is_none() || is("jwt") || is("at+jwt"),
        Profile::Auth0 => is("jwt"),
        // RFC 9068 §4: anything but at+jwt is rejected.
        Profile::Rfc9068 => is("at+jwt"),
    };
    if taken { Ok(()) } else { Err(ClaimError::TokenType) }
}

fn issuer(_: &Rules, input: CheckInput<'_>) -> Result<(), ClaimError> {
    match input.payload.text(Claim::Iss) {
        Member::Absent => Err(ClaimError::Issuer(ClaimErrorReason::Missing)),
        Member::Malformed => Err(ClaimError::Issuer(ClaimErrorReason::Malformed)),
        // RFC 9068 §4: exactly match, and RFC 7519 §7.3: no normalisation.
        Member::Is(issuer) if issuer != input.issuer => Err(ClaimError::Issuer(ClaimErrorReason::Mismatch)),
        Member::Is(_) => Ok(()),
    }
}

fn audience(rules: &Rules, input: CheckInput<'_>) -> Result<(), ClaimError> {
    match Audience::names_any(input.payload, &rules.audiences) {
        // Cognito writes no `aud`: a client of the API's stands in for it, but for RFC 9068, which requires it (§2.2).
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
        // RFC 7519 §4.1.4: on or after is too late.
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

/// A future `iat` is no fault by itself (RFC 7519 erratum 7720), only where the age counts.
fn issued_at(rules: &Rules, input: CheckInput<'_>) -> Result<(), ClaimError> {
    let Some(max_age) = rules.max_age else {
        // Where the age does not count, any number will do: some servers write milliseconds.
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

/// A `sub` that is no string would be dropped silently by the accessor; RFC 7519 §4.1.2 has no other type for it.
fn subject(_: &Rules, input: CheckInput<'_>) -> Result<(), ClaimError> {
    match input.payload.text(Claim::Sub) {
        Member::Malformed => Err(ClaimError::Subject),
        Member::Absent | Member::Is(_) => Ok(()),
    }
}

/// A denylist that reads `jti` would miss a token whose `jti` is no string.
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
        (Confirmation::Refused, Some(_)) => Err(ClaimError::Confirmation),
        (Confirmation::Ignored, _) | (Confirmation::Refused, None) => Ok(()),
    }
}

/// ID tokens by their marks; the defence proper is `aud` (RFC 8725 §3.9).
fn id_token(rules: &Rules, input: CheckInput<'_>) -> Result<(), ClaimError> {
    let payload = input.payload;
    let says = |claim, text| payload.text(claim) == Member::Is(text);
    let marked = [
        (Claim::AtHash, payload.raw(Claim::AtHash).is_some()),
        (Claim::CHash, payload.raw(Claim::CHash).is_some()),
        (Claim::TokenUse, says(Claim::TokenUse, "id")),
        (Claim::Typ, says(Claim::Typ, "ID")),
        // Keycloak puts `nonce` into access tokens, so it counts only where the server is known not to.
        (Claim::Nonce, rules.profile == Profile::Auth0 && payload.raw(Claim::Nonce).is_some()),
    ];
    match marked.iter().find(|(_, there)| *there) {
        None => Ok(()),
        Some((claim, _)) => Err(ClaimError::IdToken { marker: claim.name() }),
    }
}

fn is_access_token_of_a_client(payload: &Payload) -> bool {
    payload.text(Claim::TokenUse) == Member::Is("access") && payload.raw(Claim::ClientId).is_some()
}

/// `client_id`, else `azp`, as [`Claims::client_id`](crate::claims::Claims::client_id) reads them.
fn client(rules: &Rules, input: CheckInput<'_>) -> Result<(), ClaimError> {
    if rules.clients.is_empty() {
        return Ok(());
    }
    let named = match input.payload.text(Claim::ClientId) {
        Member::Absent => input.payload.text(Claim::Azp),
        named => named,
    };
    match named {
        Member::Absent => Err(ClaimError::Client(ClaimErrorReason::Missing)),
        Member::Malformed => Err(ClaimError::Client(ClaimErrorReason::Malformed)),
        Member::Is(client) if rules.clients.iter().any(|ours| **ours == *client) => Ok(()),
        Member::Is(_) => Err(ClaimError::Client(ClaimErrorReason::Mismatch)),
    }
}

fn organization(rules: &Rules, input: CheckInput<'_>) -> Result<(), ClaimError> {
    rules.organizations.evaluate(input.payload).map_err(ClaimError::Organization)
}

#[cfg(test)]
mod tests;
