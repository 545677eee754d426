//! The checks of a claims set, as an ordered table.

mod answer;
mod client;
mod organization;

use std::ops::ControlFlow;
use std::sync::Arc;
use std::time::Duration;

pub(crate) use self::answer::check_answer_type;
pub(crate) use self::client::ClientRule;
pub use self::organization::Organization;
pub(crate) use self::organization::OrganizationRule;
use crate::claims::confirmation::Confirmation;
use crate::claims::dates;
use crate::claims::error::{ClaimError, ClaimErrorReason};
use crate::claims::required;
use crate::claims::values::Audience;
use crate::clock::Timestamp;
use crate::token::{Claim, Header, Member, Payload, TokenType, is_media_type};

/// The rules of an API for a claims set.
#[derive(Clone, Debug)]
pub(crate) struct Rules {
    /// The audiences of the API. `aud` must contain at least one of them.
    pub(crate) audiences: Box<[Box<str>]>,
    /// The tolerated clock skew.
    pub(crate) leeway: Duration,
    /// The treatment of a token without `aud`.
    pub(crate) missing_audience: MissingAudience,
    /// The accepted values of `typ`.
    pub(crate) profile: Profile,
    /// Further accepted values of `typ`, without `application/` and in lower case.
    pub(crate) token_types: Box<[Box<str>]>,
    /// The required claims besides `iss`, `aud` and `exp`.
    pub(crate) required: Box<[Arc<str>]>,
    /// The maximum time since `iat`.
    pub(crate) max_age: Option<Duration>,
    /// The treatment of `cnf`.
    pub(crate) confirmation: ConfirmationRule,
    /// The treatment of a claim that usually only an ID token has.
    pub(crate) id_token_markers: IdTokenMarkers,
    /// The clients whose tokens are accepted.
    pub(crate) clients: ClientRule,
    /// The organizations whose tokens are accepted.
    pub(crate) organizations: OrganizationRule,
}

/// The types of token that an API accepts, by the header's `typ`.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum Profile {
    /// Accepts no `typ`, `JWT` or `at+jwt`, as common servers issue them. Rejects every other type that
    /// [`Api::with_token_types`](crate::Api::with_token_types) does not add.
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
    /// The token is accepted as if it were not bound.
    Ignored,
    /// The claim is well-formed. The validator checks that the request proves possession of the key.
    Proven,
}

/// The treatment of a token without `aud`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum MissingAudience {
    /// The token is rejected, unless it is an access token of Amazon Cognito for an accepted client.
    Rejected,
    /// The token is accepted if it passes the other checks.
    Accepted,
}

/// The treatment of an introspection answer without `exp`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum MissingExpiry {
    Rejected,
    Accepted,
}

/// What the claims of an introspection answer may lack.
#[derive(Clone, Copy, Debug)]
pub(crate) struct AnswerRules {
    pub(crate) missing_audience: MissingAudience,
    pub(crate) missing_expiry: MissingExpiry,
}

/// What the claims are a part of.
#[derive(Clone, Copy)]
pub(crate) enum CheckedSource<'e> {
    /// A token with this header.
    Token(&'e Header),
    /// An introspection answer, which has no header.
    Answer(AnswerRules),
}

/// The treatment of a claim that usually only an ID token has, such as `at_hash`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum IdTokenMarkers {
    Rejected,
    Accepted,
}

/// The input of the checks.
#[derive(Clone, Copy)]
pub(crate) struct CheckInput<'e> {
    pub(crate) source: CheckedSource<'e>,
    pub(crate) payload: &'e Payload,
    /// The configured issuer whose keys verify the token, or whose server has introspected it.
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
        let expiry = match dates::date(payload, Claim::Exp) {
            Member::Is(expiry) => expiry,
            // Only an introspection answer may lack it, whose own lifetime is limited.
            Member::Absent => Timestamp::MAX_NUMERIC_DATE,
            Member::Malformed => return None,
        };
        match self.max_age {
            None => Some(expiry),
            Some(max_age) => Some(expiry.min(dates::date(payload, Claim::Iat).ok()?.saturating_add(max_age))),
        }
    }
}

impl CheckInput<'_> {
    fn answer_rules(&self) -> Option<AnswerRules> {
        match self.source {
            CheckedSource::Token(_) => None,
            CheckedSource::Answer(rules) => Some(rules),
        }
    }
}

/// Returns whether `aud` contains exactly this audience.
pub(crate) fn has_audience(payload: &Payload, audience: &str) -> bool {
    Audience::contains_any(payload, &[Box::from(audience)]) == Member::Is(true)
}

