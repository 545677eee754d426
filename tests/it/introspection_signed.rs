//! Signed answers (RFC 9701), and introspection of tokens that are verified locally as well. The numbers are those of
//! the list of attacks.

use std::sync::Arc;
use std::time::Duration;

use http::header::CONTENT_TYPE;
use serde_json::{Value, json};
use tower_bearer::claims::{ClaimError, ClaimErrorReason};
use tower_bearer::clock::Timestamp;
use tower_bearer::fetch::FetchError;
use tower_bearer::introspection::{
    ClientAuthentication, Introspection, IntrospectionError, IntrospectionRejection, SignedAnswerError,
};
use tower_bearer::jwks::{RefreshError, RefreshPolicy, SecretSource};
use tower_bearer::keys::KeySet;
use tower_bearer::revocation::{Revocation, Revocations};
use tower_bearer::testing::{Outage, Reply, TestIssuer, TokenBuilder};
use tower_bearer::{Algorithm, Api, Issuer, Rejection, RejectionKind, Secret, Validator};

use crate::fixture::{AUDIENCE, NOW};
use crate::introspection_fixture::{
    ENDPOINT, INACTIVE, ISSUER, Scripted, TOKEN, active, authentication, cause, inactive, introspection, json_reply,
    reply,
};

const SECOND: Duration = Duration::from_secs(1);

fn server(scripted: &Scripted) -> TestIssuer {
    TestIssuer::named(ISSUER).with_clock(scripted.clock.clone()).with_algorithms([Algorithm::ES256])
}

fn trusted(server: &TestIssuer, introspection: Introspection) -> Issuer {
    let issuer = Issuer::static_keys(ISSUER, KeySet::from_jwks(server.jwks()));
    issuer.with_algorithms([Algorithm::ES256]).with_introspection(introspection)
}

/// Returns the builder of a signed answer.
fn signed(server: &TestIssuer, answer: &Value) -> TokenBuilder {
    let builder = server.token().typ("token-introspection+jwt").without("sub").without("exp").without("azp");
    builder.audience("orders-api").claim("token_introspection", answer)
}

fn jwt_reply(token: String) -> Reply {
    Reply::json(token).with_header(CONTENT_TYPE, "application/token-introspection+jwt")
}

async fn result(validator: &Validator, token: &str) -> Result<(), Rejection> {
    validator.validate(token).await.map(drop)
}

/// Cases 44 to 51.
#[tokio::test]
async fn accepts_only_answers_that_the_issuer_has_signed_for_this_client() {
    use SignedAnswerError as Error;
    let scripted = Scripted::new();
    let server = server(&scripted);
    let good = || signed(&server, &active(json!({})));
    let other_keys = TestIssuer::named(ISSUER).with_clock(scripted.clock.clone()).with_algorithms([Algorithm::ES256]);
    let issued = |seconds: i64| Timestamp::from_secs(NOW + seconds);
    for (token, expected) in [
        // Case 44.
        (good().typ("JWT"), Error::Type),
        // Case 45.
        (good().typ("at+jwt"), Error::Type),
        // Case 46.
        (good().audience(AUDIENCE), Error::Audience),
        (good().without("aud"), Error::Audience),
        // Case 47.
        (good().issued_at(issued(-600)), Error::IssuedAt),
        (good().issued_at(issued(600)), Error::IssuedAt),
        (good().without("iat"), Error::IssuedAt),
        (good().issuer("https://other.test"), Error::Issuer),
        // Case 49.
        (good().hs256_with_public_key(), Error::Algorithm),
        // Case 51.
        (good().signed_by(&other_keys), Error::Signature),
        (good().with_broken_signature(), Error::Signature),
        (good().kid("unknown"), Error::Key),
        (good().without("token_introspection").claim("active", true), Error::Content),
        // Also if the signature is valid.
        (good().header("crit", ["exp"]), Error::Form),
        (good().header("crit", ["b64"]).header("b64", false), Error::Form),
        (good().header("b64", true), Error::Form),
        (good().encrypted(), Error::Encrypted),
    ] {
        scripted.always_reply(jwt_reply(token.sign()));
        let validator =
            scripted.validator_of(Api::new(AUDIENCE, trusted(&server, introspection().with_signed_answers())));
        assert_eq!(cause(result(&validator, TOKEN).await), IntrospectionError::Signed { error: expected });
    }
    let validator =
        || scripted.validator_of(Api::new(AUDIENCE, trusted(&server, introspection().with_signed_answers())));
    for token in [
        good(),
        good().audiences(["x", "orders-api"]),
        good().typ("application/Token-Introspection+JWT"),
        good().issued_at(issued(-60)),
    ] {
        scripted.always_reply(jwt_reply(token.sign()));
        assert_eq!(result(&validator(), TOKEN).await, Ok(()));
    }
    // Case 50: what is outside of the answer is ignored.
    let outer = signed(&server, &inactive()).claim("active", true).claim("sub", "mallory");
    scripted.always_reply(jwt_reply(outer.sign()));
    assert_eq!(result(&validator(), TOKEN).await, Err(INACTIVE));
    let request = scripted.network.requests().pop().expect("a request");
    assert_eq!(request.headers["accept"], "application/token-introspection+jwt");
    // Case 48: nobody can remove the signature.
    scripted.always(&active(json!({})));
    assert_eq!(cause(result(&validator(), TOKEN).await), IntrospectionError::Unsigned);
    scripted.always_reply(jwt_reply("a.b.c".to_owned()));
    assert_eq!(cause(result(&validator(), TOKEN).await), IntrospectionError::Signed { error: Error::Form });
}

