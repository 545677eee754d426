//! One JSON object, read strictly: unique member names, bounded depth, values left as text.
//!
//! This is pass 1 over header and payload. It finds the registered members, refuses what two parsers could read
//! differently, and runs no code of the user's.

use std::borrow::Cow;
use std::fmt;

use serde::Deserializer as _;
use serde::de::{DeserializeSeed, Error as _, MapAccess, Visitor};
use serde_json::value::RawValue;

use crate::defaults;
use crate::token::Span;

/// Why a text is not the one object that it should be.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum ObjectError {
    /// Not JSON, not an object, or more than one value.
    Syntax,
    /// Two members have the same name once escapes are resolved.
    DuplicateMember,
    /// Nested deeper than the limit.
    TooDeep,
}

/// Finds the members that `index_of` numbers, as spans of `json`; every other value is checked and skipped.
pub(super) fn members<const N: usize>(
    json: &str,
    index_of: fn(&str) -> Option<usize>,
) -> Result<[Option<Span>; N], ObjectError> {
    if !json.trim_start_matches(JSON_WHITESPACE).starts_with('{') {
        return Err(ObjectError::Syntax);
    }
    if is_too_deep(json) {
        return Err(ObjectError::TooDeep);
    }
    if has_lone_surrogate(json) {
        return Err(ObjectError::Syntax);
    }
    let mut found = Found { json, index_of, spans: [None; N], others: Names::default(), fault: None };
    let mut deserializer = serde_json::Deserializer::from_str(json);
    let read = deserializer.deserialize_map(&mut found).and_then(|()| deserializer.end());
    match (found.fault, read) {
        (Some(fault), _) => Err(fault),
        (None, Err(_)) => Err(ObjectError::Syntax),
        (None, Ok(())) if found.others.has_duplicate() => Err(ObjectError::DuplicateMember),
        (None, Ok(())) => Ok(found.spans),
    }
}

struct Found<'j, const N: usize> {
    json: &'j str,
    index_of: fn(&str) -> Option<usize>,
    spans: [Option<Span>; N],
    others: Names<'j>,
    fault: Option<ObjectError>,
}

impl<'j, const N: usize> Visitor<'j> for &mut Found<'j, N> {
    type Value = ();

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("an object")
    }

    fn visit_map<A: MapAccess<'j>>(self, mut map: A) -> Result<(), A::Error> {
        while let Some(name) = map.next_key_seed(Name)? {
            let value: &'j RawValue = map.next_value()?;
            match (self.index_of)(&name).and_then(|index| self.spans.get_mut(index)) {
                None => self.others.push(name),
                Some(Some(_)) => {
                    self.fault = Some(ObjectError::DuplicateMember);
                    return Err(A::Error::custom(""));
                }
                Some(empty) => {
                    let span = Span::within(self.json, value.get());
                    *empty = Some(span.ok_or_else(|| A::Error::custom(""))?);
                }
            }
        }
        Ok(())
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

/// The names that are not registered, kept only to find duplicates.
#[derive(Default)]
struct Names<'j> {
    few: [&'j str; 16],
    used: usize,
    more: Vec<Cow<'j, str>>,
}

impl<'j> Names<'j> {
    fn push(&mut self, name: Cow<'j, str>) {
        match (name, self.few.get_mut(self.used)) {
            (Cow::Borrowed(name), Some(free)) => {
                *free = name;
                self.used = self.used.saturating_add(1);
            }
            (name, _) => self.more.push(name),
        }
    }

    /// Few names are compared each with each; more are sorted, so that the work stays bounded by n log n.
    fn has_duplicate(mut self) -> bool {
        let few = self.few.get(..self.used).unwrap_or_default();
        if self.more.is_empty() {
            return few.iter().enumerate().any(|(at, name)| few.iter().take(at).any(|earlier| earlier == name));
        }
        self.more.extend(few.iter().map(|name| Cow::Borrowed(*name)));
        self.more.sort_unstable();
        self.more.windows(2).any(|pair| matches!(pair, [one, other] if one == other))
    }
}

/// Says whether a JSON text spells half of a surrogate pair in an escape (RFC 8259 §8.2); for anything but JSON no matter.
///
/// The parser finds these in the strings that it reads, not in those that it skips. One pass over the text, whatever its
/// nesting.
fn has_lone_surrogate(json: &str) -> bool {
    // Most claims sets hold no escape at all, and one search is a tenth of the loop.
    if !json.as_bytes().contains(&b'\\') {
        return false;
    }
    let mut rest = json.as_bytes();
    let mut awaits_low = false;
    while let Some((octet, after)) = rest.split_first() {
        rest = after;
        let unit = match (octet, after.first()) {
            (b'\\', Some(b'u')) => after.get(1..5).and_then(code_unit),
            _ => None,
        };
        let is_low = unit.is_some_and(|unit| (0xDC00..=0xDFFF).contains(&unit));
        if awaits_low != is_low {
            return true;
        }
        awaits_low = unit.is_some_and(|unit| (0xD800..=0xDBFF).contains(&unit));
        if *octet == b'\\' {
            // Behind a backslash stands one octet that is no escape by itself, or `u` and four digits.
            rest = after.get(if unit.is_some() { 5 } else { 1 }..).unwrap_or_default();
        }
    }
    awaits_low
}

fn code_unit(digits: &[u8]) -> Option<u16> {
    u16::from_str_radix(std::str::from_utf8(digits).ok()?, 16).ok()
}

