//! `IntrospectionEvent`: the events of introspection that an application can receive.

use std::sync::Arc;

use crate::event_hook::EventHook;
use crate::introspection::error::IntrospectionError;
use crate::telemetry::introspection as telemetry;

/// An event of the calls to an introspection endpoint: see
/// [`Introspection::with_event_hook`](crate::introspection::Introspection::with_event_hook).
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct IntrospectionEvent {
    issuer: Arc<str>,
    kind: IntrospectionEventKind,
}

/// What has happened.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum IntrospectionEventKind {
    /// The server refused the credentials of this API, and all calls are stopped. This is reported once, until the server answers.
    CredentialsRefused,
    /// The server does not answer or limits the rate of calls, and calls are stopped. This is reported again when others are stopped than
    /// before, also fewer, or for another cause.
    #[non_exhaustive]
    Stopped {
        /// Which calls are stopped.
        calls: StoppedCalls,
        /// Why the last call failed.
        cause: IntrospectionError,
    },
    /// No calls are stopped any more: the server answers again.
    Resumed,
    /// An answer contradicts the signed token that it is about.
    #[non_exhaustive]
    Contradicted {
        /// The claim that differs.
        claim: &'static str,
    },
}

/// Which calls to an introspection endpoint are stopped.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum StoppedCalls {
    /// The calls about all tokens.
    All,
    /// The calls about tokens that anyone can make up: the server has not called them active before, and, with
    /// [`with_every_jwt`](crate::introspection::Introspection::with_every_jwt), they have no valid signature. The server limits the rate
    /// of calls, and a flood of such tokens may be the reason. Calls about other tokens go on.
    UnknownTokens,
}

impl IntrospectionEvent {
    /// Returns the name of the issuer whose server introspects the tokens.
    #[must_use]
    pub fn issuer(&self) -> &str {
        &self.issuer
    }

    /// Returns what has happened.
    #[must_use]
    pub fn kind(&self) -> IntrospectionEventKind {
        self.kind
    }
}

impl IntrospectionEventKind {
    fn log(self, issuer: &str) {
        match self {
            Self::CredentialsRefused => telemetry::credentials_refused(issuer),
            Self::Stopped { calls, cause } => telemetry::stopped(issuer, calls.name(), cause.name()),
            Self::Resumed => telemetry::resumed(issuer),
            Self::Contradicted { claim } => telemetry::contradicted(issuer, claim),
        }
    }
}

impl StoppedCalls {
    /// Returns the value of the field `calls` of the log line.
    fn name(self) -> &'static str {
        match self {
            Self::All => "all",
            Self::UnknownTokens => "unknown_tokens",
        }
    }
}

/// Sends an event to the hook and to the log. A panic of the hook stays in the hook.
pub(super) fn notify(hook: Option<&EventHook<IntrospectionEvent>>, issuer: &str, kind: IntrospectionEventKind) {
    let event = IntrospectionEvent { issuer: Arc::from(issuer), kind };
    let has_panicked = hook.is_some_and(|hook| !hook.call(&event));
    kind.log(issuer);
    if has_panicked {
        telemetry::hook_panicked(issuer);
    }
}
