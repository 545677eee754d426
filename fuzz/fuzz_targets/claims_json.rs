//! Validates a claims set with a valid signature: the reference must also accept every accepted token.
#![no_main]

#[path = "../reference.rs"]
mod reference;

use libfuzzer_sys::fuzz_target;

fuzz_target!(|json: &[u8]| {
    let token = reference::sign(br#"{"alg":"HS256"}"#, json);
    if let Some(claims) = reference::validate(&token) {
        assert_eq!(claims.as_bytes(), json);
        reference::check(&token).expect("the reference accepts it, too");
    }
});
