//! `Issuer`: the configuration of one trusted authorization server and its keys.

use std::error::Error;
use std::fmt;
use std::future::Future;

use crate::config::domain::{self, PlainHttp};
use crate::config::domain_list::{DomainList, DomainSource};
use crate::config::entra::{EntraKeys, EntraRule, EntraTenants};
use crate::config::error::{SettingErrorKind, SettingErrors};
use crate::config::introspection::{self, IntrospectionPolicy, IssuerKeyKind};
use crate::config::issuer_keys::{IssuerKeys, bind_initial, bind_secrets, bind_source, bind_static};
use crate::config::issuer_pattern::IssuerPattern;
use crate::config::name_rule::NameRule;
use crate::introspection::{Introspection, IntrospectionSettingError};
use crate::jwks::{Origin, SecretSource};
use crate::keys::{KeyError, KeySet, KeyTable, Secret, SecretError};
use crate::token::Algorithm;

/// A trusted authorization server: its `iss` values, its algorithms and its keys.
///
/// One `Issuer` stands for a tenant with all its domains. The domains have different `iss` values and the same keys, which are
/// fetched once. An issuer has either public keys (RS256 by default) or shared secrets (HS256 by default), never both. While a
/// server changes from a secret to public keys, configure one `Issuer` for each kind with the same `iss`: see
/// [`Api::with_issuer`](crate::Api::with_issuer).
///
/// ```
/// use tower_bearer::{Algorithm, Issuer};
///
/// // Accepts the `iss` https://northwind.eu.auth0.com/ and the `iss` https://login.northwind.com/.
/// // Fetches the keys from https://northwind.eu.auth0.com/.well-known/jwks.json.
/// let tenant = Issuer::auth0("northwind.eu.auth0.com").with_custom_domain("login.northwind.com");
///
/// // Reads the URL of the keys from https://id.example.com/realms/a/.well-known/openid-configuration
/// let realm = Issuer::oidc("https://id.example.com/realms/a").with_algorithms([Algorithm::ES256]);
/// # let _ = (tenant, realm);
/// ```
#[derive(Clone)]
pub struct Issuer {
    first: Domain,
    others: Vec<Domain>,
    patterns: Vec<String>,
    domain_source: Option<DomainSource>,
    keys: Keys,
    initial_keys: Option<Result<KeySet, KeyError>>,
    algorithms: Option<Vec<Algorithm>>,
    plain: PlainHttp,
    /// Whether a secret was added to an issuer with public keys, or with a secret source.
    misplaced_secret: bool,
    introspection: Option<Introspection>,
}

/// An `iss` value as it was configured.
#[derive(Clone, Debug)]
enum Domain {
    /// The bare domain of an Auth0 tenant.
    Auth0(String),
    /// The exact value.
    Exact(String),
    /// The tenants of Entra ID, with their `iss` as Microsoft writes it for all of them.
    Entra(Box<EntraTenants>, String),
}

#[derive(Clone)]
enum Keys {
    Auth0,
    Discovery,
    Jwks(String),
    Static(Result<KeySet, KeyError>),
    Secrets(Vec<Result<Secret, SecretError>>),
    SecretSource(SecretSource),
    /// The issuer has opaque tokens only.
    None,
}

impl Issuer {
    /// Creates an Auth0 tenant from its canonical domain, such as `northwind.eu.auth0.com` or `https://northwind.eu.auth0.com/`:
    /// `iss` is `https://<domain>/`, and the keys are at `https://<domain>/.well-known/jwks.json`. Discovery is not used.
    #[must_use]
    pub fn auth0(domain: impl Into<String>) -> Self {
        Self::new(Domain::Auth0(domain.into()), Keys::Auth0)
    }

    /// Creates an issuer whose discovery document contains the URL of the keys. `issuer` is the exact `iss` value, not the URL
    /// of the document.
    ///
    /// The document of OpenID Connect Discovery 1.0 §4 is fetched first. If the server responds to it with 401, 403, 404, 405
    /// or 410, or with a 200 that is no JSON object, the document of RFC 8414 §3 is fetched instead, and then the one at
    /// `https://<host>/.well-known/openid-configuration<path>` (RFC 8414 §5). After a 404 or 410 from the URL of the keys, the
    /// document is fetched again, at most once a minute.
    #[must_use]
    pub fn oidc(issuer: impl Into<String>) -> Self {
        Self::new(Domain::Exact(issuer.into()), Keys::Discovery)
    }

