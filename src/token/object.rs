//! Parses one JSON object strictly: unique member names, no reserved names, limited depth. Values stay text.
//!
//! This is pass 1 over header and payload. It finds the registered members and rejects JSON that two parsers could read
//! differently. It does not call code of the application.

use std::borrow::Cow;

use crate::token::json_text::{Span, unquote_with};
use crate::token::scanner::{JsonError, JsonScanner};

/// The registered members of an object.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Members<const N: usize> {
    pub(super) spans: [Option<Span>; N],
    /// Whether any string has escapes.
    pub(super) has_escapes: bool,
}

/// Finds the members to which `index_of` assigns an index, as spans of `json`. Every other value is checked and skipped.
pub(super) fn members<const N: usize>(
    json: &str,
    index_of: impl Fn(&str) -> Option<usize>,
) -> Result<Members<N>, JsonError> {
    let mut spans = [None; N];
    let mut others = Names::default();
    let mut scanner = JsonScanner::new(json);
    scanner.skip_blanks();
    scanner.object(1, &mut |name, value| {
        let name = unquote_with(name.quoted, name.has_escapes).ok_or(JsonError::Syntax)?;
        match index_of(&name).and_then(|index| spans.get_mut(index)) {
            None => others.push(name),
            Some(Some(_)) => return Err(JsonError::DuplicateMember),
            Some(slot) => *slot = Some(Span::new(value).ok_or(JsonError::Syntax)?),
        }
        Ok(())
    })?;
    let has_escapes = scanner.has_escapes();
    scanner.end()?;
    if others.has_duplicate() { Err(JsonError::DuplicateMember) } else { Ok(Members { spans, has_escapes }) }
}

/// Returns the JSON text of the member `name` of an object. Returns `None` if the text is not an object, or if the object has no
/// such member or several: parsers choose differently between members of the same name.
pub(crate) fn member<'j>(json: &'j str, name: &str) -> Option<&'j str> {
    let mut found = None;
    let mut scanner = JsonScanner::new(json);
    scanner.skip_blanks();
    let scanned = scanner.object(1, &mut |other, value| {
        if unquote_with(other.quoted, other.has_escapes).ok_or(JsonError::Syntax)? != name {
            return Ok(());
        }
        if found.replace(value).is_some() { Err(JsonError::DuplicateMember) } else { Ok(()) }
    });
    scanned.and_then(|()| scanner.end()).ok()?;
    json.get(found?)
}

/// Calls `element` with each element of a JSON array; `None` for any other text.
pub(crate) fn elements<'j>(json: &'j str, element: &mut impl FnMut(&'j str)) -> Option<()> {
    let mut scanner = JsonScanner::new(json);
    let each = &mut |range| element(json.get(range).unwrap_or_default());
    scanner.array(1, each).and_then(|()| scanner.end()).ok()
}

/// The names that are not registered, stored to find duplicates.
#[derive(Default)]
struct Names<'j> {
    few: [&'j str; 16],
    used: usize,
    more: Vec<Cow<'j, str>>,
}

impl<'j> Names<'j> {
    fn push(&mut self, name: Cow<'j, str>) {
        match (name, self.few.get_mut(self.used)) {
            (Cow::Borrowed(name), Some(slot)) => {
                *slot = name;
                self.used = self.used.saturating_add(1);
            }
            (name, _) => self.more.push(name),
        }
    }

    /// Compares a few names pairwise and sorts more of them, so that the work is at most n log n.
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

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn index_of(name: &str) -> Option<usize> {
        ["a", "b"].iter().position(|known| *known == name)
    }

    fn read(json: &str) -> Result<[Option<&str>; 2], JsonError> {
        let found = members::<2>(json, index_of)?;
        Ok(found.spans.map(|span| span.and_then(|span| span.slice(json))))
    }

