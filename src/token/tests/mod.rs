pub(crate) mod jws;

use base64::Engine as _;
use base64::alphabet;
use base64::engine::{DecodePaddingMode, GeneralPurpose, GeneralPurposeConfig};
use proptest::prelude::*;

use super::*;
use crate::request::credential::Credential;

fn encode(text: &str) -> String {
    BASE64URL.encode(text)
}

pub(crate) fn token(header: &str, payload: &str) -> String {
    format!("{}.{}.{}", encode(header), encode(payload), encode("sig"))
}

fn parse_error(token: &str) -> TokenError {
    UnverifiedToken::parse(token).map(drop).expect_err(token)
}

const HEADER: &str = r#"{"alg":"RS256"}"#;

#[test]
fn parses_a_token() {
    let token = token(HEADER, r#"{"sub":"me"}"#);
    let parsed = UnverifiedToken::parse(&token).expect("well-formed");
    assert_eq!(parsed.signing_input(), token.rsplit_once('.').expect("dots").0.as_bytes());
    assert_eq!(parsed.signature(), b"sig");
    assert_eq!(parsed.payload().text(Claim::Sub), Member::Is("me"));
}

/// RFC 6750 §2.1: so the grammar of the credential is checked only for bytes that do not parse as a token.
#[test]
fn parsed_tokens_match_the_grammar_of_credentials() {
    let valid = token(HEADER, "{}").into_bytes();
    let header = UnverifiedToken::parse_with_known_header(&valid, |_| None).expect("well-formed").header().clone();
    let mut parsed = 0;
    for at in 0..valid.len() {
        for byte in 0..=u8::MAX {
            let mut bytes = valid.clone();
            bytes[at] = byte;
            let is_known = |segment: &[u8]| (segment == header_segment(&valid)).then(|| header.clone());
            if UnverifiedToken::parse_with_known_header(&bytes, is_known).is_ok() {
                assert_eq!(Credential::Field(&bytes).check(), Ok(()), "byte {byte:#x} at {at}");
                parsed += 1;
            }
        }
    }
    assert!(parsed > valid.len(), "{parsed}");
}

#[test]
fn rejects_tokens_without_three_segments() {
    for (token, error) in [
        ("", TokenError::NoToken),
        (" ", TokenError::WhiteSpace),
        ("Bearer a.b.c", TokenError::WhiteSpace),
        ("a.b.c\n", TokenError::WhiteSpace),
        ("a", TokenError::NotAJwt),
        ("a.b", TokenError::NotAJwt),
        ("a.b.c.d", TokenError::NotAJwt),
        ("a.b.c.d.e", TokenError::Encrypted),
        ("....", TokenError::Encrypted),
        ("a.b.c.d.e.f", TokenError::NotAJwt),
        ("..", TokenError::Empty { segment: Segment::Header }),
        (".b.c", TokenError::Empty { segment: Segment::Header }),
        ("a..c", TokenError::Empty { segment: Segment::Payload }),
        ("a.b.", TokenError::Empty { segment: Segment::Signature }),
    ] {
        assert_eq!(parse_error(token), error, "{token}");
    }
    assert_eq!(parse_error(&".".repeat(1_000_000)), TokenError::NotAJwt);
}

#[test]
fn rejects_non_canonical_encodings() {
    let valid = token(HEADER, "{}");
    assert!(UnverifiedToken::parse(&valid).is_ok());
    let (signed, _) = valid.rsplit_once('.').expect("dots");
    // "c2ln" is canonical for "sig"; one character less leaves trailing bits.
    assert!(UnverifiedToken::parse(&format!("{signed}.c2k")).is_ok());
    for signature in ["c2 n", "c2\nn", "c2ln\n"] {
        assert_eq!(parse_error(&format!("{signed}.{signature}")), TokenError::WhiteSpace, "{signature:?}");
    }
    for signature in ["c2l", "c2k=", "c2lnc", "c2+n", "c2/n", "c2ln=", "é"] {
        assert_eq!(
            parse_error(&format!("{signed}.{signature}")),
            TokenError::Encoding { segment: Segment::Signature },
            "{signature:?}"
        );
    }
    assert_eq!(parse_error(&format!("{}=.e30.AA", encode(HEADER))), TokenError::Encoding { segment: Segment::Header });
    assert_eq!(parse_error(&format!("{}.e31.AA", encode(HEADER))), TokenError::Encoding { segment: Segment::Payload });
}

#[test]
fn rejects_payloads_that_are_not_one_object() {
    for payload in ["", "[]", "null", "1", "{}{}", "\u{feff}{}"] {
        let error = parse_error(&format!("{}.{}.AA", encode(HEADER), encode(payload)));
        let expected = if payload.is_empty() {
            TokenError::Empty { segment: Segment::Payload }
        } else {
            TokenError::Json { segment: Segment::Payload }
        };
        assert_eq!(error, expected, "{payload}");
    }
    let not_utf8 = format!("{}.{}.AA", encode(HEADER), BASE64URL.encode(b"{\"a\":\"\xff\"}"));
    assert_eq!(parse_error(&not_utf8), TokenError::Json { segment: Segment::Payload });
    assert_eq!(
        parse_error(&token(HEADER, r#"{"x":1,"x":1}"#)),
        TokenError::DuplicateMember { segment: Segment::Payload }
    );
    assert_eq!(
        parse_error(&token(r#"{"alg":"RS256","alg":"none"}"#, "{}")),
        TokenError::DuplicateMember { segment: Segment::Header }
    );
}

#[test]
fn debug_does_not_show_the_token() {
    let token = token(HEADER, r#"{"sub":"somebody"}"#);
    let shown = format!("{:?}", UnverifiedToken::parse(&token).expect("well-formed"));
    assert_eq!(shown, "UnverifiedToken { algorithm: RS256, .. }");
}

proptest! {
    /// Compares the fast decoder with one that is explicitly strict.
    #[test]
    fn decodes_exactly_what_the_strict_reference_decodes(segment in "[A-Za-z0-9_-]{0,100}[-A-Za-z0-9_+/= .\n\u{e9}]{0,3}[A-Za-z0-9_-]{0,70}") {
        let mut bytes = b"before".to_vec();
        let outcome = decode(Segment::Signature, segment.as_bytes(), &mut bytes);
        match BASE64URL.decode(&segment) {
            Ok(expected) => {
                prop_assert_eq!(outcome, Ok(()));
                prop_assert_eq!(bytes, [b"before".as_slice(), &expected].concat());
            }
            Err(_) => prop_assert_eq!(outcome, Err(TokenError::Encoding { segment: Segment::Signature })),
        }
    }

    #[test]
    fn decodes_what_was_encoded(bytes in prop::collection::vec(any::<u8>(), 0..600)) {
        let mut decoded = Vec::new();
        decode(Segment::Signature, BASE64URL.encode(&bytes).as_bytes(), &mut decoded).expect("canonical");
        prop_assert_eq!(decoded, bytes);
    }
}

/// A strict decoder: without padding and trailing bits.
const BASE64URL: GeneralPurpose = GeneralPurpose::new(
    &alphabet::URL_SAFE,
    GeneralPurposeConfig::new()
        .with_encode_padding(false)
        .with_decode_padding_mode(DecodePaddingMode::RequireNone)
        .with_decode_allow_trailing_bits(false),
);
