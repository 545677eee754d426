//! Answers of an API that accepts certificate-bound tokens: challenges, layers inside, extractors, the log. The numbers are those of the
//! attack cases.

use std::convert::Infallible;
use std::time::Duration;

use axum::Router;
use axum::routing::get;
use http::header::{AUTHORIZATION, WWW_AUTHENTICATE};
use http::{Request, Response};
use serde_json::json;
use tower::{ServiceBuilder, ServiceExt as _, service_fn};
use tower_bearer::claims::SenderConstraint;
use tower_bearer::config::SettingErrorKind;
use tower_bearer::dpop::Dpop;
use tower_bearer::metadata::ProtectedResourceMetadata;
use tower_bearer::mutual_tls::{
    CertificateError, CertificateHeader, CertificateHeaderError, ClientCertificate, MutualTls, PeerAddress,
    TrustedProxy,
};
use tower_bearer::rejection::PossessionError;
use tower_bearer::request::{CredentialError, RequestHead};
use tower_bearer::testing::TestIssuer;
use tower_bearer::{
    Algorithm, Api, CheckOutcome, Claims, Finding, Rejection, RejectionKind, RequireLayer, Requirement, Secret,
};

use crate::challenge_parser;
use crate::dpop_fixture::{Answer, URL, World, dpop_request};
use crate::events::Log;
use crate::fixture::{AUDIENCE, block_on, setting_errors, trusted};

fn certificate() -> ClientCertificate {
    ClientCertificate::from_der(b"the certificate of the client")
}

fn connection(api: Api) -> Api {
    api.with_mutual_tls(MutualTls::from_connection())
}

fn world(api: impl FnOnce(Api) -> Api) -> World {
    World::without_dpop(AUDIENCE, |given| api(connection(given)))
}

fn bound(world: &World) -> String {
    world.server.token().bound_to_certificate(&certificate()).sign()
}

fn bearer(token: &str) -> http::request::Builder {
    Request::get("/me").header(AUTHORIZATION, format!("Bearer {token}"))
}

/// Returns the schemes of a response with their errors.
fn names<B>(response: &Response<B>) -> Vec<(String, Option<String>)> {
    let challenges = challenge_parser::challenges(response.headers());
    let name = |parameter: Option<&str>| parameter.map(str::to_owned);
    challenges.iter().map(|one| (one.scheme.clone(), name(one.parameter("error")))).collect()
}

fn expected(names: &[(&str, Option<&str>)]) -> Vec<(String, Option<String>)> {
    names.iter().map(|(scheme, error)| ((*scheme).to_owned(), error.map(str::to_owned))).collect()
}

#[test]
fn the_challenges_name_the_schemes_that_help() {
    let (error, dpop) = (Some("invalid_token"), || Dpop::new("https://api.test"));
    let only = |api: Api| api.with_sender_constrained_only();
    let auth0 = |api: Api| api.with_mutual_tls(MutualTls::from_connection().with_bound_tokens_under_dpop_scheme());
    for (name, world, challenges) in [
        ("certificates", world(only), vec![("DPoP", error), ("Bearer", None)]),
        ("and DPoP", world(|api| only(api.with_dpop(dpop()))), vec![("DPoP", error), ("Bearer", None)]),
        ("and Auth0's scheme", world(|api| only(auth0(api))), vec![("DPoP", error), ("Bearer", None)]),
        ("DPoP alone", World::new(only), vec![("DPoP", error)]),
    ] {
        let unbound = world.server.token().sign();
        let response = world.send(bearer(&unbound).body(String::new()).expect("a request"));
        assert_eq!((response.status().as_u16(), names(&response)), (401, expected(&challenges)), "{name}");
        let has_algorithms = response.headers()[WWW_AUTHENTICATE].to_str().expect("ASCII").contains("algs=");
        assert_eq!(has_algorithms, matches!(name, "and DPoP" | "DPoP alone"), "{name}");
        let rejection = response.extensions().get::<Rejection>().expect("rejected");
        assert_eq!(rejection, &Rejection::Possession(PossessionError::Unconstrained));
    }
}

