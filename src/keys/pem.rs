//! Public keys in PEM (RFC 7468).

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;

use crate::defaults;
use crate::keys::der;
use crate::keys::error::KeyError;
use crate::keys::material::Material;

/// Parses every block of a text. Text outside of blocks is ignored (RFC 7468 §5.2).
///
/// One bad block is an error for the whole text: the operator wrote the text and can correct it.
pub(super) fn public_keys(pem: &[u8]) -> Result<Vec<Material>, KeyError> {
    let text = str::from_utf8(pem).map_err(|_| KeyError::Pem)?;
    let mut lines = text.lines().map(str::trim);
    let mut keys = Vec::new();
    while let Some(label) = lines.by_ref().find_map(opening_label) {
        check_label(label)?;
        let der = block(&mut lines, label)?;
        keys.push(match label {
            PKCS1 => der::rsa_public_key(&der)?,
            _ => der::subject_public_key(&der)?,
        });
    }
    match keys.len() {
        0 => Err(KeyError::Pem),
        count if count > defaults::MAX_KEYS => Err(KeyError::TooManyKeys { count, limit: defaults::MAX_KEYS }),
        _ => Ok(keys),
    }
}

/// Decodes the base64 lines up to the end of the block. Lines may have any length, as after a copy and paste.
fn block<'p>(lines: &mut impl Iterator<Item = &'p str>, label: &str) -> Result<Vec<u8>, KeyError> {
    let mut base64 = String::new();
    for line in lines {
        if let Some(closing) = line.strip_prefix("-----END ") {
            let is_closed = closing.strip_suffix(DASHES) == Some(label);
            return if is_closed { STANDARD.decode(base64).map_err(|_| KeyError::Pem) } else { Err(KeyError::Pem) };
        }
        base64.push_str(line);
    }
    Err(KeyError::Pem)
}

fn opening_label(line: &str) -> Option<&str> {
    line.strip_prefix("-----BEGIN ")?.strip_suffix(DASHES)
}

fn check_label(label: &str) -> Result<(), KeyError> {
    match label {
        SPKI | PKCS1 => Ok(()),
        // "PRIVATE KEY", "ENCRYPTED PRIVATE KEY", "RSA PRIVATE KEY", "EC PRIVATE KEY", "OPENSSH PRIVATE KEY"
        _ if label.ends_with("PRIVATE KEY") => Err(KeyError::PrivateKey),
        "CERTIFICATE" | "TRUSTED CERTIFICATE" | "X509 CERTIFICATE" => Err(KeyError::Certificate),
        _ => Err(KeyError::PemLabel),
    }
}

const SPKI: &str = "PUBLIC KEY";
const PKCS1: &str = "RSA PUBLIC KEY";
const DASHES: &str = "-----";

#[cfg(test)]
mod tests {
    use super::*;
    use crate::keys::error::SkipReason;
    use crate::keys::fixtures::{ED25519, P256, P384, P521, RSA, published};

    macro_rules! pem {
        ($name:literal) => {
            include_str!(concat!("../../tests/data/keys/", $name, ".pem"))
        };
    }

    fn error_of(pem: &str) -> KeyError {
        public_keys(pem.as_bytes()).map(drop).expect_err(pem)
    }

    fn relabeled(label: &str) -> String {
        pem!("p256.spki").replace("PUBLIC KEY", label)
    }

    #[test]
    fn parses_the_same_keys_as_from_jwk() {
        for (pem, jwk) in [
            (pem!("rsa-2048.spki"), RSA),
            (pem!("rsa-2048.pkcs1"), RSA),
            (pem!("p256.spki"), P256),
            (pem!("p384.spki"), P384),
            (pem!("p521.spki"), P521),
            (pem!("ed25519.spki"), ED25519),
        ] {
            let keys = public_keys(pem.as_bytes()).expect(pem);
            assert_eq!(keys.len(), 1);
            assert_eq!(keys[0].thumbprint(), published(jwk).material.thumbprint());
        }
    }

    #[test]
    fn parses_several_blocks_and_ignores_text_around_them() {
        let text = format!("old key\r\n{}\nnew key\n{}end", pem!("rsa-2048.pkcs1"), pem!("p256.spki"));
        assert_eq!(public_keys(text.replace('\n', "\r\n").as_bytes()).expect("two").len(), 2);
        let lines: Vec<&str> = pem!("p256.spki").lines().collect();
        let pasted = format!("  {}\n{}\n  {}", lines[0], lines[1..lines.len() - 1].concat(), lines[lines.len() - 1]);
        assert_eq!(public_keys(pasted.as_bytes()).expect("one line").len(), 1);
    }

    #[test]
    fn detects_private_keys_and_certificates() {
        for label in
            ["PRIVATE KEY", "RSA PRIVATE KEY", "EC PRIVATE KEY", "ENCRYPTED PRIVATE KEY", "OPENSSH PRIVATE KEY"]
        {
            assert_eq!(error_of(&relabeled(label)), KeyError::PrivateKey, "{label}");
        }
        assert_eq!(error_of(&relabeled("CERTIFICATE")), KeyError::Certificate);
        for label in ["CERTIFICATE REQUEST", "EC PARAMETERS", "public key", "SSH2 PUBLIC KEY", ""] {
            assert_eq!(error_of(&relabeled(label)), KeyError::PemLabel, "{label}");
        }
        let second = format!("{}{}", pem!("p256.spki"), relabeled("PRIVATE KEY"));
        assert_eq!(error_of(&second), KeyError::PrivateKey);
    }

    #[test]
    fn rejects_malformed_pem() {
        let good = pem!("p256.spki");
        let (body, _) = good.split_once("-----END").expect("an end");
        for damaged in [
            "".to_owned(),
            "ssh-rsa AAAA".to_owned(),
            body.to_owned(),
            good.replace("-----END PUBLIC", "-----END RSA PUBLIC"),
            good.replace("-----END PUBLIC KEY-----", "-----END PUBLIC KEY"),
            good.replace('M', "*"),
            format!("-----BEGIN PUBLIC KEY-----\n{good}"),
        ] {
            assert_eq!(error_of(&damaged), KeyError::Pem, "{damaged}");
        }
        assert_eq!(public_keys(b"\xff").map(drop), Err(KeyError::Pem));
        let cut = good.replace("MFkwEwYHKoZIzj0CAQYIKoZIzj0DAQcDQgAE", "MFkwEwYHKoZIzj0CAQYIKoZIzj0DAQcDQgAEAAAA");
        assert_eq!(error_of(&cut), KeyError::Der);
        let swapped = pem!("rsa-2048.pkcs1").replace("RSA PUBLIC KEY", "PUBLIC KEY");
        assert_eq!(error_of(&swapped), KeyError::Der);
    }

    #[test]
    fn applies_the_checks_of_a_jwk() {
        for (pem, reason) in [
            (pem!("rsa-1024.spki"), SkipReason::RsaSize),
            (pem!("secp256k1.spki"), SkipReason::Curve),
            (pem!("x25519.spki"), SkipReason::KeyType),
            (pem!("p256-compressed.spki"), SkipReason::Encoding),
        ] {
            assert_eq!(error_of(pem), KeyError::Unusable { reason });
        }
    }

    #[test]
    fn limits_the_number_of_keys() {
        assert_eq!(public_keys(pem!("ed25519.spki").repeat(100).as_bytes()).expect("a hundred").len(), 100);
        let many = pem!("ed25519.spki").repeat(101);
        assert_eq!(error_of(&many), KeyError::TooManyKeys { count: 101, limit: 100 });
    }
}
