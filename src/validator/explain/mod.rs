//! `explain`: runs the checks of the validator in order and collects all outcomes.

pub(super) mod explanation;
pub(super) mod hints;
mod introspection;
mod possession;

use std::ops::ControlFlow;
use std::sync::Arc;

use crate::claims::{
    Check, CheckInput, CheckedSource, ClaimError, Claims, ConfirmationRule, Profile, ProvenConfirmation,
};
use crate::clock::Timestamp;
use crate::jwks::{KeySource, WantedKey};
use crate::keys::SignedToken;
use crate::rejection::{IssuerError, Rejection};
use crate::request::credential::Credential;
use crate::request::{Host, RequestHead, Scheme};
use crate::token::{self, Claim, Header, Payload, UnverifiedToken};
use crate::validator::context::RequestContext;
use crate::validator::explain::explanation::{Accepted, CheckOutcome, Explanation, Finding};
use crate::validator::find::Found;
use crate::validator::routing::{Route, RouteId};
use crate::validator::{Core, IssuerState, Validator};

impl<C: Send + Sync + 'static> Validator<C> {
    /// Explains why a token is accepted or rejected: returns each check with its outcome, the expected value, and a hint.
    ///
    /// The checks and their order are the same as those of [`validate`](Self::validate). After a failed check, the checks that
    /// do not depend on it still run. This method does not log the rejection, and the metrics do not count it as a validation.
    /// It may wait for keys, as a request does; an unknown `kid` is then logged and counted.
    ///
    /// ```
    /// use tower_bearer::testing::TestIssuer;
    /// use tower_bearer::{Api, Issuer, Validator};
    ///
    /// # #[tokio::main(flavor = "current_thread")] async fn main() -> Result<(), Box<dyn std::error::Error>> {
    /// let server = TestIssuer::auth0("northwind.eu.auth0.com");
    /// let api = Api::new("https://api.northwind.com", Issuer::auth0("northwind.eu.auth0.com"));
    /// let validator = Validator::builder(api).with_fetch(server.clone()).build()?;
    ///
    /// let token = server.token().audience("https://api.northwind.com").issuer("https://northwind.eu.auth0.com").sign();
    /// let explanation = validator.explain(&token).await;
    /// assert!(!explanation.is_accepted());
    /// assert_eq!(explanation.hints().next(), Some("iss lacks the trailing slash"));
    /// # Ok(()) }
    /// ```
    ///
    /// # Security
    ///
    /// An explanation is for operators only. It contains details that a client must not see.
    pub async fn explain(&self, token: &str) -> Explanation {
        self.explain_with_context(token, &RequestContext::default()).await
    }

    /// Explains a token of a request to `host`, as [`validate_for_host`](Self::validate_for_host) validates it.
    pub async fn explain_for_host(&self, token: &str, host: &str) -> Explanation {
        let context = Host::parse(host).map_err(Rejection::Host).and_then(|host| self.context_for_host(host));
        self.explain_in_context(token, context).await
    }

    /// Explains a token of a request, as [`validate_request`](Self::validate_request) validates it.
    pub async fn explain_request(&self, token: &str, request: &RequestHead<'_>) -> Explanation {
        self.explain_in_context(token, self.context_of_caller(request)).await
    }

    async fn explain_in_context(&self, token: &str, context: Result<RequestContext, Rejection>) -> Explanation {
        match context {
            Ok(context) => self.explain_with_context(token, &context).await,
            Err(rejection) => {
                let (check, found, expected) = match &rejection {
                    Rejection::Host(_) => ("host", None, None),
                    Rejection::NoCredential => ("scheme", Some(Scheme::Dpop.name()), Some(BEARER_ONLY)),
                    Rejection::Credential(_) => ("scheme", None, Some("one Authorization header")),
                    _ => ("proof form", None, None),
                };
                let hint = rejection.hint();
                let finding = Finding::failed(check, rejection, hint).with_found(found);
                let finding = expected.into_iter().fold(finding, Finding::with_expected);
                Explanation::new(vec![finding], None)
            }
        }
    }

    async fn explain_with_context(&self, token: &str, context: &RequestContext) -> Explanation {
        let mut report = Report { core: &self.core, token, findings: Vec::new() };
        if !report.size() {
            return report.skip(STAGES);
        }
        if let Some(issuer) = self.core.opaque_issuer(&Credential::Text(token), context).transpose() {
            return self.explain_opaque(report, issuer, context).await;
        }
        let Some(parsed) = report.parse() else { return report.skip(STAGES) };
        let resolved = self.resolve_issuer(&parsed).await;
        let id = report.issuer(&parsed, context, resolved);
        let route = id.as_ref().and_then(|id| self.core.route(id));
        let issuer = route.and_then(|route| self.core.issuer_of(route));
        let trusted = report.algorithm(&parsed, issuer);
        let claimed = parsed.payload().text(Claim::Iss).ok().unwrap_or_default();
        let name = route.map_or(claimed, |route| route.issuer_name(parsed.payload()));
        let claims = report.check_claims(&parsed, name);
        report.claims(&parsed, &claims, Phase::BeforeSignature);
        let signed = report.signature(&parsed, trusted).await;
        report.claims(&parsed, &claims, Phase::AfterSignature);
        let proven = report.possession(parsed.payload(), context);
        report.request(parsed.payload(), context);
        report.revocation(parsed.payload(), route);
        let claims = signed.map(|signed| {
            let (header, payload, thumbprint) = signed.into_parts();
            Claims::verified(header, payload, Some(thumbprint), Arc::clone(&self.core.claims_settings))
        });
        let introspected = route.and_then(|route| self.core.issuer_introspecting_jwts(&route.id()));
        let claims = match (claims, introspected) {
            (Some(claims), Some(issuer)) => Some(self.explain_answer(&mut report, issuer, claims).await),
            (claims, _) => claims,
        };
        let accepted = self.explain_application(&mut report, claims, proven);
        Explanation::new(report.findings, accepted)
    }

    /// Looks the issuer up, as a request does.
    async fn resolve_issuer(&self, parsed: &UnverifiedToken<'_>) -> Result<(), Rejection> {
        match self.core.find_ignoring_host(parsed.payload(), parsed.header().algorithm()) {
            Ok(Found::Unresolved(pending)) => self.core.resolve(&pending).await,
            Ok(Found::Known(_)) | Err(_) => Ok(()),
        }
    }

    fn explain_application(
        &self,
        report: &mut Report<'_>,
        claims: Option<Claims>,
        proven: ProvenConfirmation,
    ) -> Option<Accepted> {
        let Some(claims) = claims.filter(|_| report.has_passed()) else {
            report.findings.push(Finding::skipped(APPLICATION));
            return None;
        };
        let outcome = self.application.read(claims).map(|claims| claims.with_proven(proven));
        let outcome = outcome.and_then(|claims| self.application.check(&claims).map(|()| claims));
        let claims = outcome.as_ref().ok().map(Claims::registered);
        report.application(outcome.map(drop));
        let claims = claims?;
        let implied: Vec<String> =
            claims.implied_scopes().map(|(implied, scope)| format!("{implied} (by {scope})")).collect();
        if !implied.is_empty() {
            report.findings.push(Finding::passed("implied scopes").with_found(Some(&implied.join(", "))));
        }
        Some(Accepted { claims, now: self.core.clock.now() })
    }
}

