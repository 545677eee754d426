//! Properties that hold for every input: no panic, one interpretation, no accepted forgery with one flipped bit, and no
//! part of a token in a text of the crate.

use std::convert::Infallible;
use std::sync::LazyLock;
use std::time::Duration;

use base64::Engine as _;
use base64::prelude::{BASE64_URL_SAFE, BASE64_URL_SAFE_NO_PAD};
use http::header::AUTHORIZATION;
use http::{HeaderMap, HeaderValue, Request, Response};
use proptest::collection::vec;
use proptest::prelude::*;
use serde::Deserialize;
use serde_json::{Map, Value, json};
use tower::{ServiceBuilder, ServiceExt as _, service_fn};
use tower_bearer::claims::{Organization, Profile};
use tower_bearer::clock::Timestamp;
use tower_bearer::config::Organizations;
use tower_bearer::keys::{KeySet, Secret};
use tower_bearer::metadata::ProtectedResourceMetadata;
use tower_bearer::rejection::CheckError;
use tower_bearer::request::BearerToken;
use tower_bearer::request::Host;
use tower_bearer::testing::{TestIssuer, TokenBuilder};
use tower_bearer::token::UnverifiedToken;
use tower_bearer::{Algorithm, Api, BearerLayer, CheckOutcome, RequireLayer, Requirement, Validator};

use crate::challenge_parser::challenge;
use crate::fixture::{AUDIENCE, NOW, block_on, server, trusted, validator, validator_for};

/// One algorithm of each family.
const FAMILIES: [Algorithm; 5] =
    [Algorithm::RS256, Algorithm::PS256, Algorithm::ES256, Algorithm::EdDSA, Algorithm::HS256];

/// Returns whether a token is accepted without waiting.
fn passes(validator: &Validator, token: &str) -> bool {
    block_on(validator.validate(token)).is_ok()
}

/// An issuer and its API, shared by all cases: building a validator takes longer than most cases.
static SHARED: LazyLock<(TestIssuer, Validator)> = LazyLock::new(|| {
    let server = server(Algorithm::EdDSA);
    let validator = validator(&server, Algorithm::EdDSA);
    (server, validator)
});

fn encode(text: impl AsRef<[u8]>) -> String {
    BASE64_URL_SAFE_NO_PAD.encode(text)
}

/// Any JSON value, nested to some depth.
fn any_json() -> impl Strategy<Value = Value> {
    let leaf = prop_oneof![
        Just(Value::Null),
        any::<bool>().prop_map(Value::from),
        any::<i64>().prop_map(Value::from),
        any::<f64>().prop_filter("JSON has no infinity", |number| number.is_finite()).prop_map(Value::from),
        any::<String>().prop_map(Value::from),
    ];
    leaf.prop_recursive(5, 40, 6, |inner| {
        prop_oneof![
            vec(inner.clone(), 0..6).prop_map(Value::from),
            vec((any_name(), inner), 0..6)
                .prop_map(|members| Value::Object(members.into_iter().collect::<Map<_, _>>())),
        ]
    })
}

/// Names that the crate reads, and others.
fn any_name() -> impl Strategy<Value = String> {
    let known = prop::sample::select(vec![
        "iss", "sub", "aud", "exp", "nbf", "iat", "jti", "scope", "cnf", "alg", "kid", "typ", "cty", "crit", "b64",
        "kty", "n", "e", "crv", "x", "y", "k", "d", "use", "key_ops", "keys", "x5c",
    ]);
    prop_oneof![3 => known.prop_map(str::to_owned), 1 => any::<String>()]
}

fn any_object() -> impl Strategy<Value = String> {
    vec((any_name(), any_json()), 0..8).prop_map(|members| {
        let members = members.iter().map(|(name, value)| format!("{}:{value}", json!(name)));
        format!("{{{}}}", members.collect::<Vec<_>>().join(","))
    })
}

