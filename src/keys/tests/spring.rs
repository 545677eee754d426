//! The tokens of Spring Security's resource server, judged without `iss` and `aud`, which they lack.

use std::ops::ControlFlow;
use std::time::Duration;

use crate::claims::{Confirmation, Evidence, Profile, Rules};
use crate::clock::Timestamp;
use crate::keys::tests::corpus::{self, Verdicts};
use crate::keys::{Found, KeyTable, SignedToken};
use crate::token::{Algorithm, UnverifiedToken};

/// After the tokens were made, and before those expire that should not.
const NOW: i64 = 1_600_000_000;

#[test]
fn tokens_of_spring_security() {
    let mut verdicts = Verdicts::new("Spring Security", "");
    for (name, keys, valid) in [
        ("Expired", "Default", false),
        ("ExpiresAt4687177990", "Default", true),
        ("Kid", "TwoKeys", true),
        ("MalformedPayload", "Default", false),
        ("TooEarly", "Default", false),
        ("Unsigned", "Default", false),
        ("ValidMessageReadScope", "Default", true),
        ("ValidMessageReadScp", "Default", true),
        ("ValidMessageWriteScp", "Default", true),
        ("ValidNoScopes", "Default", true),
        ("WrongAlgorithm", "Default", false),
        ("WrongSignature", "Default", false),
    ] {
        let file = |name: &str| format!("spring-security/OAuth2ResourceServerConfigurerTests-{name}");
        let Some(token) = corpus::text(&file(&format!("{name}.token"))) else { return };
        let Some(mut keys) = corpus::json(&file(&format!("{keys}.jwks"))) else { return };
        let published = keys["keys"].as_array_mut().expect("keys");
        published.iter_mut().for_each(|key| *key = corpus::public(key));
        verdicts.record(name, valid, holds(&corpus::table_for(&keys, &[Algorithm::RS256]), &token));
    }
    verdicts.finish(6, 6);
}

/// Says whether the signature and every claim but `iss` and `aud` hold.
fn holds(keys: &KeyTable, token: &str) -> bool {
    let Ok(token) = UnverifiedToken::parse(token) else { return false };
    let Found::Keys(candidates) = keys.find(token.header().kid(), token.header().algorithm()) else { return false };
    let Ok(signed) = SignedToken::prove(token, candidates) else { return false };
    let rules = Rules {
        audiences: Box::from([]),
        leeway: Duration::from_secs(60),
        profile: Profile::Any,
        required: Box::from([]),
        max_age: None,
        confirmation: Confirmation::Refused,
    };
    let now = Timestamp::from_secs(NOW);
    let evidence = Evidence { header: signed.header(), payload: signed.payload(), issuer: "", now };
    let mut all = true;
    rules.judge(evidence, &mut |check, outcome| {
        all &= outcome.is_ok() || ["iss", "aud"].contains(&check.name);
        ControlFlow::Continue(())
    });
    all
}
