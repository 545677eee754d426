//! Access to any claim by its name.

use std::fmt;

use serde::de::DeserializeOwned;

use crate::claims::Claims;
use crate::token::{self, Claim, Payload};

impl<C> Claims<C> {
    /// Deserializes one top-level claim by its name, which can have any characters, for example `https://northwind.com/roles`.
    ///
    /// Returns `Ok(None)` if the claim is absent. Each call parses the verified payload. For claims that every request
    /// needs, use [`with_custom_claims`](crate::Validator::with_custom_claims), which deserializes them once.
    ///
    /// ```
    /// # fn roles(claims: &tower_bearer::Claims) -> Result<(), tower_bearer::claims::ClaimTypeError> {
    /// let roles: Option<Vec<String>> = claims.claim("https://northwind.com/roles")?;
    /// # let _ = roles; Ok(()) }
    /// ```
    ///
    /// # Errors
    ///
    /// Returns [`ClaimTypeError`] if the claim is present but cannot be deserialized into `T`.
    pub fn claim<T: DeserializeOwned>(&self, name: &str) -> Result<Option<T>, ClaimTypeError> {
        self.raw_claim(name).map(serde_json::from_str).transpose().map_err(|_| ClaimTypeError(()))
    }

    /// Returns the JSON text of one top-level claim.
    pub(crate) fn raw_claim(&self, name: &str) -> Option<&str> {
        raw(self.payload(), name)
    }

    /// Returns the JSON text of the claim at a path: the name of a top-level claim, then the names of members of objects.
    pub(crate) fn raw_claim_at<'n>(&self, path: impl IntoIterator<Item = &'n str>) -> Option<&str> {
        let mut path = path.into_iter();
        let claim = self.raw_claim(path.next()?)?;
        path.try_fold(claim, token::member)
    }
}

/// The error for a claim that is present but does not have the requested type.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct ClaimTypeError(());

impl fmt::Display for ClaimTypeError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("the claim does not have the requested type")
    }
}

impl std::error::Error for ClaimTypeError {}

/// Returns the JSON text of a claim, registered or not.
pub(super) fn raw<'p>(payload: &'p Payload, name: &str) -> Option<&'p str> {
    match Claim::from_name(name) {
        Some(claim) => payload.raw(claim),
        None => token::member(payload.json(), name),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn claim_accepts_any_name() {
        let claims = Claims::for_tests(
            r#"{"https:\/\/northwind.com\/roles":["clerk"],"a.b c/d\u00e4":{"n":1},"sub":"ann","none":null}"#,
        );
        assert_eq!(claims.claim("https://northwind.com/roles"), Ok(Some(vec!["clerk".to_owned()])));
        assert_eq!(claims.claim::<std::collections::BTreeMap<String, u8>>("a.b c/d\u{e4}").unwrap().unwrap()["n"], 1);
        assert_eq!(claims.claim("sub"), Ok(Some("ann".to_owned())));
        assert_eq!(claims.claim::<String>("https://northwind.com/rol"), Ok(None));
        assert_eq!(claims.claim::<u8>("sub"), Err(ClaimTypeError(())));
        assert_eq!(claims.claim::<String>("none"), Err(ClaimTypeError(())));
    }

    #[test]
    fn finds_a_claim_by_its_path() {
        let claims = Claims::for_tests(r#"{"r\u006fles":["a"],"act":{"sub":"b"},"x.y":{"a.b":{"c":1},"d":2,"d":2}}"#);
        for (path, found) in [
            (&["roles"][..], Some(r#"["a"]"#)),
            (&["act", "sub"], Some(r#""b""#)),
            (&["x.y", "a.b", "c"], Some("1")),
            (&["x", "y", "a.b", "c"], None),
            (&["x.y", "a", "b", "c"], None),
            (&["x.y", "d"], None),
            (&["roles", "a"], None),
            (&["x.y", "a.b", "c", "d"], None),
            (&[], None),
        ] {
            assert_eq!(claims.raw_claim_at(path.iter().copied()), found, "{path:?}");
        }
    }
}
