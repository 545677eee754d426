//! Extracts the credential of a request: exactly one bearer token in the `Authorization` header (RFC 6750 §2.1).

use std::borrow::Cow;
use std::fmt;
use std::ops::Range;

use http::header::{AUTHORIZATION, COOKIE, SEC_WEBSOCKET_PROTOCOL};
use http::{HeaderMap, HeaderValue};

use crate::request::list_items;

/// A credential of the `Bearer` scheme that matches the grammar of RFC 6750 §2.1. Nothing else about it is verified.
///
/// `Debug` shows no part of the token.
#[derive(Clone, PartialEq, Eq)]
pub struct BearerToken<'h>(Cow<'h, str>);

impl<'h> BearerToken<'h> {
    /// Parses a token without its scheme.
    ///
    /// # Errors
    ///
    /// Returns [`CredentialError::Malformed`] if `token` does not match
    /// `1*( ALPHA / DIGIT / "-" / "." / "_" / "~" / "+" / "/" ) *"="`.
    pub fn parse(token: &'h str) -> Result<Self, CredentialError> {
        if is_b64token(token.as_bytes()) { Ok(Self(Cow::Borrowed(token))) } else { Err(CredentialError::Malformed) }
    }

    /// Reads the token from `Authorization`, where it must be the only credential (RFC 6750 §2.1).
    ///
    /// Returns `Ok(None)` if the header is absent or has another scheme. The case of the scheme does not matter, and one or
    /// more spaces follow it.
    ///
    /// # Errors
    ///
    /// Returns [`CredentialError`] for a second `Authorization` field, and for a `Bearer` credential that is empty, a list, or
    /// does not match the grammar.
    pub fn from_headers(headers: &'h HeaderMap) -> Result<Option<Self>, CredentialError> {
        extract_unchecked(headers, &[Scheme::Bearer])?.map(|(_, bytes)| Self::from_bytes(bytes)).transpose()
    }

    /// Reads a token from the cookie `name` (RFC 6265 §5.4), for
    /// [`BearerLayer::with_token_source`](crate::BearerLayer::with_token_source).
    ///
    /// Returns `Ok(None)` if there is no such cookie, or if its value is empty: some servers clear a cookie in this way.
    ///
    /// # Errors
    ///
    /// Returns [`CredentialError::Multiple`] if the cookie is present more than once, [`CredentialError::Malformed`] if its
    /// value is not a token.
    pub fn from_cookie(headers: &'h HeaderMap, name: &str) -> Result<Option<Self>, CredentialError> {
        let pairs = headers.get_all(COOKIE).iter().flat_map(|field| field.as_bytes().split(|byte| *byte == b';'));
        let values = pairs.filter_map(|pair| {
            let rest = pair.trim_ascii().strip_prefix(name.as_bytes())?.strip_prefix(b"=")?;
            Some(rest).filter(|value| !value.is_empty())
        });
        at_most_one(values)
    }

    /// Reads a token from the subprotocols that a WebSocket client offers (RFC 6455 §11.3.4), for
    /// [`BearerLayer::with_token_source`](crate::BearerLayer::with_token_source).
    ///
    /// The token follows `prefix`: with `bearer.` the header is `Sec-WebSocket-Protocol: chat, bearer.<token>`. A browser
    /// cannot set an `Authorization` header on a WebSocket request.
    ///
    /// # Errors
    ///
    /// Returns [`CredentialError::Multiple`] if more than one subprotocol has the prefix, [`CredentialError::Malformed`] if the
    /// text after the prefix is not a token.
    ///
    /// # Security
    ///
    /// The subprotocol with the prefix contains the token, so the server must select another subprotocol in its response.
    pub fn from_subprotocol(headers: &'h HeaderMap, prefix: &str) -> Result<Option<Self>, CredentialError> {
        let protocols = list_items(headers, &SEC_WEBSOCKET_PROTOCOL);
        at_most_one(protocols.filter_map(|protocol| protocol.strip_prefix(prefix.as_bytes())))
    }

    /// Parses the bytes after the scheme.
    pub(crate) fn from_bytes(bytes: &'h [u8]) -> Result<Self, CredentialError> {
        if bytes.is_empty() {
            return Err(CredentialError::Empty);
        }
        let token = std::str::from_utf8(bytes).map_err(|_| CredentialError::Malformed)?;
        Self::parse(token)
    }

