//! Answers of an API with DPoP: challenges of both schemes, layers inside, extractors. The numbers are those of the attack cases.

use std::convert::Infallible;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use axum::Router;
use axum::extract::OriginalUri;
use axum::routing::get;
use http::header::{AUTHORIZATION, COOKIE, WWW_AUTHENTICATE};
use http::{HeaderValue, Request, Response, StatusCode};
use metrics_exporter_prometheus::PrometheusBuilder;
use proptest::prelude::*;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tower::{Layer as _, ServiceBuilder, ServiceExt as _, service_fn};
use tower_bearer::claims::SenderConstraint;
use tower_bearer::dpop::{DPOP, Dpop, Nonces};
use tower_bearer::mutual_tls::{CertificateHeader, ClientCertificate, MutualTls, PeerAddress, TrustedProxy};
use tower_bearer::request::{BearerToken, RequestHead};
use tower_bearer::testing::{FakeFetch, Reply, TestIssuer};
use tower_bearer::{Api, BearerLayer, Claims, Rejection, RejectionKind, RequireLayer, Requirement, Validator};

use crate::challenge_parser::Challenge;
use crate::dpop_fixture::{Answer, URL, World, challenges, dpop_request};
use crate::fixture::{AUDIENCE, block_on};

fn world() -> World {
    World::new(|api| api)
}

fn names(challenges: &[Challenge]) -> Vec<(&str, Option<&str>)> {
    challenges.iter().map(|challenge| (challenge.scheme.as_str(), challenge.parameter("error"))).collect()
}

fn bare() -> Request<String> {
    Request::get("/me").body(String::new()).expect("a request")
}

fn with_fields(fields: &[&str]) -> Request<String> {
    let request = fields.iter().fold(Request::get("/me"), |request, field| request.header(AUTHORIZATION, *field));
    request.body(String::new()).expect("a request")
}

#[test]
fn the_challenge_of_the_used_scheme_has_the_error_and_is_first() {
    let world = world();
    let token = world.token().sign();
    let broken = world.token().with_broken_signature().sign();
    for (request, expected) in [
        (bare(), vec![("Bearer", None), ("DPoP", None)]),
        (with_fields(&["Basic eA=="]), vec![("Bearer", None), ("DPoP", None)]),
        (with_fields(&[&format!("Bearer {broken}")]), vec![("Bearer", Some("invalid_token")), ("DPoP", None)]),
        (with_fields(&[&format!("Bearer {token}")]), vec![("Bearer", Some("invalid_token")), ("DPoP", None)]),
        (world.request(&broken), vec![("DPoP", Some("invalid_token")), ("Bearer", None)]),
        (dpop_request(&token, "x"), vec![("DPoP", Some("invalid_dpop_proof")), ("Bearer", None)]),
        (with_fields(&["DPoP"]), vec![("DPoP", Some("invalid_request")), ("Bearer", None)]),
        (with_fields(&["Bearer"]), vec![("Bearer", Some("invalid_request")), ("DPoP", None)]),
    ] {
        assert_eq!(names(&challenges(world.send(request).headers())), expected);
    }
    let other_key = dpop_request(&token, &world.other.proof("GET", URL, &token).sign());
    let challenges = challenges(world.send(other_key).headers());
    assert_eq!(challenges[0].parameter("error_description"), Some("invalid DPoP key binding"));
    assert_eq!(challenges[0].parameter("algs"), Some("ES256 EdDSA Ed25519 PS256"));
}

#[test]
fn case_9_a_credential_of_each_scheme_gets_the_error_in_both() {
    let world = world();
    let token = world.token().sign();
    for fields in [["Bearer", "DPoP"], ["DPoP", "Bearer"]] {
        let fields = fields.map(|scheme| format!("{scheme} {token}"));
        let response = world.send(with_fields(&fields.each_ref().map(String::as_str)));
        assert_eq!(response.status(), StatusCode::BAD_REQUEST);
        let both = [("Bearer", Some("invalid_request")), ("DPoP", Some("invalid_request"))];
        assert_eq!(names(&challenges(response.headers())), both);
    }
    let twice = with_fields(&[&format!("DPoP {token}"), &format!("DPoP {token}")]);
    assert_eq!(names(&challenges(world.send(twice).headers())), [("DPoP", Some("invalid_request")), ("Bearer", None)]);
}

