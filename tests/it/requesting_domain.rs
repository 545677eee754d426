//! The host of the request selects the domain that must have issued the token (RFC 9110 §7.2).

use std::convert::Infallible;

use bytes::Bytes;
use http::{Request, Response, Version};
use http_body_util::{BodyExt as _, Empty, Full};
use hyper::body::Incoming;
use hyper_util::rt::{TokioExecutor, TokioIo};
use hyper_util::server::conn::auto::Builder;
use hyper_util::service::TowerToHyperService;
use tower::{ServiceBuilder, service_fn};
use tower_bearer::claims::Organization;
use tower_bearer::config::Organizations;
use tower_bearer::rejection::IssuerError;
use tower_bearer::request::HostError;
use tower_bearer::testing::TestIssuer;
use tower_bearer::{Api, BearerLayer, Rejection, Validator};

use crate::stack::{self, AUDIENCE, Body, INVALID_TOKEN, OK, TestResponse, trusted};

/// One tenant with its canonical and its custom domain, and an API under two brands.
struct Brands {
    tenant: TestIssuer,
    login: TestIssuer,
    validator: Validator,
}

impl Brands {
    fn new() -> Self {
        let tenant = TestIssuer::auth0("northwind.eu.auth0.com");
        let login = tenant.add_custom_domain("https://login.brand-a.com/");
        let api = Api::new(AUDIENCE, trusted(&tenant).with_alias(login.issuer()))
            .with_issuer_for_host("api.brand-a.com", login.issuer())
            .with_issuer_for_host("api.northwind.com", tenant.issuer());
        Self { validator: Validator::new(api).expect("a valid configuration"), tenant, login }
    }

    fn layer(&self) -> BearerLayer {
        BearerLayer::new(self.validator.clone())
    }
}

fn request(token: &str, target: &str, hosts: &[&str]) -> Request<Body> {
    let mut request = stack::bearer_request(token).uri(target);
    for host in hosts {
        request = request.header("host", *host);
    }
    request.body(Body::default()).expect("a request")
}

#[tokio::test]
async fn accepts_host_authority_and_absolute_form_with_any_port_and_case() {
    let brands = Brands::new();
    let token = brands.login.token().subject("ann").sign();
    for (target, hosts) in [
        ("/", &["api.brand-a.com"][..]),
        ("/", &["API.Brand-A.COM:8443"]),
        ("https://api.brand-a.com/", &[]),
        ("https://API.brand-a.com:8443/", &["api.brand-a.com"]),
    ] {
        let response = stack::send_through(brands.layer(), request(&token, target, hosts)).await;
        assert_eq!((response.status, &*response.body), (OK, "ann"), "{target} {hosts:?}");
    }
}

#[tokio::test]
async fn rejects_the_token_of_another_brand_and_an_unbound_host() {
    let brands = Brands::new();
    let (a, canonical) = (brands.login.token().sign(), brands.tenant.token().sign());
    for (token, host) in [
        (&canonical, &["api.brand-a.com"][..]),
        (&a, &["api.northwind.com"]),
        (&a, &["api.brand-b.com"]),
        (&a, &["brand-a.com"]),
        (&a, &["api.brand-a.com."]),
        (&a, &["[::1]"]),
        (&a, &[]),
    ] {
        let response = stack::send_through(brands.layer(), request(token, "/", host)).await;
        assert_eq!((response.status, response.challenge()), (401, INVALID_TOKEN), "{host:?}");
    }
    assert_eq!(stack::send_through(brands.layer(), request(&canonical, "/", &["api.northwind.com"])).await.status, OK);
}

#[tokio::test]
async fn duplicate_contradicting_or_malformed_host_returns_400() {
    let brands = Brands::new();
    let token = brands.login.token().sign();
    for (target, hosts) in [
        ("/", &["api.brand-a.com", "api.brand-a.com"][..]),
        ("https://api.brand-a.com/", &["api.northwind.com"]),
        ("/", &["api.brand-a.com/"]),
        ("/", &["user@api.brand-a.com"]),
        ("/", &[""]),
    ] {
        let response = stack::send_through(brands.layer(), request(&token, target, hosts)).await;
        assert_eq!(
            (response.status, response.challenge()),
            (400, "Bearer error=\"invalid_request\""),
            "{target} {hosts:?}"
        );
    }
}

