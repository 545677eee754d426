//! The same answers over gRPC: a trailers-only response with a status of its own (gRPC over HTTP/2, "Responses").

use http::header::CONTENT_TYPE;
use http::{HeaderMap, HeaderName, HeaderValue, Method, StatusCode, Version};

/// What a client speaks.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) enum Protocol {
    #[default]
    Http,
    Grpc,
}

impl Protocol {
    /// `application/grpc`, with or without a message format behind `+` or parameters behind `;`, and only as gRPC comes:
    /// `POST` over HTTP/2 or later.
    ///
    /// A refusal of such a request has the status 200. A gateway that asks this service whether a request may pass, and
    /// hands the client's headers on, would take that for a yes; it asks by `GET` or over HTTP/1.1.
    pub(crate) fn of(method: &Method, version: Version, headers: &HeaderMap) -> Self {
        if method != Method::POST || version < Version::HTTP_2 {
            return Self::Http;
        }
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
        let typed = |value: &'static str| HeaderMap::from_iter([(CONTENT_TYPE, HeaderValue::from_static(value))]);
        let of = |value| Protocol::of(&Method::POST, Version::HTTP_2, &typed(value));
        for grpc in ["application/grpc", "application/grpc+proto", "Application/gRPC;x=y"] {
            assert_eq!(of(grpc), Protocol::Grpc, "{grpc}");
        }
        for other in ["application/grpc-web", "application/grpc-web+proto", "application/json", "application/grp", ""] {
            assert_eq!(of(other), Protocol::Http, "{other}");
        }
        assert_eq!(Protocol::of(&Method::POST, Version::HTTP_2, &HeaderMap::new()), Protocol::Http);
        let headers = typed("application/grpc");
        for (method, version) in [
            (Method::GET, Version::HTTP_2),
            (Method::HEAD, Version::HTTP_2),
            (Method::POST, Version::HTTP_11),
            (Method::POST, Version::HTTP_10),
        ] {
            assert_eq!(Protocol::of(&method, version, &headers), Protocol::Http, "{method} {version:?}");
        }
        assert_eq!(Protocol::of(&Method::POST, Version::HTTP_3, &headers), Protocol::Grpc);
    }
}
