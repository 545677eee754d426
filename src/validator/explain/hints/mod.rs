//! Hints for operators: the likely cause of a rejection that comes from a common mistake.
//!
//! The log line of a rejection, [`explain`](crate::Validator::explain) and [`Validator::hint`] use the same table;
//! [`Rejection::hint`] uses only the rows that need nothing but the rejection. No hint changes a decision or reaches a client.

mod audience;
mod entra;
mod introspection;
mod requirement;
mod table;
mod tenants;

use std::fmt::Display;
use std::time::Duration;

use self::table::{Condition, HINTS, Hint, Unverified};
use crate::claims::{ClaimError, Claims};
use crate::defaults;
use crate::dpop::ProofError;
use crate::introspection::IntrospectionRejection;
use crate::keys::{Found, KeyTable, SignedToken};
use crate::rejection::{IssuerError, Rejection};
use crate::request::NearMiss;
use crate::requirement::{RequirementError, UnmetRequirement};
use crate::telemetry;
use crate::token::{Claim, TokenError, UnverifiedToken};
use crate::validator::{Core, Validator};

impl Rejection {
    /// Returns the hint for the operator, if the rejection alone shows a common mistake.
    ///
    /// The log line contains the same hint. If this is `None`, the log may still have a hint that depends on the token;
    /// [`Validator::hint`] returns that one, too.
    #[must_use]
    pub fn hint(&self) -> Option<&'static str> {
        find(|applies| match applies {
            Condition::Rejection(applies) => applies(self),
            Condition::Unverified(_) | Condition::Signed(_) | Condition::Accepted(_) => false,
        })
    }
}

impl<C> Validator<C> {
    /// Returns the hint for the operator that the log line of this rejection contains, if the cause is a common mistake.
    /// `token` is the token that was rejected.
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
    /// assert!(hint.starts_with("aud differs from the API's audience only in a trailing slash or in case"), "{hint}");
    /// # Ok(()) }
    /// ```
    ///
    /// # Security
    ///
    /// For operators only: a hint contains details that a client must not see.
    #[must_use]
    pub fn hint(&self, token: &str, rejection: &Rejection) -> Option<&'static str> {
        self.core.hint(token.as_bytes(), rejection)
    }
}

impl Core {
    /// Writes the log line of a rejection.
    pub(in crate::validator) fn log_rejection(&self, token: &[u8], rejection: &Rejection) {
        // Some hints parse the token again, so they are only looked up if the log is enabled.
        let (hint, late_by) = if telemetry::logs_rejections() {
            (self.hint(token, rejection), self.late_by(token, rejection))
        } else {
            (None, None)
        };
        let (kind, cause) = (rejection.kind().name(), rejection.cause_name());
        let proof = rejection.proof_error();
        let near_miss = proof.and_then(ProofError::near_miss).map(NearMiss::name);
        let by = match rejection {
            Rejection::Revoked { by } => Some(by.name()),
            _ => None,
        };
        let (times, words) =
            ([late_by, proof.and_then(ProofError::off_by)], [cause, proof.map(ProofError::name), near_miss, by]);
        let mismatch: Option<&dyn Display> = match rejection {
            Rejection::CustomClaims(error) => Some(error),
            _ => None,
        };
        telemetry::rejected(kind, hint, times, words, mismatch, None, rejection.signature_checked());
    }

    /// Finds the hint for a rejected token.
    pub(in crate::validator) fn hint(&self, token: &[u8], rejection: &Rejection) -> Option<&'static str> {
        if *rejection == Rejection::Introspection(IntrospectionRejection::Inactive) {
            let mut clients = self.issuers.iter().filter_map(|issuer| issuer.introspection.as_ref());
            return clients
                .any(|client| client.has_only_negative_answers())
                .then_some(introspection::ONLY_NEGATIVE_ANSWERS);
        }
        if *rejection == Rejection::Token(TokenError::NotAJwt) && self.counts_as_jwt(token) {
            return Some(introspection::COUNTS_AS_JWT);
        }
        rejection.hint().or_else(|| {
            let token = self.parse(token)?;
            let unverified = Unverified { core: self, header: token.header(), payload: token.payload() };
            let hint = find(|applies| match applies {
                Condition::Unverified(applies) => applies(rejection, unverified),
                Condition::Rejection(_) | Condition::Signed(_) | Condition::Accepted(_) => false,
            });
            hint.or_else(|| {
                let signed = self.signed_by_a_tenant(&token, rejection)?;
                find(|applies| match applies {
                    Condition::Signed(applies) => applies(&signed),
                    Condition::Rejection(_) | Condition::Unverified(_) | Condition::Accepted(_) => false,
                })
            })
        })
    }

    /// Verifies a token of an unknown issuer with the keys of the configured Auth0 tenants.
    ///
    /// Other servers (Entra ID, Firebase, Google) sign for several tenants with the same keys, so that the signature does not
    /// identify the tenant.
    fn signed_by_a_tenant(&self, token: &UnverifiedToken<'_>, rejection: &Rejection) -> Option<SignedToken> {
        if *rejection != Rejection::Issuer(IssuerError::Unknown { difference: None }) {
            return None;
        }
        let header = token.header();
        let verify = |keys: &KeyTable, _| match keys.find(header.key_id(), header.algorithm()) {
            Found::Keys(keys) => SignedToken::verify(token.clone(), keys).ok(),
            Found::NotForVerification | Found::Ambiguous | Found::Unknown => None,
        };
        let tenants = self.issuers.iter().filter(|issuer| issuer.is_auth0 && !header.algorithm().is_symmetric());
        tenants.filter_map(|tenant| tenant.keys.with_usable_keys(verify)).find_map(|signed| signed)
    }

    /// Returns how long ago a token expired, if the time is so short that clock skew may be the reason.
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
pub(crate) fn hint_for_error(error: &RequirementError) -> Option<&'static str> {
    hint_for_unmet(error.unmet()?, error.claims())
}

pub(in crate::validator) fn hint_for_unmet(unmet: &UnmetRequirement, claims: &Claims) -> Option<&'static str> {
    find(|applies| match applies {
        Condition::Accepted(applies) => applies(unmet, claims),
        Condition::Rejection(_) | Condition::Unverified(_) | Condition::Signed(_) => false,
    })
}

/// Returns the first row that applies.
fn find(applies: impl Fn(&Condition) -> bool) -> Option<&'static str> {
    all().find(|hint| applies(&hint.condition)).map(|hint| hint.text)
}

/// Returns all rows. If several apply, the first is used.
fn all() -> impl Iterator<Item = &'static Hint> {
    HINTS
        .iter()
        .chain(audience::HINTS)
        .chain(entra::HINTS)
        .chain(introspection::HINTS)
        .chain(requirement::HINTS)
        .chain(tenants::HINTS)
}

#[cfg(test)]
mod tests;
