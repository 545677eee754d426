//! The routes of `examples/server` that change the list of revocations: `[signals]` and `test_routes`.

use std::time::{Duration, SystemTime, UNIX_EPOCH};

use axum::Router;
use axum::body::{Body, to_bytes};
use http::{Method, Request, StatusCode};
use serde_json::{Value, json};
use tower::ServiceExt as _;
use tower_bearer::Algorithm;
use tower_bearer::revocation::Revocations;
use tower_bearer::testing::{TestIssuer, TokenBuilder};

use crate::doctor::program::settings::{self, Settings, Store};

#[path = "../../examples/server/app.rs"]
pub(crate) mod app;
#[path = "../../examples/server/revoke.rs"]
mod revoke;

const ISSUER: &str = "https://hs.test/";
const FORM: &str = "application/x-www-form-urlencoded";
const REVOKE: &str = "/__revoke";

/// The router of a configuration, its list and its issuer.
struct Fixture {
    server: TestIssuer,
    list: Revocations,
    app: Router,
}

impl Fixture {
    /// Adds tables to a valid file. The first lines are the settings before all tables.
    fn new(first: &str, tables: &str) -> Self {
        let server = TestIssuer::named(ISSUER).with_algorithms([Algorithm::HS256]);
        let file = format!(
            "listen = \"127.0.0.1:0\"\n{first}\n[api]\naudience = \"https://api.test/\"\n[[api.issuer]]\n\
             domains = [\"{ISSUER}\"]\nalgorithms = [\"HS256\"]\nsecrets = [{{ text = \"{}\" }}]\n\
             [revocation]\n{tables}\n",
            server.secret()
        );
        let settings = Settings::parse(&file, "server.toml", Store::Used).map_err(|errors| errors.to_string());
        let settings = settings.expect("no errors");
        let list = settings.revocations.clone().expect("a list");
        Self { server, list, app: app::routes(settings) }
    }

    /// Returns a token of Ann that was issued a minute ago.
    fn token(&self) -> TokenBuilder {
        let token = self.server.token().subject("ann").claim("jti", "j1").claim("sid", "s1").claim("azp", "web");
        token.claim("iat", now() - 60)
    }

    /// Returns a token of Bob that differs in all names.
    fn other(&self) -> TokenBuilder {
        self.token().subject("bob").claim("jti", "j2").claim("sid", "s2").claim("azp", "app")
    }

    async fn status(&self, token: TokenBuilder) -> StatusCode {
        let request = Request::get("/me").header("authorization", format!("Bearer {}", token.sign()));
        self.send(request.body(Body::empty()).expect("a request")).await.0
    }

    async fn logout(&self, path: &str, token: TokenBuilder) -> (StatusCode, Value) {
        let request = Request::post(path).header("content-type", FORM);
        let (status, body) =
            self.send(request.body(format!("logout_token={}", token.sign()).into()).expect("a request")).await;
        (status, serde_json::from_slice(&body).unwrap_or_default())
    }

    async fn revoke(&self, body: impl ToString) -> StatusCode {
        self.send(Request::post(REVOKE).body(body.to_string().into()).expect("a request")).await.0
    }

    async fn send(&self, request: Request<Body>) -> (StatusCode, Vec<u8>) {
        let response = self.app.clone().oneshot(request).await.expect("infallible");
        let status = response.status();
        (status, to_bytes(response.into_body(), 1 << 16).await.expect("a body").to_vec())
    }
}

fn now() -> u64 {
    SystemTime::now().duration_since(UNIX_EPOCH).map_or(0, |since: Duration| since.as_secs())
}

#[tokio::test]
async fn logout_token_revokes_the_tokens_of_the_user() {
    let fixture = Fixture::new("", "[signals]\nclient_ids = [\"web\"]");
    let path = "/backchannel-logout";
    let (server, invalid) = (&fixture.server, json!({ "error": "invalid_request" }));
    for (logout, reason) in [
        (server.logout_token("app"), "another application"),
        (server.logout_token("web").with_broken_signature(), "a broken signature"),
        (server.token(), "an access token"),
    ] {
        assert_eq!(
            fixture.logout(path, logout.subject("ann")).await,
            (StatusCode::BAD_REQUEST, invalid.clone()),
            "{reason}"
        );
    }
    assert_eq!(fixture.list.status().total_entries(), 0);
    assert_eq!(fixture.status(fixture.token()).await, StatusCode::OK);
    let (status, _) = fixture.logout(path, server.logout_token("web").subject("ann")).await;
    assert_eq!(status, StatusCode::OK);
    assert_eq!(fixture.status(fixture.token()).await, StatusCode::UNAUTHORIZED);
    assert_eq!(fixture.status(fixture.other()).await, StatusCode::OK);
}

#[tokio::test]
async fn logout_token_revokes_a_session_at_the_path_of_the_settings() {
    let signals = "[signals]\nclient_ids = [\"web\"]\nlogout_path = \"/logout\"\nlogout_reach = \"session\"";
    let fixture = Fixture::new("", signals);
    let logout = || fixture.server.logout_token("web").subject("ann").claim("sid", "s1");
    assert_eq!(fixture.logout("/backchannel-logout", logout()).await.0, StatusCode::NOT_FOUND);
    assert_eq!(fixture.status(fixture.token()).await, StatusCode::OK);
    assert_eq!(fixture.logout("/logout", logout()).await.0, StatusCode::OK);
    assert_eq!(fixture.status(fixture.token()).await, StatusCode::UNAUTHORIZED);
    assert_eq!(fixture.status(fixture.token().claim("sid", "s2")).await, StatusCode::OK, "another session of Ann");
}