/// Case 52: a signed answer is no access token.
#[tokio::test]
async fn rejects_a_signed_answer_that_is_sent_as_a_token() {
    let scripted = Scripted::new();
    let server = server(&scripted);
    let validator = scripted.validator_of(Api::new(AUDIENCE, trusted(&server, introspection())));
    let answer = signed(&server, &active(json!({}))).audience(AUDIENCE).claim("exp", NOW + 60).sign();
    assert_eq!(result(&validator, &answer).await.map_err(|error| error.kind()), Err(RejectionKind::TokenType));
    assert_eq!(scripted.calls(), 0);
}

/// The key of a signed answer is looked up again on each hit.
#[tokio::test]
async fn a_revoked_key_ends_the_answers_that_it_has_signed() {
    let server = TestIssuer::named(ISSUER).with_algorithms([Algorithm::ES256]).with_client("orders-api", "s3cret");
    let settings = Introspection::discovered(ClientAuthentication::post("orders-api", "s3cret")).with_signed_answers();
    let issuer = Issuer::oidc(ISSUER).with_algorithms([Algorithm::ES256]).with_introspection(settings);
    let validator = Validator::builder(Api::new(AUDIENCE, issuer)).with_fetch(server.clone()).build().expect("valid");
    let token = server.token().opaque();
    for _ in 0..2 {
        assert_eq!(result(&validator, &token).await, Ok(()));
    }
    assert_eq!(server.introspections(), 1);
    for (_, keys) in validator.key_sources() {
        keys.revoke_kid(&server.kid());
    }
    assert_eq!(cause(result(&validator, &token).await), IntrospectionError::Signed { error: SignedAnswerError::Key });
    assert_eq!(server.introspections(), 2);
}

#[tokio::test]
async fn finds_the_endpoint_in_the_discovery_document() {
    let server = TestIssuer::named(ISSUER).with_client("orders-api", "s3cret");
    let settings = |secret: &str| Introspection::discovered(ClientAuthentication::basic("orders-api", secret));
    let validator = |secret| {
        let issuer = Issuer::opaque(ISSUER, settings(secret));
        Validator::builder(Api::new(AUDIENCE, issuer)).with_fetch(server.clone()).build().expect("valid")
    };
    let (good, token) = (validator("s3cret"), server.token().opaque());
    for _ in 0..3 {
        assert_eq!(result(&good, &token).await, Ok(()));
        good.evict_token(&token);
    }
    assert_eq!((server.introspections(), server.discovery_fetches()), (3, 1));
    server.revoke(&token);
    assert_eq!(result(&good, &token).await, Err(INACTIVE));
    assert_eq!(cause(result(&validator("wrong"), &token).await), IntrospectionError::CredentialsRefused);
    server.set_outage(Outage::NoConnection);
    assert!(matches!(cause(result(&validator("s3cret"), &token).await), IntrospectionError::Discovery { .. }));
}

