//! A key set's document, taken apart into texts: one per key, and of each key one per member.
//!
//! Nothing is judged here but what two readers could read differently.

use std::borrow::Cow;
use std::fmt;

use serde::Deserializer as _;
use serde::de::{DeserializeSeed, MapAccess, Visitor};
use serde_json::value::RawValue;

use crate::defaults;
use crate::keys::error::KeyError;
use crate::token;

/// A document with keys in it.
pub(super) enum Document<'j> {
    /// The elements of the array `keys` (RFC 7517 §5).
    Set(Vec<&'j RawValue>),
    /// One key by itself.
    Key(&'j str),
}

impl<'j> Document<'j> {
    /// Splits a document at its top level; other members than `keys` are ignored.
    pub(super) fn split(document: &'j [u8]) -> Result<Self, KeyError> {
        let json = str::from_utf8(document).map_err(|_| KeyError::Json)?;
        if is_too_deep(json) {
            return Err(KeyError::TooDeep);
        }
        let whole: &RawValue = serde_json::from_str(json).map_err(|_| KeyError::Json)?;
        if !whole.get().starts_with('{') {
            return Err(KeyError::NotAKeySet);
        }
        let members = Members::of(whole.get()).ok_or(KeyError::Json)?;
        // Each key is vetted alone.
        if members.has_reserved(Some(KEYS)) {
            return Err(KeyError::ReservedMember);
        }
        match members.only(KEYS) {
            Err(Twice) => Err(KeyError::DuplicateKeys),
            Ok(None) if members.has("kty") => Ok(Self::Key(whole.get())),
            Ok(None) => Err(KeyError::NotAKeySet),
            Ok(Some(keys)) => serde_json::from_str(keys).map(Self::Set).map_err(|_| KeyError::NotAKeySet),
        }
    }
}

/// The members of one JSON object, their names unescaped and their values left as text.
pub(super) struct Members<'j> {
    /// Sorted by name.
    members: Vec<(Cow<'j, str>, &'j str)>,
}

/// The member stands more than once.
#[derive(Debug)]
pub(super) struct Twice;

impl<'j> Members<'j> {
    /// Reads one object; `None` for anything else.
    pub(super) fn of(json: &'j str) -> Option<Self> {
        let mut deserializer = serde_json::Deserializer::from_str(json);
        let mut members = deserializer.deserialize_map(Object).ok()?;
        deserializer.end().ok()?;
        members.sort_by(|(one, _), (other, _)| one.cmp(other));
        Some(Self { members })
    }

    /// Says whether any two members have the same name (RFC 7517 §4).
    pub(super) fn has_duplicate(&self) -> bool {
        self.members.windows(2).any(|pair| matches!(pair, [(one, _), (other, _)] if one == other))
    }

    /// The JSON text of a member.
    pub(super) fn only(&self, name: &str) -> Result<Option<&'j str>, Twice> {
        let start = self.members.partition_point(|(member, _)| **member < *name);
        let mut same = self.members.iter().skip(start).take_while(|(member, _)| member == name);
        let first = same.next();
        if same.next().is_some() { Err(Twice) } else { Ok(first.map(|(_, value)| *value)) }
    }

    /// The members and their JSON texts, in the order of their names.
    pub(super) fn iter(&self) -> impl Iterator<Item = (&str, &'j str)> + Clone {
        self.members.iter().map(|(name, value)| (&**name, *value))
    }

    /// Returns whether a member at any depth has a name that serde_json reserves. The value of the member `except` is not
    /// looked at.
    pub(super) fn has_reserved(&self, except: Option<&str>) -> bool {
        let is_reserved = |(name, value): &(Cow<'j, str>, &str)| {
            token::is_reserved(name) || (except != Some(&**name) && token::has_reserved_member(value))
        };
        self.members.iter().any(is_reserved)
    }

    pub(super) fn has(&self, name: &str) -> bool {
        self.members.binary_search_by(|(member, _)| (**member).cmp(name)).is_ok()
    }
}

/// Visits an object's members.
struct Object;

impl<'j> Visitor<'j> for Object {
    type Value = Vec<(Cow<'j, str>, &'j str)>;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("an object")
    }

    fn visit_map<A: MapAccess<'j>>(self, mut map: A) -> Result<Self::Value, A::Error> {
        let mut members = Vec::new();
        while let Some(name) = map.next_key_seed(Name)? {
            let value: &'j RawValue = map.next_value()?;
            members.push((name, value.get()));
        }
        Ok(members)
    }
}

/// A member name with its escapes resolved, borrowed where it has none.
struct Name;

impl<'j> DeserializeSeed<'j> for Name {
    type Value = Cow<'j, str>;

    fn deserialize<D: serde::Deserializer<'j>>(self, deserializer: D) -> Result<Cow<'j, str>, D::Error> {
        deserializer.deserialize_str(self)
    }
}

impl<'j> Visitor<'j> for Name {
    type Value = Cow<'j, str>;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a member name")
    }

    fn visit_borrowed_str<E>(self, name: &'j str) -> Result<Cow<'j, str>, E> {
        Ok(Cow::Borrowed(name))
    }

    fn visit_str<E>(self, name: &str) -> Result<Cow<'j, str>, E> {
        Ok(Cow::Owned(name.to_owned()))
    }
}

