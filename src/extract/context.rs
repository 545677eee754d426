//! `HandlerContext`: what a rejection inside a handler needs to know about the layers around it.

use http::request::Parts;

use crate::middleware::OuterLayers;
use crate::request::RequestHead;
use crate::requirement::{ChallengeParams, Facts, Requirement};
use crate::response::{Protocol, ResponseOptions};

/// The layers, requirement and protocol of a handler. It is attached to the claims that the handler receives.
pub(super) struct HandlerContext {
    outer_layers: Option<OuterLayers>,
    /// The requirement of the extractor.
    requirement: Option<&'static Requirement>,
    pub(super) protocol: Protocol,
}

impl HandlerContext {
    pub(super) fn new(parts: &Parts, requirement: Option<&'static Requirement>) -> Self {
        let protocol = Protocol::from_request(&RequestHead::from_parts(parts));
        Self { outer_layers: parts.extensions.get().cloned(), requirement, protocol }
    }

    /// Returns whether a rejection here is the same as without a context.
    pub(super) fn is_default(&self) -> bool {
        self.outer_layers.is_none() && self.requirement.is_none() && self.protocol == Protocol::Http
    }

    /// Returns the response options of the innermost `BearerLayer`, if it has recorded them.
    pub(super) fn response_options(&self) -> Option<&ResponseOptions> {
        self.outer_layers.as_ref()?.response_options()
    }

    /// Returns the challenge parameters for the requirements of all layers and the extractor. `facts` is the token that has
    /// been checked, if any.
    pub(super) fn challenge_params(&self, facts: Option<&Facts<'_>>) -> ChallengeParams {
        let outer = self.outer_layers.as_ref().map(|layers| layers.challenge_params(facts)).unwrap_or_default();
        outer.merge(self.requirement.map(|requirement| requirement.challenge_params(facts)).unwrap_or_default())
    }
}
