//! `ConfigError`: all errors of a configuration at once.

use std::error::Error as _;
use std::fmt;

use crate::config::issuer_pattern::IssuerPatternError;
use crate::config::tenant_setting_error::TenantSettingError;
use crate::defaults;
use crate::fetch::{BuildClientError, EndpointError};
use crate::introspection::IntrospectionSettingError;
use crate::jwks::RefreshPolicyError;
use crate::keys::{KeyError, SecretError, SkipReason};
use crate::mutual_tls::NetworkError;
use crate::request::PublicUrlError;
use crate::requirement::RequirementSyntaxError;
use crate::token::Algorithm;

/// All errors of a configuration, at least one.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ConfigError {
    errors: Vec<SettingError>,
}

impl ConfigError {
    /// Returns the errors in the order of the settings.
    #[must_use]
    pub fn errors(&self) -> &[SettingError] {
        &self.errors
    }
}

impl fmt::Display for ConfigError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.errors.as_slice() {
            [one] => write!(f, "the configuration has an error: {one}"),
            several => {
                write!(f, "the configuration has {} errors:", several.len())?;
                several.iter().try_for_each(|error| write!(f, "\n  - {error}"))
            }
        }
    }
}

impl std::error::Error for ConfigError {}

/// One error of a configuration: the setting, and what is wrong with it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SettingError {
    setting: Box<str>,
    kind: SettingErrorKind,
}

impl SettingError {
    /// Creates an error for a setting that the application reads itself, so that all errors are reported in the same form.
    #[must_use]
    pub fn new(setting: &str, kind: SettingErrorKind) -> Self {
        Self { setting: Box::from(setting), kind }
    }

    /// Returns the name of the setting, with the issuer or the value that has the error. The text never contains a secret.
    #[must_use]
    pub fn setting(&self) -> &str {
        &self.setting
    }

