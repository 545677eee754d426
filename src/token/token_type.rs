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
    /// `logout+jwt`: a logout token (OpenID Connect Back-Channel Logout 1.0 §2.4).
    Logout,
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
            Some(typ) if is_media_type(typ, "logout+jwt") => Self::Logout,
            Some(_) => Self::Other,
        }
    }
}

/// Returns whether a `typ` or `cty` is a media type, with or without the prefix `application/` (RFC 7515 §4.1.9).
pub(crate) fn is_media_type(value: &str, expected: &str) -> bool {
    without_prefix(value).eq_ignore_ascii_case(expected)
}

/// Returns a media type without the prefix `application/`, in lower case.
pub(crate) fn bare_media_type(value: &str) -> String {
    without_prefix(value).to_ascii_lowercase()
}

/// Returns whether a token of this type is defined by a protocol and is never an access token. `typ` keeps such tokens apart
/// (RFC 8725 §3.11).
pub(crate) fn is_type_of_other_protocol(typ: &str) -> bool {
    OTHER_PROTOCOLS.iter().any(|other| is_media_type(typ, other))
}

fn without_prefix(value: &str) -> &str {
    match value.split_at_checked(APPLICATION.len()) {
        Some((prefix, rest)) if prefix.eq_ignore_ascii_case(APPLICATION) => rest,
        _ => value,
    }
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

/// DPoP proofs (RFC 9449 §4.2), logout tokens (OpenID Connect Back-Channel Logout 1.0 §2.4), security events (RFC 8417 §2.3),
/// introspection responses (RFC 9701 §5), request objects (RFC 9101 §10.8), token status lists, entity statements (OpenID
/// Federation 1.0 §3.1), key binding (RFC 9901 §4.3).
const OTHER_PROTOCOLS: [&str; 8] = [
    "dpop+jwt",
    "logout+jwt",
    "secevent+jwt",
    "token-introspection+jwt",
    "oauth-authz-req+jwt",
    "statuslist+jwt",
    "entity-statement+jwt",
    "kb+jwt",
];

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
    fn recognizes_types_of_other_protocols() {
        for other in
            ["dpop+jwt", "application/dpop+jwt", "LOGOUT+JWT", "Application/SecEvent+JWT", "token-introspection+jwt"]
        {
            assert!(is_type_of_other_protocol(other), "{other}");
        }
        for access in ["at+jwt", "JWT", "acme+jwt", "dpop+jwt2", "text/dpop+jwt", ""] {
            assert!(!is_type_of_other_protocol(access), "{access}");
        }
        assert_eq!(bare_media_type("Application/Acme+JWT"), "acme+jwt");
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
            (Some("logout+jwt"), TokenType::Logout),
            (Some("secevent+jwt"), TokenType::Other),
            (Some(""), TokenType::Other),
        ] {
            assert_eq!(TokenType::from_typ(typ), expected, "{typ:?}");
        }
    }
}
