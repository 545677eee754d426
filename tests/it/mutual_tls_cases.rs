//! The attack cases of certificate-bound tokens, by their number. One runner sends each of them through the layer.

use std::net::IpAddr;

use base64::Engine as _;
use base64::prelude::{BASE64_STANDARD, BASE64_URL_SAFE};
use http::header::AUTHORIZATION;
use http::{HeaderValue, Request};
use metrics_exporter_prometheus::PrometheusBuilder;
use serde_json::json;
use tower_bearer::dpop::{DPOP, Dpop};
use tower_bearer::mutual_tls::{CertificateHeader, ClientCertificate, MutualTls, PeerAddress, TrustedProxy};
use tower_bearer::testing::TokenBuilder;
use tower_bearer::{Api, Secret};

use crate::dpop_fixture::{Answer, URL, World, base64url};
use crate::fixture::AUDIENCE;
use Answer::{
    Accepted as A, Bare, InvalidProof as P, InvalidRequest as Q, InvalidToken as T, InvalidTokenBearer as TB,
};

/// The certificate of the client.
const CLIENT: &str = include_str!("../data/tls/good.pem");
/// Another certificate with the same key.
const REISSUED: &str = include_str!("../data/tls/other_host.pem");
/// Another certificate with another key.
const OTHER: &str = include_str!("../data/tls/authority.pem");

/// One request, which is valid until a case changes it.
struct Sent {
    scheme: &'static str,
    token: String,
    proof: Option<String>,
    fields: Vec<(&'static str, Vec<u8>)>,
    peer: Option<&'static str>,
    certificate: Option<ClientCertificate>,
}

struct Case {
    number: u8,
    name: &'static str,
    answer: Answer,
    api: fn(Api) -> Api,
    sent: fn(&World) -> Sent,
}

const fn case(number: u8, name: &'static str, answer: Answer, api: fn(Api) -> Api, sent: fn(&World) -> Sent) -> Case {
    Case { number, name, answer, api, sent }
}

impl Sent {
    fn scheme(self, scheme: &'static str) -> Self {
        Self { scheme, ..self }
    }

    fn field(mut self, name: &'static str, value: impl Into<Vec<u8>>) -> Self {
        self.fields.push((name, value.into()));
        self
    }

    fn peer(self, peer: Option<&'static str>) -> Self {
        Self { peer, ..self }
    }

    fn certificate(self, pem: Option<&str>) -> Self {
        Self { certificate: pem.map(|pem| ClientCertificate::from_der(&der(pem))), ..self }
    }

    /// Adds a proof of the client for the token.
    fn proof(mut self, world: &World) -> Self {
        self.proof = Some(world.client.proof("GET", URL, &self.token).sign());
        self
    }

