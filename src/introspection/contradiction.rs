//! Compares an answer with the signed token that it is about.

use std::time::Duration;

use crate::claims::{self, Confirmation};
use crate::token::{Claim, Member, Payload};

/// Returns the first claim in which an answer differs from the token, if both have it: the answer is then about another
/// token.
pub(crate) fn contradiction(token: &Payload, answer: &Payload) -> Option<&'static str> {
    let differs = |claim: &&Claim| match (token.text(**claim), answer.text(**claim)) {
        (Member::Absent, _) | (_, Member::Absent) => false,
        (one, other) => one != other,
    };
    let text = [Claim::Iss, Claim::Sub, Claim::ClientId, Claim::Jti];
    if let Some(claim) = text.iter().find(differs) {
        return Some(claim.name());
    }
    if answer.raw(Claim::Cnf).is_some() && Confirmation::read(answer) != Confirmation::read(token) {
        return Some(Claim::Cnf.name());
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
            (r#"{"cnf":{"jkt":"0ZcOCORZNYy-DWpqq30jZyJGHTN0d2HglBV3uiguA4I"}}"#, Some("cnf")),
            (r#"{"cnf":null}"#, None),
        ] {
            assert_eq!(contradiction(&token, &Payload::for_tests(answer)), expected, "{answer}");
        }
        let bare = Payload::for_tests(r#"{"iss":"i"}"#);
        assert_eq!(contradiction(&bare, &token), None);
    }
}
