//! The same answers over gRPC: a trailers-only response with a status of its own (gRPC over HTTP/2, "Responses").

use http::header::CONTENT_TYPE;
use http::{HeaderMap, HeaderName, HeaderValue, StatusCode};

/// What a client speaks.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) enum Protocol {
    #[default]
    Http,
    Grpc,
}

impl Protocol {
    /// `application/grpc`, with or without a message format behind `+` or parameters behind `;`.
    pub(crate) fn of(headers: &HeaderMap) -> Self {
        let Some(content_type) = headers.get(CONTENT_TYPE) else { return Self::Http };
        let octets = content_type.as_bytes();
        match octets.split_at_checked(GRPC.len()) {
            Some((start, rest)) if start.eq_ignore_ascii_case(GRPC.as_bytes()) => match rest.first() {
                None | Some(b'+' | b';' | b' ') => Self::Grpc,
                Some(_) => Self::Http,
            },
            _ => Self::Http,
        }
    }
}

/// Turns the headers of an answer into those of a trailers-only response.
pub(super) fn write_headers(status: StatusCode, message: &'static str, headers: &mut HeaderMap) {
    headers.insert(CONTENT_TYPE, HeaderValue::from_static(GRPC));
    headers.insert(GRPC_STATUS, HeaderValue::from_static(code(status)));
    // The texts are fixed, printable ASCII without `%`, so nothing has to be percent-encoded.
    headers.insert(GRPC_MESSAGE, HeaderValue::from_static(message));
}

/// The codes of `google.rpc.Code` for the answers of this crate. A malformed credential is no malformed message: the
/// caller is unauthenticated.
fn code(status: StatusCode) -> &'static str {
    match status {
        StatusCode::FORBIDDEN => PERMISSION_DENIED,
        StatusCode::SERVICE_UNAVAILABLE => UNAVAILABLE,
        StatusCode::INTERNAL_SERVER_ERROR => INTERNAL,
        _ => UNAUTHENTICATED,
    }
}

const GRPC: &str = "application/grpc";
const GRPC_STATUS: HeaderName = HeaderName::from_static("grpc-status");
const GRPC_MESSAGE: HeaderName = HeaderName::from_static("grpc-message");

const PERMISSION_DENIED: &str = "7";
const INTERNAL: &str = "13";
const UNAVAILABLE: &str = "14";
const UNAUTHENTICATED: &str = "16";

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn grpc_is_told_by_its_content_type() {
        let of = |value: &'static str| {
            let mut headers = HeaderMap::new();
            headers.insert(CONTENT_TYPE, HeaderValue::from_static(value));
            Protocol::of(&headers)
        };
        for grpc in ["application/grpc", "application/grpc+proto", "Application/gRPC;x=y"] {
            assert_eq!(of(grpc), Protocol::Grpc, "{grpc}");
        }
        for other in ["application/grpc-web", "application/grpc-web+proto", "application/json", "application/grp", ""] {
            assert_eq!(of(other), Protocol::Http, "{other}");
        }
        assert_eq!(Protocol::of(&HeaderMap::new()), Protocol::Http);
    }
}