/// Collects the findings for one token.
struct Report<'r> {
    core: &'r Core,
    token: &'r str,
    findings: Vec<Finding>,
}

/// Whether a check runs before or after the signature check.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Phase {
    BeforeSignature,
    AfterSignature,
}

type CheckOutcomes = Vec<(&'static Check, Result<(), ClaimError>)>;

impl<'r> Report<'r> {
    /// Adds the outcome of a check.
    fn add(&mut self, check: &'static str, outcome: Result<(), Rejection>, describe: impl FnOnce(Finding) -> Finding) {
        let finding = match outcome {
            Ok(()) => Finding::passed(check),
            Err(rejection) => {
                let hint = self.core.hint(self.token.as_bytes(), &rejection);
                Finding::failed(check, rejection, hint)
            }
        };
        self.findings.push(describe(finding));
    }

    /// Returns whether no check has failed.
    fn has_passed(&self) -> bool {
        self.findings.iter().all(|finding| finding.outcome() != CheckOutcome::Failed)
    }

    /// Adds the outcome of the part of the application.
    fn application(&mut self, outcome: Result<(), Rejection>) {
        let mismatch = match &outcome {
            Err(Rejection::CustomClaims(error)) => Some(error.to_string()),
            _ => None,
        };
        self.add(APPLICATION, outcome, |finding| finding.with_found(mismatch.as_deref()));
    }

    fn skip(mut self, stages: &[&'static str]) -> Explanation {
        self.findings.extend(stages.iter().map(|stage| Finding::skipped(stage)));
        Explanation::new(self.findings, None)
    }

    fn size(&mut self) -> bool {
        let (length, limit) = (self.token.len(), self.core.max_token_bytes);
        let size = self.core.check_length(length);
        let is_within_limit = size.is_ok();
        self.add("size", size, |finding| {
            finding.with_expected(format!("at most {limit} bytes")).with_found(Some(&format!("{length} bytes")))
        });
        is_within_limit
    }

    fn parse(&mut self) -> Option<UnverifiedToken<'r>> {
        let parsed = UnverifiedToken::parse(self.token);
        let outcome = parsed.as_ref().map(|_| ()).map_err(|error| Rejection::Token(*error));
        let counts_as_jwt = outcome.is_err() && self.core.counts_as_jwt(self.token.as_bytes());
        let found = counts_as_jwt
            .then_some("a first segment that is a JSON object: the text counts as a JWT and is not introspected");
        let expected = "a signed JWT: header.payload.signature";
        self.add("form", outcome, |finding| finding.with_expected(expected).with_found(found));
        parsed.ok()
    }

    /// Checks `iss` and the host. Returns the route of the trusted `iss`, even if it is not bound to the host of the request.
    /// `resolved` is the result of looking it up.
    fn issuer(
        &mut self,
        parsed: &UnverifiedToken<'_>,
        context: &RequestContext,
        resolved: Result<(), Rejection>,
    ) -> Option<RouteId> {
        let core = self.core;
        let algorithm = parsed.header().algorithm();
        let known = |found: Result<Found, IssuerError>| found.map_err(Rejection::Issuer).and_then(Found::known);
        let found = known(core.find(parsed.payload(), algorithm, context.host.as_ref()));
        let route = resolved.and(found);
        let mut trusted: Vec<&str> = core.routes.labels().collect();
        trusted.extend(core.tenants.iter().map(|tenants| tenants.label.name()));
        trusted.sort_unstable();
        let mut expected = trusted.join(" or ");
        if let Some(bound) = context.host.as_ref().and_then(|host| core.hosts.issuer_for(host)) {
            expected = format!("{bound} under this host");
        } else if matches!(route, Err(Rejection::Issuer(IssuerError::UnknownHost))) {
            expected = format!("a request for {}", core.hosts.hosts().collect::<Vec<_>>().join(" or "));
        }
        let outcome = route.clone().map(drop);
        self.add("iss", outcome, |finding| {
            finding.with_expected(expected).with_found(parsed.payload().raw(Claim::Iss))
        });
        // The issuer's keys can verify the token even if the host is wrong.
        route.ok().or_else(|| known(core.find_ignoring_host(parsed.payload(), algorithm)).ok())
    }

    /// Checks the algorithm. Returns the issuer if the token can be verified with its keys.
    fn algorithm<'i>(
        &mut self,
        parsed: &UnverifiedToken<'_>,
        issuer: Option<&'i IssuerState>,
    ) -> Option<&'i IssuerState> {
        let algorithm = parsed.header().algorithm();
        let listed = |issuer: &&IssuerState| issuer.algorithms.contains(&algorithm);
        let outcome = match issuer {
            Some(issuer) if !listed(&issuer) => Err(Rejection::Algorithm { algorithm }),
            Some(_) => Ok(()),
            // For an unknown issuer, the algorithm fails only if no configured issuer uses it.
            None if self.core.issuers.iter().any(|issuer| listed(&issuer)) => {
                self.findings.push(Finding::skipped("alg").with_found(Some(algorithm.name())));
                return None;
            }
            None => Err(Rejection::Algorithm { algorithm }),
        };
        let names: Vec<&str> = self.core.with_issuers_of(parsed.payload(), |issuers| {
            issuers.iter().flat_map(|issuer| &issuer.algorithms).map(|one| one.name()).collect()
        });
        self.add("alg", outcome, |finding| {
            finding.with_expected(names.join(" or ")).with_found(Some(algorithm.name()))
        });
        issuer.filter(listed)
    }

    /// Runs all checks of claims and collects the outcomes.
    fn check_claims(&self, parsed: &UnverifiedToken<'_>, issuer: &str) -> CheckOutcomes {
        let now = self.core.clock.now();
        let input =
            CheckInput { source: CheckedSource::Token(parsed.header()), payload: parsed.payload(), issuer, now };
        let mut outcomes = Vec::new();
        self.core.rules.evaluate(input, &mut |check, outcome| {
            outcomes.push((check, outcome));
            ControlFlow::Continue(())
        });
        outcomes
    }

    /// Adds the outcomes of the checks of claims in one phase.
    fn claims(&mut self, parsed: &UnverifiedToken<'_>, outcomes: &CheckOutcomes, phase: Phase) {
        let now = self.core.clock.now();
        // `iss` was checked when it selected the issuer.
        let checks = outcomes
            .iter()
            .filter(|(check, _)| check.cheap == (phase == Phase::BeforeSignature) && check.name != "iss");
        for (check, outcome) in checks {
            let to_rejection =
                if phase == Phase::BeforeSignature { Rejection::UnverifiedClaims } else { Rejection::Claims };
            let outcome = outcome.clone().map_err(to_rejection);
            let core = self.core;
            let header = Some(parsed.header());
            self.add(check.name, outcome, |finding| core.describe(finding, header, parsed.payload(), now));
        }
    }

    async fn signature(&mut self, parsed: &UnverifiedToken<'_>, trusted: Option<&IssuerState>) -> Option<SignedToken> {
        let Some(issuer) = trusted else {
            self.findings.extend([Finding::skipped("key"), Finding::skipped("signature")]);
            return None;
        };
        let header = parsed.header();
        let key = WantedKey::new(header, None);
        let verified = match issuer.keys.wait_for_key(&key).await {
            Ok((table, epoch)) => issuer.verify(parsed.clone(), &table, epoch),
            Err(error) => Err(Rejection::from_key_wait(error)),
        };
        let kid = header.kid().map(str::to_owned);
        match verified {
            Ok(verified) => {
                self.findings.push(Finding::passed("key").with_found(kid.as_deref()));
                self.findings.push(Finding::passed("signature"));
                Some(verified.token)
            }
            Err(Rejection::Signature) => {
                self.findings.push(Finding::passed("key").with_found(kid.as_deref()));
                self.add("signature", Err(Rejection::Signature), |finding| finding);
                None
            }
            Err(rejection @ Rejection::KeysUnavailable { cause, .. }) => {
                let expected = issuer.with_skipped_keys("the issuer's keys");
                let cause = cause.map(|cause| cause.to_string());
                self.add("key", Err(rejection), |finding| finding.with_expected(expected).with_found(cause.as_deref()));
                self.findings.push(Finding::skipped("signature"));
                None
            }
            Err(rejection) => {
                let expected = issuer.with_skipped_keys("a key of this kid and algorithm among the issuer's");
                self.add("key", Err(rejection), |finding| finding.with_expected(expected).with_found(kid.as_deref()));
                self.findings.push(Finding::skipped("signature"));
                None
            }
        }
    }

    /// Looks the token up in the list of revocations.
    fn revocation(&mut self, payload: &Payload, route: Option<Route<'_>>) {
        let (Some(_), Some(route)) = (&self.core.revocations, route) else { return };
        let outcome = self.core.check_revocation(payload, &route.id(), self.core.clock.now());
        self.add("revocation", outcome, |finding| finding.with_expected("a token that is not revoked"));
    }

    /// Checks the organization of the request.
    fn request(&mut self, payload: &Payload, context: &RequestContext) {
        if self.core.organization_of.is_some() {
            let outcome = self.core.check_organization(payload, context);
            self.add("organization of the request", outcome, |finding| match &context.organization {
                None => finding.with_expected("a request for an organization"),
                Some(organization) => {
                    let (claim, expected) = organization.expected();
                    finding.with_found(payload.raw(claim)).with_expected(format!("{} {expected}", claim.name()))
                }
            });
        }
    }
}

