//! `Validator`: all checks from the text of a token to verified claims.

mod accept;
mod application;
mod builder;
mod context;
mod custom_domains;
mod decision;
mod explain;
mod find;
mod grace;
mod header_cache;
mod introspect;
mod introspected_jwt;
mod log_limit;
mod one_task;
mod possession;
mod token_cache;
mod routing;
mod record;
mod revocation;
mod sharing;
mod still_valid;
mod tenants;
mod trusted_issuer;
mod verify;

use std::fmt;
use std::num::NonZeroU64;
use std::sync::Arc;

use serde::de::DeserializeOwned;

use self::application::Application;
pub use self::builder::{BuildError, ValidatorBuilder};
pub(crate) use self::context::RequestContext;
use self::custom_domains::CustomDomains;
use self::decision::PendingAnswer;
pub(crate) use self::decision::{AwaitedKeys, Decision, Pending, PendingKey, Validated};
pub use self::explain::explanation::{CheckOutcome, Explanation, Finding};
pub(crate) use self::explain::hints::hint_for_error;
use self::find::{FindError, Found};
use self::header_cache::HeaderCache;
pub(crate) use self::log_limit::LogLimit;
pub(crate) use self::possession::Possession;
pub(crate) use self::record::{record_early, record_unmet};
use self::revocation::RevocationList;
use self::routing::{Route, RouteId, Routes};
use self::sharing::SharedSource;
use self::tenants::TenantGroup;
pub use self::tenants::list::{TenantCounts, TenantList};
use self::token_cache::TokenCache;
use self::token_cache::lookup::Hit;
pub(crate) use self::trusted_issuer::Times;
pub use self::trusted_issuer::TrustedIssuer;
pub(crate) use self::verify::FailedEpoch;
use crate::claims::{
    CheckInput, CheckedSource, ClaimError, ClaimErrorReason, Claims, ClaimsSettings, NoCustomClaims, Rules,
};
use crate::clock::{Clock, Timestamp};
use crate::config::{Api, ConfigError, EntraRule, HostRules, OrganizationOfRequest};
use crate::introspection::Client;
use crate::jwks::{KeyRing, KeySource};
use crate::keys::SignedToken;
use crate::rejection::{CheckError, Rejection};
use crate::request::credential::Credential;
use crate::request::{Host, RequestHead};
use crate::telemetry::Validation;
use crate::token::{Algorithm, Payload, TokenError, UnverifiedToken};

/// Validates the access tokens of one API and returns their claims.
///
/// A clone is cheap and shares the keys and all other state. There is no global state: a process can have any number of
/// validators.
///
/// ```
/// use tower_bearer::testing::TestIssuer;
/// use tower_bearer::{Api, Issuer, RejectionKind, Validator};
///
/// # #[tokio::main(flavor = "current_thread")] async fn main() -> Result<(), Box<dyn std::error::Error>> {
/// let server = TestIssuer::auth0("northwind.eu.auth0.com");
/// let api = Api::new("https://api.northwind.com", Issuer::auth0("northwind.eu.auth0.com"));
/// let validator = Validator::builder(api).with_fetch(server.clone()).build()?;
///
/// let token = server.token().audience("https://api.northwind.com").subject("ann").sign();
/// assert_eq!(validator.validate(&token).await?.subject(), Some("ann"));
///
/// let foreign = server.token().audience("https://api.other.com").sign();
/// assert_eq!(validator.validate(&foreign).await.unwrap_err().kind(), RejectionKind::Audience);
/// # Ok(()) }
/// ```
pub struct Validator<C = NoCustomClaims> {
    core: Arc<Core>,
    application: Application<C>,
    token_cache: Option<Arc<TokenCache<C>>>,
}

/// The part of a validator that does not depend on the type of the custom claims.
struct Core {
    rules: Rules,
    hosts: HostRules,
    /// Returns the organization of a request, if the API checks one.
    organization_of: Option<OrganizationOfRequest>,
    possession: Possession,
    /// Limits the log of certificate headers that cannot be used.
    certificate_log: LogLimit,
    revocations: Option<RevocationList>,
    claims_settings: Arc<ClaimsSettings>,
    routes: Routes,
    issuers: Box<[IssuerState]>,
    /// The tenants that are not known at start, by rule.
    tenants: Box<[TenantGroup]>,
    custom_domains: Box<[CustomDomains]>,
    header_cache: HeaderCache,
    max_token_bytes: usize,
    token_cache_bytes: usize,
    clock: Arc<dyn Clock>,
}

