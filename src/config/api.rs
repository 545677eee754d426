//! `Api`: the configuration of one API.

use std::collections::BTreeSet;
use std::sync::Arc;
use std::time::Duration;

use crate::claims::{
    ClaimsSettings, ClientClaim, ClientRule, ConfirmationRule, IdTokenMarkers, MissingAudience, OrganizationRule,
    Profile, Rules,
};
use crate::config::domain::is_unprintable;
use crate::config::dpop;
use crate::config::error::{SettingErrorKind, SettingErrors, numbered};
use crate::config::hosts::HostRules;
use crate::config::implied_scopes;
use crate::config::introspection;
use crate::config::issuer::{Issuer, TrustedIssuer};
use crate::config::mutual_tls;
use crate::config::organizations::{self, OrganizationOfRequest, Organizations};
use crate::config::tenants::{TenantPolicy, Tenants};
use crate::defaults;
use crate::dpop::{Dpop, DpopRules, ProofPolicy};
use crate::mutual_tls::{MutualTls, MutualTlsRules};
use crate::token::{bare_media_type, is_type_of_other_protocol};

/// The configuration of an API: its audiences, the issuers that it trusts, and its rules for claims.
///
/// ```
/// use std::time::Duration;
/// use tower_bearer::{Api, Issuer};
///
/// let api = Api::new("https://api.northwind.com", Issuer::auth0("northwind.eu.auth0.com"))
///     .with_leeway(Duration::from_secs(2))
///     .with_required_claims(["sub"]);
/// # let _ = api;
/// ```
#[derive(Clone, Debug)]
pub struct Api {
    audiences: Vec<String>,
    issuers: Vec<Issuer>,
    tenants: Vec<Tenants>,
    leeway: Duration,
    profile: Profile,
    required: Vec<String>,
    max_age: Option<Duration>,
    max_token_bytes: usize,
    confirmation: ConfirmationRule,
    hosts: Vec<(String, String)>,
    issuer_from_host: bool,
    clients: Option<Vec<String>>,
    client_claim: Option<String>,
    token_types: Vec<String>,
    missing_audience: MissingAudience,
    id_token_markers: IdTokenMarkers,
    organizations: Option<Organizations>,
    dpop: Option<Dpop>,
    mutual_tls: Option<MutualTls>,
    sender_constraint: SenderConstraintRule,
    implied_scopes: Vec<(String, Vec<String>)>,
}

impl Api {
    /// Creates an API with one audience and one trusted issuer.
    ///
    /// A token is accepted only if its `aud` contains the audience. The two are compared exactly, character by character (RFC
    /// 7519 §4.1.3).
    #[must_use]
    pub fn new(audience: impl Into<String>, issuer: Issuer) -> Self {
        Self::with_issuers(audience.into(), vec![issuer], Vec::new())
    }

    /// Creates an API with one audience and tenants that are not known at start, each with its own keys: see [`Tenants`]. Issuers
    /// that are known at start can be [added](Self::with_issuer).
    #[must_use]
    pub fn for_tenants(audience: impl Into<String>, tenants: Tenants) -> Self {
        Self::with_issuers(audience.into(), Vec::new(), vec![tenants])
    }

    fn with_issuers(audience: String, issuers: Vec<Issuer>, tenants: Vec<Tenants>) -> Self {
        Self {
            audiences: vec![audience],
            issuers,
            tenants,
            leeway: defaults::LEEWAY,
            profile: Profile::Any,
            required: Vec::new(),
            max_age: None,
            max_token_bytes: defaults::MAX_TOKEN_BYTES,
            confirmation: ConfirmationRule::Rejected,
            hosts: Vec::new(),
            issuer_from_host: false,
            clients: None,
            client_claim: None,
            token_types: Vec::new(),
            missing_audience: MissingAudience::Rejected,
            id_token_markers: IdTokenMarkers::Rejected,
            organizations: None,
            dpop: None,
            mutual_tls: None,
            sender_constraint: SenderConstraintRule::Allowed,
            implied_scopes: Vec::new(),
        }
    }

