//! The error response to a rejection: status, `WWW-Authenticate`, error description and body (RFC 6750 §3, RFC 9470 §3).
//!
//! This is the only module that selects the HTTP status of a rejection. A response contains no part of a token: all texts are
//! constants of this module or come from the configuration. The response is the same for every reason why a token is invalid,
//! so that it does not help an attacker to forge one. Log, metrics and [`Rejection::kind`](crate::Rejection::kind) distinguish
//! the reasons.

mod body;
mod challenges;
mod error_text;
mod grpc;
mod misconfiguration;
mod options;
mod parts;

pub(crate) use self::body::error_response;
pub use self::body::{EmptyBody, ErrorBody, ErrorResponse, JsonBody, ResponseHook};
pub use self::challenges::ChallengeError;
pub(crate) use self::challenges::{AcceptedSchemes, BearerScheme, Challenges, DpopScheme};
pub(crate) use self::grpc::{Protocol, is_unauthenticated_call};
pub use self::misconfiguration::Misconfiguration;
pub(crate) use self::options::{RequestKind, ResponseOptions};
pub(crate) use self::parts::{ErrorParts, nonce_headers};
