//! The response to a refused request: status and challenge are ours, the body is the application's choice.

use std::fmt;
use std::sync::Arc;

use bytes::Bytes;
use http::header::CONTENT_TYPE;
use http::{HeaderValue, Response, StatusCode};

use crate::rejection::Rejection;
use crate::response::{Answer, Protocol};
use crate::telemetry;

/// Makes the body, and further headers, of the response to a refused request.
///
/// [`EmptyBody`] is the default; `with_json_body()` and `with_response_hook(..)` on the layers choose the others. Status,
/// `WWW-Authenticate`, `Retry-After` and `Cache-Control` are written over whatever it returns.
pub trait ErrorBody<B>: Clone + Send + Sync + 'static {
    /// Makes the response; its status doesn't count.
    fn respond(&self, error_response: &ErrorResponse<'_>) -> Response<B>;
}

/// Answers without body.
#[derive(Clone, Copy, Debug, Default)]
#[non_exhaustive]
pub struct EmptyBody;

impl<B: Default> ErrorBody<B> for EmptyBody {
    fn respond(&self, _: &ErrorResponse<'_>) -> Response<B> {
        Response::default()
    }
}

/// Answers with `{"error":…,"error_description":…}`, or with `{}` where RFC 6750 §3.1 wants no error code.
#[derive(Clone, Copy, Debug, Default)]
#[non_exhaustive]
pub struct JsonBody;

impl<B: From<Bytes>> ErrorBody<B> for JsonBody {
    fn respond(&self, error_response: &ErrorResponse<'_>) -> Response<B> {
        if error_response.is_grpc() {
            return Response::new(B::from(Bytes::new()));
        }
        let mut response = Response::new(B::from(error_response.json()));
        response.headers_mut().insert(CONTENT_TYPE, HeaderValue::from_static("application/json"));
        response
    }
}

/// Answers with what a function of the application returns.
pub struct ResponseHook<B>(Hook<B>);

type Hook<B> = Arc<dyn Fn(&ErrorResponse<'_>) -> Response<B> + Send + Sync>;

impl<B> ResponseHook<B> {
    pub(super) fn new(hook: impl Fn(&ErrorResponse<'_>) -> Response<B> + Send + Sync + 'static) -> Self {
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

/// Equal if they are one and the same.
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

/// A request that is being refused, as a response hook sees it.
#[derive(Clone, Copy, Debug)]
pub struct ErrorResponse<'r> {
    answer: &'r Answer,
    rejection: Option<&'r Rejection>,
}

impl ErrorResponse<'_> {
    /// Why the request is refused; `None` if nothing is wrong with it, and the program lacks a layer.
    ///
    /// # Security
    ///
    /// It tells apart what the client should not: use it for choices, not for texts of the response.
    #[must_use]
    pub fn rejection(&self) -> Option<&Rejection> {
        self.rejection
    }

    /// The status of the response; 200 over gRPC.
    #[must_use]
    pub fn status(&self) -> StatusCode {
        self.answer.status()
    }

    /// The error code, such as `invalid_token`; `None` where the request brought no credential (RFC 6750 §3.1).
    #[must_use]
    pub fn error(&self) -> Option<&'static str> {
        self.answer.error()
    }

    /// A fixed text that belongs to the error code and is fit for the client.
    #[must_use]
    pub fn description(&self) -> Option<&'static str> {
        self.answer.description()
    }

    /// Says whether the client speaks gRPC: the status then stands in `grpc-status`, and the body must be empty.
    #[must_use]
    pub fn is_grpc(&self) -> bool {
        self.answer.is_grpc()
    }

    /// The body that `with_json_body()` would give.
    #[must_use]
    pub fn json(&self) -> Bytes {
        self.answer.json()
    }
}

/// The response to a rejected request. It carries the [`Rejection`] as an extension, for layers further out that log.
pub(crate) fn refuse<B>(
    body: &impl ErrorBody<B>,
    answer: Answer,
    protocol: Protocol,
    rejection: Rejection,
) -> Response<B> {
    let mut response = write(body, answer.over(protocol), Some(&rejection));
    response.extensions_mut().insert(rejection);
    response
}

/// Tells the log and the metrics of a good token, or a request without one, that does not meet what is asked.
pub(crate) fn note_unmet(rejection: &Rejection, hint: Option<&'static str>) {
    let lacks: Option<&dyn fmt::Display> = match rejection {
        Rejection::Requirement(unmet) => Some(unmet),
        _ => None,
    };
    telemetry::requirement_unmet(rejection.kind().name(), hint, lacks, rejection.signature_checked());
}

/// The response where the program lacks a layer.
pub(crate) fn misconfigured<B>(body: &impl ErrorBody<B>, protocol: Protocol) -> Response<B> {
    write(body, Answer::misconfigured().over(protocol), None)
}

fn write<B>(body: &impl ErrorBody<B>, answer: Answer, rejection: Option<&Rejection>) -> Response<B> {
    let mut response = body.respond(&ErrorResponse { answer: &answer, rejection });
    *response.status_mut() = answer.status();
    answer.write_headers(response.headers_mut());
    response
}
