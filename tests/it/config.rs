//! An invalid configuration returns one error that lists every setting and its error.

use std::time::Duration;

use tower_bearer::claims::Profile;
use tower_bearer::config::SettingErrorKind;
use tower_bearer::fetch::EndpointError;
use tower_bearer::keys::{KeyError, KeySet, SecretError, SkipReason};
use tower_bearer::testing::TestIssuer;
use tower_bearer::{Algorithm, Api, Issuer, Secret, Validator};

const AUDIENCE: &str = "https://api.example/";
const LONG: &str = "a secret of more than thirty-two bytes.";

/// Returns the errors of an API as (setting, kind).
fn errors(api: Api) -> Vec<(String, SettingErrorKind)> {
    match Validator::builder(api).build() {
        Ok(_) => Vec::new(),
        Err(error) => {
            error.errors().iter().map(|reason| (reason.setting().to_owned(), reason.kind().clone())).collect()
        }
    }
}

fn errors_of(issuer: Issuer) -> Vec<(String, SettingErrorKind)> {
    errors(Api::new(AUDIENCE, issuer))
}

fn hs() -> Issuer {
    Issuer::shared_secret("https://hs.example/", Secret::from_text(LONG))
}

fn one(setting: &str, problem: SettingErrorKind) -> Vec<(String, SettingErrorKind)> {
    vec![(setting.to_owned(), problem)]
}

#[tokio::test]
async fn accepts_valid_configurations() {
    for issuer in [
        Issuer::auth0("northwind.eu.auth0.com").with_custom_domain("login.northwind.com"),
        Issuer::oidc("https://id.example.com/realms/a"),
        Issuer::oidc("http://127.0.0.1:9000"),
        Issuer::oidc("http://as.internal/").dangerous_allow_http(),
        Issuer::jwks("https://as.example", "https://keys.example/jwks"),
        Issuer::jwks("urn:example:issuer", "https://keys.example/jwks")
            .with_algorithms([Algorithm::ES256, Algorithm::RS256]),
        hs().with_alias("accounts.example").with_secret(Secret::from_text("another secret of thirty-six bytes!!")),
    ] {
        assert_eq!(errors_of(issuer.clone()), [], "{issuer:?}");
    }
}

#[test]
fn rejects_an_auth0_domain_that_is_neither_a_host_nor_its_url() {
    for domain in [
        "http://t.eu.auth0.com",
        "https://t.eu.auth0.com//",
        "https://t.eu.auth0.com:443/",
        "https://t.eu.auth0.com/x",
        "https://https://t.eu.auth0.com/",
        "https://u@t.auth0.com/",
        "t.eu.auth0.com/",
        "t.eu.auth0.com:443",
        "t.eu.auth0.com/x",
        "localhost",
        "t..com",
        "a b.com",
        "u@t.auth0.com",
    ] {
        let setting = format!("Auth0 domain {domain:?}");
        assert_eq!(errors_of(Issuer::auth0(domain)), one(&setting, SettingErrorKind::NotADomain), "{domain}");
        assert_eq!(
            errors_of(Issuer::auth0("t.auth0.com").with_custom_domain(domain)),
            one(&setting, SettingErrorKind::NotADomain),
            "{domain}"
        );
    }
    assert_eq!(errors_of(Issuer::auth0("")), one("Auth0 domain \"\"", SettingErrorKind::Empty));
    assert_eq!(errors_of(Issuer::auth0("https:///")), one("Auth0 domain \"https:///\"", SettingErrorKind::Empty));
}

#[tokio::test]
async fn accepts_the_url_of_an_auth0_domain() {
    let tenant = |domain: &str, custom: &str| Issuer::auth0(domain).with_custom_domain(custom);
    let server = TestIssuer::auth0("t.eu.auth0.com");
    let custom = server.add_custom_domain("https://login.example.com/");
    for (domain, login) in [
        ("t.eu.auth0.com", "login.example.com"),
        ("https://t.eu.auth0.com/", "https://login.example.com/"),
        ("https://T.eu.auth0.com", "https://Login.example.com"),
    ] {
        let validator = Validator::builder(Api::new(AUDIENCE, tenant(domain, login))).with_fetch(server.clone());
        let validator = validator.build().expect("a valid configuration");
        for token in [server.token(), custom.token()] {
            let token = token.audience(AUDIENCE).sign();
            assert_eq!(validator.validate(&token).await.map(drop), Ok(()), "{domain}");
        }
    }
}

