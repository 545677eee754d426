//! `BearerRejection`: a `Rejection` as a response.

use std::any::Any;
use std::fmt;

use axum_core::body::Body;
use axum_core::response::{IntoResponse, Response};

use crate::authenticator::Rejected;
use crate::clock::{Clock as _, SystemClock};
use crate::extract::context::HandlerContext;
use crate::metadata::ProtectedResourceMetadata;
use crate::rejection::Rejection;
use crate::request::credential::UsedSchemes;
use crate::requirement::{Facts, RequirementError, UnmetRequirement};
use crate::response::{ChallengeError, Challenges, EmptyBody, JsonBody, Protocol, ResponseHook, error_response};
use crate::validator::{hint_for_error, record_unmet};

/// A [`Rejection`] as a response, for handlers that validate tokens themselves. The response has the same status, challenge and
/// headers as that of a [`BearerLayer`](crate::BearerLayer) of an API without DPoP and mutual TLS.
///
/// For an API with them, respond with [`Authenticator::reject`](crate::authenticator::Authenticator::reject): its challenge names the
/// schemes and algorithms that the API accepts, and its response has the nonce that a client needs for its next proof.
///
/// ```
/// use axum::response::IntoResponse;
/// use tower_bearer::extract::BearerRejection;
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
    /// The hint for the log, if the claims show a common mistake.
    hint: Option<&'static str>,
    /// Boxed, so that a result with this error is small.
    challenges: Box<Challenges>,
    body: BodyKind,
    protocol: Protocol,
}

#[derive(Clone, Debug, PartialEq, Eq)]
enum BodyKind {
    Empty,
    Json,
    Hook(ResponseHook<Body>),
}

impl BearerRejection {
    /// Creates a rejection with the options of the layers around a handler.
    fn with_context(context: &HandlerContext, rejection: Rejection) -> Self {
        let response_options = context.response_options();
        let challenges =
            response_options.map(|response_options| response_options.challenges.clone()).unwrap_or_default();
        Self {
            rejection,
            hint: None,
            challenges: Box::new(challenges),
            body: response_options
                .map_or(BodyKind::Empty, |response_options| BodyKind::from_body(&response_options.body)),
            protocol: context.protocol,
        }
    }

    /// Creates the rejection of a request without credential. Its challenge names the scopes of the route.
    pub(super) fn anonymous(context: &HandlerContext) -> Self {
        let mut rejection = Self::with_context(context, Rejection::NoCredential);
        *rejection.challenges = rejection.challenges.with_route_scope(context.challenge_params(None).scope);
        rejection
    }

    fn for_request(mut self, schemes: UsedSchemes) -> Self {
        *self.challenges = self.challenges.for_request(schemes);
        self
    }

    /// Returns the rejection.
    #[must_use]
    pub fn rejection(&self) -> &Rejection {
        &self.rejection
    }

    /// Adds `realm`, the name of the protection space, to the challenge (RFC 9110 §11.5).
    ///
    /// # Errors
    ///
    /// Returns [`ChallengeError::Realm`](crate::response::ChallengeError::Realm) if `realm` contains control characters or is
    /// not ASCII.
    pub fn try_with_realm(mut self, realm: &str) -> Result<Self, ChallengeError> {
        *self.challenges = self.challenges.with_realm(realm)?;
        Ok(self)
    }

    /// Adds the URL of the resource metadata to the challenge (RFC 9728 §5.1).
    #[must_use]
    pub fn with_resource_metadata(mut self, metadata: &ProtectedResourceMetadata) -> Self {
        *self.challenges = self.challenges.with_resource_metadata(metadata.url());
        self
    }

    /// Sends a JSON body. Default: an empty body.
    #[must_use]
    pub fn with_json_body(mut self) -> Self {
        self.body = BodyKind::Json;
        self
    }
}

impl From<Rejection> for BearerRejection {
    fn from(rejection: Rejection) -> Self {
        let challenges = Box::default();
        Self { rejection, hint: None, challenges, body: BodyKind::Empty, protocol: Protocol::Http }
    }
}

/// For `claims.require(..)?` in a handler. If the claims come from an extractor, the response has the realm, metadata URL and
/// body of the layers around the handler.
impl From<RequirementError> for BearerRejection {
    fn from(error: RequirementError) -> Self {
        let hint = hint_for_error(&error);
        let claims = error.claims().clone();
        let rejection = match claims.context.as_ref().and_then(|context| context.downcast_ref::<HandlerContext>()) {
            Some(context) => {
                let facts = Facts { claims: &claims, now: SystemClock.now() };
                let error = error.with_outer_params(context.challenge_params(Some(&facts)));
                Self::with_context(context, Rejection::from(error))
            }
            None => Self::from(Rejection::from(error)),
        };
        Self { hint, ..rejection.for_request(claims.used_schemes()) }
    }
}

/// The response does not include the options of the layers around the handler.
impl From<UnmetRequirement> for BearerRejection {
    fn from(unmet: UnmetRequirement) -> Self {
        Self::from(Rejection::Requirement(unmet))
    }
}

impl IntoResponse for BearerRejection {
    fn into_response(self) -> Response {
        record_unmet(&self.rejection, self.hint);
        let parts = self.challenges.error_parts(&self.rejection).with_protocol(self.protocol);
        match self.body {
            BodyKind::Empty => error_response::<Body>(&EmptyBody::default(), parts, self.rejection),
            BodyKind::Json => error_response::<Body>(&JsonBody::default(), parts, self.rejection),
            BodyKind::Hook(hook) => error_response(&hook, parts, self.rejection),
        }
    }
}

/// The response of [`BearerRejection`], for handlers that return the error of `claims.require(..)` or of a rule.
impl IntoResponse for RequirementError {
    fn into_response(self) -> Response {
        BearerRejection::from(self).into_response()
    }
}

/// The response of [`Rejected::to_response`], for handlers that call an [`Authenticator`](crate::Authenticator) themselves.
impl IntoResponse for Rejected {
    fn into_response(self) -> Response {
        self.to_response().map(Body::from)
    }
}

impl BodyKind {
    /// Returns the body of a layer, if the body type matches: a layer in between may change the type.
    fn from_body(body: &dyn Any) -> Self {
        match body.downcast_ref::<ResponseHook<Body>>() {
            Some(hook) => Self::Hook(hook.clone()),
            None if body.is::<JsonBody>() => Self::Json,
            None => Self::Empty,
        }
    }
}

impl fmt::Display for BearerRejection {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.rejection.fmt(f)
    }
}

impl std::error::Error for BearerRejection {
    /// Returns the source of the [`Rejection`] in it, whose text `Display` writes.
    fn source(&self) -> Option<&(dyn std::error::Error + 'static)> {
        self.rejection.source()
    }
}
