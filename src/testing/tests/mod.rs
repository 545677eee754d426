//! Tests of the test issuer. `jsonwebtoken` verifies its tokens, as an independent implementation.

mod network;
mod server;
mod token;

use jsonwebtoken_10::jwk::JwkSet;
use jsonwebtoken_10::{DecodingKey, Validation};
use serde_json::Value;

use crate::testing::{TestIssuer, TestServer, TokenBuilder};

/// Verifies a token with the published key of its `kid`, and returns its claims.
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
fn handles_are_send_and_sync() {
    fn assert_send_sync<T: Send + Sync + 'static>() {}
    assert_send_sync::<TestIssuer>();
    assert_send_sync::<TokenBuilder>();
    assert_send_sync::<TestServer>();
}

/// Returns the JSON text of a segment.
pub(super) fn segment(token: &str, index: usize) -> String {
    use base64::Engine as _;

    let segment = token.split('.').nth(index).expect("a segment");
    let bytes = base64::engine::general_purpose::URL_SAFE_NO_PAD.decode(segment).expect("base64url");
    String::from_utf8(bytes).expect("UTF-8")
}
