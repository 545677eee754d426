//! `explain` returns the same decision as `validate`, every check with its outcome, and hints.

use std::io;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use http::StatusCode;
use tower_bearer::claims::{Organization, Profile};
use tower_bearer::clock::{Clock as _, SystemClock};
use tower_bearer::config::Organizations;
use tower_bearer::jwks::RefreshPolicy;
use tower_bearer::rejection::CheckError;
use tower_bearer::testing::{Outage, TestIssuer, TokenBuilder};
use tower_bearer::{
    Algorithm, Api, BearerLayer, CheckOutcome, Explanation, Finding, Issuer, Rejection, RejectionKind, Requirement,
    Secret, Validator,
};
use tracing_subscriber::util::SubscriberInitExt as _;

use crate::stack::{self, AUDIENCE, trusted};

fn validator(server: &TestIssuer) -> Validator {
    Validator::new(Api::new(AUDIENCE, trusted(server))).expect("a valid configuration")
}

fn outcome(explanation: &Explanation, check: &str) -> CheckOutcome {
    let found = explanation.findings().iter().find(|finding| finding.check() == check);
    found.unwrap_or_else(|| panic!("no finding for {check}: {explanation}")).outcome()
}

#[tokio::test]
async fn valid_token_passes_every_check() {
    let server = TestIssuer::new();
    let explanation = validator(&server).explain(&server.token().sign()).await;
    assert!(explanation.is_accepted() && explanation.hints().next().is_none(), "{explanation}");
    let checks: Vec<&str> = explanation.findings().iter().map(|finding| finding.check()).collect();
    assert_eq!(
        checks,
        [
            "size",
            "form",
            "iss",
            "alg",
            "aud",
            "exp",
            "key",
            "signature",
            "typ",
            "nbf",
            "iat",
            "sub",
            "jti",
            "required claims",
            "cnf",
            "ID token",
            "client",
            "organization",
            "application"
        ]
    );
    assert!(explanation.findings().iter().all(|finding| finding.outcome() == CheckOutcome::Passed));
    assert!(explanation.to_string().starts_with("accepted\n"));
}

#[tokio::test]
async fn explain_collects_all_failed_checks() {
    let server = TestIssuer::new();
    let token = server.token().audience("https://other.test/").expired().typ("logout+jwt").with_broken_signature();
    let explanation = validator(&server).explain(&token.sign()).await;
    for check in ["aud", "exp", "signature", "typ"] {
        assert_eq!(outcome(&explanation, check), CheckOutcome::Failed, "{check}");
    }
    for check in ["form", "iss", "alg", "key", "sub"] {
        assert_eq!(outcome(&explanation, check), CheckOutcome::Passed, "{check}");
    }
    assert_eq!(outcome(&explanation, "application"), CheckOutcome::Skipped);
    let aud = explanation.findings().iter().find(|finding| finding.check() == "aud").expect("a finding");
    assert_eq!((aud.found(), aud.expected()), (Some("\"https://other.test/\""), Some(AUDIENCE)));
}

#[tokio::test]
async fn unbound_host_is_explained_with_the_bound_hosts() {
    let server = TestIssuer::new();
    let other = TestIssuer::named("https://other.test/");
    let api = Api::new(AUDIENCE, trusted(&server)).with_issuer(trusted(&other));
    let api = api.with_issuer_for_host("api.test", server.issuer()).with_issuer_for_host("api.other", other.issuer());
    let validator = Validator::new(api).expect("a valid configuration");
    let token = server.token().sign();
    let unbound = "no issuer is bound to the request's host; without a layer, pass the host to validate_for_host or explain_for_host";
    for (explanation, expected, hint) in [
        (validator.explain_for_host(&token, "api.test").await, "https://issuer.test/ under this host", None),
        (validator.explain(&token).await, "a request for api.other or api.test", Some(unbound)),
        (validator.explain_for_host(&token, "nope.test").await, "a request for api.other or api.test", Some(unbound)),
        (
            validator.explain_for_host(&token, "api.other").await,
            "https://other.test/ under this host",
            Some("the token's issuer is bound to another host"),
        ),
    ] {
        let iss = explanation.findings().iter().find(|finding| finding.check() == "iss").expect("a finding");
        assert_eq!((iss.expected(), iss.hint()), (Some(expected), hint));
        assert_eq!(explanation.is_accepted(), hint.is_none());
    }
}