#[test]
fn case_20_a_bound_token_in_a_cookie_counts_as_a_bearer_token() {
    let world = world();
    let layer = world.layer.clone().with_token_source(|request| BearerToken::from_cookie(request.headers(), "access"));
    let inner = service_fn(|_: Request<String>| async { Ok::<_, Infallible>(Response::new(String::new())) });
    let send = |token: &str| {
        let proof = world.client.proof("GET", URL, token).sign();
        let request = Request::get("/me").header(COOKIE, format!("access={token}")).header(DPOP, proof);
        let request = request.body(String::new()).expect("a request");
        Answer::of(&block_on(layer.layer(inner).oneshot(request)).expect("infallible"))
    };
    assert_eq!(send(&world.token().sign()), Answer::InvalidTokenBearer);
    assert_eq!(send(&world.server.token().sign()), Answer::Accepted);
}

#[test]
fn case_21_without_dpop_the_scheme_is_like_any_other() {
    let server = TestIssuer::new();
    let api = Api::new("https://api.test/", crate::fixture::trusted(&server, tower_bearer::Algorithm::RS256));
    let layer = BearerLayer::new(Validator::new(api).expect("a valid configuration"));
    let inner = service_fn(|_: Request<String>| async { Ok::<_, Infallible>(Response::new(String::new())) });
    let token = server.token().sign();
    let response = block_on(layer.layer(inner).oneshot(dpop_request(&token, "x"))).expect("infallible");
    assert_eq!(
        (response.status().as_u16(), &response.headers()[WWW_AUTHENTICATE]),
        (401, &HeaderValue::from_static("Bearer"))
    );
}

#[test]
fn cases_16_and_23_a_credential_of_dpop_is_never_anonymous() {
    let world = world();
    let layer = world.layer.clone().with_anonymous();
    let inner = service_fn(|request: Request<String>| async move {
        let is_anonymous = request.extensions().get::<Claims>().is_none();
        Ok::<_, Infallible>(
            Response::builder().status(if is_anonymous { 204 } else { 200 }).body(String::new()).expect("a response"),
        )
    });
    let send = |request| block_on(layer.layer(inner).oneshot(request)).expect("infallible");
    let token = world.token().sign();
    let mut proof_only = world.request(&token);
    proof_only.headers_mut().remove(AUTHORIZATION);
    assert_eq!(send(proof_only).status(), 204);
    assert_eq!(send(bare()).status(), 204);
    assert_eq!(Answer::of(&send(dpop_request(&token, "x"))), Answer::InvalidProof);
    assert_eq!(Answer::of(&send(with_fields(&[&format!("DPoP {token}")]))), Answer::InvalidProof);
    assert_eq!(send(world.request(&token)).status(), 200);
}

#[test]
fn case_89_a_layer_inside_of_nest_reads_the_original_target() {
    let with_hook = |dpop: Dpop| {
        dpop.with_request_target(|head: &RequestHead<'_>| {
            head.extensions().get::<OriginalUri>().map(|target| target.0.clone())
        })
    };
    for (is_hooked, expected) in [(true, Answer::Accepted), (false, Answer::InvalidProof)] {
        let dpop = Dpop::new("https://api.test");
        let dpop = if is_hooked { with_hook(dpop) } else { dpop };
        let world = World::new(|api| api.with_dpop(dpop));
        let inner = Router::new().route("/me", get(|| async { "" })).layer(world.layer.clone());
        let app: Router = Router::new().nest("/v1", inner);
        let token = world.token().sign();
        let proof = world.client.proof("GET", "https://api.test/v1/me", &token).sign();
        let request = Request::get("/v1/me").header(AUTHORIZATION, format!("DPoP {token}")).header(DPOP, proof);
        let request = request.body(axum::body::Body::empty()).expect("a request");
        let response = block_on(app.oneshot(request)).expect("infallible");
        assert_eq!(Answer::of(&response), expected, "{is_hooked}");
    }
    // A layer outside of `nest` needs no hook.
    let world = world();
    let app: Router =
        Router::new().nest("/v1", Router::new().route("/me", get(|| async { "" }))).layer(world.layer.clone());
    let token = world.token().sign();
    let proof = world.client.proof("GET", "https://api.test/v1/me", &token).sign();
    let request = Request::get("/v1/me").header(AUTHORIZATION, format!("DPoP {token}")).header(DPOP, proof);
    let response =
        block_on(app.oneshot(request.body(axum::body::Body::empty()).expect("a request"))).expect("infallible");
    assert_eq!(Answer::of(&response), Answer::Accepted);
}

