//! `ProofId`: identifies a proof for the detection of replays.

use std::fmt;

use crate::keys::{self, Thumbprint};

/// The identifier of a proof: a hash of its `jti` and of the thumbprint of its key, so that a client cannot use up the `jti` of
/// another one.
#[derive(Clone, Copy, PartialEq, Eq, Hash)]
pub struct ProofId([u8; 16]);

impl ProofId {
    pub(crate) fn new(key: &Thumbprint, jti: &str) -> Self {
        let hash = keys::sha256(&[key.as_bytes(), jti.as_bytes()].concat());
        let mut id = [0; 16];
        id.iter_mut().zip(hash).for_each(|(to, from)| *to = from);
        Self(id)
    }

    /// Returns the 16 bytes.
    #[must_use]
    pub const fn as_bytes(&self) -> &[u8; 16] {
        &self.0
    }
}

impl fmt::Debug for ProofId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("ProofId(..)")
    }
}
