//! `ClientAuthentication`: how this API authenticates to the introspection endpoint (RFC 7662 §2.1, RFC 6749 §2.3.1).

use std::fmt;

use base64::Engine as _;
use base64::prelude::BASE64_STANDARD;
use http::HeaderValue;
use zeroize::Zeroizing;

/// How this API authenticates to the introspection endpoint. The endpoint must require authentication (RFC 7662 §2.1), so
/// this is a required argument.
///
/// `Debug` shows no credentials.
#[derive(Clone)]
pub struct ClientAuthentication {
    method: Method,
    /// The id of the client, which a signed answer names as its audience.
    client_id: Option<String>,
}

#[derive(Clone)]
enum Method {
    Basic(Zeroizing<String>),
    Post(Zeroizing<String>),
    Bearer(Zeroizing<String>),
    None,
}

impl ClientAuthentication {
    /// Sends id and secret in the header `Authorization: Basic` (`client_secret_basic`). Every server must support it.
    ///
    /// Id and secret are form-encoded before they are joined (RFC 6749 §2.3.1). For a server that does not decode them,
    /// and a secret with other characters than letters, digits and `-._*`, use [`post`](Self::post).
    #[must_use]
    pub fn basic(client_id: impl Into<String>, secret: impl Into<String>) -> Self {
        Self { method: Method::Basic(Zeroizing::new(secret.into())), client_id: Some(client_id.into()) }
    }

    /// Sends id and secret in the form (`client_secret_post`).
    #[must_use]
    pub fn post(client_id: impl Into<String>, secret: impl Into<String>) -> Self {
        Self { method: Method::Post(Zeroizing::new(secret.into())), client_id: Some(client_id.into()) }
    }

    /// Sends an access token of this API in the header `Authorization: Bearer` (RFC 7662 §2.1).
    #[must_use]
    pub fn bearer(token: impl Into<String>) -> Self {
        Self { method: Method::Bearer(Zeroizing::new(token.into())), client_id: None }
    }

    /// Sends no credentials.
    ///
    /// # Security
    ///
    /// An endpoint without authentication lets everyone find out which tokens are valid (RFC 7662 §4). Use this only if
    /// the HTTP client authenticates itself, for example with a certificate.
    #[must_use]
    pub fn dangerous_none() -> Self {
        Self { method: Method::None, client_id: None }
    }

    /// Sets the id under which the server knows this API, for [`bearer`](Self::bearer) and
    /// [`dangerous_none`](Self::dangerous_none). [Signed
    /// answers](crate::introspection::Introspection::with_signed_answers) need it.
    #[must_use]
    pub fn with_client_id(mut self, client_id: impl Into<String>) -> Self {
        self.client_id = Some(client_id.into());
        self
    }

    pub(crate) fn client_id(&self) -> Option<&str> {
        self.client_id.as_deref()
    }

    /// Returns whether id and secret are present, and can be sent.
    pub(crate) fn is_valid(&self) -> bool {
        let is_text = |text: &str| !text.is_empty() && !text.chars().any(char::is_control);
        let is_id_valid = self.client_id.as_deref().is_none_or(is_text);
        match &self.method {
            Method::Basic(secret) | Method::Post(secret) => is_id_valid && is_text(secret),
            Method::Bearer(token) => is_id_valid && is_text(token) && token.is_ascii() && !token.contains(' '),
            Method::None => is_id_valid,
        }
    }

    /// Returns the value of the header `Authorization`, marked as sensitive.
    pub(super) fn header(&self) -> Option<HeaderValue> {
        let credentials = match &self.method {
            Method::Basic(secret) => {
                let mut pair = Zeroizing::new(String::new());
                form_encode(&mut pair, self.client_id.as_deref().unwrap_or_default());
                pair.push(':');
                form_encode(&mut pair, secret);
                Zeroizing::new(format!("Basic {}", BASE64_STANDARD.encode(pair.as_bytes())))
            }
            Method::Bearer(token) => Zeroizing::new(format!("Bearer {}", token.as_str())),
            Method::Post(_) | Method::None => return None,
        };
        let mut value = HeaderValue::from_str(&credentials).ok()?;
        value.set_sensitive(true);
        Some(value)
    }

