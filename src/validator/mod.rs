//! The verdict: the whole pipeline from a token's text to claims.

mod application;
mod builder;
mod context;
mod decision;
mod explain;
mod header_cache;
mod key_ring;
mod token_cache;
mod routing;
mod sharing;

use std::fmt;
use std::sync::Arc;

use http::Request;
use serde::de::DeserializeOwned;

use self::application::Application;
pub use self::builder::{BuildError, ValidatorBuilder};
pub(crate) use self::context::RequestContext;
pub(crate) use self::decision::{Decision, PendingKey, Waited};
pub use self::explain::explanation::{Explanation, Finding, Outcome};
pub(crate) use self::explain::hints::hint_of_unmet;
use self::header_cache::HeaderCache;
use self::key_ring::KeyRing;
use self::routing::{Route, Routes};
use self::sharing::Shareable;
use self::token_cache::entry::{EntryLifetime, VerifiedBy};
use self::token_cache::{CacheHit, Search, TokenCache};
use crate::claims::{self, CheckInput, ClaimError, ClaimErrorReason, Claims, NoCustomClaims, Rules};
use crate::clock::{Clock, Timestamp};
use crate::config::{Api, ConfigError, HostRules, OrganizationOfRequest};
use crate::defaults;
use crate::jwks::KeySource;
use crate::keys::{Found, KeyTable, SignedToken};
use crate::rejection::{CheckError, KeyNotFound, Rejection};
use crate::request::Host;
use crate::request::RequestHead;
use crate::request::credential::Credential;
use crate::telemetry::{self, Validation};
use crate::token::{Algorithm, Payload, TokenError, UnverifiedToken};

/// Decides for one API whether an access token is good enough, and hands its claims on.
///
/// Cheap to clone; clones share keys and everything else. Nothing is global: any number of validators live side by side.
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
    token_cache: Option<TokenCache<C>>,
}

/// What does not depend on the application's own claims.
struct Core {
    rules: Rules,
    hosts: HostRules,
    /// Which organization a request is about, where that decides.
    organization_of: Option<OrganizationOfRequest>,
    routes: Routes,
    issuers: Box<[IssuerState]>,
    header_cache: HeaderCache,
    max_token_bytes: usize,
    token_cache_bytes: usize,
    clock: Arc<dyn Clock>,
}

/// One issuer, ready to verify.
struct IssuerState {
    /// Its first `iss` value.
    name: Box<str>,
    algorithms: Box<[Algorithm]>,
    /// Whether it is a tenant of Auth0.
    is_auth0: bool,
    keys: KeyRing,
    /// Its source, for other validators.
    shareable: Option<Shareable>,
}

/// A token whose signature holds, and the epoch of the keys that proved it.
struct VerifiedToken {
    token: SignedToken,
    epoch: u64,
}

impl Validator {
    /// Makes a validator that fetches with `reqwest` and reads the system's clock.
    ///
    /// # Errors
    ///
    /// [`ConfigError`] lists every fault of the configuration at once.
    pub fn new(api: Api) -> Result<Self, ConfigError> {
        Self::builder(api).build()
    }

    /// Starts a validator with another HTTP client, clock or refresh policy.
    #[must_use]
    pub fn builder(api: Api) -> ValidatorBuilder {
        ValidatorBuilder::new(api)
    }

    /// Reads the application's own claims into `C`, from the verified octets, once everything else held.
    ///
    /// A token whose claims are not of that shape is refused with [`Rejection::CustomClaims`], which names the claim and
    /// the reason. Unknown claims are ignored unless `C` itself denies them.
    #[must_use]
    pub fn with_custom_claims<C: DeserializeOwned + Send + Sync + 'static>(self) -> Validator<C> {
        Validator { token_cache: self.core.token_cache(), core: self.core, application: self.application.reading() }
    }
}