/// Without a credential, only schemes that the API accepts are listed. With one of the scheme `DPoP`, its challenge has the error.
#[test]
fn case_136_the_scheme_of_the_request_is_listed_only_with_an_error() {
    let (realm, bare) = (world(|api| api), world(|api| api));
    let realm = World { layer: realm.layer.clone().with_realm("orders"), ..realm };
    for world in [bare, realm] {
        let answer = |request: http::request::Builder| {
            let response = world.send(request.body(String::new()).expect("a request"));
            (response.status().as_u16(), names(&response))
        };
        let dpop = |token: &str| Request::get("/me").header(AUTHORIZATION, format!("DPoP {token}"));
        assert_eq!(answer(Request::get("/me")), (401, expected(&[("Bearer", None)])));
        assert_eq!(answer(Request::get("/me").header("client-cert", "x")), (401, expected(&[("Bearer", None)])));
        assert_eq!(
            answer(Request::get("/me").header(AUTHORIZATION, "Basic eA==")),
            (401, expected(&[("Bearer", None)]))
        );
        let error = Some("invalid_token");
        for token in [bound(&world), world.server.token().sign(), world.token().sign(), "x.y.z".to_owned()] {
            let answer = answer(dpop(&token).extension(certificate()));
            assert_eq!(answer, (401, expected(&[("DPoP", error), ("Bearer", None)])), "{token}");
        }
        let error = Some("invalid_request");
        assert_eq!(answer(dpop("")), (400, expected(&[("DPoP", error), ("Bearer", None)])));
        let two = dpop("a").header(AUTHORIZATION, "Bearer a");
        assert_eq!(answer(two), (400, expected(&[("Bearer", error), ("DPoP", error)])));
    }
    // Such a credential is never anonymous.
    let world = world(|api| api);
    let world = World { layer: world.layer.clone().with_anonymous(), ..world };
    let request = Request::get("/me").header(AUTHORIZATION, format!("DPoP {}", bound(&world)));
    assert_eq!(world.answer(request.body(String::new()).expect("a request")), Answer::InvalidToken);
}

/// A caller that has read the token itself gets the same decision as a layer.
#[test]
fn case_21_validate_request_reads_the_scheme_as_a_layer_does() {
    let multiple = || Some(Rejection::Credential(CredentialError::Multiple));
    let possession = |error| Some(Rejection::Possession(error));
    let unbound = |world: &World| world.server.token().sign();
    type Case = (fn(Api) -> Api, fn(&World) -> String, &'static [&'static str], Option<Rejection>);
    let cases: [Case; 10] = [
        (|api| api, unbound, &["Bearer"], None),
        (|api| api, unbound, &[], None),
        (|api| api, unbound, &["Basic"], None),
        (|api| api, unbound, &["DPoP"], Some(Rejection::NoCredential)),
        (|api| api, unbound, &["dpop"], Some(Rejection::NoCredential)),
        (|api| api, unbound, &["Bearer", "Bearer"], multiple()),
        (|api| api, unbound, &["Bearer", "DPoP"], multiple()),
        (connection, bound, &["Bearer"], None),
        (connection, bound, &["DPoP"], possession(PossessionError::CertificateUnderDpop)),
        (connection, unbound, &["DPoP"], possession(PossessionError::NotBound)),
    ];
    for (api, token, schemes, expected) in cases {
        let world = World::without_dpop(AUDIENCE, api);
        let token = token(&world);
        let request = schemes
            .iter()
            .fold(Request::get("/me"), |request, scheme| request.header(AUTHORIZATION, format!("{scheme} {token}")));
        let request = request.extension(certificate()).body(()).expect("a request");
        let head = RequestHead::new(&request);
        let result = block_on(world.validator.validate_request(&token, &head));
        assert_eq!(result.err(), expected, "{schemes:?}");
        let explanation = block_on(world.validator.explain_request(&token, &head));
        assert_eq!(explanation.rejection(), expected.as_ref(), "{schemes:?}");
        if expected.is_some() {
            let failed = explanation.findings().iter().find(|finding| finding.outcome() == CheckOutcome::Failed);
            assert_eq!(failed.map(Finding::check), Some("scheme"), "{explanation}");
        }
    }
}

