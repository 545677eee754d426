//! `Issuer`: whom an API believes, and by which keys.

use std::fmt;

use crate::config::domain::{self, PlainHttp};
use crate::config::error::{SettingErrorKind, SettingErrors, numbered};
use crate::jwks::{Origin, ReplaceSecretError, SecretSource};
use crate::keys::{self, KeyError, KeySet, KeyTable, Secret, SecretError, SkippedKey};
use crate::token::Algorithm;

/// An authorization server whose tokens are believed: its `iss` values, its algorithms, its keys.
///
/// One issuer holds every domain of one tenant: different `iss`, the same keys, one fetch. It is asymmetric (public
/// keys, RS256 unless told otherwise) or symmetric (a shared secret, HS256 unless told otherwise), never both.
///
/// ```
/// use tower_bearer::{Algorithm, Issuer};
///
/// // iss = https://northwind.eu.auth0.com/ or https://login.northwind.com/, keys at /.well-known/jwks.json of the first
/// let tenant = Issuer::auth0("northwind.eu.auth0.com").with_custom_domain("login.northwind.com");
///
/// // Discovery at https://id.example.com/realms/a/.well-known/openid-configuration
/// let realm = Issuer::oidc("https://id.example.com/realms/a").with_algorithms([Algorithm::ES256]);
/// # let _ = (tenant, realm);
/// ```
#[derive(Clone)]
pub struct Issuer {
    first: Domain,
    others: Vec<Domain>,
    keys: Keys,
    algorithms: Option<Vec<Algorithm>>,
    plain: PlainHttp,
    /// A secret was added to an issuer with public keys.
    misplaced_secret: bool,
}

/// An `iss` value as it was given.
#[derive(Clone, Debug)]
enum Domain {
    /// A bare domain of an Auth0 tenant.
    Auth0(String),
    /// The value itself.
    Exact(String),
}

#[derive(Clone)]
enum Keys {
    Auth0,
    Discovery,
    Jwks(String),
    Static(Result<KeySet, KeyError>),
    Secrets(Vec<Result<Secret, SecretError>>),
    SecretSource(SecretSource),
}

impl Issuer {
    /// An Auth0 tenant by its canonical domain, such as `northwind.eu.auth0.com`: `iss` is `https://<domain>/`, the keys
    /// are at `https://<domain>/.well-known/jwks.json`, and there is no discovery.
    #[must_use]
    pub fn auth0(domain: impl Into<String>) -> Self {
        Self::new(Domain::Auth0(domain.into()), Keys::Auth0)
    }

    /// A server with discovery: OpenID Connect Discovery 1.0 §4, else RFC 8414 §3. `issuer` is the exact `iss` value, not the
    /// URL of the document.
    #[must_use]
    pub fn oidc(issuer: impl Into<String>) -> Self {
        Self::new(Domain::Exact(issuer.into()), Keys::Discovery)
    }

    /// A server whose key set has a known place. `issuer` is the exact `iss` value.
    #[must_use]
    pub fn jwks(issuer: impl Into<String>, jwks_uri: impl Into<String>) -> Self {
        Self::new(Domain::Exact(issuer.into()), Keys::Jwks(jwks_uri.into()))
    }

    /// An issuer whose public keys are given here and never fetched. `issuer` is the exact `iss` value.
    ///
    /// Takes a [`KeySet`], or the result of one of its constructors, whose error is then reported with all other faults.
    #[must_use]
    pub fn static_keys(issuer: impl Into<String>, keys: impl Into<Result<KeySet, KeyError>>) -> Self {
        Self::new(Domain::Exact(issuer.into()), Keys::Static(keys.into()))
    }

    /// An issuer that signs with a secret shared with this API (HS256). `issuer` is the exact `iss` value.
    ///
    /// Takes a [`Secret`], or the result of one of its constructors, whose error is then reported with all other faults.
    ///
    /// # Security
    ///
    /// Whoever can check such a token can also make one.
    #[must_use]
    pub fn shared_secret(issuer: impl Into<String>, secret: impl Into<Result<Secret, SecretError>>) -> Self {
        Self::new(Domain::Exact(issuer.into()), Keys::Secrets(vec![secret.into()]))
    }

    /// An issuer that signs with a secret shared with this API, where the secret is swapped without a restart: by
    /// [`SecretSource::replace`]. `issuer` is the exact `iss` value.
    ///
    /// # Security
    ///
    /// As for [`Issuer::shared_secret`].
    #[must_use]
    pub fn shared_secrets(issuer: impl Into<String>, secrets: &SecretSource) -> Self {
        Self::new(Domain::Exact(issuer.into()), Keys::SecretSource(secrets.clone()))
    }

    /// Adds a custom domain of the same Auth0 tenant: its tokens have another `iss` and are signed with the same keys.
    #[must_use]
    pub fn with_custom_domain(mut self, domain: impl Into<String>) -> Self {
        self.others.push(Domain::Auth0(domain.into()));
        self
    }

    /// Adds another `iss` value of the same server, exactly as its tokens carry it.
    #[must_use]
    pub fn with_domain(mut self, issuer: impl Into<String>) -> Self {
        self.others.push(Domain::Exact(issuer.into()));
        self
    }