    /// Adds another audience of the same API. A token is accepted if its `aud` contains at least one of the audiences.
    #[must_use]
    pub fn with_audience(mut self, audience: impl Into<String>) -> Self {
        self.audiences.push(audience.into());
        self
    }

    /// Adds another trusted issuer. The keys of an issuer verify only tokens whose `iss` belongs to this issuer.
    ///
    /// Two issuers may have the same `iss` if one has public keys and the other has a shared secret, for the time in which a
    /// server changes from one to the other. The kind of the token's `alg` then selects the issuer.
    ///
    /// ```
    /// use tower_bearer::{Algorithm, Api, Issuer, Secret, Validator};
    ///
    /// # fn main() -> Result<(), tower_bearer::ConfigError> {
    /// let iss = "https://abcdefgh.supabase.co/auth/v1";
    /// let keys = Issuer::jwks(iss, format!("{iss}/.well-known/jwks.json")).with_algorithms([Algorithm::ES256]);
    /// let secret = Issuer::shared_secret(iss, Secret::from_text("the former JWT secret of the project"));
    /// let validator = Validator::new(Api::new("authenticated", keys).with_issuer(secret))?;
    /// # let _ = validator; Ok(()) }
    /// ```
    ///
    /// # Security
    ///
    /// A key is tried only for tokens with an algorithm of its kind: a public key is never an HMAC secret (RFC 8725 §3.1).
    #[must_use]
    pub fn with_issuer(mut self, issuer: Issuer) -> Self {
        self.issuers.push(issuer);
        self
    }

    /// Adds tenants that are not known at start, each with its own keys: see [`Tenants`]. An issuer of
    /// [`with_issuer`](Self::with_issuer) has precedence, and the tenants of an earlier call over those of a later one.
    #[must_use]
    pub fn with_tenants(mut self, tenants: Tenants) -> Self {
        self.tenants.push(tenants);
        self
    }

    /// Sets the tolerated clock skew for `exp`, `nbf` and `iat`, and for `auth_time` where a route limits the
    /// [age of the authentication](crate::Requirement::max_authentication_age). Default: 5 s, which is enough for clocks that NTP
    /// synchronizes. Maximum: 300 s.
    #[must_use]
    pub fn with_leeway(mut self, leeway: Duration) -> Self {
        self.leeway = leeway;
        self
    }

    /// Sets which values of the header member `typ` are accepted. Default: [`Profile::Any`], which fits all common
    /// authorization servers.
    #[must_use]
    pub fn with_profile(mut self, profile: Profile) -> Self {
        self.profile = profile;
        self
    }

    /// Accepts further values of the header member `typ`, for a server that uses its own. Each is compared without regard to
    /// case, with and without the prefix `application/` (RFC 7515 §4.1.9). Only with [`Profile::Any`]. Default: none.
    ///
    /// ```
    /// # use tower_bearer::{Api, Issuer};
    /// # let issuer = Issuer::oidc("https://id.northwind.com");
    /// let api = Api::new("https://api.northwind.com", issuer).with_token_types(["northwind-access+jwt"]);
    /// # let _ = api;
    /// ```
    ///
    /// # Security
    ///
    /// The types of other protocols are an error of the configuration: `dpop+jwt`, `logout+jwt`, `secevent+jwt`,
    /// `token-introspection+jwt` and others. A server may sign such a token with the same keys, and `typ` is then what
    /// distinguishes it from an access token (RFC 8725 §3.11).
    #[must_use]
    pub fn with_token_types<T: Into<String>>(mut self, types: impl IntoIterator<Item = T>) -> Self {
        self.token_types.extend(types.into_iter().map(Into::into));
        self
    }

    /// Requires claims in addition to `iss`, `aud` and `exp`, which every token needs. Default: none.
    ///
    /// A required claim must be present and not empty: an empty string, array or object counts as missing. A claim that this
    /// crate knows must have its registered type, such as a string for `sub`. Any other claim must not be null.
    #[must_use]
    pub fn with_required_claims<N: Into<String>>(mut self, names: impl IntoIterator<Item = N>) -> Self {
        self.required.extend(names.into_iter().map(Into::into));
        self
    }

