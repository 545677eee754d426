//! Verdict to answer: status, `WWW-Authenticate` and error text (RFC 6750 §3, RFC 9470 §3).
//!
//! The only file that knows HTTP statuses. Nothing of a token reaches an answer: its texts are fixed here or come from
//! the configuration. Every fault of a token looks the same to the client, so that no answer helps to forge one; the
//! log, the metric and [`Rejection::kind`] tell them apart.

mod grpc;

use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use http::header::{CACHE_CONTROL, RETRY_AFTER, WWW_AUTHENTICATE};
use http::{HeaderMap, HeaderValue, StatusCode};

pub(crate) use self::grpc::Protocol;
use crate::rejection::Rejection;
use crate::requirement::{UnmetRequirement, is_scope_token};

/// What every challenge of one layer says besides the fault. Cheap to clone.
#[derive(Clone, Debug, Default)]
pub(crate) struct Challenges {
    realm: Option<Arc<str>>,
    /// Said only where there was no credential: what a token should bring.
    scope: Option<Arc<str>>,
    /// Where the resource tells of itself (RFC 9728 §5.1).
    resource_metadata: Option<Arc<str>>,
    /// What depends on nothing else, written once; `None` where nothing is configured, or a route's scopes were added.
    written: Option<Arc<Written>>,
}

/// The challenges that are the same for every request.
#[derive(Debug)]
struct Written {
    /// Where there was no credential.
    bare: HeaderValue,
    invalid_request: HeaderValue,
    invalid_token: HeaderValue,
}

impl Challenges {
    /// Names the protection space (RFC 9110 §11.5).
    pub(crate) fn with_realm(mut self, realm: &str) -> Result<Self, ChallengeError> {
        if !realm.bytes().all(|octet| matches!(octet, b' '..=b'~')) {
            return Err(ChallengeError::Realm);
        }
        self.realm = Some(Arc::from(realm));
        Ok(self.rewritten())
    }

    /// Names the scopes that a token should bring, space-delimited.
    pub(crate) fn with_scope(mut self, scope: &str) -> Result<Self, ChallengeError> {
        if !scope.split(' ').all(is_scope_token) {
            return Err(ChallengeError::Scope);
        }
        self.scope = Some(Arc::from(scope));
        Ok(self.rewritten())
    }

    /// Names the place of the resource's metadata, a URL that has been vetted.
    pub(crate) fn with_resource_metadata(mut self, url: &str) -> Self {
        self.resource_metadata = Some(Arc::from(url));
        self.rewritten()
    }

    /// The same, asking for the scopes of one route, if it names any.
    pub(crate) fn asking_for(mut self, scope: Arc<str>) -> Self {
        if !scope.is_empty() {
            self.scope = Some(scope);
            self.written = None;
        }
        self
    }

    /// Says whether nothing is configured.
    pub(crate) fn is_plain(&self) -> bool {
        self.realm.is_none() && self.scope.is_none() && self.resource_metadata.is_none()
    }

    /// The answer to a rejected request.
    pub(crate) fn answer(&self, rejection: &Rejection) -> Answer {
        match rejection {
            Rejection::NoCredential => {
                let challenge = self.at_hand(SCHEME, |written| &written.bare, Self::bare);
                Answer::challenging(StatusCode::UNAUTHORIZED, None, challenge)
            }
            Rejection::Credential(_) | Rejection::Host(_) => {
                let challenge =
                    self.at_hand(PLAIN_INVALID_REQUEST, |written| &written.invalid_request, Self::invalid_request);
                Answer::challenging(StatusCode::BAD_REQUEST, Some(INVALID_REQUEST), challenge)
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
                let challenge =
                    self.at_hand(PLAIN_INVALID_TOKEN, |written| &written.invalid_token, Self::invalid_token);
                Answer::challenging(StatusCode::UNAUTHORIZED, Some(INVALID_TOKEN), challenge)
            }
            Rejection::Requirement(unmet @ UnmetRequirement::Authentication { acr_values, max_age, .. }) => {
                let max_age = max_age.map(|age| age.as_secs().to_string());
                let challenge = self
                    .naming(INSUFFICIENT_AUTHENTICATION)
                    .with_any("acr_values", acr_values.as_deref())
                    .with_any("max_age", max_age.as_deref())
                    .with_any("scope", unmet.scope());
                let challenge = self.ending(challenge).into_value();
                Answer::challenging(StatusCode::UNAUTHORIZED, Some(INSUFFICIENT_AUTHENTICATION), challenge)
            }
            Rejection::Requirement(unmet) => {
                let challenge = self.naming(INSUFFICIENT_SCOPE).with_any("scope", unmet.scope());
                let challenge = self.ending(challenge).into_value();
                Answer::challenging(StatusCode::FORBIDDEN, Some(INSUFFICIENT_SCOPE), challenge)
            }
            Rejection::KeysUnavailable { retry_after, .. } => Answer::unavailable(*retry_after),
        }
    }

