//! Rules 112 to 130: OAuth best current practice, OWASP, and properties of the library.

use std::time::Duration;

use http::{Method, Request};
use tower_bearer::claims::ClaimError;
use tower_bearer::clock::Timestamp;
use tower_bearer::config::SettingErrorKind;
use tower_bearer::keys::SecretError;
use tower_bearer::rejection::CheckError;
use tower_bearer::testing::{FakeClock, TestIssuer};
use tower_bearer::{Algorithm, Api, BearerLayer, Claims, Issuer, Rejection, RejectionKind, Secret, Validator};

use crate::fixture::{AUDIENCE, BARE_CHALLENGE, NOW, TestApi, block_on, server, setting_errors, trusted, validator};

#[test]
fn rule_114_and_119_every_api_checks_issuer_audience_and_dates() {
    for audience in ["", " ", "a\nb"] {
        let api = Api::new(audience, trusted(&server(Algorithm::RS256), Algorithm::RS256));
        let problem = if audience.is_empty() { SettingErrorKind::Empty } else { SettingErrorKind::Unprintable };
        assert_eq!(setting_errors(api), [problem], "{audience:?}");
    }
    let test_api = TestApi::new();
    for (token, kind) in [
        (test_api.server.token().audience("https://other.test/"), RejectionKind::Audience),
        (test_api.server.token().issuer("https://other.test/"), RejectionKind::Issuer),
        (test_api.server.token().expired(), RejectionKind::Expired),
        (test_api.server.token().not_before(Timestamp::from_secs(NOW + 60)), RejectionKind::NotYetValid),
    ] {
        assert_eq!(test_api.rejection(token).kind(), kind);
    }
}

#[test]
fn rule_118_configuration_selects_the_algorithm() {
    let server = server(Algorithm::ES256);
    assert!(block_on(validator(&server, Algorithm::ES256).validate(&server.token().sign())).is_ok());
    let other = trusted(&server, Algorithm::ES256).with_algorithms([Algorithm::ES384]);
    // No key fits the listed algorithm, whatever the token says.
    assert_eq!(setting_errors(Api::new(AUDIENCE, other)), [SettingErrorKind::NoUsableKey { skipped: None }]);
}

#[test]
fn rule_120_accepts_short_secrets_only_with_a_dangerous_setting() {
    let build = |secret: Result<Secret, _>| {
        setting_errors(Api::new(AUDIENCE, Issuer::shared_secret("https://hs.test/", secret)))
    };
    let short = |length, needed| {
        [SettingErrorKind::Secret(SecretError::TooShort { algorithm: Algorithm::HS256, length, needed })]
    };
    assert_eq!(build(Secret::from_text("sixteen bytes!!!")), short(16, 32));
    assert_eq!(build(Secret::from_text("sixteen bytes!!!").map(Secret::dangerous_short_secret)), []);
    assert_eq!(build(Secret::from_text("fifteen bytes!!").map(Secret::dangerous_short_secret)), short(15, 16));
}

/// Anyone can derive a second valid ECDSA signature, so a denylist has to use `jti` and not the token's text.
#[test]
fn rule_121_denylist_by_jti_rejects_every_encoding_of_a_token() {
    use base64::Engine as _;
    let server = server(Algorithm::ES256);
    let denying = validator(&server, Algorithm::ES256)
        .with_check(|claims: &Claims| if claims.jwt_id() == Some("stolen") { Err(CheckError::new()) } else { Ok(()) });
    let stolen = server.token().claim("jti", "stolen").sign();
    let (signed, signature) = stolen.rsplit_once('.').expect("three segments");
    let base64url = base64::prelude::BASE64_URL_SAFE_NO_PAD;
    let mirrored = format!("{signed}.{}", base64url.encode(mirror(&base64url.decode(signature).expect("base64url"))));
    assert_ne!(mirrored, stolen);
    assert!(block_on(validator(&server, Algorithm::ES256).validate(&mirrored)).is_ok(), "it verifies");
    for token in [stolen, mirrored] {
        assert_eq!(block_on(denying.validate(&token)).map(drop), Err(Rejection::Check(CheckError::new())));
    }
    assert!(block_on(denying.validate(&server.token().claim("jti", "own").sign())).is_ok());
}

/// (r, n − s) for (r, s) on P-256.
fn mirror(signature: &[u8]) -> Vec<u8> {
    const ORDER: [u8; 32] = [
        0xff, 0xff, 0xff, 0xff, 0, 0, 0, 0, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xbc, 0xe6, 0xfa, 0xad,
        0xa7, 0x17, 0x9e, 0x84, 0xf3, 0xb9, 0xca, 0xc2, 0xfc, 0x63, 0x25, 0x51,
    ];
    let mut mirrored = signature.to_vec();
    let mut borrow = 0_i16;
    for at in (0..32).rev() {
        let difference = i16::from(ORDER[at]) - i16::from(signature[32 + at]) - borrow;
        borrow = i16::from(difference < 0);
        mirrored[32 + at] = u8::try_from(difference.rem_euclid(256)).expect("a byte");
    }
    mirrored
}

