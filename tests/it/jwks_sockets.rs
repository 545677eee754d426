//! Keys over real sockets from a misbehaving server, fetched by the crate's default client.

#![expect(clippy::expect_used, reason = "a test server that fails stops the test")]

use std::net::SocketAddr;
use std::process::Command;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::{TcpListener, TcpStream};
use tokio::time::{Instant, sleep, timeout};
use tower_bearer::fetch::{Endpoint, Fetch as _, FetchError, FetchRequest, ReqwestFetch};
use tower_bearer::jwks::{KeySource, RefreshError, RefreshPolicy};
use tower_bearer::testing::TestIssuer;
use tower_bearer::{Api, Issuer, Validator};

const AUDIENCE: &str = "https://api.test/";
const ATTEMPT: Duration = Duration::from_secs(1);
const OPERATION: Duration = Duration::from_secs(3);

/// The server's behavior for a request.
#[derive(Clone, Debug)]
enum Behavior {
    /// Writes a response and waits for the next request.
    Respond(String),
    /// Writes a response and closes the connection.
    RespondAndClose(String),
    /// Closes the connection without a response.
    Close,
    /// Reads the request and never responds.
    Silence,
    /// Sends the body byte by byte and never ends it.
    Drip,
    /// Sends a body without end.
    Endless,
    /// Writes these bytes as soon as the client connects.
    SendAtOnce(&'static [u8]),
}

/// A server on loopback whose behavior can change.
#[derive(Clone)]
struct Server {
    address: SocketAddr,
    behavior: Arc<Mutex<Behavior>>,
    /// Behaviors for the next requests, one each.
    next_behaviors: Arc<Mutex<Vec<Behavior>>>,
    accepted: Arc<AtomicUsize>,
    open: Arc<AtomicUsize>,
    written: Arc<AtomicUsize>,
}

impl Server {
    async fn start(behavior: Behavior) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.expect("a port");
        let server = Self {
            address: listener.local_addr().expect("an address"),
            behavior: Arc::new(Mutex::new(behavior)),
            next_behaviors: Arc::default(),
            accepted: Arc::default(),
            open: Arc::default(),
            written: Arc::default(),
        };
        let serving = server.clone();
        tokio::spawn(async move {
            while let Ok((stream, _)) = listener.accept().await {
                let server = serving.clone();
                server.accepted.fetch_add(1, Ordering::SeqCst);
                tokio::spawn(async move {
                    server.open.fetch_add(1, Ordering::SeqCst);
                    server.serve(stream).await;
                    server.open.fetch_sub(1, Ordering::SeqCst);
                });
            }
        });
        server
    }

    fn url(&self) -> String {
        format!("http://{}/jwks", self.address)
    }

    fn set_behavior(&self, behavior: Behavior) {
        *self.behavior.lock().expect("unpoisoned") = behavior;
    }

    fn push_behavior(&self, behavior: Behavior) {
        self.next_behaviors.lock().expect("unpoisoned").push(behavior);
    }

    fn next_behavior(&self) -> Behavior {
        let next = self.next_behaviors.lock().expect("unpoisoned").pop();
        next.unwrap_or_else(|| self.behavior.lock().expect("unpoisoned").clone())
    }

    async fn serve(&self, mut stream: TcpStream) {
        let mut request = [0; 8192];
        loop {
            match stream.read(&mut request).await {
                Ok(0) | Err(_) => return,
                Ok(_) => {}
            }
            match self.next_behavior() {
                Behavior::Respond(response) => drop(stream.write_all(response.as_bytes()).await),
                Behavior::RespondAndClose(response) => return drop(stream.write_all(response.as_bytes()).await),
                Behavior::Close => return,
                Behavior::Silence => {}
                Behavior::Drip => return self.write_forever(&mut stream, b" ", Duration::from_millis(20)).await,
                Behavior::Endless => return self.write_forever(&mut stream, &[b' '; 16 * 1024], Duration::ZERO).await,
                Behavior::SendAtOnce(bytes) => return drop(stream.write_all(bytes).await),
            }
        }
    }

