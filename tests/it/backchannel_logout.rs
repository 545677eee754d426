//! The receiver of logout tokens (OpenID Connect Back-Channel Logout 1.0). The numbers are those of the attack cases.

use std::sync::Arc;
use std::time::Duration;

use axum::Router;
use axum::body::Body;
use bytes::Bytes;
use http::{Method, Request, Response};
use serde_json::json;
use tower::ServiceExt as _;
use tower_bearer::clock::Timestamp;
use tower_bearer::jwks::RefreshPolicy;
use tower_bearer::revocation::{Revocation, RevocationKind, Revocations};
use tower_bearer::signals::{LogoutReach, LogoutReceiver};
use tower_bearer::testing::{FakeClock, Outage, TestIssuer, TokenBuilder};
use tower_bearer::{Algorithm, Api, Issuer, Rejection, Secret, Validator};

use crate::fixture::{AUDIENCE, NOW, block_on};

const CLIENT: &str = "web";
const FORM: &str = "application/x-www-form-urlencoded";
const EVENT: &str = "http://schemas.openid.net/event/backchannel-logout";

/// An API whose issuer sends logout tokens for the client `web`, on one clock.
struct Fixture {
    clock: FakeClock,
    server: TestIssuer,
    list: Revocations,
    validator: Validator,
    receiver: LogoutReceiver,
}

impl Fixture {
    /// Must be called inside a runtime.
    fn new() -> Self {
        let clock = FakeClock::from_wall(Timestamp::from_secs(NOW));
        let server = TestIssuer::new().with_clock(Arc::new(clock.clone())).with_algorithms([Algorithm::ES256]);
        let issuer = Issuer::jwks(server.issuer(), server.jwks_uri()).with_algorithms([Algorithm::ES256]);
        let list = Revocations::builder().with_clock(clock.clone()).in_memory().expect("settings in range");
        let builder = Validator::builder(Api::new(AUDIENCE, issuer)).with_fetch(server.clone());
        let builder = builder.with_clock(clock.clone()).with_revocations(&list);
        let validator = builder.build().expect("a valid configuration");
        let receiver = receiver(&validator, server.issuer(), &list);
        Self { clock, server, list, validator, receiver }
    }

    fn token(&self) -> TokenBuilder {
        self.server.token().issued_at(Timestamp::from_secs(NOW - 60)).subject("ann").claim("sid", "s1")
    }

    fn logout_token(&self) -> TokenBuilder {
        self.server.logout_token(CLIENT).subject("ann")
    }

    async fn status(&self, logout_token: &str) -> u16 {
        send(&self.receiver, logout_token).await.status().as_u16()
    }

    /// Returns the status of a request that may wait, while the clock advances.
    async fn status_later(&self, logout_token: &str) -> u16 {
        tokio::join!(self.status(logout_token), self.clock.run_for(Duration::from_secs(3))).0
    }

    async fn outcome(&self, token: &TokenBuilder) -> Result<(), Rejection> {
        self.validator.validate(&token.clone().sign()).await.map(drop)
    }
}

fn receiver(validator: &Validator, issuer: &str, list: &Revocations) -> LogoutReceiver {
    LogoutReceiver::new(validator.issuer(issuer).expect("a trusted issuer"), [CLIENT, "app"], list)
}

async fn send(receiver: &LogoutReceiver, logout_token: &str) -> Response<Bytes> {
    request(receiver, &Method::POST, Some(FORM), &format!("logout_token={logout_token}")).await
}

async fn request(receiver: &LogoutReceiver, method: &Method, media_type: Option<&str>, body: &str) -> Response<Bytes> {
    let builder = Request::builder().method(method).uri("/backchannel-logout");
    let builder = media_type.into_iter().fold(builder, |builder, value| builder.header("content-type", value));
    let (parts, ()) = builder.body(()).expect("a request").into_parts();
    receiver.receive(&parts, body.as_bytes()).await
}

fn revoked(by: RevocationKind) -> Result<(), Rejection> {
    Err(Rejection::Revoked { by })
}

