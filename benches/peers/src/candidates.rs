//! Every candidate as an axum router that returns "hello" to a valid token. Issuer, audience and expiry are checked if the
//! crate can check them.

use std::collections::HashMap;
use std::sync::Arc;
use std::time::Duration;

use aws_lc_rs::aead::{AES_256_GCM, Aad, LessSafeKey, Nonce, UnboundKey};
use axum::extract::{FromRef, Request, State};
use axum::http::{HeaderMap, HeaderValue, StatusCode, header};
use axum::middleware::{Next, from_fn_with_state};
use axum::response::{IntoResponse, Response};
use axum::routing::get;
use axum::{Extension, Router};
use serde::Deserialize;
use tower::util::MapRequestLayer;
use tower_bearer::testing::{TestIssuer, TestServer};
use tower_bearer::{Algorithm, Api, BearerLayer, Issuer, Validator};

const AUDIENCE: &str = "https://api.northwind.com/";

pub struct Candidate {
    pub name: &'static str,
    pub router: Router,
    /// Number of different tokens that are sent to it.
    pub distinct: usize,
}

/// An issuer and its tokens for many users.
pub struct Tokens {
    issuer: TestIssuer,
    texts: Vec<String>,
}

impl Tokens {
    pub fn new() -> Self {
        let issuer = TestIssuer::auth0("northwind.eu.auth0.com").with_algorithms([Algorithm::RS256]);
        let token = |number: usize| {
            issuer
                .token()
                .subject(&format!("auth0|64f1c9a2b7e35d0012{number:06}"))
                .audiences([AUDIENCE, "https://northwind.eu.auth0.com/userinfo"])
                .scope("openid profile email read:orders write:orders")
                .permissions(["read:orders", "write:orders", "read:customers"])
                .claim("azp", "q7ZkW3n5T1yB8cVx0RmLd9EuHs2KgPaF")
                .expires_in(Duration::from_secs(86_400))
                .sign()
        };
        let texts = (0..10_000).map(token).collect();
        Self { issuer, texts }
    }

    pub fn texts(&self, distinct: usize) -> &[String] {
        &self.texts[..distinct]
    }

    pub fn fields(&self, distinct: usize) -> Vec<HeaderValue> {
        let field = |token: &String| HeaderValue::try_from(format!("Bearer {token}")).expect("ASCII");
        self.texts(distinct).iter().map(field).collect()
    }
}

/// The claims that the other crates deserialize.
#[derive(Clone, Debug, Deserialize)]
#[allow(dead_code, reason = "read from the token, as an application would")]
struct Claims {
    iss: String,
    sub: String,
    exp: u64,
    scope: String,
    #[serde(default)]
    permissions: Vec<String>,
}

