//! Every fault of a configuration, at once.

use std::error::Error as _;
use std::fmt;

use crate::defaults;
use crate::fetch::{BuildClientError, EndpointError};
use crate::jwks::RefreshPolicyError;
use crate::keys::{KeyError, SecretError, SkipReason};
use crate::token::Algorithm;

/// All the faults of a configuration; never empty.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ConfigError {
    errors: Vec<SettingError>,
}

impl ConfigError {
    /// The faults in the order of the settings.
    #[must_use]
    pub fn errors(&self) -> &[SettingError] {
        &self.errors
    }
}

impl fmt::Display for ConfigError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.errors.as_slice() {
            [one] => write!(f, "the configuration has a fault: {one}"),
            several => {
                write!(f, "the configuration has {} faults:", several.len())?;
                several.iter().try_for_each(|error| write!(f, "\n  - {error}"))
            }
        }
    }
}

impl std::error::Error for ConfigError {}

/// One fault: which setting, and what is wrong with it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SettingError {
    setting: Box<str>,
    kind: SettingErrorKind,
}

impl SettingError {
    /// Says what is wrong with a setting; for settings that a program reads itself, to be reported beside ours.
    #[must_use]
    pub fn new(setting: &str, kind: SettingErrorKind) -> Self {
        Self { setting: Box::from(setting), kind }
    }

    /// The setting, with the issuer or the value that it belongs to. Never a secret.
    #[must_use]
    pub fn setting(&self) -> &str {
        &self.setting
    }

    /// What is wrong, and by its `Display` what would be right.
    #[must_use]
    pub fn kind(&self) -> &SettingErrorKind {
        &self.kind
    }
}

impl fmt::Display for SettingError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}: {}", self.setting, self.kind)
    }
}

/// What is wrong with a setting.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum SettingErrorKind {
    /// It is empty.
    Empty,
    /// It holds control characters or white space.
    Unprintable,
    /// An Auth0 domain is given with scheme, port, path or slash.
    NotADomain,
    /// An issuer of Auth0 without its trailing slash.
    TrailingSlash,
    /// A URL cannot be fetched.
    Url(EndpointError),
    /// An issuer has a query or a fragment (RFC 8414 §2).
    IssuerUrl,
    /// An issuer is given as the URL of its discovery document.
    DiscoveryUrl {
        /// The issuer that this document belongs to; whether it ends with a slash, only the document says.
        issuer: Box<str>,
    },
    /// The same issuer stands twice.
    DuplicateIssuer,
    /// No algorithm is listed.
    NoAlgorithms,
    /// The same algorithm stands twice.
    DuplicateAlgorithm(Algorithm),
    /// An HMAC algorithm for an issuer with public keys.
    SymmetricWithPublicKeys(Algorithm),
    /// An algorithm of public keys for an issuer with a shared secret.
    AsymmetricWithSecret(Algorithm),
    /// A secret for an issuer with public keys, or with a source of secrets.
    SecretWithPublicKeys,
    /// A shared secret is not usable.
    Secret(SecretError),
    /// Static keys are not usable.
    Keys(KeyError),
    /// None of the static keys fits a listed algorithm.
    NoUsableKey {
        /// Why the first of the keys that were passed over was so, if any was.
        skipped: Option<SkipReason>,
    },
    /// More secrets or nameless keys than are tried for one token.
    TooManyKeys,
    /// The leeway is longer than allowed.
    Leeway,
    /// The maximum age is zero.
    MaxAge,
    /// The size cap lies outside its range.
    TokenSize,
    /// A host is not `host[:port]`.
    Host,
    /// A host is bound to two issuers.
    DuplicateHost,
    /// A host is bound to an issuer that is not configured.
    UnknownIssuer,
    /// An issuer has no host that a request could name.
    NoHost,
    /// The refresh policy contradicts itself, or that of shared keys.
    RefreshPolicy(RefreshPolicyError),
    /// There is no way to fetch: the feature `reqwest` is off and no `Fetch` is given.
    NoFetch,
    /// The HTTP client of the feature `reqwest` cannot be built.
    HttpClient(BuildClientError),
}

