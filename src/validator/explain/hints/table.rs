//! The table of hints.
//!
//! # Security
//!
//! Anybody can send a token and read in the documentation which hint it causes. So a hint must not lead an operator to trust
//! more because of an unverified token. Rows for an unverified token compare it only with what the configuration already
//! trusts. A hint that suggests to trust something new needs a [`SignedToken`], and an issuer whose keys sign for one tenant
//! only.

use std::ops::Range;

use crate::claims::{Audience, CheckInput, CheckedSource, ClaimError, ClaimErrorReason, Claims, Profile};
use crate::config::is_auth0_domain;
use crate::defaults;
use crate::dpop::ProofError;
use crate::keys::SignedToken;
use crate::mutual_tls::CertificateError;
use crate::rejection::{IssuerDifference, IssuerError, KeyNotFoundError, PossessionError, Rejection};
use crate::request::{CredentialError, NearMiss};
use crate::requirement::UnmetRequirement;
use crate::token::{Algorithm, Claim, Header, Member, Payload, TokenError};
use crate::validator::find::Found;
use crate::validator::{Core, IssuerState};

/// One row: a text, and the condition for it.
pub(super) struct Hint {
    pub(super) text: &'static str,
    pub(super) condition: Condition,
}

/// The condition of a row, by what it may read.
pub(super) enum Condition {
    /// The rejection alone.
    Rejection(fn(&Rejection) -> bool),
    /// The unverified token and the configuration.
    Unverified(fn(&Rejection, Unverified<'_>) -> bool),
    /// A token of an unknown issuer that a key of a configured Auth0 tenant has signed.
    Signed(fn(&SignedToken) -> bool),
    /// Claims of an accepted token that do not meet the requirement of a route.
    Accepted(fn(&UnmetRequirement, &Claims) -> bool),
}

/// An unverified token and the configuration.
#[derive(Clone, Copy)]
pub(super) struct Unverified<'u> {
    pub(super) core: &'u Core,
    pub(super) header: &'u Header,
    pub(super) payload: &'u Payload,
}

impl<'u> Unverified<'u> {
    fn lists(self, listed: impl Fn(Algorithm) -> bool) -> bool {
        let any = |issuers: &[&IssuerState]| issuers.iter().flat_map(|one| &one.algorithms).any(|one| listed(*one));
        self.core.with_issuers_of(self.payload, any)
    }

    fn lists_only(self, listed: impl Fn(Algorithm) -> bool) -> bool {
        !self.lists(|algorithm| !listed(algorithm))
    }

    /// Returns whether the token claims to come from a configured Auth0 tenant.
    fn is_from_auth0(self) -> bool {
        self.known_issuer().is_some()
            && self.core.with_issuers_of(self.payload, |issuers| issuers.iter().any(|issuer| issuer.is_auth0))
    }

    /// Returns the `iss` of the token, if it is configured.
    pub(super) fn known_issuer(self) -> Option<&'u str> {
        let found = self.core.find_ignoring_host(self.payload, self.header.algorithm());
        self.payload.text(Claim::Iss).ok().filter(|_| matches!(found, Ok(Found::Known(_))))
    }

    fn is_marked_as_id_token(self) -> bool {
        let now = self.core.clock.now();
        let input = CheckInput { source: CheckedSource::Token(self.header), payload: self.payload, issuer: "", now };
        self.core.rules.is_marked_as_id_token(input)
    }

    pub(super) fn has_audience(self, matches_audience: impl Fn(&str) -> bool) -> bool {
        Audience::new(self.payload).iter().any(|audience| matches_audience(&audience))
    }

    /// Returns whether a claim is a date that differs from now by the maximum leeway or less.
    fn is_close(self, claim: Claim) -> bool {
        let Some(date) = crate::claims::date(self.payload, claim).ok() else { return false };
        let now = self.core.clock.now();
        now.saturating_since(date).max(date.saturating_since(now)) <= defaults::MAX_LEEWAY
    }
}

