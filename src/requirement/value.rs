//! `ClaimValue`: the value with which a requirement compares a claim.

use std::borrow::Cow;
use std::fmt;

use crate::token;

/// The value with which a requirement compares a claim: a string, an integer, or a Boolean.
///
/// Strings are compared code point by code point, case-sensitively (RFC 7519 §7.3). A string never equals a number, and
/// `3.0` is not an integer.
///
/// ```
/// use tower_bearer::requirement::ClaimValue;
///
/// const CLERK: ClaimValue = ClaimValue::text("clerk");
/// assert_eq!(CLERK, ClaimValue::from("clerk"));
/// assert_ne!(ClaimValue::from("3"), ClaimValue::from(3));
/// ```
#[derive(Clone, PartialEq, Eq, Hash)]
pub struct ClaimValue(Kind);

#[derive(Clone, PartialEq, Eq, Hash)]
enum Kind {
    Text(Cow<'static, str>),
    Number(i128),
    Flag(bool),
}

impl ClaimValue {
    /// Creates a string, for constants.
    #[must_use]
    pub const fn text(text: &'static str) -> Self {
        Self(Kind::Text(Cow::Borrowed(text)))
    }

    /// Creates an integer, for constants.
    #[must_use]
    pub const fn number(number: i64) -> Self {
        #[expect(clippy::as_conversions, reason = "`From` is not const, and the conversion is lossless")]
        Self(Kind::Number(number as i128))
    }

    /// Creates a Boolean, for constants.
    #[must_use]
    pub const fn flag(flag: bool) -> Self {
        Self(Kind::Flag(flag))
    }

    /// Returns whether the claim, given as JSON text, equals this value.
    pub(super) fn equals(&self, claim: &str) -> bool {
        match &self.0 {
            Kind::Text(text) => token::unquote(claim).is_some_and(|claim| claim == *text),
            Kind::Number(number) => claim.parse() == Ok(*number),
            Kind::Flag(flag) => claim == if *flag { "true" } else { "false" },
        }
    }

    /// Returns whether the claim is an array that contains this value, or a space-delimited string that contains this word.
    pub(super) fn is_contained_in(&self, claim: &str) -> bool {
        if let Some(words) = token::unquote(claim) {
            return matches!(&self.0, Kind::Text(word) if !word.is_empty() && words.split(' ').any(|other| other == word));
        }
        any_element(claim, |element| self.equals(element)).unwrap_or(false)
    }
}

/// Returns whether an element of a JSON array matches; `None` if the JSON text is no array.
pub(super) fn any_element(json: &str, matches: impl Fn(&str) -> bool) -> Option<bool> {
    let mut is_any = false;
    token::elements(json, &mut |element| is_any |= matches(element))?;
    Some(is_any)
}

impl fmt::Debug for ClaimValue {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.0 {
            Kind::Text(text) => text.fmt(f),
            Kind::Number(number) => number.fmt(f),
            Kind::Flag(flag) => flag.fmt(f),
        }
    }
}

impl From<&str> for ClaimValue {
    fn from(text: &str) -> Self {
        Self::from(text.to_owned())
    }
}

impl From<String> for ClaimValue {
    fn from(text: String) -> Self {
        Self(Kind::Text(Cow::Owned(text)))
    }
}

impl From<bool> for ClaimValue {
    fn from(flag: bool) -> Self {
        Self::flag(flag)
    }
}

macro_rules! from_numbers {
    ($($type:ty),+) => {
        $(impl From<$type> for ClaimValue {
            fn from(number: $type) -> Self {
                Self(Kind::Number(i128::from(number)))
            }
        })+
    };
}

from_numbers!(i32, i64, u32, u64);
