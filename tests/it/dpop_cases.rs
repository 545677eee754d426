//! The attack cases of DPoP that are one request each, by their number. One runner sends each of them through the layer, and checks
//! its proof with `dpop::verify`.

use base64::Engine as _;
use base64::prelude::BASE64_STANDARD;
use http::header::{AUTHORIZATION, CACHE_CONTROL};
use http::{HeaderName, HeaderValue, Method, Request};
use serde_json::{Value, json};
use tower_bearer::dpop::{self, AccessTokenHash, Dpop, Expected, ProofError, ProofPolicy};
use tower_bearer::request::PublicUrl;
use tower_bearer::testing::{ProofBuilder, ProofKey, TokenBuilder};
use tower_bearer::{Algorithm, Api};

use crate::dpop_fixture::{Answer, URL, World, base64url, decode_base64url, hash};
use crate::{mutual_tls_cases, stack};
use Answer::{
    Accepted as A, Bare, InvalidProof as P, InvalidRequest as Q, InvalidToken as T, InvalidTokenBearer as TB,
};

/// One request, which is valid until a case changes it.
#[derive(Clone)]
struct Sent {
    method: Method,
    target: String,
    scheme: &'static str,
    token: String,
    authorization: Vec<Vec<u8>>,
    proofs: Vec<Vec<u8>>,
    fields: Vec<(HeaderName, HeaderValue)>,
    body: &'static str,
}

type Change = fn(&World) -> Sent;

struct Case {
    number: u8,
    name: &'static str,
    answer: Answer,
    api: fn(Api) -> Api,
    sent: Change,
    /// The result of `dpop::verify` differs from the answer, for a reason that the name gives.
    only_http: bool,
}

const fn case(number: u8, name: &'static str, answer: Answer, sent: Change) -> Case {
    Case { number, name, answer, api: |api| api, sent, only_http: false }
}

#[expect(clippy::needless_pass_by_value, reason = "a table reads better without references")]
const fn only_http(case: Case) -> Case {
    Case { only_http: true, ..case }
}

#[expect(clippy::needless_pass_by_value, reason = "a table reads better without references")]
const fn with_api(case: Case, api: fn(Api) -> Api) -> Case {
    Case { api, only_http: true, ..case }
}

impl Sent {
    fn scheme(mut self, scheme: &'static str) -> Self {
        self.scheme = scheme;
        self
    }

    fn without_proof(self) -> Self {
        self.proofs(&[])
    }

    fn proofs(mut self, proofs: &[&[u8]]) -> Self {
        self.proofs = proofs.iter().map(|proof| proof.to_vec()).collect();
        self
    }

    fn authorization(mut self, fields: &[&str]) -> Self {
        self.authorization = fields.iter().map(|field| field.as_bytes().to_vec()).collect();
        self
    }

    fn field(mut self, name: &'static str, value: &str) -> Self {
        let value = HeaderValue::from_str(value).expect("a value");
        self.fields.push((HeaderName::from_static(name), value));
        self
    }

    fn target(mut self, target: &str) -> Self {
        self.target = target.to_owned();
        self
    }

    fn method(mut self, method: &Method) -> Self {
        self.method = method.clone();
        self
    }

    fn into_request(self) -> Request<String> {
        let mut request = Request::builder().method(self.method).uri(self.target);
        let authorization = match self.authorization.is_empty() {
            true => vec![format!("{} {}", self.scheme, self.token).into_bytes()],
            false => self.authorization.into_iter().filter(|field| !field.is_empty()).collect(),
        };
        for field in authorization {
            request = request.header(AUTHORIZATION, HeaderValue::from_bytes(&field).expect("a value"));
        }
        for proof in self.proofs {
            request = request.header(dpop::DPOP, HeaderValue::from_bytes(&proof).expect("a value"));
        }
        for (name, value) in self.fields {
            request = request.header(name, value);
        }
        request.body(self.body.to_owned()).expect("a request")
    }
}

/// Returns a credential that is longer than the default limit of a token.
fn over_limit() -> String {
    format!("DPoP {}", "x".repeat(16 * 1024 + 1))
}

/// The valid request with its token and its proof changed.
fn sent(
    world: &World,
    token: impl FnOnce(TokenBuilder) -> TokenBuilder,
    proof: impl FnOnce(ProofBuilder) -> ProofBuilder,
) -> Sent {
    let token = token(world.token()).sign();
    let proof = proof(world.client.proof("GET", URL, &token)).sign();
    Sent {
        method: Method::GET,
        target: "/me".to_owned(),
        scheme: "DPoP",
        token,
        authorization: Vec::new(),
        proofs: vec![proof.into_bytes()],
        fields: Vec::new(),
        body: "",
    }
}

fn valid(world: &World) -> Sent {
    sent(world, |token| token, |proof| proof)
}

fn token(world: &World, change: impl FnOnce(TokenBuilder) -> TokenBuilder) -> Sent {
    sent(world, change, |proof| proof)
}

fn proof(world: &World, change: impl FnOnce(ProofBuilder) -> ProofBuilder) -> Sent {
    sent(world, |token| token, change)
}

/// The valid request with the text of its proof changed.
fn text(world: &World, change: impl FnOnce(String) -> String) -> Sent {
    let sent = valid(world);
    let text = change(String::from_utf8(sent.proofs[0].clone()).expect("ASCII"));
    sent.proofs(&[text.as_bytes()])
}

fn segments(world: &World, change: impl FnOnce([&str; 3]) -> String) -> Sent {
    text(world, |text| {
        let segments: Vec<&str> = text.split('.').collect();
        change([segments[0], segments[1], segments[2]])
    })
}

/// The valid request with the text of the header of its proof changed. The signature is over the changed text.
fn header(world: &World, change: impl FnOnce(String) -> String) -> Sent {
    proof(world, |proof| {
        let text = proof.clone().sign();
        let header = decode_base64url(text.split('.').next().expect("a header"));
        proof.raw_header(change(String::from_utf8(header).expect("UTF-8")))
    })
}

fn jwk(world: &World, change: impl FnOnce(&mut Value)) -> Sent {
    let mut jwk = public_key(&world.client);
    change(&mut jwk);
    proof(world, |proof| proof.header("jwk", jwk))
}

/// Returns the JWK of a client.
fn public_key(key: &ProofKey) -> Value {
    serde_json::from_str(&key.jwk()).expect("JSON")
}

fn member(name: &str, value: impl Into<Value>) -> impl FnOnce(&mut Value) {
    let (name, value) = (name.to_owned(), value.into());
    move |jwk| jwk[name] = value
}

/// A token that is bound to a key of another algorithm, and a proof by that key.
fn signed_with(world: &World, algorithm: Algorithm, change: impl FnOnce(ProofBuilder) -> ProofBuilder) -> Sent {
    let key = ProofKey::with_algorithm(algorithm).with_clock(world.clock.clone());
    let token = world.token().bound_to(&key).sign();
    let proof = change(key.proof("GET", URL, &token)).sign();
    let mut sent = valid(world);
    sent.token = token;
    sent.proofs(&[proof.as_bytes()])
}

fn cnf(world: &World, cnf: Value) -> Sent {
    token(world, |token| token.claim("cnf", cnf))
}

/// The valid request with a token of Keycloak, whose claims have a `typ`, and whose `cnf` has another member.
fn keycloak(world: &World) -> Sent {
    token(world, |token| {
        let cnf = json!({ "kc-jkt-type": "DPoP", "jkt": world.client.jkt() });
        let token = token.typ("JWT").claim("typ", "DPoP").claim("azp", "shop").claim("nonce", "n").claim("acr", "1");
        token.claim("sid", "c2e0b4de").claim("realm_access", json!({ "roles": ["user"] })).claim("cnf", cnf)
    })
}

/// Replaces the signature of the proof by an HMAC.
fn with_hmac(sent: Sent, secret: &[u8]) -> Sent {
    let proof = String::from_utf8(sent.proofs[0].clone()).expect("ASCII");
    let (signed, _) = proof.rsplit_once('.').expect("dots");
    let key = jsonwebtoken_10::EncodingKey::from_secret(secret);
    let mac =
        jsonwebtoken_10::crypto::sign(signed.as_bytes(), &key, jsonwebtoken_10::Algorithm::HS256).expect("an HMAC");
    sent.proofs(&[format!("{signed}.{mac}").as_bytes()])
}