#[test]
fn the_target_of_a_request_with_a_malformed_credential_is_not_read() {
    let calls = Arc::new(AtomicUsize::new(0));
    let count = Arc::clone(&calls);
    let dpop = Dpop::new("https://api.test").with_request_target(move |_| {
        count.fetch_add(1, Ordering::Relaxed);
        None
    });
    let world = World::new(|api| api.with_dpop(dpop));
    let token = world.token().sign();
    let malformed = format!("{token},");
    for (text, expected, total) in [(&*malformed, 400, 0), (&token, 200, 1), ("", 400, 1)] {
        let proof = world.client.proof("GET", URL, text).sign();
        assert_eq!(world.send(dpop_request(text, &proof)).status(), expected, "{text}");
        assert_eq!(calls.load(Ordering::Relaxed), total, "{text}");
    }
}

#[test]
fn case_140_a_cached_token_expires_although_its_proof_is_good() {
    let world = world();
    let token = world.token().expires_in(Duration::from_secs(60)).sign();
    assert_eq!(world.answer(world.request(&token)), Answer::Accepted);
    world.clock.advance(Duration::from_secs(66));
    assert_eq!(world.answer(world.request(&token)), Answer::InvalidToken);
    assert_eq!(world.answer(with_fields(&[&format!("Bearer {token}")])), Answer::InvalidTokenBearer);
}

/// The key is withdrawn by the API, or by the issuer.
#[tokio::test]
async fn case_141_a_token_of_a_withdrawn_key_is_rejected_although_its_proof_is_good() {
    for is_by_issuer in [false, true] {
        let recorder = PrometheusBuilder::new().build_recorder();
        let _recorded = metrics::set_default_local_recorder(&recorder);
        let world = Arc::new(World::with_fetched_keys(|server, _| server.clone()));
        let token = world.token().expires_in(Duration::from_secs(3_600)).sign();
        for _ in 0..2 {
            assert_eq!(Answer::of(&world.send_async(world.request(&token)).await), Answer::Accepted);
        }
        let counted = recorder.handle().render();
        assert!(counted.contains("jwt_token_cache_total{outcome=\"hit\"} 1"), "{counted}");
        let (_, keys) = world.validator.key_sources().next().expect("keys are fetched");
        if is_by_issuer {
            world.server.replace_keys();
            keys.reload().await.expect("the server answers");
        } else {
            keys.revoke_kid(&world.server.kid());
        }
        for scheme in ["DPoP", "Bearer"] {
            let mut request = world.request(&token);
            let credential = HeaderValue::try_from(format!("{scheme} {token}")).expect("a value");
            request.headers_mut().insert(AUTHORIZATION, credential);
            let sender = Arc::clone(&world);
            let response = tokio::spawn(async move { sender.send_async(request).await });
            // The validator fetches the keys, because it does not know the key of the token.
            world.clock.run_for(Duration::from_secs(60)).await;
            let response = response.await.expect("no panic");
            let expected = if scheme == "DPoP" { Answer::InvalidToken } else { Answer::InvalidTokenBearer };
            assert_eq!(Answer::of(&response), expected, "{is_by_issuer}");
            let rejection = response.extensions().get::<Rejection>().expect("rejected");
            assert!(matches!(rejection, Rejection::Key(_)), "{rejection:?}");
        }
        // A token that the issuer signs with its new key is accepted.
        let renewed = Answer::of(&world.send_async(world.request(&world.token().sign())).await);
        assert_eq!(renewed == Answer::Accepted, is_by_issuer, "{renewed:?}");
    }
}

