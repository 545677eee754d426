//! `Challenges`: the value of `WWW-Authenticate` for each rejection (RFC 6750 §3, RFC 9470 §3, RFC 9728 §5.1).

use std::fmt;
use std::sync::Arc;

use http::{HeaderValue, StatusCode};

use crate::defaults;
use crate::dpop::ProofError;
use crate::introspection::IntrospectionRejection;
use crate::mutual_tls::CertificateError;
use crate::rejection::{PossessionError, Rejection};
use crate::request::Scheme;
use crate::request::credential::UsedSchemes;
use crate::requirement::{UnmetRequirement, is_scope_token};
use crate::response::error_text::{
    ErrorText, INSUFFICIENT_AUTHENTICATION, INSUFFICIENT_SCOPE, INVALID_DPOP_PROOF, INVALID_KEY_BINDING,
    INVALID_REQUEST, INVALID_TOKEN, USE_DPOP_NONCE,
};
use crate::response::parts::ErrorParts;

/// The configured parameters of the challenges of a layer. A clone is cheap.
#[derive(Clone, Debug, Default)]
pub(crate) struct Challenges {
    realm: Option<Arc<str>>,
    /// The scopes that a token needs. Only the challenge for a request without credential contains them.
    scope: Option<Arc<str>>,
    /// The URL of the resource metadata (RFC 9728 §5.1).
    resource_metadata: Option<Arc<str>>,
    /// The schemes that the API accepts.
    accepted: AcceptedSchemes,
    /// The schemes of the request's credentials, whose challenge has the error.
    used: UsedSchemes,
    /// Formatted once, when a setting changes; `None` if nothing is configured or the scopes are those of a route.
    prewritten: Option<Arc<PrewrittenChallenges>>,
}

/// The schemes that an API accepts.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct AcceptedSchemes {
    pub(crate) bearer: BearerScheme,
    pub(crate) dpop: DpopScheme,
}

/// The tokens that an API accepts under the scheme `Bearer`.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) enum BearerScheme {
    #[default]
    Unbound,
    /// Certificate-bound tokens, perhaps also unbound ones.
    CertificateBound,
    Rejected,
}

/// Whether an API accepts the scheme `DPoP`.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) enum DpopScheme {
    #[default]
    Rejected,
    /// With the names of the algorithms of proofs, separated by spaces.
    WithProof(Arc<str>),
    /// Only for certificate-bound tokens without proof.
    WithoutProof,
}

/// The challenges that are the same for every request, already formatted.
#[derive(Debug)]
struct PrewrittenChallenges {
    /// The challenge for a request without credential.
    without_error: HeaderValue,
    /// For a request with a bearer token.
    invalid_request: HeaderValue,
    invalid_token: HeaderValue,
    /// For a request under the scheme `DPoP`.
    dpop_errors: Vec<(ErrorText, Others, HeaderValue)>,
}

impl Challenges {
    /// Sets the realm, the protection space (RFC 9110 §11.5).
    pub(crate) fn with_realm(mut self, realm: &str) -> Result<Self, ChallengeError> {
        if !realm.bytes().all(|byte| matches!(byte, b' '..=b'~')) {
            return Err(ChallengeError::Realm);
        }
        self.realm = Some(Arc::from(realm));
        Ok(self.prewrite())
    }

    /// Sets the scopes that a token needs, space-delimited.
    pub(crate) fn with_scope(mut self, scope: &str) -> Result<Self, ChallengeError> {
        if !scope.split(' ').all(is_scope_token) {
            return Err(ChallengeError::Scope);
        }
        self.scope = Some(Arc::from(scope));
        Ok(self.prewrite())
    }

    /// Sets the URL of the resource metadata. The caller has validated it.
    pub(crate) fn with_resource_metadata(mut self, url: &str) -> Self {
        self.resource_metadata = Some(Arc::from(url));
        self.prewrite()
    }

    /// Sets the schemes that the API accepts.
    pub(crate) fn with_accepted(mut self, accepted: AcceptedSchemes) -> Self {
        self.accepted = accepted;
        if self.is_default() { self } else { self.prewrite() }
    }

    /// Sets the schemes of the request's credentials. The challenge of this scheme has the error.
    pub(crate) fn for_request(mut self, used: UsedSchemes) -> Self {
        self.used = used;
        self
    }

    /// Replaces the scopes by those of a route. An empty `scope` changes nothing.
    pub(crate) fn with_route_scope(mut self, scope: Arc<str>) -> Self {
        if !scope.is_empty() {
            self.scope = Some(scope);
            self.prewritten = None;
        }
        self
    }

