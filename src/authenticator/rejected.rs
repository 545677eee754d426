//! `Rejected`: a rejected request, and the response to it.

use std::fmt;
use std::sync::Arc;

use bytes::Bytes;
use http::{HeaderValue, Response, StatusCode};

use crate::dpop::CurrentNonces;
use crate::rejection::Rejection;
use crate::request::Scheme;
use crate::response::{ErrorBody, ErrorParts, ErrorResponse, RequestKind, ResponseOptions, error_response};
use crate::telemetry;

/// A rejected request, with the response that the client must get.
///
/// # Security
///
/// The response to a gRPC call has the status 200 and the error in `grpc-status`, as gRPC requires. A gateway that answers an
/// authorization subrequest with the head of the client's request must decide by the
/// [`Outcome`](crate::authenticator::Outcome) or by [`status`](Self::status), which is never 200.
#[derive(Clone)]
pub struct Rejected(Box<Content>);

/// The content of [`Rejected`], which is boxed so that a result with this error is small.
#[derive(Clone)]
struct Content {
    rejection: Rejection,
    parts: ErrorParts,
    responder: Responder,
}

/// How a request is answered if it is rejected.
#[derive(Clone)]
pub(super) struct Responder {
    request: RequestKind,
    /// The nonces of now, if the API requires nonces.
    nonces: Option<Arc<CurrentNonces>>,
    options: Arc<ResponseOptions<dyn ErrorBody<Bytes>>>,
}

impl Responder {
    pub(super) fn new(
        request: RequestKind,
        nonces: Option<Arc<CurrentNonces>>,
        options: Arc<ResponseOptions<dyn ErrorBody<Bytes>>>,
    ) -> Self {
        Self { request, nonces, options }
    }

    /// Returns the nonce for the client's next proof, and counts it.
    pub(super) fn issue_nonce(&self) -> Option<HeaderValue> {
        let nonces = self.nonces.as_ref()?;
        telemetry::nonce_issued();
        Some(nonces.next())
    }

    pub(super) fn scheme(&self) -> Scheme {
        self.request.schemes.scheme()
    }

    /// Rejects a request. `issued` is the nonce that every response to the request has, if there is one.
    pub(super) fn reject(&self, rejection: Rejection, issued: Option<&HeaderValue>) -> Rejected {
        let parts = match issued {
            Some(nonce) => self.options.error_parts(&rejection, self.request, || None).with_nonce(Some(nonce.clone())),
            None => self.options.error_parts(&rejection, self.request, || self.issue_nonce()),
        };
        Rejected(Box::new(Content { rejection, parts, responder: self.clone() }))
    }
}

impl Rejected {
    /// Returns why the request is rejected, for logs and decisions.
    ///
    /// # Security
    ///
    /// The rejection contains details that help an attacker, such as the reason why a token is invalid. Do not write it into
    /// the response.
    #[must_use]
    pub fn rejection(&self) -> &Rejection {
        &self.0.rejection
    }

    /// Returns the status of the rejection: 400, 401, 403 or 503, also for a gRPC call.
    #[must_use]
    pub fn status(&self) -> StatusCode {
        self.0.parts.http_status()
    }

    /// Returns the value of `WWW-Authenticate`, which contains the challenges of all accepted schemes. A rejection with the
    /// status 503 has no challenge.
    #[must_use]
    pub fn challenges(&self) -> Option<&HeaderValue> {
        self.0.parts.challenge()
    }

    /// Returns the scheme of the challenge with the error: that of the request's credential, otherwise `Bearer`.
    #[must_use]
    pub fn scheme(&self) -> Scheme {
        self.0.responder.scheme()
    }

    /// Returns the error code, its description and the protocol of the request, for a response of the application.
    #[must_use]
    pub fn error_response(&self) -> ErrorResponse<'_> {
        ErrorResponse::new(&self.0.parts, Some(&self.0.rejection))
    }

    /// Returns the response: status, `WWW-Authenticate`, `Retry-After`, `Cache-Control` and body. Its extensions contain the
    /// [`Rejection`].
    #[must_use]
    pub fn to_response(&self) -> Response<Bytes> {
        let Content { rejection, parts, responder } = &*self.0;
        error_response(&responder.options.body, parts.clone(), rejection.clone())
    }
}

/// Shows the rejection.
impl fmt::Debug for Rejected {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Rejected").field("rejection", self.rejection()).finish_non_exhaustive()
    }
}

impl fmt::Display for Rejected {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.rejection().fmt(f)
    }
}

impl std::error::Error for Rejected {
    fn source(&self) -> Option<&(dyn std::error::Error + 'static)> {
        self.rejection().source()
    }
}
