//! A value that a claim is compared with.

use std::fmt;

use serde_json::Value;

/// A value that a claim is compared with: a string, a whole number, or a truth value.
///
/// Strings compare code point by code point, with case (RFC 7519 §7.3); a string never equals a number.
#[derive(Clone, PartialEq, Eq)]
pub struct ClaimValue(Value);

impl ClaimValue {
    /// Says whether the claim is this value.
    pub(super) fn equals(&self, claim: &Value) -> bool {
        self.0 == *claim
    }

    /// Says whether the claim is an array that holds this value, or a space-delimited string that holds it as a word.
    pub(super) fn is_in(&self, claim: &Value) -> bool {
        match (claim, &self.0) {
            (Value::Array(values), _) => values.contains(&self.0),
            (Value::String(words), Value::String(word)) => {
                !word.is_empty() && words.split(' ').any(|candidate| candidate == word)
            }
            _ => false,
        }
    }
}

impl fmt::Debug for ClaimValue {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

macro_rules! from {
    ($($type:ty),+) => {
        $(impl From<$type> for ClaimValue {
            fn from(value: $type) -> Self {
                Self(Value::from(value))
            }
        })+
    };
}

from!(&str, String, bool, i32, i64, u32, u64);