#[test]
fn every_error_has_its_reason() {
    let proxy = || TrustedProxy::from_networks(["127.0.0.1"]);
    let header = |api: Api| api.with_mutual_tls(MutualTls::from_header(CertificateHeader::rfc9440(), proxy()));
    let trusting = |api: Api| {
        let any = TrustedProxy::dangerous_trust_any_peer();
        api.with_mutual_tls(MutualTls::from_header(CertificateHeader::sha256("X-Cert"), any))
    };
    let peer = PeerAddress::from(std::net::IpAddr::from([203, 0, 113, 7]));
    let other = ClientCertificate::from_der(b"another");
    for (world, request, error) in [
        (world(|api| api), Request::get("/me"), CertificateError::Missing),
        (world(|api| api), Request::get("/me").extension(other), CertificateError::Mismatch),
        (world(header), Request::get("/me"), CertificateError::Missing),
        (world(header), Request::get("/me").header("client-cert", "::"), CertificateError::UnknownPeer),
        (
            world(header),
            Request::get("/me").header("client-cert", "::").extension(peer),
            CertificateError::UntrustedPeer,
        ),
        (
            world(trusting),
            Request::get("/me").header("x-cert", "xyz"),
            CertificateError::Header(CertificateHeaderError::Encoding),
        ),
    ] {
        let request = request.header(AUTHORIZATION, format!("Bearer {}", bound(&world)));
        let response = world.send(request.body(String::new()).expect("a request"));
        let rejection = response.extensions().get::<Rejection>().expect("rejected");
        assert_eq!(rejection, &Rejection::Possession(PossessionError::Certificate(error)));
        assert!(rejection.signature_checked() && rejection.hint().is_some());
        let is_malformed = matches!(error, CertificateError::Header(_));
        let kind = if is_malformed { RejectionKind::InvalidRequest } else { RejectionKind::Certificate };
        assert_eq!(rejection.kind(), kind);
        let answer = if is_malformed { Answer::InvalidRequest } else { Answer::InvalidTokenBearer };
        assert_eq!(Answer::of(&response), answer, "{error:?}");
    }
    // A token that is bound to a key as well needs DPoP.
    let world = world(|api| api);
    let token = world.server.token().bound_to(&world.client).bound_to_certificate(&certificate()).sign();
    let request = bearer(&token).extension(certificate()).body(String::new()).expect("a request");
    let response = world.send(request);
    let rejection = response.extensions().get::<Rejection>().expect("rejected");
    assert_eq!(rejection, &Rejection::Possession(PossessionError::NoDpop));
    assert_eq!(rejection.kind(), RejectionKind::Confirmation);
}

#[test]
fn inner_layers_answer_in_the_scheme_of_the_request() {
    let world = world(|api| {
        let mutual_tls = MutualTls::from_connection().with_bound_tokens_under_dpop_scheme();
        api.with_mutual_tls(mutual_tls).with_dpop(Dpop::new("https://api.test"))
    });
    let inner = service_fn(|_: Request<String>| async { Ok::<_, Infallible>(Response::new(String::new())) });
    let layer = RequireLayer::new(Requirement::scope("pay"));
    let service = ServiceBuilder::new().layer(world.layer.clone()).layer(layer).service(inner);
    let send = |request: Request<String>| block_on(service.clone().oneshot(request)).expect("infallible");
    let error = Some("insufficient_scope");
    for (scheme, challenges) in
        [("Bearer", [("Bearer", error), ("DPoP", None)]), ("DPoP", [("DPoP", error), ("Bearer", None)])]
    {
        let request = Request::get("/me").header(AUTHORIZATION, format!("{scheme} {}", bound(&world)));
        let response = send(request.extension(certificate()).body(String::new()).expect("a request"));
        assert_eq!((response.status().as_u16(), names(&response)), (403, expected(&challenges)), "{scheme}");
    }
}