    /// Returns whether nothing is configured.
    pub(crate) fn is_default(&self) -> bool {
        let Self { realm, scope, resource_metadata, accepted, used: _, prewritten: _ } = self;
        realm.is_none() && scope.is_none() && resource_metadata.is_none() && *accepted == AcceptedSchemes::default()
    }

    /// Returns the response to a rejected request.
    pub(crate) fn error_parts(&self, rejection: &Rejection) -> ErrorParts {
        match rejection {
            Rejection::NoCredential => {
                let challenge = self.prewritten_or(SCHEME, |prewritten| &prewritten.without_error, Self::without_error);
                ErrorParts::with_challenge(StatusCode::UNAUTHORIZED, None, challenge)
            }
            Rejection::Credential(_) | Rejection::Host(_) => {
                let challenge = self.prewritten_or(
                    PLAIN_INVALID_REQUEST,
                    |prewritten| &prewritten.invalid_request,
                    Self::invalid_request,
                );
                ErrorParts::with_challenge(StatusCode::BAD_REQUEST, Some(INVALID_REQUEST), challenge)
            }
            Rejection::Issuer(error) if error.is_unavailable() => ErrorParts::unavailable(defaults::RETRY_AFTER_MIN),
            Rejection::Token(_)
            | Rejection::Issuer(_)
            | Rejection::Algorithm { .. }
            | Rejection::UnverifiedClaims(_)
            | Rejection::Key(_)
            | Rejection::Signature
            | Rejection::Claims(_)
            | Rejection::CustomClaims(_)
            | Rejection::Revoked { .. }
            | Rejection::Introspection(
                IntrospectionRejection::Inactive | IntrospectionRejection::Contradicted { .. },
            )
            | Rejection::Check(_) => {
                let challenge = self.prewritten_or(
                    PLAIN_INVALID_TOKEN,
                    |prewritten| &prewritten.invalid_token,
                    Self::invalid_token,
                );
                ErrorParts::with_challenge(StatusCode::UNAUTHORIZED, Some(INVALID_TOKEN), challenge)
            }
            Rejection::Possession(error) => self.possession_parts(*error),
            Rejection::Requirement(UnmetRequirement::SenderConstraint { .. }) => self.unconstrained(),
            Rejection::Requirement(unmet @ UnmetRequirement::Authentication { acr_values, max_age, .. }) => {
                let max_age = max_age.map(|age| age.as_secs().to_string());
                let challenge = self.list(self.used, Others::Listed, |challenge| {
                    challenge
                        .with("error", INSUFFICIENT_AUTHENTICATION.code)
                        .with_optional("acr_values", acr_values.as_deref())
                        .with_optional("max_age", max_age.as_deref())
                        .with_optional("scope", unmet.scope())
                });
                ErrorParts::with_challenge(StatusCode::UNAUTHORIZED, Some(INSUFFICIENT_AUTHENTICATION), challenge)
            }
            Rejection::Requirement(unmet) => {
                let challenge = self.list(self.used, Others::Listed, |challenge| {
                    challenge.with("error", INSUFFICIENT_SCOPE.code).with_optional("scope", unmet.scope())
                });
                ErrorParts::with_challenge(StatusCode::FORBIDDEN, Some(INSUFFICIENT_SCOPE), challenge)
            }
            Rejection::RequirementUnavailable { retry_after }
            | Rejection::RevocationsUnavailable { retry_after }
            | Rejection::KeysUnavailable { retry_after, .. }
            | Rejection::Introspection(IntrospectionRejection::Unavailable { retry_after, .. }) => {
                ErrorParts::unavailable(*retry_after)
            }
        }
    }

    /// Returns the response to a request that does not prove possession.
    fn possession_parts(&self, error: PossessionError) -> ErrorParts {
        match error {
            PossessionError::Certificate(CertificateError::Header(_)) => {
                ErrorParts::with_challenge(StatusCode::BAD_REQUEST, Some(INVALID_REQUEST), self.invalid_request())
            }
            PossessionError::BearerScheme | PossessionError::NoDpop | PossessionError::Certificate(_) => {
                ErrorParts::with_challenge(StatusCode::UNAUTHORIZED, Some(INVALID_TOKEN), self.invalid_token())
            }
            // Where proofs are accepted, one is missing.
            PossessionError::CertificateUnderDpop if matches!(self.accepted.dpop, DpopScheme::WithProof(_)) => {
                self.dpop_error(INVALID_DPOP_PROOF, Others::Listed)
            }
            PossessionError::NotBound | PossessionError::CertificateUnderDpop => {
                self.dpop_error(INVALID_TOKEN, Others::Listed)
            }
            PossessionError::Unconstrained => self.unconstrained(),
            // RFC 9449 §9. Clients find this error only if the challenge is alone.
            PossessionError::Proof(ProofError::Nonce(_)) => self.dpop_error(USE_DPOP_NONCE, Others::Omitted),
            PossessionError::Proof(ProofError::OtherKey) => self.dpop_error(INVALID_KEY_BINDING, Others::Listed),
            PossessionError::Proof(_) => self.dpop_error(INVALID_DPOP_PROOF, Others::Listed),
            PossessionError::ReplayStore { retry_after, .. } => ErrorParts::unavailable(retry_after),
        }
    }

