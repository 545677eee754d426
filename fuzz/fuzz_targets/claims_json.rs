//! A claims set under a genuine signature: what is accepted, another JSON parser reads as a token for this API, now.
#![no_main]

#[path = "../reference.rs"]
mod reference;

use libfuzzer_sys::fuzz_target;

fuzz_target!(|json: &[u8]| {
    let token = reference::sign(br#"{"alg":"HS256"}"#, json);
    if let Some(claims) = reference::accepts(&token) {
        assert_eq!(claims.as_bytes(), json);
        reference::check(&token).expect("the reference accepts it too");
    }
});
