//! `DenyList`: the keys that the application has revoked.

use std::collections::{BTreeMap, BTreeSet};

use crate::defaults;
use crate::jwks::history::History;
use crate::keys::{KeyTable, NamedKey, Thumbprint};

/// The denied kids and keys of one source. They stay denied when the issuer publishes them again.
#[derive(Debug, Default)]
pub(super) struct DenyList {
    /// Each denied `kid` with the keys that were published with it. These keys are denied with any `kid`.
    kids: BTreeMap<Box<str>, BTreeSet<Thumbprint>>,
    thumbprints: BTreeSet<Thumbprint>,
    /// The pairs of `kid` and key that the issuer has published.
    pub(super) history: History<NamedKey, { defaults::MAX_KID_HISTORY }>,
}

impl DenyList {
    /// Returns whether nothing is denied.
    pub(super) fn is_empty(&self) -> bool {
        self.kids.is_empty() && self.thumbprints.is_empty()
    }

    /// Denies a `kid` and the keys that were published with it. Returns whether the `kid` was allowed before.
    ///
    /// `current` are the keys of the current key set: those of rejected sets may have evicted them from the history.
    pub(super) fn deny_kid(&mut self, kid: &str, current: &[NamedKey]) -> bool {
        if self.kids.contains_key(kid) {
            return false;
        }
        let published = current.iter().chain(self.history.iter());
        let found = published.filter(|(known, _)| **known == *kid).map(|(_, thumbprint)| *thumbprint);
        let found = found.take(defaults::MAX_THUMBPRINTS_PER_DENIED_KID).collect();
        self.kids.insert(Box::from(kid), found);
        true
    }

    /// Allows a kid, and the keys that were denied only because of it. Returns whether it was denied before.
    pub(super) fn allow_kid(&mut self, kid: &str) -> bool {
        self.kids.remove(kid).is_some()
    }

    /// Denies a key with any `kid` and without one. Returns whether it was allowed before.
    pub(super) fn deny_key(&mut self, thumbprint: Thumbprint) -> bool {
        self.thumbprints.insert(thumbprint)
    }

    /// Allows a key, unless a `kid` with which it was published is denied. Returns whether the key itself was denied before.
    pub(super) fn allow_key(&mut self, thumbprint: Thumbprint) -> bool {
        self.thumbprints.remove(&thumbprint)
    }

    /// Records the keys of a document, and denies those with a denied `kid`.
    pub(super) fn record(&mut self, published: Vec<NamedKey>) {
        for (kid, thumbprint) in &published {
            // At the limit, the first keys stay, because they were published when the application denied the `kid`.
            if let Some(found) = self.kids.get_mut(kid)
                && found.len() < defaults::MAX_THUMBPRINTS_PER_DENIED_KID
            {
                found.insert(*thumbprint);
            }
        }
        self.history.record(published);
    }