#[tokio::test]
async fn organization_is_explained_by_the_claim_that_is_checked() {
    let server = TestIssuer::new();
    let token = server.token().organization("org_1").claim("org_name", "ac").sign();
    let about = |organization: Option<Organization>| Organizations::from_request(move |_| organization.clone());
    for (organizations, check, found, expected) in [
        (Organizations::from_names(["Acme"]), "organization", Some("\"ac\""), "org_name Acme"),
        (Organizations::from_ids(["org_2", "org_3"]), "organization", Some("\"org_1\""), "org_id org_2 or org_3"),
        (about(Some(Organization::from_id("org_2"))), "organization of the request", Some("\"org_1\""), "org_id org_2"),
        (about(None), "organization of the request", None, "a request for an organization"),
    ] {
        let api = Api::new(AUDIENCE, trusted(&server)).with_organizations(organizations);
        let explanation =
            Validator::new(api).expect("a valid configuration").explain_for_host(&token, "api.test").await;
        let failed: Vec<_> =
            explanation.findings().iter().filter(|one| one.outcome() == CheckOutcome::Failed).collect();
        let [finding] = failed[..] else { panic!("{explanation}") };
        assert_eq!((finding.check(), finding.found(), finding.expected()), (check, found, Some(expected)));
    }
}

#[tokio::test]
async fn explain_returns_the_same_rejection_as_validate() {
    let server = TestIssuer::new();
    let validator = validator(&server).with_check(|claims| match claims.subject() {
        Some("banned") => Err(CheckError::new()),
        _ => Ok(()),
    });
    let other_issuer = TestIssuer::named("https://other.test/");
    let tokens: Vec<TokenBuilder> = vec![
        server.token(),
        server.token().header("crit", ["exp"]),
        server.token().encrypted(),
        server.token().unsigned(),
        other_issuer.token(),
        server.token().without("iss"),
        server.token().issuer("https://issuer.test"),
        server.token().hs256_with_public_key(),
        server.token().audience("x").expired().kid("unknown"),
        server.token().expired().with_broken_signature(),
        server.token().kid("unknown").typ("x"),
        server.token().with_broken_signature().typ("x"),
        server.token().typ("x").claim("nbf", "never"),
        server.token().claim("at_hash", "x"),
        server.token().subject("banned"),
    ];
    for token in tokens
        .into_iter()
        .map(TokenBuilder::sign)
        .chain(["opaque", "", "a.b.c ", "a b"].map(str::to_owned))
        .chain(["x".repeat(20_000)])
    {
        let expected = validator.validate(&token).await.err();
        assert_eq!(validator.explain(&token).await.rejection(), expected.as_ref(), "{token}");
    }
    let bound = Api::new(AUDIENCE, trusted(&server)).with_issuer_for_host("api.test", server.issuer());
    let bound = Validator::new(bound).expect("a valid configuration");
    let token = server.token().sign();
    for host in ["api.test", "other.test", "a b"] {
        let expected = bound.validate_for_host(&token, host).await.err();
        assert_eq!(bound.explain_for_host(&token, host).await.rejection(), expected.as_ref(), "{host}");
    }
}

async fn hint(validator: &Validator, token: &str) -> String {
    let explanation = validator.explain(token).await;
    explanation.hints().next().unwrap_or_else(|| panic!("no hint: {explanation}")).to_owned()
}

