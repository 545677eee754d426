//! Claims with several values: audiences, scopes, permissions, authentication methods.

use std::borrow::Cow;
use std::fmt;
use std::iter::FusedIterator;
use std::ops::ControlFlow;
use std::vec;

use crate::claims::string_or_array;
use crate::token::{Claim, Member, Payload};

/// The audiences of a token, `aud`: a string, or an array of strings (RFC 7519 §4.1.3).
#[derive(Clone, Copy)]
pub struct Audience<'c> {
    raw: Option<&'c str>,
}

/// The scopes that a token grants: a space-delimited string in `scope` (RFC 8693 §4.2), or an array of strings.
///
/// `scp` is used if there is no `scope` (Okta, Entra). A value of another type grants no scope. Scope names are compared as a
/// whole and case-sensitively (RFC 6749 §3.3).
#[derive(Clone, Copy)]
pub struct Scopes<'c> {
    raw: Option<&'c str>,
}

/// The permissions that a token grants: the array of strings in `permissions`, which Auth0 adds if role-based access
/// control is enabled for the API. A value of another type grants no permission.
#[derive(Clone, Copy)]
pub struct Permissions<'c> {
    raw: Option<&'c str>,
}

/// The methods by which the user authenticated: the array of strings in `amr` (RFC 8176 §1). A value of another type
/// contains no method.
#[derive(Clone, Copy)]
pub struct AuthenticationMethods<'c> {
    raw: Option<&'c str>,
}

impl<'c> Audience<'c> {
    pub(crate) fn new(payload: &'c Payload) -> Self {
        Self { raw: payload.raw(Claim::Aud) }
    }

    /// Returns whether `aud` contains one of `accepted`. An empty array is malformed, and so is an array with an element of
    /// another type.
    pub(crate) fn contains_any(payload: &'c Payload, accepted: &[Box<str>]) -> Member<bool> {
        let Some(raw) = payload.raw(Claim::Aud) else { return Member::Absent };
        let (mut empty, mut found) = (true, false);
        let well_formed = string_or_array::for_each(raw, &mut |text| {
            empty = false;
            found = accepted.iter().any(|audience| **audience == *text);
            if found { ControlFlow::Break(()) } else { ControlFlow::Continue(()) }
        });
        if well_formed.is_none() || empty { Member::Malformed } else { Member::Is(found) }
    }

    /// Returns whether `audience` is one of the audiences, compared character by character.
    #[must_use]
    pub fn contains(&self, audience: &str) -> bool {
        any(self.raw, |text| text == audience)
    }

    /// Returns whether the token has no audience. Only an API with [`with_client_ids`](crate::Api::with_client_ids) or
    /// [`dangerous_allow_missing_audience`](crate::Api::dangerous_allow_missing_audience) accepts such a token.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.iter().next().is_none()
    }

    /// Returns the audiences in the order of the token.
    #[must_use]
    pub fn iter(&self) -> ClaimStrings<'c> {
        ClaimStrings::new(self.raw)
    }
}

impl<'c> Scopes<'c> {
    pub(crate) fn new(payload: &'c Payload) -> Self {
        Self { raw: payload.raw(Claim::Scope).or_else(|| payload.raw(Claim::Scp)) }
    }

    /// Returns whether the token contains the scope `name`. Scopes that others [imply](crate::Api::with_implied_scopes) are not
    /// included; see [`Claims::grants_scope`](crate::Claims::grants_scope).
    #[must_use]
    pub fn contains(&self, name: &str) -> bool {
        self.contains_any(name, &[])
    }

    /// Returns whether the token contains the scope `name` or one of `others`.
    pub(super) fn contains_any(&self, name: &str, others: &[Box<str>]) -> bool {
        let is_wanted = |scope: &str| scope == name || others.iter().any(|other| **other == *scope);
        !name.is_empty() && any(self.raw, |text| self.words(text).any(is_wanted))
    }

    /// Returns the scopes in the order of the token.
    #[must_use]
    pub fn iter(&self) -> ClaimStrings<'c> {
        let is_array = self.raw.is_some_and(|raw| raw.starts_with('['));
        let all = ClaimStrings::new(self.raw);
        let mut scopes: Vec<_> = if is_array { all.collect() } else { all.flat_map(split_words).collect() };
        scopes.retain(|scope| !scope.is_empty());
        ClaimStrings(scopes.into_iter())
    }

    /// Splits a string into scopes at its spaces. A string inside an array is one scope.
    fn words<'t>(&self, text: &'t str) -> impl Iterator<Item = &'t str> {
        let limit = if self.raw.is_some_and(|raw| raw.starts_with('[')) { 1 } else { usize::MAX };
        text.splitn(limit, ' ')
    }

    /// Returns whether no scope is granted.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.iter().next().is_none()
    }
}

