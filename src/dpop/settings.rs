//! `Dpop`: the settings of DPoP for an API.

use std::mem;
use std::sync::Arc;
use std::time::Duration;

use http::Uri;

use crate::defaults;
use crate::dpop::nonce::Nonces;
use crate::dpop::policy::ProofPolicy;
use crate::dpop::replay::ReplayStore;
use crate::request::RequestHead;
use crate::token::Algorithm;

/// The settings of DPoP (RFC 9449) for an API, for [`Api::with_dpop`](crate::Api::with_dpop).
///
/// A request with a token that is bound to a key (`cnf.jkt`) must then use the scheme `DPoP` and contain a valid proof. Tokens that are
/// not bound are still accepted as bearer tokens, unless the API accepts
/// [sender-constrained tokens only](crate::Api::with_sender_constrained_only).
///
/// ```
/// use std::time::Duration;
/// use tower_bearer::dpop::Dpop;
/// use tower_bearer::{Api, Issuer};
///
/// let api = Api::new("https://api.northwind.com", Issuer::auth0("northwind.eu.auth0.com"))
///     .with_dpop(Dpop::new("https://api.northwind.com").with_proof_lifetime(Duration::from_secs(30)));
/// # let _ = api;
/// ```
#[derive(Clone, Debug)]
pub struct Dpop {
    pub(crate) public_urls: Vec<String>,
    pub(crate) policy: ProofPolicy,
    pub(crate) nonces: Option<Nonces>,
    /// `None` for the default, in memory.
    pub(crate) replay: Option<ReplayDetection>,
    pub(crate) replay_timeout: Duration,
    pub(crate) request_target: Option<RequestTarget>,
}

/// Whether and where used proofs are recorded.
#[derive(Clone, Debug)]
pub(crate) enum ReplayDetection {
    Memory {
        max_bytes: usize,
    },
    Store(Arc<dyn ReplayStore>),
    Off,
    /// Two of the others were set.
    Contradictory,
}

/// Returns the target of a request as the client sent it.
#[derive(Clone)]
pub(crate) struct RequestTarget(pub(crate) Arc<TargetFunction>);