proptest! {
    /// Rule 124.
    #[test]
    fn token_parser_never_panics(text in ".{0,300}", header in any_object(), payload in any_object()) {
        let _ = UnverifiedToken::parse(&text);
        let _ = UnverifiedToken::parse(&format!("{}.{}.{}", encode(&header), encode(&payload), encode(&text)));
        let _ = UnverifiedToken::parse(&format!("{}.{text}.{header}", encode(r#"{"alg":"RS256"}"#)));
    }

    /// Rules 9 and 124.
    #[test]
    fn header_parser_never_panics(bytes in vec(any::<u8>(), 0..200), scheme in "(?i)bearer ?|") {
        let value = [scheme.as_bytes(), &bytes].concat();
        let Ok(value) = HeaderValue::from_bytes(&value) else { return Ok(()) };
        let mut headers = HeaderMap::new();
        headers.insert(AUTHORIZATION, value.clone());
        let _ = BearerToken::from_headers(&headers);
        headers.insert(http::header::HOST, value);
        let _ = Host::from_request(&http::Uri::from_static("/"), &headers);
    }

    /// Rules 52 to 62 and 124.
    #[test]
    fn key_set_parser_never_panics(bytes in vec(any::<u8>(), 0..300), keys in vec(any_object(), 0..4)) {
        let _ = KeySet::from_jwks(&bytes);
        let _ = KeySet::from_pem(&bytes);
        let _ = Secret::new(bytes);
        let set = KeySet::from_jwks(format!("{{\"keys\":[{}]}}", keys.join(",")));
        prop_assert_eq!(set.map(|set| set.len() + set.skipped().len()), Ok(keys.len()));
    }

    /// Rule 128: the claims are the signed bytes, and a custom claims type reads the same values.
    #[test]
    fn claims_equal_the_signed_payload(own in any_json(), subject in any::<String>(), jti in any::<String>()) {
        let (server, validator) = &*SHARED;
        let claims = json!({
            "iss": server.issuer(), "aud": AUDIENCE, "exp": NOW + 60, "sub": subject, "jti": jti, "own": own,
        });
        let text = claims.to_string();
        let validator = validator.clone().with_custom_claims::<Map<String, Value>>();
        let read = block_on(validator.validate(&server.token().raw_payload(&*text).sign()));
        let read = read.expect("a valid token");
        prop_assert_eq!(read.json(), text);
        prop_assert_eq!((read.subject(), read.jwt_id()), (Some(&*subject), Some(&*jti)));
        // Through text, since a parsed number may differ from the printed one.
        let reread: Value = serde_json::from_str(&claims.to_string()).expect("JSON");
        prop_assert_eq!(read.custom(), reread.as_object().expect("an object"));
    }

    /// Rules 30 and 31: no character can be inserted anywhere into a token.
    #[test]
    fn rejects_a_valid_token_with_any_character_inserted(at in any::<prop::sample::Index>(), character in any::<char>()) {
        let (server, validator) = &*SHARED;
        let token = server.token().sign();
        let at = at.index(token.len() + 1);
        let changed = format!("{}{character}{}", &token[..at], &token[at..]);
        prop_assert!(!passes(validator, &changed));
    }

    /// Rule 26: no error contains any part of a token.
    #[test]
    fn errors_contain_no_part_of_the_token(reason in 0..ERRORS, name in any_name()) {
        const CANARY: &str = "Xq7zMARKw2";
        static REQUIRING: LazyLock<Validator> = LazyLock::new(|| {
            validator_for(Api::new(AUDIENCE, trusted(&SHARED.0, Algorithm::EdDSA)).with_required_claims(["org_id"]))
        });
        let (server, validator) = (&SHARED.0, &*REQUIRING);
        let value = format!("{CANARY} \" \\ \r\n");
        let token = broken(server.token(), reason).claim("sub", &value).claim(&format!("{CANARY}{name}"), &value)
            .header("x", &value).header(&format!("{CANARY}{name}"), 1);
        let token = if reason % 2 == 0 { token.header("kid", CANARY) } else { token }.sign();
        let rejection = block_on(validator.validate(&token)).expect_err("no org_id");
        let shown = format!("{rejection} {rejection:?} {:?} {:?}", rejection.kind(), rejection.hint());
        prop_assert!(!shown.contains(CANARY), "{}", shown);
        let shortest = token.split('.').filter(|segment| !segment.is_empty()).all(|segment| !shown.contains(segment));
        prop_assert!(shortest, "{}", shown);
    }

    /// For any token, API and request, `explain` returns the decision of `validate`, cached or not. It shows neither
    /// the token nor a secret nor a control character.
    #[test]
    fn explain_agrees_with_validate(
        secret in any::<bool>(),
        errors in vec(0..ERRORS, 0..3),
        claims in vec((any_name(), any_json()), 0..3),
        options in vec(0..OPTIONS, 0..3),
        text in prop_oneof![3 => Just(None), 1 => ".{0,40}".prop_map(Some), 1 => any_object().prop_map(Some)],
        host in prop::sample::select(vec![None, Some("api.test"), Some("other.test:8080"), Some("a b")]),
    ) {
        let algorithm = if secret { Algorithm::HS256 } else { Algorithm::EdDSA };
        let server = server(algorithm);
        let api = Api::new(AUDIENCE, trusted(&server, algorithm));
        let api = options.into_iter().fold(api, |api, option| with_option(api, option, server.issuer()));
        let validator = validator_for(api).with_custom_claims::<Own>();
        let validator = validator.with_check(|claims| match claims.subject() {
            Some("") => Err(CheckError::new()),
            _ => Ok(()),
        });
        let token = errors.into_iter().fold(server.token(), broken);
        let token = claims.iter().fold(token, |token, (name, value)| token.claim(name, value));
        let token = match text {
            Some(text) if text.starts_with('{') => token.raw_payload(text).sign(),
            Some(text) => text,
            None => token.sign(),
        };
        let outcome = || block_on(async {
            match host {
                None => validator.validate(&token).await,
                Some(host) => validator.validate_for_host(&token, host).await,
            }
        }).map(drop);
        let explanation = block_on(async {
            match host {
                None => validator.explain(&token).await,
                Some(host) => validator.explain_for_host(&token, host).await,
            }
        });
        for _ in 0..2 {
            prop_assert_eq!(outcome().err(), explanation.rejection().cloned(), "{}", &explanation);
        }
        let all_passed = explanation.findings().iter().all(|finding| finding.outcome() == CheckOutcome::Passed);
        prop_assert_eq!(all_passed, explanation.is_accepted(), "{}", &explanation);
        let shown = format!("{explanation}\n{explanation:?}");
        prop_assert!(token.len() < 20 || !shown.contains(&*token), "{}", shown);
        prop_assert!(!shown.contains(&server.secret()), "{}", shown);
        prop_assert!(!shown.chars().any(|shown| shown.is_control() && shown != '\n'), "{:?}", shown);
    }

    /// Rules 14 to 20: every challenge follows the grammar, for any configuration and request.
    #[test]
    fn challenges_always_parse(
        reason in 0..ERRORS,
        realm in "[ -~]{0,40}",
        scope in "[!#-\\[\\]-~]{1,10}( [!#-\\[\\]-~]{1,10}){0,3}",
        class in "[!#-\\[\\]-~]{1,20}",
        age in any::<u64>(),
        option in 0..3,
        path in "[!-~]{0,20}",
        credential in prop_oneof![Just(None), "[ -~]{0,30}".prop_map(Some), Just(Some("the token".to_owned()))],
    ) {
        let (server, validator) = &*SHARED;
        let layer = BearerLayer::new(validator.clone()).try_with_realm(&realm);
        let layer = layer.and_then(|layer| layer.try_with_challenge_scope(&scope)).expect("well-formed");
        let metadata = ProtectedResourceMetadata::new(&format!("https://api.test/{path}"), [server.issuer()]).ok();
        let layer = metadata.iter().fold(layer, |layer, metadata| layer.with_resource_metadata(metadata));
        let requirement = match option {
            0 => RequireLayer::new(Requirement::acr_values([&*class])),
            1 => RequireLayer::new(Requirement::max_authentication_age(Duration::from_secs(age))),
            _ => RequireLayer::all_scopes(scope.split(' ')),
        };
        let token = broken(server.token(), reason).claim("sub", &realm).sign();
        let mut request = Request::new(String::new());
        if let Some(text) = credential {
            let value = if text == "the token" { format!("Bearer {token}") } else { format!("Bearer {text}") };
            request.headers_mut().insert(AUTHORIZATION, HeaderValue::from_str(&value).expect("visible ASCII"));
        }
        let inner = service_fn(|_| async { Ok::<_, Infallible>(Response::new(String::new())) });
        let service = ServiceBuilder::new().layer(layer).layer(requirement).service(inner);
        let response = block_on(service.oneshot(request)).expect("a response");
        prop_assert!(response.status().is_client_error());
        let parameters = challenge(response.headers());
        let has = |name: &str| parameters.iter().find(|(other, _)| other == name).map(|(_, value)| &**value);
        prop_assert_eq!(has("resource_metadata"), metadata.as_ref().map(ProtectedResourceMetadata::url));
        if has("error") == Some("insufficient_user_authentication") {
            let expected = if option == 0 { class } else { age.to_string() };
            prop_assert_eq!(has("acr_values").or(has("max_age")), Some(&*expected));
        }
        let is = |name: &str, text: &str| {
            challenge(response.headers()).iter().all(|(other, value)| other != name || value == text)
        };
        prop_assert!(is("realm", &realm) && is("scope", &scope));
    }
}

const ERRORS: usize = 13;

/// The custom claims in [`explain_agrees_with_validate`].
#[derive(Deserialize)]
struct Own {
    #[serde(default, rename = "scope")]
    _scope: Option<String>,
}

const OPTIONS: usize = 8;

/// Returns an API with one additional requirement or option.
fn with_option(api: Api, option: usize, issuer: &str) -> Api {
    match option {
        0 => api.with_required_claims(["jti"]),
        1 => api.with_profile(Profile::Auth0),
        2 => api.with_profile(Profile::Rfc9068),
        3 => api.with_max_token_age(Duration::from_secs(60)),
        4 => api.with_client_ids(["test-client"]),
        5 => api.with_organizations(Organizations::from_ids(["org_acme"])),
        6 => api.with_organizations(Organizations::from_request(|request| {
            request.host().map(|host| Organization::from_name(host.as_str()))
        })),
        _ => api.with_issuer_for_host("api.test", issuer),
    }
}

/// Returns a token with one error; the last one lacks only what a test requires in addition.
fn broken(token: TokenBuilder, reason: usize) -> TokenBuilder {
    match reason {
        0 => token.with_broken_signature(),
        1 => token.audience("Xq7zMARKw2"),
        2 => token.expired(),
        3 => token.issuer("Xq7zMARKw2"),
        4 => token.typ("Xq7zMARKw2"),
        5 => token.header("crit", ["Xq7zMARKw2"]),
        6 => token.with_duplicate_claim("jti", "Xq7zMARKw2").with_duplicate_claim("jti", "Xq7zMARKw2"),
        7 => token.header("alg", "Xq7zMARKw2"),
        8 => token.kid("Xq7zMARKw2"),
        9 => token.not_before(Timestamp::MAX_NUMERIC_DATE),
        10 => token.claim("cnf", ["Xq7zMARKw2"]),
        11 => token.encrypted(),
        _ => token,
    }
}

/// Flips each bit of the token's text, for each family of algorithms.
#[test]
fn rejects_every_token_with_one_flipped_bit() {
    for algorithm in FAMILIES {
        let server = server(algorithm);
        let validator = validator(&server, algorithm);
        let token = server.token().sign();
        assert!(passes(&validator, &token));
        let runtime = tokio::runtime::Builder::new_current_thread().build().expect("a runtime");
        for at in 0..token.len() {
            for bit in 0..8 {
                let mut bytes = token.clone().into_bytes();
                bytes[at] ^= 1 << bit;
                let Ok(changed) = String::from_utf8(bytes) else { continue };
                assert!(runtime.block_on(validator.validate(&changed)).is_err(), "{algorithm}: bit {bit} of byte {at}");
            }
        }
    }
}

/// Flips each bit of each decoded segment and encodes it again.
#[test]
fn rejects_every_decoded_segment_with_one_flipped_bit() {
    for algorithm in FAMILIES {
        let server = server(algorithm);
        let validator = validator(&server, algorithm);
        let token = server.token().sign();
        let segments: Vec<Vec<u8>> =
            token.split('.').map(|segment| BASE64_URL_SAFE_NO_PAD.decode(segment).expect("base64url")).collect();
        let runtime = tokio::runtime::Builder::new_current_thread().build().expect("a runtime");
        for changed in 0..segments.len() {
            for bit in 0..segments[changed].len() * 8 {
                let mut segments = segments.clone();
                segments[changed][bit / 8] ^= 1 << (bit % 8);
                let token = segments.iter().map(encode).collect::<Vec<_>>().join(".");
                assert!(runtime.block_on(validator.validate(&token)).is_err(), "{algorithm}: {changed}, bit {bit}");
            }
        }
    }
}

/// Rules 30, 31 and 44: other encodings of the same token.
#[test]
fn rejects_other_encodings_of_a_valid_token() {
    for algorithm in FAMILIES {
        let server = server(algorithm);
        let validator = validator(&server, algorithm);
        let token = server.token().sign();
        let segments: Vec<&str> = token.split('.').collect();
        let [header, payload, signature] = segments.as_slice() else { panic!("three segments") };
        let padded = |segment: &str| BASE64_URL_SAFE.encode(BASE64_URL_SAFE_NO_PAD.decode(segment).expect("base64url"));
        let standard = |segment: &str| segment.replace('-', "+").replace('_', "/");
        let percent = token.replace('.', "%2E");
        let mut other = vec![
            format!(" {token}"),
            format!("{token} "),
            format!("{token}\n"),
            format!("{token}."),
            format!(".{token}"),
            format!("\u{feff}{token}"),
            format!("Bearer {token}"),
            format!("\"{token}\""),
            token.to_uppercase(),
            token.to_lowercase(),
            percent,
            token.replace('.', ".\n"),
            token.replace('.', ".."),
            format!("{header}.{payload}"),
            format!("{header}.{payload}."),
            json!({ "protected": header, "payload": payload, "signature": signature }).to_string(),
            json!({ "payload": payload, "signatures": [{ "protected": header, "signature": signature }] }).to_string(),
        ];
        for [header, payload, signature] in [
            [padded(header), payload.to_string(), signature.to_string()],
            [header.to_string(), padded(payload), signature.to_string()],
            [header.to_string(), payload.to_string(), padded(signature)],
            [standard(header), standard(payload), standard(signature)],
            [header.to_string(), payload.to_string(), unused_bits(signature)],
        ] {
            other.push(format!("{header}.{payload}.{signature}"));
        }
        for other in other.iter().filter(|other| **other != token) {
            assert!(!passes(&validator, other), "{algorithm}: {other}");
        }
        assert!(passes(&validator, &token));
    }
}

/// Returns the same bytes with another last character, if the encoding has unused bits.
fn unused_bits(segment: &str) -> String {
    const ALPHABET: &[u8; 64] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_";
    let (rest, last) = segment.split_at(segment.len() - 1);
    let at = ALPHABET.iter().position(|byte| [*byte] == *last.as_bytes()).expect("base64url");
    if segment.len().is_multiple_of(4) { segment.to_owned() } else { format!("{rest}{}", char::from(ALPHABET[at + 1])) }
}

/// Rules 1 and 2: only the case of the scheme and the number of spaces may vary.
#[test]
fn only_case_of_the_scheme_and_spaces_may_vary() {
    let read = |field: &str| {
        let mut headers = HeaderMap::new();
        headers.insert(AUTHORIZATION, field.parse().expect("a field"));
        BearerToken::from_headers(&headers).map(|token| token.is_some())
    };
    for field in ["Bearer a.b.c", "bearer a.b.c", "BEARER   a.b.c", "bEaReR a.b.c "] {
        assert_eq!(read(field), Ok(true), "{field}");
    }
    for field in ["Bearer\ta.b.c", "Bearer a.b.c\t.d", "Bearer a.b .c", "Bearer: a.b.c", "Bearer=a.b.c", "Bearer;a.b.c"]
    {
        assert_ne!(read(field), Ok(true), "{field}");
    }
}
