//! Reads forms and the credentials of clients.

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use http::HeaderMap;
use http::header::AUTHORIZATION;

/// Parses HTTP Basic credentials. Id and secret are form-encoded before they are joined (RFC 6749 §2.3.1).
pub(super) fn basic(headers: &HeaderMap) -> Option<(String, String)> {
    let authorization = headers.get(AUTHORIZATION)?.to_str().ok()?;
    let (scheme, credential) = authorization.split_once(' ')?;
    if !scheme.eq_ignore_ascii_case("basic") {
        return None;
    }
    let pair = String::from_utf8(STANDARD.decode(credential.trim()).ok()?).ok()?;
    let (id, secret) = pair.split_once(':')?;
    Some((decoded(id), decoded(secret)))
}

/// Returns a parameter of a form.
pub(super) fn parameter(body: &[u8], name: &str) -> Option<String> {
    form_urlencoded::parse(body).find(|(key, _)| key == name).map(|(_, value)| value.into_owned())
}

fn decoded(text: &str) -> String {
    // The parser expects pairs, so an equals sign in front makes the whole text one value.
    let pair = format!("={text}");
    form_urlencoded::parse(pair.as_bytes()).next().map(|(_, value)| value.into_owned()).unwrap_or_default()
}
