use std::collections::BTreeSet;
use std::sync::Arc;

use super::*;
use crate::clock::Clock as _;
use crate::config::{Api, EntraTenants, Issuer, TenantError};
use crate::dpop::ProofError;
use crate::introspection::{IntrospectionError, IntrospectionRejection, SignedAnswerError};
use crate::keys::{KeySet, Secret};
use crate::mutual_tls::{CertificateError, CertificateHeaderError};
use crate::rejection::{IssuerDifference, KeyNotFoundError, PossessionError};
use crate::request::CredentialError;
use crate::request::{HostError, NearMiss};
use crate::requirement::Requirement;
use crate::testing::{FakeClock, TestIssuer, TokenBuilder, claims};
use crate::token::{Algorithm, Segment, TokenError};
use crate::validator::explain::hints::table::{IN_MICROSECONDS, IN_MILLISECONDS, MARKED_AS_ID_TOKEN};

const AUDIENCE: &str = "https://api.test/";

/// A token to which a hint applies, and a similar one to which it does not.
struct Case {
    text: &'static str,
    validator: Validator,
    matching: String,
    other: String,
}

fn case(text: &'static str, validator: &Validator, matching: TokenBuilder, other: TokenBuilder) -> Case {
    Case { text, validator: validator.clone(), matching: matching.sign(), other: other.sign() }
}

fn trusted(server: &TestIssuer) -> Issuer {
    Issuer::static_keys(server.issuer(), KeySet::from_jwks(server.jwks()))
}

fn validator(api: Api) -> Validator {
    Validator::builder(api).build().expect("a valid configuration")
}

/// Returns a validator that trusts an Auth0 domain and has its keys.
async fn tenant(server: &TestIssuer, domain: &str) -> Validator {
    let api = Api::new(AUDIENCE, Issuer::auth0(domain));
    let validator = Validator::builder(api).with_fetch(server.clone()).build().expect("a valid configuration");
    for (_, keys) in validator.key_sources() {
        keys.ready().await.expect("keys");
    }
    validator
}

/// Returns the hint for a token, after a check that `hint` and `explain` return the same.
async fn hint_for(validator: &Validator, token: &str) -> Option<&'static str> {
    let rejection = validator.validate(token).await.expect_err("a rejected token");
    let hint = validator.hint(token, &rejection);
    let explanation = validator.explain(token).await;
    let finding = explanation.findings().iter().find(|finding| finding.rejection() == Some(&rejection));
    assert_eq!(finding.expect("the same rejection").hint(), hint, "{explanation}");
    assert!(rejection.hint().is_none_or(|alone| Some(alone) == hint), "{rejection}: {hint:?}");
    hint
}