/// Returns a validator that introspects every JWT, and its issuer.
fn introspecting(scripted: &Scripted, settings: Introspection) -> (Validator, TestIssuer) {
    let server = server(scripted);
    (scripted.validator_of(Api::new(AUDIENCE, trusted(&server, settings.with_every_jwt()))), server)
}

#[tokio::test]
async fn introspects_each_genuine_token_and_rejects_a_revoked_one() {
    let scripted = Scripted::answering(&json!({ "active": true }));
    let (validator, server) = introspecting(&scripted, introspection().with_ttl(10 * SECOND));
    let token = server.token().sign();
    for _ in 0..3 {
        let claims = validator.validate(&token).await.expect("active");
        assert_eq!(claims.header().map(|header| header.algorithm()), Some(Algorithm::ES256));
    }
    assert_eq!(scripted.calls(), 1);
    scripted.always(&inactive());
    scripted.clock.run_for(10 * SECOND).await;
    assert_eq!(result(&validator, &token).await, Err(INACTIVE));
    assert_eq!(validator.explain(&token).await.rejection(), Some(&INACTIVE));
    assert_eq!(scripted.calls(), 2);
    // Opaque tokens are accepted, too.
    scripted.always(&active(json!({})));
    assert_eq!(result(&validator, TOKEN).await, Ok(()));
}

/// Cases 53 (`sub`) and 54 (`exp`).
#[tokio::test]
async fn rejects_an_answer_that_contradicts_the_token() {
    let scripted = Scripted::new();
    let (validator, server) = introspecting(&scripted, introspection().with_revocation_grace(60 * SECOND));
    let token = || server.token().claim("jti", "j").claim("client_id", "shop").sign();
    // The first answer starts a probe.
    scripted.always(&active(json!({})));
    assert_eq!(result(&validator, TOKEN).await, Ok(()));
    scripted.clock.settle().await;
    for (changes, claim) in [
        (json!({ "sub": "mallory" }), "sub"),
        (json!({ "client_id": "other" }), "client_id"),
        (json!({ "jti": "k" }), "jti"),
        (json!({ "iss": "https://id.test/" }), "iss"),
        (json!({ "exp": NOW + 3_602 }), "exp"),
        (json!({ "exp": NOW + 3_598 }), "exp"),
    ] {
        let token = token();
        let mut answer = json!({ "active": true });
        answer.as_object_mut().expect("an object").extend(changes.as_object().expect("an object").clone());
        scripted.always(&answer);
        let rejection = Rejection::Introspection(IntrospectionRejection::Contradicted { claim });
        let calls = scripted.calls();
        for _ in 0..2 {
            assert_eq!(result(&validator, &token).await, Err(rejection.clone()));
            assert_eq!(validator.explain(&token).await.rejection(), Some(&rejection));
        }
        assert_eq!(scripted.calls(), calls + 1);
    }
    for changes in [json!({}), json!({ "exp": NOW + 3_601, "aud": "https://other.test/", "sub": "auth0|user" })] {
        let mut answer = json!({ "active": true });
        answer.as_object_mut().expect("an object").extend(changes.as_object().expect("an object").clone());
        scripted.always(&answer);
        assert_eq!(result(&validator, &token()).await, Ok(()), "{changes}");
    }
}

