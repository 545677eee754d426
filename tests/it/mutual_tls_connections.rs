//! Certificates of TLS connections, with the server of `examples/mutual_tls.rs`. The numbers are those of the attack cases.

use std::net::SocketAddr;
use std::sync::Arc;

use axum::Router;
use axum::body::Body;
use axum::routing::get;
use http::header::AUTHORIZATION;
use http::{Request, StatusCode};
use hyper::client::conn::http2::SendRequest;
use hyper_util::rt::{TokioExecutor, TokioIo};
use tokio::net::{TcpListener, TcpStream};
use tokio_rustls::TlsConnector;
use tokio_rustls::rustls::crypto::aws_lc_rs;
use tokio_rustls::rustls::pki_types::pem::PemObject as _;
use tokio_rustls::rustls::pki_types::{CertificateDer, PrivateKeyDer};
use tokio_rustls::rustls::{ClientConfig, HandshakeKind, RootCertStore};
use tower_bearer::claims::SenderConstraint;
use tower_bearer::mutual_tls::{ClientCertificate, MutualTls};
use tower_bearer::testing::TestIssuer;
use tower_bearer::{Algorithm, Api, BearerLayer, Validator};

use crate::fixture::{AUDIENCE, trusted};
use crate::mutual_tls_cases::der;
use crate::stack;

#[allow(dead_code, reason = "the tests call what `main` calls")]
#[path = "../../examples/mutual_tls.rs"]
mod example;

const AUTHORITY: &str = include_str!("../data/tls/authority.pem");
const KEY: &str = include_str!("../data/tls/key.pem");
const CLIENT: &str = include_str!("../data/tls/good.pem");
/// Another certificate with the same key.
const OTHER: &str = include_str!("../data/tls/other_host.pem");

/// Starts the server, and returns its address and a token that is bound to [`CLIENT`].
async fn start() -> (SocketAddr, String) {
    let issuer = TestIssuer::new().with_algorithms([Algorithm::EdDSA]);
    let api = Api::new(AUDIENCE, trusted(&issuer, Algorithm::EdDSA)).with_mutual_tls(MutualTls::from_connection());
    let validator = Validator::new(api).expect("a valid configuration");
    let app = Router::new().route("/", get(|_: SenderConstraint| async {})).layer(BearerLayer::new(validator));
    let files = ["good.pem", "key.pem"].map(|file| stack::repository().join("tests/data/tls").join(file));
    let acceptor = example::acceptor(&files[0], &files[1]).expect("a certificate");
    let listener = TcpListener::bind("127.0.0.1:0").await.expect("a port");
    let address = listener.local_addr().expect("an address");
    tokio::spawn(async move {
        while let Ok((stream, _)) = listener.accept().await {
            let (acceptor, app) = (acceptor.clone(), app.clone());
            tokio::spawn(async move { example::serve(stream, &acceptor, app).await });
        }
    });
    (address, issuer.token().bound_to_certificate(&ClientCertificate::from_der(&der(CLIENT))).sign())
}

/// Returns the settings of a client, perhaps with a certificate.
fn client(certificate: Option<&str>) -> TlsConnector {
    let mut roots = RootCertStore::empty();
    roots.add(CertificateDer::from_pem_slice(AUTHORITY.as_bytes()).expect("PEM")).expect("an authority");
    let config = ClientConfig::builder_with_provider(Arc::new(aws_lc_rs::default_provider()))
        .with_safe_default_protocol_versions()
        .expect("versions")
        .with_root_certificates(roots);
    let mut config = match certificate {
        None => config.with_no_client_auth(),
        Some(pem) => {
            let chain = vec![CertificateDer::from_pem_slice(pem.as_bytes()).expect("PEM")];
            let key = PrivateKeyDer::from_pem_slice(KEY.as_bytes()).expect("PEM");
            config.with_client_auth_cert(chain, key).expect("a key")
        }
    };
    config.alpn_protocols = vec![b"h2".to_vec()];
    TlsConnector::from(Arc::new(config))
}

/// One connection over HTTP/2, and how its session began.
async fn connect(client: &TlsConnector, address: SocketAddr) -> (SendRequest<Body>, Option<HandshakeKind>) {
    let stream = TcpStream::connect(address).await.expect("a connection");
    let stream = client.connect("localhost".try_into().expect("a name"), stream).await.expect("a handshake");
    let kind = stream.get_ref().1.handshake_kind();
    let builder = hyper::client::conn::http2::Builder::new(TokioExecutor::new());
    let (sender, connection) = builder.handshake(TokioIo::new(stream)).await.expect("HTTP/2");
    tokio::spawn(connection);
    (sender, kind)
}

async fn status(connection: &mut SendRequest<Body>, token: &str) -> StatusCode {
    let request = Request::get("https://localhost/").header(AUTHORIZATION, format!("Bearer {token}"));
    let request = request.body(Body::empty()).expect("a request");
    connection.send_request(request).await.expect("a response").status()
}

#[tokio::test]
async fn case_134_each_connection_has_its_own_certificate() {
    let (address, token) = start().await;
    let (mut with, _) = connect(&client(Some(CLIENT)), address).await;
    let (mut other, _) = connect(&client(Some(OTHER)), address).await;
    let (mut without, _) = connect(&client(None), address).await;
    for _ in 0..3 {
        assert_eq!(status(&mut with, &token).await, StatusCode::OK);
        assert_eq!(status(&mut other, &token).await, StatusCode::UNAUTHORIZED);
        assert_eq!(status(&mut without, &token).await, StatusCode::UNAUTHORIZED);
    }
}

#[tokio::test]
async fn case_135_a_resumed_session_has_the_certificate_of_its_handshake() {
    let (address, token) = start().await;
    let (with, without) = (client(Some(CLIENT)), client(None));
    for (client, expected) in [(&with, StatusCode::OK), (&without, StatusCode::UNAUTHORIZED)] {
        let (mut first, kind) = connect(client, address).await;
        assert_eq!((status(&mut first, &token).await, kind), (expected, Some(HandshakeKind::Full)));
        let (mut second, kind) = connect(client, address).await;
        assert_eq!((status(&mut second, &token).await, kind), (expected, Some(HandshakeKind::Resumed)));
    }
}
