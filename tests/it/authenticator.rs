//! `Authenticator`: the same decision and the same response as the layers, without a framework.

use std::collections::BTreeSet;
use std::convert::Infallible;
use std::time::Duration;

use bytes::Bytes;
use http::request::Parts;
use http::{Extensions, HeaderMap, Method, Request, Response, StatusCode, Version};
use tower::util::BoxCloneService;
use tower::{Layer, ServiceExt as _, service_fn};
use tower_bearer::authenticator::{Authenticated, Authenticator, Outcome, Rejected};
use tower_bearer::claims::Organization;
use tower_bearer::config::Organizations;
use tower_bearer::jwks::RefreshPolicy;
use tower_bearer::metadata::ProtectedResourceMetadata;
use tower_bearer::middleware::AsyncRequireLayer;
use tower_bearer::rejection::CheckError;
use tower_bearer::request::{BearerToken, CredentialError, RequestHead, Scheme};
use tower_bearer::requirement::RequirementError;
use tower_bearer::response::{EmptyBody, ErrorBody, ErrorResponse};
use tower_bearer::testing::{Outage, TestIssuer};
use tower_bearer::{
    Api, Claims, Issuer, NoCustomClaims, Rejection, RejectionKind, RequireLayer, Requirement, Validator,
};

use crate::stack::{AUDIENCE, TestResponse, trusted};

const HOST: &str = "acme.api.test";

fn authenticator(api: Api) -> Authenticator {
    Authenticator::new(Validator::new(api).expect("a valid configuration"))
}

fn api(server: &TestIssuer) -> Api {
    Api::new(AUDIENCE, trusted(server))
}

fn request(fields: &[(&str, &str)]) -> Request<()> {
    let request = fields.iter().fold(Request::builder(), |request, (name, value)| request.header(*name, *value));
    request.body(()).expect("a request")
}

fn rejected(outcome: Outcome) -> Rejected {
    match outcome {
        Outcome::Rejected(rejected) => rejected,
        other => panic!("accepted: {other:?}"),
    }
}

fn authenticated(outcome: Outcome) -> Authenticated {
    match outcome {
        Outcome::Authenticated(authenticated) => authenticated,
        other => panic!("not authenticated: {other:?}"),
    }
}

/// What a client and the log see of a decision.
#[derive(Debug, PartialEq, Eq)]
enum Seen {
    Authenticated { subject: Option<String>, token: Option<String> },
    Anonymous,
    Rejected { status: StatusCode, headers: Vec<(String, String)>, body: Bytes, rejection: Rejection },
}

impl Seen {
    fn accepted(claims: Option<&Claims>, token: Option<&BearerToken<'static>>) -> Self {
        let text = |text: &str| text.to_owned();
        match claims {
            Some(claims) => Self::Authenticated {
                subject: claims.subject().map(text),
                token: token.map(|token| token.as_str().to_owned()),
            },
            None => Self::Anonymous,
        }
    }

    fn rejected(response: Response<Bytes>) -> Self {
        let (parts, body) = response.into_parts();
        let field = |(name, value): (&http::HeaderName, &http::HeaderValue)| {
            (name.to_string(), value.to_str().expect("ASCII").to_owned())
        };
        let mut headers: Vec<_> = parts.headers.iter().map(field).collect();
        headers.sort();
        let rejection = parts.extensions.get::<Rejection>().expect("the rejection").clone();
        Self::Rejected { status: parts.status, headers, body, rejection }
    }
}

/// Returns what a client sees of a server whose service is inside `layer`.
async fn seen_through<L>(layer: L, request: Request<()>) -> Seen
where
    L: Layer<BoxCloneService<Request<()>, Response<Bytes>, Infallible>>,
    L::Service: tower::Service<Request<()>, Response = Response<Bytes>, Error = Infallible>,
{
    let inner = service_fn(|request: Request<()>| async move {
        let mut response = Response::new(Bytes::new());
        *response.extensions_mut() = request.extensions().clone();
        Ok::<_, Infallible>(response)
    });
    let service = layer.layer(BoxCloneService::new(inner));
    let response = service.oneshot(request).await.expect("infallible");
    let extensions: &Extensions = response.extensions();
    if response.extensions().get::<Rejection>().is_some() {
        return Seen::rejected(response);
    }
    Seen::accepted(extensions.get(), extensions.get())
}

