//! Parses a JOSE header: another JSON parser must read the same values from every accepted header.
#![no_main]

use base64::Engine as _;
use base64::prelude::BASE64_URL_SAFE_NO_PAD;
use libfuzzer_sys::fuzz_target;
use serde_json::Value;
use tower_bearer::token::UnverifiedToken;

fuzz_target!(|json: &[u8]| {
    let token = format!("{}.e30.AA", BASE64_URL_SAFE_NO_PAD.encode(json));
    let Ok(parsed) = UnverifiedToken::parse(&token) else { return };
    let header = parsed.header();
    let read: Value = match serde_json::from_slice(json) {
        // Valid JSON (RFC 8259 §6) with a skipped number that exceeds the range of `f64`.
        Err(error) if error.to_string().starts_with("number out of range") => return,
        read => read.expect("an accepted header is JSON"),
    };
    let read = read.as_object().expect("an accepted header is an object");
    assert!(!read.contains_key("crit") && !read.contains_key("b64"));
    let algorithm = read["alg"].as_str().expect("alg is a string");
    assert!(algorithm == header.algorithm().name() || algorithm == "Ed25519");
    assert_eq!(read.get("kid").map(|kid| kid.as_str().expect("kid is a string")), header.kid());
    assert_eq!(read.get("typ").map(|typ| typ.as_str().expect("typ is a string")), header.typ());
});