#[tokio::test]
async fn hint_names_the_fix() {
    let server = TestIssuer::new();
    let ours = validator(&server);
    let opaque = "opaque: the client requested no audience, the server issues no JWTs, or the JWT was cut off";
    assert_eq!(hint(&ours, "2YotnFZFEjr1zCsicMWpAA").await, opaque);
    for wrapped in ["Bearer a.b.c", "a.b.c\n", "a.b\n.c"] {
        assert_eq!(hint(&ours, wrapped).await, "pass the token alone, without scheme and spaces");
    }
    assert_eq!(hint(&ours, "").await, "there is no token");
    for (token, expected) in [
        (server.token().issuer("https://issuer.test"), "iss lacks the trailing slash"),
        (server.token().encrypted(), "encrypted token: turn token encryption off for this API"),
        (
            server.token().audience("client").claim("azp", "client"),
            "aud names the client and not the API: the client must request a token for the API",
        ),
        (
            server.token().audience("client").claim("at_hash", "x"),
            "marked as an ID token: the client must send the access token",
        ),
        (server.token().claim("at_hash", "x"), "marked as an ID token: the client must send the access token"),
        (
            server.token().audience("https://api.test"),
            "aud differs from the API's audience only in a trailing slash or in case: compare it with the API's identifier at the issuer",
        ),
        (server.token().audience("https://t.auth0.com/api/v2/"), "a token for Auth0's Management API"),
        (
            server.token().hs256_with_public_key(),
            "HS256 token at an RS256 API: see the API's signing algorithm at the issuer",
        ),
        (
            server.token().kid("unknown"),
            "none of the configured keys has the token's kid: a token of another environment?",
        ),
    ] {
        assert_eq!(hint(&ours, &token.sign()).await, expected);
    }
    let of_clients = Api::new(AUDIENCE, trusted(&server)).with_client_ids(["web"]);
    let of_clients = Validator::new(of_clients).expect("a valid configuration");
    let unmarked = server.token().without("aud").claim("client_id", "web");
    let expected = "no aud: with_client_ids alone accepts only tokens with token_use (Cognito): see the recipe for tokens without aud";
    assert_eq!(hint(&of_clients, &unmarked.clone().sign()).await, expected);
    let expected = "no aud: without it, token_use must be access and client_id one of the API's clients";
    assert_eq!(hint(&of_clients, &unmarked.clone().claim("token_use", "refresh").sign()).await, expected);
    let marked = unmarked.claim("token_use", "access").sign();
    assert!(of_clients.explain(&marked).await.is_accepted());
    let strict = Api::new(AUDIENCE, trusted(&server)).with_client_ids(["web"]).with_profile(Profile::Rfc9068);
    let strict = Validator::new(strict).expect("a valid configuration").explain(&marked).await;
    assert!(!strict.is_accepted() && !strict.hints().any(|hint| hint.starts_with("no aud")), "{strict}");
    let no_slash = TestIssuer::named("https://idp.test");
    assert_eq!(
        hint(&validator(&no_slash), &no_slash.token().issuer("https://idp.test/").sign()).await,
        "iss has an extra trailing slash"
    );
    let auth0 = Api::new(AUDIENCE, trusted(&server)).with_profile(Profile::Auth0);
    let auth0 = Validator::new(auth0).expect("a valid configuration");
    let typ = server.token().typ("at+jwt").sign();
    assert_eq!(
        hint(&auth0, &typ).await,
        "the API's profile does not accept this typ, or the introspection answer says that it is no access token"
    );
}

#[tokio::test]
async fn hint_separates_clock_skew_from_an_old_token() {
    let server = TestIssuer::new();
    let ours = validator(&server);
    let ago = |seconds: u64| {
        let now = SystemClock.now();
        server.token().expires_at(now.saturating_sub(Duration::from_secs(seconds))).sign()
    };
    assert_eq!(hint(&ours, &ago(30)).await, "expired a moment ago: clock skew?");
    assert_eq!(ours.explain(&ago(3_600)).await.hints().next(), None);
    let early = server.token().not_before(SystemClock.now().saturating_add(Duration::from_secs(30))).sign();
    assert_eq!(hint(&ours, &early).await, "not valid yet: clock skew?");
    let tomorrow = server.token().not_before(SystemClock.now().saturating_add(Duration::from_secs(3_600))).sign();
    assert_eq!(ours.explain(&tomorrow).await.hints().next(), None);
}

#[tokio::test]
async fn hint_names_a_date_that_is_not_in_seconds() {
    let server = TestIssuer::new();
    let aged = Api::new(AUDIENCE, trusted(&server)).with_max_token_age(Duration::from_secs(600));
    let aged = Validator::new(aged).expect("a valid configuration");
    let recent = Requirement::max_authentication_age(Duration::from_secs(60));
    let now = SystemClock.now().as_secs();
    for (unit, factor) in [("milliseconds", 1_000), ("microseconds", 1_000_000)] {
        let expected = format!("the date is in {unit}: a NumericDate is in seconds (RFC 7519 §2)");
        for claim in ["exp", "nbf", "iat"] {
            for (date, is_whole) in [((now + 60) * factor, true), ((now - 60) * factor, false)] {
                let date = if is_whole { date.to_string() } else { format!("{date}.5") };
                let token = server.token().raw_claim(claim, &date).sign();
                assert_eq!(hint(&aged, &token).await, expected, "{claim} {date}");
            }
        }
        let explained = aged.explain(&server.token().claim("auth_time", now * factor).sign()).await;
        assert_eq!(explained.with_requirement(&recent).hints().collect::<Vec<_>>(), [expected]);
    }
    // No common mistake has that many digits, or is not a number.
    for date in ["253402300800", "180000060000000", "18000006000000000", "\"1800000600000\"", "null", "-1800000600000"]
    {
        for claim in ["exp", "nbf", "iat"] {
            let explanation = aged.explain(&server.token().raw_claim(claim, date).sign()).await;
            assert!(
                !explanation.hints().any(|hint| hint.starts_with("the date is in")),
                "{claim} {date}: {explanation}"
            );
        }
    }
    assert_eq!(aged.explain(&server.token().sign()).await.hints().next(), None);
}

