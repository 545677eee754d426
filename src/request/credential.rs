//! Request to credential: exactly one bearer token in the `Authorization` header (RFC 6750 §2.1).

use std::borrow::Cow;
use std::fmt;
use std::ops::Range;

use http::header::{AUTHORIZATION, COOKIE, SEC_WEBSOCKET_PROTOCOL};
use http::{HeaderMap, HeaderValue};

/// The credential of the `Bearer` scheme, in the grammar of RFC 6750 §2.1 and proven in nothing else.
///
/// Its `Debug` form shows no part of it.
#[derive(Clone, PartialEq, Eq)]
pub struct BearerToken<'h>(Cow<'h, str>);

impl<'h> BearerToken<'h> {
    /// Takes a token that stands alone, without scheme.
    ///
    /// # Errors
    ///
    /// [`CredentialError::Malformed`] if it is not `1*( ALPHA / DIGIT / "-" / "." / "_" / "~" / "+" / "/" ) *"="`.
    pub fn parse(token: &'h str) -> Result<Self, CredentialError> {
        if is_b64token(token.as_bytes()) { Ok(Self(Cow::Borrowed(token))) } else { Err(CredentialError::Malformed) }
    }

    /// Takes what follows the scheme.
    pub(crate) fn read(octets: &'h [u8]) -> Result<Self, CredentialError> {
        if octets.is_empty() {
            return Err(CredentialError::Empty);
        }
        let token = std::str::from_utf8(octets).map_err(|_| CredentialError::Malformed)?;
        Self::parse(token)
    }

    /// The token itself.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// Copies the token out of the headers.
    #[must_use]
    pub fn into_owned(self) -> BearerToken<'static> {
        BearerToken(Cow::Owned(self.0.into_owned()))
    }
}

impl fmt::Debug for BearerToken<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("BearerToken(redacted)")
    }
}

/// A token as it is presented: octets of any kind, and where they come from.
pub(crate) enum Credential<'t> {
    /// What follows the scheme in the header. Its grammar is not asked for what turns out to be a token, whose own is narrower.
    Field(&'t [u8]),
    /// Read from wherever the application lets it stand.
    Token(BearerToken<'t>),
    /// Handed over by the application, which answers for where it comes from.
    Text(&'t str),
}

impl<'t> Credential<'t> {
    pub(crate) fn octets(&self) -> &[u8] {
        match self {
            Self::Field(octets) => octets,
            Self::Token(token) => token.as_str().as_bytes(),
            Self::Text(text) => text.as_bytes(),
        }
    }

    /// Says whether it could be a token of some kind.
    pub(crate) fn check(&self) -> Result<(), CredentialError> {
        match self {
            Self::Field(octets) => BearerToken::read(octets).map(drop),
            Self::Token(_) | Self::Text(_) => Ok(()),
        }
    }

    /// Reads it where that has not been done.
    pub(crate) fn read(self) -> Result<BearerToken<'t>, CredentialError> {
        match self {
            Self::Field(octets) => BearerToken::read(octets),
            Self::Token(token) => Ok(token),
            Self::Text(text) => BearerToken::parse(text),
        }
    }
}

/// The credential of a request that waits: a part of a header value, whose bytes it shares with the request.
pub(crate) struct SharedCredential {
    value: HeaderValue,
    part: Range<usize>,
}

impl SharedCredential {
    /// Shares the header value that `credential` is a part of. A credential that is a part of none, which only a token
    /// source of the application returns, is copied; `None` if it has bytes that a header value cannot have.
    pub(crate) fn new(credential: &Credential<'_>, headers: &HeaderMap) -> Option<Self> {
        let token = credential.octets();
        let sharing =
            |value: &HeaderValue| Some(Self { part: range_within(value.as_bytes(), token)?, value: value.clone() });
        headers.values().find_map(sharing).or_else(|| {
            let value = HeaderValue::from_bytes(token).ok()?;
            Some(Self { part: 0..token.len(), value })
        })
    }

    /// The same credential again.
    pub(crate) fn credential(&self) -> Credential<'_> {
        Credential::Field(self.value.as_bytes().get(self.part.clone()).unwrap_or_default())
    }
}

/// The range of `part` in `whole`, by their addresses; `None` if it is no part of it.
fn range_within(whole: &[u8], part: &[u8]) -> Option<Range<usize>> {
    let start = part.as_ptr().addr().checked_sub(whole.as_ptr().addr())?;
    let end = start.checked_add(part.len())?;
    (end <= whole.len()).then_some(start..end)
}

/// Finds the one credential of a request.
///
/// `Ok(None)` says that there is none, or one of another scheme. The scheme is compared without case, and one or more
/// spaces follow it.
///
/// # Errors
///
/// [`CredentialError`] for a second `Authorization` field, and for a `Bearer` credential that is empty, a list, or
/// outside the grammar.
pub fn extract(headers: &HeaderMap) -> Result<Option<BearerToken<'_>>, CredentialError> {
    unread(headers)?.map(BearerToken::read).transpose()
}