type TargetFunction = dyn Fn(&RequestHead<'_>) -> Option<Uri> + Send + Sync;

impl Dpop {
    /// Creates settings with the URL under which clients reach the API: `https://host[:port]`, followed by the path prefix that a
    /// proxy removes, if any. Plain http is allowed for a loopback host.
    ///
    /// The claim `htu` of a proof must be this URL followed by the path of the request.
    ///
    /// # Security
    ///
    /// The URL is never built from the request, because a client chooses `Host` and forwarded headers. With several public URLs, the
    /// host of the request only [selects one of them](Self::with_public_url).
    #[must_use]
    pub fn new(public_url: impl Into<String>) -> Self {
        Self {
            public_urls: vec![public_url.into()],
            policy: ProofPolicy::new(),
            nonces: None,
            replay: None,
            replay_timeout: defaults::REPLAY_TIMEOUT,
            request_target: None,
        }
    }

    /// Adds another URL under which clients reach the API. The host of the request, with its port, then selects the URL; a request to
    /// another host is rejected. Two URLs with the same host and port are a configuration error.
    #[must_use]
    pub fn with_public_url(mut self, public_url: impl Into<String>) -> Self {
        self.public_urls.push(public_url.into());
        self
    }

    /// Sets the accepted algorithms of proofs, preferred ones first. Clients read them in challenges (`algs`) and in the resource
    /// metadata. Default: ES256, EdDSA and PS256, those of FAPI 2.0.
    #[must_use]
    pub fn with_proof_algorithms(mut self, algorithms: impl IntoIterator<Item = Algorithm>) -> Self {
        self.policy = self.policy.with_algorithms(algorithms);
        self
    }

    /// Sets how long a proof is valid after its `iat`, from 1 s to 300 s. Default: 60 s.
    #[must_use]
    pub fn with_proof_lifetime(mut self, lifetime: Duration) -> Self {
        self.policy = self.policy.with_lifetime(lifetime);
        self
    }

    /// Sets the tolerated difference between the clocks of client and server, at most 60 s. Default: 30 s, because the clocks of phones
    /// are tens of seconds off. It is independent of [`Api::with_leeway`](crate::Api::with_leeway), which is for the clocks of servers.
    #[must_use]
    pub fn with_proof_leeway(mut self, leeway: Duration) -> Self {
        self.policy = self.policy.with_leeway(leeway);
        self
    }

    /// Requires that every proof contains a nonce of this server (RFC 9449 §9). Default: no nonces.
    ///
    /// A proof cannot be prepared for later, and wrong clocks of clients do no harm, because a nonce replaces the comparison of `iat`.
    /// A client needs one more request for its first nonce, and then reads the next one from responses.
    #[must_use]
    pub fn with_nonces(mut self, nonces: Nonces) -> Self {
        self.nonces = Some(nonces);
        self
    }

    /// Compares `iat` with the clock also where nonces are required. Default: a current nonce is enough (RFC 9449 §11.1).
    #[must_use]
    pub fn with_issued_at_too(mut self) -> Self {
        self.policy = self.policy.with_issued_at_too();
        self
    }

    /// Records used proofs in `store`; this excludes [`with_replay_memory`](Self::with_replay_memory). Default: in the memory of the
    /// validator, so that each process of the API accepts a proof once.
    /// Clones of a validator share its memory, and other validators do not, even if they are built from the same API. To make several
    /// validators in one process accept a proof once, give all of them clones of one `Arc<MemoryReplayStore>`.
    #[must_use]
    pub fn with_replay_store(mut self, store: impl ReplayStore) -> Self {
        self.set_replay(ReplayDetection::Store(Arc::new(store)));
        self
    }

    /// Sets how long a request waits for the replay store, from 1 ms to 10 s. Then the request is rejected with 503. Default: 50 ms, so
    /// that a store that does not respond does not make requests pile up. The default store, in memory, responds at once.
    #[must_use]
    pub fn with_replay_timeout(mut self, timeout: Duration) -> Self {
        self.replay_timeout = timeout;
        self
    }

    /// Sets the memory for used proofs in bytes, at least 64 KiB. Each validator has its own memory. Default: 48 MiB, enough for 26,000
    /// requests per second with the default lifetime, and with nonces. Memory is allocated when it is needed. If it is used up, further
    /// requests are rejected with 503.
    #[must_use]
    pub fn with_replay_memory(mut self, max_bytes: usize) -> Self {
        self.set_replay(ReplayDetection::Memory { max_bytes });
        self
    }

    /// Accepts a proof any number of times while it is valid. Use it only for a gateway in front of another resource server that
    /// detects replays: if the gateway recorded the proof, the resource server behind it, in the same store, would reject it. This excludes
    /// the settings of the memory and the store for used proofs.
    ///
    /// # Security
    ///
    /// An attacker who obtains a request can repeat it for the lifetime of its proof.
    #[must_use]
    pub fn dangerous_accept_replayed_proofs(mut self) -> Self {
        self.set_replay(ReplayDetection::Off);
        self
    }

    /// Of two calls of one setter, the later one counts. Two setters contradict each other.
    fn set_replay(&mut self, replay: ReplayDetection) {
        let is_same =
            self.replay.as_ref().is_none_or(|earlier| mem::discriminant(earlier) == mem::discriminant(&replay));
        self.replay = Some(if is_same { replay } else { ReplayDetection::Contradictory });
    }

    /// Sets a function that returns the target of a request as the client sent it, for a layer inside a router that removes a path
    /// prefix. If it returns `None`, the target of the request applies. Default: the target of the request.
    ///
    /// Inside axum's `nest`, the target lacks the prefix, and axum keeps the original one in the extensions:
    ///
    /// ```
    /// use axum::extract::OriginalUri;
    /// use tower_bearer::dpop::Dpop;
    ///
    /// let dpop = Dpop::new("https://api.northwind.com")
    ///     .with_request_target(|head| head.extensions().get::<OriginalUri>().map(|target| target.0.clone()));
    /// # let _ = dpop;
    /// ```
    ///
    /// # Security
    ///
    /// The path of the target decides for which URL a proof is valid. Do not read it from a header.
    #[must_use]
    pub fn with_request_target(
        mut self,
        target: impl Fn(&RequestHead<'_>) -> Option<Uri> + Send + Sync + 'static,
    ) -> Self {
        self.request_target = Some(RequestTarget(Arc::new(target)));
        self
    }
}

impl std::fmt::Debug for RequestTarget {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("RequestTarget(..)")
    }
}