/// A refresh token is active at many servers, and a token of the type `DPoP` must be bound to a key. The answer says so about a JWT as
/// well.
#[tokio::test]
async fn rejects_a_jwt_that_the_answer_calls_no_access_token() {
    let rejected = Rejection::Claims(ClaimError::TokenType);
    for settings in [introspection(), introspection().with_claims_from_introspection()] {
        let scripted = Scripted::new();
        let (validator, server) = introspecting(&scripted, settings);
        for (number, (member, value, expected)) in [
            ("token_type", "DPoP", Err(rejected.clone())),
            ("token_type", "N_A", Err(rejected.clone())),
            ("token_type", "bearer", Ok(())),
            ("token_use", "refresh_token", Err(rejected.clone())),
            ("token_use", "access_token", Ok(())),
            ("typ", "Refresh", Err(rejected.clone())),
            ("typ", "Bearer", Ok(())),
        ]
        .into_iter()
        .enumerate()
        {
            let token = server.token().claim("jti", number.to_string()).sign();
            scripted.always(&json!({ "active": true, member: value }));
            for _ in 0..2 {
                assert_eq!(result(&validator, &token).await, expected, "{member} {value}");
                let explained = validator.explain(&token).await.rejection().cloned();
                assert_eq!(explained, expected.clone().err(), "{member} {value}");
            }
        }
    }
}

/// H1: an answer that contradicts the token ends the use of the earlier one.
#[tokio::test]
async fn a_contradicted_token_is_not_accepted_in_the_grace_period() {
    let scripted = Scripted::answering(&json!({ "active": true }));
    let (validator, server) = introspecting(&scripted, introspection().with_revocation_grace(3_600 * SECOND));
    let token = server.token().sign();
    assert_eq!(result(&validator, &token).await, Ok(()));
    scripted.clock.run_for(30 * SECOND).await;
    scripted.always(&json!({ "active": true, "sub": "mallory" }));
    let contradicted = Err(Rejection::Introspection(IntrospectionRejection::Contradicted { claim: "sub" }));
    assert_eq!(result(&validator, &token).await, contradicted);
    scripted.always_reply(Reply::error(FetchError::Connect));
    scripted.clock.run_for(30 * SECOND).await;
    assert!(result(&validator, &token).await.is_err());
    // The same in the background.
    scripted.always(&json!({ "active": true }));
    scripted.clock.run_for(31 * SECOND).await;
    let token = server.token().claim("jti", "2").sign();
    assert_eq!(result(&validator, &token).await, Ok(()));
    scripted.always(&json!({ "active": true, "sub": "mallory" }));
    scripted.clock.run_for(25 * SECOND).await;
    assert_eq!(result(&validator, &token).await, Ok(()));
    scripted.clock.settle().await;
    assert_eq!(result(&validator, &token).await, contradicted);
}

/// Case 55: down, and genuine. Case 56: down, and an unknown signature.
#[tokio::test]
async fn an_outage_rejects_genuine_tokens_with_503_and_forged_ones_with_401() {
    let scripted = Scripted::new();
    scripted.always_reply(Reply::error(FetchError::Connect));
    let (validator, server) = introspecting(&scripted, introspection());
    let down = IntrospectionError::Network { error: FetchError::Connect };
    assert_eq!(cause(result(&validator, &server.token().sign()).await), down);
    let calls = scripted.calls();
    for (forged, kind) in [
        (server.token().with_broken_signature(), RejectionKind::Signature),
        (server.token().kid("unknown"), RejectionKind::KeyNotFound),
        (server.token().expired(), RejectionKind::Expired),
    ] {
        assert_eq!(result(&validator, &forged.sign()).await.map_err(|rejection| rejection.kind()), Err(kind));
    }
    assert_eq!(scripted.calls(), calls);
}

#[tokio::test]
async fn accepts_tokens_without_an_answer_only_in_an_outage_and_if_configured() {
    let scripted = Scripted::new();
    let (validator, server) = introspecting(&scripted, introspection().dangerous_fail_open());
    let token = server.token().sign();
    scripted.always_reply(Reply::error(FetchError::Connect));
    assert_eq!(result(&validator, &token).await, Ok(()));
    assert!(validator.explain(&token).await.is_accepted());
    assert!(result(&validator, TOKEN).await.is_err(), "an opaque token proves nothing");
    scripted.always_reply(json_reply("<html>"));
    assert_eq!(cause(result(&validator, &token).await), IntrospectionError::InvalidAnswer);
    scripted.always(&inactive());
    assert_eq!(result(&validator, &token).await, Err(INACTIVE));
    scripted.always_reply(Reply::error(FetchError::Connect));
    scripted.clock.run_for(60 * SECOND).await;
    assert!(result(&validator, &token).await.is_err(), "the last answer was negative");
    assert!(validator.explain(&token).await.rejection().is_some());
}