/// All hints. If several apply, the first is used.
pub(super) const HINTS: &[Hint] = &[
    // The rejection alone.
    rejection(
        "the credential is not a single token: does it contain a second scheme, a comma, a quote or a space?",
        |rejection| *rejection == Rejection::Credential(CredentialError::Malformed),
    ),
    rejection("there is no token", |rejection| *rejection == Rejection::Token(TokenError::NoToken)),
    rejection("pass the token alone, without scheme and spaces", |rejection| {
        *rejection == Rejection::Token(TokenError::WhiteSpace)
    }),
    // Many servers issue opaque tokens only, and an opaque token does not show its issuer.
    rejection(
        "opaque: the client requested no audience, the server issues no JWTs, or the JWT was cut off",
        |rejection| *rejection == Rejection::Token(TokenError::NotAJwt),
    ),
    rejection("encrypted token: turn token encryption off for this API", |rejection| {
        *rejection == Rejection::Token(TokenError::Encrypted)
    }),
    rejection("iss lacks the trailing slash", |rejection| differs_by(rejection, IssuerDifference::MissingSlash)),
    rejection("iss has an extra trailing slash", |rejection| differs_by(rejection, IssuerDifference::ExtraSlash)),
    // Two tenants of one server may differ only in upper and lower case.
    rejection(
        "iss differs from a configured issuer only in upper and lower case: compare it with the issuer's discovery document",
        |rejection| differs_by(rejection, IssuerDifference::Case),
    ),
    rejection(
        "iss differs from a configured issuer only in http and https: compare it with the issuer's discovery document",
        |rejection| differs_by(rejection, IssuerDifference::Scheme),
    ),
    rejection("the token's issuer is bound to another host", |rejection| {
        *rejection == Rejection::Issuer(IssuerError::NotForHost)
    }),
    rejection(
        "no issuer is bound to the request's host; without a layer, pass the host to validate_for_host or explain_for_host",
        |rejection| *rejection == Rejection::Issuer(IssuerError::UnknownHost),
    ),
    rejection("the request's host is malformed, is present twice or contradicts the request target", |rejection| {
        matches!(rejection, Rejection::Host(_))
    }),
    rejection("the issuer does not publish this key: a token of another tenant or environment?", |rejection| {
        matches!(rejection, Rejection::Key(KeyNotFoundError::Unknown { age: Some(_) }))
    }),
    rejection("none of the configured keys has the token's kid: a token of another environment?", |rejection| {
        *rejection == Rejection::Key(KeyNotFoundError::Unknown { age: None })
    }),
    rejection(
        "no usable key: it was skipped (size, use, encoding, private key published), is for another algorithm or is revoked",
        |rejection| *rejection == Rejection::Key(KeyNotFoundError::NotForVerification),
    ),
    rejection(
        "too many keys match a token without kid: configure the issuer to write a kid into the token header",
        |rejection| *rejection == Rejection::Key(KeyNotFoundError::Ambiguous),
    ),
    unverified(
        "the token has no kid, and no key of the issuer verifies it: a token of another tenant or environment?",
        |rejection, token| *rejection == Rejection::Signature && token.header.kid().is_none(),
    ),
    rejection(
        "the API's profile does not accept this typ, or the introspection answer says that it is no access token",
        |rejection| is_claim(rejection, |error| *error == ClaimError::TokenType),
    ),
    rejection(MARKED_AS_ID_TOKEN, |rejection| is_claim(rejection, |error| matches!(error, ClaimError::IdToken { .. }))),
    rejection(
        "bound to a key: send it in Authorization under the scheme DPoP, not in a cookie; does a gateway rewrite the scheme?",
        |rejection| *rejection == Rejection::Possession(PossessionError::BearerScheme),
    ),
    rejection(
        "the token is not bound to a key: is DPoP or mutual TLS on for this client at the issuer?",
        |rejection| {
            matches!(rejection, Rejection::Possession(PossessionError::NotBound | PossessionError::Unconstrained))
        },
    ),
    rejection("bound to a certificate: send it as Bearer, or set with_bound_tokens_under_dpop_scheme", |rejection| {
        *rejection == Rejection::Possession(PossessionError::CertificateUnderDpop)
    }),
    rejection("the token is bound to a key: configure DPoP with Api::with_dpop", |rejection| {
        *rejection == Rejection::Possession(PossessionError::NoDpop)
    }),
    rejection("the token is bound to a certificate: configure its source with Api::with_mutual_tls", |rejection| {
        is_certificate(rejection, |error| error == CertificateError::NotConfigured)
    }),
    rejection(
        "no certificate: does the server or proxy request one from clients, and does the proxy send the configured header?",
        |rejection| is_certificate(rejection, |error| error == CertificateError::Missing),
    ),
    rejection("the header with the certificate is not from a trusted proxy: is its address configured?", |rejection| {
        is_certificate(rejection, |error| error == CertificateError::UntrustedPeer)
    }),
    rejection(
        "the address of the peer is unknown: the server must insert PeerAddress into the extensions of each request",
        |rejection| is_certificate(rejection, |error| error == CertificateError::UnknownPeer),
    ),
    rejection("the client has another certificate: after a renewal, it needs a new token", |rejection| {
        is_certificate(rejection, |error| error == CertificateError::Mismatch)
    }),
    rejection(
        "the proxy sends the certificate in another format than configured, or does not remove the header of clients",
        |rejection| is_certificate(rejection, |error| matches!(error, CertificateError::Header(_))),
    ),
    rejection("the request has no DPoP header: does a gateway remove it?", |rejection| {
        is_proof(rejection, |error| error == ProofError::Missing)
    }),
    rejection(
        "htu: only the scheme differs; the proxy terminates TLS: configure the URL that clients use",
        |rejection| is_near_miss(rejection, NearMiss::Scheme),
    ),
    rejection("htu: only the port differs: configure the URL that clients use", |rejection| {
        is_near_miss(rejection, NearMiss::Port)
    }),
    rejection("htu: only the host differs: configure each host under which clients reach the API", |rejection| {
        is_near_miss(rejection, NearMiss::Host)
    }),
    rejection(
        "htu has a path prefix that the public URL lacks: does a proxy remove it? Add it to the public URL",
        |rejection| is_near_miss(rejection, NearMiss::ExtraPrefix),
    ),
    rejection(
        "htu lacks the path prefix of the public URL: the client must sign the URL that it requests",
        |rejection| is_near_miss(rejection, NearMiss::MissingPrefix),
    ),
    rejection("htu: only the slash at the end differs: the client must sign the URL that it requests", |rejection| {
        is_near_miss(rejection, NearMiss::TrailingSlash)
    }),
    rejection(
        "htu: only case or percent-encoding of the path differ: the client must sign the URL that it requests",
        |rejection| is_near_miss(rejection, NearMiss::Case) || is_near_miss(rejection, NearMiss::Encoding),
    ),
    rejection("the request's host is none of the public URLs: add it, with its port", |rejection| {
        is_proof(rejection, |error| error == ProofError::UnknownHost)
    }),
    rejection(
        "the clock of the client or of this server is wrong, or the client uses a proof for too long",
        |rejection| {
            is_proof(rejection, |error| matches!(error, ProofError::IssuedInFuture { .. } | ProofError::TooOld { .. }))
        },
    ),
    rejection("a retry must carry a new proof", |rejection| is_proof(rejection, |error| error == ProofError::Replayed)),
    // The algorithm, compared with the list of the issuer that the token claims.
    unverified("HS256 token at an RS256 API: see the API's signing algorithm at the issuer", |rejection, token| {
        is_algorithm(rejection, |algorithm| algorithm == Algorithm::HS256)
            && token.lists(|listed| listed == Algorithm::RS256)
            && !token.lists(Algorithm::is_symmetric)
    }),
    unverified("RS256 token at an HS256 API: see the API's signing algorithm at the issuer", |rejection, token| {
        is_algorithm(rejection, |algorithm| algorithm == Algorithm::RS256)
            && token.lists(|listed| listed == Algorithm::HS256)
            && token.lists_only(Algorithm::is_symmetric)
    }),
    unverified("token signed with a secret, but the issuer is configured with public keys", |rejection, token| {
        is_algorithm(rejection, Algorithm::is_symmetric) && !token.lists(Algorithm::is_symmetric)
    }),
    unverified(
        "token signed with a private key, but the issuer is configured with a shared secret",
        |rejection, token| {
            is_algorithm(rejection, |algorithm| !algorithm.is_symmetric()) && token.lists_only(Algorithm::is_symmetric)
        },
    ),
    unverified("the issuer's configured algorithms do not include the token's", |rejection, _| {
        is_algorithm(rejection, |_| true)
    }),
    // The audience.
    unverified(MARKED_AS_ID_TOKEN, |rejection, token| audience(rejection).is_some() && token.is_marked_as_id_token()),
    unverified(
        "nonce, which Auth0 writes into ID tokens: the client must send the access token",
        |rejection, token| {
            audience(rejection) == Some(ClaimErrorReason::Mismatch)
                && token.is_from_auth0()
                && token.payload.raw(Claim::Nonce).is_some()
        },
    ),
    unverified(
        "no aud: without it, token_use must be access and client_id one of the API's clients",
        |rejection, token| {
            lacks_audience(rejection, token)
                && !token.core.rules.clients.accepted.is_empty()
                && token.payload.raw(Claim::TokenUse).is_some()
        },
    ),
    // The recipe first limits the tokens. The setting that accepts them is not named: an unverified token must not lead to it.
    unverified(
        "no aud: with_client_ids alone accepts only tokens with token_use (Cognito): see the recipe for tokens without aud",
        |rejection, token| lacks_audience(rejection, token) && !token.core.rules.clients.accepted.is_empty(),
    ),
    unverified(
        "no aud, as in every access token of Cognito: set the clients with with_client_ids",
        |rejection, token| {
            lacks_audience(rejection, token)
                && token.known_issuer().is_some_and(|issuer| issuer.starts_with("https://cognito-idp."))
                && token.payload.text(Claim::TokenUse) == Member::Is("access")
        },
    ),
    unverified(
        "no aud: configure the server to write it; if it cannot, set with_client_ids and see the recipe for tokens without aud",
        lacks_audience,
    ),
    unverified(
        "a token for Microsoft Graph: the client must request a scope of this API, such as api://<id>/.default",
        |rejection, token| {
            let is_for_another = audience(rejection) == Some(ClaimErrorReason::Mismatch);
            let is_unknown = *rejection == Rejection::Issuer(IssuerError::Unknown { difference: None });
            // Only Graph can verify the signature of its tokens.
            let is_invalid = *rejection == Rejection::Signature;
            (is_for_another || is_unknown || is_invalid) && token.has_audience(is_microsoft_graph)
        },
    ),
    unverified(
        "aud differs from the API's audience only in a trailing slash or in case: compare it with the API's identifier at the issuer",
        |rejection, token| {
            let bare = |text: &str| text.trim_end_matches('/').to_ascii_lowercase();
            let is_ours = |theirs: &str| token.core.rules.audiences.iter().any(|ours| bare(ours) == bare(theirs));
            audience(rejection) == Some(ClaimErrorReason::Mismatch) && token.has_audience(is_ours)
        },
    ),
    unverified("a token for Auth0's Management API", |rejection, token| {
        let tenant = token.known_issuer().filter(|_| token.is_from_auth0());
        let is_tenant = |issuer: &str| is_auth0_domain(issuer) || tenant == Some(issuer);
        audience(rejection) == Some(ClaimErrorReason::Mismatch)
            && token.has_audience(|audience| audience.strip_suffix("api/v2/").is_some_and(is_tenant))
    }),
    unverified(
        "aud is Keycloak's default, account: add an audience mapper for this API to the client",
        |rejection, token| {
            audience(rejection) == Some(ClaimErrorReason::Mismatch)
                && token.known_issuer().is_some_and(|issuer| issuer.contains("/realms/"))
                && token.has_audience(|audience| audience == "account")
        },
    ),
    unverified(
        "aud names the client and not the API: the client must request a token for the API",
        |rejection, token| {
            let client = token.payload.text(Claim::Azp).ok().or(token.payload.text(Claim::ClientId).ok());
            audience(rejection) == Some(ClaimErrorReason::Mismatch)
                && client.is_some_and(|client| token.has_audience(|audience| audience == client))
        },
    ),
    // Dates and the subject.
    unverified("expired a moment ago: clock skew?", |rejection, token| {
        is_claim(rejection, |error| *error == ClaimError::Expired) && token.is_close(Claim::Exp)
    }),
    unverified("not valid yet: clock skew?", |rejection, token| {
        is_claim(rejection, |error| *error == ClaimError::NotYetValid) && token.is_close(Claim::Nbf)
    }),
    unverified("issued in the future: clock skew?", |rejection, token| {
        is_claim(rejection, |error| *error == ClaimError::IssuedInFuture) && token.is_close(Claim::Iat)
    }),
    unverified("sub is a number, but RFC 7519 requires a string: change it at the issuer", |rejection, token| {
        let is_number = |raw: &str| raw.starts_with(|first: char| first == '-' || first.is_ascii_digit());
        is_claim(rejection, |error| *error == ClaimError::Subject)
            && token.payload.raw(Claim::Sub).is_some_and(is_number)
    }),
    unverified(IN_MILLISECONDS, |rejection, token| {
        malformed_date(rejection).is_some_and(|date| is_within(token.payload, date, MILLISECONDS))
    }),
    unverified(IN_MICROSECONDS, |rejection, token| {
        malformed_date(rejection).is_some_and(|date| is_within(token.payload, date, MICROSECONDS))
    }),
    // Another domain of a trusted tenant.
    signed("issued by the canonical domain, but the custom domain is configured", |token| {
        token.payload().text(Claim::Iss).ok().is_some_and(is_auth0_domain)
    }),
    signed("issued by another domain of a configured tenant: add it as custom domain", |token| {
        let domain =
            |issuer: &str| issuer.strip_prefix("https://")?.strip_suffix('/').map(|domain| !domain.contains('/'));
        token.payload().text(Claim::Iss).ok().and_then(domain) == Some(true)
    }),
];