/// A trusted issuer with its keys and algorithms.
struct IssuerState {
    /// The first `iss` value of the issuer, or the name of its rule.
    name: Box<str>,
    algorithms: Box<[Algorithm]>,
    /// Whether the issuer is an Auth0 tenant.
    is_auth0: bool,
    /// The rule for the tenants of Entra ID, if the issuer stands for them.
    entra: Option<EntraRule>,
    keys: KeyRing,
    /// The client of the issuer's introspection endpoint.
    introspection: Option<Arc<Client>>,
    /// The key source, if other validators can share it.
    shared_source: Option<SharedSource>,
}

impl Validator {
    /// Creates a validator that fetches with `reqwest` and uses the system clock.
    ///
    /// # Errors
    ///
    /// Returns [`ConfigError`], which lists all errors of the configuration.
    pub fn new(api: Api) -> Result<Self, ConfigError> {
        Self::builder(api).build()
    }

    /// Returns a builder, to set another HTTP client, clock or refresh policy.
    #[must_use]
    pub fn builder(api: Api) -> ValidatorBuilder {
        ValidatorBuilder::new(api)
    }

    /// Deserializes the custom claims of each token into `C`. The claims are deserialized from the verified bytes, after the
    /// checks of this crate and before the [checks](Self::with_check) of the application.
    ///
    /// A token whose claims do not match `C` is rejected with [`Rejection::CustomClaims`], which names the claim and the
    /// reason. Unknown claims are ignored unless `C` denies them (`#[serde(deny_unknown_fields)]`).
    #[must_use]
    pub fn with_custom_claims<C: DeserializeOwned + Send + Sync + 'static>(self) -> Validator<C> {
        Validator {
            token_cache: self.core.token_cache(),
            core: self.core,
            application: self.application.with_custom_claims(),
        }
    }
}

