//! Decisions that depend on what the issuer's server says about a token.

use std::sync::Arc;

use crate::claims::{CheckInput, CheckedSource, Claims, ProvenConfirmation};
use crate::clock::{Moment, Timestamp};
use crate::defaults;
use crate::introspection::{
    ActiveAnswer, Answer, ClaimsFrom, Client, IntrospectedTokens, IntrospectionError, IntrospectionRejection, Priority,
    Unavailable,
};
use crate::rejection::{IssuerError, Rejection};
use crate::request::credential::Credential;
use crate::request::{BearerToken, Host};
use crate::telemetry::Validation;
use crate::token::{self, Payload, TokenError};
use crate::validator::context::RequestContext;
use crate::validator::decision::{Checked, Decision, Pending, PendingAnswer};
use crate::validator::introspected_jwt::IntrospectedJwt;
use crate::validator::possession::BoundToken;
use crate::validator::routing::{Route, RouteId};
use crate::validator::token_cache::entry::{CacheEntry, EntryLifetime};
use crate::validator::token_cache::lookup::{EntryState, Hit};
use crate::validator::token_cache::proof::{KeyProof, Proof, ServerProof};
use crate::validator::{Core, IssuerState, Validator};

/// An answer, and whether the server has just given it.
pub(super) struct Obtained {
    pub(super) answer: Answer,
    pub(super) is_new: bool,
}

/// The claims of a positive answer that pass the rules of the API.
pub(super) struct ReadAnswer<'r, C> {
    pub(super) claims: Claims<C>,
    pub(super) route: Route<'r>,
    pub(super) bound: Option<Arc<BoundToken>>,
    checked_at: Timestamp,
    valid_until: Timestamp,
}