/// Says whether arrays and objects nest deeper than allowed; exact for JSON, and for anything else no matter.
fn is_too_deep(json: &str) -> bool {
    let opening = json.bytes().filter(|octet| matches!(octet, b'{' | b'[')).count();
    if opening <= defaults::MAX_JSON_DEPTH {
        return false;
    }
    let (mut depth, mut in_string, mut escaped) = (0_usize, false, false);
    for octet in json.bytes() {
        match octet {
            _ if escaped => escaped = false,
            b'\\' if in_string => escaped = true,
            b'"' => in_string = !in_string,
            b'{' | b'[' if !in_string => {
                depth = depth.saturating_add(1);
                if depth > defaults::MAX_JSON_DEPTH {
                    return true;
                }
            }
            b'}' | b']' if !in_string => depth = depth.saturating_sub(1),
            _ => {}
        }
    }
    false
}

const JSON_WHITESPACE: [char; 4] = [' ', '\t', '\n', '\r'];

#[cfg(test)]
mod tests {
    use super::*;

    fn index_of(name: &str) -> Option<usize> {
        ["a", "b"].iter().position(|known| *known == name)
    }

    fn read(json: &str) -> Result<[Option<&str>; 2], ObjectError> {
        members::<2>(json, index_of).map(|spans| spans.map(|span| span.and_then(|span| span.of(json))))
    }

    #[test]
    fn finds_registered_members_as_text() {
        assert_eq!(read(r#" {"a" : [1, 2] ,"x":{"a":null},"b":"\u0062"} "#), Ok([Some("[1, 2]"), Some(r#""\u0062""#)]));
        assert_eq!(read("{}"), Ok([None, None]));
        assert_eq!(read(r#"{"\u0061":1.50e400}"#), Ok([Some("1.50e400"), None]));
        assert_eq!(read(r#"{"a":[1e400,{"\u0062":1e400}]}"#), Ok([Some(r#"[1e400,{"\u0062":1e400}]"#), None]));
    }

    #[test]
    fn refuses_what_is_not_one_object() {
        for json in [
            "",
            " ",
            "null",
            "[]",
            "[1]",
            "\"{}\"",
            "1",
            "{}{}",
            "{} x",
            "{",
            "{\"a\"}",
            "{\"a\":1,}",
            "{'a':1}",
            "{/**/}",
            "\u{feff}{}",
            "{\"a\":NaN}",
            "{\"a\":01}",
            "{\"a\":\"\n\"}",
        ] {
            assert_eq!(read(json), Err(ObjectError::Syntax), "{json:?}");
        }
    }

    #[test]
    fn refuses_lone_surrogates_wherever_they_stand() {
        for json in [
            r#"{"a":"\ud800"}"#,
            r#"{"x":"\udc00"}"#,
            r#"{"\ud800":1}"#,
            r#"{"x":{"y":["\ud800x"]}}"#,
            r#"{"x":{"\udfff":1}}"#,
        ] {
            assert_eq!(read(json), Err(ObjectError::Syntax), "{json:?}");
        }
        for json in [
            r#"{"x":"\ud83d"}"#,
            r#"{"x":"\ud83dx\ude00"}"#,
            r#"{"x":"\ud83d\ud83d\ude00"}"#,
            r#"{"x":"\ud83d\\ude00"}"#,
        ] {
            assert_eq!(read(json), Err(ObjectError::Syntax), "{json:?}");
        }
        for json in [
            r#"{"x":"\ud83d\ude00"}"#,
            r#"{"x":"\\ud83d"}"#,
            r#"{"x":"\\\ud83d\ude00\u0041\n"}"#,
            r#"{"x":"\uD83D\uDE00"}"#,
        ] {
            assert_eq!(read(json), Ok([None, None]), "{json:?}");
        }
    }

    #[test]
    fn refuses_duplicate_names_after_unescaping() {
        for json in [r#"{"a":1,"a":1}"#, r#"{"a":1,"\u0061":2}"#, r#"{"x":1,"x":2}"#, r#"{"x":1,"\u0078":2}"#] {
            assert_eq!(read(json), Err(ObjectError::DuplicateMember), "{json}");
        }
        assert_eq!(read(r#"{"x":{"y":1},"y":{"y":1}}"#), Ok([None, None]));
    }

    #[test]
    fn finds_a_duplicate_among_many_names() {
        let many = |last: &str| {
            let names: Vec<String> = (0..2_000).map(|n| format!("\"n{n}\":0")).collect();
            format!("{{{},\"{last}\":0}}", names.join(","))
        };
        assert_eq!(read(&many("fresh")), Ok([None, None]));
        assert_eq!(read(&many("n3")), Err(ObjectError::DuplicateMember));
        assert_eq!(read(&many("n1999")), Err(ObjectError::DuplicateMember));
    }

    #[test]
    fn bounds_the_depth_and_nothing_else() {
        let nested = |levels: usize| format!("{{\"x\":{}{}}}", "[".repeat(levels), "]".repeat(levels));
        assert_eq!(read(&nested(31)), Ok([None, None]));
        assert_eq!(read(&nested(32)), Err(ObjectError::TooDeep));
        assert_eq!(read(&nested(100_000)), Err(ObjectError::TooDeep));
        let brackets_in_text = format!("{{\"x\":\"{}\\\"{}\"}}", "[".repeat(100), "{".repeat(100));
        assert_eq!(read(&brackets_in_text), Ok([None, None]));
        let wide = format!("{{\"x\":[{}[]]}}", "[],".repeat(500));
        assert_eq!(read(&wide), Ok([None, None]));
    }
}
