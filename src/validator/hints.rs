//! Hints: what an operator should look at when a token is refused for a common slip.
//!
//! The log line of a refusal and [`explain`](crate::Validator::explain) say the same. No hint changes a verdict, and none
//! reaches a client.

use std::fmt;
use std::time::Duration;

use crate::claims::{Audience, ClaimError, Claims, Fault, Profile};
use crate::clock::Timestamp;
use crate::defaults;
use crate::guard::Unmet;
use crate::keys::{Found, KeyTable};
use crate::rejection::{ID_TOKEN, IssuerError, KeyNotFound, NearMiss, Rejection};
use crate::telemetry;
use crate::token::{Algorithm, Claim, Member, Payload, UnverifiedToken};
use crate::validator::Core;

/// A fixed text, and for a token that is late by little, by how much.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Hint {
    text: &'static str,
    late_by: Option<Duration>,
}

impl Core {
    /// Tells the log of a refusal.
    pub(super) fn note(&self, token: &[u8], rejection: &Rejection) {
        // Some hints need another look at the token; nobody pays for those that nobody reads.
        let hint = if telemetry::rejections_are_read() { self.hint(token, rejection) } else { None };
        let (text, late_by) = hint.map_or((None, None), |hint| (Some(hint.text), hint.late_by));
        let (kind, cause) = (rejection.kind().name(), rejection.cause_name());
        let mismatch: Option<&dyn fmt::Display> = match rejection {
            Rejection::CustomClaims(error) => Some(error),
            _ => None,
        };
        telemetry::rejected(kind, text, late_by, cause, mismatch, None, rejection.signature_checked());
    }

    /// What the operator should look at, if the cause looks like a common slip.
    pub(super) fn hint(&self, token: &[u8], rejection: &Rejection) -> Option<Hint> {
        let readable = token.len() <= self.max_token_bytes;
        let parsed = readable.then(|| UnverifiedToken::parse_knowing(token, |_| None).ok()).flatten();
        let seen = parsed.as_ref().and_then(|token| self.seen(token, rejection));
        seen.or_else(|| rejection.hint().map(Hint::from))
    }

    /// What only the token and the configuration together tell.
    fn seen(&self, token: &UnverifiedToken<'_>, rejection: &Rejection) -> Option<Hint> {
        let payload = token.payload();
        match rejection {
            Rejection::Issuer(IssuerError::Unknown { near }) => {
                self.other_domain(token, payload.text(Claim::Iss).ok()?, *near).map(Hint::from)
            }
            Rejection::Algorithm { algorithm } => self.other_algorithm(*algorithm).map(Hint::from),
            Rejection::UnverifiedClaims(error) | Rejection::Claims(error) => match error {
                ClaimError::Audience(fault) => self.other_audience(payload, *fault).map(Hint::from),
                ClaimError::Expired => late(payload, self.clock.now()),
                ClaimError::Expiry(Fault::Malformed) => not_in_seconds(payload, Claim::Exp).map(Hint::from),
                ClaimError::NotBefore => not_in_seconds(payload, Claim::Nbf).map(Hint::from),
                ClaimError::IssuedAt(Fault::Malformed) => not_in_seconds(payload, Claim::Iat).map(Hint::from),
                ClaimError::NotYetValid => Some(Hint::from("not valid yet: clock skew?")),
                ClaimError::TokenType => Some(Hint::from("the API's profile does not take this typ")),
                _ => None,
            },
            Rejection::Key(KeyNotFound::Unknown { .. }) => {
                Some(Hint::from("the issuer does not publish this key: a token of another tenant or environment?"))
            }
            _ => None,
        }
    }

    fn other_domain(&self, token: &UnverifiedToken<'_>, claimed: &str, near: Option<NearMiss>) -> Option<&'static str> {
        if near == Some(NearMiss::TrailingSlash) {
            let lacks = !claimed.ends_with('/');
            return Some(if lacks { "iss lacks the trailing slash" } else { "iss has a trailing slash too many" });
        }
        if near.is_some() {
            return None;
        }
        let canonical = is_canonical(claimed);
        let header = token.header();
        let knows_key = |table: &KeyTable, _: u64| {
            header.kid().is_some() && matches!(table.find(header.kid(), header.algorithm()), Found::Keys(_))
        };
        // The same key means the same tenant, whatever its domain is called.
        let same_tenant = self.issuers.iter().any(|issuer| issuer.keys.at_hand(knows_key) == Some(true));
        let custom_only = !self.routes.names().any(is_canonical);
        match (canonical, same_tenant) {
            (true, true) => Some(CANONICAL),
            (true, false) if custom_only => Some(CANONICAL),
            (false, true) => Some("issued by another domain of a configured tenant: add it as custom domain"),
            (_, false) => None,
        }
    }

    fn other_algorithm(&self, algorithm: Algorithm) -> Option<&'static str> {
        let listed = |symmetric: bool| {
            self.issuers.iter().flat_map(|issuer| &issuer.algorithms).any(|listed| listed.is_symmetric() == symmetric)
        };
        let lists = |one: Algorithm| self.issuers.iter().any(|issuer| issuer.algorithms.contains(&one));
        match (algorithm, algorithm.is_symmetric()) {
            (Algorithm::HS256, true) if !listed(true) && lists(Algorithm::RS256) => {
                Some("HS256 token at an RS256 API: change the API at the issuer")
            }
            (Algorithm::RS256, false) if !listed(false) && lists(Algorithm::HS256) => {
                Some("RS256 token at an HS256 API: use the issuer's public keys instead")
            }
            (_, true) if !listed(true) => Some("token signed with a secret, at an API of public keys"),
            (_, false) if !listed(false) => Some("token signed with a private key, at an API of a shared secret"),
            _ => Some("the issuer's list of algorithms lacks the token's"),
        }
    }

