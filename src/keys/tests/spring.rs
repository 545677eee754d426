//! The test tokens of Spring Security's resource server. They have no `iss` and no `aud`, so these checks are ignored.

use std::ops::ControlFlow;
use std::time::Duration;

use crate::claims::{
    CheckInput, CheckedSource, ClientRule, ConfirmationRule, IdTokenMarkers, MissingAudience, OrganizationRule,
    Profile, Rules,
};
use crate::clock::Timestamp;
use crate::keys::tests::corpus;
use crate::keys::{Found, KeyTable, SignedToken};
use crate::token::{Algorithm, UnverifiedToken};

/// A time after the tokens were issued, and before the valid ones expire.
const NOW: i64 = 1_600_000_000;

#[test]
fn returns_the_expected_errors_for_tokens_of_spring_security() {
    for (name, keys, expected) in [
        ("Expired", "Default", "exp"),
        ("ExpiresAt4687177990", "Default", ""),
        ("Kid", "TwoKeys", ""),
        ("MalformedPayload", "Default", "nbf"),
        ("TooEarly", "Default", "nbf"),
        ("Unsigned", "Default", "Empty { segment: Signature }"),
        ("ValidMessageReadScope", "Default", ""),
        ("ValidMessageReadScp", "Default", ""),
        ("ValidMessageWriteScp", "Default", ""),
        ("ValidNoScopes", "Default", ""),
        ("WrongAlgorithm", "Default", "no key"),
        ("WrongSignature", "Default", "signature"),
    ] {
        let file = |name: &str| format!("spring-security/OAuth2ResourceServerConfigurerTests-{name}");
        let Some(token) = corpus::text(&file(&format!("{name}.token"))) else { return };
        let Some(mut keys) = corpus::json(&file(&format!("{keys}.jwks"))) else { return };
        let published = keys["keys"].as_array_mut().expect("keys");
        published.iter_mut().for_each(|key| *key = corpus::public(key));
        assert_eq!(failed_checks(&corpus::table_for(&keys, &[Algorithm::RS256]), &token), expected, "{name}");
    }
}

/// Returns the failed checks of the token, except those of `iss` and `aud`.
fn failed_checks(keys: &KeyTable, token: &str) -> String {
    let token = match UnverifiedToken::parse(token) {
        Ok(token) => token,
        Err(error) => return format!("{error:?}"),
    };
    let candidates = match keys.find(token.header().kid(), token.header().algorithm()) {
        Found::Keys(candidates) => candidates,
        _ => return "no key".to_owned(),
    };
    let Ok(signed) = SignedToken::verify(token, candidates) else { return "signature".to_owned() };
    let rules = Rules {
        audiences: Box::from([]),
        leeway: Duration::from_secs(60),
        missing_audience: MissingAudience::Rejected,
        profile: Profile::Any,
        token_types: Box::from([]),
        required: Box::from([]),
        max_age: None,
        confirmation: ConfirmationRule::Rejected,
        id_token_markers: IdTokenMarkers::Rejected,
        clients: ClientRule::default(),
        organizations: OrganizationRule::Any,
    };
    let now = Timestamp::from_secs(NOW);
    let input =
        CheckInput { source: CheckedSource::Token(signed.header()), payload: signed.payload(), issuer: "", now };
    let mut failed_checks = Vec::new();
    rules.evaluate(input, &mut |check, outcome| {
        if outcome.is_err() && !["iss", "aud"].contains(&check.name) {
            failed_checks.push(check.name);
        }
        ControlFlow::Continue(())
    });
    failed_checks.join(" ")
}
