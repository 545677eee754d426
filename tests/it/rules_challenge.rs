//! Rules 14 to 27: responses to rejected requests.

use std::convert::Infallible;
use std::time::Duration;

use http::header::{CACHE_CONTROL, WWW_AUTHENTICATE};
use http::{HeaderMap, Request, Response, StatusCode};
use tower::{ServiceBuilder, ServiceExt as _, service_fn};
use tower_bearer::testing::TokenBuilder;
use tower_bearer::{RequireLayer, Requirement};

use crate::challenge_parser::challenge;
use crate::fixture::{NOW, TestApi, block_on};

/// Returns status and headers of a response behind a requirement.
fn respond(test_api: &TestApi, requirement: Requirement, token: Option<TokenBuilder>) -> (StatusCode, HeaderMap) {
    let inner = service_fn(|_| async { Ok::<_, Infallible>(Response::new(String::new())) });
    let require = RequireLayer::new(requirement).with_clock(crate::fixture::clock());
    let service = ServiceBuilder::new().layer(test_api.layer.clone().with_realm("a \"quoted\" realm")).layer(require);
    let request = token
        .into_iter()
        .fold(Request::get("/"), |request, token| request.header("authorization", format!("Bearer {}", token.sign())));
    let request = request.body(String::new()).expect("a request");
    let response = block_on(service.service(inner).oneshot(request)).expect("a response");
    (response.status(), response.headers().clone())
}

fn read_orders() -> Requirement {
    Requirement::scope("read:orders")
}

fn parameter(headers: &HeaderMap, name: &str) -> Option<String> {
    challenge(headers).into_iter().find(|(other, _)| other == name).map(|(_, value)| value)
}

/// Returns tokens with one error each, all with the same response.
fn invalid_tokens(test_api: &TestApi) -> Vec<TokenBuilder> {
    vec![
        test_api.server.token().with_broken_signature(),
        test_api.server.token().kid("unknown"),
        test_api.server.token().audience("https://other.test/"),
        test_api.server.token().expired(),
        test_api.server.token().issuer("https://other.test/"),
        test_api.server.token().unsigned(),
        test_api.server.token().raw_payload("[]"),
    ]
}

#[test]
fn rule_014_every_rejection_has_a_challenge() {
    let test_api = TestApi::new();
    for token in invalid_tokens(&test_api).into_iter().map(Some).chain([None]) {
        let (status, headers) = respond(&test_api, read_orders(), token);
        assert_eq!(status, StatusCode::UNAUTHORIZED);
        assert!(headers.contains_key(WWW_AUTHENTICATE));
    }
    let (status, headers) = respond(&test_api, read_orders(), Some(test_api.server.token().scope("list")));
    assert_eq!((status, headers.contains_key(WWW_AUTHENTICATE)), (StatusCode::FORBIDDEN, true));
    // This function parses the challenge.
    assert_eq!(test_api.send(&["Bearer a b"]), (400, Some("invalid_request".to_owned())));
    let (status, headers) = respond(&test_api, read_orders(), Some(test_api.server.token().scope("read:orders")));
    assert_eq!((status, headers.contains_key(WWW_AUTHENTICATE)), (StatusCode::OK, false));
}

#[test]
fn rule_015_challenge_without_credential_has_no_error() {
    let (_, headers) = respond(&TestApi::new(), read_orders(), None);
    assert_eq!(parameter(&headers, "error"), None);
    assert_eq!(parameter(&headers, "error_description"), None);
}

#[test]
fn rule_016_each_error_code_has_its_status() {
    let test_api = TestApi::new();
    let (status, headers) = respond(&test_api, Requirement::scope("write:orders"), Some(test_api.server.token()));
    assert_eq!((status.as_u16(), parameter(&headers, "error").as_deref()), (403, Some("insufficient_scope")));
    let (status, headers) = respond(&test_api, read_orders(), Some(test_api.server.token().expired()));
    assert_eq!((status.as_u16(), parameter(&headers, "error").as_deref()), (401, Some("invalid_token")));
    assert_eq!(test_api.send(&["Bearer"]), (400, Some("invalid_request".to_owned())));
    assert_eq!(respond(&test_api, read_orders(), Some(test_api.server.token().scope("read:orders"))).0, StatusCode::OK);
}

