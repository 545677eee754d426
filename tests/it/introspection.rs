//! Introspection of opaque tokens: what counts as an answer, and which answers this API accepts (RFC 7662). The numbers
//! are those of the list of attacks.

use std::sync::{Arc, Mutex};
use std::time::Duration;

use axum::Router;
use axum::extract::State;
use axum::response::IntoResponse as _;
use bytes::Bytes;
use http::header::{CONTENT_ENCODING, CONTENT_TYPE, LOCATION, RETRY_AFTER};
use http::{HeaderMap, HeaderName, Method, StatusCode, Uri};
use serde_json::{Value, json};
use tower::Layer as _;
use tower_bearer::claims::{ClaimError, ClaimErrorReason, ClaimsSource};
use tower_bearer::fetch::FetchError;
use tower_bearer::introspection::{
    ClientAuthentication, Introspection, IntrospectionError, IntrospectionEvent, IntrospectionEventKind,
    IntrospectionRejection, IntrospectionSettingError, StoppedCalls,
};
use tower_bearer::keys::KeySet;
use tower_bearer::rejection::IssuerError;
use tower_bearer::testing::{Reply, TestIssuer};
use tower_bearer::token::TokenError;
use tower_bearer::{Api, BearerLayer, Claims, Issuer, Rejection, RejectionKind, RequireLayer, Validator};

use crate::fixture::{AUDIENCE, NOW, block_on, setting_errors};
use crate::introspection_fixture::{
    ENDPOINT, INACTIVE, ISSUER, Scripted, TOKEN, active, authentication, cause, inactive, introspection, json_reply,
    reply,
};
use crate::layer_fixture::{bearer_request, send, subject_service};

/// Validates a token about which the server gives this answer.
async fn validate(answer: &Value) -> Result<Claims, Rejection> {
    Scripted::answering(answer).validator().validate(TOKEN).await
}

#[tokio::test]
async fn accepts_an_opaque_token_that_the_server_calls_active() {
    let scripted = Scripted::answering(&active(json!({ "username": "ann@example.com" })));
    let claims = scripted.validator().validate(TOKEN).await.expect("active");
    assert_eq!((claims.issuer(), claims.subject(), claims.client_id()), (ISSUER, Some("ann"), Some("shop")));
    assert_eq!((claims.source(), claims.header()), (ClaimsSource::Introspection, None));
    assert!(claims.grants_scope("read:orders"));
    let request = &scripted.network.requests()[0];
    assert_eq!(request.url, ENDPOINT);
    assert_eq!(request.form, Some(Bytes::from("token=opaque-token-1&token_type_hint=access_token")));
    assert_eq!(request.headers["authorization"], "Basic b3JkZXJzLWFwaTpzM2NyZXQ=");
    assert!(request.headers["authorization"].is_sensitive());
    assert_eq!(request.headers["accept"], "application/json");
}

