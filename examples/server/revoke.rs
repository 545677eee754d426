//! `POST /__revoke`: adds an entry to the list of revocations. For tests only, because it requires no credential.
//!
//! The body is JSON: `issuer`, `kind` (`jti`, `sid`, `sub`, `client` or `issuer`), `value` (not for `issuer`), and the NumericDates
//! `until` (the `exp` of the token) and `before` (the latest `iat`), which are optional.

use std::time::Duration;

use axum::Router;
use axum::body::Bytes;
use axum::extract::State;
use axum::http::StatusCode;
use axum::routing::post;
use serde::Deserialize;
use tower_bearer::clock::Timestamp;
use tower_bearer::revocation::{Revocation, RevocationKind, Revocations};

/// Returns the routes for tests.
pub(crate) fn routes(revocations: Revocations) -> Router {
    Router::new().route("/__revoke", post(revoke)).with_state(revocations)
}

async fn revoke(State(revocations): State<Revocations>, body: Bytes) -> StatusCode {
    let request = serde_json::from_slice::<Request>(&body).ok();
    let Some(revocation) = request.and_then(|request| request.revocation()) else { return StatusCode::BAD_REQUEST };
    match revocations.revoke(revocation).await {
        Ok(()) => StatusCode::NO_CONTENT,
        Err(_) => StatusCode::SERVICE_UNAVAILABLE,
    }
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Request {
    issuer: String,
    kind: String,
    value: Option<String>,
    until: Option<f64>,
    before: Option<f64>,
}

impl Request {
    fn revocation(&self) -> Option<Revocation> {
        let issuer = &self.issuer;
        let revocation = match (RevocationKind::from_name(&self.kind)?, self.value.as_deref()) {
            (RevocationKind::JwtId, Some(value)) => Revocation::jwt_id(issuer, value),
            (RevocationKind::Session, Some(value)) => Revocation::session(issuer, value),
            (RevocationKind::Subject, Some(value)) => Revocation::subject(issuer, value),
            (RevocationKind::Client, Some(value)) => Revocation::client(issuer, value),
            (RevocationKind::Issuer, None) => Revocation::issuer(issuer),
            _ => return None,
        };
        let revocation = match self.until {
            Some(until) => revocation.with_end(date(until)?),
            None => revocation,
        };
        match self.before {
            Some(before) => Some(revocation.with_issued_before(date(before)?)),
            None => Some(revocation),
        }
    }
}

/// Returns the time of a NumericDate (RFC 7519 §2).
fn date(seconds: f64) -> Option<Timestamp> {
    Duration::try_from_secs_f64(seconds).ok().map(|since| Timestamp::UNIX_EPOCH.saturating_add(since))
}
