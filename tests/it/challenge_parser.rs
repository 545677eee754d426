//! A strict parser of one Bearer challenge (RFC 9110 §11.6.1, RFC 6750 §3) that panics on any deviation.

use http::HeaderMap;
use http::header::WWW_AUTHENTICATE;

/// Returns the parameters of the only challenge of a response, in order.
pub(crate) fn challenge(headers: &HeaderMap) -> Vec<(String, String)> {
    let fields: Vec<_> = headers.get_all(WWW_AUTHENTICATE).iter().collect();
    assert_eq!(fields.len(), 1, "exactly one challenge: {fields:?}");
    let field = fields[0].to_str().expect("visible ASCII");
    let rest = field.strip_prefix("Bearer").expect("the Bearer scheme");
    let parameters = match rest.strip_prefix(' ') {
        None => {
            assert_eq!(rest, "", "nothing but parameters follows the scheme");
            Vec::new()
        }
        Some(rest) => parameters(rest),
    };
    for (at, (name, value)) in parameters.iter().enumerate() {
        assert!(parameters[..at].iter().all(|(earlier, _)| earlier != name), "{name} occurs once: {field}");
        // RFC 6750 §3 allows neither quote nor backslash in these, not even escaped.
        if name != "realm" {
            assert!(!value.contains(['"', '\\']), "{name}: {field}");
        }
    }
    parameters
}

fn parameters(mut rest: &str) -> Vec<(String, String)> {
    let mut parameters = Vec::new();
    loop {
        let (name, after) = rest.split_once("=\"").expect("name and quoted-string");
        assert!(!name.is_empty() && name.bytes().all(|byte| byte.is_ascii_lowercase() || byte == b'_'), "{name:?}");
        let (value, after) = quoted(after);
        parameters.push((name.to_owned(), value));
        match after.strip_prefix(", ") {
            Some(next) => rest = next,
            None => {
                assert_eq!(after, "", "parameters are a list");
                return parameters;
            }
        }
    }
}

/// Reads to the closing quote and returns the rest after it.
fn quoted(text: &str) -> (String, &str) {
    let mut value = String::new();
    let mut characters = text.char_indices();
    while let Some((at, character)) = characters.next() {
        match character {
            '"' => return (value, &text[at + 1..]),
            '\\' => value.push(characters.next().expect("a quoted-pair has two characters").1),
            ' '..='~' => value.push(character),
            _ => panic!("{character:?} in a quoted-string"),
        }
    }
    panic!("no closing quote: {text}")
}

#[test]
fn parses_valid_challenges_and_rejects_all_others() {
    let read = |field: &'static str| {
        let mut headers = HeaderMap::new();
        headers.insert(WWW_AUTHENTICATE, http::HeaderValue::from_static(field));
        std::panic::catch_unwind(|| challenge(&headers)).ok()
    };
    assert_eq!(read("Bearer"), Some(Vec::new()));
    let two = vec![("realm".to_owned(), r#"a"b\, c"#.to_owned()), ("error".to_owned(), "e".to_owned())];
    assert_eq!(read(r#"Bearer realm="a\"b\\, c", error="e""#), Some(two));
    for field in [
        "Basic",
        "Bearer ",
        "Bearer, Basic",
        r#"Bearer realm="a" "#,
        r#"Bearer realm="a",error="e""#,
        r#"Bearer realm="a", realm="a""#,
        r#"Bearer realm="a"#,
        "Bearer realm=a",
        r#"Bearer error="a\"b""#,
    ] {
        assert_eq!(read(field), None, "{field}");
    }
}
