//! `ErrorParts`: the status and headers of an error response.

use std::time::Duration;

use bytes::Bytes;
use http::header::{CACHE_CONTROL, HeaderName, RETRY_AFTER, WWW_AUTHENTICATE};
use http::{HeaderMap, HeaderValue, StatusCode};

use crate::dpop::DPOP_NONCE;
use crate::response::error_text::{ErrorText, NO_CREDENTIAL, SERVER_ERROR, TEMPORARILY_UNAVAILABLE};
use crate::response::grpc::{self, Protocol};

/// The status, error code and headers of an error response.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct ErrorParts {
    status: StatusCode,
    error: Option<ErrorText>,
    /// Describes an error of the program, instead of the fixed description.
    diagnosis: Option<Box<str>>,
    challenge: Option<HeaderValue>,
    retry_after: Option<HeaderValue>,
    /// The nonce for the client's next proof (RFC 9449 §8.2).
    nonce: Option<HeaderValue>,
    protocol: Protocol,
}

impl ErrorParts {
    /// Returns the response of a misconfigured program, in which a layer is missing. `diagnosis` describes the error of the
    /// program in the JSON body.
    pub(super) fn misconfigured(diagnosis: Option<String>) -> Self {
        let parts = Self::without_challenge(StatusCode::INTERNAL_SERVER_ERROR, SERVER_ERROR);
        Self { diagnosis: diagnosis.map(String::into_boxed_str), ..parts }
    }

    /// Sets the protocol of the request.
    pub(crate) fn with_protocol(mut self, protocol: Protocol) -> Self {
        self.protocol = protocol;
        self
    }

    /// Sets the nonce for the client's next proof.
    pub(crate) fn with_nonce(self, nonce: Option<HeaderValue>) -> Self {
        Self { nonce, ..self }
    }

    /// Returns the status of the rejection in HTTP.
    pub(crate) fn http_status(&self) -> StatusCode {
        self.status
    }

    pub(crate) fn challenge(&self) -> Option<&HeaderValue> {
        self.challenge.as_ref()
    }

    /// Returns the status of the response.
    pub(crate) fn status(&self) -> StatusCode {
        match self.protocol {
            Protocol::Http => self.status,
            // The gRPC status is in `grpc-status`.
            Protocol::Grpc => StatusCode::OK,
        }
    }

    pub(crate) fn is_grpc(&self) -> bool {
        self.protocol == Protocol::Grpc
    }

    /// Returns the error code of RFC 6750 §3.1.
    pub(crate) fn error(&self) -> Option<&'static str> {
        self.error.map(|error| error.code)
    }

    pub(crate) fn description(&self) -> Option<&'static str> {
        self.error.map(|error| error.description)
    }

    /// Returns the JSON body; an empty object if there is no error code.
    pub(crate) fn json(&self) -> Bytes {
        match (self.error, &self.diagnosis) {
            (None, _) => Bytes::from_static(b"{}"),
            // Both texts are constants that need no escaping.
            (Some(ErrorText { code, description }), None) => {
                Bytes::from(format!(r#"{{"error":"{code}","error_description":"{description}"}}"#))
            }
            (Some(ErrorText { code, .. }), Some(diagnosis)) => {
                let description = serde_json::Value::from(&**diagnosis);
                Bytes::from(format!(r#"{{"error":"{code}","error_description":{description}}}"#))
            }
        }
    }

    /// Overwrites the headers of a response. Removes `WWW-Authenticate` if these parts have no challenge.
    pub(crate) fn write_headers(self, headers: &mut HeaderMap) {
        if self.challenge.is_none() {
            headers.remove(WWW_AUTHENTICATE);
        }
        let mut write = |name, value: Option<HeaderValue>| drop(value.map(|value| headers.insert(name, value)));
        write(WWW_AUTHENTICATE, self.challenge);
        write(RETRY_AFTER, self.retry_after);
        write(CACHE_CONTROL, self.status.is_client_error().then_some(NO_STORE));
        write(DPOP_NONCE, self.nonce);
        if self.protocol == Protocol::Grpc {
            // RFC 6750 §3.1 is about the challenge. A gRPC client reads only the message.
            let message = self.error.map_or(NO_CREDENTIAL, |error| error.description);
            grpc::write_headers(self.status, message, headers);
        }
    }

    pub(super) fn with_challenge(status: StatusCode, error: Option<ErrorText>, challenge: HeaderValue) -> Self {
        Self {
            status,
            error,
            diagnosis: None,
            challenge: Some(challenge),
            retry_after: None,
            nonce: None,
            protocol: Protocol::Http,
        }
    }

    fn without_challenge(status: StatusCode, error: ErrorText) -> Self {
        Self {
            status,
            error: Some(error),
            diagnosis: None,
            challenge: None,
            retry_after: None,
            nonce: None,
            protocol: Protocol::Http,
        }
    }

    pub(super) fn unavailable(retry_after: Duration) -> Self {
        // Rounds up, so that a client does not retry too early.
        let fraction = u64::from(retry_after.subsec_nanos() > 0);
        let seconds = retry_after.as_secs().saturating_add(fraction).max(1);
        let parts = Self::without_challenge(StatusCode::SERVICE_UNAVAILABLE, TEMPORARILY_UNAVAILABLE);
        Self { retry_after: Some(HeaderValue::from(seconds)), ..parts }
    }
}

/// Returns the headers of a response with a nonce for the client's next proof. It must not be cached (RFC 9449 §8.2).
pub(crate) fn nonce_headers(nonce: HeaderValue) -> [(HeaderName, HeaderValue); 2] {
    [(DPOP_NONCE, nonce), (CACHE_CONTROL, NO_STORE)]
}

const NO_STORE: HeaderValue = HeaderValue::from_static("no-store");
