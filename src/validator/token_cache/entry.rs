//! `CacheEntry`: the claims of one verified token, with what their validity depends on.

use std::any::TypeId;
use std::mem::size_of;
use std::sync::Arc;
use std::time::Duration;

use crate::claims::{Claims, NoCustomClaims};
use crate::clock::{Monotonic, Timestamp};
use crate::defaults;
use crate::revocation::TokenDigests;
use crate::telemetry;
use crate::validator::possession::BoundToken;
use crate::validator::routing::RouteId;
use crate::validator::token_cache::proof::Proof;
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

impl<C> Drop for CacheEntry<C> {
    fn drop(&mut self) {
        telemetry::token_cache_freed(self.weight);
    }
}

#[cfg(test)]
pub(in crate::validator) mod tests {
    use std::time::Duration;

    use super::*;
    use crate::introspection::{ActiveAnswer, AnswerSignature};
    use crate::keys::Thumbprint;
    use crate::validator::token_cache::proof::tests::epoch;
    use crate::validator::token_cache::proof::{KeyProof, ServerProof};

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

    /// Returns the proof by an answer, with these claims.
    fn server_proof(claims: Claims, is_token_signed: bool, is_answer_signed: bool) -> Proof {
        let key = || KeyProof::new(Thumbprint::secret(b"a key"), epoch(0, 1));
        let signature = is_answer_signed.then(|| AnswerSignature {
            header: Claims::for_tests(r#"{"iss":"i"}"#).header().cloned().expect("a header"),
            thumbprint: Thumbprint::secret(b"a key"),
            epoch: epoch(0, 1),
        });
        let (call_started_at, call_started_at_wall) = (Monotonic::default(), START);
        let answer = Arc::new(ActiveAnswer { claims, call_started_at, call_started_at_wall, signature });
        Proof::Server(Box::new(ServerProof::new(answer, is_token_signed.then(key))))
    }

    /// The allocator of the tests counts bytes without rounding, for which the weight has at most 32 bytes for each allocation.
    #[test]
    fn weighs_what_is_allocated() {
        let issuer: Arc<str> = Arc::from("https://id.test");
        let settings = Arc::default();
        let key = crate::testing::ProofKey::new();
        let answer_claims = || {
            let payload =
                crate::token::Payload::for_tests_answer(r#"{"active":true,"sub":"ann","scope":"read write"}"#);
            Claims::introspected(payload, Arc::clone(&issuer), START, Arc::clone(&settings))
        };
        let opaque = |is_answer_signed, is_bound: bool| {
            let claims = answer_claims();
            let proof = server_proof(claims.clone(), false, is_answer_signed);
            let bound = is_bound.then(|| Arc::new(BoundToken::for_tests(&key)));
            CacheEntry::new(claims, RouteId::for_tests(0), proof, lifetime(60), bound, None)
        };
        let signed = || {
            let payload = crate::token::Payload::for_tests(r#"{"iss":"i","sub":"ann"}"#);
            let header = Claims::for_tests(r#"{"iss":"i"}"#).header().cloned().expect("a header");
            let claims = Claims::verified(header, payload, None, Arc::clone(&settings));
            let proof = server_proof(answer_claims(), true, false);
            CacheEntry::new(claims, RouteId::for_tests(0), proof, lifetime(60), None, None)
        };
        type Create<'c> = &'c dyn Fn() -> CacheEntry<NoCustomClaims>;
        let cases: [(&str, Create<'_>, u32); 4] = [
            ("opaque", &|| opaque(false, false), 4),
            ("opaque with a signed answer", &|| opaque(true, false), 4),
            ("opaque and bound", &|| opaque(false, true), 5),
            ("signed with an answer", &signed, 5),
        ];
        for (name, entry, allocations) in cases {
            let mut stored = None;
            let allocated = allocation_counter::measure(|| stored = Some(Arc::new(([0_u8; 16], entry()))));
            let allocated = u32::try_from(allocated.bytes_current).expect("small");
            let weight = stored.expect("an entry").1.weight();
            let expected = allocated..=allocated + 32 * allocations;
            assert!(expected.contains(&weight), "{name}: {weight} bytes for {allocated}");
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
