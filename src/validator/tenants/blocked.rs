//! `BlockedLists`: the revoked and compromised keys of tenants, which stay blocked while a tenant is not in use.

use std::cmp::Reverse;
use std::collections::HashMap;
use std::sync::{Arc, Mutex, PoisonError};

use crate::defaults;
use crate::jwks::{BlockedKeys, TrimResult};

/// The blocked keys of each `iss`.
///
/// # Security
///
/// A key source ends with its tenant, but a revocation does not, and a private key that was published stays known: another source for
/// the same `iss` starts with the same keys. Lists without keys are dropped with their source. Revoked keys stay, so only the application
/// can let them accumulate. An issuer can publish any number of private keys, so the number of compromised keys without a source is
/// limited. The issuers that published the most keys lose them first.
#[derive(Debug, Default)]
pub(super) struct BlockedLists(Mutex<HashMap<Arc<str>, BlockedKeys>>);

impl BlockedLists {
    /// Returns the keys for the next source of an `iss`.
    pub(super) fn of(&self, name: &Arc<str>) -> BlockedKeys {
        let mut lists = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let keys = lists.entry(Arc::clone(name)).or_default().clone();
        let (mut total, mut unused) = (0_usize, Vec::new());
        lists.retain(|name, keys| match keys.trim() {
            TrimResult::InUse | TrimResult::Denied => true,
            TrimResult::Compromised(0) => false,
            TrimResult::Compromised(count) => {
                total = total.saturating_add(count);
                unused.push((count, Arc::clone(name)));
                true
            }
        });
        if total > defaults::MAX_UNUSED_COMPROMISED_KEYS {
            unused.sort_unstable_by_key(|(count, _)| Reverse(*count));
            for (count, name) in unused {
                if total <= defaults::MAX_UNUSED_COMPROMISED_KEYS {
                    break;
                }
                lists.remove(&name);
                total = total.saturating_sub(count);
            }
        }
        keys
    }

    #[cfg(test)]
    fn len(&self) -> usize {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).len()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::keys::Thumbprint;

    fn compromised(keys: &BlockedKeys, count: u64) {
        keys.compromise((0..count).map(|number| {
            let mut digest = [0; 32];
            digest[..8].copy_from_slice(&number.to_be_bytes());
            Thumbprint::from(digest)
        }));
    }

    #[test]
    fn drops_a_list_without_a_source_in_which_nothing_is_blocked() {
        let lists = BlockedLists::default();
        let in_use = lists.of(&Arc::from("a"));
        for number in 0..100 {
            drop(lists.of(&Arc::from(number.to_string())));
        }
        assert_eq!(lists.len(), 2, "the one in use, and the last one");
        drop(in_use);
        drop(lists.of(&Arc::from("b")));
        assert_eq!(lists.len(), 1);
    }

    #[test]
    fn keeps_compromised_keys_of_all_issuers_but_those_with_the_most() {
        let lists = BlockedLists::default();
        compromised(&lists.of(&Arc::from("honest")), 1);
        for number in 0..40 {
            compromised(&lists.of(&Arc::from(format!("hostile {number}"))), 1_000);
        }
        drop(lists.of(&Arc::from("last")));
        let total = |name: &str| lists.of(&Arc::from(name)).compromised_count();
        assert_eq!(total("honest"), 1);
        let hostile: usize = (0..40).map(|number| total(&format!("hostile {number}"))).sum();
        assert_eq!(hostile, 9_000, "the limit is 10,000");
    }
}