    /// Rejects tokens that were issued more than `age` ago, even if `exp` is in the future. Tokens without `iat` are then
    /// rejected as well. Default: no limit.
    #[must_use]
    pub fn with_max_token_age(mut self, age: Duration) -> Self {
        self.max_age = Some(age);
        self
    }

    /// Sets the maximum length of a token in bytes, from 256 to 1 MiB. Default: 16 KiB, twice the length of an Auth0 token with
    /// a hundred permissions.
    ///
    /// A longer token is rejected before it is parsed. The memory that one validation allocates is at most a small multiple of
    /// this length.
    #[must_use]
    pub fn with_max_token_bytes(mut self, bytes: usize) -> Self {
        self.max_token_bytes = bytes;
        self
    }

    /// Accepts only tokens that were issued to one of these clients: `client_id`, or `azp` if there is no `client_id`.
    /// Default: the tokens of every client are accepted.
    ///
    /// With this list, tokens of Amazon Cognito are accepted, which have no `aud`: such a token must have a `client_id` of the
    /// list, and its `token_use` must be `access`. The `aud` of any other token is checked as usual. With [`Profile::Rfc9068`],
    /// every token needs `aud`. For other servers that write no `aud`, see
    /// [`dangerous_allow_missing_audience`](Self::dangerous_allow_missing_audience).
    ///
    /// # Security
    ///
    /// A client id is unique only within one issuer. An API with several issuers accepts the same id from each of them. If that
    /// is a risk, use a separate `Api` and validator for each issuer.
    #[must_use]
    pub fn with_client_ids<I: Into<String>>(mut self, ids: impl IntoIterator<Item = I>) -> Self {
        self.clients.get_or_insert_default().extend(ids.into_iter().map(Into::into));
        self
    }

    /// Sets the claim with the id of the client, for a server that writes it into another claim: `cid` (Okta), `appid` (version 1
    /// tokens of Entra ID). Default: `client_id`, or `azp` if there is no `client_id`.
    ///
    /// [`Claims::client_id`](crate::Claims::client_id) returns this claim. [`with_client_ids`](Self::with_client_ids),
    /// [`Requirement::client_ids`](crate::Requirement::client_ids) and entries of
    /// [`Revocation::client`](crate::revocation::Revocation::client) compare only this claim. It must be a string: a token
    /// without it does not meet them, also if it has a `client_id`.
    #[must_use]
    pub fn with_client_claim(mut self, claim: impl Into<String>) -> Self {
        self.client_claim = Some(claim.into());
        self
    }

    /// Accepts tokens without `aud` (Clerk, WorkOS). A token that has `aud` must still contain an audience of the API.
    ///
    /// Requires [`with_client_ids`](Self::with_client_ids), or else a check of the application
    /// ([`ValidatorBuilder::with_check`](crate::ValidatorBuilder::with_check)) which ensures that the token is for this API.
    /// Otherwise the configuration is an error, and also with [`Profile::Rfc9068`], which requires `aud`.
    ///
    /// ```
    /// # use tower_bearer::{Api, Issuer};
    /// // Clerk writes the origin of the web application into `azp`.
    /// let issuer = Issuer::oidc("https://clerk.northwind.com");
    /// let api = Api::new("https://api.northwind.com", issuer)
    ///     .with_client_ids(["https://app.northwind.com"])
    ///     .dangerous_allow_missing_audience();
    /// # let _ = api;
    /// ```
    ///
    /// # Security
    ///
    /// `aud` prevents that a token for one API is used at another (RFC 8725 §3.9). Without `aud`, this API accepts every token
    /// that the issuer writes for an accepted client, whatever API the client requested it for. If the server can write `aud`,
    /// configure it there instead.
    #[must_use]
    pub fn dangerous_allow_missing_audience(mut self) -> Self {
        self.missing_audience = MissingAudience::Accepted;
        self
    }

