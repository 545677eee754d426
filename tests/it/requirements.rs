//! Requirements of a route: by a layer, in code, and in the type of an extractor (RFC 6750 §3.1, RFC 9470 §3).

use axum::Router;
use axum::response::IntoResponse as _;
use axum::routing::{any, get};
use http::Request;
use tower::{ServiceBuilder, ServiceExt as _};
use tower_bearer::clock::{Clock as _, SystemClock};
use tower_bearer::extract::{BearerRejection, Required, StaticRequirement};
use tower_bearer::metadata::ProtectedResourceMetadata;
use tower_bearer::request::BearerToken;
use tower_bearer::requirement::{ClaimValue, UnmetRequirement};
use tower_bearer::response::{ErrorBody, ErrorResponse};
use tower_bearer::testing::{TestIssuer, TokenBuilder};
use tower_bearer::{Api, BearerLayer, Claims, NoCustomClaims, RequireLayer, Requirement, Validator};

use crate::stack::{self, AUDIENCE, OK, TestResponse, trusted};

fn layer(server: &TestIssuer) -> BearerLayer {
    BearerLayer::new(Validator::new(Api::new(AUDIENCE, trusted(server))).expect("a valid configuration"))
}

fn insufficient_scope(scope: &str) -> String {
    format!("Bearer error=\"insufficient_scope\", scope=\"{scope}\"")
}

#[tokio::test]
async fn challenge_has_the_scopes_of_layer_and_route() {
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
    assert_eq!(stack::send_through(stack(), stack::request_with_token(&all.clone().sign())).await.status, OK);
    for (token, named) in [
        (server.token(), "read:orders"),
        // The requirement of the first layer already meets that of the second.
        (server.token().scope("read:orders"), "read:orders"),
        (server.token().scope("read:orders write:orders").organization("org_1"), "read:orders write:orders admin"),
    ] {
        let response = stack::send_through(stack(), stack::request_with_token(&token.sign())).await;
        assert_eq!((response.status, response.challenge()), (403, &*insufficient_scope(named)));
    }
}

#[tokio::test]
async fn step_up_challenge_has_the_parameters_of_layer_and_route() {
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
    assert_eq!(stack::send_through(stack(), stack::request_with_token(&token(0).sign())).await.status, OK);
    for (token, expected) in [
        (token(0).without("acr"), "acr_values=\"gold silver\""),
        (token(1_000), "acr_values=\"gold silver\", max_age=\"600\""),
        (token(300), "acr_values=\"gold silver\", max_age=\"60\""),
    ] {
        let response = stack::send_through(stack(), stack::request_with_token(&token.sign())).await;
        let challenge = format!("Bearer error=\"insufficient_user_authentication\", {expected}");
        assert_eq!((response.status, response.challenge()), (401, &*challenge));
    }
}

#[tokio::test]
async fn challenge_without_credential_has_the_scopes() {
    let server = TestIssuer::new();
    let stack = ServiceBuilder::new()
        .layer(layer(&server).with_anonymous())
        .layer(RequireLayer::all_scopes(["read:orders", "admin"]));
    let response = stack::send_through(stack, Request::default()).await;
    assert_eq!((response.status, response.challenge()), (401, "Bearer scope=\"read:orders admin\""));
}

#[tokio::test]
async fn route_can_require_claim_client_and_organization() {
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
        let status = |token: TokenBuilder| stack::send_through(stack(), stack::request_with_token(&token.sign()));
        let signed = |token: &TokenBuilder| token.clone();
        assert_eq!(status(signed(&good)).await.status, OK, "{requirement:?}");
        let rejected = status(signed(&bad)).await;
        assert_eq!(
            (rejected.status, rejected.challenge()),
            (403, "Bearer error=\"insufficient_scope\""),
            "{requirement:?}"
        );
    }
}

struct ReadOrders;

impl StaticRequirement for ReadOrders {
    const REQUIREMENT: &'static Requirement = &Requirement::static_scope("read:orders");
}

struct Gold;

impl StaticRequirement for Gold {
    const REQUIREMENT: &'static Requirement = &Requirement::static_acr_values(&["gold"]);
}

struct Strong;

