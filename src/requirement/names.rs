//! Several names, of which one must be.

use std::fmt;
use std::sync::Arc;

/// Names that stand in the program, or came from elsewhere.
#[derive(Clone)]
pub(super) enum Names {
    Constant(&'static [&'static str]),
    Shared(Arc<[Box<str>]>),
}

impl Names {
    pub(super) fn of<'n>(names: impl IntoIterator<Item = &'n str>) -> Self {
        Self::Shared(names.into_iter().map(Box::from).collect())
    }

    pub(super) fn iter(&self) -> impl Iterator<Item = &str> {
        let (constant, shared): (&[&str], &[Box<str>]) = match self {
            Self::Constant(names) => (names, &[]),
            Self::Shared(names) => (&[], names),
        };
        constant.iter().copied().chain(shared.iter().map(|name| &**name))
    }

    pub(super) fn contains(&self, name: &str) -> bool {
        self.iter().any(|ours| ours == name)
    }

    /// Space-delimited, in their order.
    pub(super) fn joined(&self) -> Arc<str> {
        Arc::from(self.iter().collect::<Vec<_>>().join(" "))
    }
}

impl PartialEq for Names {
    fn eq(&self, other: &Self) -> bool {
        self.iter().eq(other.iter())
    }
}

impl Eq for Names {}

impl fmt::Debug for Names {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_list().entries(self.iter()).finish()
    }
}
