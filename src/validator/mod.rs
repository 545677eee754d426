//! The verdict: the whole pipeline from a token's text to claims.

mod application;
mod builder;
mod circumstances;
mod decision;
mod explain;
mod explanation;
mod headers;
mod hints;
mod keyring;
mod mark;
mod memo;
mod recall;
mod recent;
mod routing;
mod sharing;
mod verdict;

use std::fmt;
use std::sync::Arc;

use http::Request;
use serde::de::DeserializeOwned;

use self::application::Application;
pub use self::builder::{StartError, ValidatorBuilder};
pub(crate) use self::circumstances::Circumstances;
pub(crate) use self::decision::{Decision, PendingKey, Waited};
pub use self::explanation::{Explanation, Finding, Outcome};
use self::headers::KnownHeaders;
pub(crate) use self::hints::hint_of_unmet;
use self::keyring::Keyring;
use self::memo::{Memo, Remembered, Search};
use self::routing::{Route, Routes};
use self::sharing::Shareable;
use self::verdict::{Life, Proven};
use crate::bearer::Credential;
use crate::claims::{self, ClaimError, Claims, Evidence, Fault, NoCustomClaims, Rules};
use crate::clock::{Clock, Timestamp};
use crate::config::{Api, ConfigError, HostRules, OrganizationOfRequest};
use crate::defaults;
use crate::host::Host;
use crate::jwks::KeySource;
use crate::keys::{Found, KeyTable, SignedToken};
use crate::rejection::{CheckFailed, KeyNotFound, Rejection};
use crate::request::RequestHead;
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
    memo: Option<Memo<C>>,
}

/// What does not depend on the application's own claims.
struct Core {
    rules: Rules,
    hosts: HostRules,
    /// Which organization a request is about, where that decides.
    organization_of: Option<OrganizationOfRequest>,
    routes: Routes,
    issuers: Box<[Trusted]>,
    headers: KnownHeaders,
    max_token_bytes: usize,
    memo_bytes: usize,
    clock: Arc<dyn Clock>,
}

/// One issuer, ready to verify.
struct Trusted {
    /// Its first `iss` value.
    name: Box<str>,
    algorithms: Box<[Algorithm]>,
    /// Whether it is a tenant of Auth0.
    is_auth0: bool,
    keys: Keyring,
    /// Its source, for other validators.
    shareable: Option<Shareable>,
}

/// A token whose signature holds, and the epoch of the keys that proved it.
struct Proof {
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
        Validator { memo: self.core.memo(), core: self.core, application: self.application.reading() }
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
    pub fn with_check(mut self, check: impl Fn(&Claims<C>) -> Result<(), CheckFailed> + Send + Sync + 'static) -> Self {
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
        self.validate_under(&Credential::Text(token), &Circumstances::default()).await
    }

    /// Validates a token that came with a request for `host` (`host` or `host:port`), for an API that binds issuers to
    /// hosts.
    ///
    /// # Errors
    ///
    /// [`Rejection`] for the first check that fails; [`Rejection::Host`] if `host` is malformed.
    pub async fn validate_for(&self, token: &str, host: &str) -> Result<Claims<C>, Rejection> {
        let refused = |rejection: &Rejection| {
            telemetry::credential_refused(rejection.kind().name(), rejection.hint());
        };
        let host = Host::parse(host).map_err(Rejection::Host).inspect_err(refused)?;
        // Of this request nothing but the host is known.
        let request = Request::new(());
        let circumstances = self.circumstances(&RequestHead::with_host(&request, Some(host)));
        self.validate_under(&Credential::Text(token), &circumstances).await
    }