impl StaticRequirement for Strong {
    const REQUIREMENT: &'static Requirement = &Requirement::max_authentication_age(std::time::Duration::from_secs(60));
}

async fn send(app: Router, path: &str, token: Option<&str>) -> TestResponse {
    let mut request = Request::get(path);
    if let Some(token) = token {
        request = request.header("authorization", format!("Bearer {token}"));
    }
    let request = request.body(axum::body::Body::empty()).expect("a request");
    TestResponse::from_response(app.oneshot(request).await.expect("infallible")).await
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
async fn extractor_enforces_the_requirement_of_its_type() {
    let server = TestIssuer::new();
    let good = server.token().subject("ann").scope("read:orders").sign();
    let response = send(app(&server), "/typed", Some(&good)).await;
    assert_eq!((response.status, &*response.body), (OK, "ann"));
    let rejected = send(app(&server), "/typed", Some(&server.token().sign())).await;
    let challenge = "Bearer realm=\"northwind\", error=\"insufficient_scope\", scope=\"read:orders\"";
    assert_eq!((rejected.status, rejected.challenge()), (403, challenge));
    let stacked = send(app(&server), "/stacked", Some(&server.token().scope("admin").sign())).await;
    let challenge = "Bearer realm=\"northwind\", error=\"insufficient_scope\", scope=\"admin read:orders\"";
    assert_eq!((stacked.status, stacked.challenge()), (403, challenge));
    let anonymous = send(app(&server), "/typed", None).await;
    let challenge = "Bearer realm=\"northwind\", scope=\"read:orders\"";
    assert_eq!((anonymous.status, anonymous.challenge()), (401, challenge));
    let weak = send(app(&server), "/strong", Some(&good)).await;
    let challenge = "Bearer realm=\"northwind\", error=\"insufficient_user_authentication\", max_age=\"60\"";
    assert_eq!((weak.status, weak.challenge()), (401, challenge));
    let recent = server.token().claim("auth_time", SystemClock.now().as_secs());
    let weak = send(app(&server), "/gold", Some(&recent.clone().sign())).await;
    let challenge = "Bearer realm=\"northwind\", error=\"insufficient_user_authentication\", acr_values=\"gold\", \
                     max_age=\"60\"";
    assert_eq!((weak.status, weak.challenge()), (401, challenge));
    assert_eq!(send(app(&server), "/gold", Some(&recent.claim("acr", "gold").sign())).await.status, OK);
}

#[tokio::test]
async fn extractor_without_layer_returns_500() {
    let app = Router::new().route("/", get(|_: Required<ReadOrders>| async {}));
    let response = send(app, "/", None).await;
    assert_eq!((response.status, response.challenge()), (500, ""));
}

#[tokio::test]
async fn handler_can_check_a_requirement() {
    let server = TestIssuer::new();
    let good = server.token().scope("read:orders").sign();
    assert_eq!(send(app(&server), "/code", Some(&good)).await.status, OK);
    let rejected = send(app(&server), "/code", Some(&server.token().scope("read").sign())).await;
    let challenge = "Bearer realm=\"northwind\", error=\"insufficient_scope\", scope=\"read:orders\"";
    assert_eq!((rejected.status, rejected.challenge()), (403, challenge));
}

/// Applies the same requirement in each possible way.
fn app_with_each_way(
    credential: BearerLayer<NoCustomClaims, impl ErrorBody<axum::body::Body>>,
    require: RequireLayer<impl ErrorBody<axum::body::Body>>,
) -> Router {
    async fn in_code(claims: Claims) -> Result<(), BearerRejection> {
        Ok(claims.require(ReadOrders::REQUIREMENT)?)
    }
    async fn in_code_twice(claims: Required<Admin>) -> Result<(), BearerRejection> {
        Ok(claims.require(ReadOrders::REQUIREMENT)?)
    }
    let routes = Router::new()
        .route("/layer", any(async || ()).layer(require))
        .route("/type", any(|_: Required<ReadOrders>| async {}))
        .route("/code", any(in_code))
        .route_layer(RequireLayer::scope("admin"))
        .route_layer(RequireLayer::any_scope(["write:orders", "admin"]));
    routes.route("/twice", any(in_code_twice)).layer(credential)
}

struct Admin;

impl StaticRequirement for Admin {
    const REQUIREMENT: &'static Requirement = &Requirement::static_scope("admin");
}

/// Status, body and the headers of a rejection.
fn shown(response: &TestResponse) -> (u16, &str, Vec<(&str, &[u8])>) {
    let names = ["www-authenticate", "cache-control", "content-type", "grpc-status", "x-hook"];
    let headers = response.headers.iter().filter(|(name, _)| names.contains(&name.as_str()));
    (response.status, &response.body, headers.map(|(name, value)| (name.as_str(), value.as_bytes())).collect())
}

async fn assert_same_response(app: Router, request: impl Fn(&str) -> Request<axum::body::Body>) -> TestResponse {
    let send = async |path: &str| {
        TestResponse::from_response(app.clone().oneshot(request(path)).await.expect("infallible")).await
    };
    let layer = send("/layer").await;
    for path in ["/type", "/code", "/twice"] {
        assert_eq!(shown(&send(path).await), shown(&layer), "{path}");
    }
    layer
}

#[tokio::test]
async fn rejections_of_layers_extractors_and_handlers_are_the_same() {
    let server = TestIssuer::new();
    let metadata =
        ProtectedResourceMetadata::new("https://api.test/orders", ["https://issuer.test/"]).expect("metadata");
    let credential = || layer(&server).with_realm("northwind").with_resource_metadata(&metadata);
    let require = || RequireLayer::new(ReadOrders::REQUIREMENT.clone());
    let token = server.token().scope("admin").sign();
    let http = |path: &str| {
        let request = Request::get(path).header("authorization", format!("Bearer {token}"));
        request.body(axum::body::Body::empty()).expect("a request")
    };
    let challenge = "Bearer realm=\"northwind\", error=\"insufficient_scope\", scope=\"admin read:orders\", \
                     resource_metadata=\"https://api.test/.well-known/oauth-protected-resource/orders\"";

    let response = assert_same_response(app_with_each_way(credential(), require()), http).await;
    assert_eq!((response.status, response.challenge(), &*response.body), (403, challenge, ""));

    let json = app_with_each_way(credential().with_json_body(), require().with_json_body());
    let response = assert_same_response(json.clone(), http).await;
    let body = r#"{"error":"insufficient_scope","error_description":"the access token does not allow this"}"#;
    assert_eq!((response.status, response.challenge(), &*response.body), (403, challenge, body));

    let hook = |rejection: &ErrorResponse<'_>| {
        let response = http::Response::builder().header("x-hook", rejection.error().unwrap_or_default());
        response.body(axum::body::Body::from("go away")).expect("a response")
    };
    let hooked = app_with_each_way(credential().with_response_hook(hook), require().with_response_hook(hook));
    let response = assert_same_response(hooked, http).await;
    assert_eq!(
        (&*response.body, &response.headers["x-hook"]),
        ("go away", &"insufficient_scope".parse().expect("text"))
    );

    let grpc = |path: &str| {
        let request = Request::post(path).version(http::Version::HTTP_2).header("content-type", "application/grpc");
        let request = request.header("authorization", format!("Bearer {token}"));
        request.body(axum::body::Body::empty()).expect("a request")
    };
    let response = assert_same_response(json, grpc).await;
    assert_eq!((response.status, response.challenge(), &*response.body), (200, challenge, ""));
    assert_eq!(response.headers["grpc-status"], "7");
}

