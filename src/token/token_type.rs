//! `TokenType`: the type that a token declares in its header (RFC 7515 §4.1.9, RFC 8725 §3.11).

use std::borrow::Cow;

/// The type of a token, by the header's `typ`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum TokenType {
    /// No `typ`.
    Undeclared,
    /// `JWT`, which does not say what the token is for.
    Jwt,
    /// `at+jwt`: an access token (RFC 9068 §2.1).
    AccessToken,
    /// `dpop+jwt`: a proof of possession (RFC 9449 §4.2).
    Dpop,
    /// Any other type.
    Other,
}

impl TokenType {
    /// Reads the value of `typ`.
    pub(crate) fn from_typ(typ: Option<&str>) -> Self {
        match typ {
            None => Self::Undeclared,
            Some(typ) if is_media_type(typ, "jwt") => Self::Jwt,
            Some(typ) if is_media_type(typ, "at+jwt") => Self::AccessToken,
            Some(typ) if is_media_type(typ, "dpop+jwt") => Self::Dpop,
            Some(_) => Self::Other,
        }
    }
}

/// Returns whether a `typ` or `cty` is a media type, with or without the prefix `application/` (RFC 7515 §4.1.9).
pub(super) fn is_media_type(value: &str, expected: &str) -> bool {
    let bare = match value.split_at_checked(APPLICATION.len()) {
        Some((prefix, rest)) if prefix.eq_ignore_ascii_case(APPLICATION) => rest,
        _ => value,
    };
    bare.eq_ignore_ascii_case(expected)
}

/// Returns a static string for a common type, so that it is not allocated for each token.
pub(super) fn intern_typ(typ: Cow<'_, str>) -> Cow<'static, str> {
    match COMMON_TYPES.iter().find(|common| **common == typ) {
        Some(common) => Cow::Borrowed(common),
        None => Cow::Owned(typ.into_owned()),
    }
}

const COMMON_TYPES: [&str; 2] = ["JWT", "at+jwt"];
const APPLICATION: &str = "application/";

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn compares_media_types_without_case_and_prefix() {
        for same in ["at+jwt", "AT+JWT", "application/at+jwt", "Application/AT+JWT"] {
            assert!(is_media_type(same, "at+jwt"), "{same}");
            assert_eq!(TokenType::from_typ(Some(same)), TokenType::AccessToken, "{same}");
        }
        for other in
            ["", "jwt", "at+jwt ", "at+jwt;x=1", "application/", "text/at+jwt", "application/application/at+jwt", "ä"]
        {
            assert!(!is_media_type(other, "at+jwt"), "{other}");
            assert_ne!(TokenType::from_typ(Some(other)), TokenType::AccessToken, "{other}");
        }
    }

    #[test]
    fn returns_the_type_that_typ_declares() {
        for (typ, expected) in [
            (None, TokenType::Undeclared),
            (Some("JWT"), TokenType::Jwt),
            (Some("application/jwt"), TokenType::Jwt),
            (Some("at+jwt"), TokenType::AccessToken),
            (Some("dpop+jwt"), TokenType::Dpop),
            (Some("Application/DPoP+JWT"), TokenType::Dpop),
            (Some("dpop+jwt+x"), TokenType::Other),
            (Some("logout+jwt"), TokenType::Other),
            (Some(""), TokenType::Other),
        ] {
            assert_eq!(TokenType::from_typ(typ), expected, "{typ:?}");
        }
    }
}
