//! Keys over TLS (F25): an invalid certificate adds no key and removes none.
//!
//! A script in `tests/data/tls` creates the certificates.

#![expect(clippy::expect_used, reason = "a test server that fails stops the test")]

use std::error::Error as _;
use std::net::SocketAddr;
use std::path::Path;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpListener;
use tokio_rustls::TlsAcceptor;
use tokio_rustls::rustls::ServerConfig;
use tokio_rustls::rustls::crypto::aws_lc_rs;
use tokio_rustls::rustls::pki_types::pem::PemObject as _;
use tokio_rustls::rustls::pki_types::{CertificateDer, PrivateKeyDer};
use tower_bearer::config::SettingErrorKind;
use tower_bearer::fetch::{BuildClientErrorKind, FetchError, ReqwestFetch};
use tower_bearer::jwks::{KeySource, RefreshError};
use tower_bearer::keys::KeySet;
use tower_bearer::testing::TestIssuer;
use tower_bearer::{Api, Issuer, Validator};

const AUDIENCE: &str = "https://api.test/";
const AUTHORITY: &str = include_str!("../data/tls/authority.pem");
/// An authority that has signed none of the certificates.
const OTHER_AUTHORITY: &str = include_str!("../data/tls/root.pem");
const KEY: &str = include_str!("../data/tls/key.pem");
const GOOD: &str = include_str!("../data/tls/good.pem");

const BAD: [(&str, &str); 4] = [
    ("expired", include_str!("../data/tls/expired.pem")),
    ("not yet valid", include_str!("../data/tls/not_yet_valid.pem")),
    ("of another host", include_str!("../data/tls/other_host.pem")),
    ("of an unknown authority", include_str!("../data/tls/unknown_authority.pem")),
];

const TLS: Result<(), RefreshError> = Err(RefreshError::Network { error: FetchError::Tls });

/// A key set behind TLS on loopback, with a certificate that can change.
struct Server {
    address: SocketAddr,
    acceptor: Arc<Mutex<TlsAcceptor>>,
    accepted: Arc<AtomicUsize>,
}

impl Server {
    async fn start(certificate: &str, issuer: &TestIssuer) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.expect("a port");
        let address = listener.local_addr().expect("an address");
        let server = Self { address, acceptor: Arc::new(Mutex::new(acceptor(certificate))), accepted: Arc::default() };
        let (acceptor, accepted, body) = (Arc::clone(&server.acceptor), Arc::clone(&server.accepted), issuer.jwks());
        tokio::spawn(async move {
            while let Ok((stream, _)) = listener.accept().await {
                accepted.fetch_add(1, Ordering::SeqCst);
                let handshake = acceptor.lock().expect("unpoisoned").accept(stream);
                let Ok(mut stream) = handshake.await else { continue };
                let _read = stream.read(&mut [0; 8192]).await;
                let head = format!("HTTP/1.1 200 OK\r\nConnection: close\r\nContent-Length: {}\r\n\r\n", body.len());
                let _written = stream.write_all(format!("{head}{body}").as_bytes()).await;
                let _closed = stream.shutdown().await;
            }
        });
        server
    }

    /// Takes effect with the next connection: no session of an earlier certificate is resumed.
    fn set_certificate(&self, certificate: &str) {
        *self.acceptor.lock().expect("unpoisoned") = acceptor(certificate);
    }

    fn accepted(&self) -> usize {
        self.accepted.load(Ordering::SeqCst)
    }
}

fn acceptor(certificate: &str) -> TlsAcceptor {
    let chain = vec![CertificateDer::from_pem_slice(certificate.as_bytes()).expect("a certificate")];
    let key = PrivateKeyDer::from_pem_slice(KEY.as_bytes()).expect("a key");
    let config = ServerConfig::builder_with_provider(Arc::new(aws_lc_rs::default_provider()))
        .with_safe_default_protocol_versions()
        .expect("protocol versions")
        .with_no_client_auth()
        .with_single_cert(chain, key);
    TlsAcceptor::from(Arc::new(config.expect("a certificate for the key")))
}

fn validator(server: &Server, issuer: &TestIssuer, host: &str, fetch: ReqwestFetch) -> Validator {
    let url = format!("https://{host}:{}/jwks", server.address.port());
    let api = Api::new(AUDIENCE, Issuer::jwks(issuer.issuer(), url));
    Validator::builder(api).with_fetch(fetch).build().expect("a valid configuration")
}

fn source(validator: &Validator) -> &KeySource {
    validator.key_sources().next().expect("one issuer").1
}

fn trusting() -> ReqwestFetch {
    ReqwestFetch::builder().with_root_certificates(AUTHORITY).build().expect("an authority")
}

