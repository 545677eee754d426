//! Combines a signed token with the answer about it, for [`Introspection::with_claims_from_introspection`].
//!
//! [`Introspection::with_claims_from_introspection`]: crate::introspection::Introspection::with_claims_from_introspection

use std::collections::BTreeMap;

use serde_json::value::RawValue;

use crate::token::{Claim, Payload};

/// Returns the claims of an answer, with the registered claims of the token that the answer lacks. Only what a token grants is never taken
/// from the token: without a scope in the answer there is no scope.
pub(crate) fn with_claims_of_answer(token: &Payload, answer: &Payload) -> Option<Payload> {
    let mut members: BTreeMap<String, &RawValue> = serde_json::from_str(answer.json()).ok()?;
    for claim in Claim::ALL.iter().filter(|claim| answer.raw(**claim).is_none()) {
        match token.raw(*claim).filter(|_| !GRANTS.contains(claim)) {
            Some(raw) => members.insert(claim.name().to_owned(), serde_json::from_str(raw).ok()?),
            // `null` counts as absent in an answer.
            None => members.remove(claim.name()),
        };
    }
    Payload::parse_answer(serde_json::to_string(&members).ok()?).ok()
}

const GRANTS: &[Claim] = &[Claim::Scope, Claim::Scp, Claim::Permissions];

#[cfg(test)]
mod tests {
    use super::*;

    fn merged(token: &str, answer: &str) -> String {
        let merged = with_claims_of_answer(&Payload::for_tests(token), &Payload::for_tests_answer(answer));
        merged.expect("an object").json().to_owned()
    }

    #[test]
    fn takes_the_answer_and_completes_it_with_claims_that_grant_nothing() {
        let token = r#"{"iss":"i","sub":"s","aud":["a"],"exp":9,"scope":"all","permissions":["p"],"org_id":"o","x":1}"#;
        assert_eq!(
            merged(token, r#"{"active":true,"scope":"read","\u0073ub":"s","y":{"z":1}}"#),
            r#"{"active":true,"aud":["a"],"exp":9,"iss":"i","org_id":"o","scope":"read","sub":"s","y":{"z":1}}"#
        );
        assert_eq!(
            merged(token, r#"{"active":true,"scope":null,"exp":null,"org_id":"b"}"#),
            r#"{"active":true,"aud":["a"],"exp":9,"iss":"i","org_id":"b","sub":"s"}"#
        );
        // The texts of values are kept, also of numbers that are no integers.
        assert_eq!(merged("{}", r#"{"active":true,"exp":1.50}"#), r#"{"active":true,"exp":1.50}"#);
    }
}
