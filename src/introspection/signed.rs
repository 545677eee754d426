//! Signed answers (RFC 9701): a JWT of the issuer whose claim `token_introspection` is the answer.

use std::time::Duration;

use crate::claims;
use crate::clock::Timestamp;
use crate::defaults;
use crate::introspection::answer::{self, AnswerSignature, Parsed};
use crate::introspection::error::{IntrospectionError, SignedAnswerError};
use crate::jwks::KeyEpoch;
use crate::keys::{Found, KeyTable, SignedToken};
use crate::token::{self, Algorithm, Claim, Member, Payload, Segment, TokenError, UnverifiedToken, is_media_type};

/// What a signed answer must contain.
#[derive(Clone, Copy, Debug)]
pub(super) struct Expected<'e> {
    /// The `iss` values of the issuer.
    pub(super) issuers: &'e [Box<str>],
    /// The id of this API as a client of the server.
    pub(super) client_id: &'e str,
    pub(super) leeway: Duration,
}

/// Parses a signed answer without verifying it, so that its key can be found.
pub(super) fn parse<'t>(body: &'t [u8], algorithms: &[Algorithm]) -> Result<UnverifiedToken<'t>, SignedAnswerError> {
    let token = UnverifiedToken::parse_with_known_header(body, |_| None).map_err(|error| match error {
        TokenError::Encrypted => SignedAnswerError::Encrypted,
        _ => SignedAnswerError::Form,
    })?;
    // RFC 9701 §5: without this check, an access token of the issuer could be taken for an answer.
    if !token.header().typ().is_some_and(|typ| is_media_type(typ, MEDIA_TYPE)) {
        return Err(SignedAnswerError::Type);
    }
    let algorithm = token.header().algorithm();
    if algorithm.is_symmetric() || !algorithms.contains(&algorithm) {
        return Err(SignedAnswerError::Algorithm);
    }
    Ok(token)
}

/// Verifies a signed answer, and parses the answer in it. Other claims, such as a top-level `active` or `exp`, are ignored.
pub(super) fn verify(
    token: UnverifiedToken<'_>,
    (keys, epoch): (&KeyTable, KeyEpoch),
    expected: &Expected<'_>,
    now: Timestamp,
) -> Result<(Parsed, AnswerSignature), IntrospectionError> {
    let error = |error| IntrospectionError::Signed { error };
    let header = token.header();
    let Found::Keys(candidates) = keys.find(header.key_id(), header.algorithm()) else {
        return Err(error(SignedAnswerError::Key));
    };
    let signed = SignedToken::verify(token, candidates).map_err(|_| error(SignedAnswerError::Signature))?;
    let (header, payload, thumbprint) = signed.into_parts();
    check(&payload, expected, now).map_err(error)?;
    let names = ["token_introspection"];
    let content = match token::json_members(Segment::Payload, payload.json(), names) {
        Ok([Some(content)]) => content,
        Ok([None]) | Err(_) => return Err(error(SignedAnswerError::Content)),
    };
    let parsed = answer::parse(content.as_bytes())?;
    Ok((parsed, AnswerSignature { header, thumbprint, epoch }))
}

fn check(payload: &Payload, expected: &Expected<'_>, now: Timestamp) -> Result<(), SignedAnswerError> {
    match payload.text(Claim::Iss) {
        Member::Is(issuer) if expected.issuers.iter().any(|known| **known == *issuer) => {}
        _ => return Err(SignedAnswerError::Issuer),
    }
    if !claims::has_audience(payload, expected.client_id) {
        return Err(SignedAnswerError::Audience);
    }
    let Member::Is(issued_at) = claims::date(payload, Claim::Iat) else { return Err(SignedAnswerError::IssuedAt) };
    let tolerated = defaults::SIGNED_ANSWER_MAX_AGE.saturating_add(expected.leeway);
    let is_recent = now.saturating_since(issued_at).max(issued_at.saturating_since(now)) <= tolerated;
    if is_recent { Ok(()) } else { Err(SignedAnswerError::IssuedAt) }
}

/// The `typ` of a signed answer, and its media type without `application/`.
pub(super) const MEDIA_TYPE: &str = "token-introspection+jwt";
