//! Certificates of clients: mutual TLS (RFC 8705).
//!
//! A token that is bound to a certificate (`cnf.x5t#S256`) is accepted only from a client that has authenticated with this certificate
//! in the TLS handshake. A stolen token is useless without the private key of the certificate.
//!
//! The certificate comes from exactly one place: from the connection, as [`ClientCertificate`] in the extensions of the request, or
//! from a header that a proxy in front of the API sets. The certificate is compared by its hash. Its chain is not verified, because the
//! token names the certificate itself (RFC 8705 §6.2).
//!
//! # Security
//!
//! A certificate is public. If the API reads it from a header, every client that reaches the API past the proxy could send the
//! certificate of another client. So [`MutualTls::from_header`] also takes the peers that may send the header, [`TrustedProxy`].

mod certificate;
mod error;
#[cfg(fuzzing)]
pub(crate) mod fuzzing;
mod header;
mod network;
mod rules;
mod settings;
mod trusted_proxy;

pub use self::certificate::ClientCertificate;
pub use self::error::{CertificateError, CertificateHeaderError};
pub use self::header::CertificateHeader;
pub use self::network::NetworkError;
pub(crate) use self::rules::{CertificateRule, MutualTlsRules, RequestCertificate};
pub use self::settings::MutualTls;
pub(crate) use self::settings::{DpopSchemeRule, Source};
pub(crate) use self::trusted_proxy::{ConfiguredNetwork, Trust};
pub use self::trusted_proxy::{PeerAddress, TrustedProxy};
