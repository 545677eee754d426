//! The responses of a receiver.

use std::time::Duration;

use bytes::Bytes;
use http::header::{CACHE_CONTROL, CONTENT_TYPE, RETRY_AFTER};
use http::{HeaderValue, Response, StatusCode};

/// Why a logout request is not accepted.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum LogoutError {
    /// The request or the token is invalid: the name of the part that is wrong.
    Invalid(&'static str),
    /// The request cannot be processed now. The cause is this service or the issuer.
    Unavailable { cause: &'static str, retry_after: Duration },
}

/// Returns the response (OpenID Connect Back-Channel Logout 1.0 §2.8). It does not contain the reason.
pub(super) fn response(outcome: Result<(), LogoutError>) -> Response<Bytes> {
    let mut response = Response::new(Bytes::new());
    response.headers_mut().insert(CACHE_CONTROL, HeaderValue::from_static("no-store"));
    match outcome {
        Ok(()) => {}
        Err(LogoutError::Invalid(_)) => {
            *response.status_mut() = StatusCode::BAD_REQUEST;
            response.headers_mut().insert(CONTENT_TYPE, HeaderValue::from_static("application/json"));
            *response.body_mut() = Bytes::from_static(br#"{"error":"invalid_request"}"#);
        }
        Err(LogoutError::Unavailable { retry_after, .. }) => {
            *response.status_mut() = StatusCode::SERVICE_UNAVAILABLE;
            // Rounded up, so that the issuer does not retry too early.
            let seconds = retry_after.as_secs().saturating_add(u64::from(retry_after.subsec_nanos() > 0)).max(1);
            response.headers_mut().insert(RETRY_AFTER, HeaderValue::from(seconds));
        }
    }
    response
}