#[test]
fn a_route_can_require_a_bound_token() {
    let error = Some("invalid_token");
    for (world, challenges) in [
        (world(|api| api), vec![("DPoP", error), ("Bearer", None)]),
        (world(|api| api.with_dpop(Dpop::new("https://api.test"))), vec![("DPoP", error), ("Bearer", None)]),
    ] {
        let inner = service_fn(|_: Request<String>| async { Ok::<_, Infallible>(Response::new(String::new())) });
        let layer = RequireLayer::new(Requirement::sender_constrained());
        let service = ServiceBuilder::new().layer(world.layer.clone()).layer(layer).service(inner);
        let app: Router = Router::new().route("/me", get(|_: SenderConstraint| async {})).layer(world.layer.clone());
        let token = bound(&world);
        let with = |token: &str| bearer(token).extension(certificate());
        let request = with(&token).body(String::new()).expect("a request");
        assert_eq!(Answer::of(&block_on(service.clone().oneshot(request)).expect("infallible")), Answer::Accepted);
        let request = with(&token).body(axum::body::Body::empty()).expect("a request");
        assert_eq!(Answer::of(&block_on(app.clone().oneshot(request)).expect("infallible")), Answer::Accepted);
        let unbound = world.server.token().sign();
        let request = with(&unbound).body(String::new()).expect("a request");
        let response = block_on(service.oneshot(request)).expect("infallible");
        assert_eq!((response.status().as_u16(), names(&response)), (401, expected(&challenges)));
        let request = with(&unbound).body(axum::body::Body::empty()).expect("a request");
        let response = block_on(app.oneshot(request)).expect("infallible");
        assert_eq!((response.status().as_u16(), names(&response)), (401, expected(&challenges)));
    }
}

#[test]
fn a_handler_reads_what_the_client_has_proven() {
    let world = world(|api| api.with_dpop(Dpop::new("https://api.test")));
    let inner = service_fn(|request: Request<String>| {
        let claims: &Claims = request.extensions().get().expect("claims");
        let constraint = claims.sender_constraint();
        async move { Ok::<_, Infallible>(Response::new(constraint)) }
    });
    let service = ServiceBuilder::new().layer(world.layer.clone()).service(inner);
    let send = |mut request: Request<String>| {
        request.extensions_mut().insert(certificate());
        block_on(service.clone().oneshot(request)).expect("infallible").into_body()
    };
    let (jkt, x5t) = (world.client.thumbprint(), certificate().thumbprint());
    for _ in ["new", "cached"] {
        let request = bearer(&bound(&world)).body(String::new()).expect("a request");
        assert_eq!(send(request), Some(SenderConstraint::Certificate { x5t }));
        let token = world.server.token().bound_to(&world.client).sign();
        assert_eq!(send(world.request(&token)), Some(SenderConstraint::Dpop { jkt }));
        let token = world.server.token().bound_to(&world.client).bound_to_certificate(&certificate()).sign();
        let request = dpop_request(&token, &world.client.proof("GET", URL, &token).sign());
        assert_eq!(send(request), Some(SenderConstraint::Both { jkt, x5t }));
        let unbound = world.server.token().sign();
        assert_eq!(send(bearer(&unbound).body(String::new()).expect("a request")), None);
    }
}