    fn into_request(self) -> Request<String> {
        let mut request = Request::get("/me").header(AUTHORIZATION, format!("{} {}", self.scheme, self.token));
        if let Some(proof) = self.proof {
            request = request.header(DPOP, proof);
        }
        for (name, value) in self.fields {
            request = request.header(name, HeaderValue::from_bytes(&value).expect("a value"));
        }
        if let Some(peer) = self.peer {
            request = request.extension(PeerAddress::from(peer.parse::<IpAddr>().expect("an address")));
        }
        if let Some(certificate) = self.certificate {
            request = request.extension(certificate);
        }
        request.body(String::new()).expect("a request")
    }
}

/// Returns the DER encoding of a certificate in PEM.
pub(crate) fn der(pem: &str) -> Vec<u8> {
    let base64: String = pem.lines().filter(|line| !line.starts_with('-')).collect();
    BASE64_STANDARD.decode(base64).expect("base64")
}

fn certificate(pem: &str) -> ClientCertificate {
    ClientCertificate::from_der(&der(pem))
}

fn hex(pem: &str) -> String {
    certificate(pem).thumbprint().as_bytes().iter().map(|byte| format!("{byte:02x}")).collect()
}

fn byte_sequence(pem: &str) -> String {
    format!(":{}:", BASE64_STANDARD.encode(der(pem)))
}

/// Encodes as nginx does.
fn escaped(pem: &str) -> String {
    pem.replace(' ', "%20").replace('\n', "%0A")
}

/// A token that is bound to the certificate, over a connection with this certificate, from a peer that is a trusted proxy.
fn valid(world: &World) -> Sent {
    token(world, |token| token.bound_to_certificate(&certificate(CLIENT)))
}

fn token(world: &World, change: impl FnOnce(TokenBuilder) -> TokenBuilder) -> Sent {
    Sent {
        scheme: "Bearer",
        token: change(world.server.token()).sign(),
        proof: None,
        fields: Vec::new(),
        peer: Some("127.0.0.1"),
        certificate: Some(certificate(CLIENT)),
    }
}

/// The valid request with this value of `cnf`.
fn cnf(world: &World, cnf: serde_json::Value) -> Sent {
    token(world, |token| token.claim("cnf", cnf))
}

/// The valid request behind a proxy, which sends the header.
fn forwarded(world: &World, name: &'static str, value: impl Into<Vec<u8>>) -> Sent {
    valid(world).certificate(None).field(name, value)
}

fn unbound(world: &World) -> Sent {
    token(world, |token| token)
}

/// A token that is bound to the key and to the certificate.
fn bound_twice(world: &World) -> Sent {
    token(world, |token| token.bound_to(&world.client).bound_to_certificate(&certificate(CLIENT))).scheme("DPoP")
}

fn connection(api: Api) -> Api {
    api.with_mutual_tls(MutualTls::from_connection())
}

fn behind(api: Api, header: CertificateHeader) -> Api {
    api.with_mutual_tls(MutualTls::from_header(header, TrustedProxy::from_networks(["127.0.0.1", "10.0.0.0/8"])))
}

fn rfc9440(api: Api) -> Api {
    behind(api, CertificateHeader::rfc9440())
}

fn xfcc(api: Api) -> Api {
    behind(api, CertificateHeader::xfcc())
}

fn pem(api: Api) -> Api {
    behind(api, CertificateHeader::pem("X-Client-Cert"))
}

fn pem_chain(api: Api) -> Api {
    behind(api, CertificateHeader::pem_chain("X-Client-Cert"))
}

fn base64_der(api: Api) -> Api {
    behind(api, CertificateHeader::der("X-Client-Cert"))
}

fn sha256(api: Api) -> Api {
    behind(api, CertificateHeader::sha256("X-Client-Cert"))
}

fn required(api: Api) -> Api {
    connection(api).with_sender_constrained_only()
}

fn with_dpop(api: Api) -> Api {
    connection(api).with_dpop(Dpop::new("https://api.test"))
}

fn only_dpop(api: Api) -> Api {
    api.with_dpop(Dpop::new("https://api.test"))
}

fn rfc9440_with_dpop(api: Api) -> Api {
    rfc9440(api).with_dpop(Dpop::new("https://api.test"))
}

fn with_dpop_required(api: Api) -> Api {
    with_dpop(api).with_sender_constrained_only()
}

/// Auth0's scheme.
fn under_dpop_scheme(api: Api) -> Api {
    api.with_mutual_tls(MutualTls::from_connection().with_bound_tokens_under_dpop_scheme())
}

fn under_dpop_scheme_with_dpop(api: Api) -> Api {
    under_dpop_scheme(api).with_dpop(Dpop::new("https://api.test"))
}

const CASES: &[Case] = &[
    case(65, "both bindings, both proven", A, with_dpop, |w| bound_twice(w).proof(w)),
    case(65, "both bindings, only the proof", T, with_dpop, |w| bound_twice(w).proof(w).certificate(None)),
    case(65, "both bindings, another certificate", T, with_dpop, |w| bound_twice(w).proof(w).certificate(Some(OTHER))),
    case(65, "both bindings, no proof", P, with_dpop, bound_twice),
    case(65, "both bindings, only the certificate", TB, with_dpop, |w| bound_twice(w).scheme("Bearer")),
    case(65, "both bindings, another key", T, with_dpop, |w| {
        let mut sent = bound_twice(w);
        sent.proof = Some(w.other.proof("GET", URL, &sent.token).sign());
        sent
    }),
    case(65, "both bindings, without DPoP", TB, connection, |w| bound_twice(w).scheme("Bearer")),
    case(65, "only the key, with a certificate", TB, connection, |w| token(w, |token| token.bound_to(&w.client))),
    case(65, "only the key, with a proof", A, with_dpop, |w| {
        token(w, |token| token.bound_to(&w.client)).scheme("DPoP").proof(w).certificate(None)
    }),
    case(65, "only the certificate, beside a stray proof", A, with_dpop, |w| valid(w).proof(w)),
    case(65, "only the certificate, beside junk", A, with_dpop, |w| {
        valid(w).field("dpop", "x").field("dpop", "\u{e9}")
    }),
    case(124, "the certificate of the connection", A, connection, valid),
    case(124, "no certificate", TB, connection, |w| valid(w).certificate(None)),
    case(124, "no header", TB, rfc9440, |w| valid(w).certificate(None)),
    case(124, "no certificate, unbound token", A, connection, |w| unbound(w).certificate(None)),
    case(124, "no source of certificates", TB, |api| api, valid),
    case(124, "no source of certificates, with DPoP", TB, only_dpop, valid),
    case(124, "both bindings behind a proxy, with a proof", A, rfc9440_with_dpop, |w| {
        bound_twice(w).proof(w).certificate(None).field("client-cert", byte_sequence(CLIENT))
    }),
    case(125, "both bindings, another certificate of the proxy", T, rfc9440_with_dpop, |w| {
        bound_twice(w).proof(w).certificate(None).field("client-cert", byte_sequence(OTHER))
    }),
    case(125, "another certificate", TB, connection, |w| valid(w).certificate(Some(OTHER))),
    case(125, "another certificate of the proxy", TB, rfc9440, |w| forwarded(w, "client-cert", byte_sequence(OTHER))),
    case(126, "another certificate with the same key", TB, connection, |w| valid(w).certificate(Some(REISSUED))),
    case(127, "`::` for a token that is bound to nothing", TB, rfc9440, |w| {
        token(w, |token| token.bound_to_certificate(&ClientCertificate::from_der(b""))).field("client-cert", "::")
    }),
    case(127, "the hash of nothing", TB, sha256, |w| {
        let nothing = ClientCertificate::from_der(b"");
        let hex: String = nothing.thumbprint().as_bytes().iter().map(|byte| format!("{byte:02x}")).collect();
        token(w, |token| token.bound_to_certificate(&nothing)).field("x-client-cert", hex)
    }),
    case(127, "an empty certificate of the connection", TB, connection, |w| {
        let nothing = ClientCertificate::from_der(b"");
        Sent { certificate: Some(nothing), ..token(w, |token| token.bound_to_certificate(&nothing)) }
    }),
    case(127, "an empty field", TB, rfc9440, |w| forwarded(w, "client-cert", "")),
    case(127, "an empty field of white space", TB, rfc9440, |w| forwarded(w, "client-cert", " \t ")),
    case(127, "an empty PEM", TB, pem, |w| forwarded(w, "x-client-cert", "")),
    case(127, "an empty base64", TB, base64_der, |w| forwarded(w, "x-client-cert", "")),
    case(127, "an empty hash", TB, sha256, |w| forwarded(w, "x-client-cert", "")),
    case(127, "an empty element", TB, xfcc, |w| forwarded(w, XFCC, "")),
    case(128, "header although the source is the connection", TB, connection, |w| {
        forwarded(w, "client-cert", byte_sequence(CLIENT))
    }),
    case(128, "header beside another certificate of the connection", TB, connection, |w| {
        valid(w).certificate(Some(OTHER)).field("client-cert", byte_sequence(CLIENT))
    }),
    case(128, "malformed header beside the certificate of the connection", A, connection, |w| {
        valid(w).field("client-cert", "x")
    }),
    case(128, "connection although the source is the header", TB, rfc9440, valid),
    case(129, "RFC 9440", A, rfc9440, |w| forwarded(w, "client-cert", byte_sequence(CLIENT))),
    case(
        129,
        "RFC 9440 with another name",
        A,
        |api| behind(api, CertificateHeader::rfc9440().with_name("X-Cert")),
        |w| forwarded(w, "x-cert", byte_sequence(CLIENT)),
    ),
    case(129, "twice", Q, rfc9440, |w| {
        forwarded(w, "client-cert", byte_sequence(CLIENT)).field("client-cert", byte_sequence(CLIENT))
    }),
    case(129, "twice, the second one empty", Q, rfc9440, |w| {
        forwarded(w, "client-cert", byte_sequence(CLIENT)).field("client-cert", "")
    }),
    case(129, "list", Q, rfc9440, |w| {
        forwarded(w, "client-cert", format!("{}, {}", byte_sequence(CLIENT), byte_sequence(CLIENT)))
    }),
    case(129, "parameters", Q, rfc9440, |w| forwarded(w, "client-cert", byte_sequence(CLIENT) + ";a=1")),
    case(129, "no colons", Q, rfc9440, |w| forwarded(w, "client-cert", byte_sequence(CLIENT).replace(':', ""))),
    case(129, "base64url", Q, rfc9440, |w| {
        forwarded(w, "client-cert", format!(":{}:", BASE64_URL_SAFE.encode(der(CLIENT))))
    }),
    case(129, "padding", Q, rfc9440, |w| forwarded(w, "client-cert", byte_sequence(CLIENT).replacen(":M", ":=M", 1))),
    case(129, "no padding", Q, rfc9440, |w| forwarded(w, "client-cert", byte_sequence(CLIENT).replace("=:", ":"))),
    case(129, "pad bits that are not zero", Q, rfc9440, |w| {
        let text = byte_sequence(CLIENT);
        assert!(text.ends_with("Fk=:"), "the last two bits of `k` are zero, those of `l` are not: {text}");
        forwarded(w, "client-cert", text.replace("Fk=:", "Fl=:"))
    }),
    case(129, "too long", Q, rfc9440, |w| forwarded(w, "client-cert", format!(":{}:", "A".repeat(65_536)))),
    case(129, "base64 of something else", Q, rfc9440, |w| {
        forwarded(w, "client-cert", format!(":{}:", BASE64_STANDARD.encode("no certificate")))
    }),
    case(129, "white space around", A, rfc9440, |w| {
        forwarded(w, "client-cert", format!("\t{} ", byte_sequence(CLIENT)))
    }),
    case(129, "too much padding", Q, rfc9440, |w| {
        forwarded(w, "client-cert", format!(":{}====:", byte_sequence(CLIENT).replace(':', "")))
    }),
    case(129, "bytes that are not ASCII", Q, rfc9440, |w| forwarded(w, "client-cert", b":\xff\xfe:")),
    case(129, "malformed, beside an unbound token", A, rfc9440, |w| unbound(w).field("client-cert", "x")),
    case(129, "malformed, beside a bad token", TB, rfc9440, |w| {
        let token = w.server.token().bound_to_certificate(&certificate(CLIENT)).with_broken_signature().sign();
        Sent { token, ..valid(w) }.field("client-cert", "x")
    }),
    case(129, "malformed, beside a token that is bound to a key only", A, rfc9440_with_dpop, |w| {
        token(w, |token| token.bound_to(&w.client)).scheme("DPoP").proof(w).field("client-cert", "x")
    }),
    case(129, "malformed, both bindings", Q, rfc9440_with_dpop, |w| {
        bound_twice(w).proof(w).certificate(None).field("client-cert", "x")
    }),
    case(129, "malformed, both bindings, no proof", P, rfc9440_with_dpop, |w| bound_twice(w).field("client-cert", "x")),
    case(129, "malformed, beside a token with a malformed cnf", TB, rfc9440, |w| {
        cnf(w, json!({ "x5t#S256": 7 })).field("client-cert", "x")
    }),
    case(129, "Traefik and Cloudflare", A, base64_der, |w| {
        forwarded(w, "x-client-cert", BASE64_STANDARD.encode(der(CLIENT)))
    }),
    case(129, "Traefik with the chain", Q, base64_der, |w| {
        let [client, other] = [CLIENT, OTHER].map(|pem| BASE64_STANDARD.encode(der(pem)));
        forwarded(w, "x-client-cert", format!("{client},{other}"))
    }),
    case(129, "HAProxy and CloudFront", A, sha256, |w| forwarded(w, "x-client-cert", hex(CLIENT))),
    case(129, "hash in upper case", A, sha256, |w| forwarded(w, "x-client-cert", hex(CLIENT).to_uppercase())),
    case(129, "hash of another certificate", TB, sha256, |w| forwarded(w, "x-client-cert", hex(OTHER))),
    case(129, "base64 hash", Q, sha256, |w| {
        forwarded(w, "x-client-cert", certificate(CLIENT).thumbprint().to_base64url())
    }),
    case(130, "nginx and ALB", A, pem, |w| forwarded(w, "x-client-cert", escaped(CLIENT))),
    case(130, "a plus sign stays", A, pem, |w| {
        assert!(CLIENT.contains('+'), "the certificate has a plus sign");
        forwarded(w, "x-client-cert", escaped(CLIENT))
    }),
    case(130, "an encoded plus sign", A, pem, |w| forwarded(w, "x-client-cert", escaped(CLIENT).replace('+', "%2B"))),
    case(130, "a plus sign as a space", Q, pem, |w| forwarded(w, "x-client-cert", escaped(CLIENT).replace('+', "%20"))),
    case(130, "percent-encoding in lower case", A, pem, |w| {
        forwarded(w, "x-client-cert", escaped(CLIENT).replace("%0A", "%0a").replace('/', "%2f"))
    }),
    case(130, "no line break at the end", A, pem, |w| forwarded(w, "x-client-cert", escaped(CLIENT.trim_end()))),
    case(130, "two fields", Q, pem, |w| {
        forwarded(w, "x-client-cert", escaped(CLIENT)).field("x-client-cert", escaped(CLIENT))
    }),
    case(130, "text after a chain", Q, pem_chain, |w| {
        forwarded(w, "x-client-cert", escaped(&format!("{CLIENT}{OTHER}x")))
    }),
    case(130, "CRLF", A, pem, |w| forwarded(w, "x-client-cert", escaped(&CLIENT.replace('\n', "%0D%0A")))),
    case(130, "two certificates", Q, pem, |w| forwarded(w, "x-client-cert", escaped(&(CLIENT.to_owned() + OTHER)))),
    case(130, "text after the certificate", Q, pem, |w| forwarded(w, "x-client-cert", escaped(CLIENT) + "x")),
    case(130, "text before the certificate", Q, pem, |w| {
        forwarded(w, "x-client-cert", "x".to_owned() + &escaped(CLIENT))
    }),
    case(130, "BEGIN PRIVATE KEY", Q, pem, |w| {
        forwarded(w, "x-client-cert", escaped(&CLIENT.replace("CERTIFICATE", "PRIVATE KEY")))
    }),
    case(130, "a percent sign alone", Q, pem, |w| forwarded(w, "x-client-cert", escaped(CLIENT) + "%")),
    case(130, "another certificate", TB, pem, |w| forwarded(w, "x-client-cert", escaped(OTHER))),
    case(130, "the chain of ALB", A, pem_chain, |w| {
        forwarded(w, "x-client-cert", escaped(&(CLIENT.to_owned() + OTHER)))
    }),
    case(130, "the chain of ALB of another client", TB, pem_chain, |w| {
        forwarded(w, "x-client-cert", escaped(&(OTHER.to_owned() + CLIENT)))
    }),
    case(131, "Hash", A, xfcc, |w| forwarded(w, XFCC, format!("By=a;Hash={};Subject=\"CN=b\"", hex(CLIENT)))),
    case(131, "Hash in upper case", A, xfcc, |w| forwarded(w, XFCC, format!("HASH={}", hex(CLIENT).to_uppercase()))),
    case(131, "Cert", A, xfcc, |w| forwarded(w, XFCC, format!("Cert=\"{}\"", escaped(CLIENT)))),
    case(131, "separators in quotes", A, xfcc, |w| {
        forwarded(w, XFCC, format!("Subject=\"CN=\\\"a\\\";b,c\";Hash={}", hex(CLIENT)))
    }),
    case(131, "Hash in quotes", A, xfcc, |w| forwarded(w, XFCC, format!("Hash=\"{}\"", hex(CLIENT)))),
    case(131, "Hash and Cert", A, xfcc, |w| {
        forwarded(w, XFCC, format!("Hash={};Cert=\"{}\"", hex(CLIENT), escaped(CLIENT)))
    }),
    case(131, "another Hash", TB, xfcc, |w| forwarded(w, XFCC, format!("Hash={}", hex(OTHER)))),
    case(131, "unknown names", A, xfcc, |w| {
        forwarded(w, XFCC, format!("X-Forwarded-By=\"a\";Hash={};A-b_c.1=d;URI=e", hex(CLIENT)))
    }),
    case(131, "a Hash in a name in quotes", A, xfcc, |w| {
        forwarded(w, XFCC, format!("Hash={};Subject=\"CN=a;Hash={}\"", hex(CLIENT), hex(OTHER)))
    }),
    case(131, "names with quotes around the Hash", Q, xfcc, |w| {
        forwarded(w, XFCC, format!("URI=a;Hash={};b=\";Hash={};DNS=\";c=d", hex(CLIENT), hex(OTHER)))
    }),
    case(131, "a name that begins with a quote", Q, xfcc, |w| {
        forwarded(w, XFCC, format!("URI=\";Hash={};DNS=\";Hash={}", hex(OTHER), hex(CLIENT)))
    }),
    case(131, "a quote within a value", Q, xfcc, |w| forwarded(w, XFCC, format!("URI=a\"b;Hash={}", hex(CLIENT)))),
    case(131, "a quote within a name", Q, xfcc, |w| forwarded(w, XFCC, format!("a\"b=c;Hash={}", hex(CLIENT)))),
    case(131, "doubled Cert", Q, xfcc, |w| forwarded(w, XFCC, format!("Cert=\"{0}\";cert=\"{0}\"", escaped(CLIENT)))),
    case(131, "an empty element first", Q, xfcc, |w| forwarded(w, XFCC, format!(",Hash={}", hex(CLIENT)))),
    case(131, "two elements", Q, xfcc, |w| forwarded(w, XFCC, format!("Hash={},Hash={}", hex(OTHER), hex(CLIENT)))),
    case(131, "two fields", Q, xfcc, |w| {
        forwarded(w, XFCC, format!("Hash={}", hex(CLIENT))).field(XFCC, format!("Hash={}", hex(CLIENT)))
    }),
    case(131, "Hash and Cert disagree", Q, xfcc, |w| {
        forwarded(w, XFCC, format!("Hash={};Cert=\"{}\"", hex(CLIENT), escaped(OTHER)))
    }),
    case(131, "doubled Hash", Q, xfcc, |w| forwarded(w, XFCC, format!("Hash={};hash={}", hex(OTHER), hex(CLIENT)))),
    case(131, "unparsable Cert", Q, xfcc, |w| forwarded(w, XFCC, format!("Hash={};Cert=\"x\"", hex(CLIENT)))),
    case(131, "empty element", Q, xfcc, |w| forwarded(w, XFCC, format!("Hash={},", hex(CLIENT)))),
    case(131, "neither Hash nor Cert", TB, xfcc, |w| forwarded(w, XFCC, "By=a;URI=b")),
    case(132, "untrusted peer", TB, rfc9440, |w| {
        forwarded(w, "client-cert", byte_sequence(CLIENT)).peer(Some("203.0.113.7"))
    }),
    case(132, "malformed header of an untrusted peer", TB, rfc9440, |w| {
        forwarded(w, "client-cert", "x").field("client-cert", "y").peer(Some("203.0.113.7"))
    }),
    case(132, "unknown peer", TB, rfc9440, |w| forwarded(w, "client-cert", byte_sequence(CLIENT)).peer(None)),
    case(132, "forwarded address of a trusted peer", TB, rfc9440, |w| {
        let sent = forwarded(w, "client-cert", byte_sequence(CLIENT)).peer(Some("203.0.113.7"));
        sent.field("x-forwarded-for", "127.0.0.1")
    }),
    case(132, "a peer of the network", A, rfc9440, |w| {
        forwarded(w, "client-cert", byte_sequence(CLIENT)).peer(Some("10.200.3.4"))
    }),
    case(132, "the same peer over IPv6", A, rfc9440, |w| {
        forwarded(w, "client-cert", byte_sequence(CLIENT)).peer(Some("::ffff:127.0.0.1"))
    }),
    case(
        132,
        "any peer",
        A,
        |api| {
            let any = TrustedProxy::dangerous_trust_any_peer();
            api.with_mutual_tls(MutualTls::from_header(CertificateHeader::rfc9440(), any))
        },
        |w| forwarded(w, "client-cert", byte_sequence(CLIENT)).peer(None),
    ),
    case(132, "a peer with the secret of the proxy", A, by_secret, |w| {
        forwarded(w, "client-cert", byte_sequence(CLIENT)).field("x-proxy-secret", "s3cret")
    }),
    case(132, "a peer with a longer secret", TB, by_secret, |w| {
        forwarded(w, "client-cert", byte_sequence(CLIENT)).field("x-proxy-secret", "s3crets")
    }),
    case(132, "a peer with two secrets", TB, by_secret, |w| {
        let sent = forwarded(w, "client-cert", byte_sequence(CLIENT));
        sent.field("x-proxy-secret", "s3cret").field("x-proxy-secret", "s3cret")
    }),
    case(132, "a trusted request by a predicate", A, by_predicate, |w| {
        forwarded(w, "client-cert", byte_sequence(CLIENT)).field("x-unix-socket", "1")
    }),
    case(132, "another request by a predicate", TB, by_predicate, |w| {
        forwarded(w, "client-cert", byte_sequence(CLIENT))
    }),
    case(132, "a peer next to the network", TB, rfc9440, |w| {
        forwarded(w, "client-cert", byte_sequence(CLIENT)).peer(Some("11.0.0.0"))
    }),
    case(132, "an empty header of an untrusted peer", TB, rfc9440, |w| {
        forwarded(w, "client-cert", "").peer(Some("203.0.113.7"))
    }),
    case(132, "a peer without the secret of the proxy", TB, by_secret, |w| {
        forwarded(w, "client-cert", byte_sequence(CLIENT))
    }),
    case(133, "hex", TB, connection, |w| cnf(w, json!({ "x5t#S256": hex(CLIENT) }))),
    case(133, "padded", TB, connection, |w| {
        cnf(w, json!({ "x5t#S256": certificate(CLIENT).thumbprint().to_base64url() + "=" }))
    }),
    case(133, "upper case", TB, connection, |w| {
        cnf(w, json!({ "x5t#S256": certificate(CLIENT).thumbprint().to_base64url().to_uppercase() }))
    }),
    case(133, "SHA-1", TB, connection, |w| cnf(w, json!({ "x5t": base64url(&[7; 20]) }))),
    case(133, "number", TB, connection, |w| cnf(w, json!({ "x5t#S256": 7 }))),
    case(133, "empty", TB, connection, |w| cnf(w, json!({ "x5t#S256": "" }))),
    case(133, "one character fewer", TB, connection, |w| {
        cnf(w, json!({ "x5t#S256": certificate(CLIENT).thumbprint().to_base64url()[1..] }))
    }),
    case(133, "pad bits that are not zero", TB, connection, |w| {
        let mut text = certificate(CLIENT).thumbprint().to_base64url();
        let last = text.pop().expect("43 characters");
        // The last character has two bits that must be zero, so the next one in the alphabet has the same hash.
        let next = char::from_u32(u32::from(last) + 1).expect("a character");
        cnf(w, json!({ "x5t#S256": format!("{text}{next}") }))
    }),
    case(133, "the name in lower case", TB, connection, |w| {
        cnf(w, json!({ "x5t#s256": certificate(CLIENT).thumbprint().to_base64url() }))
    }),
    case(133, "beside a malformed jkt", TB, connection, |w| {
        cnf(w, json!({ "x5t#S256": certificate(CLIENT).thumbprint().to_base64url(), "jkt": 7 }))
    }),
    case(133, "beside an unknown member", A, connection, |w| {
        cnf(w, json!({ "x5t#S256": certificate(CLIENT).thumbprint().to_base64url(), "new": {} }))
    }),
    case(136, "Auth0's scheme where DPoP and the option are off", T, connection, |w| valid(w).scheme("DPoP")),
    case(136, "the same with a proof", T, connection, |w| valid(w).scheme("DPoP").proof(w)),
    case(136, "the same without the certificate", T, connection, |w| valid(w).scheme("DPoP").certificate(None)),
    case(136, "the same, unbound", T, connection, |w| unbound(w).scheme("DPoP")),
    case(136, "the same, both bindings", T, connection, bound_twice),
    case(136, "the same, bad token", T, connection, |w| {
        Sent { token: w.server.token().expired().sign(), ..valid(w) }.scheme("DPoP")
    }),
    case(136, "the same, required", T, required, |w| valid(w).scheme("DPoP")),
    case(
        136,
        "Auth0's scheme where neither DPoP nor certificates are configured",
        Bare,
        |api| api,
        |w| valid(w).scheme("DPoP"),
    ),
    case(136, "Auth0's scheme where the option is off", P, with_dpop, |w| valid(w).scheme("DPoP")),
    case(136, "the same without the certificate, with DPoP", P, with_dpop, |w| {
        valid(w).scheme("DPoP").certificate(None)
    }),
    case(136, "the same with a proof, with DPoP", T, with_dpop, |w| valid(w).scheme("DPoP").proof(w)),
    case(136, "the same, unbound, with DPoP", T, with_dpop, |w| unbound(w).scheme("DPoP")),
    case(136, "the same with DPoP and no source of certificates", P, only_dpop, |w| valid(w).scheme("DPoP")),
    case(136, "the same, required, with DPoP", P, with_dpop_required, |w| valid(w).scheme("DPoP")),
    case(136, "Auth0's scheme", A, under_dpop_scheme, |w| valid(w).scheme("DPoP")),
    case(136, "Auth0's scheme with DPoP", A, under_dpop_scheme_with_dpop, |w| valid(w).scheme("DPoP")),
    case(136, "the scheme of RFC 8705 beside Auth0's", A, under_dpop_scheme, valid),
    case(136, "Auth0's scheme, no certificate", T, under_dpop_scheme, |w| valid(w).scheme("DPoP").certificate(None)),
    case(136, "Auth0's scheme, another certificate", T, under_dpop_scheme, |w| {
        valid(w).scheme("DPoP").certificate(Some(OTHER))
    }),
    case(136, "Auth0's scheme, with a proof", T, under_dpop_scheme, |w| valid(w).scheme("DPoP").proof(w)),
    case(136, "Auth0's scheme with DPoP, with a proof", T, under_dpop_scheme_with_dpop, |w| {
        valid(w).scheme("DPoP").proof(w)
    }),
    case(136, "Auth0's scheme with DPoP, with a malformed proof", P, under_dpop_scheme_with_dpop, |w| {
        valid(w).scheme("DPoP").field("dpop", "x")
    }),
    case(136, "Auth0's scheme, both bindings", T, under_dpop_scheme, bound_twice),
    case(136, "Auth0's scheme with DPoP, both bindings", P, under_dpop_scheme_with_dpop, bound_twice),
    case(136, "Auth0's scheme, unbound", T, under_dpop_scheme, |w| unbound(w).scheme("DPoP")),
    case(136, "Auth0's scheme, bad token", T, under_dpop_scheme, |w| {
        Sent { token: w.server.token().expired().sign(), ..valid(w) }.scheme("DPoP")
    }),
    case(22, "required, certificate", A, required, valid),
    case(22, "required, no certificate", TB, required, |w| valid(w).certificate(None)),
    case(22, "required, unbound", T, required, unbound),
    case(22, "required with DPoP, certificate", A, with_dpop_required, valid),
    case(22, "required with DPoP, no certificate", TB, with_dpop_required, |w| valid(w).certificate(None)),
    case(22, "required with DPoP, unbound", T, with_dpop_required, unbound),
    case(22, "required with DPoP, bound to a key", T, with_dpop_required, |w| bound_twice(w).scheme("Bearer")),
    case(22, "required with DPoP, proof and certificate", A, with_dpop_required, |w| bound_twice(w).proof(w)),
    case(
        22,
        "required, Auth0's scheme",
        A,
        |api| under_dpop_scheme(api).with_sender_constrained_only(),
        |w| valid(w).scheme("DPoP"),
    ),
    case(
        22,
        "required, Auth0's scheme on, unbound",
        T,
        |api| under_dpop_scheme(api).with_sender_constrained_only(),
        unbound,
    ),
];

const XFCC: &str = "x-forwarded-client-cert";

fn by_secret(api: Api) -> Api {
    let proxy = TrustedProxy::from_secret_header("X-Proxy-Secret", Secret::from_text("s3cret"));
    api.with_mutual_tls(MutualTls::from_header(CertificateHeader::rfc9440(), proxy))
}

fn by_predicate(api: Api) -> Api {
    let proxy = TrustedProxy::from_predicate(|request| request.headers().contains_key("x-unix-socket"));
    api.with_mutual_tls(MutualTls::from_header(CertificateHeader::rfc9440(), proxy))
}

/// Sends a request with the token of `sent` that is accepted, if the API accepts one. Then the token is in the token cache.
fn is_cached(world: &World, sent: &Sent) -> bool {
    let headers = [
        ("client-cert", byte_sequence(CLIENT)),
        ("x-cert", byte_sequence(CLIENT)),
        (XFCC, format!("Hash={}", hex(CLIENT))),
        ("x-client-cert", escaped(CLIENT)),
        ("x-client-cert", BASE64_STANDARD.encode(der(CLIENT))),
        ("x-client-cert", hex(CLIENT)),
    ];
    let mut requests = headers.into_iter().flat_map(|(name, value)| {
        let proof = || world.client.proof("GET", URL, &sent.token).sign();
        [("Bearer", None), ("DPoP", None), ("DPoP", Some(proof()))].map(|(scheme, proof)| {
            let sent = Sent { scheme, token: sent.token.clone(), proof, ..unbound(world) };
            sent.field(name, value.clone()).field("x-proxy-secret", "s3cret").field("x-unix-socket", "1")
        })
    });
    requests.any(|sent| world.answer(sent.into_request()) == A)
}

#[test]
fn every_case_has_its_answer() {
    let mut failures = Vec::new();
    for case in CASES {
        let world = World::without_dpop(AUDIENCE, case.api);
        for attempt in ["new", "again"] {
            let answer = world.answer((case.sent)(&world).into_request());
            if answer != case.answer {
                failures.push(format!("{} {} ({attempt}): {answer:?}, not {:?}", case.number, case.name, case.answer));
            }
        }
    }
    assert!(failures.is_empty(), "{failures:#?}");
}

/// A token whose certificate and proof were right in an earlier request proves nothing about a later one.
#[test]
fn every_case_has_its_answer_if_the_token_is_in_the_token_cache() {
    let mut failures = Vec::new();
    let mut cached = [0; 256];
    for case in CASES {
        let world = World::without_dpop(AUDIENCE, case.api);
        let sent = (case.sent)(&world);
        if !is_cached(&world, &sent) {
            continue;
        }
        cached[usize::from(case.number)] += 1;
        let recorder = PrometheusBuilder::new().build_recorder();
        let answer = metrics::with_local_recorder(&recorder, || world.answer(sent.into_request()));
        let counted = recorder.handle().render();
        let is_hit = counted.contains("jwt_token_cache_total{outcome=\"hit\"} 1");
        // Without a credential that is read, or with a malformed one, the token is not looked up.
        if answer != case.answer || (!is_hit && !matches!(answer, Bare | P)) {
            failures.push(format!("{} {}: {answer:?}, not {:?}, {counted}", case.number, case.name, case.answer));
        }
    }
    assert!(failures.is_empty(), "{failures:#?}");
    for number in [65, 124, 125, 126, 127, 128, 129, 130, 131, 132, 133, 136] {
        assert!(cached[number] > 0, "{number}");
    }
    assert!(cached[65] >= 9, "{}", cached[65]);
}

/// Returns whether a case of this file has this number.
pub(crate) fn is_checked(number: u8) -> bool {
    CASES.iter().any(|case| case.number == number)
}
