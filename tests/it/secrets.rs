//! No secret is ever shown: not by `Debug` or `Display` of any type, not in a log line of any level, not in a response
//! (rules 26, 88, 117).

use std::collections::BTreeSet;
use std::convert::Infallible;
use std::fmt::{Debug, Write as _};
use std::io;
use std::path::Path;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use bytes::Bytes;
use http::header::{AUTHORIZATION, CONTENT_TYPE};
use http::{HeaderName, HeaderValue, Request, Response};
use http_body_util::{BodyExt as _, Full};
use serde_json::{Value, json};
use tower::{ServiceBuilder, ServiceExt as _, service_fn};
use tower_bearer::authenticator::{Authenticator, Outcome};
use tower_bearer::config::{Tenant, Tenants};
use tower_bearer::fetch::{Endpoint, FetchRequest, FetchResponse, FormRequest};
use tower_bearer::introspection::{ClientAuthentication, Introspection};
use tower_bearer::jwks::{RefreshPolicy, SecretSource};
use tower_bearer::keys::{KeySet, Secret};
use tower_bearer::request::{BearerToken, RequestHead};
use tower_bearer::testing::{self, FakeClock, FakeFetch, Outage, Reply, TestIssuer};
use tower_bearer::token::UnverifiedToken;
use tower_bearer::{Algorithm, Api, BearerLayer, Claims, Issuer, Rejection, RequireLayer, Validator};
use tracing_subscriber::fmt::MakeWriter;

use crate::fixture::{AUDIENCE, block_on, trusted, validator_for};

/// The same text wherever a test needs a secret.
const SECRET: &str = "Hg7kQ2-this-is-the-shared-secret-of-the-test";
const API_KEY: &str = "Wd83-api-key-of-the-key-server";
const SUBJECT: &str = "Jt5-somebody@example.com";
const PRIVATE: &str = "Pp4cHJpdmF0ZS1rZXktbWF0ZXJpYWwtb2YtdGhlLXRlc3Q";

/// Panics if `shown` contains the token, a segment of it, or one of the other secrets.
fn assert_contains_no_secret(shown: &str, tokens: &[String], context: &str) {
    let segments = tokens.iter().flat_map(|token| token.split('.')).filter(|segment| segment.len() > 8);
    for secret in segments.chain([SECRET, API_KEY, SUBJECT, PRIVATE]) {
        assert!(!shown.contains(secret), "{context} shows {secret}: {shown}");
    }
    for encoded in [hex(SECRET), base64(SECRET)] {
        assert!(!shown.contains(&encoded), "{context} shows the secret encoded");
    }
}

fn hex(text: &str) -> String {
    text.bytes().fold(String::new(), |mut hex, byte| {
        write!(hex, "{byte:02x}").expect("writing to a string succeeds");
        hex
    })
}

fn base64(text: &str) -> String {
    base64::Engine::encode(&base64::prelude::BASE64_URL_SAFE_NO_PAD, text)
}

/// Captures log lines of every level.
#[derive(Clone, Default)]
struct Log(Arc<Mutex<Vec<u8>>>);

impl Log {
    fn text(&self) -> String {
        String::from_utf8_lossy(&self.0.lock().expect("no panic")).into_owned()
    }
}

impl io::Write for Log {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.0.lock().expect("no panic").extend_from_slice(bytes);
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

impl<'w> MakeWriter<'w> for Log {
    type Writer = Self;

