//! URL references (RFC 3986 §4.1), resolved within the same origin.

use crate::fetch::endpoint::{Endpoint, PlainHttp, check_characters};

impl Endpoint {
    /// Resolves a reference against this URL (RFC 3986 §5.2).
    ///
    /// Returns `None` if the result has another origin. Scheme, host and port are compared as text, so that two parsers
    /// cannot see two different hosts. Also returns `None` if the reference contains something that an [`Endpoint`] must
    /// not contain: user information, a fragment, a backslash.
    pub(crate) fn within_origin(&self, reference: &str) -> Option<Self> {
        check_characters(reference).ok()?;
        let base = UrlParts::parse(self.as_str())?;
        let absolute = if reference.starts_with("//") {
            format!("{}:{reference}", base.scheme)
        } else if has_scheme(reference) {
            reference.to_owned()
        } else {
            format!("{}://{}{}", base.scheme, base.authority, base.merged(reference))
        };
        let target = UrlParts::parse(&absolute)?;
        if !target.has_origin_of(&base) {
            return None;
        }
        let UrlParts { scheme, authority, path, query } = target;
        // The scheme is that of this URL. If that is plain http, it was allowed when this URL was parsed.
        Self::parse(&format!("{scheme}://{authority}{}{query}", remove_dot_segments(path)), PlainHttp::Anywhere).ok()
    }
}

/// The components of an absolute URL without fragment.
struct UrlParts<'u> {
    scheme: &'u str,
    authority: &'u str,
    /// Empty, or starts with a slash.
    path: &'u str,
    /// Empty, or starts with a question mark.
    query: &'u str,
}

impl<'u> UrlParts<'u> {
    fn parse(url: &'u str) -> Option<Self> {
        let (scheme, rest) = url.split_once("://")?;
        let (hierarchy, query) = rest.split_at(rest.find('?').unwrap_or(rest.len()));
        let (authority, path) = hierarchy.split_at(hierarchy.find('/').unwrap_or(hierarchy.len()));
        Some(Self { scheme, authority, path, query })
    }

    /// Returns path and query of a reference that has neither scheme nor authority (RFC 3986 §5.2.2 and §5.2.3).
    fn merged(&self, reference: &str) -> String {
        let Self { path, query, .. } = self;
        match reference.chars().next() {
            None => format!("{path}{query}"),
            Some('?') => format!("{path}{reference}"),
            Some('/') => reference.to_owned(),
            Some(_) => {
                let folder = path.rsplit_once('/').map_or("", |(folder, _)| folder);
                format!("{folder}/{reference}")
            }
        }
    }

    fn has_origin_of(&self, base: &Self) -> bool {
        self.scheme.eq_ignore_ascii_case(base.scheme) && self.host_and_port().eq_ignore_ascii_case(base.host_and_port())
    }

    /// Returns the authority without the default port of the scheme.
    fn host_and_port(&self) -> &'u str {
        let default = if self.scheme.eq_ignore_ascii_case("https") { ":443" } else { ":80" };
        self.authority.strip_suffix(default).unwrap_or(self.authority)
    }
}

/// Returns whether the reference has a scheme, well-formed or not: text before a colon in the first segment (RFC 3986 §3.1).
fn has_scheme(reference: &str) -> bool {
    reference.split(['/', '?']).next().is_some_and(|segment| segment.contains(':'))
}

