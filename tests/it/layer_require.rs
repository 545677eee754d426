//! `RequireLayer`: what a route asks of verified claims.

use std::time::Duration;

use http::{Request, Response, StatusCode};
use tower::Layer;
use tower_bearer::clock::Timestamp;
use tower_bearer::testing::TestIssuer;
use tower_bearer::{BearerLayer, Rejection, RequireLayer, Requirement};

use crate::probe::{TestBody, bearing, request, send, shows_subject, text, validator};
use tower_bearer::testing::FakeClock;

async fn through(credential: &BearerLayer, require: &RequireLayer, request: Request<TestBody>) -> Response<TestBody> {
    send(credential.layer(require.layer(shows_subject())), request).await
}

fn challenge_text(response: &Response<TestBody>) -> &str {
    response.headers()["www-authenticate"].to_str().expect("visible ASCII")
}

#[tokio::test]
async fn a_met_requirement_lets_pass() {
    let server = TestIssuer::new();
    let credential = BearerLayer::new(validator(&server));
    let token = server.token().scope("read:orders list").permissions(["write:orders"]).sign();
    for require in [
        RequireLayer::scope("read:orders"),
        RequireLayer::any_scope(["admin", "read:orders"]),
        RequireLayer::all_scopes(["list", "read:orders"]),
        RequireLayer::permission("write:orders"),
        RequireLayer::new(Requirement::all_of([Requirement::scope("list")])),
    ] {
        assert_eq!(through(&credential, &require, bearing(&token)).await.status(), StatusCode::OK, "{require:?}");
    }
}

#[tokio::test]
async fn an_unmet_scope_is_forbidden_with_the_realm_of_the_bearer_layer() {
    let server = TestIssuer::new();
    let plain = BearerLayer::new(validator(&server));
    let named = plain.clone().with_realm("north").with_challenge_scope("hint");
    let token = server.token().scope("read:orders").sign();
    for (require, scope) in [
        (RequireLayer::scope("admin"), r#", scope="admin""#),
        (RequireLayer::any_scope(["admin", "root"]), r#", scope="admin""#),
        (RequireLayer::all_scopes(["read:orders", "admin"]), r#", scope="read:orders admin""#),
        (RequireLayer::permission("read:orders"), ""),
    ] {
        let response = through(&plain, &require, bearing(&token)).await;
        assert_eq!(response.status(), StatusCode::FORBIDDEN);
        assert_eq!(response.headers()["cache-control"], "no-store");
        assert_eq!(challenge_text(&response), format!(r#"Bearer error="insufficient_scope"{scope}"#));
        assert!(matches!(response.extensions().get(), Some(Rejection::Requirement(_))));
        let response = through(&named, &require, bearing(&token)).await;
        assert_eq!(challenge_text(&response), format!(r#"Bearer realm="north", error="insufficient_scope"{scope}"#));
    }
}

#[tokio::test]
async fn an_anonymous_request_gets_a_bare_challenge_with_the_scope() {
    let server = TestIssuer::new();
    let plain = BearerLayer::new(validator(&server)).with_anonymous();
    let named = plain.clone().with_realm("north").with_challenge_scope("hint");
    for (credential, require, challenge) in [
        (&plain, RequireLayer::scope("admin"), r#"Bearer scope="admin""#),
        (&plain, RequireLayer::permission("p"), "Bearer"),
        (&named, RequireLayer::scope("admin"), r#"Bearer realm="north", scope="admin""#),
        (&named, RequireLayer::permission("p"), r#"Bearer realm="north", scope="hint""#),
    ] {
        let response = through(credential, &require, request(&[])).await;
        assert_eq!(response.status(), StatusCode::UNAUTHORIZED);
        assert_eq!(challenge_text(&response), challenge);
    }
}

#[tokio::test]
async fn without_a_bearer_layer_the_program_is_wrong() {
    let server = TestIssuer::new();
    let require = RequireLayer::scope("admin").with_json_body();
    for request in [request(&[]), bearing(&server.token().scope("admin").sign())] {
        let response = send(require.layer(shows_subject()), request).await;
        assert_eq!(response.status(), StatusCode::INTERNAL_SERVER_ERROR);
        assert!(!response.headers().contains_key("www-authenticate"));
        assert!(response.extensions().get::<Rejection>().is_none());
        assert_eq!(
            text(response).await,
            r#"{"error":"server_error","error_description":"the request cannot be handled"}"#
        );
    }
    // Inside out: the requirement runs before the token is looked at.
    let upside_down = require.layer(BearerLayer::new(validator(&server)).with_json_body().layer(shows_subject()));
    let response = send(upside_down, bearing(&server.token().scope("admin").sign())).await;
    assert_eq!(response.status(), StatusCode::INTERNAL_SERVER_ERROR);
}

#[tokio::test]
async fn an_old_or_weak_authentication_has_to_step_up() {
    let server = TestIssuer::new();
    let credential = BearerLayer::new(validator(&server));
    let recent = RequireLayer::new(Requirement::max_authentication_age(Duration::from_secs(60)));
    let at = |now: i64| recent.clone().with_clock(FakeClock::at(Timestamp::from_secs(now)));
    let token = server.token().claim("auth_time", 1_000).sign();
    for (require, status) in [
        (at(1_064), StatusCode::OK),
        (at(1_065), StatusCode::UNAUTHORIZED),
        (at(1_065).with_leeway(Duration::from_secs(6)), StatusCode::OK),
        (at(1_359).with_leeway(Duration::MAX), StatusCode::OK),
        (at(1_360).with_leeway(Duration::MAX), StatusCode::UNAUTHORIZED),
    ] {
        let response = through(&credential, &require, bearing(&token)).await;
        assert_eq!(response.status(), status);
        if status == StatusCode::UNAUTHORIZED {
            let expected = r#"Bearer error="insufficient_user_authentication", max_age="60""#;
            assert_eq!(challenge_text(&response), expected);
        }
    }
    let strong = RequireLayer::new(Requirement::acr_values(["gold"]));
    let response = through(&credential, &strong, bearing(&server.token().claim("acr", "silver").sign())).await;
    let expected = r#"Bearer error="insufficient_user_authentication", acr_values="gold""#;
    assert_eq!((response.status(), challenge_text(&response)), (StatusCode::UNAUTHORIZED, expected));
    let response = through(&credential, &strong, bearing(&server.token().claim("acr", "gold").sign())).await;
    assert_eq!(response.status(), StatusCode::OK);
}
