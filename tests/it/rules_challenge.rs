//! Rules 14 to 27: what a refused client is told.

use std::convert::Infallible;
use std::time::Duration;

use http::header::{CACHE_CONTROL, WWW_AUTHENTICATE};
use http::{HeaderMap, Request, Response, StatusCode};
use tower::{ServiceBuilder, ServiceExt as _, service_fn};
use tower_bearer::clock::Timestamp;
use tower_bearer::testing::{FakeClock, TokenBuilder};
use tower_bearer::{RequireLayer, Requirement};

use crate::challenge_parser::challenge;
use crate::kit::{NOW, Site, block_on};

/// Status and headers of an answer behind a requirement.
fn answer(site: &Site, requirement: Requirement, token: Option<TokenBuilder>) -> (StatusCode, HeaderMap) {
    let inner = service_fn(|_| async { Ok::<_, Infallible>(Response::new(String::new())) });
    let require = RequireLayer::new(requirement).with_clock(FakeClock::at(Timestamp::from_secs(NOW)));
    let service = ServiceBuilder::new().layer(site.layer.clone().with_realm("a \"quoted\" realm")).layer(require);
    let request = token
        .into_iter()
        .fold(Request::get("/"), |request, token| request.header("authorization", format!("Bearer {}", token.sign())));
    let request = request.body(String::new()).expect("a request");
    let response = block_on(service.service(inner).oneshot(request)).expect("an answer");
    (response.status(), response.headers().clone())
}

fn read_orders() -> Requirement {
    Requirement::scope("read:orders")
}

fn parameter(headers: &HeaderMap, name: &str) -> Option<String> {
    challenge(headers).into_iter().find(|(other, _)| other == name).map(|(_, value)| value)
}

/// Tokens that fail each in its own way, and look alike from outside.
fn faulty(site: &Site) -> Vec<TokenBuilder> {
    vec![
        site.server.token().with_broken_signature(),
        site.server.token().kid("unknown"),
        site.server.token().audience("https://other.test/"),
        site.server.token().expired(),
        site.server.token().issuer("https://other.test/"),
        site.server.token().unsigned(),
        site.server.token().raw_payload("[]"),
    ]
}

#[test]
fn rule_014_every_refusal_bears_a_challenge() {
    let site = Site::new();
    for token in faulty(&site).into_iter().map(Some).chain([None]) {
        let (status, headers) = answer(&site, read_orders(), token);
        assert_eq!(status, StatusCode::UNAUTHORIZED);
        assert!(headers.contains_key(WWW_AUTHENTICATE));
    }
}

#[test]
fn rule_015_without_a_credential_no_error_is_named() {
    let (_, headers) = answer(&Site::new(), read_orders(), None);
    assert_eq!(parameter(&headers, "error"), None);
    assert_eq!(parameter(&headers, "error_description"), None);
}

#[test]
fn rule_016_each_error_has_its_status() {
    let site = Site::new();
    let (status, headers) = answer(&site, Requirement::scope("write:orders"), Some(site.server.token()));
    assert_eq!((status.as_u16(), parameter(&headers, "error").as_deref()), (403, Some("insufficient_scope")));
    let (status, headers) = answer(&site, read_orders(), Some(site.server.token().expired()));
    assert_eq!((status.as_u16(), parameter(&headers, "error").as_deref()), (401, Some("invalid_token")));
    assert_eq!(site.send(&["Bearer"]), (400, Some("invalid_request".to_owned())));
    assert_eq!(answer(&site, read_orders(), Some(site.server.token().scope("read:orders"))).0, StatusCode::OK);
}

/// The reader of challenges refuses doubled parameters, bare values and foreign characters.
#[test]
fn rule_017_to_019_challenges_keep_to_the_grammar() {
    let site = Site::new();
    for token in faulty(&site).into_iter().map(Some).chain([None]) {
        let (_, headers) = answer(&site, read_orders(), token);
        assert_eq!(parameter(&headers, "realm").as_deref(), Some("a \"quoted\" realm"));
    }
    for realm in ["a\r\nb", "a\nb", "é", "\0"] {
        assert!(site.layer.clone().try_with_realm(realm).is_err(), "{realm:?}");
    }
    for scope in ["", " ", "a  b", "a\"b", "a\\b", "é"] {
        assert!(site.layer.clone().try_with_challenge_scope(scope).is_err(), "{scope:?}");
    }
}

#[test]
fn rule_020_a_lack_of_scope_names_the_scope() {
    let site = Site::new();
    let (_, headers) = answer(&site, Requirement::scope("write:orders"), Some(site.server.token()));
    assert_eq!(parameter(&headers, "scope").as_deref(), Some("write:orders"));
}

#[test]
fn rule_022_weak_or_old_authentication_asks_to_step_up() {
    let site = Site::new();
    let weak = site.server.token().claim("acr", "low");
    let (status, headers) = answer(&site, Requirement::acr_values(["high"]), Some(weak));
    assert_eq!(status, StatusCode::UNAUTHORIZED);
    assert_eq!(parameter(&headers, "error").as_deref(), Some("insufficient_user_authentication"));
    assert_eq!(parameter(&headers, "acr_values").as_deref(), Some("high"));
    let requirement = Requirement::max_authentication_age(Duration::from_secs(60));
    let old = site.server.token().claim("auth_time", NOW - 600);
    let (status, headers) = answer(&site, requirement, Some(old));
    assert_eq!((status.as_u16(), parameter(&headers, "max_age").as_deref()), (401, Some("60")));
    let strong = site.server.token().claim("acr", "high");
    assert_eq!(answer(&site, Requirement::acr_values(["high"]), Some(strong)).0, StatusCode::OK);
}

#[test]
fn rule_026_nothing_of_the_token_or_of_other_apis_is_echoed() {
    let site = Site::new();
    for token in faulty(&site) {
        let token = token.claim("sub", "M4rk-subject").header("x", "M4rk-header");
        let segments: Vec<String> = token.clone().sign().split('.').map(str::to_owned).collect();
        let (_, headers) = answer(&site, read_orders(), Some(token));
        let shown = format!("{headers:?}");
        assert!(!shown.contains("M4rk") && !shown.contains("other.test") && !shown.contains("issuer.test"), "{shown}");
        assert!(segments.iter().filter(|segment| !segment.is_empty()).all(|segment| !shown.contains(segment)));
    }
}

#[test]
fn rule_027_refusals_are_not_stored() {
    let site = Site::new();
    for token in faulty(&site).into_iter().map(Some).chain([None]) {
        let (_, headers) = answer(&site, read_orders(), token);
        assert_eq!(headers.get(CACHE_CONTROL).map(http::HeaderValue::as_bytes), Some(&b"no-store"[..]));
    }
}

#[test]
fn rule_129_faults_of_a_token_look_alike() {
    let site = Site::new();
    let answers: Vec<_> = faulty(&site).into_iter().map(|token| answer(&site, read_orders(), Some(token))).collect();
    assert!(answers.windows(2).all(|pair| pair[0] == pair[1]), "{answers:?}");
}
