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
        // A clock before 1970 is wrong. With the epoch as the time, every `nbf` and `iat` is in the future.
        Timestamp::from(SystemTime::now()).max(Timestamp::UNIX_EPOCH)
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
///
/// `Display` writes the date and time in UTC (RFC 3339). Every [`SystemTime`] is a `Timestamp`; the opposite conversion fails
/// if the system's type cannot represent the point. It does not fail for a date of an accepted token: such a date is before the
/// year 10,000.
///
/// ```
/// use std::time::{Duration, SystemTime};
/// use tower_bearer::clock::Timestamp;
///
/// let expiry = Timestamp::from_secs(1_800_000_000);
/// assert_eq!(expiry.to_string(), "2027-01-15T08:00:00Z");
/// assert_eq!(SystemTime::try_from(expiry)?, SystemTime::UNIX_EPOCH + Duration::from_secs(1_800_000_000));
/// assert!(Timestamp::from(SystemTime::now()) > Timestamp::UNIX_EPOCH);
/// # Ok::<(), tower_bearer::clock::TimestampRangeError>(())
/// ```
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

impl From<SystemTime> for Timestamp {
    fn from(time: SystemTime) -> Self {
        match time.duration_since(UNIX_EPOCH) {
            Ok(since) => Self::UNIX_EPOCH.saturating_add(since),
            Err(before) => Self::UNIX_EPOCH.saturating_sub(before.duration()),
        }
    }
}

impl TryFrom<Timestamp> for SystemTime {
    type Error = TimestampRangeError;

    fn try_from(timestamp: Timestamp) -> Result<Self, TimestampRangeError> {
        let nanos = timestamp.0.unsigned_abs();
        let seconds = u64::try_from(nanos.div_euclid(NANOS_PER_SECOND.unsigned_abs()));
        let rest = u32::try_from(nanos.rem_euclid(NANOS_PER_SECOND.unsigned_abs()));
        let (Ok(seconds), Ok(rest)) = (seconds, rest) else { return Err(TimestampRangeError) };
        let span = Duration::new(seconds, rest);
        let time =
            if timestamp < Timestamp::UNIX_EPOCH { UNIX_EPOCH.checked_sub(span) } else { UNIX_EPOCH.checked_add(span) };
        time.ok_or(TimestampRangeError)
    }
}

/// Writes the date and time in UTC, as in RFC 3339: `2027-01-15T08:00:00Z`. Nanoseconds are written if they are not zero. A
/// year outside of 0 to 9999 has a sign and at least five digits (ISO 8601).
impl fmt::Display for Timestamp {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let seconds = self.0.div_euclid(NANOS_PER_SECOND);
        let (days, second) = (seconds.div_euclid(SECONDS_PER_DAY), seconds.rem_euclid(SECONDS_PER_DAY));
        let (year, month, day) = civil_date(days);
        if (0..=9999).contains(&year) {
            write!(f, "{year:04}")?;
        } else {
            write!(f, "{year:+06}")?;
        }
        let (hour, minute, second) =
            (second.div_euclid(3600), second.div_euclid(60).rem_euclid(60), second.rem_euclid(60));
        write!(f, "-{month:02}-{day:02}T{hour:02}:{minute:02}:{second:02}")?;
        match self.0.rem_euclid(NANOS_PER_SECOND) {
            0 => f.write_str("Z"),
            nanos => write!(f, ".{nanos:09}Z"),
        }
    }
}

/// Converts days since 1970-01-01 to year, month and day of the Gregorian calendar, extended to all years.
///
/// A year begins in March here, so that the leap day is its last day. The calendar repeats every 400 years, which are one era.
#[expect(clippy::arithmetic_side_effects, reason = "far from overflow: days are at most 2^127 / 10^9 / 86,400")]
fn civil_date(days: i128) -> (i128, i128, i128) {
    const DAYS_PER_ERA: i128 = 146_097;
    // From 0000-03-01 to 1970-01-01.
    let days = days + 719_468;
    let (era, day_of_era) = (days.div_euclid(DAYS_PER_ERA), days.rem_euclid(DAYS_PER_ERA));
    // Every 4 years one day more, every 100 years one day less, every 400 years one day more.
    let year_of_era = (day_of_era - day_of_era / 1_460 + day_of_era / 36_524 - day_of_era / 146_096) / 365;
    let day_of_year = day_of_era - (365 * year_of_era + year_of_era / 4 - year_of_era / 100);
    // The months from March on have 31, 30, 31, 30, 31 days, and again: 153 days in five months.
    let month = (5 * day_of_year + 2) / 153;
    let day = day_of_year - (153 * month + 2) / 5 + 1;
    let (month, later) = if month < 10 { (month + 3, 0) } else { (month - 9, 1) };
    (era * 400 + year_of_era + later, month, day)
}

/// The error for a point in time that [`SystemTime`] cannot represent on this system.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub struct TimestampRangeError;

impl fmt::Display for TimestampRangeError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("the time is outside the range of the system's clock")
    }
}

impl std::error::Error for TimestampRangeError {}

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
const SECONDS_PER_DAY: i128 = 86_400;

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
    fn converts_from_and_to_system_time_exactly() {
        for nanos in [0, 1, -1, 1_800_000_000_123_456_700, -12_345_678_900, 253_402_300_799_000_000_000] {
            // Windows counts 100 ns.
            let timestamp = Timestamp::from_nanos(nanos / 100 * 100);
            assert_eq!(SystemTime::try_from(timestamp).map(Timestamp::from), Ok(timestamp), "{nanos}");
        }
        for nanos in [i128::MAX, i128::MIN] {
            assert_eq!(SystemTime::try_from(Timestamp::from_nanos(nanos)), Err(TimestampRangeError));
        }
    }

    #[test]
    fn displays_the_date_in_utc() {
        for (seconds, expected) in [
            (0, "1970-01-01T00:00:00Z"),
            (-1, "1969-12-31T23:59:59Z"),
            (951_782_399, "2000-02-28T23:59:59Z"),
            (951_782_400, "2000-02-29T00:00:00Z"),
            (951_868_800, "2000-03-01T00:00:00Z"),
            (1_800_000_000, "2027-01-15T08:00:00Z"),
            (4_107_542_399, "2100-02-28T23:59:59Z"),
            (4_107_542_400, "2100-03-01T00:00:00Z"),
            (253_402_300_799, "9999-12-31T23:59:59Z"),
            (253_402_300_800, "+10000-01-01T00:00:00Z"),
            (-62_167_219_200, "0000-01-01T00:00:00Z"),
            (-62_167_219_201, "-00001-12-31T23:59:59Z"),
        ] {
            assert_eq!(Timestamp::from_secs(seconds).to_string(), expected);
        }
        assert_eq!(Timestamp::from_nanos(1_500_000_000).to_string(), "1970-01-01T00:00:01.500000000Z");
        assert_eq!(Timestamp::from_nanos(-1).to_string(), "1969-12-31T23:59:59.999999999Z");
        assert!(Timestamp::from_nanos(i128::MAX).to_string().starts_with('+'));
        assert!(Timestamp::from_nanos(i128::MIN).to_string().starts_with('-'));
    }

    #[test]
    fn debug_shows_the_unit() {
        assert_eq!(format!("{:?}", Timestamp::from_secs(7)), "Timestamp(7)");
        assert_eq!(format!("{:?}", Timestamp::from_nanos(7_000_000_001)), "Timestamp(7 + 1 ns)");
    }
}
