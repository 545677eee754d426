//! `Explanation`: a readable report on one token.

use std::fmt;

use crate::claims::Claims;
use crate::clock::Timestamp;
use crate::rejection::Rejection;
use crate::requirement::{Requirement, UnmetRequirement};
use crate::token::Claim;
use crate::validator::explain::hints::hint_for_unmet;

/// The outcome of every check of one token, as [`Validator::explain`](crate::Validator::explain) returns it.
///
/// `Display` writes one or more lines of text for each check.
///
/// # Security
///
/// An explanation quotes the token's claims, which may be unverified. It is for operators: never send it in a response.
#[derive(Clone, Debug)]
pub struct Explanation {
    findings: Vec<Finding>,
    accepted: Option<Accepted>,
}

/// The claims of an accepted token, with the time of the validation.
#[derive(Clone, Debug)]
pub(in crate::validator) struct Accepted {
    pub(in crate::validator) claims: Claims,
    pub(in crate::validator) now: Timestamp,
}

impl Explanation {
    pub(in crate::validator) fn new(findings: Vec<Finding>, accepted: Option<Accepted>) -> Self {
        Self { findings, accepted }
    }

    /// Adds the outcome of the check of `requirement`, with the validator's clock, as for a route with this requirement. If the token is
    /// already rejected, the check is skipped.
    ///
    /// ```
    /// # use tower_bearer::testing::TestIssuer;
    /// # use tower_bearer::{Api, Issuer, Requirement, Validator};
    /// # #[tokio::main(flavor = "current_thread")] async fn main() -> Result<(), Box<dyn std::error::Error>> {
    /// # let server = TestIssuer::auth0("northwind.eu.auth0.com");
    /// # let api = Api::new("https://api.northwind.com", Issuer::auth0("northwind.eu.auth0.com"));
    /// # let validator = Validator::builder(api).with_fetch(server.clone()).build()?;
    /// let token = server.token().audience("https://api.northwind.com").permissions(["write:orders"]).sign();
    /// let explanation = validator.explain(&token).await.with_requirement(&Requirement::scope("write:orders"));
    /// assert_eq!(explanation.rejection().map(ToString::to_string).as_deref(), Some("the token lacks the scope write:orders"));
    /// assert!(explanation.hints().any(|hint| hint.starts_with("the token has a permission of that name")));
    /// # Ok(()) }
    /// ```
    #[must_use]
    pub fn with_requirement(mut self, requirement: &Requirement) -> Self {
        let finding = match &self.accepted {
            None => Finding::skipped(REQUIREMENT),
            Some(Accepted { claims, now }) => match requirement.check(claims, *now) {
                Ok(()) => Finding::passed(REQUIREMENT),
                Err(unmet) => {
                    let (hint, found) = (hint_for_unmet(&unmet, claims), found(&unmet, claims));
                    let failed = Finding::failed(REQUIREMENT, Rejection::Requirement(unmet), hint);
                    failed.with_found(found.as_deref())
                }
            },
        };
        self.findings.push(finding.with_expected(requirement.to_string()));
        self
    }

    /// Returns whether the token is accepted.
    #[must_use]
    pub fn is_accepted(&self) -> bool {
        self.rejection().is_none()
    }

    /// Returns the rejection that [`validate`](crate::Validator::validate) returns for this token, if any.
    #[must_use]
    pub fn rejection(&self) -> Option<&Rejection> {
        self.findings.iter().find_map(|finding| finding.rejection.as_ref())
    }

    /// Returns all checks, in the order in which they run.
    #[must_use]
    pub fn findings(&self) -> &[Finding] {
        &self.findings
    }

    /// Returns the hints of the failed checks: the same texts as in the log; see [`Validator::hint`](crate::Validator::hint).
    pub fn hints(&self) -> impl Iterator<Item = &str> {
        self.findings.iter().filter_map(Finding::hint)
    }
}

/// Returns the claims of the token that an unmet requirement is about.
fn found(unmet: &UnmetRequirement, claims: &Claims) -> Option<String> {
    let payload = claims.payload();
    let quoted = |names: &[Claim]| {
        let present = names.iter().filter_map(|claim| Some((claim.name(), payload.raw(*claim)?)));
        let present: Vec<_> = present.map(|(name, raw)| format!("{name} {raw}")).collect();
        (!present.is_empty()).then(|| present.join(", "))
    };
    match unmet {
        UnmetRequirement::Scope { .. } | UnmetRequirement::Permission { .. } => {
            quoted(&[Claim::Scope, Claim::Scp, Claim::Permissions])
        }
        UnmetRequirement::SenderConstraint { .. } => quoted(&[Claim::Cnf]),
        UnmetRequirement::Authentication { .. } => quoted(&[Claim::Acr, Claim::AuthTime]),
        UnmetRequirement::Predicate { .. } => None,
        UnmetRequirement::Claim { claim, .. } => {
            // The whole top-level claim, also for a nested one, so that the output shows how the value is nested.
            let value = claim.names().next().and_then(|name| claims.raw_claim(name));
            // Without `client_id`, the client is read from `azp`.
            let client = || if claim.names().eq(["client_id"]) { quoted(&[Claim::Azp]) } else { None };
            value.map(str::to_owned).or_else(client)
        }
    }
}