    /// Accepts access tokens with claims that usually only an ID token has: `at_hash`, `c_hash` and, with [`Profile::Auth0`],
    /// `nonce`. Dex writes `at_hash` into every access token.
    ///
    /// A token that says that it is an ID token, by `token_use: "id"` or `typ: "ID"` in its claims, is still rejected.
    ///
    /// # Security
    ///
    /// Without this check, only `aud` distinguishes an access token from an ID token. So no audience of this API may be the id
    /// of a client that receives ID tokens from the same issuer. With Dex, `aud` is always such an id: everyone who obtains an
    /// ID token of the client can then call the API.
    #[must_use]
    pub fn dangerous_accept_id_token_markers(mut self) -> Self {
        self.id_token_markers = IdTokenMarkers::Accepted;
        self
    }

    /// Accepts only tokens of these organizations.
    ///
    /// Default: tokens of any organization, and tokens without one, are accepted. A handler that serves the data of an
    /// organization must then check [`Claims::organization`](crate::Claims::organization) itself.
    #[must_use]
    pub fn with_organizations(mut self, organizations: Organizations) -> Self {
        self.organizations = Some(organizations);
        self
    }

    /// Adds scopes that imply others: a token with the scope `admin` then meets each requirement that a token with `read` meets.
    /// Default: no scope implies another.
    ///
    /// Implication is transitive. Every [`Requirement`](crate::Requirement) for a scope uses it, and
    /// [`Claims::grants_scope`](crate::Claims::grants_scope) does. [`Claims::scopes`](crate::Claims::scopes) still returns the scopes
    /// of the token. Challenges name the scope that a requirement names.
    ///
    /// A name that is not a scope-token (RFC 6749 §3.3), a scope that implies nothing, and a cycle are configuration errors.
    ///
    /// ```
    /// use tower_bearer::{Api, Issuer};
    ///
    /// let api = Api::new("https://api.northwind.com", Issuer::auth0("northwind.eu.auth0.com"))
    ///     .with_implied_scopes([("admin", ["read:orders", "write:orders"])])
    ///     .with_implied_scopes([("write:orders", ["read:orders"])]);
    /// # let _ = api;
    /// ```
    ///
    /// # Security
    ///
    /// The scopes of every issuer of the API imply others in the same way. Where clients get every scope that they request, as
    /// at an Auth0 API without role-based access control, every client can get the implied scopes.
    #[must_use]
    pub fn with_implied_scopes(
        mut self,
        implied: impl IntoIterator<Item = (impl Into<String>, impl IntoIterator<Item = impl Into<String>>)>,
    ) -> Self {
        let pairs =
            implied.into_iter().map(|(scope, implied)| (scope.into(), implied.into_iter().map(Into::into).collect()));
        self.implied_scopes.extend(pairs);
        self
    }

    /// Binds `host` to `issuer`: for requests to this host, only tokens with this `iss` are accepted. `issuer` must be an `iss`
    /// value of a configured issuer.
    ///
    /// If at least one host is bound, requests to all other hosts are rejected. Default: no host is bound, and every issuer is
    /// accepted for every host.
    ///
    /// # Security
    ///
    /// The client chooses the `Host` header. The binding prevents that a token of one brand is used by mistake at the host of
    /// another brand. It does not stop an attacker, unless a proxy in front of the service sets or checks the host.
    #[must_use]
    pub fn with_issuer_for_host(mut self, host: impl Into<String>, issuer: impl Into<String>) -> Self {
        self.hosts.push((host.into(), issuer.into()));
        self
    }

    /// Binds the host of each configured `iss` to this `iss`: for requests to this host, only tokens with this `iss` are
    /// accepted. Use it for an API that is served at the hosts of its issuers.
    ///
    /// For example, a request to `login.northwind.com` must then have a token with the `iss` `https://login.northwind.com/`.
    /// Requests to all other hosts are rejected. Auth0's Management API has the same rule for custom domains.
    ///
    /// # Security
    ///
    /// As for [`Api::with_issuer_for_host`].
    #[must_use]
    pub fn with_issuer_from_host(mut self) -> Self {
        self.issuer_from_host = true;
        self
    }

