//! Required claims: present, of the registered type, not empty.

use std::borrow::Cow;
use std::collections::BTreeMap;

use serde_json::value::RawValue;

use crate::claims::dates;
use crate::claims::texts;
use crate::token::{Claim, Member, Payload};

/// Says whether the claim is there with its registered type, and holds something.
///
/// A claim that this crate does not know may have any type but null.
pub(super) fn is_met(payload: &Payload, name: &str) -> bool {
    let Some(claim) = Claim::from_name(name) else {
        return raw(payload, name).is_some_and(holds_something);
    };
    let Some(raw) = payload.raw(claim) else { return false };
    match claim {
        Claim::Exp | Claim::Nbf | Claim::Iat | Claim::AuthTime => matches!(dates::date(payload, claim), Member::Is(_)),
        Claim::Aud | Claim::Scope | Claim::Scp => {
            texts::collect(raw).is_some_and(|all| all.iter().any(|text| !text.is_empty()))
        }
        Claim::Amr | Claim::Permissions => {
            raw.starts_with('[') && texts::collect(raw).is_some_and(|all| all.iter().any(|text| !text.is_empty()))
        }
        Claim::Cnf | Claim::Act => raw.starts_with('{') && holds_something(raw),
        Claim::Iss
        | Claim::Sub
        | Claim::Jti
        | Claim::ClientId
        | Claim::Azp
        | Claim::Acr
        | Claim::Nonce
        | Claim::AtHash
        | Claim::CHash
        | Claim::OrgId
        | Claim::OrgName
        | Claim::Gty
        | Claim::SubProfile
        | Claim::TokenUse
        | Claim::Typ => payload.text(claim).ok().is_some_and(|text| !text.is_empty()),
    }
}

/// The JSON text of a claim, whatever its name.
pub(super) fn raw<'p>(payload: &'p Payload, name: &str) -> Option<&'p str> {
    match Claim::from_name(name) {
        Some(claim) => payload.raw(claim),
        None => unregistered(payload.json(), name),
    }
}

fn unregistered<'p>(json: &'p str, name: &str) -> Option<&'p str> {
    let members: BTreeMap<Cow<'p, str>, &'p RawValue> = serde_json::from_str(json).ok()?;
    members.get(name).map(|raw| raw.get())
}

fn holds_something(raw: &str) -> bool {
    let inner: String = raw.chars().filter(|character| !character.is_ascii_whitespace()).collect();
    !matches!(inner.as_str(), "null" | "\"\"" | "[]" | "{}")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_registered_claim_needs_its_type_and_a_value() {
        let met = |json: &str, name: &str| is_met(&Payload::for_tests(json), name);
        for (name, good, bad) in [
            ("sub", "\"x\"", ["\"\"", "1", "null"]),
            ("scope", "\"a\"", ["\"\"", "1", "[1]"]),
            ("permissions", "[\"a\"]", ["[]", "\"a\"", "[\"\"]"]),
            ("iat", "1", ["\"1\"", "null", "1e400"]),
            ("act", "{\"sub\":\"a\"}", ["{}", "\"a\"", "[]"]),
            ("https://a.example/roles", "[1]", ["[ ]", "null", "\"\""]),
            ("anything", "false", ["{ }", "null", "[]"]),
        ] {
            assert!(met(&format!("{{\"{name}\":{good}}}"), name), "{name} {good}");
            assert!(!met("{}", name), "{name} absent");
            for bad in bad {
                assert!(!met(&format!("{{\"{name}\":{bad}}}"), name), "{name} {bad}");
            }
        }
    }

    #[test]
    fn an_unregistered_name_is_compared_after_unescaping() {
        assert_eq!(unregistered(r#"{"r\u006fles":["a"]}"#, "roles"), Some(r#"["a"]"#));
    }
}
