//! The JOSE header of a token (RFC 7515 §4).

use std::borrow::Cow;

use crate::defaults;
use crate::token::algorithm::Algorithm;
use crate::token::object;
use crate::token::{Part, Span, TokenError};

/// What the crate reads of a header: `alg`, `kid` and `typ`.
///
/// Keys that a header brings along (`jwk`, `jku`, `x5u`, `x5c`) are never read: they are the sender's word
/// (RFC 8725 §3.10).
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Header {
    algorithm: Algorithm,
    kid: Option<Box<str>>,
    typ: Option<Cow<'static, str>>,
}

impl Header {
    /// The algorithm that the token claims. It chooses nothing: the API's configuration must list it.
    #[must_use]
    pub fn algorithm(&self) -> Algorithm {
        self.algorithm
    }

    /// The key id, at most 256 octets; compared octet by octet (RFC 7515 §4.1.4).
    #[must_use]
    pub fn kid(&self) -> Option<&str> {
        self.kid.as_deref()
    }

    /// The media type of the token as it was written (RFC 7515 §4.1.9).
    #[must_use]
    pub fn typ(&self) -> Option<&str> {
        self.typ.as_deref()
    }

    /// The octets that it holds outside of itself.
    pub(crate) fn footprint(&self) -> usize {
        let texts = [self.kid(), self.typ()].into_iter().flatten();
        texts.map(str::len).fold(0, usize::saturating_add)
    }

    pub(super) fn parse(json: &str) -> Result<Self, TokenError> {
        let found =
            object::members::<MEMBERS>(json, index_of).map_err(|error| TokenError::object(Part::Header, error))?;
        let [algorithm, kid, typ, cty, crit, b64] = found.spans;
        let text = |span: Option<Span>, malformed| match span.and_then(|span| span.of(json)) {
            None => Ok(None),
            Some(raw) => super::read(raw, found.has_escapes).map(Some).ok_or(malformed),
        };
        // RFC 7515 §4.1.11: no extension is understood here. RFC 7797 §7: a JWT must not use `b64`.
        if crit.is_some() || b64.is_some() {
            return Err(TokenError::CriticalHeader);
        }
        if let Some(cty) = text(cty, TokenError::ContentType)?
            && is_media_type(&cty, "jwt")
        {
            return Err(TokenError::Nested);
        }
        let algorithm = text(algorithm, TokenError::AlgorithmUnknown)?.ok_or(TokenError::AlgorithmMissing)?;
        let algorithm = Algorithm::from_name(&algorithm).ok_or(TokenError::AlgorithmUnknown)?;
        let kid = text(kid, TokenError::KidMalformed)?;
        if kid.as_ref().is_some_and(|kid| kid.len() > defaults::MAX_KID_BYTES) {
            return Err(TokenError::KidTooLong);
        }
        let typ = text(typ, TokenError::TypMalformed)?;
        Ok(Self { algorithm, kid: kid.map(into_box), typ: typ.map(keep_typ) })
    }
}

/// Compares a `typ` or `cty` with a media type written without its `application/` prefix (RFC 7515 §4.1.9).
pub(crate) fn is_media_type(value: &str, expected: &str) -> bool {
    let bare = match value.split_at_checked(APPLICATION.len()) {
        Some((prefix, rest)) if prefix.eq_ignore_ascii_case(APPLICATION) => rest,
        _ => value,
    };
    bare.eq_ignore_ascii_case(expected)
}

fn into_box(text: Cow<'_, str>) -> Box<str> {
    text.into_owned().into_boxed_str()
}