    /// Returns the form about a token (RFC 7662 §2.1).
    pub(super) fn form(&self, token: &str) -> String {
        let mut form = String::with_capacity(token.len().saturating_mul(2).saturating_add(256));
        form.push_str("token=");
        form_encode(&mut form, token);
        form.push_str("&token_type_hint=access_token");
        if let Method::Post(secret) = &self.method {
            form.push_str("&client_id=");
            form_encode(&mut form, self.client_id.as_deref().unwrap_or_default());
            form.push_str("&client_secret=");
            form_encode(&mut form, secret);
        }
        form
    }
}

impl fmt::Debug for ClientAuthentication {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match &self.method {
            Method::Basic(_) => "ClientAuthentication(basic)",
            Method::Post(_) => "ClientAuthentication(post)",
            Method::Bearer(_) => "ClientAuthentication(bearer)",
            Method::None => "ClientAuthentication(none)",
        })
    }
}

/// Appends text in the encoding of forms (RFC 6749 appendix B): letters, digits and `-._*` stay, a space becomes `+`.
fn form_encode(to: &mut String, text: &str) {
    const HEX: &[u8; 16] = b"0123456789ABCDEF";
    for byte in text.bytes() {
        match byte {
            b'a'..=b'z' | b'A'..=b'Z' | b'0'..=b'9' | b'-' | b'.' | b'_' | b'*' => to.push(char::from(byte)),
            b' ' => to.push('+'),
            _ => {
                to.push('%');
                let digit = |nibble: u8| HEX.get(usize::from(nibble)).copied().map_or('0', char::from);
                to.push(digit(byte >> 4));
                to.push(digit(byte & 0xf));
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn decoded(form: &str) -> Vec<(String, String)> {
        form_urlencoded::parse(form.as_bytes()).into_owned().collect()
    }

    /// Case 31.
    #[test]
    fn encodes_id_and_secret_with_every_character_for_both_methods() {
        let (id, secret) = ("urn:a b/ü", "z/t+Z:9=%&ü");
        let basic = ClientAuthentication::basic(id, secret).header().expect("a header");
        assert!(basic.is_sensitive());
        let pair = basic.to_str().expect("ASCII").strip_prefix("Basic ").expect("the scheme").to_owned();
        let pair = String::from_utf8(BASE64_STANDARD.decode(pair).expect("base64")).expect("ASCII");
        let (encoded_id, encoded_secret) = pair.split_once(':').expect("a pair");
        assert_eq!(
            decoded(&format!("id={encoded_id}&secret={encoded_secret}")),
            [("id".to_owned(), id.to_owned()), ("secret".to_owned(), secret.to_owned())]
        );
        let post = ClientAuthentication::post(id, secret);
        assert_eq!(post.header(), None);
        let form = decoded(&post.form("t"));
        assert_eq!(
            form[2..],
            [("client_id".to_owned(), id.to_owned()), ("client_secret".to_owned(), secret.to_owned())]
        );
    }

    /// A server that does not decode Basic credentials works with these characters.
    #[test]
    fn leaves_letters_digits_and_four_signs_as_they_are() {
        let mut encoded = String::new();
        form_encode(&mut encoded, "aZ09-._* ~");
        assert_eq!(encoded, "aZ09-._*+%7E");
    }

    /// Case 32.
    #[test]
    fn a_token_survives_the_form_encoding() {
        let token = "a+b/c-d.e_f~g==";
        let authentication = ClientAuthentication::bearer("api-token");
        assert_eq!(
            decoded(&authentication.form(token)),
            [("token".to_owned(), token.to_owned()), ("token_type_hint".to_owned(), "access_token".to_owned())]
        );
        assert_eq!(authentication.header(), Some(HeaderValue::from_static("Bearer api-token")));
        assert_eq!(ClientAuthentication::dangerous_none().header(), None);
    }

    #[test]
    fn debug_shows_no_credentials_and_empty_ones_are_invalid() {
        let shown = format!("{:?}", ClientAuthentication::basic("orders", "s3cret"));
        assert_eq!(shown, "ClientAuthentication(basic)");
        for valid in [
            ClientAuthentication::basic("a", "b"),
            ClientAuthentication::bearer("t"),
            ClientAuthentication::dangerous_none(),
        ] {
            assert!(valid.is_valid());
        }
        for invalid in [
            ClientAuthentication::basic("", "b"),
            ClientAuthentication::post("a", ""),
            ClientAuthentication::post("a", "b\n"),
            ClientAuthentication::bearer("a b"),
            ClientAuthentication::bearer("t").with_client_id(""),
        ] {
            assert!(!invalid.is_valid(), "{invalid:?}");
        }
    }
}