fn seen(outcome: Outcome) -> Seen {
    match outcome {
        Outcome::Authenticated(user) => Seen::accepted(Some(user.claims()), user.token()),
        Outcome::Anonymous => Seen::Anonymous,
        Outcome::Rejected(rejected) => Seen::rejected(rejected.to_response()),
    }
}

/// Requests that differ in method, version, content type, credentials and hosts.
fn requests(server: &TestIssuer) -> Vec<Request<()>> {
    let good = || server.token().subject("ann").scope("read").claim("org_name", "acme");
    let other_issuer = TestIssuer::new();
    let bearer = |token: String| format!("Bearer {token}");
    let authorizations: Vec<Vec<String>> = [
        vec![],
        vec!["Basic dTpw".to_owned()],
        vec!["Bearer".to_owned()],
        vec!["Bearer a, b".to_owned()],
        vec!["Bearer opaque".to_owned()],
        vec![bearer("a".repeat(16 * 1024 + 1))],
        vec![bearer(good().sign())],
        vec![bearer(good().sign()), bearer(good().sign())],
        vec![bearer(server.token().sign())],
        vec![bearer(good().expired().sign())],
        vec![bearer(good().audience("https://other.test/").sign())],
        vec![bearer(good().issuer("https://other.test/").sign())],
        vec![bearer(good().kid("unknown").sign())],
        vec![bearer(good().with_broken_signature().sign())],
        vec![bearer(good().signed_by(&other_issuer).sign())],
        vec![bearer(good().unsigned().sign())],
        vec![bearer(good().claim("cnf", serde_json::json!({ "jkt": "a" })).sign())],
        vec![bearer(good().claim("blocked", true).sign())],
    ]
    .into();
    let cookies = [None, Some(good().subject("cat").sign()), Some(good().expired().sign()), Some("a b".to_owned())];
    let hosts = [&[][..], &[HOST], &["other.test"], &["a b"], &[HOST, HOST]];
    let forwarded = [&[][..], &[HOST], &["acme.api.test, inner.test"], &["other.test"], &[HOST, "inner.test"], &[""]];
    let kinds = [
        (Method::GET, Version::HTTP_11, None),
        (Method::POST, Version::HTTP_2, Some(("content-type", "application/grpc"))),
        (Method::OPTIONS, Version::HTTP_11, Some(("access-control-request-method", "GET"))),
    ];
    let mut requests = Vec::new();
    let mut number = 0_usize;
    for (method, version, header) in kinds {
        for fields in &authorizations {
            for cookie in &cookies {
                // All pairs of a credential, a cookie and a kind; the hosts alternate.
                number += 1;
                let request =
                    Request::builder().method(method.clone()).version(version).header("origin", "https://a.test");
                let request = fields.iter().fold(request, |request, field| request.header("authorization", field));
                let request =
                    cookie.iter().fold(request, |request, token| request.header("cookie", format!("t={token}")));
                let host = hosts[number % hosts.len()];
                let request = host.iter().fold(request, |request, host| request.header("host", *host));
                let request = forwarded[number % forwarded.len()]
                    .iter()
                    .fold(request, |request, host| request.header("x-forwarded-host", *host));
                let request = header.iter().fold(request, |request, (name, value)| request.header(*name, *value));
                requests.push(request.body(()).expect("a request"));
            }
        }
    }
    requests
}

/// Compares the authenticator with the layers for all requests; returns the kinds of rejections that were seen.
async fn compare<R: ErrorBody<Bytes>>(
    authenticator: Authenticator<NoCustomClaims, R>,
    require: RequireLayer<R>,
    requests: &[Request<()>],
) -> BTreeSet<RejectionKind> {
    let mut kinds = BTreeSet::new();
    for request in requests {
        let head = RequestHead::new(request);
        let outcome = authenticator.authenticate(&head).await;
        let (parts, ()) = request.clone().into_parts();
        assert_eq!(seen(authenticator.authenticate(&RequestHead::from_parts(&parts)).await), seen(outcome.clone()));
        assert_eq!(authenticator.try_authenticate(&head).map(seen), Some(seen(outcome.clone())), "{request:?}");
        let through_layer = seen_through(&authenticator, request.clone()).await;
        assert_eq!(seen(outcome.clone()), through_layer, "{request:?}");

        let with_requirement = match outcome {
            Outcome::Authenticated(user) => match user.require(&Requirement::scope("read")) {
                Ok(()) => through_layer,
                Err(rejected) => Seen::rejected(rejected.to_response()),
            },
            Outcome::Anonymous => continue,
            Outcome::Rejected(_) => through_layer,
        };
        if let Seen::Rejected { rejection, .. } = &with_requirement {
            kinds.insert(rejection.kind());
        }
        let through_layers = seen_through((&authenticator, &require), request.clone()).await;
        assert_eq!(with_requirement, through_layers, "{request:?}");
    }
    kinds
}