    /// Accepts tokens that are bound to a key, with a proof of possession in each request (DPoP, RFC 9449). Default: such tokens are
    /// rejected, because the URL under which clients reach the API is needed to check a proof.
    ///
    /// Bearer tokens are still accepted. A token that is bound to a key is never accepted without its proof.
    #[must_use]
    pub fn with_dpop(mut self, dpop: Dpop) -> Self {
        self.dpop = Some(dpop);
        self
    }

    /// Accepts tokens that are bound to a certificate, from clients that have authenticated with this certificate (mutual TLS, RFC 8705
    /// §3). Default: such tokens are rejected, because the API does not know where the certificate of a client comes from.
    ///
    /// Bearer tokens are still accepted. A token that is bound to a certificate is never accepted without it. With
    /// [`with_dpop`](Self::with_dpop), the API accepts tokens with either binding; a token with both needs the certificate and a proof.
    #[must_use]
    pub fn with_mutual_tls(mut self, mutual_tls: MutualTls) -> Self {
        self.mutual_tls = Some(mutual_tls);
        self
    }

    /// Rejects bearer tokens: each request must prove that its client has the key or the certificate to which the token is bound.
    /// Default: bearer tokens are accepted as well; [`Requirement::sender_constrained`](crate::Requirement::sender_constrained) rejects
    /// them for one route.
    #[must_use]
    pub fn with_sender_constrained_only(mut self) -> Self {
        self.sender_constraint = SenderConstraintRule::Required;
        self
    }

    /// Accepts tokens that are bound to a key or a certificate (`cnf`) without proof of possession.
    ///
    /// # Security
    ///
    /// An attacker who steals such a token can use it. RFC 9449 §7.2 forbids APIs to accept a DPoP-bound token without its
    /// proof.
    #[must_use]
    pub fn dangerous_ignore_confirmation(mut self) -> Self {
        self.confirmation = ConfirmationRule::Ignored;
        self
    }

    /// Returns what the API accepts as a proof, if it uses DPoP.
    pub(crate) fn proof_policy(&self) -> Option<&ProofPolicy> {
        self.dpop.as_ref().map(|dpop| &dpop.policy)
    }

    /// Returns whether certificate-bound tokens are accepted.
    pub(crate) fn uses_mutual_tls(&self) -> bool {
        self.mutual_tls.is_some()
    }

    /// Returns whether bearer tokens are accepted.
    pub(crate) fn sender_constraint_rule(&self) -> SenderConstraintRule {
        self.sender_constraint
    }

