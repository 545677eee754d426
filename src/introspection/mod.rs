//! Token introspection at the authorization server (RFC 7662), with signed answers (RFC 9701).
//!
//! [`Introspection`] is the setting of an [`Issuer`](crate::Issuer). It makes opaque tokens usable, which contain
//! nothing that this crate could verify. With [`with_every_jwt`](Introspection::with_every_jwt), JWTs are introspected as
//! well, so that a revocation takes effect before the token expires.
//!
//! Each validator has one client per issuer. All requests with one token share one call. A positive answer is stored in
//! the token cache of the validator; the claims in it are checked by the same rules as those of a JWT. Anything that is
//! not an answer is neither a yes nor a no: the request gets 503, and nothing is stored.

mod answer;
mod authentication;
mod breaker;
mod call;
mod client;
mod contradiction;
mod endpoint;
mod error;
mod event;
#[cfg(fuzzing)]
pub(crate) mod fuzzing;
mod location;
mod memory;
mod merge;
mod running;
mod settings;
mod shared;
mod signed;
mod waiters;

#[cfg(test)]
pub(crate) use self::answer::AnswerSignature;
pub(crate) use self::answer::{ActiveAnswer, Answer};
pub use self::authentication::ClientAuthentication;
pub(crate) use self::call::Priority;
pub(crate) use self::client::Client;
pub(crate) use self::contradiction::contradiction;
pub(crate) use self::endpoint::ClientParts;
pub(crate) use self::error::Unavailable;
pub use self::error::{IntrospectionError, IntrospectionRejection, IntrospectionSettingError, SignedAnswerError};
pub use self::event::{IntrospectionEvent, IntrospectionEventKind, StoppedCalls};
pub(crate) use self::location::Location;
pub(crate) use self::merge::with_claims_of_answer;
pub use self::settings::Introspection;
pub(crate) use self::settings::{AnswerForm, ClaimsFrom, EndpointSetting, FailureMode, IntrospectedTokens};
pub(crate) use self::shared::EvictToken;