    /// A challenge that is written already, or has to be for this request.
    fn at_hand(
        &self,
        plain: &'static str,
        of: impl FnOnce(&Written) -> &HeaderValue,
        write: impl FnOnce(&Self) -> HeaderValue,
    ) -> HeaderValue {
        match &self.written {
            Some(written) => of(written).clone(),
            None if self.is_plain() => HeaderValue::from_static(plain),
            None => write(self),
        }
    }

    // RFC 6750 §3.1: a request without credential gets no error code.
    fn bare(&self) -> HeaderValue {
        self.ending(self.start().with_any("scope", self.scope.as_deref())).into_value()
    }

    fn invalid_request(&self) -> HeaderValue {
        self.ending(self.naming(INVALID_REQUEST)).into_value()
    }

    fn invalid_token(&self) -> HeaderValue {
        let challenge = self.naming(INVALID_TOKEN).with("error_description", INVALID_TOKEN.description);
        self.ending(challenge).into_value()
    }

    fn naming(&self, error: ErrorText) -> Challenge {
        self.start().with("error", error.code)
    }

    // RFC 9728 §5.1: with any error, and with none.
    fn ending(&self, challenge: Challenge) -> Challenge {
        challenge.with_any("resource_metadata", self.resource_metadata.as_deref())
    }

    fn rewritten(mut self) -> Self {
        let (bare, invalid_request, invalid_token) = (self.bare(), self.invalid_request(), self.invalid_token());
        self.written = Some(Arc::new(Written { bare, invalid_request, invalid_token }));
        self
    }

    fn start(&self) -> Challenge {
        Challenge(String::from(SCHEME)).with_any("realm", self.realm.as_deref())
    }
}

/// By what is said, written already or not.
impl PartialEq for Challenges {
    fn eq(&self, other: &Self) -> bool {
        let Self { realm, scope, resource_metadata, written: _ } = self;
        (realm, scope, resource_metadata) == (&other.realm, &other.scope, &other.resource_metadata)
    }
}

impl Eq for Challenges {}

/// What a client gets instead of the handler's response.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Answer {
    status: StatusCode,
    error: Option<ErrorText>,
    challenge: Option<HeaderValue>,
    retry_after: Option<HeaderValue>,
    protocol: Protocol,
}

impl Answer {
    /// The answer where the program lacks a layer: the client can do nothing about it.
    pub(crate) fn misconfigured() -> Self {
        Self {
            status: StatusCode::INTERNAL_SERVER_ERROR,
            error: Some(SERVER_ERROR),
            challenge: None,
            retry_after: None,
            protocol: Protocol::Http,
        }
    }

    /// The same for a client of another protocol.
    pub(crate) fn over(mut self, protocol: Protocol) -> Self {
        self.protocol = protocol;
        self
    }

    pub(crate) fn status(&self) -> StatusCode {
        match self.protocol {
            Protocol::Http => self.status,
            // gRPC says it in `grpc-status`.
            Protocol::Grpc => StatusCode::OK,
        }
    }

    pub(crate) fn is_grpc(&self) -> bool {
        self.protocol == Protocol::Grpc
    }