#[test]
fn without_a_request_a_bound_token_is_rejected() {
    let world = world(|api| api);
    let token = bound(&world);
    let missing = Rejection::Possession(PossessionError::Certificate(CertificateError::Missing));
    assert_eq!(block_on(world.validator.validate(&token)).map(drop), Err(missing));
    let request = Request::get("/me").extension(certificate()).body(()).expect("a request");
    let validated = block_on(world.validator.validate_request(&token, &RequestHead::new(&request)));
    assert!(validated.is_ok_and(|claims| claims.sender_constraint().is_some()));
}

#[test]
fn the_token_cache_proves_nothing_about_a_later_request() {
    let world = world(|api| api);
    let token = bound(&world);
    let with = |certificate: Option<ClientCertificate>| {
        let request = bearer(&token);
        let request = certificate.into_iter().fold(request, |request, certificate| request.extension(certificate));
        world.answer(request.body(String::new()).expect("a request"))
    };
    for _ in 0..3 {
        assert_eq!(with(Some(certificate())), Answer::Accepted);
        assert_eq!(with(None), Answer::InvalidTokenBearer);
        assert_eq!(with(Some(ClientCertificate::from_der(b"another"))), Answer::InvalidTokenBearer);
    }
}

#[test]
fn an_explanation_shows_the_certificate() {
    let world = world(|api| api.with_dpop(Dpop::new("https://api.test")));
    let token = bound(&world);
    let explain = |certificate: Option<ClientCertificate>| {
        let mut request = bearer(&token).body(()).expect("a request");
        certificate.and_then(|certificate| request.extensions_mut().insert(certificate));
        block_on(world.validator.explain_request(&token, &RequestHead::new(&request)))
    };
    let outcome = |certificate| {
        let explanation = explain(certificate);
        let row = explanation.findings().iter().find(|finding| finding.check() == "certificate").expect("a row");
        (row.outcome(), row.found().map(str::to_owned), row.expected().map(str::to_owned), row.hint().is_some())
    };
    let [ours, other] = [certificate(), ClientCertificate::from_der(b"another")].map(|one| (one, one.thumbprint()));
    let expected = Some(ours.1.to_base64url());
    assert_eq!(outcome(Some(ours.0)), (CheckOutcome::Passed, expected.clone(), expected.clone(), false));
    let found = Some(other.1.to_base64url());
    assert_eq!(outcome(Some(other.0)), (CheckOutcome::Failed, found, expected.clone(), true));
    assert_eq!(outcome(None), (CheckOutcome::Failed, None, expected, true));
    let constrained = explain(Some(ours.0)).with_requirement(&Requirement::sender_constrained());
    assert!(constrained.is_accepted());
}

