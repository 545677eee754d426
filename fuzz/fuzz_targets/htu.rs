//! Compares `htu` with the URL of a request: no panic, and an accepted claim names the scheme, host and path of the request.
#![no_main]

use http::Method;
use libfuzzer_sys::fuzz_target;
use tower_bearer::clock::Timestamp;
use tower_bearer::dpop::{AccessTokenHash, Expected, ProofError, ProofPolicy, verify};
use tower_bearer::request::PublicUrl;
use tower_bearer::testing::ProofKey;

thread_local! {
    static KEY: ProofKey = ProofKey::with_algorithm(tower_bearer::Algorithm::EdDSA);
}

fuzz_target!(|text: &str| {
    let (htu, path) = text.split_once('\n').unwrap_or((text, "/me"));
    let url = PublicUrl::parse("https://api.test").expect("a URL");
    KEY.with(|key| {
        let now = Timestamp::from_secs(1_800_000_000);
        let proof = key.proof("GET", htu, "token").issued_at(now).sign();
        let expected = Expected::new(&Method::GET, &url, path, AccessTokenHash::new("token"), key.thumbprint());
        match verify(&proof, &expected, &ProofPolicy::new(), now) {
            Ok(_) => {
                let claim = htu.split(['?', '#']).next().unwrap_or_default().to_ascii_lowercase();
                assert!(claim.starts_with("https://api.test"), "{htu}");
                assert!(path.starts_with('/') && claim.is_ascii(), "{htu} {path}");
            }
            Err(error) => assert!(
                matches!(error, ProofError::Url { .. } | ProofError::TooLong { .. }),
                "{error} for {htu} {path}"
            ),
        }
    });
    if let Ok(url) = PublicUrl::parse(htu) {
        // One slash at the end is dropped.
        assert_eq!(PublicUrl::parse(&format!("{url}/")), Ok(url));
    }
});