    /// The error code of RFC 6750 §3.1.
    pub(crate) fn error(&self) -> Option<&'static str> {
        self.error.map(|error| error.code)
    }

    pub(crate) fn description(&self) -> Option<&'static str> {
        self.error.map(|error| error.description)
    }

    /// The body text of a JSON answer; an empty object where there is no error code.
    pub(crate) fn json(&self) -> Bytes {
        match self.error {
            None => Bytes::from_static(b"{}"),
            // Both texts are fixed below and need no escaping.
            Some(ErrorText { code, description }) => {
                Bytes::from(format!(r#"{{"error":"{code}","error_description":"{description}"}}"#))
            }
        }
    }

    /// Writes the headers of the answer over whatever stands in their place. No challenge stands where the answer has none.
    pub(crate) fn write_headers(self, headers: &mut HeaderMap) {
        headers.remove(WWW_AUTHENTICATE);
        let no_store = self.status.is_client_error().then_some(HeaderValue::from_static("no-store"));
        let ours = [(WWW_AUTHENTICATE, self.challenge), (RETRY_AFTER, self.retry_after), (CACHE_CONTROL, no_store)];
        for (name, value) in ours {
            if let Some(value) = value {
                headers.insert(name, value);
            }
        }
        if self.protocol == Protocol::Grpc {
            // RFC 6750 §3.1 is about the challenge: whoever calls over gRPC reads the message and no header.
            let message = self.error.map_or(NO_CREDENTIAL, |error| error.description);
            grpc::write_headers(self.status, message, headers);
        }
    }

    fn challenging(status: StatusCode, error: Option<ErrorText>, challenge: HeaderValue) -> Self {
        Self { status, error, challenge: Some(challenge), retry_after: None, protocol: Protocol::Http }
    }

    fn unavailable(retry_after: Duration) -> Self {
        // Rounded up, so that a client that obeys doesn't come too early.
        let fraction = u64::from(retry_after.subsec_nanos() > 0);
        let seconds = retry_after.as_secs().saturating_add(fraction).max(1);
        Self {
            status: StatusCode::SERVICE_UNAVAILABLE,
            error: Some(TEMPORARILY_UNAVAILABLE),
            challenge: None,
            retry_after: Some(HeaderValue::from(seconds)),
            protocol: Protocol::Http,
        }
    }
}

/// A challenge of the Bearer scheme in the making; each parameter is written once, as a quoted-string.
struct Challenge(String);

impl Challenge {
    fn with(mut self, name: &str, value: &str) -> Self {
        self.0.push_str(if self.0.len() == SCHEME.len() { " " } else { ", " });
        self.0.push_str(name);
        self.0.push_str("=\"");
        for character in value.chars() {
            // RFC 9110 §5.6.4: within a quoted-string, these two stand behind a backslash.
            if matches!(character, '"' | '\\') {
                self.0.push('\\');
            }
            self.0.push(character);
        }
        self.0.push('"');
        self
    }

    fn with_any(self, name: &str, value: Option<&str>) -> Self {
        match value {
            Some(value) => self.with(name, value),
            None => self,
        }
    }

    fn into_value(self) -> HeaderValue {
        // Every value was vetted to be printable ASCII; should one not be, the scheme alone is still a challenge.
        HeaderValue::try_from(self.0).unwrap_or(HeaderValue::from_static(SCHEME))
    }
}

/// Why a setting cannot be said in a challenge.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum ChallengeError {
    /// The realm holds control characters or is not ASCII (RFC 9110 §5.6.4).
    Realm,
    /// The scope is not one or more scope-tokens with single spaces in between (RFC 6749 §3.3).
    Scope,
}

impl fmt::Display for ChallengeError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Realm => "a realm has printable ASCII characters only",
            Self::Scope => {
                "a scope is one or more words of visible ASCII, without quote and backslash, one space apart"
            }
        })
    }
}

impl std::error::Error for ChallengeError {}

/// An error code and its one description, in the characters of RFC 6750 §3: no quote, no backslash.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct ErrorText {
    code: &'static str,
    description: &'static str,
}

const SCHEME: &str = "Bearer";

const INVALID_REQUEST: ErrorText =
    ErrorText { code: "invalid_request", description: "the credential or the host is malformed or stands twice" };

const INVALID_TOKEN: ErrorText =
    ErrorText { code: "invalid_token", description: "the access token is malformed, expired, or not valid here" };

/// The challenge of [`INVALID_REQUEST`] where nothing is configured.
const PLAIN_INVALID_REQUEST: &str = r#"Bearer error="invalid_request""#;

/// The challenge of [`INVALID_TOKEN`] where nothing is configured.
const PLAIN_INVALID_TOKEN: &str = concat!(
    r#"Bearer error="invalid_token", "#,
    r#"error_description="the access token is malformed, expired, or not valid here""#
);

const INSUFFICIENT_SCOPE: ErrorText =
    ErrorText { code: "insufficient_scope", description: "the access token does not allow this" };

const INSUFFICIENT_AUTHENTICATION: ErrorText = ErrorText {
    code: "insufficient_user_authentication",
    description: "a stronger or more recent authentication is required",
};

const TEMPORARILY_UNAVAILABLE: ErrorText =
    ErrorText { code: "temporarily_unavailable", description: "the access token cannot be checked at the moment" };