    /// Adds a secret, for the time of a rotation; every one of them is tried. Only after [`Issuer::shared_secret`].
    #[must_use]
    pub fn with_secret(mut self, secret: impl Into<Result<Secret, SecretError>>) -> Self {
        match &mut self.keys {
            Keys::Secrets(secrets) => secrets.push(secret.into()),
            Keys::Auth0 | Keys::Discovery | Keys::Jwks(_) | Keys::Static(_) | Keys::SecretSource(_) => {
                self.misplaced_secret = true;
            }
        }
        self
    }

    /// Sets the algorithms that this issuer's tokens may use. Default: RS256, or HS256 with a shared secret.
    #[must_use]
    pub fn with_algorithms(mut self, algorithms: impl IntoIterator<Item = Algorithm>) -> Self {
        self.algorithms = Some(algorithms.into_iter().collect());
        self
    }

    /// Allows plain http beyond loopback, for the issuer, its discovery and its keys.
    ///
    /// # Security
    ///
    /// Whoever stands between this process and the server can hand over keys of their own and then sign tokens.
    #[must_use]
    pub fn dangerous_allow_http(mut self) -> Self {
        self.plain = PlainHttp::Allowed;
        self
    }

    fn new(first: Domain, keys: Keys) -> Self {
        Self {
            first,
            others: Vec::new(),
            keys,
            algorithms: None,
            plain: PlainHttp::OnLoopback,
            misplaced_secret: false,
        }
    }

    /// Its `iss` values, as far as they can be told or guessed, whatever else is wrong with it.
    pub(crate) fn domains(&self) -> Vec<Box<str>> {
        let unheard = &mut SettingErrors::default();
        [&self.first]
            .into_iter()
            .chain(&self.others)
            .filter_map(|domain| self.resolve_domain(domain, unheard).or_else(|| domain.meant()))
            .collect()
    }

    /// Turns the settings into something that can verify, and records every fault on the way.
    pub(crate) fn resolve(&self, errors: &mut SettingErrors) -> Option<TrustedIssuer> {
        let name = self.first.as_str();
        let domains: Option<Vec<Box<str>>> =
            [&self.first].into_iter().chain(&self.others).map(|domain| self.resolve_domain(domain, errors)).collect();
        if self.misplaced_secret {
            errors.push(&setting(name, " secret"), SettingErrorKind::SecretWithPublicKeys);
        }
        let algorithms = self.resolve_algorithms(name, errors);
        let keys = self.resolve_keys(name, &algorithms, errors);
        let domains = domains?;
        Some(TrustedIssuer {
            is_auth0: matches!(self.keys, Keys::Auth0) || domains.iter().any(|issuer| domain::is_auth0_domain(issuer)),
            domains: domains.into_boxed_slice(),
            algorithms: algorithms.into_boxed_slice(),
            keys: keys?,
        })
    }

    fn resolve_domain(&self, domain: &Domain, errors: &mut SettingErrors) -> Option<Box<str>> {
        match domain {
            Domain::Auth0(bare) => {
                domain::auth0_issuer(&format!("Auth0 domain {bare:?}"), bare, errors).map(String::into_boxed_str)
            }
            Domain::Exact(issuer) => {
                domain::check_issuer(&setting(issuer, ""), issuer, self.plain, errors);
                Some(Box::from(issuer.as_str()))
            }
        }
    }

    fn resolve_algorithms(&self, name: &str, errors: &mut SettingErrors) -> Vec<Algorithm> {
        let symmetric = matches!(self.keys, Keys::Secrets(_) | Keys::SecretSource(_));
        let Some(listed) = &self.algorithms else {
            return vec![if symmetric { Algorithm::HS256 } else { Algorithm::RS256 }];
        };
        let setting = setting(name, " algorithms");
        if listed.is_empty() {
            errors.push(&setting, SettingErrorKind::NoAlgorithms);
        }
        for (at, algorithm) in listed.iter().enumerate() {
            if listed.iter().take(at).any(|earlier| earlier == algorithm) {
                errors.push(&setting, SettingErrorKind::DuplicateAlgorithm(*algorithm));
            }
            match (symmetric, algorithm.is_symmetric()) {
                (true, false) => errors.push(&setting, SettingErrorKind::AsymmetricWithSecret(*algorithm)),
                (false, true) => errors.push(&setting, SettingErrorKind::SymmetricWithPublicKeys(*algorithm)),
                (true, true) | (false, false) => {}
            }
        }
        listed.clone()
    }

