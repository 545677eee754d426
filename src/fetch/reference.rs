//! References (RFC 3986 §4.1) that stay at the server that gave them.

use crate::fetch::endpoint::{Endpoint, PlainHttp, vet_octets};

impl Endpoint {
    /// Resolves a reference against this URL (RFC 3986 §5.2), if it leads to the same origin: scheme, host and port are
    /// compared as text, so that two parsers cannot read two hosts. `None` for whatever leads elsewhere, and for what may
    /// not stand in an [`Endpoint`]: user information, a fragment, a backslash.
    pub(crate) fn within_origin(&self, reference: &str) -> Option<Self> {
        vet_octets(reference).ok()?;
        let base = Parts::of(self.as_str())?;
        let absolute = if reference.starts_with("//") {
            format!("{}:{reference}", base.scheme)
        } else if has_scheme(reference) {
            reference.to_owned()
        } else {
            format!("{}://{}{}", base.scheme, base.authority, base.merged(reference))
        };
        let target = Parts::of(&absolute)?;
        if !target.is_at_origin_of(&base) {
            return None;
        }
        let Parts { scheme, authority, path, query } = target;
        // The scheme is that of this URL, where plain http is allowed already if it stands there.
        Self::parse(&format!("{scheme}://{authority}{}{query}", without_dots(path)), PlainHttp::Anywhere).ok()
    }
}

/// An absolute URL without fragment, taken apart.
struct Parts<'u> {
    scheme: &'u str,
    authority: &'u str,
    /// Empty, or from its first slash on.
    path: &'u str,
    /// Empty, or from its question mark on.
    query: &'u str,
}

impl<'u> Parts<'u> {
    fn of(url: &'u str) -> Option<Self> {
        let (scheme, rest) = url.split_once("://")?;
        let (hierarchy, query) = rest.split_at(rest.find('?').unwrap_or(rest.len()));
        let (authority, path) = hierarchy.split_at(hierarchy.find('/').unwrap_or(hierarchy.len()));
        Some(Self { scheme, authority, path, query })
    }

    /// Path and query of a reference that has neither scheme nor authority (RFC 3986 §5.2.2 and §5.2.3).
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

    fn is_at_origin_of(&self, base: &Self) -> bool {
        self.scheme.eq_ignore_ascii_case(base.scheme) && self.host_and_port().eq_ignore_ascii_case(base.host_and_port())
    }

    /// The authority, without a port that says no more than the scheme.
    fn host_and_port(&self) -> &'u str {
        let default = if self.scheme.eq_ignore_ascii_case("https") { ":443" } else { ":80" };
        self.authority.strip_suffix(default).unwrap_or(self.authority)
    }
}

/// RFC 3986 §3.1: what stands before a colon in the first segment is a scheme, well-formed or not.
fn has_scheme(reference: &str) -> bool {
    reference.split(['/', '?']).next().is_some_and(|segment| segment.contains(':'))
}

/// RFC 3986 §5.2.4, for a path that is empty or starts with a slash.
fn without_dots(path: &str) -> String {
    let mut kept = Vec::new();
    let mut segments = path.split('/').skip(1).peekable();
    while let Some(segment) = segments.next() {
        match segment {
            "." => {}
            ".." => drop(kept.pop()),
            segment => kept.push(segment),
        }
        if matches!(segment, "." | "..") && segments.peek().is_none() {
            kept.push("");
        }
    }
    format!("/{}", kept.join("/"))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn from(base: &str, reference: &str) -> Option<String> {
        let base = Endpoint::dangerous_allow_http(base).expect(base);
        base.within_origin(reference).map(|target| target.as_str().to_owned())
    }

    /// RFC 3986 §5.4, over https and at a host that is not one letter long.
    #[test]
    fn resolves_the_examples_of_the_rfc() {
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
    fn takes_the_same_origin_however_it_is_written() {
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

    #[test]
    fn refuses_whatever_leads_elsewhere() {
        for reference in [
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
        ] {
            assert_eq!(from("https://a.example/k", reference), None, "{reference:?}");
        }
        assert_eq!(from("http://127.0.0.1:9/k", "https://127.0.0.1:9/k"), None, "nor to a better scheme");
        assert_eq!(from("http://127.0.0.1:9/k", "http://localhost:9/k"), None, "nor by another name");
    }
}
