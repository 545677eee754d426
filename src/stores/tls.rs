//! The TLS settings of a connection.

use std::sync::Arc;

use rustls_platform_verifier::BuilderVerifierExt as _;
use tokio_rustls::TlsConnector;
use tokio_rustls::rustls::client::WantsClientCert;
use tokio_rustls::rustls::crypto::aws_lc_rs as provider;
use tokio_rustls::rustls::pki_types::pem::PemObject as _;
use tokio_rustls::rustls::pki_types::{CertificateDer, PrivateKeyDer};
use tokio_rustls::rustls::{ClientConfig, ConfigBuilder, RootCertStore};

use crate::stores::error::RedisSettingError;

/// The certificate of the client and its key, as PEM.
#[derive(Clone)]
pub(super) struct ClientCertificate {
    pub(super) chain: Box<[u8]>,
    pub(super) key: Box<[u8]>,
}

/// Returns a connector that trusts the CA certificates of the system, or only `roots` if they are set; or all errors.
pub(super) fn connector(
    roots: Option<&[u8]>,
    client: Option<&ClientCertificate>,
) -> Result<TlsConnector, Vec<RedisSettingError>> {
    let mut errors = Vec::new();
    // The process-wide provider is not used, because it is ambiguous if the application enables another one.
    let builder = ClientConfig::builder_with_provider(Arc::new(provider::default_provider()))
        .with_safe_default_protocol_versions()
        .map_err(|_| vec![RedisSettingError::SystemCertificates])?;
    let verified = match roots {
        Some(roots) => root_store(roots).map(|store| builder.clone().with_root_certificates(store)),
        None => builder.clone().with_platform_verifier().map_err(|_| RedisSettingError::SystemCertificates),
    };
    // With an error, the builder is used only to check the certificate of the client.
    let builder: ConfigBuilder<ClientConfig, WantsClientCert> = verified.unwrap_or_else(|error| {
        errors.push(error);
        builder.with_root_certificates(RootCertStore::empty())
    });
    let config = match client {
        Some(client) => with_client_certificate(builder, client),
        None => Some(builder.with_no_client_auth()),
    };
    match config {
        Some(config) if errors.is_empty() => return Ok(TlsConnector::from(Arc::new(config))),
        Some(_) => {}
        None => errors.push(RedisSettingError::ClientCertificate),
    }
    Err(errors)
}

fn root_store(pem: &[u8]) -> Result<RootCertStore, RedisSettingError> {
    let mut store = RootCertStore::empty();
    for certificate in CertificateDer::pem_slice_iter(pem) {
        let certificate = certificate.map_err(|_| RedisSettingError::RootCertificates)?;
        store.add(certificate).map_err(|_| RedisSettingError::RootCertificates)?;
    }
    if store.is_empty() { Err(RedisSettingError::RootCertificates) } else { Ok(store) }
}

fn with_client_certificate(
    builder: ConfigBuilder<ClientConfig, WantsClientCert>,
    client: &ClientCertificate,
) -> Option<ClientConfig> {
    let chain: Vec<_> = CertificateDer::pem_slice_iter(&client.chain).collect::<Result<_, _>>().ok()?;
    let key = PrivateKeyDer::from_pem_slice(&client.key).ok()?;
    builder.with_client_auth_cert(chain, key).ok()
}
