//! What the layers around a service have asked of a token, so that the innermost can name all of it.

use std::sync::Arc;

use http::Extensions;

use crate::guard::{Authentication, Demand};

/// What a `RequireLayer` asked for, and the layers around it.
#[derive(Clone, Debug)]
pub(crate) struct Asked {
    demand: Demand,
    outer: Option<Arc<Asked>>,
}

impl Asked {
    /// Leaves word for the layers further in.
    pub(super) fn leave(extensions: &mut Extensions, demand: &Demand) {
        if !demand.is_empty() {
            let outer = extensions.remove::<Self>().map(Arc::new);
            extensions.insert(Self { demand: demand.clone(), outer });
        }
    }

    /// All that is needed, each scope once: what the layers around ask, the outermost first, and what is asked here.
    pub(crate) fn all(extensions: &Extensions, here: &Demand) -> Demand {
        let mut demands = vec![here];
        let mut next = extensions.get::<Self>();
        while let Some(asked) = next {
            demands.push(&asked.demand);
            next = asked.outer.as_deref();
        }
        let mut names: Vec<&str> = Vec::new();
        for name in demands.iter().rev().flat_map(|demand| demand.scope.split(' ')) {
            if !name.is_empty() && !names.contains(&name) {
                names.push(name);
            }
        }
        // The layers around were content with the authentication; a new one must please them again.
        let authentication = demands.iter().map(|demand| demand.authentication.clone()).reduce(Authentication::and);
        Demand { scope: Arc::from(names.join(" ")), authentication: authentication.unwrap_or_default() }
    }
}
