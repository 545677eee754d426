//! `HttpUrl`: an absolute URL of the claim `htu`, and its normal form (RFC 3986 §6.2.2 and §6.2.3, RFC 9110 §4.2.3).

use std::borrow::Cow;

use crate::request::host::Host;

/// A URL without its query and fragment.
pub(super) struct HttpUrl<'u> {
    pub(super) scheme: Scheme,
    /// In lower case; an IPv6 address is in brackets and canonical.
    pub(super) host: Box<str>,
    /// The default port of the scheme, if the URL has none.
    pub(super) port: u16,
    /// The path as it is written; `/` if it is empty.
    pub(super) path: &'u str,
}

/// A scheme of RFC 9110 §4.2 or RFC 6455 §3.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Scheme {
    Https,
    Http,
    Wss,
    Ws,
}

impl Scheme {
    const ALL: [Self; 4] = [Self::Https, Self::Http, Self::Wss, Self::Ws];

    pub(super) const fn name(self) -> &'static str {
        match self {
            Self::Https => "https",
            Self::Http => "http",
            Self::Wss => "wss",
            Self::Ws => "ws",
        }
    }

    pub(super) const fn default_port(self) -> u16 {
        match self {
            Self::Https | Self::Wss => 443,
            Self::Http | Self::Ws => 80,
        }
    }

    /// Returns the scheme of the handshake of a WebSocket URL.
    pub(super) const fn as_http(self) -> Self {
        match self {
            Self::Https | Self::Wss => Self::Https,
            Self::Http | Self::Ws => Self::Http,
        }
    }
}

impl<'u> HttpUrl<'u> {
    /// Parses an absolute URL. Returns `None` for another scheme, user information, a host that is percent-encoded or not ASCII, an
    /// invalid port, and a path with control characters, white space, a backslash or malformed percent-encoding.
    pub(super) fn parse(text: &'u str) -> Option<Self> {
        let end = text.find(['?', '#']).unwrap_or(text.len());
        let (scheme, rest) = text.get(..end)?.split_once("://")?;
        let scheme = Scheme::ALL.into_iter().find(|known| known.name().eq_ignore_ascii_case(scheme))?;
        let (authority, path) = rest.split_at_checked(rest.find('/').unwrap_or(rest.len()))?;
        let (host, port) = split_authority(authority)?;
        let path = if path.is_empty() { "/" } else { path };
        let is_visible = |byte: u8| byte.is_ascii_graphic() && byte != b'\\';
        (path.bytes().all(is_visible) && has_valid_escapes(path)).then_some(Self {
            scheme,
            host,
            port: port.unwrap_or(scheme.default_port()),
            path,
        })
    }
}

/// Returns a path in normal form: escapes in upper case, unreserved characters decoded, dot segments removed.
pub(super) fn normal_path(path: &str) -> Cow<'_, str> {
    let is_normal = !path.contains('%') && !path.contains("/.");
    if is_normal { Cow::Borrowed(path) } else { Cow::Owned(without_dot_segments(&with_normal_escapes(path))) }
}

/// Splits `host[:port]`. Returns the host in lower case, and `None` as the port if it is absent or empty (RFC 3986 §3.2.3).
fn split_authority(authority: &str) -> Option<(Box<str>, Option<u16>)> {
    let host_end = match authority.strip_prefix('[') {
        Some(rest) => rest.find(']')?.checked_add(2)?,
        None => authority.find(':').unwrap_or(authority.len()),
    };
    let (host, rest) = authority.split_at_checked(host_end)?;
    let port = match rest.strip_prefix(':') {
        None if rest.is_empty() => None,
        None => return None,
        Some("") => None,
        Some(digits) => Some(port(digits)?),
    };
    Some((Host::canonical(host)?.into_boxed_str(), port))
}

/// Parses a port without sign and leading zeros.
fn port(digits: &str) -> Option<u16> {
    let is_plain = digits.bytes().all(|byte| byte.is_ascii_digit()) && !digits.starts_with('0');
    digits.parse().ok().filter(|_| is_plain)
}

/// Returns whether two hexadecimal digits follow each `%`.
fn has_valid_escapes(path: &str) -> bool {
    path.split('%')
        .skip(1)
        .all(|rest| rest.as_bytes().get(..2).is_some_and(|hex| hex.iter().all(u8::is_ascii_hexdigit)))
}

fn with_normal_escapes(path: &str) -> String {
    let mut normal = String::with_capacity(path.len());
    let mut parts = path.split('%');
    normal.push_str(parts.next().unwrap_or_default());
    for part in parts {
        let (digits, rest) = part.split_at_checked(2).unwrap_or((part, ""));
        match u8::from_str_radix(digits, 16) {
            Ok(byte) if byte.is_ascii_alphanumeric() || b"-._~".contains(&byte) => normal.push(char::from(byte)),
            _ => {
                normal.push('%');
                normal.push_str(&digits.to_ascii_uppercase());
            }
        }
        normal.push_str(rest);
    }
    normal
}

/// RFC 3986 §5.2.4, for a path that begins with a slash.
fn without_dot_segments(path: &str) -> String {
    let mut segments: Vec<&str> = Vec::new();
    let mut ends_in_dots = false;
    for segment in path.split('/').skip(1) {
        ends_in_dots = matches!(segment, "." | "..");
        match segment {
            "." => {}
            ".." => drop(segments.pop()),
            segment => segments.push(segment),
        }
    }
    if ends_in_dots {
        segments.push("");
    }
    let length = path.len();
    segments.iter().fold(String::with_capacity(length), |normal, segment| normal + "/" + segment)
}
