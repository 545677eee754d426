//! Claims that hold several values: audience, scopes, permissions, methods of authentication.

use std::fmt;
use std::ops::ControlFlow;

use crate::claims::string_or_array;
use crate::token::{Claim, Member, Payload};

/// The `aud` of a token: a string, or an array of strings (RFC 7519 §4.1.3).
#[derive(Clone, Copy)]
pub struct Audience<'c> {
    raw: Option<&'c str>,
}

/// The scopes that a token grants: space-delimited in `scope` (RFC 8693 §4.2), or an array of strings.
///
/// Where there is no `scope`, `scp` stands in for it (Okta, Entra). A value of another type grants nothing. Names are
/// compared whole and with case (RFC 6749 §3.3).
#[derive(Clone, Copy)]
pub struct Scopes<'c> {
    raw: Option<&'c str>,
}

/// The permissions that a token grants: the array of strings that Auth0 writes into `permissions` when role-based
/// access control is on for the API. A value of another type grants nothing.
#[derive(Clone, Copy)]
pub struct Permissions<'c> {
    raw: Option<&'c str>,
}

/// The methods by which the user authenticated: the array of strings in `amr` (RFC 8176 §1). A value of another type
/// names none.
#[derive(Clone, Copy)]
pub struct AuthenticationMethods<'c> {
    raw: Option<&'c str>,
}

impl<'c> Audience<'c> {
    pub(crate) fn of(payload: &'c Payload) -> Self {
        Self { raw: payload.raw(Claim::Aud) }
    }

    /// Says whether one of `ours` is among them, where `aud` has its type: one bad element spoils the whole, and so does
    /// having none.
    pub(super) fn names_any(payload: &'c Payload, ours: &[Box<str>]) -> Member<bool> {
        let Some(raw) = payload.raw(Claim::Aud) else { return Member::Absent };
        let (mut empty, mut named) = (true, false);
        let well_formed = string_or_array::for_each(raw, &mut |text| {
            empty = false;
            named = ours.iter().any(|ours| **ours == *text);
            if named { ControlFlow::Break(()) } else { ControlFlow::Continue(()) }
        });
        if well_formed.is_none() || empty { Member::Malformed } else { Member::Is(named) }
    }

    /// Says whether `audience` is among them, code point by code point.
    #[must_use]
    pub fn contains(&self, audience: &str) -> bool {
        any(self.raw, |text| text == audience)
    }

    /// The audiences in the token's order.
    pub fn iter(&self) -> impl Iterator<Item = Box<str>> + use<> {
        self.raw.and_then(string_or_array::collect).unwrap_or_default().into_iter()
    }
}

impl<'c> Scopes<'c> {
    pub(crate) fn of(payload: &'c Payload) -> Self {
        Self { raw: payload.raw(Claim::Scope).or_else(|| payload.raw(Claim::Scp)) }
    }

    /// Says whether the scope `name` is granted.
    #[must_use]
    pub fn contains(&self, name: &str) -> bool {
        !name.is_empty() && any(self.raw, |text| self.words(text).any(|scope| scope == name))
    }

    /// The scopes in the token's order.
    pub fn iter(&self) -> impl Iterator<Item = Box<str>> + use<> {
        let all = self.raw.and_then(string_or_array::collect).unwrap_or_default();
        let scopes = all.iter().flat_map(|text| self.words(text)).filter(|scope| !scope.is_empty());
        scopes.map(Box::from).collect::<Vec<Box<str>>>().into_iter()
    }

    /// The scopes in one string: words where it is the whole claim, itself where it stands in an array.
    fn words<'t>(&self, text: &'t str) -> impl Iterator<Item = &'t str> {
        let limit = if self.raw.is_some_and(|raw| raw.starts_with('[')) { 1 } else { usize::MAX };
        text.splitn(limit, ' ')
    }

    /// Says whether no scope at all is granted.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.iter().next().is_none()
    }
}

impl<'c> Permissions<'c> {
    pub(crate) fn of(payload: &'c Payload) -> Self {
        Self { raw: payload.raw(Claim::Permissions).filter(|raw| raw.starts_with('[')) }
    }

    /// Says whether the permission `name` is granted.
    #[must_use]
    pub fn contains(&self, name: &str) -> bool {
        !name.is_empty() && any(self.raw, |text| text == name)
    }

    /// The permissions in the token's order.
    pub fn iter(&self) -> impl Iterator<Item = Box<str>> + use<> {
        self.raw.and_then(string_or_array::collect).unwrap_or_default().into_iter()
    }

    /// Says whether no permission at all is granted.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.iter().next().is_none()
    }
}

impl<'c> AuthenticationMethods<'c> {
    pub(crate) fn of(payload: &'c Payload) -> Self {
        Self { raw: payload.raw(Claim::Amr).filter(|raw| raw.starts_with('[')) }
    }

    /// Says whether the method `name` was used.
    #[must_use]
    pub fn contains(&self, name: &str) -> bool {
        !name.is_empty() && any(self.raw, |text| text == name)
    }

    /// The methods in the token's order.
    pub fn iter(&self) -> impl Iterator<Item = Box<str>> + use<> {
        self.raw.and_then(string_or_array::collect).unwrap_or_default().into_iter()
    }

    /// Says whether no method at all is named.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.iter().next().is_none()
    }
}

/// Says whether one of the strings fulfils `holds`; a malformed value has none.
fn any(raw: Option<&str>, holds: impl Fn(&str) -> bool) -> bool {
    let Some(raw) = raw else { return false };
    let mut found = false;
    let well_formed = string_or_array::for_each(raw, &mut |text| {
        found = holds(text);
        if found { ControlFlow::Break(()) } else { ControlFlow::Continue(()) }
    });
    found && well_formed.is_some()
}

macro_rules! debug_as_list {
    ($($name:ident),+) => {
        $(impl fmt::Debug for $name<'_> {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.debug_list().entries(self.iter()).finish()
            }
        })+
    };
}

debug_as_list!(Audience, Scopes, Permissions, AuthenticationMethods);

#[cfg(test)]
mod tests {
    use super::*;

    fn scopes(raw: &str) -> Scopes<'_> {
        Scopes { raw: Some(raw) }
    }

    #[test]
    fn scopes_are_whole_words_with_case() {
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
    fn permissions_are_an_array_only() {
        assert!(Permissions { raw: Some(r#"["read:orders"]"#) }.contains("read:orders"));
        let payload = |json: &str| Payload::for_tests(json);
        let text = payload(r#"{"permissions":"read:orders"}"#);
        assert!(!Permissions::of(&text).contains("read:orders"));
        assert!(Permissions::of(&text).is_empty());
    }

    #[test]
    fn scp_counts_only_where_scope_is_absent() {
        let payload = Payload::for_tests(r#"{"scp":["a"],"scope":"b"}"#);
        assert!(Scopes::of(&payload).contains("b") && !Scopes::of(&payload).contains("a"));
        let payload = Payload::for_tests(r#"{"scp":["a"]}"#);
        assert!(Scopes::of(&payload).contains("a"));
    }

    #[test]
    fn audiences_compare_exactly() {
        let audience = Audience { raw: Some(r#"["https://a.example/","b"]"#) };
        assert!(audience.contains("https://a.example/") && audience.contains("b"));
        assert!(!audience.contains("https://a.example") && !audience.contains("B"));
    }
}
