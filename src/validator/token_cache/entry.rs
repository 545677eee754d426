//! `CacheEntry`: the claims of one verified token, with what their validity depends on.

use std::any::TypeId;
use std::fmt;
use std::mem::size_of;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::Duration;

use crate::claims::{Claims, NoCustomClaims};
use crate::clock::{Monotonic, Timestamp};
use crate::defaults;
use crate::introspection::ActiveAnswer;
use crate::jwks::{KeyEpoch, RingSerial};
use crate::keys::{Thumbprint, VerifyingKey};
use crate::revocation::TokenDigests;
use crate::telemetry;
use crate::validator::possession::BoundToken;
use crate::validator::routing::RouteId;
use crate::validator::token_cache::table::Weigh;

/// The claims of an accepted token, what proved them, and the lifetime of the entry.
pub(in crate::validator) struct CacheEntry<C> {
    claims: Claims<C>,
    route: RouteId,
    proof: Proof,
    lifetime: EntryLifetime,
    /// The key to which the token is bound, if it is.
    bound: Option<Arc<BoundToken>>,
    /// The digests by which the list of revocations is searched for the token, if there is a list.
    digests: Option<TokenDigests>,
    weight: u32,
}

/// What proved that a token is genuine. It is checked again on every hit.
#[derive(Debug)]
pub(in crate::validator) enum Proof {
    /// A signature that a public key has verified.
    Key(KeyProof),
    /// A positive answer of the issuer's server. Boxed, so that other entries are not larger.
    Server(Box<ServerProof>),
}

/// A positive answer about a token, and the keys that verified the token and the answer, if they are signed.
pub(in crate::validator) struct ServerProof {
    pub(in crate::validator) answer: Arc<ActiveAnswer>,
    /// The key that verified the token; `None` for an opaque one.
    pub(in crate::validator) token_key: Option<KeyProof>,
    pub(in crate::validator) answer_key: Option<KeyProof>,
    /// Whether a request has started the next call.
    is_refreshing: AtomicBool,
}

/// The public key that has verified a token.
#[derive(Debug)]
pub(in crate::validator) struct KeyProof {
    thumbprint: Thumbprint,
    ring: RingSerial,
    /// The number of the last epoch of these keys that is known to include this key.
    epoch: AtomicU64,
}

/// The period in which an entry is valid.
#[derive(Clone, Copy, Debug)]
pub(in crate::validator) struct EntryLifetime {
    /// The time of the validation, at which all dates were valid.
    pub(in crate::validator) checked_at: Timestamp,
    /// The first time after it at which a date is no longer valid.
    pub(in crate::validator) valid_until: Timestamp,
    /// The time of the validation, or of the call to the server, by the monotonic clock.
    pub(in crate::validator) stored_at: Monotonic,
    /// The time after which the entry is removed.
    pub(in crate::validator) max_age: Duration,
}

impl<C: 'static> CacheEntry<C> {
    pub(in crate::validator) fn new(
        claims: Claims<C>,
        route: RouteId,
        proof: Proof,
        lifetime: EntryLifetime,
        bound: Option<Arc<BoundToken>>,
        digests: Option<TokenDigests>,
    ) -> Self {
        // The heap memory of `C` cannot be measured. It was read from the payload, so the length of the payload is the
        // estimate. A tree of values is larger, as `with_token_cache_bytes` documents.
        let custom = if TypeId::of::<C>() == TypeId::of::<NoCustomClaims>() {
            0
        } else {
            size_of::<C>().saturating_add(claims.json().len())
        };
        let bound_bytes = bound.as_ref().map_or(0, |bound| bound.footprint());
        let weight = claims.footprint().saturating_add(custom).saturating_add(size_of::<Self>());
        let weight = weight.saturating_add(bound_bytes).saturating_add(proof.footprint());
        let weight = weight.saturating_add(digests.as_ref().map_or(0, TokenDigests::footprint));
        let weight =
            u32::try_from(weight.saturating_add(defaults::TOKEN_CACHE_ENTRY_OVERHEAD_BYTES)).unwrap_or(u32::MAX);
        telemetry::token_cache_inserted(weight);
        Self { claims, route, proof, lifetime, bound, digests, weight }
    }
}

impl<C> CacheEntry<C> {
    pub(in crate::validator) fn claims(&self) -> &Claims<C> {
        &self.claims
    }

    pub(in crate::validator) fn route(&self) -> &RouteId {
        &self.route
    }

    pub(in crate::validator) fn proof(&self) -> &Proof {
        &self.proof
    }

    pub(in crate::validator) fn bound(&self) -> Option<&Arc<BoundToken>> {
        self.bound.as_ref()
    }

    pub(in crate::validator) fn digests(&self) -> Option<&TokenDigests> {
        self.digests.as_ref()
    }

    pub(in crate::validator) fn lifetime(&self) -> EntryLifetime {
        self.lifetime
    }
}

impl<C> Weigh for CacheEntry<C> {
    fn weight(&self) -> u32 {
        self.weight
    }
}