    #[test]
    fn finds_registered_members_as_text() {
        assert_eq!(read(r#" {"a" : [1, 2] ,"x":{"a":null},"b":"\u0062"} "#), Ok([Some("[1, 2]"), Some(r#""\u0062""#)]));
        assert_eq!(read("{}"), Ok([None, None]));
        assert_eq!(read(r#"{"\u0061":1.50e400}"#), Ok([Some("1.50e400"), None]));
        assert_eq!(read(r#"{"a":[1e400,{"\u0062":1e400}]}"#), Ok([Some(r#"[1e400,{"\u0062":1e400}]"#), None]));
    }

    #[test]
    fn rejects_texts_that_are_not_one_object() {
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
            assert_eq!(read(json), Err(JsonError::Syntax), "{json:?}");
        }
    }

    #[test]
    fn rejects_lone_surrogates_at_any_depth() {
        for json in [
            r#"{"a":"\ud800"}"#,
            r#"{"x":"\udc00"}"#,
            r#"{"\ud800":1}"#,
            r#"{"x":{"y":["\ud800x"]}}"#,
            r#"{"x":{"\udfff":1}}"#,
        ] {
            assert_eq!(read(json), Err(JsonError::Syntax), "{json:?}");
        }
        for json in [
            r#"{"x":"\ud83d"}"#,
            r#"{"x":"\ud83dx\ude00"}"#,
            r#"{"x":"\ud83d\ud83d\ude00"}"#,
            r#"{"x":"\ud83d\\ude00"}"#,
        ] {
            assert_eq!(read(json), Err(JsonError::Syntax), "{json:?}");
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
    fn rejects_duplicate_names_after_unescaping() {
        for json in [r#"{"a":1,"a":1}"#, r#"{"a":1,"\u0061":2}"#, r#"{"x":1,"x":2}"#, r#"{"x":1,"\u0078":2}"#] {
            assert_eq!(read(json), Err(JsonError::DuplicateMember), "{json}");
        }
        assert_eq!(read(r#"{"x":{"y":1},"y":{"y":1}}"#), Ok([None, None]));
    }

    #[test]
    fn member_returns_the_text_of_the_only_member_of_this_name() {
        for (json, found) in [
            (r#"{"a":1,"b.c": [2] ,"c":{"b.c":3}}"#, Some("[2]")),
            (r#" {"\u0062.c":"x"} "#, Some(r#""x""#)),
            (r#"{"b":{"c":1}}"#, None),
            (r#"{"b.c":1,"b.c":1}"#, None),
            (r#"{"b.c":1,"\u0062.c":2}"#, None),
            ("{}", None),
            (r#"["b.c"]"#, None),
            (r#""b.c""#, None),
            (r#"{"b.c":1} x"#, None),
        ] {
            assert_eq!(member(json, "b.c"), found, "{json}");
        }
    }

    #[test]
    fn rejects_a_duplicate_among_many_names() {
        let many = |last: &str| {
            let names: Vec<String> = (0..2_000).map(|n| format!("\"n{n}\":0")).collect();
            format!("{{{},\"{last}\":0}}", names.join(","))
        };
        assert_eq!(read(&many("fresh")), Ok([None, None]));
        assert_eq!(read(&many("n3")), Err(JsonError::DuplicateMember));
        assert_eq!(read(&many("n1999")), Err(JsonError::DuplicateMember));
    }

    #[test]
    fn rejects_reserved_names_at_any_depth() {
        for json in [
            r#"{"$serde_json::private::RawValue":"1"}"#,
            r#"{"a":[{"$serde_json::private::Number":"1"}]}"#,
            r#"{"x":{"y":{"\u0024serde_json::private::":0}}}"#,
            r#"{"x":{"$serde_json::\u0070rivate::RawValue":0}}"#,
        ] {
            assert_eq!(read(json), Err(JsonError::ReservedMember), "{json}");
        }
        for json in [
            r#"{"x":"$serde_json::private::RawValue","$":1,"$serde_json::private:":2}"#,
            r#"{"x":{"\\u0024serde_json::private::RawValue":0}}"#,
        ] {
            assert_eq!(read(json), Ok([None, None]), "{json}");
        }
    }

    #[test]
    fn limits_the_depth_only() {
        let nested = |levels: usize| format!("{{\"x\":{}{}}}", "[".repeat(levels), "]".repeat(levels));
        assert_eq!(read(&nested(31)), Ok([None, None]));
        assert_eq!(read(&nested(32)), Err(JsonError::TooDeep));
        assert_eq!(read(&nested(100_000)), Err(JsonError::TooDeep));
        let brackets_in_text = format!("{{\"x\":\"{}\\\"{}\"}}", "[".repeat(100), "{".repeat(100));
        assert_eq!(read(&brackets_in_text), Ok([None, None]));
        let wide = format!("{{\"x\":[{}[]]}}", "[],".repeat(500));
        assert_eq!(read(&wide), Ok([None, None]));
    }

    proptest! {
        /// Compares with serde_json over texts that are JSON or nearly JSON.
        #[test]
        fn agrees_with_serde_json_on_what_is_json(
            pieces in proptest::collection::vec(proptest::sample::select(PIECES), 0..12),
            at in any::<proptest::sample::Index>(),
            piece in proptest::sample::select(PIECES),
        ) {
            let members: Vec<String> =
                pieces.chunks(2).enumerate().map(|(n, value)| format!("\"m{n}\" : {}", value.concat())).collect();
            let mut json = format!("{{{}}}", members.join(","));
            prop_assert_eq!(read(&json).is_ok(), is_object(&json), "{}", json);
            let places: Vec<usize> = (0..=json.len()).filter(|at| json.is_char_boundary(*at)).collect();
            json.insert_str(*at.get(&places), piece);
            let parsed = read(&json).or_else(|error| match error {
                JsonError::DuplicateMember => Ok([None, None]),
                error => Err(error),
            });
            prop_assert_eq!(parsed.is_ok(), is_object(&json), "{}", json);
        }
    }

    /// Deserializes a value, because serde_json finds lone surrogates only in strings that it deserializes.
    fn is_object(json: &str) -> bool {
        serde_json::from_str::<serde_json::Value>(json).is_ok_and(|value| value.is_object())
    }

    const PIECES: &[&str] = &[
        "0",
        "-",
        "1",
        "-0.0",
        "01",
        "1.",
        ".5",
        "2e",
        "3E+1",
        "4e-2",
        "+",
        "true",
        "false",
        "null",
        "nul",
        "[",
        "]",
        "[]",
        "{",
        "}",
        "{}",
        "[1,\"a\"]",
        "[1 2]",
        "{\"x\":1}",
        "{\"x\" 1}",
        "\"",
        "\"a\"",
        "\"é\"",
        "\\",
        "\"\\n\"",
        "\"\\x\"",
        "\"\\u00e9\"",
        "\"\\u00g9\"",
        "\"\\u+0e9\"",
        "\"\\ud83d\\ude00\"",
        "\"\\ud83d\"",
        "\"\\ude00\"",
        "\"\u{1}\"",
        "\"\t\"",
        " ",
        "\t",
        "\r\n",
        "\u{c}",
        "\u{a0}",
        ",",
        ":",
        "/",
        "'",
        "\u{feff}",
    ];
}
