//! Time: the only reader of the clock.
//!
//! The wall clock judges the dates in tokens; every interval (key refresh, cool-down, deadline) is measured on the
//! monotonic clock. On many systems that clock stops while the machine is suspended, so the age of a key set is the larger
//! of what both clocks say. Both come through [`Clock`], so that tests can turn them by hand.

use std::fmt;
use std::future::Future;
use std::pin::Pin;
use std::sync::OnceLock;
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

/// A source of wall time, monotonic time and timers.
pub trait Clock: fmt::Debug + Send + Sync + 'static {
    /// Returns the wall time, against which `exp`, `nbf` and `iat` are judged. A key set is never younger than it says.
    fn now(&self) -> Timestamp;

    /// Returns the monotonic time, on which intervals are measured.
    fn monotonic(&self) -> Monotonic;

    /// Completes once [`Clock::monotonic`] has reached `deadline`.
    fn sleep_until(&self, deadline: Monotonic) -> Sleep;
}

/// The future of [`Clock::sleep_until`].
pub type Sleep = Pin<Box<dyn Future<Output = ()> + Send>>;

/// The operating system's clocks, with timers from tokio.
#[derive(Clone, Copy, Debug, Default)]
pub struct SystemClock;

impl Clock for SystemClock {
    fn now(&self) -> Timestamp {
        match SystemTime::now().duration_since(UNIX_EPOCH) {
            Ok(since) => Timestamp::EPOCH.saturating_add(since),
            // A clock before 1970 is wrong; the epoch makes every `nbf` and `iat` lie in the future.
            Err(_) => Timestamp::EPOCH,
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

/// A point in wall time: whole nanoseconds since 1970-01-01T00:00:00Z, leap seconds ignored (RFC 7519 §2).
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Timestamp(i128);

impl Timestamp {
    /// 1970-01-01T00:00:00Z.
    pub const EPOCH: Self = Self(0);

    /// The last second of the year 9999, beyond which no date of a token is believed.
    pub const MAX: Self = Self::from_secs(253_402_300_799);

    /// The point `seconds` after the epoch, or before it when negative.
    #[must_use]
    pub const fn from_secs(seconds: i64) -> Self {
        Self(extend(seconds).saturating_mul(NANOS_PER_SECOND))
    }

    /// The point `nanos` nanoseconds after the epoch.
    #[must_use]
    pub const fn from_nanos(nanos: i128) -> Self {
        Self(nanos)
    }

    /// Whole seconds since the epoch, rounded down.
    #[must_use]
    pub fn as_secs(self) -> i64 {
        let seconds = self.0.div_euclid(NANOS_PER_SECOND);
        i64::try_from(seconds).unwrap_or(if seconds < 0 { i64::MIN } else { i64::MAX })
    }

    /// Nanoseconds since the epoch.
    #[must_use]
    pub const fn as_nanos(self) -> i128 {
        self.0
    }

    /// The point `span` later; stays at the end of the range instead of wrapping.
    #[must_use]
    pub fn saturating_add(self, span: Duration) -> Self {
        Self(self.0.saturating_add(nanos(span)))
    }

    /// The point `span` earlier; stays at the start of the range instead of wrapping.
    #[must_use]
    pub fn saturating_sub(self, span: Duration) -> Self {
        Self(self.0.saturating_sub(nanos(span)))
    }

    /// The time from `earlier` to this point, zero if `earlier` is later.
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

/// A point in monotonic time: the time since an origin that is fixed for the process and means nothing by itself.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Default)]
pub struct Monotonic(Duration);

impl Monotonic {
    /// The point `since_origin` after the origin.
    #[must_use]
    pub const fn from_origin(since_origin: Duration) -> Self {
        Self(since_origin)
    }

    /// The time since the origin.
    #[must_use]
    pub const fn since_origin(self) -> Duration {
        self.0
    }

    /// The point `span` later; stays at the end of the range instead of wrapping.
    #[must_use]
    pub fn saturating_add(self, span: Duration) -> Self {
        Self(self.0.saturating_add(span))
    }

    /// The point `span` earlier; stays at the origin instead of wrapping.
    pub(crate) fn saturating_sub(self, span: Duration) -> Self {
        Self(self.0.saturating_sub(span))
    }

    /// The time from `earlier` to this point, zero if `earlier` is later.
    #[must_use]
    pub fn saturating_since(self, earlier: Self) -> Duration {
        self.0.saturating_sub(earlier.0)
    }
}

/// What both clocks say at one moment.
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

/// The process's origin of monotonic time: the first moment that anybody asked.
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
    fn seconds_round_down_on_both_sides_of_the_epoch() {
        assert_eq!(Timestamp::from_nanos(1_999_999_999).as_secs(), 1);
        assert_eq!(Timestamp::from_nanos(-1).as_secs(), -1);
        assert_eq!(Timestamp::from_secs(i64::MAX).as_secs(), i64::MAX);
        assert_eq!(Timestamp::from_nanos(i128::MAX).as_secs(), i64::MAX);
        assert_eq!(Timestamp::from_nanos(i128::MIN).as_secs(), i64::MIN);
    }

    #[test]
    fn arithmetic_stays_at_the_ends() {
        let end = Timestamp::from_nanos(i128::MAX);
        assert_eq!(end.saturating_add(Duration::MAX), end);
        let start = Timestamp::from_nanos(i128::MIN);
        assert_eq!(start.saturating_sub(Duration::MAX), start);
        assert_eq!(start.saturating_since(end), Duration::ZERO);
        assert_eq!(end.saturating_since(start), Duration::from_nanos(u64::MAX));
    }

    #[test]
    fn monotonic_time_never_runs_backwards() {
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
