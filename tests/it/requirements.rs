//! What a route asks: by a layer, in code, and in the type of an extractor (RFC 6750 §3.1, RFC 9470 §3).

use axum::Router;
use axum::routing::get;
use http::Request;
use tower::{ServiceBuilder, ServiceExt as _};
use tower_bearer::axum::{BearerRejection, ClaimsRejection, Needs, Required};
use tower_bearer::clock::{Clock as _, SystemClock};
use tower_bearer::testing::{TestIssuer, TokenBuilder};
use tower_bearer::{Api, BearerLayer, Claims, RequireLayer, Requirement, Validator};

use crate::gate::{self, AUDIENCE, Answer, OK, trusted};

fn layer(server: &TestIssuer) -> BearerLayer {
    BearerLayer::new(Validator::new(Api::new(AUDIENCE, trusted(server))).expect("a good configuration"))
}

fn lacking(scope: &str) -> String {
    format!("Bearer error=\"insufficient_scope\", scope=\"{scope}\"")
}

#[tokio::test]
async fn a_refusal_names_what_layer_and_route_need_together() {
    let server = TestIssuer::new();
    let stack = || {
        ServiceBuilder::new()
            .layer(layer(&server))
            .layer(RequireLayer::scope("read:orders"))
            .layer(RequireLayer::any_scope(["write:orders", "read:orders"]))
            .layer(RequireLayer::new(Requirement::organization("org_1")))
            .layer(RequireLayer::scope("admin"))
    };
    let all = server.token().scope("read:orders admin").organization("org_1");
    assert_eq!(gate::through(stack(), gate::with_token(&all.clone().sign())).await.status, OK);
    for (token, named) in [
        (server.token().without("scope"), "read:orders"),
        (server.token().scope("read:orders"), "read:orders write:orders"),
        (server.token().scope("read:orders").organization("org_1"), "read:orders write:orders admin"),
    ] {
        let answer = gate::through(stack(), gate::with_token(&token.sign())).await;
        assert_eq!((answer.status, answer.challenge()), (403, &*lacking(named)));
    }
}

#[tokio::test]
async fn a_step_up_names_what_layer_and_route_ask_of_it_together() {
    let server = TestIssuer::new();
    let age = |seconds| Requirement::max_authentication_age(std::time::Duration::from_secs(seconds));
    let stack = || {
        ServiceBuilder::new()
            .layer(layer(&server))
            .layer(RequireLayer::new(Requirement::acr_values(["gold", "silver"])))
            .layer(RequireLayer::new(age(600)))
            .layer(RequireLayer::new(age(60)))
    };
    let now = SystemClock.now().as_secs();
    let token = |seconds| server.token().claim("acr", "silver").claim("auth_time", now - seconds);
    assert_eq!(gate::through(stack(), gate::with_token(&token(0).sign())).await.status, OK);
    for (token, asked) in [
        (token(0).without("acr"), "acr_values=\"gold silver\""),
        (token(1_000), "acr_values=\"gold silver\", max_age=\"600\""),
        (token(300), "acr_values=\"gold silver\", max_age=\"60\""),
    ] {
        let answer = gate::through(stack(), gate::with_token(&token.sign())).await;
        let challenge = format!("Bearer error=\"insufficient_user_authentication\", {asked}");
        assert_eq!((answer.status, answer.challenge()), (401, &*challenge));
    }
}

#[tokio::test]
async fn without_credential_the_scopes_are_named_too() {
    let server = TestIssuer::new();
    let stack = ServiceBuilder::new()
        .layer(layer(&server).with_anonymous())
        .layer(RequireLayer::all_scopes(["read:orders", "admin"]));
    let answer = gate::through(stack, Request::default()).await;
    assert_eq!((answer.status, answer.challenge()), (401, "Bearer scope=\"read:orders admin\""));
}

#[tokio::test]
async fn a_claim_a_client_and_an_organization_are_asked_for_per_route() {
    let server = TestIssuer::new();
    for (requirement, good, bad) in [
        (
            Requirement::claim_equals("https://northwind.com/department", "sales"),
            server.token().claim("https://northwind.com/department", "sales"),
            server.token().claim("https://northwind.com/department", "it"),
        ),
        (
            Requirement::claim_contains("https://northwind.com/roles", "clerk"),
            server.token().claim("https://northwind.com/roles", ["admin", "clerk"]),
            server.token().claim("https://northwind.com/roles", ["clerks"]),
        ),
        (
            Requirement::client_ids(["web"]),
            server.token().claim("client_id", "web").without("azp"),
            server.token().claim("client_id", "cron").claim("azp", "web"),
        ),
        (Requirement::organization("org_1"), server.token().organization("org_1"), server.token()),
        (
            Requirement::organization_name("acme"),
            server.token().claim("org_name", "Acme"),
            server.token().claim("org_name", "acme-2"),
        ),
    ] {
        let stack = || ServiceBuilder::new().layer(layer(&server)).layer(RequireLayer::new(requirement.clone()));
        let status = |token: TokenBuilder| gate::through(stack(), gate::with_token(&token.sign()));
        let signed = |token: &TokenBuilder| token.clone();
        assert_eq!(status(signed(&good)).await.status, OK, "{requirement:?}");
        let refused = status(signed(&bad)).await;
        assert_eq!(
            (refused.status, refused.challenge()),
            (403, "Bearer error=\"insufficient_scope\""),
            "{requirement:?}"
        );
    }
}