#[test]
fn rejects_an_issuer_that_no_token_can_carry() {
    let with = |issuer: &str| errors_of(Issuer::jwks(issuer, "https://keys.example/"));
    for (issuer, problem) in [
        ("", SettingErrorKind::Empty),
        ("https://as.example/ ", SettingErrorKind::Unprintable),
        ("https://as.example/\n", SettingErrorKind::Unprintable),
        ("ftp://as.example/", SettingErrorKind::Url(EndpointError::Malformed)),
        ("https://u:p@as.example/", SettingErrorKind::Url(EndpointError::UserInfo)),
        ("https://as.example/?x=1", SettingErrorKind::IssuerUrl),
        ("https://as.example/#x", SettingErrorKind::IssuerUrl),
        ("https://northwind.eu.auth0.com", SettingErrorKind::MissingTrailingSlash),
        ("https://login.microsoftonline.com/common/v2.0", SettingErrorKind::EntraWithoutTenant),
        ("https://login.microsoftonline.us/organizations/v2.0", SettingErrorKind::EntraWithoutTenant),
        ("https://login.partner.microsoftonline.cn/consumers", SettingErrorKind::EntraWithoutTenant),
    ] {
        assert_eq!(with(issuer), one(&format!("issuer {issuer:?}"), problem.clone()), "{issuer}");
        let discovered = errors_of(Issuer::oidc(issuer));
        assert_eq!(discovered, one(&format!("issuer {issuer:?}"), problem), "{issuer}");
    }
    assert_eq!(with("https://login.microsoftonline.com/9188040d-6c67-4c5b-b112-36a304b66dad/v2.0"), []);
    assert_eq!(with("https://login.example.com/common/v2.0"), []);
    let error = Validator::new(Api::new(AUDIENCE, Issuer::oidc("id.example.com"))).expect_err("no scheme").to_string();
    let expected = "not an absolute https URL; it must begin with `https://` and a host";
    assert!(error.ends_with(expected), "{error}");
}

#[test]
fn rejects_the_url_of_a_discovery_document_and_names_the_issuer() {
    for (url, issuer) in [
        ("https://as.example/.well-known/openid-configuration", "https://as.example"),
        ("https://as.example/realms/a/.well-known/openid-configuration", "https://as.example/realms/a"),
        ("https://as.example/.well-known/oauth-authorization-server", "https://as.example"),
        ("https://as.example/.well-known/oauth-authorization-server/tenant/a", "https://as.example/tenant/a"),
        ("https://as.example/.well-known/openid-configuration/tenant/a", "https://as.example/tenant/a"),
        ("https://t.eu.auth0.com/.well-known/openid-configuration", "https://t.eu.auth0.com/"),
        ("http://127.0.0.1:9000/.well-known/openid-configuration", "http://127.0.0.1:9000"),
    ] {
        let expected = one(&format!("issuer {url:?}"), SettingErrorKind::DiscoveryUrl { issuer: Box::from(issuer) });
        let keys = "https://keys.example/";
        assert_eq!(errors_of(Issuer::jwks(url, keys)), expected, "{url}");
        assert_eq!(errors_of(Issuer::oidc("https://as2.example").with_alias(url)), expected, "{url}");
        assert_eq!(errors_of(Issuer::oidc(url)), expected, "{url}");
    }
    for issuer in ["https://as.example/.well-known/openid", "https://as.example/.well-known/openid-configuration-2"] {
        assert_eq!(errors_of(Issuer::jwks(issuer, "https://keys.example/")), [], "{issuer}");
    }
    let error = Validator::new(Api::new(AUDIENCE, Issuer::oidc("https://as.example/.well-known/openid-configuration")));
    let text = error.expect_err("a document").to_string();
    assert!(
        text.ends_with("is the URL of a discovery document; write its `issuer`, such as `https://as.example`"),
        "{text}"
    );
}