    async fn write_forever(&self, stream: &mut TcpStream, bytes: &[u8], pause: Duration) {
        let head = "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n";
        let mut result = stream.write_all(head.as_bytes()).await;
        while result.is_ok() {
            let mut chunk = format!("{:x}\r\n", bytes.len()).into_bytes();
            chunk.extend_from_slice(bytes);
            chunk.extend_from_slice(b"\r\n");
            result = stream.write_all(&chunk).await;
            self.written.fetch_add(bytes.len(), Ordering::SeqCst);
            sleep(pause).await;
        }
    }

    async fn has_no_open_connection(&self) {
        let none = async {
            while self.open.load(Ordering::SeqCst) > 0 {
                sleep(Duration::from_millis(5)).await;
            }
        };
        timeout(Duration::from_secs(5), none).await.expect("the client closes the connection");
    }
}

fn ok(body: &str) -> String {
    format!("HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nContent-Length: {}\r\n\r\n{body}", body.len())
}

fn policy() -> RefreshPolicy {
    RefreshPolicy::new()
        .with_attempt_timeout(ATTEMPT)
        .with_operation_timeout(OPERATION)
        .with_unknown_kid_wait(ATTEMPT)
        .with_cold_wait(OPERATION)
}

/// A validator whose issuer publishes its keys on that server.
struct Fixture {
    server: Server,
    issuer: TestIssuer,
    validator: Validator,
}

impl Fixture {
    async fn loaded() -> Self {
        let issuer = TestIssuer::new();
        let fixture = Self::at(issuer.clone(), Server::start(Behavior::Respond(ok(&issuer.jwks()))).await, |url| url);
        fixture.source().ready_within(Duration::from_secs(10)).await.expect("the first keys");
        fixture
    }

    fn at(issuer: TestIssuer, server: Server, url: impl FnOnce(String) -> String) -> Self {
        Self::with(policy(), issuer, server, url)
    }

    fn with(policy: RefreshPolicy, issuer: TestIssuer, server: Server, url: impl FnOnce(String) -> String) -> Self {
        let trusted = Issuer::jwks(issuer.issuer(), url(server.url()));
        let validator = Validator::builder(Api::new(AUDIENCE, trusted)).with_refresh_policy(policy).build();
        Self { server, issuer, validator: validator.expect("a valid configuration") }
    }

    fn source(&self) -> &KeySource {
        self.validator.key_sources().next().expect("one issuer").1
    }

    /// Fetches under the server's current behavior, and checks that the old keys verify during the fetch and after it.
    async fn refresh(&self) -> Result<(), RefreshError> {
        let source = self.source().clone();
        let reload = tokio::spawn(async move { source.reload().await });
        for _ in 0..5 {
            let begin = Instant::now();
            self.serves().await;
            assert!(begin.elapsed() < ATTEMPT, "a known key needs no wait");
            sleep(Duration::from_millis(10)).await;
        }
        let outcome = timeout(OPERATION + ATTEMPT, reload).await.expect("the operation ends").expect("no panic");
        self.serves().await;
        outcome
    }

    async fn serves(&self) {
        let token = self.issuer.token().audience(AUDIENCE).sign();
        assert_eq!(self.validator.validate(&token).await.map(drop), Ok(()));
    }
}

fn network(error: FetchError) -> Result<(), RefreshError> {
    Err(RefreshError::Network { error })
}

#[tokio::test]
async fn times_out_a_silent_server_and_closes_the_socket() {
    let fixture = Fixture::loaded().await;
    fixture.server.set_behavior(Behavior::Silence);
    assert_eq!(fixture.refresh().await, Err(RefreshError::Timeout));
    fixture.server.has_no_open_connection().await;
}

