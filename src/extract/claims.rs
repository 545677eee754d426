//! `Claims<C>` and `Option<Claims<C>>` as extractors.

use std::fmt;
use std::sync::Arc;

use axum_core::body::Body;
use axum_core::extract::{FromRequestParts, OptionalFromRequestParts};
use axum_core::response::{IntoResponse, Response};
use http::HeaderValue;
use http::header::CONTENT_TYPE;
use http::request::Parts;

use crate::claims::Claims;
use crate::extract::context::HandlerContext;
use crate::extract::rejection::BearerRejection;
use crate::middleware::{OuterLayers, report_misconfiguration};
use crate::request::RequestHead;
use crate::requirement::Requirement;
use crate::response::{EmptyBody, Misconfiguration};

/// Extracts the claims that a [`BearerLayer`](crate::BearerLayer) has verified.
///
/// If the layer accepted a request without credential, the response is 401.
impl<S, C> FromRequestParts<S> for Claims<C>
where
    S: Send + Sync,
    C: Send + Sync + 'static,
{
    type Rejection = ClaimsRejection;

    async fn from_request_parts(parts: &mut Parts, _: &S) -> Result<Self, ClaimsRejection> {
        extract(parts, None)
    }
}

/// Extracts the claims, or `None` if a [`BearerLayer`](crate::BearerLayer) accepted the request without credential. If the layer
/// is missing or provides claims of another type, the response is 500.
impl<S, C> OptionalFromRequestParts<S> for Claims<C>
where
    S: Send + Sync,
    C: Send + Sync + 'static,
{
    type Rejection = ClaimsRejection;

    async fn from_request_parts(parts: &mut Parts, _: &S) -> Result<Option<Self>, ClaimsRejection> {
        match extract(parts, None) {
            Ok(claims) => Ok(Some(claims)),
            Err(ClaimsRejection::Anonymous(_)) => Ok(None),
            Err(rejection) => Err(rejection),
        }
    }
}

/// Returns the claims of a request, with the context of the handler. `requirement` is that of the extractor, if it has one.
pub(super) fn extract<C: Send + Sync + 'static>(
    parts: &Parts,
    requirement: Option<&'static Requirement>,
) -> Result<Claims<C>, ClaimsRejection> {
    let extensions = &parts.extensions;
    let registered: Option<&Claims> = extensions.get();
    match (extensions.get::<Claims<C>>(), registered, extensions.get::<OuterLayers>()) {
        (Some(claims), Some(registered), _) if claims.is_same_claims_set(registered) => {
            let context = HandlerContext::new(parts, requirement);
            Ok(if context.is_default() { claims.clone() } else { claims.clone().with_context(context) })
        }
        // The innermost layer accepted the request without credential. Typed claims without registered ones belong to an outer
        // layer and are ignored.
        (_, None, Some(_)) => Err(ClaimsRejection::anonymous(&HandlerContext::new(parts, requirement))),
        // There are no claims of this type, or they belong to an outer layer, which validated another token.
        (_, Some(_), _) => {
            let reason = "a handler extracts claims of another type than its BearerLayer provides";
            Err(ClaimsRejection::OtherClaims(report_misconfiguration::<Claims<C>>(
                reason,
                &RequestHead::from_parts(parts),
            )))
        }
        (_, None, None) => {
            let reason = "a handler extracts claims without a BearerLayer";
            Err(ClaimsRejection::NoLayer(report_misconfiguration::<Claims<C>>(reason, &RequestHead::from_parts(parts))))
        }
    }
}

/// Why an extractor returns no claims.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum ClaimsRejection {
    /// The request has no credential: 401 with a challenge.
    Anonymous(BearerRejection),
    /// The token does not meet the requirement: 403, or 401 for a stronger authentication (RFC 9470).
    UnmetRequirement(BearerRejection),
    /// No `BearerLayer` ran: 500 and an error in the log, because the program is misconfigured.
    NoLayer(Misconfiguration),
    /// The `BearerLayer` provides claims of another type: 500 and an error in the log, because the program is misconfigured.
    OtherClaims(Misconfiguration),
    /// The `BearerLayer` does not provide the token, because [`with_raw_token`](crate::BearerLayer::with_raw_token) is not set: 500 and
    /// an error in the log, because the program is misconfigured.
    NoRawToken(Misconfiguration),
}

impl<C> Claims<C> {
    fn with_context(mut self, context: HandlerContext) -> Self {
        self.context = Some(Arc::new(context));
        self
    }
}

impl ClaimsRejection {
    pub(super) fn anonymous(context: &HandlerContext) -> Self {
        Self::Anonymous(BearerRejection::anonymous(context))
    }
}

impl IntoResponse for ClaimsRejection {
    fn into_response(self) -> Response {
        match self {
            Self::Anonymous(rejection) | Self::UnmetRequirement(rejection) => rejection.into_response(),
            Self::NoLayer(found) | Self::OtherClaims(found) | Self::NoRawToken(found) => {
                let mut response = found.respond::<Body>(&EmptyBody::default());
                if let Some(text) = found.body_text() {
                    response.headers_mut().insert(CONTENT_TYPE, HeaderValue::from_static("text/plain; charset=utf-8"));
                    *response.body_mut() = Body::from(text);
                }
                response
            }
        }
    }
}

impl fmt::Display for ClaimsRejection {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Anonymous(rejection) | Self::UnmetRequirement(rejection) => rejection.fmt(f),
            Self::NoLayer(found) | Self::OtherClaims(found) | Self::NoRawToken(found) => found.fmt(f),
        }
    }
}

impl std::error::Error for ClaimsRejection {
    /// Returns the source of the error in it, whose text `Display` writes.
    fn source(&self) -> Option<&(dyn std::error::Error + 'static)> {
        match self {
            Self::Anonymous(rejection) | Self::UnmetRequirement(rejection) => rejection.source(),
            Self::NoLayer(_) | Self::OtherClaims(_) | Self::NoRawToken(_) => None,
        }
    }
}