    /// Creates an issuer whose key set is at a known URL. `issuer` is the exact `iss` value. It may begin with `http:`, as that
    /// of AD FS does, because nothing is fetched from it.
    #[must_use]
    pub fn jwks(issuer: impl Into<String>, jwks_uri: impl Into<String>) -> Self {
        Self::new(Domain::Exact(issuer.into()), Keys::Jwks(jwks_uri.into()))
    }

    /// Creates one issuer for tenants of Microsoft Entra ID. Their keys are published together, and are fetched once.
    ///
    /// A token is accepted if its `iss` is that of a tenant, byte for byte, `tid` is the same tenant, the tenant is allowed, and
    /// the key is published for this tenant or for all of them (the member `issuer` of the JWK).
    ///
    /// ```
    /// use tower_bearer::Issuer;
    /// use tower_bearer::config::EntraTenants;
    ///
    /// let northwind = "11111111-2222-3333-4444-555555555555";
    /// let contoso = "66666666-7777-8888-9999-000000000000";
    /// let customers = Issuer::entra(EntraTenants::only([northwind, contoso]));
    /// # let _ = customers;
    /// ```
    ///
    /// Logs and metrics name this issuer `https://login.microsoftonline.com/{tenantid}/v2.0`, whatever the tenant is. No further
    /// `iss` can be added to it.
    ///
    /// # Security
    ///
    /// `sub` and `oid` identify a user only together with `tid`.
    #[must_use]
    pub fn entra(tenants: EntraTenants) -> Self {
        let keys = match &tenants.keys {
            EntraKeys::Cloud => Keys::Jwks(tenants.cloud_jwks_uri()),
            EntraKeys::JwksUri(uri) => Keys::Jwks(uri.clone()),
            EntraKeys::Static(keys) => Keys::Static(keys.clone()),
        };
        let template = tenants.template();
        Self::new(Domain::Entra(Box::new(tenants), template), keys)
    }

    /// Creates an issuer with static public keys, which are never fetched. `issuer` is the exact `iss` value.
    ///
    /// `keys` is a [`KeySet`] or the `Result` of one of its constructors. `Validator::new` reports an error in it together with
    /// all other errors of the configuration.
    #[must_use]
    pub fn static_keys(issuer: impl Into<String>, keys: impl Into<Result<KeySet, KeyError>>) -> Self {
        Self::new(Domain::Exact(issuer.into()), Keys::Static(keys.into()))
    }

    /// Creates an issuer that signs with a secret which it shares with this API (HS256 by default). `issuer` is the exact `iss`
    /// value.
    ///
    /// `secret` is a [`Secret`] or the `Result` of one of its constructors. `Validator::new` reports an error in it together
    /// with all other errors of the configuration.
    ///
    /// # Security
    ///
    /// Everyone who can verify such a token can also sign one.
    #[must_use]
    pub fn shared_secret(issuer: impl Into<String>, secret: impl Into<Result<Secret, SecretError>>) -> Self {
        Self::new(Domain::Exact(issuer.into()), Keys::Secrets(vec![secret.into()]))
    }

    /// Creates an issuer that signs with a shared secret which [`SecretSource::replace`] can replace without a restart.
    /// `issuer` is the exact `iss` value.
    ///
    /// # Security
    ///
    /// As for [`Issuer::shared_secret`].
    #[must_use]
    pub fn secret_source(issuer: impl Into<String>, secrets: &SecretSource) -> Self {
        Self::new(Domain::Exact(issuer.into()), Keys::SecretSource(secrets.clone()))
    }

    /// Creates an issuer without keys, all of whose tokens are opaque: each of them is introspected. `issuer` is the `iss` of the
    /// claims. A JWT of this issuer is rejected and is not introspected.
    #[must_use]
    pub fn opaque(issuer: impl Into<String>, introspection: Introspection) -> Self {
        Self::new(Domain::Exact(issuer.into()), Keys::None).with_introspection(introspection)
    }

    /// Introspects opaque tokens of this issuer and, [if so configured](Introspection::with_every_jwt), its JWTs. JWTs
    /// are verified as before: a JWT that is rejected is never introspected. Default: opaque tokens are rejected.
    #[must_use]
    pub fn with_introspection(mut self, introspection: Introspection) -> Self {
        self.introspection = Some(introspection);
        self
    }

