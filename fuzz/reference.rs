//! The validator under test, and the reference: `jsonwebtoken` with explicit checks.

use std::cell::LazyCell;
use std::time::Duration;

use base64::Engine as _;
use base64::prelude::BASE64_URL_SAFE_NO_PAD;
use jsonwebtoken::{DecodingKey, EncodingKey, Validation};
use serde_json::{Map, Value};
use tower_bearer::clock::Timestamp;
use tower_bearer::testing::FakeClock;
use tower_bearer::{Algorithm, Api, Issuer, Secret, Validator};

const SECRET: &[u8] = b"a secret of more than thirty-two bytes";
const ISSUER: &str = "https://as.example/";
const AUDIENCE: &str = "https://api.example/";
const NOW: i64 = 1_800_000_000;

thread_local! {
    static VALIDATOR: LazyCell<Validator> = const { LazyCell::new(validator) };
    static RUNTIME: LazyCell<tokio::runtime::Runtime> = const {
        LazyCell::new(|| tokio::runtime::Builder::new_current_thread().build().expect("a runtime"))
    };
}

fn validator() -> Validator {
    let issuer = Issuer::shared_secret(ISSUER, Secret::new(SECRET)).with_algorithms([Algorithm::HS256]);
    let api = Api::new(AUDIENCE, issuer).with_leeway(Duration::ZERO).with_max_token_bytes(1024 * 1024);
    let clock = FakeClock::from_wall(Timestamp::from_secs(NOW));
    Validator::builder(api).with_clock(clock).build().expect("a valid configuration")
}

/// Returns a token with a valid MAC.
pub fn sign(header: &[u8], payload: &[u8]) -> String {
    let signed = format!("{}.{}", BASE64_URL_SAFE_NO_PAD.encode(header), BASE64_URL_SAFE_NO_PAD.encode(payload));
    let key = EncodingKey::from_secret(SECRET).expect("not empty");
    let mac = jsonwebtoken::crypto::sign(signed.as_bytes(), &key, jsonwebtoken::Algorithm::HS256).expect("a MAC");
    format!("{signed}.{mac}")
}

/// Returns the claims set of a token that the validator accepts. Neither a rejection nor its text may panic.
pub fn validate(token: &str) -> Option<String> {
    let result = RUNTIME.with(|runtime| VALIDATOR.with(|validator| runtime.block_on(validator.validate(token))));
    match result {
        Ok(claims) => Some(claims.json().to_owned()),
        Err(rejection) => {
            assert!(!rejection.to_string().is_empty());
            None
        }
    }
}

/// Validates a token with the reference.
pub fn check(token: &str) -> Result<(), String> {
    if token.split('.').take(2).any(exceeds_f64) {
        return Ok(());
    }
    let mut validation = Validation::new(jsonwebtoken::Algorithm::HS256);
    validation.validate_exp = false;
    validation.set_issuer(&[ISSUER]);
    validation.set_audience(&[AUDIENCE]);
    validation.set_required_spec_claims(&["iss", "aud", "exp"]);
    let decoded = jsonwebtoken::decode::<Value>(&without_ignored(token)?, &key(), &validation);
    let claims = decoded.map_err(|error| error.to_string())?.claims;
    let claims = claims.as_object().ok_or("the claims set is not an object")?;
    header(token)?;
    if claims["iss"] != ISSUER {
        return Err("iss".to_owned());
    }
    let has_audience = match &claims["aud"] {
        Value::Array(audiences) => audiences.iter().all(Value::is_string) && audiences.iter().any(|aud| aud == AUDIENCE),
        audience => audience == AUDIENCE,
    };
    if !has_audience {
        return Err("aud".to_owned());
    }
    dates(claims)?;
    for claim in ["cnf", "at_hash", "c_hash"] {
        if claims.contains_key(claim) {
            return Err(claim.to_owned());
        }
    }
    if claims.get("sub").is_some_and(|sub| !sub.is_string()) {
        return Err("sub".to_owned());
    }
    Ok(())
}

/// Header members that the validator ignores with any value: keys in the token, and names that are not defined for a JWS
/// (RFC 7515 §4). The reference requires their registered types.
const IGNORED: [&str; 10] = ["jku", "jwk", "x5u", "x5c", "x5t", "x5t#S256", "enc", "zip", "url", "nonce"];

/// Verifies the MAC of a token, and returns the token signed again without the members in [`IGNORED`].
fn without_ignored(token: &str) -> Result<String, String> {
    let (signed, mac) = token.rsplit_once('.').ok_or("no segments")?;
    let (header, payload) = signed.split_once('.').ok_or("two segments")?;
    let header = BASE64_URL_SAFE_NO_PAD.decode(header).map_err(|error| error.to_string())?;
    let mut members: Map<String, Value> = serde_json::from_slice(&header).map_err(|error| error.to_string())?;
    let count = members.len();
    members.retain(|name, _| !IGNORED.contains(&name.as_str()));
    if members.len() == count {
        return Ok(token.to_owned());
    }
    let is_valid = jsonwebtoken::crypto::verify(mac, signed.as_bytes(), &key(), jsonwebtoken::Algorithm::HS256);
    if !is_valid.map_err(|error| error.to_string())? {
        return Err("the MAC".to_owned());
    }
    let payload = BASE64_URL_SAFE_NO_PAD.decode(payload).map_err(|error| error.to_string())?;
    Ok(sign(Value::Object(members).to_string().as_bytes(), &payload))
}

fn key() -> DecodingKey {
    DecodingKey::from_secret(SECRET).expect("not empty")
}

/// Returns whether a segment is valid JSON (RFC 8259 §6) with a number that exceeds the range of the reference's `f64`.
fn exceeds_f64(segment: &str) -> bool {
    let json = BASE64_URL_SAFE_NO_PAD.decode(segment).unwrap_or_default();
    let read = serde_json::from_slice::<Value>(&json);
    read.is_err_and(|error| error.to_string().starts_with("number out of range"))
}

fn header(token: &str) -> Result<(), String> {
    let header = token.split('.').next().unwrap_or_default();
    let header = BASE64_URL_SAFE_NO_PAD.decode(header).map_err(|error| error.to_string())?;
    let header: Map<String, Value> = serde_json::from_slice(&header).map_err(|error| error.to_string())?;
    if header.contains_key("crit") || header.contains_key("b64") {
        return Err("critical".to_owned());
    }
    match header.get("typ").map(|typ| typ.as_str().map(str::to_ascii_lowercase)) {
        None => Ok(()),
        Some(Some(typ)) if ["jwt", "at+jwt"].contains(&typ.trim_start_matches("application/")) => Ok(()),
        Some(typ) => Err(format!("typ {typ:?}")),
    }
}

/// Checks the dates as `f64`, with a tolerance of a microsecond for rounding.
fn dates(claims: &Map<String, Value>) -> Result<(), String> {
    let now = NOW as f64;
    let date = |name: &str| claims.get(name).map(|value| value.as_f64().ok_or(format!("{name} is not a number"))).transpose();
    let expiry = date("exp")?.ok_or("no exp")?;
    if expiry + 1e-6 < now || expiry > 253_402_300_799.0 {
        return Err(format!("exp {expiry}"));
    }
    if let Some(start) = date("nbf")?
        && start > now + 1e-6
    {
        return Err(format!("nbf {start}"));
    }
    date("iat").map(drop)
}
