//! Public keys in PEM (RFC 7468).

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;

use crate::defaults;
use crate::keys::der;
use crate::keys::error::KeyError;
use crate::keys::material::Material;

/// Reads every block of a text; text outside of blocks is ignored (RFC 7468 §5.2).
///
/// One bad block costs the others: the text is an operator's own, so a fault in it is better told than skipped.
pub(super) fn public_keys(pem: &[u8]) -> Result<Vec<Material>, KeyError> {
    let text = str::from_utf8(pem).map_err(|_| KeyError::Pem)?;
    let mut lines = text.lines().map(str::trim);
    let mut keys = Vec::new();
    while let Some(label) = lines.by_ref().find_map(opening_label) {
        vet_label(label)?;
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

/// Reads base64 lines up to the block's end; lines may have any length, as they have after a copy and paste.
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

fn vet_label(label: &str) -> Result<(), KeyError> {
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
