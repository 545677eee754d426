//! The contents of log events and metrics, and what they must not contain.

use std::io;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use axum::Router;
use axum::body::Body;
use axum::routing::get;
use http::Request;
use http::request::Parts;
use tower::{Layer, ServiceExt};
use tower_bearer::Requirement;
use tower_bearer::extract::BearerRejection;
use tower_bearer::middleware::AsyncRequireLayer;
use tower_bearer::request::BearerToken;
use tower_bearer::requirement::RequirementError;
use tower_bearer::testing::{Outage, TestIssuer};
use tower_bearer::{Api, BearerLayer, Claims, Issuer, RequireLayer, Validator};
use tracing::subscriber::DefaultGuard;
use tracing_subscriber::fmt::format::FmtSpan;
use tracing_subscriber::util::SubscriberInitExt;

use crate::layer_fixture::{bearer_request, register_second_subscriber, request, send, subject_service, validator};

const AUDIENCE: &str = "https://api.test/";
const ISSUER: &str = "https://northwind.eu.auth0.com/";

/// Validates one good token, one for another audience, and one of an unknown issuer.
async fn validate_three() -> Vec<String> {
    let server = TestIssuer::auth0("northwind.eu.auth0.com");
    let api = Api::new(AUDIENCE, Issuer::auth0("northwind.eu.auth0.com"));
    let validator = Validator::builder(api).with_fetch(server.clone()).build().expect("a valid configuration");
    let other_issuer = TestIssuer::auth0("elsewhere.eu.auth0.com");
    let tokens = vec![
        server.token().subject("ann|secret-subject").sign(),
        server.token().audience("https://other.test/").sign(),
        other_issuer.token().sign(),
    ];
    for token in &tokens {
        let _result = validator.validate(token).await;
    }
    tokens
}

