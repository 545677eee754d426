//! Extracts the credential from header fields: no panic, and an extracted token is a b64token of RFC 6750 §2.1.
#![no_main]

use http::header::{AUTHORIZATION, HOST};
use http::{HeaderMap, HeaderValue, Uri};
use libfuzzer_sys::fuzz_target;
use tower_bearer::request::BearerToken;
use tower_bearer::request::Host;

fuzz_target!(|bytes: &[u8]| {
    let mut headers = HeaderMap::new();
    for line in bytes.split(|byte| *byte == b'\n').take(4) {
        if let Ok(value) = HeaderValue::from_bytes(line) {
            headers.append(AUTHORIZATION, value.clone());
            headers.append(HOST, value);
        }
    }
    if let Ok(Some(token)) = BearerToken::from_headers(&headers) {
        assert_eq!(headers.get_all(AUTHORIZATION).iter().count(), 1);
        assert!(BearerToken::parse(token.as_str()).is_ok());
        assert!(token.as_str().bytes().all(|byte| byte.is_ascii_graphic() && byte != b','));
    }
    if let Ok(Some(host)) = Host::from_request(&Uri::from_static("/"), &headers) {
        assert_eq!(Host::parse(host.as_str()).as_ref(), Ok(&host));
    }
});