fn hook(error: &ErrorResponse<'_>) -> Response<Bytes> {
    let mut response = Response::new(Bytes::from(format!("{:?} {}", error.error(), error.status())));
    response.headers_mut().insert("x-hook", http::HeaderValue::from_static("yes"));
    response
}

#[tokio::test]
async fn layer_and_authenticator_decide_and_respond_equally() {
    let server = TestIssuer::new();
    let requests = requests(&server);
    let default = || authenticator(api(&server));
    let metadata = ProtectedResourceMetadata::new("https://api.test/mcp", ["https://as.test/"]).expect("a resource");
    let checking = Validator::new(api(&server)).expect("a valid configuration").with_check(|claims: &Claims| {
        if claims.claim::<bool>("blocked").is_ok_and(|blocked| blocked == Some(true)) {
            return Err(CheckError::new());
        }
        Ok(())
    });
    let bound = || authenticator(api(&server).with_issuer_for_host(HOST, server.issuer()));
    let by_host = Organizations::from_request(|request| {
        request.host()?.as_str().split_once('.').map(|(name, _)| Organization::from_name(name))
    });

    let require = || RequireLayer::scope("read");

    let metadata = default().with_realm("north").with_resource_metadata(&metadata);
    let json = default().with_challenge_scope("read write").with_json_body();
    let hooked = default().with_realm("north").with_response_hook(hook);
    let cookies = default().with_raw_token();
    let cookies = cookies.with_token_source(|request| BearerToken::from_cookie(request.headers(), "t"));
    let anonymous = cookies.clone().with_anonymous().with_json_body();
    let mut kinds = BTreeSet::new();
    for (authenticator, require) in [(json, require().with_json_body()), (anonymous, require().with_json_body())] {
        kinds.extend(compare(authenticator, require, &requests).await);
    }
    kinds.extend(compare(hooked, require().with_response_hook(hook), &requests).await);
    for authenticator in [
        default(),
        metadata,
        Authenticator::new(checking),
        default().with_anonymous(),
        default().with_preflight_passthrough(),
        cookies,
        bound(),
        bound().with_trusted_forwarded_host(),
        bound().with_first_trusted_forwarded_host(),
        authenticator(api(&server).with_organizations(by_host)),
    ] {
        kinds.extend(compare(authenticator, require(), &requests).await);
    }

    use RejectionKind as Kind;
    assert_eq!(
        Vec::from_iter(kinds),
        [
            Kind::NoCredential,
            Kind::InvalidRequest,
            Kind::MalformedToken,
            Kind::TokenTooLong,
            Kind::Issuer,
            Kind::KeyNotFound,
            Kind::Signature,
            Kind::Audience,
            Kind::Expired,
            Kind::Organization,
            Kind::Confirmation,
            Kind::Check,
            Kind::InsufficientScope,
        ]
    );
}