#[tokio::test]
async fn forwarded_host_is_ignored_unless_trusted() {
    let brands = Brands::new();
    let token = brands.login.token().sign();
    let forwarded = |hosts: &[&str]| {
        let mut request = stack::bearer_request(&token).header("host", "internal:8080");
        for host in hosts {
            request = request.header("x-forwarded-host", *host);
        }
        request.body(Body::default()).expect("a request")
    };
    let trusting = || brands.layer().with_trusted_forwarded_host();
    assert_eq!(stack::send_through(brands.layer(), forwarded(&["api.brand-a.com"])).await.status, 401);
    assert_eq!(stack::send_through(trusting(), forwarded(&["Api.Brand-A.com:443"])).await.status, OK);
    assert_eq!(
        stack::send_through(trusting(), forwarded(&[])).await.status,
        401,
        "then the request's own host is used"
    );
    for hosts in [&["api.brand-a.com", "api.brand-a.com"][..], &["api.brand-a.com, evil.example"], &[""]] {
        assert_eq!(stack::send_through(trusting(), forwarded(hosts)).await.status, 400, "{hosts:?}");
    }
}

/// Brand by host and organization by path, behind a proxy: both are checked against the client's request.
#[tokio::test]
async fn forwarded_host_selects_issuer_and_organization() {
    let tenant = TestIssuer::auth0("northwind.eu.auth0.com");
    let login = tenant.add_custom_domain("https://login.northwind.com/");
    let seen = Organizations::from_request(|request| {
        let host = request.host()?.as_str();
        let named = request.uri().path().strip_prefix("/organizations/")?;
        (host == "login.northwind.com").then(|| Organization::from_id(named))
    });
    let api = Api::new(AUDIENCE, trusted(&tenant).with_alias(login.issuer()));
    let api = api.with_issuer_from_host().with_organizations(seen);
    let layer = BearerLayer::new(Validator::new(api).expect("a valid configuration")).with_trusted_forwarded_host();
    let of = |server: &TestIssuer, organization: &str| server.token().organization(organization).sign();
    let (custom, canonical) = ("login.northwind.com", "northwind.eu.auth0.com");
    for (token, forwarded, path, status) in [
        (of(&login, "org_1"), custom, "/organizations/org_1", OK),
        (of(&login, "org_1"), "Login.Northwind.com:443", "/organizations/org_1", OK),
        (of(&login, "org_2"), custom, "/organizations/org_1", 401),
        (of(&tenant, "org_1"), custom, "/organizations/org_1", 401),
        (of(&login, "org_1"), canonical, "/organizations/org_1", 401),
        // For this host, the application returns no organization.
        (of(&tenant, "org_1"), canonical, "/organizations/org_1", 401),
        (of(&login, "org_1"), custom, "/", 401),
        (of(&login, "org_1"), "internal", "/organizations/org_1", 401),
        (of(&login, "org_1"), "login.northwind.com, x", "/organizations/org_1", 400),
    ] {
        let request =
            stack::bearer_request(&token).uri(path).header("host", "internal").header("x-forwarded-host", forwarded);
        let response = stack::send_through(layer.clone(), request.body(Body::default()).expect("a request")).await;
        assert_eq!(response.status, status, "{forwarded} {path}");
    }
}