pub(super) const IN_MILLISECONDS: &str = "the date is in milliseconds: a NumericDate is in seconds (RFC 7519 §2)";

pub(super) const IN_MICROSECONDS: &str = "the date is in microseconds: a NumericDate is in seconds (RFC 7519 §2)";

/// Times between 2001 and 2286 in these units. As seconds, they are after the year 10,000.
pub(super) const MILLISECONDS: Range<f64> = 1e12..1e13;
pub(super) const MICROSECONDS: Range<f64> = 1e15..1e16;

pub(super) const MARKED_AS_ID_TOKEN: &str = "marked as an ID token: the client must send the access token";

pub(super) const fn rejection(text: &'static str, applies: fn(&Rejection) -> bool) -> Hint {
    Hint { text, condition: Condition::Rejection(applies) }
}

pub(super) const fn unverified(text: &'static str, applies: fn(&Rejection, Unverified<'_>) -> bool) -> Hint {
    Hint { text, condition: Condition::Unverified(applies) }
}

const fn signed(text: &'static str, applies: fn(&SignedToken) -> bool) -> Hint {
    Hint { text, condition: Condition::Signed(applies) }
}

pub(super) const fn accepted(text: &'static str, applies: fn(&UnmetRequirement, &Claims) -> bool) -> Hint {
    Hint { text, condition: Condition::Accepted(applies) }
}

