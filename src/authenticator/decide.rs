//! The synchronous decision about a request, and what is left to do if it has to wait.

use http::header::{
    ACCESS_CONTROL_REQUEST_METHOD, AUTHORIZATION, COOKIE, Entry, HeaderName, ORIGIN, SEC_WEBSOCKET_PROTOCOL,
};
use http::{HeaderMap, Method};

use crate::authenticator::{Anonymous, Authenticator, Preflight, RawToken};
use crate::claims::Claims;
use crate::dpop::{DPOP, NonceAge};
use crate::rejection::Rejection;
use crate::request::credential::{self, BearerToken, Credential, CredentialError, SharedCredential};
use crate::request::{RequestHead, Scheme};
use crate::validator::{AwaitedKeys, Decision, Pending, PendingKey, RequestContext, Validated, record_early};

/// The decision about a request, before any wait.
pub(crate) enum RequestDecision<C> {
    /// The request is accepted; `None` if it has no credential and needs none.
    Accepted(Option<Accepted<C>>),
    Rejected(Rejection),
    /// The decision has to wait; [`Authenticator::resume`] makes it.
    Pending(PendingRequest<C>),
}

/// What is known about an authenticated request.
pub(crate) struct Accepted<C> {
    pub(crate) claims: Claims<C>,
    /// Only with `with_raw_token`.
    pub(crate) token: Option<BearerToken<'static>>,
    /// The nonce of the request's proof.
    pub(crate) nonce: Option<NonceAge>,
}

/// The part of a request that a pending decision needs. It does not borrow the request.
pub(crate) struct PendingRequest<C> {
    credential: SharedCredential,
    /// `None` if it is the default one, as for most requests: a waiting request then takes less memory.
    context: Option<Box<RequestContext>>,
    pending: Pending<C>,
}

impl<C> PendingRequest<C> {
    /// Returns the key for which the decision waits, if it waits for one.
    pub(crate) fn key(&self) -> Option<&PendingKey> {
        match &self.pending {
            Pending::Key(key) => Some(key),
            Pending::Tenant(_) | Pending::Answer(_) | Pending::Record(_) => None,
        }
    }
}

impl<C> RequestDecision<C> {
    /// Rejects a request before the validator is called.
    fn rejected_early(rejection: Rejection) -> Self {
        record_early(&rejection);
        Self::Rejected(rejection)
    }
}

