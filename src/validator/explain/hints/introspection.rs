//! The hints for introspection. The rules of the [table](super::table) apply.

use crate::introspection::{IntrospectionError, IntrospectionRejection, SignedAnswerError};
use crate::rejection::Rejection;
use crate::validator::explain::hints::table::{Hint, rejection};

/// The hints, after those of the table.
pub(super) const HINTS: &[Hint] = &[
    rejection(
        "check the client id and secret of this API; some servers need `ClientAuthentication::post`",
        |rejection| is_unavailable(rejection, |cause| cause == IntrospectionError::CredentialsRefused),
    ),
    rejection("check the URL of the introspection endpoint", |rejection| {
        is_unavailable(rejection, |cause| {
            matches!(
                cause,
                IntrospectionError::Redirect
                    | IntrospectionError::ContentType
                    | IntrospectionError::Status { status: 404 | 405 | 410 }
            )
        })
    }),
    rejection(
        "let the server sign its answers for this client (RFC 9701), or remove `with_signed_answers`",
        |rejection| is_unavailable(rejection, |cause| cause == IntrospectionError::Unsigned),
    ),
    rejection("encrypted answer: turn the encryption of answers off for this client at the server", |rejection| {
        let encrypted = IntrospectionError::Signed { error: SignedAnswerError::Encrypted };
        is_unavailable(rejection, |cause| cause == encrypted)
    }),
    rejection("the server signs its answers for another client than the one of this API", |rejection| {
        let audience = IntrospectionError::Signed { error: SignedAnswerError::Audience };
        is_unavailable(rejection, |cause| cause == audience)
    }),
    rejection("the answer is about another token: a cache or a proxy between this API and the server?", |rejection| {
        matches!(rejection, Rejection::Introspection(IntrospectionRejection::Contradicted { .. }))
    }),
];

/// For a token that the server calls inactive, if it has called no token active yet.
pub(super) const ONLY_NEGATIVE_ANSWERS: &str = "the server has called no token active yet: may this client introspect tokens of other clients? At Keycloak, it must \
     not be the client that requests the tokens";

/// For a text without three segments that is never introspected, since its first segment is a JSON object.
pub(super) const COUNTS_AS_JWT: &str = "the first segment is a JSON object, so the text counts as a JWT and is never sent to the introspection endpoint: was a JWT \
     cut off?";

fn is_unavailable(rejection: &Rejection, is: impl Fn(IntrospectionError) -> bool) -> bool {
    matches!(rejection, Rejection::Introspection(IntrospectionRejection::Unavailable { cause, .. }) if is(*cause))
}