#[tokio::test]
async fn logout_rejects_the_tokens_of_the_user_that_were_issued_before() {
    let fixture = Fixture::new();
    let (token, other) = (fixture.token(), fixture.token().subject("bob"));
    assert_eq!(fixture.outcome(&token).await, Ok(()));
    let response = send(&fixture.receiver, &fixture.logout_token().sign()).await;
    assert_eq!((response.status().as_u16(), response.headers()["cache-control"].as_bytes()), (200, &b"no-store"[..]));
    assert!(response.body().is_empty());
    assert_eq!(fixture.outcome(&token).await, revoked(RevocationKind::Subject));
    assert_eq!(fixture.outcome(&other).await, Ok(()));
    // Case 58: the next login, also if it is before the logout arrives.
    let next = token.clone().issued_at(Timestamp::from_secs(NOW + 1));
    assert_eq!(fixture.outcome(&next).await, Ok(()));
}

#[tokio::test]
async fn reach_decides_between_session_and_user_and_the_only_one_counts() {
    for (reach, sid, sub, expected) in [
        (LogoutReach::Session, true, true, RevocationKind::Session),
        (LogoutReach::Subject, true, true, RevocationKind::Subject),
        (LogoutReach::Session, false, true, RevocationKind::Subject),
        (LogoutReach::Subject, true, false, RevocationKind::Session),
    ] {
        let fixture = Fixture::new();
        let receiver = fixture.receiver.clone().with_reach(reach);
        let logout = if sid { fixture.logout_token().claim("sid", "s1") } else { fixture.logout_token() };
        let logout = if sub { logout } else { logout.without("sub") };
        assert_eq!(send(&receiver, &logout.sign()).await.status().as_u16(), 200);
        assert_eq!(fixture.list.status().entries(expected), 1, "{reach:?}");
        assert_eq!(fixture.list.status().total_entries(), 1);
        assert_eq!(fixture.outcome(&fixture.token()).await, revoked(expected));
    }
}

/// Cases 74 to 83: tokens that are wrong in one way.
fn wrong_tokens(fixture: &Fixture) -> Vec<(&'static str, TokenBuilder)> {
    let valid = || fixture.logout_token();
    let events = |value: serde_json::Value| valid().claim("events", value);
    let other_issuer = TestIssuer::named("https://other.test/").with_algorithms([Algorithm::ES256]);
    vec![
        ("74 nonce", valid().claim("nonce", "n")),
        ("75 nonce null", valid().claim("nonce", json!(null))),
        ("76 no events", valid().without("events")),
        ("76 another event", events(json!({ "http://schemas.openid.net/event/other": {} }))),
        ("76 events as an array", events(json!([EVENT]))),
        ("76 events as a string", events(json!(EVENT))),
        ("77 event null", events(json!({ EVENT: null }))),
        ("77 event array", events(json!({ EVENT: [] }))),
        ("77 event true", events(json!({ EVENT: true }))),
        ("78 neither sub nor sid", valid().without("sub")),
        ("78 sub empty", valid().subject("")),
        ("78 sub a number", valid().claim("sub", 7)),
        ("78 sid a number", valid().claim("sid", 7)),
        ("78 sid empty", valid().claim("sid", "")),
        ("79 an ID token", fixture.server.token().audience(CLIENT).claim("nonce", "n")),
        ("79 an ID token without nonce", fixture.server.token().audience(CLIENT)),
        ("80 an access token", fixture.server.token().audience(CLIENT).typ("at+jwt")),
        ("80 a logout token as at+jwt", valid().typ("at+jwt")),
        ("80 a security event", valid().typ("secevent+jwt")),
        ("81 alg none", valid().header("alg", "none")),
        ("81 another algorithm", valid().header("alg", "RS256")),
        ("81 signature", valid().with_broken_signature()),
        ("81 another key", valid().signed_by(&other_issuer)),
        ("82 another client", valid().audience("mobile")),
        ("82 no aud", valid().without("aud")),
        ("82 the API", valid().audience(AUDIENCE)),
        ("83 no iat", valid().without("iat")),
        ("83 iat a string", valid().claim("iat", "now")),
        ("83 old", valid().claim("iat", NOW - 305)),
        ("83 future", valid().claim("iat", NOW + 6)),
        ("no exp", valid().without("exp")),
        ("expired", valid().claim("exp", NOW - 5)),
        ("nbf", valid().claim("nbf", NOW + 6)),
        ("no jti", valid().without("jti")),
        ("jti empty", valid().claim("jti", "")),
        ("jti a number", valid().claim("jti", 1)),
        ("another issuer", valid().issuer("https://other.test/")),
        ("issuer without slash", valid().issuer("https://issuer.test")),
        ("no issuer", valid().without("iss")),
    ]
}