impl fmt::Display for Explanation {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.rejection() {
            None => f.write_str("accepted")?,
            Some(rejection) => write!(f, "rejected: {rejection}")?,
        }
        self.findings.iter().try_for_each(|finding| write!(f, "\n{finding}"))
    }
}

/// One check and its outcome. `Debug` shows no part of the token.
#[derive(Clone)]
pub struct Finding {
    check: &'static str,
    outcome: CheckOutcome,
    rejection: Option<Rejection>,
    expected: Option<String>,
    found: Option<String>,
    hint: Option<&'static str>,
}

/// The outcome of a check.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum CheckOutcome {
    /// The check passed.
    Passed,
    /// The check failed.
    Failed,
    /// The check did not run: an earlier one failed, or it is `proof jti`, because an explanation neither records a proof nor looks
    /// one up.
    Skipped,
}

impl Finding {
    pub(in crate::validator) fn passed(check: &'static str) -> Self {
        Self { check, outcome: CheckOutcome::Passed, rejection: None, expected: None, found: None, hint: None }
    }

    pub(in crate::validator) fn skipped(check: &'static str) -> Self {
        Self { outcome: CheckOutcome::Skipped, ..Self::passed(check) }
    }

    pub(in crate::validator) fn failed(check: &'static str, rejection: Rejection, hint: Option<&'static str>) -> Self {
        Self { outcome: CheckOutcome::Failed, rejection: Some(rejection), hint, ..Self::passed(check) }
    }

    pub(in crate::validator) fn with_expected(mut self, expected: impl Into<String>) -> Self {
        self.expected = Some(expected.into());
        self
    }

    pub(in crate::validator) fn with_found(mut self, found: Option<&str>) -> Self {
        self.found = found.map(truncated);
        self
    }

    /// Returns the name of the check, for example `signature`, or the name of the claim that is checked, for example `aud`.
    #[must_use]
    pub fn check(&self) -> &'static str {
        self.check
    }

    /// Returns the outcome.
    #[must_use]
    pub fn outcome(&self) -> CheckOutcome {
        self.outcome
    }

    /// Returns the rejection that this check causes if it is the first to fail; `None` if the check did not fail.
    #[must_use]
    pub fn rejection(&self) -> Option<&Rejection> {
        self.rejection.as_ref()
    }

    /// Returns what the configuration expects.
    #[must_use]
    pub fn expected(&self) -> Option<&str> {
        self.expected.as_deref()
    }

    /// Returns what the token contains, exactly as it is written in the token. Long values are truncated. For custom claims
    /// that do not match their type, returns the name of the claim and the reason, without a value. For keys that are not
    /// available, returns why.
    #[must_use]
    pub fn found(&self) -> Option<&str> {
        self.found.as_deref()
    }

    /// Returns a hint for the operator, if the cause is a common mistake.
    #[must_use]
    pub fn hint(&self) -> Option<&str> {
        self.hint
    }
}

impl fmt::Display for Finding {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mark = match self.outcome {
            CheckOutcome::Passed => "ok     ",
            CheckOutcome::Failed => "FAILED ",
            CheckOutcome::Skipped => "skipped",
        };
        write!(f, "  {mark}  {}", self.check)?;
        if let Some(rejection) = &self.rejection {
            write!(f, ": {rejection}")?;
        }
        let details = [("found", self.found()), ("expected", self.expected()), ("hint", self.hint)];
        let shown = details.into_iter().filter(|(name, _)| *name == "found" || self.outcome == CheckOutcome::Failed);
        for (name, text) in shown {
            if let Some(text) = text {
                write!(f, "\n             {name}: {text}")?;
            }
        }
        Ok(())
    }
}

impl fmt::Debug for Finding {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Finding").field("check", &self.check).field("outcome", &self.outcome).finish_non_exhaustive()
    }
}

/// Truncates long text, and replaces characters that control a terminal or the direction of text.
fn truncated(text: &str) -> String {
    // `escape_debug` escapes quotes and backslashes, which are printable.
    let is_printable = |c: char| matches!(c, '"' | '\'' | '\\') || c.escape_debug().len() == 1;
    let mut shown: String = text.chars().take(MAX_CHARS).map(|c| if is_printable(c) { c } else { ' ' }).collect();
    if text.chars().nth(MAX_CHARS).is_some() {
        shown.push('…');
    }
    shown
}

const MAX_CHARS: usize = 200;

const REQUIREMENT: &str = "requirement";
