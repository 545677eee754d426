//! The JOSE header of a token (RFC 7515 §4).

use std::borrow::Cow;

use crate::defaults;
use crate::token::algorithm::Algorithm;
use crate::token::json_text::{Span, unquote_with};
use crate::token::key_id::{CertificateHashes, KeyId};
use crate::token::object;
use crate::token::token_type::{TokenType, intern_typ, is_media_type};
use crate::token::{Segment, TokenError};

/// The header of a token: `alg`, `kid` (or `x5t#S256` and `x5t`), and `typ`.
///
/// Keys and key URLs in a header (`jwk`, `jku`, `x5u`, `x5c`) are never read, because the sender chooses them (RFC 8725
/// §3.10). Without a `kid`, the hashes of a certificate (`x5t#S256`, `x5t`) select one of the keys of the issuer.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Header {
    algorithm: Algorithm,
    kid: Option<Box<str>>,
    /// `x5t#S256` and `x5t`; `None` if there is a `kid`.
    certificate: Option<Box<CertificateHashes>>,
    typ: Option<Cow<'static, str>>,
}

impl Header {
    /// Returns the algorithm that the token names. It is accepted only if the configuration of the issuer lists it.
    #[must_use]
    pub fn algorithm(&self) -> Algorithm {
        self.algorithm
    }

    /// Returns the `kid`, at most 256 bytes, which is compared exactly (RFC 7515 §4.1.4).
    #[must_use]
    pub fn kid(&self) -> Option<&str> {
        self.kid.as_deref()
    }

    /// Returns the media type of the token, unchanged (RFC 7515 §4.1.9).
    #[must_use]
    pub fn typ(&self) -> Option<&str> {
        self.typ.as_deref()
    }

    /// Returns the members that identify the key.
    pub(crate) fn key_id(&self) -> KeyId<'_> {
        KeyId { kid: self.kid(), certificate: self.certificate.as_deref() }
    }

    pub(crate) fn token_type(&self) -> TokenType {
        TokenType::from_typ(self.typ())
    }

    /// Returns the size of its heap allocations in bytes.
    pub(crate) fn footprint(&self) -> usize {
        let texts = [self.kid(), self.typ()].into_iter().flatten();
        let certificate = self
            .certificate
            .as_deref()
            .map_or(0, |certificate| size_of::<CertificateHashes>().saturating_add(certificate.footprint()));
        texts.map(str::len).fold(certificate, usize::saturating_add)
    }

    pub(super) fn parse(json: &str) -> Result<Self, TokenError> {
        let found = object::members::<MEMBERS>(json, index_of)
            .map_err(|error| TokenError::from_json_error(Segment::Header, error))?;
        let [algorithm, kid, typ, cty, crit, b64, x5t_s256, x5t] = found.spans;
        let text = |span: Option<Span>, malformed| match span.and_then(|span| span.slice(json)) {
            None => Ok(None),
            Some(raw) => unquote_with(raw, found.has_escapes).map(Some).ok_or(malformed),
        };
        // RFC 7515 §4.1.11: this crate supports no extension. RFC 7797 §7: a JWT must not use `b64`.
        if crit.is_some() || b64.is_some() {
            return Err(TokenError::CriticalHeader);
        }
        if let Some(cty) = text(cty, TokenError::MalformedCty)?
            && is_media_type(&cty, "jwt")
        {
            return Err(TokenError::Nested);
        }
        let algorithm = text(algorithm, TokenError::UnknownAlgorithm)?.ok_or(TokenError::MissingAlgorithm)?;
        let algorithm = Algorithm::from_name(&algorithm).ok_or(TokenError::UnknownAlgorithm)?;
        let kid = text(kid, TokenError::MalformedKid)?;
        if kid.as_ref().is_some_and(|kid| kid.len() > defaults::MAX_KID_BYTES) {
            return Err(TokenError::KidTooLong);
        }
        let hash = |span| match text(span, TokenError::MalformedX5t)? {
            Some(hash) if !CertificateHashes::is_hash(&hash) => Err(TokenError::MalformedX5t),
            hash => Ok(hash.map(Box::from)),
        };
        // With a `kid` they are not needed (RFC 7515 §6).
        let certificate = if kid.is_some() { None } else { CertificateHashes::new(hash(x5t_s256)?, hash(x5t)?) };
        let typ = text(typ, TokenError::MalformedTyp)?;
        Ok(Self {
            algorithm,
            kid: kid.map(Box::from),
            certificate: certificate.map(Box::new),
            typ: typ.map(intern_typ),
        })
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
        "x5t#S256" => 6,
        "x5t" => 7,
        _ => return None,
    })
}

const MEMBERS: usize = 8;

#[cfg(test)]
mod tests {
    use super::*;

    fn parse_error(json: &str) -> TokenError {
        Header::parse(json).expect_err(json)
    }