#[tokio::test]
async fn revoke_accepts_each_kind_of_entry() {
    for (kind, value) in
        [("jti", Some("j1")), ("sid", Some("s1")), ("sub", Some("ann")), ("client", Some("web")), ("issuer", None)]
    {
        let fixture = Fixture::new("test_routes = true", "");
        assert_eq!(fixture.status(fixture.token()).await, StatusCode::OK);
        let body = json!({ "issuer": ISSUER, "kind": kind, "value": value, "until": now() + 3600 });
        assert_eq!(fixture.revoke(body).await, StatusCode::NO_CONTENT, "{kind}");
        assert_eq!(fixture.status(fixture.token()).await, StatusCode::UNAUTHORIZED, "{kind}");
        let expected = if kind == "issuer" { StatusCode::UNAUTHORIZED } else { StatusCode::OK };
        assert_eq!(fixture.status(fixture.other()).await, expected, "{kind}");
    }
}

#[tokio::test]
async fn revoke_rejects_tokens_that_were_issued_up_to_before() {
    for (kind, value) in [("sub", Some("ann")), ("client", Some("web")), ("issuer", None)] {
        let fixture = Fixture::new("test_routes = true", "");
        let before = now() - 30;
        let body = json!({ "issuer": ISSUER, "kind": kind, "value": value, "before": before });
        assert_eq!(fixture.revoke(body).await, StatusCode::NO_CONTENT, "{kind}");
        for (iat, expected) in [(before, StatusCode::UNAUTHORIZED), (before + 1, StatusCode::OK)] {
            assert_eq!(fixture.status(fixture.token().claim("iat", iat)).await, expected, "{kind}");
        }
    }
}

#[tokio::test]
async fn revoke_responds_with_400_to_a_malformed_body() {
    let fixture = Fixture::new("test_routes = true", "");
    let valid = json!({ "issuer": ISSUER, "kind": "jti", "value": "j1", "until": 4_000_000_000_u64 });
    let with = |name: &str, value: Value| {
        let mut body = valid.clone();
        body[name] = value;
        body.to_string()
    };
    let without = |name: &str| {
        let mut body = valid.clone();
        body.as_object_mut().expect("an object").remove(name);
        body.to_string()
    };
    for body in [
        String::new(),
        "kind=jti".to_owned(),
        json!([valid]).to_string(),
        without("issuer"),
        without("kind"),
        without("value"),
        with("kind", json!("session")),
        with("kind", json!("issuer")),
        with("value", json!(1)),
        with("until", json!("tomorrow")),
        with("until", json!(-1)),
        with("before", json!(-1)),
        with("before", json!(1e300)),
        with("claim", json!("uid")),
    ] {
        assert_eq!(fixture.revoke(&body).await, StatusCode::BAD_REQUEST, "{body}");
    }
    assert_eq!(fixture.list.status().total_entries(), 0);
    assert_eq!(fixture.status(fixture.token()).await, StatusCode::OK);
    assert_eq!(fixture.revoke(&valid).await, StatusCode::NO_CONTENT);
    assert_eq!(fixture.status(fixture.token()).await, StatusCode::UNAUTHORIZED);
}

#[tokio::test]
async fn revoke_responds_with_503_if_the_list_is_full() {
    let fixture = Fixture::new("test_routes = true", "max_entries = 1000");
    let entry = |number: u32| json!({ "issuer": ISSUER, "kind": "jti", "value": format!("n{number}") });
    for number in 0..1_000 {
        assert_eq!(fixture.revoke(entry(number)).await, StatusCode::NO_CONTENT);
    }
    assert_eq!(fixture.revoke(entry(1_000)).await, StatusCode::SERVICE_UNAVAILABLE);
    assert_eq!(fixture.revoke(entry(0)).await, StatusCode::NO_CONTENT, "an entry that is in the list");
}

#[tokio::test]
async fn routes_are_absent_without_their_settings() {
    let entry = json!({ "issuer": ISSUER, "kind": "jti", "value": "j1" });
    for (first, expected) in [("", StatusCode::NOT_FOUND), ("test_routes = false", StatusCode::NOT_FOUND)] {
        let fixture = Fixture::new(first, "");
        assert_eq!(fixture.revoke(&entry).await, expected, "{first}");
        let logout = fixture.server.logout_token("web").subject("ann");
        assert_eq!(fixture.logout("/backchannel-logout", logout).await.0, StatusCode::NOT_FOUND);
        assert_eq!(fixture.status(fixture.token()).await, StatusCode::OK);
    }
    let fixture = Fixture::new("test_routes = true", "");
    let get = Request::builder().method(Method::GET).uri(REVOKE).body(Body::empty()).expect("a request");
    assert_eq!(fixture.send(get).await.0, StatusCode::METHOD_NOT_ALLOWED);
    assert_eq!(fixture.revoke(&entry).await, StatusCode::NO_CONTENT);
}