    /// Returns the formatted challenge, or formats it for this request.
    fn prewritten_or(
        &self,
        plain: &'static str,
        select: impl FnOnce(&PrewrittenChallenges) -> &HeaderValue,
        write: impl FnOnce(&Self) -> HeaderValue,
    ) -> HeaderValue {
        match &self.prewritten {
            Some(prewritten) if self.used == UsedSchemes::Bearer => select(prewritten).clone(),
            None if self.is_default() => HeaderValue::from_static(plain),
            Some(_) | None => write(self),
        }
    }

    // RFC 6750 §3.1: a request without credential gets no error code.
    fn without_error(&self) -> HeaderValue {
        // `Bearer` is first, because some clients read the metadata URL only from a field that begins with it.
        let challenges = self.accepted().map(|scheme| self.plain(scheme));
        into_value(&challenges.collect::<Vec<_>>())
    }

    fn invalid_request(&self) -> HeaderValue {
        self.list(self.used, Others::Listed, |challenge| challenge.with("error", INVALID_REQUEST.code))
    }

    fn invalid_token(&self) -> HeaderValue {
        self.list(self.used, Others::Listed, |challenge| challenge.with_error(INVALID_TOKEN))
    }

    /// Returns the response to a bearer token where a bound token is needed. A certificate-bound token is sent under `Bearer` (RFC 8705
    /// §3), so this scheme is listed only if the API accepts certificates. The error is that of `DPoP`, because an unbound token does not
    /// say which of the two its client can use.
    fn unconstrained(&self) -> ErrorParts {
        self.dpop_error(
            INVALID_TOKEN,
            match self.accepted.bearer {
                BearerScheme::CertificateBound => Others::Listed,
                BearerScheme::Unbound | BearerScheme::Rejected => Others::Omitted,
            },
        )
    }

    /// Returns the response with an error of the scheme `DPoP`.
    fn dpop_error(&self, error: ErrorText, others: Others) -> ErrorParts {
        let prewritten = self.prewritten.iter().flat_map(|prewritten| &prewritten.dpop_errors);
        let known = { prewritten }.find(|(known, with, _)| *known == error && *with == others);
        let challenge =
            known.map_or_else(|| self.dpop_challenges(error, others), |(_, _, challenge)| challenge.clone());
        ErrorParts::with_challenge(StatusCode::UNAUTHORIZED, Some(error), challenge)
    }

    fn dpop_challenges(&self, error: ErrorText, others: Others) -> HeaderValue {
        self.list(UsedSchemes::Dpop, others, |challenge| challenge.with_error(error))
    }

    /// Formats the challenges of one field: first those with the error, then those of the other schemes without it.
    fn list(&self, used: UsedSchemes, others: Others, error: impl Fn(Challenge) -> Challenge) -> HeaderValue {
        let used = match (self.accepted.bearer, used) {
            // Where bearer tokens are rejected, the only challenge has the error.
            (BearerScheme::Rejected, _) => &[Scheme::Dpop][..],
            (_, UsedSchemes::Bearer) => &[Scheme::Bearer],
            (_, UsedSchemes::Dpop) => &[Scheme::Dpop],
            (_, UsedSchemes::Both) => &[Scheme::Bearer, Scheme::Dpop],
        };
        let with_error = used.iter().map(|scheme| self.finish(*scheme, error(self.start(*scheme))));
        let without = self.accepted().filter(|scheme| others == Others::Listed && !used.contains(scheme));
        into_value(&with_error.chain(without.map(|scheme| self.plain(scheme))).collect::<Vec<_>>())
    }

    /// Returns the accepted schemes in their order in a field.
    fn accepted(&self) -> impl Iterator<Item = Scheme> {
        let AcceptedSchemes { bearer, dpop } = &self.accepted;
        let bearer = (*bearer != BearerScheme::Rejected).then_some(Scheme::Bearer);
        let dpop = (*dpop != DpopScheme::Rejected).then_some(Scheme::Dpop);
        bearer.into_iter().chain(dpop)
    }