/// A hint, a rejection to which it applies, and a similar one to which it does not.
type RejectionCase = (&'static str, Rejection, Rejection);

/// The request, the format of the token, and its issuer.
fn request_cases() -> Vec<RejectionCase> {
    use crate::rejection::IssuerError::{NotForHost, Unknown, UnknownHost};
    let token = Rejection::Token;
    let difference = |difference| Rejection::Issuer(Unknown { difference });
    vec![
        (
            "the credential is not a single token: does it contain a second scheme, a comma, a quote or a space?",
            Rejection::Credential(CredentialError::Malformed),
            Rejection::Credential(CredentialError::Multiple),
        ),
        ("there is no token", token(TokenError::NoToken), token(TokenError::Empty { segment: Segment::Header })),
        ("pass the token alone, without scheme and spaces", token(TokenError::WhiteSpace), token(TokenError::NotAJwt)),
        (
            "opaque: the client requested no audience, the server issues no JWTs, or the JWT was cut off",
            token(TokenError::NotAJwt),
            token(TokenError::Encoding { segment: Segment::Header }),
        ),
        (
            "encrypted token: turn token encryption off for this API",
            token(TokenError::Encrypted),
            token(TokenError::Nested),
        ),
        (
            "iss lacks the trailing slash",
            difference(Some(IssuerDifference::MissingSlash)),
            difference(Some(IssuerDifference::ExtraSlash)),
        ),
        (
            "iss has an extra trailing slash",
            difference(Some(IssuerDifference::ExtraSlash)),
            difference(Some(IssuerDifference::MissingSlash)),
        ),
        (
            "iss differs from a configured issuer only in upper and lower case: compare it with the issuer's discovery document",
            difference(Some(IssuerDifference::Case)),
            difference(Some(IssuerDifference::Scheme)),
        ),
        (
            "iss differs from a configured issuer only in http and https: compare it with the issuer's discovery document",
            difference(Some(IssuerDifference::Scheme)),
            difference(None),
        ),
        ("the token's issuer is bound to another host", Rejection::Issuer(NotForHost), Rejection::Issuer(UnknownHost)),
        (
            "no issuer is bound to the request's host; without a layer, pass the host to validate_for_host or explain_for_host",
            Rejection::Issuer(UnknownHost),
            Rejection::Issuer(NotForHost),
        ),
        (
            "the request's host is malformed, is present twice or contradicts the request target",
            Rejection::Host(HostError::Malformed),
            Rejection::Issuer(NotForHost),
        ),
    ]
}

/// The tenants of Entra ID, and those that are looked up.
fn tenant_cases() -> Vec<RejectionCase> {
    use crate::rejection::IssuerError::{TenantMismatch, TenantNotAllowed, TenantUnavailable, UnknownTenant};
    vec![
        (
            "the resolver of the tenants does not know this iss; it is called again after 60 s",
            Rejection::Issuer(UnknownTenant),
            Rejection::Issuer(TenantNotAllowed),
        ),
        (
            "the resolver of the tenants returned an issuer that cannot be used: see the log",
            Rejection::Issuer(TenantUnavailable { error: TenantError::Misconfigured }),
            Rejection::Issuer(TenantUnavailable { error: TenantError::Resolver }),
        ),
        (
            "more new tenants than `with_new_tenants_per_second` allows",
            Rejection::Issuer(TenantUnavailable { error: TenantError::TooManyTenants }),
            Rejection::Issuer(TenantUnavailable { error: TenantError::TooManyCalls }),
        ),
        (
            "the tenant of the token is none of the allowed tenants of Entra ID",
            Rejection::Issuer(TenantNotAllowed),
            Rejection::Issuer(TenantMismatch),
        ),
        (
            "tid is not the tenant in iss: not an access token of Entra ID",
            Rejection::Issuer(TenantMismatch),
            Rejection::Issuer(TenantNotAllowed),
        ),
        (
            "Entra ID publishes this key for another tenant than that of the token",
            Rejection::Key(KeyNotFoundError::OtherTenant),
            Rejection::Key(KeyNotFoundError::NotForVerification),
        ),
    ]
}

/// The introspection endpoint.
fn introspection_cases() -> Vec<RejectionCase> {
    let unavailable = |cause| {
        Rejection::Introspection(IntrospectionRejection::Unavailable { cause, retry_after: Duration::from_secs(1) })
    };
    let signed = |error| unavailable(IntrospectionError::Signed { error });
    let refused = "check the client id and secret of this API; some servers need `ClientAuthentication::post`";
    let url = "check the URL of the introspection endpoint";
    vec![
        (refused, unavailable(IntrospectionError::CredentialsRefused), unavailable(IntrospectionError::Timeout)),
        (url, unavailable(IntrospectionError::ContentType), unavailable(IntrospectionError::InvalidAnswer)),
        (
            url,
            unavailable(IntrospectionError::Status { status: 404 }),
            unavailable(IntrospectionError::Status { status: 500 }),
        ),
        (
            "let the server sign its answers for this client (RFC 9701), or remove `with_signed_answers`",
            unavailable(IntrospectionError::Unsigned),
            signed(SignedAnswerError::Form),
        ),
        (
            "encrypted answer: turn the encryption of answers off for this client at the server",
            signed(SignedAnswerError::Encrypted),
            signed(SignedAnswerError::Form),
        ),
        (
            "the server signs its answers for another client than the one of this API",
            signed(SignedAnswerError::Audience),
            signed(SignedAnswerError::Issuer),
        ),
        (
            "the answer is about another token: a cache or a proxy between this API and the server?",
            Rejection::Introspection(IntrospectionRejection::Contradicted { claim: "sub" }),
            Rejection::Introspection(IntrospectionRejection::Inactive),
        ),
    ]
}

/// The scheme and the proof.
fn possession_cases() -> Vec<RejectionCase> {
    vec![
        (
            "bound to a key: send it in Authorization under the scheme DPoP, not in a cookie; does a gateway rewrite the scheme?",
            Rejection::Possession(PossessionError::BearerScheme),
            Rejection::Possession(PossessionError::NotBound),
        ),
        (
            "the token is not bound to a key: is DPoP or mutual TLS on for this client at the issuer?",
            Rejection::Possession(PossessionError::NotBound),
            Rejection::Possession(PossessionError::BearerScheme),
        ),
        (
            "bound to a certificate: send it as Bearer, or set with_bound_tokens_under_dpop_scheme",
            Rejection::Possession(PossessionError::CertificateUnderDpop),
            Rejection::Possession(PossessionError::NotBound),
        ),
        (
            "the request has no DPoP header: does a gateway remove it?",
            Rejection::Possession(PossessionError::Proof(ProofError::Missing)),
            Rejection::Possession(PossessionError::Proof(ProofError::Multiple)),
        ),
        (
            "the clock of the client or of this server is wrong, or the client uses a proof for too long",
            Rejection::Possession(PossessionError::Proof(ProofError::TooOld { by: Duration::ZERO })),
            Rejection::Possession(PossessionError::Proof(ProofError::Expired)),
        ),
        (
            "a retry must carry a new proof",
            Rejection::Possession(PossessionError::Proof(ProofError::Replayed)),
            Rejection::Possession(PossessionError::Proof(ProofError::Signature)),
        ),
    ]
}

/// The certificate, and the configuration that a bound token needs.
fn certificate_cases() -> Vec<RejectionCase> {
    let certificate = |error| Rejection::Possession(PossessionError::Certificate(error));
    vec![
        (
            "the token is bound to a key: configure DPoP with Api::with_dpop",
            Rejection::Possession(PossessionError::NoDpop),
            Rejection::Possession(PossessionError::BearerScheme),
        ),
        (
            "the token is bound to a certificate: configure its source with Api::with_mutual_tls",
            certificate(CertificateError::NotConfigured),
            certificate(CertificateError::Missing),
        ),
        (
            "no certificate: does the server or proxy request one from clients, and does the proxy send the configured header?",
            certificate(CertificateError::Missing),
            certificate(CertificateError::Mismatch),
        ),
        (
            "the header with the certificate is not from a trusted proxy: is its address configured?",
            certificate(CertificateError::UntrustedPeer),
            certificate(CertificateError::UnknownPeer),
        ),
        (
            "the address of the peer is unknown: the server must insert PeerAddress into the extensions of each request",
            certificate(CertificateError::UnknownPeer),
            certificate(CertificateError::UntrustedPeer),
        ),
        (
            "the client has another certificate: after a renewal, it needs a new token",
            certificate(CertificateError::Mismatch),
            certificate(CertificateError::Missing),
        ),
        (
            "the proxy sends the certificate in another format than configured, or does not remove the header of clients",
            certificate(CertificateError::Header(CertificateHeaderError::List)),
            certificate(CertificateError::UntrustedPeer),
        ),
    ]
}

/// The URL of the proof.
fn proof_url_cases() -> Vec<RejectionCase> {
    let url = |near_miss| PossessionError::Proof(ProofError::Url { near_miss });
    vec![
        (
            "htu: only the scheme differs; the proxy terminates TLS: configure the URL that clients use",
            Rejection::Possession(url(Some(NearMiss::Scheme))),
            Rejection::Possession(url(Some(NearMiss::Port))),
        ),
        (
            "htu: only the port differs: configure the URL that clients use",
            Rejection::Possession(url(Some(NearMiss::Port))),
            Rejection::Possession(url(Some(NearMiss::Host))),
        ),
        (
            "htu: only the host differs: configure each host under which clients reach the API",
            Rejection::Possession(url(Some(NearMiss::Host))),
            Rejection::Possession(url(None)),
        ),
        (
            "htu has a path prefix that the public URL lacks: does a proxy remove it? Add it to the public URL",
            Rejection::Possession(url(Some(NearMiss::ExtraPrefix))),
            Rejection::Possession(url(Some(NearMiss::MissingPrefix))),
        ),
        (
            "htu lacks the path prefix of the public URL: the client must sign the URL that it requests",
            Rejection::Possession(url(Some(NearMiss::MissingPrefix))),
            Rejection::Possession(url(Some(NearMiss::ExtraPrefix))),
        ),
        (
            "htu: only the slash at the end differs: the client must sign the URL that it requests",
            Rejection::Possession(url(Some(NearMiss::TrailingSlash))),
            Rejection::Possession(url(Some(NearMiss::Case))),
        ),
        (
            "htu: only case or percent-encoding of the path differ: the client must sign the URL that it requests",
            Rejection::Possession(url(Some(NearMiss::Encoding))),
            Rejection::Possession(url(Some(NearMiss::TrailingSlash))),
        ),
        (
            "the request's host is none of the public URLs: add it, with its port",
            Rejection::Possession(PossessionError::Proof(ProofError::UnknownHost)),
            Rejection::Possession(url(None)),
        ),
    ]
}

/// The key, and claims for which the rejection is enough.
fn key_cases() -> Vec<RejectionCase> {
    use crate::claims::ClaimError::{Expired, IdToken, TokenType};
    let unknown = |age| Rejection::Key(KeyNotFoundError::Unknown { age });
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
            "no usable key: it was skipped (size, use, encoding, private key published), is for another algorithm or is revoked",
            Rejection::Key(KeyNotFoundError::NotForVerification),
            Rejection::Key(KeyNotFoundError::Ambiguous),
        ),
        (
            "too many keys match a token without kid: configure the issuer to write a kid into the token header",
            Rejection::Key(KeyNotFoundError::Ambiguous),
            Rejection::Key(KeyNotFoundError::NotForVerification),
        ),
        (
            "the API's profile does not accept this typ, or the introspection answer says that it is no access token",
            Rejection::Claims(TokenType),
            id_token(),
        ),
        (MARKED_AS_ID_TOKEN, id_token(), Rejection::Claims(Expired)),
    ]
}

