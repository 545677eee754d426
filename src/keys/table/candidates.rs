//! `Candidates`: the keys to try for one token.

use std::array;
use std::iter::Flatten;
use std::slice;

use crate::defaults;
use crate::keys::verify::VerifyingKey;
use crate::token::Algorithm;

/// The keys to try for one token, at most [`defaults::MAX_CANDIDATES`].
#[derive(Clone, Debug)]
pub(crate) enum Candidates<'k> {
    /// For a token with a `kid`: first the keys with it, then those without one, each in document order.
    Named {
        named: slice::Iter<'k, VerifyingKey>,
        unnamed: slice::Iter<'k, VerifyingKey>,
        algorithm: Algorithm,
        left: usize,
    },
    /// For a token without `kid`: keys in document order.
    Listed(Flatten<array::IntoIter<Option<&'k VerifyingKey>, { defaults::MAX_CANDIDATES }>>),
}

/// There are more candidates than the limit.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct TooMany;

impl<'k> Candidates<'k> {
    pub(super) fn new(named: &'k [VerifyingKey], unnamed: &'k [VerifyingKey], algorithm: Algorithm) -> Self {
        Self::Named { named: named.iter(), unnamed: unnamed.iter(), algorithm, left: defaults::MAX_CANDIDATES }
    }

    /// Lists the keys, each once, also if it is published with several kids.
    pub(super) fn list(keys: impl Iterator<Item = &'k VerifyingKey>, limit: usize) -> Result<Self, TooMany> {
        let mut listed = [None; defaults::MAX_CANDIDATES];
        let mut count = 0_usize;
        for key in keys {
            let is_listed = |other: &VerifyingKey| other.thumbprint() == key.thumbprint();
            if listed.iter().copied().flatten().any(is_listed) {
                continue;
            }
            *listed.get_mut(count).filter(|_| count < limit).ok_or(TooMany)? = Some(key);
            count = count.saturating_add(1);
        }
        Ok(Self::Listed(listed.into_iter().flatten()))
    }

    pub(super) fn is_empty(&self) -> bool {
        self.clone().next().is_none()
    }
}

impl<'k> Iterator for Candidates<'k> {
    type Item = &'k VerifyingKey;

    fn next(&mut self) -> Option<&'k VerifyingKey> {
        match self {
            Self::Named { named, unnamed, algorithm, left } => {
                *left = left.checked_sub(1)?;
                let algorithm = *algorithm;
                named.by_ref().chain(unnamed.by_ref()).find(|key| key.algorithm() == algorithm)
            }
            Self::Listed(keys) => keys.next(),
        }
    }
}
