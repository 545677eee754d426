//! `RedisBuilder`: the settings of the connection.

use std::fmt;
use std::time::Duration;

use redis::{ConnectionAddr, IntoConnectionInfo as _, RedisConnectionInfo};

use crate::defaults;
use crate::stores::connection::Target;
use crate::stores::error::{RedisConfigError, RedisSettingError};
use crate::stores::redis::Redis;
use crate::stores::tls::{self, ClientCertificate};

/// Builds [`Redis`] with other settings than the defaults.
#[derive(Clone)]
pub struct RedisBuilder {
    url: Box<str>,
    timeout: Duration,
    roots: Option<Box<[u8]>>,
    client: Option<ClientCertificate>,
}

impl Redis {
    /// Creates a handle with the default settings. Nothing is sent before the first command.
    ///
    /// The URL is `redis://user:password@host:port/database`; all parts but the host are optional. With `rediss`, the connection uses
    /// TLS. `valkey` and `valkeys` are other names of the two schemes. Special characters in user and password are percent-encoded.
    ///
    /// # Errors
    ///
    /// Returns [`RedisConfigError`] if the URL is invalid, or if it starts with `rediss` and the CA certificates of the system cannot
    /// be loaded.
    ///
    /// # Security
    ///
    /// Without TLS, anyone in the network between can read the password and change what is stored.
    pub fn new(url: &str) -> Result<Self, RedisConfigError> {
        Self::builder(url).build()
    }

    /// Returns a builder, to set certificates or a timeout.
    #[must_use]
    pub fn builder(url: &str) -> RedisBuilder {
        RedisBuilder { url: Box::from(url), timeout: defaults::REDIS_TIMEOUT, roots: None, client: None }
    }
}

impl RedisBuilder {
    /// Sets the time for the response to a command, from 10 ms to 10 s. Default: 500 ms. If it elapses, the connection is replaced,
    /// and for a second all commands fail at once.
    #[must_use]
    pub fn with_timeout(mut self, timeout: Duration) -> Self {
        self.timeout = timeout;
        self
    }

    /// Sets the root certificates that the certificate of the server must lead to, as PEM. Default: the CA certificates of the system.
    #[must_use]
    pub fn with_root_certificates(mut self, pem: impl AsRef<[u8]>) -> Self {
        self.roots = Some(Box::from(pem.as_ref()));
        self
    }

    /// Sets the certificate of the client with its chain, and its key, both as PEM. A server with TLS requires one unless its setting
    /// `tls-auth-clients` is `no`. Default: none.
    #[must_use]
    pub fn with_client_certificate(mut self, chain_pem: impl AsRef<[u8]>, key_pem: impl AsRef<[u8]>) -> Self {
        let (chain, key) = (Box::from(chain_pem.as_ref()), Box::from(key_pem.as_ref()));
        self.client = Some(ClientCertificate { chain, key });
        self
    }

    /// Creates the handle. Nothing is sent before the first command.
    ///
    /// # Errors
    ///
    /// Returns [`RedisConfigError`] with every setting that is invalid.
    pub fn build(self) -> Result<Redis, RedisConfigError> {
        let mut errors = Vec::new();
        let address = Address::from_url(&self.url);
        if address.is_none() {
            errors.push(RedisSettingError::Url);
        }
        if !defaults::REDIS_TIMEOUT_RANGE.contains(&self.timeout) {
            errors.push(RedisSettingError::Timeout);
        }
        let is_tls = address.as_ref().is_some_and(|address| address.is_tls);
        let has_certificates = self.roots.is_some() || self.client.is_some();
        if address.is_some() && !is_tls && has_certificates {
            errors.push(RedisSettingError::CertificatesWithoutTls);
        }
        // The certificates are checked whatever the URL is.
        let connector =
            (is_tls || has_certificates).then(|| tls::connector(self.roots.as_deref(), self.client.as_ref()));
        let connector = connector.and_then(|connector| connector.map_err(|found| errors.extend(found)).ok());
        match address {
            Some(Address { host, port, login, .. }) if errors.is_empty() => {
                Ok(Redis::from_target(Target { host, port, login, tls: connector, timeout: self.timeout }))
            }
            _ => Err(RedisConfigError { errors }),
        }
    }
}

/// What the URL contains.
struct Address {
    is_tls: bool,
    host: Box<str>,
    port: u16,
    login: RedisConnectionInfo,
}

impl Address {
    fn from_url(url: &str) -> Option<Self> {
        let (is_tls, rest) = split_scheme(url)?;
        // The client crate knows no TLS here: this crate opens the stream.
        let info = format!("redis://{rest}").into_connection_info().ok()?;
        let ConnectionAddr::Tcp(host, port) = info.addr().clone() else { return None };
        // An ACL need not allow a command that only names the client library.
        let login = info.redis_settings().clone().set_skip_set_lib_name();
        Some(Self { is_tls, host: host.into(), port, login })
    }
}