impl Core {
    /// Calls `read` with the issuers that a token claims, or with all configured issuers if it claims none of them.
    fn with_issuers_of<T>(&self, payload: &Payload, read: impl FnOnce(&[&IssuerState]) -> T) -> T {
        let claimed: Vec<&IssuerState> =
            self.routes.issuers_of(payload).filter_map(|issuer| self.issuers.get(issuer)).collect();
        let name = payload.text(Claim::Iss).ok().unwrap_or_default();
        let tenant = self.tenants.iter().find_map(|tenants| tenants.live(name));
        match (&*claimed, tenant) {
            ([], Some(tenant)) => read(&[tenant.issuer()]),
            ([], None) => read(&self.issuers.iter().collect::<Vec<_>>()),
            (claimed, _) => read(claimed),
        }
    }

    /// Adds to a finding what its check expects and what the token contains.
    fn describe(&self, finding: Finding, header: Option<&Header>, payload: &Payload, now: Timestamp) -> Finding {
        let rules = &self.rules;
        let raw = |claim| payload.raw(claim);
        let date = |claim| dated(raw(claim), crate::claims::date(payload, claim).ok(), now);
        match finding.check() {
            "typ" if header.is_none() => finding.with_found(token::member(payload.json(), "token_type")),
            "typ" => {
                let profile = match rules.profile {
                    Profile::Any => "no typ, JWT or at+jwt",
                    Profile::Auth0 => "JWT",
                    Profile::Rfc9068 => "at+jwt",
                };
                let further: String = rules.token_types.iter().map(|typ| format!(" or {typ}")).collect();
                finding.with_found(header.and_then(Header::typ)).with_expected(format!("{profile}{further}"))
            }
            "aud" => finding.with_found(raw(Claim::Aud)).with_expected(rules.audiences.join(" or ")),
            "exp" => finding.with_found(date(Claim::Exp).as_deref()).with_expected("a time in the future"),
            "nbf" => finding.with_found(date(Claim::Nbf).as_deref()).with_expected("a time in the past"),
            "iat" => finding.with_found(date(Claim::Iat).as_deref()),
            "sub" => finding.with_found(raw(Claim::Sub)).with_expected("a string"),
            "jti" => finding.with_found(raw(Claim::Jti)).with_expected("a string"),
            "required claims" if !rules.required.is_empty() => finding.with_expected(rules.required.join(", ")),
            "cnf" => finding.with_found(raw(Claim::Cnf)).with_expected(match rules.confirmation {
                ConfirmationRule::Proven => "no cnf, or one with jkt or x5t#S256",
                ConfirmationRule::Rejected | ConfirmationRule::Ignored => "no cnf",
            }),
            "client" if !rules.clients.accepted.is_empty() => {
                let claim = rules.clients.claim.0.iter().map(|claim| format!("{claim} ")).collect::<String>();
                let expected = format!("{claim}{}", rules.clients.accepted.join(" or "));
                finding.with_found(rules.clients.claim.raw(payload)).with_expected(expected)
            }
            "organization" => match rules.organizations.expected() {
                None => finding.with_found(raw(Claim::OrgId).or(raw(Claim::OrgName))),
                Some((claim, expected)) => {
                    finding.with_found(raw(claim)).with_expected(format!("{} {expected}", claim.name()))
                }
            },
            _ => finding,
        }
    }
}

