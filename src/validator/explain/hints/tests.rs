use std::collections::BTreeSet;
use std::sync::Arc;

use super::*;
use crate::clock::Clock as _;
use crate::config::{Api, Issuer};
use crate::keys::{KeySet, Secret};
use crate::rejection::{KeyNotFound, NearMiss};
use crate::request::HostError;
use crate::request::credential::CredentialError;
use crate::requirement::Requirement;
use crate::testing::{FakeClock, TestIssuer, TokenBuilder, claims};
use crate::token::{Algorithm, Part, TokenError};
use crate::validator::explain::hints::table::{IN_MICROSECONDS, IN_MILLISECONDS, MARKED_AS_ID_TOKEN};

const AUDIENCE: &str = "https://api.test/";

/// A true case of a hint, and a token that misses it narrowly.
struct Case {
    text: &'static str,
    validator: Validator,
    good: String,
    near_miss: String,
}

fn case(text: &'static str, validator: &Validator, good: TokenBuilder, near_miss: TokenBuilder) -> Case {
    Case { text, validator: validator.clone(), good: good.sign(), near_miss: near_miss.sign() }
}

fn trusted(server: &TestIssuer) -> Issuer {
    Issuer::static_keys(server.issuer(), KeySet::from_jwks(server.jwks()))
}

fn validator(api: Api) -> Validator {
    Validator::builder(api).build().expect("a good configuration")
}

/// An API that trusts an Auth0 domain, with the keys at hand.
async fn tenant(server: &TestIssuer, domain: &str) -> Validator {
    let api = Api::new(AUDIENCE, Issuer::auth0(domain));
    let validator = Validator::builder(api).with_fetch(server.clone()).build().expect("a good configuration");
    for (_, keys) in validator.key_sources() {
        keys.ready().await.expect("keys");
    }
    validator
}

/// The hint for a token, which is the same wherever it is asked for.
async fn hint_of(validator: &Validator, token: &str) -> Option<&'static str> {
    let rejection = validator.validate(token).await.expect_err("a rejected token");
    let hint = validator.hint(token, &rejection);
    let explanation = validator.explain(token).await;
    let finding = explanation.findings().iter().find(|finding| finding.rejection() == Some(&rejection));
    assert_eq!(finding.expect("the same rejection").hint(), hint, "{explanation}");
    assert!(rejection.hint().is_none_or(|alone| Some(alone) == hint), "{rejection}: {hint:?}");
    hint
}

