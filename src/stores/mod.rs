//! Stores that processes share, in Redis or a server with the same protocol, such as Valkey.
//!
//! [`Redis`] is the connection. [`RedisLog`] is a log of [revocations](crate::revocation) over it, and [`RedisReplayStore`] records used
//! proofs of [DPoP](crate::dpop). Everything that uses one server shares its connection for commands.
//!
//! ```
//! use tower_bearer::stores::Redis;
//!
//! # fn main() -> Result<(), tower_bearer::stores::RedisConfigError> {
//! let redis = Redis::new("rediss://orders:secret@redis.internal:6379")?;
//! # let _ = redis;
//! # Ok(()) }
//! ```

mod breaker;
mod builder;
mod connection;
mod error;
mod redis;
mod replay;
mod revocation_log;
#[cfg(test)]
mod tests;
mod timeout_breaker;
mod tls;

pub use self::builder::RedisBuilder;
pub use self::error::{RedisConfigError, RedisError, RedisSettingError};
pub use self::redis::Redis;
pub use self::replay::RedisReplayStore;
pub use self::revocation_log::RedisLog;