impl<C: Send + Sync + 'static, R: Send + Sync> Authenticator<C, R> {
    /// Decides about a request without waiting.
    pub(crate) fn decide(&self, request: &RequestHead<'_>) -> RequestDecision<C> {
        let (scheme, credential) = match self.credential(request) {
            Ok(Some(found)) => found,
            Ok(None) if self.accepts_without_credential(request) => return RequestDecision::Accepted(None),
            Ok(None) => return RequestDecision::rejected_early(Rejection::NoCredential),
            Err(rejection) => return RequestDecision::rejected_early(rejection),
        };
        let context = match self.context(request, scheme, &credential) {
            Ok(context) => context,
            Err(rejection) => return RequestDecision::rejected_early(rejection),
        };
        match self.validator.try_validate(&credential, &context) {
            Decision::Made(Ok(validated)) => RequestDecision::Accepted(Some(self.accept(validated, credential))),
            Decision::Made(Err(rejection)) => RequestDecision::Rejected(rejection),
            Decision::Pending(pending) => match SharedCredential::new(&credential, request.headers()) {
                Some(credential) => {
                    let context = (!context.is_default()).then(|| Box::new(context));
                    RequestDecision::Pending(PendingRequest { credential, context, pending })
                }
                None => RequestDecision::rejected_early(Rejection::Credential(CredentialError::Malformed)),
            },
        }
    }

    /// Waits for the key that a pending decision needs.
    pub(crate) fn wait_for_keys<'a, 'k>(
        &'a self,
        key: &'k PendingKey,
    ) -> impl Future<Output = AwaitedKeys<'a>> + Send + use<'a, 'k, C, R> {
        self.validator.wait_for_keys(key)
    }

    /// Makes a pending decision with the keys, if it waited for them.
    pub(crate) async fn resume<'a>(
        &'a self,
        pending: PendingRequest<C>,
        awaited: Option<AwaitedKeys<'a>>,
    ) -> Result<Accepted<C>, Rejection> {
        let PendingRequest { credential, context, pending } = pending;
        let (credential, context) = (credential.credential(), context.unwrap_or_default());
        let decision = match (awaited, pending) {
            (Some(awaited), Pending::Key(key)) => self.validator.decide_with_keys(&credential, &context, &key, awaited),
            (_, pending) => Decision::Pending(pending),
        };
        let validated = self.validator.settle(&credential, &context, decision).await?;
        Ok(self.accept(validated, credential))
    }

    /// Marks credentials, proofs, certificates, which may contain personal data, and secrets of proxies as sensitive, so that they do not
    /// appear in logs of headers. Only headers that the API reads are looked up. A request with a second `Authorization` field is rejected.
    pub(crate) fn mark_sensitive(&self, headers: &mut HeaderMap) {
        if let Some(field) = headers.get_mut(AUTHORIZATION) {
            field.set_sensitive(true);
        }
        if !self.token_sources.is_empty() {
            [COOKIE, SEC_WEBSOCKET_PROTOCOL].iter().for_each(|name| mark_fields(headers, name));
        }
        let possession = self.validator.possession();
        if possession.reads_dpop_scheme() {
            mark_fields(headers, &DPOP);
        }
        if let Some(rules) = possession.mutual_tls() {
            rules.sensitive_headers().for_each(|name| mark_fields(headers, name));
        }
    }

    #[inline]
    fn accept(&self, validated: Validated<C>, credential: Credential<'_>) -> Accepted<C> {
        let Validated { claims, nonce } = validated;
        let token = match self.raw_token {
            // An accepted credential matches the grammar.
            RawToken::Return => credential.read().ok().map(BearerToken::into_owned),
            RawToken::Omit => None,
        };
        Accepted { claims, token, nonce }
    }

    fn accepts_without_credential(&self, request: &RequestHead<'_>) -> bool {
        self.anonymous == Anonymous::Accept || (self.preflight == Preflight::Accept && is_preflight(request))
    }

    /// Returns the only credential, from `Authorization` or a token source. Without token sources, the validation checks its length, after
    /// the form of the proof.
    fn credential<'r>(&self, request: &RequestHead<'r>) -> Result<Option<(Scheme, Credential<'r>)>, Rejection> {
        let schemes = self.validator.schemes();
        let field = credential::extract_unchecked(request.headers(), schemes).map_err(Rejection::Credential)?;
        // A token of a token source counts as sent under `Bearer`.
        let scheme = field.map_or(Scheme::Bearer, |(scheme, _)| scheme);
        if self.token_sources.is_empty() {
            return Ok(field.map(|(scheme, bytes)| (scheme, Credential::Field(bytes))));
        }
        // Errors of `Authorization` are reported before errors of the token sources.
        if let Some((_, bytes)) = field {
            self.validator.check_length(bytes.len())?;
        }
        let field = field.map(|(_, bytes)| BearerToken::from_bytes(bytes));
        let mut token = field.transpose().map_err(Rejection::Credential)?;
        for source in &self.token_sources {
            let found = source(request).map_err(Rejection::Credential)?;
            // RFC 6750 §2: a request must use only one method to send the token.
            if found.is_some() && token.is_some() {
                return Err(Rejection::Credential(CredentialError::Multiple));
            }
            token = token.or(found);
        }
        if let Some(token) = &token {
            self.validator.check_length(token.as_str().len())?;
        }
        Ok(token.map(|token| (scheme, Credential::Token(token))))
    }

    /// Returns the properties of a request with this credential that validation needs besides the token.
    fn context(
        &self,
        request: &RequestHead<'_>,
        scheme: Scheme,
        credential: &Credential<'_>,
    ) -> Result<RequestContext, Rejection> {
        if !self.validator.needs_context(scheme) {
            return Ok(RequestContext::default());
        }
        // No function of the application reads a request with a malformed credential.
        if self.validator.calls_application(scheme) {
            credential.check().map_err(Rejection::Credential)?;
        }
        // Errors of `Authorization` are reported before those of the host and the proof.
        self.read_context(request, scheme).map_err(|rejection| match credential.check() {
            Ok(()) => rejection,
            Err(error) => Rejection::Credential(error),
        })
    }

    /// Reads the properties, the host from where the settings say.
    fn read_context(&self, request: &RequestHead<'_>, scheme: Scheme) -> Result<RequestContext, Rejection> {
        if !self.validator.needs_host(scheme) {
            return self.validator.context(request, scheme);
        }
        match self.host_source.forwarded(request.headers()).map_err(Rejection::Host)? {
            Some(host) => self.validator.context(&request.with_host(host), scheme),
            None => self.validator.context(request, scheme),
        }
    }
}

/// Marks all fields with this name as sensitive.
fn mark_fields(headers: &mut HeaderMap, name: &HeaderName) {
    // `entry` may allocate for an absent header.
    if headers.contains_key(name)
        && let Entry::Occupied(mut fields) = headers.entry(name)
    {
        fields.iter_mut().for_each(|field| field.set_sensitive(true));
    }
}

fn is_preflight(request: &RequestHead<'_>) -> bool {
    let headers = request.headers();
    request.method() == Method::OPTIONS
        && headers.contains_key(ORIGIN)
        && headers.contains_key(ACCESS_CONTROL_REQUEST_METHOD)
}