#[tokio::test]
async fn case_51_no_url_in_a_proof_is_fetched() {
    let listener = std::net::TcpListener::bind("127.0.0.1:0").expect("a port");
    listener.set_nonblocking(true).expect("a setting of the socket");
    let url = format!("http://{}/jwks.json", listener.local_addr().expect("an address"));
    let mut fetch = None;
    let world = World::with_fetched_keys(|server, clock| {
        let keys = FakeFetch::new(clock);
        keys.always(&server.jwks_uri(), Reply::json(server.jwks()));
        keys.always(&url, Reply::json(server.jwks()));
        fetch.insert(keys).clone()
    });
    let token = world.token().sign();
    let proof = || world.client.proof("GET", URL, &token).header("jku", &url).header("x5u", &url).header("kid", "k");
    let mut jwk: serde_json::Value = serde_json::from_str(&world.client.jwk()).expect("JSON");
    jwk["x5u"] = url.clone().into();
    for (proof, expected) in [
        (proof(), Answer::Accepted),
        (proof().header("jwk", jwk), Answer::Accepted),
        (proof().without_header("jwk"), Answer::InvalidProof),
        (proof().header("jwk", &url), Answer::InvalidProof),
        (proof().signed_by(&world.other), Answer::InvalidProof),
    ] {
        let response = world.send_async(dpop_request(&token, &proof.sign())).await;
        assert_eq!(Answer::of(&response), expected);
    }
    let fetch = fetch.expect("a client");
    assert_eq!((fetch.calls_to(&world.server.jwks_uri()), fetch.calls()), (1, 1));
    let connection = listener.accept().map(drop).map_err(|error| error.kind());
    assert_eq!(connection, Err(std::io::ErrorKind::WouldBlock), "a client has connected");
}

/// Over HTTP/1.1, white space at the end is not part of a field, and a field has one line.
#[tokio::test]
async fn case_17_a_server_removes_white_space_and_accepts_no_second_line() {
    let world = world();
    let app = Router::new().route("/me", get(|| async { "" })).layer(world.layer.clone());
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.expect("a port");
    let address = listener.local_addr().expect("an address");
    let server = tokio::spawn(async move { axum::serve(listener, app).await });
    let token = world.token().sign();
    for (white_space, at_end, status) in [
        ("", true, "200"),
        (" ", true, "200"),
        ("\t ", true, "200"),
        ("\r\n ", true, "400"),
        ("\r\n\t", true, "400"),
        ("\r\n ", false, "400"),
        (" ", false, "401"),
    ] {
        let proof = world.client.proof("GET", URL, &token).sign();
        let proof = match at_end {
            true => proof + white_space,
            false => proof.replacen('.', &format!(".{white_space}"), 1),
        };
        let fields = format!("Host: api.test\r\nConnection: close\r\nAuthorization: DPoP {token}\r\nDPoP: {proof}");
        let mut stream = tokio::net::TcpStream::connect(address).await.expect("a connection");
        stream.write_all(format!("GET /me HTTP/1.1\r\n{fields}\r\n\r\n").as_bytes()).await.expect("sent");
        let mut response = Vec::new();
        stream.read_to_end(&mut response).await.expect("a response");
        let response = String::from_utf8_lossy(&response);
        assert_eq!(response.split(' ').nth(1), Some(status), "{white_space:?} {at_end}: {response}");
    }
    server.abort();
}

#[test]
fn the_token_cache_proves_nothing_about_a_later_request() {
    let world = world();
    let token = world.token().sign();
    for _ in 0..3 {
        assert_eq!(world.answer(world.request(&token)), Answer::Accepted);
        assert_eq!(world.answer(with_fields(&[&format!("Bearer {token}")])), Answer::InvalidTokenBearer);
        assert_eq!(world.answer(with_fields(&[&format!("DPoP {token}")])), Answer::InvalidProof);
        let other = world.other.proof("GET", URL, &token).sign();
        assert_eq!(world.answer(dpop_request(&token, &other)), Answer::InvalidToken);
        let forged = world.client.proof("GET", URL, &token).with_broken_signature().sign();
        assert_eq!(world.answer(dpop_request(&token, &forged)), Answer::InvalidProof);
    }
}

