//! A token that we accept is accepted by a straightforward reference over `jsonwebtoken` with explicit checks.
#![no_main]

#[path = "../reference.rs"]
mod reference;

use libfuzzer_sys::fuzz_target;

const HEADER: &[u8] = b"{\"alg\":\"HS256\"";
const PAYLOAD: &[u8] = b"{\"iss\":\"https://as.example/\",\"aud\":\"https://api.example/\",\"exp\":1800000060";

// Between NULs: header and payload of a genuine token; with a third part, members to add to those that every token here
// needs; without any, a token as it is.
fuzz_target!(|octets: &[u8]| {
    let parts: Vec<&[u8]> = octets.splitn(3, |octet| *octet == 0).collect();
    let token = match parts[..] {
        [header, payload] => reference::sign(header, payload),
        [header, payload, _] => reference::sign(&[HEADER, header, b"}"].concat(), &[PAYLOAD, payload, b"}"].concat()),
        _ => String::from_utf8_lossy(octets).into_owned(),
    };
    if reference::accepts(&token).is_some() {
        reference::check(&token).unwrap_or_else(|reason| panic!("only we accept {token}: {reason}"));
    }
});
