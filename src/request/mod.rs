//! The parts of a request that the validator reads: the credential, the host, and the head.

pub(crate) mod credential;
mod head;
mod host;
mod host_source;
mod list_field;
mod public_url;

pub use self::credential::{BearerToken, CredentialError, Scheme};
pub use self::head::RequestHead;
pub use self::host::{Host, HostError};
pub(crate) use self::host_source::HostSource;
pub(crate) use self::list_field::list_items;
pub(crate) use self::public_url::Handshake;
pub use self::public_url::{NearMiss, PublicUrl, PublicUrlError};