impl<C: Send + Sync + 'static> Validator<C> {
    /// Removes everything that is stored about a token: the next request with it is validated completely, and introspects
    /// the token again if its issuer has introspection. Call it when the application knows that a token was revoked. A call that is
    /// in flight continues for the requests that wait for it, and its answer is not stored.
    ///
    /// This does not revoke the token. It has no effect on other tokens, and none on other processes.
    ///
    /// ```
    /// # fn revoked(validator: &tower_bearer::Validator, token: &str) {
    /// validator.evict_token(token);
    /// # }
    /// ```
    pub fn evict_token(&self, token: &str) {
        for issuer in &self.core.issuers {
            if let Some(client) = &issuer.introspection {
                client.record_eviction(token.as_bytes());
            }
        }
        if let Some(token_cache) = &self.token_cache {
            token_cache.remove(token.as_bytes());
        }
    }

    /// Decides with a stored answer, or returns that the token must be introspected.
    pub(super) fn decide_by_answer(
        &self,
        token: &[u8],
        context: &RequestContext,
        pending: PendingAnswer<C>,
    ) -> Decision<C> {
        match self.core.client(pending.issuer).and_then(|client| client.stored_answer(token)) {
            Some(answer) => self.conclude(token, context, pending, Ok(Obtained { answer, is_new: false })),
            None => Decision::Pending(Pending::Answer(Box::new(pending))),
        }
    }

    /// Waits for an answer, and decides with it.
    pub(super) async fn wait_for_answer(
        &self,
        token: &Credential<'_>,
        context: &RequestContext,
        pending: PendingAnswer<C>,
    ) -> Decision<C> {
        let validation = Validation::waiting(&*self.core.clock);
        self.core.record_issuer(pending.issuer, &validation);
        let is_signed = pending.signed.is_some();
        let obtained = validation.instrument(self.answer(pending.issuer, token.as_bytes(), is_signed)).await;
        // The token may have expired or been revoked while the request waited.
        let again = |checked: &Checked<C>| self.core.check_again(&checked.claims);
        let decision = validation.in_scope(|| match pending.signed.as_ref().map_or(Ok(()), again) {
            Ok(()) => self.conclude(token.as_bytes(), context, pending, obtained),
            Err(rejection) => Decision::Made(Err(rejection)),
        });
        self.record_decision(token, validation, &decision);
        decision
    }

    /// Introspects the token. If the server does not respond, returns the last positive answer within the grace period. A token that
    /// is signed, or that the server has called active before, does not wait behind random ones.
    pub(super) async fn answer(&self, issuer: usize, token: &[u8], is_signed: bool) -> Result<Obtained, Unavailable> {
        let Some(client) = self.core.client(issuer) else {
            return Err(IntrospectionError::Interrupted.into());
        };
        let priority = match (is_signed, self.read_answer_entry(token, |_, _| ())) {
            (true, _) => Priority::Genuine,
            (false, Some(())) => Priority::Known,
            (false, None) => Priority::Unknown,
        };
        match client.introspect(token, priority).await {
            Ok(answer) => Ok(Obtained { answer, is_new: true }),
            Err(unavailable) if client.is_down(unavailable.cause) => {
                let graced = self.graced_answer(token, client);
                graced.map(|answer| Obtained { answer: Answer::Active(answer), is_new: false }).ok_or(unavailable)
            }
            Err(unavailable) => Err(unavailable),
        }
    }

    /// Returns the answer that a request with this token would use without a call.
    pub(super) fn stored_answer(&self, issuer: usize, token: &[u8], host: Option<&Host>) -> Option<Obtained> {
        let stored = self.read_answer_entry(token, |entry, server| {
            let route = self.core.route(entry.route())?;
            let is_usable = self.core.revalidate(entry, route, host, self.core.clock.now()).is_usable();
            is_usable.then(|| Obtained { answer: Answer::Active(Arc::clone(&server.answer)), is_new: false })
        });
        let outside = || self.core.client(issuer)?.stored_answer(token);
        stored.flatten().or_else(|| outside().map(|answer| Obtained { answer, is_new: false }))
    }

    /// Checks an answer about an opaque token by the rules for claims.
    pub(super) fn read_answer(
        &self,
        token: &[u8],
        issuer: usize,
        answer: &ActiveAnswer,
    ) -> Result<ReadAnswer<'_, C>, Rejection> {
        let core = &self.core;
        let payload = answer.claims.payload();
        let route = core.answer_route(issuer, payload)?;
        let input = core.answer_input(issuer, route, payload)?;
        core.rules.check(input).map_err(Rejection::Claims)?;
        // The entry is stored before the proof of this request is checked.
        let bound = core.possession.bound_token(payload, token);
        let bound = bound.map(|bound| Arc::new(bound.with_reserved_head()));
        let claims = self.application.read(answer.claims.clone())?;
        let valid_until = core.rules.valid_until(payload).unwrap_or(input.now);
        Ok(ReadAnswer { claims, route, bound, checked_at: input.now, valid_until })
    }

    fn conclude(
        &self,
        token: &[u8],
        context: &RequestContext,
        pending: PendingAnswer<C>,
        obtained: Result<Obtained, Unavailable>,
    ) -> Decision<C> {
        let PendingAnswer { issuer, signed } = pending;
        let Obtained { answer, is_new } = match (obtained, signed.is_some()) {
            (Ok(obtained), _) => obtained,
            (Err(unavailable), true) if self.accepts_without_answer(issuer, token, unavailable) => {
                // Not stored: the next request introspects the token again.
                let unstored =
                    signed.map(|checked| self.record(token, checked.claims, checked.proof, &checked.route, None));
                return unstored.unwrap_or(Decision::Made(Err(Rejection::Introspection(unavailable.into()))));
            }
            (Err(unavailable), _) => return Decision::Made(Err(Rejection::Introspection(unavailable.into()))),
        };
        let Answer::Active(answer) = answer else {
            return Decision::Made(Err(Rejection::Introspection(IntrospectionRejection::Inactive)));
        };
        match signed {
            None => self.accept_opaque(token, context, issuer, &answer, is_new),
            Some(checked) => self.accept_introspected_jwt(token, context, (issuer, checked), (&answer, is_new)),
        }
    }

    fn accept_opaque(
        &self,
        token: &[u8],
        context: &RequestContext,
        issuer: usize,
        answer: &Arc<ActiveAnswer>,
        is_new: bool,
    ) -> Decision<C> {
        let read = match self.read_answer(token, issuer, answer) {
            Ok(read) => read,
            Err(rejection) => {
                if is_new {
                    self.record_rejected(token, issuer, answer, Priority::Known);
                }
                return Decision::Made(Err(rejection));
            }
        };
        if is_new {
            let lifetime = (read.checked_at, read.valid_until);
            self.store(
                token,
                issuer,
                read.claims.clone(),
                (read.route.id(), read.bound.clone()),
                lifetime,
                None,
                answer,
            );
        }
        if !read.route.allows_host(answer.claims.payload(), &self.core.hosts, context.host.as_ref()) {
            return Decision::Made(Err(Rejection::Issuer(IssuerError::NotForHost)));
        }
        let ReadAnswer { claims, route, bound, checked_at, .. } = read;
        let route = route.id();
        self.core.check_life(claims.payload(), checked_at);
        let hit = Hit { claims: &claims, route: &route, bound: bound.as_deref(), digests: None, checked_at };
        self.accept_cached(token, &hit, context)
    }

    /// Stores a token that the server calls active.
    #[expect(clippy::too_many_arguments, reason = "the parts of an entry, each of another type")]
    pub(super) fn store(
        &self,
        token: &[u8],
        issuer: usize,
        claims: Claims<C>,
        (route, bound): (RouteId, Option<Arc<BoundToken>>),
        (checked_at, valid_until): (Timestamp, Timestamp),
        token_key: Option<KeyProof>,
        answer: &Arc<ActiveAnswer>,
    ) {
        let Some(client) = self.core.client(issuer) else { return };
        let used_for = client.settings().ttl.saturating_add(client.settings().grace);
        let Some(token_cache) = self.token_cache.as_ref().filter(|_| !used_for.is_zero()) else {
            client.store(token, answer, || ());
            return;
        };
        // The entry outlives the answer: it shows that the token is known.
        let max_age = used_for.max(defaults::TOKEN_CACHE_MAX_AGE);
        let lifetime = EntryLifetime { checked_at, valid_until, stored_at: answer.call_started_at, max_age };
        let proof = Proof::Server(Box::new(ServerProof::new(Arc::clone(answer), token_key)));
        let digests = self.core.digests_to_store(claims.payload(), &route);
        let claims = claims.with_proven(ProvenConfirmation::None);
        let entry = CacheEntry::new(claims, route, proof, lifetime, bound, digests);
        // Dropped here, where no lock is held.
        drop(client.store(token, answer, || token_cache.insert(token, entry)));
    }

    /// Starts the next call about a token whose answer expires soon.
    pub(super) fn refresh_answer(&self, token: &[u8], entry: &CacheEntry<C>, route: Route<'_>) {
        let Some(issuer) = route.configured_issuer() else { return };
        let (Proof::Server(server), Some(client)) = (entry.proof(), self.core.client(issuer)) else { return };
        // The entry has the claims of the last answer, so a newer one would be combined with them instead of those of
        // the token.
        let is_combined = server.token_key.is_some() && client.settings().claims_from == ClaimsFrom::Answer;
        if is_combined || !server.start_refresh() {
            return;
        }
        let (validator, token) = (self.clone(), Arc::<[u8]>::from(token));
        let shared = Arc::clone(&token);
        let jwt = server.token_key.as_ref().map(|key| {
            let (claims, bound) = (entry.claims().clone(), entry.bound().cloned());
            IntrospectedJwt { claims, route: entry.route().clone(), bound, key: key.copy() }
        });
        let is_signed = jwt.is_some();
        let on_active = move |answer: &Arc<ActiveAnswer>| match jwt {
            None => validator.store_refreshed(&shared, issuer, answer),
            Some(jwt) => validator.store_newer_answer(&shared, issuer, jwt, answer),
        };
        let priority = if is_signed { Priority::Genuine } else { Priority::Known };
        if !client.refresh(token, priority, Box::new(on_active)) {
            server.cancel_refresh();
        }
    }

    /// Stores a newer answer about an opaque token, or removes the entry if the API rejects the token now.
    fn store_refreshed(&self, token: &[u8], issuer: usize, answer: &Arc<ActiveAnswer>) {
        match self.read_answer(token, issuer, answer) {
            Ok(read) => {
                let dates = (read.checked_at, read.valid_until);
                self.store(token, issuer, read.claims, (read.route.id(), read.bound), dates, None, answer);
            }
            Err(_) => self.record_rejected(token, issuer, answer, Priority::Known),
        }
    }

    /// Stores an answer that the API rejects, and records that no earlier answer about the token is used any more.
    pub(super) fn record_rejected(&self, token: &[u8], issuer: usize, answer: &Arc<ActiveAnswer>, priority: Priority) {
        let Some(client) = self.core.client(issuer) else { return };
        client.record_rejected(token, answer, priority);
        // Also for validators that share the client and not the token cache.
        client.evict(token);
    }
}