#[tokio::test]
async fn times_out_a_slow_body_and_closes_the_socket() {
    let fixture = Fixture::loaded().await;
    fixture.server.set_behavior(Behavior::Drip);
    assert_eq!(fixture.refresh().await, Err(RefreshError::Timeout));
    fixture.server.has_no_open_connection().await;
}

#[tokio::test]
async fn stops_reading_an_endless_body_at_the_limit() {
    let fixture = Fixture::loaded().await;
    fixture.server.set_behavior(Behavior::Endless);
    assert_eq!(fixture.refresh().await, network(FetchError::TooLarge));
    fixture.server.has_no_open_connection().await;
    let written = fixture.server.written.load(Ordering::SeqCst);
    assert!(written < 16 * 1024 * 1024, "{written} bytes were sent, most of them into socket buffers");
}

/// An error page is not read: its status and its `Retry-After` set the error and the time of the next attempt.
#[tokio::test]
async fn returns_the_status_of_a_long_error_page() {
    let fixture = Fixture::loaded().await;
    let page = ok(&"x".repeat(1024 * 1024));
    fixture.server.set_behavior(Behavior::Respond(page.replace("200 OK", "503 Busy\r\nRetry-After: 120")));
    assert_eq!(fixture.refresh().await, Err(RefreshError::Status { status: 503 }));
    let next = fixture.source().status().next_refresh().expect("armed");
    assert!(next > Duration::from_secs(100), "{next:?}");
}

/// F30: the media type of a document is ignored, and an HTML page is rejected.
#[tokio::test]
async fn accepts_a_key_set_of_any_media_type() {
    let fixture = Fixture::loaded().await;
    let keys = ok(&fixture.issuer.jwks());
    for media_type in ["text/plain; charset=latin1", "text/html", "application/jwk-set+json"] {
        fixture.server.set_behavior(Behavior::Respond(keys.replace("application/json", media_type)));
        assert_eq!(fixture.refresh().await, Ok(()), "{media_type}");
        let page = ok("<!doctype html><title>Sign in</title>").replace("application/json", media_type);
        fixture.server.set_behavior(Behavior::Respond(page));
        assert_eq!(fixture.refresh().await, Err(RefreshError::InvalidDocument), "{media_type}");
    }
    assert_eq!(fixture.server.accepted.load(Ordering::SeqCst), 1, "the connection of a page that was read is reused");
}

/// The test runs itself again with a proxy in its environment, which a custom client uses.
#[tokio::test]
async fn ignores_proxies_of_the_environment() {
    const TARGET: &str = "TOWER_BEARER_TEST_TARGET";
    let get = async |fetch: ReqwestFetch, url: &str| {
        let request = FetchRequest::new(Endpoint::new(url).expect("a URL"), 1000);
        fetch.fetch(request).await.map(|response| response.body)
    };
    if let Ok(url) = std::env::var(TARGET) {
        let own = ReqwestFetch::new().expect("a client");
        assert_eq!(get(own, &url).await.as_deref(), Ok(&b"direct"[..]));
        let callers = ReqwestFetch::from_client(reqwest::Client::new());
        assert_eq!(get(callers, &url).await.as_deref(), Ok(&b"by proxy"[..]));
        return;
    }
    let server = Server::start(Behavior::Respond(ok("direct"))).await;
    let proxy = Server::start(Behavior::Respond(ok("by proxy"))).await;
    let mut again = Command::new(std::env::current_exe().expect("this test"));
    again.args(["--exact", "jwks_sockets::ignores_proxies_of_the_environment"]);
    for name in ["HTTP_PROXY", "http_proxy", "HTTPS_PROXY", "https_proxy", "ALL_PROXY", "all_proxy"] {
        again.env(name, format!("http://{}", proxy.address));
    }
    again.env_remove("NO_PROXY").env_remove("no_proxy").env_remove("REQUEST_METHOD").env(TARGET, server.url());
    let output = tokio::task::spawn_blocking(move || again.output()).await.expect("no panic").expect("it runs");
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stdout));
    let connections = [&server, &proxy].map(|server| server.accepted.load(Ordering::SeqCst));
    assert_eq!(connections, [1, 1]);
}

