//! What the layers around a service have to say of a refusal, so that whoever refuses further in can say all of it.

use std::any::Any;
use std::fmt;
use std::sync::Arc;

use http::Extensions;

use crate::challenge::Challenges;
use crate::guard::{Demand, Facts, Requirement};
use crate::middleware::response::EmptyBody;

/// The layers around a service, as a request tells of them.
#[derive(Clone, Debug, Default)]
pub(crate) struct Around {
    /// Of the innermost `BearerLayer`, if it left it.
    answering: Option<Arc<Answering>>,
    /// By the innermost `RequireLayer`.
    asked: Option<Asked>,
}

/// How a `BearerLayer` answers.
#[derive(Clone)]
pub(crate) struct Answering {
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

impl Around {
    pub(super) fn new(answering: Arc<Answering>) -> Self {
        Self { answering: Some(answering), asked: None }
    }

    /// Leaves word for the layers further in.
    pub(super) fn leave(extensions: &mut Extensions, requirement: &Arc<Requirement>) {
        let around = extensions.get_or_insert_default::<Self>();
        let outer = around.asked.take().map(Arc::new);
        around.asked = Some(Asked { requirement: Arc::clone(requirement), outer });
    }

    pub(crate) fn answering(&self) -> Option<&Answering> {
        self.answering.as_deref()
    }

    /// All that the layers ask together; the facts tell what a token meets already.
    pub(crate) fn demand(&self, facts: Option<&Facts<'_>>) -> Demand {
        let asked = std::iter::successors(self.asked.as_ref(), |asked| asked.outer.as_deref());
        asked.fold(Demand::default(), |inner, asked| asked.requirement.demand(facts).and(inner))
    }
}

impl Answering {
    pub(super) fn new(challenges: Challenges, body: impl Any + Send + Sync) -> Self {
        Self { challenges, body: Arc::new(body) }
    }

    /// Says whether nothing is configured.
    pub(super) fn is_plain(&self) -> bool {
        self.challenges.is_plain() && self.body.is::<EmptyBody>()
    }
}

impl fmt::Debug for Answering {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.challenges.fmt(f)
    }
}
