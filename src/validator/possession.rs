//! Proof of possession: `cnf` × scheme × proof × certificate. It is checked on every request, also if the token is in the token cache.

use std::fmt;
use std::mem::size_of;
use std::sync::Arc;
use std::sync::atomic::{AtomicI64, AtomicUsize, Ordering};

use arc_swap::ArcSwapOption;
use http::header::{CONNECTION, UPGRADE};
use http::{HeaderMap, HeaderValue, Method, Uri};

use crate::claims::{CertificateThumbprint, Confirmation, ProvenConfirmation};
use crate::clock::{Clock, Timestamp};
use crate::config::{PossessionRules, SenderConstraintRule};
use crate::defaults;
use crate::dpop::{
    self, AccessTokenHash, CurrentNonces, DpopRules, Expected, NonceSource, ProofError, ProofHead, ProofSegments,
    ProofUse, Recording, RecordingFuture, ReplayError, UnverifiedProof, VerifiedProof,
};
use crate::fetch::within;
use crate::keys::Thumbprint;
use crate::mutual_tls::{CertificateError, DpopSchemeRule, MutualTlsRules, RequestCertificate};
use crate::rejection::PossessionError;
use crate::request::{Handshake, Host, RequestHead, Scheme, list_items};
use crate::telemetry;
use crate::token::Payload;

/// Checks that requests prove possession.
#[derive(Debug)]
pub(crate) struct Possession {
    rules: PossessionRules,
    /// The nonces of the current period, computed once.
    nonces: ArcSwapOption<CurrentNonces>,
    /// When a failure of the replay store was last logged, in seconds.
    failure_logged_at: AtomicI64,
    /// The number of recorded proofs that the metric contains.
    counted_proofs: AtomicUsize,
}

/// How a request sends its token.
#[derive(Clone, Debug, Default)]
pub(crate) enum Presentation {
    /// Under the scheme `Bearer`, or outside of `Authorization`.
    #[default]
    Bearer,
    /// Under the scheme `DPoP`. Boxed, because most requests are bearer requests.
    Dpop(Box<DpopRequest>),
}

/// The parts of a request that a proof is about.
#[derive(Clone)]
pub(crate) struct DpopRequest {
    method: Method,
    target: Uri,
    host: Option<Host>,
    handshake: Handshake,
    /// The field `DPoP`.
    proof: Option<ProofField>,
}

/// The field `DPoP` of a request.
#[derive(Clone)]
struct ProofField {
    value: HeaderValue,
    /// The segments of the value, whose form is checked; `None` if no proof is read, because the API does not use DPoP.
    segments: Option<ProofSegments>,
}

/// A token that is bound to a key or a certificate, with what does not change from request to request.
pub(super) struct BoundToken {
    confirmation: Confirmation,
    hash: AccessTokenHash,
    /// The head of a proof that was valid. Clients sign all proofs of a token with one key, so the head is seldom new. It is never
    /// replaced by a larger one, because the token cache has counted its size.
    head: ArcSwapOption<ProofHead>,
    /// The memory that is counted for the head if an entry is stored before the first proof is checked.
    reserved_for_head: Option<usize>,
}

/// What a request has proven.
#[derive(Debug)]
pub(super) struct Proven {
    pub(super) confirmation: ProvenConfirmation,
    /// The proof, which the caller must still [record](Possession::record).
    pub(super) proof: Option<VerifiedProof>,
}

/// The result of recording a proof without waiting.
pub(super) enum RecordDecision {
    Made(Result<(), PossessionError>),
    /// The replay store does not respond at once.
    Pending(RecordingFuture),
}

impl Possession {
    pub(super) fn new(rules: PossessionRules) -> Self {
        Self {
            rules,
            nonces: ArcSwapOption::empty(),
            failure_logged_at: AtomicI64::new(i64::MIN),
            counted_proofs: AtomicUsize::new(0),
        }
    }

    /// Returns the rules of proofs, if the API uses DPoP.
    pub(crate) fn dpop(&self) -> Option<&DpopRules> {
        self.rules.dpop.as_ref()
    }

    /// Returns the rules of certificates, if the API accepts certificate-bound tokens.
    pub(crate) fn mutual_tls(&self) -> Option<&MutualTlsRules> {
        self.rules.mutual_tls.as_ref()
    }

