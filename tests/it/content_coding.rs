//! Content codings: the crate's own backend asks for none and decodes none, even where an application turns those
//! features of `reqwest` on, as these tests do; a client of the caller's own may, and the limit counts what comes out.

#![expect(clippy::expect_used, reason = "a server of the test that cannot serve fails the test")]

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

/// Answers so many requests with `body` under `Content-Encoding: gzip`; the thread returns the head of the last.
fn serve(requests: usize, body: Vec<u8>) -> (String, JoinHandle<String>) {
    let listener = TcpListener::bind("127.0.0.1:0").expect("a port");
    let url = format!("http://{}/jwks", listener.local_addr().expect("an address"));
    let serving = thread::spawn(move || {
        let mut head = String::new();
        for _ in 0..requests {
            head = answer(listener.accept().expect("a client").0, &body);
        }
        head
    });
    (url, serving)
}

fn answer(mut stream: TcpStream, body: &[u8]) -> String {
    let mut head = Vec::new();
    let mut octet = [0];
    while !head.ends_with(b"\r\n\r\n") && stream.read(&mut octet).expect("a request") == 1 {
        head.extend_from_slice(&octet);
    }
    let length = body.len();
    let answer =
        format!("HTTP/1.1 200 OK\r\nConnection: close\r\nContent-Encoding: gzip\r\nContent-Length: {length}\r\n\r\n");
    // The client may hang up in the middle of a body that it does not want.
    let _hung_up = stream.write_all(answer.as_bytes()).and_then(|()| stream.write_all(body));
    String::from_utf8(head).expect("ASCII").to_ascii_lowercase()
}

fn gzip(octets: &[u8]) -> Vec<u8> {
    let mut encoder = GzEncoder::new(Vec::new(), Compression::best());
    encoder.write_all(octets).expect("memory takes everything");
    encoder.finish().expect("memory takes everything")
}

/// 16 MiB, in about as many KiB.
fn bomb() -> Vec<u8> {
    let bomb = gzip(&vec![b' '; 64 * LIMIT]);
    assert!(bomb.len() < LIMIT / 4, "{} octets go over the wire", bomb.len());
    bomb
}

fn decoding() -> ReqwestFetch {
    ReqwestFetch::with_client(reqwest::Client::new())
}

fn own() -> ReqwestFetch {
    ReqwestFetch::new().expect("a client")
}

fn runtime() -> Runtime {
    Builder::new_current_thread().enable_all().build().expect("a runtime")
}

/// The body, as the backend hands it over, and the head of the request.
fn fetched(fetch: &ReqwestFetch, body: Vec<u8>) -> (Result<Vec<u8>, FetchError>, String) {
    let (url, serving) = serve(1, body);
    let request = FetchRequest::new(Endpoint::new(&url).expect("a URL"), LIMIT);
    let body = runtime().block_on(fetch.fetch(request)).map(|response| response.body.to_vec());
    (body, serving.join().expect("the server ends"))
}

#[test]
fn our_own_backend_asks_for_no_coding_and_decodes_none() {
    let coded = gzip(b"{}");
    let (body, head) = fetched(&own(), coded.clone());
    assert_eq!(body, Ok(coded));
    assert!(!head.contains("accept-encoding"), "{head}");
    // Where the features are on, a client is otherwise unless told.
    let (body, head) = fetched(&decoding(), gzip(b"{}"));
    assert_eq!(body.as_deref(), Ok(&b"{}"[..]));
    assert!(head.contains("accept-encoding: gzip"), "{head}");
}

/// What a key source makes of such a set, at its first fetch and at one on demand.
fn reloaded(fetch: ReqwestFetch, body: Vec<u8>) -> (Result<(), RefreshError>, String) {
    let (url, serving) = serve(2, body);
    let api = Api::new(AUDIENCE, Issuer::jwks("https://login.test/", url));
    let validator = Validator::builder(api).with_fetch(fetch).build().expect("a good configuration");
    let result = runtime().block_on(async {
        let (_, source) = validator.key_sources().next().expect("one issuer");
        source.reload().await
    });
    (result, serving.join().expect("the server ends"))
}

#[test]
fn a_coded_key_set_is_no_document_to_our_own_backend() {
    let (result, head) = reloaded(own(), gzip(TestIssuer::new().jwks().as_bytes()));
    assert_eq!(result, Err(RefreshError::InvalidDocument));
    assert!(head.contains("accept-encoding: identity"), "{head}");
}

#[test]
fn gzip_bomb() {
    let too_large = Err(RefreshError::Network { error: FetchError::TooLarge });
    assert_eq!(reloaded(decoding(), bomb()).0, too_large);
    assert_eq!(reloaded(decoding(), gzip(TestIssuer::new().jwks().as_bytes())).0, Ok(()));
}

#[test]
fn the_limit_of_a_body_is_one_of_memory_and_counts_what_was_decoded() {
    let fetch = decoding();
    // What the client makes on first use is no part of the measure.
    assert_eq!(fetched(&fetch, gzip(&vec![b' '; LIMIT])).0.map(|body| body.len()), Ok(LIMIT));
    assert_eq!(fetched(&fetch, gzip(&vec![b' '; LIMIT + 1])).0, Err(FetchError::TooLarge));

    let (url, serving) = serve(1, bomb());
    let (request, runtime) = (FetchRequest::new(Endpoint::new(&url).expect("a URL"), LIMIT), runtime());
    let used = allocation_counter::measure(|| {
        let refused = runtime.block_on(fetch.fetch(request)).map(drop);
        assert_eq!(refused, Err(FetchError::TooLarge));
    });
    serving.join().expect("the server ends");
    assert!(used.bytes_max < 1024 * 1024, "{} octets at once", used.bytes_max);
}