/// The valid request whose proof has an HMAC under the public key of the client in some form.
fn hmac_with_key(world: &World, form: impl FnOnce(&Value) -> Vec<u8>) -> Sent {
    with_hmac(proof(world, |proof| proof.header("alg", "HS256")), &form(&public_key(&world.client)))
}

/// Returns the uncompressed point of a P-256 key.
fn point(jwk: &Value) -> Vec<u8> {
    let coordinate = |name: &str| decode_base64url(jwk[name].as_str().expect("text"));
    [vec![4], coordinate("x"), coordinate("y")].concat()
}

/// Returns the `SubjectPublicKeyInfo` of a P-256 key (RFC 5480 §2).
fn der(jwk: &Value) -> Vec<u8> {
    const START: [u8; 26] = [
        0x30, 0x59, 0x30, 0x13, 0x06, 0x07, 0x2a, 0x86, 0x48, 0xce, 0x3d, 0x02, 0x01, 0x06, 0x08, 0x2a, 0x86, 0x48,
        0xce, 0x3d, 0x03, 0x01, 0x07, 0x03, 0x42, 0x00,
    ];
    [START.to_vec(), point(jwk)].concat()
}

fn pem(jwk: &Value) -> String {
    let text = BASE64_STANDARD.encode(der(jwk));
    let (first, second) = text.split_at(64);
    format!("-----BEGIN PUBLIC KEY-----\n{first}\n{second}\n-----END PUBLIC KEY-----\n")
}

/// Returns the members in the order of their names (RFC 7638 §3.3).
fn sorted_members(jwk: &Value) -> Value {
    let mut members = jwk.clone();
    members.sort_all_objects();
    members
}

/// A proof whose `jwk` has members besides those of the key, and a token with this `jkt`.
fn other_members(world: &World, jkt: impl FnOnce(&Value) -> String) -> Sent {
    let mut jwk = public_key(&world.client);
    for (name, value) in [("alg", "ES256"), ("kid", "k"), ("use", "sig")] {
        jwk[name] = value.into();
    }
    let jwk = sorted_members(&jwk);
    let jkt = jkt(&jwk);
    sent(world, |token| token.claim("cnf", json!({ "jkt": jkt })), |proof| proof.header("jwk", jwk))
}

/// The valid request with these `Host` fields.
fn hosts(world: &World, hosts: &[&str]) -> Sent {
    hosts.iter().fold(valid(world), |sent, host| sent.field("host", host))
}

fn malformed(sent: Sent) -> Sent {
    sent.proofs(&[b"x"])
}

fn htu(world: &World, url: &str) -> Sent {
    proof(world, |proof| proof.claim("htu", url))
}

/// The claim and the target of the request, both changed.
fn htu_for(world: &World, url: &str, target: &str) -> Sent {
    htu(world, url).target(target)
}

fn iat(world: &World, seconds: i64) -> Sent {
    let at = tower_bearer::clock::Timestamp::from_secs(crate::fixture::NOW + seconds);
    proof(world, |proof| proof.issued_at(at))
}

const HASH: &str = "0ZcOCORZNYy-DWpqq30jZyJGHTN0d2HglBV3uiguA4I";

fn required(api: Api) -> Api {
    api.with_sender_constrained_only()
}

fn with_urls(api: Api) -> Api {
    api.with_dpop(Dpop::new("https://api.test").with_public_url("https://b.test:8443/b"))
}

fn with_base(api: Api) -> Api {
    api.with_dpop(Dpop::new("https://api.test/svc1"))
}