    fn make_writer(&'w self) -> Self {
        self.clone()
    }
}

/// Returns a token with each possible error, and one valid token.
fn tokens(server: &TestIssuer, other_issuer: &TestIssuer) -> Vec<String> {
    let token = || server.token().subject(SUBJECT).expires_in(Duration::from_secs(7200));
    let mut tokens = vec![
        token(),
        token().with_broken_signature(),
        token().signed_by(other_issuer),
        token().kid("Kk9-unknown-kid"),
        token().without_kid(),
        token().expired(),
        token().audience("https://Aa1-other-api.example/"),
        token().issuer("https://Ii1-other.example/"),
        token().issuer(server.issuer().trim_end_matches('/')),
        token().typ("Tt1-unknown-typ"),
        token().header("crit", ["Cc1-extension"]),
        token().header("alg", "none").with_signature([]),
        token().hs256_with_public_key(),
        token().encrypted(),
        token().claim("cnf", json!({ "jkt": "Jk1-thumbprint" })),
        token().claim("at_hash", "Ah1-hash"),
        token().claim("org_id", 5),
        token().with_duplicate_claim("sub", SUBJECT),
        token().raw_payload(format!("[\"{SUBJECT}\"]")),
        token().raw_claim("exp", "\"Ex1-text\""),
    ]
    .into_iter()
    .map(|token| token.sign())
    .collect::<Vec<_>>();
    tokens.push("Op1-opaque-token-of-userinfo".to_owned());
    tokens.push("Lo1".repeat(10_000));
    tokens
}

/// Returns a test issuer whose key set contains everything that a key set must not contain.
fn issuer_with_bad_key_set(clock: &FakeClock) -> TestIssuer {
    let server = TestIssuer::new().with_clock(Arc::new(clock.clone()));
    let mut jwks: Value = serde_json::from_str(&server.jwks()).expect("a key set");
    let keys = jwks["keys"].as_array_mut().expect("keys");
    // A private part of another key: the signing key would no longer verify.
    let other: Value = serde_json::from_str(&TestIssuer::new().jwks()).expect("a key set");
    let mut private = other["keys"][0].clone();
    private["d"] = PRIVATE.into();
    keys.extend([private, json!({ "kty": "oct", "k": base64(SECRET), "kid": "shared" }), json!({ "kty": PRIVATE })]);
    server.publish(jwks.to_string());
    server
}

#[test]
fn logs_and_responses_contain_no_secret() {
    let log = Log::default();
    let subscriber = tracing_subscriber::fmt()
        .with_max_level(tracing::level_filters::LevelFilter::TRACE)
        .with_writer(log.clone())
        .with_ansi(false)
        .finish();
    let mut tokens_seen = Vec::new();
    let mut kinds = BTreeSet::new();
    crate::layer_fixture::register_second_subscriber();
    tracing::subscriber::with_default(subscriber, || {
        block_on(async {
            let clock = FakeClock::new();
            let (server, other_issuer) = (issuer_with_bad_key_set(&clock), TestIssuer::new());
            let shared = Issuer::shared_secret("https://hs.example/", Secret::from_text(SECRET));
            let api = Api::new(AUDIENCE, Issuer::oidc(server.issuer())).with_issuer(shared);
            let key = HeaderValue::from_static(API_KEY);
            let policy = RefreshPolicy::new().with_header(HeaderName::from_static("x-api-key"), key);
            let validator = Validator::builder(api).with_clock(clock.clone()).with_fetch(server.clone());
            let validator = validator.with_refresh_policy(policy).build().expect("a valid configuration");
            clock.run_for(Duration::from_secs(1)).await;
            tokens_seen = tokens(&server, &other_issuer);
            for token in &tokens_seen {
                let outcome = validator.validate(token).await;
                kinds.insert(
                    outcome
                        .as_ref()
                        .map_err(|rejection| rejection.kind().name())
                        .map(|_| "accepted")
                        .unwrap_or_else(|kind| kind),
                );
                assert_contains_no_secret(&format!("{outcome:?}"), &tokens_seen, "a result");
                let response = response(&validator, token).await;
                assert_contains_no_secret(&response, &tokens_seen, "a response");
            }
            server.set_outage(Outage::Status(http::StatusCode::INTERNAL_SERVER_ERROR));
            clock.run_for(Duration::from_secs(2 * 3600)).await;
            assert!(validator.validate(&tokens_seen[0]).await.is_err());
        });
    });
    assert!(kinds.contains("accepted") && kinds.len() >= 10, "{kinds:?}");
    let text = log.text();
    for level in ["ERROR", "WARN", "INFO", "DEBUG"] {
        assert!(text.contains(level), "no {level} line was captured: {text}");
    }
    assert_contains_no_secret(&text, &tokens_seen, "the log");
    for foreign in ["Kk9", "Aa1", "Ii1", "Tt1", "Cc1", "Jk1", "Ah1", "Ex1", "Op1", "Lo1"] {
        assert!(!text.contains(foreign), "the log shows {foreign}: {text}");
    }
}

/// Case 30: neither a token nor the credentials of this API are in a log, an error or a response, whatever the server says.
#[test]
fn introspection_logs_no_token_and_no_credentials() {
    const TOKEN: &str = "Op2-opaque-token-of-a-client";
    let log = Log::default();
    let subscriber = tracing_subscriber::fmt()
        .with_max_level(tracing::level_filters::LevelFilter::TRACE)
        .with_writer(log.clone())
        .with_ansi(false)
        .finish();
    crate::layer_fixture::register_second_subscriber();
    tracing::subscriber::with_default(subscriber, || {
        block_on(async {
            for answer in [
                Reply::json(format!(r#"{{"active":true,"iss":"https://hs.example/","sub":"{SUBJECT}","exp":4e9}}"#)),
                Reply::json(format!(r#"{{"active":true,"aud":"{AUDIENCE}","exp":4e9,"sub":"{SUBJECT}"}}"#)),
                Reply::json(r#"{"active":false}"#),
                Reply::json(format!(r#"{{"active":"{SUBJECT}"}}"#)),
                Reply::json(format!(r#"{{"active":true,"sub":["{SUBJECT}"]}}"#)),
                Reply::status(http::StatusCode::UNAUTHORIZED).with_body(format!(r#"{{"error":"{SUBJECT}"}}"#)),
                Reply::status(http::StatusCode::BAD_GATEWAY),
                Reply::error(tower_bearer::fetch::FetchError::Connect),
                Reply::panic(),
            ] {
                let clock = FakeClock::new();
                let network = FakeFetch::new(&clock);
                network.always("https://hs.example/introspect", answer.with_header(CONTENT_TYPE, "application/json"));
                let authentication = ClientAuthentication::basic("orders-api", SECRET);
                let introspection = Introspection::at("https://hs.example/introspect", authentication);
                let api = Api::new(AUDIENCE, Issuer::opaque("https://hs.example/", introspection));
                let validator = Validator::builder(api).with_clock(clock.clone()).with_fetch(network).build();
                let validator = validator.expect("a valid configuration");
                for number in 0..6 {
                    let tokens = [format!("{TOKEN}-{number}")];
                    let rejection = validator.validate(&tokens[0]).await.map(drop);
                    assert_contains_no_secret(&format!("{rejection:?}"), &tokens, "a result");
                    assert_contains_no_secret(&response(&validator, &tokens[0]).await, &tokens, "a response");
                    clock.settle().await;
                }
            }
        });
    });
    let text = log.text();
    assert!(text.contains("refuses the credentials") && text.contains("could not introspect"), "{text}");
    assert_contains_no_secret(&text, &[TOKEN.to_owned()], "the log");
    assert!(!text.contains("Op2"), "{text}");
}

/// Returns head and body of the response to a request with this token; JSON responses have the most detail.
async fn response(validator: &Validator, token: &str) -> String {
    let credential = BearerLayer::new(validator.clone()).with_realm("test").with_json_body();
    let require = RequireLayer::scope("write:orders").with_json_body();
    let inner = service_fn(|_| async { Ok::<_, Infallible>(Response::new(Full::<Bytes>::default())) });
    let body_of = ServiceBuilder::new().layer(credential).layer(require).service(inner);
    let request = Request::builder().header(AUTHORIZATION, format!("Bearer {token}")).body(String::new());
    let response = body_of.oneshot(request.expect("a request")).await.expect("a response");
    let (parts, body) = response.into_parts();
    let body = body.collect().await.expect("a body").to_bytes();
    format!("{:?} {:?} {}", parts.status, parts.headers, String::from_utf8_lossy(&body))
}

/// `Debug` of every public type that can contain a secret, and `Display` where implemented.
#[test]
#[expect(clippy::too_many_lines, reason = "a list of all types reads best in one piece")]
fn debug_and_display_of_public_types_contain_no_secret() {
    block_on(async {
        let clock = FakeClock::new();
        let server = issuer_with_bad_key_set(&clock);
        let token = server.token().subject(SUBJECT).sign();
        let tokens = [token.clone()];
        let mut shown: Vec<(&str, String)> = Vec::new();
        let mut show = |name: &'static str, value: &dyn Debug| shown.push((name, format!("{value:?} {value:#?}")));

        let bearer_token = BearerToken::parse(&token).expect("a b64token");
        show("BearerToken", &bearer_token);
        let mut request = Request::new(());
        request.headers_mut().insert(AUTHORIZATION, format!("Bearer {token}").parse().expect("a field"));
        show("extract", &BearerToken::from_headers(request.headers()));
        show("RequestHead", &RequestHead::new(&request));
        let parsed = UnverifiedToken::parse(&token).expect("a token");
        show("UnverifiedToken", &parsed);
        show("Header", parsed.header());

        for secret in [
            Secret::from_text(SECRET),
            Secret::from_hex(hex(SECRET)),
            Secret::from_base64url(base64(SECRET)),
            Secret::new(SECRET.as_bytes()),
            Secret::from_text(SECRET).map(Secret::dangerous_short_secret),
        ] {
            show("Secret", &secret);
            show("SecretSource", &secret.clone().map(SecretSource::new));
            let issuer = Issuer::shared_secret("https://hs.example/", secret);
            show("Issuer", &issuer);
            let tenant = Tenant::new(issuer.clone()).with_request_host("api.example");
            show("Tenant", &tenant);
            let tenants = Tenants::matching("https://id.example/{name}").resolved_by(move |_| {
                let tenant = tenant.clone();
                async move { Ok(Some(tenant)) }
            });
            show("Tenants", &tenants);
            for authentication in [
                ClientAuthentication::basic("orders", SECRET),
                ClientAuthentication::post("orders", SECRET),
                ClientAuthentication::bearer(SECRET),
            ] {
                show("ClientAuthentication", &authentication);
                let introspection = Introspection::at("https://hs.example/introspect", authentication);
                show("Introspection", &introspection);
                show("Issuer", &Issuer::opaque("https://hs.example/", introspection));
            }
            let form = FormRequest::new(Endpoint::new("https://hs.example/").expect("a URL"), SECRET, 1);
            show("FormRequest", &form);
            let api = Api::new(AUDIENCE, issuer);
            show("Api", &api);
            show("ValidatorBuilder", &Validator::builder(api.clone()));
            show("Validator", &validator_for(api));
        }
        let short = Secret::from_text(&SECRET[..10]);
        show("SecretError", &Secret::from_base64(SECRET));
        let reason = Validator::new(Api::new(AUDIENCE, Issuer::shared_secret("https://hs.example/", short)));
        let reason = reason.expect_err("too short");
        assert!(!format!("{reason} {reason:?}").contains(&SECRET[..10]));
        show("ConfigError", &reason);
        show("SettingError", &reason.errors());

        let keys = KeySet::from_jwks(
            json!({ "keys": [
            { "kty": "oct", "k": base64(SECRET) }, { "kty": "RSA", "d": PRIVATE, "n": PRIVATE, "e": "AQAB" },
            { "kty": PRIVATE },
        ] })
            .to_string(),
        )
        .expect("a set");
        show("KeySet", &keys);
        keys.skipped().for_each(|key| show("SkippedKey", key));
        show("KeyError", &KeySet::from_jwks(format!("{{\"kty\":\"{PRIVATE}\"}}")));
        show(
            "KeyError",
            &KeySet::from_pem(format!("-----BEGIN PRIVATE KEY-----\n{PRIVATE}\n-----END PRIVATE KEY-----")),
        );

        let name = HeaderName::from_static("x-api-key");
        let policy = RefreshPolicy::new().with_header(name.clone(), HeaderValue::from_static(API_KEY));
        let events = Arc::new(Mutex::new(Vec::new()));
        let sink = Arc::clone(&events);
        let policy = policy.with_event_hook(move |event| sink.lock().expect("no panic").push(event.clone()));
        show("RefreshPolicy", &policy);
        let network = FakeFetch::new(&clock);
        let private = json!({ "keys": [{ "kty": "RSA", "d": PRIVATE }] }).to_string();
        let cookie = http::header::SET_COOKIE;
        show("Reply", &Reply::json(private.clone()).with_header(cookie.clone(), PRIVATE));
        let headers = [(cookie, HeaderValue::from_static(PRIVATE))].into_iter().collect();
        show("FetchResponse", &FetchResponse::new(http::StatusCode::OK, headers, private.into()));
        let fetching = Api::new(AUDIENCE, Issuer::jwks("https://as.example/", "https://as.example/jwks"));
        let fetching = Validator::builder(fetching).with_clock(clock.clone()).with_fetch(network.clone());
        let fetching = fetching.with_refresh_policy(policy.clone()).build().expect("a valid configuration");
        clock.run_for(Duration::from_secs(1)).await;
        drop(fetching);
        let seen = network.requests().pop().expect("a request");
        assert_eq!(seen.headers.get(&name).map(HeaderValue::as_bytes), Some(API_KEY.as_bytes()));
        show("RecordedRequest", &seen);
        let mut fetch = FetchRequest::new(Endpoint::new(&seen.url).expect("a URL"), 1024);
        fetch.headers = seen.headers;
        show("FetchRequest", &fetch);

        let api = Api::new(AUDIENCE, trusted(&TestIssuer::new(), Algorithm::RS256));
        let api = api.with_issuer(Issuer::oidc(server.issuer()));
        let builder = Validator::builder(api).with_clock(clock.clone()).with_fetch(server.clone());
        let validator = builder.with_refresh_policy(policy).build();
        let Ok(validator) = validator else { return show("ConfigError", &validator.map(drop)) };
        clock.run_for(Duration::from_secs(1)).await;
        let outcome = validator.validate(&token).await;
        show("Rejection", &outcome.as_ref().map(drop));
        if let Ok(claims) = &outcome {
            show("Claims", claims);
            show("Actor", &claims.actor());
        }
        validator.key_sources().for_each(|(_, source)| {
            show("KeySource", source);
            let keys = KeySet::from_jwks(server.jwks()).expect("a key set");
            show("Thumbprint", &keys.thumbprints().collect::<Vec<_>>());
            show("KeyStatus", &source.status());
        });
        let events = events.lock().expect("no panic").clone();
        assert!(events.len() >= 5, "{events:?}");
        events.iter().for_each(|event| {
            show("KeyEvent", event);
            show("KeyEventKind", &event.kind());
        });
        let explanation = validator.explain(&token).await;
        show("Explanation", &explanation);
        show("Finding", &explanation.findings());
        let authenticator = Authenticator::new(validator.clone()).with_raw_token();
        show("Authenticator", &authenticator);
        let outcome = authenticator.authenticate(&RequestHead::new(&request)).await;
        show("Outcome", &outcome);
        if let Outcome::Authenticated(authenticated) = outcome {
            show("Authenticated", &authenticated);
        }
        show("Rejected", &authenticator.reject(&RequestHead::new(&request), Rejection::Signature));
        show("RequireLayer", &RequireLayer::scope("read:orders"));
        show("TestIssuer", &server);
        show("TokenBuilder", &server.token().subject(SUBJECT));
        show("ClaimsBuilder", &testing::claims().subject(SUBJECT));
        show("Claims", &testing::claims().subject(SUBJECT).build());
        let client = testing::ProofKey::new();
        show("ProofKey", &client);
        show("ProofBuilder", &client.proof("GET", "https://api.test/", &token));
        let nonces = tower_bearer::dpop::Nonces::shared(Secret::from_text(SECRET));
        show("Nonces", &nonces);
        show("Dpop", &tower_bearer::dpop::Dpop::new("https://api.test").with_nonces(nonces));
        let redis = tower_bearer::stores::Redis::builder(&format!("redis://user:{SECRET}@localhost"));
        show("RedisBuilder", &redis);
        let redis = redis.build();
        show("Redis", &redis);
        if let Ok(redis) = redis {
            show("RedisReplayStore", &tower_bearer::stores::RedisReplayStore::new(&redis, "orders"));
            show("RedisLog", &tower_bearer::stores::RedisLog::new(&redis, "tb:revocations"));
        }
        show("ClaimsSource", &testing::claims().subject(SUBJECT).build().source());
        for (name, text) in &shown {
            assert_contains_no_secret(text, &tokens, name);
        }
    });
}

/// A new public type must be added to one of the two lists: shown above, or unable to contain a secret.
#[test]
fn every_public_type_is_listed() {
    let shown_above: BTreeSet<&str> =
        include_str!("secrets.rs").split("show(\"").skip(1).filter_map(|rest| rest.split('"').next()).collect();
    let mut unaccounted = Vec::new();
    collect_public_types(&crate::stack::repository().join("src"), &mut |name| {
        if !shown_above.contains(name) && !CONTAIN_NO_SECRET.contains(&name) {
            unaccounted.push(name.to_owned());
        }
    });
    assert_eq!(unaccounted, [""; 0], "show them above, or add them to the list below");
}

/// Fixed names, numbers, times and the operator's public configuration.
const CONTAIN_NO_SECRET: &[&str] = &[
    "FakeLog",
    "LogAppend",
    "LogError",
    "LogFailure",
    "LogPage",
    "LogPosition",
    "LogRead",
    "MemoryLog",
    "RedisError",
    "RedisConfigError",
    "RedisSettingError",
    "RevocationState",
    "RevocationEvent",
    "RevocationEventKind",
    "RevocationsNotReadyError",
    "AccessTokenHash",
    "IntrospectionError",
    "IntrospectionEvent",
    "IntrospectionEventKind",
    "IntrospectionRejection",
    "IntrospectionSettingError",
    "StoppedCalls",
    "SignedAnswerError",
    "CertificateError",
    "CertificateHeader",
    "CertificateHeaderError",
    "CertificateThumbprint",
    "ClientCertificate",
    "MutualTls",
    "NetworkError",
    "PeerAddress",
    "TrustedProxy",
    "Confirmation",
    "CurrentNonces",
    "Expected",
    "MemoryReplayStore",
    "NearMiss",
    "NonceError",
    "PossessionError",
    "ProofClaim",
    "ProofError",
    "ProofId",
    "ProofPolicy",
    "PublicUrl",
    "PublicUrlError",
    "ProofUse",
    "Recording",
    "ReplayError",
    "Revocation",
    "RevocationKind",
    "RevocationConfigError",
    "RevocationSettingError",
    "RevocationStatus",
    "Revocations",
    "RevocationsBuilder",
    "RevokeError",
    "LogoutReach",
    "LogoutReceiver",
    "ClaimedIssuer",
    "TenantCounts",
    "TenantError",
    "TenantEvent",
    "TenantEventKind",
    "TenantList",
    "TenantNames",
    "TenantSettingError",
    "TrustedIssuer",
    "SenderConstraint",
    "VerifiedProof",
    "ActorError",
    "Alternative",
    "Algorithm",
    "AsyncRequireLayer",
    "AsyncRequireService",
    "Audience",
    "AuthenticationMethods",
    "BearerRejection",
    "BearerService",
    "BuildClientError",
    "BuildClientErrorKind",
    "ChallengeError",
    "CheckError",
    "ClaimError",
    "ClaimPath",
    "ClaimStrings",
    "ClaimTypeError",
    "ClaimValue",
    "ClaimsRejection",
    "CredentialError",
    "CustomClaimsError",
    "EmptyBody",
    "EntraCloud",
    "EntraTenants",
    "Endpoint",
    "EndpointError",
    "FakeClock",
    "FakeFetch",
    "ClaimErrorReason",
    "FetchError",
    "FileKeyStore",
    "Host",
    "HostError",
    "RequirementError",
    "IssuerError",
    "IssuerPatternError",
    "JsonBody",
    "KeyNotFoundError",
    "KeyState",
    "KeyStoreError",
    "KeyStoreOperation",
    "MetadataError",
    "MetadataService",
    "Misconfiguration",
    "UnknownKidAction",
    "Monotonic",
    "IssuerDifference",
    "UnsupportedAlgorithmError",
    "NoCustomClaims",
    "NotReadyError",
    "Organization",
    "Organizations",
    "Outage",
    "CheckOutcome",
    "Segment",
    "Permissions",
    "RefreshPolicyError",
    "Principal",
    "SettingErrorKind",
    "Profile",
    "RefreshCause",
    "RefreshError",
    "ErrorResponse",
    "RejectionKind",
    "RequireService",
    "Required",
    "Requirement",
    "RequirementSyntaxError",
    "ReqwestFetch",
    "ReqwestFetchBuilder",
    "ProtectedResourceMetadata",
    "ResponseFuture",
    "ResponseHook",
    "Scopes",
    "SignedToken",
    "Step",
    "Scheme",
    "SkipReason",
    "InitialFetch",
    "BuildError",
    "ReplaceSecretError",
    "SystemClock",
    "ThumbprintError",
    "TestNetwork",
    "TestServer",
    "Timestamp",
    "TimestampRangeError",
    "TokenError",
    "UnknownAlgorithmError",
    "UnmetRequirement",
];

fn collect_public_types(folder: &Path, found: &mut impl FnMut(&str)) {
    for entry in std::fs::read_dir(folder).expect("the sources").flatten() {
        let path = entry.path();
        if path.is_dir() {
            collect_public_types(&path, found);
        } else if path.extension().is_some_and(|extension| extension == "rs") {
            let text = std::fs::read_to_string(&path).expect("a source file");
            for line in text.lines().map(str::trim_start) {
                let item = line.strip_prefix("pub struct ").or_else(|| line.strip_prefix("pub enum "));
                if let Some(name) = item.and_then(|item| item.split(|c: char| !c.is_alphanumeric()).next()) {
                    found(name);
                }
            }
        }
    }
}

/// The claims in a handler contain personal data, and their `Debug` shows none of it.
#[test]
fn debug_of_claims_shows_no_values() {
    let server = crate::fixture::server(Algorithm::EdDSA);
    let validator = crate::fixture::validator(&server, Algorithm::EdDSA).with_custom_claims::<Value>();
    let token = server.token().subject(SUBJECT).sign();
    let claims: Claims<Value> = block_on(validator.validate(&token)).expect("a valid token");
    assert!(claims.custom()["sub"] == SUBJECT);
    assert_contains_no_secret(&format!("{claims:?} {:?}", claims.registered()), &[token], "Claims");
}

/// A dropped secret leaves no copy in memory: the process searches its own memory.
#[cfg(target_os = "linux")]
#[test]
fn dropped_secret_is_zeroized() {
    const MASK: u8 = 0x5a;
    // The text is built at run time and searched for in masked form, so that the test itself has no copy. It is long
    // and periodic, so that a buffer that grew would leave a part of it behind.
    let period: Vec<u8> = (0..=255_u8).map(|at| (at.wrapping_mul(37) % 90 + 33) ^ MASK).collect();
    let disguised = period.repeat(8);
    let part = &disguised[16..48];
    let plain = || {
        let mut text = String::with_capacity(disguised.len());
        disguised.iter().for_each(|byte| text.push(char::from(byte ^ MASK)));
        text
    };
    for secret in [Secret::from_text(plain()), Secret::new(plain().into_bytes())] {
        let secret = secret.expect("a secret");
        assert!(is_in_memory(part, MASK), "a live secret is found");
        let issuer = Issuer::shared_secret("https://hs.example/", secret.clone());
        let validator = Validator::new(Api::new(AUDIENCE, issuer)).expect("a valid configuration");
        drop((secret, validator));
    }
    assert!(!is_in_memory(part, MASK), "a dropped secret is not found");
}

#[cfg(target_os = "linux")]
fn is_in_memory(disguised: &[u8], mask: u8) -> bool {
    use std::os::unix::fs::FileExt as _;
    let memory = std::fs::File::open("/proc/self/mem").expect("our own memory");
    let maps = std::fs::read_to_string("/proc/self/maps").expect("its map");
    let mut buffer = vec![0; 1 << 16];
    let mut found = false;
    for map in maps.lines().filter(|map| map.contains(" rw-p ")) {
        let range = map.split(' ').next().and_then(|range| range.split_once('-')).expect("a range");
        let [start, end] = [range.0, range.1].map(|hex| u64::from_str_radix(hex, 16).expect("an address"));
        let step = (buffer.len() - disguised.len()) as u64;
        for at in (start..end).step_by(usize::try_from(step).expect("small")) {
            let length = buffer.len().min(usize::try_from(end - at).expect("a length"));
            let Ok(read) = memory.read_at(&mut buffer[..length], at) else { continue };
            let matches = |at| {
                let window: Option<&[u8]> = buffer[..read].get(at..at + disguised.len());
                window.is_some_and(|window| window.iter().zip(disguised).all(|(byte, masked)| byte ^ mask == *masked))
            };
            found |= memchr::memchr_iter(disguised[0] ^ mask, &buffer[..read]).any(matches);
            // The bytes that this function read must not be found again.
            buffer.fill(0);
        }
    }
    found
}