impl<C: Send + Sync + 'static> Validator<C> {
    /// Adds a check of the application's own (a denylist, a tenant rule). It runs after everything else held, on every
    /// request, and is never remembered.
    ///
    /// # Security
    ///
    /// `None` from an accessor does not mean that the claim is absent: for `org_id`, `client_id`, `acr` and others it is also
    /// the answer for a claim of another type. A check that denies by such a claim reads it with [`Claims::claim`], which
    /// returns an error then. A `jti` or `sub` of another type never reaches a check.
    #[must_use]
    pub fn with_check(mut self, check: impl Fn(&Claims<C>) -> Result<(), CheckError> + Send + Sync + 'static) -> Self {
        self.application.add_check(Arc::new(check));
        self
    }

    /// Validates a token: the text after `Bearer `.
    ///
    /// Waits only while no keys have been fetched yet, or for a `kid` that is not known; dropping the future is safe.
    ///
    /// # Errors
    ///
    /// [`Rejection`] for the first check that fails.
    pub async fn validate(&self, token: &str) -> Result<Claims<C>, Rejection> {
        self.validate_under(&Credential::Text(token), &RequestContext::default()).await
    }

    /// Validates a token that came with a request for `host` (`host` or `host:port`), for an API that binds issuers to
    /// hosts.
    ///
    /// # Errors
    ///
    /// [`Rejection`] for the first check that fails; [`Rejection::Host`] if `host` is malformed.
    pub async fn validate_for(&self, token: &str, host: &str) -> Result<Claims<C>, Rejection> {
        let refused = |rejection: &Rejection| {
            telemetry::credential_rejected(rejection.kind().name(), rejection.hint());
        };
        let host = Host::parse(host).map_err(Rejection::Host).inspect_err(refused)?;
        // Of this request nothing but the host is known.
        let request = Request::new(());
        let context = self.context(&RequestHead::with_host(&request, Some(host)));
        self.validate_under(&Credential::Text(token), &context).await
    }

    /// Validates a token that came with a request: for an API that binds issuers to hosts, or whose organizations are a
    /// function of the request. A [`BearerLayer`](crate::BearerLayer) does it by itself.
    ///
    /// # Errors
    ///
    /// [`Rejection`] for the first check that fails.
    pub async fn validate_request(&self, token: &str, request: &RequestHead<'_>) -> Result<Claims<C>, Rejection> {
        let context = self.context(request);
        self.validate_under(&Credential::Text(token), &context).await
    }

    /// Says whether this process can judge tokens: the keys of at least one issuer are usable. For a readiness probe; the
    /// first call inside a tokio runtime starts the fetch, none waits for it.
    ///
    /// One issuer that is down does not make the others' tokens unjudgeable: [`Validator::key_sources`] tells of each.
    #[must_use]
    pub fn is_ready(&self) -> bool {
        // Every source is asked, so that a probe starts them all.
        self.core.issuers.iter().filter(|issuer| issuer.keys.is_ready()).count() > 0
    }

    /// The sources of all keys that are fetched, with the issuer that each belongs to: for status, reload and revocation.
    pub fn key_sources(&self) -> impl Iterator<Item = (&str, &KeySource)> {
        self.core.issuers.iter().filter_map(|issuer| issuer.keys.source().map(|source| (&*issuer.name, source)))
    }

    /// Says whether the host of a request takes part in the verdict, or may do so.
    pub(crate) fn needs_host(&self) -> bool {
        !self.core.hosts.is_empty() || self.core.organization_of.is_some()
    }

    /// Refuses a credential by its length, before anything else is asked of it.
    pub(crate) fn check_length(&self, length: usize) -> Result<(), Rejection> {
        self.core.check_length(length)
    }

    /// What of a request takes part in the verdict.
    pub(crate) fn context(&self, request: &RequestHead<'_>) -> RequestContext {
        let organization = self.core.organization_of.as_ref().and_then(|of| of(request));
        RequestContext { host: request.host().cloned(), organization }
    }

    /// The same for what has been read of a request.
    pub(crate) async fn validate_under(
        &self,
        token: &Credential<'_>,
        context: &RequestContext,
    ) -> Result<Claims<C>, Rejection> {
        match self.try_validate(token, context) {
            Decision::Made(entry) => entry,
            Decision::Pending(key) => {
                let waited = self.wait_for(&key).await;
                self.decide_after(token, context, waited)
            }
        }
    }

    /// Waits for the key that a decision is pending on. While it waits nothing of the token is in memory but what the caller
    /// holds.
    #[expect(
        clippy::manual_async_fn,
        reason = "an `async fn` takes memory for its arguments twice, in each waiting request"
    )]
    pub(crate) fn wait_for<'a>(&'a self, key: &'a PendingKey) -> impl Future<Output = Waited<'a>> + Send + use<'a, C> {
        async move {
            let validation = Validation::waiting(&*self.core.clock);
            self.record_cache_miss();
            let keys = match self.issuer_of(key, &validation) {
                Some(issuer) => validation.instrument(issuer.keys.for_token(key.kid.as_deref(), key.algorithm)).await,
                None => Err(Rejection::Signature),
            };
            Waited { keys, validation }
        }
    }

    /// Decides once the key has been waited for.
    pub(crate) fn decide_after<'s>(
        &'s self,
        token: &Credential<'_>,
        context: &RequestContext,
        waited: Waited<'s>,
    ) -> Result<Claims<C>, Rejection> {
        let Waited { keys, validation } = waited;
        let entry = validation.in_scope(|| {
            let (keys, epoch) = keys?;
            let (parsed, _, issuer) = self.core.check_before_keys(token, context, &validation)?;
            let token = token.as_bytes();
            self.finish(token, issuer.prove(parsed, &keys, epoch)?, context, self.search(token))
        });
        self.report(token, validation, &entry);
        entry
    }

    /// Decides without waiting.
    pub(crate) fn try_validate(&self, token: &Credential<'_>, context: &RequestContext) -> Decision<C> {
        let validation = Validation::at_once(&*self.core.clock);
        let decision = validation.in_scope(|| self.decide_within(token, context, &validation));
        match &decision {
            Decision::Made(entry) => self.report(token, validation, entry),
            Decision::Pending(_) => validation.postponed(),
        }
        decision
    }

    fn decide_within<'s>(
        &'s self,
        token: &Credential<'_>,
        context: &RequestContext,
        validation: &Validation<'s>,
    ) -> Decision<C> {
        if let Err(rejection) = self.core.check_length(token.as_bytes().len()) {
            return Decision::Made(Err(rejection));
        }
        let search = self.search(token.as_bytes());
        let lookup = |found: CacheHit<C>| self.lookup(&found, context.host.as_ref(), validation);
        if let Some(claims) = search.as_ref().and_then(Search::find_recent).and_then(lookup) {
            return Decision::Made(self.recheck(claims, context));
        }
        let (parsed, _, issuer) = match self.core.check_before_keys(token, context, validation) {
            Ok(opened) => opened,
            Err(rejection) => return Decision::Made(Err(rejection)),
        };
        // Only now, since no verdict counts for what is refused by now, and the map takes longer than the refusal.
        if let Some(claims) = search.as_ref().and_then(Search::map_entry).and_then(lookup) {
            return Decision::Made(self.recheck(claims, context));
        }
        let proof = match issuer.keys.with_current(|keys, epoch| issuer.prove(parsed, keys, epoch)) {
            None => return self.pending(token, context, validation),
            Some(Err(Rejection::Key(KeyNotFound::Unknown { .. }))) if issuer.keys.may_fetch() => {
                return self.pending(token, context, validation);
            }
            Some(proof) => proof,
        };
        self.record_cache_miss();
        Decision::Made(proof.and_then(|proof| self.finish(token.as_bytes(), proof, context, search)))
    }

    /// Names the key that a token needs. It reads the token again, so that a token whose key is at hand needs no copy of its
    /// key id.
    fn pending<'s>(
        &'s self,
        token: &Credential<'_>,
        context: &RequestContext,
        validation: &Validation<'s>,
    ) -> Decision<C> {
        match self.core.check_before_keys(token, context, validation) {
            Ok((parsed, route, _)) => Decision::Pending(PendingKey::new(route, parsed.header())),
            Err(rejection) => Decision::Made(Err(rejection)),
        }
    }

    /// The issuer whose key is waited for.
    fn issuer_of<'s>(&'s self, key: &PendingKey, validation: &Validation<'s>) -> Option<&'s IssuerState> {
        let route = self.core.routes.at(key.route)?;
        validation.record_issuer(route.label);
        self.core.issuers.get(route.issuer)
    }

    /// Ends a validation with its verdict.
    fn report(&self, token: &Credential<'_>, validation: Validation<'_>, entry: &Result<Claims<C>, Rejection>) {
        let clock = &*self.core.clock;
        match entry {
            Ok(_) => validation.accepted(clock),
            // There was no token to validate.
            Err(rejection @ Rejection::Credential(_)) => {
                telemetry::credential_rejected(rejection.kind().name(), rejection.hint());
            }
            Err(rejection) => {
                validation.in_scope(|| self.core.log_rejection(token.as_bytes(), rejection));
                validation.rejected(rejection.kind().name(), clock);
            }
        }
    }

    /// Judges what the signature has proven, and remembers a success.
    fn finish(
        &self,
        token: &[u8],
        proof: VerifiedToken,
        context: &RequestContext,
        search: Option<Search<'_, '_, C>>,
    ) -> Result<Claims<C>, Rejection> {
        self.core.header_cache.insert(token, proof.token.header());
        let judged_at = self.core.clock.now();
        let route_index = self.core.evaluate(&proof.token, judged_at)?;
        self.core.check_organization(proof.token.payload(), context)?;
        let (header, payload, thumbprint) = proof.token.into_parts();
        let claims = self.application.admit(Claims::verified(header, payload))?;
        if telemetry::logs_rejections() {
            claims::malformed(claims.payload()).for_each(telemetry::claim_ignored);
        }
        if let Some(search) = search
            && !claims.header().algorithm().is_symmetric()
            && let Some(ends_at) = self.core.rules.valid_until(claims.payload())
        {
            let evict_at = self.core.clock.monotonic().saturating_add(defaults::TOKEN_CACHE_MAX_AGE);
            let life = EntryLifetime { judged_at, ends_at, evict_at };
            let proven = VerifiedBy { route_index, thumbprint, epoch: proof.epoch };
            search.insert(claims.clone(), proven, life);
        }
        Ok(claims)
    }
}

