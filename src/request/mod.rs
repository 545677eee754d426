//! The parts of a request that the validator reads: the credential, the host, and the head.

pub(crate) mod credential;
mod head;
mod host;
mod host_source;

pub use self::credential::{BearerToken, CredentialError, Scheme};
pub use self::head::RequestHead;
pub use self::host::{Host, HostError};
pub(crate) use self::host_source::HostSource;
