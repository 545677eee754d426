//! Reads one parameter of a form (`application/x-www-form-urlencoded`, WHATWG URL §5.1).

use std::borrow::Cow;

/// Returns the value of the parameter with this name; `None` if it is absent, present more than once, or not UTF-8.
pub(super) fn single<'b>(body: &'b [u8], name: &str) -> Option<Cow<'b, str>> {
    let parameters = body.split(|byte| *byte == b'&').map(|parameter| {
        let at = parameter.iter().position(|byte| *byte == b'=').unwrap_or(parameter.len());
        let (name, value) = parameter.split_at(at);
        (name, value.get(1..).unwrap_or_default())
    });
    let mut values = parameters.filter(|(other, _)| *decoded(other) == *name.as_bytes()).map(|(_, value)| value);
    let value = values.next()?;
    if values.next().is_some() {
        return None;
    }
    match decoded(value) {
        Cow::Borrowed(value) => str::from_utf8(value).ok().map(Cow::Borrowed),
        Cow::Owned(value) => String::from_utf8(value).ok().map(Cow::Owned),
    }
}

/// Decodes `+` and percent-encoded bytes. A percent sign that no two hex digits follow stands for itself.
fn decoded(text: &[u8]) -> Cow<'_, [u8]> {
    if !text.iter().any(|byte| matches!(byte, b'%' | b'+')) {
        return Cow::Borrowed(text);
    }
    let mut bytes = Vec::with_capacity(text.len());
    let mut rest = text;
    while let [first, after @ ..] = rest {
        rest = after;
        bytes.push(match (first, after) {
            (b'+', _) => b' ',
            (b'%', [high, low, after @ ..]) => match (digit(*high), digit(*low)) {
                (Some(high), Some(low)) => {
                    rest = after;
                    high << 4 | low
                }
                _ => b'%',
            },
            (byte, _) => *byte,
        });
    }
    Cow::Owned(bytes)
}

fn digit(byte: u8) -> Option<u8> {
    char::from(byte).to_digit(16).and_then(|digit| u8::try_from(digit).ok())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn returns_a_parameter_that_is_present_once() {
        for (body, expected) in [
            ("t=a.b_c-d", Some("a.b_c-d")),
            ("x=1&t=a&y", Some("a")),
            ("t=", Some("")),
            ("t", Some("")),
            ("%74=a", Some("a")),
            ("t=a%2Eb+c%2B%zz%4", Some("a.b c+%zz%4")),
            ("t=%C3%BC", Some("\u{fc}")),
            ("t=a=b", Some("a=b")),
            ("", None),
            ("T=a", None),
            ("tt=a", None),
            ("t=a&t=a", None),
            ("t=a&%74=b", None),
            ("t=%ff", None),
        ] {
            assert_eq!(single(body.as_bytes(), "t").as_deref(), expected, "{body}");
        }
    }
}
