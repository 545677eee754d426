//! Wall time, monotonic time and timers. No other module reads the system clock.
//!
//! The dates in tokens are compared with the wall clock. Every interval (key refresh, cool-down, deadline) is measured on
//! the monotonic clock. On many systems the monotonic clock stops while the machine is suspended, so the age of a key set
//! is the larger of its ages by the two clocks. Both clocks are behind the trait [`Clock`], so that tests can control them.

use std::fmt;
use std::future::Future;
use std::pin::Pin;
use std::sync::Arc;
use std::sync::OnceLock;
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

/// A source of wall time, monotonic time and timers.
pub trait Clock: fmt::Debug + Send + Sync + 'static {
    /// Returns the wall time. `exp`, `nbf` and `iat` are compared with it, and it gives a lower bound for the age of a key
    /// set.
    fn now(&self) -> Timestamp;

    /// Returns the monotonic time. Intervals are measured on it.
    fn monotonic(&self) -> Monotonic;

    /// Returns a future that completes once [`Clock::monotonic`] has reached `deadline`.
    fn sleep_until(&self, deadline: Monotonic) -> Sleep;
}

impl<C: Clock + ?Sized> Clock for Arc<C> {
    fn now(&self) -> Timestamp {
        (**self).now()
    }

    fn monotonic(&self) -> Monotonic {
        (**self).monotonic()
    }

    fn sleep_until(&self, deadline: Monotonic) -> Sleep {
        (**self).sleep_until(deadline)
    }
}

/// The future of [`Clock::sleep_until`].
pub type Sleep = Pin<Box<dyn Future<Output = ()> + Send>>;

/// The operating system's clocks, with the timers of tokio.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct SystemClock;

impl Clock for SystemClock {
    fn now(&self) -> Timestamp {
        match SystemTime::now().duration_since(UNIX_EPOCH) {
            Ok(since) => Timestamp::UNIX_EPOCH.saturating_add(since),
            // A clock before 1970 is wrong. With the epoch as the time, every `nbf` and `iat` is in the future.
            Err(_) => Timestamp::UNIX_EPOCH,
        }
    }

    fn monotonic(&self) -> Monotonic {
        Monotonic(Instant::now().saturating_duration_since(origin()))
    }

    fn sleep_until(&self, deadline: Monotonic) -> Sleep {
        let wait = deadline.saturating_since(self.monotonic());
        Box::pin(tokio::time::sleep(wait))
    }
}

/// A point in wall time: a whole number of nanoseconds since 1970-01-01T00:00:00Z, leap seconds ignored (RFC 7519 §2).
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Timestamp(i128);

impl Timestamp {
    /// 1970-01-01T00:00:00Z.
    pub const UNIX_EPOCH: Self = Self(0);

    /// The last second of the year 9999. A later date in a token is rejected.
    pub const MAX_NUMERIC_DATE: Self = Self::from_secs(253_402_300_799);

    /// Returns the point `seconds` after the epoch, or before it if `seconds` is negative.
    #[must_use]
    pub const fn from_secs(seconds: i64) -> Self {
        Self(extend(seconds).saturating_mul(NANOS_PER_SECOND))
    }

    /// Returns the point `nanos` nanoseconds after the epoch, or before it if `nanos` is negative.
    #[must_use]
    pub const fn from_nanos(nanos: i128) -> Self {
        Self(nanos)
    }

    /// Returns the whole seconds since the epoch, rounded down.
    #[must_use]
    pub fn as_secs(self) -> i64 {
        let seconds = self.0.div_euclid(NANOS_PER_SECOND);
        i64::try_from(seconds).unwrap_or(if seconds < 0 { i64::MIN } else { i64::MAX })
    }

    /// Returns the nanoseconds since the epoch.
    #[must_use]
    pub const fn as_nanos(self) -> i128 {
        self.0
    }

    /// Returns the point `span` later, at most the end of the range.
    #[must_use]
    pub fn saturating_add(self, span: Duration) -> Self {
        Self(self.0.saturating_add(nanos(span)))
    }

    /// Returns the point `span` earlier, at least the start of the range.
    #[must_use]
    pub fn saturating_sub(self, span: Duration) -> Self {
        Self(self.0.saturating_sub(nanos(span)))
    }