    /// Returns whether a credential of the scheme `DPoP` is read. Where certificates are configured, it is, so that a client of a server
    /// that issues certificate-bound tokens for this scheme gets the error.
    pub(crate) fn reads_dpop_scheme(&self) -> bool {
        self.dpop().is_some() || self.mutual_tls().is_some()
    }

    /// Returns whether certificate-bound tokens are accepted under the scheme `DPoP`.
    pub(crate) fn accepts_certificates_under_dpop(&self) -> bool {
        self.mutual_tls().is_some_and(|rules| rules.dpop_scheme == DpopSchemeRule::Accepted)
    }

    /// Returns whether the host of a request selects the public URL.
    pub(super) fn needs_host(&self) -> bool {
        self.dpop().is_some_and(DpopRules::needs_host)
    }

    /// Returns whether a function of the application returns the target of a request.
    pub(super) fn calls_application(&self) -> bool {
        self.dpop().is_some_and(|rules| rules.request_target.is_some())
    }

    /// Returns whether bearer tokens are rejected.
    pub(crate) fn is_required(&self) -> bool {
        self.rules.sender_constraint == SenderConstraintRule::Required
    }

    /// Returns the scheme that a token needs, for an explanation.
    pub(super) fn expected_scheme(&self, bound: Option<&BoundToken>) -> &'static str {
        let confirmation = bound.map(|bound| bound.confirmation);
        match (confirmation, self.mutual_tls()) {
            (Some(confirmation), Some(_)) if confirmation.jwk_thumbprint().is_none() => "Bearer, with the certificate",
            (Some(_), _) => "DPoP, with a proof",
            (None, Some(_)) if self.is_required() => {
                "a token that is bound to a key (cnf.jkt) or to a certificate (cnf.x5t#S256)"
            }
            (None, None) if self.is_required() => "DPoP, with a token that is bound to a key (cnf.jkt)",
            (None, _) => "Bearer, since the token is not bound to a key (cnf.jkt)",
        }
    }

    /// Returns what is bound to a token, to be stored with it; `None` if the token is not bound, or if this is not checked.
    pub(super) fn bound_token(&self, payload: &Payload, token: &[u8]) -> Option<BoundToken> {
        if self.dpop().is_none() && self.mutual_tls().is_none() {
            return None;
        }
        let confirmation = Confirmation::read(payload)?;
        let hash = AccessTokenHash::from_bytes(token);
        Some(BoundToken { confirmation, hash, head: ArcSwapOption::empty(), reserved_for_head: None })
    }

    /// Checks everything about possession, except for replay.
    pub(super) fn check(
        &self,
        bound: Option<&BoundToken>,
        presentation: &Presentation,
        certificate: &RequestCertificate,
        now: Timestamp,
    ) -> Result<Proven, PossessionError> {
        let (jkt, x5t) = bound.map_or((None, None), |bound| bound.confirmation.keys());
        let is_certificate_bound = jkt.is_none() && x5t.is_some() && self.mutual_tls().is_some();
        match (presentation, jkt, x5t) {
            (Presentation::Bearer, ..) if self.is_required() && !is_certificate_bound => {
                Err(PossessionError::Unconstrained)
            }
            (Presentation::Bearer, None, None) => Ok(Proven::without_proof(ProvenConfirmation::None)),
            (Presentation::Bearer, None, Some(x5t)) => {
                self.check_certificate(x5t, certificate)?;
                Ok(Proven::without_proof(ProvenConfirmation::Certificate(Scheme::Bearer)))
            }
            (Presentation::Bearer, Some(_), _) if self.dpop().is_none() => Err(PossessionError::NoDpop),
            (Presentation::Bearer, Some(_), _) => Err(PossessionError::BearerScheme),
            (Presentation::Dpop(request), None, Some(x5t)) if request.proof.is_none() => {
                if !self.accepts_certificates_under_dpop() {
                    return Err(PossessionError::CertificateUnderDpop);
                }
                self.check_certificate(x5t, certificate)?;
                Ok(Proven::without_proof(ProvenConfirmation::Certificate(Scheme::Dpop)))
            }
            (Presentation::Dpop(_), None, _) => Err(PossessionError::NotBound),
            (Presentation::Dpop(request), Some(jkt), x5t) => {
                let (Some(rules), Some(bound)) = (self.dpop(), bound) else { return Err(PossessionError::NoDpop) };
                let proof = request.proof.as_ref().ok_or(PossessionError::Proof(ProofError::Missing))?;
                if let Some(x5t) = x5t {
                    self.check_certificate(x5t, certificate)?;
                }
                let proof = self.check_proof(rules, bound, *jkt, request, proof, now)?;
                let confirmation = if x5t.is_some() { ProvenConfirmation::Both } else { ProvenConfirmation::Dpop };
                Ok(Proven { confirmation, proof: Some(proof) })
            }
        }
    }

    /// Checks that the client of a request has the certificate to which a token is bound.
    pub(super) fn check_certificate(
        &self,
        x5t: &CertificateThumbprint,
        certificate: &RequestCertificate,
    ) -> Result<(), PossessionError> {
        let rules = self.mutual_tls().ok_or(PossessionError::Certificate(CertificateError::NotConfigured))?;
        rules.check(x5t, certificate).map_err(PossessionError::Certificate)
    }

    fn check_proof(
        &self,
        rules: &DpopRules,
        bound: &BoundToken,
        key: Thumbprint,
        request: &DpopRequest,
        proof: &ProofField,
        now: Timestamp,
    ) -> Result<VerifiedProof, PossessionError> {
        let nonces = self.nonces(|| now);
        let expected = request.expected(rules, bound.hash, key, nonces.as_deref());
        let proof = proof.parsed().map_err(PossessionError::Proof)?;
        let known = bound.head.load();
        let verified = dpop::verify_with_known_head(&proof, known.as_deref(), &expected, &rules.policy, now);
        let (verified, head) = verified.map_err(PossessionError::Proof)?;
        if let Some(head) = head {
            bound.remember(head);
        }
        Ok(verified)
    }

    /// Records a proof for this request.
    pub(super) fn record(&self, proof: &VerifiedProof, now: impl Fn() -> Timestamp) -> RecordDecision {
        let Some(store) = self.dpop().and_then(|rules| rules.replay.as_ref()) else {
            return RecordDecision::Made(Ok(()));
        };
        match store.record(proof, now()) {
            Recording::Now(result) => {
                store.entries().into_iter().for_each(|entries| self.count_proofs(entries));
                RecordDecision::Made(self.check_recording(result, proof, now()))
            }
            Recording::Later(recording) => RecordDecision::Pending(recording),
        }
    }

    fn count_proofs(&self, entries: usize) {
        telemetry::recorded_proofs(self.counted_proofs.swap(entries, Ordering::Relaxed), entries);
    }

    /// Waits for the replay store, but no longer than its timeout.
    pub(super) async fn recorded(
        &self,
        recording: RecordingFuture,
        proof: &VerifiedProof,
        clock: &dyn Clock,
    ) -> Result<(), PossessionError> {
        let timeout = self.dpop().map_or(defaults::REPLAY_TIMEOUT, |rules| rules.replay_timeout);
        let timer = clock.sleep_until(clock.monotonic().saturating_add(timeout));
        let result = match within(recording, timer).await {
            Some(result) => result,
            None => match self.dpop().and_then(|rules| rules.replay.as_ref()) {
                Some(store) => store.timed_out(proof, clock.now()),
                None => Err(ReplayError::TimedOut),
            },
        };
        self.check_recording(result, proof, clock.now())
    }

    /// The time is checked again: while the proof was verified or recorded, it may have expired, and the store may have dropped an
    /// earlier use of it.
    fn check_recording(
        &self,
        result: Result<ProofUse, ReplayError>,
        proof: &VerifiedProof,
        now: Timestamp,
    ) -> Result<(), PossessionError> {
        match result {
            Ok(ProofUse::First) if now <= proof.accepted_until() => Ok(()),
            Ok(ProofUse::First) => {
                let by = now.saturating_since(proof.created_at());
                Err(PossessionError::Proof(ProofError::TooOld { by }))
            }
            Ok(ProofUse::Replayed) => Err(PossessionError::Proof(ProofError::Replayed)),
            Err(error) => {
                self.log_failure(error, now);
                let retry_after = match error {
                    ReplayError::Full { retry_after } => retry_after.max(defaults::RETRY_AFTER_MIN),
                    ReplayError::Unavailable | ReplayError::TimedOut => defaults::RETRY_AFTER_MIN,
                };
                Err(PossessionError::ReplayStore { error, retry_after })
            }
        }
    }

    /// Logs that the replay store failed, unless this was logged a moment ago.
    fn log_failure(&self, error: ReplayError, now: Timestamp) {
        let (now, last) = (now.as_secs(), self.failure_logged_at.load(Ordering::Relaxed));
        let is_recent = (last..last.saturating_add(defaults::REPLAY_FAILURE_LOG_SECONDS)).contains(&now);
        let is_ours =
            || self.failure_logged_at.compare_exchange(last, now, Ordering::Relaxed, Ordering::Relaxed).is_ok();
        if !is_recent && is_ours() {
            telemetry::replay_store_failed(error.name());
        }
    }

    /// Returns the nonces of the current period, if nonces are required.
    pub(crate) fn nonces(&self, now: impl FnOnce() -> Timestamp) -> Option<Arc<CurrentNonces>> {
        let source = self.dpop()?.nonces.as_ref()?;
        let period = NonceSource::period(now());
        if let Some(nonces) = self.nonces.load_full().filter(|nonces| nonces.period() == period) {
            return Some(nonces);
        }
        let nonces = Arc::new(source.nonces(period));
        self.nonces.store(Some(Arc::clone(&nonces)));
        Some(nonces)
    }

    /// Returns whether used proofs are recorded in the memory of this process.
    pub(super) fn is_replay_detection_local(&self) -> bool {
        self.dpop().and_then(|rules| rules.replay.as_ref()).is_some_and(|store| store.entries().is_some())
    }
}