/// A row says that a check passed only if it was made.
#[test]
fn an_explanation_checks_the_certificate_also_without_a_proof() {
    let world = world(|api| api.with_dpop(Dpop::new("https://api.test")));
    let token = world.server.token().bound_to(&world.client).bound_to_certificate(&certificate()).sign();
    let other = ClientCertificate::from_der(b"another");
    let explain = |proof: Option<&str>, certificate: Option<ClientCertificate>| {
        let request = Request::get("/me").header(AUTHORIZATION, format!("DPoP {token}"));
        let request = proof.into_iter().fold(request, |request, proof| request.header("dpop", proof));
        let mut request = request.body(()).expect("a request");
        certificate.and_then(|certificate| request.extensions_mut().insert(certificate));
        let head = RequestHead::new(&request);
        let explanation = block_on(world.validator.explain_request(&token, &head));
        let rejection = block_on(world.validator.validate_request(&token, &head)).err();
        assert_eq!(explanation.rejection(), rejection.as_ref(), "{explanation}");
        let outcome = |check: &str| {
            let row = explanation.findings().iter().find(|finding| finding.check() == check);
            row.map(Finding::outcome)
        };
        ["scheme", "certificate", "proof form", "proof signature"].map(outcome)
    };
    let good = || world.client.proof("GET", URL, &token).sign();
    let bad = world.client.proof("GET", URL, &token).with_broken_signature().sign();
    let (passed, failed, skipped) = (CheckOutcome::Passed, CheckOutcome::Failed, CheckOutcome::Skipped);
    for (proof, certificate, expected) in [
        (Some(good()), Some(certificate()), [Some(passed); 4]),
        (Some(bad), Some(certificate()), [Some(passed), Some(passed), Some(passed), Some(failed)]),
        (Some(good()), Some(other), [Some(passed), Some(failed), None, None]),
        (Some(good()), None, [Some(passed), Some(failed), None, None]),
        (None, Some(certificate()), [Some(passed), Some(passed), Some(failed), Some(skipped)]),
        (None, Some(other), [Some(passed), Some(failed), Some(failed), Some(skipped)]),
        (None, None, [Some(passed), Some(failed), Some(failed), Some(skipped)]),
    ] {
        assert_eq!(explain(proof.as_deref(), certificate), expected);
    }
    // Under another scheme, the certificate is not checked.
    let token = bound(&world);
    let request = Request::get("/me").header(AUTHORIZATION, format!("DPoP {token}")).body(()).expect("a request");
    let explanation = block_on(world.validator.explain_request(&token, &RequestHead::new(&request)));
    assert_eq!(
        explanation.rejection(),
        Some(&Rejection::Possession(PossessionError::CertificateUnderDpop)),
        "{explanation}"
    );
    assert!(explanation.hints().any(|hint| hint.contains("with_bound_tokens_under_dpop_scheme")), "{explanation}");
    assert!(explanation.findings().iter().all(|finding| finding.check() != "certificate"), "{explanation}");
}

#[test]
fn the_headers_of_the_proxy_are_marked_sensitive() {
    let header = |api: Api| {
        let proxy = TrustedProxy::from_secret_header("X-Proxy-Secret", Secret::from_text("s3cret"));
        api.with_mutual_tls(MutualTls::from_header(CertificateHeader::pem("X-Client-Cert"), proxy))
    };
    let names = ["authorization", "x-client-cert", "x-proxy-secret"];
    for (world, expected) in [(world(header), [true; 3]), (world(|api| api), [true, false, false])] {
        let inner = service_fn(|request: Request<String>| async move {
            let of_field = |name: &str| request.headers().get_all(name).iter().all(|field| field.is_sensitive());
            Ok::<_, Infallible>(Response::new(names.map(of_field)))
        });
        let service = ServiceBuilder::new().layer(world.layer.clone()).service(inner);
        let token = world.server.token().sign();
        let request = bearer(&token).header(names[1], "a").header(names[1], "b").header(names[2], "s3cret");
        let response = block_on(service.oneshot(request.body(String::new()).expect("a request"))).expect("infallible");
        assert_eq!(response.into_body(), expected);
    }
}

#[test]
fn the_metadata_names_the_bindings() {
    let issuer = TestIssuer::new();
    let metadata = |change: fn(Api) -> Api| {
        let api = change(Api::new(AUDIENCE, trusted(&issuer, Algorithm::RS256)));
        let metadata = ProtectedResourceMetadata::new("https://api.test", ["https://as.test/"]).expect("a resource");
        let json = metadata.with_sender_constraints_of(&api).to_json();
        let json: serde_json::Value = serde_json::from_slice(&json).expect("JSON");
        let member = |name| json.get(name).cloned();
        (
            member("tls_client_certificate_bound_access_tokens"),
            member("dpop_bound_access_tokens_required"),
            member("dpop_signing_alg_values_supported").is_some(),
        )
    };
    let dpop = |api: Api| api.with_dpop(Dpop::new("https://api.test"));
    assert_eq!(metadata(|api| api), (None, None, false));
    assert_eq!(metadata(connection), (Some(json!(true)), None, false));
    assert_eq!(metadata(|api| connection(api).with_sender_constrained_only()), (Some(json!(true)), None, false));
    assert_eq!(metadata(dpop), (None, None, true));
    let both: fn(Api) -> Api =
        |api| connection(api).with_dpop(Dpop::new("https://api.test")).with_sender_constrained_only();
    assert_eq!(metadata(both), (Some(json!(true)), None, true));
    let only_dpop: fn(Api) -> Api = |api| api.with_dpop(Dpop::new("https://api.test")).with_sender_constrained_only();
    assert_eq!(metadata(only_dpop), (None, Some(json!(true)), true));
}

