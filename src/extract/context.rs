//! Where a handler stands, for answers from within it.

use http::request::Parts;

use crate::middleware::{OuterLayers, ResponseOptions};
use crate::requirement::{ChallengeParams, Facts, Requirement};
use crate::response::Protocol;

/// What is known around a handler; it travels with the claims that the handler is handed.
pub(super) struct HandlerContext {
    around: Option<OuterLayers>,
    /// By the extractor itself.
    asked: Option<&'static Requirement>,
    pub(super) protocol: Protocol,
}

impl HandlerContext {
    pub(super) fn of(head: &Parts, asked: Option<&'static Requirement>) -> Self {
        let protocol = Protocol::of(&head.method, head.version, &head.headers);
        Self { around: head.extensions.get().cloned(), asked, protocol }
    }

    /// Says whether an answer from here is that from anywhere.
    pub(super) fn is_plain(&self) -> bool {
        self.around.is_none() && self.asked.is_none() && self.protocol == Protocol::Http
    }

    /// How the layer around answers, if it left that.
    pub(super) fn response_options(&self) -> Option<&ResponseOptions> {
        self.around.as_ref()?.response_options()
    }

    /// All that is asked before the handler runs; the facts tell what a token meets already.
    pub(super) fn demand(&self, facts: Option<&Facts<'_>>) -> ChallengeParams {
        let around = self.around.as_ref().map(|around| around.demand(facts)).unwrap_or_default();
        around.merge(self.asked.map(|requirement| requirement.challenge_params(facts)).unwrap_or_default())
    }
}