    /// Returns the kind of the error. The `Display` text of the kind often includes how to correct the setting.
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

impl std::error::Error for SettingError {}

/// The kind of an error in a setting.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum SettingErrorKind {
    /// The setting is empty.
    Empty,
    /// The setting contains control characters or white space.
    Unprintable,
    /// An Auth0 domain is given with a port, a path or plain http, or is no domain.
    NotADomain,
    /// An issuer of Auth0 lacks its trailing slash.
    MissingTrailingSlash,
    /// A URL is malformed or not allowed, for example because it is plain http.
    Url(EndpointError),
    /// An issuer has a query or a fragment (RFC 8414 §2).
    IssuerUrl,
    /// An issuer is given as the URL of its discovery document.
    DiscoveryUrl {
        /// The issuer to which the URL belongs. Only the document itself contains the exact value: it may also end with a
        /// slash.
        issuer: Box<str>,
    },
    /// An issuer is the URL of Entra ID for several tenants, such as `https://login.microsoftonline.com/common/v2.0`. The `iss` of
    /// a token always has the id of one tenant.
    EntraWithoutTenant,
    /// The same issuer is configured twice with keys of the same kind.
    DuplicateIssuer,
    /// A pattern of `iss` values is not usable.
    IssuerPattern(IssuerPatternError),
    /// The id of an Entra tenant is not a GUID.
    EntraTenant,
    /// A further `iss`, or a pattern of them, is added to the tenants of Entra ID.
    NamesBesideEntra,
    /// Tenants that are looked up are not configured correctly.
    Tenants(TenantSettingError),
    /// No algorithm is listed.
    NoAlgorithms,
    /// The same algorithm is listed twice.
    DuplicateAlgorithm(Algorithm),
    /// An HMAC algorithm is listed for an issuer with public keys.
    SymmetricWithPublicKeys(Algorithm),
    /// A public-key algorithm is listed for an issuer with a shared secret.
    AsymmetricWithSecret(Algorithm),
    /// A secret is added to an issuer with public keys, or with a secret source.
    SecretWithPublicKeys,
    /// A shared secret is not usable.
    Secret(SecretError),
    /// Static keys are not usable.
    Keys(KeyError),
    /// None of the static keys can be used with a listed algorithm.
    NoUsableKey {
        /// The reason why the first skipped key was skipped, if there is one.
        skipped: Option<SkipReason>,
    },
    /// Initial keys are set for an issuer whose keys are not fetched.
    InitialKeysWithoutFetch,
    /// More secrets or keys apply to one token than are tried for it: those with the same `kid`, and those without a `kid`.
    TooManyKeys,
    /// A token type belongs to another protocol: DPoP proofs, logout tokens, security events and others are no access tokens.
    TokenTypeOfOtherProtocol,
    /// Token types are added to a profile that accepts exactly one.
    TokenTypesWithProfile,
    /// Tokens without `aud` are accepted, and neither client ids nor a check restrict them.
    MissingAudienceUnrestricted,
    /// Tokens without `aud` are accepted, but the profile requires `aud`.
    MissingAudienceWithProfile,
    /// The leeway is longer than 300 s.
    Leeway,
    /// The maximum age is zero.
    MaxAge,
    /// The maximum token size is outside its range.
    TokenSize,
    /// A public URL is malformed or not allowed.
    PublicUrl(PublicUrlError),
    /// Two public URLs have the same host and port, so the host of a request cannot select one.
    DuplicatePublicUrl,
    /// No algorithm of proofs is listed.
    NoProofAlgorithms,
    /// An HMAC algorithm is listed for proofs, which are signed with the client's own key.
    SymmetricProof(Algorithm),
    /// The lifetime of proofs is not between 1 s and 300 s.
    ProofLifetime,
    /// The leeway of proofs is longer than 60 s.
    ProofLeeway,
    /// The memory for used proofs is less than 64 KiB.
    ReplayMemory,
    /// More than one of `with_replay_memory`, `with_replay_store` and `dangerous_accept_replayed_proofs` is set.
    ReplaySettings,
    /// The time for which a request waits for the replay store is not between 1 ms and 10 s.
    ReplayTimeout,
    /// A trusted proxy is not an IP address or network.
    Network(NetworkError),
    /// The address of the peer is read, but the proxy is not trusted by its address.
    UnusedPeerAddress,
    /// The name of a header is malformed (RFC 9110 §5.1).
    HeaderName,
    /// A header of a trusted proxy is one that clients send for another purpose, such as `Authorization`.
    ReservedHeader,
    /// Only sender-constrained tokens are accepted, but no proof of possession is configured.
    NoSenderConstraint,
    /// The confirmation of tokens is ignored, and proofs of possession are configured.
    IgnoredConfirmation,
    /// The introspection of tokens is not configured correctly.
    Introspection(IntrospectionSettingError),
    /// A host is not `host[:port]`.
    Host,
    /// A host is bound to two issuers.
    DuplicateHost,
    /// A host is bound to an issuer that is not configured.
    UnknownIssuer,
    /// The host of an issuer is to be bound to it, but the issuer is not a URL with a host.
    NoHost,
    /// A scope is not a scope-token of RFC 6749 §3.3.
    Scope,
    /// Implied scopes lead back to the scope that implies them.
    ImpliedScopeCycle {
        /// The scopes of the cycle, each with an arrow to a scope that it implies.
        cycle: Box<str>,
    },
    /// The refresh policy breaks a rule, or differs from the policy of the validator whose keys are shared.
    RefreshPolicy(RefreshPolicyError),
    /// There is no HTTP client: the feature `reqwest` is disabled and no `Fetch` is set.
    NoFetch,
    /// The HTTP client of the feature `reqwest` cannot be built.
    HttpClient(BuildClientError),
}

