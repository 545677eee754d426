//! `NearMiss`: the one part in which `htu` differs from the URL of the request.

use std::fmt;

use super::normal_form::{HttpUrl, normal_path};
use super::{Handshake, PublicUrl};

/// The one part in which the claim `htu` differs from the public URL of the request. It shows how a proxy or a client is
/// misconfigured.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum NearMiss {
    /// Only the scheme differs. Usually a proxy terminates TLS, and the client or the configuration names the inner URL.
    Scheme,
    /// Only the host differs.
    Host,
    /// Only the port differs.
    Port,
    /// Only a slash at the end of the path differs.
    TrailingSlash,
    /// Only upper and lower case of the path differ.
    Case,
    /// `htu` lacks the path prefix of the public URL.
    MissingPrefix,
    /// `htu` has a path prefix that the public URL does not have. Usually a proxy removes it.
    ExtraPrefix,
    /// Only percent-encoding or dot segments differ: the path of the request is not in normal form, or an encoded character is
    /// significant (`%2F`).
    Encoding,
}

impl NearMiss {
    /// Returns the fixed snake_case name for logs.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Scheme => "scheme",
            Self::Host => "host",
            Self::Port => "port",
            Self::TrailingSlash => "trailing_slash",
            Self::Case => "case",
            Self::MissingPrefix => "missing_prefix",
            Self::ExtraPrefix => "extra_prefix",
            Self::Encoding => "encoding",
        }
    }
}

impl fmt::Display for NearMiss {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Scheme => "only the scheme differs",
            Self::Host => "only the host differs",
            Self::Port => "only the port differs",
            Self::TrailingSlash => "only the slash at the end differs",
            Self::Case => "only upper and lower case of the path differ",
            Self::MissingPrefix => "it lacks the path prefix of the public URL",
            Self::ExtraPrefix => "it has a path prefix that the public URL lacks",
            Self::Encoding => "only percent-encoding or dot segments of the path differ",
        })
    }
}

impl PublicUrl {
    /// Returns the one part in which a claim differs.
    pub(super) fn near_miss(&self, claim: &HttpUrl<'_>, path: &str, handshake: Handshake) -> Option<NearMiss> {
        // A scheme without a port implies another port, so both differ together.
        let has_default_ports = claim.port == claim.scheme.default_port() && self.port == self.scheme.default_port();
        let same_scheme = self.has_scheme(claim, handshake);
        let same_port = claim.port == self.port || (!same_scheme && has_default_ports);
        let same_host = claim.host == self.host;
        match (same_scheme, same_host, same_port, self.has_path(claim, path)) {
            (false, true, true, true) => Some(NearMiss::Scheme),
            (true, false, true, true) => Some(NearMiss::Host),
            (true, true, false, true) => Some(NearMiss::Port),
            (true, true, true, false) => self.path_difference(claim, path),
            _ => None,
        }
    }

    fn path_difference(&self, claim: &HttpUrl<'_>, path: &str) -> Option<NearMiss> {
        if !path.starts_with('/') {
            return None;
        }
        let (expected, claimed) = (format!("{}{path}", self.base), normal_path(claim.path));
        let without_slash = |path: &str| path.strip_suffix('/').unwrap_or(path).to_owned();
        if without_slash(&expected) == without_slash(&claimed) {
            Some(NearMiss::TrailingSlash)
        } else if expected.eq_ignore_ascii_case(&claimed) {
            Some(NearMiss::Case)
        } else if *claimed == *path {
            Some(NearMiss::MissingPrefix)
        } else if claimed.len() > expected.len() && claimed.ends_with(&expected) {
            Some(NearMiss::ExtraPrefix)
        } else {
            let is_encoding = normal_path(&expected) == claimed || decoded(&expected) == decoded(&claimed);
            is_encoding.then_some(NearMiss::Encoding)
        }
    }
}

/// Returns the path with encoded slashes decoded, the only reserved character that clients decode by mistake.
fn decoded(path: &str) -> String {
    path.replace("%2F", "/").replace("%2f", "/")
}