impl Core {
    /// Refuses what is too long to be looked at.
    fn check_length(&self, length: usize) -> Result<(), Rejection> {
        let limit = self.max_token_bytes;
        if length > limit { Err(Rejection::Token(TokenError::TooLong { length, limit })) } else { Ok(()) }
    }

    /// Everything but the length that needs no key: form, issuer, algorithm, and the claims that may refuse early.
    fn check_before_keys<'s, 't>(
        &'s self,
        credential: &'t Credential<'_>,
        context: &RequestContext,
        validation: &Validation<'s>,
    ) -> Result<(UnverifiedToken<'t>, Route<'s>, &'s IssuerState), Rejection> {
        let host = context.host.as_ref();
        let token =
            UnverifiedToken::parse_with_known_header(credential.as_bytes(), |segment| self.header_cache.find(segment));
        let token = token.map_err(|error| match credential.check() {
            Ok(()) => Rejection::Token(error),
            Err(error) => Rejection::Credential(error),
        })?;
        let route = self.routes.find(token.payload(), &self.hosts, host).map_err(Rejection::Issuer)?;
        validation.record_issuer(route.label);
        let issuer = self.issuers.get(route.issuer).ok_or(Rejection::Signature)?;
        let algorithm = token.header().algorithm();
        if !issuer.algorithms.contains(&algorithm) {
            return Err(Rejection::Algorithm { algorithm });
        }
        let now = self.clock.now();
        let input = CheckInput { header: token.header(), payload: token.payload(), issuer: route.label.name(), now };
        self.rules.check_unverified(input).map_err(Rejection::UnverifiedClaims)?;
        Ok((token, route, issuer))
    }

