//! `IssuerPattern`: a rule for `iss` values that differ only in the name of a tenant.

use std::fmt;

/// A pattern of `iss` values, such as `https://id.example.com/t/{tenant}`.
///
/// # Security
///
/// The literal parts are compared byte for byte, and nothing is decoded or normalized. A capture never matches `/`, `%`, `@`,
/// `:` or `..`, so a matching `iss` has the scheme, the port and the literal part of the host of the pattern.
#[derive(Clone, Debug)]
pub(crate) struct IssuerPattern {
    text: Box<str>,
    /// The parts of the text between slashes. The third is the authority.
    segments: Box<[Segment]>,
}

/// One part of a pattern between slashes.
#[derive(Clone, Debug)]
enum Segment {
    Literal(Box<str>),
    /// Exactly one capture, with the literal text before and after it.
    Captured {
        before: Box<str>,
        name: Box<str>,
        after: Box<str>,
    },
}

/// The reason why a pattern of `iss` values is not usable.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum IssuerPatternError {
    /// The pattern has no capture.
    NoCapture,
    /// A brace is not part of a `{name}` of letters, digits and `_`, two captures have the same name, or a part between two
    /// slashes has more than one capture.
    Capture,
    /// The pattern is not `https://` or `http://` with a host, or the host has a capture that at least two literal labels do not
    /// follow. `https://{tenant}.example.com` is usable; `https://{host}/` and `https://{name}.com` are not.
    Host,
}

impl IssuerPattern {
    /// Parses a pattern.
    pub(in crate::config) fn parse(text: &str) -> Result<Self, IssuerPatternError> {
        let mut names = Vec::new();
        let segments = text.split('/').map(|part| Segment::parse(part, &mut names));
        let segments: Box<[Segment]> = segments.collect::<Result<_, _>>()?;
        let count = names.len();
        names.sort_unstable();
        names.dedup();
        if names.len() != count {
            return Err(IssuerPatternError::Capture);
        }
        match &*segments {
            [Segment::Literal(scheme), Segment::Literal(empty), authority, ..]
                if matches!(&**scheme, "https:" | "http:") && empty.is_empty() && authority.is_safe_authority() => {}
            _ => return Err(IssuerPatternError::Host),
        }
        if count == 0 {
            return Err(IssuerPatternError::NoCapture);
        }
        Ok(Self { text: Box::from(text), segments })
    }

    /// Returns the pattern as it was configured.
    pub(crate) fn as_str(&self) -> &str {
        &self.text
    }

    /// Returns an `iss` that matches.
    pub(in crate::config) fn example(&self) -> String {
        let part = |segment: &Segment| match segment {
            Segment::Literal(text) => text.to_string(),
            Segment::Captured { before, after, .. } => format!("{before}x{after}"),
        };
        self.segments.iter().map(part).collect::<Vec<_>>().join("/")
    }

    /// Returns whether an `iss` matches.
    pub(crate) fn matches(&self, issuer: &str) -> bool {
        let mut parts = issuer.split('/');
        let matched = self.segments.iter().enumerate().all(|(at, segment)| {
            let component = if at == AUTHORITY { UrlComponent::Host } else { UrlComponent::Path };
            parts.next().is_some_and(|part| segment.matches(part, component))
        });
        matched && parts.next().is_none()
    }

    /// Returns the name and text of each capture of an `iss`, if it matches.
    pub(in crate::config) fn captures<'t>(&'t self, issuer: &'t str) -> Option<Vec<(&'t str, &'t str)>> {
        let captured = |(segment, part): (&'t Segment, &'t str)| match segment {
            Segment::Literal(_) => None,
            Segment::Captured { before, name, after } => {
                Some((&**name, part.strip_prefix(&**before)?.strip_suffix(&**after)?))
            }
        };
        self.matches(issuer).then(|| self.segments.iter().zip(issuer.split('/')).filter_map(captured).collect())
    }
}

/// The component of the URL that a capture is in.
#[derive(Clone, Copy, PartialEq, Eq)]
enum UrlComponent {
    Host,
    Path,
}

