//! Stores that replicas share, in Redis or a server with the same protocol, such as Valkey.
//!
//! [`Redis`] is the connection. Everything that uses one server shares it, so a process has one connection for commands, whatever it
//! stores there.
//!
//! ```
//! use tower_bearer::stores::Redis;
//!
//! # fn main() -> Result<(), tower_bearer::stores::RedisSettingError> {
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
#[cfg(test)]
mod tests;
mod tls;

pub use self::builder::RedisBuilder;
pub use self::error::{RedisError, RedisSettingError};
pub use self::redis::Redis;
pub use self::replay::RedisReplayStore;
