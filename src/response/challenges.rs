//! `Challenges`: the value of `WWW-Authenticate` for each rejection (RFC 6750 §3, RFC 9470 §3, RFC 9728 §5.1).

use std::fmt;
use std::sync::Arc;

use http::{HeaderValue, StatusCode};

use crate::rejection::Rejection;
use crate::request::Scheme;
use crate::requirement::{UnmetRequirement, is_scope_token};
use crate::response::error_text::{
    ErrorText, INSUFFICIENT_AUTHENTICATION, INSUFFICIENT_SCOPE, INVALID_REQUEST, INVALID_TOKEN,
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
    /// Formatted once, when a setting changes; `None` if nothing is configured or the scopes are those of a route.
    prewritten: Option<Arc<PrewrittenChallenges>>,
}

/// The challenges that are the same for every request, already formatted.
#[derive(Debug)]
struct PrewrittenChallenges {
    /// The challenge for a request without credential.
    without_error: HeaderValue,
    invalid_request: HeaderValue,
    invalid_token: HeaderValue,
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
        self.realm.is_none() && self.scope.is_none() && self.resource_metadata.is_none()
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
            Rejection::Token(_)
            | Rejection::Issuer(_)
            | Rejection::Algorithm { .. }
            | Rejection::UnverifiedClaims(_)
            | Rejection::Key(_)
            | Rejection::Signature
            | Rejection::Claims(_)
            | Rejection::CustomClaims(_)
            | Rejection::Check(_) => {
                let challenge = self.prewritten_or(
                    PLAIN_INVALID_TOKEN,
                    |prewritten| &prewritten.invalid_token,
                    Self::invalid_token,
                );
                ErrorParts::with_challenge(StatusCode::UNAUTHORIZED, Some(INVALID_TOKEN), challenge)
            }
            Rejection::Requirement(unmet @ UnmetRequirement::Authentication { acr_values, max_age, .. }) => {
                let max_age = max_age.map(|age| age.as_secs().to_string());
                let challenge = self
                    .with_error(INSUFFICIENT_AUTHENTICATION)
                    .with_optional("acr_values", acr_values.as_deref())
                    .with_optional("max_age", max_age.as_deref())
                    .with_optional("scope", unmet.scope());
                let challenge = self.finish(challenge).into_value();
                ErrorParts::with_challenge(StatusCode::UNAUTHORIZED, Some(INSUFFICIENT_AUTHENTICATION), challenge)
            }
            Rejection::Requirement(unmet) => {
                let challenge = self.with_error(INSUFFICIENT_SCOPE).with_optional("scope", unmet.scope());
                let challenge = self.finish(challenge).into_value();
                ErrorParts::with_challenge(StatusCode::FORBIDDEN, Some(INSUFFICIENT_SCOPE), challenge)
            }
            Rejection::KeysUnavailable { retry_after, .. } => ErrorParts::unavailable(*retry_after),
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
            Some(prewritten) => select(prewritten).clone(),
            None if self.is_default() => HeaderValue::from_static(plain),
            None => write(self),
        }
    }

    // RFC 6750 §3.1: a request without credential gets no error code.
    fn without_error(&self) -> HeaderValue {
        self.finish(self.start().with_optional("scope", self.scope.as_deref())).into_value()
    }

    fn invalid_request(&self) -> HeaderValue {
        self.finish(self.with_error(INVALID_REQUEST)).into_value()
    }

    fn invalid_token(&self) -> HeaderValue {
        let challenge = self.with_error(INVALID_TOKEN).with("error_description", INVALID_TOKEN.description);
        self.finish(challenge).into_value()
    }

    fn with_error(&self, error: ErrorText) -> Challenge {
        self.start().with("error", error.code)
    }

    // RFC 9728 §5.1: the parameter is in every challenge, with and without an error code.
    fn finish(&self, challenge: Challenge) -> Challenge {
        challenge.with_optional("resource_metadata", self.resource_metadata.as_deref())
    }

    fn prewrite(mut self) -> Self {
        let (without_error, invalid_request, invalid_token) =
            (self.without_error(), self.invalid_request(), self.invalid_token());
        self.prewritten = Some(Arc::new(PrewrittenChallenges { without_error, invalid_request, invalid_token }));
        self
    }

    fn start(&self) -> Challenge {
        Challenge(String::from(SCHEME)).with_optional("realm", self.realm.as_deref())
    }
}

/// Compares the parameters, not whether the challenges are already formatted.
impl PartialEq for Challenges {
    fn eq(&self, other: &Self) -> bool {
        let Self { realm, scope, resource_metadata, prewritten: _ } = self;
        (realm, scope, resource_metadata) == (&other.realm, &other.scope, &other.resource_metadata)
    }
}

impl Eq for Challenges {}

/// Builds a challenge of the Bearer scheme. Each parameter is written once, as a quoted-string.
struct Challenge(String);

impl Challenge {
    fn with(mut self, name: &str, value: &str) -> Self {
        self.0.push_str(if self.0.len() == SCHEME.len() { " " } else { ", " });
        self.0.push_str(name);
        self.0.push_str("=\"");
        for character in value.chars() {
            // RFC 9110 §5.6.4: a quoted-string escapes these two characters with a backslash.
            if matches!(character, '"' | '\\') {
                self.0.push('\\');
            }
            self.0.push(character);
        }
        self.0.push('"');
        self
    }

    fn with_optional(self, name: &str, value: Option<&str>) -> Self {
        match value {
            Some(value) => self.with(name, value),
            None => self,
        }
    }

    fn into_value(self) -> HeaderValue {
        // Every value has been validated as printable ASCII. Otherwise, the scheme alone is still a valid challenge.
        HeaderValue::try_from(self.0).unwrap_or(HeaderValue::from_static(SCHEME))
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