#[test]
fn rejects_key_urls_without_https() {
    let jwks = |uri: &str| errors_of(Issuer::jwks("https://as.example/", uri));
    for (uri, error) in [
        ("http://keys.example/", EndpointError::PlainHttp),
        ("keys.json", EndpointError::Malformed),
        ("", EndpointError::Malformed),
        ("https://u@keys.example/", EndpointError::UserInfo),
        ("https://keys.example/#k", EndpointError::Fragment),
    ] {
        assert_eq!(jwks(uri), one("issuer \"https://as.example/\" jwks_uri", SettingErrorKind::Url(error)), "{uri}");
    }
    let discovery = errors_of(Issuer::oidc("accounts.example"));
    assert_eq!(discovery, one("issuer \"accounts.example\"", SettingErrorKind::Url(EndpointError::Malformed)));
}

#[test]
fn plain_http_error_names_the_setting_that_allows_it() {
    let hint = "plain http is allowed on loopback only; use https, or `dangerous_allow_http` in a network that you trust, such \
                as that of docker compose";
    let jwks = || Issuer::jwks("https://as.example/", "http://keycloak:8080/certs");
    let oidc = || Issuer::oidc("http://keycloak:8080/realms/shop");
    for issuer in [jwks, oidc] {
        let problems: Vec<SettingErrorKind> = errors_of(issuer()).into_iter().map(|(_, problem)| problem).collect();
        assert_eq!(problems, [SettingErrorKind::Url(EndpointError::PlainHttp)]);
        assert_eq!(problems.iter().map(SettingErrorKind::to_string).collect::<Vec<_>>(), [hint]);
        assert_eq!(errors_of(issuer().dangerous_allow_http()), []);
    }
    let other = SettingErrorKind::Url(EndpointError::UserInfo);
    assert_eq!(other.to_string(), "a URL with user name or password is not allowed");
}

#[test]
fn rejects_algorithms_that_do_not_fit_the_key_type() {
    let setting = "issuer \"https://hs.example/\" algorithms";
    assert_eq!(errors_of(hs().with_algorithms([])), one(setting, SettingErrorKind::NoAlgorithms));
    assert_eq!(
        errors_of(hs().with_algorithms([Algorithm::HS256, Algorithm::RS256])),
        one(setting, SettingErrorKind::AsymmetricWithSecret(Algorithm::RS256))
    );
    assert_eq!(
        errors_of(hs().with_algorithms([Algorithm::HS256, Algorithm::HS256])),
        one(setting, SettingErrorKind::DuplicateAlgorithm(Algorithm::HS256))
    );
    let tenant = Issuer::auth0("t.auth0.com").with_algorithms([Algorithm::HS256]);
    assert_eq!(
        errors_of(tenant),
        one("issuer \"t.auth0.com\" algorithms", SettingErrorKind::SymmetricWithPublicKeys(Algorithm::HS256))
    );
    let mixed = Issuer::auth0("t.auth0.com").with_secret(Secret::from_text(LONG));
    assert_eq!(errors_of(mixed), one("issuer \"t.auth0.com\" secret", SettingErrorKind::SecretWithPublicKeys));
}

#[test]
fn rejects_short_secrets_and_public_keys_as_secrets() {
    let with = |secret| errors_of(Issuer::shared_secret("https://hs.example/", secret));
    let setting = "issuer \"https://hs.example/\" secret";
    assert_eq!(with(Secret::from_text("")), one(setting, SettingErrorKind::Secret(SecretError::Empty)));
    assert_eq!(
        with(Secret::from_text("-----BEGIN PUBLIC KEY-----\nMIIB")),
        one(setting, SettingErrorKind::Secret(SecretError::KeyFile))
    );
    assert_eq!(with(Secret::from_hex("0g")), one(setting, SettingErrorKind::Secret(SecretError::Encoding)));
    let short = "sixteen bytes!!!";
    assert_eq!(
        with(Secret::from_text(short)),
        one(
            setting,
            SettingErrorKind::Secret(SecretError::TooShort { algorithm: Algorithm::HS256, length: 16, needed: 32 })
        )
    );
    assert_eq!(with(Secret::from_text(short).map(Secret::dangerous_short_secret)), []);
    let five = (0..4).fold(hs(), |issuer, n| issuer.with_secret(Secret::from_text(format!("{LONG}{n}"))));
    assert_eq!(errors_of(five), one(setting, SettingErrorKind::TooManyKeys));
}