fn token_type(rules: &Rules, input: CheckInput<'_>) -> Result<(), ClaimError> {
    let header = match input.source {
        CheckedSource::Token(header) => header,
        CheckedSource::Answer(_) => return check_answer_type(input.payload, input.payload),
    };
    let token_type = header.token_type();
    let is_accepted = match rules.profile {
        Profile::Any => matches!(token_type, TokenType::Undeclared | TokenType::Jwt | TokenType::AccessToken),
        Profile::Auth0 => token_type == TokenType::Jwt,
        // RFC 9068 §4: anything but at+jwt is rejected.
        Profile::Rfc9068 => token_type == TokenType::AccessToken,
    };
    let is_configured =
        || header.typ().is_some_and(|typ| rules.token_types.iter().any(|accepted| is_media_type(typ, accepted)));
    if is_accepted || is_configured() { Ok(()) } else { Err(ClaimError::TokenType) }
}

fn issuer(_: &Rules, input: CheckInput<'_>) -> Result<(), ClaimError> {
    match input.payload.text(Claim::Iss) {
        // RFC 7662 §2.2: optional in an answer, which comes from the endpoint of the issuer.
        Member::Absent if input.answer_rules().is_some() => Ok(()),
        Member::Absent => Err(ClaimError::Issuer(ClaimErrorReason::Missing)),
        Member::Malformed => Err(ClaimError::Issuer(ClaimErrorReason::Malformed)),
        // RFC 9068 §4: exact match. RFC 7519 §7.3: no normalization.
        Member::Is(issuer) if issuer != input.issuer => Err(ClaimError::Issuer(ClaimErrorReason::Mismatch)),
        Member::Is(_) => Ok(()),
    }
}

fn audience(rules: &Rules, input: CheckInput<'_>) -> Result<(), ClaimError> {
    match Audience::contains_any(input.payload, &rules.audiences) {
        Member::Absent => missing_audience(rules, input),
        Member::Malformed => Err(ClaimError::Audience(ClaimErrorReason::Malformed)),
        Member::Is(true) => Ok(()),
        Member::Is(false) => Err(ClaimError::Audience(ClaimErrorReason::Mismatch)),
    }
}

fn missing_audience(rules: &Rules, input: CheckInput<'_>) -> Result<(), ClaimError> {
    let clients = &rules.clients;
    // RFC 9068 §2.2 requires `aud`.
    if rules.profile == Profile::Rfc9068 {
        return Err(ClaimError::Audience(ClaimErrorReason::Missing));
    }
    let for_answer = input.answer_rules().map(|answer| answer.missing_audience);
    if [Some(rules.missing_audience), for_answer].contains(&Some(MissingAudience::Accepted)) {
        return Ok(());
    }
    // Cognito writes no `aud`: a configured client is accepted instead.
    let is_access_token = input.payload.text(Claim::TokenUse) == Member::Is("access");
    if is_access_token && !clients.accepted.is_empty() && clients.claim.is_in(input.payload) {
        return client(rules, input);
    }
    Err(ClaimError::Audience(ClaimErrorReason::Missing))
}

fn expiry(rules: &Rules, input: CheckInput<'_>) -> Result<(), ClaimError> {
    match dates::date(input.payload, Claim::Exp) {
        Member::Absent
            if input.answer_rules().is_some_and(|answer| answer.missing_expiry == MissingExpiry::Accepted) =>
        {
            Ok(())
        }
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
    let is_marker = |claim| rules.id_token_markers == IdTokenMarkers::Rejected && payload.raw(claim).is_some();
    let markers = [
        (Claim::AtHash, is_marker(Claim::AtHash)),
        (Claim::CHash, is_marker(Claim::CHash)),
        // These two claims say that the token is an ID token, so they cannot be accepted.
        (Claim::TokenUse, equals(Claim::TokenUse, "id")),
        (Claim::Typ, equals(Claim::Typ, "ID")),
        // Keycloak puts `nonce` into access tokens, so it marks an ID token only for servers that do not.
        (Claim::Nonce, rules.profile == Profile::Auth0 && is_marker(Claim::Nonce)),
    ];
    match markers.iter().find(|(_, is_set)| *is_set) {
        None => Ok(()),
        Some((claim, _)) => Err(ClaimError::IdToken { marker: claim.name() }),
    }
}

fn client(rules: &Rules, input: CheckInput<'_>) -> Result<(), ClaimError> {
    rules.clients.evaluate(input.payload).map_err(ClaimError::Client)
}

fn organization(rules: &Rules, input: CheckInput<'_>) -> Result<(), ClaimError> {
    rules.organizations.evaluate(input.payload).map_err(ClaimError::Organization)
}

#[cfg(test)]
mod tests;