impl Drop for Possession {
    fn drop(&mut self) {
        self.count_proofs(0);
    }
}

impl Proven {
    const fn without_proof(confirmation: ProvenConfirmation) -> Self {
        Self { confirmation, proof: None }
    }
}

impl BoundToken {
    /// Reserves memory for the head, if the token cache stores this before the first proof is checked. It is enough for a key on a
    /// curve. The head of a proof by an RSA key is four times as large, so it is parsed again for each proof.
    pub(super) fn with_reserved_head(self) -> Self {
        let reserved_for_head = self.confirmation.jwk_thumbprint().map(|_| ProofHead::CURVE_FOOTPRINT);
        Self { reserved_for_head, ..self }
    }

    /// Stores the head of a valid proof for later proofs, unless it is larger than the memory that is counted for it.
    fn remember(&self, head: ProofHead) {
        if self.head_footprint().is_none_or(|counted| head.footprint() <= counted) {
            self.head.store(Some(Arc::new(head)));
        }
    }

    /// Returns the memory in bytes that this token and its head take at most, once a head is known or memory is reserved for it.
    pub(super) fn footprint(&self) -> usize {
        size_of::<Self>().saturating_add(self.head_footprint().unwrap_or_default())
    }

    /// Returns a token that is bound to a key.
    #[cfg(test)]
    pub(super) fn for_tests(key: &crate::testing::ProofKey) -> Self {
        let payload = Payload::for_tests(&format!(r#"{{"cnf":{{"jkt":"{}"}}}}"#, key.jkt()));
        let confirmation = Confirmation::read(&payload).expect("a key");
        let hash = AccessTokenHash::new("token");
        Self { confirmation, hash, head: ArcSwapOption::empty(), reserved_for_head: None }
    }

    fn head_footprint(&self) -> Option<usize> {
        self.reserved_for_head.or_else(|| self.head.load().as_ref().map(|head| head.footprint()))
    }
}

impl Presentation {
    /// Reads how a request sends its token. The form of the field `DPoP` is checked before the token, so that a malformed field is
    /// reported as such whatever the token is.
    pub(super) fn read(
        scheme: Scheme,
        rules: Option<&DpopRules>,
        request: &RequestHead<'_>,
        host: Option<&Host>,
    ) -> Result<Self, PossessionError> {
        if scheme == Scheme::Bearer {
            return Ok(Self::Bearer);
        }
        let proof = match rules {
            Some(_) => proof_field(request.headers()).map_err(PossessionError::Proof)?,
            // No proof is ever read. A certificate-bound token is accepted only without one.
            None => request.headers().get(dpop::DPOP),
        };
        let check = |proof| UnverifiedProof::parse(field_content(proof)).map(|proof| proof.segments());
        let segments = rules.and(proof).map(check).transpose().map_err(PossessionError::Proof)?;
        let target = rules.and_then(|rules| rules.request_target.as_ref()).and_then(|target| (target.0)(request));
        let target = target.unwrap_or_else(|| request.uri().clone());
        Ok(Self::Dpop(Box::new(DpopRequest {
            method: request.method().clone(),
            handshake: handshake(request, &target),
            target,
            host: host.cloned(),
            proof: proof.map(|value| ProofField { value: value.clone(), segments }),
        })))
    }

    pub(crate) fn scheme(&self) -> Scheme {
        match self {
            Self::Bearer => Scheme::Bearer,
            Self::Dpop(_) => Scheme::Dpop,
        }
    }
}

impl DpopRequest {
    /// Returns a claim of the proof as JSON text, for an explanation.
    pub(super) fn proof_claim(&self, name: &str) -> Option<String> {
        self.proof.as_ref()?.parsed().ok()?.claim(name)
    }

    /// Returns what a check of the proof expects, for an explanation.
    pub(super) fn expected_claim(&self, check: &str, rules: Option<&DpopRules>) -> Option<String> {
        match check {
            "proof form" => Some("one DPoP header with a signed JWT".to_owned()),
            "htm" => Some(self.method.to_string()),
            "htu" => rules?.url_for(self.host.as_ref()).map(|url| format!("{url}{}", self.target.path())),
            "proof iat" => rules.map(expected_issued_at),
            "nonce" => rules?.nonces.as_ref().map(|_| "a nonce of this server".to_owned()),
            _ => None,
        }
    }

    fn expected<'e>(
        &'e self,
        rules: &'e DpopRules,
        token: AccessTokenHash,
        key: Thumbprint,
        nonces: Option<&'e CurrentNonces>,
    ) -> Expected<'e> {
        let url = rules.url_for(self.host.as_ref());
        let expected = Expected::for_request(&self.method, url, self.target.path(), token, key);
        let expected = expected.with_handshake(self.handshake);
        match nonces {
            Some(nonces) => expected.with_nonces(nonces),
            None => expected,
        }
    }
}