impl EntryLifetime {
    /// Returns whether all dates are valid and the entry is younger than the maximum age.
    ///
    /// All dates are valid from `checked_at` until `valid_until`. If the wall clock was set back to before `checked_at`, the
    /// entry is not fresh. The age is measured by both clocks, because the monotonic clock may stop while the machine is
    /// suspended.
    pub(in crate::validator) fn is_fresh(&self, now: Timestamp, monotonic: Monotonic) -> bool {
        let max_age = self.max_age;
        let is_within_max_age =
            monotonic < self.stored_at.saturating_add(max_age) && now < self.checked_at.saturating_add(max_age);
        self.checked_at <= now && now < self.valid_until && is_within_max_age
    }
}

impl Proof {
    /// Returns the memory of the proof besides the entry.
    fn footprint(&self) -> usize {
        match self {
            Self::Key(_) => 0,
            Self::Server(server) => {
                let header = server.answer.signature.as_ref().map_or(0, |signature| signature.header.footprint());
                // The claims of an opaque token are those of the answer.
                let claims = server.token_key.as_ref().map_or(0, |_| server.answer.claims.footprint());
                size_of::<ServerProof>().saturating_add(header).saturating_add(claims)
            }
        }
    }
}

impl ServerProof {
    pub(in crate::validator) fn new(answer: Arc<ActiveAnswer>, token_key: Option<KeyProof>) -> Self {
        let answer_key = answer.signature.as_ref().map(|signed| KeyProof::new(signed.thumbprint, signed.epoch));
        Self { answer, token_key, answer_key, is_refreshing: AtomicBool::new(false) }
    }

    /// Returns whether the entry depends on keys.
    pub(in crate::validator) fn is_signed(&self) -> bool {
        self.token_key.is_some() || self.answer_key.is_some()
    }

    /// Returns whether no request has started the next call yet; further calls of this method return `false`.
    pub(in crate::validator) fn start_refresh(&self) -> bool {
        !self.is_refreshing.swap(true, Ordering::Relaxed)
    }

    /// Allows another request to start the next call.
    pub(in crate::validator) fn cancel_refresh(&self) {
        self.is_refreshing.store(false, Ordering::Relaxed);
    }
}

impl fmt::Debug for ServerProof {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("ServerProof(..)")
    }
}

impl KeyProof {
    /// Returns the same proof for another entry.
    pub(in crate::validator) fn copy(&self) -> Self {
        Self::new(self.thumbprint, KeyEpoch { ring: self.ring, number: self.epoch.load(Ordering::Relaxed) })
    }

    /// Creates the proof by a key of this thumbprint, which the keys of `epoch` include.
    pub(in crate::validator) fn new(thumbprint: Thumbprint, epoch: KeyEpoch) -> Self {
        Self { thumbprint, ring: epoch.ring, epoch: AtomicU64::new(epoch.number) }
    }

    /// Returns whether the current keys include the key that verified the token: the epoch is unchanged, or `candidates` returns
    /// the same key. The keys of another issuer never do, although they have epochs with the same numbers.
    pub(in crate::validator) fn is_current<'k, I: Iterator<Item = &'k VerifyingKey>>(
        &self,
        epoch: KeyEpoch,
        candidates: impl FnOnce() -> Option<I>,
    ) -> bool {
        if self.ring != epoch.ring {
            return false;
        }
        if self.epoch.load(Ordering::Relaxed) == epoch.number {
            return true;
        }
        let is_current = self.is_among(candidates());
        if is_current {
            // In a race, each request stores an epoch for which this is true. The cost is at most one more lookup.
            self.epoch.store(epoch.number, Ordering::Relaxed);
        }
        is_current
    }

    /// Returns whether the candidates include the key that verified the token.
    pub(in crate::validator) fn is_among<'k, I: Iterator<Item = &'k VerifyingKey>>(
        &self,
        candidates: Option<I>,
    ) -> bool {
        candidates.is_some_and(|mut keys| keys.any(|key| *key.thumbprint() == self.thumbprint))
    }
}

impl<C> Drop for CacheEntry<C> {
    fn drop(&mut self) {
        telemetry::token_cache_freed(self.weight);
    }
}

#[cfg(test)]
pub(in crate::validator) mod tests {
    use std::time::Duration;

    use super::*;
    use crate::keys::{Found, KeyOrigin, KeySet, KeyTable};
    use crate::testing::TestIssuer;
    use crate::token::Algorithm;

    /// The wall time of an entry that is stored at once.
    pub(in crate::validator) const START: Timestamp = Timestamp::from_secs(1_000);

    /// Returns an entry that is valid for this number of seconds.
    pub(in crate::validator) fn entry(seconds: u64) -> CacheEntry<NoCustomClaims> {
        entry_at(0, seconds)
    }

