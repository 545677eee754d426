//! Splits the JSON document of a key set into one text per key, and the text of a key into one text per member.
//!
//! The only checks here are for constructs that two parsers could interpret differently.

use std::borrow::Cow;
use std::fmt;

use serde::Deserializer as _;
use serde::de::{DeserializeSeed, MapAccess, Visitor};
use serde_json::value::RawValue;

use crate::defaults;
use crate::keys::error::KeyError;
use crate::token;

/// A parsed document with keys.
pub(super) enum Document<'j> {
    /// The elements of the array `keys` (RFC 7517 §5).
    Set(Vec<&'j RawValue>),
    /// A single key.
    Key(&'j str),
}

impl<'j> Document<'j> {
    /// Splits a document at its top level. Members other than `keys` are ignored, and so is a byte order mark.
    pub(super) fn split(document: &'j [u8]) -> Result<Self, KeyError> {
        let json = str::from_utf8(without_byte_order_mark(document)).map_err(|_| KeyError::Json)?;
        if is_too_deep(json) {
            return Err(KeyError::TooDeep);
        }
        let whole: &RawValue = serde_json::from_str(json).map_err(|_| KeyError::Json)?;
        if !whole.get().starts_with('{') {
            return Err(KeyError::NotAKeySet);
        }
        let members = Members::parse(whole.get()).ok_or(KeyError::Json)?;
        // Reserved names in a key make only that key unusable, so `keys` is excluded here.
        if members.has_reserved(Some(KEYS)) {
            return Err(KeyError::ReservedMember);
        }
        match members.unique(KEYS) {
            Err(DuplicateMember) => Err(KeyError::DuplicateKeys),
            Ok(None) if members.has("kty") => Ok(Self::Key(whole.get())),
            Ok(None) => Err(KeyError::NotAKeySet),
            Ok(Some(keys)) => serde_json::from_str(keys).map(Self::Set).map_err(|_| KeyError::NotAKeySet),
        }
    }
}

/// The members of one JSON object, with unescaped names and values as JSON text.
pub(super) struct Members<'j> {
    /// Sorted by name.
    members: Vec<(Cow<'j, str>, &'j str)>,
}

/// The object has more than one member with this name.
#[derive(Debug)]
pub(super) struct DuplicateMember;

impl<'j> Members<'j> {
    /// Parses one object. Returns `None` for anything else.
    pub(super) fn parse(json: &'j str) -> Option<Self> {
        let mut deserializer = serde_json::Deserializer::from_str(json);
        let mut members = deserializer.deserialize_map(MembersVisitor).ok()?;
        deserializer.end().ok()?;
        members.sort_by(|(one, _), (other, _)| one.cmp(other));
        Some(Self { members })
    }

    /// Returns whether two members have the same name (RFC 7517 §4).
    pub(super) fn has_duplicate(&self) -> bool {
        self.members.windows(2).any(|pair| matches!(pair, [(one, _), (other, _)] if one == other))
    }

    /// Returns the JSON text of the member `name`, or an error if there is more than one.
    pub(super) fn unique(&self, name: &str) -> Result<Option<&'j str>, DuplicateMember> {
        let start = self.members.partition_point(|(member, _)| **member < *name);
        let mut same = self.members.iter().skip(start).take_while(|(member, _)| member == name);
        let first = same.next();
        if same.next().is_some() { Err(DuplicateMember) } else { Ok(first.map(|(_, value)| *value)) }
    }

    /// Returns the members with their JSON texts, sorted by name.
    pub(super) fn iter(&self) -> impl Iterator<Item = (&str, &'j str)> + Clone {
        self.members.iter().map(|(name, value)| (&**name, *value))
    }

    /// Returns whether a member at any depth has a name that serde_json reserves. The value of the member `except` is not
    /// checked.
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

/// Collects the members of an object.
struct MembersVisitor;

impl<'j> Visitor<'j> for MembersVisitor {
    type Value = Vec<(Cow<'j, str>, &'j str)>;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("an object")
    }

    fn visit_map<A: MapAccess<'j>>(self, mut map: A) -> Result<Self::Value, A::Error> {
        let mut members = Vec::new();
        while let Some(name) = map.next_key_seed(MemberName)? {
            let value: &'j RawValue = map.next_value()?;
            members.push((name, value.get()));
        }
        Ok(members)
    }
}

/// Deserializes a member name. The name is borrowed if it has no escapes.
struct MemberName;

impl<'j> DeserializeSeed<'j> for MemberName {
    type Value = Cow<'j, str>;

    fn deserialize<D: serde::Deserializer<'j>>(self, deserializer: D) -> Result<Cow<'j, str>, D::Error> {
        deserializer.deserialize_str(self)
    }
}