impl Core {
    pub(super) fn client(&self, issuer: usize) -> Option<&Arc<Client>> {
        self.issuers.get(issuer)?.introspection.as_ref()
    }

    /// Returns whether an API with introspection does not introspect a text because its first segment is a JSON object.
    pub(super) fn counts_as_jwt(&self, token: &[u8]) -> bool {
        self.issuers.iter().any(|issuer| issuer.introspection.is_some()) && token::has_json_header(token)
    }

    /// Returns the issuer whose server introspects this token, if it is opaque; `None` for a JWT and for a token
    /// that belongs to no issuer with introspection.
    ///
    /// # Security
    ///
    /// A JWT is never introspected because it is rejected: otherwise each forged token would cause a call. A token is
    /// sent to one server only, because the others would learn a token that is valid elsewhere.
    pub(super) fn opaque_issuer(
        &self,
        token: &Credential<'_>,
        context: &RequestContext,
    ) -> Result<Option<usize>, Rejection> {
        let bytes = token.as_bytes();
        let has_prefix = |client: &Arc<Client>| {
            client.settings().prefix.as_ref().is_none_or(|prefix| bytes.starts_with(prefix.as_bytes()))
        };
        let is_responsible = |issuer: &IssuerState| issuer.introspection.as_ref().is_some_and(has_prefix);
        let Some(issuer) = self.issuers.iter().position(is_responsible) else { return Ok(None) };
        let is_token = bytes.len() >= defaults::MIN_OPAQUE_TOKEN_BYTES && BearerToken::from_bytes(bytes).is_ok();
        if !is_token || token::has_json_header(bytes) {
            return Ok(None);
        }
        let (length, limit) = (bytes.len(), defaults::MAX_OPAQUE_TOKEN_BYTES);
        if length > limit {
            return Err(Rejection::Token(TokenError::TooLong { length, limit }));
        }
        if !self.hosts.is_empty() {
            let accepts = |route: Route<'_>| self.hosts.accepts(context.host.as_ref()?, route.label.name());
            match self.routes.of_issuer(issuer).filter_map(accepts).max() {
                Some(true) => {}
                Some(false) => return Err(Rejection::Issuer(IssuerError::NotForHost)),
                None => return Err(Rejection::Issuer(IssuerError::UnknownHost)),
            }
        }
        Ok(Some(issuer))
    }

