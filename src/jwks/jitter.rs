//! Random numbers as values, so that the functions that use them are pure.

use std::hash::{BuildHasher as _, Hasher as _, RandomState};
use std::time::Duration;

/// The two random numbers of one step of the state machine.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Sample {
    pub(super) first: Jitter,
    pub(super) second: Jitter,
}

/// A random fraction of a span, in units of 2⁻³².
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Jitter(pub(crate) u32);

impl Jitter {
    /// Returns a point between two spans, proportional to the random number: `low` for zero, just under `high` for
    /// `u32::MAX`.
    pub(super) fn between(self, low: Duration, high: Duration) -> Duration {
        let room = high.saturating_sub(low).as_nanos();
        let part = room.saturating_mul(u128::from(self.0)) >> u32::BITS;
        low.saturating_add(from_nanos(part))
    }

    /// Returns a random pause between half of `pause` and `pause`. Unlike full jitter this gives the number of attempts a hard
    /// limit.
    pub(crate) fn at_least_half(self, pause: Duration) -> Duration {
        self.between(percent(pause, 50), pause)
    }

    /// Returns the pause after a failure: a part of `min`, doubled for each earlier failure up to `max`.
    pub(crate) fn backoff(self, min: Duration, max: Duration, earlier_failures: u32) -> Duration {
        self.at_least_half(doubled(min, earlier_failures).min(max))
    }
}

/// Returns a span that is doubled `times` times.
pub(crate) fn doubled(span: Duration, times: u32) -> Duration {
    span.saturating_mul(2_u32.saturating_pow(times))
}

/// Returns a percentage of a span.
pub(super) fn percent(span: Duration, percent: u8) -> Duration {
    let nanos = span.as_nanos().saturating_mul(u128::from(percent));
    from_nanos(nanos.checked_div(100).unwrap_or_default())
}

/// A random number generator (SplitMix64) for spreading load, not for secrets. The operating system seeds it through the
/// hasher of the standard library.
#[derive(Debug)]
pub(crate) struct Rng(u64);

impl Rng {
    pub(crate) fn seeded() -> Self {
        Self::from_seed(RandomState::new().build_hasher().finish())
    }

    /// Creates a generator with a reproducible sequence.
    pub(super) fn from_seed(seed: u64) -> Self {
        Self(seed)
    }

    pub(super) fn sample(&mut self) -> Sample {
        Sample { first: self.jitter(), second: self.jitter() }
    }

    pub(crate) fn jitter(&mut self) -> Jitter {
        self.0 = self.0.wrapping_add(0x9E37_79B9_7F4A_7C15);
        let mixed = (self.0 ^ (self.0 >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
        let mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94D0_49BB_1331_11EB);
        Jitter(u32::try_from((mixed ^ (mixed >> 31)) >> u32::BITS).unwrap_or_default())
    }
}

fn from_nanos(nanos: u128) -> Duration {
    Duration::from_nanos(u64::try_from(nanos).unwrap_or(u64::MAX))
}

#[cfg(test)]
mod tests {
    use super::*;

    const SECOND: Duration = Duration::from_secs(1);

    #[test]
    fn jitter_stays_within_the_span() {
        assert_eq!(Jitter(0).between(SECOND, 2 * SECOND), SECOND);
        assert!(Jitter(u32::MAX).between(SECOND, 2 * SECOND) < 2 * SECOND);
        assert_eq!(Jitter(u32::MAX).between(SECOND, SECOND), SECOND);
        assert_eq!(Jitter(7).between(2 * SECOND, SECOND), 2 * SECOND);
    }

    #[test]
    fn percent_does_not_overflow() {
        assert_eq!(percent(10 * SECOND, 80), 8 * SECOND);
        assert_eq!(percent(Duration::MAX, 100), Duration::from_nanos(u64::MAX));
    }

    #[test]
    fn random_numbers_are_evenly_distributed() {
        let mut rng = Rng::from_seed(1);
        let high = (0..1000).filter(|_| rng.jitter().0 > u32::MAX / 2).count();
        assert!((450..550).contains(&high), "{high}");
    }
}
