//! The part of an explanation about introspection. It introspects the token as a request does, and uses what a request would use.

use std::ops::ControlFlow;
use std::sync::Arc;

use crate::claims::Claims;
use crate::introspection::{ActiveAnswer, Answer, IntrospectionRejection, Unavailable};
use crate::rejection::{IssuerError, Rejection};
use crate::validator::Validator;
use crate::validator::context::RequestContext;
use crate::validator::explain::explanation::{Explanation, Finding};
use crate::validator::explain::{APPLICATION, Report};
use crate::validator::introspect::Obtained;
use crate::validator::introspected_jwt::compare_with_answer;

impl<C: Send + Sync + 'static> Validator<C> {
    /// Explains an opaque token, or why it is not introspected.
    pub(super) async fn explain_opaque(
        &self,
        mut report: Report<'_>,
        issuer: Result<usize, Rejection>,
        context: &RequestContext,
    ) -> Explanation {
        let token = report.token.as_bytes();
        let issuer = match issuer {
            Ok(issuer) => issuer,
            Err(rejection) => {
                let check = if let Rejection::Issuer(_) = rejection { "iss" } else { "form" };
                report.add(check, Err(rejection), |finding| finding);
                return report.skip(&[INTROSPECTION, "claims", APPLICATION]);
            }
        };
        report.findings.push(Finding::passed("form").with_found(Some("an opaque token")));
        let obtained = match self.stored_answer(issuer, token, context.host.as_ref()) {
            Some(obtained) => Ok(obtained),
            None => self.answer(issuer, token, false).await,
        };
        let Some(answer) = report.answer(obtained) else { return report.skip(&["claims", APPLICATION]) };
        let payload = answer.claims.payload();
        let route = self.core.answer_route(issuer, payload);
        if let Ok(input) = route.clone().and_then(|route| self.core.answer_input(issuer, route, payload)) {
            let core = report.core;
            core.rules.evaluate(input, &mut |check, outcome| {
                let outcome = outcome.map_err(Rejection::Claims);
                report.add(check.name, outcome, |finding| core.describe(finding, None, payload, input.now));
                ControlFlow::Continue(())
            });
        }
        // A request deserializes the custom claims when it stores the answer, before the checks of the request.
        if report.has_passed()
            && let Err(rejection) = self.application.read(answer.claims.clone())
        {
            report.application(Err(rejection));
            return Explanation::new(report.findings, None);
        }
        let route = route.ok();
        if route.is_some_and(|route| !route.allows_host(payload, &self.core.hosts, context.host.as_ref())) {
            report.add("host", Err(Rejection::Issuer(IssuerError::NotForHost)), |finding| finding);
        }
        let proven = report.possession(payload, context);
        report.request(payload, context);
        report.revocation(payload, route);
        let accepted = self.explain_application(&mut report, Some(answer.claims.clone()), proven);
        Explanation::new(report.findings, accepted)
    }

    /// Adds what the server says about a JWT, if JWTs are introspected and the token has passed the checks so far.
    /// Returns the claims that are handed on.
    pub(super) async fn explain_answer(&self, report: &mut Report<'_>, issuer: usize, claims: Claims) -> Claims {
        if !report.has_passed() {
            report.findings.push(Finding::skipped(INTROSPECTION));
            return claims;
        }
        // The application comes next, and explains why the claims cannot be read.
        if self.application.read(claims.clone()).is_err() {
            return claims;
        }
        let token = report.token.as_bytes();
        let obtained = match self.stored_answer(issuer, token, None) {
            Some(obtained) => Ok(obtained),
            None => self.answer(issuer, token, true).await,
        };
        if let Err(unavailable) = &obtained
            && self.accepts_without_answer(issuer, token, *unavailable)
        {
            let found = format!("{}; accepted without an answer", unavailable.cause);
            report.findings.push(Finding::passed(INTROSPECTION).with_found(Some(&found)));
            return claims;
        }
        let Some(answer) = report.answer(obtained) else { return claims };
        let checked = compare_with_answer(&claims, &answer);
        match checked.and_then(|()| self.core.claims_from_answer(issuer, &claims, &answer)) {
            Ok(combined) => combined.unwrap_or(claims),
            Err(rejection) => {
                let expected = "an answer with the claims of the token";
                report.add("answer", Err(rejection), |finding| {
                    finding.with_expected(expected).with_found(Some(answer.claims.json()))
                });
                claims
            }
        }
    }
}

impl Report<'_> {
    /// Adds what the server said.
    fn answer(&mut self, obtained: Result<Obtained, Unavailable>) -> Option<Arc<ActiveAnswer>> {
        let expected = "\"active\": true";
        let (rejection, found) = match obtained {
            Ok(Obtained { answer: Answer::Active(answer), .. }) => {
                self.findings.push(Finding::passed(INTROSPECTION).with_found(Some(answer.claims.json())));
                return Some(answer);
            }
            Ok(Obtained { answer: Answer::Inactive, .. }) => {
                (IntrospectionRejection::Inactive, "\"active\": false".to_owned())
            }
            Err(unavailable) => (unavailable.into(), unavailable.cause.to_string()),
        };
        self.add(INTROSPECTION, Err(Rejection::Introspection(rejection)), |finding| {
            finding.with_expected(expected).with_found(Some(&found))
        });
        None
    }
}

const INTROSPECTION: &str = "introspection";