    /// Returns the issuer of a route if its JWTs are introspected.
    pub(super) fn issuer_introspecting_jwts(&self, route: &RouteId) -> Option<usize> {
        let issuer = self.route(route)?.configured_issuer()?;
        self.client(issuer)?.settings().introspected_tokens.eq(&IntrospectedTokens::OpaqueAndJwt).then_some(issuer)
    }

    pub(super) fn record_issuer<'s>(&'s self, issuer: usize, validation: &Validation<'s>) {
        if let Some(route) = self.routes.of_issuer(issuer).next() {
            validation.record_issuer(route.label);
        }
    }

    /// Returns the route of an answer about an opaque token.
    pub(super) fn answer_route(&self, issuer: usize, payload: &Payload) -> Result<Route<'_>, Rejection> {
        let state = self.issuers.get(issuer).ok_or(Rejection::Signature)?;
        self.routes.of_answer(issuer, &state.name, payload).ok_or(Rejection::Signature)
    }

    /// Returns the input for the checks of an answer about an opaque token.
    pub(super) fn answer_input<'i>(
        &self,
        issuer: usize,
        route: Route<'i>,
        payload: &'i Payload,
    ) -> Result<CheckInput<'i>, Rejection> {
        let client = self.client(issuer).ok_or(Rejection::Signature)?;
        let source = CheckedSource::Answer(client.settings().answer_rules());
        Ok(CheckInput { source, payload, issuer: route.label.name(), now: self.clock.now() })
    }

    /// Returns the state of an entry that an answer proves.
    pub(super) fn revalidate_answer<C>(
        &self,
        entry: &CacheEntry<C>,
        server: &ServerProof,
        (issuer, route): (&IssuerState, Route<'_>),
        host: Option<&Host>,
        now: Moment,
    ) -> EntryState {
        let Some(client) = &issuer.introspection else { return EntryState::IssuerRemoved };
        let ttl = client.settings().ttl;
        let age = server.answer.age(now);
        if age >= ttl {
            return EntryState::AnswerExpired;
        }
        match issuer.has_current_keys(entry, server) {
            Some(true) if !route.allows_host(entry.claims().payload(), &self.hosts, host) => EntryState::NotApplicable,
            Some(true) if age.saturating_mul(100) >= ttl.saturating_mul(defaults::INTROSPECTION_REFRESH_PERCENT) => {
                EntryState::AnswerExpiresSoon
            }
            Some(true) => EntryState::Valid,
            Some(false) => EntryState::KeyRemoved,
            None => EntryState::NotApplicable,
        }
    }
}