impl<'c> Permissions<'c> {
    pub(crate) fn new(payload: &'c Payload) -> Self {
        Self { raw: payload.raw(Claim::Permissions).filter(|raw| raw.starts_with('[')) }
    }

    /// Returns whether the permission `name` is granted.
    #[must_use]
    pub fn contains(&self, name: &str) -> bool {
        !name.is_empty() && any(self.raw, |text| text == name)
    }

    /// Returns the permissions in the order of the token.
    #[must_use]
    pub fn iter(&self) -> ClaimStrings<'c> {
        ClaimStrings::new(self.raw)
    }

    /// Returns whether no permission is granted.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.iter().next().is_none()
    }
}

impl<'c> AuthenticationMethods<'c> {
    pub(crate) fn new(payload: &'c Payload) -> Self {
        Self { raw: payload.raw(Claim::Amr).filter(|raw| raw.starts_with('[')) }
    }

    /// Returns whether the method `name` was used.
    #[must_use]
    pub fn contains(&self, name: &str) -> bool {
        !name.is_empty() && any(self.raw, |text| text == name)
    }

    /// Returns the methods in the order of the token.
    #[must_use]
    pub fn iter(&self) -> ClaimStrings<'c> {
        ClaimStrings::new(self.raw)
    }

    /// Returns whether the token contains no method.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.iter().next().is_none()
    }
}

/// The strings of a claim, in the order of the token. A string without escapes is borrowed from the token's payload.
#[derive(Clone, Debug)]
pub struct ClaimStrings<'c>(vec::IntoIter<Cow<'c, str>>);

impl<'c> ClaimStrings<'c> {
    /// Reads a JSON string or array of strings; a value of another type has no strings.
    fn new(raw: Option<&'c str>) -> Self {
        Self(raw.and_then(string_or_array::collect).unwrap_or_default().into_iter())
    }
}

impl<'c> Iterator for ClaimStrings<'c> {
    type Item = Cow<'c, str>;

    fn next(&mut self) -> Option<Self::Item> {
        self.0.next()
    }

    fn size_hint(&self) -> (usize, Option<usize>) {
        self.0.size_hint()
    }
}

impl DoubleEndedIterator for ClaimStrings<'_> {
    fn next_back(&mut self) -> Option<Self::Item> {
        self.0.next_back()
    }
}

impl ExactSizeIterator for ClaimStrings<'_> {}

impl FusedIterator for ClaimStrings<'_> {}

/// Returns whether one of the strings satisfies `matches`; `false` for a malformed value.
fn any(raw: Option<&str>, matches: impl Fn(&str) -> bool) -> bool {
    let Some(raw) = raw else { return false };
    let mut found = false;
    let well_formed = string_or_array::for_each(raw, &mut |text| {
        found = matches(&text);
        if found { ControlFlow::Break(()) } else { ControlFlow::Continue(()) }
    });
    found && well_formed.is_some()
}

/// Splits a string at its spaces.
fn split_words(text: Cow<'_, str>) -> Vec<Cow<'_, str>> {
    match text {
        Cow::Borrowed(text) => text.split(' ').map(Cow::Borrowed).collect(),
        Cow::Owned(text) => text.split(' ').map(|word| Cow::Owned(word.to_owned())).collect(),
    }
}

/// Writes the scopes separated by spaces, as in `scope` (RFC 6749 §3.3).
impl fmt::Display for Scopes<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (at, scope) in self.iter().enumerate() {
            if at > 0 {
                f.write_str(" ")?;
            }
            f.write_str(&scope)?;
        }
        Ok(())
    }
}

/// Implements what the claims of this module have in common. Two values are equal if they have the same strings in the same
/// order, whatever their JSON.
macro_rules! list_of_strings {
    ($($name:ident),+) => {
        $(impl<'c> IntoIterator for $name<'c> {
            type Item = Cow<'c, str>;
            type IntoIter = ClaimStrings<'c>;

            fn into_iter(self) -> ClaimStrings<'c> {
                self.iter()
            }
        }

        impl<'c> IntoIterator for &$name<'c> {
            type Item = Cow<'c, str>;
            type IntoIter = ClaimStrings<'c>;

            fn into_iter(self) -> ClaimStrings<'c> {
                self.iter()
            }
        }

        impl PartialEq for $name<'_> {
            fn eq(&self, other: &Self) -> bool {
                self.iter().eq(other.iter())
            }
        }

        impl Eq for $name<'_> {}

        impl fmt::Debug for $name<'_> {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.debug_list().entries(self.iter()).finish()
            }
        })+
    };
}

