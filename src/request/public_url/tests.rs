use proptest::prelude::*;

use super::*;

const API: &str = "https://api.northwind.com";

fn check(base: &str, htu: &str, path: &str) -> Result<(), Option<NearMiss>> {
    PublicUrl::parse(base).expect(base).check(htu, path, Handshake::None)
}

#[test]
fn accepts_the_url_of_the_request_in_any_equivalent_form() {
    for (htu, path) in [
        ("https://api.northwind.com/me", "/me"),
        ("HTTPS://API.Northwind.COM/me", "/me"),
        ("https://api.northwind.com:443/me", "/me"),
        ("https://api.northwind.com:/me", "/me"),
        ("https://api.northwind.com", "/"),
        ("https://api.northwind.com/", "/"),
        ("https://api.northwind.com?a=b", "/"),
        ("https://api.northwind.com/me?x=/other#y", "/me"),
        ("https://api.northwind.com/me#y?x", "/me"),
        ("https://api.northwind.com/x/../me", "/me"),
        ("https://api.northwind.com/./me", "/me"),
        ("https://api.northwind.com/../../me", "/me"),
        ("https://api.northwind.com/a/%2e/me", "/a/me"),
        ("https://api.northwind.com/a/%2E%2e/me", "/me"),
        ("https://api.northwind.com/%6De", "/me"),
        ("https://api.northwind.com/a%2fb", "/a%2Fb"),
        ("https://api.northwind.com/a%2fb", "/a%2fb"),
        ("https://api.northwind.com/a/.", "/a/"),
        ("https://api.northwind.com/a/b/..", "/a/"),
        ("https://api.northwind.com//me", "//me"),
        ("https://api.northwind.com/a/../b", "/a/../b"),
        ("https://api.northwind.com/%6de", "/%6de"),
        ("https://api.northwind.com/orders;v=1/@{a}", "/orders;v=1/@{a}"),
        ("https://api.northwind.com/...", "/..."),
        ("https://api.northwind.com/.well-known/x", "/.well-known/x"),
    ] {
        assert_eq!(check(API, htu, path), Ok(()), "{htu} {path}");
    }
    for (base, htu) in [
        ("https://[2001:DB8:0::1]:8443", "https://[2001:db8::1]:8443/me"),
        ("https://xn--bcher-kva.example/", "https://XN--Bcher-kva.example/me"),
        ("http://127.0.0.1:8080", "http://127.0.0.1:8080/me"),
        ("http://localhost", "http://localhost:80/me"),
        ("http://[::1]:80", "http://[0:0:0:0:0:0:0:1]/me"),
    ] {
        assert_eq!(check(base, htu, "/me"), Ok(()), "{base} {htu}");
    }
}

#[test]
fn rejects_every_other_url() {
    for (htu, near_miss) in [
        ("https://other.northwind.com/me", Some(NearMiss::Host)),
        ("https://api.northwind.com./me", Some(NearMiss::Host)),
        ("http://api.northwind.com/me", Some(NearMiss::Scheme)),
        ("http://api.northwind.com:443/me", Some(NearMiss::Scheme)),
        ("https://api.northwind.com:8443/me", Some(NearMiss::Port)),
        ("https://api.northwind.com/you", None),
        ("https://api.northwind.com/me/you", None),
        ("https://api.northwind.com/", None),
        ("https://api.northwind.com/me/", Some(NearMiss::TrailingSlash)),
        ("https://api.northwind.com/ME", Some(NearMiss::Case)),
        ("https://api.northwind.com//me", Some(NearMiss::ExtraPrefix)),
        ("https://api.northwind.com/me//", None),
        ("https://api.northwind.com/v1/me", Some(NearMiss::ExtraPrefix)),
        ("https://api.northwind.com/other?/me", None),
        ("https://api.northwind.com/other#/me", None),
        ("https://other.northwind.com/you", None),
        ("http://other.northwind.com/me", None),
    ] {
        assert_eq!(check(API, htu, "/me"), Err(near_miss), "{htu}");
    }
}