/// Copies a type only where it is none of those that nearly all tokens have.
fn keep_typ(typ: Cow<'_, str>) -> Cow<'static, str> {
    match COMMON_TYPES.iter().find(|common| **common == typ) {
        Some(common) => Cow::Borrowed(common),
        None => Cow::Owned(typ.into_owned()),
    }
}

fn index_of(name: &str) -> Option<usize> {
    Some(match name {
        "alg" => 0,
        "kid" => 1,
        "typ" => 2,
        "cty" => 3,
        "crit" => 4,
        "b64" => 5,
        _ => return None,
    })
}

const MEMBERS: usize = 6;
const COMMON_TYPES: [&str; 2] = ["JWT", "at+jwt"];
const APPLICATION: &str = "application/";

#[cfg(test)]
mod tests {
    use super::*;

    fn refused(json: &str) -> TokenError {
        Header::parse(json).expect_err(json)
    }

    #[test]
    fn reads_alg_kid_and_typ_and_ignores_the_rest() {
        let header = Header::parse(r#"{"typ":"at+jwt","alg":"RS256","kid":"k\/1","x5t":"y","jwk":{"kty":"oct"},"jku":1,"enc":"A","zip":"DEF"}"#).expect("valid");
        assert_eq!((header.algorithm(), header.kid(), header.typ()), (Algorithm::RS256, Some("k/1"), Some("at+jwt")));
        let bare = Header::parse(r#"{"alg":"Ed25519"}"#).expect("valid");
        assert_eq!((bare.algorithm(), bare.kid(), bare.typ()), (Algorithm::EdDSA, None, None));
    }

    #[test]
    fn refuses_any_algorithm_that_is_not_a_known_name() {
        assert_eq!(refused("{}"), TokenError::AlgorithmMissing);
        for alg in [
            r#""none""#,
            r#""None""#,
            r#""""#,
            r#""rs256""#,
            r#""RS256 ""#,
            r#""RS256\u0000""#,
            "null",
            "1",
            "true",
            r#"["RS256"]"#,
            r#"{"a":"RS256"}"#,
        ] {
            assert_eq!(refused(&format!("{{\"alg\":{alg}}}")), TokenError::AlgorithmUnknown, "{alg}");
        }
    }

    #[test]
    fn refuses_critical_extensions_in_any_form() {
        for member in [
            r#""crit":[]"#,
            r#""crit":["exp"]"#,
            r#""crit":null"#,
            r#""crit":"b64""#,
            r#""b64":false"#,
            r#""b64":true"#,
            r#""b64":false,"crit":["b64"]"#,
        ] {
            assert_eq!(refused(&format!("{{\"alg\":\"RS256\",{member}}}")), TokenError::CriticalHeader, "{member}");
        }
    }

    #[test]
    fn refuses_nested_tokens() {
        for cty in ["JWT", "jwt", "application/JWT", "APPLICATION/jwt"] {
            assert_eq!(refused(&format!("{{\"alg\":\"RS256\",\"cty\":\"{cty}\"}}")), TokenError::Nested, "{cty}");
        }
        assert_eq!(refused(r#"{"alg":"RS256","cty":1}"#), TokenError::ContentType);
        assert!(Header::parse(r#"{"alg":"RS256","cty":"json"}"#).is_ok());
    }

    #[test]
    fn bounds_and_types_the_key_id() {
        let with_kid = |kid: &str| format!("{{\"alg\":\"RS256\",\"kid\":{kid}}}");
        // The limit counts bytes, and those of the decoded text: `é` has two, however it is written.
        for (longest, too_long) in [
            ("k".repeat(256), "k".repeat(257)),
            ("é".repeat(128), "é".repeat(129)),
            ("\\u00e9".repeat(128), "\\u00e9".repeat(129)),
        ] {
            assert!(Header::parse(&with_kid(&format!("\"{longest}\""))).is_ok(), "{longest}");
            assert_eq!(refused(&with_kid(&format!("\"{too_long}\""))), TokenError::KidTooLong, "{too_long}");
        }
        for kid in ["1", "null", "[\"k\"]", "{\"a\":1}", "false"] {
            assert_eq!(refused(&with_kid(kid)), TokenError::KidMalformed, "{kid}");
        }
        assert_eq!(refused(r#"{"alg":"RS256","typ":1}"#), TokenError::TypMalformed);
    }

    #[test]
    fn media_types_compare_without_case_and_prefix() {
        for same in ["at+jwt", "AT+JWT", "application/at+jwt", "Application/AT+JWT"] {
            assert!(is_media_type(same, "at+jwt"), "{same}");
        }
        for other in
            ["", "jwt", "at+jwt ", "at+jwt;x=1", "application/", "text/at+jwt", "application/application/at+jwt", "ä"]
        {
            assert!(!is_media_type(other, "at+jwt"), "{other}");
        }
    }
}