impl ProofField {
    fn parsed(&self) -> Result<UnverifiedProof<'_>, ProofError> {
        let content = field_content(&self.value);
        match self.segments.and_then(|segments| UnverifiedProof::from_checked(content, segments)) {
            Some(proof) => Ok(proof),
            None => UnverifiedProof::parse(content),
        }
    }
}

/// Shows no proof.
impl fmt::Debug for DpopRequest {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("DpopRequest").field("method", &self.method).finish_non_exhaustive()
    }
}

impl fmt::Debug for BoundToken {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("BoundToken(..)")
    }
}

/// Returns which `iat` of a proof is accepted, for an explanation.
fn expected_issued_at(rules: &DpopRules) -> String {
    if !rules.compares_issued_at() {
        return "a time, which is not compared with now, because the proof needs a nonce".to_owned();
    }
    let (lifetime, leeway) = (rules.policy.lifetime(), rules.policy.leeway());
    format!("at most {:?} ago and {leeway:?} in the future", lifetime.saturating_add(leeway))
}

/// Returns the only field `DPoP` (RFC 9449 §4.3, check 1).
fn proof_field(headers: &HeaderMap) -> Result<Option<&HeaderValue>, ProofError> {
    let mut fields = headers.get_all(dpop::DPOP).iter();
    let field = fields.next();
    if fields.next().is_some() { Err(ProofError::Multiple) } else { Ok(field) }
}

