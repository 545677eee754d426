//! `RevocationEvent`: the changes of a list, for the log and for the event hook.

use crate::event_hook::EventHook;
use crate::revocation::status::RevocationState;
use crate::telemetry::revocation as telemetry;

/// An event of a list of revocations: see
/// [`RevocationsBuilder::with_event_hook`](crate::revocation::RevocationsBuilder::with_event_hook).
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct RevocationEvent {
    kind: RevocationEventKind,
}

/// What has happened.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum RevocationEventKind {
    /// The log was read to its end for the first time, or for the first time after [`Stopped`](Self::Stopped).
    Loaded,
    /// The list is [current](RevocationState::Current) again.
    Current,
    /// The list is [degraded](RevocationState::Degraded).
    Degraded,
    /// The list is [stale](RevocationState::Stale).
    Stale,
    /// Nothing reads the log any more, because the tokio runtime that did has ended. A list that is dropped does not report it.
    Stopped,
    /// The log no longer has what was read before: it was emptied, or replaced by an older state. It is read from its start again, and the
    /// list drops nothing.
    Regressed,
    /// The list had no room for an entry, which was not added. This is reported for each attempt to add one.
    #[non_exhaustive]
    Full {
        /// The largest number of entries.
        max_entries: usize,
    },
}

impl RevocationEvent {
    /// Returns what has happened.
    #[must_use]
    pub fn kind(&self) -> RevocationEventKind {
        self.kind
    }
}

impl RevocationEventKind {
    /// Returns the event of a change of the state.
    pub(super) fn of_change(previous: RevocationState, state: RevocationState) -> Self {
        match (previous, state) {
            (_, RevocationState::Stale) => Self::Stale,
            (_, RevocationState::Degraded) => Self::Degraded,
            (_, RevocationState::Loading) => Self::Stopped,
            (RevocationState::Loading, RevocationState::Current) => Self::Loaded,
            (_, RevocationState::Current) => Self::Current,
        }
    }

    fn log(self) {
        match self {
            Self::Loaded => telemetry::loaded(),
            Self::Current => telemetry::current(),
            Self::Degraded => telemetry::degraded(),
            Self::Stale => telemetry::stale(),
            Self::Stopped => telemetry::stopped(),
            Self::Regressed => telemetry::regressed(),
            Self::Full { max_entries } => telemetry::full(max_entries),
        }
    }
}

/// Sends an event to the hook and to the log. A panic of the hook stays in the hook.
pub(super) fn notify(hook: Option<&EventHook<RevocationEvent>>, kind: RevocationEventKind) {
    let has_panicked = hook.is_some_and(|hook| !hook.call(&RevocationEvent { kind }));
    kind.log();
    if has_panicked {
        telemetry::hook_panicked();
    }
}
