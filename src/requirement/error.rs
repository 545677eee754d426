//! `RequirementError`: why verified claims do not allow a request, for checks in code.

use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use crate::claims::Claims;
use crate::requirement::challenge_params::ChallengeParams;
use crate::requirement::unmet::UnmetRequirement;

/// Why claims do not allow a request: the error of [`Claims::require`] and of rules of the application.
///
/// With axum, the error is a response (`IntoResponse`), and it converts to `BearerRejection`. If the claims come from an
/// extractor, they contain the options of the layers around the handler: the challenge then names the requirements of these
/// layers and of the handler together, and the response has the realm, metadata URL, body and protocol of the `BearerLayer`. For
/// other claims, such as those that [`Validator::validate`](crate::Validator::validate) returns, the challenge names only this
/// requirement.
///
/// ```
/// use std::time::Duration;
///
/// use tower_bearer::Claims;
/// use tower_bearer::requirement::RequirementError;
///
/// /// Only the customer of an order can read it. `customer` is what the database returned.
/// fn check_customer(claims: &Claims, customer: Result<&str, std::io::Error>) -> Result<(), RequirementError> {
///     match customer {
///         Ok(customer) if claims.subject() == Some(customer) => Ok(()),
///         Ok(_) => Err(RequirementError::forbidden(claims, "customer of the order")),
///         Err(_) => Err(RequirementError::unavailable(claims, Duration::from_secs(5))),
///     }
/// }
///
/// let claims = tower_bearer::testing::claims().subject("ann").build();
/// assert!(check_customer(&claims, Ok("ann")).is_ok());
/// let error = check_customer(&claims, Ok("bob")).unwrap_err();
/// assert_eq!(error.to_string(), "the token does not meet the requirement customer of the order");
/// ```
#[derive(Clone, Debug)]
pub struct RequirementError {
    reason: Reason,
    claims: Claims,
}

/// The reason of a [`RequirementError`].
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Reason {
    Unmet(UnmetRequirement),
    /// A rule could not be evaluated.
    Unavailable {
        retry_after: Duration,
    },
}

impl RequirementError {
    /// Creates the error of a rule of the application that the claims do not meet, for example that an order belongs to another
    /// customer. The response is 403 `insufficient_scope`.
    ///
    /// `requirement` names the rule in logs, like the name of a [predicate](crate::Requirement::predicate). It is not in a
    /// response.
    #[must_use]
    pub fn forbidden<C>(claims: &Claims<C>, requirement: &'static str) -> Self {
        Self::from_unmet(UnmetRequirement::Predicate { name: Arc::from(requirement), scope: Arc::from("") }, claims)
    }

    /// Creates the error of a rule of the application that cannot be evaluated, for example because a database does not respond.
    /// The response is 503, and its `Retry-After` is `retry_after`, rounded up to at least one second.
    ///
    /// The application logs the cause: the log line of this crate has only the kind `requirement_unavailable`.
    ///
    /// # Security
    ///
    /// Return this error only if the service is the cause. For a request that the client made invalid, return
    /// [`forbidden`](Self::forbidden): otherwise clients can cause responses of the class 5xx, and alerts.
    #[must_use]
    pub fn unavailable<C>(claims: &Claims<C>, retry_after: Duration) -> Self {
        Self { reason: Reason::Unavailable { retry_after }, claims: claims.registered() }
    }

    pub(crate) fn from_unmet<C>(unmet: UnmetRequirement, claims: &Claims<C>) -> Self {
        Self { reason: Reason::Unmet(unmet), claims: claims.registered() }
    }

    /// Returns what is missing; `None` if a rule could not be evaluated.
    #[must_use]
    pub fn unmet(&self) -> Option<&UnmetRequirement> {
        match &self.reason {
            Reason::Unmet(unmet) => Some(unmet),
            Reason::Unavailable { .. } => None,
        }
    }

    /// Returns the claims that do not meet the requirement.
    #[must_use]
    pub fn claims(&self) -> &Claims {
        &self.claims
    }

    pub(crate) fn into_reason(self) -> Reason {
        self.reason
    }

    /// Adds the challenge parameters of the outer layers.
    pub(crate) fn with_outer_params(self, outer: ChallengeParams) -> Self {
        match self.reason {
            Reason::Unmet(unmet) => Self { reason: Reason::Unmet(unmet.with_outer_params(outer)), ..self },
            Reason::Unavailable { .. } => self,
        }
    }
}

/// Two errors are equal if their reasons are equal.
impl PartialEq for RequirementError {
    fn eq(&self, other: &Self) -> bool {
        self.reason == other.reason
    }
}

impl Eq for RequirementError {}

impl fmt::Display for RequirementError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.reason {
            Reason::Unmet(unmet) => unmet.fmt(f),
            Reason::Unavailable { .. } => f.write_str(UNAVAILABLE),
        }
    }
}

impl std::error::Error for RequirementError {}

pub(crate) const UNAVAILABLE: &str = "a requirement cannot be checked at the moment";