impl<C: Send + Sync + 'static> Validator<C> {
    /// Adds an application-defined check, such as a deny list or a tenant rule.
    ///
    /// The check runs for every token, also for one that is in the token cache, as soon as all other checks of the validator
    /// have passed, except that a DPoP proof is recorded afterwards. So a token that the check rejects has not used its proof, and the
    /// check also runs for a proof that was used before: it must not count uses. Its result is never cached. The requirements of a
    /// route are checked later, by [`RequireLayer`](crate::RequireLayer) or the handler.
    ///
    /// # Security
    ///
    /// If an accessor of [`Claims`] returns `None`, the claim is absent or has an unexpected type. This concerns `org_id`,
    /// `client_id`, `acr` and others, but not `jti` and `sub`: a token in which one of these two has an unexpected type is
    /// rejected before any check runs. A check that rejects tokens by a claim must read the claim with [`Claims::claim`], which
    /// returns an error for an unexpected type.
    #[must_use]
    pub fn with_check(mut self, check: impl Fn(&Claims<C>) -> Result<(), CheckError> + Send + Sync + 'static) -> Self {
        self.application.add_check(Arc::new(check));
        self
    }

    /// Validates a token. `token` is the text after `Bearer `.
    ///
    /// The future waits only if the issuer is a tenant that must be looked up, if no keys are usable, if the `kid` is unknown, if
    /// the token must be introspected, or, at most once a minute, if no key verifies the signature. It can be dropped at any time,
    /// for example in `tokio::select!`; a fetch in flight then continues.
    ///
    /// # Errors
    ///
    /// Returns [`Rejection`] for the first check that fails.
    pub async fn validate(&self, token: &str) -> Result<Claims<C>, Rejection> {
        self.validate_with_context(&Credential::Text(token), &RequestContext::default()).await
    }

    /// Validates a token of a request to `host`, for an API that binds issuers to hosts. `host` has the form `host` or
    /// `host:port`.
    ///
    /// # Errors
    ///
    /// Returns [`Rejection`] for the first check that fails; [`Rejection::Host`] if `host` is malformed.
    pub async fn validate_for_host(&self, token: &str, host: &str) -> Result<Claims<C>, Rejection> {
        let host = Host::parse(host).map_err(Rejection::Host).inspect_err(record_early)?;
        let context = self.context_for_host(host).inspect_err(record_early)?;
        self.validate_with_context(&Credential::Text(token), &context).await
    }

    /// Validates a token of a request, for an API that binds issuers to hosts, derives the organization from the request, or uses
    /// DPoP. A [`BearerLayer`](crate::BearerLayer) does this for each request.
    ///
    /// With DPoP, the scheme of the `Authorization` header says whether the request needs a proof, and the header `DPoP` contains it.
    ///
    /// The future waits in the same cases as that of [`validate`](Self::validate). With DPoP, it also waits for a
    /// [replay store](crate::dpop::Dpop::with_replay_store) that does not respond at once, such as Redis.
    ///
    /// # Errors
    ///
    /// Returns [`Rejection`] for the first check that fails: [`Rejection::Credential`] if the request has two `Authorization` headers,
    /// [`Rejection::NoCredential`] if the scheme is `DPoP` and the API accepts only bearer tokens.
    pub async fn validate_request(&self, token: &str, request: &RequestHead<'_>) -> Result<Claims<C>, Rejection> {
        let context = self.context_of_caller(request).inspect_err(record_early)?;
        self.validate_with_context(&Credential::Text(token), &context).await
    }

    /// Returns the clock by which tokens are validated: that of [`ValidatorBuilder::with_clock`], by default the system clock.
    #[must_use]
    pub fn clock(&self) -> &dyn Clock {
        &*self.core.clock
    }

    /// Returns whether the keys of at least one issuer are usable, and whether the list of [revocations](crate::revocation) is known if
    /// processes share it, for a readiness probe. The first call inside a tokio runtime starts the fetches of all issuers. No call
    /// waits for a fetch.
    ///
    /// With several issuers, one is enough, because an issuer that is unreachable does not affect the tokens of the others. For
    /// the status of each issuer, use [`Validator::key_sources`]. Static keys and shared secrets are always usable. If two
    /// issuers have the same `iss`, one with public keys and one with a shared secret, the keys of both must be usable. If all issuers
    /// are [tenants](crate::config::Tenants), which are looked up when a token of one arrives, no keys are needed to be ready.
    #[must_use]
    pub fn is_ready(&self) -> bool {
        let is_ready = |issuer: usize| self.core.issuers.get(issuer).is_some_and(|issuer| issuer.keys.is_ready());
        let knows_revocations = self.core.revocations.as_ref().is_none_or(RevocationList::is_ready);
        self.core.custom_domains.iter().for_each(CustomDomains::ensure_running);
        // `count` calls every source, so that one probe starts all fetches. So does `all`: only the last issuer of a name has
        // shared secrets, which are always usable.
        let ready = self.core.routes.issuers_by_name().filter_map(|mut issuers| issuers.all(is_ready).then_some(()));
        let is_any_ready = ready.count() > 0;
        // Tenants are looked up when a token of one arrives.
        let is_ready = is_any_ready || (self.core.issuers.is_empty() && !self.core.tenants.is_empty());
        is_ready && knows_revocations
    }

    /// Returns each configured issuer whose keys are fetched, as its first `iss` value and its [`KeySource`], for status, reload and
    /// revocation. For tenants that are looked up, see [`TenantList::key_source`].
    pub fn key_sources(&self) -> impl Iterator<Item = (&str, &KeySource)> {
        self.core.issuers.iter().filter_map(|issuer| issuer.keys.source().map(|source| (&*issuer.name, source)))
    }

    /// Rejects a credential that is too long. This is the first check.
    pub(crate) fn check_length(&self, length: usize) -> Result<(), Rejection> {
        self.core.check_length(length)
    }

    /// Validates a token with the properties of its request.
    pub(crate) async fn validate_with_context(
        &self,
        token: &Credential<'_>,
        context: &RequestContext,
    ) -> Result<Claims<C>, Rejection> {
        let decision = match self.try_validate(token, context) {
            // Not through the futures below, which are for a decision that waits.
            Decision::Made(result) => return result.map(|validated| validated.claims),
            pending @ Decision::Pending(_) => self.decide_later(token, context, pending).await,
        };
        self.settle(token, context, decision).await.map(|validated| validated.claims)
    }

    /// Waits for the key of the token if the decision needs it.
    async fn decide_later(
        &self,
        token: &Credential<'_>,
        context: &RequestContext,
        decision: Decision<C>,
    ) -> Decision<C> {
        match decision {
            Decision::Pending(Pending::Key(key)) => {
                let awaited = self.wait_for_keys(&key).await;
                self.decide_with_keys(token, context, &key, awaited)
            }
            decision => decision,
        }
    }

    /// Waits for the key that a decision needs. The future contains no copy of the token.
    #[expect(
        clippy::manual_async_fn,
        reason = "an `async fn` takes memory for its arguments twice, in each waiting request"
    )]
    pub(crate) fn wait_for_keys<'a, 'k>(
        &'a self,
        key: &'k PendingKey,
    ) -> impl Future<Output = AwaitedKeys<'a>> + Send + use<'a, 'k, C> {
        async move {
            let validation = Validation::waiting(&*self.core.clock);
            self.record_cache_miss();
            if let Some(label) = self.core.label(&key.route) {
                validation.record_issuer(label);
            }
            let issuer = self.core.route(&key.route).and_then(|route| self.core.issuer_of(route));
            let keys = match issuer {
                Some(issuer) => {
                    let keys = issuer.keys.wait_for_key(&key.key);
                    validation.instrument(keys).await.map_err(|error| key.route.error_of_wait(error))
                }
                None => Err(Rejection::Signature),
            };
            AwaitedKeys { keys, validation }
        }
    }

    /// Decides with the keys that [`wait_for_keys`](Self::wait_for_keys) returned for this key.
    pub(crate) fn decide_with_keys<'s>(
        &'s self,
        token: &Credential<'_>,
        context: &RequestContext,
        key: &PendingKey,
        awaited: AwaitedKeys<'s>,
    ) -> Decision<C> {
        let AwaitedKeys { keys, validation } = awaited;
        let decide = || {
            let (keys, epoch) = keys?;
            let (parsed, route) = self.core.check_unverified(token, context, &validation)?;
            // A rule or a tenant may have changed during the wait. The keys are those of the earlier issuer.
            if !route.is_same(&key.route) {
                return Err(key.route.error_of_change());
            }
            let (route, issuer) = self.core.trusted(&route)?;
            Ok(self.accept_verified(token.as_bytes(), issuer.verify(parsed, &keys, epoch)?, route, context))
        };
        let decision = validation.in_scope(decide).unwrap_or_else(|rejection| Decision::Made(Err(rejection)));
        self.record_decision(token, validation, &decision);
        decision
    }

    /// Validates a token without waiting.
    pub(crate) fn try_validate(&self, token: &Credential<'_>, context: &RequestContext) -> Decision<C> {
        let validation = Validation::at_once(&*self.core.clock);
        let decision = validation.in_scope(|| self.decide(token, context, &validation));
        self.record_decision(token, validation, &decision);
        decision
    }

    fn record_decision(&self, token: &Credential<'_>, validation: Validation<'_>, decision: &Decision<C>) {
        match decision {
            Decision::Made(result) => self.record_result(token, validation, result),
            Decision::Pending(_) => validation.postponed(),
        }
    }

    fn decide<'s>(
        &'s self,
        token: &Credential<'_>,
        context: &RequestContext,
        validation: &Validation<'s>,
    ) -> Decision<C> {
        if let Err(rejection) = self.core.check_length(token.as_bytes().len()) {
            return Decision::Made(Err(rejection));
        }
        let accept = |hit: &Hit<'_, C>| self.accept_cached(token.as_bytes(), hit, context);
        if let Some(decision) = self.read_valid_entry(token.as_bytes(), context.host.as_ref(), validation, accept) {
            return decision;
        }
        match self.core.opaque_issuer(token, context) {
            Ok(None) => {}
            Ok(Some(issuer)) => {
                self.record_cache_miss();
                self.core.record_issuer(issuer, validation);
                return self.decide_by_answer(token.as_bytes(), context, PendingAnswer::opaque(issuer));
            }
            Err(rejection) => return Decision::Made(Err(rejection)),
        }
        let (parsed, route) = match self.core.check_unverified(token, context, validation) {
            Ok(checked) => checked,
            Err(error) => return error.into(),
        };
        let (route, issuer) = match self.core.trusted(&route) {
            Ok(trusted) => trusted,
            Err(rejection) => return Decision::Made(Err(rejection)),
        };
        let verified = match issuer.verify_now(parsed) {
            Ok(verified) => verified,
            Err(FailedEpoch(failed)) => return self.pending(token, context, validation, failed),
        };
        self.record_cache_miss();
        match verified {
            Ok(verified) => self.accept_verified(token.as_bytes(), verified, route, context),
            Err(rejection) => Decision::Made(Err(rejection)),
        }
    }

    /// Returns [`Decision::Pending`] with the issuer, `kid` and algorithm of the key that the token needs. Parses the token a
    /// second time to copy its `kid`; a token whose key is available needs no copy.
    fn pending<'s>(
        &'s self,
        token: &Credential<'_>,
        context: &RequestContext,
        validation: &Validation<'s>,
        failed_epoch: Option<NonZeroU64>,
    ) -> Decision<C> {
        match self.core.check_unverified(token, context, validation) {
            Ok((parsed, route)) => {
                Decision::Pending(Pending::Key(PendingKey::new(route, parsed.header(), failed_epoch)))
            }
            Err(error) => error.into(),
        }
    }

    /// Records the result of a validation in log and metrics.
    fn record_result(
        &self,
        token: &Credential<'_>,
        validation: Validation<'_>,
        result: &Result<Validated<C>, Rejection>,
    ) {
        let clock = &*self.core.clock;
        match result {
            Ok(_) => validation.accepted(clock),
            // The credential contains no token to validate.
            Err(rejection @ Rejection::Credential(_)) => record_early(rejection),
            Err(rejection) => {
                revocation::count_rejection(rejection);
                validation.in_scope(|| self.core.log_rejection(token.as_bytes(), rejection));
                validation.rejected(rejection.kind().name(), clock);
            }
        }
    }
}

