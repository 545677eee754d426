//! Headers that were read before: all tokens of an issuer carry the same one, octet by octet, until its key changes.
//!
//! It takes three hundred nanoseconds to decode and to read a header, and a tenth of that to find that it is a known one.

use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};

use arc_swap::ArcSwap;

use crate::defaults;
use crate::token::{Header, header_segment};

/// The headers of tokens whose signature held, by the text that stood in the token; a handful of them.
///
/// # Security
///
/// A header says nothing about its token, and whoever sends the same text sends the same header: what is known here saves
/// the reading and decides nothing. Only proven tokens add to it, so that no stranger can fill it.
#[derive(Default)]
pub(super) struct HeaderCache {
    known: ArcSwap<Vec<Arc<Known>>>,
    /// How many proven tokens had a header that was not known.
    events: AtomicU32,
}

struct Known {
    /// As it stands in tokens, encoded.
    segment: Box<[u8]>,
    header: Header,
}

impl HeaderCache {
    /// The header that this text is known to be.
    pub(super) fn find(&self, segment: &[u8]) -> Option<Header> {
        self.known.load().iter().find(|known| *known.segment == *segment).map(|known| known.header.clone())
    }

    /// Keeps the header of a token whose signature held.
    ///
    /// Once there is no more room, only now and then, in place of the oldest: an issuer that writes another header into each
    /// token would have every request write what all requests read.
    pub(super) fn insert(&self, token: &[u8], header: &Header) {
        let segment = header_segment(token);
        let known = self.known.load();
        if segment.len() > defaults::MAX_KNOWN_HEADER_BYTES || known.iter().any(|known| *known.segment == *segment) {
            return;
        }
        let is_full = known.len() >= defaults::MAX_KNOWN_HEADERS;
        let turn = self.events.fetch_add(1, Ordering::Relaxed);
        if is_full && !turn.is_multiple_of(defaults::KNOWN_HEADER_TURN) {
            return;
        }
        let new = Arc::new(Known { segment: Box::from(segment), header: header.clone() });
        self.known.rcu(|known| {
            let oldest = known.len().saturating_add(1).saturating_sub(defaults::MAX_KNOWN_HEADERS);
            let kept = known.iter().skip(oldest).filter(|known| known.segment != new.segment);
            kept.chain([&new]).map(Arc::clone).collect::<Vec<_>>()
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

    fn knows(header_cache: &HeaderCache, token: &str) -> bool {
        let found = header_cache.find(header_segment(token.as_bytes()));
        let read = UnverifiedToken::parse(token).expect("well-formed");
        assert!(found.as_ref().is_none_or(|found| found == read.header()), "{found:?}");
        found.is_some()
    }

    #[test]
    fn a_header_is_known_by_its_whole_text_only() {
        let header_cache = HeaderCache::default();
        assert!(!knows(&header_cache, &token(1)));
        insert(&header_cache, &token(1));
        assert!(knows(&header_cache, &token(1)) && !knows(&header_cache, &token(2)));
        let known = token(1);
        let segment = header_segment(known.as_bytes());
        for other in [&segment[1..], &segment[..segment.len() - 1], &[segment, b"A"].concat(), b""] {
            assert_eq!(header_cache.find(other), None, "{other:?}");
        }
        // The same header, written otherwise, is another text.
        assert!(!knows(&header_cache, &compact(r#"{"kid":"1","alg":"RS256"}"#, "{}")));
        assert_eq!(header_cache.find(segment).map(|header| header.algorithm()), Some(Algorithm::RS256));
    }

    #[tokio::test]
    async fn only_a_token_whose_signature_holds_adds_its_header() {
        let server = TestIssuer::new();
        let issuer = Issuer::static_keys(server.issuer(), KeySet::from_jwks(server.jwks()));
        let validator = Validator::new(Api::new("https://api.test/", issuer)).expect("a good configuration");
        let knows = |token: &str| validator.core.header_cache.find(header_segment(token.as_bytes())).is_some();
        let (forged, good) = (server.token().with_broken_signature().sign(), server.token().sign());
        assert_eq!(header_segment(forged.as_bytes()), header_segment(good.as_bytes()));
        assert_eq!(validator.validate(&forged).await.map(drop), Err(Rejection::Signature));
        assert!(!knows(&forged));
        assert_eq!(validator.validate(&good).await.map(drop), Ok(()));
        assert!(knows(&good));
    }

    #[test]
    fn there_are_never_many_and_new_ones_still_come_in() {
        let header_cache = HeaderCache::default();
        let room = defaults::MAX_KNOWN_HEADERS;
        for kid in 0..room {
            insert(&header_cache, &token(kid));
            insert(&header_cache, &token(kid));
        }
        assert!((0..room).all(|kid| knows(&header_cache, &token(kid))));
        for kid in 1_000..2_000 {
            insert(&header_cache, &token(kid));
            assert_eq!(header_cache.known.load().len(), room);
        }
        // Fewer than one in sixty of them, the last ones in place of the first.
        assert!(!(0..room).any(|kid| knows(&header_cache, &token(kid))));
        let taken = (1_000..2_000).filter(|kid| knows(&header_cache, &token(*kid))).count();
        assert_eq!(taken, room);
        // One that stays gets in at last.
        (0..defaults::KNOWN_HEADER_TURN).for_each(|_| insert(&header_cache, &token(7)));
        assert!(knows(&header_cache, &token(7)));
    }

    #[test]
    fn a_long_header_is_not_kept() {
        let header_cache = HeaderCache::default();
        let long = |octets: usize| compact(&format!(r#"{{"alg":"RS256","x5c":"{}"}}"#, "x".repeat(octets)), "{}");
        let (short, long) = (long(100), long(defaults::MAX_KNOWN_HEADER_BYTES));
        insert(&header_cache, &short);
        insert(&header_cache, &long);
        assert!(knows(&header_cache, &short) && !knows(&header_cache, &long));
    }
}