/// The algorithm, and the type of `sub`.
fn algorithm_cases() -> Vec<Case> {
    let server = TestIssuer::new();
    let token = || server.token();
    let plain = validator(Api::new(AUDIENCE, trusted(&server)));
    let both = TestIssuer::new().with_algorithms([Algorithm::RS256, Algorithm::ES256]);
    let es256 = validator(Api::new(AUDIENCE, trusted(&both).with_algorithms([Algorithm::ES256])));
    let secret = Secret::from_text("a secret of more than thirty-two bytes");
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
        case(
            "token signed with a secret, but the issuer is configured with public keys",
            &es256,
            token().hs256_with_public_key(),
            token(),
        ),
        case(
            "token signed with a private key, but the issuer is configured with a shared secret",
            &hs256,
            es(),
            token(),
        ),
        case("the issuer's configured algorithms do not include the token's", &plain, es(), token().kid("nobody")),
        case(
            "the token has no kid, and no key of the issuer verifies it: a token of another tenant or environment?",
            &plain,
            token().without_kid().signed_by(&both),
            token().signed_by(&both),
        ),
        case(
            "sub is a number, but RFC 7519 requires a string: change it at the issuer",
            &plain,
            token().claim("sub", 7),
            token().claim("sub", ["7"]),
        ),
    ]
}