#[test]
fn cases_143_and_144_inner_layers_answer_in_the_scheme_of_the_request() {
    let secret = tower_bearer::keys::Secret::new(vec![1; 32]).expect("a secret");
    let world = World::new(|api| api.with_dpop(Dpop::new("https://api.test").with_nonces(Nonces::shared(secret))));
    for (requirement, status, error) in [
        (Requirement::scope("pay"), 403, "insufficient_scope"),
        (Requirement::acr_values(["gold"]), 401, "insufficient_user_authentication"),
        (Requirement::max_authentication_age(Duration::from_secs(60)), 401, "insufficient_user_authentication"),
    ] {
        let inner = service_fn(|_: Request<String>| async { Ok::<_, Infallible>(Response::new(String::new())) });
        let service =
            ServiceBuilder::new().layer(world.layer.clone()).layer(RequireLayer::new(requirement)).service(inner);
        let send = |request| block_on(service.clone().oneshot(request)).expect("infallible");
        let token = world.token().sign();
        let nonce = send(world.request(&token)).headers()["dpop-nonce"].to_str().expect("ASCII").to_owned();
        let proof = world.client.proof("GET", URL, &token).nonce(&nonce).sign();
        let response = send(dpop_request(&token, &proof));
        assert_eq!(response.status(), status);
        assert_eq!(names(&challenges(response.headers())), [("DPoP", Some(error)), ("Bearer", None)]);
        assert_eq!(response.headers().contains_key("dpop-nonce"), status == 401);
        let unbound = world.server.token().sign();
        let response = send(with_fields(&[&format!("Bearer {unbound}")]));
        assert_eq!(names(&challenges(response.headers())), [("Bearer", Some(error)), ("DPoP", None)]);
    }
}

#[test]
fn a_route_can_require_a_bound_token() {
    let world = world();
    let inner = service_fn(|_: Request<String>| async { Ok::<_, Infallible>(Response::new(String::new())) });
    let layer = RequireLayer::new(Requirement::sender_constrained());
    let service = ServiceBuilder::new().layer(world.layer.clone()).layer(layer).service(inner);
    let send = |request| block_on(service.clone().oneshot(request)).expect("infallible");
    assert_eq!(Answer::of(&send(world.request(&world.token().sign()))), Answer::Accepted);
    let unbound = world.server.token().sign();
    let response = send(with_fields(&[&format!("Bearer {unbound}")]));
    assert_eq!(
        (response.status().as_u16(), names(&challenges(response.headers()))),
        (401, vec![("DPoP", Some("invalid_token"))])
    );
    let rejection = response.extensions().get::<Rejection>().expect("rejected");
    assert_eq!(rejection.kind(), RejectionKind::Unconstrained);
}

#[test]
fn a_handler_reads_what_the_client_has_proven() {
    let world = world();
    let expected = SenderConstraint::Dpop { jkt: world.client.thumbprint() };
    let inner = service_fn(|request: Request<String>| {
        let claims: &Claims = request.extensions().get().expect("claims");
        let found = (claims.sender_constraint(), claims.confirmation().is_some());
        async move { Ok::<_, Infallible>(Response::new(found)) }
    });
    let send = |request| block_on(world.layer.layer(inner).oneshot(request)).expect("infallible").into_body();
    let token = world.token().sign();
    // The second request finds the token in the cache.
    assert_eq!(send(world.request(&token)), (Some(expected), true));
    assert_eq!(send(world.request(&token)), (Some(expected), true));
    let unbound = world.server.token().sign();
    assert_eq!(send(with_fields(&[&format!("Bearer {unbound}")])), (None, false));
}

#[test]
fn a_handler_extracts_the_constraint() {
    let world = world();
    let app: Router = Router::new()
        .route("/me", get(|client: SenderConstraint| async move { format!("{client:?}") }))
        .route("/optional", get(|client: Option<SenderConstraint>| async move { client.is_some().to_string() }))
        .layer(world.layer.clone());
    let send = |path: &str, authorization: String, proof: Option<String>| {
        let request = Request::get(path).header(AUTHORIZATION, authorization);
        let request = proof.into_iter().fold(request, |request, proof| request.header(DPOP, proof));
        block_on(app.clone().oneshot(request.body(axum::body::Body::empty()).expect("a request"))).expect("infallible")
    };
    let (bound, unbound) = (world.token().sign(), world.server.token().sign());
    let proof = |url| world.client.proof("GET", url, &bound).sign();
    assert_eq!(Answer::of(&send("/me", format!("DPoP {bound}"), Some(proof(URL)))), Answer::Accepted);
    let rejected = send("/me", format!("Bearer {unbound}"), None);
    assert_eq!(
        (rejected.status().as_u16(), names(&challenges(rejected.headers()))),
        (401, vec![("DPoP", Some("invalid_token"))])
    );
    let url = "https://api.test/optional";
    assert_eq!(Answer::of(&send("/optional", format!("DPoP {bound}"), Some(proof(url)))), Answer::Accepted);
    assert_eq!(Answer::of(&send("/optional", format!("Bearer {unbound}"), None)), Answer::Accepted);
}

