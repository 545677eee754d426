//! Parses a token: no panic, and every accepted segment is canonical base64url.
#![no_main]

use base64::Engine as _;
use base64::prelude::BASE64_URL_SAFE_NO_PAD;
use libfuzzer_sys::fuzz_target;
use tower_bearer::token::UnverifiedToken;

fuzz_target!(|text: &str| {
    let Ok(parsed) = UnverifiedToken::parse(text) else { return };
    let segments: Vec<&str> = text.split('.').collect();
    assert_eq!(segments.len(), 3);
    for segment in segments {
        let bytes = BASE64_URL_SAFE_NO_PAD.decode(segment).expect("an accepted segment is base64url");
        assert_eq!(BASE64_URL_SAFE_NO_PAD.encode(bytes), segment);
    }
    assert!(parsed.header().kid().is_none_or(|kid| kid.len() <= 256));
});