#[test]
fn rule_122_no_method_is_exempt_except_configured_preflights() {
    let test_api = TestApi::new();
    for method in [Method::GET, Method::HEAD, Method::POST, Method::OPTIONS, Method::TRACE, Method::DELETE] {
        let request = Request::builder().method(method.clone()).uri("/").header("x-http-method-override", "OPTIONS");
        assert_eq!(test_api.send_request(request.body(String::new())), BARE_CHALLENGE, "{method}");
    }
    let passing = BearerLayer::new(validator(&test_api.server, Algorithm::RS256)).with_preflight_passthrough();
    let test_api = TestApi { server: test_api.server, layer: passing };
    let plain = Request::options("/").header("origin", "https://app.test").body(String::new());
    assert_eq!(test_api.send_request(plain), BARE_CHALLENGE, "no preflight");
    let get = Request::get("/").header("origin", "https://app.test").header("access-control-request-method", "GET");
    assert_eq!(test_api.send_request(get.body(String::new())), BARE_CHALLENGE, "no OPTIONS");
}

#[test]
fn rule_123_unsafe_code_is_forbidden_and_panics_are_denied() {
    let manifest = std::fs::read_to_string(crate::stack::repository().join("Cargo.toml")).expect("the manifest");
    assert!(manifest.contains("unsafe_code = \"forbid\""));
    for lint in ["arithmetic_side_effects", "expect_used", "indexing_slicing", "panic", "unwrap_used"] {
        assert!(manifest.contains(&format!("{lint} = \"warn\"")), "{lint}");
    }
}

#[tokio::test]
async fn rule_125_rejects_every_token_without_keys() {
    let clock = FakeClock::new();
    let server = TestIssuer::new().with_clock(std::sync::Arc::new(clock.clone()));
    server.set_outage(tower_bearer::testing::Outage::NoConnection);
    let api = Api::new(AUDIENCE, Issuer::jwks(server.issuer(), server.jwks_uri()));
    let builder = Validator::builder(api).with_clock(clock.clone()).with_fetch(server.clone());
    let validator = builder.build().expect("a valid configuration");
    clock.run_for(Duration::from_secs(30)).await;
    // A retry may be in flight, and takes time to complete.
    let token = server.token().sign();
    let (outcome, ()) = tokio::join!(validator.validate(&token), clock.run_for(Duration::from_secs(5)));
    let outcome = outcome.map(drop);
    assert!(matches!(outcome, Err(Rejection::KeysUnavailable { .. })), "{outcome:?}");
    assert_eq!(outcome.unwrap_err().kind(), RejectionKind::KeysUnavailable);
}

#[test]
fn rule_126_uses_the_injected_clock_and_saturates() {
    let issuer = || trusted(&server(Algorithm::RS256), Algorithm::RS256);
    assert!(Validator::new(Api::new(AUDIENCE, issuer()).with_leeway(Duration::from_secs(300))).is_ok());
    for leeway in [Duration::from_secs(301), Duration::MAX] {
        assert_eq!(
            setting_errors(Api::new(AUDIENCE, issuer()).with_leeway(leeway)),
            [SettingErrorKind::Leeway],
            "{leeway:?}"
        );
    }
    let server = server(Algorithm::RS256);
    for (now, error) in [
        (i64::MIN, Rejection::Claims(ClaimError::IssuedInFuture)),
        (-1, Rejection::Claims(ClaimError::IssuedInFuture)),
        (0, Rejection::Claims(ClaimError::IssuedInFuture)),
        (i64::MAX, Rejection::UnverifiedClaims(ClaimError::Expired)),
    ] {
        let api = Api::new(AUDIENCE, trusted(&server, Algorithm::RS256)).with_max_token_age(Duration::from_secs(60));
        let clock = FakeClock::from_wall(Timestamp::from_secs(now));
        let validator = Validator::builder(api).with_clock(clock).build().expect("a valid configuration");
        assert_eq!(block_on(validator.validate(&server.token().sign())).map(drop), Err(error), "{now}");
    }
}

/// A decision is never used for another API, nor after the token has expired.
#[test]
fn rule_127_each_api_checks_for_itself_on_every_call() {
    let server = server(Algorithm::RS256);
    let clock = crate::fixture::clock();
    let at = |audience: &str| {
        let api = Api::new(audience, trusted(&server, Algorithm::RS256)).with_leeway(Duration::ZERO);
        Validator::builder(api).with_clock(clock.clone()).build().expect("a valid configuration")
    };
    let (first, second) = (at(AUDIENCE), at("https://second.test/"));
    let token = server.token().expires_in(Duration::from_secs(60)).sign();
    assert!(block_on(first.validate(&token)).is_ok());
    assert_eq!(block_on(second.validate(&token)).unwrap_err().kind(), RejectionKind::Audience);
    assert!(block_on(first.clone().validate(&token)).is_ok());
    clock.advance(Duration::from_secs(60));
    assert_eq!(block_on(first.validate(&token)).unwrap_err().kind(), RejectionKind::Expired);
    clock.set_wall(Timestamp::from_secs(NOW));
    let forged = format!("{}A", &token[..token.len() - 1]);
    assert!(block_on(first.validate(&forged)).is_err() || forged == token);
}
