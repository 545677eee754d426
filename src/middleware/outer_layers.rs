//! `OuterLayers`: the options and requirements of outer layers, so that an inner layer or extractor can send a complete
//! challenge.

use std::any::Any;
use std::fmt;
use std::sync::Arc;

use http::Extensions;

use crate::requirement::{ChallengeParams, Facts, Requirement};
use crate::response::{Challenges, EmptyBody};

/// The layers around a service. Each layer records itself here, in the request's extensions.
#[derive(Clone, Debug, Default)]
pub(crate) struct OuterLayers {
    /// The options of the innermost `BearerLayer`, if it has recorded them.
    response_options: Option<Arc<ResponseOptions>>,
    /// The requirement of the innermost `RequireLayer`.
    innermost: Option<OuterRequirement>,
}

/// How a `BearerLayer` responds to a rejected request.
#[derive(Clone)]
pub(crate) struct ResponseOptions {
    pub(crate) challenges: Challenges,
    /// The [`ErrorBody`](crate::response::ErrorBody). A layer or extractor with another body type cannot use it.
    pub(crate) body: Arc<dyn Any + Send + Sync>,
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

impl ResponseOptions {
    pub(super) fn new(challenges: Challenges, body: impl Any + Send + Sync) -> Self {
        Self { challenges, body: Arc::new(body) }
    }

    /// Returns whether nothing is configured.
    pub(super) fn is_default(&self) -> bool {
        self.challenges.is_default() && self.body.is::<EmptyBody>()
    }
}

impl fmt::Debug for ResponseOptions {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.challenges.fmt(f)
    }
}
