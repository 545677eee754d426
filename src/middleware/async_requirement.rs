//! `AsyncRequirement`: a rule that is evaluated asynchronously.

use std::future::Future;

use http::request::Parts;

use self::function::AsyncFunction;
use crate::claims::{Claims, NoCustomClaims};
use crate::requirement::RequirementError;

/// A rule for a route that needs I/O, such as a query to a database. [`AsyncRequireLayer`](super::AsyncRequireLayer) enforces it.
///
/// Every function `async fn(&Claims<C>, &Parts) -> Result<(), RequirementError>` whose future is `Send` implements this trait,
/// and so does a closure that borrows nothing from its environment across an `.await`. A rule with state, such as a connection
/// pool, is a type that implements the trait:
///
/// ```
/// use std::time::Duration;
///
/// use http::request::Parts;
/// use tower_bearer::Claims;
/// use tower_bearer::middleware::{AsyncRequireLayer, AsyncRequirement};
/// use tower_bearer::requirement::RequirementError;
/// # #[derive(Clone)] struct Pool;
/// # impl Pool { async fn is_member(&self, _: &str) -> Result<bool, std::io::Error> { Ok(true) } }
///
/// struct Member {
///     pool: Pool,
/// }
///
/// impl AsyncRequirement for Member {
///     async fn check(&self, claims: &Claims, _: &Parts) -> Result<(), RequirementError> {
///         let subject = claims.subject().unwrap_or_default();
///         match self.pool.is_member(subject).await {
///             Ok(true) => Ok(()),
///             Ok(false) => Err(RequirementError::forbidden(claims, "member")),
///             // The application logs the error of the database.
///             Err(_) => Err(RequirementError::unavailable(claims, Duration::from_secs(5))),
///         }
///     }
/// }
///
/// let members = AsyncRequireLayer::new(Member { pool: Pool });
/// # let _ = members;
/// ```
pub trait AsyncRequirement<C = NoCustomClaims>: Send + Sync + 'static {
    /// Checks the claims of one request.
    ///
    /// The future is dropped before its end if the client closes the connection or a timeout ends the request, so it must leave
    /// nothing inconsistent at an `.await`. The rule is evaluated for each request, and its result is not cached. There is no
    /// timeout: limit the time of the I/O, and return [`RequirementError::unavailable`] at its end. A panic is not caught.
    ///
    /// # Errors
    ///
    /// Returns [`RequirementError::forbidden`] or the error of [`Claims::require`] if the claims do not allow the request, and
    /// [`RequirementError::unavailable`] if the rule cannot be evaluated.
    fn check(&self, claims: &Claims<C>, request: &Parts) -> impl Future<Output = Result<(), RequirementError>> + Send;
}

impl<C, F> AsyncRequirement<C> for F
where
    C: Send + Sync + 'static,
    F: for<'a> AsyncFunction<'a, C> + Send + Sync + 'static,
{
    async fn check(&self, claims: &Claims<C>, request: &Parts) -> Result<(), RequirementError> {
        self(claims, request).await
    }
}

mod function {
    use super::{Claims, Future, Parts, RequirementError};

    /// An asynchronous function over the claims and the head of a request, whose future is `Send`.
    #[expect(unnameable_types, reason = "an application implements `AsyncRequirement`")]
    pub trait AsyncFunction<'a, C: 'a>: Fn(&'a Claims<C>, &'a Parts) -> Self::Future {
        type Future: Future<Output = Result<(), RequirementError>> + Send + 'a;
    }

    impl<'a, C, F, Checked> AsyncFunction<'a, C> for F
    where
        C: 'a,
        F: Fn(&'a Claims<C>, &'a Parts) -> Checked,
        Checked: Future<Output = Result<(), RequirementError>> + Send + 'a,
    {
        type Future = Checked;
    }
}
