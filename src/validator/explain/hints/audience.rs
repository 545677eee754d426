//! The hints for tokens that are made for the issuer itself, or that name no client. The rules of the [table](super::table) apply.

use crate::claims::{ClaimError, ClaimErrorReason};
use crate::validator::explain::hints::table::{Hint, audience, is_claim, rejection, unverified};

/// The hints, after those of the table.
pub(super) const HINTS: &[Hint] = &[
    unverified(
        "aud is the issuer, not this API: the client must request a token for the API (Okta: from a custom authorization server)",
        |rejection, token| {
            let is_issuer =
                |audience: &str, issuer: &str| audience.trim_end_matches('/') == issuer.trim_end_matches('/');
            audience(rejection) == Some(ClaimErrorReason::Mismatch)
                && token.known_issuer().is_some_and(|issuer| token.has_audience(|aud| is_issuer(aud, issuer)))
        },
    ),
    rejection(
        "the token lacks the claim with the client: if the server writes another one, such as cid of Okta, set with_client_claim",
        |rejection| is_claim(rejection, |error| *error == ClaimError::Client(ClaimErrorReason::Missing)),
    ),
];
