//! Keys over real sockets, from a server that misbehaves: what the crate's own backend makes of it.

#![expect(clippy::expect_used, reason = "a server of the test that cannot serve fails the test")]

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

/// What the server does with a request.
#[derive(Clone, Debug)]
enum Manner {
    /// Writes this and waits for the next request.
    Answer(String),
    /// Writes this and closes the connection.
    AnswerAndClose(String),
    /// Closes without a word.
    Close,
    /// Reads, and says nothing.
    Silence,
    /// An answer whose body comes octet by octet, for ever.
    Drip,
    /// A body without end.
    Endless,
    /// Writes these octets at once, whatever the client says.
    Blurt(&'static [u8]),
}

/// A server on loopback that can change its manners.
#[derive(Clone)]
struct Server {
    address: SocketAddr,
    manner: Arc<Mutex<Manner>>,
    /// Manners that come first, one request each.
    once: Arc<Mutex<Vec<Manner>>>,
    accepted: Arc<AtomicUsize>,
    open: Arc<AtomicUsize>,
    written: Arc<AtomicUsize>,
}

impl Server {
    async fn start(manner: Manner) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.expect("a port");
        let server = Self {
            address: listener.local_addr().expect("an address"),
            manner: Arc::new(Mutex::new(manner)),
            once: Arc::default(),
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

    fn becomes(&self, manner: Manner) {
        *self.manner.lock().expect("unpoisoned") = manner;
    }

    fn once(&self, manner: Manner) {
        self.once.lock().expect("unpoisoned").push(manner);
    }

    fn next_manner(&self) -> Manner {
        let once = self.once.lock().expect("unpoisoned").pop();
        once.unwrap_or_else(|| self.manner.lock().expect("unpoisoned").clone())
    }

    async fn serve(&self, mut stream: TcpStream) {
        let mut request = [0; 8192];
        loop {
            match stream.read(&mut request).await {
                Ok(0) | Err(_) => return,
                Ok(_) => {}
            }
            match self.next_manner() {
                Manner::Answer(answer) => drop(stream.write_all(answer.as_bytes()).await),
                Manner::AnswerAndClose(answer) => return drop(stream.write_all(answer.as_bytes()).await),
                Manner::Close => return,
                Manner::Silence => {}
                Manner::Drip => return self.write_forever(&mut stream, b" ", Duration::from_millis(20)).await,
                Manner::Endless => return self.write_forever(&mut stream, &[b' '; 16 * 1024], Duration::ZERO).await,
                Manner::Blurt(octets) => return drop(stream.write_all(octets).await),
            }
        }
    }

    async fn write_forever(&self, stream: &mut TcpStream, octets: &[u8], pause: Duration) {
        let head = "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n";
        let mut result = stream.write_all(head.as_bytes()).await;
        while result.is_ok() {
            let mut chunk = format!("{:x}\r\n", octets.len()).into_bytes();
            chunk.extend_from_slice(octets);
            chunk.extend_from_slice(b"\r\n");
            result = stream.write_all(&chunk).await;
            self.written.fetch_add(octets.len(), Ordering::SeqCst);
            sleep(pause).await;
        }
    }

    async fn has_no_open_connection(&self) {
        let none = async {
            while self.open.load(Ordering::SeqCst) > 0 {
                sleep(Duration::from_millis(5)).await;
            }
        };
        timeout(Duration::from_secs(5), none).await.expect("the client lets go of the connection");
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
struct World {
    server: Server,
    issuer: TestIssuer,
    validator: Validator,
}

impl World {
    async fn loaded() -> Self {
        let issuer = TestIssuer::new();
        let world = Self::at(issuer.clone(), Server::start(Manner::Answer(ok(&issuer.jwks()))).await, |url| url);
        world.source().ready_within(Duration::from_secs(10)).await.expect("the first keys");
        world
    }

    fn at(issuer: TestIssuer, server: Server, url: impl FnOnce(String) -> String) -> Self {
        Self::with(policy(), issuer, server, url)
    }

    fn with(policy: RefreshPolicy, issuer: TestIssuer, server: Server, url: impl FnOnce(String) -> String) -> Self {
        let trusted = Issuer::jwks(issuer.issuer(), url(server.url()));
        let validator = Validator::builder(Api::new(AUDIENCE, trusted)).with_refresh_policy(policy).build();
        Self { server, issuer, validator: validator.expect("a good configuration") }
    }

    fn source(&self) -> &KeySource {
        self.validator.key_sources().next().expect("one issuer").1
    }

    /// Fetches under the server's new manner, and checks that the old keys go on working meanwhile and after it.
    async fn refresh(&self) -> Result<(), RefreshError> {
        let source = self.source().clone();
        let reload = tokio::spawn(async move { source.reload().await });
        for _ in 0..5 {
            let begin = Instant::now();
            self.serves().await;
            assert!(begin.elapsed() < ATTEMPT, "a known key waits for nothing");
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
async fn silence_is_given_up_and_the_socket_with_it() {
    let world = World::loaded().await;
    world.server.becomes(Manner::Silence);
    assert_eq!(world.refresh().await, Err(RefreshError::Timeout));
    world.server.has_no_open_connection().await;
}

#[tokio::test]
async fn slow_drip_aborted() {
    let world = World::loaded().await;
    world.server.becomes(Manner::Drip);
    assert_eq!(world.refresh().await, Err(RefreshError::Timeout));
    world.server.has_no_open_connection().await;
}

#[tokio::test]
async fn an_endless_body_is_cut_at_the_limit() {
    let world = World::loaded().await;
    world.server.becomes(Manner::Endless);
    assert_eq!(world.refresh().await, network(FetchError::TooLarge));
    world.server.has_no_open_connection().await;
    let written = world.server.written.load(Ordering::SeqCst);
    assert!(written < 16 * 1024 * 1024, "{written} octets were taken, most of them by the sockets' buffers");
}

/// An error page is not read, so that its status and its `Retry-After` count, and so does the next attempt's time.
#[tokio::test]
async fn a_long_error_page_is_what_its_status_says() {
    let world = World::loaded().await;
    let page = ok(&"x".repeat(1024 * 1024));
    world.server.becomes(Manner::Answer(page.replace("200 OK", "503 Busy\r\nRetry-After: 120")));
    assert_eq!(world.refresh().await, Err(RefreshError::Status { status: 503 }));
    let next = world.source().status().next_refresh().expect("armed");
    assert!(next > Duration::from_secs(100), "{next:?}");
}

/// html_200_keeps_old, and F30: what a document is called does not matter.
#[tokio::test]
async fn what_is_in_a_document_counts_and_not_its_media_type() {
    let world = World::loaded().await;
    let keys = ok(&world.issuer.jwks());
    for media_type in ["text/plain; charset=latin1", "text/html", "application/jwk-set+json"] {
        world.server.becomes(Manner::Answer(keys.replace("application/json", media_type)));
        assert_eq!(world.refresh().await, Ok(()), "{media_type}");
        let page = ok("<!doctype html><title>Sign in</title>").replace("application/json", media_type);
        world.server.becomes(Manner::Answer(page));
        assert_eq!(world.refresh().await, Err(RefreshError::InvalidDocument), "{media_type}");
    }
    assert_eq!(world.server.accepted.load(Ordering::SeqCst), 1, "a page that was read costs no connection");
}

/// The test runs itself once more with a proxy in its environment, which a client of the caller's own takes.
#[tokio::test]
async fn proxies_from_the_environment_are_not_used() {
    const TARGET: &str = "TOWER_BEARER_TEST_TARGET";
    let get = async |fetch: ReqwestFetch, url: &str| {
        let request = FetchRequest::new(Endpoint::new(url).expect("a URL"), 1000);
        fetch.fetch(request).await.map(|response| response.body)
    };
    if let Ok(url) = std::env::var(TARGET) {
        let own = ReqwestFetch::new().expect("a client");
        assert_eq!(get(own, &url).await.as_deref(), Ok(&b"direct"[..]));
        let callers = ReqwestFetch::with_client(reqwest::Client::new());
        assert_eq!(get(callers, &url).await.as_deref(), Ok(&b"by proxy"[..]));
        return;
    }
    let server = Server::start(Manner::Answer(ok("direct"))).await;
    let proxy = Server::start(Manner::Answer(ok("by proxy"))).await;
    let mut again = Command::new(std::env::current_exe().expect("this test"));
    again.args(["--exact", "jwks_sockets::proxies_from_the_environment_are_not_used"]);
    for name in ["HTTP_PROXY", "http_proxy", "HTTPS_PROXY", "https_proxy", "ALL_PROXY", "all_proxy"] {
        again.env(name, format!("http://{}", proxy.address));
    }
    again.env_remove("NO_PROXY").env_remove("no_proxy").env_remove("REQUEST_METHOD").env(TARGET, server.url());
    let output = tokio::task::spawn_blocking(move || again.output()).await.expect("no panic").expect("it runs");
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stdout));
    let asked = [&server, &proxy].map(|asked| asked.accepted.load(Ordering::SeqCst));
    assert_eq!(asked, [1, 1]);
}

#[tokio::test]
async fn redirect_refused() {
    let elsewhere = Server::start(Manner::Answer(ok(r#"{"keys":[]}"#))).await;
    for status in ["301 Moved", "302 Found", "303 See Other", "307 Temporary Redirect", "308 Permanent Redirect"] {
        let world = World::loaded().await;
        let location = elsewhere.url();
        let answer = format!("HTTP/1.1 {status}\r\nLocation: {location}\r\nContent-Length: 0\r\n\r\n");
        world.server.becomes(Manner::Answer(answer));
        assert_eq!(world.refresh().await, Err(RefreshError::Redirect), "{status}");
    }
    assert_eq!(elsewhere.accepted.load(Ordering::SeqCst), 0);
}

/// `with_same_origin_redirects`: the client follows nothing, the key source does, and only to where it came from.
#[tokio::test]
async fn redirect_within_the_origin_is_followed_on_request() {
    let issuer = TestIssuer::new();
    let elsewhere = Server::start(Manner::Answer(ok(&issuer.jwks()))).await;
    let server = Server::start(Manner::Answer(ok(&issuer.jwks()))).await;
    let world = World::with(policy().with_same_origin_redirects(), issuer, server, |url| url);
    world.source().ready_within(Duration::from_secs(10)).await.expect("the first keys");
    let sent = |status: &str, location: &str| {
        Manner::Answer(format!("HTTP/1.1 {status}\r\nLocation: {location}\r\nContent-Length: 0\r\n\r\n"))
    };
    let here = world.server.url();
    for status in ["301 Moved", "302 Found", "307 Temporary Redirect", "308 Permanent Redirect"] {
        for location in ["/keys", "keys?v=2", &format!("{here}/../keys")] {
            world.server.once(sent(status, location));
            assert_eq!(world.refresh().await, Ok(()), "{status} {location}");
        }
        for location in [&*elsewhere.url(), &format!("//{}/jwks", elsewhere.address), "https://127.0.0.1/jwks", "/x#y"]
        {
            world.server.once(sent(status, location));
            assert_eq!(world.refresh().await, Err(RefreshError::Redirect), "{status} {location}");
        }
    }
    world.server.once(sent("303 See Other", "/keys"));
    assert_eq!(world.refresh().await, Err(RefreshError::Redirect));
    world.server.becomes(sent("302 Found", "/jwks"));
    assert_eq!(world.refresh().await, Err(RefreshError::Redirect));
    assert_eq!(elsewhere.accepted.load(Ordering::SeqCst), 0);
}

#[tokio::test]
async fn a_client_that_follows_redirects_is_not_believed() {
    let keys = Server::start(Manner::Answer(ok(r#"{"keys":[]}"#))).await;
    let answer = format!("HTTP/1.1 302 Found\r\nLocation: {}\r\nContent-Length: 0\r\n\r\n", keys.url());
    let server = Server::start(Manner::Answer(answer)).await;
    let fetch = ReqwestFetch::with_client(reqwest::Client::new());
    let get = |url: &str| fetch.fetch(FetchRequest::new(Endpoint::new(url).expect("a URL"), 1000));
    assert_eq!(get(&server.url()).await.map(|response| response.status.as_u16()), Ok(302));
    let response = get(&keys.url()).await.expect("an answer");
    assert_eq!((response.status.as_u16(), &*response.body), (200, &br#"{"keys":[]}"#[..]));
}

#[tokio::test]
async fn a_connection_closed_before_the_answer_is_tried_once_more() {
    let world = World::loaded().await;
    world.server.once(Manner::Close);
    assert_eq!(world.refresh().await, Ok(()));
    assert_eq!(world.server.accepted.load(Ordering::SeqCst), 2);

    world.server.becomes(Manner::Close);
    assert_eq!(world.refresh().await, network(FetchError::Closed));
    assert_eq!(world.source().status().consecutive_failures(), 1);
}

#[tokio::test]
async fn idle_conn_reset_retried() {
    let world = World::loaded().await;
    let keys = ok(&world.issuer.jwks());
    for _ in 0..3 {
        // The answer promises a connection that lives on, and the server closes it.
        world.server.becomes(Manner::AnswerAndClose(keys.clone()));
        assert_eq!(world.refresh().await, Ok(()));
    }
    assert_eq!(world.source().status().consecutive_failures(), 0);
}

#[tokio::test]
async fn a_connection_is_used_again_and_there_is_only_one() {
    let world = World::loaded().await;
    for _ in 0..3 {
        assert_eq!(world.refresh().await, Ok(()));
    }
    assert_eq!(world.server.accepted.load(Ordering::SeqCst), 1);
    assert_eq!(world.server.open.load(Ordering::SeqCst), 1);
}

#[tokio::test]
async fn a_truncated_body_is_no_key_set() {
    let world = World::loaded().await;
    let whole = ok(&world.issuer.jwks());
    world.server.becomes(Manner::AnswerAndClose(whole[..whole.len() - 10].to_owned()));
    assert_eq!(world.refresh().await, network(FetchError::Other));
    assert_eq!(world.server.accepted.load(Ordering::SeqCst), 1, "an answer had begun: there is no second attempt");
}

/// Answers that an HTTP client could stumble over: each is an error of its own kind, and none brings or takes a key.
#[tokio::test]
async fn odd_answers_are_no_key_sets() {
    let world = World::loaded().await;
    let keys = world.issuer.jwks();
    let length = keys.len();
    let headed =
        |status: &str, header: &str| format!("HTTP/1.1 {status}\r\nContent-Length: {length}\r\n{header}\r\n{keys}");
    let chunked =
        |size: &str| format!("HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n{size}\r\n{keys}\r\n0\r\n\r\n");
    let status = |status| Err(RefreshError::Status { status });
    let (closed, broken) = (network(FetchError::Closed), network(FetchError::Other));
    for (answer, outcome) in [
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
        world.server.becomes(Manner::AnswerAndClose(answer.clone()));
        assert_eq!(world.refresh().await, outcome, "{}", &answer[..60]);
    }
}

#[tokio::test]
async fn what_is_not_http_is_no_answer() {
    let world = World::loaded().await;
    world.server.becomes(Manner::Blurt(b"SSH-2.0-OpenSSH_9.6\r\n"));
    let refused = world.refresh().await;
    assert!(matches!(refused, Err(RefreshError::Network { .. })), "{refused:?}");
}

#[tokio::test]
async fn a_refused_connection_is_told_from_a_failed_handshake() {
    let issuer = TestIssuer::new();
    let free = TcpListener::bind("127.0.0.1:0").await.expect("a port");
    let mut nobody = Server::start(Manner::Silence).await;
    nobody.address = free.local_addr().expect("an address");
    drop(free);
    let world = World::at(issuer.clone(), nobody, |url| url);
    assert_eq!(world.source().reload().await, network(FetchError::Connect));

    let alert: &[u8] = b"\x15\x03\x03\x00\x02\x02\x28";
    let plain: &[u8] = b"HTTP/1.1 400 Bad Request\r\n\r\n";
    for blurt in [alert, plain, b""] {
        let server = Server::start(Manner::Blurt(blurt)).await;
        let world = World::at(issuer.clone(), server, |url| url.replace("http://", "https://"));
        assert_eq!(world.source().reload().await, network(FetchError::Tls), "{blurt:?}");
    }
}

/// `with_public_addresses_only`: the source says so, nobody is asked, and it is not tried again at once.
#[tokio::test]
async fn an_address_that_is_not_public_is_refused_unasked() {
    let issuer = TestIssuer::new();
    let guarded = || ReqwestFetch::builder().with_public_addresses_only().build().expect("a client");
    for (host, fetch, outcome) in [
        ("127.0.0.1", guarded(), network(FetchError::AddressRefused)),
        ("localhost", guarded(), network(FetchError::AddressRefused)),
        ("127.0.0.1", ReqwestFetch::new().expect("a client"), Ok(())),
        ("localhost", ReqwestFetch::new().expect("a client"), Ok(())),
    ] {
        let server = Server::start(Manner::Answer(ok(&issuer.jwks()))).await;
        let trusted = Issuer::jwks(issuer.issuer(), server.url().replace("127.0.0.1", host));
        let builder = Validator::builder(Api::new(AUDIENCE, trusted)).with_refresh_policy(policy()).with_fetch(fetch);
        let validator = builder.build().expect("a good configuration");
        let source = validator.key_sources().next().expect("one issuer").1;
        assert_eq!(source.reload().await, outcome, "{host}");
        let accepted = server.accepted.load(Ordering::SeqCst);
        assert_eq!(accepted > 0, outcome.is_ok(), "{host}: {accepted} connections");
        assert_eq!(source.status().last_error().map_or(Ok(()), Err), outcome, "{host}");
    }
}

#[tokio::test]
async fn a_new_key_is_found_over_the_wire_by_the_request_that_needs_it() {
    let world = World::loaded().await;
    world.issuer.rotate();
    world.server.becomes(Manner::Answer(ok(&world.issuer.jwks())));
    world.serves().await;
    assert_eq!(world.source().status().epoch(), 2);
}

#[tokio::test]
async fn an_issuer_that_starts_late_is_found_without_a_restart() {
    let issuer = TestIssuer::new();
    let server = Server::start(Manner::Close).await;
    let world = World::at(issuer, server, |url| url);
    assert!(world.source().ready_within(Duration::from_millis(300)).await.is_err());
    world.server.becomes(Manner::Answer(ok(&world.issuer.jwks())));
    world.source().ready_within(Duration::from_secs(10)).await.expect("the keys come");
    world.serves().await;
}
