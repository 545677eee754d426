//! `IssuedTokens`: the tokens that the introspection endpoint of a test issuer knows.

use std::collections::{BTreeMap, BTreeSet};

/// The opaque tokens, and the tokens that were revoked.
#[derive(Debug, Default)]
pub(super) struct IssuedTokens {
    /// The claims of the opaque tokens, as JSON objects.
    pub(super) opaque: BTreeMap<String, String>,
    pub(super) revoked: BTreeSet<String>,
}