#[tokio::test]
async fn extractor_without_credential_returns_the_challenge_of_the_layer() {
    async fn handler(_: Claims) {}
    async fn typed(_: Required<ReadOrders>) {}
    async fn raw(_: BearerToken<'static>) {}
    let server = TestIssuer::new();
    let credential = layer(&server).with_anonymous().with_raw_token().with_realm("northwind").with_json_body();
    let routes = Router::new().route("/", get(handler)).route("/typed", get(typed)).route("/raw", get(raw));
    let app = routes.layer(credential.clone());
    for (path, challenge) in [
        ("/", "Bearer realm=\"northwind\""),
        ("/raw", "Bearer realm=\"northwind\""),
        ("/typed", "Bearer realm=\"northwind\", scope=\"read:orders\""),
    ] {
        let response = send(app.clone(), path, None).await;
        assert_eq!((response.status, response.challenge(), &*response.body), (401, challenge, "{}"));
        assert_eq!(response.headers["content-type"], "application/json");
    }
    // The settings of the inner layer take precedence, even if they are empty.
    let inner = Router::new().route("/", get(handler)).layer(layer(&server).with_anonymous());
    let response = send(inner.layer(credential), "/", None).await;
    assert_eq!((response.status, response.challenge(), &*response.body), (401, "Bearer", ""));
}

#[tokio::test]
async fn rejection_without_a_layer_has_the_required_scope() {
    let server = TestIssuer::new();
    let validator = Validator::new(Api::new(AUDIENCE, trusted(&server))).expect("a valid configuration");
    let claims = validator.validate(&server.token().sign()).await.expect("a valid token");
    let insufficient = claims.require(&Requirement::scope("admin")).expect_err("no such scope");
    assert_eq!(
        BearerRejection::from(insufficient.clone()),
        BearerRejection::from(insufficient.unmet().expect("a scope").clone())
    );
    let response = TestResponse::from_response(BearerRejection::from(insufficient).into_response()).await;
    assert_eq!((response.status, response.challenge(), &*response.body), (403, &*insufficient_scope("admin"), ""));
}

#[tokio::test]
async fn one_challenge_has_step_up_parameters_and_scope() {
    let server = TestIssuer::new();
    let pay = Requirement::all_of([Requirement::scope("pay"), Requirement::acr_values(["gold"])]);
    let stack = || {
        let outer = RequireLayer::scope("read:orders");
        ServiceBuilder::new().layer(layer(&server)).layer(outer).layer(RequireLayer::new(pay.clone()))
    };
    let step_up = "Bearer error=\"insufficient_user_authentication\", acr_values=\"gold\"";
    for (token, expected_response) in [
        (server.token().scope("read:orders"), (401, format!("{step_up}, scope=\"read:orders pay\""))),
        (server.token().scope("read:orders pay"), (401, step_up.to_owned())),
        (server.token().scope("read:orders").claim("acr", "gold"), (403, insufficient_scope("read:orders pay"))),
        (server.token().scope("read:orders pay").claim("acr", "gold"), (200, String::new())),
    ] {
        let response = stack::send_through(stack(), stack::request_with_token(&token.sign())).await;
        assert_eq!((response.status, response.challenge().to_owned()), expected_response);
    }
}

/// The constant requirement of an extractor, and the response to a token.
async fn passes<N: StaticRequirement + 'static>(server: &TestIssuer, token: TokenBuilder) -> (u16, String) {
    let app = Router::new().route("/", get(|_: Required<N>| async {})).layer(layer(server));
    let response = send(app, "/", Some(&token.sign())).await;
    (response.status, response.challenge().to_owned())
}