    /// Validates a token that came with a request: for an API that binds issuers to hosts, or whose organizations are a
    /// function of the request. A [`BearerLayer`](crate::BearerLayer) does it by itself.
    ///
    /// # Errors
    ///
    /// [`Rejection`] for the first check that fails.
    pub async fn validate_request(&self, token: &str, request: &RequestHead<'_>) -> Result<Claims<C>, Rejection> {
        let circumstances = self.circumstances(request);
        self.validate_under(&Credential::Text(token), &circumstances).await
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
    pub(crate) fn circumstances(&self, request: &RequestHead<'_>) -> Circumstances {
        let organization = self.core.organization_of.as_ref().and_then(|of| of(request));
        Circumstances { host: request.host().cloned(), organization }
    }

    /// The same for what has been read of a request.
    pub(crate) async fn validate_under(
        &self,
        token: &Credential<'_>,
        circumstances: &Circumstances,
    ) -> Result<Claims<C>, Rejection> {
        match self.decide(token, circumstances) {
            Decision::Made(verdict) => verdict,
            Decision::Pending(key) => {
                let waited = self.wait_for(&key).await;
                self.decide_after(token, circumstances, waited)
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
            self.note_miss();
            let keys = match self.issuer_of(key, &validation) {
                Some(issuer) => validation.during(issuer.keys.for_token(key.kid.as_deref(), key.algorithm)).await,
                None => Err(Rejection::Signature),
            };
            Waited { keys, validation }
        }
    }

    /// Decides once the key has been waited for.
    pub(crate) fn decide_after<'s>(
        &'s self,
        token: &Credential<'_>,
        circumstances: &Circumstances,
        waited: Waited<'s>,
    ) -> Result<Claims<C>, Rejection> {
        let Waited { keys, validation } = waited;
        let verdict = validation.within(|| {
            let (keys, epoch) = keys?;
            let (parsed, _, issuer) = self.core.open(token, circumstances, &validation)?;
            let token = token.octets();
            self.conclude(token, issuer.prove(parsed, &keys, epoch)?, circumstances, self.search(token))
        });
        self.tell(token, validation, &verdict);
        verdict
    }

    /// Decides without waiting.
    pub(crate) fn decide(&self, token: &Credential<'_>, circumstances: &Circumstances) -> Decision<C> {
        let validation = Validation::at_once(&*self.core.clock);
        let decision = validation.within(|| self.decide_within(token, circumstances, &validation));
        match &decision {
            Decision::Made(verdict) => self.tell(token, validation, verdict),
            Decision::Pending(_) => validation.postponed(),
        }
        decision
    }

    fn decide_within<'s>(
        &'s self,
        token: &Credential<'_>,
        circumstances: &Circumstances,
        validation: &Validation<'s>,
    ) -> Decision<C> {
        if let Err(rejection) = self.core.check_length(token.octets().len()) {
            return Decision::Made(Err(rejection));
        }
        let search = self.search(token.octets());
        let recall = |found: Remembered<C>| self.recall(&found, circumstances.host.as_ref(), validation);
        if let Some(claims) = search.as_ref().and_then(Search::recently).and_then(recall) {
            return Decision::Made(self.readmit(claims, circumstances));
        }
        let (parsed, _, issuer) = match self.core.open(token, circumstances, validation) {
            Ok(opened) => opened,
            Err(rejection) => return Decision::Made(Err(rejection)),
        };
        // Only now, since no verdict counts for what is refused by now, and the map takes longer than the refusal.
        if let Some(claims) = search.as_ref().and_then(Search::kept).and_then(recall) {
            return Decision::Made(self.readmit(claims, circumstances));
        }
        let proof = match issuer.keys.at_hand(|keys, epoch| issuer.prove(parsed, keys, epoch)) {
            None => return self.pending(token, circumstances, validation),
            Some(Err(Rejection::Key(KeyNotFound::Unknown { .. }))) if issuer.keys.may_learn() => {
                return self.pending(token, circumstances, validation);
            }
            Some(proof) => proof,
        };
        self.note_miss();
        Decision::Made(proof.and_then(|proof| self.conclude(token.octets(), proof, circumstances, search)))
    }