#[test]
fn settings_that_contradict_each_other_are_errors() {
    let issuer = TestIssuer::new();
    let api = || Api::new(AUDIENCE, trusted(&issuer, Algorithm::RS256));
    assert_eq!(setting_errors(connection(api()).with_sender_constrained_only()), []);
    let ignored = connection(api()).dangerous_ignore_confirmation();
    assert_eq!(setting_errors(ignored), [SettingErrorKind::IgnoredConfirmation]);
    assert_eq!(setting_errors(api().with_sender_constrained_only()), [SettingErrorKind::NoSenderConstraint]);
    let dpop = Dpop::new("http://api.test");
    let proxy = TrustedProxy::from_networks([""; 0]);
    let both = api().with_dpop(dpop).with_mutual_tls(MutualTls::from_header(CertificateHeader::pem(""), proxy));
    assert_eq!(setting_errors(both).len(), 3, "errors of both bindings are reported together");
}

#[test]
fn a_malformed_header_is_logged_at_most_once_a_minute() {
    let any = TrustedProxy::dangerous_trust_any_peer();
    let header = MutualTls::from_header(CertificateHeader::rfc9440(), any);
    let world = world(|api| api.with_mutual_tls(header));
    let token = bound(&world);
    let send = || world.answer(bearer(&token).header("client-cert", "x").body(String::new()).expect("a request"));
    let log = Log::default();
    let _subscribed = log.clone().subscribed();
    for seconds in [0, 1, 58, 2, 1] {
        world.clock.advance(Duration::from_secs(seconds));
        assert_eq!(send(), Answer::InvalidRequest);
    }
    let lines = log.lines("the header with the client certificate is not encoded in the configured format");
    assert_eq!(lines.len(), 2, "{lines:?}");
    assert!(lines.iter().all(|line| line.contains("ERROR") && !line.contains(&token)), "{lines:?}");
}

/// Without the address of the peer, no certificate is ever read.
#[test]
fn an_unknown_peer_is_logged_at_most_once_a_minute() {
    let networks = TrustedProxy::from_networks(["127.0.0.1"]);
    let header = MutualTls::from_header(CertificateHeader::rfc9440(), networks);
    let world = world(|api| api.with_mutual_tls(header));
    let token = bound(&world);
    let peer = |address: [u8; 4]| Some(PeerAddress::from(std::net::IpAddr::from(address)));
    let send = |token: &str, peer: Option<PeerAddress>| {
        let request = bearer(token).header("client-cert", "x");
        let request = peer.into_iter().fold(request, |request, peer| request.extension(peer));
        world.answer(request.body(String::new()).expect("a request"))
    };
    let log = Log::default();
    let _subscribed = log.clone().subscribed();
    assert_eq!(send(&world.server.token().sign(), None), Answer::Accepted);
    assert_eq!(send(&token, peer([203, 0, 113, 7])), Answer::InvalidTokenBearer);
    assert_eq!(log.lines("the server is misconfigured").len(), 0, "another peer says nothing about the server");
    for seconds in [0, 1, 58, 2, 1] {
        world.clock.advance(Duration::from_secs(seconds));
        assert_eq!(send(&token, None), Answer::InvalidTokenBearer);
    }
    let lines = log.lines("the address of the peer is unknown, so the header with the client certificate is not read");
    assert_eq!(lines.len(), 2, "{lines:?}");
    assert!(lines.iter().all(|line| line.contains("ERROR") && !line.contains(&token)), "{lines:?}");
}