/// The challenge parser rejects duplicate parameters, unquoted values and invalid characters.
#[test]
fn rule_017_to_019_challenges_follow_the_grammar() {
    let test_api = TestApi::new();
    for token in invalid_tokens(&test_api).into_iter().map(Some).chain([None]) {
        let (_, headers) = respond(&test_api, read_orders(), token);
        assert_eq!(parameter(&headers, "realm").as_deref(), Some("a \"quoted\" realm"));
    }
    for realm in ["a\r\nb", "a\nb", "é", "\0"] {
        assert!(test_api.layer.clone().try_with_realm(realm).is_err(), "{realm:?}");
    }
    for scope in ["", " ", "a  b", "a\"b", "a\\b", "é"] {
        assert!(test_api.layer.clone().try_with_challenge_scope(scope).is_err(), "{scope:?}");
    }
}

#[test]
fn rule_020_insufficient_scope_has_the_scope() {
    let test_api = TestApi::new();
    let (_, headers) = respond(&test_api, Requirement::scope("write:orders"), Some(test_api.server.token()));
    assert_eq!(parameter(&headers, "scope").as_deref(), Some("write:orders"));
}

#[test]
fn rule_022_weak_or_old_authentication_returns_a_step_up_challenge() {
    let test_api = TestApi::new();
    let weak = test_api.server.token().claim("acr", "low");
    let (status, headers) = respond(&test_api, Requirement::acr_values(["high"]), Some(weak));
    assert_eq!(status, StatusCode::UNAUTHORIZED);
    assert_eq!(parameter(&headers, "error").as_deref(), Some("insufficient_user_authentication"));
    assert_eq!(parameter(&headers, "acr_values").as_deref(), Some("high"));
    let requirement = Requirement::max_authentication_age(Duration::from_secs(60));
    let old = test_api.server.token().claim("auth_time", NOW - 600);
    let (status, headers) = respond(&test_api, requirement, Some(old));
    assert_eq!((status.as_u16(), parameter(&headers, "max_age").as_deref()), (401, Some("60")));
    let strong = test_api.server.token().claim("acr", "high");
    assert_eq!(respond(&test_api, Requirement::acr_values(["high"]), Some(strong)).0, StatusCode::OK);
}

#[test]
fn rule_026_responses_contain_nothing_of_the_token_or_of_other_apis() {
    let test_api = TestApi::new();
    for token in invalid_tokens(&test_api) {
        let token = token.claim("sub", "M4rk-subject").header("x", "M4rk-header");
        let segments: Vec<String> = token.clone().sign().split('.').map(str::to_owned).collect();
        let (_, headers) = respond(&test_api, read_orders(), Some(token));
        let shown = format!("{headers:?}");
        assert!(!shown.contains("M4rk") && !shown.contains("other.test") && !shown.contains("issuer.test"), "{shown}");
        assert!(segments.iter().filter(|segment| !segment.is_empty()).all(|segment| !shown.contains(segment)));
    }
}

#[test]
fn rule_027_rejections_are_not_cacheable() {
    let test_api = TestApi::new();
    for token in invalid_tokens(&test_api).into_iter().map(Some).chain([None]) {
        let (_, headers) = respond(&test_api, read_orders(), token);
        assert_eq!(headers.get(CACHE_CONTROL).map(http::HeaderValue::as_bytes), Some(&b"no-store"[..]));
    }
}

#[test]
fn rule_129_invalid_tokens_return_the_same_response() {
    let test_api = TestApi::new();
    let responses: Vec<_> =
        invalid_tokens(&test_api).into_iter().map(|token| respond(&test_api, read_orders(), Some(token))).collect();
    assert!(responses.windows(2).all(|pair| pair[0] == pair[1]), "{responses:?}");
}
