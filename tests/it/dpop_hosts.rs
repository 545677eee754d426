//! Several public URLs behind a proxy: which URL the host of a request selects. The numbers are those of the attack cases.

use tower_bearer::BearerLayer;
use tower_bearer::dpop::Dpop;

use crate::dpop_fixture::{Answer, URL, World, dpop_request, send_through};
use crate::fixture::block_on;
use Answer::{Accepted as A, InvalidProof as P, InvalidRequest as Q};

const OTHER_URL: &str = "https://b.test:8443/b/me";

fn world() -> World {
    World::new(|api| api.with_dpop(Dpop::new("https://api.test").with_public_url("https://b.test:8443/b")))
}

/// Sends `GET /me` through the layer, with these fields and a proof for each of both URLs. Returns the answers.
fn answers(world: &World, layer: &BearerLayer, fields: &[(&'static str, &str)]) -> [Answer; 2] {
    let token = world.token().sign();
    [URL, OTHER_URL].map(|url| {
        let mut request = dpop_request(&token, &world.client.proof("GET", url, &token).sign());
        for (name, value) in fields {
            request.headers_mut().append(*name, value.parse().expect("a value"));
        }
        Answer::of(&block_on(send_through(layer, request)))
    })
}

/// Without the setting, the client could choose the URL by a field that the proxy does not set.
#[test]
fn case_87_a_trusted_forwarded_host_selects_the_public_url() {
    const FORWARDED: &str = "x-forwarded-host";
    let (first, second, none, malformed) = ([A, P], [P, A], [P, P], [Q, Q]);
    let world = world();
    let untrusted = world.layer.clone();
    let only = world.layer.clone().with_trusted_forwarded_host();
    let first_of_list = world.layer.clone().with_first_trusted_forwarded_host();
    for (fields, expected) in [
        // The answers with a layer that does not read the field, one that reads it, and one that reads its first value.
        (&[("host", "api.test")][..], [first, first, first]),
        (&[("host", "b.test:8443")], [second, second, second]),
        (&[("host", "internal:8080"), (FORWARDED, "api.test")], [none, first, first]),
        (&[("host", "internal:8080"), (FORWARDED, "API.test:443")], [none, first, first]),
        (&[("host", "internal:8080"), (FORWARDED, "b.test:8443")], [none, second, second]),
        (&[(FORWARDED, "b.test:8443")], [none, second, second]),
        (&[("host", "api.test"), (FORWARDED, "b.test:8443")], [first, second, second]),
        (&[("host", "b.test:8443"), (FORWARDED, "api.test")], [second, first, first]),
        (&[("host", "api.test"), (FORWARDED, "b.test")], [first, none, none]),
        (&[("host", "api.test"), (FORWARDED, "evil.test")], [first, none, none]),
        (&[("host", "api.test"), (FORWARDED, "b.test:8443, api.test")], [first, malformed, second]),
        (&[("host", "api.test"), (FORWARDED, "")], [first, malformed, malformed]),
        (&[("host", "api.test"), (FORWARDED, "https://b.test:8443")], [first, malformed, malformed]),
        (&[("host", "api.test"), (FORWARDED, "b.test:8443"), (FORWARDED, "api.test")], [first, malformed, second]),
        // A scheme or a prefix in a field has no effect.
        (&[("host", "api.test"), ("x-forwarded-proto", "http"), ("x-forwarded-prefix", "/b")], [first, first, first]),
    ] {
        let found = [&untrusted, &only, &first_of_list].map(|layer| answers(&world, layer, fields));
        assert_eq!(found, expected, "{fields:?}");
    }
}

/// As with a malformed `Host`: the URL of the request is not known, so no proof is read.
#[test]
fn case_87_a_malformed_forwarded_host_is_reported_before_a_malformed_proof() {
    let world = world();
    let layer = world.layer.clone().with_trusted_forwarded_host();
    let token = world.token().sign();
    for (host, expected) in [("a, b", Q), ("api.test", P)] {
        let mut request = dpop_request(&token, "x");
        request.headers_mut().insert("x-forwarded-host", host.parse().expect("a value"));
        assert_eq!(Answer::of(&block_on(send_through(&layer, request))), expected, "{host}");
    }
}