impl<'j> Visitor<'j> for MemberName {
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

/// Returns a JSON document without its byte order mark. RFC 8259 §8.1 forbids the mark, and allows a parser to ignore it; some
/// servers publish files that an editor has saved with it.
pub(crate) fn without_byte_order_mark(document: &[u8]) -> &[u8] {
    document.strip_prefix(BYTE_ORDER_MARK).unwrap_or(document)
}

/// Returns whether arrays and objects are nested deeper than allowed. The result is exact for valid JSON; other text is
/// rejected later.
fn is_too_deep(json: &str) -> bool {
    let (mut depth, mut in_string, mut escaped) = (0_usize, false, false);
    for byte in json.bytes() {
        match byte {
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

/// U+FEFF in UTF-8.
const BYTE_ORDER_MARK: &[u8] = b"\xef\xbb\xbf";

#[cfg(test)]
mod tests {
    use super::*;

    fn error_of(document: &[u8]) -> KeyError {
        Document::split(document).map(drop).expect_err("rejected")
    }

    fn elements(document: &str) -> Vec<&str> {
        match Document::split(document.as_bytes()).expect(document) {
            Document::Set(keys) => keys.into_iter().map(RawValue::get).collect(),
            Document::Key(json) => panic!("not a set: {json}"),
        }
    }

    #[test]
    fn returns_the_elements_and_ignores_other_members() {
        assert_eq!(elements(r#" {"x":{"keys":1},"keys":[ {"a": 1} ,null,5],"x":2} "#), [r#"{"a": 1}"#, "null", "5"]);
        assert_eq!(elements(r#"{"\u006beys":[]}"#), [""; 0]);
        assert_eq!(elements("\u{feff}{\"keys\":[1]}"), ["1"]);
        assert!(matches!(Document::split(br#" {"kty":"RSA"} "#), Ok(Document::Key(r#"{"kty":"RSA"}"#))));
    }

    #[test]
    fn rejects_text_that_is_not_one_json_document() {
        for document in [
            &b""[..],
            b" ",
            b"<html>",
            br#"{"keys":["#,
            br#"{"keys":[]} x"#,
            br#"{"keys":[]}{}"#,
            br#"{"keys":[],}"#,
            br#"{"keys":[]}\0"#,
            b"\xef\xbb\xbf\xef\xbb\xbf{\"keys\":[]}",
            b" \xef\xbb\xbf{\"keys\":[]}",
            b"\xef\xbb{\"keys\":[]}",
            b"\xff\xfe{\0}\0",
            b"{\"keys\":[],\"x\":\"\xff\"}",
            br#"{"\ud800":1,"keys":[]}"#,
        ] {
            assert_eq!(error_of(document), KeyError::Json, "{document:?}");
        }
    }

    #[test]
    fn rejects_documents_that_are_no_key_set() {
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
            assert_eq!(error_of(document.as_bytes()), KeyError::NotAKeySet, "{document}");
        }
    }

    #[test]
    fn rejects_documents_with_two_keys_members() {
        for document in [r#"{"keys":[],"keys":[]}"#, r#"{"keys":[],"a":1,"\u006beys":[]}"#, r#"{"keys":1,"keys":1}"#] {
            assert_eq!(error_of(document.as_bytes()), KeyError::DuplicateKeys, "{document}");
        }
    }

    #[test]
    fn rejects_reserved_names_outside_of_the_keys() {
        for document in [
            r#"{"keys":[],"$serde_json::private::RawValue":"1"}"#,
            r#"{"keys":[],"x":[{"\u0024serde_json::private::Number":"1"}]}"#,
            r#"{"kty":"RSA","":{"$serde_json::private::RawValue":"1"}}"#,
        ] {
            assert_eq!(error_of(document.as_bytes()), KeyError::ReservedMember, "{document}");
        }
        assert_eq!(elements(r#"{"keys":[],"x":"$serde_json::private::RawValue"}"#), [""; 0]);
        // Such a key is skipped, and the other keys are not affected.
        assert_eq!(elements(r#"{"keys":[{"$serde_json::private::RawValue":"1"},2]}"#).len(), 2);
    }

    #[test]
    fn limits_the_depth() {
        let nested = |levels: usize| format!("{{\"keys\":[],\"x\":{}{}}}", "[".repeat(levels), "]".repeat(levels));
        assert_eq!(elements(&nested(15)), [""; 0]);
        assert_eq!(error_of(nested(16).as_bytes()), KeyError::TooDeep);
        assert_eq!(error_of(nested(100_000).as_bytes()), KeyError::TooDeep);
        let brackets_in_text = format!("{{\"keys\":[],\"x\":\"{}\\\"{}\"}}", "[".repeat(100), "{".repeat(100));
        assert_eq!(elements(&brackets_in_text), [""; 0]);
    }

    #[test]
    fn returns_members_by_their_unescaped_name() {
        let members = Members::parse(r#"{"b":2,"\u0061":[1],"c":3,"c":4}"#).expect("an object");
        assert!(matches!(members.unique("a"), Ok(Some("[1]"))));
        assert!(matches!(members.unique("x"), Ok(None)));
        assert!(members.unique("c").is_err());
        assert!(members.has("b") && members.has("c") && !members.has("d"));
        assert!(members.has_duplicate());
        assert!(!Members::parse(r#"{"a":{"a":1},"b":1}"#).expect("an object").has_duplicate());
        for other in ["[]", "{} {}", "", r#"{"a":1"#] {
            assert!(Members::parse(other).is_none(), "{other}");
        }
    }
}