    fn resolve_keys(&self, name: &str, algorithms: &[Algorithm], errors: &mut SettingErrors) -> Option<KeyOrigin> {
        match &self.keys {
            Keys::Auth0 => {
                let issuer = self.resolve_domain(&self.first, &mut SettingErrors::default())?;
                domain::auth0_jwks_uri(&issuer).ok().map(|endpoint| KeyOrigin::Remote(Origin::jwks(&issuer, endpoint)))
            }
            Keys::Discovery => {
                let origin = match self.plain {
                    PlainHttp::OnLoopback => Origin::discovery(name),
                    PlainHttp::Allowed => Origin::dangerous_discovery_over_http(name),
                };
                let refused = |error| errors.push(&setting(name, ""), SettingErrorKind::Url(error));
                origin.map(KeyOrigin::Remote).map_err(refused).ok()
            }
            Keys::Jwks(uri) => {
                let endpoint = domain::endpoint(&setting(name, " jwks_uri"), uri, self.plain, errors);
                endpoint.map(|endpoint| KeyOrigin::Remote(Origin::jwks(name, endpoint)))
            }
            Keys::Static(set) => bind_static(&setting(name, " static keys"), set, algorithms, errors),
            Keys::SecretSource(source) => bind_source(&setting(name, " secret"), source, algorithms, errors),
            Keys::Secrets(secrets) => bind_secrets(name, secrets, algorithms, errors),
        }
    }
}

fn bind_static(
    setting: &str,
    set: &Result<KeySet, KeyError>,
    algorithms: &[Algorithm],
    errors: &mut SettingErrors,
) -> Option<KeyOrigin> {
    let set = set.as_ref().map_err(|error| errors.push(setting, SettingErrorKind::Keys(*error))).ok()?;
    let table = set.bind(algorithms, keys::KeyOrigin::Static);
    if table.usable() == 0 {
        let skipped = set.skipped().next().map(SkippedKey::reason);
        errors.push(setting, SettingErrorKind::NoUsableKey { skipped });
    }
    if table.exceeds_candidate_limit() {
        errors.push(setting, SettingErrorKind::TooManyKeys);
    }
    Some(KeyOrigin::Static(table))
}

fn bind_secrets(
    name: &str,
    secrets: &[Result<Secret, SecretError>],
    algorithms: &[Algorithm],
    errors: &mut SettingErrors,
) -> Option<KeyOrigin> {
    let all = setting(name, " secret");
    let mut keys = Vec::new();
    for (at, secret) in secrets.iter().enumerate() {
        let one = numbered(&all, at, secrets.len());
        for algorithm in algorithms.iter().filter(|algorithm| algorithm.is_symmetric()) {
            match secret.as_ref().map_err(SecretError::clone).and_then(|secret| secret.bind(*algorithm)) {
                Ok(key) => keys.push(key),
                Err(error) => errors.push(&one, SettingErrorKind::Secret(error)),
            }
        }
    }
    let table = KeyTable::from_secrets(keys);
    if table.exceeds_candidate_limit() {
        errors.push(&all, SettingErrorKind::TooManyKeys);
    }
    Some(KeyOrigin::Static(table))
}

fn bind_source(
    setting: &str,
    source: &SecretSource,
    algorithms: &[Algorithm],
    errors: &mut SettingErrors,
) -> Option<KeyOrigin> {
    match source.serve(algorithms) {
        Ok(()) => {}
        Err(ReplaceSecretError::Secret(error)) => errors.push(setting, SettingErrorKind::Secret(error)),
        Err(ReplaceSecretError::TooMany) => errors.push(setting, SettingErrorKind::TooManyKeys),
        Err(ReplaceSecretError::None) => errors.push(setting, SettingErrorKind::Empty),
    }
    Some(KeyOrigin::SecretSource(source.clone()))
}

impl Domain {
    fn as_str(&self) -> &str {
        match self {
            Self::Auth0(text) | Self::Exact(text) => text,
        }
    }

    /// The `iss` that was meant where a bare domain came with scheme or slash, so that one slip is told once.
    fn meant(&self) -> Option<Box<str>> {
        let bare = self.as_str().trim_start_matches("https://").trim_end_matches('/');
        domain::auth0_issuer("", bare, &mut SettingErrors::default()).map(String::into_boxed_str)
    }
}

impl fmt::Debug for Issuer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let keys = match self.keys {
            Keys::Auth0 => "Auth0",
            Keys::Discovery => "discovery",
            Keys::Jwks(_) => "JWKS URI",
            Keys::Static(_) => "static",
            Keys::Secrets(_) | Keys::SecretSource(_) => "shared secret",
        };
        f.debug_struct("Issuer")
            .field("first", &self.first)
            .field("others", &self.others)
            .field("keys", &keys)
            .field("algorithms", &self.algorithms)
            .finish_non_exhaustive()
    }
}

/// An issuer without faults.
#[derive(Clone, Debug)]
pub(crate) struct TrustedIssuer {
    /// Its `iss` values.
    pub(crate) domains: Box<[Box<str>]>,
    /// Whether it is a tenant of Auth0, where no two tenants share a signing key.
    pub(crate) is_auth0: bool,
    pub(crate) algorithms: Box<[Algorithm]>,
    pub(crate) keys: KeyOrigin,
}

/// Where the keys of an issuer come from.
#[derive(Clone, Debug)]
pub(crate) enum KeyOrigin {
    /// Fetched, and renewed.
    Remote(Origin),
    /// Given: public keys, or secrets.
    Static(KeyTable),
    /// Given, and replaced by the application.
    SecretSource(SecretSource),
}

fn setting(issuer: &str, what: &str) -> String {
    format!("issuer {issuer:?}{what}")
}