impl IssuerState {
    /// Adds to `expected` the keys of the issuer's last set that were skipped, with the reasons.
    fn with_skipped_keys(&self, expected: &str) -> String {
        let skipped = self.keys.source().map(KeySource::skipped_keys).unwrap_or_default();
        let listed = skipped.iter().take(MAX_LISTED_KEYS);
        let mut reasons: Vec<_> = listed.map(|key| format!("key {}: {}", key.position(), key.reason())).collect();
        let others = skipped.len().saturating_sub(MAX_LISTED_KEYS);
        if others > 0 {
            reasons.push(format!("and {others} more"));
        }
        if reasons.is_empty() { expected.to_owned() } else { format!("{expected}; skipped: {}", reasons.join(", ")) }
    }
}

/// Returns a date as the token contains it, and its distance from now.
fn dated(raw: Option<&str>, date: Option<Timestamp>, now: Timestamp) -> Option<String> {
    let raw = raw?;
    Some(match date {
        None => raw.to_owned(),
        Some(date) if date > now => format!("{raw}, in {} s", date.saturating_since(now).as_secs()),
        Some(date) => format!("{raw}, {} s ago", now.saturating_since(date).as_secs()),
    })
}

/// Most skipped keys that an explanation lists. Real key sets have ten keys or fewer.
const MAX_LISTED_KEYS: usize = 10;

const APPLICATION: &str = "application";

const BEARER_ONLY: &str = "Bearer; for DPoP, configure Api::with_dpop";

const STAGES: &[&str] = &["iss", "alg", "key", "signature", "claims", APPLICATION];