    /// Resolves the whole configuration and records every error. `application_checks` is the number of checks that the
    /// application has added.
    pub(crate) fn resolve(&self, application_checks: usize, errors: &mut SettingErrors) -> Option<Policy> {
        self.check_rules(errors);
        self.check_missing_audience(application_checks, errors);
        let issuers: Vec<Option<TrustedIssuer>> = self.issuers.iter().map(|issuer| issuer.resolve(errors)).collect();
        let introspected: Vec<_> = self.issuers.iter().filter_map(Issuer::introspection).collect();
        introspection::check_prefixes(&introspected, errors);
        let mut known = BTreeSet::new();
        // Also the domains of an issuer with other errors: otherwise host bindings to it would be reported, and duplicates not.
        for issuer in &self.issuers {
            for domain in issuer.domains() {
                let setting = format!("issuer {domain:?}");
                if !known.insert((domain, issuer.is_symmetric())) {
                    errors.push(&setting, SettingErrorKind::DuplicateIssuer);
                }
            }
        }
        let mut known: Vec<Box<str>> = known.into_iter().map(|(domain, _)| domain).collect();
        known.dedup();
        self.check_duplicate_rules(errors);
        let tenants: Vec<Option<TenantPolicy>> = self.tenants.iter().map(|tenants| tenants.resolve(errors)).collect();
        let accepts = |name: &str| {
            let mut rules = issuers.iter().flatten().flat_map(|issuer| &issuer.rules);
            rules.any(|rule| rule.accepts_issuer(name)) || tenants.iter().flatten().any(|tenants| tenants.allows(name))
        };
        let hosts = HostRules::resolve(&self.hosts, self.issuer_from_host, &known, accepts, errors);
        let clients = self.clients.as_ref().map(|ids| organizations::non_empty_list("client ids", ids, errors));
        let (organizations, organization_of) = match &self.organizations {
            Some(organizations) => organizations.resolve(errors),
            None => (OrganizationRule::Any, None),
        };
        let possession = self.resolve_possession(errors);
        let claims_settings = self.resolve_claims_settings(errors);
        let rules = Rules {
            audiences: self.audiences.iter().map(|audience| Box::from(audience.as_str())).collect(),
            leeway: self.leeway,
            missing_audience: self.missing_audience,
            profile: self.profile,
            token_types: self.resolve_token_types(errors),
            required: self.required.iter().map(|name| Arc::from(name.as_str())).collect(),
            max_age: self.max_age,
            confirmation: if self.checks_possession() { ConfirmationRule::Proven } else { self.confirmation },
            id_token_markers: self.id_token_markers,
            clients: ClientRule { accepted: clients.unwrap_or_default(), claim: claims_settings.client_claim.clone() },
            organizations,
        };
        let issuers = issuers.into_iter().collect::<Option<Vec<TrustedIssuer>>>()?;
        let max_token_bytes = self.max_token_bytes;
        Some(Policy {
            rules,
            issuers,
            tenants: tenants.into_iter().collect::<Option<_>>()?,
            hosts,
            organization_of,
            possession: possession?,
            claims_settings: Arc::new(claims_settings),
            max_token_bytes,
        })
    }

    /// Returns the settings on which the meaning of claims depends.
    pub(crate) fn resolve_claims_settings(&self, errors: &mut SettingErrors) -> ClaimsSettings {
        ClaimsSettings {
            implied_scopes: implied_scopes::resolve(&self.implied_scopes, errors),
            client_claim: ClientClaim(self.client_claim.as_deref().map(Box::from)),
            leeway: self.leeway,
        }
    }

    fn check_duplicate_rules(&self, errors: &mut SettingErrors) {
        let mut known = BTreeSet::new();
        for issuer in &self.issuers {
            for name in issuer.rule_names() {
                if !known.insert((name, issuer.is_symmetric())) {
                    errors.push(&format!("issuer {name:?}"), SettingErrorKind::DuplicateIssuer);
                }
            }
        }
        let mut labels = BTreeSet::new();
        for label in self.tenants.iter().map(Tenants::label) {
            if !labels.insert(label) {
                errors.push(&format!("tenants {label:?}"), SettingErrorKind::DuplicateIssuer);
            }
        }
    }

    /// Returns `None` if a setting has an error.
    fn resolve_possession(&self, errors: &mut SettingErrors) -> Option<PossessionRules> {
        if self.checks_possession() {
            if self.confirmation == ConfirmationRule::Ignored {
                errors.push("dangerous_ignore_confirmation", SettingErrorKind::IgnoredConfirmation);
            }
        } else if self.sender_constraint == SenderConstraintRule::Required {
            errors.push("sender-constrained only", SettingErrorKind::NoSenderConstraint);
        }
        let audience = self.audiences.first().map(String::as_str).unwrap_or_default();
        let dpop = self.dpop.as_ref().map(|dpop| dpop::resolve(dpop, audience, errors));
        let mutual_tls = self.mutual_tls.as_ref().map(|mutual_tls| mutual_tls::resolve(mutual_tls, errors));
        let (dpop, mutual_tls) = match (dpop, mutual_tls) {
            (Some(None), _) | (_, Some(None)) => return None,
            (dpop, mutual_tls) => (dpop.flatten(), mutual_tls.flatten()),
        };
        Some(PossessionRules { dpop, mutual_tls, sender_constraint: self.sender_constraint })
    }