async fn serves(validator: &Validator, issuer: &TestIssuer) {
    let token = issuer.token().audience(AUDIENCE).sign();
    assert_eq!(validator.validate(&token).await.map(drop), Ok(()));
}

/// The certificate has both a DNS name and an IP address.
#[tokio::test]
async fn loads_keys_over_tls_with_a_valid_certificate() {
    for host in ["localhost", "127.0.0.1"] {
        let issuer = TestIssuer::new();
        let server = Server::start(GOOD, &issuer).await;
        let validator = validator(&server, &issuer, host, trusting());
        source(&validator).ready_within(Duration::from_secs(10)).await.expect("the first keys");
        serves(&validator, &issuer).await;
    }
}

#[tokio::test]
async fn rejects_a_bad_certificate_without_a_retry() {
    for (what, certificate) in BAD {
        let issuer = TestIssuer::new();
        let server = Server::start(certificate, &issuer).await;
        let validator = validator(&server, &issuer, "localhost", trusting());
        assert_eq!(source(&validator).reload().await, TLS, "{what}");
        let status = source(&validator).status();
        assert_eq!(status.last_error().map_or(Ok(()), Err), TLS, "{what}");
        let operations = usize::try_from(status.consecutive_failures()).expect("a few");
        assert_eq!(server.accepted(), operations, "{what}: one connection for each operation");
        assert!(!status.is_ready(), "{what}");
    }
}

/// The valid certificate from above, for a client that does not trust its authority.
#[tokio::test]
async fn rejects_a_private_authority_that_is_not_configured() {
    let issuer = TestIssuer::new();
    let server = Server::start(GOOD, &issuer).await;
    let other = ReqwestFetch::builder().with_root_certificates(OTHER_AUTHORITY).build().expect("an authority");
    for fetch in [ReqwestFetch::new().expect("a client"), other] {
        let validator = validator(&server, &issuer, "localhost", fetch);
        assert_eq!(source(&validator).reload().await, TLS);
    }
}

#[tokio::test]
async fn keeps_keys_after_the_certificate_became_invalid() {
    let issuer = TestIssuer::new();
    let server = Server::start(GOOD, &issuer).await;
    let validator = validator(&server, &issuer, "localhost", trusting());
    source(&validator).ready_within(Duration::from_secs(10)).await.expect("the first keys");
    for (what, certificate) in BAD {
        server.set_certificate(certificate);
        let before = server.accepted();
        assert_eq!(source(&validator).reload().await, TLS, "{what}");
        assert_eq!(server.accepted(), before + 1, "{what}");
        serves(&validator, &issuer).await;
        server.set_certificate(GOOD);
        assert_eq!(source(&validator).reload().await, Ok(()), "{what}");
        assert_eq!(source(&validator).status().consecutive_failures(), 0, "{what}");
    }
}

/// The certificates are replaced in a clone of the client, and the next fetch uses them. A connection that the earlier ones have
/// verified is not used again.
#[tokio::test]
async fn replaces_root_certificates_while_the_validator_runs() {
    let issuer = TestIssuer::new();
    let server = Server::start(GOOD, &issuer).await;
    let fetch = ReqwestFetch::builder().with_root_certificates(OTHER_AUTHORITY).build().expect("an authority");
    let validator = validator(&server, &issuer, "localhost", fetch.clone());
    assert_eq!(source(&validator).reload().await, TLS);
    for _ in 0..2 {
        assert_eq!(fetch.replace_root_certificates(AUTHORITY), Ok(()));
        assert_eq!(source(&validator).reload().await, Ok(()));
        serves(&validator, &issuer).await;
        assert!(fetch.replace_root_certificates("no certificate").is_err(), "the earlier ones stay in use");
        assert_eq!(source(&validator).reload().await, Ok(()));
        assert_eq!(fetch.reload_trust_store(), Ok(()), "the private authority stays in use");
        assert_eq!(source(&validator).reload().await, Ok(()));
        assert_eq!(fetch.replace_root_certificates(OTHER_AUTHORITY), Ok(()));
        assert_eq!(source(&validator).reload().await, TLS);
        serves(&validator, &issuer).await;
    }
}

