//! NumericDate: seconds since 1970 as a JSON number (RFC 7519 §2), parsed exactly.

use crate::clock::Timestamp;
use crate::token::{Claim, Member, Payload};

/// Returns a claim that must be a NumericDate.
pub(crate) fn date(payload: &Payload, claim: Claim) -> Member<Timestamp> {
    match payload.raw(claim) {
        None => Member::Absent,
        Some(raw) => numeric_date(raw).map_or(Member::Malformed, Member::Is),
    }
}

/// Returns whether a JSON value is a number.
pub(super) fn is_number(raw: &str) -> bool {
    raw.starts_with(|first: char| first == '-' || first.is_ascii_digit())
}

/// Parses the text of a JSON number as a point in time, rounded up to the next nanosecond.
///
/// It parses the text and not an `f64`, so that nothing saturates, wraps or rounds. Rounding up keeps every comparison
/// exact: `now` has whole nanoseconds, so `now < date` if and only if `now < ⌈date⌉`, and `date <= now` if and only if
/// `⌈date⌉ <= now`. Returns `None` for any other JSON value, and for numbers that are not a date before the year 10,000.
pub(crate) fn numeric_date(raw: &str) -> Option<Timestamp> {
    // Fast path: nearly every issuer writes whole seconds.
    if let Some(date) = plain_digits(raw).map(Timestamp::from_secs) {
        return (date <= Timestamp::MAX_NUMERIC_DATE).then_some(date);
    }
    let (negative, unsigned) = match raw.strip_prefix('-') {
        Some(rest) => (true, rest),
        None => (false, raw),
    };
    if !unsigned.starts_with(|first: char| first.is_ascii_digit()) {
        return None;
    }
    let (mantissa, exponent) = match unsigned.split_once(['e', 'E']) {
        Some((mantissa, exponent)) => (mantissa, read_exponent(exponent)?),
        None => (unsigned, 0),
    };
    let (whole, fraction) = mantissa.split_once('.').unwrap_or((mantissa, ""));
    let fraction_digits = i64::try_from(fraction.len()).ok()?;
    // value = digits × 10^(exponent - fraction digits) seconds; nine more decimal places make it nanoseconds.
    let shift = exponent.checked_sub(fraction_digits)?.checked_add(9)?;
    let nanos = scale(whole.bytes().chain(fraction.bytes()), shift, negative)?;
    let date = Timestamp::from_nanos(nanos);
    (date <= Timestamp::MAX_NUMERIC_DATE).then_some(date)
}

/// Parses whole seconds; `None` if the text is not 1 to 12 digits.
fn plain_digits(raw: &str) -> Option<i64> {
    if raw.is_empty() || raw.len() > PLAIN_DIGITS {
        return None;
    }
    raw.bytes().try_fold(0_i64, |value, digit| {
        let digit = digit.is_ascii_digit().then(|| i64::from(digit & 0xf))?;
        Some(value.wrapping_mul(10).wrapping_add(digit))
    })
}

/// Parses an exponent of at most 18 digits. A longer one is beyond any date, or the value is zero, which no issuer writes.
fn read_exponent(text: &str) -> Option<i64> {
    let digits = text.trim_start_matches(['+', '-']);
    if digits.len() > 18 {
        return None;
    }
    text.parse().ok()
}

/// Returns digits × 10^shift, rounded up; `None` beyond 29 digits.
fn scale(digits: impl Iterator<Item = u8> + Clone, shift: i64, negative: bool) -> Option<i128> {
    let significant = digits.skip_while(|digit| *digit == b'0');
    let count = i64::try_from(significant.clone().count()).ok()?;
    if count == 0 {
        return Some(0);
    }
    let integer_digits = count.checked_add(shift)?;
    if integer_digits > MAX_DIGITS {
        return None;
    }
    let mut value: i128 = 0;
    let mut has_rest = false;
    for (at, digit) in (0_i64..).zip(significant) {
        let digit = i128::from(digit.checked_sub(b'0')?);
        if at < integer_digits {
            value = value.checked_mul(10)?.checked_add(digit)?;
        } else {
            has_rest |= digit != 0;
        }
    }
    for _ in count..integer_digits {
        value = value.checked_mul(10)?;
    }
    match (negative, has_rest) {
        (true, _) => value.checked_neg(),
        (false, true) => value.checked_add(1),
        (false, false) => Some(value),
    }
}

/// More digits than the seconds of any date have, and few enough for an `i64`.
const PLAIN_DIGITS: usize = 12;

/// Enough for ten times the age of the universe in nanoseconds, and few enough for an `i128`.
const MAX_DIGITS: i64 = 29;

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn nanos(raw: &str) -> Option<i128> {
        numeric_date(raw).map(Timestamp::as_nanos)
    }

    #[test]
    fn parses_numbers_exactly() {
        for (raw, expected) in [
            ("0", 0),
            ("-0", 0),
            ("-0.0", 0),
            ("0e99", 0),
            ("1800000600", 1_800_000_600_000_000_000),
            ("1.8000006e9", 1_800_000_600_000_000_000),
            ("18000006E+2", 1_800_000_600_000_000_000),
            ("1800000600.0", 1_800_000_600_000_000_000),
            ("1800000600.123456789", 1_800_000_600_123_456_789),
            ("9007199254.740993", 9_007_199_254_740_993_000),
            ("180000060000e-2", 1_800_000_600_000_000_000),
            ("-1", -1_000_000_000),
            ("-1.5", -1_500_000_000),
            ("253402300799", 253_402_300_799_000_000_000),
        ] {
            assert_eq!(nanos(raw), Some(expected), "{raw}");
        }
    }

    #[test]
    fn rounds_up_below_a_nanosecond() {
        assert_eq!(nanos("1.0000000001"), Some(1_000_000_001));
        assert_eq!(nanos("1.0000000000"), Some(1_000_000_000));
        assert_eq!(nanos("1e-30"), Some(1));
        assert_eq!(nanos("-1.0000000001"), Some(-1_000_000_000));
        assert_eq!(nanos("-1e-30"), Some(0));
    }

    #[test]
    fn rejects_values_that_are_not_a_date() {
        for raw in [
            "253402300799.1",
            "253402300800",
            "18446744073709551615",
            "9223372036854775807",
            "1e308",
            "1e400",
            "1e999999999999999999",
            "1e9999999999999999999999",
            "-1e400",
            "\"1800000600\"",
            "null",
            "true",
            "[1]",
            "{}",
        ] {
            assert_eq!(nanos(raw), None, "{raw}");
        }
    }

    proptest! {
        #[test]
        fn agrees_with_integer_parsing(seconds in -1_000_000_000_000_i64..253_402_300_799) {
            prop_assert_eq!(numeric_date(&seconds.to_string()), Some(Timestamp::from_secs(seconds)));
        }

        #[test]
        fn never_panics_on_any_number(raw in "-?(0|[1-9][0-9]{0,40})(\\.[0-9]{1,40})?([eE][+-]?[0-9]{1,25})?") {
            let _ = numeric_date(&raw);
        }
    }
}