    /// Returns the keys of `table` that are not denied.
    pub(super) fn allowed(&self, table: &KeyTable) -> KeyTable {
        if self.is_empty() {
            return table.clone();
        }
        table.without(|kid, thumbprint| {
            kid.is_some_and(|kid| self.kids.contains_key(kid))
                || self.thumbprints.contains(thumbprint)
                || self.kids.values().any(|found| found.contains(thumbprint))
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::jwks::tests::kit::{has, jwk, set_of, table};

    fn table_of(keys: &[(&str, &str)]) -> KeyTable {
        let keys: Vec<String> = keys.iter().map(|(kid, seed)| jwk(kid, seed)).collect();
        table(&set_of(&keys))
    }

    #[test]
    fn denies_every_key_that_was_published_with_a_denied_kid() {
        let mut denied = DenyList::default();
        denied.record(table_of(&[("1", "a"), ("2", "b")]).named_keys());
        assert!(denied.deny_kid("1", &[]));
        assert!(!denied.deny_kid("1", &[]), "it is denied already");
        let next = table_of(&[("1", "c"), ("3", "a"), ("4", "d")]);
        denied.record(next.named_keys());
        let allowed = denied.allowed(&next);
        assert_eq!(["1", "3", "4"].map(|kid| has(&allowed, kid)), [false, false, true]);
        // Keys that were published with the `kid` later are denied as well.
        assert!(!has(&denied.allowed(&table_of(&[("5", "c")])), "5"));
        assert!(denied.allow_kid("1") && !denied.allow_kid("1"));
        let allowed = denied.allowed(&next);
        assert_eq!(["1", "3", "4"].map(|kid| has(&allowed, kid)), [true, true, true]);
    }

    #[test]
    fn denying_a_kid_evicts_no_key_that_it_had() {
        let mut denied = DenyList::default();
        denied.record(table_of(&[("1", "a")]).named_keys());
        for number in 1..defaults::MAX_KID_HISTORY {
            denied.record(vec![(number.to_string().into(), Thumbprint::from([7; 32]))]);
        }
        let current = table_of(&[("8", "b"), ("7", "a")]);
        denied.deny_kid("1", &current.named_keys());
        assert_eq!(["8", "7"].map(|kid| has(&denied.allowed(&current), kid)), [true, false]);
    }

    #[test]
    fn denies_keys_that_had_a_denied_kid_in_an_earlier_set() {
        let mut denied = DenyList::default();
        denied.record(table_of(&[("1", "a"), ("2", "b")]).named_keys());
        let latest = table_of(&[("7", "a"), ("2", "b")]);
        denied.record(latest.named_keys());
        denied.deny_kid("1", &[]);
        let allowed = denied.allowed(&latest);
        assert_eq!(["7", "2"].map(|kid| has(&allowed, kid)), [false, true]);
        // Pairs that are too old are evicted.
        denied.allow_kid("1");
        for number in 0..defaults::MAX_KID_HISTORY - 3 {
            denied.record(vec![(number.to_string().into(), Thumbprint::from([7; 32]))]);
        }
        denied.deny_kid("1", &[]);
        assert!(!has(&denied.allowed(&latest), "7"));
        denied.allow_kid("1");
        denied.record(vec![("x".into(), Thumbprint::from([7; 32]))]);
        denied.deny_kid("1", &[]);
        assert!(has(&denied.allowed(&latest), "7"));
    }

    #[test]
    fn allows_a_key_only_after_each_denial_is_reverted() {
        let set = table_of(&[("1", "a"), ("2", "a")]);
        let (_, thumbprint) = set.named_keys()[0];
        let mut denied = DenyList::default();
        denied.record(set.named_keys());
        assert!(denied.deny_key(thumbprint) && !denied.deny_key(thumbprint));
        assert!(denied.deny_kid("1", &[]));
        assert!(denied.allow_key(thumbprint) && !denied.allow_key(thumbprint));
        assert_eq!(["1", "2"].map(|kid| has(&denied.allowed(&set), kid)), [false, false], "the kid is still denied");
        denied.deny_key(thumbprint);
        denied.allow_kid("1");
        assert_eq!(["1", "2"].map(|kid| has(&denied.allowed(&set), kid)), [false, false], "the key is still denied");
        denied.allow_key(thumbprint);
        assert_eq!(denied.allowed(&set).digest(), set.digest());
    }

    /// An issuer that publishes a new key with a denied `kid` at every refresh must not exhaust the memory.
    #[test]
    fn limits_the_keys_per_denied_kid() {
        let mut denied = DenyList::default();
        denied.record(table_of(&[("1", "a")]).named_keys());
        denied.deny_kid("1", &[]);
        let many = (0..=defaults::MAX_THUMBPRINTS_PER_DENIED_KID).map(|number| {
            let mut digest = [0; 32];
            digest[..8].copy_from_slice(&number.to_be_bytes());
            Thumbprint::from(digest)
        });
        denied.kids.get_mut("1").expect("denied").extend(many.skip(2));
        let latest = table_of(&[("1", "b"), ("2", "b"), ("3", "a")]);
        denied.record(latest.named_keys());
        assert_eq!(denied.kids["1"].len(), defaults::MAX_THUMBPRINTS_PER_DENIED_KID);
        assert_eq!(["1", "2", "3"].map(|kid| has(&denied.allowed(&latest), kid)), [false, true, false]);
    }
}