/// Says whether arrays and objects nest deeper than allowed; exact for JSON, and for anything else no matter.
fn is_too_deep(json: &str) -> bool {
    let (mut depth, mut in_string, mut escaped) = (0_usize, false, false);
    for octet in json.bytes() {
        match octet {
            _ if escaped => escaped = false,
            b'\\' if in_string => escaped = true,
            b'"' => in_string = !in_string,
            b'{' | b'[' if !in_string => {
                depth = depth.saturating_add(1);
                if depth > defaults::MAX_JWKS_DEPTH {
                    return true;
                }
            }
            b'}' | b']' if !in_string => depth = depth.saturating_sub(1),
            _ => {}
        }
    }
    false
}

const KEYS: &str = "keys";

#[cfg(test)]
mod tests {
    use super::*;

    fn refused(document: &[u8]) -> KeyError {
        Document::split(document).map(drop).expect_err("refused")
    }

    fn elements(document: &str) -> Vec<&str> {
        match Document::split(document.as_bytes()).expect(document) {
            Document::Set(keys) => keys.into_iter().map(RawValue::get).collect(),
            Document::Key(json) => panic!("not a set: {json}"),
        }
    }

    #[test]
    fn finds_the_elements_and_ignores_other_members() {
        assert_eq!(elements(r#" {"x":{"keys":1},"keys":[ {"a": 1} ,null,5],"x":2} "#), [r#"{"a": 1}"#, "null", "5"]);
        assert_eq!(elements(r#"{"\u006beys":[]}"#), [""; 0]);
        assert!(matches!(Document::split(br#" {"kty":"RSA"} "#), Ok(Document::Key(r#"{"kty":"RSA"}"#))));
    }

    #[test]
    fn refuses_what_is_not_one_json_document() {
        for document in [
            &b""[..],
            b" ",
            b"<html>",
            br#"{"keys":["#,
            br#"{"keys":[]} x"#,
            br#"{"keys":[]}{}"#,
            br#"{"keys":[],}"#,
            br#"{"keys":[]}\0"#,
            b"\xef\xbb\xbf{\"keys\":[]}",
            b"{\"keys\":[],\"x\":\"\xff\"}",
            br#"{"\ud800":1,"keys":[]}"#,
        ] {
            assert_eq!(refused(document), KeyError::Json, "{document:?}");
        }
    }

    #[test]
    fn refuses_what_is_not_a_set() {
        for document in [
            "[]",
            "{}",
            "null",
            "5",
            r#""keys""#,
            r#"{"issuer":"x","jwks_uri":"y"}"#,
            r#"{"keys":{}}"#,
            r#"{"keys":null}"#,
            r#"{"keys":"[]"}"#,
        ] {
            assert_eq!(refused(document.as_bytes()), KeyError::NotAKeySet, "{document}");
        }
    }

    #[test]
    fn refuses_two_sets_in_one_document() {
        for document in [r#"{"keys":[],"keys":[]}"#, r#"{"keys":[],"a":1,"\u006beys":[]}"#, r#"{"keys":1,"keys":1}"#] {
            assert_eq!(refused(document.as_bytes()), KeyError::DuplicateKeys, "{document}");
        }
    }

    #[test]
    fn refuses_reserved_names_outside_of_the_keys() {
        for document in [
            r#"{"keys":[],"$serde_json::private::RawValue":"1"}"#,
            r#"{"keys":[],"x":[{"\u0024serde_json::private::Number":"1"}]}"#,
            r#"{"kty":"RSA","":{"$serde_json::private::RawValue":"1"}}"#,
        ] {
            assert_eq!(refused(document.as_bytes()), KeyError::ReservedMember, "{document}");
        }
        assert_eq!(elements(r#"{"keys":[],"x":"$serde_json::private::RawValue"}"#), [""; 0]);
        // Such a key is skipped, and costs no other.
        assert_eq!(elements(r#"{"keys":[{"$serde_json::private::RawValue":"1"},2]}"#).len(), 2);
    }

    #[test]
    fn bounds_the_depth() {
        let nested = |levels: usize| format!("{{\"keys\":[],\"x\":{}{}}}", "[".repeat(levels), "]".repeat(levels));
        assert_eq!(elements(&nested(15)), [""; 0]);
        assert_eq!(refused(nested(16).as_bytes()), KeyError::TooDeep);
        assert_eq!(refused(nested(100_000).as_bytes()), KeyError::TooDeep);
        let brackets_in_text = format!("{{\"keys\":[],\"x\":\"{}\\\"{}\"}}", "[".repeat(100), "{".repeat(100));
        assert_eq!(elements(&brackets_in_text), [""; 0]);
    }

    #[test]
    fn finds_members_by_name_after_unescaping() {
        let members = Members::of(r#"{"b":2,"\u0061":[1],"c":3,"c":4}"#).expect("an object");
        assert!(matches!(members.only("a"), Ok(Some("[1]"))));
        assert!(matches!(members.only("x"), Ok(None)));
        assert!(members.only("c").is_err());
        assert!(members.has("b") && members.has("c") && !members.has("d"));
        assert!(members.has_duplicate());
        assert!(!Members::of(r#"{"a":{"a":1},"b":1}"#).expect("an object").has_duplicate());
        for other in ["[]", "{} {}", "", r#"{"a":1"#] {
            assert!(Members::of(other).is_none(), "{other}");
        }
    }
}