#[tokio::test]
async fn hint_names_other_domains_of_the_tenant_by_their_signature() {
    let tenant = TestIssuer::auth0("northwind.eu.auth0.com");
    let login = tenant.add_custom_domain("https://login.northwind.com/");
    let api = |domain: &str| Api::new(AUDIENCE, Issuer::auth0(domain));
    let ready = async |api: Api, server: &TestIssuer| {
        let validator = Validator::builder(api).with_fetch(server.clone());
        validator.build_ready(Duration::from_secs(5)).await.expect("keys")
    };
    let canonical_only = ready(api("northwind.eu.auth0.com"), &tenant).await;
    let custom_only = ready(api("login.northwind.com"), &login).await;
    let canonical = "issued by the canonical domain, but the custom domain is configured";
    assert_eq!(hint(&custom_only, &tenant.token().sign()).await, canonical);
    let other = "issued by another domain of a configured tenant: add it as custom domain";
    assert_eq!(hint(&canonical_only, &login.token().sign()).await, other);
    // Anyone can write such a token, with the kid that the tenant publishes.
    let other_issuer = TestIssuer::auth0("fabrikam.eu.auth0.com");
    for foreign in [other_issuer.token(), other_issuer.token().issuer("https://login.fabrikam.com/")] {
        let foreign = foreign.kid(&tenant.kid()).sign();
        assert_eq!(canonical_only.explain(&foreign).await.hints().next(), None);
        assert_eq!(custom_only.explain(&foreign).await.hints().next(), None);
    }
    // Other servers sign for all their tenants with the same keys.
    let shared = TestIssuer::named("https://login.test/tenant-a");
    let trusted = validator(&shared);
    let foreign = shared.add_custom_domain("https://login.test/tenant-b").token().sign();
    assert!(trusted.validate(&shared.token().sign()).await.is_ok());
    assert_eq!(trusted.explain(&foreign).await.hints().next(), None);
}

#[tokio::test]
async fn hint_never_calls_an_access_token_an_id_token() {
    let server = TestIssuer::new();
    let ours = validator(&server);
    let foreign = || server.token().audience("client").claim("azp", "client").claim("nonce", "n");
    for token in [foreign(), foreign().typ("at+jwt"), foreign().claim("client_id", "client")] {
        let explanation = ours.explain(&token.sign()).await;
        assert_eq!(outcome(&explanation, "ID token"), CheckOutcome::Passed);
        assert!(!explanation.hints().any(|hint| hint.contains("ID token")), "{explanation}");
    }
    let marked = ours.explain(&server.token().audience("client").claim("at_hash", "x").sign()).await;
    assert_eq!(outcome(&marked, "ID token"), CheckOutcome::Failed);
    assert!(marked.hints().all(|hint| hint.contains("ID token")), "{marked}");
}

#[tokio::test]
async fn hint_of_a_rejection_equals_the_hint_in_the_log() {
    let server = TestIssuer::new();
    let ours = validator(&server);
    for token in [
        format!("Bearer {}", server.token().sign()),
        "2YotnFZFEjr1zCsicMWpAA".to_owned(),
        server.token().encrypted().sign(),
        server.token().issuer("https://issuer.test").sign(),
        server.token().issuer("https://ISSUER.test/").sign(),
        server.token().kid("unknown").sign(),
        server.token().typ("logout+jwt").sign(),
        server.token().claim("at_hash", "x").sign(),
    ] {
        let rejection = ours.validate(&token).await.expect_err("a rejected token");
        let alone = rejection.hint().unwrap_or_else(|| panic!("no hint: {rejection}"));
        assert_eq!((hint(&ours, &token).await.as_str(), ours.hint(&token, &rejection)), (alone, Some(alone)));
    }
}

