//! `ResponseOptions`: how requests are answered that are rejected.

use std::any::{Any, TypeId};
use std::fmt;

use http::{HeaderValue, Response};

use crate::rejection::Rejection;
use crate::request::credential::UsedSchemes;
use crate::response::body::{EmptyBody, ErrorBody, error_response};
use crate::response::challenges::Challenges;
use crate::response::grpc::Protocol;

/// The properties of a request on which the response depends.
#[derive(Clone, Copy, Debug)]
pub(crate) struct RequestKind {
    pub(crate) protocol: Protocol,
    pub(crate) schemes: UsedSchemes,
}

/// The challenges and the body of the responses to rejected requests. `R` is an [`ErrorBody`], or `dyn Any` for code that does
/// not know its type.
#[derive(Clone)]
pub(crate) struct ResponseOptions<R: ?Sized = dyn Any + Send + Sync> {
    pub(crate) challenges: Challenges,
    pub(crate) body: R,
}

impl<R: 'static> ResponseOptions<R> {
    /// Returns whether nothing is configured.
    pub(crate) fn is_default(&self) -> bool {
        self.challenges.is_default() && TypeId::of::<R>() == TypeId::of::<EmptyBody>()
    }

    /// Returns the response to a rejected request.
    pub(crate) fn respond<B>(
        &self,
        rejection: Rejection,
        request: RequestKind,
        nonce: Option<HeaderValue>,
    ) -> Response<B>
    where
        R: ErrorBody<B>,
    {
        let RequestKind { protocol, schemes } = request;
        let challenges = self.challenges.clone().for_request(schemes);
        let parts = challenges.error_parts(&rejection).with_protocol(protocol).with_nonce(|| nonce);
        error_response(&self.body, parts, rejection)
    }
}

/// Does not show the body, whose type may be unknown.
impl<R: ?Sized> fmt::Debug for ResponseOptions<R> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.challenges.fmt(f)
    }
}
