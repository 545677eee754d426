//! `Names`: a list of client ids, of `acr` values, or of the names of a path.

use std::sync::Arc;

/// A list of names, constant or created at run time.
#[derive(Clone)]
pub(super) enum Names {
    Constant(&'static [&'static str]),
    Shared(Arc<[Box<str>]>),
}

impl Names {
    pub(super) fn new<'n>(names: impl IntoIterator<Item = &'n str>) -> Self {
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
        self.iter().any(|other| other == name)
    }

    /// Returns the names as text: `a or b`.
    pub(super) fn alternatives(&self) -> String {
        self.iter().collect::<Vec<_>>().join(" or ")
    }

    /// Returns the names in order, space-delimited.
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

/// Returns the names in their order, without duplicates.
pub(super) fn distinct<'n>(names: impl Iterator<Item = &'n str>) -> Vec<&'n str> {
    let mut distinct = Vec::new();
    for name in names {
        if !distinct.contains(&name) {
            distinct.push(name);
        }
    }
    distinct
}
