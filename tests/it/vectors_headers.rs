//! The header cases of the attack matrix, through the layer (rules 1 to 20).

use http::{HeaderName, HeaderValue, Method, Request};
use serde_json::Value;
use tower_bearer::keys::KeySet;
use tower_bearer::{Api, BearerLayer, Issuer};

use crate::fixture::{block_on, status_and_challenge, validator_for};
use crate::{attack_matrix, vectors};

#[test]
fn every_header_case_of_the_matrix_returns_the_expected_outcome() {
    let Some(text) = vectors::read("attack-matrix/cases.json") else { return };
    let matrix: Value = serde_json::from_slice(&text).expect("the matrix");
    let keys = vectors::read("attack-matrix/jwks_A.json").expect("the key set");
    let config = &matrix["config"]["apis"]["rs"];
    let issuer = Issuer::static_keys(config["issuer"].as_str().expect("text"), KeySet::from_jwks(keys));
    let api = Api::new(config["audience"].as_str().expect("text"), issuer).with_required_claims(["sub"]);
    let layer = BearerLayer::new(validator_for(api));
    let (mut sent, mut unbuildable) = (0, 0);
    for case in matrix["cases"].as_array().expect("cases").iter().filter(|case| case["headers"].is_array()) {
        let Some(request) = request(case) else {
            assert_eq!(case["raw_only"], true, "{case}");
            unbuildable += 1;
            continue;
        };
        sent += 1;
        let (status, challenge) = block_on(status_and_challenge(layer.clone(), request));
        let error = challenge.into_iter().find(|(name, _)| name == "error").map(|(_, code)| code);
        let is = |outcome: &Value| outcome["status"] == status && outcome["error"].as_str() == error.as_deref();
        let also = case["also"].as_array().map(Vec::as_slice).unwrap_or_default();
        assert!(is(&case["expect"]) || also.iter().any(is), "{}: {status} {error:?}", case["name"]);
    }
    assert_eq!((sent, unbuildable), (20, 1));
    assert_eq!(sent + unbuildable, attack_matrix::CASES[1]);
}

/// Returns `None` if the field cannot be built, so that no server could pass it on.
fn request(case: &Value) -> Option<Request<String>> {
    let target = format!("https://api.example/orders?{}", case["query"].as_str().unwrap_or_default());
    let method = case["method"].as_str().map_or(Method::GET, |method| method.parse().expect("a method"));
    let mut request = Request::builder().method(method).uri(target);
    for field in case["headers"].as_array().expect("fields") {
        let (name, value) = (field[0].as_str().expect("a name"), field[1].as_str().expect("a value"));
        // U+0080 to U+00FF stand for single bytes.
        let bytes: Vec<u8> =
            value.chars().map(|character| u8::try_from(u32::from(character)).expect("a byte")).collect();
        let name = HeaderName::from_bytes(name.as_bytes()).expect("a name");
        request = request.header(name, HeaderValue::from_bytes(&bytes).ok()?);
    }
    Some(request.body(case["body"].as_str().unwrap_or_default().to_owned()).expect("a request"))
}