/// Removes dot segments (RFC 3986 §5.2.4) from a path that is empty or starts with a slash.
fn remove_dot_segments(path: &str) -> String {
    let mut output = Vec::new();
    let mut segments = path.split('/').skip(1).peekable();
    while let Some(segment) = segments.next() {
        match segment {
            "." => {}
            ".." => drop(output.pop()),
            segment => output.push(segment),
        }
        if matches!(segment, "." | "..") && segments.peek().is_none() {
            output.push("");
        }
    }
    format!("/{}", output.join("/"))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn from(base: &str, reference: &str) -> Option<String> {
        let base = Endpoint::dangerous_allow_http(base).expect(base);
        base.within_origin(reference).map(|target| target.as_str().to_owned())
    }

    /// The examples of RFC 3986 §5.4, with https and another host.
    #[test]
    fn resolves_the_examples_of_rfc_3986() {
        for (reference, path) in [
            ("g", "/b/c/g"),
            ("./g", "/b/c/g"),
            ("g/", "/b/c/g/"),
            ("/g", "/g"),
            ("?y", "/b/c/d;p?y"),
            ("g?y", "/b/c/g?y"),
            (";x", "/b/c/;x"),
            ("g;x", "/b/c/g;x"),
            ("g;x?y", "/b/c/g;x?y"),
            ("", "/b/c/d;p?q"),
            (".", "/b/c/"),
            ("./", "/b/c/"),
            ("..", "/b/"),
            ("../", "/b/"),
            ("../g", "/b/g"),
            ("../..", "/"),
            ("../../", "/"),
            ("../../g", "/g"),
            ("../../../g", "/g"),
            ("../../../../g", "/g"),
            ("/./g", "/g"),
            ("/../g", "/g"),
            ("g.", "/b/c/g."),
            (".g", "/b/c/.g"),
            ("g..", "/b/c/g.."),
            ("..g", "/b/c/..g"),
            ("./../g", "/b/g"),
            ("./g/.", "/b/c/g/"),
            ("g/./h", "/b/c/g/h"),
            ("g/../h", "/b/c/h"),
            ("g;x=1/./y", "/b/c/g;x=1/y"),
            ("g;x=1/../y", "/b/c/y"),
            ("g?y/./x", "/b/c/g?y/./x"),
            ("g?y/../x", "/b/c/g?y/../x"),
        ] {
            let found = from("https://a.example/b/c/d;p?q", reference);
            assert_eq!(found, Some(format!("https://a.example{path}")), "{reference}");
        }
        for reference in ["g:h", "//g", "#s", "g#s", "g?y#s", "g?y/./x#s", "https:g"] {
            assert_eq!(from("https://a.example/b/c/d;p?q", reference), None, "{reference}");
        }
    }

    #[test]
    fn accepts_the_same_origin_in_any_spelling() {
        for (base, reference, target) in [
            ("https://a.example/k", "https://a.example/x", "https://a.example/x"),
            ("https://a.example/k", "https://A.Example/x", "https://A.Example/x"),
            ("https://A.example/k", "HTTPS://a.example/x", "HTTPS://a.example/x"),
            ("https://a.example/k", "https://a.example:443/x", "https://a.example:443/x"),
            ("https://a.example:443/k", "//a.example/x", "https://a.example/x"),
            ("https://a.example:8443/k", "https://a.example:8443/x?y=z", "https://a.example:8443/x?y=z"),
            ("https://a.example/k", "https://a.example", "https://a.example/"),
            ("https://a.example", "x", "https://a.example/x"),
            ("https://a.example?y", "?z", "https://a.example/?z"),
            ("https://a.example/k", "https://a.example/b/../x/.", "https://a.example/x/"),
            ("https://a.example/k", "/.//evil.example/x", "https://a.example//evil.example/x"),
            ("https://a.example/k", "/x?https://evil.example/", "https://a.example/x?https://evil.example/"),
            ("https://a.example/k", "./x:y", "https://a.example/x:y"),
            ("https://[::1]:9/k", "//[::1]:9/x", "https://[::1]:9/x"),
            ("http://127.0.0.1:9/k", "http://127.0.0.1:9/x", "http://127.0.0.1:9/x"),
            ("http://a.example/k", "//a.example:80/x", "http://a.example:80/x"),
        ] {
            assert_eq!(from(base, reference).as_deref(), Some(target), "{reference} from {base}");
        }
    }

    /// References that are not a path at `https://a.example`, without user information and fragment.
    const REJECTED: [&str; 54] = [
        "https://b.example/k",
        "https://a.example.evil.example/k",
        "https://evil.example/a.example",
        "https://evil.example?a.example/",
        "https://evila.example/k",
        "https://www.a.example/k",
        "https://a.example./k",
        "https://a%2eexample/k",
        "https://a.example:8443/k",
        "https://a.example:80/k",
        "https://a.example:0443/k",
        "https://a.example:/k",
        "https://a.example:99999/k",
        "http://a.example/k",
        "http://a.example:443/k",
        "ftp://a.example/k",
        "file:///etc/passwd",
        "data:application/json,{}",
        "javascript:x",
        "https:k",
        "https:/k",
        "https:///a.example/k",
        "https://",
        "://a.example/k",
        ":",
        "//evil.example/k",
        "///evil.example/k",
        "////evil.example/k",
        "//",
        "//a.example:8443/k",
        "https://u@a.example/k",
        "https://u:p@a.example/k",
        "https://a.example@evil.example/k",
        "https://evil.example@a.example/k",
        "//u@a.example/k",
        "https://evil.example#@a.example/k",
        "https://a.example/k#x",
        "/k#x",
        "/x#/../k",
        "#",
        "\\k",
        "\\\\evil.example/k",
        "/\\evil.example/k",
        "https:\\\\a.example\\k",
        "https://a.example\\@evil.example/k",
        "/b\\c/../k",
        " /k",
        "/k ",
        "/k\t",
        "/\t/evil.example/k",
        "/k\r\nx",
        "/{tenant}",
        "/é",
        "<k>",
    ];

    #[test]
    fn rejects_references_to_another_origin() {
        for reference in REJECTED {
            assert_eq!(from("https://a.example/k", reference), None, "{reference:?}");
        }
        assert_eq!(
            from("http://127.0.0.1:9/k", "https://127.0.0.1:9/k"),
            None,
            "another scheme, although it is a better one"
        );
        assert_eq!(from("http://127.0.0.1:9/k", "http://localhost:9/k"), None, "another name of the same host");
    }
}
