//! The check of required claims: a required claim is present, has its registered type, and is not empty.

use std::borrow::Cow;

use crate::claims::dates;
use crate::claims::error::ClaimErrorReason;
use crate::claims::principal::Actor;
use crate::claims::string_or_array;
use crate::defaults;
use crate::token::{self, Claim, Member, Payload};

/// Checks that a claim is present, has its registered type, and is not empty.
///
/// An unregistered claim may have any type except null.
pub(super) fn check(payload: &Payload, name: &str) -> Result<(), ClaimErrorReason> {
    let is_set = match Claim::from_name(name) {
        Some(claim) => is_registered_claim_set(payload, claim),
        None => match token::member(payload.json(), name) {
            None => Member::Absent,
            Some("null") => Member::Malformed,
            Some(raw) => Member::Is(is_not_empty(raw)),
        },
    };
    match is_set {
        Member::Absent | Member::Is(false) => Err(ClaimErrorReason::Missing),
        Member::Malformed => Err(ClaimErrorReason::Malformed),
        Member::Is(true) => Ok(()),
    }
}

/// Returns the claims that are present but do not have their registered type. The accessors of these claims return `None` or an
/// error.
pub(crate) fn malformed(payload: &Payload) -> impl Iterator<Item = &'static str> {
    let is_malformed = |claim: &&Claim| is_registered_claim_set(payload, **claim) == Member::Malformed;
    Claim::ALL.iter().filter(is_malformed).map(|claim| claim.name())
}

/// Returns a member of an introspection answer that does not have its registered type (RFC 7662 §2.2). `iat` may be any number, as in a
/// token.
pub(crate) fn malformed_answer_member(payload: &Payload) -> Option<&'static str> {
    let is_malformed = |claim: &Claim| match claim {
        Claim::Iat => payload.raw(Claim::Iat).is_some_and(|raw| !dates::is_number(raw)),
        claim => is_registered_claim_set(payload, *claim) == Member::Malformed,
    };
    ANSWER_MEMBERS.iter().find(|claim| is_malformed(claim)).map(|claim| claim.name())
}

const ANSWER_MEMBERS: [Claim; 9] =
    [Claim::Iss, Claim::Sub, Claim::Aud, Claim::Exp, Claim::Nbf, Claim::Iat, Claim::Jti, Claim::ClientId, Claim::Scope];

/// Returns whether a claim of its registered type is not empty.
fn is_registered_claim_set(payload: &Payload, claim: Claim) -> Member<bool> {
    let Some(raw) = payload.raw(claim) else { return Member::Absent };
    let any = |string_or_array: Vec<Cow<'_, str>>| string_or_array.iter().any(|text| !text.is_empty());
    let is_set = match claim {
        Claim::Exp | Claim::Nbf | Claim::Iat | Claim::AuthTime => dates::date(payload, claim).ok().map(|_| true),
        Claim::Aud | Claim::Scope | Claim::Scp => string_or_array::collect(raw).map(any),
        Claim::Amr | Claim::Permissions => string_or_array::collect(raw).filter(|_| raw.starts_with('[')).map(any),
        Claim::Cnf => raw.starts_with('{').then(|| is_not_empty(raw)),
        Claim::Act => Actor::read(raw, defaults::MAX_ACTORS).ok().map(|_| is_not_empty(raw)),
        Claim::Iss
        | Claim::Sub
        | Claim::Jti
        | Claim::ClientId
        | Claim::Azp
        | Claim::Acr
        | Claim::Nonce
        | Claim::Sid
        | Claim::AtHash
        | Claim::CHash
        | Claim::OrgId
        | Claim::OrgName
        | Claim::Gty
        | Claim::SubProfile
        | Claim::TokenUse
        | Claim::Typ
        | Claim::Tid => payload.text(claim).ok().map(|text| !text.is_empty()),
    };
    is_set.map_or(Member::Malformed, Member::Is)
}

fn is_not_empty(raw: &str) -> bool {
    let inner: String = raw.chars().filter(|character| !character.is_ascii_whitespace()).collect();
    !matches!(inner.as_str(), "\"\"" | "[]" | "{}")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn requires_the_registered_type_and_a_value() {
        let check = |json: &str, name: &str| check(&Payload::for_tests(json), name);
        for (name, good, empty, malformed) in [
            ("sub", "\"x\"", &["\"\""][..], &["1", "null"][..]),
            ("sid", "\"x\"", &["\"\""], &["1", "null"]),
            ("scope", "\"a\"", &["\"\"", "[]"], &["1", "[1]", "null"]),
            ("permissions", "[\"a\"]", &["[]", "[\"\"]"], &["\"a\"", "null"]),
            ("iat", "1", &[], &["\"1\"", "null", "1e400"]),
            ("act", "{\"sub\":\"a\"}", &["{}"], &["\"a\"", "[]", "{\"sub\":1}", "null"]),
            ("https://a.example/roles", "[1]", &["[ ]", "\"\""], &["null"]),
            ("anything", "false", &["{ }", "[]"], &["null"]),
        ] {
            assert_eq!(check(&format!("{{\"{name}\":{good}}}"), name), Ok(()), "{name} {good}");
            assert_eq!(check("{}", name), Err(ClaimErrorReason::Missing), "{name} absent");
            for empty in empty {
                assert_eq!(
                    check(&format!("{{\"{name}\":{empty}}}"), name),
                    Err(ClaimErrorReason::Missing),
                    "{name} {empty}"
                );
            }
            for malformed in malformed {
                assert_eq!(
                    check(&format!("{{\"{name}\":{malformed}}}"), name),
                    Err(ClaimErrorReason::Malformed),
                    "{name} {malformed}"
                );
            }
        }
    }

    #[test]
    fn malformed_returns_claims_that_do_not_have_their_registered_type() {
        let payload = Payload::for_tests(
            r#"{"iss":"i","auth_time":"2026-11-29","org_id":7,"client_id":"","acr":null,"amr":[],"scope":"","own":7}"#,
        );
        assert_eq!(malformed(&payload).collect::<Vec<_>>(), ["acr", "auth_time", "org_id"]);
    }
}