impl Segment {
    /// Parses one part, and adds the name of its capture.
    fn parse<'t>(part: &'t str, names: &mut Vec<&'t str>) -> Result<Self, IssuerPatternError> {
        let Some((before, rest)) = part.split_once('{') else {
            return if part.contains('}') {
                Err(IssuerPatternError::Capture)
            } else {
                Ok(Self::Literal(Box::from(part)))
            };
        };
        let (name, after) = rest.split_once('}').ok_or(IssuerPatternError::Capture)?;
        let is_name = !name.is_empty() && name.bytes().all(|byte| byte.is_ascii_alphanumeric() || byte == b'_');
        if !is_name || before.contains('}') || after.contains(['{', '}']) {
            return Err(IssuerPatternError::Capture);
        }
        names.push(name);
        Ok(Self::Captured { before: Box::from(before), name: Box::from(name), after: Box::from(after) })
    }

    /// Returns whether the pattern determines the domain and the port of each host that matches.
    fn is_safe_authority(&self) -> bool {
        match self {
            Self::Literal(host) => !host.is_empty(),
            Self::Captured { before, after, .. } => {
                let domain = after.split_once('.').map(|(_, domain)| domain.split(':').next().unwrap_or_default());
                let labels = domain.unwrap_or_default().split('.').collect::<Vec<_>>();
                let is_host = !before.contains(['@', ':', '[']) && !after.contains(['@', '[']);
                is_host && labels.len() >= 2 && labels.iter().all(|label| !label.is_empty())
            }
        }
    }

    fn matches(&self, part: &str, component: UrlComponent) -> bool {
        match self {
            Self::Literal(text) => **text == *part,
            Self::Captured { before, after, .. } => {
                let captured = part.strip_prefix(&**before).and_then(|rest| rest.strip_suffix(&**after));
                captured.is_some_and(|captured| is_name(captured, component)) && !matches!(part, "." | "..")
            }
        }
    }
}

/// Returns whether a capture matches this text. In a host, it matches one label or a part of it, in lower case.
fn is_name(text: &str, component: UrlComponent) -> bool {
    let is_allowed = |byte: u8| match component {
        UrlComponent::Host => byte.is_ascii_lowercase() || byte.is_ascii_digit() || byte == b'-',
        UrlComponent::Path => byte.is_ascii_alphanumeric() || matches!(byte, b'.' | b'_' | b'-'),
    };
    (1..=MAX_NAME_BYTES).contains(&text.len()) && text.bytes().all(is_allowed) && text != "." && !text.contains("..")
}

impl fmt::Display for IssuerPatternError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::NoCapture => "has no capture such as `{tenant}`; use `with_alias` for a fixed `iss`",
            Self::Capture => {
                "has a malformed capture; write `{name}` with letters, digits and `_`, at most one between two slashes, \
                 each with its own name"
            }
            Self::Host => {
                "must begin with `https://` and a host; a capture in the host needs at least two literal labels after it, \
                 as in `https://{tenant}.example.com`"
            }
        })
    }
}

impl std::error::Error for IssuerPatternError {}

/// The position of the authority between the slashes of a URL.
const AUTHORITY: usize = 2;

