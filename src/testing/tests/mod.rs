//! The kit is judged by an implementation that is not ours: `jsonwebtoken` over pure Rust.

mod network;
mod server;
mod token;

use jsonwebtoken_10::jwk::JwkSet;
use jsonwebtoken_10::{DecodingKey, Validation};
use serde_json::Value;

use crate::testing::{TestIssuer, TestServer, TokenBuilder};

/// Verifies a token against the published key that its `kid` names, and returns its claims.
pub(super) fn verified(issuer: &TestIssuer, token: &str) -> jsonwebtoken_10::errors::Result<Value> {
    let header = jsonwebtoken_10::decode_header(token)?;
    let keys: JwkSet = serde_json::from_str(&issuer.jwks()).expect("a JWK Set");
    let kid = header.kid.expect("a kid");
    let key = keys.find(&kid).expect("a published key");
    let mut validation = Validation::new(header.alg);
    validation.set_issuer(&[issuer.issuer()]);
    validation.set_audience(&["https://api.test/"]);
    jsonwebtoken_10::decode::<Value>(token, &DecodingKey::from_jwk(key)?, &validation).map(|token| token.claims)
}

#[test]
fn handles_cross_threads() {
    fn crosses<T: Send + Sync + 'static>() {}
    crosses::<TestIssuer>();
    crosses::<TokenBuilder>();
    crosses::<TestServer>();
}

/// The JSON text in a segment.
pub(super) fn segment(token: &str, index: usize) -> String {
    use base64::Engine as _;

    let segment = token.split('.').nth(index).expect("a segment");
    let octets = base64::engine::general_purpose::URL_SAFE_NO_PAD.decode(segment).expect("base64url");
    String::from_utf8(octets).expect("UTF-8")
}
