//! `KeyId`: the members of a header that identify the key of a token.

/// The members of a header that identify the key: `kid`, or without it the hashes of the key's certificate.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct KeyId<'t> {
    pub(crate) kid: Option<&'t str>,
    /// `None` if there is a `kid`.
    pub(crate) certificate: Option<&'t CertificateHashes>,
}

/// `x5t#S256` and `x5t`: the hashes of the certificate of a key, in base64url (RFC 7515 §4.1.7 and §4.1.8, RFC 7517 §4.8 and
/// §4.9).
///
/// # Security
///
/// They only select among the keys of the token's issuer. No certificate is read.
#[derive(Clone, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub(crate) struct CertificateHashes {
    sha256: Option<Box<str>>,
    sha1: Option<Box<str>>,
}

/// The result of comparing the certificate hashes of a token with those of a key.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum CertificateMatch {
    Same,
    Different,
    /// The key has no hash of an algorithm that the token has.
    Unknown,
}

impl KeyId<'_> {
    /// Returns the text that identifies the key; empty if the token has none.
    pub(crate) fn text(&self) -> &str {
        self.kid.or_else(|| self.certificate.and_then(CertificateHashes::text)).unwrap_or_default()
    }
}

impl<'t> From<Option<&'t str>> for KeyId<'t> {
    fn from(kid: Option<&'t str>) -> Self {
        Self { kid, certificate: None }
    }
}

impl CertificateHashes {
    /// Returns `None` if there is neither hash.
    pub(crate) fn new(sha256: Option<Box<str>>, sha1: Option<Box<str>>) -> Option<Self> {
        (sha256.is_some() || sha1.is_some()).then_some(Self { sha256, sha1 })
    }

    /// Returns whether a text can be a hash in base64url without padding (RFC 7515 §2). Its length is not checked: some issuers
    /// encode a hexadecimal hash.
    pub(crate) fn is_hash(text: &str) -> bool {
        let is_base64url = |byte: u8| byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'_');
        (1..=MAX_HASH_BYTES).contains(&text.len()) && text.bytes().all(is_base64url)
    }

    /// Compares the hashes of a token with those of a key: SHA-256 if both have it, else SHA-1.
    pub(crate) fn compare(&self, of_key: Option<&Self>) -> CertificateMatch {
        let Some(of_key) = of_key else { return CertificateMatch::Unknown };
        let both = |one: &Option<Box<str>>, other: &Option<Box<str>>| Some(one.as_deref()? == other.as_deref()?);
        match both(&self.sha256, &of_key.sha256).or_else(|| both(&self.sha1, &of_key.sha1)) {
            Some(true) => CertificateMatch::Same,
            Some(false) => CertificateMatch::Different,
            None => CertificateMatch::Unknown,
        }
    }

    /// Returns the SHA-256 and the SHA-1 hash.
    pub(crate) fn hashes(&self) -> [Option<&str>; 2] {
        [self.sha256.as_deref(), self.sha1.as_deref()]
    }

    /// Returns the size of its heap allocations in bytes.
    pub(crate) fn footprint(&self) -> usize {
        self.hashes().into_iter().flatten().map(str::len).fold(0, usize::saturating_add)
    }

    fn text(&self) -> Option<&str> {
        self.hashes().into_iter().flatten().next()
    }
}

/// More than the 43 characters of a SHA-256 hash in base64url.
const MAX_HASH_BYTES: usize = 64;

#[cfg(test)]
mod tests {
    use super::*;

    fn hashes(sha256: Option<&str>, sha1: Option<&str>) -> Option<CertificateHashes> {
        CertificateHashes::new(sha256.map(Box::from), sha1.map(Box::from))
    }

    #[test]
    fn compares_the_strongest_hash_that_both_have() {
        let (both, other) = (hashes(Some("a"), Some("b")), hashes(Some("a"), Some("c")));
        for (token, key, expected) in [
            (&both, &both, CertificateMatch::Same),
            (&both, &other, CertificateMatch::Same),
            (&both, &hashes(Some("c"), Some("b")), CertificateMatch::Different),
            (&both, &hashes(None, Some("b")), CertificateMatch::Same),
            (&both, &hashes(None, Some("B")), CertificateMatch::Different),
            (&hashes(None, Some("b")), &hashes(Some("b"), None), CertificateMatch::Unknown),
            (&both, &None, CertificateMatch::Unknown),
        ] {
            assert_eq!(token.as_ref().map(|token| token.compare(key.as_ref())), Some(expected), "{token:?} {key:?}");
        }
        assert_eq!(hashes(None, None), None);
    }
}
