//! `examples/server/doctor.rs`: arguments, exit codes and colors.

use std::ffi::OsString;

use tower_bearer::clock::Timestamp;
use tower_bearer::mutual_tls::ClientCertificate;
use tower_bearer::testing::{ProofKey, TestIssuer};
use tower_bearer::{Algorithm, CheckOutcome, Explanation, Finding};

#[allow(dead_code, reason = "the tests call what `main` calls")]
#[path = "../../examples/server/doctor.rs"]
pub(crate) mod program;

/// A file that is deleted on drop.
struct TempFile(std::path::PathBuf);

impl TempFile {
    fn new(name: &str, text: &str) -> Self {
        let path = std::env::temp_dir().join(format!("tower-bearer-{}-{name}.toml", std::process::id()));
        std::fs::write(&path, text).expect("a writable folder");
        Self(path)
    }
}

impl Drop for TempFile {
    fn drop(&mut self) {
        drop(std::fs::remove_file(&self.0));
    }
}

async fn call(file: &TempFile, arguments: &[&str]) -> Result<Explanation, String> {
    let arguments = arguments.iter().map(OsString::from);
    program::run([file.0.clone().into_os_string()].into_iter().chain(arguments).collect())
        .await
        .map_err(|e| e.to_string())
}

/// Uses the file and the token of the usage text. The URL of the key set is replaced by one where no server listens.
#[tokio::test]
async fn explains_the_token_of_the_usage_text_without_network() {
    let command = "cargo run --example doctor -- examples/server/server.toml - < examples/server/rejected.jwt";
    assert!(program::USAGE.lines().any(|line| line.trim() == command));
    let sample = include_str!("../../examples/server/server.toml");
    let token = include_str!("../../examples/server/rejected.jwt").trim();
    let keys = "https://northwind.auth0.example/.well-known/jwks.json";
    assert!(sample.contains(keys));
    let file = TempFile::new("sample", &sample.replace(keys, "http://127.0.0.1:9/jwks.json"));
    let explanation = call(&file, &[token]).await.expect("an explanation");
    assert_eq!(program::code(&explanation), 1);
    let failed = explanation.findings().iter().filter(|finding| finding.outcome() == CheckOutcome::Failed);
    assert_eq!(failed.map(Finding::check).collect::<Vec<_>>(), ["iss", "exp"]);
    assert_eq!(explanation.hints().next(), Some("iss lacks the trailing slash"));
}

/// The report shows what the server said about an opaque token, or why it said nothing. It never shows the token.
#[tokio::test]
async fn shows_what_the_server_said_about_a_token() {
    let audience = "https://api.northwind.com/";
    // The secret is in a variable that cargo sets.
    let server = TestIssuer::new().with_client("orders-api", env!("CARGO_PKG_DESCRIPTION"));
    let server = server.serve().await.expect("a port");
    let issuer = server.issuer();
    let opaque = |subject: &str| issuer.token().audience(audience).subject(subject).opaque();
    let (active, revoked) = (opaque("ann"), opaque("bob"));
    issuer.revoke(&revoked);
    let file = |name: &str, variable: &str| {
        let introspection =
            format!("discovered = true, client_id = \"orders-api\", client_secret_env = \"{variable}\"");
        let issuer = format!("domains = [\"{}\"]\nintrospection = {{ {introspection} }}", issuer.issuer());
        let api = format!("[api]\naudience = \"{audience}\"\n[[api.issuer]]\n{issuer}\n");
        TempFile::new(name, &format!("listen = \"127.0.0.1:0\"\n{api}"))
    };
    let (right, wrong) = (file("right-secret", "CARGO_PKG_DESCRIPTION"), file("wrong-secret", "CARGO_PKG_NAME"));
    for (file, token, code, shown) in [
        (&right, &active, 0, "\"sub\":\"ann\""),
        (&right, &revoked, 1, "\"active\": false"),
        (&right, &revoked, 1, "the server has called no token active yet"),
        (&wrong, &active, 3, "the introspection endpoint refused the credentials of this API"),
        (&wrong, &active, 3, "check the client id and secret of this API"),
    ] {
        let explanation = call(file, &[token]).await.expect("an explanation");
        let report = program::report(&explanation, program::Paint::Plain);
        assert!(program::code(&explanation) == code && report.contains(shown), "{report}");
        assert!(!report.contains(&**token), "{report}");
    }
    server.shutdown().await;
}

/// Another user than that of the server may call it, and the server could not use the files of that user.
#[tokio::test]
async fn neither_reads_nor_writes_the_key_store() {
    let server = TestIssuer::named("https://hs.test/").with_algorithms([Algorithm::HS256]);
    let directory = std::env::temp_dir().join(format!("tower-bearer-{}-doctor-store", std::process::id()));
    let issuer = format!(
        "domains = [\"https://hs.test/\"]\nalgorithms = [\"HS256\"]\nsecrets = [{{ text = \"{}\" }}]",
        server.secret()
    );
    let text = format!(
        "listen = \"127.0.0.1:0\"\n[keys]\nstore = {directory:?}\n[api]\naudience = \"https://api.test/\"\n[[api.issuer]]\n{issuer}\n"
    );
    let explanation = call(&TempFile::new("store", &text), &[&server.token().sign()]).await.expect("valid arguments");
    assert_eq!(program::code(&explanation), 0, "{explanation}");
    assert!(!directory.exists());
    let misspelled = TempFile::new("misspelled-store", &text.replace("store =", "stores ="));
    let error = call(&misspelled, &["opaque"]).await.expect_err("no such setting");
    assert!(error.contains("keys.stores: is not a setting"), "{error}");
}

