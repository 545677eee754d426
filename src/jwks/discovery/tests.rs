use super::*;

#[test]
fn derives_the_urls_of_the_documents_from_the_issuer() {
    for (issuer, openid, fallbacks) in [
        (
            "https://a.example",
            "https://a.example/.well-known/openid-configuration",
            &["https://a.example/.well-known/oauth-authorization-server"][..],
        ),
        (
            "https://a.example/",
            "https://a.example/.well-known/openid-configuration",
            &["https://a.example/.well-known/oauth-authorization-server"],
        ),
        (
            "https://a.example:8443/tenant/a",
            "https://a.example:8443/tenant/a/.well-known/openid-configuration",
            &[
                "https://a.example:8443/.well-known/oauth-authorization-server/tenant/a",
                "https://a.example:8443/.well-known/openid-configuration/tenant/a",
            ],
        ),
        (
            "https://a.example/realms/x/",
            "https://a.example/realms/x/.well-known/openid-configuration",
            &[
                "https://a.example/.well-known/oauth-authorization-server/realms/x",
                "https://a.example/.well-known/openid-configuration/realms/x",
            ],
        ),
        (
            "http://127.0.0.1:9100/api/oidc",
            "http://127.0.0.1:9100/api/oidc/.well-known/openid-configuration",
            &[
                "http://127.0.0.1:9100/.well-known/oauth-authorization-server/api/oidc",
                "http://127.0.0.1:9100/.well-known/openid-configuration/api/oidc",
            ],
        ),
    ] {
        let discovery = Discovery::new(issuer).expect(issuer);
        assert_eq!(discovery.openid().as_str(), openid, "{issuer}");
        assert_eq!(discovery.fallbacks().iter().map(Endpoint::as_str).collect::<Vec<_>>(), fallbacks, "{issuer}");
    }
}

#[test]
fn rejects_an_invalid_issuer() {
    for (issuer, error) in [
        ("a.example", EndpointError::Malformed),
        ("https://a.example/?tenant=b", EndpointError::Malformed),
        ("https://a.example/#x", EndpointError::Fragment),
        ("https://u@a.example/", EndpointError::UserInfo),
        ("http://a.example/", EndpointError::PlainHttp),
    ] {
        assert_eq!(Discovery::new(issuer).map(drop), Err(error), "{issuer}");
    }
    assert!(Discovery::dangerous_over_http("http://a.example/").is_ok());
}

fn read(document: &str) -> Result<String, RefreshError> {
    let discovery = Discovery::new("https://a.example/").expect("issuer");
    discovery.read(document.as_bytes(), DocumentMember::JwksUri, None).map(|endpoint| endpoint.to_string())
}

#[test]
fn accepts_a_document_of_the_same_issuer() {
    let document = r#"{"issuer":"https://a.example/","jwks_uri":"https://keys.example/k","other":[1,{"issuer":2}]}"#;
    assert_eq!(read(document), Ok("https://keys.example/k".to_owned()));
    for document in [format!("{document} \n"), format!("\u{feff}{document}"), format!("\u{feff} {document}")] {
        assert_eq!(read(&document), Ok("https://keys.example/k".to_owned()), "{document}");
    }
}

