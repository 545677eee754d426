//! Errors of a Redis server, and of the settings of its connection.

use std::fmt;
use std::time::Duration;

/// Why a command failed.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum RedisError {
    /// No connection could be opened: the server does not run, TLS failed, or it did not accept the credentials.
    Connect,
    /// The connection was closed before the response. The command may have been executed.
    Closed,
    /// The server did not respond in time. The command may have been executed.
    TimedOut,
    /// The server did not respond a moment ago, so the command was not sent.
    #[non_exhaustive]
    Paused {
        /// The time until the next command is sent.
        retry_after: Duration,
    },
    /// Too many commands wait for responses, so the command was not sent.
    Busy,
    /// The server drops keys when its memory is full: its `maxmemory-policy` is not `noeviction`. Nothing is stored there, because a
    /// dropped key is a revoked token or a used proof that is accepted.
    Evicts,
    /// The server refused the command.
    #[non_exhaustive]
    Refused {
        /// The first word of the error: `NOPERM`, `OOM`, `WRONGTYPE`.
        code: Box<str>,
    },
    /// The response has another form than the command has by the documentation of Redis.
    Unexpected,
}

impl RedisError {
    /// Returns the fixed snake_case name for logs and metrics.
    #[must_use]
    pub const fn name(&self) -> &'static str {
        match self {
            Self::Connect => "connect",
            Self::Closed => "closed",
            Self::TimedOut => "timed_out",
            Self::Paused { .. } => "paused",
            Self::Busy => "busy",
            Self::Evicts => "evicts",
            Self::Refused { .. } => "refused",
            Self::Unexpected => "unexpected",
        }
    }
}

impl fmt::Display for RedisError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Refused { code } => return write!(f, "Redis refused the command with {code}"),
            Self::Connect => "no connection to Redis could be opened",
            Self::Closed => "the connection to Redis was closed",
            Self::TimedOut => "Redis did not respond in time",
            Self::Paused { .. } => "Redis did not respond a moment ago",
            Self::Busy => "too many commands wait for Redis",
            Self::Evicts => "the maxmemory-policy of Redis is not noeviction",
            Self::Unexpected => "Redis sent an unexpected response",
        }
        .fmt(f)
    }
}

impl std::error::Error for RedisError {}

/// Which setting of [`RedisBuilder`](super::RedisBuilder) is invalid.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum RedisSettingError {
    /// The URL is not of the form `redis://user:password@host:port/database`, with `rediss` for TLS.
    Url,
    /// The timeout is not between 10 ms and 10 s.
    Timeout,
    /// The URL has no TLS, and certificates are set.
    CertificatesWithoutTls,
    /// The root certificates are not PEM, or contain no certificate.
    RootCertificates,
    /// The certificate or the key of the client is not PEM, or they do not belong together.
    ClientCertificate,
    /// The CA certificates of the system could not be loaded.
    SystemCertificates,
}

impl fmt::Display for RedisSettingError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Url => "the URL of Redis must be redis://user:password@host:port/database, or rediss://… for TLS",
            Self::Timeout => "the timeout of Redis must be between 10 ms and 10 s",
            Self::CertificatesWithoutTls => "certificates for Redis require a URL with rediss://",
            Self::RootCertificates => "the root certificates for Redis are not PEM",
            Self::ClientCertificate => "the client certificate for Redis is not PEM, or does not fit its key",
            Self::SystemCertificates => "the CA certificates of the system could not be loaded",
        })
    }
}

impl std::error::Error for RedisSettingError {}

/// All invalid settings of [`RedisBuilder`](super::RedisBuilder), at least one.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RedisConfigError {
    pub(super) errors: Vec<RedisSettingError>,
}

impl RedisConfigError {
    /// Returns the errors.
    #[must_use]
    pub fn errors(&self) -> &[RedisSettingError] {
        &self.errors
    }
}

impl fmt::Display for RedisConfigError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.errors.iter().enumerate().try_for_each(|(at, error)| {
            let separator = if at == 0 { "" } else { "; " };
            write!(f, "{separator}{error}")
        })
    }
}

impl std::error::Error for RedisConfigError {}
