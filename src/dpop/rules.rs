//! `DpopRules`: the valid settings of DPoP, as the validator uses them.

use std::sync::Arc;
use std::time::Duration;

use crate::dpop::nonce::NonceSource;
use crate::dpop::policy::ProofPolicy;
use crate::dpop::replay::ReplayStore;
use crate::dpop::settings::RequestTarget;
use crate::request::{Host, PublicUrl};
use crate::token::Algorithm;

/// The valid settings of DPoP.
#[derive(Clone, Debug)]
pub(crate) struct DpopRules {
    /// At least one.
    pub(crate) urls: Box<[PublicUrl]>,
    pub(crate) policy: ProofPolicy,
    pub(crate) nonces: Option<NonceSource>,
    /// `None` if replayed proofs are not detected.
    pub(crate) replay: Option<Arc<dyn ReplayStore>>,
    /// How long a request waits for the replay store.
    pub(crate) replay_timeout: Duration,
    pub(crate) request_target: Option<RequestTarget>,
}

impl DpopRules {
    /// Returns whether the host of a request selects the public URL.
    pub(crate) fn needs_host(&self) -> bool {
        self.urls.len() > 1
    }

    /// Returns whether `iat` of a proof is compared with the clock.
    pub(crate) fn compares_issued_at(&self) -> bool {
        self.policy.compares_issued_at(self.nonces.is_some())
    }

    /// Returns the public URL of a request; `None` if there are several, and none has the host of the request.
    pub(crate) fn url_for(&self, host: Option<&Host>) -> Option<&PublicUrl> {
        match &*self.urls {
            [url] => Some(url),
            urls => host.and_then(|host| urls.iter().find(|url| url.has_host(host))),
        }
    }
}

/// Returns the names of algorithms for `algs` (RFC 9449 §7.1) and for the resource metadata. EdDSA has both of its names, because
/// newer clients look for that of RFC 9864.
pub(crate) fn algorithm_names(algorithms: &[Algorithm]) -> impl Iterator<Item = &'static str> {
    algorithms.iter().flat_map(|algorithm| {
        let second = (*algorithm == Algorithm::EdDSA).then_some("Ed25519");
        std::iter::once(algorithm.name()).chain(second)
    })
}