impl Core {
    /// Rejects a token that is longer than the limit, before it is parsed.
    fn check_length(&self, length: usize) -> Result<(), Rejection> {
        let limit = self.max_token_bytes;
        if length > limit { Err(Rejection::Token(TokenError::TooLong { length, limit })) } else { Ok(()) }
    }

    /// Makes the checks that need no key, except for that of the length: parses the token, finds the issuer, and checks the
    /// algorithm and the claims that may reject a token before its signature is verified.
    fn check_unverified<'s, 't>(
        &'s self,
        credential: &'t Credential<'_>,
        context: &RequestContext,
        validation: &Validation<'s>,
    ) -> Result<(UnverifiedToken<'t>, RouteId), FindError> {
        let host = context.host.as_ref();
        let token =
            UnverifiedToken::parse_with_known_header(credential.as_bytes(), |segment| self.header_cache.find(segment));
        let token = token.map_err(|error| match credential.check() {
            Ok(()) => Rejection::Token(error),
            Err(error) => Rejection::Credential(error),
        })?;
        self.custom_domains.iter().for_each(CustomDomains::ensure_running);
        let algorithm = token.header().algorithm();
        let found = self.find(token.payload(), algorithm, host)?;
        let name = match &found {
            Found::Unresolved(pending) => pending.claimed.issuer(),
            Found::Known(id) => {
                if let Some(label) = self.label(id) {
                    validation.record_issuer(label);
                }
                let (route, issuer) = self.trusted(id)?;
                issuer.check_algorithm(algorithm)?;
                route.issuer_name(token.payload())
            }
        };
        let now = self.clock.now();
        let input =
            CheckInput { source: CheckedSource::Token(token.header()), payload: token.payload(), issuer: name, now };
        self.rules.check_unverified(input).map_err(Rejection::UnverifiedClaims)?;
        match found {
            Found::Known(id) => Ok((token, id)),
            Found::Unresolved(pending) => Err(FindError::Unresolved(pending)),
        }
    }

