//! The application's part of validation: custom claims and checks.

use std::fmt;
use std::sync::Arc;

use serde::de::DeserializeOwned;

use crate::claims::{self, Claims, CustomClaimsError, NoCustomClaims};
use crate::rejection::{CheckError, Rejection};

/// Deserializes the custom claims (the second pass over the payload) and runs the application's checks.
pub(super) struct Application<C> {
    read: fn(Claims) -> Result<Claims<C>, CustomClaimsError>,
    checks: Vec<Check<C>>,
}

/// A check that the application adds with `with_check`.
type Check<C> = Arc<dyn Fn(&Claims<C>) -> Result<(), CheckError> + Send + Sync>;

impl Application<NoCustomClaims> {
    /// Has no custom claims and no checks.
    pub(super) fn new() -> Self {
        Self { read: Ok, checks: Vec::new() }
    }

    /// Deserializes custom claims into `C`; checks that were added before remain.
    pub(super) fn with_custom_claims<C: DeserializeOwned + Send + Sync + 'static>(self) -> Application<C> {
        let convert =
            |check: Check<NoCustomClaims>| -> Check<C> { Arc::new(move |claims| check(&claims.registered())) };
        Application {
            read: |claims| {
                let custom = claims::read_custom(claims.json())?;
                Ok(claims.with_custom(Arc::new(custom)))
            },
            checks: self.checks.into_iter().map(convert).collect(),
        }
    }
}

impl<C> Application<C> {
    /// Returns the number of checks.
    pub(super) fn checks(&self) -> usize {
        self.checks.len()
    }

    pub(super) fn add_check(&mut self, check: Check<C>) {
        self.checks.push(check);
    }

    /// Deserializes the custom claims of a verified token.
    pub(super) fn read(&self, claims: Claims) -> Result<Claims<C>, Rejection> {
        (self.read)(claims).map_err(Rejection::CustomClaims)
    }

    /// Runs the checks.
    pub(super) fn check(&self, claims: &Claims<C>) -> Result<(), Rejection> {
        self.checks.iter().try_for_each(|check| check(claims)).map_err(Rejection::Check)
    }
}

impl<C> Clone for Application<C> {
    fn clone(&self) -> Self {
        Self { read: self.read, checks: self.checks.clone() }
    }
}

impl<C> fmt::Debug for Application<C> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Application").field("checks", &self.checks.len()).finish_non_exhaustive()
    }
}