macro_rules! needs {
    ($name:ident, $requirement:expr) => {
        struct $name;

        impl StaticRequirement for $name {
            const REQUIREMENT: &'static Requirement = &$requirement;
        }
    };
}

needs!(Write, Requirement::static_scope_or_permission("write:orders"));
needs!(Refund, Requirement::static_permission("refund"));
needs!(Clerk, Requirement::static_claim_contains("https://northwind.com/roles", ClaimValue::text("clerk")));
needs!(Level, Requirement::static_claim_equals("level", ClaimValue::number(3)));
needs!(Known, Requirement::static_client_ids(&["web", "cron"]));
needs!(Acme, Requirement::static_organization("org_1"));
needs!(Named, Requirement::static_organization_name("acme"));
needs!(All, Requirement::static_all_of(PAY_AS_ACME));
needs!(Any, Requirement::static_any_of(PAY_OR_ADMIN));

const PAY_AS_ACME: &[Requirement] = &[Requirement::static_scope("pay"), Requirement::static_organization("org_1")];
const PAY_OR_ADMIN: &[Requirement] = &[Requirement::static_scope("pay"), Requirement::static_scope("admin")];

#[tokio::test]
async fn extractor_supports_every_constant_requirement() {
    let server = TestIssuer::new();
    let token = || server.token();
    let plain = || (403, "Bearer error=\"insufficient_scope\"".to_owned());
    let met = || (OK, String::new());
    assert_eq!(passes::<Write>(&server, token().permissions(["write:orders"])).await, met());
    assert_eq!(passes::<Write>(&server, token()).await, (403, insufficient_scope("write:orders")));
    assert_eq!(passes::<Refund>(&server, token().permissions(["refund"])).await, met());
    assert_eq!(passes::<Refund>(&server, token().scope("refund")).await, plain());
    assert_eq!(passes::<Clerk>(&server, token().claim("https://northwind.com/roles", ["clerk"])).await, met());
    assert_eq!(passes::<Clerk>(&server, token().claim("https://northwind.com/roles", ["clerks"])).await, plain());
    assert_eq!(passes::<Level>(&server, token().claim("level", 3)).await, met());
    assert_eq!(passes::<Level>(&server, token().claim("level", "3")).await, plain());
    assert_eq!(passes::<Known>(&server, token().claim("client_id", "cron")).await, met());
    assert_eq!(passes::<Known>(&server, token().claim("client_id", "other")).await, plain());
    assert_eq!(passes::<Acme>(&server, token().organization("org_1")).await, met());
    assert_eq!(passes::<Acme>(&server, token().organization("org_2")).await, plain());
    assert_eq!(passes::<Named>(&server, token().claim("org_name", "Acme")).await, met());
    assert_eq!(passes::<Named>(&server, token().claim("org_name", "other")).await, plain());
    assert_eq!(passes::<All>(&server, token().scope("pay").organization("org_1")).await, met());
    assert_eq!(passes::<All>(&server, token().scope("pay")).await, (403, insufficient_scope("pay")));
    assert_eq!(passes::<Any>(&server, token().scope("admin")).await, met());
    assert_eq!(passes::<Any>(&server, token()).await, (403, insufficient_scope("pay")));
}

