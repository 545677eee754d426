//! `Explanation`: a report on one token that a person can read.

use std::fmt;
use std::time::Duration;

use crate::claims::Claims;
use crate::clock::Timestamp;
use crate::rejection::Rejection;
use crate::requirement::{Requirement, UnmetRequirement};
use crate::token::Claim;
use crate::validator::explain::hints::hint_of_unmet;

/// What became of every check over one token: made by [`Validator::explain`](crate::Validator::explain).
///
/// `Display` gives it as lines of text.
///
/// # Security
///
/// It quotes the token's claims, which nobody may have verified: for the operator's eyes, never for an answer on the wire.
#[derive(Clone, Debug)]
pub struct Explanation {
    findings: Vec<Finding>,
    accepted: Option<Accepted>,
}

/// A token that is accepted, and how time was told.
#[derive(Clone, Debug)]
pub(in crate::validator) struct Accepted {
    pub(in crate::validator) claims: Claims,
    pub(in crate::validator) now: Timestamp,
    pub(in crate::validator) leeway: Duration,
}

impl Explanation {
    pub(in crate::validator) fn new(findings: Vec<Finding>, accepted: Option<Accepted>) -> Self {
        Self { findings, accepted }
    }

    /// Adds what becomes of the token at a route that asks for `requirement`, by the validator's clock and leeway. It is
    /// skipped if the token is refused anyhow.
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
            Some(Accepted { claims, now, leeway }) => match requirement.check(claims, *now, *leeway) {
                Ok(()) => Finding::passed(REQUIREMENT),
                Err(unmet) => {
                    let (hint, found) = (hint_of_unmet(&unmet, claims), found(&unmet, claims));
                    let failed = Finding::failed(REQUIREMENT, Rejection::Requirement(unmet), hint);
                    failed.finding(found.as_deref())
                }
            },
        };
        self.findings.push(finding.expecting(format!("{requirement:?}")));
        self
    }

    /// Says whether the token is accepted.
    #[must_use]
    pub fn is_accepted(&self) -> bool {
        self.rejection().is_none()
    }

    /// Why the token is refused: what [`validate`](crate::Validator::validate) answers.
    #[must_use]
    pub fn rejection(&self) -> Option<&Rejection> {
        self.findings.iter().find_map(|finding| finding.rejection.as_ref())
    }

    /// Every check, in the order in which they are made.
    #[must_use]
    pub fn findings(&self) -> &[Finding] {
        &self.findings
    }

    /// What to look at, for every check that failed and has a hint: the hints of the log, see
    /// [`Validator::hint`](crate::Validator::hint).
    pub fn hints(&self) -> impl Iterator<Item = &str> {
        self.findings.iter().filter_map(Finding::hint)
    }
}

/// What the token says of what it lacks.
fn found(unmet: &UnmetRequirement, claims: &Claims) -> Option<String> {
    let payload = claims.payload();
    let said = |names: &[Claim]| {
        let said = names.iter().filter_map(|claim| Some((claim.name(), payload.raw(*claim)?)));
        let said: Vec<_> = said.map(|(name, raw)| format!("{name} {raw}")).collect();
        (!said.is_empty()).then(|| said.join(", "))
    };
    match unmet {
        UnmetRequirement::Scope { .. } | UnmetRequirement::Permission { .. } => {
            said(&[Claim::Scope, Claim::Scp, Claim::Permissions])
        }
        UnmetRequirement::Authentication { .. } => said(&[Claim::Acr, Claim::AuthTime]),
        UnmetRequirement::Claim { claim, .. } => {
            let value = claims.raw_claim(claim);
            // Without one, the client is read from `azp`.
            let client = || if &**claim == "client_id" { said(&[Claim::Azp]) } else { None };
            value.map(str::to_owned).or_else(client)
        }
    }
}

impl fmt::Display for Explanation {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.rejection() {
            None => f.write_str("accepted")?,
            Some(rejection) => write!(f, "refused: {rejection}")?,
        }
        self.findings.iter().try_for_each(|finding| write!(f, "\n{finding}"))
    }
}

/// One check, and how it went. `Debug` shows nothing of the token.
#[derive(Clone)]
pub struct Finding {
    check: &'static str,
    outcome: Outcome,
    rejection: Option<Rejection>,
    expected: Option<String>,
    found: Option<String>,
    hint: Option<&'static str>,
}

/// How a check went.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum Outcome {
    /// It holds.
    Passed,
    /// It does not.
    Failed,
    /// It could not be made, because an earlier one failed.
    Skipped,
}

impl Finding {
    pub(in crate::validator) fn passed(check: &'static str) -> Self {
        Self { check, outcome: Outcome::Passed, rejection: None, expected: None, found: None, hint: None }
    }

    pub(in crate::validator) fn skipped(check: &'static str) -> Self {
        Self { outcome: Outcome::Skipped, ..Self::passed(check) }
    }

    pub(in crate::validator) fn failed(check: &'static str, rejection: Rejection, hint: Option<&'static str>) -> Self {
        Self { outcome: Outcome::Failed, rejection: Some(rejection), hint, ..Self::passed(check) }
    }

    pub(in crate::validator) fn expecting(mut self, expected: impl Into<String>) -> Self {
        self.expected = Some(expected.into());
        self
    }

    pub(in crate::validator) fn finding(mut self, found: Option<&str>) -> Self {
        self.found = found.map(shortened);
        self
    }

    /// The check's name: a stage of the pipeline, or the claim that it is about.
    #[must_use]
    pub fn check(&self) -> &'static str {
        self.check
    }

    /// How it went.
    #[must_use]
    pub fn outcome(&self) -> Outcome {
        self.outcome
    }

    /// What a token is refused with for this check alone.
    #[must_use]
    pub fn rejection(&self) -> Option<&Rejection> {
        self.rejection.as_ref()
    }

    /// What the configuration expects.
    #[must_use]
    pub fn expected(&self) -> Option<&str> {
        self.expected.as_deref()
    }

    /// What the token says, as it is written there; long values are cut. Where the application's own claims do not fit, the
    /// claim and the reason, without a value.
    #[must_use]
    pub fn found(&self) -> Option<&str> {
        self.found.as_deref()
    }

    /// What to look at, if the cause is a common mistake.
    #[must_use]
    pub fn hint(&self) -> Option<&str> {
        self.hint
    }
}

impl fmt::Display for Finding {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mark = match self.outcome {
            Outcome::Passed => "ok     ",
            Outcome::Failed => "FAILED ",
            Outcome::Skipped => "skipped",
        };
        write!(f, "  {mark}  {}", self.check)?;
        if let Some(rejection) = &self.rejection {
            write!(f, ": {rejection}")?;
        }
        let details = [("found", self.found()), ("expected", self.expected()), ("hint", self.hint)];
        let shown = details.into_iter().filter(|(name, _)| *name == "found" || self.outcome == Outcome::Failed);
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

/// Cuts what would fill a screen, and whatever would steer a terminal or turn the direction of its text.
fn shortened(text: &str) -> String {
    // Of what can be printed, only quotes and backslashes would be escaped.
    let is_printable = |c: char| matches!(c, '"' | '\'' | '\\') || c.escape_debug().len() == 1;
    let mut shown: String = text.chars().take(LONGEST).map(|c| if is_printable(c) { c } else { ' ' }).collect();
    if text.chars().nth(LONGEST).is_some() {
        shown.push('…');
    }
    shown
}

const LONGEST: usize = 200;

const REQUIREMENT: &str = "requirement";