/// A token with a shared secret is cached while the answer lasts, and not longer than the secret is in use.
#[tokio::test]
async fn introspects_tokens_with_a_shared_secret_and_checks_the_secret_on_each_hit() {
    let scripted = Scripted::answering(&json!({ "active": true }));
    let server = server(&scripted).with_algorithms([Algorithm::HS256]);
    let secrets = SecretSource::new(Secret::from_text(server.secret()).expect("a secret"));
    let issuer = Issuer::secret_source(ISSUER, &secrets).with_introspection(introspection().with_every_jwt());
    let validator = scripted.validator_of(Api::new(AUDIENCE, issuer));
    let token = server.token().sign();
    for _ in 0..2 {
        assert_eq!((result(&validator, &token).await, scripted.calls()), (Ok(()), 1));
    }
    secrets.replace([Secret::from_text("another secret that is long enough").expect("a secret")]).expect("replaced");
    assert_eq!((result(&validator, &token).await, scripted.calls()), (Err(Rejection::Signature), 1));
}

#[tokio::test]
async fn the_answer_is_part_of_the_claims_only_for_opaque_tokens() {
    let scripted = Scripted::new();
    scripted.always_reply(reply(&json!({ "active": true, "scope": "admin" })));
    let (validator, server) = introspecting(&scripted, introspection());
    let claims = validator.validate(&server.token().scope("read").sign()).await.expect("active");
    assert!(claims.grants_scope("read") && !claims.grants_scope("admin"));
}

/// An answer that contradicts a token is stored, also if an earlier answer about the token was accepted.
#[tokio::test]
async fn a_contradiction_is_stored_after_an_accepted_answer() {
    for wait in [25, 31] {
        let scripted = Scripted::answering(&json!({ "active": true }));
        let (validator, server) = introspecting(&scripted, introspection());
        let token = server.token().sign();
        assert_eq!(result(&validator, &token).await, Ok(()));
        scripted.always(&json!({ "active": true, "sub": "mallory" }));
        scripted.clock.run_for(wait * SECOND).await;
        // After 25 s the call is made in the background.
        let _first = result(&validator, &token).await;
        scripted.clock.settle().await;
        for _ in 0..10 {
            let contradicted = Err(Rejection::Introspection(IntrospectionRejection::Contradicted { claim: "sub" }));
            assert_eq!(result(&validator, &token).await, contradicted);
        }
        assert_eq!(scripted.calls(), 2, "{wait} s");
    }
}

/// The token may expire or be revoked while a request waits for the answer.
#[tokio::test]
async fn checks_a_signed_token_again_after_the_wait() {
    let validate = async |revocations: &Revocations, token: &dyn Fn(TokenBuilder) -> TokenBuilder, revoke: bool| {
        let scripted = Scripted::new();
        scripted.always_reply(reply(&json!({ "active": true })).with_delay(2 * SECOND));
        let server = server(&scripted);
        let builder = Validator::builder(Api::new(AUDIENCE, trusted(&server, introspection().with_every_jwt())));
        let builder = builder.with_fetch(scripted.network.clone()).with_clock(scripted.clock.clone());
        let validator = builder.with_revocations(revocations).build().expect("a valid configuration");
        let token = token(server.token().claim("jti", "j")).sign();
        let request = tokio::spawn(async move { result(&validator, &token).await });
        scripted.clock.run_for(SECOND).await;
        if revoke {
            let end = Timestamp::from_secs(NOW + 3600);
            revocations.revoke(Revocation::jwt_id(ISSUER, "j").with_end(end)).await.expect("in this process");
        }
        scripted.clock.run_for(SECOND).await;
        request.await.expect("no panic")
    };
    let plain = |token: TokenBuilder| token;
    let list = Revocations::in_memory();
    assert_eq!(validate(&list, &plain, false).await, Ok(()));
    assert_eq!(validate(&list, &plain, true).await.map_err(|error| error.kind()), Err(RejectionKind::Revoked));
    // With the leeway of five seconds, this token ends one second after the request.
    let expires = |token: TokenBuilder| token.expires_at(Timestamp::from_secs(NOW - 4));
    let list = Revocations::in_memory();
    let expired = Err(Rejection::Claims(ClaimError::Expired));
    assert_eq!(validate(&list, &expires, false).await, expired);
}