/// Finds what follows the scheme of the one credential, and looks at none of it: a length can be judged before.
pub(crate) fn unread(headers: &HeaderMap) -> Result<Option<&[u8]>, CredentialError> {
    let mut fields = headers.get_all(AUTHORIZATION).iter();
    let Some(field) = fields.next() else { return Ok(None) };
    // RFC 9110 §5.3: a field that is no list stands once; choosing one of two would let others choose differently.
    if fields.next().is_some() {
        return Err(CredentialError::Multiple);
    }
    Ok(credential(field))
}

/// Finds a token in the cookie `name` (RFC 6265 §5.4); for
/// [`BearerLayer::with_token_source`](crate::BearerLayer::with_token_source).
///
/// `Ok(None)` if there is no such cookie, or an empty one, which is how a cookie is taken away.
///
/// # Errors
///
/// [`CredentialError::Multiple`] if the cookie is there twice, [`CredentialError::Malformed`] if its value is no token.
pub fn from_cookie<'h>(headers: &'h HeaderMap, name: &str) -> Result<Option<BearerToken<'h>>, CredentialError> {
    let pairs = headers.get_all(COOKIE).iter().flat_map(|field| field.as_bytes().split(|octet| *octet == b';'));
    let values = pairs.filter_map(|pair| {
        let rest = pair.trim_ascii().strip_prefix(name.as_bytes())?.strip_prefix(b"=")?;
        Some(rest).filter(|value| !value.is_empty())
    });
    only(values)
}

/// Finds a token among the subprotocols that a WebSocket client offers (RFC 6455 §11.3.4), behind `prefix`: with
/// `bearer.` it is `Sec-WebSocket-Protocol: chat, bearer.<token>`. For
/// [`BearerLayer::with_token_source`](crate::BearerLayer::with_token_source); a browser can set no header there.
///
/// # Errors
///
/// [`CredentialError::Multiple`] if there are two, [`CredentialError::Malformed`] if what follows the prefix is no token.
///
/// # Security
///
/// The server must answer with another subprotocol, never with this one, which holds the token.
pub fn from_subprotocol<'h>(headers: &'h HeaderMap, prefix: &str) -> Result<Option<BearerToken<'h>>, CredentialError> {
    let fields = headers.get_all(SEC_WEBSOCKET_PROTOCOL).iter();
    let protocols = fields.flat_map(|field| field.as_bytes().split(|octet| *octet == b','));
    only(protocols.filter_map(|protocol| protocol.trim_ascii().strip_prefix(prefix.as_bytes())))
}

/// Takes a token that stands once.
fn only<'h>(mut found: impl Iterator<Item = &'h [u8]>) -> Result<Option<BearerToken<'h>>, CredentialError> {
    let Some(octets) = found.next() else { return Ok(None) };
    if found.next().is_some() {
        return Err(CredentialError::Multiple);
    }
    let token = std::str::from_utf8(octets).map_err(|_| CredentialError::Malformed)?;
    BearerToken::parse(token).map(Some)
}

/// What follows the scheme `Bearer`; `None` under any other scheme, whatever its octets.
fn credential(field: &HeaderValue) -> Option<&[u8]> {
    let (scheme, rest) = field.as_bytes().trim_ascii_end().split_at_checked(SCHEME.len())?;
    // A scheme is a token (RFC 9110 §11.1), so it ends where that does.
    if !scheme.eq_ignore_ascii_case(SCHEME) || rest.first().copied().is_some_and(is_tchar) {
        return None;
    }
    let spaces = rest.iter().position(|octet| *octet != b' ').unwrap_or(rest.len());
    // Without a space in between the rest is kept whole, and is no b64token: "Bearer\t…", "Bearer,…".
    if spaces == 0 { Some(rest) } else { rest.get(spaces..) }
}

/// RFC 6750 §2.1: `b64token = 1*( ALPHA / DIGIT / "-" / "." / "_" / "~" / "+" / "/" ) *"="`.
fn is_b64token(octets: &[u8]) -> bool {
    let body = octets.iter().rposition(|octet| *octet != b'=').map_or(0, |last| last.saturating_add(1));
    // Without early exit and without branches, so that it is done for many octets at once; each range is a subtraction and
    // a comparison, and `-`, `.`, `/` stand before the digits.
    let is_body = |octet: u8| {
        ((octet | 0x20).wrapping_sub(b'a') < 26)
            | (octet.wrapping_sub(b'-') <= b'9'.wrapping_sub(b'-'))
            | (octet == b'_')
            | (octet == b'~')
            | (octet == b'+')
    };
    let all_body = |body: &[u8]| body.iter().fold(true, |good, octet| good & is_body(*octet));
    body > 0 && octets.get(..body).is_some_and(all_body)
}

