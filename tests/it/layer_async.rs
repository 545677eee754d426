//! `AsyncRequireLayer`: asynchronous rules of the application.

use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use axum::Router;
use axum::routing::get;
use http::request::Parts;
use http::{HeaderValue, Method, Request, Response, StatusCode, Version};
use serde::Deserialize;
use tokio::sync::oneshot;
use tokio::time::timeout;
use tower::limit::ConcurrencyLimit;
use tower::util::MapRequestLayer;
use tower::{Layer, Service, ServiceExt, service_fn};
use tower_bearer::middleware::{AsyncRequireLayer, AsyncRequirement};
use tower_bearer::requirement::{RequirementError, UnmetRequirement};
use tower_bearer::response::ErrorResponse;
use tower_bearer::testing::TestIssuer;
use tower_bearer::{BearerLayer, Claims, Rejection, RequireLayer, Requirement};

use crate::dpop_fixture::{World, challenges};
use crate::fixture::block_on;
use crate::layer_fixture::{TestBody, bearer_request, request, send, subject_service, text, validator};
use crate::layer_readiness::RequiresReady;

/// Allows only the subject `ann`.
async fn is_ann(claims: &Claims, _: &Parts) -> Result<(), RequirementError> {
    tokio::task::yield_now().await;
    match claims.subject() {
        Some("ann") => Ok(()),
        _ => Err(RequirementError::forbidden(claims, "ann")),
    }
}

async fn is_down(claims: &Claims, _: &Parts) -> Result<(), RequirementError> {
    Err(RequirementError::unavailable(claims, Duration::from_millis(4_001)))
}

