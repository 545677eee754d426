//! Forms that are sent with `Fetch::post`.

use std::io::{Read as _, Write as _};
use std::net::TcpListener;
use std::thread::{self, JoinHandle};

use tower_bearer::fetch::{
    Endpoint, Fetch, FetchError, FetchFuture, FetchRequest, FetchResponse, FormRequest, ReqwestFetch,
};

use crate::fixture::block_on;

const FORM: &str = "token=a%2Bb";
const LIMIT: usize = 100;

/// Sends one response; the thread returns the request.
fn serve(response: String) -> (Endpoint, JoinHandle<String>) {
    let listener = TcpListener::bind("127.0.0.1:0").expect("a port");
    let url = format!("http://{}/introspect", listener.local_addr().expect("an address"));
    let serving = thread::spawn(move || {
        let (mut stream, _) = listener.accept().expect("a client");
        let mut request = Vec::new();
        let mut byte = [0];
        while !request.ends_with(FORM.as_bytes()) && stream.read(&mut byte).expect("a request") == 1 {
            request.extend_from_slice(&byte);
        }
        // The client may close the connection while it receives a body that it rejects.
        let _hung_up = stream.write_all(response.as_bytes());
        String::from_utf8(request).expect("ASCII")
    });
    (Endpoint::new(&url).expect("a URL"), serving)
}

fn response(status: &str, body: &str) -> String {
    format!("HTTP/1.1 {status}\r\nConnection: close\r\nContent-Length: {}\r\n\r\n{body}", body.len())
}

fn post(fetch: &impl Fetch, response: String) -> (Result<FetchResponse, FetchError>, String) {
    let (endpoint, serving) = serve(response);
    let result = block_on(fetch.post(FormRequest::new(endpoint, FORM, LIMIT)));
    (result, serving.join().expect("the server ends"))
}

#[test]
fn sends_the_form_in_the_body_of_a_post_and_never_in_the_url() {
    let fetch = ReqwestFetch::new().expect("a client");
    let (result, request) = post(&fetch, response("200 OK", "{}"));
    assert_eq!(result.map(|response| response.body), Ok("{}".into()));
    assert!(request.starts_with("POST /introspect HTTP/1.1\r\n"), "{request}");
    assert!(request.ends_with("\r\n\r\ntoken=a%2Bb"), "{request}");
    let head = request.to_ascii_lowercase();
    assert!(head.contains("\r\ncontent-type: application/x-www-form-urlencoded\r\n"), "{request}");
    assert!(
        head.contains("\r\ncontent-length: 11\r\n") && !head.contains("cookie") && !head.contains("referer"),
        "{request}"
    );
}

#[test]
fn reads_the_body_of_200_and_400_up_to_the_limit_and_no_other() {
    let fetch = ReqwestFetch::new().expect("a client");
    let long = "x".repeat(LIMIT + 1);
    for (status, body, expected) in [
        ("200 OK", "{}", Ok((200, "{}"))),
        ("400 Bad Request", "{}", Ok((400, "{}"))),
        ("401 Unauthorized", "{}", Ok((401, ""))),
        ("500 Internal Server Error", "{}", Ok((500, ""))),
        ("200 OK", &long, Err(FetchError::TooLarge)),
        ("400 Bad Request", &long, Err(FetchError::TooLarge)),
        ("403 Forbidden", &long, Ok((403, ""))),
    ] {
        let (result, _) = post(&fetch, response(status, body));
        let found =
            result.map(|response| (response.status.as_u16(), String::from_utf8_lossy(&response.body).into_owned()));
        assert_eq!(found, expected.map(|(status, body)| (status, body.to_owned())), "{status}");
    }
}

/// RFC 7662 §2.1: the form contains a token and the secret of the client, which must not be sent to another URL.
#[test]
fn follows_no_redirect() {
    let (other, _not_called) = serve(response("200 OK", "{}"));
    let fetch = ReqwestFetch::new().expect("a client");
    for status in ["302 Found", "307 Temporary Redirect", "308 Permanent Redirect"] {
        let to = format!("Location: {other}\r\nConnection: close\r\nContent-Length: 0");
        let (result, _) = post(&fetch, format!("HTTP/1.1 {status}\r\n{to}\r\n\r\n"));
        assert!(result.is_ok_and(|response| response.status.is_redirection()), "{status}");
    }
}

/// Implements `GET` only.
#[derive(Debug)]
struct GetOnly;

impl Fetch for GetOnly {
    fn fetch(&self, _: FetchRequest) -> FetchFuture {
        unreachable!("the form is not sent with GET")
    }
}

#[test]
fn an_implementation_without_post_sends_nothing() {
    let form = || FormRequest::new(Endpoint::new("https://id.test/introspect").expect("a URL"), FORM, LIMIT);
    assert_eq!(block_on(GetOnly.post(form())), Err(FetchError::Unsupported));
    assert_eq!(block_on(std::sync::Arc::new(GetOnly).post(form())), Err(FetchError::Unsupported));
    let shown = format!("{:?}", form());
    assert!(!shown.contains("token") && shown.contains("https://id.test/introspect"), "{shown}");
}