    fn checks_possession(&self) -> bool {
        self.dpop.is_some() || self.mutual_tls.is_some()
    }

    fn resolve_token_types(&self, errors: &mut SettingErrors) -> Box<[Box<str>]> {
        if !self.token_types.is_empty() && self.profile != Profile::Any {
            errors.push("token types", SettingErrorKind::TokenTypesWithProfile);
        }
        let mut resolve = |typ: &String| {
            let setting = format!("token type {typ:?}");
            let bare = bare_media_type(typ);
            if bare.is_empty() {
                errors.push(&setting, SettingErrorKind::Empty);
            } else if is_unprintable(&bare) {
                errors.push(&setting, SettingErrorKind::Unprintable);
            } else if is_type_of_other_protocol(typ) {
                errors.push(&setting, SettingErrorKind::TokenTypeOfOtherProtocol);
            }
            bare.into_boxed_str()
        };
        self.token_types.iter().map(&mut resolve).collect()
    }

    fn check_missing_audience(&self, application_checks: usize, errors: &mut SettingErrors) {
        let in_answers = self.issuers.iter().filter_map(Issuer::introspection);
        let in_answers = in_answers.map(|(_, settings)| settings).any(introspection::allows_missing_audience);
        if self.missing_audience == MissingAudience::Rejected && !in_answers {
            return;
        }
        if self.profile == Profile::Rfc9068 {
            errors.push("tokens without aud", SettingErrorKind::MissingAudienceWithProfile);
        }
        if self.clients.is_none() && application_checks == 0 {
            errors.push("tokens without aud", SettingErrorKind::MissingAudienceUnrestricted);
        }
    }

    fn check_rules(&self, errors: &mut SettingErrors) {
        for (at, audience) in self.audiences.iter().enumerate() {
            if audience.is_empty() {
                errors.push(&numbered("audience", at, self.audiences.len()), SettingErrorKind::Empty);
            } else if audience.chars().any(char::is_control) || audience.trim() != audience {
                errors.push(&format!("audience {audience:?}"), SettingErrorKind::Unprintable);
            }
        }
        if self.required.iter().any(String::is_empty) {
            errors.push("required claims", SettingErrorKind::Empty);
        }
        if self.client_claim.as_ref().is_some_and(String::is_empty) {
            errors.push("client claim", SettingErrorKind::Empty);
        }
        if self.leeway > defaults::MAX_LEEWAY {
            errors.push("leeway", SettingErrorKind::Leeway);
        }
        if self.max_age == Some(Duration::ZERO) {
            errors.push("max age", SettingErrorKind::MaxAge);
        }
        if !(defaults::MIN_TOKEN_CAP..=defaults::MAX_TOKEN_CAP).contains(&self.max_token_bytes) {
            errors.push("max token bytes", SettingErrorKind::TokenSize);
        }
    }
}

/// A valid configuration.
pub(crate) struct Policy {
    pub(crate) rules: Rules,
    pub(crate) issuers: Vec<TrustedIssuer>,
    pub(crate) tenants: Vec<TenantPolicy>,
    pub(crate) hosts: HostRules,
    /// The function that returns the organization of a request, if the policy depends on it.
    pub(crate) organization_of: Option<OrganizationOfRequest>,
    pub(crate) possession: PossessionRules,
    pub(crate) claims_settings: Arc<ClaimsSettings>,
    pub(crate) max_token_bytes: usize,
}

/// How requests prove that their client has the key or the certificate of the token.
#[derive(Clone, Debug)]
pub(crate) struct PossessionRules {
    pub(crate) dpop: Option<DpopRules>,
    pub(crate) mutual_tls: Option<MutualTlsRules>,
    pub(crate) sender_constraint: SenderConstraintRule,
}

/// Whether a token must be bound to a key or a certificate.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum SenderConstraintRule {
    /// Bearer tokens are accepted.
    Allowed,
    Required,
}