/// A text, a rejection that it is true of, and a narrow miss.
type Pure = (&'static str, Rejection, Rejection);

/// The request, the form of the token and its issuer.
fn of_requests() -> Vec<Pure> {
    use crate::rejection::IssuerError::{NotForHost, Unknown, UnknownHost};
    let token = Rejection::Token;
    let near = |near| Rejection::Issuer(Unknown { near });
    vec![
        (
            "not one token alone: a second scheme, a comma, a quote or a space in it?",
            Rejection::Credential(CredentialError::Malformed),
            Rejection::Credential(CredentialError::Multiple),
        ),
        ("there is no token", token(TokenError::NoToken), token(TokenError::Empty { part: Part::Header })),
        ("give the token alone, without scheme and spaces", token(TokenError::WhiteSpace), token(TokenError::NotAJwt)),
        (
            "opaque: the client asked for no audience, or the server issues no JWTs; or a JWT that was cut off",
            token(TokenError::NotAJwt),
            token(TokenError::Encoding { part: Part::Header }),
        ),
        (
            "encrypted token: turn token encryption off for this API",
            token(TokenError::Encrypted),
            token(TokenError::Nested),
        ),
        ("iss lacks the trailing slash", near(Some(NearMiss::MissingSlash)), near(Some(NearMiss::ExtraSlash))),
        ("iss has a trailing slash too many", near(Some(NearMiss::ExtraSlash)), near(Some(NearMiss::MissingSlash))),
        (
            "iss differs from a configured issuer by upper and lower case only: its discovery document decides",
            near(Some(NearMiss::Case)),
            near(Some(NearMiss::Scheme)),
        ),
        (
            "iss differs from a configured issuer by http and https only: its discovery document decides",
            near(Some(NearMiss::Scheme)),
            near(None),
        ),
        ("a token of another host's issuer", Rejection::Issuer(NotForHost), Rejection::Issuer(UnknownHost)),
        (
            "no issuer is bound to the request's host; calls without a layer name it: validate_for, explain_for",
            Rejection::Issuer(UnknownHost),
            Rejection::Issuer(NotForHost),
        ),
        (
            "the request's host is malformed, stands twice or contradicts its target",
            Rejection::Host(HostError::Malformed),
            Rejection::Issuer(NotForHost),
        ),
    ]
}

/// The key, and claims that need no look at the token.
fn of_keys() -> Vec<Pure> {
    use crate::claims::ClaimError::{Expired, IdToken, TokenType};
    let unknown = |age| Rejection::Key(KeyNotFound::Unknown { age });
    let id_token = || Rejection::Claims(IdToken { marker: "at_hash" });
    vec![
        (
            "the issuer does not publish this key: a token of another tenant or environment?",
            unknown(Some(Duration::ZERO)),
            unknown(None),
        ),
        (
            "none of the configured keys has the token's kid: a token of another environment?",
            unknown(None),
            unknown(Some(Duration::ZERO)),
        ),
        (
            "no usable key: it was skipped (size, use, encoding, private half published), is for another algorithm, or is revoked",
            Rejection::Key(KeyNotFound::NotForVerification),
            Rejection::Key(KeyNotFound::Ambiguous),
        ),
        (
            "several keys fit: let the issuer write a kid into the token's header",
            Rejection::Key(KeyNotFound::Ambiguous),
            Rejection::Key(KeyNotFound::NotForVerification),
        ),
        ("the API's profile does not take this typ", Rejection::Claims(TokenType), id_token()),
        (MARKED_AS_ID_TOKEN, id_token(), Rejection::Claims(Expired)),
    ]
}

/// The algorithm and the type of `sub`.
fn of_algorithms() -> Vec<Case> {
    let server = TestIssuer::new();
    let token = || server.token();
    let plain = validator(Api::new(AUDIENCE, trusted(&server)));
    let both = TestIssuer::new().with_algorithms([Algorithm::RS256, Algorithm::ES256]);
    let es256 = validator(Api::new(AUDIENCE, trusted(&both).with_algorithms([Algorithm::ES256])));
    let secret = Secret::from_text("a secret of more than thirty-two octets");
    let hs256 = validator(Api::new(AUDIENCE, Issuer::shared_secret(server.issuer(), secret)));
    let es = || both.token().algorithm(Algorithm::ES256);
    vec![
        case(
            "HS256 token at an RS256 API: see the API's signing algorithm at the issuer",
            &plain,
            token().hs256_with_public_key(),
            es(),
        ),
        case("RS256 token at an HS256 API: see the API's signing algorithm at the issuer", &hs256, token(), es()),
        case("token signed with a secret, at an API of public keys", &es256, token().hs256_with_public_key(), token()),
        case("token signed with a private key, at an API of a shared secret", &hs256, es(), token()),
        case("the issuer's list of algorithms lacks the token's", &plain, es(), token().kid("nobody")),
        case(
            "sub is a number, and RFC 7519 wants a string: change it at the issuer",
            &plain,
            token().claim("sub", 7),
            token().claim("sub", ["7"]),
        ),
    ]
}

/// An audience that is missing, or an ID token's.
fn of_clients() -> Vec<Case> {
    let server = TestIssuer::new();
    let token = || server.token();
    let plain = validator(Api::new(AUDIENCE, trusted(&server)));
    let clients = validator(Api::new(AUDIENCE, trusted(&server)).with_client_ids(["web"]));
    let auth0 = TestIssuer::auth0("northwind.eu.auth0.com");
    let of_auth0 = validator(Api::new(AUDIENCE, trusted(&auth0)));
    let cognito = TestIssuer::named("https://cognito-idp.eu-central-1.amazonaws.com/eu-central-1_A");
    let of_cognito = validator(Api::new(AUDIENCE, trusted(&cognito)));
    let bare = |token: TokenBuilder| token.without("aud").claim("client_id", "web");
    vec![
        case(
            MARKED_AS_ID_TOKEN,
            &plain,
            token().audience("x").claim("at_hash", "h"),
            token().audience("x").claim("nonce", "n"),
        ),
        case(
            "nonce, which Auth0 writes into ID tokens: the client has to send the access token",
            &of_auth0,
            auth0.token().audience("spa").claim("nonce", "n"),
            auth0.token().audience("spa"),
        ),
        case(
            "no aud: then token_use has to be access, and client_id one of the API's clients",
            &clients,
            bare(token()),
            token().audience("web").claim("client_id", "web"),
        ),
        case(
            "no aud, as in every access token of Cognito: with_client_ids names the clients",
            &of_cognito,
            bare(cognito.token()).claim("token_use", "access"),
            bare(cognito.token()),
        ),
    ]
}

/// An audience of something else.
fn of_audiences() -> Vec<Case> {
    let server = TestIssuer::new();
    let token = || server.token();
    let plain = validator(Api::new(AUDIENCE, trusted(&server)));
    let keycloak = TestIssuer::named("https://id.test/realms/shop");
    let of_keycloak = validator(Api::new(AUDIENCE, trusted(&keycloak)));
    vec![
        case(
            "aud differs from the API's by a trailing slash or by case only: the identifier at the issuer decides",
            &plain,
            token().audience("https://API.test"),
            token().audience("https://api.test/v1"),
        ),
        case(
            "a token for Auth0's Management API",
            &plain,
            token().audience("https://t.auth0.com/api/v2/"),
            token().audience("https://api.example/api/v2/"),
        ),
        case(
            "aud is Keycloak's default, account: add an audience mapper for this API to the client",
            &of_keycloak,
            keycloak.token().audience("account"),
            keycloak.token().audience("accounts"),
        ),
        case(
            "aud names the client and not the API: the client has to request a token for the API",
            &plain,
            token().audience("spa").claim("azp", "spa"),
            token().audience("web").claim("azp", "spa"),
        ),
    ]
}

/// The dates of a token, against the clock.
fn of_dates() -> Vec<Case> {
    let clock = FakeClock::new();
    let server = TestIssuer::new().with_clock(Arc::new(clock.clone()));
    let api = Api::new(AUDIENCE, trusted(&server)).with_max_age(Duration::from_secs(60));
    let validator = Validator::builder(api).with_clock(clock.clone()).build().expect("a good configuration");
    let now = clock.now();
    let (close, far) = (Duration::from_secs(299), Duration::from_secs(301));
    let expired = |ago| server.token().expires_at(now.saturating_sub(ago));
    let early = |ahead| server.token().not_before(now.saturating_add(ahead));
    let future = |ahead| server.token().issued_at(now.saturating_add(ahead));
    let expires = |factor| server.token().claim("exp", now.as_secs().saturating_mul(factor));
    vec![
        case("expired a moment ago: clock skew?", &validator, expired(close), expired(far)),
        case("not valid yet: clock skew?", &validator, early(close), early(far)),
        case("issued in the future: clock skew?", &validator, future(close), future(far)),
        case(IN_MILLISECONDS, &validator, expires(1_000), expires(100_000)),
        case(IN_MICROSECONDS, &validator, expires(1_000_000), expires(100_000)),
    ]
}

/// Another domain of a tenant. Nothing but the signature tells the tenant's own token from that of somebody else.
async fn of_domains() -> Vec<Case> {
    let server = TestIssuer::auth0("northwind.eu.auth0.com");
    let login = server.custom_domain("https://login.northwind.com/");
    let (canonical_only, custom_only) =
        (tenant(&server, "northwind.eu.auth0.com").await, tenant(&login, "login.northwind.com").await);
    let forged = |token: TokenBuilder| token.with_broken_signature();
    vec![
        case(
            "issued by the canonical domain, configured is the custom one",
            &custom_only,
            server.token(),
            forged(server.token()),
        ),
        case(
            "issued by another domain of a configured tenant: add it as custom domain",
            &canonical_only,
            login.token(),
            forged(login.token()),
        ),
    ]
}

fn of_requirements() -> Vec<(&'static str, Requirement, Claims, Claims)> {
    let (scope, permission) = (Requirement::scope("write"), Requirement::permission("write"));
    vec![
        (
            "the token has a permission of that name: ask for `scope_or_permission`",
            scope,
            claims().scope("read").permissions(["write"]).build(),
            claims().scope("read").permissions(["writes"]).build(),
        ),
        (
            "the token has a scope of that name, which says what the client asked for, not what the user may",
            permission,
            claims().scope("write").permissions(["read"]).build(),
            claims().scope("writes").permissions(["read"]).build(),
        ),
    ]
}

#[tokio::test]
async fn each_hint_is_given_where_it_is_true_and_not_beside_a_near_miss() {
    let mut covered = BTreeSet::new();
    for (text, good, near_miss) in of_requests().into_iter().chain(of_keys()) {
        assert_eq!(good.hint(), Some(text), "{good}");
        assert_ne!(near_miss.hint(), Some(text), "{near_miss}");
        covered.insert(text);
    }
    let tokens = of_algorithms()
        .into_iter()
        .chain(of_clients())
        .chain(of_audiences())
        .chain(of_dates())
        .chain(of_domains().await);
    for Case { text, validator, good, near_miss } in tokens {
        assert_eq!(hint_of(&validator, &good).await, Some(text));
        assert_ne!(hint_of(&validator, &near_miss).await, Some(text));
        covered.insert(text);
    }
    for (text, requirement, good, near_miss) in of_requirements() {
        let hint = |claims: &Claims| {
            let unmet = requirement.check(claims, FakeClock::new().now(), Duration::ZERO).expect_err("not met");
            hint_of_unmet(&unmet, claims)
        };
        assert_eq!((hint(&good), hint(&near_miss)), (Some(text), None));
        covered.insert(text);
    }
    assert_eq!(covered, HINTS.iter().map(|hint| hint.text).collect(), "every row has its case");
}

/// Whoever can send a token must not be able to have an operator trust its issuer.
#[tokio::test]
async fn no_hint_advises_to_trust_an_issuer_without_its_signature() {
    let server = TestIssuer::auth0("northwind.eu.auth0.com");
    let validator = tenant(&server, "northwind.eu.auth0.com").await;
    let custom_only = tenant(&server.custom_domain("https://login.northwind.com/"), "login.northwind.com").await;
    let stranger = TestIssuer::auth0("fabrikam.eu.auth0.com");
    let kid = server.kid();
    for issuer in ["https://login.fabrikam.com/", "https://fabrikam.eu.auth0.com/", "urn:fabrikam"] {
        for token in [
            stranger.token().issuer(issuer),
            stranger.token().issuer(issuer).kid(&kid),
            stranger.token().issuer(issuer).without_kid(),
            server.token().issuer(issuer).with_broken_signature(),
            server.token().issuer(issuer).hs256_with_public_key(),
        ] {
            let token = token.sign();
            assert_eq!(hint_of(&validator, &token).await, None, "{issuer}");
            assert_eq!(hint_of(&custom_only, &token).await, None, "{issuer}");
        }
    }
    // A name that no custom domain can have.
    let path = server.token().issuer("https://login.northwind.com/other/").sign();
    assert_eq!(hint_of(&validator, &path).await, None);
}

/// Entra ID, Firebase and others sign for all tenants with the same keys.
#[tokio::test]
async fn a_signature_says_nothing_about_the_tenant_of_another_server() {
    let server = TestIssuer::named("https://login.test/tenant-a/v2.0");
    let other = server.custom_domain("https://login.test/tenant-b/v2.0");
    let alone = server.custom_domain("https://tenant-c.test/");
    let named = server.custom_domain("https://tenant-d.eu.auth0.com/");
    let validator = validator(Api::new(AUDIENCE, trusted(&server)));
    assert!(validator.validate(&server.token().sign()).await.is_ok());
    for foreign in [other, alone, named] {
        let token = foreign.token().sign();
        let rejection = validator.validate(&token).await.expect_err("another issuer");
        assert_eq!(rejection, Rejection::Issuer(IssuerError::Unknown { near: None }));
        assert_eq!(hint_of(&validator, &token).await, None);
    }
}

/// Of several issuers, only the list of the one that the token claims counts.
#[tokio::test]
async fn the_algorithms_of_another_issuer_do_not_count() {
    let (public, secret) = (TestIssuer::named("https://a.test/"), TestIssuer::named("https://b.test/"));
    let secret = Issuer::shared_secret(secret.issuer(), Secret::from_text("a secret of more than thirty-two octets"));
    let validator = validator(Api::new(AUDIENCE, trusted(&public)).with_issuer(secret));
    let hint = hint_of(&validator, &public.token().hs256_with_public_key().sign()).await;
    assert_eq!(hint, Some("HS256 token at an RS256 API: see the API's signing algorithm at the issuer"));
}