/// Neither an eviction by the application nor the tokens of others make a revoked token acceptable in an outage.
#[tokio::test]
async fn a_revoked_token_stays_rejected_in_an_outage() {
    let scripted = Scripted::answering(&inactive());
    let (validator, server) = introspecting(&scripted, introspection().dangerous_fail_open());
    let (revoked, other, evicted) =
        (server.token().claim("jti", "1").sign(), server.token().sign(), server.token().claim("jti", "2").sign());
    assert_eq!(result(&validator, &revoked).await, Err(INACTIVE));
    for number in 0..10_000 {
        assert_eq!(result(&validator, &format!("random-token-{number}")).await, Err(INACTIVE));
    }
    validator.evict_token(&revoked);
    validator.evict_token(&evicted);
    scripted.always_reply(Reply::error(FetchError::Connect));
    scripted.clock.run_for(60 * SECOND).await;
    assert!(result(&validator, &revoked).await.is_err());
    assert!(result(&validator, &evicted).await.is_err());
    assert_eq!(result(&validator, &other).await, Ok(()));
}

/// What this API rejects while the server responds is not accepted while it does not.
#[tokio::test]
async fn a_token_that_the_answer_contradicts_stays_rejected_in_an_outage() {
    let scripted = Scripted::answering(&json!({ "active": true, "sub": "mallory" }));
    let (validator, server) = introspecting(&scripted, introspection().dangerous_fail_open());
    let token = server.token().sign();
    let contradicted = IntrospectionRejection::Contradicted { claim: "sub" };
    assert_eq!(result(&validator, &token).await, Err(Rejection::Introspection(contradicted)));
    let connection = Reply::error(FetchError::Connect);
    scripted.always_reply(connection.clone());
    scripted.clock.run_for(60 * SECOND).await;
    assert_eq!(cause(result(&validator, &token).await), IntrospectionError::Network { error: FetchError::Connect });
    // An answer that is accepted ends it.
    scripted.always(&json!({ "active": true }));
    scripted.clock.run_for(60 * SECOND).await;
    assert_eq!(result(&validator, &token).await, Ok(()));
    scripted.always_reply(connection);
    scripted.clock.run_for(60 * SECOND).await;
    assert_eq!(result(&validator, &token).await, Ok(()));
}

const DISCOVERY: &str = "https://id.test/.well-known/openid-configuration";

fn discovery_reply() -> Reply {
    Reply::json(json!({ "issuer": ISSUER, "introspection_endpoint": ENDPOINT }).to_string())
}

#[tokio::test]
async fn all_calls_share_the_reading_of_the_discovery_document() {
    // After a 502, the reading is repeated once.
    let broken = Reply::status(http::StatusCode::BAD_GATEWAY);
    for (document, outcome, readings) in [(discovery_reply(), Ok(()), 1), (broken, Err(()), 2)] {
        let scripted = Scripted::answering(&active(json!({})));
        scripted.network.always(DISCOVERY, document.with_delay(SECOND));
        let issuer = Issuer::opaque(ISSUER, Introspection::discovered(ClientAuthentication::basic("orders-api", "s")));
        let validator = Arc::new(scripted.validator_of(Api::new(AUDIENCE, issuer)));
        let requests: Vec<_> = (0..40)
            .map(|number| {
                let validator = Arc::clone(&validator);
                tokio::spawn(async move { result(&validator, &format!("opaque-token-{number}")).await })
            })
            .collect();
        scripted.clock.run_for(10 * SECOND).await;
        for request in requests {
            assert_eq!(request.await.expect("no panic").map_err(drop), outcome);
        }
        assert_eq!(scripted.network.calls_to(DISCOVERY), readings, "{outcome:?}");
    }
}

