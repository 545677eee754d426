//! `BearerRejection`: a `Rejection` as a response.

use std::any::Any;
use std::fmt;

use axum_core::body::Body;
use axum_core::response::{IntoResponse, Response};

use crate::clock::{Clock as _, SystemClock};
use crate::defaults;
use crate::extract::context::HandlerContext;
use crate::metadata::ProtectedResourceMetadata;
use crate::middleware::{EmptyBody, JsonBody, ResponseHook, note_unmet, refuse};
use crate::rejection::Rejection;
use crate::requirement::{Facts, RequirementError, UnmetRequirement};
use crate::response::{ChallengeError, Challenges, Protocol};
use crate::validator;

/// A [`Rejection`] as a response, for handlers that validate a token themselves: the same status, challenge and headers
/// that a [`BearerLayer`](crate::BearerLayer) answers with.
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
    /// For the log, where the claims show a common mistake.
    hint: Option<&'static str>,
    /// Boxed, so that a result with this error is small.
    challenges: Box<Challenges>,
    body: BodyForm,
    protocol: Protocol,
}

#[derive(Clone, Debug, PartialEq, Eq)]
enum BodyForm {
    Empty,
    Json,
    Hook(ResponseHook<Body>),
}

impl BearerRejection {
    /// The answer that the layers around a handler would give.
    fn at(context: &HandlerContext, rejection: Rejection) -> Self {
        let response_options = context.response_options();
        let challenges =
            response_options.map(|response_options| response_options.challenges.clone()).unwrap_or_default();
        Self {
            rejection,
            hint: None,
            challenges: Box::new(challenges),
            body: response_options.map_or(BodyForm::Empty, |response_options| BodyForm::of(&*response_options.body)),
            protocol: context.protocol,
        }
    }

    /// The same to a request without credential, which is told what to ask for.
    pub(super) fn anonymous_at(context: &HandlerContext) -> Self {
        let mut answer = Self::at(context, Rejection::NoCredential);
        *answer.challenges = answer.challenges.asking_for(context.demand(None).scope);
        answer
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
        *self.challenges = self.challenges.with_realm(realm)?;
        Ok(self)
    }

    /// Names the place of the resource's metadata in the challenge (RFC 9728 §5.1).
    #[must_use]
    pub fn with_resource_metadata(mut self, metadata: &ProtectedResourceMetadata) -> Self {
        *self.challenges = self.challenges.with_resource_metadata(metadata.url());
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
        let challenges = Box::default();
        Self { rejection, hint: None, challenges, body: BodyForm::Empty, protocol: Protocol::Http }
    }
}

/// For `claims.require(..)?` in a handler: the answer of the layers around it, if an extractor handed out the claims.
impl From<RequirementError> for BearerRejection {
    fn from(error: RequirementError) -> Self {
        let claims = error.claims().clone();
        let hint = validator::hint_of_unmet(error.unmet(), &claims);
        let Some(context) = claims.context.as_ref().and_then(|context| context.downcast_ref::<HandlerContext>()) else {
            return Self { hint, ..Self::from(UnmetRequirement::from(error)) };
        };
        let facts = Facts { claims: &claims, now: SystemClock.now(), leeway: defaults::LEEWAY };
        let unmet = UnmetRequirement::from(error).with_outer_params(context.demand(Some(&facts)));
        Self { hint, ..Self::at(context, Rejection::Requirement(unmet)) }
    }
}

/// Of the layers around it, such an answer knows nothing.
impl From<UnmetRequirement> for BearerRejection {
    fn from(unmet: UnmetRequirement) -> Self {
        Self::from(Rejection::Requirement(unmet))
    }
}

impl IntoResponse for BearerRejection {
    fn into_response(self) -> Response {
        if matches!(self.rejection, Rejection::Requirement(_) | Rejection::NoCredential) {
            note_unmet(&self.rejection, self.hint);
        }
        let answer = self.challenges.answer(&self.rejection);
        match self.body {
            BodyForm::Empty => refuse::<Body>(&EmptyBody::default(), answer, self.protocol, self.rejection),
            BodyForm::Json => refuse::<Body>(&JsonBody::default(), answer, self.protocol, self.rejection),
            BodyForm::Hook(hook) => refuse(&hook, answer, self.protocol, self.rejection),
        }
    }
}

impl BodyForm {
    /// The body of a layer, if it can stand here: an application may wrap bodies between layer and handler.
    fn of(body: &dyn Any) -> Self {
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
    fn source(&self) -> Option<&(dyn std::error::Error + 'static)> {
        Some(&self.rejection)
    }
}
