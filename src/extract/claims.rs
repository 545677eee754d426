//! `Claims<C>` and `Option<Claims<C>>` as extractors.

use std::fmt;
use std::sync::Arc;

use axum_core::body::Body;
use axum_core::extract::{FromRequestParts, OptionalFromRequestParts};
use axum_core::response::{IntoResponse, Response};
use http::request::Parts;

use crate::claims::Claims;
use crate::extract::context::HandlerContext;
use crate::extract::rejection::BearerRejection;
use crate::middleware::{EmptyBody, OuterLayers, misconfigured};
use crate::requirement::Requirement;
use crate::response::Protocol;
use crate::telemetry;

/// Extracts the claims that a [`BearerLayer`](crate::BearerLayer) has verified.
///
/// Under a layer that lets requests without credential pass, such a request is answered with 401.
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

/// Extracts the claims, or `None` where a [`BearerLayer`](crate::BearerLayer) let a request pass without credential. A
/// missing layer and claims of another type are not `None` but 500.
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
            Err(wrong) => Err(wrong),
        }
    }
}

/// Hands out the claims of a request, with what is known around the handler; `asked` is what the extractor asks besides.
pub(super) fn extract<C: Send + Sync + 'static>(
    parts: &Parts,
    asked: Option<&'static Requirement>,
) -> Result<Claims<C>, ClaimsRejection> {
    let extensions = &parts.extensions;
    let registered: Option<&Claims> = extensions.get();
    match (extensions.get::<Claims<C>>(), registered, extensions.get::<OuterLayers>()) {
        (Some(claims), Some(registered), _) if claims.is_same_claims_set(registered) => {
            let context = HandlerContext::of(parts, asked);
            Ok(if context.is_plain() { claims.clone() } else { claims.clone().at(context) })
        }
        // Typed claims without registered ones are those of a layer further out; the inner one let the request pass
        // without credential, and its word counts.
        (_, None, Some(_)) => Err(ClaimsRejection::anonymous(&HandlerContext::of(parts, asked))),
        // None of that type, or those of a layer further out, which has judged another token.
        (_, Some(_), _) => {
            telemetry::misconfigured("a handler wants claims of another type than its BearerLayer reads");
            Err(ClaimsRejection::OtherClaims)
        }
        (_, None, None) => {
            telemetry::misconfigured("a handler wants claims and has no BearerLayer around it");
            Err(ClaimsRejection::NoLayer)
        }
    }
}

/// Why a handler gets no claims.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum ClaimsRejection {
    /// The request has no credential: 401 with a challenge.
    Anonymous(BearerRejection),
    /// The token does not meet the requirement: 403, or 401 for a stronger authentication (RFC 9470).
    UnmetRequirement(BearerRejection),
    /// No `BearerLayer` ran: 500, and an error in the log, since the program is wrong.
    NoLayer,
    /// The `BearerLayer` reads claims into another type: 500, and an error in the log, since the program is wrong.
    OtherClaims,
}

impl<C> Claims<C> {
    fn at(mut self, context: HandlerContext) -> Self {
        self.context = Some(Arc::new(context));
        self
    }
}

impl ClaimsRejection {
    pub(super) fn anonymous(context: &HandlerContext) -> Self {
        Self::Anonymous(BearerRejection::anonymous_at(context))
    }
}

impl IntoResponse for ClaimsRejection {
    fn into_response(self) -> Response {
        match self {
            Self::Anonymous(rejection) | Self::UnmetRequirement(rejection) => rejection.into_response(),
            Self::NoLayer | Self::OtherClaims => misconfigured::<Body>(&EmptyBody::default(), Protocol::Http),
        }
    }
}

impl fmt::Display for ClaimsRejection {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Anonymous(rejection) | Self::UnmetRequirement(rejection) => rejection.fmt(f),
            Self::NoLayer => f.write_str("no BearerLayer ran"),
            Self::OtherClaims => f.write_str("the BearerLayer reads claims into another type"),
        }
    }
}

impl std::error::Error for ClaimsRejection {}
