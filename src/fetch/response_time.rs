//! Times in response headers: delta-seconds, HTTP dates and `Retry-After` (RFC 9110 §5.6.7, §10.2.3).

use std::time::{Duration, SystemTime};

use http::header::{DATE, RETRY_AFTER};
use http::{HeaderMap, HeaderValue};

/// Parses `Retry-After`: seconds, or a date, which is compared with the `Date` of the same response (RFC 9110 §10.2.3) and
/// not with the local wall clock.
///
/// Returns zero if the value is malformed, if the date is past, or if it is a date and `Date` is missing.
pub(crate) fn retry_after(headers: &HeaderMap) -> Option<Duration> {
    let field = headers.get(RETRY_AFTER)?;
    let span = || date(field)?.duration_since(date(headers.get(DATE)?)?).ok();
    Some(delta_seconds(field).or_else(span).unwrap_or_default())
}

/// Parses a field of delta-seconds.
pub(crate) fn delta_seconds(field: &HeaderValue) -> Option<Duration> {
    seconds(field.to_str().ok()?.trim())
}

/// Parses an HTTP date in any of the three formats of RFC 9110 §5.6.7.
fn date(field: &HeaderValue) -> Option<SystemTime> {
    httpdate::parse_http_date(field.to_str().ok()?).ok()
}

/// Parses delta-seconds: digits only; a value that overflows becomes the largest one (RFC 9111 §1.2.2).
pub(crate) fn seconds(text: &str) -> Option<Duration> {
    if text.is_empty() || !text.bytes().all(|byte| byte.is_ascii_digit()) {
        return None;
    }
    Some(Duration::from_secs(text.parse().unwrap_or(u64::from(u32::MAX))))
}

#[cfg(test)]
mod tests {
    use http::HeaderName;
    use proptest::prelude::*;

    use super::*;

    fn headers(fields: &[(HeaderName, &str)]) -> HeaderMap {
        fields.iter().map(|(name, value)| (name.clone(), HeaderValue::from_str(value).expect("value"))).collect()
    }

    #[test]
    fn parses_retry_after_in_seconds() {
        for (field, expected) in [("120", 120), (" 7 ", 7), ("0", 0), ("-1", 0), ("1.5", 0), ("soon", 0), ("", 0)] {
            let expected = Some(Duration::from_secs(expected));
            assert_eq!(retry_after(&headers(&[(RETRY_AFTER, field)])), expected, "{field}");
        }
        assert_eq!(retry_after(&HeaderMap::new()), None);
    }

    #[test]
    fn compares_a_retry_after_date_with_the_date_header() {
        let now = "Wed, 21 Oct 2015 07:28:00 GMT";
        for (at, sent, expected) in [
            ("Wed, 21 Oct 2015 07:30:00 GMT", now, 120),
            // The obsolete date formats, in either header.
            ("Wednesday, 21-Oct-15 07:30:00 GMT", now, 120),
            ("Wed Oct 21 07:30:00 2015", now, 120),
            ("Wed, 21 Oct 2015 07:30:00 GMT", "Wed Oct 21 07:28:00 2015", 120),
            ("Fri, 31 Dec 9999 23:59:59 GMT", "Thu, 01 Jan 1970 00:00:00 GMT", 253_402_300_799),
            // A past date, the current date, or no `Date` header.
            ("Wed, 21 Oct 2015 07:27:59 GMT", now, 0),
            (now, now, 0),
            (now, "yesterday", 0),
            (now, "", 0),
            // Not dates: another zone, an invalid day, an invalid year.
            ("Wed, 21 Oct 2015 07:30:00 +0000", now, 0),
            ("Wed, 31 Feb 2015 07:30:00 GMT", now, 0),
            ("Wed, 21 Oct 99999 07:30:00 GMT", now, 0),
            ("2015-10-21T07:30:00Z", now, 0),
            // Seconds need no `Date` header.
            ("60", now, 60),
        ] {
            let fields = headers(&[(RETRY_AFTER, at), (DATE, sent)]);
            assert_eq!(retry_after(&fields), Some(Duration::from_secs(expected)), "{at} after {sent}");
        }
        assert_eq!(retry_after(&headers(&[(RETRY_AFTER, now)])), Some(Duration::ZERO), "no date to compare with");
        assert_eq!(retry_after(&headers(&[(DATE, now)])), None);
    }

    proptest! {
        #[test]
        fn returns_a_retry_after_for_any_value(value in "[ -~]{0,40}", date in "[ -~]{0,40}") {
            let fields = headers(&[(RETRY_AFTER, &value), (DATE, &date)]);
            prop_assert!(retry_after(&fields).is_some());
        }
    }
}
