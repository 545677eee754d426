//! What the layers around a service have asked of a token, so that the innermost can name all of it.

use std::sync::Arc;

use http::Extensions;

/// The scopes that a `RequireLayer` asked for, and those of the layers around it.
#[derive(Clone, Debug)]
pub(crate) struct Asked {
    scope: Arc<str>,
    outer: Option<Arc<Asked>>,
}

impl Asked {
    /// Leaves word for the layers further in.
    pub(super) fn leave(extensions: &mut Extensions, scope: &Arc<str>) {
        if !scope.is_empty() {
            let outer = extensions.remove::<Self>().map(Arc::new);
            extensions.insert(Self { scope: Arc::clone(scope), outer });
        }
    }

    /// Every scope that is needed, each once: what the layers around ask, the outermost first, and what is asked here.
    pub(crate) fn all(extensions: &Extensions, here: &str) -> Arc<str> {
        let mut layers = vec![here];
        let mut next = extensions.get::<Self>();
        while let Some(asked) = next {
            layers.push(&asked.scope);
            next = asked.outer.as_deref();
        }
        let mut names: Vec<&str> = Vec::new();
        for name in layers.iter().rev().flat_map(|scope| scope.split(' ')) {
            if !name.is_empty() && !names.contains(&name) {
                names.push(name);
            }
        }
        Arc::from(names.join(" "))
    }
}