    /// Names the key that a token needs. It reads the token again, so that a token whose key is at hand needs no copy of its
    /// key id.
    fn pending<'s>(
        &'s self,
        token: &Credential<'_>,
        circumstances: &Circumstances,
        validation: &Validation<'s>,
    ) -> Decision<C> {
        match self.core.open(token, circumstances, validation) {
            Ok((parsed, route, _)) => Decision::Pending(PendingKey::new(route, parsed.header())),
            Err(rejection) => Decision::Made(Err(rejection)),
        }
    }

    /// The issuer whose key is waited for.
    fn issuer_of<'s>(&'s self, key: &PendingKey, validation: &Validation<'s>) -> Option<&'s Trusted> {
        let route = self.core.routes.at(key.route)?;
        validation.claims_issuer(route.label);
        self.core.issuers.get(route.issuer)
    }

    /// Ends a validation with its verdict.
    fn tell(&self, token: &Credential<'_>, validation: Validation<'_>, verdict: &Result<Claims<C>, Rejection>) {
        let clock = &*self.core.clock;
        match verdict {
            Ok(_) => validation.accepted(clock),
            // There was no token to validate.
            Err(rejection @ Rejection::Credential(_)) => {
                telemetry::credential_refused(rejection.kind().name(), rejection.hint());
            }
            Err(rejection) => {
                validation.within(|| self.core.note(token.octets(), rejection));
                validation.rejected(rejection.kind().name(), clock);
            }
        }
    }

    /// Judges what the signature has proven, and remembers a success.
    fn conclude(
        &self,
        token: &[u8],
        proof: Proof,
        circumstances: &Circumstances,
        search: Option<Search<'_, '_, C>>,
    ) -> Result<Claims<C>, Rejection> {
        self.core.headers.learn(token, proof.token.header());
        let judged_at = self.core.clock.now();
        let place = self.core.judge(&proof.token, judged_at)?;
        self.core.fits(proof.token.payload(), circumstances)?;
        let (header, payload, thumbprint) = proof.token.into_parts();
        let claims = self.application.admit(Claims::verified(header, payload))?;
        if telemetry::rejections_are_read() {
            claims::malformed(claims.payload()).for_each(telemetry::claim_ignored);
        }
        if let Some(search) = search
            && !claims.header().algorithm().is_symmetric()
            && let Some(ends_at) = self.core.rules.holds_until(claims.payload())
        {
            let forget_at = self.core.clock.monotonic().saturating_add(defaults::MEMO_LIFE);
            let life = Life { judged_at, ends_at, forget_at };
            let proven = Proven { place, thumbprint, epoch: proof.epoch };
            search.remember(claims.clone(), proven, life);
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
    fn open<'s, 't>(
        &'s self,
        credential: &'t Credential<'_>,
        circumstances: &Circumstances,
        validation: &Validation<'s>,
    ) -> Result<(UnverifiedToken<'t>, Route<'s>, &'s Trusted), Rejection> {
        let host = circumstances.host.as_ref();
        let token = UnverifiedToken::parse_knowing(credential.octets(), |segment| self.headers.find(segment));
        let token = token.map_err(|error| match credential.check() {
            Ok(()) => Rejection::Token(error),
            Err(error) => Rejection::Credential(error),
        })?;
        let route = self.routes.find(token.payload(), &self.hosts, host).map_err(Rejection::Issuer)?;
        validation.claims_issuer(route.label);
        let issuer = self.issuers.get(route.issuer).ok_or(Rejection::Signature)?;
        let algorithm = token.header().algorithm();
        if !issuer.algorithms.contains(&algorithm) {
            return Err(Rejection::Algorithm { algorithm });
        }
        let now = self.clock.now();
        let evidence = Evidence { header: token.header(), payload: token.payload(), issuer: route.label.name(), now };
        self.rules.refuse_early(evidence).map_err(Rejection::UnverifiedClaims)?;
        Ok((token, route, issuer))
    }

    /// Makes every check over claims that are proven, and tells the route's place.
    fn judge(&self, signed: &SignedToken, now: Timestamp) -> Result<usize, Rejection> {
        let route = self.routes.route_of(signed.payload()).map_err(Rejection::Issuer)?;
        let evidence = Evidence { header: signed.header(), payload: signed.payload(), issuer: route.label.name(), now };
        self.rules.hold(evidence).map_err(Rejection::Claims)?;
        Ok(route.place)
    }

    /// Judges the claims by what the application says of the request: on every request, and never remembered.
    fn fits(&self, payload: &Payload, circumstances: &Circumstances) -> Result<(), Rejection> {
        if self.organization_of.is_none() {
            return Ok(());
        }
        let fault = match &circumstances.organization {
            // A request that is about no organization takes no token at all.
            None => Err(Fault::Mismatch),
            Some(organization) => organization.judge(payload),
        };
        fault.map_err(|fault| Rejection::Claims(ClaimError::Organization(fault)))
    }
}

impl Trusted {
    /// Checks the signature with the keys that the token may be checked with.
    fn prove(&self, token: UnverifiedToken<'_>, keys: &KeyTable, epoch: u64) -> Result<Proof, Rejection> {
        let header = token.header();
        match keys.find(header.kid(), header.algorithm()) {
            Found::Keys(candidates) => match SignedToken::prove(token, candidates) {
                Ok(token) => Ok(Proof { token, epoch }),
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
        Self { core: Arc::clone(&self.core), application: self.application.clone(), memo: self.memo.clone() }
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
