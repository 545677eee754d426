//! The parts of a request that the validator reads: the credential, the host, and the head.

pub(crate) mod credential;
mod head;
mod host;

pub use self::credential::{BearerToken, CredentialError};
pub use self::head::RequestHead;
pub use self::host::{Host, HostError};