#[tokio::test]
async fn hint_names_a_mix_of_secret_and_public_key() {
    let server = TestIssuer::new();
    let secret = "a secret of more than thirty-two bytes.";
    let symmetric =
        Validator::new(Api::new(AUDIENCE, Issuer::shared_secret(server.issuer(), Secret::from_text(secret))));
    let symmetric = symmetric.expect("a valid configuration");
    let expected = "RS256 token at an HS256 API: see the API's signing algorithm at the issuer";
    assert_eq!(hint(&symmetric, &server.token().sign()).await, expected);
    let both = TestIssuer::new().with_algorithms([Algorithm::RS256, Algorithm::ES256]);
    let es = both.token().algorithm(Algorithm::ES256).sign();
    assert_eq!(
        hint(&symmetric, &es).await,
        "token signed with a private key, but the issuer is configured with a shared secret"
    );
    let es_only = Validator::new(Api::new(AUDIENCE, trusted(&both).with_algorithms([Algorithm::ES256])));
    let es_only = es_only.expect("a valid configuration");
    let hs = server.token().hs256_with_public_key().sign();
    assert_eq!(hint(&es_only, &hs).await, "token signed with a secret, but the issuer is configured with public keys");
    assert_eq!(hint(&validator(&both), &es).await, "the issuer's configured algorithms do not include the token's");
}

#[tokio::test]
async fn explain_reads_the_organization_from_the_request() {
    let server = TestIssuer::new();
    let policy = Organizations::from_request(|request| {
        request.host().map(|host| tower_bearer::claims::Organization::from_name(host.as_str()))
    });
    let api = Api::new(AUDIENCE, trusted(&server)).with_organizations(policy);
    let ours = Validator::new(api).expect("a valid configuration");
    let token = server.token().claim("org_name", "acme").sign();
    assert!(ours.explain_for_host(&token, "acme").await.is_accepted());
    let rejected = ours.explain_for_host(&token, "globex").await;
    assert_eq!(outcome(&rejected, "organization of the request"), CheckOutcome::Failed);
    assert_eq!(rejected.rejection(), ours.validate_for_host(&token, "globex").await.err().as_ref());
}

#[tokio::test]
async fn explain_has_the_reason_for_missing_keys() {
    let server = TestIssuer::new();
    server.set_outage(Outage::Status(StatusCode::FORBIDDEN));
    let issuer = Issuer::jwks(server.issuer(), server.jwks_uri());
    let policy = RefreshPolicy::new().with_cold_wait(Duration::from_millis(50));
    let validator = Validator::builder(Api::new(AUDIENCE, issuer)).with_fetch(server.clone());
    let validator = validator.with_refresh_policy(policy).build().expect("a valid configuration");
    let explanation = validator.explain(&server.token().sign()).await;
    assert_eq!(explanation.rejection().map(Rejection::kind), Some(RejectionKind::KeysUnavailable));
    let key = explanation.findings().iter().find(|finding| finding.check() == "key");
    assert_eq!(key.and_then(Finding::found), Some("the server responded with status 403"));
}

