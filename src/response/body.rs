//! The response to a rejected request. The crate sets status and challenge; the application chooses the body.

use std::fmt;
use std::sync::Arc;

use bytes::Bytes;
use http::header::CONTENT_TYPE;
use http::{HeaderValue, Response, StatusCode};

use self::sealed::Sealed;
use crate::rejection::Rejection;
use crate::response::parts::ErrorParts;

/// Creates the body and additional headers of the response to a rejected request.
///
/// [`EmptyBody`] is the default. The methods `with_json_body()` and `with_response_hook(..)` of the layers choose one of the
/// other types. The layer then overwrites the status, `WWW-Authenticate`, `Retry-After` and `Cache-Control` of the response.
/// The trait is sealed, so an application cannot implement it.
pub trait ErrorBody<B>: Sealed + Send + Sync + 'static {
    /// Creates the response. The layer overwrites its status and some of its headers.
    fn respond(&self, error_response: &ErrorResponse<'_>) -> Response<B>;
}

mod sealed {
    #[expect(unnameable_types, reason = "only this crate may implement the trait")]
    pub trait Sealed {}
}

impl Sealed for EmptyBody {}
impl Sealed for JsonBody {}
impl<B> Sealed for ResponseHook<B> {}

/// Sends an empty body.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct EmptyBody;

impl<B: Default> ErrorBody<B> for EmptyBody {
    fn respond(&self, _: &ErrorResponse<'_>) -> Response<B> {
        Response::default()
    }
}

/// Sends `{"error":…,"error_description":…}`, or `{}` where RFC 6750 §3.1 allows no error code.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct JsonBody;

impl<B: From<Bytes>> ErrorBody<B> for JsonBody {
    fn respond(&self, error_response: &ErrorResponse<'_>) -> Response<B> {
        if error_response.is_grpc() {
            return Response::new(B::from(Bytes::new()));
        }
        let mut response = Response::new(B::from(error_response.to_json()));
        response.headers_mut().insert(CONTENT_TYPE, HeaderValue::from_static("application/json"));
        response
    }
}

/// Sends the body and headers that a function of the application returns.
pub struct ResponseHook<B>(Hook<B>);

type Hook<B> = Arc<dyn Fn(&ErrorResponse<'_>) -> Response<B> + Send + Sync>;

impl<B> ResponseHook<B> {
    pub(crate) fn new(hook: impl Fn(&ErrorResponse<'_>) -> Response<B> + Send + Sync + 'static) -> Self {
        Self(Arc::new(hook))
    }
}

impl<B: 'static> ErrorBody<B> for ResponseHook<B> {
    fn respond(&self, error_response: &ErrorResponse<'_>) -> Response<B> {
        (self.0)(error_response)
    }
}

impl<B> Clone for ResponseHook<B> {
    fn clone(&self) -> Self {
        Self(Arc::clone(&self.0))
    }
}

/// Two hooks are equal if they are the same function object.
impl<B> PartialEq for ResponseHook<B> {
    fn eq(&self, other: &Self) -> bool {
        Arc::ptr_eq(&self.0, &other.0)
    }
}

impl<B> Eq for ResponseHook<B> {}

impl<B> fmt::Debug for ResponseHook<B> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("ResponseHook")
    }
}

/// The error response to a request, as a response hook reads it.
#[derive(Clone, Copy, Debug)]
pub struct ErrorResponse<'r> {
    parts: &'r ErrorParts,
    rejection: Option<&'r Rejection>,
}

impl<'r> ErrorResponse<'r> {
    pub(crate) fn new(parts: &'r ErrorParts, rejection: Option<&'r Rejection>) -> Self {
        Self { parts, rejection }
    }

    /// Returns why the request is rejected; `None` if the program is misconfigured, because a layer is missing.
    ///
    /// # Security
    ///
    /// The rejection contains details that help an attacker, such as the reason why a token is invalid. Use the rejection for
    /// decisions, and do not write it into the response.
    #[must_use]
    pub fn rejection(&self) -> Option<&Rejection> {
        self.rejection
    }

    /// Returns the status of the response; 200 if the request is a gRPC call.
    #[must_use]
    pub fn status(&self) -> StatusCode {
        self.parts.status()
    }

    /// Returns the error code, such as `invalid_token`; `None` if the request has no credential (RFC 6750 §3.1).
    #[must_use]
    pub fn error(&self) -> Option<&'static str> {
        self.parts.error()
    }

    /// Returns the fixed description of the error code. It is safe to send to a client.
    #[must_use]
    pub fn description(&self) -> Option<&'static str> {
        self.parts.description()
    }

    /// Returns whether the request is a gRPC call. If so, the status is in `grpc-status`, and the body must be empty.
    #[must_use]
    pub fn is_grpc(&self) -> bool {
        self.parts.is_grpc()
    }

    /// Returns the body that `with_json_body()` sends.
    #[must_use]
    pub fn to_json(&self) -> Bytes {
        self.parts.json()
    }
}

/// Returns the response to a rejected request. Its extensions contain the [`Rejection`], so that outer layers can log it.
pub(crate) fn error_response<B>(
    body: &(impl ErrorBody<B> + ?Sized),
    parts: ErrorParts,
    rejection: Rejection,
) -> Response<B> {
    let mut response = write(body, parts, Some(&rejection));
    response.extensions_mut().insert(rejection);
    response
}

/// Returns the response if the program is misconfigured, because a layer is missing.
pub(super) fn misconfigured<B>(body: &impl ErrorBody<B>, parts: ErrorParts) -> Response<B> {
    write(body, parts, None)
}

fn write<B>(body: &(impl ErrorBody<B> + ?Sized), parts: ErrorParts, rejection: Option<&Rejection>) -> Response<B> {
    let mut response = body.respond(&ErrorResponse::new(&parts, rejection));
    *response.status_mut() = parts.status();
    parts.write_headers(response.headers_mut());
    response
}