#[tokio::test]
async fn exit_code_follows_the_outcome() {
    let server = TestIssuer::named("https://hs.test/").with_algorithms([Algorithm::HS256]);
    let secret = server.secret();
    let hosts = "issuer_for_host = { \"api.brand-a.test\" = \"https://hs.test/\" }";
    let file = |name: &str, api: &str, keys: &str| {
        let issuer = format!("[[api.issuer]]\ndomains = [\"https://hs.test/\"]\n{keys}\n");
        let api = format!("[api]\naudience = \"https://api.test/\"\n{api}\n");
        TempFile::new(name, &format!("listen = \"127.0.0.1:0\"\n{api}{issuer}"))
    };
    let keys = format!("algorithms = [\"HS256\"]\nsecrets = [{{ text = \"{secret}\" }}]");
    let certificates = "[api.mutual_tls]\nformat = \"sha256\"\nheader = \"X-Cert\"\ntrusted_proxies = [\"10.0.0.0/8\"]";
    let certificates = file("certificates", certificates, &keys);
    let hash: String =
        ClientCertificate::from_der(b"c").thumbprint().as_bytes().iter().map(|b| format!("{b:02x}")).collect();
    let bound_token = server.token().bound_to_certificate(&ClientCertificate::from_der(b"c")).sign();
    let header = format!("X-Cert: {hash}");
    let (plain, bound) = (file("plain", "", &keys), file("bound", hosts, &keys));
    let unreachable = file("unreachable", "", "jwks_uri = \"http://127.0.0.1:9/\"");
    let token = server.token().scope("read:orders").sign();
    let foreign = TestIssuer::named("https://hs.test/").token().sign();
    for (file, arguments, code) in [
        (&plain, &[&*token][..], 0),
        (&plain, &[&token, "--scope", "read:orders"], 0),
        (&plain, &[&token, "--scope", "write:orders"], 1),
        (&plain, &["opaque"], 1),
        (&bound, &[&token], 1),
        (&bound, &[&token, "--host", "api.brand-a.test"], 0),
        (&bound, &[&token, "--scope", "read:orders", "--host", "api.brand-a.test"], 0),
        (&unreachable, &[&foreign], 3),
        (&certificates, &[&token], 0),
        (&certificates, &[&bound_token], 1),
        (&certificates, &[&bound_token, "--header", &header], 1),
        (&certificates, &[&bound_token, "--header", &header, "--peer", "192.0.2.1"], 1),
        (&certificates, &[&bound_token, "--header", &header, "--peer", "10.0.0.7"], 0),
    ] {
        let explanation = call(file, arguments).await.expect("valid arguments");
        assert_eq!(program::code(&explanation), code, "{arguments:?}\n{explanation}");
    }
    assert!(call(&plain, &[&token, "--header", "a: b", "--peer", "proxy"]).await.is_err());
    for arguments in [
        &[][..],
        &[&token, "--host"],
        &[&token, "--header", "no colon"],
        &[&token, "--hots", "x"],
        &[&token, "--host", "x", "--host", "x"],
    ] {
        assert_eq!(call(&plain, arguments).await.expect_err("invalid arguments"), program::USAGE);
    }
    assert!(call(&plain, &[&token, "--scope", "a b"]).await.is_err());
    assert!(call(&TempFile(std::env::temp_dir().join("tower-bearer-nowhere")), &[&token]).await.is_err());
    let rejected = call(&plain, &["opaque"]).await.expect("valid arguments");
    let plain = program::report(&rejected, program::Paint::Plain);
    let colored = program::report(&rejected, program::Paint::Colors);
    assert!(plain.starts_with("rejected: ") && !plain.contains('\u{1b}'), "{plain}");
    assert!(colored.starts_with("\u{1b}[1;31mrejected\u{1b}[0m: "), "{colored}");
}