/// The endpoint receives tokens and the secret.
#[tokio::test]
async fn sends_nothing_to_a_discovered_endpoint_at_a_host_that_is_not_listed() {
    let other = "https://tokens.test/introspect";
    let not_allowed = IntrospectionError::Discovery { error: RefreshError::JwksUriNotAllowed };
    let listed = |host: &str| RefreshPolicy::new().with_jwks_hosts([host]);
    for (endpoint, policy, expected) in [
        (other, listed("keys.test"), Err(not_allowed)),
        (other, listed("tokens.test"), Ok(())),
        (other, RefreshPolicy::new(), Ok(())),
        (ENDPOINT, listed("keys.test"), Ok(())),
    ] {
        let scripted = Scripted::answering(&active(json!({})));
        scripted.network.always(other, reply(&active(json!({}))));
        let document = json!({ "issuer": ISSUER, "introspection_endpoint": endpoint });
        scripted.network.always(DISCOVERY, Reply::json(document.to_string()));
        let api = Api::new(AUDIENCE, Issuer::opaque(ISSUER, Introspection::discovered(authentication())));
        let builder = Validator::builder(api).with_fetch(scripted.network.clone()).with_clock(scripted.clock.clone());
        let validator = builder.with_refresh_policy(policy).build().expect("a valid configuration");
        match expected {
            Ok(()) => assert_eq!(result(&validator, TOKEN).await, Ok(())),
            Err(error) => assert_eq!(cause(result(&validator, TOKEN).await), error),
        }
        assert_eq!(scripted.network.calls_to(endpoint), usize::from(expected.is_ok()), "{endpoint}");
    }
}

/// The limit for answers says nothing about the discovery document.
#[tokio::test]
async fn the_limits_of_answers_and_of_the_discovery_document_are_separate() {
    let large = |bytes: usize| {
        let document = json!({ "issuer": ISSUER, "introspection_endpoint": ENDPOINT, "x": "x".repeat(bytes) });
        Reply::json(document.to_string())
    };
    let settings = |bytes| Introspection::discovered(authentication()).with_max_answer_bytes(bytes);
    let too_large = IntrospectionError::Discovery { error: RefreshError::Network { error: FetchError::TooLarge } };
    for (document, max_answer_bytes, expected) in [
        (large(2_000), 1_024, Ok(())),
        (large(250_000), 1_024, Ok(())),
        (large(262_144), 1_024, Err(too_large)),
        // A larger limit for answers does not apply to the document, either.
        (large(262_144), 1 << 20, Err(too_large)),
        (large(250_000), 1 << 20, Ok(())),
    ] {
        let scripted = Scripted::answering(&active(json!({})));
        scripted.network.always(DISCOVERY, document);
        let issuer = Issuer::opaque(ISSUER, settings(max_answer_bytes));
        let validator = scripted.validator_of(Api::new(AUDIENCE, issuer));
        match expected {
            Ok(()) => assert_eq!(result(&validator, TOKEN).await, Ok(())),
            Err(error) => assert_eq!(cause(result(&validator, TOKEN).await), error),
        }
    }
    // The answer still has its own.
    let scripted = Scripted::answering(&active(json!({ "x": "x".repeat(1_024) })));
    scripted.network.always(DISCOVERY, large(2_000));
    let validator = scripted.validator_of(Api::new(AUDIENCE, Issuer::opaque(ISSUER, settings(1_024))));
    let too_large = IntrospectionError::Network { error: FetchError::TooLarge };
    assert_eq!(cause(result(&validator, TOKEN).await), too_large);
}