/// RFC 9110 §5.5: white space around a field value is not part of it. Of the bytes that [`trim_ascii`](slice::trim_ascii) removes, a
/// field value contains only space and tab.
fn field_content(field: &HeaderValue) -> &[u8] {
    field.as_bytes().trim_ascii()
}

/// Returns whether a request opens a WebSocket: RFC 6455 §4.1 over HTTP/1.1, RFC 8441 §4 over HTTP/2, where the method is CONNECT
/// and the target has a path.
fn handshake(request: &RequestHead<'_>, target: &Uri) -> Handshake {
    let lists = |name, item: &[u8]| list_items(request.headers(), name).any(|other| other.eq_ignore_ascii_case(item));
    // RFC 9110 §7.8: without the connection option, a recipient ignores `Upgrade`.
    let is_upgrade = request.method() == Method::GET && lists(&UPGRADE, b"websocket") && lists(&CONNECTION, b"upgrade");
    let is_extended_connect = request.method() == Method::CONNECT && target.path().starts_with('/');
    if is_upgrade || is_extended_connect { Handshake::WebSocket } else { Handshake::None }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::dpop::{ProofPolicy, verify_with_known_head};
    use crate::request::PublicUrl;
    use crate::testing::ProofKey;
    use crate::token::Algorithm;

    const URL: &str = "https://api.test/me";

    /// Returns the head of a proof whose header has a member of this length.
    fn head(key: &ProofKey, length: usize) -> ProofHead {
        let proof = key.proof("GET", URL, "token").header("x", "x".repeat(length)).sign();
        let url = PublicUrl::parse("https://api.test").expect("a URL");
        let hash = AccessTokenHash::new("token");
        let expected = Expected::new(&Method::GET, &url, "/me", hash, key.thumbprint());
        let proof = UnverifiedProof::parse(proof.as_bytes()).expect("well-formed");
        let now = crate::clock::SystemClock.now();
        let policy = ProofPolicy::new().with_algorithms(Algorithm::ALL.iter().copied());
        let verified = verify_with_known_head(&proof, None, &expected, &policy, now);
        verified.expect("valid").1.expect("a new head")
    }

    #[test]
    fn the_footprint_of_a_bound_token_includes_its_head_and_does_not_grow() {
        let key = ProofKey::new();
        let bound = BoundToken::for_tests(&key);
        let without = bound.footprint();
        bound.remember(head(&key, 1_000));
        let first = bound.footprint();
        assert!(first > without + 1_300, "{first} {without}");
        bound.remember(head(&key, 2_000));
        assert_eq!(bound.footprint(), first);
        bound.remember(head(&key, 1));
        let smaller = bound.footprint();
        assert!(smaller < first - 1_000, "{smaller} {first}");
        bound.remember(head(&key, 500));
        assert_eq!(bound.footprint(), smaller);
    }

    /// As for an opaque token, whose entry is stored before its first proof is checked.
    #[test]
    fn stores_no_head_that_is_larger_than_the_reserved_memory() {
        let without = BoundToken::for_tests(&ProofKey::new()).footprint();
        let curves = [Algorithm::ES256, Algorithm::ES384, Algorithm::ES512, Algorithm::EdDSA];
        for (algorithm, length, expected) in curves
            .map(|algorithm| (algorithm, 1, true))
            .into_iter()
            .chain([(Algorithm::ES256, 1_000, false), (Algorithm::PS256, 1, false)])
        {
            let key = ProofKey::with_algorithm(algorithm);
            let bound = BoundToken::for_tests(&key).with_reserved_head();
            let reserved = bound.footprint();
            assert_eq!(reserved, without + ProofHead::CURVE_FOOTPRINT, "{algorithm}");
            let head = head(&key, length);
            let needed = without + head.footprint();
            bound.remember(head);
            assert_eq!((bound.head.load().is_some(), needed <= reserved), (expected, expected), "{algorithm}");
            assert_eq!(bound.footprint(), reserved, "{algorithm}");
        }
        let payload = Payload::for_tests(&format!(r#"{{"cnf":{{"x5t#S256":"{}"}}}}"#, ProofKey::new().jkt()));
        let confirmation = Confirmation::read(&payload).expect("a certificate");
        let bound = BoundToken { confirmation, ..BoundToken::for_tests(&ProofKey::new()) };
        assert_eq!(bound.with_reserved_head().footprint(), without, "no proof by the key of a certificate");
    }
}
