//! `BearerToken<'static>` as an extractor.

use axum_core::extract::FromRequestParts;
use http::request::Parts;

use crate::claims::Claims;
use crate::extract::claims::ClaimsRejection;
use crate::extract::context::HandlerContext;
use crate::middleware::{OuterLayers, report_misconfiguration};
use crate::request::{BearerToken, RequestHead};

/// Extracts the token that a [`BearerLayer`](crate::BearerLayer) has verified, for calls to other APIs.
///
/// The layer needs [`with_raw_token`](crate::BearerLayer::with_raw_token); without it, the response to every request with claims
/// is 500.
impl<S: Send + Sync> FromRequestParts<S> for BearerToken<'static> {
    type Rejection = ClaimsRejection;

    async fn from_request_parts(parts: &mut Parts, _: &S) -> Result<Self, ClaimsRejection> {
        let extensions = &parts.extensions;
        let found = |reason| report_misconfiguration::<Self>(reason, &RequestHead::from_parts(parts));
        Err(match (extensions.get::<Self>(), extensions.get::<Claims>(), extensions.get::<OuterLayers>()) {
            (Some(token), _, _) => return Ok(token.clone()),
            (None, None, Some(_)) => ClaimsRejection::anonymous(&HandlerContext::new(parts, None)),
            (None, Some(_), _) => ClaimsRejection::NoRawToken(found(
                "a handler extracts the token, but its BearerLayer is not configured with_raw_token",
            )),
            (None, None, None) => ClaimsRejection::NoLayer(found("a handler extracts the token without a BearerLayer")),
        })
    }
}
