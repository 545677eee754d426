//! `DriverCore`: the state that the driver keeps between two tasks.

use std::sync::Arc;

use crate::clock::{Moment, Monotonic};
use crate::fetch::Endpoint;
use crate::jwks::discovery::Rediscovery;
use crate::jwks::events::KeyEventKind;
use crate::jwks::jitter::Rng;
use crate::jwks::mailbox::{ReloadResult, Reply};
use crate::jwks::operation::KeySummary;
use crate::jwks::origin::Origin;
use crate::jwks::policy::RefreshPolicy;
use crate::jwks::refresh::Refresh;

/// The part of the driver's state that survives the end of the task's runtime.
pub(super) struct DriverCore {
    pub(super) machine: Refresh,
    pub(super) rng: Rng,
    /// The `jwks_uri`, once it is known.
    pub(super) endpoint: Option<Endpoint>,
    pub(super) rediscovery: Rediscovery,
    /// The `reload()` calls that the fetch in flight completes.
    pub(super) in_flight_replies: Vec<Reply>,
    /// The `reload()` calls that wait for a fetch that has not started.
    pub(super) queued_replies: Vec<Reply>,
    /// The `reload()` calls whose fetch has ended, with its result. They return after the status of the source has been
    /// published.
    pub(super) completed_replies: Vec<(Reply, ReloadResult)>,
    /// The skipped keys of the last key set as last reported, and whether that set was rejected.
    pub(super) reported_skips: (KeySummary, bool),
    /// The public part of the key set that is stored; `None` before the first one, and if there is no store.
    pub(super) document: Option<Arc<str>>,
    pub(super) save_state: SaveState,
    /// When the source was created.
    pub(super) created: Moment,
    /// Events that are sent after the lock is released.
    pub(super) pending_events: Vec<KeyEventKind>,
    /// The time of the last `unknown_kid` events.
    pub(super) unknown_kids_reported_at: Option<Monotonic>,
}

/// Whether the store has the current key set.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum SaveState {
    /// It has, or there is no key set.
    Saved,
    /// A save has started. If it fails, the next fetch repeats it.
    Started,
    /// The key set has changed, or was confirmed again.
    Due,
}

impl DriverCore {
    pub(super) fn new(machine: Refresh, origin: &Origin, policy: &RefreshPolicy, created: Moment) -> Self {
        let endpoint = match origin {
            Origin::Jwks { endpoint, .. } => Some(endpoint.clone()),
            Origin::Discovery(_) => None,
        };
        Self {
            machine,
            rng: policy.seed.map_or_else(Rng::seeded, Rng::from_seed),
            endpoint,
            rediscovery: Rediscovery::new(policy.discovery_interval),
            in_flight_replies: Vec::new(),
            queued_replies: Vec::new(),
            completed_replies: Vec::new(),
            reported_skips: Default::default(),
            document: None,
            save_state: SaveState::Saved,
            created,
            pending_events: Vec::new(),
            unknown_kids_reported_at: None,
        }
    }

    /// Stores the result of `reload()` calls until the status of the source has been published.
    pub(super) fn complete_replies(&mut self, replies: Vec<Reply>, result: ReloadResult) {
        self.completed_replies.extend(replies.into_iter().map(|reply| (reply, result)));
    }
}