/// A server of discovery documents that hangs does not stop the calls to a known endpoint.
#[tokio::test]
async fn a_known_endpoint_stays_in_use_while_the_discovery_document_cannot_be_read() {
    let scripted = Scripted::answering(&active(json!({})));
    scripted.network.always(DISCOVERY, discovery_reply());
    let issuer = Issuer::opaque(ISSUER, Introspection::discovered(ClientAuthentication::basic("orders-api", "s")));
    let validator = Arc::new(scripted.validator_of(Api::new(AUDIENCE, issuer)));
    assert_eq!(result(&validator, TOKEN).await, Ok(()));
    scripted.network.always(DISCOVERY, Reply::hang());
    scripted.always(&active(json!({ "exp": NOW + 200_000 })));
    scripted.clock.run_for(86_400 * SECOND).await;
    let validate = |token: &'static str| {
        let validator = Arc::clone(&validator);
        tokio::spawn(async move { result(&validator, token).await })
    };
    let (reading, other) = (validate("opaque-token-2"), validate("opaque-token-3"));
    scripted.clock.settle().await;
    assert!(other.is_finished() != reading.is_finished(), "one reads the document, the other does not wait");
    scripted.clock.run_for(2 * SECOND).await;
    assert_eq!((reading.await.expect("no panic"), other.await.expect("no panic")), (Ok(()), Ok(())));
    assert_eq!((result(&validator, "opaque-token-4").await, scripted.network.calls_to(DISCOVERY)), (Ok(()), 2));
}

/// The server may shorten the scope in its answer.
#[tokio::test]
async fn hands_on_the_claims_of_the_answer_if_configured() {
    let scripted = Scripted::new();
    let (validator, server) = introspecting(&scripted, introspection().with_claims_from_introspection());
    let token = server.token().scope("read write").permissions(["p"]).claim("org_id", "o").sign();
    scripted.always(&json!({ "active": true, "scope": "read", "username": "ann", "org_id": "b" }));
    for _ in 0..2 {
        let claims = validator.validate(&token).await.expect("active");
        assert_eq!(claims.claim::<String>("org_id").ok().flatten().as_deref(), Some("b"));
        assert!(claims.grants_scope("read") && !claims.grants_scope("write"));
        assert!(claims.permissions().is_empty());
        assert_eq!((claims.subject(), claims.issuer()), (Some("auth0|user"), ISSUER));
        assert_eq!(claims.claim::<String>("username").ok().flatten().as_deref(), Some("ann"));
        assert_eq!(claims.header().map(|header| header.algorithm()), Some(Algorithm::ES256));
        assert_eq!(validator.still_valid(&claims), Ok(()));
    }
    assert_eq!(scripted.calls(), 1);
    // A newer answer is combined with the token, and not with the last answer.
    scripted.always(&json!({ "active": true }));
    scripted.clock.run_for(25 * SECOND).await;
    assert!(validator.validate(&token).await.expect("active").grants_scope("read"));
    scripted.clock.run_for(5 * SECOND).await;
    let claims = validator.validate(&token).await.expect("active");
    assert!(!claims.grants_scope("read"));
    assert_eq!(claims.claim::<String>("org_id").ok().flatten().as_deref(), Some("o"));
    assert_eq!(scripted.calls(), 2);
}

#[tokio::test]
async fn checks_the_claims_of_the_answer_that_are_handed_on() {
    for (answer, expected) in [
        (json!({ "active": true, "aud": "https://other.test/" }), ClaimError::Audience(ClaimErrorReason::Mismatch)),
        (json!({ "active": true, "nbf": NOW + 60 }), ClaimError::NotYetValid),
    ] {
        let scripted = Scripted::answering(&answer);
        let (validator, server) = introspecting(&scripted, introspection().with_claims_from_introspection());
        let token = server.token().sign();
        for _ in 0..2 {
            let rejection = Rejection::Claims(expected.clone());
            assert_eq!(result(&validator, &token).await, Err(rejection.clone()), "{answer}");
            assert_eq!(validator.explain(&token).await.rejection(), Some(&rejection), "{answer}");
        }
        assert_eq!(scripted.calls(), 1);
        // Without the setting, they are not handed on, so they are not checked.
        let (validator, server) = introspecting(&scripted, introspection());
        assert_eq!(result(&validator, &server.token().sign()).await, Ok(()), "{answer}");
    }
}