/// A rule with state: the subjects that it allows, and the number of its evaluations.
#[derive(Clone, Debug)]
struct Listed {
    subjects: Arc<[&'static str]>,
    evaluated: Arc<AtomicUsize>,
}

impl Listed {
    fn new<const N: usize>(subjects: [&'static str; N]) -> Self {
        Self { subjects: Arc::new(subjects), evaluated: Arc::default() }
    }
}

impl AsyncRequirement for Listed {
    async fn check(&self, claims: &Claims, _: &Parts) -> Result<(), RequirementError> {
        self.evaluated.fetch_add(1, Ordering::Relaxed);
        tokio::task::yield_now().await;
        let is_listed = claims.subject().is_some_and(|subject| self.subjects.contains(&subject));
        if is_listed { Ok(()) } else { Err(RequirementError::forbidden(claims, "listed")) }
    }
}

fn challenge(response: &Response<TestBody>) -> Option<&str> {
    response.headers().get("www-authenticate").map(|value| value.to_str().expect("visible ASCII"))
}

#[tokio::test]
async fn accepts_what_the_rule_allows_and_answers_403_otherwise() {
    let server = TestIssuer::new();
    let bearer = BearerLayer::new(validator(&server)).with_realm("north");
    let listed = Listed::new(["ann"]);
    let shared = listed.clone();
    for require in [
        AsyncRequireLayer::new(is_ann),
        AsyncRequireLayer::new(listed),
        AsyncRequireLayer::new(async |claims: &Claims, request: &Parts| is_ann(claims, request).await),
        AsyncRequireLayer::new(move |claims: &Claims, _: &Parts| {
            let (rule, claims) = (shared.clone(), claims.clone());
            async move {
                let is_listed = claims.subject().is_some_and(|subject| rule.subjects.contains(&subject));
                if is_listed { Ok(()) } else { Err(RequirementError::forbidden(&claims, "ann")) }
            }
        }),
    ] {
        let stack = bearer.layer(require.layer(subject_service()));
        let accepted = send(stack.clone(), bearer_request(&server.token().subject("ann").sign())).await;
        assert_eq!((accepted.status(), text(accepted).await.as_str()), (StatusCode::OK, "ann"));
        let response = send(stack, bearer_request(&server.token().subject("bob").sign())).await;
        assert_eq!(response.status(), StatusCode::FORBIDDEN);
        assert_eq!(challenge(&response), Some(r#"Bearer realm="north", error="insufficient_scope""#));
        assert_eq!(response.headers()["cache-control"], "no-store");
        let Some(Rejection::Requirement(UnmetRequirement::Predicate { name, .. })) = response.extensions().get() else {
            panic!("{:?}", response.extensions().get::<Rejection>())
        };
        assert!(["ann", "listed"].contains(&&**name), "{name}");
        assert_eq!(text(response).await, "");
    }
}

#[tokio::test]
async fn the_challenge_names_the_scopes_of_the_outer_layers_and_of_the_rule() {
    let server = TestIssuer::new();
    let bearer = BearerLayer::new(validator(&server));
    let large = AsyncRequireLayer::new(async |claims: &Claims, _: &Parts| {
        claims.require(&Requirement::scope("refund:large"))?;
        claims.require(&Requirement::acr_values(["gold"]))
    });
    let stack = bearer.layer(RequireLayer::scope("refund").layer(large.layer(subject_service())));
    let token = |scope: &str| server.token().scope(scope);
    for (token, status, expected) in [
        (token("read"), 403, r#"Bearer error="insufficient_scope", scope="refund""#),
        (token("refund"), 403, r#"Bearer error="insufficient_scope", scope="refund refund:large""#),
        (token("refund refund:large"), 401, r#"Bearer error="insufficient_user_authentication", acr_values="gold""#),
    ] {
        let response = send(stack.clone(), bearer_request(&token.sign())).await;
        assert_eq!((response.status().as_u16(), challenge(&response)), (status, Some(expected)));
    }
    let accepted = send(stack, bearer_request(&token("refund refund:large").claim("acr", "gold").sign())).await;
    assert_eq!(accepted.status(), StatusCode::OK);
}

#[tokio::test]
async fn a_rule_that_cannot_be_evaluated_is_503_with_retry_after() {
    let server = TestIssuer::new();
    let bearer = BearerLayer::new(validator(&server));
    let token = server.token().subject("ann").sign();
    let stack = bearer.layer(AsyncRequireLayer::new(is_down).with_json_body().layer(subject_service()));
    let response = send(stack.clone(), bearer_request(&token)).await;
    assert_eq!(response.status(), StatusCode::SERVICE_UNAVAILABLE);
    assert_eq!(response.headers()["retry-after"], "5");
    assert_eq!(challenge(&response), None);
    let rejection = response.extensions().get();
    let Some(Rejection::RequirementUnavailable { retry_after, .. }) = rejection else { panic!("{rejection:?}") };
    assert_eq!(*retry_after, Duration::from_millis(4_001));
    let description = r#""error_description":"the access token cannot be checked at the moment""#;
    assert_eq!(text(response).await, format!(r#"{{"error":"temporarily_unavailable",{description}}}"#));

    let mut call = bearer_request(&token);
    (*call.method_mut(), *call.version_mut()) = (Method::POST, Version::HTTP_2);
    call.headers_mut().insert("content-type", HeaderValue::from_static("application/grpc"));
    let response = send(stack, call).await;
    assert_eq!(response.status(), StatusCode::OK);
    assert_eq!(response.headers()["grpc-status"], "14");
}

#[tokio::test]
async fn a_response_hook_replaces_the_body_and_adds_headers() {
    let server = TestIssuer::new();
    let bearer = BearerLayer::new(validator(&server));
    let hooked = |require: AsyncRequireLayer| {
        let require = require.with_response_hook(|error: &ErrorResponse<'_>| {
            let kind = error.rejection().map(Rejection::kind);
            let response = Response::builder().status(200).header("x-hook", "yes").header("www-authenticate", "Basic");
            let response = response.header("retry-after", "9").header("cache-control", "private");
            response.body(TestBody::from(format!("{} {kind:?}", error.status()))).expect("a response")
        });
        bearer.layer(require.layer(subject_service()))
    };
    let token = server.token().subject("bob").sign();
    for (require, status, body, headers) in [
        (
            AsyncRequireLayer::new(is_ann),
            403,
            "403 Forbidden Some(InsufficientScope)",
            [Some(r#"Bearer error="insufficient_scope""#), Some("9"), Some("no-store")],
        ),
        (
            AsyncRequireLayer::new(is_down),
            503,
            "503 Service Unavailable Some(RequirementUnavailable)",
            [None, Some("5"), Some("private")],
        ),
    ] {
        let response = send(hooked(require), bearer_request(&token)).await;
        let field = |name: &str| response.headers().get(name).map(|value| value.to_str().expect("ASCII"));
        assert_eq!((response.status().as_u16(), field("x-hook")), (status, Some("yes")));
        assert_eq!(["www-authenticate", "retry-after", "cache-control"].map(field), headers, "{status}");
        assert_eq!(text(response).await, body);
    }
    let accepted =
        send(hooked(AsyncRequireLayer::new(is_ann)), bearer_request(&server.token().subject("ann").sign())).await;
    assert!(!accepted.headers().contains_key("x-hook"));
    assert_eq!(text(accepted).await, "ann");
}

#[tokio::test]
async fn a_missing_layer_is_500_with_the_route_and_the_type() {
    let server = TestIssuer::new();
    let require = AsyncRequireLayer::new(is_ann).with_json_body();
    let response = send(require.layer(subject_service()), bearer_request(&server.token().sign())).await;
    let layer = std::any::type_name_of_val(&require);
    assert_misconfigured(response, &format!("an AsyncRequireLayer runs without a BearerLayer: GET /, {layer}")).await;
    let typed = AsyncRequireLayer::new(async |_: &Claims<Tenant>, _: &Parts| Ok(())).with_json_body();
    let stack = BearerLayer::new(validator(&server)).layer(typed.layer(subject_service()));
    let response = send(stack, bearer_request(&server.token().sign())).await;
    let reason = "an AsyncRequireLayer needs claims of another type than its BearerLayer provides";
    let claims = std::any::type_name::<Claims<Tenant>>();
    assert_misconfigured(response, &format!("{reason}: GET /, {claims}")).await;
}

async fn assert_misconfigured(response: Response<TestBody>, diagnosis: &str) {
    assert_eq!((response.status(), challenge(&response)), (StatusCode::INTERNAL_SERVER_ERROR, None));
    assert!(response.extensions().get::<Rejection>().is_none());
    let description = if cfg!(debug_assertions) { diagnosis } else { "the request cannot be handled" };
    assert_eq!(text(response).await, format!(r#"{{"error":"server_error","error_description":"{description}"}}"#));
}

#[tokio::test]
async fn a_request_without_a_valid_token_never_reaches_the_rule() {
    let server = TestIssuer::new();
    let rule = Listed::new(["ann"]);
    let anonymous = BearerLayer::new(validator(&server)).with_anonymous();
    let require = AsyncRequireLayer::new(rule.clone());
    let stack = anonymous.layer(RequireLayer::permission("p").layer(require.layer(subject_service())));
    let expired = server.token().expired().sign();
    for request in [request(&[]), bearer_request(&expired), bearer_request(&server.token().subject("ann").sign())] {
        assert!(send(stack.clone(), request).await.status().is_client_error());
    }
    let response = send(anonymous.layer(require.layer(subject_service())), request(&[])).await;
    assert_eq!((response.status(), challenge(&response)), (StatusCode::UNAUTHORIZED, Some("Bearer")));
    let response = send(require.layer(subject_service()), bearer_request(&server.token().sign())).await;
    assert_eq!(response.status(), StatusCode::INTERNAL_SERVER_ERROR);
    assert_eq!(rule.evaluated.load(Ordering::Relaxed), 0);
    let accepted = bearer_request(&server.token().subject("ann").sign());
    assert_eq!(send(anonymous.layer(require.layer(subject_service())), accepted).await.status(), StatusCode::OK);
    assert_eq!(rule.evaluated.load(Ordering::Relaxed), 1);
}

#[derive(Debug, Deserialize)]
struct Tenant {
    tenant: String,
}

#[tokio::test]
async fn the_rule_reads_custom_claims_and_only_those_of_the_innermost_layer() {
    async fn is_north(claims: &Claims<Tenant>, _: &Parts) -> Result<(), RequirementError> {
        let is_north = claims.custom().tenant == "north";
        if is_north { Ok(()) } else { Err(RequirementError::forbidden(claims, "tenant north")) }
    }
    let server = TestIssuer::new();
    let plain = BearerLayer::new(validator(&server));
    let tenants = BearerLayer::new(validator(&server).with_custom_claims::<Tenant>());
    let rule = AsyncRequireLayer::new(is_north).layer(subject_service());
    let token = |tenant: &str| server.token().claim("tenant", tenant).sign();
    for (tenant, status) in [("north", 200), ("south", 403)] {
        assert_eq!(send(tenants.layer(rule.clone()), bearer_request(&token(tenant))).await.status(), status);
    }
    let without = send(plain.layer(rule.clone()), bearer_request(&token("north"))).await;
    assert_eq!(without.status(), StatusCode::INTERNAL_SERVER_ERROR);
    // A middleware between the layers replaces the credential.
    let south = token("south");
    let swap = MapRequestLayer::new(move |mut request: Request<TestBody>| {
        let value = format!("Bearer {south}").parse().expect("a field value");
        request.headers_mut().insert("authorization", value);
        request
    });
    let response = send(tenants.layer(swap.layer(plain.layer(rule))), bearer_request(&token("north"))).await;
    assert_eq!(response.status(), StatusCode::INTERNAL_SERVER_ERROR);
}

#[tokio::test]
async fn the_handler_receives_the_request_that_the_rule_has_seen() {
    let server = TestIssuer::new();
    let seen = Arc::new(Mutex::new(String::new()));
    let sink = Arc::clone(&seen);
    let require = AsyncRequireLayer::new(move |claims: &Claims, request: &Parts| {
        let text = format!("{} {} {:?}", request.method, request.uri, request.extensions.get::<u8>());
        *sink.lock().unwrap_or_else(PoisonError::into_inner) = text;
        let claims = claims.clone();
        async move { is_ann(&claims, &Request::new(()).into_parts().0).await }
    });
    let handler = service_fn(|request: Request<TestBody>| async move {
        let (parts, body) = request.into_parts();
        let is_authenticated = parts.extensions.get::<Claims>().is_some();
        let text = format!("{} {} {:?} {is_authenticated}", parts.method, parts.uri, parts.extensions.get::<u8>());
        let version = parts.headers["x-test"].clone();
        Ok::<_, std::convert::Infallible>(
            Response::builder().header("seen", text).header("x-test", version).body(body).expect("a response"),
        )
    });
    let token = server.token().subject("ann").sign();
    let request = Request::put("/orders?id=7").header("authorization", format!("Bearer {token}")).header("x-test", "1");
    let mut request = request.body(TestBody::from("the body")).expect("a request");
    request.extensions_mut().insert(8_u8);
    let response = send(BearerLayer::new(validator(&server)).layer(require.layer(handler)), request).await;
    assert_eq!(*seen.lock().unwrap_or_else(PoisonError::into_inner), "PUT /orders?id=7 Some(8)");
    assert_eq!(response.headers()["seen"], "PUT /orders?id=7 Some(8) true");
    assert_eq!(response.headers()["x-test"], "1");
    assert_eq!(text(response).await, "the body");
}

/// A rule that ends when it is dropped.
struct Endless(Mutex<Option<oneshot::Sender<()>>>);

impl AsyncRequirement for Endless {
    async fn check(&self, _: &Claims, _: &Parts) -> Result<(), RequirementError> {
        let _sender = self.0.lock().unwrap_or_else(PoisonError::into_inner).take();
        std::future::pending().await
    }
}

#[tokio::test]
async fn the_rule_is_dropped_with_the_request() {
    let server = TestIssuer::new();
    let (sender, receiver) = oneshot::channel();
    let require = AsyncRequireLayer::new(Endless(Mutex::new(Some(sender))));
    let stack = BearerLayer::new(validator(&server)).layer(require.layer(subject_service()));
    let waiting = stack.oneshot(bearer_request(&server.token().sign()));
    assert!(timeout(Duration::ZERO, waiting).await.is_err());
    assert!(receiver.await.is_err(), "the sender is dropped");
}

#[tokio::test]
async fn calls_the_service_that_was_polled_ready_and_frees_its_permit() {
    let server = TestIssuer::new();
    let token = |subject: &str| bearer_request(&server.token().subject(subject).sign());
    let bearer = BearerLayer::new(validator(&server));
    let mut stack = bearer.layer(AsyncRequireLayer::new(is_ann).layer(RequiresReady::default()));
    for (subject, status) in [("ann", 200), ("bob", 403), ("ann", 200)] {
        let response = stack.ready().await.expect("infallible").call(token(subject)).await.expect("infallible");
        assert_eq!(response.status(), status);
    }
    let limited = ConcurrencyLimit::new(subject_service(), 1);
    let mut rejecting = bearer.layer(AsyncRequireLayer::new(is_ann).layer(limited.clone()));
    for request in [token("bob"), request(&[])] {
        let response = rejecting.ready().await.expect("infallible").call(request).await.expect("infallible");
        assert!(response.status().is_client_error());
        let mut other = limited.clone();
        assert!(timeout(Duration::ZERO, other.ready()).await.is_ok(), "the permit is free");
    }
}

#[test]
fn answers_in_the_scheme_of_the_request() {
    let world = World::new(|api| api);
    let rule = AsyncRequireLayer::new(is_ann);
    let service =
        service_fn(|_: Request<String>| async { Ok::<_, std::convert::Infallible>(Response::new(String::new())) });
    let bound = world.token().subject("bob").sign();
    let plain = world.server.token().subject("bob").sign();
    let bearer = Request::get("/me").header("authorization", format!("Bearer {plain}")).body(String::new());
    for (request, first) in [(world.request(&bound), "DPoP"), (bearer.expect("a request"), "Bearer")] {
        let response = block_on(world.layer.layer(rule.layer(service)).oneshot(request)).expect("infallible");
        let challenges = challenges(response.headers());
        assert_eq!((response.status(), challenges[0].scheme.as_str()), (StatusCode::FORBIDDEN, first));
        assert_eq!(challenges[0].parameter("error"), Some("insufficient_scope"));
    }
    let accepted = world.request(&world.token().subject("ann").sign());
    let response = block_on(world.layer.layer(rule.layer(service)).oneshot(accepted)).expect("infallible");
    assert_eq!(response.status(), StatusCode::OK);
}

#[tokio::test]
async fn protects_one_route_of_an_axum_router() {
    let server = TestIssuer::new();
    let app = Router::new()
        .route("/ann", get(async || "for ann").route_layer(AsyncRequireLayer::new(is_ann)))
        .route("/all", get(async || "for all"))
        .layer(BearerLayer::new(validator(&server)));
    for (path, subject, status) in [("/ann", "ann", 200), ("/ann", "bob", 403), ("/all", "bob", 200)] {
        let token = server.token().subject(subject).sign();
        let request =
            Request::get(path).header("authorization", format!("Bearer {token}")).body(axum::body::Body::empty());
        let response = app.clone().oneshot(request.expect("a request")).await.expect("infallible");
        assert_eq!(response.status(), status, "{path} {subject}");
    }
}