impl fmt::Display for SettingErrorKind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Empty => f.write_str("is empty"),
            Self::Unprintable => f.write_str("holds white space or control characters"),
            Self::NotADomain => {
                f.write_str("is not a bare domain; write `tenant.eu.auth0.com`, without scheme, port, path and slash")
            }
            Self::TrailingSlash => {
                f.write_str("lacks the trailing slash; Auth0's `iss` is `https://<domain>/`, compared exactly")
            }
            Self::Url(error) => write!(f, "{error}{}", alternative(*error)),
            Self::IssuerUrl => f.write_str("an issuer has neither query nor fragment (RFC 8414 §2)"),
            Self::DiscoveryUrl { issuer } => {
                write!(f, "is the URL of a discovery document; write its `issuer`, such as `{issuer}`")
            }
            Self::DuplicateIssuer => f.write_str("stands twice; the `iss` of a token must lead to one set of keys"),
            Self::NoAlgorithms => f.write_str("lists no algorithm; RS256 is the usual one"),
            Self::DuplicateAlgorithm(algorithm) => write!(f, "lists {algorithm} twice"),
            Self::SymmetricWithPublicKeys(algorithm) => {
                write!(
                    f,
                    "{algorithm} needs a secret; use `Issuer::shared_secret`, or an algorithm of public keys such as RS256"
                )
            }
            Self::AsymmetricWithSecret(algorithm) => {
                write!(
                    f,
                    "{algorithm} cannot be checked with a shared secret; use HS256, HS384 or HS512, or give public keys"
                )
            }
            Self::SecretWithPublicKeys => f.write_str(
                "belongs to an issuer with public keys or with a source of secrets; use `Issuer::shared_secret`",
            ),
            Self::Secret(error) => error.fmt(f),
            Self::Keys(error) => error.fmt(f),
            Self::NoUsableKey { skipped } => {
                f.write_str("holds no key that fits a listed algorithm")?;
                skipped.iter().try_for_each(|reason| write!(f, "; one was passed over: {reason}"))
            }
            Self::TooManyKeys => {
                let most = defaults::MAX_CANDIDATES;
                write!(f, "holds more than {most} keys to try for one token; set different `kid`s, or remove old keys")
            }
            Self::Leeway => {
                let most = defaults::MAX_LEEWAY.as_secs();
                write!(f, "is more than {most} s (RFC 7519 §4.1.4: no more than a few minutes)")
            }
            Self::MaxAge => f.write_str("is zero, so that no token could pass"),
            Self::TokenSize => {
                write!(f, "lies outside {} to {} octets", defaults::MIN_TOKEN_CAP, defaults::MAX_TOKEN_CAP)
            }
            Self::Host => f.write_str("is not `host` or `host:port`"),
            Self::DuplicateHost => f.write_str("the host is bound to two issuers"),
            Self::UnknownIssuer => f.write_str("is not one of the API's issuers, spelled exactly"),
            Self::NoHost => f.write_str("is no URL with a host, so that no request could name it"),
            Self::RefreshPolicy(violation) => violation.fmt(f),
            Self::NoFetch | Self::HttpClient(_) => self.fmt_client(f),
        }
    }
}

/// What allows a URL of an issuer that is refused by default, to be appended to the error.
fn alternative(error: EndpointError) -> &'static str {
    match error {
        EndpointError::PlainHttp => {
            ", or `dangerous_allow_http` in a network that you trust, such as that of docker compose"
        }
        EndpointError::Malformed | EndpointError::UserInfo | EndpointError::Fragment => "",
    }
}

impl SettingErrorKind {
    /// Writes why there is no HTTP client.
    fn fmt_client(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self::HttpClient(error) = self else {
            return f.write_str("no HTTP client: turn on the feature `reqwest`, or give a `Fetch` with `with_fetch`");
        };
        write!(f, "the HTTP client cannot be built: {error}")?;
        let mut causes = std::iter::successors(error.source(), |cause| (**cause).source());
        causes.try_for_each(|cause| write!(f, ": {cause}"))
    }
}

/// A setting that has no other name, with its place as soon as there are several.
pub(super) fn numbered(setting: &str, at: usize, of: usize) -> String {
    if of > 1 { format!("{setting} {} of {of}", at.saturating_add(1)) } else { setting.to_owned() }
}

/// Collects faults while a configuration is resolved.
#[derive(Debug, Default)]
pub(crate) struct SettingErrors(Vec<SettingError>);

impl SettingErrors {
    pub(crate) fn push(&mut self, setting: &str, kind: SettingErrorKind) {
        let error = SettingError::new(setting, kind);
        if !self.0.contains(&error) {
            self.0.push(error);
        }
    }

    /// The value, if nothing was wrong.
    pub(crate) fn or<T>(self, value: Option<T>) -> Result<T, ConfigError> {
        match value {
            Some(value) if self.0.is_empty() => Ok(value),
            _ => Err(ConfigError { errors: self.0 }),
        }
    }
}