#[test]
fn rejects_static_keys_without_a_usable_key() {
    let with = |keys| errors_of(Issuer::static_keys("https://as.example/", keys));
    let setting = "issuer \"https://as.example/\" static keys";
    let none = |skipped| one(setting, SettingErrorKind::NoUsableKey { skipped });
    assert_eq!(with(KeySet::from_jwks(r#"{"keys":[]}"#)), none(None));
    let secret = with(KeySet::from_jwks(r#"{"keys":[{"kty":"oct","k":"AAAA"}]}"#));
    assert_eq!(secret, none(Some(SkipReason::Symmetric)));
    assert_eq!(
        secret[0].1.to_string(),
        "contains no key for a listed algorithm; one key was skipped: it is a shared secret"
    );
    assert_eq!(with(KeySet::from_pem("")), one(setting, SettingErrorKind::Keys(KeyError::Pem)));
}

#[test]
fn rejects_initial_keys_that_cannot_be_used() {
    let oidc = || Issuer::oidc("https://as.example/");
    let setting = "issuer \"https://as.example/\" initial keys";
    let good = || KeySet::from_jwks(tower_bearer::testing::TestIssuer::new().jwks());
    assert_eq!(errors_of(oidc().with_initial_keys(good())), []);
    let none = |skipped| one(setting, SettingErrorKind::NoUsableKey { skipped });
    assert_eq!(errors_of(oidc().with_initial_keys(KeySet::from_jwks(r#"{"keys":[]}"#))), none(None));
    let secret = KeySet::from_jwks(r#"{"keys":[{"kty":"oct","k":"AAAA"}]}"#);
    assert_eq!(errors_of(oidc().with_initial_keys(secret)), none(Some(SkipReason::Symmetric)));
    assert_eq!(
        errors_of(oidc().with_algorithms([Algorithm::ES256]).with_initial_keys(good())),
        none(None),
        "the key is for another algorithm"
    );
    let error = SettingErrorKind::Keys(KeyError::Json);
    assert_eq!(errors_of(oidc().with_initial_keys(KeySet::from_jwks("<html>"))), one(setting, error));
    for issuer in [hs(), Issuer::static_keys("https://hs.example/", good())] {
        let setting = "issuer \"https://hs.example/\" initial keys";
        let error = SettingErrorKind::InitialKeysWithoutFetch;
        assert_eq!(errors_of(issuer.with_initial_keys(good())), one(setting, error));
    }
}

/// A key is not used if its private key is in the same set, under whatever id.
#[test]
fn rejects_initial_keys_with_their_private_keys() {
    const PUBLIC: &str = r#"{"kty":"OKP","crv":"Ed25519","x":"11qYAYKxCrfVS_7TyWQHOg7hcvPapiMlrwIaaPcHURo"}"#;
    let with = |keys: &[String]| {
        let set = KeySet::from_jwks(format!("{{\"keys\":[{}]}}", keys.join(",")));
        errors_of(Issuer::oidc("https://as.example/").with_algorithms([Algorithm::EdDSA]).with_initial_keys(set))
    };
    let private = PUBLIC.replacen('{', r#"{"kid":"2","d":"nWGxne_9WmC6hEr0kuwsxERJxWl7MmkZcDusAxyuf2A","#, 1);
    assert_eq!(with(&[PUBLIC.to_owned()]), []);
    let setting = "issuer \"https://as.example/\" initial keys";
    let compromised = SettingErrorKind::NoUsableKey { skipped: Some(SkipReason::Compromised) };
    assert_eq!(with(&[PUBLIC.to_owned(), private.clone()]), one(setting, compromised.clone()));
    // Other parsers may read a private key that this crate cannot parse.
    let malformed = private.replacen('{', r#"{"kty":"RSA","#, 1);
    assert_eq!(with(&[PUBLIC.to_owned(), malformed]), one(setting, compromised));
}

#[test]
fn rejects_settings_out_of_range() {
    let api = || Api::new(AUDIENCE, hs());
    assert_eq!(errors(Api::new("", hs())), one("audience", SettingErrorKind::Empty));
    assert_eq!(errors(api().with_audience("a ")), one("audience \"a \"", SettingErrorKind::Unprintable));
    assert_eq!(errors(api().with_leeway(Duration::from_secs(301))), one("leeway", SettingErrorKind::Leeway));
    assert_eq!(errors(api().with_leeway(Duration::from_secs(300))), []);
    assert_eq!(errors(api().with_max_token_age(Duration::ZERO)), one("max age", SettingErrorKind::MaxAge));
    assert_eq!(errors(api().with_required_claims([""])), one("required claims", SettingErrorKind::Empty));
    for bytes in [0, 255, 1_048_577, usize::MAX] {
        assert_eq!(
            errors(api().with_max_token_bytes(bytes)),
            one("max token bytes", SettingErrorKind::TokenSize),
            "{bytes}"
        );
    }
    assert_eq!(
        errors(api().with_issuer(hs())),
        one("issuer \"https://hs.example/\"", SettingErrorKind::DuplicateIssuer)
    );
}

#[tokio::test]
async fn rejects_two_issuers_of_one_name_with_keys_of_the_same_kind() {
    let public = || Issuer::jwks("https://hs.example/", "https://keys.example/");
    assert_eq!(errors(Api::new(AUDIENCE, hs()).with_issuer(public())), []);
    let duplicate = one("issuer \"https://hs.example/\"", SettingErrorKind::DuplicateIssuer);
    assert_eq!(errors(Api::new(AUDIENCE, public()).with_issuer(public())), duplicate);
    assert_eq!(errors(Api::new(AUDIENCE, hs()).with_issuer(public()).with_issuer(hs())), duplicate);
    assert_eq!(errors_of(hs().with_alias("https://hs.example/")), duplicate);
    // The host is bound to the name, and so to both.
    let bound = Api::new(AUDIENCE, hs()).with_issuer(public());
    assert_eq!(errors(bound.clone().with_issuer_from_host()), []);
    assert_eq!(errors(bound.with_issuer_for_host("api.example", "https://hs.example/")), []);
}

#[test]
fn rejects_token_types_of_other_protocols() {
    let api = |typ: &str| Api::new(AUDIENCE, hs()).with_token_types([typ]);
    for typ in ["dpop+jwt", "logout+jwt", "secevent+jwt", "token-introspection+jwt"] {
        for typ in [typ.to_owned(), typ.to_uppercase(), format!("application/{typ}"), format!("Application/{typ}")] {
            let expected = one(&format!("token type {typ:?}"), SettingErrorKind::TokenTypeOfOtherProtocol);
            assert_eq!(errors(api(&typ)), expected, "{typ}");
        }
    }
    assert_eq!(errors(api("")), one("token type \"\"", SettingErrorKind::Empty));
    assert_eq!(errors(api("application/")), one("token type \"application/\"", SettingErrorKind::Empty));
    assert_eq!(errors(api("acme jwt")), one("token type \"acme jwt\"", SettingErrorKind::Unprintable));
    for accepted in ["acme+jwt", "application/acme+jwt", "JWT", "at+jwt"] {
        assert_eq!(errors(api(accepted)), [], "{accepted}");
    }
    for profile in [Profile::Auth0, Profile::Rfc9068] {
        let contradiction = one("token types", SettingErrorKind::TokenTypesWithProfile);
        assert_eq!(errors(api("acme+jwt").with_profile(profile)), contradiction, "{profile:?}");
    }
}

#[test]
fn rejects_an_empty_client_claim() {
    let api = |claim: &str| Api::new(AUDIENCE, hs()).with_client_claim(claim);
    assert_eq!(errors(api("")), one("client claim", SettingErrorKind::Empty));
    assert_eq!(errors(api("").with_client_ids(["web"])), one("client claim", SettingErrorKind::Empty));
    assert_eq!(errors(api("cid")), [], "requirements and revocations compare it");
    assert_eq!(errors(api("cid").with_client_ids(["web"])), []);
}

#[test]
fn rejects_tokens_without_audience_from_every_client() {
    let api = || Api::new(AUDIENCE, hs()).dangerous_allow_missing_audience();
    let unrestricted = one("tokens without aud", SettingErrorKind::MissingAudienceUnrestricted);
    assert_eq!(errors(api()), unrestricted);
    assert_eq!(errors(api().with_client_ids(["web"])), []);
    assert!(Validator::builder(api()).with_check(|_| Ok(())).build().is_ok());
    let strict = one("tokens without aud", SettingErrorKind::MissingAudienceWithProfile);
    assert_eq!(errors(api().with_client_ids(["web"]).with_profile(Profile::Rfc9068)), strict);
    assert_eq!(errors(api().with_client_ids(["web"]).with_profile(Profile::Auth0)), []);
}

/// AD FS has such an issuer, with keys over https.
#[tokio::test]
async fn accepts_an_http_issuer_from_which_nothing_is_fetched() {
    let adfs = "http://adfs.example.com/adfs/services/trust";
    let plain = one(&format!("issuer {adfs:?}"), SettingErrorKind::Url(EndpointError::PlainHttp));
    assert_eq!(errors_of(Issuer::jwks(adfs, "https://adfs.example.com/adfs/discovery/keys")), []);
    assert_eq!(errors_of(Issuer::static_keys(adfs, KeySet::from_jwks(TestIssuer::new().jwks()))), []);
    assert_eq!(errors_of(Issuer::shared_secret(adfs, Secret::from_text(LONG))), []);
    assert_eq!(errors_of(Issuer::oidc("https://adfs.example.com/adfs").with_alias(adfs)), []);
    // Discovery fetches a document from the `iss`.
    assert_eq!(errors_of(Issuer::oidc(adfs)), plain);
    assert_eq!(errors_of(Issuer::oidc(adfs).dangerous_allow_http()), []);
}

#[test]
fn rejects_hosts_bound_twice_or_to_an_unknown_issuer() {
    let api = || Api::new(AUDIENCE, hs().with_alias("https://other.example/"));
    assert_eq!(errors(api().with_issuer_for_host("api.example:8443", "https://hs.example/")), []);
    assert_eq!(
        errors(api().with_issuer_for_host("https://api.example", "https://hs.example/")),
        one("issuer for host \"https://api.example\"", SettingErrorKind::Host)
    );
    assert_eq!(
        errors(api().with_issuer_for_host("api.example", "https://hs.example")),
        one("issuer for host \"api.example\", issuer \"https://hs.example\"", SettingErrorKind::UnknownIssuer)
    );
    let twice = api()
        .with_issuer_for_host("api.example", "https://hs.example/")
        .with_issuer_for_host("API.example:1", "https://other.example/");
    let both = "host \"api.example\", issuers \"https://hs.example/\" and \"https://other.example/\"";
    assert_eq!(errors(twice), one(both, SettingErrorKind::DuplicateHost));
    let same_host = Api::new(AUDIENCE, hs().with_alias("https://hs.example/b")).with_issuer_from_host();
    let both = "host \"hs.example\", issuers \"https://hs.example/\" and \"https://hs.example/b\"";
    assert_eq!(errors(same_host), one(both, SettingErrorKind::DuplicateHost));
    let nameless =
        Api::new(AUDIENCE, Issuer::shared_secret("accounts", Secret::from_text(LONG))).with_issuer_from_host();
    assert_eq!(errors(nameless), one("issuer from host, issuer \"accounts\"", SettingErrorKind::NoHost));
}

#[test]
fn invalid_issuer_still_resolves_references_to_it() {
    let keyless = |uri: &str| Issuer::jwks("https://as.example/", uri).with_alias("https://as2.example/");
    let api = |uri: &str| Api::new(AUDIENCE, keyless(uri)).with_issuer_for_host("api.example", "https://as2.example/");
    let plain = ("issuer \"https://as.example/\" jwks_uri".to_owned(), SettingErrorKind::Url(EndpointError::PlainHttp));
    let twice = ("issuer \"https://as.example/\"".to_owned(), SettingErrorKind::DuplicateIssuer);
    let unknown =
        ("issuer for host \"b.example\", issuer \"https://as3.example/\"".to_owned(), SettingErrorKind::UnknownIssuer);
    let keys = "http://keys.example/";
    assert_eq!(errors(api(keys)), std::slice::from_ref(&plain));
    let another = Issuer::jwks("https://as.example/", "https://keys.example/");
    assert_eq!(
        errors(api(keys).with_issuer(another).with_issuer_for_host("b.example", "https://as3.example/")),
        [plain, twice, unknown]
    );
    let misspelt = Issuer::auth0("t.auth0.com").with_custom_domain("http://login.example");
    assert_eq!(
        errors(Api::new(AUDIENCE, misspelt).with_issuer_for_host("api.example", "https://t.auth0.com/")),
        one("Auth0 domain \"http://login.example\"", SettingErrorKind::NotADomain)
    );
    for bound in ["https://t.auth0.com/", "https://login.example/"] {
        let slashed = Issuer::auth0("t.auth0.com/").with_custom_domain("login.example");
        assert_eq!(
            errors(Api::new(AUDIENCE, slashed).with_issuer_for_host("api.example", bound)),
            one("Auth0 domain \"t.auth0.com/\"", SettingErrorKind::NotADomain)
        );
    }
}

#[tokio::test]
async fn accepts_a_host_bound_to_any_domain_of_an_issuer() {
    let issuer = Issuer::jwks("https://as.example/", "https://keys.example/").with_alias("urn:as");
    assert_eq!(errors(Api::new(AUDIENCE, issuer).with_issuer_for_host("api.example", "urn:as")), []);
}

#[test]
fn errors_number_the_entry_among_several() {
    let short =
        |length| SettingErrorKind::Secret(SecretError::TooShort { algorithm: Algorithm::HS256, length, needed: 32 });
    let named = |number: usize| format!("issuer \"https://hs.example/\" secret {number} of 3");
    let three =
        |second: &str, third: &str| hs().with_secret(Secret::from_text(second)).with_secret(Secret::from_text(third));
    assert_eq!(errors_of(three("four", "five")), [(named(2), short(4)), (named(3), short(4))]);
    assert_eq!(errors_of(three(&LONG.to_uppercase(), "six")), one(&named(3), short(3)));
    let audiences = |first: &str, second: &str| errors(Api::new(first, hs()).with_audience(second));
    let empty = |number: usize| (format!("audience {number} of 2"), SettingErrorKind::Empty);
    assert_eq!(audiences("", ""), [empty(1), empty(2)]);
    assert_eq!(audiences(AUDIENCE, ""), [empty(2)]);
    assert_eq!(audiences(AUDIENCE, "b"), []);
}

#[test]
fn returns_all_errors_at_once_without_secrets() {
    let issuer = Issuer::shared_secret("https://hs.example/?a", Secret::from_text("too short"))
        .with_algorithms([Algorithm::HS512, Algorithm::ES256]);
    let api =
        Api::new("", issuer).with_leeway(Duration::from_secs(3_600)).with_issuer(Issuer::auth0("http://t.auth0.com/"));
    let error = Validator::new(api).expect_err("several errors");
    let settings: Vec<&str> = error.errors().iter().map(|reason| reason.setting()).collect();
    assert_eq!(
        settings,
        [
            "audience",
            "leeway",
            "issuer \"https://hs.example/?a\"",
            "issuer \"https://hs.example/?a\" algorithms",
            "issuer \"https://hs.example/?a\" secret",
            "Auth0 domain \"http://t.auth0.com/\"",
        ]
    );
    let text = format!("{error} {error:?}");
    assert!(text.starts_with("the configuration has 6 errors:\n  - audience: is empty\n"), "{text}");
    assert!(!text.contains("too short"), "{text}");
}
