//! The check of the type of an introspected token.

use crate::claims::confirmation::Confirmation;
use crate::claims::error::ClaimError;
use crate::token::{self, Claim, Member, Payload};

/// Rejects an answer about a token that is no access token: refresh tokens are active at many servers, too.
///
/// `token_type` is that of RFC 6749 §7.1, and decides how a client sends the token. A token of the type `DPoP` must be
/// bound to a key of a DPoP proof (RFC 9449 §6.2): a certificate alone is another binding. `bound` has the claim `cnf`: the signed token
/// that the answer is about, or else the answer.
pub(crate) fn check_answer_type(payload: &Payload, bound: &Payload) -> Result<(), ClaimError> {
    let is_one_of = |text: &str, names: &[&str]| names.iter().any(|name| text.eq_ignore_ascii_case(name));
    let token_type = token::member(payload.json(), "token_type").and_then(token::unquote);
    match token_type.as_deref() {
        None => {}
        Some(name) if is_one_of(name, &["Bearer"]) => {}
        Some(name) if is_one_of(name, &["DPoP"]) && is_bound_to_proof_key(bound) => {}
        Some(_) => return Err(ClaimError::TokenType),
    }
    match payload.text(Claim::TokenUse) {
        Member::Absent => {}
        Member::Is(name) if is_one_of(name, &["access", "access_token"]) => {}
        Member::Is(_) | Member::Malformed => return Err(ClaimError::TokenType),
    }
    // Keycloak writes the type into `typ`.
    match payload.text(Claim::Typ) {
        Member::Is(name) if is_one_of(name, &["Refresh", "Offline", "ID", "Logout"]) => Err(ClaimError::TokenType),
        Member::Absent | Member::Is(_) | Member::Malformed => Ok(()),
    }
}

/// Returns whether `cnf` names the key of a DPoP proof. A malformed `cnf` is left to its own check.
fn is_bound_to_proof_key(payload: &Payload) -> bool {
    payload.raw(Claim::Cnf).is_some()
        && Confirmation::read(payload).is_none_or(|confirmation| confirmation.jwk_thumbprint().is_some())
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Some servers write `cnf` only into the token.
    #[test]
    fn a_token_of_the_type_dpop_is_bound_by_the_answer_or_the_token_that_it_is_about() {
        let bound = r#"{"cnf":{"jkt":"0ZcOCORZNYy-DWpqq30jZyJGHTN0d2HglBV3uiguA4I"}}"#;
        let answer = Payload::for_tests_answer(r#"{"token_type":"DPoP"}"#);
        let [bound, unbound] = [bound, "{}"].map(Payload::for_tests);
        assert_eq!(check_answer_type(&answer, &bound), Ok(()));
        assert_eq!(check_answer_type(&answer, &unbound), Err(ClaimError::TokenType));
    }
}