impl fmt::Display for SettingErrorKind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Empty | Self::Unprintable | Self::NoAlgorithms | Self::MaxAge => f.write_str(self.rule()),
            Self::NotADomain | Self::MissingTrailingSlash | Self::IssuerUrl | Self::DuplicateIssuer => {
                f.write_str(self.rule())
            }
            Self::EntraWithoutTenant => f.write_str(self.rule()),
            Self::IssuerPattern(_) | Self::EntraTenant | Self::NamesBesideEntra => self.fmt_rule_of_names(f),
            Self::Tenants(error) => error.fmt(f),
            Self::Url(error) => write!(f, "{error}{}", alternative(*error)),
            Self::DiscoveryUrl { issuer } => {
                write!(f, "is the URL of a discovery document; write its `issuer`, such as `{issuer}`")
            }
            Self::DuplicateAlgorithm(algorithm) => write!(f, "lists {algorithm} twice"),
            Self::SymmetricWithPublicKeys(algorithm) => write!(f, "{algorithm} {NEEDS_SECRET}"),
            Self::AsymmetricWithSecret(algorithm) => write!(f, "{algorithm} {NEEDS_PUBLIC_KEY}"),
            Self::Secret(error) => error.fmt(f),
            Self::Keys(error) => error.fmt(f),
            Self::NoUsableKey { skipped } => {
                f.write_str("contains no key for a listed algorithm")?;
                skipped.iter().try_for_each(|reason| write!(f, "; one key was skipped: {reason}"))
            }
            Self::TooManyKeys => {
                let most = defaults::MAX_CANDIDATES;
                write!(f, "has more than {most} keys to try for one token; set different `kid`s, or remove old keys")
            }
            Self::SecretWithPublicKeys
            | Self::InitialKeysWithoutFetch
            | Self::TokenTypeOfOtherProtocol
            | Self::TokenTypesWithProfile
            | Self::MissingAudienceUnrestricted
            | Self::MissingAudienceWithProfile => f.write_str(self.rule()),
            Self::Leeway => {
                let most = defaults::MAX_LEEWAY.as_secs();
                write!(f, "is more than {most} s (RFC 7519 §4.1.4: no more than a few minutes)")
            }
            Self::TokenSize => {
                write!(f, "is not between {} and {} bytes", defaults::MIN_TOKEN_CAP, defaults::MAX_TOKEN_CAP)
            }
            Self::PublicUrl(_)
            | Self::DuplicatePublicUrl
            | Self::NoProofAlgorithms
            | Self::SymmetricProof(_)
            | Self::ProofLifetime
            | Self::ProofLeeway
            | Self::ReplayMemory
            | Self::ReplaySettings
            | Self::ReplayTimeout
            | Self::Network(_)
            | Self::UnusedPeerAddress
            | Self::HeaderName
            | Self::ReservedHeader
            | Self::NoSenderConstraint
            | Self::IgnoredConfirmation => self.fmt_possession(f),
            Self::Introspection(error) => error.fmt(f),
            Self::Host | Self::DuplicateHost | Self::UnknownIssuer | Self::NoHost => f.write_str(self.rule()),
            Self::Scope => RequirementSyntaxError::Scope.fmt(f),
            Self::ImpliedScopeCycle { cycle } => write!(f, "form a cycle: {cycle}"),
            Self::RefreshPolicy(error) => error.fmt(f),
            Self::NoFetch | Self::HttpClient(_) => self.fmt_client(f),
        }
    }
}

const NEEDS_SECRET: &str =
    "needs a shared secret; use `Issuer::shared_secret`, or a public-key algorithm such as RS256";

const NEEDS_PUBLIC_KEY: &str =
    "cannot be verified with a shared secret; use HS256, HS384 or HS512, or configure public keys";

/// Returns the end of the error text for a URL: how to write it, or the setting that allows it.
fn alternative(error: EndpointError) -> &'static str {
    match error {
        EndpointError::PlainHttp => {
            ", or `dangerous_allow_http` in a network that you trust, such as that of docker compose"
        }
        EndpointError::Malformed => "; it must begin with `https://` and a host",
        EndpointError::UserInfo | EndpointError::Fragment => "",
    }
}