/// A missing audience, or an ID token.
fn entra_cases() -> Vec<Case> {
    let tenant = "11111111-2222-3333-4444-555555555555";
    let server = TestIssuer::named(&format!("https://sts.windows.net/{tenant}/"));
    let other = server.add_custom_domain("https://sts.windows.net/66666666-2222-3333-4444-555555555555/");
    let tenants = EntraTenants::only([tenant]).with_static_keys(KeySet::from_jwks(server.jwks()));
    let text = "a token of version 1: set requestedAccessTokenVersion of the API's app registration to 2";
    let version_2 = format!("https://login.microsoftonline.com/{tenant}/v2.0");
    let listed = Issuer::static_keys(version_2, KeySet::from_jwks(server.jwks()));
    vec![
        case(text, &validator(Api::new(AUDIENCE, Issuer::entra(tenants))), server.token(), other.token()),
        case(text, &validator(Api::new(AUDIENCE, listed)), server.token(), other.token()),
    ]
}

fn client_cases() -> Vec<Case> {
    let server = TestIssuer::new();
    let token = || server.token();
    let plain = validator(Api::new(AUDIENCE, trusted(&server)));
    let clients = validator(Api::new(AUDIENCE, trusted(&server)).with_client_ids(["web"]));
    let auth0 = TestIssuer::auth0("northwind.eu.auth0.com");
    let auth0_validator = validator(Api::new(AUDIENCE, trusted(&auth0)));
    let cognito = TestIssuer::named("https://cognito-idp.eu-central-1.amazonaws.com/eu-central-1_A");
    let cognito_validator = validator(Api::new(AUDIENCE, trusted(&cognito)));
    let bare = |token: TokenBuilder| token.without("aud").claim("client_id", "web");
    vec![
        case(
            MARKED_AS_ID_TOKEN,
            &plain,
            token().audience("x").claim("at_hash", "h"),
            token().audience("x").claim("nonce", "n"),
        ),
        case(
            "the token lacks the claim with the client: if the server writes another one, such as cid of Okta, set with_client_claim",
            &clients,
            token().audience(AUDIENCE).without("azp").claim("cid", "web"),
            token().audience(AUDIENCE).claim("azp", "other"),
        ),
        case(
            "nonce, which Auth0 writes into ID tokens: the client must send the access token",
            &auth0_validator,
            auth0.token().audience("spa").claim("nonce", "n"),
            auth0.token().audience("spa"),
        ),
        case(
            "no aud: without it, token_use must be access and client_id one of the API's clients",
            &clients,
            bare(token()).claim("token_use", "refresh"),
            bare(token()),
        ),
        case(
            "no aud: with_client_ids alone accepts only tokens with token_use (Cognito): see the recipe for tokens without aud",
            &clients,
            bare(token()),
            token().audience("web").claim("client_id", "web"),
        ),
        case(
            "no aud, as in every access token of Cognito: set the clients with with_client_ids",
            &cognito_validator,
            bare(cognito.token()).claim("token_use", "access"),
            bare(cognito.token()),
        ),
        case(
            "no aud: configure the server to write it; if it cannot, set with_client_ids and see the recipe for tokens without aud",
            &cognito_validator,
            bare(cognito.token()),
            bare(cognito.token()).claim("token_use", "access"),
        ),
        case(
            "a token for Microsoft Graph: the client must request a scope of this API, such as api://<id>/.default",
            &cognito_validator,
            cognito.token().audience("https://graph.microsoft.com"),
            cognito.token().audience("https://graph.microsoft.com/v1.0"),
        ),
    ]
}