list_of_strings!(Audience, Scopes, Permissions, AuthenticationMethods);

#[cfg(test)]
mod tests {
    use super::*;

    fn scopes(raw: &str) -> Scopes<'_> {
        Scopes { raw: Some(raw) }
    }

    #[test]
    fn scopes_are_compared_whole_and_with_case() {
        for raw in [r#""read write""#, r#""write  read""#, r#"["read","write"]"#, r#""re\u0061d""#] {
            assert!(scopes(raw).contains("read"), "{raw}");
        }
        for raw in [
            r#""reader""#,
            r#""Read""#,
            r#""read,write""#,
            r#""read\twrite""#,
            r#"["a read"]"#,
            r#"["read",1]"#,
            "1",
            "null",
            r#"{"read":true}"#,
            r#""""#,
        ] {
            assert!(!scopes(raw).contains("read"), "{raw}");
        }
        assert!(!scopes(r#""a  b""#).contains(""));
        assert!(scopes(r#""  ""#).is_empty());
        assert_eq!(format!("{:?}", scopes(r#""a  b""#)), r#"["a", "b"]"#);
    }

    #[test]
    fn permissions_accept_only_an_array() {
        assert!(Permissions { raw: Some(r#"["read:orders"]"#) }.contains("read:orders"));
        let payload = |json: &str| Payload::for_tests(json);
        let text = payload(r#"{"permissions":"read:orders"}"#);
        assert!(!Permissions::new(&text).contains("read:orders"));
        assert!(Permissions::new(&text).is_empty());
    }

    #[test]
    fn scp_is_used_only_without_scope() {
        let payload = Payload::for_tests(r#"{"scp":["a"],"scope":"b"}"#);
        assert!(Scopes::new(&payload).contains("b") && !Scopes::new(&payload).contains("a"));
        let payload = Payload::for_tests(r#"{"scp":["a"]}"#);
        assert!(Scopes::new(&payload).contains("a"));
    }

    #[test]
    fn audiences_are_compared_exactly() {
        let audience = Audience { raw: Some(r#"["https://a.example/","b"]"#) };
        assert!(audience.contains("https://a.example/") && audience.contains("b"));
        assert!(!audience.contains("https://a.example") && !audience.contains("B"));
    }

    #[test]
    fn yields_borrowed_strings_in_the_order_of_the_token() {
        let scopes = scopes(r#""read write""#);
        assert!(scopes.iter().all(|scope| matches!(scope, Cow::Borrowed(_))));
        let escaped: Vec<_> = Scopes { raw: Some(r#""re\u0061d write""#) }.into_iter().collect();
        assert_eq!(escaped, ["read", "write"]);
        assert_eq!(scopes.iter().rev().collect::<Vec<_>>(), ["write", "read"]);
        assert_eq!((scopes.iter().len(), Permissions { raw: Some("[1]") }.iter().len()), (2, 0));
        let mut seen = Vec::new();
        for audience in &(Audience { raw: Some(r#"["b","a"]"#) }) {
            seen.push(audience);
        }
        assert_eq!(seen, ["b", "a"]);
    }

    #[test]
    fn compares_strings_and_not_their_json() {
        assert_eq!(scopes(r#""read  write""#), scopes(r#"["read","write"]"#));
        assert_ne!(scopes(r#""read write""#), scopes(r#""write read""#));
        assert_ne!(scopes(r#""a b""#), scopes(r#"["a b"]"#));
        assert_eq!(Audience { raw: Some(r#""a""#) }, Audience { raw: Some(r#"["\u0061"]"#) });
    }

    #[test]
    fn displays_scopes_separated_by_spaces() {
        assert_eq!(scopes(r#"["read","write"]"#).to_string(), "read write");
        assert_eq!(scopes(r#""read  write ""#).to_string(), "read write");
        assert_eq!(scopes("1").to_string(), "");
    }

    #[test]
    fn audience_is_empty_without_aud_only() {
        assert!(Audience { raw: None }.is_empty());
        assert!(!Audience { raw: Some(r#""a""#) }.is_empty());
    }
}