impl SettingErrorKind {
    /// Writes an error of a setting about proofs of possession.
    fn fmt_possession(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::PublicUrl(error) => write!(f, "{error}"),
            Self::DuplicatePublicUrl => f.write_str("another public URL has the same host and port"),
            Self::NoProofAlgorithms => f.write_str("lists no algorithm; ES256 is the usual one"),
            Self::SymmetricProof(algorithm) => {
                write!(
                    f,
                    "{algorithm} cannot sign proofs, because the server would have to share the client's key; use ES256"
                )
            }
            Self::ProofLifetime => {
                write!(f, "is not between 1 s and {} s", defaults::MAX_PROOF_LIFETIME.as_secs())
            }
            Self::ProofLeeway => write!(f, "is more than {} s", defaults::MAX_PROOF_LEEWAY.as_secs()),
            Self::ReplayMemory => write!(f, "is less than {} bytes", defaults::MIN_REPLAY_BYTES),
            Self::ReplaySettings => f.write_str(
                "has two settings; use one of `with_replay_memory`, `with_replay_store` and `dangerous_accept_replayed_proofs`",
            ),
            Self::ReplayTimeout => {
                write!(f, "is not between 1 ms and {} s", defaults::MAX_REPLAY_TIMEOUT.as_secs())
            }
            Self::Network(error) => write!(f, "{error}"),
            Self::UnusedPeerAddress => f.write_str(
                "`with_peer_address` has an effect only with `TrustedProxy::from_networks`; remove it, or set the networks",
            ),
            Self::HeaderName => f.write_str("is not the name of a header"),
            Self::ReservedHeader => f.write_str("is sent by clients for another purpose; choose a header that only the proxy sets"),
            Self::NoSenderConstraint => f.write_str(
                "no request could prove possession; configure `with_dpop` or `with_mutual_tls`, or accept bearer tokens",
            ),
            Self::IgnoredConfirmation => f.write_str(
                "is set together with `with_dpop` or `with_mutual_tls`, which check the confirmation of tokens; remove one of them",
            ),
            _ => Ok(()),
        }
    }

    /// Writes an error of a rule for `iss` values that are not listed.
    fn fmt_rule_of_names(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::IssuerPattern(error) => write!(f, "{error}"),
            _ => f.write_str(self.rule()),
        }
    }

    /// Returns the text of an error that has a fixed one, in the rules for `iss` values, their keys, and tokens.
    fn rule(&self) -> &'static str {
        match self {
            Self::Empty => "is empty",
            Self::Unprintable => "contains white space or control characters",
            Self::NoAlgorithms => "lists no algorithm; RS256 is the usual one",
            Self::MaxAge => "is zero, so that every token would be rejected",
            Self::NotADomain => "is not a domain; write `tenant.eu.auth0.com` or `https://tenant.eu.auth0.com/`",
            Self::MissingTrailingSlash => {
                "lacks the trailing slash; Auth0's `iss` is `https://<domain>/` and is compared exactly"
            }
            Self::IssuerUrl => "an issuer must have neither a query nor a fragment (RFC 8414 §2)",
            Self::EntraWithoutTenant => {
                "is in no token: the `iss` of Entra ID has the id of a tenant; write it, or use `Issuer::entra` for several tenants"
            }
            Self::DuplicateIssuer => {
                "is configured twice; an `iss` may belong to one issuer with public keys and to one with a shared secret"
            }
            Self::Host => "is not `host` or `host:port`",
            Self::DuplicateHost => "the host is bound to two issuers",
            Self::UnknownIssuer => "is not an `iss` of the API's issuers; the values are compared exactly",
            Self::NoHost => "is not a URL with a host, so no host can be bound to it",
            Self::EntraTenant => {
                "is not a tenant id; write the GUID (a token never names its tenant `common`, `organizations`, `consumers` \
                 or by a domain)"
            }
            Self::NamesBesideEntra => {
                "cannot be added to `Issuer::entra`, which checks the tenant of each token; configure another issuer"
            }
            Self::SecretWithPublicKeys => {
                "belongs to an issuer with public keys or with a secret source; use `Issuer::shared_secret`"
            }
            Self::InitialKeysWithoutFetch => {
                "belong to an issuer whose keys are not fetched; add them to its static keys, or remove them"
            }
            Self::TokenTypeOfOtherProtocol => {
                "is the type of a token that is not an access token, such as a DPoP proof or a logout token"
            }
            Self::TokenTypesWithProfile => "can be added only to the profile `Any`",
            Self::MissingAudienceUnrestricted => {
                "would be accepted whatever API they are for; set `with_client_ids`, or add a check with \
                 `ValidatorBuilder::with_check`"
            }
            Self::MissingAudienceWithProfile => "cannot be accepted with the profile `Rfc9068`, which requires `aud`",
            _ => "",
        }
    }

    /// Writes the reason why there is no HTTP client.
    fn fmt_client(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self::HttpClient(error) = self else {
            return f.write_str(
                "there is no HTTP client; enable the feature `reqwest`, or set a `Fetch` with `with_fetch`",
            );
        };
        write!(f, "the HTTP client cannot be built: {error}")?;
        let mut causes = std::iter::successors(error.source(), |cause| (**cause).source());
        causes.try_for_each(|cause| write!(f, ": {cause}"))
    }
}

/// Adds a number to the name of a setting if there are several of the same name.
pub(super) fn numbered(setting: &str, at: usize, of: usize) -> String {
    if of > 1 { format!("{setting} {} of {of}", at.saturating_add(1)) } else { setting.to_owned() }
}

/// Collects errors while a configuration is resolved.
#[derive(Debug, Default)]
pub(crate) struct SettingErrors(Vec<SettingError>);

impl SettingErrors {
    pub(crate) fn push(&mut self, setting: &str, kind: SettingErrorKind) {
        let error = SettingError::new(setting, kind);
        if !self.0.contains(&error) {
            self.0.push(error);
        }
    }

    pub(crate) fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// Returns the value if there is no error.
    pub(crate) fn or<T>(self, value: Option<T>) -> Result<T, ConfigError> {
        match value {
            Some(value) if self.0.is_empty() => Ok(value),
            _ => Err(ConfigError { errors: self.0 }),
        }
    }
}