    /// Returns the text of the token.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// Copies the token, so that it no longer borrows the headers.
    #[must_use]
    pub fn into_owned(self) -> BearerToken<'static> {
        BearerToken(Cow::Owned(self.0.into_owned()))
    }
}

/// The authentication scheme of a credential (RFC 9110 §11.1).
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum Scheme {
    /// `Bearer` (RFC 6750). A token from another place than the `Authorization` header counts as sent under this scheme.
    #[default]
    Bearer,
    /// `DPoP` (RFC 9449 §7.1). Accepted only if the API is configured with [`Api::with_dpop`](crate::Api::with_dpop), or, for tokens that
    /// are bound to a certificate, with
    /// [`MutualTls::with_bound_tokens_under_dpop_scheme`](crate::MutualTls::with_bound_tokens_under_dpop_scheme).
    Dpop,
}

impl Scheme {
    /// Returns the name of the scheme, as challenges have it.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Bearer => "Bearer",
            Self::Dpop => "DPoP",
        }
    }
}

/// The schemes of the credentials of a request, for its challenge.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) enum UsedSchemes {
    #[default]
    Bearer,
    Dpop,
    /// The request has a credential of each scheme.
    Both,
}

impl UsedSchemes {
    /// Reads the schemes of all `Authorization` fields. Another scheme counts as `Bearer`.
    pub(crate) fn from_headers(headers: &HeaderMap) -> Self {
        let (mut has_dpop, mut has_bearer) = (false, false);
        for field in headers.get_all(AUTHORIZATION) {
            has_dpop |= credential(field, Scheme::Dpop).is_some();
            has_bearer |= credential(field, Scheme::Bearer).is_some();
        }
        match (has_dpop, has_bearer) {
            (true, true) => Self::Both,
            (true, false) => Self::Dpop,
            (false, _) => Self::Bearer,
        }
    }

    /// Returns the scheme, or `Bearer` if there are two.
    pub(crate) const fn scheme(self) -> Scheme {
        match self {
            Self::Dpop => Scheme::Dpop,
            Self::Bearer | Self::Both => Scheme::Bearer,
        }
    }
}

impl fmt::Debug for BearerToken<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("BearerToken(redacted)")
    }
}

/// The bytes of a token as the client sent them, by their source. They are not checked yet.
pub(crate) enum Credential<'t> {
    /// The bytes after the scheme in the header. Their grammar is checked only if they are not a JWT, whose grammar is
    /// narrower.
    Field(&'t [u8]),
    /// A token that a token source of the application returned.
    Token(BearerToken<'t>),
    /// A text that the application passed in. The application is responsible for its source.
    Text(&'t str),
}

impl<'t> Credential<'t> {
    pub(crate) fn as_bytes(&self) -> &[u8] {
        match self {
            Self::Field(bytes) => bytes,
            Self::Token(token) => token.as_str().as_bytes(),
            Self::Text(text) => text.as_bytes(),
        }
    }

    /// Checks that the token matches the grammar of bearer tokens, unless this has been checked.
    pub(crate) fn check(&self) -> Result<(), CredentialError> {
        match self {
            Self::Field(bytes) => BearerToken::from_bytes(bytes).map(drop),
            Self::Token(_) | Self::Text(_) => Ok(()),
        }
    }

    /// Converts the token to a bearer token and checks the grammar, unless this has been checked.
    pub(crate) fn read(self) -> Result<BearerToken<'t>, CredentialError> {
        match self {
            Self::Field(bytes) => BearerToken::from_bytes(bytes),
            Self::Token(token) => Ok(token),
            Self::Text(text) => BearerToken::parse(text),
        }
    }
}

/// The credential of a waiting request: a range of a header value whose bytes it shares with the request.
pub(crate) struct SharedCredential {
    value: HeaderValue,
    /// Numbers of 32 bits take less memory in each waiting request.
    part: Range<u32>,
}

impl SharedCredential {
    /// Shares the header value that contains `credential`. Copies a credential that is in no header value, which only a
    /// token source of the application returns. Returns `None` if it has bytes that a header value cannot have.
    pub(crate) fn new(credential: &Credential<'_>, headers: &HeaderMap) -> Option<Self> {
        let token = credential.as_bytes();
        let share =
            |value: &HeaderValue| Some(Self { part: range_within(value.as_bytes(), token)?, value: value.clone() });
        headers.values().find_map(share).or_else(|| {
            let value = HeaderValue::from_bytes(token).ok()?;
            Some(Self { part: 0..u32::try_from(token.len()).ok()?, value })
        })
    }

    /// Returns the credential.
    pub(crate) fn credential(&self) -> Credential<'_> {
        let bounds = usize::try_from(self.part.start).ok().zip(usize::try_from(self.part.end).ok());
        let part = bounds.and_then(|(start, end)| self.value.as_bytes().get(start..end));
        Credential::Field(part.unwrap_or_default())
    }
}

