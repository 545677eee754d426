//! Compares an answer with the signed token that it is about.

use std::time::Duration;

use crate::claims::{self, Confirmation};
use crate::token::{Claim, Member, Payload};

/// Returns the first claim in which an answer differs from the token, if both have it: the answer is then about another
/// token. A confirmation differs also from none: the server says that the token is bound.
pub(crate) fn contradiction(token: &Payload, answer: &Payload) -> Option<&'static str> {
    let differs = |claim: &&Claim| match (token.text(**claim), answer.text(**claim)) {
        (Member::Absent, _) | (_, Member::Absent) => false,
        (one, other) => one != other,
    };
    let text = [Claim::Iss, Claim::Sub, Claim::ClientId, Claim::Jti];
    if let Some(claim) = text.iter().find(differs) {
        return Some(claim.name());
    }
    if answer.raw(Claim::Cnf).is_some() {
        // A malformed confirmation is read as none, so the absence in the token is compared, too.
        let is_added = token.raw(Claim::Cnf).is_none();
        if is_added || Confirmation::read(answer) != Confirmation::read(token) {
            return Some(Claim::Cnf.name());
        }
    }
    match (claims::date(token, Claim::Exp), claims::date(answer, Claim::Exp)) {
        (Member::Is(one), Member::Is(other)) => {
            // Some servers round the dates in their answers.
            let difference = one.saturating_since(other).max(other.saturating_since(one));
            (difference > TOLERATED).then_some(Claim::Exp.name())
        }
        _ => None,
    }
}

const TOLERATED: Duration = Duration::from_secs(1);

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn compares_claims_that_both_have() {
        let token = Payload::for_tests(r#"{"iss":"i","sub":"s","client_id":"c","jti":"j","exp":100}"#);
        for (answer, expected) in [
            ("{}", None),
            (r#"{"iss":"i","sub":"s","client_id":"c","jti":"j","exp":100,"scope":"x"}"#, None),
            (r#"{"exp":101}"#, None),
            (r#"{"exp":99.0}"#, None),
            (r#"{"exp":101.1}"#, Some("exp")),
            (r#"{"exp":98}"#, Some("exp")),
            (r#"{"iss":"i/"}"#, Some("iss")),
            (r#"{"sub":"other"}"#, Some("sub")),
            (r#"{"client_id":"C"}"#, Some("client_id")),
            (r#"{"jti":"k","exp":1}"#, Some("jti")),
            (r#"{"cnf":null}"#, None),
        ] {
            assert_eq!(contradiction(&token, &Payload::for_tests_answer(answer)), expected, "{answer}");
        }
        let bare = Payload::for_tests(r#"{"iss":"i"}"#);
        assert_eq!(contradiction(&bare, &token), None);
    }

    #[test]
    fn a_confirmation_of_any_form_that_the_token_lacks_is_a_contradiction() {
        let bound = r#"{"cnf":{"jkt":"0ZcOCORZNYy-DWpqq30jZyJGHTN0d2HglBV3uiguA4I"}}"#;
        let unknown = [r#"{"cnf":{"kid":"x"}}"#, r#"{"cnf":{"jkt":7}}"#, r#"{"cnf":{}}"#, r#"{"cnf":"x"}"#];
        let [unbound, of_key] = ["{}", bound].map(Payload::for_tests);
        for answer in unknown.iter().chain([&bound]) {
            assert_eq!(contradiction(&unbound, &Payload::for_tests_answer(answer)), Some("cnf"), "{answer}");
        }
        for answer in unknown {
            assert_eq!(contradiction(&of_key, &Payload::for_tests_answer(answer)), Some("cnf"), "{answer}");
            // The rule for tokens decides about such a confirmation, which is the same on both sides.
            assert_eq!(
                contradiction(&Payload::for_tests(answer), &Payload::for_tests_answer(answer)),
                None,
                "{answer}"
            );
        }
        assert_eq!(contradiction(&of_key, &Payload::for_tests_answer(bound)), None);
        assert_eq!(contradiction(&of_key, &Payload::for_tests_answer("{}")), None);
    }
}
