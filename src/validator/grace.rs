//! What is accepted while the introspection endpoint is down.

use std::sync::Arc;

use crate::clock::Moment;
use crate::introspection::{ActiveAnswer, Client, FailureMode, Unavailable};
use crate::validator::Validator;

impl<C: Send + Sync + 'static> Validator<C> {
    /// Returns whether a signed token is accepted without an answer.
    pub(super) fn accepts_without_answer(&self, issuer: usize, token: &[u8], unavailable: Unavailable) -> bool {
        self.core.client(issuer).is_some_and(|client| {
            client.settings().failure_mode == FailureMode::FailOpen
                && client.is_down(unavailable.cause)
                && !client.may_be_revoked(token)
        })
    }

    /// Returns the last positive answer about a token, if it may be used while the server does not respond.
    pub(super) fn graced_answer(&self, token: &[u8], client: &Client) -> Option<Arc<ActiveAnswer>> {
        let settings = client.settings();
        let used_for = settings.ttl.saturating_add(settings.grace);
        let graced = self.read_answer_entry(token, |entry, server| {
            let now = Moment::now(&*self.core.clock);
            let is_used = !settings.grace.is_zero() && server.answer.age(now) < used_for;
            let is_fresh = entry.lifetime().is_fresh(now.wall, now.monotonic);
            let issuer = self.core.issuer_of(self.core.route(entry.route())?)?;
            let has_current_keys = issuer.has_current_keys(entry, server) == Some(true);
            (is_used && is_fresh && has_current_keys).then(|| Arc::clone(&server.answer))
        });
        graced.flatten().filter(|answer| client.is_current(token, answer))
    }
}