#[test]
fn rejects_text_that_is_not_an_absolute_http_url() {
    for htu in [
        "",
        "/me",
        "//api.northwind.com/me",
        "me",
        "https:/api.northwind.com/me",
        "https:api.northwind.com/me",
        "https:///me",
        "https://",
        "javascript://api.northwind.com/me",
        "file://api.northwind.com/me",
        "ftp://api.northwind.com/me",
        " https://api.northwind.com/me",
        "https://api.northwind.com/me ",
        "https://api.northwind.com/m e",
        "https://api.northwind.com/me\t",
        "https://api.northwind.com/me\r\n",
        "https://api.northwind.com/me\0",
        "https://api.northwind.com\\me",
        "https://api.northwind.com/x\\..\\me",
        "https://api.northwind.com/m\u{e9}",
        "https://api@evil.example/me",
        "https://evil@api.northwind.com/me",
        "https://u:p@api.northwind.com/me",
        "https://b\u{fc}cher.example/me",
        "https://\u{ff41}pi.northwind.com/me",
        "https://api\u{3002}northwind.com/me",
        "https://%61pi.northwind.com/me",
        "https://api..northwind.com/me",
        "https://.northwind.com/me",
        "https://api.northwind.com:65536/me",
        "https://api.northwind.com:0443/me",
        "https://api.northwind.com:+443/me",
        "https://api.northwind.com:443:443/me",
        "https://api.northwind.com:4x/me",
        "https://[fe80::1%25eth0]/me",
        "https://[::1/me",
        "https://::1/me",
        "https://[::1]x/me",
        "https://api.northwind.com/%6",
        "https://api.northwind.com/%zz",
        "https://api.northwind.com/%",
    ] {
        assert_eq!(check(API, htu, "/me"), Err(None), "{htu:?}");
    }
    assert_eq!(check("https://1.2.3.4", "https://[::ffff:1.2.3.4]/me", "/me"), Err(Some(NearMiss::Host)));
    assert_eq!(check("https://[::1]", "https://[::2]/me", "/me"), Err(Some(NearMiss::Host)));
}

/// The router does not normalize the path, so a path that is not in normal form needs a claim with the same bytes.
#[test]
fn does_not_normalize_the_path_of_the_request() {
    for (path, htu) in [
        ("/x/../me", "https://api.northwind.com/me"),
        ("/./me", "https://api.northwind.com/me"),
        ("/%6de", "https://api.northwind.com/me"),
        ("/%6de", "https://api.northwind.com/%6De"),
        ("/files/..%2fme", "https://api.northwind.com/me"),
        ("/a%2Fb", "https://api.northwind.com/a/b"),
        ("/a/b", "https://api.northwind.com/a%2Fb"),
    ] {
        assert!(check(API, htu, path).is_err(), "{path} {htu}");
    }
    assert_eq!(check(API, "https://api.northwind.com/me", "/%6de"), Err(Some(NearMiss::Encoding)));
    assert_eq!(check(API, "https://api.northwind.com/a/b", "/a%2Fb"), Err(Some(NearMiss::Encoding)));
    for path in ["*", "", "me", "api.northwind.com:443"] {
        for htu in ["https://api.northwind.com", "https://api.northwind.com/", "https://api.northwind.com/*"] {
            assert!(check(API, htu, path).is_err(), "{path} {htu}");
        }
    }
}

#[test]
fn adds_the_base_path_that_a_proxy_removes() {
    for base in ["https://api.northwind.com/svc1", "https://api.northwind.com/svc1/"] {
        assert_eq!(check(base, "https://api.northwind.com/svc1/me", "/me"), Ok(()));
        assert_eq!(check(base, "https://api.northwind.com/svc1/", "/"), Ok(()));
        assert_eq!(check(base, "https://api.northwind.com/svc1", "/"), Err(Some(NearMiss::TrailingSlash)));
        assert_eq!(check(base, "https://api.northwind.com/me", "/me"), Err(Some(NearMiss::MissingPrefix)));
        assert_eq!(check(base, "https://api.northwind.com/svc2/me", "/me"), Err(None));
        assert_eq!(check(base, "https://api.northwind.com/svc1me", "/me"), Err(None));
    }
    assert_eq!(check(API, "https://api.northwind.com/svc1/me", "/me"), Err(Some(NearMiss::ExtraPrefix)));
}