    /// Formats a challenge without an error.
    fn plain(&self, scheme: Scheme) -> String {
        self.finish(scheme, self.start(scheme).with_optional("scope", self.scope.as_deref()))
    }

    fn start(&self, scheme: Scheme) -> Challenge {
        Challenge { text: String::from(scheme.name()), scheme }.with_optional("realm", self.realm.as_deref())
    }

    // RFC 9728 §5.1: `resource_metadata` is in every challenge, with and without an error code. RFC 9449 §7.1: `algs` is in every
    // challenge of DPoP.
    fn finish(&self, scheme: Scheme, challenge: Challenge) -> String {
        let algorithms = match &self.accepted.dpop {
            DpopScheme::WithProof(algorithms) => Some(&**algorithms),
            DpopScheme::WithoutProof | DpopScheme::Rejected => None,
        };
        challenge
            .with_optional("algs", algorithms.filter(|_| scheme == Scheme::Dpop))
            .with_optional("resource_metadata", self.resource_metadata.as_deref())
            .text
    }

    fn prewrite(mut self) -> Self {
        let (without_error, invalid_request, invalid_token) =
            (self.without_error(), self.invalid_request(), self.invalid_token());
        let dpop_errors = match self.accepted.dpop {
            DpopScheme::Rejected => Vec::new(),
            DpopScheme::WithProof(_) | DpopScheme::WithoutProof => {
                let errors = [
                    (INVALID_DPOP_PROOF, Others::Listed),
                    (INVALID_KEY_BINDING, Others::Listed),
                    (INVALID_TOKEN, Others::Listed),
                    (INVALID_TOKEN, Others::Omitted),
                    (USE_DPOP_NONCE, Others::Omitted),
                ];
                errors.map(|(error, others)| (error, others, self.dpop_challenges(error, others))).into()
            }
        };
        let prewritten = PrewrittenChallenges { without_error, invalid_request, invalid_token, dpop_errors };
        self.prewritten = Some(Arc::new(prewritten));
        self
    }
}

/// Whether a field lists the schemes that the request has not used.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Others {
    Listed,
    Omitted,
}

/// Joins the challenges of one field (RFC 9110 §11.6.1).
fn into_value(challenges: &[String]) -> HeaderValue {
    // Every value has been validated as printable ASCII. Otherwise, a scheme alone is still a valid challenge.
    HeaderValue::try_from(challenges.join(", ")).unwrap_or(HeaderValue::from_static(SCHEME))
}

/// Compares the parameters, not whether the challenges are already formatted.
impl PartialEq for Challenges {
    fn eq(&self, other: &Self) -> bool {
        let Self { realm, scope, resource_metadata, accepted, used, prewritten: _ } = self;
        (realm, scope, resource_metadata, accepted, used)
            == (&other.realm, &other.scope, &other.resource_metadata, &other.accepted, &other.used)
    }
}

impl Eq for Challenges {}

/// Builds one challenge. Each parameter is written once, as a quoted-string.
struct Challenge {
    text: String,
    scheme: Scheme,
}

impl Challenge {
    fn with(mut self, name: &str, value: &str) -> Self {
        let is_first = self.text.len() == self.scheme.name().len();
        self.text.push_str(if is_first { " " } else { ", " });
        self.text.push_str(name);
        self.text.push_str("=\"");
        for character in value.chars() {
            // RFC 9110 §5.6.4: a quoted-string escapes these two characters with a backslash.
            if matches!(character, '"' | '\\') {
                self.text.push('\\');
            }
            self.text.push(character);
        }
        self.text.push('"');
        self
    }

    fn with_error(self, error: ErrorText) -> Self {
        self.with("error", error.code).with("error_description", error.description)
    }

    fn with_optional(self, name: &str, value: Option<&str>) -> Self {
        match value {
            Some(value) => self.with(name, value),
            None => self,
        }
    }
}

/// Why a challenge cannot contain a setting.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum ChallengeError {
    /// The realm contains control characters or is not ASCII (RFC 9110 §5.6.4).
    Realm,
    /// The scope is not one or more scope-tokens with single spaces between them (RFC 6749 §3.3).
    Scope,
}

impl fmt::Display for ChallengeError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Realm => "a realm must contain only printable ASCII characters",
            Self::Scope => {
                "a scope must be one or more words of visible ASCII, without quote and backslash, with single spaces between them"
            }
        })
    }
}

impl std::error::Error for ChallengeError {}

/// The challenge of [`INVALID_REQUEST`] where nothing is configured.
const PLAIN_INVALID_REQUEST: &str = r#"Bearer error="invalid_request""#;