#[tokio::test]
async fn rejects_a_redirect() {
    let elsewhere = Server::start(Behavior::Respond(ok(r#"{"keys":[]}"#))).await;
    for status in ["301 Moved", "302 Found", "303 See Other", "307 Temporary Redirect", "308 Permanent Redirect"] {
        let fixture = Fixture::loaded().await;
        let location = elsewhere.url();
        let response = format!("HTTP/1.1 {status}\r\nLocation: {location}\r\nContent-Length: 0\r\n\r\n");
        fixture.server.set_behavior(Behavior::Respond(response));
        assert_eq!(fixture.refresh().await, Err(RefreshError::Redirect), "{status}");
    }
    assert_eq!(elsewhere.accepted.load(Ordering::SeqCst), 0);
}

/// `with_same_origin_redirects`: the key source, not the client, follows redirects, and only within the same origin.
#[tokio::test]
async fn redirect_within_the_origin_is_followed_if_configured() {
    let issuer = TestIssuer::new();
    let elsewhere = Server::start(Behavior::Respond(ok(&issuer.jwks()))).await;
    let server = Server::start(Behavior::Respond(ok(&issuer.jwks()))).await;
    let fixture = Fixture::with(policy().with_same_origin_redirects(), issuer, server, |url| url);
    fixture.source().ready_within(Duration::from_secs(10)).await.expect("the first keys");
    let sent = |status: &str, location: &str| {
        Behavior::Respond(format!("HTTP/1.1 {status}\r\nLocation: {location}\r\nContent-Length: 0\r\n\r\n"))
    };
    let here = fixture.server.url();
    for status in ["301 Moved", "302 Found", "307 Temporary Redirect", "308 Permanent Redirect"] {
        for location in ["/keys", "keys?v=2", &format!("{here}/../keys")] {
            fixture.server.push_behavior(sent(status, location));
            assert_eq!(fixture.refresh().await, Ok(()), "{status} {location}");
        }
        for location in [&*elsewhere.url(), &format!("//{}/jwks", elsewhere.address), "https://127.0.0.1/jwks", "/x#y"]
        {
            fixture.server.push_behavior(sent(status, location));
            assert_eq!(fixture.refresh().await, Err(RefreshError::Redirect), "{status} {location}");
        }
    }
    fixture.server.push_behavior(sent("303 See Other", "/keys"));
    assert_eq!(fixture.refresh().await, Err(RefreshError::Redirect));
    fixture.server.set_behavior(sent("302 Found", "/jwks"));
    assert_eq!(fixture.refresh().await, Err(RefreshError::Redirect));
    assert_eq!(elsewhere.accepted.load(Ordering::SeqCst), 0);
}

#[tokio::test]
async fn rejects_a_response_after_a_redirect_of_the_client() {
    let keys = Server::start(Behavior::Respond(ok(r#"{"keys":[]}"#))).await;
    let response = format!("HTTP/1.1 302 Found\r\nLocation: {}\r\nContent-Length: 0\r\n\r\n", keys.url());
    let server = Server::start(Behavior::Respond(response)).await;
    let fetch = ReqwestFetch::from_client(reqwest::Client::new());
    let get = |url: &str| fetch.fetch(FetchRequest::new(Endpoint::new(url).expect("a URL"), 1000));
    assert_eq!(get(&server.url()).await.map(|response| response.status.as_u16()), Ok(302));
    let response = get(&keys.url()).await.expect("a response");
    assert_eq!((response.status.as_u16(), &*response.body), (200, &br#"{"keys":[]}"#[..]));
}

#[tokio::test]
async fn retries_once_after_a_connection_closed_before_the_response() {
    let fixture = Fixture::loaded().await;
    fixture.server.push_behavior(Behavior::Close);
    assert_eq!(fixture.refresh().await, Ok(()));
    assert_eq!(fixture.server.accepted.load(Ordering::SeqCst), 2);

    fixture.server.set_behavior(Behavior::Close);
    assert_eq!(fixture.refresh().await, network(FetchError::Closed));
    assert_eq!(fixture.source().status().consecutive_failures(), 1);
}

#[tokio::test]
async fn retries_after_the_server_closed_an_idle_connection() {
    let fixture = Fixture::loaded().await;
    let keys = ok(&fixture.issuer.jwks());
    for _ in 0..3 {
        // The response promises a persistent connection, and the server closes it.
        fixture.server.set_behavior(Behavior::RespondAndClose(keys.clone()));
        assert_eq!(fixture.refresh().await, Ok(()));
    }
    assert_eq!(fixture.source().status().consecutive_failures(), 0);
}

#[tokio::test]
async fn reuses_one_connection() {
    let fixture = Fixture::loaded().await;
    for _ in 0..3 {
        assert_eq!(fixture.refresh().await, Ok(()));
    }
    assert_eq!(fixture.server.accepted.load(Ordering::SeqCst), 1);
    assert_eq!(fixture.server.open.load(Ordering::SeqCst), 1);
}

#[tokio::test]
async fn rejects_a_truncated_body_without_a_retry() {
    let fixture = Fixture::loaded().await;
    let whole = ok(&fixture.issuer.jwks());
    fixture.server.set_behavior(Behavior::RespondAndClose(whole[..whole.len() - 10].to_owned()));
    assert_eq!(fixture.refresh().await, network(FetchError::Other));
    assert_eq!(fixture.server.accepted.load(Ordering::SeqCst), 1, "no retry after the response has started");
}

/// Responses that can confuse an HTTP client: each returns its own error, adds no key and removes none.
#[tokio::test]
async fn returns_an_error_for_each_malformed_response() {
    let fixture = Fixture::loaded().await;
    let keys = fixture.issuer.jwks();
    let length = keys.len();
    let headed =
        |status: &str, header: &str| format!("HTTP/1.1 {status}\r\nContent-Length: {length}\r\n{header}\r\n{keys}");
    let chunked =
        |size: &str| format!("HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n{size}\r\n{keys}\r\n0\r\n\r\n");
    let status = |status| Err(RefreshError::Status { status });
    let (closed, broken) = (network(FetchError::Closed), network(FetchError::Other));
    for (response, outcome) in [
        (headed("200 OK", ""), Ok(())),
        (format!("HTTP/1.1 100 Continue\r\n\r\n{}", headed("200 OK", "")), Ok(())),
        (chunked(&format!("{length:x}")), Ok(())),
        (headed("101 Switching Protocols", "Connection: upgrade\r\nUpgrade: h2c\r\n"), status(101)),
        (headed("203 Non-Authoritative Information", ""), status(203)),
        (headed("206 Partial Content", &format!("Content-Range: bytes 0-{length}/99999\r\n")), status(206)),
        (headed("305 Use Proxy", "Location: http://127.0.0.1:1/\r\n"), Err(RefreshError::Redirect)),
        (headed("304 Not Modified", ""), Err(RefreshError::UnexpectedNotModified)),
        (headed("429 Too Many Requests", "Retry-After: -99999999999999999999\r\n"), status(429)),
        (headed("999 Odd", ""), status(999)),
        (headed("1000 Odder", ""), closed),
        (headed("200 OK", "Content-Length: 5\r\n"), closed),
        (headed("200 OK", &"X: y\r\n".repeat(2_000)), closed),
        (headed("200 OK", &format!("X: {}\r\n", "y".repeat(1024 * 1024))), closed),
        (headed("200 OK", "X: a\0b\r\n"), closed),
        (chunked("fffffffffffffffff"), broken),
        (chunked("-1"), broken),
        (chunked(&format!("{:x}", length - 1)), broken),
    ] {
        fixture.server.set_behavior(Behavior::RespondAndClose(response.clone()));
        assert_eq!(fixture.refresh().await, outcome, "{}", &response[..60]);
    }
}

#[tokio::test]
async fn rejects_a_response_that_is_not_http() {
    let fixture = Fixture::loaded().await;
    fixture.server.set_behavior(Behavior::SendAtOnce(b"SSH-2.0-OpenSSH_9.6\r\n"));
    let rejected = fixture.refresh().await;
    assert!(matches!(rejected, Err(RefreshError::Network { .. })), "{rejected:?}");
}

#[tokio::test]
async fn returns_different_errors_for_connect_and_tls() {
    let issuer = TestIssuer::new();
    let free = TcpListener::bind("127.0.0.1:0").await.expect("a port");
    let mut unbound = Server::start(Behavior::Silence).await;
    unbound.address = free.local_addr().expect("an address");
    drop(free);
    let fixture = Fixture::at(issuer.clone(), unbound, |url| url);
    assert_eq!(fixture.source().reload().await, network(FetchError::Connect));

    let alert: &[u8] = b"\x15\x03\x03\x00\x02\x02\x28";
    let plain: &[u8] = b"HTTP/1.1 400 Bad Request\r\n\r\n";
    for blurt in [alert, plain, b""] {
        let server = Server::start(Behavior::SendAtOnce(blurt)).await;
        let fixture = Fixture::at(issuer.clone(), server, |url| url.replace("http://", "https://"));
        assert_eq!(fixture.source().reload().await, network(FetchError::Tls), "{blurt:?}");
    }
}

/// `with_public_addresses_only`: the source reports the error, connects to no server, and does not retry at once.
#[tokio::test]
async fn rejects_a_non_public_address_without_connecting() {
    let issuer = TestIssuer::new();
    let guarded = || ReqwestFetch::builder().with_public_addresses_only().build().expect("a client");
    for (host, fetch, outcome) in [
        ("127.0.0.1", guarded(), network(FetchError::AddressNotAllowed)),
        ("localhost", guarded(), network(FetchError::AddressNotAllowed)),
        ("127.0.0.1", ReqwestFetch::new().expect("a client"), Ok(())),
        ("localhost", ReqwestFetch::new().expect("a client"), Ok(())),
    ] {
        let server = Server::start(Behavior::Respond(ok(&issuer.jwks()))).await;
        let trusted = Issuer::jwks(issuer.issuer(), server.url().replace("127.0.0.1", host));
        let builder = Validator::builder(Api::new(AUDIENCE, trusted)).with_refresh_policy(policy()).with_fetch(fetch);
        let validator = builder.build().expect("a valid configuration");
        let source = validator.key_sources().next().expect("one issuer").1;
        assert_eq!(source.reload().await, outcome, "{host}");
        let accepted = server.accepted.load(Ordering::SeqCst);
        assert_eq!(accepted > 0, outcome.is_ok(), "{host}: {accepted} connections");
        assert_eq!(source.status().last_error().map_or(Ok(()), Err), outcome, "{host}");
    }
}

#[tokio::test]
async fn request_with_a_new_kid_fetches_its_key_over_a_socket() {
    let fixture = Fixture::loaded().await;
    fixture.issuer.rotate();
    fixture.server.set_behavior(Behavior::Respond(ok(&fixture.issuer.jwks())));
    fixture.serves().await;
    assert_eq!(fixture.source().status().epoch(), 2);
}

#[tokio::test]
async fn recovers_when_the_issuer_starts_late() {
    let issuer = TestIssuer::new();
    let server = Server::start(Behavior::Close).await;
    let fixture = Fixture::at(issuer, server, |url| url);
    assert!(fixture.source().ready_within(Duration::from_millis(300)).await.is_err());
    fixture.server.set_behavior(Behavior::Respond(ok(&fixture.issuer.jwks())));
    fixture.source().ready_within(Duration::from_secs(10)).await.expect("the keys are loaded");
    fixture.serves().await;
}