/// Auth0, "Custom domains": a Management API token from a custom domain is accepted only under that domain.
#[tokio::test]
async fn accepts_a_management_token_only_under_its_custom_domain() {
    let tenant = TestIssuer::auth0("northwind.eu.auth0.com");
    let login = tenant.add_custom_domain("https://login.northwind.com/");
    let management = "https://northwind.eu.auth0.com/api/v2/";
    let api = Api::new(management, trusted(&tenant).with_alias(login.issuer())).with_issuer_from_host();
    let validator = Validator::new(api).expect("a valid configuration");
    let custom = login.token().audience(management).sign();
    let canonical = tenant.token().audience(management).sign();
    for (token, host, accepted) in [
        (&custom, "login.northwind.com", true),
        (&canonical, "northwind.eu.auth0.com", true),
        (&custom, "northwind.eu.auth0.com", false),
        (&canonical, "login.northwind.com", false),
    ] {
        let outcome = validator.validate_for_host(token, host).await;
        let rejected = Err(Rejection::Issuer(IssuerError::NotForHost));
        assert_eq!(outcome.map(|_| ()), if accepted { Ok(()) } else { rejected }, "{host}");
        let response = stack::send_through(BearerLayer::new(validator.clone()), request(token, "/", &[host])).await;
        assert_eq!(response.status, if accepted { OK } else { 401 }, "{host}");
    }
    let elsewhere = validator.validate_for_host(&custom, "other.northwind.com").await;
    assert_eq!(elsewhere.unwrap_err(), Rejection::Issuer(IssuerError::UnknownHost));
    let malformed = validator.validate_for_host(&custom, "login.northwind.com, x").await;
    assert_eq!(malformed.unwrap_err(), Rejection::Host(HostError::Malformed));
}

#[tokio::test]
async fn accepts_an_ip_address_as_host() {
    let server = TestIssuer::named("http://[::1]:9100/");
    let other = TestIssuer::named("http://127.0.0.1:9100/");
    let api = Api::new(AUDIENCE, trusted(&server)).with_issuer(trusted(&other)).with_issuer_from_host();
    let validator = Validator::new(api).expect("a valid configuration");
    let (six, four) = (server.token().sign(), other.token().sign());
    for (token, host, status) in [
        (&six, "[::1]:8080", OK),
        (&six, "[0:0::1]", OK),
        (&four, "127.0.0.1", OK),
        (&four, "[::1]:8080", 401),
        (&six, "127.0.0.1:9100", 401),
        (&six, "[::2]", 401),
        (&six, "::1", 400),
        (&six, "[::1", 400),
    ] {
        let response = stack::send_through(BearerLayer::new(validator.clone()), request(token, "/", &[host])).await;
        assert_eq!(response.status, status, "{host}");
    }
}

#[tokio::test]
async fn authority_selects_the_issuer_over_http_2() {
    let brands = Brands::new();
    let (a, canonical) = (brands.login.token().subject("ann").sign(), brands.tenant.token().sign());
    let service = ServiceBuilder::new().layer(brands.layer()).service(service_fn(hello));
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.expect("a port");
    let address = listener.local_addr().expect("an address");
    let serving = tokio::spawn(async move {
        let (stream, _) = listener.accept().await.expect("a client");
        let served = Builder::new(TokioExecutor::new());
        drop(served.serve_connection(TokioIo::new(stream), TowerToHyperService::new(service)).await);
    });
    let stream = tokio::net::TcpStream::connect(address).await.expect("a server");
    let (mut client, connection) =
        hyper::client::conn::http2::handshake(TokioExecutor::new(), TokioIo::new(stream)).await.expect("HTTP/2");
    let connected = tokio::spawn(connection);

    for (authority, host, token, status) in [
        ("api.brand-a.com", None, &a, OK),
        ("API.brand-a.com:8443", None, &a, OK),
        ("api.brand-a.com", None, &canonical, 401),
        ("api.brand-b.com", None, &a, 401),
        ("api.brand-a.com", Some("api.northwind.com"), &a, 400),
        ("api.brand-a.com", Some("api.brand-a.com"), &a, OK),
    ] {
        let mut request = stack::bearer_request(token).version(Version::HTTP_2).uri(format!("http://{authority}/"));
        if let Some(host) = host {
            request = request.header("host", host);
        }
        let request = request.body(Empty::<Bytes>::new()).expect("a request");
        let response = TestResponse::from_response(client.send_request(request).await.expect("a response")).await;
        assert_eq!(response.status, status, "{authority} {host:?}");
    }
    drop(client);
    connected.abort();
    serving.abort();
}

async fn hello(request: Request<Incoming>) -> Result<Response<Full<Bytes>>, Infallible> {
    assert_eq!(request.version(), Version::HTTP_2);
    drop(request.into_body().collect().await);
    Ok(Response::new(Full::default()))
}