struct ReadOrders;

impl Needs for ReadOrders {
    const REQUIREMENT: &'static Requirement = &Requirement::static_scope("read:orders");
}

struct Gold;

impl Needs for Gold {
    const REQUIREMENT: &'static Requirement = &Requirement::static_acr_values(&["gold"]);
}

struct Strong;

impl Needs for Strong {
    const REQUIREMENT: &'static Requirement = &Requirement::max_authentication_age(std::time::Duration::from_secs(60));
}

async fn ask(app: Router, path: &str, token: Option<&str>) -> Answer {
    let mut request = Request::get(path);
    if let Some(token) = token {
        request = request.header("authorization", format!("Bearer {token}"));
    }
    let request = request.body(axum::body::Body::empty()).expect("a request");
    Answer::of(app.oneshot(request).await.expect("infallible")).await
}

fn app(server: &TestIssuer) -> Router {
    Router::new()
        .route("/stacked", get(|_: Required<ReadOrders>| async {}).route_layer(RequireLayer::scope("admin")))
        .route("/typed", get(|claims: Required<ReadOrders>| async move { claims.subject().unwrap_or("").to_owned() }))
        .route("/strong", get(|_: Required<Strong>| async {}))
        .route("/gold", get(|_: Required<Gold>| async {}).route_layer(RequireLayer::new(Strong::REQUIREMENT.clone())))
        .route(
            "/code",
            get(|claims: Claims| async move {
                claims.require(&Requirement::scope("read:orders"))?;
                Ok::<_, BearerRejection>(())
            }),
        )
        .layer(layer(server).with_anonymous().with_realm("northwind"))
}

#[tokio::test]
async fn an_extractor_carries_the_requirement_in_its_type() {
    let server = TestIssuer::new();
    let good = server.token().subject("ann").scope("read:orders").sign();
    let answer = ask(app(&server), "/typed", Some(&good)).await;
    assert_eq!((answer.status, &*answer.body), (OK, "ann"));
    let refused = ask(app(&server), "/typed", Some(&server.token().without("scope").sign())).await;
    let challenge = "Bearer realm=\"northwind\", error=\"insufficient_scope\", scope=\"read:orders\"";
    assert_eq!((refused.status, refused.challenge()), (403, challenge));
    let stacked = ask(app(&server), "/stacked", Some(&server.token().scope("admin").sign())).await;
    let challenge = "Bearer realm=\"northwind\", error=\"insufficient_scope\", scope=\"admin read:orders\"";
    assert_eq!((stacked.status, stacked.challenge()), (403, challenge));
    let anonymous = ask(app(&server), "/typed", None).await;
    let challenge = "Bearer realm=\"northwind\", scope=\"read:orders\"";
    assert_eq!((anonymous.status, anonymous.challenge()), (401, challenge));
    let weak = ask(app(&server), "/strong", Some(&good)).await;
    let challenge = "Bearer realm=\"northwind\", error=\"insufficient_user_authentication\", max_age=\"60\"";
    assert_eq!((weak.status, weak.challenge()), (401, challenge));
    let recent = server.token().claim("auth_time", SystemClock.now().as_secs());
    let weak = ask(app(&server), "/gold", Some(&recent.clone().sign())).await;
    let challenge = "Bearer realm=\"northwind\", error=\"insufficient_user_authentication\", acr_values=\"gold\", \
                     max_age=\"60\"";
    assert_eq!((weak.status, weak.challenge()), (401, challenge));
    assert_eq!(ask(app(&server), "/gold", Some(&recent.claim("acr", "gold").sign())).await.status, OK);
}

#[tokio::test]
async fn an_extractor_without_layer_is_the_programs_fault() {
    let app = Router::new().route("/", get(|_: Required<ReadOrders>| async {}));
    let answer = ask(app, "/", None).await;
    assert_eq!((answer.status, answer.challenge()), (500, ""));
    assert_ne!(ClaimsRejection::NoLayer, ClaimsRejection::OtherClaims);
}

#[tokio::test]
async fn claims_are_asked_in_a_handler() {
    let server = TestIssuer::new();
    let good = server.token().scope("read:orders").sign();
    assert_eq!(ask(app(&server), "/code", Some(&good)).await.status, OK);
    let refused = ask(app(&server), "/code", Some(&server.token().scope("read").sign())).await;
    assert_eq!((refused.status, refused.challenge()), (403, &*lacking("read:orders")));
}
