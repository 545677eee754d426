//! Member names that serde_json reserves.
//!
//! serde_json represents a [`RawValue`](serde_json::value::RawValue), and with its feature `arbitrary_precision` a number, as
//! an object with one member of a private name. A `serde_json::Value` that is parsed from a text with such a name therefore
//! differs from the text: an object becomes a string or a number, and it can be nested as deep as the string inside it. Any
//! dependency of an application can enable those features. No issuer needs these names, so they are rejected.

use crate::token;

/// Returns whether serde_json reserves this member name.
pub(crate) fn is_reserved(name: &str) -> bool {
    name.starts_with(PREFIX)
}

/// Returns whether any object in a text has a reserved member name. The result is exact if the text is JSON.
pub(crate) fn has_reserved_member(json: &str) -> bool {
    let mut rest = json;
    while let Some((quoted, after)) = next_string(rest) {
        let is_name = after.trim_start().starts_with(':');
        if is_name && token::unquote(quoted).is_some_and(|name| is_reserved(&name)) {
            return true;
        }
        rest = after;
    }
    false
}

/// Returns the next string with its quotes, and the text after it.
fn next_string(json: &str) -> Option<(&str, &str)> {
    let (_, string) = json.split_at_checked(json.find('"')?)?;
    let mut is_escaped = true; // so that the opening quote does not end the string
    let end = string.bytes().position(|byte| {
        let ends = byte == b'"' && !is_escaped;
        is_escaped = byte == b'\\' && !is_escaped;
        ends
    });
    string.split_at_checked(end?.saturating_add(1))
}

const PREFIX: &str = "$serde_json::private::";

#[cfg(test)]
mod tests {
    use serde_json::{Value, json};

    use super::*;

    /// If this fails, serde_json has changed or removed its private names.
    #[test]
    fn serde_json_parses_a_reserved_name_as_another_value() {
        let reserved = r#"{"a":[{"$serde_json::private::RawValue":"\"admin\""}]}"#;
        assert_eq!(serde_json::from_str::<Value>(reserved).expect("JSON"), json!({"a": ["admin"]}));
        assert!(has_reserved_member(reserved));
    }

    #[test]
    fn finds_a_reserved_name_at_any_depth_after_unescaping() {
        for json in [
            r#"{"$serde_json::private::RawValue":"1"}"#,
            r#"{"$serde_json::private::Number" : "1"}"#,
            r#"{"$serde_json::private::":1}"#,
            r#"{"\u0024serde_json::private::RawValue":"1"}"#,
            r#"{"$serde_json:\u003aprivate::RawValue":"1"}"#,
            r#"{"a":[1,{"b":"\"","c":{"$serde_json::private::RawValue":"1"}}]}"#,
            r#"[{},{"$serde_json::private::RawValue":"1"}]"#,
        ] {
            assert!(has_reserved_member(json), "{json}");
        }
    }

    #[test]
    fn ignores_near_names_and_values() {
        for json in [
            "",
            "{}",
            r#"{"a":"$serde_json::private::RawValue"}"#,
            r#"{"a":"\"$serde_json::private::RawValue\":1"}"#,
            r#"["$serde_json::private::RawValue",":"]"#,
            r#"{"$serde_json::public::RawValue":1,"$serde_json":2,"$serde_json::private:":3}"#,
            r#"{" $serde_json::private::RawValue":1,"x$serde_json::private::RawValue":2}"#,
            r#"{"$Serde_json::private::RawValue":1}"#,
            r#"{"a":"unterminated"#,
        ] {
            assert!(!has_reserved_member(json), "{json}");
        }
    }
}
