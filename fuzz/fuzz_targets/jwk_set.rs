//! Parses a key set: no panic, no limit is exceeded, and verification with every accepted key does not panic.
#![no_main]

use std::cell::LazyCell;

use libfuzzer_sys::fuzz_target;
use tower_bearer::keys::KeySet;
use tower_bearer::{Algorithm, Api, Issuer, Validator};

thread_local! {
    static RUNTIME: LazyCell<tokio::runtime::Runtime> = const {
        LazyCell::new(|| tokio::runtime::Builder::new_current_thread().build().expect("a runtime"))
    };
}

fuzz_target!(|document: &[u8]| {
    let _ = KeySet::from_pem(document);
    let Ok(set) = KeySet::from_jwks(document) else { return };
    assert!(set.len() + set.skipped().len() <= 100);
    assert!(!format!("{set:?}").is_empty());
    if set.is_empty() {
        return;
    }
    for algorithm in Algorithm::ALL.iter().copied().filter(|algorithm| !algorithm.is_symmetric()) {
        let issuer = Issuer::static_keys("https://as.example/", set.clone()).with_algorithms([algorithm]);
        let Ok(validator) = Validator::builder(Api::new("https://api.example/", issuer)).build() else { continue };
        // {"alg":…}.{"iss":"https://as.example/","aud":"https://api.example/","exp":99999999999}
        let header = base64::Engine::encode(&base64::prelude::BASE64_URL_SAFE_NO_PAD, format!("{{\"alg\":\"{algorithm}\"}}"));
        let payload = "eyJpc3MiOiJodHRwczovL2FzLmV4YW1wbGUvIiwiYXVkIjoiaHR0cHM6Ly9hcGkuZXhhbXBsZS8iLCJleHAiOjk5OTk5OTk5OTk5fQ";
        for signature in ["AA", &"A".repeat(86), &"A".repeat(342)] {
            let token = format!("{header}.{payload}.{signature}");
            let result = RUNTIME.with(|runtime| runtime.block_on(validator.validate(&token)));
            assert!(result.is_err(), "a signature of zeros is valid for {}", String::from_utf8_lossy(document));
        }
    }
});