    /// Returns the time from `earlier` to this point, or zero if `earlier` is later.
    #[must_use]
    pub fn saturating_since(self, earlier: Self) -> Duration {
        let nanos = self.0.saturating_sub(earlier.0).max(0);
        Duration::from_nanos(u64::try_from(nanos).unwrap_or(u64::MAX))
    }
}

impl fmt::Debug for Timestamp {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let nanos = self.0.rem_euclid(NANOS_PER_SECOND);
        write!(f, "Timestamp({}", self.as_secs())?;
        if nanos != 0 {
            write!(f, " + {nanos} ns")?;
        }
        f.write_str(")")
    }
}

/// A point in monotonic time: the time since an arbitrary origin, which is fixed for the process.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Default)]
pub struct Monotonic(Duration);

impl Monotonic {
    /// Returns the point `since_origin` after the origin.
    #[must_use]
    pub const fn from_origin(since_origin: Duration) -> Self {
        Self(since_origin)
    }

    /// Returns the time since the origin.
    #[must_use]
    pub const fn since_origin(self) -> Duration {
        self.0
    }

    /// Returns the point `span` later, at most the end of the range.
    #[must_use]
    pub fn saturating_add(self, span: Duration) -> Self {
        Self(self.0.saturating_add(span))
    }

    /// Returns the point `span` earlier, at least the origin.
    pub(crate) fn saturating_sub(self, span: Duration) -> Self {
        Self(self.0.saturating_sub(span))
    }

    /// Returns the time from `earlier` to this point, or zero if `earlier` is later.
    #[must_use]
    pub fn saturating_since(self, earlier: Self) -> Duration {
        self.0.saturating_sub(earlier.0)
    }
}

/// The wall time and the monotonic time at one moment.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Moment {
    pub(crate) wall: Timestamp,
    pub(crate) monotonic: Monotonic,
}

impl Moment {
    /// Reads both clocks.
    pub(crate) fn now(clock: &dyn Clock) -> Self {
        Self { wall: clock.now(), monotonic: clock.monotonic() }
    }
}

/// Returns the origin of monotonic time: the moment of the first call in this process.
fn origin() -> Instant {
    static ORIGIN: OnceLock<Instant> = OnceLock::new();
    *ORIGIN.get_or_init(Instant::now)
}

fn nanos(span: Duration) -> i128 {
    i128::try_from(span.as_nanos()).unwrap_or(i128::MAX)
}

#[expect(clippy::as_conversions, reason = "widening; `From` is not const")]
const fn extend(seconds: i64) -> i128 {
    seconds as i128
}

const NANOS_PER_SECOND: i128 = 1_000_000_000;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn as_secs_rounds_down_on_both_sides_of_the_epoch() {
        assert_eq!(Timestamp::from_nanos(1_999_999_999).as_secs(), 1);
        assert_eq!(Timestamp::from_nanos(-1).as_secs(), -1);
        assert_eq!(Timestamp::from_secs(i64::MAX).as_secs(), i64::MAX);
        assert_eq!(Timestamp::from_nanos(i128::MAX).as_secs(), i64::MAX);
        assert_eq!(Timestamp::from_nanos(i128::MIN).as_secs(), i64::MIN);
    }

    #[test]
    fn arithmetic_saturates_at_the_ends_of_the_range() {
        let end = Timestamp::from_nanos(i128::MAX);
        assert_eq!(end.saturating_add(Duration::MAX), end);
        let start = Timestamp::from_nanos(i128::MIN);
        assert_eq!(start.saturating_sub(Duration::MAX), start);
        assert_eq!(start.saturating_since(end), Duration::ZERO);
        assert_eq!(end.saturating_since(start), Duration::from_nanos(u64::MAX));
    }

    #[test]
    fn monotonic_time_never_decreases() {
        let earlier = SystemClock.monotonic();
        assert!(SystemClock.monotonic() >= earlier);
        assert_eq!(
            earlier.saturating_since(SystemClock.monotonic().saturating_add(Duration::from_secs(1))),
            Duration::ZERO
        );
    }

    #[test]
    fn debug_shows_the_unit() {
        assert_eq!(format!("{:?}", Timestamp::from_secs(7)), "Timestamp(7)");
        assert_eq!(format!("{:?}", Timestamp::from_nanos(7_000_000_001)), "Timestamp(7 + 1 ns)");
    }
}