#[test]
fn the_header_of_the_proof_is_marked_sensitive_if_the_api_reads_the_scheme() {
    let with_certificates = World::without_dpop(AUDIENCE, |api| api.with_mutual_tls(MutualTls::from_connection()));
    let without_both = World::without_dpop(AUDIENCE, |api| api);
    for (world, expected) in
        [(world(), [true; 3]), (with_certificates, [true; 3]), (without_both, [true, false, false])]
    {
        let inner = service_fn(|request: Request<String>| async move {
            let fields = [AUTHORIZATION, DPOP].map(|name| request.headers().get_all(name).iter().cloned());
            let marks: Vec<bool> = fields.into_iter().flatten().map(|field| field.is_sensitive()).collect();
            Ok::<_, Infallible>(Response::new(marks))
        });
        let token = world.server.token().sign();
        let request = Request::get("/me").header(AUTHORIZATION, format!("Bearer {token}"));
        let request = request.header(DPOP, "one").header(DPOP, "two").body(String::new()).expect("a request");
        let response = block_on(world.layer.layer(inner).oneshot(request)).expect("infallible");
        assert_eq!(response.into_body(), expected);
    }
}

/// Bytes that a field can have.
fn field() -> impl Strategy<Value = Vec<u8>> {
    let byte = || any::<u8>().prop_map(|byte| if matches!(byte, 0..0x20 | 0x7f) { b'.' } else { byte });
    prop_oneof![
        4 => proptest::collection::vec(byte(), 1..60),
        1 => proptest::collection::vec(byte(), 3_900..4_300),
    ]
}

/// The formats of a header with a certificate.
const FORMATS: [fn() -> CertificateHeader; 6] = [
    CertificateHeader::rfc9440,
    CertificateHeader::xfcc,
    || CertificateHeader::pem("X-Client-Cert"),
    || CertificateHeader::pem_chain("X-Client-Cert"),
    || CertificateHeader::der("X-Client-Cert"),
    || CertificateHeader::sha256("X-Client-Cert"),
];

proptest! {
    #![proptest_config(ProptestConfig::with_cases(250))]

    /// The token and the proof are junk, or valid ones with junk inside. The header with the certificate is junk, alone or after the
    /// start of a valid one.
    #[test]
    fn case_142_no_bytes_in_the_fields_cause_a_panic_or_a_server_error(
        [authorization, proof, certificate] in [field(), field(), field()],
        [is_dpop, is_token_valid, is_proof_mixed, has_start] in any::<[bool; 4]>(),
        position in any::<prop::sample::Index>(),
        format in any::<prop::sample::Index>(),
    ) {
        let format = format.get(&FORMATS);
        let proxies = TrustedProxy::from_networks(["127.0.0.1"]);
        let world = World::new(|api| api.with_mutual_tls(MutualTls::from_header(format(), proxies)));
        let bound = ClientCertificate::from_der(b"certificate");
        let token = world.token().bound_to_certificate(&bound).sign();
        let good = world.client.proof("GET", URL, &token).sign();
        let proof = match is_proof_mixed {
            true => {
                let (start, end) = good.split_at(position.index(good.len()));
                [start.as_bytes(), &proof, end.as_bytes()].concat()
            }
            false => proof,
        };
        let scheme = if is_dpop { "DPoP " } else { "Bearer " };
        let credential = if is_token_valid { token.into_bytes() } else { authorization };
        let start = if has_start { ":MIIB" } else { "" };
        let certificate = [start.as_bytes(), &certificate].concat();
        let value = |bytes: &[u8]| HeaderValue::from_bytes(bytes).expect("a value");
        let mut request = Request::get("/me").header(AUTHORIZATION, value(&[scheme.as_bytes(), &credential].concat()));
        request = request.header(DPOP, value(&proof));
        for name in ["client-cert", "x-forwarded-client-cert", "x-client-cert"] {
            request = request.header(name, value(&certificate));
        }
        let peer = PeerAddress::from(std::net::IpAddr::from([127, 0, 0, 1]));
        let response = world.send(request.extension(peer).body(String::new()).expect("a request"));
        prop_assert!(response.status().is_client_error(), "{}", response.status());
    }
}