#[tokio::test]
async fn reloads_the_trust_store_of_the_system() {
    let file = std::env::temp_dir().join(format!("tower-bearer-trust-store-{}.pem", std::process::id()));
    std::fs::write(&file, OTHER_AUTHORITY).expect("a file");
    if runs_with_trust_store(&file, "reloads_the_trust_store_of_the_system") {
        return std::fs::remove_file(&file).expect("the file");
    }
    let file = std::env::var_os("SSL_CERT_FILE").expect("set for this process");
    let issuer = TestIssuer::new();
    let server = Server::start(GOOD, &issuer).await;
    let fetch = ReqwestFetch::new().expect("a CA certificate");
    let validator = validator(&server, &issuer, "localhost", fetch.clone());
    assert_eq!(source(&validator).reload().await, TLS);
    std::fs::write(&file, AUTHORITY).expect("the file");
    assert_eq!(source(&validator).reload().await, TLS, "it is not read at each fetch");
    assert_eq!(fetch.reload_trust_store(), Ok(()));
    assert_eq!(source(&validator).reload().await, Ok(()));
    std::fs::write(&file, "").expect("the file");
    let error = fetch.reload_trust_store().expect_err("no CA certificate");
    assert_eq!(error.kind(), BuildClientErrorKind::TrustStore);
    assert_eq!(source(&validator).reload().await, Ok(()), "the earlier ones stay in use");
    std::fs::write(&file, OTHER_AUTHORITY).expect("the file");
    assert_eq!(fetch.reload_trust_store(), Ok(()));
    assert_eq!(source(&validator).reload().await, TLS);
    // The last private authority can be removed.
    assert_eq!(fetch.replace_root_certificates(AUTHORITY), Ok(()));
    assert_eq!(source(&validator).reload().await, Ok(()));
    assert_eq!(fetch.remove_root_certificates(), Ok(()));
    assert_eq!(source(&validator).reload().await, TLS);
}

/// Runs the test `name` again in a process with this file as the trust store; returns `false` in that process.
fn runs_with_trust_store(file: &Path, name: &str) -> bool {
    const CHILD: &str = "TOWER_BEARER_TRUST_STORE";
    if std::env::var_os(CHILD).is_some() {
        return false;
    }
    let itself = std::env::current_exe().expect("a test binary");
    let mut child = std::process::Command::new(itself);
    child.args(["--exact", &format!("certificates::{name}")]);
    child.env(CHILD, "1").env("SSL_CERT_FILE", file).env_remove("SSL_CERT_DIR");
    let output = child.output().expect("a process");
    let stdout = String::from_utf8_lossy(&output.stdout);
    assert!(output.status.success() && stdout.contains("1 passed"), "{stdout}");
    true
}

#[tokio::test]
async fn rejects_only_https_issuers_without_ca_certificates() {
    let nowhere = Path::new("/nowhere/ca.pem");
    if runs_with_trust_store(nowhere, "rejects_only_https_issuers_without_ca_certificates") {
        return;
    }
    let named = "https://id.test/";
    let build = |issuers: &[&Issuer]| {
        let api = Api::new(AUDIENCE, issuers[0].clone());
        Validator::new(issuers[1..].iter().fold(api, |api, issuer| api.with_issuer((*issuer).clone())))
    };
    let over_http = Issuer::jwks("https://other.test/", "http://127.0.0.1:1/jwks");
    for https in [Issuer::oidc(named), Issuer::jwks(named, "https://id.test/jwks")] {
        for issuers in [&[&https][..], &[&over_http, &https]] {
            let error = build(issuers).map(drop).expect_err("no CA certificate");
            let [reason] = error.errors() else { panic!("{error}") };
            let SettingErrorKind::HttpClient(client) = reason.kind() else { panic!("{error}") };
            assert_eq!((reason.setting(), client.kind()), ("fetch", BuildClientErrorKind::TrustStore));
            assert!(client.source().is_some_and(|cause| cause.source().is_some()), "{client:?}");
            let text = error.to_string();
            for word in ["trust store", "`ca-certificates`", "SSL_CERT_FILE", "No CA certificates were loaded"] {
                assert!(text.contains(word), "{word} in {text}");
            }
            assert!(!text.contains("feature"), "{text}");
        }
    }

    // Plain http on loopback, keys from a file and a private authority do not need the system's trust store.
    let server = TestIssuer::new().serve().await.expect("a port");
    let issuer = server.issuer();
    let api = Api::new(AUDIENCE, Issuer::oidc(issuer.issuer()));
    let validator = Validator::builder(api).build_ready(Duration::from_secs(10)).await.expect("the first keys");
    serves(&validator, issuer).await;
    let keys = KeySet::from_jwks(issuer.jwks());
    assert!(build(&[&Issuer::static_keys(named, keys)]).is_ok());
    assert!(build(&[&over_http]).is_ok());
    let behind_tls = Server::start(GOOD, issuer).await;
    serves(&self::validator(&behind_tls, issuer, "localhost", trusting()), issuer).await;
    assert_eq!(ReqwestFetch::new().map(drop).map_err(|error| error.kind()), Err(BuildClientErrorKind::TrustStore));
}