#[tokio::test]
async fn waits_for_keys_as_the_layer_does() {
    let server = TestIssuer::new();
    let cold = |outage: Outage| {
        server.set_outage(outage);
        let issuer = Issuer::jwks(server.issuer(), server.jwks_uri());
        let policy = RefreshPolicy::new().with_cold_wait(Duration::from_millis(50));
        let validator = Validator::builder(Api::new(AUDIENCE, issuer)).with_fetch(server.clone());
        let validator = validator.with_refresh_policy(policy).build().expect("a valid configuration");
        Authenticator::new(validator).with_raw_token().with_realm("north")
    };
    let token = server.token().subject("ann").sign();
    let request = request(&[("authorization", &format!("Bearer {token}"))]);
    let head = RequestHead::new(&request);

    let authenticator = cold(Outage::None);
    assert!(authenticator.try_authenticate(&head).is_none(), "the keys are not fetched yet");
    let expected = Seen::Authenticated { subject: Some("ann".to_owned()), token: Some(token) };
    assert_eq!(seen(authenticator.authenticate(&head).await), expected);
    assert_eq!(authenticator.try_authenticate(&head).map(seen), Some(expected));

    let unavailable = Outage::Status(StatusCode::BAD_GATEWAY);
    let rejected = rejected(cold(unavailable).authenticate(&head).await);
    assert_eq!((rejected.status(), rejected.challenges()), (StatusCode::SERVICE_UNAVAILABLE, None));
    let names = |headers: &HeaderMap| headers.keys().map(ToString::to_string).collect::<Vec<_>>();
    let response = rejected.to_response();
    assert_eq!(names(response.headers()), ["retry-after"]);
    let Seen::Rejected { status, headers, .. } = seen_through(cold(unavailable), request.clone()).await else {
        panic!("accepted without keys");
    };
    let of_layer: Vec<&str> = headers.iter().map(|(name, _)| &**name).collect();
    assert_eq!((status, of_layer), (response.status(), vec!["retry-after"]));
}

#[tokio::test]
async fn future_can_be_sent_to_another_thread() {
    let server = TestIssuer::new();
    let authenticator = authenticator(api(&server));
    let task = tokio::spawn(async move { authenticator.authenticate(&RequestHead::new(&Request::new(()))).await });
    assert_eq!(rejected(task.await.expect("no panic")).rejection(), &Rejection::NoCredential);
}

#[tokio::test]
async fn rejected_grpc_call_has_the_status_of_its_rejection() {
    let server = TestIssuer::new();
    let authenticator = authenticator(api(&server));
    let call = |version| {
        let request = Request::post("/greeter").version(version).header("content-type", "application/grpc");
        request.body(()).expect("a request")
    };
    let grpc = rejected(authenticator.authenticate(&RequestHead::new(&call(Version::HTTP_2))).await);
    assert!(grpc.error_response().is_grpc());
    // A gateway that decides by this status does not accept the call.
    assert_eq!((grpc.status(), grpc.to_response().status()), (StatusCode::UNAUTHORIZED, StatusCode::OK));
    assert_eq!(grpc.to_response().headers()["grpc-status"], "16");
    let http = rejected(authenticator.authenticate(&RequestHead::new(&call(Version::HTTP_11))).await);
    assert_eq!((http.status(), http.to_response().status()), (StatusCode::UNAUTHORIZED, StatusCode::UNAUTHORIZED));
    assert_eq!(http.challenges().map(|value| value.as_bytes()), Some(&b"Bearer"[..]));
    assert_eq!((http.scheme(), http.scheme().name()), (Scheme::Bearer, "Bearer"));
}