/// Returns the range of `part` in `whole`, by their addresses; `None` if `part` is not inside `whole`.
fn range_within(whole: &[u8], part: &[u8]) -> Option<Range<u32>> {
    let start = part.as_ptr().addr().checked_sub(whole.as_ptr().addr())?;
    let end = start.checked_add(part.len())?;
    if end > whole.len() {
        return None;
    }
    Some(u32::try_from(start).ok()?..u32::try_from(end).ok()?)
}

/// Extracts the bytes after one of the schemes without checking them, so that the length can be checked first.
pub(crate) fn extract_unchecked<'h>(
    headers: &'h HeaderMap,
    schemes: &[Scheme],
) -> Result<Option<(Scheme, &'h [u8])>, CredentialError> {
    let mut fields = headers.get_all(AUTHORIZATION).iter();
    let Some(field) = fields.next() else { return Ok(None) };
    // RFC 9110 §5.3: a field that is not a list occurs once. If it occurs twice, a proxy could choose the other one.
    if fields.next().is_some() {
        return Err(CredentialError::Multiple);
    }
    Ok(schemes.iter().find_map(|scheme| Some((*scheme, credential(field, *scheme)?))))
}

/// Parses the only token; an error if there are several.
fn at_most_one<'h>(mut found: impl Iterator<Item = &'h [u8]>) -> Result<Option<BearerToken<'h>>, CredentialError> {
    let Some(bytes) = found.next() else { return Ok(None) };
    if found.next().is_some() {
        return Err(CredentialError::Multiple);
    }
    let token = std::str::from_utf8(bytes).map_err(|_| CredentialError::Malformed)?;
    BearerToken::parse(token).map(Some)
}

/// Returns the bytes after a scheme; `None` for any other scheme, whatever its bytes.
fn credential(field: &HeaderValue, scheme: Scheme) -> Option<&[u8]> {
    let scheme_name = scheme.name().as_bytes();
    let (scheme, rest) = field.as_bytes().trim_ascii_end().split_at_checked(scheme_name.len())?;
    // Nearly all clients write the name in the same case.
    if scheme != scheme_name && !scheme.eq_ignore_ascii_case(scheme_name) {
        return None;
    }
    let spaces = rest.iter().take_while(|byte| **byte == b' ').count();
    // A scheme is a token (RFC 9110 §11.1): it ends at the first byte that is not a tchar.
    if spaces == 0 && rest.first().copied().is_some_and(is_tchar) {
        return None;
    }
    // Without a space, the rest is returned whole and is not a b64token: "Bearer\t…", "Bearer,…".
    rest.get(spaces..)
}

/// RFC 6750 §2.1: `b64token = 1*( ALPHA / DIGIT / "-" / "." / "_" / "~" / "+" / "/" ) *"="`.
fn is_b64token(bytes: &[u8]) -> bool {
    let body = bytes.iter().rposition(|byte| *byte != b'=').map_or(0, |last| last.saturating_add(1));
    // Without early exit and branches, so that the compiler vectorizes the loop. Each range is a subtraction and a
    // comparison; `-`, `.` and `/` precede the digits in ASCII.
    let is_body = |byte: u8| {
        ((byte | 0x20).wrapping_sub(b'a') < 26)
            | (byte.wrapping_sub(b'-') <= b'9'.wrapping_sub(b'-'))
            | (byte == b'_')
            | (byte == b'~')
            | (byte == b'+')
    };
    let all_body = |body: &[u8]| body.iter().fold(true, |good, byte| good & is_body(*byte));
    body > 0 && bytes.get(..body).is_some_and(all_body)
}

/// RFC 9110 §5.6.2: `tchar`.
fn is_tchar(byte: u8) -> bool {
    let is_symbol = matches!(
        byte,
        b'!' | b'#' | b'$' | b'%' | b'&' | b'\'' | b'*' | b'+' | b'-' | b'.' | b'^' | b'_' | b'`' | b'|' | b'~'
    );
    byte.is_ascii_alphanumeric() || is_symbol
}