    /// Returns an entry that is stored after this number of seconds, and is then valid for `seconds`.
    pub(in crate::validator) fn entry_at(after: u64, seconds: u64) -> CacheEntry<NoCustomClaims> {
        let key = KeyProof::new(Thumbprint::secret(b"a key"), epoch(0, 1));
        let claims = Claims::for_tests(r#"{"iss":"i","exp":1}"#);
        CacheEntry::new(claims, RouteId::for_tests(0), Proof::Key(key), lifetime_at(after, seconds), None, None)
    }

    fn epoch(ring: u64, number: u64) -> KeyEpoch {
        KeyEpoch { ring: RingSerial::for_tests(ring), number }
    }

    fn lifetime(seconds: u64) -> EntryLifetime {
        lifetime_at(0, seconds)
    }

    fn lifetime_at(after: u64, seconds: u64) -> EntryLifetime {
        let after = Duration::from_secs(after);
        let checked_at = START.saturating_add(after);
        let valid_until = checked_at.saturating_add(Duration::from_secs(seconds));
        EntryLifetime {
            checked_at,
            valid_until,
            stored_at: Monotonic::from_origin(after),
            max_age: defaults::TOKEN_CACHE_MAX_AGE,
        }
    }

    #[test]
    fn is_fresh_from_the_check_until_a_date_fails_or_the_maximum_age_ends() {
        let cached = lifetime(60);
        let at = Timestamp::from_secs;
        let after = |age| Monotonic::default().saturating_add(age);
        let within_max_age = after(defaults::TOKEN_CACHE_MAX_AGE - Duration::from_nanos(1));
        assert!(cached.is_fresh(at(1_000), within_max_age) && cached.is_fresh(at(1_059), within_max_age));
        assert!(!cached.is_fresh(at(999), within_max_age), "the wall clock was set back");
        assert!(!cached.is_fresh(at(1_060), within_max_age), "a date is no longer valid");
        assert!(!cached.is_fresh(at(1_059), after(defaults::TOKEN_CACHE_MAX_AGE)), "it has reached the maximum age");
        let long = lifetime(3_600);
        assert!(long.is_fresh(at(1_299), within_max_age));
        assert!(!long.is_fresh(at(1_300), within_max_age), "it has reached the maximum age by the wall clock");
    }

    /// Concurrent requests with one token may have snapshots of different epochs, in any order.
    #[test]
    fn looks_the_key_up_unless_the_epoch_is_the_last_known_one() {
        let keys = KeySet::from_jwks(TestIssuer::new().jwks()).expect("a key set");
        let with_key = keys.bind(&[Algorithm::RS256], KeyOrigin::Remote);
        let without = KeyTable::from_secrets(Vec::new());
        let Found::Keys(mut found) = with_key.find(None, Algorithm::RS256) else { panic!("one key") };
        let thumbprint = *found.next().expect("one key").thumbprint();
        let proof = KeyProof::new(thumbprint, epoch(0, 1));
        let header = Claims::for_tests(r#"{"iss":"i","exp":1}"#).header().cloned().expect("a header");
        // A lookup in `without` finds no key.
        for (table, number, expected) in [
            (&without, 1, true),
            (&without, 0, false),
            (&without, 2, false),
            (&without, 1, true),
            (&with_key, 3, true),
            (&without, 3, true),
            (&without, 1, false),
            (&without, 2, false),
            (&without, 4, false),
            (&with_key, 2, true),
        ] {
            let candidates = || match table.find(header.key_id(), header.algorithm()) {
                Found::Keys(keys) => Some(keys),
                _ => None,
            };
            assert_eq!(proof.is_current(epoch(0, number), candidates), expected, "epoch {number}");
            assert!(!proof.is_current(epoch(1, number), candidates), "the keys of another issuer, epoch {number}");
        }
    }

    #[test]
    fn estimates_the_weight_of_custom_claims_by_the_payload_length() {
        let plain = entry(60);
        let (claims, json) = (plain.claims().clone().with_custom(Arc::new(String::new())), plain.claims().json().len());
        let proof = Proof::Key(KeyProof::new(Thumbprint::secret(b"a key"), epoch(0, 1)));
        let custom = CacheEntry::new(claims, plain.route().clone(), proof, lifetime(60), None, None);
        let (custom, plain) = (custom.weight(), plain.weight());
        assert_eq!(usize::try_from(custom - plain), Ok(size_of::<String>() + json));
    }

    #[cfg(feature = "metrics")]
    #[test]
    fn updates_the_gauges_when_entries_are_created_and_dropped() {
        let recorder = metrics_exporter_prometheus::PrometheusBuilder::new().build_recorder();
        let assert_gauges = |entries: u32, bytes: u32| {
            let text = recorder.handle().render();
            for expected in [format!("jwt_token_cache_entries {entries}"), format!("jwt_token_cache_bytes {bytes}")] {
                assert!(text.lines().any(|line| line == expected), "{expected} in\n{text}");
            }
        };
        metrics::with_local_recorder(&recorder, || {
            let (one, two) = (entry(60), entry(60));
            let weight = one.weight;
            assert_gauges(2, 2 * weight);
            drop(two);
            assert_gauges(1, weight);
            drop(one);
            assert_gauges(0, 0);
        });
    }
}