#[tokio::test]
async fn unmet_requirement_matches_its_challenge() {
    let scope = |missing, scope| ("scope", missing, scope);
    let permission = |missing, scope| ("permission", missing, scope);
    let (read, write) = (|| Requirement::scope("read"), || Requirement::scope("write"));
    for (requirement, expected, challenge) in [
        (Requirement::permission("p"), permission("p", ""), "Bearer error=\"insufficient_scope\"".to_owned()),
        (Requirement::scope_or_permission("write"), scope("write", "write"), insufficient_scope("write")),
        (Requirement::all_of([read(), write()]), scope("write", "read write"), insufficient_scope("read write")),
        (
            Requirement::all_of([read(), Requirement::permission("p")]),
            permission("p", "read"),
            insufficient_scope("read"),
        ),
        (
            Requirement::any_of([write(), Requirement::permission("p")]),
            scope("write", "write"),
            insufficient_scope("write"),
        ),
        (
            Requirement::any_of([Requirement::permission("p"), write()]),
            scope("write", "write"),
            insufficient_scope("write"),
        ),
        (
            Requirement::all_of([Requirement::any_of([write(), read()]), Requirement::scope("pay")]),
            scope("pay", "read pay"),
            insufficient_scope("read pay"),
        ),
    ] {
        let claims = tower_bearer::testing::claims().claim("scope", "read").build();
        let now = tower_bearer::clock::Timestamp::from_secs(0);
        let unmet = requirement.check(&claims, now).expect_err("unmet");
        let found = match &unmet {
            UnmetRequirement::Scope { missing, scope, .. } => ("scope", &**missing, &**scope),
            UnmetRequirement::Permission { missing, scope, .. } => ("permission", &**missing, &**scope),
            other => panic!("{other:?}"),
        };
        assert_eq!(found, expected, "{requirement:?}");
        let response = TestResponse::from_response(BearerRejection::from(unmet).into_response()).await;
        assert_eq!((response.status, response.challenge()), (403, &*challenge), "{requirement:?}");
        let claims = tower_bearer::testing::claims().claim("scope", "read write pay").claim("permissions", ["p"]);
        assert_eq!(requirement.check(&claims.build(), now), Ok(()), "{requirement:?}");
    }
}