/// Returns the candidates, and those whose setup failed, with the reason.
pub async fn all(tokens: &Tokens) -> anyhow::Result<(Vec<Candidate>, Vec<(&'static str, String)>)> {
    let (issuer, jwks) = (tokens.issuer.issuer().to_owned(), tokens.issuer.jwks());
    let validator = || {
        let keys = tower_bearer::keys::KeySet::from_jwks(&jwks);
        Validator::builder(Api::new(AUDIENCE, Issuer::static_keys(&issuer, keys)))
    };
    let mut all = vec![
        Candidate {
            name: "no authentication",
            router: Router::new().route("/", get(async || "hello")),
            distinct: 1_000,
        },
        Candidate {
            name: "(a table of 1,000 fingerprints, nothing checked)",
            router: minimal_cache(tokens.texts(1_000)),
            distinct: 1_000,
        },
        Candidate {
            name: "(a table of 10,000 fingerprints, nothing checked)",
            router: minimal_cache(tokens.texts(10_000)),
            distinct: 10_000,
        },
        Candidate { name: "tower-bearer, 1,000 tokens", router: bearer_layer(validator().build()?), distinct: 1_000 },
        Candidate {
            name: "tower-bearer, 10,000 tokens",
            router: bearer_layer(validator().with_token_cache_bytes(32 << 20).build()?),
            distinct: 10_000,
        },
        Candidate {
            name: "tower-bearer without token cache",
            router: bearer_layer(validator().without_token_cache().build()?),
            distinct: 1_000,
        },
        Candidate {
            name: "tower-bearer without cache, custom claims",
            router: bearer_layer_with_custom_claims(validator().without_token_cache().build()?.with_custom_claims()),
            distinct: 1_000,
        },
    ];
    let mut failed = Vec::new();
    let peers: [(&'static str, anyhow::Result<Router>); 7] = [
        ("bare jsonwebtoken 12 (aws-lc)", bare(&issuer, &jwks)),
        ("aliri 0.6 (in a middleware)", aliri_(&issuer, &jwks)),
        ("axum-jwks 0.12 (no iss check)", axum_jwks_(&jwks)),
        ("axum-jwt-auth 0.7", axum_jwt_auth_(&issuer, &tokens.issuer)),
        ("jwt-authorizer 0.15 (in a middleware)", jwt_authorizer_(&issuer, &jwks).await),
        ("oauth-resource-server 0.4", oauth_resource_server_(&issuer, &tokens.issuer).await),
        ("tower-oauth2-resource-server 0.12 (aws-lc)", tower_oauth2_resource_server_(&issuer, &jwks).await),
    ];
    for (name, router) in peers {
        match router {
            Ok(router) => all.push(Candidate { name, router, distinct: 1_000 }),
            Err(error) => failed.push((name, error.to_string())),
        }
    }
    Ok((all, failed))
}

fn bearer_layer(validator: Validator) -> Router {
    let hello = async |claims: tower_bearer::Claims| greet(claims.subject().is_some());
    Router::new().route("/", get(hello)).layer(BearerLayer::new(validator))
}

/// The same with custom claims, as in the other crates.
fn bearer_layer_with_custom_claims(validator: Validator<Claims>) -> Router {
    let hello = async |claims: tower_bearer::Claims<Claims>| greet(!claims.custom().sub.is_empty());
    Router::new().route("/", get(hello)).layer(BearerLayer::new(validator))
}

/// The minimum of any token cache: computes the fingerprint of the token as this crate does, and looks it up in a constant
/// table. Credential syntax, dates and keys are not checked; the table has no bound.
fn minimal_cache(texts: &[String]) -> Router {
    let key = Arc::new(LessSafeKey::new(UnboundKey::new(&AES_256_GCM, &[7; 32]).expect("a key")));
    let fingerprint = move |token: &str| -> [u8; 16] {
        let nonce = Nonce::assume_unique_for_key([0; 12]);
        let tag = key.seal_in_place_separate_tag(nonce, Aad::from(token), &mut []).expect("short enough");
        tag.as_ref().try_into().expect("16 bytes")
    };
    let entries = texts.iter().map(|text| (fingerprint(text), Arc::<str>::from(text.as_str())));
    let entries: Arc<HashMap<[u8; 16], Arc<str>>> = Arc::new(entries.collect());
    let find = move |mut request: Request| {
        let entry = entries.get(&fingerprint(bearer(request.headers()).expect("a token"))).expect("a known token");
        request.extensions_mut().insert(Arc::clone(entry));
        request
    };
    let hello = async |Extension(entry): Extension<Arc<str>>| greet(!entry.is_empty());
    Router::new().route("/", get(hello)).layer(MapRequestLayer::new(find))
}

fn greet(known: bool) -> &'static str {
    if known { "hello" } else { "who" }
}

/// Returns a route whose middleware inserts the claims into the extensions.
fn behind_extension() -> Router {
    Router::new().route("/", get(async |Extension(claims): Extension<Claims>| greet(!claims.sub.is_empty())))
}

fn bearer(headers: &HeaderMap) -> Option<&str> {
    headers.get(header::AUTHORIZATION)?.to_str().ok()?.strip_prefix("Bearer ")
}

/// A hand-written middleware: key by `kid`, and one `decode`.
fn bare(issuer: &str, jwks: &str) -> anyhow::Result<Router> {
    use jsonwebtoken::{Algorithm, DecodingKey, Validation, decode, decode_header, jwk::JwkSet};
    struct Setup {
        keys: Vec<(String, DecodingKey)>,
        validation: Validation,
    }
    async fn check(State(setup): State<Arc<Setup>>, mut request: Request, next: Next) -> Response {
        let verify = |headers: &HeaderMap| -> Option<Claims> {
            let token = bearer(headers)?;
            let kid = decode_header(token).ok()?.kid?;
            let (_, key) = setup.keys.iter().find(|(known, _)| *known == kid)?;
            decode::<Claims>(token, key, &setup.validation).ok().map(|data| data.claims)
        };
        let Some(claims) = verify(request.headers()) else { return StatusCode::UNAUTHORIZED.into_response() };
        request.extensions_mut().insert(claims);
        next.run(request).await
    }
    let set: JwkSet = serde_json::from_str(jwks)?;
    let named =
        |jwk: &jsonwebtoken::jwk::Jwk| Ok((jwk.common.key_id.clone().unwrap_or_default(), DecodingKey::from_jwk(jwk)?));
    let keys = set.keys.iter().map(named).collect::<anyhow::Result<_>>()?;
    let mut validation = Validation::new(Algorithm::RS256);
    validation.set_audience(&[AUDIENCE]);
    validation.set_issuer(&[issuer]);
    validation.set_required_spec_claims(&["exp", "iss", "aud"]);
    Ok(behind_extension().layer(from_fn_with_state(Arc::new(Setup { keys, validation }), check)))
}

/// aliri's own layer needs an authority to fetch from and two traits; this middleware makes the same calls as that layer.
fn aliri_(issuer: &str, jwks: &str) -> anyhow::Result<Router> {
    use aliri::jwt::{self, CoreHeaders as _, HasAlgorithm as _};
    use aliri::{Jwks, JwtRef, jwa};
    struct Setup {
        keys: Jwks,
        validator: jwt::CoreValidator,
    }
    async fn check(State(setup): State<Arc<Setup>>, mut request: Request, next: Next) -> Response {
        let verify = |headers: &HeaderMap| -> Option<jwt::BasicClaims> {
            let token = JwtRef::from_str(bearer(headers)?);
            let decomposed: jwt::Decomposed = token.decompose().ok()?;
            let key = setup.keys.get_key_by_id(decomposed.kid()?, decomposed.alg())?;
            let validated: jwt::Validated = decomposed.verify(key, &setup.validator).ok()?;
            Some(validated.extract().1)
        };
        let Some(claims) = verify(request.headers()) else { return StatusCode::UNAUTHORIZED.into_response() };
        request.extensions_mut().insert(claims);
        next.run(request).await
    }
    let validator = jwt::CoreValidator::default()
        .add_approved_algorithm(jwa::Algorithm::RS256)
        .add_allowed_audience(jwt::Audience::from_static(AUDIENCE))
        .require_issuer(jwt::Issuer::new(issuer.to_owned()));
    let setup = Arc::new(Setup { keys: serde_json::from_str(jwks)?, validator });
    let hello = async |Extension(_): Extension<aliri::jwt::BasicClaims>| greet(true);
    Ok(Router::new().route("/", get(hello)).layer(from_fn_with_state(setup, check)))
}

fn axum_jwks_(jwks: &str) -> anyhow::Result<Router> {
    use axum_jwks::Jwks;
    #[derive(Clone, FromRef)]
    struct Setup {
        jwks: Jwks,
    }
    let set: jsonwebtoken_9::jwk::JwkSet = serde_json::from_str(jwks)?;
    let jwks = Jwks::from_jwk_set(set, Some(AUDIENCE), None)?;
    let hello = async |axum_jwks::Claims(claims): axum_jwks::Claims<Claims>| greet(!claims.sub.is_empty());
    Ok(Router::new().route("/", get(hello)).with_state(Setup { jwks }))
}

impl axum_jwks::ParseTokenClaims for Claims {
    type Rejection = axum_jwks::TokenError;
}

fn axum_jwt_auth_(issuer: &str, server: &TestIssuer) -> anyhow::Result<Router> {
    use axum_jwt_auth::{Decoder, LocalDecoder};
    use jsonwebtoken_10::{Algorithm, DecodingKey, Validation};
    #[derive(Clone, FromRef)]
    struct Setup {
        decoder: Decoder<Claims>,
    }
    let mut validation = Validation::new(Algorithm::RS256);
    validation.set_audience(&[AUDIENCE]);
    validation.set_issuer(&[issuer]);
    let key = DecodingKey::from_rsa_pem(server.public_key_pem().as_bytes())?;
    let decoder = LocalDecoder::builder().keys(vec![key]).validation(validation).build();
    let decoder = decoder.map_err(|error| anyhow::anyhow!("{error}"))?;
    let hello = async |claims: axum_jwt_auth::Claims<Claims>| greet(!claims.claims.sub.is_empty());
    Ok(Router::new().route("/", get(hello)).with_state(Setup { decoder: Arc::new(decoder) }))
}

/// Its layer responds with the body type of axum 0.7; this middleware does the same under axum 0.8.
async fn jwt_authorizer_(issuer: &str, jwks: &str) -> anyhow::Result<Router> {
    use jwt_authorizer::{Authorizer, JwtAuthorizer, Validation};
    async fn check(State(authorizer): State<Arc<Authorizer<Claims>>>, mut request: Request, next: Next) -> Response {
        let Some(token) = authorizer.extract_token(request.headers()) else {
            return StatusCode::UNAUTHORIZED.into_response();
        };
        match authorizer.check_auth(&token).await {
            Ok(data) => {
                request.extensions_mut().insert(data.claims);
                next.run(request).await
            }
            Err(_) => StatusCode::UNAUTHORIZED.into_response(),
        }
    }
    let validation = Validation::new().iss(&[issuer]).aud(&[AUDIENCE]);
    let authorizer = JwtAuthorizer::<Claims>::from_jwks_text(jwks).validation(validation).build().await;
    let authorizer = authorizer.map_err(|error| anyhow::anyhow!("{error}"))?;
    Ok(behind_extension().layer(from_fn_with_state(Arc::new(authorizer), check)))
}

async fn oauth_resource_server_(issuer: &str, server: &TestIssuer) -> anyhow::Result<Router> {
    use oauth_resource_server::axum::AuthLayer;
    use oauth_resource_server::{Credential, KeyNaming, OAuthConfig, OAuthValidator, static_token_policy};
    let keys: TestServer = server.clone().serve().await?;
    let config = OAuthConfig {
        enabled: true,
        issuer: issuer.to_owned(),
        jwks_uri: Some(keys.issuer().jwks_uri()),
        audience: AUDIENCE.to_owned(),
        resource: AUDIENCE.to_owned(),
        required_scopes: vec!["read:orders".to_owned()],
        ..OAuthConfig::default()
    };
    let resolved = config.resolve(KeyNaming::Dotted("oauth"))?.ok_or_else(|| anyhow::anyhow!("not enabled"))?;
    let validator = Arc::new(OAuthValidator::new(&resolved)?);
    validator.refresh_now().await?;
    keys.shutdown().await;
    let decision = static_token_policy(None, Some(&resolved), false)?;
    let layer = AuthLayer::from_decision(decision, Some(validator))?;
    let hello = async |credential: Credential| greet(matches!(credential, Credential::OAuth(_)));
    Ok(Router::new().route("/", get(hello)).route_layer(layer))
}

async fn tower_oauth2_resource_server_(issuer: &str, jwks: &str) -> anyhow::Result<Router> {
    use tower_oauth2_resource_server::server::OAuth2ResourceServer;
    use tower_oauth2_resource_server::tenant::TenantConfiguration;
    use tower_oauth2_resource_server::validation::ClaimsValidationSpec;
    let audiences = vec![AUDIENCE.to_owned()];
    let checks = ClaimsValidationSpec::new().exp(true).iss(issuer).aud(&audiences);
    let tenant = TenantConfiguration::static_builder(jwks).audiences(&audiences).claims_validation(checks).build();
    let tenant = tenant.map_err(|error| anyhow::anyhow!("{error:?}"))?;
    let server = OAuth2ResourceServer::<Claims>::builder().add_tenant(tenant).build().await;
    let server = server.map_err(|error| anyhow::anyhow!("{error:?}"))?;
    Ok(behind_extension().layer(server.into_layer()))
}
