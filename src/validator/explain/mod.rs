//! `explain`: the checks of the pipeline in their order, collecting instead of stopping.

pub(super) mod explanation;
pub(super) mod hints;

use std::ops::ControlFlow;

use http::Request;

use crate::claims::{Check, CheckInput, ClaimError, Claims, Profile};
use crate::clock::Timestamp;
use crate::jwks::KeySource;
use crate::keys::SignedToken;
use crate::rejection::{IssuerError, Rejection};
use crate::request::Host;
use crate::request::RequestHead;
use crate::token::{Claim, UnverifiedToken};
use crate::validator::context::RequestContext;
use crate::validator::explain::explanation::{Accepted, Explanation, Finding, Outcome};
use crate::validator::routing::Route;
use crate::validator::{Core, IssuerState, Validator};

impl<C: Send + Sync + 'static> Validator<C> {
    /// Explains what becomes of a token: every check with its outcome, what was expected, and what to change.
    ///
    /// It makes the same checks as [`validate`](Self::validate), from the same table, and goes on after a failure as far as
    /// that makes sense. It writes no log line. It may wait for keys as a request would.
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
    /// For operators: it tells what no client should learn.
    pub async fn explain(&self, token: &str) -> Explanation {
        self.explain_under(token, &RequestContext::default()).await
    }

    /// The same for a token that came with a request for `host`, as [`validate_for`](Self::validate_for).
    pub async fn explain_for(&self, token: &str, host: &str) -> Explanation {
        match Host::parse(host) {
            Ok(host) => {
                let request = Request::new(());
                let context = self.context(&RequestHead::with_host(&request, Some(host)));
                self.explain_under(token, &context).await
            }
            Err(error) => {
                let rejection = Rejection::Host(error);
                let hint = rejection.hint();
                Explanation::new(vec![Finding::failed("host", rejection, hint)], None)
            }
        }
    }

    /// The same for a token that came with a request, as [`validate_request`](Self::validate_request).
    pub async fn explain_request(&self, token: &str, request: &RequestHead<'_>) -> Explanation {
        let context = self.context(request);
        self.explain_under(token, &context).await
    }

    async fn explain_under(&self, token: &str, context: &RequestContext) -> Explanation {
        let mut report = Report { core: &self.core, token, findings: Vec::new() };
        let Some(parsed) = report.form() else { return report.abandon(STAGES) };
        let route = report.issuer(&parsed, context);
        let issuer = route.and_then(|route| self.core.issuers.get(route.issuer));
        let trusted = report.algorithm(&parsed, issuer);
        let name = route
            .map_or_else(|| parsed.payload().text(Claim::Iss).ok().unwrap_or_default(), |route| route.label.name());
        let claims = report.evaluate(&parsed, name);
        report.claims(&parsed, &claims, Early::Yes);
        let signed = report.signature(&parsed, trusted).await;
        report.claims(&parsed, &claims, Early::No);
        report.request(&parsed, context);
        let accepted = self.explain_application(&mut report, signed);
        Explanation::new(report.findings, accepted)
    }

    fn explain_application(&self, report: &mut Report<'_>, signed: Option<SignedToken>) -> Option<Accepted> {
        let good = report.findings.iter().all(|finding| finding.outcome() != Outcome::Failed);
        let Some(signed) = signed.filter(|_| good) else {
            report.findings.push(Finding::skipped(APPLICATION));
            return None;
        };
        let (header, payload, _) = signed.into_parts();
        let outcome = self.application.admit(Claims::verified(header, payload));
        let claims = outcome.as_ref().ok().map(Claims::registered);
        let mismatch = match &outcome {
            Err(Rejection::CustomClaims(error)) => Some(error.to_string()),
            _ => None,
        };
        report.add(APPLICATION, outcome.map(|_| ()), |finding| finding.finding(mismatch.as_deref()));
        Some(Accepted { claims: claims?, now: self.core.clock.now(), leeway: self.core.rules.leeway })
    }
}

/// Findings in the making.
struct Report<'r> {
    core: &'r Core,
    token: &'r str,
    findings: Vec<Finding>,
}

/// Whether a check is made before the signature.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Early {
    Yes,
    No,
}

