//! Content codings: the crate's default client requests none and decodes none, even if an application turns on those
//! features of `reqwest`, as these tests do. A custom client may decode; the size limit then counts decoded bytes.

#![expect(clippy::expect_used, reason = "a test server that fails stops the test")]

use std::io::{Read as _, Write as _};
use std::net::{TcpListener, TcpStream};
use std::thread::{self, JoinHandle};

use flate2::Compression;
use flate2::write::GzEncoder;
use tokio::runtime::{Builder, Runtime};
use tower_bearer::fetch::{Endpoint, Fetch as _, FetchError, FetchRequest, ReqwestFetch};
use tower_bearer::jwks::RefreshError;
use tower_bearer::testing::TestIssuer;
use tower_bearer::{Api, Issuer, Validator};

const LIMIT: usize = 256 * 1024;
const AUDIENCE: &str = "https://api.test/";

/// Answers the given number of requests with `body` under `Content-Encoding: gzip`; the thread returns the head of the
/// last one.
fn serve(requests: usize, body: Vec<u8>) -> (String, JoinHandle<String>) {
    let listener = TcpListener::bind("127.0.0.1:0").expect("a port");
    let url = format!("http://{}/jwks", listener.local_addr().expect("an address"));
    let serving = thread::spawn(move || {
        let mut head = String::new();
        for _ in 0..requests {
            head = respond(listener.accept().expect("a client").0, &body);
        }
        head
    });
    (url, serving)
}

fn respond(mut stream: TcpStream, body: &[u8]) -> String {
    let mut head = Vec::new();
    let mut byte = [0];
    while !head.ends_with(b"\r\n\r\n") && stream.read(&mut byte).expect("a request") == 1 {
        head.extend_from_slice(&byte);
    }
    let length = body.len();
    let response =
        format!("HTTP/1.1 200 OK\r\nConnection: close\r\nContent-Encoding: gzip\r\nContent-Length: {length}\r\n\r\n");
    // The client may close the connection while it receives a body that it rejects.
    let _hung_up = stream.write_all(response.as_bytes()).and_then(|()| stream.write_all(body));
    String::from_utf8(head).expect("ASCII").to_ascii_lowercase()
}

fn gzip(bytes: &[u8]) -> Vec<u8> {
    let mut encoder = GzEncoder::new(Vec::new(), Compression::best());
    encoder.write_all(bytes).expect("writing to memory succeeds");
    encoder.finish().expect("writing to memory succeeds")
}

/// 16 MiB of spaces, in about 16 KiB of gzip.
fn bomb() -> Vec<u8> {
    let bomb = gzip(&vec![b' '; 64 * LIMIT]);
    assert!(bomb.len() < LIMIT / 4, "{} bytes on the wire", bomb.len());
    bomb
}

fn decoding() -> ReqwestFetch {
    ReqwestFetch::from_client(reqwest::Client::new())
}

fn own() -> ReqwestFetch {
    ReqwestFetch::new().expect("a client")
}

fn runtime() -> Runtime {
    Builder::new_current_thread().enable_all().build().expect("a runtime")
}

/// Returns the body as the client returns it, and the head of the request.
fn fetched(fetch: &ReqwestFetch, body: Vec<u8>) -> (Result<Vec<u8>, FetchError>, String) {
    let (url, serving) = serve(1, body);
    let request = FetchRequest::new(Endpoint::new(&url).expect("a URL"), LIMIT);
    let body = runtime().block_on(fetch.fetch(request)).map(|response| response.body.to_vec());
    (body, serving.join().expect("the server ends"))
}

#[test]
fn default_client_requests_and_decodes_no_content_coding() {
    let coded = gzip(b"{}");
    let (body, head) = fetched(&own(), coded.clone());
    assert_eq!(body, Ok(coded));
    assert!(!head.contains("accept-encoding"), "{head}");
    // With these features on, a client requests a coding unless configured otherwise.
    let (body, head) = fetched(&decoding(), gzip(b"{}"));
    assert_eq!(body.as_deref(), Ok(&b"{}"[..]));
    assert!(head.contains("accept-encoding: gzip"), "{head}");
}

/// Returns the result of a reload; the server answers the first fetch and the reload with the same body.
fn reloaded(fetch: ReqwestFetch, body: Vec<u8>) -> (Result<(), RefreshError>, String) {
    let (url, serving) = serve(2, body);
    let api = Api::new(AUDIENCE, Issuer::jwks("https://login.test/", url));
    let validator = Validator::builder(api).with_fetch(fetch).build().expect("a valid configuration");
    let result = runtime().block_on(async {
        let (_, source) = validator.key_sources().next().expect("one issuer");
        source.reload().await
    });
    (result, serving.join().expect("the server ends"))
}

#[test]
fn default_client_rejects_an_encoded_key_set() {
    let (result, head) = reloaded(own(), gzip(TestIssuer::new().jwks().as_bytes()));
    assert_eq!(result, Err(RefreshError::InvalidDocument));
    assert!(head.contains("accept-encoding: identity"), "{head}");
}

#[test]
fn rejects_a_gzip_bomb_at_the_size_limit() {
    let too_large = Err(RefreshError::Network { error: FetchError::TooLarge });
    assert_eq!(reloaded(decoding(), bomb()).0, too_large);
    assert_eq!(reloaded(decoding(), gzip(TestIssuer::new().jwks().as_bytes())).0, Ok(()));
}

#[test]
fn body_limit_counts_decoded_bytes() {
    let fetch = decoding();
    // Allocations that the client makes on first use are not counted.
    assert_eq!(fetched(&fetch, gzip(&vec![b' '; LIMIT])).0.map(|body| body.len()), Ok(LIMIT));
    assert_eq!(fetched(&fetch, gzip(&vec![b' '; LIMIT + 1])).0, Err(FetchError::TooLarge));

    let (url, serving) = serve(1, bomb());
    let (request, runtime) = (FetchRequest::new(Endpoint::new(&url).expect("a URL"), LIMIT), runtime());
    let used = allocation_counter::measure(|| {
        let rejected = runtime.block_on(fetch.fetch(request)).map(drop);
        assert_eq!(rejected, Err(FetchError::TooLarge));
    });
    serving.join().expect("the server ends");
    assert!(used.bytes_max < 1024 * 1024, "{} bytes at peak", used.bytes_max);
}