    /// Adds a custom domain of the same Auth0 tenant, such as `login.northwind.com` or `https://login.northwind.com/`. Tokens that a
    /// client requests at this domain have the `iss` `https://<domain>/` and are signed with the keys of the tenant.
    #[must_use]
    pub fn with_custom_domain(mut self, domain: impl Into<String>) -> Self {
        self.others.push(Domain::Auth0(domain.into()));
        self
    }

    /// Adds the custom domains that `source` returns, such as those in a database. `source` is called when the validator is built,
    /// and then every 5 min. It returns all of them, each as [`with_custom_domain`](Self::with_custom_domain) accepts it.
    ///
    /// The domains share the keys of the tenant, so nothing is fetched for a new one. Tokens of a domain that `source` no longer
    /// returns are rejected at once, also those in the token cache.
    ///
    /// If a call fails, takes longer than 2 s, or returns more than 10,000 domains, the earlier domains stay in use, and the next call
    /// follows after 1 to 30 s. After one hour without a success, and before the first one, a token whose `iss` may be that of a
    /// custom domain gets 503 ([`IssuerError::DomainsUnavailable`](crate::rejection::IssuerError::DomainsUnavailable)).
    /// [`build_ready`](crate::ValidatorBuilder::build_ready) waits for the first success.
    ///
    /// A [revocation](crate::revocation) for the tenant's own domain applies to the tokens of all domains. One for a domain that only
    /// `source` returns applies to the tokens of this domain.
    ///
    /// A second call of this method replaces the source.
    ///
    /// ```
    /// use tower_bearer::Issuer;
    ///
    /// # async fn domains_in_the_database() -> std::io::Result<Vec<String>> { Ok(Vec::new()) }
    /// let tenant = Issuer::auth0("northwind.eu.auth0.com")
    ///     .with_custom_domains_from(|| async { Ok(domains_in_the_database().await?) });
    /// # let _ = tenant;
    /// ```
    #[must_use]
    pub fn with_custom_domains_from<F>(mut self, source: impl Fn() -> F + Send + Sync + 'static) -> Self
    where
        F: Future<Output = Result<Vec<String>, Box<dyn Error + Send + Sync>>> + Send + 'static,
    {
        self.domain_source = Some(DomainSource::new(source));
        self
    }

    /// Adds another `iss` value of the same server. `issuer` is the exact value in the tokens.
    #[must_use]
    pub fn with_alias(mut self, issuer: impl Into<String>) -> Self {
        self.others.push(Domain::Exact(issuer.into()));
        self
    }

    /// Adds every `iss` that matches a pattern, for a server whose tenants have their own `iss` and share its keys. Nothing is
    /// fetched from such an `iss`.
    ///
    /// Each `{name}` in the pattern stands for 1 to 128 letters, digits, `.`, `_` and `-`, without `..`. A part between two slashes
    /// has at most one. In the host, it stands for one label or a part of it, in lower case, and at least two literal labels must
    /// follow. The rest is compared byte for byte. A configured exact `iss` has precedence over every pattern, and the patterns
    /// of one issuer over those of a later one.
    ///
    /// ```
    /// use tower_bearer::Issuer;
    ///
    /// let server = Issuer::oidc("https://id.example.com").with_issuer_pattern("https://id.example.com/t/{tenant}");
    /// # let _ = server;
    /// ```
    ///
    /// Logs and metrics name the pattern instead of the `iss`.
    ///
    /// # Security
    ///
    /// The tokens of every tenant of the server are accepted. If not all of them may call the API, check
    /// [`Claims::issuer`](crate::Claims::issuer) in a [check](crate::ValidatorBuilder::with_check). `sub` identifies a user only
    /// together with `iss`.
    #[must_use]
    pub fn with_issuer_pattern(mut self, pattern: impl Into<String>) -> Self {
        self.patterns.push(pattern.into());
        self
    }

    /// Adds another secret, for example during a rotation. The issuer must come from [`Issuer::shared_secret`].
    ///
    /// For a token, all secrets without a `kid` are tried in turn. A secret with a `kid` is tried only for tokens with this
    /// `kid`; see [`Secret::with_kid`].
    #[must_use]
    pub fn with_secret(mut self, secret: impl Into<Result<Secret, SecretError>>) -> Self {
        match &mut self.keys {
            Keys::Secrets(secrets) => secrets.push(secret.into()),
            Keys::Auth0 | Keys::Discovery | Keys::Jwks(_) | Keys::Static(_) | Keys::SecretSource(_) | Keys::None => {
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

    /// Sets keys that are used until the first fetch has succeeded, so that the API can verify tokens at once, also while the
    /// issuer does not respond: for a function that starts with each request, or a JWK Set that is packaged with the program.
    ///
    /// The keys are stale from the start: a fetch starts as always, and they expire after
    /// [`max_stale`](crate::jwks::RefreshPolicy::with_max_stale) (1 h by default) if none succeeds. The keys of a [key
    /// store](crate::ValidatorBuilder::with_key_store) have precedence. With
    /// [`with_strict_freshness`](crate::jwks::RefreshPolicy::with_strict_freshness), neither is used. A [shared
    /// source](crate::ValidatorBuilder::with_keys_of) uses the initial keys of the validator that created it.
    ///
    /// Accepts a [`KeySet`], or the result of one of its constructors, whose error is reported with all other errors. Allowed only
    /// if the keys of the issuer are fetched.
    ///
    /// ```
    /// use tower_bearer::Issuer;
    /// use tower_bearer::keys::KeySet;
    ///
    /// # fn issuer(jwks: &str) -> Issuer {
    /// Issuer::auth0("northwind.eu.auth0.com").with_initial_keys(KeySet::from_jwks(jwks))
    /// # }
    /// ```
    ///
    /// # Security
    ///
    /// It is not known when the issuer confirmed these keys last, so their age is counted from the start of the process. A key
    /// that the issuer has removed meanwhile is accepted until the first fetch has succeeded.
    #[must_use]
    pub fn with_initial_keys(mut self, keys: impl Into<Result<KeySet, KeyError>>) -> Self {
        self.initial_keys = Some(keys.into());
        self
    }

    /// Allows plain http for hosts other than loopback: for the discovery document and the keys.
    ///
    /// # Security
    ///
    /// An attacker between this process and the server can inject keys and then sign tokens.
    #[must_use]
    pub fn dangerous_allow_http(mut self) -> Self {
        self.plain = PlainHttp::Allowed;
        self
    }

    fn new(first: Domain, keys: Keys) -> Self {
        Self {
            first,
            others: Vec::new(),
            patterns: Vec::new(),
            domain_source: None,
            keys,
            initial_keys: None,
            algorithms: None,
            plain: PlainHttp::OnLoopback,
            misplaced_secret: false,
            introspection: None,
        }
    }

    /// Returns the settings of introspection, with the `iss` to which they belong.
    pub(crate) fn introspection(&self) -> Option<(String, &Introspection)> {
        self.introspection.as_ref().map(|settings| (self.first.as_str().to_owned(), settings))
    }

    fn key_kind(&self) -> IssuerKeyKind {
        match self.keys {
            Keys::None => IssuerKeyKind::None,
            _ if self.is_symmetric() => IssuerKeyKind::Secret,
            _ => IssuerKeyKind::Public,
        }
    }

    /// Returns whether the issuer has shared secrets.
    pub(crate) fn is_symmetric(&self) -> bool {
        matches!(self.keys, Keys::Secrets(_) | Keys::SecretSource(_))
    }

    /// Returns the `iss` values, even if the settings of the issuer have errors. For a malformed Auth0 domain, returns the
    /// `iss` that was probably meant, or nothing.
    pub(crate) fn domains(&self) -> Vec<Box<str>> {
        let ignored = &mut SettingErrors::default();
        self.listed().filter_map(|domain| domain.issuer(ignored).or_else(|| domain.guess_issuer())).collect()
    }

    /// Returns the names of the rules for `iss` values that are not listed, even if they have errors.
    pub(crate) fn rule_names(&self) -> impl Iterator<Item = &str> {
        self.entra_tenants().map(|(_, template)| template).into_iter().chain(self.patterns.iter().map(String::as_str))
    }

    /// Returns the `iss` values that are listed.
    fn listed(&self) -> impl Iterator<Item = &Domain> {
        [&self.first].into_iter().chain(&self.others).filter(|domain| !matches!(domain, Domain::Entra(..)))
    }

    fn entra_tenants(&self) -> Option<(&EntraTenants, &str)> {
        match &self.first {
            Domain::Entra(tenants, template) => Some((tenants, template)),
            Domain::Auth0(_) | Domain::Exact(_) => None,
        }
    }

    /// Resolves the settings to a trusted issuer, and records every error.
    pub(crate) fn resolve(&self, errors: &mut SettingErrors) -> Option<TrustedIssuer> {
        let name = self.first.as_str();
        let domains: Option<Vec<Box<str>>> = self.listed().map(|domain| domain.resolve(errors)).collect();
        let rules = self.resolve_rules(name, errors);
        if self.misplaced_secret {
            errors.push(&setting(name, " secret"), SettingErrorKind::SecretWithPublicKeys);
        }
        let algorithms = self.resolve_algorithms(name, errors);
        let keys = self.resolve_keys(name, &algorithms, errors);
        let introspection = match (&self.introspection, domains.as_ref().and_then(|domains| domains.first())) {
            (Some(settings), Some(issuer)) => {
                Some(introspection::resolve(settings, issuer, self.key_kind(), self.plain, errors)?)
            }
            (Some(_), None) if domains.is_some() => {
                let kind = SettingErrorKind::Introspection(IntrospectionSettingError::NoName);
                errors.push(&setting(name, " introspection"), kind);
                None
            }
            _ => None,
        };
        let domains = domains?;
        Some(TrustedIssuer {
            introspection,
            is_auth0: matches!(self.keys, Keys::Auth0) || domains.iter().any(|issuer| domain::is_auth0_domain(issuer)),
            domains: domains.into_boxed_slice(),
            rules,
            algorithms: algorithms.into_boxed_slice(),
            keys: keys?,
        })
    }

    /// Resolves the rules for `iss` values that are not listed.
    fn resolve_rules(&self, name: &str, errors: &mut SettingErrors) -> Box<[NameRule]> {
        let entra = self.entra_tenants().map(|(tenants, _)| NameRule::Entra(tenants.resolve(errors)));
        let has_others = !self.others.is_empty() || !self.patterns.is_empty() || self.domain_source.is_some();
        if entra.is_some() && has_others {
            errors.push(&setting(name, " names"), SettingErrorKind::NamesBesideEntra);
        }
        let mut pattern = |text: &String| {
            let setting = format!("issuer pattern {text:?}");
            match IssuerPattern::parse(text) {
                Err(error) => {
                    errors.push(&setting, SettingErrorKind::IssuerPattern(error));
                    None
                }
                Ok(pattern) => {
                    domain::check_issuer(&setting, &pattern.example(), errors);
                    domain::endpoint(&setting, &pattern.example(), self.plain, errors)?;
                    Some(NameRule::Pattern(pattern))
                }
            }
        };
        let patterns: Vec<NameRule> = self.patterns.iter().filter_map(&mut pattern).collect();
        let domains = self.domain_source.clone().map(|source| NameRule::Domains(DomainList::new(name, source)));
        entra.into_iter().chain(patterns).chain(domains).collect()
    }

    fn resolve_algorithms(&self, name: &str, errors: &mut SettingErrors) -> Vec<Algorithm> {
        let symmetric = self.is_symmetric();
        if let Keys::None = self.keys {
            if self.algorithms.is_some() {
                let kind = SettingErrorKind::Introspection(IntrospectionSettingError::AlgorithmsWithoutKeys);
                errors.push(&setting(name, " algorithms"), kind);
            }
            return Vec::new();
        }
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

    fn resolve_initial_keys(
        &self,
        name: &str,
        algorithms: &[Algorithm],
        errors: &mut SettingErrors,
    ) -> Option<KeyTable> {
        let set = self.initial_keys.as_ref()?;
        let setting = setting(name, " initial keys");
        match &self.keys {
            Keys::Auth0 | Keys::Discovery | Keys::Jwks(_) => bind_initial(&setting, set, algorithms, errors),
            Keys::Static(_) | Keys::Secrets(_) | Keys::SecretSource(_) | Keys::None => {
                errors.push(&setting, SettingErrorKind::InitialKeysWithoutFetch);
                None
            }
        }
    }

    fn resolve_keys(&self, name: &str, algorithms: &[Algorithm], errors: &mut SettingErrors) -> Option<IssuerKeys> {
        let initial_keys = self.resolve_initial_keys(name, algorithms, errors);
        let remote = |origin| IssuerKeys::Remote { origin, initial_keys };
        match &self.keys {
            Keys::Auth0 => {
                let issuer = self.first.issuer(&mut SettingErrors::default())?;
                domain::auth0_jwks_uri(&issuer).ok().map(|endpoint| remote(Origin::jwks(&issuer, endpoint)))
            }
            Keys::Discovery => {
                let origin = match self.plain {
                    PlainHttp::OnLoopback => Origin::discovery(name),
                    PlainHttp::Allowed => Origin::dangerous_discovery_over_http(name),
                };
                let mut errors_of_name = SettingErrors::default();
                domain::check_issuer(&setting(name, ""), name, &mut errors_of_name);
                origin
                    .map(remote)
                    .map_err(|error| {
                        // Otherwise, the name has an error that says more.
                        if errors_of_name.is_empty() {
                            errors.push(&setting(name, ""), SettingErrorKind::Url(error));
                        }
                    })
                    .ok()
            }
            Keys::Jwks(uri) => {
                let endpoint = domain::endpoint(&setting(name, " jwks_uri"), uri, self.plain, errors);
                endpoint.map(|endpoint| remote(Origin::jwks(name, endpoint)))
            }
            Keys::Static(set) => bind_static(&setting(name, " static keys"), set, algorithms, errors),
            Keys::SecretSource(source) => bind_source(&setting(name, " secret"), source, algorithms, errors),
            Keys::Secrets(secrets) => bind_secrets(&setting(name, " secret"), secrets, algorithms, errors),
            Keys::None => Some(IssuerKeys::Static(KeyTable::from_secrets(Vec::new()))),
        }
    }
}

impl Domain {
    fn as_str(&self) -> &str {
        match self {
            Self::Auth0(text) | Self::Exact(text) | Self::Entra(_, text) => text,
        }
    }

    /// Returns the `iss` value, and records every error.
    fn resolve(&self, errors: &mut SettingErrors) -> Option<Box<str>> {
        if let Self::Exact(issuer) = self {
            domain::check_issuer(&setting(issuer, ""), issuer, errors);
        }
        self.issuer(errors)
    }

    /// Returns the `iss` value, without a check of an exact one. Records why an Auth0 domain has none.
    fn issuer(&self, errors: &mut SettingErrors) -> Option<Box<str>> {
        match self {
            Self::Auth0(bare) => {
                domain::auth0_issuer(&format!("Auth0 domain {bare:?}"), bare, errors).map(String::into_boxed_str)
            }
            Self::Exact(issuer) => Some(Box::from(issuer.as_str())),
            Self::Entra(..) => None,
        }
    }

    /// Returns the `iss` that was probably meant by a malformed Auth0 domain, so that one mistake is reported once.
    fn guess_issuer(&self) -> Option<Box<str>> {
        let bare = self.as_str().trim_start_matches("http://").trim_start_matches("https://").trim_end_matches('/');
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
            Keys::None => "none",
        };
        f.debug_struct("Issuer")
            .field("first", &self.first)
            .field("others", &self.others)
            .field("patterns", &self.patterns)
            .field("keys", &keys)
            .field("algorithms", &self.algorithms)
            .finish_non_exhaustive()
    }
}

/// A valid issuer.
#[derive(Clone, Debug)]
pub(crate) struct TrustedIssuer {
    /// The `iss` values of the issuer that are listed.
    pub(crate) domains: Box<[Box<str>]>,
    /// The rules for further `iss` values.
    pub(crate) rules: Box<[NameRule]>,
    /// Whether the issuer is an Auth0 tenant. No two tenants share a signing key.
    pub(crate) is_auth0: bool,
    pub(crate) algorithms: Box<[Algorithm]>,
    pub(crate) keys: IssuerKeys,
    pub(crate) introspection: Option<IntrospectionPolicy>,
}

impl TrustedIssuer {
    /// Returns the name of the issuer: its first `iss` value, or the first rule if none is listed.
    pub(crate) fn name(&self) -> &str {
        let listed = self.domains.first().map(|issuer| &**issuer);
        listed.or_else(|| self.rules.first().map(NameRule::name)).unwrap_or_default()
    }

    /// Returns the list of the custom domains that the application returns.
    pub(crate) fn custom_domains(&self) -> Option<&DomainList> {
        self.rules.iter().find_map(|rule| match rule {
            NameRule::Domains(domains) => Some(domains),
            NameRule::Pattern(_) | NameRule::Entra(_) => None,
        })
    }

    /// Returns the rule for the tenants of Entra ID.
    pub(crate) fn entra(&self) -> Option<&EntraRule> {
        self.rules.iter().find_map(|rule| match rule {
            NameRule::Entra(entra) => Some(entra),
            NameRule::Pattern(_) | NameRule::Domains(_) => None,
        })
    }
}

/// Names a setting of an issuer in an error.
fn setting(issuer: &str, suffix: &str) -> String {
    format!("issuer {issuer:?}{suffix}")
}