impl IssuerState {
    /// Returns whether the keys that verified the token and the answer are current; `None` if no keys are usable.
    pub(super) fn has_current_keys<C>(&self, entry: &CacheEntry<C>, server: &ServerProof) -> Option<bool> {
        if !server.is_signed() {
            return Some(true);
        }
        let payload = entry.claims().payload();
        let answer_header = server.answer.signature.as_ref().map(|signature| &signature.header);
        let proofs = [(&server.token_key, entry.claims().header()), (&server.answer_key, answer_header)];
        self.keys.with_usable_keys(|keys, epoch| {
            proofs.into_iter().all(|(key, header)| match (key, header) {
                (None, _) => true,
                (Some(_), None) => false,
                // The epoch of secrets does not change if the application replaces them.
                (Some(key), Some(header)) if header.algorithm().is_symmetric() => {
                    key.is_among(self.candidates(keys, header, payload).ok())
                }
                (Some(key), Some(header)) => key.is_current(epoch, || self.candidates(keys, header, payload).ok()),
            })
        })
    }
}

#[cfg(test)]
mod tests {
    use http::header::CONTENT_TYPE;

    use super::*;
    use crate::introspection::{ClientAuthentication, Introspection};
    use crate::testing::{FakeClock, FakeFetch, Reply};
    use crate::{Api, Issuer};

    /// A request may find no answer just before the call of another one ends.
    #[tokio::test]
    async fn calls_only_once_if_a_call_ends_after_a_request_found_no_answer() {
        const URL: &str = "https://id.test/introspect";
        let clock = FakeClock::new();
        let network = FakeFetch::new(&clock);
        network.always(URL, Reply::json(r#"{"active":false}"#).with_header(CONTENT_TYPE, "application/json"));
        let introspection = Introspection::at(URL, ClientAuthentication::basic("orders-api", "s3cret"));
        let api = Api::new("https://api.test", Issuer::opaque("https://id.test", introspection));
        let validator = Validator::builder(api).with_fetch(network.clone()).with_clock(clock).build().expect("valid");
        let client = validator.core.client(0).expect("introspection");
        for _ in 0..2 {
            let answer = client.introspect(b"opaque-token", Priority::Unknown).await;
            assert!(matches!(answer, Ok(Answer::Inactive)));
        }
        assert_eq!(network.calls_to(URL), 1);
    }
}