const NO_CREDENTIAL: &str = "a bearer token is required";

const SERVER_ERROR: ErrorText = ErrorText { code: "server_error", description: "the request cannot be handled" };

#[cfg(test)]
mod tests {
    use super::*;

    fn said(challenges: &Challenges, rejection: &Rejection) -> String {
        let mut headers = HeaderMap::new();
        challenges.answer(rejection).write_headers(&mut headers);
        headers[WWW_AUTHENTICATE].to_str().expect("ASCII").to_owned()
    }

    fn bare(challenges: &Challenges) -> String {
        said(challenges, &Rejection::NoCredential)
    }

    #[test]
    fn a_realm_is_escaped() {
        let challenges = Challenges::default().with_realm(r#"the "inner\outer" shop"#).expect("printable");
        assert_eq!(bare(&challenges), r#"Bearer realm="the \"inner\\outer\" shop""#);
        assert_eq!(bare(&Challenges::default().with_realm("").expect("empty is allowed")), r#"Bearer realm="""#);
    }

    #[test]
    fn what_is_written_once_is_what_would_be_written_each_time() {
        let all_said = |challenges: &Challenges| {
            let fixed = [
                Rejection::NoCredential,
                Rejection::Credential(crate::request::CredentialError::Malformed),
                Rejection::Signature,
            ];
            fixed.map(|rejection| said(challenges, &rejection))
        };
        let invalid_token = format!(r#"error="invalid_token", error_description="{}""#, INVALID_TOKEN.description);
        let plain = all_said(&Challenges::default());
        assert_eq!(plain, ["Bearer", r#"Bearer error="invalid_request""#, &format!("Bearer {invalid_token}")]);
        assert_eq!(plain, all_said(&Challenges::default().rewritten()));
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
        assert_eq!(all_said(&configured), expected);
        // For one request they are written anew, and only the scopes differ.
        let [bare, invalid_request, invalid_token] = expected;
        let asked = all_said(&configured.asking_for(Arc::from("admin")));
        assert_eq!(asked, [bare.replace("read", "admin"), invalid_request, invalid_token]);
    }

    #[test]
    fn a_realm_that_no_header_can_carry_is_refused() {
        for realm in ["a\r\nSet-Cookie: b", "a\tb", "a\0", "a\x7f", "é"] {
            assert_eq!(Challenges::default().with_realm(realm), Err(ChallengeError::Realm), "{realm:?}");
        }
    }

    #[test]
    fn a_scope_is_a_list_of_scope_tokens() {
        let challenges = Challenges::default().with_scope("read:orders write:orders").expect("a scope");
        assert_eq!(bare(&challenges), r#"Bearer scope="read:orders write:orders""#);
        assert_eq!(bare(&challenges.clone().asking_for(Arc::from("admin"))), r#"Bearer scope="admin""#);
        assert_eq!(bare(&challenges.clone().asking_for(Arc::from(""))), bare(&challenges));
        for scope in ["", " a", "a ", "a  b", "a\"b", "a\\b", "é", "a\tb"] {
            assert_eq!(Challenges::default().with_scope(scope), Err(ChallengeError::Scope), "{scope:?}");
        }
    }

    #[test]
    fn retry_after_is_rounded_up_and_at_least_one() {
        for (wait, seconds) in [(0, "1"), (1, "1"), (1_000, "1"), (1_001, "2"), (59_999, "60"), (60_000, "60")] {
            let retry_after = Duration::from_millis(wait);
            let rejection = Rejection::KeysUnavailable { retry_after, since: retry_after, cause: None };
            let mut headers = HeaderMap::new();
            Challenges::default().answer(&rejection).write_headers(&mut headers);
            assert_eq!(headers[RETRY_AFTER], seconds, "{wait} ms");
        }
    }

    #[test]
    fn fixed_texts_keep_to_the_characters_of_rfc_6750() {
        for error in [
            INVALID_REQUEST,
            INVALID_TOKEN,
            INSUFFICIENT_SCOPE,
            INSUFFICIENT_AUTHENTICATION,
            TEMPORARILY_UNAVAILABLE,
            SERVER_ERROR,
        ] {
            let plain = |octet: u8| matches!(octet, b' '..=b'~') && !matches!(octet, b'"' | b'\\');
            assert!(error.code.bytes().chain(error.description.bytes()).all(plain), "{error:?}");
        }
    }
}
