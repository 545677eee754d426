//! What the application adds: claims of its own, and checks of its own.

use std::fmt;
use std::sync::Arc;

use serde::de::DeserializeOwned;

use crate::claims::{self, Claims, CustomClaimsError, NoCustomClaims};
use crate::rejection::{CheckError, Rejection};

/// How the application reads its own claims (pass 2), and what it checks last.
pub(super) struct Application<C> {
    read: fn(Claims) -> Result<Claims<C>, CustomClaimsError>,
    checks: Vec<Check<C>>,
}

/// A check of the application's own.
type Check<C> = Arc<dyn Fn(&Claims<C>) -> Result<(), CheckError> + Send + Sync>;

impl Application<NoCustomClaims> {
    /// Reads nothing and checks nothing.
    pub(super) fn none() -> Self {
        Self { read: Ok, checks: Vec::new() }
    }

    /// Reads claims into `C`; the checks made so far stay.
    pub(super) fn reading<C: DeserializeOwned + Send + Sync + 'static>(self) -> Application<C> {
        let keep = |check: Check<NoCustomClaims>| -> Check<C> { Arc::new(move |claims| check(&claims.registered())) };
        Application {
            read: |claims| {
                let custom = claims::read_custom(claims.json())?;
                Ok(claims.with_custom(Arc::new(custom)))
            },
            checks: self.checks.into_iter().map(keep).collect(),
        }
    }
}

impl<C> Application<C> {
    pub(super) fn add_check(&mut self, check: Check<C>) {
        self.checks.push(check);
    }

    /// Adds the application's own claims, and lets its checks have the last word.
    pub(super) fn admit(&self, claims: Claims) -> Result<Claims<C>, Rejection> {
        self.check((self.read)(claims).map_err(Rejection::CustomClaims)?)
    }

    /// Asks the application's checks alone, of claims that were admitted before.
    pub(super) fn check(&self, claims: Claims<C>) -> Result<Claims<C>, Rejection> {
        self.checks.iter().try_for_each(|check| check(&claims)).map_err(Rejection::Check)?;
        Ok(claims)
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
