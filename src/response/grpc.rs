//! Error responses over gRPC: a trailers-only response with `grpc-status` (gRPC over HTTP/2, "Responses").

use http::header::CONTENT_TYPE;
use http::{HeaderMap, HeaderName, HeaderValue, Method, StatusCode, Version};

use crate::request::RequestHead;

/// The protocol of a request.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) enum Protocol {
    #[default]
    Http,
    Grpc,
}

impl Protocol {
    /// Returns `Grpc` for a `POST` over HTTP/2 or later with the content type `application/grpc`, with or without a message
    /// format after `+` or parameters after `;`.
    ///
    /// The rejection of a gRPC request has the status 200. An authorization subrequest of a gateway, with the headers of the
    /// client's request, must not be treated as gRPC: the gateway would read 200 as accepted. Such subrequests use `GET` or
    /// HTTP/1.1.
    pub(crate) fn from_request(request: &RequestHead<'_>) -> Self {
        if request.method() != Method::POST || request.version() < Version::HTTP_2 {
            return Self::Http;
        }
        let Some(content_type) = request.headers().get(CONTENT_TYPE) else { return Self::Http };
        let bytes = content_type.as_bytes();
        match bytes.split_at_checked(GRPC.len()) {
            Some((start, rest)) if start.eq_ignore_ascii_case(GRPC.as_bytes()) => match rest.first() {
                None | Some(b'+' | b';' | b' ') => Self::Grpc,
                Some(_) => Self::Http,
            },
            _ => Self::Http,
        }
    }
}

/// Adds the headers of a trailers-only response.
pub(super) fn write_headers(status: StatusCode, message: &'static str, headers: &mut HeaderMap) {
    headers.insert(CONTENT_TYPE, HeaderValue::from_static(GRPC));
    headers.insert(GRPC_STATUS, HeaderValue::from_static(code(status)));
    // The texts are constants in printable ASCII without `%`, so percent-encoding is not necessary.
    headers.insert(GRPC_MESSAGE, HeaderValue::from_static(message));
}

/// Returns whether a response is a rejection of an unauthenticated call.
pub(crate) fn is_unauthenticated_call(headers: &HeaderMap) -> bool {
    headers.get(GRPC_STATUS).is_some_and(|status| status == UNAUTHENTICATED)
}

/// Returns the `google.rpc.Code` for a status of this crate. A malformed credential is `UNAUTHENTICATED`, because the gRPC
/// message itself is not malformed.
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
    use http::Request;

    use super::*;

    #[test]
    fn detects_grpc_by_method_version_and_content_type() {
        let protocol = |method: Method, version, content_type: Option<&str>| {
            let request = Request::builder().method(method).version(version);
            let request = content_type.into_iter().fold(request, |request, value| request.header(CONTENT_TYPE, value));
            Protocol::from_request(&RequestHead::new(&request.body(()).expect("a request")))
        };
        let of = |value| protocol(Method::POST, Version::HTTP_2, Some(value));
        for grpc in ["application/grpc", "application/grpc+proto", "Application/gRPC;x=y"] {
            assert_eq!(of(grpc), Protocol::Grpc, "{grpc}");
        }
        for other in ["application/grpc-web", "application/grpc-web+proto", "application/json", "application/grp", ""] {
            assert_eq!(of(other), Protocol::Http, "{other}");
        }
        assert_eq!(protocol(Method::POST, Version::HTTP_2, None), Protocol::Http);
        for (method, version) in [
            (Method::GET, Version::HTTP_2),
            (Method::HEAD, Version::HTTP_2),
            (Method::POST, Version::HTTP_11),
            (Method::POST, Version::HTTP_10),
        ] {
            assert_eq!(protocol(method.clone(), version, Some(GRPC)), Protocol::Http, "{method} {version:?}");
        }
        assert_eq!(protocol(Method::POST, Version::HTTP_3, Some(GRPC)), Protocol::Grpc);
    }
}