#[test]
fn accepts_websocket_schemes_for_a_handshake_only() {
    let url = PublicUrl::parse(API).expect("a URL");
    for (htu, handshake, expected) in [
        ("wss://api.northwind.com/chat", Handshake::WebSocket, Ok(())),
        ("https://api.northwind.com/chat", Handshake::WebSocket, Ok(())),
        ("ws://api.northwind.com/chat", Handshake::WebSocket, Err(Some(NearMiss::Scheme))),
        ("wss://api.northwind.com/chat", Handshake::None, Err(Some(NearMiss::Scheme))),
    ] {
        assert_eq!(url.check(htu, "/chat", handshake), expected, "{htu} {handshake:?}");
    }
}

#[test]
fn compares_the_host_of_a_request_with_its_port() {
    let url = PublicUrl::parse("https://API.northwind.com").expect("a URL");
    let has_host = |url: &PublicUrl, host: &str| url.has_host(&Host::parse(host).expect(host));
    for same in ["api.northwind.com", "Api.Northwind.com:443", "api.northwind.com:"] {
        assert!(has_host(&url, same), "{same}");
    }
    for other in ["api.northwind.com:80", "api.northwind.com.", "other"] {
        assert!(!has_host(&url, other), "{other}");
    }
    let with_port = PublicUrl::parse("https://api.northwind.com:8443/x").expect("a URL");
    assert!(has_host(&with_port, "api.northwind.com:8443") && !has_host(&with_port, "api.northwind.com"));
    assert!(!url.has_same_authority(&with_port));
    assert!(url.has_same_authority(&PublicUrl::parse("https://api.northwind.com:443/y").expect("a URL")));
}

#[test]
fn parses_public_urls() {
    for (text, shown) in [
        (API, API),
        ("https://api.northwind.com/", API),
        ("HTTPS://API.northwind.com:443/", API),
        ("https://api.northwind.com:8443/a/b/", "https://api.northwind.com:8443/a/b"),
        ("http://127.0.0.1:8080/", "http://127.0.0.1:8080"),
    ] {
        assert_eq!(PublicUrl::parse(text).map(|url| url.to_string()), Ok(shown.to_owned()), "{text}");
    }
    for (text, error) in [
        ("http://api.northwind.com", PublicUrlError::PlainHttp),
        ("https://api.northwind.com/?a", PublicUrlError::Query),
        ("https://api.northwind.com#a", PublicUrlError::Query),
        ("https://u@api.northwind.com", PublicUrlError::Malformed),
        ("wss://api.northwind.com", PublicUrlError::Malformed),
        ("api.northwind.com", PublicUrlError::Malformed),
        ("", PublicUrlError::Malformed),
        ("https://api.northwind.com/a/../b", PublicUrlError::Path),
        ("https://api.northwind.com/%61", PublicUrlError::Path),
    ] {
        assert_eq!(PublicUrl::parse(text), Err(error), "{text}");
    }
}

/// Returns the public URL, a path, and the claim with the path or with another one.
fn any_claim() -> impl Strategy<Value = (&'static str, String, String)> {
    let bases = vec![API, "https://api.northwind.com:8443/a", "http://localhost:80", "https://[2001:db8::1]/b"];
    let path = "/?[-a-zA-Z0-9._~/%:@?# é]{0,6}";
    (prop::sample::select(bases), path, prop::option::of(path)).prop_map(|(base, path, other)| {
        let url = PublicUrl::parse(base).expect(base);
        let htu = format!("{url}{}", other.as_ref().unwrap_or(&path));
        (base, htu, path)
    })
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(2_000))]

    /// The comparison of texts only saves work.
    #[test]
    fn accepts_no_text_that_the_comparison_of_urls_rejects((base, htu, path) in any_claim()) {
        let url = PublicUrl::parse(base).expect(base);
        if url.is_text_of(&htu, &path) {
            let claim = HttpUrl::parse(&htu);
            for handshake in [Handshake::None, Handshake::WebSocket] {
                prop_assert!(claim.as_ref().is_some_and(|claim| url.matches(claim, &path, handshake)), "{} {}", htu, path);
            }
        }
    }
}

#[test]
fn takes_linear_time_for_a_long_path() {
    let long = format!("https://api.northwind.com{}", "/..%2e".repeat(10_000));
    assert_eq!(check(API, &long, "/me"), Err(None));
    let dots = format!("https://api.northwind.com{}/me", "/a/..".repeat(10_000));
    assert_eq!(check(API, &dots, "/me"), Ok(()));
}