/// An option that nothing reads is an error.
#[tokio::test]
async fn every_option_has_an_effect() {
    let server = TestIssuer::named("https://hs.test/").with_algorithms([Algorithm::HS256]);
    let text = format!(
        r#"listen = "127.0.0.1:0"
        [api]
        audience = "https://api.test/"
        issuer_for_host = {{ "api.brand-a.test" = "https://hs.test/" }}
        [api.mutual_tls]
        format = "sha256"
        trusted_proxies = ["10.0.0.0/8"]
        [[api.issuer]]
        domains = ["https://hs.test/"]
        algorithms = ["HS256"]
        secrets = [{{ text = "{}" }}]"#,
        server.secret()
    );
    let file = TempFile::new("options", &text);
    let certificate = ClientCertificate::from_der(b"c");
    let hash: String = certificate.thumbprint().as_bytes().iter().map(|byte| format!("{byte:02x}")).collect();
    let token = server.token().bound_to_certificate(&certificate).sign();
    let header = format!("Client-Cert: {hash}");
    let with_header = [&token, "--header", &header, "--peer", "10.0.0.7"];
    for (options, code) in [
        (&[][..], 1),
        (&["--host", "api.brand-a.test"], 0),
        (&["--host", "api.brand-b.test"], 1),
        (&["--url", "https://api.brand-a.test/me"], 0),
        (&["--url", "https://api.brand-a.test/me", "--host", "api.brand-b.test"], 1),
    ] {
        let explanation = call(&file, &[&with_header[..], options].concat()).await.expect("valid arguments");
        assert_eq!(program::code(&explanation), code, "{options:?}\n{explanation}");
    }
    for options in
        [&["--peer", "10.0.0.7"][..], &["--method", "POST"], &["--url", "/me"], &["--host", "x", "--peer", "10.0.0.7"]]
    {
        let error = call(&file, &[&[&*token][..], options].concat()).await.expect_err("nothing reads it");
        assert_eq!(error, program::USAGE, "{options:?}");
    }
}

/// The report shows which check of the proof failed, and what to change.
#[tokio::test]
async fn checks_the_proof_of_a_request() {
    let server = TestIssuer::named("https://hs.test/").with_algorithms([Algorithm::HS256]);
    let text = format!(
        r#"listen = "127.0.0.1:0"
        [api]
        audience = "https://api.test/"
        [api.dpop]
        public_url = "https://api.test"
        [[api.issuer]]
        domains = ["https://hs.test/"]
        algorithms = ["HS256"]
        secrets = [{{ text = "{}" }}]"#,
        server.secret()
    );
    let file = TempFile::new("proofs", &text);
    let (client, other) = (ProofKey::new(), ProofKey::new());
    let token = server.token().bound_to(&client).sign();
    let orders = "https://api.test/orders";
    let proof = |method: &str, url: &str| client.proof(method, url, &token);
    let long_ago = proof("POST", orders).issued_at(Timestamp::from_secs(1_000_000_000));
    let request = &["--method", "POST", "--url", orders][..];
    let (scheme, prefix) = ("only the scheme differs; the proxy terminates TLS", "does a proxy remove it?");
    for (proof, options, failed, shown) in [
        (proof("POST", orders), request, None, "accepted"),
        (proof("POST", orders), &["--method", "POST", "--url", "/orders?page=2"], None, "accepted"),
        (proof("GET", "https://api.test/"), &[], None, "accepted"),
        (proof("POST", orders), &["--url", orders], Some("htm"), "expected GET"),
        (proof("GET", orders), request, Some("htm"), "expected POST"),
        (proof("POST", orders), &["--method", "POST"], Some("htu"), orders),
        (proof("POST", "http://api.test/orders"), request, Some("htu"), scheme),
        (proof("POST", "https://api.test/v1/orders"), request, Some("htu"), prefix),
        (long_ago, request, Some("proof iat"), "the clock of the client or of this server is wrong"),
        (other.proof("POST", orders, &token), request, Some("jkt"), "bound to another key"),
        (proof("POST", orders).token("another"), request, Some("ath"), "is not the hash of the token"),
        (proof("POST", orders).with_broken_signature(), request, Some("proof signature"), "is invalid"),
        (proof("POST", orders).header("typ", "JWT"), request, Some("proof typ"), "is not dpop+jwt"),
    ] {
        let proof = proof.sign();
        let arguments = [&[&*token, "--proof", &proof][..], options].concat();
        let explanation = call(&file, &arguments).await.expect("valid arguments");
        let report = program::report(&explanation, program::Paint::Plain);
        let found = explanation.findings().iter().filter(|finding| finding.outcome() == CheckOutcome::Failed);
        assert_eq!(found.map(Finding::check).collect::<Vec<_>>(), failed.as_slice(), "{report}");
        assert_eq!(program::code(&explanation), u8::from(failed.is_some()), "{report}");
        assert!(report.contains(shown), "{shown} in {report}");
        assert!(!report.contains(&proof) && !report.contains(&token), "{report}");
    }
    // Without a proof, or with a scheme that is not that of the token.
    for arguments in [&[&*token][..], &[&token, "--header", "x: y"]] {
        let explanation = call(&file, arguments).await.expect("valid arguments");
        let report = program::report(&explanation, program::Paint::Plain);
        assert!(program::code(&explanation) == 1 && report.contains("\n  ✗ scheme: "), "{report}");
    }
    let unbound = server.token().sign();
    let explanation = call(&file, &[&unbound, "--proof", "x.y.z"]).await.expect("valid arguments");
    assert_eq!(program::code(&explanation), 1, "{explanation}");
    for arguments in [&[&*token, "--proof"][..], &[&token, "--proof", "x", "--proof", "x"]] {
        assert_eq!(call(&file, arguments).await.expect_err("invalid arguments"), program::USAGE);
    }
    assert!(call(&file, &[&token, "--proof", "x", "--method", "a b"]).await.is_err());
}
