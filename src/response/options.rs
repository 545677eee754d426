//! `ResponseOptions`: how requests are answered that are rejected.

use std::any::{Any, TypeId};
use std::fmt;

use http::{HeaderValue, StatusCode};

use crate::rejection::{PossessionError, Rejection};
use crate::request::credential::UsedSchemes;
use crate::response::body::EmptyBody;
use crate::response::challenges::Challenges;
use crate::response::grpc::Protocol;
use crate::response::parts::ErrorParts;

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
}

impl<R: ?Sized> ResponseOptions<R> {
    /// Returns the status and headers of the response to a rejected request. `nonce` is called if the response gets the client's next
    /// nonce: each 401 does (RFC 9449 §8), and a 503 of the replay store, which may be full for the nonce that the client has used.
    pub(crate) fn error_parts(
        &self,
        rejection: &Rejection,
        request: RequestKind,
        nonce: impl FnOnce() -> Option<HeaderValue>,
    ) -> ErrorParts {
        let RequestKind { protocol, schemes } = request;
        let parts = match schemes {
            // The settings are those for `Bearer`. A clone changes reference counts that all threads share.
            UsedSchemes::Bearer => self.challenges.error_parts(rejection),
            UsedSchemes::Dpop | UsedSchemes::Both => {
                self.challenges.clone().for_request(schemes).error_parts(rejection)
            }
        };
        let parts = parts.with_protocol(protocol);
        let is_replay_store = matches!(rejection, Rejection::Possession(PossessionError::ReplayStore { .. }));
        let has_nonce = parts.http_status() == StatusCode::UNAUTHORIZED || is_replay_store;
        if has_nonce { parts.with_nonce(nonce()) } else { parts }
    }
}

/// Does not show the body, whose type may be unknown.
impl<R: ?Sized> fmt::Debug for ResponseOptions<R> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.challenges.fmt(f)
    }
}
