//! `Required<N>`: an extractor with a requirement as a type parameter.

use std::fmt;
use std::marker::PhantomData;
use std::ops::Deref;

use axum_core::extract::FromRequestParts;
use http::request::Parts;

use crate::claims::{Claims, NoCustomClaims};
use crate::extract::claims::{ClaimsRejection, extract};
use crate::extract::rejection::BearerRejection;
use crate::requirement::Requirement;

/// A requirement as a type, for [`Required`].
pub trait StaticRequirement {
    /// The requirement. The `static_*` constructors check their arguments at compile time.
    const REQUIREMENT: &'static Requirement;
}

/// Extracts the claims of a request whose token meets the requirement of `N`. A handler with this parameter cannot run without
/// the check.
///
/// The handler must be inside a [`BearerLayer`](crate::BearerLayer). If the token does not meet the requirement, the response
/// is that of a [`RequireLayer`](crate::RequireLayer) with the system clock.
///
/// ```
/// use axum::{Router, routing::delete};
/// use tower_bearer::Requirement;
/// use tower_bearer::extract::{StaticRequirement, Required};
///
/// struct DeleteOrders;
///
/// impl StaticRequirement for DeleteOrders {
///     const REQUIREMENT: &'static Requirement = &Requirement::static_scope("delete:orders");
/// }
///
/// async fn delete_order(claims: Required<DeleteOrders>) -> String {
///     format!("deleted by {:?}", claims.subject())
/// }
///
/// let app: Router = Router::new().route("/orders", delete(delete_order));
/// # let _ = app;
/// ```
pub struct Required<N, C = NoCustomClaims> {
    claims: Claims<C>,
    requirement: PhantomData<fn() -> N>,
}

impl<N, C> Required<N, C> {
    /// Returns the claims.
    #[must_use]
    pub fn into_claims(self) -> Claims<C> {
        self.claims
    }
}

impl<N, C> Deref for Required<N, C> {
    type Target = Claims<C>;

    fn deref(&self) -> &Claims<C> {
        &self.claims
    }
}

impl<S, N, C> FromRequestParts<S> for Required<N, C>
where
    S: Send + Sync,
    N: StaticRequirement,
    C: Send + Sync + 'static,
{
    type Rejection = ClaimsRejection;

    async fn from_request_parts(parts: &mut Parts, _: &S) -> Result<Self, ClaimsRejection> {
        let claims = extract::<C>(parts, Some(N::REQUIREMENT))?;
        match claims.require(N::REQUIREMENT) {
            Ok(()) => Ok(Self { claims, requirement: PhantomData }),
            Err(error) => Err(ClaimsRejection::UnmetRequirement(BearerRejection::from(error))),
        }
    }
}

impl<N, C> Clone for Required<N, C> {
    fn clone(&self) -> Self {
        Self { claims: self.claims.clone(), requirement: PhantomData }
    }
}

impl<N, C> fmt::Debug for Required<N, C> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.claims.fmt(f)
    }
}
