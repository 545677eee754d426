//! A token that we accept is accepted by a straightforward reference over `jsonwebtoken` with explicit checks.
#![no_main]

#[path = "../reference.rs"]
mod reference;

use arbitrary::Arbitrary;
use libfuzzer_sys::fuzz_target;

/// A genuine token with any header and payload, or any text at all.
#[derive(Arbitrary, Debug)]
enum Input<'i> {
    Signed { header: &'i [u8], payload: &'i [u8] },
    /// The claims that every token here needs, and more of them.
    Completed { header: &'i str, members: &'i str },
    Raw(&'i str),
}

fuzz_target!(|input: Input<'_>| {
    let token = match input {
        Input::Signed { header, payload } => reference::sign(header, payload),
        Input::Completed { header, members } => {
            let header = format!("{{\"alg\":\"HS256\"{header}}}");
            let payload = format!(
                "{{\"iss\":\"https://as.example/\",\"aud\":\"https://api.example/\",\"exp\":1800000060{members}}}"
            );
            reference::sign(header.as_bytes(), payload.as_bytes())
        }
        Input::Raw(text) => text.to_owned(),
    };
    if reference::accepts(&token).is_some() {
        reference::check(&token).unwrap_or_else(|reason| panic!("only we accept {token}: {reason}"));
    }
});
