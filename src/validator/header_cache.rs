//! `HeaderCache`: parsed token headers, by their encoded text.
//!
//! All tokens of an issuer have the same header, byte by byte, until the issuer's key changes. Decoding and parsing a header
//! takes 300 ns, a cache lookup 30 ns.

use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};

use arc_swap::ArcSwap;

use crate::defaults;
use crate::token::{Header, header_segment};

/// Caches a few parsed headers of verified tokens, by their encoded text.
///
/// # Security
///
/// Equal texts have equal headers, so the cache saves only parsing and cannot change a decision. Only a token with a valid
/// signature adds its header, so that an attacker cannot fill the cache.
#[derive(Default)]
pub(super) struct HeaderCache {
    headers: ArcSwap<Vec<Arc<CachedHeader>>>,
    /// The number of verified tokens whose header was not cached.
    insertions: AtomicU32,
}

struct CachedHeader {
    /// The encoded text of the header.
    segment: Box<[u8]>,
    header: Header,
}

impl HeaderCache {
    /// Returns the header with this encoded text, if it is cached.
    pub(super) fn find(&self, segment: &[u8]) -> Option<Header> {
        self.headers.load().iter().find(|cached| *cached.segment == *segment).map(|cached| cached.header.clone())
    }

    /// Stores the header of a token whose signature is valid.
    ///
    /// A full cache replaces its oldest header only once in many insertions. Otherwise an issuer that writes a different
    /// header into each token would make every request write to memory that all requests read.
    pub(super) fn insert(&self, token: &[u8], header: &Header) {
        let segment = header_segment(token);
        let headers = self.headers.load();
        if segment.len() > defaults::MAX_KNOWN_HEADER_BYTES || headers.iter().any(|cached| *cached.segment == *segment)
        {
            return;
        }
        let is_full = headers.len() >= defaults::MAX_KNOWN_HEADERS;
        let count = self.insertions.fetch_add(1, Ordering::Relaxed);
        if is_full && !count.is_multiple_of(defaults::KNOWN_HEADER_TURN) {
            return;
        }
        let new = Arc::new(CachedHeader { segment: Box::from(segment), header: header.clone() });
        self.headers.rcu(|headers| {
            let excess = headers.len().saturating_add(1).saturating_sub(defaults::MAX_KNOWN_HEADERS);
            let remaining = headers.iter().skip(excess).filter(|cached| cached.segment != new.segment);
            remaining.chain([&new]).map(Arc::clone).collect::<Vec<_>>()
        });
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::{Api, Issuer};
    use crate::keys::KeySet;
    use crate::rejection::Rejection;
    use crate::testing::TestIssuer;
    use crate::token::tests::token as compact;
    use crate::token::{Algorithm, UnverifiedToken};
    use crate::validator::Validator;

    fn token(kid: usize) -> String {
        compact(&format!(r#"{{"alg":"RS256","kid":"{kid}"}}"#), "{}")
    }

    fn insert(header_cache: &HeaderCache, token: &str) {
        let parsed = UnverifiedToken::parse(token).expect("well-formed");
        header_cache.insert(token.as_bytes(), parsed.header());
    }

    fn contains(header_cache: &HeaderCache, token: &str) -> bool {
        let found = header_cache.find(header_segment(token.as_bytes()));
        let read = UnverifiedToken::parse(token).expect("well-formed");
        assert!(found.as_ref().is_none_or(|found| found == read.header()), "{found:?}");
        found.is_some()
    }

    #[test]
    fn finds_a_header_by_its_whole_text_only() {
        let header_cache = HeaderCache::default();
        assert!(!contains(&header_cache, &token(1)));
        insert(&header_cache, &token(1));
        assert!(contains(&header_cache, &token(1)) && !contains(&header_cache, &token(2)));
        let known = token(1);
        let segment = header_segment(known.as_bytes());
        for other in [&segment[1..], &segment[..segment.len() - 1], &[segment, b"A"].concat(), b""] {
            assert_eq!(header_cache.find(other), None, "{other:?}");
        }
        // The same header with another encoded text is not found.
        assert!(!contains(&header_cache, &compact(r#"{"kid":"1","alg":"RS256"}"#, "{}")));
        assert_eq!(header_cache.find(segment).map(|header| header.algorithm()), Some(Algorithm::RS256));
    }

    #[tokio::test]
    async fn stores_headers_of_tokens_with_a_valid_signature_only() {
        let server = TestIssuer::new();
        let issuer = Issuer::static_keys(server.issuer(), KeySet::from_jwks(server.jwks()));
        let validator = Validator::new(Api::new("https://api.test/", issuer)).expect("a valid configuration");
        let contains = |token: &str| validator.core.header_cache.find(header_segment(token.as_bytes())).is_some();
        let (forged, valid) = (server.token().with_broken_signature().sign(), server.token().sign());
        assert_eq!(header_segment(forged.as_bytes()), header_segment(valid.as_bytes()));
        assert_eq!(validator.validate(&forged).await.map(drop), Err(Rejection::Signature));
        assert!(!contains(&forged));
        assert_eq!(validator.validate(&valid).await.map(drop), Ok(()));
        assert!(contains(&valid));
    }

    #[test]
    fn bounds_the_number_of_headers_and_still_stores_new_ones() {
        let header_cache = HeaderCache::default();
        let capacity = defaults::MAX_KNOWN_HEADERS;
        for kid in 0..capacity {
            insert(&header_cache, &token(kid));
            insert(&header_cache, &token(kid));
        }
        assert!((0..capacity).all(|kid| contains(&header_cache, &token(kid))));
        for kid in 1_000..2_000 {
            insert(&header_cache, &token(kid));
            assert_eq!(header_cache.headers.load().len(), capacity);
        }
        // Fewer than one in sixty of the new headers were stored; they replaced all the old ones.
        assert!(!(0..capacity).any(|kid| contains(&header_cache, &token(kid))));
        let stored = (1_000..2_000).filter(|kid| contains(&header_cache, &token(*kid))).count();
        assert_eq!(stored, capacity);
        // A header that recurs is stored in the end.
        (0..defaults::KNOWN_HEADER_TURN).for_each(|_| insert(&header_cache, &token(7)));
        assert!(contains(&header_cache, &token(7)));
    }

    #[test]
    fn ignores_a_long_header() {
        let header_cache = HeaderCache::default();
        let long = |length: usize| compact(&format!(r#"{{"alg":"RS256","x5c":"{}"}}"#, "x".repeat(length)), "{}");
        let (short, long) = (long(100), long(defaults::MAX_KNOWN_HEADER_BYTES));
        insert(&header_cache, &short);
        insert(&header_cache, &long);
        assert!(contains(&header_cache, &short) && !contains(&header_cache, &long));
    }
}