type Judged = Vec<(&'static Check, Result<(), ClaimError>)>;

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

    fn abandon(mut self, stages: &[&'static str]) -> Explanation {
        self.findings.extend(stages.iter().map(|stage| Finding::skipped(stage)));
        Explanation::new(self.findings, None)
    }

    fn form(&mut self) -> Option<UnverifiedToken<'r>> {
        let (length, limit) = (self.token.len(), self.core.max_token_bytes);
        let size = self.core.check_length(length);
        let check_organization = size.is_ok();
        self.add("size", size, |finding| {
            finding.expecting(format!("at most {limit} octets")).finding(Some(&format!("{length} octets")))
        });
        if !check_organization {
            return None;
        }
        let parsed = UnverifiedToken::parse(self.token);
        let outcome = parsed.as_ref().map(|_| ()).map_err(|error| Rejection::Token(*error));
        self.add("form", outcome, |finding| finding.expecting("a signed JWT: header.payload.signature"));
        parsed.ok()
    }

    fn issuer(&mut self, parsed: &UnverifiedToken<'_>, context: &RequestContext) -> Option<Route<'r>> {
        let core = self.core;
        let route = core.routes.find(parsed.payload(), &core.hosts, context.host.as_ref());
        let mut known: Vec<&str> = core.routes.names().collect();
        known.sort_unstable();
        let mut expected = known.join(" or ");
        if let Some(bound) = context.host.as_ref().and_then(|host| core.hosts.issuer_for(host)) {
            expected = format!("{bound} under this host");
        } else if matches!(route, Err(IssuerError::UnknownHost)) {
            expected = format!("a request for {}", core.hosts.hosts().collect::<Vec<_>>().join(" or "));
        }
        let outcome = route.map(|_| ()).map_err(Rejection::Issuer);
        self.add("iss", outcome, |finding| finding.expecting(expected).finding(parsed.payload().raw(Claim::Iss)));
        // Under the wrong host, the issuer's keys still tell whether the token is genuine.
        route.ok().or_else(|| core.routes.find(parsed.payload(), &Default::default(), None).ok())
    }

    fn algorithm(&mut self, parsed: &UnverifiedToken<'_>, issuer: Option<&'r IssuerState>) -> Option<&'r IssuerState> {
        let algorithm = parsed.header().algorithm();
        let listed = |issuer: &&IssuerState| issuer.algorithms.contains(&algorithm);
        let outcome = match issuer {
            Some(issuer) if !listed(&issuer) => Err(Rejection::Algorithm { algorithm }),
            Some(_) => Ok(()),
            // Even a stranger's algorithm can tell what is amiss.
            None if self.core.issuers.iter().any(|issuer| listed(&issuer)) => {
                self.findings.push(Finding::skipped("alg").finding(Some(algorithm.name())));
                return None;
            }
            None => Err(Rejection::Algorithm { algorithm }),
        };
        let issuers = issuer.map_or(&*self.core.issuers, std::slice::from_ref);
        let names: Vec<&str> = issuers.iter().flat_map(|issuer| &issuer.algorithms).map(|one| one.name()).collect();
        self.add("alg", outcome, |finding| finding.expecting(names.join(" or ")).finding(Some(algorithm.name())));
        issuer.filter(listed)
    }

    /// Makes the whole table of checks, collecting.
    fn evaluate(&self, parsed: &UnverifiedToken<'_>, issuer: &str) -> Judged {
        let now = self.core.clock.now();
        let input = CheckInput { header: parsed.header(), payload: parsed.payload(), issuer, now };
        let mut outcomes = Vec::new();
        self.core.rules.evaluate(input, &mut |check, outcome| {
            outcomes.push((check, outcome));
            ControlFlow::Continue(())
        });
        outcomes
    }

    fn claims(&mut self, parsed: &UnverifiedToken<'_>, judged: &Judged, early: Early) {
        let now = self.core.clock.now();
        // `iss` was judged where it chose the issuer.
        let made = judged.iter().filter(|(check, _)| check.cheap == (early == Early::Yes) && check.name != "iss");
        for (check, outcome) in made {
            let refuse = if early == Early::Yes { Rejection::UnverifiedClaims } else { Rejection::Claims };
            let outcome = outcome.clone().map_err(refuse);
            let core = self.core;
            self.add(check.name, outcome, |finding| core.describe(finding, parsed, now));
        }
    }

    async fn signature(&mut self, parsed: &UnverifiedToken<'_>, trusted: Option<&IssuerState>) -> Option<SignedToken> {
        let Some(issuer) = trusted else {
            self.findings.extend([Finding::skipped("key"), Finding::skipped("signature")]);
            return None;
        };
        let header = parsed.header();
        let proof = match issuer.keys.for_token(header.kid(), header.algorithm()).await {
            Ok((table, epoch)) => issuer.prove(parsed.clone(), &table, epoch),
            Err(rejection) => Err(rejection),
        };
        let kid = header.kid().map(str::to_owned);
        match proof {
            Ok(proof) => {
                self.findings.push(Finding::passed("key").finding(kid.as_deref()));
                self.findings.push(Finding::passed("signature"));
                Some(proof.token)
            }
            Err(Rejection::Signature) => {
                self.findings.push(Finding::passed("key").finding(kid.as_deref()));
                self.add("signature", Err(Rejection::Signature), |finding| finding);
                None
            }
            Err(rejection @ Rejection::KeysUnavailable { .. }) => {
                let expected = issuer.with_skipped_keys("the issuer's keys");
                self.add("key", Err(rejection), |finding| finding.expecting(expected));
                self.findings.push(Finding::skipped("signature"));
                None
            }
            Err(rejection) => {
                let expected = issuer.with_skipped_keys("a key of this kid and algorithm among the issuer's");
                self.add("key", Err(rejection), |finding| finding.expecting(expected).finding(kid.as_deref()));
                self.findings.push(Finding::skipped("signature"));
                None
            }
        }
    }

    /// What the application says of the request.
    fn request(&mut self, parsed: &UnverifiedToken<'_>, context: &RequestContext) {
        if self.core.organization_of.is_some() {
            let outcome = self.core.check_organization(parsed.payload(), context);
            self.add("organization of the request", outcome, |finding| match &context.organization {
                None => finding.expecting("a request that is about an organization"),
                Some(organization) => {
                    let (claim, expected) = organization.expected();
                    finding.finding(parsed.payload().raw(claim)).expecting(format!("{} {expected}", claim.name()))
                }
            });
        }
    }
}

