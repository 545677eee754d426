//! Explanations of DPoP proofs.

use http::Request;
use tower_bearer::dpop::{Dpop, Nonces, ProofClaim, ProofError};
use tower_bearer::keys::Secret;
use tower_bearer::rejection::PossessionError;
use tower_bearer::request::RequestHead;
use tower_bearer::testing::ProofBuilder;
use tower_bearer::{CheckOutcome, Explanation, Finding, Rejection};

use crate::dpop_fixture::{Answer, URL, World, dpop_request};
use crate::fixture::{NOW, block_on};

/// Explains a request whose proof `change` has changed.
fn explain(world: &World, change: impl FnOnce(ProofBuilder) -> ProofBuilder) -> Explanation {
    let token = world.token().sign();
    let request = dpop_request(&token, &change(world.client.proof("GET", URL, &token)).sign());
    explain_request(world, &token, &request)
}

fn explain_request(world: &World, token: &str, request: &Request<String>) -> Explanation {
    block_on(world.validator.explain_request(token, &RequestHead::new(request)))
}

/// Returns the rows of the proof with an outcome.
fn rows(explanation: &Explanation, outcome: CheckOutcome) -> Vec<&'static str> {
    let findings = explanation.findings().iter().skip_while(|finding| finding.check() != "proof form");
    findings.filter(|finding| finding.outcome() == outcome).map(Finding::check).collect()
}

fn row<'e>(explanation: &'e Explanation, check: &str) -> &'e Finding {
    explanation.findings().iter().find(|finding| finding.check() == check).expect("a row")
}

/// A row says that a check passed only if it was made.
#[test]
fn a_claim_that_is_missing_or_malformed_leaves_the_other_claims_unchecked() {
    type Change = fn(ProofBuilder) -> ProofBuilder;
    let world = World::new(|api| api);
    let cases: [(Change, ProofError); 6] = [
        (|proof| proof.without("iat").claim("htm", "PUT"), ProofError::MissingClaim(ProofClaim::Iat)),
        (|proof| proof.claim("iat", "x"), ProofError::MalformedClaim(ProofClaim::Iat)),
        (|proof| proof.claim("exp", "x"), ProofError::MalformedClaim(ProofClaim::Exp)),
        (|proof| proof.claim("nbf", "x"), ProofError::MalformedClaim(ProofClaim::Nbf)),
        (|proof| proof.claim("ath", 7), ProofError::MalformedClaim(ProofClaim::Ath)),
        (|proof| proof.claim("jti", ""), ProofError::MalformedClaim(ProofClaim::Jti)),
    ];
    for (change, error) in cases {
        let explanation = explain(&world, change);
        assert_eq!(explanation.rejection(), Some(&Rejection::Possession(PossessionError::Proof(error))));
        assert_eq!(rows(&explanation, CheckOutcome::Failed), ["proof claims"], "{explanation}");
        let passed = ["proof form", "proof typ", "proof alg", "jwk", "jkt"];
        assert_eq!(rows(&explanation, CheckOutcome::Passed), passed, "{explanation}");
    }
    let malformed = explain(&world, |proof| proof.claim("exp", "x"));
    assert_eq!(row(&malformed, "proof claims").found(), Some(r#""x""#));
    // A claim of the right type that is wrong has its own row.
    let other_method = explain(&world, |proof| proof.claim("htm", "PUT"));
    assert_eq!(other_method.rejection(), Some(&Rejection::Possession(PossessionError::Proof(ProofError::Method))));
    assert_eq!(rows(&other_method, CheckOutcome::Failed), ["htm"]);
    let accepted = explain(&world, |proof| proof);
    assert!(accepted.is_accepted() && rows(&accepted, CheckOutcome::Failed).is_empty(), "{accepted}");
}

#[test]
fn the_jti_is_shown_and_not_looked_up() {
    let world = World::new(|api| api);
    let token = world.token().sign();
    let request = dpop_request(&token, &world.client.proof("GET", URL, &token).jti("one").sign());
    for answer in [Answer::Accepted, Answer::InvalidProof] {
        let explanation = explain_request(&world, &token, &request);
        assert!(explanation.is_accepted(), "{explanation}");
        assert_eq!(rows(&explanation, CheckOutcome::Skipped), ["proof jti"], "{explanation}");
        assert_eq!(row(&explanation, "proof jti").found(), Some(r#""one""#));
        assert_eq!(world.answer(request.clone()), answer);
    }
}

#[test]
fn the_row_of_the_time_shows_which_times_are_accepted() {
    let world = World::new(|api| api);
    let at = |seconds: i64| explain(&world, |proof| proof.claim("iat", NOW + seconds));
    let explanation = at(-91);
    let late = row(&explanation, "proof iat");
    assert_eq!(late.outcome(), CheckOutcome::Failed);
    assert_eq!(late.expected(), Some("at most 90s ago and 30s in the future"));
    assert_eq!(late.found(), Some((NOW - 91).to_string().as_str()));
    assert!(explanation.to_string().contains("proof iat: the DPoP proof was issued 91s ago"), "{explanation}");
    assert!(at(-90).is_accepted() && at(30).is_accepted() && !at(31).is_accepted());
}

#[test]
fn the_row_of_the_nonce_is_shown_only_if_nonces_are_required() {
    let without = World::new(|api| api);
    let explanation = explain(&without, |proof| proof);
    assert!(!explanation.findings().iter().any(|finding| finding.check() == "nonce"), "{explanation}");
    let secret = Secret::new(vec![1; 32]).expect("a secret");
    let dpop = Dpop::new("https://api.test").with_nonces(Nonces::shared(secret));
    for (dpop, expected) in [
        (dpop.clone(), "a time, which is not compared with now, because the proof needs a nonce"),
        (dpop.with_issued_at_too(), "at most 90s ago and 30s in the future"),
    ] {
        let world = World::new(|api| api.with_dpop(dpop));
        let explanation = explain(&world, |proof| proof);
        assert_eq!(rows(&explanation, CheckOutcome::Failed), ["nonce"], "{explanation}");
        assert_eq!(row(&explanation, "proof iat").expected(), Some(expected));
        let token = world.token().sign();
        let nonce = world.send(world.request(&token)).headers()["dpop-nonce"].to_str().expect("ASCII").to_owned();
        let explanation = explain(&world, |proof| proof.nonce(&nonce));
        assert!(explanation.is_accepted() && row(&explanation, "nonce").outcome() == CheckOutcome::Passed);
    }
}