#[tokio::test]
async fn application_rejects_with_the_challenge_of_the_authenticator() {
    let server = TestIssuer::new();
    let authenticator = authenticator(api(&server)).with_realm("north").with_json_body().with_anonymous();
    let request = Request::new(());
    let head = RequestHead::new(&request);
    assert!(matches!(authenticator.authenticate(&head).await, Outcome::Anonymous));
    let rejected = authenticator.reject(&head, Rejection::NoCredential);
    assert_eq!(rejected.status(), StatusCode::UNAUTHORIZED);
    assert_eq!(rejected.challenges().map(|value| value.as_bytes()), Some(&br#"Bearer realm="north""#[..]));
    assert_eq!(rejected.to_response().body(), "{}");
    let in_axum = TestResponse::from_response(axum::response::IntoResponse::into_response(rejected)).await;
    assert_eq!((in_axum.status, in_axum.challenge(), &*in_axum.body), (401, r#"Bearer realm="north""#, "{}"));
    let blocked = authenticator.reject(&head, Rejection::Check(CheckError::new()));
    assert_eq!((blocked.status(), blocked.error_response().error()), (StatusCode::UNAUTHORIZED, Some("invalid_token")));
}

/// Allows only the subject `ann`, and others by their scope.
async fn is_ann_or_reads(claims: &Claims, _: &Parts) -> Result<(), RequirementError> {
    match claims.subject() {
        Some("ann") => Ok(()),
        Some("bob") => Err(RequirementError::forbidden(claims, "ann")),
        Some("down") => Err(RequirementError::unavailable(claims, Duration::from_millis(4_001))),
        _ => claims.require(&Requirement::scope("read")),
    }
}

#[tokio::test]
async fn application_rejects_by_its_own_rule_as_the_layer_does() {
    let server = TestIssuer::new();
    let authenticator = authenticator(api(&server)).with_realm("north").with_json_body();
    let layers = (&authenticator, &AsyncRequireLayer::new(is_ann_or_reads).with_json_body());
    let claims = tower_bearer::testing::claims().build();
    let predicate = RequirementError::forbidden(&claims, "ann");
    let read = claims.require(&Requirement::scope("read")).expect_err("no scope");
    let down = RequirementError::unavailable(&claims, Duration::from_millis(4_001));
    for (subject, scope, expected) in [
        ("ann", "", None),
        ("bob", "read", Some((403, Rejection::from(predicate)))),
        ("cat", "read", None),
        ("cat", "write", Some((403, Rejection::from(read)))),
        ("down", "read", Some((503, Rejection::from(down)))),
    ] {
        let token = server.token().subject(subject).scope(scope).sign();
        let request = request(&[("authorization", &format!("Bearer {token}"))]);
        let user = authenticated(authenticator.authenticate(&RequestHead::new(&request)).await);
        let checked = is_ann_or_reads(user.claims(), &request.clone().into_parts().0).await;
        let rejected = checked.map_err(|error| user.reject(error)).err();
        let seen_by_client = match &rejected {
            None => Seen::accepted(Some(user.claims()), None),
            Some(rejected) => Seen::rejected(rejected.to_response()),
        };
        let rejection = rejected.map(|rejected| (rejected.status().as_u16(), rejected.rejection().clone()));
        assert_eq!(rejection, expected, "{subject}");
        assert_eq!(seen_by_client, seen_through(layers, request).await, "{subject}");
    }
}

#[tokio::test]
async fn authenticated_request_has_claims_token_and_scheme() {
    let server = TestIssuer::new();
    let token = server.token().subject("ann").sign();
    let request = request(&[("authorization", &format!("Bearer {token}"))]);
    let head = RequestHead::new(&request);
    let plain = authenticated(authenticator(api(&server)).authenticate(&head).await);
    assert_eq!((plain.token(), plain.scheme(), plain.response_headers().len()), (None, Scheme::Bearer, 0));
    let with_token = authenticated(authenticator(api(&server)).with_raw_token().authenticate(&head).await);
    assert_eq!(with_token.token().map(BearerToken::as_str), Some(&*token));
    assert_eq!(with_token.into_claims().subject(), Some("ann"));
}

/// Reads `?access_token=…`, as the guide shows it.
fn from_query<'r>(request: &RequestHead<'r>) -> Result<Option<BearerToken<'r>>, CredentialError> {
    let parameters = request.uri().query().unwrap_or_default().split('&');
    let mut tokens = parameters.filter_map(|parameter| parameter.strip_prefix("access_token="));
    match (tokens.next(), tokens.next()) {
        (None, _) => Ok(None),
        (Some(token), None) => BearerToken::parse(token).map(Some),
        (Some(_), Some(_)) => Err(CredentialError::Multiple),
    }
}

#[tokio::test]
async fn reads_the_token_from_any_configured_place_but_only_one() {
    let server = TestIssuer::new();
    let several = authenticator(api(&server))
        .with_token_source(|request| BearerToken::from_cookie(request.headers(), "t"))
        .with_token_source(|request| BearerToken::from_subprotocol(request.headers(), "bearer."))
        .with_token_source(from_query);
    let token = server.token().subject("ann").sign();
    let outcome = async |target: String, fields: &[(&str, String)]| {
        let request = fields.iter().fold(Request::get(target), |request, (name, value)| request.header(*name, value));
        match several.authenticate(&RequestHead::new(&request.body(()).expect("a request"))).await {
            Outcome::Authenticated(user) => Ok(user.claims().subject() == Some("ann")),
            Outcome::Anonymous => Ok(false),
            Outcome::Rejected(rejected) => Err(rejected.rejection().clone()),
        }
    };
    let field = ("authorization", format!("Bearer {token}"));
    let cookie = ("cookie", format!("t={token}"));
    let subprotocol = ("sec-websocket-protocol", format!("chat, bearer.{token}"));
    let (plain, in_query) = (|| "/events".to_owned(), format!("/events?a=b&access_token={token}"));
    assert_eq!(outcome(plain(), &[]).await, Err(Rejection::NoCredential));
    for fields in [&field, &cookie, &subprotocol].map(std::slice::from_ref) {
        assert_eq!(outcome(plain(), fields).await, Ok(true), "{fields:?}");
        assert_eq!(outcome(in_query.clone(), fields).await, Err(Rejection::Credential(CredentialError::Multiple)));
    }
    assert_eq!(outcome(in_query.clone(), &[]).await, Ok(true));
    assert_eq!(
        outcome("/events?access_token=".to_owned(), &[]).await,
        Err(Rejection::Credential(CredentialError::Malformed))
    );
    let doubled = format!("{in_query}&access_token={token}");
    assert_eq!(outcome(doubled, &[]).await, Err(Rejection::Credential(CredentialError::Multiple)));
    for pair in [[field.clone(), cookie.clone()], [cookie, subprotocol.clone()], [subprotocol, field]] {
        assert_eq!(outcome(plain(), &pair).await, Err(Rejection::Credential(CredentialError::Multiple)), "{pair:?}");
    }
}

#[tokio::test]
async fn waits_for_keys_with_a_token_from_the_query() {
    let server = TestIssuer::new();
    let issuer = Issuer::jwks(server.issuer(), server.jwks_uri());
    let validator = Validator::builder(Api::new(AUDIENCE, issuer)).with_fetch(server.clone()).build();
    let authenticator = Authenticator::new(validator.expect("a valid configuration")).with_token_source(from_query);
    let request = Request::get(format!("/?access_token={}", server.token().subject("ann").sign())).body(());
    let outcome = authenticator.authenticate(&RequestHead::new(&request.expect("a request"))).await;
    assert_eq!(authenticated(outcome).claims().subject(), Some("ann"));
}

#[tokio::test]
async fn first_forwarded_host_is_read_only_by_its_option() {
    let server = TestIssuer::new();
    let bound = || authenticator(api(&server).with_issuer_for_host(HOST, server.issuer()));
    let token = format!("Bearer {}", server.token().sign());
    let kind = async |authenticator: &Authenticator, forwarded: &[&str]| {
        let fields = forwarded.iter().map(|value| ("x-forwarded-host", *value));
        let fields: Vec<(&str, &str)> = fields.chain([("authorization", &*token), ("host", "inner.test")]).collect();
        match authenticator.authenticate(&RequestHead::new(&request(&fields))).await {
            Outcome::Authenticated(_) => None,
            Outcome::Anonymous => panic!("not configured"),
            Outcome::Rejected(rejected) => Some(rejected.rejection().kind()),
        }
    };
    let (one, first) = (bound().with_trusted_forwarded_host(), bound().with_first_trusted_forwarded_host());
    let (issuer, invalid) = (Some(RejectionKind::Issuer), Some(RejectionKind::InvalidRequest));
    for (forwarded, of_one, of_first) in [
        (&[][..], issuer, issuer),
        (&[HOST], None, None),
        (&["acme.api.test:8443, inner.test"], invalid, None),
        (&["acme.api.test ,inner.test,"], invalid, None),
        (&[HOST, "inner.test"], invalid, None),
        (&["inner.test, acme.api.test"], invalid, issuer),
        (&["inner.test", HOST], invalid, issuer),
        (&[", acme.api.test"], invalid, invalid),
        (&[""], invalid, invalid),
        (&["a b, acme.api.test"], invalid, invalid),
    ] {
        assert_eq!(kind(&one, forwarded).await, of_one, "{forwarded:?}");
        assert_eq!(kind(&first, forwarded).await, of_first, "{forwarded:?}");
        assert_eq!(kind(&bound(), forwarded).await, issuer, "{forwarded:?}");
    }
}

#[test]
fn debug_shows_no_token() {
    let server = TestIssuer::new();
    let authenticator = authenticator(api(&server)).with_raw_token().with_realm("north");
    let token = server.token().sign();
    let request = request(&[("authorization", &format!("Bearer {token}"))]);
    let outcome = authenticator.try_authenticate(&RequestHead::new(&request)).expect("static keys");
    let shown = format!("{authenticator:?} {outcome:?}");
    assert!(!shown.contains(&token) && shown.contains("north"), "{shown}");
    let _: Authenticator<NoCustomClaims, EmptyBody> = authenticator;
}
