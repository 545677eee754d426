//! `RevocationKind`: what an entry of the list names.

use std::fmt;

/// What an entry of the list names, and so which tokens it rejects.
///
/// All kinds concern the tokens of one issuer only: a `jti` of one issuer says nothing about the tokens of another.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
#[non_exhaustive]
pub enum RevocationKind {
    /// One token, by its `jti` (RFC 7519 §4.1.7).
    JwtId,
    /// The tokens of one session, by `sid` (OpenID Connect Back-Channel Logout 1.0 §2.1).
    Session,
    /// The tokens of one `sub` that were issued before a time.
    Subject,
    /// The tokens of one client that were issued before a time.
    Client,
    /// All tokens of the issuer that were issued before a time.
    Issuer,
}

impl RevocationKind {
    /// All kinds.
    pub const ALL: &'static [Self] = &Self::IN_ORDER;

    /// All kinds, in the order in which a token is looked up.
    pub(super) const IN_ORDER: [Self; 5] = [Self::JwtId, Self::Session, Self::Subject, Self::Client, Self::Issuer];

    /// Returns the name in logs and metrics: `jti`, `sid`, `sub`, `client` or `issuer`.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::JwtId => "jti",
            Self::Session => "sid",
            Self::Subject => "sub",
            Self::Client => "client",
            Self::Issuer => "issuer",
        }
    }

    /// Returns the kind with this [name](Self::name).
    #[must_use]
    pub fn from_name(name: &str) -> Option<Self> {
        Self::ALL.iter().copied().find(|kind| kind.name() == name)
    }

    /// Returns whether entries of the kind reject only tokens that were issued before a time.
    pub(super) const fn has_time(self) -> bool {
        match self {
            Self::JwtId | Self::Session => false,
            Self::Subject | Self::Client | Self::Issuer => true,
        }
    }

    /// Returns the bit of the kind in a set of kinds.
    pub(super) const fn bit(self) -> u8 {
        1 << self.position()
    }

    /// Returns the position in [`IN_ORDER`](Self::IN_ORDER).
    pub(super) const fn position(self) -> usize {
        match self {
            Self::JwtId => 0,
            Self::Session => 1,
            Self::Subject => 2,
            Self::Client => 3,
            Self::Issuer => 4,
        }
    }
}

impl fmt::Display for RevocationKind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}
