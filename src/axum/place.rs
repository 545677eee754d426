//! Where a handler stands, for answers from within it.

use http::request::Parts;

use crate::challenge::Protocol;
use crate::guard::{Demand, Facts, Requirement};
use crate::middleware::{Answering, Around};

/// What is known around a handler; it travels with the claims that the handler is handed.
pub(super) struct Place {
    around: Option<Around>,
    /// By the extractor itself.
    asked: Option<&'static Requirement>,
    pub(super) protocol: Protocol,
}

impl Place {
    pub(super) fn of(head: &Parts, asked: Option<&'static Requirement>) -> Self {
        let protocol = Protocol::of(&head.method, head.version, &head.headers);
        Self { around: head.extensions.get().cloned(), asked, protocol }
    }

    /// Says whether an answer from here is that from anywhere.
    pub(super) fn is_plain(&self) -> bool {
        self.around.is_none() && self.asked.is_none() && self.protocol == Protocol::Http
    }

    /// How the layer around answers, if it left that.
    pub(super) fn answering(&self) -> Option<&Answering> {
        self.around.as_ref()?.answering()
    }

    /// All that is asked before the handler runs; the facts tell what a token meets already.
    pub(super) fn demand(&self, facts: Option<&Facts<'_>>) -> Demand {
        let around = self.around.as_ref().map(|around| around.demand(facts)).unwrap_or_default();
        around.and(self.asked.map(|requirement| requirement.demand(facts)).unwrap_or_default())
    }
}
