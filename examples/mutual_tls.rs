//! Certificate-bound tokens (RFC 8705) without a proxy: hyper over tokio-rustls, with the certificate of the connection.
//!
//! ```text
//! openssl req -x509 -newkey ec -pkeyopt ec_paramgen_curve:P-256 -nodes -subj /CN=localhost -addext subjectAltName=DNS:localhost \
//!     -keyout server.key -out server.pem
//! openssl req -x509 -newkey ec -pkeyopt ec_paramgen_curve:P-256 -nodes -subj /CN=client -keyout client.key -out client.pem
//! cargo run --example mutual_tls -- server.pem server.key client.pem
//! ```
//!
//! Serves HTTP/1.1 and HTTP/2, and prints a `curl` command with a token that is bound to `client.pem`. Without `--cert`, or with another
//! certificate, the response is 401.

#![expect(clippy::print_stdout, clippy::print_stderr, reason = "an example prints what it does")]

use std::path::Path;
use std::process::ExitCode;
use std::sync::Arc;

use anyhow::Context as _;
use axum::Router;
use axum::routing::get;
use hyper::body::Incoming;
use hyper_util::rt::{TokioExecutor, TokioIo};
use hyper_util::server::conn::auto::Builder;
use hyper_util::service::TowerToHyperService;
use tokio::net::{TcpListener, TcpStream};
use tokio_rustls::TlsAcceptor;
use tokio_rustls::rustls::client::danger::HandshakeSignatureValid;
use tokio_rustls::rustls::crypto::{CryptoProvider, aws_lc_rs, verify_tls12_signature, verify_tls13_signature};
use tokio_rustls::rustls::pki_types::pem::PemObject as _;
use tokio_rustls::rustls::pki_types::{CertificateDer, PrivateKeyDer, UnixTime};
use tokio_rustls::rustls::server::danger::{ClientCertVerified, ClientCertVerifier};
use tokio_rustls::rustls::{DigitallySignedStruct, DistinguishedName, Error, ServerConfig, SignatureScheme};
use tower::ServiceExt as _;
use tower_bearer::claims::SenderConstraint;
use tower_bearer::mutual_tls::{ClientCertificate, MutualTls};
use tower_bearer::testing::TestIssuer;
use tower_bearer::{Api, BearerLayer, Issuer, Validator};

mod log;
mod outcome;

const AUDIENCE: &str = "https://api.northwind.com";
const USAGE: &str = "usage: mutual_tls <certificate of the server> <its key> <certificate of the client>, in PEM";

#[tokio::main]
async fn main() -> ExitCode {
    outcome::exit_code(run().await)
}

async fn run() -> anyhow::Result<()> {
    log::start();
    let mut arguments = std::env::args().skip(1);
    let (Some(certificate), Some(key), Some(client)) = (arguments.next(), arguments.next(), arguments.next()) else {
        anyhow::bail!(USAGE)
    };
    let client = CertificateDer::from_pem_file(&client).with_context(|| client)?;
    let acceptor = acceptor(certificate.as_ref(), key.as_ref())?;

    let server = TestIssuer::auth0("northwind.eu.auth0.com");
    let api = Api::new(AUDIENCE, Issuer::auth0("northwind.eu.auth0.com")).with_mutual_tls(MutualTls::from_connection());
    let validator = Validator::builder(api).with_fetch(server.clone()).build()?;
    let app = Router::new().route("/", get(hello)).layer(BearerLayer::new(validator));

    let listener = TcpListener::bind("127.0.0.1:8443").await?;
    let token = server.token().audience(AUDIENCE).bound_to_certificate(&ClientCertificate::from_der(&client)).sign();
    println!(
        "curl -i https://localhost:8443/ --cacert server.pem --cert client.pem --key client.key -H 'Authorization: Bearer {token}'"
    );
    loop {
        let (stream, _) = listener.accept().await?;
        let (acceptor, app) = (acceptor.clone(), app.clone());
        tokio::spawn(async move {
            if let Err(error) = serve(stream, &acceptor, app).await {
                eprintln!("connection: {error}");
            }
        });
    }
}

/// Returns the settings of TLS: clients may authenticate with any certificate.
pub(crate) fn acceptor(certificate: &Path, key: &Path) -> anyhow::Result<TlsAcceptor> {
    let chain = CertificateDer::pem_file_iter(certificate)?.collect::<Result<Vec<_>, _>>()?;
    let provider = Arc::new(aws_lc_rs::default_provider());
    let mut config = ServerConfig::builder_with_provider(Arc::clone(&provider))
        .with_safe_default_protocol_versions()?
        .with_client_cert_verifier(Arc::new(AnyCertificate(provider)))
        .with_single_cert(chain, PrivateKeyDer::from_pem_file(key)?)?;
    config.alpn_protocols = vec![b"h2".to_vec(), b"http/1.1".to_vec()];
    Ok(TlsAcceptor::from(Arc::new(config)))
}

/// Serves one connection. All its requests have the same certificate, so its hash is computed once.
pub(crate) async fn serve(stream: TcpStream, acceptor: &TlsAcceptor, app: Router) -> anyhow::Result<()> {
    let stream = acceptor.accept(stream).await?;
    let (_, connection) = stream.get_ref();
    let certificate = connection.peer_certificates().and_then(|chain| chain.first());
    let certificate = certificate.map(|certificate| ClientCertificate::from_der(certificate));
    let service = app.map_request(move |mut request: http::Request<Incoming>| {
        if let Some(certificate) = certificate {
            request.extensions_mut().insert(certificate);
        }
        request
    });
    let served = Builder::new(TokioExecutor::new())
        .serve_connection(TokioIo::new(stream), TowerToHyperService::new(service))
        .await;
    served.map_err(|error| anyhow::anyhow!(error))
}

async fn hello(client: Option<SenderConstraint>) -> String {
    match client {
        Some(SenderConstraint::Certificate { x5t }) => {
            format!("hello, client with the certificate {}\n", x5t.to_base64url())
        }
        _ => "hello, client with a bearer token\n".to_owned(),
    }
}

/// Accepts every certificate whose key the client has. The token names the certificate, so no chain needs to be verified (RFC 8705 §6.2).
/// An API that accepts only clients of one authority uses `WebPkiClientVerifier` of rustls instead.
#[derive(Debug)]
struct AnyCertificate(Arc<CryptoProvider>);

impl ClientCertVerifier for AnyCertificate {
    /// Clients with bearer tokens need no certificate.
    fn client_auth_mandatory(&self) -> bool {
        false
    }

    fn root_hint_subjects(&self) -> &[DistinguishedName] {
        &[]
    }

    fn verify_client_cert(
        &self,
        _: &CertificateDer<'_>,
        _: &[CertificateDer<'_>],
        _: UnixTime,
    ) -> Result<ClientCertVerified, Error> {
        Ok(ClientCertVerified::assertion())
    }

    fn verify_tls12_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signature: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        verify_tls12_signature(message, certificate, signature, &self.0.signature_verification_algorithms)
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signature: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        verify_tls13_signature(message, certificate, signature, &self.0.signature_verification_algorithms)
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        self.0.signature_verification_algorithms.supported_schemes()
    }
}
