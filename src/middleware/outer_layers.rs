//! What the layers around a service have to say of a refusal, so that whoever refuses further in can say all of it.

use std::any::Any;
use std::fmt;
use std::sync::Arc;

use http::Extensions;

use crate::middleware::response::EmptyBody;
use crate::requirement::{ChallengeParams, Facts, Requirement};
use crate::response::Challenges;

/// The layers around a service, as a request tells of them.
#[derive(Clone, Debug, Default)]
pub(crate) struct OuterLayers {
    /// Of the innermost `BearerLayer`, if it left it.
    response_options: Option<Arc<ResponseOptions>>,
    /// By the innermost `RequireLayer`.
    asked: Option<Asked>,
}

/// How a `BearerLayer` answers.
#[derive(Clone)]
pub(crate) struct ResponseOptions {
    pub(crate) challenges: Challenges,
    /// What makes the body; only one who writes the same body can use it.
    pub(crate) body: Arc<dyn Any + Send + Sync>,
}

/// What a `RequireLayer` asked for, and the layers around it.
#[derive(Clone, Debug)]
struct Asked {
    requirement: Arc<Requirement>,
    outer: Option<Arc<Asked>>,
}

impl OuterLayers {
    pub(super) fn new(response_options: Arc<ResponseOptions>) -> Self {
        Self { response_options: Some(response_options), asked: None }
    }

    /// Leaves word for the layers further in.
    pub(super) fn leave(extensions: &mut Extensions, requirement: &Arc<Requirement>) {
        let outer_layers = extensions.get_or_insert_default::<Self>();
        let outer = outer_layers.asked.take().map(Arc::new);
        outer_layers.asked = Some(Asked { requirement: Arc::clone(requirement), outer });
    }

    pub(crate) fn response_options(&self) -> Option<&ResponseOptions> {
        self.response_options.as_deref()
    }

    /// All that the layers ask together; the facts tell what a token meets already.
    pub(crate) fn demand(&self, facts: Option<&Facts<'_>>) -> ChallengeParams {
        let asked = std::iter::successors(self.asked.as_ref(), |asked| asked.outer.as_deref());
        asked.fold(ChallengeParams::default(), |inner, asked| asked.requirement.challenge_params(facts).merge(inner))
    }
}

impl ResponseOptions {
    pub(super) fn new(challenges: Challenges, body: impl Any + Send + Sync) -> Self {
        Self { challenges, body: Arc::new(body) }
    }

    /// Says whether nothing is configured.
    pub(super) fn is_plain(&self) -> bool {
        self.challenges.is_plain() && self.body.is::<EmptyBody>()
    }
}

impl fmt::Debug for ResponseOptions {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.challenges.fmt(f)
    }
}