/// The reason why the credential of a request cannot be used.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum CredentialError {
    /// The request has more than one `Authorization` field, or a token in more than one place.
    Multiple,
    /// The scheme is not followed by a token.
    Empty,
    /// The credential is not a b64token (RFC 6750 §2.1). For example, it is a list, has parameters, or contains a space or
    /// bytes that are not visible ASCII.
    Malformed,
}

impl fmt::Display for CredentialError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Multiple => "the request has more than one credential",
            Self::Empty => "the credential is empty",
            Self::Malformed => "the credential is malformed",
        })
    }
}

impl std::error::Error for CredentialError {}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(fields: &[&[u8]]) -> Result<Option<String>, CredentialError> {
        let mut headers = HeaderMap::new();
        for field in fields {
            headers.append(AUTHORIZATION, HeaderValue::from_bytes(field).expect("a field value"));
        }
        BearerToken::from_headers(&headers).map(|token| token.map(|token| token.as_str().to_owned()))
    }

    #[test]
    fn accepts_one_token_with_the_scheme_in_any_case() {
        for field in
            ["Bearer a.b-c_d~e+f/g==", "bearer a.b-c_d~e+f/g==", "bEaReR  a.b-c_d~e+f/g==", "BEARER a.b-c_d~e+f/g== "]
        {
            assert_eq!(read(&[field.as_bytes()]), Ok(Some("a.b-c_d~e+f/g==".to_owned())), "{field}");
        }
    }

    #[test]
    fn ignores_credentials_of_other_schemes() {
        assert_eq!(read(&[]), Ok(None));
        for field in [
            &b"Basic dTpw"[..],
            b"DPoP a.b.c",
            b"Basic x, Bearer a.b.c",
            b"Bearera.b.c",
            b"Negotiate \xe9",
            b"",
            b"\xe9",
            b"Bear er a",
        ] {
            assert_eq!(read(&[field]), Ok(None), "{field:?}");
        }
    }

    #[test]
    fn extracts_a_credential_of_each_listed_scheme() {
        let headers = |fields: &[&'static str]| headers(&AUTHORIZATION, fields);
        for (field, schemes, expected) in [
            ("DPoP a.b.c", &[Scheme::Bearer, Scheme::Dpop][..], Some((Scheme::Dpop, &b"a.b.c"[..]))),
            ("dpop  a.b.c", &[Scheme::Bearer, Scheme::Dpop], Some((Scheme::Dpop, b"a.b.c"))),
            ("Bearer a.b.c", &[Scheme::Bearer, Scheme::Dpop], Some((Scheme::Bearer, b"a.b.c"))),
            ("DPoP", &[Scheme::Bearer, Scheme::Dpop], Some((Scheme::Dpop, b""))),
            ("DPoP a.b.c", &[Scheme::Bearer], None),
            ("DPoPa.b.c", &[Scheme::Bearer, Scheme::Dpop], None),
        ] {
            assert_eq!(extract_unchecked(&headers(&[field]), schemes), Ok(expected), "{field}");
        }
        for (fields, used) in [
            (&["Bearer a", "DPoP b"][..], UsedSchemes::Both),
            (&["DPoP a", "DPoP a"], UsedSchemes::Dpop),
            (&["Bearer a", "Bearer a"], UsedSchemes::Bearer),
            (&["Basic a"], UsedSchemes::Bearer),
            (&[], UsedSchemes::Bearer),
        ] {
            assert_eq!(UsedSchemes::from_headers(&headers(fields)), used, "{fields:?}");
        }
    }

    #[test]
    fn rejects_more_than_one_authorization_field() {
        for fields in [
            [&b"Bearer a"[..], b"Bearer a"],
            [b"Bearer a", b"Bearer b"],
            [b"Basic x", b"Bearer a"],
            [b"Bearer a", b"DPoP b"],
            [b"", b""],
        ] {
            assert_eq!(read(&fields), Err(CredentialError::Multiple), "{fields:?}");
        }
    }

    #[test]
    fn rejects_malformed_credentials() {
        for field in [&b"Bearer"[..], b"bearer", b"Bearer ", b"Bearer    "] {
            assert_eq!(read(&[field]), Err(CredentialError::Empty), "{field:?}");
        }
        for field in [
            &b"Bearer a, Bearer b"[..],
            b"Bearer Bearer a",
            b"Bearer a b",
            b"Bearer\ta",
            b"Bearer,a",
            b"Bearer \ta",
            b"Bearer token=\"a\"",
            b"Bearer \"a\"",
            b"Bearer a\xe9",
            b"Bearer \xff",
            b"Bearer =",
            b"Bearer ==",
            b"Bearer a=b",
            b"Bearer a%2e",
            b"Bearer {}",
        ] {
            assert_eq!(read(&[field]), Err(CredentialError::Malformed), "{field:?}");
        }
    }

    #[test]
    fn accepts_exactly_the_bytes_of_the_b64token_grammar() {
        let listed = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-._~+/";
        for byte in 0..=u8::MAX {
            assert_eq!(is_b64token(&[b'a', byte, b'a']), listed.contains(&byte), "{byte:#x}");
        }
    }

    fn headers(name: &http::HeaderName, fields: &[&'static str]) -> HeaderMap {
        fields.iter().map(|field| (name.clone(), HeaderValue::from_static(field))).collect()
    }

    #[test]
    fn finds_a_cookie_by_its_whole_name() {
        let read = |fields: &[&'static str]| {
            let headers = headers(&COOKIE, fields);
            BearerToken::from_cookie(&headers, "access").map(|token| token.map(|token| token.as_str().to_owned()))
        };
        for fields in [&["access=a.b.c"][..], &["x=y; access=a.b.c;z"], &["x=y", "access=a.b.c"]] {
            assert_eq!(read(fields), Ok(Some("a.b.c".to_owned())), "{fields:?}");
        }
        for fields in [&[][..], &["access="], &["no-access=a.b.c; Access=a; access2=b; access"]] {
            assert_eq!(read(fields), Ok(None), "{fields:?}");
        }
        for fields in [&["access=a; access=b"][..], &["access=a", "access=a"]] {
            assert_eq!(read(fields), Err(CredentialError::Multiple), "{fields:?}");
        }
        for field in ["access=\"a.b.c\"", "access=a b", "access==a"] {
            assert_eq!(read(&[field]), Err(CredentialError::Malformed), "{field}");
        }
    }

    #[test]
    fn finds_a_subprotocol_by_its_prefix() {
        let read = |fields: &[&'static str]| {
            let headers = headers(&SEC_WEBSOCKET_PROTOCOL, fields);
            BearerToken::from_subprotocol(&headers, "bearer.").map(|token| token.map(|token| token.as_str().to_owned()))
        };
        assert_eq!(read(&["chat, bearer.a.b.c"]), Ok(Some("a.b.c".to_owned())));
        assert_eq!(read(&["chat, bearer"]), Ok(None));
        assert_eq!(read(&["bearer.a", "bearer.b"]), Err(CredentialError::Multiple));
        assert_eq!(read(&["bearer."]), Err(CredentialError::Malformed));
    }

    #[test]
    fn shared_credential_shares_the_bytes_of_its_header_value() {
        let mut headers = HeaderMap::new();
        headers.insert(COOKIE, HeaderValue::from_static("theme=dark; access=a.b.c"));
        headers.insert(AUTHORIZATION, HeaderValue::from_static("Bearer d.e.f"));
        let (_, field) = extract_unchecked(&headers, &[Scheme::Bearer]).expect("one").expect("a credential");
        let field = Credential::Field(field);
        let cookie = Credential::Token(BearerToken::from_cookie(&headers, "access").expect("one").expect("a token"));
        for (credential, name) in [(field, AUTHORIZATION), (cookie, COOKIE)] {
            let shared = SharedCredential::new(&credential, &headers).expect("in a header value");
            assert_eq!(shared.credential().as_bytes(), credential.as_bytes());
            assert_eq!(shared.value.as_bytes().as_ptr(), headers[&name].as_bytes().as_ptr());
        }
        // An equal text at another address is not in the header value.
        let elsewhere = Credential::Text("a.b.c");
        let copied = SharedCredential::new(&elsewhere, &headers).expect("visible ASCII");
        assert_eq!((copied.credential().as_bytes(), copied.value.len()), (&b"a.b.c"[..], 5));
        assert!(SharedCredential::new(&Credential::Text("a\nb"), &headers).is_none());
    }

    #[test]
    fn debug_does_not_show_the_token() {
        let token = BearerToken::parse("abc").expect("well-formed");
        assert_eq!(
            format!("{:?} {:?}", token, token.clone().into_owned()),
            "BearerToken(redacted) BearerToken(redacted)"
        );
    }
}