/// By position, since the issuer chooses the kids.
#[tokio::test]
async fn explain_has_the_reason_for_skipped_keys() {
    let server = TestIssuer::new();
    let good = server.jwks();
    let unlisted = good.replace(r#""alg":"RS256""#, r#""alg":"RS512""#);
    assert_ne!(unlisted, good);
    let key = |document: &str| document.trim_start_matches(r#"{"keys":["#).trim_end_matches("]}").to_owned();
    let encrypting = r#"{"kty":"RSA","use":"enc","n":"AQAB","e":"AQAB"}"#;
    server.publish(format!(r#"{{"keys":[{encrypting},{},7]}}"#, key(&unlisted)));
    let issuer = Issuer::jwks(server.issuer(), server.jwks_uri());
    let policy = RefreshPolicy::new().with_cold_wait(Duration::from_millis(50));
    let validator = Validator::builder(Api::new(AUDIENCE, issuer)).with_fetch(server.clone());
    let validator = validator.with_refresh_policy(policy).build().expect("a valid configuration");
    let token = server.token().sign();
    let of_key = |explanation: &Explanation| {
        let key = explanation.findings().iter().find(|finding| finding.check() == "key").expect("it is checked");
        key.expected().map(str::to_owned)
    };
    let skipped = "key 0: its use is not signatures, key 1: it verifies none of the configured algorithms, \
                   key 2: it is not a JSON object";
    let rejected = validator.explain(&token).await;
    assert_eq!(rejected.rejection().map(Rejection::kind), Some(RejectionKind::KeysUnavailable));
    assert_eq!(of_key(&rejected), Some(format!("the issuer's keys; skipped: {skipped}")));

    // The set is accepted, without the requested key.
    server.publish(format!(r#"{{"keys":[{encrypting},{}]}}"#, key(&good)));
    let (_, source) = validator.key_sources().next().expect("keys are fetched");
    source.reload().await.expect("the server answers");
    let expected = "a key of this kid and algorithm among the issuer's";
    let with_reason = Some(format!("{expected}; skipped: key 0: its use is not signatures"));
    assert_eq!(of_key(&validator.explain(&server.token().kid("other").sign()).await), with_reason);
    server.publish(good);
    source.reload().await.expect("the server answers");
    assert_eq!(of_key(&validator.explain(&server.token().kid("other").sign()).await).as_deref(), Some(expected));
}

#[tokio::test]
async fn quoted_values_contain_no_control_characters() {
    let server = TestIssuer::new();
    // JSON allows unescaped DEL and bidirectional control characters.
    let subject = "a\u{7f}\u{202e}\u{2066}\u{9b}b\u{fc}";
    let explanation = validator(&server).explain(&server.token().subject(subject).sign()).await;
    let sub = explanation.findings().iter().find(|finding| finding.check() == "sub").expect("a finding");
    assert_eq!(sub.found(), Some("\"a    b\u{fc}\""));
    assert!(explanation.is_accepted());
}

#[tokio::test]
async fn clients_receive_no_explanation() {
    let server = TestIssuer::new();
    let ours = validator(&server);
    for token in [
        "2YotnFZFEjr1zCsicMWpAA".to_owned(),
        server.token().issuer("https://issuer.test").sign(),
        server.token().audience("client").claim("nonce", "n").sign(),
        server.token().hs256_with_public_key().sign(),
        server.token().expired().sign(),
        server.token().typ("logout+jwt").sign(),
    ] {
        let explanation = ours.explain(&token).await;
        assert!(!explanation.is_accepted());
        let layer = BearerLayer::new(ours.clone()).with_json_body();
        let response = stack::send_through(layer, stack::request_with_token(&token)).await;
        // All of them return the same response.
        assert_eq!((response.status, response.challenge()), (401, stack::INVALID_TOKEN), "{explanation}");
        let description = "the access token is malformed, expired, or not valid here";
        assert_eq!(response.body, format!(r#"{{"error":"invalid_token","error_description":"{description}"}}"#));
        assert_eq!(response.headers.len(), 3, "{:?}", response.headers);
    }
}

/// Collects log lines.
#[derive(Clone, Default)]
struct Log(Arc<Mutex<Vec<u8>>>);

impl io::Write for Log {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.0.lock().expect("the lock is not poisoned").extend_from_slice(bytes);
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

#[tokio::test]
async fn log_event_of_a_rejection_has_the_same_hint() {
    let server = TestIssuer::new();
    let ours = validator(&server);
    let log = Log::default();
    let writer = log.clone();
    crate::layer_fixture::register_second_subscriber();
    let logging = tracing_subscriber::fmt()
        .with_max_level(tracing_subscriber::filter::LevelFilter::DEBUG)
        .with_ansi(false)
        .with_writer(move || writer.clone())
        .finish()
        .set_default();
    let recent = SystemClock.now().saturating_sub(Duration::from_secs(30));
    for token in [
        server.token().issuer("https://issuer.test"),
        server.token().hs256_with_public_key(),
        server.token().audience("client").claim("at_hash", "x"),
        server.token().expires_at(recent),
    ] {
        assert!(ours.validate(&token.sign()).await.is_err());
    }
    let before = log.0.lock().expect("the lock is not poisoned").len();
    drop(ours.explain(&server.token().issuer("https://issuer.test").sign()).await);
    assert_eq!(log.0.lock().expect("the lock is not poisoned").len(), before, "an explanation logs no rejection");
    drop(logging);
    let text = String::from_utf8(log.0.lock().expect("the lock is not poisoned").clone()).expect("UTF-8");
    let lines: Vec<&str> = text.lines().filter(|line| line.contains("token rejected")).collect();
    for (line, hint) in lines.iter().zip([
        "iss lacks the trailing slash",
        "HS256 token at an RS256 API",
        "marked as an ID token",
        "expired a moment ago: clock skew?",
    ]) {
        assert!(line.contains(hint), "{hint}: {line}");
    }
    assert_eq!(lines.len(), 4, "{text}");
    assert!(text.contains("late_by=30") || text.contains("late_by=31"), "{text}");
    assert_eq!(text.matches("late_by").count(), 1, "only where it means something: {text}");
    assert!(!text.contains("eyJ"), "no token in the log");
}

#[tokio::test]
async fn requirement_of_a_route_is_explained() {
    let server = TestIssuer::new();
    let validator = validator(&server);
    let user = server
        .token()
        .scope("openid")
        .permissions(["write"])
        .claim("tier", "silver")
        .claim("acr", "low")
        .claim("azp", "spa");
    let permission = "the token has a permission of that name: require `scope_or_permission`";
    let scope =
        "the token has a scope of that name, but a scope shows what the client requested, not what the user may do";
    let both = Some("scope \"openid\", permissions [\"write\"]");
    for (requirement, rejection, found, hint) in [
        (Requirement::permission("write"), None, None, None),
        (Requirement::scope("write"), Some("the token lacks the scope write"), both, Some(permission)),
        (Requirement::permission("openid"), Some("the token lacks the permission openid"), both, Some(scope)),
        (
            Requirement::claim_equals("tier", "gold"),
            Some("the claim tier is missing or does not have the required value"),
            Some("\"silver\""),
            None,
        ),
        (
            Requirement::claim_equals("plan", "gold"),
            Some("the claim plan is missing or does not have the required value"),
            None,
            None,
        ),
        (
            Requirement::client_ids(["web"]),
            Some("the claim client_id is missing or does not have the required value"),
            Some("azp \"spa\""),
            None,
        ),
        (
            Requirement::acr_values(["gold"]),
            Some("the authentication is too weak or too old"),
            Some("acr \"low\""),
            None,
        ),
    ] {
        let explanation = validator.explain(&user.clone().sign()).await.with_requirement(&requirement);
        let finding = explanation.findings().last().expect("findings");
        assert_eq!(finding.check(), "requirement");
        assert_eq!(finding.expected().map(str::to_owned), Some(requirement.to_string()));
        assert_eq!(explanation.is_accepted(), rejection.is_none());
        assert_eq!(explanation.rejection().map(ToString::to_string).as_deref(), rejection);
        assert_eq!((finding.found(), finding.hint()), (found, hint));
    }
    let nested = user.clone().claim("realm_access", serde_json::json!({ "roles": ["guest"] })).sign();
    let clerk = Requirement::claim_path(["realm_access", "roles"]).contains("clerk");
    let explanation = validator.explain(&nested).await.with_requirement(&clerk);
    assert_eq!(explanation.findings().last().and_then(Finding::found), Some(r#"{"roles":["guest"]}"#));
    let expired = validator.explain(&user.expired().sign()).await.with_requirement(&Requirement::scope("openid"));
    assert_eq!(expired.findings().last().map(Finding::outcome), Some(CheckOutcome::Skipped));
}

#[tokio::test]
async fn shows_implied_scopes() {
    let server = TestIssuer::new();
    let api = Api::new(AUDIENCE, trusted(&server)).with_implied_scopes([("admin", ["read:orders", "write:orders"])]);
    let validator = Validator::new(api).expect("a valid configuration");
    let implied = async |token: TokenBuilder| {
        let explanation = validator.explain(&token.sign()).await.with_requirement(&Requirement::scope("read:orders"));
        let finding = explanation.findings().iter().find(|finding| finding.check() == "implied scopes");
        (explanation.is_accepted(), finding.and_then(Finding::found).map(str::to_owned))
    };
    let both = "read:orders (by admin), write:orders (by admin)".to_owned();
    assert_eq!(implied(server.token().scope("admin")).await, (true, Some(both)));
    let one = "write:orders (by admin)".to_owned();
    assert_eq!(implied(server.token().scope("read:orders admin")).await, (true, Some(one)));
    assert_eq!(implied(server.token().scope("write:orders")).await, (false, None));
}
