//! `DenyLists`: the revoked keys of tenants, which stay revoked while a tenant is not in use.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, PoisonError};

use crate::jwks::SharedDenyList;

/// The deny list of each `iss`.
///
/// # Security
///
/// A key source ends with its tenant, but a revocation does not: another source for the same `iss` starts with the same list. A list
/// in which nothing is denied is dropped with its source, so only the application can let lists accumulate.
#[derive(Debug, Default)]
pub(super) struct DenyLists(Mutex<HashMap<Arc<str>, SharedDenyList>>);

impl DenyLists {
    /// Returns the list for the next source of an `iss`.
    pub(super) fn of(&self, name: &Arc<str>) -> SharedDenyList {
        let mut lists = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        lists.retain(|_, list| list.is_needed());
        lists.entry(Arc::clone(name)).or_default().clone()
    }

    #[cfg(test)]
    fn len(&self) -> usize {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).len()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn drops_a_list_without_a_source_in_which_nothing_is_denied() {
        let lists = DenyLists::default();
        let in_use = lists.of(&Arc::from("a"));
        for number in 0..100 {
            drop(lists.of(&Arc::from(number.to_string())));
        }
        assert_eq!(lists.len(), 2, "the one in use, and the last one");
        drop(in_use);
        drop(lists.of(&Arc::from("b")));
        assert_eq!(lists.len(), 1);
    }
}