/// Cases 1 to 8, 19, 20: a server that says nothing has not said no.
#[tokio::test]
async fn a_response_that_is_no_answer_is_neither_yes_nor_no() {
    for (body, expected) in [
        // Case 1.
        ("{}", IntrospectionError::InvalidActive),
        // Case 2.
        (r#"{"active":"true"}"#, IntrospectionError::InvalidActive),
        // Case 3.
        (r#"{"active":1}"#, IntrospectionError::InvalidActive),
        // Case 4.
        (r#"{"active":null}"#, IntrospectionError::InvalidActive),
        // Case 5.
        (r#"{"active":false,"active":true}"#, IntrospectionError::InvalidAnswer),
        // Case 6.
        ("<html>", IntrospectionError::InvalidAnswer),
        // Case 7.
        ("", IntrospectionError::InvalidAnswer),
        // Case 8.
        ("[true]", IntrospectionError::InvalidAnswer),
        // Case 19.
        (r#"{"active":true,"exp":"1900000000"}"#, IntrospectionError::MalformedMember { member: "exp" }),
        // Case 20.
        (r#"{"active":true,"exp":1e300}"#, IntrospectionError::MalformedMember { member: "exp" }),
        (r#"{"active":true,"exp":true}"#, IntrospectionError::MalformedMember { member: "exp" }),
    ] {
        let scripted = Scripted::new();
        scripted.always_reply(json_reply(body));
        let validator = scripted.validator();
        assert_eq!(cause(validator.validate(TOKEN).await), expected, "{body}");
        // Nothing was stored: the next answer counts.
        scripted.always(&active(json!({})));
        assert_eq!(validator.validate(TOKEN).await.map(drop), Ok(()), "{body}");
    }
}

#[tokio::test]
async fn rejects_an_inactive_token_whatever_else_the_answer_says() {
    for answer in [inactive(), json!({ "active": false, "exp": NOW + 60, "sub": 1 })] {
        assert_eq!(validate(&answer).await.map(drop), Err(INACTIVE));
    }
    let unsupported = Reply::status(StatusCode::BAD_REQUEST).with_body(r#"{"error":"unsupported_token_type"}"#);
    let scripted = Scripted::new();
    scripted.always_reply(unsupported);
    assert_eq!(scripted.validator().validate(TOKEN).await.map(drop), Err(INACTIVE));
}

const X5T: &str = "AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA";

/// Cases 18, 21 to 28: the answer is checked by the same table as a token.
#[tokio::test]
async fn checks_the_claims_of_an_answer_like_those_of_a_token() {
    let mismatch = |error: fn(ClaimErrorReason) -> ClaimError| error(ClaimErrorReason::Mismatch);
    for (changes, expected) in [
        // Case 18.
        (json!({ "exp": NOW as f64 - 5.5 }), ClaimError::Expired),
        // Case 21.
        (json!({ "exp": null }), ClaimError::Expiry(ClaimErrorReason::Missing)),
        (json!({ "nbf": NOW + 60 }), ClaimError::NotYetValid),
        // Case 22.
        (json!({ "aud": "https://other.test/" }), mismatch(ClaimError::Audience)),
        // Case 23.
        (json!({ "aud": null }), ClaimError::Audience(ClaimErrorReason::Missing)),
        // Case 24.
        (json!({ "iss": "https://id.test/" }), mismatch(ClaimError::Issuer)),
        // Case 25.
        (json!({ "token_use": "refresh_token" }), ClaimError::TokenType),
        (json!({ "token_use": "id" }), ClaimError::TokenType),
        (json!({ "typ": "Refresh" }), ClaimError::TokenType),
        (json!({ "token_type": "refresh_token" }), ClaimError::TokenType),
        // Case 27.
        (json!({ "token_type": "DPoP" }), ClaimError::TokenType),
        // Case 26.
        (json!({ "cnf": { "jkt": "a" } }), ClaimError::Confirmation),
        // A certificate is another binding than a proof.
        (json!({ "token_type": "DPoP", "cnf": { "x5t#S256": X5T } }), ClaimError::TokenType),
        (json!({ "token_type": "Bearer", "cnf": { "x5t#S256": X5T } }), ClaimError::Confirmation),
    ] {
        assert_eq!(validate(&active(changes.clone())).await.map(drop), Err(Rejection::Claims(expected)), "{changes}");
    }
    for changes in [
        json!({}),
        json!({ "exp": NOW as f64 + 0.5 }),
        json!({ "iss": null }),
        json!({ "aud": ["https://other.test/", AUDIENCE] }),
        json!({ "token_type": "bearer" }),
        json!({ "token_type": null, "token_use": "access_token", "typ": "Bearer" }),
        json!({ "scope": ["read:orders"] }),
    ] {
        assert_eq!(validate(&active(changes.clone())).await.map(drop), Ok(()), "{changes}");
    }
    let scripted = Scripted::new();
    let null = active(json!({})).to_string().replacen('{', r#"{"username":null,"act":null,"nbf":null,"#, 1);
    scripted.always_reply(json_reply(null));
    assert_eq!(scripted.validator().validate(TOKEN).await.map(drop), Ok(()), "case 28");
}

/// Returns the answer of Keycloak about an access token: the claims of the token, and three members of RFC 7662.
fn keycloak(audience: &Value, typ: &str) -> Value {
    json!({
        "exp": NOW + 300, "iat": NOW - 1, "auth_time": NOW - 2, "jti": "onrtac:7f0a", "iss": ISSUER, "aud": audience,
        "sub": "9b1c6f0e-6f0a-4f43-9b62-6ac3e2d7b7c9", "typ": typ, "azp": "shop", "sid": "c2e0b4de", "acr": "1",
        "allowed-origins": ["https://shop.test"], "realm_access": { "roles": ["buyer", "offline_access"] },
        "resource_access": { "account": { "roles": ["view-profile"] } }, "scope": "openid profile read:orders",
        "email_verified": false, "preferred_username": "ann", "client_id": "shop", "username": "ann",
        "token_type": "Bearer", "active": true
    })
}

#[tokio::test]
async fn accepts_an_answer_of_keycloak() {
    #[derive(serde::Deserialize)]
    struct Access {
        roles: Vec<String>,
    }
    for audience in [json!(AUDIENCE), json!([AUDIENCE, "account"])] {
        let claims = validate(&keycloak(&audience, "Bearer")).await.expect("active");
        assert_eq!((claims.issuer(), claims.client_id()), (ISSUER, Some("shop")));
        assert_eq!(claims.subject(), Some("9b1c6f0e-6f0a-4f43-9b62-6ac3e2d7b7c9"));
        assert!(claims.grants_scope("read:orders") && !claims.grants_scope("write:orders"));
        let access = claims.claim::<Access>("realm_access").expect("a claim").expect("present");
        assert_eq!(access.roles, ["buyer", "offline_access"]);
    }
    for (audience, typ, expected) in [
        (json!("account"), "Bearer", ClaimError::Audience(ClaimErrorReason::Mismatch)),
        (json!(["account"]), "Bearer", ClaimError::Audience(ClaimErrorReason::Mismatch)),
        // Keycloak calls a refresh token and an ID token active, too.
        (json!(AUDIENCE), "Refresh", ClaimError::TokenType),
        (json!(AUDIENCE), "Offline", ClaimError::TokenType),
        (json!(AUDIENCE), "ID", ClaimError::TokenType),
    ] {
        let rejected = Err(Rejection::Claims(expected));
        assert_eq!(validate(&keycloak(&audience, typ)).await.map(drop), rejected, "{audience} {typ}");
    }
}

#[tokio::test]
async fn accepts_missing_members_only_if_configured() {
    let scripted = Scripted::answering(&active(json!({ "aud": null, "exp": null, "iss": null })));
    let settings = introspection().dangerous_allow_missing_audience().dangerous_allow_missing_expiry();
    let api = || Api::new(AUDIENCE, Issuer::opaque(ISSUER, settings.clone()));
    assert_eq!(setting_errors(api()).len(), 1, "without client ids");
    let validator = scripted.validator_of(api().with_client_ids(["shop"]));
    let claims = validator.validate(TOKEN).await.expect("active");
    assert_eq!(claims.issuer(), ISSUER);
    assert_eq!(claims.expires_at().as_secs(), NOW + 30, "the end of the answer");
    assert_eq!(validator.still_valid(&claims), Ok(()));
    scripted.clock.advance(Duration::from_secs(36));
    assert_eq!(validator.still_valid(&claims).map_err(|error| error.kind()), Err(RejectionKind::Expired));
}

/// Case 29, clarification: a JWT is never introspected because it is rejected.
#[tokio::test]
async fn a_jwt_is_never_introspected() {
    let server = TestIssuer::named(ISSUER);
    let scripted = Scripted::answering(&active(json!({})));
    let issuer = Issuer::static_keys(ISSUER, KeySet::from_jwks(server.jwks())).with_introspection(introspection());
    let local = scripted.validator_of(Api::new(AUDIENCE, issuer));
    let opaque = scripted.validator();
    let forged = server.token().with_broken_signature().sign();
    let header = forged.split('.').next().expect("a header").to_owned();
    for token in [
        forged.clone(),
        server.token().expired().sign(),
        server.token().encrypted().sign(),
        server.token().kid("unknown").sign(),
        format!("{header}.opaque"),
        header.clone(),
        format!("{header}=.a.b"),
        "e30.opaque-rest".to_owned(),
    ] {
        for validator in [&local, &opaque] {
            let rejection = validator.validate(&token).await.expect_err("rejected");
            let explained = validator.explain(&token).await;
            assert_eq!(explained.rejection(), Some(&rejection), "{token}");
            assert_ne!(rejection.kind(), RejectionKind::IntrospectionUnavailable);
        }
    }
    assert_eq!(
        opaque.validate(&server.token().sign()).await.map_err(|error| error.kind()).err(),
        Some(RejectionKind::Algorithm)
    );
    assert_eq!(scripted.calls(), 0);
}

/// The explanation does not call such a text opaque, and says why it is not introspected.
#[tokio::test]
async fn explains_that_a_text_counts_as_a_jwt() {
    let server = TestIssuer::named(ISSUER);
    let scripted = Scripted::answering(&active(json!({})));
    let opaque = scripted.validator();
    let keys = || Issuer::static_keys(ISSUER, KeySet::from_jwks(server.jwks()));
    let local = scripted.validator_of(Api::new(AUDIENCE, keys().with_introspection(introspection())));
    let without = scripted.validator_of(Api::new(AUDIENCE, keys()));
    let found = "a first segment that is a JSON object: the text counts as a JWT and is not introspected";
    let hint = "the first segment is a JSON object, so the text counts as a JWT and is never sent to the introspection \
                endpoint: was a JWT cut off?";
    let text = "e30.opaque-rest";
    let not_a_jwt = Rejection::Token(TokenError::NotAJwt);
    for validator in [&opaque, &local] {
        let explained = validator.explain(text).await;
        assert_eq!(explained.rejection(), Some(&not_a_jwt));
        let form = explained.findings().iter().find(|finding| finding.check() == "form").expect("a finding");
        assert_eq!((form.found(), form.hint()), (Some(found), Some(hint)));
        assert_eq!(validator.hint(text, &not_a_jwt), Some(hint));
        // The text has three segments, so only the reason to send it nowhere is the same.
        let broken = validator.explain("e30.opaque.rest").await;
        let form = broken.findings().iter().find(|finding| finding.check() == "form").expect("a finding");
        assert_eq!((form.found(), form.hint()), (Some(found), None));
    }
    // Without introspection, nothing is sent anyway. A text that is no JWT at all is not said to be one.
    let general = Some("opaque: the client requested no audience, the server issues no JWTs, or the JWT was cut off");
    for (validator, text) in [(&without, text), (&opaque, "short")] {
        let explained = validator.explain(text).await;
        assert_eq!(explained.rejection(), Some(&not_a_jwt));
        let form = explained.findings().iter().find(|finding| finding.check() == "form").expect("a finding");
        assert_eq!((form.found(), form.hint()), (None, general));
    }
    assert_eq!(scripted.calls(), 0);
}

#[tokio::test]
async fn rejects_texts_that_cannot_be_tokens_without_a_call() {
    let scripted = Scripted::answering(&active(json!({})));
    let validator = scripted.validator();
    let long = "x".repeat(4_097);
    for (token, expected) in [
        ("short", TokenError::NotAJwt),
        ("", TokenError::NoToken),
        ("with white space", TokenError::WhiteSpace),
        ("with\"quotes", TokenError::NotAJwt),
        (&long, TokenError::TooLong { length: 4_097, limit: 4_096 }),
    ] {
        assert_eq!(validator.validate(token).await.map(drop), Err(Rejection::Token(expected)), "{token}");
        assert_eq!(validator.explain(token).await.rejection(), Some(&Rejection::Token(expected)), "{token}");
    }
    assert_eq!(scripted.calls(), 0);
    assert_eq!(validator.validate(&long[1..]).await.map(drop), Ok(()));
}

/// A token is sent to one server only.
#[tokio::test]
async fn the_prefix_of_a_token_selects_the_server() {
    let (one, two) = ("https://one.test/introspect", "https://two.test/introspect");
    let at = |url: &str, prefix: &str| Introspection::at(url, authentication()).with_token_prefix(prefix);
    let api = Api::new(AUDIENCE, Issuer::opaque("https://one.test", at(one, "one_")))
        .with_issuer(Issuer::opaque("https://two.test", at(two, "two_")));
    let scripted = Scripted::new();
    scripted.network.always(one, reply(&active(json!({ "iss": "https://one.test" }))));
    scripted.network.always(two, reply(&active(json!({ "iss": null, "sub": "bob" }))));
    let validator = scripted.validator_of(api);
    assert_eq!(validator.validate("one_12345").await.expect("active").issuer(), "https://one.test");
    assert_eq!((scripted.network.calls_to(one), scripted.network.calls_to(two)), (1, 0));
    let claims = validator.validate("two_12345").await.expect("active");
    assert_eq!((claims.issuer(), claims.subject()), ("https://two.test", Some("bob")));
    assert_eq!((scripted.network.calls_to(one), scripted.network.calls_to(two)), (1, 1));
    assert_eq!(validator.validate("ONE_12345").await.map(drop), Err(Rejection::Token(TokenError::NotAJwt)));
    assert_eq!(validator.explain("ONE_12345").await.rejection(), Some(&Rejection::Token(TokenError::NotAJwt)));
    assert_eq!(scripted.network.calls(), 2);
}

#[test]
fn reports_every_wrong_setting_at_once() {
    use IntrospectionSettingError as Error;
    let errors = |issuers: Vec<Issuer>| {
        let mut issuers = issuers.into_iter();
        let api = Api::new(AUDIENCE, issuers.next().expect("an issuer"));
        let kinds = setting_errors(issuers.fold(api, Api::with_issuer));
        let error = |kind| match kind {
            tower_bearer::config::SettingErrorKind::Introspection(error) => Some(error),
            _ => None,
        };
        kinds.into_iter().filter_map(error).collect::<Vec<_>>()
    };
    let opaque = |settings: Introspection| Issuer::opaque(ISSUER, settings);
    let other = |settings: Introspection| Issuer::opaque("https://other.test", settings);
    let secs = Duration::from_secs;
    for (issuers, expected) in [
        (vec![opaque(introspection())], &[][..]),
        (vec![opaque(introspection().with_ttl(secs(301)))], &[Error::Ttl]),
        (vec![opaque(introspection().with_negative_ttl(secs(61)))], &[Error::NegativeTtl]),
        (vec![opaque(introspection().with_revocation_grace(secs(3_601)))], &[Error::Grace]),
        (vec![opaque(introspection().with_timeout(secs(11)))], &[Error::Timeout]),
        (vec![opaque(introspection().with_max_calls(1))], &[Error::MaxCalls]),
        (vec![opaque(introspection().with_max_answer_bytes(0))], &[Error::MaxAnswerBytes]),
        (vec![opaque(introspection().with_signed_answers())], &[Error::NoKeys]),
        (vec![opaque(introspection().with_every_jwt())], &[Error::EveryJwtWithoutKeys]),
        (vec![opaque(introspection().dangerous_fail_open())], &[Error::FailOpenWithoutEveryJwt]),
        (vec![opaque(introspection().with_claims_from_introspection())], &[Error::ClaimsWithoutEveryJwt]),
        (vec![opaque(introspection().with_token_prefix(""))], &[Error::Prefix]),
        (vec![opaque(Introspection::at(ENDPOINT, ClientAuthentication::basic("", "")))], &[Error::Credentials]),
        (vec![opaque(introspection()), other(introspection())], &[Error::NoPrefix, Error::NoPrefix]),
        (
            vec![opaque(introspection().with_token_prefix("a")), other(introspection().with_token_prefix("ab"))],
            &[Error::AmbiguousPrefix],
        ),
        (vec![opaque(introspection().with_token_prefix("a_")), other(introspection().with_token_prefix("b_"))], &[]),
        (
            vec![Issuer::oidc(ISSUER).with_introspection(
                Introspection::discovered(ClientAuthentication::bearer("t")).with_signed_answers(),
            )],
            &[Error::NoClientId],
        ),
    ] {
        assert_eq!(errors(issuers), expected);
    }
    assert_eq!(
        setting_errors(Api::new(AUDIENCE, opaque(Introspection::at("http://id.test/", authentication())))).len(),
        1
    );
}

/// Case 34: the answer is stored by a request to one route, and used by one to another.
#[tokio::test]
async fn requirements_are_checked_on_each_request() {
    let scripted = Scripted::answering(&active(json!({})));
    let validator = scripted.validator();
    let status = async |scope: &str| {
        let layers = (BearerLayer::new(validator.clone()), RequireLayer::scope(scope));
        send(layers.layer(subject_service()), bearer_request(TOKEN)).await.status()
    };
    for _ in 0..2 {
        assert_eq!(status("read:orders").await, StatusCode::OK);
        assert_eq!(status("write:orders").await, StatusCode::FORBIDDEN);
    }
    assert_eq!(scripted.calls(), 1);
}

/// Case 33: two APIs in one process share nothing.
#[tokio::test]
async fn an_answer_of_one_api_is_not_used_for_another() {
    let scripted = Scripted::answering(&active(json!({})));
    let one = scripted.validator();
    let other = scripted.validator_of(Api::new("https://other.test/", Issuer::opaque(ISSUER, introspection())));
    assert_eq!(one.validate(TOKEN).await.map(drop), Ok(()));
    let mismatch = Err(Rejection::Claims(ClaimError::Audience(ClaimErrorReason::Mismatch)));
    assert_eq!(other.validate(TOKEN).await.map(drop), mismatch);
    assert_eq!(one.validate(TOKEN).await.map(drop), Ok(()));
    assert_eq!(scripted.calls(), 2);
}

#[tokio::test]
async fn binds_an_opaque_token_to_the_host_of_its_issuer() {
    let scripted = Scripted::answering(&active(json!({})));
    let api = Api::new(AUDIENCE, Issuer::opaque(ISSUER, introspection()))
        .with_issuer(Issuer::static_keys("https://keys.test", KeySet::from_jwks(TestIssuer::new().jwks())))
        .with_issuer_for_host("a.test", ISSUER)
        .with_issuer_for_host("b.test", "https://keys.test");
    let validator = scripted.validator_of(api);
    for _ in 0..2 {
        assert_eq!(validator.validate_for_host(TOKEN, "a.test").await.map(drop), Ok(()));
        for (host, expected) in [("b.test", IssuerError::NotForHost), ("c.test", IssuerError::UnknownHost)] {
            let rejection = Rejection::Issuer(expected);
            assert_eq!(validator.validate_for_host(TOKEN, host).await.map(drop), Err(rejection.clone()));
            assert_eq!(validator.explain_for_host(TOKEN, host).await.rejection(), Some(&rejection));
        }
    }
    assert_eq!(scripted.calls(), 1);
}

/// M7: an explanation has the same result as a validation, and shows what the server said.
#[tokio::test]
async fn explains_what_the_server_said() {
    for answer in [
        active(json!({})),
        active(json!({ "aud": "https://other.test/" })),
        active(json!({ "exp": NOW - 60 })),
        active(json!({ "active": "true" })),
        inactive(),
    ] {
        let scripted = Scripted::answering(&answer);
        let validator = scripted.validator();
        let explained = validator.explain(TOKEN).await;
        let validated = validator.validate(TOKEN).await;
        assert_eq!(explained.rejection(), validated.as_ref().err(), "{answer}");
        assert_eq!(explained.is_accepted(), validated.is_ok());
        let text = explained.to_string();
        assert!(text.contains("introspection") && !text.contains(TOKEN), "{text}");
    }
    let text = Scripted::answering(&active(json!({}))).validator().explain(TOKEN).await.to_string();
    assert!(text.contains(r#""sub":"ann""#), "{text}");
}

/// A client that may not introspect the tokens of other clients gets negative answers only.
#[tokio::test]
async fn hints_at_the_rights_of_this_client_if_no_answer_was_positive() {
    let scripted = Scripted::answering(&inactive());
    let validator = scripted.validator();
    assert_eq!(validator.hint(TOKEN, &INACTIVE), None, "no answer yet");
    assert_eq!(validator.validate(TOKEN).await.map(drop), Err(INACTIVE));
    let hint = validator.hint(TOKEN, &INACTIVE).expect("a hint");
    assert!(hint.starts_with("the server has called no token active yet"), "{hint}");
    assert_eq!(validator.explain(TOKEN).await.hints().next(), Some(hint));
    scripted.always(&active(json!({})));
    assert_eq!(validator.validate("opaque-token-2").await.map(drop), Ok(()));
    assert_eq!(validator.hint(TOKEN, &INACTIVE), None);
}

#[tokio::test]
async fn reports_events_to_the_hook() {
    let events = Arc::new(Mutex::new(Vec::new()));
    let hook = {
        let events = Arc::clone(&events);
        move |event: &IntrospectionEvent| {
            assert_eq!(event.issuer(), ISSUER);
            events.lock().expect("no panic").push(event.kind());
            assert_ne!(event.kind(), IntrospectionEventKind::Resumed, "a hook may panic");
        }
    };
    let taken = || std::mem::take(&mut *events.lock().expect("no panic"));
    let scripted = Scripted::new();
    scripted.always_reply(Reply::status(StatusCode::UNAUTHORIZED));
    let validator = scripted.validator_with(introspection().with_event_hook(hook.clone()));
    for number in 0..10 {
        assert!(validator.validate(&format!("opaque-token-{number}")).await.is_err());
        scripted.clock.settle().await;
    }
    assert_eq!(taken(), [IntrospectionEventKind::CredentialsRefused], "once");
    scripted.always(&active(json!({})));
    scripted.clock.run_for(Duration::from_secs(1)).await;
    assert_eq!(validator.validate(TOKEN).await.map(drop), Ok(()));
    assert_eq!(taken(), [IntrospectionEventKind::Resumed]);
    scripted.clock.run_for(Duration::from_secs(60)).await;
    scripted.always_reply(Reply::error(FetchError::Connect));
    for number in 0..10 {
        assert!(validator.validate(&format!("opaque-token-{number}")).await.is_err());
        scripted.clock.settle().await;
    }
    let cause = IntrospectionError::Network { error: FetchError::Connect };
    let stopped = taken();
    assert!(
        matches!(
            *stopped,
            [IntrospectionEventKind::Stopped { calls: StoppedCalls::All, cause: found, .. }] if found == cause
        ),
        "{stopped:?}"
    );

    let server = TestIssuer::named(ISSUER).with_clock(scripted.clock.clone());
    scripted.always(&json!({ "active": true, "sub": "mallory" }));
    let settings = introspection().with_every_jwt().with_event_hook(hook);
    let issuer = Issuer::static_keys(ISSUER, KeySet::from_jwks(server.jwks())).with_introspection(settings);
    let validator = scripted.validator_of(Api::new(AUDIENCE, issuer));
    for number in 0..2 {
        assert!(validator.validate(&server.token().claim("jti", number.to_string()).sign()).await.is_err());
    }
    let contradicted = taken();
    assert_eq!(contradicted.len(), 2, "{contradicted:?}");
    for event in contradicted {
        assert!(matches!(event, IntrospectionEventKind::Contradicted { claim: "sub", .. }), "{event:?}");
    }
}

/// Everything that a scripted server received.
#[derive(Clone, Default)]
pub(crate) struct Received(Arc<Mutex<Vec<ReceivedRequest>>>);

pub(crate) type ReceivedRequest = (Method, Uri, HeaderMap, Bytes);

pub(crate) type Script = (StatusCode, Vec<(HeaderName, String)>, Vec<u8>);

/// Starts a server that sends one response to each request, on a free port.
pub(crate) async fn serve(script: Script) -> (String, Received) {
    let received = Received::default();
    let handler = |State((received, script)): State<(Received, Script)>,
                   method: Method,
                   uri: Uri,
                   headers: HeaderMap,
                   body: Bytes| async move {
        received.0.lock().expect("no panic").push((method, uri, headers, body));
        let (status, fields, body) = script;
        let mut response = (status, body).into_response();
        response.headers_mut().remove(CONTENT_TYPE);
        for (name, value) in fields {
            response.headers_mut().insert(name, value.parse().expect("a value"));
        }
        response
    };
    let app = Router::new().fallback(handler).with_state((received.clone(), script));
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.expect("a port");
    let url = format!("http://{}/introspect", listener.local_addr().expect("an address"));
    tokio::spawn(async move { axum::serve(listener, app).await });
    (url, received)
}

fn at(url: &str) -> Validator {
    let settings = Introspection::at(url, ClientAuthentication::basic("urn:a b/ü", "z/t+Z:9=%&ü"));
    Validator::new(Api::new(AUDIENCE, Issuer::opaque(ISSUER, settings))).expect("a valid configuration")
}

fn json_type() -> Vec<(HeaderName, String)> {
    vec![(CONTENT_TYPE, "application/json; charset=utf-8".to_owned())]
}

/// Cases 30 to 32, over a socket.
#[tokio::test]
async fn sends_token_and_credentials_only_in_header_and_body() {
    let answer = active(json!({ "exp": 4_000_000_000_u64 })).to_string().into_bytes();
    let (url, received) = serve((StatusCode::OK, json_type(), answer)).await;
    let token = "a+b/c~d-e_f.g==";
    assert_eq!(at(&url).validate(token).await.map(drop), Ok(()));
    let received = received.0.lock().expect("no panic").clone();
    let [(method, uri, headers, body)] = &received[..] else { panic!("{received:?}") };
    assert_eq!((method, uri.path(), uri.query()), (&Method::POST, "/introspect", None));
    assert_eq!(headers[CONTENT_TYPE], "application/x-www-form-urlencoded");
    let form = "token=a%2Bb%2Fc%7Ed-e_f.g%3D%3D&token_type_hint=access_token";
    assert_eq!(String::from_utf8_lossy(body), form);
    let pair = headers["authorization"].to_str().expect("ASCII").strip_prefix("Basic ").expect("Basic").to_owned();
    let pair = base64::Engine::decode(&base64::prelude::BASE64_STANDARD, pair).expect("base64");
    assert_eq!(String::from_utf8_lossy(&pair), "urn%3Aa+b%2F%C3%BC:z%2Ft%2BZ%3A9%3D%25%26%C3%BC");
    let has_token = headers.iter().any(|(_, value)| value.as_bytes().windows(5).any(|part| part == b"a+b/c"));
    assert!(!has_token);
}

/// Cases 6, 9 to 11 and 14 to 16, over sockets: 503, and nothing is stored.
#[tokio::test]
async fn other_responses_are_503_and_never_401() {
    let html = vec![(CONTENT_TYPE, "text/html".to_owned())];
    let mut gzip = json_type();
    gzip.push((CONTENT_ENCODING, "gzip".to_owned()));
    let mut encoder = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::best());
    std::io::Write::write_all(&mut encoder, &vec![b' '; 16 << 20]).expect("memory");
    let bomb = encoder.finish().expect("memory");
    let refused = IntrospectionError::CredentialsRefused;
    let ok = StatusCode::OK;
    for (script, expected) in [
        // Case 6.
        ((ok, html, b"<html>".to_vec()), IntrospectionError::ContentType),
        ((ok, vec![], b"{\"active\":true}".to_vec()), IntrospectionError::ContentType),
        (
            (ok, vec![(CONTENT_TYPE, "application/token-introspection+jwt".to_owned())], b"a.b.c".to_vec()),
            IntrospectionError::ContentType,
        ),
        // Case 15.
        ((ok, json_type(), vec![b' '; 5 << 20]), IntrospectionError::Network { error: FetchError::TooLarge }),
        // Case 16.
        ((ok, gzip, bomb), IntrospectionError::InvalidAnswer),
        // Case 9.
        ((StatusCode::UNAUTHORIZED, vec![], vec![]), refused),
        // Case 10.
        ((StatusCode::FORBIDDEN, vec![], vec![]), refused),
        ((StatusCode::BAD_REQUEST, json_type(), b"{\"error\":\"invalid_client\"}".to_vec()), refused),
        ((StatusCode::BAD_REQUEST, vec![], vec![]), IntrospectionError::Status { status: 400 }),
        // Case 11.
        ((StatusCode::NOT_FOUND, vec![], vec![]), IntrospectionError::Status { status: 404 }),
        ((StatusCode::INTERNAL_SERVER_ERROR, vec![], vec![]), IntrospectionError::Status { status: 500 }),
    ] {
        let (url, _) = serve(script).await;
        let rejection = at(&url).validate(TOKEN).await.expect_err("no answer");
        assert_eq!(rejection.kind(), RejectionKind::IntrospectionUnavailable);
        assert_eq!(cause(Err::<(), _>(rejection)), expected);
    }
    let (url, _) = serve((StatusCode::TOO_MANY_REQUESTS, vec![(RETRY_AFTER, "7".to_owned())], vec![])).await;
    let Err(Rejection::Introspection(IntrospectionRejection::Unavailable { retry_after, .. })) =
        at(&url).validate(TOKEN).await.map(drop)
    else {
        panic!("case 14")
    };
    assert_eq!(retry_after, Duration::from_secs(7));
}

/// Cases 12 and 13: the form contains the token and the secret.
#[tokio::test]
async fn follows_no_redirect() {
    let answer = active(json!({ "exp": 4_000_000_000_u64 })).to_string().into_bytes();
    for status in [StatusCode::FOUND, StatusCode::TEMPORARY_REDIRECT, StatusCode::PERMANENT_REDIRECT] {
        let (other, attacker) = serve((StatusCode::OK, json_type(), answer.clone())).await;
        let (url, _) = serve((status, vec![(LOCATION, other)], vec![])).await;
        assert_eq!(cause(at(&url).validate(TOKEN).await), IntrospectionError::Redirect, "{status}");
        assert!(attacker.0.lock().expect("no panic").is_empty(), "{status}");
    }
}

/// Case 17.
#[tokio::test]
async fn a_slow_server_is_left_at_the_deadline() {
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.expect("a port");
    let url = format!("http://{}/introspect", listener.local_addr().expect("an address"));
    let dripping = tokio::spawn(async move {
        use tokio::io::AsyncWriteExt as _;
        while let Ok((mut stream, _)) = listener.accept().await {
            tokio::spawn(async move {
                drop(
                    stream
                        .write_all(b"HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nContent-Length: 999\r\n\r\n")
                        .await,
                );
                while stream.write_all(b" ").await.is_ok() {
                    tokio::time::sleep(Duration::from_millis(20)).await;
                }
            });
        }
    });
    let settings = Introspection::at(url, authentication()).with_timeout(Duration::from_millis(300));
    let validator =
        Validator::new(Api::new(AUDIENCE, Issuer::opaque(ISSUER, settings))).expect("a valid configuration");
    assert_eq!(cause(validator.validate(TOKEN).await), IntrospectionError::Timeout);
    dripping.abort();
}

#[test]
fn an_issuer_without_keys_is_ready_at_once() {
    let scripted = Scripted::new();
    assert!(block_on(async { scripted.validator().is_ready() }));
    assert_eq!(scripted.network.calls(), 0);
}
