//! A strict parser of `WWW-Authenticate` (RFC 9110 §11.6.1, RFC 6750 §3, RFC 9449 §7.1) that panics on any deviation.

use http::HeaderMap;
use http::header::WWW_AUTHENTICATE;

/// One challenge of a list.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Challenge {
    pub(crate) scheme: String,
    pub(crate) parameters: Vec<(String, String)>,
}

impl Challenge {
    pub(crate) fn parameter(&self, name: &str) -> Option<&str> {
        self.parameters.iter().find(|(known, _)| known == name).map(|(_, value)| value.as_str())
    }
}

/// Returns the parameters of the only challenge of a response, which is one of the scheme `Bearer`, in order.
pub(crate) fn challenge(headers: &HeaderMap) -> Vec<(String, String)> {
    let challenges = challenges(headers);
    let [Challenge { scheme, parameters }] = &challenges[..] else { panic!("exactly one challenge: {challenges:?}") };
    assert_eq!(scheme, "Bearer");
    parameters.clone()
}

/// Returns the challenges of a response, which are in one field, in order.
pub(crate) fn challenges(headers: &HeaderMap) -> Vec<Challenge> {
    let fields: Vec<_> = headers.get_all(WWW_AUTHENTICATE).iter().collect();
    assert!(fields.len() <= 1, "one field: {fields:?}");
    let Some(field) = fields.first() else { return Vec::new() };
    let mut rest = field.to_str().expect("visible ASCII");
    let mut challenges = Vec::new();
    loop {
        let (challenge, after) = one(rest);
        for (at, (name, value)) in challenge.parameters.iter().enumerate() {
            assert!(
                challenge.parameters[..at].iter().all(|(earlier, _)| earlier != name),
                "{name} occurs once: {field:?}"
            );
            // RFC 6750 §3 allows neither quote nor backslash in these, not even escaped.
            if name != "realm" {
                assert!(!value.contains(['"', '\\']), "{name}: {field:?}");
            }
        }
        assert!(challenge.scheme == "DPoP" || challenge.parameter("algs").is_none(), "{field:?}");
        challenges.push(challenge);
        match after {
            Some(next) => rest = next,
            None => return challenges,
        }
    }
}

/// Reads one challenge, and returns the text of the next one.
fn one(text: &str) -> (Challenge, Option<&str>) {
    let end = text.find([' ', ',']).unwrap_or(text.len());
    let (scheme, mut rest) = text.split_at(end);
    assert!(["Bearer", "DPoP"].contains(&scheme), "{scheme:?}");
    let mut challenge = Challenge { scheme: scheme.to_owned(), parameters: Vec::new() };
    let mut separator = " ";
    loop {
        // The next word is the name of a parameter if `="` follows, otherwise the scheme of another challenge.
        let next = rest.strip_prefix(separator).and_then(|next| next.split_once("=\""));
        match next.filter(|(name, _)| name.bytes().all(|byte| byte.is_ascii_lowercase() || byte == b'_')) {
            Some((name, after)) => {
                assert!(!name.is_empty(), "{rest:?}");
                let (value, after) = quoted(after);
                challenge.parameters.push((name.to_owned(), value));
                (rest, separator) = (after, ", ");
            }
            None if rest.is_empty() => return (challenge, None),
            None => return (challenge, Some(rest.strip_prefix(", ").expect("challenges are a list"))),
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
    let parse = |field: &'static str| {
        let mut headers = HeaderMap::new();
        headers.insert(WWW_AUTHENTICATE, http::HeaderValue::from_static(field));
        std::panic::catch_unwind(|| challenges(&headers)).ok()
    };
    let one = |scheme: &str, parameters: &[(&str, &str)]| {
        let parameters = parameters.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned())).collect();
        Challenge { scheme: scheme.to_owned(), parameters }
    };
    assert_eq!(parse("Bearer"), Some(vec![one("Bearer", &[])]));
    let two = [("realm", r#"a"b\, c"#), ("error", "e")];
    assert_eq!(parse(r#"Bearer realm="a\"b\\, c", error="e""#), Some(vec![one("Bearer", &two)]));
    let dpop = one("DPoP", &[("error", "e"), ("algs", "ES256 EdDSA")]);
    assert_eq!(parse(r#"DPoP error="e", algs="ES256 EdDSA""#), Some(vec![dpop.clone()]));
    assert_eq!(parse(r#"DPoP error="e", algs="ES256 EdDSA", Bearer"#), Some(vec![dpop.clone(), one("Bearer", &[])]));
    assert_eq!(parse(r#"Bearer, DPoP error="e", algs="ES256 EdDSA""#), Some(vec![one("Bearer", &[]), dpop.clone()]));
    let realm = one("Bearer", &[("realm", "DPoP a=")]);
    assert_eq!(parse(r#"Bearer realm="DPoP a=", DPoP error="e", algs="ES256 EdDSA""#), Some(vec![realm, dpop]));
    for field in [
        "",
        "Basic",
        "Bearer ",
        "Bearer, Basic",
        "Bearer,DPoP algs=\"ES256\"",
        r#"Bearer algs="ES256""#,
        r#"Bearer realm="a" "#,
        r#"Bearer realm="a", "#,
        r#"Bearer realm="a",error="e""#,
        r#"Bearer realm="a", realm="a""#,
        r#"Bearer realm="a"#,
        "Bearer realm=a",
        r#"Bearer error="a\"b""#,
    ] {
        assert_eq!(parse(field), None, "{field}");
    }
}