/// The challenge of [`INVALID_TOKEN`] where nothing is configured.
const PLAIN_INVALID_TOKEN: &str = concat!(
    r#"Bearer error="invalid_token", "#,
    r#"error_description="the access token is malformed, expired, or not valid here""#
);

const SCHEME: &str = Scheme::Bearer.name();

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use http::HeaderMap;
    use http::header::{RETRY_AFTER, WWW_AUTHENTICATE};

    use super::*;

    fn challenge(challenges: &Challenges, rejection: &Rejection) -> String {
        let mut headers = HeaderMap::new();
        challenges.error_parts(rejection).write_headers(&mut headers);
        headers[WWW_AUTHENTICATE].to_str().expect("ASCII").to_owned()
    }

    fn without_error(challenges: &Challenges) -> String {
        challenge(challenges, &Rejection::NoCredential)
    }

    #[test]
    fn escapes_a_realm() {
        let challenges = Challenges::default().with_realm(r#"the "inner\outer" shop"#).expect("printable");
        assert_eq!(without_error(&challenges), r#"Bearer realm="the \"inner\\outer\" shop""#);
        assert_eq!(
            without_error(&Challenges::default().with_realm("").expect("empty is allowed")),
            r#"Bearer realm="""#
        );
    }

    #[test]
    fn formats_the_same_challenges_once_and_per_request() {
        let fixed_challenges = |challenges: &Challenges| {
            let fixed = [
                Rejection::NoCredential,
                Rejection::Credential(crate::request::CredentialError::Malformed),
                Rejection::Signature,
            ];
            fixed.map(|rejection| challenge(challenges, &rejection))
        };
        let invalid_token = format!(r#"error="invalid_token", error_description="{}""#, INVALID_TOKEN.description);
        let plain = fixed_challenges(&Challenges::default());
        assert_eq!(plain, ["Bearer", r#"Bearer error="invalid_request""#, &format!("Bearer {invalid_token}")]);
        assert_eq!(plain, fixed_challenges(&Challenges::default().prewrite()));
        let configured = Challenges::default()
            .with_resource_metadata("https://a.example/x")
            .with_realm("shop")
            .and_then(|challenges| challenges.with_scope("read"))
            .expect("printable");
        let start = r#"Bearer realm="shop", "#;
        let end = r#", resource_metadata="https://a.example/x""#;
        let expected = [
            format!(r#"{start}scope="read"{end}"#),
            format!(r#"{start}error="invalid_request"{end}"#),
            format!("{start}{invalid_token}{end}"),
        ];
        assert_eq!(fixed_challenges(&configured), expected);
        // With the scopes of a route, the challenges are formatted for the request. Only the scopes differ.
        let [without_error, invalid_request, invalid_token] = expected;
        let for_route = fixed_challenges(&configured.with_route_scope(Arc::from("admin")));
        assert_eq!(for_route, [without_error.replace("read", "admin"), invalid_request, invalid_token]);
    }

    #[test]
    fn rejects_a_realm_that_a_header_cannot_contain() {
        for realm in ["a\r\nSet-Cookie: b", "a\tb", "a\0", "a\x7f", "é"] {
            assert_eq!(Challenges::default().with_realm(realm), Err(ChallengeError::Realm), "{realm:?}");
        }
    }

    #[test]
    fn accepts_scope_tokens_with_single_spaces_only() {
        let challenges = Challenges::default().with_scope("read:orders write:orders").expect("a scope");
        assert_eq!(without_error(&challenges), r#"Bearer scope="read:orders write:orders""#);
        assert_eq!(without_error(&challenges.clone().with_route_scope(Arc::from("admin"))), r#"Bearer scope="admin""#);
        assert_eq!(without_error(&challenges.clone().with_route_scope(Arc::from(""))), without_error(&challenges));
        for scope in ["", " a", "a ", "a  b", "a\"b", "a\\b", "é", "a\tb"] {
            assert_eq!(Challenges::default().with_scope(scope), Err(ChallengeError::Scope), "{scope:?}");
        }
    }

    #[test]
    fn rounds_retry_after_up_to_at_least_one_second() {
        for (wait, seconds) in [(0, "1"), (1, "1"), (1_000, "1"), (1_001, "2"), (59_999, "60"), (60_000, "60")] {
            let retry_after = Duration::from_millis(wait);
            let rejection = Rejection::KeysUnavailable { retry_after, unavailable_for: retry_after, cause: None };
            let mut headers = HeaderMap::new();
            Challenges::default().error_parts(&rejection).write_headers(&mut headers);
            assert_eq!(headers[RETRY_AFTER], seconds, "{wait} ms");
        }
    }
}
