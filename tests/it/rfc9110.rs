//! The challenge grammar of RFC 9110 §11.3, to the letter.

/// One challenge, its parameters in order.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Challenge {
    pub(crate) scheme: String,
    pub(crate) parameters: Vec<(String, String)>,
}

impl Challenge {
    /// Reads a field value that holds exactly one challenge with quoted parameters, each name at most once.
    pub(crate) fn parse(value: &[u8]) -> Result<Self, String> {
        let text = std::str::from_utf8(value).map_err(|_| "not ASCII")?;
        if !text.bytes().all(|octet| matches!(octet, b'\t' | b' '..=b'~')) {
            return Err("control characters".to_owned());
        }
        let (scheme, rest) = text.split_once(' ').map_or((text, ""), |(scheme, rest)| (scheme, rest));
        token(scheme)?;
        let mut parameters: Vec<(String, String)> = Vec::new();
        let mut rest = rest.trim_start_matches(' ');
        while !rest.is_empty() {
            let (name, value) = rest.split_once('=').ok_or("a parameter without value")?;
            token(name)?;
            let (value, after) = quoted_string(value)?;
            if parameters.iter().any(|(earlier, _)| earlier.eq_ignore_ascii_case(name)) {
                return Err(format!("{name} stands twice"));
            }
            parameters.push((name.to_owned(), value));
            rest = match after.strip_prefix(',') {
                None if after.is_empty() => after,
                None => return Err(format!("{after:?} after a parameter")),
                Some(more) => more.trim_start_matches([' ', '\t']),
            };
        }
        Ok(Self { scheme: scheme.to_owned(), parameters })
    }

    pub(crate) fn parameter(&self, name: &str) -> Option<&str> {
        self.parameters.iter().find(|(other, _)| other == name).map(|(_, value)| &**value)
    }

    /// The rules of RFC 6750 §3 for the values.
    pub(crate) fn check_bearer(&self) -> Result<(), String> {
        if self.scheme != "Bearer" {
            return Err(format!("scheme {}", self.scheme));
        }
        for (name, value) in &self.parameters {
            let allowed = |octet: u8| match &**name {
                "error" | "error_description" | "error_uri" => {
                    matches!(octet, 0x20 | 0x21 | 0x23..=0x5b | 0x5d..=0x7e)
                }
                "scope" => matches!(octet, 0x20 | 0x21 | 0x23..=0x5b | 0x5d..=0x7e),
                _ => true,
            };
            if !value.bytes().all(allowed) || (name == "scope" && value.split(' ').any(str::is_empty)) {
                return Err(format!("{name} holds {value:?}"));
            }
        }
        Ok(())
    }
}

fn token(text: &str) -> Result<(), String> {
    let is_tchar = |octet: u8| octet.is_ascii_alphanumeric() || b"!#$%&'*+-.^_`|~".contains(&octet);
    if !text.is_empty() && text.bytes().all(is_tchar) { Ok(()) } else { Err(format!("{text:?} is no token")) }
}

/// RFC 9110 §5.6.4; gives the text unquoted, and what follows.
fn quoted_string(text: &str) -> Result<(String, &str), String> {
    let mut characters = text.strip_prefix('"').ok_or("not a quoted-string")?.char_indices();
    let mut value = String::new();
    while let Some((at, character)) = characters.next() {
        match character {
            '"' => return Ok((value, &text[at + 2..])),
            '\\' => value.push(characters.next().ok_or("an escape at the end")?.1),
            _ => value.push(character),
        }
    }
    Err("an open quoted-string".to_owned())
}

#[test]
fn reads_what_the_grammar_allows_and_nothing_else() {
    let challenge = Challenge::parse(br#"Bearer realm="a\"b\\c", error="invalid_token""#).expect("a challenge");
    assert_eq!(challenge.parameter("realm"), Some(r#"a"b\c"#));
    assert_eq!(challenge.parameter("error"), Some("invalid_token"));
    assert_eq!(Challenge::parse(b"Bearer").expect("a challenge").parameters, []);
    for wrong in [
        &b""[..],
        b"Bearer realm=a",
        b"Bearer realm=\"a",
        b"Bearer realm=\"a\" error=\"b\"",
        b"Bearer a=\"1\", a=\"2\"",
        b"Bearer realm=\"\xe9\"",
        b"Bearer realm=\"a\r\n\"",
        b"Bearer =\"a\"",
        b"Bear(er",
        b"Bearer realm=\"a\\",
    ] {
        assert!(Challenge::parse(wrong).is_err(), "{wrong:?}");
    }
}