fn is_proof(rejection: &Rejection, is: impl Fn(ProofError) -> bool) -> bool {
    matches!(rejection, Rejection::Possession(PossessionError::Proof(error)) if is(*error))
}

fn is_certificate(rejection: &Rejection, is: impl Fn(CertificateError) -> bool) -> bool {
    matches!(rejection, Rejection::Possession(PossessionError::Certificate(error)) if is(*error))
}

fn is_near_miss(rejection: &Rejection, near_miss: NearMiss) -> bool {
    is_proof(rejection, |error| error == ProofError::Url { near_miss: Some(near_miss) })
}

fn differs_by(rejection: &Rejection, difference: IssuerDifference) -> bool {
    *rejection == Rejection::Issuer(IssuerError::Unknown { difference: Some(difference) })
}

pub(super) fn is_claim(rejection: &Rejection, is: impl Fn(&ClaimError) -> bool) -> bool {
    matches!(rejection, Rejection::UnverifiedClaims(error) | Rejection::Claims(error) if is(error))
}

fn is_algorithm(rejection: &Rejection, is: impl Fn(Algorithm) -> bool) -> bool {
    matches!(rejection, Rejection::Algorithm { algorithm } if is(*algorithm))
}

/// Returns the error of `aud`, if that is the reason.
pub(super) fn audience(rejection: &Rejection) -> Option<ClaimErrorReason> {
    match rejection {
        Rejection::UnverifiedClaims(ClaimError::Audience(reason)) | Rejection::Claims(ClaimError::Audience(reason)) => {
            Some(*reason)
        }
        _ => None,
    }
}