#[tokio::test]
async fn rejects_tokens_that_are_no_valid_logout_tokens() {
    let fixture = Fixture::new();
    for (case, token) in wrong_tokens(&fixture) {
        let response = send(&fixture.receiver, &token.sign()).await;
        assert_eq!(response.status().as_u16(), 400, "{case}");
        assert_eq!(response.body(), r#"{"error":"invalid_request"}"#, "{case}");
        assert_eq!(response.headers()["cache-control"], "no-store", "{case}");
    }
    assert_eq!(fixture.list.status().total_entries(), 0);
    let valid = || fixture.logout_token();
    for (case, token) in [
        ("typ logout+jwt", valid()),
        ("typ JWT", valid().typ("JWT")),
        ("no typ", valid().without_header("typ")),
        ("several audiences", valid().audiences(["mobile", "app"])),
        ("iat within the leeway", valid().claim("iat", NOW + 5)),
        ("iat of almost five minutes", valid().claim("iat", NOW - 304).claim("exp", NOW + 60)),
        ("exp within the leeway", valid().claim("exp", NOW - 4)),
        ("further event", valid().claim("events", json!({ EVENT: { "x": 1 }, "y": {} }))),
    ] {
        assert_eq!(fixture.status(&token.sign()).await, 200, "{case}");
    }
    assert_eq!(fixture.list.status().total_entries(), 1);
}

#[tokio::test]
async fn missing_exp_is_accepted_by_choice() {
    let fixture = Fixture::new();
    let lenient = fixture.receiver.clone().with_missing_expiry();
    let token = fixture.logout_token().without("exp");
    assert_eq!(send(&lenient, &token.clone().sign()).await.status().as_u16(), 200);
    let malformed = fixture.logout_token().claim("exp", "soon");
    assert_eq!(send(&lenient, &malformed.sign()).await.status().as_u16(), 400);
    let old = token.claim("iat", NOW - 305);
    assert_eq!(send(&lenient, &old.sign()).await.status().as_u16(), 400);
}

/// Cases 84 to 86.
#[tokio::test]
async fn rejects_requests_of_another_form() {
    let fixture = Fixture::new();
    let token = fixture.logout_token().sign();
    let body = format!("logout_token={token}");
    let padding = "x".repeat(33_000);
    for (case, method, media_type, body) in [
        ("84 twice", Method::POST, Some(FORM), format!("{body}&{body}")),
        ("84 twice, encoded", Method::POST, Some(FORM), format!("{body}&logout%5Ftoken=x")),
        ("85 GET", Method::GET, Some(FORM), body.clone()),
        ("85 PUT", Method::PUT, Some(FORM), body.clone()),
        ("86 large", Method::POST, Some(FORM), format!("{body}&x={padding}")),
        ("json", Method::POST, Some("application/json"), body.clone()),
        ("no content type", Method::POST, None, body.clone()),
        ("no token", Method::POST, Some(FORM), format!("token={token}")),
        ("empty", Method::POST, Some(FORM), String::new()),
        ("no JWT", Method::POST, Some(FORM), "logout_token=abc".to_owned()),
    ] {
        assert_eq!(request(&fixture.receiver, &method, media_type, &body).await.status().as_u16(), 400, "{case}");
    }
    assert_eq!(fixture.list.status().total_entries(), 0);
    let charset = Some("Application/X-WWW-Form-URLencoded; charset=utf-8");
    let encoded = format!("state=1&{}", body.replace('.', "%2E"));
    assert_eq!(request(&fixture.receiver, &Method::POST, charset, &encoded).await.status().as_u16(), 200);
}

/// Case 87.
#[tokio::test]
async fn replay_is_accepted_and_changes_nothing() {
    let fixture = Fixture::new();
    let token = fixture.logout_token().sign();
    assert_eq!(fixture.status(&token).await, 200);
    let next = fixture.token().issued_at(Timestamp::from_secs(NOW + 1));
    fixture.clock.advance(Duration::from_secs(60));
    assert_eq!(fixture.status(&token).await, 200);
    assert_eq!(fixture.list.status().entries(RevocationKind::Subject), 1);
    assert_eq!(fixture.outcome(&fixture.token()).await, revoked(RevocationKind::Subject));
    assert_eq!(fixture.outcome(&next).await, Ok(()), "a login after the logout is not ended");
}

#[tokio::test]
async fn full_list_and_missing_keys_are_503() {
    let fixture = Fixture::new();
    let small = Revocations::builder().with_clock(fixture.clock.clone()).with_max_entries(1_000);
    let small = small.in_memory().expect("settings in range");
    let entries = (0..1_000).map(|number| Revocation::subject("x", &number.to_string()));
    small.revoke_all(entries).await.expect("room");
    let full = receiver(&fixture.validator, fixture.server.issuer(), &small);
    let response = send(&full, &fixture.logout_token().sign()).await;
    assert_eq!((response.status().as_u16(), response.headers()["retry-after"].as_bytes()), (503, &b"60"[..]));

    let server = TestIssuer::new().with_clock(Arc::new(fixture.clock.clone())).with_algorithms([Algorithm::ES256]);
    server.set_outage(Outage::NoConnection);
    let issuer = Issuer::jwks(server.issuer(), server.jwks_uri()).with_algorithms([Algorithm::ES256]);
    let builder = Validator::builder(Api::new(AUDIENCE, issuer)).with_fetch(server.clone());
    let builder = builder.with_clock(fixture.clock.clone()).with_refresh_policy(RefreshPolicy::new().with_retries(0));
    let down = builder.build().expect("a valid configuration");
    let receiver = receiver(&down, server.issuer(), &fixture.list);
    let response = send(&receiver, &server.logout_token(CLIENT).sign()).await;
    assert_eq!(response.status().as_u16(), 503);
    assert!(response.headers().contains_key("retry-after") && response.body().is_empty());
    // What is wrong in any case is rejected without keys.
    let response = send(&receiver, &server.logout_token("mobile").sign()).await;
    assert_eq!(response.status().as_u16(), 400);
}

/// L10 and case 94: few fetches for tokens with unknown keys, which everyone can send.
#[tokio::test]
async fn unknown_keys_cause_four_fetches_in_a_minute() {
    let fixture = Fixture::new();
    assert_eq!(fixture.status(&fixture.logout_token().sign()).await, 200);
    let fetches = fixture.server.fetches();
    let unknown = |number: usize| fixture.logout_token().kid(&format!("k{number}")).sign();
    for number in 0..4 {
        assert_eq!(fixture.status_later(&unknown(number)).await, 400);
    }
    for number in 4..20 {
        assert_eq!(fixture.status(&unknown(number)).await, 503);
    }
    // Each may cause a second fetch, at the end of the cool-down.
    assert!(fixture.server.fetches() <= fetches + 8);
    // Tokens of known keys are not affected.
    assert_eq!(fixture.status(&fixture.logout_token().sign()).await, 200);
}

/// A forged token now and then does not keep out a genuine one.
#[tokio::test]
async fn a_genuine_token_with_a_new_key_is_accepted_after_a_forged_one() {
    let fixture = Fixture::new();
    assert_eq!(fixture.status(&fixture.logout_token().sign()).await, 200);
    assert_eq!(fixture.status_later(&fixture.logout_token().kid("forged").sign()).await, 400);
    fixture.clock.run_for(Duration::from_secs(10)).await;
    fixture.server.rotate();
    assert_eq!(fixture.status_later(&fixture.logout_token().subject("bob").sign()).await, 200);
}

/// An issuer that restarts with another key under the same `kid`.
#[tokio::test]
async fn a_replaced_key_with_the_same_kid_is_fetched() {
    let fixture = Fixture::new();
    assert_eq!(fixture.status(&fixture.logout_token().sign()).await, 200);
    fixture.clock.run_for(Duration::from_secs(61)).await;
    fixture.server.replace_keys();
    assert_eq!(fixture.status_later(&fixture.logout_token().subject("bob").sign()).await, 200);
    assert_eq!(fixture.status(&fixture.logout_token().with_broken_signature().sign()).await, 400);
}

/// The custom domains are another name of one issuer: a logout at any of them concerns the tokens of all.
#[tokio::test]
async fn a_logout_concerns_all_names_of_the_issuer() {
    let clock = FakeClock::from_wall(Timestamp::from_secs(NOW));
    let server = TestIssuer::auth0("northwind.eu.auth0.com").with_clock(clock.clone());
    let tenant = Issuer::auth0("northwind.eu.auth0.com").with_custom_domains_from(|| async {
        Ok(vec!["login.northwind.com".to_owned(), "id.northwind.com".to_owned()])
    });
    let list = Revocations::builder().with_clock(clock.clone()).in_memory().expect("settings in range");
    let builder = Validator::builder(Api::new(AUDIENCE, tenant)).with_fetch(server.clone()).with_clock(clock.clone());
    let validator = builder.with_revocations(&list).build().expect("a valid configuration");
    clock.settle().await;
    let receiver = receiver(&validator, server.issuer(), &list);
    let token =
        |domain: &str| server.token().audience(AUDIENCE).subject("ann").issuer(&format!("https://{domain}/")).sign();
    let domains = ["northwind.eu.auth0.com", "login.northwind.com", "id.northwind.com"];
    for domain in domains {
        assert!(validator.validate(&token(domain)).await.is_ok(), "{domain}");
    }
    let logout = server.logout_token(CLIENT).subject("ann").issuer("https://login.northwind.com/").sign();
    assert_eq!(send(&receiver, &logout).await.status().as_u16(), 200);
    for domain in domains {
        let outcome = validator.validate(&token(domain)).await.map(drop);
        assert_eq!(outcome, revoked(RevocationKind::Subject), "{domain}");
    }
}

/// It is not known whether the sender is trusted, so the logout must be sent again.
#[tokio::test]
async fn unknown_custom_domains_are_503() {
    let clock = FakeClock::from_wall(Timestamp::from_secs(NOW));
    let server = TestIssuer::auth0("northwind.eu.auth0.com").with_clock(clock.clone());
    let tenant = Issuer::auth0("northwind.eu.auth0.com").with_custom_domains_from(|| async { Err("down".into()) });
    let list = Revocations::builder().with_clock(clock.clone()).in_memory().expect("settings in range");
    let builder = Validator::builder(Api::new(AUDIENCE, tenant)).with_fetch(server.clone()).with_clock(clock.clone());
    let validator = builder.with_revocations(&list).build().expect("a valid configuration");
    clock.settle().await;
    let receiver = receiver(&validator, server.issuer(), &list);
    let logout = |issuer: &str| server.logout_token(CLIENT).subject("ann").issuer(issuer).sign();
    let response = send(&receiver, &logout("https://login.northwind.com/")).await;
    assert_eq!((response.status().as_u16(), response.headers()["retry-after"].as_bytes()), (503, &b"1"[..]));
    assert_eq!(send(&receiver, &logout("urn:other")).await.status().as_u16(), 400);
    assert_eq!(send(&receiver, &logout(server.issuer())).await.status().as_u16(), 200);
}

/// Both versions of an Entra tenant are one issuer, and another tenant with the same keys is none.
#[tokio::test]
async fn a_logout_concerns_both_versions_of_one_tenant_and_no_other_tenant() {
    const A: &str = "aaaaaaaa-1111-4222-8333-444444444444";
    const B: &str = "bbbbbbbb-1111-4222-8333-444444444444";
    let clock = FakeClock::from_wall(Timestamp::from_secs(NOW));
    let server = TestIssuer::named("https://keys.test/").with_clock(clock.clone());
    let keys = tower_bearer::keys::KeySet::from_jwks(server.jwks());
    let tenants = tower_bearer::config::EntraTenants::only([A, B]).with_v1_tokens().with_static_keys(keys);
    let list = Revocations::builder().with_clock(clock.clone()).in_memory().expect("settings in range");
    let builder = Validator::builder(Api::new(AUDIENCE, Issuer::entra(tenants))).with_clock(clock.clone());
    let validator = builder.with_revocations(&list).build().expect("a valid configuration");
    let version_2 = |tenant: &str| format!("https://login.microsoftonline.com/{tenant}/v2.0");
    let version_1 = |tenant: &str| format!("https://sts.windows.net/{tenant}/");
    let outcome = async |name: String, tenant: &str| {
        let token = server.token().audience(AUDIENCE).subject("ann").issuer(&name).claim("tid", tenant).sign();
        validator.validate(&token).await.map(drop)
    };
    for (name, tenant) in [(version_2(A), A), (version_1(A), A), (version_2(B), B), (version_1(B), B)] {
        assert_eq!(outcome(name.clone(), tenant).await, Ok(()), "{name}");
    }
    assert!(validator.issuer("https://login.microsoftonline.com/common/v2.0").is_none());
    let receiver = receiver(&validator, &version_2(A), &list);
    let logout = |name: String, tenant: &str| {
        server.logout_token(CLIENT).subject("ann").issuer(&name).claim("tid", tenant).sign()
    };
    assert_eq!(send(&receiver, &logout(version_2(B), B)).await.status().as_u16(), 400, "another tenant");
    assert_eq!(send(&receiver, &logout(version_2(A), A)).await.status().as_u16(), 200);
    for (name, tenant, expected) in [
        (version_2(A), A, revoked(RevocationKind::Subject)),
        (version_1(A), A, revoked(RevocationKind::Subject)),
        (version_2(B), B, Ok(())),
        (version_1(B), B, Ok(())),
    ] {
        assert_eq!(outcome(name.clone(), tenant).await, expected, "{name}");
    }
}

#[tokio::test]
async fn subjects_are_compared_with_the_claim_that_is_set() {
    let fixture = Fixture::new();
    let receiver = fixture.receiver.clone().with_subject_claim("uid");
    assert_eq!(send(&receiver, &fixture.logout_token().sign()).await.status().as_u16(), 200);
    assert_eq!(fixture.outcome(&fixture.token()).await, Ok(()), "its sub is ann");
    let of_ann = fixture.token().subject("u-7").claim("uid", "ann");
    assert_eq!(fixture.outcome(&of_ann).await, revoked(RevocationKind::Subject));
}

/// A sender that is slow or does not finish the body.
#[tokio::test(start_paused = true)]
async fn service_of_axum_waits_ten_seconds_for_the_body() {
    let fixture = Fixture::new();
    let app: Router = Router::new().route_service("/logout", fixture.receiver.clone());
    let never = futures_util::stream::pending::<Result<Bytes, std::convert::Infallible>>();
    let request = Request::post("/logout").header("content-type", FORM).body(Body::from_stream(never));
    let response = app.oneshot(request.expect("a request")).await.expect("infallible");
    assert_eq!(response.status().as_u16(), 408);
}

#[tokio::test]
async fn new_key_of_the_issuer_is_fetched() {
    let fixture = Fixture::new();
    assert_eq!(fixture.status(&fixture.logout_token().sign()).await, 200);
    fixture.server.rotate();
    assert_eq!(fixture.status(&fixture.logout_token().subject("bob").sign()).await, 200);
}

#[tokio::test]
async fn sender_that_is_no_issuer_of_access_tokens() {
    let fixture = Fixture::new();
    let hub = TestIssuer::named("https://hub.test/").with_clock(Arc::new(fixture.clock.clone()));
    let api = Api::new("unused", Issuer::jwks(hub.issuer(), hub.jwks_uri()));
    let sender = Validator::builder(api).with_fetch(hub.clone()).with_clock(fixture.clock.clone());
    let sender = sender.build().expect("a valid configuration");
    let own = receiver(&sender, hub.issuer(), &fixture.list);
    assert_eq!(send(&own, &hub.logout_token(CLIENT).subject("ann").sign()).await.status().as_u16(), 200);
    assert_eq!(fixture.outcome(&fixture.token()).await, Ok(()), "the subject of another issuer");
    let receiver = own.with_subjects_of([fixture.server.issuer()]);
    assert_eq!(send(&receiver, &hub.logout_token(CLIENT).subject("ann").sign()).await.status().as_u16(), 200);
    assert_eq!(fixture.outcome(&fixture.token()).await, revoked(RevocationKind::Subject));
    // Its keys verify no access tokens.
    let forged = fixture.server.token().signed_by(&hub).algorithm(Algorithm::RS256);
    assert!(fixture.outcome(&forged).await.is_err());
}

#[tokio::test]
async fn issuer_stands_for_all_its_names_and_both_kinds_of_keys() {
    let clock = FakeClock::from_wall(Timestamp::from_secs(NOW));
    let issuer = |algorithm| TestIssuer::new().with_clock(Arc::new(clock.clone())).with_algorithms([algorithm]);
    let (public, secret) = (issuer(Algorithm::ES256), issuer(Algorithm::HS256));
    let keys = tower_bearer::keys::KeySet::from_jwks(public.jwks());
    let with_keys = Issuer::static_keys(public.issuer(), keys)
        .with_algorithms([Algorithm::ES256])
        .with_alias("https://alias.test/");
    let with_secret = Issuer::shared_secret(public.issuer(), Secret::from_text(secret.secret()));
    let other = TestIssuer::named("https://other.test/");
    let third = Issuer::static_keys(other.issuer(), tower_bearer::keys::KeySet::from_jwks(other.jwks()));
    let api = Api::new(AUDIENCE, with_keys).with_issuer(with_secret).with_issuer(third);
    let validator = Validator::builder(api).with_clock(clock.clone()).build().expect("a valid configuration");
    let list = Revocations::builder().with_clock(clock.clone()).in_memory().expect("settings in range");
    let receiver = receiver(&validator, public.issuer(), &list);
    for (token, expected) in [
        (public.logout_token(CLIENT), 200),
        (public.logout_token(CLIENT).issuer("https://alias.test/"), 200),
        (secret.logout_token(CLIENT), 200),
        // The alias belongs to the public keys only.
        (secret.logout_token(CLIENT).issuer("https://alias.test/"), 400),
        (other.logout_token(CLIENT), 400),
    ] {
        assert_eq!(send(&receiver, &token.sign()).await.status().as_u16(), expected);
    }
    assert_eq!(validator.issuer("https://issuer.test").map(|issuer| issuer.name().to_owned()), None);
    assert_eq!(
        validator.issuer(other.issuer()).map(|issuer| issuer.name().to_owned()),
        Some(other.issuer().to_owned())
    );
}

/// A logout token is never an access token.
#[tokio::test]
async fn logout_token_is_rejected_as_an_access_token() {
    let fixture = Fixture::new();
    let token = fixture.server.logout_token(AUDIENCE);
    assert!(fixture.outcome(&token).await.is_err());
    assert_eq!(fixture.outcome(&fixture.token()).await, Ok(()));
}

#[test]
fn service_of_axum_reads_at_most_32_kib() {
    let fixture = block_on(async { Fixture::new() });
    let app: Router = Router::new().route_service("/logout", fixture.receiver.clone());
    let send = |body: String| {
        let request = Request::post("/logout").header("content-type", FORM).body(Body::from(body));
        block_on(app.clone().oneshot(request.expect("a request"))).expect("infallible").status().as_u16()
    };
    assert_eq!(send(format!("logout_token={}", fixture.logout_token().sign())), 200);
    assert_eq!(send("logout_token=x".to_owned()), 400);
    // Case 86.
    assert_eq!(send("x".repeat(1_000_000)), 413);
    let shown = format!("{:?}", fixture.receiver);
    assert!(shown.contains("https://issuer.test/") && shown.contains("web"), "{shown}");
}
