//! `OuterLayers`: the options and requirements of outer layers, so that an inner layer or extractor can send a complete
//! challenge.

use std::sync::Arc;

use http::Extensions;

use crate::requirement::{ChallengeParams, Facts, Requirement};
use crate::response::ResponseOptions;

/// The layers around a service. Each layer records itself here, in the request's extensions.
#[derive(Clone, Debug, Default)]
pub(crate) struct OuterLayers {
    /// The options of the innermost `BearerLayer`, if it has recorded them.
    response_options: Option<Arc<ResponseOptions>>,
    /// The requirement of the innermost `RequireLayer`.
    innermost: Option<OuterRequirement>,
}

/// The requirement of a `RequireLayer`, and those of the layers around it.
#[derive(Clone, Debug)]
struct OuterRequirement {
    requirement: Arc<Requirement>,
    outer: Option<Arc<OuterRequirement>>,
}

impl OuterLayers {
    pub(super) fn new(response_options: Arc<ResponseOptions>) -> Self {
        Self { response_options: Some(response_options), innermost: None }
    }

    /// Records a requirement for inner layers and handlers.
    pub(super) fn record(extensions: &mut Extensions, requirement: &Arc<Requirement>) {
        let outer_layers = extensions.get_or_insert_default::<Self>();
        let outer = outer_layers.innermost.take().map(Arc::new);
        outer_layers.innermost = Some(OuterRequirement { requirement: Arc::clone(requirement), outer });
    }

    pub(crate) fn response_options(&self) -> Option<&ResponseOptions> {
        self.response_options.as_deref()
    }

    /// Returns the challenge parameters for the requirements of all layers. `facts` is the token that has been checked, if
    /// any.
    pub(crate) fn challenge_params(&self, facts: Option<&Facts<'_>>) -> ChallengeParams {
        let layers = std::iter::successors(self.innermost.as_ref(), |layer| layer.outer.as_deref());
        layers.fold(ChallengeParams::default(), |inner, layer| layer.requirement.challenge_params(facts).merge(inner))
    }
}
