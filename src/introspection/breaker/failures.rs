//! `Failures`: the failed calls from which the breaker decides.

use crate::clock::Monotonic;
use crate::defaults;
use crate::introspection::breaker::{ClientCall, RATE_LIMITED, Scope};
use crate::introspection::error::IntrospectionError;
use crate::keys::TokenFingerprint;

/// The calls for clients that have failed since the last answer.
#[derive(Debug, Default)]
pub(super) struct Failures {
    /// Calls that began before the last one was counted do not count, because one outage makes many concurrent calls fail.
    pub(super) count: u32,
    counted_at: Option<Monotonic>,
    /// The tokens of the calls.
    pub(super) tokens: Tokens,
    /// Why the last one failed.
    pub(super) cause: Option<IntrospectionError>,
}

/// Which tokens' calls have failed.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) enum Tokens {
    #[default]
    None,
    One(TokenFingerprint),
    Several,
}

impl Failures {
    /// Counts a failed call. Returns whether it is a reason for a probe.
    pub(super) fn record(
        &mut self,
        call: ClientCall,
        cause: IntrospectionError,
        now: Monotonic,
        is_probing: bool,
    ) -> bool {
        self.cause = Some(cause);
        self.tokens = match self.tokens {
            Tokens::None => Tokens::One(call.token),
            Tokens::One(token) if token == call.token => Tokens::One(token),
            Tokens::One(_) | Tokens::Several => Tokens::Several,
        };
        if is_probing || self.counted_at.is_some_and(|counted_at| call.started_at < counted_at) {
            return false;
        }
        self.counted_at = Some(now);
        self.count = self.count.saturating_add(1);
        let is_about_us = matches!(cause, IntrospectionError::CredentialsRefused | RATE_LIMITED);
        is_about_us || self.count >= defaults::BREAKER_FAILURES
    }

    /// Returns which calls to stop if someone has responded with errors.
    pub(super) fn scope(&self) -> Scope {
        match self.tokens {
            Tokens::One(token) => Scope::Token(token),
            Tokens::None | Tokens::Several => Scope::All,
        }
    }
}