    /// Returns the route with this id, and its issuer.
    fn trusted<'r>(&'r self, id: &'r RouteId) -> Result<(Route<'r>, &'r IssuerState), Rejection> {
        let route = self.route(id).ok_or(Rejection::Signature)?;
        Ok((route, self.issuer_of(route).ok_or(Rejection::Signature)?))
    }

    /// Makes all checks of verified claims. `route` is the one whose issuer has verified the signature: the name of another one must
    /// not be compared with `iss`.
    fn check_claims(&self, signed: &SignedToken, route: Route<'_>, now: Timestamp) -> Result<(), Rejection> {
        let name = route.issuer_name(signed.payload());
        let input =
            CheckInput { source: CheckedSource::Token(signed.header()), payload: signed.payload(), issuer: name, now };
        self.rules.check(input).map_err(Rejection::Claims)
    }

    /// Checks that the token is for the organization of the request. This runs on every request and is never cached.
    fn check_organization(&self, payload: &Payload, context: &RequestContext) -> Result<(), Rejection> {
        if self.organization_of.is_none() {
            return Ok(());
        }
        let reason = match &context.organization {
            // A request without an organization accepts no token.
            None => Err(ClaimErrorReason::Mismatch),
            Some(organization) => organization.evaluate(payload),
        };
        reason.map_err(|reason| Rejection::Claims(ClaimError::Organization(reason)))
    }
}

impl IssuerState {
    /// Checks that the issuer signs with this algorithm.
    fn check_algorithm(&self, algorithm: Algorithm) -> Result<(), Rejection> {
        if self.algorithms.contains(&algorithm) { Ok(()) } else { Err(Rejection::Algorithm { algorithm }) }
    }
}

impl<C> Clone for Validator<C> {
    fn clone(&self) -> Self {
        Self {
            core: Arc::clone(&self.core),
            application: self.application.clone(),
            token_cache: self.token_cache.clone(),
        }
    }
}

impl<C> fmt::Debug for Validator<C> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Validator")
            .field("audiences", &self.core.rules.audiences)
            .field("issuers", &self.core.routes)
            .finish_non_exhaustive()
    }
}
