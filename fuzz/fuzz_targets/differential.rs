//! Every accepted token is also accepted by a simple reference that uses `jsonwebtoken` and explicit checks.
#![no_main]

#[path = "../reference.rs"]
mod reference;

use libfuzzer_sys::fuzz_target;

const HEADER: &[u8] = b"{\"alg\":\"HS256\"";
const PAYLOAD: &[u8] = b"{\"iss\":\"https://as.example/\",\"aud\":\"https://api.example/\",\"exp\":1800000060";

// The input is split at NUL bytes. Two parts are the header and payload of a signed token. With three parts, the first two are
// members to add to a valid header and payload. One part is a whole token.
fuzz_target!(|bytes: &[u8]| {
    let parts: Vec<&[u8]> = bytes.splitn(3, |byte| *byte == 0).collect();
    let token = match parts[..] {
        [header, payload] => reference::sign(header, payload),
        [header, payload, _] => reference::sign(&[HEADER, header, b"}"].concat(), &[PAYLOAD, payload, b"}"].concat()),
        _ => String::from_utf8_lossy(bytes).into_owned(),
    };
    if reference::validate(&token).is_some() {
        reference::check(&token).unwrap_or_else(|reason| panic!("the reference rejects {token}: {reason}"));
    }
});