/// Returns the date claim that is not a NumericDate, if that is the reason.
fn malformed_date(rejection: &Rejection) -> Option<Claim> {
    match rejection {
        Rejection::UnverifiedClaims(error) | Rejection::Claims(error) => match error {
            ClaimError::Expiry(ClaimErrorReason::Malformed) => Some(Claim::Exp),
            ClaimError::NotBefore => Some(Claim::Nbf),
            ClaimError::IssuedAt(ClaimErrorReason::Malformed) => Some(Claim::Iat),
            _ => None,
        },
        _ => None,
    }
}

pub(super) fn is_within(payload: &Payload, date: Claim, range: Range<f64>) -> bool {
    payload.raw(date).and_then(|raw| raw.parse().ok()).is_some_and(|number| range.contains(&number))
}

/// Returns whether an audience is Microsoft Graph, by its application id or by its URL in one of the clouds.
fn is_microsoft_graph(audience: &str) -> bool {
    MICROSOFT_GRAPH.contains(&audience.trim_end_matches('/'))
}

const MICROSOFT_GRAPH: [&str; 5] = [
    "00000003-0000-0000-c000-000000000000",
    "https://graph.microsoft.com",
    "https://graph.microsoft.us",
    "https://dod-graph.microsoft.us",
    "https://microsoftgraph.chinacloudapi.cn",
];

/// Returns whether `aud` is missing and the profile allows a client id instead. RFC 9068 always requires `aud`.
fn lacks_audience(rejection: &Rejection, token: Unverified<'_>) -> bool {
    audience(rejection) == Some(ClaimErrorReason::Missing) && token.core.rules.profile != Profile::Rfc9068
}