/// The audience of another API or client.
fn audience_cases() -> Vec<Case> {
    let server = TestIssuer::new();
    let token = || server.token();
    let plain = validator(Api::new(AUDIENCE, trusted(&server)));
    let keycloak = TestIssuer::named("https://id.test/realms/shop");
    let keycloak_validator = validator(Api::new(AUDIENCE, trusted(&keycloak)));
    vec![
        case(
            "aud differs from the API's audience only in a trailing slash or in case: compare it with the API's identifier at the issuer",
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
            &keycloak_validator,
            keycloak.token().audience("account"),
            keycloak.token().audience("accounts"),
        ),
        case(
            "aud is the issuer, not this API: the client must request a token for the API (Okta: from a custom authorization server)",
            &keycloak_validator,
            keycloak.token().audience("https://id.test/realms/shop/"),
            keycloak.token().audience("https://id.test/realms"),
        ),
        case(
            "aud names the client and not the API: the client must request a token for the API",
            &plain,
            token().audience("spa").claim("azp", "spa"),
            token().audience("web").claim("azp", "spa"),
        ),
    ]
}

/// The dates of a token, compared with the clock.
fn date_cases() -> Vec<Case> {
    let clock = FakeClock::new();
    let server = TestIssuer::new().with_clock(Arc::new(clock.clone()));
    let api = Api::new(AUDIENCE, trusted(&server)).with_max_token_age(Duration::from_secs(60));
    let validator = Validator::builder(api).with_clock(clock.clone()).build().expect("a valid configuration");
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

/// Another domain of a tenant. Only the signature distinguishes a token of the tenant from a forged one.
async fn domain_cases() -> Vec<Case> {
    let server = TestIssuer::auth0("northwind.eu.auth0.com");
    let login = server.add_custom_domain("https://login.northwind.com/");
    let (canonical_only, custom_only) =
        (tenant(&server, "northwind.eu.auth0.com").await, tenant(&login, "login.northwind.com").await);
    let forged = |token: TokenBuilder| token.with_broken_signature();
    vec![
        case(
            "issued by the canonical domain, but the custom domain is configured",
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

fn requirement_cases() -> Vec<(&'static str, Requirement, Claims, Claims)> {
    let (scope, permission) = (Requirement::scope("write"), Requirement::permission("write"));
    vec![
        (
            "the token has a permission of that name: require `scope_or_permission`",
            scope,
            claims().scope("read").permissions(["write"]).build(),
            claims().scope("read").permissions(["writes"]).build(),
        ),
        (
            "the token has a scope of that name, but a scope shows what the client requested, not what the user may do",
            permission,
            claims().scope("write").permissions(["read"]).build(),
            claims().scope("writes").permissions(["read"]).build(),
        ),
        (
            "the claim is not in the token but in another document (_claim_names): Entra ID does this for users with many groups",
            Requirement::claim_contains("groups", "g1"),
            claims().claim("_claim_names", serde_json::json!({ "groups": "src1" })).build(),
            claims().claim("_claim_names", serde_json::json!({ "groups": "src1" })).claim("groups", ["g2"]).build(),
        ),
    ]
}

#[tokio::test]
async fn returns_each_hint_where_it_applies_and_not_in_a_similar_case() {
    let mut covered = BTreeSet::new();
    for (text, matching, other) in request_cases()
        .into_iter()
        .chain(tenant_cases())
        .chain(introspection_cases())
        .chain(possession_cases())
        .chain(certificate_cases())
        .chain(proof_url_cases())
        .chain(key_cases())
    {
        assert_eq!(matching.hint(), Some(text), "{matching}");
        assert_ne!(other.hint(), Some(text), "{other}");
        covered.insert(text);
    }
    let tokens = algorithm_cases()
        .into_iter()
        .chain(entra_cases())
        .chain(client_cases())
        .chain(audience_cases())
        .chain(date_cases())
        .chain(domain_cases().await);
    for Case { text, validator, matching, other } in tokens {
        assert_eq!(hint_for(&validator, &matching).await, Some(text));
        assert_ne!(hint_for(&validator, &other).await, Some(text));
        covered.insert(text);
    }
    for (text, requirement, matching, other) in requirement_cases() {
        let hint = |claims: &Claims| {
            let unmet = requirement.check(claims, FakeClock::new().now()).expect_err("the requirement is not met");
            hint_for_unmet(&unmet, claims)
        };
        assert_eq!((hint(&matching), hint(&other)), (Some(text), None));
        covered.insert(text);
    }
    assert_eq!(covered, all().map(|hint| hint.text).collect(), "every row has a case");
}

/// A sender of a token must not be able to make an operator trust its issuer.
#[tokio::test]
async fn returns_no_hint_to_trust_an_issuer_without_a_valid_signature() {
    let server = TestIssuer::auth0("northwind.eu.auth0.com");
    let validator = tenant(&server, "northwind.eu.auth0.com").await;
    let custom_only = tenant(&server.add_custom_domain("https://login.northwind.com/"), "login.northwind.com").await;
    let unknown_issuer = TestIssuer::auth0("fabrikam.eu.auth0.com");
    let kid = server.kid();
    for issuer in ["https://login.fabrikam.com/", "https://fabrikam.eu.auth0.com/", "urn:fabrikam"] {
        for token in [
            unknown_issuer.token().issuer(issuer),
            unknown_issuer.token().issuer(issuer).kid(&kid),
            unknown_issuer.token().issuer(issuer).without_kid(),
            server.token().issuer(issuer).with_broken_signature(),
            server.token().issuer(issuer).hs256_with_public_key(),
        ] {
            let token = token.sign();
            assert_eq!(hint_for(&validator, &token).await, None, "{issuer}");
            assert_eq!(hint_for(&custom_only, &token).await, None, "{issuer}");
        }
    }
    // A custom domain cannot have a path.
    let path = server.token().issuer("https://login.northwind.com/other/").sign();
    assert_eq!(hint_for(&validator, &path).await, None);
}

/// Entra ID, Firebase and others use the same keys for all tenants.
#[tokio::test]
async fn returns_no_tenant_hint_for_servers_that_share_keys_between_tenants() {
    let server = TestIssuer::named("https://login.test/tenant-a/v2.0");
    let other = server.add_custom_domain("https://login.test/tenant-b/v2.0");
    let alone = server.add_custom_domain("https://tenant-c.test/");
    let named = server.add_custom_domain("https://tenant-d.eu.auth0.com/");
    let validator = validator(Api::new(AUDIENCE, trusted(&server)));
    assert!(validator.validate(&server.token().sign()).await.is_ok());
    for foreign in [other, alone, named] {
        let token = foreign.token().sign();
        let rejection = validator.validate(&token).await.expect_err("another issuer");
        assert_eq!(rejection, Rejection::Issuer(IssuerError::Unknown { difference: None }));
        assert_eq!(hint_for(&validator, &token).await, None);
    }
}

/// With several issuers, the hint uses only the algorithms of the issuer that the token claims.
#[tokio::test]
async fn ignores_the_algorithms_of_other_issuers() {
    let (public, secret) = (TestIssuer::named("https://a.test/"), TestIssuer::named("https://b.test/"));
    let secret = Issuer::shared_secret(secret.issuer(), Secret::from_text("a secret of more than thirty-two bytes"));
    let validator = validator(Api::new(AUDIENCE, trusted(&public)).with_issuer(secret));
    let hint = hint_for(&validator, &public.token().hs256_with_public_key().sign()).await;
    assert_eq!(hint, Some("HS256 token at an RS256 API: see the API's signing algorithm at the issuer"));
}
