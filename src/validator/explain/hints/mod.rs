//! Hints: what an operator should look at when a token is rejected for a common mistake.
//!
//! The log line of a rejection, [`explain`](crate::Validator::explain) and [`Validator::hint`] read one table;
//! [`Rejection::hint`] reads the rows that need the rejection alone. No hint changes a decision, and none reaches a client.

mod table;

use std::fmt::Display;
use std::time::Duration;

use self::table::{Applies, HINTS, Unverified};
use crate::claims::{ClaimError, Claims};
use crate::defaults;
use crate::keys::{Found, KeyTable, SignedToken};
use crate::rejection::{IssuerError, Rejection};
use crate::requirement::UnmetRequirement;
use crate::telemetry;
use crate::token::{Claim, UnverifiedToken};
use crate::validator::{Core, Validator};

impl Rejection {
    /// The hint for the operator, where the rejection alone shows a common mistake.
    ///
    /// It is what the log line says. Where this is `None`, the log may still have a hint that needs the token:
    /// [`Validator::hint`] returns that one, too.
    #[must_use]
    pub fn hint(&self) -> Option<&'static str> {
        find(|applies| match applies {
            Applies::Rejection(applies) => applies(self),
            Applies::Unverified(_) | Applies::Signed(_) | Applies::Accepted(_) => false,
        })
    }
}

impl<C> Validator<C> {
    /// The hint for the operator that the log line of this rejection carries: what to look at, if the cause is a common
    /// mistake. `token` is the one that was rejected.
    ///
    /// ```
    /// # use tower_bearer::testing::TestIssuer;
    /// # use tower_bearer::{Api, Issuer, Validator};
    /// # #[tokio::main(flavor = "current_thread")] async fn main() -> Result<(), Box<dyn std::error::Error>> {
    /// # let server = TestIssuer::auth0("northwind.eu.auth0.com");
    /// # let api = Api::new("https://api.northwind.com", Issuer::auth0("northwind.eu.auth0.com"));
    /// # let validator = Validator::builder(api).with_fetch(server.clone()).build()?;
    /// let token = server.token().audience("https://API.northwind.com").sign();
    /// let rejection = validator.validate(&token).await.unwrap_err();
    /// let hint = validator.hint(&token, &rejection).unwrap_or_default();
    /// assert!(hint.starts_with("aud differs from the API's by a trailing slash or by case only"), "{hint}");
    /// # Ok(()) }
    /// ```
    ///
    /// # Security
    ///
    /// For operators: it says what no client should learn.
    #[must_use]
    pub fn hint(&self, token: &str, rejection: &Rejection) -> Option<&'static str> {
        self.core.hint(token.as_bytes(), rejection)
    }
}

impl Core {
    /// Writes the log line of a rejection.
    pub(in crate::validator) fn log_rejection(&self, token: &[u8], rejection: &Rejection) {
        // Some hints read the token again; that costs nothing where nobody reads them.
        let (hint, late_by) = if telemetry::logs_rejections() {
            (self.hint(token, rejection), self.late_by(token, rejection))
        } else {
            (None, None)
        };
        let (kind, cause) = (rejection.kind().name(), rejection.cause_name());
        let mismatch: Option<&dyn Display> = match rejection {
            Rejection::CustomClaims(error) => Some(error),
            _ => None,
        };
        telemetry::rejected(kind, hint, late_by, cause, mismatch, None, rejection.signature_checked());
    }

    /// Finds the hint for a rejected token.
    pub(in crate::validator) fn hint(&self, token: &[u8], rejection: &Rejection) -> Option<&'static str> {
        rejection.hint().or_else(|| {
            let token = self.parse(token)?;
            let unverified = Unverified { core: self, header: token.header(), payload: token.payload() };
            let hint = find(|applies| match applies {
                Applies::Unverified(applies) => applies(rejection, unverified),
                Applies::Rejection(_) | Applies::Signed(_) | Applies::Accepted(_) => false,
            });
            hint.or_else(|| {
                let signed = self.signed_by_a_tenant(&token, rejection)?;
                find(|applies| match applies {
                    Applies::Signed(applies) => applies(&signed),
                    Applies::Rejection(_) | Applies::Unverified(_) | Applies::Accepted(_) => false,
                })
            })
        })
    }

    /// Verifies a token of an unknown issuer with the keys of the configured Auth0 tenants.
    ///
    /// Other servers sign for several tenants with the same keys (Entra ID, Firebase, Google): there the signature says
    /// nothing about the tenant.
    fn signed_by_a_tenant(&self, token: &UnverifiedToken<'_>, rejection: &Rejection) -> Option<SignedToken> {
        if *rejection != Rejection::Issuer(IssuerError::Unknown { near: None }) {
            return None;
        }
        let header = token.header();
        let prove = |keys: &KeyTable, _: u64| match keys.find(header.kid(), header.algorithm()) {
            Found::Keys(keys) => SignedToken::verify(token.clone(), keys).ok(),
            Found::NotForVerification | Found::Ambiguous | Found::Unknown => None,
        };
        let tenants = self.issuers.iter().filter(|issuer| issuer.is_auth0 && !header.algorithm().is_symmetric());
        tenants.filter_map(|tenant| tenant.keys.with_current(prove)).find_map(|signed| signed)
    }

    /// How long ago a token expired, if that is so short that a skewed clock may be the reason.
    fn late_by(&self, token: &[u8], rejection: &Rejection) -> Option<Duration> {
        let (Rejection::UnverifiedClaims(ClaimError::Expired) | Rejection::Claims(ClaimError::Expired)) = rejection
        else {
            return None;
        };
        let token = self.parse(token)?;
        let late_by = self.clock.now().saturating_since(crate::claims::date(token.payload(), Claim::Exp).ok()?);
        (late_by <= defaults::MAX_LEEWAY).then_some(late_by)
    }

    fn parse<'t>(&self, token: &'t [u8]) -> Option<UnverifiedToken<'t>> {
        self.check_length(token.len()).ok()?;
        UnverifiedToken::parse_with_known_header(token, |_| None).ok()
    }
}

/// Finds the hint for a requirement that is not met.
pub(crate) fn hint_of_unmet(unmet: &UnmetRequirement, claims: &Claims) -> Option<&'static str> {
    find(|applies| match applies {
        Applies::Accepted(applies) => applies(unmet, claims),
        Applies::Rejection(_) | Applies::Unverified(_) | Applies::Signed(_) => false,
    })
}

/// The first row that applies.
fn find(applies: impl Fn(&Applies) -> bool) -> Option<&'static str> {
    HINTS.iter().find(|hint| applies(&hint.applies)).map(|hint| hint.text)
}

#[cfg(test)]
mod tests;