#[tokio::test]
async fn span_records_the_decision_and_nothing_of_the_token() {
    let log = Log::default();
    let _subscribed = log.clone().subscribed();
    let tokens = validate_three().await;
    let log = log.text();
    for expected in [
        format!(r#"validate{{path="waited" issuer="{ISSUER}" result="accepted" reason="none"}}"#),
        format!(r#"validate{{path="at_once" issuer="{ISSUER}" result="rejected" reason="audience"}}"#),
        r#"validate{path="at_once" issuer="none" result="rejected" reason="issuer"}"#.to_owned(),
        format!(r#"loaded the first keys issuer="{ISSUER}""#),
    ] {
        assert!(log.contains(&expected), "{expected} in\n{log}");
    }
    let parts = tokens.iter().flat_map(|token| token.split('.'));
    for secret in parts.chain(["secret-subject", "elsewhere.eu"]) {
        assert!(!log.contains(secret), "{secret} in\n{log}");
    }
}

#[tokio::test]
async fn rejection_event_has_its_kind_and_whether_the_signature_was_checked() {
    let log = Log::default();
    let _subscribed = log.clone().subscribed();
    let server = TestIssuer::new();
    let credential = BearerLayer::new(validator(&server)).with_anonymous();
    let require = RequireLayer::scope("admin");
    for request in [request(&[]), bearer_request(&server.token().sign()), bearer_request("opaque")] {
        send(credential.layer(require.layer(subject_service())), request).await;
    }
    let rejected: Vec<String> = log.lines("token rejected");
    let expected = [
        r#"kind="no_credential" signature_checked=false"#,
        r#"kind="insufficient_scope" lacks="the token lacks the scope admin" signature_checked=true"#,
        r#"kind="malformed_token" hint="opaque: the client requested no audience, the server issues no JWTs, or the JWT was cut off" signature_checked=false"#,
    ];
    assert_eq!(rejected.len(), expected.len(), "{rejected:?}");
    for (line, expected) in rejected.iter().zip(expected) {
        assert!(line.ends_with(expected), "{expected} in {line}");
    }
}

#[tokio::test]
async fn unmet_requirement_is_logged_with_its_hint() {
    let log = Log::default();
    let _subscribed = log.clone().subscribed();
    async fn in_code(claims: Claims) -> Result<(), BearerRejection> {
        Ok(claims.require(&Requirement::permission("read"))?)
    }
    let server = TestIssuer::new();
    let code = get(in_code);
    let layered = get(async || ()).route_layer(RequireLayer::scope("write"));
    let app = Router::new().route("/code", code).route("/layer", layered);
    let app = app.layer(BearerLayer::new(validator(&server)));
    let token = |scope, permission| server.token().scope(scope).permissions([permission]).sign();
    for (path, token) in [
        ("/layer", token("read", "write")),
        ("/code", token("read", "write")),
        ("/layer", token("read", "writes")),
        ("/code", token("reads", "write")),
    ] {
        let request = Request::get(path).header("authorization", format!("Bearer {token}")).body(Body::empty());
        let response = app.clone().oneshot(request.expect("a request")).await.expect("infallible");
        assert_eq!(response.status(), 403, "{path}");
    }
    let hinted = log.lines("hint=");
    let [layer, code] = &hinted[..] else { panic!("{hinted:?}") };
    assert!(layer.contains("require `scope_or_permission`") && layer.contains("lacks the scope write"), "{layer}");
    assert!(
        code.contains("the token has a scope of that name") && code.contains("lacks the permission read"),
        "{code}"
    );
}

#[tokio::test]
async fn keys_unavailable_event_has_the_fetch_error() {
    let log = Log::default();
    let _subscribed = log.clone().subscribed();
    let server = TestIssuer::new();
    server.set_outage(Outage::Status(http::StatusCode::INTERNAL_SERVER_ERROR));
    let api = Api::new("https://api.test/", Issuer::jwks(server.issuer(), server.jwks_uri()));
    let validator = Validator::builder(api).with_fetch(server.clone()).build().expect("a valid configuration");
    let response =
        send(BearerLayer::new(validator).layer(subject_service()), bearer_request(&server.token().sign())).await;
    assert_eq!(response.status(), 503);
    let rejected = log.lines("token rejected");
    let expected = r#"kind="keys_unavailable" cause="http_5xx" signature_checked=false"#;
    assert!(matches!(&rejected[..], [line] if line.ends_with(expected)), "{rejected:?}");
}

#[tokio::test]
async fn missing_layer_logs_an_error() {
    async fn handler(_: Claims) {}
    async fn optional(_: Option<Claims>) {}
    let log = Log::default();
    let _subscribed = log.clone().subscribed();
    async fn raw(_: BearerToken<'static>) {}
    async fn other(_: Claims<Northwind>) {}
    let server = TestIssuer::new();
    let layered = get(raw).layer(BearerLayer::new(validator(&server)));
    let typed = get(other).layer(BearerLayer::new(validator(&server)));
    let app = Router::new().route("/orders/{id}", get(handler)).route("/optional", get(optional));
    let app = app.route("/raw", get(raw)).route("/layered", layered).route("/typed", typed);
    let authorization = format!("Bearer {}", server.token().sign());
    let long = format!("/orders/{}", "a".repeat(9_000));
    for path in ["/orders/7?secret=1", "/optional", "/raw", "/layered", "/typed", &long] {
        let request = Request::get(path).header("authorization", &authorization).body(Body::empty());
        let response = app.clone().oneshot(request.expect("a request")).await.expect("infallible");
        assert_eq!(response.status(), 500, "{path}");
    }
    send(RequireLayer::scope("admin").layer(subject_service()), request(&[])).await;
    let rule = AsyncRequireLayer::new(async |_: &Claims, _: &Parts| Ok(()));
    send(rule.layer(subject_service()), request(&[])).await;
    let typed = AsyncRequireLayer::new(async |_: &Claims<Northwind>, _: &Parts| Ok(())).layer(subject_service());
    send(BearerLayer::new(validator(&server)).layer(typed), bearer_request(&server.token().sign())).await;
    let errors = log.lines("ERROR tower_bearer::server: request rejected: the server is misconfigured");
    let claims = "a handler extracts claims without a BearerLayer";
    let claims_type = "tower_bearer::claims::Claims";
    let token_type = std::any::type_name::<BearerToken<'static>>();
    let expected = [
        (claims, "GET /orders/7".to_owned(), claims_type),
        (claims, "GET /optional".to_owned(), claims_type),
        ("a handler extracts the token without a BearerLayer", "GET /raw".to_owned(), token_type),
        (
            "a handler extracts the token, but its BearerLayer is not configured with_raw_token",
            "GET /layered".to_owned(),
            token_type,
        ),
        (
            "a handler extracts claims of another type than its BearerLayer provides",
            "GET /typed".to_owned(),
            std::any::type_name::<Claims<Northwind>>(),
        ),
        (claims, format!("GET {}", &long[..200]), claims_type),
        ("a RequireLayer runs without a BearerLayer", "GET /".to_owned(), std::any::type_name::<RequireLayer>()),
        (
            "an AsyncRequireLayer runs without a BearerLayer",
            "GET /".to_owned(),
            std::any::type_name::<AsyncRequireLayer>(),
        ),
        (
            "an AsyncRequireLayer needs claims of another type than its BearerLayer provides",
            "GET /".to_owned(),
            std::any::type_name::<Claims<Northwind>>(),
        ),
    ];
    assert_eq!(errors.len(), expected.len(), "{errors:?}");
    for (line, (reason, route, type_name)) in errors.iter().zip(expected) {
        let expected = format!(r#"reason="{reason}" route="{route}" type_name="{type_name}"#);
        assert!(line.contains(&expected), "{expected} in {line}");
    }
}

#[tokio::test]
async fn metrics_count_decisions_by_issuer_and_reason() {
    let recorder = metrics_exporter_prometheus::PrometheusBuilder::new().build_recorder();
    let scrape = recorder.handle();
    let _recorded = metrics::set_default_local_recorder(&recorder);
    validate_three().await;
    let text = scrape.render();
    for expected in [
        format!(r#"jwt_validation_total{{issuer="{ISSUER}",result="accepted",reason="none"}} 1"#),
        format!(r#"jwt_validation_total{{issuer="{ISSUER}",result="rejected",reason="audience"}} 1"#),
        r#"jwt_validation_total{issuer="none",result="rejected",reason="issuer"} 1"#.to_owned(),
        r#"jwt_validation_seconds_count{path="waited"} 1"#.to_owned(),
        r#"jwt_validation_seconds_count{path="at_once"} 2"#.to_owned(),
        format!(r#"jwks_fetch_total{{issuer="{ISSUER}",cause="initial",outcome="changed"}} 1"#),
        // The validator was dropped, and its keys with it.
        format!(r#"jwks_state{{issuer="{ISSUER}"}} 5"#),
        format!(r#"jwks_keys{{issuer="{ISSUER}",state="usable"}} 0"#),
    ] {
        assert!(text.contains(&expected), "{expected} in\n{text}");
    }
}

/// A configuration is replaced while the program runs.
#[tokio::test]
async fn validator_with_shared_keys_keeps_the_gauges_after_a_replacement() {
    let recorder = metrics_exporter_prometheus::PrometheusBuilder::new().build_recorder();
    let scrape = recorder.handle();
    let _recorded = metrics::set_default_local_recorder(&recorder);
    let server = TestIssuer::new();
    let issuer = || Issuer::jwks(server.issuer(), server.jwks_uri());
    let old = Validator::builder(Api::new(AUDIENCE, issuer())).with_fetch(server.clone());
    let old = old.build().expect("a valid configuration");
    let new = Validator::builder(Api::new("https://other.test/", issuer())).with_keys_of(&old);
    let new = new.build().expect("a valid configuration");
    let token = server.token().audience("https://other.test/").sign();
    assert!(new.validate(&token).await.is_ok());
    drop(old);
    assert!(new.validate(&token).await.is_ok());
    let shows = |state: u8, usable: u8| {
        let (text, issuer) = (scrape.render(), server.issuer());
        text.contains(&format!(r#"jwks_state{{issuer="{issuer}"}} {state}"#))
            && text.contains(&format!(r#"jwks_keys{{issuer="{issuer}",state="usable"}} {usable}"#))
    };
    assert!(shows(1, 1), "{}", scrape.render());
    drop(new);
    assert!(shows(5, 0), "{}", scrape.render());
}

/// Rejections before the token is parsed count as well, whatever reads the host.
#[tokio::test]
async fn metrics_count_rejections_before_the_token_is_parsed() {
    let recorder = metrics_exporter_prometheus::PrometheusBuilder::new().build_recorder();
    let scrape = recorder.handle();
    let _recorded = metrics::set_default_local_recorder(&recorder);
    let log = Log::default();
    let _subscribed = log.clone().subscribed();
    let server = TestIssuer::new();
    let validator = validator(&server);
    let token = server.token().sign();
    assert!(validator.validate_for_host(&token, "api.test").await.is_ok());
    assert!(validator.validate_for_host(&token, "api.test/path").await.is_err());
    send(BearerLayer::new(validator).layer(subject_service()), request(&["Bearer a b"])).await;
    let counted = r#"jwt_validation_total{issuer="none",result="rejected",reason="invalid_request"} 2"#;
    assert!(scrape.render().contains(counted), "{counted} in\n{}", scrape.render());
    // Only the valid one: no other token was validated.
    let timed = r#"jwt_validation_seconds_count{path="at_once"} 1"#;
    shows_lines(&scrape, &[timed]);
    let host = r#"hint="the request's host is malformed, is present twice or contradicts the request target""#;
    let credential =
        r#"hint="the credential is not a single token: does it contain a second scheme, a comma, a quote or a space?""#;
    for hint in [host, credential] {
        let said = format!(r#"kind="invalid_request" {hint} signature"#);
        assert_eq!(log.lines(&said).len(), 1, "{said} in\n{}", log.text());
    }
}

/// A request through the layer looks a token up twice before it waits.
#[tokio::test]
async fn waiting_token_counts_as_one_cache_miss() {
    let recorder = metrics_exporter_prometheus::PrometheusBuilder::new().build_recorder();
    let scrape = recorder.handle();
    let _recorded = metrics::set_default_local_recorder(&recorder);
    let server = TestIssuer::new();
    let api = Api::new(AUDIENCE, Issuer::jwks(server.issuer(), server.jwks_uri()));
    let cold = Validator::builder(api).with_fetch(server.clone()).build().expect("a valid configuration");
    let layer = BearerLayer::new(cold);
    let says = |expected: &str| shows_lines(&scrape, &[expected]);
    let authorization = format!("Bearer {}", server.token().sign());
    for (outcome, times) in [("miss", 1), ("hit", 1), ("hit", 2)] {
        let response = send(layer.layer(subject_service()), request(&[&authorization])).await;
        assert_eq!(response.status(), 200);
        says(&format!(r#"jwt_token_cache_total{{outcome="{outcome}"}} {times}"#));
    }
    says(r#"jwt_token_cache_total{outcome="miss"} 1"#);
    let strange = format!("Bearer {}", server.token().kid("strange").sign());
    assert_eq!(send(layer.layer(subject_service()), request(&[&strange])).await.status(), 401);
    says(r#"jwt_token_cache_total{outcome="miss"} 2"#);
    says(r#"jwt_validation_seconds_count{path="waited"} 2"#);
}

/// Unmet requirements count in layers, handlers and extractors.
#[tokio::test]
async fn metrics_count_unmet_requirements_of_layers_and_handlers() {
    let recorder = metrics_exporter_prometheus::PrometheusBuilder::new().build_recorder();
    let scrape = recorder.handle();
    let _recorded = metrics::set_default_local_recorder(&recorder);
    async fn in_code(claims: Claims) -> Result<(), RequirementError> {
        claims.require(&Requirement::permission("refund"))
    }
    async fn rule(claims: &Claims, request: &Parts) -> Result<(), RequirementError> {
        match request.uri.path() {
            "/rule" => Err(RequirementError::forbidden(claims, "owner")),
            _ => Err(RequirementError::unavailable(claims, Duration::ZERO)),
        }
    }
    let log = Log::default();
    let _subscribed = log.clone().subscribed();
    let server = TestIssuer::new();
    let layer = BearerLayer::new(validator(&server)).with_anonymous();
    let code = get(in_code);
    let ruled = code.clone().layer(AsyncRequireLayer::new(rule));
    let app = Router::new().route("/code", code.clone()).route("/layer", code.layer(RequireLayer::permission("x")));
    let app = app.route("/rule", ruled.clone()).route("/outage", ruled).layer(layer);
    let authorization = format!("Bearer {}", server.token().sign());
    for (path, status) in [("/code", 403), ("/layer", 403), ("/rule", 403), ("/outage", 503)] {
        let request = Request::get(path).header("authorization", &authorization).body(Body::empty());
        let response = app.clone().oneshot(request.expect("a request")).await.expect("infallible");
        assert_eq!(response.status(), status, "{path}");
    }
    let anonymous = Request::get("/code").body(Body::empty()).expect("a request");
    assert_eq!(app.oneshot(anonymous).await.expect("infallible").status(), 401);
    for expected in [
        r#"jwt_requirement_unmet_total{reason="insufficient_scope"} 3"#,
        r#"jwt_requirement_unmet_total{reason="requirement_unavailable"} 1"#,
        r#"jwt_requirement_unmet_total{reason="no_credential"} 1"#,
    ] {
        assert!(scrape.render().contains(expected), "{expected} in\n{}", scrape.render());
    }
    let of_rules = [
        r#"kind="insufficient_scope" lacks="the token does not meet the requirement owner" signature_checked=true"#,
        r#"kind="requirement_unavailable" signature_checked=true"#,
    ];
    for expected in of_rules {
        let lines = log.lines(expected);
        assert!(
            matches!(&lines[..], [line] if line.contains("DEBUG tower_bearer::validation: token rejected")),
            "{lines:?}"
        );
    }
}

#[tokio::test]
async fn metrics_show_hit_rate_and_size_of_the_token_cache() {
    let recorder = metrics_exporter_prometheus::PrometheusBuilder::new().build_recorder();
    let scrape = recorder.handle();
    let _recorded = metrics::set_default_local_recorder(&recorder);
    let server = TestIssuer::new();
    let issuer = Issuer::jwks(server.issuer(), server.jwks_uri());
    let builder = || Validator::builder(Api::new(AUDIENCE, issuer.clone())).with_fetch(server.clone());
    let says = |expected: &[&str]| shows_lines(&scrape, expected);
    let token = server.token().sign();
    let uncached = builder().without_token_cache().build().expect("a valid configuration");
    assert!(uncached.validate(&token).await.is_ok());
    assert!(!scrape.render().contains("jwt_token_cache"), "no cache metrics without a token cache");

    let validator = builder().build().expect("a valid configuration");
    let claims = validator.validate(&token).await.expect("a valid token");
    for _ in 0..2 {
        assert!(validator.validate(&token).await.is_ok());
    }
    let expired = server.token().expired().sign();
    assert!(validator.validate(&expired).await.is_err());
    let accepted = format!(r#"jwt_validation_total{{issuer="{}",result="accepted",reason="none"}} 4"#, server.issuer());
    says(&[
        r#"jwt_token_cache_total{outcome="miss"} 1"#,
        r#"jwt_token_cache_total{outcome="hit"} 2"#,
        "jwt_token_cache_entries 1",
        // A hit counts for its issuer like any other decision.
        &accepted,
    ]);
    let text = scrape.render();
    let bytes = text.lines().find_map(|line| line.strip_prefix("jwt_token_cache_bytes ")).expect("a size");
    let bytes: usize = bytes.parse().expect("a number");
    assert!((claims.json().len()..2_000).contains(&bytes), "{bytes}");

    let (_, keys) = validator.key_sources().next().expect("one issuer");
    keys.revoke_kid(&server.kid());
    assert!(validator.validate(&token).await.is_err());
    says(&[
        r#"jwt_token_cache_total{outcome="miss"} 2"#,
        r#"jwt_token_cache_total{outcome="hit"} 2"#,
        r#"jwt_token_cache_total{outcome="stale_epoch"} 1"#,
    ]);
}

pub(crate) fn shows_lines(scrape: &metrics_exporter_prometheus::PrometheusHandle, expected: &[&str]) {
    let text = scrape.render();
    for expected in expected {
        assert!(text.lines().any(|line| line == *expected), "{expected} in\n{text}");
    }
}

#[derive(serde::Deserialize)]
struct Northwind {
    #[serde(rename = "department")]
    _department: u8,
}

#[tokio::test]
async fn log_names_the_claim_of_the_wrong_type_without_its_value() {
    let log = Log::default();
    let _subscribed = log.clone().subscribed();
    let server = TestIssuer::new();
    let typed = validator(&server).with_custom_claims::<Northwind>();
    assert!(typed.validate(&server.token().claim("department", "secret-department").sign()).await.is_err());
    assert!(typed.validate(&server.token().claim("department", 7).sign()).await.is_ok());
    let lines = log.lines("token rejected");
    assert_eq!(lines.len(), 1, "{lines:?}");
    let expected = r#"mismatch="claim \"department\": invalid type: string, expected u8""#;
    assert!(lines[0].contains(expected) && lines[0].contains(r#"kind="custom_claims""#), "{lines:?}");
    assert!(!log.text().contains("secret-department"));
}

/// ADFS writes `auth_time` as a string.
#[tokio::test]
async fn unused_claim_of_another_type_is_logged_once() {
    let log = Log::default();
    let _subscribed = log.clone().subscribed();
    let server = TestIssuer::new();
    let ours = validator(&server);
    let token = server.token().claim("auth_time", "2026-11-29T10:00:00Z").claim("org_id", 771_177).sign();
    for _ in 0..2 {
        let claims = ours.validate(&token).await.expect("a valid token");
        assert_eq!((claims.auth_time(), claims.organization()), (None, None));
    }
    assert!(ours.validate(&server.token().claim("auth_time", 1).sign()).await.is_ok());
    let lines = log.lines("claim of another type ignored");
    assert_eq!(lines.len(), 2, "{lines:?}");
    for (line, claim) in lines.iter().zip(["auth_time", "org_id"]) {
        assert!(line.contains(&format!("claim=\"{claim}\"")) && line.contains("DEBUG"), "{line}");
    }
    assert!(!log.text().contains("2026-11-29T10:00:00Z") && !log.text().contains("771177"));
}

/// Also if the token is not stored.
#[tokio::test]
async fn unused_claim_of_another_type_is_logged_without_a_token_cache() {
    let log = Log::default();
    let _subscribed = log.clone().subscribed();
    let server = TestIssuer::new();
    let api = Api::new(AUDIENCE, Issuer::jwks(server.issuer(), server.jwks_uri()));
    let ours = Validator::builder(api).with_fetch(server.clone()).without_token_cache().build().expect("valid");
    let token = server.token().claim("org_id", 771_177).sign();
    for count in 1..3 {
        assert!(ours.validate(&token).await.is_ok());
        assert_eq!(log.lines("claim of another type ignored").len(), count);
    }
}

/// A log in memory.
#[derive(Clone, Default)]
pub(crate) struct Log(Arc<Mutex<Vec<u8>>>);

impl Log {
    /// Captures the log of this thread until the guard is dropped.
    pub(crate) fn subscribed(self) -> DefaultGuard {
        register_second_subscriber();
        tracing_subscriber::fmt()
            .with_max_level(tracing_subscriber::filter::LevelFilter::TRACE)
            .with_span_events(FmtSpan::CLOSE)
            .with_ansi(false)
            .with_writer(move || self.clone())
            .set_default()
    }

    /// Returns the lines that contain a text.
    pub(crate) fn lines(&self, text: &str) -> Vec<String> {
        self.text().lines().filter(|line| line.contains(text)).map(str::to_owned).collect()
    }

    pub(crate) fn text(&self) -> String {
        String::from_utf8_lossy(&self.0.lock().unwrap_or_else(PoisonError::into_inner)).into_owned()
    }
}

impl io::Write for Log {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).extend_from_slice(bytes);
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}