const CASES: &[Case] = &[
    case(0, "valid", A, valid),
    // Scheme and fields.
    case(1, "bound token as a bearer token", TB, |w| valid(w).scheme("Bearer").without_proof()),
    case(2, "bound token as a bearer token with a good proof", TB, |w| valid(w).scheme("Bearer")),
    case(3, "unbound token under DPoP", T, |w| token(w, |token| token.without("cnf"))),
    case(4, "unbound bearer token beside a stray proof", A, |w| {
        token(w, |token| token.without("cnf")).scheme("Bearer")
    }),
    case(4, "unbound bearer token beside junk", A, |w| {
        token(w, |token| token.without("cnf")).scheme("Bearer").proofs(&[b"x", b"\xff"])
    }),
    case(5, "dpop", A, |w| valid(w).scheme("dpop")),
    case(5, "DPOP", A, |w| valid(w).scheme("DPOP")),
    case(5, "dPoP", A, |w| valid(w).scheme("dPoP")),
    case(6, "no token", Q, |w| valid(w).authorization(&["DPoP"])),
    case(6, "no token after a space", Q, |w| valid(w).authorization(&["DPoP "])),
    case(6, "malformed token", Q, |w| valid(w).authorization(&["DPoP a b"])),
    case(7, "two spaces", A, |w| {
        let sent = valid(w);
        let field = format!("DPoP  {}", sent.token);
        sent.authorization(&[&field])
    }),
    case(8, "list", Q, |w| {
        let sent = valid(w);
        let field = format!("DPoP {}, DPoP {}", sent.token, sent.token);
        sent.authorization(&[&field])
    }),
    case(10, "two equal fields", Q, |w| {
        let sent = valid(w);
        let field = format!("DPoP {}", sent.token);
        sent.authorization(&[&field, &field])
    }),
    case(11, "no proof", P, |w| valid(w).without_proof()),
    case(12, "empty proof", P, |w| valid(w).proofs(&[b""])),
    case(13, "two proofs", P, |w| {
        let proof = valid(w).proofs[0].clone();
        valid(w).proofs(&[&proof, &proof])
    }),
    case(14, "two proofs in one field", P, |w| text(w, |proof| format!("{proof}, {proof}"))),
    case(14, "two proofs in one field without a space", P, |w| text(w, |proof| format!("{proof},{proof}"))),
    case(15, "proof in Proxy-Authorization only", P, |w| {
        let sent = valid(w);
        let proof = format!("DPoP {}", String::from_utf8(sent.proofs[0].clone()).expect("ASCII"));
        sent.without_proof().field("proxy-authorization", &proof)
    }),
    case(15, "proof in the query only", P, |w| {
        let sent = valid(w);
        let target = format!("/me?dpop={}", String::from_utf8(sent.proofs[0].clone()).expect("ASCII"));
        sent.without_proof().target(&target)
    }),
    case(15, "token in the query only", Bare, |w| {
        let sent = valid(w);
        let target = format!("/me?access_token={}", sent.token);
        sent.authorization(&[""]).target(&target)
    }),
    case(16, "proof without Authorization", Bare, |w| valid(w).authorization(&[""])),
    only_http(case(17, "space at the end of the field", A, |w| text(w, |proof| proof + " "))),
    only_http(case(17, "tab at the end of the field", A, |w| text(w, |proof| proof + "\t"))),
    case(18, "bytes that are not ASCII", P, |w| valid(w).proofs(&[b"\xe9\xff.\x80.\x81"])),
    case(19, "longer than 4 KiB", P, |w| proof(w, |proof| proof.claim("x", "x".repeat(4_096)))),
    only_http(case(19, "malformed proof and a token over the limit", P, |w| {
        valid(w).authorization(&[&over_limit()]).proofs(&[b"x"])
    })),
    only_http(case(19, "well-formed proof and a token over the limit", T, |w| {
        valid(w).authorization(&[&over_limit()])
    })),
    case(19, "1 MiB", P, |w| text(w, |proof| proof + &"A".repeat(1 << 20))),
    with_api(
        case(22, "required, unbound bearer token", T, |w| token(w, |token| token.without("cnf")).scheme("Bearer")),
        required,
    ),
    with_api(case(22, "required, bound bearer token", T, |w| valid(w).scheme("Bearer")), required),
    with_api(case(22, "required, good proof", A, valid), required),
    case(24, "the proof as the token", T, |w| {
        let mut sent = valid(w);
        sent.token = String::from_utf8(sent.proofs[0].clone()).expect("ASCII");
        sent
    }),
    case(25, "the proof as a bearer token", TB, |w| {
        let mut sent = valid(w).scheme("Bearer");
        sent.token = String::from_utf8(sent.proofs[0].clone()).expect("ASCII");
        sent
    }),
    // Form.
    case(26, "two segments", P, |w| segments(w, |[header, claims, _]| format!("{header}.{claims}"))),
    case(26, "four segments", P, |w| segments(w, |[header, claims, end]| format!("{header}.{claims}.{end}.{end}"))),
    case(26, "five segments", P, |w| {
        segments(w, |[header, claims, end]| format!("{header}.{claims}.{end}.{end}.{end}"))
    }),
    case(26, "empty header", P, |w| segments(w, |[_, claims, end]| format!(".{claims}.{end}"))),
    case(26, "empty claims", P, |w| segments(w, |[header, _, end]| format!("{header}..{end}"))),
    case(26, "empty signature", P, |w| segments(w, |[header, claims, _]| format!("{header}.{claims}."))),
    case(27, "padding", P, |w| segments(w, |[header, claims, end]| format!("{header}.{claims}.{end}=="))),
    case(27, "padded header", P, |w| segments(w, |[header, claims, end]| format!("{header}=.{claims}.{end}"))),
    case(27, "another alphabet", P, |w| {
        segments(w, |[header, claims, end]| format!("{header}.{claims}.{}", end.replace(['-', '_'], "+") + "+"))
    }),
    case(27, "bits after the end", P, |w| {
        segments(w, |[header, claims, end]| {
            // 64 bytes have 86 characters; the last four bits are unused.
            format!("{header}.{claims}.{}B", &end[..85])
        })
    }),
    case(27, "white space inside", P, |w| segments(w, |[header, claims, end]| format!("{header}. {claims}.{end}"))),
    case(28, "header is no JSON", P, |w| proof(w, |proof| proof.raw_header("x"))),
    case(28, "header is an array", P, |w| proof(w, |proof| proof.raw_header("[]"))),
    case(28, "header has a byte order mark", P, |w| header(w, |header| format!("\u{feff}{header}"))),
    case(28, "header is nested too deeply", P, |w| {
        proof(w, |proof| proof.raw_header_member("x", &("[".repeat(33) + &"]".repeat(33))))
    }),
    case(28, "NUL after the header", P, |w| header(w, |header| header + "\0")),
    case(28, "claims are an array", P, |w| proof(w, |proof| proof.raw_payload("[]"))),
    case(28, "claims are empty", P, |w| proof(w, |proof| proof.raw_payload(""))),
    case(28, "claims have a byte order mark", P, |w| {
        segments(w, |[header, claims, end]| {
            let claims = [b"\xef\xbb\xbf", decode_base64url(claims).as_slice()].concat();
            format!("{header}.{}.{end}", base64url(&claims))
        })
    }),
    case(28, "claims are nested too deeply", P, |w| {
        proof(w, |proof| proof.raw_claim("x", &("[".repeat(33) + &"]".repeat(33))))
    }),
    case(28, "NUL after the claims", P, |w| {
        segments(w, |[header, claims, end]| {
            let claims = [decode_base64url(claims).as_slice(), b"\0"].concat();
            format!("{header}.{}.{end}", base64url(&claims))
        })
    }),
    case(29, "two alg", P, |w| proof(w, |proof| proof.with_duplicate_header("alg", "ES256"))),
    case(29, "two typ", P, |w| proof(w, |proof| proof.with_duplicate_header("typ", "dpop+jwt"))),
    case(29, "two jwk", P, |w| {
        let key = public_key(&w.client);
        proof(w, |proof| proof.with_duplicate_header("jwk", key))
    }),
    case(29, "two alg, one with an escape", P, |w| {
        header(w, |header| header.replacen('{', r#"{"\u0061lg":"ES256","#, 1))
    }),
    case(29, "two typ, one with an escape", P, |w| {
        header(w, |header| header.replacen('{', r#"{"t\u0079p":"dpop+jwt","#, 1))
    }),
    case(29, "two jwk, one with an escape", P, |w| {
        let key = w.client.jwk();
        header(w, |header| header.replacen('{', &format!(r#"{{"jw\u006b":{key},"#), 1))
    }),
    case(29, "one alg, with an escape", A, |w| header(w, |header| header.replacen("\"alg\"", r#""\u0061lg""#, 1))),
    case(30, "two jti", P, |w| proof(w, |proof| proof.with_duplicate_claim("jti", "x"))),
    case(30, "two htu", P, |w| proof(w, |proof| proof.with_duplicate_claim("htu", URL))),
    case(30, "two iat", P, |w| proof(w, |proof| proof.with_duplicate_claim("iat", 1))),
    case(30, "two ath", P, |w| proof(w, |proof| proof.with_duplicate_claim("ath", "x"))),
    case(31, "two members of one name in jwk", P, |w| {
        let key = w.client.jwk().replacen('{', r#"{"x":"AA","#, 1);
        proof(w, |proof| proof.raw_header_member("jwk", &key))
    }),
    case(32, "crit", P, |w| proof(w, |proof| proof.header("crit", ["exp"]))),
    case(32, "empty crit", P, |w| proof(w, |proof| proof.header("crit", json!([])))),
    case(32, "b64", P, |w| proof(w, |proof| proof.header("b64", false))),
    case(33, "unknown header member and claim", A, |w| {
        proof(w, |proof| proof.header("x", 1).claim("y", json!({"z": []})))
    }),
    case(34, "JSON serialization", P, |w| {
        segments(w, |[header, claims, end]| {
            json!({ "protected": header, "payload": claims, "signature": end }).to_string()
        })
    }),
    // typ and alg.
    case(35, "no typ", P, |w| proof(w, |proof| proof.without_header("typ"))),
    case(35, "typ JWT", P, |w| proof(w, |proof| proof.header("typ", "JWT"))),
    case(35, "typ at+jwt", P, |w| proof(w, |proof| proof.header("typ", "at+jwt"))),
    case(35, "typ dpop+jwt+x", P, |w| proof(w, |proof| proof.header("typ", "dpop+jwt+x"))),
    case(35, "typ is a number", P, |w| proof(w, |proof| proof.header("typ", 1))),
    case(36, "typ application/dpop+jwt", A, |w| proof(w, |proof| proof.header("typ", "application/dpop+jwt"))),
    case(36, "typ DPOP+JWT", A, |w| proof(w, |proof| proof.header("typ", "DPOP+JWT"))),
    case(37, "access token as the proof", P, |w| {
        let token = w.token().sign();
        valid(w).proofs(&[token.as_bytes()])
    }),
    case(38, "client assertion", P, |w| proof(w, |proof| proof.header("typ", "client-authentication+jwt"))),
    case(38, "request object", P, |w| proof(w, |proof| proof.header("typ", "oauth-authz-req+jwt"))),
    case(39, "alg none", P, |w| proof(w, |proof| proof.header("alg", "none"))),
    case(39, "alg None", P, |w| proof(w, |proof| proof.header("alg", "None"))),
    case(39, "alg is empty", P, |w| proof(w, |proof| proof.header("alg", ""))),
    case(39, "no alg", P, |w| proof(w, |proof| proof.without_header("alg"))),
    case(40, "HS256 with an oct key", P, |w| {
        let sent = sent(
            w,
            |token| token.claim("cnf", json!({ "jkt": hash(r#"{"k":"c2VjcmV0","kty":"oct"}"#) })),
            |proof| proof.header("alg", "HS256").header("jwk", json!({ "kty": "oct", "k": "c2VjcmV0" })),
        );
        with_hmac(sent, b"secret")
    }),
    case(40, "HS256 with the public key as a point", P, |w| hmac_with_key(w, point)),
    case(40, "HS256 with the public key as coordinates", P, |w| hmac_with_key(w, |key| point(key)[1..].to_vec())),
    case(40, "HS256 with the public key as DER", P, |w| hmac_with_key(w, der)),
    case(40, "HS256 with the public key as PEM", P, |w| hmac_with_key(w, |key| pem(key).into_bytes())),
    case(40, "HS256 with the public key as PEM without the last line end", P, |w| {
        hmac_with_key(w, |key| pem(key).trim_end().as_bytes().to_vec())
    }),
    case(40, "HS256 with the text of jwk", P, |w| hmac_with_key(w, |key| key.to_string().into_bytes())),
    case(40, "HS256 with the thumbprint", P, |w| {
        hmac_with_key(w, |key| decode_base64url(&hash(&sorted_members(key).to_string())))
    }),
    case(41, "RS256, which is not listed", P, |w| signed_with(w, Algorithm::RS256, |proof| proof)),
    case(42, "ES256 with an RSA key", P, |w| {
        let key = public_key(&ProofKey::with_algorithm(Algorithm::PS256));
        proof(w, |proof| proof.header("jwk", key))
    }),
    case(42, "ES256 with a P-384 key", P, |w| {
        let key = public_key(&ProofKey::with_algorithm(Algorithm::ES384));
        proof(w, |proof| proof.header("jwk", key))
    }),
    case(42, "EdDSA with X25519", P, |w| {
        signed_with(w, Algorithm::EdDSA, |proof| {
            proof.header("jwk", json!({ "kty": "OKP", "crv": "X25519", "x": HASH }))
        })
    }),
    case(43, "ES256K", P, |w| proof(w, |proof| proof.header("alg", "ES256K"))),
    case(43, "unknown alg", P, |w| proof(w, |proof| proof.header("alg", "XX999"))),
    case(43, "alg is a number", P, |w| proof(w, |proof| proof.header("alg", 256))),
    case(44, "alg of the key differs", P, |w| jwk(w, member("alg", "ES384"))),
    // jwk.
    case(45, "no jwk", P, |w| proof(w, |proof| proof.without_header("jwk"))),
    case(45, "jwk is null", P, |w| proof(w, |proof| proof.header("jwk", Value::Null))),
    case(45, "jwk is a string", P, |w| proof(w, |proof| proof.header("jwk", "x"))),
    case(45, "jwk is an array", P, |w| {
        let key = public_key(&w.client);
        proof(w, |proof| proof.header("jwk", json!([key])))
    }),
    case(46, "jwk with d", P, |w| jwk(w, member("d", "AQAB"))),
    case(46, "jwk with p", P, |w| jwk(w, member("p", "AQAB"))),
    case(46, "jwk with k", P, |w| jwk(w, member("k", "AQAB"))),
    case(46, "jwk with priv", P, |w| jwk(w, member("priv", "AQAB"))),
    case(46, "jwk with oth", P, |w| jwk(w, member("oth", json!([])))),
    case(46, "jwk with an empty d", P, |w| jwk(w, member("d", ""))),
    case(47, "jwk is a secret", P, |w| jwk(w, member("kty", "oct"))),
    case(48, "point not on the curve", P, |w| jwk(w, member("y", HASH))),
    case(48, "point at infinity", P, |w| {
        jwk(w, |jwk| {
            jwk["x"] = "A".repeat(43).into();
            jwk["y"] = "A".repeat(43).into();
        })
    }),
    case(48, "short x", P, |w| {
        jwk(w, |jwk| {
            let x = decode_base64url(jwk["x"].as_str().expect("text"));
            jwk["x"] = base64url(&x[1..]).into();
        })
    }),
    case(48, "x with a leading zero byte", P, |w| {
        jwk(w, |jwk| {
            let x = decode_base64url(jwk["x"].as_str().expect("text"));
            jwk["x"] = base64url(&[&[0], x.as_slice()].concat()).into();
        })
    }),
    case(49, "RSA with 1024 bits", P, |w| {
        signed_with(w, Algorithm::PS256, |proof| {
            proof.header("jwk", json!({ "kty": "RSA", "n": base64url(&[0xff; 128]), "e": "AQAB" }))
        })
    }),
    case(49, "RSA with 8192 bits", P, |w| {
        signed_with(w, Algorithm::PS256, |proof| {
            proof.header("jwk", json!({ "kty": "RSA", "n": base64url(&[0xff; 1024]), "e": "AQAB" }))
        })
    }),
    case(49, "RSA with e = 1", P, |w| {
        signed_with(w, Algorithm::PS256, |proof| {
            proof.header("jwk", json!({ "kty": "RSA", "n": base64url(&[0xff; 256]), "e": "AQ" }))
        })
    }),
    case(49, "RSA with an even e", P, |w| {
        signed_with(w, Algorithm::PS256, |proof| {
            proof.header("jwk", json!({ "kty": "RSA", "n": base64url(&[0xff; 256]), "e": "AQAA" }))
        })
    }),
    case(49, "RSA with an even n", P, |w| {
        signed_with(w, Algorithm::PS256, |proof| {
            let n = [[0xff; 255].as_slice(), &[0xfe]].concat();
            proof.header("jwk", json!({ "kty": "RSA", "n": base64url(&n), "e": "AQAB" }))
        })
    }),
    case(49, "RSA with leading zero bytes", P, |w| {
        let key = ProofKey::with_algorithm(Algorithm::PS256).with_clock(w.clock.clone());
        let mut jwk = public_key(&key);
        let n = decode_base64url(jwk["n"].as_str().expect("text"));
        jwk["n"] = base64url(&[&[0], n.as_slice()].concat()).into();
        let token = w.token().bound_to(&key).sign();
        let proof = key.proof("GET", URL, &token).header("jwk", jwk).sign();
        let mut sent = valid(w);
        sent.token = token;
        sent.proofs(&[proof.as_bytes()])
    }),
    case(50, "use enc", P, |w| jwk(w, member("use", "enc"))),
    case(50, "key_ops sign", P, |w| jwk(w, member("key_ops", json!(["sign"])))),
    case(50, "key_ops with a duplicate", P, |w| jwk(w, member("key_ops", json!(["verify", "verify"])))),
    case(50, "use sig and key_ops verify", A, |w| {
        jwk(w, |jwk| {
            jwk["use"] = "sig".into();
            jwk["key_ops"] = json!(["verify"]);
        })
    }),
    case(51, "jku and x5u are not fetched", A, |w| {
        proof(w, |proof| proof.header("jku", "http://127.0.0.1:9/").header("x5u", "http://127.0.0.1:9/"))
    }),
    case(52, "x5c of another key", A, |w| jwk(w, member("x5c", json!(["MIIB"])))),
    case(53, "jwk only in the claims", P, |w| {
        let key = public_key(&w.client);
        proof(w, |proof| proof.without_header("jwk").claim("jwk", key))
    }),
    case(54, "kid of the issuer's key", A, |w| {
        let jwks: Value = serde_json::from_str(&w.server.jwks()).expect("JSON");
        proof(w, |proof| proof.header("kid", jwks["keys"][0]["kid"].clone()))
    }),
    case(55, "a token of the issuer as the proof, with its key", P, |w| {
        let keys = tower_bearer::keys::KeySet::from_jwks(w.server.jwks()).expect("a key set");
        let jkt = keys.thumbprints().next().expect("a key").to_base64url();
        let jwks: Value = serde_json::from_str(&w.server.jwks()).expect("JSON");
        let forged = w.token().header("jwk", jwks["keys"][0].clone()).typ("dpop+jwt").sign();
        cnf(w, json!({ "jkt": jkt })).proofs(&[forged.as_bytes()])
    }),
    case(55, "a token of the issuer as the proof, with its key, but bound to the client", T, |w| {
        let jwks: Value = serde_json::from_str(&w.server.jwks()).expect("JSON");
        let forged = w.token().header("jwk", jwks["keys"][0].clone()).typ("dpop+jwt").sign();
        valid(w).proofs(&[forged.as_bytes()])
    }),
    case(56, "point of small order with the thumbprint of another key", P, |w| {
        signed_with(w, Algorithm::EdDSA, |proof| {
            let mut one = [0; 32];
            one[0] = 1;
            proof.header("jwk", json!({ "kty": "OKP", "crv": "Ed25519", "x": base64url(&one) }))
        })
    }),
    // Binding.
    case(57, "good proof by another key", T, |w| {
        let sent = valid(w);
        let other = w.other.proof("GET", URL, &sent.token).sign();
        sent.proofs(&[other.as_bytes()])
    }),
    case(58, "signature by another key", P, |w| proof(w, |proof| proof.signed_by(&w.other))),
    case(58, "one bit changed", P, |w| proof(w, ProofBuilder::with_broken_signature)),
    case(59, "no cnf", T, |w| token(w, |token| token.without("cnf"))),
    case(60, "cnf is a string", T, |w| cnf(w, json!("x"))),
    case(60, "cnf is an array", T, |w| cnf(w, json!(["jkt"]))),
    case(60, "cnf is null", T, |w| cnf(w, Value::Null)),
    case(60, "cnf is empty", T, |w| cnf(w, json!({}))),
    case(60, "cnf is empty, bearer", TB, |w| cnf(w, json!({})).scheme("Bearer")),
    case(60, "cnf is null, bearer", TB, |w| cnf(w, Value::Null).scheme("Bearer").without_proof()),
    case(61, "jkt is a number", T, |w| cnf(w, json!({ "jkt": 7 }))),
    case(61, "jkt is empty", T, |w| cnf(w, json!({ "jkt": "" }))),
    case(61, "jkt has 42 characters", T, |w| cnf(w, json!({ "jkt": &w.client.jkt()[1..] }))),
    case(61, "jkt is padded", T, |w| cnf(w, json!({ "jkt": w.client.jkt() + "=" }))),
    case(61, "jkt is hex", T, |w| {
        let hex: String = decode_base64url(&w.client.jkt()).iter().map(|byte| format!("{byte:02x}")).collect();
        cnf(w, json!({ "jkt": hex }))
    }),
    case(61, "jkt has bits after its end", T, |w| {
        let jkt = w.client.jkt();
        // The last character has two unused bits, which are zero in the alphabet's every fourth character.
        let last = char::from(jkt.as_bytes()[42] + 1);
        cnf(w, json!({ "jkt": format!("{}{last}", &jkt[..42]) }))
    }),
    case(62, "hash of the key with its other members", T, |w| other_members(w, |jwk| hash(&jwk.to_string()))),
    case(62, "hash of the key without its other members", A, |w| other_members(w, |_| w.client.jkt())),
    case(63, "unknown member beside jkt", A, |w| cnf(w, json!({ "jkt": w.client.jkt(), "kc-jkt-type": "JWK" }))),
    case(63, "token as Keycloak writes it", A, keycloak),
    case(63, "token as Keycloak writes it, bearer", TB, |w| keycloak(w).scheme("Bearer")),
    case(63, "token as Keycloak writes it, another key", T, |w| {
        let sent = keycloak(w);
        let other = w.other.proof("GET", URL, &sent.token).sign();
        sent.proofs(&[other.as_bytes()])
    }),
    case(64, "cnf with kid only", TB, |w| cnf(w, json!({ "kid": "k" })).scheme("Bearer")),
    case(64, "cnf with jwk only", TB, |w| cnf(w, json!({ "jwk": public_key(&w.client) })).scheme("Bearer")),
    case(64, "cnf with jwe only", TB, |w| cnf(w, json!({ "jwe": "x" })).scheme("Bearer")),
    case(65, "jkt and x5t#S256, only a proof", T, |w| cnf(w, json!({ "jkt": w.client.jkt(), "x5t#S256": HASH }))),
    case(65, "x5t#S256 under DPoP", T, |w| cnf(w, json!({ "x5t#S256": HASH }))),
    case(65, "x5t#S256 under Bearer", TB, |w| cnf(w, json!({ "x5t#S256": HASH })).scheme("Bearer")),
    case(66, "two cnf", T, |w| token(w, |token| token.with_duplicate_claim("cnf", json!({})))),
    case(66, "two cnf, bearer", TB, |w| {
        token(w, |token| token.with_duplicate_claim("cnf", json!({}))).scheme("Bearer")
    }),
    case(67, "SHA-1 thumbprint", T, |w| cnf(w, json!({ "jkt": base64url(&[7; 20]) }))),
    case(67, "SHA-512 thumbprint", T, |w| cnf(w, json!({ "jkt": base64url(&[7; 64]) }))),
    // ath.
    case(68, "no ath", P, |w| proof(w, |proof| proof.without("ath"))),
    case(68, "ath is a number", P, |w| proof(w, |proof| proof.claim("ath", 7))),
    case(68, "ath is empty", P, |w| proof(w, |proof| proof.claim("ath", ""))),
    case(68, "ath is padded", P, |w| ath(w, |ath| ath + "=")),
    case(68, "ath is hex", P, |w| {
        ath(w, |ath| decode_base64url(&ath).iter().map(|byte| format!("{byte:02x}")).collect())
    }),
    case(68, "ath has bits after its end", P, |w| {
        ath(w, |ath| format!("{}{}", &ath[..42], char::from(ath.as_bytes()[42] + 1)))
    }),
    case(68, "ath has the length of a SHA-512 hash", P, |w| ath(w, |_| base64url(&[7; 64]))),
    case(68, "ath of the token in upper case", P, |w| {
        let token = w.token().sign();
        let mut sent = proof(w, |proof| proof.token(&token.to_ascii_uppercase()));
        sent.token = token;
        sent
    }),
    case(68, "ath of the token with its scheme", P, |w| {
        let token = w.token().sign();
        let mut sent = proof(w, |proof| proof.token(&format!("DPoP {token}")));
        sent.token = token;
        sent
    }),
    case(69, "ath of another token for the same key", P, |w| {
        let other = w.token().subject("another").sign();
        proof(w, |proof| proof.token(&other))
    }),
    // htm.
    case(70, "no htm", P, |w| proof(w, |proof| proof.without("htm"))),
    case(70, "get", P, |w| proof(w, |proof| proof.claim("htm", "get"))),
    case(70, "Get", P, |w| proof(w, |proof| proof.claim("htm", "Get"))),
    case(70, "POST on GET", P, |w| proof(w, |proof| proof.claim("htm", "POST"))),
    case(70, "HEAD on GET", P, |w| proof(w, |proof| proof.claim("htm", "HEAD"))),
    case(70, "GET on HEAD", P, |w| valid(w).method(&Method::HEAD)),
    case(70, "empty htm", P, |w| proof(w, |proof| proof.claim("htm", ""))),
    case(70, "htm is a number", P, |w| proof(w, |proof| proof.claim("htm", 7))),
    case(70, "GET with a space", P, |w| proof(w, |proof| proof.claim("htm", "GET "))),
    case(70, "HEAD on HEAD", A, |w| proof(w, |proof| proof.claim("htm", "HEAD")).method(&Method::HEAD)),
    case(71, "X-HTTP-Method-Override changes nothing", A, |w| valid(w).field("x-http-method-override", "DELETE")),
    case(71, "the method of the override", P, |w| {
        proof(w, |proof| proof.claim("htm", "DELETE")).field("x-http-method-override", "DELETE")
    }),
    // htu.
    case(72, "another host", P, |w| htu(w, "https://evil.test/me")),
    case(72, "another scheme", P, |w| htu(w, "http://api.test/me")),
    case(72, "another port", P, |w| htu(w, "https://api.test:8443/me")),
    case(72, "another path", P, |w| htu(w, "https://api.test/you")),
    case(72, "sub-path", P, |w| htu(w, "https://api.test/me/you")),
    case(72, "parent", P, |w| htu(w, "https://api.test/")),
    case(73, "slash at the end", P, |w| htu(w, "https://api.test/me/")),
    case(73, "no slash at the end", P, |w| htu_for(w, "https://api.test/me", "/me/")),
    case(74, "host in upper case", A, |w| htu(w, "https://API.TEST/me")),
    case(74, "default port", A, |w| htu(w, "https://api.test:443/me")),
    case(74, "empty port", A, |w| htu(w, "https://api.test:/me")),
    case(74, "empty path", A, |w| htu_for(w, "https://api.test", "/")),
    case(74, "scheme in upper case", A, |w| htu(w, "HTTPS://api.test/me")),
    case(75, "query", A, |w| htu(w, "https://api.test/me?a=b")),
    case(75, "fragment", A, |w| htu(w, "https://api.test/me#a")),
    case(75, "query and fragment", A, |w| htu(w, "https://api.test/me?a=b#c")),
    case(75, "query of the request", A, |w| htu_for(w, URL, "/me?a=b")),
    case(75, "path in the query", P, |w| htu(w, "https://api.test/other?/me")),
    case(76, "dot segment in the claim", A, |w| htu_for(w, "https://api.test/a/%2e/me", "/a/me")),
    case(76, "two dots in the claim", A, |w| htu(w, "https://api.test/x/../me")),
    case(76, "encoded letter in the claim", A, |w| htu(w, "https://api.test/%6De")),
    case(77, "two dots in the request", P, |w| htu_for(w, URL, "/x/../me")),
    case(77, "encoded letter in the request", P, |w| htu_for(w, URL, "/%6de")),
    case(77, "two dots in both", A, |w| htu_for(w, "https://api.test/x/../me", "/x/../me")),
    case(78, "encoded slash", P, |w| htu_for(w, "https://api.test/a/b", "/a%2Fb")),
    case(78, "encoded slash in the claim", P, |w| htu_for(w, "https://api.test/a%2Fb", "/a/b")),
    case(78, "encoded slash in both, of another case", A, |w| htu_for(w, "https://api.test/a%2fb", "/a%2Fb")),
    case(79, "two slashes", P, |w| htu(w, "https://api.test//me")),
    case(79, "two slashes at the end", P, |w| htu(w, "https://api.test/me//")),
    case(80, "user information", P, |w| htu(w, "https://api@evil.test/me")),
    case(80, "user information before the host", P, |w| htu(w, "https://evil@api.test/me")),
    case(81, "no htu", P, |w| proof(w, |proof| proof.without("htu"))),
    case(81, "relative", P, |w| htu(w, "me")),
    case(81, "path only", P, |w| htu(w, "/me")),
    case(81, "no scheme", P, |w| htu(w, "//api.test/me")),
    case(81, "empty", P, |w| htu(w, "")),
    case(81, "number", P, |w| proof(w, |proof| proof.claim("htu", 7))),
    case(81, "javascript", P, |w| htu(w, "javascript://api.test/me")),
    case(81, "file", P, |w| htu(w, "file://api.test/me")),
    case(82, "backslash", P, |w| htu(w, "https://api.test\\me")),
    case(82, "tab", P, |w| htu(w, "https://api.test/me\t")),
    case(82, "space", P, |w| htu(w, "https://api.test/ me")),
    case(82, "line break", P, |w| htu(w, "https://api.test/me\r\n")),
    case(82, "NUL", P, |w| htu(w, "https://api.test/me\0")),
    case(83, "U-label", P, |w| htu(w, "https://b\u{fc}cher.test/me")),
    case(83, "homoglyph", P, |w| htu(w, "https://\u{430}pi.test/me")),
    case(83, "full-width dot", P, |w| htu(w, "https://api\u{3002}test/me")),
    with_api(case(83, "A-label", A, |w| htu(w, "https://XN--Bcher-kva.test/me")), |api| {
        api.with_dpop(Dpop::new("https://xn--bcher-kva.test"))
    }),
    case(84, "dot at the end of the host", P, |w| htu(w, "https://api.test./me")),
    with_api(case(85, "another form of the same IPv6 address", A, |w| htu(w, "https://[2001:DB8:0:0::1]/me")), |api| {
        api.with_dpop(Dpop::new("https://[2001:db8::1]"))
    }),
    with_api(case(85, "zone", P, |w| htu(w, "https://[2001:db8::1%25eth0]/me")), |api| {
        api.with_dpop(Dpop::new("https://[2001:db8::1]"))
    }),
    with_api(case(85, "IPv4-mapped address", P, |w| htu(w, "https://[::ffff:192.0.2.1]/me")), |api| {
        api.with_dpop(Dpop::new("https://192.0.2.1"))
    }),
    case(86, "port 65536", P, |w| htu(w, "https://api.test:65536/me")),
    case(86, "port 0443", P, |w| htu(w, "https://api.test:0443/me")),
    case(86, "port +443", P, |w| htu(w, "https://api.test:+443/me")),
    case(87, "another Host", A, |w| valid(w).field("host", "evil.test")),
    case(87, "two Host fields", A, |w| valid(w).field("host", "a.test").field("host", "b.test")),
    case(87, "Host with a path", A, |w| valid(w).field("host", "api.test/x?")),
    with_api(case(87, "two Host fields select no URL", Q, |w| hosts(w, &["api.test", "api.test"])), with_urls),
    with_api(case(87, "Host with a path selects no URL", Q, |w| hosts(w, &["api.test/x?"])), with_urls),
    with_api(
        case(87, "Host with user information selects no URL", Q, |w| hosts(w, &["api.test@b.test:8443"])),
        with_urls,
    ),
    with_api(case(87, "two Host fields beside a malformed proof", Q, |w| malformed(hosts(w, &["a", "b"]))), with_urls),
    with_api(case(87, "malformed Host beside a malformed proof", Q, |w| malformed(hosts(w, &["a b"]))), with_urls),
    with_api(case(87, "malformed Host beside two proofs", Q, |w| hosts(w, &["a b"]).proofs(&[b"x", b"x"])), with_urls),
    with_api(case(87, "malformed Host without a proof", Q, |w| hosts(w, &["a b"]).without_proof()), with_urls),
    with_api(case(87, "malformed proof beside a good Host", P, |w| malformed(hosts(w, &["api.test"]))), with_urls),
    case(87, "forwarded host, scheme and prefix", P, |w| {
        let sent = htu(w, "http://evil.test/p/me").field("x-forwarded-host", "evil.test");
        sent.field("x-forwarded-proto", "http").field("x-forwarded-prefix", "/p")
    }),
    with_api(case(88, "the prefix that a proxy removes", A, |w| htu(w, "https://api.test/svc1/me")), with_base),
    with_api(case(88, "without that prefix", P, |w| htu(w, "https://api.test/me")), with_base),
    case(88, "a prefix that is not configured", P, |w| htu(w, "https://api.test/svc1/me")),
    case(90, "path that is longer than a proof", P, |w| htu(w, &format!("https://api.test/{}", "../".repeat(20_000)))),
    case(90, "path of 64 KiB in the request", P, |w| valid(w).target(&format!("/{}", "a".repeat(65_000)))),
    case(90, "path of 64 KiB of dot segments in the request", P, |w| {
        valid(w).target(&format!("/{}me", "../".repeat(21_000)))
    }),
    case(90, "path of 64 KiB of encoded letters in the request", P, |w| {
        valid(w).target(&format!("/{}", "%6D".repeat(21_000)))
    }),
    only_http(case(91, "wss on a handshake", A, |w| {
        htu(w, "wss://api.test/me").field("upgrade", "websocket").field("connection", "Upgrade")
    })),
    only_http(case(91, "wss on a handshake whose fields are lists", A, |w| {
        let sent = htu(w, "wss://api.test/me").field("upgrade", "h2c, WebSocket");
        sent.field("connection", "keep-alive").field("connection", "close, upgrade")
    })),
    case(91, "wss without the connection option", P, |w| htu(w, "wss://api.test/me").field("upgrade", "websocket")),
    case(91, "wss with another connection option", P, |w| {
        htu(w, "wss://api.test/me").field("upgrade", "websocket").field("connection", "close")
    }),
    case(91, "wss with another protocol", P, |w| {
        htu(w, "wss://api.test/me").field("upgrade", "h2c").field("connection", "upgrade")
    }),
    case(91, "wss on another request", P, |w| htu(w, "wss://api.test/me")),
    case(92, "OPTIONS *", P, |w| {
        proof(w, |proof| proof.claim("htm", "OPTIONS").claim("htu", "https://api.test/"))
            .method(&Method::OPTIONS)
            .target("*")
    }),
    case(92, "CONNECT", P, |w| {
        let sent = proof(w, |proof| proof.claim("htm", "CONNECT").claim("htu", "https://api.test/"));
        sent.method(&Method::CONNECT).target("api.test:443")
    }),
    // Time.
    case(93, "the oldest iat", A, |w| iat(w, -90)),
    case(93, "one second older", P, |w| iat(w, -91)),
    case(93, "ten seconds ago", A, |w| iat(w, -10)),
    case(93, "ten seconds ahead", A, |w| iat(w, 10)),
    case(93, "the latest iat", A, |w| iat(w, 30)),
    case(93, "one second later", P, |w| iat(w, 31)),
    case(94, "no iat", P, |w| proof(w, |proof| proof.without("iat"))),
    case(94, "iat is a string", P, |w| proof(w, |proof| proof.claim("iat", "1800000000"))),
    case(94, "iat is huge", P, |w| proof(w, |proof| proof.raw_claim("iat", "1e400"))),
    case(94, "iat is negative", P, |w| proof(w, |proof| proof.claim("iat", -1))),
    case(94, "iat in milliseconds", P, |w| iat(w, crate::fixture::NOW * 999)),
    case(94, "iat with a fraction", A, |w| proof(w, |proof| proof.raw_claim("iat", "1800000000.5"))),
    case(95, "an hour ahead", P, |w| iat(w, 3_600)),
    case(95, "an hour ago", P, |w| iat(w, -3_600)),
    case(96, "exp in the past", P, |w| proof(w, |proof| proof.claim("exp", crate::fixture::NOW - 31))),
    case(96, "nbf in the future", P, |w| proof(w, |proof| proof.claim("nbf", crate::fixture::NOW + 31))),
    case(96, "nbf now and exp in five minutes", A, |w| {
        proof(w, |proof| proof.claim("nbf", crate::fixture::NOW).claim("exp", crate::fixture::NOW + 300))
    }),
    case(102, "a nonce where none is required", A, |w| proof(w, |proof| proof.nonce("from-elsewhere"))),
    case(115, "no jti", P, |w| proof(w, |proof| proof.without("jti"))),
    case(115, "empty jti", P, |w| proof(w, |proof| proof.jti(""))),
    case(115, "jti is a number", P, |w| proof(w, |proof| proof.claim("jti", 7))),
    case(115, "jti of 257 bytes", P, |w| proof(w, |proof| proof.jti(&"j".repeat(257)))),
    case(115, "jti of 256 bytes", A, |w| proof(w, |proof| proof.jti(&"j".repeat(256)))),
    case(115, "jti of 6 KB", P, |w| proof(w, |proof| proof.jti(&"j".repeat(6_000)))),
    case(115, "jti with NUL that is not an escape", P, |w| proof(w, |proof| proof.raw_claim("jti", "\"j\0\""))),
    case(115, "jti with NUL and emoji", A, |w| proof(w, |proof| proof.jti("\0\u{1f600}"))),
    // Whole requests.
    with_api(
        case(137, "proof for another host of the server", P, |w| valid(w).field("host", "b.test:8443")),
        with_urls,
    ),
    with_api(
        case(137, "proof for this host of the server", A, |w| {
            htu(w, "https://b.test:8443/b/me").field("host", "B.test:8443")
        }),
        with_urls,
    ),
    with_api(case(137, "host without its port", P, |w| valid(w).field("host", "b.test")), with_urls),
    with_api(case(137, "no host", P, valid), with_urls),
    with_api(case(137, "the first host", A, |w| valid(w).field("host", "api.test:443")), with_urls),
    case(138, "proof for the token endpoint", P, |w| {
        let endpoint = format!("{}oauth/token", w.server.issuer());
        proof(w, |proof| proof.claim("htm", "POST").claim("htu", endpoint).without("ath"))
    }),
    case(139, "other headers", A, |w| valid(w).field("content-type", "text/plain")),
    case(139, "another body", A, |w| Sent { body: "another", ..valid(w) }),
];

/// The valid request with its `ath` changed.
fn ath(world: &World, change: impl FnOnce(String) -> String) -> Sent {
    let token = world.token().sign();
    let good = world.client.proof("GET", URL, &token).sign();
    let claims: Value =
        serde_json::from_slice(&decode_base64url(good.split('.').nth(1).expect("claims"))).expect("JSON");
    let changed = change(claims["ath"].as_str().expect("text").to_owned());
    let mut sent = proof(world, |proof| proof.claim("ath", changed));
    sent.token = token;
    sent
}

#[test]
fn every_case_has_its_answer() {
    let mut failures = Vec::new();
    for case in CASES {
        let world = World::new(case.api);
        let response = world.send((case.sent)(&world).into_request());
        let answer = Answer::of(&response);
        if answer != case.answer {
            failures.push(format!("{} {}: {answer:?}, not {:?}", case.number, case.name, case.answer));
        }
        let is_cacheable = response.headers().get(CACHE_CONTROL).is_none_or(|value| value != "no-store");
        assert_eq!(is_cacheable, answer == A, "{} {}", case.number, case.name);
    }
    assert!(failures.is_empty(), "{failures:#?}");
}

#[test]
fn every_proof_has_the_same_result_without_a_server() {
    let url = PublicUrl::parse("https://api.test").expect("a URL");
    let mut checked = 0;
    for case in CASES.iter().filter(|case| !case.only_http && matches!(case.answer, A | P | T)) {
        let world = World::new(case.api);
        let sent = (case.sent)(&world);
        let [proof] = &sent.proofs[..] else { continue };
        let Ok(proof) = std::str::from_utf8(proof) else { continue };
        let binds_key = case.answer == T;
        if !sent.scheme.eq_ignore_ascii_case("DPoP") || (binds_key && !matches!(case.number, 55 | 57 | 62)) {
            continue;
        }
        let target: http::Uri = sent.target.parse().expect("a target");
        // The key to which the token is bound.
        let key = bound_key(&sent.token);
        let hash = AccessTokenHash::new(&sent.token);
        let expected = Expected::new(&sent.method, &url, target.path(), hash, key);
        let result = dpop::verify(proof, &expected, &ProofPolicy::new(), crate::dpop_fixture::now());
        match case.answer {
            A => assert!(result.is_ok(), "{} {}: {result:?}", case.number, case.name),
            T => assert_eq!(result, Err(ProofError::OtherKey), "{} {}", case.number, case.name),
            _ => assert!(result.is_err_and(|error| error != ProofError::OtherKey), "{} {}", case.number, case.name),
        }
        checked += 1;
    }
    assert!(checked > 150, "{checked}");
}

/// No embedded key verifies an HMAC, whatever the application lists.
#[test]
fn case_40_an_hmac_is_no_proof_also_if_its_algorithm_is_listed() {
    let url = PublicUrl::parse("https://api.test").expect("a URL");
    let policy = ProofPolicy::new().with_algorithms(Algorithm::ALL.iter().copied());
    let verify = |sent: &Sent| {
        let (proof, hash) = (std::str::from_utf8(&sent.proofs[0]).expect("ASCII"), AccessTokenHash::new(&sent.token));
        let expected = Expected::new(&Method::GET, &url, "/me", hash, bound_key(&sent.token));
        dpop::verify(proof, &expected, &policy, crate::dpop_fixture::now())
    };
    let world = World::new(|api| api);
    for case in CASES.iter().filter(|case| case.number == 40) {
        let result = verify(&(case.sent)(&world));
        assert!(matches!(result, Err(ProofError::Key(_))), "{}: {result:?}", case.name);
    }
    assert!(verify(&valid(&world)).is_ok());
}

/// With such a key, the signature of the neutral element and zero is valid for one message in one to eight, and nobody needs a
/// private key for it.
#[test]
fn case_56_rejects_a_forged_signature_by_each_point_of_small_order() {
    let world = World::new(|api| api);
    let url = PublicUrl::parse("https://api.test").expect("a URL");
    let signer = ProofKey::with_algorithm(Algorithm::EdDSA).with_clock(world.clock.clone());
    let signature = base64url(&[&[1], [0; 63].as_slice()].concat());
    for point in small_order_points() {
        let x = base64url(&point);
        let jkt = hash(&format!(r#"{{"crv":"Ed25519","kty":"OKP","x":"{x}"}}"#));
        let jwk = json!({ "kty": "OKP", "crv": "Ed25519", "x": x });
        let token = world.token().claim("cnf", json!({ "jkt": jkt })).sign();
        let expected =
            Expected::new(&Method::GET, &url, "/me", AccessTokenHash::new(&token), jkt.parse().expect("a thumbprint"));
        for number in 0..64 {
            let proof = signer.proof("GET", URL, &token).header("jwk", jwk.clone()).jti(&number.to_string()).sign();
            let (signed, _) = proof.rsplit_once('.').expect("dots");
            let forged = format!("{signed}.{signature}");
            let result = dpop::verify(&forged, &expected, &ProofPolicy::new(), crate::dpop_fixture::now());
            assert!(matches!(result, Err(ProofError::Key(_))), "{point:02x?}: {result:?}");
            if number < 8 {
                assert_eq!(world.answer(crate::dpop_fixture::dpop_request(&token, &forged)), P, "{point:02x?}");
            }
        }
    }
}

/// Returns the encodings of the eight points, and those that are not canonical (RFC 8032 §5.1.3).
fn small_order_points() -> Vec<[u8; 32]> {
    const ORDER_EIGHT: [&str; 2] =
        ["JuiVj8KyJ7BFw_SJ8u-Y8NXfrAXTxjM5sTgCiG1T_AU", "xxdqcD1N2E-6PAt2DRBnDyogU_osOczGTsf9d5KsA3o"];
    let number = |low: u8, middle: u8, high: u8| {
        let mut bytes = [middle; 32];
        (bytes[0], bytes[31]) = (low, high);
        bytes
    };
    let zero_one_minus_one = [number(0, 0, 0), number(1, 0, 0), number(0xec, 0xff, 0x7f)];
    let order_eight = ORDER_EIGHT.map(|text| decode_base64url(text).try_into().expect("32 bytes"));
    // The field has 2^255 - 19 elements: these are second encodings of zero and one.
    let not_canonical = [number(0xed, 0xff, 0x7f), number(0xee, 0xff, 0x7f)];
    let all = zero_one_minus_one.into_iter().chain(order_eight).chain(not_canonical);
    all.flat_map(|y| {
        let mut negative = y;
        negative[31] |= 0x80;
        [y, negative]
    })
    .collect()
}

/// A server removes white space at the end of a field, and no longer accepts a line break within it (RFC 9112 §5.2).
#[test]
fn case_17_white_space_is_no_part_of_a_proof_without_a_server() {
    let world = World::new(|api| api);
    let token = world.token().sign();
    let url = PublicUrl::parse("https://api.test").expect("a URL");
    let verify = |proof: &str| {
        let hash = AccessTokenHash::new(&token);
        let expected = Expected::new(&Method::GET, &url, "/me", hash, world.client.thumbprint());
        dpop::verify(proof, &expected, &ProofPolicy::new(), crate::dpop_fixture::now())
    };
    let proof = world.client.proof("GET", URL, &token).sign();
    assert!(verify(&proof).is_ok());
    for white_space in [" ", "\t", "\r\n", "\r\n ", "\r\n\t", "\n "] {
        for changed in [
            format!("{proof}{white_space}"),
            format!("{white_space}{proof}"),
            proof.replacen('.', &format!(".{white_space}"), 1),
        ] {
            assert!(matches!(verify(&changed), Err(ProofError::Form(_))), "{changed:?}: {:?}", verify(&changed));
        }
    }
}

/// `\u006a` is an escape of `j`.
#[test]
fn case_115_escapes_in_jti_do_not_change_it() {
    let world = World::new(|api| api);
    let token = world.token().sign();
    let answer = |jti: &str| {
        let proof = world.client.proof("GET", URL, &token).raw_claim("jti", jti).sign();
        world.answer(crate::dpop_fixture::dpop_request(&token, &proof))
    };
    assert_eq!(answer("\"j\\u0000\u{1f600}\""), A);
    assert_eq!(answer(r#""\u006a\u0000\ud83d\ude00""#), P, "the same jti");
    assert_eq!(answer(r#""\u006a\u0000\ud83d\ude01""#), A, "another jti");
}

fn bound_key(token: &str) -> tower_bearer::keys::Thumbprint {
    let claims = decode_base64url(token.split('.').nth(1).expect("claims"));
    let claims: Value = serde_json::from_slice(&claims).expect("JSON");
    claims["cnf"]["jkt"].as_str().expect("a thumbprint").parse().expect("a thumbprint")
}

/// The numbers of the cases that other tests of this folder check, with the files and names of these tests.
const ELSEWHERE: &[(&[u8], &str, &[&str])] = &[
    (&[9], "dpop_answers", &["case_9_a_credential_of_each_scheme_gets_the_error_in_both"]),
    (&[20], "dpop_answers", &["case_20_a_bound_token_in_a_cookie_counts_as_a_bearer_token"]),
    (&[21], "dpop_answers", &["case_21_without_dpop_the_scheme_is_like_any_other"]),
    (&[21], "mutual_tls_answers", &["case_21_validate_request_reads_the_scheme_as_a_layer_does"]),
    (&[23], "dpop_answers", &["cases_16_and_23_a_credential_of_dpop_is_never_anonymous"]),
    (&[40], "dpop_cases", &["case_40_an_hmac_is_no_proof_also_if_its_algorithm_is_listed"]),
    (&[56], "dpop_cases", &["case_56_rejects_a_forged_signature_by_each_point_of_small_order"]),
    (&[87], "dpop_hosts", &["case_87_a_trusted_forwarded_host_selects_the_public_url"]),
    (&[89], "dpop_answers", &["case_89_a_layer_inside_of_nest_reads_the_original_target"]),
    (&[97, 98], "dpop_replay", &["cases_97_and_98_a_clock_that_is_set_back_forgets_no_proof"]),
    (&[99], "dpop_nonces", &["case_99_accepts_the_nonces_of_three_periods"]),
    (&[100], "dpop_nonces", &["case_100_rejects_malformed_nonces"]),
    (&[101], "dpop_nonces", &["case_101_the_challenge_for_a_nonce_is_alone"]),
    (&[103], "dpop_nonces", &["case_103_rotation_accepts_the_old_secret_and_issues_by_the_new_one"]),
    (&[104], "dpop_nonces", &["case_104_responses_carry_the_next_nonce_if_the_last_one_is_about_to_expire"]),
    (&[105], "dpop_nonces", &["case_105_a_good_nonce_repairs_nothing_else"]),
    (&[106], "dpop_nonces", &["case_106_a_nonce_that_differs_in_one_character_is_not_accepted"]),
    (&[107], "dpop_replay", &["case_107_rejects_a_proof_that_was_used"]),
    (&[108], "dpop_replay", &["case_108_accepts_one_of_a_hundred_concurrent_requests_with_one_proof"]),
    (
        &[107, 113],
        "dpop_interleavings",
        &[
            "a_proof_is_accepted_once_whenever_a_request_stalls",
            "several_threads_accept_each_proof_once_while_the_time_advances",
        ],
    ),
    (&[109, 110], "dpop_replay", &["cases_109_and_110_a_jti_belongs_to_one_key"]),
    (&[111], "dpop_replay", &["case_111_rejects_the_twin_of_a_used_ecdsa_signature"]),
    (&[112], "dpop_replay", &["case_112_rejects_a_used_proof_with_another_query"]),
    (&[113, 114], "dpop_replay", &["cases_113_and_114_know_a_proof_as_long_as_it_is_valid"]),
    (&[116], "dpop_replay", &["case_116_a_rejected_proof_is_not_used"]),
    (
        &[116],
        "dpop_unused_proofs",
        &[
            "case_116_a_proof_with_a_stale_nonce_is_not_used",
            "case_116_a_proof_with_a_wrong_certificate_is_not_used",
            "case_116_a_proof_with_a_revoked_token_is_not_used",
            "case_116_a_proof_for_another_organization_is_not_used",
            "case_116_a_proof_with_an_opaque_token_that_is_not_active_is_not_used",
            "case_116_a_proof_with_a_signed_token_that_is_not_active_is_not_used",
            "case_116_a_proof_with_wrong_custom_claims_is_not_used",
            "case_116_a_proof_of_a_token_that_the_application_rejects_is_not_used",
            "case_116_the_application_checks_a_request_once_before_its_proof_is_recorded",
        ],
    ),
    (
        &[117],
        "dpop_redis",
        &[
            "case_117_a_store_that_fails_rejects_and_works_again_later",
            "case_117_with_the_fallback_each_process_detects_replays_alone",
            "case_117_a_store_that_does_not_respond_delays_a_request_by_the_timeout_only",
        ],
    ),
    (&[118], "dpop_redis", &["case_118_a_full_store_rejects", "case_118_a_store_that_drops_keys_is_not_used"]),
    (&[119], "dpop_replay", &["case_119_proofs_by_another_key_take_no_memory"]),
    (&[120], "dpop_replay", &["case_120_a_full_period_rejects_until_the_next_one"]),
    (&[121], "dpop_redis", &["case_121_a_proof_is_accepted_once_in_all_replicas"]),
    (&[122], "dpop_redis", &["case_122_apis_with_different_names_do_not_see_the_proofs_of_each_other"]),
    (&[122], "dpop_replay", &["case_122_each_api_has_its_own_memory"]),
    (&[123], "dpop_replay", &["case_123_an_explanation_uses_no_proof"]),
    (&[134], "mutual_tls_connections", &["case_134_each_connection_has_its_own_certificate"]),
    (&[135], "mutual_tls_connections", &["case_135_a_resumed_session_has_the_certificate_of_its_handshake"]),
    (&[140], "dpop_answers", &["case_140_a_cached_token_expires_although_its_proof_is_good"]),
    (&[141], "dpop_answers", &["case_141_a_token_of_a_withdrawn_key_is_rejected_although_its_proof_is_good"]),
    (&[142], "dpop_answers", &["case_142_no_bytes_in_the_fields_cause_a_panic_or_a_server_error"]),
    (&[143, 144], "dpop_answers", &["cases_143_and_144_inner_layers_answer_in_the_scheme_of_the_request"]),
];

#[test]
fn every_number_is_checked() {
    for number in 1..=144 {
        assert!(is_checked(number), "case {number}");
    }
    for (numbers, file, tests) in ELSEWHERE {
        for test in *tests {
            assert!(stack::has_test(file, test), "cases {numbers:?}: no test {test} in {file}.rs");
        }
    }
}

/// Returns whether there is a case of one request with this number and name.
pub(crate) fn has_case(number: u8, name: &str) -> bool {
    CASES.iter().any(|case| (case.number, case.name) == (number, name))
}

/// Returns whether a test checks the case of this number.
pub(crate) fn is_checked(number: u8) -> bool {
    CASES.iter().any(|case| case.number == number)
        || ELSEWHERE.iter().any(|(numbers, ..)| numbers.contains(&number))
        || mutual_tls_cases::is_checked(number)
}