/// Returns whether the scheme means TLS, and what follows it. Further options of the client crate are not allowed: one of them
/// disables the check of certificates.
fn split_scheme(url: &str) -> Option<(bool, &str)> {
    let (scheme, rest) = url.split_once("://")?;
    let is_tls = match scheme {
        "redis" | "valkey" => false,
        "rediss" | "valkeys" => true,
        _ => return None,
    };
    (!rest.contains(['?', '#'])).then_some((is_tls, rest))
}

/// Shows no part of the URL, which may contain a password.
impl fmt::Debug for RedisBuilder {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("RedisBuilder").field("timeout", &self.timeout).finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn accepts_urls_of_redis_and_valkey() {
        for url in [
            "redis://127.0.0.1",
            "redis://localhost:6380/3",
            "valkey://user:p%40ss@host",
            "rediss://:secret@redis.internal:6379/0",
            "valkeys://[::1]:7000",
        ] {
            assert!(Redis::new(url).is_ok(), "{url}");
        }
    }

    #[test]
    fn rejects_other_urls() {
        for url in [
            "",
            "127.0.0.1:6379",
            "http://127.0.0.1",
            "unix:///run/redis.sock",
            "redis://",
            "redis://host/database",
            "redis://host/0?protocol=resp3",
            "rediss://host/#insecure",
            "redis://0.0.0.0",
            "REDIS://host",
        ] {
            assert_eq!(Redis::new(url).map(drop), only(RedisSettingError::Url), "{url}");
        }
    }

    #[test]
    fn rejects_settings_out_of_range() {
        let plain = || Redis::builder("redis://host");
        assert_eq!(plain().with_timeout(Duration::from_millis(9)).build().map(drop), only(RedisSettingError::Timeout));
        assert_eq!(plain().with_timeout(Duration::from_secs(11)).build().map(drop), only(RedisSettingError::Timeout));
        assert!(plain().with_timeout(Duration::from_secs(10)).build().is_ok());
        let roots = plain().with_root_certificates(include_bytes!("../../tests/data/tls/root.pem"));
        assert_eq!(roots.build().map(drop), only(RedisSettingError::CertificatesWithoutTls));
    }

    #[test]
    fn rejects_certificates_that_are_not_pem_or_do_not_fit() {
        let tls = || Redis::builder("rediss://host");
        let root = include_bytes!("../../tests/data/tls/root.pem");
        assert!(tls().with_root_certificates(root).build().is_ok());
        for pem in [&b""[..], b"no PEM", include_bytes!("../../tests/data/keys/rsa-2048.spki.pem")] {
            assert_eq!(tls().with_root_certificates(pem).build().map(drop), only(RedisSettingError::RootCertificates));
        }
        let without_key = tls().with_root_certificates(root).with_client_certificate(root, b"no PEM");
        assert_eq!(without_key.build().map(drop), only(RedisSettingError::ClientCertificate));
    }

    #[test]
    fn reports_all_invalid_settings() {
        use RedisSettingError::{CertificatesWithoutTls, ClientCertificate, RootCertificates, Timeout, Url};

        let (root, key) = (include_bytes!("../../tests/data/tls/root.pem"), b"no PEM");
        let built = |url: &str| {
            let builder = Redis::builder(url).with_timeout(Duration::ZERO).with_root_certificates(b"no PEM");
            builder.with_client_certificate(root, key).build().map(drop)
        };
        for (url, first) in [
            ("rediss://host", &[Timeout][..]),
            ("redis://host", &[Timeout, CertificatesWithoutTls]),
            ("http://host", &[Url, Timeout]),
        ] {
            let errors = [first, &[RootCertificates, ClientCertificate]].concat();
            assert_eq!(built(url), Err(RedisConfigError { errors }), "{url}");
        }
        let two = Redis::builder("host").with_timeout(Duration::ZERO).build().map(drop).expect_err("two errors");
        assert_eq!(two.to_string(), format!("{Url}; {Timeout}"));
    }

    fn only(error: RedisSettingError) -> Result<(), RedisConfigError> {
        Err(RedisConfigError { errors: vec![error] })
    }

    #[test]
    fn debug_shows_no_credentials() {
        let builder = Redis::builder("redis://orders:secret@host");
        assert!(!format!("{builder:?}").contains("secret"));
        let redis = builder.build().expect("a valid URL");
        let text = format!("{redis:?}");
        assert!(!text.contains("secret") && !text.contains("orders") && text.contains("host"), "{text}");
    }
}