/// RFC 9110 §5.6.2: `tchar`.
fn is_tchar(octet: u8) -> bool {
    octet.is_ascii_alphanumeric() || b"!#$%&'*+-.^_`|~".contains(&octet)
}

/// Why a request has no usable credential though it seems to bring one.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum CredentialError {
    /// More than one `Authorization` field, or a token in more than one place.
    Multiple,
    /// The scheme without a token.
    Empty,
    /// Not a b64token: a list, parameters, a space inside, octets that are not visible ASCII.
    Malformed,
}

impl fmt::Display for CredentialError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Multiple => "more than one credential",
            Self::Empty => "the Bearer credential is empty",
            Self::Malformed => "the Bearer credential is malformed",
        })
    }
}

impl std::error::Error for CredentialError {}

const SCHEME: &[u8] = b"bearer";

#[cfg(test)]
mod tests {
    use super::*;

    fn read(fields: &[&[u8]]) -> Result<Option<String>, CredentialError> {
        let mut headers = HeaderMap::new();
        for field in fields {
            headers.append(AUTHORIZATION, HeaderValue::from_bytes(field).expect("a field value"));
        }
        extract(&headers).map(|token| token.map(|token| token.as_str().to_owned()))
    }

    #[test]
    fn takes_one_token_under_the_scheme_in_any_case() {
        for field in
            ["Bearer a.b-c_d~e+f/g==", "bearer a.b-c_d~e+f/g==", "bEaReR  a.b-c_d~e+f/g==", "BEARER a.b-c_d~e+f/g== "]
        {
            assert_eq!(read(&[field.as_bytes()]), Ok(Some("a.b-c_d~e+f/g==".to_owned())), "{field}");
        }
    }

    #[test]
    fn another_scheme_is_no_credential_whatever_its_octets() {
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
    fn refuses_more_than_one_field() {
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
    fn refuses_malformed_credentials() {
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
    fn a_token_has_the_octets_of_the_grammar_and_no_others() {
        let listed = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-._~+/";
        for octet in 0..=u8::MAX {
            assert_eq!(is_b64token(&[b'a', octet, b'a']), listed.contains(&octet), "{octet:#x}");
        }
    }

    fn headers(name: &http::HeaderName, fields: &[&'static str]) -> HeaderMap {
        fields.iter().map(|field| (name.clone(), HeaderValue::from_static(field))).collect()
    }

    #[test]
    fn a_cookie_is_found_by_its_whole_name() {
        let read = |fields: &[&'static str]| {
            let headers = headers(&COOKIE, fields);
            from_cookie(&headers, "access").map(|token| token.map(|token| token.as_str().to_owned()))
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
    fn a_subprotocol_is_found_by_its_prefix() {
        let read = |fields: &[&'static str]| {
            let headers = headers(&SEC_WEBSOCKET_PROTOCOL, fields);
            from_subprotocol(&headers, "bearer.").map(|token| token.map(|token| token.as_str().to_owned()))
        };
        assert_eq!(read(&["chat, bearer.a.b.c"]), Ok(Some("a.b.c".to_owned())));
        assert_eq!(read(&["chat, bearer"]), Ok(None));
        assert_eq!(read(&["bearer.a", "bearer.b"]), Err(CredentialError::Multiple));
        assert_eq!(read(&["bearer."]), Err(CredentialError::Malformed));
    }

    #[test]
    fn a_waiting_credential_shares_the_bytes_of_its_header_value() {
        let mut headers = HeaderMap::new();
        headers.insert(COOKIE, HeaderValue::from_static("theme=dark; access=a.b.c"));
        headers.insert(AUTHORIZATION, HeaderValue::from_static("Bearer d.e.f"));
        let field = Credential::Field(unread(&headers).expect("one").expect("a credential"));
        let cookie = Credential::Token(from_cookie(&headers, "access").expect("one").expect("a token"));
        for (credential, name) in [(field, AUTHORIZATION), (cookie, COOKIE)] {
            let shared = SharedCredential::new(&credential, &headers).expect("a part");
            assert_eq!(shared.credential().octets(), credential.octets());
            assert_eq!(shared.value.as_bytes().as_ptr(), headers[&name].as_bytes().as_ptr());
        }
        // The same text elsewhere is no part.
        let elsewhere = Credential::Text("a.b.c");
        let copied = SharedCredential::new(&elsewhere, &headers).expect("visible ASCII");
        assert_eq!((copied.credential().octets(), copied.value.len()), (&b"a.b.c"[..], 5));
        assert!(SharedCredential::new(&Credential::Text("a\nb"), &headers).is_none());
    }

    #[test]
    fn debug_shows_nothing_of_the_token() {
        let token = BearerToken::parse("abc").expect("well-formed");
        assert_eq!(
            format!("{:?} {:?}", token, token.clone().into_owned()),
            "BearerToken(redacted) BearerToken(redacted)"
        );
    }
}