#[test]
fn rejects_a_document_of_another_issuer() {
    for issuer in [
        "https://a.example",
        "https://A.example/",
        "http://a.example/",
        "https://b.example/",
        "https://a.example/x",
        "",
    ] {
        let document = format!(r#"{{"issuer":"{issuer}","jwks_uri":"https://a.example/k"}}"#);
        assert_eq!(read(&document), Err(RefreshError::IssuerMismatch), "{issuer}");
    }
}

#[test]
fn rejects_an_invalid_document() {
    for document in [
        "",
        "<html>",
        "[]",
        r#"["https://a.example/","https://a.example/k"]"#,
        "{}",
        r#"{"issuer":"https://a.example/"}"#,
        r#"{"jwks_uri":"https://a.example/k"}"#,
        r#"{"issuer":7,"jwks_uri":"https://a.example/k"}"#,
        r#"{"issuer":"https://a.example/","jwks_uri":null}"#,
        r#"{"issuer":"https://a.example/","issuer":"https://b.example/","jwks_uri":"https://a.example/k"}"#,
        r#"{"issuer":"https://a.example/","jwks_uri":"https://a.example/k","jwks_uri":"https://b.example/k"}"#,
        "{\"issuer\":\"https://a.example/\",\"jwks_uri\":\"https://a.example/k\"} x",
        r#"{"issuer":"https://a.example/","jwks_uri":"https://a.example/k","$serde_json::private::RawValue":"1"}"#,
        r#"{"issuer":"https://a.example/","jwks_uri":"https://a.example/k","x":[{"\u0024serde_json::private::Number":"1"}]}"#,
    ] {
        assert_eq!(read(document), Err(RefreshError::InvalidDiscovery), "{document}");
    }
    for document in [
        &b"\xEF\xBB\xBF\xEF\xBB\xBF{\"issuer\":\"https://a.example/\",\"jwks_uri\":\"https://a.example/k\"}"[..],
        b"\xFF\xFE{\0}\0",
        b"{\"x\":\"\xbd\",\"issuer\":\"https://a.example/\",\"jwks_uri\":\"https://a.example/k\"}",
    ] {
        assert_eq!(
            Discovery::new("https://a.example/")
                .expect("issuer")
                .read(document, DocumentMember::JwksUri, None)
                .map(drop),
            Err(RefreshError::InvalidDiscovery)
        );
    }
}

#[test]
fn rejects_a_jwks_uri_that_is_not_allowed() {
    for uri in [
        "http://a.example/k",
        "http://[::1]:1/k",
        "http://127.0.0.1:8500/v1",
        "http://localhost/k",
        "file:///etc/passwd",
        "/k",
        "https://u:p@a.example/k",
        "https://a.example/#k",
        "",
    ] {
        let document = format!(r#"{{"issuer":"https://a.example/","jwks_uri":"{uri}"}}"#);
        assert_eq!(read(&document), Err(RefreshError::JwksUriNotAllowed), "{uri}");
    }
    assert_eq!(
        RefreshError::JwksUriNotAllowed.to_string(),
        "the jwks_uri or introspection_endpoint of the discovery document is not allowed; plain http needs `dangerous_allow_http`, and a list of hosts \
         must name its host"
    );
    let local = r#"{"issuer":"http://localhost:9/","jwks_uri":"http://[::1]:1/k"}"#;
    assert!(
        Discovery::new("http://localhost:9/")
            .expect("issuer")
            .read(local.as_bytes(), DocumentMember::JwksUri, None)
            .is_ok()
    );
    let plain = r#"{"issuer":"http://a.example/","jwks_uri":"http://b.example/k"}"#;
    let discovery = Discovery::dangerous_over_http("http://a.example/").expect("issuer");
    assert!(discovery.read(plain.as_bytes(), DocumentMember::JwksUri, None).is_ok());
}

#[test]
fn accepts_only_allowed_hosts() {
    let discovery = Discovery::new("https://a.example/").expect("issuer");
    let hosts = ["keys.example".to_owned()];
    let read = |uri: &str| {
        let document = format!(r#"{{"issuer":"https://a.example/","jwks_uri":"{uri}"}}"#);
        discovery.read(document.as_bytes(), DocumentMember::JwksUri, Some(&hosts)).map(drop)
    };
    assert_eq!(read("https://KEYS.example:8443/k"), Ok(()));
    assert_eq!(read("https://keys.example.evil.example/k"), Err(RefreshError::JwksUriNotAllowed));
    assert_eq!(read("https://a.example/k"), Err(RefreshError::JwksUriNotAllowed));
}

/// The endpoint receives tokens and the secret of this API.
#[test]
fn accepts_an_introspection_endpoint_only_at_allowed_hosts_or_at_the_issuer() {
    let discovery = Discovery::new("https://a.example/").expect("issuer");
    let hosts = ["keys.example".to_owned()];
    let read = |uri: &str, hosts| {
        let document = format!(r#"{{"issuer":"https://a.example/","introspection_endpoint":"{uri}"}}"#);
        discovery.read(document.as_bytes(), DocumentMember::IntrospectionEndpoint, hosts).map(drop)
    };
    for allowed in ["https://KEYS.example:8443/i", "https://a.example/i", "https://A.example:443/i"] {
        assert_eq!(read(allowed, Some(&hosts[..])), Ok(()), "{allowed}");
    }
    for other in ["https://b.example/i", "https://a.example:8443/i", "https://a.example.evil.example/i"] {
        assert_eq!(read(other, Some(&hosts[..])), Err(RefreshError::JwksUriNotAllowed), "{other}");
        assert_eq!(read(other, None), Ok(()), "{other}");
    }
    assert_eq!(read("http://a.example/i", None), Err(RefreshError::JwksUriNotAllowed));
}