impl Core {
    /// Says what a check of the table expects, and what it found.
    fn describe(&self, finding: Finding, parsed: &UnverifiedToken<'_>, now: Timestamp) -> Finding {
        let rules = &self.rules;
        let payload = parsed.payload();
        let raw = |claim| payload.raw(claim);
        let date = |claim| dated(raw(claim), crate::claims::date(payload, claim).ok(), now);
        match finding.check() {
            "typ" => finding.finding(parsed.header().typ()).expecting(match rules.profile {
                Profile::Any => "no typ, JWT or at+jwt",
                Profile::Auth0 => "JWT",
                Profile::Rfc9068 => "at+jwt",
            }),
            "aud" => finding.finding(raw(Claim::Aud)).expecting(rules.audiences.join(" or ")),
            "exp" => finding.finding(date(Claim::Exp).as_deref()).expecting("a time to come"),
            "nbf" => finding.finding(date(Claim::Nbf).as_deref()).expecting("a time that has come"),
            "iat" => finding.finding(date(Claim::Iat).as_deref()),
            "sub" => finding.finding(raw(Claim::Sub)).expecting("a string"),
            "jti" => finding.finding(raw(Claim::Jti)).expecting("a string"),
            "required claims" if !rules.required.is_empty() => finding.expecting(rules.required.join(", ")),
            "cnf" => finding.finding(raw(Claim::Cnf)).expecting("no cnf"),
            "client" if !rules.clients.is_empty() => {
                finding.finding(raw(Claim::ClientId).or(raw(Claim::Azp))).expecting(rules.clients.join(" or "))
            }
            "organization" => match rules.organizations.expected() {
                None => finding.finding(raw(Claim::OrgId).or(raw(Claim::OrgName))),
                Some((claim, expected)) => {
                    finding.finding(raw(claim)).expecting(format!("{} {expected}", claim.name()))
                }
            },
            _ => finding,
        }
    }
}

impl IssuerState {
    /// Adds to what is expected of the issuer's keys why keys of its last set may not verify.
    fn with_skipped_keys(&self, expected: &str) -> String {
        let skipped = self.keys.source().map(KeySource::skipped_keys).unwrap_or_default();
        let listed = skipped.iter().take(MOST_SKIPPED_KEYS);
        let mut reasons: Vec<_> = listed.map(|key| format!("key {}: {}", key.position(), key.reason())).collect();
        let others = skipped.len().saturating_sub(MOST_SKIPPED_KEYS);
        if others > 0 {
            reasons.push(format!("and {others} more"));
        }
        if reasons.is_empty() { expected.to_owned() } else { format!("{expected}; skipped: {}", reasons.join(", ")) }
    }
}

/// A date as it stands in the token, and how far it is from now.
fn dated(raw: Option<&str>, date: Option<Timestamp>, now: Timestamp) -> Option<String> {
    let raw = raw?;
    Some(match date {
        None => raw.to_owned(),
        Some(date) if date > now => format!("{raw}, in {} s", date.saturating_since(now).as_secs()),
        Some(date) => format!("{raw}, {} s ago", now.saturating_since(date).as_secs()),
    })
}

/// Real sets hold ten keys or fewer.
const MOST_SKIPPED_KEYS: usize = 10;

const APPLICATION: &str = "application";

const STAGES: &[&str] = &["iss", "alg", "key", "signature", "claims", APPLICATION];