    fn other_audience(&self, payload: &Payload, fault: Fault) -> Option<&'static str> {
        if is_id_token(payload) {
            return Some(ID_TOKEN);
        }
        // Under RFC 9068 no client stands in for `aud`.
        let may_lack = fault == Fault::Missing && self.rules.profile != Profile::Rfc9068;
        if may_lack && !self.rules.clients.is_empty() {
            return Some("no aud: then token_use has to be access, and client_id one of the API's clients");
        }
        if may_lack && payload.text(Claim::TokenUse) == Member::Is("access") {
            return Some("no aud: for tokens of Cognito configure with_client_ids");
        }
        let audience = Audience::of(payload);
        let bare = |text: &str| text.trim_end_matches('/').to_ascii_lowercase();
        if audience.iter().any(|theirs| self.rules.audiences.iter().any(|ours| bare(&theirs) == bare(ours))) {
            return Some("aud differs from the API's by a trailing slash or by case only");
        }
        audience.iter().any(|theirs| theirs.ends_with("/api/v2/")).then_some("a token for Auth0's Management API")
    }
}

impl From<&'static str> for Hint {
    fn from(text: &'static str) -> Self {
        Self { text, late_by: None }
    }
}

impl fmt::Display for Hint {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.late_by {
            None => f.write_str(self.text),
            Some(by) => write!(f, "expired {} s ago: clock skew?", by.as_secs()),
        }
    }
}

/// The usual slip: Auth0 grants users permissions and machines scopes.
pub(super) fn of_unmet(unmet: &Unmet, claims: &Claims) -> Option<&'static str> {
    match unmet {
        Unmet::Scope { missing, .. } if claims.permissions().contains(missing) => {
            Some("the token has a permission of that name: ask for `scope_or_permission`")
        }
        Unmet::Permission { missing, .. } if claims.scopes().contains(missing) => {
            Some("the token has a scope of that name: ask for `scope_or_permission`")
        }
        Unmet::Authentication { max_age: Some(_), .. } => not_in_seconds(claims.payload(), Claim::AuthTime),
        _ => None,
    }
}

/// Numbers of this size are times between 2001 and 2286, and no date before the year 10,000 if they count seconds.
fn not_in_seconds(payload: &Payload, claim: Claim) -> Option<&'static str> {
    match payload.raw(claim)?.parse::<f64>().ok()? {
        1e12..1e13 => Some("the date is in milliseconds: a NumericDate is in seconds (RFC 7519 §2)"),
        1e15..1e16 => Some("the date is in microseconds: a NumericDate is in seconds (RFC 7519 §2)"),
        _ => None,
    }
}

fn late(payload: &Payload, now: Timestamp) -> Option<Hint> {
    let by = now.saturating_since(crate::claims::date(payload, Claim::Exp).ok()?);
    let little = by <= defaults::MAX_LEEWAY;
    little.then_some(Hint { text: "expired a moment ago: clock skew?", late_by: Some(by) })
}

/// The marks that refuse an ID token, and the one that only shows it: its audience is the client.
fn is_id_token(payload: &Payload) -> bool {
    let says = |claim, text| payload.text(claim) == Member::Is(text);
    let marks = [Claim::AtHash, Claim::CHash, Claim::Nonce];
    let for_client = payload.text(Claim::Azp).ok().or(payload.text(Claim::ClientId).ok());
    marks.iter().any(|claim| payload.raw(*claim).is_some())
        || says(Claim::TokenUse, "id")
        || says(Claim::Typ, "ID")
        || for_client.is_some_and(|client| Audience::of(payload).contains(client))
}

fn is_canonical(issuer: &str) -> bool {
    issuer.trim_end_matches('/').ends_with(".auth0.com")
}

const CANONICAL: &str = "issued by the canonical domain, configured is the custom one";
