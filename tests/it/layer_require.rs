//! `RequireLayer`: requirements of a route on verified claims.

use std::time::Duration;

use http::{Request, Response, StatusCode};
use tower::Layer;
use tower_bearer::clock::Timestamp;
use tower_bearer::keys::KeySet;
use tower_bearer::testing::TestIssuer;
use tower_bearer::{Api, BearerLayer, Issuer, Rejection, RequireLayer, Requirement, Validator};

use crate::layer_fixture::{AUDIENCE, TestBody, bearer_request, request, send, subject_service, text, validator};
use tower_bearer::testing::FakeClock;

async fn send_through(
    credential: &BearerLayer,
    require: &RequireLayer,
    request: Request<TestBody>,
) -> Response<TestBody> {
    send(credential.layer(require.layer(subject_service())), request).await
}

fn challenge_text(response: &Response<TestBody>) -> &str {
    response.headers()["www-authenticate"].to_str().expect("visible ASCII")
}

#[tokio::test]
async fn accepts_a_met_requirement() {
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
        assert_eq!(
            send_through(&credential, &require, bearer_request(&token)).await.status(),
            StatusCode::OK,
            "{require:?}"
        );
    }
}

#[tokio::test]
async fn missing_scope_returns_403_with_the_realm_of_the_bearer_layer() {
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
        let response = send_through(&plain, &require, bearer_request(&token)).await;
        assert_eq!(response.status(), StatusCode::FORBIDDEN);
        assert_eq!(response.headers()["cache-control"], "no-store");
        assert_eq!(challenge_text(&response), format!(r#"Bearer error="insufficient_scope"{scope}"#));
        assert!(matches!(response.extensions().get(), Some(Rejection::Requirement(_))));
        let response = send_through(&named, &require, bearer_request(&token)).await;
        assert_eq!(challenge_text(&response), format!(r#"Bearer realm="north", error="insufficient_scope"{scope}"#));
    }
}

#[tokio::test]
async fn anonymous_request_returns_a_challenge_with_the_scope_and_no_error() {
    let server = TestIssuer::new();
    let plain = BearerLayer::new(validator(&server)).with_anonymous();
    let named = plain.clone().with_realm("north").with_challenge_scope("hint");
    for (credential, require, challenge) in [
        (&plain, RequireLayer::scope("admin"), r#"Bearer scope="admin""#),
        (&plain, RequireLayer::permission("p"), "Bearer"),
        (&named, RequireLayer::scope("admin"), r#"Bearer realm="north", scope="admin""#),
        (&named, RequireLayer::permission("p"), r#"Bearer realm="north", scope="hint""#),
    ] {
        let response = send_through(credential, &require, request(&[])).await;
        assert_eq!(response.status(), StatusCode::UNAUTHORIZED);
        assert_eq!(challenge_text(&response), challenge);
    }
}

#[tokio::test]
async fn missing_bearer_layer_returns_500() {
    let server = TestIssuer::new();
    let require = RequireLayer::scope("admin").with_json_body();
    for request in [request(&[]), bearer_request(&server.token().scope("admin").sign())] {
        let response = send(require.layer(subject_service()), request).await;
        assert_eq!(response.status(), StatusCode::INTERNAL_SERVER_ERROR);
        assert!(!response.headers().contains_key("www-authenticate"));
        assert!(response.extensions().get::<Rejection>().is_none());
        let description = if cfg!(debug_assertions) {
            let layer = std::any::type_name_of_val(&require);
            format!("a RequireLayer runs without a BearerLayer: GET /, {layer}")
        } else {
            "the request cannot be handled".to_owned()
        };
        let expected = format!(r#"{{"error":"server_error","error_description":"{description}"}}"#);
        assert_eq!(text(response).await, expected);
    }
    // Wrong order: the requirement runs before the token is validated.
    let upside_down = require.layer(BearerLayer::new(validator(&server)).with_json_body().layer(subject_service()));
    let response = send(upside_down, bearer_request(&server.token().scope("admin").sign())).await;
    assert_eq!(response.status(), StatusCode::INTERNAL_SERVER_ERROR);
}

#[tokio::test]
async fn old_or_weak_authentication_returns_a_step_up_challenge() {
    let server = TestIssuer::new();
    let credential = BearerLayer::new(validator(&server));
    let tolerant = |leeway| {
        let issuer = Issuer::static_keys(server.issuer(), KeySet::from_jwks(server.jwks()));
        let api = Api::new(AUDIENCE, issuer).with_leeway(Duration::from_secs(leeway));
        BearerLayer::new(Validator::new(api).expect("a valid configuration"))
    };
    let recent = RequireLayer::new(Requirement::max_authentication_age(Duration::from_secs(60)));
    let at = |now: i64| recent.clone().with_clock(FakeClock::from_wall(Timestamp::from_secs(now)));
    let token = server.token().claim("auth_time", 1_000).sign();
    for (credential, require, status) in [
        (&tolerant(5), at(1_064), StatusCode::OK),
        (&tolerant(5), at(1_065), StatusCode::UNAUTHORIZED),
        (&tolerant(6), at(1_065), StatusCode::OK),
        (&tolerant(0), at(1_059), StatusCode::OK),
        (&tolerant(0), at(1_060), StatusCode::UNAUTHORIZED),
        (&tolerant(300), at(1_359), StatusCode::OK),
        (&tolerant(300), at(1_360), StatusCode::UNAUTHORIZED),
    ] {
        let response = send_through(credential, &require, bearer_request(&token)).await;
        assert_eq!(response.status(), status);
        if status == StatusCode::UNAUTHORIZED {
            let expected = r#"Bearer error="insufficient_user_authentication", max_age="60""#;
            assert_eq!(challenge_text(&response), expected);
        }
    }
    let strong = RequireLayer::new(Requirement::acr_values(["gold"]));
    let response =
        send_through(&credential, &strong, bearer_request(&server.token().claim("acr", "silver").sign())).await;
    let expected = r#"Bearer error="insufficient_user_authentication", acr_values="gold""#;
    assert_eq!((response.status(), challenge_text(&response)), (StatusCode::UNAUTHORIZED, expected));
    let response =
        send_through(&credential, &strong, bearer_request(&server.token().claim("acr", "gold").sign())).await;
    assert_eq!(response.status(), StatusCode::OK);
}