/// The longest text that a capture matches.
const MAX_NAME_BYTES: usize = 128;

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn pattern(text: &str) -> IssuerPattern {
        IssuerPattern::parse(text).expect("a pattern")
    }

    /// Cases 108 and 109 of the list of attacks.
    #[test]
    fn rejects_names_that_differ_outside_of_the_capture() {
        let realms = pattern("https://id.example.com/realms/{realm}");
        for accepted in ["a", "Northwind-1", "a.b_c", &"x".repeat(128)] {
            assert!(realms.matches(&format!("https://id.example.com/realms/{accepted}")), "{accepted}");
        }
        for rejected in [
            "https://id.example.com.evil/realms/a",
            "https://id.example.com.evil.com/realms/a",
            "https://evil.com/https://id.example.com/realms/a",
            "https://id.example.com/realms/",
            "https://id.example.com/realms/a/",
            "https://id.example.com/realms/a/b",
            "https://id.example.com/realms/../a",
            "https://id.example.com/realms/..",
            "https://id.example.com/realms/.",
            "https://id.example.com/realms/a..b",
            "https://id.example.com/realms/%2e%2e",
            "https://id.example.com/realms/a%2fb",
            "https://id.example.com/realms/a b",
            "https://id.example.com/realms/a?b",
            "https://id.example.com/realms/a#b",
            "https://id.example.com/realms/a@b",
            "https://id.example.com/realms/ä",
            "https://id.example.com/realms/a\\b",
            "https://id.example.com/realms/a\n",
            "https://user@id.example.com/realms/a",
            "https://id.example.com@evil.com/realms/a",
            "https://id.example.com:443/realms/a",
            "https://ID.example.com/realms/a",
            "https://xn--id-example-com/realms/a",
            "https://іd.example.com/realms/a",
            "http://id.example.com/realms/a",
            "HTTPS://id.example.com/realms/a",
            "//id.example.com/realms/a",
            "",
        ] {
            assert!(!realms.matches(rejected), "{rejected}");
        }
        assert!(!realms.matches(&format!("https://id.example.com/realms/{}", "x".repeat(129))));
    }

    #[test]
    fn a_capture_in_the_host_matches_within_one_label() {
        let pools = pattern("https://cognito-idp.{region}.amazonaws.com/{pool}");
        assert!(pools.matches("https://cognito-idp.eu-central-1.amazonaws.com/eu-central-1_AbCdEfGhI"));
        for rejected in [
            "https://cognito-idp.evil.com.amazonaws.com/p",
            "https://cognito-idp.EU.amazonaws.com/p",
            "https://cognito-idp..amazonaws.com/p",
            "https://cognito-idp.a.amazonaws.com.evil.com/p",
            "https://cognito-idp.a@b.amazonaws.com/p",
            "https://cognito-idp.a:1.amazonaws.com/p",
        ] {
            assert!(!pools.matches(rejected), "{rejected}");
        }
        let both = pattern("https://cognito-idp.{region}.amazonaws.com/p-{pool}");
        let captures = [("region", "eu-central-1"), ("pool", "A")];
        assert_eq!(both.captures("https://cognito-idp.eu-central-1.amazonaws.com/p-A"), Some(captures.to_vec()));
        assert_eq!(both.captures("https://cognito-idp.eu-central-1.amazonaws.com/A"), None);
        let tenants = pattern("https://t-{tenant}-x.example.com:8443/");
        assert!(tenants.matches("https://t-a-x.example.com:8443/"));
        assert!(!tenants.matches("https://t-a-x.example.com/"));
        assert!(!tenants.matches("https://t--x.example.com:8443/"), "an empty name");
    }

    #[test]
    fn rejects_patterns_that_do_not_determine_the_host() {
        use IssuerPatternError::{Capture, Host, NoCapture};
        for (text, error) in [
            ("https://id.example.com/", NoCapture),
            ("https://id.example.com/{}", Capture),
            ("https://id.example.com/{a", Capture),
            ("https://id.example.com/a}", Capture),
            ("https://id.example.com/{a}{b}", Capture),
            ("https://id.example.com/{a}-{b}", Capture),
            ("https://id.example.com/{a}/{a}", Capture),
            ("https://id.example.com/{a/b}", Capture),
            ("https://id.example.com/{{a}}", Capture),
            ("https://id.example.com/{a b}", Capture),
            ("https://{host}/", Host),
            ("https://{host}", Host),
            ("https://{name}.com/", Host),
            ("https://{name}.com:8443/", Host),
            ("https://id.{name}/", Host),
            ("https://{name}..com/", Host),
            ("https://id.example.com:{port}/", Host),
            ("https://{user}@id.example.com/", Host),
            ("https://u@{name}.example.com/", Host),
            ("{scheme}://id.example.com/a", Host),
            ("ftp://id.example.com/{a}", Host),
            ("https:/id.example.com/{a}", Host),
            ("https:///{a}", Host),
            ("{a}", Host),
        ] {
            assert_eq!(IssuerPattern::parse(text).map(drop), Err(error), "{text}");
        }
        for text in
            ["https://{tenant}.example.com/", "http://127.0.0.1:8080/t/{tenant}", "https://id.example.com/a-{b}/{c}"]
        {
            assert!(pattern(text).matches(&pattern(text).example()), "{text}");
        }
    }

    proptest! {
        /// A URL parser finds in each matching `iss` the host of the pattern, and no other path than the text has.
        #[test]
        fn a_match_has_the_host_and_the_path_that_a_url_parser_finds(
            issuer in "https://(id\\.example\\.com|evil\\.com|[a-z@:.%]{1,12}id\\.example\\.com)/realms/[a-zA-Z0-9._%@:?#/-]{0,12}"
        ) {
            if pattern("https://id.example.com/realms/{realm}").matches(&issuer) {
                let uri: http::Uri = issuer.parse().expect("a URL");
                prop_assert_eq!(uri.authority().map(http::uri::Authority::as_str), Some("id.example.com"));
                prop_assert_eq!(uri.path().matches('/').count(), 2);
                prop_assert!(uri.query().is_none() && !uri.path().contains(".."));
            }
        }
    }
}
