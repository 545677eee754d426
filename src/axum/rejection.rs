//! `BearerRejection`: a `Rejection` as a response.

use std::fmt;

use axum_core::body::Body;
use axum_core::response::{IntoResponse, Response};
use http::request::Parts;

use crate::challenge::{ChallengeError, Challenges, Protocol};
use crate::guard::Unmet;
use crate::metadata::ResourceMetadata;
use crate::middleware::{EmptyBody, JsonBody, refuse};
use crate::rejection::Rejection;

/// A [`Rejection`] as a response, for handlers that validate a token themselves: the same status, challenge and headers
/// that a [`BearerLayer`](crate::BearerLayer) answers with.
///
/// ```
/// use axum::response::IntoResponse;
/// use tower_bearer::axum::BearerRejection;
/// use tower_bearer::{Claims, Rejection, Validator};
///
/// async fn whoami(validator: &Validator, token: &str) -> Result<Claims, BearerRejection> {
///     Ok(validator.validate(token).await?)
/// }
///
/// let response = BearerRejection::from(Rejection::Signature).into_response();
/// assert_eq!(response.status(), 401);
/// ```
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct BearerRejection {
    rejection: Rejection,
    challenges: Challenges,
    body: BodyForm,
    protocol: Protocol,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum BodyForm {
    Empty,
    Json,
}

impl BearerRejection {
    /// The answer to a request with this head.
    pub(super) fn to(head: &Parts, rejection: Rejection, challenges: Challenges) -> Self {
        let protocol = Protocol::of(&head.method, head.version, &head.headers);
        Self { rejection, challenges, body: BodyForm::Empty, protocol }
    }

    /// The rejection itself.
    #[must_use]
    pub fn rejection(&self) -> &Rejection {
        &self.rejection
    }

    /// Names the protection space in the challenge.
    ///
    /// # Errors
    ///
    /// [`ChallengeError::Realm`](crate::middleware::ChallengeError::Realm) if it holds control characters or is not
    /// ASCII.
    pub fn try_with_realm(mut self, realm: &str) -> Result<Self, ChallengeError> {
        self.challenges = self.challenges.with_realm(realm)?;
        Ok(self)
    }

    /// Names the place of the resource's metadata in the challenge (RFC 9728 §5.1).
    #[must_use]
    pub fn with_resource_metadata(mut self, metadata: &ResourceMetadata) -> Self {
        self.challenges = self.challenges.with_resource_metadata(metadata.url());
        self
    }

    /// Answers with a JSON body. Default: an empty one.
    #[must_use]
    pub fn with_json_body(mut self) -> Self {
        self.body = BodyForm::Json;
        self
    }
}

impl From<Rejection> for BearerRejection {
    fn from(rejection: Rejection) -> Self {
        let challenges = Challenges::default();
        Self { rejection, challenges, body: BodyForm::Empty, protocol: Protocol::Http }
    }
}

/// For `claims.require(..)?` in a handler.
impl From<Unmet> for BearerRejection {
    fn from(unmet: Unmet) -> Self {
        Self::from(Rejection::Requirement(unmet))
    }
}

impl IntoResponse for BearerRejection {
    fn into_response(self) -> Response {
        let answer = self.challenges.answer(&self.rejection);
        match self.body {
            BodyForm::Empty => refuse::<Body>(&EmptyBody::default(), answer, self.protocol, self.rejection),
            BodyForm::Json => refuse::<Body>(&JsonBody::default(), answer, self.protocol, self.rejection),
        }
    }
}

impl fmt::Display for BearerRejection {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.rejection.fmt(f)
    }
}

impl std::error::Error for BearerRejection {
    fn source(&self) -> Option<&(dyn std::error::Error + 'static)> {
        Some(&self.rejection)
    }
}