    #[test]
    fn parses_alg_kid_and_typ_and_ignores_other_members() {
        let header = Header::parse(r#"{"typ":"at+jwt","alg":"RS256","kid":"k\/1","x5t":"y","jwk":{"kty":"oct"},"jku":1,"enc":"A","zip":"DEF"}"#).expect("valid");
        assert_eq!((header.algorithm(), header.kid(), header.typ()), (Algorithm::RS256, Some("k/1"), Some("at+jwt")));
        let bare = Header::parse(r#"{"alg":"Ed25519"}"#).expect("valid");
        assert_eq!((bare.algorithm(), bare.kid(), bare.typ()), (Algorithm::EdDSA, None, None));
    }

    #[test]
    fn parses_certificate_hashes_only_without_a_kid() {
        let parse = |members: &str| Header::parse(&format!(r#"{{"alg":"RS256",{members}}}"#));
        let certificate = |sha256: Option<&str>, sha1: Option<&str>| {
            CertificateHashes::new(sha256.map(Box::from), sha1.map(Box::from)).map(Box::new)
        };
        let parsed = |members: &str| parse(members).expect(members).certificate;
        assert_eq!(parsed(r#""x5t":"one","x5t#S256":"t\u0077o""#), certificate(Some("two"), Some("one")));
        assert_eq!(parsed(r#""x5t":"one""#), certificate(None, Some("one")));
        assert_eq!(parsed(r#""x5t":"one","x5t#S256":"two","kid":"k""#), None);
        assert_eq!(parsed(r#""x5t":1,"kid":"k""#), None);
        let long = |length: usize| format!(r#""x5t#S256":"{}""#, "h".repeat(length));
        assert_eq!(parsed(&long(64)), certificate(Some(&"h".repeat(64)), None));
        assert_eq!(parsed(r#""x5t":"one=","kid":"k""#), None);
        for members in [
            r#""x5t":1"#,
            r#""x5t":null"#,
            r#""x5t#S256":["two"]"#,
            r#""x5t":"""#,
            r#""x5t":"one=""#,
            r#""x5t#S256":"t+o""#,
            r#""x5t#S256":"t\u00f6""#,
            &long(65),
        ] {
            assert_eq!(parse(members), Err(TokenError::MalformedX5t), "{members}");
        }
    }

    #[test]
    fn rejects_unknown_algorithms() {
        assert_eq!(parse_error("{}"), TokenError::MissingAlgorithm);
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
            assert_eq!(parse_error(&format!("{{\"alg\":{alg}}}")), TokenError::UnknownAlgorithm, "{alg}");
        }
    }

    #[test]
    fn rejects_critical_extensions_in_any_form() {
        for member in [
            r#""crit":[]"#,
            r#""crit":["exp"]"#,
            r#""crit":null"#,
            r#""crit":"b64""#,
            r#""b64":false"#,
            r#""b64":true"#,
            r#""b64":false,"crit":["b64"]"#,
        ] {
            assert_eq!(parse_error(&format!("{{\"alg\":\"RS256\",{member}}}")), TokenError::CriticalHeader, "{member}");
        }
    }

    #[test]
    fn rejects_nested_tokens() {
        for cty in ["JWT", "jwt", "application/JWT", "APPLICATION/jwt"] {
            assert_eq!(parse_error(&format!("{{\"alg\":\"RS256\",\"cty\":\"{cty}\"}}")), TokenError::Nested, "{cty}");
        }
        assert_eq!(parse_error(r#"{"alg":"RS256","cty":1}"#), TokenError::MalformedCty);
        assert!(Header::parse(r#"{"alg":"RS256","cty":"json"}"#).is_ok());
    }

    #[test]
    fn rejects_a_kid_that_is_too_long_or_not_a_string() {
        let with_kid = |kid: &str| format!("{{\"alg\":\"RS256\",\"kid\":{kid}}}");
        // The limit counts bytes of the decoded text: `é` has two, escaped or not.
        for (longest, too_long) in [
            ("k".repeat(256), "k".repeat(257)),
            ("é".repeat(128), "é".repeat(129)),
            ("\\u00e9".repeat(128), "\\u00e9".repeat(129)),
        ] {
            assert!(Header::parse(&with_kid(&format!("\"{longest}\""))).is_ok(), "{longest}");
            assert_eq!(parse_error(&with_kid(&format!("\"{too_long}\""))), TokenError::KidTooLong, "{too_long}");
        }
        for kid in ["1", "null", "[\"k\"]", "{\"a\":1}", "false"] {
            assert_eq!(parse_error(&with_kid(kid)), TokenError::MalformedKid, "{kid}");
        }
        assert_eq!(parse_error(r#"{"alg":"RS256","typ":1}"#), TokenError::MalformedTyp);
    }
}