    /// Makes every check over claims that are proven, and tells the route's place.
    fn evaluate(&self, signed: &SignedToken, now: Timestamp) -> Result<usize, Rejection> {
        let route = self.routes.route_of(signed.payload()).map_err(Rejection::Issuer)?;
        let input = CheckInput { header: signed.header(), payload: signed.payload(), issuer: route.label.name(), now };
        self.rules.check(input).map_err(Rejection::Claims)?;
        Ok(route.index)
    }

    /// Judges the claims by what the application says of the request: on every request, and never remembered.
    fn check_organization(&self, payload: &Payload, context: &RequestContext) -> Result<(), Rejection> {
        if self.organization_of.is_none() {
            return Ok(());
        }
        let reason = match &context.organization {
            // A request that is about no organization takes no token at all.
            None => Err(ClaimErrorReason::Mismatch),
            Some(organization) => organization.evaluate(payload),
        };
        reason.map_err(|reason| Rejection::Claims(ClaimError::Organization(reason)))
    }
}

impl IssuerState {
    /// Checks the signature with the keys that the token may be checked with.
    fn prove(&self, token: UnverifiedToken<'_>, keys: &KeyTable, epoch: u64) -> Result<VerifiedToken, Rejection> {
        let header = token.header();
        match keys.find(header.kid(), header.algorithm()) {
            Found::Keys(candidates) => match SignedToken::verify(token, candidates) {
                Ok(token) => Ok(VerifiedToken { token, epoch }),
                Err(_) => Err(Rejection::Signature),
            },
            Found::NotForVerification => Err(Rejection::Key(KeyNotFound::NotForVerification)),
            Found::Ambiguous => Err(Rejection::Key(KeyNotFound::Ambiguous)),
            Found::Unknown => Err(Rejection::Key(KeyNotFound::Unknown { age: self.keys.age() })),
        }
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
